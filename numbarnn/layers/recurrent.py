"""RNN, GRU and LSTM: stacked, in one or both directions."""

import functools
import math
from dataclasses import dataclass, field

import numpy as np

from ..cells import ActivationSpec, Cell, GRUAfterCell, GRUBeforeCell, LSTMCell, RNNCell, activation
from ..cpu import recurrent as kernels
from ..cpu.launch import ALL, NOTHING, STATES, WEIGHTS, Keep
from ..cpu.launch import Adjoint as LayerAdjoint
from ..cpu.launch import run as run_layer
from ..descriptor import TensorDescriptor, checked_array, in_layout
from ..errors import DTypeError, ShapeError, nearest, positive_integer
from ..parameters import Parameters, Weight, glorot_uniform, orthogonal, uniform
from ..streaming import Stream
from .base import Gradients, Layer

TAPES = ("all", "states")
State = np.ndarray | tuple[np.ndarray, np.ndarray]  # h, or for an LSTM (h, c); each (L * D, N, H)


@dataclass(frozen=True)
class Tape:
    """What backward needs of one forward call; it holds the arrays, and `x` must not change while it is in use."""

    layer: Layer
    x: TensorDescriptor
    stack: tuple = field(repr=False)  # one launch.Tape a stacked layer

    @property
    def nbytes(self):
        """Bytes of the arrays the tape holds, `x` not counted."""
        return sum(tape.nbytes for tape in self.stack)

    def fill(self):
        """Run forward again, with x and the parameters as they are now."""
        for tape in self.stack:
            tape.fill()

    def steppers(self):
        """Functions that take one step of a stream, the lowest layer's first."""
        return [tape.stepper() for tape in self.stack]


def kept(tape, checkpoints, steps):
    """The `Keep` that the arguments `tape` and `checkpoints` ask for on a sequence of so many steps."""
    if tape not in TAPES:
        raise nearest("tape", tape, TAPES)
    if checkpoints is None:
        return ALL if tape == "all" else STATES
    if tape != "all":
        raise ValueError(f"tape: expected 'all' together with checkpoints, got {tape!r}")
    if checkpoints == "sqrt":
        return Keep("checkpoints", math.isqrt(steps - 1) + 1)
    return Keep("checkpoints", positive_integer("checkpoints", checkpoints))


