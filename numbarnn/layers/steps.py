"""Layers over the steps that a stream takes at once, and the adjoint of one step."""

from typing import NamedTuple

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import backend
from ..arrays.indices import Indices
from ..arrays.packing import uniform
from ..arrays.rows import numbers
from ..engine.keep import STEP, WEIGHTS
from ..parameters import Parameters
from ..stepping import STEPS, CompiledStep
from .recurrence import INITIAL


class OverSteps(NamedTuple):
    """Layers in a row that take up to K steps, again and again from the same memory.

    x : numpy.ndarray
        (K, N, C), or (K, N) of indices: what the lowest layer reads.
    y : TensorDescriptor
        Of what the last layer writes.
    tapes : list of (Layer, Tape)
    """

    x: np.ndarray
    y: TensorDescriptor
    tapes: list

    @classmethod
    def of(cls, layers, channels, dtype, device, batch, steps=None, keep=WEIGHTS):
        """Of (layer, its Parameters) pairs, for so many input channels and sequences; of as many steps as pay if None."""
        steps = steps or backend(device).programs.most_steps(batch)
        if layers[0][0].takes_indices:
            x = np.zeros((steps, batch), np.int64)
            y = Indices(uniform(steps, batch), x)
        else:
            x = backend(device).memory.zeros((steps, batch, channels), dtype)
            y = TensorDescriptor.of_tnc(x)
        tapes = []
        for layer, own in layers:
            y, tape = layer.run_stream(own, y, keep=keep)
            tapes.append((layer, tape))
        return cls(x, y, tapes)

    @property
    def operations(self):
        """The operations of the layers, in order."""
        return [tape.operation for _, tape in self.tapes]

    @property
    def stateful(self):
        """(layer, tape) of each layer with a state."""
        return [(layer, tape) for layer, tape in self.tapes if tape.stack]

    @property
    def vocabulary(self):
        """Of indices, or None."""
        layer = self.tapes[0][0]
        return layer.vocabulary if layer.takes_indices else None


def compiled_step(layers, channels, dtype, device, batch, adjoint, single):
    """The CompiledStep of (layer, its Parameters) pairs.

    adjoint: whether there is one of it; single: whether its state is one layer's, not a tuple of states.
    """
    made = OverSteps.of(layers, channels, dtype, device, batch, STEPS)
    step = CompiledStep(made.x, made.y.array, made.operations, made.stateful, single, made.vocabulary)
    if adjoint:
        _add_adjoint(step, layers, OverSteps.of(layers, channels, dtype, device, batch, 1, STEP))
    return step


def _add_adjoint(step, layers, made):
    """Add the adjoint to a step; made: the OverSteps of a single one."""
    flat, at, gradients = np.zeros(sum(len(own) for _, own in layers), step.dtype), 0, []
    for _, own in layers:
        gradients.append(Parameters(flat[at : at + len(own)], own.weights))
        at += len(own)
    dy = TensorDescriptor.of_tnc(np.zeros(made.y.array.shape, step.dtype))
    adjoints, derivative = [], dy
    for (_, tape), gradient in zip(reversed(made.tapes), reversed(gradients)):
        adjoints.append(tape.adjoint(derivative, True, gradient, True))
        derivative = adjoints[-1].dx
    states, dstates = [], []
    for (layer, tape), adjoint in zip(made.tapes, reversed(adjoints)):
        for m in range(len(layer.state_widths) if tape.stack else 0):
            states += [part.initial_parts()[0][m] for part in tape.stack]
            dstates += [part.dinitial[m][0] for part in adjoint.stack]
    dx = None if derivative is None else numbers(derivative)
    operations = [*made.operations, *adjoints]
    step._add_adjoint(made.x, dy.array, dx, operations, states, dstates, flat, _learned(layers, step.batch))


def _learned(layers, batch):
    """(numbers before one in all parameters, in a state, and how many) of every learned state, (parts, 3)."""
    parts, before, at = [], 0, 0
    for layer, own in layers:
        for name, width in zip(INITIAL, getattr(layer, "state_widths", ())):
            for index in range(layer.layers):
                if layer.learned_state:
                    start = before + own.offset(f"{name}_l{index}")
                    parts += [(start, at + n * width, width) for n in range(batch)]
                at += batch * width
        before += len(own)
    return np.array(parts, np.int64).reshape(-1, 3)
