"""The random numbers of regularisation: which there are, how they are drawn, and where kernels and layers find them."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor, checked_array
from ..arrays.devices import expect_device, moved, native, target
from ..errors import DTypeError, ShapeError, nearest


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
        arrays = {name: target(device).memory.empty(shape, dtype) for name, (shape, _) in found.items()}

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
        masks = {name: native(array) for name, array in masks.items()}
        for name, array in masks.items():
            checked_array(f"masks[{name!r}]", array)
            expect_device(f"masks[{name!r}]", array, device)
            if array.shape != allowed[name]:
                raise ShapeError(f"masks[{name!r}]: expected shape {allowed[name]}, got {array.shape}")
            if array.dtype != dtype:
                raise DTypeError(f"masks[{name!r}]: expected {dtype} like the parameters, got {array.dtype}")
        return cls({name: array.copy() for name, array in masks.items()})

    def get(self, name):
        """The numbers of one name, or None."""
        return self.arrays.get(name)


def drive(array, packing, steps, batch):
    """A descriptor of numbers for each step and unit: of a (T, N, D * H) array, (N, D * H) or (D * H,) for all steps."""
    described = TensorDescriptor.of_tnc(np.broadcast_to(array, (steps, batch, array.shape[-1])))
    return described.packed(packing)


def rows_of(array, packing):
    """The numbers of each row of a batch, (rows, C) or something that broadcasts to (T, N, C): of (T, N, C) or (N, C)."""
    return packing.of_steps(array) if array.ndim == 3 else packing.of_sequences(array)
