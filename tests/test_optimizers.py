"""Optimizers and schedules: against their published equations, written out in NumPy."""

import math
from dataclasses import fields

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.cpu.optimizers import norm
from numbarnn.training.optimizers import optimizer


def written_out(choice, flat, gradients):
    """The parameters after each gradient, in float64."""
    p, v, s, path = flat.astype(np.float64), 0.0, 0.0, []
    for t, g in enumerate(gradients.astype(np.float64), 1):
        if isinstance(choice, nr.SGD):
            v = choice.momentum * v + g
            p = p - choice.rate * (g + choice.momentum * v if choice.nesterov else v)
        elif isinstance(choice, nr.RMSProp):
            s = choice.decay * s + (1 - choice.decay) * g**2
            p = p - choice.rate * g / (np.sqrt(s) + choice.epsilon)
        else:
            v = choice.beta1 * v + (1 - choice.beta1) * g
            s = choice.beta2 * s + (1 - choice.beta2) * g**2
            if isinstance(choice, nr.AdamW):
                p = p - choice.rate * choice.decay * p
            mean, square = v / (1 - choice.beta1**t), s / (1 - choice.beta2**t)
            p = p - choice.rate * mean / (np.sqrt(square) + choice.epsilon)
        path.append(p)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "choice",
    [
        nr.SGD(0.1),
        nr.SGD(0.1, momentum=0.9),
        nr.SGD(0.1, momentum=0.8, nesterov=True),
        nr.RMSProp(0.01),
        nr.Adam(0.01),
        nr.AdamW(0.01, decay=0.1),
    ],
    ids=repr,
)
def test_update(choice, dtype):
    random = np.random.default_rng(0)
    flat = random.standard_normal(1001).astype(dtype)
    gradients = random.standard_normal((5, 1001)).astype(dtype)
    expected = written_out(choice, flat, gradients)
    memory, previous = choice.start(flat), np.empty_like(flat)
    for step, gradient in enumerate(gradients, 1):
        before = flat.copy()
        # the scale undoes a gradient twice as long
        choice.update(flat, previous, 2 * gradient, memory, step, choice.rate, scale=0.5)
        assert np.array_equal(previous, before)
        assert np.allclose(flat, expected[step - 1], rtol=0, atol=40 * np.finfo(dtype).eps)


@pytest.mark.parametrize("size", [1, 15, 16, 4096, 4097, 10007])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norm(size, dtype):
    vector = np.random.default_rng(size).standard_normal(size).astype(dtype)
    assert norm(vector) == pytest.approx(math.sqrt(math.fsum(float(v) ** 2 for v in vector)), rel=1e-14)


def test_schedules():
    assert [nr.constant(0.3)(u, 7) for u in (0, 6)] == [0.3, 0.3]
    assert nr.cosine(0.2, 0.1)(0, 10) == 0.2
    assert nr.cosine(0.2, 0.1)(5, 10) == pytest.approx(0.15)
    assert nr.cosine(0.2, 0.1)(10, 10) == pytest.approx(0.1)
    assert nr.exponential(1.0, 0.01)(5, 10) == pytest.approx(0.1)
    assert nr.Adam(lambda update, updates: update / updates).rates(nr.History())(3, 4) == 0.75


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: nr.Adam(-1), ValueError, "rate: expected a number >= 0, got -1"),
        (lambda: nr.Adam(float("nan")), nr.NonFiniteError, "rate: expected a finite number, got nan"),
        (lambda: nr.Adam("fast"), TypeError, "rate: expected a finite number, got 'fast'"),
        (lambda: nr.Adam(beta1=1.0), ValueError, r"beta1: expected a number in \[0, 1\), got 1.0"),
        (lambda: nr.SGD(momentum=2), ValueError, r"momentum: expected a number in \[0, 1\), got 2"),
        (lambda: nr.RMSProp(decay=-0.1), ValueError, "decay: expected a number >= 0, got -0.1"),
        (lambda: nr.exponential(1, 0), ValueError, "rate, final: expected numbers > 0"),
        (lambda: optimizer("rmsprob"), nr.UnknownNameError, "did you mean 'rmsprop'"),
        (lambda: optimizer(3), nr.UnknownNameError, "optimizer: unknown name 3"),
    ],
)
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def decaying(net, optimizer):
    x, y = nr.windows(np.sin(np.arange(40, dtype=np.float32) / 4), 5)
    net.fit(x, y, optimizer=optimizer, epochs=3, batch_size=8, progress=False)
    return net.params.flat


def test_an_update_of_one_s_own_that_calls_the_library_s_decays_the_matrices_alone():
    class Watched(nr.AdamW):
        def update(self, flat, previous, gradient, memory, step, rate, scale=1.0):
            mean, square = memory  # as many as Adam has
            super().update(flat, previous, gradient, memory, step, rate, scale)

    class Further(Watched):
        def start(self, flat):
            return super().start(flat)

    class Apart(nr.AdamW):
        def start(self, flat):
            return {"adam": list(super().start(flat)), "steps": 0}

        def update(self, flat, previous, gradient, memory, step, rate, scale=1.0):
            super().update(flat, previous, gradient, memory["adam"], step, rate, scale)

    def network():
        net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=0)
        net.params["0.bias_ih_l0"][...] = 1
        return net

    right, all_of_it = (decaying(network(), nr.AdamW(0.01, decay=5.0, decays=parts)) for parts in ("weights", "all"))
    assert not np.allclose(right, all_of_it, atol=1e-3)
    for kind in (Watched, Further):
        assert np.array_equal(decaying(network(), kind(0.01, decay=5.0)), right)
    with pytest.raises(TypeError, match="^memory: expected the list that start returned, which says what decays, got list"):
        decaying(network(), Apart(0.01, decay=5.0))
    assert np.array_equal(decaying(network(), Apart(0.01, decay=5.0, decays="all")), all_of_it)


