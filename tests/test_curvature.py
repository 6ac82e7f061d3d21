"""Jacobians of networks, products with Gauss-Newton matrices, and the second derivatives of losses."""

import numba
import numpy as np
import pytest
from checks import same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.engine.keep import ALL

SHAPE = 5, 4, 2


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def network(*layers, channels=2, layout="tnc"):
    return nr.Network([*layers], channels=channels, dtype="float64", layout=layout, seed=1)


def slopes(function, flat, step=1e-3):
    """Differences of fourth order of a function along every axis of `flat`, as its last axis."""

    def along(way):
        near, far = (function(flat + k * step * way) - function(flat - k * step * way) for k in (1, 2))
        return (8 * near - far) / (12 * step)

    return np.stack([along(way) for way in np.eye(len(flat))], axis=-1)


def predictions(net, *args):
    """A function of the parameters: what the network predicts with them."""

    def predicted(flat):
        own = nr.Network(net.layers, net.channels, "float64", net.layout, seed=0)
        own.params.flat[:] = flat
        found = own.predict(*args)
        return found.data if isinstance(found, nr.Ragged) else found

    return predicted


NETWORKS = {
    "steps": network(nr.GRU(3), nr.Dense(2)),
    "last": network(nr.LSTM(3), nr.Last(), nr.Dense(2, "tanh"), layout="ntc"),
    "both": network(nr.RNN(2, bidirectional=True, layers=2), nr.Activation("softplus"), nr.Dense(1), layout="cnt"),
    "pool": network(nr.GRU(3, learned_state=True), nr.Dropout(0.5), nr.Pool("mean"), nr.Dense(1)),
    "two": network(nr.LSTM(2, peepholes=True), nr.GRU(2, "before")),
}


@pytest.mark.parametrize("lengths", [None, np.array([3, 0, 5, 1])], ids=["all", "lengths"])
@pytest.mark.parametrize("name", NETWORKS)
def test_jacobian_is_the_slope_of_every_output(name, lengths):
    net = NETWORKS[name]
    x = numbers(*SHAPE).transpose(["tnc".index(letter) for letter in net.layout])
    found = net.jacobian(net.params.flat, x, lengths)
    assert found.shape == (*net.predict(x).shape, len(net.params))
    expected = slopes(predictions(net, x, lengths), net.params.flat)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * max(1, np.abs(expected).max()))


def test_jacobian_of_ragged_of_one_sequence_and_of_indices():
    net, x = NETWORKS["steps"], numbers(*SHAPE)
    whole = net.jacobian(net.params.flat, x)
    np.testing.assert_allclose(net.jacobian(net.params.flat, x[:, 0]), whole[:, 0], rtol=0, atol=1e-15)
    ragged = nr.Ragged.of([x[:3, 0], x[:5, 1]])
    rows = net.jacobian(net.params.flat, ragged)
    np.testing.assert_allclose(rows, np.concatenate([whole[:3, 0], whole[:5, 1]]), rtol=0, atol=1e-15)
    words = network(nr.Embedding(5, 2), nr.GRU(2), nr.Last(), channels=1)
    indices = np.random.default_rng(0).integers(0, 4, (4, 3))
    found = words.jacobian(words.params.flat, indices)
    expected = slopes(predictions(words, indices), words.params.flat)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert not found[..., 8:10].any()  # of a word that does not occur


def test_jacobian_starts_afresh_where_samples_do():
    net, x, reset = NETWORKS["steps"], numbers(*SHAPE), np.zeros((5, 4), bool)
    reset[2, 1] = True
    found = net.jacobian(net.params.flat, x, reset=reset)
    np.testing.assert_allclose(found[2:, 1], net.jacobian(net.params.flat, x[2:])[:, 1], rtol=0, atol=1e-15)


def by_tangents(monkeypatch):
    """Make Jacobians by forward derivatives."""
    monkeypatch.setattr(nr.Network, "_jacobian_of_rows", lambda *args: None)


