"""GRU-D: values and gradients of PyPOTS, NumPy and finite differences; without gaps the plain GRU, bit by bit."""

from pathlib import Path

import numpy as np
import pytest
from checks import assert_near, same_bits
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.cpu import gaps

PYPOTS = np.load(Path(__file__).parent / "vectors" / "grud.npz")  # made by vectors/make_grud.py
KERNELS = ("float64", "float32")


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def oracle(layer, p, values, times, first):
    """The h of every step, from (T, N, C) with NaN, by equations 1, 2 and 10 to 17 of the paper, reset after the product."""
    p = {name.removesuffix("_l0"): np.asarray(view, np.float64) for name, view in p.items()}
    steps, batch, variables = values.shape
    h, span, last = np.zeros((batch, layer.hidden)), np.zeros((batch, variables)), np.full((batch, variables), first)
    seen, found = np.zeros((batch, variables), bool), []
    for t in range(steps):
        if t:
            span = (times[t] - times[t - 1])[:, None] + np.where(seen, 0, span)
        seen = ~np.isnan(values[t])
        last = np.where(seen, values[t], last)
        left = np.exp(-np.maximum(0, p["weight_dx"] * span + p["bias_dx"]))
        x = np.where(seen, values[t], left * last + (1 - left) * layer.mean)
        h = np.exp(-np.maximum(0, span @ p["weight_dh"].T + p["bias_dh"])) * h
        of_x = x @ p["weight_ih"].T + seen @ p["weight_mh"].T + p["bias_ih"]
        of_h = h @ p["weight_hh"].T + p["bias_hh"]
        (xr, xz, xn), (hr, hz, hn) = np.split(of_x, 3, axis=1), np.split(of_h, 3, axis=1)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        n = np.tanh(xn + r * hn + (h @ p["weight_ph"].T if layer.past else 0))
        h = (1 - z) * n + z * h
        found.append(h)
    return np.array(found)


def series(random, steps, batch, variables, missing=0.4):
    """(values with NaN, times): (T, N, C) and (T, N)."""
    values = random.standard_normal((steps, batch, variables))
    values[random.random(values.shape) < missing] = np.nan
    return values, np.cumsum(random.uniform(0.2, 2, (steps, batch)), axis=0)


def case_of(random, hidden, variables, dtype="float64", **options):
    """(layer, its parameters, none of them 0); each decay is clear of where it begins: of two in three there is one."""
    layer = nr.GRUD(hidden, **options)
    p = layer.init(3 * variables, seed=1, dtype=dtype, scheme="pytorch")
    p.flat[...] += random.uniform(-0.3, 0.3, p.flat.shape)
    for end in ("dh_l0", "dx_l0"):
        weight, bias = p[f"weight_{end}"], p[f"bias_{end}"]
        sign = np.where(np.arange(len(bias)) % 3 < 2, 1, -1)
        weight[...] = (np.abs(weight).T * sign).T
        bias[...] = (0.1 + np.abs(bias)) * sign
    return layer, p