class Recurrent(Layer):
    """What RNN, GRU and LSTM have in common.

    Axis letters: T steps, N batch, C input channels, H hidden units, L stacked layers, D directions (1 or 2).
    """

    @property
    def cell(self) -> Cell:
        """The equations."""
        raise NotImplementedError

    @property
    def directions(self):
        """2 for a bidirectional layer, else 1."""
        return 2 if self.bidirectional else 1

    def _check_fields(self):
        positive_integer("hidden", self.hidden)
        positive_integer("layers", self.layers)
        if not isinstance(self.bidirectional, bool):
            raise TypeError(f"bidirectional: expected True or False, got {self.bidirectional!r}")
        self._functions()

    def _functions(self):
        """{field: Function} of the activation functions, which layer and cell call the same."""
        names = ("gate_activation", "activation", "output_activation")
        return {name: activation(getattr(self, name), name) for name in names if hasattr(self, name)}

    @functools.lru_cache(maxsize=1024)  # noqa: B019 (layers are small and equal ones share an entry)
    def weights(self, channels):
        parts, columns = [], len(self.cell.gates) * self.hidden
        for layer in range(self.layers):
            inputs = channels if layer == 0 else self.directions * self.hidden
            for suffix in (f"l{layer}", f"l{layer}_reverse")[: self.directions]:
                parts += [
                    Weight(f"weight_ih_{suffix}", inputs, columns),
                    Weight(f"weight_hh_{suffix}", self.hidden, columns),
                    Weight(f"bias_ih_{suffix}", None, columns),
                    Weight(f"bias_hh_{suffix}", None, columns),
                ]
        return tuple(parts)

    def output_channels(self, channels):
        return self.directions * self.hidden

    def fill(self, parameters, random, scheme):
        gates, hidden = self.cell.gates, self.hidden
        for name, view in parameters.items():
            if scheme == "pytorch":
                view[...] = uniform(random, view.shape, hidden)
            elif view.ndim == 2:
                draw = glorot_uniform if name.startswith("weight_ih") else orthogonal
                for g in range(len(gates)):
                    view[g * hidden : (g + 1) * hidden] = draw(random, (view.shape[1], hidden)).T
            elif name.startswith("bias_ih") and "f" in gates:
                view[gates.index("f") * hidden :][:hidden] = 1

    def __call__(
        self, p: Parameters, x: np.ndarray, state: State | None = None, layout: str = "tnc"
    ) -> tuple[np.ndarray, State]:
        """Run the layer without keeping a tape.

        Parameters
        ----------
        p : Parameters
            As `init` makes them.
        x : numpy.ndarray
            (T, N, C) in the order of `layout`, or (T, C) for one sequence; read in place at any strides.
        state : numpy.ndarray or tuple of two, optional
            Initial state (L * D, N, H), for an LSTM the pair (h, c); zeros if None.
        layout : str
            The letters t, n, c in the order of x's axes.

        Returns
        -------
        y : numpy.ndarray
            (T, N, D * H) in the order of `layout`: the h of every step of the last layer, forward direction first.
        state : numpy.ndarray or tuple of two
            Final state (L * D, N, H).

        Raises
        ------
        ShapeError, LayoutError, DTypeError, NonFiniteError, TypeError
            Named after the argument that is not as described.
        """
        described = self._checked_input(p, x, layout)
        initial = self.checked_state("state", state, described.batch, p.dtype)
        y, tape = self.run(p, described, initial, NOTHING)
        return in_layout(y.array, described.layout), self._final_state(tape)

    def forward(
        self,
        p: Parameters,
        x: np.ndarray,
        state: State | None = None,
        layout: str = "tnc",
        tape: str = "all",
        checkpoints: str | int | None = None,
    ) -> tuple[np.ndarray, State, Tape]:
        """Run the layer and keep what `backward` needs.

        Takes what a call takes, and says how much memory to give for time; the gradient has the same bits in any case.

        Parameters
        ----------
        tape : {"all", "states"}
            ``"states"`` keeps h and c of every step, and backward computes the gates again.
        checkpoints : int or "sqrt", optional
            Keep h and c only at the start of at most so many segments of the sequence, the square root of T for
            ``"sqrt"``; backward runs each segment again (Chen et al. 2016, arXiv:1604.06174).  A segment has at least as
            many steps as make 512 rows of the batch.

        Returns
        -------
        y : numpy.ndarray
            Read-only, since it is part of the tape (except with checkpoints).
        state : numpy.ndarray or tuple of two
        tape : Tape
            ``tape.nbytes`` says how much memory it holds; see `numbarnn.cpu.launch.Tape` for the formula.
        """
        described = self._checked_input(p, x, layout)
        initial = self.checked_state("state", state, described.batch, p.dtype)
        y, tape = self.run(p, described, initial, kept(tape, checkpoints, described.steps))
        final = self._final_state(tape)
        tape.stack[-1].let_go_of_y()
        y.array.flags.writeable = False
        return in_layout(y.array, described.layout), final, tape

    def _checked_input(self, p, x, layout):
        described = TensorDescriptor.of(x, layout, "x")
        self.check_parameters(p, described.channels)
        described.expect("x", dtype=p.dtype)
        return described

    def run(self, p, x, initial, keep):
        """`forward` without its checks, from a TensorDescriptor of x to one of y, (T, N, D * H), and a tape."""
        if keep.for_backward:
            self.cell.check_differentiable()
        if keep is STATES and not self.cell.saved:
            keep = ALL  # no gate is kept anyway
        y, stack = x, []
        for layer in range(self.layers):
            tape = run_layer(
                kernels, self.cell, self.hidden, self.directions, p.flat[p.offset(f"weight_ih_l{layer}") :], y,
                None if initial is None else [s[layer] for s in initial], keep,
            )  # fmt: skip
            stack.append(tape)
            y = tape.described
        return y, Tape(self, x, tuple(stack))

    def _final_state(self, tape):
        return self._as_state([[part.final(m) for part in tape.stack] for m in range(self.cell.states)])

    def stream(self, p: Parameters, batch: int = 1, state: State | None = None) -> Stream:
        """A `Stream` that runs the layer one step at a call.

        Parameters
        ----------
        p : Parameters
            As `init` makes them; read now, later changes do not reach the stream.
        batch : int
            Sequences N that run side by side.
        state : numpy.ndarray or tuple of two, optional
            Initial state (L, N, H), for an LSTM the pair (h, c); zeros if None.

        Returns
        -------
        Stream

        Raises
        ------
        ValueError
            For a bidirectional layer, which needs the whole sequence.
        """
        channels = p[p.names[0]].shape[1] if isinstance(p, Parameters) and p.names else 1
        self.check_parameters(p, channels)
        batch = positive_integer("batch", batch)
        x = np.zeros((1, batch, channels), p.dtype)
        y, tape = self.run_stream(p, TensorDescriptor.of_tnc(x))
        stream = Stream(x, tape.steppers(), [(self, tape)], y.array, single=True)
        stream.state = state
        return stream

    def run_stream(self, p, x):
        """`run` for one step that a stream will take again and again: y as a TensorDescriptor, and a tape."""
        if self.bidirectional:
            raise ValueError(f"stream: {self!r} is bidirectional and needs the whole sequence")
        return self.run(p, x, None, WEIGHTS)

    def stream_state(self, tape):
        """The state that a stream's tape has reached, (L, N, H) arrays."""
        return self._as_state([[np.array(part.reached(m)) for part in tape.stack] for m in range(self.cell.states)])

    def checked_state(self, argument, state, batch, dtype):
        """A list of (L, D, N, H) arrays, one for each state of the cell, or None."""
        if state is None:
            return None
        names = ("h", "c")[: self.cell.states]
        if self.cell.states == 1:
            state, names = (state,), ("",)
        elif not isinstance(state, (tuple, list)) or len(state) != 2:
            raise TypeError(f"{argument}: expected the pair (h, c), got {type(state).__name__}")
        shape = (self.layers * self.directions, batch, self.hidden)
        result = []
        for name, array in zip(names, state):
            label = f"{argument} {name}".strip()
            checked_array(label, array)
            if array.shape != shape:
                raise ShapeError(f"{label}: expected shape {shape} (layers * directions, N, hidden), got {array.shape}")
            if array.dtype != dtype:
                raise DTypeError(f"{label}: expected {dtype} like the parameters, got {array.dtype}")
            result.append(array.reshape(self.layers, self.directions, batch, self.hidden))
        return result

    def _as_state(self, stacked):
        """The state, (L * D, N, H) arrays, from a list of (D, N, H) for each state of the cell."""
        states = tuple(np.concatenate(parts) for parts in stacked)
        return states[0] if self.cell.states == 1 else states

    def backward(
        self,
        tape: Tape,
        dy: np.ndarray | None,
        dstate: State | None = None,
        need_x: bool = True,
        into: Parameters | None = None,
        accumulate: bool = False,
    ) -> Gradients:
        """Derivatives of a loss, from those of y and of the final state.

        Parameters
        ----------
        tape : Tape
            From `forward`; it is not modified and may be used again.
        dy : numpy.ndarray or None
            dL/dy, shaped like y and in the same layout; None for zeros.
        dstate : numpy.ndarray, tuple of two, or None
            dL/d(final state), (L * D, N, H); None for zeros.
        need_x : bool
            False leaves out dL/dx of the first layer and its cost.
        into : Parameters, optional
            Where dL/dp is written (is modified); new by default.
        accumulate : bool
            Add to `into` instead of overwriting it.

        Returns
        -------
        Gradients
            ``params``, ``x`` (in the layout of x), ``state``.
        """
        if not isinstance(tape, Tape) or tape.layer != self:
            raise TypeError(f"tape: expected one that {self!r}.forward returned, got {tape!r}")
        x, dtype = tape.x, tape.x.dtype
        doutputs = None
        if dy is not None:
            doutputs = TensorDescriptor.of(dy, x.layout, "dy")
            doutputs.expect("dy", x.steps, x.batch, self.directions * self.hidden, dtype)
        dfinal = self.checked_state("dstate", dstate, x.batch, dtype)
        gradient = self.gradient_vector(into, x.channels, dtype)
        adjoint = self.differentiate(tape, doutputs, dfinal, need_x, gradient, accumulate)
        adjoint.fill()
        dstate = self._as_state([[part[m] for part in adjoint.dinitial] for m in range(self.cell.states)])
        return Gradients(gradient, None if adjoint.dx is None else in_layout(adjoint.dx, x.layout), dstate)

    def differentiate(self, tape, dy, dfinal, need_x, gradient, accumulate):
        """`backward` without its checks, on TensorDescriptors: an Adjoint."""
        return Adjoint(self, tape, dy, dfinal, need_x, gradient, accumulate)


