"""One update of a parameter vector, fused: every number is read and written once.

All vectors are 1-D and contiguous, of one dtype; the scalars have that dtype too.  `previous` receives the parameters as
they were.  `scale` multiplies the gradient first (clipping).  An update returns whether all parameters are finite then.
"""

import math

import numpy as np

from ..engine.inlined import inlined
from .blocks import share
from .compiled import Task, kernel
from .jobs import run
from .records import integers
from .routine_call import numbers_at, record_at
from .simd import (
    absolute,
    keep_first,
    lane_sum,
    lanes,
    load,
    load_first,
    select,
    size_of,
    splat,
    square_root,
    store,
    store_first,
)
from .threads import parts_for

BLOCK = 4096  # numbers that one partial sum takes: the order of a norm does not depend on the number of threads
SMALLEST_PART = 1 << 15  # numbers below which another thread does not pay
VECTORS = "flat", "previous", "gradient", "first", "second", "decays"  # first, second: what the optimizer remembers
SCALARS = 7
WASTE_BYTES = 64  # from one part's number in `wrong` to the next part's, which another thread writes
# wrong: [parts] a number of each part, NaN where it has left a parameter that is not finite.
UPDATE = np.dtype([*integers("parts", "size", *VECTORS, "wrong"), ("scalars", float, SCALARS)])
SQUARES = np.dtype(integers("vector", "size", "partial"))


@inlined
def read(real, address, rest):
    """The vector at an address, of which only `rest` numbers may be left; a whole one without a mask."""
    return load(real, address) if rest >= lanes(real) else load_first(real, address, rest)


@inlined
def write(real, value, address, rest):
    """Write a vector likewise."""
    if rest >= lanes(real):
        store(value, address)
    else:
        store_first(value, address, rest)


@inlined
def begin_update(real, call, at, rest, scale):
    """(the parameters of some places, which `previous` receives, the scaled gradient there)."""
    value = read(real, call.flat + at, rest)
    write(real, value, call.previous + at, rest)
    return value, read(real, call.gradient + at, rest) * scale


@inlined
def end_update(real, value, waste, call, at, rest):
    """Write new parameters; returns `waste` with a NaN more where one of them is not finite."""
    write(real, value, call.flat + at, rest)
    return waste + (value - value if rest >= lanes(real) else keep_first(value - value, rest))


@inlined
def means_of(real, call, at, rest, g, beta1, beta2, other1, other2):
    """The running means of the gradient and of its square, with this step's included; they are kept.

    other1, other2: what is missing from beta1 and beta2 to 1.
    """
    m = beta1 * read(real, call.first + at, rest) + other1 * g
    v = beta2 * read(real, call.second + at, rest) + other2 * g * g
    write(real, m, call.first + at, rest)
    write(real, v, call.second + at, rest)
    return m, v


@inlined
def note_waste(waste, call, part):
    """Write whether a part has met a number that is not finite: NaN among the lanes of `waste`."""
    store_first(lane_sum(waste), call.wrong + part * WASTE_BYTES, 1)


@Task
def _sgd(cell, number, record, part):
    """``v = momentum v + g``, ``p -= rate v`` (Nesterov: ``p -= rate (g + momentum v)``); without momentum v is not kept."""
    real, call = number(0), record_at(record, UPDATE)[0]
    scale, rate, momentum = number(call.scalars[0]), number(call.scalars[1]), number(call.scalars[2])
    nesterov, (begin, count), size = call.scalars[3] != 0, share(call.size, call.parts, part), size_of(real)
    waste = splat(real, 0)
    for i in range(begin, begin + count, lanes(real)):
        at, rest = i * size, begin + count - i
        value, g = begin_update(real, call, at, rest, scale)
        v = g
        if momentum != 0:  # else nobody reads what was remembered: a quarter of the bytes
            v = momentum * read(real, call.first + at, rest) + g
            write(real, v, call.first + at, rest)
        waste = end_update(real, value - rate * (g + momentum * v if nesterov else v), waste, call, at, rest)
    note_waste(waste, call, part)


@Task
def _rmsprop(cell, number, record, part):
    """``s = decay s + (1 - decay) g^2``, ``p -= rate g / (sqrt(s) + epsilon)``."""
    real, call = number(0), record_at(record, UPDATE)[0]
    scale, rate, decay = number(call.scalars[0]), number(call.scalars[1]), number(call.scalars[2])
    epsilon, (begin, count), size = number(call.scalars[3]), share(call.size, call.parts, part), size_of(real)
    other, waste = number(1) - decay, splat(real, 0)
    for i in range(begin, begin + count, lanes(real)):
        at, rest = i * size, begin + count - i
        value, g = begin_update(real, call, at, rest, scale)
        s = decay * read(real, call.first + at, rest) + other * g * g
        write(real, s, call.first + at, rest)
        waste = end_update(real, value - rate * g / (square_root(s) + epsilon), waste, call, at, rest)
    note_waste(waste, call, part)


@Task
def _adam(cell, number, record, part):
    """``p = shrink p - rate m / (root sqrt(v) + epsilon)`` with the running means m of g and v of g^2.

    With `decays`, only those parameters shrink whose number there is not 0.
    """
    real, call = number(0), record_at(record, UPDATE)[0]
    scale, rate, shrink = number(call.scalars[0]), number(call.scalars[1]), number(call.scalars[2])
    beta1, beta2, root = number(call.scalars[3]), number(call.scalars[4]), number(call.scalars[5])
    epsilon, (begin, count), size = number(call.scalars[6]), share(call.size, call.parts, part), size_of(real)
    other1, other2, one, waste = number(1) - beta1, number(1) - beta2, splat(real, 1), splat(real, 0)
    for i in range(begin, begin + count, lanes(real)):
        at, rest = i * size, begin + count - i
        value, g = begin_update(real, call, at, rest, scale)
        m, v = means_of(real, call, at, rest, g, beta1, beta2, other1, other2)
        kept = splat(real, shrink)
        if call.decays != 0:
            decays = absolute(read(real, call.decays + at, rest))
            kept = select(decays > splat(real, 0), kept, one)
        waste = end_update(real, kept * value - rate * m / (root * square_root(v) + epsilon), waste, call, at, rest)
    note_waste(waste, call, part)


