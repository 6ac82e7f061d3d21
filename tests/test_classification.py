"""Losses of labels and accuracy: against NumPy and PyTorch, slopes by finite differences, layouts, labels left out."""

import itertools

import numpy as np
import pytest
from checks import check_loss, same_bits
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr

LAYOUTS = tuple("".join(letters) for letters in itertools.permutations("tnc"))
LENGTHS = np.array([4, 0, 2])


def logits(*shape, seed=0, dtype="float64", spread=3.0):
    """Normal numbers."""
    return (spread * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def labels(*shape, classes, seed=1, dtype="int64"):
    """Random labels."""
    return np.random.default_rng(seed).integers(0, classes, shape).astype(dtype)


def written_out(x, y):
    """(mean of -log softmax(x)[y], its derivative) of rows, in float64."""
    x = x.astype(np.float64)
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    one_hot = np.eye(x.shape[1])[y]
    return -np.mean(np.log((p * one_hot).sum(axis=1))), (p - one_hot) / len(y)


@given(
    st.integers(1, 40),
    st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100]),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["int8", "uint8", "int32", "uint64", ">i2"]),
    st.sampled_from([0.1, 3.0, 30.0]),
    st.integers(0, 2**32 - 1),
)
def test_cross_entropy(rows, classes, dtype, integers, spread, seed):
    x, y = logits(rows, classes, seed=seed, dtype=dtype, spread=spread) - 20, labels(rows, classes=classes, dtype=integers)
    value, gradient = nr.loss("cross_entropy")(x, y)
    expected, slope = written_out(x, y.astype(int))
    tolerance = float(64 * np.finfo(dtype).eps)
    assert value == pytest.approx(expected, rel=tolerance, abs=20 * tolerance)
    assert gradient.dtype == dtype and gradient.shape == x.shape
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [0, -1e4, 1e4, 1e30])
def test_cross_entropy_of_large_logits(shift, dtype):
    x = np.array([[0, 1000, -1000], [3, 3, 3]], dtype) + np.asarray(shift, dtype)
    value, gradient = nr.CrossEntropy()(x, np.array([0, 1]))
    apart = (x[0, 1] - x[0, 0]).astype(float)  # what rounding has left of the differences
    expected = (apart if apart else np.log(3)) / 2 + np.log(3) / 2
    assert value == pytest.approx(expected, rel=1e-6) and np.isfinite(gradient).all()


