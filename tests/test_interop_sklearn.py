"""scikit-learn's family: its own checks, every form of X, trainings against networks trained by hand, errors by argument."""

import copy
import importlib
import pickle
import sys
from functools import partial

import numpy as np
import pytest
from processes import run

import numbarnn as nr
from numbarnn.data.downloads import folder

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.metrics import r2_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer  # noqa: E402
from sklearn.utils import compute_sample_weight, estimator_checks  # noqa: E402

from numbarnn.interop.sklearn import (  # noqa: E402
    EXPECTED_FAILED_CHECKS,
    SequenceClassifier,
    SequenceForecaster,
    SequenceRegressor,
)
from numbarnn.training.losses import LOSSES  # noqa: E402

ESTIMATORS = SequenceClassifier, SequenceRegressor, SequenceForecaster
SMALL = {"hidden": 4, "epochs": 3, "batch_size": 8, "random_state": 0}


@estimator_checks.parametrize_with_checks(
    [kind(hidden=64) for kind in ESTIMATORS], expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS
)  # fmt: skip
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_weights_are_repeated_samples(kind):
    estimator_checks.check_sample_weight_equivalence_on_dense_data(kind.__name__, kind(hidden=16, dtype="float64"))


ARRAY_API = """
from sklearn.utils.estimator_checks import check_array_api_input
from numbarnn.interop.sklearn import SequenceClassifier, SequenceForecaster, SequenceRegressor

for kind in (SequenceClassifier, SequenceForecaster, SequenceRegressor):
    check_array_api_input(kind.__name__, kind(epochs=3), array_namespace="numpy", expect_only_array_outputs=False)
    print(kind.__name__)
"""


def test_with_the_dispatch_of_arrays():
    """The check that is skipped above: SciPy reads the variable when it is imported."""
    assert run("-c", ARRAY_API, SCIPY_ARRAY_API="1").split() == [
        "SequenceClassifier",
        "SequenceForecaster",
        "SequenceRegressor",
    ]


def waves(count=24, channels=2, seed=0, least=5, most=12):
    """(list of (T_n, C) arrays of float64, classes by their frequency, the frequencies)."""
    random = np.random.default_rng(seed)
    rates = np.where(np.arange(count) % 2, 0.3, 0.9) + random.uniform(-0.1, 0.1, count)
    lengths = random.integers(least, most + 1, count)
    X = [3 + 5 * np.sin(rate * np.arange(steps)[:, None] + np.arange(channels)) for rate, steps in zip(rates, lengths)]
    return X, np.where(np.arange(count) % 2, "slow", "fast"), rates


def prepared(kind, X, y, rates):
    """An estimator of a kind and what its `fit` takes."""
    if kind is SequenceForecaster:
        return kind(**SMALL, window=3, horizon=2), (X,)
    return kind(**SMALL), (X, y if kind is SequenceClassifier else rates)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("layout", ["ntc", "nct", "tnc", "tcn", "cnt", "ctn"])
