"""What `fit` refuses before it changes anything: flags, rates, callbacks, labels, and numbers that are not finite."""

import copy
import functools

import numpy as np
import pytest

import numbarnn as nr

X, Y = nr.windows(np.sin(np.arange(25.0) / 4), 5)


def network(dtype="float64"):
    return nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, seed=0, dtype=dtype)


class Keras(nr.Callback):
    def on_epoch_end(self, epoch, logs=None):
        pass


class Batches(nr.Callback):
    def batch_end(self, network, history):
        pass


class Misspelt(nr.Callback):
    def finsh(self, network, history):
        pass


class Plain:
    """Is no Callback: its `start` would not be called."""

    def start(self, network):
        pass

    def __call__(self, network, history):
        pass


class NotCalled:
    def epoch_end(self):
        pass


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(shuffle="no"), TypeError, r"shuffle: expected True or False, got 'no' \(str\)"),
        (dict(progress=1), TypeError, r"progress: expected True or False, got 1 \(int\)"),
        (dict(epochs=np.array([3])), TypeError, r"epochs: expected a positive integer, got array\(\[3\]\)"),
        (dict(epochs=True), TypeError, "epochs: expected a positive integer, got True"),
        (dict(batch_size=2.0), TypeError, "batch_size: expected a positive integer, got 2.0"),
        (dict(clip="1"), TypeError, "clip: expected a finite number, got '1'"),
        (dict(clip=np.array([1.0, 2.0])), TypeError, r"clip: expected a finite number, got array\(\[1., 2.\]\)"),
        (dict(clip=np.array([1.0])), TypeError, r"clip: expected a finite number, got array\(\[1.\]\)"),
        (dict(clip=True), TypeError, "clip: expected a finite number, got True"),
        (dict(seed="now"), TypeError, "seed: expected an integer >= 0 or a numpy.random.Generator, got 'now'"),
        (dict(seed=-1), ValueError, "seed: expected an integer >= 0 or a numpy.random.Generator, got -1"),
        (dict(tape="some"), nr.UnknownNameError, "tape: unknown name 'some'"),
        (dict(loss=lambda y: y), TypeError, r"loss: expected a function of \(prediction, target\), got .*lambda>\(y\)"),
        (dict(loss=nr.CrossEntropy), TypeError, r"loss: expected a loss or its name, got the class CrossEntropy"),
        (dict(optimizer=nr.Adam), TypeError, r"optimizer: expected an optimizer or its name, got the class Adam; Adam\(\)"),
        (dict(callbacks=nr.EarlyStopping()), TypeError, r"callbacks: .* got EarlyStopping; a single one goes in a list"),
        (dict(callbacks="stop"), TypeError, "callbacks: expected a sequence of functions .* got str"),
        (dict(callbacks=3), TypeError, "callbacks: expected a sequence of functions .* got int"),
        (dict(callbacks=[nr.EarlyStopping]), TypeError, r"callbacks\[0\]: .* got the class EarlyStopping; Early"),
        (dict(callbacks=[print, lambda history: None]), TypeError, r"callbacks\[1\]: expected a function of \(network, h"),
        (
            dict(callbacks=[Keras()]),
            TypeError,
            r"callbacks\[0\]: .*start, batch, __call__ and finish, got Keras with on_epoch_end",
        ),
        (dict(callbacks=[Batches()]), TypeError, r"callbacks\[0\]: .* got Batches with batch_end, never called"),
        (dict(callbacks=[Misspelt()]), TypeError, r"callbacks\[0\]: .* got Misspelt with finsh, never called"),
        (dict(callbacks=[Plain()]), TypeError, r"callbacks\[0\]: .* got Plain with start, never called"),
        (dict(callbacks=[NotCalled()]), TypeError, r"callbacks\[0\]: .* got NotCalled with epoch_end, never called"),
        (dict(validation=X), TypeError, r"validation: expected the pair \(x, y\) or .*reset\), got ndarray"),
        (dict(validation={"x": X, "y": Y}), TypeError, "validation: expected the pair .* got dict"),
        (dict(validation=(X,)), TypeError, "validation: expected the pair .* got 1 of them"),
        (dict(validation=(X, Y[:4])), nr.ShapeError, "^validation y: expected 20 samples like x, got 4"),
        (dict(validation=(X[..., [0, 0]], Y)), nr.ShapeError, "^validation x: expected 1 channels, got 2"),
        (dict(validation=(X, Y, [6] * 20)), ValueError, "^validation lengths: "),
    ],
)
def test_bad_input_is_named_and_changes_nothing(options, error, message):
    net, started = network(), []

    class Started(nr.Callback):
        def start(self, network):
            started.append(network)

    before = net.params.flat.copy()
    options.setdefault("progress", False)
    options.setdefault("callbacks", [Started()])
    with pytest.raises(error, match=message):
        net.fit(X, Y, **options)
    assert np.array_equal(net.params.flat, before) and not started and net.history is None


