"""The random numbers of regularisation: which there are, how they are drawn, and where kernels and layers find them."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor, checked_array, checked_dtype
from ..arrays.devices import backend, device_of, expect_device, moved, native
from ..errors import DTypeError, ShapeError, generator, nearest, positive_integer
from .base import Layer


def keep_or_drop(rate):
    """A drawing of inverted dropout: 0 with probability `rate`, else ``1 / (1 - rate)``, so that the mean is 1."""
    return lambda random, shape: (random.random(shape) >= rate) / (1 - rate)


def zone(rate):
    """A drawing of 1 with probability `rate`, else 0."""
    return lambda random, shape: random.random(shape) < rate


def gaussian(deviation):
    """A drawing of normal numbers of mean 0."""
    return lambda random, shape: deviation * random.standard_normal(shape)


def drawings(layer, steps, batch, channels):
    """{name: (shape, function of a Generator and a shape)} of all that a layer draws for one call."""
    found, outputs, wide = {}, layer.output_channels(channels), layer.directions * layer.hidden
    for index in range(layer.layers):
        inputs = channels if index == 0 else outputs
        per_step = {"zoneout_h": layer.zoneout_rates[0], "zoneout_c": layer.zoneout_rates[1]}
        if layer.input_dropout:
            found[f"input_l{index}"] = (batch, inputs), keep_or_drop(layer.input_dropout)
        if layer.recurrent_dropout:
            found[f"recurrent_l{index}"] = (batch, wide), keep_or_drop(layer.recurrent_dropout)
        for name, rate in per_step.items():
            if rate:
                found[f"{name}_l{index}"] = (steps, batch, wide), zone(rate)
        if layer.noise:
            found[f"noise_l{index}"] = (steps, batch, wide), gaussian(layer.noise)
        if layer.weight_drop:
            shape = layer.directions, len(layer.cell.gates) * layer.hidden, layer.state_widths[0]
            found[f"weight_l{index}"] = shape, keep_or_drop(layer.weight_drop)
        if layer.dropout and index < layer.layers - 1:
            found[f"dropout_l{index}"] = (steps, batch, outputs), keep_or_drop(layer.dropout)
    return found


class Masks:
    """The numbers drawn for one call, by name, as they are multiplied or added.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
    redraw : function of a Generator, optional
        Writes new numbers into the arrays.
    """

    def __init__(self, arrays, redraw=None):
        self.arrays, self.redraw = arrays, redraw

    @classmethod
    def drawn(cls, layer, steps, batch, channels, dtype, random, device="cpu"):
        """Fresh numbers from a Generator: the same ones on every device."""
        found = layer.drawings(steps, batch, channels)
        arrays = {name: backend(device).memory.empty(shape, dtype) for name, (shape, _) in found.items()}

        def redraw(random):
            for name, (shape, draw) in found.items():
                arrays[name][...] = moved(draw(random, shape).astype(dtype), device)

        redraw(random)
        return cls(arrays, redraw)

    @classmethod
    def given(cls, layer, steps, batch, channels, dtype, masks, device="cpu"):
        """Copies of the caller's numbers; what is optional, such as noise, may be given to a layer that draws none."""
        if not isinstance(masks, dict):
            raise TypeError(f"masks: expected a dict of arrays by name, got {type(masks).__name__}")
        shapes = {name: shape for name, (shape, _) in layer.drawings(steps, batch, channels).items()}
        allowed = layer.optional_masks(steps, batch) | shapes
        for name in masks:
            if name not in allowed:
                raise nearest("masks", name, allowed)
        for name in shapes:
            if name not in masks:
                raise ValueError(f"masks: expected {', '.join(shapes)}, got no {name}")
        arrays = {name: (f"masks[{name!r}]", array) for name, array in masks.items()}
        masks = {name: checked_array(label, native(label, array)) for name, (label, array) in arrays.items()}
        for name, array in masks.items():
            expect_device(f"masks[{name!r}]", array, device)
            if array.shape != allowed[name]:
                raise ShapeError(f"masks[{name!r}]: expected shape {allowed[name]}, got {array.shape}")
            if array.dtype != dtype:
                raise DTypeError(f"masks[{name!r}]: expected {dtype} like the parameters, got {array.dtype}")
        return cls({name: array.copy() for name, array in masks.items()})

    def get(self, name):
        """The numbers of one name, or None."""
        return self.arrays.get(name)


class Drawn(Layer):
    """The part of a layer that draws random numbers for a call, or is given them."""

    def drawings(self, steps, batch, channels):
        """{name: (shape, function of a Generator and a shape)} of all that is drawn for one call."""
        raise NotImplementedError

    def optional_masks(self, steps, batch):
        """{name: shape} of what may be given besides: nothing."""
        return {}

    def draw(self, steps: int, batch: int, channels: int, seed: int = 0, dtype: str = "float32") -> dict[str, np.ndarray]:
        """What a call with `seed` draws, by name: an argument `masks` of the same or of another call.

        Of a `Dropout` it is ``dropout`` (T, N, C).  Of a recurrent layer it is ``input_l0`` (N, C), ``recurrent_l0``
        (N, D * H), ``zoneout_h_l0``, ``zoneout_c_l0``, ``noise_l0`` (T, N, D * H), ``dropout_l0`` (T, N, Y), ``weight_l0``
        (D, G * H, H), and so on for each stacked layer: those that the layer has.

        Parameters
        ----------
        steps, batch, channels : int
            T, N, C of the input; T is 1 without time, and the length of the longest sequence of a Ragged.
        seed : int or numpy.random.Generator
        dtype : {"float32", "float64"}
        """
        sizes = (positive_integer(n, v) for n, v in (("steps", steps), ("batch", batch), ("channels", channels)))
        return Masks.drawn(self, *sizes, checked_dtype("dtype", dtype), generator("seed", seed)).arrays

    def drawn_masks(self, x, random):
        """Masks for a descriptor of x."""
        steps, batch = x.packing.total, x.packing.sequences
        return Masks.drawn(self, steps, batch, x.channels, x.dtype, random, device_of(x.array))

    def masks_of(self, seed, masks, batch, x):
        """The Masks that the arguments of a call ask for, or None."""
        if seed is not None and masks is not None:
            raise ValueError("masks: expected None together with a seed, got both")
        if masks is not None:
            return Masks.given(self, batch.steps, batch.sequences, x.channels, x.dtype, masks, device_of(x.array))
        return None if seed is None else self.drawn_masks(x, generator("seed", seed))


def drive(array, packing, steps, batch):
    """A descriptor of numbers for each step and unit: of a (T, N, D * H) array, (N, D * H) or (D * H,) for all steps."""
    described = TensorDescriptor.of_tnc(np.broadcast_to(array, (steps, batch, array.shape[-1])))
    return described.packed(packing)


def rows_of(array, packing):
    """The numbers of each row of a batch, (rows, C) or something that broadcasts to (T, N, C): of (T, N, C) or (N, C)."""
    return packing.of_steps(array) if array.ndim == 3 else packing.of_sequences(array)
