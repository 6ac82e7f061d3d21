"""A unit's Jacobian, see `engine.unit_jacobian`, in the processor's kernels: vectors of units."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..engine import unit_jacobian
from ..engine.choices import joined
from ..engine.inlined import inlined
from . import extending
from .simd import splat
from .types import by_cell
from .vectors import Vector, llvm_call, llvm_suffix, llvm_vector


@intrinsic
def dot(typingctx, values, others):
    """The sum of the products of two tuples of vectors."""

    def codegen(context, builder, signature, args):
        pairs = [
            (builder.extract_value(args[0], i), builder.extract_value(args[1], i)) for i in range(len(signature.args[0]))
        ]
        total = builder.fmul(*pairs[0])
        for a, b in pairs[1:]:
            total = llvm_call(builder, f"llvm.fmuladd.{llvm_suffix(values.dtype)}", [a, b, total])
        return total

    return values.dtype(values, others), codegen


def _zeros(counted):
    """An intrinsic that makes as many vectors of zeros as the cell's attribute `counted` says."""

    @intrinsic
    def zeros(typingctx, cell, real):
        vector, count = Vector(real), getattr(cell.cell, counted)
        result = types.UniTuple(vector, count)

        def codegen(context, builder, signature, args):
            zero = ir.Constant(llvm_vector(vector), [0.0] * vector.lanes)
            return context.make_tuple(builder, result, [zero] * count)

        return result(cell, real), codegen

    return zeros


no_dpre, no_dstate = _zeros("dpre_count"), _zeros("states")


row_of, rows_of_step = unit_jacobian.rows(extending, splat)


@by_cell
def new_states(cell):
    """The tangents of the new states from `rows_of_step`, and the tangents of what they follow from."""
    if cell.states == 1:
        return lambda cell, rows, tangents: (dot(rows[0], tangents),)
    return lambda cell, rows, tangents: (dot(rows[0], tangents), dot(rows[1], tangents))


@inlined
def row_of_gate(cell, real, kept, old, per_unit):
    """`row_of` what the gated weight multiplies."""
    dpre, dold = cell.gate_adjoint(kept, old, splat(real, 1), no_dpre(cell, real), no_dstate(cell, real), per_unit)
    return joined(dpre, dold)
