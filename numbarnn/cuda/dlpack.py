"""DLPack: arrays from and for libraries that know no ``__cuda_array_interface__`` (https://dmlc.github.io/dlpack)."""

import ctypes

import numpy as np

from ..errors import DeviceError, DTypeError
from .device import SIMULATED

CPU, CUDA = 1, 2  # kinds of devices
DEVICE = CPU if SIMULATED else CUDA
CODES = {"i": 0, "u": 1, "f": 2, "b": 6}  # NumPy's kinds of numbers
NAME, USED_NAME = b"dltensor", b"used_dltensor"


class Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class ManagedTensor(ctypes.Structure):
    """DLManagedTensor."""


DELETER = ctypes.CFUNCTYPE(None, ctypes.POINTER(ManagedTensor))
ManagedTensor._fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", DELETER))

_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_GetPointer.argtypes = ctypes.c_void_p, ctypes.c_char_p
_api.PyCapsule_IsValid.argtypes = ctypes.c_void_p, ctypes.c_char_p
_api.PyCapsule_SetName.argtypes = ctypes.c_void_p, ctypes.c_char_p
DESTRUCTOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_given = {}  # address of a ManagedTensor: it, and what it keeps


class Received:
    """Memory that another library lends until this object is gone."""

    def __init__(self, managed):
        self.managed = managed

    def __del__(self):
        if self.managed.contents.deleter:
            self.managed.contents.deleter(self.managed)


def receive(given, stream):
    """(address, shape, strides in bytes, dtype, owner) of an array with ``__dlpack__``, in device memory.

    stream: as a number, on which its numbers are ready afterwards.
    """
    kind, _ = given.__dlpack_device__()
    if kind != DEVICE:
        raise DeviceError(f"array: expected one in a GPU's memory, got {type(given).__name__} on DLPack's device {kind}")
    capsule = given.__dlpack__() if SIMULATED else given.__dlpack__(stream=stream or 1)
    pointer = _api.PyCapsule_GetPointer(id(capsule), NAME)
    managed = ctypes.cast(pointer, ctypes.POINTER(ManagedTensor))
    _api.PyCapsule_SetName(id(capsule), USED_NAME)
    owner, tensor = Received(managed), managed.contents.tensor
    kinds = {code: kind for kind, code in CODES.items()}
    if tensor.lanes != 1 or tensor.code not in kinds:
        raise DTypeError(f"array: expected float32, float64, bool or int64, got DLPack's type {tensor.code}")
    dtype = np.dtype(f"{kinds[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = None
    if tensor.strides:
        strides = tuple(stride * dtype.itemsize for stride in tensor.strides[: tensor.ndim])
    return (tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, owner


@DELETER
def _take_back(managed):
    _given.pop(ctypes.addressof(managed.contents), None)


@DESTRUCTOR
def _forget(capsule):
    """A capsule that nobody has taken the tensor of."""
    if _api.PyCapsule_IsValid(capsule, NAME):
        _given.pop(_api.PyCapsule_GetPointer(capsule, NAME), None)


def give(array, address, device_id):
    """A capsule for an array whose first number lies at an address."""
    count = array.ndim
    shape = (ctypes.c_int64 * count)(*array.shape)
    strides = (ctypes.c_int64 * count)(*(stride // array.itemsize for stride in array.strides))
    tensor = Tensor(
        address, DEVICE, device_id, count, CODES[array.dtype.kind], 8 * array.itemsize, 1,
        ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64)), ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64)), 0,
    )  # fmt: skip
    managed = ManagedTensor(tensor, None, _take_back)
    place = ctypes.addressof(managed)
    _given[place] = managed, shape, strides, array
    return _api.PyCapsule_New(place, NAME, ctypes.cast(_forget, ctypes.c_void_p))
