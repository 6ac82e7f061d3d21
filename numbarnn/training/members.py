"""Networks of one structure trained side by side in compiled code, as far as that is made of the library's parts."""

import math
import time
from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from ..arrays.ieee import ieee
from ..cpu import epochs
from ..cpu.threads import most_threads
from ..layers.operations import NotInPrograms
from .callbacks import Calls
from .counts import Counts
from .history import History
from .losses.differences import DifferenceLoss
from .optimizers import SGD, Adam, AdamW, RAdam, RMSProp
from .ragged_workers import RaggedBatches
from .schedules import rate_at
from .workers import Batches, Worker, is_known, of_labels

MOST_WORK = 1 << 35  # multiplications between two returns to Python, about a second's
MOST_NUMBERS = 1 << 24  # of orders and outputs that are kept until then
MOST_SUMMED = 1 << 13  # numbers of a batch's loss that NumPy sums at once


class Member:
    """One of the networks, and all that its training needs.

    Parameters
    ----------
    network : Network
        Its parameters are modified.
    samples : Samples
    order : numpy.ndarray of int
        Which samples an epoch takes.
    optimizer : Optimizer
    seed : int
    held : Samples or None
        Where a loss is measured after each epoch.
    callbacks : list of callable
    """

    def __init__(self, network, samples, order, optimizer, seed, held, callbacks):
        self.network, self.samples, self.optimizer, self.held = network, samples, optimizer, held
        self.order = order[samples.counts[order] > 0]  # a sample that counts nothing is in no batch
        self.places, self.random = np.arange(len(self.order)), np.random.default_rng(seed)
        self.masks = np.random.default_rng(self.random.integers(2**63)) if network.random else None
        self.history = network._history = History()
        self.calls = Calls(callbacks, network, self.history)
        flat = network.params.flat
        self.memory = np.zeros(optimizer.vectors * len(flat), flat.dtype)
        self.going, self.failed = True, False

    def epoch_order(self, shuffle):
        """The samples of the next epoch, in order."""
        if shuffle:
            self.random.shuffle(self.places)
        return self.order[self.places]


def can_be_trained(network, samples, loss, optimizers, clip, tape, checkpoints):
    """Whether `train` knows all that a training is made of; of layers, it says so itself."""
    if not samples:  # a rank without members
        return False
    first = samples[0]
    if any(each.indices or each.reset is not None or each.feedback is not None for each in samples):
        return False
    shapes = {_shape(each) for each in samples}
    return (
        network.device == "cpu" and tape == "all" and checkpoints is None and is_known(loss)
        and len(shapes) == 1 and first.x.count > 0
        and (network.output_layout.endswith("c") or not getattr(loss, "several", False))
        and len({type(each) for each in optimizers}) == 1 and type(optimizers[0]) in (SGD, Adam, AdamW, RAdam, RMSProp)
    )  # fmt: skip


def _shape(samples):
    """What samples must have in common to be trained by one program."""
    parts = samples.x, samples.y
    longest = samples.lengths_of_x.max() if samples.x.ragged else None
    shapes = tuple((part.count, longest, part.array.channels) if part.ragged else part.array.shape for part in parts)
    return shapes, samples.ragged, samples.stepped, samples.classes


def _in_order(sequences):
    """Samples as (N, T, C), contiguous; T is 1 where there are no steps, and C where there are no channels.

    Of a Ragged there are zeros behind each sequence.
    """
    if sequences.ragged:
        array = sequences.array.padded()
        sequences = replace(sequences, array=array, letters="tnc"[: array.ndim])
    array, letters = sequences.array, [letter for letter in "ntc" if letter in sequences.letters]
    array = array.transpose([sequences.letters.index(letter) for letter in letters])
    for axis, letter in enumerate("ntc"):
        array = array if letter in letters else np.expand_dims(array, axis)
    return np.ascontiguousarray(array, np.int64 if array.dtype.kind in "iu" else None)


