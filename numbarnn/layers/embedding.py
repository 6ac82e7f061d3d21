"""A row of numbers for each index: Embedding, and its sparse gradient."""

import functools
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..arrays.batch import Batch
from ..arrays.devices import contiguous, target_of
from ..arrays.indices import Groups
from ..arrays.ragged import Ragged
from ..arrays.rows import like, numbers
from ..errors import ShapeError, flag, positive_integer
from ..parameters import Parameters, Weight, glorot_uniform
from .base import Gradients
from .dense import Adjoint, Stateless, Tape


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

    def fill(self, groups, source):
        """Write the sums of the rows of `source` that belong to one index."""
        if self.values is None or self.values.shape[0] != len(groups.indices):
            self.values = target_of(source).memory.empty((len(groups.indices), source.shape[1]), source.dtype)
        self.rows = groups.indices
        target_of(source).embedding.sum_rows(source, groups, self.values, compact=True)


@dataclass
class Kept:
    """What a tape of an embedding holds: which rows were read, and of what dtype they are."""

    dtype: np.dtype
    groups: Groups | None = None

    @property
    def nbytes(self):
        """Bytes of the places of the indices."""
        parts = () if self.groups is None else (self.groups.indices, self.groups.order, self.groups.starts)
        return sum(part.nbytes for part in parts)


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
        """New parameters; `channels` is 1, an index.  See `Layer.init`."""
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

    def run(self, p, x, initial, keep, batch=None, reading=None):
        """`forward` without its checks, from Indices to a descriptor of y, (T, N, size), and a tape.

        reading: a function that is called with the indices, each once, before their rows are read.
        """
        table, kept = self.table(p.flat), Kept(p.dtype)
        y = like(x, self.size, p.dtype, p.device)
        target = y.array.reshape(-1, self.size)

        def fill():
            indices = self.check_indices(x)
            if keep.for_backward:
                kept.groups = Groups(indices)
                if reading is not None:
                    reading(kept.groups.indices)
            target_of(table).embedding.take_rows(table, indices, target)

        fill()
        return y, Tape(self, x, kept, fill, batch, p)

    def run_stream(self, p, x):
        raise ValueError(f"stream: {self!r} takes indices, which a stream does not")

    def _dtype(self, tape):
        return tape.kept.dtype

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
        self._check_tape(tape)
        gradient = RowGradient()
        described = self._described(tape.batch, dy, self.size, tape.kept.dtype)
        self.differentiate(tape, described, None, False, gradient, False).fill()
        return gradient

    def differentiate(self, tape, dy, dfinal, need_x, gradient, accumulate):
        """`backward` without its checks, on descriptors: an Adjoint; `gradient` are Parameters or a RowGradient."""

        def fill():
            source = contiguous(numbers(dy)).reshape(-1, self.size)
            if isinstance(gradient, RowGradient):
                gradient.fill(tape.kept.groups, source)
                return
            target = self.table(gradient.flat)
            if not accumulate:
                target.fill(0)
            target_of(source).embedding.sum_rows(source, tape.kept.groups, target, compact=False, accumulate=accumulate)

        return Adjoint(None, fill)
