"""From device arrays to kernel calls for one layer; what `cpu.launch` is for NumPy arrays.

A `Tape` or an `Adjoint` works out once what its kernels are told; `fill` runs them, and may be called again: a training
makes these objects once for each batch size.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units, P channels of h (H, unless h is projected),
G gates, V values of a unit.
In a ragged batch N are its runs and T is the longest; S counts the rows at work at all steps together, T N if all are.
"""

import math

from ..arrays.descriptor import TensorDescriptor
from ..engine.keep import ALL
from ..engine.tape import StateAdjoint, StateTape
from . import dense
from .arrays import empty
from .gradients import sums_over_rows
from .over_time import counters_of, run_kernel
from .plans import Size
from .product import multiply
from .records import Product, Recurrent
from .repeated import Repeated
from .rows import copy_to_rows, lying_as_matrix, lying_as_rows, matrix_of
from .weights import copy, packed, pieces_of, sum_runs, transposed

ALIGNED = 32  # numbers: buffers begin at whole 128 bytes
NONE = Recurrent(*(-1,) * len(Recurrent._fields))


class Layout:
    """Where named buffers lie in one block of memory.

    Parameters
    ----------
    sizes : dict of str to int
        Numbers in each buffer.
    """

    def __init__(self, sizes):
        self.offsets, self.size = {}, 0
        for name, size in sizes.items():
            self.offsets[name] = self.size
            self.size += -(-size // ALIGNED) * ALIGNED


class Tape(StateTape):
    """What one layer's forward leaves behind, in device memory; see `cpu.launch.Tape`.

    Numbers, W being the layer's weights and biases: ``(S + 2 N) D P`` for h and as many of H for the c of an LSTM, W, and to
    keep all W again, transposed, but for x's weight, ``D S H`` times the values that the cell saves and normalizes,
    ``S D H`` for the operand of a projection or of a gated slot, and ``S D H`` for each drive.  To keep states leaves these
    out; backward then runs the layer forward again, so that only one of the stacked layers has them at a time.

    Attributes
    ----------
    h : cupy.ndarray
        (rows, D, P), rows as in `packing`: y is in the blocks 1 to T.  Of a layer without recurrence (S, 1, H).
    c : cupy.ndarray or None
        Like h, with H channels; (N, D, H) where only the last step's is kept.
    """

    def __init__(self, kernels, size, keep, parameters, x, initial, unit_values, drives):
        if keep.what == "checkpoints":
            raise NotImplementedError(
                "checkpoints: expected None on device 'cuda', whose backward runs no segments yet; tape='states' is there"
            )
        size.check_slots()
        self.kernels, self.size, self.keep, self.x, self.drives = kernels, size, keep, x, drives
        self.packing, self.parameters = size.packing, parameters
        self.recurrent = kernels is not dense
        cell, d, n, s, hidden = size.cell, size.directions, size.batch, size.rows, size.hidden
        self.kept_c = cell.states > 1 and keep.what != "nothing" and keep.what != "weights"
        all_kept = keep.what == "all"
        blocks = self.packing.blocks(0, size.steps + 2) if self.recurrent else s
        operand = hidden * d if cell.gated_slots or cell.projected else 0
        sizes = {
            "h": blocks * d * size.width,
            "c": (blocks if self.kept_c else n) * d * hidden if cell.states > 1 else 0,
            "operand": (s if all_kept else n) * operand,
            "saved": d * s * cell.saved * hidden if all_kept else 0,
            "normalized": d * s * cell.normalized_values * hidden,
            "deviations": d * s * cell.deviations,
            "unit_values": d * cell.unit_value_count * hidden,
            "drives": len(drives) * s * d * hidden,
            "bias": d * cell.slots * hidden,
            **size.weights(),
        }
        if all_kept and self.recurrent:
            sizes |= {f"back_{name}": numbers for name, numbers in size.weights().items() if name != "input"}
        self.layout = Layout(sizes)
        self.block = empty((max(self.layout.size, 1),), size.dtype)
        at = self.layout.offsets
        self.h = self.part("h", (blocks, d, size.width))
        self.c = self.part("c", (blocks if self.kept_c else n, d, hidden)) if cell.states > 1 else None
        self._unit_values = self.part("unit_values", (d, cell.unit_value_count, hidden)) if cell.unit_values else None
        self._write_unit_values, self._origin = unit_values, initial
        self.teams = size.forward_teams()
        self.scratch_layout = Layout(
            {
                "counters": counters_of(self, self.teams),
                "inputs": d * s * len(cell.input_slots) * hidden,
                "x": s * size.channels,
                "pre": d * n * cell.slots * hidden,
            }
        )
        scratch = self.scratch_layout.offsets
        self.call = NONE._replace(
            steps=size.steps, batch=n, rows=s, hidden=hidden, width=size.width, directions=d,
            splits=self.teams.splits, units=self.teams.units, abreast=self.teams.abreast, tiles=self.teams.tiles,
            tile=self.teams.tile,
            from_region=0, to_region=0, on_chip=int(self.teams.on_chip), keep=int(all_kept),
            c_kept=int(self.kept_c), operand_kept=int(all_kept),
            inputs=scratch["inputs"], pre=scratch["pre"],
            **{
                name: at[name]
                for name in (
                    "h", "c", "operand", "saved", "normalized", "deviations", "unit_values", "drives", "bias", "recurrent",
                    "gated", "projection",
                )  # fmt: skip
            },
        )  # fmt: skip
        self.packed = False
        self._repeated = Repeated(self.scratch_layout.size, size.dtype)
        self._x_lies = lying_as_matrix(x) is not None
        self.start(initial)
        self.fill()

    def again(self):
        """A tape that keeps all, of the same call, with the same bits."""
        start = self.initial if self._initial is None else self._initial
        return Tape(self.kernels, self.size, ALL, self.parameters, self.x, start, self._write_unit_values, self.drives)

    def part(self, name, shape):
        """A named buffer of the tape."""
        start = self.layout.offsets[name]
        return self.block[start : start + math.prod(shape)].reshape(shape)

    def fill(self):
        """Run forward: fill h, c and whatever is kept from x, the parameters and the drives as they are now."""
        size, cell = self.size, self.size.cell
        if self._unit_values is not None and not self.packed:
            self._write_unit_values(self._unit_values)
        if self._initial is not None:
            self.start(self._initial)
        elif cell.states > 1 and not self.kept_c and self.recurrent:
            self.start(self.initial)  # a single step of c: the last fill has overwritten it
        for i, drive in enumerate(self.drives) if size.rows else ():
            copy_to_rows(drive, self.block, self.layout.offsets["drives"] + i * size.rows * size.directions * size.hidden)
        if self._x_lies and (self.packed or self.keep.what != "weights"):
            self._repeated.run(self._launch)
        else:
            self._launch(self._repeated.scratch())
        self.packed = self.keep.what == "weights"

    @property
    def recording(self):
        """The launches that `fill` is, where it is nothing else and they are noted; else None."""
        cell = self.size.cell
        starts = self._initial is not None or (cell.states > 1 and not self.kept_c and self.recurrent)
        more = starts or self.drives or self._unit_values is not None or not self._x_lies or self.keep.what == "weights"
        return None if more else self._repeated.recording

    def _launch(self, scratch):
        """What of `fill` is launches alone, unless x is copied."""
        size, cell, real = self.size, self.size.cell, self.size.dtype.type(0)
        copies = () if self.packed else [*packed(size, self.layout.offsets)]
        if not self.packed and "back_recurrent" in self.layout.offsets:
            copies += transposed(size, self.back)
        counters = self.scratch_layout.offsets["counters"], counters_of(self, self.teams)
        copy(real, copies, self.parameters, self.block, scratch, *counters)
        if not size.rows:
            return
        x, x_start, row, channel = matrix_of(self.x, scratch, self.scratch_layout.offsets["x"])
        columns = len(cell.input_slots) * size.hidden
        for d in range(size.directions):
            weight = self.layout.offsets["input"]
            multiply(
                real,
                Product(
                    size.rows, columns, size.channels, x_start, row, channel, weight + d * size.channels * columns, columns,
                    1, self.call.inputs + d * size.rows * columns, columns, 1, 0,
                ),
                x, self.block, scratch,
            )  # fmt: skip
        run_kernel("forward", self, self.call, self.teams, scratch, counters[0])

    @property
    def back(self):
        """{name: where the transposed weights are that backward multiplies with}, of a tape that keeps all."""
        return {name: self.layout.offsets[f"back_{name}"] for name in ("recurrent", "gated", "projection")}

    def let_go_of_y(self):
        """Nothing: y is always part of the tape."""

    @property
    def nbytes(self):
        """Bytes of the tape, x not counted."""
        return self.block.nbytes + self._repeated.nbytes

    @property
    def outputs(self):
        """The h of every step, (T, N, D * P)."""
        return self._described(self.h)

    @property
    def cells(self):
        """The c of every step, (T, N, D * H), likewise."""
        return self._described(self.c)

    @property
    def saved(self):
        """What the cell saved of every step for the adjoint, (D, S, saved, H)."""
        size = self.size
        return self.part("saved", (size.directions, size.rows, size.cell.saved, size.hidden))

    def _described(self, states):
        rows = states.reshape(len(states), -1)
        make = TensorDescriptor.blocks if self.recurrent else TensorDescriptor.compact
        return make(rows, 0, self.packing)

    def stepper(self):
        """A function without arguments that takes one step of a stream; the tape keeps the weights in order."""
        batch = self.size.batch

        def step():
            kept_c, self.kept_c, self._initial = self.kept_c, True, None  # carried on: not to be started afresh
            self.fill()
            self.kept_c = kept_c
            if self.recurrent:
                self.h[:batch] = self.h[batch : 2 * batch]

        return step

    @property
    def _states(self):
        return super()._states if self.recurrent else ()


def run(kernels, size, parameters, x, initial, keep, unit_values=None, drives=()):
    """One layer forward; see `cpu.launch.run`."""
    return Tape(kernels, size, keep, parameters, x, initial, unit_values, drives)


class Adjoint(StateAdjoint):
    """One layer's backward; see `cpu.launch.Adjoint`.

    Attributes
    ----------
    dx : TensorDescriptor or None
        (T, N, I).
    dinitial : list of cupy.ndarray
        (D, sequences, P or H) for each state of the cell.
    dunit_values : cupy.ndarray
        (D, V, H).
    """

    def __init__(self, tape, dy, dfinal, need_x, gradient, accumulate, dcells=None):
        super().__init__(tape, dy, dfinal, gradient, accumulate, dcells)
        size, packing, cell = tape.size, tape.packing, tape.size.cell
        d, n, s, hidden, width = size.directions, size.batch, size.rows, size.hidden, size.width
        columns = cell.dpre_count * hidden
        self._dy = None if dy is None else lying_as_rows(dy)
        self.teams = size.backward_teams()
        self.layout = Layout(
            {
                "counters": counters_of(tape, self.teams),
                "dh": d * n * width if tape.recurrent else 0,
                "dc": d * n * hidden if cell.states > 1 else 0,
                "doperand": d * n * hidden,
                "dy": s * d * width if dy is not None and self._dy is None else 0,
                "dcells": s * d * hidden if dcells is not None else 0,
                "dpre": d * s * columns,
                "dprojected": d * s * width if cell.projected else 0,
                "x": s * size.channels,
                "sums": columns,
                "partial": pieces_of(s) * columns,
            }
        )
        self._repeated = Repeated(self.layout.size, size.dtype)
        self.dinitial = []
        self.dunit_values = empty((d, cell.unit_value_count, hidden), size.dtype) if cell.unit_values else None
        self.dx = self._dx = None
        if need_x:
            self._dx = empty((max(s, 1), size.channels), size.dtype)
            self.dx = TensorDescriptor.compact(self._dx[:s], 0, packing)

    def fill(self):
        """Run backward: write dx, dinitial, dunit_values and the gradient; where not all was kept, forward first."""
        kept = self.tape
        if kept.keep.what != "all":
            self.tape = kept.again()
        try:
            self._fill()
        finally:
            self.tape = kept

    @property
    def recording(self):
        """The launches that `fill` is, where it is nothing else and they are noted; else None."""
        return self._repeated.recording if self._repeats() else None

    def _fill(self):
        if self._repeats():
            self._repeated.run(self._launch)
        else:
            self._launch(self._repeated.scratch())

    def _repeats(self):
        """Whether all that `_launch` does is launches, the same each time."""
        tape, cell = self.tape, self.tape.size.cell
        copied = self.dcells is not None or (self.dy is not None and self._dy is None) or lying_as_matrix(tape.x) is None
        given = self.dfinal is not None or self.reads_initial
        return bool(
            tape.packing.uniform and tape.size.rows and tape.keep.what == "all" and cell.feeds_every_gate
            and not (copied or given or cell.unit_values)
        )  # fmt: skip

    def _launch(self, scratch):
        tape, size, at = self.tape, self.tape.size, self.layout.offsets
        zeros = at["doperand" if self._begun else "dh"]  # numbers before it: counters, and perhaps dh and dc
        copy(size.dtype.type(0), (), scratch, scratch, scratch, 0, zeros)
        shapes = [(size.directions, size.batch, width) for width in size.widths] if tape.recurrent else ()
        dstates = [self._part(scratch, name, shape) for name, shape in zip(("dh", "dc"), shapes)]
        self._start(dstates)
        if not size.rows:
            self._clear_gradient()
        else:
            self._run(scratch)
        self.dinitial = [self._summed(dstate) for dstate in dstates] if self.reads_initial else []

    @property
    def _begun(self):
        """Whether dh and dc are written before the kernel: for dL/d(final state), `dual_steps`, or as there is no step."""
        size = self.tape.size
        return self.dfinal is not None or not size.rows or size.dtype.kind == "c"

    def _part(self, scratch, name, shape):
        start = self.layout.offsets[name]
        return scratch[start : start + math.prod(shape)].reshape(shape)

    def _rows(self, scratch):
        """(numbers, start) of dy's rows, copied to scratch unless they lie so; a start of -1 where there is none."""
        if self.dy is None:
            return scratch, -1
        if self._dy is not None:
            return self._dy
        found = scratch, self.layout.offsets["dy"]
        copy_to_rows(self.dy, *found)
        return found

    def spare(self):
        """From now on leave out the derivatives of the initial states, unless somebody says that they are read."""
        self.reads_initial = False

    def _summed(self, dstate):
        """A copy of the derivatives of the initial states, added up over all runs of a sequence."""
        if self.tape.packing.uniform:
            return dstate.copy()
        return sum_runs(dstate, self.tape.packing)

    def _run(self, scratch):
        tape, cell = self.tape, self.tape.size.cell
        at = self.layout.offsets
        dy, dy_start = self._rows(scratch)
        if self.dcells is not None:
            copy_to_rows(self.dcells, scratch, at["dcells"])
        if not cell.feeds_every_gate:
            self._clear_gradient()  # of weights that no kernel reads
        call = tape.call._replace(
            splits=self.teams.splits, units=self.teams.units, abreast=self.teams.abreast, tiles=self.teams.tiles,
            tile=self.teams.tile,
            on_chip=int(self.teams.on_chip), dy=dy_start, begun=int(self._begun),
            dcells=-1 if self.dcells is None else at["dcells"],
            **{name: at[name] for name in ("dh", "dc", "doperand", "dpre", "dprojected")},
            **(tape.back if tape.recurrent else {}),
        )  # fmt: skip
        if not cell.recurrent_slots:
            call = call._replace(recurrent=0)
        run_kernel("backward", tape, call, self.teams, scratch, at["counters"], (dy,))
        self._sum(scratch)

    def _sum(self, scratch):
        """After the loop over time, whose derivatives are in scratch: write the gradient, dunit_values and dx."""
        sums_over_rows(self.tape, scratch, self.layout.offsets, self.gradient, self.accumulate, self.dunit_values, self._dx)


__all__ = ["Adjoint", "Size", "Tape", "run"]
