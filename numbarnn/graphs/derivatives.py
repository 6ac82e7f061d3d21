"""Forward derivatives of a graph: how its outputs and states move where parameters, inputs and states do."""

import numpy as np

from ..arrays.descriptor import in_layout, is_array
from ..arrays.devices import share_memory
from ..arrays.ragged import Ragged
from ..errors import renamed
from ..layers.recurrent import state_of
from ..layers.tangents import Directions, final_states, together, zeros_like
from ..networks.placing import brought_state, direction_on
from ..parameters import Parameters
from .function import Function, GraphTape
from .motion import Motion
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
        directions = Directions(self.dtype, self.device)
        vectors = directions.vectors(direction_on(self.device, "dp", dp), self._params.weights, "this graph")
        given = self._moved_inputs(directions, dx, tape)
        initial = self._moved_states(directions, dstate, tape)
        count, single = directions.count, directions.single
        parts = {} if vectors is None else dict(enumerate(zip(*map(self.split, vectors))))
        motion = Motion(tape.passage, count, parts, given, initial, tape.fed)
        inputs = [each.array for tangents in given.values() for each in tangents]
        outputs = {
            name: self._moved_output(name, motion.values[name], tape, inputs, count, single) for name in self._outputs
        }
        return outputs, {
            label: _zeros_of(layer, tape, count, single)
            if motion.stacks[label] is None
            else brought_state(tape.home, final_states(layer, motion.stacks[label], single))
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