def test_many_rows_are_taken_a_few_parameters_at_a_time(monkeypatch):
    net, x = NETWORKS["last"], numbers(4, 5, 2)
    by_tangents(monkeypatch)
    expected = net.jacobian(net.params.flat, x)
    monkeypatch.setattr("numbarnn.networks.derived.TANGENT_NUMBERS", 1)
    np.testing.assert_array_equal(net.jacobian(net.params.flat, x), expected)


class Quartic:
    """The mean of ``d^4``, a loss of one's own."""

    def __call__(self, prediction, target):
        d = prediction - target
        return float((d**4).mean()), 4 * d**3 / d.size

    def hessian_product(self, prediction, target, direction):
        return 12 * (prediction - target) ** 2 * direction / direction.size


SEPARABLE = [
    network(nr.GRU(9), nr.Dense(2)),
    network(nr.LSTM(5, projection=3, bidirectional=True), nr.Last(), nr.Dense(2, "gelu"), layout="ntc"),
    network(nr.GRU(5, "before", layers=2, residual=True), nr.Pool("mean"), nr.Dense(1)),
    network(nr.RNN(3, "relu", bidirectional=True, merge="product"), nr.Dense(1), layout="cnt"),
]


@pytest.mark.parametrize("rows", [1, 80, 1 << 13])
@pytest.mark.parametrize("net", SEPARABLE, ids=repr)
def test_both_ways_to_a_jacobian_agree(net, rows, monkeypatch):
    """By backward, an output of a sequence at a time, some of them, and all; and by forward derivatives."""
    x = numbers(19, 3, 2).transpose(["tnc".index(letter) for letter in net.layout])
    monkeypatch.setattr("numbarnn.networks.jacobians.ROWS", rows)
    found = net._jacobian_of_rows(net.params, *of_rows(net, x))
    assert found is not None and found.shape[1] == 3
    found = net.jacobian(net.params.flat, x)
    by_tangents(monkeypatch)
    expected = net.jacobian(net.params.flat, x)
    assert found.shape == expected.shape and found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * max(1, np.abs(expected).max()))


def of_rows(net, x):
    """(descriptor of x, of the output)."""
    _, described = net._described(x)
    return described, net._forward(net._own, described, ALL)[0]


def test_fewer_parameters_than_outputs_go_forward():
    net, x = network(nr.RNN(1), nr.Dense(1)), numbers(30, 2, 2)
    assert net._jacobian_of_rows(net.params, *of_rows(net, x)) is None
    expected = slopes(predictions(net, x), net.params.flat)
    np.testing.assert_allclose(net.jacobian(net.params.flat, x), expected, rtol=0, atol=1e-9)


def alone(net, x, y, loss, n, **options):
    """The gradient of one sample, of arrays in the layout of the network."""
    axis, targets = net.layout.index("n"), ("tnc" if np.ndim(y) == 3 else "nc" if y.dtype.kind == "f" else "n")
    own = [np.take(x, [n], axis), np.take(y, [n], targets.index("n"))]
    options = {name: value[[n]] if value.ndim == 1 else value[:, [n]] for name, value in options.items()}
    return net.loss_and_gradient(net.params.flat, *own, loss, **options)[1]


