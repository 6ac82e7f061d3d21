"""Layers without memory: Dense, Activation, Last."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..cells import ActivationSpec, DenseCell, activation
from ..cpu import dense as kernels
from ..cpu import elementwise
from ..cpu.launch import ALL, NOTHING, WEIGHTS
from ..cpu.launch import Adjoint as LayerAdjoint
from ..cpu.launch import run as run_layer
from ..descriptor import TensorDescriptor, in_layout
from ..errors import LayoutError, positive_integer
from ..parameters import Parameters, Weight, glorot_uniform, uniform
from .base import Gradients, Layer


@dataclass(frozen=True)
class Tape:
    """What backward needs of one forward call; `x` must not change while it is in use."""

    layer: Layer
    x: TensorDescriptor
    kept: object = field(repr=False)
    fill: Callable = field(repr=False, compare=False)  # runs forward again, with x and the parameters as they are then

    def steppers(self):
        """Functions that take one step of a stream: one, or none for a view."""
        return [] if self.fill is _nothing else [self.fill]

    @property
    def nbytes(self):
        """Bytes of the arrays the tape holds, `x` not counted."""
        return self.kept.nbytes if self.kept is not None else 0


@dataclass(frozen=True)
class Adjoint:
    """dL/dx as (T, N, C), or None, written by `fill` with the tape and dy as they are then."""

    dx: np.ndarray | None
    fill: Callable


def _nothing():
    """What there is to do again for a view."""


LINEAR = DenseCell()
MOST_ROWS = 512  # of a batch that is made of the steps of one sequence


def _batched(x):
    """A single sequence as a batch of its steps, which do not depend on each other; a long one in pieces of equal length."""
    if x.batch > 1:
        return x
    rows = next(rows for rows in range(min(x.steps, MOST_ROWS), 0, -1) if x.steps % rows == 0)
    step, _, channel = x.strides
    strides = rows * step, step, channel
    return TensorDescriptor(x.steps // rows, rows, x.channels, strides, x.dtype, x.layout, x.array, x.address)


def described(argument, array, layout):
    """`array` as a TensorDescriptor; with two axes it is (N, C) unless `layout` names two axes itself."""
    two_axes = isinstance(array, np.ndarray) and array.ndim == 2 and isinstance(layout, str) and len(layout) == 3
    return TensorDescriptor.of(array, layout.replace("t", "") if two_axes else layout, argument)


class Stateless(Layer):
    """The shared shape of the calls: y from x, and no state."""

    def __call__(self, p: Parameters, x: np.ndarray, layout: str = "tnc") -> np.ndarray:
        """Run the layer without keeping a tape; see `forward`."""
        x = self._checked_input(p, x, layout)
        return in_layout(self.run(p, x, None, NOTHING)[0].array, self._output_layout(x))

    def forward(self, p: Parameters, x: np.ndarray, layout: str = "tnc") -> tuple[np.ndarray, Tape]:
        """Run the layer and keep what `backward` needs.

        Parameters
        ----------
        p : Parameters
            As `init` makes them.
        x : numpy.ndarray
            (T, N, C) in the order of `layout`, or (N, C).
        layout : str
            The letters t, n, c in the order of x's axes; without t for a 2-D x.

        Returns
        -------
        y : numpy.ndarray
            In the order of `layout`.
        tape : Tape
        """
        x = self._checked_input(p, x, layout)
        y, tape = self.run(p, x, None, ALL)
        y = in_layout(y.array, self._output_layout(x))
        y.flags.writeable = False
        return y, tape

    def run_stream(self, p, x):
        """`run` for one step that a stream will take again and again."""
        return self.run(p, x, None, WEIGHTS)

    def _checked_input(self, p, x, layout):
        x = described("x", x, layout)
        self.check_parameters(p, x.channels)
        if len(p):
            x.expect("x", dtype=p.dtype)
        return x

    def _output_layout(self, x):
        return x.layout

    def backward(
        self,
        tape: Tape,
        dy: np.ndarray,
        need_x: bool = True,
        into: Parameters | None = None,
        accumulate: bool = False,
    ) -> Gradients:
        """Derivatives of a loss, from those of y.

        Parameters
        ----------
        tape : Tape
            From `forward`.
        dy : numpy.ndarray
            dL/dy, shaped like y.
        need_x : bool
            False leaves out dL/dx and its cost.
        into : Parameters, optional
            Where dL/dp is written (is modified); new by default.
        accumulate : bool
            Add to `into` instead of overwriting it.

        Returns
        -------
        Gradients
        """
        if not isinstance(tape, Tape) or tape.layer != self:
            raise TypeError(f"tape: expected one that {self!r}.forward returned, got {tape!r}")
        x, letters = tape.x, self._output_layout(tape.x)
        dy = described("dy", dy, letters)
        dy.expect("dy", x.steps if "t" in letters else 1, x.batch, self.output_channels(x.channels), x.dtype)
        gradient = self.gradient_vector(into, x.channels, x.dtype)
        adjoint = self.differentiate(tape, dy, None, need_x, gradient, accumulate)
        adjoint.fill()
        dx = adjoint.dx
        return Gradients(gradient, None if dx is None else in_layout(dx, x.layout))


@dataclass(frozen=True, repr=False)
class Dense(Stateless):
    """A dense layer at every step: ``y = f(W x + b)``.

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

    def __post_init__(self):
        positive_integer("units", self.units)
        activation(self.activation)

    @functools.cached_property
    def cell(self):
        """The layer in the words of a cell."""
        return DenseCell(activation(self.activation))

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

    def run(self, p, x, initial, keep):
        """`forward` without its checks, from a TensorDescriptor of x to one of y, (T, N, units), and a tape."""
        cell, function = self.cell, self.cell.activation
        if keep.for_backward:
            cell.check_differentiable()
            keep = ALL
        apart = keep.for_backward and not function.from_output  # what f is of is kept, f comes after
        kept = run_layer(kernels, LINEAR if apart else cell, self.units, 1, p.flat, _batched(x), None, keep)
        y, fill = kept.described, kept.fill
        if apart:
            values = elementwise.value(cell, kept.y)
            y = TensorDescriptor.of_tnc(values)

            def fill():
                kept.fill()
                elementwise.value(cell, kept.y, values)

        if y.steps != x.steps:
            y = TensorDescriptor.of_tnc(y.array.reshape(x.steps, x.batch, self.units), y.address)
        return y, Tape(self, x, kept, fill)

    def differentiate(self, tape, dy, dfinal, need_x, gradient, accumulate):
        """`backward` without its checks, on TensorDescriptors: an Adjoint."""
        x, kept, dy = tape.x, tape.kept, _batched(dy)
        apart = not self.cell.activation.from_output
        dpre = TensorDescriptor.of_tnc(np.empty_like(kept.y)) if apart else dy
        adjoint = LayerAdjoint(kept, dpre, None, need_x, gradient.flat, accumulate)

        def fill():
            if apart:
                elementwise.times_slope(self.cell, kept.y, dy.tnc, dpre.array)
            adjoint.fill()

        return Adjoint(None if adjoint.dx is None else adjoint.dx.reshape(x.steps, x.batch, x.channels), fill)