def test_a_logit_that_is_not_a_number():
    x = logits(3, 20)
    for column in (0, 3, 19):
        bad = x.copy()
        bad[1, column] = np.nan
        value, gradient = nr.CrossEntropy()(bad, np.array([1, 2, 3]))
        assert np.isnan(value) and np.isnan(gradient[1]).all() and np.isfinite(gradient[[0, 2]]).all()


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("form", ["rows", "steps", "lengths", "ignored"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_slopes_by_finite_differences(name, form, layout):
    classes = 5 if name == "cross_entropy" else 1
    loss = (nr.CrossEntropy if classes == 5 else nr.BinaryCrossEntropy)(2 if form == "ignored" else None)
    y = labels(4, 3, classes=3 if form == "ignored" else max(2, classes))
    y[0] = [2, 1, 2] if form == "ignored" else y[0]
    x = logits(4, 3, classes)
    if form == "rows":
        letters = layout.replace("t", "")
        check_loss(loss, x[0].transpose(["nc".index(letter) for letter in letters]), y[0], layout=layout)
        return
    x = x.transpose(["tnc".index(letter) for letter in layout])
    y = y.transpose(["tn".index(letter) for letter in layout.replace("c", "")])
    check_loss(loss, x, y, layout=layout, **({"lengths": LENGTHS} if form == "lengths" else {}))


def test_probabilities_by_finite_differences():
    y = np.random.default_rng(0).random((4, 3, 2))
    check_loss(nr.loss("binary_cross_entropy"), logits(4, 3, 2), y)
    check_loss(nr.loss("binary_cross_entropy"), logits(4, 3, 2), y, lengths=LENGTHS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [nr.CrossEntropy(7), nr.BinaryCrossEntropy(7)], ids=["cross", "binary"])
def test_labels_left_out(loss, dtype):
    channels = 5 if isinstance(loss, nr.CrossEntropy) else 1
    x, y = logits(4, 3, channels, dtype=dtype), labels(4, 3, classes=max(2, channels))
    there = np.arange(4)[:, None] < LENGTHS
    y[1, 0], there[1, 0] = 7, False
    value, gradient = loss(x[there], y[there])
    x[~there] = np.nan
    y[2:, 1] = 99
    found, slope = loss(x, y, LENGTHS)
    assert found == pytest.approx(value, rel=1e-14)
    assert same_bits(slope[there].copy(), gradient) and not slope[~there].any()


@given(st.integers(1, 30), st.floats(-700, 700), st.integers(0, 1000))
def test_binary_cross_entropy(rows, middle, seed):
    random = np.random.default_rng(seed)
    x, y = middle + logits(rows, 1, seed=seed), random.integers(0, 2, rows).astype(np.uint8)
    value, gradient = nr.BinaryCrossEntropy()(x, y)
    two = np.concatenate([np.zeros_like(x), x], axis=1)
    expected, slope = nr.CrossEntropy()(two, y)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-15)
    np.testing.assert_allclose(gradient[:, 0], slope[:, 1], rtol=1e-12, atol=1e-16)
    again, same = nr.BinaryCrossEntropy()(x, y[:, None].astype(float))
    assert again == pytest.approx(value, rel=1e-15) and same_bits(same, gradient)


def test_against_torch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, y = logits(4, 3, 5), labels(4, 3, classes=5)
    y[2, 1] = y[0, 0] = -100
    theirs = torch.from_numpy(x.reshape(-1, 5).copy()).requires_grad_()
    expected = functional.cross_entropy(theirs, torch.from_numpy(y.ravel()), ignore_index=-100)
    expected.backward()
    value, gradient = nr.CrossEntropy(ignore_index=-100)(x, y)
    assert value == pytest.approx(expected.item(), rel=1e-14)
    np.testing.assert_allclose(gradient.reshape(-1, 5), theirs.grad.numpy(), rtol=0, atol=1e-16)
    target = np.random.default_rng(0).random(x.shape)
    theirs = torch.from_numpy(x.copy()).requires_grad_()
    expected = functional.binary_cross_entropy_with_logits(theirs, torch.from_numpy(target))
    expected.backward()
    value, gradient = nr.loss("binary_cross_entropy")(x, target)
    assert value == pytest.approx(expected.item(), rel=1e-14)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=0, atol=1e-16)


def network(last, channels=3, layout="tnc"):
    """A small network whose output are logits."""
    return nr.Network([nr.GRU(4), *([nr.Last()] if last else []), nr.Dense(channels)], 2, "float64", layout)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("layout", ["tnc", "ntc", "cnt"])
