"""States that decay with the time between steps: NumPy, finite differences, and spans of 1, which change no bit."""

import functools

import numpy as np
import oracles
import pytest
from checks import as_tuple, assert_near, check_gradients, same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import random_case

import numbarnn as nr
from numbarnn.arrays.rows import like
from numbarnn.layers import spans
from numbarnn.layers.operations import in_rows

KINDS = {
    "rnn": nr.RNN,
    "gru": nr.GRU,
    "lstm": nr.LSTM,
    "peepholes": functools.partial(nr.LSTM, peepholes=True),
    "leaky": functools.partial(nr.LeakyRNN, rate=0.3),
}


def case_of(kind, hidden, steps=5, batch=3, channels=3, seed=0, **options):
    """A case whose last channel are spans from 0.2 to 3; two units in three decay."""
    options = {"with_state": options.pop("with_state", True)}, options
    case = random_case(KINDS[kind](hidden, decay=True, **options[1]), steps, batch, channels, seed=seed, **options[0])
    random = np.random.default_rng(seed)
    spans = random.uniform(0.2, 2.8, (steps, batch))
    case.x[..., -1] = np.where(spans < 0.9, spans, spans + 0.2)  # clear of 1, where a decay begins
    case.parameters["decay_l0"][...] = random.uniform(0.1, 0.9, hidden) * np.where(np.arange(hidden) % 3 < 2, 1, -1)
    return case


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients(kind):
    found = 0
    for hidden, seed in ((2, 0), (9, 1), (17, 2)):
        case = case_of(kind, hidden, seed=seed)
        y, state, _ = case.forward()
        expected, final = oracles.run(case.layer, dict(case.parameters.items()), case.x, case.state)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)
        for one, other in zip(as_tuple(state), as_tuple(final)):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)
        found += check_gradients(case)
    assert found >= 6


@given(st.data())
def test_gradients_of_a_gru(data):
    steps, batch, channels, hidden = (
        data.draw(st.integers(low, most), n) for n, low, most in zip("TNCH", (1, 1, 2, 1), (5, 3, 4, 9))
    )
    seed = data.draw(st.integers(0, 99), "seed")
    learned, masked = data.draw(st.booleans(), "learned"), data.draw(st.booleans(), "masked")
    options = {"recurrent_dropout": 0.3, "zoneout": 0.2} if masked else {}
    case = case_of("gru", hidden, steps, batch, channels, seed, learned_state=learned, with_state=not learned, **options)
    p, lengths = case.parameters, np.random.default_rng(seed).integers(0, steps + 1, batch)
    masks = case.layer.draw(steps, batch, channels, seed, "float64") if masked else None
    nr.testing.check_gradients(case.layer, p, case.x, case.state, lengths=lengths, masks=masks)


STACKS = {
    "stacked": {"layers": 3},
    "two directions": {"bidirectional": True},
    "both": {"layers": 2, "bidirectional": True},
    "merged": {"layers": 2, "bidirectional": True, "merge": "product", "dropout": 0.3},
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_stacked_layers_and_two_directions(kind, stack):
    """NumPy's values and finite differences, of padded batches, with resets, and of a Ragged."""
    random = np.random.default_rng(0)
    case = case_of(kind, 3, batch=4, seed=1, **STACKS[stack])
    layer, p, x, state = case.layer, case.parameters, case.x, case.state
    for name, view in p.items():
        if name.startswith("decay"):
            view[...] = random.uniform(0.1, 0.9, 3) * [1, 1, -1]
    lengths, reset = np.array([5, 2, 0, 4]), random.random((5, 4)) < 0.3
    for options in ({}, {"lengths": lengths}, {"lengths": lengths, "reset": reset}):
        y, found = layer(p, x, state, **options)
        expected, final = oracles.run(layer, dict(p.items()), x, state, **options)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)
        for one, other in zip(as_tuple(found), as_tuple(final)):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)
        nr.testing.check_gradients(layer, p, x, state, **options)
        _, _, tape = layer.forward(p, x, state, **options)
        dp, dx, dy = (random.standard_normal(shape) for shape in (len(p), x.shape, y.shape))
        back = layer.backward(tape, dy)
        dx[np.arange(5)[:, None] >= options.get("lengths", np.full(4, 5))] = 0
        forward, backward = (dy * layer.jvp(tape, dp, dx)[0]).sum(), back.params.flat @ dp + (back.x * dx).sum()
        np.testing.assert_allclose(forward, backward, rtol=0, atol=1e-12)
    ragged = nr.Ragged.of([x[:count, i] for i, count in enumerate(lengths)])
    padded, _ = layer(p, x, state, lengths=lengths)
    for i, one in enumerate(layer(p, ragged, state)[0]):
        assert same_bits(one, padded[: lengths[i], i].copy())
    if "dropout" in STACKS[stack]:
        masks = layer.draw(5, 4, 3, 0, "float64")
        nr.testing.check_gradients(layer, p, x, state, lengths=lengths, masks=masks)


