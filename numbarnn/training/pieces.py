"""Long sequences, trained in pieces: the states are carried on, and no derivative goes back over a cut."""

from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError, flag, positive_integer
from .feeds import SampleFeed
from .splits import check_cut


@dataclass(frozen=True)
class Piece:
    """Some steps of a batch of samples.

    Attributes
    ----------
    chosen : numpy.ndarray of int
        The samples.
    first, end : int
        The steps: from the first one to the one before the end, or to where a sample ends.
    is_last : bool
        Whether no sample of the batch has more.
    """

    chosen: np.ndarray
    first: int
    end: int
    is_last: bool


class PieceFeed(SampleFeed):
    """Batches of samples, in pieces of so many steps; the first piece of each batch starts afresh.

    Parameters
    ----------
    course : Course
        The states that it carries are modified, too.
    samples, batch_size, shuffle
        As of `SampleFeed`.
    steps : int
        Of a piece; the last one of a batch may be shorter.
    """

    def __init__(self, course, samples, batch_size, shuffle, steps):
        self.steps = steps
        super().__init__(course, samples, batch_size, shuffle)
        lengths = samples.lengths_of_x[course.order]
        if shuffle and len(lengths) > batch_size and (lengths != lengths[0]).any():
            self.count = None  # it depends on which samples are together

    def depends(self):
        in_all = int(self.samples.lengths_of_x[self.course.order].sum())
        return super().depends() | {"steps": self.steps, "x": f"sequences of {in_all} steps in all"}

    def batches(self):
        found = []
        for chosen in super().batches():
            end = int(self.samples.lengths_of_x[chosen].max())
            firsts = range(0, end, self.steps)
            found += [Piece(chosen, first, min(first + self.steps, end), first == firsts[-1]) for first in firsts]
        return found

    def check_begun(self):
        course = self.course
        piece = self.batches()[course.place.batch :][:1]
        wanted = len(piece[0].chosen) if piece and piece[0].first else 0
        found = 0 if course.carried is None else sequences_of(course.carried)
        if found != wanted:
            expected = f"states of {wanted} sequences, in which the piece before has ended" if wanted else "none"
            given = f"states of {found}" if found else "none"
            raise ShapeError(f"carried states: expected {expected}, got {given}; resume=False begins a new epoch")

    def gradient(self, piece, checked):
        course, span = self.course, (piece.first, piece.end)
        initial = course.carried if piece.first else None
        found = gradient_of_piece(course, self.samples, piece.chosen, span, course.masks, initial, checked)
        course.carried = None if piece.is_last else course.workspaces.final()
        return found


def gradient_of_piece(course, samples, chosen, span, masks, initial, checked):
    """Write the gradient of the mean loss of a piece; returns as `Feed.gradient`.

    span: (begin, end) of its steps; initial: the states in which the piece before has ended, or None.
    """
    over = samples.count_between(chosen, *span)
    loss = course.network._loss_where(over, course.loss)
    value = course.workspaces.gradient(samples, chosen, loss, masks, span, initial)
    return checked(value) * over, over


def feed_of(course, samples, batch_size, shuffle, steps):
    """The feed of a course: whole samples if `steps` is None, else pieces of `steps` steps."""
    if steps is None:
        return SampleFeed(course, samples, batch_size, shuffle)
    return PieceFeed(course, samples, batch_size, shuffle, steps)


def sequences_of(states):
    """N, the number of sequences of the states of layers, as `Workspace.final` gives them."""
    return next(iter(states.values()))[0].shape[2]


def checked_steps(network, carry, steps, samples):
    """The steps of a piece, if states are to be carried and that can be done; None if they are not; else a typed error.

    samples: None with batches of the user's own.
    """
    if not flag("carry", carry):
        if steps is not None:
            raise ValueError(f"steps: expected None without carry=True, got {steps!r}")
        return None
    if steps is None:
        raise TypeError("steps: expected a positive integer beside carry=True, the steps of a piece, got None")
    steps = positive_integer("steps", steps)
    if samples is not None and samples.reset is not None:
        hint = "sequences of their own, with lengths, start afresh"
        raise ValueError(f"reset: expected None beside carry=True, got an array; {hint}")
    for layer in network.layers:
        if layer.leaves_one:
            what = f"a {network._kind} with {layer!r}, which takes a whole sequence"
            raise ValueError(f"carry: expected False for {what}, got True")
    stateful = network._recurrent.values()
    for layer in stateful:
        if layer.bidirectional:
            raise ValueError(f"carry: expected False for {layer!r}, which begins at both ends of a sequence, got True")
    if not stateful:
        what = f"a {network._kind} without recurrent layers, which has no state"
        raise ValueError(f"carry: expected False for {what}, got True")
    network._check_carried()
    if samples is not None:
        check_cut(samples, "carry: expected False", True)
    return steps
