"""What a network is: layers in a row, and what each of them reads."""

from dataclasses import replace

from ..arrays.descriptor import axes_of, checked_dtype
from ..descriptions.summary import Summary
from ..errors import positive_integer, several
from ..layers.base import Layer
from ..layers.embedding import Embedding
from ..layers.images import shaped
from ..layers.last import chained, unmerged
from ..layers.recurrent import Recurrent
from .layered import Layered


class Structure(Layered):
    """The part of a network that depends on no input."""

    settled = ("layers", "channels", "dtype", "layout", "device", "output_channels")

    def _settle(self, layers, channels, dtype, layout):
        """Set all that the network is but its parameters; the weights that these have."""
        layers = several("layers", layers, "layers of numbarnn in a list")
        if not layers:
            raise ValueError("layers: expected at least one layer, got none")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers: expected layers of numbarnn, got {layer!r} ({type(layer).__name__})")
        for index, layer in enumerate(layers):
            if index and isinstance(layer, Embedding):
                raise ValueError(f"layers: expected an Embedding, which takes indices, to be the first, got one at {index}")
        layers, channels = shaped(layers, channels)
        self.layers = chained(layers)
        self._unmerged = unmerged(self.layers)
        if channels is None:
            if not self.takes_indices:
                raise TypeError("channels: expected a positive integer, the channels of the input, got None")
            channels = 1
        self.channels, self.dtype = positive_integer("channels", channels), checked_dtype("dtype", dtype)
        self.layout = axes_of(layout, 3)
        weights, at, inputs = [], self.channels, []
        for index, layer in enumerate(self.layers):
            inputs.append(at)
            weights += [replace(w, name=f"{index}.{w.name}") for w in layer.weights(at)]
            at = layer.output_channels(at) * (2 if index in self._unmerged else 1)
        self.output_channels, self._inputs = at, tuple(inputs)
        return weights

    @property
    def _stateful(self):
        """The indices of the layers that have a state."""
        return [index for index, layer in enumerate(self.layers) if isinstance(layer, Recurrent)]

    @property
    def _structure(self):
        """What makes it another network than others, whatever its parameters are: plain values and descriptions."""
        return self.layers, self.channels, self.dtype.name

    @property
    def _recurrent(self):
        """{index: layer} of the layers that have a state."""
        return {index: self.layers[index] for index in self._stateful}

    @property
    def takes_indices(self) -> bool:
        """Whether the input are integers, for an `Embedding`."""
        return self.layers[0].takes_indices

    @property
    def output_layout(self) -> str:
        """The letters of the axes of the output: as of the input, without t after `Last` or `Pool`."""
        return self.layout.replace("t", "") if any(layer.leaves_one for layer in self.layers) else self.layout

    @property
    def _stepwise(self):
        """Whether every layer takes each step by itself, so that rows (N, C) are as good as a sequence (T, C)."""
        return "t" in self.output_layout and not any(isinstance(layer, Recurrent) for layer in self.layers)

    def summary(self) -> str:
        """A table of the layers, their outputs and parameters: text that a prompt and a notebook show as a table."""
        rows, letters = [], self.layout
        for index, (layer, own) in enumerate(zip(self.layers, self._own)):
            channels = layer.output_channels(self._inputs[index])
            letters = letters.replace("t", "") if layer.leaves_one else letters
            shape = ", ".join(str(channels) if letter == "c" else letter.upper() for letter in letters)
            rows.append((str(index), repr(layer), f"({shape})", f"{len(own):,}"))
        head = ("", "layer", "output", "parameters")
        rows = [head, *rows, ("", "all", "", f"{len(self.params):,}")]
        return Summary.of(rows)
