"""SequenceClassifier."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from ...arrays.ragged import Ragged
from .estimator import SequenceEstimator, whole_or_not
from .reading import counting, weights_of

LOSS = "cross_entropy"


class SequenceClassifier(ClassifierMixin, SequenceEstimator):
    """A recurrent network that says of which class a sequence is.

    N samples, T steps, C channels.  What is called X is a list of arrays (T_n, C), or (T_n,) of one channel; a `Ragged`; an
    array (N, T, C), whose order of axes is `layout`; or a table (N, T), sequences of one channel.

    The network: recurrent layers of a `cell`, the `readout`, `Dropout`, and a `Dense` layer with an output for each class,
    trained by Adam on the cross entropy.

    Parameters
    ----------
    cell : {"gru", "lstm", "rnn"}
    hidden : int
        Hidden units H of each recurrent layer, and direction.
    layers : int
        Recurrent layers one above the other.
    bidirectional : bool
        Read each sequence from its end as well.
    readout : {"last", "mean", "max"}
        What becomes of the outputs of all steps: the last one, in each direction, or their mean or largest value; see
        `Last` and `Pool`.
    dropout : float
        Rate of the dropout between recurrent layers, and before the last `Dense`.
    network : sequence of Layer, optional
        Layers of one's own in the place of all these, `Last` or `Pool` among them.  The `Dense` layer that gives the outputs
        is added.
    optimizer : str or Optimizer
        A name, such as "adam" or "adamw"; or an optimizer, with a rate of its own in the place of `learning_rate`.
    learning_rate : float or schedule
        A number is where `fit` begins, which goes down to 0 along half a cosine, and what `partial_fit` keeps.
    epochs : int
        Of `fit`.
    batch_size : int
        Samples of one update.
    clip : float, optional
        Largest norm of the gradient.
    standardize : bool
        Bring each channel to mean 0 and standard deviation 1 by the sequences of the training, see `Standardizer`.
    class_weight : dict or "balanced", optional
        What the samples of each class count, by which `sample_weight` is multiplied; "balanced" makes classes count alike.
    early_stopping : bool
        Hold a part of the samples out, and end the training when their loss has not become less for some epochs; the
        parameters of the best epoch are kept.
    validation_fraction : float
        The part that is held out, of each class alike.
    n_iter_no_change : int
        Epochs without a smaller loss that end the training.
    tol : float
        A loss is smaller if it is so by more than this.
    layout : str
        The letters n, t, c in the order of the axes of a 3-D X; of the arrays in a list without n.  aeon's is "nct".
        scikit-learn takes samples along the first axis.
    dtype : {"float32", "float64"}
        Of the network.
    random_state : int, RandomState or None
        For initial parameters, the order of samples, dropout, and what is held out.
    verbose : bool or int
        Show a bar.

    Attributes
    ----------
    classes_ : numpy.ndarray
        (K,), sorted.
    network_ : Network
        It reads standardized sequences.
    standardizer_ : Standardizer or None
    channels_ : int
        C.
    history_ : History
    n_iter_ : int
        Epochs of the training.
    n_features_in_ : int
        Steps T, after a table; other tables must have as many.
    feature_names_in_ : numpy.ndarray
        Names of a table's columns, if all are text.
    channel_names_in_ : numpy.ndarray
        Names of the columns, after a list of DataFrames whose columns are channels; other DataFrames must have the same.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn.interop.sklearn import SequenceClassifier
    >>> random = np.random.default_rng(0)
    >>> lengths = random.integers(10, 30, 60)
    >>> X = [np.sin(np.arange(length) * (0.5 if n % 2 else 0.8) + n) for n, length in enumerate(lengths)]
    >>> y = np.where(np.arange(60) % 2, "slow", "fast")
    >>> classifier = SequenceClassifier(hidden=16, random_state=0).fit(X[:40], y[:40])
    >>> classifier.score(X[40:], y[40:]) > 0.9
    True
    >>> classifier.predict_proba(X[40:]).shape, classifier.classes_.tolist()
    ((20, 2), ['fast', 'slow'])
    """

    def __init__(
        self,
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
        class_weight=None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.0,
        layout: str = "ntc",
        dtype: str = "float32",
        random_state=None,
        verbose: bool | int = False,
    ):
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
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.layout = layout
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    @whole_or_not
    def fit(self, X: list | np.ndarray | Ragged, y: np.ndarray, sample_weight: np.ndarray | None = None):
        """Train a new network on sequences and their classes; returns the classifier.

        Parameters
        ----------
        X : list, array, DataFrame or Ragged
        y : array
            (N,): classes, of any kind that can be sorted.
        sample_weight : array, optional
            (N,): numbers >= 0, 1 for each if None.  Samples of weight 0 are left out.

        Raises
        ------
        ValueError, TypeError
            If X, y, weights or a parameter are not as described, or a number is not finite.
        """
        x, y, weights = self._samples(X, y, sample_weight, reset=True)
        self.classes_ = np.unique(y)
        weights, x, y = counting(weights, x, y)
        random = self._begin(x, weights, len(self.classes_))
        codes = np.searchsorted(self.classes_, y)
        split = self._drawn(len(codes), random, codes)
        return self._fit(self._standardized(x), codes, self._weighted(y, weights), LOSS, random, split)

    @whole_or_not
    def partial_fit(
        self,
        X: list | np.ndarray | Ragged,
        y: np.ndarray,
        classes: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
    ):
        """Train for one epoch on some samples, by a constant learning rate; returns the classifier.

        The first call makes the network, and what it is standardized by; later calls keep both.  After `fit` the network is
        trained further.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array, optional
            All classes that there will be; needed by the first call.

        Raises
        ------
        ValueError, TypeError
            As `fit`; also for ``class_weight="balanced"``, which takes all samples, and for ``early_stopping=True``.
        """
        self._check_partial()
        if self.class_weight == "balanced":
            raise ValueError(
                'class_weight: expected None or a dict in partial_fit, which sees a part of all samples, got "balanced"'
            )
        first = not hasattr(self, "network_")
        x, y, weights = self._samples(X, y, sample_weight, reset=first)
        if first:
            if classes is None:
                raise ValueError("classes: expected all classes there will be in the first call of partial_fit, got None")
            classes = column_or_1d(classes)
            assert_all_finite(classes, input_name="classes")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes: expected the classes of the first call, {self.classes_}, got {np.unique(classes)}")
        if len(unknown := np.setdiff1d(y, self.classes_)):
            raise ValueError(f"y: expected classes that the first call was told of, {self.classes_}, got also {unknown}")
        weights, x, y = counting(weights, x, y)
        random = self._begin(x, weights, len(self.classes_)) if first else None
        codes = np.searchsorted(self.classes_, y)
        return self._fit_on(self._standardized(x), codes, self._weighted(y, weights), LOSS, random)

    def predict(self, X: list | np.ndarray | Ragged) -> np.ndarray:
        """(N,): the class of each sequence that has the largest probability.

        Parameters
        ----------
        X : list, array, DataFrame or Ragged
        """
        places = self.predict_proba(X).argmax(axis=1)
        return self.classes_[places]

    def predict_proba(self, X: list | np.ndarray | Ragged) -> np.ndarray:
        """(N, K), float64: the probabilities of all classes, in the order of `classes_`.

        Parameters
        ----------
        X : list, array, DataFrame or Ragged
        """
        x = self._to_predict(X).x
        if len(self.classes_) == 1:
            return np.ones((len(x), 1))
        found = self.network_.probabilities(self._standardized(x)).astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def _samples(self, X, y, sample_weight, reset):
        """(sequences, classes, weights) of the samples that count."""
        x = self._read(X, reset).x
        y = column_or_1d(self._targets(y), warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        check_consistent_length(range(len(x)), y)
        return x, y, weights_of(sample_weight, len(x))

    def _weighted(self, y, weights):
        """The weights of samples times the weights of their classes, or None for 1 each."""
        if self.class_weight is None:
            return weights
        of_classes = compute_sample_weight(self.class_weight, y)
        wrong = ~((of_classes >= 0) & np.isfinite(of_classes))
        if wrong.any():
            raise ValueError(f"class_weight: expected finite numbers >= 0, got {of_classes[wrong][0]:g}")
        if not of_classes.any():
            raise ValueError("class_weight: expected a weight that is not zero for at least one of the classes in y")
        return of_classes if weights is None else weights * of_classes
