"""Forward and second derivatives where outputs are fed back, and GRUD beside it."""

import numba
import numpy as np
import pytest
from checks import flat_of, nested, same_bits
from hypothesis import given
from hypothesis import strategies as st
from test_feedback import LAYERS, begin, network, numbers, strengths
from test_feedback_lengths import drawn, packed

import numbarnn as nr
from numbarnn.layers.fed_tangents import FedTangents
from numbarnn.networks import derivatives


def directions(net, shape, state, count, random):
    """(dp, dx, dstate) of so many tangents."""
    moved = nested(state, [random.standard_normal((count, *part.shape)) for part in flat_of(state)])
    return random.standard_normal((count, len(net.params))), random.standard_normal((count, *shape)), moved


def identity_error(net, x, options, state, count=2, seed=0):
    """The largest ``|<u, J v> - <J' u, v>|`` of some directions over the sum of the absolute terms."""
    random = np.random.default_rng(seed)
    y, final, tape = net.forward(x, state, **options)
    dp, dx, dstate = directions(net, y.shape[:2] + x.shape[2:], state, count, random)
    dy, dfinal = net.jvp(tape, dp, dx, dstate if state else None)
    u, v = random.standard_normal(y.shape), [random.standard_normal(part.shape) for part in flat_of(final)]
    back = net.backward(tape, u, nested(final, v) if state else None)
    worst = 0
    for k in range(count):
        ahead = [u * dy[k], *(a * b[k] for a, b in zip(v, flat_of(dfinal)))]
        behind = [
            back.params.flat * dp[k],
            back.x * dx[k],
            *(a * b[k] for a, b in zip(flat_of(back.state), flat_of(dstate))),
        ]
        error = abs(sum(term.sum() for term in ahead) - sum(term.sum() for term in behind))
        worst = max(worst, error / sum(np.abs(term).sum() for term in ahead))
    return worst


@pytest.mark.parametrize("kind", LAYERS)
def test_tangents_are_the_adjoint_of_backward(kind):
    @given(st.sampled_from(["number", "mask", "each"]), st.sampled_from(["equal", "lengths", "reset"]), st.integers(0, 99))
    def check(forcing, way, seed):
        lengths, reset = drawn(seed)
        net, x = network(kind, seed=seed), numbers((6, 4, 3), seed)
        options = {"feedback": nr.Feedback(strengths(forcing, (6, 4, 2), seed), every=seed % 4 or None)}
        options |= {} if way == "equal" else {"lengths": lengths, "reset": reset if way == "reset" else None}
        assert identity_error(net, x, options, begin(net, 4), 1 + seed % 3, seed) < 1e-12

    check()


def test_one_sequence_and_all_that_is_given():
    for steps, batch, forcing in ((600, 1, 0.5), (5, 2, 1.0), (1, 3, 0.0)):
        net = network("lstm")
        assert identity_error(net, numbers((steps, batch, 3)), {"feedback": nr.Feedback(forcing)}, begin(net, batch)) < 1e-12


def test_other_layouts_dropout_and_ragged():
    layers = [nr.GRU(4, layers=2, dropout=0.3, zoneout=0.2), nr.Dropout(0.4), nr.Dense(2)]
    net = nr.Network(layers, channels=3, dtype="float64", layout="ntc", seed=1)
    random, feedback = np.random.default_rng(0), nr.Feedback(0.3)
    x, lengths = random.standard_normal((4, 6, 3)), np.array([3, 6, 0, 5])
    y, _, tape = net.forward(x, lengths=lengths, seed=3, feedback=feedback)
    way, u = random.standard_normal(x.shape), random.standard_normal(y.shape)
    dy, _ = net.jvp(tape, dx=way)
    np.testing.assert_allclose((u * dy).sum(), (net.backward(tape, u).x * way).sum(), rtol=1e-11)
    net = network()
    _, _, tape = net.forward(numbers((6, 4, 3)), lengths=lengths, feedback=feedback)
    _, _, other = net.forward(packed(numbers((6, 4, 3)), lengths), feedback=feedback)
    way = numbers((6, 4, 3), 1)
    one, two = net.jvp(tape, dx=way)[0], net.jvp(other, dx=packed(way, lengths))[0]
    assert same_bits(packed(one, lengths).data, two.data)


