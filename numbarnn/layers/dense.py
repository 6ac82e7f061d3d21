"""Layers that take each step by itself: Dense, Activation."""

import functools
from dataclasses import dataclass
from typing import ClassVar

from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import backend_of, device_of
from ..arrays.packing import uniform as uniform_packing
from ..cells import ActivationSpec, DenseCell, activation
from ..engine.keep import ALL
from ..errors import positive_integer
from ..parameters import Weight
from .base import activation_spec
from .chain import Chain
from .distributions import glorot_uniform, uniform
from .operations import Elementwise, Operation
from .stateless import Stateless
from .tangents import separate

LINEAR = DenseCell()
MOST_ROWS = 512  # of a batch that is made of the steps of one sequence


def _most_rows(steps):
    """The number of rows into which a single sequence of `steps` steps is cut."""
    return next(rows for rows in range(min(steps, MOST_ROWS), 0, -1) if steps % rows == 0)


def _lies_alone(steps):
    """The packing of a single sequence of `steps` steps, cut into rows of equal length."""
    rows = _most_rows(steps)
    return uniform_packing(steps // rows, rows)


def _batched(x):
    """A single sequence as a batch of its steps, which do not depend on each other; a long one in pieces of equal length.

    It gives every thread of the CPU a part; a GPU takes all rows at once anyway.
    """
    if x.batch != 1 or not x.packing.uniform or device_of(x.array) == "cuda":
        return x
    rows = _most_rows(x.steps)
    step, _, channel = x.strides
    strides = rows * step, step, channel
    return TensorDescriptor.made(x.steps // rows, rows, x.channels, strides, x.dtype, x.layout, x.array, x.address)


class Linear(Operation):
    """``f(W x + b)`` at every step, f being the activation of a `DenseCell`.

    Parameters
    ----------
    cell : DenseCell
    units : int
        Output channels.
    source : TensorDescriptor
    p : Parameters
    keep : Keep
    """

    learns = True

    def __init__(self, cell, units, source, p, keep):
        rows, backend = source if keep.weights else _batched(source), backend_of(source.array)
        size = backend.plans.Size(cell, units, 1, rows.packing, rows.channels, rows.dtype)
        self.source, self.tape = source, backend.launch.run(backend.dense, size, p.flat, rows, None, keep)
        self.outputs = self._unbatched(self.tape.outputs)

    def _unbatched(self, rows):
        """Pieces of a sequence as one sequence again, like the source; no copy."""
        steps, batch = self.source.steps, self.source.batch
        if rows.steps == steps:
            return rows
        return TensorDescriptor.of_tnc(rows.array.reshape(steps, batch, rows.channels), rows.address)

    def forward(self):
        self.tape.fill()

    def fills(self):
        return [self.tape.fill]

    def add_to(self, program):
        self.tape.add_to(program)

    def separable(self):
        return self.tape.size.batch == self.source.batch and self.tape.separable

    def backward(self, adjoint, dy, need_x):
        if adjoint.rows is not None:
            own = separate(device_of(self.source.array)).Adjoint(self.tape, dy, None, need_x, adjoint.rows, _lies_alone)
            adjoint.fills.append(own.fill)
            return own.dx
        own = backend_of(self.source.array).launch.Adjoint(
            self.tape, _batched(dy), None, need_x, adjoint.gradient.flat, adjoint.accumulate
        )
        adjoint.fills.append(own.fill)
        return None if own.dx is None else self._unbatched(own.dx)

    def jvp(self, tangents, dx):
        if tangents.parameters is dx is None:
            return None
        vectors = None if tangents.parameters is None else [dp.flat for dp in tangents.parameters]
        rows = None if dx is None else [*map(_batched, dx)]
        found = tangents.through(self.tape, self.source, vectors, rows)
        return [*map(self._unbatched, found.dy)]

    @property
    def nbytes(self):
        return self.tape.nbytes


@dataclass(frozen=True, repr=False)
class Dense(Stateless):
    """A dense layer: at every step the outputs are a function of weighted sums of the inputs.

    T steps, N batch, C input channels, U output channels.  Each step of one sequence is ::

        y = f(W x + b)

    where x (C,) is the input of the step, y (U,) its output, and f the activation function.

    Input x (T, N, C) or (N, C), output y (T, N, U) or (N, U), no state.  Parameters: ``weight`` W (U, C), ``bias`` b (U,).

    Parameters
    ----------
    units : int
        Output channels.
    activation : str, tuple or ActivationFunction
        f: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``; `numbarnn.Activation` lists them.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.Dense(2, "relu")
    >>> p = layer.init(channels=3, seed=0)
    >>> layer(p, np.zeros((4, 3), np.float32)).shape
    (4, 2)
    """

    units: int
    activation: ActivationSpec = "linear"

    accepts: ClassVar = {"units": positive_integer, "activation": activation_spec}

    @functools.cached_property
    def cell(self):
        """The layer in the words of a cell."""
        return DenseCell(activation(self.activation))

    @functools.lru_cache(maxsize=1024)  # noqa: B019 (layers are small and equal ones share an entry)
    def weights(self, channels):
        return (Weight("weight", channels, self.units), Weight("bias", None, self.units))

    def output_channels(self, channels):
        return self.units

    def fill(self, parameters, random, scheme):
        channels = parameters["weight"].shape[1]
        if scheme == "pytorch":
            for _, view in parameters.items():
                view[...] = uniform(random, view.shape, channels)
        else:
            parameters["weight"][...] = glorot_uniform(random, (channels, self.units)).T

    def operation(self, p, x, keep):
        if not keep.for_backward:
            return Linear(self.cell, self.units, x, p, keep)
        self.cell.check_differentiable()
        kept = keep if keep.weights else ALL
        if self.cell.activation.from_output:
            return Linear(self.cell, self.units, x, p, kept)
        chain = Chain(x)  # what f is of is kept, f comes after
        chain.append(Linear(LINEAR, self.units, x, p, kept))
        chain.append(Elementwise(chain.outputs, self.cell))
        return chain


@dataclass(frozen=True, repr=False)
class Activation(Stateless):
    """A function of every number: ``y = f(x)``, with x and y (T, N, C) or (N, C), no state and no parameters.

    T steps, N batch, C channels.  Any layer's ``activation`` may name the functions of this table.  alpha and beta are
    ONNX's unless given, as in ``("leaky_relu", 0.1)``, and P is the standard normal distribution:

    ====================  ==============================================  ================
    name                  f(x)                                            alpha, beta
    ====================  ==============================================  ================
    ``relu``              ``max(x, 0)``
    ``tanh``              ``tanh(x)``
    ``sigmoid``           ``1 / (1 + exp(-x))``
    ``affine``            ``alpha x + beta``                              1, 0
    ``leaky_relu``        ``x`` if positive, else ``alpha x``             0.01
    ``thresholded_relu``  ``x`` if greater than alpha, else 0             1
    ``scaled_tanh``       ``alpha tanh(beta x)``                          1, 1
    ``hard_sigmoid``      ``min(max(alpha x + beta, 0), 1)``              0.2, 0.5
    ``elu``               ``x`` if positive, else ``alpha (exp(x) - 1)``  1
    ``softsign``          ``x / (1 + abs(x))``
    ``softplus``          ``log(1 + exp(x))``
    ``identity``          ``x``; also called ``linear``
    ``gelu``              ``x P(x)``, exactly
    ``silu``              ``x / (1 + exp(-x))``
    ====================  ==============================================  ================

    At a kink the slope of the left side is taken, for ``hard_sigmoid`` 0.

    Parameters
    ----------
    name : str, tuple or ActivationFunction
        A name of the table, a tuple ``(name, alpha)`` or ``(name, alpha, beta)``, or a function of your own.

    References
    ----------
    ONNX operator RNN for the names from ``relu`` to ``softplus``; ``gelu`` and ``silu``: Hendrycks and Gimpel 2016,
    arXiv:1606.08415.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.Activation("relu")
    >>> layer(layer.init(channels=2), np.array([[-1.0, 2.0]], np.float32))
    array([[0., 2.]], dtype=float32)
    """

    name: ActivationSpec

    channelwise = True
    accepts: ClassVar = {"name": activation_spec}

    @functools.cached_property
    def cell(self):
        """The function in the words of a cell."""
        return DenseCell(activation(self.name))

    def operation(self, p, x, keep):
        if keep.for_backward:
            self.cell.check_differentiable()
        return Elementwise(x, self.cell)
