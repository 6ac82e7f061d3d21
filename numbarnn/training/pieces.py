"""Long sequences, trained in pieces: the states are carried on, and no derivative goes back over a cut."""

from dataclasses import dataclass

import numpy as np

from ..errors import flag, positive_integer
from .feeds import SampleFeed


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

    def gradient(self, piece, checked):
        course, span = self.course, (piece.first, piece.end)
        over, initial = self.samples.count_between(piece.chosen, *span), course.carried if piece.first else None
        loss = course.loss if over else of_nothing
        value = course.workspaces.gradient(self.samples, piece.chosen, loss, course.masks, span, initial)
        course.carried = None if piece.is_last else course.workspaces.final()
        return checked(value) * over, over


def of_nothing(prediction, target, weights=None):
    """The loss of a piece in which nothing counts: all labels are ignored, or all weights are 0."""
    return 0.0, np.zeros_like(prediction)


def feed_of(course, samples, batch_size, shuffle, steps):
    """What feeds a course with samples: whole, or in pieces of so many steps if that is not None."""
    if steps is None:
        return SampleFeed(course, samples, batch_size, shuffle)
    return PieceFeed(course, samples, batch_size, shuffle, steps)


def checked_steps(network, carry, steps, reset):
    """The steps of a piece, if states are to be carried and that can be done; None if they are not; else a typed error.

    reset: that of the samples.
    """
    if not flag("carry", carry):
        if steps is not None:
            raise ValueError(f"steps: expected None without carry=True, got {steps!r}")
        return None
    if not network._carries:
        raise TypeError("carry: expected False for a graph, whose states are not carried from batch to batch, got True")
    if steps is None:
        raise TypeError("steps: expected a positive integer beside carry=True, the steps of a piece, got None")
    steps = positive_integer("steps", steps)
    if reset is not None:
        hint = "sequences of their own, with lengths, start afresh"
        raise ValueError(f"reset: expected None beside carry=True, got an array; {hint}")
    for layer in network.layers:
        if layer.leaves_one:
            raise ValueError(f"carry: expected False for a network with {layer!r}, which takes a whole sequence, got True")
    stateful = [network.layers[index] for index in network._stateful]
    for layer in stateful:
        if layer.bidirectional:
            raise ValueError(f"carry: expected False for {layer!r}, which begins at both ends of a sequence, got True")
    if not stateful:
        raise ValueError("carry: expected False for a network without recurrent layers, which has no state, got True")
    return steps
