"""Ragged batches outside the recurrent layers: the container, layers without memory, networks and their training."""

import numpy as np
import pytest
from checks import same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import LAYOUTS, STRIDES, arranged, as_tnc

import numbarnn as nr
from numbarnn.cpu import recurrent
from numbarnn.training import workspace as training

LENGTHS = np.array([3, 5, 0, 1, 5, 2, 4])
STATELESS = [nr.Dense(3, "tanh"), nr.Dense(2), nr.Activation("sigmoid"), nr.Activation("identity"), nr.Last()]


def ragged(tnc, lengths):
    """The sequences of a padded (T, N, C) array as a Ragged."""
    return nr.Ragged.of([tnc[:length, n] for n, length in enumerate(lengths)])


def poisoned(tnc, lengths):
    """A copy with NaN past the lengths."""
    return np.where(np.arange(len(tnc))[:, None, None] < lengths[:, None], tnc, np.asarray(np.nan, tnc.dtype))


def numbers(*shape, seed=0, dtype="float64"):
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def network(last, dtype="float64", layout="tnc", seed=0):
    """Every kind of layer in a row."""
    layers = [nr.GRU(5, bidirectional=True), nr.LSTM(4), nr.Activation("tanh"), nr.Dense(3, "tanh")]
    return nr.Network([*layers, *([nr.Last()] if last else []), nr.Dense(2)], 3, dtype, layout, seed=seed)


def data(last, lengths=LENGTHS, dtype="float64", steps=5):
    """Samples with NaN past the lengths, and targets."""
    shape = (len(lengths), 2) if last else (steps, len(lengths), 2)
    x, y = numbers(steps, len(lengths), 3, seed=1, dtype=dtype), numbers(*shape, seed=2, dtype=dtype)
    return poisoned(x, lengths), y if last else poisoned(y, lengths)


def test_the_container():
    arrays = [numbers(length, 2, seed=length) for length in (3, 0, 2)]
    x = nr.Ragged.of(iter(arrays))
    assert len(x) == 3 and x.channels == 2 and x.dtype == np.float64
    assert x.lengths.tolist() == [3, 0, 2] and x.offsets.tolist() == [0, 3, 3, 5]
    assert all(same_bits(a, b) for a, b in zip(x, arrays, strict=True))
    assert same_bits(x[-1], arrays[2]) and np.shares_memory(x[0], x.data)
    assert repr(x) == "Ragged(3 sequences of 0 to 3 steps, 2 channels, float64)"


def test_the_container_keeps_its_data():
    values = numbers(4, 2)
    assert nr.Ragged(values, np.array([0, 4], np.uint8)).data is values


def test_some_sequences():
    arrays = [numbers(length, 2, seed=length) for length in (3, 0, 2)]
    x = nr.Ragged.of(arrays)
    for chosen in ([2, 0], [1], [1, 1, 2, 2], np.array([0, 1, 2])):
        some = x.take(chosen)
        assert all(same_bits(a, arrays[n]) for a, n in zip(some, chosen, strict=True))
        assert not np.shares_memory(some.data, x.data)


@pytest.mark.parametrize("layer", STATELESS, ids=repr)
def test_layers_without_memory(layer):
    @given(
        st.lists(st.integers(0, 5), min_size=1, max_size=6),
        st.sampled_from(LAYOUTS),
        st.sampled_from(tuple(STRIDES)),
        st.sampled_from(("float64", "float32")),
    )
    def check(lengths, layout, strides, dtype):
        lengths = np.array(lengths)
        p = layer.init(4, dtype=dtype, scheme="pytorch")
        x = poisoned(numbers(5, len(lengths), 4, dtype=dtype), lengths)
        channels, last = layer.output_channels(4), isinstance(layer, nr.Last)
        dy = numbers(1 if last else 5, len(lengths), channels, seed=1, dtype=dtype)
        dy = dy if last else poisoned(dy, lengths)
        order = layout.replace("t", "") if last else layout
        given_dy = dy[0].transpose(["nc".index(letter) for letter in order]) if last else arranged(dy, layout, strides)
        y, tape = layer.forward(p, arranged(x, layout, strides), layout, lengths)
        found = layer.backward(tape, given_dy)
        assert same_bits(layer(p, arranged(x, layout, strides), layout, lengths).copy(), y.copy())
        y = y.transpose([order.index(letter) for letter in "nc"])[None] if last else as_tnc(y, layout)
        dx, total = as_tnc(found.x, layout), np.zeros_like(p.flat)
        for n, length in enumerate(lengths):
            assert not dx[length:, n].any() and (last or not y[length:, n].any())
            if length == 0:
                assert not y[:, n].any()
                continue
            alone, tape = layer.forward(p, x[:length, [n]].copy())
            gradients = layer.backward(tape, dy[0, [n]] if last else dy[:length, [n]].copy())
            assert same_bits(y[: 1 if last else length, [n]].copy(), alone.reshape(-1, 1, channels).copy())
            assert same_bits(dx[:length, [n]].copy(), gradients.x.copy())
            total += gradients.params.flat
        np.testing.assert_allclose(found.params.flat, total, rtol=0, atol=100 * np.finfo(dtype).eps)

    check()


