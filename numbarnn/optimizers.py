"""Optimizers: descriptions; what they remember is a list of vectors that `start` makes and `update` changes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .cpu import row_optimizers as row_kernels
from .errors import known_name
from .schedules import after, checked_rate, schedule
from .targets import target_of


def _fraction(argument, value):
    number = checked_rate(argument, value)
    if number >= 1:
        raise ValueError(f"{argument}: expected a number in [0, 1), got {number}")


class Optimizer:
    """What every optimizer does."""

    vectors = 0  # vectors remembered, each as long as the parameters

    def start(self, flat):
        """The memory of a training that begins: vectors of zeros like `flat`."""
        return [np.zeros_like(flat) for _ in range(self.vectors)]

    def rates(self, history):
        """The schedule of the epoch after those of `history`."""
        return after(self.rate, history)

    def update(self, flat, previous, gradient, memory, step, rate, scale=1.0):
        """Take one step down the gradient.

        Parameters
        ----------
        flat : numpy.ndarray
            The parameters, 1-D (is modified).
        previous : numpy.ndarray
            Receives the parameters as they were (is modified).
        gradient : numpy.ndarray
        memory : list of numpy.ndarray
            From `start` (is modified).
        step : int
            1 for the first update.
        rate : float
            Learning rate.
        scale : float
            What the gradient is multiplied by first.
        """
        kernel, scalars = self._step(step, rate)
        target = target_of(flat)
        scalars = np.array((scale, *scalars), flat.dtype)  # one conversion: small networks wait for it
        with target.threads.launching():
            getattr(target.optimizers, kernel)(flat, previous, gradient, *memory, *scalars)

    def _step(self, step, rate):
        """The kernel's name, and its scalars after the first."""
        raise NotImplementedError

    def rows(self, dtype):
        """How some rows of a table are updated, as if all were: a `RowUpdates`."""
        raise NotImplementedError


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

    def __post_init__(self):
        schedule(self.rate)
        _fraction("momentum", self.momentum)

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

    def __post_init__(self):
        schedule(self.rate)
        _fraction("decay", self.decay)
        checked_rate("epsilon", self.epsilon)

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

    def __post_init__(self):
        schedule(self.rate)
        _fraction("beta1", self.beta1)
        _fraction("beta2", self.beta2)
        checked_rate("epsilon", self.epsilon)

    def _shrink(self, rate):
        return 1.0

    def _scalars(self, step, rate):
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


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, ``p -= rate decay p`` besides (Loshchilov and Hutter 2019, arXiv:1711.05101).

    Parameters
    ----------
    rate, beta1, beta2, epsilon
        As in Adam.
    decay : float
        Weight decay.
    """

    decay: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        checked_rate("decay", self.decay)

    def _shrink(self, rate):
        return 1 - rate * self.decay


OPTIMIZERS = {"sgd": SGD, "rmsprop": RMSProp, "adam": Adam, "adamw": AdamW}


def optimizer(choice):
    """`choice` itself if it is an optimizer; by name (``sgd``, ``rmsprop``, ``adam``, ``adamw``) with its defaults."""
    if isinstance(choice, Optimizer):
        return choice
    return OPTIMIZERS[known_name("optimizer", choice, OPTIMIZERS)]()
