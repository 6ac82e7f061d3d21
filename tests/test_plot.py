"""Plots: what is drawn, on which Axes, and what is refused."""

import sys

import numpy as np
import pytest

import numbarnn as nr

pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def gates(units=3):
    layer = nr.LSTM(units)
    return layer.gates(layer.init(2, seed=0, dtype="float64"), random(6, 2, 2))


def linear(values):
    """An RNN that multiplies each unit by a number."""
    layer = nr.RNN(len(values), activation="linear")
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...] = np.diag(values)
    return layer, p


def exponents(batch=1):
    return nr.dynamics.lyapunov(*linear([0.5, 0.25, 0.125]), 30, random(1, batch, 3))


def points(number=2.0):
    layer = nr.RNN(2)
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...] = number * np.eye(2)
    return nr.dynamics.fixed_points(layer, p, None, random(1, 40, 2))


DRAWN = {
    "spectrum": lambda **way: nr.plot.spectrum(exponents(), **way),
    "convergence": lambda **way: nr.plot.convergence(exponents(), **way),
    "fixed-points": lambda **way: nr.plot.fixed_points(points(), **way),
    "history": lambda **way: nr.plot.history(nr.History(loss=[1.0]), **way),
    "forecast": lambda **way: nr.plot.forecast(np.arange(3.0), np.arange(3.0), **way),
    "states": lambda **way: nr.plot.states(random(5, 2, 3), **way),
    "states-image": lambda **way: nr.plot.states(random(5, 2, 30), **way),
    "gates": lambda **way: nr.plot.gates(gates(), **way),
    "gates-lines": lambda **way: nr.plot.gates(gates(1), **way),
}


@pytest.mark.parametrize("name", DRAWN)
def test_axes(name):
    _, ax = pyplot.subplots()
    assert DRAWN[name](ax=ax) is ax and ax.has_data()
    new = DRAWN[name]()
    assert new is not ax and new.has_data()
    new.figure.canvas.draw()
    with pytest.raises(TypeError, match="ax: expected matplotlib Axes or None, got Figure"):
        DRAWN[name](ax=ax.figure)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in DRAWN.values():
        with pytest.raises(ImportError, match=r"expected matplotlib, which is not installed: pip install numbarnn\[plot\]"):
            draw()


def test_history():
    ax = nr.plot.history(nr.History(loss=[3.0, 2.0], validation=[4.0, 1.0]))
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3.0, 2.0], [4.0, 1.0]]
    assert ax.lines[0].get_xdata().tolist() == [1, 2]
    assert nr.plot.history(nr.History(loss=[3.0, 0.0])).get_yscale() == "linear"
    assert nr.plot.history(nr.History(loss=[3.0, 1.0]), log=False).get_yscale() == "linear"
    assert not nr.plot.history(nr.History()).lines


