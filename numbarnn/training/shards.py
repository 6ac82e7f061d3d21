"""Which samples each rank takes in each update, and how their gradients become the gradient of the mean over all."""

import contextlib

import numpy as np

from ..errors import DeviceError, positive_integer
from .ranks import Ranks, checked_comm, part
from .sums import Sum, TreeSum, sum_by_pairs


def checked_shards(shards, size):
    """`shards` as an int, if so many ranks can share them by pairs, or None; else TypeError or ValueError."""
    if shards is None:
        return None
    shards = positive_integer("shards", shards)
    if shards & (shards - 1):
        raise ValueError(f"shards: expected a power of two, got {shards}")
    if size & (size - 1) or shards < size:
        most = f"a power of two and at most {shards}"
        raise ValueError(f"shards: expected a number of ranks that is {most}, got {size} ranks in comm")
    return shards


def sum_over(ranks, shards, vector):
    """The Sum of a gradient like a vector over so many ranks: by pairs where shards are counted, else as MPI sums."""
    return (Sum if shards is None else TreeSum)(ranks, len(vector), vector.dtype)


class Shard:
    """Some of the samples: what is drawn for them in an epoch depends on no other sample or epoch, nor on who draws it.

    Parameters
    ----------
    there : numpy.ndarray of int
        The samples.
    seeds : tuple of int
    shuffle, random : bool
        Whether an order and masks are drawn.
    """

    def __init__(self, there, seeds, shuffle, random):
        self._there, self._seeds, self._shuffle, self._random = there, seeds, shuffle, random
        self.order, self.masks, self.loss = there, None, 0.0

    def start(self, epoch):
        """An epoch, counted from 1: an order and masks of its own, and no loss yet."""
        orders, masks = np.random.SeedSequence((*self._seeds, epoch)).spawn(2)
        self.order = np.random.default_rng(orders).permutation(self._there) if self._shuffle else self._there
        self.masks = np.random.default_rng(masks) if self._random else None
        self.loss = 0.0


