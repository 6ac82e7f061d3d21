"""What every kernel receives instead of an array: an address, three lengths and three strides."""

import functools
from dataclasses import dataclass, field

import numpy as np

from ..errors import DTypeError, LayoutError, ShapeError, plain
from .packing import uniform
from .tensors import host_array

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
AXES = "tnc"


def checked_dtype(argument, dtype):
    """`dtype` as a NumPy dtype, if it is float32 or float64 in the machine's byte order; else DTypeError."""
    try:
        result = np.dtype(dtype) if isinstance(dtype, (str, type, np.dtype)) else None  # and not a number, which has one
    except (TypeError, ValueError, SyntaxError):  # NumPy reads text with a comma as if it were Python
        result = None
    if result is None or result not in DTYPES or not result.isnative:
        raise DTypeError(f"{argument}: expected float32 or float64, got {dtype}")
    return result


def is_on_device(value):
    """Whether a value is an array on a GPU, one of CuPy's: its class says so, without an import."""
    return type(value).__module__ == "cupy"


def is_array(value):
    """Whether a value is an array, NumPy's or one on a GPU."""
    return isinstance(value, np.ndarray) or is_on_device(value)


def is_writable(array):
    """Whether an array may be written.  One on a GPU always may: CuPy knows no read-only arrays."""
    return is_on_device(array) or array.flags.writeable


def make_read_only(*values):
    """Refuse writing to arrays from now on, where it can be refused; anything but an array is left alone."""
    for value in values:
        if isinstance(value, np.ndarray):
            value.flags.writeable = False


def address_of(array):
    """Where the first number of a NumPy array lies; 0 for one on a device, whose kernels take no addresses."""
    return 0 if is_on_device(array) else array.ctypes.data


def checked_array(argument, array):
    """`array`, if it is a plain array of float32 or float64, NumPy's or on a device, that a kernel can read in place.

    Of a tensor of another library, in the host's memory, NumPy's array over it.
    """
    if type(array) is not np.ndarray:
        array = host_array(argument, array)
        if not is_array(array):
            raise TypeError(f"{argument}: expected a numpy.ndarray, got {type(array).__name__}")
        plain(argument, array)
    if array.dtype not in DTYPES or not array.dtype.isnative:
        hint = "; astype(numpy.float32) of it is one" if array.dtype.kind in "biuf" else ""
        raise DTypeError(f"{argument}: expected float32 or float64, got {array.dtype}{hint}")
    if isinstance(array, np.ndarray) and not array.flags.aligned:
        raise LayoutError(f"{argument}: its memory is not aligned to {array.dtype}; make a copy with numpy.array")
    return array


def axes_of(layout, ndim):
    """The letter of each axis of an array with `ndim` axes; a 2-D array has no batch axis unless `layout` says so."""
    letters = layout.lower() if isinstance(layout, str) else ""
    if sorted(letters) == sorted(AXES):
        return letters if ndim == 3 else letters.replace("n", "")
    if ndim == 2 and sorted(letters) in (["c", "t"], ["c", "n"]):
        return letters
    expected = "the letters t, n, c in any order" + (", or two of them with c" if ndim == 2 else "")
    raise LayoutError(f"layout: expected {expected}, got {layout!r}")


@functools.lru_cache(maxsize=256)
def _axes(layout, ndim):
    """(letters, which axis has t, n and c, -1 for none) of an array with `ndim` axes."""
    letters = axes_of(layout, ndim)
    return letters, tuple(letters.find(letter) for letter in AXES)


@functools.lru_cache(maxsize=256)
def _order(layout):
    """(axes of a (T, N, C) array that a layout has not, the order in which it has the others)."""
    order = [letter for letter in AXES if letter in layout]
    dropped = tuple(i for i, letter in enumerate(AXES) if letter not in layout)
    return dropped, tuple(order.index(letter) for letter in layout)


