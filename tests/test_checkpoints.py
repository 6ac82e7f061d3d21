"""A training that is stopped and goes on from a file is the one that runs through, to the bit."""

import contextlib
import json

import kills
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from test_trainer import LABELS, TRAININGS, WORDS, X, Y, lengths_of, plain, reader, same

import numbarnn as nr


class Stop(nr.Callback):
    """Ends a training, as Ctrl-C does, after so many updates; goes before what saves it."""

    def __init__(self, updates):
        self.left = updates

    def batch(self, network, loss):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def went_on(trainer, folder, fit, stops, make_callbacks=list):
    """The trainer that has come to its end after stops, each after so many updates more."""
    for updates in stops:
        keep = nr.Checkpoint(folder, every=1, unit="update")
        with pytest.raises(KeyboardInterrupt):
            fit(trainer, callbacks=[*make_callbacks(), Stop(updates), keep])
        trainer = nr.Trainer.load(folder)
    fit(trainer, callbacks=[*make_callbacks(), nr.Checkpoint(folder, every=1, unit="update")])
    return trainer


@pytest.mark.parametrize("kind", TRAININGS)
@pytest.mark.parametrize("way", ["epochs of the trainer", "epochs of the run", "accumulated"])
def test_a_training_that_is_stopped_and_goes_on(kind, way, tmp_path):
    make, data, options = TRAININGS[kind]
    more = {"epochs": 4} if way == "epochs of the trainer" else {"accumulate": 3} if way == "accumulated" else {}
    epochs = {} if way == "epochs of the trainer" else {"epochs": 4}

    def fit(trainer, **also):
        own = epochs if trainer.step == 0 else {}  # what is left is known
        return trainer.fit(**lengths_of(data), **own, **also, batch_size=7, progress=False, validation=data)

    whole = nr.Trainer(make(), **options, **more, seed=3)
    fit(whole)
    stops = (0, 1, 2) if way == "accumulated" else (0, 3, 4, 5)
    found = went_on(nr.Trainer(make(), **options, **more, seed=3), tmp_path, fit, stops)
    assert same(found.network, whole.network) and found.step == whole.step
    fit(whole, epochs=2) if way != "epochs of the trainer" else None
    fit(found, epochs=2) if way != "epochs of the trainer" else None
    assert same(found.network, whole.network)


@pytest.mark.parametrize("kind", ["states of all kinds", "rows and lengths"])
def test_states_that_are_carried_go_on(kind, tmp_path):
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, 23, 5, 1))
    options = {"optimizer": nr.Adam(nr.cosine(0.02))}
    if kind == "rows and lengths":
        x, y, options = random.integers(0, 9, (23, 5)), random.integers(0, 3, (23, 5)), {"loss": "cross_entropy"}

    def trainer():
        layers = [nr.LSTM(3, layers=2, dropout=0.2), nr.GRU(2, learned_state=True), nr.Dense(1)]
        if kind == "rows and lengths":
            layers = [nr.Embedding(9, 2), nr.LSTM(3, projection=2), nr.Dense(3)]
        return nr.Trainer(nr.Network(layers, 1, "float64", seed=0), **options, seed=3)

    def fit(trainer, **also):
        way = {"lengths": [23, 4, 10, 11, 0]} if kind == "rows and lengths" else {}
        way |= {"epochs": 3} if trainer.step == 0 else {}
        return trainer.fit(x, y, **{**way, "batch_size": 3, "carry": True, "steps": 5, "progress": False, **also})

    whole = trainer()
    fit(whole)
    found = went_on(trainer(), tmp_path, fit, (0, 1, 3, 4, 5, 6))
    assert same(found.network, whole.network) and found.step == whole.step
    stopped = trainer()
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, callbacks=[Stop(2), nr.Checkpoint(tmp_path / "again", 1, "update")])
    resumed = nr.Trainer.load(tmp_path / "again")
    for other in ({"steps": 6}, {"carry": False, "steps": None}):
        with pytest.raises(ValueError, match="^steps: expected 5 as in the epoch that is begun, got "):
            fit(resumed, **other)
    all_steps = 48 if kind == "rows and lengths" else 115
    expected = f"^x: expected sequences of {all_steps} steps in all as in the epoch that is begun, got sequences of 50 steps"
    with pytest.raises(ValueError, match=expected):
        fit(resumed, lengths=[23, 4, 12, 11, 0] if kind == "rows and lengths" else [10] * 5)
    fit(resumed, epochs=1, resume=False, carry=False, steps=None)
    (file,) = (tmp_path / "again").iterdir()
    changed(file, lambda training, arrays: arrays.update({"training.carried.0.0": np.zeros((1, 1, 2, 3))}))
    with pytest.raises(nr.FileFormatError, match="carried: expected float64 arrays of shapes"):
        nr.Trainer.load(file)


