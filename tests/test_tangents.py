"""Forward derivatives: the transposes of backward, the slopes of forward, and the same bits however they are asked for."""

from dataclasses import dataclass, replace

import numba
import numpy as np
import pytest
from checks import as_tuple, like, only, runs_of, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import KINDS, OTHER_KINDS, arranged, as_tnc, cases, ragged_cases, random_case
from tangent_checks import TRANSPOSE_ERROR, check_transpose, directions, jvp, laid_out, stateless_error

import numbarnn as nr

el = nr.elementary
NORMALIZED = {
    "lstm-normalized": lambda hidden, **options: nr.LSTM(hidden, normalized=True, **options),
    "gru-normalized": lambda hidden, **options: nr.GRU(hidden, normalized=True, **options),
}
LIKE_OTHERS = {"rnn-identity", "rnn-sigmoid", "leaky-outside", "lstm-coupled"}  # each kind is one more kernel
CELLS = [kind for kind in [*KINDS, *OTHER_KINDS] if kind not in LIKE_OTHERS]
RANDOM = {"dropout": 0.2, "input_dropout": 0.2, "zoneout": 0.2, "noise": 0.1, "weight_drop": 0.2}
DALE = nr.Connectivity(mask=1 - np.eye(5), signs=[1, 1, -1, 1, -1])
REGULARIZED = [
    nr.GRU(5, layers=2, bidirectional=True, recurrent_dropout=0.3, **RANDOM),
    nr.GRU(5, "before", layers=2, connectivity=DALE, **RANDOM),
    nr.LSTM(5, layers=2, connectivity=DALE, recurrent_dropout=0.3, **RANDOM),
    nr.LeakyRNN(5, 0.4, "inside", recurrent_dropout=0.3, zoneout=0.2),
]
SMOOTH = [
    nr.RNN(4, layers=2, bidirectional=True, merge="product", residual=True),
    nr.GRU(4, "before", learned_state=True),
    nr.GRU(17, normalized=True, learned_state=True),
    nr.LSTM(4, peepholes=True, layers=2),
    nr.LSTM(5, projection=2),
    nr.LSTM(6, normalized=True, bidirectional=True),
    nr.GRU(5, connectivity=DALE),
]


@pytest.mark.parametrize("kind", CELLS)
def test_transposes_of_backward(kind):
    @settings(max_examples=10)
    @given(cases(kind), st.integers(1, 3))
    def check(case, count):
        check_transpose(case, count=count)

    check()


@pytest.mark.parametrize("kind", ["rnn-tanh", "gru-after", "gru-before", "lstm", "lstm-projected", "indrnn"])
@pytest.mark.parametrize("with_resets", [False, True])
def test_ragged_batches(kind, with_resets):
    @settings(max_examples=8)
    @given(ragged_cases(kind, dtype="float64", with_resets=with_resets), st.integers(1, 3))
    def check(case, count):
        check_transpose(replace(case, dcells=None), count=count)

    check()


@pytest.mark.parametrize("hidden", [1, 5, 17])
@pytest.mark.parametrize("kind", NORMALIZED)
def test_normalized_cells(kind, hidden):
    layer = NORMALIZED[kind](hidden, layers=2, bidirectional=True)
    for lengths in (None, np.array([4, 0, 2])):
        check_transpose(random_case(layer, 4, 3, 2, lengths=lengths, layout="ntc"), count=3)


@pytest.mark.parametrize("layer", REGULARIZED, ids=repr)
def test_masks_and_effective_weights(layer):
    case = random_case(layer, 4, 3, 2)
    check_transpose(replace(case, masks=layer.draw(4, 3, 2, seed=1, dtype="float64")))
    check_transpose(case)