def test_callbacks_of_any_form_are_called():
    calls = []

    class Helped(nr.Callback):
        """Its method `step` looks like an event, but its own `__call__` calls it."""

        def step(self, network):
            calls.append("helped")

        def save_best(self):
            pass

        def __call__(self, network, history):
            self.step(network)

    class Bound:
        def tell(self, network, history):
            calls.append("bound")

    def keyed(network, history, name="keyed"):
        calls.append(name)

    given = (c for c in [Helped(), Bound().tell, keyed, functools.partial(keyed, name="partial"), lambda *both: None])
    network().fit(X, Y, epochs=1, callbacks=given, progress=False)
    assert calls == ["helped", "bound", "keyed", "partial"]


@pytest.mark.parametrize("answer", [True, np.True_])
def test_true_ends_a_training_and_all_callbacks_are_called(answer):
    calls = []
    history = network().fit(X, Y, epochs=5, callbacks=[lambda *_: answer, lambda *_: calls.append(1)], progress=False)
    assert len(history.loss) == len(calls) == 1
    assert len(network().fit(X, Y, epochs=3, callbacks=[lambda *_: np.False_], progress=False).loss) == 3


@pytest.mark.parametrize("answer", [0.25, 1, 0, "", np.float32(0), np.array([True]), [], np.nan])
def test_no_other_answer_does(answer):
    net = network()
    with pytest.raises(TypeError, match=r"callbacks\[1\]: expected True, which ends the training, False or None, got "):
        net.fit(X, Y, epochs=5, callbacks=[lambda *_: None, lambda *_: answer], progress=False)
    assert len(net.history.loss) == 1


@pytest.mark.parametrize(
    "answer, error, message",
    [
        (-0.1, ValueError, "got -0.1"),
        (np.nan, ValueError, "got nan"),
        (np.inf, ValueError, "got inf"),
        (10**400, ValueError, "got 1000"),
        (np.float32(-1), ValueError, "got .*-1.0"),
        ("0.1", TypeError, "got '0.1'"),
        (None, TypeError, "got None"),
        (True, TypeError, "got True"),
        (1j, TypeError, "got 1j"),
        (np.array([0.1]), TypeError, "got array"),
        (np.array([0.1, 0.2]), TypeError, "got array"),
    ],
)
def test_what_a_schedule_returns_is_checked_at_each_use(answer, error, message):
    def steps(update, updates):
        return answer if update == 3 else 0.01

    for schedule in (steps, nr.warmup(steps, 1)):
        net, twin = network(), network()
        if schedule is not steps and not isinstance(answer, float):
            continue  # what no number can be multiplied with fails in the schedule
        with pytest.raises(error, match=f"rate: expected a finite number >= 0 from .* at update 4, {message}"):
            net.fit(X, Y, optimizer=nr.SGD(schedule), epochs=5, batch_size=10, progress=False)
        twin.fit(X, Y, optimizer=nr.SGD(0.01), epochs=2, batch_size=10, progress=False)
        assert not np.array_equal(net.params.flat, twin.params.flat) and len(net.history.loss) == 1
    rates = network().fit(X, Y, optimizer=nr.SGD(lambda u, n: np.float32(0.5)), epochs=1, progress=False).rate
    assert rates == [0.5] and type(rates[0]) is float


def labelled(ignore_index=9):
    net = nr.Network([nr.RNN(3), nr.Dense(4)], channels=1, seed=0, dtype="float64")
    random = np.random.default_rng(0)
    return net, random.standard_normal((5, 6, 1)), random.integers(0, 4, (5, 6)), nr.CrossEntropy(ignore_index)


