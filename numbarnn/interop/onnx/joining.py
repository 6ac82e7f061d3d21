"""Values that stand side by side along their channels, or are added: what a graph has and a row of layers has not."""

from dataclasses import replace

import numpy as np

from ...layers.dense import Dense
from .nodes import MOST
from .values import BATCH, CHANNELS, STEPS, Atom, Signal, length

MOST_VALUES = 1 << 12  # side by side


def joined(reader, node, values):
    """The Signal of several values side by side along their channels, which are their last axis."""
    signals = [reader.bound(reader.data(node, value), node) for value in values]
    for signal in signals:
        reader.width(signal)
        if _several(signal.axes[-1]) != _several(signal.channels):
            raise node.error(f"channels in the order of their layer, got shape {signal.shape}")
    rank = max(len(signal.axes) for signal in signals)
    leads = [((),) * (rank - len(signal.axes)) + signal.axes[:-1] for signal in signals]
    has_steps = [not signal.repeated and sum(map(len, lead)) > 1 for signal, lead in zip(signals, leads)]
    lead = tuple(_shared(node, axes) for axes in zip(*leads))
    repeated = any(signal.repeated for signal in signals) and not any(has_steps)
    if sum(len(signal.sources) for signal in signals) > MOST_VALUES:
        raise node.error(f"at most {MOST_VALUES} values side by side, got more")
    units = Atom(CHANNELS, sum(length(signal.axes[-1]) for signal in signals))
    at = max(signal.at for signal in signals)
    return Signal(at, (*lead, (units,)), (units,), parts=tuple(signals), repeated=repeated)


def _several(axis):
    return [atom for atom in axis if atom.size != 1]


def _shared(node, axes):
    """The axis that stands for the same axis of several values; one of length 1 is repeated."""
    chosen = next((axis for axis in axes if length(axis) != 1), next((axis for axis in axes if axis), ()))
    for axis in axes:
        if len(axis) > 1 or len(chosen) > 1:
            if axis != chosen:
                raise node.error(f"axes that are whole, got {axis} and {chosen}")
        elif axis and chosen:
            (first,), (second,) = axis, chosen
            if first.size != second.size and not (first.free or second.free):
                raise node.error(f"axes of the same length, got {first.size} and {second.size}")
            if None not in (first.role, second.role) and first.role != second.role:
                raise node.error(f"axes that run over the same, got {axis} and {chosen}")
            first.run_like(second)
        elif chosen:  # what has no such axis is the same at each step
            if chosen[0].role == BATCH:
                raise node.error(f"a value for each sequence, got one for all beside {chosen}")
            chosen[0].role = STEPS
    return chosen


def summed(reader, node, values, signs):
    """The Signal of a sum, which is a Dense of what is side by side: values + 1 or - 1 times each."""
    signal = joined(reader, node, values)
    widths = [length(part.axes[-1]) for part in signal.parts]
    if len(set(widths)) > 1:
        raise node.error(f"values of as many channels, got {widths}")
    units = Atom(CHANNELS, widths[0])
    _expect_small(node, units.size, units.size * len(signs))
    one = np.eye(units.size, dtype=np.float32)
    arrays = {"weight": np.hstack([sign * one for sign in signs]), "bias": np.zeros(units.size, np.float32)}
    at = reader.append(Dense(units.size), arrays, signal)
    reader.constants.add(at - 1)
    reader.sums[at - 1] = tuple(signs)
    return Signal(at, (*signal.axes[:-1], (units,)), (units,))


def _expect_small(node, rows, columns):
    """Raise unless a matrix of constants can be made."""
    if rows * columns > MOST:
        raise node.error(f"fewer channels, for a matrix of at most {MOST:,} numbers, got {rows} x {columns}")


def some_channels(reader, node, signal, width, chosen):
    """The Signal of some channels, which is a Dense: a one in each row of its weight."""
    chosen = list(chosen)
    _expect_small(node, len(chosen), width)
    units, weight = Atom(CHANNELS, len(chosen)), np.zeros((len(chosen), width), np.float32)
    weight[np.arange(len(chosen)), chosen] = 1
    arrays = {"weight": weight, "bias": np.zeros(len(chosen), np.float32)}
    at = reader.append(Dense(units.size), arrays, signal)
    reader.constants.add(at - 1)
    return Signal(at, (*signal.axes[:-1], (units,)), (units,), repeated=signal.repeated)


def scaled_by_channel(reader, node, value, alpha, beta):
    """The Signal of ``alpha x + beta`` with numbers for each channel, which is a Dense."""
    signal = reader.bound(reader.data(node, value), node)
    width = reader.width(signal)
    _expect_small(node, width, width)
    numbers = [_by_channel(node, array, signal, width) for array in (alpha, beta)]
    if _several(signal.axes[-1]) != _several(signal.channels):
        raise node.error(f"channels in the order of their layer, got shape {signal.shape}")
    dtype = next(np.asarray(array).dtype for array in (alpha, beta) if np.size(array) > 1)
    arrays = {"weight": np.diag(numbers[0]).astype(dtype), "bias": numbers[1].astype(dtype)}
    return reader.given_by(reader.append(Dense(width), arrays, signal), signal)


def _by_channel(node, array, signal, width):
    """An array as one number for each channel."""
    array = np.asarray(array)
    if array.size != 1 and (array.shape[-1] != width or array.size != width or array.ndim > len(signal.axes)):
        raise node.error(f"a number, or one for each of {width} channels, got shape {array.shape}")
    return np.broadcast_to(array.reshape(-1), width)


def batch_normalization(reader, node):
    """BatchNormalization, which a prediction computes with constants: ``alpha x + beta`` of each channel."""
    if node.attribute("training_mode", 0):
        raise node.error("training_mode 0, got 1")
    scale, bias, mean, variance = (node.constant(place, name) for place, name in enumerate(("scale", "B", "mean", "var"), 1))
    signal = reader.bound(reader.data(node, node.input(0)), node)
    if len(signal.axes) != 2 or scale.ndim != 1:
        raise node.error(f"x of two axes, batch and channels, got {len(signal.axes)}")
    alpha = scale / np.sqrt(variance + scale.dtype.type(node.attribute("epsilon", 1e-5)))
    return scaled_by_channel(reader, node, signal, alpha, bias - mean * alpha)


def expand(reader, node):
    """Expand and Tile of what has no steps: the same numbers at each step."""
    value = node.input(0)
    if node.operator == "Tile":
        repeats = [int(number) for number in np.ravel(node.constant(1, "repeats"))]
        shape = [size * number for size, number in zip(value.shape, repeats)]
    else:
        shape = [int(number) for number in np.ravel(node.constant(1, "a shape"))]
    here = ((),) * (len(shape) - len(value.axes)) + value.axes
    new = [place for place, (axis, size) in enumerate(zip(here, shape)) if size not in (1, length(axis))]
    if not new and len(shape) == len(value.axes):
        return value
    if len(new) != 1 or not isinstance(value, Signal) or length(here[new[0]]) != 1 or len(shape) > len(value.axes) + 1:
        raise node.error(f"what has no steps, repeated at each step, got {value.shape} in shape {shape}")
    signal = reader.bound(reader.data(node, value), node)
    steps = Atom(STEPS, shape[new[0]], free=True)
    axes = tuple((steps,) if place == new[0] else axis for place, axis in enumerate(here))
    return replace(signal, axes=axes, repeated=True)


JOINS = {"BatchNormalization": batch_normalization, "Expand": expand, "Tile": expand}
