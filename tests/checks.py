"""What the property tests assert, apart from the tests so that mutated code can be put to the same checks."""

from dataclasses import replace

import image_oracle
import numpy as np
import oracles
from strategies import as_tnc

from numbarnn.arrays.ragged import Ragged
from numbarnn.testing import STEP, slope_error

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
    if route == "cells":
        return replace(case, dy=None, dstate=None)
    if route == "all":
        return case
    kept = ("final h", "final c").index(route)
    parts = [d if m == kept else np.zeros_like(d) for m, d in enumerate(as_tuple(case.dstate))]
    return replace(case, dy=None, dstate=like(case.dstate, parts))


def loss(case, subject):
    """``<dy, y> + <dcells, c> + <dstate, final state>``, and the sum of the absolute terms."""
    y, final, _, *cells = case.forward(subject, **({} if case.dcells is None else {"cells": True}))
    terms = [(d, as_tnc(array, case.layout)) for d, array in zip((case.dy, case.dcells), (y, *cells)) if d is not None]
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
    patterns = [oracles.kinks(c.layer, c.parameters, c.x, c.state, lengths=c.lengths, reset=c.reset) for c in cases]
    return all(p is None or (p == patterns[0]).all() for p in patterns)


def directional_error(case, subject, part, gradient, random):
    """``|finite difference - <gradient, direction>|`` over what is allowed; None across a kink.

    The direction has unit length; `numbarnn.testing.slope_error` says what is allowed.
    """
    direction = [random.choice((-1.0, 1.0), g.shape) / np.sqrt(sum(g.size for g in gradient)) for g in gradient]
    along = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True))
    points = [moved(case, part, tuple(direction) if part == "state" else direction[0], k * STEP) for k in (-2, -1, 1, 2)]
    if not smooth_between([case, *points]):
        return None
    length = np.sqrt(sum((g * g).sum() for g in gradient))
    at = dict(zip((-2, -1, 1, 2), points, strict=True))
    return slope_error(lambda distance: loss(at[round(distance / STEP)], subject), along, length, STEP)


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


def results(case, **way):
    """All that forward and backward return, arrays in T, N, C order: y, state, dL/dp, dL/dx, dL/d(initial state), c."""
    way = way if case.dcells is None or "checkpoints" in way else {**way, "cells": True}
    y, state, tape, *cells = case.forward(**way)
    found = case.backward(tape)
    arrays = [as_tnc(array, case.layout).copy() for array in (y, found.x, *cells)]
    return arrays[0], state, found.params.flat, arrays[1], found.state, *arrays[2:]


def only(case, samples):
    """The case with some of its sequences."""
    parts = {name: getattr(case, name) for name in ("x", "dy", "dcells", "reset")}
    states = {name: getattr(case, name) for name in ("state", "dstate")}
    return replace(
        case,
        lengths=None if case.lengths is None else np.asarray(case.lengths)[samples],
        **{name: None if array is None else array[:, samples] for name, array in parts.items()},
        **{n: None if s is None else like(s, [part[:, samples].copy() for part in as_tuple(s)]) for n, s in states.items()},
    )


def lengths_of(case):
    """The steps of each sequence, given or not."""
    steps, batch = case.x.shape[:2]
    return np.full(batch, steps) if case.lengths is None else np.asarray(case.lengths)


def runs_of(case, n):
    """[(first step, end)] of sequence n between its resets: one at least, which may be empty."""
    length = lengths_of(case)[n]
    cuts = [] if case.reset is None else [t for t in range(1, length) if case.reset[t, n]]
    return list(zip([0, *cuts], [*cuts, length]))


