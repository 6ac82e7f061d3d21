"""Long sequences in pieces: the states are carried on and the adjoint is cut, to the bit as in a loop by hand."""

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.training import workspace

RANDOM = np.random.default_rng(0)
STEPS, SAMPLES = 23, 4
X = RANDOM.standard_normal((STEPS, SAMPLES, 2))
Y = RANDOM.standard_normal((STEPS, SAMPLES, 1))
WORDS, LABELS = RANDOM.integers(0, 7, (STEPS, SAMPLES)), RANDOM.integers(0, 3, (STEPS, SAMPLES))
LENGTHS = np.array([23, 4, 12, 10])


def network(*layers, channels=2, layout="tnc"):
    return nr.Network(layers, channels, dtype="float64", layout=layout, seed=0)


def plain():
    return network(nr.LSTM(3, layers=2), nr.GRU(3), nr.Dense(1))


def reader():
    return network(nr.Embedding(7, 2), nr.GRU(3), nr.Dense(3), channels=None)


def dropping():
    layer = nr.LSTM(3, layers=2, dropout=0.3, recurrent_dropout=0.2, zoneout=0.1)
    return network(layer, nr.Dropout(0.2), nr.Dense(1))


KINDS = {  # what makes a network, and the samples
    "stacked layers": (plain, (X, Y)),
    "a learned state": (lambda: network(nr.GRU(3, layers=2, learned_state=True), nr.Dense(1)), (X, Y)),
    "a projection": (lambda: network(nr.LSTM(4, projection=2), nr.Dense(1)), (X, Y)),
    "residual": (lambda: network(nr.RNN(3, layers=3, residual=True), nr.Dense(1)), (X, Y)),
    "normalized": (lambda: network(nr.LSTM(3, normalized=True), nr.Dense(1)), (X, Y)),
    "effective weights": (
        lambda: network(nr.GRU(4, connectivity=nr.Connectivity(np.tril(np.ones((4, 4))))), nr.Dense(1)),
        (X, Y),
    ),
    "values of units": (lambda: network(nr.IndRNN(3), nr.LeakyRNN(3), nr.Dense(1)), (X, Y)),
    "indices and labels": (reader, (WORDS, LABELS)),
    "lengths": (plain, (X, Y, LENGTHS)),
    "lengths of labels": (reader, (WORDS, LABELS, LENGTHS)),
    "weights": (plain, (X, Y, None, RANDOM.random((STEPS, SAMPLES)))),
}


def loss_of(net):
    return "cross_entropy" if net.takes_indices else "mse"


def by_hand(net, data, steps, epochs, rate=0.1):
    """Train by a loop over `forward` and `backward`, each batch all samples; the mean loss of each epoch."""
    x, y, lengths, weights = [*data, None, None][:4]
    function, losses = nr.loss(loss_of(net)), []
    for _ in range(epochs):
        state, total, counted = None, 0.0, 0.0
        for first in range(0, STEPS, steps):
            span = slice(first, first + steps)
            own = None if lengths is None else np.clip(lengths - first, 0, len(x[span]))
            out, state, tape = net.forward(x[span], state, lengths=own)
            there = np.arange(len(out))[:, None] < (np.full(SAMPLES, STEPS) if own is None else own)
            of_each = np.ones(there.shape) if weights is None else weights[span]
            counts, gradient = of_each[there].sum(), np.zeros_like(out)
            if net.takes_indices:
                value, gradient[there] = function(out[there], y[span][there])
            else:
                value, gradient[there] = function(out[there], y[span][there], weights=of_each[there])
            net.params.flat[:] -= rate * net.backward(tape, gradient).params.flat
            total, counted = total + value * counts, counted + counts
        losses.append(total / counted)
    return losses


def check_pieces(kind, steps):
    """Assert that `fit` in pieces equals a loop by hand; returns (network of `fit`, network of the loop)."""
    make, data = KINDS[kind]
    net, other = make(), make()
    names = dict(zip(("x", "y", "lengths", "weights"), data))
    history = net.fit(
        **names, loss=loss_of(net), optimizer=nr.SGD(0.1), epochs=3, batch_size=SAMPLES, shuffle=False, carry=True,
        steps=steps, progress=False,
    )  # fmt: skip
    losses = by_hand(other, data, steps, 3)
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=1e-12, atol=1e-14)  # the loss sums in another order
    np.testing.assert_allclose(history.loss, losses, rtol=1e-12)
    return net, other


MORE = [(kind, steps) for kind in ("stacked layers", "a learned state", "lengths") for steps in (1, 22, 40)]


