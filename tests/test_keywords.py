"""Misspelt keyword arguments: a TypeError that names the wrong one and the right one, wherever they are given."""

import dataclasses
import inspect
import pickle

import numpy as np
import pytest

import numbarnn as nr

NET = nr.Network([nr.Dense(2)], 1, seed=0)
LAYER = nr.GRU(3)
MISSPELT = [
    (lambda: nr.Adam(lr=0.1), "lr", "Adam", "did you mean rate?"),
    (lambda: nr.SGD(learning_rate=0.1), "learning_rate", "SGD", "did you mean rate?"),
    (lambda: nr.AdamW(0.1, weight_decay=0.1), "weight_decay", "AdamW", "nr.AdamW(rate, decay=0.01)"),
    (lambda: nr.Adam(eps=1e-8), "eps", "Adam", "did you mean epsilon?"),
    (lambda: nr.GRU(units=3), "units", "GRU", "did you mean hidden?"),
    (lambda: nr.LSTM(hidden_size=3), "hidden_size", "LSTM", "did you mean hidden?"),
    (lambda: nr.LSTM(hiden=3), "hiden", "LSTM", "did you mean hidden?"),
    (lambda: nr.LSTM(3, proj_size=2), "proj_size", "LSTM", "did you mean projection?"),
    (lambda: nr.RNN(3, num_layers=2), "num_layers", "RNN", "did you mean layers?"),
    (lambda: nr.MGU(3, n_layers=2), "n_layers", "MGU", "did you mean layers?"),
    (lambda: nr.RNN(3, nonlinearity="relu"), "nonlinearity", "RNN", "did you mean activation?"),
    (lambda: nr.GRU(3, dropout_rate=0.1), "dropout_rate", "GRU", "did you mean dropout?"),
    (lambda: nr.GRU(3, input_size=2), "input_size", "GRU", "channels of the input"),
    (lambda: nr.GRU(3, batch_first=True), "batch_first", "GRU", 'layout="ntc"'),
    (lambda: nr.IndRNN(3, return_sequences=True), "return_sequences", "IndRNN", "nr.Last()"),
    (lambda: nr.Dense(hidden=3), "hidden", "Dense", "did you mean units?"),
    (lambda: nr.Dropout(p=0.1), "p", "Dropout", "did you mean rate?"),
    (lambda: nr.Embedding(vocab_size=3, embedding_dim=2), "vocab_size", "Embedding", "did you mean vocabulary?"),
    (lambda: nr.LastStep(axis=0), "axis", "LastStep", "expected none"),
    (lambda: nr.Network([LAYER], input_size=3), "input_size", "Network", "did you mean channels?"),
    (lambda: nr.Network([LAYER], 3, random_state=3), "random_state", "Network", "did you mean seed?"),
    (lambda: nr.Network([LAYER], 3, batch_first=True), "batch_first", "Network", 'did you mean layout="ntc"?'),
    (lambda: NET.fit(0, 0, verbose=0), "verbose", "Network.fit", "did you mean progress?"),
    (lambda: NET.fit(0, 0, validation_data=()), "validation_data", "Network.fit", "did you mean validation=(x, y)?"),
    (lambda: NET.fit(0, 0, batchsize=3), "batchsize", "Network.fit", "did you mean batch_size?"),
    (lambda: NET.fit(0, 0, n_epochs=3), "n_epochs", "Network.fit", "did you mean epochs?"),
    (lambda: NET.fit(0, 0, lr=3), "lr", "Network.fit", "did you mean optimizer=nr.Adam(rate)?"),
    (
        lambda: NET.fit(0, 0, teacher_forcing=1),
        "teacher_forcing",
        "Network.fit",
        "did you mean feedback=nr.Feedback(forcing)?",
    ),
    (lambda: nr.Feedback(alpha=0.1), "alpha", "Feedback", "did you mean forcing?"),
    (lambda: nr.Feedback(interval=3), "interval", "Feedback", "did you mean every?"),
    (lambda: NET.predict(x=0, lenghts=[1]), "lenghts", "Network.predict", "did you mean lengths?"),
    (lambda: NET.stream(batch_size=3), "batch_size", "Network.stream", "did you mean batch?"),
    (lambda: LAYER(None, None, initial_state=None), "initial_state", "GRU", "did you mean state?"),
    (lambda: LAYER.init(3, random_seed=1), "random_seed", "GRU.init", "did you mean seed?"),
    (lambda: nr.cosine(0.1, eta_min=0.0), "eta_min", "cosine", "did you mean final?"),
    (lambda: nr.EarlyStopping(tolerance=0.0), "tolerance", "EarlyStopping", "did you mean min_delta?"),
    (lambda: nr.CrossEntropy(ignore_label=0), "ignore_label", "CrossEntropy", "did you mean ignore_index?"),
    (lambda: nr.CrossEntropy(label_smoothing=0), "label_smoothing", "CrossEntropy", "did you mean smoothing?"),
    (lambda: nr.CrossEntropy(weight=(1, 2)), "weight", "CrossEntropy", "did you mean class_weights?"),
    (lambda: nr.Quantile(quantiles=(0.5,)), "quantiles", "Quantile", "did you mean levels?"),
    (lambda: NET.fit(0, 0, sample_weight=1), "sample_weight", "Network.fit", "did you mean weights?"),
    (lambda: nr.windows([1.0, 2.0], window=1), "window", "windows", "did you mean steps?"),
    (lambda: nr.extrapolate(NET, [1.0], horizon=1), "horizon", "extrapolate", "did you mean steps?"),
    (lambda: nr.sample(NET, "a", max_new_tokens=3), "max_new_tokens", "sample", "did you mean length?"),
    (lambda: nr.sample(NET, prefix="a"), "prefix", "sample", "did you mean prompt?"),
    (lambda: nr.accuracy(y_pred=1, y_true=1), "y_pred", "accuracy", "did you mean prediction?"),
    (lambda: nr.CrossEntropy()(1, y_true=1), "y_true", "CrossEntropy", "did you mean target?"),
    (lambda: nr.Vocabulary.of(["a"], min_count=1), "min_count", "Vocabulary.of", "did you mean least?"),
    (lambda: nr.plot.history(None, axis=None), "axis", "plot.history", "did you mean ax?"),
    (lambda: dataclasses.replace(LAYER, units=3), "units", "GRU", "did you mean hidden?"),
    (lambda: nr.Ragged.of(sequences=[]), "sequences", "Ragged.of", "expected arrays"),
]