@dataclass(frozen=True, repr=False)
class Activation(Stateless):
    """A function of every number: ``y = f(x)``.

    The functions, which any layer's ``activation`` may name; alpha and beta are ONNX's unless given, as in
    ``("leaky_relu", 0.1)``, and P is the standard normal distribution:

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

    At a kink the slope is that of the left side, for ``hard_sigmoid`` 0.

    Parameters
    ----------
    name : str, tuple or ActivationFunction
        A name of the table, a tuple ``(name, alpha)`` or ``(name, alpha, beta)``, or a function of your own.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.Activation("relu")
    >>> layer(layer.init(channels=2), np.array([[-1.0, 2.0]], np.float32))
    array([[0., 2.]], dtype=float32)
    """

    name: ActivationSpec

    def __post_init__(self):
        activation(self.name)

    @functools.cached_property
    def cell(self):
        """The function in the words of a cell."""
        return DenseCell(activation(self.name))

    def run(self, p, x, initial, keep):
        """`forward` without its checks, from a TensorDescriptor of x to one of y, (T, N, C), and a tape."""
        if keep.for_backward:
            self.cell.check_differentiable()
        y = elementwise.value(self.cell, x.tnc)
        kept = y if self.cell.activation.from_output else None  # else x, which the tape has anyway
        return TensorDescriptor.of_tnc(y), Tape(self, x, kept, lambda: elementwise.value(self.cell, x.tnc, y))

    def differentiate(self, tape, dy, dfinal, need_x, gradient, accumulate):
        """`backward` without its checks, on a TensorDescriptor: an Adjoint."""
        if not need_x:
            return Adjoint(None, _nothing)
        x, kept = tape.x, tape.kept
        dx = np.empty((x.steps, x.batch, x.channels), x.dtype)

        def fill():
            elementwise.times_slope(self.cell, x.tnc if kept is None else kept, dy.tnc, dx)

        return Adjoint(dx, fill)


@dataclass(frozen=True)
class Last(Stateless):
    """The last step of a sequence: (T, N, C) to (N, C), a view; Deep Diamond's ``abbreviate``.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.Last()
    >>> layer(layer.init(channels=1), np.arange(6, dtype=np.float32).reshape(3, 2, 1))
    array([[4.],
           [5.]], dtype=float32)
    """

    def _checked_input(self, p, x, layout):
        x = TensorDescriptor.of(x, layout, "x")
        if "t" not in x.layout:
            raise LayoutError(f"layout: expected the letters of a sequence, t among them, got {layout!r}")
        return x

    def _output_layout(self, x):
        return x.layout.replace("t", "")

    def run(self, p, x, initial, keep):
        """`forward` without its checks, from a TensorDescriptor of x to one of y, (1, N, C), and a tape."""
        return TensorDescriptor.of_tnc(x.tnc[-1:]), Tape(self, x, None, _nothing)

    def differentiate(self, tape, dy, dfinal, need_x, gradient, accumulate):
        """`backward` without its checks, on a TensorDescriptor: an Adjoint."""
        if not need_x:
            return Adjoint(None, _nothing)
        x, last = tape.x, dy.tnc[0]
        dx = np.zeros((x.steps, x.batch, x.channels), x.dtype)
        return Adjoint(dx, lambda: np.copyto(dx[-1], last))
