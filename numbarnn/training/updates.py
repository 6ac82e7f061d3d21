"""The parameters of a network while it is trained: all of them at each step, of an embedding the rows that are used."""

import copy
import itertools
import math

import numpy as np

from ..arrays.descriptor import is_writable
from ..arrays.devices import backend_of, moved, share_memory
from ..layers.embedding import RowGradient
from ..parameters import Parameters
from .optimizer import Memory

FIRST_SCALARS = 256  # steps whose scalars there is room for at first
FOREVER = np.iinfo(np.int64).max // 2


class Updates:
    """Parameters, their gradient, and what an optimizer remembers, through the steps of a training.

    A step is taken as a whole or not at all: one that leaves a number that is not finite, and one that an exception ends
    (Ctrl-C at any place, an error of an optimizer of one's own), is undone.  As a context manager it undoes the latter, and
    leaves all rows of an embedding up to date.

    Parameters
    ----------
    network : Network
        Its parameters are modified.
    optimizer : Optimizer
    gradient : numpy.ndarray, optional
        (parameters,): where the gradient of all of them is written, of every row of an embedding's table too.
    frozen : collection of str
        Names of parameters that keep their bits.

    Attributes
    ----------
    into : list
        Where each layer writes its gradient.
    step : int
        Updates so far.
    wrong : str
        What was not finite after the update that was undone, and what it was.
    """

    def __init__(self, network, optimizer, gradient=None, frozen=()):
        self.optimizer, self.step, self.wrong, self._rows = optimizer, 0, "", None
        self._open, self._held = 0, None  # the step that is being taken, 0 between two; a state from a file, see `restore`
        self._finished = None  # the step after which all was brought up to date and looked at
        flat, own = network.params.flat, network.split(network.params.flat)
        self.into, at, self._weights, self._device = [], 0, network.params.weights, network.device
        self._on_host = network.device == "cpu"
        # A GPU updates a table about as fast as a few rows of it.
        layer = network._row_layer
        if layer is not None and self._on_host and gradient is None:
            if self._weights[0].name in frozen:
                at = len(own[0])
                self.into.append(RowGradient())  # which nobody reads
            elif optimizer.row_updates(flat.dtype) is not None:
                at = len(own[0])
                own_optimizer = optimizer._of_table(self._weights[0], self._weights)
                self._rows = RowUpdates(layer.table(flat[:at]), own_optimizer)
                self.into.append(self._rows.gradient)
        self._own, self._first = flat[at:], at
        self.gradient = np.zeros_like(self._own) if gradient is None else gradient
        for part in own[len(self.into) :]:
            self.into.append(Parameters(self.gradient[at - self._first : at - self._first + len(part)], part.weights))
            at += len(part)
        self._previous, self._finite = self._own.copy(), True
        self._memory = optimizer.start(self._own)
        weights = self._weights[1:] if self._first else self._weights
        parts = optimizer._of_parts(self._own, weights, self._weights)
        self._still = _slices(weights, frozen)
        if not optimizer.is_own:
            _check_memory(self._memory, self._own, optimizer)
            self._memory = [*self._memory, *parts]
        elif isinstance(self._memory, Memory):  # for an update of one's own that calls the library's
            self._memory.parts = parts

    @property
    def reading(self):
        """What is to be called with the rows of an embedding before they are read; None without one."""
        return None if self._rows is None else self._rows.bring

    def norm(self):
        """The Euclidean norm of the gradient; of what is frozen it is 0."""
        self._freeze_gradient()
        norm = backend_of(self.gradient).optimizers.norm
        own = norm(self.gradient)
        return own if self._rows is None else math.hypot(own, norm(self._rows.gradient.values.reshape(-1)))

    def update(self, rate, scale):
        """Take one step down the gradient, which is multiplied by `scale` first; returns whether all is finite, as `finite`.

        A GPU is not waited for: there a step that leaves numbers that are not finite is found, and undone, before the next.
        """
        if not self._on_host and not self.finite():
            return False
        self._freeze_gradient()
        if self._on_host:
            self._previous[:1] = np.nan  # until the parameters have been copied here, there is nothing to undo
        self._open = step = self.step + 1
        finite = (self._update_by_own if self.optimizer.is_own else self._update)(step, rate, scale)
        if self._still:
            for part in self._still:
                self._own[part] = self._previous[part]
            finite = None
        self._finite = backend_of(self._own).optimizers.all_finite(self._own) if finite is None else finite
        if self._rows is not None:
            self._rows.update(step, rate, scale)
        self.step, self._open = step, 0
        return not self._on_host or self.finite()

    def _freeze_gradient(self):
        """Forget the gradient of what is frozen."""
        for part in self._still:
            self.gradient[part] = 0

    def _update(self, step, rate, scale):
        """One update by the library's kernels; whether all is finite after it, None where they do not say."""
        return self.optimizer._take(self._own, self._previous, self.gradient, self._memory, step, rate, scale)

    def _update_by_own(self, step, rate, scale):
        """An optimizer of one's own gets views and copies: what it makes of them concerns nobody but the numbers."""
        self._previous[...] = self._own
        if scale != 1:
            self.gradient *= scale
        found = self.optimizer.update(self._own[:], self._previous.copy(), self.gradient[:], self._memory, step, rate, 1.0)
        if found is not None:
            kind = type(self.optimizer).__name__
            raise TypeError(
                f"optimizer: expected {kind}.update to change flat in place and to return None, got {type(found).__name__}"
            )

    def finite(self):
        """Whether the last update left finite numbers; if not, it is undone, and `wrong` says what was not."""
        if self.wrong:
            return False
        if self._finite and (self._rows is None or self._rows.finite):
            return True
        self.wrong = self._what_is_wrong()
        self._undo(self.step)
        return False

    def _what_is_wrong(self):
        """What was not finite, in words: a part of the gradient, of the parameters, or of the optimizer's memory."""
        for what, vector in (("gradient of ", self.gradient), ("", self._own)):
            numbers = moved(vector, "cpu")
            bad = np.flatnonzero(~np.isfinite(numbers))
            if len(bad):
                name = self._name(self._first + bad[0])
                return f"{what}parameter {name!r}: expected finite numbers, got {numbers[bad[0]]}"
        if self._rows is not None and not self._rows.finite:
            return f"parameter {self._weights[0].name!r}: expected rows of finite numbers, got others"
        return "optimizer: expected a memory of finite numbers, got others"

    def _name(self, at):
        """The name of the part that holds number `at` of the flat vector."""
        ends = np.cumsum([w.size for w in self._weights])
        return self._weights[int(np.searchsorted(ends, at, "right"))].name

    def _undo(self, step):
        """Bring back the parameters as they were before a step, as far as it has changed any."""
        # On a GPU there are no rows: a kernel that was not launched yet leaves the parameters of one step earlier, as whole.
        if not (self._on_host and np.isnan(self._previous[:1]).any()):
            self._own[...] = self._previous
        if self._rows is not None:
            self._rows.undo(step)

    def finish(self):
        """Bring all rows up to date, and see whether what is remembered is finite; see `finite`."""
        if self._finished == self.step:
            return
        if self._rows is not None:
            self._rows.bring_all()
        if not self.optimizer.is_own:
            all_finite = backend_of(self._own).optimizers.all_finite
            self._finite = bool(self._finite) and all(bool(all_finite(vector)) for vector in self._memory)
        self._finished = self.step

    def check_usable(self):
        """Raise RuntimeError after a step that has made numbers which are not finite: what is remembered may hold some."""
        if self.wrong:
            expected = "an optimizer whose memory is finite; a new Trainer of the same network has one"
            raise RuntimeError(f"trainer: expected {expected}, got one that was stopped by {self.wrong!r}")

    def state(self):
        """All that the next steps need besides the parameters, for `restore`: arrays and plain values, not copied."""
        if self._held is not None:
            return self._held
        memory = self._memory if self.optimizer.is_own else self._memory[: self.optimizer.vectors]
        memory = list(memory) if isinstance(memory, Memory) else memory
        return {"step": self.step, "memory": memory, "rows": None if self._rows is None else self._rows.state()}

    def restore(self, state, onward=False):
        """Be as `state` says, of an optimizer of the same kind and parameters of the same parts.

        In the middle of an epoch some rows of an embedding are behind.  They are brought up to date here, so that the
        network predicts; the state is kept until `go_on`, which goes on from it as if nobody had looked.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is no such state.
        """
        step, memory, rows = state["step"], state["memory"], state["rows"]
        if type(step) is not int or step < 0:
            raise ValueError(f"step: expected an integer >= 0, got {step!r:.80}")
        if (rows is None) != (self._rows is None):
            raise ValueError("rows: expected what an embedding's optimizer remembers where there is one")
        if self.optimizer.is_own:
            parts = self._memory.parts if isinstance(self._memory, Memory) else None
            self._memory = Memory(memory) if isinstance(self._memory, Memory) else memory
            if isinstance(self._memory, Memory):
                self._memory.parts = parts
        else:
            memory = [moved(vector, self._device) for vector in memory]
            _check_memory(memory, self._own, self.optimizer)
            self._memory = [*memory, *self._memory[self.optimizer.vectors :]]
        self.step, self._finished = step, None
        if rows is not None:
            self._rows.restore(rows, step)
            if not onward and self._rows.behind:
                self._held = {**state, "rows": copy.deepcopy(rows)}
                self._rows.bring_all()

    def go_on(self, begun):
        """Before a step: where an epoch that was begun elsewhere is gone on with, rows are as they were there."""
        held, self._held = self._held, None
        if held is not None and begun:
            self.restore(held, onward=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._open:
            self._undo(self._open)
            self._open = 0
        self.finish()


def _slices(weights, frozen):
    """Where in a vector of these parts the frozen ones are: a slice for those that stand together."""
    found, at = [], 0
    for weight in weights:
        if weight.name in frozen:
            begin = found.pop().start if found and found[-1].stop == at else at
            found.append(slice(begin, at + weight.size))
        at += weight.size
    return found


def _check_memory(memory, flat, optimizer):
    """Raise TypeError unless kernels may write to what an optimizer remembers."""
    expected, kind = f"a list of {optimizer.vectors} vectors like flat", type(optimizer).__name__
    if not isinstance(memory, (list, tuple)) or len(memory) != optimizer.vectors:
        raise TypeError(f"optimizer: expected {kind}.start to return {expected}, got {memory!r:.80}")
    for vector in memory:
        if type(vector) is not type(flat) or (vector.shape, vector.dtype) != (flat.shape, flat.dtype):
            found = f"{type(vector).__name__} of {getattr(vector, 'dtype', '?')} and shape {getattr(vector, 'shape', '?')}"
            raise TypeError(f"optimizer: expected {kind}.start to return {expected}, got one {found}")
        if not vector.flags.c_contiguous or not is_writable(vector):
            raise TypeError(f"optimizer: expected {kind}.start to return contiguous, writable vectors")
    if any(share_memory(one, other) for one, other in itertools.combinations((flat, *memory), 2)):
        raise TypeError(f"optimizer: expected {kind}.start to return vectors with memory of their own")


class RowUpdates:
    """A table of which each step updates the rows that it used.

    Parameters
    ----------
    table : numpy.ndarray
        (rows, columns) of the parameters (is modified).
    optimizer : Optimizer

    Attributes
    ----------
    gradient : RowGradient
        That of the rows of a step, to be filled before `update`.
    """

    def __init__(self, table, optimizer):
        self.table, self.gradient, self.step, self.finite = table, RowGradient(), 0, True
        self._updates = optimizer.rows(table.dtype)
        self._memory = [array.reshape(table.shape) for array in optimizer.start(table.reshape(-1))]
        # The step from which the others and the scalars count, that of each row, and the last at which it moves.
        self._counts = 0, np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)
        self._used = np.zeros(len(table), bool)  # which rows ever had a gradient
        self._scalars = np.zeros((FIRST_SCALARS, len(self._updates.scalars(1, 0.0))), table.dtype)
        self._together = 0  # the last step up to which all rows were brought
        self._previous = 0, np.zeros(0, np.int64), np.zeros((0, table.shape[1]), table.dtype)

    def _run(self, rows, gradient=None, previous=None, scale=1.0):
        """Bring rows of the table up to date, and with a gradient take one more step with it."""
        base, seen, live = self._counts
        until = (self.step if gradient is None else self.step - 1) - base
        finite = self._updates.kernel(
            self.table, self._memory, rows, seen, live, until, self._scalars, gradient, previous, scale,
            self._updates.constants,
        )  # fmt: skip
        self.finite = self.finite and finite

    def bring(self, rows):
        """Take the steps that some rows have missed, none of which had a gradient for them."""
        self._run(rows)

    def bring_all(self):
        """Take the steps that any rows have missed; those that nothing moves need none."""
        base, seen, _ = self._counts
        behind = seen < self.step - base
        self._run(np.flatnonzero(behind if self._updates.decays else behind & self._used))
        self._together = self.step

    def _count_from_here(self):
        """Forget the scalars of steps that all rows have taken: they count from the last one on."""
        base, seen, live = self._counts
        self._counts = self._together, np.zeros_like(seen), live - (self._together - base)

    def update(self, step, rate, scale):
        """Take a step of the rows that have a gradient now; they have been brought up to date."""
        rows, values = self.gradient.rows, self.gradient.values
        previous = np.empty_like(values)
        previous[:1] = np.nan  # until the kernel has written the rows here, there is nothing to undo
        if self._counts[0] < self._together == self.step:
            self._count_from_here()
        base, _, live = self._counts
        here = step - base
        if here == len(self._scalars):
            self._scalars = np.concatenate([self._scalars, np.zeros_like(self._scalars)])
        with np.errstate(over="ignore"):
            self._scalars[here] = self._updates.scalars(step, rate)
        self._previous, self.step = (step, rows, previous), step
        self._run(rows, values, previous, scale)
        live[rows] = FOREVER if self._updates.moving is None else here + self._updates.moving
        self._used[rows] = True

    @property
    def behind(self):
        """Whether any row that something moves has missed a step."""
        base, seen, _ = self._counts
        return bool(((seen < self.step - base) & (self._used | self._updates.decays)).any())

    def state(self):
        """The rows and what is remembered of them, for `restore`: arrays, not copied."""
        base, seen, live = self._counts
        return {
            "table": self.table, "memory": self._memory, "seen": seen, "live": live, "used": self._used,
            "scalars": self._scalars[: self.step - base + 1],
        }  # fmt: skip

    def restore(self, state, step):
        """Be as `state` says, after so many steps; ValueError if it is no state of such a table."""
        scalars, seen, live = state["scalars"], state["seen"], state["live"]
        arrays = [state["table"], *state["memory"], seen, live, state["used"], scalars[0]]
        wanted = [self.table, *self._memory, *self._counts[1:], self._used, self._scalars[0]]
        kinds = [[(array.shape, array.dtype) for array in found] for found in (arrays, wanted)]
        here = len(scalars) - 1
        if kinds[0] != kinds[1]:
            raise ValueError("rows: expected arrays like those of the embedding's table")
        if not 0 <= here <= step or seen.min(initial=0) < 0 or seen.max(initial=0) > here:
            raise ValueError("rows: expected steps that were taken")
        np.copyto(self.table, state["table"])
        self._memory = [array.copy() for array in state["memory"]]
        self._scalars = np.concatenate([scalars, np.zeros((FIRST_SCALARS, scalars.shape[1]), scalars.dtype)])
        self._counts, self._used = (step - here, seen.copy(), live.copy()), state["used"].copy()
        self.step, self._together = step, step - here

    def undo(self, step):
        """Bring back the rows that a step has changed as they were before it."""
        last, rows, previous = self._previous
        if last == step and not np.isnan(previous[:1]).any():
            backend_of(self.table).embedding.put_rows(self.table, rows, previous)
            base, seen, _ = self._counts
            seen[rows] = step - 1 - base
        self.step, self.finite = min(self.step, step - 1), True