class Adjoint:
    """Backward through the stacked layers, which `fill` runs.

    Attributes
    ----------
    dx : numpy.ndarray or None
        dL/dx as (T, N, C).
    dinitial : list
        dL/d(initial state) of each stacked layer, the lowest first: (states, D, N, H).
    """

    def __init__(self, layer, tape, dy, dfinal, need_x, gradient, accumulate):
        self.stack = []  # the uppermost first
        for index in reversed(range(layer.layers)):
            adjoint = LayerAdjoint(
                tape.stack[index], dy, None if dfinal is None else [s[index] for s in dfinal],
                need_x or index > 0, gradient.flat[gradient.offset(f"weight_ih_l{index}") :], accumulate,
            )  # fmt: skip
            self.stack.append(adjoint)
            dy = None if adjoint.dx is None else TensorDescriptor.of_tnc(adjoint.dx)
        self.dx = adjoint.dx
        self.dinitial = [adjoint.dinitial for adjoint in reversed(self.stack)]

    def fill(self):
        """Run backward, with the tape and dy as they are now."""
        for adjoint in self.stack:
            adjoint.fill()


@dataclass(frozen=True, repr=False)
class RNN(Recurrent):
    """Simple recurrent layers: ``h' = f(W x + b_ih + R h + b_hh)`` (Elman 1990).

    Parameters
    ----------
    hidden : int
        Units H.
    activation : str, tuple or ActivationFunction
        f: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``; `numbarnn.Activation` lists them.
    layers : int
        Stacked layers L; each takes the one below as its input.
    bidirectional : bool
        Also run from the last step to the first; outputs (T, N, 2H), forward half first.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.RNN(8, "relu")
    >>> p = layer.init(channels=3, seed=0)
    >>> y, state = layer(p, np.zeros((5, 2, 3), np.float32))
    >>> y.shape, state.shape
    ((5, 2, 8), (1, 2, 8))
    """

    hidden: int
    activation: ActivationSpec = "tanh"
    layers: int = 1
    bidirectional: bool = False

    def __post_init__(self):
        self._check_fields()

    @functools.cached_property
    def cell(self):
        return RNNCell(**self._functions())


