"""Many networks of one structure, each trained from a seed of its own."""

import contextlib
import copy
import dataclasses
import warnings
from collections.abc import Callable, Iterable

import numpy as np

from .arrays.devices import moved
from .arrays.ragged import Ragged
from .ensemble import Ensemble
from .errors import NonFiniteError, ShapeError, checked_seeds, flag, known_name, several
from .layers.base import SCHEMES
from .layers.feedback import Feedback
from .layers.operations import NotInPrograms
from .network import Network
from .training.loop import check_samples, checked_samples, checked_settings, fit
from .training.losses import compared
from .training.losses import loss as find_loss
from .training.members import Member, can_be_trained, train
from .training.optimizer import Optimizer
from .training.optimizers import Adam, AdamW
from .training.optimizers import optimizer as find_optimizer
from .training.progress import bar
from .training.ranks import Ranks, checked_comm
from .training.samples import Samples
from .training.schedules import checked_rate, number_or_schedule
from .training.stopping import EarlyStopping

BOOTSTRAP = 1  # beside a seed: its draws differ from the draws of the initial parameters and of the order


def fit_many(
    network: Network,
    x: np.ndarray | Ragged | None = None,
    y: np.ndarray | Ragged | None = None,
    *,
    seeds: Iterable[int],
    loss: str | Callable = "mse",
    optimizer: str | Optimizer | None = None,
    rates: Iterable | None = None,
    decays: Iterable[float] | None = None,
    samples: Iterable[tuple] | None = None,
    bootstrap: bool = False,
    epochs: int = 10,
    batch_size: int = 32,
    shuffle: bool = True,
    clip: float | None = None,
    lengths: np.ndarray | None = None,
    weights: np.ndarray | Ragged | None = None,
    feedback: Feedback | None = None,
    validation: tuple | None = None,
    validations: Iterable[tuple] | None = None,
    stopping: EarlyStopping | None = None,
    scheme: str = "glorot",
    progress: bool = True,
    tape: str = "all",
    checkpoints: str | int | None = None,
    comm=None,
) -> Ensemble:
    """Train K networks of the structure of `network`, each from a seed of its own.

    Member k has, to the bit, the parameters and the losses that it would have alone, by ``Network(..., seed=seeds[k])`` and
    ``fit(..., seed=seeds[k])``.  `network` itself stays as it is.

    Parameters
    ----------
    network : Network
        Its layers, channels, dtype, layout and device are every member's.
    x, y : array, list, DataFrame or Ragged
        Samples and targets of all members, as in `Network.fit`.
    seeds : sequence of int
        One for each member, 0 or more: for its initial parameters, the order of its samples and its masks.  A seed may be
        there twice, with another rate for instance.
    loss : str or callable
    optimizer : Optimizer or str
        ``Adam()`` if None.
    rates : sequence of float or schedule, optional
        A learning rate for each member, in the place of the optimizer's.
    decays : sequence of float, optional
        A weight decay for each member, instead of the one of an `AdamW`.
    samples : sequence of (x, y), (x, y, lengths) or (x, y, lengths, weights), optional
        Samples of each member's own, in the place of x, y, `lengths` and `weights`.
    bootstrap : bool
        Each member is trained on as many samples as there are, N, drawn from them with replacement (Efron 1979,
        doi:10.1214/aos/1176344552): ``numpy.random.default_rng((seed, 1)).integers(N, size=N)``, in this order.
    epochs, batch_size, shuffle, clip, tape, checkpoints
        As in `Network.fit`.
    lengths : array of int, optional
        (N,): the steps of each sample in a padded x.
    weights : array or Ragged, optional
        A number for each sample or step, as in `Network.fit`.
    feedback : Feedback, optional
        Of all members, as in `Network.fit`: their inputs are made of what is given and of their own outputs, in validation
        too.  Where `forcing` has an axis of samples, a sample that `bootstrap` draws brings its own.
    validation : (x, y), (x, y, lengths) or (x, y, lengths, weights), optional
        Where a loss is measured after each epoch of each member.
    validations : sequence of (x, y), (x, y, lengths) or (x, y, lengths, weights), optional
        The same for each member, in the place of `validation`.
    stopping : EarlyStopping, optional
        Every member is stopped by a copy of it, for itself.
    scheme : {"glorot", "pytorch"}
        How initial parameters are drawn, as in `Network`.
    progress : bool
        Show how many members are trained.
    comm : mpi4py.MPI.Intracomm, optional
        The members are spread over the ranks of MPI.  Every rank calls this with the same arguments, trains its part of the
        members, and returns all of them.  Rank 0 alone shows progress, of its own part.

    Returns
    -------
    Ensemble

    Warns
    -----
    RuntimeWarning
        In the end, if numbers that were not finite have ended the training of some members, which it names.  They keep
        their last finite parameters, the others are trained nevertheless, and `Ensemble.finished` tells them apart.

    Raises
    ------
    NonFiniteError
        Before anything is trained, if there is a NaN or an infinity in samples or validation data.
    TypeError, ValueError, ShapeError
        For arguments as in `Network.fit`, if rates, decays, samples or validations are not as many as the seeds, and if
        a seed's bootstrap draws no sample that counts, before anything is trained.
    RankError
        If another rank has failed.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32) / 4), 5)
    >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1)
    >>> ensemble = nr.fit_many(net, x, y, seeds=range(3), rates=[0.01, 0.02, 0.03], epochs=5, progress=False)
    >>> ensemble.params.shape, len(ensemble.histories[0].loss)
    ((3, 89), 5)
    >>> alone = nr.Network(net.layers, channels=1, seed=2)
    >>> history = alone.fit(x, y, seed=2, optimizer=nr.Adam(0.03), epochs=5, progress=False)
    >>> np.array_equal(alone.params.flat, ensemble.params[2]), history.loss == ensemble.histories[2].loss
    (True, True)
    >>> found = ensemble.predict_many(x)
    >>> found.members.shape, found.mean.shape, found.spread.shape
    ((3, 55, 1), (55, 1), (55, 1))
    """
    if not isinstance(network, Network):
        raise TypeError(f"network: expected a Network, got {type(network).__name__}")
    seeds = checked_seeds(seeds)
    count, progress, bootstrap = len(seeds), flag("progress", progress), flag("bootstrap", bootstrap)
    epochs, batch_size, shuffle, clip = checked_settings(epochs, batch_size, shuffle, clip, tape, checkpoints)
    loss, scheme = find_loss(loss), known_name("scheme", scheme, SCHEMES)
    optimizers = _optimizers(Adam() if optimizer is None else find_optimizer(optimizer), rates, decays, count)
    if stopping is not None and not isinstance(stopping, EarlyStopping):
        raise TypeError(f"stopping: expected a numbarnn.EarlyStopping or None, got {type(stopping).__name__}")
    if samples is None and (x is None or y is None):
        raise TypeError(f"{'x' if x is None else 'y'}: expected it, or samples= of each member's own, got None")
    _check_alone("samples", samples, x=x, y=y, lengths=lengths, weights=weights)
    _check_alone("validations", validations, validation=validation)
    samples, validations = _each("samples", samples, count), _each("validations", validations, count)
    if feedback is not None:
        network._check_feedback(feedback)
    with Ranks(None if comm is None else checked_comm(comm)) as ranks:
        ranks.same(dict(
            network=network._structure, seeds=seeds, loss=compared(loss), epochs=epochs,
            optimizer=tuple(each._compared for each in optimizers),
            batch_size=batch_size, shuffle=shuffle, bootstrap=bootstrap, clip=clip, scheme=scheme,
            feedback=None if feedback is None else feedback._told,
        ))  # fmt: skip
        members = ranks.own(range(count))
        if samples is None:
            common = Samples.of(network, x, y, lengths, loss, weights, feedback=feedback)
            check_samples(common)
            samples = dict.fromkeys(members, common)
        else:
            samples = {k: checked_samples(network, samples[k], loss, f"samples[{k}]", feedback=feedback) for k in members}
        if validations is not None:
            held = {
                k: checked_samples(network, validations[k], loss, f"validations[{k}]", feedback=feedback) for k in members
            }
        else:
            common = validation
            if validation is not None:
                common = checked_samples(network, validation, loss, "validation", feedback=feedback)
            held = dict.fromkeys(members, common)
        orders = {k: _order(samples[k], k, seeds[k], bootstrap) for k in members}
        with bar(len(members), progress and ranks.rank == 0, "member") as shown:
            found = {}
            if can_be_trained(network, [*samples.values()], loss, [optimizers[k] for k in members], clip, tape, checkpoints):
                own = {k: Member(
                    network._drawn(seeds[k], scheme), samples[k], orders[k],
                    optimizers[k], seeds[k], held[k], [] if stopping is None else [copy.copy(stopping)],
                ) for k in members}  # fmt: skip
                with contextlib.suppress(NotInPrograms):
                    train([*own.values()], loss, epochs, batch_size, shuffle, clip, shown.advance)
                    found = {k: (m.network.params.flat, m.history, None) for k, m in own.items() if not m.failed}
            for k in members:
                if k not in found:
                    drawn = samples[k].take(orders[k]) if bootstrap else samples[k]
                    found[k] = _trained(
                        network._drawn(seeds[k], scheme), drawn, loss=loss, optimizer=optimizers[k], epochs=epochs,
                        batch_size=batch_size, shuffle=shuffle, seed=seeds[k], clip=clip, validation=held[k], tape=tape,
                        callbacks=[] if stopping is None else [copy.copy(stopping)], checkpoints=checkpoints,
                    )  # fmt: skip
                    shown.advance(found[k][1])
            found = [found[k] for k in members]
        params, histories, errors = zip(*ranks.joined(found))
    ensemble = Ensemble(network, seeds, np.stack(params), list(histories), errors)
    if ranks.rank == 0 and not ensemble.finished.all():
        first = int(np.argmin(ensemble.finished))
        names = ", ".join(map(str, np.flatnonzero(~ensemble.finished)))
        what = f"fit_many: {count - int(ensemble.finished.sum())} of {count} members ended early ({names}); member {first}: "
        warnings.warn(what + errors[first], RuntimeWarning, stacklevel=3)
    return ensemble


