"""Weights of samples and steps, targets that were not observed: exact zeros, weighted means, the bits of the rest alone."""

import itertools

import numpy as np
import pytest
from checks import check_loss, check_network, same_bits

import numbarnn as nr

LAYOUTS = tuple("".join(letters) for letters in itertools.permutations("tnc"))
DIFFERENCES = {"mse": nr.MSE(), "half_mse": nr.HalfMSE(), "mae": nr.MAE(), "huber": nr.Huber(0.7)}
NUMBERS = DIFFERENCES | {"binary_cross_entropy": nr.BinaryCrossEntropy()}
FORMS = ("uniform", "lengths", "ragged")
LENGTHS = np.array([4, 1, 0, 3, 2, 4])


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def targets(loss, *shape):
    """Targets of a loss, channels last."""
    y = np.random.default_rng(3).random(shape)
    return y if loss.name == "binary_cross_entropy" else 3 * y - 1


def some_weights(*shape):
    """Weights, a third of them 0."""
    found = np.random.default_rng(5).integers(0, 3, shape).astype(float)
    found.ravel()[0] = 0.5
    return found


def turned(array, letters, order):
    """An array with its axes in another order."""
    return array.transpose([letters.index(letter) for letter in order])


@pytest.mark.parametrize("each", ["sample", "step"])
@pytest.mark.parametrize("layout", ["tnc", "ntc", "cnt", "nc"])
@pytest.mark.parametrize("name", NUMBERS)
def test_the_weighted_mean_of_numbers(name, layout, each):
    loss, letters = NUMBERS[name], "tnc" if "t" in layout else "nc"
    shape = [{"t": 4, "n": 3, "c": 2}[letter] for letter in letters]
    prediction, target = numbers(*shape), targets(loss, *shape)
    weights = some_weights(*(shape[:-1] if each == "step" else [3]))
    per_step = np.broadcast_to(weights, shape[:-1])
    alone = [loss(prediction[place][None], target[place][None]) for place in np.ndindex(*shape[:-1])]
    value = np.dot([each[0] for each in alone], per_step.ravel()) / per_step.sum()
    slope = np.stack([each[1][0] for each in alone]).reshape(shape) * (per_step / per_step.sum())[..., None]
    spoilt = prediction.copy(), target.copy()
    for array in spoilt:
        array[per_step == 0] = np.nan
    given = [turned(array, letters, layout) for array in spoilt]
    order = layout.replace("c", "")
    own = turned(weights, letters[:-1], order) if weights.ndim == len(order) else weights
    found, gradient = loss(*given, layout=layout, weights=own)
    gradient = turned(gradient, layout, letters)
    assert found == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(gradient, slope, rtol=1e-13, atol=1e-16)
    assert not gradient[per_step == 0].any() and not np.signbit(gradient[per_step == 0]).any()
    check_loss(loss, turned(prediction, letters, layout), turned(target, letters, layout), layout=layout, weights=own)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_missing_targets_have_the_bits_of_the_others_alone(name, dtype):
    loss = type(DIFFERENCES[name])(missing="nan")
    prediction, target = numbers(4, 3, 2).astype(dtype), targets(loss, 4, 3, 2).astype(dtype)
    gone = np.random.default_rng(1).random(target.shape) < 0.4
    value, gradient = nr.loss(name)(prediction[~gone], target[~gone])
    target[gone] = np.nan
    found, slope = loss(prediction, target)
    assert found == pytest.approx(value, rel=1e-6 if dtype == "float32" else 1e-14)
    assert same_bits(slope[~gone], gradient) and not slope[gone].any()
    assert np.isnan(nr.loss(name)(prediction, target)[0])
    nothing, zeros = loss(prediction, np.full_like(target, np.nan))
    assert nothing == 0.0 and same_bits(zeros, np.zeros_like(prediction))
    if dtype == "float64":
        check_loss(loss, prediction, target)
        check_loss(loss, prediction, target, lengths=[4, 0, 2], weights=[1, 5, 2])


def network(layout="tnc", last=False, channels=2, dtype="float64"):
    layers = [nr.GRU(3), *([nr.Last()] if last else []), nr.Dense(channels)]
    return nr.Network(layers, channels=1, dtype=dtype, layout=layout, seed=0)


