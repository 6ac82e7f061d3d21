"""A graph is trained: a loss for each output, the bits of the network that it is, one pass taken again and again."""

import numba
import numpy as np
import pytest
from graph_strategies import BATCH, graph_case, graph_cases
from hypothesis import given, settings

import numbarnn as nr
from numbarnn.graphs.workspace import GraphWorkspace
from numbarnn.testing import slope_error

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((7, 20, 2)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20)
ROWS = [nr.GRU(4, bidirectional=True), nr.Dropout(0.2), nr.Last(), nr.Dense(3)]


def pair(layout="tnc", rows=ROWS, **options):
    """(a network, the graph that it is)."""
    net = nr.Network(rows, 2, layout=layout, seed=1, **options)
    nodes = {"a": nr.Node(rows[:2], "x"), "b": nr.Node(rows[2:], "a")}
    return net, nr.Graph({"x": 2}, nodes, ["b"], layout=layout, seed=1, **options)


def forecast(**options):
    """Two inputs of different steps, a static one, two outputs."""
    nodes = {
        "encoder": nr.Node(nr.GRU(4), ["past", "static"]),
        "decoder": nr.Node(nr.GRU(4), "known", state="encoder"),
        "y": nr.Node(nr.Dense(1), ["decoder", "known"]),
        "class": nr.Node([nr.Last(), nr.Dense(3)], "encoder"),
    }
    return nr.Graph({"past": 2, "static": nr.Input(1, False), "known": 1}, nodes, ["y", "class"], seed=0, **options)


INPUTS = {"past": X, "static": X[0, :, :1], "known": X[:4, :, 1:]}
TARGETS = {"y": np.cumsum(X[:4, :, :1], axis=0), "class": LABELS}
LOSS = {"y": "mse", "class": ("cross_entropy", 0.25)}


@settings(max_examples=25)
@given(graph_cases())
def test_the_gradient_of_a_loss_of_all_outputs(case):
    net, inputs, lengths, reset = case.net, case.inputs, case.options.get("lengths"), case.options.get("reset")
    random, y = np.random.default_rng(1), net.predict(inputs, lengths, reset)

    def like(each):
        shape = (each.data if hasattr(each, "offsets") else each).shape
        return nr.Ragged(random.standard_normal(shape), each.offsets) if hasattr(each, "offsets") else random.random(shape)

    targets = {name: like(each) for name, each in y.items()}
    loss = {name: ("mse", 0.5 + index) for index, name in enumerate(y)}
    weights = {name: random.random(BATCH) for name in y}
    arguments = inputs, targets, loss, lengths, weights, reset
    flat = net.params.flat.copy()
    value, gradient = net.loss_and_gradient(flat, *arguments)
    assert np.isclose(value, net.loss(*arguments), rtol=1e-12) and np.array_equal(net.params.flat, flat)
    way = random.choice((-1.0, 1.0), flat.shape) / np.sqrt(len(flat))

    def at(distance):
        found = net.loss_and_gradient(flat + distance * way, *arguments)[0]
        return found, abs(found)

    assert slope_error(at, gradient @ way, np.linalg.norm(gradient)) <= 1


@pytest.mark.parametrize("kind", ["plain", "ntc", "lengths", "ragged", "weights", "labels of steps", "reset"])
def test_a_graph_trains_with_the_bits_of_the_network_that_it_is(kind):
    rows = ROWS if kind not in ("labels of steps", "reset") else [nr.GRU(4), nr.Dropout(0.2), nr.LSTM(3), nr.Dense(3)]
    net, graph = pair("ntc" if kind == "ntc" else "tnc", rows)
    x, y, options = X, LABELS, {}
    if kind == "ntc":
        x = X.transpose(1, 0, 2)
    if kind == "ragged":
        x = nr.Ragged.of([X[: 3 + n % 3, n] for n in range(20)])
    if kind in ("lengths", "labels of steps"):
        options["lengths"] = np.arange(20) % 3 + np.where(np.arange(20) < 8, 5, 0)
    if kind == "reset":
        options["reset"] = np.random.default_rng(1).random((7, 20)) < 0.3
    if kind == "weights":
        options["weights"] = np.arange(20) % 4
    if kind in ("labels of steps", "reset"):
        y = np.repeat(LABELS[None], 7, axis=0)
    common = {"epochs": 3, "batch_size": 6, "loss": "cross_entropy", "optimizer": "adam", "seed": 3, "progress": False}
    right = net.fit(x, y, metrics=["accuracy"], clip=1.0, **common, **options)
    found = graph.fit({"x": x}, {"b": y}, metrics={"b": ["accuracy"]}, clip=1.0, **common, **options)
    assert np.array_equal(graph.params.flat, net.params.flat) and found.loss == right.loss
    assert found.metrics["b_accuracy"] == right.metrics["accuracy"]
    assert graph.loss({"x": x}, {"b": y}, "cross_entropy", **options) == net.loss(x, y, "cross_entropy", **options)


