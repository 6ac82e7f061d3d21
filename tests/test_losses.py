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


def test_a_callable_is_a_loss():
    def own(prediction, target):
        return 0.0, np.zeros_like(prediction)

    assert nr.loss(own) is own