def train(members, loss, count, batch_size, shuffle, clip, done):
    """Train members (are modified) for so many epochs, or until their callbacks end it.

    One that comes to a number that is not finite is left as `failed`, with any numbers: what it would have come to is found
    by training it alone.  NotInPrograms, with nothing changed, if a layer cannot be trained like this.

    Parameters
    ----------
    members : list of Member
        Samples of one shape; optimizers of one kind.
    loss : callable
        One that `can_be_trained` knows.
    count : int
        Epochs.
    batch_size : int
    shuffle : bool
    clip : float or None
    done : callable
        Called with the history of each member that has come to its end.
    """
    first = members[0]
    network, optimizer, samples = first.network, first.optimizer, first.samples
    if len({len(member.order) for member in members}) > 1 or not len(first.order):
        raise NotInPrograms("members of more and of fewer samples that count")
    arrays, weighed = {}, any(member.samples.weighed for member in members) or getattr(loss, "smoothing", 0) > 0
    if samples.ragged and not samples.stepped and not all(member.samples.lengths_of_x.all() for member in members):
        raise NotInPrograms("samples without any step")
    weighed = weighed or (samples.ragged and samples.stepped)
    for member in members:  # each of the samples once, whoever shares them
        if id(member.samples) not in arrays:
            x, y, counts = _in_order(member.samples.x), _in_order(member.samples.y), None
            if weighed:
                counts = Counts(member.samples, y, _in_order, network.dtype)
                y = np.ascontiguousarray(counts.y)
            elif not of_labels(loss):  # two labels are numbers, 0 and 1
                y = y.astype(network.dtype, copy=False)
            arrays[id(member.samples)] = x, y, counts
    x, y, _ = arrays[id(samples)]
    order, flat = first.order, network.params.flat
    sizes = [min(batch_size, len(order) - start) for start in range(0, len(order), batch_size)]
    kinds = sorted(set(sizes), reverse=True)
    decays = optimizer._of_parts(flat, network.params.weights)
    options = decays[0] if decays else None, x, y, loss, optimizer, clip, weighed
    make = RaggedBatches if samples.ragged else Batches
    workers = [
        Worker(network, kinds, optimizer.vectors, *options, batches=make) for _ in range(min(most_threads(), len(members)))
    ]
    table = np.array([worker.record for worker in workers], epochs.WORKER)
    epoch_work = 6 * len(order) * x[0].size * max(1, len(flat))
    each = not any(m.calls.callbacks or m.held is not None or hasattr(m.optimizer.rate, "after") for m in members)
    batches = workers[0].batches
    epoch_bytes = sum(batches[kinds.index(size)].nbytes + batches[kinds.index(size)].mask_bytes for size in sizes)
    most = min(MOST_WORK // epoch_work, MOST_NUMBERS // (len(order) + epoch_bytes // flat.itemsize))  # epochs of a member
    group = min(len(members), max(len(workers), most))
    at_once = max(1, min(count, most // group)) if each else 1
    for member in members:
        member.calls.start()
    for start in range(0, count, at_once):
        run = [member for member in members if member.going]
        if not run:
            break
        for begin in range(0, len(run), group):
            _together(
                run[begin : begin + group], arrays, table, batches, kinds, sizes, loss, start, min(at_once, count - start),
                count, shuffle, done,
            )  # fmt: skip
    for member in members:
        if member.going:
            _end(member, done)


def _together(members, arrays, table, batches, kinds, sizes, loss, start, count, epochs_in_all, shuffle, done):
    """Take members through some epochs (are modified)."""
    began, updates, dtype = time.perf_counter(), len(sizes) * count, members[0].network.dtype
    which = np.array([kinds.index(size) for size in sizes] * count)
    output_bytes = np.array([batches[index].nbytes for index in which])
    outputs = np.zeros((len(members), int(output_bytes.sum()) // batches[0].dtype.itemsize), batches[0].dtype)
    mask_bytes = np.array([batches[index].mask_bytes for index in which])
    drawn = np.zeros((len(members), int(mask_bytes.sum())), np.uint8)
    ends, counts = np.cumsum(mask_bytes), [[None] * updates for _ in members]
    orders = np.array([np.concatenate([m.epoch_order(shuffle) for _ in range(count)]) for m in members])
    for k, (member, masks) in enumerate(zip(members, drawn)):
        own, sample = arrays[id(member.samples)][2], 0
        for update, (index, end) in enumerate(zip(which, ends) if mask_bytes.any() else ()):
            chosen = orders[k, sample : sample + batches[index].count]
            packing = batches[index].pack(chosen, member.samples.lengths_of_x)
            if own is not None:
                counts[k][update] = own.of(chosen, packing)
            batches[index].draw(member.masks, masks[end - batches[index].mask_bytes : end], counts[k][update])
            sample += batches[index].count
    wrong, known, scalars, rates = np.zeros(len(members), np.int64), {}, [], []
    for member in members:
        rate_of = member.optimizer.rates(member.history)
        key = id(member.optimizer), rate_of if isinstance(rate_of, Hashable) else id(rate_of)
        if key not in known:
            known[key] = _scalars(member.optimizer, rate_of, start * len(sizes), updates, epochs_in_all * len(sizes), dtype)
        scalars.append(known[key][0])
        rates.append(known[key][1])
    records = np.array([
        (
            member.network.params.flat.ctypes.data, member.memory.ctypes.data,
            *(array.ctypes.data for array in arrays[id(member.samples)][:2]), orders[k].ctypes.data,
            scalars[k].ctypes.data, outputs[k].ctypes.data, wrong[k:].ctypes.data,
            drawn[k].ctypes.data,
        )
        for k, member in enumerate(members)
    ], epochs.MEMBER)  # fmt: skip
    flat = members[0].network.params.flat
    epochs.train(table, records, which, flat.nbytes, members[0].memory.nbytes, output_bytes, mask_bytes, dtype)
    values = _losses(members, arrays, outputs, orders, batches, which, loss, counts)
    seconds = (time.perf_counter() - began) / (len(members) * count)
    for k, member in enumerate(members):
        finite = np.isfinite(values[k]).all() and np.isfinite(flat_of(member)).all() and np.isfinite(member.memory).all()
        if wrong[k] or not finite:
            member.going, member.failed = False, True
            continue
        counted = np.array([sizes] * count)
        if counts[k][0] is not None:
            edges = np.cumsum([0, *(batches[index].count for index in which)])
            own = member.samples.counts
            counted = np.array([own[orders[k, a:b]].sum() for a, b in zip(edges, edges[1:])]).reshape(count, -1)
        _finish(member, values[k].reshape(count, -1), counted, rates[k][len(sizes) - 1 :: len(sizes)], loss, seconds, done)


def flat_of(member):
    """The parameters of a member, 1-D."""
    return member.network.params.flat


def _finish(member, values, counted, rates, loss, seconds, done):
    """Write what an epoch, or several, have come to into a member's history, and ask its callbacks.

    values, counted : numpy.ndarray
        (epochs, updates): the loss of each batch, and what that is the mean of.
    """
    history = member.history
    for epoch, sizes, rate in zip(values, counted.tolist(), rates):
        total, all_sizes = 0.0, 0
        for value, size in zip(epoch.tolist(), sizes):
            total, all_sizes = total + value * size, all_sizes + size
        if member.held is not None:
            history.validation.append(member.network._loss_of(member.held, loss))
            if not math.isfinite(history.validation[-1]):  # the warning of it is given where it is trained alone
                member.going, member.failed = False, True
                return
        history.loss.append(total / all_sizes)
        history.rate.append(rate)
        history.seconds.append(seconds)
    if member.calls.callbacks and member.calls.epoch():
        _end(member, done)


def _end(member, done):
    """A member has come to its end: its callbacks are told."""
    member.going = False
    member.calls.__exit__(None, None, None)
    done(member.history)


def _scalars(optimizer, rate_of, first, count, most, dtype):
    """((updates, scalars) of an optimizer's kernel as it takes them, learning rates) from update `first` on."""
    rates = [rate_at(rate_of, update, most) for update in range(first, first + count)]
    table = np.zeros((count, epochs.SCALARS))
    with np.errstate(over="ignore"):
        rows = [(1.0, *optimizer._step(first + i + 1, rate)[1]) for i, rate in enumerate(rates)]
        rows = np.array(rows, dtype)
    table[:, : rows.shape[1]] = rows
    return table, rates


@ieee
def _losses(members, arrays, outputs, orders, batches, which, loss, counts):
    """(members, updates): the loss of each batch, from its outputs, as the loss computes it; where it overflows, inf.

    counts: for each of them, by member, what its targets count; None where all count the same.
    """
    found, at, sample = np.empty((len(members), len(which))), 0, 0
    for update, index in enumerate(which):
        shape, count = batches[index].shape, batches[index].count
        size = math.prod(shape)
        values = outputs[:, at : at + size].reshape(len(members), *shape)
        counted = None if counts[0][update] is None else [own[update] for own in counts]
        if counted is not None and counted[0].places is not None:
            of_members = zip(members, values, counted)
            found[:, update] = [_loss_of_rows(arrays[id(m.samples)][1], *each, loss) for m, *each in of_members]
        elif of_labels(loss):
            found[:, update] = _losses_of_labels(values, counted)
        else:
            chosen = orders[:, sample : sample + count]
            rows = [arrays[id(member.samples)][1][row] for member, row in zip(members, chosen)]
            target = np.stack(rows).swapaxes(1, 2)
            found[:, update] = _losses_of_numbers(values, target, loss, _axes(members[0]), counted)
        at, sample = at + size, sample + count
    return found


def _loss_of_rows(y, values, counted, loss):
    """The loss of a member's batch of sequences of different lengths; y: all its targets, (N, T, K)."""
    rows = len(counted.factors)
    if of_labels(loss):
        return _losses_of_labels(values[None, ..., :rows], [counted])[0]
    row, target = replace(counted, factors=counted.factors[None]), y[counted.places]
    return _losses_of_numbers(values[None, None, :rows], target[None, None], loss, range(4), [row])[0]


def _axes(member):
    """The order in which a loss sees the axes of its predictions, as indices of the axes (members, T, N, C)."""
    letters = "tnc" if member.samples.in_rows else member.network.output_layout
    order = [1 + "tnc".index(letter) for letter in letters]
    return [0, *(axis for axis in (1, 2, 3) if axis not in order), *order]


def _losses_of_numbers(prediction, target, loss, axes, counted):
    """The losses of (members, T, N, C) predictions and their targets."""
    if isinstance(loss, DifferenceLoss):
        values = loss.value(prediction - target)
    else:
        values = loss.terms(prediction.reshape(*target.shape, -1) if loss.several else prediction, target)[0]
    if counted is not None:
        factors = np.stack([own.factors for own in counted])
        values = np.where(factors != 0, values * factors, 0)
    values = np.ascontiguousarray(values.transpose(axes)).reshape(len(values), -1)
    return _sums(values) / (values.shape[1] if counted is None else [own.total for own in counted])


def _losses_of_labels(values, counted):
    """The losses of (members, rows), or of smoothed labels of (members, 2, rows): also of all classes."""
    if counted is None:
        return _sums(values) / values.shape[1]
    factors, rows = (np.stack([getattr(own, name) for own in counted]) for name in ("factors", "rows"))
    of_labels = values if values.ndim == 2 else values[:, 0]
    found = counted[0].kept * _sums(np.where(factors > 0, of_labels * factors, 0))
    if values.ndim == 3:
        found += _sums(values[:, 1] * rows)
    return found / [own.total for own in counted]


def _sums(values):
    """The sum of each row, as NumPy sums it alone."""
    if values.shape[1] <= MOST_SUMMED:
        return values.astype(np.float64).sum(axis=1)
    return np.array([np.sum(row, dtype=np.float64) for row in values])
