"""Memory of a network that is trained in compiled code, and its programs: one for each size of a batch."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.rows import like, numbers
from ..cpu import elementwise, epochs
from ..cpu.losses import add_cross_entropy
from ..cpu.programs import Program, add_copy, add_program, copy
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
        self.count, self._targets, self._counted = count, (y.shape, y.dtype), {}
        body, dtype, random = Program(), flat.dtype, np.random.default_rng(0) if network.random else None
        inputs, gather_x = self._add_inputs(body, x.shape, dtype)
        output, self.tapes = network._forward(network.split(flat), inputs, ALL, random)
        targets, gather_y = self._add_targets(body, output)
        for tape in self.tapes:
            self._add_forward(body, tape.operation)
        predicted, described = self._add_predicted(body, output), like(output)
        kept, slope, first = predicted, numbers(described), len(body.records)  # kept: of which the loss is taken
        rows, smoothing = predicted.reshape(-1, predicted.shape[-1]), None
        # What changes from batch to batch where targets count more or less than others.
        if of_labels(loss):
            self._counted = {"scales": np.full(len(rows), 1 / len(rows), dtype)}
            if loss.smoothing:
                self._counted["rests"] = np.zeros(len(rows), dtype)
                smoothing = self._counted["rests"], loss.shares(rows.shape[-1]).astype(dtype)
            kept = np.zeros(len(rows) if smoothing is None else (2, len(rows)))
            add_cross_entropy(body, rows, targets, kept, slope, self._counted["scales"], smoothing)
        else:
            if weighed:
                self._counted = {"factors": np.zeros(predicted.shape, dtype), "divisor": np.zeros(1)}
            add_slope(body, loss, predicted, targets, slope, **self._counted)
        self._loss_added(body.records[first:], output)
        out = add_copy(body, kept.ctypes.data, 0, kept.nbytes)
        into = network.split(gradient)
        self._kept = [described, kept]
        for index in reversed(range(len(self.tapes))):
            adjoint = self.tapes[index].adjoint(described, index > 0, into[index], False)
            adjoint.spare()
            self._add_backward(body, adjoint)
            self._kept.append(adjoint)
            described = adjoint.dx
        rest = [*memory, *([] if decays is None else [decays])]
        scalars = epochs.add_update(body, optimizer._step(1, 0.1)[0], flat, previous, gradient, rest, clip)
        found = elementwise.add_check(body, flat)
        self._changing = [*self._counted.values()] if weighed else []
        self.program = Program()
        masks = self._add_masks()
        add_program(self.program, body)
        self.shape, self.nbytes, self.dtype = kept.shape, kept.nbytes, kept.dtype
        self.record = (
            self.program.address, *(chosen for chosen, _ in (gather_x, gather_y)),
            *(source for _, source in (gather_x, gather_y)), out.ctypes.data + 8, scalars,
            found.ctypes.data + found.nbytes - 8, count, masks,
        )  # fmt: skip

    def _add_inputs(self, body, shape, dtype):
        """(a descriptor of x, (where the address of its samples is to be, the address of x itself)); gathers x."""
        inputs = np.zeros((shape[1], self.count, shape[2]), dtype)
        return TensorDescriptor.of_tnc(inputs), self._places(epochs.add_gather(body, inputs))

    def _add_targets(self, body, output):
        """(where the targets of an output are gathered, the places as of `_add_inputs`)."""
        (_, steps, channels), dtype = self._targets
        targets = np.zeros((steps, self.count, channels), dtype)
        return targets, self._places(epochs.add_gather(body, targets))

    @staticmethod
    def _places(gather):
        """Where in the record of a `gather` the addresses of the samples and of their array are to be."""
        return tuple(gather.ctypes.data + epochs.GATHER.fields[name][1] for name in ("chosen", "source"))

    def _add_forward(self, body, operation):
        """Add an operation forward."""
        operation.add_to(body)

    def _add_predicted(self, body, output):
        """The numbers of the output in C order, when all that has been added is done."""
        predicted = numbers(output)
        if not predicted.flags.c_contiguous:
            raise NotInPrograms("outputs that must be copied")
        return predicted

    def _loss_added(self, records, output):
        """The loss of an output has been added, with these records."""

    def _add_backward(self, body, adjoint):
        """Add the way back through a layer."""
        adjoint.add_to(body)

    def _add_masks(self):
        """Add to the program that the masks of an update, and what its targets count, are copied to where they are read.

        Returns the place of their address.
        """
        self._masks = [each for tape in self.tapes if tape.masks is not None for each in tape.masks.arrays.values()]
        self._masks += self._changing
        self.mask_bytes, first = sum(each.nbytes for each in self._masks), 0
        if not self.mask_bytes:
            return 0
        block = np.zeros(self.mask_bytes, np.uint8)
        arrived = add_copy(self.program, 0, block.ctypes.data, block.nbytes)
        for each in self._masks:
            record = np.array((block.ctypes.data + first, each.ctypes.data, each.nbytes), np.int64)
            self.program.add(copy, record, block, each)
            first += each.nbytes
        return arrived.ctypes.data

    def pack(self, chosen, lengths):
        """The Packing of the samples of an update, of sequences of different lengths; None of others."""
        return None

    def draw(self, random, drawn, counted=None):
        """Draw the masks of an update, in the order in which `fit` does, one after the other into bytes (is modified).

        random: None for a network that draws nothing.  counted: what the targets count, where they do not count the same.
        """
        if random is not None:
            for tape in self.tapes:
                tape.redraw(random)
        if counted is not None:
            for name, array in self._counted.items():
                values = np.ravel(counted.read(name, array.shape))
                array.reshape(-1)[: len(values)] = values
        first = 0
        for each in self._masks:
            drawn[first : first + each.nbytes] = each.reshape(-1).view(np.uint8)
            first += each.nbytes


class Worker:
    """Memory of a network, and a program for each size of a batch."""

    def __init__(self, network, sizes, vectors, *options, batches=Batches):
        flat = network.params.flat.copy()
        memory = np.zeros((vectors, len(flat)), flat.dtype)
        buffers = np.empty_like(flat), np.zeros_like(flat)
        self.batches = [batches(network, flat, *buffers, memory, *options[:1], size, *options[1:]) for size in sizes]
        self.table = np.array([batches.record for batches in self.batches], epochs.BATCHES)
        self.record = flat.ctypes.data, memory.ctypes.data, self.table.ctypes.data
        self._kept = flat, memory, buffers
