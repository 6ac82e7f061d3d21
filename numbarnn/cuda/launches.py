"""How a kernel is put on a stream: by the driver itself, on a block of parameters that is written in place.

Numba compiles a kernel for the types of its arguments.  Its own launch takes 60 us of the host's time, and warns of grids
that leave processors idle; the driver's takes less than one.
"""

import contextlib
import functools
import struct
import threading

import numpy as np

from ..arrays.descriptor import is_on_device
from ..errors import DeviceError
from . import graphs
from .device import SIMULATED, cuda, cupy, current_stream

FREE_SHARED = 48 << 10  # bytes of shared memory that any kernel may have
NO_CONTEXT, TOO_MANY_BLOCKS = 201, 720  # CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE


def launch(kernel, shape, *args, together=False, cluster=1):
    """Put a kernel on this Python thread's stream.

    Parameters
    ----------
    kernel : dispatcher
    shape : tuple of int
        Blocks, the threads of each, and perhaps its bytes of dynamic shared memory.
    args
        Of the kernel.  It takes a C-contiguous array as the 1-D array of its numbers.
    together : bool
        Whether blocks wait for each other: the launch is refused unless there is room for all of them at once.
    cluster : int
        How many blocks that follow each other are a cluster.

    Raises
    ------
    DeviceError
        If the driver refuses.
    """
    _launch(kernel, shape, args, together, cluster)


_now = threading.local()  # recording: the Recording of what this Python thread launches, if any


class Recording:
    """Launches that can be made again, with the arguments that they had: the arrays are held, and where they lie is kept."""

    def __init__(self):
        self._calls, self._graph = [], None

    def add(self, call, *held):
        """Add what takes no arguments; held: what it needs besides."""
        self._calls.append((call, held))
        self._graph = None

    def extend(self, other):
        """Add all that is in another recording."""
        self._calls += other._calls
        self._graph = None

    def run(self):
        """Make all launches again, on this Python thread's stream; by a graph if `graphs.use_graphs` has asked for one."""
        if graphs.wanted():
            if self._graph is None:
                self._graph = graphs.Graph([call for call, _ in self._calls])
            self._graph.launch()
            return
        for call, _ in self._calls:
            call()


@contextlib.contextmanager
def recorded():
    """A `Recording` of the launches that this Python thread makes inside."""
    _now.recording = found = Recording()
    try:
        yield found
    finally:
        _now.recording = None


def add_to_recording(call, *args):
    """Let a recording have what is put on the stream without `launch`: ``call(*args)``."""
    recording = getattr(_now, "recording", None)
    if recording is not None:
        recording.add(functools.partial(call, *args))


if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    def _numbers(array):
        if not array.flags.c_contiguous:  # on a GPU, the kernel would read other numbers
            raise ValueError(f"kernel: expected a C-contiguous array, got shape {array.shape}, strides {array.strides}")
        return FakeCUDAArray(array._host.reshape(-1))

    def _launch(kernel, shape, args, together, cluster):
        if cluster > 1:
            raise DeviceError("launch: expected a GPU for clusters of blocks, got Numba's simulator")
        blocks, threads, *shared = shape
        configuration = blocks, threads, current_stream(), *shared
        kernel[configuration](*(_numbers(arg) if is_on_device(arg) else arg for arg in args))
        add_to_recording(_launch, kernel, shape, args, together, cluster)

else:
    from numba import from_dtype, types

    try:
        from cuda.bindings import driver
    except ImportError:  # numba-cuda brings it, and `require` says that it is missing
        driver = None

    def _launch(kernel, shape, args, together, cluster):
        key = kernel, *map(_kind, args)
        compiled = _compiled.get(key)
        if compiled is None:
            compiled = _compiled.setdefault(key, Compiled(kernel, args))
        compiled(shape, args, together, cluster)


_compiled = {}  # (kernel, kinds of the arguments): Compiled


def _kind(arg):
    """What tells the types of a kernel's argument apart, as fast as can be; `Compiled` says what may be one."""
    kind = type(arg)
    if kind is int or kind is bool or issubclass(kind, tuple):
        return kind
    dtype = getattr(arg, "dtype", None)
    return arg._numba_type_ if dtype is None else dtype


