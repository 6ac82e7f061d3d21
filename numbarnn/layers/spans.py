"""Spans of time that a layer reads beside its inputs, also in the reverse direction and in each of its stacked layers."""

import numpy as np

from ..arrays.devices import backend, device_of, moved
from ..arrays.ieee import ieee
from ..arrays.rows import like
from .operations import Operation, in_order, in_rows


def later_rows(packing):
    """(rows, the row of the step after each of them), of all rows whose run has one: two vectors of indices."""
    if packing.uniform:
        rows = np.arange(packing.rows - packing.batch)
        return rows, rows + packing.batch
    step, run = packing.steps_and_runs()
    rows = np.flatnonzero(step + 1 < packing.length[run])
    return rows, packing.table[step[rows] + 3] - 2 * packing.batch + run[rows]


class SpansBack(Operation):
    """The source, whose last channel is the spans, and beside it the spans of the reverse direction.

    The reverse direction goes from the step t + 1 to the step t, which are ``d[t + 1]`` apart.  Before its first step of a
    sequence, the last one, there is none: its span is 1, in which nothing is lost.
    """

    def __init__(self, source):
        self._rows, self._later = (moved(each, device_of(source.array)) for each in later_rows(source.packing))
        super().__init__(source, like(source, source.channels + 1))

    def forward(self):
        rows, source = in_rows(self.outputs), in_rows(self.source)
        rows[:, :-1], rows[:, -1] = source, 1
        rows[self._rows, -1] = source[self._later, -1]

    def backward(self, adjoint, dy, need_x):
        if dy is None or not need_x:
            return None
        dx = like(self.source)

        @ieee
        def fill():
            found, given = in_rows(dx), in_rows(dy)
            found[...] = given[:, :-1]
            found[self._later, -1] += given[self._rows, -1]  # no row comes after two

        adjoint.fills.append(fill)
        return dx

    def jvp(self, tangents, dx):
        if dx is None:
            return None
        found = []
        for each in dx:
            moved_rows, source = like(self.outputs), in_rows(each)
            rows = in_rows(moved_rows)
            rows[:, :-1], rows[:, -1] = source, 0
            rows[self._rows, -1] = source[self._later, -1]
            found.append(moved_rows)
        return found


class Beside(Operation):
    """The outputs of an operation, and beside them the last channels of its source.

    Parameters
    ----------
    inner : Operation
        It has run.
    channels : int
        How many of them.
    """

    def __init__(self, inner, channels):
        self.inner, self.learns = inner, inner.learns
        self.source, self.outputs = inner.source, like(inner.outputs, inner.outputs.channels + channels)
        self._kept = slice(self.source.channels - channels, self.source.channels)
        self._made = slice(0, inner.outputs.channels)
        self._join = _join(self.outputs, [(inner.outputs, 0, False), (self._last(self.source), self._made.stop, False)])
        self._put()

    def _last(self, described):
        """The channels that are kept, of a descriptor with the channels of the source."""
        return in_order(described).of_channels(self._kept)

    def copies(self, made, source, outputs):
        """What is copied: (descriptor to read, descriptor to write) of both parts of some outputs.

        made: what the operation inside has made of the source.
        """
        kept = slice(self._made.stop, outputs.channels)
        return (made, in_order(outputs).of_channels(self._made)), (self._last(source), in_order(outputs).of_channels(kept))

    def _put(self):
        """Write the outputs; the operation inside has run."""
        if self._join is not None:
            self._join.run()
            return
        rows = in_rows(self.outputs)
        rows[:, self._made], rows[:, self._made.stop :] = in_rows(self.inner.outputs), in_rows(self.source)[:, self._kept]

    def forward(self):
        self.inner.forward()
        self._put()

    def start(self, initial):
        self.inner.start(initial)

    def backward(self, adjoint, dy, need_x):
        if dy is None:
            return self.inner.backward(adjoint, None, need_x)
        dy = in_order(dy)
        dx = self.inner.backward(adjoint, dy.of_channels(self._made), need_x)
        if dx is not None:
            kept = dy.of_channels(slice(self._made.stop, dy.channels))
            adjoint.fills.append(BesideAdjoint(dx, kept, self._kept).fill)
        return dx

    def separable(self):
        return self.inner.separable()

    def jvp(self, tangents, dx):
        dy = self.inner.jvp(tangents, dx)
        if dx is None and dy is None:
            return None
        found = []
        for index in range(len(dx if dy is None else dy)):
            each = like(self.outputs)
            rows = in_rows(each)
            rows[:, self._made] = 0 if dy is None else in_rows(dy[index])
            rows[:, self._made.stop :] = 0 if dx is None else in_rows(dx[index])[:, self._kept]
            found.append(each)
        return found

    def steppers(self):
        return [*self.inner.steppers(), self._put]

    def add_to(self, program):
        self.inner.add_to(program)
        self._join.add_to(program)

    @property
    def nbytes(self):
        return self.inner.nbytes + super().nbytes


class BesideAdjoint:
    """Backward of what `Beside` keeps: dL/d(outputs) there is added to some channels of dL/d(source), which is modified."""

    def __init__(self, dx, dy, channels):
        self._dx, self._channels = dx, channels
        self.dx, self.dy = in_order(dx).of_channels(channels), dy  # of those channels
        self._join = _join(dx, [(dy, channels.start, True)])

    @ieee
    def fill(self):
        """Add dy to those channels of dx."""
        if self._join is not None:
            self._join.run()
        else:
            in_rows(self._dx)[:, self._channels] += in_rows(self.dy)

    def add_to(self, program):
        """Add `fill` to a program; False if a program cannot do it."""
        if self._join is None:
            return False
        self._join.add_to(program)
        return True


def _join(target, pieces):
    """Compiled copies, on the CPU; else None."""
    return backend("cpu").joining.Join(target, pieces) if device_of(target.array) == "cpu" else None
