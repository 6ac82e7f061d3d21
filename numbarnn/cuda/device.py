"""The GPU as this package sees it: the only module that imports Numba's ``cuda`` and CuPy.

Nothing here speaks to a driver before `require` or the first launch.  In Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``)
kernels run as Python, thread by thread.
"""

import contextlib
import functools

import numpy as np
from numba import config

from ..engine.disk_cache import Sources
from ..engine.numba_internals import keep_cuda_kernel
from ..errors import DeviceError

if not hasattr(np, "row_stack"):  # NumPy 2.5 has dropped it, and numba-cuda asks for it when it is imported
    np.row_stack = np.vstack
from numba import cuda as _cuda

SIMULATED = bool(config.ENABLE_CUDASIM)
KERNELS = {}  # name: dispatcher, of all kernels imported so far
THREADS = 2 if SIMULATED else 256  # of a block, where a kernel takes any number
MOST_BLOCKS = 1 if SIMULATED else 4096  # of a kernel whose threads take one number after another

_COMPILES = not SIMULATED and "numba_cuda" in _cuda.__file__  # and not Numba's built-in target
_SOURCES = Sources("cells", "engine", "cuda")  # every module that a kernel may be made of


class _Simulated:
    """Numba's ``cuda`` of the simulator; inside a kernel what its thread sees.

    The simulator itself swaps the module in the globals of each device function at each call, which takes longer than most
    of them.
    """

    def __getattr__(self, name):
        return getattr(_in_kernel() or _cuda, name)


if SIMULATED:
    from numba.cuda.simulator.kernel import _get_kernel_context as _in_kernel

    cuda = _Simulated()
    from . import standin as cupy
else:
    cuda = _cuda
    try:
        import cupy
    except ImportError:  # `require` says so
        cupy = None


def _name(python):
    return f"{python.__module__.rpartition('.')[2]}.{python.__name__}"


def function(python, **options):
    """`python` as a device function, which kernels call."""
    return python if SIMULATED else _cuda.jit(device=True, **options)(python)


def kernel(python=None, **options):
    """`python` as a kernel, compiled for each type of its arguments when first called with it.

    Parameters
    ----------
    python : callable
        Written for one thread; it returns nothing.
    options
        Of ``cuda.jit``, such as ``launch_bounds`` or ``max_registers``; the simulator has none of them.
    """
    if python is None:
        return functools.partial(kernel, **options)
    if SIMULATED:
        dispatcher = _cuda.jit(python)
    else:
        dispatcher = _cuda.jit(**options)(python)
        if _COMPILES:
            keep_cuda_kernel(dispatcher, python, _SOURCES)
    KERNELS[_name(python)] = dispatcher
    return dispatcher


def blocks_for(count, threads=THREADS):
    """(blocks, threads) for a kernel whose threads take every so-manieth of `count` numbers."""
    return max(1, min(-(-count // threads), MOST_BLOCKS)), threads


@functools.cache
def require():
    """Raise DeviceError, saying what is missing and how to get it, unless there is a GPU that kernels can run on."""
    if SIMULATED:
        return
    simulator = "; without a GPU, NUMBA_ENABLE_CUDASIM=1 runs the kernels in Numba's simulator"
    missing = [name for name, there in (("numba-cuda", _COMPILES), ("cupy", cupy is not None)) if not there]
    if missing:
        raise DeviceError(
            f"device 'cuda': expected the packages numba-cuda and cupy, found no {' and no '.join(missing)}; "
            f'pip install "numbarnn[cuda12]" (or [cuda13], like the driver){simulator}'
        )
    try:  # both raise the driver's own errors, of whatever class, is_available that libnvvm is not found
        if not _cuda.is_available():
            raise RuntimeError(_cuda.cuda_error() or "libnvvm is not found; the extras of numbarnn have it")
        count = len(_cuda.gpus)
    except Exception as error:
        raise DeviceError(f"device 'cuda': expected NVIDIA's driver and compiler, got: {error}{simulator}") from error
    if not count:
        raise DeviceError(f"device 'cuda': expected a GPU, found none{simulator}")


def current_stream():
    """The stream that this Python thread's kernels and copies run on, as Numba has it: CuPy's current one."""
    require()
    return _of_numba(cupy.cuda.get_current_stream().ptr)


@functools.lru_cache(maxsize=64)
def _of_numba(address):
    """Numba's stream at an address; 0 for CUDA's default one."""
    if not address:
        return 0
    return _cuda.stream() if SIMULATED else _cuda.external_stream(address)


class _Address:
    """A stream that is known by its address."""

    def __init__(self, address):
        self.address = int(address)

    def __cuda_stream__(self):
        return 0, self.address


def _as_stream(given):
    """CuPy's stream over one of PyTorch's, Numba's or any other's, or over an address."""
    if not hasattr(given, "__cuda_stream__"):
        for name in ("cuda_stream", "ptr", "handle"):  # PyTorch's, an older CuPy's and Numba's
            given = getattr(given, name, given)
        given = _Address(getattr(given, "value", given) or 0)
    return cupy.cuda.Stream.from_external(given)


@contextlib.contextmanager
def stream(given=None):
    """Run what this Python thread does inside on another stream.

    The stream waits for what was asked for before, and what is asked for after waits for the stream: the order is always the
    order of the program.  What runs side by side are different Python threads, each on its own stream, and the kernels that
    others put on theirs.

    Parameters
    ----------
    given : stream, optional
        Numba's, PyTorch's, CuPy's, or the address of one; new if None.
    """
    require()
    outer, inner = cupy.cuda.get_current_stream(), cupy.cuda.Stream() if given is None else _as_stream(given)
    wait(inner, outer)
    try:
        with inner:
            yield current_stream()
    finally:
        wait(outer, inner)


def wait(waiting, awaited):
    """Let one of CuPy's streams go on when all that is on another by now is done."""
    if waiting.ptr != awaited.ptr:
        waiting.wait_event(awaited.record(cupy.cuda.Event(disable_timing=True)))


def stream_address():
    """A number that tells this Python thread's stream from others."""
    return cupy.cuda.get_current_stream().ptr
