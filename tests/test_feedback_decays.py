"""Outputs that are fed back into layers that read spans of time: GRUD, and layers whose states decay, stacked ones too."""

import functools

import numpy as np
import pytest
from checks import check_function, same_bits
from hypothesis import given
from hypothesis import strategies as st
from test_feedback import begin, in_a_loop, numbers, strengths
from test_feedback_derivatives import identity_error
from test_feedback_lengths import drawn

import numbarnn as nr
from numbarnn.cpu import elementwise, gaps


def of_decays(kind, layers=3, seed=0):
    """(network, x) of stacked layers whose states decay; two values and the spans."""
    layer = {
        "gru": lambda: nr.GRU(3, layers=layers, decay=True),
        "lstm": lambda: nr.LSTM(3, layers=layers, decay=True, learned_state=True, zoneout=0.1),
        "rnn": lambda: nr.RNN(3, layers=layers, decay=True),
    }[kind]()
    net = nr.Network([layer, nr.Dense(2)], channels=3, dtype="float64", seed=seed)
    random = np.random.default_rng(seed)
    for name in net.params.names:
        if "decay" in name:
            net.params[name][...] = 0.2 + 0.5 * random.random(net.params[name].shape)  # no kink of a decay is near
    x = random.standard_normal((6, 4, 3))
    x[..., 2] = 0.1 + random.random((6, 4))
    return net, x


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("lengths", [None, (3, 6, 0, 5)])
def test_layers_whose_states_decay(layers, lengths):
    """The outputs are values, the spans are given."""
    net, x = of_decays("gru", layers)
    y, _ = net(x, feedback=nr.Feedback(), lengths=lengths)
    own = x.copy()
    for t in range(1, 6):
        own[t, :, :2] = net(own[:t])[0][-1]
    expected = net(own, lengths=lengths)[0]
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    wide = nr.Network([nr.GRU(3, decay=True), nr.Dense(3)], channels=3, seed=0)
    with pytest.raises(
        nr.ShapeError, match="feedback: expected outputs of at most 2 channels.*without masks and spans, got 3"
    ):
        wide(x, feedback=nr.Feedback())


@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn"])
def test_the_gradient_of_stacked_decays(kind):
    @given(st.sampled_from(["number", "mask", "each"]), st.sampled_from(["equal", "padded", "reset"]), st.integers(0, 99))
    def check(forcing, way, seed):
        lengths, reset = drawn(seed)
        net, x = of_decays(kind, seed=seed)
        options = {"feedback": nr.Feedback(strengths(forcing, (6, 4, 2), seed), every=seed % 4 or None)}
        options |= {} if way == "equal" else {"lengths": lengths, "reset": reset if way == "reset" else None}
        check_function(net, x, options, begin(net, 4), seed)

    check()


def test_the_gradient_catches_spans_that_go_no_further(monkeypatch):
    """A mutant: what the upper layers ask of the spans does not reach them."""
    net, x = of_decays("gru")
    check_function(net, x, {"feedback": nr.Feedback(0.4)}, begin(net, 4))
    add = elementwise.add_sum_steps
    monkeypatch.setattr(
        elementwise, "add_sum_steps", lambda *arguments: add(*arguments) if arguments[1].channels > 1 else None
    )
    with pytest.raises(AssertionError):
        check_function(net, x, {"feedback": nr.Feedback(0.4)}, begin(net, 4))


def test_a_training_of_stacked_decays():
    """It is the loop of the gradients of `loss_and_gradient`."""
    (net, x), y, feedback = of_decays("gru"), numbers((6, 4, 2), 1), nr.Feedback(strengths("each", (6, 4, 2)))
    flat, losses = net.params.flat.copy(), []
    for _ in range(3):
        value, gradient = net.loss_and_gradient(flat, x, y, feedback=feedback)
        losses.append(value)
        flat -= 0.1 * gradient
    net.params.flat[...] = of_decays("gru")[0].params.flat
    found = net.fit(x, y, feedback=feedback, epochs=3, batch_size=4, shuffle=False, optimizer=nr.SGD(0.1), progress=False)
    np.testing.assert_allclose(found.loss, losses, rtol=1e-12)


def of_grud(steps=6, batch=4, seed=0, past=False):
    """(network, x) of two variables, their masks and spans."""
    net = nr.Network([nr.GRUD(4, mean=(0.5, -0.2), past=past), nr.Dense(2)], channels=6, dtype="float64", seed=seed)
    random = np.random.default_rng(seed)
    for name in net.params.names:
        if "_d" in name:
            net.params[name][...] = 0.2 + 0.5 * random.random(net.params[name].shape)  # no kink of a decay is near
    masks, spans = (random.random((steps, batch, 2)) < 0.5).astype(float), 0.1 + random.random((steps, batch, 2))
    return net, np.concatenate([random.standard_normal((steps, batch, 2)), masks, spans], axis=2)


