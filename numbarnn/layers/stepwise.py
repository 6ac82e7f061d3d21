"""A recurrent layer one time step at a time: streams, and steps for compiled code of your own."""

import numpy as np

from ..arrays.devices import backend_of
from ..engine.keep import WEIGHTS
from ..errors import flag, positive_integer
from ..parameters import Parameters
from ..stepping import CompiledStep
from ..streaming import Stream
from .stacked import Stacked
from .steps import OverSteps, compiled_step

State = np.ndarray | tuple[np.ndarray, np.ndarray]  # h, or for an LSTM (h, c)


class Stepwise(Stacked):
    """The part of a recurrent layer that takes one step at a call."""

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
        made = OverSteps.of([(self, p)], *self._expected(p), positive_integer("batch", batch))
        stream = Stream(made.x, made.y.array, made.operations, made.stateful, backend_of(made.x), single=True)
        stream.state = state
        return stream

    def compiled_step(self, p: Parameters, batch: int = 1, adjoint: bool = False) -> CompiledStep:
        """The layer's step as a value of your own compiled code, see `CompiledStep`.

        Parameters
        ----------
        p : Parameters
            As `init` makes them; read now, later changes do not reach the step.
        batch : int
            Sequences N that run side by side.
        adjoint : bool
            Also make what `CompiledStep.adjoint` needs.

        Raises
        ------
        ValueError
            For a bidirectional layer, which needs the whole sequence.
        DeviceError
            For parameters on a GPU.

        Examples
        --------
        >>> import numba, numpy as np, numbarnn as nr
        >>> layer = nr.GRU(4)
        >>> p, x = layer.init(channels=2, seed=0), np.ones((5, 2), np.float32)
        >>> @numba.njit
        ... def outputs(step, x):
        ...     y = np.empty((len(x), step.outputs), x.dtype)
        ...     step.run(x, step.initial_state(), y, step.workspace())
        ...     return y
        >>> np.array_equal(outputs(layer.compiled_step(p), x), layer(p, x)[0])
        True
        """
        expected = *self._expected(p), positive_integer("batch", batch)
        return compiled_step([(self, p)], *expected, flag("adjoint", adjoint), single=True)

    def run_stream(self, p, x, initial=None, keep=WEIGHTS):
        """`run` for the steps that a stream takes at once, again and again: y as a TensorDescriptor, and a tape.

        initial: what it starts from at first and when it starts afresh, as `checked_state` has it; zeros or what was learned
        if None.
        """
        if self.bidirectional:
            raise ValueError(f"steps: {self!r} is bidirectional and needs the whole sequence")
        return self.run(p, x, initial, keep)

    def stream_state(self, tape):
        """The state that a stream's tape has reached, (L, N, H) arrays."""
        return self.as_state([[part.reached(m) for part in tape.stack] for m in range(self.cell.states)])
