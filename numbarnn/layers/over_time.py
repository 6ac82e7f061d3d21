"""From a sequence to one output by all of its steps: Pool."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import backend_of, contiguous, device_of, moved
from ..arrays.ieee import ieee
from ..arrays.indices import Groups
from ..arrays.rows import like
from ..descriptions.fields import one_of
from ..engine.keep import WEIGHTS
from .last import OneStep
from .operations import Operation, in_rows

KINDS = ("mean", "max")


@dataclass(frozen=True, repr=False)
class Pool(OneStep):
    """The mean or the largest number of each channel over the steps of a sequence.

    T steps, N batch, C channels.  For a sequence n of length T ::

        y[n] = (x[0, n] + ... + x[T - 1, n]) / T    "mean"
        y[n] = max(x[0, n], ..., x[T - 1, n])       "max"

    where x is (T, N, C) and y (N, C); no state, no parameters.  With `lengths` it is over the steps of each sequence, and 0
    for a sequence of length 0; a reset makes no difference.  The derivative of the largest number goes to the first step
    that has it.  The mean sums from the first step on, so that it does not depend on the batch.

    It needs the whole sequence: a network with it has no stream.

    Parameters
    ----------
    kind : {"mean", "max"}

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> x = np.array([[[1.0]], [[5.0]], [[3.0]]], np.float32)
    >>> layer = nr.Pool("mean")
    >>> layer(layer.init(channels=1), x)
    array([[3.]], dtype=float32)
    >>> nr.Network([nr.GRU(4), nr.Pool("max"), nr.Dense(2)], channels=1).predict(x).shape
    (1, 2)
    """

    kind: str

    accepts: ClassVar = {"kind": one_of(KINDS)}
    needs_all = True

    def run_stream(self, p, x, keep=WEIGHTS):
        raise ValueError(f"steps: {self!r} needs the whole sequence")

    def operation(self, p, x, keep):
        return (Mean if self.kind == "mean" else Largest)(x)


class Pooled(Operation):
    """One row of numbers, (1, N, C), of the rows of each sequence."""

    def __init__(self, source):
        packing = source.packing
        self.sequences, self.lengths = packing.places[1], packing.lengths
        shape = 1, packing.sequences, source.channels
        outputs = backend_of(source.array).memory.zeros(shape, source.dtype)
        super().__init__(source, TensorDescriptor.of_tnc(outputs))

    def _backward(self, adjoint, need_x, fill):
        """A descriptor of dL/d(source), which `fill` writes to."""
        if not need_x:
            return None
        dx = like(self.source)
        adjoint.fills.append(lambda: fill(dx))
        return dx


class StepSums:
    """The sums of the rows of each sequence of a packing, from its first step on, so that none depends on the batch."""

    def __init__(self, packing):
        order = np.lexsort((packing.places[0], packing.places[1]))
        self._groups = Groups(packing.places[1][order])
        self._groups.order = np.ascontiguousarray(order[self._groups.order])

    def write(self, rows, sums):
        """Write the sums of (rows, C) to (N, C), which is modified, but for sequences without steps."""
        if len(rows):
            backend_of(rows).embedding.sum_rows(contiguous(rows), self._groups, sums, compact=False)


class Mean(Pooled):
    """The sums of the rows of each sequence, from its first step on, over their number."""

    def __init__(self, source):
        self._sums = StepSums(source.packing)
        lengths = np.maximum(source.packing.lengths, 1).astype(source.dtype)[:, None]
        self._lengths = moved(lengths, device_of(source.array))
        super().__init__(source)

    @ieee
    def forward(self):
        sums = self.outputs.array[0]
        self._sums.write(in_rows(self.source), sums)
        np.divide(sums, self._lengths, out=sums)

    def backward(self, adjoint, dy, need_x):
        @ieee
        def fill(dx):
            shares = contiguous(dy.tnc[0] / self._lengths)
            if self.source.packing.rows:
                backend_of(shares).embedding.take_rows(shares, self.sequences, dx.array.reshape(-1, dx.channels))

        return self._backward(adjoint, need_x, fill)

    def jvp(self, tangents, dx):
        return dx and [Mean(each).outputs for each in dx]


class Largest(Pooled):
    """The largest number of each channel among the rows of each sequence, the first of them; NaN is larger than all."""

    def __init__(self, source):
        packing, device = source.packing, device_of(source.array)
        most = max(1, int(packing.lengths.max(initial=0)), int(packing.places[0].max(initial=0)) + 1)
        rows = np.full((most, packing.sequences), -1)
        rows[packing.places] = np.arange(packing.rows)
        rows = np.maximum.accumulate(rows, axis=0)  # behind the end a sequence has its last step again
        self._empty = np.flatnonzero(packing.lengths == 0)
        self._rows_of, self._device = np.maximum(rows, 0), device
        super().__init__(source)

    def forward(self):
        rows, channels = contiguous(in_rows(self.source)), self.source.channels
        found = self.outputs.array[0]
        if not len(rows):
            return
        steps, sequences = self._rows_of.shape
        there = moved(np.ascontiguousarray(self._rows_of.reshape(-1)), self._device)
        padded = rows.take(there, 0).reshape(steps, sequences, channels)
        places = padded.argmax(0).reshape(-1)
        at = places * (sequences * channels) + moved(np.arange(sequences * channels), self._device)
        found[...] = padded.reshape(-1).take(at, 0).reshape(sequences, channels)
        columns = moved(np.tile(np.arange(channels), sequences), self._device)
        row_of = there.take(places * sequences + moved(np.repeat(np.arange(sequences), channels), self._device), 0)
        self._from = row_of * channels + columns  # where each output comes from
        if len(self._empty):
            found[moved(self._empty, self._device)] = 0

    def backward(self, adjoint, dy, need_x):
        def fill(dx):
            dx.array.fill(0)
            if not self.source.packing.rows:
                return
            flat, found = dx.array.reshape(-1), contiguous(dy.tnc[0]).reshape(-1)
            if len(self._empty):
                found = found.copy()
                some = np.repeat(self.lengths > 0, dx.channels)
                there = moved(np.flatnonzero(some), self._device)
                flat[self._from.take(there, 0)] = found.take(there, 0)
            else:
                flat[self._from] = found

        return self._backward(adjoint, need_x, fill)

    def jvp(self, tangents, dx):
        if dx is None:
            return None
        found = []
        for each in dx:
            values = np.zeros_like(self.outputs.array)
            if self.source.packing.rows:
                values[0] = in_rows(each).reshape(-1)[self._from].reshape(values[0].shape)
                values[0][self._empty] = 0
            found.append(TensorDescriptor.of_tnc(values))
        return found
