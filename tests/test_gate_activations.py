"""Layers whose gates have other activation functions: beside NumPy, finite differences, PyTorch, and one's own functions."""

from dataclasses import replace

import numpy as np
import pytest
from checks import ROUTES, as_tuple, check_gradients, routed, same_bits
from processes import run
from scipy.special import erf
from strategies import random_case, states_of

import numbarnn as nr
from numbarnn.cells import activation
from numbarnn.cells.activations import FUNCTIONS

el = nr.elementary
LAYERS = {  # smooth functions, of the kind that keeps outputs and of the kind that keeps inputs, in every place
    "rnn": nr.RNN(5, "gelu"),
    "rnn-scaled": nr.RNN(5, ("scaled_tanh", 1.5, 0.5)),
    "gru-after": nr.GRU(5, activation="silu", gate_activation="gelu"),
    "gru-before": nr.GRU(5, "before", activation="softplus", gate_activation="silu"),
    "gru-mixed": nr.GRU(5, "before", activation="gelu", gate_activation=("scaled_tanh", 0.5, 2)),
    "lstm": nr.LSTM(5, activation="silu", gate_activation="gelu", output_activation="silu"),
    "lstm-mixed": nr.LSTM(5, activation="gelu", gate_activation=("affine", 0.5, 0.25), output_activation="softplus"),
}


def sigmoid(x):
    """Logistic function."""
    return 1 / (1 + np.exp(-x))


NUMPY = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "silu": lambda x: x * sigmoid(x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    ("scaled_tanh", 1.5, 0.5): lambda x: 1.5 * np.tanh(0.5 * x),
    ("scaled_tanh", 0.5, 2): lambda x: 0.5 * np.tanh(2 * x),
    ("affine", 0.5, 0.25): lambda x: 0.5 * x + 0.25,
}


def step(layer, x, state, w, r, b, d):
    """One step of one layer by the papers' equations, with the layer's functions."""
    a, s, o = (NUMPY.get(getattr(layer, f"{kind}activation", None)) for kind in ("", "gate_", "output_"))
    if isinstance(layer, nr.RNN):
        return (a(x @ w.T + b + state[0] @ r.T + d),)
    if isinstance(layer, nr.LSTM):
        i, f, g, out = np.split(x @ w.T + b + state[0] @ r.T + d, 4, axis=1)
        c = s(f) * state[1] + s(i) * a(g)
        return s(out) * o(c), c
    (wr, wz, wn), (rr, rz, rn), (br, bz, bn), (dr, dz, dn) = (np.split(part, 3) for part in (w, r, b, d))
    h = state[0]
    reset = s(x @ wr.T + br + h @ rr.T + dr)
    update = s(x @ wz.T + bz + h @ rz.T + dz)
    recurrent = reset * (h @ rn.T + dn) if layer.reset == "after" else (reset * h) @ rn.T + dn
    return ((1 - update) * a(x @ wn.T + bn + recurrent) + update * h,)


