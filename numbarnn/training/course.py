"""The state of a training: all that one batch leaves to the next, and one epoch to the next."""

import math
from dataclasses import dataclass

import numpy as np

from ..engine import keep
from ..errors import NonFiniteError, positive_integer, several
from .history import History
from .patterns import matched
from .schedules import checked_rate, counts_updates, rate_at
from .shards import sum_over
from .splits import split_seed
from .updates import Updates


@dataclass(frozen=True)
class Place:
    """Where a run of epochs stands.

    Attributes
    ----------
    epoch : int
        The one that is being run, counted from 1 over all runs of the training.
    last : int
        The run's last epoch.
    batch : int
        Batches of the epoch that are done.
    total : float
        Their losses, each times what it is the mean of, summed.
    counted : float
        What `total` is the sum over.
    rate : float
        Learning rate of the last update.
    """

    epoch: int
    last: int
    batch: int = 0
    total: float = 0.0
    counted: float = 0.0
    rate: float = 0.0


def checked_clip(clip):
    """`clip` as a float, if the norm of a gradient can be limited to it, or None; else a typed error."""
    if clip is None:
        return None
    clip = checked_rate("clip", clip)
    if clip == 0:
        raise ValueError("clip: expected a number > 0 or None, got 0")
    return clip


class Course:
    """A network's training, which goes on from batch to batch; what an epoch is, `loop` knows.

    Parameters
    ----------
    network : Network
        Its parameters are modified.
    loss : callable
    optimizer : Optimizer
    random : numpy.random.Generator
        For the order of samples, and the seed of masks (is modified); what is held out follows from its seed.
    clip : float or None
        Largest Euclidean norm of the gradient.
    accumulate : int
        Batches whose gradients make one update.
    kept : tuple
        What the layers keep for the gradient: ``tape`` and ``checkpoints`` of their `forward`.
    metrics : dict of str to str or callable
        What is measured after an epoch besides the loss.
    frozen : sequence of str
        Names and patterns of parameters that keep their bits.
    epochs, most : int, optional
        Epochs and updates in all: how many there will be at most.
    shared : tuple, optional
        (how many ranks share the training, how many shards of samples or None); see `Shards`.  Shards draw their own masks.

    Attributes
    ----------
    split : int
        What draws the samples that are held out for validation.
    updates : Updates
    workspaces : Workspaces
        Where gradients are computed.
    history : History
    place : Place or None
        Where the run of epochs stands; None outside of one.
    order : numpy.ndarray or None
        The samples in the order of the last epoch, from which the next one's is drawn.
    carried : dict or None
        Of a training in pieces of long sequences, in the middle of a batch: the states in which the last piece has ended,
        see `Workspace.final`.
    summed, shards, seed
        Of a training that is shared: the `Sum` of its gradient, how many shards, what these draw from; else None.
    shard_states : list or None
        Of a training that is shared, in the middle of an epoch: the `Shard.state` with which each shard goes on.
    calls : Calls or None
        The callbacks of the run.
    feed_of : dict or None
        What the batches of the run depend on, see `Feed.depends`.
    resumed : tuple or None
        Of a course from a file that was saved in the middle of a run: (`feed_of`, the callbacks' states).
    """

    def __init__(
        self, network, loss, optimizer, random, clip, accumulate, kept, metrics, frozen, epochs=None, most=None,
        shared=None,
    ):  # fmt: skip
        keep.kept(*kept, 1)
        self.network, self.loss, self.optimizer, self.random = network, loss, optimizer, random
        self.clip, self.accumulate = checked_clip(clip), positive_integer("accumulate", accumulate)
        self.epochs = None if epochs is None else positive_integer("epochs", epochs)
        self.most = None if most is None else positive_integer("updates", most)
        self.kept, self.metrics = kept, metrics
        self.split = split_seed(random)
        self.summed = self.shards = self.seed = self.masks = None
        if shared is not None:
            self.shards, self.seed = shared[1], int(random.integers(2**63))
            self.summed = sum_over(*shared, network.params.flat)
        elif network.random:
            self.masks = np.random.default_rng(random.integers(2**63))
        if self.accumulate > 1 and self.summed is None:
            self._sum = np.zeros_like(network.params.flat)
        self.frozen = several("frozen", frozen, "names of parameters and patterns in a sequence")
        names = network.params.names
        self._still = matched("frozen", self.frozen, names)
        if len(self._still) == len(names):
            raise ValueError(f"frozen: expected parameters to be left that are trained, got all {len(names)} frozen")
        self.begin()
        self.history, self.place, self.order, self.carried, self.shard_states = History(), None, None, None, None
        self.calls, self.feed_of, self.resumed = None, None, None

    def begin(self):
        """No update has been taken, from the parameters that the network has now."""
        flat, gradient = self.network.params.flat, None if self.summed is None else self.summed.vector
        if self.accumulate > 1 and gradient is None:
            gradient = np.zeros_like(flat)
        self.updates = updates = Updates(self.network, self.optimizer, gradient, self._still)
        self.workspaces = self.network._workspaces(updates.into, self.network._own, self.kept, updates.reading)

    @property
    def is_begun(self):
        """Whether an epoch of a course from a file was begun when it was saved."""
        return self.place is not None and self.place.batch > 0

    def check_feed(self, feed):
        """Raise a typed error unless a feed can go on with the epoch that is begun, if any is."""
        before, now = self.resumed[0] if self.is_begun else None, feed.depends()
        for name in {} if before is None else {**before, **now}:
            if before.get(name) != now.get(name):
                expected = f"{before.get(name)} as in the epoch that is begun"
                raise ValueError(f"{name}: expected {expected}, got {now.get(name)}; resume=False begins a new one")
        if self.is_begun:
            feed.check_begun()

    def forget_run(self):
        """Forget the run in the middle of which a course was saved to a file."""
        self.place = self.resumed = self.carried = self.shard_states = None
        self.updates.go_on(False)

    def forget_callbacks(self):
        """Forget the callbacks of the run in the middle of which a course was saved to a file."""
        if self.resumed is not None:
            self.resumed = self.resumed[0], []

    def callback_states(self):
        """[(class, state)] of the callbacks of the run, as they will go on; [] outside of one."""
        return self.calls.states() if self.calls is not None else self.resumed[1] if self.resumed is not None else []

    def rates(self):
        """The schedule of the next epoch; TypeError if the optimizer's `rates` returns none."""
        rate_of = self.optimizer.rates(self.history)
        if not callable(rate_of):
            kind = type(self.optimizer).__name__
            raise TypeError(f"optimizer: expected {kind}.rates to return a schedule, got {type(rate_of).__name__}")
        return rate_of

    def updates_in_all(self, feed):
        """How many updates there are in all, as a schedule is told, while a run takes a feed; None if nobody knows."""
        if self.most is not None or feed.count is None:
            return self.most
        place, each = self.place, -(-feed.count // self.accumulate)
        last = max(place.last, self.epochs or 0)
        return self.updates.step - place.batch // self.accumulate + each * (last + 1 - place.epoch)

    def check_counted(self, rate_of, most):
        """Raise ValueError if a schedule asks how many updates there are, and nobody knows."""
        if most is None and counts_updates(rate_of):
            expected = "how many updates there will be in all, which the schedule of the learning rate asks"
            raise ValueError(f"updates: expected {expected}, got None; Trainer(updates=...) says so")

    def take(self, feed, group, rate_of, most, where):
        """One update by the gradient of the mean loss of a group of batches.

        Parameters
        ----------
        feed : Feed
            Whose batches they are.
        group : list
        rate_of : callable
            The schedule.
        most : int or None
            Updates that it is told there are.
        where : callable
            Says, of a batch of the group, counted from 0, where in the training it is.

        Returns
        -------
        (float, float, float)
            The losses, each times what it is the mean of, summed; that, summed; the learning rate.
        """

        def checked(index, value):
            if not math.isfinite(value):
                self._stop(f"loss: expected a finite number, got {value}", where(index), feed)
            return value

        updates, (total, counted) = self.updates, feed.take(group, checked)
        here, scale = where(len(group) - 1), 1.0
        if self.clip is not None:
            size = updates.norm()
            if not math.isfinite(size):
                self._stop(f"norm of the gradient: expected a finite number, got {size}", here, feed)
            scale = min(1.0, self.clip / size) if size else 1.0
        step = updates.step if most is None else min(updates.step, most)
        rate = rate_at(rate_of, step, most)
        if not updates.update(rate, scale):
            self._stop(updates.wrong, here, feed)
        return total, counted, rate

    def add(self, index, over, counted):
        """Add a batch's gradient, weighted by what its mean is over; after the last batch: the gradient of the mean."""
        gradient = self.updates.gradient
        gradient *= gradient.dtype.type(over)
        if index:
            self._sum += gradient
        else:
            self._sum[...] = gradient
        if counted is not None:
            gradient[...] = self._sum / gradient.dtype.type(counted or 1)

    def finish(self, where, feed):
        """The end of an epoch: all rows of an embedding are up to date, and what is remembered is finite."""
        self.updates.finish()
        if not self.updates.finite():
            self._stop(self.updates.wrong, where, feed)

    def _stop(self, found, where, feed):
        """Raise NonFiniteError; the parameters are finite, those before the update that has made numbers that are not."""
        if not self.updates.finite():  # what a GPU has done before may be known only now
            found = self.updates.wrong
        place, number = feed.not_finite()
        hint = "a smaller learning rate or clip=1.0 may help"
        if place:
            hint = f"y holds {number} at {place}, which the loss has not left out"
        raise NonFiniteError(f"{found} at {where}; the network has the last finite parameters ({hint})")
