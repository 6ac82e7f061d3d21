"""The equations of cells on the GPU's scalars: in the simulator, or on a GPU, they agree with the CPU's vectors."""

import numpy as np
import pytest
from numba import njit
from numba.extending import overload

from numbarnn import cells
from numbarnn.cells.activations import Clipped, Elu, Gelu, HardSigmoid, Identity, Silu, Softplus
from numbarnn.cpu import types as cpu
from numbarnn.cpu.normalized import load_terms
from numbarnn.cpu.simd import lanes, load, splat, store
from numbarnn.cpu.vectors import VECTOR_BYTES
from numbarnn.engine.choices import joined
from numbarnn.errors import DeviceError

try:
    from numbarnn.cuda.device import require

    require()
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)

import cell_kernels  # noqa: E402

from numbarnn.cuda.arrays import asarray  # noqa: E402
from numbarnn.cuda.launches import launch  # noqa: E402
from numbarnn.cuda.types import get, number, plain, put  # noqa: E402

COUNT = VECTOR_BYTES // 8  # units: a vector of the CPU's
CELLS = [
    cells.RNNCell(Gelu()),
    cells.GRUAfterCell(),
    cells.GRUBeforeCell(Clipped(Elu(0.5), 1.0), Silu()),
    cells.LSTMCell(HardSigmoid(), Softplus(), Identity()),
    cells.LSTMCell(projected=True),
    cells.PeepholeLSTMCell(),
    cells.IndRNNCell(),
    cells.LeakyInsideCell(),
    cells.PerturbedMemoryCell(cells.CoupledPeepholeLSTMCell()),
    cells.RecurrentDropoutCell(cells.MGUCell()),
    cells.DecayedCell(cells.GRUAfterCell(), True),
    cells.DecayedMemoryCell(cells.LSTMCell()),
]
NORMALIZED = [cells.NormalizedLSTMCell(), cells.NormalizedGRUCell()]


@njit
def cpu_step(cell, real, row, pre, states, given, drives, saved, operand):
    """`cell_kernels.step` of one vector; addresses, and the bytes from row to row."""
    count, h, c = lanes(real), states, states + 2 * row
    old, values = cpu.load_state(cell, real, h, c, count), cpu.load_slots(cell, real, pre, row)
    taken = joined(cpu.load_unit_values(cell, real, given, row), cpu.load_drives(cell, real, drives, 0, count))
    if cell.gated_span[1] > 0:
        values, gated = cell.gate(values, old, taken)
        store(gated, operand)
        cpu.store_all(values, pre, row)
    new, kept = cell.forward(values, old, taken)
    cpu.store_state(cell, new, h + row, c + row, count)
    cpu.store_all(kept, saved, row)


@njit
def cpu_step_adjoint(cell, real, row, states, given, drives, saved, dstates, dy, dcells, doperand, dpre):
    """`cell_kernels.step_adjoint` of one vector."""
    count, h, c = lanes(real), states, states + 2 * row
    old, new = cpu.load_state(cell, real, h, c, count), cpu.load_state(cell, real, h + row, c + row, count)
    taken = joined(cpu.load_unit_values(cell, real, given, row), cpu.load_drives(cell, real, drives, 0, count))
    kept = cpu.load_saved(cell, real, saved, row)
    derivative = cpu.add_output(cell, real, cpu.load_dstate(cell, real, dstates, dstates + row, count), dy, count)
    derivative = cpu.add_cells(cell, derivative, load(real, dcells))
    found, dold = cell.adjoint(kept, old, new, derivative, taken)
    cpu.store_all(found, dpre, row)
    if cell.gated_span[1] > 0:
        found = cpu.load_dpre(cell, real, dpre, row)
        found, dold = cell.gate_adjoint(kept, old, load(real, doperand), found, dold, taken)
        cpu.store_all(found, dpre, row)
    cpu.store_state(cell, dold, dstates, dstates + row, count)


@njit
def cpu_normalized_step(cell, real, row, pre, c, saved, out):
    """`cell_kernels.normalized_step` of one vector."""
    value = load(real, c)
    scale = cell.inverse_deviation(value * value, value)
    hat = cell.normalized(value, splat(real, 0.25), scale)
    new, kept = cell.forward(load_terms(cell, real, pre, row), cpu.load_state(cell, real, c, c, lanes(real)), ())
    cpu.store_all(kept, saved, row)
    finish(cell, real, row, new, kept, value, out)
    store(hat, out + 2 * row)
    store(cell.normalized_adjoint(hat, value, scale, splat(real, 1) / 3, load(real, pre)), out + 3 * row)


def finish(cell, real, row, new, kept, value, out):
    """The output of a cell that `normalizes_cell`."""


@overload(finish)
def _finish(cell, real, row, new, kept, value, out):
    def output(cell, real, row, new, kept, value, out):
        do, dc = cell.output_adjoint(kept, new[1], value)
        store(cell.output(new[0], new[1]), out)
        store(do + dc, out + row)

    return output if cell.cell.normalizes_cell else lambda cell, real, row, new, kept, value, out: None


