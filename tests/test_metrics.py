"""Metrics in training and evaluation, the callbacks that follow them, and their table."""

import csv

import numpy as np
import pytest

import numbarnn as nr

RANDOM = np.random.default_rng(0)
X, Y = nr.windows(np.sin(np.arange(45.0) / 4), 5)
LABELS = (X[0, :, 0] > 0).astype(int)
HELD = X[:, ::3], Y[::3]


def network():
    return nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, seed=0, dtype="float64")


def classifier(*between):
    return nr.Network([nr.RNN(3), *between, nr.Dense(2)], channels=1, seed=0, dtype="float64")


def largest(prediction, target):
    return float(np.abs(prediction - target).max())


def test_metrics_are_those_of_the_network_after_each_epoch():
    net, seen = network(), []

    def see(net, history):
        seen.append([largest(net.predict(x), y) for x, y in ((X, Y), HELD)])
        seen[-1] += [net.loss(X, Y, "mae"), net.loss(*HELD, "mae")]

    history = net.fit(X, Y, epochs=3, metrics=[largest, "mae"], validation=HELD, callbacks=[see], progress=False)
    names = ["largest", "validation_largest", "mae", "validation_mae"]
    assert sorted(history.metrics) == sorted(names)
    assert [[history.metrics[name][epoch] for name in names] for epoch in range(3)] == seen
    assert list(history.as_dict())[-4:] == list(history.metrics)
    assert net.evaluate(*HELD, metrics={"far": largest}) == {"loss": history.validation[-1], "far": seen[-1][1]}
    twin = network()
    twin.fit(X, Y, epochs=3, validation=HELD, progress=False)
    assert np.array_equal(twin.params.flat, net.params.flat)  # to measure changes nothing


@pytest.mark.parametrize("ragged", [False, True])
def test_labels_that_do_not_count_are_in_no_metric(ragged):
    net, labels, seen = classifier(), RANDOM.integers(0, 2, (5, 40)), []
    labels[RANDOM.random((5, 40)) < 0.3] = 7
    lengths = RANDOM.integers(0, 6, 40) if ragged else None
    there = (labels != 7) & (np.arange(5)[:, None] < (5 if lengths is None else lengths))

    def see(prediction, target):
        seen.append((prediction, target))
        return 0

    found = net.evaluate(X, labels, nr.CrossEntropy(7), ["accuracy", see], lengths)
    right = net.predict(X, lengths).argmax(-1) == labels
    assert found["accuracy"] == pytest.approx(right[there].mean(), rel=1e-15)
    assert seen[0][0].shape == (there.sum(), 2) and len(seen[0][1]) == there.sum() and 7 not in seen[0][1]


@pytest.mark.parametrize("weights", [None, np.zeros((5, 40))])
def test_where_no_label_counts_there_is_a_loss_and_no_metric(weights):
    net, labels = classifier(), np.full((5, 40), 7 if weights is None else 1)
    assert net.evaluate(X, labels, nr.CrossEntropy(7), weights=weights) == {"loss": 0.0}
    with pytest.raises(ValueError, match=r"^metrics\['accuracy'\]: expected at least one label that counts, got none"):
        net.evaluate(X, labels, nr.CrossEntropy(7), ["accuracy"], weights=weights)


@pytest.mark.parametrize("kind", ["padded", "ragged", "samples", "last"])
def test_metrics_have_the_weights_of_the_samples(kind):
    net, labels, seen = classifier(*([nr.Last()] if kind == "last" else [])), RANDOM.integers(0, 2, (5, 40)), []
    labels[RANDOM.random((5, 40)) < 0.3] = 7
    labels = np.maximum(labels, 0)[0] if kind == "last" else labels
    lengths = RANDOM.integers(1, 6, 40)
    weights = RANDOM.integers(0, 4, 40 if kind in ("samples", "last") else (5, 40)) / 2
    there = (labels != 7) & (weights > 0) & ((np.arange(5)[:, None] < lengths) if kind != "last" else True)

    def see(prediction, target, weights):
        seen.append((prediction, target, weights))
        return 0

    def see_more(prediction, target, *, weights=None):
        return float(weights.sum())

    x, y, w, rest = X, labels, weights, {"lengths": lengths}
    if kind == "ragged":
        parts = X, labels, weights[..., None]
        x, y, w = (nr.Ragged.of([part[:n, k] for k, n in enumerate(lengths)]) for part in parts)
        rest = {}
    loss, right = nr.CrossEntropy(7, class_weights=(1, 5)), net.predict(X, lengths).argmax(-1) == labels
    found = net.evaluate(x, y, loss, ["accuracy", see, see_more], weights=w, **rest)
    weighed = np.broadcast_to(weights, there.shape)[there]
    assert found["accuracy"] == pytest.approx((weighed * right[there]).sum() / weighed.sum(), rel=1e-14)
    prediction, target, given = seen[0]
    assert prediction.shape == (there.sum(), 2) and target.shape == given.shape == (there.sum(),) and 7 not in target
    assert given.sum() == weighed.sum() == found["see_more"] and given.dtype == np.float64
    history = net.fit(x, y, loss, epochs=1, metrics=["accuracy"], weights=w, progress=False, **rest)
    assert history.metrics["accuracy"] == [net.evaluate(x, y, loss, ["accuracy"], weights=w, **rest)["accuracy"]]
    net.evaluate(x, y, loss, [see], **rest)
    assert seen[-1][2] is None


