"""What a network is: layers in a row, the parameters of all of them, and copies."""

import copyreg
from dataclasses import replace

import numpy as np

from ..arrays.descriptor import axes_of, checked_array, checked_dtype
from ..arrays.devices import moved
from ..descriptions.fields import Settled
from ..descriptions.summary import Summary
from ..errors import ShapeError, generator, positive_integer, several
from ..layers.base import Layer
from ..layers.embedding import Embedding
from ..layers.images import shaped
from ..layers.last import chained, unmerged
from ..layers.recurrent import Recurrent
from ..parameters import Parameters
from ..training.history import History

OF_A_TRAINING = ("_history",)  # attributes that no copy has


class Structure(Settled):
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

    def _fresh(self, random, scheme):
        """A vector of initial parameters, in the host's memory."""
        return np.concatenate(
            [layer.init(at, random, self.dtype, scheme).flat for layer, at in zip(self.layers, self._inputs)]
        )

    @property
    def params(self) -> Parameters:
        """All parameters: one vector, ``params.flat``, and its named parts.  Assigning copies the numbers in."""
        return self._params

    @params.setter
    def params(self, source):
        if not isinstance(source, Parameters):
            raise TypeError(f"params: expected numbarnn.Parameters, got {type(source).__name__}")
        self._params.check_structure("params", source)
        self._params.flat = source.flat

    @property
    def _own(self):
        """The parameters of each layer: views of the vector, kept with it so that there is only one of everything."""
        params = self._params
        if params._split is None:
            params._split = self.split(params.flat)
        return params._split

    @property
    def history(self) -> History | None:
        """The History of the last training, also of one that an exception ended, or that is running; None in copies."""
        return self.__dict__.get("_history")

    def __getstate__(self):
        state = {name: value for name, value in self.__dict__.items() if name not in OF_A_TRAINING}
        slots = {name: getattr(self, name) for name in copyreg._slotnames(type(self)) if hasattr(self, name)}
        return (state, slots) if slots else state  # as copy and pickle have it, for a subclass with __slots__

    def _with(self, params):
        """A network of the same layers over other parameters."""
        other = object.__new__(type(self))
        state = self.__getstate__()
        state, slots = state if isinstance(state, tuple) else (state, {})
        other.__dict__.update(state, _params=params, device=params.device)
        for name, value in slots.items():
            setattr(other, name, value)
        return other

    def _drawn(self, seed, scheme):
        """A network of the same layers with the initial parameters that a new one would draw."""
        return self._with(self._params._over(moved(self._fresh(generator("seed", seed), scheme), self.device)))

    def __copy__(self):
        return self._with(self._params.copy())

    def split(self, flat: np.ndarray) -> list[Parameters]:
        """A Parameters for each layer, over its part of a vector `flat`: views, as of ``net.params.flat``."""
        if checked_array("flat", flat).shape != self._params.flat.shape:
            raise ShapeError(f"flat: expected shape {self._params.flat.shape} like the parameters, got {flat.shape}")
        parts, at = [], 0
        for layer, channels in zip(self.layers, self._inputs):
            weights = layer.weights(channels)
            size = sum(w.size for w in weights)
            parts.append(Parameters(flat[at : at + size], weights))
            at += size
        return parts

    @property
    def random(self) -> bool:
        """Whether training draws dropout, zoneout or noise."""
        return any(layer.random for layer in self.layers)

    @property
    def _stateful(self):
        """The indices of the layers that have a state."""
        return [index for index, layer in enumerate(self.layers) if isinstance(layer, Recurrent)]

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
