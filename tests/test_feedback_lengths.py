"""Outputs that are fed back in sequences of different lengths, and after resets."""

import numba
import numpy as np
import pytest
from checks import check_function, flat_of, same_bits
from hypothesis import given
from hypothesis import strategies as st
from test_feedback import LAYERS, begin, in_a_loop, network, numbers, strengths

import numbarnn as nr
from numbarnn.cpu.feedback_adjoint import StepsBack

LENGTHS = (3, 6, 0, 5, 1)


def drawn(seed, steps=6, batch=4):
    """(lengths, reset) of some sequences."""
    random = np.random.default_rng(seed)
    lengths, reset = random.integers(0, steps + 1, batch), random.random((steps, batch)) < 0.3
    lengths[random.integers(batch)] = steps
    return lengths, reset


def runs_of(lengths, reset):
    """(sequence, first step, end) of each run."""
    for n, length in enumerate(lengths):
        cuts = [] if reset is None else [t for t in range(1, length) if reset[t, n]]
        for first, end in zip([0, *cuts], [*cuts, length]):
            if end > first:
                yield n, first, end


def packed(array, lengths):
    """The steps that there are of a padded array, (T, N, C), as a Ragged."""
    data = [array[:length, n] for n, length in enumerate(lengths)]
    return nr.Ragged(np.ascontiguousarray(np.concatenate(data)), np.concatenate([[0], np.cumsum(lengths)]))


def with_nan(array, lengths):
    """A copy with NaN behind the ends: it is not read."""
    array = array.copy()
    for n, length in enumerate(lengths):
        array[length:, n] = np.nan
    return array


@pytest.mark.parametrize("kind", LAYERS)
def test_each_run_is_a_loop_of_steps_to_the_bit(kind):
    @given(st.sampled_from(["number", "steps", "mask", "each"]), st.integers(0, 3), st.booleans(), st.integers(0, 99))
    def check(forcing, every, resets, seed):
        lengths, reset = drawn(seed)
        reset = reset if resets else None
        net, x = network(kind), with_nan(numbers((6, 4, 3), seed), lengths)
        feedback = nr.Feedback(strengths(forcing, (6, 4, 2), seed), every=every or None)
        y, final = net(x, lengths=lengths, reset=reset, feedback=feedback)
        kept, last, _ = net.forward(x, lengths=lengths, reset=reset, feedback=feedback)
        assert same_bits(y.copy(), kept.copy()) and all(map(same_bits, flat_of(final), flat_of(last)))
        a = np.broadcast_to(
            feedback.forcing.reshape(*feedback.forcing.shape, *(1,) * (3 - feedback.forcing.ndim)), (6, 4, 2)
        )
        ends, seen = {}, np.zeros(y.shape, bool)
        for n, first, end in runs_of(lengths, reset):
            own = nr.Feedback(a[first:end, n : n + 1].copy(), every=every or None)
            expected, ends[n] = in_a_loop(net, x[first:end, n : n + 1], own)
            assert same_bits(y[first:end, n : n + 1].copy(), expected)
            seen[first:end, n] = True
        assert not y[~seen].any()
        for n, state in ends.items():
            for whole, part in zip(flat_of(final), flat_of(state)):
                assert same_bits(whole[:, n : n + 1].copy(), part)

    check()


def in_numpy(net, x, a):
    """The outputs of one sequence, of a GRU and a Dense layer, from the equations, step by step."""
    w, u = net.params["0.weight_ih_l0"], net.params["0.weight_hh_l0"]
    b, c = net.params["0.bias_ih_l0"], net.params["0.bias_hh_l0"]
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    h, outputs = np.zeros(u.shape[1]), []
    for t, given_ in enumerate(x):
        read = given_.copy()
        if t:
            read[:2] = a[t] * given_[:2] + (1 - a[t]) * outputs[-1]
        (r, z, n), (s, v, m) = np.split(w @ read + b, 3), np.split(u @ h + c, 3)
        r, z = sigmoid(r + s), sigmoid(z + v)
        h = (1 - z) * np.tanh(n + r * m) + z * h
        outputs.append(net.params["1.weight"] @ h + net.params["1.bias"])
    return np.array(outputs)


