"""Last: final outputs of one direction and of two, their gradients, and layers that it cannot follow."""

import numpy as np
import pytest
from checks import as_tuple, check_network, same_bits

import numbarnn as nr

LENGTHS = np.array([6, 2, 0, 5])
MERGED = {"concat": None, "sum": np.add, "average": lambda a, b: (a + b) / 2, "product": np.multiply}


def arrays(steps=6, batch=4, channels=2, seed=0):
    return np.random.default_rng(seed).standard_normal((steps, batch, channels))


def as_ragged(x, lengths):
    return nr.Ragged.of([x[:length, n] for n, length in enumerate(lengths)])


def merged(halves, merge):
    return np.concatenate(halves, axis=1) if merge == "concat" else MERGED[merge](*halves)


@pytest.mark.parametrize("merge", MERGED)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("kind", [nr.GRU, nr.LSTM])
def test_both_final_outputs(kind, lengths, merge):
    layer, x = kind(3, bidirectional=True, layers=2, merge=merge), arrays()
    net = nr.Network([layer, nr.Last()], channels=2, dtype="float64", seed=1)
    _, state = layer(net.split(net.params.flat)[0], x, lengths=lengths)
    halves = as_tuple(state)[0][-2:].copy()
    if lengths is not None:
        halves[:, lengths == 0] = 0
    assert np.abs(net.predict(x, lengths) - merged(halves, merge)).max() < 1e-15
    assert net.output_channels == (6 if merge == "concat" else 3)
    if lengths is not None:
        assert same_bits(net.predict(as_ragged(x, lengths)), net.predict(x, lengths))


def test_a_residual_is_added_where_each_half_ends():
    layer, x = nr.GRU(3, bidirectional=True, layers=2, residual=True), arrays()
    net = nr.Network([layer, nr.Last()], channels=2, dtype="float64", seed=1)
    y, _ = layer(net.split(net.params.flat)[0], x, lengths=LENGTHS)
    found = net.predict(x, LENGTHS)
    for n, length in enumerate(LENGTHS):
        ends = np.concatenate([y[length - 1, n, :3], y[0, n, 3:]]) if length else np.zeros(6)
        assert same_bits(found[n], ends)


@pytest.mark.parametrize("layout", ["tnc", "ntc", "nct"])
def test_layouts(layout):
    x = arrays().astype(np.float32)
    nets = [
        nr.Network([nr.GRU(3, bidirectional=True), nr.Last(), nr.Dense(2)], channels=2, layout=letters, seed=1)
        for letters in ("tnc", layout)
    ]
    turned = x.transpose(["tnc".index(letter) for letter in layout])
    first, second = nets[0].predict(x, LENGTHS), nets[1].predict(turned, LENGTHS)
    assert same_bits(first if layout != "nct" else first.copy(), second.copy())


@pytest.mark.parametrize("merge", MERGED)
@pytest.mark.parametrize("steps, lengths", [(1, None), (4, None), (6, LENGTHS)])
def test_gradients(steps, lengths, merge):
    for hidden, layers, batch in ((1, 1, 4), (9, 2, 4)):
        recurrent = nr.GRU(hidden, bidirectional=True, layers=layers, merge=merge)
        between = [nr.Activation("tanh")] if merge == "concat" else []
        net = nr.Network([recurrent, *between, nr.Last(), nr.Dense(2)], channels=2, dtype="float64", seed=2)
        x, y = arrays(steps, batch), arrays(1, batch, 2, 1)[0]
        check_network(net, x, y, lengths)
        if lengths is not None:
            padded, ragged = (net.loss_and_gradient(net.params.flat, *given) for given in (
                (x, y, "mse", lengths), (as_ragged(x, lengths), y)
            ))  # fmt: skip
            assert padded[0] == ragged[0] and same_bits(padded[1], ragged[1])


def test_a_residual_has_a_gradient():
    layers = [nr.LSTM(3, bidirectional=True, layers=2, residual=True), nr.Last(), nr.Dense(2)]
    check_network(nr.Network(layers, channels=2, dtype="float64"), arrays(), arrays(1, 4, 2, 1)[0], LENGTHS)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("merge", MERGED)
def test_the_layer_by_itself(merge, lengths):
    layer, x = nr.Last(directions=2, merge=merge), arrays(channels=6)
    p = layer.init(6, dtype="float64")
    y, tape = layer.forward(p, x, lengths=lengths)
    dy = arrays(1, 4, layer.output_channels(6), 1)[0]
    dx = layer.backward(tape, dy).x
    way = arrays(channels=6, seed=3)
    up, down = (layer(p, x + step * way, lengths=lengths) for step in (1e-6, -1e-6))
    assert abs((dx * way).sum() - (dy * (up - down)).sum() / 2e-6) < 1e-8
    ends = np.full(4, 6) if lengths is None else lengths
    touched = {(step, n) for n, length in enumerate(ends) if length for step in (0, length - 1)}
    assert {(t, n) for t, n, _ in np.argwhere(dx)} == touched


