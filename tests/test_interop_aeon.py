"""aeon's classes: its own checks, and what they give against the estimators inside; skipped where aeon is missing."""

import numpy as np
import pytest

aeon = pytest.importorskip("aeon")

from aeon.testing.estimator_checking import check_estimator  # noqa: E402

from numbarnn.interop.aeon import Classifier, Forecaster, Regressor  # noqa: E402
from numbarnn.interop.sklearn import SequenceClassifier, SequenceForecaster, SequenceRegressor  # noqa: E402

SMALL = {"hidden": 4, "epochs": 3, "random_state": 0}


@pytest.mark.parametrize("kind", [Classifier, Regressor, Forecaster])
def test_checks_of_aeon(kind):
    found = check_estimator(kind)
    assert len(found) > 10 and {name: result for name, result in found.items() if result != "PASSED"} == {}


def series(equal):
    """(list of (C, T_n) arrays, classes, numbers)."""
    random = np.random.default_rng(0)
    lengths = [9] * 12 if equal else random.integers(5, 12, 12)
    return [random.standard_normal((2, length)) for length in lengths], np.arange(12) % 3, random.standard_normal(12)


@pytest.mark.parametrize("equal", [False, True])
def test_a_collection_is_read_with_channels_before_steps(equal):
    X, labels, numbers = series(equal)
    given = np.stack(X) if equal else X
    turned = [x.T for x in X]
    classifier, inside = Classifier(SequenceClassifier(**SMALL)).fit(given, labels), SequenceClassifier(**SMALL)
    assert np.array_equal(classifier.predict_proba(given), inside.fit(turned, labels).predict_proba(turned))
    assert np.array_equal(classifier.predict(given), inside.predict(turned))
    regressor = Regressor(SequenceRegressor(**SMALL)).fit(given, numbers)
    assert np.array_equal(regressor.predict(given), SequenceRegressor(**SMALL).fit(turned, numbers).predict(turned))


def test_a_forecast_is_the_value_at_the_horizon():
    y = np.sin(np.arange(40.0))
    forecaster = Forecaster(SequenceForecaster(**SMALL, window=6), horizon=4).fit(y)
    inside = SequenceForecaster(**SMALL, window=6).fit([y])
    assert forecaster.predict(y) == inside.predict([y], horizon=4)[0, 3]
    ahead = Forecaster(SequenceForecaster(**SMALL, window=6)).iterative_forecast(y, prediction_horizon=3)
    np.testing.assert_allclose(ahead, inside.predict([y], horizon=3)[0], rtol=1e-6)


def test_another_estimator_is_refused():
    X, labels, _ = series(True)
    with pytest.raises(TypeError, match="estimator: expected a SequenceClassifier or None, got SequenceRegressor"):
        Classifier(SequenceRegressor()).fit(X, labels)
