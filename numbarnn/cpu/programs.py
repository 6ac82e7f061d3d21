"""Programs: compiled functions one after the other, each with a record of its own, run by one call from Python.

An instruction is a C function of the address of a record.  A pass is one (`passes`), and so is a `job`, which has any
task done.  Whatever is made of these, a forward or a backward through many layers, can be put into one program.
"""

import numpy as np
from numba import njit

from .compiled import Function
from .failures import call_or_raise
from .jobs import call, call_long
from .memory import borrow
from .pool import share
from .records import integers, place
from .routine_call import copy_bytes, numbers_at, record_at
from .threads import sharing

COPY = np.dtype(integers("source", "target", "bytes"))
JOB = np.dtype(integers("share", "pool", "task", "record", "count"))

# The instructions of a program, and what it takes to run them for a sequence, piece by piece.
PROGRAM = np.dtype(
    integers(
        "instructions",  # [instructions, 2]: the addresses of a function and of its record
        "count",  # of them
        "places",  # [places, 2]: the address of a number that follows the steps of a piece, and what it is for one step
        "place_count",
        "steps",  # of the sequence
        "piece",  # most steps that the instructions take at once
        "x",  # where the instructions read their steps
        "x_bytes",  # of one
        "source",  # the sequence, step after step
        "y",  # where the instructions write the outputs of their steps
        "y_bytes",
        "target",  # where the outputs go, likewise
    )
)
STEPS, PIECE, X, SOURCE, Y, TARGET = (place(PROGRAM, name) for name in ("steps", "piece", "x", "source", "y", "target"))
JOB_POOL = place(JOB, "pool")
MOST_STEPS, MOST_ROWS = 384, 1 << 12  # that a stream takes at once: of a sequence, and of all


@njit
def _instructions(program):
    """Follow the instructions."""
    instructions = numbers_at(np.int64, program.instructions, 2 * program.count)
    for i in range(program.count):
        call_or_raise(instructions[2 * i], (instructions[2 * i + 1],))


@Function
def once(record):
    """Follow the instructions of the PROGRAM record."""
    _instructions(record_at(record, PROGRAM)[0])


@Function
def sequence(record):
    """Take a sequence through the instructions of the PROGRAM record, piece by piece, and collect the outputs."""
    program = record_at(record, PROGRAM)[0]
    places = numbers_at(np.int64, program.places, 2 * program.place_count)
    for start in range(0, program.steps, program.piece):
        steps = min(program.piece, program.steps - start)
        for i in range(program.place_count):
            numbers_at(np.int64, places[2 * i], 1)[0] = steps * places[2 * i + 1]
        copy_bytes(program.source + start * program.x_bytes, program.x, steps * program.x_bytes)
        _instructions(program)
        copy_bytes(program.y, program.target + start * program.y_bytes, steps * program.y_bytes)


@Function
def copy(record):
    """Copy the bytes of the COPY record; zeros, if their source is at address 0."""
    call = record_at(record, COPY)[0]
    if call.source != 0:
        copy_bytes(call.source, call.target, call.bytes)
        return
    target = numbers_at(np.uint8, call.target, call.bytes)
    for i in range(call.bytes):
        target[i] = 0


@Function
def job(record):
    """Have the task of the JOB record done."""
    job = record_at(record, JOB)[0]
    call_or_raise(job.share, (job.pool, job.task, job.record, job.count))