def test_every_form_of_the_same_sequences(kind, layout):
    X, *targets = waves(least=7, most=7)
    estimator, arguments = prepared(kind, X, *targets)
    expected = estimator.fit(*arguments).predict(X)
    array = np.stack(X).transpose(["ntc".index(letter) for letter in layout])
    objects = np.empty(len(X), object)
    turned = [x if layout.replace("n", "") == "tc" else x.T for x in X]
    objects[:] = turned
    forms = {"array": array, "list": turned, "tuple": tuple(turned), "objects": objects, "Ragged": nr.Ragged.of(X)}
    if kind is SequenceForecaster:
        expected = expected.transpose(["ntc".index(letter) for letter in layout])
    for name, form in forms.items():
        other = clone(estimator).set_params(layout=layout).fit(form, *arguments[1:])
        assert np.array_equal(other.predict(form), expected), name
        assert other.channels_ == 2 and not hasattr(other, "n_features_in_")


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_one_channel_needs_no_axis(kind):
    pandas = pytest.importorskip("pandas")
    X, *targets = waves(channels=1, least=7, most=7)
    estimator, arguments = prepared(kind, X, *targets)
    expected = estimator.fit(*arguments).predict(X)
    table = np.concatenate(X, axis=1).T
    frame = pandas.DataFrame(table, columns=[f"step {t}" for t in range(7)])
    for form in (table, frame, list(table), table.tolist()):
        found = clone(estimator).fit(form, *arguments[1:])
        assert np.array_equal(found.predict(form), expected.reshape(found.predict(form).shape))
    assert found.n_features_in_ == 7
    assert np.array_equal(found.predict(list(table)), found.predict(table))  # a list may have other lengths
    assert len(found.predict([row[:5] for row in table])) == len(X)
    with pytest.raises(ValueError, match="X has 5 features, but .* is expecting 7"):
        found.predict(table[:, :5])
    assert not hasattr(found.fit(*arguments), "n_features_in_")


def test_dimensions_that_have_names():
    xarray = pytest.importorskip("xarray")
    X, y, _ = waves(least=7, most=7)
    array = np.stack(X)
    found = SequenceClassifier(**SMALL).fit(xarray.DataArray(array, dims=("sample", "time", "channel")), y)
    parts = [xarray.DataArray(x, dims=("time", "channel")) for x in X]
    assert np.array_equal(found.predict_proba(parts), found.predict_proba(array))
    for wrong in (xarray.DataArray(array, dims=("sample", "channel", "time")), [part.T for part in parts], parts[0]):
        with pytest.raises(nr.LayoutError, match="X.*: expected dimensions in the order"):
            found.predict(wrong)


def by_hand(estimator, X, outputs):
    """The network of an estimator before its training, what it reads, and the seed of the order of samples."""
    random = np.random.RandomState(0)
    seeds = random.randint(2**31 - 1), random.randint(2**31 - 1)
    x = nr.Ragged.of(X)
    layers = [nr.GRU(4, bidirectional=True), nr.Last(), nr.Dense(outputs)]
    return nr.Network(layers, channels=2, seed=seeds[0]), nr.Standardizer.of(x)(x).astype("float32"), int(seeds[1])


def test_a_classifier_is_a_network_that_is_trained():
    X, y, _ = waves()
    classifier = SequenceClassifier(**SMALL).fit(X, y)
    net, x, seed = by_hand(classifier, X, 2)
    way = dict(optimizer=nr.Adam(nr.cosine(0.005)), epochs=3, batch_size=8, seed=seed, progress=False)
    history = net.fit(x, (y == "slow").astype(int), "cross_entropy", **way)
    assert np.array_equal(net.params.flat, classifier.network_.params.flat)
    assert history.loss == classifier.history_.loss and classifier.n_iter_ == 3
    np.testing.assert_allclose(classifier.predict_proba(X), net.probabilities(x), rtol=1e-6)
    assert classifier.classes_.tolist() == ["fast", "slow"]
    assert np.array_equal(classifier.predict(X), np.where(net.predict(x).argmax(1), "slow", "fast"))
    assert classifier.score(X, y) == np.mean(classifier.predict(X) == y)


@pytest.mark.parametrize("several", [False, True])
def test_a_regressor_is_a_network_that_is_trained(several):
    X, _, y = waves()
    y = np.stack([1e3 * y, -y], axis=1) if several else y
    regressor = SequenceRegressor(**SMALL, loss="mae").fit(X, y)
    net, x, seed = by_hand(regressor, X, 1 + several)
    rows = y.reshape(len(y), -1)
    z = ((rows - rows.mean(0)) / rows.std(0)).astype(np.float32)
    way = dict(optimizer=nr.Adam(nr.cosine(0.005)), epochs=3, batch_size=8, seed=seed, progress=False)
    net.fit(x, z, "mae", **way)
    np.testing.assert_allclose(net.params.flat, regressor.network_.params.flat, rtol=1e-4, atol=1e-6)  # z by other roundings
    found = regressor.predict(X)
    assert found.shape == y.shape and found.dtype == np.float64
    np.testing.assert_allclose(found.reshape(len(y), -1), rows.mean(0) + rows.std(0) * net.predict(x), rtol=1e-4)
    assert regressor.score(X, y) == r2_score(y, found)


