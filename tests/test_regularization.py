"""Dropout, zoneout, weight drop, noise and connectivity: gradients with fixed masks, means, seeds, composition by hand."""

from dataclasses import replace

import numpy as np
import pytest
from checks import as_tuple, check_gradients, same_bits
from strategies import random_case

import numbarnn as nr

MASK = np.random.default_rng(0).random((5, 5)) < 0.7
DALE = nr.Connectivity(MASK, [1, 1, 1, -1, -1])
WAYS = {
    "dropout": {"dropout": 0.3},
    "input": {"input_dropout": 0.4},
    "recurrent": {"recurrent_dropout": 0.4},
    "zoneout": {"zoneout": 0.3},
    "noise": {"noise": 0.2},
    "weights": {"weight_drop": 0.4},
    "connectivity": {"connectivity": DALE},
    "all": dict(
        dropout=0.2, input_dropout=0.2, recurrent_dropout=0.2, zoneout=0.2, noise=0.1, weight_drop=0.2, connectivity=DALE
    ),
}
CELLS = {"gru": nr.GRU, "lstm": nr.LSTM}


def case_of(make, seed=0, **fields):
    """A case with masks, whose recurrent weights are clear of 0: a sign is not differentiable there."""
    layer = make(5, layers=2, **fields)
    case = random_case(layer, 4, 3, 2, seed=seed)
    for name, view in case.parameters.items():
        if name.startswith("weight_hh"):
            view[...] = np.where(np.abs(view) < 0.02, 0.1, view)
    return replace(case, masks=layer.draw(4, 3, 2, seed, "float64"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_with_fixed_masks(cell, way):
    case = case_of(CELLS[cell], bidirectional=way != "all", residual=way == "dropout", **WAYS[way])
    assert check_gradients(case) == 3
    ragged = replace(case, lengths=np.array([4, 0, 3]))
    assert check_gradients(ragged, directions=1) == 3


@pytest.mark.parametrize("kind", ["inside", "before"])
def test_gradients_of_cells_whose_state_passes_a_gate(kind):
    if kind == "inside":
        case = case_of(lambda hidden, **f: nr.LeakyRNN(hidden, 0.4, "inside", **f), recurrent_dropout=0.3, zoneout=0.3)
    else:
        case = case_of(lambda hidden, **f: nr.GRU(hidden, "before", **f), zoneout=0.3, noise=0.1)
    assert check_gradients(case) == 3


def _of_sequence(name, mask, n, length):
    """What of a mask belongs to one sequence and its steps."""
    if name.startswith("weight"):
        return mask
    return np.ascontiguousarray(mask[:length, [n]] if mask.ndim == 3 else mask[[n]])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_ragged_batch_is_its_sequences_alone(cell, way):
    case = case_of(CELLS[cell], **WAYS[way])
    lengths = np.array([2, 4, 3])
    y, state, _ = replace(case, lengths=lengths).forward()
    for n, length in enumerate(lengths):
        masks = {name: _of_sequence(name, mask, n, length) for name, mask in case.masks.items()}
        initial = tuple(s[:, [n]].copy() for s in as_tuple(case.state))
        initial = initial if len(initial) == 2 else initial[0]
        alone, final = case.layer(case.parameters, case.x[:length, [n]], initial, masks=masks)
        assert same_bits(y[:length, [n]].copy(), alone.copy())
        assert same_bits(tuple(s[:, [n]].copy() for s in as_tuple(state)), as_tuple(final))


def test_a_seed_is_its_masks():
    case = case_of(nr.LSTM, **WAYS["all"])
    seeded = case.layer(case.parameters, case.x, seed=7)[0]
    masks = case.layer.draw(4, 3, 2, 7, "float64")
    assert same_bits(seeded.copy(), case.layer(case.parameters, case.x, masks=masks)[0].copy())
    assert same_bits(seeded.copy(), case.layer.forward(case.parameters, case.x, seed=7)[0].copy())
    assert not np.array_equal(seeded, case.layer(case.parameters, case.x, seed=8)[0])
    assert not np.array_equal(seeded, case.layer(case.parameters, case.x)[0])


def test_without_a_seed_it_is_the_plain_layer():
    for name, way in WAYS.items():
        if name in ("zoneout", "connectivity", "all"):
            continue
        case = case_of(nr.GRU, **way)
        plain = nr.GRU(5, layers=2)
        assert same_bits(case.layer(case.parameters, case.x)[0].copy(), plain(case.parameters, case.x)[0].copy())


def test_what_is_drawn():
    layer = nr.LSTM(20, layers=2, bidirectional=True, **{k: v for k, v in WAYS["all"].items() if k != "connectivity"})
    masks = layer.draw(30, 40, 7, 3)
    assert {name: mask.shape for name, mask in masks.items() if name.endswith("l1")} == {
        "input_l1": (40, 40),
        "recurrent_l1": (40, 40),
        "zoneout_h_l1": (30, 40, 40),
        "zoneout_c_l1": (30, 40, 40),
        "noise_l1": (30, 40, 40),
        "weight_l1": (2, 80, 20),
    }
    assert masks["dropout_l0"].shape == (30, 40, 40) and masks["input_l0"].shape == (40, 7)
    for name, mask in masks.items():
        mean, spread = (0, 0.1) if name.startswith("noise") else (0.2, 0.4) if name.startswith("zoneout") else (1, 0.5)
        assert abs(mask.mean() - mean) < 5 * spread / np.sqrt(mask.size), name
        if not name.startswith("noise"):
            assert set(np.unique(mask)) == ({0, 1} if name.startswith("zoneout") else {0, np.float32(1.25)})
        else:
            assert abs(mask.std() - 0.1) < 5 * 0.1 / np.sqrt(2 * mask.size)


def test_zoneout_by_hand():
    layer, plain = nr.LSTM(4, zoneout=(0.5, 0.25)), nr.LSTM(4)
    p, random = plain.init(3, dtype="float64"), np.random.default_rng(0)
    x, masks = random.standard_normal((6, 2, 3)), layer.draw(6, 2, 3, 1, "float64")
    means = {"zoneout_h_l0": np.full(6, 0.5), "zoneout_c_l0": np.full(6, 0.25)}
    for given, drawn in ((masks, masks), (None, means)):
        y, _ = layer(p, x, masks=given)
        h = c = np.zeros((1, 2, 4))
        for t in range(6):
            _, (new_h, new_c) = plain(p, x[t : t + 1], (h, c))
            z, w = drawn["zoneout_h_l0"][t], drawn["zoneout_c_l0"][t]
            h, c = z * h + (1 - z) * new_h, w * c + (1 - w) * new_c
            np.testing.assert_allclose(y[t], h[0], rtol=0, atol=1e-15)


def test_recurrent_and_input_dropout_by_hand():
    layer, plain = nr.GRU(4, recurrent_dropout=0.5, input_dropout=0.5), nr.GRU(4)
    p, x = plain.init(3, dtype="float64"), np.random.default_rng(0).standard_normal((5, 1, 3))
    masks = layer.draw(5, 1, 3, 2, "float64")
    y, _ = layer(p, x, masks=masks)
    dropped = p.copy()  # for one sequence a mask on what a weight multiplies is a mask on its columns
    dropped["weight_hh_l0"] = p["weight_hh_l0"] * masks["recurrent_l0"]
    dropped["weight_ih_l0"] = p["weight_ih_l0"] * masks["input_l0"]
    np.testing.assert_allclose(y, plain(dropped, x)[0], rtol=0, atol=1e-15)


def test_weight_drop_and_connectivity_by_hand():
    layer, plain = nr.LSTM(5, weight_drop=0.5, connectivity=DALE), nr.LSTM(5)
    p, x = plain.init(3, dtype="float64"), np.random.default_rng(0).standard_normal((5, 2, 3))
    masks = layer.draw(5, 2, 3, 2, "float64")
    changed = p.copy()
    signs = np.array([1, 1, 1, -1, -1])
    changed["weight_hh_l0"] = np.abs(p["weight_hh_l0"]) * signs * np.tile(MASK, (4, 1)) * masks["weight_l0"][0]
    assert same_bits(layer(p, x, masks=masks)[0].copy(), plain(changed, x)[0].copy())
    assert same_bits(DALE.applied(p["weight_hh_l0"]), np.abs(p["weight_hh_l0"]) * signs * np.tile(MASK, (4, 1)))


def test_training_keeps_what_is_imposed():
    layer = nr.LeakyRNN(5, 0.5, connectivity=DALE)
    net = nr.Network([layer, nr.Last(), nr.Dense(1)], 1, seed=0)
    x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32) / 3), 6)
    before = net.params.flat.copy()
    history = net.fit(x, y, epochs=20, progress=False)
    recurrent = DALE.applied(net.params["0.weight_hh_l0"])
    assert history.loss[-1] < history.loss[0] and not same_bits(before, net.params.flat)
    assert (recurrent[:, :3] >= 0).all() and (recurrent[:, 3:] <= 0).all() and (recurrent[~MASK] == 0).all()


