"""A compiled step as a value of the user's own compiled code: its Numba type, and what that code may do with it.

The value is an address and the Python object that the memory there belongs to, so one type serves every network of a dtype,
and code that is compiled for one takes any other.  It counts as a reference to the object, as an array does, since a list
or a class of compiled code may keep it when Python no longer does.
"""

import numpy as np
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_constant
from numba.extending import (
    NativeValue,
    box,
    intrinsic,
    lower_builtin,
    make_attribute_wrapper,
    models,
    overload_attribute,
    overload_method,
    register_jitable,
    register_model,
    unbox,
)

from ..errors import IndexRangeError, ShapeError
from .blocks import entry
from .compiled import SOURCES
from .failures import call_or_raise
from .records import place
from .routine_call import copy_bytes
from .step_checks import are_batch, are_one, checks_of_step, checks_of_x, expect, fits_any, shape_error_of_x
from .steps import STEP
from .vectors import INT64

TAKE, TAKE_BACK, ADD_LEARNED = (place(STEP, name) for name in ("take", "take_back", "add_learned"))
CHANNELS, OUTPUTS, BATCH, STATE_SIZE, WORKSPACE_SIZE, GRADIENT_SIZE, VOCABULARY, INITIAL_STATE = (
    place(STEP, name)
    for name in (
        "channels", "outputs", "batch", "state_size", "workspace_size", "gradient_size", "vocabulary", "initial_state",
    )
)  # fmt: skip


class StepType(types.Type):
    """The Numba type of a compiled step.

    Attributes
    ----------
    dtype : Float
    takes_indices : bool
    """

    def __init__(self, dtype, takes_indices):
        self.dtype, self.takes_indices = dtype, takes_indices
        # The stamp is of the sources: code of the user's on disk that was compiled for other records is not taken.
        super().__init__(f"CompiledStep({dtype}, indices={takes_indices}, {SOURCES.stamp})")


def type_of(dtype, takes_indices):
    """The StepType of steps of a dtype."""
    return StepType(from_dtype(dtype), takes_indices)


@register_model(StepType)
class StepModel(models.StructModel):
    """The address of a STEP record, the Python object that it belongs to, and what holds that; NULL of a constant."""

    def __init__(self, manager, fe_type):
        held = types.MemInfoPointer(types.voidptr)
        super().__init__(manager, fe_type, [("held", held), ("address", types.intp), ("owner", types.voidptr)])


make_attribute_wrapper(StepType, "address", "_address")
_baked = []  # steps that are constants of compiled code, which is there as long as the process


