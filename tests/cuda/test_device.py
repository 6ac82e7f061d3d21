"""What happens without a GPU, streams, and device memory: taken back, used again, and not there."""

import os
import subprocess
import sys

import numpy as np
import pytest

from numbarnn import cuda
from numbarnn.cuda import device, memory
from numbarnn.errors import DeviceError


def run(program, **environment):
    """The output of a Python program in a process of its own, outside the simulator."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"} | environment
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_asks_for_no_cuda():
    program = "import sys, numbarnn; print([n for n in sys.modules if n.startswith(('numba.cuda', 'numba_cuda', 'cuda'))])"
    assert run(program).strip() == "[]"


def test_what_is_missing_is_said():
    program = """
from numbarnn.cuda import device
from numbarnn.errors import DeviceError
try:
    device.require()
    print("there is a GPU")
except DeviceError as error:
    print(error)
"""
    said = run(program)
    if "there is a GPU" in said:
        pytest.skip("there is a GPU")
    assert "device 'cuda': expected" in said and "NUMBA_ENABLE_CUDASIM=1" in said
    assert "numbarnn[cuda13]" in said or "driver" in said


def test_kernels_are_known_by_name():
    assert device.KERNELS["array_kernels.move"] is sys.modules["numbarnn.cuda.array_kernels"].move


def test_streams_are_nested_and_left():
    before = cuda.current_stream()
    x = cuda.asarray(np.arange(6.0))
    with cuda.stream() as outer:
        assert cuda.current_stream() is outer
        y = x + 1
        with pytest.raises(ValueError, match="inside"):
            with cuda.stream() as inner:
                assert cuda.current_stream() is inner
                y = y * 2
                raise ValueError("inside")
        assert cuda.current_stream() is outer
    assert cuda.current_stream() is before
    assert np.array_equal(y.get(), (np.arange(6.0) + 1) * 2)
    cuda.synchronize()


def test_the_stream_of_another_library():
    class Default:
        cuda_stream = 0

    with cuda.stream(Default()) as stream:
        assert stream == 0


def test_memory_is_used_again():
    address = cuda.empty((1000,), "float64").pointer
    assert cuda.empty((900,), "float64").pointer == address
    kept = cuda.empty((1000,), "float32")
    view = kept[3:, None]
    place = kept.pointer
    del kept
    assert cuda.empty((1000,), "float32").pointer != place  # the view keeps it
    del view
    assert cuda.empty((1000,), "float32").pointer == place


def test_memory_lives_as_long_as_what_kernels_take():
    taken = cuda.asarray(np.arange(1000)).memory
    other = cuda.zeros((1000,), "int64")
    assert other.memory is not taken
    assert np.array_equal(taken[:1000].copy_to_host(), np.arange(1000))
    del taken
    assert np.array_equal(other.get(), np.zeros(1000))


class OutOfMemoryError(Exception):
    """Like the driver's."""


@pytest.fixture
def little_memory(monkeypatch):
    """At most 1 MiB at a time; returns a list of what was asked for."""
    asked, allocate = [], memory._allocate
    memory.release()

    def limited(nbytes):
        asked.append(nbytes)
        if nbytes > 1 << 20:
            raise OutOfMemoryError("CUDA_ERROR_OUT_OF_MEMORY")
        return allocate(nbytes)

    monkeypatch.setattr(memory, "_allocate", limited)
    monkeypatch.setattr(memory, "free_and_total", lambda: (1 << 20, 1 << 22))
    return asked


def test_out_of_memory_says_how_much(little_memory):
    x = cuda.asarray(np.arange(10.0))
    with pytest.raises(DeviceError, match=r"expected 8,388,608 bytes, got 1,048,576 free of 4,194,304"):
        cuda.empty((1 << 20,), "float64")
    assert np.array_equal((x + x).get(), 2 * np.arange(10.0))  # all else goes on
    assert little_memory.count(1 << 23) == 2  # asked for again after the free blocks were given back


def test_another_error_is_not_taken_for_it(monkeypatch):
    def fail(nbytes):
        raise OSError("something else")

    memory.release()
    monkeypatch.setattr(memory, "_allocate", fail)
    with pytest.raises(OSError, match="something else"):
        cuda.empty((1 << 20,), "float64")


def test_not_all_free_memory_is_kept(monkeypatch):
    memory.release()
    monkeypatch.setattr(memory, "_most_kept", lambda: 1 << 12)
    blocks = [cuda.empty((300,), "float64") for _ in range(4)]
    del blocks
    assert 0 < memory._kept <= 1 << 12
    memory.release()
    assert memory._kept == 0 and not memory._free