def test_a_forecaster_is_a_network_that_goes_on_from_its_predictions():
    X, *_ = waves()
    forecaster = SequenceForecaster(**SMALL, window=4, horizon=3).fit(X)
    x = nr.Standardizer.of(nr.Ragged.of(X))(nr.Ragged.of(X)).astype("float32")
    random = np.random.RandomState(0)
    net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(2)], channels=2, seed=random.randint(2**31 - 1))
    way = dict(optimizer=nr.Adam(nr.cosine(0.005)), epochs=3, batch_size=8, progress=False)
    net.fit(*nr.windows(x, 4), **way, seed=int(random.randint(2**31 - 1)))
    assert np.array_equal(net.params.flat, forecaster.network_.params.flat)
    for series, found in zip(x, forecaster.predict(X, horizon=5)):
        np.testing.assert_allclose(found, forecaster.standardizer_.inverse(nr.extrapolate(net, series[-4:], 5)), rtol=1e-5)
    long = [series for series in X if len(series) >= 7]
    ends, ahead = np.concatenate([series[-3:] for series in long]), forecaster.predict([series[:-3] for series in long])
    assert ahead.shape == (len(long), 3, 2)
    assert forecaster.score(long) == pytest.approx(r2_score(ends, ahead.reshape(-1, 2)), rel=1e-12)
    past, following = [series[:-3] for series in long], np.stack([series[-3:] for series in long])
    assert forecaster.score(past, following) == forecaster.score(long)
    weights = np.arange(len(long))
    expected = r2_score(ends, ahead.reshape(-1, 2), sample_weight=np.repeat(weights, 3))
    assert forecaster.score(long, sample_weight=weights) == pytest.approx(expected, rel=1e-12)


def test_windows_of_a_forecaster_that_nobody_has_chosen():
    X, *_ = waves(least=9, most=12)
    assert SequenceForecaster(**SMALL, horizon=3).fit(X).window_ == min(map(len, X)) - 3
    assert SequenceForecaster(**SMALL).fit([np.arange(90.0)]).window_ == 32
    assert SequenceForecaster(**SMALL, horizon=5).fit(np.arange(12.0).reshape(4, 3)).window_ == 1


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_epochs_one_by_one_are_those_of_a_trainer_also_after_a_pickle(kind):
    X, *targets = waves()
    estimator, arguments = prepared(kind, X, *targets)
    first = {"classes": ["fast", "slow"]} if kind is SequenceClassifier else {}
    whole, pieces = clone(estimator), clone(estimator)
    for epoch in range(4):
        whole.partial_fit(*arguments, **first)
        pieces.partial_fit(*arguments, **first)
        pieces = pickle.loads(pickle.dumps(pieces)) if epoch % 2 else copy.deepcopy(pieces)
    assert np.array_equal(whole.network_.params.flat, pieces.network_.params.flat)
    assert whole.history_.loss == pieces.history_.loss and len(whole.history_.loss) == whole.n_iter_ == 4
    random = np.random.RandomState(0)
    net = nr.Network(whole.network_.layers, channels=2, seed=random.randint(2**31 - 1))
    loss = "cross_entropy" if kind is SequenceClassifier else "mse"
    trainer = nr.Trainer(net, loss, nr.Adam(0.005), seed=int(random.randint(2**31 - 1)))
    x = whole.standardizer_(nr.Ragged.of(X)).astype("float32")
    if kind is SequenceForecaster:
        x, y = nr.windows(x, 3)
    elif kind is SequenceClassifier:
        y = (arguments[1] == "slow").astype(int)
    else:
        y = whole.target_standardizer_(arguments[1])[:, None].astype(np.float32)
    trainer.fit(x, y, epochs=4, batch_size=8, progress=False)
    assert np.array_equal(net.params.flat, whole.network_.params.flat)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_network_goes_on_after_fit(kind):
    X, *targets = waves()
    estimator, arguments = prepared(kind, X, *targets)
    before = estimator.fit(*arguments).network_.params.flat.copy()
    standardizer = estimator.standardizer_
    estimator.partial_fit(arguments[0][:10], *(each[:10] for each in arguments[1:]))
    change = np.abs(estimator.network_.params.flat - before).max()
    assert 0 < change < 0.1 and estimator.standardizer_ is standardizer and estimator.n_iter_ == 1


