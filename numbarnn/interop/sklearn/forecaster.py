"""SequenceForecaster."""

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils import check_array

from ...arrays.conversion import check_unmasked
from ...arrays.descriptor import axes_of
from ...arrays.ragged import Ragged
from ...data.series import windows
from ...errors import ShapeError, positive_integer, renamed
from ...extrapolation import extrapolate
from .estimator import SequenceEstimator, whole_or_not
from .reading import counting, weights_of

LARGEST = 32  # steps of a window that nobody has chosen


class SequenceForecaster(SequenceEstimator):
    """A recurrent network that says how series go on.

    X are series: what `SequenceClassifier` takes, a list of arrays (T_n, C) or (T_n,), a `Ragged`, an array (N, T, C), or a
    table (N, T) of N series of one channel; ``[series]`` is one.  The network learns the step that follows each window of
    all series; y is not read.  Forecasts of several steps are made one by one, each from those before, see `extrapolate`.

    Parameters
    ----------
    horizon : int
        Steps of a forecast.
    window : int, optional
        Steps that a forecast is made from.  None: 32, or where series are shorter, as many as leave a horizon of the
        shortest one to `score`.
    cell, hidden, layers, bidirectional, readout, dropout, network
        The network; as in `SequenceClassifier`, but in one direction.
    optimizer, learning_rate, epochs, batch_size, clip, standardize
        The training; as in `SequenceClassifier`.
    early_stopping, validation_fraction, n_iter_no_change, tol
        As in `SequenceClassifier`; the last windows of each series are held out.
    layout, dtype, random_state, verbose
        As in `SequenceClassifier`; forecasts have the layout of 3-D arrays.

    Attributes
    ----------
    window_ : int
        Steps that a forecast is made from.
    network_, standardizer_, channels_, history_, n_iter_, n_features_in_, feature_names_in_
        As of `SequenceClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn.interop.sklearn import SequenceForecaster
    >>> X = [np.sin(np.arange(length) / 4 + length) for length in (60, 75, 90)]
    >>> forecaster = SequenceForecaster(horizon=10, window=16, hidden=16, random_state=0).fit(X)
    >>> forecaster.predict(X).shape
    (3, 10)
    >>> forecaster.score(X) > 0.9  # R^2 of the last ten steps of each series, from those before
    True
    """

    def __init__(
        self,
        horizon: int = 1,
        window: int | None = None,
        cell: str = "gru",
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = False,
        readout: str = "last",
        dropout: float = 0.0,
        network=None,
        optimizer="adam",
        learning_rate=0.005,
        epochs: int = 50,
        batch_size: int = 32,
        clip: float | None = None,
        standardize: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.0,
        layout: str = "ntc",
        dtype: str = "float32",
        random_state=None,
        verbose: bool | int = False,
    ):
        self.horizon = horizon
        self.window = window
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.readout = readout
        self.dropout = dropout
        self.network = network
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.clip = clip
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.layout = layout
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    @whole_or_not
    def fit(self, X: list | np.ndarray | Ragged, y=None, sample_weight: np.ndarray | None = None):
        """Train a new network on series; returns the forecaster.

        Parameters
        ----------
        X : list, array, DataFrame or Ragged
        y : None
            Not read.
        sample_weight : array, optional
            (N,): what each series counts, numbers >= 0.  Series of weight 0 are left out.

        Raises
        ------
        ValueError, TypeError
            If X, weights or a parameter are not as described, a number is not finite, or no series is longer than a window.
        """
        x, weights = self._samples(X, sample_weight, reset=True)
        random = self._begin_with(x, weights)
        past, following, counts = self._windows(x)
        weights = None if weights is None else np.repeat(weights, counts)
        return self._fit(past, following, weights, "mse", random, lambda part: _last(counts, part))

    @whole_or_not
    def partial_fit(self, X: list | np.ndarray | Ragged, y=None, sample_weight: np.ndarray | None = None):
        """Train for one epoch on some series, by a constant learning rate; returns the forecaster.

        The first call makes the network, its window, and what it is standardized by; later calls keep them.  After `fit` the
        network is trained further.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Raises
        ------
        ValueError, TypeError
            As `fit`; also for ``early_stopping=True``.
        """
        self._check_partial()
        first = not hasattr(self, "network_")
        x, weights = self._samples(X, sample_weight, reset=first)
        random = self._begin_with(x, weights) if first else None
        past, following, counts = self._windows(x)
        weights = None if weights is None else np.repeat(weights, counts)
        return self._fit_on(past, following, weights, "mse", random)

    def predict(self, X: list | np.ndarray | Ragged, horizon: int | None = None) -> np.ndarray:
        """What follows each series, float64: (N, horizon, C) in the layout, or (N, horizon) of series without channels.

        Parameters
        ----------
        X : list, array, DataFrame or Ragged
            Series of at least `window_` steps.
        horizon : int, optional
            How many steps; the forecaster's if None.
        """
        found = self._to_predict(X)
        horizon = positive_integer("horizon", self.horizon if horizon is None else horizon)
        ahead = self._forecast(found.x, horizon)
        if found.flat:
            return ahead[..., 0]
        return ahead.transpose(["ntc".index(letter) for letter in axes_of(self.layout, 3)])

    def score(self, X: list | np.ndarray | Ragged, y: np.ndarray | None = None, sample_weight=None) -> float:
        """R^2 of the forecasts, over all their steps, and the mean over channels.

        Parameters
        ----------
        X : list, array, DataFrame or Ragged
        y : array, optional
            What really follows X, shaped like ``predict(X)``.  None: the last steps of X are forecast from those before.
        sample_weight : array, optional
            (N,): what each series counts.
        """
        found = self._to_predict(X)
        x, horizon = found.x, positive_integer("horizon", self.horizon)
        weights = weights_of(sample_weight, len(x))
        if y is None:
            ends = x.offsets[1:]
            self._check_long(x, self.window_ + horizon, f"a window of {self.window_} and a horizon of {horizon}")
            truth = x.data[(ends - horizon)[:, None] + np.arange(horizon)]
            past = Ragged.of([series[: len(series) - horizon] for series in x])
        else:
            truth, past = self._given(y, found.flat, len(x), horizon), x
        ahead = self._forecast(past, horizon)
        weights = None if weights is None else np.repeat(weights, horizon)
        rows = (each.reshape(-1, x.channels) for each in (truth, ahead))
        return float(r2_score(*rows, sample_weight=weights))

    def _samples(self, X, sample_weight, reset):
        """(series, weights) of those that count."""
        x = self._read(X, reset, least=2).x
        weights, x = counting(weights_of(sample_weight, len(x)), x)
        return x, weights

    def _begin_with(self, x, weights):
        """`_begin`, and how many steps a forecast is made from."""
        if self.window is None:
            shortest = int(x.lengths.min())
            window = max(1, min(LARGEST, shortest - positive_integer("horizon", self.horizon)))
        else:
            window = positive_integer("window", self.window)
        random = self._begin(x, weights, x.channels)
        self.window_ = window
        return random

    def _windows(self, x):
        """(windows (N, T, C), the step after each, how many there are of each series)."""
        with renamed(series="X"):
            past, following = windows(self._standardized(x), self.window_, layout="ntc")
        return past, following, np.maximum(x.lengths - self.window_, 0)

    def _given(self, y, flat, count, horizon):
        """What really follows, (N, horizon, C)."""
        check_unmasked("y", y)
        y = check_array(y, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="y")
        letters = axes_of(self.layout, 3)
        if y.ndim == 3:
            y = y.transpose([letters.index(letter) for letter in "ntc"])
        elif self.channels_ == 1:
            y = y.reshape(len(y), -1, 1)
        if y.shape != (count, horizon, self.channels_):
            raise ShapeError(f"y: expected {horizon} steps of {count} series and {self.channels_} channels, got {y.shape}")
        return y

    def _check_long(self, x, least, of):
        """Raise ShapeError unless each series has at least `least` steps."""
        if (x.lengths < least).any():
            n = int(np.argmax(x.lengths < least))
            raise ShapeError(f"X: expected series of at least {least} steps, {of}, got {x.lengths[n]} in series {n}")

    def _forecast(self, x, horizon):
        """(N, horizon, C) in the units of X, float64."""
        self._check_long(x, self.window_, "the window")
        z = self._standardized(x)
        start = z.data[(z.offsets[1:] - self.window_)[:, None] + np.arange(self.window_)]
        ahead = extrapolate(self.network_, start, horizon).astype(np.float64)
        return ahead if self.standardizer_ is None else self.standardizer_.inverse(ahead, layout="ntc")


def _last(counts, part):
    """(windows that are kept, those held out): the last part of each series."""
    place = np.concatenate([np.arange(count) for count in counts])
    out = place >= np.repeat(np.ceil((1 - part) * counts), counts)
    if not out.any() or out.all():
        raise ValueError("validation_fraction: expected a part that leaves windows to train on and windows to hold out")
    return np.flatnonzero(~out), np.flatnonzero(out)
