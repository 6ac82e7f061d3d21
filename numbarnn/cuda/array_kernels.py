"""The kernels of `array.DeviceArray`: a number to each thread, whatever the layout.

An array is its memory, where its first number lies in it, and its strides along four axes, of which kernels know the
lengths of the inner three.
"""

from typing import NamedTuple

from .device import SIMULATED, cuda, function, kernel

if SIMULATED:  # what Python's raise an error for is NaN or infinite on a GPU
    from numpy import exp, expm1, log, log1p, sqrt, tanh
else:
    from math import exp, expm1, log, log1p, sqrt, tanh


class Move(NamedTuple):
    """Copy `count` numbers; where `scattered` or `gathered` is 1, places along axis 0 are looked up in a table."""

    count: int
    n1: int
    n2: int
    n3: int
    target: int
    t0: int
    t1: int
    t2: int
    t3: int
    source: int
    s0: int
    s1: int
    s2: int
    s3: int
    gathered: int
    scattered: int


@kernel
def move(call, target, source, table):
    """Run a `Move`; target is modified."""
    for i in range(cuda.grid(1), call.count, cuda.gridsize(1)):
        i3, rest = i % call.n3, i // call.n3
        i2, rest = rest % call.n2, rest // call.n2
        i1, i0 = rest % call.n1, rest // call.n1
        to = call.target + i1 * call.t1 + i2 * call.t2 + i3 * call.t3
        to += table[i0] if call.scattered else i0 * call.t0
        at = call.source + i1 * call.s1 + i2 * call.s2 + i3 * call.s3
        at += table[i0] if call.gathered else i0 * call.s0
        target[to] = source[at]


class Fill(NamedTuple):
    """Write one number to `count` places."""

    count: int
    n1: int
    n2: int
    n3: int
    target: int
    t0: int
    t1: int
    t2: int
    t3: int


@kernel
def fill(call, target, value):
    """Run a `Fill`; target is modified."""
    for i in range(cuda.grid(1), call.count, cuda.gridsize(1)):
        i3, rest = i % call.n3, i // call.n3
        i2, rest = rest % call.n2, rest // call.n2
        i1, i0 = rest % call.n1, rest // call.n1
        target[call.target + i0 * call.t0 + i1 * call.t1 + i2 * call.t2 + i3 * call.t3] = value


# Operations: numbers that every thread of a launch branches on alike.
(
    ADD, SUBTRACT, MULTIPLY, DIVIDE, MAXIMUM, MINIMUM, POSITIVE, NEGATIVE, SQUARE, SQRT, ABSOLUTE, SIGN, EXP, LOG, LOG1P,
    CLIP, WHERE, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, EQUAL, NOT_EQUAL, ISFINITE, ISNAN,
    ISINF, AND, OR, XOR, NOT, TANH, EXPM1,
) = range(32)  # fmt: skip


class Elementwise(NamedTuple):
    """An operation on the numbers of a and b, or on one for all of them, to `out`; with a mask, where that says so."""

    operation: int
    count: int
    n1: int
    n2: int
    n3: int
    out: int
    o0: int
    o1: int
    o2: int
    o3: int
    a: int
    a0: int
    a1: int
    a2: int
    a3: int
    b: int
    b0: int
    b1: int
    b2: int
    b3: int
    mask: int
    m0: int
    m1: int
    m2: int
    m3: int
    left: int  # 1 where `left` stands for all of a
    right: int
    masked: int


@function
def out_place(call, i0, i1, i2, i3):
    return call.out + i0 * call.o0 + i1 * call.o1 + i2 * call.o2 + i3 * call.o3


@function
def a_place(call, i0, i1, i2, i3):
    return call.a + i0 * call.a0 + i1 * call.a1 + i2 * call.a2 + i3 * call.a3


@function
def b_place(call, i0, i1, i2, i3):
    return call.b + i0 * call.b0 + i1 * call.b1 + i2 * call.b2 + i3 * call.b3


@function
def mask_place(call, i0, i1, i2, i3):
    return call.mask + i0 * call.m0 + i1 * call.m1 + i2 * call.m2 + i3 * call.m3