def test_noise_as_an_input_of_a_layer_without_any():
    layer = nr.LeakyRNN(4, 0.2)
    p, x = layer.init(3, dtype="float64"), np.zeros((5, 2, 3))
    noise = np.random.default_rng(0).standard_normal((5, 2, 4))
    y, _ = layer(p, x, masks={"noise_l0": noise})
    quiet, _ = layer(p, x[:1])
    np.testing.assert_allclose(y[0], quiet[0] + noise[0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("ragged", [False, True])
def test_training_draws_anew_and_repeats_with_its_seed(ragged):
    x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32) / 3), 6)
    lengths = np.arange(len(y)) % 6 + 1 if ragged else None
    found = []
    for seed in (0, 0, 1):
        net = nr.Network([nr.GRU(5, layers=2, **WAYS["all"]), nr.Last(), nr.Dense(1)], 1, seed=0)
        net.fit(x, y, lengths=lengths, epochs=2, shuffle=False, seed=seed, progress=False)
        found.append(net.params.flat.copy())
    assert same_bits(found[0], found[1]) and not same_bits(found[0], found[2])


X = np.zeros((4, 3, 2))


def call(masks=None, layer=None, **options):
    layer = layer or nr.GRU(5, input_dropout=0.5)
    return layer(layer.init(2, dtype="float64"), X, masks=masks, **options)


