"""Checks for test suites of your own: is backward the derivative of forward?"""

import numpy as np

from .arrays.descriptor import checked_array
from .errors import DTypeError, finite_number, generator, positive_integer
from .parameters import Parameters

STEP = 1e-3
TOLERANCE = 1e-8


def slope_error(loss, slope, length, step=STEP, tolerance=TOLERANCE):
    """How far a slope is from a finite difference, over what is allowed: more than 1 is wrong.

    Allowed are `tolerance` times the length of the gradient, and the rounding errors of the losses over the step of the
    fourth-order central difference (Abramowitz and Stegun 1964, eq. 25.3.21).

    Parameters
    ----------
    loss : callable
        Of a distance along a direction of unit length: (loss, sum of the absolute values of its terms).
    slope : float
        The derivative in question, at 0.
    length : float
        The Euclidean norm of the gradient that it is a part of.
    """
    values, sizes = zip(*(loss(k * step) for k in (-2, -1, 1, 2)))
    difference = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * step)
    rounding = 8 * np.finfo(np.float64).eps * max(sizes) / step
    error = abs(difference - slope)
    return error / (tolerance * length + rounding) if error else 0.0


def check_gradients(layer, p, x, state=None, seed=0, directions=2, step=STEP, tolerance=TOLERANCE, **options):
    """Raise AssertionError unless a recurrent layer's backward agrees with finite differences, in float64.

    A random loss, linear in outputs and final state, is differentiated along random directions with respect to the
    parameters, x, and the initial state if one is given.  Functions with kinks must not be near one.

    Parameters
    ----------
    layer : Recurrent
        Any layer with the calls of one: yours, too.
    p : Parameters
        float64.
    x : numpy.ndarray
        In the order of `layout`, which is among `options`, as for ``layer.forward``.
    state : numpy.ndarray or tuple of two, optional
    seed : int or numpy.random.Generator
        For the loss and the directions.
    directions : int
        Directions for each of the three.
    step, tolerance : float
        As in `slope_error`.
    **options
        What ``layer.forward`` takes besides: lengths, layout, reset, masks, ...

    Raises
    ------
    AssertionError
        With the worst error of each part, in units of what is allowed.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.GRU(4)
    >>> x = np.random.default_rng(0).standard_normal((5, 3, 2))
    >>> nr.testing.check_gradients(layer, layer.init(2, dtype="float64"), x, lengths=[5, 0, 3])
    """
    if not isinstance(p, Parameters):
        raise TypeError(f"p: expected numbarnn.Parameters, got {type(p).__name__}")
    if p.dtype != np.float64:
        raise DTypeError(f"p: expected float64 for finite differences, got {p.dtype}")
    x = checked_array("x", x)
    random, directions = generator("seed", seed), positive_integer("directions", directions)
    step, tolerance = finite_number("step", step, above=0), finite_number("tolerance", tolerance, above=0)
    parts = {"parameters": (p.flat,), "x": (x,), "state": _arrays(state)}

    def run(moved):
        given = moved["state"] if isinstance(state, tuple) else (*moved["state"], None)[0]
        return layer.forward(type(p)(moved["parameters"][0], p.weights), moved["x"][0], given, **options)

    y, final, tape = run(parts)
    weights = [random.standard_normal(a.shape) for a in (y, *_arrays(final))]
    dstate = tuple(weights[1:]) if isinstance(final, tuple) else weights[1]
    found = layer.backward(tape, weights[0], dstate)
    gradients = {"parameters": (found.params.flat,), "x": (found.x,), "state": _arrays(found.state)}
    worst = {}
    for name, arrays in parts.items():
        for _ in range(directions if arrays else 0):
            ways = [random.choice((-1.0, 1.0), a.shape) / np.sqrt(sum(a.size for a in arrays)) for a in arrays]

            def loss(distance, name=name, arrays=arrays, ways=ways):
                there = parts | {name: tuple(a + distance * way for a, way in zip(arrays, ways))}
                y, final, _ = run(there)
                terms = [w * a for w, a in zip(weights, (y, *_arrays(final)))]
                return sum(term.sum() for term in terms), sum(np.abs(term).sum() for term in terms)

            slope = sum((g * way).sum() for g, way in zip(gradients[name], ways))
            length = np.sqrt(sum((g * g).sum() for g in gradients[name]))
            worst[name] = max(worst.get(name, 0.0), slope_error(loss, slope, length, step, tolerance))
    wrong = {name: f"{error:.3g}" for name, error in worst.items() if not error <= 1}
    if wrong:
        raise AssertionError(f"{layer!r}: backward is off by so many times the error allowed: {wrong}")


def _arrays(state):
    """The arrays of a state: none, one, or two."""
    return state if isinstance(state, tuple) else () if state is None else (state,)
