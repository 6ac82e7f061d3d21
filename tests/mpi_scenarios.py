"""What tests/test_mpi.py runs under mpiexec; see mpi_ranks.py."""

import contextlib
import io
import json
import shutil
import tempfile
import warnings

import numpy as np

import numbarnn as nr

RANDOM = np.random.default_rng(0)
COUNT = 50  # no multiple of the shards
X = RANDOM.standard_normal((6, COUNT, 2)).astype(np.float32)  # T, N, C
Y = np.tanh(X.sum((0, 2)))[:, None]
LENGTHS = RANDOM.integers(0, 7, COUNT)
WORDS, LABELS = RANDOM.integers(20, size=(6, COUNT)), RANDOM.integers(3, size=COUNT)


def network(seed=0, **options):
    return nr.Network([nr.GRU(4), nr.Dropout(0.2), nr.Last(), nr.Dense(1)], channels=2, seed=seed, **options)


def plain(seed=0):
    return nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=2, seed=seed)


def stepwise(seed=0):
    return nr.Network([nr.GRU(4), nr.Dense(1)], channels=2, seed=seed)


def bits(net, history=None):
    """Numbers as text that tells every bit of them."""
    losses = [] if history is None else [value.hex() for value in (*history.loss, *history.validation, *history.rate)]
    return [net.params.flat.tobytes().hex(), *losses]


def numbers(net, history):
    return {"flat": net.params.flat.tolist(), "loss": history.loss, "validation": history.validation}


# With shards


def shards(comm, own):
    net = network(comm.rank if comm else 0)
    history = net.fit(
        X[:, own], Y[own], epochs=3, batch_size=16, clip=0.5, optimizer=nr.AdamW(nr.cosine(0.01)), seed=5, comm=comm,
        shards=8, validation=(X[:, own], Y[own]), progress=False,
    )  # fmt: skip
    return bits(net, history)


def shards_of_ragged(comm, own):
    """Losses of steps, of which some samples have none."""
    net, y = stepwise(comm.rank if comm else 0), np.tanh(X.sum(2, keepdims=True))
    history = net.fit(
        X[:, own], y[:, own], lengths=LENGTHS[own], epochs=2, batch_size=10, comm=comm, shards=4, progress=False
    )
    return bits(net, history)


def shards_of_words(comm, own):
    """Rows of an embedding, and labels that count nothing."""
    net = nr.Network([nr.Embedding(20, 3), nr.GRU(4), nr.Last(), nr.Dense(3)], seed=comm.rank if comm else 0)
    loss = nr.CrossEntropy(ignore_index=1)
    history = net.fit(WORDS[:, own], LABELS[own], loss=loss, epochs=2, batch_size=5, comm=comm, shards=4, progress=False)
    return bits(net, history)


def shards_of_weights(comm, own):
    """Weights that no sum of is exact, and targets that were not observed."""
    net, y = stepwise(comm.rank if comm else 0), np.tanh(X.sum(2, keepdims=True))
    y[2, ::3], y[:, 7] = np.nan, np.nan
    weights = np.random.default_rng(1).random((6, COUNT))
    weights[:, 4::5] = 0
    own_x, own_y, own_weights = X[:, own], y[:, own], weights[:, own]
    history = net.fit(
        own_x, own_y, nr.MSE(missing="nan"), weights=own_weights, epochs=2, batch_size=10, comm=comm, shards=4,
        validation=(own_x, own_y, None, own_weights), progress=False,
    )  # fmt: skip
    return bits(net, history)


def shards_of_a_graph(comm, own):
    """Several inputs and outputs, masks, a table."""
    nodes = {
        "e": nr.Node(nr.Embedding(20, 3), "words"),
        "h": nr.Node([nr.GRU(4), nr.Dropout(0.2)], ["e", "x", "static"]),
        "y": nr.Node(nr.Dense(1), ["h", "x"]),
        "class": nr.Node([nr.Last(), nr.Dense(3)], "h"),
    }
    inputs = {"words": None, "x": 2, "static": nr.Input(2, steps=False)}
    net = nr.Graph(inputs, nodes, ["y", "class"], seed=comm.rank if comm else 0)
    given = {"words": WORDS[:, own], "x": X[:, own], "static": X[0, own]}
    targets = {"y": np.tanh(X.sum(2, keepdims=True))[:, own], "class": LABELS[own]}
    history = net.fit(
        given, targets, {"y": "mse", "class": ("cross_entropy", 0.5)}, epochs=2, batch_size=16, clip=0.5, seed=5, comm=comm,
        shards=4, validation=(given, targets), progress=False,
    )  # fmt: skip
    return bits(net, history)


