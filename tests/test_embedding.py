"""Embedding: against NumPy and PyTorch, by finite differences, in every layout; and its sparse gradient."""

import itertools

import numba
import numpy as np
import pytest
from checks import check_embedding, same_bits
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.arrays.indices import Groups
from numbarnn.training.samples import Samples
from numbarnn.training.tables import TableByRows
from numbarnn.training.updates import Updates
from numbarnn.training.workspace import Workspace

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4", "<u2", ">u8")
LAYOUTS = ("tn", "nt", *("".join(letters) for letters in itertools.permutations("tnc")))
LENGTHS = np.array([4, 0, 6, 1, 6])


def indices(steps=6, samples=5, vocabulary=11, seed=0, dtype="int64"):
    """Random indices, (T, N)."""
    return np.random.default_rng(seed).integers(0, vocabulary, (steps, samples)).astype(dtype)


def laid_out(x, layout, channel):
    """(T, N) in a layout, with a channel axis of length 1 or without."""
    if not channel:
        return x.transpose(["tn".index(letter) for letter in layout.replace("c", "")])
    return x[..., None].transpose(["tnc".index(letter) for letter in layout])


def as_tnc(y, layout):
    """An output in T, N, C order."""
    layout = layout if "c" in layout else layout + "c"
    return y.transpose([layout.index(letter) for letter in "tnc"])


@given(
    st.sampled_from(INTEGERS),
    st.sampled_from(LAYOUTS),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([1, 3, 8, 16, 21]),
    st.booleans(),
    st.booleans(),
)
def test_forward_and_backward(integers, layout, channel, dtype, size, sliced, ragged):
    layer, x = nr.Embedding(11, size), indices(dtype=integers)
    lengths = LENGTHS if ragged else None
    there = np.arange(6)[:, None] < (LENGTHS if ragged else np.full(5, 6))
    p = layer.init(seed=1, dtype=dtype)
    given_x = laid_out(np.where(there, x, np.array(99, x.dtype)), layout, channel and "c" in layout)  # 99: not read
    if sliced:
        given_x = np.repeat(given_x, 2, axis=0)[::2]
    y, tape = layer.forward(p, given_x, layout, lengths)
    expected = np.where(there[..., None], p["weight"][x.astype(int)], 0)
    assert same_bits(as_tnc(y, layout).copy(), expected.astype(dtype))
    assert same_bits(layer(p, given_x, layout, lengths).copy(), y.copy())
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
    g = layer.backward(tape, dy)
    weight = np.zeros((11, size))
    np.add.at(weight, x.astype(int)[there], as_tnc(dy, layout)[there].astype(float))
    np.testing.assert_allclose(g.params["weight"], weight, rtol=0, atol=64 * np.finfo(dtype).eps)
    assert g.x is None and g.state is None
    sparse = layer.row_gradient(tape, dy)
    assert np.array_equal(sparse.rows, np.unique(x.astype(int)[there]))
    assert same_bits(sparse.values, g.params["weight"][sparse.rows])
    again = layer.backward(tape, dy, into=g.params.copy(), accumulate=True).params["weight"]
    np.testing.assert_allclose(again, 2 * weight, rtol=0, atol=128 * np.finfo(dtype).eps)
    overwritten = layer.init(dtype=dtype)
    assert same_bits(layer.backward(tape, dy, into=overwritten).params.flat, g.params.flat)


@given(st.integers(1, 7), st.integers(1, 40), st.sampled_from([1, 5, 16]), st.booleans(), st.integers(0, 99))
def test_gradient_by_finite_differences(steps, samples, size, ragged, seed):
    lengths = np.random.default_rng(seed).integers(0, steps + 1, samples) if ragged else None
    check_embedding(nr.Embedding(9, size), indices(steps, samples, 9, seed), seed, lengths=lengths)