@pytest.mark.parametrize("dtype", KERNELS)
@pytest.mark.parametrize("name", ["regular", "irregular"])
def test_pypots(name, dtype):
    of = {key.removeprefix(f"{name}."): value for key, value in PYPOTS.items() if key.startswith(f"{name}.")}
    hidden, variables = of["temp_decay_h.W"].shape
    layer = nr.GRUD(hidden, mean=tuple(map(float, of["mean"])), past=True)
    p = layer.init(3 * variables, dtype=dtype)
    w, gates = of["rnn_cell.weight_ih"], 2 * hidden
    through_input = w[:, variables : variables + hidden]
    given = {
        "weight_ih": w[:, :variables],
        "weight_mh": w[:, variables + hidden :],
        "weight_hh": of["rnn_cell.weight_hh"] + np.concatenate([through_input[:gates], np.zeros((hidden, hidden))]),
        "weight_ph": through_input[gates:],
        "bias_ih": of["rnn_cell.bias_ih"],
        "bias_hh": of["rnn_cell.bias_hh"],
        "weight_dh": of["temp_decay_h.W"],
        "bias_dh": of["temp_decay_h.b"],
        "weight_dx": np.diag(of["temp_decay_x.W"]),
        "bias_dx": of["temp_decay_x.b"],
    }
    for key, value in given.items():
        p[f"{key}_l0"][...] = value
    times = None if name == "regular" else of["times"].T
    x = nr.observed(of["values"].swapaxes(0, 1).astype(dtype), times, first="backward")
    spans = of["deltas"].swapaxes(0, 1)
    np.testing.assert_allclose(x[..., 2 * variables :], spans, rtol=0, atol=1e-6)
    y, final, tape = layer.forward(p, x)
    np.testing.assert_allclose(final[0], of["final"], rtol=0, atol=1e-6)
    # PyPOTS returns what is left of the state before each step.
    d = spans @ given["weight_dh"].T + given["bias_dh"]
    left = np.exp(-np.maximum(0, d))
    before = np.concatenate([np.zeros_like(y[:1]), y[:-1]])
    np.testing.assert_allclose(left * before, of["states"].swapaxes(0, 1), rtol=0, atol=1e-6)
    weigh = of["weigh_states"].swapaxes(0, 1)
    dy = np.zeros_like(y)
    dy[:-1] = (weigh * left)[1:]
    dy[-1] = of["weigh_last"]
    own = layer.backward(tape, dy).params
    direct = np.where(d > 0, -left * weigh * before, 0)
    dw, dr = of["d_rnn_cell.weight_ih"], of["d_rnn_cell.weight_hh"]
    expected = {
        "weight_ih": dw[:, :variables],
        "weight_mh": dw[:, variables + hidden :],
        "weight_hh": dr,
        "weight_ph": dw[gates:, variables : variables + hidden],
        "bias_ih": of["d_rnn_cell.bias_ih"],
        "bias_hh": of["d_rnn_cell.bias_hh"],
        "weight_dh": of["d_temp_decay_h.W"] - np.einsum("tnh,tnc->hc", direct, spans),
        "bias_dh": of["d_temp_decay_h.b"] - direct.sum(axis=(0, 1)),
        "weight_dx": np.diag(of["d_temp_decay_x.W"]),
        "bias_dx": of["d_temp_decay_x.b"],
    }
    assert {f"{key}_l0" for key in expected} == {*own.names}
    for key, value in expected.items():
        np.testing.assert_allclose(own[f"{key}_l0"], value, rtol=0, atol=1e-5, err_msg=key)
        assert np.abs(value).max() > 1e-3


@given(st.data())
def test_values_and_gradients(data):
    steps, batch, variables, hidden = (data.draw(st.integers(1, most), n) for n, most in zip("TNCH", (6, 3, 3, 5)))
    random = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    layer, p = case_of(random, hidden, variables, mean=0.25, past=data.draw(st.booleans(), "past"))
    values, times = series(random, steps, batch, variables)
    x = nr.observed(values, times, first=0.5)
    y, _, tape = layer.forward(p, x)
    np.testing.assert_allclose(y, oracle(layer, p, values, times, 0.5), rtol=0, atol=1e-14)
    initial = random.standard_normal((1, batch, hidden))
    lengths = random.integers(0, steps + 1, batch) if data.draw(st.booleans(), "ragged") else None
    nr.testing.check_gradients(layer, p, x, initial, lengths=lengths)
    for way in ({"tape": "states"}, {"checkpoints": 2}):
        again = layer.backward(layer.forward(p, x, **way)[2], np.ones_like(y))
        assert same_bits(again.params.flat, layer.backward(tape, np.ones_like(y)).params.flat)