def test_finite_differences_see_spans_that_are_lost(monkeypatch):
    """The derivatives of spans go back to x from an upper layer and from the reverse direction; lose each in turn."""
    case = case_of("gru", 2, **STACKS["both"])
    call = case.layer, case.parameters, case.x, case.state
    nr.testing.check_gradients(*call)

    def without_those_of_the_reverse_direction(self, adjoint, dy, need_x):
        dx = like(self.source)
        adjoint.fills.append(lambda: np.copyto(in_rows(dx), in_rows(dy)[:, :-1]))
        return dx

    mutants = {
        (spans.BesideAdjoint, "fill"): lambda self: None,
        (spans.SpansBack, "backward"): without_those_of_the_reverse_direction,
    }
    for (owner, name), mutant in mutants.items():
        with monkeypatch.context() as change, pytest.raises(AssertionError):
            change.setattr(owner, name, mutant)
            nr.testing.check_gradients(*call)


def test_the_spans_of_the_reverse_direction_are_those_of_the_reversed_sequence():
    """From step t + 1 to step t it is as far as from t to t + 1; before the last step nothing is lost."""
    layer, one = nr.GRU(3, bidirectional=True, decay=True), nr.GRU(3, decay=True)
    p, random = layer.init(3, seed=0, dtype="float64"), np.random.default_rng(0)
    q = one.init(3, dtype="float64")
    q.update({name: p[f"{name}_reverse"] for name in q.names})
    x = random.standard_normal((6, 2, 3))
    x[..., -1] = random.uniform(1, 3, (6, 2))
    reverse = x[::-1].copy()
    reverse[1:, :, -1], reverse[0, :, -1] = x[:0:-1, :, -1], 1
    state = random.standard_normal((2, 2, 3))
    y, final = layer(p, x, state)
    expected, end = one(q, reverse, state[1:])
    assert same_bits(y[..., 3:].copy(), expected[::-1].copy()) and same_bits(final[1:].copy(), end)


@pytest.mark.parametrize("stack", ["stacked", "both"])
def test_stacks_in_networks(stack):
    """A training takes the steps of its gradient, also where a pass is a program; streams have the bits of calls."""
    layer, random = nr.GRU(3, decay=True, **STACKS[stack]), np.random.default_rng(0)
    net = nr.Network([layer, nr.Last(), nr.Dense(1)], channels=3, dtype="float64", seed=0)
    x, target, flat = random.uniform(0, 2, (5, 4, 3)), random.standard_normal((4, 1)), net.params.flat.copy()
    for _ in range(3):
        flat -= 0.1 * net.loss_and_gradient(flat, x, target)[1]
    net.fit(x, target, optimizer=nr.SGD(0.1), epochs=3, batch_size=4, shuffle=False, progress=False)
    np.testing.assert_allclose(net.params.flat, flat, rtol=0, atol=1e-14)
    if stack == "stacked":
        p = net.split(net.params.flat)[0]
        (y, state), stream = layer(p, x), layer.stream(p, 4)
        assert same_bits(stream.run(x).copy(), y.copy()) and same_bits(stream.state, state)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_spans_of_one_change_no_bit(kind, dtype):
    for hidden, batch in ((3, 4), (37, 1)):
        decayed, plain = KINDS[kind](hidden, decay=True), KINDS[kind](hidden)
        p, random = decayed.init(4, seed=0, dtype=dtype), np.random.default_rng(0)
        q = nr.Parameters(p.flat[:-hidden].copy(), plain.weights(3))
        assert p["decay_l0"].min() > 0
        x = random.standard_normal((7, batch, 3)).astype(dtype)
        with_spans = np.concatenate([x, np.ones_like(x[..., :1])], axis=2)
        (y, state, tape), (expected, final, own) = decayed.forward(p, with_spans), plain.forward(q, x)
        assert same_bits(y.copy(), expected.copy()) and same_bits(as_tuple(state), as_tuple(final))
        dy = random.standard_normal(y.shape).astype(dtype)
        found, right = decayed.backward(tape, dy), plain.backward(own, dy)
        assert_near(found.x[..., :3], right.x)  # sums over the slots of a block, of which there is one more
        assert_near(found.params.flat[:-hidden], right.params.flat)
        assert not found.params["decay_l0"].any()
        longer = with_spans.copy()
        longer[3, 0, 3] = 2
        assert not np.array_equal(decayed(p, longer)[0][3:, 0], y[3:, 0])


