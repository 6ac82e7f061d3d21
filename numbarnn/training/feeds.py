"""Where an epoch's batches come from: samples in a drawn order, or batches of the user's own."""

import functools
import itertools

import numpy as np

from ..arrays.devices import sent
from .samples import Samples


class Feed:
    """What an epoch takes its batches from.

    Attributes
    ----------
    count : int or None
        Batches of an epoch, where that is known.
    samples : Samples or None
        All of an epoch, where they are known at once: metrics are measured on them.
    course : Course
        The training that takes them.
    """

    count: int | None = None
    samples: Samples | None = None

    def depends(self):
        """What the order of the batches depends on, by the names of arguments: plain values."""
        return {}

    def epoch(self, number, done):
        """The batches of epoch `number`, counted from 1; the first `done` of them, which are done, are left out."""
        raise NotImplementedError

    def take(self, group, checked):
        """Write the gradient of the mean loss over a group of batches, one update; returns what `gradient` does, summed.

        checked : callable
            Of the index of a batch in the group and its loss: returns a loss that is finite, and raises for another.
        """
        total, counted = 0.0, 0
        for index, batch in enumerate(group):
            value, over = self.gradient(batch, functools.partial(checked, index))
            total, counted = total + value, counted + over
            if len(group) > 1:
                self.course.add(index, over, counted if index == len(group) - 1 else None)
        return total, counted

    def gradient(self, batch, checked):
        """Write the gradient of a batch's mean loss; returns (that loss times the sum of its weights, this sum).

        The weights are what each sample counts in the mean.

        checked : callable
            Returns a loss that is finite, and raises for another.
        """
        raise NotImplementedError

    def loss(self, total, counted):
        """The mean loss of an epoch, from the sums of what `gradient` has returned."""
        return total / counted if counted else 0.0

    def followed(self, ends):
        """Whether the training ends after an update, where a callback has answered that it `ends`, or not."""
        return ends

    def measured(self):
        """{name: value} of the metrics after an epoch; {} where its samples are not known."""
        course = self.course
        return {} if self.samples is None else course.network._loss_of(self.samples, course.loss, course.metrics)[1]

    def check_begun(self):
        """Raise a typed error unless a course from a file, whose epoch is begun, has what the next batch needs."""

    def not_finite(self):
        """(place, number) of the first target that is not finite, as text; ("", None) if there is none."""
        return "", None


class SampleFeed(Feed):
    """Batches of samples, which a course draws.

    Parameters
    ----------
    course : Course
        Its order, and what it draws from, are modified.
    samples : Samples
    batch_size : int
        The last batch of an epoch may be smaller; none is dropped.
    shuffle : bool
        Whether each epoch has an order of its own.
    """

    def __init__(self, course, samples, batch_size, shuffle):
        self.course, self.samples, self.batch_size, self.shuffle = course, samples, batch_size, shuffle
        self._counts = samples.counts
        there = np.flatnonzero(self._counts)  # a sample that counts nothing has no loss
        if course.order is None or not np.array_equal(np.sort(course.order), there):
            if course.is_begun:
                expected = f"the samples of the epoch that is begun, {len(course.order)} that count"
                raise ValueError(f"x: expected {expected}, got {len(there)} or others; resume=False begins a new one")
            course.order = there
        if not course.is_begun and not shuffle:
            course.order.sort()
        self._order = None  # of the epoch that is run, on a GPU
        self.count = len(self.batches())

    def depends(self):
        feedback = self.samples.feedback
        return {"batch_size": self.batch_size} | ({} if feedback is None else {"feedback": feedback._told})

    def epoch(self, number, done):
        if self.shuffle and not done:
            self.course.random.shuffle(self.course.order)
        elif not done:
            self.course.order.sort()  # the epoch before it may have been shuffled
        device = self.course.network.device
        if device != "cpu":
            self._order = sent(self.course.order.copy(), device)
        return self.batches()[done:]

    def batches(self):
        """All of an epoch, with the samples in the order that they have now."""
        order = self.course.order if self._order is None else self._order
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]

    def gradient(self, chosen, checked):
        course, over = self.course, float(self._counts[chosen].sum())
        return checked(course.workspaces.gradient(self.samples, chosen, course.loss, course.masks)) * over, over

    def not_finite(self):
        return self.samples.not_left_out()


class GivenFeed(Feed):
    """Batches that the user gives, one after the other.

    Parameters
    ----------
    course : Course
    batches : iterable or callable
        Of what `checked_samples` takes, such as ``(x, y)``; a function of the epoch, from 1 on, returns such
        an iterable.
    read : callable
        The checked Samples of a batch and of what errors call it.
    initial : dict, optional
        What the next batch starts from, see `Workspace.gradient`; all of its samples are then run, so that each has a state
        in the end.
    """

    def __init__(self, course, batches, read, initial=None):
        self.course, self.batches, self.read, self.initial, self._batch = course, batches, read, initial, None

    def epoch(self, number, done):
        batches = self.batches(number) if callable(self.batches) else self.batches
        what = "batches" if not callable(self.batches) else f"batches({number})"
        if not hasattr(batches, "__iter__"):
            raise TypeError(f"{what}: expected an iterable of (x, y), got {type(batches).__name__}")
        index = -1
        for index, batch in enumerate(batches):
            if index >= done:
                yield self.read(batch, f"{what}[{index}]")
        if index < max(done - 1, 0):
            expected = f"batches for epoch {number}" + (f", more than the {done} that are done" if done else "")
            hint = "; a generator has the batches of a single epoch, a function of the epoch makes one for each"
            raise ValueError(f"{what}: expected {expected}, got {index + 1 or 'none'}{hint}")

    def gradient(self, samples, checked):
        self._batch, course = samples, self.course
        over = float(samples.counts.sum())
        some = over and self.initial is None
        chosen = np.flatnonzero(samples.counts) if some else np.arange(samples.x.count)
        loss = course.network._loss_where(over, course.loss)
        value = course.workspaces.gradient(samples, chosen, loss, course.masks, initial=self.initial)
        return checked(value) * over, over

    def not_finite(self):
        return self._batch.not_left_out() if self._batch is not None else ("", None)


def grouped(batches, size):
    """Lists of `size` batches, of the last of which there may be fewer."""
    batches = iter(batches)
    while group := list(itertools.islice(batches, size)):
        yield group
