"""Windows of one series and of several, and strips of a long one."""

import numpy as np
import pytest
from checks import same_bits

import numbarnn as nr

SERIES = np.random.default_rng(0).standard_normal((11, 3))


@pytest.mark.parametrize("layout", ["tnc", "ntc", "cnt"])
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("horizon", [None, 1, 3])
def test_every_number(horizon, stride, layout):
    x, y = nr.windows(SERIES, 5, horizon, stride, targets=[2, 0], layout=layout)
    ahead = horizon or 1
    starts = range(0, len(SERIES) - 5 - ahead + 1, stride)
    expected_x = np.stack([SERIES[s : s + 5] for s in starts], axis=1)
    expected_y = np.stack([SERIES[s + 5 : s + 5 + ahead][:, [2, 0]] for s in starts], axis=1)
    order = ["tnc".index(letter) for letter in layout]
    assert same_bits(x.copy(), expected_x.transpose(order).copy())
    if horizon is None:
        expected_y, order = expected_y[0], ["nc".index(letter) for letter in layout.replace("t", "")]
    assert same_bits(y.copy(), expected_y.transpose(order).copy())
    assert np.shares_memory(x, SERIES) and not x.flags.writeable and not y.flags.writeable


@pytest.mark.parametrize("kind", [list, tuple, nr.Ragged.of])
def test_no_window_crosses_a_border(kind):
    parts = [SERIES[:6], SERIES[:2] + 100, SERIES[3:] + 200]
    x, y = nr.windows(kind(parts), 3, horizon=2)
    each = [nr.windows(part, 3, horizon=2) for part in parts if len(part) >= 5]
    assert x.shape == (3, 2 + 4, 3) and all(
        same_bits(found, np.concatenate(own, axis=1)) for found, own in zip((x, y), zip(*each))
    )
    assert (np.ptp(x // 50, axis=0) <= 1).all()  # of one series alone
    assert nr.windows(SERIES.tolist(), 3)[0].shape == (3, 8, 3)  # lists of numbers are one series


def test_columns_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(SERIES, columns=["a", "b", "c"])
    x, y = nr.windows(frame, 4, targets=["c", "a"])
    assert np.array_equal(y, SERIES[4:, [2, 0]]) and x.shape[2] == 3
    assert np.array_equal(nr.windows([frame, frame], 4, targets="b")[1][:7, 0], SERIES[4:, 1])
    with pytest.raises(nr.ShapeError, match=r"series\[1\]: expected the columns of the first, \['a', 'b', 'c'\], got"):
        nr.windows([frame, frame[["b", "a", "c"]]], 4)
    with pytest.raises(nr.UnknownNameError, match="targets: unknown name 'd', expected one of 'a', 'b', 'c'"):
        nr.windows(frame, 4, targets="d")


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"horizon": 0}, ValueError, "horizon: expected a positive integer, got 0"),
        ({"stride": 0}, ValueError, "stride: expected a positive integer, got 0"),
        (
            {"horizon": 7},
            nr.ShapeError,
            "series: expected more than 11 values for windows of 5 steps and the 7 after them, got 11",
        ),
        ({"targets": 3}, nr.IndexRangeError, "targets: expected channels from 0 to 2, got 3"),
        ({"targets": [1, 1]}, ValueError, "targets: expected at least one channel, each once"),
        ({"targets": []}, ValueError, "targets: expected at least one channel"),
        ({"targets": "a"}, TypeError, "targets: expected indices of channels, since the series has no names, got 'a'"),
        ({"targets": 0.5}, TypeError, "targets: expected channels by index or name, got 0.5"),
        ({"layout": "xyz"}, nr.LayoutError, "layout: expected the letters t, n, c"),
        ({"series": [SERIES, SERIES[:, :2]]}, nr.ShapeError, r"series\[1\]: expected 3 channels like the first, got 2"),
        ({"series": [SERIES, SERIES.astype("f4")]}, nr.DTypeError, r"series\[1\]: expected float64 like the first, got"),
        ({"series": [SERIES[:5], SERIES[:3]]}, nr.ShapeError, "series: expected more than 5 values .*, got 5"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        nr.windows(**{"series": SERIES, "steps": 5, **arguments})


@pytest.mark.parametrize("count", [1, 3, 11])
def test_strips_lie_side_by_side(count):
    found, steps = nr.strips(SERIES, count), 11 // count
    assert found.shape == (steps, count, 3) and np.shares_memory(found, SERIES) and not found.flags.writeable
    for n in range(count):
        assert np.array_equal(found[:, n], SERIES[n * steps : (n + 1) * steps])
    letters = np.arange(11, dtype=np.uint8)
    assert same_bits(nr.strips(letters, count).copy(), np.stack(np.split(letters[: steps * count], count), axis=1))
    assert nr.strips([0.5, 1.5, 2.5], 2).tolist() == [[0.5, 1.5]] and nr.strips(np.ones(4, bool), 2).dtype == np.float64


@pytest.mark.parametrize(
    "series, count, error, message",
    [
        (SERIES, 0, ValueError, "count: expected a positive integer, got 0"),
        (SERIES, 12, nr.ShapeError, "series: expected at least 12 values for 12 strips, got 11"),
        (SERIES[None], 2, nr.ShapeError, r"series: expected shape \(S,\) or \(S, C\), got \(1, 11, 3\)"),
        ("text", 2, TypeError, "series: expected numbers"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), 1, TypeError, "series: .* whose mask would be lost"),
    ],
)
def test_strips_of_something_else_are_refused(series, count, error, message):
    with pytest.raises(error, match=f"^{message}"):
        nr.strips(series, count)
