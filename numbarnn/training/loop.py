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
from ..errors import NonFiniteError, arguments_of, flag, generator, known_name, positive_integer
from .callbacks import Calls, checked_callbacks, follows_updates
from .course import Course, Place, checked_clip
from .feeds import grouped
from .optimizers import optimizer as find_optimizer
from .pieces import checked_steps, feed_of
from .progress import bar
from .samples import Samples
from .shard_feeds import ShardFeed
from .shards import Shards, among, parts_of
from .splits import WAYS, held_out

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


def checked_samples(network, given, loss, argument, empty=False, **fed):
    """The Samples that an argument is, or holds as (x, y) and perhaps more, if they can be learned from.

    Else a typed error that names it.  empty: see `check_samples`; fed: a `feedback` of the samples of a network.
    """
    if isinstance(given, Samples):  # checked before
        return given
    expected = "the pair (x, y) or (x, y, lengths) or (x, y, lengths, weights) or (x, y, lengths, weights, reset)"
    if not isinstance(given, (tuple, list)):
        raise TypeError(f"{argument}: expected {expected}, got {type(given).__name__}")
    if len(given) not in (2, 3, 4, 5):
        raise TypeError(f"{argument}: expected {expected}, got {len(given)} of them")
    with arguments_of(argument):
        x, y, lengths, weights, reset = [*given, None, None, None][:5]
        samples = network._samples(x, y, lengths, loss, weights, reset, **fed)
        check_samples(samples, empty)
    return samples


def check_samples(samples, empty=False):
    """Raise a typed error unless there is something to learn from, nothing that is not finite, and no negative span.

    A loss of one's own may leave out targets that are NaN.  empty: whether nothing may count: all weights are 0, all labels
    ignored, all targets missing.
    """
    samples.check_counted(empty)
    samples.check_finite()
    samples.check_spans()
    samples.check_targets()


def checked_settings(epochs, batch_size, shuffle, clip, tape, checkpoints):
    """(epochs, batch_size, shuffle, clip) as plain values, if `fit` can be called with all of them; else a typed error."""
    epochs, batch_size = positive_integer("epochs", epochs), positive_integer("batch_size", batch_size)
    shuffle, clip = flag("shuffle", shuffle), checked_clip(clip)
    kept(tape, checkpoints, 1)
    return epochs, batch_size, shuffle, clip


def fit(
    network, samples, *, loss, optimizer, epochs, batch_size, shuffle, seed, clip=None, validation=None, callbacks=(),
    progress=False, metrics=(), frozen=(), validation_split=None,
    split_by="sample", tape="all", checkpoints=None, shared=None, ranks=None, carry=False, steps=None,
):  # fmt: skip
    """Train `network` in place, from a state that is new; see `Network.fit`.

    shared, ranks: of a training that ranks share, see `Course` and `train`.
    """
    optimizer = find_optimizer(optimizer)
    epochs, batch_size, shuffle, clip = checked_settings(epochs, batch_size, shuffle, clip, tape, checkpoints)
    progress, random, callbacks = flag("progress", progress), generator("seed", seed), checked_callbacks(callbacks)
    steps = checked_steps(network, carry, steps, samples)
    check_samples(samples)
    metrics = network._found_metrics(metrics, samples)
    course = Course(network, loss, optimizer, random, clip, 1, (tape, checkpoints), metrics, frozen, shared=shared)
    held = validation, validation_split, split_by
    return train(
        course, Place(1, epochs), samples, batch_size, shuffle, held, callbacks, progress, ranks=ranks, steps=steps
    )  # fmt: skip


