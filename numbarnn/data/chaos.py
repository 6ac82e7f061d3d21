"""Series of chaotic equations."""

import numpy as np

from ..errors import finite_number, generator, positive_integer


def mackey_glass(
    steps: int, tau: int = 17, a: float = 0.2, b: float = 0.1, power: float = 10, start: float = 1.2, seed: int = 5555
) -> np.ndarray:
    """The series of Mackey and Glass, of the equation ``dx/dt = a x(t - tau) / (1 + x(t - tau)^power) - b x(t)``.

    One value for each unit of time, by the Runge-Kutta method of fourth order; the delayed value stays the same for a step.
    The `tau` values before are ``start + uniform in (-0.1, 0.1)``.  reservoirpy 0.4 has the same ones, but its series
    differs from the second value on: it takes other numbers for two of the four slopes.

    Parameters
    ----------
    steps : int
        How many values.
    tau : int
        The delay; from 17 on the series is chaotic.
    a, b, power : float
        Of the equation.
    start : float
        The first value.
    seed : int or numpy.random.Generator
        For the values before the first.

    Returns
    -------
    numpy.ndarray
        (steps,), float64.

    References
    ----------
    Mackey and Glass 1977, doi:10.1126/science.267326, eq. 4b.

    Examples
    --------
    >>> import numbarnn as nr
    >>> x = nr.datasets.mackey_glass(1000)
    >>> x.shape, bool(0.2 < x.min() < x.max() < 1.4)
    ((1000,), True)
    """
    steps, tau, random = positive_integer("steps", steps), positive_integer("tau", tau), generator("seed", seed)
    a, b, power = finite_number("a", a), finite_number("b", b), finite_number("power", power, above=0)
    start = finite_number("start", start, above=0)
    found = np.empty(tau + steps)
    found[:tau] = start + 0.2 * (random.random(tau) - 0.5)
    x = start
    for t in range(tau, tau + steps):
        found[t] = x
        delayed = float(found[t - tau])
        drive = a * delayed / (1 + delayed**power)
        k1 = drive - b * x
        k2 = drive - b * (x + k1 / 2)
        k3 = drive - b * (x + k2 / 2)
        k4 = drive - b * (x + k3)
        x += (k1 + 2 * k2 + 2 * k3 + k4) / 6
    return found[tau:]
