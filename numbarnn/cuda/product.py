"""Matrix products on the GPU: those that are outside the loop over time.

A block of threads computes a square of C, each thread a small square of that; panels of A and B pass through shared memory.
A sum has one order whatever the sizes: PANEL products at a time, one after the other, and these sums likewise.
"""

from . import cublas
from .device import SIMULATED, cuda, function, kernel
from .launches import add_to_recording, launch
from .records import Each, Product

SIDE = 2 if SIMULATED else 16  # threads along a side of a block
MICRO = 2 if SIMULATED else 4  # numbers along a side of a thread's square
PANEL = 4 if SIMULATED else 16  # depth of a panel
SQUARE = SIDE * MICRO
THREADS = SIDE * SIDE
MICRO_SIZE = MICRO * MICRO
PANEL_SIZE = PANEL * SQUARE


@function
def compute_square(real, call, square, a, b, c):
    """Compute one square of a `Product` of numbers in the memory a and b, to c (is modified), by a block of threads."""
    a_panel = cuda.shared.array(PANEL_SIZE, c.dtype)
    b_panel = cuda.shared.array(PANEL_SIZE, c.dtype)
    sums = cuda.local.array(MICRO_SIZE, c.dtype)
    total = cuda.local.array(MICRO_SIZE, c.dtype)
    thread = cuda.threadIdx.x
    across = (call.columns + SQUARE - 1) // SQUARE
    first_row, first_column = square // across * SQUARE, square % across * SQUARE
    row, column = thread // SIDE, thread % SIDE
    for i in range(MICRO_SIZE):
        total[i] = real
    for before in range(0, call.depth, PANEL):
        for i in range(thread, PANEL_SIZE, THREADS):
            # Neighbouring threads read neighbouring numbers, whichever axis of A they lie along.
            if call.a_depth == 1:
                r, k = i // PANEL, i % PANEL
            else:
                r, k = i % SQUARE, i // SQUARE
            value = real
            if first_row + r < call.rows and before + k < call.depth:
                value = a[call.a + (first_row + r) * call.a_row + (before + k) * call.a_depth]
            a_panel[k * SQUARE + r] = value
            if call.b_depth == 1:
                j, k = i // PANEL, i % PANEL
            else:
                j, k = i % SQUARE, i // SQUARE
            value = real
            if first_column + j < call.columns and before + k < call.depth:
                value = b[call.b + (before + k) * call.b_depth + (first_column + j) * call.b_column]
            b_panel[k * SQUARE + j] = value
        cuda.syncthreads()
        for i in range(MICRO_SIZE):
            sums[i] = real
        for k in range(PANEL):
            for i in range(MICRO):
                for j in range(MICRO):
                    sums[i * MICRO + j] += a_panel[k * SQUARE + row + i * SIDE] * b_panel[k * SQUARE + column + j * SIDE]
        for i in range(MICRO_SIZE):
            total[i] += sums[i]
        cuda.syncthreads()
    for i in range(MICRO):
        for j in range(MICRO):
            r, s = first_row + row + i * SIDE, first_column + column + j * SIDE
            if r < call.rows and s < call.columns:
                place = call.c + r * call.c_row + s * call.c_column
                value = total[i * MICRO + j]
                if call.add:
                    value += c[place]
                c[place] = value


@kernel
def product(real, call, a, b, c):
    """The `Product` of numbers in the memory a and b, to c (is modified)."""
    compute_square(real, call, cuda.blockIdx.x, a, b, c)


@kernel
def product_of_each(real, call, each, a, b, c):
    """A `Product` for each of several, `Each` of them (c is modified)."""
    squares = (call.rows + SQUARE - 1) // SQUARE * ((call.columns + SQUARE - 1) // SQUARE)
    one, square = cuda.blockIdx.x // squares, cuda.blockIdx.x % squares
    own = Product(
        call.rows, call.columns, call.depth, call.a + one * each.a, call.a_row, call.a_depth, call.b + one * each.b,
        call.b_depth, call.b_column, call.c + one * each.c, call.c_row, call.c_column, call.add,
    )  # fmt: skip
    compute_square(real, own, square, a, b, c)


def squares_of(call):
    """The squares that C is made of, a block each; 0 where there is nothing to compute."""
    return -(-call.rows // SQUARE) * -(-call.columns // SQUARE) if call.depth else 0


def multiply(real, call, a, b, c):
    """Put a `Product` on this Python thread's stream: by cuBLAS where it is there and can, else by `product`."""
    if squares_of(call) and not by_cublas(real, call, a, b, c):
        launch(product, (squares_of(call), THREADS), real, call, a, b, c)


def multiply_each(real, call, each, a, b, c):
    """Put a `Product` for each of several on this Python thread's stream: one launch, each with the bits of one alone."""
    if squares_of(call) and each.count:
        launch(product_of_each, (squares_of(call) * each.count, THREADS), real, call, each, a, b, c)


def by_cublas(real, call, a, b, c):
    """Put a `Product` on this Python thread's stream by cuBLAS; False if that is not for cuBLAS, and nothing is done."""
    done = cublas.multiply(real, call, a, b, c)
    if done:
        add_to_recording(cublas.multiply, real, call, a, b, c)
    return done


__all__ = ["Each", "Product", "multiply", "multiply_each", "product"]