@pytest.mark.parametrize("kind, steps", [*((kind, 5) for kind in KINDS), *MORE])
def test_pieces_are_those_of_a_loop_by_hand(kind, steps):
    net, other = check_pieces(kind, steps)
    if kind == "stacked layers":
        assert np.array_equal(net.params.flat, other.params.flat)


def test_what_is_carried_matters():
    """The same pieces as samples of their own, and one whole sequence, give something else."""
    found = []
    for more in ({"carry": True, "steps": 5}, {}):
        net = plain()
        net.fit(X[:20], Y[:20], epochs=2, shuffle=False, batch_size=4, progress=False, **more)
        found.append(net.params.flat)
    net, cut = plain(), (part[:20].reshape(4, 5, 4, -1).swapaxes(0, 1).reshape(5, 16, -1) for part in (X, Y))
    net.fit(*cut, epochs=2, shuffle=False, batch_size=4, progress=False)
    assert len({flat.tobytes() for flat in (*found, net.params.flat)}) == 3


@pytest.mark.parametrize("options", [{"tape": "states"}, {"checkpoints": 2}, {"layout": "ntc"}, {"layout": "ctn"}])
def test_memory_and_layouts_make_no_difference(options):
    layout = options.pop("layout", "tnc")
    axes = ["tnc".index(letter) for letter in layout]
    net, other = network(nr.LSTM(3), nr.GRU(2), nr.Dense(1), layout=layout), network(nr.LSTM(3), nr.GRU(2), nr.Dense(1))
    way = dict(epochs=2, batch_size=4, carry=True, steps=9, progress=False)
    net.fit(X.transpose(axes), Y.transpose(axes), **way, **options)
    other.fit(X, Y, **way)
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=1e-12)
    if layout == "tnc":
        assert np.array_equal(net.params.flat, other.params.flat)


def test_sequences_of_their_own_length_are_in_rows_or_padded():
    net, other = plain(), plain()
    way = dict(epochs=2, batch_size=3, carry=True, steps=5, seed=1, progress=False)
    padded = net.fit(X, Y, lengths=LENGTHS, **way)
    x, y = (nr.Ragged.of([part[:length, i] for i, length in enumerate(LENGTHS)]) for part in (X, Y))
    ragged = other.fit(x, y, **way)
    assert np.array_equal(net.params.flat, other.params.flat) and padded.loss == ragged.loss


def test_a_batch_goes_through_all_of_its_pieces():
    seen, net, other = [], plain(), plain()

    class Batches(nr.Callback):
        def batch(self, network, loss):
            seen.append(loss)

    way = dict(optimizer=nr.SGD(0.1), shuffle=False, progress=False)
    history = net.fit(X, Y, epochs=1, batch_size=3, carry=True, steps=10, callbacks=[Batches()], **way)
    assert len(seen) == 2 * 3
    weights = np.array([30, 30, 9, 10, 10, 3])
    assert history.loss[0] == pytest.approx(np.dot(weights, seen) / weights.sum(), rel=1e-14)
    trainer, losses = nr.Trainer(other, optimizer=nr.SGD(0.1)), []
    for part in (slice(3), slice(3, 4)):
        state = None
        for first in (0, 10, 20):
            span = slice(first, first + 10)
            loss, state = trainer.update(X[span, part], Y[span, part], state=state)
            losses.append(loss)
    assert losses == seen and np.array_equal(net.params.flat, other.params.flat)


@pytest.mark.parametrize("make", [dropping, plain, reader])
def test_updates_that_carry_a_state_are_those_of_fit(make):
    net, other = make(), make()
    data = (WORDS, LABELS) if net.takes_indices else (X, Y)
    options = dict(loss=loss_of(net), optimizer=nr.Adam(0.02), clip=0.5, seed=3)
    one, two = nr.Trainer(net, **options), nr.Trainer(other, **options)
    one.fit(*data, epochs=2, batch_size=SAMPLES, shuffle=False, carry=True, steps=6, progress=False)
    for _ in range(2):
        state = None
        for first in range(0, STEPS, 6):
            loss, state = two.update(*(part[first : first + 6] for part in data), state=state)
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=1e-12)  # rows are up to date after each update
    if not net.takes_indices:
        assert np.array_equal(net.params.flat, other.params.flat)


