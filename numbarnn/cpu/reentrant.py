"""Steps that many threads may take at once, each in memory of its own: a program whose memory can be copied.

The instructions of a program, their records and all that they write are put into one block of words, a *template*, in which
an address is counted from the block's beginning.  Whoever takes steps copies it, once, and adds the address of the copy.
What is only read, weights and tables above all, stays where it is, and all copies read it there.
"""

import secrets

import numpy as np

from ..engine.inlined import inlined
from .compiled import Function, kernel
from .failures import call_or_raise
from .memory import ALIGNMENT, aligned
from .programs import PROGRAM, Program, sequence
from .records import integers
from .routine_call import copy_bytes, numbers_at, record_at

WORD = 8  # bytes
HEADER = ALIGNMENT  # bytes of a workspace before its copies: the address that it was settled at, and for which step

# A program that can be copied.
COPYABLE = np.dtype(
    integers(
        "template",
        "words",  # of it
        "addresses",  # which of them are addresses in the copy
        "address_count",
        "place",  # bytes from the first cache line of a workspace to the copy
        "function",  # that runs the program, given its record, the first that is in the copy
        "states",  # [state_count, 3]: for a part of the state bytes before it, bytes before it in the copy, and its bytes
        "state_count",
    )
)
# What a step is made of: its first words are what compiled code of the user's reads.
STEP = np.dtype(
    integers(
        "take",  # the address of `take`
        "identity",  # no other step has it, in any process
        "channels",  # numbers of x of each sequence, 1 for an index
        "outputs",
        "batch",
        "state_size",
        "workspace_size",  # words
        "vocabulary",  # 0 where x are no indices
        "initial_state",
    )
    + [("forward", COPYABLE)]
)


@inlined
def settle(copyable, to):
    """Copy a program to an address."""
    copy_bytes(copyable.template, to, copyable.words * WORD)
    words, addresses = (
        numbers_at(np.int64, to, copyable.words),
        numbers_at(np.int64, copyable.addresses, copyable.address_count),
    )
    for i in range(copyable.address_count):
        words[addresses[i]] += to


@inlined
def first_line(identity, work):
    """(address of the first cache line behind the header of a workspace, whether it has to be settled, which is noted)."""
    header = numbers_at(np.int64, work, 2)
    found = header[0] != work or header[1] != identity
    header[0], header[1] = work, identity
    return (work + HEADER + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT, found


@Function
def take(address, x, state, y, work, steps):
    """Take steps of the STEP record at an address: write the outputs to y, and the state after them over the one before."""
    step = record_at(address, STEP)[0]
    line, unsettled = first_line(step.identity, work)
    if unsettled:
        settle(step.forward, line + step.forward.place)
    here = line + step.forward.place
    parts = numbers_at(np.int64, step.forward.states, 3 * step.forward.state_count)
    for i in range(step.forward.state_count):
        copy_bytes(state + parts[3 * i], here + parts[3 * i + 1], parts[3 * i + 2])
    program = record_at(here, PROGRAM)
    program[0].steps, program[0].source, program[0].target = steps, x, y
    call_or_raise(step.forward.function, (here,))
    for i in range(step.forward.state_count):
        copy_bytes(here + parts[3 * i + 1], state + parts[3 * i], parts[3 * i + 2])


@kernel
def take_now(address, x, state, y, work, steps):
    """`take`, for Python."""
    call_or_raise(record_at(address, STEP)[0].take, (address, x, state, y, work, steps))


class Reentrant(Program):
    """A program of steps, as a template.

    Parameters
    ----------
    x, y : numpy.ndarray
        (K, N, ...): where the instructions read K steps, and write their outputs.
    operations : sequence of Operation
        What is done to x to get y, one after the other.
    """

    anew = False

    def __init__(self, x, y, operations):
        super().__init__()
        for operation in operations:
            operation.add_to(self)
        record = self._made()
        for pooled, index, *_ in self._pools:
            pooled[index] = 0  # whoever takes a step does so alone
        one = record.view(PROGRAM)
        one["x"], one["x_bytes"], one["y"], one["y_bytes"] = x.ctypes.data, x[0].nbytes, y.ctypes.data, y[0].nbytes
        one["piece"] = len(x)
        written = [x, *(array for operation in operations for array in operation.written)]
        if self.scratch is not None:
            written.append(self.scratch)
        self.function = sequence.address
        self._copy_out([record, *self._numbers, *self.records], written)

    def _copy_out(self, records, written):
        """Make the template, from arrays of integers and from those that are written."""
        parts = [part for part in (*records, *written) if part.nbytes]
        starts = np.array([part.ctypes.data for part in parts], np.int64)
        sizes = np.array([part.nbytes for part in parts], np.int64)
        self._starts, self._sizes = starts, sizes
        self._places = np.concatenate([[0], np.cumsum([aligned(part.nbytes) for part in parts])])
        self.template, addresses = np.zeros(self._places[-1] // WORD, np.int64), []
        numbers = self.template.view(np.uint8)
        for index, part in enumerate(parts):
            at = self._places[index]
            numbers[at : at + part.nbytes] = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
            if index < len(records):
                words = self.template[at // WORD : (at + part.nbytes) // WORD]
                # An integer that is no address is far below all of them.
                inside = [i for i, word in enumerate(words) if self.place_of(word) is not None]
                words[inside] = [self.place_of(words[i]) for i in inside]
                addresses += [at // WORD + i for i in inside]
        self.addresses = np.array(addresses, np.int64)

    def place_of(self, address):
        """How many bytes from the template's beginning the memory at an address has gone; None if it has stayed."""
        found = np.flatnonzero((self._starts <= address) & (address < self._starts + self._sizes))
        return None if not len(found) else int(self._places[found[0]] + address - self._starts[found[0]])


def step_record(program, states, initial_state, x, y, vocabulary):
    """(an array of one STEP record, what it points to) for a `Reentrant`.

    Parameters
    ----------
    program : Reentrant
    states : numpy.ndarray
        (parts, 3): of each part of the state where it is in the caller's array, and in the template, and its bytes.
    initial_state : numpy.ndarray
    x, y : numpy.ndarray
        (K, N, ...), of the program.
    vocabulary : int
        0 where x are no indices.
    """
    record = np.zeros(1, STEP)
    record["take"], record["identity"] = take.address, secrets.randbits(62)
    record["channels"], record["outputs"] = 1 if vocabulary else x.shape[-1], y.shape[-1]
    record["batch"], record["state_size"], record["vocabulary"] = x.shape[1], initial_state.size, vocabulary
    record["workspace_size"] = (HEADER + ALIGNMENT) // WORD + len(program.template)
    record["initial_state"] = initial_state.ctypes.data
    part = record["forward"]
    part["template"], part["words"] = program.template.ctypes.data, len(program.template)
    part["addresses"], part["address_count"] = program.addresses.ctypes.data, len(program.addresses)
    part["function"], part["states"], part["state_count"] = program.function, states.ctypes.data, len(states)
    return record, program, states, initial_state
