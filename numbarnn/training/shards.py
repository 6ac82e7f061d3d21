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


def parts_of(ranks, shards, count, argument):
    """[numpy.ndarray of int]: which of this rank's samples, `count` of them, each of its shards has.

    shards: of all ranks together; None: one a rank.  ValueError, which names the argument that has the samples, if a rank
    has some of another one's.
    """
    counts, size = ranks.agree(count), ranks.size
    if shards is None:
        return [np.arange(count)]
    total = sum(counts)
    for rank, found in enumerate(counts):
        wanted = part(total, rank, size)
        if found != wanted.stop - wanted.start:
            expected = f"samples {wanted.start} to {wanted.stop - 1} of all {total} on rank {rank}, as numbarnn.own_part"
            raise ValueError(f"{argument}: expected {expected} gives them, for shards={shards}, got {found} samples")
    start, first, own = part(total, ranks.rank, size).start, ranks.rank * shards // size, shards // size
    parts = [part(total, index, shards) for index in range(first, first + own)]
    return [np.arange(each.start - start, each.stop - start) for each in parts]


def among(parts, chosen):
    """[numpy.ndarray of int]: where among chosen samples, whose numbers rise, the samples of each part are."""
    return [np.flatnonzero(np.isin(chosen, each)) for each in parts]


class Shard:
    """Some of the samples: what is drawn for them in an epoch depends on no other sample or epoch, nor on who draws it.

    Parameters
    ----------
    there : numpy.ndarray of int
        The samples.
    seeds : tuple of int
    shuffle, random : bool
        Whether an order and masks are drawn.

    Attributes
    ----------
    order : numpy.ndarray of int
        The samples in the order of the epoch.
    masks : numpy.random.Generator or None
    loss : float
        Of the epoch so far: the mean losses, each times the sum of its weights, summed.
    carried : dict or None
        In the middle of a batch in pieces: the states in which the last piece has ended, see `Workspace.final`.
    """

    def __init__(self, there, seeds, shuffle, random):
        self._there, self._seeds, self._shuffle, self._random = there, seeds, shuffle, random
        self.order, self.masks, self.loss, self.carried = there, None, 0.0, None

    def start(self, epoch):
        """An epoch, counted from 1: an order and masks of its own, and no loss yet."""
        orders, masks = np.random.SeedSequence((*self._seeds, epoch)).spawn(2)
        self.order = np.random.default_rng(orders).permutation(self._there) if self._shuffle else self._there
        self.masks = np.random.default_rng(masks) if self._random else None
        self.loss, self.carried = 0.0, None

    @property
    def state(self):
        """(`loss`, the state of what draws masks or None, `carried`): what an epoch that is begun goes on with."""
        return self.loss, None if self.masks is None else self.masks.bit_generator.state, self.carried

    def restore(self, state):
        """Go on in the middle of an epoch, after `start`."""
        self.loss, masks, self.carried = state
        if self.masks is not None:
            self.masks.bit_generator.state = masks