@dataclass(frozen=True, init=False)
class TensorDescriptor:
    """Steps, batch and channels of an array as it lies in memory, whatever the order of its axes.

    `of` makes one.  It is a view: nothing is copied, and the array may be read-only, a slice, transposed, reversed,
    broadcast or in Fortran order.  Kernels read addresses and strides, so one compiled kernel serves every layout.

    Attributes
    ----------
    steps, batch, channels : int
        The lengths T, N, C.
    strides : tuple of int
        Bytes from one step, sample and channel to the next, in T, N, C order.
    dtype : numpy.dtype
        float32 or float64.
    layout : str
        The letters of the array's axes.
    array : numpy.ndarray or cupy.ndarray
        The array described; kept alive by the descriptor.
    address : int
        Where its first number lies; 0 on a device.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> x = np.zeros((32, 5, 3), np.float32)
    >>> nr.TensorDescriptor.of(x, layout="ntc")
    TensorDescriptor(steps=5, batch=32, channels=3, strides=(12, 60, 4), dtype=float32, layout='ntc')
    """

    steps: int
    batch: int
    channels: int
    strides: tuple[int, int, int]
    dtype: np.dtype
    layout: str
    array: np.ndarray = field(repr=False, compare=False)
    address: int = field(repr=False, compare=False)

    def __init__(self, *values, **named):
        raise TypeError("TensorDescriptor: expected a call of TensorDescriptor.of(array, layout), which looks at an array")

    # `ragged` sets these for a ragged batch, whose steps and batch count its runs.  The row of run r at step t begins
    # `offset` bytes behind the address, and ``t * strides[0]`` more, or ``table[t] * strides[0]`` where the packing's table
    # has an entry of step 0; and ``r * strides[1]`` more, or ``starts[r]`` where there are starts.
    offset, first_entry, starts = 0, None, None

    @classmethod
    def made(cls, steps, batch, channels, strides, dtype, layout, array, address):
        """Describe an array of which all this is known: `of` without its checks."""
        self = object.__new__(cls)
        vars(self).update(
            steps=steps, batch=batch, channels=channels, strides=strides, dtype=dtype, layout=layout, array=array,
            address=address,
        )  # fmt: skip
        return self

    @classmethod
    def ragged(cls, packing, channels, strides, array, address, offset=0, first_entry=None, starts=None):
        """Describe the rows of a `Packing`, wherever in an array they lie."""
        self = cls.made(packing.steps, packing.batch, channels, strides, array.dtype, "", array, address)
        vars(self).update(packing=packing, offset=offset, first_entry=first_entry, starts=starts)
        return self

    def __repr__(self):
        fields = ("steps", "batch", "channels", "strides", "dtype", "layout")
        parts = (f"{name}={getattr(self, name)!s}" for name in fields[:-1])
        return f"TensorDescriptor({', '.join(parts)}, layout={self.layout!r})"

    @classmethod
    def of(cls, array: np.ndarray, layout: str = "tnc", argument: str = "array") -> "TensorDescriptor":
        """Describe a 2-D or 3-D array; a 2-D (T, C) array is one sequence.

        Parameters
        ----------
        array : numpy.ndarray or cupy.ndarray
            float32 or float64, at any strides.
        layout : str
            The letters t, n and c in the order of the array's axes; a 2-D array has the same letters without n, or
            ``"nc"`` for a batch without time.
        argument : str
            What error messages call the array.

        Raises
        ------
        TypeError, DTypeError, ShapeError, LayoutError
            If the array is none, of another dtype, without two or three axes, without channels, not aligned, or
            if the layout does not name its axes.
        """
        array = checked_array(argument, array)
        if array.ndim not in (2, 3):
            raise ShapeError(f"{argument}: expected 2 or 3 axes ({layout}), got {array.ndim} (shape {array.shape})")
        letters, (t, n, c) = _axes(layout, array.ndim) if isinstance(layout, str) else axes_of(layout, array.ndim)
        lengths, strides = (*array.shape, 1), (*array.strides, 0)  # the last ones stand for an axis that is not there
        if lengths[c] == 0:
            raise ShapeError(f"{argument}: expected at least one of channels, got shape {array.shape} ({letters})")
        strides = strides[t], strides[n], strides[c]
        address = array.ctypes.data if type(array) is np.ndarray else address_of(array)
        return cls.made(lengths[t], lengths[n], lengths[c], strides, array.dtype, letters, array, address)

    @classmethod
    def of_tnc(cls, array, address=None):
        """Describe a (T, N, C) array that is known to be in order, and perhaps its address: `of` without its checks."""
        return cls.made(*array.shape, array.strides, array.dtype, AXES, array, address or address_of(array))

    def __reduce__(self):
        """A copy, or what a pickle holds, describes a copy of the array."""
        return TensorDescriptor.of, (self.array, self.layout)

    def __copy__(self):
        return self

    @property
    def tnc(self) -> np.ndarray:
        """The array as a (T, N, C) view."""
        order = [self.layout.index(letter) for letter in AXES if letter in self.layout]
        missing = tuple(i for i, letter in enumerate(AXES) if letter not in self.layout)
        return np.expand_dims(self.array.transpose(order), missing)

    @functools.cached_property
    def packing(self):
        """Which sequences are at work at each step: a Uniform, or a Packing of a ragged batch."""
        return uniform(self.steps, self.batch)

    @property
    def record(self):
        """Address, strides in bytes, and the addresses of the tables of steps and of starts, 0 for none: for the CPU."""
        if self.packing.uniform:
            return (self.address, *self.strides, 0, 0)
        steps = 0 if self.first_entry is None else self.packing.table_address + self.first_entry * 8
        starts = 0 if self.starts is None else address_of(self.starts)
        return (self.address + self.offset, *self.strides, steps, starts)

    @property
    def is_compact(self):
        """Whether the rows of a ragged batch lie as `compact` has them, in an array of nothing else."""
        return self.first_entry == 2 and self.array.shape == self.packing.shape(self.channels)

    def packed(self, packing):
        """The rows of this padded batch (T, N, C) that are at work."""
        if packing.uniform:
            vars(self).update(packing=packing)
            return self
        step, batch, channel = self.strides
        starts = packing.sequence * batch + packing.start * step
        return self.ragged(packing, self.channels, (step, 0, channel), self.array, self.address, starts=starts)

    @classmethod
    def concatenated(cls, data, offsets, packing):
        """Rows of sequences one after the other, (sum T, C); sequence n begins at row ``offsets[n]``."""
        row, channel = data.strides
        starts = (offsets[packing.sequence] + packing.start) * row
        return cls.ragged(packing, data.shape[1], (row, 0, channel), data, address_of(data), starts=starts)

    @classmethod
    def blocks(cls, h, address, packing):
        """The outputs in the blocks of a contiguous h, (rows of h, C)."""
        row = h.shape[1] * h.itemsize
        if packing.uniform:
            y = h[packing.batch : -packing.batch].reshape(packing.steps, packing.batch, -1)
            address = address and address + packing.batch * row  # 0 on a device
            return cls.made(*y.shape, y.strides, y.dtype, AXES, y, address)
        return cls.ragged(packing, h.shape[1], (row, row, h.itemsize), h, address, first_entry=1)

    @classmethod
    def compact(cls, rows, address, packing):
        """Rows step by step without a gap, of a contiguous (rows, C)."""
        channels = rows.shape[-1]
        rows, row = rows.reshape(packing.shape(channels)), channels * rows.itemsize
        if packing.uniform:
            return cls.of_tnc(rows, address)
        before = -2 * packing.batch * row  # the table counts from the first block of h
        return cls.ragged(packing, channels, (row, row, rows.itemsize), rows, address, before, 2)

    def ends(self, first=False):
        """The last row of each sequence of a ragged batch, or its first one, as one step.

        It is any row for a sequence without steps.
        """
        packing = self.packing
        run = packing.first if first else packing.last
        at = np.zeros_like(run) if first else np.maximum(packing.length[run] - 1, 0)
        steps = at if self.first_entry is None else packing.table[at + self.first_entry]
        step, batch, channel = self.strides
        starts = steps * step + (run * batch if self.starts is None else self.starts[run])
        return self.ragged(packing, self.channels, (0, 0, channel), self.array, self.address, self.offset, starts=starts)

    def of_channels(self, channels):
        """The same rows of some channels, a slice."""
        if self.packing.uniform:
            return self.of_tnc(self.tnc[..., channels])
        first, end, _ = channels.indices(self.channels)
        offset = self.offset + first * self.strides[2]
        return self.ragged(
            self.packing, end - first, self.strides, self.array, self.address, offset, self.first_entry, self.starts
        )

    def expect(self, argument, steps=None, batch=None, channels=None, dtype=None):
        """Raise ShapeError or DTypeError unless the lengths and the dtype given are the array's."""
        for what, expected, found in (
            ("steps", steps, self.steps),
            ("batch", batch, self.batch),
            ("channels", channels, self.channels),
        ):
            if expected is not None and expected != found:
                raise ShapeError(f"{argument}: expected {expected} {what}, got {found} (shape {self.array.shape})")
        if dtype is not None and self.dtype != dtype:
            raise DTypeError(f"{argument}: expected {np.dtype(dtype)} like the parameters, got {self.dtype}")


def in_layout(tnc, layout):
    """The (T, N, C) array seen with its axes in the order of `layout`: a view; a missing letter is an axis of length 1."""
    dropped, order = _order(layout)
    return tnc.squeeze(dropped).transpose(order)
