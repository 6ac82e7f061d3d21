"""One update on the GPU: the CPU's numbers, wherever in memory the vectors begin."""

import inspect

import numpy as np
import pytest

import numbarnn as nr
from numbarnn import cuda
from numbarnn.cpu import optimizers as on_cpu
from numbarnn.cuda import optimizers
from numbarnn.parameters import Weight

CHOICES = [
    nr.SGD(0.1),
    nr.SGD(0.1, momentum=0.8, nesterov=True),
    nr.RMSProp(0.01),
    nr.Adam(0.01),
    nr.AdamW(0.01, decay=0.1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("choice", CHOICES, ids=repr)
def test_updates_of_the_cpu(choice, dtype):
    random = np.random.default_rng(0)
    flat, *gradients = random.standard_normal((4, 101)).astype(dtype)
    previous, memory = np.empty_like(flat), choice.start(flat)
    device = cuda.asarray(np.concatenate([[7, 7, 7], flat]).astype(dtype))[3:]
    old, remembered = cuda.empty(flat.shape, dtype), choice.start(device)
    for step, gradient in enumerate(gradients, 1):
        choice.update(flat, previous, gradient, memory, step, 0.01, 0.5)
        choice.update(device, old, cuda.asarray(gradient), remembered, step, 0.01, 0.5)
        for found, expected in zip((device, old, *remembered), (flat, previous, *memory)):
            np.testing.assert_allclose(found.get(), expected, rtol=0, atol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adam_in_part", "nadam", "norm", "all_finite"])
def test_the_same_arguments(name):
    theirs = getattr(on_cpu, name)
    assert inspect.signature(getattr(optimizers, name)) == inspect.signature(getattr(theirs, "py_func", theirs))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 5000])
def test_norm(size, dtype):
    vector = np.random.default_rng(size).standard_normal(size).astype(dtype)
    assert optimizers.norm(cuda.asarray(vector)) == pytest.approx(on_cpu.norm(vector), rel=1e-14)


def test_norm_of_large_numbers():
    vector = np.full(3, 1e30, np.float32)
    assert optimizers.norm(cuda.asarray(vector)) == pytest.approx(np.sqrt(3) * 1e30, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decay_of_a_part(dtype):
    choice, random = nr.AdamW(0.01, decay=0.5), np.random.default_rng(0)
    weights = [Weight("a", 4, 3), Weight("b", None, 5)]
    flat, *gradients = random.standard_normal((3, 17)).astype(dtype)
    device, previous = cuda.asarray(flat), np.empty_like(flat)
    memory, remembered = (choice.start(p) + choice._of_parts(p, weights) for p in (flat, device))
    for step, gradient in enumerate(gradients, 1):
        choice.update(flat, previous, gradient, memory, step, 0.01)
        choice.update(device, cuda.empty(flat.shape, dtype), cuda.asarray(gradient), remembered, step, 0.01)
    np.testing.assert_allclose(device.get(), flat, rtol=0, atol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("where", [None, 0, 70, 99])
def test_all_finite(dtype, where):
    for value in (np.nan, np.inf, -np.inf, np.finfo(dtype).max):
        vector = np.full(100, np.finfo(dtype).max, dtype)
        if where is not None:
            vector[where] = value
        found = [bool(optimizers.all_finite(cuda.asarray(vector))), bool(on_cpu.all_finite(vector))]
        assert found == [np.isfinite(vector).all()] * 2


def test_nothing_to_update():
    empty = cuda.empty((0,), "float32")
    optimizers.sgd(empty, empty, empty, empty, *np.zeros(4, np.float32))
