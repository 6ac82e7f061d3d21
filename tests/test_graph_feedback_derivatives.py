"""Forward and second derivatives, and pieces of long sequences, where an output of a graph is fed back."""

import types

import numba
import numpy as np
import pytest
from checks import same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from tangent_checks import TRANSPOSE_ERROR, graph_transpose_error
from test_feedback import Stop, network, numbers, strengths
from test_feedback_lengths import drawn, packed
from test_graph_feedback import encoder_and_decoder, fed, in_a_row, of_many

import numbarnn as nr
from numbarnn.graphs.joining import Joined
from numbarnn.graphs.motion import Motion
from numbarnn.graphs.workspace import GraphWorkspace
from numbarnn.layers.fed import FED
from numbarnn.layers.fed_tangents import FedTangents

GRAPHS = {"many": of_many, "decoder": encoder_and_decoder}
WAYS = ["equal", "lengths", "reset", "ragged"]


def case_of(kind, way="equal", forcing="each", seed=0):
    """A GraphCase with feedback, whose inputs with steps are all as long, or have lengths and resets."""
    net, inputs = GRAPHS[kind]()
    shape = (*inputs["x"].shape[:2], 2)
    options = {"feedback": fed(strengths(forcing, shape, seed), every=seed % 4 or None)}
    if way != "equal":
        random = np.random.default_rng(seed)
        lengths = random.integers(1, shape[0] + 1, shape[1])
        reset = random.random(shape[:2]) < 0.3
        if way == "ragged":
            inputs |= {name: packed(inputs[name], lengths) for name in ("x", "known")}
            forcing = strengths("each", shape, seed)[: lengths.max()]
            options = {"feedback": fed(forcing.copy(), every=seed % 4 or None)}
        else:
            options["lengths"] = {"x": lengths, "known": lengths}
        if way == "reset":
            options["reset"] = {"x": reset, "known": reset}
    return types.SimpleNamespace(net=net, inputs=inputs, state={}, options=options)


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("way", WAYS)
def test_tangents_are_the_adjoint_of_backward(kind, way):
    @settings(max_examples=8)
    @given(st.sampled_from(["number", "mask", "each"]), st.integers(0, 99))
    def check(forcing, seed):
        assert graph_transpose_error(case_of(kind, way, forcing, seed), 1 + seed % 3, seed) < 1e-12

    check()


@pytest.mark.parametrize("way", WAYS)
def test_layers_in_a_row_move_with_the_bits_of_a_network(way):
    net, own, x, (lengths, reset) = in_a_row(), network(), numbers((6, 4, 3)), drawn(1)
    feedback, options, dp = nr.Feedback(strengths("each", (6, 4, 2)), every=3), {}, numbers((1, len(own.params)), 2)[0]
    dx, data = numbers((6, 4, 3), 1), np.copy
    if way == "ragged":
        x, dx, data = packed(x, lengths), packed(dx, lengths), lambda each: each.data
    elif way != "equal":
        options = {"lengths": lengths, "reset": reset if way == "reset" else None}
    _, _, tape = net.forward({"x": x}, **options, feedback={"x": ("y", feedback)})
    dy, dstate = net.jvp(tape, dp, {"x": dx})
    expected, final = own.jvp(own.forward(x, **options, feedback=feedback)[2], dp, dx)
    assert same_bits(data(dy["y"]), data(expected)) and same_bits(dstate["h"].copy(), final[0].copy())


def test_one_sequence_all_that_is_given_and_what_moves_alone():
    for steps, batch, forcing in ((40, 1, 0.5), (5, 2, 1.0), (1, 3, 0.0)):
        net, _ = of_many()
        inputs = {"x": numbers((steps, batch, 3)), "known": numbers((steps, batch, 2)), "s": numbers((1, batch, 2))[0]}
        case = types.SimpleNamespace(net=net, inputs=inputs, state={}, options={"feedback": fed(forcing)})
        assert graph_transpose_error(case) < TRANSPOSE_ERROR
    case = case_of("many")
    tape = case.net.forward(case.inputs, **case.options)[2]
    whole, alone = case.net.jvp(tape, dx=case.inputs)[0], [case.net.jvp(tape, dx={n: x})[0] for n, x in case.inputs.items()]
    for name in whole:
        np.testing.assert_allclose(sum(each[name] for each in alone), whole[name], rtol=1e-11, atol=1e-13)