def test_the_learned_state_and_forward_derivatives():
    random = np.random.default_rng(0)
    layer, p = case_of(random, 4, 2, learned_state=True, past=True)
    x = nr.observed(*series(random, 5, 3, 2))
    nr.testing.check_gradients(layer, p, x)
    y, _, tape = layer.forward(p, x)
    dp, dx, dy = (random.standard_normal(shape) for shape in (p.flat.shape, x.shape, y.shape))
    back = layer.backward(tape, dy)
    forth, _ = layer.jvp(tape, dp=dp, dx=dx)
    np.testing.assert_allclose((dy * forth).sum(), back.params.flat @ dp + (back.x * dx).sum(), rtol=1e-12)
    only_x, only_p = layer.jvp(tape, dx=dx)[0], layer.jvp(tape, dp=dp)[0]
    np.testing.assert_allclose(only_x + only_p, forth, rtol=0, atol=1e-13)
    twice = layer.backward(tape, dy, into=back.params.copy(), accumulate=True).params.flat
    np.testing.assert_allclose(twice, 2 * back.params.flat, rtol=1e-12)


@pytest.mark.parametrize("lost", ["w", "b", "values", "masks", "spans"])
def test_a_derivative_of_the_decay_that_is_lost_is_found(lost, monkeypatch):
    random = np.random.default_rng(0)
    layer, p = case_of(random, 3, 2, mean=0.25)
    p["weight_dx_l0"][...], p["bias_dx_l0"][...] = 0.4, 0.1
    x = nr.observed(*series(random, 5, 3, 2))
    nr.testing.check_gradients(layer, p, x)
    whole = gaps.take_back

    def without(cell, x, weight, bias, mean, dy, dx, dweight, dbias, accumulate):
        whole(cell, x, weight, bias, mean, dy, dx, dweight, dbias, accumulate)
        parts = dict(zip(("values", "masks", "spans"), np.split(dx, 3, axis=2)), w=dweight, b=dbias)
        parts[lost][...] = 0

    monkeypatch.setattr(gaps, "take_back", without)
    with pytest.raises(AssertionError):
        nr.testing.check_gradients(layer, p, x)


@pytest.mark.parametrize("dtype", KERNELS)
@pytest.mark.parametrize("hidden", [3, 37])
def test_without_gaps_it_is_the_plain_gru(hidden, dtype):
    random, variables = np.random.default_rng(0), 3
    values = random.standard_normal((9, 4, variables)).astype(dtype)
    gru, layer = nr.GRU(hidden), nr.GRUD(hidden, mean=0.7)
    p = layer.init(3 * variables, seed=0, dtype=dtype)
    for name in ("weight_mh_l0", "weight_dh_l0", "weight_dx_l0"):
        p[name][...] = 0
    q = gru.init(variables, dtype=dtype)
    for name in q.names:
        p[name][...] = random.uniform(-0.5, 0.5, p[name].shape)
        q[name][...] = p[name]
    (y, state, tape), (expected, final, plain) = layer.forward(p, nr.observed(values)), gru.forward(q, values)
    assert same_bits(y.copy(), expected.copy()) and same_bits(state, final)
    dy = random.standard_normal(y.shape).astype(dtype)
    found, own = layer.backward(tape, dy), gru.backward(plain, dy)
    assert_near(found.x[..., :variables], own.x)  # sums over the slots of a block, of which there is one more
    for name in q.names:
        assert_near(found.params[name], own.params[name])


def test_a_series_by_steps_by_pieces_and_in_any_company():
    random = np.random.default_rng(0)
    layer, p = case_of(random, 4, 2)
    values, times = series(random, 8, 3, 2)
    x = nr.observed(values, times)
    y, state = layer(p, x)
    stream = layer.stream(p, batch=3)
    row, steps = None, np.diff(times, axis=0, prepend=times[:1])
    for t in range(8):
        row = nr.observed(values[t : t + 1], spans=steps[t : t + 1], previous=row)[0] if t else x[0]
        np.testing.assert_allclose(row, x[t], rtol=0, atol=1e-14)
        assert same_bits(stream.step(x[t]), y[t].copy())
    lengths = np.array([5, 0, 8])
    short, last = layer(p, nr.observed(values, times, lengths=lengths), lengths=lengths)
    for n, length in enumerate(lengths):
        alone, _ = layer(p, nr.observed(values[:length, n], times[:length, n]))
        assert same_bits(short[:length, n].copy(), alone.copy()) and not short[length:, n].any()
    given = nr.Ragged.of([values[:length, n] for n, length in enumerate(lengths)])
    moments = np.concatenate([times[:length, n] for n, length in enumerate(lengths)])
    ragged, end = layer(p, nr.observed(given, moments))
    assert same_bits(end, last) and same_bits(ragged[2], short[:, 2].copy())
    across = nr.observed(values.transpose(1, 2, 0), times, layout="nct")
    assert same_bits(layer(p, across, layout="nct")[0].transpose(2, 0, 1).copy(), y.copy())
    reset = np.zeros((8, 3), bool)
    reset[4] = True
    again, _ = layer(p, x, reset=reset)
    assert same_bits(again[4:].copy(), layer(p, x[4:].copy())[0].copy())


