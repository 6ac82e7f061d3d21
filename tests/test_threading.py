"""The same bits from any number of threads, every Python thread and every process, started in any order."""

import multiprocessing

import workload
from processes import output, run, start

COLD = """
import sys, numpy
import numbarnn as nr
from numbarnn.engine.disk_cache import Entries
from workload import digest
saved, save = [], Entries.save
Entries.save = lambda *arguments: saved.append(save(*arguments))
x = numpy.linspace(-3, 3, 1050, dtype="float32").reshape(5, 70, 3)
for activation in sys.argv[1:]:
    layer = nr.Activation(activation)
    print(activation, digest(layer(layer.init(3), x)))
print("compiled", len(saved))
"""
ACTIVATIONS = ["tanh", "relu", "softsign", "sigmoid"]


def test_threads_and_python_threads_agree():
    assert run(workload.__file__) == f"{workload.work()}\n"


def test_a_pool_of_spawned_processes():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert set(pool.map(workload.work, range(4), chunksize=1)) == {workload.work()}


def test_eight_processes_start_cold_at_once(tmp_path):
    """Each kernel is compiled once by one of them, in whatever order they ask for it."""
    orders = [[*ACTIVATIONS[first:], *ACTIVATIONS[:first]] for first in range(4)]
    started = [start("-c", COLD, *order, NUMBA_CACHE_DIR=str(tmp_path)) for order in orders * 2]
    printed = [output(process).splitlines() for process in started]
    expected = run("-c", COLD, *ACTIVATIONS, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert expected.pop() == "compiled 0"
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(int(lines.pop().split()[1]) for lines in printed) == len(kept) >= len(ACTIVATIONS)
    assert all(sorted(lines) == sorted(expected) for lines in printed)
    assert all(path.suffix == ".nbc" for path in kept)
