"""The loop over epochs and batches."""

import math
import time
from dataclasses import dataclass, field, fields

import numpy as np

from .callbacks import Callback
from .cpu.threads import Crew
from .descent import Descent
from .errors import NonFiniteError, positive_integer
from .losses import loss as find_loss
from .optimizers import optimizer as find_optimizer
from .progress import bar
from .samples import Room, Samples
from .schedules import checked_rate

KEPT_BYTES = 1 << 28  # workspaces kept for the next batch of their size, in all
OBJECT_BYTES = 1 << 16  # of a workspace, besides its arrays


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

    def as_dict(self) -> dict[str, list]:
        """The table of all epochs by column, as ``pandas.DataFrame(history.as_dict())`` takes it.

        ``epoch`` counts from 1.  Columns without any number, as ``validation`` without such data, are left out; one that is
        shorter than ``loss`` ends with NaN.

        Examples
        --------
        >>> import numbarnn as nr
        >>> nr.History(loss=[0.5, 0.25], rate=[0.1, 0.1]).as_dict()
        {'epoch': [1, 2], 'loss': [0.5, 0.25], 'rate': [0.1, 0.1]}
        """
        count = len(self.loss)
        columns = {field.name: list(getattr(self, field.name)) for field in fields(self)}
        table = {"epoch": list(range(1, count + 1)), "loss": columns.pop("loss")}
        return table | {
            name: (values + [math.nan] * (count - len(values)))[:count] for name, values in columns.items() if values
        }

    def __repr__(self):
        if not self.loss:
            return "History(no epochs)"
        last = f", validation {self.validation[-1]:.4g}" if self.validation else ""
        return f"History({len(self.loss)} epochs in {sum(self.seconds):.2f} s, loss {self.loss[-1]:.4g}{last})"


def batches(order, batch_size):
    """`order` in pieces of `batch_size`; the last may be smaller, none is dropped."""
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


class Workspaces:
    """A workspace and a room for each number of samples and of steps that batches have; the longest unused ones go.

    Batches whose samples differ in length have neither: what they take is made anew.

    Parameters
    ----------
    samples : Samples
    make : callable
        Returns a new workspace.
    """

    def __init__(self, samples, make):
        self.samples, self._make, self._anew = samples, make, make()
        self._size = self._anew.size
        self._lengths = samples.own_steps
        self._all = None if self._lengths is not None else samples.x.shape[samples.x_letters.index("t")]
        self._kept = {}  # {(samples, steps): (workspace, room, bytes)}, the longest unused first

    def _common_steps(self, chosen):
        """The steps of each of some samples; None if they differ, or are none."""
        if self._lengths is None:
            return self._all
        steps = self._lengths[chosen]
        first = int(steps[0])
        return first if first and (len(steps) == 1 or (steps == first).all()) else None

    def gradient(self, chosen, loss, random, crew):
        """The loss of some samples; its gradient is written where the workspaces write it."""
        steps = self._common_steps(chosen)
        if steps is None:
            samples = self.samples.take(chosen)
            crew.work(int(self._lengths[chosen].sum()) * self._size)
            return self._anew.gradient(samples, loss, random)
        crew.work(len(chosen) * steps * self._size)
        key = len(chosen), steps
        kept = self._kept.pop(key, None)
        workspace, room, _ = kept or (self._make(), Room(self.samples, *key), 0)
        value = workspace.gradient(room.take(chosen), loss, random)
        self._kept[key] = kept or (workspace, room, workspace.nbytes + room.nbytes + OBJECT_BYTES)
        if kept is None:
            self._let_go()
        return value

    def _let_go(self):
        """Forget the workspaces that were not used for longest, as far as there are too many bytes."""
        total = sum(nbytes for _, _, nbytes in self._kept.values())
        for key in list(self._kept)[:-1]:
            if total <= KEPT_BYTES:
                break
            total -= self._kept.pop(key)[2]


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
        held = Samples.of(network, *validation, loss=loss)
    callbacks = tuple(callbacks)
    for index, callback in enumerate(callbacks):
        if not callable(callback):
            raise TypeError(f"callbacks[{index}]: expected something to call, got {type(callback).__name__}")
    random = np.random.default_rng(seed)
    masks = np.random.default_rng(random.integers(2**63)) if network.random else None
    order = np.flatnonzero(samples.steps)  # a sample without steps has no loss
    if not len(order):
        raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
    updates = epochs * -(-len(order) // batch_size)
    descent = Descent(network, optimizer, updates)
    workspaces = Workspaces(
        samples, lambda: network._workspace(descent.into, None, tape, checkpoints, descent.reading)
    )
    steps, all_steps = samples.steps if samples.in_rows else None, int(samples.steps.sum())
    history = History()
    told = [callback for callback in callbacks if isinstance(callback, Callback)]
    for callback in told:
        callback.start(network)
    with bar(epochs, progress) as shown, descent:
        for epoch in range(1, epochs + 1):
            start, total, rate_of = time.perf_counter(), 0.0, optimizer.rates(history)
            if shuffle:
                random.shuffle(order)
            with Crew() as crew:
                for index, chosen in enumerate(batches(order, batch_size), 1):
                    value = workspaces.gradient(chosen, loss, masks, crew)
                    if not math.isfinite(value):
                        _stop(value, "loss", epoch, index, descent)
                    scale = 1.0
                    if clip is not None:
                        size = descent.norm()
                        if not math.isfinite(size):
                            _stop(size, "norm of the gradient", epoch, index, descent)
                        scale = min(1.0, clip / size) if size else 1.0
                    rate = rate_of(descent.step, updates)
                    descent.update(rate, scale)
                    total += value * (len(chosen) if steps is None else int(steps[chosen].sum()))
            descent.finish()
            if not np.isfinite(network.params.flat).all():
                _stop(math.nan, "a parameter", epoch, index, descent)
            history.loss.append(float(total / all_steps))
            history.rate.append(rate)
            if validation is not None:
                history.validation.append(network._loss_of(held, loss))
            history.seconds.append(time.perf_counter() - start)
            shown.advance(history)
            if any([callback(network, history) for callback in callbacks]):
                break
    for callback in told:
        callback.finish(network, history)
    return history


def _stop(value, what, epoch, batch, descent):
    """Raise NonFiniteError, with the last finite parameters in the network."""
    descent.restore()
    raise NonFiniteError(
        f"{what}: expected a finite number, got {value} at epoch {epoch}, batch {batch}; the network has the last finite"
        " parameters (a smaller learning rate or clip=1.0 may help)"
    )