@kernel
def arithmetic(call, out, a, b, mask, left, right, zero, one):
    """Run an `Elementwise` on floating numbers, to floating numbers; out is modified.

    zero, one: of the dtype, in the place of literals, which are float64.
    """
    for i in range(cuda.grid(1), call.count, cuda.gridsize(1)):
        i3, rest = i % call.n3, i // call.n3
        i2, rest = rest % call.n2, rest // call.n2
        i1, i0 = rest % call.n1, rest // call.n1
        chosen = True
        if call.masked:
            chosen = mask[mask_place(call, i0, i1, i2, i3)]
        operation = call.operation
        if chosen or operation == WHERE:
            x = left if call.left else a[a_place(call, i0, i1, i2, i3)]
            y = right
            if not call.right:
                y = b[b_place(call, i0, i1, i2, i3)]
            if operation == ADD:
                x = x + y
            elif operation == SUBTRACT:
                x = x - y
            elif operation == MULTIPLY:
                x = x * y
            elif operation == DIVIDE:
                x = x / y
            elif operation == MAXIMUM:
                x = x if x > y or x != x else y
            elif operation == MINIMUM:
                x = x if x < y or x != x else y
            elif operation == NEGATIVE:
                x = -x
            elif operation == SQUARE:
                x = x * x
            elif operation == SQRT:
                x = sqrt(x)
            elif operation == ABSOLUTE:
                x = abs(x)
            elif operation == SIGN:
                if x > zero:
                    x = one
                elif x < zero:
                    x = -one
                elif x == zero:
                    x = zero
            elif operation == EXP:
                x = exp(x)
            elif operation == EXPM1:
                x = expm1(x)
            elif operation == LOG:
                x = log(x)
            elif operation == LOG1P:
                x = log1p(x)
            elif operation == TANH:
                x = tanh(x)
            elif operation == CLIP:  # of a, between two numbers
                if x < left:
                    x = left
                if x > right:
                    x = right
            elif operation == WHERE:
                if not chosen:
                    x = y
            out[out_place(call, i0, i1, i2, i3)] = x


@kernel
def comparison(call, out, a, b, mask, left, right, zero, one):
    """Run an `Elementwise` on numbers of any kind, to bool; out is modified."""
    for i in range(cuda.grid(1), call.count, cuda.gridsize(1)):
        i3, rest = i % call.n3, i // call.n3
        i2, rest = rest % call.n2, rest // call.n2
        i1, i0 = rest % call.n1, rest // call.n1
        chosen = True
        if call.masked:
            chosen = mask[mask_place(call, i0, i1, i2, i3)]
        if chosen:
            x = left if call.left else a[a_place(call, i0, i1, i2, i3)]
            y = right if call.right else b[b_place(call, i0, i1, i2, i3)]
            operation, found = call.operation, False
            if operation == LESS:
                found = x < y
            elif operation == LESS_EQUAL:
                found = x <= y
            elif operation == GREATER:
                found = x > y
            elif operation == GREATER_EQUAL:
                found = x >= y
            elif operation == EQUAL:
                found = x == y
            elif operation == NOT_EQUAL:
                found = x != y
            elif operation == ISFINITE:
                found = x - x == zero
            elif operation == ISNAN:
                found = x != x
            elif operation == ISINF:
                found = x == x and x - x != zero
            out[out_place(call, i0, i1, i2, i3)] = found