def test_forecast():
    observed = np.array([1.0, 2.0, 4.0])
    ax = nr.plot.forecast(observed, {"a": observed + 1, "b": (2, [1.0, 2.0, 3.0])}, times=np.array([10, 20, 30]))
    assert [line.get_label() for line in ax.lines] == ["observed", "a", "b"]
    assert ax.lines[1].get_xdata().tolist() == [10, 20, 30]
    assert ax.lines[2].get_xdata().tolist() == [30, 40, 50] and ax.lines[2].get_ydata().tolist() == [1, 2, 3]


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_quantiles_are_bands_around_the_one_in_the_middle(levels):
    quantiles = np.arange(3.0)[:, None] + np.arange(levels)
    ax = nr.plot.forecast(np.arange(2.0), {"a": (1, quantiles), "b": (1, [2.0])})
    middle = ax.lines[1].get_ydata()
    assert np.array_equal(middle, quantiles[:, levels // 2] if levels % 2 else np.full(3, np.nan), equal_nan=True)
    edges = [(band.get_datalim(ax.transData).y0, band.get_datalim(ax.transData).y1) for band in ax.collections]
    assert edges == [(k, 2.0 + levels - 1 - k) for k in range(levels // 2)]
    colours = {tuple(band.get_facecolor()[0][:3]) for band in ax.collections}
    assert colours <= {pyplot.matplotlib.colors.to_rgb(ax.lines[1].get_color())}
    assert [line.get_label() for line in ax.lines] == ["observed", "a", "b"]
    assert ax.lines[2].get_color() != ax.lines[1].get_color()


def test_dates_go_on_past_the_end():
    days = np.arange("2026-01-01", "2026-01-04", dtype="datetime64[D]")
    line = nr.plot.forecast(np.arange(3.0), (2, [3.0, 4.0]), times=days).lines[1]
    assert [str(day) for day in line.get_xdata()] == ["2026-01-03", "2026-01-04"]


def test_states():
    y = random(5, 2, 3)
    for given, layout in ((y, "tnc"), (y.transpose(1, 0, 2), "ntc"), (y[:, 1], "tc")):
        ax = nr.plot.states(given, layout, sequence=0 if layout == "tc" else 1)
        assert np.array_equal([line.get_ydata() for line in ax.lines], y[:, 1].T)
    ax = nr.plot.states(nr.Ragged.of([y[:2, 0], y[:, 1]]), sequence=1)
    assert np.array_equal([line.get_ydata() for line in ax.lines], y[:, 1].T)
    wide = random(5, 1, 11)
    assert np.array_equal(nr.plot.states(wide).images[0].get_array(), wide[:, 0].T)


def test_gates():
    found = gates()
    ax = nr.plot.gates(found, sequence=1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["i", "f", "g", "o"]
    assert np.array_equal(ax.images[0].get_array(), np.concatenate([found[g][:, 1].T for g in "ifgo"]))
    assert [line.get_label() for line in nr.plot.gates(gates(1)).lines] == ["i", "f", "g", "o"]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: nr.plot.forecast(random(3, 1), random(3)), nr.ShapeError, r"observed: expected shape \(S,\), got \(3, 1\)"),
        (lambda: nr.plot.forecast(random(3), random(4)), nr.ShapeError, "forecasts: expected 3 values like observed"),
        (lambda: nr.plot.forecast(random(3), {"a": (4, random(4))}), ValueError, "forecasts: expected a first index from 0"),
        (lambda: nr.plot.forecast(random(3), random(3, 1, 1)), nr.ShapeError, "forecasts: expected vectors, or arrays"),
        (lambda: nr.plot.forecast(random(3), random(3, 0)), nr.ShapeError, r"forecasts: .* got shape \(3, 0\)"),
        (lambda: nr.plot.forecast(random(3), random(3), times=random(4)), nr.ShapeError, "times: expected shape"),
        (lambda: nr.plot.states(random(3)), nr.ShapeError, "y: expected 2 or 3 axes"),
        (
            lambda: nr.plot.states(random(3, 2, 4), sequence=2),
            nr.IndexRangeError,
            "sequence: expected an index from 0 to 1, got 2",
        ),
        (lambda: nr.plot.gates(random(3, 2, 4)), TypeError, "activations: expected a dict of arrays by gate"),
        (lambda: nr.plot.gates({"r": random(3, 2, 4), "z": random(3, 2, 5)}), nr.ShapeError, "expected 4 units of every"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_exponents():
    found = exponents(2)
    ax = nr.plot.spectrum(found, sequence=1)
    assert np.array_equal(ax.lines[0].get_ydata(), found.exponents[1]) and ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    ax = nr.plot.convergence(found, sequence=-1)
    assert np.array_equal([line.get_ydata() for line in ax.lines[:3]], found.history[:, 1].T)
    assert np.array_equal(ax.lines[0].get_xdata(), found.times)
    for draw in (nr.plot.spectrum, nr.plot.convergence):
        with pytest.raises(nr.IndexRangeError, match="sequence: expected an index from 0 to 1, got 2"):
            draw(found, sequence=2)
        with pytest.raises(TypeError, match="found: expected the LyapunovSpectrum that lyapunov returns, got History"):
            draw(nr.History())


def test_fixed_points():
    found = points()
    states = random(7, 5, 2) * [3, 1]
    ax = nr.plot.fixed_points(found, states, modes=2)
    cloud, *modes, stable, unstable = ax.lines
    assert len(cloud.get_xdata()) == 35 and len(modes) == 18
    assert len(stable.get_xdata()) == 4 and len(unstable.get_xdata()) == 5
    assert sum(line.get_color() == "tab:red" for line in modes) == 4 + 2
    spread = np.var(cloud.get_xdata()), np.var(cloud.get_ydata())
    assert spread[0] > spread[1] and np.isclose(sum(spread), states.reshape(-1, 2).var(axis=0).sum())
    first, place = modes[0], np.array([stable.get_xdata()[0], stable.get_ydata()[0]])
    np.testing.assert_allclose([np.mean(first.get_xdata()), np.mean(first.get_ydata())], place, atol=1e-12)
    assert len(nr.plot.fixed_points(found, modes=0).lines) == 2
    with pytest.raises(nr.ShapeError, match=r"states: expected shape \(..., 2\) like the points, got \(3, 4\)"):
        nr.plot.fixed_points(found, np.zeros((3, 4)))
    with pytest.raises(ValueError, match="modes: expected a number from 0 to 2, got 3"):
        nr.plot.fixed_points(found, modes=3)
    with pytest.raises(TypeError, match="points: expected the FixedPoints that fixed_points returns, got LyapunovSpectrum"):
        nr.plot.fixed_points(exponents())
