"""Losses: values to the letter, slopes by finite differences."""

import numpy as np
import pytest

import numbarnn as nr

DIFFERENCE = np.array([[0.3, -2.0], [1.7, -0.4], [0.9, 5.0]])
MEANS = {
    "mse": np.mean(DIFFERENCE**2),
    "half_mse": np.mean(DIFFERENCE**2) / 2,
    "quadratic": np.mean(DIFFERENCE**2) / 2,
    "mae": np.mean(np.abs(DIFFERENCE)),
    "huber": np.mean([0.045, 1.5, 1.2, 0.08, 0.405, 4.5]),
}


@pytest.mark.parametrize("name", sorted(MEANS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_slope(name, dtype):
    target = np.random.default_rng(0).standard_normal(DIFFERENCE.shape).astype(dtype)
    prediction = (target + DIFFERENCE).astype(dtype)
    value, gradient = nr.loss(name)(prediction, target)
    assert value == pytest.approx(MEANS[name], rel=float(8 * np.finfo(dtype).eps))
    assert gradient.dtype == dtype and gradient.shape == prediction.shape
    if dtype == "float64":
        for index in np.ndindex(prediction.shape):
            moved = np.zeros_like(prediction)
            moved[index] = 1e-6
            up, down = (nr.loss(name)(prediction + sign * moved, target)[0] for sign in (1, -1))
            assert gradient[index] == pytest.approx((up - down) / 2e-6, abs=1e-9)


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
@pytest.mark.parametrize("name", sorted(MEANS))
def test_the_mean_over_the_steps_there_are(name, layout):
    random, lengths = np.random.default_rng(0), np.array([4, 0, 2])
    prediction, target = random.standard_normal((2, 4, 3, 2))
    there = np.arange(4)[:, None] < lengths
    value, gradient = nr.loss(name)(prediction[there], target[there])
    prediction[~there], target[~there] = np.nan, np.inf
    order = ["tnc".index(letter) for letter in layout]
    found, slope = nr.loss(name)(prediction.transpose(order), target.transpose(order), lengths, layout)
    slope = slope.transpose([layout.index(letter) for letter in "tnc"])
    assert found == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(slope[there], gradient, rtol=1e-15)
    assert not slope[~there].any()


def test_lengths_that_do_not_fit():
    x = np.zeros((4, 3, 2))
    with pytest.raises(ValueError, match="lengths: expected numbers from 0 to 4"):
        nr.loss("mse")(x, x, [1, 2, 5])
    with pytest.raises(ValueError, match="lengths: expected at least one step"):
        nr.loss("mse")(x, x, [0, 0, 0])
    with pytest.raises(nr.ShapeError, match="prediction: expected 3 axes"):
        nr.loss("mse")(x[0], x[0], [1, 2, 3])


def test_a_callable_is_a_loss():
    def own(prediction, target):
        return 0.0, np.zeros_like(prediction)

    assert nr.loss(own) is own
