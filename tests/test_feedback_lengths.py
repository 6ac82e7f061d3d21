"""Outputs that are fed back in sequences of different lengths, after resets, and from piece to piece of a training."""

import numba
import numpy as np
import pytest
from checks import check_function, flat_of, same_bits
from hypothesis import given
from hypothesis import strategies as st
from test_feedback import LAYERS, begin, in_a_loop, network, numbers, strengths

import numbarnn as nr
from numbarnn.cpu.feedback_adjoint import StepsBack
from numbarnn.layers.fed import Fed
from numbarnn.networks.function import Function
from numbarnn.training.workspace import Workspace

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
    monkeypatch.setattr("numbarnn.cpu.plans.BACKWARD_ROWS", 6)
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


@pytest.mark.parametrize("lengths", [None, (7, 3, 6)])
def test_a_training_in_pieces_goes_on_with_the_last_output(lengths):
    x, y, a = numbers((7, 3, 2)), numbers((7, 3, 2), 1), strengths("each", (7, 3, 2))
    net, own = network("lstm", channels=2), network("lstm", channels=2)
    ends = np.full(3, 7) if lengths is None else np.array(lengths)
    net.fit(
        x, y, lengths=lengths, feedback=nr.Feedback(a), carry=True, steps=3, shuffle=False, epochs=1, batch_size=3,
        optimizer=nr.SGD(0.1), progress=False,
    )  # fmt: skip
    trainer, state, before = nr.Trainer(own, optimizer=nr.SGD(0.1)), None, None
    for first in (0, 3, 6):
        piece, strength = x[first : first + 3].copy(), a[first : first + 3].copy()
        if first:  # what is read at the first step is a constant: no derivative goes back over the cut
            piece[0] = np.where(strength[0] == 1, piece[0], strength[0] * piece[0] + (1 - strength[0]) * before)
        steps = np.clip(ends - first, 0, len(piece))
        options = {"feedback": nr.Feedback(strength), "lengths": None if lengths is None else steps}
        outputs, _ = own(piece, state, **options)
        before = outputs[-1].copy() if lengths is None else outputs[steps - 1, np.arange(3)].copy()
        _, state = trainer.update(piece, y[first : first + 3], state=state, **options)
    if lengths is None:
        assert same_bits(net.params.flat, own.params.flat)
    else:  # a mean over the steps of a piece; sums over others than those that have ended
        np.testing.assert_allclose(net.params.flat, own.params.flat, rtol=1e-12, atol=1e-14)


def test_the_output_that_is_lost_at_a_cut_is_noticed(monkeypatch):
    x, y, options = numbers((6, 2, 2)), numbers((6, 2, 2), 1), {"carry": True, "steps": 2, "progress": False, "epochs": 1}
    one, other = network(channels=2), network(channels=2)
    one.fit(x, y, feedback=nr.Feedback(), **options)
    final = Workspace.final
    monkeypatch.setattr(Workspace, "final", lambda self: {k: v for k, v in final(self).items() if k != "fed"})
    other.fit(x, y, feedback=nr.Feedback(), **options)
    assert not same_bits(one.params.flat, other.params.flat)


@pytest.mark.parametrize("lengths", [None, (9, 6, 4)])
@pytest.mark.parametrize("kind", ["number", "steps", "mask", "each"])
def test_the_last_steps_are_held_out(kind, lengths):
    """They are sequences of their own, with strengths of their own: given at the first step, and `every` counts from it."""
    x, y = numbers((9, 3, 2)), numbers((9, 3, 2), 1)
    a = np.asarray(strengths(kind, (9, 3, 2)))
    x[1, 1, 0] = np.nan  # filled by what is fed
    own = np.broadcast_to(a.reshape(*a.shape, *(1,) * (3 - a.ndim)), x.shape)
    ends = np.array(lengths or (9,) * 3)
    cuts = ends - np.round(ends * 0.4).astype(int)
    left, held = np.zeros((2, *x.shape)), [np.zeros((4, 3, 2)) for _ in range(3)]
    for n, (cut, end) in enumerate(zip(cuts, ends)):
        for to, source in zip(held, (x, y, own)):
            to[: end - cut, n] = source[cut:end, n]
        left[0, :cut, n], left[1, :cut, n] = x[:cut, n], y[:cut, n]
    ways = {"epochs": 2, "progress": False, "optimizer": nr.SGD(0.1), "batch_size": 2, "shuffle": False}
    split, apart = network(channels=2), network(channels=2)
    found = split.fit(
        x, y, feedback=nr.Feedback(a, every=3, missing=True), lengths=lengths, validation_split=0.4, split_by="time", **ways
    )
    most = cuts.max()
    expected = apart.fit(
        left[0, :most], left[1, :most], feedback=nr.Feedback(own[:most].copy(), every=3, missing=True),
        lengths=None if lengths is None else cuts, **ways,
    )  # fmt: skip
    assert found.loss == expected.loss and same_bits(split.params.flat, apart.params.flat)
    fed = nr.Feedback(held[2], every=3, missing=True)
    lengths = None if lengths is None else ends - cuts
    assert split.loss(held[0], held[1], lengths=lengths, feedback=fed) == found.validation[-1]
    ragged = [packed(each, ends) for each in (x, y)]
    again = network(channels=2).fit(
        *ragged, feedback=nr.Feedback(a, every=3, missing=True), validation_split=0.4, split_by="time", **ways
    )
    np.testing.assert_allclose(again.validation, found.validation, rtol=1e-12)