def test_it_is_the_equations_in_numpy():
    net, x, a = network(), numbers((6, 5, 3)), strengths("each", (6, 5, 2))
    reset = np.zeros((6, 5), bool)
    reset[2, 1] = reset[5, 1] = reset[4, 3] = True
    y, _ = net(x, lengths=LENGTHS, reset=reset, feedback=nr.Feedback(a))
    for n, first, end in runs_of(LENGTHS, reset):
        np.testing.assert_allclose(y[first:end, n], in_numpy(net, x[first:end, n], a[first:end, n]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_gradient_is_that_of_finite_differences(kind):
    @given(st.sampled_from(["number", "mask", "each"]), st.sampled_from(["padded", "reset", "ragged"]), st.integers(0, 99))
    def check(forcing, way, seed):
        lengths, reset = drawn(seed)
        net, x = network(kind, seed=seed), numbers((6, 4, 3), seed)
        options = {"feedback": nr.Feedback(strengths(forcing, (6, 4, 2), seed), every=seed % 4 or None)}
        if way == "ragged":
            x = packed(x, lengths)
        else:
            options |= {"lengths": lengths, "reset": reset if way == "reset" else None}
        check_function(net, x, options, begin(net, 4), seed)

    check()


@pytest.mark.parametrize("kind", ["gru", "projected", "normalized"])
def test_gradients_are_summed_over_chunks_of_steps(kind, monkeypatch):
    monkeypatch.setattr("numbarnn.cpu.sizes.BACKWARD_ROWS", 6)
    net, x, feedback = network(kind), numbers((6, 5, 3)), nr.Feedback(strengths("each", (6, 5, 2)))
    check_function(net, x, {"feedback": feedback, "lengths": LENGTHS}, begin(net, 5))


@pytest.mark.parametrize("layout", ["ntc", "cnt"])
def test_other_layouts_and_dropout(layout):
    layers = [nr.GRU(4, layers=2, dropout=0.3, zoneout=0.2, input_dropout=0.2), nr.Dropout(0.4), nr.Dense(2)]
    net = nr.Network(layers, channels=3, dtype="float64", layout=layout, seed=1)
    x = np.ascontiguousarray(numbers((6, 3, 3)).transpose(["tnc".index(letter) for letter in layout]))
    options = {"feedback": nr.Feedback(strengths("each", (6, 3, 2))), "lengths": [4, 6, 2], "seed": 11}
    check_function(net, x, options, begin(net, 3))


def backward_of(net, x, dy, feedback, lengths=None):
    """All that forward and backward give."""
    y, final, tape = net.forward(x, lengths=lengths, feedback=feedback)
    found = net.backward(tape, dy)
    return y, flat_of(final), found.x, flat_of(found.state), found.params.flat


@pytest.mark.parametrize("kind", ["gru", "stacked", "normalized"])
def test_ragged_and_padded_give_the_same_bits_in_any_order_from_any_number_of_threads(kind):
    net, lengths = network(kind), np.array([3, 7, 1, 5, 2, 8, 6])
    x, dy, a = with_nan(numbers((8, 7, 3)), lengths), numbers((8, 7, 2), 1), strengths("each", (8, 7, 2))
    feedback, found = nr.Feedback(a), {}
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        found["padded", threads] = backward_of(net, x, dy, feedback, lengths)
        found["ragged", threads] = backward_of(net, packed(x, lengths), packed(dy, lengths), feedback)
    y, final, dx, dstate, gradient = found["padded", 1]
    for (way, _), other in found.items():
        assert same_bits(gradient, other[4])
        assert all(map(same_bits, (*final, *dstate), (*other[1], *other[3])))
        own = (y, dx) if way == "padded" else (packed(y, lengths).data, packed(dx, lengths).data)
        for one, two in zip(own, (other[0], other[2])):
            assert same_bits(one.copy(), (two.data if way == "ragged" else two).copy())
    order = np.array([4, 0, 6, 2, 5, 1, 3])
    moved = backward_of(net, x[:, order], dy[:, order], nr.Feedback(a[:, order]), lengths[order])
    assert same_bits(moved[4], gradient)  # no two are as long, so that sums have the same order
    assert same_bits(moved[0].copy(), y[:, order].copy()) and same_bits(moved[2].copy(), dx[:, order].copy())
    assert all(same_bits(b.copy(), a[:, order].copy()) for a, b in zip((*final, *dstate), (*moved[1], *moved[3])))


@pytest.mark.parametrize("kind", LAYERS)
def test_all_given_is_the_ordinary_pass_and_nothing_given_the_free_run(kind):
    net, x, dy = network(kind), numbers((6, 5, 3)), numbers((6, 5, 2), 1)
    y, final, tape = net.forward(x, lengths=LENGTHS)
    same, last, fed = net.forward(x, lengths=LENGTHS, feedback=nr.Feedback(1.0))
    assert same_bits(y.copy(), same.copy()) and all(map(same_bits, flat_of(final), flat_of(last)))
    expected, found = net.backward(tape, dy), net.backward(fed, dy)
    assert same_bits(expected.params.flat, found.params.flat) and same_bits(expected.x.copy(), found.x.copy())
    free, _ = net(x, lengths=LENGTHS, feedback=nr.Feedback())
    for n, length in enumerate(LENGTHS):
        if length:
            known = np.concatenate([x[1:length, n : n + 1, 2:], x[:1, n : n + 1, 2:]])
            run = net.stream(1).feed_back(x[0, n : n + 1], length, known)
            assert same_bits(free[:length, n : n + 1].copy(), run)


def a_row_before(self, kind, **values):
    """A mutant of `StepsBack.made`: the derivative of the input of another sequence."""
    values["dx"] -= values["channels"] * self.dtype.itemsize
    return MADE(self, kind, **values)


MADE = StepsBack.made


def test_the_check_of_the_gradient_catches_a_mutant(monkeypatch):
    monkeypatch.setattr(StepsBack, "made", a_row_before)
    net = network()
    with pytest.raises(AssertionError, match="times the error allowed"):
        check_function(net, numbers((6, 5, 3)), {"feedback": nr.Feedback(0.4), "lengths": LENGTHS}, begin(net, 5))


def test_losses_predictions_and_training_of_ragged_and_padded_are_the_same():
    x, y, feedback = numbers((6, 5, 2)), numbers((6, 5, 2), 1), nr.Feedback(strengths("mask", (6, 5, 2)), every=3)
    x, y = with_nan(x, LENGTHS), np.nan_to_num(with_nan(y, LENGTHS))
    ragged, targets = packed(x, LENGTHS), packed(y, LENGTHS)
    net = network(channels=2)
    flat = net.params.flat.copy()
    padded = net.loss_and_gradient(flat, x, y, lengths=LENGTHS, feedback=feedback)
    other = net.loss_and_gradient(flat, ragged, targets, feedback=feedback)
    assert padded[0] == other[0] and same_bits(padded[1], other[1])
    prediction, _ = net(x, lengths=LENGTHS, feedback=feedback)
    there = np.arange(6)[:, None] < np.array(LENGTHS)
    np.testing.assert_allclose(padded[0], ((prediction - y)[there] ** 2).mean(), rtol=1e-12)
    assert net.loss(ragged, targets, feedback=feedback) == padded[0]
    assert net.evaluate(x, y, lengths=LENGTHS, feedback=feedback)["loss"] == padded[0]
    assert same_bits(net.predict(x, lengths=LENGTHS, feedback=feedback).copy(), prediction.copy())
    assert same_bits(net.predict(ragged, feedback=feedback).data, packed(prediction, LENGTHS).data)
    networks = network(channels=2), network(channels=2)
    options = {"feedback": feedback, "epochs": 3, "batch_size": 2, "progress": False, "optimizer": nr.SGD(0.1)}
    one = networks[0].fit(x, y, lengths=LENGTHS, **options)
    two = networks[1].fit(ragged, targets, **options)
    assert same_bits(networks[0].params.flat, networks[1].params.flat) and list(one.loss) == list(two.loss)
    assert not same_bits(networks[0].params.flat, flat)


def test_resets_in_a_training_are_sequences_of_their_own():
    x, y, reset = numbers((6, 2, 2)), numbers((6, 2, 2), 1), np.zeros((6, 2), bool)
    reset[4, 0] = reset[1, 1] = True
    net, feedback = network(channels=2), nr.Feedback(0.3, every=3)
    flat, runs = net.params.flat.copy(), list(runs_of((6, 6), reset))
    value, gradient = net.loss_and_gradient(flat, x, y, reset=reset, feedback=feedback)
    apart = [
        nr.Ragged(np.concatenate([array[first:end, n] for n, first, end in runs]),
                  np.concatenate([[0], np.cumsum([end - first for _, first, end in runs])]))
        for array in (x, y)
    ]  # fmt: skip
    expected = net.loss_and_gradient(flat, *apart, feedback=feedback)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-10, atol=1e-13)


def test_missing_numbers_in_ragged_sequences():
    net, x = network(), with_nan(numbers((6, 5, 3)), LENGTHS)
    there = np.random.default_rng(0).random((6, 5, 2)) < 0.5
    there[0] = True
    holes = x.copy()
    holes[..., :2][~there] = np.nan
    y, _ = net(holes, lengths=LENGTHS, feedback=nr.Feedback(1.0, missing=True))
    assert same_bits(y.copy(), net(x, lengths=LENGTHS, feedback=nr.Feedback(there))[0].copy())
    assert same_bits(net(packed(holes, LENGTHS), feedback=nr.Feedback(1.0, missing=True))[0].data, packed(y, LENGTHS).data)
    holes[4, 3, 2] = np.nan
    with pytest.raises(nr.NonFiniteError, match="got nan at step 4, sequence 3, channel 2"):
        net(packed(holes, LENGTHS), feedback=nr.Feedback(1.0, missing=True))


def test_no_step_and_no_sequence_with_one():
    net = network()
    assert net(np.zeros((0, 2, 3)), feedback=nr.Feedback())[0].shape == (0, 2, 2)
    for forcing in (0.0, np.zeros(4), np.zeros((4, 2)), np.zeros((4, 2, 2))):
        y, _, tape = net.forward(numbers((4, 2, 3)), lengths=[0, 0], feedback=nr.Feedback(forcing))
        assert not y.any() and not net.backward(tape, np.ones((4, 2, 2))).params.flat.any()


def test_one_sequence_of_layers_without_a_state():
    """The outputs are fed back, so x (T, C) is one sequence: its loss equals the loss of (T, 1, C)."""
    net = nr.Network([nr.Dense(2, "tanh")], channels=3, dtype="float64", seed=0)
    x, y, feedback = numbers((6, 1, 3)), numbers((6, 1, 2), 1), nr.Feedback(np.linspace(0, 1, 6))
    assert net.loss(x[:, 0], y[:, 0], feedback=feedback) == net.loss(x, y, feedback=feedback) != net.loss(x, y)