@pytest.mark.parametrize("loss", ["mse", "huber", "nash_sutcliffe", nr.MSE(missing="nan"), Quartic()], ids=str)
@pytest.mark.parametrize("options", ["", "weights", "steps", "lengths"])
def test_sample_gradients_are_those_of_each_sample(loss, options):
    net, x, y = SEPARABLE[0], numbers(37, 4, 2), numbers(37, 4, 2, seed=1)
    given = {
        "": {},
        "weights": {"weights": np.array([1.0, 0.0, 2.0, 0.5])},
        "steps": {"weights": np.random.default_rng(0).integers(0, 3, (37, 4)).astype(float)},
        "lengths": {"lengths": np.array([37, 3, 12, 1])},
    }[options]
    if isinstance(loss, Quartic) and "weights" in given:
        return
    if isinstance(loss, nr.MSE):
        y[3:9, 1] = np.nan
    if loss == "nash_sutcliffe" and options == "lengths":
        given["lengths"][3] = 2  # of equal targets there is no spread
    found = net.sample_gradients(net.params.flat, x, y, loss, **given)
    for n in range(4):
        if options == "weights" and n == 1:
            assert not found[n].any()
            continue
        expected = alone(net, x, y, loss, n, **given)
        np.testing.assert_allclose(found[n], expected, rtol=0, atol=1e-13 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("net", SEPARABLE[1:3], ids=repr)
def test_sample_gradients_of_one_target_each(net):
    x, y = numbers(7, 5, 2), numbers(5, net.output_channels, seed=1)
    x = x.transpose(["tnc".index(letter) for letter in net.layout])
    found = net.sample_gradients(net.params.flat, x, y)
    expected = [alone(net, x, y, "mse", n) for n in range(5)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_sample_gradients_of_labels_indices_and_ragged():
    net, y = network(nr.GRU(9), nr.Last(), nr.Dense(3)), np.array([0, 2, 1, 9])
    x, loss = numbers(6, 4, 2), nr.CrossEntropy(ignore_index=9, class_weights=(1, 2, 3), smoothing=0.1)
    found = net.sample_gradients(net.params.flat, x, y, loss)
    for n in range(3):
        np.testing.assert_allclose(found[n], alone(net, x, y, loss, n), rtol=0, atol=1e-14)
    assert not found[3].any()
    words = network(nr.Embedding(5, 2), nr.GRU(9), nr.Last(), nr.Dense(1), channels=1)
    indices, z = np.random.default_rng(0).integers(0, 5, (4, 3)), numbers(3, 1)
    found = words.sample_gradients(words.params.flat, indices, z)
    expected = [words.loss_and_gradient(words.params.flat, indices[:, [n]], z[[n]])[1] for n in range(3)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    steps = network(nr.GRU(9), nr.Dense(2))
    sequences, targets = (nr.Ragged.of([numbers(length, 2, seed=length + s) for length in (5, 2)]) for s in (0, 7))
    found = steps.sample_gradients(steps.params.flat, sequences, targets)
    expected = steps.loss_and_gradient(steps.params.flat, sequences[1:], targets[1:])[1]
    np.testing.assert_allclose(found[1], expected, rtol=0, atol=1e-14)


def never_alone(monkeypatch):
    """Let no sample's gradient be computed by itself."""

    def alone(self, into, parts):
        raise AssertionError("a sample went alone")

    monkeypatch.setattr(nr.Network, "_workspace", alone)


TOGETHER = [
    (SEPARABLE[0], [37, 3, 0, 12, 1, 37], "mse"),
    (SEPARABLE[0], [600, 521, 514, 1030, 2], "huber"),  # sums of more than one block, of a dense layer as of a recurrent one
    (SEPARABLE[1], [7, 0, 19, 19, 2], "half_mse"),
    (SEPARABLE[2], [5, 9, 1], "mae"),
    (SEPARABLE[3], [530, 12, 5, 5], "poisson_nll"),
    (network(nr.GRU(9), nr.Dense(3)), [6, 2, 9], "cross_entropy"),
    (network(nr.GRU(9), nr.Dense(3)), [6, 2, 9], nr.CrossEntropy(class_weights=(1, 2, 3), smoothing=0.25)),
    (network(nr.GRU(9), nr.Dense(1)), [6, 2, 9], "binary_cross_entropy"),
    (network(nr.GRU(9), nr.Dense(2)), [6, 2, 9], "gaussian_nll"),
]


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("net, lengths, loss", TOGETHER, ids=str)
def test_sample_gradients_of_ragged_have_the_bits_of_each_sample(net, lengths, loss, weighed, monkeypatch):
    """Together in compiled code, as a batch of some of them, and each as `loss_and_gradient` has it."""
    random, stepped = np.random.default_rng(0), "t" in net.output_layout
    x = nr.Ragged.of([numbers(length, 2, seed=s) for s, length in enumerate(lengths)])
    count, outputs, weights = len(lengths), nr.loss(loss), None
    if "cross" in outputs.name:
        targets = [random.integers(0, max(2, net.output_channels), length) for length in lengths]
    else:
        targets = [random.random((length, outputs.target_channels(net.output_channels))) for length in lengths]
    y = nr.Ragged.of(targets) if stepped else numbers(count, net.output_channels, seed=1)
    if weighed:  # sums of these are exact
        each = random.integers(1, 4, (x.data.shape[0], 1)).astype(float)
        weights = nr.Ragged(each, x.offsets) if stepped else random.integers(0, 3, count).astype(float)
    flat, expected = net.params.flat, np.zeros((count, len(net.params)))
    for n in range(count):
        if lengths[n] or not stepped:
            own = None if weights is None else weights[n : n + 1]
            expected[n] = net.loss_and_gradient(flat, x[n : n + 1], y[n : n + 1], loss, weights=own)[1]
    never_alone(monkeypatch)
    found = net.sample_gradients(flat, x, y, loss, weights=weights)
    assert same_bits(found, expected)
    monkeypatch.undo()
    monkeypatch.setattr("numbarnn.networks.derived.ROWS", 2 * max(lengths))  # a few at a time
    assert same_bits(net.sample_gradients(flat, x, y, loss, weights=weights), found)


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
def test_sample_gradients_of_equal_and_of_padded_lengths_have_the_bits_of_each_sample(layout, monkeypatch):
    net = nr.Network([nr.GRU(9), nr.Dense(2)], 2, "float64", layout, seed=1)
    order = ["tnc".index(letter) for letter in layout]
    x, y, lengths = (
        numbers(537, 4, 2).transpose(order),
        numbers(537, 4, 2, seed=1).transpose(order),
        np.array([520, 5, 0, 11]),
    )
    never_alone(monkeypatch)
    axis = layout.index("n")
    for own in (None, lengths):
        found = net.sample_gradients(net.params.flat, x, y, lengths=own)
        for n in range(4):
            if own is not None and not own[n]:
                assert not found[n].any()
                continue
            pair = (np.take(part, [n], axis) for part in (x, y))
            expected = net.loss_and_gradient(net.params.flat, *pair, lengths=None if own is None else own[[n]])[1]
            assert same_bits(found[n], expected)


def test_sample_gradients_of_threads_and_of_samples_that_start_afresh():
    net, x, y = SEPARABLE[1], numbers(5, 19, 2), numbers(5, 2, seed=1)
    reset, lengths = np.zeros((5, 19), bool), np.array([19, 4, 0, 9, 19])
    reset[2, 7] = True
    reset = reset.T
    options = [{"lengths": lengths}, {"reset": reset}]
    several = [net.sample_gradients(net.params.flat, x, y, **each) for each in options]
    numba.set_num_threads(1)
    one = [net.sample_gradients(net.params.flat, x, y, **each) for each in options]
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    for a, b, each in zip(one, several, options):
        assert same_bits(a, b)
        for n in range(5):
            own = {name: part[..., [n]] for name, part in each.items()}
            expected = net.loss_and_gradient(net.params.flat, x[n : n + 1], y[n : n + 1], **own)[1]
            assert same_bits(a[n], expected)


def test_sample_gradients_of_float32_that_a_square_overflows():
    net, x, y = nr.Network([nr.GRU(9), nr.Dense(2)], 2, seed=1), numbers(5, 3, 2), numbers(5, 3, 2, seed=1)
    y[:, 1] *= 1e25
    x, y = x.astype(np.float32), y.astype(np.float32)
    found = net.sample_gradients(net.params.flat, x, y)
    assert np.isfinite(found).all()
    for n in range(3):
        expected = net.loss_and_gradient(net.params.flat, x[:, [n]], y[:, [n]])[1]
        np.testing.assert_allclose(found[n], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


NUMBER_LOSSES = [
    nr.MSE(missing="nan"),
    nr.HalfMSE(),
    nr.MAE(),
    nr.Huber(0.7),
    nr.NashSutcliffe(),
    nr.NashSutcliffe(spread=(0.5, 2.0, 1.0, 3.0)),
    nr.BinaryCrossEntropy(),
    nr.PoissonNLL(full=True),
    nr.Quantile((0.2, 0.7)),
    nr.GaussianNLL(),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", NUMBER_LOSSES, ids=repr)
def test_curvature_of_losses_of_numbers(loss, weighted):
    prediction, direction = numbers(6, 5, 4), numbers(6, 5, 4, seed=1)
    target = np.abs(numbers(6, 5, loss.target_channels(4), seed=2)).clip(0, 1)
    if loss.missing:
        target[0, 1] = np.nan
    weights = np.random.default_rng(3).integers(0, 3, (6, 5, 1)).astype(float) if weighted else None
    found = loss.curvature_of_rows(prediction, target, direction, weights)
    step = 1e-6
    ahead, behind = (loss.of_rows(prediction + s * direction, target, weights)[1] for s in (step, -step))
    np.testing.assert_allclose(found, (ahead - behind) / (2 * step), rtol=0, atol=1e-8)
    if weighted:
        nothing = np.where(weights == 0, np.nan, prediction)  # what weighs nothing is not read
        np.testing.assert_array_equal(loss.curvature_of_rows(nothing, target, direction, weights), found)


LABEL_LOSSES = [
    nr.CrossEntropy(),
    nr.CrossEntropy(smoothing=0.2, class_weights=(1, 0, 3)),
    nr.CrossEntropy(ignore_index=9, class_weights=(2, 1, 3)),
    nr.BinaryCrossEntropy(ignore_index=9),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LABEL_LOSSES, ids=repr)
def test_curvature_of_losses_of_labels(loss, weighted):
    classes = 1 if isinstance(loss, nr.BinaryCrossEntropy) else 3
    logits, direction = numbers(8, classes), numbers(8, classes, seed=1)
    labels = np.array([0, 1, 1, 0, 1, 0, 1, 0]) if classes == 1 else np.array([0, 1, 2, 0, 1, 2, 2, 1])
    if loss.ignore_index is not None:
        labels[3] = -1
    weights = np.array([1.0, 2, 0, 3, 1, 0.5, 1, 1]) if weighted else None
    found = loss.curvature_of_labels(logits, labels, direction, weights)
    step = 1e-6
    ahead, behind = (loss.of_labels(logits + s * direction, labels, weights)[1] for s in (step, -step))
    np.testing.assert_allclose(found, (ahead - behind) / (2 * step), rtol=0, atol=1e-9)


@settings(max_examples=15)
@given(st.sampled_from(["steps", "last", "both"]), st.booleans(), st.sampled_from(["mse", "huber"]), st.integers(0, 99))
def test_gauss_newton_product_is_that_of_the_jacobian(name, weighted, loss, seed):
    net = NETWORKS[name]
    order = ["tnc".index(letter) for letter in net.layout]
    x = numbers(*SHAPE, seed=seed).transpose(order)
    y, flat = numbers(*net.predict(x).shape, seed=seed + 1), net.params.flat
    weights = np.arange(4.0) if weighted else None
    one, other = numbers(2, len(flat), seed=seed + 2)
    J, axis = net.jacobian(flat, x), net.output_layout.index("c")
    own, rows = nr.loss(loss), lambda part: np.moveaxis(part, axis, -1)
    letters = net.output_layout.replace("c", "")
    each = None if weights is None else weights.reshape([4 if letter == "n" else 1 for letter in letters] + [1])
    each = None if each is None else np.broadcast_to(each, rows(y)[..., :1].shape)
    H = lambda u: np.moveaxis(own.curvature_of_rows(rows(net.predict(x)), rows(y), rows(u), each), -1, axis)  # noqa: E731
    expected = np.tensordot(H(J @ one), J, y.ndim)
    found = net.gauss_newton_product(flat, x, y, one, loss, weights=weights)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))
    back = net.gauss_newton_product(flat, x, y, other, loss, weights=weights)
    assert abs(found @ other - back @ one) < 1e-12 * (1 + abs(found @ other))  # it is symmetric
    assert found @ one >= 0


@pytest.mark.parametrize("given_as", ["padded", "ragged"])
def test_gauss_newton_product_of_labels_of_different_lengths(given_as):
    net, lengths = network(nr.GRU(3), nr.Dense(3)), np.array([3, 1, 5, 0])
    x, y, v = numbers(*SHAPE), np.random.default_rng(1).integers(0, 3, (5, 4)), numbers(len(net.params), seed=3)
    J, logits = net.jacobian(net.params.flat, x, lengths), net.predict(x, lengths)
    there = np.arange(5)[:, None] < lengths
    H = nr.loss("cross_entropy").curvature_of_labels(logits[there], y[there], (J @ v)[there])
    if given_as == "ragged":
        x = nr.Ragged.of([x[:length, n] for n, length in enumerate(lengths)])
        y = nr.Ragged.of([y[:length, n] for n, length in enumerate(lengths)])
        found = net.gauss_newton_product(net.params.flat, x, y, v, "cross_entropy")
    else:
        found = net.gauss_newton_product(net.params.flat, x, y, v, "cross_entropy", lengths)
    np.testing.assert_allclose(found, np.tensordot(H, J[there], 2), rtol=0, atol=1e-13)


def test_a_loss_of_ones_own():
    net, x, y = NETWORKS["last"], numbers(4, 5, 2), numbers(4, 2, seed=1)
    v = numbers(len(net.params), seed=2)
    J = net.jacobian(net.params.flat, x)
    expected = np.tensordot(Quartic().hessian_product(net.predict(x), y, J @ v), J, 2)
    found = net.gauss_newton_product(net.params.flat, x, y, v, Quartic())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    plain = lambda prediction, target: Quartic()(prediction, target)  # noqa: E731
    with pytest.raises(TypeError, match="loss: expected a loss of the library, or one with a method hessian_product"):
        net.gauss_newton_product(net.params.flat, x, y, v, plain)


@pytest.mark.parametrize(
    "change, error, match",
    [
        (
            lambda net, x, y, v: net.gauss_newton_product(net.params.flat, x, y, v[1:]),
            nr.ShapeError,
            "vector: expected shape",
        ),
        (
            lambda net, x, y, v: net.gauss_newton_product(net.params.flat, x, y, v.astype("f4")),
            nr.DTypeError,
            "vector: expected float64",
        ),
        (lambda net, x, y, v: net.hvp(net.params.flat, x, y, v * np.inf), nr.NonFiniteError, "vector: expected finite"),
        (lambda net, x, y, v: net.jacobian(net.params.flat[1:], x), nr.ShapeError, "flat: expected"),
        (lambda net, x, y, v: net.jacobian(net.params.flat, x[..., :1]), nr.ShapeError, "x: expected 2 channels"),
    ],
)
def test_errors_name_the_argument(change, error, match):
    net = NETWORKS["last"]
    with pytest.raises(error, match=match):
        change(net, numbers(4, 5, 2), numbers(4, 2), numbers(len(net.params)))


def test_parameters_stay_as_they_are():
    net, x, y = NETWORKS["steps"], numbers(*SHAPE), numbers(*SHAPE)
    before = net.params.flat.copy()
    net.jacobian(before + 1, x)
    net.gauss_newton_product(before + 1, x, y, before)
    assert np.array_equal(net.params.flat, before)