def test_the_last_step_has_a_name_of_its_own():
    x = arrays(channels=6)
    step = nr.LastStep()
    assert same_bits(step(step.init(6), x).copy(), x[-1]) and step != nr.Last()
    layers = [nr.GRU(3, bidirectional=True), nr.LastStep(), nr.Dense(1)]
    net = nr.Network(layers, channels=6, dtype="float64", seed=0)
    y, _ = layers[0](net.split(net.params.flat)[0], x)
    assert same_bits(net.predict(x), net.predict(x[:, :, ::1])) and "t" not in net.output_layout
    np.testing.assert_allclose(net.predict(x), y[-1] @ net.params["2.weight"].T + net.params["2.bias"], atol=1e-15)
    check_network(net, x, arrays(1, 4, 1, 1)[0], LENGTHS)


def test_one_direction_is_as_it_was():
    for layers in ([nr.GRU(3)], [nr.GRU(3, bidirectional=True), nr.RNN(3)], [nr.Dense(3)]):
        found = [
            nr.Network([*layers, last], channels=2, seed=1).predict(arrays().astype(np.float32), LENGTHS)
            for last in (nr.Last(), nr.LastStep(), nr.Last(directions=1))
        ]
        assert same_bits(found[0], found[1]) and same_bits(found[0], found[2])


def test_a_network_of_a_networks_layers():
    net = nr.Network([nr.GRU(3, bidirectional=True, merge="sum"), nr.Last()], channels=2, seed=1)
    assert net.layers[1] == nr.Last(directions=2, merge="sum")
    again = nr.Network(net.layers, channels=2, seed=1)
    assert same_bits(again.predict(arrays().astype(np.float32)), net.predict(arrays().astype(np.float32)))


def test_it_learns_what_only_the_first_step_tells():
    random = np.random.default_rng(0)
    x = random.standard_normal((12, 128, 1)).astype(np.float32)
    x[1:] *= 0.1
    y = x[0].copy()
    net = nr.Network([nr.RNN(4, bidirectional=True), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    history = net.fit(x, y, optimizer=nr.Adam(0.02), epochs=30, progress=False)
    assert history.loss[-1] < 0.02


def built(*layers):
    return nr.Network(layers, channels=2)


TWO = {"bidirectional": True}
REFUSED = {
    "a layer over steps after Last": (lambda: built(nr.Last(), nr.GRU(3)), "expected none that needs the steps.*GRU"),
    "Last after Last": (lambda: built(nr.GRU(3), nr.Last(), nr.LastStep()), "LastStep.* at 2"),
    "steps far behind": (lambda: built(nr.Last(), nr.Dense(2), nr.Dropout(0.1), nr.RNN(2)), "RNN.* at 3"),
    "mixed directions": (lambda: built(nr.GRU(3, **TWO), nr.Dense(4), nr.Last()), "Dense.*mixes.*LastStep"),
    "one direction of two": (lambda: built(nr.GRU(3, **TWO), nr.Last(directions=1)), "directions: expected 2.*LastStep"),
    "two directions of one": (lambda: built(nr.GRU(3), nr.Last(directions=2)), "directions: expected 1 or None"),
    "a function of merged ones": (
        lambda: built(nr.GRU(3, merge="sum", **TWO), nr.Activation("relu"), nr.Last()), "Activation.*LastStep",
    ),
    "merged with residual": (
        lambda: built(nr.GRU(3, layers=2, residual=True, merge="sum", **TWO), nr.Last()), "residual.*LastStep",
    ),
    "another merge": (
        lambda: built(nr.GRU(3, merge="sum", **TWO), nr.Last(directions=2, merge="product")), "merge: expected 'sum'",
    ),
    "three directions": (lambda: nr.Last(directions=3), "directions: expected 1, 2 or None, got 3"),
    "merge of one": (lambda: nr.Last(merge="sum"), "merge: expected 'concat' without directions=2"),
    "an unknown merge": (lambda: nr.Last(directions=2, merge="mean"), "merge: unknown name 'mean'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types():
    with pytest.raises(TypeError, match="directions: expected 1, 2 or None, got True"):
        nr.Last(directions=True)
    layer = nr.Last(directions=2)
    with pytest.raises(nr.ShapeError, match="x: expected two directions"):
        layer(layer.init(3), np.zeros((2, 1, 3)))
    net = built(nr.GRU(3, **TWO), nr.Last())
    with pytest.raises(ValueError, match="bidirectional"):
        net.stream()
