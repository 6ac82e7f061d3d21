"""A layer's parameters: one contiguous vector, and named views of it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .descriptor import checked_array
from .errors import NonFiniteError, ShapeError, nearest
from .targets import device_of, moved


@dataclass(frozen=True)
class Weight:
    """One named part of the vector: a matrix kept as (inputs, outputs), or a vector of outputs.

    The named view of a matrix is its transpose, (outputs, inputs), as PyTorch has it; that of a table, which has a row for
    each index, is (inputs, outputs), as PyTorch has it too.
    """

    name: str
    inputs: int | None  # None: a vector
    outputs: int
    table: bool = False

    @property
    def size(self):
        return (self.inputs or 1) * self.outputs

    @property
    def shape(self):
        """Shape of the named view."""
        if self.inputs is None:
            return (self.outputs,)
        return (self.inputs, self.outputs) if self.table else (self.outputs, self.inputs)

    def view(self, part):
        """The part of the flat vector, seen under this name."""
        if self.inputs is None:
            return part
        matrix = part.reshape(self.inputs, self.outputs)
        return matrix if self.table else matrix.T


class Parameters:
    """One contiguous 1-D array and its named views.

    ``p.flat`` is the vector itself, writable: optimizers, SciPy and saving see nothing else.  ``p["weight_ih_l0"]`` is a
    zero-copy view under PyTorch's name and shape, transposed: in memory a weight is (inputs, gates, outputs).
    ``len(p)`` counts the numbers.

    Parameters
    ----------
    flat : numpy.ndarray
        1-D, contiguous, float32 or float64; it is kept, not copied.
    weights : sequence of Weight
        The parts of `flat`, in order.

    Examples
    --------
    >>> import numbarnn as nr
    >>> p = nr.GRU(4).init(channels=3, seed=0)
    >>> p.names
    ('weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0')
    >>> p["weight_ih_l0"].shape, len(p)
    ((12, 3), 108)
    """

    def __init__(self, flat: np.ndarray, weights: Iterable[Weight]):
        checked_array("flat", flat)
        self.weights = tuple(weights)
        size = sum(w.size for w in self.weights)
        if flat.shape != (size,) or not flat.flags.c_contiguous:
            raise ShapeError(f"flat: expected a contiguous vector of {size} numbers, got shape {flat.shape}")
        self.flat = flat
        self._start = {}
        at = 0
        for weight in self.weights:
            self._start[weight.name] = (at, weight)
            at += weight.size

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views, in the order of the vector."""
        return tuple(self._start)

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64."""
        return self.flat.dtype

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return device_of(self.flat)

    def to(self, device: str) -> "Parameters":
        """The same structure over a copy of the vector on `device`; the parameters themselves if they are there."""
        return self if device == self.device else Parameters(moved(self.flat, device), self.weights)

    def __len__(self) -> int:
        return self.flat.size

    def __contains__(self, name: str) -> bool:
        return name in self._start

    def __iter__(self):
        return iter(self._start)

    def _find(self, name):
        if name not in self._start:
            raise nearest("parameter", name, self.names)
        return self._start[name]

    def __getitem__(self, name: str) -> np.ndarray:
        start, weight = self._find(name)
        return weight.view(self.flat[start : start + weight.size])

    def __setitem__(self, name, value):
        view, value = self[name], value if device_of(value) == "cuda" else np.asarray(value)
        if value.shape != view.shape:
            raise ShapeError(f"parameter {name!r}: expected shape {view.shape}, got {value.shape}")
        view[...] = value

    def items(self) -> list[tuple[str, np.ndarray]]:
        """(name, view) of each part."""
        return [(name, self[name]) for name in self.names]

    def offset(self, name: str) -> int:
        """Where in the vector the part called `name` starts."""
        return self._find(name)[0]

    def copy(self) -> "Parameters":
        """The same structure over a copy of the vector."""
        return Parameters(self.flat.copy(), self.weights)

    def zeros(self) -> "Parameters":
        """The same structure over a vector of zeros: what a gradient is added up in."""
        return Parameters(np.zeros_like(self.flat), self.weights)

    def check_finite(self):
        """Raise NonFiniteError, with the name of the part, if there is a NaN or an infinity."""
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(self.flat.sum()):  # not a dot product: the threads of BLAS go on spinning beside the kernels'
                return
        for name, view in self.items():
            view = moved(view, "cpu")
            if not np.isfinite(view).all():
                bad = tuple(int(i) for i in np.argwhere(~np.isfinite(view))[0])
                raise NonFiniteError(f"parameter {name!r}: expected finite numbers, got {view[bad]} at {bad}")

    def __repr__(self):
        parts = ", ".join(f"{w.name} {'x'.join(map(str, w.shape))}" for w in self.weights)
        return f"Parameters({self.flat.size} {self.dtype}: {parts})"


def glorot_uniform(random, shape):
    """Uniform in ``+-sqrt(6 / (inputs + outputs))`` (Glorot and Bengio 2010, eq. 16), for a gate's (inputs, outputs)."""
    limit = np.sqrt(6 / sum(shape))
    return random.uniform(-limit, limit, shape)


def orthogonal(random, shape):
    """A random matrix with orthogonal rows or columns, the fewer, Haar measure (Mezzadri 2007, arXiv:math-ph/0609050)."""
    if shape[0] < shape[1]:
        return orthogonal(random, shape[::-1]).T
    q, r = np.linalg.qr(random.standard_normal(shape))
    return q * np.sign(np.diag(r))


def uniform(random, shape, size):
    """Uniform in ``+-1 / sqrt(size)``: PyTorch's choice for recurrent layers, `size` being the hidden units."""
    limit = 1 / np.sqrt(size)
    return random.uniform(-limit, limit, shape)
