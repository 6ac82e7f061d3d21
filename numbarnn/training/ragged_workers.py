"""A worker's program for batches of sequences of different lengths: made once, in room for the longest."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.packing import Packing, Room
from ..arrays.rows import like
from ..cpu import launch, unpack
from ..cpu.programs import add_copy
from ..cpu.ragged_programs import Changes, add_ends, add_gather_rows
from ..layers.chain import Chain
from ..layers.dense import MOST_ROWS, Linear
from ..layers.last import Ends, EndsAdjoint
from ..layers.operations import NotInPrograms
from ..layers.recurrence import Recurrence
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
        if self.count == 1 and self._steps > MOST_ROWS:
            raise NotInPrograms("a single sequence, which dense layers take in pieces")
        self.room = Room(self._steps, self.count)
        self._changes, self._starts = Changes(self.room), np.zeros(self.count, np.int64)
        self._ends = [np.zeros(self.count, np.int64) for _ in range(2)]  # rows of the last steps in h, and among all rows
        inputs = np.zeros((self.room.rows, shape[2]), dtype)
        return TensorDescriptor.compact(inputs, inputs.ctypes.data, self.room), self._add_rows(body, inputs)

    def _add_rows(self, body, target):
        """Add a gathering of rows, as of `_add_inputs`: what is chosen is in `starts` already."""
        gather, nowhere = add_gather_rows(body, target, self._starts, self.room), np.zeros(1, np.int64)
        self._changes.add(gather["steps"].reshape(1), "steps")
        body.add_kept(nowhere)
        return nowhere.ctypes.data, gather.ctypes.data

    def _add_targets(self, body, output):
        if output.packing.uniform:
            return super()._add_targets(body, output)
        (_, _, channels), dtype = self._targets
        targets = np.zeros((self.room.rows, channels), dtype)
        return targets, self._add_rows(body, targets)

    def _add_forward(self, body, operation):
        if isinstance(operation, Chain):
            for each in operation.operations:
                self._add_forward(body, each)
        elif isinstance(operation, Ends) and not operation.source.packing.uniform:
            source, (outputs, *_) = operation.source, operation.outputs.tnc
            if len(operation.directions) > 1 or source.first_entry != 1:
                raise NotInPrograms("ends of two directions")
            add_ends(body, source.array, outputs, self._ends[0], 0)
        elif isinstance(operation, (Recurrence, Linear)) and operation.tape.size.directions == 1:
            operation.add_to(body)
            if not operation.source.packing.uniform:
                self._changes.add_pass(operation.tape.forward.record)
        elif not operation.outputs.packing.uniform:
            raise NotInPrograms("an operation on sequences of different lengths")
        else:
            operation.add_to(body)

    def _add_predicted(self, body, output):
        if output.packing.uniform:
            return super()._add_predicted(body, output)
        rows, lengths = like(output), np.zeros(self.count, np.int64)
        unpack.add_unpack(body, output, rows, lengths)
        self._lengths = lengths
        return rows.array

    def _loss_added(self, records, output):
        if not output.packing.uniform:
            self._changes.add_counts(records)

    def _add_backward(self, body, adjoint):
        for fill in adjoint.fills:
            owner = getattr(fill, "__self__", None)
            if isinstance(owner, EndsAdjoint) and not owner.dx.packing.uniform:
                dx = owner.dx.array
                cleared = add_copy(body, 0, dx.ctypes.data, dx.nbytes)
                self._changes.add(cleared[2:], "rows", dx[0].nbytes)
                add_ends(body, owner.dy.tnc[0], dx, self._ends[1], 1)
            elif not hasattr(owner, "add_to") or not owner.add_to(body):
                raise NotInPrograms("a step of backward")
            elif isinstance(owner, launch.Adjoint) and not owner.tape.packing.uniform:
                self._changes.add_pass(owner.backward.record, backward=True)

    def _add_masks(self):
        self._changing += [*self._changes.arrays, self._starts, *self._ends]
        self._changing += [self._lengths] if hasattr(self, "_lengths") else []
        return super()._add_masks()

    def pack(self, chosen, lengths):
        packing = Packing(np.arange(self.count), np.zeros(self.count, np.int64), lengths[chosen], self.count, self._steps)
        self._changes.write(packing)
        self._starts[...] = chosen[packing.sequence] * self._steps
        if packing.length.all():
            self._ends[0][...] = packing.final_rows(0)[packing.last]
            self._ends[1][...] = packing.end_rows(False)[1]
        if hasattr(self, "_lengths"):
            self._lengths[...] = packing.length
        return packing
