"""Forward derivatives of a network: how its outputs and states move where parameters, inputs and states do."""

import numpy as np

from ..arrays.descriptor import in_layout
from ..arrays.devices import share_memory
from ..arrays.ragged import Ragged
from ..layers.fed_tangents import FedTangents
from ..layers.tangents import Directions, Tangents, final_states, together, zeros_like
from ..parameters import Parameters
from .function import Function
from .placing import brought_state, direction_on
from .tape import NetworkTape


def moved_by(ways, tapes, fed=None, dx=None):
    """Descriptors of the tangents of the outputs, or None for zeros.

    ways: the Tangents of each layer (are modified); fed: the Fed that has filled the tapes, if outputs were fed back; dx:
    descriptors of the tangents of x, or None for zeros.
    """
    if fed is not None and not fed.ordinary:
        steps = FedTangents(fed, ways[0].count)
        moved = steps.x
        for tape, tangents in zip(tapes, ways):
            moved = steps.add(tape, tangents, moved)
        steps.run(moved, dx)
        return moved
    for tape, tangents in zip(tapes, ways):
        dx = tape.operation.jvp(tangents, dx)
    return dx


class Derivatives(Function):
    """The part of a network that says how it moves."""

    def jvp(
        self,
        tape: NetworkTape,
        dp: Parameters | np.ndarray | None = None,
        dx: np.ndarray | Ragged | None = None,
        dstate: tuple | None = None,
    ) -> tuple:
        """Forward derivatives: how y and the final states move where the parameters, x and the initial states do.

        K tangents at once take one more axis, the first, in all that is given, and in all that is returned.  See
        :doc:`/derivatives`.

        Parameters
        ----------
        tape : NetworkTape
            From `forward`; it is not modified and may be used again.
        dp : Parameters or numpy.ndarray, optional
            The tangent of the parameter vector (P,), or (K, P); None for zeros.
        dx : numpy.ndarray or Ragged, optional
            The tangent of x, shaped like x and in the network's layout, or with K in front; for a Ragged, a list of K of
            them.  None for zeros.  Indices have none.
        dstate : tuple, optional
            The tangents of the initial states, like the state, each with K in front or none of them; None, there or in the
            tuple, for zeros.

        Returns
        -------
        dy : numpy.ndarray, Ragged, or tuple of Ragged
            The tangent of y.
        dstate : tuple
            The tangents of the final states.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, TypeError, ValueError
            Named after the argument that is not as described.
        DeviceError
            For a direction on another device.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=2, dtype="float64", seed=0)
        >>> x = np.ones((6, 3, 2))
        >>> y, _, tape = net.forward(x)
        >>> dy, _ = net.jvp(tape, dx=np.ones_like(x))
        >>> step = 1e-6
        >>> np.allclose((net.predict(x + step) - net.predict(x - step)) / (2 * step), dy)
        True
        """
        if not isinstance(tape, NetworkTape) or tape.network is not self:
            raise TypeError(f"tape: expected one that forward of this network returned, got {tape!r:.200}")
        batch, outputs = tape.batch, tape.tapes[-1].operation.outputs
        directions = Directions(self.dtype, self.device)
        vectors = directions.vectors(direction_on(self.device, "dp", dp), self._params.weights, "this network")
        dx = directions.inputs(direction_on(self.device, "dx", dx), batch, self.channels, self.takes_indices)
        initial = self._moved_states(directions, dstate, batch.sequences)
        count, single = directions.count, directions.single
        parts = None if vectors is None else [self.split(vector) for vector in vectors]
        ways = [
            Tangents(count, None if parts is None else [part[index] for part in parts], initial.get(index))
            for index in range(len(tape.tapes))
        ]
        moved = moved_by(ways, tape.tapes, tape.fed, dx)
        finals = [final_states(self.layers[index], ways[index], single) for index in self._stateful]
        moved = zeros_like(outputs, count) if moved is None else moved
        if outputs.packing.uniform:
            given = together([in_layout(each.array, self._letters(batch)) for each in moved], single)
            shared = dx is not None and share_memory(given, dx[0].array)  # of layers that pass numbers on
            given = given.copy() if shared else given
        else:
            given = together([*map(batch.give, moved)], single)
        return brought_state(tape.device, given), tuple(brought_state(tape.device, final) for final in finals)

    def _moved_states(self, directions, states, sequences):
        """{index of a layer: the tangents of its initial state} of the argument dstate."""
        if states is None:
            return {}
        self._expect_states("dstate", states)
        return {
            index: directions.states(
                f"dstate[{at}]",
                state if state is None else self._state_here(f"dstate[{at}]", state),
                self.layers[index],
                sequences,
            )
            for at, (index, state) in enumerate(zip(self._stateful, states))
        }
