"""Nodes that compute nothing: they order axes, put them together, take them apart and choose among rows."""

from dataclasses import replace

import numpy as np

from .joining import joined, some_channels
from .nodes import slices, split_sizes
from .states import states_given
from .values import ENDS, STEPS, Finals, Signal, reshaped, transposed, with_steps


def transpose(reader, node):
    """Axes in another order."""
    value = node.input(0)
    rank = len(value.axes)
    order = node.attribute("perm", list(range(rank))[::-1])
    if sorted(order) != list(range(rank)):
        raise node.error(f"an order of {rank} axes, got {order}")
    return transposed(value, order)


def reshape(reader, node):
    """Axes put together or taken apart."""
    value = reader.bound(node.input(0))
    shape = [int(size) for size in np.ravel(node.constant(1, "a shape"))]
    return reshaped(node.where, value, shape)


def flatten(reader, node):
    """Axes put together into two."""
    value = reader.bound(node.input(0))
    axis = node.attribute("axis", 1)
    shape = value.shape
    first = int(np.prod(shape[:axis], dtype=object))
    return reshaped(node.where, value, [first, int(np.prod(shape[axis:], dtype=object))])


def squeeze(reader, node):
    """Axes of length 1 left out."""
    value = node.input(0)
    shape = value.shape
    axes = node.numbers("axes", 1, [index for index, size in enumerate(shape) if size == 1])
    axes = [node.place(axis, len(shape)) for axis in axes]
    if any(shape[axis] != 1 for axis in axes):
        raise node.error(f"axes of length 1, got {axes} of shape {shape}")
    return replace(value, axes=tuple(axis for index, axis in enumerate(value.axes) if index not in axes))


def unsqueeze(reader, node):
    """New axes of length 1."""
    value, axes = node.input(0), node.numbers("axes", 1)
    rank = len(value.axes) + len(axes)
    axes = {node.place(axis, rank) for axis in axes}
    rest = iter(value.axes)
    return replace(value, axes=tuple(() if index in axes else next(rest) for index in range(rank)))


def gather(reader, node):
    """One step, one direction, or some rows of states; of a table, rows by indices, which is an Embedding."""
    value, indices = node.inputs[:2]
    if isinstance(value, np.ndarray):
        return reader.embedding(node, value, indices)
    if not isinstance(indices, np.ndarray):
        raise node.error(f"indices that are constants, got {node.names[1]!r}")
    axis = node.axis(len(value.axes))
    if indices.ndim == 0:
        return _chosen(reader, node, value, axis, [int(indices)], keep=False)
    if indices.ndim == 1:
        return _chosen(reader, node, value, axis, [int(index) for index in indices], keep=True)
    raise node.error(f"one index or a row of them, got shape {indices.shape}")


def slice_(reader, node):
    """Some indices of axes."""
    value = node.input(0)
    for axis, part in enumerate(slices(node, len(value.axes))):
        size = value.shape[axis]
        chosen = range(*part.indices(size))
        if len(chosen) != size or chosen != range(size):
            if len(chosen) > 1 << 16:
                raise node.error(f"all of an axis, or few of it, got {part} of {size}")
            value = _chosen(reader, node, value, axis, list(chosen), keep=True)
    return value


def split(reader, node):
    """Parts of an axis."""
    value = node.input(0)
    axis = node.axis(len(value.axes))
    found, at = [], 0
    for size in split_sizes(node, value.shape[axis]):
        if size > 1 << 16:
            raise node.error(f"parts that choose few of an axis, got one of {size}")
        found.append(_chosen(reader, node, value, axis, list(range(at, at + size)), keep=True))
        at += size
    return found


