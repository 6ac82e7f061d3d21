"""Small calls that have been made before: what depends on no number is worked out once, and kept with the parameters.

A prepared call has memory of its own, a copy of x among it, so that every address in its program stays what it is.  While it
runs nobody else has it: another thread that calls the same layer finds none, and makes a second one.
"""

import numpy as np

from ..arrays.descriptor import TensorDescriptor, in_layout
from ..arrays.devices import backend
from ..parameters import Parameters
from .operations import NotInPrograms

MOST_CALLS = 16  # kept with one vector of parameters, the longest unused goes
MOST_IDLE = 4  # of one kind, for as many threads
MOST_BYTES = 1 << 20  # that one may hold: what needs more takes long enough anyway


class Kind:
    """Calls that differ in numbers only.

    Attributes
    ----------
    what : Layer or tuple of Layer
        What is called: held, since it is known by its id.
    idle : list of PreparedCall, or None
        Those that nobody runs now; None where they cannot be prepared.
    """

    __slots__ = ("idle", "what")

    def __init__(self, what):
        self.what, self.idle = what, []


class PreparedCall:
    """One call of layers, to be made again and again.

    Parameters
    ----------
    p : Parameters
        Of all the layers: that they are finite is found out at each call.
    shape : tuple of int
        T, N, C.
    letters : str
        Of the axes of the caller's x.
    run : callable
        From a descriptor of x to one of y and the tapes of layers, the lowest first.
    give : callable
        From a descriptor of y to a view of it as the caller gets it.
    """

    def __init__(self, p, shape, letters, run, give):
        on = backend("cpu")
        buffer = on.memory.zeros(shape, p.dtype)
        y, tapes = run(TensorDescriptor.of_tnc(buffer))
        self._program = program = on.programs.Program()
        self._found = on.elementwise.add_check(program, p.flat)
        for tape in tapes:
            tape.operation.add_to(program)
        self.nbytes = program.nbytes + buffer.nbytes + y.array.nbytes
        self.worth_it = self.nbytes <= MOST_BYTES and not program.large
        self._x, self._y, self._array = in_layout(buffer, letters), give(y), y.array
        stack = [part for tape in tapes for part in tape.stack]
        self._single = [part.c for part in stack if part.size.cell.states > 1]  # each step overwrites it
        stack = stack if len(tapes) == 1 else []  # the states of several layers are not asked for
        self._ends = [*zip(*(state for part in stack for state in part.final_parts()))]
        self._starts = [*zip(*(state for part in stack for state in part.initial_parts()))]

    def __call__(self, x, state):
        """(y, list of final states), or None where a parameter is not finite."""
        self._x[...] = x
        if state is None:
            for array in self._single:
                array.fill(0)
        else:
            for array, views in zip(state, self._starts):
                for index, view in enumerate(views):
                    view[...] = array[index]
        self._program.run()
        if self._found[-1]:
            return None
        return self._y.copy(), [joined(views) for views in self._ends]


def joined(views):
    """A copy of arrays (1, ...) one after the other."""
    return views[0].copy() if len(views) == 1 else np.concatenate(views)


def answer(what, p, x, letters, make, states=()):
    """What a prepared call returns, or None where there is none, or not yet: then nothing has happened.

    Parameters
    ----------
    what : Layer or tuple of Layer
    p : Parameters
        Of all the layers.
    x : numpy.ndarray
    letters : str
        The layout.
    make : callable
        Checks what is given, and makes a PreparedCall.  It is called when such a call is made for the second time.
    states : tuple of numpy.ndarray
        The initial states given.
    """
    if type(p) is not Parameters or type(letters) is not str or type(p.flat) is not np.ndarray:
        return None
    dtype = p.flat.dtype
    for array in (x, *states):
        if type(array) is not np.ndarray or array.dtype is not dtype or not array.flags.aligned:
            return None
    if not x.size:
        return None
    key = id(what), letters, x.shape, *[state.shape for state in states]
    calls = p._calls
    kind = calls.get(key)
    if kind is None:
        while len(calls) >= MOST_CALLS:
            calls.pop([*calls][0], None)
        calls[key] = Kind(what)
        return None
    idle = kind.idle
    if idle is None:
        return None
    p._check_kind()
    try:
        call = idle.pop()
    except IndexError:
        try:
            call = make()
        except NotInPrograms:
            call = None
        if call is None or not call.worth_it:
            kind.idle = None
            return None
    found = call(x, states or None)
    if len(idle) < MOST_IDLE:
        idle.append(call)
    return found