def test_ragged_indices():
    layer, x = nr.Embedding(11, 3), indices()
    p = layer.init(dtype="float64")
    sequences = nr.Ragged.of([x[:length, n] for n, length in enumerate(LENGTHS)])
    y, tape = layer.forward(p, sequences)
    padded, padded_tape = layer.forward(p, x, lengths=LENGTHS)
    for n, length in enumerate(LENGTHS):
        assert same_bits(y[n], padded[:length, n].copy())
    dy = np.random.default_rng(1).standard_normal(padded.shape)
    rows = nr.Ragged.of([dy[:length, n] for n, length in enumerate(LENGTHS)])
    assert same_bits(layer.backward(tape, rows).params.flat, layer.backward(padded_tape, dy).params.flat)
    assert repr(sequences) == "Ragged(5 sequences of 0 to 6 steps, int64)" and sequences.channels == 1
    assert same_bits(sequences.take([2, 0])[1], x[:4, 0].copy())


def test_one_sequence_and_a_batch_without_time():
    layer, x = nr.Embedding(11, 3), indices()[:, 0].copy()
    p = layer.init()
    assert same_bits(layer(p, x), p["weight"][x])
    assert same_bits(layer(p, x, "nc"), p["weight"][x])
    assert same_bits(layer(p, x[:, None], "tc"), p["weight"][x])


def test_sequences_without_any_step():
    layer = nr.Embedding(11, 3)
    p = layer.init()
    y, tape = layer.forward(p, indices(), lengths=np.zeros(5, int))
    assert not y.any() and not layer.backward(tape, np.ones_like(y)).params.flat.any()
    assert len(layer.row_gradient(tape, np.ones_like(y)).rows) == 0


@given(st.lists(st.integers(0, 2**33), min_size=1, max_size=50), st.sampled_from([3, 2**16, 2**17 + 1, 2**40]))
def test_groups(numbers, end):
    values = np.array(numbers) % end
    groups = Groups(values)
    found, counts = np.unique(values, return_counts=True)
    assert np.array_equal(groups.indices, found) and np.array_equal(np.diff(groups.starts), counts)
    assert np.array_equal(groups.order, np.argsort(values, kind="stable"))


def test_threads_change_nothing():
    layer, x = nr.Embedding(50, 33), indices(40, 60, 50) ** 2 // 50  # some indices are frequent
    p = layer.init()
    found = []
    for threads in (1, 2, 3):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        y, tape = layer.forward(p, x)
        found.append((y.copy(), layer.backward(tape, y * 3).params.flat))
    assert all(same_bits(results, found[0]) for results in found)


def test_initial_values():
    layer = nr.Embedding(300, 20)
    p, q = layer.init(seed=3), layer.init(seed=3, scheme="pytorch")
    assert p.names == ("weight",) and p["weight"].shape == (300, 20)
    limit = np.sqrt(6 / 320)
    assert 0.95 * limit < np.abs(p["weight"]).max() <= limit
    assert q["weight"].std() == pytest.approx(1, abs=0.05) and abs(q["weight"].mean()) < 0.05
    assert np.array_equal(p["weight"], layer.init(seed=3, dtype="float64")["weight"].astype(np.float32))
    assert np.shares_memory(p["weight"], p.flat)


def network(dtype="float64", last=True, dropout=0.0, layout="tnc", seed=0):
    """A small classifier of sequences, or of their steps."""
    layers = [nr.Embedding(11, 4), nr.Dropout(dropout), nr.GRU(5), *([nr.Last()] if last else []), nr.Dense(3)]
    return nr.Network(layers, dtype=dtype, layout=layout, seed=seed)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("layout", ["tnc", "ntc", "cnt"])
