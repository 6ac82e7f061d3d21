"""The weights of a cell whose state decays: parts that have names, and the matrices of all gates that kernels read."""

from typing import NamedTuple

import numpy as np

from ..arrays.devices import backend, device_of
from ..arrays.ieee import ieee
from ..parameters import Parameters

ALL = slice(None)
DECAY = "decay"  # what the names of the parameters of a layer with ``decay=True`` begin with
OF_GATES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # those that have rows of all gates


class Block(NamedTuple):
    """Where a parameter stands in a matrix or vector that kernels read: ``wide[rows, columns] = factor * own``."""

    own: str
    wide: str
    rows: slice = ALL
    columns: slice | None = None  # of a matrix
    factor: int = 1

    def of(self, wide):
        """The view of the block in the wide parameters."""
        array = wide[self.wide]
        return array[self.rows] if self.columns is None else array[self.rows, self.columns]


class DecayedWeights:
    """The parameters that kernels read in the place of a layer's own: blocks of these, and zeros elsewhere.

    Attributes
    ----------
    parameters : Parameters
        Written by `fill`.
    """

    def __init__(self, p, weights, blocks):
        self.p, self.weights, self.blocks = p, weights, blocks
        self.parameters = self._zeros()
        self.fill()

    def _zeros(self):
        size, dtype = sum(weight.size for weight in self.weights), self.p.dtype
        found = Parameters(backend(device_of(self.p.flat)).memory.zeros((size,), np.finfo(dtype).dtype), self.weights)
        return found._dual(0.0) if dtype.kind == "c" else found

    def fill(self):
        """Write the weights from the parameters as they are now."""
        self._spread(self.p, self.parameters)

    def _spread(self, p, wide):
        for block in self.blocks:
            view, own = block.of(wide), p[block.own]
            view[...] = (own if block.factor == 1 else -own).reshape(view.shape)

    def moved(self, dp):
        """How the weights that kernels read move, as Parameters, where the layer's own move by `dp`."""
        found = self._zeros()
        self._spread(dp, found)
        return found

    @ieee
    def take_back(self, gradient, into, accumulate):
        """Write, or add, the derivatives of the parameters to `into` (is modified), from those of what kernels read."""
        written = set()
        for block in self.blocks:
            view = into[block.own]
            found = block.of(gradient).reshape(view.shape)
            if not accumulate and block.own not in written:
                view[...] = 0
            written.add(block.own)
            (np.add if block.factor == 1 else np.subtract)(view, found, out=view)

    def add_fill(self, program):
        """Add to a program, on the CPU, that the weights are written; False if a program cannot do it."""
        add, wide = backend("cpu").runs, self.parameters
        entries = []
        for block in self.blocks:
            view, own = block.of(wide), self.p[block.own]
            entries += add.runs_of(own.reshape(view.shape), view, False, block.factor)
        add.add_runs(program, wide.dtype, entries, [self.p.flat], [wide.flat])
        return True

    def add_take_back(self, program, gradient, into, accumulate):
        """Add to a program, on the CPU, that the derivatives are written or added; False if a program cannot do it."""
        add, entries, written = backend("cpu").runs, [], set()
        for block in self.blocks:
            view = into[block.own]
            found = block.of(gradient).reshape(view.shape)
            entries += add.runs_of(found, view, accumulate or block.own in written, block.factor)
            written.add(block.own)
        add.add_runs(program, into.dtype, entries, [gradient.flat], [into.flat])
        return True


def blocks_of(weights, hidden, gates):
    """The blocks of a layer with ``decay=True``: of all rows of its gates, and after them of ``w (d - 1) = w d - w``.

    The last input channels are the spans of the forward direction, and after them the spans of the reverse one.
    """
    rows, decay = slice(gates), slice(gates, gates + hidden)
    inputs = {
        weight.name.removeprefix("weight_ih_"): weight.inputs for weight in weights if weight.name.startswith("weight_ih")
    }
    found = []
    for weight in weights:
        kind, _, suffix = weight.name.partition("_l")
        suffix = f"l{suffix}"
        if kind == DECAY:
            span = inputs[suffix] + suffix.endswith("_reverse")
            found.append(Block(weight.name, f"weight_ih_{suffix}", decay, slice(span, span + 1)))
            found.append(Block(weight.name, f"bias_ih_{suffix}", decay, None, -1))
        elif weight.inputs is not None and kind in OF_GATES:
            found.append(Block(weight.name, weight.name, rows, slice(inputs[suffix]) if kind == "weight_ih" else ALL))
        else:
            found.append(Block(weight.name, weight.name, rows if kind in OF_GATES else ALL))
    return tuple(found)