def test_metrics_of_numbers_have_the_weights_too():
    net, weights = network(), RANDOM.random(40)

    def far(prediction, target, weights):
        assert weights.shape == target.shape
        return float((weights * np.abs(prediction - target)).sum() / weights.sum())

    found = net.evaluate(X, Y, metrics=["mae", far], weights=weights)
    assert found["far"] == pytest.approx(found["mae"], rel=1e-14)


def test_a_metric_may_write_to_its_arguments():
    def spoil(prediction, target):
        prediction[...] = target[...] = 7
        return 1

    net, y = network(), Y.copy()
    history = net.fit(X, y, epochs=2, metrics=[spoil], progress=False)
    assert np.array_equal(y, Y) and history.metrics == {"spoil": [1.0, 1.0]}


def test_stopping_by_a_metric():
    values = iter([0.1, 0.5, 0.4, 0.52, 0.3, 0.9, 0.9])

    def score(prediction, target):
        return next(values)

    net, seen = network(), []
    stopping = nr.EarlyStopping(3, monitor="score", mode="max", min_delta=0.05)
    history = net.fit(
        X, Y, epochs=7, metrics=[score], callbacks=[stopping, lambda net, _: seen.append(net.params.flat.copy())],
        progress=False,
    )  # fmt: skip
    assert (stopping.best, stopping.epoch, len(history.loss)) == (0.5, 2, 5)
    assert np.array_equal(net.params.flat, seen[1])
    net = classifier(nr.Last())
    stopping = nr.EarlyStopping(2, monitor="validation_accuracy")  # larger is better
    history = net.fit(
        X, LABELS, "cross_entropy", nr.Adam(0.1), epochs=30, metrics=["accuracy"], validation=(X[:, ::3], LABELS[::3]),
        callbacks=[stopping], progress=False,
    )  # fmt: skip
    assert stopping.best == max(history.metrics["validation_accuracy"]) > 0.5 and len(history.loss) == stopping.epoch + 2
    with pytest.raises(nr.UnknownNameError, match="^monitor: unknown name 'accuracy', expected one of 'loss'; .*metrics="):
        network().fit(X, Y, callbacks=[nr.EarlyStopping(monitor="accuracy")], progress=False)


def test_a_table_of_the_epochs(tmp_path):
    path = tmp_path / "table.csv"
    trainer = nr.Trainer(network(), metrics=[largest])

    def rows():
        with open(path, newline="") as file:
            return list(csv.DictReader(file))

    def same():
        table = trainer.history.as_dict()
        return rows() == [{name: str(v) for name, v in zip(table, row)} for row in zip(*table.values())]

    lengths = []
    way = dict(callbacks=[nr.CSVLogger(path), lambda *_: lengths.append(len(rows()))], progress=False)
    trainer.fit(X, Y, epochs=2, **way)
    assert same() and lengths == [1, 2]
    trainer.fit(X, Y, epochs=2, validation=HELD, **way)  # with a column more
    assert same() and lengths == [1, 2, 3, 4]
    assert rows()[0]["validation"] == rows()[0]["validation_largest"] == "nan" and len(rows()) == 4


def test_batches_are_told():
    class Told(nr.Callback):
        def __init__(self, last=None):
            self.said, self.last = [], last

        def start(self, network):
            self.said.append("start")

        def batch(self, network, loss):
            self.said.append(loss)
            return len(self.said) == self.last

        def __call__(self, network, history):
            self.said.append(history.loss[-1])

        def finish(self, network, history):
            self.said.append("finish")

    told, net = Told(), network()
    history = net.fit(X, Y, epochs=2, batch_size=20, callbacks=[told], progress=False)
    assert told.said[0] == "start" and told.said[-1] == "finish" and len(told.said) == 8
    for losses in (told.said[1:4], told.said[4:7]):
        assert np.mean(losses[:2]) == pytest.approx(losses[2], rel=1e-14)
    early, other = Told(6), network()
    history = other.fit(X, Y, epochs=5, batch_size=20, callbacks=[early], progress=False)
    assert len(history.loss) == 1 and early.said == [*told.said[:3], history.loss[0], *told.said[4:6], "finish"]