@pytest.mark.parametrize("kind", ["network", "graph"])
def test_carried_states_of_other_sequences_are_refused(kind, tmp_path):
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, 12, 5, 1))  # batches of three sequences and of two
    layers = [nr.LSTM(2), nr.Dense(1)]
    net = nr.Network(layers, 1, "float64")
    if kind == "graph":
        net = nr.Graph({"x": 1}, {"y": nr.Node(layers, "x")}, "y", "float64")
    data = (x, y) if kind == "network" else ({"x": x}, {"y": y})
    trainer, way = nr.Trainer(net), {"batch_size": 3, "carry": True, "steps": 5, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*data, epochs=2, **way, callbacks=[Stop(2), nr.Checkpoint(tmp_path, 1, "update")])
    (file,) = tmp_path.iterdir()

    def hold(count):
        changed(
            file, lambda t, arrays: arrays.update({f"training.carried.0.{m}": np.ones((1, 1, count, 2)) for m in range(2)})
        )

    hold(4)
    expected = "carried: expected states of 3 sequences, or 2 in the last batch, as 5 samples .* make, got states of 4"
    with pytest.raises(nr.FileFormatError, match=expected):
        nr.Trainer.load(file)
    hold(2)  # a batch has so many, but not the one that is begun
    with pytest.raises(
        nr.ShapeError, match="^carried states: expected states of 3 sequences, .* got states of 2; resume=False"
    ):
        nr.Trainer.load(file).fit(*data, **way)

    def drop(training, arrays):
        training["carried"] = None
        for m in range(2):
            del arrays[f"training.carried.0.{m}"]

    changed(file, drop)
    loaded = nr.Trainer.load(file)
    with pytest.raises(nr.ShapeError, match="^carried states: expected states of 3 sequences, .* got none; resume=False"):
        loaded.fit(*data, **way)
    assert len(loaded.fit(*data, epochs=1, resume=False, **way).loss) == 1


def test_rows_whose_momentum_has_faded(tmp_path):
    """Steps that a row has missed are taken as they would have been, not as a look at it in between would have them."""
    random = np.random.default_rng(0)
    batches = [(random.integers(0, 2000, (3, 2)), random.integers(0, 2, 2)) for _ in range(230)]
    batches += batches[:3]

    def trainer():
        net = nr.Network([nr.Embedding(2000, 4), nr.Last(), nr.Dense(2)], seed=0)
        return nr.Trainer(net, "cross_entropy", nr.AdamW(0.03, decay=0.1))

    def fit(trainer, **also):
        return trainer.fit(batches, **({"epochs": 2} if trainer.step == 0 else {}), **also, progress=False)

    whole = trainer()
    fit(whole)
    assert same(went_on(trainer(), tmp_path, fit, (228, 60)).network, whole.network)


def test_a_trainer_that_was_stopped_in_an_epoch_predicts_with_all_rows(tmp_path):
    trainer = nr.Trainer(reader(), "cross_entropy", nr.Adam(0.05))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(
            WORDS, LABELS, batch_size=1, callbacks=[Stop(9), nr.Checkpoint(tmp_path, 1, "update")], progress=False
        )  # fmt: skip
    found = nr.Trainer.load(tmp_path)  # the interrupted one has brought its rows up to date as well
    np.testing.assert_allclose(found.network.params.flat, trainer.network.params.flat, rtol=0, atol=0.05)
    found.save(tmp_path / "again.safetensors")
    one, other = nr.Trainer.load(tmp_path / "again.safetensors"), nr.Trainer.load(tmp_path)
    for each in (one, other):
        each.fit(WORDS, LABELS, batch_size=1, progress=False)
    assert same(one.network, other.network)