def test_weights_of_classes_multiply_those_of_samples():
    X, y, _ = waves()
    y[:6] = "slow"
    way = partial(SequenceClassifier, **SMALL)
    own = np.arange(1.0, 1 + len(y))
    for class_weight in ("balanced", {"fast": 3.0, "slow": 0.5}):
        of_classes = compute_sample_weight(class_weight, y)
        found = way(class_weight=class_weight).fit(X, y)
        assert found.standardizer_ == way().fit(X, y).standardizer_  # which asks what samples there are, not of which class
        plain = way(standardize=False, class_weight=class_weight)
        for weights, together in ((None, of_classes), (own, own * of_classes)):
            one, other = plain.fit(X, y, weights).network_, way(standardize=False).fit(X, y, together).network_
            assert np.array_equal(one.params.flat, other.params.flat)


def test_a_sample_of_weight_zero_is_not_there():
    X, y, rates = waves()
    weights = np.r_[np.zeros(4), np.ones(20)]
    for kind in ESTIMATORS:
        estimator, arguments = prepared(kind, X, y, rates)
        rest = [each[4:] for each in arguments]
        found = clone(estimator).fit(*arguments, sample_weight=weights).predict(X)
        assert np.array_equal(found, clone(estimator).fit(*rest, sample_weight=weights[4:]).predict(X))
    assert SequenceClassifier(**SMALL).fit(X, y, np.where(y == "slow", 1, 0)).predict_proba(X).shape == (24, 2)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("weights", [None, np.arange(1.0, 41)])
def test_early_stopping_keeps_the_best_epoch(kind, weights):
    X, *targets = waves(40, seed=1)
    estimator, arguments = prepared(kind, X, *targets)
    stopping = dict(early_stopping=True, validation_fraction=0.25, n_iter_no_change=2, learning_rate=0.3, epochs=60)
    estimator.set_params(**stopping).fit(*arguments, sample_weight=weights)
    seen = estimator.history_.validation
    best = int(np.argmin(seen))
    assert len(seen) == estimator.n_iter_ == best + 3 < 60
    estimator.set_params(epochs=60, n_iter_no_change=60).fit(*arguments, sample_weight=weights)
    assert estimator.n_iter_ == 60 and estimator.history_.validation[: len(seen)] == seen
    assert SequenceClassifier(**SMALL, validation_fraction="not read").fit(X, targets[0]).history_.validation == []


def test_what_is_held_out():
    X, y, rates = waves(40)
    random = np.random.RandomState(3)
    for strata in (None, y):
        kept, out = SequenceClassifier()._drawn(40, random, strata)(0.25)
        assert sorted([*kept, *out]) == list(range(40)) and len(out) == 10
    assert (y[out] == "slow").sum() == 5
    from numbarnn.interop.sklearn.forecaster import _last

    kept, out = _last(np.array([4, 0, 8]), 0.25)
    assert out.tolist() == [3, 10, 11] and sorted([*kept, *out]) == list(range(12))