PYTORCH = {  # each of PyTorch's optimizers, and the same one here
    "SGD": (nr.SGD(0.1), dict(lr=0.1)),
    "SGD with momentum": (nr.SGD(0.1, 0.9), dict(lr=0.1, momentum=0.9)),
    "SGD with Nesterov's": (nr.SGD(0.1, 0.9, nesterov=True), dict(lr=0.1, momentum=0.9, nesterov=True)),
    "RMSprop": (nr.RMSProp(0.01), dict(lr=0.01, alpha=0.99)),
    "Adam": (nr.Adam(0.01), dict(lr=0.01)),
    "AdamW": (nr.AdamW(0.01, decay=0.1), dict(lr=0.01, weight_decay=0.1)),
    "RAdam": (nr.RAdam(0.01), dict(lr=0.01)),
    "RAdam that never adapts": (nr.RAdam(0.01, beta2=0.5), dict(lr=0.01, betas=(0.9, 0.5))),
    "RAdam with a large epsilon": (nr.RAdam(0.01, beta1=0.8, epsilon=0.1), dict(lr=0.01, betas=(0.8, 0.999), eps=0.1)),
    "NAdam": (nr.Nadam(0.01), dict(lr=0.01)),
    "NAdam that warms up": (
        nr.Nadam(0.01, 0.95, 0.9, 0.1, 0.5),
        dict(lr=0.01, betas=(0.95, 0.9), eps=0.1, momentum_decay=0.5),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PYTORCH)
def test_updates_of_pytorch(name, dtype, request):
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    request.addfinalizer(lambda: torch.set_default_dtype(before))
    torch.set_default_dtype(torch.float64)  # of NAdam's product of momenta
    choice, options = PYTORCH[name]
    random = np.random.default_rng(0)
    flat = random.standard_normal(301).astype(dtype)
    theirs = torch.nn.Parameter(torch.tensor(flat))
    other = getattr(torch.optim, name.split()[0])([theirs], **options)
    memory, previous = choice.start(flat), np.empty_like(flat)
    for step in range(1, 41):  # RAdam adapts from the sixth on
        gradient = (random.standard_normal(301) * 10.0 ** random.integers(-3, 3)).astype(dtype)
        choice.update(flat, previous, gradient, memory, step, choice.rate)
        theirs.grad = torch.tensor(gradient)
        other.step()
        near = 100 * np.finfo(dtype).eps
        np.testing.assert_allclose(flat, theirs.detach().numpy(), rtol=near, atol=3 * near, err_msg=f"step {step}")


def test_the_product_of_nadam_s_momenta_is_the_same_in_any_order():
    from numbarnn.training.optimizers import _products

    _products.cache_clear()
    far = _products(0.9, 0.004)(60)
    _products.cache_clear()
    assert [_products(0.9, 0.004)(step) for step in range(1, 61)][-1] == far > 0
    assert _products(0.9, 0.004)(10**9) == 0.0


@pytest.mark.parametrize("choice", [nr.RAdam(0.05), nr.Nadam(0.05), nr.AdamW(0.05, decay=0.5, decays=["0.*"])], ids=repr)
def test_rows_are_updated_as_all_are(choice):
    class All(type(choice)):
        def update(self, *arguments):
            super().update(*arguments)

    random = np.random.default_rng(0)
    x, y = random.integers(0, 40, (3, 30)), random.integers(0, 2, 30)
    found = []
    for kind in (type(choice), All):
        net = nr.Network([nr.Embedding(40, 3), nr.Last(), nr.Dense(2)], dtype="float64", seed=0)
        own = kind(**{name: getattr(choice, name) for name in [field.name for field in fields(choice)]})
        net.fit(x, y, "cross_entropy", own, epochs=3, batch_size=2, progress=False)
        found.append(net.params.flat)
    np.testing.assert_allclose(*found, rtol=0, atol=1e-12)


def test_decay_by_names_and_patterns():
    """Where the gradient is 0, a parameter that decays falls by its part, and another one stays."""

    def flat_loss(prediction, target):
        return 1.0, np.zeros_like(prediction)

    x, y = np.zeros((3, 4, 1)), np.zeros((4, 1))
    for decays, falls in ((["2.*"], {"2.weight", "2.bias"}), (["*bias*", "0.weight_hh_l0"], None)):
        net = nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        net.params.flat[:] = 1
        net.fit(x, y, flat_loss, nr.AdamW(0.1, decay=0.5, decays=decays), epochs=1, progress=False)
        fallen = {name for name, view in net.params.items() if np.allclose(view, 0.95)}
        assert fallen == (falls or {"0.weight_hh_l0", "0.bias_ih_l0", "0.bias_hh_l0", "2.bias"})
        assert all((view == 1).all() for name, view in net.params.items() if name not in fallen)
    assert nr.AdamW(decays=["2.*"]) == nr.AdamW(decays=("2.*",))
    for wrong, error in (("matrices", nr.UnknownNameError), (3, TypeError), ([], TypeError), ([3], TypeError)):
        with pytest.raises(error, match="^decays: "):
            nr.AdamW(decays=wrong)
    with pytest.raises(nr.UnknownNameError, match=r"^decays: unknown name '3\.\*', expected one of '0.bias_hh_l0'"):
        net.fit(x, y, optimizer=nr.AdamW(decays=["3.*"]), progress=False)
    with pytest.raises(ValueError, match="^epsilon: expected a number > 0, got 0"):
        nr.RAdam(epsilon=0)