@pytest.mark.parametrize("layer", SMOOTH, ids=repr)
def test_slopes_of_forward(layer):
    """Differences of fourth order, 3e-4 apart along ways of unit length: their error is 1e-14 times a fifth derivative."""
    case = random_case(layer, 5, 3, 2, with_state=not layer.learned_state)
    dp, dx, dstate = directions(case, 1)
    length = np.sqrt(sum((part**2).sum() for part in (dp, dx, *dstate)))
    dp, dx, dstate = dp / length, dx / length, tuple(part / length for part in dstate)
    _, _, tape = case.forward()
    dy, dfinal = jvp(case, tape, dp, dx, dstate if case.state is not None else None)

    def at(distance):
        p = nr.Parameters(case.parameters.flat + distance * dp[0], case.parameters.weights)
        state = case.state
        if state is not None:
            state = like(state, [s + distance * d[0] for s, d in zip(as_tuple(state), dstate, strict=True)])
        y, final = layer(p, case.x + distance * dx[0], state)
        return y, *as_tuple(final)

    near, far = (zip(at(k * 3e-4), at(-k * 3e-4), strict=True) for k in (1, 2))
    for found, (a, b), (c, d) in zip((dy, *dfinal), near, far, strict=True):
        slope = (8 * (a - b) - (c - d)) / 36e-4
        np.testing.assert_allclose(found[0], slope, rtol=0, atol=1e-8 * max(1, np.abs(slope).max()))