def run_alone(case, n, start, end):
    """`results` of a few steps of a sequence by themselves, without lengths and resets; its dstate where it ends."""
    alone = only(case.plain(), [n])
    ends = np.arange(len(as_tuple(case.dstate)[0])) % (1 + case.layer.bidirectional)  # reverse directions end at step 0
    ends = np.where(ends == 0, end == lengths_of(case)[n], start == 0)[:, None, None]
    dstate = like(alone.dstate, [np.where(ends, d, np.zeros_like(d)) for d in as_tuple(alone.dstate)])
    if start == end:
        state = like(dstate, [np.zeros_like(d) for d in as_tuple(dstate)]) if case.state is None else alone.state
        cells = () if alone.dcells is None else (alone.dcells[:0],)
        return alone.dy[:0], state, np.zeros_like(case.parameters.flat), alone.x[:0], dstate, *cells
    cut = {name: None if getattr(alone, name) is None else getattr(alone, name)[start:end] for name in ("x", "dy", "dcells")}
    return results(replace(alone, dstate=dstate, lengths=None, reset=None, **cut))


def assert_near(found, expected):
    """Assert that sums of the same numbers in two orders agree."""
    tolerance = 100 * np.finfo(expected.dtype).eps * max(1, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def check_runs(case, **way):
    """Assert that a ragged batch has the bits of its runs one at a time, 0 behind them, and the sum of their gradients."""
    y, state, gradient, dx, dstate, *cells = results(case, **way)
    total = np.zeros_like(gradient)
    reverse = np.arange(len(as_tuple(state)[0])) % (1 + case.layer.bidirectional) == 1
    for n, length in enumerate(lengths_of(case)):
        runs = [run_alone(case, n, start, end) for start, end in runs_of(case, n)]
        ys, states, gradients, dxs, dstates, *cs = zip(*runs)
        for found, expected in ((y, ys), (dx, dxs), *zip(cells, cs)):
            assert same_bits(found[:length, n].copy(), np.concatenate(expected)[:, 0].copy())
            assert not found[length:, n].any()
        for found, first, last in zip(as_tuple(state), as_tuple(states[0]), as_tuple(states[-1])):
            assert same_bits(found[:, n].copy(), np.where(reverse[:, None], first[:, 0], last[:, 0]))
        for found, *parts in zip(as_tuple(dstate), *map(as_tuple, dstates)):
            assert same_bits(found[:, n].copy(), parts[0][:, 0]) or len(parts) > 1
            assert_near(found[:, n], sum(parts)[:, 0])
        total += sum(gradients)
    assert_near(gradient, total)


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


def check_embedding(layer, x, seed=0, **options):
    """Assert that an embedding's gradient agrees with a finite difference along a direction."""
    random = np.random.default_rng(seed)
    p = layer.init(dtype="float64", seed=seed, scheme="pytorch")
    y, tape = layer.forward(p, x, **options)
    dy = random.standard_normal(y.shape)
    gradient = layer.backward(tape, dy).params.flat
    way = random.standard_normal(p.flat.shape)
    way /= np.linalg.norm(way)

    def moved_loss(distance):
        moved = type(p)(p.flat + distance * way, p.weights)
        terms = dy * layer(moved, x, **options)
        return terms.sum(), np.abs(terms).sum()

    error = slope_error(moved_loss, gradient @ way, np.linalg.norm(gradient))
    assert error <= 1, f"{layer}: {error:.3g} times the error allowed"


def check_images(layer, x, seed=0):
    """Assert that a layer of images agrees with NumPy, and its gradients with a finite difference along a direction."""
    random = np.random.default_rng(seed)
    p = layer.init(x.shape[1], seed, "float64", "pytorch")
    y, tape = layer.forward(p, x)
    expected = image_oracle.run(layer, p, x)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13 * max(1, np.abs(expected).max()))
    dy = random.standard_normal(y.shape)
    found = layer.backward(tape, dy)
    for part, gradient in (("parameters", found.params.flat), ("x", found.x)):
        if not gradient.size:
            continue
        way = random.standard_normal(gradient.shape)
        way /= np.linalg.norm(way)

        def moved_loss(distance, part=part, way=way):
            moved = type(p)(p.flat + distance * way, p.weights) if part == "parameters" else p
            terms = dy * layer(moved, x + distance * way if part == "x" else x)
            return terms.sum(), np.abs(terms).sum()

        error = slope_error(moved_loss, (gradient * way).sum(), np.linalg.norm(gradient))
        assert error <= 1, f"{layer} {part}: {error:.3g} times the error allowed"


