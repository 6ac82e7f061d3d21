"""Layers and one vector of the parameters of all of them, and copies of both."""

import copyreg
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from ..arrays.conversion import numbers_like
from ..arrays.descriptor import checked_array
from ..arrays.devices import backend, contiguous, device_of, expect_finite, moved, native
from ..descriptions.fields import Settled
from ..errors import DTypeError, ShapeError, generator
from ..files.written import Writing
from ..parameters import Parameters
from ..training.gradient_calls import GradientCalls
from ..training.history import History
from .placing import placed_on

Own = TypeVar("Own", bound="Layered")
NOT_COPIED = ("_history", "_gradient_calls")  # attributes that no copy has


class Layered(Settled):
    """Layers that are settled when it is made, the channels that each reads, and the parameters of all of them.

    A subclass sets `layers`, `_inputs` (the input channels of each), `dtype`, `device` and `_params`.
    """

    _kind = "network"  # as errors call it

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

    def transfer(self, source: Own) -> Own:
        """Copy the parameters of another network, or graph, whose parameters have the same names and shapes; returns itself.

        Between dtypes the numbers are rounded; ValueError if one is too large.
        """
        if not isinstance(source, Layered) or source._kind != self._kind:
            raise TypeError(f"source: expected a {self._kind.capitalize()}, got {type(source).__name__}")
        self.params.check_structure("source", source.params)
        self.params.flat = numbers_like("source", moved(source.params.flat, self.device), self.dtype)
        return self

    def _here(self, argument, array):
        """An array of the caller's where the parameters are."""
        return placed_on(self.device, argument, array)

    def _state_here(self, argument, state):
        """A layer's state where the parameters are."""
        if isinstance(state, (tuple, list)):
            return tuple(self._here(argument, part) for part in state)
        return self._here(argument, state)

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
        state = {name: value for name, value in self.__dict__.items() if name not in NOT_COPIED}
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

    def to(self: Own, device: str) -> Own:
        """One of the same layers with a copy of the parameters on ``"cpu"`` or ``"cuda"``; this one if it is there."""
        backend(device)
        return self if device == self.device else self._with(self._params.to(device))

    def __copy__(self):
        return self._with(self._params.copy())

    def split(self, flat: np.ndarray) -> list[Parameters]:
        """A Parameters for each layer, over its part of a vector `flat`: views, as of ``net.params.flat``."""
        flat = checked_array("flat", flat)
        if flat.shape != self._params.flat.shape:
            raise ShapeError(f"flat: expected shape {self._params.flat.shape} like the parameters, got {flat.shape}")
        parts, at = [], 0
        for layer, channels in zip(self.layers, self._inputs):
            weights = layer.weights(channels)
            size = sum(w.size for w in weights)
            parts.append(Parameters(flat[at : at + size], weights))
            at += size
        return parts

    def _parameters_at(self, flat):
        """(Parameters of these layers over a vector that a caller gives, or over a copy of it, the device where it lies).

        A typed error if it is no such vector.
        """
        flat = checked_array("flat", flat)
        if flat.dtype != self.dtype:
            raise DTypeError(f"flat: expected {self.dtype} like the {self._kind}, got {flat.dtype}")
        given = Parameters(contiguous(moved(flat, self.device)), self._params.weights)
        given.check_finite()
        return given, device_of(flat)

    def _gradient_at(self, given, samples, loss):
        """(the loss of samples, its gradient, a new vector on the device of the parameters) at a Parameters."""
        # Another Python thread that calls meanwhile finds none, and makes its own.
        calls = self.__dict__.pop("_gradient_calls", None) or GradientCalls(self)
        found = calls(given.flat, samples, loss)
        if calls.worth_keeping:
            self.__dict__["_gradient_calls"] = calls
        return found

    def _direction(self, name, vector):
        """A contiguous vector (P,) that a caller gives as a direction of the parameters; else a typed error."""
        array, size = checked_array(name, native(name, vector)), len(self.params)
        if array.shape != (size,):
            raise ShapeError(f"{name}: expected shape {(size,)} like the parameters, got {array.shape}")
        if array.dtype != self.dtype:
            raise DTypeError(f"{name}: expected {self.dtype} like the {self._kind}, got {array.dtype}")
        expect_finite(name, array)
        return contiguous(moved(array, self.device))

    @property
    def _goes_on(self):
        """Whether it can be run over sequences in pieces, the states carried on: no layer needs what comes after a step."""
        return not any(layer.leaves_one or getattr(layer, "bidirectional", False) for layer in self.layers)

    @property
    def random(self) -> bool:
        """Whether training draws dropout, zoneout or noise."""
        return any(layer.random for layer in self.layers)

    def _for_file(self, writing):
        """(kind, dict): what a file calls such an object, and what its constructor takes besides the dtype."""
        raise NotImplementedError

    def _written(self, extra=None):
        """(arrays, description): what a file holds of it, and of what belongs to it by name."""
        if extra is not None and not (isinstance(extra, Mapping) and all(isinstance(name, str) for name in extra)):
            raise TypeError(f"extra: expected a dict of what to keep by names, got {extra!r:.80}")
        writing = Writing()
        kind, own = self._for_file(writing)
        described = {kind: own, "parameters": self._params._described()}
        if extra:
            described["extra"] = writing("extra", dict(extra))
        return self._params._arrays() | writing.arrays, described

    @classmethod
    def _out_of_file(cls, read, description, kind, names):
        """The object that `_written` has described, on the CPU; names: of what `_for_file` has.

        read : files.written.Reading
            Its arrays are taken out (is modified).
        """
        found = read(kind, description.get(kind))
        if not isinstance(found, dict) or found.keys() != set(names):
            raise read.error(kind, f"its {', '.join(names[:-1])} and {names[-1]}, got {found!r:.200}")
        params, made = Parameters._of_file(read, description), object.__new__(cls)
        try:
            weights = made._settle(**found, dtype=params.dtype)
        except (TypeError, ValueError) as error:
            raise read.error(kind, f"what a {cls.__name__} is made of; {error}") from error
        if tuple(weights) != params.weights:
            raise read.error("parameters", f"the parameters of {made!r}, got {params!r}")
        made.device, made._params = "cpu", params
        return made
