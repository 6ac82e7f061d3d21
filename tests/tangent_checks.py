"""What the property tests of forward derivatives assert, apart from the tests so that mutated code can be put to it."""

import numpy as np
from checks import as_tuple, data_of, flat_of, like, nested
from strategies import as_tnc

TRANSPOSE_ERROR = 1e-12  # of the sum of the absolute terms


def directions(case, count, seed=0):
    """Random tangents (count, ...) of parameters, x (T, N, C) and state, a tuple, of a case."""
    random = np.random.default_rng(seed)
    shapes = [case.parameters.flat.shape, case.x.shape, *(part.shape for part in as_tuple(case.dstate))]
    dp, dx, *dstate = (random.standard_normal((count, *shape)).astype(case.x.dtype) for shape in shapes)
    return dp, dx, tuple(dstate)


def laid_out(case, dx):
    """Tangents of x, (K, T, N, C), in the layout and strides of a case."""
    return np.stack([case.arranged(each) for each in dx])


def jvp(case, tape, dp, dx, dstate, subject=None):
    """Tangents of the outputs, (K, T, N, Y), and a tuple of tangents of the final state, from `directions`."""
    given = {"dp": dp, "dx": None if dx is None else laid_out(case, dx)}
    given["dstate"] = None if dstate is None else like(case.dstate, dstate)
    dy, dfinal = (subject or case.layer).jvp(tape, **given)
    return np.stack([as_tnc(each, case.layout) for each in dy]), as_tuple(dfinal)


def transpose_error(case, subject=None, count=2, seed=0, **way):
    """The worst of ``|<u, J v> - <J^T u, v>|`` over the sum of the absolute terms, for several v at once."""
    _, _, tape = case.forward(subject, **way)
    dp, dx, dstate = directions(case, count, seed)
    dy, dfinal = jvp(case, tape, dp, dx, dstate, subject)
    u = np.random.default_rng(seed + 1).standard_normal(dy[0].shape)
    found = (subject or case.layer).backward(tape, case.arranged(u), case.dstate)
    back = [found.params.flat, as_tnc(found.x, case.layout), *as_tuple(found.state)]
    worst = 0
    for k in range(count):
        forward = [u * dy[k], *(a * b[k] for a, b in zip(as_tuple(case.dstate), dfinal, strict=True))]
        reverse = [a * b[k] for a, b in zip(back, (dp, dx, *dstate), strict=True)]
        total = sum(part.sum() for part in forward) - sum(part.sum() for part in reverse)
        worst = max(worst, abs(total) / (sum(np.abs(part).sum() for part in [*forward, *reverse]) or 1))
    return worst


def check_transpose(case, subject=None, **options):
    """Assert that forward derivatives and backward are each other's transposes."""
    error = transpose_error(case, subject, **options)
    assert error <= TRANSPOSE_ERROR, f"{case.layer}: {error:.3g} of the terms"


def stateless_error(layer, p, x, count=2, seed=0, **options):
    """`transpose_error` of a layer without a state."""
    random, options = np.random.default_rng(seed), options
    y, tape = layer.forward(p, x, **options)
    dp = random.standard_normal((count, len(p)))
    dx = None if layer.takes_indices else random.standard_normal((count, *x.shape))
    dy, u = layer.jvp(tape, dp, dx), random.standard_normal(y.shape)
    found, worst = layer.backward(tape, u), 0
    for k in range(count):
        terms = [u * dy[k], -found.params.flat * dp[k], *([] if dx is None else [-found.x * dx[k]])]
        worst = max(worst, abs(sum(t.sum() for t in terms)) / (sum(np.abs(t).sum() for t in terms) or 1))
    return worst


def _tangents(random, like, count):
    """Random tangents like an array, so many with an axis in front; of a Ragged in a list."""
    if hasattr(like, "offsets"):
        return [type(like)(random.standard_normal(like.data.shape), like.offsets) for _ in range(count)]
    return random.standard_normal((count, *like.shape))


def graph_transpose_error(case, count=2, seed=0):
    """`transpose_error` of a graph and its inputs, a `GraphCase`."""
    net, random = case.net, np.random.default_rng(seed)
    y, final, tape = net.forward(case.inputs, case.state, **case.options)
    u = {name: _tangents(random, each, 1)[0] for name, each in y.items()}
    ends = [random.standard_normal(array.shape) for array in flat_of(final.values())]
    back = net.backward(tape, u, dict(zip(final, nested(final.values(), ends))))
    dp = random.standard_normal((count, len(net.params)))
    dx = {name: _tangents(random, case.inputs[name], count) for name, each in back.x.items() if each is not None}
    starts = [random.standard_normal((count, *array.shape)) for array in flat_of(back.state.values())]
    dy, dfinal = net.jvp(tape, dp, dx, dict(zip(back.state, nested(back.state.values(), starts))))
    worst = 0
    for k in range(count):
        forward = [data_of(u[name]) * data_of(each[k]) for name, each in dy.items()]
        forward += [a * b[k] for a, b in zip(ends, flat_of(dfinal.values()), strict=True)]
        reverse = [back.params.flat * dp[k], *(data_of(back.x[name]) * data_of(dx[name][k]) for name in dx)]
        reverse += [a * b[k] for a, b in zip(flat_of(back.state.values()), starts, strict=True)]
        total = sum(part.sum() for part in forward) - sum(part.sum() for part in reverse)
        worst = max(worst, abs(total) / (sum(np.abs(part).sum() for part in [*forward, *reverse]) or 1))
    return worst
