"""sktime's classes: its own checks, and what they give against the estimators inside; skipped where it is missing."""

import numpy as np
import pytest

sktime = pytest.importorskip("sktime")

import pandas as pd  # noqa: E402
from sktime.utils.estimator_checks import check_estimator  # noqa: E402

from numbarnn.interop.sklearn import SequenceClassifier, SequenceForecaster, SequenceRegressor  # noqa: E402
from numbarnn.interop.sktime import Classifier, Forecaster, Regressor  # noqa: E402

SMALL = {"hidden": 4, "epochs": 3, "random_state": 0}


@pytest.mark.parametrize("kind", [Classifier, Regressor, Forecaster])
def test_checks_of_sktime(kind):
    found = check_estimator(kind, verbose=False)
    assert len(found) > 100 and {name: result for name, result in found.items() if result != "PASSED"} == {}


def test_a_panel_is_a_list_of_tables():
    random = np.random.default_rng(0)
    X = [pd.DataFrame(random.standard_normal((length, 2))) for length in random.integers(5, 12, 12)]
    labels, numbers = np.arange(12) % 3, random.standard_normal(12)
    classifier, inside = Classifier(SequenceClassifier(**SMALL)).fit(X, labels), SequenceClassifier(**SMALL)
    assert np.array_equal(classifier.predict_proba(X), inside.fit(X, labels).predict_proba(X))
    assert np.array_equal(classifier.predict(X), inside.predict(X))
    regressor = Regressor(SequenceRegressor(**SMALL)).fit(X, numbers)
    assert np.array_equal(regressor.predict(X), SequenceRegressor(**SMALL).fit(X, numbers).predict(X))
    array = random.standard_normal((12, 2, 9))  # numpy3D: channels before steps
    found = Classifier(SequenceClassifier(**SMALL)).fit(array, labels).predict_proba(array)
    inside.set_params(layout="nct").fit(array, labels)
    assert np.array_equal(found, inside.predict_proba(array))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_forecast_has_the_steps_that_are_asked_for(channels):
    index = pd.period_range("2020-01", periods=40, freq="M")
    y = pd.DataFrame(
        np.sin(np.arange(40.0)[:, None] + np.arange(channels)), index, [f"channel {c}" for c in range(channels)]
    )
    ahead = Forecaster(SequenceForecaster(**SMALL, window=6)).fit(y).predict(fh=[5, 2])
    expected = SequenceForecaster(**SMALL, window=6).fit([y]).predict([y], horizon=5)[0]
    assert ahead.index.equals(pd.PeriodIndex(["2023-06", "2023-09"], freq="M"))
    assert np.array_equal(ahead.to_numpy(), expected[[1, 4]]) and list(ahead.columns) == list(y.columns)


def test_another_estimator_is_refused():
    with pytest.raises(TypeError, match="estimator: expected a SequenceForecaster or None, got SequenceRegressor"):
        Forecaster(SequenceRegressor()).fit(pd.Series(np.arange(9.0)))
