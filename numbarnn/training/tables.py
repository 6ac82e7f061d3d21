"""Tables of which each step of a training updates the rows that it used, as if it had updated all of them."""

import numpy as np

from ..arrays.devices import backend_of
from ..layers.embedding import RowGradient

FIRST_SCALARS = 256  # steps whose scalars there is room for at first
FOREVER = np.iinfo(np.int64).max // 2


class TableByRows:
    """A table of which each step updates the rows that it used.

    Parameters
    ----------
    table : numpy.ndarray
        (rows, columns) of the parameters (is modified).
    optimizer : Optimizer
    name : str
        What the parameters call it.

    Attributes
    ----------
    gradient : RowGradient
        The gradient of the rows of a step, to be filled before `update`.
    """

    def __init__(self, table, optimizer, name=""):
        self.name = name
        self.table, self.gradient, self.step, self.finite = table, RowGradient(), 0, True
        self._updates = optimizer.rows(table.dtype)
        self._memory = [array.reshape(table.shape) for array in optimizer.start(table.reshape(-1))]
        # The step from which the others and the scalars count, the step of each row, and the last at which it moves.
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
        """Take over `state`, which was saved after `step` steps; ValueError if it is no state of such a table."""
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

    def restore_whole(self, memory, step):
        """Go on from `step` steps, each of which updated all rows.

        memory: the vectors that the optimizer remembers, for the whole table.
        """
        self._memory = [vector.reshape(self.table.shape).copy() for vector in memory]
        moving = FOREVER if self._updates.moving is None else self._updates.moving
        rows = len(self.table)
        self._counts, self._used = (step, np.zeros(rows, np.int64), np.full(rows, moving)), np.ones(rows, bool)
        self._scalars[0], self.step, self._together = 0, step, step

    def undo(self, step):
        """Bring back the rows that a step has changed as they were before it."""
        last, rows, previous = self._previous
        if last == step and not np.isnan(previous[:1]).any():
            backend_of(self.table).embedding.put_rows(self.table, rows, previous)
            base, seen, _ = self._counts
            seen[rows] = step - 1 - base
        self.step, self.finite = min(self.step, step - 1), True


def told_apart(memory, sizes, apart, tables):
    """Split vectors of all parameters: (vectors without the layers `apart`, {index of a table: its vectors}).

    Parameters
    ----------
    memory : list of numpy.ndarray
        What an optimizer remembers of all parameters; perhaps not of the first layer's, if it is one of `apart`.
    sizes : sequence of int
        Numbers of parameters of each layer.
    apart : collection of int
        The layers that do not belong to the others.
    tables : collection of int
        The layers among `apart` whose vectors are wanted; others are left out.
    """
    for first in (0, 1) if 0 in apart and 0 not in tables else (0,):
        ends = np.cumsum(sizes[first:])
        if memory and any(vector.shape != (ends[-1],) for vector in memory):
            continue
        others, found = [], {index: [] for index in tables}
        for vector in memory:
            parts = dict(enumerate(np.split(vector, ends[:-1]), first))
            others.append(np.concatenate([part for index, part in parts.items() if index not in apart]))
            for index in tables:
                found[index].append(parts[index])
        return others, found
    raise ValueError(f"memory: expected vectors of {sum(sizes)} numbers, got shapes {[vector.shape for vector in memory]}")
