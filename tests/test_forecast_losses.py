"""Losses of forecasters: against their equations and PyTorch, slopes by finite differences, several channels of a target."""

import itertools

import numpy as np
import pytest
from checks import check_loss, check_network, same_bits
from hypothesis import assume, given
from hypothesis import strategies as st

import numbarnn as nr

LAYOUTS = tuple("".join(letters) for letters in itertools.permutations("tnc"))
LEVELS = (0.05, 0.5, 0.8)
LOSSES = {
    "quantile": nr.Quantile(LEVELS),
    "gaussian": nr.GaussianNLL(least=0.01),
    "gaussian in full": nr.GaussianNLL(full=True),
    "poisson": nr.PoissonNLL(),
    "poisson in full": nr.PoissonNLL(full=True),
    "nash_sutcliffe": nr.NashSutcliffe(),
    "nash_sutcliffe of a spread": nr.NashSutcliffe(spread=(0.5, 3.0)),
}
CHANNELS = {"quantile": 3, "gaussian": 2}  # of each target


def channels(name, targets=2):
    """Channels of predictions for so many targets."""
    return targets * CHANNELS.get(name.split()[0], 1)


def case(name, *shape, seed=0):
    """A prediction and targets, two of each, channels last."""
    random = np.random.default_rng(seed)
    prediction, target = random.standard_normal((*shape, channels(name))), random.standard_normal((*shape, 2))
    return prediction, np.floor(5 * np.abs(target)) if "poisson" in name else target


def turned(array, letters, order):
    """An array with its axes in another order."""
    return array.transpose([letters.index(letter) for letter in order])


def with_missing(loss):
    """The loss for targets of which some are NaN."""
    options = {field: getattr(loss, field) for field in ("levels", "least", "full", "spread") if hasattr(loss, field)}
    return type(loss)(**options, missing="nan")


def written_out(name, prediction, target):
    """The values of all predictions, from the equation, one number at a time; channels last."""
    found = np.zeros(target.shape)
    spread = target.reshape(-1, 2).std(axis=0) if name == "nash_sutcliffe" else (0.5, 3.0)
    for place in np.ndindex(*target.shape):
        *row, k = place
        y, p = target[place], prediction[tuple(row)]
        if name == "quantile":
            found[place] = np.mean([max(a * (y - q), (a - 1) * (y - q)) for a, q in zip(LEVELS, p[3 * k : 3 * k + 3])])
        elif "gaussian" in name:
            s = (1e-3 if "full" in name else 0.01) + np.log1p(np.exp(p[2 * k + 1]))
            found[place] = np.log(s) + ((y - p[2 * k]) / s) ** 2 / 2 + ("full" in name) * np.log(2 * np.pi) / 2
        elif "poisson" in name:
            logarithm = np.log(np.arange(1, y + 1)).sum() if "full" in name else 0
            found[place] = np.exp(p[k]) - y * p[k] + logarithm
        else:
            found[place] = ((p[k] - y) / spread[k]) ** 2
    return found


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("layout", [*LAYOUTS, "nc", "cn"])
def test_values_and_slopes(name, layout):
    """In every layout, with lengths, weights and missing targets, which all may hold NaN where nothing is read."""
    letters = "tnc" if "t" in layout else "nc"
    prediction, target = case(name, *[{"t": 4, "n": 3}[letter] for letter in letters[:-1]])
    loss = LOSSES[name]
    found, slope = loss(turned(prediction, letters, layout), turned(target, letters, layout), layout=layout)
    assert found == pytest.approx(written_out(name, prediction, target).mean(), rel=1e-13)
    assert slope.shape == turned(prediction, letters, layout).shape
    check_loss(loss, turned(prediction, letters, layout), turned(target, letters, layout), layout=layout)
    if "t" not in layout:
        return
    lengths, weights = np.array([4, 0, 2]), np.array([[1, 1, 2], [0, 1, 1], [3, 1, 1], [1, 1, 1.0]])
    gone = np.random.default_rng(2).random(target.shape) < 0.3
    read = (weights * (np.arange(4)[:, None] < lengths))[..., None] * ~gone
    target[read == 0] = np.nan
    prediction[~(read > 0).any(axis=-1)] = np.nan
    given = turned(prediction, letters, layout), turned(target, letters, layout)
    own = turned(weights, "tn", layout.replace("c", ""))
    options = dict(lengths=lengths, layout=layout, weights=own)
    check_loss(with_missing(loss), *given, **options)
    found, slope = with_missing(loss)(*given, **options)
    if name != "nash_sutcliffe":  # its denominator depends on which targets are read
        values = written_out(name, *(np.nan_to_num(array) for array in (prediction, target)))
        assert found == pytest.approx((read * values).sum() / read.sum(), rel=1e-13)
    slope = turned(slope, layout, "tnc").reshape(*target.shape, -1)
    assert not slope[read == 0].any() and slope[read > 0].any(axis=-1).all()


