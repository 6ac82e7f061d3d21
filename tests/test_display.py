"""How objects show themselves: repr, summaries, the table of a training, and the docstring of each layer."""

import copy
import dataclasses
import inspect
import math
import pickle
import re

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.descriptions.docstrings import inherit_parameters, parameters_of

LAYERS = [value for value in vars(nr).values() if inspect.isclass(value) and dataclasses.is_dataclass(value)]
LAYERS = [layer for layer in LAYERS if hasattr(layer, "output_channels")]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_every_field_is_on_the_layers_own_page(layer):
    entries, _ = parameters_of(inspect.cleandoc(layer.__doc__))
    described = [name for names in entries for name in names]
    fields = sorted(dataclasses.fields(layer), key=lambda field: field.kw_only)
    assert sorted(described) == sorted(field.name for field in fields)
    own = [field.name for field in fields if not field.kw_only]
    assert described[: len(own)] == [name for name in described if name in own]  # what is inherited comes last
    assert "As in `Recurrent`" not in layer.__doc__


def test_docstrings_without_parameters_are_left_alone():
    class Bare(nr.GRU):
        pass

    class Short(nr.GRU):
        """One sentence."""

    class Own(nr.GRU):
        """One sentence.

        Parameters
        ----------
        clip : float
            My own words.
        """

    assert Bare.__doc__ is None and Short.__doc__ == "One sentence."
    assert "My own words" in Own.__doc__ and "kept within" not in Own.__doc__ and "\nzoneout : " in Own.__doc__
    before = Own.__doc__
    inherit_parameters(Own)
    assert Own.__doc__ == before


def test_a_repr_has_the_order_of_the_constructor():
    assert repr(nr.GRU(3, clip=1.0, dropout=0.1, layers=2)) == "GRU(hidden=3, layers=2, dropout=0.1, clip=1.0)"
    assert repr(nr.LeakyRNN(3, noise=0.1, rate=0.2)) == "LeakyRNN(hidden=3, rate=0.2, noise=0.1)"
    for layer in (nr.LSTM(4, layers=2, dropout=0.5, peepholes=True), nr.RNN(2, "relu", residual=True, layers=3), nr.Last()):
        assert eval(repr(layer), vars(nr)) == layer
    net = nr.Network([nr.Dense(3)], 2, seed=0)
    assert repr(net.stream(4)) == "Stream(4 sequences, 2 to 3 channels, float32)"
    assert repr(nr.Predictions(np.ones((2, 5, 3)))) == "Predictions(2 members of shape (5, 3), float64)"
    of_two = nr.Predictions((nr.Ragged.of([np.ones((4, 1))]),) * 2)
    assert repr(of_two) == "Predictions(2 members: Ragged(1 sequence of 4 to 4 steps, 1 channels, float64))"


def test_a_summary_is_text_and_a_table():
    summary = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1200)], channels=1, seed=0).summary()
    assert isinstance(summary, str) and repr(summary) == str(summary) and len(summary.splitlines()) == 6
    assert "GRU(hidden=3)" in summary and summary.upper() == str(summary).upper()
    table = summary._repr_html_()
    assert len(re.findall("<tr>", table)) == 5 and "<td>(T, N, 3)</td>" in table and ">4,800</td>" in table
    marked = nr.Network([nr.Activation(nr.ActivationFunction("<b>", abs))], 1).summary()
    assert "<b>" in marked and "<b>" not in marked._repr_html_() and "&lt;b&gt;" in marked._repr_html_()
    for copied in (copy.deepcopy(summary), pickle.loads(pickle.dumps(summary))):
        assert copied == summary and copied._repr_html_() == table


def test_a_history_is_a_table():
    x, y = np.zeros((4, 2), np.float32), np.ones((4, 1), np.float32)
    history = nr.Network([nr.Dense(1)], 2, seed=0).fit(x, y, epochs=3, validation=(x, y), progress=False)
    table = history.as_dict()
    assert list(table) == ["epoch", "loss", "validation", "seconds", "rate"] and table["epoch"] == [1, 2, 3]
    assert all(table[name] == getattr(history, name) for name in table if name != "epoch")
    table["loss"].append(0.0)
    assert len(history.loss) == 3
    bare = nr.History(loss=[3.0, 2.0], validation=[1.0]).as_dict()
    assert list(bare) == ["epoch", "loss", "validation"]
    assert bare["validation"][0] == 1.0 and math.isnan(bare["validation"][1])
    assert nr.History().as_dict() == {"epoch": [], "loss": []}


def test_a_history_becomes_a_data_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(nr.History(loss=[3.0, 2.0], rate=[0.1]).as_dict())
    assert frame.shape == (2, 3) and frame["loss"].tolist() == [3.0, 2.0] and frame["rate"].isna().tolist() == [False, True]
