"""The emulated GPU sees what the simulator does not: races, memory that nobody wrote, blocks that wait, what is missing."""

import ctypes
import functools
import gc
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import emulator
import numpy as np
import pytest

import numbarnn as nr
from numbarnn.cuda import asarray, empty, graphs, launches, team, use_graphs, zeros
from numbarnn.cuda.device import cuda, function, kernel
from numbarnn.cuda.graphs import Graph
from numbarnn.cuda.records import Recurrent
from numbarnn.errors import DeviceError

sys.path.insert(0, str(Path(__file__).parents[1]))
THREADS = 32
wait_for_team = function(
    FunctionType(team.wait_for_team.py_func.__code__, {**vars(team), "MOST_POLLS": 1000})  # its code, with less patience
)


@kernel
def reverse_with_barrier(x, y):
    """Write the numbers of x in reverse to y."""
    shared = cuda.shared.array(32, x.dtype)
    thread = cuda.threadIdx.x
    shared[thread] = x[thread]
    cuda.syncthreads()
    y[thread] = shared[31 - thread]


@kernel
def reverse_without_barrier(x, y, counters):
    """The same, and each thread may read what another has not written yet."""
    shared = cuda.shared.array(32, x.dtype)
    thread = cuda.threadIdx.x
    shared[thread] = x[thread]
    y[thread] = shared[31 - thread]
    cuda.syncthreads()
    counters[thread] = 1


@kernel
def write_at(place, y):
    """Write one number, wherever it is."""
    if cuda.grid(1) == 0:
        y[place] = 1


@kernel
def meet(call, counters, table, region):
    """Count that this block has come, and let all of its team see it."""
    table[cuda.blockIdx.x] = 1
    wait_for_team(call, counters, 0, region)
    table[call.splits + cuda.blockIdx.x] = table[(cuda.blockIdx.x + 1) % call.splits]


@pytest.fixture(autouse=True)
def shuffled():
    """Every test begins and ends with the same order."""
    emulator.seed(1)
    yield
    emulator.seed(1)


def test_a_missing_barrier_is_seen():
    x = asarray(np.arange(1.0, 33.0))
    for number in (0, 1, 2, 3):
        emulator.seed(number)
        y = empty((THREADS,), "float64")
        launches.launch(reverse_with_barrier, (1, THREADS), x, y)
        assert np.array_equal(y.get(), x.get()[::-1])
    wrong = empty((THREADS,), "float64")
    launches.launch(reverse_without_barrier, (1, THREADS), x, wrong, zeros((THREADS,), "int64"))
    assert np.isnan(wrong.get()).any()  # shared memory that nobody has written


