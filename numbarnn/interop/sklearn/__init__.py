"""scikit-learn: classifiers, regressors and forecasters of sequences, which its pipelines and searches take as they are."""

from ...descriptions import keywords

try:
    import sklearn  # noqa: F401
except ImportError:
    raise ImportError("sklearn: expected scikit-learn, which is not installed: pip install numbarnn[sklearn]") from None

from .classifier import SequenceClassifier
from .forecaster import SequenceForecaster
from .regressor import SequenceRegressor

__all__ = ["SequenceClassifier", "SequenceForecaster", "SequenceRegressor"]

keywords.guard(globals(), __all__)