@pytest.mark.parametrize("layer", STATELESS, ids=repr)
def test_layers_without_memory_on_ragged(layer):
    p, last = layer.init(4, dtype="float64"), isinstance(layer, nr.Last)
    x, dy = numbers(5, 7, 4), numbers(5, 7, layer.output_channels(4), seed=1)
    dy = dy[0] if last else dy
    y, tape = layer.forward(p, x, lengths=LENGTHS)
    expected = layer.backward(tape, dy)
    found, tape = layer.forward(p, ragged(x, LENGTHS))
    gradients = layer.backward(tape, dy if last else ragged(dy, LENGTHS))
    assert same_bits(found if last else found.data, y.copy() if last else ragged(y, LENGTHS).data)
    assert same_bits(gradients.x.data, ragged(expected.x, LENGTHS).data)
    assert same_bits(gradients.params.flat, expected.params.flat)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_predictions(layout, last):
    net, plain = network(last, layout=layout), network(last)
    x, _ = data(last)
    found = net.predict(arranged(x, layout), LENGTHS)
    rows = net.predict(ragged(x, LENGTHS))
    order = [net.output_layout.index(letter) for letter in plain.output_layout]
    found, rows = found.transpose(order), rows.transpose(order) if last else rows
    for n, length in enumerate(LENGTHS):
        assert last or not found[length:, n].any()
        if length:
            alone = plain.predict(x[:length, n].copy())
            mine = found[n] if last else found[:length, n]
            assert same_bits(mine.copy(), alone.copy()) and same_bits(rows[n].copy(), alone.copy())
        elif last:  # Last gives 0 for a sequence without steps
            assert same_bits(found[n].copy(), net.params["5.bias"].copy())


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("form", ["tnc", "ntc", "cnt", "ragged"])
def test_gradient_of_the_whole_network_is_the_slope_of_the_loss(form, last):
    layout = "tnc" if form == "ragged" else form
    net = network(last, layout=layout)
    (x, y), lengths = data(last), (None if form == "ragged" else LENGTHS)
    if form == "ragged":
        x, y = ragged(x, LENGTHS), y if last else ragged(y, LENGTHS)
    else:
        x, y = arranged(x, layout), (y.transpose() if layout == "cnt" else y) if last else arranged(y, layout)
    flat, direction = net.params.flat.copy(), numbers(len(net.params), seed=2)
    direction /= np.linalg.norm(direction)
    step = 1e-6
    for loss in ("mse", "huber"):
        value, gradient = net.loss_and_gradient(flat, x, y, loss, lengths)
        up, down = (net.loss_and_gradient(flat + s * direction, x, y, loss, lengths)[0] for s in (step, -step))
        assert abs((up - down) / (2 * step) - gradient @ direction) < 1e-8 * (1 + np.linalg.norm(gradient))
        assert value == net.loss(x, y, loss, lengths)


@pytest.mark.parametrize("last", [True, False])
def test_ragged_is_padded(last):
    net, (x, y) = network(last), data(last)
    expected = net.loss_and_gradient(net.params.flat, x, y, lengths=LENGTHS)
    found = net.loss_and_gradient(net.params.flat, ragged(x, LENGTHS), y if last else ragged(y, LENGTHS))
    assert found[0] == expected[0] and same_bits(found[1], expected[1])


