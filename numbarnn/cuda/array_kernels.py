"""The kernels of `array.DeviceArray`: a number to each thread, whatever the layout.

An array is its memory, where its first number lies in it, and its strides along four axes, of which kernels know the
lengths of the inner three.
"""

from typing import NamedTuple

from .device import cuda, kernel


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