def buffers(seed, **rows):
    """{name: random array (rows, COUNT)}, in float64 but representable in float32."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-2, 2, (count, COUNT)).astype(np.float32).astype(float) for name, count in rows.items()}


def on_device(kernel, cell, dtype, arrays, *numbers):
    """Run a kernel on copies of the arrays: {name: array}."""
    memory = {name: asarray(array.astype(dtype)) for name, array in arrays.items()}
    launch(kernel, (1, COUNT), cell, dtype(0), *numbers, *memory.values())
    return {name: memory[name].get() for name in arrays}


def on_cpu(function, cell, arrays):
    """The same by a function of addresses, which also gets the addresses of the drives."""
    arrays = {name: array.copy() for name, array in arrays.items()}
    addresses = []
    for name, array in arrays.items():
        addresses.append(array.ctypes.data)
        if name == "given":
            first = array.ctypes.data + cell.unit_value_count * array.strides[0]
            addresses.append(tuple(first + i * array.strides[0] for i in range(len(cell.drives))))
    function(cell, np.float64(0), 8 * COUNT, *addresses)
    return arrays


def assert_close(found, expected, dtype):
    for name, array in expected.items():
        assert found[name].dtype == dtype
        error, size = np.abs(found[name] - array), np.abs(array).max(initial=1)
        assert error.max(initial=0) <= 100 * np.finfo(dtype).eps * size, name


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
def test_as_on_the_cpu(cell):
    given = cell.unit_value_count + cell.drive_count
    arrays = buffers(1, pre=cell.slots, states=4, given=given, saved=cell.saved, operand=1)
    expected = on_cpu(cpu_step, cell, arrays)
    for dtype in (np.float64, np.float32):
        assert_close(on_device(cell_kernels.step, cell, dtype, arrays, COUNT), expected, dtype)
    kept = {name: expected[name] for name in ("states", "given", "saved")}
    arrays = kept | buffers(2, dstates=2, dy=1, dcells=1, doperand=1, dpre=cell.dpre_count)
    expected = on_cpu(cpu_step_adjoint, cell, arrays)
    for dtype in (np.float64, np.float32):
        assert_close(on_device(cell_kernels.step_adjoint, cell, dtype, arrays, COUNT), expected, dtype)


@pytest.mark.parametrize("cell", NORMALIZED, ids=lambda cell: type(cell).__name__)
def test_normalized_as_on_the_cpu(cell):
    arrays = buffers(1, pre=cell.slots, c=1, saved=cell.saved, out=4)
    expected = on_cpu(cpu_normalized_step, cell, arrays)
    for dtype in (np.float64, np.float32):
        assert_close(on_device(cell_kernels.normalized_step, cell, dtype, arrays, COUNT), expected, dtype)
    table = asarray(np.full(30, -1, np.int64))
    launch(cell_kernels.runs_of, (1, 1), cell, table)
    expected = [number for run in cell.layer_norms for number in (run.first, run.slots, run.term)]
    for index, run in enumerate(cell.layer_norms):
        expected += [index] * run.slots
    found = table.get().tolist()
    assert found == expected + [-1] * (len(found) - len(expected))


@pytest.mark.parametrize("cell", [*CELLS, *NORMALIZED], ids=lambda cell: type(cell).__name__)
def test_what_a_cell_says_of_itself(cell):
    table = asarray(np.full(40, -1, np.int64))
    launch(cell_kernels.constants, (1, 1), cell, np.float32(0), table)
    expected = [
        len(cell.gates), cell.slots, cell.saved, cell.states, len(cell.unit_values), len(cell.drives), cell.dpre_count,
        *cell.input_span, *cell.recurrent_span, *cell.gated_span, cell.normalized_values, cell.deviations,
        4 if cell.projected else 3, 2, *cell.input_gates, *cell.recurrent_gates, *cell.gated_gates,
    ]  # fmt: skip
    found = table.get().tolist()
    assert found == expected + [-1] * (len(found) - len(expected))


def test_one_number_at_a_time():
    real = np.float32(0)
    array = np.zeros(3, np.float32)
    put(number(real, 1.5), array, 2)
    assert get(array, 2) == 1.5 and type(number(real, 3)) is np.float32 and plain(get(array, 2)) == 1.5


def test_a_cell_as_an_argument():
    cell = cells.GRUAfterCell()
    assert cell._numba_type_ == cells.GRUAfterCell()._numba_type_ != cells.LSTMCell()._numba_type_
    for given in (cell, cells.LSTMCell(), cells.GRUAfterCell()):  # a kernel is looked up by the cell, each time
        table = asarray(np.full(40, -1, np.int64))
        launch(cell_kernels.constants, (1, 1), given, np.float32(0), table)
        assert table.get()[0] == len(given.gates)