def test_a_loss_is_the_mean_over_the_steps_there_are():
    net, (x, y) = network(False), data(False)
    rows = ragged(net.predict(x, LENGTHS), LENGTHS).data - ragged(y, LENGTHS).data
    assert net.loss(x, y, lengths=LENGTHS) == pytest.approx(np.square(rows).mean(), rel=1e-14)


def test_lengths_of_all_steps_change_nothing():
    net, full = network(True), np.full(7, 5)
    x, y = data(True, full)
    value, gradient = net.loss_and_gradient(net.params.flat, x, y, lengths=full)
    expected = net.loss_and_gradient(net.params.flat, x, y)
    assert value == expected[0] and same_bits(gradient, expected[1])


@pytest.mark.parametrize("way", [{}, {"tape": "states"}, {"checkpoints": "sqrt"}], ids=str)
@pytest.mark.parametrize("last", [True, False])
def test_fit_takes_the_same_steps(last, way):
    x, y = data(last)
    steps = dict(epochs=3, batch_size=3, progress=False)
    padded, other = network(last), network(last)
    history = padded.fit(x, y, lengths=LENGTHS, **steps)
    again = other.fit(ragged(x, LENGTHS), y if last else ragged(y, LENGTHS), **steps, **way)
    assert same_bits(padded.params.flat, other.params.flat)
    np.testing.assert_allclose(history.loss, again.loss, rtol=1e-13)
    assert not np.array_equal(padded.params.flat, network(last).params.flat)


@pytest.mark.parametrize("last", [True, False])
def test_fit_takes_the_steps_of_the_gradient(last):
    (x, y), net = data(last), network(last)
    value, gradient = net.loss_and_gradient(net.params.flat, x, y, lengths=LENGTHS)
    expected = net.params.flat - 0.1 * gradient
    history = net.fit(x, y, lengths=LENGTHS, optimizer=nr.SGD(0.1), epochs=1, shuffle=False, progress=False)
    np.testing.assert_allclose(net.params.flat, expected, rtol=0, atol=1e-14)
    assert history.loss == [pytest.approx(value, rel=1e-13)]


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
@pytest.mark.parametrize("form", ["padded", "ragged"])
@pytest.mark.parametrize("last", [True, False])
def test_batches_of_equal_length_take_the_steps_of_any_other(last, form, layout, monkeypatch):
    lengths = np.array([3, 1, 2, 3, 0, 2, 1, 3, 3, 1])
    x, y = data(last, lengths, steps=3)
    way = {"lengths": lengths}
    if form == "ragged":
        x, y, way = ragged(x, lengths), y if last else ragged(y, lengths), {}
    elif layout == "ntc":
        x, y = x.transpose(1, 0, 2), y if last else y.transpose(1, 0, 2)
    results = []
    for kept_bytes, alike in ((training.KEPT_BYTES, True), (1, True), (1, False)):
        monkeypatch.setattr(training, "KEPT_BYTES", kept_bytes)
        if not alike:
            monkeypatch.setattr(training.Workspaces, "_common_steps", lambda self, *batch: None)
        for batch_size in (1, 2):
            net = network(last, layout=layout)
            history = net.fit(x, y, epochs=3, batch_size=batch_size, progress=False, **way)
            results.append((net.params.flat, history.loss))
    for index in (2, 3, 4, 5):
        expected, losses = results[index % 2]
        assert same_bits(results[index][0], expected)
        np.testing.assert_allclose(results[index][1], losses, rtol=1e-13)


def test_history_is_the_mean_over_the_steps_there_are():
    (x, y), net = data(False), network(False)
    history = net.fit(x, y, lengths=LENGTHS, optimizer=nr.SGD(0.0), epochs=1, batch_size=2, progress=False)
    assert history.loss == [pytest.approx(net.loss(x, y, lengths=LENGTHS), rel=1e-13)]


