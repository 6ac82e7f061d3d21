"""Layers that normalize: against NumPy, finite differences and PyTorch's autograd, and what must not change a bit."""

from dataclasses import replace

import checks
import numba
import numpy as np
import oracles
import pytest
from checks import ROUTES, as_tuple, check_gradients, check_results, routed, same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import LAYOUTS, STRIDES, random_case
from test_forward import TOLERANCE, check_forward
from test_invariants import only, per_sequence, results
from test_tape import WAYS
from test_tape import results as results_of_tape

import numbarnn as nr
from numbarnn.cells import NormalizedLSTMCell
from numbarnn.cpu import sizes

LAYERS = {"lstm": nr.LSTM, "gru": nr.GRU}
HIDDEN = (1, 3, 5, 17, 33)
kinds = pytest.mark.parametrize("kind", LAYERS)


def case_of(kind, hidden, steps=4, batch=3, channels=4, seed=0, layers=1, bidirectional=False, options=None, **fields):
    """A `random_case` whose gains and biases are numbers between 1 / 2 and 3 / 2, of either sign."""
    layer = LAYERS[kind](hidden, normalized=True, layers=layers, bidirectional=bidirectional, **(options or {}))
    case = random_case(layer, steps, batch, channels, seed=seed, **fields)
    random = np.random.default_rng(seed)
    for _, view in case.parameters.items():
        if view.ndim == 1:
            view[...] = random.uniform(0.5, 1.5, view.shape) * random.choice((-1, 1), view.shape)
    return case


@st.composite
def cases(draw, dtype="float64", kind=None):
    """A case of any size, depth, direction, layout and strides."""
    return case_of(
        kind or draw(st.sampled_from(tuple(LAYERS))),
        draw(st.sampled_from(HIDDEN)),
        *(draw(st.integers(1, most)) for most in (6, 5, 5)),
        seed=draw(st.integers(0, 2**16)),
        layers=draw(st.integers(1, 3)),
        bidirectional=draw(st.booleans()),
        with_state=draw(st.booleans()),
        dtype=dtype,
        layout=draw(st.sampled_from(LAYOUTS)),
        strides=draw(st.sampled_from(tuple(STRIDES))),
    )


@pytest.fixture(autouse=True)
def step(monkeypatch):
    """A shorter step of the finite differences: slopes change faster where a variance is small."""
    monkeypatch.setattr(checks, "STEP", 1e-4)


def least_variance(case):
    """The smallest variance of more than one number: around zero slopes change too fast for finite differences."""
    found, normalized = [np.inf], oracles.normalized

    def recorded(a, gain, bias):
        found.append(a.var(axis=1).min() if a.shape[1] > 1 else np.inf)
        return normalized(a, gain, bias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracles, "normalized", recorded)
        oracles.run(case.layer, case.parameters, case.x, case.state)
    return min(found)


def test_parameters():
    p = nr.LSTM(5, normalized=True, bidirectional=True).init(3)
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "gain_ih", "gain_hh", "gain_c", "bias_c"]
    assert p.names == tuple(f"{name}_{end}" for end in ("l0", "l0_reverse") for name in names)
    assert p["gain_hh_l0"].shape == (20,) and p["gain_c_l0_reverse"].shape == (5,)
    for scheme in (None, "pytorch"):
        p = nr.GRU(5, normalized=True, layers=2).init(3, **({"scheme": scheme} if scheme else {}))
        assert p["gain_ih_l1"].shape == (15,) and "gain_c_l0" not in p.names
        assert (p["gain_ih_l1"] == 1).all() and (p["gain_hh_l0"] == 1).all()
    p = nr.LSTM(4, normalized=True).init(3)
    assert (p["gain_c_l0"] == 1).all() and not p["bias_c_l0"].any() and (p["bias_ih_l0"][4:8] == 1).all()


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match="reset: expected 'after' together with normalized"):
        nr.GRU(4, reset="before", normalized=True)
    for name in ("peepholes", "coupled"):
        with pytest.raises(ValueError, match=f"{name}: expected none together with normalized"):
            nr.LSTM(4, normalized=True, **{name: True})
    for layer in LAYERS.values():
        with pytest.raises(TypeError, match="normalized: expected True or False, got 1"):
            layer(4, normalized=1)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_forward(dtype):
    @given(cases(dtype))
    def check(case):
        check_forward(case, 20 * TOLERANCE[dtype])

    check()


