"""A worker's program for batches of sequences of different lengths: made once, in room for the longest."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.packing import Packing
from ..arrays.rows import like
from ..cpu import unpack
from ..cpu.ragged_programs import add_gather_rows
from ..layers.operations import NotInPrograms
from .rooms import Followed
from .workers import Batches


class RaggedBatches(Batches):
    """`Batches` of padded samples, each with a length of its own, for recurrent layers of one direction, `Dense` and `Last`.

    What x and y have behind a length is not read.
    """

    def __init__(self, network, *arguments):
        if network.random:
            raise NotInPrograms("masks of sequences of different lengths")
        super().__init__(network, *arguments)

    def _add_inputs(self, body, shape, dtype):
        self._steps = shape[1]
        self._followed, self._starts = Followed(self._steps, self.count), np.zeros(self.count, np.int64)
        self.room = self._followed.room
        inputs = np.zeros((self.room.rows, shape[2]), dtype)
        return TensorDescriptor.compact(inputs, inputs.ctypes.data, self.room), self._add_rows(body, inputs)

    def _add_rows(self, body, target):
        """Add a gathering of rows, as of `_add_inputs`: what is chosen is in `starts` already."""
        gather, nowhere = add_gather_rows(body, target, self._starts, self.room), np.zeros(1, np.int64)
        self._followed.changes.add(gather["steps"].reshape(1), "steps")
        body.add_kept(nowhere)
        return nowhere.ctypes.data, gather.ctypes.data

    def _add_targets(self, body, output):
        if output.packing.uniform:
            return super()._add_targets(body, output)
        (_, _, channels), dtype = self._targets
        targets = np.zeros((self.room.rows, channels), dtype)
        return targets, self._add_rows(body, targets)

    def _add_forward(self, body, operation):
        self._followed.add_forward(body, operation)

    def _add_predicted(self, body, output):
        if output.packing.uniform:
            return super()._add_predicted(body, output)
        rows, lengths = like(output), np.zeros(self.count, np.int64)
        unpack.add_unpack(body, output, rows, lengths)
        self._lengths = lengths
        return rows.array

    def _loss_added(self, records, output):
        if not output.packing.uniform:
            self._followed.changes.add_counts(records)

    def _add_backward(self, body, adjoint):
        self._followed.add_backward(body, adjoint)

    def _add_masks(self):
        self._changing += [*self._followed.arrays, self._starts]
        self._changing += [self._lengths] if hasattr(self, "_lengths") else []
        return super()._add_masks()

    def pack(self, chosen, lengths):
        packing = Packing(np.arange(self.count), np.zeros(self.count, np.int64), lengths[chosen], self.count, self._steps)
        self._followed.follow(packing)
        self._starts[...] = chosen[packing.sequence] * self._steps
        if hasattr(self, "_lengths"):
            self._lengths[...] = packing.length
        return packing
