"""The loop over epochs and batches."""

import contextlib
import functools
import math
import os
import threading
import time
import warnings
from dataclasses import dataclass, field, fields

import numpy as np

from ..arrays.devices import backend_of
from ..engine.keep import kept
from ..errors import NonFiniteError, arguments_of, flag, generator, positive_integer
from .callbacks import Calls, checked_callbacks
from .losses import is_of_library
from .optimizers import optimizer as find_optimizer
from .progress import bar
from .samples import Samples
from .schedules import checked_rate, rate_at
from .shards import Shards
from .updates import Updates
from .workspace import Workspace, Workspaces


@dataclass
class History:
    """What happened in a training, one entry for each whole epoch; ``network.history`` is the last training's.

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

    def _keep_whole_epochs(self):
        """Forget what belongs to an epoch that was not finished."""
        for values in (self.loss, self.rate, self.validation):
            del values[len(self.seconds) :]

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


_trained = {}  # what trains the parameters that are being trained now, by process


@contextlib.contextmanager
def _alone(network):
    """Refuse a second training of a network while one is running, in whatever thread or callback."""
    key, me = (os.getpid(), id(network.params.flat)), [threading.current_thread().name]
    try:
        there = _trained.setdefault(key, me)
        if there is not me:
            expected = "a network that is not being trained already; copy.deepcopy(network) can be"
            raise RuntimeError(f"fit: expected {expected}, got one that thread {there[0]!r} trains")
        yield
    finally:
        if _trained.get(key) is me:
            del _trained[key]


def checked_samples(network, given, loss, argument):
    """The Samples that an argument is, or holds as (x, y), perhaps with lengths and weights, if they can be learned from.

    Else a typed error that names it.
    """
    if isinstance(given, Samples):  # checked before
        return given
    expected = "the pair (x, y) or (x, y, lengths) or (x, y, lengths, weights)"
    if not isinstance(given, (tuple, list)):
        raise TypeError(f"{argument}: expected {expected}, got {type(given).__name__}")
    if len(given) not in (2, 3, 4):
        raise TypeError(f"{argument}: expected {expected}, got {len(given)} of them")
    with arguments_of(argument):
        samples = Samples.of(network, *given[:3], loss=loss, weights=given[3] if given[3:] else None)
        check_samples(samples)
    return samples


def check_samples(samples):
    """Raise a typed error unless there is something to learn from, and nothing that is not finite.

    A loss of one's own may leave out targets that are NaN.
    """
    samples.check_counted()
    samples.check_finite()
    samples.check_targets()


class _Epochs:
    """The updates of a training, an epoch at a time.  shards: a `Shards`, where the samples are spread; else None."""

    def __init__(
        self, network, samples, loss, optimizer, epochs, batch_size, order, masks, clip, tape, checkpoints, shards
    ):  # fmt: skip
        self.loss, self.optimizer, self.samples, self.masks, self.clip = loss, optimizer, samples, masks, clip
        self.order, self.batch_size, self.shards = order, batch_size, shards
        self.most = epochs * (-(-len(order) // batch_size) if shards is None else shards.updates)
        self.updates = updates = Updates(network, optimizer, self.most, None if shards is None else shards.gradient)
        self.workspaces = Workspaces(
            samples, lambda: Workspace(network, updates.into, network._own, tape, checkpoints, updates.reading)
        )
        self._counts = samples.counts

    def run(self, epoch, rate_of):
        """(loss, rate of the last update) of an epoch."""
        updates, total, shards = self.updates, 0.0, self.shards
        for batch, chosen in enumerate(batches(self.order, self.batch_size) if shards is None else shards.epoch(), 1):
            if shards is None:
                total += self._gradient(epoch, batch, chosen, self.masks)
            else:
                shards.take(chosen, functools.partial(self._gradient, epoch, batch))
            scale = 1.0
            if self.clip is not None:
                size = updates.norm()
                if not math.isfinite(size):
                    self._stop(f"norm of the gradient: expected a finite number, got {size}", epoch, batch)
                scale = min(1.0, self.clip / size) if size else 1.0
            rate = rate_at(rate_of, updates.step, self.most)
            if not updates.update(rate, scale):
                self._stop(updates.wrong, epoch, batch)
        updates.finish()
        if not updates.finite():
            self._stop(updates.wrong, epoch, batch)
        return total / float(self._counts.sum()) if shards is None else shards.loss(), rate

    def _gradient(self, epoch, batch, chosen, masks):
        """The mean loss of some samples, times what it is the mean of; the gradient of the mean is written."""
        value = self.workspaces.gradient(chosen, self.loss, masks)
        if not math.isfinite(value):
            self._stop(f"loss: expected a finite number, got {value}", epoch, batch)
        return value * float(self._counts[chosen].sum())

    def _stop(self, found, epoch, batch):
        """Raise NonFiniteError; the parameters are finite, those before the update that has made numbers that are not."""
        if not self.updates.finite():  # what a GPU has done before may be known only now
            found = self.updates.wrong
        place, number = ("", None) if is_of_library(self.loss) else self.samples.y.not_finite(self.samples.lengths)
        hint = "a smaller learning rate or clip=1.0 may help"
        if place:
            hint = f"y holds {number} at {place}, which the loss has not left out"
        raise NonFiniteError(f"{found} at epoch {epoch}, batch {batch}; the network has the last finite parameters ({hint})")


def checked_settings(epochs, batch_size, shuffle, clip, tape, checkpoints):
    """(epochs, batch_size, shuffle, clip) as plain values, if `fit` can be called with all of them; else a typed error."""
    epochs, batch_size = positive_integer("epochs", epochs), positive_integer("batch_size", batch_size)
    shuffle = flag("shuffle", shuffle)
    if clip is not None:
        clip = checked_rate("clip", clip)
        if clip == 0:
            raise ValueError("clip: expected a number > 0 or None, got 0")
    kept(tape, checkpoints, 1)
    return epochs, batch_size, shuffle, clip


def fit(
    network, samples, loss, optimizer, epochs, batch_size, shuffle, seed, clip, validation, callbacks, progress, tape,
    checkpoints, ranks=None, count=None,
):  # fmt: skip
    """Train `network` in place; see `Network.fit`.  ranks: None for a single one; count: of their shards, see `Shards`."""
    optimizer = find_optimizer(optimizer)
    epochs, batch_size, shuffle, clip = checked_settings(epochs, batch_size, shuffle, clip, tape, checkpoints)
    progress, random = flag("progress", progress), generator("seed", seed)
    callbacks = checked_callbacks(callbacks)
    check_samples(samples)
    held = None if validation is None else checked_samples(network, validation, loss, "validation")
    loss_of = functools.partial(network._loss_of, loss=loss)
    validated = functools.partial(loss_of, held)
    order, masks, shards = np.flatnonzero(samples.counts), None, None  # a sample that counts nothing has no loss
    if ranks is None:
        masks = np.random.default_rng(random.integers(2**63)) if network.random else None
    else:
        own = {} if is_of_library(loss) else {"loss": type(loss).__name__}  # one of the user's may hold what its rank has
        own |= {"optimizer": type(optimizer).__name__} if optimizer.is_own else {}
        values = dict(
            network=(network.layers, network.channels, network.dtype.name), loss=loss, optimizer=optimizer, epochs=epochs,
            batch_size=batch_size, shuffle=shuffle, clip=clip, shards=count, validation=held is not None,
            weights=samples.weights is not None,
        )  # fmt: skip
        ranks.same(values | own)
        flat, root = network.params.flat, ranks.agree(int(random.integers(2**63)))[0]
        shards = Shards(ranks, count, samples, batch_size, shuffle, network.random, root, len(flat), flat.dtype)
        if held is not None:
            validated = functools.partial(shards.held_out(held), loss_of)
        callbacks, progress = (callbacks, progress) if ranks.rank == 0 else ((), False)
    with _alone(network):
        if ranks is not None:
            ranks.share(network.params.flat)
        training = _Epochs(
            network, samples, loss, optimizer, epochs, batch_size, order, masks, clip, tape, checkpoints, shards
        )  # fmt: skip
        network._history = history = History()
        with Calls(callbacks, network, history) as calls, bar(epochs, progress) as shown, training.updates:
            try:
                calls.start()
                for epoch in range(1, epochs + 1):
                    start, rate_of = time.perf_counter(), optimizer.rates(history)
                    if not callable(rate_of):
                        expected = f"{type(optimizer).__name__}.rates to return a schedule"
                        raise TypeError(f"optimizer: expected {expected}, got {type(rate_of).__name__}")
                    if shuffle and shards is None:
                        random.shuffle(order)
                    value, rate = training.run(epoch, rate_of)
                    if held is not None:
                        history.validation.append(validated())
                        _say_if_not_finite(history.validation, epoch)
                    history.loss.append(value)
                    history.rate.append(rate)
                    history.seconds.append(time.perf_counter() - start)
                    shown.advance(history)
                    ends = _called(calls, network) if callbacks else False
                    if ends if ranks is None else ranks.follow(ends):
                        break
            finally:
                history._keep_whole_epochs()
    return history


def _say_if_not_finite(values, epoch):
    """Warn of the first validation loss that is not finite."""
    if not math.isfinite(values[-1]) and all(map(math.isfinite, values[:-1])):
        what = f"validation: the loss is {values[-1]} after epoch {epoch}, though parameters and data are finite"
        warnings.warn(what, RuntimeWarning, stacklevel=4)


def _called(calls, network):
    """Whether a callback ends the training.

    Raises
    ------
    NonFiniteError
        If one has made the parameters not finite; they are then as before.
    ValueError, ShapeError
        If one has made their vector read-only, or changed its shape in place.
    """
    flat = network.params.flat
    before, all_finite = flat.copy(), backend_of(flat).optimizers.all_finite
    ends = calls.epoch()
    network.params.check_writable("params")
    if not all_finite(flat):
        flat[:] = before
        raise NonFiniteError("callbacks: expected finite parameters after their call, got others; they are as before it")
    return ends