def check_loss(loss, prediction, target, seed=0, **options):
    """Assert that the derivative of a loss, in float64, agrees with a finite difference along a direction."""
    way = np.random.default_rng(seed).standard_normal(prediction.shape)
    way /= np.linalg.norm(way)
    value, gradient = loss(prediction, target, **options)

    def moved_loss(distance):
        found = loss(prediction + distance * way, target, **options)[0]
        return found, abs(found) + 1

    error = slope_error(moved_loss, (gradient * way).sum(), np.linalg.norm(gradient))
    assert error <= 1, f"{loss}: {error:.3g} times the error allowed"


def check_network(net, x, y, lengths=None, seed=0, loss="mse"):
    """Assert that a network's gradient agrees with finite differences of its loss."""
    random, flat = np.random.default_rng(seed), net.params.flat.copy()
    _, gradient = net.loss_and_gradient(flat, x, y, loss, lengths)
    direction = random.choice((-1.0, 1.0), flat.shape) / np.sqrt(len(flat))

    def at(distance):
        value = net.loss_and_gradient(flat + distance * direction, x, y, loss, lengths)[0]
        return value, abs(value)

    error = slope_error(at, gradient @ direction, np.sqrt(gradient @ gradient), STEP)
    assert error <= 1, f"{net}: {error:.3g} times the error allowed"


def flat_of(state):
    """The arrays of a network's state."""
    return [array for part in state for array in (part if isinstance(part, tuple) else (part,))]


def shifted(x, distance, direction):
    """An array or a Ragged moved along a direction."""
    return type(x)(x.data + distance * direction, x.offsets) if hasattr(x, "offsets") else x + distance * direction


def data_of(array):
    """The numbers of an array or a Ragged."""
    return array.data if hasattr(array, "offsets") else array


def check_function(net, x, options, state, seed=0):
    """Assert that a network's backward gives the slopes of <dy, y> + <dstate, final state> for parameters, x and state."""
    random = np.random.default_rng(seed)
    y, final, tape = net.forward(x, state, **options)
    dy = random.standard_normal(data_of(y).shape)
    dfinal = [random.standard_normal(array.shape) for array in flat_of(final)]
    found = net.backward(tape, type(y)(dy, y.offsets) if hasattr(y, "offsets") else dy, nested(final, dfinal))
    again, last = net(x, state, **options)
    assert np.array_equal(data_of(y), data_of(again)) and all(map(np.array_equal, flat_of(final), flat_of(last)))
    own = net.params.flat.copy()
    gradients = {"parameters": [found.params.flat], "state": flat_of(found.state)}
    if not net.takes_indices:
        gradients["x"] = [data_of(found.x)]
    for part, gradient in gradients.items():
        way = [random.choice((-1.0, 1.0), g.shape) / np.sqrt(sum(g.size for g in gradient)) for g in gradient]

        def loss(distance, part=part, way=way):
            if part == "parameters":
                net.params.flat[:] = own + distance * way[0]
            there = shifted(x, distance, way[0]) if part == "x" else x
            begin = nested(state, [a + distance * d for a, d in zip(flat_of(state), way)]) if part == "state" else state
            y, final = net(there, begin, **options)
            net.params.flat[:] = own
            terms = [data_of(y) * dy, *(a * d for a, d in zip(flat_of(final), dfinal, strict=True))]
            return sum(t.sum() for t in terms), sum(np.abs(t).sum() for t in terms)

        slope, length = sum((g * d).sum() for g, d in zip(gradient, way)), np.sqrt(sum((g * g).sum() for g in gradient))
        error = slope_error(loss, slope, length)
        if error > 1:  # where slopes turn fast a difference has an error of its own: a quarter of the step divides it by 256
            error = slope_error(loss, slope, length, STEP / 4)
        assert error <= 1, f"{part}: {error:.3g} times the error allowed"
    return found


def nested(state, arrays):
    """Arrays in the form of a network's state."""
    rest = iter(arrays)
    return tuple(tuple(next(rest) for _ in part) if isinstance(part, tuple) else next(rest) for part in state)