def test_the_first_step_that_is_held_out_must_have_been_observed():
    net, x, y = network(channels=2), numbers((10, 1, 2)), numbers((10, 1, 2), 1)
    x[6, 0, 1], flat = np.nan, net.params.flat.copy()
    message = "^validation x: .*got nan at step 0, sequence 0, channel 1.*but at the first step"
    with pytest.raises(nr.NonFiniteError, match=message):
        net.fit(x, y, feedback=nr.Feedback(missing=True), validation_split=0.4, split_by="time", progress=False)
    assert same_bits(net.params.flat, flat)


class Stop(nr.Callback):
    """Ends a training in its second update, as Ctrl-C does; goes before what saves it."""

    updates = 0

    def batch(self, network, loss):
        self.updates += 1
        if self.updates == 2:
            raise KeyboardInterrupt


def test_a_training_in_pieces_is_resumed_to_the_bit(tmp_path):
    x, y = numbers((7, 3, 2)), numbers((7, 3, 2), 1)
    options = {"carry": True, "steps": 2, "feedback": nr.Feedback(0.2), "batch_size": 3, "progress": False}
    whole = nr.Trainer(network("lstm", channels=2))
    whole.fit(x, y, epochs=2, **options)
    with pytest.raises(KeyboardInterrupt):
        nr.Trainer(network("lstm", channels=2)).fit(
            x, y, epochs=2, callbacks=[Stop(), nr.Checkpoint(tmp_path, 1, "update")], **options
        )
    resumed = nr.Trainer.load(tmp_path)
    assert resumed.fit(x, y, **options).loss == whole.history.loss
    assert same_bits(resumed.network.params.flat, whole.network.params.flat)


@pytest.mark.parametrize("kind", ["gru", "lstm", "without a state"])
def test_long_sequences_are_predicted_in_pieces(kind, monkeypatch):
    net, x, y = network(kind, channels=2), numbers((9, 1, 2)), numbers((9, 1, 2), 1)
    feedback = nr.Feedback(strengths("each", (9, 1, 2)), every=4)
    whole, loss = net.predict(x, feedback=feedback).copy(), net.loss(x, y, feedback=feedback)
    monkeypatch.setattr(Function, "_piece_rows", 4)
    calls, fill = [], Fed.fill
    monkeypatch.setattr(Fed, "fill", lambda self, *arguments: calls.append(1) or fill(self, *arguments))
    assert same_bits(net.predict(x, feedback=feedback).copy(), whole) and len(calls) == 3
    assert same_bits(net.predict(x[:, 0], feedback=nr.Feedback(feedback.forcing, every=4)).copy(), whole[:, 0].copy())
    assert net.loss(x, y, feedback=feedback) == pytest.approx(loss, rel=1e-14)


def test_many_sequences_are_predicted_some_at_a_time(monkeypatch):
    net, x, feedback = network(), numbers((6, 5, 3)), nr.Feedback(strengths("each", (6, 5, 2)))
    first = nr.Feedback(strengths("steps", (6, 5, 2)))
    reset = np.random.default_rng(0).random((6, 5)) < 0.3
    ways = [
        lambda: net.predict(x, feedback=feedback),
        lambda: net.predict(x, LENGTHS, reset, feedback=feedback),
        lambda: net.predict(packed(x, LENGTHS), feedback=first).data,
    ]
    whole = [way().copy() for way in ways]
    monkeypatch.setattr(Function, "_piece_rows", 8)
    assert all(same_bits(way().copy(), expected) for way, expected in zip(ways, whole))
    with pytest.raises(nr.ShapeError, match=r"feedback: expected forcing of shape \(6, 5\) \(T, N\), got \(6, 4\)"):
        net.predict(x, feedback=nr.Feedback(np.zeros((6, 4))))
    assert net.predict(x[:, :0], feedback=nr.Feedback()).shape == (6, 0, 2)


def test_no_step_and_no_sequence_with_one():
    net = network()
    assert net(np.zeros((0, 2, 3)), feedback=nr.Feedback())[0].shape == (0, 2, 2)
    for forcing in (0.0, np.zeros(4), np.zeros((4, 2)), np.zeros((4, 2, 2))):
        y, _, tape = net.forward(numbers((4, 2, 3)), lengths=[0, 0], feedback=nr.Feedback(forcing))
        assert not y.any() and not net.backward(tape, np.ones((4, 2, 2))).params.flat.any()


def test_one_sequence_of_layers_without_a_state():
    """Its steps belong together, as the outputs are fed: the loss of (T, C) is that of (T, 1, C)."""
    net = nr.Network([nr.Dense(2, "tanh")], channels=3, dtype="float64", seed=0)
    x, y, feedback = numbers((6, 1, 3)), numbers((6, 1, 2), 1), nr.Feedback(np.linspace(0, 1, 6))
    assert net.loss(x[:, 0], y[:, 0], feedback=feedback) == net.loss(x, y, feedback=feedback) != net.loss(x, y)


def test_layers_whose_states_decay():
    """One layer is fed: its outputs are values, the spans are given; several are not."""
    net = nr.Network([nr.GRU(3, decay=True), nr.Dense(2)], channels=3, dtype="float64", seed=0)
    x = np.abs(numbers((5, 2, 3)))
    y, _ = net(x, feedback=nr.Feedback())
    own = x.copy()
    for t in range(1, 5):
        own[t, :, :2] = net(own[:t])[0][-1]
    np.testing.assert_allclose(y, net(own)[0], rtol=1e-12)
    stacked = nr.Network([nr.GRU(3, layers=2, decay=True), nr.Dense(2)], channels=3, seed=0)
    with pytest.raises(ValueError, match="feedback.*not in several stacked ones"):
        stacked(x, feedback=nr.Feedback())
    wide = nr.Network([nr.GRU(3, decay=True), nr.Dense(3)], channels=3, seed=0)
    with pytest.raises(
        nr.ShapeError, match="feedback: expected outputs of at most 2 channels.*without masks and spans, got 3"
    ):
        wide(x, feedback=nr.Feedback())