def _trained(member, samples, **training):
    """(parameters in the host's memory, history, what has ended the training early or None) of one member."""
    error = None
    try:
        fit(member, samples, **training)
    except NonFiniteError as failure:
        error = str(failure)
    return moved(member.params.flat, "cpu"), member.history, error


def _order(samples, member, seed, bootstrap):
    """Which samples a member has: as many as there are, drawn with replacement, or all."""
    count = samples.x.count
    if not bootstrap:
        return np.arange(count)
    order = np.random.default_rng((seed, BOOTSTRAP)).integers(count, size=count)
    if not samples.counts[order].any():
        raise ValueError(f"seeds[{member}]: expected one whose draws have a sample that counts, got {seed}")
    return order


def _each(argument, values, count):
    """A tuple of something for each member, or None; a typed error unless there are as many as seeds."""
    if values is None:
        return None
    expected = f"one for each of the {count} seeds"
    values = several(argument, values, f"{expected}, in a sequence")
    if len(values) != count:
        raise ShapeError(f"{argument}: expected {expected}, got {len(values)}")
    return values


def _check_alone(argument, values, **others):
    """Raise TypeError if an argument for each member is given beside one for all."""
    for name, value in others.items():
        if values is not None and value is not None:
            expected = f"None beside {argument}, which has each member's own"
            raise TypeError(f"{name}: expected {expected}, got {type(value).__name__}")


def _optimizers(optimizer, rates, decays, count):
    """The optimizer of each member."""
    rates, decays = _each("rates", rates, count), _each("decays", decays, count)
    if decays is not None and not isinstance(optimizer, AdamW):
        expected = "None, or an optimizer with weight decay, optimizer=nr.AdamW()"
        raise TypeError(f"decays: expected {expected}, got them beside {type(optimizer).__name__}")
    changes = [{} for _ in range(count)]
    for k, rate in enumerate(rates or ()):
        changes[k]["rate"] = number_or_schedule(f"rates[{k}]", rate)
    for k, decay in enumerate(decays or ()):
        changes[k]["decay"] = checked_rate(f"decays[{k}]", decay)
    return [_changed(optimizer, change) for change in changes]


def _changed(optimizer, changes):
    """A copy of an optimizer with other values of some attributes; of the library's, and of other dataclasses, checked."""
    if not changes:
        return optimizer
    if dataclasses.is_dataclass(optimizer):
        return dataclasses.replace(optimizer, **changes)
    other = copy.copy(optimizer)
    for name, value in changes.items():
        setattr(other, name, value)
    return other