@Task
def _nadam(cell, number, record, part):
    """``p -= (direct g + rate m) / (root sqrt(v) + epsilon)`` with the running means m of g and v of g^2."""
    real, call = number(0), record_at(record, UPDATE)[0]
    scale, direct, rate = number(call.scalars[0]), number(call.scalars[1]), number(call.scalars[2])
    beta1, beta2, root = number(call.scalars[3]), number(call.scalars[4]), number(call.scalars[5])
    epsilon, (begin, count), size = number(call.scalars[6]), share(call.size, call.parts, part), size_of(real)
    other1, other2, waste = number(1) - beta1, number(1) - beta2, splat(real, 0)
    for i in range(begin, begin + count, lanes(real)):
        at, rest = i * size, begin + count - i
        value, g = begin_update(real, call, at, rest, scale)
        m, v = means_of(real, call, at, rest, g, beta1, beta2, other1, other2)
        waste = end_update(real, value - (direct * g + rate * m) / (root * square_root(v) + epsilon), waste, call, at, rest)
    note_waste(waste, call, part)


def _update(task, vectors, *scalars):
    """Run a task on vectors, `flat` the first, with scalars; returns whether all numbers of `flat` are finite then."""
    flat, addresses = vectors[0], [0 if vector is None else vector.ctypes.data for vector in vectors]
    addresses += [0] * (len(VECTORS) - len(addresses))
    parts = parts_for(flat.size, SMALLEST_PART)
    numbers, step = [*scalars, *[0.0] * (SCALARS - len(scalars))], WASTE_BYTES // flat.itemsize
    wrong = np.zeros(parts * step, flat.dtype)
    record = np.array((parts, flat.size, *addresses, wrong.ctypes.data, numbers), UPDATE)
    run(task, None, flat.dtype, record, parts)
    return not any(value != value for value in wrong[::step].tolist())


def sgd(flat, previous, gradient, velocity, scale, rate, momentum, nesterov):
    """``v = momentum v + g``, ``p -= rate v`` (Nesterov: ``p -= rate (g + momentum v)``)."""
    return _update(_sgd, (flat, previous, gradient, velocity), scale, rate, momentum, nesterov)


def rmsprop(flat, previous, gradient, square, scale, rate, decay, epsilon):
    """``s = decay s + (1 - decay) g^2``, ``p -= rate g / (sqrt(s) + epsilon)``."""
    return _update(_rmsprop, (flat, previous, gradient, square), scale, rate, decay, epsilon)


def adam(flat, previous, gradient, mean, square, scale, rate, shrink, beta1, beta2, root, epsilon):
    """``p = shrink p - rate m / (root sqrt(v) + epsilon)`` with the running means m of g and v of g^2."""
    return adam_in_part(flat, previous, gradient, mean, square, None, scale, rate, shrink, beta1, beta2, root, epsilon)


def adam_in_part(flat, previous, gradient, mean, square, decays, scale, rate, shrink, beta1, beta2, root, epsilon):
    """`adam`, where only those parameters shrink whose `decays` is not 0; all of them if it is None."""
    vectors = flat, previous, gradient, mean, square, decays
    return _update(_adam, vectors, scale, rate, shrink, beta1, beta2, root, epsilon)


def nadam(flat, previous, gradient, mean, square, scale, direct, rate, beta1, beta2, root, epsilon):
    """``p -= (direct g + rate m) / (root sqrt(v) + epsilon)`` with the running means m of g and v of g^2."""
    return _update(_nadam, (flat, previous, gradient, mean, square), scale, direct, rate, beta1, beta2, root, epsilon)


TASKS = {"sgd": _sgd, "rmsprop": _rmsprop, "adam": _adam}


@kernel
def all_finite(vector):
    """Whether no number of a 1-D contiguous vector is NaN or infinite.

    It is read once, which is a twentieth of an update of a long one, and a third of a microsecond for a short one.
    """
    wrong = np.int32(0)
    for i in range(vector.size):
        wrong |= np.int32(vector[i] - vector[i] != 0)  # the difference is NaN
    return wrong == 0


@Task
def squares(cell, number, record, block):
    """Write the sum of squares of one block of a vector, in float64 and in one order."""
    call = record_at(record, SQUARES)[0]
    vector, partial = numbers_at(number, call.vector, call.size), numbers_at(np.float64, call.partial, block + 1)
    sums = np.zeros(16)  # independent sums, so that they can be taken side by side
    first, end = block * BLOCK, min((block + 1) * BLOCK, call.size)
    for i in range(first, end - 15, 16):
        for lane in range(16):
            value = np.float64(vector[i + lane])
            sums[lane] += value * value
    for i in range(first + (end - first) // 16 * 16, end):
        value = np.float64(vector[i])
        sums[0] += value * value
    total = 0.0
    for lane in range(16):
        total += sums[lane]
    partial[block] = total


def norm(vector):
    """Euclidean norm of a 1-D contiguous vector, summed in float64 in one order: block after block."""
    partial = np.empty(-(-vector.size // BLOCK))
    record = np.array((vector.ctypes.data, vector.size, partial.ctypes.data), SQUARES)
    run(squares, None, vector.dtype, record, partial.size)
    total = 0.0
    for part in partial.tolist():
        total += part
    return math.sqrt(total)
