"""Lists, integers and tables as the arrays that layers read: everything that is converted is converted here."""

import numpy as np

from ..errors import DTypeError, ShapeError
from .descriptor import DTYPES, is_on_device
from .devices import native
from .dimensions import check_dimensions
from .tensors import host_array

_LISTS = list, tuple, np.ma.MaskedArray  # what may hold more than numbers
EXPECTED = "numbers: an array, a list, a tensor, a pandas Series or DataFrame"


def array_of(argument, value, *axes):
    """`value` as a NumPy array of numbers (bool, integers or floats of any size), or an array on a device as it is.

    It is not copied where NumPy need not do so; a tensor of another library is not.

    axes: what the dimensions of an xarray DataArray, or of several in a list, may be, by their letters; see
    `check_dimensions`.

    Raises
    ------
    TypeError, DTypeError
        Of text, objects, complex numbers and dates, and of masked arrays, whose mask would be lost.
    DeviceError, LayoutError
        Of a tensor that lies where it cannot be read; of a DataArray whose dimensions have another order.
    """
    value = native(argument, value)
    if is_on_device(value):
        return value
    value = _parts_of(argument, value, axes)
    try:
        array = np.asarray(_of_table(value) if hasattr(value, "to_numpy") else value)
    except ValueError as error:  # NumPy's "inhomogeneous shape"
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{argument}: expected {EXPECTED}, got {type(value).__name__}: {error}") from None
        expected = "parts of one length (sequences of different lengths go into nr.Ragged.of)"
        raise TypeError(f"{argument}: expected {expected}, got a {type(value).__name__} of parts that differ") from None
    except (TypeError, RuntimeError, OverflowError) as error:  # an object that has __array__, but refuses
        raise TypeError(f"{argument}: expected {EXPECTED}, got {type(value).__name__}: {error}") from None
    if array.dtype == object and array.ndim == 2 and array.size and hasattr(value, "items"):
        # A DataFrame whose columns have no dtype of NumPy's in common, but perhaps numbers each.
        return np.stack([array_of(f"{argument}[{name!r}]", column) for name, column in value.items()], axis=1)
    if array.dtype.kind not in "biuf":
        if array.ndim == 0:
            raise TypeError(f"{argument}: expected {EXPECTED}, got {type(value).__name__}")
        what = "" if isinstance(value, np.ndarray) else f" from a {type(value).__name__}"
        raise DTypeError(f"{argument}: expected numbers, float32 or float64 or what becomes these, got {array.dtype}{what}")
    return array


def _parts_of(argument, value, axes):
    """`value`, of a list that holds tensors one of arrays; an error of what would be lost, also inside of lists.

    What would be lost is a mask, or names of dimensions that differ from the names of the axes.
    """
    check_unmasked(argument, value)
    if isinstance(value, (list, tuple)):
        kinds = set(map(type, value))
        if any(issubclass(kind, _LISTS) or hasattr(kind, "__dlpack__") or hasattr(kind, "dims") for kind in kinds):
            inner = [way[1:] for each in axes for way in (each, each.replace("n", ""))]
            return [_parts_of(argument, host_array(argument, part), inner) for part in value]
    check_dimensions(argument, value, axes)
    return value


def check_unmasked(argument, value):
    """Raise TypeError of a masked array, whose mask would be lost."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{argument}: expected {EXPECTED}, got a {type(value).__name__}, whose mask would be lost")


def column_names(part):
    """The names of a DataFrame's columns; None of anything else."""
    return list(part.columns) if hasattr(part, "to_numpy") and hasattr(part, "columns") else None


def common_names(argument, parts):
    """The names of the columns that the DataFrames among `parts` have; None if there are no DataFrames.

    Raises
    ------
    ShapeError
        If two of them have other columns, or the same ones in another order.
    """
    common = None
    for n, part in enumerate(parts):
        names = column_names(part)
        if names is not None and common is not None and names != common:
            raise ShapeError(f"{argument}[{n}]: expected the columns of the first, {common}, got {names}")
        common = names if common is None else common
    return common


def _of_table(table):
    """The numbers of a pandas or polars object, or of a DataArray: NaN where a column of numbers lacks one."""
    found = table.to_numpy()
    if found.dtype == object and getattr(getattr(table, "dtype", None), "kind", "O") in "biuf":  # pandas.NA among them
        return table.to_numpy(np.float64, na_value=np.nan)
    return found


def numbers_like(argument, value, dtype=None, *axes):
    """`value` as an array of a network's `dtype`: itself if it is one, else a converted copy.

    Numbers are rounded to the nearest that the dtype has, so float32 has whole numbers up to 16,777,216 exactly.

    Parameters
    ----------
    argument : str
        What errors call it.
    value : array, list, tensor, Series, DataFrame, ...
        See `array_of`.
    dtype : numpy.dtype, optional
        float32 or float64.  None leaves these as they are, and makes float64 of everything else.
    axes : str
        The dimensions of a DataArray, see `array_of`.

    Raises
    ------
    TypeError, DTypeError
        If there are no numbers.
    ValueError
        If one is too large for the dtype.
    """
    if dtype is not None and type(value) is np.ndarray and value.dtype == dtype and value.flags.aligned:
        return value
    array = array_of(argument, value, *axes)
    if dtype is None:
        native = array.dtype.newbyteorder("=")
        dtype = native if native in DTYPES else np.dtype(np.float64)
    if array.dtype == dtype:
        return array if is_on_device(array) or array.flags.aligned else array.copy()
    with np.errstate(all="ignore"):
        converted = array.astype(dtype)
    if array.dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize:
        lost = np.isfinite(array) & ~np.isfinite(converted)
        if lost.any():
            place = tuple(int(i) for i in np.argwhere(lost.get() if is_on_device(lost) else lost)[0])
            most = f"up to {np.finfo(dtype).max:.2g}"
            raise ValueError(f"{argument}: expected numbers that {dtype} holds, {most}, got {array[place]!s} at {place}")
    return converted


def integers_like(argument, value, *axes):
    """`value` as an array of integers of any size: itself if it is one; indices and labels out of lists and tables.

    Floats are refused, whole ones too.
    """
    if type(value) is np.ndarray and value.dtype.kind in "iu":
        return value
    array = array_of(argument, value, *axes)
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{argument}: expected integers, got {array.dtype}")
    return array
