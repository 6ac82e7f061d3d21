"""Steps, and the adjoint of a step, on arrays of the caller: what the user's own compiled code calls.

A workspace has the copies of two `reentrant` programs, behind a header: where it was settled, for which step, and for a
gradient at which address.  Whatever it was before, the first step that gets it settles it.
"""

import secrets

import numpy as np

from ..engine.inlined import inlined
from .compiled import Function, kernel
from .failures import call_or_raise
from .memory import ALIGNMENT
from .programs import PROGRAM, once, sequence
from .records import integers
from .reentrant import COPYABLE, WORD, Reentrant, copy_in, settle
from .routine_call import copy_bytes, numbers_at, record_at
from .simd import get, put, size_of

HEADER = ALIGNMENT  # bytes

# The adjoint of a step, which is computed anew.
ADJOINT = np.dtype([
    ("program", COPYABLE),
    *integers(
        "dx",
        "dx_bytes",
        "dstates",  # [dstate_count, 4] of dL/dstate, like `states`; and bytes of zeros behind
        "dstate_count",
        "gradients",  # which words of the copy are addresses in the gradient
        "gradient_count",
        "learned",  # [learned_count, 3]: numbers of the gradient before a learned state's, of the state, and how many
        "learned_count",
        "item",
    ),
])  # fmt: skip
# What a step is made of: its first words are what compiled code of the user's reads.
STEP = np.dtype([
    *integers(
        "take",  # the address of `take`
        "take_back",
        "add_learned",
        "identity",  # no other step has it, in any process
        "channels",  # numbers of x of each sequence, 1 for an index
        "outputs",
        "batch",
        "state_size",
        "workspace_size",  # words
        "gradient_size",  # 0 where there is no adjoint
        "vocabulary",  # 0 where x are no indices
        "initial_state",
    ),
    ("forward", COPYABLE),
    ("adjoint", ADJOINT),
])  # fmt: skip


