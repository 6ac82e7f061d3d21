"""Runs the kernels that numba-cuda compiles on this processor: behind `driver.c`, which stands for NVIDIA's libcuda.

Its arrays are those of `numbarnn.cuda.standin`, in the driver's memory.
"""

import collections
import ctypes
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import traceback
import weakref
from pathlib import Path

import numpy as np
from host_code import compile_for_host

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
RUN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, *[ctypes.c_uint] * 4
)  # what the driver calls for a launch
_lock = threading.RLock()  # one launch at a time
_kernels = {}  # by their names: (address, bytes of shared memory, whether threads wait, what keeps it)


def build(folder):
    """The path of the stand-in libcuda, compiled into a folder unless it is there."""
    sources = [HERE / "driver.c", HERE / "threads.c"]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    place = Path(folder) / digest
    library = place / "libcuda.so.1"
    if not library.exists():
        place.mkdir(parents=True, exist_ok=True)
        made = place / f"libcuda.{os.getpid()}"
        command = ["gcc", "-O2", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", made, *sources]
        subprocess.run([*map(str, command), "-ldl", "-lpthread", "-lm"], check=True)
        made.rename(library)
    return library


def start():
    """Let kernels of this process run here, and return what stands for CuPy; `run.py` has set the environment."""
    global _driver, _gil, _callback
    _driver, _gil = ctypes.CDLL(str(library()), mode=ctypes.RTLD_GLOBAL), ctypes.PyDLL(str(library()))
    _gil.emulator_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int] * 6, ctypes.c_char_p]
    seed(int(os.environ.get("NUMBARNN_EMULATOR_SEED", "1")))
    if counts_alone():
        return in_place_of_cupy(_driver)
    _callback = RUN(_run)
    _driver.emulator_run_with(_callback)
    return in_place_of_cupy(_driver)


def counts_alone():
    """Whether kernels are launched and counted, and not run: memory is zeros then."""
    return os.environ.get("NUMBARNN_EMULATOR_COUNTS") == "1"


def library():
    """The path of the stand-in libcuda of this process."""
    return Path(os.environ["NUMBARNN_EMULATED"])


def seed(number):
    """Choose the order in which blocks and threads run from now on; 0: one after the other."""
    _driver.emulator_seed(ctypes.c_uint64(number))


def launches():
    """(kernels launched so far, of these the cooperative ones, and those in clusters of blocks)."""
    names = "launches", "cooperative", "clustered"
    return tuple(ctypes.c_long.in_dll(_driver, f"emulator_{name}").value for name in names)


def graph_launches():
    """How often a CUDA graph has been launched; the launches in it count as others do."""
    return ctypes.c_long.in_dll(_driver, "emulator_graph_launches").value


def graphs():
    """How many CUDA graphs there are, and executables of such."""
    return ctypes.c_long.in_dll(_driver, "emulator_graphs").value


def launches_by_name():
    """{kernel: how often it has been launched}."""
    found, name, count = {}, ctypes.c_char_p(), ctypes.c_long()
    while _driver.emulator_count(len(found), ctypes.byref(name), ctypes.byref(count)):
        found[name.value.decode()] = count.value
    return found


def _texts(name):
    """What numba-cuda has made of a kernel for NVVM."""
    from numbarnn.cuda.device import KERNELS  # here, as a program may tell Numba of threads and folders before

    for kernel in KERNELS.values():
        for compiled in kernel.overloads.values():
            if compiled._codelibrary._entry_name == name:
                return list(compiled._codelibrary.llvm_strs)
    raise LookupError(f"no kernel of numbarnn: {name}")


def _run(name, parameters, blocks, threads, shared, cluster):
    try:
        with _lock:
            if name not in _kernels:
                _kernels[name] = _compiled(name.decode())
            entry, fixed, waits, _ = _kernels[name]
            return _gil.emulator_run(entry, parameters, blocks, threads, shared, cluster, fixed, int(waits), name[:200])
    except BaseException:  # whatever it is, the driver says that the launch has failed
        traceback.print_exc()
        return 719