def test_streams_files_programs_and_forward_derivatives(tmp_path):
    case = case_of("lstm", 5, with_state=False)
    layer, p, x = case.layer, case.parameters, case.x
    y, _, tape = layer.forward(p, x)
    assert same_bits(layer.stream(p, batch=3).run(x), y.copy())
    random = np.random.default_rng(0)
    dp, dx, dy = (random.standard_normal(shape) for shape in (p.flat.shape, x.shape, y.shape))
    back = layer.backward(tape, dy)
    np.testing.assert_allclose(
        (dy * layer.jvp(tape, dp, dx)[0]).sum(), back.params.flat @ dp + (back.x * dx).sum(), rtol=1e-12
    )
    layer.save(tmp_path / "layer", p)
    again, q = nr.load(tmp_path / "layer")
    assert again == layer and same_bits(p.flat, q.flat)
    assert set(layer.gates(p, x)) == {"i", "f", "g", "o", "decay"}
    left = np.exp(-np.maximum(0, p["decay_l0"] * (x[..., -1:] - 1)))
    np.testing.assert_allclose(layer.gates(p, x)["decay"], left, rtol=0, atol=1e-15)
    net = nr.Network([nr.GRU(8, decay=True), nr.GRU(6), nr.Last(), nr.Dense(1)], channels=3, seed=0)
    target = x[..., 0].sum(axis=0)[:, None]
    history = net.fit(x, target, optimizer=nr.Adam(0.02), epochs=60, seed=0, progress=False)
    assert history.loss[-1] < history.loss[0] / 10
    with pytest.raises(nr.ConversionError, match="decay"):
        nr.interop.torch.state_dict(net)