def test_labels_that_are_all_ignored_are_named_at_the_start():
    net, x, y, loss = labelled()
    before, none = net.params.flat.copy(), np.full_like(y, 9)
    expected = "y: expected at least one label besides ignore_index=9, got none: all are ignored"
    with pytest.raises(ValueError, match=f"^{expected}"):
        net.fit(x, none, loss, progress=False)
    with pytest.raises(ValueError, match=f"^validation {expected}"):
        net.fit(x, y, loss, validation=(x, none), progress=False)
    lengths = np.array([2, 3, 1, 2, 3, 2])
    with pytest.raises(ValueError, match=f"^{expected}"):  # there are labels, behind the lengths
        net.fit(x, np.where(np.arange(5)[:, None] < lengths, 9, y), loss, lengths=lengths, progress=False)
    with pytest.raises(ValueError, match="^validation lengths: expected at least one step"):
        net.fit(x, y, loss, validation=(x, y, np.zeros(6, int)), progress=False)
    last = nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64")
    with pytest.raises(ValueError, match="^y: expected at least one label besides ignore_index=-1"):
        last.fit(x, np.full(6, -1), nr.BinaryCrossEntropy(-1), progress=False)
    assert np.array_equal(net.params.flat, before) and net.history is None


@pytest.mark.parametrize(
    "loss, channels",
    [
        (nr.CrossEntropy(9), 4), (nr.CrossEntropy(9, smoothing=0.1), 4), (nr.BinaryCrossEntropy(9), 1),
        (nr.CrossEntropy(class_weights=[1, 1, 1, 0]), 4),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("state", [False, True])
def test_a_batch_in_which_no_label_counts_contributes_nothing(loss, channels, state):
    net = nr.Network([nr.RNN(3), nr.Dense(channels)], channels=1, seed=0, dtype="float64")
    random, before, more = np.random.default_rng(0), net.params.flat.copy(), {"state": None} if state else {}
    x, y = random.standard_normal((5, 6, 1)), random.integers(0, min(3, channels + 1), (5, 6))
    none = np.full_like(y, 9 if loss.ignore_index == 9 else 3)
    value, gradient = loss(net.predict(x), none)
    assert value == 0.0 and gradient.shape == (5, 6, channels) and not gradient.any()
    assert net.loss(x, none, loss) == 0.0
    value, gradient = net.loss_and_gradient(before, x, none, loss)
    assert value == 0.0 and not gradient.any()
    trainer = nr.Trainer(net, loss, nr.SGD(0.1))
    found = trainer.update(x, none, **more)
    assert (found[0] if state else found) == 0.0 and trainer.step == 1 and np.array_equal(net.params.flat, before)
    alone = copy.deepcopy(net)
    history = trainer.fit([(x, none), (x, y), (x, none)], epochs=2, progress=False)
    right = nr.Trainer(alone, loss, nr.SGD(0.1)).fit([(x, y)], epochs=2, progress=False)
    assert history.loss == right.loss and np.array_equal(net.params.flat, alone.params.flat)


@pytest.mark.parametrize("ragged", [False, True])
def test_the_mean_is_over_labels_whatever_batches_have_none(ragged):
    net, x, y, loss = labelled()
    y[:, [0, 3]], y[2:, 1] = 9, 9
    lengths = np.array([5, 4, 5, 2, 1, 3]) if ragged else np.full(6, 5)
    way = {"lengths": lengths} if ragged else {}
    value = net.loss(x, y, loss, **way)
    there = (np.arange(5)[:, None] < lengths) & (y != 9)
    logits = net.predict(x)
    own = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, np.where(there, y, 0)[..., None], -1)[..., 0]
    assert value == pytest.approx(own[there].mean(), rel=1e-12)
    for batch_size in (1, 4):
        history = net.fit(x, y, loss, nr.SGD(0.0), 1, batch_size, progress=False, **way)
        assert history.loss[0] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["x", "y"])