@pytest.mark.parametrize("lengths", [None, (3, 6, 0, 5)])
def test_grud_is_fed_too(lengths):
    net, x = of_grud()
    options = {"feedback": nr.Feedback(strengths("each", (6, 4, 2))), "lengths": lengths}
    y, _ = net(x, **options)
    for n, length in enumerate(lengths or (6,) * 4):
        if length:
            own = nr.Feedback(options["feedback"].forcing[:length, n : n + 1].copy())
            assert same_bits(y[:length, n : n + 1].copy(), in_a_loop(net, x[:length, n : n + 1], own)[0])
    check_function(net, x, options, (numbers((1, 4, 4)),))
    target, flat, vector = numbers((6, 4, 2)), net.params.flat.copy(), numbers(len(net.params), 1)
    ahead, behind = (net.loss_and_gradient(flat + s * vector, x, target, **options)[1] for s in (1e-5, -1e-5))
    found = net.hvp(flat, x, target, vector, **options)
    np.testing.assert_allclose(found, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-6 * np.abs(found).max())
    net.fit(x, target, **options, epochs=2, progress=False)


def moved_along(net, x, options, state, seed, step=1e-6):
    """The largest error of a tangent of y and of the final state against central differences, over the largest number."""
    random, flat = np.random.default_rng(seed), net.params.flat.copy()
    dp, dx = random.standard_normal(len(flat)), random.standard_normal(x.shape)
    dstate = tuple(random.standard_normal(part.shape) for part in state)
    _, _, tape = net.forward(x, state, **options)
    dy, dfinal = net.jvp(tape, dp, dx, dstate)

    def at(moved):
        net.params.flat[...] = flat + moved * dp
        y, final = net(x + moved * dx, tuple(s + moved * d for s, d in zip(state, dstate)), **options)
        return np.concatenate([y.ravel(), *(part.ravel() for part in final)])

    difference = (at(step) - at(-step)) / (2 * step)
    net.params.flat[...] = flat
    found = np.concatenate([dy.ravel(), *(part.ravel() for part in dfinal)])
    return np.abs(found - difference).max() / np.abs(difference).max()


@pytest.mark.parametrize("past", [False, True])
def test_tangents_of_grud(past):
    @given(st.sampled_from(["number", "mask", "each"]), st.sampled_from(["equal", "lengths", "reset"]), st.integers(0, 99))
    def check(forcing, way, seed):
        lengths, reset = drawn(seed)
        net, x = of_grud(seed=seed, past=past)
        options = {"feedback": nr.Feedback(strengths(forcing, (6, 4, 2), seed), every=seed % 4 or None)}
        options |= {} if way == "equal" else {"lengths": lengths, "reset": reset if way == "reset" else None}
        state = (numbers((1, 4, 4), seed),)
        assert identity_error(net, x, options, state, 1 + seed % 3, seed) < 1e-12
        assert moved_along(net, x, options, state, seed) < 1e-7  # 1e-12 of step^2, and rounding of 1e-16 / step, summed

    check()


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_tangents_of_stacked_decays(kind):
    @given(st.sampled_from(["number", "each"]), st.sampled_from(["equal", "lengths", "reset"]), st.integers(0, 99))
    def check(forcing, way, seed):
        lengths, reset = drawn(seed)
        net, x = of_decays(kind, seed=seed)
        options = {"feedback": nr.Feedback(strengths(forcing, (6, 4, 2), seed))}
        options |= {} if way == "equal" else {"lengths": lengths, "reset": reset if way == "reset" else None}
        assert identity_error(net, x, options, begin(net, 4), 1 + seed % 3, seed) < 1e-12

    check()


@pytest.mark.parametrize("lengths", [None, (3, 6, 0, 5)])
def test_jacobian_and_gauss_newton_product_of_grud(lengths):
    net, x = of_grud()
    options = {"feedback": nr.Feedback(strengths("each", (6, 4, 2))), "lengths": lengths}
    y, flat, vector = numbers((6, 4, 2)), net.params.flat.copy(), numbers(len(net.params), 1)
    jacobian, u = net.jacobian(flat, x, **options), numbers((6, 4, 2), 2)
    back = net.backward(net.forward(x, **options)[2], u).params.flat
    np.testing.assert_allclose(np.tensordot(u, jacobian, 3), back, rtol=1e-10, atol=1e-12)  # sums of 48 products
    rows, count = jacobian.reshape(y.size, -1), 2 * sum(lengths) if lengths else y.size
    product = net.gauss_newton_product(flat, x, y, vector, **options)
    np.testing.assert_allclose(product, 2 / count * rows.T @ (rows @ vector), rtol=1e-9, atol=1e-11)


def rates_that_stay(own, steps, cell, x, dx, dy, weight, bias, mean, dweight, dbias):
    """A mutant of `add_tangent_steps`: the rates of the decay do not move."""
    own(steps, cell, x, dx, dy, weight, bias, mean, 0 * dweight, dbias)


def another_mean(own, steps, cell, x, dx, dy, weight, bias, mean, dweight, dbias):
    """A mutant of `add_tangent_steps`: values decay to 0."""
    own(steps, cell, x, dx, dy, weight, bias, 0 * mean, dweight, dbias)


def of_what_was_given(own, steps, cell, x, dx, dy, *vectors):
    """A mutant of `add_tangent_steps`: x is where its tangent is."""
    own(steps, cell, dx, dx, dy, *vectors)


@pytest.mark.parametrize("mutant", [rates_that_stay, another_mean, of_what_was_given])
def test_the_identity_catches_mutants_of_decays(mutant, monkeypatch):
    monkeypatch.setattr(gaps, "add_tangent_steps", functools.partial(mutant, gaps.add_tangent_steps))
    net, x = of_grud()
    assert identity_error(net, x, {"feedback": nr.Feedback(0.4)}, (numbers((1, 4, 4)),)) > 1e-3