class Shards:
    """How the samples of all ranks are shared among the updates of an epoch.

    Every batch takes the same part of each shard, `batch_size` samples in all; where a shard has no more, it adds nothing.
    The gradient of each shard's mean is weighted by the shard's share of the update, so that the sum is the gradient of the
    mean over all.

    Parameters
    ----------
    ranks : Ranks
    shards : int or None
        Of all ranks together, see `checked_shards`: their gradients are summed by pairs.  None: one a rank, and MPI sums.
    samples : Samples
        The samples of this rank.
    parts : list of numpy.ndarray of int
        Which of them each of its shards has, see `parts_of`.
    batch_size : int
    shuffle, random : bool
    seed : int
        The same on all ranks.
    summed : Sum
        Of the gradient, over the ranks, which it is told.
    accumulate : int
        Batches of an update: each shard adds up their gradients, before the ranks meet.
    steps : int or None
        Of the pieces in which batches are trained: all shards take the same pieces, each with states of its own.

    Attributes
    ----------
    count : int or None
        Batches, or pieces of them, in an epoch; None if it depends on which samples are together.
    counts : numpy.ndarray
        (N,): what the loss of each sample counts in a mean.
    followed : bool
        Whether rank 0 is told of each update, and may end the training, or save it, then: set before the first epoch.
    states : list or None
        If updates are followed: the `Shard.state` of all shards of all ranks, after the last one.
    gradient : numpy.ndarray
        (parameters,): where the gradient of a shard is written; after `take` it holds the gradient of the update.
    """

    def __init__(
        self, ranks, shards, samples, parts, batch_size, shuffle, random, seed, summed, accumulate=1, steps=None
    ):  # fmt: skip
        self.ranks, self._count, self._samples, self._batch_size = ranks, shards, samples, batch_size
        self.counts = samples.counts if samples.x.count else np.zeros(0)
        self.followed, self._left, self.states = False, False, None  # _left: whether updates are left in the epoch
        self._shuffle, self._steps, self._random = shuffle, steps, random
        orders = [chosen[self.counts[chosen] > 0] for chosen in parts]
        self._first = ranks.rank * len(orders)
        self._own = [Shard(order, (seed, self._first + i), shuffle, random) for i, order in enumerate(orders)]
        self._all = sum(ranks.joined(map(len, orders)))
        self._batches = -(-self._all // batch_size)
        self._told = f"{self._all} samples that count"
        self.count = self._counted()
        summed.ranks, self._sum, self.gradient = ranks, summed, summed.vector
        self._waiting = [np.empty_like(self.gradient) for _ in range((len(orders) - 1).bit_length())]
        self._added = np.empty_like(self.gradient) if accumulate > 1 else None

    def _counted(self):
        """How many takes an epoch has, the same on all ranks; None if that depends on the order."""
        if self._steps is None:
            return self._batches
        lengths = [self._samples.lengths_of_x[shard.order] for shard in self._own]
        known = set(self.ranks.joined(np.unique(np.concatenate(lengths)).tolist()))
        self._told += f" of {sum(self.ranks.joined(int(each.sum()) for each in lengths))} steps in all"
        return len(self._all_takes()) if len(known) == 1 or self._batches == 1 or not self._shuffle else None

    def depends(self):
        """What the updates of an epoch depend on, by the names of arguments, see `Feed.depends`."""
        size = self.ranks.size
        found = {"comm": f"{size} rank{'s' * (size > 1)}"} if self._count is None else {}
        found |= {"batch_size": self._batch_size, "shuffle": self._shuffle, "x": self._told}
        return found if self._steps is None else found | {"steps": self._steps}

    def check_states(self, states):
        """Raise ValueError unless there are states of all shards, with which an epoch that is begun goes on."""
        wanted = self.ranks.size if self._count is None else self._count
        if states is None or len(states) != wanted or any((masks is not None) != self._random for _, masks, _ in states):
            found = "none" if states is None else f"{len(states)}"
            expected = f"those of {wanted}, in which the update before has ended"
            raise ValueError(f"states of shards: expected {expected}, got {found}; resume=False begins a new epoch")

    def epoch(self, number, done=0, states=None):
        """The batches of an epoch, counted from 1, or the pieces of them, by numbers from `done` on: so many are done.

        Orders are drawn, and the ranks tell each other what the mean of each is over.  states: those of all shards after
        what is done.
        """
        for index, shard in enumerate(self._own):
            shard.start(number)
            if done:
                shard.restore(states[self._first + index])
        self._takes = self._all_takes()
        own = [np.array([self._counted_in(shard, *take) for take in self._takes]) for shard in self._own]
        with self.ranks.uninterrupted():
            self._totals = sum_by_pairs(self.ranks.joined(own))
            if done < len(self._takes):
                self._sum.meet_next()
        return range(done, len(self._takes))

    def _all_takes(self):
        """[(batch, span)]: span: None of whole samples, or (begin, end) of a piece, up to the longest sample's end."""
        batches, steps = range(self._batches), self._steps
        if steps is None:
            return [(batch, None) for batch in batches]
        lengths = self._samples.lengths_of_x
        longest = [[int(lengths[self._batch(shard, i)].max(initial=0)) for i in batches] for shard in self._own]
        ends = [max(each) for each in zip(*self.ranks.joined(longest))]
        return [
            (batch, (first, min(first + steps, end))) for batch, end in enumerate(ends) for first in range(0, end, steps)
        ]

    def _batch(self, shard, batch):
        """The samples of a shard in a batch, from 0 on."""
        count = len(shard.order)
        first, end = (min(count, i * self._batch_size * count // self._all) for i in (batch, batch + 1))
        return shard.order[first:end]

    def _chosen(self, shard, batch, span):
        """The samples of a shard in a batch; of a piece in which none of them has a step, none."""
        chosen = self._batch(shard, batch)
        over = span is not None and len(chosen) and self._samples.lengths_of_x[chosen].max() <= span[0]
        return chosen[:0] if over else chosen

    def _counted_in(self, shard, batch, span):
        """The sum of the weights in a shard's mean loss over a batch, or over a piece of one."""
        chosen = self._chosen(shard, batch, span)
        if span is None or not len(chosen):
            return float(self.counts[chosen].sum())
        return self._samples.count_between(chosen, *span)

    def take(self, group, gradient_of):
        """Write the gradient of the mean loss of a group of batches, one update of all ranks, into `gradient` (is modified).

        gradient_of: a function of a `Shard`, the index of a batch in the group, samples, and (begin, end) of a piece or
        None, that writes the gradient of their mean loss into `gradient`, and returns (the mean times the sum of its
        weights, this sum); the weights are what each sample counts.

        Returns, if updates are `followed`, (the mean loss of the update times the sum of its weights, this sum), over all
        ranks; else zeros.
        """
        total, losses = float(self._totals[group[0] : group[-1] + 1].sum()), []
        for index, shard in enumerate(self._own):
            losses.append(self._gradient(shard, group, total, gradient_of))
            shard.loss += losses[-1]
            self._add(index)
        last = group[-1] == len(self._takes) - 1
        self._sum.take(last=last or self.followed)
        if not self.followed:
            return 0.0, 0
        self._left = not last
        losses, self.states = zip(*self.ranks.joined(zip(losses, (shard.state for shard in self._own))))
        return sum_by_pairs(list(losses)), total

    def _gradient(self, shard, group, total, gradient_of):
        """Write what a shard adds to the gradient of an update into `gradient` (is modified); returns its loss."""
        loss, begun = 0.0, False
        for index, take in enumerate(group):
            batch, span = self._takes[take]
            chosen = self._chosen(shard, batch, span)
            if not len(chosen):
                continue
            value, over = gradient_of(shard, index, chosen, span)
            loss += value
            share = over / total if total else 0.0
            if share != 1:
                self.gradient *= self.gradient.dtype.type(share)
            if len(group) > 1:
                np.add(self._added if begun else 0, self.gradient, out=self._added)
            begun = True
        if not begun:
            self.gradient.fill(0)
        elif len(group) > 1:
            np.copyto(self.gradient, self._added)
        return loss

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

    def measures(self, samples, parts):
        """The Measures of samples of which each rank has some; parts: which of them each of its shards has."""
        return Measures(self.ranks, samples, [samples] if self._count is None else [samples.take(each) for each in parts])


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
