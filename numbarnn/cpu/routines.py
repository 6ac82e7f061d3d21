"""Routines that every kernel shares, compiled once per dtype and called by address.

A kernel that merely called an @njit function would compile it again, inlined, for each cell.  The address of a C
function is one more integer in the kernel's record.
"""

import functools
import threading

import numpy as np
from numba import types

from . import blocks, product, weights
from .compiled import routine
from .records import BACKWARD, FORWARD, ROUTINE_NAMES
from .routine_call import record_at

F32, F64 = np.float32(0), np.float64(0)

_one_at_a_time = threading.Lock()  # two Python threads that start at once compile each routine once


def product_float32(c, c_row, s, s_row, s_vector, a, a_row, a_depth, inner, a_outer, b, b_depth, depth, rows, vectors):
    product.product(
        F32, c, c_row, s, s_row, s_vector, a, a_row, a_depth, inner, a_outer, b, b_depth, depth, rows, vectors
    )


def product_float64(c, c_row, s, s_row, s_vector, a, a_row, a_depth, inner, a_outer, b, b_depth, depth, rows, vectors):
    product.product(
        F64, c, c_row, s, s_row, s_vector, a, a_row, a_depth, inner, a_outer, b, b_depth, depth, rows, vectors
    )


def row_product_float32(
    c, c_block, s, s_block, s_vector, a, a_depth, inner, a_outer, b, b_block, b_depth, depth, vectors, blocks
):
    product.row_product(
        F32, c, c_block, s, s_block, s_vector, a, a_depth, inner, a_outer, b, b_block, b_depth, depth, vectors, blocks
    )  # fmt: skip


def row_product_float64(
    c, c_block, s, s_block, s_vector, a, a_depth, inner, a_outer, b, b_block, b_depth, depth, vectors, blocks
):
    product.row_product(
        F64, c, c_block, s, s_block, s_vector, a, a_depth, inner, a_outer, b, b_block, b_depth, depth, vectors, blocks
    )  # fmt: skip


def copy_rows_float32(
    source, step_table, step_stride, start_table, row_stride, stride, table, time, count, time_step, first, end, row_step,
    columns, target, target_row,
):  # fmt: skip
    blocks.copy_rows(
        F32, source, step_table, step_stride, start_table, row_stride, stride, table, time, count, time_step, first, end,
        row_step, columns, target, target_row,
    )  # fmt: skip


def copy_rows_float64(
    source, step_table, step_stride, start_table, row_stride, stride, table, time, count, time_step, first, end, row_step,
    columns, target, target_row,
):  # fmt: skip
    blocks.copy_rows(
        F64, source, step_table, step_stride, start_table, row_stride, stride, table, time, count, time_step, first, end,
        row_step, columns, target, target_row,
    )  # fmt: skip


def times_transposed_float32(
    product, row_product, zeros, transposed, weight_rows, slots, hidden, per_block, dpre, all_slots, first_slot,
    total_rows, first, rows, row_step, target, target_row, from_vector, to_vector, descending,
):  # fmt: skip
    weights.times_transposed(
        F32, product, row_product, zeros, transposed, weight_rows, slots, hidden, per_block, dpre, all_slots, first_slot,
        total_rows, first, rows, row_step, target, target_row, from_vector, to_vector, descending,
    )  # fmt: skip


def times_transposed_float64(
    product, row_product, zeros, transposed, weight_rows, slots, hidden, per_block, dpre, all_slots, first_slot,
    total_rows, first, rows, row_step, target, target_row, from_vector, to_vector, descending,
):  # fmt: skip
    weights.times_transposed(
        F64, product, row_product, zeros, transposed, weight_rows, slots, hidden, per_block, dpre, all_slots, first_slot,
        total_rows, first, rows, row_step, target, target_row, from_vector, to_vector, descending,
    )  # fmt: skip


def pack_task_float32(calls, direction, part):
    weights.pack_task(F32, record_at(calls, FORWARD), direction, part)


def pack_task_float64(calls, direction, part):
    weights.pack_task(F64, record_at(calls, FORWARD), direction, part)


def gradient_task_float32(calls, direction, part, start, steps):
    weights.gradient_task(F32, record_at(calls, BACKWARD), direction, part, start, steps)


def gradient_task_float64(calls, direction, part, start, steps):
    weights.gradient_task(F64, record_at(calls, BACKWARD), direction, part, start, steps)


@functools.cache
def _compiled(name, dtype):
    function = globals()[f"{name}_{dtype}"]
    arguments = function.__code__.co_argcount
    return routine(function, types.void(*[types.int64] * arguments))


@functools.cache
def addresses(dtype):
    """The addresses of the routines for `dtype`, in the order of ROUTINE_NAMES, as a record takes them."""
    with _one_at_a_time:
        return tuple(_compiled(name, str(dtype)).address for name in ROUTINE_NAMES)