@dataclass(frozen=True, repr=False)
class GRU(Recurrent):
    """Gated recurrent units: ``h' = (1 - z) n + z h`` (Cho et al. 2014).

    Parameters
    ----------
    hidden : int
        Units H.
    reset : {"after", "before"}
        Where the reset gate acts on the state: after the product with R (cuDNN, PyTorch) or before it (the paper, ONNX).
    layers : int
        Stacked layers L.
    bidirectional : bool
        Also run from the last step to the first; outputs (T, N, 2H), forward half first.
    activation, gate_activation : str, tuple or ActivationFunction
        Of n, and of r and z: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``; `numbarnn.Activation` lists them.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.GRU(8, layers=2, bidirectional=True)
    >>> p = layer.init(channels=3, seed=0)
    >>> y, state = layer(p, np.zeros((5, 2, 3), np.float32))
    >>> y.shape, state.shape
    ((5, 2, 16), (4, 2, 8))
    """

    hidden: int
    reset: str = "after"
    layers: int = 1
    bidirectional: bool = False
    activation: ActivationSpec = "tanh"
    gate_activation: ActivationSpec = "sigmoid"

    def __post_init__(self):
        self._check_fields()
        if self.reset not in ("after", "before"):
            raise nearest("reset", self.reset, ("after", "before"))

    @functools.cached_property
    def cell(self):
        cell = GRUAfterCell if self.reset == "after" else GRUBeforeCell
        return cell(**self._functions())


@dataclass(frozen=True, repr=False)
class LSTM(Recurrent):
    """Long short-term memory: ``c' = f c + i g``, ``h' = o tanh(c')`` (Gers et al. 2000).

    The state is the pair (h, c).

    Parameters
    ----------
    hidden : int
        Units H.
    layers : int
        Stacked layers L.
    bidirectional : bool
        Also run from the last step to the first; outputs (T, N, 2H), forward half first.
    activation, gate_activation, output_activation : str, tuple or ActivationFunction
        Of g, of i, f and o, and of c on its way to h: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``;
        `numbarnn.Activation` lists them.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.LSTM(8)
    >>> p = layer.init(channels=3, seed=0)
    >>> y, (h, c) = layer(p, np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape, c.shape
    ((5, 2, 8), (1, 2, 8), (1, 2, 8))
    """

    hidden: int
    layers: int = 1
    bidirectional: bool = False
    activation: ActivationSpec = "tanh"
    gate_activation: ActivationSpec = "sigmoid"
    output_activation: ActivationSpec = "tanh"

    def __post_init__(self):
        self._check_fields()

    @functools.cached_property
    def cell(self):
        return LSTMCell(**self._functions())