def test_callbacks_go_on(tmp_path):
    held = X[:, ::3], Y[::3]

    def callbacks():
        return [nr.EarlyStopping(2), nr.CSVLogger(tmp_path / "table.csv")]

    def fit(trainer, **also):
        return trainer.fit(X, Y, batch_size=9, validation=held, progress=False, **also)

    def trainer():
        return nr.Trainer(plain(), optimizer=nr.SGD(0.4, 0.9), epochs=40)

    whole = trainer()
    fit(whole, callbacks=callbacks())
    table = (tmp_path / "table.csv").read_text()
    found = went_on(trainer(), tmp_path / "kept", fit, (6, 5, 1), callbacks)
    assert same(found.network, whole.network) and 2 < len(whole.history.loss) < 40
    lines = [text.splitlines() for text in (table, (tmp_path / "table.csv").read_text())]
    assert len(lines[0]) == len(lines[1])
    again = nr.Trainer.load(tmp_path / "kept")  # killed before the callbacks could finish
    assert fit(again, callbacks=callbacks()).loss == whole.history.loss
    assert same(again.network, whole.network)


def test_what_is_kept(tmp_path):
    keep = nr.Checkpoint(tmp_path / "a" / "b", every=2, unit="update", keep_last=3, keep_best=True)
    values = iter([3.0, 1.0, 2.0])

    def score(prediction, target):
        return next(values)

    net, seen = plain(), []
    by_score = nr.Checkpoint(tmp_path / "c", every=2, keep_best=True, monitor="score", mode="max")
    called = [keep, by_score, lambda net, _: seen.append(net.params.copy())]
    history = net.fit(X, Y, epochs=3, batch_size=10, metrics=[score], callbacks=called, progress=False)
    names = [path.name for path in sorted((tmp_path / "a" / "b").iterdir())]
    assert names == [f"{step:010}.safetensors" for step in (8, 10, 12)] + ["best.safetensors"]
    assert [path.name for path in sorted((tmp_path / "c").iterdir())] == ["0000000012.safetensors", "best.safetensors"]
    best = int(np.argmin(history.loss))
    assert np.array_equal(nr.load(tmp_path / "a" / "b" / "best.safetensors").params.flat, seen[best].flat)
    assert np.array_equal(nr.load(tmp_path / "c" / "best.safetensors").params.flat, seen[0].flat)


def test_a_folder_of_a_training_that_has_gone_further_is_not_overwritten(tmp_path):
    plain().fit(X, Y, epochs=2, callbacks=[nr.Checkpoint(tmp_path)], progress=False)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    net = plain()
    before = net.params.flat.copy()
    with pytest.raises(FileExistsError, match="^path: expected a folder without checkpoints of a training that has gone"):
        net.fit(X, Y, callbacks=[nr.Checkpoint(tmp_path)], progress=False)
    assert np.array_equal(net.params.flat, before) and files == {path: path.read_bytes() for path in tmp_path.iterdir()}


def squared(prediction, target):
    """A loss of one's own."""
    return float(np.square(prediction - target).mean()), 2 * (prediction - target) / prediction.size


class Lion(nr.Optimizer):
    """An optimizer of one's own, whose memory is a dict."""

    def __init__(self, rate):
        self.rate = rate

    def start(self, flat):
        return {"mean": np.zeros_like(flat), "steps": [0]}

    def update(self, flat, previous, gradient, memory, step, rate, scale=1.0):
        flat -= rate * np.sign(0.9 * memory["mean"] + 0.1 * gradient)
        memory["mean"][:] = 0.99 * memory["mean"] + 0.01 * gradient
        memory["steps"][0] += 1


