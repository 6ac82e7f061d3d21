"""What a caller gives beside the inputs of samples: targets, and weights of them, checked to go with the inputs."""

from dataclasses import replace

import numpy as np

from ..arrays.conversion import array_of, numbers_like
from ..arrays.descriptor import checked_array
from ..arrays.devices import moved
from ..arrays.indices import checked_integers
from ..arrays.ragged import Ragged
from ..errors import ShapeError
from .losses import check_takes_weights, check_weights, checked_weights, takes_any, takes_labels, target_channels
from .sequences import Sequences, other_layout, placed


def with_targets(samples, network, y, letters, given, loss, batch):
    """Samples with y as a loss reads it: labels, integers, or numbers of the network's dtype.

    The shape decides what integers are: labels, without a channel axis, of a loss that takes these; else numbers.
    """
    dtype, channels = network.dtype, target_channels(loss, network.output_channels)
    whose = "" if given == letters else ", as x has no batch axis"
    stepwise = batch.ragged and "t" in letters
    if stepwise and not isinstance(y, Ragged):
        raise TypeError(f"y: expected a Ragged like x, got {type(y).__name__}")
    if not isinstance(y, Ragged):
        y = array_of("y", y, given, given.replace("c", ""))
        if y.dtype == bool and y.ndim < len(given):
            y = y.astype(np.uint8)
    labels = takes_labels(loss, y)
    if labels and not isinstance(y, Ragged) and y.dtype.kind in "iu" and y.ndim == len(given):
        labels = takes_labels(loss, numbers_like("y", y, dtype))
    if takes_any(loss) and not isinstance(y, Ragged):
        labels = y.dtype.kind in "iu" and y.ndim == len(given.replace("c", ""))
    if labels:
        letters, given = letters.replace("c", ""), given.replace("c", "")
    if not stepwise:
        if labels:
            y = checked_integers("y", y)
        elif isinstance(y, Ragged):
            checked_array("y", y)
        y = placed(_checked_axes(y, given, channels, loss, whose), given, letters)
        _check_lengths_of(samples.x, y, letters, channels, loss, batch)
    if labels:
        return replace(
            samples, y=Sequences(y, letters, given), classes=np.inf if takes_any(loss) else loss.classes(channels)
        )
    if not isinstance(y, Ragged):
        y = numbers_like("y", y, dtype)
    elif y.dtype.kind == "f":
        y = y if y.dtype == dtype else Ragged(numbers_like("y", y.data, dtype), y.offsets)
    y = network._here("y", y)
    if stepwise:
        batch.describe("y", y, channels, dtype)
    return replace(samples, y=Sequences(y, letters, given))


def _check_lengths_of(x, y, letters, channels, loss, batch):
    """Raise ShapeError, with what would fit, unless y has the samples and steps of x, and the output's channels."""
    expected = {"n": batch.sequences, "c": channels, "t": batch.steps}
    for letter, what in (("n", "samples like x"), ("c", "channels"), ("t", "steps like x")):
        found = y.shape[letters.index(letter)] if letter in letters else None
        if found in (None, expected[letter]):
            continue
        hint = _advice(y, letters, channels, loss) if letter == "c" else ""
        if letter == "n" and not x.ragged and len(x.letters) == 3:
            shape = x.array.shape
            fits = other_layout(shape, x.letters, n=found, c=shape[x.letters.index("c")])
            hint = fits.replace("its shape", f"the shape of x, {shape},")
        raise ShapeError(f"y: expected {expected[letter]} {what}, got {found} (shape {y.shape}, axes {letters}){hint}")


def with_weights(samples, weights, letters, given, dtype, batch):
    """Samples with weights, a number for each of them or for each of their steps."""
    check_takes_weights(samples.loss)
    stepwise, given = batch.ragged and "t" in letters, given.replace("c", "")
    if isinstance(weights, Ragged):
        expected = "a Ragged of one channel with the offsets of x" if stepwise else "a number for each sample"
        if not stepwise or weights.channels != 1 or not np.array_equal(weights.offsets, samples.x.array.offsets):
            raise ShapeError(f"weights: expected {expected}, got {weights!r}")
        data = moved(numbers_like("weights", weights.data.reshape(-1, 1), dtype), "cpu")
        check_weights(data)
        return replace(samples, weights=Sequences(Ragged(data, weights.offsets), letters, given))
    lengths = {"n": batch.sequences, "t": batch.steps}
    if stepwise:
        found = checked_weights(weights, {"n": batch.sequences}, dtype)
        array = Ragged(np.repeat(found, samples.lengths_of_x)[:, None], samples.x.array.offsets)
        return replace(samples, weights=Sequences(array, letters, given))
    sizes = {letter: lengths[letter] for letter in given}
    array = np.broadcast_to(checked_weights(weights, sizes, dtype), tuple(sizes.values()))
    return replace(samples, weights=Sequences(placed(array, given, letters), letters, given))


def _checked_axes(y, letters, channels, loss, whose):
    """y, if it has one axis for each letter; else a ShapeError that advises what to do."""
    if y.ndim != len(letters):
        hint = _advice(y, letters, channels, loss)
        expected = (f"{len(letters)} axes ({letters})" if letters else "one label, without axes") + whose
        raise ShapeError(f"y: expected {expected}, got {y.ndim} (shape {y.shape}){hint}")
    return y


def _advice(y, letters, channels, loss):
    """What an error says of targets that look like labels or lack the channel axis."""
    parts = []
    if y.ndim == len(letters) - 1 and "c" in letters and channels == 1:
        parts.append(f"y[{', '.join('None' if letter == 'c' else ':' for letter in letters)}] has a channel axis")
    if y.dtype.kind in "iu" and not takes_labels(loss, y):
        name = "binary_cross_entropy" if channels == 1 else "cross_entropy"
        parts.append(f'labels, integers without a channel axis, go with loss="{name}"')
    return "".join(f"; {part}" for part in parts)