def test_several_losses_are_summed():
    net, flat = forecast(dtype="float64"), None
    flat = net.params.flat.copy()
    both = net.loss_and_gradient(flat, INPUTS, TARGETS, LOSS)
    one, other = (
        net.loss_and_gradient(flat, INPUTS, {name: TARGETS[name]}, {name: loss})
        for name, loss in (("y", "mse"), ("class", "cross_entropy"))
    )
    assert np.isclose(both[0], one[0] + 0.25 * other[0], rtol=1e-14)
    assert np.allclose(both[1], one[1] + 0.25 * other[1], rtol=1e-12, atol=1e-15)
    own = net.evaluate(INPUTS, TARGETS, LOSS, {"class": ["accuracy"], "y": ["mae"]})
    assert list(own) == ["loss", "y_loss", "class_loss", "class_accuracy", "y_mae"]
    assert np.isclose(own["loss"], own["y_loss"] + 0.25 * own["class_loss"], rtol=1e-14)


@pytest.mark.parametrize("kind", ["arrays", "ragged", "indices"])
def test_a_pass_that_is_taken_again_has_the_bits_of_a_new_one(kind):
    numba.set_num_threads(1)  # several now and then leave it to one, whose passes are others
    if kind == "indices":
        nodes = {"e": nr.Node(nr.Embedding(5, 3), "x"), "h": nr.Node([nr.LSTM(3), nr.Last(), nr.Dense(1)], "e")}
        net = nr.Graph({"x": None}, nodes, ["h"], layout="ntc", seed=0)
        inputs, targets, loss = {"x": RANDOM.integers(0, 5, (20, 6))}, {"h": X[0, :, :1]}, "mse"
    else:
        net, inputs, targets, loss = forecast(layout="ntc"), dict(INPUTS), dict(TARGETS), LOSS
        inputs = {name: each.swapaxes(0, 1) if each.ndim == 3 else each for name, each in inputs.items()}
        targets["y"] = targets["y"].swapaxes(0, 1)
        if kind == "ragged":
            ragged = {name: nr.Ragged.of(list(inputs[name])) for name in ("past", "known")}
            inputs, targets["y"] = inputs | ragged, nr.Ragged.of(list(targets["y"]))
    losses = net._found_loss(loss)
    samples, gradient = net._samples(inputs, targets, None, losses), net.params.zeros()
    again = net._workspaces(net.split(gradient.flat), net._own, ("all", None))
    for at in range(4):
        chosen = np.arange(20)[at::4]
        value = again.gradient(samples, chosen, losses, None)
        fresh = net.params.zeros()
        new = GraphWorkspace(net, net.split(fresh.flat), net._own, ("all", None))
        assert value == new.gradient(samples.take(chosen), losses) and np.array_equal(gradient.flat, fresh.flat)
        net.params.flat[:] -= np.float32(0.1) * gradient.flat
    assert len(again._kept) == 1


def test_an_output_without_targets_in_a_batch_counts_nothing():
    net = forecast(dtype="float64")
    targets = {"y": TARGETS["y"].astype(float), "class": np.where(np.arange(20) < 10, LABELS, -1)}
    targets["y"][:, 10:] = np.nan
    loss = {"y": nr.MSE(missing="nan"), "class": nr.CrossEntropy(ignore_index=-1)}
    history = net.fit(INPUTS, targets, loss, batch_size=5, shuffle=False, epochs=2, progress=False)
    assert np.isfinite(history.loss).all()
    kept, half = forecast(dtype="float64"), slice(0, 10)
    some = {name: each[..., half, :] if each.ndim == 3 else each[half] for name, each in INPUTS.items()}
    right = {"y": targets["y"][:, half], "class": targets["class"][half]}
    kept.fit(some, right, loss, batch_size=5, shuffle=False, epochs=2, progress=False)
    assert np.array_equal(kept.params.flat, net.params.flat)


