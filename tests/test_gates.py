"""The activations of gates: with them, each cell's last equations give the states of the layer."""

from dataclasses import dataclass

import numpy as np
import pytest

import numbarnn as nr

T, N, C, H = 5, 4, 3, 4
LENGTHS = np.array([5, 0, 3, 1])
LAYERS = {
    "gru": nr.GRU(H, layers=2, bidirectional=True),
    "gru-before": nr.GRU(H, reset="before", activation="softsign", bidirectional=True, layers=2, residual=True),
    "gru-normalized": nr.GRU(H, normalized=True, layers=2, bidirectional=True),
    "gru-connectivity": nr.GRU(H, zoneout=0.0, connectivity=nr.Connectivity(mask=np.tri(H))),
    "lstm": nr.LSTM(H, layers=2, bidirectional=True, learned_state=True, clip=0.3),
    "lstm-peepholes": nr.LSTM(H, peepholes=True, bidirectional=True),
    "lstm-coupled": nr.LSTM(H, coupled=True, peepholes=True, bidirectional=True),
    "lstm-normalized": nr.LSTM(H, normalized=True, bidirectional=True),
    "lstm-projected": nr.LSTM(H, projection=2, bidirectional=True),
    "mgu": nr.MGU(H, layers=2, bidirectional=True),
}


def parameters(layer):
    return layer.init(C, seed=0, dtype="float64", scheme="pytorch")


def case(layer, with_state=True):
    random = np.random.default_rng(1)
    x = random.standard_normal((T, N, C))
    shapes = [(layer.layers * layer.directions, N, width) for width in layer.state_widths]
    state = tuple(random.standard_normal(shape) for shape in shapes)
    return x, (state if len(state) == 2 else state[0]) if with_state else None


def shifted(states, initial, d, lengths):
    """The state before each step."""
    result = np.zeros_like(states)
    for n, length in enumerate(lengths):
        steps = np.arange(length)[:: -1 if d else 1]
        for at, t in enumerate(steps):
            result[t, n] = initial[n] if at == 0 else states[steps[at - 1], n]
    return result


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_the_states_follow_from_the_gates(name, with_state, with_lengths):
    layer = LAYERS[name]
    p, (x, state) = parameters(layer), case(layer, with_state)
    lengths = LENGTHS if with_lengths else np.full(N, T)
    x[np.arange(T)[:, None] >= lengths] = np.nan
    gates = layer.gates(p, x, state, lengths=lengths)
    lstm = isinstance(layer, nr.LSTM)
    y, _, *cells = layer(p, x, state, lengths=lengths, cells=lstm)
    if layer.residual:
        below = nr.GRU(H, reset="before", activation="softsign", bidirectional=True)
        first = nr.Parameters(p.flat[: len(below.init(C))].copy(), below.weights(C))
        y = y - below(first, x, None if state is None else state[:2], lengths=lengths)[0]
    there = np.arange(T)[:, None] < lengths
    for d in range(layer.directions):
        own = {g: values[..., d * H : (d + 1) * H] for g, values in gates.items()}
        states = [y[..., d * w : (d + 1) * w] if k == 0 else cells[0][..., d * w : (d + 1) * w]
                  for k, w in enumerate(layer.state_widths)]  # fmt: skip
        suffix, row = layer.suffixes(layer.layers - 1)[d], (layer.layers - 1) * layer.directions + d
        initial = [np.zeros((N, w)) for w in layer.state_widths]
        if state is not None:
            initial = [part[row] for part in (state if lstm else (state,))]
        elif layer.learned_state:
            initial = [np.tile(p[f"initial_{s}_{suffix}"], (N, 1)) for s in "hc"]
        before = [shifted(s, start, d, lengths) for s, start in zip(states, initial)]
        if lstm:
            f = own["f"] if "f" in own else 1 - own["i"]
            c = f * before[1] + own["i"] * own["g"]
            np.testing.assert_allclose((c * there[..., None]), states[1], atol=1e-12)
            if not layer.normalized:
                h = own["o"] * np.tanh(states[1])
                h = h @ p[f"weight_hr_{suffix}"].T if layer.projection else h
                np.testing.assert_allclose(h, states[0], atol=1e-12)
        else:
            z = own["z"] if "z" in own else 1 - own["f"]
            h = (1 - z) * own["n"] + z * before[0]
            np.testing.assert_allclose(h * there[..., None], states[0], atol=1e-12)
    assert all((values[~there] == 0).all() for values in gates.values())