def spread(prediction, target):
    """A metric that is no mean."""
    return float(np.std(prediction - target.mean()))


def measured(comm, own):
    """Metrics of labels, of a loss, and of one's own, on samples and on validation data, of which some have no step."""
    net, labels = nr.Network([nr.GRU(4), nr.Dense(20)], channels=2, seed=comm.rank if comm else 0), WORDS[:, own]
    history = net.fit(
        X[:, own], labels, "cross_entropy", lengths=LENGTHS[own], epochs=2, batch_size=16, comm=comm, shards=8,
        metrics=["accuracy", nr.CrossEntropy(smoothing=0.1), spread], validation=(X[:, own], labels, LENGTHS[own]),
        progress=False,
    )  # fmt: skip
    return bits(net, history) + [value.hex() for values in history.metrics.values() for value in values]


def measured_graph(comm, own):
    nodes = {"h": nr.Node(nr.GRU(4), "x"), "y": nr.Node(nr.Dense(1), "h")}
    net = nr.Graph({"x": 2}, nodes, ["y"], seed=comm.rank if comm else 0)
    y = np.tanh(X.sum(2, keepdims=True))[:, own]
    history = net.fit(
        {"x": X[:, own]}, {"y": y}, epochs=2, comm=comm, shards=4, metrics={"y": ["mae", spread]}, progress=False,
    )  # fmt: skip
    return bits(net, history) + [value.hex() for values in history.metrics.values() for value in values]


class Told(nr.Callback):
    """Remembers the loss of each update, writes a parameter, and ends the training in the second epoch."""

    def __init__(self):
        self.losses = []

    def batch(self, network, loss):
        self.losses.append(loss.hex())
        network.params.flat[0] = len(self.losses) / 100
        return len(self.losses) == 6


def told(comm, own):
    net, callback = network(comm.rank if comm else 0), Told()
    history = net.fit(X[:, own], Y[own], epochs=4, batch_size=16, comm=comm, shards=8, callbacks=[callback], progress=False)
    return {"bits": bits(net, history), "losses": callback.losses, "epochs": len(history.loss)}


# Without


def unequal(comm):
    """The samples of each rank, of which the last has a single one."""
    bounds = {1: (0, COUNT), 2: (0, COUNT - 1, COUNT), 4: (0, 20, 42, COUNT - 1, COUNT)}[comm.size]
    return [slice(first, end) for first, end in zip(bounds, bounds[1:])]


def plain_sum(comm, own):
    parts, net = unequal(comm), plain(comm.rank)
    own = parts[comm.rank]
    history = net.fit(
        X[:, own], Y[own], epochs=3, batch_size=8, shuffle=False, optimizer=nr.SGD(0.1), clip=0.05, comm=comm,
        progress=False, validation=(X[:, own], Y[own]),
    )  # fmt: skip
    return numbers(net, history) | {"parts": [[part.start, part.stop] for part in parts]}


def plain_sum_of_ragged(comm, own):
    parts, net, y = unequal(comm), stepwise(comm.rank), np.tanh(X.sum(2, keepdims=True))
    own, lengths = parts[comm.rank], LENGTHS.copy()
    lengths[-1] = 3  # the last rank's only sample
    history = net.fit(
        X[:, own], y[:, own], lengths=lengths[own], epochs=2, batch_size=60, optimizer=nr.SGD(0.1), comm=comm, progress=False
    )
    return numbers(net, history)


def plain_metrics(comm, own):
    """Of parts of different sizes, metrics of all samples together; the loss of each update is told."""
    own, net, callback = unequal(comm)[comm.rank], plain(comm.rank), Told()
    history = net.fit(
        X[:, own], Y[own], epochs=1, batch_size=16, comm=comm, metrics=["mae", spread], validation=(X[:, own], Y[own]),
        callbacks=[callback], progress=False,
    )  # fmt: skip
    return {"metrics": history.metrics, "right": net.evaluate(X, Y, metrics=["mae", spread]), "losses": callback.losses}


def plain_sum_of_words(comm, own):
    net = nr.Network([nr.Embedding(20, 3), nr.GRU(4), nr.Last(), nr.Dense(3)], seed=comm.rank)
    history = net.fit(
        WORDS[:, own], LABELS[own], loss="cross_entropy", epochs=3, batch_size=60, comm=comm, progress=False,
        optimizer=nr.Adam(0.01),
    )  # fmt: skip
    return numbers(net, history)


def alone(comm, own):
    """A rank of its own trains as without MPI."""
    net = network()
    return bits(net, net.fit(X, Y, epochs=2, comm=type(comm)(_self()), progress=False))


def _self():
    from mpi4py import MPI

    return MPI.COMM_SELF