def test_the_state_of_an_update():
    net = plain()
    trainer = nr.Trainer(net, optimizer=nr.SGD(0.0))
    state = tuple(tuple(RANDOM.standard_normal((2, SAMPLES, 3)) for _ in "hc") if index == 0 else None for index in range(2))
    for given in (state, None, state, (None, state[0][0][:1]), None):
        for lengths in (None, LENGTHS):
            _, expected = net(X, given, lengths=lengths)
            loss, found = trainer.update(X, Y, lengths, state=given)
            assert isinstance(loss, float) and [type(part) for part in found] == [tuple, np.ndarray]
            for one, other in zip((*expected[0], expected[1]), (*found[0], found[1])):
                assert np.array_equal(one, other)
    assert isinstance(trainer.update(X, Y), float)  # and afresh
    assert trainer.update(X, Y) == trainer.update(X, Y, state=None)[0] != trainer.update(X, Y, state=state)[0]
    _, only = trainer.update(X, Y, weights=np.array([1, 0, 0, 1]), state=None)  # what counts nothing has a state, too
    assert np.array_equal(only[1], net(X)[1][1])
    dense = nr.Trainer(network(nr.Dense(1)))
    assert dense.update(X, Y, state=())[1] == ()


def test_pieces_of_a_size_have_their_memory_once(monkeypatch):
    made, init, kind = [], workspace.Workspace.__init__, workspace.Workspace
    monkeypatch.setattr(workspace, "threads", lambda: 1)  # whatever else runs
    monkeypatch.setattr(kind, "__init__", lambda self, *given, **more: (made.append(self), init(self, *given, **more))[0])
    plain().fit(X, Y, epochs=3, batch_size=4, carry=True, steps=5, progress=False)
    assert len(made) == 3  # of 5 steps, of 3, and for samples that differ in length


def test_a_schedule_is_told_the_updates_in_all():
    told = []

    def rate(update, updates):
        told.append((update, updates))
        return 0.01

    plain().fit(X, Y, optimizer=nr.SGD(rate), epochs=2, batch_size=3, carry=True, steps=10, progress=False)
    assert told == [(update, 12) for update in range(12)]
    way = dict(lengths=LENGTHS, epochs=2, carry=True, steps=5, progress=False)
    told.clear()
    plain().fit(X, Y, optimizer=nr.SGD(rate), batch_size=4, **way)
    plain().fit(X, Y, optimizer=nr.SGD(rate), batch_size=1, shuffle=False, **way)
    assert told == [*((u, 10) for u in range(10)), *((u, 22) for u in range(22))]
    with pytest.raises(ValueError, match="^updates: expected how many updates there will be in all"):
        plain().fit(X, Y, optimizer=nr.SGD(rate), batch_size=2, **way)  # it depends on the order


def test_validation_and_metrics_are_of_whole_sequences():
    net = plain()
    history = net.fit(X, Y, epochs=1, carry=True, steps=6, validation=(X[:9], Y[:9]), metrics=["mae"], progress=False)
    assert history.validation == [net.loss(X[:9], Y[:9])] and history.metrics["mae"] == [net.loss(X, Y, "mae")]
    split = plain().fit(X, Y, epochs=1, carry=True, steps=6, validation_split=0.3, split_by="time", progress=False)
    assert np.isfinite(split.validation[0])


@pytest.mark.parametrize("kind", ["numbers", "ntc", "labels", "lengths", "ragged", "weights"])
def test_a_long_sequence_is_measured_in_pieces_with_the_bits_of_the_whole(kind, monkeypatch):
    make = reader if kind == "labels" else plain
    net = network(nr.LSTM(3, layers=2), nr.GRU(3), nr.Dense(1), layout="ntc") if kind == "ntc" else make()
    x, y, options = (WORDS, LABELS, {"loss": nr.CrossEntropy(ignore_index=1)}) if kind == "labels" else (X, Y, {})
    x, y = x[:, :1], y[:, :1]
    if kind == "ntc":
        x, y = x.swapaxes(0, 1), y.swapaxes(0, 1)
    if kind == "lengths":
        options["lengths"] = [17]
    if kind == "ragged":
        x, y = nr.Ragged.of([x[:, 0]]), nr.Ragged.of([y[:, 0]])
    if kind == "weights":
        options["weights"] = np.where(THIRD, 0.0, 1 + np.arange(STEPS)[:, None] % 3)
    metrics = ["accuracy"] if kind == "labels" else ["mae", lambda prediction, target: float(prediction[0].sum())]
    whole, rows, run = net.evaluate(x, y, metrics=metrics, **options), [], nr.Network._forward

    def counted(self, parts, described, *given, **more):
        rows.append(described.packing.rows)
        return run(self, parts, described, *given, **more)

    monkeypatch.setattr(nr.Network, "_piece_rows", 5)
    monkeypatch.setattr(nr.Network, "_forward", counted)
    assert net.evaluate(x, y, metrics=metrics, **options) == whole
    assert max(rows) == 5 and sum(rows) == (17 if kind == "lengths" else STEPS)
    last = network(nr.GRU(3), nr.Last(), nr.Dense(1))
    rows.clear()
    last.loss(X[:, :1], Y[0, :1])
    assert rows == [STEPS]  # needs the whole