def test_the_same_tangents_from_any_number_of_threads_and_beside_others():
    net, x, random = network("stacked"), numbers((8, 7, 3)), np.random.default_rng(0)
    options, found = {"feedback": nr.Feedback(strengths("each", (8, 7, 2))), "lengths": [3, 8, 0, 5, 5, 7, 1]}, {}
    dp, dx = random.standard_normal((3, len(net.params))), random.standard_normal((3, *x.shape))
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        _, _, tape = net.forward(x, **options)
        found[threads] = net.jvp(tape, dp, dx)
        alone = net.jvp(tape, dp[1], dx[1])
        assert same_bits(found[threads][0][1].copy(), alone[0].copy())
    one, other = (found[threads] for threads in (1, max(found)))
    assert same_bits(one[0], other[0]) and all(map(same_bits, flat_of(one[1]), flat_of(other[1])))


def ordinary(ways, tapes, fed=None, dx=None):
    """A mutant of `moved_by`: the next input does not move with the output."""
    return MOVED(ways, tapes, None, dx)


def before_forcing(self, dy, given):
    """A mutant of `FedTangents.run`: what is given moves the input as if all of it were."""
    kept, self._fed._forcing = self._fed._forcing, np.ones_like(self._fed._forcing)
    RUN(self, dy, given)
    self._fed._forcing = kept


MOVED, RUN = derivatives.moved_by, FedTangents.run


@pytest.mark.parametrize("place, name, mutant", [
    (derivatives, "moved_by", ordinary),
    (FedTangents, "run", before_forcing),
])  # fmt: skip
def test_the_identity_catches_mutants(place, name, mutant, monkeypatch):
    monkeypatch.setattr(place, name, mutant)
    net = network()
    assert identity_error(net, numbers((5, 2, 3)), {"feedback": nr.Feedback(0.4)}, begin(net, 2)) > 1e-3


@pytest.mark.parametrize("kind", ["gru", "lstm", "projected", "normalized", "without a state"])
@pytest.mark.parametrize("lengths", [None, (3, 6, 0, 5)])
def test_second_derivatives_and_jacobians(kind, lengths):
    net, x, y = network(kind, channels=2), numbers((6, 4, 2)), numbers((6, 4, 2), 1)
    options = {"feedback": nr.Feedback(strengths("each", (6, 4, 2))), "lengths": lengths}
    flat, random, step = net.params.flat.copy(), np.random.default_rng(0), 1e-5
    vector = random.standard_normal(len(flat))
    ahead, behind = (net.loss_and_gradient(flat + s * vector, x, y, **options)[1] for s in (step, -step))
    difference, found = (ahead - behind) / (2 * step), net.hvp(flat, x, y, vector, **options)
    # a third derivative times step^2 / 6, and rounding of 1e-16 / step, both of what vector's length makes of them
    np.testing.assert_allclose(found, difference, rtol=1e-6, atol=1e-6 * np.abs(difference).max())
    other = random.standard_normal(len(flat))
    np.testing.assert_allclose(found @ other, net.hvp(flat, x, y, other, **options) @ vector, rtol=1e-9, atol=1e-11)
    jacobian = net.jacobian(flat, x, **options)
    _, _, tape = net.forward(x, **options)
    np.testing.assert_allclose(jacobian @ vector, net.jvp(tape, dp=vector)[0], rtol=1e-10, atol=1e-11)
    rows, count = jacobian.reshape(y.size, -1), 2 * sum(lengths) if lengths else y.size
    product = net.gauss_newton_product(flat, x, y, vector, **options)
    np.testing.assert_allclose(product, 2 / count * rows.T @ (rows @ vector), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("lengths", [None, (3, 6, 1, 5)])
def test_gradients_of_samples(lengths):
    """Each is the gradient of its sample alone."""
    net, x, y = network(channels=2), numbers((6, 4, 2)), numbers((6, 4, 2), 1)
    forcing, flat = strengths("each", (6, 4, 2)), net.params.flat
    found = net.sample_gradients(flat, x, y, lengths=lengths, feedback=nr.Feedback(forcing))
    for n, length in enumerate(lengths or (6,) * 4):
        some = (slice(length), slice(n, n + 1))
        alone = net.loss_and_gradient(flat, x[some], y[some], feedback=nr.Feedback(forcing[some].copy()))[1]
        np.testing.assert_allclose(found[n], alone, rtol=1e-10, atol=1e-13)