def train(
    course, place, samples, batch_size, shuffle, held=(None, None, "sample"), callbacks=(), progress=False, feed=None,
    resume=False, ranks=None, steps=None,
):  # fmt: skip
    """Take a course (is modified) through the epochs of a `Place`; returns its History.

    Parameters
    ----------
    course : Course
    place : Place
    samples : Samples or None
        What is trained on; None with batches of a feed.
    batch_size : int
    shuffle : bool
    held : tuple
        ``validation``, ``validation_split`` and ``split_by`` of `Network.fit`.
    callbacks : tuple of callable
    progress : bool
    feed : Feed, optional
        In the place of samples.
    resume : bool
        Go on with the run in which the course was saved.
    ranks : Ranks, optional
        Those that share the training.
    steps : int, optional
        Of the pieces in which samples are trained, see `PieceFeed`.
    """
    network, loss = course.network, course.loss
    if ranks is not None:
        ranks.same(dict(validation_split=held[1], split_by=held[2]))
        course.split = ranks.agree(course.split)[0]
    every = samples
    samples, held, which = with_held(course, samples, *held, ranks)
    network._found_metrics(course.metrics, samples)
    if samples is None and held is None and course.metrics:
        expected = "validation data, on which the metrics are measured beside batches of your own"
        raise TypeError(f"validation: expected {expected}, got None")
    validated, shards = validating(network, held, loss, course.metrics), None
    if ranks is not None:
        for each, cut in ((samples, steps is not None), (held, False)):
            if each is not None:
                each.check_shared(cut)
        _check_same(ranks, course, place, samples, held, batch_size, shuffle, steps)
        course.seed = ranks.agree(course.seed)[0]
        parts = parts_of(ranks, course.shards, every.x.count, "x")
        parts, of_held = (parts, None) if which is None else (among(parts, each) for each in which)
        shards = Shards(
            ranks, course.shards, samples, parts, batch_size, shuffle, network.random, course.seed, course.summed,
            course.accumulate, steps,
        )  # fmt: skip
        measures = shards.measures(samples, parts) if course.metrics else None
        if held is not None:
            of_held = of_held or parts_of(ranks, course.shards, held.x.count, "validation")
            validated = functools.partial(shards.measures(held, of_held), network, loss, course.metrics)
        shards.followed = ranks.agree(any(map(follows_updates, callbacks)))[0]
        if ranks.rank:
            callbacks, progress = (), False
            course.forget_callbacks()
    if place.epoch > place.last and not resume:
        return course.history
    with alone(network):
        if not resume:
            course.forget_run()
        if ranks is not None:
            ranks.share(network.params.flat)
            if course.updates.step == 0:
                course.begin()
            feed = ShardFeed(course, samples, shards, measures)
        elif feed is None:
            feed = feed_of(course, samples, batch_size, shuffle, steps)
        course.check_feed(feed)
        course.updates.check_usable()
        return run(course, feed, place, validated, callbacks, progress, ranks)


def _check_same(ranks, course, place, samples, held, batch_size, shuffle, steps):
    """Raise ValueError, on every rank, unless what must be the same on all of them is."""
    network = course.network
    ranks.same(dict(
        network=network._structure, loss=network._compared_loss(course.loss), optimizer=course.optimizer._compared,
        epochs=place.last + 1 - place.epoch, batch_size=batch_size, shuffle=shuffle, clip=course.clip, shards=course.shards,
        validation=held is not None, weights=samples.weights is not None, reset=samples.reset is not None,
        feedback=samples.feedback is not None,
        accumulate=course.accumulate, steps=steps,
        frozen=course.frozen, updates=course.updates.step, metrics=tuple(course.metrics),
        lengths=bool(course.metrics) and getattr(samples, "in_rows", None),
    ))  # fmt: skip


def with_held(course, samples, validation, part, way, ranks=None):
    """(samples to train on, samples to validate with or None, which ones these are), from validation data or a part.

    Which ones: two vectors of numbers, see `held_out`; None where no samples are held out.
    """
    network, loss, way = course.network, course.loss, known_name("split_by", way, WAYS)
    if part is None:
        if way != WAYS[0]:
            raise ValueError(f"split_by: expected {WAYS[0]!r} without validation_split, got {way!r}")
        fed = {} if samples is None or samples.feedback is None else {"feedback": samples.feedback}
        return samples, None if validation is None else checked_samples(network, validation, loss, "validation", **fed), None
    if validation is not None or samples is None:
        beside = "validation" if validation is not None else "batches of your own"
        raise ValueError(f"validation_split: expected None beside {beside}, got {part!r}")
    samples, held, which = held_out(samples, part, way, course.split, ranks)
    _check_part(samples, ranks)
    with arguments_of("validation"):
        _check_part(held, ranks)
    return samples, held, which


def _check_part(samples, ranks):
    """Raise as `check_samples` for a part of samples, of which one of several ranks may have nothing that counts."""
    if ranks is None or ranks.size == 1:
        return check_samples(samples)
    if samples.seen:
        check_samples(samples, empty=True)
    if not any(ranks.agree(bool(samples.seen and samples.counts.any()))):
        raise ValueError("y: expected at least one target that counts on some rank, got none")