@kinds
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden", [*HIDDEN, 100])
def test_forward_of_every_size(kind, hidden, dtype):
    for steps, batch, channels in ((1, 1, 1), (3, 2, 40), (2, 131, 3), (300, 3, 2)):
        check_forward(case_of(kind, hidden, steps, batch, channels, dtype=dtype), 100 * TOLERANCE[dtype])


@kinds
@pytest.mark.parametrize("shift", [1.0, 1e3])
def test_padding_and_a_large_mean_do_not_enter_the_statistics(kind, shift):
    case = case_of(kind, 5, steps=1)
    case.parameters["weight_ih_l0"][...] += shift  # W x has a mean that large, the deviations are as before
    y, *_ = case.forward()
    expected, _ = oracles.run(case.layer, case.parameters, case.x, case.state)
    assert np.abs(y - expected).max() <= 1e-13 * max(1, shift)


@kinds
def test_sums_without_variance_have_the_value_of_the_bias(kind):
    case = case_of(kind, 5, x=np.zeros((4, 3, 4)), with_state=False)
    check_forward(case, 1e-13)
    gradients = case.backward(case.forward()[2])
    assert all(np.isfinite(a).all() for a in (gradients.params.flat, gradients.x))


@pytest.mark.parametrize("route", ROUTES)
@kinds
def test_backward_is_the_derivative(kind, route):
    if route == "final c" and kind == "gru":
        return

    @given(cases(kind=kind))
    def check(case):
        if least_variance(case) > 1e-3:
            check_gradients(routed(case, route), directions=1)

    check()


@kinds
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_every_depth_and_direction(kind, layers, bidirectional):
    for hidden in HIDDEN:
        check_gradients(case_of(kind, hidden, layers=layers, bidirectional=bidirectional), directions=3)


@kinds
def test_many_chunks_of_steps_and_tasks(kind):
    assert check_gradients(case_of(kind, 3, 40, 70, 2, bidirectional=True), directions=1) == 3


@kinds
def test_options_that_all_layers_have(kind):
    options = {"merge": "average", "residual": True, "learned_state": True, "clip": 3.0, "activation": "softsign"}
    case = case_of(kind, 5, layers=2, bidirectional=True, options=options, with_state=False)
    case = replace(case, dy=case.dy[..., :5].copy())
    _, _, tape = case.forward()
    gradient, random = case.backward(tape).params.flat, np.random.default_rng(0)
    for _ in range(3):
        direction = random.choice((-1.0, 1.0), gradient.shape) / np.sqrt(gradient.size)
        losses = [checks.loss(checks.moved(case, "parameters", direction, k * 1e-4), None)[0] for k in (-2, -1, 1, 2)]
        difference = (8 * (losses[2] - losses[1]) - (losses[3] - losses[0])) / 12e-4
        assert abs(difference - gradient @ direction) < 1e-6 * np.linalg.norm(gradient)


