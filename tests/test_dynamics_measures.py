"""Measures of what a model generates: values that are known, an oracle by loops, and what they do not depend on."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.dynamics.measures import SMOOTHING, _log_density

divergence, distance = nr.dynamics.state_space_divergence, nr.dynamics.spectral_distance


def lorenz(steps, start, dt=0.02):
    """A trajectory of Lorenz' equations, standardized by numbers that are the same for all starts."""

    def slope(u):
        return np.array([10 * (u[1] - u[0]), u[0] * (28 - u[2]) - u[1], u[0] * u[1] - 8 / 3 * u[2]])

    u, found = np.array(start, float), np.empty((steps, 3))
    for t in range(-200, steps):
        a = slope(u)
        b = slope(u + dt / 2 * a)
        c = slope(u + dt / 2 * b)
        u = u + dt / 6 * (a + 2 * b + 2 * c + slope(u + dt * c))
        if t >= 0:
            found[t] = (u - [0, 0, 23.5]) / [7.9, 9, 8.6]
    return found


# -- the states


def test_shares_of_bins_that_are_known():
    true = np.array([0.0, 1.0] * 50)
    generated = np.array([0.0, 1.0, 1.0, 1.0] * 50)
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert divergence(true, generated, bins=10) == pytest.approx(expected, rel=1e-5)


def test_a_bin_that_the_model_never_visits_costs_its_logarithm():
    true, generated = np.array([0.0, 1.0]), np.array([0.0, 0.0])
    total = 2 + SMOOTHING * 3  # two bins, and the one outside
    p, q = [(n + SMOOTHING) / total for n in (1, 1, 0)], [(n + SMOOTHING) / total for n in (2, 0, 0)]
    expected = sum(a * math.log(a / b) for a, b in zip(p, q))
    assert divergence(true, generated, bins=2) == pytest.approx(expected, rel=1e-12) and expected > 5


def in_loops(true, generated, bins):
    """The divergence by going through all bins."""
    low, high = true.min(axis=0), true.max(axis=0)

    def counts(points):
        found = dict.fromkeys([*itertools.product(range(bins), repeat=points.shape[1]), "outside"], SMOOTHING)
        for point in points:
            if any(value < a or value > b for value, a, b in zip(point, low, high)):
                found["outside"] += 1
                continue
            key = []
            for value, a, b in zip(point, low, high):
                k = 0
                while k < bins - 1 and b > a and (value - a) / (b - a) * bins >= k + 1:
                    k += 1
                key.append(k)
            found[tuple(key)] += 1
        total = sum(found.values())
        return {key: number / total for key, number in found.items()}

    p, q = counts(true), counts(generated)
    return sum(p[key] * math.log(p[key] / q[key]) for key in p)


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_bins_are_those_of_a_loop(channels, bins, some, others, seed):
    random = np.random.default_rng(seed)
    true, generated = random.standard_normal((some, channels)), 2 * random.standard_normal((others, channels))
    expected = in_loops(true, generated, bins)
    assert divergence(true, generated, bins=bins) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_divergence_of_two_gaussians_is_known():
    apart, width = np.array([0.7, -0.4]), 0.5
    found = divergence(np.zeros((1, 2)), apart[None], form="gaussian", width=width)
    assert found == pytest.approx((apart**2).sum() / (2 * width**2), rel=1e-12)  # exactly, by pairs of samples


def test_the_density_of_a_mixture_is_that_of_a_sum():
    random = np.random.default_rng(0)
    points, at, width = random.standard_normal((7, 3)), random.standard_normal((5, 3)), 0.3
    norm = (2 * math.pi * width**2) ** -1.5
    expected = [
        math.log(sum(norm * math.exp(-((x - c) ** 2).sum() / (2 * width**2)) for c in points) / len(points)) for x in at
    ]
    np.testing.assert_allclose(_log_density(at, points, width), expected, rtol=1e-12)


def test_many_points_of_a_gaussian_have_the_divergence_of_gaussians():
    random = np.random.default_rng(1)
    true, generated = random.standard_normal((3000, 1)), 1.5 * random.standard_normal((3000, 1)) + 0.5
    a, b = 1 + 0.2**2, 1.5**2 + 0.2**2  # each variance plus the variance of the Gaussians
    expected = 0.5 * (math.log(b / a) + (a + 0.25) / b - 1)
    found = divergence(true, generated, form="gaussian", width=0.2, samples=4000)
    assert found == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("form", ["binned", "gaussian"])