def test_layers_of_the_network():
    def layers(**options):
        return [*SequenceClassifier(**options)._layers()]

    assert layers(hidden=5, readout="max") == [nr.GRU(5, bidirectional=True), nr.Pool("max")]
    assert layers(cell="rnn", hidden=5, bidirectional=False, dropout=0.2) == [nr.RNN(5), nr.Last(), nr.Dropout(0.2)]
    lstm = nr.LSTM(5, layers=2, bidirectional=True, dropout=0.2)
    assert layers(cell="lstm", hidden=5, layers=2, dropout=0.2) == [lstm, nr.Last(), nr.Dropout(0.2)]
    own = (nr.IndRNN(3), nr.Pool("mean"))
    assert layers(network=own) == list(own)
    X, y, _ = waves()
    found = clone(SequenceClassifier(**SMALL, network=own, optimizer=nr.AdamW(0.01), dropout=0.1)).fit(X, y)
    assert repr(found.network_.layers) == repr((*own, nr.Dense(2)))


def test_searches_pipelines_and_workers():
    X, y, _ = waves(30)
    scale = FunctionTransformer(lambda X: [x / 7 for x in X])
    scaled = scale.transform(X)
    pipeline = make_pipeline(scale, SequenceClassifier(**SMALL))
    found = pipeline.fit(X, y)
    assert np.array_equal(found.predict(X), SequenceClassifier(**SMALL).fit(scaled, y).predict(scaled))
    scores = cross_val_score(SequenceClassifier(**SMALL), X, y, cv=3)
    assert (
        np.array_equal(scores, cross_val_score(SequenceClassifier(**SMALL), nr.Ragged.of(X), y, cv=3)) and len(scores) == 3
    )
    assert np.isfinite(cross_val_score(SequenceForecaster(**SMALL, window=4), X, cv=3)).all()
    grid = {"hidden": [3, 5], "cell": ["gru", "rnn"]}
    one, two = (GridSearchCV(SequenceClassifier(**SMALL), grid, cv=3, n_jobs=jobs).fit(X, y) for jobs in (1, 2))
    assert np.array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert one.best_params_ == two.best_params_ and np.array_equal(one.predict(X), two.predict(X))


