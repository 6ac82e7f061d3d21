"""aeon: its classifiers, regressors and forecasters out of numbarnn's estimators of scikit-learn."""

try:
    import aeon  # noqa: F401
except ImportError:
    raise ImportError("aeon: expected aeon, which is not installed: pip install numbarnn[aeon]") from None

from aeon.classification.base import BaseClassifier
from aeon.forecasting.base import BaseForecaster, IterativeForecastingMixin
from aeon.regression.base import BaseRegressor

from ..descriptions import keywords
from .sklearn import SequenceClassifier, SequenceForecaster, SequenceRegressor
from .sklearn.adapting import adapted, small

COLLECTIONS = {
    "X_inner_type": ["np-list", "numpy3D"],
    "capability:multivariate": True,
    "capability:unequal_length": True,
}


class Classifier(BaseClassifier):
    """A `SequenceClassifier` as a classifier of aeon, for series of equal and unequal lengths, of any channels.

    Parameters
    ----------
    estimator : SequenceClassifier, optional
        Cloned, with the layout of aeon's collections; one with its defaults if None.

    Attributes
    ----------
    estimator_ : SequenceClassifier

    Examples
    --------
    >>> from numbarnn.interop import aeon
    >>> from numbarnn.interop.sklearn import SequenceClassifier
    >>> from aeon.testing.data_generation import make_example_3d_numpy_list
    >>> X, y = make_example_3d_numpy_list(n_cases=20, n_channels=2, random_state=0)
    >>> classifier = aeon.Classifier(SequenceClassifier(hidden=8, random_state=0)).fit(X, y)
    >>> classifier.predict_proba(X).shape
    (20, 2)
    """

    _tags = COLLECTIONS

    def __init__(self, estimator=None):
        self.estimator = estimator
        super().__init__()

    def _fit(self, X, y):
        self.estimator_ = adapted(self.estimator, SequenceClassifier, "nct").fit(X, y)
        return self

    def _predict(self, X):
        return self.estimator_.predict(X)

    def _predict_proba(self, X):
        return self.estimator_.predict_proba(X)

    @classmethod
    def _get_test_params(cls, parameter_set="default"):
        """The arguments with which aeon's checks make an estimator of this class."""
        return {"estimator": small(SequenceClassifier)}


class Regressor(BaseRegressor):
    """A `SequenceRegressor` as a regressor of aeon, for series of equal and unequal lengths, of any channels.

    Parameters
    ----------
    estimator : SequenceRegressor, optional
        Cloned, with the layout of aeon's collections; one with its defaults if None.

    Attributes
    ----------
    estimator_ : SequenceRegressor

    Examples
    --------
    >>> from numbarnn.interop import aeon
    >>> from numbarnn.interop.sklearn import SequenceRegressor
    >>> from aeon.testing.data_generation import make_example_3d_numpy_list
    >>> X, y = make_example_3d_numpy_list(n_cases=20, regression_target=True, random_state=0)
    >>> aeon.Regressor(SequenceRegressor(hidden=8, random_state=0)).fit(X, y).predict(X).shape
    (20,)
    """

    _tags = COLLECTIONS

    def __init__(self, estimator=None):
        self.estimator = estimator
        super().__init__()

    def _fit(self, X, y):
        self.estimator_ = adapted(self.estimator, SequenceRegressor, "nct").fit(X, y)
        return self

    def _predict(self, X):
        return self.estimator_.predict(X)

    @classmethod
    def _get_test_params(cls, parameter_set="default"):
        """The arguments with which aeon's checks make an estimator of this class."""
        return {"estimator": small(SequenceRegressor)}


class Forecaster(BaseForecaster, IterativeForecastingMixin):
    """A `SequenceForecaster` as a forecaster of aeon, for one series of one channel.

    Parameters
    ----------
    estimator : SequenceForecaster, optional
        Cloned, with this `horizon`; one with its defaults if None.
    horizon : int
        ``predict`` gives the value so many steps after the end of a series.

    Attributes
    ----------
    estimator_ : SequenceForecaster

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn.interop import aeon
    >>> from numbarnn.interop.sklearn import SequenceForecaster
    >>> y = np.sin(np.arange(100) / 4)
    >>> forecaster = aeon.Forecaster(SequenceForecaster(window=16, hidden=16, random_state=0), horizon=5).fit(y)
    >>> bool(abs(forecaster.predict(y) - np.sin(104 / 4)) < 0.2)
    True
    """

    _tags = {"y_inner_type": "np.ndarray"}

    def __init__(self, estimator=None, horizon=1):
        self.estimator = estimator
        super().__init__(horizon=horizon, axis=1)

    def _fit(self, y, exog):
        self.estimator_ = adapted(self.estimator, SequenceForecaster, "nct", horizon=self.horizon).fit(y[None])
        return self

    def _predict(self, y, exog):
        return float(self.estimator_.predict(y[None])[0, 0, -1])

    @classmethod
    def _get_test_params(cls, parameter_set="default"):
        """The arguments with which aeon's checks make an estimator of this class."""
        return {"estimator": small(SequenceForecaster)}


__all__ = ["Classifier", "Forecaster", "Regressor"]

keywords.guard(globals(), __all__)