def test_lengths_of_each_input_and_padding():
    net, lengths = forecast(), {"past": np.arange(20) % 7 + 1, "known": np.arange(20) % 5}
    inputs, targets = {name: each.copy() for name, each in INPUTS.items()}, {**TARGETS, "y": TARGETS["y"].copy()}
    for name, array in (("past", inputs["past"]), ("known", inputs["known"]), ("known", targets["y"])):
        array[np.arange(len(array))[:, None] >= lengths[name]] = np.nan
    first, other = forecast(), forecast()
    history = first.fit(inputs, targets, LOSS, epochs=2, batch_size=6, lengths=lengths, progress=False)
    other.fit(INPUTS, TARGETS, LOSS, epochs=2, batch_size=6, lengths=lengths, progress=False)
    assert np.array_equal(first.params.flat, other.params.flat) and np.isfinite(history.loss).all()
    assert net.loss(inputs, targets, LOSS, lengths) == net.loss(INPUTS, TARGETS, LOSS, lengths)


def test_everything_that_fit_has():
    net, stopping = forecast(), nr.EarlyStopping(patience=2, monitor="validation_class_accuracy", mode="max")
    before = net.params["encoder.weight_ih_l0"].copy()
    history = net.fit(
        INPUTS, TARGETS, LOSS, nr.Adam(nr.cosine(0.01)), epochs=5, batch_size=8, clip=1.0, frozen=["encoder.*"],
        validation_split=0.2, metrics={"class": ["accuracy"]}, callbacks=[stopping], progress=False,
    )  # fmt: skip
    assert net.history is history and len(history.validation) == len(history.loss) == len(history.metrics["class_accuracy"])
    assert np.array_equal(net.params["encoder.weight_ih_l0"], before) and stopping.epoch >= 1
    measured = net.fit(INPUTS, TARGETS, LOSS, epochs=1, validation=(INPUTS, TARGETS), progress=False)
    assert measured.validation[-1] == pytest.approx(net.loss(INPUTS, TARGETS, LOSS), rel=1e-6)


def test_a_trainer_goes_on():
    whole, halves = (nr.Trainer(forecast(), LOSS, nr.Adam(0.01), seed=2, accumulate=2) for _ in range(2))
    whole.fit(INPUTS, TARGETS, epochs=4, batch_size=6, progress=False)
    for _ in range(2):
        halves.fit(INPUTS, TARGETS, epochs=2, batch_size=6, progress=False)
    assert np.array_equal(whole.network.params.flat, halves.network.params.flat)
    assert halves.update(INPUTS, TARGETS) == pytest.approx(whole.network.loss(INPUTS, TARGETS, LOSS), rel=1e-5)
    history = halves.fit([(INPUTS, TARGETS)], epochs=1, progress=False)
    assert len(history.loss) == 5


WORDS = RANDOM.integers(0, 40, (7, 20))


def speller(network=False, **options):
    """A network, or a graph, whose first layer is an embedding."""
    rows = [nr.Embedding(40, 3), nr.GRU(4), nr.Last(), nr.Dense(3)]
    if network:
        return nr.Network(rows, seed=1, **options)
    nodes = {"a": nr.Node(rows[:1], "x"), "b": nr.Node(rows[1:], "a")}
    return nr.Graph({"x": None}, nodes, ["b"], seed=1, **options)