@pytest.mark.parametrize("layout", ["tnc", "ntc"])
def test_a_number_that_is_not_finite_is_found_before_training(layout, name, number):
    net = nr.Network([nr.RNN(3), nr.Dense(1)], channels=1, layout=layout, dtype="float64")
    arrays = {"x": np.zeros((5, 4, 1)), "y": np.ones((5, 4, 1))}
    good = dict(arrays)
    arrays[name] = arrays[name].copy()
    arrays[name][3, 2, 0] = number
    hint = r"; MSE\(missing='nan'\) takes NaN for not observed" if name == "y" and np.isnan(number) else ""
    with pytest.raises(nr.NonFiniteError, match=rf"^{name}: expected finite \w+, got {number} at \(3, 2, 0\){hint}$"):
        net.fit(**arrays, progress=False)
    with pytest.raises(nr.NonFiniteError, match=rf"^validation {name}: expected finite \w+, got {number} at"):
        net.fit(**good, validation=(arrays["x"], arrays["y"]), progress=False)
    assert net.history is None
    if layout == "tnc":  # behind a length it is not read; the last step that is counts
        lengths = np.array([5, 5, 3, 5])
        net.fit(**arrays, lengths=lengths, validation=(arrays["x"], arrays["y"], lengths), epochs=1, progress=False)
        with pytest.raises(nr.NonFiniteError, match=rf"^{name}: "):
            net.fit(**arrays, lengths=lengths + [0, 0, 1, 0], progress=False)
    else:
        lengths = np.array([5, 5, 5, 2])[:4]
        net = nr.Network([nr.RNN(3), nr.Dense(1)], channels=1, layout="ntc", dtype="float64")
        own = {key: array[[0, 1, 2, 3]] for key, array in arrays.items()}
        net.fit(**own, lengths=np.array([4, 4, 4, 2]), epochs=1, progress=False)
    assert np.isfinite(net.params.flat).all()


def test_large_finite_numbers_are_no_error():
    net = network("float32")
    x = X.astype(np.float32)
    x[0, :4], x[1, :4] = 3e38, -3e38  # their sum is infinite
    net.fit(x, Y.astype(np.float32), epochs=1, progress=False)


def test_a_ragged_number_that_is_not_finite_is_found_at_its_step():
    net = nr.Network([nr.RNN(3), nr.Dense(1)], channels=1, dtype="float64")
    x = nr.Ragged.of([np.zeros((length, 1)) for length in (3, 0, 5)])
    y = nr.Ragged(x.data + 1, x.offsets)
    y.data[5] = np.nan
    with pytest.raises(nr.NonFiniteError, match="^y: expected finite targets, got nan at step 2 of sequence 2"):
        net.fit(x, y, progress=False)


def test_a_loss_of_ones_own_may_leave_out_targets():
    def masked(prediction, target):
        there = np.isfinite(target)
        difference = np.where(there, prediction - np.where(there, target, 0), 0)
        return float(np.square(difference).sum() / there.sum()), 2 * difference / there.sum()

    net, missing = network(), Y.copy()
    missing[4] = np.nan
    history = net.fit(X, missing, masked, epochs=2, validation=(X, missing), progress=False)
    assert np.isfinite(history.validation).all()
    with pytest.raises(nr.NonFiniteError, match=r"^loss: .*y holds nan at \(4, 0\), which the loss has not left out\)$"):
        net.fit(X, missing, lambda p, y: nr.loss("mse")(p, y), epochs=2, progress=False)
    with pytest.raises(nr.NonFiniteError, match=r"^x: expected finite numbers, got nan at \(2, 1, 0\)"):
        spoilt = X.copy()
        spoilt[2, 1] = np.nan
        net.fit(spoilt, Y, masked, progress=False)
    assert np.isnan(net.loss(spoilt, Y)) and np.isnan(net.loss(X, missing)) and np.isnan(net.predict(spoilt)[1])


def in_place(prediction, y):
    """The mean squared error, for which both arguments are overwritten."""
    y -= prediction
    prediction[:] = 0
    return float((y**2).mean()), -2 * y / y.size