@pytest.mark.parametrize("last", [True, False])
def test_validation(last):
    (x, y), net = data(last), network(last)
    padded = net.fit(x, y, lengths=LENGTHS, validation=(x, y, LENGTHS), epochs=1, progress=False)
    assert padded.validation == [net.loss(x, y, lengths=LENGTHS)]
    rows = ragged(x, LENGTHS), y if last else ragged(y, LENGTHS)
    assert net.fit(*rows, validation=rows, epochs=1, progress=False).validation == [net.loss(*rows)]


@pytest.mark.parametrize("form", ["padded", "ragged"])
def test_a_loss_of_ones_own_sees_rows(form):
    seen = []

    def loss(prediction, target):
        seen.append(prediction.shape)
        return nr.loss("mse")(prediction, target)

    lengths = np.array([4, 4, 1, 0])
    x, y = data(False, lengths, steps=4)
    way = {"lengths": lengths}
    if form == "ragged":
        x, y, way = ragged(x, lengths), ragged(y, lengths), {}
    network(False).fit(x, y, loss, epochs=1, batch_size=2, shuffle=False, progress=False, **way)
    network(False).loss(x, y, loss, **way)
    assert seen == [(8, 2), (1, 2), (9, 2)]


def test_a_sequence_without_steps_is_trained_only_after_last():
    counts = []

    def loss(prediction, target):
        counts.append(len(prediction))
        return nr.loss("mse")(prediction, target)

    lengths = np.array([2, 0, 1])
    for last in (True, False):
        x, y = data(last, lengths)
        network(last).fit(x, y, loss, epochs=1, batch_size=1, shuffle=False, progress=False, lengths=lengths)
    assert counts == [1, 1, 1, 2, 1]


def test_nothing_to_take_the_loss_of():
    (x, y), net = data(False, np.zeros(3, int)), network(False)
    before = net.params.flat.copy()
    for call in (net.loss, net.fit, lambda x, y, lengths: net.loss_and_gradient(before, x, y, lengths=lengths)):
        with pytest.raises(ValueError, match="lengths: expected at least one step"):
            call(x, y, lengths=np.zeros(3, int))
    assert same_bits(net.params.flat, before)
    assert not net.predict(x, np.zeros(3, int)).any()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda x, y: (x, y, LENGTHS[:6]), nr.ShapeError, r"lengths: expected shape \(7,\)"),
        (lambda x, y: (x, y, LENGTHS + 1), ValueError, "lengths: expected numbers from 0 to 5"),
        (lambda x, y: (x, ragged(y, LENGTHS), LENGTHS), TypeError, "y: expected a numpy.ndarray, got Ragged"),
        (lambda x, y: (ragged(x, LENGTHS), y, None), TypeError, "y: expected a Ragged like x, got ndarray"),
        (lambda x, y: (ragged(x, LENGTHS), ragged(y, LENGTHS), LENGTHS), TypeError, "lengths: expected None for a Ragged x"),
        (lambda x, y: (ragged(x, LENGTHS), ragged(y, LENGTHS[::-1]), None), nr.ShapeError, "y: expected the offsets of x"),
        (lambda x, y: (ragged(x[..., :2], LENGTHS), y, None), nr.ShapeError, "x: expected 3 channels, got 2"),
        (lambda x, y: (ragged(x, LENGTHS), ragged(x, LENGTHS), None), nr.ShapeError, "y: expected 2 channels, got 3"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(change, error, message):
    net, (x, y) = network(False), data(False)
    before = net.params.flat.copy()
    x, y, lengths = change(x, y)
    with pytest.raises(error, match=message):
        net.fit(x, y, lengths=lengths, progress=False)
    with pytest.raises(error, match=message):
        net.loss_and_gradient(net.params.flat, x, y, lengths=lengths)
    assert same_bits(net.params.flat, before)


def test_lengths_compile_nothing():
    net, (x, y) = network(True), data(True)
    net.loss_and_gradient(net.params.flat, np.nan_to_num(x), y)
    before = len(recurrent.forward_task.compiled), len(recurrent.backward_task.compiled)
    net.fit(x, y, lengths=LENGTHS, epochs=1, progress=False)
    net.loss_and_gradient(net.params.flat, ragged(x, LENGTHS), y)
    assert (len(recurrent.forward_task.compiled), len(recurrent.backward_task.compiled)) == before