@pytest.mark.parametrize("kind", ["plain", "frozen", "decay", "accumulate", "own optimizer", "lengths"])
def test_the_rows_of_a_first_table_are_updated_with_the_bits_of_a_network(kind):
    class Slow(nr.SGD):
        def update(self, flat, previous, gradient, memory, step, rate, scale):
            flat -= np.float32(0.5 * rate * scale) * gradient

    optimizer = {"decay": nr.AdamW(0.02, decay=0.1), "own optimizer": Slow(0.1)}.get(kind, nr.Adam(0.02))
    options = {"frozen": ["*weight"] if kind == "frozen" else (), "accumulate": 2 if kind == "accumulate" else 1}
    lengths = {"lengths": np.arange(20) % 8} if kind == "lengths" else {}
    one, two = (nr.Trainer(speller(way), "cross_entropy", optimizer, seed=3, clip=1.0, **options) for way in (True, False))
    rowwise = kind not in ("accumulate", "own optimizer")
    assert bool(two._course.updates.reading) == (rowwise and kind != "frozen")
    right = one.fit(WORDS, LABELS, epochs=3, batch_size=6, progress=False, **lengths)
    found = two.fit({"x": WORDS}, {"b": LABELS}, epochs=3, batch_size=6, progress=False, **lengths)
    assert np.array_equal(two.network.params.flat, one.network.params.flat) and found.loss == right.loss
    assert two.update({"x": WORDS}, {"b": LABELS}) == one.update(WORDS, LABELS)
    assert np.array_equal(two.network.params.flat, one.network.params.flat)


def reader(order=("e", "h", "f", "g"), shared=False):
    """Two tables, each in any place among the parameters, or one that two nodes read."""
    nodes = {"e": nr.Node(nr.Embedding(40, 3), "x"), "h": nr.Node([nr.GRU(4), nr.Last(), nr.Dense(3)], "e")}
    nodes |= {"f": nr.Node("e" if shared else nr.Embedding(40, 2), "z"), "g": nr.Node([nr.Last(), nr.Dense(1)], "f")}
    made = nr.Graph({"x": None, "z": None}, {name: nodes[name] for name in order}, ["h", "g"], seed=0)
    for name in made.params.names:
        own = np.random.default_rng(sum(map(ord, name)))
        made.params[name] = (0.3 * own.standard_normal(made.params[name].shape)).astype(np.float32)
    return made


READ = {"x": WORDS, "z": np.roll(WORDS, 3, axis=1)[2:] % 23}
TWO, OF_TWO = {"h": LABELS, "g": X[0, :, :1]}, {"h": "cross_entropy", "g": "mse"}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("optimizer", [nr.Adam(0.02), nr.AdamW(0.02, decay=0.1), nr.SGD(0.05, 0.9)], ids=repr)
def test_rows_of_tables_are_updated_to_the_numbers_of_an_update_of_all(optimizer, shared, monkeypatch):
    """Wherever they are among the parameters, and read by two nodes; those that no batch has used decay as well."""
    flats, way = [], {"epochs": 2, "batch_size": 6, "seed": 1, "progress": False, "clip": 1.0}
    orders = [("e", "h", "f", "g"), ("f", "g", "e", "h"), ("h", "g", "e", "f"), ("h", "e", "g", "f")]
    for order in orders[:1] if shared else orders:
        for rows in (True, False):
            with monkeypatch.context() as change:
                if not rows:
                    change.setattr(nr.Graph, "_tables", [])
                made = reader(order, shared)
                trainer = nr.Trainer(made, OF_TWO, optimizer, seed=1, clip=1.0)
                assert len(trainer._course.updates.reading) == rows * (2 - shared)
                made.fit(READ, TWO, OF_TWO, optimizer, **way)
            flats.append(np.concatenate([made.params[name].ravel() for name in sorted(made.params.names)]))
    for other in flats[1:]:
        np.testing.assert_allclose(other, flats[0], rtol=2e-5, atol=2e-6)  # the rest is summed in another order


def test_tables_to_which_no_gradient_comes_or_that_are_frozen_stay():
    for order in (("e", "h", "f", "g"), ("h", "f", "g", "e")):
        made = reader(order)
        before = made.params["e.weight"].copy(), made.params["f.weight"].copy()
        made.fit(READ, {"g": TWO["g"]}, {"g": "mse"}, nr.SGD(0.1), epochs=2, progress=False)
        assert np.array_equal(made.params["e.weight"], before[0]) and not np.array_equal(made.params["f.weight"], before[1])
        made.fit(READ, TWO, OF_TWO, "adam", epochs=2, progress=False, frozen=["e.*", "g.*"])
        assert np.array_equal(made.params["e.weight"], before[0]) and np.isfinite(made.params.flat).all()


