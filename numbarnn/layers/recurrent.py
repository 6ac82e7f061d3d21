"""What every recurrent layer is made of: cells through time, stacked, in one or both directions."""

import functools
from dataclasses import dataclass, field
from operator import methodcaller
from typing import ClassVar

import numpy as np

from ..arrays.batch import Batch
from ..arrays.descriptor import make_read_only
from ..arrays.devices import device_of, expect_device
from ..arrays.ragged import Ragged
from ..descriptions.fields import one_of, optional
from ..engine.keep import ALL, NOTHING, STATES, kept
from ..errors import DTypeError, finite_number, flag, positive_integer
from ..parameters import Parameters
from .base import Gradients, activation_spec
from .chain import Chain, Tape, expect_tape
from .gates import gates
from .operations import MERGES, Merged, Residual, scale
from .prepared import PreparedCall, PreparedTraining, answer, answer_and_keep
from .recurrence import Constrained, Recurrence
from .spans import Beside, SpansBack
from .stepwise import State, Stepwise
from .tangents import final_states, jvp, together


def state_of(arrays):
    """The state that arrays are."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


@dataclass(frozen=True, repr=False)
class Recurrent(Stepwise):
    """What the recurrent layers have in common: a cell through time, in stacked layers, in one direction or both.

    Axis letters: T steps, N batch, C input channels, H hidden units, L stacked layers, D directions (1 or 2), Y output
    channels, G gates.  The subclass's `cell` holds the equations of one step; `Cell` says how to write one.

    Input x (T, N, C), output y (T, N, Y), each state (L * D, N, H) in the order of layers, forward before reverse.  Y is
    D * H, forward half first, unless `merge` says otherwise.  The reverse direction runs from the last step of each
    sequence to its first.

    Parameters of the first stacked layer: ``weight_ih_l0`` (G * H, C), ``weight_hh_l0`` (G * H, H), ``bias_ih_l0`` and
    ``bias_hh_l0`` (G * H,), and those that a subclass adds.  The second layer takes the Y channels of the first; its
    parameters end in ``_l1``, and so on.  The parameters of the reverse direction end in ``_l0_reverse``.

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
    decay : bool
        The last channel of x is the span d of each step, the time since the step before it, in units of the time in which
        nothing is lost.  Before a step h, of an LSTM c too, becomes ``exp(-max(0, w (d - 1))) h``, with w the parameter
        ``decay_l0`` (H,); no gate sees d.  With spans of 1 the bits are the same as without decay.  Each stacked
        layer has the same spans and a w of its own.  The reverse direction comes to step t from step t + 1, which are
        ``d[t + 1]`` apart; at the last step of a sequence, its first one, it loses nothing.  For layers whose R multiplies
        h: an RNN, LSTM, LeakyRNN of form "outside" or GRU of reset "after".  A call takes any d by this formula; trainings
        of a network that begins with the layer refuse a negative one.

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
    decay: bool = field(default=False, kw_only=True)

    accepts: ClassVar = {
        "hidden": positive_integer,
        "layers": positive_integer,
        "activation": activation_spec,
        "gate_activation": activation_spec,
        "output_activation": activation_spec,
        "clip": optional(functools.partial(finite_number, above=0)),
        "merge": one_of(MERGES),
    }

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
        if lengths is reset is seed is masks is None and cells is False:
            found = self._answer(p, x, state, layout)
            if found is not None:
                return found
        batch, described = self._checked_input(p, x, layout, lengths, reset)
        initial = None if state is None else self.checked_state("state", state, batch.sequences, p.dtype, p.device)
        masks = None if seed is None and masks is None else self.masks_of(seed, masks, batch, described)
        y, tape = self.run(p, described, initial, self._keeping_cells(NOTHING, cells), masks=masks)
        found = batch.give(y), self._final_state(tape)
        return (*found, batch.give(tape.stack[-1].cells)) if cells else found

    def _arrays_of(self, state):
        """The arrays of a state, () for None; whether they are arrays is not looked at."""
        if state is None:
            return ()
        return state if self.cell.states > 1 and type(state) is tuple else (state,)

    def _answer(self, p, x, state, layout):
        """What a prepared call returns, or None."""
        make = functools.partial(self._prepared, PreparedCall, NOTHING, p, x, state, layout)
        found = answer(self, p, x, layout, make, self._arrays_of(state))
        return None if found is None else (found[0], state_of(found[1]))

    def _answer_and_keep(self, p, x, state, layout):
        """Likewise, for `forward`."""
        make = functools.partial(self._prepared, PreparedTraining, ALL, p, x, state, layout)
        found = answer_and_keep(self, p, x, layout, make, self._arrays_of(state))
        if found is None:
            return None
        y, states, tape = found
        y.flags.writeable = False  # as where it is part of the tape
        return y, state_of(states), tape

    def _prepared(self, made, keep, p, x, state, layout):
        """A PreparedCall for arguments like these, which are checked."""
        batch, described = self._checked_input(p, x, layout)
        self.checked_state("state", state, batch.sequences, p.dtype, p.device)

        def run(x):
            y, tape = self.run(p, x, None, keep, batch if keep.for_backward else None)
            return y, [tape]

        return made(p, described.tnc.shape, batch.layout, run, batch.give)

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
            ``tape.nbytes`` says how much memory it holds; the page on long sequences has the formula.
        cells : numpy.ndarray or Ragged
            Only with ``cells=True``, and like y.
        """
        if (
            lengths is reset is seed is masks is checkpoints is None
            and cells is False
            and type(tape) is str
            and tape == "all"
        ):
            found = self._answer_and_keep(p, x, state, layout)
            if found is not None:
                return found
        batch, described = self._checked_input(p, x, layout, lengths, reset)
        initial = None if state is None else self.checked_state("state", state, batch.sequences, p.dtype, p.device)
        keep = kept(tape, checkpoints, described.steps)
        keep = keep if cells is False else self._keeping_cells(keep, cells)
        masks = None if seed is None and masks is None else self.masks_of(seed, masks, batch, described)
        y, tape = self.run(p, described, initial, keep, batch, masks)
        found = [y, tape.stack[-1].cells] if cells else [y]
        final, given = self._final_state(tape), [*map(batch.give, found)]
        if keep.what == "checkpoints":
            tape.stack[-1].let_go_of_y()
        if batch.packing.uniform:
            for described, array in zip(found, given):
                make_read_only(described.array, array)
        return given[0], final, tape, *given[1:]

    def _keeping_cells(self, keep, cells):
        """The `Keep` that also has the c of every step, if they are asked for."""
        if not flag("cells", cells):
            return keep
        if keep.what == "checkpoints":
            raise ValueError("cells: expected False together with checkpoints, which keep c only at some steps, got True")
        if self.cell.states < 2:
            raise ValueError(f"cells: expected False, since {self!r} has no cell state, got {cells!r}")
        return keep if keep.for_backward else STATES

    def _checked_input(self, p, x, layout, lengths=None, reset=None):
        batch, described = Batch.of(x, layout, lengths, reset)
        self.check_parameters(p, described.channels)
        flat = p.flat
        if batch.device != device_of(flat):
            expect_device("x", described.array, device_of(flat))
        if described.dtype != flat.dtype:
            raise DTypeError(f"x: expected {flat.dtype} like the parameters, got {described.dtype}")
        return batch, described

    def run(self, p, x, initial, keep, batch=None, masks=None, merged=True):
        """`forward` without its checks, from a descriptor of x to one of y, (T, N, Y), and a tape.

        merged: False leaves the last layer's directions side by side, for `Last`: (T, N, D * H).
        """
        if keep is STATES and not self.cell.saved:
            keep = ALL  # no gate is kept anyway
        effective = None if masks is None and self.reads_parameters else self.effective_weights(p, masks)
        before = None if type(self).prepare is Recurrent.prepare and not self._reads_spans_back else Chain(x)
        if before is not None:
            self.prepare(before, p, keep)
        chain, stack = Chain(x if before is None else before.outputs), []
        read = p if effective is None else effective.parameters
        for index in range(self.layers):
            last, residual = index == self.layers - 1, self.residual and index
            inner = Chain(chain.outputs) if residual or self.decay and not last else chain
            if masks is not None:
                scale(inner, masks, f"input_l{index}")
            own = inner.append(Recurrence(self, index, p, read, inner.outputs, initial, keep, masks))
            if self.bidirectional and self.merge != "concat" and (merged or not last):
                inner.append(Merged(inner.outputs, self.merge))
            if residual:
                chain.append(Residual(inner))
            if masks is not None:
                scale(chain if residual else inner, masks, f"dropout_l{index}")
            if inner is not chain and not residual:
                chain.append(Beside(inner, self.directions))
            stack.append(own.tape)
        operation = chain if effective is None else Constrained(chain, effective)
        if before is not None:
            before.append(operation)
            operation = before
        return chain.outputs, Tape(self, x, operation, batch, p, masks, tuple(stack))

    def prepare(self, chain, p, keep):
        """Add to a chain (is modified) what is done to x before the cell sees it: nothing, as a rule."""
        if self._reads_spans_back:
            chain.append(SpansBack(chain.outputs))

    @functools.cached_property
    def _reads_spans_back(self):
        """Whether the reverse direction has spans."""
        return self.decay and self.bidirectional

    def _final_state(self, tape):
        return self.as_state(zip(*map(methodcaller("final"), tape.stack)))

    def _expected(self, p):
        """(channels, dtype, device) that parameters are for, which are checked."""
        channels = p[p.names[0]].shape[-1] + self.decay if isinstance(p, Parameters) and p.names else 1 + self.decay
        self.check_parameters(p, channels)
        return channels, p.dtype, p.device

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

        They are what the cell saves for backward; a cell of your own has them where it saves one value for each gate first.

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
        if type(tape) is Tape and tape.layer is self and tape.lease is not None:
            if into is dcells is None and accumulate is False and type(need_x) is bool:
                found = tape.lease.call.backward(dy, self._arrays_of(dstate), need_x)
                if found is not None:
                    gradient, dx, states = found
                    return Gradients(gradient, dx, state_of(states))
        expect_tape(self, tape)
        need_x, accumulate = flag("need_x", need_x), flag("accumulate", accumulate)
        x, batch, dtype = tape.x, tape.batch, tape.x.dtype
        if dcells is not None and self.cell.states < 2:
            raise ValueError(f"dcells: expected None, since {self!r} has no cell state, got {type(dcells).__name__}")
        doutputs, dcells = (
            None if array is None else batch.describe(name, array, channels, dtype)
            for name, array, channels in (
                ("dy", dy, self.output_channels(x.channels)),
                ("dcells", dcells, self.directions * self.hidden),
            )  # fmt: skip
        )
        dfinal = self.checked_state("dstate", dstate, batch.sequences, dtype, device_of(x.array))
        given = {name: () if array is None else (array.array,) for name, array in (("dy", doutputs), ("dcells", dcells))}
        gradient = self.gradient_vector(
            into, x.channels, dtype, device_of(x.array), dstate=dfinal or (), **given, **tape.read_by_backward()
        )
        adjoint = tape.adjoint(doutputs, need_x, gradient, accumulate, dfinal, dcells)
        adjoint.fill()
        dstate = self.as_state([[part.dinitial[m] for part in adjoint.stack] for m in range(self.cell.states)])
        return Gradients(gradient, None if adjoint.dx is None else batch.give(adjoint.dx), dstate)

    def jvp(
        self,
        tape: Tape,
        dp: Parameters | np.ndarray | None = None,
        dx: np.ndarray | Ragged | None = None,
        dstate: State | None = None,
    ) -> tuple:
        """Forward derivatives: how y and the final state move where the parameters, x and the initial state do.

        With y = f(p, x, state), the tangent of y is ``(df/dp) dp + (df/dx) dx + (df/dstate) dstate``.  `backward` takes the
        transposes of these matrices: ``<dL/dy, dy> = <dL/dp, dp> + <dL/dx, dx> + <dL/dstate, dstate>``.  Tangents of the
        cell follow from its adjoint, so that cells of your own have them.  See :doc:`/derivatives`.

        K tangents at once take one more axis, the first, in all that is given, and in all that is returned.

        Parameters
        ----------
        tape : Tape
            From `forward`; it is not modified and may be used again.
        dp : Parameters or numpy.ndarray, optional
            The tangent of the parameter vector (P,), or (K, P); None for zeros.
        dx : numpy.ndarray or Ragged, optional
            The tangent of x, shaped like x and in the same layout, or with K in front; for a Ragged, a list of K of them.
            None for zeros.  Past the end of a sequence it is not read.
        dstate : numpy.ndarray or tuple of two, optional
            The tangent of the initial state, (L * D, N, H) or (K, L * D, N, H); None for zeros.

        Returns
        -------
        dy : numpy.ndarray, Ragged, or tuple of Ragged
            The tangent of y, in its layout; 0 past the end of a sequence.
        dstate : numpy.ndarray or tuple of two
            The tangent of the final state.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, TypeError, ValueError
            Named after the argument that is not as described.
        DeviceError
            For a direction that is not where the tape is.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> layer = nr.GRU(3)
        >>> p, x = layer.init(channels=2, seed=0, dtype="float64"), np.ones((5, 1, 2))
        >>> y, state, tape = layer.forward(p, x)
        >>> dx = np.ones_like(x)
        >>> dy, _ = layer.jvp(tape, dx=dx)
        >>> step = 1e-6
        >>> (moved, _), (back, _) = layer(p, x + step * dx), layer(p, x - step * dx)
        >>> np.allclose((moved - back) / (2 * step), dy)
        True
        """
        dy, tangents, single = jvp(self, tape, dp, dx, dstate)
        return together([*map(tape.batch.give, dy)], single), final_states(self, tangents, single)