def test_parameters_that_a_batch_spoils_are_as_before():
    class Spoils(nr.Callback):
        def batch(self, network, loss):
            self.before = network.params.flat.copy()
            network.params.flat[2] = np.nan

    net, spoils = network(), Spoils()
    with pytest.raises(nr.NonFiniteError, match="callbacks: expected finite parameters"):
        net.fit(X, Y, callbacks=[spoils], progress=False)
    assert np.array_equal(net.params.flat, spoils.before)


def test_with_shards_metrics_are_those_of_all_samples():
    net, seen = network(), []
    see = lambda net, history: seen.append([largest(net.predict(X), Y), net.loss(*HELD, "mae")])  # noqa: E731
    options = dict(metrics=[largest, "mae"], validation=HELD, shards=4, progress=False)
    history = net.fit(X, Y, epochs=2, callbacks=[see], **options)
    assert [[history.metrics[name][epoch] for name in ("largest", "validation_mae")] for epoch in range(2)] == seen


class OfUpdates(nr.Callback):
    """Remembers the loss of each update, and ends the training after so many."""

    def __init__(self, count):
        self.losses, self.count = [], count

    def batch(self, network, loss):
        self.losses.append(loss)
        return len(self.losses) == self.count


def test_with_shards_callbacks_learn_of_each_update():
    one, two, whole = OfUpdates(100), OfUpdates(5), network()
    history = whole.fit(X, Y, epochs=2, batch_size=10, shards=4, callbacks=[one], progress=False)
    assert len(one.losses) == 2 * 4 and len(Y) == 40
    counts = [8, 12, 8, 12]  # 2 or 3 samples of each shard's 10
    np.testing.assert_allclose(np.reshape(one.losses, (2, 4)) @ counts / 40, history.loss, rtol=1e-12)
    net = network()
    assert len(net.fit(X, Y, epochs=2, batch_size=10, shards=4, callbacks=[two], progress=False).loss) == 1
    assert two.losses == one.losses[:5] and not np.array_equal(net.params.flat, whole.params.flat)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(metrics="mae"), TypeError, "metrics: expected a sequence of names and functions"),
        (dict(metrics=3), TypeError, "metrics: expected a sequence of names and functions"),
        (dict(metrics=["hubr"]), nr.UnknownNameError, r"metrics\[0\]: unknown name 'hubr', .*did you mean 'huber'"),
        (dict(metrics=["mae", lambda y: 0]), TypeError, r"metrics\[1\]: expected a function of \(prediction, target\)"),
        (dict(metrics=[lambda y, weights: 0]), TypeError, r"metrics\[0\]: expected a function of \(prediction, target\)"),
        (dict(metrics=["accuracy"]), TypeError, r"metrics\[0\]: expected targets that are labels"),
        (dict(metrics=[lambda p, y: 0] * 2), ValueError, r"metrics\[1\]: expected a name of its own, got '<lambda>'"),
        (dict(metrics={"loss": largest}), ValueError, r"metrics\['loss'\]: expected a name of its own"),
        (dict(metrics=[lambda p, y: "much"]), TypeError, "metrics.*: expected a function that returns a number, got 'much'"),
    ],
)
def test_bad_input_is_named(options, error, message):
    net = network()
    before = net.params.flat.copy()
    with pytest.raises(error, match=f"^{message}"):
        net.fit(X, Y, epochs=1, progress=False, **options)
    if "much" not in message:
        assert np.array_equal(net.params.flat, before) and net.history is None


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: nr.EarlyStopping(monitor=3), TypeError, "monitor: expected text or None, got 3"),
        (lambda: nr.EarlyStopping(monitor="score"), ValueError, "mode: expected 'min' or 'max' beside monitor='score'"),
        (lambda: nr.EarlyStopping(mode="least"), nr.UnknownNameError, "mode: unknown name 'least'"),
        (lambda: nr.CSVLogger(3), TypeError, "path: expected a str or an os.PathLike, got 3"),
        (lambda: nr.Trainer(network(), metrics=["accuracy"]).fit(X, Y), TypeError, r"metrics\['accuracy'\]: .* labels"),
        (
            lambda: nr.Trainer(network(), metrics=["mae"]).fit([(X, Y)]),
            TypeError,
            "validation: .* beside batches of your own",
        ),
    ],
)
def test_bad_settings_are_named(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make()


@pytest.mark.parametrize(
    "train",
    [
        nr.Network.fit,
        lambda net, *samples, **rest: nr.Trainer(net, *samples[2:], metrics=rest.pop("metrics")).fit(*samples[:2], **rest),
    ],
    ids=["network", "trainer"],
)
def test_a_metric_that_validation_data_lack_is_refused_before_a_training(train):
    net = network()
    before = net.params.flat.copy()
    with pytest.raises(TypeError, match=r"^metrics\['accuracy'\]: expected targets that are labels"):
        train(
            net, X, LABELS, "binary_cross_entropy", metrics=["accuracy"], epochs=1, validation=(X, np.full((40, 1), 0.5)),
            progress=False,
        )  # fmt: skip
    assert np.array_equal(net.params.flat, before)
