"""Matrices times vectors in C: ``y += W a``, a function for each matrix, its sizes constants.

Every output is a sum of its own, and neighbours are computed side by side, so that a compiler makes vectors of the loop
over outputs without reordering a sum.  Four columns are added at a time: the sums are then read and written once for four
products.  The order of a sum does not depend on the compiler: it begins at zero, goes through a block of columns, and is
added to what was there; errors grow with the root of the block.
"""

import numpy as np

from .source import indented

TOGETHER = 4  # columns
BLOCK = 128  # columns that are summed one after the other
LANES = 4  # outputs: rows of the table are filled up to whole vectors of the least width
PARTS = 8  # of a sum of products, where outputs are fewer than LANES


def add_product(source, name, matrix):
    """Define ``name(a, y)``: add the product of a matrix (outputs, inputs) and the vector a to y; returns its name."""
    write = _write_rows if len(matrix) < LANES else _write_columns
    return write(source, name, matrix)


def _define(source, name, body):
    """Define the function of a product by its statements; returns its name."""
    function, real, restrict = f"{source.name}_{name}", source.real.name, source.restrict
    apart = f"{source.name.upper()}_APART"
    opening = [f"static {apart} void {function}(const {real} *{restrict} a, {real} *{restrict} y)", "{"]
    source.function("\n".join([*opening, *indented(body), "}", ""]))
    return function


def _write_columns(source, name, matrix):
    """Many outputs: all of them get the products of some columns, and then of the next."""
    outputs, inputs = matrix.shape
    row = -(-outputs // LANES) * LANES
    padded = np.zeros((inputs, row), matrix.dtype)
    padded[:, :outputs] = matrix.T
    table = source.array(f"{name}_table", padded)
    whole = inputs // TOGETHER * TOGETHER
    blocks = -(-whole // BLOCK)
    body = []
    if blocks > 1:
        length = -(-whole // (blocks * TOGETHER)) * TOGETHER
        body += [
            f"for (int first = 0; first < {whole}; first += {length}) {{",
            f"    const int end = first + {length} < {whole} ? first + {length} : {whole};",
            *indented(_summed(source, table, row, outputs, "first", "end")),
            "}",
        ]
    elif whole:
        body += _summed(source, table, row, outputs, "0", str(whole))
    if whole < inputs:
        body += _rest(source, table, row, outputs, whole, inputs)
    return _define(source, name, body)


def _factors(source, count, at):
    """Declarations of so many numbers of a, from the place `at` on."""
    places = [f"a[{at} + {i}]" if not at.isdigit() else f"a[{int(at) + i}]" for i in range(count)]
    return [f"const {source.real.name} a{i} = {place};" for i, place in enumerate(places)]


def _summed(source, table, row, outputs, start, end):
    """The sums over some columns, whole groups of them."""
    real, fma = source.real.name, f"{source.name.upper()}_FMA"
    return [
        f"{real} sum[{row}] = {{{source.real.literal(0)}}};",
        f"for (int k = {start}; k < {end}; k += {TOGETHER}) {{",
        f"    const {real} *{source.restrict} w = {table} + k * {row};",
        *indented(_factors(source, TOGETHER, "k")),
        f"    for (int j = 0; j < {row}; j++) {{",
        f"        {real} s = sum[j];",
        *indented([f"s = {fma}(w[{f'{i * row} + ' if i else ''}j], a{i}, s);" for i in range(TOGETHER)], 2),
        "        sum[j] = s;",
        "    }",
        "}",
        f"for (int j = 0; j < {outputs}; j++)",
        "    y[j] += sum[j];",
    ]


def _rest(source, table, row, outputs, start, end):
    """The columns that fill no group."""
    fma, count = f"{source.name.upper()}_FMA", end - start
    terms = [f"w[{f'{i * row} + ' if i else ''}j]" for i in range(count)]
    total = f"{terms[0]} * a0"
    for i in range(1, count):
        total = f"{fma}({terms[i]}, a{i}, {total})"
    return [
        "{",
        f"    const {source.real.name} *{source.restrict} w = {table}{f' + {start * row}' if start else ''};",
        *indented(_factors(source, count, str(start))),
        f"    for (int j = 0; j < {outputs}; j++)",
        f"        y[j] += {total};",
        "}",
    ]


def _write_rows(source, name, matrix):
    """Few outputs: each is the sum of so many parts, which are vectors."""
    outputs, inputs = matrix.shape
    table = source.array(f"{name}_table", matrix)
    real, fma = source.real.name, f"{source.name.upper()}_FMA"
    whole = inputs // PARTS * PARTS
    body = [
        f"for (int i = 0; i < {outputs}; i++) {{",
        f"    const {real} *{source.restrict} w = {table} + i * {inputs};",
        f"    {real} part[{PARTS}] = {{{source.real.literal(0)}}};",
    ]
    if whole:
        body += [
            f"    for (int k = 0; k < {whole}; k += {PARTS})",
            f"        for (int j = 0; j < {PARTS}; j++)",
            f"            part[j] = {fma}(w[k + j], a[k + j], part[j]);",
        ]
    if whole < inputs:
        body += [
            f"    for (int j = 0; j < {inputs - whole}; j++)",
            f"        part[j] = {fma}(w[{whole} + j], a[{whole} + j], part[j]);",
        ]
    body += [f"    y[i] += {sum_of_parts('part')};", "}"]
    return _define(source, name, body)


def sum_of_parts(name):
    """The sum of an array of PARTS numbers, as an expression."""
    terms = [f"{name}[{i}]" for i in range(PARTS)]
    while len(terms) > 1:
        terms = [f"({a} + {b})" for a, b in zip(terms[::2], terms[1::2])]
    return terms[0]