@pytest.mark.parametrize("form", ["uniform", "lengths", "ragged"])
def test_the_gradient_of_a_network_is_the_slope_of_its_loss(form, layout, last):
    net = network(layout=layout, last=last)
    x = indices(dtype="uint16")
    y = indices(vocabulary=3, seed=1, dtype="int8")
    lengths = LENGTHS if form == "lengths" else None
    if form == "ragged":
        x, y_steps = (nr.Ragged.of([a[:length, n] for n, length in enumerate(LENGTHS)]) for a in (x, y))
    else:
        x, y_steps = laid_out(x, layout, False), laid_out(y, layout, False)
    y = y[0] if last else y_steps
    value, gradient = net.loss_and_gradient(net.params.flat, x, y, "cross_entropy", lengths)
    assert value == pytest.approx(net.loss(x, y, "cross_entropy", lengths), rel=1e-12)
    way = np.random.default_rng(0).standard_normal(len(gradient))
    up, down = (
        net.loss_and_gradient(net.params.flat + step * way, x, y, "cross_entropy", lengths)[0] for step in (1e-5, -1e-5)
    )
    assert gradient @ way == pytest.approx((up - down) / 2e-5, abs=1e-8)
    prediction = net.predict(x, lengths)
    if form == "ragged" and not last:
        assert prediction.channels == 3 and np.array_equal(prediction.offsets, x.offsets)
    else:
        letters = net.output_layout
        assert prediction.shape[letters.index("n")] == 5 and prediction.shape[letters.index("c")] == 3


@pytest.mark.parametrize("form", ["uniform", "lengths", "ragged"])
def test_many_samples_are_predicted_in_pieces(form, monkeypatch):
    net, x = network(), indices(dtype="uint8")
    lengths = LENGTHS if form == "lengths" else None
    x = nr.Ragged.of([x[:length, n] for n, length in enumerate(LENGTHS)]) if form == "ragged" else x
    prediction, y = net.predict(x, lengths), np.array([0, 1, 2, 1, 0])
    value = net.loss(x, y, "cross_entropy", lengths)
    for rows in (1, 7, 13):
        monkeypatch.setattr("numbarnn.Network._piece_rows", rows)
        assert same_bits(net.predict(x, lengths).copy(), prediction.copy())
        assert net.loss(x, y, "cross_entropy", lengths) == value


def trained_densely(net, x, y, optimizer, epochs, batch_size, seed, clip):
    """The losses of a training that updates every parameter at every step; the network is modified."""
    random = np.random.default_rng(seed)
    order, flat, losses = np.arange(len(y)), net.params.flat, []
    memory, previous, step = optimizer.start(flat), flat.copy(), 0
    updates = epochs * -(-len(order) // batch_size)
    for _ in range(epochs):
        random.shuffle(order)
        total = 0.0
        for chosen in (order[i : i + batch_size] for i in range(0, len(order), batch_size)):
            value, gradient = net.loss_and_gradient(flat, x[:, chosen], y[chosen], "cross_entropy")
            size = np.linalg.norm(gradient)
            scale = 1.0 if clip is None else min(1.0, clip / size)
            step += 1
            optimizer.update(flat, previous, gradient, memory, step, optimizer.rates(nr.History())(step - 1, updates), scale)
            total += value * len(chosen)
        losses.append(total / len(order))
    return losses


OPTIMIZERS = [
    nr.SGD(0.1, 0.9), nr.SGD(0.1, 0.5, True), nr.RMSProp(0.02), nr.Adam(nr.cosine(0.02)), nr.AdamW(0.02, decays="all")
]  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("clip", [None, 0.05])
def test_fit_is_the_training_of_all_rows(optimizer, clip):
    x, y = indices(vocabulary=40) % 31, np.array([0, 1, 2, 1, 0], np.uint8)
    layers = [nr.Embedding(40, 4), nr.GRU(5), nr.Last(), nr.Dense(3)]
    net, twin = (nr.Network(layers, dtype="float64", seed=0) for _ in range(2))
    seen = []

    def remember(network, history):
        seen.append(network.loss(x, y, "cross_entropy"))

    history = net.fit(
        x, y, "cross_entropy", optimizer, 7, batch_size=2, seed=1, clip=clip, progress=False, validation=(x, y),
        callbacks=[remember],
    )  # fmt: skip
    losses = trained_densely(twin, x, y, optimizer, 7, 2, 1, clip)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-10)
    np.testing.assert_allclose(net.params.flat, twin.params.flat, rtol=0, atol=1e-12)
    assert history.validation == seen and history.validation[-1] == net.loss(x, y, "cross_entropy")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, nr.SGD(0.1), nr.Adam(0.01, beta1=0.99, beta2=0.5)], ids=repr)
