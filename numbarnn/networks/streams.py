"""A network one time step at a time: streams, and steps for compiled code of your own."""

from ..arrays.devices import backend
from ..errors import flag, positive_integer
from ..layers.operations import NotInPrograms
from ..layers.steps import OverSteps, compiled_step
from ..stepping import CompiledStep
from ..streaming import Stream
from .structure import Structure


class Streaming(Structure):
    """The part of a network that takes one step at a call."""

    def stream(self, batch: int = 1) -> Stream:
        """A `Stream` that runs the network one step at a call, or the steps of a sequence, from a state of zeros.

        The parameters are read now: later changes do not reach it.  `Last` passes each step on.  After an `Embedding` a step
        is of indices, (N,).

        Parameters
        ----------
        batch : int
            Sequences N that run side by side.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(8), nr.Last(), nr.Dense(1)], channels=1, seed=0)
        >>> stream = net.stream()
        >>> y = np.zeros((1, 1), np.float32)
        >>> for _ in range(5):
        ...     y = stream.step(y)  # predictions fed back
        >>> y.shape, len(stream.state)
        ((1, 1), 1)
        """
        self.params.check_finite()
        return self._stream(list(zip(self.layers, self._own)), positive_integer("batch", batch))

    def _stream(self, layers, batch, last=None):
        """The Stream of some layers, each with its parameters.

        last : callable, optional
            Makes what comes after them, an Operation with the `array` that it writes, out of a descriptor of their outputs.
        """
        on = backend(self.device)
        made = OverSteps.of(layers, self.channels, self.dtype, self.device, batch)
        operations, array = made.operations, made.y.array
        if last is not None:
            operations.append(last(made.y))
            array = operations[-1].array
        stream = Stream(made.x, array, operations, made.stateful, on, single=False, vocabulary=made.vocabulary)
        stream.state = (None,) * len(made.stateful)
        return stream

    def compiled_step(self, batch: int = 1, adjoint: bool = False) -> CompiledStep:
        """The network's step as a value of your own compiled code, see `CompiledStep`.

        The parameters are read now: later changes do not reach it.  `Last` passes each step on.  After an `Embedding` a step
        is of indices.  Dropout and the like are not active.

        Parameters
        ----------
        batch : int
            Sequences N that run side by side.
        adjoint : bool
            Also make what `CompiledStep.adjoint` needs.

        Raises
        ------
        ValueError
            If a layer needs the whole sequence, as one of two directions or `Pool`.
        TypeError
            If a layer of your own runs in Python.
        DeviceError
            If the network is on a GPU.
        """
        self.params.check_finite()
        batch, adjoint = positive_integer("batch", batch), flag("adjoint", adjoint)
        layers = list(zip(self.layers, self._own))
        try:
            return compiled_step(layers, self.channels, self.dtype, self.device, batch, adjoint, single=False)
        except NotInPrograms as error:
            raise TypeError(f"layers: expected layers that take a step in compiled code, got one that has {error}") from None
