"""The same bits from every threading layer, number of threads, Python thread and process, started in any order."""

import multiprocessing
import os
import sys
from pathlib import Path

import pytest
import workload
from processes import output, run, start

LOADS_TBB = """
from numba.np.ufunc import parallel
parallel._check_tbb_version_compatible()
from numba.np.ufunc import tbbpool
"""
COLD = """
import sys, numpy
import numbarnn as nr
from numbarnn.cpu import recurrent
from workload import digest
x = numpy.random.default_rng(0).standard_normal((5, 70, 3)).astype("float32")
for activation in sys.argv[1:]:
    layer = nr.RNN(5, activation=activation)
    print(activation, digest(layer(layer.init(3, seed=0, dtype="float32"), x)))
print(sum(recurrent.forward.stats.cache_misses.values()), file=sys.stderr)
"""
ACTIVATIONS = ("tanh", "relu", "identity", "sigmoid")


def variables(layer):
    """What a process needs to use a threading layer: pip puts TBB's library where no loader looks for it."""
    folders = (str(Path(sys.prefix) / "lib"), os.environ.get("LD_LIBRARY_PATH", ""))
    found = {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders))} if layer == "tbb" else {}
    return found | {"NUMBA_THREADING_LAYER": layer}


@pytest.mark.parametrize("layer", ["omp", "tbb", "workqueue"])
def test_layers_threads_and_python_threads_agree(layer):
    if layer == "tbb":
        trial = start("-c", LOADS_TBB, **variables("tbb"))
        reason = trial.communicate()[1].strip().splitlines()[-1:]
        if trial.returncode:
            pytest.skip(f"Numba cannot load TBB here: {''.join(reason)}")
    assert run(workload.__file__, **variables(layer)) == f"{layer} {workload.work()}\n"


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