@pytest.mark.parametrize("seed", [3, np.random.Generator(np.random.MT19937(3)), np.random.Generator(np.random.Philox(3))])
def test_what_is_the_users_own(tmp_path, seed):
    one = nr.Trainer(plain(), squared, Lion(nr.cosine(0.01)), metrics={"own": squared_error}, epochs=4, seed=seed)
    one.fit(X, Y, epochs=2, progress=False)
    one.save(tmp_path / "own")
    with pytest.raises(nr.TrustError, match="test_checkpoints:"):
        nr.Trainer.load(tmp_path / "own")
    two = nr.Trainer.load(tmp_path / "own", trusted=[squared, Lion, squared_error])
    for each in (one, two):
        each.fit(X, Y, progress=False)
    assert same(one.network, two.network) and two.history.metrics == one.history.metrics
    assert two._course.updates.state()["memory"]["steps"] == [8]


def squared_error(prediction, target):
    return squared(prediction, target)[0]


def test_what_no_file_can_describe_is_said_before_training(tmp_path):
    net = plain()
    before = net.params.flat.copy()
    with pytest.raises(TypeError, match="^training.loss: expected what a file can describe"):
        net.fit(X, Y, lambda p, y: squared(p, y), callbacks=[nr.Checkpoint(tmp_path)], progress=False)
    with pytest.raises(TypeError, match=r"^training.optimizer.rate: expected what a file can describe"):
        nr.Trainer(net, optimizer=nr.SGD(lambda u, n: 0.1)).save(tmp_path / "a")
    assert np.array_equal(net.params.flat, before) and not list(tmp_path.iterdir())


def stopped(folder):
    """A trainer that was stopped in the second of its epochs."""
    with contextlib.suppress(KeyboardInterrupt):
        keep = nr.Checkpoint(folder, 1, "update")
        plain().fit(X, Y, batch_size=9, epochs=5, callbacks=[Stop(8), keep, nr.EarlyStopping(3)], progress=False)
    return nr.Trainer.load(folder)


