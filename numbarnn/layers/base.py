"""What every layer is: a frozen description, with pure functions of a parameter vector."""

import os
import sys
from dataclasses import MISSING, dataclass, fields

import numpy as np

from ..arrays.descriptor import checked_dtype
from ..arrays.devices import backend, expect_device, share_memory
from ..cells import activation, check
from ..descriptions.docstrings import inherit_parameters, public_members
from ..descriptions.fields import Description
from ..errors import DTypeError, ShapeError, generator, known_name, positive_integer
from ..files.container import write_file
from ..files.written import Writing
from ..parameters import Parameters, Weight

SCHEMES = ("glorot", "pytorch")


@dataclass(frozen=True)
class Gradients:
    """What a layer's backward returns.

    Attributes
    ----------
    params : Parameters
        dL/dp, in the order of the parameters.
    x : numpy.ndarray or None
        dL/dx, in the layout of x; None if it was not asked for.  Of a `Graph` a dict by input.
    state : numpy.ndarray, tuple of two, or None
        dL/d(initial state), shaped like the state; None for a layer without one.  Of a `Graph` a dict.
    """

    params: Parameters
    x: np.ndarray | None
    state: object = None


def activation_spec(argument, spec):
    """The check of a field that names an activation function: the numbers of ``(name, alpha, beta)`` become floats."""
    check(activation(spec, argument))
    if isinstance(spec, tuple):
        return (str(spec[0]), *(float(number) + 0.0 for number in spec[1:]))
    return str(spec) if isinstance(spec, str) else spec