@unbox(StepType)
def _unbox(typ, obj, c):
    """The value of a Python object."""
    value = cgutils.create_struct_proxy(typ)(c.context, c.builder)
    number = c.pyapi.object_getattr_string(obj, "_address")
    value.address = c.pyapi.long_as_longlong(number)
    c.pyapi.decref(number)
    value.owner = obj
    value.held = c.pyapi.nrt_meminfo_new_from_pyobject(c.builder.inttoptr(value.address, cgutils.voidptr_t), obj)
    return NativeValue(value._getvalue(), is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


@box(StepType)
def _box(typ, value, c):
    """The Python object of a value: the one that it came from."""
    owner = cgutils.create_struct_proxy(typ)(c.context, c.builder, value).owner
    c.pyapi.incref(owner)
    c.context.nrt.decref(c.builder, typ, value)
    return owner


@lower_constant(StepType)
def _constant(context, builder, typ, step):
    """A step that compiled code finds among its globals: an address of this process, so that the code is not cached."""
    _baked.append(step)
    value = cgutils.create_struct_proxy(typ)(context, builder)
    address = context.add_dynamic_addr(builder, step._address, "step")
    value.address = builder.ptrtoint(address, INT64)
    value.owner = context.add_dynamic_addr(builder, id(step), "owner")
    return value._getvalue()


@intrinsic
def _address(typingctx, numbers):
    """Where the numbers of an array are; of an integer, where it has been put."""

    def codegen(context, builder, signature, args):
        if isinstance(numbers, types.Integer):
            value = context.cast(builder, args[0], numbers, types.int64)
            return builder.ptrtoint(cgutils.alloca_once_value(builder, value), INT64)
        return builder.ptrtoint(context.make_array(numbers)(context, builder, args[0]).data, INT64)

    return types.intp(numbers), codegen


@register_jitable
def _check_sizes(step, state, work):
    """Raise ShapeError unless the arrays of one step have the sizes that it says."""
    if state.size != entry(step._address, STATE_SIZE):
        raise ShapeError("state: expected as many numbers as the step's state_size")
    if work.size < entry(step._address, WORKSPACE_SIZE):
        raise ShapeError("work: expected as many words as the step's workspace_size, or more")


@register_jitable
def _one(x):
    """The steps of a call of a step."""
    return 1


def _taking(step, x, state, y, work, time):
    """What takes one step or, with `time` 1, the steps of a sequence, for arguments of these types."""
    fits_x, is_right, fits_y = checks_of_step(step, x, state, y, work, time)
    steps_of, wrong_x = (_one, len)[time], shape_error_of_x(step, time)
    wrong_y = (
        "y: expected shape (batch, outputs) of the step, or (outputs,) of one sequence",
        "y: expected shape (T, batch, outputs) of the step, or (T, outputs), T as of x",
    )[time]

    def take(step, x, state, y, work):
        at, steps = step._address, steps_of(x)
        batch = entry(at, BATCH)
        if not fits_x(x, batch, entry(at, CHANNELS)):
            raise ShapeError(wrong_x)
        if not is_right(x, entry(at, VOCABULARY)):
            raise IndexRangeError("x: expected indices from 0 to vocabulary - 1")
        if steps_of(y) != steps or not fits_y(y, batch, entry(at, OUTPUTS)):
            raise ShapeError(wrong_y)
        _check_sizes(step, state, work)
        call_or_raise(entry(at, TAKE), (at, _address(x), _address(state), _address(y), _address(work), steps))

    return take


@overload_method(StepType, "__call__")
def _step(step, x, state, y, work):
    return _taking(step, x, state, y, work, 0)


@lower_builtin(StepType, StepType, types.VarArg(types.Any))
def _call(context, builder, signature, args):
    """A step that is called: Numba has found the types of its method, but not what it is to run."""
    return context.get_function((StepType, "__call__"), signature)(builder, args)


@overload_method(StepType, "run")
def _run(step, x, state, y, work):
    return _taking(step, x, state, y, work, 1)


@register_jitable
def _check_gradient(step, gradient):
    """Raise ShapeError unless there is an adjoint, for a gradient of that size."""
    if gradient.size != entry(step._address, GRADIENT_SIZE) or gradient.size == 0:
        raise ShapeError("gradient: expected as many numbers as the step's gradient_size, 0 of one without adjoint=True")


@register_jitable
def _nowhere(array):
    """The address of nothing."""
    return 0


@overload_method(StepType, "adjoint")
def _adjoint(step, x, state, dy, dstate, dx, gradient, work):
    fits_x, is_right = checks_of_x(step, x, 0)
    wrong_x = shape_error_of_x(step, 0)
    expect("state", state, step.dtype, (1,), "(state_size,)", written=False)
    expect("dy", dy, step.dtype, (1, 2), "(outputs) or (batch, outputs)", written=False)
    expect("dstate", dstate, step.dtype, (1,), "(state_size,)")
    fits_dy, fits_dx, address_of_dx = are_one if dy.ndim == 1 else are_batch, fits_any, _nowhere
    if not isinstance(dx, types.NoneType):
        if step.takes_indices:
            raise TypingError(f"dx: expected None, since x are indices, got {dx}")
        expect("dx", dx, step.dtype, (1, 2), "(channels) or (batch, channels)")
        fits_dx, address_of_dx = are_one if dx.ndim == 1 else are_batch, _address
    expect("gradient", gradient, step.dtype, (1,), "(gradient_size,)")
    expect("work", work, types.int64, (1,), "(workspace_size,)")

    def take_back(step, x, state, dy, dstate, dx, gradient, work):
        at = step._address
        batch, channels = entry(at, BATCH), entry(at, CHANNELS)
        if not fits_x(x, batch, channels):
            raise ShapeError(wrong_x)
        if not is_right(x, entry(at, VOCABULARY)):
            raise IndexRangeError("x: expected indices from 0 to vocabulary - 1")
        if not fits_dy(dy, batch, entry(at, OUTPUTS)):
            raise ShapeError("dy: expected shape (batch, outputs) of the step, or (outputs,) of one sequence")
        if not fits_dx(dx, batch, channels):
            raise ShapeError("dx: expected shape (batch, channels) of the step, or (channels,) of one sequence")
        if dstate.size != entry(at, STATE_SIZE):
            raise ShapeError("dstate: expected as many numbers as the step's state_size")
        _check_sizes(step, state, work)
        _check_gradient(step, gradient)
        call_or_raise(
            entry(at, TAKE_BACK),
            (
                at, _address(x), _address(state), _address(dy), _address(dstate), address_of_dx(dx), _address(gradient),
                _address(work),
            ),
        )  # fmt: skip

    return take_back


@overload_method(StepType, "initial_adjoint")
def _initial_adjoint(step, dstate, gradient):
    expect("dstate", dstate, step.dtype, (1,), "(state_size,)", written=False)
    expect("gradient", gradient, step.dtype, (1,), "(gradient_size,)")

    def add(step, dstate, gradient):
        at = step._address
        if dstate.size != entry(at, STATE_SIZE):
            raise ShapeError("dstate: expected as many numbers as the step's state_size")
        _check_gradient(step, gradient)
        call_or_raise(entry(at, ADD_LEARNED), (at, _address(dstate), _address(gradient)))

    return add


@overload_method(StepType, "workspace")
def _workspace(step):
    return lambda step: np.zeros(entry(step._address, WORKSPACE_SIZE), np.int64)


@overload_method(StepType, "initial_state")
def _initial_state(step):
    dtype = np.dtype(step.dtype.name)

    def initial_state(step):
        at = step._address
        state = np.empty(entry(at, STATE_SIZE), dtype)
        copy_bytes(entry(at, INITIAL_STATE), _address(state), state.nbytes)
        return state

    return initial_state


def _reads(name, index):
    """Let compiled code read a number of a step."""
    overload_attribute(StepType, name)(lambda step: lambda step: entry(step._address, index))


for _name, _index in (
    ("channels", CHANNELS),
    ("outputs", OUTPUTS),
    ("batch", BATCH),
    ("state_size", STATE_SIZE),
    ("workspace_size", WORKSPACE_SIZE),
    ("gradient_size", GRADIENT_SIZE),
):
    _reads(_name, _index)