@pytest.mark.parametrize("form", ["uniform", "lengths", "ragged"])
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy", "ignoring"])
def test_a_network_trains_on_labels(name, form, layout, last):
    channels = 1 if name == "binary_cross_entropy" else 3
    loss = nr.CrossEntropy(0) if name == "ignoring" else name
    net, lengths = network(last, channels, layout), np.array([4, 1, 2, 3])
    x, y = logits(4, 4, 2), labels(4, 4, classes=max(2, channels), dtype="uint8")
    y[0] = [0, 1, 1, 0]
    there = np.arange(4)[:, None] < (lengths if form != "uniform" else np.full(4, 4))
    expected = nr.loss(loss)
    prediction, _ = net.layers[0](net._own[0], x, lengths=lengths if form != "uniform" else None)
    prediction = net.layers[-1](net._own[-1], prediction)
    if last:
        rows, target = prediction[lengths - 1 if form != "uniform" else np.full(4, 3), np.arange(4)], y[0]
    else:
        rows, target = prediction[there], y[there]
    value = expected(np.ascontiguousarray(rows), target)[0]
    options = {"lengths": lengths} if form == "lengths" else {}
    if form == "ragged":
        given_x = nr.Ragged.of([x[:length, n] for n, length in enumerate(lengths)])
        given_y = y[0] if last else nr.Ragged.of([y[:length, n] for n, length in enumerate(lengths)])
    else:
        given_x = x.transpose(["tnc".index(letter) for letter in layout])
        given_y = y[0] if last else y.transpose(["tn".index(letter) for letter in layout.replace("c", "")])
    assert net.loss(given_x, given_y, loss, **options) == pytest.approx(value, rel=1e-12)
    flat = net.params.flat.copy()
    found, gradient = net.loss_and_gradient(flat, given_x, given_y, loss, **options)
    way = np.random.default_rng(0).standard_normal(len(flat))
    up, down = (net.loss_and_gradient(flat + h * way, given_x, given_y, loss, **options)[0] for h in (1e-5, -1e-5))
    assert found == pytest.approx(value, rel=1e-12) and gradient @ way == pytest.approx((up - down) / 2e-5, abs=1e-8)
    validation = (given_x, given_y, *options.values())
    history = net.fit(
        given_x, given_y, loss, nr.Adam(0.02), 30, batch_size=2, progress=False, validation=validation, **options
    )
    assert history.validation[-1] < min(value, history.validation[0])
    assert history.validation[-1] == net.loss(given_x, given_y, loss, **options)