WRONG = {
    "before": (lambda: nr.GRU(3, "before", decay=True), ["decay", "GRU"]),
    "mgu": (lambda: nr.MGU(3, decay=True), ["decay", "MGU"]),
    "diagonal": (lambda: nr.IndRNN(3, decay=True), ["decay", "IndRNN"]),
    "normalized": (lambda: nr.LSTM(3, normalized=True, decay=True), ["decay", "normalized"]),
    "projected": (lambda: nr.LSTM(3, projection=2, decay=True), ["decay", "projection"]),
    "residual": (lambda: nr.GRU(3, layers=2, residual=True, decay=True), ["residual", "decay", "True"]),
    "dropped spans": (lambda: nr.GRU(3, input_dropout=0.1, decay=True), ["input_dropout", "decay", "0.1"]),
    "connectivity": (lambda: nr.GRU(2, connectivity=nr.Connectivity(np.eye(2)), decay=True), ["connectivity", "decay"]),
    "no span": (lambda: nr.GRU(3, decay=True).init(1), ["channels", "2 or more", "span", "1"]),
    "twice": (lambda: nr.GRUD(3, decay=True), ["decay", "GRUD"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_decay_is_said(name):
    call, fragments = WRONG[name]
    with pytest.raises(ValueError) as raised:
        call()
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value


@pytest.mark.parametrize("kind", ["gru", "lstm", "grud"])
def test_the_jacobian_of_a_step(kind):
    random = np.random.default_rng(0)
    layer = nr.GRUD(4, past=True) if kind == "grud" else KINDS[kind](4, decay=True)
    p = layer.init(3, seed=0, dtype="float64")
    x = np.array([[0.4, 0.0, 2.5], [-0.3, 1.0, 1.5]])
    states = random.standard_normal((2 if kind == "lstm" else 1, 1, 2, 4))
    state = tuple(states) if kind == "lstm" else states[0]
    found = nr.dynamics.step_jacobian(layer, p, x, state)
    for j, way in enumerate(np.eye(4 * len(states))):
        moved = states + 1e-6 * np.array([way, -way]).reshape(2, len(states), 1, 1, 4)
        up, down = (layer(p, x[None], tuple(each) if kind == "lstm" else each[0])[1] for each in moved)
        slope = (np.array(as_tuple(up)) - np.array(as_tuple(down)))[:, 0] / 2e-6
        np.testing.assert_allclose(found[:, :, j], np.concatenate([*slope], axis=1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("layer", [nr.GRU(2, decay=True), nr.GRUD(2)], ids=repr)
def test_trainings_refuse_negative_spans(layer):
    net = nr.Network([layer, nr.Dense(1)], channels=3, layout="ntc", seed=0)
    x, y = np.random.default_rng(0).uniform(0, 2, (4, 5, 3)), np.zeros((4, 5, 1))
    x[1, 3:, 2] = -0.5
    x[..., 0] -= 1  # of a variable, which may be anything
    flat, lengths = net.params.flat.copy(), np.array([5, 3, 5, 0])
    ragged = [nr.Ragged.of([*array]) for array in (x, y)]
    refused = [
        lambda: net.fit(x, y, progress=False),
        lambda: net.fit(*ragged, progress=False),
        lambda: net.fit_readout(x, y),
        lambda: nr.fit_many(net, x, y, seeds=[0], progress=False),
        lambda: net.fit(np.abs(x), y, validation=(x, y), progress=False),
    ]
    for call in refused:
        with pytest.raises(ValueError, match=r"x: expected spans of 0 and more .* got -0.5 at .*3"):
            call()
    assert same_bits(net.params.flat, flat)
    net.fit(x, y, lengths=lengths, epochs=1, progress=False)  # behind a length nothing is read
    assert not same_bits(net.params.flat, flat)


@pytest.mark.parametrize("layer", [nr.GRU(2, decay=True), nr.GRUD(2)], ids=repr)
def test_trainings_of_graphs_refuse_negative_spans(layer):
    """Of spans in one of several inputs, also of one that has no steps and of a node that shares layers."""
    decayed = isinstance(layer, nr.GRU)
    random, last = np.random.default_rng(0), nr.Input(1, steps=False) if decayed else nr.Input(1)
    graph = nr.Graph(
        inputs={"a": nr.Input(2), "b": nr.Input(2), "d": last},
        nodes={
            "r": nr.Node(layer, ["a", "d"]),
            "s": nr.Node("r", ["b", "d"]),
            "y": nr.Node([nr.Last(), nr.Dense(1)], ["r", "s"]),
        },
        outputs="y",
        layout="ntc",
        seed=0,
    )
    a, b = random.standard_normal((2, 4, 5, 2))
    d, y = random.uniform(0, 2, (4, 1) if decayed else (4, 5, 1)), {"y": np.zeros((4, 1))}
    flat, place = graph.params.flat.copy(), (3, 0) if decayed else (3, 4, 0)
    d[place] = -0.5
    given = {"a": a, "b": b, "d": d}
    wrong = {
        "validation": lambda: graph.fit(given | {"d": abs(d)}, y, validation=(given, y), progress=False),
        "inputs": lambda: graph.fit(given, y, progress=False),
    }
    for call in wrong.values():
        with pytest.raises(ValueError, match=r"inputs\['d'\].*: expected spans of 0 .* channel 0,.* got -0.5 at \(3, "):
            call()
    for number in (np.nan, np.inf):
        d[place] = number
        with pytest.raises(nr.NonFiniteError, match=r"inputs\['d'\]: expected finite numbers"):
            graph.fit(given, y, progress=False)
    with pytest.raises(nr.ShapeError, match=r"inputs\['d'\]: expected 1 channels, got 2"):
        graph.fit(given | {"d": np.concatenate([d, d], axis=-1)}, y, progress=False)
    assert same_bits(graph.params.flat, flat)
    if not decayed:
        d[place] = -0.5
        behind = np.array([5, 5, 5, 4])
        graph.fit(given, y, lengths=dict.fromkeys("abd", behind), epochs=1, progress=False)  # nothing is read there
    else:
        graph.fit(given | {"d": np.ones_like(d)}, y, epochs=1, progress=False)
    assert not same_bits(graph.params.flat, flat)
    with pytest.raises(nr.ShapeError, match=r"^channels of nodes\['r'\]: expected (2 or more|3 for each)"):
        nr.Graph({"a": nr.Input(1)}, {"r": nr.Node(layer, "a")}, "r")
