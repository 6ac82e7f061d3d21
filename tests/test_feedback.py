"""Outputs that are fed back as the next input: the loop in Python, the ordinary pass, the free run, and exact gradients."""

import copy
import pickle

import numba
import numpy as np
import pytest
from checks import check_function, flat_of, same_bits
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.layers.fed import FedAdjoint
from numbarnn.testing import slope_error

LAYERS = {
    "gru": lambda: [nr.GRU(5), nr.Dense(2)],
    "lstm": lambda: [nr.LSTM(3, learned_state=True), nr.Dense(2, "tanh")],
    "stacked": lambda: [nr.GRU(4, layers=3, residual=True), nr.Activation("softplus"), nr.LSTM(3), nr.Dense(2, "gelu")],
    "before": lambda: [nr.GRU(3, reset="before"), nr.Dense(2)],
    "projected": lambda: [nr.LSTM(5, projection=2)],
    "normalized": lambda: [nr.LSTM(4, normalized=True), nr.Dense(2)],
    "values of units": lambda: [nr.IndRNN(4, activation="tanh"), nr.LeakyRNN(3, rate=0.3, learned=True), nr.Dense(2)],
    "constrained": lambda: [nr.RNN(4, connectivity=nr.Connectivity(signs=[1, 1, -1, 1])), nr.Dense(2)],
    "without a state": lambda: [nr.Dense(4, "tanh"), nr.Dense(2)],
}


def network(kind="gru", channels=3, dtype="float64", layout="tnc", seed=0):
    net = nr.Network(LAYERS[kind](), channels=channels, dtype=dtype, layout=layout, seed=seed)
    net.params.flat[:] += 0.1 * np.random.default_rng(seed).standard_normal(len(net.params)).astype(dtype)
    return net


