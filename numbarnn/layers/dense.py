"""Layers without memory: Dense, Activation."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..arrays.batch import Batch
from ..arrays.descriptor import TensorDescriptor, is_array, make_read_only
from ..arrays.devices import device_of, expect_device, share_memory, target_of
from ..arrays.ragged import Ragged
from ..arrays.rows import like, numbers
from ..cells import ActivationSpec, DenseCell, activation
from ..descriptions.fields import Unsendable
from ..engine.keep import ALL, NOTHING, WEIGHTS
from ..errors import DTypeError, flag, positive_integer
from ..parameters import Parameters, Weight, glorot_uniform, uniform
from .base import Gradients, Layer, activation_spec


@dataclass(frozen=True)
class Tape(Unsendable):
    """What backward needs of one forward call; `x` must not change while it is in use."""

    layer: Layer
    x: TensorDescriptor
    kept: object = field(repr=False)
    fill: Callable = field(repr=False, compare=False)  # runs forward again, with x and the parameters as they are then
    batch: Batch | None = field(default=None, repr=False)  # how the caller's arrays lie
    parameters: Parameters | None = field(default=None, repr=False)  # of a layer that has some

    instead = "copy x and the parameters, and call forward with them"

    def read_by_backward(self):
        """{name: arrays} of what backward reads, apart from what it is given."""
        own = () if self.parameters is None else (self.parameters.flat,)
        return {"the parameters": own, "x": (self.x.array,)}

    def redraw(self, random):
        """Draw new masks: there are none."""

    def steppers(self):
        """Functions that take one step of a stream: one, or none for a view."""
        return [] if self.fill is _nothing else [self.fill]

    @property
    def nbytes(self):
        """Bytes of the arrays the tape holds, `x` not counted."""
        return 0 if self.kept is None else getattr(self.kept, "array", self.kept).nbytes


@dataclass(frozen=True)
class Adjoint(Unsendable):
    """A descriptor of dL/dx, (T, N, C), or None, written by `fill` with the tape and dy as they are then."""

    dx: TensorDescriptor | None
    fill: Callable

    instead = "copy what backward returns"


def _nothing():
    """What there is to do again for a view."""


LINEAR = DenseCell()
MOST_ROWS = 512  # of a batch that is made of the steps of one sequence


def _batched(x):
    """A single sequence as a batch of its steps, which do not depend on each other; a long one in pieces of equal length.

    It gives every thread of the CPU a part; a GPU takes all rows at once anyway.
    """
    if x.batch != 1 or not x.packing.uniform or device_of(x.array) == "cuda":
        return x
    rows = next(rows for rows in range(min(x.steps, MOST_ROWS), 0, -1) if x.steps % rows == 0)
    step, _, channel = x.strides
    strides = rows * step, step, channel
    return TensorDescriptor.made(x.steps // rows, rows, x.channels, strides, x.dtype, x.layout, x.array, x.address)


def _unbatched(rows, x):
    """Such pieces as one sequence again, like x; no copy."""
    return TensorDescriptor.of_tnc(rows.array.reshape(x.steps, x.batch, rows.channels), rows.address)


class Stateless(Layer):
    """The shared shape of the calls: y from x, and no state."""

    def __call__(
        self, p: Parameters, x: np.ndarray | Ragged, layout: str = "tnc", lengths: np.ndarray | None = None
    ) -> np.ndarray | Ragged:
        """Run the layer without keeping a tape; see `forward`."""
        batch, x = self._checked_input(p, x, layout, lengths)
        return self._given(batch, self.run(p, x, None, NOTHING)[0])

    def forward(
        self, p: Parameters, x: np.ndarray | Ragged, layout: str = "tnc", lengths: np.ndarray | None = None
    ) -> tuple[np.ndarray | Ragged, Tape]:
        """Run the layer and keep what `backward` needs.

        Parameters
        ----------
        p : Parameters
            As `init` makes them.
        x : numpy.ndarray or Ragged
            (T, N, C) in the order of `layout`, or (N, C).  It is read again in `backward`: do not change it in between.
        layout : str
            The letters t, n, c in the order of x's axes; without t for a 2-D x.
        lengths : array of int, optional
            (N,): the steps of each sequence, from 0 to T; T for all if None.  What lies behind is not read.

        Returns
        -------
        y : numpy.ndarray or Ragged
            In the order of `layout`; 0 past the end of a sequence.
        tape : Tape
        """
        batch, x = self._checked_input(p, x, layout, lengths)
        y, tape = self.run(p, x, None, ALL, batch)
        given = self._given(batch, y)
        make_read_only(given)
        return given, tape

    def run_stream(self, p, x):
        """`run` for one step that a stream will take again and again."""
        return self.run(p, x, None, WEIGHTS)

    def _checked_input(self, p, x, layout, lengths):
        without_time = is_array(x) and x.ndim == 2 and isinstance(layout, str) and len(layout) == 3
        batch, described = Batch.of(x, layout.replace("t", "") if without_time else layout, lengths)
        self.check_parameters(p, described.channels)
        if len(p):
            expect_device("x", described.array, p.device)
        if len(p) and described.dtype != p.dtype:
            raise DTypeError(f"x: expected {p.dtype} like the parameters, got {described.dtype}")
        return batch, described

    def _given(self, batch, y):
        """What the caller gets for a descriptor of y."""
        return batch.give(y)

    def _described(self, batch, dy, channels, dtype):
        """A descriptor of the caller's dy."""
        return batch.describe("dy", dy, channels, dtype)

    def _dtype(self, tape):
        """The dtype of y."""
        return tape.x.dtype

    def _check_tape(self, tape):
        if not isinstance(tape, Tape) or tape.layer != self:
            raise TypeError(f"tape: expected one that {self!r}.forward returned, got {tape!r}")

    def backward(
        self,
        tape: Tape,
        dy: np.ndarray | Ragged,
        need_x: bool = True,
        into: Parameters | None = None,
        accumulate: bool = False,
    ) -> Gradients:
        """Derivatives of a loss with respect to the parameters and x, from dL/dy.

        Parameters
        ----------
        tape : Tape
            From `forward`.
        dy : numpy.ndarray or Ragged
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
        self._check_tape(tape)
        need_x, accumulate = flag("need_x", need_x), flag("accumulate", accumulate)
        channels, dtype = tape.x.channels, self._dtype(tape)
        dy = self._described(tape.batch, dy, self.output_channels(channels), dtype)
        gradient = self.gradient_vector(
            into, channels, dtype, device_of(dy.array), dy=(dy.array,), **tape.read_by_backward()
        )
        adjoint = self.differentiate(tape, dy, None, need_x, gradient, accumulate)
        adjoint.fill()
        if adjoint.dx is None:
            return Gradients(gradient, None)
        dx = tape.batch.give(adjoint.dx)
        passed_on = not isinstance(dx, Ragged) and share_memory(dx, dy.array)
        return Gradients(gradient, dx.copy() if passed_on else dx)


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

    def run(self, p, x, initial, keep, batch=None):
        """`forward` without its checks, from a descriptor of x to one of y, (T, N, units), and a tape."""
        cell, rows, target = self.cell, _batched(x), target_of(x.array)
        if keep.for_backward:
            cell.check_differentiable()
            keep = ALL
        apart = keep.for_backward and not cell.activation.from_output  # what f is of is kept, f comes after
        size = target.plans.Size(LINEAR if apart else cell, self.units, 1, rows.packing, x.channels, x.dtype)
        kept = target.launch.run(target.dense, size, p.flat, rows, None, keep)
        y, fill = kept.outputs, kept.fill
        if apart:
            values, pre = like(y), y
            y = values

            def fill():
                kept.fill()
                target.elementwise.value(cell, numbers(pre), values.array)

            target.elementwise.value(cell, numbers(pre), values.array)
        return (y if rows is x else _unbatched(y, x)), Tape(self, x, kept, fill, batch, p)

    def differentiate(self, tape, dy, dfinal, need_x, gradient, accumulate):
        """`backward` without its checks, on descriptors: an Adjoint."""
        x, kept, dy, target = tape.x, tape.kept, _batched(dy), target_of(tape.x.array)
        apart = not self.cell.activation.from_output
        dpre = like(kept.outputs) if apart else dy
        adjoint = target.launch.Adjoint(kept, dpre, None, need_x, gradient.flat, accumulate)

        def fill():
            if apart:
                target.elementwise.times_slope(self.cell, numbers(kept.outputs), numbers(dy), dpre.array)
            adjoint.fill()

        dx = adjoint.dx
        return Adjoint(dx if dx is None or dx.steps == x.steps else _unbatched(dx, x), fill)


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

    At a kink the slope is that of the left side, for ``hard_sigmoid`` 0.

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

    def run(self, p, x, initial, keep, batch=None):
        """`forward` without its checks, from a descriptor of x to one of y, (T, N, C), and a tape."""
        if keep.for_backward:
            self.cell.check_differentiable()
        y, elementwise = like(x), target_of(x.array).elementwise

        def fill():
            elementwise.value(self.cell, numbers(x), y.array)

        fill()
        kept = y if self.cell.activation.from_output else None  # else x, which the tape has anyway
        return y, Tape(self, x, kept, fill, batch)

    def differentiate(self, tape, dy, dfinal, need_x, gradient, accumulate):
        """`backward` without its checks, on descriptors: an Adjoint."""
        if not need_x:
            return Adjoint(None, _nothing)
        dx, kept = like(tape.x), tape.x if tape.kept is None else tape.kept
        elementwise = target_of(dx.array).elementwise
        return Adjoint(dx, lambda: elementwise.times_slope(self.cell, numbers(kept), numbers(dy), dx.array))