def validating(network, held, loss, metrics):
    """A function that returns (loss, {metric: value}) of the network on validation data; None without any.

    Raises as `checked_metrics` if a metric cannot be measured there.
    """
    if held is None:
        return None
    network._found_metrics(metrics, held)
    return functools.partial(network._loss_of, held, loss, metrics)


def run(course, feed, place, validated=None, callbacks=(), progress=False, ranks=None):
    """Take a course (is modified) through the epochs of a `Place`; returns its History.

    Parameters
    ----------
    course : Course
    feed : Feed
    place : Place
    validated : callable, optional
        What is measured on validation data after an epoch, see `validating`.
    callbacks : tuple of callable
    progress : bool
    ranks : Ranks, optional
    """
    network, history, left = course.network, course.history, max(0, place.last + 1 - place.epoch)
    network._history, course.place, course.feed_of = history, place, feed.depends()
    with Calls(callbacks, network, history, course) as calls, bar(left, progress) as shown, course.updates:
        try:
            course.updates.go_on(course.is_begun)
            course.calls = calls
            calls.start()
            course.resumed = None
            while course.place.epoch <= course.place.last:
                if not _epoch(course, feed, validated, calls):
                    break
                shown.advance(history)
                ends = _called(network, calls.epoch) if callbacks else False
                _end(course, calls, True, ends if ranks is None else ranks.follow(ends))
        finally:
            course.place = course.calls = course.feed_of = course.resumed = course.carried = None
            course.shard_states = None
            history._keep_whole_epochs()
    return history


def _end(course, calls, whole, ends):
    """An update, or an epoch if that is `whole`, has come to its end, and with it the run if that `ends`."""
    if ends:
        course.place = replace(course.place, last=course.place.epoch - 1)
    calls.keep(whole, course.place.epoch > course.place.last)


def _epoch(course, feed, validated, calls):
    """One epoch, or what is left of it (the course is modified); returns whether it is whole: a callback may end it."""
    network, history, epoch, watched = course.network, course.history, course.place.epoch, calls.of_batches
    start, rate_of = time.perf_counter(), course.rates()
    most = course.updates_in_all(feed)
    course.check_counted(rate_of, most)
    for group in grouped(feed.epoch(epoch, course.place.batch), course.accumulate):
        place = course.place
        where = functools.partial(_where, epoch, place.batch + 1)
        total, counted, rate = course.take(feed, group, rate_of, most, where)
        course.place = Place(epoch, place.last, place.batch + len(group), place.total + total, place.counted + counted, rate)
        ends = bool(watched) and _called(network, calls.batch, total / counted if counted else 0.0)
        ends = feed.followed(ends)
        if ends or calls.keep_updates:
            _end(course, calls, False, ends)
        if ends:
            return False
    place = course.place
    course.finish(_where(epoch, place.batch, 0), feed)
    validation, of_validation = (None, {}) if validated is None else validated()
    history._measured(validation, feed.measured() if course.metrics else {}, of_validation)
    if validation is not None:
        _say_if_not_finite(history.validation, epoch)
    history.loss.append(feed.loss(place.total, place.counted))
    history.rate.append(place.rate)
    history.seconds.append(time.perf_counter() - start)
    course.place, course.shard_states = Place(epoch + 1, place.last), None
    return True


def _where(epoch, batch, index):
    """In words, the place of a batch, `index` batches after one."""
    return f"epoch {epoch}, batch {batch + index}"


def _say_if_not_finite(values, epoch):
    """Warn of the first validation loss that is not finite."""
    if not math.isfinite(values[-1]) and all(map(math.isfinite, values[:-1])):
        what = f"validation: the loss is {values[-1]} after epoch {epoch}, though parameters and data are finite"
        warnings.warn(what, RuntimeWarning, stacklevel=4)


def _called(network, call, *arguments):
    """Whether a callback ends the training; `call` calls them all.

    Raises
    ------
    NonFiniteError
        If one has made the parameters not finite; they are then as before.
    ValueError, ShapeError
        If one has made their vector read-only, or changed its shape in place.
    """
    flat = network.params.flat
    before, all_finite = flat.copy(), backend_of(flat).optimizers.all_finite
    ends = call(*arguments)
    network.params.check_writable("params")
    if not all_finite(flat):
        flat[:] = before
        raise NonFiniteError("callbacks: expected finite parameters after their call, got others; they are as before it")
    return ends