def test_the_gates_that_the_state_does_not_show():
    """r of a GRU, and o of a normalized LSTM, from the parameters."""
    layer = nr.GRU(H)
    p, (x, h) = parameters(layer), case(layer)
    W, R, b, d = (p[f"{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    r = layer.gates(p, x, h)["r"][0]
    np.testing.assert_allclose(r, 1 / (1 + np.exp(-(x[0] @ W[:H].T + b[:H] + h[0] @ R[:H].T + d[:H]))), atol=1e-12)
    layer = nr.LSTM(H, normalized=True)
    p, (x, (h, c)) = parameters(layer), case(layer)
    gates, (_, _, cells) = layer.gates(p, x, (h, c)), layer(p, x, (h, c), cells=True)
    scale = cells - cells.mean(-1, keepdims=True)
    scale /= np.sqrt((scale**2).mean(-1, keepdims=True) + 1e-5)
    expected = gates["o"] * np.tanh(scale * p["gain_c_l0"] + p["bias_c_l0"])
    np.testing.assert_allclose(layer(p, x, (h, c))[0], expected, atol=1e-12)


@pytest.mark.parametrize("layout", ["ntc", "cnt"])
def test_layouts_dtypes_ragged_and_stacked(layout):
    layer = nr.GRU(H, layers=2)
    p, (x, _) = parameters(layer), case(layer)
    expected = layer.gates(p, x, lengths=LENGTHS)["z"]
    arranged = x.transpose(["tnc".index(letter) for letter in layout])
    found = layer.gates(p, arranged, lengths=LENGTHS, layout=layout)["z"]
    assert np.array_equal(found, expected.transpose(["tnc".index(letter) for letter in layout]))
    ragged = layer.gates(p, nr.Ragged.of([x[:length, n] for n, length in enumerate(LENGTHS)]))["z"]
    assert all(np.array_equal(ragged[n], expected[:length, n]) for n, length in enumerate(LENGTHS))
    assert np.array_equal(layer.gates(p, x[:3, 2])["z"], expected[:3, 2])
    below = nr.GRU(H)
    first = nr.Parameters(p.flat[: len(below.init(C))].copy(), below.weights(C))
    assert np.array_equal(layer.gates(p, x, index=0)["z"], below.gates(first, x)["z"])
    single = layer.init(C, seed=0, scheme="pytorch")
    rounded = layer.gates(single, x.astype(np.float32), lengths=LENGTHS)["z"]
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, expected, atol=1e-6)


@pytest.mark.parametrize(
    "layer, options, error, message",
    [
        (nr.RNN(3), {}, TypeError, r"layer: expected one with gates \(GRU, LSTM, MGU\), got RNN"),
        (nr.GRU(3, layers=2), {"index": 2}, nr.IndexRangeError, "index: expected an index of 2 stacked layers, got 2"),
        (nr.GRU(3), {"index": 0.5}, TypeError, "index: expected an integer, got 0.5"),
        (nr.GRU(3), {"lengths": [6, 0, 0, 0]}, ValueError, "lengths: expected numbers from 0 to 5"),
    ],
)
def test_bad_input_is_named(layer, options, error, message):
    with pytest.raises(error, match=message):
        layer.gates(parameters(layer), np.zeros((T, N, C)), **options)


@dataclass(frozen=True)
class UpdateGateCell(nr.Cell):
    """``h' = g h + (1 - g) c`` (Collins et al. 2017, arXiv:1611.09913)."""

    gates = ("g", "c")
    slots, saved = 2, 2
    input_slots, input_gates = (0, 1), (0, 1)
    recurrent_slots, recurrent_gates = (0, 1), (0, 1)

    def forward(self, pre, state, given):
        g, c = nr.elementary.sigmoid(pre[0]), nr.elementary.tanh(pre[1])
        return (g * state[0] + (1 - g) * c,), (g, c)

    def adjoint(self, saved, state, new, dnew, given):
        g, c = saved
        return (dnew[0] * (state[0] - c) * g * (1 - g), dnew[0] * (1 - g) * (1 - c * c)), (dnew[0] * g,)


@dataclass(frozen=True, repr=False)
class UpdateGateRNN(nr.Recurrent):
    hidden: int
    layers: int = 1
    bidirectional: bool = False

    cell = UpdateGateCell()


def test_a_cell_of_ones_own_shows_what_it_saves_for_each_gate():
    layer = UpdateGateRNN(19)  # more units than a block of vectors has
    p, (x, h) = parameters(layer), case(layer)
    gates, (y, _) = layer.gates(p, x, h), layer(p, x, h)
    before = np.concatenate([h, y[:-1]])
    np.testing.assert_allclose(gates["g"] * before + (1 - gates["g"]) * gates["c"], y, atol=1e-12)