def numbers(shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def strengths(kind, shape, seed=0):
    """An argument `forcing` of each kind."""
    steps, batch, outputs = shape
    random = np.random.default_rng(seed)
    return {
        "number": 0.3,
        "steps": random.random(steps),
        "mask": random.random((steps, batch)) < 0.5,
        "each": np.where(random.random(shape) < 0.3, random.integers(0, 2, shape), random.random(shape)),
    }[kind]


def in_a_loop(net, x, feedback):
    """(y, state): a stream's steps in Python."""
    stream, outputs = net.stream(x.shape[1]), []
    forcing = feedback.forcing.reshape(feedback.forcing.shape + (1,) * (3 - feedback.forcing.ndim))
    a = np.broadcast_to(forcing, (*x.shape[:2], net.output_channels)).astype(x.dtype)
    for t, given_ in enumerate(x):
        read = given_.copy()
        if t and not (feedback.every and t % feedback.every == 0):
            own, fed = outputs[-1], given_[:, : net.output_channels]
            here = np.where(np.isnan(fed), 0, a[t]) if feedback.missing else a[t]
            mixed = here * fed + (1 - here) * own
            read[:, : net.output_channels] = np.where(here == 1, fed, np.where(here == 0, own, mixed))
        outputs.append(stream.step(read))
    return np.array(outputs), stream.state


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", LAYERS)
def test_it_is_the_loop_of_steps_to_the_bit(kind, dtype):
    @given(st.integers(1, 6), st.integers(1, 4), st.sampled_from(["number", "steps", "mask", "each"]), st.integers(0, 3))
    def check(steps, batch, forcing, every):
        net, x = network(kind, dtype=dtype), numbers((steps, batch, 3), steps, dtype)
        feedback = nr.Feedback(strengths(forcing, (steps, batch, 2)), every=every or None)
        y, final = net(x, feedback=feedback)
        expected, state = in_a_loop(net, x, feedback)
        assert same_bits(y.copy(), expected)
        assert all(map(same_bits, flat_of(final), flat_of(state)))
        kept, last, _ = net.forward(x, feedback=feedback)
        assert same_bits(kept.copy(), expected) and all(map(same_bits, flat_of(last), flat_of(state)))

    if kind in ("gru", "lstm", "stacked") or dtype == "float64":
        check()


@pytest.mark.parametrize("kind", LAYERS)
def test_all_given_is_the_ordinary_pass_and_nothing_given_the_free_run(kind):
    net, x, dy = network(kind), numbers((6, 3, 3)), numbers((6, 3, 2), 1)
    y, final, tape = net.forward(x)
    same, last, fed = net.forward(x, feedback=nr.Feedback(1.0))
    assert same_bits(y.copy(), same.copy()) and all(map(same_bits, flat_of(final), flat_of(last)))
    expected, found = net.backward(tape, dy), net.backward(fed, dy)
    assert same_bits(expected.params.flat, found.params.flat) and same_bits(expected.x.copy(), found.x.copy())
    assert all(map(same_bits, flat_of(expected.state), flat_of(found.state)))
    free, last = net(x, feedback=nr.Feedback())
    stream = net.stream(3)
    known = np.concatenate([x[1:, :, 2:], x[:1, :, 2:]])
    assert same_bits(free.copy(), stream.feed_back(x[0], 6, known))
    assert all(map(same_bits, flat_of(last), flat_of(stream.state)))


def begin(net, batch, seed=3):
    """States to start from."""
    found = []
    for layer in net.layers:
        if isinstance(layer, nr.Recurrent):
            parts = [numbers((layer.layers, batch, width), seed) for width in layer.state_widths]
            found.append(parts[0] if len(parts) == 1 else tuple(parts))
    return tuple(found)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_gradient_is_that_of_finite_differences(kind):
    @given(st.integers(1, 6), st.integers(1, 4), st.sampled_from(["number", "mask", "each"]), st.integers(0, 9))
    def check(steps, batch, forcing, seed):
        net, x = network(kind, seed=seed), numbers((steps, batch, 3), seed)
        feedback = nr.Feedback(strengths(forcing, (steps, batch, 2), seed), every=seed % 4 or None)
        check_function(net, x, {"feedback": feedback}, begin(net, batch), seed)

    check()


@pytest.mark.parametrize("kind", ["gru", "projected", "normalized", "without a state"])
def test_gradients_are_summed_over_chunks_of_steps(kind, monkeypatch, fresh_plans):
    monkeypatch.setattr("numbarnn.cpu.sizes.BACKWARD_ROWS", 6)  # chunks of two steps, and of one sequence of six
    for steps, batch in ((7, 3), (13, 1), (4, 2)):
        net, x = network(kind), numbers((steps, batch, 3))
        check_function(net, x, {"feedback": nr.Feedback(strengths("each", (steps, batch, 2)))}, begin(net, batch))


def test_one_long_sequence():
    net, x, dy, feedback = network(), numbers((1030, 1, 3)), numbers((1030, 1, 2), 1), nr.Feedback(0.5)
    _, _, tape = net.forward(x, feedback=feedback)
    twice, double = (np.concatenate([each, each], axis=1) for each in (x, dy))
    _, _, other = net.forward(twice, feedback=feedback)  # whose steps are in other chunks
    found, expected = net.backward(tape, dy), net.backward(other, double)
    np.testing.assert_allclose(2 * found.params.flat, expected.params.flat, rtol=1e-9, atol=1e-9)
    assert same_bits(found.x[:, 0].copy(), expected.x[:, 1].copy())


@pytest.mark.parametrize("layout", ["ntc", "cnt"])
def test_other_layouts_and_dropout(layout):
    layers = [nr.GRU(4, layers=2, dropout=0.3, zoneout=0.2), nr.Dropout(0.4), nr.Dense(2)]
    net = nr.Network(layers, channels=3, dtype="float64", layout=layout, seed=1)
    x = np.ascontiguousarray(numbers((6, 3, 3)).transpose(["tnc".index(letter) for letter in layout]))
    options = {"feedback": nr.Feedback(strengths("each", (6, 3, 2)))}
    found = check_function(net, x, options | {"seed": 11}, begin(net, 3))
    assert found.x.shape == x.shape
    assert not np.array_equal(net(x, seed=1, **options)[0], net(x, seed=2, **options)[0])


def lost(self):
    """A mutant of `FedAdjoint.fill`: nothing comes by way of the next input."""
    for adjoint in self.adjoints:
        adjoint.fill()


def unforced(self):
    """A mutant of `FedAdjoint.given`: what is given matters as if all of it were."""
    return self.dx


@pytest.mark.parametrize("name, mutant", [("fill", lost), ("given", unforced)])
def test_the_check_of_the_gradient_catches_mutants(name, mutant, monkeypatch):
    monkeypatch.setattr(FedAdjoint, name, mutant)
    net = network()
    with pytest.raises(AssertionError, match="times the error allowed"):
        check_function(net, numbers((5, 2, 3)), {"feedback": nr.Feedback(0.4)}, begin(net, 2))


def test_the_loss_and_its_gradient():
    net, x, y = network(channels=2), numbers((7, 3, 2)), numbers((7, 3, 2), 1)
    feedback, flat = nr.Feedback(strengths("each", (7, 3, 2))), net.params.flat.copy()
    weights = np.random.default_rng(2).random((7, 3))
    value, gradient = net.loss_and_gradient(flat, x, y, weights=weights, feedback=feedback)
    prediction, _ = net(x, feedback=feedback)
    np.testing.assert_allclose(value, (weights[..., None] * (prediction - y) ** 2).sum() / weights.sum() / 2, rtol=1e-12)
    assert net.loss(x, y, weights=weights, feedback=feedback) == value
    assert net.evaluate(x, y, weights=weights, feedback=feedback)["loss"] == value
    way = np.random.default_rng(3).choice((-1.0, 1.0), len(flat)) / np.sqrt(len(flat))

    def loss(distance):
        found = net.loss_and_gradient(flat + distance * way, x, y, weights=weights, feedback=feedback)[0]
        return found, found

    assert slope_error(loss, gradient @ way, np.sqrt(gradient @ gradient)) <= 1


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_it_is_the_loop_in_pytorch(cell):
    torch = pytest.importorskip("torch", reason="torch is not here")
    net = nr.Network([getattr(nr, cell)(6), nr.Dense(2)], channels=3, dtype="float64", seed=0)
    x, dy, a = numbers((9, 4, 3)), numbers((9, 4, 2), 1), strengths("each", (9, 4, 2))
    layer, dense = getattr(torch.nn, cell + "Cell")(3, 6).double(), torch.nn.Linear(6, 2).double()
    names = [("weight_ih", "0.weight_ih_l0"), ("weight_hh", "0.weight_hh_l0"), ("bias_ih", "0.bias_ih_l0"),
             ("bias_hh", "0.bias_hh_l0")]  # fmt: skip
    with torch.no_grad():
        for name, own in names:
            getattr(layer, name)[...] = torch.from_numpy(net.params[own].copy())
        for name in ("weight", "bias"):
            getattr(dense, name)[...] = torch.from_numpy(net.params[f"1.{name}"].copy())
    given_, strength, state, outputs = torch.from_numpy(x).requires_grad_(), torch.from_numpy(a), None, []
    for t in range(9):
        read = given_[t]
        if t:
            fed = strength[t] * given_[t, :, :2] + (1 - strength[t]) * outputs[-1]
            read = torch.cat([fed, given_[t, :, 2:]], dim=1)
        state = layer(read, state)
        outputs.append(dense(state[0] if cell == "LSTM" else state))
    (torch.stack(outputs) * torch.from_numpy(dy)).sum().backward()
    y, _, tape = net.forward(x, feedback=nr.Feedback(a))
    found = net.backward(tape, dy)
    np.testing.assert_allclose(y, torch.stack(outputs).detach().numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.x, given_.grad.numpy(), rtol=1e-10, atol=1e-12)
    for name, own in names:
        expected = getattr(layer, name).grad.numpy()
        np.testing.assert_allclose(found.params[own], expected, rtol=1e-10, atol=1e-11, err_msg=name)
    np.testing.assert_allclose(found.params["1.weight"], dense.weight.grad.numpy(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", ["gru", "stacked", "normalized"])
def test_the_same_bits_from_any_number_of_threads_and_in_any_batch(kind):
    net, x, dy, a = network(kind), numbers((8, 7, 3)), numbers((8, 7, 2), 1), strengths("each", (8, 7, 2))

    def results(x, dy, a):
        y, final, tape = net.forward(x, feedback=nr.Feedback(a))
        found = net.backward(tape, dy)
        return y.copy(), *flat_of(final), found.x.copy(), *flat_of(found.state), found.params.flat

    numba.set_num_threads(1)
    alone = results(x, dy, a)
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
    assert all(map(same_bits, alone, results(x, dy, a)))
    one = results(x[:, 4:5].copy(), dy[:, 4:5].copy(), a[:, 4:5].copy())
    assert all(same_bits(part, whole[:, 4:5].copy()) for part, whole in zip(one[:-1], alone[:-1]))


def test_missing_numbers_are_those_that_the_network_predicts():
    net, x = network(), numbers((6, 3, 3))
    there = np.random.default_rng(0).random((6, 3, 2)) < 0.5
    there[0] = True
    holes = x.copy()
    holes[..., :2][~there] = np.nan
    y, _ = net(holes, feedback=nr.Feedback(1.0, missing=True))
    assert same_bits(y.copy(), net(x, feedback=nr.Feedback(there))[0].copy())
    assert same_bits(y.copy(), in_a_loop(net, holes, nr.Feedback(1.0, missing=True))[0])
    assert same_bits(net(holes, feedback=nr.Feedback(there))[0].copy(), y.copy())  # where a is 0 nothing is read
    _, _, tape = net.forward(holes, feedback=nr.Feedback(1.0, missing=True))
    slope = net.backward(tape, np.ones((6, 3, 2))).x
    assert not slope[..., :2][~there].any() and slope[..., :2][there].all()
    history = net.fit(holes, numbers((6, 3, 2), 1), feedback=nr.Feedback(1.0, missing=True), epochs=2, progress=False)
    assert np.isfinite(history.loss).all()


def test_training_goes_down_the_gradient_of_what_is_fed():
    x, y = numbers((7, 5, 2), 0, "float32"), numbers((7, 5, 2), 1, "float32")
    a = strengths("each", (7, 5, 2))
    one, other = network(channels=2, dtype="float32"), network(channels=2, dtype="float32")
    one.fit(x, y, optimizer=nr.SGD(0.1), epochs=3, batch_size=2, shuffle=False, feedback=nr.Feedback(a), progress=False)
    trainer = nr.Trainer(other, optimizer=nr.SGD(0.1))
    for _ in range(3):
        for chosen in (slice(0, 2), slice(2, 4), slice(4, 5)):
            value, gradient = other.loss_and_gradient(
                other.params.flat, x[:, chosen], y[:, chosen], feedback=nr.Feedback(a[:, chosen])
            )
            before = other.params.flat.copy()
            assert trainer.update(x[:, chosen], y[:, chosen], feedback=nr.Feedback(a[:, chosen])) == value
            assert same_bits(other.params.flat, before - np.float32(0.1) * gradient)
    assert same_bits(one.params.flat, other.params.flat)


def test_updates_with_and_without_feedback_take_turns():
    x, y = numbers((7, 5, 2)), numbers((7, 5, 2), 1)
    trainer, net = nr.Trainer(network(channels=2)), network(channels=2)
    for turn in range(6):
        feedback = nr.Feedback(0.3 * (turn % 3)) if turn % 2 else None
        net.params.flat[:] = trainer.network.params.flat
        expected = net.loss(x, y, feedback=feedback)
        assert trainer.update(x, y, feedback=feedback) == expected


def test_validation_is_of_what_is_fed_too():
    x, y = numbers((7, 6, 2)), numbers((7, 6, 2), 1)
    net, feedback = network(channels=2), nr.Feedback(0.2)
    history = net.fit(x, y, feedback=feedback, validation=(x[:, :2], y[:, :2]), metrics=["mae"], epochs=1, progress=False)
    assert history.validation[-1] == net.loss(x[:, :2], y[:, :2], feedback=feedback)
    assert history.metrics["mae"][-1] == net.evaluate(x, y, "mae", feedback=feedback)["loss"]
    batches = [(x[:, :3], y[:, :3]), (x[:, 3:], y[:, 3:])]
    assert nr.Trainer(network(channels=2)).fit(batches, feedback=feedback, epochs=2, progress=False).loss[1] > 0
    held = network(channels=2).fit(
        x, y, feedback=nr.Feedback(np.full((7, 6), 0.2)), validation_split=0.4, epochs=1, progress=False
    )
    assert len(held.validation) == 1


class Stop(nr.Callback):
    """Ends a training in its second update, as Ctrl-C does; goes before what saves it."""

    updates = 0

    def batch(self, network, loss):
        self.updates += 1
        if self.updates == 2:
            raise KeyboardInterrupt


def test_an_epoch_that_is_begun_goes_on_with_the_same_feedback(tmp_path):
    x, y, a = numbers((5, 6, 2)), numbers((5, 6, 2), 1), strengths("each", (5, 6, 2))
    options = {"batch_size": 2, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        keep = nr.Checkpoint(tmp_path, 1, "update")
        nr.Trainer(network(channels=2)).fit(x, y, epochs=2, feedback=nr.Feedback(a), callbacks=[Stop(), keep], **options)
    for other in (None, nr.Feedback(0.5), nr.Feedback(1 - a)):
        with pytest.raises(ValueError, match="^feedback: expected Feedback.* as in the epoch that is begun, got"):
            nr.Trainer.load(tmp_path).fit(x, y, feedback=other, **options)
    assert len(nr.Trainer.load(tmp_path).fit(x, y, feedback=nr.Feedback(a.copy()), **options).loss) == 2


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((1.5,), ValueError, "forcing: expected numbers from 0 to 1, got 1.5"),
        ((True,), TypeError, "forcing: expected a number from 0 to 1, or an array, got True"),
        ((np.nan,), ValueError, "forcing: expected numbers from 0 to 1, got nan"),
        ((np.zeros((1, 1, 1, 1)),), nr.ShapeError, "forcing: expected a number or up to 3 axes"),
        (("half",), (TypeError, nr.DTypeError), "forcing: expected"),
        ((0.0, 0), ValueError, "every: expected a positive integer, got 0"),
        ((0.0, None, "nan"), TypeError, "missing: expected True or False"),
    ],
)
def test_descriptions_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        nr.Feedback(*arguments)


@pytest.mark.parametrize(
    "layers, channels, error, message",
    [
        ([nr.GRU(3), nr.Dense(4)], 3, nr.ShapeError, "feedback: expected outputs of at most 3 channels"),
        ([nr.GRU(3, bidirectional=True), nr.Dense(2)], 3, ValueError, "feedback: .*bidirectional=True"),
        ([nr.GRU(3), nr.Last(), nr.Dense(2)], 3, ValueError, "feedback: .*Last"),
        ([nr.GRU(3), nr.Pool("mean"), nr.Dense(2)], 3, ValueError, "feedback: .*Pool"),
        ([nr.Embedding(5, 3), nr.GRU(1)], None, ValueError, "feedback: .*Embedding"),
    ],
)
def test_networks_that_cannot_be_fed(layers, channels, error, message):
    net = nr.Network(layers, channels=channels, seed=0)
    x = np.zeros((4, 2), np.int64) if net.takes_indices else np.zeros((4, 2, 3), np.float32)
    with pytest.raises(error, match=message):
        net(x, feedback=nr.Feedback())


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"feedback": 0.5}, TypeError, "feedback: expected numbarnn.Feedback or None, got float"),
        ({"feedback": nr.Feedback(np.zeros(3))}, nr.ShapeError, r"feedback: expected forcing of shape \(4,\) \(T,\)"),
        ({"feedback": nr.Feedback(np.zeros((4, 3)))}, nr.ShapeError, r"shape \(4, 2\) \(T, N\), got \(4, 3\)"),
        ({"feedback": nr.Feedback(np.zeros((4, 2, 3)))}, nr.ShapeError, r"shape \(4, 2, 2\) \(T, N, O\)"),
        ({"tape": "states"}, ValueError, "tape: expected 'all' beside feedback, got 'states'"),
        ({"checkpoints": 2}, ValueError, "checkpoints: expected None beside feedback, got what makes 2"),
    ],
)
def test_arguments_that_do_not_go_with_it(options, error, message):
    with pytest.raises(error, match=message):
        network(dtype="float32").forward(np.zeros((4, 2, 3), np.float32), **{"feedback": nr.Feedback(), **options})


def test_other_refusals():
    net, x, y = network(channels=2), numbers((6, 3, 2)), numbers((6, 3, 2), 1)
    x[3, 1, 0] = np.nan
    with pytest.raises(nr.NonFiniteError, match=r"got nan at step 3, sequence 1, channel 0; Feedback\(missing=True\)"):
        net(x, feedback=nr.Feedback(0.5))
    x[0, 2, 1] = np.nan
    with pytest.raises(nr.NonFiniteError, match="x: expected finite numbers, got nan at step 0, sequence 2, channel 1"):
        net.fit(x, y, feedback=nr.Feedback(missing=True), progress=False)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies_are_equal_and_stay_as_they_are(way):
    feedback = nr.Feedback(np.array([0.0, 0.5]), every=3, missing=True)
    made = way(feedback)
    assert made == feedback and hash(made) == hash(feedback) and made != nr.Feedback(0.5)
    assert repr(made) == "Feedback(array of shape (2,), every=3, missing=True)"
    with pytest.raises(ValueError, match="read-only"):
        made.forcing[0] = 1
    with pytest.raises(AttributeError, match="every: expected no assignment"):
        made.every = 2