def test_the_loss_of_an_epoch_is_the_mean_over_its_labels():
    """Batches with different numbers of labels that count, one sample without any."""
    net, x = network(False), logits(4, 5, 2)
    y = labels(4, 5, classes=3)
    y[:, 1], y[1:, 3] = 9, 9
    before = net.loss(x, y, nr.CrossEntropy(9))
    history = net.fit(x, y, nr.CrossEntropy(9), nr.SGD(0.0), 1, batch_size=1, progress=False)
    assert history.loss[0] == pytest.approx(before, rel=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [3, 20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinite_logits(dtype, classes):
    """The limits: a class ruled out has probability 0, one of +inf has all there is, several share it."""
    inf, count = np.inf, classes - 3
    rows = np.concatenate([np.array(
        [[-inf, 1, 1], [inf, 0, 3], [inf, 0, 3], [inf, inf, -inf], [-inf, 0, 1], [np.nan, inf, 0], [-inf] * 3], dtype
    ), np.full((7, count), -inf, dtype)], axis=1)  # fmt: skip
    labels = np.array([1, 0, 1, 1, 0, 1, 0])
    expected = [np.log(2), 0, inf, np.log(2), inf, np.nan, np.nan]
    slopes = [[0, -0.5, 0.5], [0, 0, 0], [1, -1, 0], [0.5, -0.5, 0]]
    with np.errstate(all="raise"):
        for row, label, value in zip(rows, labels, expected):
            found, gradient = nr.CrossEntropy()(row[None], np.array([label]))
            assert found == pytest.approx(value, rel=1e-6, nan_ok=True)
    for row, label, slope in zip(rows, labels, slopes):
        _, gradient = nr.CrossEntropy()(row[None], np.array([label]))
        np.testing.assert_allclose(gradient[0], slope + [0] * count, atol=1e-6)


def test_a_prediction_that_is_nan_is_never_right():
    x, y = np.array([[np.nan, np.nan], [0.0, 1.0]]), np.array([0, 1])
    for prediction, labels in ((x, y), (x[:, :1], y), (nr.Ragged(x, [0, 2]), nr.Ragged(y, [0, 2]))):
        with pytest.raises(nr.NonFiniteError, match="prediction: expected numbers, got NaN for 1 of 2 labels"):
            nr.accuracy(prediction, labels)
    assert nr.accuracy(x, y, ignore_index=0) == 1.0  # not even read
    assert nr.accuracy(np.array([[-np.inf, np.inf], [np.inf, 0.0]]), y) == 0.0
    assert nr.accuracy(np.stack([x, x])[:, ::-1], np.array([[1, 0], [0, 0]]), [1, 0]) == 1.0
    with pytest.raises(nr.DTypeError, match=r"y: expected integers, got float64; astype\(int\)"):
        nr.accuracy(x, y.astype(float))
    with pytest.raises(TypeError, match="ignore_index"):
        nr.accuracy(x, y, ignore_index=[1])
    with pytest.raises(TypeError, match="lengths: expected None for a Ragged"):
        nr.accuracy(nr.Ragged(x, [0, 2]), nr.Ragged(y, [0, 2]), [2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_accuracy(dtype):
    x, y = logits(4, 3, 5, dtype=dtype), labels(4, 3, classes=5)
    right = x.argmax(axis=2) == y
    assert nr.accuracy(x, y) == right.mean()
    assert nr.accuracy(x.transpose(2, 1, 0), y.T, layout="cnt") == right.mean()
    assert nr.accuracy(x[0], y[0].astype(np.uint8)) == right[0].mean()
    there = np.arange(4)[:, None] < LENGTHS
    assert nr.accuracy(x, y, LENGTHS) == right[there].mean()
    assert nr.accuracy(x, y, ignore_index=int(y[0, 0])) == right[y != y[0, 0]].mean()
    assert nr.accuracy(x[..., :1], (x[..., 0] > 0).astype(int)) == 1
    ragged = [nr.Ragged.of([a[:length, n] for n, length in enumerate(LENGTHS)]) for a in (x, y)]
    assert nr.accuracy(*ragged) == right[there].mean()
    check_weighted_accuracy(x, y, right, there, ragged)


def check_weighted_accuracy(x, y, right, there, ragged):
    steps = np.arange(right.size).reshape(right.shape) % 3 / 4
    samples = np.arange(right.shape[1]) % 2 + 0.5
    for weights in (steps, samples, np.ones(right.shape)):
        each = np.broadcast_to(weights, right.shape)
        assert np.isclose(nr.accuracy(x, y, weights=weights), np.average(right, weights=each), rtol=1e-14)
        whole = nr.accuracy(x, y, LENGTHS, weights=weights)
        assert np.isclose(whole, np.average(right[there], weights=each[there]), rtol=1e-14)
        own = weights if weights is samples else nr.Ragged.of([each[:n, k, None] for k, n in enumerate(LENGTHS)])
        assert np.isclose(nr.accuracy(*ragged, weights=own), whole, rtol=1e-14)
    missing = np.where((steps == 0)[..., None], np.nan, x)
    assert nr.accuracy(missing, y, weights=steps) == nr.accuracy(x, y, weights=steps)  # not read
    with pytest.raises(ValueError, match="weights: expected a number > 0 for at least one label"):
        nr.accuracy(x, y, weights=0 * samples)
    with pytest.raises(ValueError, match=r"weights: expected finite numbers >= 0, got -0.5 at \(0,\)"):
        nr.accuracy(x, y, weights=-samples)
    with pytest.raises(nr.ShapeError, match="weights: expected a Ragged of one channel with the offsets of the prediction"):
        nr.accuracy(*ragged, weights=nr.Ragged.of([np.ones((1, 1))]))


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("layout", ["tnc", "ntc", "cnt"])
@pytest.mark.parametrize("form", ["uniform", "lengths", "ragged"])
@pytest.mark.parametrize("name", ["cross_entropy", "mse"])
def test_many_samples_are_predicted_in_pieces(name, form, layout, last, monkeypatch):
    net, lengths = network(last, 3, layout), np.array([4, 1, 0, 3, 4, 4, 2])
    x, y = logits(4, 7, 2), labels(4, 7, classes=3) if name == "cross_entropy" else logits(4, 7, 3, seed=2)
    y = y[0] if last else y
    options = {"lengths": lengths} if form == "lengths" else {}
    if form == "ragged":
        x, y = (a if a is y and last else nr.Ragged.of([a[:length, n] for n, length in enumerate(lengths)]) for a in (x, y))
    else:
        x = x.transpose(["tnc".index(letter) for letter in layout])
    if name == "mse" and isinstance(y, np.ndarray):
        letters = net.output_layout
        y = y.transpose([("nc" if last else "tnc").index(letter) for letter in letters])
    elif isinstance(y, np.ndarray) and not last:
        y = y.transpose(["tn".index(letter) for letter in layout.replace("c", "")])
    prediction, value = net.predict(x, **options), net.loss(x, y, name, **options)
    for rows in (1, 5, 9, 20):
        monkeypatch.setattr("numbarnn.Network._piece_rows", rows)
        again = net.predict(x, **options)
        if form == "ragged" and not last:
            assert same_bits(again.data, prediction.data) and np.array_equal(again.offsets, prediction.offsets)
        else:
            assert same_bits(np.ascontiguousarray(again), np.ascontiguousarray(prediction))
        assert net.loss(x, y, name, **options) == pytest.approx(value, rel=1e-14)


X, Y = logits(4, 3, 5), labels(4, 3, classes=5)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: nr.CrossEntropy()(X, Y + 1), nr.IndexRangeError, "y: expected labels from 0 to 4, got 5 at step"),
        (lambda: nr.CrossEntropy()(X[0], np.array([0, -1, 2])), nr.IndexRangeError, "got -1 at sample 1"),
        (lambda: nr.CrossEntropy(-1)(X[0], np.array([0, -1, -2])), nr.IndexRangeError, "got -2 at sample 2"),
        (lambda: nr.CrossEntropy()(X, Y.astype(float)), nr.DTypeError, "y: expected integers, got float64"),
        (lambda: nr.CrossEntropy()(X, Y[..., None]), nr.ShapeError, r"y: expected shape \(4, 3\) \(tn\) like the pred"),
        (lambda: nr.CrossEntropy()(X, Y.tolist()), TypeError, "y: expected a numpy.ndarray of integers, got list"),
        (lambda: nr.CrossEntropy(1.5), TypeError, "ignore_index: expected an integer or None, got 1.5"),
        (lambda: nr.CrossEntropy()(X, Y, [9, 1, 1]), ValueError, "lengths: expected numbers from 0 to 4"),
        (lambda: nr.CrossEntropy()(X[0], Y[0], [1, 1, 1]), nr.ShapeError, "prediction: expected 3 axes"),
        (lambda: nr.BinaryCrossEntropy()(X, Y), nr.ShapeError, "y: expected probabilities for 5 channels"),
        (lambda: nr.BinaryCrossEntropy()(X[..., :1], Y), nr.IndexRangeError, "y: expected labels from 0 to 1, got"),
        (lambda: nr.BinaryCrossEntropy()(X, np.abs(X)), ValueError, "y: expected probabilities from 0 to 1, got"),
        (lambda: nr.BinaryCrossEntropy()(X, np.full_like(X, np.nan)), ValueError, r"0 to 1, got nan at \(0, 0, 0\)"),
        (lambda: nr.loss("crossentropy"), nr.UnknownNameError, "did you mean 'cross_entropy'"),
        (lambda: nr.accuracy(X, Y + 5), nr.IndexRangeError, "y: expected labels from 0 to 4"),
        (lambda: network(False).fit(X[..., :2], Y, nr.CrossEntropy(4), epochs=1), nr.IndexRangeError, "from 0 to 2, got 3"),
        (lambda: network(False).loss(X[..., :2], Y % 3, "mse"), nr.ShapeError, 'y: expected 3 axes.*loss="cross_entropy"'),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