@pytest.mark.parametrize("kind", LAYERS)
def test_forward(kind):
    layer = LAYERS[kind]
    case = random_case(layer, 6, 3, 4)
    y, final, _ = case.forward()
    weights = [case.parameters[f"{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    state = tuple(s[0] for s in as_tuple(case.state))
    for x, found in zip(case.x, y):
        state = step(layer, x, state, *weights)
        np.testing.assert_allclose(found, state[0], rtol=1e-12, atol=1e-13)
    for found, expected in zip(as_tuple(final), state, strict=True):
        np.testing.assert_allclose(found[0], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", LAYERS)
def test_backward_is_the_derivative(kind):
    layer = LAYERS[kind]
    for seed, route in enumerate(ROUTES):
        if route != "final c" or states_of(layer) == 2:
            assert check_gradients(routed(random_case(layer, 4, 3, 2, seed=seed), route), directions=2) == 3


@pytest.mark.parametrize("kind", ["rnn", "gru-before", "lstm"])
def test_backward_of_stacked_layers_in_both_directions(kind):
    layer = replace(LAYERS[kind], layers=2, bidirectional=True)
    assert check_gradients(random_case(layer, 4, 3, 2), directions=2) == 3


def results(case, **way):
    """Everything forward and backward return."""
    y, state, tape = case.layer.forward(case.parameters, case.x, case.state, **way)
    found = case.layer.backward(tape, case.dy, case.dstate)
    return y.copy(), state, found.params.flat, found.x.copy(), found.state


@pytest.mark.parametrize("kind", LAYERS)
def test_tapes_that_keep_less_give_the_same_bits(kind):
    case = random_case(LAYERS[kind], 600, 2, 3)
    case.parameters.flat *= 0.3
    expected = results(case)
    assert np.isfinite(expected[2]).all()
    assert same_bits(expected[0], case.layer(case.parameters, case.x, case.state)[0])
    for way in ({"tape": "states"}, {"checkpoints": 2}):
        assert same_bits(results(case, **way), expected)


@pytest.mark.parametrize("name, saved", [("tanh", 0), ("gelu", 1)])
def test_an_rnn_keeps_what_its_function_needs(name, saved):
    layer = nr.RNN(64, name)
    p = layer.init(1, dtype="float64")
    nbytes = layer.forward(p, np.zeros((1000, 1, 1)))[2].nbytes
    weights = 8 * 64 * (64 + 2 + 2)
    assert 0 <= nbytes - 8 * 64 * (1002 + 1000 * saved) <= weights + 4096


SPECS = [*FUNCTIONS, ("leaky_relu", -0.5), ("elu", -0.5), ("thresholded_relu", -0.5), ("scaled_tanh", 0)]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_dense(spec, batch):
    random = np.random.default_rng(0)
    layer = nr.Dense(9, spec)
    p = layer.init(4, seed=1, dtype="float64", scheme="pytorch")
    x = random.standard_normal((7, batch, 4)) * 2
    f = activation(spec)
    pre = x @ p["weight"].T + p["bias"]
    y, tape = layer.forward(p, x)
    np.testing.assert_allclose(y, np.vectorize(f.value, otypes=[float])(pre), rtol=1e-12, atol=1e-14)
    assert same_bits(y.copy(), layer(p, x))
    dy = random.standard_normal(y.shape)
    dpre = dy * np.vectorize(lambda a: f.slope(f.keep(a, f.value(a))), otypes=[float])(pre)
    found = layer.backward(tape, dy)
    np.testing.assert_allclose(found.params["weight"], np.einsum("tnu,tni->ui", dpre, x), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.params["bias"], dpre.sum((0, 1)), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.x, dpre @ p["weight"], rtol=1e-11, atol=1e-12)
    assert layer.backward(tape, dy, need_x=False).x is None
    alone = nr.Activation(spec)
    y, tape = alone.forward(alone.init(9, dtype="float64"), pre)
    np.testing.assert_allclose(alone.backward(tape, dy).x, dpre, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("function", ["gelu", "leaky_relu"])
def test_a_replayed_training(function):
    """A training fills its tapes again for every batch; one by hand makes new ones."""
    x, y = nr.windows(np.sin(np.arange(40) / 3), 8)
    layers = [nr.RNN(4, function), nr.Last(), nr.Dense(5, function), nr.Activation(function), nr.Dense(1)]
    net = nr.Network(layers, 1, dtype="float64", seed=0)
    flat = net.params.flat.copy()
    net.fit(x, y, optimizer=nr.SGD(0.05), epochs=3, batch_size=16, shuffle=False, progress=False)
    other = nr.Network(layers, 1, dtype="float64", seed=0)
    for _ in range(3):
        for start in range(0, x.shape[1], 16):
            _, gradient = other.loss_and_gradient(flat, x[:, start : start + 16], y[start : start + 16])
            flat = flat - 0.05 * gradient
    np.testing.assert_allclose(net.params.flat, flat, rtol=1e-12, atol=1e-14)


def test_a_stream():
    layer = LAYERS["gru-before"]
    case = random_case(layer, 5, 2, 3)
    stream = layer.stream(case.parameters, 2, case.state)
    assert same_bits(np.stack([stream.step(x).copy() for x in case.x]), case.forward()[0].copy())


def own_gelu(x):
    return x * el.normal(x)[0]


def own_gelu_slope(x):
    below, density = el.normal(x)
    return below + x * density


def own_tanh_slope(y):
    return 1 - y * y


OWN_GELU = nr.ActivationFunction("own gelu", own_gelu, own_gelu_slope)
OWN_TANH = nr.ActivationFunction("own tanh", el.tanh, own_tanh_slope, from_output=True)


@pytest.mark.parametrize("own, known", [(OWN_GELU, "gelu"), (OWN_TANH, "tanh")], ids=["gelu", "tanh"])
@pytest.mark.parametrize("make", [nr.RNN, nr.LSTM])
def test_a_function_of_ones_own_is_as_good(make, own, known):
    known_case = random_case(make(5, activation=known), 4, 3, 2)
    found = results(random_case(make(5, activation=own), 4, 3, 2))
    assert same_bits(found, results(known_case))
    assert own.value(0.3) == pytest.approx(activation(known).value(0.3))


@pytest.mark.parametrize("make", [nr.RNN, nr.GRU, nr.Dense, lambda size, activation: nr.Activation(activation)])
def test_without_a_slope_a_layer_only_runs(make):
    def cube(x):
        return x * x * x

    layer = make(3, activation=nr.ActivationFunction("cube", cube))
    p, x = layer.init(3, dtype="float64"), np.full((2, 1, 3), 0.5)
    assert layer(p, x) is not None
    with pytest.raises(TypeError, match="^activation: ActivationFunction.'cube', .*has no slope"):
        layer.forward(p, x)
    net = nr.Network([layer, nr.Dense(1)], 3, dtype="float64")
    assert net.predict(x).shape == (2, 1, 1)
    with pytest.raises(TypeError, match="^activation: .*has no slope"):
        net.fit(x, np.zeros((2, 1, 1)), epochs=1, progress=False)


def test_the_gate_without_a_slope_is_named():
    layer = nr.LSTM(3, gate_activation=nr.ActivationFunction("own", own_gelu))
    with pytest.raises(TypeError, match="^gate_activation: .*'own'"):
        layer.forward(layer.init(1), np.zeros((1, 1, 1), np.float32))


SECOND_PROCESS = """
import numpy as np
import numbarnn as nr
from numbarnn.cpu import recurrent
scale = {scale}
def value(x):
    return nr.elementary.tanh(scale * x)
layer = nr.RNN(3, nr.ActivationFunction("scaled", value, lambda x: x))
p = layer.init(1, dtype="float64")
p.flat[:] = 1
y, _, _ = layer.forward(p, np.ones((1, 1, 1)))
assert np.allclose(y, np.tanh(3 * scale)), y
print(sum(not found.cache_hits for found in recurrent.forward_task.compiled.values()))
"""


def test_compiled_code_of_ones_own_is_kept_and_never_mistaken(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert [run("-c", SECOND_PROCESS.format(scale=scale), **cache) for scale in (0.5, 0.25, 0.5)] == ["1\n", "1\n", "0\n"]


def test_layers_are_values():
    layer = nr.GRU(4, activation=("leaky_relu", 0.2))
    assert layer == nr.GRU(4, activation=("leaky_relu", 0.2)) != nr.GRU(4, activation="leaky_relu")
    assert len({layer, nr.GRU(4, activation=("leaky_relu", 0.2)), nr.GRU(4)}) == 2
    assert repr(layer) == "GRU(hidden=4, activation=('leaky_relu', 0.2))"
    assert repr(nr.LSTM(4)) == "LSTM(hidden=4)" and repr(nr.Last()) == "Last()"
    assert layer.cell == nr.GRU(4, activation=activation(("leaky_relu", np.float64(0.2)))).cell
    assert nr.Dense(2, "linear").cell == nr.Dense(2, "identity").cell == nr.Dense(2).cell


def test_beside_pytorch_step_by_step():
    torch = pytest.importorskip("torch")
    layer = nr.LSTM(6, activation="gelu", gate_activation=("hard_sigmoid", 1 / 6, 0.5), output_activation=("elu", 0.5))
    case = random_case(layer, 5, 3, 4)
    p = {name: torch.tensor(np.ascontiguousarray(v), requires_grad=True) for name, v in case.parameters.items()}
    x = torch.tensor(case.x, requires_grad=True)
    start = [torch.tensor(s, requires_grad=True) for s in case.state]
    F = torch.nn.functional

    def gate(x):  # F.hardsigmoid has 1 / 6 in float32
        return (x / 6 + 0.5).clamp(0, 1)

    h, c = (s[0] for s in start)
    outputs = []
    for x_t in x:
        pre = x_t @ p["weight_ih_l0"].T + p["bias_ih_l0"] + h @ p["weight_hh_l0"].T + p["bias_hh_l0"]
        i, f, g, o = pre.chunk(4, 1)
        c = gate(f) * c + gate(i) * F.gelu(g)
        h = gate(o) * F.elu(c, 0.5)
        outputs.append(h)
    y = torch.stack(outputs)
    dh, dc = (torch.tensor(d[0]) for d in case.dstate)
    ((y * torch.tensor(case.dy)).sum() + (h * dh).sum() + (c * dc).sum()).backward()
    found_y, final, tape = case.forward()
    found = case.backward(tape)
    np.testing.assert_allclose(found_y, y.detach().numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(final[1][0], c.detach().numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.x, x.grad.numpy(), rtol=1e-11, atol=1e-12)
    for name, value in p.items():
        np.testing.assert_allclose(found.params[name], value.grad.numpy(), rtol=1e-11, atol=1e-12)
    for mine, theirs in zip(found.state, start, strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-11, atol=1e-12)
