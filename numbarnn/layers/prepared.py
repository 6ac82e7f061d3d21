"""Calls that have been made before: what depends on no number is worked out once, and kept with the parameters.

A prepared call has memory of its own, a copy of x among it, so that every address in its program stays what it is.  While it
runs nobody else has it: another thread that calls the same layer finds none, and makes a second one.  Small outputs are
copied for who called; large ones are lent to him where they lie, and nobody else has the call until he holds them no more.
"""

import functools

import numpy as np

from ..arrays.descriptor import TensorDescriptor, in_layout
from ..arrays.devices import backend
from ..engine.keep import ALL, NOTHING
from ..parameters import Parameters
from .operations import NotInPrograms

MOST_CALLS = 16  # kept with one vector of parameters, the longest unused goes
MOST_MADE = 4  # of one kind
MOST_BYTES = 1 << 26  # that all of them may hold with one vector of parameters
MOST_KEPT = 1 << 20  # that one may hold whose tape is kept: what needs more takes long enough anyway
MOST_COPIED = 1 << 16  # bytes of outputs that are copied into new memory; of more, into memory that was in use before
LEAST_LENT = 1 << 18  # bytes of outputs from which to copy them takes longer than to lend them


class Kind:
    """Calls that differ in numbers only.

    Attributes
    ----------
    what : Layer or tuple of Layer
        What is called: held, since it is known by its id.
    idle : list of PreparedCall, or None
        Those that nobody runs now; None where they cannot be prepared.
    made : int
        How many there are in all, at most `MOST_MADE`: one for each thread that calls, and each tape in use.
    nbytes : int
        That they hold.
    large : bool
        Whether threads share the work: there is a kind for each number of threads then, and this one only says so.
    """

    __slots__ = ("idle", "large", "made", "nbytes", "what")

    def __init__(self, what):
        self.what, self.idle, self.made, self.nbytes, self.large = what, [], 0, 0, False

    def add(self, call):
        """Count a call that was made."""
        self.made += 1
        self.nbytes += call.nbytes

    def drop(self, call):
        """Forget a call that was made."""
        self.made -= 1
        self.nbytes -= call.nbytes

    def can_spare(self, call, p):
        """Whether a call that is not idle may be away for long: there is another one, or there may be."""
        return bool(self.idle) or (self.made < MOST_MADE and _has_room(p, call))


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
    stateful : bool
        Whether the states of all layers are given and asked for, the lowest layer first; else only a single layer's state.
    """

    ways = 1  # forward, and back, each of which takes as much memory

    def __init__(self, p, shape, letters, run, give, stateful=False):
        on = backend("cpu")
        buffer = on.memory.zeros(shape, p.dtype)
        y, tapes = run(TensorDescriptor.of_tnc(buffer))
        self._program = program = on.programs.Program()
        self._tapes = tapes
        for tape in tapes:
            tape.operation.add_to(program)
        if program.packed != p.flat.size:
            found = on.elementwise.add_check(program, p.flat)
            program.flags.append((found, -1))
        program.nbytes *= self.ways
        self.nbytes = program.nbytes + buffer.nbytes + y.array.nbytes
        self.large, self.worth_it = program.large, not (program.large and program.alone)
        self._x, self._y, self._array = in_layout(buffer, letters), give(y), y.array
        # Only what a kernel writes anew at each call may be another's, to read and to write.
        self.lends = self._y.nbytes >= LEAST_LENT and bool(tapes[-1].stack) and y.array.base is tapes[-1].stack[-1].h.base
        stack = [part for tape in tapes for part in tape.stack]
        # The c of an LSTM, where each step overwrites the c of the step before.
        self._single = [part.c for part in stack if part.size.cell.states > 1 and len(part.c) == part.size.batch]
        self._zero_starts = [part.zero_start for part in stack if part.zero_start is not None]
        stacks = [tape.stack for tape in tapes] if stateful or len(tapes) == 1 else []
        self._ends, self._starts = (
            [views for stack in stacks for views in zip(*(state for part in stack for state in getattr(part, name)()))]
            for name in ("final_parts", "initial_parts")
        )

    def __call__(self, x, state):
        """(y of this call, list of final states), or None where a parameter is not finite."""
        self._x[...] = x
        if state is None:
            for array in self._single:
                array.fill(0)
        else:
            for told in self._zero_starts:  # the kernels, which the state is written for behind the tape's back
                told[0] = 0
            for array, views in zip(state, self._starts):
                for index, view in enumerate(views):
                    view[...] = array[index]
        self._program.run()
        if self._program.is_wrong():
            return None
        return self._y, [joined(views) for views in self._ends]


def copied(y):
    """A copy of outputs, in their order."""
    if y.nbytes <= MOST_COPIED:
        return y.copy()
    copy = backend("cpu").memory.empty(y.shape, y.dtype)
    copy[...] = y
    return copy


def joined(views):
    """A copy of arrays (1, ...) one after the other."""
    return views[0].copy() if len(views) == 1 else np.concatenate(views)


class Lease:
    """What says that a tape is in use: when it goes, the call whose memory the tape is may be made again.

    Attributes
    ----------
    x : numpy.ndarray
        The caller's, of which the call has a copy.
    """

    __slots__ = ("call", "idle", "x")

    def __init__(self, call, idle, x):
        self.call, self.idle, self.x = call, idle, x

    def __del__(self):
        self.idle.append(self.call)


class PreparedTraining(PreparedCall):
    """A small call whose tape is kept, and the way back through it.

    Its tape has the parameters and x of the first call; a caller's tape is told of the caller's own.
    """

    ways = 2

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self._kinds = {}  # {(which are given, ...): idle list of PreparedBackward}

    def lease(self, p, x, idle):
        """The tape of the call just made, for its caller."""
        (own,) = self._tapes
        tape = object.__new__(type(own))
        vars(tape).update(vars(own), parameters=p, lease=Lease(self, idle, x))
        return tape

    def _way_back(self, *given):
        """A new PreparedBackward."""
        return PreparedBackward(self._tapes[0], self._y, self._final, *given)

    def backward(self, dy, dstate, need_x):
        """(gradient, dx or None, list of dL/d(initial state)) from dL/dy and arrays of dL/d(final state).

        None where nothing has happened: this is not prepared yet, or they are not as they should be.
        """
        if dstate and len(dstate) != len(self._final):
            return None
        given, expected = [*dstate], [*self._final[: len(dstate)]]
        if dy is not None:
            given.append(dy)
            expected.append(self._y)
        for array, like in zip(given, expected):
            if type(array) is not np.ndarray or array.shape != like.shape or array.dtype is not like.dtype:
                return None
            if not array.flags.aligned:
                return None
        key = dy is None, not dstate, need_x
        idle = self._kinds.get(key)
        if idle is None:
            self._kinds[key] = []
            return None
        try:
            back = idle.pop()
        except IndexError:
            back = self._way_back(*key)
        found = back(dy, dstate)
        idle.append(back)
        return found

    @functools.cached_property
    def _final(self):
        """Arrays like the final states."""
        return [joined(views) for views in self._ends]


class PreparedBackward:
    """Backward of a small call, to be made again and again.

    Parameters
    ----------
    tape : Tape
    y : numpy.ndarray
        What dy is shaped like.
    states : list of numpy.ndarray
        What dstate is shaped like.
    without_dy, without_dstate, need_x : bool
    """

    def __init__(self, tape, y, states, without_dy, without_dstate, need_x):
        batch, layer, x = tape.batch, tape.layer, tape.x
        self._dy = None if without_dy else np.zeros_like(y)
        dy = None if without_dy else batch.describe("dy", self._dy, layer.output_channels(x.channels), x.dtype)
        self._dstates = [] if without_dstate else [np.zeros_like(state) for state in states]
        dfinal = None
        if self._dstates:
            dstate = self._dstates[0] if len(states) == 1 else tuple(self._dstates)
            dfinal = layer.checked_state("dstate", dstate, batch.sequences, x.dtype, "cpu")
        self._gradient = layer.gradient_vector(None, x.channels, x.dtype, "cpu")
        adjoint = tape.adjoint(dy, need_x, self._gradient, False, dfinal)
        self._dx = None if adjoint.dx is None else batch.give(adjoint.dx)
        self._run, self._stacks = adjoint.fill, [adjoint.stack]

    def __call__(self, dy, dstate):
        if dy is not None:
            self._dy[...] = dy
        for array, given in zip(self._dstates, dstate):
            array[...] = given
        self._run()
        dx = None if self._dx is None else self._dx.copy()
        ends = []
        for stack in self._stacks:
            ends += [np.concatenate(parts) for parts in zip(*(part.dinitial for part in stack))]
        return self._gradient.copy(), dx, ends


def ready(what, p, x, letters, make, states=(), keep=NOTHING):
    """(a prepared call that is the caller's until he gives it back, the Kind it is of); None if there is none yet.

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
    keep : Keep
    """
    if type(p) is not Parameters or type(letters) is not str or type(p._flat) is not np.ndarray:
        return None
    dtype = p._flat.dtype
    for array in (x, *states):
        if type(array) is not np.ndarray or array.dtype is not dtype or not array.flags.aligned:
            return None
    if not x.size:
        return None
    key = id(what), keep.what, letters, x.shape, *[state.shape for state in states]
    kind = p._calls.get(key)
    if kind is not None and kind.large:
        key = (*key, backend("cpu").threads.threads())
        kind = p._calls.get(key)
    if kind is None:
        _new_kind(what, p, key)
        return None
    if kind.idle is None:
        return None
    p._check_kind()
    try:
        return kind.idle.pop(), kind
    except IndexError:
        if kind.made == MOST_MADE:
            return None
    count = backend("cpu").threads.threads()
    try:
        call = make()
    except NotInPrograms:
        call = None
    if call is None or not call.worth_it or not _has_room(p, call, keep):
        kind.idle = None
        return None
    if call.large and key[-1:] != (count,):
        kind.large, kind = True, _new_kind(what, p, (*key, count))
    kind.add(call)
    return call, kind


def _new_kind(what, p, key):
    """A Kind under a new key, in the place of the oldest if there are many."""
    while len(p._calls) >= MOST_CALLS:
        p._calls.pop([*p._calls][0], None)
    kind = p._calls[key] = Kind(what)
    return kind


def _has_room(p, call, keep=NOTHING):
    """Whether there is room for a call."""
    if keep.for_backward:
        return call.nbytes <= MOST_KEPT and not call.large
    return call.nbytes + sum(kind.nbytes for kind in [*p._calls.values()]) <= MOST_BYTES


def answer(what, p, x, letters, make, states=()):
    """(y, list of states) of a prepared call, or None where there is none: then nothing has happened; see `ready`."""
    taken = ready(what, p, x, letters, make, states)
    if taken is None:
        return None
    call, kind = taken
    found = call(x, states or None)
    if found is None:
        kind.drop(call)  # what it has packed is of no use
        return None
    y, states = found
    if call.lends and kind.can_spare(call, p):
        return backend("cpu").memory.lend_again(y, kind.idle.append, call), states
    y = copied(y)
    kind.idle.append(call)
    return y, states


def answer_and_keep(what, p, x, letters, make, states=()):
    """(y, list of states, what its `lease` returns) likewise, of a `PreparedTraining`."""
    taken = ready(what, p, x, letters, make, states, ALL)
    if taken is None:
        return None
    call, kind = taken
    found = call(x, states or None)
    if found is None:
        kind.drop(call)
        return None
    y, states = found
    return copied(y), states, call.lease(p, x, kind.idle)