def samples(form, layout="tnc", last=False, labels=False, weights="step"):
    """(x, y, options, weights) of six samples."""
    x = numbers(4, 6, 1)
    y = np.random.default_rng(2).integers(0, 2, (4, 6)) if labels else numbers(4, 6, 2, seed=2)
    own = some_weights(6) if weights == "sample" or last else some_weights(4, 6)
    y = y[0] if last else y
    if form == "ragged":
        cut = [(x, "x"), (y, "y"), (own if own.ndim == 1 else own[..., None], "w")]
        x, y, own = (
            array if name == "y" and last or array.ndim == 1 else nr.Ragged.of([array[: LENGTHS[n], n] for n in range(6)])
            for array, name in cut
        )
        return x, turned(y, "nc", layout.replace("t", "")) if last and not labels else y, {}, own
    x = turned(x, "tnc", layout)
    letters = layout.replace("t", "") if last else layout
    y = turned(
        y, ("tn" if labels else "tnc").replace("t", "" if last else "t"), letters.replace("c", "") if labels else letters
    )
    if own.ndim == 2:
        own = turned(own, "tn", layout.replace("c", ""))
    return x, y, {"lengths": LENGTHS} if form == "lengths" else {}, own


@pytest.mark.parametrize("weights", ["sample", "step"])
@pytest.mark.parametrize("layout", ["tnc", "cnt"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["mse", "cross_entropy"])
def test_the_loss_of_an_epoch_is_the_weighted_mean(name, form, last, layout, weights):
    """However it is cut into batches; and its gradient agrees with finite differences."""
    net, labels = network(layout, last), name == "cross_entropy"
    x, y, options, own = samples(form, layout, last, labels, weights)
    expected = net.loss(x, y, name, weights=own, **options)
    flat = net.params.flat.copy()
    value, gradient = net.loss_and_gradient(flat, x, y, name, weights=own, **options)
    assert value == pytest.approx(expected, rel=1e-13)
    way = numbers(len(flat), seed=9)
    up, down = (net.loss_and_gradient(flat + h * way, x, y, name, weights=own, **options)[0] for h in (1e-5, -1e-5))
    assert gradient @ way == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-9)
    for batch_size in (1, 4):
        validation = (x, y, options.get("lengths"), own)
        history = net.fit(
            x, y, name, nr.SGD(0.0), 1, batch_size, weights=own, validation=validation, progress=False, **options
        )
        assert history.loss[0] == pytest.approx(expected, rel=1e-12)
        assert history.validation[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["mse", "cross_entropy"])