def _compiled(name):
    texts = _texts(name)
    digest = hashlib.sha256("\0".join([(HERE / "host_code.py").read_text(), *texts]).encode()).hexdigest()[:24]
    folder = library().parent / "kernels"
    path, about = folder / f"{digest}.so", folder / f"{digest}.json"
    if not about.exists():
        folder.mkdir(exist_ok=True)
        made, written = folder / f"{digest}.{os.getpid()}.so", folder / f"{digest}.{os.getpid()}.json"
        found = compile_for_host(texts, name, made, library())
        made.rename(path)
        written.write_text(json.dumps(found))
        written.rename(about)
    fixed, waits = json.loads(about.read_text())
    code = ctypes.CDLL(str(path))
    return ctypes.cast(code.emulated_entry, ctypes.c_void_p), fixed, waits, code


def in_place_of_cupy(driver):
    """`numbarnn.cuda.standin` as a module of its own, with arrays in the driver's memory."""
    spec = importlib.util.spec_from_file_location("cupy", ROOT / "numbarnn" / "cuda" / "standin.py")
    cupy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cupy)

    def empty(shape, dtype):
        dtype, shape = np.dtype(dtype), (shape,) if np.isscalar(shape) else tuple(shape)
        count, address = int(np.prod(shape, dtype=np.int64)), ctypes.c_uint64()
        if driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(count * dtype.itemsize)):
            raise cupy.cuda.memory.OutOfMemoryError(f"Out of memory allocating {count * dtype.itemsize:,} bytes")
        if counts_alone():
            ctypes.memset(address.value, 0, count * dtype.itemsize)
        memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address.value)
        weakref.finalize(memory, _free, driver, address.value).atexit = False
        return cupy.ndarray(np.frombuffer(memory, dtype, count).reshape(shape))

    def filled(host):
        found = empty(host.shape, host.dtype)
        found._host[...] = host
        return found

    def asarray(a, dtype=None, order="K"):
        host = np.array(a, dtype, order=order)
        return filled(host) if host.flags.c_contiguous else cupy.ndarray(host)

    cupy.empty, cupy.asarray = empty, asarray
    cupy.zeros = lambda shape, dtype: filled(np.zeros(shape, dtype))
    cupy.cuda = _WithoutCublas(cupy.cuda)
    _count_operations(cupy)
    return cupy


CUPY = (
    collections.Counter()
)  # operations of CuPy's arrays: kernels, copies from and to the host, and what the host waits for
OPERATIONS = {  # methods of CuPy's arrays: what each is
    "kernels": "__array_ufunc__ __setitem__ copy astype take sum mean max min all any argmax",
    "waits": "get item __bool__ __int__ __float__",
    "uploads": "set",
}
VIEWS = "array_split broadcast_to expand_dims moveaxis ndim ravel reshape shape split squeeze swapaxes transpose".split()


def _count_operations(cupy):
    """Let the stand-in's arrays count what would be a kernel or a copy of CuPy's."""

    inside = []  # of an operation that the stand-in makes of others, CuPy has one kernel

    def counted(method, kind):
        def call(*args, **kwargs):
            CUPY[kind] += not inside or kind != "kernels"
            inside.append(kind)
            try:
                return method(*args, **kwargs)
            finally:
                inside.pop()

        return call

    for kind, names in OPERATIONS.items():
        for name in names.split():
            setattr(cupy.ndarray, name, counted(getattr(cupy.ndarray, name), kind))
    converted = cupy.ndarray.astype
    cupy.ndarray.astype = lambda self, dtype, *args, copy=True, **others: (
        self if not copy and self.dtype == dtype else converted(self, dtype, *args, copy=copy, **others)
    )  # which takes no kernel
    function = cupy.ndarray.__array_function__

    def counted_function(self, called, types, args, kwargs):
        CUPY["kernels"] += called.__name__ not in VIEWS and not inside
        return function(self, called, types, args, kwargs)

    cupy.ndarray.__array_function__ = counted_function
    cupy.asarray, cupy.zeros = counted(cupy.asarray, "uploads"), counted(cupy.zeros, "kernels")


def _free(driver, address):
    if driver.cuMemFree_v2(ctypes.c_uint64(address)):
        print("emulated driver: somebody wrote beside an array that is let go of", file=sys.stderr)
        os._exit(70)


class _WithoutCublas:
    def __init__(self, names):
        vars(self).update(vars(names))

    def __getattr__(self, name):
        if name == "cublas":
            raise ImportError("the stand-in has no cuBLAS")
        raise AttributeError(name)