def test_an_update_of_several_tables_is_undone_as_a_whole():
    """A step whose numbers are not finite, and one that ends between two kernels, leave all as it was."""
    for order in (("e", "h", "f", "g"), ("h", "f", "g", "e")):
        made = reader(order)
        trainer = nr.Trainer(made, OF_TWO, nr.SGD(0.1, 0.9))
        trainer.update(READ, TWO)
        before = made.params.flat.copy()
        with pytest.raises(nr.NonFiniteError):
            nr.Trainer(made, OF_TWO, nr.SGD(1e38)).update(READ, {"h": LABELS, "g": TWO["g"] * np.float32(1e4)})
        assert np.array_equal(made.params.flat, before)
        own, taken = nr.SGD._take, []

        def take(self, flat, *rest, own=own, taken=taken):
            if taken:
                raise KeyboardInterrupt
            taken.append(flat)
            return own(self, flat, *rest)

        assert len(trainer._course.updates._others.parts) == 2  # before, between or behind the tables
        with pytest.MonkeyPatch.context() as change, pytest.raises(KeyboardInterrupt):
            change.setattr(nr.SGD, "_take", take)
            trainer.update(READ, TWO)
        assert np.array_equal(made.params.flat, before)
        trainer.update(READ, TWO)
        assert not np.array_equal(made.params.flat, before)


def test_a_training_of_several_tables_goes_on_from_its_file(tmp_path):
    whole, stopped = (nr.Trainer(reader(("h", "f", "g", "e")), OF_TWO, nr.Adam(0.05), seed=2) for _ in range(2))
    for trainer in (whole, stopped):
        for first in (0, 6):
            part = {name: each[:, first : first + 6] for name, each in READ.items()}
            trainer.update(part, {name: each[first : first + 6] for name, each in TWO.items()})
    stopped.save(tmp_path / "training")
    again = nr.Trainer.load(tmp_path / "training")
    for trainer in (whole, again):
        trainer.fit(READ, TWO, epochs=2, batch_size=6, progress=False)
    assert np.array_equal(again.network.params.flat, whole.network.params.flat)


@pytest.mark.parametrize("known", [[], [0]], ids=["no table by rows", "the first table by rows"])
@pytest.mark.parametrize("optimizer", [nr.Adam(0.02), nr.AdamW(0.02, decay=0.1), nr.SGD(0.05, 0.9), nr.SGD(0.05)], ids=repr)
def test_a_training_whose_tables_were_updated_as_a_whole_goes_on_from_its_file(optimizer, known, tmp_path, monkeypatch):
    """Files from a GPU, or from older versions, have such tables: here all tables, or all but the first."""
    for order, frozen in ((("e", "h", "f", "g"), ()), (("e", "f", "g", "h"), ("e.*",)), (("h", "f", "g", "e"), ("f.*",))):
        whole = nr.Trainer(reader(order), OF_TWO, optimizer, seed=2, frozen=frozen)
        with monkeypatch.context() as change:
            change.setattr(nr.Graph, "_tables", known if order[0] == "e" else [])
            old = nr.Trainer(reader(order), OF_TWO, optimizer, seed=2, frozen=frozen)
            for trainer in (whole, old):
                trainer.fit(READ, TWO, epochs=2, batch_size=6, progress=False)
            old.save(tmp_path / "training")
        again = nr.Trainer.load(tmp_path / "training")
        assert len(again._course.updates.reading) == 2 - bool(frozen)
        assert np.array_equal(again.network.params.flat, old.network.params.flat)
        for trainer in (whole, again):
            trainer.fit(READ, TWO, epochs=2, batch_size=6, progress=False)
        found, expected = again.network.params.flat, whole.network.params.flat
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)  # the rest is summed in another order


def test_a_file_whose_memory_is_that_of_other_tables_is_refused(tmp_path, monkeypatch):
    trainer = nr.Trainer(reader(("h", "f", "g", "e")), OF_TWO, "adam", seed=2)
    trainer.update(READ, TWO)
    state = trainer._course.updates.state()
    for rows in (None, state["rows"][:1]):
        with pytest.raises(ValueError, match=r"memory: expected vectors of \d+ numbers"):
            trainer._course.updates.restore({**state, "rows": rows})


