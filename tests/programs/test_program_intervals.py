"""Rides of tomorrow by quantiles: the cells of the notebook, of fewer months and one seed."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "intervals.ipynb"


def test_the_intervals_hold_what_came(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NUMBARNN_REDUCED", raising=False)
    names = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
        if "units" in names and "data" not in names:
            names |= {"seeds": range(1), "until": 9}
    names["plt"].close("all")
    truth, network, calibrated = (names[name] for name in ("truth", "network", "calibrated"))
    assert truth.shape == (92 * 24, 2) and network.shape == (92 * 24, 2, 5)
    coverage = names["coverage"](truth, calibrated)
    assert (coverage > 0.85).all() and (coverage < 0.95).all()  # 0.9 is asked
    errors = {name: np.nanmean(np.abs(found - truth), axis=0) for name, found in names["points"].items()}
    assert (errors["network"] < errors["the usual"]).all() and (errors["network"] < errors["the week before"]).all()
    fed_back = np.nanmean(np.abs(names["fed_back"] - names["data"].rides[names["begin"] : names["end"]]), axis=0)
    assert (fed_back < errors["the day before"]).all()
    assert np.array_equal(names["loaded"].predict(names["x"]), names["last_net"].predict(names["x"]))
