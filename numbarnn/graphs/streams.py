"""A graph one time step at a time, with the states carried along."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor, checked_array, make_read_only
from ..arrays.devices import backend, contiguous, device_of, moved
from ..arrays.indices import Indices, checked_integers
from ..arrays.packing import checked_mask, uniform
from ..arrays.ragged import Ragged
from ..descriptions.fields import Unsendable
from ..engine.keep import NOTHING
from ..errors import DTypeError, IndexRangeError, ShapeError, positive_integer
from ..networks.placing import home_of, placed_on
from .decoding import Decoding
from .joining import Joined
from .passage import Passage
from .reading import by_name
from .stepwise import Stepped, step_nodes, step_values


class GraphStream(Unsendable):
    """A graph that takes one step at a call, or the steps of sequences; the states are the stream's.

    The parameters, and the inputs without steps, are read when the stream is made: later changes of them do not reach it.
    Made by `Graph.stream`.

    Parameters
    ----------
    graph : Graph
    passage : Passage
        Of what is there before.
    sequences : int
    moving : sequence of str
        The inputs that come step by step.
    nodes : sequence of str
        Those that take each step.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> nodes = {"h": nr.Node(nr.GRU(4), ["x", "place"]), "y": nr.Node(nr.Dense(1), ["h", "x"])}
    >>> net = nr.Graph({"x": 2, "place": nr.Input(3, steps=False)}, nodes, ["y"], seed=0)
    >>> x, place = np.ones((5, 1, 2), np.float32), np.ones((1, 3), np.float32)
    >>> stream = net.stream({"place": place})
    >>> steps = [stream.step({"x": x_t})["y"] for x_t in x]
    >>> np.array_equal(steps, net.predict({"x": x, "place": place})["y"])
    True
    """

    instead = "copy or send the graph and the stream's state, make a new stream there and set its state"

    def __init__(self, graph, passage, sequences, moving, nodes):
        self._device, self._dtype, self._sequences = graph.device, graph.dtype, sequences
        on = backend(graph.device)
        steps = on.programs.most_steps(sequences)
        self._indices = {name for name in moving if graph._described_inputs[name].channels is None}
        # On a GPU, where indices are in the host's memory, they cannot stand beside numbers.
        self._beside = len(moving) > 1 and not (self._indices and graph.device != "cpu")
        if self._beside:
            self._x, written, before = _columns_of(graph, moving, sequences, steps)
        else:
            written, before = step_values(graph, moving, sequences, steps), []
            self._x = written[moving[0]].array
        self._shapes = {name: (sequences,) if name in self._indices else (sequences, each.channels) for name, each in
                        written.items()}  # fmt: skip
        self._steps, self._first = {name: each.array[0] for name, each in written.items()}, self._x[0]
        self._stepped = stepped = Stepped(graph, passage, written, nodes)
        self._layers = {label: layer for label, layer in graph._recurrent.items() if label in stepped.tapes}
        self._vocabularies = graph._vocabularies(graph._rows)
        names = [name for name in graph.outputs if stepped.gives(name)]
        outputs = stepped.side_by_side(names)
        self._y, self._outputs = outputs.outputs.array, dict(zip(names, outputs.channels))
        self._last = {name: self._y[0][:, channels] for name, channels in self._outputs.items()}
        self._program = on.programs.Steps(self._x, self._y, [*before, *stepped.operations, outputs])

    def __repr__(self):
        count = f"{self._sequences} sequence{'s' * (self._sequences > 1)}"
        names = (", ".join(map(repr, each)) for each in (self._shapes, self._outputs))
        return f"GraphStream({count}, {' to '.join(names)}, {self._dtype})"

    @property
    def state(self) -> dict:
        """The states after the last step, by the names that `Graph` has for them: copies that cannot be written to.

        To go on from elsewhere, set it: ``stream.state = state``, or `reset` sequences.  What is None or not there starts
        from where it starts at first.
        """
        found = {label: layer.stream_state(self._stepped.tapes[label]) for label, layer in self._layers.items()}
        for state in found.values():
            for array in state if isinstance(state, tuple) else (state,):
                make_read_only(array)
        return found

    @state.setter
    def state(self, state):
        given = by_name("state", state, [*self._layers], "states of recurrent layers")
        checked = {
            label: layer.checked_state(f"state[{label!r}]", given.get(label), self._sequences, self._dtype, self._device)
            for label, layer in self._layers.items()
        }
        for label, arrays in checked.items():
            for index, part in enumerate(self._stepped.tapes[label].stack):
                if arrays is None:
                    part.restart(slice(None))
                else:
                    part.start([array[index] for array in arrays])

    def reset(self, mask: np.ndarray | None = None):
        """Let sequences start afresh, each recurrent layer from where it starts at first.

        Parameters
        ----------
        mask : array of bool, optional
            (N,): True for each sequence that starts afresh; all of them if None.
        """
        sequences = slice(None) if mask is None else np.flatnonzero(checked_mask(mask, self._sequences))
        for label in self._layers:
            for part in self._stepped.tapes[label].stack:
                part.restart(sequences)

    def step(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take one step: outputs from inputs, both by name.

        Parameters
        ----------
        inputs : dict of str to numpy.ndarray
            Of each input with steps (N, C), of the graph's dtype; of indices (N,).

        Returns
        -------
        dict of str to numpy.ndarray
            Of each output (N, channels), new; but of those that have the steps of an input that was given as a whole.

        Raises
        ------
        TypeError, ShapeError, DTypeError, IndexRangeError, ValueError, UnknownNameError
            If an input is not as described; the states then stay as they are.
        """
        given, home = self._checked(inputs)
        if self._beside:
            self._together(given, self._first)
        else:
            for name, array in given.items():
                self._steps[name][...] = array
        self._program.step()
        return {name: _given(array, home) for name, array in self._last.items()}

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take the steps of sequences: the bits of as many calls of `step`.

        It is one call of compiled code; on a GPU some for each step.

        Parameters
        ----------
        inputs : dict of str to numpy.ndarray
            Of each input with steps (T, N, C), of the graph's dtype; of indices (T, N).  T may be 0, and is the same in all.

        Returns
        -------
        dict of str to numpy.ndarray
            Of each output (T, N, channels), new.

        Raises
        ------
        TypeError, ShapeError, DTypeError, IndexRangeError, ValueError, UnknownNameError
            If an input is not as described; the states then stay as they are.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Graph({"x": 2}, {"h": nr.Node(nr.GRU(4), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}, ["y"], seed=0)
        >>> x = {"x": np.ones((5, 3, 2), np.float32)}
        >>> np.array_equal(net.stream(batch=3).run(x)["y"], net.predict(x)["y"])
        True
        """
        given, home = self._checked(inputs, steps=True)
        arrays = [*given.values()]
        found = backend(self._device).memory.empty((len(arrays[0]), *self._y.shape[1:]), self._dtype)
        if self._beside or len(arrays) == 1:
            source = self._together(given) if self._beside else arrays[0]
            self._program.run(contiguous(source.astype(self._x.dtype, copy=False)), found)
        else:
            for t in range(len(found)):
                for name, array in given.items():
                    self._steps[name][...] = array[t]
                self._program.step()
                found[t] = self._y[0]
        return {name: contiguous(moved(found[..., channels], home)) for name, channels in self._outputs.items()}

    def _together(self, given, out=None):
        """Inputs as they stand in the memory of their steps, side by side: an index has the bytes of an integer."""
        for name in self._indices:
            given[name] = np.ascontiguousarray(given[name], np.int64)[..., None].view(self._dtype)
        return np.concatenate([*given.values()], axis=-1, out=out)

    def _checked(self, inputs, steps=False):
        """({name: array} of the inputs with steps, of one or of several; the device on which the caller has them).

        The arrays are where they are computed.  A typed error, if they are not as described.
        """
        given, count = by_name("inputs", inputs, [*self._shapes], "an array", whole=True), None
        for name, shape in self._shapes.items():
            argument, array, letters = f"inputs[{name!r}]", given[name], ("N", "C")[: len(shape)]
            indices = name in self._indices
            given[name] = array = (checked_integers if indices else checked_array)(argument, array)
            first = array.shape[:1] if steps and array.ndim else ()
            count = first if count is None else count
            if array.shape != (*count, *shape):
                expected = ("T", *shape) if steps and first == count else (*count, *shape)
                axes = ", ".join([*(("T",) if steps else ()), *letters])
                raise ShapeError(f"{argument}: expected shape {expected} ({axes}), got {array.shape}")
            if not indices and array.dtype != self._dtype:
                raise DTypeError(f"{argument}: expected {self._dtype} like the graph, got {array.dtype}")
            if indices:
                wrong = (array < 0) | (array >= self._vocabularies[name])
                if wrong.any():
                    most = self._vocabularies[name] - 1
                    raise IndexRangeError(f"{argument}: expected indices from 0 to {most}, got {array[wrong][0]}")
        return {name: placed_on(self._device, name, given[name]) for name in self._shapes}, home_of(given)


def _given(array, home):
    """A new array for the caller, on the device where he has the inputs."""
    return array.copy() if device_of(array) == home else moved(array, home)


def _columns_of(graph, names, sequences, steps):
    """(memory of steps of several inputs side by side, {name: of each by itself}, what copies from one to the others)."""
    item, on = graph.dtype.itemsize, backend(graph.device)
    widths = [8 // item if graph._described_inputs[name].channels is None else graph._channels(name) for name in names]
    ends = np.cumsum(widths).tolist()
    x = on.memory.zeros((steps, sequences, ends[-1]), graph.dtype)
    whole, values, operations = TensorDescriptor.of_tnc(x), {}, []
    for name, width, end in zip(names, widths, ends):
        taken = Joined([whole.of_channels(slice(end - width, end))], [True])
        operations.append(taken)
        values[name] = taken.outputs
        if graph._described_inputs[name].channels is None:
            values[name] = Indices(uniform(steps, sequences), taken.outputs.array.view(np.int64)[..., 0])
    return x, values, operations


class Streaming(Decoding):
    """The part of a graph that takes one step at a call."""

    def stream(
        self,
        inputs: dict[str, np.ndarray | Ragged] | None = None,
        batch: int | None = None,
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
    ) -> GraphStream:
        """A `GraphStream` that runs the graph one step at a call, or the steps of sequences.

        The parameters are read now: later changes do not reach it.  `Last` passes each step on.

        Parameters
        ----------
        inputs : dict of str to array or Ragged, optional
            Those that have no steps, (N, C), of indices (N,), and as in a call those with steps that are there as a whole,
            of an encoder say; what depends on these alone is computed now.  The others come step by step.
        batch : int, optional
            Sequences N that run side by side; as many as `inputs` have, else 1.
        lengths : dict of str to array of int, optional
            Of `inputs` with steps, as in a call.

        Raises
        ------
        ValueError
            If a node that takes each step needs the whole sequence: two directions, `Pool`, the final state of another such
            node, or what a node behind `Last` gives beside each step; if it reads the steps of what is given as a whole; if
            nothing comes step by step.
        TypeError, ShapeError, UnknownNameError
            Named after the argument that is not as described.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"start": nr.Node(nr.Dense(4), "place"), "h": nr.Node(nr.GRU(4), ["x", "place"], state="start")}
        >>> net = nr.Graph({"x": 2, "place": nr.Input(3, steps=False)}, nodes, ["h"], seed=0)
        >>> stream = net.stream({"place": np.ones((6, 3))})
        >>> stream.step({"x": np.ones((6, 2), np.float32)})["h"].shape
        (6, 4)

        An encoder of two directions, which is run as a whole, and a decoder that goes on step by step:

        >>> nodes = {
        ...     "encoder": nr.Node([nr.GRU(4, bidirectional=True), nr.Last(), nr.Dense(3, "tanh")], "past"),
        ...     "decoder": nr.Node(nr.GRU(3), "x", state="encoder"),
        ... }
        >>> net = nr.Graph({"past": 2, "x": 1}, nodes, "decoder", seed=0)
        >>> stream = net.stream({"past": np.ones((9, 6, 2))})
        >>> stream.step({"x": np.ones((6, 1), np.float32)})["decoder"].shape
        (6, 3)
        """
        given = by_name("inputs", {} if inputs is None else inputs, [*self._described_inputs], "an array")
        for name, each in self._described_inputs.items():
            if not each.steps and name not in given:
                raise ValueError(f"inputs: expected an array for {name!r}, which has no steps, got none")
        still = [name for name in self._described_inputs if name in given]
        moving = [name for name in self._described_inputs if name not in given]
        nodes = self._checked_stepwise(moving)
        lengths = self._by_input("lengths", lengths)
        for name in lengths:
            if name in moving:
                raise ValueError(f"lengths: expected none for {name!r}, which comes step by step, got {lengths[name]!r:.80}")
        arrays = {name: self._converted(name, given[name]) for name in still}
        called = self._of_arrays(arrays, lengths, {}) if still else None
        if batch is not None or called is None:
            batch = positive_integer("batch", 1 if batch is None else batch)
        if called is not None:
            if batch not in (None, called.sequences):
                first = still[0]
                raise ShapeError(f"batch: expected {called.sequences} like inputs[{first!r}], or None, got {batch}")
            batch = called.sequences
        self.params.check_finite()
        before = [name for name in self._rows if name not in nodes]
        passage = Passage(self, self._own, {} if called is None else called.described, NOTHING, until=before)
        return GraphStream(self, passage, batch, moving, nodes)

    def _checked_stepwise(self, moving):
        """The nodes that some inputs have a part in, if each takes a step of them by itself; else ValueError."""
        if not moving:
            stepped = any(each.steps for each in self._described_inputs.values())
            expected = "an input that comes step by step" if stepped else "a graph with an input that has steps"
            raise ValueError(f"stream: expected {expected}, got none")
        nodes = step_nodes(self, "stream", moving)
        for name in nodes:
            for read in self._rows[name].reads:
                if read not in (*moving, *nodes) and self._has_steps(read):
                    expected, why = f"{read!r} step by step, as {name!r} reads it", "which ends where a stream goes on"
                    raise ValueError(f"stream: expected {expected}, got it as a whole, {why}")
        return nodes