def test_a_cell_by_pytorch():
    torch = pytest.importorskip("torch")
    layer = nr.GRU(4)
    case = random_case(layer, 5, 3, 2)
    (dp,), (dx,), ((dstate,),) = directions(case, 1)
    names, moves = case.parameters.names, nr.Parameters(dp, case.parameters.weights)

    def run(x, h, *weights):
        w, r, b, d = weights
        outputs = []
        for x_t in x:
            a, s = (x_t @ w.T + b).chunk(3, -1), (h @ r.T + d).chunk(3, -1)
            reset, update = torch.sigmoid(a[0] + s[0]), torch.sigmoid(a[1] + s[1])
            h = (1 - update) * torch.tanh(a[2] + reset * s[2]) + update * h
            outputs.append(h)
        return torch.stack(outputs), h

    points = (case.x, case.state[0], *(case.parameters[name] for name in names))
    ways = (dx, dstate[0], *(moves[name] for name in names))
    _, (dy, dfinal) = torch.func.jvp(run, *(tuple(torch.tensor(a.copy()) for a in each) for each in (points, ways)))
    found, final = layer.jvp(case.forward()[2], moves, dx, dstate)
    np.testing.assert_allclose(found, dy.numpy(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(final[0], dfinal.numpy(), rtol=0, atol=1e-13)


@dataclass(frozen=True)
class GatedCell(nr.Cell):
    """``r = s(W_r x + R_r h)``, ``h' = tanh(W_n x + R_n (r h c)) + u c``, ``c' = c / 2 + r h``."""

    gates = ("r", "n")
    states = 2
    slots, saved = 2, 2
    input_slots = input_gates = (0, 1)
    recurrent_slots = recurrent_gates = (0,)
    gated_slots = gated_gates = (1,)
    unit_values = ("u",)

    def gate(self, pre, state, per_unit):
        r = el.sigmoid(pre[0])
        return (r, pre[1]), r * state[0] * state[1]

    def forward(self, pre, state, per_unit):
        n = el.tanh(pre[1])
        return (n + per_unit[0] * state[1], state[1] / 2 + pre[0] * state[0]), (pre[0], n)

    def adjoint(self, saved, state, new, dnew, per_unit):
        r, n = saved
        dh, dc = dnew
        dr = dc * state[0] * r * (1 - r)
        return (dr, dh * (1 - n * n), dh * state[1]), (dc * r, dc / 2 + dh * per_unit[0])

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        r, (h, c) = saved[0], state
        dr = dpre[0] + doperand * h * c * r * (1 - r)
        return (dr, dpre[1], dpre[2]), (dstate[0] + doperand * r * c, dstate[1] + doperand * r * h)


@dataclass(frozen=True, repr=False)
class GatedRNN(nr.Recurrent):
    """A layer of `GatedCell`, whose u are parameters."""

    hidden: int
    layers: int = 1
    bidirectional: bool = False
    cell = GatedCell()
    unit_parameter = "u"


def test_a_cell_of_ones_own():
    layer = GatedRNN(9, layers=2, bidirectional=True)
    random = np.random.default_rng(0)
    state = tuple(random.standard_normal((4, 3, 9)) for _ in range(2))
    case = replace(random_case(layer, 4, 3, 2, with_state=False), state=state, dstate=state[::-1])
    for lengths in (None, np.array([3, 0, 4])):
        check_transpose(replace(case, lengths=lengths), count=3)


def arrays(found):
    """All arrays of a result of `tangent_checks.jvp`."""
    dy, dfinal = found
    return (dy, *dfinal)


@pytest.fixture(params=["gru-before", "lstm", "lstm-projected", "rnn-relu", *NORMALIZED])
def case(request):
    """A bidirectional case of two layers, of different lengths."""
    layer = (KINDS | NORMALIZED)[request.param](9, layers=2, bidirectional=True)
    return random_case(layer, 6, 4, 2, seed=1, layout="ntc", strides="sliced", lengths=np.array([3, 6, 0, 5]))


def test_several_at_once_are_each_by_itself(case):
    whole, (dp, dx, dstate) = case.forward()[2], directions(case, 3)
    found = arrays(jvp(case, whole, dp, dx, dstate))
    for k in range(3):
        one = case.layer.jvp(whole, dp[k], laid_out(case, dx)[k], like(case.dstate, [part[k] for part in dstate]))
        assert same_bits((as_tnc(one[0], case.layout).copy(), *as_tuple(one[1])), tuple(a[k].copy() for a in found))


def test_threads_give_the_same_bits(case):
    tape, ways = case.forward()[2], directions(case, 3)
    one_row = replace(only(case, [1]), lengths=None)
    single, its = one_row.forward()[2], directions(one_row, 4)
    numba.set_num_threads(1)
    expected = arrays(jvp(case, tape, *ways)), arrays(jvp(one_row, single, *its))
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert same_bits(expected, (arrays(jvp(case, tape, *ways)), arrays(jvp(one_row, single, *its))))


def test_a_sequence_has_the_bits_it_has_alone(case):
    dp, dx, dstate = directions(case, 2)
    dy, dfinal = jvp(case, case.forward()[2], dp, dx, dstate)
    for n in range(4):
        ((_, end),) = runs_of(case, n)
        alone, state = only(case, [n]), tuple(part[:, :, [n]] for part in dstate)
        y, final = jvp(alone, alone.forward()[2], dp, dx[:, :, [n]], state)
        assert same_bits((y, *final), tuple(a[:, :, [n]].copy() for a in (dy, *dfinal)))
        assert not dy[:, end:, n].any()


def test_what_a_tape_keeps_makes_no_difference():
    for layer in (nr.LSTM(5, bidirectional=True), nr.GRU(5, "before", layers=2), nr.GRU(5, normalized=True)):
        for lengths in (None, np.array([1200, 700])):
            case = random_case(layer, 1200, 2, 2, lengths=lengths)
            ways = directions(case, 2)
            expected = arrays(jvp(case, case.forward()[2], *ways))
            for way in ({"tape": "states"}, {"checkpoints": 3}):
                assert same_bits(expected, arrays(jvp(case, case.forward(**way)[2], *ways)))


def test_the_parts_add_up(case):
    tape, (dp, dx, dstate) = case.forward()[2], directions(case, 2)
    whole = arrays(jvp(case, tape, dp, dx, dstate))
    parts = [(dp, None, None), (None, dx, None), (None, None, dstate)]
    for total, *each in zip(whole, *(arrays(jvp(case, tape, *part)) for part in parts), strict=True):
        np.testing.assert_allclose(sum(each), total, rtol=0, atol=1e-13 * np.abs(total).max())


def test_a_tape_is_read_and_not_the_parameters(case):
    _, _, tape = case.forward()
    ways = directions(case, 2)
    before = case.backward(tape).params.flat.copy()
    expected = arrays(jvp(case, tape, *ways))
    case.parameters.flat[...] = np.nan
    assert same_bits(expected, arrays(jvp(case, tape, *ways)))
    assert same_bits(before, case.backward(tape).params.flat)


def test_of_prepared_calls():
    layer = nr.GRU(4)
    case = random_case(layer, 3, 2, 2)
    ways = directions(case, 2)
    expected = arrays(jvp(case, case.forward()[2], *ways))
    for _ in range(5):
        assert same_bits(expected, arrays(jvp(case, case.forward()[2], *ways)))


def test_float32():
    case = random_case(nr.LSTM(9, layers=2), 6, 3, 2, dtype="float32")
    (dp, dx, dstate), wide = directions(case, 2), random_case(nr.LSTM(9, layers=2), 6, 3, 2)
    p = nr.Parameters(case.parameters.flat.astype("float64"), case.parameters.weights)
    wide = replace(wide, parameters=p, x=case.x.astype("float64"), state=tuple(s.astype("float64") for s in case.state))
    found = arrays(jvp(case, case.forward()[2], dp, dx, dstate))
    exact = jvp(
        wide, wide.forward()[2], *(a.astype("float64") for a in (dp, dx)), tuple(s.astype("float64") for s in dstate)
    )
    for a, b in zip(found, arrays(exact), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_no_steps_at_all():
    case = random_case(nr.GRU(4), 3, 2, 2, lengths=np.array([0, 0]))
    dy, (dfinal,) = jvp(case, case.forward()[2], *directions(case, 2))
    assert not dy.any() and same_bits(dfinal, directions(case, 2)[2][0])


def test_ragged_arrays():
    layer, random = nr.GRU(4), np.random.default_rng(0)
    p = layer.init(3, seed=0, dtype="float64")
    x, *dx = ([random.standard_normal((steps, 3)) for steps in (4, 0, 2)] for _ in range(3))
    y, _, tape = layer.forward(p, nr.Ragged.of(x))
    dy, dstate = layer.jvp(tape, dx=[nr.Ragged.of(each) for each in dx])
    assert isinstance(dy, tuple) and len(dy) == 2 and dstate.shape == (2, 1, 3, 4)
    for each, way in zip(dy, dx, strict=True):
        one, _ = layer.jvp(tape, dx=nr.Ragged.of(way))
        assert one == each
        alone, _ = layer.jvp(layer.forward(p, x[0][:, None])[2], dx=way[0][:, None])
        assert same_bits(each[0].copy(), alone[:, 0].copy())
    dense = nr.Dense(2, "tanh")
    q = dense.init(4, seed=0, dtype="float64")
    assert dense.jvp(dense.forward(q, y)[1], dx=dy)[1].offsets.tolist() == y.offsets.tolist()


IMAGES = np.random.default_rng(0).standard_normal((3, 2, 2 * 5 * 6))
STEPS = np.random.default_rng(1).standard_normal((5, 4, 6))
LAYERS = [
    *[(nr.Dense(7, name), STEPS, {}) for name in ("linear", "tanh", "gelu", "softplus", ("elu", 0.5))],
    (nr.Dense(70, "sigmoid"), np.random.default_rng(1).standard_normal((130, 1, 6)), {}),
    (nr.Dense(3), STEPS[0], {}),
    *[(nr.Activation(name), STEPS, {}) for name in ("sigmoid", "silu", "hard_sigmoid")],
    *[(nr.Last(directions=2, merge=merge), STEPS, {}) for merge in ("concat", "sum", "average", "product")],
    *[(layer, STEPS, {}) for layer in (nr.Last(), nr.LastStep(), nr.Pool("mean"), nr.Pool("max"), nr.Flatten())],
    (nr.Dropout(0.4), STEPS, {"seed": 3}),
    (nr.Dropout(0.4), STEPS, {}),
    (nr.Embedding(9, 3), np.random.default_rng(2).integers(0, 9, (5, 4)), {}),
    (nr.Conv2d(3, (2, 3), stride=2, padding=1, shape=(2, 5, 6)), IMAGES, {}),
    (nr.AvgPool2d(3, stride=2, padding=1, shape=(2, 5, 6)), IMAGES, {}),
    (nr.MaxPool2d(3, stride=2, padding=1, shape=(2, 5, 6)), IMAGES, {}),
    (nr.MaxPool2d(2, shape=(2, 5, 6)), IMAGES, {}),
]


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
@pytest.mark.parametrize("layer, x, options", LAYERS, ids=[repr(layer) for layer, _, _ in LAYERS])
def test_layers_without_a_state(layer, x, options, layout):
    channels = 1 if layer.takes_indices else x.shape[-1]
    p = layer.init(channels, seed=0, dtype="float64", scheme="pytorch")
    for lengths in (None, np.array([5, 0, 2, 4])) if x is STEPS else (None,):
        given = {**options, "lengths": lengths, "layout": layout}
        turned = layout == "ntc" and (x.ndim == 3 or layer.takes_indices)
        there = x.swapaxes(0, 1) if turned else x
        assert stateless_error(layer, p, there, **given) <= TRANSPOSE_ERROR


def test_greatest_of_equal_numbers():
    """Of equal numbers, the tangent takes the one to which the adjoint goes."""
    random = np.random.default_rng(0)
    for layer in (nr.MaxPool2d(2, shape=(1, 4, 4)), nr.MaxPool2d(3, stride=1, padding=1, shape=(1, 4, 4)), nr.Pool("max")):
        x = random.integers(0, 3, (3, 2, 16)).astype("float64")
        assert stateless_error(layer, layer.init(16, dtype="float64"), x) <= TRANSPOSE_ERROR


def test_nothing_is_shared_with_what_is_given():
    x = np.ones((3, 2, 4))
    for layer in (nr.Flatten(), nr.LastStep(), nr.Dropout(0.5)):
        dx = np.ones_like(x)
        assert not np.shares_memory(layer.jvp(layer.forward(layer.init(4, dtype="float64"), x)[1], dx=dx), dx)


GRU, LSTM, EMBEDDING = nr.GRU(3), nr.LSTM(3), nr.Embedding(5, 2)
X = np.ones((4, 2, 2))


def wrong(layer=GRU, **given):
    """A call with one bad argument."""
    p = layer.init(2, dtype="float64")
    return layer.jvp(layer.forward(p, X)[2], **given)


@pytest.mark.parametrize(
    "call, error, parts",
    [
        (lambda: wrong(), ValueError, ["dp", "dx", "dstate", "None"]),
        (lambda: GRU.jvp(None, dx=X), TypeError, ["tape", "GRU", "None"]),
        (lambda: wrong(dx=X[:3]), ValueError, ["dx", "4", "3"]),
        (lambda: wrong(dx=X.astype("float32")), nr.DTypeError, ["dx", "float64", "float32"]),
        (lambda: wrong(dx=[1.0]), TypeError, ["dx", "list"]),
        (lambda: wrong(dx=np.ones((0, 4, 2, 2))), nr.ShapeError, ["dx", "none"]),
        (lambda: wrong(dp=np.ones(7)), nr.ShapeError, ["dp", "(63,)", "(K, 63)", "(7,)"]),
        (lambda: wrong(dp=np.ones((2, 1, 63))), nr.ShapeError, ["dp", "(2, 1, 63)"]),
        (lambda: wrong(dp=np.ones((0, 63))), nr.ShapeError, ["dp", "none"]),
        (lambda: wrong(dp=np.ones(63, "float32")), nr.DTypeError, ["dp", "float64", "float32"]),
        (lambda: wrong(dp=nr.LSTM(3).init(2, dtype="float64")), nr.ShapeError, ["dp", "GRU"]),
        (lambda: wrong(dp=1.0), TypeError, ["dp", "float"]),
        (lambda: wrong(dp=np.ones((2, 63)), dx=X), nr.ShapeError, ["dx", "2 tangents", "dp", "one"]),
        (lambda: wrong(dp=np.ones((2, 63)), dx=np.stack([X] * 3)), nr.ShapeError, ["dx", "2 tangents", "3 tangents"]),
        (lambda: wrong(dstate=np.ones((1, 3, 3))), nr.ShapeError, ["dstate", "(1, 2, 3)", "(1, 3, 3)"]),
        (lambda: wrong(LSTM, dstate=np.ones((1, 2, 3))), TypeError, ["dstate", "(h, c)", "ndarray"]),
        (
            lambda: wrong(LSTM, dstate=(np.ones((2, 1, 2, 3)), np.ones((3, 1, 2, 3)))),
            nr.ShapeError,
            ["dstate", "h", "c", "2", "3"],
        ),
        (
            lambda: EMBEDDING.jvp(EMBEDDING.forward(EMBEDDING.init(), np.ones((2, 2), int))[1], dx=X),
            ValueError,
            ["dx", "None", "index", "ndarray"],
        ),
    ],
)
def test_bad_arguments(call, error, parts):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value).startswith(parts[0]) and all(part in str(raised.value) for part in parts)


def test_compiled_when_it_is_asked_for():
    from numbarnn.cpu.tangents import tangent_task

    layer = nr.RNN(3, ("scaled_tanh", 1.25, 0.75))
    p, x = layer.init(2), np.ones((4, 2, 2), np.float32)
    _, _, tape = layer.forward(p, x)
    layer.backward(tape, np.ones((4, 2, 3), np.float32))
    assert not tangent_task.is_there(layer.cell, np.dtype("float32"))
    layer.jvp(tape, dx=x)
    assert tangent_task.is_there(layer.cell, np.dtype("float32"))


def test_layouts_of_one_sequence():
    layer = nr.GRU(3)
    p, x = layer.init(2, dtype="float64", seed=0), np.random.default_rng(0).standard_normal((5, 2))
    _, _, tape = layer.forward(p, x)
    dy, state = layer.jvp(tape, dx=np.stack([x, 2 * x]))
    assert dy.shape == (2, 5, 3) and state.shape == (2, 1, 1, 3)
    assert same_bits(layer.jvp(tape, dx=x)[0], dy[0].copy())
    turned = arranged(x[:, None], "ctn")
    again, _ = layer.jvp(layer.forward(p, turned, layout="ctn")[2], dx=turned)
    assert same_bits(as_tnc(again, "ctn")[:, 0].copy(), dy[0].copy())


def network(last):
    """A network of stacked kinds of layers, and of its states."""
    layers = [nr.GRU(3, bidirectional=True, merge="sum"), nr.Dropout(0.3), nr.LSTM(2), *([nr.Last()] if last else [])]
    return nr.Network([*layers, nr.Dense(2, "tanh")], 2, "float64", seed=1)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("options", [{}, {"lengths": np.array([5, 0, 3]), "seed": 4}], ids=["plain", "lengths"])
def test_networks(options, last):
    net, random = network(last), np.random.default_rng(0)
    x, shapes = random.standard_normal((5, 3, 2)), ((2, 3, 3), (1, 3, 2), (1, 3, 2))

    def states(*lead):
        h, *pair = (random.standard_normal((*lead, *shape)) for shape in shapes)
        return h, tuple(pair)

    y, _, tape = net.forward(x, states(), **options)
    dp, dx, dstate = random.standard_normal((2, len(net.params.flat))), random.standard_normal((2, *x.shape)), states(2)
    dy, dfinal = net.jvp(tape, dp, dx, dstate)
    u, ends = random.standard_normal(y.shape), states()
    found = net.backward(tape, u, ends)
    flat = lambda state: (state[0], *state[1])  # noqa: E731
    for k in range(2):
        terms = [u * dy[k], *(a * b[k] for a, b in zip(flat(ends), flat(dfinal), strict=True))]
        terms += [-found.params.flat * dp[k], -found.x * dx[k]]
        terms += [-a * b[k] for a, b in zip(flat(found.state), flat(dstate), strict=True)]
        assert abs(sum(t.sum() for t in terms)) <= TRANSPOSE_ERROR * sum(np.abs(t).sum() for t in terms)
        one, final = net.jvp(tape, dp[k], dx[k], (dstate[0][k], tuple(part[k] for part in dstate[1])))
        assert same_bits(one.copy(), dy[k].copy())
        assert same_bits(tuple(a.copy() for a in flat(final)), tuple(a[k].copy() for a in flat(dfinal)))
    alone, _ = net.jvp(tape, dstate=(dstate[0], None))
    rest, _ = net.jvp(tape, dstate=(None, dstate[1]))
    both, _ = net.jvp(tape, dstate=dstate)
    np.testing.assert_allclose(alone + rest, both, rtol=0, atol=1e-13)


def test_networks_of_other_inputs():
    random = np.random.default_rng(0)
    net = nr.Network([nr.Embedding(7, 2), nr.GRU(3), nr.Last(), nr.Dense(1)], dtype="float64", seed=0)
    indices, dp = random.integers(0, 7, (4, 3)), random.standard_normal(len(net.params.flat))
    y, _, tape = net.forward(indices)
    dy, _ = net.jvp(tape, dp)
    np.testing.assert_allclose(dy.sum(), net.backward(tape, np.ones_like(y)).params.flat @ dp, rtol=1e-12)
    with pytest.raises(ValueError, match="dx: expected None"):
        net.jvp(tape, dx=indices)
    plain = nr.Network([nr.GRU(3), nr.Dense(2)], 2, "float64", seed=0)
    x = nr.Ragged(random.standard_normal((6, 2)), [0, 4, 4, 6])
    y, _, tape = plain.forward(x)
    dy, (dstate,) = plain.jvp(tape, dx=[x, 2 * x])
    assert isinstance(dy, tuple) and dy[0].offsets.tolist() == y.offsets.tolist() and dstate.shape == (2, 1, 3, 3)
    images = nr.Network([nr.Conv2d(2, 2), nr.MaxPool2d(2), nr.Flatten(), nr.Dense(1)], (1, 5, 5), "float64", seed=0)
    pixels = random.standard_normal((3, 25))
    y, _, tape = images.forward(pixels)
    g = images.backward(tape, np.ones_like(y))
    np.testing.assert_allclose(images.jvp(tape, dx=pixels)[0].sum(), (g.x * pixels).sum(), rtol=1e-12)


@pytest.mark.parametrize(
    "given, error, parts",
    [
        ({}, ValueError, ["dp", "dx", "dstate"]),
        ({"dp": np.ones(3)}, nr.ShapeError, ["dp", "(3,)"]),
        ({"dstate": np.ones((1, 3, 3))}, TypeError, ["dstate", "a tuple of 2"]),
        ({"dstate": (np.ones((2, 3, 4)), None)}, nr.ShapeError, ["dstate[0]", "(2, 3, 3)", "(2, 3, 4)"]),
        (
            {"dx": np.ones((2, 5, 3, 2)), "dstate": (np.ones((2, 3, 3)), None)},
            nr.ShapeError,
            ["dstate[0]", "2 tangents", "dx"],
        ),
    ],
)
def test_bad_arguments_of_networks(given, error, parts):
    net = network(last=True)
    tape = net.forward(np.ones((5, 3, 2)))[2]
    with pytest.raises(error) as raised:
        net.jvp(tape, **given)
    assert all(part in str(raised.value) for part in parts)
    with pytest.raises(TypeError, match="tape: expected one that forward of this network returned"):
        network(last=True).jvp(tape, dx=np.ones((5, 3, 2)))
