"""Optimizers: descriptions; what they remember is a list of vectors that `start` makes and `update` changes."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays.descriptor import checked_array, is_writable
from ..arrays.devices import backend_of, device_of, expect_device, share_memory
from ..cpu import row_optimizers as row_kernels
from ..descriptions.fields import make_plain, one_of
from ..errors import DTypeError, LayoutError, ShapeError, finite_number, known_name, positive_integer, takes
from .schedules import after, checked_rate, number_or_schedule


def _fraction(argument, value):
    """A number from 0 to less than 1, or a ValueError that names the argument."""
    number = checked_rate(argument, value)
    if number >= 1:
        raise ValueError(f"{argument}: expected a number in [0, 1), got {number}")
    return number


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
        checked_array("flat", flat)
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
            checked_array(name, array)
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

    def _of_parts(self, flat, weights):
        """More vectors for a training's memory, like `flat`: they treat its parts, the `weights`, differently."""
        return []

    def rows(self, dtype):
        """How some rows of a table are updated, as if all were: a `RowUpdates`; None if all rows have to be."""
        return None

    def row_updates(self, dtype):
        """`rows`, unless a subclass has changed how all parameters are updated and said nothing of rows."""
        return None if self._first("rows") > min(map(self._first, HOW_TO_UPDATE)) else self.rows(dtype)

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


def _fading(ratio, dtype):
    """After how many multiplications with `ratio` the sum of all that follow is less than a rounding of 1."""
    if ratio == 0:
        return 0
    return None if ratio >= 1 else math.ceil(math.log(np.finfo(dtype).epsneg * (1 - ratio)) / math.log(ratio))


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent: ``v = momentum v + g``, ``p -= rate v`` (Polyak 1964, doi:10.1016/0041-5553(64)90137-5).

    Parameters
    ----------
    rate : float or schedule
    momentum : float
        In [0, 1).
    nesterov : bool
        ``p -= rate (g + momentum v)`` instead (Sutskever et al. 2013).
    """

    rate: float | Callable = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    vectors = 1

    accepts: ClassVar = {"rate": number_or_schedule, "momentum": _fraction}

    def __post_init__(self):
        make_plain(self)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: expected a momentum > 0 with it, got momentum 0")

    def _step(self, step, rate):
        return "sgd", (rate, self.momentum, self.nesterov)

    def rows(self, dtype):
        constants = self.momentum, self.nesterov
        return RowUpdates(row_kernels.sgd, constants, lambda step, rate: (rate,), _fading(self.momentum, dtype))


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """``s = decay s + (1 - decay) g^2``, ``p -= rate g / (sqrt(s) + epsilon)`` (Hinton 2012, lecture 6e).

    Parameters
    ----------
    rate : float or schedule
    decay : float
        In [0, 1).
    epsilon : float
    """

    rate: float | Callable = 0.001
    decay: float = 0.99
    epsilon: float = 1e-8
    vectors = 1

    accepts: ClassVar = {"rate": number_or_schedule, "decay": _fraction, "epsilon": checked_rate}

    def __post_init__(self):
        make_plain(self)

    def _step(self, step, rate):
        return "rmsprop", (rate, self.decay, self.epsilon)

    def rows(self, dtype):
        return RowUpdates(row_kernels.rmsprop, (self.decay, self.epsilon), lambda step, rate: (rate,), 0)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1).

    Parameters
    ----------
    rate : float or schedule
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
    """

    rate: float | Callable = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    vectors = 2

    accepts: ClassVar = {
        "rate": number_or_schedule, "beta1": _fraction, "beta2": _fraction, "epsilon": checked_rate,
    }  # fmt: skip

    def __post_init__(self):
        make_plain(self)

    def _shrink(self, rate):
        """What parameters are multiplied by before a step: 1, since Adam has no weight decay."""
        return 1.0

    def _scalars(self, step, rate):
        """(rate with the mean's bias corrected, factor of the parameters, factor that corrects the root) of a step."""
        return rate / (1 - self.beta1**step), self._shrink(rate), 1 / math.sqrt(1 - self.beta2**step)

    def _step(self, step, rate):
        corrected, shrink, root = self._scalars(step, rate)
        return "adam", (corrected, shrink, self.beta1, self.beta2, root, self.epsilon)

    def rows(self, dtype):
        constants = self.beta1, self.beta2, self.epsilon
        # Without a gradient the mean falls by beta1 at each step, and the root of the square by that of beta2.
        ratio = self.beta1 / math.sqrt(self.beta2) if self.beta2 else 0 if self.beta1 == 0 else 1
        decays = self._shrink(1.0) != 1
        return RowUpdates(row_kernels.adam, constants, self._scalars, _fading(ratio, dtype), decays)


DECAYS = ("weights", "all")


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, ``p -= rate decay p`` besides (Loshchilov and Hutter 2019, arXiv:1711.05101).

    Only the matrices decay, which multiply inputs and states, tables of an `Embedding` among them.  Biases, the gains of a
    normalization, learned initial states and the values that each unit has of its own (peepholes, the recurrent weights
    of an IndRNN, rates of a LeakyRNN) do not, as is usual: a smaller one of these makes no simpler network.

    Parameters
    ----------
    rate, beta1, beta2, epsilon
        As in Adam.
    decay : float
        Weight decay.
    decays : {"weights", "all"}
        What decays: the matrices, or all parameters.  Where `update` is called without a training, the vector is all that
        is known of them, and all of it decays.
    """

    decay: float = 0.01
    decays: str = "weights"

    accepts: ClassVar = {"decay": checked_rate, "decays": one_of(DECAYS)}

    def _shrink(self, rate):
        """What parameters are multiplied by before a step: weight decay takes a part of each away."""
        return 1 - rate * self.decay

    @property
    def _tells_parts(self):
        """Whether weights decay and biases do not."""
        return self.decays != "all"

    def _of_parts(self, flat, weights):
        if self.decays == "all" or all(w.inputs is not None for w in weights):
            return []
        decays, at = np.zeros_like(flat), 0
        for weight in weights:
            if weight.inputs is not None:
                decays[at : at + weight.size] = 1
            at += weight.size
        return [decays]


OPTIMIZERS = {"sgd": SGD, "rmsprop": RMSProp, "adam": Adam, "adamw": AdamW}


def optimizer(choice):
    """`choice` itself if it is an optimizer; by name (``sgd``, ``rmsprop``, ``adam``, ``adamw``) with its defaults."""
    if isinstance(choice, type) and issubclass(choice, Optimizer):
        name = choice.__name__
        raise TypeError(f"optimizer: expected an optimizer or its name, got the class {name}; {name}() makes one")
    if not isinstance(choice, Optimizer):
        return OPTIMIZERS[known_name("optimizer", choice, OPTIMIZERS)]()
    kind = type(choice).__name__
    if choice.is_own:
        takes("optimizer", choice.update, "flat, previous, gradient, memory, step, rate, scale")
    elif choice._first("_step") == type(choice).__mro__.index(Optimizer):
        raise TypeError(f"optimizer: expected one that defines update, got {kind}")
    if choice.rate is None:
        raise TypeError(f"optimizer: expected an attribute rate, a number or a schedule, got {kind} without one")
    return choice
