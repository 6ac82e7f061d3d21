"""Memory of a network that is trained in compiled code, and its programs: one for each size of a batch."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.rows import like, numbers
from ..cpu import elementwise, epochs
from ..cpu import losses as kernels
from ..cpu.losses import add_cross_entropy
from ..cpu.programs import Program, add_copy, copy
from ..engine.keep import ALL
from ..layers.operations import NotInPrograms
from .counts import plain
from .losses import CrossEntropy


def of_labels(loss):
    """Whether a loss is the cross entropy of labels, without smoothing."""
    return plain(loss) == CrossEntropy()


class Batches:
    """A worker's program for batches of one size."""

    def __init__(self, network, flat, previous, gradient, memory, decays, count, x, y, loss, optimizer, clip, weighed):
        program = self.program = Program()
        dtype, (_, steps, channels) = flat.dtype, x.shape
        inputs, targets = np.zeros((steps, count, channels), dtype), np.zeros((y.shape[1], count, y.shape[2]), y.dtype)
        random = np.random.default_rng(0) if network.random else None
        output, self.tapes = network._forward(network.split(flat), TensorDescriptor.of_tnc(inputs), ALL, random)
        tapes = self.tapes
        predicted = numbers(output)
        if not predicted.flags.c_contiguous:
            raise NotInPrograms("outputs that must be copied")
        gather_x, gather_y = epochs.add_gather(program, inputs), epochs.add_gather(program, targets)
        # What changes from batch to batch where targets count more or less than others.
        self._scales = np.zeros(len(predicted.reshape(-1, predicted.shape[-1])) if of_labels(loss) else 0, dtype)
        self._factors, self._divisor = np.zeros(predicted.shape if weighed else 0, dtype), np.zeros(1)
        self._counted = [] if not weighed else [self._scales] if of_labels(loss) else [self._factors, self._divisor]
        masks = self._add_masks(program)
        for tape in tapes:
            tape.operation.add_to(program)
        described, kept = like(output), predicted  # of which the loss is taken
        slope = numbers(described)
        if of_labels(loss):
            rows = predicted.reshape(-1, predicted.shape[-1])
            kept = np.zeros(len(rows))
            if weighed:
                self._add_scaled_cross_entropy(program, rows, targets, kept, slope)
            else:
                add_cross_entropy(program, rows, targets, kept, slope)
        elif weighed:
            self._add_weighed_slope(program, loss.name, predicted, targets, slope)
        else:
            epochs.add_slope(program, loss.name, predicted, targets, slope)
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
        self._masks += self._counted
        self.mask_bytes, first = sum(each.nbytes for each in self._masks), 0
        if not self.mask_bytes:
            return 0
        block = np.zeros(self.mask_bytes, np.uint8)
        arrived = add_copy(program, 0, block.ctypes.data, block.nbytes)
        for each in self._masks:
            program.add(copy, np.array((block.ctypes.data + first, each.ctypes.data, each.nbytes), np.int64), block, each)
            first += each.nbytes
        return arrived.ctypes.data

    def _add_scaled_cross_entropy(self, program, logits, labels, values, gradient):
        """Add the cross entropy of labels to a program, the derivative of each row times its scale."""
        (rows, classes), scales = logits.shape, self._scales
        addresses = (array.ctypes.data for array in (logits, labels, values, gradient, scales))
        record = np.array((1, rows, classes, *addresses, 0, 0, 0, 0.0), kernels.CROSS_ENTROPY)
        alone = logits.size >= 2 * kernels.SMALLEST_PART
        program.add_job(
            kernels._cross_entropy, None, logits.dtype, record, logits, labels, values, gradient, scales, alone=alone
        )

    def _add_weighed_slope(self, program, name, prediction, target, slope):
        """Add the slope of a loss to a program: that of each difference, times its factor, over what all of them count."""
        own, zeros = np.zeros_like(slope), np.full_like(slope, -0.0)  # the difference to -0.0 is never -0.0
        steps = (name, (prediction, target, own)), ("half_mse", (own, zeros, slope))  # the second one only divides
        records = [
            np.array((*(each.ctypes.data for each in arrays), slope.size, epochs.KINDS[kind], 1.0), epochs.SLOPE)
            for kind, arrays in steps
        ]
        program.add_job(epochs._slope, None, slope.dtype, records[0], *steps[0][1])
        elementwise.add_product(program, own, self._factors, own)
        divisor = records[1].ctypes.data + epochs.SLOPE.fields["divisor"][1]
        program.add(copy, np.array((self._divisor.ctypes.data, divisor, self._divisor.nbytes), np.int64), self._divisor)
        program.add_job(epochs._slope, None, slope.dtype, records[1], *steps[1][1])

    def draw(self, random, drawn, counted=None):
        """Draw the masks of an update, in the order in which `fit` does, one after the other into bytes (is modified).

        random: None for a network that draws nothing.  counted: what the targets count, where they do not count the same.
        """
        if random is not None:
            for tape in self.tapes:
                tape.redraw(random)
        if counted is not None and len(self._scales):
            self._scales[...] = counted.factors / counted.total
        elif counted is not None:
            self._factors[...], self._divisor[0] = counted.factors, counted.total
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