def test_accumulated_pieces_make_one_update():
    net, other = plain(), plain()
    trainer = nr.Trainer(net, optimizer=nr.SGD(0.1), accumulate=2)
    trainer.fit(X, Y, epochs=1, batch_size=4, shuffle=False, carry=True, steps=10, progress=False)
    state = None
    for group in ((slice(0, 10), slice(10, 20)), (slice(20, 23),)):
        gradients = []
        for span in group:
            out, state, tape = other.forward(X[span], state)
            gradients.append(other.backward(tape, nr.MSE()(out, Y[span])[1]).params.flat)
        other.params.flat[:] -= 0.1 * np.mean(gradients, axis=0)
    assert trainer.step == 2
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=1e-12)


def weighed(prediction, y, weights=None):
    """The weighted mean of squares, a loss of one's own: NaN where all weights are 0."""
    total = weights.sum()
    return float((weights * (prediction - y) ** 2).sum() / total), weights * 2 * (prediction - y) / total


THIRD = np.arange(STEPS)[:, None] // 5 == 2  # the steps of the third piece


@pytest.mark.parametrize(
    "make, x, y, options, loss",
    [
        (reader, WORDS, np.where(THIRD, 0, LABELS), {"loss": nr.CrossEntropy(ignore_index=0)}, None),
        (plain, X, Y, {"loss": weighed, "weights": np.where(THIRD, 0.0, 1.0).repeat(SAMPLES, 1)}, nr.MSE()),
    ],
)
def test_a_piece_in_which_nothing_counts_is_read_and_has_no_loss(make, x, y, options, loss):
    net, other, loss = make(), make(), loss or options["loss"]
    way = dict(optimizer=nr.SGD(0.1), epochs=1, batch_size=SAMPLES, shuffle=False, carry=True, steps=5, progress=False)
    history = net.fit(x, y, **options, **way)
    state, total, counted = None, 0.0, 0
    for first in range(0, STEPS, 5):
        span = slice(first, first + 5)
        out, state, tape = other.forward(x[span], state)
        if first == 10:
            continue
        value, gradient = loss(out, y[span])
        other.params.flat[:] -= 0.1 * other.backward(tape, gradient).params.flat
        count = y[span].size if loss == nr.MSE() else np.count_nonzero(y[span])
        total, counted = total + value * count, counted + count
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=1e-12)
    np.testing.assert_allclose(history.loss, total / counted, rtol=1e-12)


def refused(*layers, **options):
    """A call of `fit` that carries."""
    return lambda: network(*layers).fit(
        *options.pop("data", (X, Y)), **{"carry": True, "steps": 5, "progress": False, **options}
    )


