"""Standardizer: means and scales of channels, the way back, what is left out, and with a network in its file."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr

LAYOUTS = ["tnc", "ntc", "cnt", "nct", "ctn", "tcn"]


def samples(steps=5, batch=4, channels=3, dtype=np.float64):
    random = np.random.default_rng(0)
    return (random.standard_normal((steps, batch, channels)) * [1, 10, 1000] + [0, -5, 1e4]).astype(dtype)


@given(st.sampled_from(LAYOUTS), st.lists(st.integers(0, 5), min_size=4, max_size=4), st.sampled_from(["f4", "f8"]))
def test_against_numpy(layout, lengths, dtype):
    x = samples(dtype=dtype)
    lengths = np.maximum(lengths, [1, 0, 0, 2])
    padded = x.copy()
    for n, length in enumerate(lengths):
        padded[length:, n] = np.nan if n else np.inf  # never read
    given = padded.transpose(["tnc".index(letter) for letter in layout])
    rows = np.concatenate([x[:length, n] for n, length in enumerate(lengths)]).astype(np.float64)
    found = nr.Standardizer.of(given, lengths, layout)
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found.scale, rows.std(0), rtol=1e-12)
    there = x.transpose(["tnc".index(letter) for letter in layout])
    z = found(there, layout)
    assert z.dtype == x.dtype and z.shape == there.shape
    expected = ((x.astype("f8") - found.mean) / found.scale).astype(dtype)
    assert np.array_equal(z, expected.transpose(["tnc".index(letter) for letter in layout]))
    back = found.inverse(z, layout)
    assert np.abs(back - there).max() <= 4 * np.finfo(dtype).eps * np.abs(there).max()


def test_rows_one_channel_and_ragged_are_as_their_numbers():
    x = samples()
    rows = x.reshape(-1, 3)
    ragged = nr.Ragged.of([rows[:7], rows[7:7], rows[7:]])
    one, other = nr.Standardizer.of(rows), nr.Standardizer.of(ragged)
    assert one == other == nr.Standardizer.of(x)
    assert np.array_equal(one(ragged).data, one(rows)) and np.array_equal(one(ragged).offsets, ragged.offsets)
    single = nr.Standardizer.of(rows[:, 1])
    assert single.mean == one.mean[1:2] and np.array_equal(single(rows[:, 1]), one(rows)[:, 1])


@given(st.sampled_from(LAYOUTS), st.lists(st.integers(0, 3), min_size=4, max_size=4), st.booleans())
def test_weights_repeat_sequences(layout, weights, shorter):
    x = samples()
    weights = np.maximum(weights, [0, 1, 0, 0])
    lengths = np.array([3, 5, 0, 2]) if shorter else None
    repeated = np.repeat(x, weights, axis=1)
    expected = nr.Standardizer.of(repeated, None if lengths is None else np.repeat(lengths, weights))
    x[:, weights == 0] = np.inf  # not read
    found = nr.Standardizer.of(x.transpose(["tnc".index(letter) for letter in layout]), lengths, layout, weights)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-12)
    if not shorter:
        assert nr.Standardizer.of(nr.Ragged.of([*x.swapaxes(0, 1)]), weights=weights).mean == pytest.approx(
            found.mean, rel=1e-13
        )
        of_rows = nr.Standardizer.of(x.reshape(-1, 3), weights=np.tile(weights, len(x)))
        assert of_rows.scale == pytest.approx(found.scale, rel=1e-12)
        assert nr.Standardizer.of(x[0, :, 1], weights=weights).mean[0] == pytest.approx(
            np.average(x[0, weights > 0, 1], weights=weights[weights > 0]), rel=1e-13
        )


@pytest.mark.parametrize(
    "weights, error", [([1, 2], nr.ShapeError), ([1, 2, -1, 0], ValueError), ([np.nan] * 4, ValueError)]
)
def test_weights_that_are_none(weights, error):
    with pytest.raises(error, match="^weights: expected"):
        nr.Standardizer.of(samples(), weights=weights)


def test_what_was_not_observed_and_what_is_constant():
    x = np.array([[1.0, 0.1, 5.0], [np.nan, 0.1, 7.0], [3.0, 0.1, np.nan]])
    found = nr.Standardizer.of(x)
    assert found == nr.Standardizer((2.0, 0.1, 6.0), (1.0, 1.0, 1.0))
    z = found(x)
    assert np.array_equal(np.isnan(z), np.isnan(x)) and np.array_equal(z[:, 1], [0, 0, 0])


@pytest.mark.parametrize("size", [1e-300, 1e300, 3e-160])
def test_scales_whose_squares_no_float_holds(size):
    found = nr.Standardizer.of(np.array([-1.0, 1.0]) * size)
    assert found.mean == (0.0,) and found.scale == (size,)


@pytest.mark.parametrize(
    "make, error, fragments",
    [
        (lambda: nr.Standardizer((1.0,), (1.0, 2.0)), nr.ShapeError, ["scale", "1 numbers like mean", "2"]),
        (lambda: nr.Standardizer((), ()), ValueError, ["mean", "each channel", "none"]),
        (lambda: nr.Standardizer((1.0,), (0.0,)), ValueError, ["scale", "> 0", "0.0"]),
        (lambda: nr.Standardizer(1.0, (1.0,)), TypeError, ["mean", "1.0"]),
        (lambda: nr.Standardizer.of([1.0, np.inf]), nr.NonFiniteError, ["x", "finite", "infinity"]),
        (lambda: nr.Standardizer.of([-1.7e308, 1.7e308, 1.7e308]), nr.NonFiniteError, ["x", "spread", "channel 0"]),
        (lambda: nr.Standardizer.of([[1.0, np.nan]]), ValueError, ["x", "channel 1", "none"]),
        (lambda: nr.Standardizer.of(np.zeros((1, 1, 1, 1))), nr.ShapeError, ["x", "(1, 1, 1, 1)"]),
        (lambda: nr.Standardizer.of(np.zeros((3, 2, 0))), nr.ShapeError, ["x", "one channel", "(3, 2, 0)"]),
        (lambda: nr.Standardizer.of(np.zeros((0, 2))), ValueError, ["x", "channel 0", "none"]),
        (lambda: nr.Standardizer.of(np.zeros((3, 2)), lengths=[1, 2]), nr.ShapeError, ["lengths", "None", "(3, 2)"]),
        (lambda: nr.Standardizer.of(["a"]), nr.DTypeError, ["x", "numbers"]),
        (lambda: nr.Standardizer.of(np.zeros((3, 2)))(np.zeros((4, 3))), nr.ShapeError, ["x", "2 channels", "3"]),
        (lambda: nr.Standardizer((0.0,), (1e-300,))([1e30]), ValueError, ["x", "float64 holds", "1e+30", "(0,)"]),
        (lambda: nr.Standardizer((0.0,), (1e30,)).inverse(np.float32([1e30])), ValueError, ["z", "float32"]),
    ],
)
def test_errors(make, error, fragments):
    with pytest.raises(error) as raised:
        make()
    assert all(fragment in str(raised.value) for fragment in fragments), str(raised.value)


def test_it_is_kept_with_a_network(tmp_path):
    net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=2, seed=0)
    extra = {"x": nr.Standardizer((0.1, 2.0), (1.0, 3.0)), "numbers": np.arange(3), "note": "two channels"}
    path = tmp_path / "net"
    net.save(path, extra=extra)
    loaded, found = nr.load(path, extra=True)
    assert np.array_equal(loaded.params.flat, net.params.flat) and found.keys() == extra.keys()
    assert found["x"] == extra["x"] and found["note"] == extra["note"] and np.array_equal(found["numbers"], np.arange(3))
    assert nr.load(path).layers == net.layers
    net.save(path)
    assert nr.load(path, extra=True)[1] == {}


def test_what_no_file_keeps_beside_a_network(tmp_path):
    net, path = nr.Network([nr.Dense(1)], channels=1, seed=0), tmp_path / "net"
    with pytest.raises(TypeError, match="extra: expected a dict"):
        net.save(path, extra=[1])
    with pytest.raises(TypeError, match=r"extra.f: expected what a file can describe"):
        net.save(path, extra={"f": lambda: 0})
    assert not path.exists()
    net.save(path)
    with pytest.raises(ValueError, match="extra: expected False beside into"):
        nr.load(path, into=net, extra=True)
    net.params.save(path)
    with pytest.raises(nr.FileFormatError, match="a network"):
        nr.load(path, extra=True)