class Layer(Description):
    """The part of a layer that does not depend on what it computes."""

    random = False  # whether training draws anything
    takes_indices = False  # whether the input are integers
    takes_steps = False  # whether it needs the steps of a sequence
    leaves_one = False  # whether it leaves one step of a sequence
    needs_all = False  # whether it needs all steps at once, so that there is no stream of it
    on_duals = True  # whether a GPU's kernels compute it on dual numbers, see `cells.duals`
    channelwise = False  # whether each channel of the output is made of that channel of the input

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        inherit_parameters(cls)

    def __repr__(self):
        """The fields that are not as by default, in the order of the constructor's arguments."""
        values = [(field, getattr(self, field.name)) for field in sorted(fields(self), key=lambda field: field.kw_only)]
        given = [f"{field.name}={value!r}" for field, value in values if field.default is MISSING or value != field.default]
        return f"{type(self).__name__}({', '.join(given)})"

    def __dir__(self):
        """Fields and public methods: what completion shows."""
        special = (name for name in super().__dir__() if name.startswith("_"))
        return [*special, *public_members(type(self)), *(field.name for field in fields(self))]

    def weights(self, channels: int) -> tuple[Weight, ...]:
        """The parts of the parameter vector for inputs of `channels` channels: a tuple of Weight."""
        return ()

    def output_channels(self, channels: int) -> int:
        """Channels of the output for inputs of `channels` channels."""
        return channels

    def _value_channels(self, channels):
        """How many of so many input channels are values, which come first: all that are no masks and no spans."""
        spans = self._span_channels(channels)
        return channels if spans is None else spans.start

    def _span_channels(self, channels):
        """Which of so many input channels are spans, times that are not negative: a slice, or None."""
        return None

    def fill(self, parameters, random, scheme):
        """Write fresh values of `scheme` into `parameters` (modified)."""

    def init(
        self, channels: int, seed: int = 0, dtype: str = "float32", scheme: str = "glorot", device: str = "cpu"
    ) -> Parameters:
        """New parameters for inputs of `channels` channels.

        Parameters
        ----------
        channels : int
            Input channels C.
        seed : int or numpy.random.Generator
            The same seed gives the same values, in float32 rounded from float64.
        dtype : {"float32", "float64"}
        scheme : {"glorot", "pytorch"}
            ``"glorot"``: input weights Glorot uniform, recurrent weights orthogonal (a gate each), biases zero, the
            LSTM's forget gate 1.  ``"pytorch"``: uniform in ``+-1 / sqrt(hidden)`` for all.
        device : {"cpu", "cuda"}
            Where they lie, and are computed with; the numbers are the same.

        Returns
        -------
        Parameters
        """
        channels, dtype = positive_integer("channels", channels), checked_dtype("dtype", dtype)
        known_name("scheme", scheme, SCHEMES)
        weights, random = self.weights(channels), generator("seed", seed)
        size = sum(w.size for w in weights)
        if size * dtype.itemsize > sys.maxsize:
            raise ValueError(f"channels: expected parameters that memory can hold, got {size} for {channels} of {self!r}")
        parameters = Parameters(np.zeros(size, dtype), weights)
        self.fill(parameters, random, scheme)
        return parameters.to(device)

    def save(self, path: str | os.PathLike, p: Parameters) -> None:
        """Write the layer and its parameters into a file, from which `numbarnn.load` has the pair of them.

        Parameters
        ----------
        path : str or os.PathLike
            Written whole or not at all; an old file is replaced.
        p : Parameters
            As `init` makes them.

        Raises
        ------
        OSError
            If it cannot be written, as on a full disk; an old file is then as it was.
        TypeError
            If an option of the layer is something that no file can describe, such as a lambda.
        ImportError
            Without the package safetensors (``numbarnn[files]``).
        """
        if not isinstance(p, Parameters):
            raise TypeError(f"p: expected numbarnn.Parameters, got {type(p).__name__}")
        if not self.has_parameters(p):
            raise ShapeError(f"p: expected the parameters of {self!r}, got {p!r}")
        writing = Writing()
        described = {"layer": writing("layer", self), "parameters": p._described()}
        write_file(path, p._arrays() | writing.arrays, described)

    def has_parameters(self, p):
        """Whether `p` has the structure of this layer's parameters for some number of channels."""
        return any(self.weights(channels) == p.weights for channels in (1, *(w.inputs or 1 for w in p.weights)))

    def check_parameters(self, parameters, channels):
        """Raise unless `parameters` are this layer's, for inputs of `channels` channels, and finite."""
        if not isinstance(parameters, Parameters):
            raise TypeError(f"p: expected numbarnn.Parameters, got {type(parameters).__name__}")
        expected = self.weights(channels)
        if parameters.weights is not expected and parameters.weights != expected:
            wanted, found = ([f"{w.name} {w.shape}" for w in ws] for ws in (expected, parameters.weights))
            raise ShapeError(f"p: {self!r} with {channels} channels expects {wanted}, got {found}")
        parameters._check_finite(True)

    def gradient_vector(self, into, channels, dtype, device, **apart):
        """`into`, if it has this layer's structure and may be written; a new vector of zeros if it is None.

        apart: what backward reads, arrays by name, and must not be written meanwhile.
        """
        what = f"{self!r} with {channels} channels"
        return gradient_vector(into, self.weights(channels), what, dtype, device, apart)


def gradient_vector(into, weights, what, dtype, device, apart):
    """`into`, if it is a vector of these weights, which are of `what`; see `Layer.gradient_vector`."""
    if into is None:
        return Parameters(backend(device).memory.zeros((sum(w.size for w in weights),), dtype), weights)
    if not isinstance(into, Parameters):
        raise TypeError(f"into: expected numbarnn.Parameters, got {type(into).__name__}")
    if into.weights is not weights and into.weights != weights:
        raise ShapeError(f"into: expected the parameters of {what}, got {into!r}")
    expect_device("into", into.flat, device)
    if into.dtype != dtype:
        raise DTypeError(f"into: expected {dtype} like the tape, got {into.dtype}")
    into.check_writable("into")
    for name, arrays in apart.items():
        for array in arrays:
            if share_memory(into.flat, array):
                raise ValueError(f"into: expected memory of its own, got some that it shares with {name}")
    return into