@pytest.mark.parametrize("bidirectional", [False, True])
@kinds
def test_lengths_and_resets(kind, bidirectional):
    case = case_of(kind, 5, 6, 4, 3, layers=2, bidirectional=bidirectional)
    lengths, reset = np.array([6, 0, 3, 5]), np.random.default_rng(1).random((6, 4)) < 0.3
    x = np.where((np.arange(6)[:, None] < lengths)[..., None], case.x, np.nan)
    for options in ({"lengths": lengths}, {"reset": reset}, {"lengths": lengths, "reset": reset}):
        given_x = x if "lengths" in options else case.x
        y, state, tape = case.layer.forward(case.parameters, given_x, case.state, **options)
        expected, reached = oracles.run(case.layer, case.parameters, given_x, case.state, **options)
        for a, b in zip((y, *as_tuple(state)), (expected, *as_tuple(reached)), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
        found = case.layer.backward(tape, case.dy, case.dstate)
        if "reset" in options:
            continue
        total = np.zeros_like(found.params.flat)
        for n, length in enumerate(lengths):
            single = only(case, [n])
            single = replace(single, x=single.x[:length], dy=single.dy[:length])
            if length:
                y_n, _, tape_n = single.forward()
                alone = single.backward(tape_n)
                total += alone.params.flat
                assert same_bits(y[:length, [n]].copy(), y_n.copy())
                assert same_bits(found.x[:length, [n]].copy(), alone.x.copy())
                assert same_bits(
                    tuple(s[:, [n]].copy() for s in as_tuple(found.state)), tuple(s.copy() for s in as_tuple(alone.state))
                )
            assert not found.x[length:, n].any()
        np.testing.assert_allclose(found.params.flat, total, rtol=0, atol=1e-12 * np.abs(total).max())


def test_resets_have_the_gradient_of_separate_sequences():
    case = case_of("lstm", 5, 6, 1, 3)
    reset = np.zeros((6, 1), bool)
    reset[4] = True
    _, _, tape = case.layer.forward(case.parameters, case.x, case.state, reset=reset)
    found = case.layer.backward(tape, case.dy)
    total, parts = 0, []
    for a, b in ((0, 4), (4, 6)):
        _, _, tape = case.layer.forward(case.parameters, case.x[a:b], case.state)
        alone = case.layer.backward(tape, case.dy[a:b])
        total = total + alone.params.flat
        parts.append(alone.x)
    assert same_bits(found.x.copy(), np.concatenate(parts))
    np.testing.assert_allclose(found.params.flat, total, rtol=0, atol=1e-12 * np.abs(total).max())


def test_a_ragged_batch_is_its_sequences():
    layer = nr.GRU(5, normalized=True, bidirectional=True)
    p, random = layer.init(3, dtype="float64"), np.random.default_rng(0)
    parts = [random.standard_normal((steps, 3)) for steps in (4, 1, 6)]
    y, _ = layer(p, nr.Ragged.of(parts))
    for found, part in zip(y, parts, strict=True):
        assert same_bits(np.array(found), layer(p, part, layout="tc")[0].copy())


def test_gradient_of_the_cells_of_every_step():
    case = case_of("lstm", 5)
    p, x, dcells = case.parameters, case.x, np.random.default_rng(1).standard_normal((4, 3, 5))
    y, _, tape, cells = case.layer.forward(p, x, case.state, cells=True)
    np.testing.assert_allclose(cells, oracles.run(case.layer, p, x, case.state, cells=True)[2], rtol=0, atol=1e-13)
    found = case.layer.backward(tape, case.dy, dcells=dcells)

    def loss(distance, direction):
        moved = p.copy()
        moved.flat[...] += distance * direction
        y, _, cells = case.layer(moved, x, case.state, cells=True)
        return (y * case.dy).sum() + (cells * dcells).sum()

    direction = np.random.default_rng(2).standard_normal(len(p))
    direction /= np.linalg.norm(direction)
    losses = [loss(k * 1e-4, direction) for k in (-2, -1, 1, 2)]
    difference = (8 * (losses[2] - losses[1]) - (losses[3] - losses[0])) / 12e-4
    assert abs(difference - found.params.flat @ direction) < 1e-8 * np.linalg.norm(found.params.flat)


def test_layouts_and_strides_agree():
    @given(cases())
    def check(case):
        assert same_bits(results(case), results(case.plain()))

    check()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden", [1, 5, 33, 300])
@kinds
def test_thread_counts_agree(kind, hidden, dtype):
    for steps, batch in ((1, 1), (3, 7), (2, 131)):
        case = case_of(kind, hidden, steps, batch, 3, dtype=dtype, bidirectional=hidden < 100)
        found = []
        for threads in (1, 2, 3):
            numba.set_num_threads(threads)
            found.append(results(case))
        assert same_bits(found[0], found[1]) and same_bits(found[0], found[2])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden", [1, 5, 33])
@kinds
def test_any_batch_composition(kind, hidden, dtype):
    case = case_of(kind, hidden, 4, 131, 3, dtype=dtype, layers=2, bidirectional=True)
    together = per_sequence(case)
    for samples in ([0], [130], [64, 63, 65], list(range(99))):
        some = per_sequence(only(case, samples))
        assert same_bits(tuple(a[:, samples].copy() for a in together), tuple(a.copy() for a in some))


@pytest.mark.parametrize("dtype", TOLERANCE)
@kinds
def test_a_long_sequence_in_parts_and_step_by_step(kind, dtype):
    case = case_of(kind, 17, 130, 3, 2, dtype=dtype, layers=2)
    y, state = case.layer(case.parameters, case.x, case.state)
    for cut in (1, 33, 129):
        first, carried = case.layer(case.parameters, case.x[:cut], case.state)
        second, last = case.layer(case.parameters, case.x[cut:], carried)
        assert same_bits(np.concatenate([first, second]), y.copy())
        assert same_bits(last, state)
    for threads in (1, 2):
        numba.set_num_threads(threads)
        stream = case.layer.stream(case.parameters, 3, case.state)
        assert same_bits(np.array([stream.step(x) for x in case.x]), y.copy())
        assert same_bits(as_tuple(stream.state), as_tuple(state))


@pytest.mark.parametrize("dtype", TOLERANCE)
@kinds
def test_a_tape_that_keeps_less_gives_the_same_bits(kind, dtype, monkeypatch, fresh_plans):
    monkeypatch.setattr(sizes, "BACKWARD_ROWS", 6)  # many segments in short sequences

    @given(WAYS, st.integers(1, 30), st.integers(1, 4), st.integers(1, 20), st.integers(1, 2), st.booleans())
    def check(way, steps, batch, hidden, layers, bidirectional):
        case = case_of(kind, hidden, steps, batch, 3, dtype=dtype, layers=layers, bidirectional=bidirectional)
        assert same_bits(results_of_tape(case, **way), results_of_tape(case))

    check()


def test_gradients_add_up():
    case = case_of("lstm", 5, layers=2, bidirectional=True)
    _, _, tape = case.forward()
    expected, into = case.backward(tape).params.flat, case.parameters.copy()
    assert same_bits(case.backward(tape).params.flat, expected)
    case.backward(tape, into=into, accumulate=True)
    np.testing.assert_allclose(into.flat, case.parameters.flat + expected, rtol=0, atol=1e-14 * np.abs(expected).max())


def test_the_equations_run_on_numbers():
    cell = NormalizedLSTMCell()
    (o, c), saved = cell.forward((0.1, -0.2, 0.3, 0.4), (0.5, -0.6), ())
    step = 1e-6
    for index in range(4):
        moved = [[0.1, -0.2, 0.3, 0.4] for _ in range(2)]
        moved[0][index] -= step
        moved[1][index] += step
        (_, low), _ = cell.forward(tuple(moved[0]), (0.5, -0.6), ())
        (_, high), _ = cell.forward(tuple(moved[1]), (0.5, -0.6), ())
        dpre, _ = cell.adjoint(saved, (0.5, -0.6), (o, c), (0.0, 1.0), ())
        assert abs((high - low) / (2 * step) - dpre[index]) < 1e-9
    scale = cell.inverse_deviation(0.25, 1.0)
    assert abs(scale - 1 / np.sqrt(0.25 + 1e-5)) < 1e-15


LARGE = {"float32": (1e10, 1e18, 1e20, 1e30, 1e36), "float64": (1e100, 1e160, 1e290)}


@pytest.mark.parametrize("dtype", LARGE)
@pytest.mark.parametrize("kind", [nr.GRU, nr.LSTM])
def test_numbers_whose_squares_overflow(kind, dtype):
    """Normalized is what is large, to the bit: inputs times a power of two have the outputs that they had."""
    layer, random = kind(7, normalized=True, bidirectional=True), np.random.default_rng(0)
    p = layer.init(3, seed=0, dtype=dtype)
    x = random.standard_normal((4, 5, 3)).astype(dtype)
    x[:, 3:] *= x.dtype.type(2**20)  # beyond that the small number that is added to a variance plays no part
    reference = x.copy()
    reference[:, 3:] *= x.dtype.type(2**20)
    expected, _, tape = layer.forward(p, reference)
    derivative = layer.backward(tape, np.ones_like(expected))
    for size in LARGE[dtype]:
        large, factor = x.copy(), x.dtype.type(2.0 ** int(np.log2(size)))
        large[:, 3:] *= factor / x.dtype.type(2**20)
        y, _, tape = layer.forward(p, large)
        np.testing.assert_allclose(y, expected, rtol=0, atol=4 * np.finfo(dtype).eps)
        assert y[:, :3].tobytes() == expected[:, :3].tobytes()  # a row's neighbours are as they were
        found = layer.backward(tape, np.ones_like(y))
        np.testing.assert_allclose(found.params["bias_ih_l0"], derivative.params["bias_ih_l0"], rtol=1e-4)
        scaled = found.x[:, 3:] * (factor / x.dtype.type(2**40))
        np.testing.assert_allclose(scaled, derivative.x[:, 3:], rtol=1e-3, atol=1e-4 * np.abs(derivative.x[:, 3:]).max())


def test_training_in_a_network():
    x, y = nr.windows(np.sin(np.arange(80, dtype=np.float32) / 3), 24)
    layers = [nr.GRU(6, normalized=True), nr.LSTM(4, normalized=True), nr.Last(), nr.Dense(1)]
    net = nr.Network(layers, 1, seed=0)
    before = net.loss(x, y)
    net.fit(x, y, epochs=10, batch_size=20, progress=False)
    assert net.loss(x, y) < 0.8 * before


# The same equations in PyTorch, whose automatic differentiation knows nothing of these adjoints.


def torch_results(case):
    """`checks.named_results` of a case by automatic differentiation."""
    import torch
    from torch.nn.functional import layer_norm

    p = {name: torch.tensor(np.array(value)).requires_grad_() for name, value in case.parameters.items()}
    x = torch.tensor(case.x).requires_grad_()
    state = tuple(torch.tensor(s).requires_grad_() for s in as_tuple(case.state))
    lstm = len(state) == 2

    def norm(a, gain, bias):
        return layer_norm(a, a.shape[-1:], gain, bias, 1e-5)

    def part(name, end):
        return p[f"{name}_{end}"]

    def step(end, x, h, c=None):
        wx, rh = x @ part("weight_ih", end).T, h @ part("weight_hh", end).T
        size = h.shape[1]
        gains, biases = ([part(f"{name}_{side}", end) for side in ("ih", "hh")] for name in ("gain", "bias"))
        if lstm:
            i, f, g, o = (norm(wx, gains[0], biases[0]) + norm(rh, gains[1], biases[1])).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            return o.sigmoid() * norm(c, part("gain_c", end), part("bias_c", end)).tanh(), c
        (wrz, wn), (rrz, rn) = (
            [norm(a, b, d) for a, b, d in zip(*(v.split([2 * size, size], -1) for v in (sums, gain, bias)))]
            for sums, gain, bias in zip((wx, rh), gains, biases)
        )
        r, z = (wrz + rrz).sigmoid().chunk(2, 1)
        return ((1 - z) * (wn + r * rn).tanh() + z * h,)

    y, final, index = x, [], 0
    for layer in range(case.layer.layers):
        halves = []
        for end in case.layer.suffixes(layer):
            now, outputs = tuple(s[index] for s in state), {}
            for t in reversed(range(len(x))) if end.endswith("reverse") else range(len(x)):
                now = step(end, y[t], *now)
                outputs[t] = now[0]
            halves.append(torch.stack([outputs[t] for t in range(len(x))]))
            final.append(now)
            index += 1
        y = torch.cat(halves, -1)
    final = tuple(torch.stack(parts) for parts in zip(*final))
    pairs = [(y, case.dy), *zip(final, as_tuple(case.dstate))]
    sum((value * torch.tensor(d)).sum() for value, d in pairs).backward()
    found = {"y": y, "dx": x.grad}
    for letter, value, start in zip("hc", final, state, strict=False):
        found |= {letter: value, f"d{letter}": start.grad}
    found |= {f"d_{name}": value.grad for name, value in p.items()}
    return {name: value.detach().numpy() for name, value in found.items()}


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-4)])
@pytest.mark.parametrize(
    "hidden, layers, bidirectional, shape",
    [(1, 1, False, (2, 1, 1)), (7, 2, True, (5, 3, 4)), (33, 1, True, (6, 2, 5)), (100, 1, False, (20, 33, 10))],
)
@kinds
def test_values_and_gradients_are_pytorchs(kind, hidden, layers, bidirectional, shape, dtype, tolerance):
    pytest.importorskip("torch")
    case = case_of(kind, hidden, *shape, layers=layers, bidirectional=bidirectional, dtype=dtype)
    check_results(case, torch_results(case), tolerance)


@pytest.mark.parametrize("kind, states, values, deviations", [("lstm", 2, 4 + 9, 3), ("gru", 1, 4 + 6, 4)])
def test_bytes_of_a_tape(kind, states, values, deviations):
    layer = LAYERS[kind](64, normalized=True)
    p, x = layer.init(8), np.zeros((4096, 2, 8), np.float32)
    expected = 4 * 2 * (64 * (4098 * states + 4096 * values) + 4096 * deviations)
    assert 0 <= layer.forward(p, x)[2].nbytes - expected <= 4 * (8 + 64 + 64) * 10 * 64
    assert layer.forward(p, x, tape="states")[2].nbytes < expected / 3
