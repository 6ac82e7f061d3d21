"""Steps as functions of the caller's arrays, for compiled code of the user's own."""

import numpy as np

from .arrays.descriptor import checked_array, is_writable
from .arrays.devices import backend, device_of, expect_device
from .arrays.indices import checked_integers
from .descriptions.fields import Settled, Unsendable
from .errors import DeviceError, DTypeError, IndexRangeError, LayoutError, ShapeError

STEPS = 16  # of a sequence that are taken at once: the weights of the input are read once for all of them


class CompiledStep(Settled, Unsendable):
    """A step of layers as a value of your own compiled code: ``step(x, state, y, work)``.

    T steps, N batch, C input channels, Y output channels.  All that a step reads and writes but its weights is in arrays of
    the caller: it allocates nothing and calls no Python, and threads with arrays of their own may take steps at once.  In
    code compiled by Numba it is an argument like any other, or a global.  The functions have the same names in Python.

    The parameters are read when the step is made: later changes do not reach it.  Made by the ``compiled_step`` method of a
    recurrent layer or a network.

    Attributes
    ----------
    channels, outputs : int
        C and Y; C is 1 where a step takes indices.
    batch : int
        N.
    dtype : numpy.dtype
        Of x, state and y.
    state_size, workspace_size, gradient_size : int
        Numbers of a state, of a workspace, and of a gradient, which is 0 without an adjoint.

    Examples
    --------
    >>> import numba, numpy as np, numbarnn as nr
    >>> net = nr.Network([nr.GRU(8), nr.Dense(1)], channels=2, seed=0)
    >>> step = net.compiled_step()
    >>> @numba.njit
    ... def last(step, x):
    ...     state, work, y = step.initial_state(), step.workspace(), np.empty(1, np.float32)
    ...     for t in range(len(x)):
    ...         step(x[t], state, y, work)
    ...     return y
    >>> x = np.ones((5, 2), np.float32)
    >>> np.array_equal(last(step, x), net.predict(x)[-1])
    True
    """

    settled = ("channels", "outputs", "batch", "dtype", "state_size")
    instead = "copy its states, which are arrays, and make a new one there with compiled_step"

    def __init__(self, x, y, operations, layers, single, vocabulary=None):
        if device_of(y) != "cpu":
            raise DeviceError("device: expected parameters on 'cpu', since a compiled step runs there, got 'cuda'")
        states, self._shapes = [], []  # the shapes of each state of each layer
        for layer, tape in layers:
            for part in tape.stack:
                part.restart(slice(None))
            parts = [[part.reached(m)[0] for part in tape.stack] for m in range(layer.cell.states)]
            states += [state for part in parts for state in part]
            self._shapes.append([(len(part), *part[0].shape) for part in parts])
        self._told = backend("cpu").steps.StepRecord(x, y, operations, states, vocabulary or 0)
        self._single, self._vocabulary, self._initial = single, vocabulary, self._told.initial_state
        self._address = self._told.address
        self.channels, self.outputs, self.batch = 1 if vocabulary else x.shape[-1], y.shape[-1], x.shape[1]
        self.dtype, self.state_size = y.dtype, self._initial.size

    def _add_adjoint(self, *what):
        """See `StepRecord.add_adjoint`."""
        self._told.add_adjoint(*what)

    @property
    def workspace_size(self) -> int:
        """Words of the memory that a step works in."""
        return self._told.number("workspace_size")

    @property
    def gradient_size(self) -> int:
        """Numbers of a gradient: 0 without an adjoint."""
        return self._told.number("gradient_size")

    def __repr__(self):
        sequences = f"{self.batch} sequence{'s' * (self.batch > 1)}"
        return f"CompiledStep({sequences}, {self.channels} to {self.outputs} channels, {self.dtype})"

    @property
    def _numba_type_(self):
        """What Numba knows it by."""
        return backend("cpu").step_type.type_of(self.dtype, self._vocabulary is not None)

    def initial_state(self) -> np.ndarray:
        """A new array of the state that sequences start from, (state_size,): zeros where none is learned."""
        return self._initial.copy()

    def workspace(self) -> np.ndarray:
        """A new array for steps to work in, (workspace_size,) of int64; every thread needs its own.

        It holds nothing that one step leaves to the next.  Any array of zeros that is as large is as good.
        """
        return np.zeros(self.workspace_size, np.int64)

    def states(self, state: np.ndarray) -> "np.ndarray | tuple":
        """The parts of a state, views: (L, N, H) of L stacked layers, for an LSTM the pair (h, c).

        Of a network a tuple of these, one for each recurrent layer, as `Stream.state` has them.

        Parameters
        ----------
        state : numpy.ndarray
            (state_size,), as `initial_state` makes it.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> layer = nr.LSTM(4, layers=2)
        >>> step = layer.compiled_step(layer.init(channels=3, seed=0))
        >>> state = step.initial_state()
        >>> h, c = step.states(state)
        >>> c[...] = 1
        >>> h.shape, float(state.sum())
        ((2, 1, 4), 8.0)
        """
        self._check("state", state, [(self.state_size,)])
        found, at = [], 0
        for shapes in self._shapes:
            own = []
            for shape in shapes:
                own.append(state[at : at + np.prod(shape)].reshape(shape))
                at += own[-1].size
            found.append(own[0] if len(own) == 1 else tuple(own))
        return found[0] if self._single else tuple(found)

    def __call__(self, x: np.ndarray, state: np.ndarray, y: np.ndarray, work: np.ndarray) -> None:
        """Take a step: write its output to y, and the state after it over the one before.

        Parameters
        ----------
        x : numpy.ndarray or int
            (N, C), or (C,) of one sequence; after an `Embedding` indices, (N,), or an integer for one sequence.
        state : numpy.ndarray
            (state_size,), modified: ``step.initial_state()`` at first.
        y : numpy.ndarray
            (N, Y), or (Y,) of one sequence; modified.
        work : numpy.ndarray
            (workspace_size,) or more, modified: ``step.workspace()``, the same one at each step of a thread.

        Raises
        ------
        TypeError, ShapeError, DTypeError, LayoutError, IndexRangeError, ValueError
            If an argument is not as described, with nothing changed.  Compiled code is refused by Numba's TypingError where
            types are wrong.
        """
        self._take(x, state, y, work, ())

    def run(self, x: np.ndarray, state: np.ndarray, y: np.ndarray, work: np.ndarray) -> None:
        """Take the steps of a sequence: the bits of as many steps.

        Parameters
        ----------
        x : numpy.ndarray
            (T, N, C), or (T, C) of one sequence; after an `Embedding` indices, (T, N) or (T,).  T may be 0.
        y : numpy.ndarray
            (T, N, Y), or (T, Y) of one sequence; modified.  It shares no memory with x: several steps of x are read at once,
            before the outputs of the first of them are written.
        state, work
            As of a step.

        Raises
        ------
        TypeError, ShapeError, DTypeError, LayoutError, IndexRangeError, ValueError
            As of a step; ValueError where x and y overlap, which compiled code does not look at.
        """
        self._take(x, state, y, work, ("T",))

    def adjoint(
        self,
        x: np.ndarray,
        state: np.ndarray,
        dy: np.ndarray,
        dstate: np.ndarray,
        dx: np.ndarray | None,
        gradient: np.ndarray,
        work: np.ndarray,
    ) -> None:
        """Go back through a step: from dL/dy and dL/d(state after it) to dL/dx, dL/d(state before it) and dL/dp.

        The step is computed anew from x and the state before it, which are all that a loop has to keep.

        Parameters
        ----------
        x, state : numpy.ndarray
            What the step was given: the state is that before it.
        dy : numpy.ndarray
            (N, Y), or (Y,) of one sequence.
        dstate : numpy.ndarray
            (state_size,), modified: dL/d(state after the step), by all that comes later, becomes that before it.
        dx : numpy.ndarray or None
            Like x, modified: dL/dx is written.  None leaves it out; after an `Embedding` there is no other.
        gradient : numpy.ndarray
            (gradient_size,), modified: dL/dp is added, in the order of ``Parameters.flat``.
        work : numpy.ndarray
            As of a step.

        Raises
        ------
        TypeError, ShapeError, DTypeError, LayoutError, IndexRangeError, ValueError
            As of a step; ShapeError for a gradient of another size, and for a step made without ``adjoint=True``.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> layer = nr.GRU(4)
        >>> p, x = layer.init(channels=2, seed=0), np.ones((1, 1, 2), np.float32)
        >>> y, _, tape = layer.forward(p, x)
        >>> expected = layer.backward(tape, y)
        >>> step = layer.compiled_step(p, adjoint=True)
        >>> dstate, dx, gradient = step.initial_state(), np.empty((1, 2), np.float32), np.zeros_like(p.flat)
        >>> step.adjoint(x[0], step.initial_state(), y[0].copy(), dstate, dx, gradient, step.workspace())
        >>> np.allclose(gradient, expected.params.flat), np.allclose(dx, expected.x[0])
        (True, True)
        """
        x = self._checked_x(x, ())
        self._check("state", state, [(self.state_size,)], written=False)
        self._check("dy", dy, self._ways((self.outputs,)), written=False)
        self._check("dstate", dstate, [(self.state_size,)])
        if dx is not None:
            if self._vocabulary is not None:
                raise TypeError(f"dx: expected None, since x are indices, got {type(dx).__name__}")
            self._check("dx", dx, self._ways((self.channels,)))
        self._check_gradient(gradient)
        self._check_work(work)
        arrays = x, state, dy, dstate, dx, gradient, work
        addresses = (0 if array is None else array.ctypes.data for array in arrays)
        backend("cpu").steps.take_back_now(self._address, *addresses)

    def initial_adjoint(self, dstate: np.ndarray, gradient: np.ndarray) -> None:
        """Add dL/d(initial state) to dL/dp, where the initial state is learned; nothing where none is.

        Parameters
        ----------
        dstate : numpy.ndarray
            (state_size,): what `adjoint` has left of the first step.
        gradient : numpy.ndarray
            (gradient_size,), modified.

        Raises
        ------
        TypeError, ShapeError, DTypeError, LayoutError, ValueError
            As of `adjoint`.
        """
        self._check("dstate", dstate, [(self.state_size,)], written=False)
        self._check_gradient(gradient)
        backend("cpu").steps.add_learned_now(self._address, dstate.ctypes.data, gradient.ctypes.data)

    def _check_work(self, work):
        """Raise unless a workspace is large enough."""
        self._check("work", work, None, np.dtype(np.int64))
        if work.ndim != 1 or work.size < self.workspace_size:
            raise ShapeError(f"work: expected shape ({self.workspace_size},), or more words, got {work.shape}")

    def _check_gradient(self, gradient):
        """Raise unless there is an adjoint, and a gradient is one of its size."""
        if not self.gradient_size:
            raise ShapeError("gradient: expected a step of parameters that was made with adjoint=True")
        self._check("gradient", gradient, [(self.gradient_size,)])

    def _ways(self, channels, leading=()):
        """The shapes that an array may have: of all sequences, and of one without an axis of them."""
        ways = (*leading, self.batch, *channels), (*leading, *channels)
        return ways if self.batch == 1 else ways[:1]

    def _take(self, x, state, y, work, time):
        """Take the step of x, or with ``("T",)`` for time the steps."""
        x = self._checked_x(x, time)
        steps = len(x) if time else 1
        self._check("y", y, self._ways((self.outputs,), (steps,) * len(time)))
        if time and np.may_share_memory(x, y):
            raise ValueError("y: expected an array that shares no memory with x, got one that overlaps it")
        self._check("state", state, [(self.state_size,)])
        self._check_work(work)
        addresses = (array.ctypes.data for array in (x, state, y, work))
        backend("cpu").steps.take_now(self._address, *addresses, steps)

    def _checked_x(self, x, time):
        """x as a step reads it; raises if it is not as described."""
        if self._vocabulary is None:
            x = checked_array("x", x)
            expect_device("x", x, "cpu")
        else:
            if isinstance(x, (int, np.integer)) and not isinstance(x, bool):
                x = np.array(max(-1, min(x, self._vocabulary)), np.int64)  # which no integer is too large for
            x = checked_integers("x", x)
        ways = self._ways((self.channels,) if self._vocabulary is None else (), time)
        if (*time[: x.ndim], *x.shape[len(time) :]) not in ways:
            raise ShapeError(f"x: expected shape {' or '.join(map(str, ways))}, got {x.shape}")
        if self._vocabulary is not None:
            if ((x < 0) | (x >= self._vocabulary)).any():
                raise IndexRangeError(f"x: expected indices from 0 to {self._vocabulary - 1}")
            return np.ascontiguousarray(x, np.int64)
        if x.dtype != self.dtype:
            raise DTypeError(f"x: expected {self.dtype} like the parameters, got {x.dtype}")
        return np.ascontiguousarray(x)

    def _check(self, argument, array, shapes, dtype=None, written=True):
        """Raise unless an argument is an array of one of some shapes, C-contiguous, and writable if it is written."""
        dtype = self.dtype if dtype is None else dtype
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{argument}: expected a numpy.ndarray, got {type(array).__name__}")
        if shapes is not None and array.shape not in shapes:
            raise ShapeError(f"{argument}: expected shape {' or '.join(map(str, shapes))}, got {array.shape}")
        if array.dtype != dtype:
            raise DTypeError(f"{argument}: expected {dtype}, got {array.dtype}")
        if not (array.flags.c_contiguous and array.flags.aligned):
            raise LayoutError(f"{argument}: expected a C-contiguous array, got strides {array.strides}")
        if written and not is_writable(array):
            raise ValueError(f"{argument}: expected an array that may be written, got a read-only one")