# The ends of a training


def callbacks(comm, own):
    """Rank 0's are called; all ranks end when they say so, with the parameters that they have written."""
    net, called, printed = plain(), [], io.StringIO()

    def doubled(network, history):
        network.params.flat[-1] = len(history.loss)
        called.append(len(history.loss))
        return len(history.loss) == 2

    with contextlib.redirect_stderr(printed):
        history = net.fit(X[:, own], Y[own], epochs=5, comm=comm, callbacks=[doubled])
    return {"called": called, "last": float(net.params.flat[-1]), "bits": bits(net, history), "printed": printed.getvalue()}


def early_stopping(comm, own):
    net, stopping = plain(), nr.EarlyStopping(patience=2)
    rate = nr.SGD(0.9, momentum=0.95)
    history = net.fit(
        X[:, own], Y[own], epochs=60, optimizer=rate, comm=comm, validation=(X[:, own], Y[own]), callbacks=[stopping],
        progress=False,
    )  # fmt: skip
    return {
        "epochs": len(history.loss), "best": int(np.argmin(history.validation)) + 1, "lowest": min(history.validation),
        "loss": net.loss(X, Y), "bits": bits(net, history), "epoch": stopping.epoch,
    }  # fmt: skip


class Trouble:
    """A loss that on the last rank, at its third call, does something else."""

    def __init__(self, comm, what):
        self.calls, self.there, self.what = 0, comm.rank == comm.size - 1, what

    def __call__(self, prediction, target):
        self.calls += 1
        if self.there and self.calls == 3:
            return self.what(prediction)
        return nr.loss("mse")(prediction, target)


class Clumsy(nr.Optimizer):
    """Fails on one rank alone, in the midst of an update."""

    rate = 0.1
    failing = False

    def update(self, flat, previous, gradient, memory, step, rate, scale=1.0):
        flat -= rate * gradient
        if self.failing and step == 2:
            flat[:] = np.nan
            raise OSError("the disk is full")


def interrupt(prediction):
    raise KeyboardInterrupt


def last(comm):
    return comm.rank == comm.size - 1


def failures(comm, own):
    """{what went wrong: the error of this rank, and the parameters after it}, of trainings one after the other."""
    found = {}
    nan = X.copy()
    nan[2, own.start] = np.nan
    clumsy = Clumsy()
    clumsy.failing = last(comm)

    def calls(network, history):
        raise LookupError("a callback's")

    def measures(prediction, target):
        raise LookupError("a metric's")

    class Fails(nr.Callback):
        def batch(self, network, loss):
            raise LookupError("an update's")

    trials = {
        "samples": dict(x=nan[:, own] if last(comm) else X[:, own]),
        "none": dict(x=X[:, :0] if last(comm) else X[:, own], y=Y[:0] if last(comm) else Y[own]),
        "loss": dict(loss=Trouble(comm, lambda prediction: (np.nan, prediction))),
        "shards": dict(loss=Trouble(comm, lambda prediction: (np.nan, prediction)), shards=4),
        "gradient": dict(loss=Trouble(comm, lambda prediction: (0.0, prediction * np.float32(np.inf)))),
        "interrupt": dict(loss=Trouble(comm, interrupt)),
        "type": dict(loss=Trouble(comm, lambda prediction: "nothing")),
        "optimizer": dict(optimizer=clumsy),
        "callback": dict(callbacks=[calls]),
        "update": dict(callbacks=[Fails()]),
        "metric": dict(metrics=[measures]),
        "told": dict(loss=Trouble(comm, interrupt), callbacks=[Told()]),
        "metrics": dict(metrics=["mae"] if last(comm) else ["mse"]),
        "validation": dict(validation=(nan[:, own] if last(comm) else X[:, own], Y[own])),
        "epochs": dict(epochs=3 + comm.rank),
        "rates": dict(optimizer=nr.Adam(0.1 if last(comm) else 0.2)),
        "another loss": dict(loss="mae" if last(comm) else "mse"),
        "network": dict(net=nr.Network([nr.GRU(5 if last(comm) else 4), nr.Last(), nr.Dense(1)], channels=2)),
        "parts": dict(x=X[:, :3] if last(comm) else X[:, own], y=Y[:3] if last(comm) else Y[own], shards=4),
        "held": dict(validation=(X[:, :3], Y[:3]) if last(comm) else (X[:, own], Y[own]), shards=4),
        "one": dict(validation=(X, Y) if last(comm) else None),
    }
    for name, options in trials.items():
        net = options.pop("net", None) or plain(comm.rank)
        before = net.params.flat.copy()
        arguments = {"x": X[:, own], "y": Y[own], "epochs": 3, "batch_size": 16, "progress": False, "comm": comm} | options
        try:
            net.fit(**arguments)
            said = "nothing"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        same = bool(np.array_equal(net.params.flat, before))
        found[name] = {"said": said, "flat": net.params.flat.tobytes().hex(), "untouched": same,
                       "finite": bool(np.isfinite(net.params.flat).all())}  # fmt: skip
    return found


