"""A layer without recurrence on the GPU: ``y = f(W x + b)`` for every row, forward and backward.

W x is a product of all rows, computed before; see `launch`.
"""

from .device import blocks_for, cuda, kernel
from .launches import launch
from .types import get, put


@kernel
def forward(cell, real, call, tape, scratch):
    """Fill h, [S, H], from `inputs` and `bias`; tape is modified."""
    for i in range(cuda.grid(1), call.rows * call.hidden, cuda.gridsize(1)):
        value = scratch[call.inputs + i] + tape[call.bias + i % call.hidden]
        scratch[call.inputs + i] = value
        put(cell.activation.value(get(scratch, call.inputs + i)), tape, call.h + i)


@kernel
def backward(cell, real, call, tape, scratch, dy):
    """Fill dpre from dy and h, from which the slope follows; scratch is modified."""
    for i in range(cuda.grid(1), call.rows * call.hidden, cuda.gridsize(1)):
        y = get(tape, call.h + i)
        put(get(dy, call.dy + i) * cell.activation.slope(y), scratch, call.dpre + i)


def run(kernel, cell, real, call, tape, *arrays):
    """Launch one of the kernels."""
    launch(kernel, blocks_for(call.rows * call.hidden), cell, real, call, tape, *arrays)
