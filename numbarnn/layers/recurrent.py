"""What every recurrent layer is made of: cells through time, stacked, in one or both directions."""

import functools
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..arrays.batch import Batch
from ..arrays.descriptor import TensorDescriptor, checked_array, make_read_only
from ..arrays.devices import device_of, expect_device, native, target_of
from ..arrays.ragged import Ragged
from ..cells import Cell, Clipped, activation, check
from ..descriptions.fields import one_of, optional
from ..engine.keep import ALL, NOTHING, STATES, WEIGHTS
from ..errors import CellError, DTypeError, ShapeError, finite_number, flag, positive_integer
from ..parameters import Parameters, Weight, glorot_uniform, orthogonal, uniform
from ..streaming import Stream
from .base import Gradients, activation_spec
from .between import MERGES, Between, scaled_by
from .gates import gates
from .normalized import fill_vector as fill_normalization
from .regularization import Regularized
from .tape import Adjoint, Stage, Tape, kept

INITIAL = ("initial_h", "initial_c")  # parameters that hold the state to start from
State = np.ndarray | tuple[np.ndarray, np.ndarray]  # h, or for an LSTM (h, c)


@dataclass(frozen=True, repr=False)
class Recurrent(Regularized):
    """What the recurrent layers have in common: a cell through time, in stacked layers, in one direction or both.

    Axis letters: T steps, N batch, C input channels, H hidden units, L stacked layers, D directions (1 or 2), Y output
    channels, G gates.  The subclass's `cell` holds the equations of one step; `Cell` says how to write one.

    Input x (T, N, C), output y (T, N, Y), each state (L * D, N, H) in the order of layers, forward before reverse.  Y is
    D * H, forward half first, unless `merge` says otherwise.  The reverse direction runs from the last step of each
    sequence to its first.

    Parameters of the first stacked layer: ``weight_ih_l0`` (G * H, C), ``weight_hh_l0`` (G * H, H), ``bias_ih_l0`` and
    ``bias_hh_l0`` (G * H,), and those that a subclass adds.  Those of the second layer, which takes the Y channels of the
    first, end in ``_l1``, and so on; those of the reverse direction in ``_l0_reverse``.

    Parameters
    ----------
    clip : float, optional
        Every pre-activation of a gate is kept within ``[-clip, clip]``, as in ONNX; there is no gradient outside.
    merge : {"concat", "sum", "average", "product"}
        What becomes of the outputs of two directions: (T, N, 2H), or (T, N, H).
    residual : bool
        Each stacked layer but the first adds its input to its outputs.
    learned_state : bool
        Without a state given, start from the parameters ``initial_h_l0`` (H,), for an LSTM ``initial_c_l0`` too, and not
        from zeros.

    Examples
    --------
    >>> import numbarnn as nr
    >>> layer = nr.GRU(3, bidirectional=True, merge="sum", learned_state=True)
    >>> layer.output_channels(2), layer.init(channels=2).names[-2:]
    (3, ('bias_hh_l0_reverse', 'initial_h_l0_reverse'))
    """

    clip: float | None = field(default=None, kw_only=True)
    merge: str = field(default="concat", kw_only=True)
    residual: bool = field(default=False, kw_only=True)
    learned_state: bool = field(default=False, kw_only=True)

    takes_steps = True
    accepts: ClassVar = {
        "hidden": positive_integer,
        "layers": positive_integer,
        "activation": activation_spec,
        "gate_activation": activation_spec,
        "output_activation": activation_spec,
        "clip": optional(functools.partial(finite_number, above=0)),
        "merge": one_of(MERGES),
    }
    unit_parameter = None  # what the parameter is called that holds the cell's values of each unit
    projection = None  # channels of h in each direction, where they are not one a unit

    @property
    def cell(self) -> Cell:
        """The equations."""
        raise NotImplementedError

    @property
    def recurrent_matrix(self):
        """Whether there is a weight (H, G, H)."""
        return bool(self.cell.recurrent_slots or self.cell.gated_slots)

    @property
    def directions(self):
        """2 for a bidirectional layer, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def state_widths(self):
        """Channels of each state of the cell, in each direction."""
        return (self.projection or self.hidden, self.hidden)[: self.cell.states]

    def suffixes(self, layer):
        """What the parameters' names of one stacked layer end with, in each direction."""
        return (f"l{layer}", f"l{layer}_reverse")[: self.directions]

    def __post_init__(self):
        super().__post_init__()
        self._check_cell()
        self.check_regularization()
        self._check_use()

    def _check_use(self):
        """Raise ValueError for an option that would do nothing."""
        if self.layers == 1:
            if self.dropout:
                raise ValueError(
                    f"dropout: expected 0 with one layer, since it acts between stacked ones, got {self.dropout!r};"
                    " a Dropout after this layer acts on its outputs"
                )
            if self.residual:
                raise ValueError("residual: expected False with one layer, since the first has no residual, got True")
        if self.merge != "concat" and not self.bidirectional:
            raise ValueError(f"merge: expected 'concat' with one direction, got {self.merge!r} (bidirectional=True has two)")

    def _check_cell(self):
        """Raise unless kernels can be made of the cell, and layer and cell say the same."""
        cell, name = self.cell, type(self).__name__
        if not isinstance(cell, Cell):
            raise CellError(f"{name}.cell: expected an instance of a numbarnn.Cell, got {cell!r} ({type(cell).__name__})")
        check(cell)
        kind = type(cell).__name__
        if self.recurrent_matrix != bool(cell.recurrent_slots or cell.gated_slots):
            raise CellError(
                f"{name}.recurrent_matrix: expected {not self.recurrent_matrix}, like the slots of {kind}, got "
                f"{self.recurrent_matrix}"
            )
        if cell.projected != (self.projection is not None):
            raise CellError(f"{name}.projection: expected one where {kind} is projected, got {self.projection!r}")
        constants = type(self)._unit_constants is not Recurrent._unit_constants
        if cell.unit_values and not self.unit_parameters and not constants:
            raise CellError(
                f"{name}.unit_parameter: expected the name of the parameter that holds {', '.join(cell.unit_values)}, the "
                f"unit_values of {kind}, got None"
            )

    def _functions(self):
        """{field: Function} of the activation functions, which layer and cell call the same."""
        names = ("gate_activation", "activation", "output_activation")
        functions = {name: activation(getattr(self, name), name) for name in names if hasattr(self, name)}
        if self.clip is not None:  # limits what the gates' functions are of; that of c is no pre-activation
            clipped = {name: Clipped(f, self.clip) for name, f in functions.items() if name != "output_activation"}
            functions |= clipped
        return functions

    def weights(self, channels):
        return self._weights(channels, self.cell)

    @functools.lru_cache(maxsize=1024)  # noqa: B019 (layers are small and equal ones share an entry)
    def _weights(self, channels, cell):
        parts, columns, widths = [], len(cell.gates) * self.hidden, self.state_widths
        for layer in range(self.layers):
            inputs = channels if layer == 0 else self.output_channels(channels)
            for suffix in self.suffixes(layer):
                parts.append(Weight(f"weight_ih_{suffix}", inputs, columns))
                if self.recurrent_matrix:
                    parts.append(Weight(f"weight_hh_{suffix}", widths[0], columns))
                parts.append(Weight(f"bias_ih_{suffix}", None, columns))
                if self.recurrent_matrix:
                    parts.append(Weight(f"bias_hh_{suffix}", None, columns))
                if self.projection:
                    parts.append(Weight(f"weight_hr_{suffix}", self.hidden, self.projection))
                parts += [Weight(f"{name}_{suffix}", None, numbers) for name, _, numbers in self.unit_parameters]
                if self.learned_state:
                    parts += [Weight(f"{name}_{suffix}", None, width) for name, width in zip(INITIAL, widths)]
        return tuple(parts)

    def _unit_numbers(self):
        """Numbers in the parameter that holds the values of units."""
        return self.cell.unit_value_count * self.hidden

    @property
    def unit_parameters(self):
        """(name, which of the cell's values of each unit, numbers) of every parameter that holds some of them."""
        return ((self.unit_parameter, slice(None), self._unit_numbers()),) if self.unit_parameter else ()

    def _vector_numbers(self):
        """Numbers of one direction's parameters in vectors that no kernel reads."""
        units = sum(numbers for _, _, numbers in self.unit_parameters)
        return units + (sum(self.state_widths) if self.learned_state else 0)

    def _unit_constants(self):
        """The values of units where no parameter holds them: something that broadcasts to (V, H)."""
        raise NotImplementedError

    def output_channels(self, channels):
        return (self.directions if self.merge == "concat" else 1) * self.state_widths[0]

    def fill(self, parameters, random, scheme):
        hidden = self.hidden
        for name, view in parameters.items():
            if scheme == "pytorch":
                view[...] = uniform(random, view.shape, hidden)
            elif view.ndim == 2:
                draw = orthogonal if name.startswith("weight_hh") else glorot_uniform
                rows = self.projection if name.startswith("weight_hr") else hidden  # else of a gate
                for first in range(0, len(view), rows):
                    view[first : first + rows] = draw(random, (view.shape[1], rows)).T
            else:
                self.fill_vector(name, view, random)
            if name.startswith(INITIAL):
                view[...] = 0
            fill_normalization(name, view)

    def fill_vector(self, name, view, random):
        """Write fresh values into a vector of parameters (modified), zeros as a rule: it is called with zeros."""

    def __call__(
        self,
        p: Parameters,
        x: np.ndarray | Ragged,
        state: State | None = None,
        lengths: np.ndarray | None = None,
        layout: str = "tnc",
        reset: np.ndarray | None = None,
        cells: bool = False,
        seed: int | None = None,
        masks: dict[str, np.ndarray] | None = None,
    ) -> tuple:
        """Run the layer without keeping a tape.

        Parameters
        ----------
        p : Parameters
            As `init` makes them.
        x : numpy.ndarray or Ragged
            (T, N, C) in the order of `layout`, or (T, C) for one sequence; read in place at any strides.  What `forward`
            returns reads it again in `backward`: do not change it in between.
        state : numpy.ndarray or tuple of two, optional
            Initial state (L * D, N, H), for an LSTM the pair (h, c); zeros if None.
        lengths : array of int, optional
            (N,): the steps of each sequence, from 0 to T, in any order; T for all if None.  What lies behind is not read.
        layout : str
            The letters t, n, c in the order of x's axes.
        reset : array of bool, optional
            (T, N): where True, a sequence starts afresh from the initial state at that step; the one before ends there.
        cells : bool
            Also return the c of every step, of the last layer of an LSTM.
        seed : int or numpy.random.Generator, optional
            Draw dropout, zoneout and noise; without it their mean is taken, as it is after training.
        masks : dict of str to numpy.ndarray, optional
            Take these in their place, as `draw` returns them; or ``noise_l0`` and so on, where a layer has none of its own.

        Returns
        -------
        y : numpy.ndarray or Ragged
            (T, N, Y) in the order of `layout`: the h of every step of the last layer, forward direction first (Y is D * H
            unless `merge` says otherwise); 0 past the end of a sequence.
        state : numpy.ndarray or tuple of two
            Final state (L * D, N, H): the one at each sequence's length; the initial one for length 0.
        cells : numpy.ndarray or Ragged
            Only with ``cells=True``: the c of every step, (T, N, D * H), laid out like y.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, NonFiniteError, TypeError, ValueError
            Named after the argument that is not as described.
        """
        batch, described = self._checked_input(p, x, layout, lengths, reset)
        initial = self.checked_state("state", state, batch.sequences, p.dtype, p.device)
        masks = self.masks_of(seed, masks, batch, described)
        y, tape = self.run(p, described, initial, self._keeping_cells(NOTHING, cells), masks=masks)
        found = batch.give(y), self._final_state(tape)
        return (*found, batch.give(tape.stack[-1].cells)) if cells else found

    def forward(
        self,
        p: Parameters,
        x: np.ndarray | Ragged,
        state: State | None = None,
        lengths: np.ndarray | None = None,
        layout: str = "tnc",
        tape: str = "all",
        checkpoints: str | int | None = None,
        reset: np.ndarray | None = None,
        cells: bool = False,
        seed: int | None = None,
        masks: dict[str, np.ndarray] | None = None,
    ) -> tuple:
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
        y : numpy.ndarray or Ragged
            Read-only where it is part of the tape: with sequences of equal length and without checkpoints.
        state : numpy.ndarray or tuple of two
        tape : Tape
            ``tape.nbytes`` says how much memory it holds; see `numbarnn.cpu.launch.Tape` for the formula.
        cells : numpy.ndarray or Ragged
            Only with ``cells=True``, and like y.
        """
        batch, described = self._checked_input(p, x, layout, lengths, reset)
        initial = self.checked_state("state", state, batch.sequences, p.dtype, p.device)
        keep = kept(tape, checkpoints, described.steps)
        if flag("cells", cells) and keep.what == "checkpoints":
            raise ValueError("cells: expected False together with checkpoints, which keep c only at some steps, got True")
        masks = self.masks_of(seed, masks, batch, described)
        y, tape = self.run(p, described, initial, self._keeping_cells(keep, cells), batch, masks)
        found = [y, tape.stack[-1].cells] if cells else [y]
        final, given = self._final_state(tape), [batch.give(array) for array in found]
        tape.stack[-1].let_go_of_y()
        if batch.packing.uniform:
            for described, array in zip(found, given):
                make_read_only(described.array)
                make_read_only(array)
        return given[0], final, tape, *given[1:]

    def _keeping_cells(self, keep, cells):
        """The `Keep` that also has the c of every step, if they are asked for."""
        if not flag("cells", cells):
            return keep
        if self.cell.states < 2:
            raise ValueError(f"cells: expected False, since {self!r} has no cell state, got {cells!r}")
        return keep if keep.for_backward else STATES

    def _checked_input(self, p, x, layout, lengths=None, reset=None):
        batch, described = Batch.of(x, layout, lengths, reset)
        self.check_parameters(p, described.channels)
        expect_device("x", described.array, p.device)
        if described.dtype != p.dtype:
            raise DTypeError(f"x: expected {p.dtype} like the parameters, got {described.dtype}")
        return batch, described

    def run(self, p, x, initial, keep, batch=None, masks=None, merged=True):
        """`forward` without its checks, from a descriptor of x to one of y, (T, N, Y), and a tape.

        merged: False leaves the last layer's directions side by side, for `Last`: (T, N, D * H).
        """
        if keep.for_backward:
            self.cell.check_differentiable()
        if keep is STATES and not self.cell.saved:
            keep = ALL  # no gate is kept anyway
        weights, target = self.effective_weights(p, masks), target_of(p.flat)
        kernels = target.normalized if self.cell.normalized_values else target.recurrent
        y, stages = x, []
        for layer in range(self.layers):
            below, packing = y, y.packing
            scaled = scaled_by(masks, f"input_l{layer}", y)
            y = y if scaled is None else scaled.outputs
            cell, drives = self.driven(masks, layer, packing, y.dtype, p.device)
            if len(drives) != cell.drive_count:
                raise CellError(
                    f"{type(self).__name__}.driven: expected an array for each of {cell.drives}, the drives of "
                    f"{type(cell).__name__}, got {len(drives)}"
                )
            tape = target.launch.run(
                kernels,
                target.plans.Size(
                    cell, self.hidden, self.directions, packing, y.channels, y.dtype, self._vector_numbers(), self.projection
                ),
                (p if weights is None else weights.parameters).flat[p.offset(f"weight_ih_l{layer}") :],
                y,
                self._initial(p, initial, layer, packing, keep),
                keep,
                self._unit_values(p, layer),
                drives,
            )
            merge = self.merge if merged or layer < self.layers - 1 else "concat"
            between = Between(tape.outputs, self.directions, merge, below if self.residual and layer else None)
            dropped = scaled_by(masks, f"dropout_l{layer}", between.outputs)
            y = between.outputs if dropped is None else dropped.outputs
            stages.append(Stage(scaled, tape, between, dropped))
        return y, Tape(self, x, tuple(stages), weights, masks, initial is None, batch, p)

    def _initial(self, p, initial, layer, packing, keep):
        """What `launch.Tape` takes for one stacked layer: the state given, else the learned one, as it is at each call."""
        if initial is not None:
            return [state[layer].copy() for state in initial]  # the caller's may change before backward
        if not self.learned_state:
            return None

        suffixes = self.suffixes(layer)

        def learned():
            return [
                [np.broadcast_to(p[f"{name}_{suffix}"].copy(), (packing.sequences, width)) for suffix in suffixes]
                for name, width in zip(INITIAL, self.state_widths)
            ]

        return learned() if keep is WEIGHTS else learned  # a stream reads parameters when it is made

    def _unit_values(self, p, layer):
        """A function that writes the values of one stacked layer's units into a (D, V, H) array, or None for none."""
        if not self.cell.unit_values:
            return None

        def write(values):
            for value, suffix in zip(values, self.suffixes(layer)):
                for name, which, _ in self.unit_parameters:
                    value[which] = p[f"{name}_{suffix}"].reshape(len(value[which]), -1)
                if not self.unit_parameters:
                    value[...] = self._unit_constants()

        return write

    def _vectors_of(self, gradient, layer, adjoint, learned_state, accumulate):
        """Add to, or write, the gradient of what only vectors hold: the values of units and the learned state."""

        def put(name, value):
            view = gradient[name]
            view[...] = view + value if accumulate else value

        for d, suffix in enumerate(self.suffixes(layer)):
            for unit_parameter, which, _ in self.unit_parameters:
                name = f"{unit_parameter}_{suffix}"
                value = adjoint.dunit_values[d][which]
                put(name, value.sum(axis=1) if gradient[name].size < value.size else value.ravel())
            if self.learned_state:
                for name, value in zip(INITIAL, adjoint.dinitial):
                    put(f"{name}_{suffix}", value[d].sum(axis=0) if learned_state else 0)

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
        x = target_of(p.flat).memory.zeros((1, batch, channels), p.dtype)
        y, tape = self.run_stream(p, TensorDescriptor.of_tnc(x))
        stream = Stream(x, tape.steppers(), [(self, tape)], y.array, single=True)
        stream.state = state
        return stream

    def gates(
        self,
        p: Parameters,
        x: np.ndarray | Ragged,
        state: State | None = None,
        lengths: np.ndarray | None = None,
        layout: str = "tnc",
        index: int = -1,
    ) -> dict[str, np.ndarray | Ragged]:
        """The activations of the gates at every step, of a GRU, LSTM or MGU; `plot.gates` shows them.

        The equations run in Python, for some microseconds a unit and step: meant for looking at a few sequences.

        Parameters
        ----------
        p, x, state, lengths, layout
            As in a call.
        index : int
            Which of the stacked layers.

        Returns
        -------
        dict of str to numpy.ndarray or Ragged
            By the gate's name (r, z and the candidate n of a GRU; i, f, o and the candidate g of an LSTM; f and n of an
            MGU) (T, N, D * H), laid out like y; 0 past the end of a sequence.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> layer = nr.GRU(4)
        >>> p, x = layer.init(channels=2, seed=0), np.ones((5, 1, 2), np.float32)
        >>> gates, (y, _) = layer.gates(p, x), layer(p, x)
        >>> r, z, n = gates["r"], gates["z"], gates["n"]
        >>> np.allclose(y[1:], (1 - z[1:]) * n[1:] + z[1:] * y[:-1], atol=1e-6)
        True
        """
        return gates(self, p, x, state, lengths, layout, index)

    def run_stream(self, p, x):
        """`run` for one step that a stream will take again and again: y as a TensorDescriptor, and a tape."""
        if self.bidirectional:
            raise ValueError(f"stream: {self!r} is bidirectional and needs the whole sequence")
        return self.run(p, x, None, WEIGHTS)

    def stream_state(self, tape):
        """The state that a stream's tape has reached, (L, N, H) arrays."""
        return self._as_state([[part.reached(m) for part in tape.stack] for m in range(self.cell.states)])

    def checked_state(self, argument, state, batch, dtype, device):
        """A list of (L, D, N, H) arrays, one for each state of the cell, or None."""
        if state is None:
            return None
        names = ("h", "c")[: self.cell.states]
        if self.cell.states == 1:
            state, names = (state,), ("",)
        elif not isinstance(state, (tuple, list)) or len(state) != 2:
            raise TypeError(f"{argument}: expected the pair (h, c), got {type(state).__name__}")
        result = []
        for name, array, width in zip(names, state, self.state_widths):
            shape = (self.layers * self.directions, batch, width)
            channels = "projection" if width == self.projection else "hidden"
            label = f"{argument} {name}".strip()
            array = checked_array(label, native(array))
            expect_device(label, array, device)
            if array.shape != shape:
                raise ShapeError(f"{label}: expected shape {shape} (layers * directions, N, {channels}), got {array.shape}")
            if array.dtype != dtype:
                raise DTypeError(f"{label}: expected {dtype} like the parameters, got {array.dtype}")
            result.append(array.reshape(self.layers, self.directions, batch, width))
        return result

    def _as_state(self, stacked):
        """The state, (L * D, N, H) arrays, from a list of (D, N, H) for each state of the cell."""
        states = tuple(np.concatenate(parts) for parts in stacked)
        return states[0] if self.cell.states == 1 else states

    def backward(
        self,
        tape: Tape,
        dy: np.ndarray | Ragged | None,
        dstate: State | None = None,
        need_x: bool = True,
        into: Parameters | None = None,
        accumulate: bool = False,
        dcells: np.ndarray | Ragged | None = None,
    ) -> Gradients:
        """Derivatives of a loss with respect to the parameters, x and the initial state, from dL/dy and dL/d(final state).

        Parameters
        ----------
        tape : Tape
            From `forward`; it is not modified and may be used again.
        dy : numpy.ndarray, Ragged or None
            dL/dy, shaped like y and in the same layout; None for zeros.  Past the end of a sequence it is not read.
        dstate : numpy.ndarray, tuple of two, or None
            dL/d(final state), (L * D, N, H); None for zeros.
        need_x : bool
            False leaves out dL/dx of the first layer and its cost.
        into : Parameters, optional
            Where dL/dp is written (is modified); new by default.
        accumulate : bool
            Add to `into` instead of overwriting it.
        dcells : numpy.ndarray, Ragged or None
            dL/d(c of every step), of the last layer of an LSTM, like dy; None for zeros.

        Returns
        -------
        Gradients
            ``params``, ``x`` (like x; 0 past the end of a sequence), ``state``.
        """
        if not isinstance(tape, Tape) or tape.layer != self:
            raise TypeError(f"tape: expected one that {self!r}.forward returned, got {tape!r}")
        need_x, accumulate = flag("need_x", need_x), flag("accumulate", accumulate)
        x, batch, dtype = tape.x, tape.batch, tape.x.dtype
        if dcells is not None and self.cell.states < 2:
            raise ValueError(f"dcells: expected None, since {self!r} has no cell state, got {type(dcells).__name__}")
        doutputs, dcells = (
            None if array is None else batch.describe(name, array, channels, dtype)
            for name, array, channels in (
                ("dy", dy, self.output_channels(x.channels)), ("dcells", dcells, self.directions * self.hidden),
            )  # fmt: skip
        )
        dfinal = self.checked_state("dstate", dstate, batch.sequences, dtype, device_of(x.array))
        given = {name: () if array is None else (array.array,) for name, array in (("dy", doutputs), ("dcells", dcells))}
        gradient = self.gradient_vector(
            into, x.channels, dtype, device_of(x.array), dstate=dfinal or (), **given, **tape.read_by_backward()
        )
        adjoint = self.differentiate(tape, doutputs, dfinal, need_x, gradient, accumulate, dcells)
        adjoint.fill()
        dstate = self._as_state([[part[m] for part in adjoint.dinitial] for m in range(self.cell.states)])
        return Gradients(gradient, None if adjoint.dx is None else batch.give(adjoint.dx), dstate)

    def differentiate(self, tape, dy, dfinal, need_x, gradient, accumulate, dcells=None):
        """`backward` without its checks, on descriptors: an Adjoint."""
        return Adjoint(self, tape, dy, dfinal, need_x, gradient, accumulate, dcells)
