"""What the arguments of a compiled step are expected to be: types when a call is compiled, shapes when it is made."""

from numba import types
from numba.core.errors import TypingError
from numba.extending import register_jitable


@register_jitable
def are_one(array, batch, channels):
    """Whether the batch is one sequence and the array's last axis is its channels: (..., C)."""
    return batch == 1 and array.shape[-1] == channels


@register_jitable
def are_batch(array, batch, channels):
    """Whether the last axes are the batch and its channels: (..., N, C)."""
    return array.shape[-2] == batch and array.shape[-1] == channels


@register_jitable
def _is_one(index, batch, channels):
    """Whether an index, or one a step, is all that there is."""
    return batch == 1


@register_jitable
def _are_indices(array, batch, channels):
    """Whether the last axis has an index of each sequence."""
    return array.shape[-1] == batch


@register_jitable
def _are_inside(indices, vocabulary):
    """Whether all indices are of a vocabulary."""
    for index in indices.flat:
        if index < 0 or index >= vocabulary:
            return False
    return True


@register_jitable
def _is_inside(index, vocabulary):
    """Whether an index is of a vocabulary."""
    return 0 <= index < vocabulary


@register_jitable
def _are_numbers(numbers, vocabulary):
    """Numbers are in no range."""
    return True


def expect(argument, found, dtype, axes, what, written=True):
    """TypingError unless an argument is a C-contiguous array of a dtype, with a number of axes that is among some."""
    if not (isinstance(found, types.Array) and found.layout == "C" and found.dtype == dtype and found.ndim in axes):
        raise TypingError(f"{argument}: expected a C-contiguous array of {dtype}, {what}, got {found}")
    if written and not found.mutable:
        raise TypingError(f"{argument}: expected an array that may be written, got {found}")


def checks_of_x(step, x, time):
    """(whether the shape of x is right, whether its numbers are) as functions; TypingError if it is nothing of the kind."""
    before = "T, " if time else ""
    if not step.takes_indices:
        expect("x", x, step.dtype, (1 + time, 2 + time), f"({before}channels) or ({before}batch, channels)", written=False)
        return are_one if x.ndim == 1 + time else are_batch, _are_numbers
    if isinstance(x, types.Integer) and not time:
        return _is_one, _is_inside
    expect("x", x, types.int64, (1, 1 + time), f"({before}batch)" + " or (T,)" * time, written=False)
    return _is_one if x.ndim == time else _are_indices, _are_inside


def shape_error_of_x(step, time):
    """What compiled code says where x has another shape."""
    before = "T, " if time else ""
    if not step.takes_indices:
        return f"x: expected shape ({before}batch, channels) of the step, or ({before}channels) of one sequence"
    return f"x: expected shape ({before}batch) of the step, or {'(T,)' if time else 'an integer'} of one sequence"


def checks_of_step(step, x, state, y, work, time):
    """(of the shape of x, of its numbers, of the shape of y): functions; TypingError for what is nothing of the kind."""
    before = "T, " if time else ""
    of_x = checks_of_x(step, x, time)
    expect("state", state, step.dtype, (1,), "(state_size,)")
    expect("y", y, step.dtype, (1 + time, 2 + time), f"({before}outputs) or ({before}batch, outputs)")
    expect("work", work, types.int64, (1,), "(workspace_size,)")
    return *of_x, are_one if y.ndim == 1 + time else are_batch


@register_jitable
def fits_any(array, batch, channels):
    """Nothing, which is of any shape, is right."""
    return True