def test_a_training_of_rows_goes_on_from_a_checkpoint(tmp_path):
    class Stop(nr.Callback):
        def batch(self, network, loss):
            self.left = getattr(self, "left", 5) - 1
            if not self.left:
                raise KeyboardInterrupt

    whole, stopped = (nr.Trainer(speller(), "cross_entropy", nr.Adam(0.05), seed=2, epochs=3) for _ in range(2))
    history = whole.fit({"x": WORDS}, {"b": LABELS}, batch_size=6, progress=False)
    keep = nr.Checkpoint(tmp_path, 1, "update")
    with pytest.raises(KeyboardInterrupt):
        stopped.fit({"x": WORDS}, {"b": LABELS}, batch_size=6, callbacks=[keep, Stop()], progress=False)
    resumed = nr.Trainer.load(tmp_path)
    found = resumed.fit({"x": WORDS}, {"b": LABELS}, batch_size=6, callbacks=[keep], progress=False)
    assert found.loss == history.loss and np.array_equal(resumed.network.params.flat, whole.network.params.flat)


@pytest.mark.parametrize("kind", ["plain", "lengths", "words"])
def test_shards_of_a_graph_have_the_bits_of_those_of_a_network(kind):
    net, graph = pair() if kind != "words" else (speller(True), speller())
    x, lengths = WORDS if kind == "words" else X, {"lengths": np.arange(20) % 7 + 1} if kind == "lengths" else {}
    (output,), way = graph.outputs, {"epochs": 2, "batch_size": 6, "shards": 4, "seed": 3, "progress": False}
    right = net.fit(x, LABELS, "cross_entropy", validation=(x, LABELS), **way, **lengths)
    given = {"x": x}, {output: LABELS}
    found = graph.fit(*given, "cross_entropy", validation=given, **way, **lengths)
    assert np.array_equal(graph.params.flat, net.params.flat)
    assert found.loss == right.loss and found.validation == right.validation