def test_samples_without_weight_are_not_there(name, form):
    """What is trained is, to the bit, what the others alone give; NaN in their targets changes nothing."""
    x, y, options, _ = samples(form, labels=name == "cross_entropy")
    weights = np.array([1.0, 0, 1, 1, 0, 1])
    kept = np.flatnonzero(weights)
    net, other = network(dtype="float32"), network(dtype="float32")
    if form == "ragged":
        some = x[kept], y[kept]
    else:
        some = x[:, kept], y[:, kept]
        y = y.copy()
        y[:, weights == 0] = 99 if name == "cross_entropy" else np.nan
    more = {"lengths": LENGTHS[kept]} if options else {}
    ways = dict(loss=name, epochs=3, batch_size=2, progress=False, optimizer=nr.Adam(0.05))
    history, expected = net.fit(x, y, weights=weights, **ways, **options), other.fit(*some, **ways, **more)
    assert same_bits(net.params.flat, other.params.flat) and history.loss == pytest.approx(expected.loss, rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_steps_that_were_not_observed(form):
    """Exactly the gradient that weights of 0 give; samples without any are in no batch, and an epoch counts numbers."""
    x, y, options, _ = samples(form)
    data = y.data if form == "ragged" else y
    gone = np.random.default_rng(4).random(data.shape) < 0.5
    if form != "ragged":
        gone[:, 1] = True
    data[gone] = np.nan
    loss, net, other = nr.MSE(missing="nan"), network(), network()
    check_network(net, x, y, options.get("lengths"), loss=loss)
    expected = net.loss(x, y, loss, **options)
    history = net.fit(
        x, y, loss, nr.SGD(0.0), 1, batch_size=2, progress=False, validation=(x, y, *options.values()), **options
    )
    assert history.loss[0] == pytest.approx(expected, rel=1e-12) and history.validation[0] == pytest.approx(
        expected, rel=1e-12
    )
    if form == "uniform":
        kept = [0, 2, 3, 4, 5]
        ways = dict(loss=loss, epochs=2, batch_size=2, progress=False)
        net.fit(x, y, **ways), other.fit(x[:, kept], y[:, kept], **ways)
        assert same_bits(net.params.flat, other.params.flat)


def test_a_weight_of_two_is_a_sample_twice():
    x, y = numbers(4, 3, 1), numbers(3, 2, seed=2)
    net, twice = network(last=True), [0, 1, 1, 2, 2, 2]
    found, expected = (
        net.loss_and_gradient(net.params.flat, *given) for given in ((x, y, "mse", None, [1, 2, 3]), (x[:, twice], y[twice]))
    )
    assert found[0] == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", [nr.MSE(missing="nan"), "cross_entropy"], ids=str)
def test_shards_and_members_count_by_weight(loss):
    labels = loss == "cross_entropy"
    x, y, _, own = samples("uniform", labels=labels)
    if not labels:
        y[1, 2:4] = np.nan
    ways = dict(loss=loss, optimizer=nr.SGD(0.1), epochs=2, shuffle=False, progress=False, weights=own)
    net, other = network(), network()
    history, expected = net.fit(x, y, batch_size=6, shards=4, **ways), other.fit(x, y, batch_size=6, **ways)
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=0, atol=1e-13)
    assert history.loss == pytest.approx(expected.loss, rel=1e-13)
    more = dict(loss=loss, epochs=2, batch_size=4, progress=False)
    ensemble = nr.fit_many(network(), x, y, seeds=[0, 1], weights=own, validation=(x, y, None, own), **more)
    alone = nr.Network(net.layers, channels=1, dtype="float64", seed=1)
    history = alone.fit(x, y, seed=1, weights=own, validation=(x, y, None, own), **more)
    assert same_bits(ensemble.params[1], alone.params.flat)
    assert ensemble.histories[1].loss == history.loss and ensemble.histories[1].validation == history.validation
    drawn = nr.fit_many(network(), samples=[(x, y, None, own)] * 2, seeds=[0, 1], bootstrap=True, **more)
    assert np.isfinite(drawn.params).all()


@pytest.mark.parametrize("layout", ["tnc", "cnt"])
def test_losses_as_metrics_have_the_weights_and_gaps(layout):
    net, (x, y, _, own) = network(layout), samples("uniform", layout)
    y[1] = np.nan
    loss = nr.MSE(missing="nan")
    found = net.evaluate(x, y, loss, metrics=["mse", "mae", nr.Quantile((0.5,))], weights=own)
    assert found["mse"] == found["loss"] == net.loss(x, y, loss, weights=own)
    assert found["mae"] == net.loss(x, y, nr.MAE(missing="nan"), weights=own) == pytest.approx(2 * found["quantile"])
    with pytest.raises(TypeError, match="^cross_entropy: expected targets that are labels, got numbers"):
        net.evaluate(x, y, loss, metrics=["cross_entropy"])
    with pytest.raises(TypeError, match="^mae: expected targets that are numbers, got labels"):
        net.evaluate(x, samples("uniform", layout, labels=True)[1], "cross_entropy", metrics=["mae"])


def test_a_loss_of_ones_own_takes_weights():
    def own(prediction, target, weights=1.0):
        total = (weights * np.ones_like(prediction)).sum()
        return float((weights * (prediction - target) ** 2).sum() / total), 2 * weights * (prediction - target) / total

    for form, layout in (("uniform", "tnc"), ("uniform", "cnt"), ("lengths", "tnc"), ("ragged", "tnc")):
        x, y, options, weights = samples(form, layout)
        net = network(layout)
        found = net.loss_and_gradient(net.params.flat, x, y, own, weights=weights, **options)
        expected = net.loss_and_gradient(net.params.flat, x, y, weights=weights, **options)
        assert found[0] == pytest.approx(expected[0], rel=1e-13)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-10, atol=1e-14)
    with pytest.raises(
        TypeError, match=r"^loss: expected a loss of \(prediction, target, weights\), .*got .*lambda>\(p, y\)"
    ):
        net.fit(x, y, lambda p, y: (0.0, p), weights=weights, progress=False)


