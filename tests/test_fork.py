"""A forked process computes, or says why it cannot."""

import os

import pytest
from processes import run
from test_threading import variables

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="takes fork")

PROGRAM = """
import multiprocessing, os, signal, sys
import numba, numpy as np, numbarnn as nr

layer = nr.Activation("tanh")
p, x = layer.init(channels=4), np.full((300, 64, 4), 0.5, np.float32)

def work(_=None):
    return float(layer(p, x).sum())

def forked(do):
    reading, writing = os.pipe()
    if os.fork() == 0:
        signal.alarm(60)  # one that hangs is killed
        try:
            said = str(do())
        except nr.KernelError as error:
            said = f"KernelError {error}"
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
    try:
        found.append(str(pool.map_async(work, range(2)).get(60)[0]))
    except nr.KernelError as error:
        found.append(f"KernelError {error}")
assert forked(layer.init(channels=4).flat.sum) == "0.0", "what runs no kernel works"
value = work()  # and the parent goes on
print(numba.threading_layer())
for said in found:
    print("computes" if said == str(value) else said)
"""


def after(moment, layer):
    """What a child, its child and a pool say that were forked before or after the first kernel."""
    used, *said = run("-c", PROGRAM, moment, **variables(layer)).splitlines()
    assert used == layer
    return said


def test_before_the_first_kernel_it_computes():
    assert after("nothing", "omp") == ["computes"] * 3


def test_after_a_kernel_under_openmp_it_says_what_to_do():
    for said in after("first", "omp"):
        assert said.startswith("KernelError fork: expected it before")
        assert "'spawn'" in said and "NUMBA_THREADING_LAYER" in said


def test_after_a_kernel_under_workqueue_it_computes():
    assert after("first", "workqueue") == ["computes"] * 3