BAD = {
    "channels": (lambda X, y: (X[:1] + [X[1][:, :1]], y[:2]), r"X\[1\]: expected 2 channels like the first, got 1"),
    "axes": (lambda X, y: (X[:1] + [X[1][:, 0]], y[:2]), r"X\[1\]: expected 2 axes like the first sequence"),
    "numbers": (
        lambda X, y: ([1.0, 2.0], y[:2]),
        r"X\[0\]: expected a sequence of shape \(T,\) or \(T, C\), got shape \(\)",
    ),
    "text": (lambda X, y: (["a", "b"], y[:2]), r"X\[0\]: expected numbers"),
    "none": (lambda X, y: ([], y[:0]), "X: expected at least one sequence, got none"),
    "NaN": (lambda X, y: (X[:1] + [X[1] * np.nan], y[:2]), "Input X contains NaN"),
    "infinity": (lambda X, y: (np.full((2, 3, 1), np.inf), y[:2]), "Input X contains infinity"),
    "large": (lambda X, y: ([*X[:1], X[1] * 1e307], y[:2]), "X: expected numbers"),
    "four axes": (lambda X, y: (np.zeros((2, 2, 2, 2)), y[:2]), "Found array with dim 4"),
    "samples": (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
    "no channels": (lambda X, y: (np.zeros((2, 3, 0)), y[:2]), "X: expected at least one channel, got none"),
    "a mask": (lambda X, y: (np.ma.masked_greater(np.eye(2), 0.5), y[:2]), "X: .* whose mask would be lost"),
    "masked targets": (lambda X, y: (X, np.ma.masked_array(y, y == y[0])), "y: .* whose mask would be lost"),
    "no targets": (lambda X, y: (X, None), "requires y to be passed"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor])
def test_data_that_do_not_fit(kind, name):
    X, y, rates = waves()
    change, message = BAD[name]
    with pytest.raises((ValueError, TypeError, nr.NonFiniteError), match=message):
        kind(**SMALL).fit(*change(X, y if kind is SequenceClassifier else rates))


WRONG = [
    ({"cell": "grru"}, "cell: unknown name 'grru'.*did you mean 'gru'"),
    ({"readout": "end"}, "readout: unknown name"),
    ({"hidden": 0}, "hidden: expected"),
    ({"layers": 1.5}, "layers: expected"),
    ({"dropout": 1}, "^dropout: expected"),
    ({"network": nr.GRU(3)}, "network: expected layers in a list"),
    ({"network": [nr.GRU(3)]}, "network: expected layers that give one row for each sequence"),
    ({"optimizer": "adamm"}, "optimizer: unknown name"),
    ({"learning_rate": -1}, "^learning_rate: expected"),
    ({"epochs": 0}, "epochs: expected a positive integer"),
    ({"batch_size": "8"}, "batch_size: expected a positive integer"),
    ({"clip": 0}, "clip: expected"),
    ({"standardize": "no"}, "standardize: expected True or False"),
    ({"early_stopping": 1}, "early_stopping: expected True or False"),
    ({"early_stopping": True, "validation_fraction": 1.0}, "validation_fraction: expected a number between 0 and 1"),
    ({"early_stopping": True, "n_iter_no_change": 0}, "^n_iter_no_change: expected a positive integer"),
    ({"early_stopping": True, "tol": -1}, "^tol: expected"),
    ({"layout": "btc"}, "layout: expected the letters t, n, c"),
    ({"dtype": "float16"}, "dtype: expected"),
    ({"random_state": "seed"}, "seed"),
    ({"verbose": "yes"}, "verbose: expected True, False or an integer"),
]


@pytest.mark.parametrize("verbose, shown", [(0, False), (1, True), (np.int64(2), True), (np.True_, True)])
def test_verbose_may_be_a_number(verbose, shown, capfd):
    X, _, rates = waves()
    SequenceRegressor(**SMALL).fit(X, rates)  # kernels say so where they are compiled
    capfd.readouterr()
    SequenceRegressor(**SMALL, verbose=verbose).fit(X, rates)
    assert any(capfd.readouterr()) == shown


@pytest.mark.parametrize("options, message", WRONG, ids=[str(options) for options, _ in WRONG])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_parameters_are_looked_at_in_fit(kind, options, message):
    X, *targets = waves()
    estimator, arguments = prepared(kind, X, *targets)
    estimator.set_params(**options)
    with pytest.raises((ValueError, TypeError), match=message):
        estimator.fit(*arguments)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_training_that_fails_changes_nothing(kind):
    X, *targets = waves()
    estimator, arguments = prepared(kind, X, *targets)
    expected = clone(estimator).fit(*arguments).predict(X)
    others = (
        [x[:, :1] for x in X],
        *(np.where(targets[0] == "slow", "a", "b") if y.dtype.kind == "U" else y for y in arguments[1:]),
    )
    estimator.set_params(batch_size=0)
    classes = {"classes": ["a", "b"]} if kind is SequenceClassifier else {}
    for train, options in ((estimator.fit, {}), (estimator.partial_fit, classes)):
        with pytest.raises(ValueError, match="batch_size: expected"):
            train(*others, **options)
        with pytest.raises(NotFittedError):
            estimator.predict(others[0])
    estimator.set_params(batch_size=8).fit(*arguments)
    attributes = dict(vars(estimator), batch_size=0)
    estimator.set_params(batch_size=0)
    with pytest.raises(ValueError, match="batch_size: expected"):
        estimator.fit(*others)
    assert vars(estimator).keys() == attributes.keys()
    assert all(vars(estimator)[name] is value for name, value in attributes.items())
    assert np.array_equal(estimator.predict(X), expected)


def test_other_errors():
    X, y, rates = waves()
    classifier = SequenceClassifier(**SMALL)
    with pytest.raises(ValueError, match="classes: expected all classes there will be"):
        classifier.partial_fit(X, y)
    classifier.partial_fit(X, y, classes=["slow", "fast"])
    with pytest.raises(ValueError, match="classes: expected the classes of the first call"):
        classifier.partial_fit(X, y, classes=["slow", "fast", "other"])
    with pytest.raises(ValueError, match="y: expected classes that the first call was told of"):
        classifier.partial_fit(X[:2], ["slow", "other"])
    with pytest.raises(ValueError, match="class_weight: expected None or a dict in partial_fit"):
        clone(classifier).set_params(class_weight="balanced").partial_fit(X, y, classes=["slow", "fast"])
    for kind in ESTIMATORS:
        with pytest.raises(ValueError, match="early_stopping: expected False in partial_fit"):
            kind(early_stopping=True).partial_fit(X, y)
    with pytest.raises(nr.ShapeError, match="X: expected 2 channels like the training, got 1"):
        classifier.predict([x[:, :1] for x in X])
    regressor = SequenceRegressor(**SMALL).partial_fit(X, rates)
    with pytest.raises(nr.ShapeError, match="y: expected 1 numbers a sample like the first call, got 2"):
        regressor.partial_fit(X, np.stack([rates, rates], axis=1))
    with pytest.raises(nr.ShapeError, match=r"y: expected shape \(N,\) or \(N, K\)"):
        regressor.fit(X, rates.reshape(-1, 1, 1))
    for weights, message in (
        (np.ones(3), r"sample_weight: expected shape \(24,\)"),
        (-np.ones(24), "sample_weight: expected numbers >= 0, got -1"),
        (np.zeros(24), "sample_weight: expected at least one weight that is not zero"),
        (np.ma.masked_array(np.ones(24), rates > 0.5), "sample_weight: .* whose mask would be lost"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            regressor.fit(X, rates, weights)
    with pytest.raises(ValueError, match="y: expected numbers that float32 holds"):
        clone(regressor).set_params(standardize=False).fit(X, rates * 1e60)
    for weight in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="class_weight: expected finite numbers >= 0, got"):
            SequenceClassifier(**SMALL, class_weight={"slow": weight, "fast": 1}).fit(X, y)
    with pytest.raises(ValueError, match="class_weight: expected a weight that is not zero"):
        SequenceClassifier(**SMALL, class_weight={"slow": 0, "fast": 0}).fit(X, y)
    with pytest.raises(ValueError, match="^sample_weight: expected numbers that float32 holds"):
        regressor.fit(X, rates, np.full(24, 1e300))
    with pytest.raises(ValueError, match="classes contains NaN"):
        SequenceClassifier(**SMALL).partial_fit(X, rates > 0.5, classes=[0, 1, np.nan])
    with pytest.raises(ValueError, match="y should be a 1d array"):
        SequenceClassifier(**SMALL).partial_fit(X, y, classes="slow")
    forecaster = SequenceForecaster(**SMALL, window=4, horizon=2)
    with pytest.raises(nr.ShapeError, match="^X: expected more than 4 values"):
        forecaster.fit([x[:4] for x in X])
    forecaster.fit(X)
    with pytest.raises(nr.ShapeError, match="X: expected series of at least 4 steps, the window, got 3 in series 1"):
        forecaster.predict([X[0], X[1][:3]])
    with pytest.raises(nr.ShapeError, match="at least 6 steps, a window of 4 and a horizon of 2, got 5 in series 0"):
        forecaster.score([X[0][:5], X[1]])
    with pytest.raises(nr.ShapeError, match="y: expected 2 steps of 24 series and 2 channels"):
        forecaster.score(X, np.zeros((24, 3, 2)))
    with pytest.raises(TypeError, match="y: .* whose mask would be lost"):
        forecaster.score(X, np.ma.zeros((24, 2, 2)))
    with pytest.raises(ValueError, match="validation_fraction: expected a part that leaves windows"):
        clone(forecaster).set_params(early_stopping=True, validation_fraction=0.01).fit([x[:5] for x in X])
    with pytest.raises(TypeError, match="lr: unknown argument of SequenceClassifier"):
        SequenceClassifier(lr=0.1)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_regressor_takes_the_losses_of_which_a_prediction_is_the_number(name):
    X, _, rates = waves()
    regressor = SequenceRegressor(**SMALL, loss=name)
    if name in ("mse", "half_mse", "mae", "huber", "nash_sutcliffe"):
        assert regressor.fit(X, rates).predict(X).shape == rates.shape
        return
    for loss in (name, LOSSES[name]):
        for train in (regressor.set_params(loss=loss).fit, regressor.partial_fit):
            with pytest.raises(ValueError, match="^loss: expected one that compares numbers with as many"):
                train(X, rates)


def test_too_few_samples_to_hold_some_out():
    X, y, rates = waves()
    options = {**SMALL, "early_stopping": True}
    with pytest.raises(ValueError, match="validation_fraction: .* of each class and holds out one, got 0.1 of 3 samples"):
        SequenceClassifier(**options).fit(X[:3], y[:3])
    with pytest.raises(ValueError, match="validation_fraction: .* a sample and holds out one, got 0.1 of 1 samples"):
        SequenceRegressor(**options).fit(X[:1], rates[:1])


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_names_of_channels(kind):
    pandas = pytest.importorskip("pandas")
    X, *targets = waves()
    estimator, arguments = prepared(kind, X, *targets)
    expected = estimator.fit(*arguments).predict(X)
    frames = [pandas.DataFrame(x, columns=["level", "rain"]) for x in X]
    swapped = [frame[["rain", "level"]] for frame in frames]
    named = clone(estimator).fit(frames, *arguments[1:])
    assert named.channel_names_in_.tolist() == ["level", "rain"]
    assert np.array_equal(named.predict(frames), expected)
    assert np.array_equal(named.predict(X), expected)  # arrays have no names
    with pytest.raises(nr.ShapeError, match="X: expected the columns of the training, .*, got .'rain', 'level'"):
        named.predict(swapped)
    with pytest.raises(nr.ShapeError, match=r"X\[1\]: expected the columns of the first"):
        estimator.fit([frames[0], *swapped[1:]], *arguments[1:])
    assert not hasattr(named.fit(*arguments), "channel_names_in_")
    across = (
        clone(estimator).set_params(layout="nct").fit([frame.T for frame in frames], *arguments[1:])
    )  # columns are steps
    assert not hasattr(across, "channel_names_in_")
    for frame in frames:
        frame.columns = pandas.MultiIndex.from_tuples([("gauge", "level"), ("gauge", "rain")])
    assert np.array_equal(clone(estimator).fit(frames, *arguments[1:]).predict(frames), expected)


def test_without_scikit_learn(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("numbarnn.interop.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(nr.interop, "sklearn")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"sklearn: expected scikit-learn, .* pip install numbarnn\[sklearn\]"):
        nr.interop.sklearn  # noqa: B018


@pytest.mark.parametrize("name", ["aeon", "sktime"])
def test_without_another_library_of_series(monkeypatch, name):
    monkeypatch.delitem(sys.modules, f"numbarnn.interop.{name}", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{name}: expected {name}, .* pip install numbarnn\[{name}\]"):
        importlib.import_module(f"numbarnn.interop.{name}")


@pytest.mark.skipif(not (folder() / "japanese_vowels" / "TRAIN.ts").is_file(), reason="the file is not at hand")
def test_japanese_vowels():
    """`python -m benchmarks estimators` has more seeds; the best of reservoirpy's tutorial is 0.928."""
    data = nr.datasets.japanese_vowels()
    X, y = list(data.train.x), data.train.labels
    found = [SequenceClassifier(random_state=seed).fit(X, y).score(list(data.test.x), data.test.labels) for seed in range(2)]
    assert np.mean(found) >= 0.98
