"""What the property tests assert, apart from the tests so that mutated code can be put to the same checks."""

from dataclasses import replace

import numpy as np
import oracles
from strategies import as_tnc

STEP = 1e-3
TOLERANCE = 1e-8
ROUTES = ("outputs", "final h", "final c", "all")


def same_bits(a, b):
    """Whether two arrays, or tuples of them, have the same shape, dtype and bits."""
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same_bits(x, y) for x, y in zip(a, b, strict=True))
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def as_tuple(state):
    """A state as a tuple of arrays."""
    return state if isinstance(state, tuple) else (state,)


def like(state, parts):
    """The parts as a tuple if `state` is one, else the only part."""
    return tuple(parts) if isinstance(state, tuple) else parts[0]


def routed(case, route):
    """The case with the loss's derivative coming in through one way only."""
    if route == "outputs":
        return replace(case, dstate=None)
    if route == "all":
        return case
    kept = ("final h", "final c").index(route)
    parts = [d if m == kept else np.zeros_like(d) for m, d in enumerate(as_tuple(case.dstate))]
    return replace(case, dy=None, dstate=like(case.dstate, parts))


def loss(case, subject):
    """``<dy, y> + <dstate, final state>``, and the sum of the absolute terms."""
    y, final, _ = case.forward(subject)
    terms = [] if case.dy is None else [(case.dy, as_tnc(y, case.layout))]
    if case.dstate is not None:
        terms += zip(as_tuple(case.dstate), as_tuple(final), strict=True)
    return sum((d * v).sum() for d, v in terms), sum(np.abs(d * v).sum() for d, v in terms)


def moved(case, part, direction, distance):
    """The case with its parameters, x or initial state moved along a direction."""
    if part == "parameters":
        parameters = case.parameters.copy()
        parameters.flat[...] += distance * direction
        return replace(case, parameters=parameters)
    if part == "x":
        strides = "contiguous" if case.strides == "broadcast" else case.strides
        return replace(case, x=case.x + distance * direction, strides=strides)
    parts = [s + distance * d for s, d in zip(as_tuple(case.state), direction, strict=True)]
    return replace(case, state=like(case.state, parts))


def smooth_between(cases):
    """Whether no pre-activation of a relu layer changes sign from one case to another."""
    patterns = [oracles.kinks(case.layer, case.parameters, case.x, case.state) for case in cases]
    return all(p is None or (p == patterns[0]).all() for p in patterns)


def directional_error(case, subject, part, gradient, random):
    """``|finite difference - <gradient, direction>|`` over what is allowed; None across a kink.

    The direction has unit length.  Allowed are TOLERANCE times the length of the gradient and the rounding errors of
    the losses, over the step of the fourth-order central difference.
    """
    direction = [random.choice((-1.0, 1.0), g.shape) / np.sqrt(sum(g.size for g in gradient)) for g in gradient]
    along = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True))
    points = [
        moved(case, part, tuple(direction) if part == "state" else direction[0], k * STEP) for k in (-2, -1, 1, 2)
    ]
    if not smooth_between([case, *points]):
        return None
    losses, sizes = zip(*(loss(point, subject) for point in points), strict=True)
    difference = (8 * (losses[2] - losses[1]) - (losses[3] - losses[0])) / (12 * STEP)
    length = np.sqrt(sum((g * g).sum() for g in gradient))
    rounding = 8 * np.finfo(np.float64).eps * max(sizes) / STEP
    error = abs(difference - along)
    return error / (TOLERANCE * length + rounding) if error else 0.0


def gradient_errors(case, subject=None, directions=2, seed=0):
    """{part: worst `directional_error`} over random directions, for parameters, x and the initial state."""
    random = np.random.default_rng(seed)
    _, _, tape = case.forward(subject)
    found = case.backward(tape, subject)
    gradients = {"parameters": (found.params.flat,), "x": (as_tnc(found.x, case.layout),)}
    if case.state is not None:
        gradients["state"] = as_tuple(found.state)
    errors = {}
    for part, gradient in gradients.items():
        measured = [directional_error(case, subject, part, gradient, random) for _ in range(directions)]
        errors[part] = max((e for e in measured if e is not None), default=None)
    return errors


def check_gradients(case, subject=None, **options):
    """Assert that backward agrees with finite differences; return how many parts were smooth enough to tell."""
    errors = gradient_errors(case, subject, **options)
    for part, error in errors.items():
        assert error is None or error <= 1, f"{case.layer} {part}: {error:.3g} times the error allowed"
    return sum(error is not None for error in errors.values())


def named_results(case):
    """{name: array} of outputs, final state and the gradients of everything: what references are compared with."""
    y, final, tape = case.forward()
    gradients = case.backward(tape)
    found = {"y": as_tnc(y, case.layout), "dx": as_tnc(gradients.x, case.layout)}
    for letter, value, start in zip("hc", as_tuple(final), as_tuple(gradients.state), strict=False):
        found |= {letter: value, f"d{letter}": start}
    return found | {f"d_{name}": value for name, value in gradients.params.items()}


def check_results(case, expected, tolerance):
    """Assert that each of `named_results` is the expected one, in units of its largest number or 1."""
    found = named_results(case)
    assert found.keys() == expected.keys()
    for name, reference in expected.items():
        assert found[name].shape == reference.shape, name
        error = np.abs(found[name] - reference).max() / max(1, np.abs(reference).max())
        assert error <= tolerance, f"{case.layer} {name}: off by {error:.3g}"