def test_a_divergence_is_zero_of_the_same_points_in_any_order(form):
    true = np.random.default_rng(0).standard_normal((40, 3))
    assert divergence(true, true.copy(), form) == 0
    moved = np.random.default_rng(1).permutation(true)
    assert divergence(true, moved, form) == pytest.approx(0, abs=1e-12)
    assert divergence(true, moved.reshape(8, 5, 3), form) == divergence(true, moved, form)


@pytest.mark.parametrize("form", ["binned", "gaussian"])
def test_the_same_attractor_is_nearer_than_another_one(form):
    true, other = lorenz(4000, (1, 1, 20)), lorenz(4000, (-5, 2, 30))
    squeezed, still = other * [1, 1, 0.5], np.repeat(other[:1], 4000, axis=0)
    found = [divergence(true, each, form, bins=10, width=0.3) for each in (other, squeezed, still)]
    assert found == sorted(found) and found[0] < 0.2 * found[1]


# -- the spectra


def test_the_distance_of_two_smoothed_lines_is_known():
    steps, first, second, width = 4000, 500, 520, 10.0
    time = np.arange(steps) * 2 * np.pi / steps
    apart = second - first
    expected = math.sqrt(1 - math.exp(-(apart**2) / (8 * width**2)))  # of two Gaussians of that width
    assert distance(np.sin(first * time), np.cos(second * time), width) == pytest.approx(expected, rel=1e-3)


def test_the_distance_without_smoothing_is_that_of_the_definition():
    random = np.random.default_rng(0)
    true, generated = random.standard_normal((2, 33, 4, 2))

    def spectrum(series):
        turned = np.exp(-2j * np.pi * np.outer(np.arange(17), np.arange(33)) / 33)
        power = (np.abs(np.einsum("wt,tnc->wnc", turned, series - series.mean(axis=0))) ** 2).mean(axis=1)
        return power / power.sum(axis=0)

    f, g = spectrum(true), spectrum(generated)
    expected = np.sqrt(1 - np.sqrt(f * g).sum(axis=0)).mean()
    assert distance(true, generated, smoothing=0) == pytest.approx(expected, rel=1e-9)


def test_the_distance_depends_on_power_alone():
    true, other = lorenz(2000, (1, 1, 20)), lorenz(2000, (-5, 2, 30))
    assert distance(true, true) == 0
    assert distance(true, -7 * true + 3) == pytest.approx(0, abs=1e-7)
    assert distance(true, 1e200 * true) == pytest.approx(0, abs=1e-7)
    assert distance(true, other) < 0.3 * distance(true, np.random.default_rng(0).standard_normal((2000, 3)))
    assert distance(true, other) == distance(other, true)


def test_what_stays_where_it_is():
    moving = np.sin(np.arange(100))
    assert distance(moving, np.full(100, 3.0), 2.0) == 1 and distance(np.ones(100), np.zeros(100)) == 0
    both = np.stack([moving, moving], axis=1)
    assert distance(both, both * [1, 0], 2.0) == 0.5


# -- what is refused


@pytest.mark.parametrize("measure", [divergence, distance])
@pytest.mark.parametrize(
    "true, generated, error, message",
    [
        (np.zeros((4, 2)), np.zeros((4, 3)), nr.ShapeError, "generated: expected 2 channels like true, got 3"),
        (np.zeros((4, 0)), np.zeros((4, 2)), nr.ShapeError, "true: expected at least one step, sequence and channel"),
        (np.zeros((4, 2)), np.full((4, 2), np.nan), nr.NonFiniteError, "generated: expected finite numbers, got nan"),
        (np.zeros((1, 1, 1, 1)), np.zeros(3), nr.ShapeError, r"true: expected axes \(T, C\), \(T, N, C\) or \(T,\)"),
        (["a", "b"], np.zeros(2), TypeError, "true: expected"),
    ],
)
def test_series_that_are_refused(measure, true, generated, error, message):
    with pytest.raises(error, match=message):
        measure(true, generated)


def test_other_arguments_that_are_refused():
    with pytest.raises(nr.UnknownNameError, match="form: unknown name 'bins', did|form: unknown name 'bins'"):
        divergence([1.0], [1.0], "bins")
    with pytest.raises(ValueError, match="width: expected a finite number > 0"):
        divergence([1.0], [1.0], "gaussian", width=0)
    with pytest.raises(nr.ShapeError, match="generated: expected 3 steps like true, got 4"):
        distance(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="smoothing: expected a number >= 0, got -1"):
        distance(np.zeros(3), np.zeros(3), -1)
