"""sktime: its classifiers, regressors and forecasters out of numbarnn's estimators of scikit-learn."""

try:
    import sktime  # noqa: F401
except ImportError:
    raise ImportError("sktime: expected sktime, which is not installed: pip install numbarnn[sktime]") from None

import pandas as pd
from sktime.classification.base import BaseClassifier
from sktime.forecasting.base import BaseForecaster
from sktime.regression.base import BaseRegressor

from ..descriptions import keywords
from .sklearn import SequenceClassifier, SequenceForecaster, SequenceRegressor
from .sklearn.adapting import adapted, small

PANELS = {
    "X_inner_mtype": "df-list",  # of unequal lengths, (T, C) each
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:categorical_in_X": False,
    "python_dependencies": "numba",
}


class Classifier(BaseClassifier):
    """A `SequenceClassifier` as a classifier of sktime, for panels of equal and unequal lengths, of any channels.

    Parameters
    ----------
    estimator : SequenceClassifier, optional
        Cloned; one with its defaults if None.

    Attributes
    ----------
    estimator_ : SequenceClassifier

    Examples
    --------
    >>> from numbarnn.interop import sktime
    >>> from numbarnn.interop.sklearn import SequenceClassifier
    >>> from sktime.utils._testing.panel import make_classification_problem
    >>> X, y = make_classification_problem(n_instances=20, n_columns=2, random_state=0)
    >>> classifier = sktime.Classifier(SequenceClassifier(hidden=8, random_state=0)).fit(X, y)
    >>> classifier.predict_proba(X).shape
    (20, 2)
    """

    _tags = PANELS | {"capability:predict_proba": True}

    def __init__(self, estimator=None):
        self.estimator = estimator
        super().__init__()

    def _fit(self, X, y):
        self.estimator_ = adapted(self.estimator, SequenceClassifier, "ntc").fit(X, y)
        return self

    def _predict(self, X):
        return self.estimator_.predict(X)

    def _predict_proba(self, X):
        return self.estimator_.predict_proba(X)

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        """The arguments with which sktime's checks make estimators of this class."""
        return [{"estimator": small(SequenceClassifier)}, {"estimator": small(SequenceClassifier).set_params(cell="lstm")}]


class Regressor(BaseRegressor):
    """A `SequenceRegressor` as a regressor of sktime, for panels of equal and unequal lengths, of any channels.

    Parameters
    ----------
    estimator : SequenceRegressor, optional
        Cloned; one with its defaults if None.

    Attributes
    ----------
    estimator_ : SequenceRegressor

    Examples
    --------
    >>> from numbarnn.interop import sktime
    >>> from numbarnn.interop.sklearn import SequenceRegressor
    >>> from sktime.utils._testing.panel import make_regression_problem
    >>> X, y = make_regression_problem(n_instances=20, random_state=0)
    >>> sktime.Regressor(SequenceRegressor(hidden=8, random_state=0)).fit(X, y).predict(X).shape
    (20,)
    """

    _tags = PANELS

    def __init__(self, estimator=None):
        self.estimator = estimator
        super().__init__()

    def _fit(self, X, y):
        self.estimator_ = adapted(self.estimator, SequenceRegressor, "ntc").fit(X, y)
        return self

    def _predict(self, X):
        return self.estimator_.predict(X)

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        """The arguments with which sktime's checks make estimators of this class."""
        return [{"estimator": small(SequenceRegressor)}, {"estimator": small(SequenceRegressor).set_params(cell="lstm")}]


class Forecaster(BaseForecaster):
    """A `SequenceForecaster` as a forecaster of sktime, for a series of any channels; all channels are forecast together.

    Parameters
    ----------
    estimator : SequenceForecaster, optional
        Cloned; one with its defaults if None.  Its horizon is that which sktime asks for.

    Attributes
    ----------
    estimator_ : SequenceForecaster

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from numbarnn.interop import sktime
    >>> from numbarnn.interop.sklearn import SequenceForecaster
    >>> y = pd.Series(np.sin(np.arange(100) / 4))
    >>> forecaster = sktime.Forecaster(SequenceForecaster(window=16, hidden=16, random_state=0)).fit(y, fh=[1, 5])
    >>> forecaster.predict().index.tolist()
    [100, 104]
    >>> bool(abs(forecaster.predict() - np.sin(np.array([100, 104]) / 4)).max() < 0.2)
    True
    """

    _tags = {
        "y_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": False,
        "capability:insample": False,
        "capability:categorical_in_X": False,
        "requires-fh-in-fit": False,
        "python_dependencies": "numba",
    }

    def __init__(self, estimator=None):
        self.estimator = estimator
        super().__init__()

    def _fit(self, y, X, fh):
        self._past = y
        self.estimator_ = adapted(self.estimator, SequenceForecaster, "ntc").fit([y])
        return self

    def _predict(self, fh, X):
        steps = fh.to_relative(self.cutoff).to_numpy()
        ahead = self.estimator_.predict([self._past], horizon=int(steps.max()))[0]
        index = fh.to_absolute_index(self.cutoff)
        return pd.DataFrame(ahead[steps - 1], index=index, columns=self._past.columns)

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        """The arguments with which sktime's checks make estimators of this class."""
        return [{"estimator": small(SequenceForecaster)}, {"estimator": small(SequenceForecaster).set_params(window=3)}]


__all__ = ["Classifier", "Forecaster", "Regressor"]

keywords.guard(globals(), __all__)