@kernel
def whole(call, out, a, b, mask, left, right, zero, one):
    """Run an `Elementwise` on integers; out is modified."""
    for i in range(cuda.grid(1), call.count, cuda.gridsize(1)):
        i3, rest = i % call.n3, i // call.n3
        i2, rest = rest % call.n2, rest // call.n2
        i1, i0 = rest % call.n1, rest // call.n1
        chosen = True
        if call.masked:
            chosen = mask[mask_place(call, i0, i1, i2, i3)]
        operation = call.operation
        if chosen or operation == WHERE:
            x = left if call.left else a[a_place(call, i0, i1, i2, i3)]
            y = right
            if not call.right:
                y = b[b_place(call, i0, i1, i2, i3)]
            if operation == ADD:
                x = x + y
            elif operation == SUBTRACT:
                x = x - y
            elif operation == MULTIPLY:
                x = x * y
            elif operation == MAXIMUM:
                x = max(x, y)
            elif operation == MINIMUM:
                x = min(x, y)
            elif operation == NEGATIVE:
                x = -x
            elif operation == SQUARE:
                x = x * x
            elif operation == ABSOLUTE:
                x = abs(x)
            elif operation == SIGN:
                x = one if x > zero else (-one if x < zero else zero)
            elif operation == CLIP:
                x = min(max(x, left), right)
            elif operation == WHERE:
                if not chosen:
                    x = y
            out[out_place(call, i0, i1, i2, i3)] = x


@kernel
def logic(call, out, a, b, mask, left, right, zero, one):
    """Run an `Elementwise` on truth values; out is modified."""
    for i in range(cuda.grid(1), call.count, cuda.gridsize(1)):
        i3, rest = i % call.n3, i // call.n3
        i2, rest = rest % call.n2, rest // call.n2
        i1, i0 = rest % call.n1, rest // call.n1
        chosen = True
        if call.masked:
            chosen = mask[mask_place(call, i0, i1, i2, i3)]
        operation = call.operation
        if chosen or operation == WHERE:
            x = left if call.left else a[a_place(call, i0, i1, i2, i3)]
            y = right
            if not call.right:
                y = b[b_place(call, i0, i1, i2, i3)]
            found = x
            if operation == AND:
                found = x and y
            elif operation == OR:
                found = x or y
            elif operation == XOR:
                found = x != y
            elif operation == NOT:
                found = not x
            elif operation == WHERE:
                if not chosen:
                    found = y
            out[out_place(call, i0, i1, i2, i3)] = found


class Reduce(NamedTuple):
    """For each of `kept` places, every `pieces`-th of `reduced` numbers to one; `out` is [kept, pieces]."""

    operation: int
    kept: int
    reduced: int
    pieces: int
    out: int
    a: int
    kept_stride: int
    reduced_stride: int


@kernel
def reduce(call, out, a):
    """Run a `Reduce`: the sum, maximum or minimum; out is modified."""
    for i in range(cuda.grid(1), call.kept * call.pieces, cuda.gridsize(1)):
        place, piece = i // call.pieces, i % call.pieces
        start = call.a + place * call.kept_stride
        total = a[start + piece * call.reduced_stride]
        for j in range(piece + call.pieces, call.reduced, call.pieces):
            value = a[start + j * call.reduced_stride]
            if call.operation == ADD:
                total = total + value
            elif call.operation == MAXIMUM:
                if value > total or value != value:
                    total = value
            elif value < total or value != value:
                total = value
        out[call.out + i] = total


@kernel
def sum_in_double(call, out, a, zero):
    """The sum of a `Reduce` in float64, of float32 numbers or (SQUARE) of their squares; out is modified.

    It is what a loss and a norm ask for, and the one kernel that has both kinds of numbers.
    """
    for i in range(cuda.grid(1), call.kept * call.pieces, cuda.gridsize(1)):
        place, piece = i // call.pieces, i % call.pieces
        start, total = call.a + place * call.kept_stride, zero
        for j in range(piece, call.reduced, call.pieces):
            value = zero + a[start + j * call.reduced_stride]
            total += value * value if call.operation == SQUARE else value
        out[call.out + i] = total


@kernel
def largest(call, out, a):
    """For each kept place of a `Reduce` with one piece, which number is the largest: the first one, or the first NaN."""
    for place in range(cuda.grid(1), call.kept, cuda.gridsize(1)):
        start, found = call.a + place * call.kept_stride, 0
        best = a[start]
        for j in range(1, call.reduced):
            value = a[start + j * call.reduced_stride]
            if (value > best or value != value) and best == best:
                best, found = value, j
        out[call.out + place] = found
