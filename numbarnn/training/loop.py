"""The loop over epochs and batches."""

import contextlib
import functools
import math
import os
import threading
import time
import warnings
from dataclasses import replace

from ..arrays.devices import backend_of
from ..engine.keep import kept
from ..errors import NonFiniteError, arguments_of, flag, generator, positive_integer
from .callbacks import Calls, checked_callbacks
from .course import Course, Place
from .feeds import SampleFeed, ShardFeed, grouped
from .losses import is_of_library
from .optimizers import optimizer as find_optimizer
from .progress import bar
from .samples import Samples
from .schedules import checked_rate
from .shards import Shards

_trained = {}  # what trains the parameters that are being trained now, by process


@contextlib.contextmanager
def alone(network):
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


def checked_samples(network, given, loss, argument, empty=False):
    """The Samples that an argument is, or holds as (x, y), perhaps with lengths and weights, if they can be learned from.

    Else a typed error that names it.  empty: see `check_samples`.
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
        check_samples(samples, empty)
    return samples


def check_samples(samples, empty=False):
    """Raise a typed error unless there is something to learn from, and nothing that is not finite.

    A loss of one's own may leave out targets that are NaN.  empty: whether all weights may be 0 and all targets missing.
    """
    samples.check_counted(empty)
    samples.check_finite()
    samples.check_targets()


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
    network, samples, *, loss, optimizer, epochs, batch_size, shuffle, seed, clip=None, validation=None, callbacks=(),
    progress=False, tape="all", checkpoints=None, ranks=None, count=None,
):  # fmt: skip
    """Train `network` in place, from a state that is new; see `Network.fit`.

    ranks: None for a single one; count: of their shards, see `Shards`.
    """
    optimizer = find_optimizer(optimizer)
    epochs, batch_size, shuffle, clip = checked_settings(epochs, batch_size, shuffle, clip, tape, checkpoints)
    progress, random = flag("progress", progress), generator("seed", seed)
    callbacks = checked_callbacks(callbacks)
    check_samples(samples)
    held = None if validation is None else checked_samples(network, validation, loss, "validation")
    loss_of = functools.partial(network._loss_of, loss=loss)
    validated, shards, gradient = None if held is None else functools.partial(loss_of, held), None, None
    if ranks is not None:
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
        gradient = shards.gradient
        if held is not None:
            validated = functools.partial(shards.held_out(held), loss_of)
        callbacks, progress = (callbacks, progress) if ranks.rank == 0 else ((), False)
    with alone(network):
        if ranks is not None:
            ranks.share(network.params.flat)
        course = Course(network, loss, optimizer, random, clip, kept=(tape, checkpoints), gradient=gradient)
        feed = SampleFeed(course, samples, batch_size, shuffle) if shards is None else ShardFeed(course, samples, shards)
        return run(course, feed, Place(1, epochs), validated, callbacks, progress, ranks)


def run(course, feed, place, validated=None, callbacks=(), progress=False, ranks=None):
    """Take a course (is modified) through the epochs of a `Place`; returns its History.

    Parameters
    ----------
    course : Course
    feed : Feed
    place : Place
    validated : callable, optional
        Returns the loss that is measured after an epoch.
    callbacks : tuple of callable
    progress : bool
    ranks : Ranks, optional
    """
    network, history = course.network, course.history
    network._history = history
    with Calls(callbacks, network, history) as calls, bar(place.last + 1 - place.epoch, progress) as shown, course.updates:
        try:
            calls.start()
            course.place, ends = place, False
            while course.place.epoch <= course.place.last and not ends:
                _epoch(course, feed, validated)
                shown.advance(history)
                ends = _called(calls, network) if callbacks else False
                ends = ends if ranks is None else ranks.follow(ends)
        finally:
            course.place = None
            history._keep_whole_epochs()
    return history


def _epoch(course, feed, validated):
    """One epoch, or what is left of it (the course is modified)."""
    history, epoch = course.history, course.place.epoch
    start, rate_of, rate = time.perf_counter(), course.rates(), None
    most = course.updates_in_all(feed)
    course.check_counted(rate_of, most)
    for group in grouped(feed.epoch(epoch, course.place.batch), course.accumulate):
        place = course.place
        where = functools.partial(_where, epoch, place.batch + 1)
        total, counted, rate = course.take(feed, group, rate_of, most, where)
        course.place = replace(
            place, batch=place.batch + len(group), total=place.total + total, counted=place.counted + counted
        )
    place = course.place
    course.finish(_where(epoch, place.batch, 0), feed)
    if validated is not None:
        history.validation.append(validated())
        _say_if_not_finite(history.validation, epoch)
    history.loss.append(feed.loss(place.total, place.counted))
    history.rate.append(rate)
    history.seconds.append(time.perf_counter() - start)
    course.place = Place(epoch + 1, place.last)


def _where(epoch, batch, index):
    """In words, the place of a batch, `index` batches after one."""
    return f"epoch {epoch}, batch {batch + index}"


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
