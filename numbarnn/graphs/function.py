"""A graph as a function: outputs and states from inputs and states by name, and the gradients of it."""

from dataclasses import dataclass, field

import numpy as np

from ..arrays.descriptor import TensorDescriptor, make_read_only
from ..arrays.devices import backend, expect_device, share_memory
from ..arrays.ragged import Ragged
from ..descriptions.fields import Unsendable
from ..engine.keep import NOTHING, kept
from ..errors import ShapeError, flag, generator, renamed
from ..layers.base import Gradients, gradient_vector
from ..layers.recurrent import state_of
from ..networks.placing import brought, brought_state
from ..parameters import Parameters
from .feeding import FedPassage, FedReturn, Feeding
from .passage import Passage, Return
from .reading import Reading, by_name


@dataclass(frozen=True, eq=False)
class GraphTape(Unsendable):
    """What `Graph.backward` needs of one forward call.

    Neither the inputs nor the parameters of the graph may change while it is in use.
    """

    graph: Reading
    passage: Passage = field(repr=False)
    batches: dict = field(repr=False)  # how the caller's inputs lie, by name
    home: str = field(repr=False)  # the device on which the caller has them
    fed: FedPassage | None = field(default=None, repr=False)  # of an output that was fed back

    instead = "copy the inputs and the graph, and call forward of it"

    @property
    def nbytes(self):
        """Bytes of the arrays the tape holds, the inputs not counted."""
        return self.passage.nbytes


