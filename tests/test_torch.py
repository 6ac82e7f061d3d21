"""Side by side with PyTorch, where it is installed: outputs, states and the gradients of everything."""

import pytest
from checks import check_results
from strategies import KINDS, random_case

pytest.importorskip("torch")

from torch_layers import SUPPORTED, results  # noqa: E402

TOLERANCE = {"float64": 1e-13, "float32": 2e-5}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", SUPPORTED)
def test_depths_and_directions(kind, layers, bidirectional, dtype):
    layer = KINDS[kind](7, layers=layers, bidirectional=bidirectional)
    case = random_case(layer, 5, 3, 4, dtype=dtype, layout="ntc", strides="reversed")
    check_results(case, results(case), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden, shape", [(1, (1, 1, 1)), (100, (20, 33, 10)), (65, (3, 131, 129))])
@pytest.mark.parametrize("kind", SUPPORTED)
def test_sizes(kind, hidden, shape, dtype):
    case = random_case(KINDS[kind](hidden), *shape, dtype=dtype)
    check_results(case, results(case), TOLERANCE[dtype])
