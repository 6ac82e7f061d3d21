"""From NumPy's ufuncs to kernel launches: dtypes as NumPy resolves them, one launch for each ufunc."""

import functools

import numpy as np

from . import array_kernels as kernels
from .array import DTYPES, DeviceArray, broadcast_to, empty, launch_elementwise, overlap
from .array_kernels import Elementwise

NUMBERS = {  # of floating numbers and of integers
    np.add: kernels.ADD, np.subtract: kernels.SUBTRACT, np.multiply: kernels.MULTIPLY, np.maximum: kernels.MAXIMUM,
    np.minimum: kernels.MINIMUM, np.positive: kernels.POSITIVE, np.negative: kernels.NEGATIVE, np.square: kernels.SQUARE,
    np.absolute: kernels.ABSOLUTE, np.fabs: kernels.ABSOLUTE, np.sign: kernels.SIGN,
}  # fmt: skip
REALS = NUMBERS | {
    np.divide: kernels.DIVIDE, np.sqrt: kernels.SQRT, np.exp: kernels.EXP, np.expm1: kernels.EXPM1, np.log: kernels.LOG,
    np.log1p: kernels.LOG1P, np.tanh: kernels.TANH,
}  # fmt: skip
COMPARISONS = {
    np.less: kernels.LESS, np.less_equal: kernels.LESS_EQUAL, np.greater: kernels.GREATER,
    np.greater_equal: kernels.GREATER_EQUAL, np.equal: kernels.EQUAL, np.not_equal: kernels.NOT_EQUAL,
    np.isfinite: kernels.ISFINITE, np.isnan: kernels.ISNAN, np.isinf: kernels.ISINF,
}  # fmt: skip
LOGIC = {
    np.logical_and: kernels.AND, np.logical_or: kernels.OR, np.logical_xor: kernels.XOR, np.logical_not: kernels.NOT,
    np.bitwise_and: kernels.AND, np.bitwise_or: kernels.OR, np.bitwise_xor: kernels.XOR, np.invert: kernels.NOT,
    np.maximum: kernels.OR, np.minimum: kernels.AND, np.add: kernels.OR, np.multiply: kernels.AND,
    np.positive: kernels.POSITIVE,
}  # fmt: skip
KNOWN = {*REALS, *COMPARISONS, *LOGIC, np.power}


@functools.lru_cache(maxsize=1024)
def _resolved(ufunc, *dtypes):
    """(dtype of the operands, dtype of the result) that NumPy would take."""
    *inputs, output = ufunc.resolve_dtypes((*dtypes, None))
    if len(set(inputs)) > 1 or inputs[0] not in DTYPES or output not in DTYPES:
        raise TypeError(f"{ufunc.__name__}: {', '.join(map(str, dtypes))} is not known on the GPU")
    return inputs[0], output


@functools.lru_cache(maxsize=1024)
def _kernel_of(ufunc, operand, result):
    """(kernel, operation) of a ufunc on operands of a dtype."""
    if operand.kind == result.kind == "b":
        table, kernel = (LOGIC, kernels.logic) if ufunc in LOGIC else (COMPARISONS, kernels.comparison)
    elif result.kind == "b":
        table, kernel = COMPARISONS, kernels.comparison
    elif operand.kind == "f":
        table, kernel = REALS, kernels.arithmetic
    else:
        table, kernel = NUMBERS, kernels.whole
    if ufunc not in table:
        raise TypeError(f"{ufunc.__name__}: of {operand} is not known on the GPU")
    return kernel, table[ufunc]


def is_number(value):
    """Whether a value stands for the same number everywhere: Python's, NumPy's, or a NumPy array without axes."""
    return isinstance(value, (int, float, np.generic)) or (isinstance(value, np.ndarray) and value.ndim == 0)


def checked_operand(name, value):
    """`value`, if it is a DeviceArray or a number; else a TypeError that names the operation."""
    if isinstance(value, DeviceArray) or is_number(value):
        return value
    hint = ": numbarnn.cuda.asarray copies it to the GPU" if isinstance(value, np.ndarray) else ""
    raise TypeError(f"{name}: expected arrays on the GPU and numbers, got {type(value).__name__}{hint}")


def _dtype_of(value):
    if isinstance(value, (DeviceArray, np.generic, np.ndarray)):
        return value.dtype
    return np.dtype(bool) if isinstance(value, bool) else type(value)  # Python's numbers take the arrays' dtype


