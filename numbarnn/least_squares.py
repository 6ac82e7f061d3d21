"""A readout that is learned step by step, while the network runs: recursive least squares, and FORCE."""

import numpy as np

from .arrays.conversion import numbers_like
from .arrays.devices import backend
from .arrays.packing import checked_lengths
from .descriptions.fields import Unsendable
from .errors import DeviceError, NonFiniteError, ShapeError, finite_number, positive_integer
from .layers.dense import Dense
from .layers.operations import NotInPrograms
from .layers.steps import compiled_step
from .network import Network

FLOAT64 = np.dtype(np.float64)


class RecursiveLeastSquares(Unsendable):
    """The last layer of a network, learned while the network runs: after each step the least squares of all steps so far.

    F outputs of the layers before the last, U outputs of it.  A step reads f (F,), of which r = (f, 1), gives the output
    z = w r, and learns from its target y (U,) by ::

        k = P r / (forgetting + r P r)
        w' = w + (y - z) k
        P' = (P - k (P r)^T) / forgetting

    with w (U, F + 1) the weight and the bias of the layer, and P = 1 / penalty at first.  So w has the smallest sum of
    ``forgetting^(steps since) |y - w r|^2`` over all steps, and of ``forgetting^steps * penalty |w - w_0|^2``.  All of it is
    computed in float64, in compiled code.

    Of N sequences side by side each step is learned from one after the other, and each output is of what the steps before
    have left: w has the smallest sum over the steps of all of them.

    With `feed_back` the output z, of the w before it learns from the step, is the input of the next step: FORCE learning,
    which tames a network that is chaotic without it.

    The parameters of the layers before the last are read when it is made.  The parameters of the last layer are written
    after each call.

    Parameters
    ----------
    network : Network
        Its last layer is a `Dense` with the activation "linear", and is modified.
    penalty : float
        > 0: what P is 1 over at first.
    forgetting : float
        Greater than 0, 1 at most: how much of what a step says is left a step later.
    every : int
        It learns from one step in `every`, first from step number `every`.
    batch : int
        N: how many sequences run side by side.

    Attributes
    ----------
    network : Network

    Raises
    ------
    TypeError, ValueError, DeviceError
        If the network's layers do not take one step after the other on the CPU, the last is not such a one, or a number is
        not as described.

    References
    ----------
    Haykin 2002, Adaptive Filter Theory, table 9.1; FORCE: Sussillo and Abbott 2009, doi:10.1016/j.neuron.2009.07.018, eq. 4
    and 5.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> wild = nr.Connectivity(density=0.1, spectral_radius=1.5)
    >>> reservoir = nr.LeakyRNN(100, rate=0.1, form="inside", connectivity=wild)
    >>> net = nr.Network([reservoir, nr.Activation("tanh"), nr.Dense(1)], channels=1, dtype="float64", seed=0)
    >>> y = np.sin(np.arange(2000) / 20)[:, None]
    >>> force = nr.RecursiveLeastSquares(net, penalty=1.0)
    >>> z = force.feed_back(np.zeros(1), y)
    >>> bool(np.abs(z - y)[-500:].max() < 0.05)
    True

    The network goes on by itself from there:

    >>> stream = net.stream()
    >>> stream.state = force.state
    >>> stream.feed_back(z[-1:], 100).shape
    (100, 1, 1)
    """

    instead = "make another one of a copy of its network"

    def __init__(
        self, network: Network, penalty: float = 1.0, forgetting: float = 1.0, every: int = 1, batch: int = 1
    ):  # fmt: skip
        if not isinstance(network, Network):
            raise TypeError(f"network: expected a Network, got {type(network).__name__}")
        if network.device != "cpu":
            raise DeviceError(f"network: expected one on device 'cpu', got one on {network.device!r}")
        last = network.layers[-1]
        if len(network.layers) < 2 or not isinstance(last, Dense) or last.activation not in ("linear", "identity"):
            raise TypeError(f"network: expected layers and then a Dense with the activation 'linear', got {network!r}")
        if network.takes_indices:
            raise TypeError(f"network: expected one that reads numbers, got {network!r}")
        penalty = finite_number("penalty", penalty, above=0)
        self._forgetting, self._every = finite_number("forgetting", forgetting, above=0), positive_integer("every", every)
        if self._forgetting > 1:
            raise ValueError(f"forgetting: expected a number greater than 0 and 1 at most, got {forgetting!r}")
        self._batch = positive_integer("batch", batch)
        network.params.check_writable("params")
        network.params.check_finite()
        before = list(zip(network.layers, network._own))[:-1]
        try:
            self._step = compiled_step(
                before, network.channels, network.dtype, network.device, self._batch, False, single=False
            )
        except NotInPrograms as error:
            raise TypeError(
                f"network: expected layers that take a step in compiled code, got one that has {error}"
            ) from None
        self.network, self._taken = network, 0
        self._state, self._work = self._step.initial_state(), self._step.workspace()
        self._owners = self._sequences_of_state()
        own = network._own[-1]
        self._weight = np.concatenate([own["weight"], own["bias"][:, None]], axis=1, dtype=np.float64)
        self._inverse = np.eye(self._weight.shape[1]) / penalty

    def __repr__(self):
        return f"RecursiveLeastSquares({self.network!r}, {self._taken} steps)"

    @property
    def state(self) -> tuple:
        """The states of the recurrent layers after the last step, copies: what a stream of the network can start from."""
        return _copied(self._step.states(self._state))

    def run(self, x: np.ndarray, y: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Take a step for each row of x, and learn from its target.

        Parameters
        ----------
        x : array
            (T, N, C), or (T, C) of one sequence: the inputs.
        y : array
            (T, N, U), or (T, U): the targets.
        lengths : array of int, optional
            (N,): the steps of each sequence, from 0 to T.  Past them nothing is read or learned, outputs are 0, and the
            states stay as they are.

        Returns
        -------
        numpy.ndarray
            Shaped like y: the outputs, each of what was learned from the steps before.

        Raises
        ------
        TypeError, DTypeError, ShapeError
            If x or y is not as described.
        NonFiniteError
            If there is a NaN or an infinity in x, y, or what becomes of them.  All is then as it was.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.LeakyRNN(20, rate=0.5), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> s = np.sin(np.arange(301) / 5)[:, None]
        >>> z = nr.RecursiveLeastSquares(net, penalty=1e-3).run(s[:-1], s[1:])
        >>> bool(np.abs(z - s[1:])[-20:].max() < 0.01)
        True
        """
        network = self.network
        x, y = self._rows("x", x, network.channels, network.dtype), self._rows("y", y, network.output_channels)
        if len(x) != len(y):
            raise ShapeError(f"y: expected {len(x)} steps like x, got {len(y)}")
        lengths = self._lengths(lengths, len(y))
        self._check_finite(lengths, x=x, y=y)
        return self._learn(x, y, lengths, 0, np.empty((self._batch, network.channels), network.dtype))

    def feed_back(
        self, x: np.ndarray, y: np.ndarray, known: np.ndarray | None = None, lengths: np.ndarray | None = None
    ) -> np.ndarray:
        """Take a step for each row of y, each from the output of the one before, and learn from these targets: FORCE.

        Parameters
        ----------
        x : array
            (N, C), or (C,) of one sequence: the input of the first step.
        y : array
            (T, N, U), or (T, U): the targets.
        known : array, optional
            (T, N, C - U), or (T, C - U): the last channels of the inputs, beside each output that is fed back.  The last row
            is not read.
        lengths : array of int, optional
            As in `run`.

        Returns
        -------
        numpy.ndarray
            Shaped like y: the outputs, as they were fed back.

        Raises
        ------
        TypeError, DTypeError, ShapeError, NonFiniteError
            As of `run`; ShapeError if outputs, with what is known, have other channels than inputs.

        Examples
        --------
        Two sequences side by side; the drive is known, and stands beside the output that is fed back:

        >>> import numpy as np, numbarnn as nr
        >>> wild = nr.Connectivity(density=0.1, spectral_radius=1.5)
        >>> reservoir = nr.LeakyRNN(100, rate=0.1, form="inside", connectivity=wild)
        >>> net = nr.Network([reservoir, nr.Activation("tanh"), nr.Dense(1)], channels=2, dtype="float64", seed=0)
        >>> angle = np.arange(2000)[:, None, None] / 10 + [[0.0], [1.5]]  # (T, N, 1)
        >>> force = nr.RecursiveLeastSquares(net, batch=2)
        >>> z = force.feed_back(np.zeros((2, 2)), np.sin(angle), known=np.cos(angle))
        >>> z.shape, bool(np.abs(z - np.sin(angle))[-500:].max() < 0.05)
        ((2000, 2, 1), True)
        """
        network = self.network
        y = self._rows("y", y, network.output_channels)
        missing = network.channels - network.output_channels
        if missing < 0 or (missing > 0) != (known is not None):
            got = "none" if known is None else "some"
            raise ShapeError(
                f"known: expected {max(missing, 0)} channels beside {network.output_channels} outputs, for"
                f" {network.channels} inputs, got {got}"
            )
        first = numbers_like("x", x, network.dtype).copy()
        if first.shape != (shape := (network.channels,) if self._batch == 1 else (self._batch, network.channels)):
            raise ShapeError(f"x: expected shape {shape}, got {first.shape}")
        if known is None:
            beside = np.empty((len(y), self._batch, 0), network.dtype)
        else:
            beside = self._rows("known", known, missing, network.dtype)
        if len(beside) != len(y):
            raise ShapeError(f"known: expected {len(y)} steps like y, got {len(beside)}")
        lengths = self._lengths(lengths, len(y))
        self._check_finite(lengths, y=y)
        self._check_finite(lengths - 1, known=beside)
        first = first.reshape(self._batch, network.channels)
        self._check_finite(np.minimum(lengths, 1), x=first[None])
        return self._learn(beside, y, lengths, network.output_channels, first)

    def _sequences_of_state(self):
        """The sequence to which each number of a state belongs, shaped like the state: int64."""
        numbers = np.zeros_like(self._state)
        for part in _arrays_of(self._step.states(numbers)):
            part[...] = np.arange(self._batch)[:, None]
        return numbers.astype(np.int64)

    def _rows(self, argument, value, channels, dtype=FLOAT64):
        """(T, N, channels) contiguous numbers of a dtype; else a typed error."""
        array = numbers_like(argument, value, dtype)
        shape = (channels,) if self._batch == 1 else (self._batch, channels)
        if array.ndim != 1 + len(shape) or array.shape[1:] != shape:
            expected = ", ".join(map(str, ("T", *shape)))
            raise ShapeError(f"{argument}: expected shape ({expected}), got {array.shape}")
        return np.ascontiguousarray(array).reshape(len(array), self._batch, channels)

    def _lengths(self, lengths, steps):
        """(N,) of the steps of each sequence."""
        return np.full(self._batch, steps) if lengths is None else checked_lengths(lengths, self._batch, steps)

    def _check_finite(self, lengths, **arrays):
        """Raise NonFiniteError, with its place, of the first NaN or infinity in arrays (T, N, C) before the ends."""
        for argument, array in arrays.items():
            there = np.arange(len(array))[:, None] < lengths
            places = np.argwhere(~np.isfinite(array) & there[:, :, None])
            if len(places):
                place = tuple(int(i) for i in places[0])
                own = place if self._batch > 1 else (place[0], place[2])
                own = own[1:] if argument == "x" and len(array) == 1 and "y" not in arrays else own
                raise NonFiniteError(f"{argument}: expected finite numbers, got {array[place]} at {own}")

    def _learn(self, x, y, lengths, fed, inputs):
        """Take the steps and learn; if all stays finite, keep what there is then, and write the readout."""
        state, weight, inverse = self._state.copy(), self._weight.copy(), self._inverse.copy()
        features, memory = np.empty((self._batch, self._step.outputs), self._step.dtype), np.zeros((2, weight.shape[1]))
        outputs = np.empty(y.shape)
        backend("cpu").least_squares.learn(
            self._step, x, y, lengths.astype(np.int64), self._owners, self._taken, self._every, self._forgetting, fed, state,
            np.empty_like(state), self._work, inputs, features, weight, inverse, memory, outputs,
        )  # fmt: skip
        own = self.network._own[-1]
        written = weight.astype(own["weight"].dtype)
        if not all(np.isfinite(part).all() for part in (written, inverse, state, outputs)):
            raise NonFiniteError(
                "y: expected targets that can be learned, got outputs or weights that are not finite; a forgetting nearer to"
                " 1 keeps them"
            )
        self.network.params.check_writable("params")
        own["weight"][...], own["bias"][...] = written[:, :-1], written[:, -1]
        self._state, self._weight, self._inverse = state, weight, inverse
        self._taken += int(lengths.max(initial=0))
        found = outputs.astype(self.network.dtype, copy=False)
        return found[:, 0] if self._batch == 1 else found


def _arrays_of(states):
    """The arrays in tuples of them."""
    return [array for each in states for array in _arrays_of(each)] if isinstance(states, tuple) else [states]


def _copied(states):
    """Copies of arrays in tuples."""
    return tuple(map(_copied, states)) if isinstance(states, tuple) else states.copy()
