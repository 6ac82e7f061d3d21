"""What happens to the outputs of one layer of a stack before the next one reads them: directions merged, input added."""

import numpy as np

from ..arrays.ieee import ieee
from ..arrays.rows import like, numbers
from .masks import rows_of

MERGES = ("concat", "sum", "average", "product")


def _rows(described):
    """The numbers of a descriptor as (rows, C); a view where they lie like that."""
    array = numbers(described)
    return array.reshape(-1, array.shape[-1])


class Scaled:
    """Multiplies numbers with a mask, as it is at each call of `fill`.

    Parameters
    ----------
    source : TensorDescriptor
    mask : numpy.ndarray
        (T, N, C), or (N, C) for all steps.

    Attributes
    ----------
    outputs : TensorDescriptor
    """

    def __init__(self, source, mask):
        self.source, self.mask, self.outputs = source, mask, like(source)
        self.fill()

    @ieee
    def fill(self):
        """Compute the outputs from the source and the mask as they are now."""
        np.multiply(numbers(self.source), rows_of(self.mask, self.source.packing), out=self.outputs.array)

    @ieee
    def take_back(self, derivative):
        """Turn dL/d(outputs) into dL/d(source): a descriptor (is modified)."""
        array = numbers(derivative)
        array *= rows_of(self.mask, self.source.packing)


def scaled_by(masks, name, source):
    """What multiplies numbers with the mask of that name, or None where there is none."""
    mask = None if masks is None else masks.get(name)
    return None if mask is None else Scaled(source, mask)


class Between:
    """Merges the directions of a layer's outputs, then adds the layer's input.

    Parameters
    ----------
    source : TensorDescriptor
        The outputs, (T, N, D * H), forward half first.
    directions : int
    merge : {"concat", "sum", "average", "product"}
        What becomes of two directions' outputs.
    residual : TensorDescriptor or None
        What is added, as wide as the merged outputs.

    Attributes
    ----------
    outputs : TensorDescriptor
        `source` itself where there is nothing to do.
    """

    def __init__(self, source, directions, merge, residual):
        self.source, self.residual = source, residual
        self.merge = "concat" if directions == 1 else merge
        self.idle = self.merge == "concat" and residual is None
        self.outputs = source
        if not self.idle:
            self.outputs = like(source, source.channels // (1 if self.merge == "concat" else 2))
            self.fill()

    def halves(self):
        """The outputs of the two directions, (rows, H) each."""
        return np.split(_rows(self.source), 2, axis=1)

    @ieee
    def fill(self):
        """Compute the outputs from the source as it is now."""
        if self.idle:
            return
        target = _rows(self.outputs)
        if self.merge == "concat":
            np.copyto(target, _rows(self.source))
        else:
            (np.multiply if self.merge == "product" else np.add)(*self.halves(), out=target)
            if self.merge == "average":
                target *= target.dtype.type(0.5)
        if self.residual is not None:
            target += _rows(self.residual)

    def steppers(self):
        """Functions that take one step of a stream: one, or none where there is nothing to do."""
        return [] if self.idle else [self.fill]


class BetweenAdjoint:
    """The derivatives that come back through a `Between`.

    Attributes
    ----------
    dy : TensorDescriptor or None
        dL/d(source), written by `fill`.
    """

    def __init__(self, between, doutputs):
        self.between, self.doutputs = between, doutputs
        self.dy = doutputs
        self._merged = doutputs is not None and between.merge != "concat"
        if self._merged:
            self.dy = like(between.source)

    @ieee
    def fill(self):
        """Write dy from what comes in as it is now."""
        if not self._merged:
            return
        doutputs, halves = _rows(self.doutputs), np.split(_rows(self.dy), 2, axis=1)
        if self.between.merge == "product":
            for half, other in zip(halves, reversed(self.between.halves())):
                np.multiply(doutputs, other, out=half)
            return
        for half in halves:
            np.multiply(doutputs, doutputs.dtype.type(0.5 if self.between.merge == "average" else 1), out=half)

    @ieee
    def add_residual(self, dx):
        """Add what comes back past the layer to dL/d(its input), a descriptor (is modified)."""
        if self.between.residual is not None and self.doutputs is not None:
            _rows(dx)[...] += _rows(self.doutputs)