def test_shards_of_several_outputs_are_those_of_the_mean_over_all():
    one, other = forecast(dtype="float64"), forecast(dtype="float64")
    way = {"epochs": 3, "batch_size": 20, "optimizer": nr.SGD(0.1), "progress": False}
    history, plain = one.fit(INPUTS, TARGETS, LOSS, shards=8, **way), other.fit(INPUTS, TARGETS, LOSS, **way)
    np.testing.assert_allclose(one.params.flat, other.params.flat, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(history.loss, plain.loss, rtol=1e-12)
    lengths = {"past": np.full(20, 7), "known": np.arange(20) % 4 + 1}
    with pytest.raises(ValueError, match="^loss: expected one output, or samples that count the same in each, .* in 'y'"):
        forecast().fit(INPUTS, TARGETS, LOSS, lengths=lengths, shards=2, progress=False)
    trainer = nr.Trainer(forecast(dtype="float64"), LOSS, nr.SGD(0.1), shards=8)
    trainer.fit(INPUTS, TARGETS, epochs=3, batch_size=20, progress=False)
    assert np.array_equal(trainer.network.params.flat, one.params.flat)


def test_wrong_arguments_are_named():
    net, fit = forecast(), {"epochs": 1, "progress": False}
    bad = INPUTS["past"].copy()
    bad[3, 2, 1] = np.nan
    for call, error, message in [
        (lambda: net.fit(INPUTS, TARGETS, "mse", **fit), (ValueError, TypeError), r"targets\['class'\]"),
        (lambda: net.fit(INPUTS, TARGETS, {"z": "mse"}, **fit), nr.UnknownNameError, "loss: unknown name 'z'"),
        (lambda: net.fit(INPUTS, TARGETS, {}, **fit), ValueError, "loss: expected a loss for at least one output"),
        (lambda: net.fit(INPUTS, TARGETS, {**LOSS, "y": "mze"}, **fit), nr.UnknownNameError, r"loss\['y'\]: unknown name"),
        (lambda: net.fit(INPUTS, TARGETS, {**LOSS, "y": ("mse", 0)}, **fit), ValueError, r"loss\['y'\]\[1\]: expected"),
        (lambda: net.fit(INPUTS, TARGETS, {**LOSS, "y": ("mse",)}, **fit), ValueError, r"loss\['y'\]: expected a loss, or"),
        (lambda: net.fit(INPUTS, {"y": TARGETS["y"]}, LOSS, **fit), ValueError, "targets: expected .* none for 'class'"),
        (lambda: net.fit(INPUTS, {**TARGETS, "z": 1}, LOSS, **fit), nr.UnknownNameError, "targets: unknown name 'z'"),
        (lambda: net.fit(INPUTS, {**TARGETS, "y": X[:3, :, :1]}, LOSS, **fit), nr.ShapeError, r"targets\['y'\]: expected 4"),
        (lambda: net.fit(INPUTS, {**TARGETS, "class": LABELS + 3}, LOSS, **fit), nr.IndexRangeError, r"targets\['class'\]"),
        (lambda: net.fit({**INPUTS, "past": bad}, TARGETS, LOSS, **fit), nr.NonFiniteError, r"inputs\['past'\].*3, 2, 1"),
        (lambda: net.fit(INPUTS, {**TARGETS, "y": np.full((4, 20, 1), np.inf)}, LOSS, **fit), nr.NonFiniteError,
         r"targets\['y'\]"),
        (lambda: net.fit(INPUTS, TARGETS, LOSS, weights={"z": 1}, **fit), nr.UnknownNameError, "weights: unknown name"),
        (lambda: net.fit(INPUTS, TARGETS, LOSS, weights={"y": [-1] * 20}, **fit), ValueError, r"weights\['y'\]: expected"),
        (lambda: net.fit(INPUTS, TARGETS, LOSS, metrics=["accuracy"], **fit), TypeError, "metrics: expected a dict"),
        (lambda: net.fit(INPUTS, TARGETS, LOSS, metrics={"y": ["accuracy"]}, **fit), TypeError, r"metrics\['y'\]"),
        (lambda: net.fit(INPUTS, {"y": TARGETS["y"]}, {"y": "mse"}, metrics={"class": ["mse"]}, **fit), ValueError,
         "metrics: expected outputs with a loss"),
        (lambda: net.fit(INPUTS, TARGETS, LOSS, validation=(INPUTS,), **fit), TypeError, "validation: expected the pair"),
        (lambda: net.fit(INPUTS, TARGETS, LOSS, validation=(INPUTS, TARGETS, None, None, 1), **fit), TypeError,
         "^validation reset: expected where sequences start afresh, of inputs with steps, in a dict by name, got int"),
        (lambda: net.fit(INPUTS, TARGETS, LOSS, validation=(INPUTS, {**TARGETS, "y": X[:3, :, :1]}), **fit), nr.ShapeError,
         r"^validation targets\['y'\]: expected 4 steps"),
        (lambda: net.fit(INPUTS, TARGETS, LOSS, validation=({**INPUTS, "past": bad}, TARGETS), **fit), nr.NonFiniteError,
         r"^validation inputs\['past'\]"),
        (lambda: nr.EarlyStopping(monitor="class_accuracy"), ValueError, "mode: expected .* a metric of .* an output, got"),
        (lambda: net.loss_and_gradient(np.zeros(3, np.float32), INPUTS, TARGETS, LOSS), nr.ShapeError, "flat: "),
        (lambda: nr.Trainer(net, LOSS).fit(INPUTS, TARGETS, validation_split=0.2, split_by="time"), ValueError, "split_by"),
        (lambda: nr.Trainer(net, LOSS).fit(INPUTS, TARGETS, carry=True, steps=2), ValueError, "carry: expected False"),
        (lambda: nr.Trainer(net, LOSS).update(INPUTS, TARGETS, state={"z": 1}), nr.UnknownNameError, "state: unknown name"),
        (lambda: nr.Trainer(net, LOSS).fit(INPUTS, TARGETS, reset=3), TypeError, "reset: expected where sequences"),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            call()


def test_the_generated_graphs_are_trained():
    case = graph_case(7, "plain")
    y = case.net.predict(case.inputs)
    targets = {name: np.zeros_like(each) for name, each in y.items()}
    history = case.net.fit(case.inputs, targets, epochs=30, optimizer=nr.Adam(0.03), batch_size=2, progress=False)
    assert history.loss[-1] < 0.5 * history.loss[0]