def concat(reader, node):
    """Directions side by side, or rows of states one below the other."""
    values = node.inputs
    axis = node.axis(len(values[0].axes)) if not isinstance(values[0], np.ndarray) else 0
    if all(isinstance(value, Finals) for value in values):
        found = _states_together(values, axis)
        if found is not None:
            return found
    if len(values) == 2 and all(isinstance(value, Signal) for value in values):
        first, second = values
        whole = (first.half, second.half) == (0, 1) and first.at == second.at and first.channels == second.channels
        if whole and axis == len(first.axes) - 1 and first.axes[:-1] == second.axes[:-1]:
            whole = replace(first, half=None, axes=(*first.axes[:-1], first.channels))
            if first.step == second.step:
                return whole
            if (first.step, second.step) == (-1, 0):
                return replace(whole, step=ENDS)
    if all(isinstance(value, (Signal, Finals)) for value in values) and axis == max(len(v.axes) for v in values) - 1:
        return joined(reader, node, values)
    raise node.error(f"values with channels in the last axis, directions of a layer, or states, got {', '.join(node.names)}")


def _chosen(reader, node, value, axis, indices, keep):
    """A value at some indices of an axis; keep: whether an axis of length 1 stays."""
    size = value.shape[axis]
    if any(not -size <= index < size for index in indices):
        raise node.error(f"indices of an axis of length {size}, got {indices}")
    indices = [index % size for index in indices]
    atoms = value.axes[axis]
    rest = (*value.axes[:axis], *([()] if keep else []), *value.axes[axis + 1 :])
    if isinstance(value, Signal) and value.channels is None and axis == 0:
        value = states_given(value)
        atoms = value.axes[0]
    if isinstance(value, Finals) and atoms == (value.row,):
        if max(indices) >= len(value.rows):
            raise node.error(f"rows of states of which it is known how many there are, got indices {indices[:4]}")
        rows = [value.rows[index] for index in indices]
        return value.of_rows(rows) if keep else value.of_rows(rows, rest)
    if isinstance(value, Signal) and len(atoms) == 1 and len(indices) == 1:
        with_steps(value, axis)
        if atoms[0].role == STEPS and value.step is None and indices[0] in (0, size - 1):
            return replace(value, axes=rest, step=-1 if indices[0] == size - 1 else 0)
        if value.channels is not None and len(value.channels) == 2 and atoms[0] is value.channels[0] and size == 2:
            return replace(value, axes=rest, half=indices[0])
    if isinstance(value, Signal) and value.half is None and value.channels is not None and atoms == value.channels:
        middle = size // 2
        if len(atoms) == 2 and atoms[0].size == 2 and indices in (list(range(middle)), list(range(middle, size))):
            return replace(value, axes=(*value.axes[:axis], atoms[1:], *value.axes[axis + 1 :]), half=indices[0] // middle)
    if size == 1:
        return replace(value, axes=rest)
    if isinstance(value, Signal) and axis == len(value.axes) - 1 and value.half is None:
        value = reader.bound(reader.data(node, value), node)
        if value.axes[-1] == value.channels and atoms == value.axes[-1]:
            found = some_channels(reader, node, value, size, indices)
            return found if keep else replace(found, axes=(*found.axes[:-1],))
    raise node.error(
        "the last step, some channels, one direction of a layer, or rows of states, got indices"
        f" {indices[:4]} of axis {axis}"
    )


def _states_together(values, axis):
    """Rows of states one below the other; or the final h of two directions side by side, which is `Last`; or None."""
    first = values[0]
    same = all(value.letter == first.letter and len(value.axes) == len(first.axes) for value in values)
    rows = [row for value in values for row in value.rows]
    if same and all(value.axes[axis] in ((value.row,), ()) and value.shape[axis] == len(value.rows) for value in values):
        axes = (*first.axes[:axis], (first.row,), *first.axes[axis + 1 :])
        return first.of_rows(rows, axes)
    one = len({row[0] for row in rows if isinstance(row, tuple)}) == 1
    if same and one and axis == len(first.axes) - 1 and all(len(value.rows) == 1 for value in values):
        found = first.of_rows(rows)
        return replace(found, axes=(*found.axes[:-1], (found.row, *found.axes[-1])))
    return None


MOVES = {
    "Concat": concat,
    "Flatten": flatten,
    "Gather": gather,
    "Reshape": reshape,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