def test_the_same_tangents_from_any_number_of_threads_and_beside_others():
    case, random, found = case_of("many", "lengths"), np.random.default_rng(0), {}
    dp = random.standard_normal((3, len(case.net.params)))
    dx = {name: random.standard_normal((3, *each.shape)) for name, each in case.inputs.items()}
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        tape = case.net.forward(case.inputs, **case.options)[2]
        found[threads] = case.net.jvp(tape, dp, dx)[0]
        alone = case.net.jvp(tape, dp[1], {name: each[1].copy() for name, each in dx.items()})[0]
        assert all(same_bits(found[threads][name][1].copy(), alone[name].copy()) for name in alone)
    assert all(same_bits(found[1][name], found[max(found)][name]) for name in found[1])


def test_other_layouts():
    """Channels that lie apart are copied."""
    net, inputs = of_many()
    other = nr.Graph(net._described_inputs, net._described_nodes, net._outputs, dtype="float64", layout="cnt")
    other.params.flat[...] = net.params.flat
    turned = {name: np.ascontiguousarray(array.transpose(range(array.ndim)[::-1])) for name, array in inputs.items()}
    one = net.jvp(net.forward(inputs, feedback=fed(0.2))[2], dx=inputs)[0]
    two = other.jvp(other.forward(turned, feedback=fed(0.2))[2], dx=turned)[0]
    np.testing.assert_allclose(two["y"].transpose(2, 1, 0), one["y"], rtol=1e-12)


def asked(case, seed=0):
    """(inputs, targets, loss) of a case: a smooth loss for each output."""
    targets = {
        name: nr.Ragged(numbers((1, *y.data.shape), seed)[0], y.offsets) if isinstance(y, nr.Ragged)
        else numbers((1, *y.shape), seed)[0]
        for name, y in case.net.predict(case.inputs, **case.options).items()
    }  # fmt: skip
    return case.inputs, targets, {name: ("mse", 0.5 + index) for index, name in enumerate(targets)}