class Compiled:
    """One kernel compiled for some types, and called with arguments of these.

    An argument is an array on the device, a number of NumPy, an int, a bool, a tuple of ints and of such tuples, or a cell.
    """

    def __init__(self, kernel, args):
        signature = tuple(_type_of(kernel, arg) for arg in args)
        kernel.compile(signature)
        self.name, self._kernel = kernel.py_func.__name__, kernel.overloads[signature]
        self._handle = driver.CUfunction(int(self._kernel._codelibrary.get_cufunc().handle))
        self._format = struct.Struct("=" + "".join(map(_format_of, args)))
        self._count = sum(map(_count_of, args))
        self._ways = [_way_of(arg) for arg in args]
        self._most_shared = FREE_SHARED
        self._own = threading.local()

    def _memory(self):
        """Memory for parameters, and the addresses in it that the driver asks for."""
        values = np.zeros(self._count, np.int64)
        places = values.ctypes.data + 8 * np.arange(self._count)
        return values, places, int(places.ctypes.data)

    def __call__(self, shape, args, together, cluster):
        blocks, threads, shared = shape if len(shape) == 3 else (*shape, 0)
        if shared > self._most_shared:
            self._allow(shared)
        recording, memory = getattr(_now, "recording", None), getattr(self._own, "memory", None)
        if recording is not None or memory is None:
            memory = self._memory()
            if recording is None:
                self._own.memory = memory
        values, _, address = memory
        numbers = []
        for way, arg in zip(self._ways, args):
            way(numbers, arg)
        self._format.pack_into(values, 0, *numbers)
        start = functools.partial(self._start, blocks, threads, shared, address, together, cluster)
        start()
        if recording is not None:
            recording.add(start, memory, args)

    def _start(self, blocks, threads, shared, address, together, cluster):
        stream = _stream_of(cupy.cuda.get_current_stream().ptr)
        if together:
            given = self._handle, blocks, 1, 1, threads, 1, 1, shared, stream, address
            (status,) = driver.cuLaunchCooperativeKernel(*given)
        elif cluster > 1:
            told = _in_clusters(blocks, threads, shared, cluster, stream)
            (status,) = driver.cuLaunchKernelEx(told, self._handle, address, 0)
        else:
            (status,) = driver.cuLaunchKernel(self._handle, blocks, 1, 1, threads, 1, 1, shared, stream, address, 0)
        if status:
            if status == NO_CONTEXT:  # a Python thread that has not used the GPU yet
                cuda.current_context()
                return self._start(blocks, threads, shared, address, together, cluster)
            self._refuse(status, blocks, threads, shared)

    def _refuse(self, status, blocks, threads, shared):
        _, name = driver.cuGetErrorName(status)
        about = f"{blocks} blocks of {threads} threads, {shared:,} bytes of shared memory each"
        if status == TOO_MANY_BLOCKS:
            raise DeviceError(f"{self.name}: expected room on the GPU for all at once, got {about}")
        raise DeviceError(f"{self.name}, {about}: the driver says {name.decode()}")

    def _allow(self, nbytes):
        """Let the kernel have so many bytes of shared memory."""
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        device = driver.CUdevice(cuda.get_current_device().id)
        (status,) = driver.cuKernelSetAttribute(attribute, nbytes, driver.CUkernel(int(self._handle)), device)
        if status:
            self._refuse(status, 1, 1, nbytes)
        self._most_shared = nbytes


@functools.lru_cache(maxsize=64)
def _stream_of(address):
    return driver.CUstream(address)


@functools.lru_cache(maxsize=256)
def _in_clusters(blocks, threads, shared, cluster, stream):
    """How a launch of so many blocks, in clusters, is told to the driver."""
    told, attribute = driver.CUlaunchConfig(), driver.CUlaunchAttribute()
    attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
    size = attribute.value.clusterDim
    size.x, size.y, size.z = cluster, 1, 1
    told.gridDimX, told.gridDimY, told.gridDimZ = blocks, 1, 1
    told.blockDimX, told.blockDimY, told.blockDimZ = threads, 1, 1
    told.sharedMemBytes, told.hStream = shared, stream
    told.attrs, told.numAttrs = [attribute], 1
    return told


def _type_of(kernel, arg):
    """Numba's type of an argument."""
    return types.Array(from_dtype(arg.dtype), 1, "C") if is_on_device(arg) else kernel.typeof_pyval(arg)


def _numbers_of(arg):
    """The numbers in a tuple, and in the tuples inside it."""
    return [number for part in arg for number in (_numbers_of(part) if isinstance(part, tuple) else (part,))]


def _format_of(arg):
    """How `struct` writes an argument's numbers, eight bytes each."""
    if is_on_device(arg):
        return "7q"
    if isinstance(arg, tuple):
        return f"{len(_numbers_of(arg))}q"
    if isinstance(arg, (bool, np.bool_)):
        return "?7x"
    return {"float32": "f4x", "float64": "d", "complex128": "dd"}.get(getattr(arg, "dtype", np.dtype(np.int64)).name, "q")


def _count_of(arg):
    """How many parameters of the machine code an argument is."""
    if is_on_device(arg):
        return 7
    return len(_numbers_of(arg)) if isinstance(arg, tuple) else 2 if isinstance(arg, np.complexfloating) else 1


def _add_array(numbers, array):
    """Numba's: two owners, how many, the bytes of each, the address, and what is along the axis, the bytes to the next."""
    size, itemsize = array.size, array.itemsize
    numbers += (0, 0, size, itemsize, array.data.ptr, size, itemsize)


def _add_nested(numbers, given):
    numbers += _numbers_of(given)


def _add_complex(numbers, number):
    numbers += (number.real, number.imag)


def _add_cell(numbers, cell):
    numbers.append(0)  # a null pointer


def _way_of(arg):
    """What writes an argument of this kind to a list of numbers."""
    if is_on_device(arg):
        return _add_array
    if isinstance(arg, tuple):
        return _add_nested if any(isinstance(part, tuple) for part in arg) else list.extend
    if isinstance(arg, np.complexfloating):
        return _add_complex
    return list.append if isinstance(arg, (int, np.generic)) else _add_cell
