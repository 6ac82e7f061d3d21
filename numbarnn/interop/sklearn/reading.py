"""What scikit-learn's users hold, tables, lists and 3-D arrays, as a Ragged."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from ...arrays.conversion import check_unmasked, common_names, numbers_like
from ...arrays.descriptor import axes_of
from ...arrays.dimensions import check_dimensions
from ...arrays.ragged import Ragged
from ...errors import ShapeError

DTYPES = (np.float64, np.float32)  # others become the first


@dataclass(frozen=True)
class Sequences:
    """Sequences, and whether they were given without an axis of channels.

    x : Ragged
        Of float32 or float64, all finite.
    flat : bool
        Of a table, and of a list of 1-D arrays.
    names : list or None
        What the columns of the DataFrames in a list are called, if these are channels.
    """

    x: Ragged
    flat: bool
    names: list | None = None


def sequences_of(estimator, X, reset, least=1):
    """The `Sequences` that X is, an error unless they have the channels of the training.

    Parameters
    ----------
    estimator : BaseEstimator
        Its attributes about X are set, or with ``reset=False`` compared.
    X : array, DataFrame, list or Ragged
    reset : bool
        Whether this is the X of a training that begins.
    least : int
        Steps of a table, at least.
    """
    letters = axes_of(estimator.layout, 3)
    if not isinstance(X, (Ragged, list, tuple)) and not hasattr(X, "ndim"):
        X = np.asarray(X)
    if isinstance(X, Ragged):
        found = Sequences(_of_ragged(X), False)
    elif _is_list(X):
        found = _of_list(X, letters.replace("n", ""))
    elif getattr(X, "ndim", None) == 3:
        found = Sequences(_of_array(X, letters), False)
    else:
        check_unmasked("X", X)
        check_dimensions("X", X, ["nt"])
        table = validate_data(estimator, X, reset=reset, dtype=DTYPES, ensure_min_features=least if reset else 0)
        return _checked(estimator, Sequences(_uniform(table[..., None]), True), reset)
    assert_all_finite(found.x.data, input_name="X")
    if reset:
        for name in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(name, None)
    return _checked(estimator, found, reset)


def _checked(estimator, found, reset):
    """`found`, unless it has other channels than the training, or these in another order."""
    if not len(found.x):
        raise ShapeError("X: expected at least one sequence, got none")
    if reset:
        estimator.channels_ = found.x.channels
        vars(estimator).pop("channel_names_in_", None)
        if found.names is not None:
            estimator.channel_names_in_ = np.fromiter(found.names, object, len(found.names))
    elif found.x.channels != estimator.channels_:
        raise ShapeError(f"X: expected {estimator.channels_} channels like the training, got {found.x.channels}")
    elif found.names is not None and found.names != list(getattr(estimator, "channel_names_in_", found.names)):
        trained = estimator.channel_names_in_.tolist()
        raise ShapeError(f"X: expected the columns of the training, {trained}, got {found.names}")
    return found


def _is_list(X):
    """Whether X are sequences one by one, in a list or an array of objects; lists of equally many numbers are a table."""
    if isinstance(X, (list, tuple)):
        numbers = all(isinstance(part, (list, tuple)) and all(np.ndim(value) == 0 for value in part) for part in X)
        return not (X and numbers and len(set(map(len, X))) == 1)
    return X.ndim == 1 and getattr(X, "dtype", None) == np.dtype(object) and all(np.ndim(part) for part in X)


def _of_list(X, letters):
    """The Sequences of a list, (T,) or two axes in the order of the `letters` each."""
    arrays, axes = [], set()
    for n, part in enumerate(X):
        array = numbers_like(f"X[{n}]", part, None, letters, "t")
        axes.add(array.ndim)
        if array.ndim not in (1, 2):
            kinds = f"(T,) or ({', '.join(letters.upper())})"
            raise ShapeError(f"X[{n}]: expected a sequence of shape {kinds}, got shape {array.shape}")
        if len(axes) > 1:
            raise ShapeError(f"X[{n}]: expected {arrays[0].ndim} axes like the first sequence, got shape {array.shape}")
        arrays.append(array)
    if not arrays:
        raise ShapeError("X: expected at least one sequence, got none")
    flat = axes == {1}
    arrays = [array[:, None] if flat else array if letters == "tc" else array.T for array in arrays]
    channels = arrays[0].shape[1]
    for n, array in enumerate(arrays):
        if array.shape[1] != channels or not channels:
            expected = f"{channels or 'at least one'} channel{'s' * (channels > 1)}{' like the first' * bool(n)}"
            raise ShapeError(f"X[{n}]: expected {expected}, got {array.shape[1]} (axes {letters} of layout)")
    names = common_names("X", X) if letters == "tc" else None
    dtype = np.result_type(*{array.dtype for array in arrays})
    return Sequences(Ragged.of([np.asarray(array, dtype) for array in arrays]), flat, names)


def _of_ragged(X):
    """A Ragged in the host's memory; integers become numbers of one channel."""
    X = X.to("cpu")
    return X if X.data.ndim == 2 else Ragged(numbers_like("X", X.data)[:, None], X.offsets)


def _of_array(X, letters):
    """The Ragged of a 3-D array whose axes have these letters."""
    array = numbers_like("X", X, None, letters)
    return _uniform(array.transpose([letters.index(letter) for letter in "ntc"]))


def _uniform(array):
    """The Ragged of an array (N, T, C)."""
    count, steps, channels = array.shape
    if not channels:
        raise ShapeError(f"X: expected at least one channel, got none in an array of {count} sequences of {steps} steps")
    return Ragged(np.ascontiguousarray(array).reshape(-1, channels), np.arange(count + 1) * steps)


def weights_of(sample_weight, count):
    """(count,) numbers >= 0 of which one is greater, or None for 1 each."""
    if sample_weight is None:
        return None
    check_unmasked("sample_weight", sample_weight)
    weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (count,):
        raise ShapeError(f"sample_weight: expected shape ({count},), one for each sample, got {weights.shape}")
    if weights.min() < 0:
        raise ValueError(f"sample_weight: expected numbers >= 0, got {weights.min():g}")
    if not weights.any():
        raise ValueError("sample_weight: expected at least one weight that is not zero")
    return weights


def counting(weights, *samples):
    """`weights` and samples without those that weigh nothing."""
    if weights is None or weights.all():
        return weights, *samples
    there = np.flatnonzero(weights)
    return weights[there], *(each[there] for each in samples)