def check_pool(layer, x, lengths=None, ragged=False, seed=0):
    """Assert that the derivative of pooling over the steps of x, (T, N, C), agrees with a finite difference."""
    random, own = np.random.default_rng(seed), np.full(x.shape[1], len(x)) if lengths is None else lengths
    dy, along = random.standard_normal(x.shape[1:]), random.standard_normal(x.shape)

    def given(x):
        if not ragged:
            return x
        return Ragged(np.concatenate([x[:length, n] for n, length in enumerate(own)]), [0, *np.cumsum(own)])

    p, options = layer.init(x.shape[2], dtype="float64"), {} if ragged else {"lengths": lengths}
    _, tape = layer.forward(p, given(x), **options)
    g = layer.backward(tape, dy).x
    slope = (g.data * given(along).data).sum() if ragged else (g * along).sum()
    up, down = ((layer(p, given(x + s * 1e-6 * along), **options) * dy).sum() for s in (1, -1))
    assert abs((up - down) / 2e-6 - slope) < 1e-8  # rounding 1e-15 / 1e-6; linear between two changes of the largest step
    if not ragged:
        for n, length in enumerate(own):
            assert not g[length:, n].any()


def check_graph(net, inputs, options, state, seed=0, directions=1):
    """Assert that a graph's backward gives the slopes of <dy, y> + <dstate, final state> by all that it reads."""
    random = np.random.default_rng(seed)
    y, final, tape = net.forward(inputs, state, **options)
    dy = {name: shifted(_zeros(each), 1.0, random.standard_normal(data_of(each).shape)) for name, each in y.items()}
    dfinal = [random.standard_normal(array.shape) for array in flat_of(final.values())]
    found = net.backward(tape, dy, _by_label(final, dfinal))
    again, last = net(inputs, state, **options)
    assert all(np.array_equal(data_of(y[name]), data_of(again[name])) for name in y)
    assert all(map(np.array_equal, flat_of(final.values()), flat_of(last.values())))
    numbers = [name for name in inputs if found.x[name] is not None]
    points = {
        "parameters": ([net.params.flat.copy()], [found.params.flat]),
        "inputs": ([data_of(inputs[name]) for name in numbers], [data_of(found.x[name]) for name in numbers]),
        "state": (flat_of(state.values()), flat_of(found.state[label] for label in state)),
    }
    for part, (at, gradient) in points.items():
        for _ in range(directions if at else 0):
            way = [random.choice((-1.0, 1.0), g.shape) / np.sqrt(sum(g.size for g in gradient)) for g in gradient]

            def loss(distance, part=part, at=at, way=way):
                moved = [a + distance * d for a, d in zip(at, way)]
                x, begin = inputs, state
                if part == "parameters":
                    net.params.flat[:] = moved[0]
                if part == "inputs":
                    x = inputs | {name: shifted(_zeros(inputs[name]), 1.0, a) for name, a in zip(numbers, moved)}
                if part == "state":
                    begin = _by_label(state, moved)
                y, final = net(x, begin, **options)
                net.params.flat[:] = points["parameters"][0][0]
                terms = [data_of(y[name]) * data_of(dy[name]) for name in y]
                terms += [a * d for a, d in zip(flat_of(final.values()), dfinal, strict=True)]
                return sum(t.sum() for t in terms), sum(np.abs(t).sum() for t in terms)

            slope = sum((g * d).sum() for g, d in zip(gradient, way, strict=True))
            error = slope_error(loss, slope, np.sqrt(sum((g * g).sum() for g in gradient)))
            assert error <= 1, f"{part}: {error:.3g} times the error allowed"
    return found


def _zeros(array):
    """Zeros like an array or a Ragged; NaN in padding is gone too."""
    return type(array)(np.zeros_like(array.data), array.offsets) if hasattr(array, "offsets") else np.zeros_like(array)


def _by_label(states, arrays):
    """Arrays in the form of a graph's states."""
    return dict(zip(states, nested(states.values(), arrays)))
