"""Dual numbers in compiled kernels, on the emulated GPU: the products with Hessians that the CPU computes."""

import sys
from pathlib import Path

import numpy as np
import pytest

import numbarnn as nr

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_device_curvature import check, numbers


@pytest.mark.parametrize(
    "layer", [nr.RNN(3, "gelu"), nr.LSTM(40, bidirectional=True), nr.GRU(3, "before"), nr.LSTM(3, projection=2)], ids=repr
)
def test_recurrent_layers(layer):
    check([layer, nr.Dense(2, "softplus"), nr.Dense(1, "elu")], numbers(4, 3, 2), lengths=np.array([3, 4, 0]), again=True)


def test_images():
    layers = [nr.Conv2d(2, 2), nr.Activation("silu"), nr.MaxPool2d(2), nr.AvgPool2d(2), nr.Flatten(), nr.Dense(1)]
    check(layers, numbers(2, 2, 25), channels=(1, 5, 5))
