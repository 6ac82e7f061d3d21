"""Launches: what the driver is told, blocks that wait for each other, and what is refused."""

import warnings
from typing import NamedTuple

import numpy as np
import pytest

from numbarnn import cells
from numbarnn.cuda import asarray, clusters, empty, launches, recurrent, team, use_clusters, zeros
from numbarnn.cuda.device import SIMULATED, cuda, kernel
from numbarnn.cuda.records import Recurrent
from numbarnn.errors import DeviceError


class Told(NamedTuple):
    """Integers, some of them in a tuple."""

    first: int
    places: tuple[int, int]
    last: int


@kernel
def note_all(real, wide, flag, count, shape, told, source, target):
    """Write everything that the kernel was called with."""
    if cuda.grid(1) == 0:
        target[0] = real
        target[1] = wide
        target[2] = 1 if flag else 0
        target[3] = count
        target[4], target[5] = shape[0], shape[1]
        target[6], target[7], target[8], target[9] = told.first, told.places[0], told.places[1], told.last
        target[10] = source[2]
        target[11] = len(source)


@kernel
def count_blocks(counters, blocks):
    """Every block counts itself."""
    if cuda.threadIdx.x == 0:
        cuda.atomic.add(counters, 0, 1)
        blocks[cuda.blockIdx.x] = cuda.blockDim.x


@pytest.mark.parametrize("flag", [False, True])
def test_every_kind_of_argument_arrives(flag):
    target = zeros((12,), "float64")
    for shift in (0, 5):  # the second time nothing is compiled: what is told is written over
        told = Told(7 + shift, (8, -9), 1 << 40)
        source = asarray(np.arange(6, dtype=np.float32).reshape(2, 3) + shift)
        given = np.float32(1.5), np.float64(0.1), flag, 3, (4, 5), told, source, target
        launches.launch(note_all, (1, 2), *given)
        expected = [1.5, 0.1, flag, 3, 4, 5, 7 + shift, 8, -9, 1 << 40, 2 + shift, 6]
        assert target.get().tolist() == expected


def test_a_small_grid_is_no_warning():
    counters, blocks = zeros((1,), "int64"), zeros((3,), "int64")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        launches.launch(count_blocks, (3, 4), counters, blocks)
    assert counters.get()[0] == 3 and blocks.get().tolist() == [4, 4, 4]


@pytest.mark.skipif(SIMULATED, reason="the simulator has no driver")
def test_blocks_that_wait_are_not_launched_where_there_is_no_room_for_all():
    counters, blocks = zeros((1,), "int64"), zeros((4096,), "int64")
    launches.launch(count_blocks, (4096, 1024), counters, blocks)  # who does not wait may come later
    with pytest.raises(DeviceError, match="count_blocks: expected room on the GPU for all at once, got 4096 blocks of 1024"):
        launches.launch(count_blocks, (4096, 1024), counters, blocks, together=True)
    assert counters.get()[0] == 4096


@pytest.mark.skipif(SIMULATED, reason="the simulator has no driver")
def test_what_the_driver_refuses_is_said():
    with pytest.raises(DeviceError, match="count_blocks, 1 blocks of 4096 threads.*the driver says CUDA_ERROR"):
        launches.launch(count_blocks, (1, 4096), zeros((1,), "int64"), zeros((1,), "int64"))


@pytest.mark.parametrize("kind", ["array", "offset"])
def test_an_array_that_does_not_lie_in_order_is_refused_by_the_simulator(kind):
    if not SIMULATED:
        pytest.skip("a GPU's kernel takes the numbers as they lie")
    x = zeros((2, 6), "int64")
    with pytest.raises(ValueError, match="expected a C-contiguous array"):
        launches.launch(count_blocks, (1, 1), x.T if kind == "array" else x[:, 1:], zeros((1,), "int64"))


def test_blocks_that_never_come_are_an_error():
    if not SIMULATED:
        pytest.skip("it ends the use of the GPU by this process; the emulator has a test")
    with pytest.raises(DeviceError, match="waited in vain"):
        launch_half_a_team()


def launch_half_a_team():
    """Launch one block of a team of two, of an RNN of four units over two steps."""
    steps, batch, hidden = 2, 1, 4
    record = Recurrent(
        **dict.fromkeys(Recurrent._fields, 0)
        | {
            "steps": steps, "batch": batch, "rows": steps * batch, "hidden": hidden, "width": hidden, "directions": 1,
            "splits": 2, "units": 2, "abreast": 1, "tiles": 1, "tile": team.ROWS, "to_region": steps,
        }
    )  # fmt: skip
    real = np.float32(0)
    shared = team.exchange(2, 1, hidden) * 4
    table = asarray(np.arange(steps + 3, dtype=np.int64) * batch)
    launches.launch(
        recurrent.forward, (1, 2 * team.PARTS, shared), cells.RNNCell(), real, record, zeros((999,), "float32"),
        zeros((99,), "float32"), table, zeros((1,), "int64"),
    )  # fmt: skip
    return empty((1,), "float32").get()


def test_clusters_are_refused_where_there_are_none(monkeypatch):
    with pytest.raises(TypeError, match="choice: expected True or False, got 8"):
        use_clusters(8)
    assert use_clusters(False) is False and not clusters.wanted()
    if SIMULATED:
        with pytest.raises(DeviceError, match="use_clusters: expected a GPU, got Numba's simulator"):
            use_clusters()
        with pytest.raises(DeviceError, match="launch: expected a GPU for clusters of blocks"):
            launches.launch(count_blocks, (8, 1), zeros((1,), "int64"), zeros((8,), "int64"), cluster=8)
    else:
        monkeypatch.setattr(clusters, "LEAST_CAPABILITY", (99, 0))
        with pytest.raises(DeviceError, match=r"expected a GPU of compute capability 99.0 or newer, got \d+\.\d"):
            use_clusters()
    assert not clusters.wanted()
