"""The library's optimizers."""

import functools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..cpu import row_optimizers as row_kernels
from ..descriptions.fields import make_plain
from ..errors import known_name, several, takes
from .optimizer import Optimizer, RowUpdates, fading
from .patterns import matched
from .schedules import checked_rate, number_or_schedule


def _fraction(argument, value):
    """A number from 0 to less than 1, or a ValueError that names the argument."""
    number = checked_rate(argument, value)
    if number >= 1:
        raise ValueError(f"{argument}: expected a number in [0, 1), got {number}")
    return number


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
        return RowUpdates(row_kernels.sgd, constants, lambda step, rate: (rate,), fading(self.momentum, dtype))


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
        # Without a gradient the mean falls by beta1 at each step, and the root of the mean square by the root of beta2.
        ratio = self.beta1 / math.sqrt(self.beta2) if self.beta2 else 0 if self.beta1 == 0 else 1
        decays = self._shrink(1.0) != 1
        return RowUpdates(row_kernels.adam, constants, self._scalars, fading(ratio, dtype), decays)


DECAYS = ("weights", "all")


def _checked_decays(argument, value):
    """The check of what decays: one of two words, or patterns, which become a tuple."""
    if isinstance(value, str):
        return str(known_name(argument, value, DECAYS))
    patterns = several(argument, value, "'weights', 'all', or names and patterns in a list")
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(f"{argument}: expected 'weights', 'all', or names and patterns in a list, got {value!r}")
    return tuple(map(str, patterns))


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
    decays : {"weights", "all"} or sequence of str
        What decays: the matrices, all parameters, or the parameters with these names or patterns: ``["0.weight_*"]`` are the
        matrices of the first layer.  Where `update` is called without a training, the vector is all that is known of them,
        and all of it decays.
    """

    decay: float = 0.01
    decays: str | tuple = "weights"

    accepts: ClassVar = {"decay": checked_rate, "decays": _checked_decays}

    def _shrink(self, rate):
        """What parameters are multiplied by before a step: weight decay takes a part of each away."""
        return 1 - rate * self.decay

    @property
    def _tells_parts(self):
        """Whether weights decay and biases do not."""
        return self.decays != "all"

    def _decaying(self, known):
        """The names of the parts that decay."""
        if isinstance(self.decays, tuple):
            return matched("decays", self.decays, [weight.name for weight in known])
        return {weight.name for weight in known if self.decays == "all" or weight.inputs is not None}

    def _of_parts(self, flat, weights, known=None):
        decaying = self._decaying(known or weights)
        if all(weight.name in decaying for weight in weights):
            return []
        decays, at = np.zeros_like(flat), 0
        for weight in weights:
            if weight.name in decaying:
                decays[at : at + weight.size] = 1
            at += weight.size
        return [decays]

    def _of_table(self, weight, known):
        return self if weight.name in self._decaying(known) else replace(self, decay=0.0, decays="all")


@dataclass(frozen=True)
class RAdam(Adam):
    """Adam that waits until it knows the size of gradients (Liu et al. 2020, arXiv:1908.03265, algorithm 2).

    With ``r = 2 / (1 - beta2) - 1`` and ``r_t = r - 2 t beta2^t / (1 - beta2^t)``, the step is Adam's step times
    ``sqrt((r_t - 4) (r_t - 2) r / ((r - 4) (r - 2) r_t))`` where ``r_t > 5``, as in PyTorch; before it is ``rate`` times the
    mean gradient.

    Parameters
    ----------
    rate, beta1, beta2
        As in Adam.
    epsilon : float
        Added to the root of the mean square before its bias is corrected, as in PyTorch; greater than 0.
    """

    def __post_init__(self):
        super().__post_init__()
        if self.epsilon == 0:
            raise ValueError("epsilon: expected a number > 0, got 0")

    def _scalars(self, step, rate):
        last, power = 2 / (1 - self.beta2) - 1, self.beta2**step
        here, mean = last - 2 * step * power / (1 - power), rate / (1 - self.beta1**step)
        if here <= 5:  # the kernel divides by epsilon
            return mean * self.epsilon, 1.0, 0.0
        factor = (here - 4) * (here - 2) * last / ((last - 4) * (last - 2) * here)
        return mean * math.sqrt(factor * (1 - power)), 1.0, 1.0

    def rows(self, dtype):
        return replace(super().rows(dtype), moving=None)  # the factor grows: no step is sure to be small beside the first


@dataclass(frozen=True)
class Nadam(Adam):
    """Adam with Nesterov's momentum (Dozat 2016, section 3), whose momentum warms up as in PyTorch.

    ``mu_t = beta1 (1 - 0.96^(t warming) / 2)``, ``M_t`` the product of these up to t, and ``p -= rate ((1 - mu_t) g /
    (1 - M_t) + mu_(t+1) m / (1 - M_(t+1))) / (sqrt(v / (1 - beta2^t)) + epsilon)``.  It updates all rows of an `Embedding`
    at each step.

    Parameters
    ----------
    rate, beta1, beta2, epsilon
        As in Adam.
    warming : float
    """

    rate: float | Callable = 0.002
    warming: float = 0.004

    accepts: ClassVar = {"warming": checked_rate}

    def _step(self, step, rate):
        here, ahead = _momentum(self.beta1, self.warming, step), _momentum(self.beta1, self.warming, step + 1)
        product = _products(self.beta1, self.warming)(step)
        direct, corrected = rate * (1 - here) / (1 - product), rate * ahead / (1 - product * ahead)
        return "nadam", (direct, corrected, self.beta1, self.beta2, 1 / math.sqrt(1 - self.beta2**step), self.epsilon)

    def rows(self, dtype):
        return None


def _momentum(beta1, warming, step):
    """Nadam's momentum at a step."""
    return beta1 * (1 - 0.5 * 0.96 ** (step * warming))


@functools.cache
def _products(beta1, warming):
    """A function of a step: the product of Nadam's momenta up to it.  Each is computed once."""
    known, lock = [1.0], threading.Lock()

    def product(step):
        with lock:
            while len(known) <= step and known[-1] > 1e-30:  # 1 minus less is 1
                known.append(known[-1] * _momentum(beta1, warming, len(known)))
        return known[step] if step < len(known) else 0.0

    return product


OPTIMIZERS = {"sgd": SGD, "rmsprop": RMSProp, "adam": Adam, "adamw": AdamW, "radam": RAdam, "nadam": Nadam}


def optimizer(choice):
    """`choice` itself if it is an optimizer; by name, one of `OPTIMIZERS`, with its defaults."""
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
