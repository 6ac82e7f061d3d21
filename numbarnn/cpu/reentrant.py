"""Programs that many threads may run at once, each in memory of its own: programs whose memory can be copied.

The instructions of a program, their records and all that they write are put into one block of words, a *template*, in which
an address is counted from the block's beginning.  Whoever runs it copies it, once, and adds the address of the copy.
What is only read, weights and tables above all, stays where it is, and all copies read it there.
"""

import numpy as np

from ..engine.inlined import inlined
from .memory import aligned
from .programs import PROGRAM, Program
from .records import integers
from .routine_call import copy_bytes, numbers_at

WORD = 8  # bytes

# A program that can be copied, of steps or of the adjoint of one.
COPYABLE = np.dtype(
    integers(
        "template",
        "words",  # of it; 0 where there is no such program
        "addresses",  # which of its words are addresses in the copy
        "address_count",
        "place",  # bytes from the first line of a workspace to the copy
        "function",  # that runs the program, given its record, which is first in the copy
        "x",  # bytes from the copy's beginning to what is read
        "x_bytes",  # of one step
        "y",  # to what steps write, or to dL/dy
        "y_bytes",
        "states",  # [state_count, 3] of the state: bytes before a part of it, before its place in the copy, and its own
        "state_count",
    )
)


@inlined
def settle(copyable, line):
    """Copy a program into the workspace with this first line."""
    to = line + copyable.place
    copy_bytes(copyable.template, to, copyable.words * WORD)
    words = numbers_at(np.int64, to, copyable.words)
    addresses = numbers_at(np.int64, copyable.addresses, copyable.address_count)
    for i in range(copyable.address_count):
        words[addresses[i]] += to


@inlined
def copy_in(copyable, here, state):
    """Copy a state to where a program at an address has it."""
    parts = numbers_at(np.int64, copyable.states, 3 * copyable.state_count)
    for i in range(copyable.state_count):
        copy_bytes(state + parts[3 * i], here + parts[3 * i + 1], parts[3 * i + 2])


class Reentrant(Program):
    """A program as a template.

    Parameters
    ----------
    operations : sequence of Operation
        What is done, one after the other: anything with an `add_to`.
    x, y : numpy.ndarray
        (K, N, ...): what the caller's numbers are copied to, and from or to.
    function : Function
        That runs the program.
    gradient : numpy.ndarray, optional
        A vector in the place of which each caller has one.

    Attributes
    ----------
    template : numpy.ndarray
    addresses, gradients : numpy.ndarray
        Which words of it are addresses, counted from its beginning, and from the beginning of the gradient.
    """

    anew = False

    def __init__(self, operations, x, y, function, gradient=None):
        super().__init__()
        for operation in operations:
            operation.add_to(self)
        self.function = function.address
        record = self._made()
        one = record.view(PROGRAM)
        one["x"], one["x_bytes"], one["y"], one["y_bytes"] = x.ctypes.data, x[0].nbytes, y.ctypes.data, y[0].nbytes
        one["piece"] = len(x)
        for pooled, index, *_ in self._pools:
            pooled[index] = 0  # whoever takes a step does so alone
        written = [x, y, *self.written] + ([] if self.scratch is None else [self.scratch])
        records = [part for part in (record, *self._numbers, *self.records) if part.nbytes]
        self._lay_out(records, written, gradient)

    def _lay_out(self, records, written, gradient):
        """Make the template, of arrays of integers, the program's own first, and of those that are written."""
        start, end = _span(records[0])
        self._spans, at = [(start, end, 0)], aligned(records[0].nbytes)  # memory at addresses, and where it goes
        for part in sorted((*records[1:], *written), key=lambda part: (part.ctypes.data, -part.nbytes)):
            start, end = _span(part)
            of_another = self.place_of(start) is not None or (gradient is not None and _holds(gradient, start))
            if part.nbytes and not of_another:
                self._spans.append((start, end, at))
                at += aligned(part.nbytes)
        self.template, addresses, gradients = np.zeros(at // WORD, np.int64), [], []
        numbers = self.template.view(np.uint8)
        for part in (*written, *records):
            place = self.place_of(part.ctypes.data)
            if place is not None:
                numbers[place : place + part.nbytes] = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        for part in records:
            first = self.place_of(part.ctypes.data) // WORD
            for index in range(first, first + part.nbytes // WORD):
                word = int(self.template[index])  # one that is no address is far below all of them
                if gradient is not None and _holds(gradient, word):
                    self.template[index] -= gradient.ctypes.data
                    gradients.append(index)
                elif self.place_of(word) is not None:
                    self.template[index] = self.place_of(word)
                    addresses.append(index)
        self.addresses, self.gradients = np.array(addresses, np.int64), np.array(gradients, np.int64)

    def place_of(self, address):
        """How many bytes from the template's beginning the memory at an address has gone; None if it has stayed."""
        found = next((span for span in self._spans if span[0] <= address < span[1]), None)
        return None if found is None else found[2] + address - found[0]

    def describe(self, copyable, place, x, y, states):
        """Write what a COPYABLE record, an array of one, says of it; place: bytes before it in a workspace."""
        copyable["template"], copyable["words"] = self.template.ctypes.data, len(self.template)
        copyable["addresses"], copyable["address_count"] = self.addresses.ctypes.data, len(self.addresses)
        copyable["place"], copyable["function"] = place, self.function
        copyable["x"], copyable["x_bytes"] = self.place_of(x.ctypes.data), x[0].nbytes
        copyable["y"], copyable["y_bytes"] = self.place_of(y.ctypes.data), y[0].nbytes
        copyable["states"], copyable["state_count"] = states.ctypes.data, len(states)


def _span(array):
    """The addresses of an array's memory: the first, and the one behind it."""
    return array.ctypes.data, array.ctypes.data + array.nbytes


def _holds(array, address):
    """Whether an address is in an array's memory."""
    start, end = _span(array)
    return start <= address < end