def mistakes(comm, own):
    from mpi4py import MPI

    found = {}
    trials = {
        "a number": dict(comm=3),
        "a class": dict(comm=MPI.Intracomm),
        "null": dict(comm=MPI.COMM_NULL),
        "three": dict(shards=3),
        "text": dict(shards="4"),
        "too few": dict(shards=comm.size // 2),
    }
    for name, options in trials.items():
        try:
            plain().fit(**{"x": X[:, own], "y": Y[own], "comm": comm, "progress": False} | options)
        except (TypeError, ValueError) as error:
            found[name] = f"{type(error).__name__}: {error}"
    graph = nr.Graph({"x": 2}, {"y": nr.Node([nr.GRU(4), nr.Last(), nr.Dense(1)], "x")}, ["y"], seed=0)
    calls = {
        "a graph": lambda: graph.fit({"x": X[:, own]}, {"y": Y[own]}, {"y": ("mse", 1 + comm.rank)}, **options),
        "members": lambda: nr.fit_many(plain(), X, Y, seeds=[0, 1], optimizer=nr.Adam(0.1 + comm.rank), **options),
    }
    options = {"comm": comm, "progress": False, "epochs": 1}
    for name, call in calls.items():
        try:
            call()
        except ValueError as error:
            found[name] = str(error)
    return found


def members(comm, own):
    """Work that is spread over the ranks: its results are in one order, and an error ends all."""
    from numbarnn.training.ranks import Ranks

    with Ranks(comm) as ranks:
        squares = ranks.joined([member**2 for member in ranks.own(range(11))])
    try:
        with Ranks(comm) as ranks:
            ranks.joined([1 / (member - 10) for member in ranks.own(range(11))])
        said = "nothing"
    except (nr.RankError, ZeroDivisionError) as error:
        said = f"{type(error).__name__}: {error}"
    return {"squares": squares, "said": said}


def many(comm, own):
    """Members of an ensemble, spread over the ranks: all have all of them, and the one that ends early."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        ensemble = nr.fit_many(
            network(), X, Y, seeds=range(3), rates=[0.01, 1e30, 0.02], optimizer=nr.SGD(), epochs=2, bootstrap=True,
            comm=comm, progress=False,
        )  # fmt: skip
    found = {"bits": [bits(member, member.history) for member in ensemble], "errors": ensemble.errors}
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        more = nr.fit_many(plain(), X, Y, seeds=range(3), epochs=2, comm=comm)
    found["more"] = [bits(member, member.history) for member in more]
    return json.loads(json.dumps(found)) | {"warned": len(warned), "printed": shown.getvalue()}


def stopped(comm, own):
    """A training that an error ends in its third epoch, and that all ranks go on with from its checkpoint."""
    folder = tempfile.mkdtemp() if comm is None or comm.rank == 0 else None
    folder = folder if comm is None else comm.bcast(folder)
    options = dict(optimizer=nr.AdamW(nr.cosine(0.01)), clip=0.5, seed=5, epochs=4, comm=comm, shards=8)
    samples = dict(x=X[:, own], y=Y[own], batch_size=16, validation=(X[:, own], Y[own]), progress=False)
    whole, begun = (nr.Trainer(network(comm.rank if comm else 0), **options) for _ in range(2))
    whole.fit(**samples, epochs=1)
    whole.fit(**samples)

    def failing(network, history):
        if len(history.loss) == 3:
            raise LookupError

    with contextlib.suppress(LookupError, nr.RankError):
        begun.fit(**samples, callbacks=[nr.Checkpoint(folder), failing])
    again = nr.Trainer.load(folder, comm=comm)
    left = again.step
    again.fit(**samples, callbacks=[nr.Checkpoint(folder)])
    if comm is None or comm.rank == 0:
        shutil.rmtree(folder)
    return {"left": left, "whole": bits(whole.network, whole.history), "again": bits(again.network, again.history)}


SCENARIOS = {
    each.__name__: each
    for each in (
        shards, shards_of_ragged, shards_of_words, shards_of_weights, shards_of_a_graph, measured, measured_graph, told,
        plain_sum, plain_sum_of_ragged, plain_metrics, plain_sum_of_words, stopped, alone, callbacks, early_stopping,
        failures, mistakes, members, many,
    )
}  # fmt: skip