@pytest.mark.parametrize(
    "call, error, message",
    [
        (refused(nr.RNN(3), nr.Dense(1), carry=1), TypeError, r"carry: expected True or False, got 1 \(int\)"),
        (refused(nr.RNN(3), nr.Dense(1), steps=0), ValueError, "steps: expected a positive integer, got 0"),
        (refused(nr.RNN(3), nr.Dense(1), steps=None), TypeError, "steps: expected a positive integer beside carry=True"),
        (refused(nr.RNN(3), nr.Dense(1), carry=False), ValueError, "steps: expected None without carry=True, got 5"),
        (refused(nr.RNN(3), nr.Dense(1), reset=X[..., 0] > 0), ValueError, "reset: expected None beside carry=True"),
        (refused(nr.Dense(1)), ValueError, "carry: expected False for a network without recurrent layers"),
        (
            refused(nr.RNN(3), nr.Last(), nr.Dense(1), data=(X, Y[0])),
            ValueError, r"carry: expected False for a network with Last\(\), which takes a whole sequence, got True",
        ),
        (
            refused(nr.RNN(3), nr.Pool("mean"), nr.Dense(1), data=(X, Y[0])),
            ValueError, r"carry: expected False for a network with Pool\('mean'\)|Pool\(kind='mean'\)",
        ),
        (
            refused(nr.GRU(3, bidirectional=True), nr.Dense(1)),
            ValueError, r"carry: expected False for GRU\(.*bidirectional=True\), which begins at both ends of a sequence",
        ),
        (
            lambda: nr.Trainer(plain()).fit([(X, Y)], carry=True, steps=5, progress=False),
            ValueError, "carry: expected False beside batches of your own, got True; update",
        ),
        (
            lambda: nr.Trainer(plain()).update(X, Y, state=3),
            TypeError, "state: expected a tuple of 2 states, one for each recurrent layer, got int",
        ),
        (
            lambda: nr.Trainer(plain()).update(X, Y, state=(None, np.zeros((1, 3, 3)))),
            nr.ShapeError, r"state\[1\]: expected shape \(1, 4, 3\)",
        ),
        (
            lambda: nr.Trainer(plain()).update(X, Y, state=(None, np.full((1, 4, 3), np.nan))),
            nr.NonFiniteError, r"state\[1\]: expected finite numbers, got nan",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()


CHUNKS = [slice(0, 4), slice(4, 5), slice(5, 15), slice(15, STEPS)]
LAYERS = [
    nr.LSTM(3, layers=2), nr.LSTM(4, projection=2), nr.GRU(3, "before"), nr.RNN(3, "relu", layers=2, residual=True),
    nr.IndRNN(3),
]  # fmt: skip


def assert_near(found, expected):
    """Sums of the same numbers in another order: over all steps, or over each chunk first and then over the chunks."""
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * np.abs(expected).max())


def arrays_of(state):
    """The arrays of a state of whatever form, in order."""
    return [array for part in state for array in arrays_of(part)] if isinstance(state, (tuple, list)) else [state]


def test_chunks_of_a_network_have_the_gradient_of_the_whole():
    """Outputs, dL/dx and dL/d(states) to the bit: no sum of theirs is over steps."""
    net = plain()
    start, end = (tuple((RANDOM.standard_normal((2, SAMPLES, 3)),) * 2 if k == 0 else RANDOM.standard_normal((1, SAMPLES, 3))
                  for k in range(2)) for _ in range(2))  # fmt: skip
    dy = RANDOM.standard_normal(Y.shape)
    y, final, tape = net.forward(X, start)
    whole = net.backward(tape, dy, end)
    outputs, tapes, state = [], [], start
    for span in CHUNKS:
        out, state, tape = net.forward(X[span], state)
        outputs.append(out)
        tapes.append(tape)
    assert np.array_equal(np.concatenate(outputs), y)
    assert all(map(np.array_equal, arrays_of(state), arrays_of(final)))
    gradient, dstate, dx = net.params.zeros(), end, []
    for span, tape in zip(reversed(CHUNKS), reversed(tapes)):
        found = net.backward(tape, dy[span], dstate, into=gradient, accumulate=True)
        dstate, dx = found.state, [found.x, *dx]
    assert np.array_equal(np.concatenate(dx), whole.x)
    assert all(map(np.array_equal, arrays_of(dstate), arrays_of(whole.state)))
    assert_near(gradient.flat, whole.params.flat)
    cut = net.params.zeros()
    for span, tape in zip(CHUNKS, tapes):
        net.backward(tape, dy[span], into=cut, accumulate=True)
    assert np.abs(cut.flat - whole.params.flat).max() > 1e-3  # what dstate brings is needed


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_chunks_of_a_layer_have_the_gradient_of_the_whole(layer, ragged):
    p, random = layer.init(2, seed=1, dtype="float64"), np.random.default_rng(2)
    lengths = LENGTHS if ragged else np.full(SAMPLES, STEPS)
    y, final, tape = layer.forward(p, X, lengths=lengths)
    dy, dfinal = random.standard_normal(y.shape), [random.standard_normal(part.shape) for part in arrays_of(final)]
    dfinal = tuple(dfinal) if isinstance(final, tuple) else dfinal[0]
    whole = layer.backward(tape, dy, dfinal)
    outputs, tapes, state = [], [], None
    for span in CHUNKS:
        own = np.clip(lengths - span.start, 0, span.stop - span.start)
        out, state, tape = layer.forward(p, X[span], state, lengths=own)
        outputs.append(out)
        tapes.append(tape)
    gradient, dstate, dx = p.zeros(), dfinal, []
    for span, tape in zip(reversed(CHUNKS), reversed(tapes)):
        found = layer.backward(tape, dy[span], dstate, into=gradient, accumulate=True)
        dstate, dx = found.state, [found.x, *dx]
    assert np.array_equal(np.concatenate(outputs), y) and np.array_equal(np.concatenate(dx), whole.x)
    assert all(map(np.array_equal, arrays_of(state), arrays_of(final)))
    assert all(map(np.array_equal, arrays_of(dstate), arrays_of(whole.state)))
    assert_near(gradient.flat, whole.params.flat)
