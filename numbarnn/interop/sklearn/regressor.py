"""SequenceRegressor."""

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_array, check_consistent_length

from ...arrays.conversion import numbers_like
from ...arrays.ragged import Ragged
from ...data.standardizer import Standardizer
from ...errors import ShapeError
from ...training.losses import BinaryCrossEntropy, CrossEntropy, GaussianNLL, PoissonNLL, Quantile, loss
from .estimator import SequenceEstimator, whole_or_not
from .reading import counting, weights_of

# Their outputs are logits, quantiles, means with deviations, or logarithms of rates: none is a prediction of y.
OF_OTHER_OUTPUTS = BinaryCrossEntropy, CrossEntropy, GaussianNLL, PoissonNLL, Quantile


class SequenceRegressor(RegressorMixin, SequenceEstimator):
    """A recurrent network that predicts one or several numbers of a sequence.

    X is what `SequenceClassifier` takes, and so are all parameters but `loss`.  The network ends with a `Dense` layer that
    gives the numbers, standardized like the channels of X.

    Parameters
    ----------
    loss : str or callable
        What is made small: "mse", "mae", "huber", or another loss that compares numbers with as many; of standardized
        numbers.  Losses of classes, of quantiles and of likelihoods are refused: their outputs are not predictions of y.
    cell, hidden, layers, bidirectional, readout, dropout, network
        The network; as in `SequenceClassifier`.
    optimizer, learning_rate, epochs, batch_size, clip
        The training; as in `SequenceClassifier`.
    standardize : bool
        Bring each channel of X, and of y, to mean 0 and standard deviation 1 inside.
    early_stopping, validation_fraction, n_iter_no_change, tol
        As in `SequenceClassifier`.
    layout, dtype, random_state, verbose
        As in `SequenceClassifier`.

    Attributes
    ----------
    network_ : Network
        Of standardized numbers.
    standardizer_, target_standardizer_ : Standardizer or None
        Of X and of y.
    channels_, history_, n_iter_, n_features_in_, feature_names_in_
        As of `SequenceClassifier`.

    Examples
    --------
    How often a wave goes up and down in a hundred steps, told from sequences of different lengths:

    >>> import numpy as np
    >>> from numbarnn.interop.sklearn import SequenceRegressor
    >>> random = np.random.default_rng(0)
    >>> y = random.uniform(2, 10, 120)
    >>> X = [np.sin(2 * np.pi * often / 100 * np.arange(random.integers(40, 80))) for often in y]
    >>> regressor = SequenceRegressor(hidden=16, random_state=0).fit(X[:80], y[:80])
    >>> regressor.score(X[80:], y[80:]) > 0.9  # R^2
    True
    """

    def __init__(
        self,
        loss="mse",
        cell: str = "gru",
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = True,
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
        self.loss = loss
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @whole_or_not
    def fit(self, X: list | np.ndarray | Ragged, y: np.ndarray, sample_weight: np.ndarray | None = None):
        """Train a new network on sequences and their numbers; returns the regressor.

        Parameters
        ----------
        X : list, array, DataFrame or Ragged
        y : array
            (N,), or (N, K) for several numbers of each sequence.
        sample_weight : array, optional
            (N,): numbers >= 0, 1 for each if None.  Samples of weight 0 are left out.

        Raises
        ------
        ValueError, TypeError
            If X, y, weights or a parameter are not as described, or a number is not finite.
        """
        loss_of_numbers = self._loss()
        x, y, weights = self._samples(X, y, sample_weight, reset=True)
        random = self._begin_with(x, y, weights)
        split = self._drawn(len(y), random)
        return self._fit(self._standardized(x), self._scaled(y), weights, loss_of_numbers, random, split)

    @whole_or_not
    def partial_fit(self, X: list | np.ndarray | Ragged, y: np.ndarray, sample_weight: np.ndarray | None = None):
        """Train for one epoch on some samples, by a constant learning rate; returns the regressor.

        The first call makes the network, and what it is standardized by; later calls keep both.  After `fit` the network is
        trained further.

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
        loss_of_numbers, first = self._loss(), not hasattr(self, "network_")
        x, y, weights = self._samples(X, y, sample_weight, reset=first)
        random = self._begin_with(x, y, weights) if first else None
        found = 1 if y.ndim == 1 else y.shape[1]
        if found != self.network_.output_channels:
            raise ShapeError(
                f"y: expected {self.network_.output_channels} numbers a sample like the first call, got {found}"
            )
        return self._fit_on(self._standardized(x), self._scaled(y), weights, loss_of_numbers, random)

    def predict(self, X: list | np.ndarray | Ragged) -> np.ndarray:
        """(N,), or (N, K) after several numbers of each sequence, float64.

        Parameters
        ----------
        X : list, array, DataFrame or Ragged
        """
        x = self._to_predict(X).x
        found = self.network_.predict(self._standardized(x)).astype(np.float64)
        found = found if self.target_standardizer_ is None else self.target_standardizer_.inverse(found)
        return found[:, 0] if self._one else found

    def _samples(self, X, y, sample_weight, reset):
        """(sequences, numbers, weights) of the samples that count."""
        x = self._read(X, reset).x
        y = check_array(self._targets(y), ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="y")
        if y.ndim not in (1, 2):
            raise ShapeError(f"y: expected shape (N,) or (N, K), got {y.shape}")
        check_consistent_length(range(len(x)), y)
        weights, x, y = counting(weights_of(sample_weight, len(x)), x, y)
        return x, y, weights

    def _begin_with(self, x, y, weights):
        """`_begin`, and what the numbers are standardized by."""
        self._one = y.ndim == 1
        random = self._begin(x, weights, 1 if self._one else y.shape[1])
        self.target_standardizer_ = None if self.standardizer_ is None else Standardizer.of(y, weights=weights)
        return random

    def _scaled(self, y):
        """What the network is to give, (N, K) of its dtype."""
        y = y[:, None] if y.ndim == 1 else y
        y = y if self.target_standardizer_ is None else self.target_standardizer_(y)
        return numbers_like("y", y, self.network_.dtype)

    def _loss(self):
        """The loss, unless the outputs that it takes are something else than the numbers to predict."""
        found = loss(self.loss)
        if isinstance(found, OF_OTHER_OUTPUTS):
            raise ValueError(f"loss: expected one that compares numbers with as many, such as 'mse', got {self.loss!r}")
        return found
