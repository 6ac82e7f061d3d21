"""Reference outputs and gradients that PyTorch computed once (vectors/make_vectors.py)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checks import as_tuple, check_results, like, named_results
from vectors.make_vectors import CASES, case_of, inputs

import numbarnn as nr

VECTORS = np.load(Path(__file__).parent / "vectors" / "torch.npz")


def cut(vector, like_these):
    """The vector in pieces of the shapes of some arrays."""
    ends = np.cumsum([a.size for a in like_these])
    assert ends[-1] == vector.size
    return [part.reshape(a.shape) for part, a in zip(np.split(vector, ends[:-1]), like_these, strict=True)]


def stored(name):
    """(case, {name: expected}) as PyTorch had it."""
    case = case_of(name)
    for array, numbers in zip(inputs(case), cut(VECTORS[f"{name}_given"], inputs(case)), strict=True):
        array[...] = numbers
    found = sorted(named_results(case).items())
    expected = cut(VECTORS[f"{name}_expected"], [value for _, value in found])
    return case, {key: value for (key, _), value in zip(found, expected, strict=True)}


def as_dtype(case, dtype):
    """The case in another dtype."""
    states = {
        name: like(getattr(case, name), [s.astype(dtype) for s in as_tuple(getattr(case, name))])
        for name in ("state", "dstate")
    }
    parameters = nr.Parameters(case.parameters.flat.astype(dtype), case.parameters.weights)
    return replace(case, parameters=parameters, x=case.x.astype(dtype), dy=case.dy.astype(dtype), **states)


@pytest.mark.parametrize("layout, strides", [("tnc", "contiguous"), ("nct", "sliced")])
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-14), ("float32", 2e-6)])
@pytest.mark.parametrize("name", CASES)
def test_reference(name, dtype, tolerance, layout, strides):
    case, expected = stored(name)
    check_results(replace(as_dtype(case, dtype), layout=layout, strides=strides), expected, tolerance)
