"""Results of a layer on the GPU and on the CPU, how far they are apart, and checks that say how they went."""

import contextlib
import math
import time

import numpy as np

from numbarnn.arrays.devices import moved

from . import jobs
from .gpu_cases import expect_gpu
from .gpu_cases import failure as in_one_line

TOLERANCE = {"float64": 1e-12, "float32": 3e-5}  # of the largest numbers' sum


class OnDevice:
    """A layer that takes and gives NumPy arrays, and computes on the GPU."""

    def __init__(self, layer):
        self.layer = layer

    def __repr__(self):
        return f"{self.layer!r} on the GPU"

    def forward(self, p, x, state=None, **options):
        y, final, tape = self.layer.forward(p.to("cuda"), moved(x, "cuda"), _each(state, "cuda"), **options)
        return y.get(), _each(final, "cpu"), tape

    def backward(self, tape, dy, dstate=None):
        found = self.layer.backward(tape, moved(dy, "cuda"), _each(dstate, "cuda"))
        return type(found)(found.params.to("cpu"), found.x.get(), _each(found.state, "cpu"))


def _each(state, device):
    if isinstance(state, tuple):
        return tuple(moved(part, device) for part in state)
    return None if state is None else moved(state, device)


def _flat(state):
    return state if isinstance(state, tuple) else (state,)


def numbers(layer, size, dtype, seed=0):
    """(parameters, x, state, dy, dstate) in float64, rounded to a dtype."""
    steps, batch, channels, hidden = size
    random = np.random.default_rng(seed)

    def drawn(*shape):
        return random.standard_normal(shape).astype(dtype).astype(np.float64)

    p = layer.init(channels, dtype="float64")
    spread = 0.3 / math.sqrt(hidden)  # more would make a wide layer chaotic: a last bit then grows to an error
    p.flat[:] = (p.flat + spread * random.standard_normal(p.flat.shape)).astype(dtype)
    rows = layer.layers * layer.directions
    state = tuple(drawn(rows, batch, width) for width in layer.state_widths)
    dstate = tuple(drawn(*part.shape) for part in state)
    y = drawn(steps, batch, layer.output_channels(channels))
    x = drawn(steps, batch, channels)
    return (p, x, *(s if len(s) > 1 else s[0] for s in (state,)), y, *(s if len(s) > 1 else s[0] for s in (dstate,)))


def results(layer, given, dtype, options):
    """{name: array} of outputs, final states and all gradients."""
    p, x, state, dy, dstate = given
    p = type(p)(p.flat.astype(dtype), p.weights)

    def cast(a):
        return tuple(part.astype(dtype) for part in a) if isinstance(a, tuple) else a.astype(dtype)

    y, final, tape = layer.forward(p, cast(x), cast(state), **options)
    g = layer.backward(tape, cast(dy), cast(dstate))
    found = {"y": y, "dx": g.x, "gradient": g.params.flat}
    for letter, value, derivative in zip("hc", _flat(final), _flat(g.state)):
        found |= {letter: value, f"d{letter}": derivative}
    return found


def error(found, expected):
    """The largest error of any array, in units of the largest numbers of both, added."""
    worst = 0.0
    for name, array in expected.items():
        scale = np.abs(array).max(initial=0) + np.abs(found[name]).max(initial=0)
        this = np.abs(found[name] - array).max(initial=0) / (scale or 1)
        worst = this if not this <= worst else worst  # a NaN is the worst
    return float(worst)


def differing(found, other):
    """The names of arrays that are not the same to the bit."""
    return [name for name in found if found[name].tobytes() != other[name].tobytes()]


class Checks:
    """Runs checks one after the other, and says how each went."""

    def __init__(self, group):
        self.group = group

    def __call__(self, name, function):
        start = time.perf_counter()
        try:
            error, allowed = function() or (0.0, 0.0)
            reason = None if error <= allowed else f"error {error:.2g}, allowed {allowed:.2g}"
        except Exception as failure:
            error, allowed = None, None
            reason = in_one_line(failure)
        seconds = time.perf_counter() - start
        jobs.answer(
            group=self.group, check=name, ok=reason is None, error=error, allowed=allowed, reason=reason, seconds=seconds
        )
        if reason:
            expect_gpu()


@contextlib.contextmanager
def planned(**choices):
    """Choices of `numbarnn.cuda.plans` that hold inside."""
    from numbarnn.cuda import plans

    before = {name: getattr(plans, name) for name in choices}
    vars(plans).update(choices)
    try:
        yield
    finally:
        vars(plans).update(before)