@pytest.mark.parametrize("kind, way", [("many", "equal"), ("many", "reset"), ("decoder", "ragged"), ("many", "lengths")])
def test_second_derivatives_and_jacobians(kind, way):
    case = case_of(kind, way, seed=3)
    (inputs, targets, loss), net, options = asked(case), case.net, case.options
    flat, random, step = net.params.flat.copy(), np.random.default_rng(0), 1e-5
    vector, other = random.standard_normal((2, len(flat)))
    gradients = [net.loss_and_gradient(flat + s * vector, inputs, targets, loss, **options)[1] for s in (step, -step)]
    difference, found = (gradients[0] - gradients[1]) / (2 * step), net.hvp(flat, inputs, targets, vector, loss, **options)
    # a third derivative times step^2 / 6, and rounding of 1e-16 / step, both of what vector's length makes of them
    np.testing.assert_allclose(found, difference, rtol=1e-6, atol=1e-6 * np.abs(difference).max())
    bent = net.hvp(flat, inputs, targets, other, loss, **options)
    np.testing.assert_allclose(found @ other, bent @ vector, rtol=1e-9, atol=1e-11)
    jacobian = net.jacobian(flat, inputs, **options)
    y, _, tape = net.forward(inputs, **options)
    moved, product = net.jvp(tape, dp=vector)[0], 0
    for name, each in jacobian.items():
        ragged = isinstance(y[name], nr.Ragged)
        np.testing.assert_allclose(each @ vector, moved[name].data if ragged else moved[name], rtol=1e-10, atol=1e-11)
        rows, weight = each.reshape(-1, len(flat)), loss[name][1]
        product += weight * 2 / np.any(rows != 0, axis=1).sum() * rows.T @ (rows @ vector)
    found = net.gauss_newton_product(flat, inputs, targets, vector, loss, **options)
    np.testing.assert_allclose(found, product, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("way", ["equal", "lengths"])
def test_gradients_of_samples(way):
    """Each is the gradient of its sample alone."""
    case = case_of("decoder", way, seed=4)
    (inputs, targets, loss), net, flat = asked(case), case.net, case.net.params.flat
    found = net.sample_gradients(flat, inputs, targets, loss, **case.options)
    pair = case.options["feedback"]["x"][1]
    for n in range(3):
        some, options = slice(n, n + 1), {"feedback": fed(pair.forcing[:, n : n + 1].copy())}
        if way == "lengths":
            options["lengths"] = {name: each[some] for name, each in case.options["lengths"].items()}
        own = [{name: array[:, some] for name, array in each.items()} for each in (inputs, targets)]
        alone = net.loss_and_gradient(flat, *own, loss, **options)[1]
        np.testing.assert_allclose(found[n], alone, rtol=1e-10, atol=1e-13)


def ordinary(self, fed):
    """A mutant of `Motion._move_fed`: the next input does not move with the output."""
    self._move(self._rows)


def before_forcing(self, dy, given):
    """A mutant of `FedTangents.run`: what is given moves the input as if all of it were."""
    kept, self._fed._forcing = self._fed._forcing, np.ones_like(self._fed._forcing)
    RUN(self, dy, given)
    self._fed._forcing = kept


def no_copies(self, joined):
    """A mutant of `FedTangents.add_copies`: what is joined stays as it was before the steps."""


def first_copy(self, steps):
    """A mutant of `Joined.add_steps`: of what is joined the first value alone is copied at each step."""
    kept, self.sources = self.sources, self.sources[:1]
    ADD(self, steps)
    self.sources = kept


RUN, ADD = FedTangents.run, Joined.add_steps


@pytest.mark.parametrize("place, name, mutant", [
    (Motion, "_move_fed", ordinary), (FedTangents, "run", before_forcing), (FedTangents, "add_copies", no_copies),
    (Joined, "add_steps", first_copy),
])  # fmt: skip
def test_the_identity_catches_mutants(place, name, mutant, monkeypatch):
    case = case_of("many")
    assert graph_transpose_error(case) < 1e-12
    monkeypatch.setattr(place, name, mutant)
    assert graph_transpose_error(case) > 1e-6


@pytest.mark.parametrize("lengths", [None, (7, 3, 6)])
def test_a_training_in_pieces_has_the_bits_of_the_networks(lengths):
    x, y, feedback = numbers((7, 3, 3)), numbers((7, 3, 2), 1), nr.Feedback(strengths("each", (7, 3, 2)))
    net, own = in_a_row(), network()
    options = {"carry": True, "steps": 3, "epochs": 2, "batch_size": 2, "optimizer": nr.SGD(0.1), "progress": False}
    one = net.fit({"x": x}, {"y": y}, lengths=lengths, feedback={"x": ("y", feedback)}, **options)
    two = own.fit(x, y, lengths=lengths, feedback=feedback, **options)
    assert one.loss == two.loss and same_bits(net.params.flat, own.params.flat)


def pieces():
    """A graph whose nodes lie on both sides of the loop, and a training of it in pieces."""
    nodes = {
        "fed": nr.Node(nr.GRU(3), "known"),
        "h": nr.Node(nr.LSTM(4), ["x", "fed"]),
        "y": nr.Node(nr.Dense(2), ["h", "x"]),
        "z": nr.Node([nr.GRU(3), nr.Dense(1)], ["y", "h"]),
    }
    net = nr.Graph({"x": 2, "known": 1}, nodes, ["y", "z"], dtype="float64", seed=0)
    inputs = {"x": numbers((7, 3, 2)), "known": numbers((7, 3, 1), 1)}
    return net, inputs, {"y": numbers((7, 3, 2), 2), "z": numbers((7, 3, 1), 3)}


def test_a_training_in_pieces_goes_on_with_the_last_output():
    """As a loop by hand does, in which the first step of each piece is the mixture that is read there."""
    (net, inputs, targets), (own, _, _), a = pieces(), pieces(), strengths("each", (7, 3, 2))
    loss, options = {"y": "mse", "z": "mse"}, {"carry": True, "steps": 3, "shuffle": False, "epochs": 1, "batch_size": 3}
    net.fit(inputs, targets, loss, feedback=fed(a), **options, optimizer=nr.SGD(0.1), progress=False)
    state, before = None, None
    for first in (0, 3, 6):
        span = slice(first, first + 3)
        piece, strength = {name: each[span].copy() for name, each in inputs.items()}, a[span].copy()
        if first:
            piece["x"][0] = np.where(
                strength[0] == 1, piece["x"][0], strength[0] * piece["x"][0] + (1 - strength[0]) * before
            )
        y, last, tape = own.forward(piece, state, feedback=fed(strength))
        dy = {name: 2 * (y[name] - targets[name][span]) / y[name].size for name in y}
        gradient = own.backward(tape, dy).params.flat
        before, state = y["y"][-1].copy(), last
        own.params.flat[...] -= 0.1 * gradient
    np.testing.assert_allclose(net.params.flat, own.params.flat, rtol=1e-12, atol=1e-14)


def test_the_output_that_is_lost_at_a_cut_is_noticed(monkeypatch):
    (one, inputs, targets), (other, _, _) = pieces(), pieces()
    options = {"carry": True, "steps": 2, "epochs": 1, "progress": False, "feedback": fed()}
    one.fit(inputs, targets, "mse", **options)
    final = GraphWorkspace.final
    monkeypatch.setattr(GraphWorkspace, "final", lambda self: {k: v for k, v in final(self).items() if k != FED})
    other.fit(inputs, targets, "mse", **options)
    assert not same_bits(one.params.flat, other.params.flat)


def test_a_training_in_pieces_is_resumed_to_the_bit(tmp_path):
    net, inputs, targets = pieces()
    options = {"carry": True, "steps": 2, "feedback": fed(0.2), "batch_size": 3, "progress": False}
    whole = nr.Trainer(net)
    whole.fit(inputs, targets, epochs=2, **options)
    with pytest.raises(KeyboardInterrupt):
        nr.Trainer(pieces()[0]).fit(
            inputs, targets, epochs=2, callbacks=[Stop(), nr.Checkpoint(tmp_path, 1, "update")], **options
        )
    resumed = nr.Trainer.load(tmp_path)
    assert resumed.fit(inputs, targets, **options).loss == whole.history.loss
    assert same_bits(resumed.network.params.flat, whole.network.params.flat)


def test_wrong_arguments_are_named():
    net, inputs = of_many()
    flat, targets = net.params.flat, {"y": numbers((6, 4, 2)), "z": numbers((6, 4, 1)), "last": numbers((1, 4, 1))[0]}
    for call in (
        lambda given: net.jacobian(flat, inputs, feedback=given),
        lambda given: net.hvp(flat, inputs, targets, flat, feedback=given),
        lambda given: net.gauss_newton_product(flat, inputs, targets, flat, feedback=given),
        lambda given: net.sample_gradients(flat, inputs, targets, feedback=given),
    ):
        with pytest.raises(TypeError, match=r"^feedback: expected \{input: \(output, numbarnn.Feedback"):
            call(nr.Feedback())
        with pytest.raises(nr.UnknownNameError, match="^feedback: unknown name 'w'"):
            call(fed(name="w"))