def test_rows_brought_up_to_date(optimizer, dtype):
    """Long after its last gradient a row, and what is remembered of it, are as after an update at every step."""
    random, updates = np.random.default_rng(0), 600
    table = random.standard_normal((40, 21)).astype(dtype)
    expected, rows = table.copy(), TableByRows(table, optimizer)
    memory, previous = optimizer.start(expected.reshape(-1)), expected.copy().reshape(-1)
    for step in range(1, updates + 1):
        used = np.unique(39 * random.random(random.integers(1, 5)) ** 6).astype(np.int64)
        used = np.unique(used)
        gradient = np.zeros_like(table)
        gradient[used] = random.standard_normal((len(used), 21))
        rows.bring(used)
        rows.gradient.rows, rows.gradient.values = used, gradient[used]
        rate = optimizer.rates(nr.History())(step - 1, updates)
        rows.update(step, rate, 0.5)
        optimizer.update(expected.reshape(-1), previous, gradient.reshape(-1), memory, step, rate, 0.5)
        if step == 250:
            rows.bring_all()
            np.testing.assert_allclose(table, expected, rtol=0, atol=16 * np.finfo(dtype).eps)
    rows.bring_all()
    np.testing.assert_allclose(table, expected, rtol=0, atol=32 * np.finfo(dtype).eps)
    for mine, theirs in zip(rows._memory, memory, strict=True):
        np.testing.assert_allclose(mine.reshape(-1), theirs, rtol=1e3 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


def test_an_update_visits_the_rows_that_are_used():
    """Rows that no index names are neither read nor written: what is in them does not matter until the epoch's end."""
    net = nr.Network([nr.Embedding(1000, 4), nr.Last(), nr.Dense(2)], seed=0)
    x, y = indices(vocabulary=10), np.zeros(5, int)
    updates = Updates(net, nr.Adam())
    workspace = Workspace(net, updates.into, net._own, reading=updates.reading)
    samples = Samples.of(net, x, y, loss=nr.loss("cross_entropy"))
    net.params["0.weight"][10:] = np.nan
    for _ in range(3):
        assert np.isfinite(workspace.gradient(samples, nr.loss("cross_entropy")))
        updates.update(0.01, 1.0)
    gradient = updates.into[0]
    assert gradient.values.shape == (len(np.unique(x)), 4) and np.array_equal(gradient.rows, np.unique(x))
    assert np.isfinite(net.params["0.weight"][:10]).all() and np.isnan(net.params["0.weight"][10:]).all()
    assert len(updates.gradient) == len(net.params) - 4000


def test_an_embedding_alone():
    net = nr.Network([nr.Embedding(11, 3)], dtype="float64")
    x, y = indices(vocabulary=3), np.random.default_rng(0).standard_normal((6, 5, 3))
    history = net.fit(x, y, "mse", nr.SGD(2.0), 60, clip=1.0, progress=False)
    means = [y[x == index].mean(axis=0) for index in range(3)]
    assert history.loss[-1] < history.loss[0]
    np.testing.assert_allclose(net.params["0.weight"][:3], means, rtol=0, atol=1e-3)


def test_a_training_that_diverges_leaves_finite_rows():
    net = nr.Network([nr.Embedding(11, 4), nr.Dense(1)])
    x, y = indices(), np.random.default_rng(0).standard_normal((6, 5, 1)).astype(np.float32)
    with np.errstate(over="ignore"), pytest.raises(nr.NonFiniteError, match="epoch"):
        net.fit(x, y, "mse", nr.SGD(1e4), epochs=500, batch_size=2, progress=False)
    assert np.isfinite(net.params.flat).all()


def test_an_interrupted_training_leaves_rows_up_to_date():
    x, y = indices(vocabulary=40) % 31, np.array([0, 1, 2, 1, 0], np.uint8)
    net, twin = (nr.Network([nr.Embedding(40, 4), nr.Last(), nr.Dense(3)], dtype="float64") for _ in range(2))
    calls = iter(range(4))

    class Stops(nr.CrossEntropy):
        def of_labels(self, logits, labels, weights=None):
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return super().of_labels(logits, labels, weights)

    with pytest.raises(KeyboardInterrupt):
        net.fit(x, y, Stops(), nr.SGD(0.1, 0.9), 10, batch_size=1, shuffle=False, progress=False)
    flat, optimizer = twin.params.flat, nr.SGD(0.1, 0.9)
    memory, previous = optimizer.start(flat), flat.copy()
    for n in range(4):
        gradient = twin.loss_and_gradient(flat, x[:, [n]], y[[n]], "cross_entropy")[1]
        optimizer.update(flat, previous, gradient, memory, n + 1, 0.1)
    np.testing.assert_allclose(net.params.flat, flat, rtol=0, atol=1e-13)


def test_against_torch():
    torch = pytest.importorskip("torch")
    layer, x = nr.Embedding(11, 5), indices()
    p = layer.init(dtype="float64", scheme="pytorch")
    module = torch.nn.Embedding.from_pretrained(torch.from_numpy(p["weight"].copy()), freeze=False)
    y, tape = layer.forward(p, x)
    theirs = module(torch.from_numpy(x))
    assert same_bits(y.copy(), theirs.detach().numpy())
    dy = np.random.default_rng(1).standard_normal(y.shape)
    theirs.backward(torch.from_numpy(dy))
    found = layer.backward(tape, dy).params["weight"]
    np.testing.assert_allclose(found, module.weight.grad.numpy(), rtol=0, atol=1e-14)


def test_dense_adam_of_torch():
    """Training leaves the same rows as PyTorch's Adam, which updates all of them."""
    torch = pytest.importorskip("torch")
    x, y = indices(vocabulary=40) % 31, np.array([0, 1, 2, 1, 0])
    net = nr.Network([nr.Embedding(40, 4), nr.Last(), nr.Dense(3)], dtype="float64")
    embedding = torch.nn.Embedding.from_pretrained(torch.from_numpy(net.params["0.weight"].copy()), freeze=False)
    linear = torch.nn.Linear(4, 3, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(net.params["2.weight"].copy()))
        linear.bias.zero_()
    optimizer = torch.optim.Adam([*embedding.parameters(), *linear.parameters()], 0.01)
    for _ in range(20):
        for n in range(5):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(linear(embedding(torch.tensor(x[-1, [n]]))), torch.tensor(y[[n]])).backward()
            optimizer.step()
    net.fit(x, y, "cross_entropy", nr.Adam(0.01), 20, batch_size=1, shuffle=False, progress=False)
    np.testing.assert_allclose(net.params["0.weight"], embedding.weight.detach().numpy(), rtol=0, atol=1e-10)


LAYER = nr.Embedding(11, 3)
P = LAYER.init()
NET = network("float32")
X = indices()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: nr.Embedding(0, 3), ValueError, "vocabulary: expected a positive integer, got 0"),
        (lambda: nr.Embedding(3, 2.0), TypeError, "size: expected a positive integer, got 2.0"),
        (lambda: LAYER.init(2), nr.ShapeError, "channels: expected 1, an index, for Embedding.*got 2"),
        (lambda: LAYER(P, np.where(X == X[3, 2], 11, X)), nr.IndexRangeError, "x: expected indices from 0 to 10, got 11 at"),
        (lambda: LAYER(P, X - 99), nr.IndexRangeError, "got -.* at step 0 of sample 0"),
        (lambda: LAYER(P, np.array([[3, 3], [3, 12]], np.int8)), nr.IndexRangeError, "got 12 at step 1 of sample 1"),
        (lambda: LAYER(P, np.array([[3, 3], [3, 2**64 - 1]], np.uint64)), nr.IndexRangeError, "got 18446744073709551615"),
        (lambda: LAYER(P, np.full((3, 2), 20), "nt", [1, 0, 2]), nr.IndexRangeError, "got 20 at step 0 of sample 2"),
        (lambda: LAYER(P, nr.Ragged.of([X[:2, 0], np.array([5, -1])])), nr.IndexRangeError, "got -1 at step 1 of sample 1"),
        (lambda: LAYER(P, X.astype(float)), nr.DTypeError, "x: expected integers, got float64"),
        (lambda: LAYER(P, X > 3), nr.DTypeError, "x: expected integers, got bool"),
        (lambda: LAYER(P, [[1, 2]]), TypeError, "x: expected a numpy.ndarray of integers, got list"),
        (lambda: LAYER(P, np.stack([X, X], -1)), nr.ShapeError, "x: expected 1 channel, of integers, got 2"),
        (lambda: LAYER(P, X[None, None]), nr.ShapeError, r"x: expected 2 axes \(tn\), or 3 with a channel axis"),
        (lambda: LAYER(P, X, "tx"), nr.LayoutError, "layout: expected the letters t, n, c"),
        (lambda: LAYER(P, X[0], "nc", [1]), nr.LayoutError, "layout: expected the letters of a sequence, t among them"),
        (lambda: LAYER(P, X, "tn", [1, 2, 3, 4, 9]), ValueError, "lengths: expected numbers from 0 to 6"),
        (lambda: LAYER(P, nr.Ragged.of([np.ones((2, 1))])), nr.DTypeError, "x: expected a Ragged of integers, got float64"),
        (lambda: nr.GRU(2)(nr.GRU(2).init(1), nr.Ragged.of([X[0]])), nr.DTypeError, "x: expected a Ragged of float32 or"),
        (lambda: nr.Ragged.of([X[0], X]), nr.DTypeError, r"arrays\[1\]: expected .* or integers \(T,\)"),
        (lambda: nr.Ragged(X, [0, 6]), nr.DTypeError, r"data: expected .* or integers \(sum T,\)"),
        (lambda: nr.Network([nr.GRU(2)]), TypeError, "channels: expected a positive integer, .* got None"),
        (lambda: nr.Network([LAYER], 2), nr.ShapeError, "channels: expected 1, an index"),
        (lambda: nr.Network([nr.GRU(2), LAYER], 1), ValueError, "layers: expected an Embedding.* the first, got one at 1"),
        (lambda: NET.predict(X.astype("float32")), nr.DTypeError, "x: expected integers, got float32"),
        (lambda: NET.fit(X + 6, X[0]), nr.IndexRangeError, "x: expected indices from 0 to 10, got"),
        (lambda: NET.fit(X, np.full(5, 3), "cross_entropy"), nr.IndexRangeError, "y: expected labels from 0 to 2, got 3 at"),
        (lambda: NET.fit(X, X[:3, 0], "cross_entropy"), nr.ShapeError, "y: expected 5 samples like x, got 3"),
        (lambda: NET.fit(X, X % 3, "cross_entropy"), nr.ShapeError, r"y: expected 1 axes \(n\), got 2"),
        (lambda: NET.fit(X, np.zeros(5), "cross_entropy"), nr.DTypeError, "y: expected integers, got float64"),
        (lambda: NET.fit(X, X[0] % 3, "mse"), nr.ShapeError, 'y: expected 2 axes.*loss="cross_entropy"'),
        (lambda: NET.fit(X[:, 0], X[0], "cross_entropy"), nr.ShapeError, "y: expected one label, without axes"),
    ],
)
def test_bad_input(call, error, message):
    before = NET.params.flat.copy()
    with pytest.raises(error, match=message):
        call()
    assert same_bits(NET.params.flat, before)


def test_the_tape_of_another_layer_is_refused():
    _, tape = nr.Embedding(11, 4).forward(nr.Embedding(11, 4).init(), X)
    with pytest.raises(TypeError, match="tape: expected one that Embedding"):
        LAYER.row_gradient(tape, np.zeros((6, 5, 4), np.float32))