class Shards:
    """How the samples of all ranks are shared among the updates of an epoch.

    Every update takes the same part of each shard, `batch_size` samples in all; where a shard has no more, it adds nothing.
    The gradient of each shard's mean is weighted by the shard's share of the update, so that the sum is the gradient of the
    mean over all.

    Parameters
    ----------
    ranks : Ranks
    shards : int or None
        Of all ranks together, see `checked_shards`: their gradients are summed by pairs.  None: one a rank, and MPI sums.
    samples : Samples
        The samples of this rank.
    batch_size : int
    shuffle, random : bool
    seed : int
        The same on all ranks.
    summed : Sum
        Of the gradient, over the ranks, which it is told.

    Attributes
    ----------
    updates : int
        In an epoch.
    followed : bool
        Whether rank 0 is told the loss of each update, and may end the training then: set before the first epoch.
    gradient : numpy.ndarray
        (parameters,): where the gradient of a shard is written; after `take` it holds the gradient of the update.
    """

    def __init__(self, ranks, shards, samples, batch_size, shuffle, random, seed, summed):
        self.ranks, self._count, self._counts, self._batch_size = ranks, shards, samples.counts, batch_size
        self.followed, self._left = False, False  # whether updates are left in the epoch
        orders = [chosen[self._counts[chosen] > 0] for chosen in self._parts(samples, "x")]
        first = ranks.rank * len(orders)
        self._own = [Shard(order, (seed, first + i), shuffle, random) for i, order in enumerate(orders)]
        self._samples = sum(ranks.joined(map(len, orders)))
        self.updates = -(-self._samples // batch_size)
        summed.ranks, self._sum, self.gradient = ranks, summed, summed.vector
        self._waiting = [np.empty_like(self.gradient) for _ in range((len(orders) - 1).bit_length())]

    def _parts(self, samples, argument):
        """The samples of each of this rank's shards; ValueError if a rank has samples of another one's."""
        counts, size, shards = self.ranks.agree(samples.x.count), self.ranks.size, self._count
        if shards is None:
            return [np.arange(samples.x.count)]
        count = sum(counts)
        for rank, found in enumerate(counts):
            wanted = part(count, rank, size)
            if found != wanted.stop - wanted.start:
                expected = f"samples {wanted.start} to {wanted.stop - 1} of all {count} on rank {rank}, as numbarnn.own_part"
                raise ValueError(f"{argument}: expected {expected} gives them, for shards={shards}, got {found} samples")
        start, first, own = part(count, self.ranks.rank, size).start, self.ranks.rank * shards // size, shards // size
        parts = [part(count, index, shards) for index in range(first, first + own)]
        return [np.arange(each.start - start, each.stop - start) for each in parts]

    def epoch(self, number):
        """The updates of an epoch, counted from 1; updates from 0 on.

        Orders are drawn, and the ranks tell each other what the mean of each update is over.
        """
        for shard in self._own:
            shard.start(number)
        updates = range(self.updates)
        own = [np.array([self._counts[self._batch(shard, i)].sum() for i in updates]) for shard in self._own]
        with self.ranks.uninterrupted():
            self._totals = sum_by_pairs(self.ranks.joined(own))
            self._sum.meet_next()
        return range(self.updates)

    def _batch(self, shard, update):
        """The samples of a shard in an update, from 0 on."""
        count = len(shard.order)
        first, end = (min(count, i * self._batch_size * count // self._samples) for i in (update, update + 1))
        return shard.order[first:end]

    def take(self, update, gradient_of):
        """Write the gradient of an update's mean loss over all ranks into `gradient` (is modified).

        gradient_of: a function of samples and of a Generator for masks, or None, that writes the gradient of their mean loss
        into `gradient`, and returns the mean times the sum of its weights, which are what each sample counts.

        Returns, if updates are `followed`, (the mean loss of the update times the sum of its weights, this sum), over all
        ranks; else zeros.
        """
        total, losses = float(self._totals[update]), []
        for index, shard in enumerate(self._own):
            chosen = self._batch(shard, update)
            if len(chosen):
                losses.append(gradient_of(chosen, shard.masks))
                shard.loss += losses[-1]
                share = float(self._counts[chosen].sum()) / total
                if share != 1:
                    self.gradient *= self.gradient.dtype.type(share)
            else:
                losses.append(0.0)
                self.gradient.fill(0)
            self._add(index)
        last = update == self.updates - 1
        self._sum.take(last=last or self.followed)
        if not self.followed:
            return 0.0, 0
        self._left = not last
        return sum_by_pairs(self.ranks.joined(losses)), total

    def follow(self, ends):
        """Rank 0's answer whether an update, of which it was told the loss, ends the training; see `Ranks.follow`."""
        with self.ranks.uninterrupted():
            ends = self.ranks.follow(ends)
            if self._left and not ends:
                self._sum.meet_next()
        return ends

    def _add(self, index):
        """Sum by pairs: what the shard before this one has left is added, and so on for pairs of pairs."""
        level = 0
        while index >> level & 1:
            np.add(self._waiting[level], self.gradient, out=self.gradient)
            level += 1
        if level < len(self._waiting):
            np.copyto(self._waiting[level], self.gradient)

    def loss(self):
        """The mean loss of the epoch, over all ranks."""
        return sum_by_pairs(self.ranks.joined(shard.loss for shard in self._own)) / float(self._totals.sum())

    def measures(self, samples, argument):
        """The Measures of samples of which each rank has its part; argument: what errors call them."""
        parts = [samples] if self._count is None else [samples.take(chosen) for chosen in self._parts(samples, argument)]
        return Measures(self.ranks, samples, parts)


class Measures:
    """What is measured on samples of all ranks: means of the losses of parts, and metrics of all predictions together.

    Parameters
    ----------
    ranks : Ranks
    samples : Samples
        The samples of this rank.
    parts : list of Samples
        The same, by shard.
    """

    def __init__(self, ranks, samples, parts):
        self._ranks, self._samples, self._parts = ranks, samples, parts
        self._counts = [float(own.counts.sum()) if own.x.count else 0.0 for own in parts]
        self._total = sum_by_pairs(ranks.joined(self._counts))

    def __call__(self, network, loss, metrics=None):
        """(mean loss, {name: value of a metric}) of a network.

        For metrics rank 0 gets the predictions and targets of all ranks, in the order of the parts, which is the order of
        the samples: they are what one process finds of all of them.
        """
        kept, losses = [] if metrics else None, []
        for own, count in zip(self._parts, self._counts):
            value = network._loss_of(own, loss, kept=kept) if count or (metrics and own.seen) else 0.0
            losses.append(value * count if count else 0.0)
        mean, found = sum_by_pairs(self._ranks.joined(losses)) / self._total, {}
        if metrics:
            every = self._ranks.gathered(kept)
            if every is not None:
                found = network._measured_together(metrics, [seen for kept in every for seen in kept], self._samples)
            found = self._ranks.agree(found)[0]
        return mean, found


def shared_by(comm, shards, network):
    """(comm, None for a single rank; what a `Course` of the network is told of ranks and shards, None if it has neither)."""
    if comm is not None:
        checked_comm(comm)
    size = 1 if comm is None else comm.size
    shards = checked_shards(shards, size)
    if shards is None and size == 1:
        return None, None
    if network.device != "cpu":
        name = "comm" if shards is None else "shards"
        raise DeviceError(f"{name}: expected it for a network on 'cpu', got one on {network.device!r}")
    return comm if size > 1 else None, (size, shards)


def together(comm, shared):
    """A context manager around a training: its `Ranks`, None of one that is not shared; see `shared_by`."""
    return contextlib.nullcontext() if shared is None else Ranks(comm)
