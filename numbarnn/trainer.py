"""What a training is made of, in the open: a network, its loss and optimizer, and all that they remember."""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from .arrays.devices import backend, expect_finite, native
from .arrays.ragged import Ragged
from .descriptions.fields import Unsendable
from .errors import DeviceError, flag, generator, positive_integer
from .files.container import read_file
from .files.written import Reading
from .graph import Graph
from .layers.feedback import Feedback
from .loading import network_of
from .network import Network
from .networks.placing import home_of
from .training.callbacks import checked_callbacks
from .training.checkpoints import newest
from .training.course import Course, Place
from .training.feeds import GivenFeed
from .training.history import History
from .training.loop import alone, check_samples, checked_samples, train
from .training.optimizer import Optimizer
from .training.optimizers import Adam
from .training.optimizers import optimizer as find_optimizer
from .training.pieces import checked_steps
from .training.ranks import checked_comm
from .training.saved import restored, save
from .training.shards import shared_by, together


class NotGiven:
    """An argument that was left out, where None is one that was given."""

    def __repr__(self):
        return "not given"


NOT_GIVEN = NotGiven()


class Trainer(Unsendable):
    """A training that goes on: a network, its loss and optimizer, what the optimizer remembers, where the schedule is.

    `Network.fit` trains likewise, and forgets what it was made of.  A trainer trains any number of times: two epochs are one
    epoch and another one, to the bit.

    A schedule of the learning rate is told how many updates there are in all.  ``updates`` says so, or ``epochs``; with
    neither, each `fit` tells it of the updates until its own end, as in `Network.fit`.  So the second half of a training in
    two halves has the same rates as in one piece only with ``epochs`` or ``updates``, or with a rate that does not ask (a
    number, `reduce_on_plateau`).  After the last update the rate stays as it is then.

    Parameters
    ----------
    network : Network or Graph
        Its parameters are trained in place.  They may be changed between two calls.
    loss : str or callable
        As in `Network.fit`, or in `Graph.fit`, whose inputs and targets are the x and y of what is below.
    optimizer : Optimizer or str
        ``Adam()`` if None.
    epochs : int, optional
        Epochs in all: where `fit` ends that is not told how many to take.
    updates : int, optional
        Updates in all, as a schedule is told them.
    clip : float, optional
        Largest Euclidean norm of the gradient; a longer one is scaled down to it.
    accumulate : int
        Batches of which the gradient of the mean makes one update: the memory of one, and the update of a batch so many
        times as large (to rounding).  All rows of an `Embedding` are then updated each time.
    metrics, frozen
        As in `Network.fit`.
    seed : int or numpy.random.Generator
        For the order of samples, for masks, and for what `validation_split` holds out.
    tape, checkpoints
        How much memory the recurrent layers keep for the gradient, as in their ``forward``.
    comm, shards
        Ranks of MPI that train the network together, and parts of the samples whose gradients are summed in one order: as in
        `Network.fit`; see :doc:`/mpi`.

    Attributes
    ----------
    network : Network
    history : History
        Of all whole epochs so far.
    step : int
        Updates so far.

    Raises
    ------
    TypeError, ValueError, NonFiniteError
        If an argument is not as described, or a parameter is not finite.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32) / 4), 5)
    >>> def network():
    ...     return nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    >>> trainer = nr.Trainer(network(), optimizer=nr.Adam(nr.cosine(0.01)), epochs=3)
    >>> history = trainer.fit(x, y, epochs=2, progress=False)
    >>> history = trainer.fit(x, y, progress=False)  # the one that is left
    >>> whole = network()
    >>> history = whole.fit(x, y, optimizer=nr.Adam(nr.cosine(0.01)), epochs=3, progress=False)
    >>> np.array_equal(trainer.network.params.flat, whole.params.flat), trainer.history.loss == history.loss
    (True, True)
    """

    instead = "save and load make another one"

    def __init__(
        self,
        network: Network | Graph,
        loss: str | Callable | dict = "mse",
        optimizer: str | Optimizer | None = None,
        epochs: int | None = None,
        updates: int | None = None,
        clip: float | None = None,
        accumulate: int = 1,
        metrics: Iterable = (),
        frozen: Iterable[str] = (),
        seed: int = 0,
        tape: str = "all",
        checkpoints: str | int | None = None,
        comm=None,
        shards: int | None = None,
    ):
        if not isinstance(network, (Network, Graph)):
            raise TypeError(f"network: expected a Network or a Graph, got {type(network).__name__}")
        loss, optimizer = network._found_loss(loss), Adam() if optimizer is None else find_optimizer(optimizer)
        accumulate, random = positive_integer("accumulate", accumulate), generator("seed", seed)
        network.params.check_writable("params")
        network.params.check_finite()
        self._comm, shared = shared_by(comm, shards, network)
        self._course = Course(
            network, loss, optimizer, random, clip, accumulate, (tape, checkpoints), network._found_metrics(metrics, None),
            frozen, epochs, updates, shared,
        )  # fmt: skip

    @property
    def network(self) -> Network | Graph:
        """The network, or the graph, that is trained."""
        return self._course.network

    @property
    def history(self) -> History:
        """What has happened in all whole epochs so far."""
        return self._course.history

    @property
    def step(self) -> int:
        """Updates so far."""
        return self._course.updates.step

    def fit(
        self,
        x: np.ndarray | Ragged | Iterable | Callable,
        y: np.ndarray | Ragged | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        lengths: np.ndarray | None = None,
        validation: tuple | None = None,
        callbacks: Iterable[Callable] = (),
        progress: bool = True,
        weights: np.ndarray | Ragged | None = None,
        resume: bool = True,
        reset: np.ndarray | None = None,
        validation_split: float | None = None,
        split_by: str = "sample",
        carry: bool = False,
        steps: int | None = None,
        feedback: Feedback | dict | None = None,
    ) -> History:
        """Train on samples and their targets, or on batches of your own, for some more epochs.

        Parameters
        ----------
        x, y : array, list, DataFrame or Ragged
            Samples and targets, as in `Network.fit`.  Without y, x are the batches of an epoch: something to iterate over
            for each epoch that gives ``(x, y)``, ``(x, y, lengths)``, ``(x, y, lengths, weights)`` or
            ``(x, y, lengths, weights, reset)``, or a function of the epoch, counted from 1, that returns such a thing.  A
            generator has the batches of one epoch.
        epochs : int, optional
            How many more, one that is begun among them.  None: those that are left of the run that a checkpoint has stopped
            in, else of the trainer's ``epochs``; 10 if there are none.
        batch_size, shuffle, lengths, validation, validation_split, split_by, callbacks, progress, weights, reset
            As in `Network.fit`.  Batches of your own are taken as they are.
        carry, steps
            As in `Network.fit`.  `update` carries states between batches of your own.
        feedback : Feedback or dict, optional
            As in `Network.fit` or `Graph.fit`; of batches of your own for each of them.
        resume : bool
            Of a trainer from a `Checkpoint`: go on with the epoch that was begun, to the bit as if it had not been stopped;
            give the samples, batch size, validation data and callbacks that it had.  False begins a new epoch.

        Returns
        -------
        History
            Of all epochs so far: ``trainer.history``.

        Raises
        ------
        NonFiniteError
            As in `Network.fit`.  What the optimizer remembers may not be finite then; a new Trainer begins anew.
        TypeError, ValueError, ShapeError
            As in `Network.fit`; if more epochs are asked for than are left of the trainer's; if a schedule asks how many
            updates there are, and nobody says so.
        RuntimeError
            If the network is being trained already.
        """
        course = self._course
        with together(self._comm, course.summed) as ranks:
            resume = flag("resume", resume)
            place = self._place(epochs, resume)
            batch_size, shuffle = positive_integer("batch_size", batch_size), flag("shuffle", shuffle)
            progress, callbacks = flag("progress", progress), checked_callbacks(callbacks)
            course.network.params.check_writable("params")
            course.network.params.check_finite()
            fed = self._fed(feedback)
            feed = samples = None
            if y is None:
                self._check_not_shared("y", "targets of samples", y)
                feed = self._given(x, fed, lengths=lengths, weights=weights, reset=reset)
                steps = checked_steps(course.network, carry, steps, None)
                if steps is not None:
                    hint = "update(x, y, state=...) carries states in a loop of your own"
                    raise ValueError(f"carry: expected False beside batches of your own, got True; {hint}")
            else:
                samples = course.network._samples(x, y, lengths, course.loss, weights, reset, **fed)
                steps = checked_steps(course.network, carry, steps, samples)
                check_samples(samples)
            held = validation, validation_split, split_by
            resume = resume and course.place is not None
            return train(
                course, place, samples, batch_size, shuffle, held, callbacks, progress, feed, resume, ranks, steps
            )  # fmt: skip

    def _check_not_shared(self, name, expected, value):
        """Raise TypeError for what a training that ranks or shards share does not do."""
        if self._course.summed is not None:
            kind = type(value).__name__
            raise TypeError(f"{name}: expected {expected} in a training with comm or shards, got {kind}")

    def _place(self, epochs, resume):
        """Where the next run of epochs begins and ends."""
        course = self._course
        stopped = course.place if resume else None
        if stopped is not None and epochs is None:
            return stopped
        done = len(course.history.loss)
        left = None if course.epochs is None else course.epochs - done
        if epochs is None:
            epochs = 10 if left is None else left
        else:
            epochs = positive_integer("epochs", epochs)
            if left is not None and epochs > left:
                expected = f"at most {left}, those left of the {course.epochs} of this trainer"
                raise ValueError(f"epochs: expected {expected}, got {epochs}")
        return replace(stopped or Place(done + 1, 0), last=done + epochs)

    def _fed(self, feedback):
        """What a network's samples are told of an argument `feedback`: nothing if it is None."""
        if feedback is None:
            return {}
        return {"feedback": feedback}

    def _given(self, batches, fed, **others):
        """A GivenFeed of a user's own batches; fed: see `_fed`."""
        course = self._course
        if isinstance(batches, (np.ndarray, Ragged)) or not (callable(batches) or hasattr(batches, "__iter__")):
            kind = type(batches).__name__
            raise TypeError(f"y: expected targets, or batches of (x, y) in the place of x, got None beside x of {kind}")
        for name, value in others.items():
            if value is not None:
                raise TypeError(f"{name}: expected None beside batches, which have theirs, got {type(value).__name__}")
        read = lambda batch, what: checked_samples(course.network, batch, course.loss, what, empty=True, **fed)  # noqa: E731
        return GivenFeed(course, batches, read)

    def update(
        self,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        state: tuple | None = NOT_GIVEN,
        feedback: Feedback | dict | None = None,
    ) -> float | tuple[float, tuple]:
        """One update on a batch, in a loop of your own; returns the mean loss before it, and with a state the final one.

        It is the update that `fit` takes on such a batch.  All rows of an `Embedding` are up to date afterwards, which costs
        more than in `fit`, where they are so after each epoch.

        Parameters
        ----------
        x, y : array, list, DataFrame or Ragged
            Samples and targets of the batch, as in `Network.fit`.
        lengths : array of int, optional
            (N,): the steps of each sample in a padded x.
        weights : array or Ragged, optional
            As in `Network.fit`.  Where nothing counts, as all weights are 0, all labels ignored or all targets missing, the
            loss is 0, and the update is one by a gradient of zeros.
        reset : array of bool, optional
            As in `Network.fit`.
        state : tuple, dict or None, optional
            Where each recurrent layer starts from, as in a call of the network, of a graph by name; None starts afresh.  No
            gradient goes back to what it comes from.
        feedback : Feedback or dict, optional
            As in `Network.fit`: a mask that is drawn anew for each update is scheduled sampling.

        Returns
        -------
        loss : float
        state : tuple or dict
            The final states, by the parameters before the update; only if `state` is given, as None too.

        Raises
        ------
        NonFiniteError, TypeError, ValueError, ShapeError, RuntimeError
            As `fit`, and nothing has changed then.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32) / 4), 5)
        >>> trainer = nr.Trainer(net, optimizer=nr.Adam(0.03))
        >>> losses = [trainer.update(x, y) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0], trainer.step
        (True, 50)

        A long sequence in pieces, the state carried on: the updates of ``fit(x, y, carry=True, steps=20)``.

        >>> net = nr.Network([nr.GRU(4), nr.Dense(1)], channels=1, seed=0)
        >>> x = np.sin(np.arange(61, dtype=np.float32) / 4)[:, None]
        >>> trainer, state = nr.Trainer(net, optimizer=nr.Adam(0.03)), None
        >>> for first in range(0, 60, 20):
        ...     piece = slice(first, first + 20)
        ...     loss, state = trainer.update(x[:-1][piece], x[1:][piece], state=state)
        >>> state[0].shape
        (1, 1, 4)
        """
        course = self._course
        self._check_not_shared("update", "fit", self.update)
        course.network.params.check_writable("params")
        course.network.params.check_finite()
        samples = course.network._samples(x, y, lengths, course.loss, weights, reset, **self._fed(feedback))
        check_samples(samples, empty=True)
        rate_of = course.rates()
        course.check_counted(rate_of, course.most)
        initial = None if state is NOT_GIVEN else course.network._states_of("state", state, samples.x.count)
        _check_finite(initial or {})
        feed = GivenFeed(course, (), None, initial)
        where = f"update {self.step + 1}"
        with alone(course.network), course.updates:
            course.forget_run()
            course.updates.check_usable()
            total, counted, _ = course.take(feed, [samples], rate_of, course.most, lambda index: where)
            course.finish(where, feed)
        loss = total / counted if counted else 0.0
        if state is NOT_GIVEN:
            return loss
        return loss, course.network._given_states(course.workspaces.final(), home_of(native("x", x)))

    def save(self, path: str | os.PathLike) -> None:
        """Write the training into a file, from which `load` has one that goes on to the bit like this one.

        `numbarnn.load` has the network from it.  A `Checkpoint` saves again and again while it trains.

        Parameters
        ----------
        path : str or os.PathLike
            Written whole or not at all; an old file is replaced.

        Raises
        ------
        OSError, ImportError
            As `Network.save`.
        TypeError
            If the loss, the optimizer or a metric is such that no file can describe it, such as a lambda.
        """
        save(path, self._course)

    @classmethod
    def load(cls, path: str | os.PathLike, trusted: Iterable = (), device: str = "cpu", comm=None) -> "Trainer":
        """The trainer that a file holds, or the last one of a folder of checkpoints, with a network of its own.

        Parameters
        ----------
        path : str or os.PathLike
        trusted, device
            As in `numbarnn.load`; losses, optimizers, schedules and metrics of your own are to be trusted, too.
        comm : mpi4py.MPI.Intracomm, optional
            The ranks that go on with a training that ranks have shared; with ``shards``, any number gives the same bits.

        Raises
        ------
        FileFormatError, TrustError, OSError, ImportError
            As `numbarnn.load`; if the file has a network and no training.
        ValueError
            If the ranks cannot share the training, as it was not shared, or has fewer shards.
        DeviceError
            If the training was shared, and the device is not the CPU.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr, os, tempfile
        >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32) / 4), 5)
        >>> trainer = nr.Trainer(net, optimizer=nr.Adam(0.03))
        >>> history = trainer.fit(x, y, epochs=2, progress=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trainer.save(os.path.join(folder, "training.safetensors"))
        ...     other = nr.Trainer.load(os.path.join(folder, "training.safetensors"))
        >>> other.fit(x, y, epochs=2, progress=False).loss == trainer.fit(x, y, epochs=2, progress=False).loss
        True
        """
        backend(device)
        path = newest(path)
        arrays, description = read_file(path)
        read = Reading(os.fspath(path), arrays, trusted)
        if not {"network", "graph"} & description.keys() or "training" not in description:
            raise read.error("training", "one that Trainer.save or a Checkpoint has written, got none")
        network = network_of(read, description, device)
        found = read("training", description["training"])
        ranks = 1 if comm is None else checked_comm(comm).size
        try:
            made = cls._of(restored(network, found, ranks))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise read.error("training", f"what a training is made of; {error}") from error
        if network.device != "cpu" and made._course.summed is not None:
            raise DeviceError(f"device: expected 'cpu' for a training that ranks or shards share, got {network.device!r}")
        if ranks > 1 and made._course.summed is None:
            raise ValueError(f"comm: expected None for a training that was not shared when it was saved, got {ranks} ranks")
        made._comm, _ = shared_by(comm, made._course.shards, network)
        return made

    @classmethod
    def _of(cls, course):
        """The trainer of a course."""
        made = object.__new__(cls)
        made._course, made._comm = course, None
        return made

    def __repr__(self):
        course = self._course
        return f"Trainer({course.network!r}, {course.optimizer!r}, {self.step} updates, {len(self.history.loss)} epochs)"


def _check_finite(states):
    """Raise NonFiniteError, with its place, of the first number in the states of layers that is not finite."""
    for at, (label, arrays) in enumerate(states.items()):
        at = label if isinstance(label, str) else at
        for array in arrays or ():
            expect_finite(f"state[{at!r}]", array)