def test_an_epoch_that_is_begun_goes_on_as_it_was_or_not_at_all(tmp_path):
    trainer = stopped(tmp_path)
    assert trainer.step == 8 and len(trainer.history.loss) == 1
    before = trainer.network.params.flat.copy()
    for options, message in (
        (dict(batch_size=8), "batch_size: expected 9 as in the epoch that is begun, got 8"),
        (
            dict(x=X[:, :30], y=Y[:30], batch_size=9),
            "x: expected the samples of the epoch that is begun, 40 that",
        ),
        (dict(x=[(X, Y)], y=None), "batch_size: expected 9 as in the epoch that is begun, got None"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            trainer.fit(**{"x": X, "y": Y, "progress": False, **options})
    assert np.array_equal(trainer.network.params.flat, before)
    expected = "callbacks: expected the callbacks of the checkpoint, got none like EarlyStopping"
    with pytest.warns(RuntimeWarning, match=expected):
        trainer.fit(X, Y, batch_size=9, progress=False)
    assert len(trainer.history.loss) == 5
    trainer = stopped(tmp_path / "other")
    trainer.fit(X[:, :30], Y[:30], epochs=1, resume=False, progress=False)
    assert len(trainer.history.loss) == 2


def changed(path, change):
    """Change a file's training (is modified)."""
    arrays = load_file(path)
    with safe_open(path, "np") as file:
        description = json.loads(file.metadata()["numbarnn"])
    change(description["training"], arrays)
    save_file(arrays, path, metadata={"numbarnn": json.dumps(description)})


CHANGES = {
    "no loss": lambda t, a: t.pop("loss"),
    "another loss": lambda t, a: t.update(loss="mes"),
    "a loss that is an optimizer": lambda t, a: t.update(loss=t["optimizer"]),
    "an optimizer that is a loss": lambda t, a: t.update(optimizer={"is": "CrossEntropy", "ignore_index": None}),
    "another accumulate": lambda t, a: t.update(accumulate=-3),
    "another metric": lambda t, a: t.update(metrics=["much"]),
    "another generator": lambda t, a: t["random"].update(bit_generator="Generator"),
    "a state of the generator": lambda t, a: t["random"].update(state=3),
    "masks": lambda t, a: t.update(masks=t["random"]),
    "an order": lambda t, a: a.update({"training.order": np.zeros(3)}),
    "no order": lambda t, a: t.update(order="now"),
    "steps": lambda t, a: t["updates"].update(step=-1),
    "rows": lambda t, a: t["updates"].update(rows={}),
    "memory of another size": lambda t, a: a.update({"training.updates.memory.0": np.zeros(3)}),
    "less memory": lambda t, a: t["updates"]["memory"]["items"].pop(),
    "a place": lambda t, a: t.update(place=[0, 1, 2]),
    "a history": lambda t, a: a.update({"training.history.loss": np.zeros((2, 2))}),
    "callbacks": lambda t, a: t.update(callbacks=3),
    "no states": lambda t, a: t.pop("carried"),
    "states of no layer": lambda t, a: t.update(carried=[]),
    "states": lambda t, a: t.update(carried=3),
    "no clip": lambda t, a: t.update(clip=0),
    "a clip of text": lambda t, a: t.update(clip="1"),
    "no epochs": lambda t, a: t.update(epochs=0),
    "updates": lambda t, a: t.update(most=2.5),
    "nothing accumulated": lambda t, a: t.update(accumulate=0),
    "a tape of no kind": lambda t, a: t.update(kept=["some", None]),
    "shards": lambda t, a: t.update(shared={"shards": 3, "seed": 0}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_was_changed_is_refused(name, tmp_path):
    path = tmp_path / "training.safetensors"
    trainer = nr.Trainer(plain())
    trainer.fit(X, Y, epochs=1, progress=False)
    trainer.save(path)
    changed(path, lambda training, arrays: None)
    nr.Trainer.load(path)
    changed(path, CHANGES[name])
    with pytest.raises(nr.FileFormatError, match="^.*training.safetensors: "):
        nr.Trainer.load(path)


def test_rows_that_no_table_has_are_refused(tmp_path):
    path = tmp_path / "training.safetensors"
    for key, change in {
        "seen": lambda v: v + 1000, "live": lambda v: v[:3], "scalars": lambda v: v[:0], "table": lambda v: v.T.copy(),
        "memory.0": lambda v: v.astype(np.float32),
    }.items():  # fmt: skip
        trainer = nr.Trainer(reader(), "cross_entropy")
        trainer.fit(WORDS, LABELS, epochs=1, progress=False)
        trainer.save(path)
        name = f"training.updates.rows.0.{key}"
        changed(path, lambda t, arrays, name=name, change=change: arrays.update({name: change(arrays[name])}))
        with pytest.raises(nr.FileFormatError, match="training"):
            nr.Trainer.load(path)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda f: nr.Checkpoint(3), TypeError, "path: expected the name of a folder, got 3"),
        (lambda f: nr.Checkpoint(f, 0), ValueError, "every: expected a positive integer, got 0"),
        (lambda f: nr.Checkpoint(f, unit="batch"), nr.UnknownNameError, "unit: unknown name 'batch'"),
        (lambda f: nr.Checkpoint(f, keep_last=0), ValueError, "keep_last: expected a positive integer, got 0"),
        (lambda f: nr.Checkpoint(f, keep_best=1), TypeError, "keep_best: expected True or False, got 1"),
        (lambda f: nr.Checkpoint(f, monitor="score"), ValueError, "mode: expected 'min' or 'max'"),
        (lambda f: nr.Trainer.load(f), nr.DataNotFoundError, "path: expected a folder with checkpoints, got"),
        (lambda f: nr.Trainer.load(f / "none"), FileNotFoundError, ""),
        (lambda f: (plain().save(f / "n"), nr.Trainer.load(f / "n")), nr.FileFormatError, ".*: training: expected one that"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, message, tmp_path):
    with pytest.raises(error, match=f"^{message}" if message else None):
        call(tmp_path)


@pytest.mark.parametrize("kind, count", [("samples", 2), ("pieces", 1)])
def test_killed_processes_go_on(kind, count):
    ends, updates = kills.kill_and_go_on(count, kind)
    assert ends >= 1 and len(updates) <= count
