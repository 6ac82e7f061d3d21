"""A network as a function: outputs and states from inputs and states, and the gradients of it, with its own parameters."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor, in_layout, make_read_only
from ..arrays.devices import share_memory
from ..arrays.ragged import Ragged
from ..arrays.rows import like, numbers
from ..engine.keep import ALL, NOTHING, kept
from ..errors import flag, generator
from ..layers.base import Gradients, gradient_vector
from ..layers.fed import FedAdjoint
from ..layers.feedback import Feedback
from ..layers.prepared import PreparedCall, answer, answer_and_keep
from ..parameters import Parameters
from ..training.sequences import placed
from .placing import brought, brought_state, home_of
from .prepared import PreparedNetwork
from .reading import Reading
from .tape import NetworkTape

PIECE_NUMBERS = 1 << 24  # of one layer's output that are predicted at once, as far as it is more than one row


class Function(Reading):
    """The part of a network that is called as a layer is, and goes back as a layer does."""

    _piece_rows = 1 << 15  # steps of all sequences that are predicted at once at most: no result depends on it

    @property
    def _rows_at_once(self):
        """Steps of all sequences that are predicted at once: fewer where a layer's rows are long, as for images."""
        return max(1, min(self._piece_rows, PIECE_NUMBERS // max(self.output_channels, *self._inputs)))

    def __call__(
        self,
        x: np.ndarray | Ragged,
        state: tuple | None = None,
        lengths: np.ndarray | None = None,
        reset: np.ndarray | None = None,
        seed: int | None = None,
        feedback: Feedback | None = None,
    ) -> tuple:
        """(y, state): the outputs for x from a state, and the state that the layers have reached.

        Parameters
        ----------
        x : array, list, DataFrame or Ragged
            (T, N, C) in the network's layout, or (T, C) for one sequence; of an `Embedding` integers (T, N) or (T,).
            Converted as in `predict`.
        state : tuple, optional
            Where each recurrent layer starts from, as a stream of the network has it: for each of them (L * D, N, H), for an
            LSTM the pair (h, c), or None.  None, and None in the tuple, stand for zeros, or the learned state.
        lengths : array of int, optional
            (N,): the steps of each sequence, from 0 to T; T for all if None.
        reset : array of bool, optional
            (T, N): where True, a sequence starts afresh from the initial state at that step; the one before ends there.
        seed : int or numpy.random.Generator, optional
            Draw dropout, zoneout and noise; without it their mean is taken, as in `predict`.
        feedback : Feedback, optional
            Make each input but the first of a sequence, and after a reset, of x and of the output of the step before; see
            `Feedback`.  Of a network on the CPU whose outputs are the first channels of its inputs.

        Returns
        -------
        y : numpy.ndarray or Ragged
            What `predict` gives.
        state : tuple
            The final states, like `state`.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, NonFiniteError, TypeError, ValueError
            Named after the argument that is not as described.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(4), nr.LSTM(3), nr.Dense(1)], channels=2, seed=0)
        >>> x = np.ones((6, 1, 2), np.float32)
        >>> y, state = net(x[:4])
        >>> rest, _ = net(x[4:], state)  # goes on from there
        >>> np.array_equal(np.concatenate([y, rest]), net.predict(x))
        True
        """
        if (
            lengths is reset is seed is feedback is None
            and state is not None
            and type(x) is np.ndarray
            and x.dtype is self.dtype
        ):
            arrays = self._arrays_of(state)
            make = lambda: self._prepared(x, state)  # noqa: E731
            found = answer(self.layers, self._params, x, self.layout, make, arrays) if arrays else None
            if found is not None:
                return found[0], self._state_from(found[1])
        return self._call(x, state, lengths, reset, seed, NOTHING, feedback)[:2]

    def _arrays_of(self, state):
        """The arrays of a state, the lowest layer's first; () if it has not the form of a whole one."""
        cells = [self.layers[index].cell.states for index in self._stateful]
        if not isinstance(state, (tuple, list)) or len(state) != len(cells):
            return ()
        found = []
        for part, states in zip(state, cells):
            if states == 1:
                found.append(part)
            elif type(part) is tuple and len(part) == states:
                found += part
            else:
                return ()
        return tuple(found)

    def _state_from(self, arrays):
        """The state of all layers from a list of its arrays, the lowest layer's first."""
        rest = iter(arrays)
        cells = (self.layers[index].cell.states for index in self._stateful)
        return tuple(next(rest) if states == 1 else tuple(next(rest) for _ in range(states)) for states in cells)

    def _prepared(self, x, state=None, keep=NOTHING):
        """A PreparedCall for arrays like x, and like a state unless it is only to predict; None for more than one piece."""
        batch, described = self._described(x)
        self._states_of("state", state, batch.sequences)
        if not batch.packing.uniform or described.packing.rows > self._rows_at_once:
            return None

        def run(x):
            tapes = []
            return self._forward(self._own, x, keep, seen=lambda index, tape: tapes.append(tape))[0], tapes

        letters, shape = self._letters(batch), described.tnc.shape
        give = lambda y: in_layout(y.array, letters)  # noqa: E731
        if keep is ALL:
            return PreparedNetwork(self, batch, shape, batch.layout, run, give)
        return PreparedCall(self._params, shape, batch.layout, run, give, stateful=state is not None)

    def _answer_and_keep(self, x, state):
        """What a prepared call of `forward` returns, or None."""
        arrays = () if state is None else self._arrays_of(state)
        if state is not None and not arrays:
            return None
        make = lambda: self._prepared(x, state, ALL)  # noqa: E731
        found = answer_and_keep(self.layers, self._params, x, self.layout, make, arrays)
        if found is None:
            return None
        y, states, lease = found
        y.flags.writeable = False  # as where it is part of the tape
        return y, self._state_from(states), NetworkTape(self, lease.call.tapes, lease.call.batch, "cpu", lease=lease)

    def forward(
        self,
        x: np.ndarray | Ragged,
        state: tuple | None = None,
        lengths: np.ndarray | None = None,
        reset: np.ndarray | None = None,
        seed: int | None = None,
        tape: str = "all",
        checkpoints: str | int | None = None,
        feedback: Feedback | None = None,
    ) -> tuple:
        """(y, state, tape): what a call returns, and what `backward` needs.

        Parameters
        ----------
        x, state, lengths, reset, seed
            As in a call.  x and the network's parameters are read again in `backward`: do not change them in between.
        tape, checkpoints
            How much memory the recurrent layers keep, as in their ``forward``; all of it beside `feedback`.
        feedback : Feedback, optional
            As in a call.  `backward` then goes back through the outputs that were fed, too.

        Returns
        -------
        y : numpy.ndarray or Ragged
            Read-only where it is part of the tape.
        state : tuple
        tape : NetworkTape
            ``tape.nbytes`` says how much memory it holds.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=2, seed=0)
        >>> y, state, tape = net.forward(np.ones((6, 3, 2), np.float32))
        >>> g = net.backward(tape, np.ones_like(y))
        >>> g.params.flat.shape == net.params.flat.shape, g.x.shape, g.state[0].shape
        (True, (6, 3, 2), (1, 3, 4))
        """
        if (
            lengths is reset is seed is checkpoints is feedback is None
            and type(tape) is str
            and tape == "all"
            and type(x) is np.ndarray
            and x.dtype is self.dtype
        ):
            found = self._answer_and_keep(x, state)
            if found is not None:
                return found
        y, final, tapes, batch, fed = self._call(x, state, lengths, reset, seed, (tape, checkpoints), feedback)
        return y, final, NetworkTape(self, tuple(tapes), batch, home_of(y), fed)

    def _call(self, x, state, lengths, reset, seed, keep, feedback=None):
        """(y, final states, tapes, Batch, Fed or None); keep: a Keep, or the arguments of `kept`."""
        x, fed = self._read("x", x), None
        if feedback is not None:
            self._check_feedback(feedback)
        device = home_of(x)
        batch, described = self._described(x, lengths, reset)
        self.params._check_finite(True)
        keep = keep if keep is NOTHING else kept(*keep, described.steps)
        initial = self._states_of("state", state, batch.sequences)
        random, final = None if seed is None else generator("seed", seed), []

        def seen(index, tape):
            if index in stateful:
                final.append(brought_state(device, self.layers[index]._final_state(tape)))

        stateful = self._stateful
        if feedback is None:
            output, tapes = self._forward(self._own, described, keep, random, initial=initial, seen=seen)
        else:
            strengths = feedback._strengths_of(described, self.output_channels)
            fed = self._fed(self._own, described, keep, random, initial)
            fed.fill(described, strengths)
            output, tapes, described = fed.outputs, fed.tapes, fed.x
            for index, tape in enumerate(tapes):
                seen(index, tape)
        y = self._given(batch, output, described, device)
        if keep.for_backward and output.packing.uniform:
            make_read_only(y)
        return y, tuple(final), tapes, batch, fed

    def _states_of(self, argument, states, sequences):
        """{index of a layer: arrays} of the states that a caller gives."""
        if states is None:
            return {}
        self._expect_states(argument, states)
        return {
            index: self.layers[index].checked_state(
                f"{argument}[{at}]", self._state_here(f"{argument}[{at}]", state), sequences, self.dtype, self.device
            )
            for at, (index, state) in enumerate(zip(self._stateful, states))
        }

    def _expect_states(self, argument, states):
        """Raise TypeError unless there is one for each recurrent layer, in a tuple."""
        count = len(self._stateful)
        if not isinstance(states, (tuple, list)) or len(states) != count:
            found = f"{len(states)}" if isinstance(states, (tuple, list)) else type(states).__name__
            raise TypeError(f"{argument}: expected a tuple of {count} states, one for each recurrent layer, got {found}")

    def _given_states(self, states, device):
        """The states that a caller gets on a device, of {index of a layer: arrays (L, D, N, P or H)}."""
        return tuple(brought_state(device, self.layers[index].as_state(states[index])) for index in self._stateful)

    def backward(
        self,
        tape: NetworkTape,
        dy: np.ndarray | Ragged | None,
        dstate: tuple | None = None,
        need_x: bool = True,
        into: Parameters | None = None,
        accumulate: bool = False,
    ) -> Gradients:
        """Derivatives of a loss with respect to the parameters, x and the initial state, from dL/dy and dL/d(final state).

        Parameters
        ----------
        tape : NetworkTape
            From `forward`; it is not modified and may be used again.
        dy : numpy.ndarray, Ragged or None
            dL/dy, shaped like y; None for zeros.  Past the end of a sequence it is not read.
        dstate : tuple, optional
            dL/d(final state), like the state; None, and None in the tuple, for zeros.
        need_x : bool
            False leaves out dL/dx and its cost.
        into : Parameters, optional
            Where dL/dp is written (is modified), of the structure of ``net.params``; new by default.
        accumulate : bool
            Add to `into` instead of overwriting it.

        Returns
        -------
        Gradients
            ``params``; ``x``, like x and 0 past the end of a sequence, None after an `Embedding`; ``state``, a tuple.

        Examples
        --------
        A loss over a long sequence, forward and back in pieces, the states carried on and their derivatives back:

        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(4), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> x = np.sin(np.arange(60.0)).reshape(60, 1, 1)
        >>> tapes, state = [], None
        >>> for piece in np.split(x, 3):
        ...     y, state, tape = net.forward(piece, state)
        ...     tapes.append(tape)
        >>> gradient, dstate = net.params.zeros(), None
        >>> for tape in reversed(tapes):  # the loss is the sum of all outputs
        ...     g = net.backward(tape, np.ones((20, 1, 1)), dstate, into=gradient, accumulate=True)
        ...     dstate = g.state
        >>> y, _, tape = net.forward(x)
        >>> np.allclose(gradient.flat, net.backward(tape, np.ones_like(y)).params.flat)
        True
        """
        if not isinstance(tape, NetworkTape) or tape.network is not self:
            raise TypeError(f"tape: expected one that forward of this network returned, got {tape!r:.200}")
        if tape.lease is not None and dy is not None and into is None and accumulate is False and type(need_x) is bool:
            arrays = () if dstate is None else self._arrays_of(dstate)
            found = tape.lease.call.backward(dy, arrays, need_x) if arrays or dstate is None else None
            if found is not None:
                gradient, dx, states = found
                return Gradients(gradient, dx, self._state_from(states))
        need_x, accumulate, batch = flag("need_x", need_x), flag("accumulate", accumulate), tape.batch
        dy = None if dy is None else self._output_like(batch, tape.tapes[-1], dy)
        dstates = self._states_of("dstate", dstate, batch.sequences)
        given = {
            "dy": () if dy is None else (dy.array,),
            "dstate": [array for arrays in dstates.values() for array in arrays or ()],
        }
        fresh, weights = into is None, self._params.weights
        apart = given | tape.read_by_backward()
        gradient = gradient_vector(into, weights, "this network", self.dtype, self.device, apart)
        if tape.fed is not None:
            return self._fed_backward(tape, dy, dstates, need_x, gradient, accumulate)
        parts, described, back, stateful = self.split(gradient.flat), dy, [], self._stateful
        for index in reversed(range(len(tape.tapes))):
            layer, own = self.layers[index], tape.tapes[index]
            if described is None and index not in stateful:  # no derivative comes here
                if not (accumulate or fresh):
                    parts[index].flat.fill(0)
                continue
            adding = accumulate or (fresh and layer.takes_indices)  # of a new vector only the rows in use are written
            adjoint = own.adjoint(described, need_x or index > 0, parts[index], adding, dstates.get(index))
            adjoint.fill()
            described = adjoint.dx
            if index in stateful:
                dinitial = [[part.dinitial[m] for part in adjoint.stack] for m in range(layer.cell.states)]
                back.insert(0, brought_state(tape.device, layer.as_state(dinitial)))
        if described is None or not need_x:
            return Gradients(gradient, self._no_slope(tape) if need_x else None, tuple(back))
        dx = batch.give(described)
        if dy is not None and not isinstance(dx, Ragged) and share_memory(dx, dy.array):
            dx = dx.copy()
        return Gradients(gradient, brought(dx, tape.device), tuple(back))

    def _fed_backward(self, tape, dy, dstates, need_x, gradient, accumulate):
        """`backward` of a tape of outputs that were fed back."""
        fed, parts, back = tape.fed, self.split(gradient.flat), []
        described = own = like(fed.outputs)
        own.array[...] = 0 if dy is None else numbers(dy)
        adjoints = []
        for index in reversed(range(len(tape.tapes))):
            adjoint = tape.tapes[index].adjoint(described, True, parts[index], accumulate, dstates.get(index))
            adjoints.append(adjoint)
            described = adjoint.dx
        adjoint = FedAdjoint(fed, own, adjoints)
        adjoint.fill()
        for index, each in zip(reversed(range(len(tape.tapes))), adjoints):
            if index in self._stateful:
                layer = self.layers[index]
                dinitial = [[part.dinitial[m] for part in each.stack] for m in range(layer.cell.states)]
                back.insert(0, brought_state(tape.device, layer.as_state(dinitial)))
        dx = tape.batch.give(adjoint.given()) if need_x else None
        return Gradients(gradient, None if dx is None else brought(dx, tape.device), tuple(back))

    def _output_like(self, batch, last, dy):
        """A descriptor of the caller's dy."""
        channels, output = self.output_channels, last.operation.outputs
        if "t" in self.output_layout:
            return batch.describe("dy", self._here("dy", dy), channels, self.dtype)
        letters, dy = self._letters(batch), self._here("dy", dy)
        if "n" not in letters and np.ndim(dy) == 1:
            dy, letters = placed(dy, letters, "nc"), "nc"
        described = TensorDescriptor.of(dy, letters, "dy")
        described.expect("dy", 1, output.batch, channels, self.dtype)
        batch._expect_device("dy", described.array)
        return described

    def _no_slope(self, tape):
        """dL/dx where no derivative comes to the first layer: zeros, and None of indices."""
        if self.takes_indices:
            return None
        like_x = tape.tapes[0].x
        zeros = like(like_x)
        zeros.array.fill(0)
        return brought(tape.batch.give(zeros), tape.device)
