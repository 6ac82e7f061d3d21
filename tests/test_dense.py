"""Dense, Activation and Last: forward against NumPy, backward against finite differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr

FUNCTIONS = {
    "linear": lambda x: x,
    "identity": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
}


def in_layout(array, layout):
    return array.transpose(["tnc".index(letter) for letter in layout])


@given(
    st.sampled_from(sorted(FUNCTIONS)),
    st.integers(1, 70),
    st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 20)),
    st.sampled_from(["tnc", "ntc", "cnt", "nct", "ctn", "tcn"]),
    st.integers(0, 2**32 - 1),
)
def test_dense(name, units, shape, layout, seed):
    random = np.random.default_rng(seed)
    layer = nr.Dense(units, name)
    p = layer.init(shape[2], seed, "float64", "pytorch")
    x, dy = random.standard_normal(shape), random.standard_normal((*shape[:2], units))
    pre = x @ p["weight"].T + p["bias"]
    if name == "relu":
        pre_is_clear_of_the_kink = np.abs(pre) > 1e-4
        dy = dy * pre_is_clear_of_the_kink
    y, tape = layer.forward(p, in_layout(x, layout), layout)
    expected = in_layout(FUNCTIONS[name](pre), layout)
    assert np.allclose(y, expected, rtol=1e-13, atol=1e-14 * shape[2])
    assert np.array_equal(y, layer(p, in_layout(x, layout), layout))
    gradient = layer.backward(tape, in_layout(dy, layout))
    along_p, along_x = random.standard_normal(len(p)), random.standard_normal(shape)

    def loss(step):
        moved = nr.Parameters(p.flat + step * along_p, p.weights)
        return np.sum(layer(moved, in_layout(x + step * along_x, layout), layout) * in_layout(dy, layout))

    step = 1e-6
    slope = (loss(step) - loss(-step)) / (2 * step)
    exact = gradient.params.flat @ along_p + np.sum(gradient.x * in_layout(along_x, layout))
    size = np.abs(along_p).sum() * (1 + np.abs(x).max()) * (1 + np.abs(dy).max()) * shape[0] * shape[1]
    assert abs(slope - exact) < 1e-9 * size


def test_a_batch_without_time_and_a_sequence_are_the_same_rows():
    layer = nr.Dense(3, "tanh")
    p = layer.init(4, dtype="float64")
    rows = np.random.default_rng(0).standard_normal((9, 4))
    assert np.array_equal(layer(p, rows), layer(p, rows[None])[0])
    assert np.array_equal(layer(p, rows), layer(p, rows[:, None])[:, 0])
    assert np.array_equal(layer(p, rows), layer(p, rows, "tc"))


def test_gradients_are_added_only_when_asked():
    layer = nr.Dense(3)
    p = layer.init(4, dtype="float64")
    _, tape = layer.forward(p, np.ones((5, 4)))
    into = p.zeros()
    into.flat[:] = 7
    once = layer.backward(tape, np.ones((5, 3)), into=into).params.flat.copy()
    twice = layer.backward(tape, np.ones((5, 3)), into=into, accumulate=True).params.flat
    assert np.array_equal(twice, 2 * once)
    assert layer.backward(tape, np.ones((5, 3)), need_x=False).x is None


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activation(name, dtype):
    layer = nr.Activation(name)
    p = layer.init(3, dtype=dtype)
    x = np.linspace(-3, 3, 40009 * 3).astype(dtype).reshape(-1, 3)
    y, tape = layer.forward(p, x)
    tolerance = 4 * np.finfo(dtype).eps
    assert np.allclose(y, FUNCTIONS[name](x.astype(np.float64)), rtol=tolerance, atol=tolerance)
    slope = layer.backward(tape, np.ones_like(x)).x
    value = y.astype(np.float64)
    expected = {"tanh": 1 - value**2, "sigmoid": value * (1 - value), "relu": (x > 0) * 1.0}.get(name, np.ones_like(x))
    assert np.allclose(slope, expected, rtol=tolerance, atol=tolerance)


def test_last_is_a_view_and_sends_the_gradient_back_to_the_last_step():
    layer = nr.Last()
    p = layer.init(3)
    x = np.random.default_rng(0).standard_normal((2, 5, 3))  # N, T, C
    y, tape = layer.forward(p, x, "ntc")
    assert np.shares_memory(y, x) and np.array_equal(y, x[:, -1])
    dx = layer.backward(tape, np.ones((2, 3))).x
    assert dx.shape == x.shape and np.array_equal(dx[:, -1], np.ones((2, 3))) and not dx[:, :-1].any()
    with pytest.raises(nr.LayoutError, match="t among them"):
        layer(p, x[0], "nc")