@given(st.sampled_from(sorted(LOSSES)), st.integers(1, 3), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_slopes_by_finite_differences(name, steps, batch, seed):
    prediction, target = case(name, steps, batch, seed=seed)
    if name == "quantile":  # not where a target is a quantile
        assume(np.abs(target[..., None] - prediction.reshape(*target.shape, -1)).min() > 0.01)
    check_loss(LOSSES[name], prediction, target, seed=seed)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_missing_targets_have_the_bits_of_the_others_alone(name, dtype):
    loss = LOSSES[name]
    prediction, target = (array.astype(dtype) for array in case(name, 4, 3))
    gone = np.random.default_rng(1).random((4, 3)) < 0.4
    value, gradient = loss(prediction[~gone], target[~gone])
    target[gone] = np.nan
    found, slope = with_missing(loss)(prediction, target)
    assert found == pytest.approx(value, rel=1e-6 if dtype == "float32" else 1e-13)
    assert same_bits(slope[~gone], gradient) and not slope[gone].any()
    assert with_missing(loss)(prediction, np.full_like(target, np.nan))[0] == 0.0


def test_against_torch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    softplus = functional.softplus

    def pinball(q, y):
        level, d = torch.tensor(LEVELS, dtype=torch.float64), y[..., None] - q.reshape(*y.shape, 3)
        return torch.maximum(level * d, (level - 1) * d).mean()

    def gaussian(p, y, least, full):
        variance = (least + softplus(p[..., 1::2])) ** 2
        return functional.gaussian_nll_loss(p[..., ::2], y, variance, full=full, eps=1e-12)

    theirs = {
        "quantile": pinball,
        "gaussian": lambda p, y: gaussian(p, y, 0.01, False),
        "gaussian in full": lambda p, y: gaussian(p, y, 1e-3, True),
        "poisson": lambda p, y: functional.poisson_nll_loss(p, y, log_input=True, full=False),
        "nash_sutcliffe": lambda p, y: (((p - y) ** 2).mean((0, 1)) / y.var((0, 1), correction=0)).mean(),
    }
    for name, function in theirs.items():
        prediction, target = case(name, 4, 3)
        p = torch.from_numpy(prediction.copy()).requires_grad_()
        expected = function(p, torch.from_numpy(target))
        expected.backward()
        value, gradient = LOSSES[name](prediction, target)
        assert value == pytest.approx(expected.item(), rel=1e-13), name
        np.testing.assert_allclose(gradient, p.grad.numpy(), rtol=1e-12, atol=1e-16)
    x, y = case("mse", 4, 3)
    p = torch.from_numpy(x.copy()).requires_grad_()
    expected = functional.huber_loss(p, torch.from_numpy(y), delta=0.3)
    expected.backward()
    value, gradient = nr.Huber(0.3)(x, y)
    assert value == pytest.approx(expected.item(), rel=1e-14)
    np.testing.assert_allclose(gradient, p.grad.numpy(), rtol=1e-14)


def network(name, layout, last, dtype="float64"):
    layers = [nr.GRU(3), *([nr.Last()] if last else []), nr.Dense(channels(name))]
    return nr.Network(layers, channels=1, dtype=dtype, layout=layout, seed=0)


@pytest.mark.parametrize("form", ["uniform", "lengths", "ragged"])
@pytest.mark.parametrize("layout, last", [("tnc", True), ("tnc", False), ("cnt", False), ("cnt", True)])
@pytest.mark.parametrize("name", ["quantile", "gaussian", "poisson", "nash_sutcliffe"])
def test_a_network_trains_on_them(name, form, layout, last):
    net, lengths = network(name, layout, last), np.array([4, 1, 2, 3])
    x, y = np.random.default_rng(0).standard_normal((4, 4, 1)), case(name, 4, 4)[1]
    y = y[0] if last else y
    letters, options = net.output_layout, {}
    if form == "ragged":
        x = nr.Ragged.of([x[:length, n] for n, length in enumerate(lengths)])
        y = turned(y, "nc", letters) if last else nr.Ragged.of([y[:length, n] for n, length in enumerate(lengths)])
    else:
        x, y = turned(x, "tnc", layout), turned(y, "nc" if last else "tnc", letters)
        options = {"lengths": lengths} if form == "lengths" else {}
    loss = LOSSES[name]
    check_network(net, x, y, loss=loss, **options)
    before = net.loss(x, y, loss, **options)
    history = net.fit(x, y, loss, nr.SGD(0.0), 1, batch_size=4, progress=False, **options)
    assert history.loss[0] == pytest.approx(before, rel=1e-12)
    history = net.fit(
        x, y, loss, nr.Adam(0.02), 20, batch_size=2 if name != "nash_sutcliffe" else 4, progress=False, **options
    )
    assert net.loss(x, y, loss, **options) < before


def test_quantiles_are_found():
    """The network that is a constant learns the quantiles of its targets."""
    y = np.random.default_rng(0).exponential(size=(500, 1))
    net = nr.Network([nr.Dense(3)], channels=1, dtype="float64", seed=0)
    net.fit(np.zeros((500, 1)), y, nr.Quantile(), nr.Adam(nr.cosine(0.3)), 300, batch_size=500, progress=False)
    found = net.predict(np.zeros((1, 1)))[0]
    np.testing.assert_allclose(found, np.quantile(y, [0.1, 0.5, 0.9]), rtol=0, atol=0.02)


def test_deviations_are_found():
    y = np.random.default_rng(0).normal(3.0, 0.5, (500, 1))
    net, loss = nr.Network([nr.Dense(2)], channels=1, dtype="float64", seed=0), nr.GaussianNLL()
    net.fit(np.zeros((500, 1)), y, loss, nr.Adam(nr.cosine(0.3)), 300, batch_size=500, progress=False)
    for layout, prediction in (("nc", net.predict(np.zeros((2, 1)))), ("cn", net.predict(np.zeros((2, 1))).T)):
        mean, deviation = loss.distribution(prediction, layout)
        assert mean.shape == deviation.shape == ((2, 1) if layout == "nc" else (1, 2))
        np.testing.assert_allclose(mean, y.mean(), rtol=1e-3)
        np.testing.assert_allclose(deviation, y.std(), rtol=1e-2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_deviation_of_any_channel_is_safe(dtype):
    r = np.array([-np.finfo(dtype).max, -1e4, -100, 0, 100, 1e4, np.finfo(dtype).max / 4], dtype)
    prediction = np.stack([np.zeros_like(r), r], axis=1)
    with np.errstate(all="raise"):
        for row in prediction:
            value, gradient = nr.GaussianNLL()(row[None], np.ones((1, 1), dtype))
            assert np.isfinite(value) and np.isfinite(gradient).all()
        mean, deviation = nr.GaussianNLL().distribution(prediction)
    assert (deviation >= dtype_number(1e-3, dtype)).all() and np.isfinite(deviation).all() and not mean.any()


def dtype_number(value, dtype):
    return np.dtype(dtype).type(value)


def test_the_efficiency_of_hydrologists():
    """One minus the efficiency as it is written, of all targets and of a spread."""
    random = np.random.default_rng(0)
    p, y = random.standard_normal((2, 50, 4, 1))
    efficiency = 1 - ((p - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert nr.loss("nash_sutcliffe")(p, y)[0] == pytest.approx(1 - efficiency, rel=1e-13)
    assert nr.NashSutcliffe(spread=y.std())(p, y)[0] == pytest.approx(1 - efficiency, rel=1e-13)
    assert nr.NashSutcliffe()(np.full_like(y, y.mean()), y)[0] == pytest.approx(1, rel=1e-13)
    weights = random.integers(0, 3, (50, 4))
    mean = np.average(y[..., 0], weights=weights)
    expected = (weights * (p - y)[..., 0] ** 2).sum() / (weights * (y[..., 0] - mean) ** 2).sum()
    assert nr.NashSutcliffe()(p, y, weights=weights)[0] == pytest.approx(expected, rel=1e-13)
    basins = y.std(axis=0)[:, 0]
    star = np.mean(((p - y) / (basins[:, None] + 0.1)) ** 2)
    factor = np.mean((basins + 0.1) ** -2)
    assert nr.MSE()(p, y, weights=(basins + 0.1) ** -2)[0] * factor == pytest.approx(star, rel=1e-13)


P, T = np.zeros((4, 3, 6)), np.zeros((4, 3, 2))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: nr.Quantile(LEVELS)(P[..., :5], T), nr.ShapeError, "^prediction: expected a multiple of 3 channels"),
        (lambda: nr.Quantile(LEVELS)(P, P), nr.ShapeError, r"^target y: expected shape \(4, 3, 2\) for a prediction of"),
        (lambda: nr.Quantile((0.5, 0.5)), ValueError, "^levels: expected rising numbers greater than 0"),
        (lambda: nr.Quantile(()), ValueError, "^levels: expected rising"),
        (lambda: nr.Quantile((0.0, 0.5)), ValueError, "^levels: expected rising"),
        (lambda: nr.Quantile(0.5), TypeError, "^levels: expected rising"),
        (lambda: nr.Quantile(("a",)), TypeError, r"^levels\[0\]: expected a finite number"),
        (lambda: nr.GaussianNLL()(P[..., :3], T), nr.ShapeError, "^prediction: expected an even number of channels"),
        (lambda: nr.GaussianNLL(least=0), ValueError, "^least: expected a finite number > 0"),
        (lambda: nr.GaussianNLL().distribution(P[0, 0]), nr.ShapeError, "^prediction"),
        (lambda: nr.PoissonNLL()(T, T - 1), ValueError, r"^target y: expected finite numbers >= 0, got -1.0 at \(0, 0, 0\)"),
        (lambda: nr.PoissonNLL(full=1), TypeError, "^full: expected True or False"),
        (lambda: nr.NashSutcliffe()(T, T), ValueError, r"^target y: expected targets that differ.* only in channel 0"),
        (lambda: nr.NashSutcliffe((1.0,))(T, T), nr.ShapeError, "^spread: expected one for each of 2 targets, got 1"),
        (lambda: nr.NashSutcliffe(0), ValueError, "^spread: expected a finite number > 0"),
        (lambda: nr.NashSutcliffe(()), ValueError, "^spread: expected a number > 0"),
        (
            lambda: network("poisson", "tnc", False).fit(P[..., :1], T - 1, "poisson_nll", progress=False),
            ValueError, r"^y: expected finite numbers >= 0, got -1.0 at \(0, 0, 0\)",
        ),
        (
            lambda: network("poisson", "tnc", False).fit(P[..., :1], T, "quantile", progress=False),
            nr.ShapeError, "^prediction: expected a multiple of 3 channels",
        ),
        (
            lambda: network("quantile", "tnc", False).fit(P[..., :1], P, "quantile", progress=False),
            nr.ShapeError, "^y: expected 2 channels, got 6",
        ),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