@pytest.mark.parametrize("call, wrong, called, right", MISSPELT)
def test_the_right_name_is_said(call, wrong, called, right):
    with pytest.raises(TypeError) as raised:
        call()
    assert str(raised.value).startswith(f"{wrong}: unknown argument of {called}, expected ") and right in str(raised.value)


def public_callables():
    """{name: callable} of all that users call, the methods of classes that only the library makes left out."""
    open_ended = {"check_gradients"}  # it takes any options of a layer
    unmade = {"Compiled", "CompiledStep", "Gradients", "RowGradient", "Parameters", "Stream", "TensorDescriptor", "Cell"}
    unmade |= {"Ensemble", "GraphStream", "LeastSquaresFit", "Predictions"}
    for name in nr.__all__:
        value = getattr(nr, name)
        if callable(value) and name not in unmade and not (inspect.isclass(value) and issubclass(value, BaseException)):
            yield name, value
    for module in (
        nr.plot, nr.datasets, nr.dynamics, nr.testing, nr.interop.audio, nr.interop.keras, nr.interop.onnx, nr.interop.torch
    ):  # fmt: skip
        for name, value in vars(module).items():
            own = inspect.isfunction(value) and f"{value.__module__}.".startswith(f"{module.__name__}.")
            if own and not name.startswith("_") and name not in open_ended:
                yield name, value


@pytest.mark.parametrize("name, value", list(public_callables()))
def test_every_public_name_says_so(name, value):
    own = inspect.isclass(value) and value.__init__ is object.__init__
    with pytest.raises(TypeError, match="takes no arguments" if own else "^not_there: unknown argument of "):
        value(not_there=1)


def test_what_a_function_is_stays_as_it_was():
    expected = ["series", "steps", "horizon", "stride", "targets", "layout"]
    assert list(inspect.signature(nr.windows).parameters) == expected
    assert list(inspect.signature(nr.GRU).parameters)[:3] == ["hidden", "reset", "layers"]
    assert list(inspect.signature(NET.fit).parameters)[:3] == ["x", "y", "loss"]
    assert nr.windows.__doc__.startswith("Every window") and nr.windows.__module__ == "numbarnn.data.series"
    for value in (nr.windows, nr.accuracy, nr.plot.history, nr.GRU(3), nr.Adam(0.1), nr.cosine(0.1)):
        copy = pickle.loads(pickle.dumps(value))
        assert copy is value or copy == value


def test_a_subclass_has_its_own_name():
    class Own(nr.GRU):
        pass

    with pytest.raises(TypeError, match="units: unknown argument of Own"):
        Own(units=3)


def test_errors_inside_are_left_as_they_are():
    with pytest.raises(TypeError, match="lambda.* got an unexpected keyword argument 'units'"):
        NET.loss([[1.0]], [[1.0, 2.0]], loss=lambda p, y: (lambda: 0)(units=1))


def test_a_step_of_a_stream_is_not_wrapped():
    assert not hasattr(nr.Stream.step, "is_guarded")
    assert NET.stream().step(np.zeros((1, 1), np.float32)).shape == (1, 2)
