"""Weights of classes and smoothed labels: against PyTorch and the equation, slopes by finite differences, limits."""

import numpy as np
import pytest
from checks import check_loss, same_bits

import numbarnn as nr

LENGTHS = np.array([4, 0, 2])
WAYS = {
    "class weights": dict(class_weights=(0.5, 2, 1, 0, 3)),
    "smoothing": dict(smoothing=0.2),
    "both": dict(class_weights=(0.5, 2, 1, 0, 3), smoothing=0.3),
    "all, one ignored": dict(ignore_index=1, class_weights=(0.5, 2, 1, 0, 3), smoothing=0.3),
}


def case(seed=0, classes=5, dtype="float64"):
    """(logits, labels) of four steps and three samples; some labels are 3, some 1."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 5, (4, 3))
    y[0] = [3, 1, 4]
    return (2 * random.standard_normal((4, 3, classes))).astype(dtype), y


def written_out(x, y, weights, ignore_index=None, class_weights=None, smoothing=0.0):
    """The weighted mean of rows from the equation, in float64."""
    x = x.astype(float)
    v = np.ones(x.shape[-1]) if class_weights is None else np.array(class_weights)
    log_p = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    top = bottom = 0.0
    for place in np.ndindex(*y.shape):
        if y[place] == ignore_index:
            continue
        own = -(1 - smoothing) * v[y[place]] * log_p[place][y[place]] - smoothing / len(v) * (v * log_p[place]).sum()
        top, bottom = top + weights[place] * own, bottom + weights[place] * v[y[place]]
    return top / bottom


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
def test_the_equation(way, dtype):
    (x, y), loss = case(dtype=dtype), nr.CrossEntropy(**WAYS[way])
    tolerance = float(64 * np.finfo(dtype).eps)
    weights = np.array([[1, 2, 0.5], [0, 1, 1], [1, 1, 3], [1, 1, 1]], dtype)
    assert loss(x, y)[0] == pytest.approx(written_out(x, y, np.ones((4, 3)), **WAYS[way]), rel=tolerance)
    spoilt = x.copy()
    spoilt[1, 0] = np.nan
    found, slope = loss(spoilt, y, weights=weights)
    assert found == pytest.approx(written_out(x, y, weights, **WAYS[way]), rel=tolerance)
    assert same_bits(slope[1, 0], np.zeros(5, dtype))
    for layout in ("ntc", "cnt"):
        order = ["tnc".index(letter) for letter in layout]
        turned, letters = spoilt.transpose(order), layout.replace("c", "")
        own = [array.transpose(["tn".index(letter) for letter in letters]) for array in (y, weights)]
        value, gradient = loss(turned, own[0], layout=layout, weights=own[1])
        assert value == pytest.approx(found, rel=tolerance) and gradient.shape == turned.shape
    there = np.arange(4)[:, None] < LENGTHS
    by_sample = np.broadcast_to([2, 1, 0.5], (4, 3))
    value, gradient = loss(x, y, LENGTHS, weights=[2, 1, 0.5])
    assert value == pytest.approx(written_out(x[there], y[there], by_sample[there], **WAYS[way]), rel=tolerance)
    assert not gradient[~there].any()


@pytest.mark.parametrize("classes", [5, 8, 21])
@pytest.mark.parametrize("way", WAYS)
def test_slopes_by_finite_differences(way, classes):
    x, y = case(classes=classes)
    options = WAYS[way] | (
        {"class_weights": (0.5, 2, 1, 0, 3) + (1.5,) * (classes - 5)} if "class_weights" in WAYS[way] else {}
    )
    loss = nr.CrossEntropy(**options)
    check_loss(loss, x, y)
    check_loss(loss, x, y, lengths=LENGTHS, weights=[2, 1, 0.5])


@pytest.mark.parametrize("classes", [5, 20])
@pytest.mark.parametrize("way", WAYS)
def test_against_torch(way, classes):
    torch = pytest.importorskip("torch")
    x, y = case(classes=classes)
    weights = np.array([0.5, 2, 1, 0, 3, *[1.0] * (classes - 5)]) if "class_weights" in WAYS[way] else None
    loss = nr.CrossEntropy(**WAYS[way] | {"class_weights": weights})
    theirs = torch.from_numpy(x.reshape(-1, classes).copy()).requires_grad_()
    expected = torch.nn.functional.cross_entropy(
        theirs, torch.from_numpy(y.ravel()), None if weights is None else torch.from_numpy(weights),
        ignore_index=-100 if loss.ignore_index is None else loss.ignore_index, label_smoothing=loss.smoothing,
    )  # fmt: skip
    expected.backward()
    value, gradient = loss(x, y)
    assert value == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(gradient.reshape(-1, classes), theirs.grad.numpy(), rtol=0, atol=1e-15)


def test_weights_of_one_change_no_bit():
    for dtype in ("float32", "float64"):
        x, y = case(dtype=dtype)
        value, gradient = nr.CrossEntropy()(x, y)
        for loss, own in ((nr.CrossEntropy(), np.ones(3)), (nr.CrossEntropy(class_weights=np.ones(5)), None)):
            found, slope = loss(x, y, weights=own)
            assert found == pytest.approx(value, rel=1e-15) and same_bits(slope, gradient)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [3, 20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinite_logits(dtype, classes):
    """A class ruled out is infinitely wrong once labels are smoothed, unless it weighs nothing; +inf share what there is."""
    inf, more = np.inf, classes - 3
    weights = (1.0, 1.0, 0.0) + (0.0,) * more
    loss = nr.CrossEntropy(class_weights=weights, smoothing=0.3)
    each = 0.3 / classes
    cases = [
        ([0, 1, -inf], 1, 0.7 * np.log1p(np.exp(-1)) + each * (2 * np.log1p(np.exp(-1)) + 1)),
        ([-inf, 1, 0], 1, inf),
        ([inf, inf, 0], 0, (0.7 + 2 * each) * np.log(2)),
        ([inf, 0, 0], 0, inf),
        ([np.nan, 0, 0], 1, np.nan),
    ]
    with np.errstate(all="raise"):
        for row, label, expected in cases:
            x = np.array([row + [-inf] * more], dtype)
            value, gradient = loss(x, np.array([label]))
            assert value == pytest.approx(expected, rel=1e-6, nan_ok=True), row
            if np.isfinite(expected):
                assert np.isfinite(gradient).all() and gradient.sum() == pytest.approx(0, abs=1e-6)


def test_an_epoch_counts_by_class():
    net = nr.Network([nr.GRU(3), nr.Dense(5)], channels=1, dtype="float64", seed=0)
    x, (_, y) = np.random.default_rng(0).standard_normal((4, 3, 1)), case()
    loss = nr.CrossEntropy(class_weights=(0.5, 2, 1, 0, 3), smoothing=0.1)
    expected = net.loss(x, y, loss)
    for options in ({}, {"lengths": LENGTHS}):
        expected = net.loss(x, y, loss, **options)
        history = net.fit(x, y, loss, nr.SGD(0.0), 1, batch_size=1, progress=False, **options)
        assert history.loss[0] == pytest.approx(expected, rel=1e-12)
    kept, other = [0, 2], nr.Network(net.layers, channels=1, dtype="float64", seed=0)
    y[:, 1] = 3  # weighs nothing
    ways = dict(loss=nr.CrossEntropy(class_weights=(0.5, 2, 1, 0, 3)), epochs=2, batch_size=1, progress=False)
    net.fit(x, y, **ways), other.fit(x[:, kept], y[:, kept], **ways)
    assert same_bits(net.params.flat, other.params.flat)


X, Y = case()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: nr.CrossEntropy(class_weights=(1, 2))(X, Y), nr.ShapeError, "^class_weights: expected one for each of 5"),
        (lambda: nr.CrossEntropy(class_weights=(1, -1)), ValueError, "^class_weights: expected a finite number >= 0"),
        (lambda: nr.CrossEntropy(class_weights=(0, 0)), ValueError, "^class_weights: .* not all 0"),
        (lambda: nr.CrossEntropy(class_weights=3), TypeError, "^class_weights: expected a finite number >= 0 for each"),
        (lambda: nr.CrossEntropy(smoothing=1), ValueError, "^smoothing: expected a rate from 0 to less than 1"),
        (
            lambda: nr.Network([nr.Dense(2)], 1, "float64").fit(
                np.ones((3, 1)), np.zeros(3, int), nr.CrossEntropy(class_weights=(0, 1)), progress=False
            ),
            ValueError, "^class_weights: expected a number > 0 for at least one of the labels in y",
        ),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