class Function(Reading):
    """The part of a graph that is called as a layer is, and goes back as a layer does."""

    def __call__(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        state: dict | None = None,
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        seed: int | None = None,
        feedback: dict | None = None,
    ) -> tuple[dict, dict]:
        """(outputs, state): the outputs for some inputs from a state, and the state that the layers have reached.

        Parameters
        ----------
        inputs : dict of str to array, list, DataFrame or Ragged
            For each input (T, N, C) in the graph's layout, or (N, C) where it has no steps; of indices integers (T, N) or
            (N,).  Converted as in `Network.predict`.  T may differ from input to input, but not of those that a node joins.
        state : dict, optional
            What recurrent layers start from, by the names of their nodes, ``"node.0"`` in a row of several layers: for each
            (L * D, N, H), for an LSTM the pair (h, c).  What is None or not there starts from what its node says, else from
            zeros or the learned state.
        lengths : dict of str to array of int, optional
            By input (N,): the steps of each sequence, from 0 to T; T for all if it is not there.  Where one input alone has
            steps, its lengths may be given without a name.
        reset : dict of str to array of bool, optional
            By input (T, N), or without a name as for `lengths`: where True, a sequence starts afresh at that step, each
            recurrent layer from where it starts at first.  Inputs that a node joins have the same.
        seed : int or numpy.random.Generator, optional
            Draw dropout, zoneout and noise; without it their mean is taken.
        feedback : dict of str to (str, Feedback), optional
            ``{input: (output, numbarnn.Feedback(...))}`` of one input: what of it is the output of the step before, see
            :doc:`/feedback`.

        Returns
        -------
        outputs : dict of str to numpy.ndarray or Ragged
            By the names of the graph's outputs (T, N, C) in its layout, 0 past the end of a sequence, or a Ragged where the
            input is one that it has its steps from; (N, C) of what has no steps.
        state : dict
            The final state of every recurrent layer, by the same names as `state`.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, IndexRangeError, NonFiniteError, UnknownNameError, TypeError, ValueError
            Named after the argument that is not as described, such as ``inputs['past']``.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"encoder": nr.Node(nr.GRU(4), "past"), "decoder": nr.Node(nr.GRU(4), "known", state="encoder")}
        >>> net = nr.Graph({"past": 3, "known": 2}, nodes, ["decoder"], seed=0)
        >>> y, state = net({"past": np.ones((7, 5, 3)), "known": np.ones((2, 5, 2))})
        >>> y["decoder"].shape, state["encoder"].shape
        ((2, 5, 4), (1, 5, 4))
        """
        passage, given, _ = self._called(inputs, state, lengths, reset, seed, NOTHING, feedback)
        return self._outputs_of(passage, given), passage.final_states(given.home)

    def forward(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        state: dict | None = None,
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        seed: int | None = None,
        tape: str = "all",
        checkpoints: str | int | None = None,
        feedback: dict | None = None,
    ) -> tuple:
        """(outputs, state, tape): what a call returns, and what `backward` needs.

        Parameters
        ----------
        inputs, state, lengths, reset, seed, feedback
            As in a call.  Inputs and parameters are read again in `backward`: do not change them in between.
        tape, checkpoints
            How much memory the recurrent layers keep, as in their ``forward``.

        Returns
        -------
        outputs : dict of str to numpy.ndarray or Ragged
            Read-only where they are part of the tape.
        state : dict
        tape : GraphTape
            ``tape.nbytes`` says how much memory it holds.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Graph({"x": 2}, {"h": nr.Node(nr.GRU(4), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}, ["y"], seed=0)
        >>> y, state, tape = net.forward({"x": np.ones((6, 3, 2))})
        >>> g = net.backward(tape, {"y": np.ones_like(y["y"])})
        >>> len(g.params) == len(net.params), g.x["x"].shape, g.state["h"].shape
        (True, (6, 3, 2), (1, 3, 4))
        """
        kept(tape, checkpoints, 1)
        passage, given, fed = self._called(inputs, state, lengths, reset, seed, (tape, checkpoints), feedback)
        outputs = self._outputs_of(passage, given)
        for name, array in outputs.items():
            if passage.values[name].packing.uniform:
                make_read_only(array)
        return outputs, passage.final_states(given.home), GraphTape(self, passage, given.batches, given.home, fed)

    def _outputs_of(self, passage, given):
        """What the caller gets of all outputs."""
        return {name: self._output(name, passage, given.batches, given.home) for name in self._outputs}

    def _called(self, inputs, state, lengths, reset, seed, keep, feedback):
        """(Passage, Given, FedPassage or None) of a call."""
        if feedback is None:
            return *self._passage(inputs, state, lengths, reset, seed, keep), None
        feeding, given = Feeding.of(self, feedback), self._given(inputs, lengths, reset)
        self.params._check_finite(True)
        random = None if seed is None else generator("seed", seed)
        strengths = feeding.strengths(given.described[feeding.input])
        initial = self._states_of("state", state, given.sequences)
        fed = FedPassage(self, self._own, given, feeding, keep, random, initial)
        fed.fill(strengths)
        return fed.passage, given, fed

    def _passage(self, inputs, state, lengths, reset, seed, keep, until=None):
        """(Passage, Given) of a call; until: the nodes to run, see `Passage`."""
        given = self._given(inputs, lengths, reset)
        self.params._check_finite(True)
        random = None if seed is None else generator("seed", seed)
        initial = self._states_of("state", state, given.sequences)
        return Passage(self, self._own, given.described, keep, random, initial, until), given

    def _states_of(self, argument, states, sequences):
        """{label: arrays} of the states that a caller gives."""
        if states is None:
            return {}
        given, found = by_name(argument, states, list(self._stateful), "states of recurrent layers"), {}
        for label, state in given.items():
            if state is not None:
                own, layer = f"{argument}[{label!r}]", self._stateful[label].layer
                found[label] = layer.checked_state(
                    own, self._state_here(own, state), sequences, self.dtype, self.device
                )  # fmt: skip
        return found

    def _given_states(self, states, device):
        """The states that a caller gets on a device, of {label: arrays (L, D, N, P or H)}."""
        return {label: brought_state(device, layer.as_state(states[label])) for label, layer in self._recurrent.items()}

    def backward(
        self,
        tape: GraphTape,
        dy: dict[str, np.ndarray | Ragged],
        dstate: dict | None = None,
        need_x: bool = True,
        into: Parameters | None = None,
        accumulate: bool = False,
    ) -> Gradients:
        """Derivatives of a loss by parameters, inputs and initial states, from those by outputs and final states.

        Where several nodes read a value, or share a layer, derivatives are summed in one order, so that they have the same
        bits each time.

        Parameters
        ----------
        tape : GraphTape
            From `forward`; it is not modified and may be used again.
        dy : dict of str to numpy.ndarray or Ragged
            dL/d(output) by the names of outputs, shaped like them; what is None or not there is zero.  Past the end of a
            sequence it is not read.
        dstate : dict, optional
            dL/d(final state), like the state that `forward` has returned, or of some of its names.
        need_x : bool
            False leaves out the derivatives of the inputs and their cost.
        into : Parameters, optional
            Where dL/dp is written (is modified), of the structure of ``net.params``; new by default.
        accumulate : bool
            Add to `into` instead of overwriting it.

        Returns
        -------
        Gradients
            ``params``; ``x``, a dict by input, None of indices; ``state``, a dict of what starts from no other node.
        """
        if not isinstance(tape, GraphTape) or tape.graph is not self:
            raise TypeError(f"tape: expected one that forward of this graph returned, got {tape!r:.200}")
        need_x, accumulate, passage = flag("need_x", need_x), flag("accumulate", accumulate), tape.passage
        sequences = next(iter(tape.batches.values())).sequences
        slopes = {
            name: self._slope_of(name, array, tape)
            for name, array in by_name("dy", dy, list(self._outputs), "derivatives").items()
            if array is not None
        }
        dstates = self._states_of("dstate", dstate, sequences)
        apart = passage.read_by_backward() | {f"dy[{name!r}]": (each.array,) for name, each in slopes.items()}
        apart["dstate"] = [array for arrays in dstates.values() for array in arrays]
        weights, fresh = self._params.weights, into is None
        gradient = gradient_vector(into, weights, "this graph", self.dtype, self.device, apart)
        parts = self.split(gradient.flat)
        back, fed = None, None if tape.fed is None else FedReturn(tape.fed, slopes, dstates, parts, accumulate, fresh)
        if fed is None:
            back = Return(passage, slopes, dstates, parts, accumulate, need_x, fresh)
            back.fill()
        else:
            fed.fill()
            back = fed.back
            back.dx[tape.fed.feeding.input] = fed.given()
        if not (accumulate or fresh):
            for index in back.untouched:
                parts[index].flat.fill(0)
        dx = {name: self._input_slope(name, back, slopes, tape) for name in self._described_inputs} if need_x else None
        return Gradients(gradient, dx, self._initial_slopes(back, passage, sequences, tape.home))

    def _slope_of(self, name, array, tape):
        """A descriptor of the caller's dL/d(output)."""
        channels, axis = self._channels(name), self._axis(name, self._rows)
        with renamed(dy=f"dy[{name!r}]", layout=f"dy[{name!r}]"):
            array = self._here("dy", array)
            if axis is not None:
                return tape.batches[axis].describe("dy", array, channels, self.dtype)
            if np.ndim(array) != 2:
                raise ShapeError(f"dy: expected 2 axes ({self._letters(name)}), got {np.ndim(array)}")
            described = TensorDescriptor.of(array, self._letters(name), "dy")
            expect_device("dy", described.array, self.device)
            described.expect("dy", 1, tape.passage.values[name].batch, channels, self.dtype)
        return described

    def _input_slope(self, name, back, slopes, tape):
        """dL/d(input) as the caller gets it; None of indices."""
        if self._described_inputs[name].channels is None:
            return None
        described = back.dx.get(name) or back.no_slope(name)
        dx = tape.batches[name].give(described)
        if not isinstance(dx, Ragged) and any(share_memory(dx, each.array) for each in slopes.values()):
            dx = dx.copy()
        return brought(dx, tape.home)

    def _initial_slopes(self, back, passage, sequences, home):
        """{label: dL/d(initial state)} of the layers that start from no other node."""
        found, linked, zeros = {}, self._linked - passage.initial.keys(), backend(self.device).memory.zeros
        for label, part in self._stateful.items():
            if label in linked:
                continue
            layer, lead = part.layer, (part.layer.layers * part.layer.directions, sequences)
            slope = back.dinitial.get(label)
            if slope is None:
                arrays = [zeros((*lead, width), self.dtype) for width in layer.state_widths]
            else:
                arrays = [array.reshape(*lead, -1) for array in slope()]
            found[label] = brought_state(home, state_of(arrays))
        return found
