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
from .stretches import Stretches
from .tables import TableByRows, told_apart


class Updates:
    """Parameters, their gradient, and what an optimizer remembers, through the steps of a training.

    Of the tables of some embeddings each step updates the rows that were used; *the others* are all other parameters.

    A step is taken as a whole or not at all: one that leaves a number that is not finite, and one that an exception ends
    (Ctrl-C at any place, an error of an optimizer of one's own), is undone.  As a context manager it undoes the latter, and
    leaves all rows of an embedding up to date.

    Parameters
    ----------
    network : Network
        Its parameters are modified.
    optimizer : Optimizer
    gradient : numpy.ndarray, optional
        (parameters,): where the gradient of all of them is written, of every row of the tables too.
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
        self.optimizer, self.step, self.wrong, self._tables = optimizer, 0, "", {}
        self._open, self._held = 0, None  # the step that is being taken, 0 between two; a state from a file, see `restore`
        self._finished = None  # the step after which all was brought up to date and looked at
        flat, own = network.params.flat, network.split(network.params.flat)
        self._device, self._on_host, weights = network.device, network.device == "cpu", network.params.weights
        # A GPU updates a table about as fast as a few rows of it.
        apart = _tables_apart(network, optimizer, frozen) if self._on_host and gradient is None else ()
        self._apart, self._sizes = apart, [len(part) for part in own]
        others, spans, named, at = [], [], iter(weights), 0
        for index, part in enumerate(own):
            names, end = [next(named) for _ in part.weights], at + len(part)
            if index in apart:
                self._tables[index] = self._table(network.layers[index], names[0], flat[at:end], weights, frozen)
            elif len(part):
                others += names
                spans.append((spans.pop()[0] if spans and spans[-1][1] == at else at, end))
            at = end
        self._others = Stretches(flat, spans, others)
        self.gradient = np.zeros_like(self._others.previous) if gradient is None else gradient
        self.into, at = [], 0
        for index, part in enumerate(own):
            if index in apart:
                table = self._tables[index]
                self.into.append(RowGradient() if table is None else table.gradient)  # of a frozen one nobody reads it
            else:
                self.into.append(Parameters(self.gradient[at : at + len(part)], part.weights))
                at += len(part)
        self._tables = {index: table for index, table in self._tables.items() if table is not None}
        self._finite, like = True, self._others.like
        self._memory = optimizer.start(like)
        parts = optimizer._of_parts(like, others, weights)
        self._still = _slices(others, frozen)
        if not optimizer.is_own:
            _check_memory(self._memory, like, optimizer)
            self._memory = [*self._memory, *parts]
        elif isinstance(self._memory, Memory):  # for an update of one's own that calls the library's
            self._memory.parts = parts

    def _table(self, layer, weight, values, weights, frozen):
        """The TableByRows of a table; None of one that is frozen."""
        if weight.name in frozen:
            return None
        return TableByRows(layer.table(values), self.optimizer._of_table(weight, weights), weight.name)

    @property
    def reading(self):
        """{index of a layer: what is to be called with the rows of its table before they are read}."""
        return {index: table.bring for index, table in self._tables.items()}

    def norm(self):
        """The Euclidean norm of the gradient; of what is frozen it is 0."""
        self._freeze_gradient()
        norm = backend_of(self.gradient).optimizers.norm
        own = norm(self.gradient)
        if not self._tables:
            return own
        return math.hypot(own, *(norm(table.gradient.values.reshape(-1)) for table in self._tables.values()))

    def update(self, rate, scale):
        """Take one step down the gradient, which is multiplied by `scale` first; returns whether all is finite, as `finite`.

        A GPU is not waited for: there a step that leaves numbers that are not finite is found, and undone, before the next.
        """
        if not self._on_host and not self.finite():
            return False
        self._freeze_gradient()
        if self._on_host:
            self._others.begin()
        self._open = step = self.step + 1
        finite = (self._update_by_own if self.optimizer.is_own else self._update)(step, rate, scale)
        if self._still:
            for part in self._still:
                self._others.put_back(part)
            finite = None
        self._finite = self._others.finite() if finite is None else finite
        for table in self._tables.values():
            table.update(step, rate, scale)
        self.step, self._open = step, 0
        return not self._on_host or self.finite()

    def _freeze_gradient(self):
        """Forget the gradient of what is frozen."""
        for part in self._still:
            self.gradient[part] = 0

    def _update(self, step, rate, scale):
        """One update by the library's kernels; whether all is finite after it, None where they do not say."""
        return self._others.take(self.optimizer, self.gradient, self._memory, step, rate, scale)

    def _update_by_own(self, step, rate, scale):
        """An optimizer of one's own gets views and copies: what it makes of them concerns nobody but the numbers."""
        self._others.keep()
        if scale != 1:
            self.gradient *= scale
        ((own, _),), previous = self._others.parts, self._others.previous.copy()
        found = self.optimizer.update(own[:], previous, self.gradient[:], self._memory, step, rate, 1.0)
        if found is not None:
            kind = type(self.optimizer).__name__
            raise TypeError(
                f"optimizer: expected {kind}.update to change flat in place and to return None, got {type(found).__name__}"
            )

    def finite(self):
        """Whether the last update left finite numbers; if not, it is undone, and `wrong` says what was not."""
        if self.wrong:
            return False
        if self._finite and all(table.finite for table in self._tables.values()):
            return True
        self.wrong = self._what_is_wrong()
        self._undo(self.step)
        return False

    def _what_is_wrong(self):
        """What was not finite, in words: a part of the gradient, of the parameters, or of the optimizer's memory."""
        for what, numbers in (("gradient of ", moved(self.gradient, "cpu")), ("", self._others.numbers())):
            bad = np.flatnonzero(~np.isfinite(numbers))
            if len(bad):
                name = self._others.name(bad[0])
                return f"{what}parameter {name!r}: expected finite numbers, got {numbers[bad[0]]}"
        for table in self._tables.values():
            if not table.finite:
                return f"parameter {table.name!r}: expected rows of finite numbers, got others"
        return "optimizer: expected a memory of finite numbers, got others"

    def _undo(self, step):
        """Bring back the parameters as they were before a step, as far as it has changed any."""
        self._others.undo(self._on_host)
        for table in self._tables.values():
            table.undo(step)

    def finish(self):
        """Bring all rows up to date, and see whether what is remembered is finite; see `finite`."""
        if self._finished == self.step:
            return
        for table in self._tables.values():
            table.bring_all()
        if not self.optimizer.is_own:
            all_finite = backend_of(self.gradient).optimizers.all_finite
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
        rows = [table.state() for table in self._tables.values()]
        return {"step": self.step, "memory": memory, "rows": rows or None}

    def restore(self, state, onward=False):
        """Be as `state` says, of an optimizer of the same kind and parameters of the same parts.

        In the middle of an epoch some rows of tables are behind.  They are brought up to date here, so that the
        network predicts; the state is kept until `go_on`, which goes on from it as if nobody had looked.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is no such state.
        """
        step, memory, rows = state["step"], state["memory"], state["rows"]
        if type(step) is not int or step < 0:
            raise ValueError(f"step: expected an integer >= 0, got {step!r:.80}")
        rows = [rows] if isinstance(rows, dict) else rows or []  # of a file from when there was one at most
        memory, whole = (memory, {}) if self.optimizer.is_own else self._told_apart(memory, len(rows))
        if len(rows) + len(whole) != len(self._tables):
            raise ValueError(f"rows: expected what optimizers of {len(self._tables)} tables remember, got {len(rows)}")
        if self.optimizer.is_own:
            parts = self._memory.parts if isinstance(self._memory, Memory) else None
            self._memory = Memory(memory) if isinstance(self._memory, Memory) else memory
            if isinstance(self._memory, Memory):
                self._memory.parts = parts
        else:
            memory = [moved(vector, self._device) for vector in memory]
            _check_memory(memory, self._others.like, self.optimizer)
            self._memory = [*memory, *self._memory[self.optimizer.vectors :]]
        self.step, self._finished = step, None
        for table, own in zip(self._tables.values(), rows):
            table.restore(own, step)
        for index, own in whole.items():
            self._tables[index].restore_whole(own, step)
        if not onward and any(table.behind for table in self._tables.values()):
            self._held = {**state, "rows": copy.deepcopy(rows)}
            for table in self._tables.values():
                table.bring_all()

    def _told_apart(self, memory, known):
        """(memory of the others, {index of a table: its memory}), from a file.

        known: the first tables whose rows the file has.

        Of the other tables it was all rows that a step updated: on a GPU, or when only a first layer's rows were told apart.
        """
        whole = [*self._tables][known:]
        if not whole or not isinstance(memory, list):
            return memory, {}
        there = {*self._apart} - {*[*self._tables][:known]}
        sizes = [0 if index in self._apart and index not in there else size for index, size in enumerate(self._sizes)]
        return told_apart([moved(vector, "cpu") for vector in memory], sizes, there, whole)

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


def _tables_apart(network, optimizer, frozen):
    """The indices of the layers whose tables are not updated as a whole: of some rows, or not at all as they are frozen.

    An update of one's own takes all other parameters as one vector: a table must then be before or behind them.
    """
    by_rows, last = optimizer.row_updates(network.dtype) is not None, len(network.layers) - 1
    firsts = np.cumsum([0, *(len(part.weights) for part in network._own)])
    return [
        index
        for index in network._tables
        if (by_rows or network.params.weights[firsts[index]].name in frozen) and (index in (0, last) or not optimizer.is_own)
    ]


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
