"""Losses: values to the letter, slopes by finite differences."""

import numpy as np
import pytest

import numbarnn as nr

DIFFERENCE = np.array([[0.3, -2.0], [1.7, -0.4], [0.9, 5.0]])
MEANS = {
    "mse": np.mean(DIFFERENCE**2),
    "half_mse": np.mean(DIFFERENCE**2) / 2,
    "quadratic": np.mean(DIFFERENCE**2) / 2,
    "mae": np.mean(np.abs(DIFFERENCE)),
    "huber": np.mean([0.045, 1.5, 1.2, 0.08, 0.405, 4.5]),
}


@pytest.mark.parametrize("name", sorted(MEANS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_slope(name, dtype):
    target = np.random.default_rng(0).standard_normal(DIFFERENCE.shape).astype(dtype)
    prediction = (target + DIFFERENCE).astype(dtype)
    value, gradient = nr.loss(name)(prediction, target)
    assert value == pytest.approx(MEANS[name], rel=float(8 * np.finfo(dtype).eps))
    assert gradient.dtype == dtype and gradient.shape == prediction.shape
    if dtype == "float64":
        for index in np.ndindex(prediction.shape):
            moved = np.zeros_like(prediction)
            moved[index] = 1e-6
            up, down = (nr.loss(name)(prediction + sign * moved, target)[0] for sign in (1, -1))
            assert gradient[index] == pytest.approx((up - down) / 2e-6, abs=1e-9)


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
@pytest.mark.parametrize("name", sorted(MEANS))
def test_the_mean_over_the_steps_there_are(name, layout):
    random, lengths = np.random.default_rng(0), np.array([4, 0, 2])
    prediction, target = random.standard_normal((2, 4, 3, 2))
    there = np.arange(4)[:, None] < lengths
    value, gradient = nr.loss(name)(prediction[there], target[there])
    prediction[~there], target[~there] = np.nan, np.inf
    order = ["tnc".index(letter) for letter in layout]
    found, slope = nr.loss(name)(prediction.transpose(order), target.transpose(order), lengths, layout)
    slope = slope.transpose([layout.index(letter) for letter in "tnc"])
    assert found == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(slope[there], gradient, rtol=1e-15)
    assert not slope[~there].any()


EVERY = [nr.loss(name) for name in ("mse", "half_mse", "mae", "huber", "binary_cross_entropy", "cross_entropy")]
HALF = np.full((2, 3), 0.5)
BAD_PREDICTIONS = {
    "uint8": (np.full((2, 3), 3, np.uint8), nr.DTypeError, "float32 or float64, got uint8"),
    "float16": (HALF.astype(np.float16), nr.DTypeError, r"got float16; astype\(numpy.float32\)"),
    "bool": (HALF > 0, nr.DTypeError, "got bool"),
    "complex": (HALF * 1j, nr.DTypeError, "got complex128"),
    "object": (HALF.astype(object), nr.DTypeError, "got object"),
    "another byte order": (HALF.astype(">f8"), nr.DTypeError, "got >f8"),
    "masked": (np.ma.masked_less(HALF, 0), TypeError, "got MaskedArray"),
    "matrix": (HALF.view(np.matrix), TypeError, "got matrix"),
    "list": (HALF.tolist(), TypeError, "got list"),
    "empty": (HALF[:0], nr.ShapeError, r"at least one.*\(0, 3\)"),
}


@pytest.mark.parametrize("bad", BAD_PREDICTIONS)
@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.name)
def test_predictions_that_are_none(loss, bad):
    prediction, error, message = BAD_PREDICTIONS[bad]
    labels = np.zeros(len(prediction), int)
    target = labels if loss.name == "cross_entropy" else prediction
    for call in (loss, nr.accuracy):
        with pytest.raises(error, match=f"prediction: .*{message}"):
            call(prediction, target if call is loss else labels)


@pytest.mark.parametrize("bad", [name for name in BAD_PREDICTIONS if name not in ("empty", "float16")])
@pytest.mark.parametrize("loss", EVERY[:5], ids=lambda loss: loss.name)
def test_targets_that_are_none(loss, bad):
    target, error, _ = BAD_PREDICTIONS[bad]
    with pytest.raises((error, nr.ShapeError), match="y: expected"):
        loss(HALF, target)


def exact(name, d):
    """Value and slope of one difference, in long double."""
    d, size = np.longdouble(d), abs(np.longdouble(d))
    if name == "huber":
        return (d * d / 2 if size <= 1 else size - np.longdouble(0.5)), np.clip(d, -1, 1)
    return {"mse": (d * d, 2 * d), "half_mse": (d * d / 2, d), "mae": (size, np.sign(d))}[name]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["mse", "half_mse", "mae", "huber"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_are_hard_to_square(name, dtype):
    largest = np.finfo(dtype).max / 4
    for size in (0.0, 1e-30, 1e-12, 0.5, 1.0, 1e12, 1e20, 1e30, largest):
        for sign in (-1, 1):
            prediction = np.array([[sign * size, 0.0]], dtype)
            value, gradient = nr.loss(name)(prediction, np.zeros_like(prediction))
            expected, slope = exact(name, prediction[0, 0])
            rounding = 4 * float(np.finfo(dtype).eps)
            if expected < np.finfo(np.float64).max:
                assert value == pytest.approx(float(expected / 2), rel=rounding, abs=float(np.finfo(dtype).tiny))
            else:
                assert value == np.inf
            assert gradient[0, 0] == pytest.approx(float(slope / 2), rel=rounding)
    with np.errstate(all="raise"):
        assert nr.loss(name)(np.full((1, 1), np.inf, dtype), np.zeros((1, 1), dtype))[0] == np.inf
        assert np.isnan(nr.loss(name)(np.full((1, 1), np.nan, dtype), np.zeros((1, 1), dtype))[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "logit, y, value, slope",
    [
        (np.inf, 1, 0, 0),
        (-np.inf, 0, 0, 0),
        (np.inf, 0, np.inf, 1),
        (-np.inf, 1, np.inf, -1),
        (np.inf, 0.25, np.inf, 0.75),
        (1e30, 1, 0, 0),
        (-1e30, 1, 1e30, -1),
        (-1e-30, 0, np.log(2), 0.5),
    ],
)
def test_binary_cross_entropy_at_its_limits(logit, y, value, slope, dtype):
    for target in [np.array([[y]], dtype)] + ([np.array([y])] if y in (0, 1) else []):
        with np.errstate(all="raise"):
            found, gradient = nr.BinaryCrossEntropy()(np.array([[logit]], dtype), target)
        assert found == pytest.approx(value, rel=1e-6) and gradient[0, 0] == pytest.approx(slope, rel=1e-6)


def test_ignore_index_is_one_number():
    for loss in (nr.CrossEntropy, nr.BinaryCrossEntropy):
        for bad in (np.array([1, 2]), 1.0, True):
            with pytest.raises(TypeError, match="ignore_index: expected an integer or None"):
                loss(ignore_index=bad)


def test_lengths_that_do_not_fit():
    x = np.zeros((4, 3, 2))
    with pytest.raises(ValueError, match="lengths: expected numbers from 0 to 4"):
        nr.loss("mse")(x, x, [1, 2, 5])
    with pytest.raises(ValueError, match="lengths: expected at least one step"):
        nr.loss("mse")(x, x, [0, 0, 0])
    with pytest.raises(nr.ShapeError, match="prediction: expected 3 axes"):
        nr.loss("mse")(x[0], x[0], [1, 2, 3])


def test_a_callable_is_a_loss():
    def own(prediction, target):
        return 0.0, np.zeros_like(prediction)

    assert nr.loss(own) is own


class TestAFunctionOfIntegers:
    """A loss of one's own may take integers without a channel axis, as it may take numbers."""

    layers = (nr.GRU(4), nr.Dense(3))

    def data(self, last=False, dtype=np.int32):
        rng = np.random.default_rng(0)
        layers = [self.layers[0], nr.Last(), self.layers[1]] if last else [*self.layers]
        net = nr.Network(layers, channels=2, seed=0, dtype="float64")
        return net, rng.standard_normal((6, 5, 2)), rng.integers(0, 3, 5 if last else (6, 5)).astype(dtype)

    @staticmethod
    def cross_entropy(prediction, labels, weights=None):
        """Of rows and integers, weighed as `CrossEntropy` weighs them."""
        assert prediction.ndim == 2 and labels.shape == prediction.shape[:1] and labels.dtype == np.int64
        logits = prediction - prediction.max(axis=1, keepdims=True)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        share = np.ones(len(labels)) if weights is None else weights[:, 0]
        share = share / share.sum()
        wanted = np.eye(3)[labels]
        return float(-(share * np.log((p * wanted).sum(axis=1))).sum()), (p - wanted) * share[:, None]

    @pytest.mark.parametrize("last", [False, True])
    @pytest.mark.parametrize("dtype", [np.int64, np.uint8])
    def test_as_the_librarys(self, last, dtype):
        net, x, y = self.data(last, dtype)
        for more in ({}, {"lengths": np.array([6, 2, 4, 1, 6])}, {"weights": np.arange(5) / 4}):
            found, expected = (
                net.loss_and_gradient(net.params.flat, x, y, loss, **more) for loss in (self.cross_entropy, "cross_entropy")
            )
            assert found[0] == pytest.approx(expected[0], rel=1e-13), more
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-11, atol=1e-14, err_msg=str(more))

    def test_it_trains_in_batches_with_validation_and_accuracy(self):
        net, x, y = self.data(last=True)
        more = {"epochs": 3, "batch_size": 2, "validation": (x, y), "metrics": ["accuracy"], "progress": False}
        found, expected = (nr.Network(net.layers, channels=2, seed=0, dtype="float64") for _ in range(2))
        histories = [
            net.fit(x, y, loss=loss, **more) for net, loss in ((found, self.cross_entropy), (expected, "cross_entropy"))
        ]
        np.testing.assert_allclose(found.params.flat, expected.params.flat, rtol=1e-9)
        assert histories[0].metrics == histories[1].metrics

    def test_what_integers_mean_is_its_own(self):
        net, x, y = self.data()
        seen = []

        def loss(prediction, target):
            seen.append(target)
            return 0.0, np.zeros_like(prediction)

        net.loss(x, y - 100, loss)
        assert np.array_equal(seen[0].reshape(y.shape), y - 100)

    def test_integers_with_a_channel_axis_are_numbers(self):
        net, x, y = self.data()
        seen = []

        def loss(prediction, target):
            seen.append(target)
            return 0.0, np.zeros_like(prediction)

        net.loss(x, np.eye(3, dtype=int)[y], loss)
        assert np.array_equal(seen[0], np.eye(3)[y]) and seen[0].dtype == np.float64
        with pytest.raises(nr.ShapeError, match="y: expected 6 steps"):
            net.loss(x, y[:-1], loss)
