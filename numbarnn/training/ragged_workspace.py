"""The memory of a training on batches of sequences of different lengths, made once, in room for the longest."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.rows import copy_rows, like
from ..cpu.programs import Program
from ..engine.keep import ALL
from ..layers.operations import NotInPrograms
from .rooms import Followed

MOST_BYTES = 1 << 26  # that one may hold: what needs more takes long enough to be made anew
KEPT = 4  # numbers that a step keeps for each of its channels, about


class RaggedWorkspace:
    """A network's forward and backward on batches of so many sequences, each with a length of its own.

    NotInPrograms if a layer cannot follow from batch to batch, or if there is so much to do that threads should share what
    a program leaves to one, or to hold.

    Parameters
    ----------
    network : Network
    into, parts, reading
        As of a `Workspace`.
    steps, count : int
        The most steps that a sequence has, and how many sequences a batch has.

    Attributes
    ----------
    nbytes : int
        That it holds.
    """

    def __init__(self, network, into, parts, reading, steps, count):
        self._network, self._into, self._parts, self._reading = network, into, parts, reading
        first = self._first = int(network.takes_indices)  # an `Embedding` looks its indices up anew
        channels = network.layers[0].output_channels(1) if first else network.channels
        width = channels + sum(network._inputs[first + 1 :]) + network.output_channels
        if KEPT * steps * count * width * network.dtype.itemsize > MOST_BYTES:  # such as where one sequence is very long
            raise NotInPrograms("much to hold")
        self._followed = followed = Followed(steps, count)
        room, self._forward, self._backward = followed.room, Program(), Program()
        self._inputs = np.zeros((room.rows, channels), network.dtype)
        described = TensorDescriptor.compact(self._inputs, self._inputs.ctypes.data, room)
        output, self._tapes = network._forward(parts, described, ALL, first=first)
        for tape in self._tapes:
            followed.add_forward(self._forward, tape.operation)
        self._output, described, self._adjoints = output, like(output), []
        self._dy = described.array
        self._dy.fill(0)
        for index in reversed(range(first, first + len(self._tapes))):
            adjoint = self._tapes[index - first].adjoint(described, index > 0, into[index], False)
            adjoint.spare()
            followed.add_backward(self._backward, adjoint)
            self._adjoints.append(adjoint)
            described = adjoint.dx
        self._dx = None if described is None else described.array
        held = (self._inputs, self._dy, *(adjoint.dx.array for adjoint in self._adjoints if adjoint.dx is not None))
        self.nbytes = sum(array.nbytes for array in held) + self._forward.nbytes + self._backward.nbytes
        if self._forward.alone or self._backward.alone or self.nbytes > MOST_BYTES:
            raise NotInPrograms("much to do, or to hold")

    def gradient(self, samples, loss):
        """The loss of a batch; its gradient is written where the workspace writes it."""
        network = self._network
        batch, described = samples.batch()
        packing = batch.packing
        self._followed.follow(packing)
        lookup, inputs = None, self._rows(self._inputs, packing)
        if self._first:
            reading = None if self._reading is None else self._reading.get(0)
            described, lookup = network.layers[0].run(self._parts[0], described, None, ALL, reading=reading)
        copy_rows(described, inputs)
        self._forward.run()
        output = self._output
        if output.packing.uniform:
            dy = TensorDescriptor.of_tnc(self._dy)
        else:
            place = output.strides, output.array, output.address, output.offset, output.first_entry
            output, dy = TensorDescriptor.ragged(packing, output.channels, *place), self._rows(self._dy, packing)
        prediction = network._rows(output, samples).copy()
        target, weights = network._target_rows(batch, output, samples), network._weight_rows(batch, samples)
        value, slope = network._call_loss(loss, prediction, target, weights, samples)
        np.copyto(network._rows(dy, samples), slope)
        self._backward.run()
        if lookup is not None:
            lookup.adjoint(self._rows(self._dx, packing), False, self._into[0], False).fill()
        return value

    @staticmethod
    def _rows(array, packing):
        """A descriptor of the rows of a batch, the first ones of an array for all of a room."""
        return TensorDescriptor.compact(array[: packing.rows], array.ctypes.data, packing)
