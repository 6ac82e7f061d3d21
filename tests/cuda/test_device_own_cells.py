"""Cells of one's own on the device: slots, drives, values of units, fields; and their keys."""

import numpy as np
import pytest
from device_layer import to_device, to_host
from test_fingerprint import EDITS, namesake
from test_own_cells import layer_of, oracle, plain, source

import numbarnn as nr
from numbarnn.engine.equations import CellType


@pytest.mark.parametrize("slots, values, drives, states", [(5, 2, 5, 1), (8, 0, 0, 2)])
def test_slots_drives_and_values_of_units(slots, values, drives, states):
    random = np.random.default_rng(slots)
    arrays = [random.standard_normal((3, 2, 3)) for _ in range(drives)]
    layer = layer_of(source(slots, values, drives, states), arrays, hidden=3)
    p, x = layer.init(2, seed=1, dtype="float64", scheme="pytorch"), random.standard_normal((3, 2, 2))
    y, _ = layer(p.to("cuda"), to_device(x))
    np.testing.assert_allclose(to_host(y), oracle(layer, p, x, arrays)[0], rtol=0, atol=1e-14)


def test_more_slots_than_a_thread_has_room_for():
    layer = layer_of(source(11), hidden=3)
    with pytest.raises(nr.CellError, match="ManyCell.input_slots: expected at most 8 .*'cuda', got 10"):
        layer(layer.init(2, dtype="float64", device="cuda"), to_device(np.ones((1, 1, 2))))


def test_fields_in_equations():
    layer = plain("x = self.dt * pre[0] + self.k[1]\nreturn (x,), (x,)", fields="dt: float = 0.25; k: tuple = (1, 2.0)")
    p = layer.init(1, dtype="float64")
    y, _ = layer(p.to("cuda"), to_device(np.ones((1, 1, 1))))
    pre = p["weight_ih_l0"][:, 0] + p["bias_ih_l0"] + p["bias_hh_l0"]
    np.testing.assert_allclose(to_host(y)[0, 0], 0.25 * pre + 2, rtol=1e-14)


@pytest.mark.parametrize("edit", EDITS)
def test_namesakes_have_kernels_of_their_own(edit):
    assert CellType.of(namesake()) == CellType.of(namesake()) != CellType.of(namesake(edit))