def test_a_network_learns_from_gaps(tmp_path):
    random = np.random.default_rng(0)
    values, times = series(random, 12, 64, 1, missing=0.5)
    target = np.nan_to_num(values[..., 0]).sum(axis=0)[:, None] / 4
    x = nr.observed(values.astype(np.float32), times)
    net = nr.Network([nr.GRUD(12), nr.Last(), nr.Dense(1)], channels=3, seed=0)
    start = net.params["0.weight_dh_l0"].copy(), net.params["0.weight_dx_l0"].copy()
    history = net.fit(x, target, optimizer=nr.Adam(0.02), epochs=60, batch_size=32, seed=0, progress=False)
    assert history.loss[-1] < history.loss[0] / 8
    for before, name in zip(start, ("weight_dh_l0", "weight_dx_l0")):
        assert (net.params[f"0.{name}"] != before).all()
    net.save(tmp_path / "net")
    assert same_bits(nr.load(tmp_path / "net").predict(x), net.predict(x))
    layer, p = nr.GRUD(3, mean=(0.5, 1.0)), nr.GRUD(3, mean=(0.5, 1.0)).init(6)
    layer.save(tmp_path / "layer", p)
    again, q = nr.load(tmp_path / "layer")
    assert again == layer and same_bits(p.flat, q.flat)


def test_what_is_observed():
    nan = np.nan
    values = np.array([[nan, 1], [2, nan], [nan, nan], [3, 4]])
    x = nr.observed(values, [0, 1, 3, 7], first=[9.0, 8.0])
    np.testing.assert_array_equal(x[:, :2], [[9, 1], [2, 1], [2, 1], [3, 4]])
    np.testing.assert_array_equal(x[:, 2:4], [[0, 1], [1, 0], [0, 0], [1, 1]])
    np.testing.assert_array_equal(x[:, 4:], [[0, 0], [1, 1], [2, 3], [6, 7]])
    assert same_bits(nr.observed(values, spans=[5, 1, 2, 4], first=[9.0, 8.0]), x)
    np.testing.assert_array_equal(nr.observed(values)[:, 4:], [[0, 0], [1, 1], [1, 2], [2, 3]])
    np.testing.assert_array_equal(nr.observed(values, first="backward")[:, 0], [2, 2, 2, 3])
    np.testing.assert_array_equal(nr.observed(np.full((2, 1), nan), first="backward")[:, 0], [0, 0])
    batch = np.full((3, 2, 1), 1.0)
    x = nr.observed(batch, np.array([[0, 0], [1, nan], [2, nan]]), lengths=[3, 1])
    assert not x[1:, 1].any() and x.dtype == np.float64 and nr.observed(batch.astype("f4")).dtype == np.float32