@pytest.mark.parametrize(
    "bad, error, fragments",
    [
        (lambda: nr.GRU(4, dropout=1.0), ValueError, ["dropout", "less than 1", "1.0"]),
        (lambda: nr.GRU(4, input_dropout=-0.1), ValueError, ["input_dropout", "rate", "-0.1"]),
        (lambda: nr.GRU(4, weight_drop="0.5"), TypeError, ["weight_drop", "'0.5'"]),
        (lambda: nr.GRU(4, zoneout=(0.1, 0.1)), ValueError, ["zoneout", "one rate", "(0.1, 0.1)"]),
        (lambda: nr.LSTM(4, zoneout=(0.1,)), ValueError, ["zoneout", "pair", "(0.1,)"]),
        (lambda: nr.GRU(4, noise=-1), ValueError, ["noise", ">= 0", "-1"]),
        (lambda: nr.GRU(4, "before", recurrent_dropout=0.1), ValueError, ["recurrent_dropout", "before", "0.1"]),
        (lambda: nr.LSTM(4, projection=2, zoneout=0.1), ValueError, ["zoneout", "projection", "0.1"]),
        (lambda: nr.LSTM(4, projection=2, noise=0.1), ValueError, ["noise", "projection", "0.1"]),
        (lambda: nr.IndRNN(4, weight_drop=0.1), ValueError, ["weight_drop", "IndRNN", "no recurrent matrix"]),
        (lambda: nr.GRU(4, connectivity=np.ones((4, 4))), TypeError, ["connectivity", "Connectivity", "ndarray"]),
        (lambda: nr.GRU(4, connectivity=DALE), nr.ShapeError, ["connectivity", "4 units", "5"]),
        (lambda: nr.GRU(4, dropout=0.1), ValueError, ["dropout", "0 with one layer", "0.1", "Dropout"]),
        (lambda: nr.Connectivity(), ValueError, ["mask", "neither"]),
        (lambda: nr.Connectivity(np.ones((2, 2)) * 1j), nr.DTypeError, ["mask", "numbers", "complex128"]),
        (lambda: nr.Connectivity([["a", "b"]] * 2), nr.DTypeError, ["mask", "numbers", "<U1"]),
        (lambda: nr.Connectivity([[1, 2], [3]]), TypeError, ["mask", "parts that differ"]),
        (lambda: nr.Connectivity(np.ma.ones((2, 2))), TypeError, ["mask", "MaskedArray"]),
        (lambda: nr.Connectivity(signs=np.ma.array([1, -1], mask=[0, 1])), TypeError, ["signs", "MaskedArray"]),
        (lambda: call(seed="a"), TypeError, ["seed", "integer", "'a'"]),
        (lambda: call(seed=-1), ValueError, ["seed", "integer >= 0", "-1"]),
        (lambda: call({"input_l0": np.ones((3, 2), bool)}), nr.DTypeError, ["input_l0", "float64", "bool"]),
        (lambda: call({"input_l0": np.ones((3, 2), complex)}), nr.DTypeError, ["input_l0", "float64", "complex128"]),
        (lambda: call({"input_l0": np.ma.ones((3, 2))}), TypeError, ["input_l0", "MaskedArray"]),
        (lambda: nr.Connectivity(np.ones((3, 2))), nr.ShapeError, ["mask", "(H, H)", "(3, 2)"]),
        (lambda: nr.Connectivity(signs=[1, 0]), ValueError, ["signs", "1 and -1", "0"]),
        (lambda: nr.Connectivity(np.eye(3), [1, -1]), nr.ShapeError, ["signs", "3", "2"]),
        (lambda: call({"input_l0": np.ones((3, 2))}, seed=0), ValueError, ["masks", "seed", "both"]),
        (lambda: call({}), ValueError, ["masks", "input_l0"]),
        (lambda: call([]), TypeError, ["masks", "dict", "list"]),
        (lambda: call({"input_l1": np.ones((3, 2))}), nr.UnknownNameError, ["masks", "'input_l1'", "'input_l0'"]),
        (lambda: call({"input_l0": np.ones((4, 2))}), nr.ShapeError, ["input_l0", "(3, 2)", "(4, 2)"]),
        (lambda: call({"input_l0": np.ones((3, 2), "float32")}), nr.DTypeError, ["input_l0", "float64", "float32"]),
    ],
)
def test_named_error(bad, error, fragments):
    with pytest.raises(error) as raised:
        bad()
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value
