"""Forward derivatives of layers whose outputs are fed back: tangents step after step, as `feedback` takes values."""

import numpy as np

from .feedback import FedCalls
from .memory import borrow
from .records import place
from .tangent_launch import T_DX, T_X
from .tangent_rows import TANGENT
from .tapes import ROWS_WORDS


class TangentSteps(FedCalls):
    """All steps of tangents, several at once."""

    def add_tangents(self, tangents, source, outputs, dx):
        """Add the steps of a layer's `tangent_launch.Tangents`.

        source, outputs: descriptors, (T, N, channels), of what the layer read and wrote; dx: of the tangents of its source,
        None for zeros.
        """
        block = borrow(tangents.plans.scratch.nbytes)
        record, task = tangents.prepared(block[1]), tangents.plans.task
        table = None if dx is None else np.array([each.record for each in dx], np.int64)
        self._kept += block, tangents, table, dx
        for part in range(self.parts):
            own = self.of_one_step(record, TANGENT, outputs)
            own[place(TANGENT, "tangent_parts")] = 1
            own[T_X : T_X + ROWS_WORDS] = source.record
            own[T_DX] = 0 if table is None else table.ctypes.data
            self.add(part, task, tangents.tape.size.cell, own, self.moves_of(tangents.tape, TANGENT, 1), part)