V = np.ones((3, 2, 1))
WRONG = {
    "times that fall": (lambda: nr.observed(V, [0, 2, 1]), ValueError, ["times", "never fall", "step 2 of sequence 0"]),
    "NaN times": (lambda: nr.observed(V, [0, np.nan, 1]), ValueError, ["times", "finite", "nan"]),
    "times of another shape": (lambda: nr.observed(V, [0, 1]), nr.ShapeError, ["times", "(3,)", "(3, 2)", "(2,)"]),
    "a negative span": (lambda: nr.observed(V, spans=[0, 1, -1]), ValueError, ["spans", "0 and more", "-1"]),
    "both": (lambda: nr.observed(V, [0, 1, 2], [0, 1, 1]), ValueError, ["spans", "times"]),
    "times after something": (lambda: nr.observed(V, [0, 1, 2], previous=V[0]), ValueError, ["times", "spans", "previous"]),
    "previous": (lambda: nr.observed(V, previous=V[0]), nr.ShapeError, ["previous", "(2, 3)", "(2, 1)"]),
    "first": (lambda: nr.observed(V, first=[1.0, 2.0]), nr.ShapeError, ["first", "1 variables"]),
    "a rule": (lambda: nr.observed(V, first="next"), nr.UnknownNameError, ["first", "backward"]),
    "one axis": (lambda: nr.observed(V[:, 0, 0]), nr.ShapeError, ["values", "(3,)"]),
    "no time": (lambda: nr.observed(V[0], layout="nc"), nr.ShapeError, ["values", "time"]),
    "channels": (lambda: nr.GRUD(3).init(4), nr.ShapeError, ["channels", "3 for each variable", "observed", "4"]),
    "means": (lambda: nr.GRUD(3, mean=(0.0, 1.0)).init(3), nr.ShapeError, ["mean", "1 variables"]),
    "a mean": (lambda: nr.GRUD(3, mean=np.inf), ValueError, ["mean", "inf"]),
    "connectivity": (
        lambda: nr.GRUD(2, connectivity=nr.Connectivity(np.eye(2))), ValueError, ["connectivity", "GRUD"],
    ),
    "dropout of spans": (lambda: nr.GRUD(2, input_dropout=0.1), ValueError, ["input_dropout", "GRUD"]),
    "a ragged previous": (
        lambda: nr.observed(nr.Ragged.of([V[:, 0]]), previous=V[0]), ValueError, ["previous", "Ragged"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    call, kind, fragments = WRONG[name]
    with pytest.raises(kind) as raised:
        call()
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value


@pytest.mark.parametrize("kind", ["grud", "past", "decay"])
def test_calls_that_are_prepared_read_the_parameters_anew(kind):
    random = np.random.default_rng(0)
    layer = nr.LSTM(5, decay=True) if kind == "decay" else nr.GRUD(5, past=kind == "past")
    p, x = layer.init(6, seed=0, dtype="float64"), nr.observed(*series(random, 5, 3, 2))
    dy = random.standard_normal((5, 3, 5))
    for _ in range(3):  # the first call is by itself, the others are prepared
        p.flat[...] += random.uniform(0, 0.1, p.flat.shape)
        fresh = nr.Parameters(p.flat.copy(), p.weights)
        expected, _, own = layer.forward(fresh, x)
        right = layer.backward(own, dy)
        for _ in range(3):
            y, _, tape = layer.forward(p, x)
            found = layer.backward(tape, dy)
            assert same_bits(layer(p, x)[0].copy(), expected.copy()) and same_bits(y.copy(), expected.copy())
            assert same_bits(found.params.flat, right.params.flat) and same_bits(found.x.copy(), right.x.copy())
    net = nr.Network([layer, nr.Last(), nr.Dense(1)], channels=6, dtype="float64", seed=0)
    target, flat = random.standard_normal((3, 1)), net.params.flat.copy()
    for _ in range(3):
        flat -= 0.1 * net.loss_and_gradient(flat, x, target)[1]
    net.fit(x, target, optimizer=nr.SGD(0.1), epochs=3, batch_size=3, shuffle=False, progress=False)
    np.testing.assert_allclose(net.params.flat, flat, rtol=0, atol=1e-14)
    p.flat[-1] = np.nan
    with pytest.raises(nr.NonFiniteError):
        layer(p, x)


def test_what_others_do_not_have_is_said():
    for layer, channels in ((nr.GRUD(3), 6), (nr.LSTM(3, decay=True), 2)):
        net = nr.Network([layer, nr.Dense(1)], channels=channels, seed=0)
        name = type(layer).__name__
        with pytest.raises(nr.ConversionError, match=name):
            nr.interop.torch.state_dict(net)
        with pytest.raises(nr.ConversionError, match=name):
            nr.interop.keras.weights(nr.Network([layer], channels=channels, layout="ntc"))
