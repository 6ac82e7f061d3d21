"""A row of numbers for each index: Embedding, and its sparse gradient."""

import functools
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..arrays.batch import Batch
from ..arrays.devices import backend_of, contiguous, device_of
from ..arrays.indices import Groups
from ..arrays.ragged import Ragged
from ..arrays.rows import like, numbers
from ..errors import ShapeError, flag, positive_integer
from ..parameters import Parameters, Weight
from .base import Gradients
from .chain import Tape, expect_tape
from .distributions import glorot_uniform
from .operations import NotInPrograms, Operation
from .stateless import Stateless


@dataclass
class RowGradient:
    """The gradient of a table, of which most rows are 0: the others.

    Attributes
    ----------
    rows : numpy.ndarray
        (R,): the indices of the rows that were used, rising.
    values : numpy.ndarray
        (R, size): their derivatives.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.Embedding(1000, 2)
    >>> y, tape = layer.forward(layer.init(), np.array([[3, 8, 3]]))
    >>> g = layer.row_gradient(tape, np.ones_like(y))
    >>> g.rows, g.values.tolist()
    (array([3, 8]), [[2.0, 2.0], [1.0, 1.0]])
    """

    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    values: np.ndarray | None = None

    def fill(self, groups, source, accumulate=False):
        """Write the sums of the rows of `source` that belong to one index; or add them, also to rows that others have."""
        if accumulate and len(self.rows):
            own = RowGradient()
            own.fill(groups, source)
            rows = np.union1d(self.rows, own.rows)
            values = np.zeros((len(rows), source.shape[1]), source.dtype)
            values[np.searchsorted(rows, own.rows)] = own.values
            values[np.searchsorted(rows, self.rows)] += self.values
            self.rows, self.values = rows, values
            return
        if self.values is None or self.values.shape[0] != len(groups.indices):
            self.values = backend_of(source).memory.empty((len(groups.indices), source.shape[1]), source.dtype)
        self.rows = groups.indices
        backend_of(source).embedding.sum_rows(source, groups, self.values, compact=True)


class Lookup(Operation):
    """The rows of a table that indices stand for.

    Parameters
    ----------
    layer : Embedding
    p : Parameters
    source : Indices
    grouped : bool
        Whether to keep, for backward, which rows were read.
    reading : callable, optional
        It is called with the indices, each once, before their rows are read.

    Attributes
    ----------
    groups : Groups or None
        The places of each index.
    """

    learns = True

    def __init__(self, layer, p, source, grouped, reading):
        self.layer, self.table, self.grouped, self.reading = layer, layer.table(p.flat), grouped, reading
        self.groups = None
        super().__init__(source, like(source, layer.size, p.dtype, p.device))

    def forward(self):
        indices = self.layer.check_indices(self.source)
        if self.grouped:
            self.groups = Groups(indices)
            if self.reading is not None:
                self.reading(self.groups.indices)
        rows = self.outputs.array.reshape(-1, self.layer.size)
        backend_of(self.table).embedding.take_rows(self.table, indices, rows)

    def add_to(self, program):
        if program.anew:
            raise NotInPrograms("indices that are looked at")
        rows = self.outputs.array.reshape(-1, self.layer.size)
        backend_of(self.table).embedding.add_take(program, self.table, self.source.array, rows, self.source.batch)

    def separable(self):
        return self.grouped and self.outputs.packing.rows > 0 and device_of(self.outputs.array) == "cpu"

    def backward(self, adjoint, dy, need_x):
        if adjoint.rows is not None:
            adjoint.fills.append(LookupRows(self, dy, adjoint.rows).fill)
            return
        adjoint.fills.append(LookupAdjoint(self, dy, adjoint.gradient, adjoint.accumulate).fill)

    def jvp(self, tangents, dx):
        if tangents.parameters is None:
            return None
        found, indices = [like(self.outputs) for _ in tangents.parameters], self.layer.check_indices(self.source)
        for each, dp in zip(found, tangents.parameters):
            rows = each.array.reshape(-1, self.layer.size)
            backend_of(dp.flat).embedding.take_rows(self.layer.table(dp.flat), indices, rows)
        return found

    @property
    def nbytes(self):
        """Bytes of the places of the indices."""
        parts = () if self.groups is None else (self.groups.indices, self.groups.order, self.groups.starts)
        return sum(part.nbytes for part in parts)


