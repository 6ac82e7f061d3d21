"""A layer's parameters: one contiguous vector, and named views of it."""

import copy
import itertools
import math
import mmap
import os
import pickle
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .arrays.descriptor import checked_array, is_writable
from .arrays.devices import backend, device_of, expect_finite, moved, native, share_memory
from .descriptions.fields import Description, optional
from .errors import DeviceError, DTypeError, ShapeError, known_name, positive_integer, several
from .files.container import write_file

FLOATS = ("float32", "float64")  # the dtypes of parameters


def _name(argument, value):
    """`value` as a str, if it is text and not empty; else a TypeError that names the argument."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{argument}: expected text, got {value!r} ({type(value).__name__})")
    return str(value)


def _axes(argument, value):
    """`value` as a tuple of positive integers; else a TypeError or ValueError that names the argument."""
    return tuple(positive_integer(argument, length) for length in several(argument, value, "a tuple of lengths"))


@dataclass(frozen=True)
class Weight(Description):
    """One named part of the vector: a matrix kept as (inputs, outputs), or a vector of outputs.

    As in PyTorch, the named view of a matrix is its transpose, (outputs, inputs).  A table has a row for each index, and its
    named view is (inputs, outputs), or with `axes` (inputs, *axes), as of the filters of a convolution.
    """

    name: str
    inputs: int | None  # None: a vector
    outputs: int
    table: bool = False
    axes: tuple[int, ...] = ()  # of a table: lengths whose product is `outputs`

    accepts: ClassVar = {"name": _name, "inputs": optional(positive_integer), "outputs": positive_integer, "axes": _axes}

    def __post_init__(self):
        super().__post_init__()
        if self.axes and (not self.table or math.prod(self.axes) != self.outputs):
            raise ShapeError(f"axes: expected the axes of a table whose product is {self.outputs}, got {self.axes}")

    @property
    def size(self):
        return (self.inputs or 1) * self.outputs

    @property
    def shape(self):
        """Shape of the named view."""
        if self.inputs is None:
            return (self.outputs,)
        return (self.inputs, *(self.axes or (self.outputs,))) if self.table else (self.outputs, self.inputs)

    def view(self, part):
        """The part of the flat vector, seen under this name."""
        if self.inputs is None:
            return part
        return part.reshape(self.shape) if self.table else part.reshape(self.inputs, self.outputs).T

    def __str__(self):
        return f"{self.name} of shape {self.shape}{' (a table)' if self.table else ''}"


class Parameters:
    """One contiguous 1-D array and its named views.

    ``p.flat`` is the vector itself, writable: optimizers, SciPy and saving see nothing else.  ``p["weight_ih_l0"]`` is a
    zero-copy view under PyTorch's name and shape, transposed: in memory a weight is (inputs, gates, outputs).
    ``len(p)`` counts the numbers, ``numpy.asarray(p)`` is the vector; iteration and ``in`` go over the names.

    Assigning to ``p.flat`` or to ``p["weight_ih_l0"]`` copies numbers of the same shape and dtype into the vector, where
    every view, layer and network finds them.  `copy.copy`, `copy.deepcopy` and pickle make a vector of its own.

    Parameters
    ----------
    flat : numpy.ndarray
        1-D, contiguous, float32 or float64; it is kept, not copied.  Where it is read-only, nothing can be trained or
        assigned.
    weights : sequence of Weight
        The parts of `flat`, in order.

    Raises
    ------
    TypeError, ValueError, DTypeError, ShapeError, LayoutError
        If they are not as described.

    Examples
    --------
    >>> import numbarnn as nr
    >>> p = nr.GRU(4).init(channels=3, seed=0)
    >>> p.names
    ('weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0')
    >>> p["weight_ih_l0"].shape, len(p)
    ((12, 3), 108)
    """

    __slots__ = ("__weakref__", "_calls", "_flat", "_held", "_kind", "_split", "_start", "_weights")

    def __init__(self, flat: np.ndarray, weights: Iterable[Weight]):
        flat = checked_array("flat", flat)
        self._weights, self._start, size = several("weights", weights, "a Weight for each part, in a list"), {}, 0
        for index, weight in enumerate(self._weights):
            if not isinstance(weight, Weight):
                raise TypeError(f"weights[{index}]: expected a Weight, got {type(weight).__name__}")
            if weight.name in self._start:
                raise ValueError(f"weights[{index}]: expected a name of its own, got {weight.name!r} again")
            self._start[weight.name] = (size, weight)
            size += weight.size
        if flat.shape != (size,) or not flat.flags.c_contiguous:
            raise ShapeError(f"flat: expected a contiguous vector of {size} numbers, got shape {flat.shape}")
        self._flat = flat.view(np.ndarray) if isinstance(flat, np.memmap) else flat
        # NumPy resizes no array that a weak reference points to: what kernels and other views read stays where it is.
        self._held = weakref.ref(self._flat)
        self._kind = flat.shape, flat.dtype
        self._calls = {}  # small calls of layers with these parameters, see `layers.prepared`
        self._split = None  # a network's: the same numbers as the Parameters of its layers

    @property
    def flat(self) -> np.ndarray:
        """The vector.  Assigning copies in an array of its length and dtype, at any strides and from any device."""
        return self._flat

    @flat.setter
    def flat(self, numbers):
        if numbers is not self._flat:  # after an operation in place, such as p.flat += 1
            self._copy_in("flat", self._flat, numbers)

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The parts of the vector, in order."""
        return self._weights

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
        backend(device)
        return self if device == self.device else Parameters(moved(self.flat, device), self.weights)

    def __len__(self) -> int:
        return self.flat.size

    def __contains__(self, name: str) -> bool:
        return isinstance(name, str) and name in self._start

    def __iter__(self):
        return iter(self._start)

    def _find(self, name):
        """(start in the flat vector, Weight) of a named part; UnknownNameError for a name that is not there."""
        return self._start[known_name("parameter", name, self._start)]

    def __getitem__(self, name: str) -> np.ndarray:
        start, weight = self._find(name)
        return weight.view(self.flat[start : start + weight.size])

    def __setitem__(self, name, value):
        self._copy_in(f"parameter {name!r}", self[name], value)

    def update(self, arrays: "Mapping[str, np.ndarray] | Parameters") -> None:
        """Copy arrays into the parts of the same names; other parts stay as they are.

        Parameters
        ----------
        arrays : dict of str to numpy.ndarray, or Parameters
            Each of the shape and dtype of its part.

        Raises
        ------
        UnknownNameError, ShapeError, DTypeError, TypeError, ValueError
            As for ``p[name] = array``, for the first that does not fit; then nothing has been changed.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> p = nr.Dense(2).init(channels=1, seed=0)
        >>> p.update({"weight": np.ones((2, 1), np.float32), "bias": np.zeros(2, np.float32)})
        >>> p.flat
        array([1., 1., 0., 0.], dtype=float32)
        """
        if not isinstance(arrays, (Mapping, Parameters)):
            raise TypeError(f"arrays: expected a dict of arrays by name, or Parameters, got {type(arrays).__name__}")
        found = [(name, self[known_name("arrays", name, self._start)], array) for name, array in arrays.items()]
        self.check_writable("params")
        found = [(view, self._fitting(f"arrays[{name!r}]", view, array)) for name, view, array in found]
        own = [numbers.copy() if share_memory(numbers, self._flat) else numbers for _, numbers in found]
        for (view, _), numbers in zip(found, own):
            view[...] = numbers

    def _copy_in(self, argument, view, numbers):
        """Copy numbers into a view of the vector, if they have its shape and dtype and it can be written."""
        self.check_writable(argument)
        view[...] = self._fitting(argument, view, numbers)

    def _fitting(self, argument, view, numbers):
        """The numbers, on the device of the parameters, if they have the shape and dtype of a view of them."""
        numbers = checked_array(argument, native(argument, numbers))
        if numbers.shape != view.shape:
            raise ShapeError(f"{argument}: expected shape {view.shape}, got {numbers.shape}")
        if numbers.dtype != view.dtype:
            raise DTypeError(f"{argument}: expected {view.dtype} like the parameters, got {numbers.dtype}")
        return moved(numbers, self.device)

    def __array__(self, dtype=None, copy=None):
        """The vector, for ``numpy.asarray``: itself, or in another dtype a copy."""
        if self.device != "cpu":
            raise DeviceError(f"parameters: expected them on device 'cpu', got {self.device!r}; to('cpu') copies them")
        if dtype is None or np.dtype(dtype) == self.dtype:
            return self._flat.copy() if copy else self._flat
        if copy is False:
            raise ValueError(f"copy: expected True or None for {np.dtype(dtype)} of {self.dtype} parameters, got False")
        return self._flat.astype(dtype)

    def items(self) -> list[tuple[str, np.ndarray]]:
        """(name, view) of each part."""
        return [(name, self[name]) for name in self.names]

    def offset(self, name: str) -> int:
        """Where in the vector the part called `name` starts."""
        return self._find(name)[0]

    def copy(self) -> "Parameters":
        """The same structure over a copy of the vector."""
        self._check_kind()
        return self._over(self.flat.copy())

    __copy__ = copy

    def _over(self, flat):
        """Parameters over another vector of the same shape and dtype: `__init__` without its checks."""
        other = object.__new__(Parameters)
        other._flat, other._weights, other._start, other._kind = flat, self._weights, self._start, self._kind
        other._held, other._calls, other._split = weakref.ref(flat), {}, None
        return other

    def _dual(self, tangent):
        """Parameters over complex numbers, this vector and in the place of the imaginary parts its tangent."""
        other = self._over(self._flat + 1j * tangent)
        other._kind = other._flat.shape, other._flat.dtype
        return other

    def __deepcopy__(self, memo):
        return Parameters(copy.deepcopy(self._flat, memo), self._weights)

    def __getstate__(self):
        return {"flat": moved(self._flat, "cpu"), "weights": self._weights, "device": device_of(self._flat)}

    def __setstate__(self, state):
        flat, device = state["flat"], state.get("device", "cpu")
        if not _is_its_own(flat):
            flat = flat.astype(flat.dtype.newbyteorder("="))  # joblib hands over memory maps of large arrays
        self.__init__(moved(flat, device), state["weights"])

    def save(self, path: str | os.PathLike) -> None:
        """Write the parameters into a file, each under its name and in the shape of its view; `numbarnn.load` reads it.

        Parameters
        ----------
        path : str or os.PathLike
            Written whole or not at all; an old file is replaced.

        Raises
        ------
        OSError
            If it cannot be written, as on a full disk; an old file is then as it was.
        ImportError
            Without the package safetensors (``numbarnn[files]``).
        """
        write_file(path, self._arrays(), {"parameters": self._described()})

    def _arrays(self):
        """{name: view} of the parts in the host's memory."""
        return dict(Parameters(moved(self.flat, "cpu"), self.weights).items())

    def _described(self):
        """The structure and dtype, as a file has them."""
        parts = [[w.name, w.inputs, w.outputs, w.table, *([list(w.axes)] if w.axes else [])] for w in self._weights]
        return {"dtype": self.dtype.name, "parts": parts}

    @staticmethod
    def _structure_in_file(read, description):
        """(dtype, weights) as `_described` has written them."""
        described = read("parameters", description.get("parameters"))
        try:
            dtype = np.dtype(known_name("dtype", described["dtype"], FLOATS))  # NumPy reads some text as Python
            return dtype, [Weight(*row) for row in described["parts"]]
        except (LookupError, TypeError, ValueError) as error:
            raise read.error("parameters", f"a dtype, and the name, inputs and outputs of each part ({error})") from None

    @classmethod
    def _of_file(cls, read, description):
        """The Parameters that `_described` and `_arrays` have written.

        read : files.written.Reading
            Their arrays are taken out (is modified).
        """
        dtype, weights = cls._structure_in_file(read, description)
        for weight in weights:
            array = read.arrays.get(weight.name)
            if array is None:
                raise read.error(weight.name, "an array, got none")
            if array.shape != weight.shape or array.dtype != dtype:
                raise read.error(weight.name, f"{dtype} of shape {weight.shape}, got {array.dtype} of shape {array.shape}")
        if len({weight.name for weight in weights}) < len(weights):
            raise read.error("parameters", "each part once")
        found = cls(np.empty(sum(weight.size for weight in weights), dtype), weights)
        for weight in weights:
            found[weight.name][...] = read.arrays.pop(weight.name)
        return found

    def zeros(self) -> "Parameters":
        """The same structure over a vector of zeros: what a gradient is added up in."""
        return self._over(np.zeros_like(self.flat))

    def check_writable(self, argument):
        """Raise, naming the argument, unless the vector is as it was made and may be written."""
        self._check_kind()
        if not is_writable(self._flat):
            raise ValueError(f"{argument}: expected parameters that may be written, got a read-only vector (copy() is not)")

    def check_structure(self, argument, other):
        """Raise ShapeError, saying where they differ, unless other Parameters have the same parts."""
        for own, found in itertools.zip_longest(self._weights, other.weights, fillvalue="no more parts"):
            if own != found:
                raise ShapeError(f"{argument}: expected {own}, got {found}")

    def _check_kind(self):
        """Raise ShapeError if a user has changed the shape, dtype or order of the flat vector in place."""
        flat = self._flat
        if (flat.shape, flat.dtype) != self._kind or not flat.flags.c_contiguous:
            shape, dtype = self._kind
            expected, found = f"{dtype} of shape {shape} as it was", f"{flat.dtype} of shape {flat.shape}"
            raise ShapeError(f"flat: expected a contiguous vector, {expected}, got {found}: it was changed in place")

    def check_finite(self) -> None:
        """Raise NonFiniteError, with the name of the part, if there is a NaN or an infinity."""
        self._check_finite(False)

    def _check_finite(self, later):
        """`check_finite`; later: a GPU is not waited for, see `cuda.checks`."""
        self._check_kind()
        if later and type(self._flat) is not np.ndarray:
            return backend(self.device).checks.ask(self)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(self._flat.sum()):  # not a dot product: the threads of BLAS go on spinning beside the kernels'
                return
        for name, view in self.items():
            expect_finite(f"parameter {name!r}", view)

    def __repr__(self):
        parts = ", ".join(f"{w.name} {'x'.join(map(str, w.shape))}" for w in self.weights)
        return f"Parameters({self.flat.size} {self.dtype}: {parts})"


def _is_its_own(array):
    """Whether an array may be written, in nobody else's file or array, and kernels can read it."""
    base, lent = array, False
    while base is not None:
        if isinstance(base, mmap.mmap) or (lent and isinstance(base, np.ndarray)):
            return False
        if isinstance(base, pickle.PickleBuffer):  # out of band, as pickle calls it: of the array that was sent
            base = base.raw()
        lent = lent or isinstance(base, memoryview)
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return array.flags.writeable and array.flags.aligned and array.dtype.isnative
