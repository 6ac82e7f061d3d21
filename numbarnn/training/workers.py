"""Memory of a network that is trained in compiled code, and its programs: one for each size of a batch."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.rows import like, numbers
from ..cpu import elementwise, epochs
from ..cpu.losses import add_cross_entropy
from ..cpu.programs import Program, add_copy, copy
from ..cpu.slopes import KINDS, add_slope
from ..engine.keep import ALL
from ..layers.operations import NotInPrograms
from .losses import LOSSES, CrossEntropy

OF_NUMBERS = tuple(type(LOSSES[name]) for name in KINDS)


def of_labels(loss):
    """Whether a loss is the cross entropy of labels."""
    return type(loss) is CrossEntropy


def is_known(loss):
    """Whether a program can compute the slope of a loss."""
    return of_labels(loss) or type(loss) in OF_NUMBERS


class Batches:
    """A worker's program for batches of one size."""

    def __init__(self, network, flat, previous, gradient, memory, decays, count, x, y, loss, optimizer, clip, weighed):
        program = self.program = Program()
        dtype, (_, steps, channels) = flat.dtype, x.shape
        inputs, targets = np.zeros((steps, count, channels), dtype), np.zeros((y.shape[1], count, y.shape[2]), y.dtype)
        random = np.random.default_rng(0) if network.random else None
        self._counted = {}
        output, self.tapes = network._forward(network.split(flat), TensorDescriptor.of_tnc(inputs), ALL, random)
        tapes = self.tapes
        predicted = numbers(output)
        if not predicted.flags.c_contiguous:
            raise NotInPrograms("outputs that must be copied")
        gather_x, gather_y = epochs.add_gather(program, inputs), epochs.add_gather(program, targets)
        # What changes from batch to batch where targets count more or less than others.
        rows, smoothing = predicted.reshape(-1, predicted.shape[-1]), None
        if of_labels(loss):
            self._counted = {"scales": np.full(len(rows), 1 / len(rows), dtype)}
            if loss.smoothing:
                self._counted["rests"] = np.zeros(len(rows), dtype)
                smoothing = self._counted["rests"], loss.shares(rows.shape[-1]).astype(dtype)
        elif weighed:
            self._counted = {"factors": np.zeros(predicted.shape, dtype), "divisor": np.zeros(1)}
        self._changing = [*self._counted.values()] if weighed else []
        masks = self._add_masks(program)
        for tape in tapes:
            tape.operation.add_to(program)
        described, kept = like(output), predicted  # of which the loss is taken
        slope = numbers(described)
        if of_labels(loss):
            kept = np.zeros(len(rows) if smoothing is None else (2, len(rows)))
            add_cross_entropy(program, rows, targets, kept, slope, self._counted["scales"], smoothing)
        else:
            add_slope(program, loss, predicted, targets, slope, **self._counted)
        out = add_copy(program, kept.ctypes.data, 0, kept.nbytes)
        into = network.split(gradient)
        self._kept = [described, kept]
        for index in reversed(range(len(tapes))):
            adjoint = tapes[index].adjoint(described, index > 0, into[index], False)
            adjoint.spare()
            adjoint.add_to(program)
            self._kept.append(adjoint)
            described = adjoint.dx
        rest = [*memory, *([] if decays is None else [decays])]
        scalars = epochs.add_update(program, optimizer._step(1, 0.1)[0], flat, previous, gradient, rest, clip)
        found = elementwise.add_check(program, flat)
        self.shape, self.nbytes, self.dtype = kept.shape, kept.nbytes, kept.dtype
        place = epochs.GATHER.fields
        self.record = (
            program.address, *(each.ctypes.data + place["chosen"][1] for each in (gather_x, gather_y)),
            *(each.ctypes.data + place["source"][1] for each in (gather_x, gather_y)), out.ctypes.data + 8, scalars,
            found.ctypes.data + found.nbytes - 8, count, masks,
        )  # fmt: skip
        self.count = count

    def _add_masks(self, program):
        """Add to a program that the masks of an update, and what its targets count, are copied to where they are read.

        Returns the place of their address.
        """
        self._masks = [each for tape in self.tapes if tape.masks is not None for each in tape.masks.arrays.values()]
        self._masks += self._changing
        self.mask_bytes, first = sum(each.nbytes for each in self._masks), 0
        if not self.mask_bytes:
            return 0
        block = np.zeros(self.mask_bytes, np.uint8)
        arrived = add_copy(program, 0, block.ctypes.data, block.nbytes)
        for each in self._masks:
            program.add(copy, np.array((block.ctypes.data + first, each.ctypes.data, each.nbytes), np.int64), block, each)
            first += each.nbytes
        return arrived.ctypes.data

    def draw(self, random, drawn, counted=None):
        """Draw the masks of an update, in the order in which `fit` does, one after the other into bytes (is modified).

        random: None for a network that draws nothing.  counted: what the targets count, where they do not count the same.
        """
        if random is not None:
            for tape in self.tapes:
                tape.redraw(random)
        if counted is not None:
            for name, array in self._counted.items():
                array[...] = counted.read(name, array.shape)
        first = 0
        for each in self._masks:
            drawn[first : first + each.nbytes] = each.reshape(-1).view(np.uint8)
            first += each.nbytes


class Worker:
    """Memory of a network, and a program for each size of a batch."""

    def __init__(self, network, sizes, vectors, *options):
        flat = network.params.flat.copy()
        memory = np.zeros((vectors, len(flat)), flat.dtype)
        buffers = np.empty_like(flat), np.zeros_like(flat)
        self.batches = [Batches(network, flat, *buffers, memory, *options[:1], size, *options[1:]) for size in sizes]
        self.table = np.array([batches.record for batches in self.batches], epochs.BATCHES)
        self.record = flat.ctypes.data, memory.ctypes.data, self.table.ctypes.data
        self._kept = flat, memory, buffers