class Program:
    """Instructions, and the memory that they work on.

    Attributes
    ----------
    anew : bool
        Whether the parameters are read at each run, rather than once, when its operations were made.
    large : bool
        Whether there is so much to do that several threads may share it.
    long : bool
        Whether it takes so long that other threads run Python meanwhile.
    alone : bool
        Whether one thread does what would pay for several.
    nbytes : int
        Of the memory that its operations keep for it.
    packed : int
        Numbers of the parameters that are looked at when they are packed, so that none that is not finite is used.
    flags : list of (numpy.ndarray, int)
        (record, which of its integers) of those that are not 0 any more when such a number has been seen.
    records : list of numpy.ndarray
        What the instructions are told, and the tasks of jobs.
    written : list of numpy.ndarray
        All memory that the instructions write, but for scratch.
    scratch : numpy.ndarray or None
        The memory that the calls borrow.
    """

    anew = True

    def __init__(self):
        self._instructions, self._places, self._pools, self._kept = [], [], [], []
        self._record, self.large, self.long, self.alone, self.nbytes = None, False, False, False, 0
        self._borrowers, self.packed, self.flags, self.records = [], 0, [], []
        self.written, self.scratch = [], None

    def add(self, function, record, *kept, written=(), per_step=(), pool=None):
        """Add an instruction.

        Parameters
        ----------
        function : Function
        record : numpy.ndarray
            As integers; it and `kept` live as long as the program.
        written : sequence of numpy.ndarray
            Memory that the instruction writes, but for scratch that is lent.
        per_step : sequence of (int, int)
            (which integer of the record, what it is for one step) of those that follow the number of steps.
        pool : (int, int, int), optional
            Which integer of the record is the address of the pool, and how many threads share the work of all steps, and
            of one.
        """
        address = record.ctypes.data
        self._instructions += function.address, address
        for index, number in per_step:
            self._places += address + 8 * index, number
        if pool is not None and pool[1] > 1:
            self._pools.append((record, *pool))
        self.records.append(record)
        self.written += written
        self._kept += record, *kept, *written
        self._record = None

    def add_kept(self, *kept):
        """Keep something as long as the program."""
        self._kept += kept

    def lend(self, call, nbytes):
        """Give a `launch.Call` the memory that it borrows: the calls of a program, one after the other, use the same."""
        self._borrowers.append(call)
        self.nbytes += nbytes

    def add_job(
        self, task, cell, dtype, record, *kept, written=(), count=1, per_step=(), alone=False, threads=1, step_threads=1
    ):
        """Add a task that is done `count` times, with a record of integers; the rest as of `add`.

        alone: whether one thread does it though several would pay; threads, step_threads: how many share the work of all
        steps, and of one.
        """
        self.alone |= alone
        address = record.ctypes.data
        whole = np.array((share.address, 0, task.address(cell, dtype), address, count), np.int64)
        for index, number in per_step:
            self._places += address + 8 * index, number
        self.records.append(record)
        self.add(job, whole, record, *kept, written=written, pool=(JOB_POOL, threads, step_threads))

    def _made(self):
        """A PROGRAM record of all that has been added."""
        nbytes = max((call.scratch_bytes for call in self._borrowers), default=0)
        if nbytes:
            block = borrow(nbytes)
            self.scratch = block[0]
            for call in self._borrowers:
                call.keep_scratch(block)
        self._numbers = instructions, places = [np.array(part, np.int64) for part in (self._instructions, self._places)]
        record = np.zeros(PROGRAM.itemsize // 8, np.int64)
        record[:4] = instructions.ctypes.data, len(instructions) // 2, places.ctypes.data, len(places) // 2
        return record

    def _share(self, which):
        """Have the pool's threads share the work: of all steps for 0, of one for 1."""
        for record, index, *threads in self._pools:
            record[index] = sharing(threads[which])

    @property
    def address(self):
        """The address of its record, which `once` takes."""
        if self._record is None:
            self._record = self._made()
        return self._record.ctypes.data

    def is_wrong(self):
        """Whether a number of the parameters was not finite; of a program with `flags` for all of them."""
        for record, index in self.flags:
            if record[index]:
                return True
        return False

    def run(self):
        """Follow the instructions."""
        if self._record is None:
            self._call = once.address, self.address
        if self._pools:
            self._share(0)
        (call_long if self.long else call)(*self._call)


class Steps(Program):
    """A program that takes steps of a sequence, some at once, and goes on where it has stopped.

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
        self._ends = x, y
        self._one = record = self._made()
        record[X : X + 3] = x.ctypes.data, x[0].nbytes, x.ctypes.data
        record[Y : Y + 3] = y.ctypes.data, y[0].nbytes, y.ctypes.data
        record[[STEPS, PIECE]] = 1
        self._many = record.copy()
        self._function, self._step = sequence.address, self._one.ctypes.data

    def step(self):
        """Take the step that is the first of x; its output is then the first of y."""
        if self._pools:
            self._share(1)
        call(self._function, self._step)

    def run(self, source, target):
        """Take all steps of a sequence, and write their outputs to `target`: both C-contiguous, (T, N, ...)."""
        self._take(source.ctypes.data, target.ctypes.data, len(source), len(self._ends[0]))

    def feed_back(self, steps):
        """Take so many steps from the output of the one before: ``steps[t]`` gives ``steps[t + 1]``, both (N, ...)."""
        self._take(steps.ctypes.data, steps[1:].ctypes.data, len(steps) - 1, 1)

    def _take(self, source, target, steps, piece):
        if self._pools:
            self._share(int(piece == 1))
        record = self._many
        record[STEPS], record[PIECE], record[SOURCE], record[TARGET] = steps, piece, source, target
        (call_long if self.long else call)(self._function, record.ctypes.data)


def add_copy(program, source, target, count):
    """Add a copy of so many bytes between addresses to a program, of zeros from address 0; returns its record."""
    record = np.array((source, target, count), np.int64)
    program.add(copy, record)
    return record


def add_program(program, other):
    """Add all instructions of another program to one."""
    if other._record is None:
        other._record = other._made()
    program.add(once, other._record, other)


def most_steps(batch):
    """How many steps a stream of so many sequences takes at once."""
    return max(1, min(MOST_STEPS, MOST_ROWS // batch))