@pytest.mark.parametrize("place", [10, 12, 41, -1, -7])
def test_what_is_written_beside_an_array_is_seen(place):
    y = zeros((10,), "float64")
    start = y.data.ptr
    wrapped = place + 10 if place < 0 else place  # Python's indices count from the end
    if wrapped >= 10:
        with pytest.raises(DeviceError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
            launches.launch(write_at, (1, 1), place, y)
        ctypes.memset(start + 8 * place, 0xFF, 8)
    launches.launch(write_at, (1, 1), wrapped % 10, y)
    assert y.get().sum() == 1


def test_new_memory_is_not_a_number():
    assert np.isnan(empty((3, 5), "float32").get()).all()


@pytest.mark.parametrize("number", range(4))
def test_blocks_wait_for_each_other(number):
    emulator.seed(number)
    counters, table = zeros((1,), "int64"), zeros((10,), "int64")
    call = Recurrent(*[0] * len(Recurrent._fields))._replace(splits=5, to_region=2)
    launches.launch(meet, (5, THREADS), call, counters, table, 0, together=True)
    assert table.get().tolist() == [1] * 10 and counters.get()[0] == 5


def test_blocks_that_never_come_are_an_error():
    counters, table = zeros((1,), "int64"), zeros((12,), "int64")
    call = Recurrent(*[0] * len(Recurrent._fields))._replace(splits=6, to_region=2)
    with pytest.raises(DeviceError, match="meet, 5 blocks.*CUDA_ERROR_LAUNCH_FAILED"):
        launches.launch(meet, (5, THREADS), call, counters, table, 0, together=True)


@pytest.mark.parametrize(("hidden", "batch", "cooperative"), [(32, 300, False), (130, 5, True)])
def test_teams_of_several_blocks_are_launched_together(hidden, batch, cooperative):
    layer = nr.GRU(hidden)
    p, x = layer.init(3), np.random.default_rng(0).standard_normal((3, batch, 3)).astype(np.float32)
    before = emulator.launches()[1]
    y, _ = layer(p.to("cuda"), asarray(x))
    assert emulator.launches()[1] - before == cooperative
    np.testing.assert_allclose(y.get(), layer(p, x)[0], rtol=0, atol=1e-5)


def test_the_order_of_blocks_and_threads_makes_no_difference():
    layer = nr.GRU(130)  # teams of several blocks
    p, x = layer.init(3).to("cuda"), asarray(np.random.default_rng(0).standard_normal((3, 5, 3)).astype(np.float32))
    found = []
    for number in (0, 1, 2):
        emulator.seed(number)
        y, _, tape = layer.forward(p, x)
        g = layer.backward(tape, asarray(np.ones(y.shape, np.float32)))
        found.append([array.get().tobytes() for array in (y, g.params.flat, g.x)])
    assert found[0] == found[1] == found[2]


def program(text):
    """What a program on the emulated GPU prints, and what it complains of."""
    done = subprocess.run([sys.executable, "-c", text], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.strip()


def test_a_driver_without_its_compiler_is_said():
    said, _ = program("""
from cuda import pathfinder
find = pathfinder.load_nvidia_dynamic_lib
def find_all_but_the_compiler(name):
    return find("there is none" if name == "nvvm" else name)
pathfinder.load_nvidia_dynamic_lib = find_all_but_the_compiler
import numbarnn as nr
try:
    nr.Network([nr.GRU(8)], channels=1, device="cuda")
except nr.errors.DeviceError as error:
    print(error)
""")
    assert said.startswith("device 'cuda': expected NVIDIA's driver and compiler, got:") and "NUMBA_ENABLE_CUDASIM=1" in said


def test_a_program_ends_without_a_word():
    said, complained = program("""
import gc, numpy as np
from numbarnn import cuda
kept = [cuda.asarray(np.arange(1000.0))]
kept.append(kept)
kept[0].get()
print(float((kept[0] + 1).sum()))
""")
    assert (said, complained) == ("500500.0", "")


PASSES = {  # layers, and the graphs that forward, the loss and backward are
    "all": ((nr.RNN(5), nr.GRU(4, layers=2), nr.Last(), nr.Dense(3, "relu"), nr.Dense(1)), 1),
    "learned": ((nr.RNN(5), nr.GRU(4, learned_state=True), nr.Last(), nr.Dense(1)), 4),  # Python has a part in both
}


@pytest.mark.parametrize("name", PASSES)
def test_graphs_of_a_training_have_the_bits_of_its_launches(name):
    random, (layers, graphs_of_update) = np.random.default_rng(0), PASSES[name]
    x, y = random.standard_normal((2, 8, 3)).astype(np.float32), random.standard_normal((8, 1)).astype(np.float32)

    def trained(choice, epochs=3):
        network = nr.Network(layers, channels=3, device="cuda", seed=0)
        before = emulator.graph_launches()
        use_graphs(choice)
        try:
            history = network.fit(x, y, epochs=epochs, batch_size=2, progress=False)
        finally:
            use_graphs(False)
        return (network.params.flat.get().tobytes(), history.loss), emulator.graph_launches() - before

    (expected, none), (found, several) = trained(False), trained(True)
    assert found == expected and none == 0
    # The first update of a size is not noted, the second is, the third but for the loss, which stands alone in it.
    assert several == graphs_of_update * (3 * 4 - 2) + 1


def test_graphs_follow_what_changes():
    layers, x = (nr.GRU(4), nr.LSTM(3), nr.Dense(1)), np.random.default_rng(1).standard_normal((8, 2, 1)).astype(np.float32)
    found = []
    for choice in (False, True):
        network = nr.Network(layers, channels=1, device="cuda", seed=0)
        trainer = nr.Trainer(network)
        for number in range(6):
            use_graphs(choice and number not in (1, 4))
            states = {"carry": True, "steps": 2} if number == 3 else {}
            trainer.fit(x, np.cos(x), epochs=2, batch_size=2, progress=False, **states)
        use_graphs(False)
        found.append(network.params.flat.get().tobytes())
    assert found[0] == found[1]


def test_a_graph_that_the_driver_refuses_is_said_and_not_kept(monkeypatch):
    gc.collect()
    before, blocks = emulator.graphs(), zeros((4,), "int64")
    call = functools.partial(launches.launch, write_at, (1, 1), 2, blocks)

    def ended():
        call()
        raise KeyboardInterrupt

    with pytest.raises(DeviceError, match="CUDA graph, begin: the driver says"):
        Graph([call, lambda: Graph([])])  # a capture inside of a capture
    with pytest.raises(KeyboardInterrupt):
        Graph([ended])
    with monkeypatch.context() as patched, pytest.raises(DeviceError, match="CUDA graph, instantiate: the driver says"):
        patched.setattr(graphs.driver, "cuGraphInstantiate", lambda graph, flags: (graphs.driver.CUresult(2),))
        Graph([call])
    assert emulator.graphs() == before and not blocks.get().any()
    graph = Graph([call])
    assert emulator.graphs() == before + 1 and not blocks.get().any()
    graph.launch()
    assert blocks.get().tolist() == [0, 0, 1, 0]
    del graph
    assert emulator.graphs() == before
