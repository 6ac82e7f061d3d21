"""The loop over epochs and batches."""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from .descent import Descent
from .errors import NonFiniteError, positive_integer
from .losses import loss as find_loss
from .optimizers import optimizer as find_optimizer
from .progress import bar
from .samples import Samples
from .schedules import checked_rate


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
        Samples.of(network, *validation, loss=loss)
    callbacks = tuple(callbacks)
    random = np.random.default_rng(seed)
    masks = np.random.default_rng(random.integers(2**63)) if network.random else None
    order = np.flatnonzero(samples.steps)  # a sample without steps has no loss
    if not len(order):
        raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
    workspaces = {}  # one for whole batches, and one for the last of an epoch, each with room for its samples
    updates = epochs * -(-len(order) // batch_size)
    descent, counts = Descent(network, optimizer, updates), samples.steps
    history = History()
    with bar(epochs, progress) as shown, descent:
        for epoch in range(1, epochs + 1):
            start, total = time.perf_counter(), 0.0
            if shuffle:
                random.shuffle(order)
            for index, chosen in enumerate(batches(order, batch_size), 1):
                where = f"epoch {epoch}, batch {index}"
                if len(chosen) not in workspaces:
                    room = samples.room(len(chosen))
                    workspaces[len(chosen)] = (
                        network.workspace(descent.into, None, tape, checkpoints, descent.reading), room
                    )  # fmt: skip
                workspace, room = workspaces[len(chosen)]
                value = workspace.gradient(samples.take(chosen, room), loss, masks)
                _check_finite(value, "loss", where, descent)
                scale = 1.0
                if clip is not None:
                    size = descent.norm()
                    _check_finite(size, "norm of the gradient", where, descent)
                    scale = min(1.0, clip / size) if size else 1.0
                rate = optimizer.rate_at(descent.step, updates)
                descent.update(rate, scale)
                total += value * counts[chosen].sum()
            descent.finish()
            if not np.isfinite(network.params.flat).all():
                _check_finite(math.nan, "a parameter", where, descent)
            history.loss.append(float(total / counts.sum()))
            history.rate.append(rate)
            if validation is not None:
                x, y, *lengths = validation
                history.validation.append(network.loss(x, y, loss, *lengths))
            history.seconds.append(time.perf_counter() - start)
            shown.advance(history.loss[-1])
            if any([callback(network, history) for callback in callbacks]):
                break
    return history


def _check_finite(value, what, where, descent):
    """Raise NonFiniteError unless `value` is finite, with the last finite parameters in the network."""
    if math.isfinite(value):
        return
    descent.restore()
    raise NonFiniteError(
        f"{what}: expected a finite number, got {value} at {where}; the network has the last finite parameters"
        " (a smaller learning rate or clip=1.0 may help)"
    )
