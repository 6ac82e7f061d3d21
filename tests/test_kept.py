"""What a forward call keeps for backward is its own: the caller's arrays may change in between, all but x."""

import numpy as np
import pytest
from checks import as_tuple, like, same_bits

import numbarnn as nr
from numbarnn.cpu import sizes

T, N, C = 9, 4, 2
WAYS = {"all": {}, "states": {"tape": "states"}, "checkpoints": {"checkpoints": 3}}
LAYERS = {
    "gru": nr.GRU(3, layers=2, bidirectional=True),
    "lstm": nr.LSTM(3, bidirectional=True, peepholes=True),
    "learned state": nr.LSTM(3, bidirectional=True, learned_state=True),
    "masks": nr.GRU(3, layers=2, bidirectional=True, dropout=0.3, input_dropout=0.3, recurrent_dropout=0.3, zoneout=0.2),
    "weights": nr.RNN(3, weight_drop=0.3, connectivity=nr.Connectivity(np.ones((3, 3)), [1, 1, -1])),
}
SEQUENCES = ("equal", "lengths", "reset", "ragged")


@pytest.fixture
def many_segments(monkeypatch, fresh_plans):
    monkeypatch.setattr(sizes, "BACKWARD_ROWS", 4)


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
@pytest.mark.parametrize("sequences", SEQUENCES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LAYERS)
def test_backward_after_everything_has_changed(name, way, sequences, layout, many_segments):
    if sequences == "ragged" and layout != "tnc":
        pytest.skip("a Ragged has one layout")
    layer, random = LAYERS[name], np.random.default_rng(0)
    p = layer.init(C, seed=0, dtype="float64")
    p.flat[:] += 0.1 * random.standard_normal(len(p))
    x = random.standard_normal((T, N, C) if layout == "tnc" else (N, T, C))
    options, lengths = {"layout": layout, **WAYS[way]}, np.array([9, 2, 0, 5])
    if sequences == "lengths":
        options["lengths"] = lengths
    elif sequences == "reset":
        options["reset"] = random.random((T, N)) < 0.3
    elif sequences == "ragged":
        x = nr.Ragged.of([x[:length, n] for n, length in enumerate(lengths)])
    states = [random.standard_normal((layer.layers * layer.directions, N, 3)) for _ in range(layer.cell.states)]
    state = None if layer.learned_state else states[0] if len(states) == 1 else tuple(states)
    if layer.random:
        options["masks"] = layer.draw(T, N, C, seed=1, dtype="float64")

    def gradients(change):
        y, final, tape = layer.forward(p, x, state, **options)
        dy = nr.Ragged(np.ones_like(y.data), y.offsets) if sequences == "ragged" else np.ones_like(y)
        dfinal = like(final, [np.ones_like(array) for array in as_tuple(final)])
        if change:
            changed = [p.flat, *states, *(options.get("masks") or {}).values()]
            changed += [options[key] for key in ("lengths", "reset") if key in options]
            for array in changed:
                array[...] = 1 if array.dtype.kind in "bi" else 1e3
        found = layer.backward(tape, dy, dfinal)
        dx = found.x.data if sequences == "ragged" else found.x
        return found.params.flat, dx.copy(), *as_tuple(found.state)

    assert same_bits(gradients(False), gradients(True))


def test_x_is_the_one_thing_that_is_read_again():
    layer, x = nr.GRU(3), np.random.default_rng(0).standard_normal((T, N, C))
    p = layer.init(C, dtype="float64")
    y, _, tape = layer.forward(p, x)
    assert np.shares_memory(tape.x.array, x)
    expected, kept = layer.backward(tape, np.ones_like(y)).params.flat, x.copy()
    x[:] = 0
    assert not np.array_equal(layer.backward(tape, np.ones_like(y)).params.flat, expected)
    x[:] = kept
    assert same_bits(layer.backward(tape, np.ones_like(y)).params.flat, expected)


@pytest.mark.parametrize("layer", [nr.Dense(3, "tanh"), nr.Dense(3, "gelu"), nr.Dropout(0.5), nr.Embedding(5, 3)])
def test_layers_without_memory(layer):
    random = np.random.default_rng(0)
    x = random.integers(0, 5, (T, N)) if layer.takes_indices else random.standard_normal((T, N, C))
    p = layer.init(1 if layer.takes_indices else C, dtype="float64")
    masks = {"masks": layer.draw(T, N, C, seed=1, dtype="float64")} if layer.random else {}
    y, tape = layer.forward(p, x, **masks)
    first = layer.backward(tape, np.ones_like(y))
    for array in (p.flat, *masks.get("masks", {}).values()):
        array[...] = 7
    second = layer.backward(tape, np.ones_like(y))
    assert same_bits(first.params.flat, second.params.flat) and same_bits(first.x, second.x)


def test_where_sequences_begin_cannot_change():
    offsets = np.array([0, 2, 3])
    x = nr.Ragged(np.zeros((3, 1)), offsets)
    offsets[1] = 1
    assert x.offsets.tolist() == [0, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        x.offsets[1] = 1


def test_a_mask_of_connections_cannot_change():
    given = np.ones((3, 3))
    connectivity = nr.Connectivity(given, [1, -1, 1])
    given[:] = 0
    assert (connectivity.mask == 1).all()
    for array in (connectivity.mask, connectivity.signs):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
