"""Side by side with PyTorch, where it is installed: outputs, states and the gradients of everything."""

from types import SimpleNamespace

import numpy as np
import oracles
import pytest
from checks import as_tuple, check_results, like
from strategies import KINDS, random_case

pytest.importorskip("torch")

from torch_layers import SUPPORTED, results  # noqa: E402

TOLERANCE = {"float64": 1e-13, "float32": 2e-5}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", SUPPORTED)
def test_depths_and_directions(kind, layers, bidirectional, dtype):
    layer = KINDS[kind](7, layers=layers, bidirectional=bidirectional)
    case = random_case(layer, 5, 3, 4, dtype=dtype, layout="ntc", strides="reversed")
    check_results(case, results(case), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden, shape", [(1, (1, 1, 1)), (100, (20, 33, 10)), (65, (3, 131, 129))])
@pytest.mark.parametrize("kind", SUPPORTED)
def test_sizes(kind, hidden, shape, dtype):
    case = random_case(KINDS[kind](hidden), *shape, dtype=dtype)
    check_results(case, results(case), TOLERANCE[dtype])


class Named(dict):
    """Parameters by name, with the dtype they have in common."""

    dtype = np.dtype("float64")


@pytest.mark.parametrize("lengths", [None, [5, 1, 3, 2]])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    "kind, options", [("RNN", {"activation": "tanh"}), ("GRU", {}), ("LSTM", {}), ("LSTM", {"projection": 2})]
)
def test_oracle_with_projection_and_lengths(kind, options, layers, bidirectional, lengths):
    layer = oracles.described(kind, 4, layers=layers, bidirectional=bidirectional, **options)
    random = np.random.default_rng(0)
    p = Named(oracles.random_parameters(layer, 3, random, "float64"))
    x = random.standard_normal((5, 4, 3))
    state, dstate = (oracles.random_state(layer, 4, random, "float64") for _ in range(2))
    y, final = oracles.run(layer, p, x, state, lengths=lengths)
    dy = random.standard_normal(y.shape)
    found = results(SimpleNamespace(layer=layer, parameters=p, x=x, state=state, dy=dy, dstate=dstate, lengths=lengths))
    for name, value in zip("yhc", (y, *as_tuple(final))):
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-13)

    def loss(distance):
        """The loss with x, the initial state and the parameters moved along random directions."""
        steps = np.random.default_rng(1)

        def moved(array):
            return array + distance * steps.standard_normal(array.shape)

        start = like(state, [moved(s) for s in as_tuple(state)])
        y, final = oracles.run(layer, {name: moved(p[name]) for name in p}, moved(x), start, lengths=lengths)
        return (dy * y).sum() + sum((d * s).sum() for d, s in zip(as_tuple(dstate), as_tuple(final)))

    steps = np.random.default_rng(1)
    names = [*(f"d{letter}" for letter in "hc"[: len(as_tuple(state))]), *(f"d_{name}" for name in p), "dx"]
    along = sum((found[name] * steps.standard_normal(found[name].shape)).sum() for name in names)
    assert abs((loss(1e-5) - loss(-1e-5)) / 2e-5 - along) < 1e-6 * max(1, abs(along))
    if lengths is not None:
        assert (found["dx"][np.arange(5)[:, None] >= lengths] == 0).all()


@pytest.mark.parametrize("lengths", [None, [5, 1, 3]])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_last_of_two_directions(kind, lengths):
    import torch

    import numbarnn as nr

    layer, random = getattr(nr, kind)(4, layers=2, bidirectional=True), np.random.default_rng(0)
    net = nr.Network([layer, nr.Last(), nr.Dense(2)], channels=3, dtype="float64", seed=0)
    x, y = random.standard_normal((5, 3, 3)), random.standard_normal((3, 2))
    module, _, dense = nr.interop.torch.to_module(net)
    given = torch.from_numpy(x)
    if lengths is not None:
        given = torch.nn.utils.rnn.pack_padded_sequence(given, torch.tensor(lengths), enforce_sorted=False)
    _, final = module(given)
    h_n = final[0] if kind == "LSTM" else final
    expected = dense(torch.cat([h_n[-2], h_n[-1]], 1))
    loss = torch.nn.functional.mse_loss(expected, torch.from_numpy(y))
    loss.backward()
    np.testing.assert_allclose(net.predict(x, lengths), expected.detach().numpy(), rtol=0, atol=1e-14)
    value, gradient = net.loss_and_gradient(net.params.flat, x, y, lengths=lengths)
    assert abs(value - loss.item()) < 1e-14
    parts = {f"0.{name}": p.grad.numpy() for name, p in module.named_parameters()}
    parts |= {"2.weight": dense.weight.grad.numpy(), "2.bias": dense.bias.grad.numpy()}
    found = nr.Parameters(gradient, net.params.weights)
    for name, expected in parts.items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-14)
