"""Indexing a DeviceArray with arrays of integers, one for an axis or several side by side: rows looked up in a table.

The arrays are NumPy's, or sequences of Python's numbers, whose places are checked, worked out here and sent to the GPU; or a
DeviceArray of int64, for one axis, whose numbers are checked on the GPU.
"""

import numpy as np

from .array import (
    DeviceArray,
    asarray,
    blocks_for,
    broadcast_to,
    collapsed_or_raise,
    current_stream,
    empty,
    numbers_apart,
    overlap,
)
from .array_kernels import Move, move


def without_numbers_in_arrays(index):
    """An index with integers in the place of arrays without axes."""
    if isinstance(index, tuple):
        return tuple(map(without_numbers_in_arrays, index))
    if isinstance(index, (np.ndarray, DeviceArray)) and index.ndim == 0 and index.dtype.kind in "iu":
        return int(index)
    return index


def _is_array(part):
    return isinstance(part, (np.ndarray, list, DeviceArray))


def has_arrays(index):
    """Whether there is an array among the parts of an index."""
    return any(_is_array(part) for part in index) if isinstance(index, tuple) else _is_array(index)


class Places:
    """Where an index with arrays points to.

    Attributes
    ----------
    view : DeviceArray
        The axes that arrays choose from first, then the others.
    table : DeviceArray
        Of int64: in numbers, from the start of `view`.
    on_host : numpy.ndarray or None
        The same; None of an index that is on the device.
    shape : tuple of int
        What is chosen, along the arrays' axes, then the others.
    at : int
        Where NumPy has the arrays' axes in the result.
    """

    def __init__(self, array, index):
        parts = list(index) if isinstance(index, tuple) else [index]
        parts = _expanded(parts, array.ndim)
        advanced = [i for i, part in enumerate(parts) if _is_array(part) or isinstance(part, (int, np.integer))]
        apart = any(b - a > 1 for a, b in zip(advanced, advanced[1:]))
        view = array.view_of(tuple(slice(None) if _is_array(part) else part for part in parts))
        axes, arrays, at = [], [], 0
        for part in parts:
            if _is_array(part):
                axes.append(at)
                arrays.append(part)
            at += not isinstance(part, (int, np.integer))
        self.at = 0 if apart else axes[0]
        others = [axis for axis in range(view.ndim) if axis not in axes]
        lengths, strides = [view.shape[a] for a in axes], [view.strides[a] // view.itemsize for a in axes]
        self.table, chosen, self.on_host = _table(arrays, lengths, strides)
        self.view = view.transpose(axes + others)
        self.rest = tuple(view.shape[a] for a in others)
        self.chosen, self.shape = chosen, chosen + self.rest
        self.axes = len(axes)

    def in_order(self, array):
        """An array (arrays' axes, others) as NumPy has it: a view."""
        count = len(self.chosen)
        order = list(range(count, array.ndim))
        order[self.at : self.at] = range(count)
        return array.transpose(order)

    def out_of_order(self, array):
        """The reverse."""
        count = len(self.chosen)
        front = list(range(self.at, self.at + count))
        return array.transpose(front + [axis for axis in range(array.ndim) if axis not in front])

    @property
    def rest_strides(self):
        """Strides of the other axes, in numbers."""
        return tuple(s // self.view.itemsize for s in self.view.strides[self.axes :])

    @property
    def count(self):
        """Rows that are looked up."""
        return self.table.size

    def run(self, target, source, looked_up):
        """Copy between what is looked up and an array (rows, others); `looked_up` is one of them; target is modified."""
        rows = source if looked_up is target else target
        shape = (self.count, *self.rest)
        # The strides of the rows along the table's axis come first; those that are looked up have none.
        both = numbers_apart(rows), (0, *self.rest_strides)
        (_, *lengths), (plain, places) = collapsed_or_raise("index", shape, *both, fixed=1)
        total = int(np.prod(shape))
        if not total:
            return
        if looked_up is target:
            call = Move(total, *lengths, target.offset, *places, source.offset, *plain, 0, 1)
        else:
            call = Move(total, *lengths, target.offset, *plain, source.offset, *places, 1, 0)
        move[(*blocks_for(total), current_stream())](call, target.memory, source.memory, self.table.memory)


def _expanded(parts, ndim):
    """The parts of an index, with masks as integers and Ellipsis as slices."""
    flat = []
    for part in parts:
        if isinstance(part, DeviceArray) and part.dtype == bool:
            raise TypeError("index: expected no DeviceArray of bool, whose numbers would have to go to the host, got one")
        if isinstance(part, (np.ndarray, list)):
            part = np.asarray(part)
            if part.ndim == 0:
                raise TypeError(f"index: expected integers, got {part!r}")
            flat += [*part.nonzero()] if part.dtype == bool else [part]
        else:
            flat.append(part)
    used = sum(part is not None and part is not Ellipsis for part in flat)
    missing = [slice(None)] * (ndim - used)
    at = next((i for i, part in enumerate(flat) if part is Ellipsis), None)
    if at is None:
        return flat + missing
    return flat[:at] + missing + flat[at + 1 :]


def _table(arrays, lengths, strides):
    """(where in the array each row begins, as a flat DeviceArray; the shape of the rows; the same places on the host)."""
    if any(isinstance(array, DeviceArray) for array in arrays):
        if len(arrays) > 1:
            raise TypeError("index: expected one DeviceArray of integers, or NumPy arrays, got both or several")
        return _device_table(arrays[0], lengths[0], strides[0])
    total = np.zeros((), np.int64)
    for array, length, stride in zip(arrays, lengths, strides):
        array = np.asarray(array)
        if array.size == 0:
            array = array.astype(np.int64)
        if array.dtype.kind not in "iu":
            raise IndexError(f"index: expected integers, got {array.dtype}")
        if array.size and (array.min() < -length or array.max() >= length):
            raise IndexError(f"index: expected numbers from {-length} to {length - 1}, got {array.min()} to {array.max()}")
        total = total + np.where(array < 0, array + length, array).astype(np.int64) * stride
    table = np.ascontiguousarray(total).reshape(-1)
    return asarray(table), total.shape, table


def _device_table(index, length, stride):
    if index.dtype.kind != "i":
        raise IndexError(f"index: expected integers, got {index.dtype}")
    if index.size:
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= length:
            raise IndexError(f"index: expected numbers from 0 to {length - 1}, got {low} to {high}")
    return (index * int(stride)).reshape(-1), index.shape, None


def gathered(array, index):
    """What an index with arrays chooses: a copy."""
    places = Places(array, index)
    rows = empty((places.count, *places.rest), array.dtype)
    places.run(rows, places.view, places.view)
    return places.in_order(rows.reshape(places.shape))


def scatter(array, index, value):
    """Write to what an index with arrays chooses (array is modified); where a place is chosen twice, the last one stays."""
    places = Places(array, index)
    shape = places.in_order(empty(places.shape, bool)).shape
    if isinstance(index, DeviceArray) or (isinstance(index, tuple) and any(isinstance(p, DeviceArray) for p in index)):
        raise TypeError("index: expected NumPy arrays to assign to, got a DeviceArray, which may have a place twice")
    if not isinstance(value, DeviceArray):
        value = asarray(np.asarray(value, array.dtype))
    if value.dtype != array.dtype:
        value = value.astype(array.dtype)
    if overlap(value, array):
        value = value.copy()
    rows = places.out_of_order(broadcast_to(value, shape)).reshape(places.count, *places.rest)
    table = places.on_host
    _, first_from_the_end = np.unique(table[::-1], return_index=True)
    if len(first_from_the_end) < len(table):
        kept = np.sort(len(table) - 1 - first_from_the_end)
        rows = gathered(rows, kept)
        places.table = asarray(table[kept])
    places.run(places.view, rows, places.view)


def taken(array, indices, axis, out, mode):
    """``array.take``: some places along an axis."""
    if mode not in ("raise", "clip"):
        raise TypeError(f"take: expected mode 'raise' or 'clip' on the GPU, got {mode!r}")
    if axis is None:
        array, axis = array.ravel(), 0
    axis = range(array.ndim)[axis]
    if not isinstance(indices, DeviceArray):
        indices = np.asarray(indices)
        if mode == "clip":
            indices = np.clip(indices, 0, max(array.shape[axis] - 1, 0))
    elif mode == "clip":
        indices = np.clip(indices, 0, max(array.shape[axis] - 1, 0))
    scalar = indices.ndim == 0
    indices = indices.reshape(-1) if scalar else indices
    if out is None:
        found = gathered(array, (slice(None),) * axis + (indices,))
        return found.reshape(array.shape[:axis] + array.shape[axis + 1 :]) if scalar else found
    places = Places(array, (slice(None),) * axis + (indices,))
    shape = array.shape[:axis] + (() if scalar else indices.shape) + array.shape[axis + 1 :]
    if not isinstance(out, DeviceArray) or out.shape != shape or out.dtype != array.dtype:
        raise ValueError(f"take: out: expected a DeviceArray of shape {shape} and {array.dtype}, got {out!r}")
    out.require_writeable()
    try:
        rows = places.out_of_order(out.reshape(places.in_order(empty(places.shape, bool)).shape, copy=False))
        rows = rows.reshape(places.count, *places.rest, copy=False)
    except ValueError:
        rows = None
    if rows is None or overlap(out, array):
        out[...] = taken(array, indices, axis, None, "raise").reshape(shape)
    else:
        places.run(rows, places.view, places.view)
    return out
