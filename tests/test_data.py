"""Windows of a series, and the series that come with the package."""

import numpy as np
import pytest

import numbarnn as nr


def test_windows_of_the_seed():
    x, y = nr.windows(np.arange(-100.0, 100.0), 5)
    assert x.shape == (5, 195, 1) and y.shape == (195, 1)
    assert x[:, 0, 0].tolist() == [-100, -99, -98, -97, -96] and y[0, 0] == -95
    assert x[:, -1, 0].tolist() == [94, 95, 96, 97, 98] and y[-1, 0] == 99


def test_windows_are_read_only_views():
    series = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    x, y = nr.windows(series, 4)
    assert x.shape == (4, 16, 3) and np.array_equal(x[2, 7], series[9]) and np.array_equal(y[7], series[11])
    for array in (x, y):
        assert np.shares_memory(array, series) and not array.flags.writeable


@pytest.mark.parametrize(
    "series, steps, error, message",
    [
        (np.zeros((2, 3, 4)), 1, nr.ShapeError, "series: expected shape"),
        (np.zeros(5), 5, nr.ShapeError, "series: expected more than 5 values for windows of 5 steps, got 5"),
        (np.zeros(5), 0, ValueError, "steps: expected a positive integer, got 0"),
        (np.zeros(5), 2.0, TypeError, "steps: expected a positive integer, got 2.0"),
    ],
)
def test_bad_input_is_named(series, steps, error, message):
    with pytest.raises(error, match=message):
        nr.windows(series, steps)


def test_sunspots():
    years, numbers = nr.datasets.sunspots()
    assert np.array_equal(years, np.arange(1700, 2009))
    assert numbers[0] == 5.0 and numbers[-1] == 2.9 and numbers.max() == 190.2


def test_bikes():
    bikes = nr.datasets.bikes()
    assert (str(bikes.hours[0]), str(bikes.hours[-1])) == ("2011-01-01T00", "2011-12-31T23")
    missing = np.isnan(bikes.rides)
    assert bikes.rides.shape == (8760, 2) and (missing[:, 0] == missing[:, 1]).all() and missing[:, 0].sum() == 115
    assert np.nansum(bikes.rides, axis=0).tolist() == [247252, 995851]  # as the authors' table of days has them
    assert np.array_equal(np.isnan(bikes.temperature), missing[:, 0]) and np.nanmax(bikes.temperature) < 40
    assert set(bikes.weather[~missing[:, 0]]) == {1, 2, 3, 4}
    assert bikes.holiday.sum() == 10 * 24 and bikes.holiday[bikes.hours == np.datetime64("2011-07-04T12")]
