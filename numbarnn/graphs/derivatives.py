"""Forward derivatives of a graph: how its outputs and states move where parameters, inputs and states do."""

import numpy as np

from ..arrays.descriptor import in_layout, is_array
from ..arrays.devices import share_memory
from ..arrays.ragged import Ragged
from ..errors import renamed
from ..layers.recurrent import Recurrent, state_of
from ..layers.tangents import Directions, Tangents, final_states, together, zeros_like
from ..networks.placing import brought_state, direction_on
from ..parameters import Parameters
from .function import Function, GraphTape
from .joining import Joined, state_from
from .reading import by_name


class Derivatives(Function):
    """The part of a graph that says how it moves."""

    def jvp(
        self,
        tape: GraphTape,
        dp: Parameters | np.ndarray | None = None,
        dx: dict[str, np.ndarray | Ragged] | None = None,
        dstate: dict | None = None,
    ) -> tuple[dict, dict]:
        """Forward derivatives: how outputs and final states move where parameters, inputs and initial states do.

        K tangents at once take one more axis, the first, in all that is given, and in all that is returned.  See
        :doc:`/derivatives`.

        Parameters
        ----------
        tape : GraphTape
            From `forward`; it is not modified and may be used again.
        dp : Parameters or numpy.ndarray, optional
            The tangent of the parameter vector (P,), or (K, P); None for zeros.
        dx : dict of str to numpy.ndarray or Ragged, optional
            The tangents of inputs by name, each shaped like its input and in the graph's layout, or with K in front; for a
            Ragged, a list of K of them.  Zeros for what is None or not there.  Indices have none.
        dstate : dict, optional
            The tangents of initial states, like the state of a call, each with K in front or none of them, for the layers
            that start from no other node; zeros for what is None or not there.

        Returns
        -------
        dy : dict of str to numpy.ndarray, Ragged, or tuple of Ragged
            The tangents of the outputs.
        dstate : dict
            The tangents of the final state of every recurrent layer.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, TypeError, ValueError, UnknownNameError
            Named after the argument that is not as described, such as ``dx['past']``.
        DeviceError
            For a direction on another device than the graph's.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"h": nr.Node(nr.GRU(4), ["x", "place"]), "y": nr.Node([nr.Last(), nr.Dense(1)], ["h", "x"])}
        >>> net = nr.Graph({"x": 2, "place": nr.Input(3, steps=False)}, nodes, "y", dtype="float64", seed=0)
        >>> x, place, step = np.ones((6, 5, 2)), np.ones((5, 3)), 1e-6
        >>> _, _, tape = net.forward({"x": x, "place": place})
        >>> dy, _ = net.jvp(tape, dx={"place": np.ones_like(place)})
        >>> ahead, back = (net.predict({"x": x, "place": place + way * step})["y"] for way in (1, -1))
        >>> np.allclose((ahead - back) / (2 * step), dy["y"])
        True
        """
        if not isinstance(tape, GraphTape) or tape.graph is not self:
            raise TypeError(f"tape: expected one that forward of this graph returned, got {tape!r:.200}")
        if tape.fed is not None:
            raise TypeError(f"tape: expected one of a forward without feedback, got one with {tape.fed.feeding.feedback!r}")
        directions = Directions(self.dtype, self.device)
        vectors = directions.vectors(direction_on(self.device, "dp", dp), self._params.weights, "this graph")
        given = self._moved_inputs(directions, dx, tape)
        initial = self._moved_states(directions, dstate, tape)
        count, single = directions.count, directions.single
        parts = {} if vectors is None else dict(enumerate(zip(*map(self.split, vectors))))
        moved, stacks = self._moved(tape.passage, count, parts, given, initial)
        inputs = [each.array for tangents in given.values() for each in tangents]
        outputs = {name: self._moved_output(name, moved[name], tape, inputs, count, single) for name in self._outputs}
        return outputs, {
            label: _zeros_of(layer, tape, count, single)
            if stacks[label] is None
            else brought_state(tape.home, final_states(layer, stacks[label], single))
            for label, layer in self._recurrent.items()
        }

    def _moved_inputs(self, directions, dx, tape):
        """{input: descriptors of its tangents} of the argument dx."""
        found = {}
        given = {} if dx is None else by_name("dx", dx, list(self._described_inputs), "tangents of inputs")
        for name, array in given.items():
            described, argument = self._described_inputs[name], f"dx[{name!r}]"
            if array is not None:
                with renamed(dx=argument, layout=argument):
                    found[name] = directions.inputs(
                        direction_on(self.device, "dx", array),
                        tape.batches[name],
                        described.channels,
                        described.channels is None,
                    )
        return found

    def _moved_states(self, directions, dstate, tape):
        """{label: the tangents of its initial state} of the argument dstate."""
        if dstate is None:
            return {}
        linked, found = self._linked - tape.passage.initial.keys(), {}
        sequences = next(iter(tape.batches.values())).sequences
        for label, state in by_name("dstate", dstate, list(self._stateful), "tangents of states").items():
            if label in linked:
                expected = "None, since its node starts from what another one gives"
                raise ValueError(f"dstate[{label!r}]: expected {expected}, got {type(state).__name__}")
            if state is not None:
                argument = f"dstate[{label!r}]"
                here = self._state_here(argument, state)
                found[label] = directions.states(argument, here, self._recurrent[label], sequences)
        return found

    def _moved(self, passage, count, parts, given, initial):
        """({value: descriptors of its tangents, or None for zeros}, {label: the Tangents of a recurrent layer, or None}).

        parts: by the indices of layers how their parameters move, a Parameters for each tangent; others stay.
        """
        moved, stacks = {name: given.get(name) for name in self._described_inputs}, {}
        for name, row in self._rows.items():
            x = self._moved_read(passage, name, row, moved, count)
            for part in row.parts:
                own, recurrent = passage.tapes[part.label], isinstance(part.layer, Recurrent)
                parameters = parts.get(part.index)
                start = self._moved_start(passage, row, part, moved, stacks, initial) if recurrent else None
                if x is start is parameters is None:  # nothing moves here
                    stacks[part.label] = None
                    continue
                tangents = Tangents(count, parameters, start)
                x = own.operation.jvp(tangents, x)
                stacks[part.label] = tangents
            moved[name] = x
        return moved, stacks

    def _moved_read(self, passage, name, row, moved, count):
        """The tangents of what a node reads, or None."""
        if name not in passage.joined:
            return moved[row.reads[0]]
        if all(moved[read] is None for read in row.reads):
            return None
        sources = [zeros_like(passage.values[read], count) if moved[read] is None else moved[read] for read in row.reads]
        stepped = passage.joined[name].stepped
        return [Joined(each, stepped).outputs for each in zip(*sources)]

    def _moved_start(self, passage, row, part, moved, stacks, initial):
        """The tangents of what a recurrent layer starts from, (M, L, D, N, P or H) of each state of its cell, or None."""
        if part.label in passage.initial or row.state is None:
            return initial.get(part.label)
        if self._has_steps(row.state):
            ended = stacks[self._rows[row.state].recurrent[0].label]
            return (
                None if ended is None else [np.stack(states, axis=1) for states in zip(*(own.dfinal for own in ended.stack))]
            )
        if moved[row.state] is None:
            return None
        return [np.stack(states) for states in zip(*(state_from(part.layer, each) for each in moved[row.state]))]

    def _moved_output(self, name, moved, tape, inputs, count, single):
        """The tangents of an output, as the caller gets them: never in memory that belongs to tangents of an input."""
        moved = zeros_like(tape.passage.values[name], count) if moved is None else moved
        axis = self._axis(name, self._rows)
        if axis is None:
            arrays = [in_layout(each.array, self._letters(name)) for each in moved]
        else:
            arrays = [*map(tape.batches[axis].give, moved)]
        given = together(arrays, single)
        shared = is_array(given) and any(share_memory(given, each) for each in inputs)
        return brought_state(tape.home, given.copy() if shared else given)


def _zeros_of(layer, tape, count, single):
    """The tangents of the final state of a layer in which nothing moves."""
    sequences = next(iter(tape.batches.values())).sequences
    lead = () if single else (count,)
    shapes = [(*lead, layer.layers * layer.directions, sequences, width) for width in layer.state_widths]
    return brought_state(tape.home, state_of([np.zeros(shape, tape.graph.dtype) for shape in shapes]))
