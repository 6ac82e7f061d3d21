"""Keras' layers of images, whose channels come last, and this library's, in whose rows they come first; both ways."""

from dataclasses import replace

import numpy as np

from ..errors import ConversionError
from ..layers.convolution import Conv2d
from ..layers.pooling import AvgPool2d, MaxPool2d

POOLS = {"MaxPooling2D": MaxPool2d, "AveragePooling2D": AvgPool2d}
WHOLE = {"GlobalMaxPooling2D": MaxPool2d, "GlobalAveragePooling2D": AvgPool2d}
KINDS = ("Conv2D", "ZeroPadding2D", *POOLS, *WHOLE)
PLAIN = {"data_format": "channels_last", "dilation_rate": (1, 1), "groups": 1, "keepdims": False}


def shape_of(kind, config):
    """The (channels, height, width) that an InputLayer or a first layer says its images have, None for no images."""
    shape = config.get("batch_shape") or config.get("batch_input_shape") or ()
    if len(shape) != 4:
        return None
    if None in shape[1:]:
        raise ConversionError(f"layer {config.get('name')!r} ({kind}): expected images of a known size, got {shape}")
    return (shape[3], shape[1], shape[2])


def rows_in_order(kernel, shape):
    """Rows of a kernel, one for each number of a flattened image in Keras' order, in the order of this library's rows."""
    channels, height, width = shape
    apart = kernel.reshape(height, width, channels, -1)
    return apart.transpose(2, 0, 1, 3).reshape(kernel.shape)


def rows_in_keras(kernel, shape):
    """The rows of a kernel in Keras' order."""
    apart = kernel.reshape(*shape, -1)
    return apart.transpose(1, 2, 0, 3).reshape(kernel.shape)


def images_from(described, shape, padding):
    """(layer, arrays, padding before the next one) of a layer of images of a shape; a ZeroPadding2D gives no layer.

    padding : tuple of two
        Rows and columns of zeros that a ZeroPadding2D right before has added.
    """
    kind, config = described.kind, described.config
    for key, value in PLAIN.items():
        if _plain(config.get(key, value)) != value:
            raise described.error(f"{key}={value!r}, got {config[key]!r}")
    if kind == "ZeroPadding2D":
        (top, bottom), (left, right) = config["padding"]
        if top != bottom or left != right or any(padding):
            raise described.error(f"the same padding before and after, once, got {config['padding']}")
        return None, {}, (top, left)
    if kind in WHOLE:
        if any(padding):
            raise described.error("no ZeroPadding2D before it")
        return WHOLE[kind](shape[1:], shape=shape), {}, (0, 0)
    kernel = _plain(config["kernel_size" if kind == "Conv2D" else "pool_size"])
    strides = _plain(config.get("strides") or kernel)
    padding = _padding(described, shape, kernel, strides, padding)
    if kind in POOLS:
        return POOLS[kind](kernel, strides, padding, shape=shape), {}, (0, 0)
    weight, *bias = described.arrays(1, 2)
    layer = Conv2d(config["filters"], kernel, strides, padding, shape=shape)
    bias = bias[0] if bias else np.zeros(len(weight[0, 0, 0]), weight.dtype)
    return layer, {"weight": weight.transpose(3, 2, 0, 1), "bias": bias}, (0, 0)


def _plain(value):
    """Two numbers as a tuple."""
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _padding(described, shape, kernel, strides, padding):
    """Rows and columns of zeros on each side."""
    kind, given = described.kind, described.config.get("padding", "valid")
    if given not in ("valid", "same"):
        raise described.error(f"padding 'valid' or 'same', got {given!r}")
    if any(padding) and (given == "same" or kind == "MaxPooling2D"):
        raise described.error("no ZeroPadding2D before it")
    if given == "valid":
        return padding
    whole = [max((-(-size // s) - 1) * s + k - size, 0) for size, k, s in zip(shape[1:], kernel, strides)]
    if any(each % 2 for each in whole):
        raise described.error(f"padding that is the same before and after, got {whole} in all for images {shape[1:]}")
    if kind == "AveragePooling2D" and any(whole):
        raise described.error("padding 'valid', since Keras leaves the padding out of the means, got 'same'")
    return tuple(each // 2 for each in whole)


def images_to(where, layer, own, make):
    """[Described, ...] of a layer of images; make: the class Described."""
    if isinstance(layer, MaxPool2d) and layer.padding:
        raise ConversionError(f"{where}: expected a layer that Keras has, without padding, got {layer!r}")
    windows, found = layer.windows, []
    if layer.padding:
        padding = [[windows.row_padding] * 2, [windows.column_padding] * 2]
        found.append(make("ZeroPadding2D", {"padding": padding}, []))
    kernel, strides = (windows.rows, windows.columns), layer._strides
    config = {"strides": strides if isinstance(strides, tuple) else (strides, strides), "padding": "valid"}
    if isinstance(layer, Conv2d):
        weights = [own["weight"].transpose(2, 3, 1, 0).copy("C"), own["bias"].copy()]
        return [*found, make("Conv2D", config | {"filters": layer.filters, "kernel_size": kernel}, weights)]
    kind = next(name for name, each in POOLS.items() if each is type(layer))
    return [*found, make(kind, config | {"pool_size": kernel}, [])]


class Images:
    """What is known of images from layer to layer of a network of Keras.

    Attributes
    ----------
    shape : tuple of three or None
        (channels, height, width) while there are images.
    flat : tuple of three or None
        Of the images whose numbers the next Dense reads.
    """

    def __init__(self):
        self.shape, self.flat, self._padding = None, None, (0, 0)

    def begin(self, described):
        """Take the shape that an input or a first layer has; whether it is one of images."""
        if self.shape is None and self.flat is None:
            self.shape = shape_of(described.kind, described.config)
        return self.shape

    def layer(self, described):
        """[(layer, arrays)] of one of `KINDS`."""
        if self.shape is None:
            raise described.error("images to read, of a known size, got rows")
        layer, arrays, self._padding = images_from(described, self.shape, self._padding)
        if layer is None:
            return []
        self.shape = layer.output_shape
        if described.kind in WHOLE:
            self.shape = None  # one number of each channel
        return [(layer, arrays)]

    def flatten(self, described):
        """Let the images be rows."""
        self._expect_no_padding(described)
        self.flat, self.shape = self.shape, None

    def expect_rows(self, described):
        """The layer as it reads rows: a Dense knows whose numbers it reads."""
        if self.shape is not None and described.kind not in ("Activation", "Dropout", "InputLayer"):
            raise described.error("a Flatten before it, after images")
        if described.kind == "Activation":  # of 0 it need not be 0
            self._expect_no_padding(described)
        if self.flat is not None and described.kind == "Dense":
            described, self.flat = replace(described, images=self.flat), None
        return described

    def _expect_no_padding(self, described):
        """Raise unless a layer of images has taken the padding of a ZeroPadding2D."""
        if any(self._padding):
            raise described.error("no ZeroPadding2D before it")
