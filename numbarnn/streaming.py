"""One time step at a time, with the state carried along."""

import math

import numpy as np

from .arrays.descriptor import checked_array, make_read_only
from .arrays.devices import backend_of, contiguous, device_of, moved
from .arrays.indices import checked_integers
from .arrays.packing import checked_mask
from .descriptions.fields import Unsendable
from .errors import DTypeError, IndexRangeError, ShapeError, positive_integer

FEW = 64  # indices


class Stream(Unsendable):
    """Layers that take one step at a call, or the steps of a sequence; the state is the stream's.

    The parameters are read when the stream is made: later changes of them do not reach it.  Made by the ``stream``
    method of a recurrent layer or a network.

    Parameters
    ----------
    x : numpy.ndarray
        The steps that the lowest layer reads, (K, N, C), or (K, N) of indices.
    y : numpy.ndarray
        What the last layer writes, (K, N, channels).
    operations : sequence of Operation
        Up to K steps of all layers, from the lowest on.
    layers : sequence of (Layer, Tape)
        Those with a state.
    on : module
        The backend that they run on.
    single : bool
        True for the stream of one layer: its state is not in a tuple of layers.
    vocabulary : int, optional
        Of a network that takes indices.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.GRU(4)
    >>> p = layer.init(channels=2, seed=0)
    >>> x = np.ones((3, 1, 2), np.float32)
    >>> stream = layer.stream(p)
    >>> steps = [stream.step(x_t) for x_t in x]
    >>> np.array_equal(steps, layer(p, x)[0])
    True
    """

    instead = "copy or send what it was made from and its state, make a new stream there and set its state"

    def __init__(self, x, y, operations, layers, on, single, vocabulary=None):
        self._x, self._y, self._operations, self._layers, self._single = x[0], y[0], operations, layers, single
        self._steps, self._program = on.programs.Steps, on.programs.Steps(x, y, operations)
        self._shape, self._dtype, self._vocabulary = self._x.shape, y.dtype, vocabulary

    def __repr__(self):
        batch, channels, outputs = self._shape[0], math.prod(self._shape[1:]), self._y.shape[-1]
        return f"Stream({batch} sequence{'s' * (batch > 1)}, {channels} to {outputs} channels, {self._dtype})"

    @property
    def state(self) -> "np.ndarray | tuple":
        """The state after the last step, (layers, N, H), for an LSTM the pair (h, c): copies that cannot be written to.

        A network's stream has a tuple of these, one for each recurrent layer.  To go on from elsewhere, set it:
        ``stream.state = state``, or `reset` sequences.  None stands for the state that a stream starts from.
        """
        states = tuple(layer.stream_state(tape) for layer, tape in self._layers)
        for state in states:
            for array in state if isinstance(state, tuple) else (state,):
                make_read_only(array)
        return states[0] if self._single else states

    @state.setter
    def state(self, state):
        if not self._single and (not isinstance(state, (tuple, list)) or len(state) != len(self._layers)):
            expected = f"a tuple of {len(self._layers)} states, one for each recurrent layer"
            raise TypeError(f"state: expected {expected}, got {type(state).__name__}")
        states = (state,) if self._single else state
        checked = [
            layer.checked_state("state", given, self._shape[0], self._dtype, device_of(self._x))
            for (layer, _), given in zip(self._layers, states)
        ]
        for (_, tape), given in zip(self._layers, checked):
            for index, part in enumerate(tape.stack):
                if given is None:
                    part.restart(slice(None))
                else:
                    part.start([array[index] for array in given])

    def reset(self, mask: np.ndarray | None = None):
        """Let sequences start afresh: from the learned state of a layer that has one, else from zeros.

        Parameters
        ----------
        mask : array of bool, optional
            (N,): True for each sequence that starts afresh; all of them if None.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> layer = nr.GRU(4)
        >>> stream = layer.stream(layer.init(channels=2, seed=0), batch=3)
        >>> y = stream.step(np.ones((3, 2), np.float32))
        >>> stream.reset([False, True, False])
        >>> stream.state.any(axis=(0, 2))
        array([ True, False,  True])
        """
        sequences = slice(None) if mask is None else np.flatnonzero(checked_mask(mask, self._shape[0]))
        for _, tape in self._layers:
            for part in tape.stack:
                part.restart(sequences)

    def step(self, x: np.ndarray) -> np.ndarray:
        """Take one step: outputs (N, channels) from inputs (N, C).

        Parameters
        ----------
        x : numpy.ndarray
            (N, C), of the stream's dtype; after an `Embedding` indices, (N,).

        Returns
        -------
        numpy.ndarray
            (N, output channels), new.

        Raises
        ------
        TypeError, ShapeError, DTypeError, IndexRangeError
            If x is not as described; the state then stays as it is.
        """
        if type(x) is not np.ndarray or x.shape != self._shape or not self._takes(x):
            x = self._checked(x, self._shape)
        here = type(x) is type(self._x)
        self._x[...] = x if here else moved(x, device_of(self._x))
        self._program.step()
        return self._y.copy() if here else moved(self._y, device_of(x))

    def run(self, x: np.ndarray) -> np.ndarray:
        """Take the steps of a sequence, in one call of compiled code: the bits of as many calls of `step`.

        Parameters
        ----------
        x : numpy.ndarray
            (T, N, C), of the stream's dtype; after an `Embedding` indices, (T, N).  T may be 0.

        Returns
        -------
        numpy.ndarray
            (T, N, output channels), new.

        Raises
        ------
        TypeError, ShapeError, DTypeError, IndexRangeError
            If x is not as described; the state then stays as it is.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> layer = nr.GRU(4)
        >>> p, x = layer.init(channels=2, seed=0), np.ones((5, 1, 2), np.float32)
        >>> np.array_equal(layer.stream(p).run(x), layer(p, x)[0])
        True
        """
        x = self._checked(x, ("T", *self._shape))
        source = x.astype(np.int64) if self._vocabulary else moved(x, device_of(self._x))
        y = backend_of(self._y).memory.empty((len(x), *self._y.shape), self._y.dtype)
        self._program.run(contiguous(source), y)
        return y if self._vocabulary else moved(y, device_of(x))

    def feed_back(self, x: np.ndarray, steps: int, known: np.ndarray | None = None) -> np.ndarray:
        """Take a step, then steps from the output of the one before: free-running prediction, in compiled code.

        Parameters
        ----------
        x : numpy.ndarray
            (N, C): the input of the first step.
        steps : int
            How many outputs.
        known : numpy.ndarray, optional
            (steps, N, C - output channels), of the stream's dtype: the last channels of the inputs, beside each output that
            is fed back.  The last step of it is not read.

        Returns
        -------
        numpy.ndarray
            (steps, N, output channels).

        Raises
        ------
        ShapeError
            If outputs, with what is known, have other channels than inputs.
        TypeError, DTypeError, ShapeError, ValueError
            If x, steps or known is not as described; the state then stays as it is.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(4), nr.Dense(1)], channels=2, seed=0)
        >>> x, plan = np.zeros((1, 2), np.float32), np.ones((3, 1, 1), np.float32)
        >>> found, stream = net.stream().feed_back(x, 3, plan), net.stream()
        >>> y = stream.step(x)
        >>> np.array_equal(stream.step(np.concatenate([y, plan[0]], axis=1)), found[1])
        True
        """
        steps = positive_integer("steps", steps)
        if known is not None:
            return self._feed_back_beside(x, steps, known)
        if self._y.shape != self._shape:
            missing = len(self._shape) == 2 and self._y.shape[-1] < self._shape[-1]
            hint = "; known= gives the channels that they lack" if missing else ""
            raise ShapeError(
                f"feed_back: expected outputs of shape {self._shape} like the inputs, got {self._y.shape}{hint}"
            )
        x = self._checked(x, self._shape)
        y = backend_of(self._y).memory.empty((steps + 1, *self._shape), self._dtype)
        y[0] = moved(x, device_of(y))
        self._program.feed_back(y)
        return moved(y[1:], device_of(x))

    def _feed_back_beside(self, x, steps, known):
        """`feed_back` with known channels."""
        missing = 0 if self._vocabulary else self._shape[-1] - self._y.shape[-1]
        if missing < 1:
            raise ShapeError(
                f"known: expected None, since outputs of shape {self._y.shape} leave no channels of inputs of shape"
                f" {self._shape}, got {type(known).__name__}"
            )
        known = checked_array("known", known)
        expected = steps, self._shape[0], missing
        if known.shape != expected:
            raise ShapeError(f"known: expected shape {expected} (T, N, channels that are not fed back), got {known.shape}")
        if known.dtype != self._dtype:
            raise DTypeError(f"known: expected {self._dtype} like the parameters, got {known.dtype}")
        first = self.step(x)
        on = backend_of(self._y)
        y = on.memory.empty((steps, *self._y.shape), self._dtype)
        y[0] = moved(first, device_of(y))
        beside = on.memory.zeros((1, *expected[1:]), self._dtype)
        channels = self._y.shape[-1]
        fed = Copies([(self._y, self._x[:, :channels]), (beside[0], self._x[:, channels:])])
        program = self._steps(beside, self._y[None], [fed, *self._operations])
        program.run(contiguous(moved(known[:-1], device_of(y))), y[1:])
        return moved(y, device_of(x))

    def _takes(self, x):
        """Whether an array of the right shape is right; of many indices that is not said, `_checked` is faster then."""
        if not self._vocabulary:
            return x.dtype == self._dtype
        if len(x) > FEW or x.dtype.kind not in "iu":
            return False
        found = x.tolist()
        return 0 <= min(found) and max(found) < self._vocabulary

    def _checked(self, x, expected):
        """x, if it has the shape expected, with any length for "T", and the parameters' dtype, or is of indices."""
        x = (checked_integers if self._vocabulary else checked_array)("x", x)
        shape = ("T", *x.shape[1:]) if expected[0] == "T" and x.ndim else x.shape
        if shape != expected:
            axes = ", ".join(["T"] * (expected[0] == "T") + ["N", "C"][: len(self._shape)])
            raise ShapeError(f"x: expected shape {expected} ({axes}), got {x.shape}")
        if self._vocabulary:
            wrong = (x < 0) | (x >= self._vocabulary)
            if wrong.any():
                raise IndexRangeError(f"x: expected indices from 0 to {self._vocabulary - 1}, got {x[wrong][0]}")
        elif x.dtype != self._dtype:
            raise DTypeError(f"x: expected {self._dtype} like the parameters, got {x.dtype}")
        return x


class Copies:
    """Numbers of a step that are copied to where others read them.  An operation of a program.

    Parameters
    ----------
    parts : sequence of (numpy.ndarray, numpy.ndarray)
        (N, C) each, the second of which is modified.
    """

    def __init__(self, parts):
        self._parts = [*parts]

    def steppers(self):
        """Functions that take one step of a stream, on a GPU."""
        return [self._fill]

    def _fill(self):
        for source, target in self._parts:
            target[...] = source

    def add_to(self, program):
        """Add it to a program: the row of one sequence after the other, since the rows of one of both may be longer."""
        for source, target in self._parts:
            for row, place in zip(source, target):
                backend_of(source).programs.add_copy(program, row.ctypes.data, place.ctypes.data, row.nbytes)
