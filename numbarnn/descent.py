"""The parameters of a network while it is trained: all of them at each step, of an embedding the rows that are used."""

import math

import numpy as np

from .layers.embedding import Embedding, RowGradient
from .parameters import Parameters
from .targets import target_of

FOREVER = np.iinfo(np.int64).max // 2


class Descent:
    """Parameters, their gradient, and what an optimizer remembers, through the steps of a training.

    As a context manager it leaves all rows of an embedding up to date.

    Parameters
    ----------
    network : Network
        Its parameters are modified.
    optimizer : Optimizer
    updates : int
        Steps that there will be at most.

    Attributes
    ----------
    into : list
        Where each layer writes its gradient.
    step : int
        Updates so far.
    """

    def __init__(self, network, optimizer, updates):
        self.optimizer, self.step, self._rows = optimizer, 0, None
        flat, own = network.params.flat, network.split(network.params.flat)
        self._flat, self.into, at = flat, [], 0
        # A GPU updates a table about as fast as a few rows of it.
        if isinstance(network.layers[0], Embedding) and network.device == "cpu":
            at = len(own[0])
            self._rows = Rows(network.layers[0].table(flat[:at]), optimizer, updates)
            self.into.append(self._rows.gradient)
        self._own = flat[at:]
        self.gradient = np.zeros_like(self._own)
        first = at
        for part in own[len(self.into) :]:
            self.into.append(Parameters(self.gradient[at - first : at - first + len(part)], part.weights))
            at += len(part)
        self._previous, self._memory = self._own.copy(), optimizer.start(self._own)

    @property
    def reading(self):
        """What is to be called with the rows of an embedding before they are read; None without one."""
        return None if self._rows is None else self._rows.bring

    def norm(self):
        """The Euclidean norm of the gradient."""
        norm = target_of(self.gradient).optimizers.norm
        own = norm(self.gradient)
        return own if self._rows is None else math.hypot(own, norm(self._rows.gradient.values.reshape(-1)))

    def update(self, rate, scale):
        """Take one step down the gradient, which is multiplied by `scale` first."""
        self.step += 1
        self.optimizer.update(self._own, self._previous, self.gradient, self._memory, self.step, rate, scale)
        if self._rows is not None:
            self._rows.update(self.step, rate, scale)

    def restore(self):
        """Bring back the parameters as they were before the last step, if any is not finite now."""
        if not np.isfinite(self._flat).all():
            self._own[:] = self._previous
            if self._rows is not None:
                self._rows.restore()

    def finish(self):
        """Bring all rows up to date."""
        if self._rows is not None:
            self._rows.bring_all()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None or not issubclass(kind, ArithmeticError):  # of numbers that were brought back nothing goes on
            self.finish()


class Rows:
    """A table of which each step updates the rows that it used.

    Parameters
    ----------
    table : numpy.ndarray
        (rows, columns) of the parameters (is modified).
    optimizer : Optimizer
    updates : int

    Attributes
    ----------
    gradient : RowGradient
        That of the rows of a step, to be filled before `update`.
    """

    def __init__(self, table, optimizer, updates):
        self.table, self.gradient, self.step = table, RowGradient(), 0
        self._updates = optimizer.rows(table.dtype)
        self._memory = [array.reshape(table.shape) for array in optimizer.start(table.reshape(-1))]
        self._seen, self._live = np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)
        self._scalars = np.zeros((updates + 1, len(self._updates.scalars(1, 0.0))), table.dtype)
        self._previous = (np.zeros(0, np.int64), np.zeros((0, table.shape[1]), table.dtype))

    def _run(self, rows, gradient=None, previous=None, scale=1.0):
        until = self.step if gradient is None else self.step - 1
        self._updates.kernel(
            self.table, self._memory, rows, self._seen, self._live, until, self._scalars, gradient, previous, scale,
            self._updates.constants,
        )  # fmt: skip
        self._seen[rows] = self.step

    def bring(self, rows):
        """Take the steps that some rows have missed, none of which had a gradient for them."""
        self._run(rows)

    def bring_all(self):
        """Take the steps that any rows have missed."""
        behind = self._seen < self.step
        self._run(np.flatnonzero(behind if self._updates.decays else behind & (self._live > 0)))

    def update(self, step, rate, scale):
        """Take a step of the rows that have a gradient now; they have been brought up to date."""
        self.step, self._scalars[step] = step, self._updates.scalars(step, rate)
        rows = self.gradient.rows
        previous = np.empty_like(self.gradient.values)
        self._run(rows, self.gradient.values, previous, scale)
        self._live[rows] = FOREVER if self._updates.moving is None else step + self._updates.moving
        self._previous = rows, previous

    def restore(self):
        """Bring back the rows of the last step as they were before it."""
        target_of(self.table).embedding.put_rows(self.table, *self._previous)
