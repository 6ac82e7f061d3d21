"""What an optimizer is: a description; what it remembers is what `start` makes and `update` changes."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..arrays.descriptor import checked_array, is_array, is_writable
from ..arrays.devices import backend_of, device_of, expect_device, share_memory
from ..errors import DTypeError, LayoutError, ShapeError, finite_number, positive_integer
from .schedules import after


class Memory(list):
    """What the library's optimizers remember: vectors, and `parts`, those that tell the parts of the parameters apart.

    Outside of a training nobody knows the parts: they are None, and all parameters are alike.
    """

    parts = None


class Optimizer:
    """What an optimizer is: subclass it for one of your own, which `Network.fit` takes like the library's.

    A subclass defines `update`, which changes the parameters in place, and has an attribute ``rate``, a number or a
    schedule.  What it remembers from step to step, `start` makes at the beginning of a training and `update` changes; the
    optimizer itself stays as it is, so that it can train several networks at once.  All rows of an `Embedding` are then
    updated at each step, since only the library's optimizers know how to make up for steps that a row has missed.

    A step that leaves a NaN or an infinity, or that raises an exception, is undone.

    Attributes
    ----------
    rate : float or schedule
        Learning rate.

    Examples
    --------
    Lion (Chen et al. 2023, arXiv:2302.06675): ``p -= rate sign(beta1 m + (1 - beta1) g)``, ``m = beta2 m + (1 - beta2) g``.

    >>> import numpy as np, numbarnn as nr
    >>> class Lion(nr.Optimizer):
    ...     def __init__(self, rate, beta1=0.9, beta2=0.99):
    ...         self.rate, self.beta1, self.beta2 = rate, beta1, beta2
    ...     def start(self, flat):
    ...         return np.zeros_like(flat)
    ...     def update(self, flat, previous, gradient, memory, step, rate, scale=1.0):
    ...         flat -= rate * np.sign(self.beta1 * memory + (1 - self.beta1) * gradient)
    ...         memory[:] = self.beta2 * memory + (1 - self.beta2) * gradient
    >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32) / 4), 5)
    >>> history = net.fit(x, y, optimizer=Lion(nr.cosine(0.02)), epochs=20, batch_size=5, progress=False)
    >>> history.loss[-1] < 0.1 * history.loss[0]
    True
    """

    rate = None
    vectors = 0  # vectors remembered, each as long as the parameters

    def start(self, flat: np.ndarray) -> list:
        """What a training remembers when it begins, anything; of the library's optimizers a list of vectors of zeros.

        Parameters
        ----------
        flat : numpy.ndarray
            The parameters, 1-D.
        """
        return Memory(np.zeros_like(flat) for _ in range(self.vectors))

    def rates(self, history):
        """The schedule of the next epoch after `history`."""
        return after(self.rate, history)

    def update(self, flat, previous, gradient, memory, step: int, rate: float, scale: float = 1.0) -> None:
        """Take one step down the gradient; returns nothing.

        Parameters
        ----------
        flat : numpy.ndarray
            The parameters, 1-D (is modified).
        previous : numpy.ndarray
            Receives the parameters as they were (is modified); one of your own may leave it alone.
        gradient : numpy.ndarray
        memory : list of numpy.ndarray
            From `start` (is modified).
        step : int
            1 for the first update.
        rate : float
            Learning rate.
        scale : float
            What the gradient is multiplied by first, to clip it.  For an optimizer of your own that is done, and this is 1.

        Raises
        ------
        TypeError, DTypeError, ShapeError, LayoutError, ValueError
            Named after the argument, of the library's optimizers: if the vectors are not contiguous, of one length and dtype
            and apart from each other, or what is modified is read-only.  Nothing is changed then.
        """
        step = positive_integer("step", step)
        rate, scale = finite_number("rate", rate), finite_number("scale", scale)
        self._take(flat, previous, gradient, self._checked(flat, previous, gradient, memory), step, rate, scale)

    def _checked(self, flat, previous, gradient, memory):
        """`memory` with the vectors that tell parts apart, if kernels may be called with all of them."""
        _kept_vector("flat", flat)
        if flat.ndim != 1:
            raise ShapeError(f"flat: expected a vector, got shape {flat.shape}")
        if not isinstance(memory, (list, tuple)) or len(memory) < self.vectors:
            expected = f"a list of {self.vectors} vectors, from start"
            found = f"{len(memory)} of them" if isinstance(memory, (list, tuple)) else type(memory).__name__
            raise TypeError(f"memory: expected {expected}, got {found}")
        parts = memory.parts if isinstance(memory, Memory) else None
        if parts is None and self.is_own and self._tells_parts:
            raise TypeError(
                f"memory: expected the list that start returned, which says what decays, got {type(memory).__name__}; with"
                " decays='all' any list will do"
            )
        vectors = [*memory, *(parts or ())]
        arrays = {"flat": flat, "previous": previous, "gradient": gradient}
        arrays |= {f"memory[{index}]": vector for index, vector in enumerate(vectors)}
        for name, array in arrays.items():
            _kept_vector(name, array)
            if array.shape != flat.shape:
                raise ShapeError(f"{name}: expected shape {flat.shape} like flat, got {array.shape}")
            if array.dtype != flat.dtype:
                raise DTypeError(f"{name}: expected {flat.dtype} like flat, got {array.dtype}")
            expect_device(name, array, device_of(flat))
            if not array.flags.c_contiguous:
                raise LayoutError(f"{name}: expected a contiguous vector, got strides {array.strides}")
            if name != "gradient" and not is_writable(array):
                raise ValueError(f"{name}: expected a vector that may be written, got a read-only one")
        for (name, array), (other, near) in itertools.combinations(arrays.items(), 2):
            if share_memory(array, near):
                raise ValueError(f"{other}: expected memory of its own, got some that it shares with {name}")
        return vectors

    def _take(self, flat, previous, gradient, vectors, step, rate, scale):
        """`update` without its checks; vectors: the memory, then what `_of_parts` returns.

        Returns whether all parameters are finite then; None if the kernel does not say.
        """
        kernel, scalars = self._step(step, rate)
        backend = backend_of(flat)
        if len(vectors) > self.vectors:
            kernel += "_in_part"
        with np.errstate(over="ignore"):  # a rate that float32 does not hold is found by what it leaves
            scalars = np.array((scale, *scalars), flat.dtype)  # one conversion: small networks wait for it
        return getattr(backend.optimizers, kernel)(flat, previous, gradient, *vectors, *scalars)

    def _step(self, step, rate):
        """The kernel's name, and its scalars after the first."""
        raise NotImplementedError

    _tells_parts = False  # whether `_of_parts` returns any

    def _of_parts(self, flat, weights, known=None):
        """More vectors for a training's memory, like `flat`: they treat its parts, the `weights`, differently.

        known: all parts of the network, if these are not.
        """
        return []

    def _of_table(self, weight, known):
        """The optimizer of an embedding's table alone, `weight`, one of the `known` parts."""
        return self

    def rows(self, dtype):
        """How some rows of a table are updated, as if all were: a ``RowUpdates``; None if all rows have to be."""
        return None

    def row_updates(self, dtype):
        """`rows`, unless a subclass has changed how all parameters are updated and said nothing of rows."""
        return None if self._first("rows") > min(map(self._first, HOW_TO_UPDATE)) else self.rows(dtype)

    @property
    def _compared(self):
        """What ranks compare of it: of one of the user's, which may hold what its rank has, the name of its class."""
        return type(self).__name__ if self.is_own else self

    @property
    def is_own(self):
        """Whether `update` is not the library's."""
        return self._first("update") < type(self).__mro__.index(Optimizer)

    def _first(self, name):
        """Where among the optimizer and its classes, the most special first, `name` is defined."""
        if name in getattr(self, "__dict__", ()):
            return -1
        return next(index for index, kind in enumerate(type(self).__mro__) if name in vars(kind))


HOW_TO_UPDATE = ("start", "update", "vectors", "_step")


@dataclass(frozen=True)
class RowUpdates:
    """An optimizer's updates of some rows, see `cpu.row_optimizers`.

    Attributes
    ----------
    kernel : function
    constants : tuple of float
    scalars : function
        Of the step and the rate: what changes from step to step.
    moving : int or None
        After so many steps without a gradient what a row still moves rounds to nothing beside what it moved in the first of
        them; None if it never does.
    decays : bool
        Whether a row moves without ever having had a gradient.
    """

    kernel: Callable
    constants: tuple
    scalars: Callable
    moving: int | None
    decays: bool = False


def fading(ratio, dtype):
    """After how many multiplications with `ratio` the sum of all that follow is less than a rounding of 1."""
    if ratio == 0:
        return 0
    return None if ratio >= 1 else math.ceil(math.log(np.finfo(dtype).epsneg * (1 - ratio)) / math.log(ratio))


def _kept_vector(argument, array):
    """Raise a typed error unless kernels can read an array; no tensor of another library, since the optimizer keeps it."""
    if not is_array(array):
        raise TypeError(f"{argument}: expected a numpy.ndarray, got {type(array).__name__}")
    checked_array(argument, array)