def call(ufunc, method, inputs, kwargs):
    """What ``DeviceArray.__array_ufunc__`` does."""
    name = ufunc.__name__
    if method == "reduce" and ufunc in _REDUCTIONS:
        from .array_functions import reduction

        out = kwargs.pop("out", None)
        return reduction(name, _REDUCTIONS[ufunc], *inputs, **{"axis": 0} | kwargs, out=None if out is None else out[0])
    if method != "__call__" or ufunc not in KNOWN:
        raise TypeError(f"{name}{'' if method == '__call__' else '.' + method}: is not known on the GPU")
    out, where, dtype = (kwargs.pop(n, None) for n in ("out", "where", "dtype"))
    kwargs.pop("casting", None)
    if kwargs:
        raise TypeError(f"{name}: the arguments {', '.join(kwargs)} are not known on the GPU")
    if ufunc is np.power:
        return _power(inputs, out)
    inputs = [checked_operand(name, value) for value in inputs]
    operand, result = _resolved(ufunc, *map(_dtype_of, inputs))
    if ufunc in _TRUTHS and operand.kind != "b":
        inputs = [value != 0 for value in inputs]
        operand = result = np.dtype(bool)
    if dtype is not None and np.dtype(dtype) != result:
        operand = result = np.dtype(dtype)
    kernel, operation = _kernel_of(ufunc, operand, result)
    return elementwise(name, kernel, operation, operand, result, inputs, None if out is None else out[0], where)


_TRUTHS = {np.logical_and, np.logical_or, np.logical_xor, np.logical_not}
_REDUCTIONS = {
    np.add: kernels.ADD, np.maximum: kernels.MAXIMUM, np.minimum: kernels.MINIMUM, np.logical_and: kernels.AND,
    np.logical_or: kernels.OR,
}  # fmt: skip


def _power(inputs, out):
    base, exponent = inputs
    simple = {0.5: np.sqrt, 1: np.positive, 2: np.square}
    if not is_number(exponent) or float(exponent) not in simple or (float(exponent) == 0.5 and base.dtype.kind != "f"):
        raise TypeError(f"power: expected an exponent of 0.5, 1 or 2 on the GPU, got {exponent!r}")
    return call(simple[float(exponent)], "__call__", (base,), {} if out is None else {"out": out})


def elementwise(name, kernel, operation, operand, result, inputs, out=None, where=None, numbers=None):
    """Launch an elementwise kernel.

    Parameters
    ----------
    name : str
        What errors call it.
    kernel, operation
        Of `array_kernels`.
    operand, result : numpy.dtype
    inputs : list of DeviceArray or number
        One or two.
    out : DeviceArray, optional
        Is modified.
    where : DeviceArray of bool, optional
        Where to write; for WHERE, where the first operand is taken.
    numbers : tuple of two, optional
        What stands for operands that are numbers, where that is not an operand itself.
    """
    if where is True:
        where = None
    if where is not None:
        checked_operand(name, where)
        if not isinstance(where, DeviceArray) or where.dtype != bool:
            raise TypeError(f"{name}: where: expected a DeviceArray of bool, got {where!r}")
    arrays = [v if isinstance(v, DeviceArray) else None for v in inputs]
    shapes = [v.shape for v in (*arrays, where) if v is not None]
    selects = operation == kernels.WHERE
    if out is None:
        shape = np.broadcast_shapes(*shapes)
        target = empty(shape, result)
        if where is not None and not selects:
            raise TypeError(f"{name}: where: expected out= together with it, for what is not written")
    else:
        if not isinstance(out, DeviceArray):
            raise TypeError(f"{name}: out: expected a DeviceArray, got {type(out).__name__}")
        out.require_writeable()
        shape = out.shape
        if np.broadcast_shapes(shape, *shapes) != shape:
            raise ValueError(f"{name}: out: expected shape {np.broadcast_shapes(*shapes)}, got {shape}")
        if not np.can_cast(result, out.dtype, "same_kind"):
            raise TypeError(f"{name}: out: expected {result}, got {out.dtype}")
        target = out
        if out.dtype != result:
            target = empty(shape, result)
            if where is not None and not selects:
                target[...] = out
    arrays = [_as_operand(array, operand, shape, target) for array in arrays]
    mask = None if where is None else _as_operand(where, where.dtype, shape, target)
    if target.size:
        left, right = numbers or (inputs[0], inputs[-1])
        left, right = (operand.type(0 if isinstance(v, DeviceArray) else v) for v in (left, right))
        launch_elementwise(
            name, kernel, Elementwise, operation, target, arrays[0], arrays[1] if len(arrays) > 1 else arrays[0], mask, left,
            right, operand.type(0), operand.type(1),
        )  # fmt: skip
    if out is not None and target is not out:
        out[...] = target
    return target if out is None else out


def _as_operand(array, dtype, shape, target):
    """An operand in the dtype that the kernel takes, broadcast, and its own where it shares numbers with the target."""
    if array is None:
        return None
    if array.dtype != dtype:
        array = array.astype(dtype)
    elif overlap(array, target):
        array = array.copy()
    return array if array.shape == shape else broadcast_to(array, shape)
