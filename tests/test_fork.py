"""A forked process can compute, whatever its parent has run."""

import os

import pytest
from processes import run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="takes fork")

PROGRAM = """
import multiprocessing, os, signal, sys
import numpy as np, numbarnn as nr
from numbarnn.cpu import pool as of_threads

layer = nr.Activation("tanh")
p, x = layer.init(channels=4), np.full((300, 64, 4), 0.5, np.float32)

def work(_=None):
    value = float(layer(p, x).sum())
    assert of_threads.pool.helpers == 2
    return value

def forked(do):
    reading, writing = os.pipe()
    if os.fork() == 0:
        signal.alarm(60)  # one that hangs is killed
        try:
            said = str(do())
        except Exception as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        said = file.read()
    return said if os.WIFEXITED(os.wait()[1]) else "killed"

if "first" in sys.argv:
    value = work()
found = [forked(work), forked(lambda: forked(work))]  # a child, and a grandchild
with multiprocessing.get_context("fork").Pool(2) as pool:
    found.append(str(pool.map_async(work, range(2)).get(60)[0]))
assert forked(layer.init(channels=4).flat.sum) == "0.0", "what runs no kernel works"
value = work()  # and the parent goes on
for said in found:
    print("computes" if said == str(value) else said)
"""


@pytest.mark.parametrize("moment", ["nothing", "first"])
def test_forked_processes_compute(moment):
    """A child, its child and a pool, forked before or after the first kernel."""
    assert run("-c", PROGRAM, moment, NUMBA_NUM_THREADS="3").splitlines() == ["computes"] * 3