@inlined
def line_of(step, work):
    """The address of the first line of a workspace, in which the programs are settled.

    Its header says where that was done, for which step, and for a gradient at which address.
    """
    header = numbers_at(np.int64, work, 3)
    line = (work + HEADER + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    if header[0] != work or header[1] != step.identity:
        settle(step.forward, line)
        settle(step.adjoint.program, line)
        header[0], header[1], header[2] = work, step.identity, 0
    return line


@Function
def take(address, x, state, y, work, steps):
    """Take steps of the STEP record at an address: write the outputs to y, and the state after them over the one before."""
    step = record_at(address, STEP)[0]
    forward = step.forward
    here = line_of(step, work) + forward.place
    copy_in(forward, here, state)
    program = record_at(here, PROGRAM)
    program[0].steps, program[0].source, program[0].target = steps, x, y
    call_or_raise(forward.function, (here,))
    parts = numbers_at(np.int64, forward.states, 3 * forward.state_count)
    for i in range(forward.state_count):
        copy_bytes(here + parts[3 * i + 1], state + parts[3 * i], parts[3 * i + 2])


@Function
def take_back(address, x, state, dy, dstate, dx, gradient, work):
    """Go back through a step from x and a state: write dL/dx, and dL/dstate before the step over the one after it.

    dx: 0 where nobody reads it; gradient: is added to.
    """
    step = record_at(address, STEP)[0]
    adjoint, program = step.adjoint, step.adjoint.program
    here = line_of(step, work) + program.place
    header = numbers_at(np.int64, work, 3)
    if header[2] != gradient:
        words = numbers_at(np.int64, here, program.words)
        places = numbers_at(np.int64, adjoint.gradients, adjoint.gradient_count)
        for i in range(adjoint.gradient_count):
            words[places[i]] += gradient - header[2]
        header[2] = gradient
    copy_bytes(x, here + program.x, program.x_bytes)
    copy_bytes(dy, here + program.y, program.y_bytes)
    copy_in(program, here, state)
    parts = numbers_at(np.int64, adjoint.dstates, 4 * adjoint.dstate_count)
    for i in range(adjoint.dstate_count):
        to, count = here + parts[4 * i + 1], parts[4 * i + 2]
        copy_bytes(dstate + parts[4 * i], to, count)
        behind = numbers_at(np.uint8, to + count, parts[4 * i + 3])
        for k in range(parts[4 * i + 3]):
            behind[k] = 0
    call_or_raise(program.function, (here,))
    for i in range(adjoint.dstate_count):
        copy_bytes(here + parts[4 * i + 1], dstate + parts[4 * i], parts[4 * i + 2])
    if dx != 0:
        copy_bytes(here + adjoint.dx, dx, adjoint.dx_bytes)


@Function
def add_learned(address, dstate, gradient):
    """Add dL/dstate of the initial state to the gradient of what it is learned from."""
    step = record_at(address, STEP)[0]
    adjoint = step.adjoint
    learned = numbers_at(np.int64, adjoint.learned, 3 * adjoint.learned_count)
    for i in range(adjoint.learned_count):
        to, source, count = learned[3 * i], learned[3 * i + 1], learned[3 * i + 2]
        if adjoint.item == 4:
            add_numbers(np.float32(0), dstate, source, gradient, to, count)
        else:
            add_numbers(np.float64(0), dstate, source, gradient, to, count)


@inlined
def add_numbers(real, source, first, target, to, count):
    """Add so many numbers of one array to another; first, to: the numbers before them."""
    size = size_of(real)
    for i in range(count):
        place = target + (to + i) * size
        put(get(real, place) + get(real, source + (first + i) * size), place)


@kernel
def take_now(address, x, state, y, work, steps):
    """`take`, for Python."""
    call_or_raise(record_at(address, STEP)[0].take, (address, x, state, y, work, steps))


@kernel
def take_back_now(address, x, state, dy, dstate, dx, gradient, work):
    """`take_back`, for Python."""
    call_or_raise(record_at(address, STEP)[0].take_back, (address, x, state, dy, dstate, dx, gradient, work))


@kernel
def add_learned_now(address, dstate, gradient):
    """`add_learned`, for Python."""
    call_or_raise(record_at(address, STEP)[0].add_learned, (address, dstate, gradient))


class StepRecord:
    """A STEP record, and what it points to.

    Parameters
    ----------
    x, y : numpy.ndarray
        (K, N, ...): where the steps of `operations` read, and write.
    operations : sequence of Operation
    states : list of numpy.ndarray
        What is carried from step to step, each (N, channels) in contiguous memory, in the order of the caller's state.
    vocabulary : int
        0 where x are no indices.

    Attributes
    ----------
    initial_state : numpy.ndarray
        What is in the states now, one after the other.
    """

    def __init__(self, x, y, operations, states, vocabulary):
        program = Reentrant(operations, x, y, sequence)
        self.initial_state = np.concatenate([np.zeros(0, y.dtype), *(state.ravel() for state in states)])
        self.record = record = np.zeros(1, STEP)
        self.kept = [program, self.initial_state, self._parts(program, states)]
        record["take"], record["take_back"], record["add_learned"] = take.address, take_back.address, add_learned.address
        record["identity"], record["vocabulary"] = secrets.randbits(62), vocabulary
        record["channels"], record["outputs"] = 1 if vocabulary else x.shape[-1], y.shape[-1]
        record["batch"], record["state_size"] = x.shape[1], self.initial_state.size
        record["initial_state"] = self.initial_state.ctypes.data
        program.describe(record["forward"], 0, x, y, self.kept[-1])
        self._grow(program)

    @property
    def address(self):
        """Of the record."""
        return self.record.ctypes.data

    def number(self, name):
        """One of the record's numbers."""
        return int(self.record[name][0])

    def _grow(self, program):
        """Make room for a program at the end of a workspace."""
        start = ALIGNMENT + HEADER
        self.record["workspace_size"] = max(int(self.record["workspace_size"][0]), start // WORD) + len(program.template)

    @staticmethod
    def _parts(program, states):
        """(bytes before it in the caller's state, in the template, its own) of each row of the states, as an array."""
        parts, at = [], 0
        for state in states:
            for row in state:
                parts.append((at, program.place_of(row.ctypes.data), row.nbytes))
                at += row.nbytes
        return np.array(parts, np.int64).reshape(-1, 3)

    def add_adjoint(self, x, dy, dx, operations, states, dstates, gradient, learned):
        """Add the adjoint of a step.

        Parameters
        ----------
        x, dy : numpy.ndarray
            (1, N, ...): what `operations` read.
        dx : numpy.ndarray or None
            (1, N, C): what they write.
        operations : sequence of Operation and Adjoint
            A step forward, and back.
        states, dstates : list of numpy.ndarray
            Like `states` of the steps; of dL/dstate rows in contiguous memory, with numbers behind them that must be 0.
        gradient : numpy.ndarray
            What the operations add to.
        learned : numpy.ndarray
            (parts, 3) of the learned states: numbers before one in the gradient, in the state, and how many.
        """
        program, record = Reentrant(operations, x, dy, once, gradient), self.record["adjoint"]
        forward = self.record["forward"]
        place = int(forward["words"][0]) * WORD
        parts = self._parts(program, states)
        program.describe(record["program"], place, x, dy, parts)
        record["dx"], record["dx_bytes"] = (0, 0) if dx is None else (program.place_of(dx.ctypes.data), dx.nbytes)
        padding = [(state.strides[0] - row.nbytes) for state in dstates for row in state]
        back = np.column_stack([self._parts(program, dstates), np.array(padding, np.int64)])
        back = np.ascontiguousarray(back.reshape(-1, 4))
        record["dstates"], record["dstate_count"] = back.ctypes.data, len(back)
        record["gradients"], record["gradient_count"] = program.gradients.ctypes.data, len(program.gradients)
        record["learned"], record["learned_count"] = learned.ctypes.data, len(learned)
        record["item"], self.record["gradient_size"] = gradient.itemsize, gradient.size
        self.kept += program, parts, back, learned
        self._grow(program)