X, Y = numbers(4, 3, 1), numbers(4, 3, 2)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (
            dict(weights=[1, 2]),
            nr.ShapeError,
            r"^weights: expected shape \(4, 3\) \(tn\) or shape \(3,\) \(n\), .* got shape \(2,\)",
        ),
        (dict(weights=np.ones((3, 4))), nr.ShapeError, r"^weights: expected shape \(4, 3\) .*, got shape \(3, 4\)"),
        (dict(weights=[1, -1, 1]), ValueError, r"^weights: expected finite numbers >= 0, got -1.0 at \(1,\)"),
        (dict(weights=[1, 1, np.nan]), ValueError, r"^weights: expected finite numbers >= 0, got nan at \(2,\)"),
        (dict(weights=[1, 1, np.inf]), ValueError, r"^weights: expected finite numbers >= 0, got inf"),
        (dict(weights=[0, 0, 0]), ValueError, "^weights: expected a number > 0 for at least one target"),
        (dict(weights="abc"), TypeError, "^weights: "),
        (
            dict(weights=nr.Ragged(np.ones((3, 1)), [0, 1, 2, 3])),
            nr.ShapeError,
            "^weights: expected a number for each sample, got Ragged",
        ),
        (
            dict(weights=[1, 0, 1], y=np.where([[[0], [1], [2]]], Y, np.nan)),
            nr.NonFiniteError,
            r"^y: expected finite targets, got nan at .*; MSE\(missing='nan'\) takes NaN for not observed$",
        ),
        (dict(validation=(X, Y, None, [1])), nr.ShapeError, "^validation weights: expected shape"),
        (dict(validation=(X, Y, *[None] * 4)), TypeError, "^validation: expected the pair .* got 6 of them"),
        (
            dict(loss=nr.MSE(missing="nan"), y=np.full_like(Y, np.nan)),
            ValueError,
            "^y: expected at least one target that is not NaN",
        ),
        (
            dict(loss=nr.MSE(missing="nan"), y=np.full_like(Y, np.inf)),
            nr.NonFiniteError,
            r"^y: expected finite targets, got inf at [^;]*$",
        ),
    ],
)
def test_bad_input(options, error, message):
    net = network()
    before = net.params.flat.copy()
    with pytest.raises(error, match=message):
        net.fit(**{"x": X, "y": Y, "progress": False} | options)
    assert same_bits(net.params.flat, before)


def test_what_cannot_be_made():
    for bad in ("none", 3, True):
        with pytest.raises(nr.UnknownNameError, match="^missing: unknown name"):
            nr.MSE(missing=bad)
    with pytest.raises(ValueError, match="^delta: expected a finite number > 0"):
        nr.Huber(0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_without_weight_in_a_loop_of_ones_own(accumulate):
    """Its gradient is 0, and it counts nothing in the mean of the epoch."""
    missing = np.full_like(Y, np.nan)
    net, other = network(), network()
    trainer = nr.Trainer(net, nr.MSE(missing="nan"), nr.SGD(0.1), accumulate=accumulate)
    before = net.params.flat.copy()
    assert trainer.update(X, missing) == 0.0 == trainer.update(X, Y, weights=np.zeros(3)) and trainer.step == 2
    assert same_bits(net.params.flat, before)
    batches = [(X, missing), (X, Y, None, [1, 0, 2])]
    history = trainer.fit(batches, epochs=1, progress=False)
    alone = nr.Trainer(other, nr.MSE(), nr.SGD(0.1))
    assert history.loss[0] == pytest.approx(alone.update(X, Y, weights=[1, 0, 2]), rel=1e-13)
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=0, atol=1e-15)
    with pytest.raises(TypeError, match="^weights: expected None beside batches"):
        trainer.fit(batches, weights=[1, 1, 1], epochs=1, progress=False)


def test_no_weight_at_all_is_no_loss():
    """In a loop of one's own: nothing counts, and nothing is an error."""
    net = network()
    value, gradient = net.loss_and_gradient(net.params.flat, X, Y, weights=np.zeros(3))
    assert value == 0.0 == net.loss(X, Y, weights=np.zeros((4, 3))) and not gradient.any()
    labels = np.zeros((4, 3), int)
    value, gradient = net.loss_and_gradient(net.params.flat, X, labels, "cross_entropy", weights=np.zeros(3))
    assert value == 0.0 and not gradient.any()
    value, gradient = net.loss_and_gradient(net.params.flat, X, np.full_like(Y, np.nan), nr.MAE(missing="nan"))
    assert value == 0.0 and not gradient.any()
