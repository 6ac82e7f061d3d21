"""The loop over epochs and batches."""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from .errors import NonFiniteError, positive_integer
from .losses import loss as find_loss
from .optimizers import optimizer as find_optimizer
from .progress import bar
from .samples import Samples
from .schedules import checked_rate
from .targets import target


@dataclass
class History:
    """What happened in a training, one entry an epoch.

    Attributes
    ----------
    loss : list of float
        Mean loss over the samples, or over their steps where lengths differ, each taken before the update it caused.
    validation : list of float
        Loss on the validation data after the epoch; empty without such data.
    seconds : list of float
        Time of the epoch.
    rate : list of float
        Learning rate of the epoch's last update.
    """

    loss: list = field(default_factory=list)
    validation: list = field(default_factory=list)
    seconds: list = field(default_factory=list)
    rate: list = field(default_factory=list)

    def __repr__(self):
        if not self.loss:
            return "History(no epochs)"
        last = f", validation {self.validation[-1]:.4g}" if self.validation else ""
        return f"History({len(self.loss)} epochs in {sum(self.seconds):.2f} s, loss {self.loss[-1]:.4g}{last})"


def batches(order, batch_size):
    """`order` in pieces of `batch_size`; the last may be smaller, none is dropped."""
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def fit(
    network, samples, loss, optimizer, epochs, batch_size, shuffle, seed, clip, validation, callbacks, progress, tape,
    checkpoints,
):  # fmt: skip
    """Train `network` in place; see `Network.fit`."""
    loss, optimizer = find_loss(loss), find_optimizer(optimizer)
    epochs, batch_size = positive_integer("epochs", epochs), positive_integer("batch_size", batch_size)
    if clip is not None and checked_rate("clip", clip) == 0:
        raise ValueError("clip: expected a number > 0 or None, got 0")
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise TypeError(f"validation: expected the pair (x, y) or (x, y, lengths), got {type(validation).__name__}")
        Samples.of(network, *validation)
    callbacks = tuple(callbacks)
    random = np.random.default_rng(seed)
    masks = np.random.default_rng(random.integers(2**63)) if network.random else None
    order = np.flatnonzero(samples.steps)  # a sample without steps has no loss
    if not len(order):
        raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
    flat, gradient = network.params.flat, np.zeros_like(network.params.flat)
    norm = target(network.device).optimizers.norm
    parts = network.split(gradient)
    previous, memory = flat.copy(), optimizer.start(flat)
    workspaces = {}  # one for whole batches, and one for the last of an epoch, each with room for its samples
    updates, step = epochs * -(-len(order) // batch_size), 0
    history = History()
    with bar(epochs, progress) as shown:
        for epoch in range(1, epochs + 1):
            start, total = time.perf_counter(), 0.0
            if shuffle:
                random.shuffle(order)
            for index, chosen in enumerate(batches(order, batch_size), 1):
                where = f"epoch {epoch}, batch {index}"
                if len(chosen) not in workspaces:
                    room = samples.room(len(chosen))
                    workspaces[len(chosen)] = network.workspace(parts, None, tape, checkpoints), room
                workspace, room = workspaces[len(chosen)]
                value = workspace.gradient(samples.take(chosen, room), loss, masks)
                _check_finite(value, "loss", where, flat, previous)
                scale = 1.0
                if clip is not None:
                    size = norm(gradient)
                    _check_finite(size, "norm of the gradient", where, flat, previous)
                    scale = min(1.0, clip / size) if size else 1.0
                rate = optimizer.rate_at(step, updates)
                step += 1
                optimizer.update(flat, previous, gradient, memory, step, rate, scale)
                total += value * samples.steps[chosen].sum()
            if not np.isfinite(flat).all():
                _check_finite(math.nan, "a parameter", where, flat, previous)
            history.loss.append(float(total / samples.steps.sum()))
            history.rate.append(rate)
            if validation is not None:
                x, y, *lengths = validation
                history.validation.append(network.loss(x, y, loss, *lengths))
            history.seconds.append(time.perf_counter() - start)
            shown.advance(history.loss[-1])
            if any([callback(network, history) for callback in callbacks]):
                break
    return history


def _check_finite(value, what, where, flat, previous):
    """Raise NonFiniteError unless `value` is finite, with the last finite parameters in `flat` (may be modified)."""
    if math.isfinite(value):
        return
    if not np.isfinite(flat).all():
        flat[:] = previous
    raise NonFiniteError(
        f"{what}: expected a finite number, got {value} at {where}; the network has the last finite parameters"
        " (a smaller learning rate or clip=1.0 may help)"
    )
