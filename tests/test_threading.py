"""The same bits from any number of threads, every Python thread and every process, started in any order."""

import multiprocessing

import workload
from processes import output, run, start

COLD = """
import sys, numpy
import numbarnn as nr
from numbarnn.cpu import recurrent
from workload import digest
x = numpy.random.default_rng(0).standard_normal((5, 70, 3)).astype("float32")
for activation in sys.argv[1:]:
    layer = nr.RNN(5, activation=activation)
    print(activation, digest(layer(layer.init(3, seed=0, dtype="float32"), x)))
print(sum(not found.cache_hits for found in recurrent.forward_task.compiled.values()), file=sys.stderr)
"""
ACTIVATIONS = ("tanh", "relu", "identity", "sigmoid")


def test_threads_and_python_threads_agree():
    assert run(workload.__file__) == f"{workload.work()}\n"


def test_a_pool_of_spawned_processes():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert set(pool.map(workload.work, range(4), chunksize=1)) == {workload.work()}


def test_eight_processes_start_cold_at_once(tmp_path):
    expected = run("-c", COLD, *ACTIVATIONS)
    started = [start("-c", COLD, activation, NUMBA_CACHE_DIR=str(tmp_path)) for activation in ACTIVATIONS * 2]
    printed = [output(process) for process in started]
    assert "".join(printed[:4]) == "".join(printed[4:]) == expected
    last = start("-c", COLD, *ACTIVATIONS, NUMBA_CACHE_DIR=str(tmp_path))
    found, misses = last.communicate()
    assert (last.returncode, found, misses) == (0, expected, "0\n")
    assert not list(tmp_path.rglob("*.tmp.*"))
