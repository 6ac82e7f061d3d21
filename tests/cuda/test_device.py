"""What happens without a GPU and without CuPy, streams, and device memory that is not there."""

import os
import subprocess
import sys

import numpy as np
import pytest

from numbarnn import cuda
from numbarnn.cuda import arrays, device, product
from numbarnn.errors import DeviceError, ShapeError


def run(program, **environment):
    """The output of a Python program in a process of its own, outside the simulator."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"} | environment
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_asks_for_no_cuda():
    names = "('numba.cuda', 'numba_cuda', 'cuda', 'cupy')"
    program = f"import sys, numbarnn; print([n for n in sys.modules if n.startswith({names})])"
    assert run(program).strip() == "[]"


def test_what_is_missing_is_said():
    program = """
from numbarnn.cuda import device
from numbarnn.errors import DeviceError, ShapeError
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
    assert 'pip install "numbarnn[cuda12]"' in said or "driver" in said


def test_kernels_are_known_by_name():
    assert device.KERNELS["product.product"] is product.product


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


def test_what_runs_on_another_stream_is_numbas_and_cupys_alike():
    cupy = device.cupy
    with cuda.stream() as outer:
        mine = cupy.cuda.get_current_stream()
        with cuda.stream(mine) as again:
            assert again is outer is cuda.current_stream() and device.stream_address() == mine.ptr
    with cupy.cuda.Stream() as theirs:
        assert device.stream_address() == theirs.ptr and cuda.current_stream() != 0


@pytest.mark.parametrize("make", [cuda.empty, cuda.zeros])
def test_out_of_memory_says_how_much(make, monkeypatch):
    def refuse(*arguments):
        raise device.cupy.cuda.memory.OutOfMemoryError("Out of memory allocating ...")

    x = cuda.asarray(np.arange(10.0))
    with monkeypatch.context() as patch:
        patch.setattr(device.cupy, make.__name__, refuse)
        patch.setattr(device.cupy.cuda.runtime, "memGetInfo", lambda: (1 << 20, 1 << 22))
        with pytest.raises(DeviceError, match=r"expected 8,388,608 bytes, got 1,048,576 free of 4,194,304"):
            make((1 << 20,), "float64")
    assert np.array_equal((x + x).get(), 2 * np.arange(10.0))  # all else goes on


def test_lengths_less_than_0_are_refused():
    with pytest.raises(ShapeError, match="shape: expected lengths of 0 and more"):
        cuda.empty((3, -1), "float32")


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="array: expected a numpy.ndarray, or an array with __cuda_array_interface__"):
        cuda.asarray([1.0])

    class OnHost:
        def __dlpack__(self):
            """Never asked for."""

        def __dlpack_device__(self):
            return 1, 0

    with pytest.raises(DeviceError, match="expected one in a GPU's memory, got OnHost on DLPack's device 1"):
        cuda.asarray(OnHost())


def test_the_class_of_former_versions_is_named():
    with pytest.raises(AttributeError, match=r"expected cupy\.ndarray"):
        cuda.DeviceArray  # noqa: B018 (asked for, and no more)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x, lambda x: x[1:], lambda x: x[:, 1:], lambda x: x[::-1], lambda x: x[:, ::-2], lambda x: x.T[::-1, 2:],
        lambda x: x[2:2], lambda x: x[1, :, None], lambda x: np.broadcast_to(x[0], (3, 5)),
    ],
)  # fmt: skip
def test_where_in_memory_an_array_lies(view):
    seen = view(cuda.asarray(np.arange(20.0).reshape(4, 5)))
    numbers, start = arrays.flat(seen)
    places = start + sum(axis * stride // 8 for axis, stride in zip(np.indices(seen.shape), seen.strides))
    assert numbers.ndim == 1 and np.array_equal(numbers.get()[places], seen.get())


def test_memory_that_arrays_share():
    x = cuda.zeros((4, 6), "float32")
    assert arrays.may_share_memory(x, x[1:]) and arrays.may_share_memory(x[::-1], x.T[2])
    assert not arrays.may_share_memory(x[:2], x[2:]) and not arrays.may_share_memory(x, x[2:2])
    assert not arrays.may_share_memory(x, x.copy())