class LookupAdjoint:
    """Backward of `Lookup`: dL/d(outputs) added up by index."""

    def __init__(self, lookup, dy, gradient, accumulate):
        self._lookup, self._dy, self._gradient, self._accumulate = lookup, dy, gradient, accumulate

    def fill(self):
        """Write, or add, the derivatives of the rows that were read."""
        groups, layer = self._lookup.groups, self._lookup.layer
        source = contiguous(numbers(self._dy)).reshape(-1, layer.size)
        if isinstance(self._gradient, RowGradient):
            self._gradient.fill(groups, source, self._accumulate)
            return
        dtable = layer.table(self._gradient.flat)
        if not self._accumulate:
            dtable.fill(0)
        backend_of(source).embedding.sum_rows(source, groups, dtable, compact=False, accumulate=self._accumulate)

    def add_to(self, program):
        """Add `fill` to a program of a step that is taken again and again; False if a program cannot do it."""
        if program.anew:
            return False
        lookup, dy = self._lookup, numbers(self._dy)
        dtable = lookup.layer.table(self._gradient.flat)
        backend_of(dtable).embedding.add_add(program, dtable, lookup.source.array, dy.reshape(-1, lookup.layer.size))
        return True


class LookupRows:
    """Backward of `Lookup` with a gradient of each sequence: dL/d(outputs) added up by sequence and index.

    rows: (N, V C), zeros, where each sequence has the gradient of the table (is modified).
    """

    def __init__(self, lookup, dy, rows):
        self._lookup, self._dy, self._rows = lookup, dy, rows

    def fill(self):
        """Write the derivatives of the rows of the table that each sequence has read."""
        layer, source = self._lookup.layer, self._lookup.source
        vocabulary, rows = layer.vocabulary, contiguous(numbers(self._dy)).reshape(-1, layer.size)
        groups = Groups(source.packing.places[1] * vocabulary + layer.check_indices(source))
        sums = np.empty((len(groups.indices), layer.size), rows.dtype)
        backend_of(rows).embedding.sum_rows(rows, groups, sums, compact=True)
        tables = self._rows.reshape(-1, vocabulary, layer.size)  # a view
        tables[groups.indices // vocabulary, groups.indices % vocabulary] = sums


@dataclass(frozen=True, repr=False)
class Embedding(Stateless):
    """An embedding: a vector of numbers for each index, at every step.

    T steps, N batch, V indices (`vocabulary`), C output channels (`size`).  Each step of one sequence is ::

        y[t, n] = W[x[t, n]]

    where x (T, N) are indices from 0 to V - 1, and y (T, N, C) the rows of W; no state.  The parameter ``weight`` W is
    (V, C), as in PyTorch.  It is drawn uniformly in ``+-sqrt(6 / (V + C))``, as if the indices were one-hot vectors, with
    the scheme ``"pytorch"`` from the standard normal distribution.

    x are integers of any dtype, strides and byte order: (T, N) in the order of `layout` without c, or with a channel axis
    of length 1; (T,) for one sequence; or a `Ragged` of integers.  As there is no derivative with respect to an index, an
    embedding is the first layer of a `Network`, whose ``channels`` are then 1.

    Time and memory follow the indices there are, not the vocabulary: forward reads the rows used, `row_gradient` writes
    them, and `Network.fit` updates them.  All optimizers treat a row as if it had been updated at every step: one that was
    not used for some is brought up to date when it is read next, and all are at the end of an epoch.

    Parameters
    ----------
    vocabulary : int
        Number of indices, from 0 to ``vocabulary - 1``.
    size : int
        Output channels: numbers of each index.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.Embedding(10, 3)
    >>> p = layer.init(seed=0)
    >>> x = np.array([[1, 2], [9, 1]], np.uint8)  # T, N
    >>> y = layer(p, x)
    >>> y.shape, np.array_equal(y[0, 0], p["weight"][1])
    ((2, 2, 3), True)
    >>> net = nr.Network([layer, nr.GRU(4), nr.Last(), nr.Dense(2)], seed=0)
    >>> net.predict(x).shape
    (2, 2)
    """

    vocabulary: int
    size: int

    accepts: ClassVar = {"vocabulary": positive_integer, "size": positive_integer}
    takes_indices = True

    @functools.lru_cache(maxsize=1024)  # noqa: B019 (layers are small and equal ones share an entry)
    def weights(self, channels):
        return (Weight("weight", self.vocabulary, self.size, table=True),)

    def output_channels(self, channels):
        return self.size

    def fill(self, parameters, random, scheme):
        if scheme == "pytorch":
            parameters["weight"][...] = random.standard_normal((self.vocabulary, self.size))
        else:
            parameters["weight"][...] = glorot_uniform(random, (self.vocabulary, self.size))

    def init(
        self, channels: int = 1, seed: int = 0, dtype: str = "float32", scheme: str = "glorot", device: str = "cpu"
    ) -> Parameters:
        """New parameters; `channels` is 1, an index.  See `Dense.init`."""
        if positive_integer("channels", channels) != 1:
            raise ShapeError(f"channels: expected 1, an index, for {self!r}, got {channels}")
        return super().init(channels, seed, dtype, scheme, device)

    def table(self, flat):
        """The (vocabulary, size) view of this layer's part of a vector."""
        return flat.reshape(self.vocabulary, self.size)

    def _checked_input(self, p, x, layout, lengths):
        batch, described = Batch.of_indices(x, layout, lengths)
        self.check_parameters(p, described.channels)
        return replace(batch, device=p.device), described

    def check_indices(self, x):
        """Raise IndexRangeError unless `x` are indices of this vocabulary; return them, (rows,), int64."""
        return x.checked("x", "indices", self.vocabulary)

    def operation(self, p, x, keep, reading=None):
        p = p.copy() if keep.weights else p  # a stream reads parameters when it is made
        return Lookup(self, p, x, keep.for_backward, reading)

    def backward(
        self,
        tape: Tape,
        dy: np.ndarray | Ragged,
        need_x: bool = False,
        into: Parameters | None = None,
        accumulate: bool = False,
    ) -> Gradients:
        """The derivative of a loss with respect to all rows, from dL/dy; `row_gradient` has the used rows alone.

        Parameters
        ----------
        tape : Tape
            From `forward`.
        dy : numpy.ndarray or Ragged
            dL/dy, shaped like y.
        need_x : bool
            There is no derivative with respect to an index: x is None in what is returned, whatever is asked for.
        into : Parameters, optional
            Where dL/dp is written (is modified); new by default.
        accumulate : bool
            Add to `into` instead of overwriting it.

        Returns
        -------
        Gradients
        """
        flag("need_x", need_x)
        return super().backward(tape, dy, False, into, flag("accumulate", accumulate) or into is None)

    def row_gradient(self, tape: Tape, dy: np.ndarray | Ragged) -> RowGradient:
        """The derivative of a loss with respect to the rows that were used, from dL/dy.

        Parameters
        ----------
        tape : Tape
            From `forward`.
        dy : numpy.ndarray or Ragged
            dL/dy, shaped like y.

        Returns
        -------
        RowGradient
        """
        expect_tape(self, tape)
        gradient = RowGradient()
        dy = self._described(tape.batch, dy, self.size, tape.operation.outputs.dtype)
        tape.adjoint(dy, False, gradient, False).fill()
        return gradient