def test_a_loss_of_ones_own_may_write_to_its_arguments():
    x, y, held = X.copy(), Y.copy(), (X[:, :9].copy(), Y[:9].copy())
    net, other = network(), network()
    options = dict(epochs=3, batch_size=8, progress=False, shuffle=False)
    history = net.fit(x, y, in_place, validation=held, **options)
    expected = other.fit(X, Y, validation=(X[:, :9], Y[:9]), **options)
    assert np.allclose(history.loss, expected.loss, 1e-9) and np.allclose(history.validation, expected.validation, 1e-9)
    net.loss_and_gradient(net.params.flat, x, y, in_place)
    for layers in ([nr.Last()], [nr.Dropout(0.5), nr.Last()]):  # what these predict is x itself
        passing = nr.Network(layers, channels=1, dtype="float64")
        assert np.isclose(passing.loss(x, y, in_place), passing.loss(X, Y))
    assert np.array_equal(x, X) and np.array_equal(y, Y) and np.array_equal(held[0], X[:, :9])
    assert np.array_equal(held[1], Y[:9])


@pytest.mark.parametrize("ignore_index", [None, 1, -100])
@pytest.mark.parametrize("lengths", [None, [5, 0, 2, 5, 3, 1, 5, 4]])
def test_a_subclass_of_a_loss_is_called(ignore_index, lengths):
    class Larger(nr.CrossEntropy):
        def __call__(self, prediction, target, lengths=None, layout="tnc"):
            value, slope = super().__call__(prediction, target, lengths, layout)
            return value + 100, slope

    x, labels = X[:, :8], (X[:, :8, 0] > 0).astype(int)
    net, other = (nr.Network([nr.RNN(3), nr.Dense(2)], channels=1, seed=0, dtype="float64") for _ in range(2))
    options = dict(epochs=2, lengths=lengths, validation=(x, labels), progress=False)
    history, expected = net.fit(x, labels, Larger(ignore_index), **options), other.fit(
        x, labels, nr.CrossEntropy(ignore_index), **options
    )  # fmt: skip
    assert np.allclose(np.subtract(history.loss, expected.loss), 100)
    assert np.allclose(np.subtract(history.validation, expected.validation), 100)
    assert np.array_equal(net.params.flat, other.params.flat)


def test_probabilities_out_of_range_are_found_before_training():
    net = nr.Network([nr.RNN(3), nr.Dense(1)], channels=1, seed=0, dtype="float64")
    before, good = net.params.flat.copy(), (X > 0).astype(float)
    bad = good.copy()
    bad[3, 7] = -0.5
    options = dict(loss="binary_cross_entropy", epochs=1, batch_size=1, progress=False)
    expected = r"y: expected probabilities from 0 to 1, got -0.5 at \(3, 7, 0\)"
    with pytest.raises(ValueError, match=f"^{expected}"):
        net.fit(X, bad, **options)
    with pytest.raises(ValueError, match=f"^validation {expected}"):
        net.fit(X, good, validation=(X, bad), **options)
    ragged = [nr.Ragged.of(list(each.swapaxes(0, 1))) for each in (X, bad)]
    with pytest.raises(ValueError, match="^y: .* got -0.5 at step 3 of sequence 7"):
        net.fit(*ragged, **options)
    with pytest.raises(ValueError, match=r"^y: .* got -0.5 at \(3, 0\)"):
        net.fit(X[:, 7], bad[:, 7], **options)
    assert np.array_equal(net.params.flat, before)
    net.fit(X, bad, lengths=[3] * X.shape[1], **options)


def test_places_are_those_of_the_callers_arrays():
    one = X[:, 3].copy()
    one[2] = np.nan
    step = nr.Network([nr.RNN(3), nr.Dense(1)], channels=1, seed=0, dtype="float64")
    turned = nr.Network([nr.RNN(3), nr.Dense(1)], channels=1, seed=0, dtype="float64", layout="cnt")
    rows = nr.Network([nr.Dense(1)], channels=1, seed=0, dtype="float64")
    for net, x, y, found in (
        (step, one, X[:, 3], r"x: .* at \(2, 0\)"),
        (step, X[:, 3], one, r"y: .* at \(2, 0\)"),
        (rows, one, one, r"x: .* at \(2, 0\)"),
        (turned, one.T, one.T, r"x: .* at \(0, 2\)"),
        (network(), X[:, 3], [np.nan], r"y: .* at \(0,\)"),
    ):
        with pytest.raises(nr.NonFiniteError, match=found):
            net.fit(x, y, progress=False)
