"""Rows that are made of other rows in compiled code: against NumPy, at any strides, of any packing, for any threads."""

from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import STRIDES, arranged, resets

import numbarnn as nr
from numbarnn.arrays.descriptor import TensorDescriptor
from numbarnn.arrays.packing import packing_of
from numbarnn.arrays.rows import like, numbers
from numbarnn.cpu import joining
from numbarnn.cpu.programs import Program
from numbarnn.graphs.joining import Joined, StaticSlope, Total
from numbarnn.graphs.workspace import GraphWorkspace


@dataclass
class Rows:
    """Padded arrays (T, N, C) as descriptors of one packing, each at strides of its own, and their numbers in NumPy."""

    packing: object
    arrays: list
    described: list
    parts: int

    def rows(self, at):
        """The numbers of an array, (rows, C), in the order of the packing."""
        steps, sequences = self.packing.places
        return self.arrays[at][steps, sequences]


@st.composite
def rows_of_values(draw, same=False):
    steps, batch = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    kind, lengths, reset = draw(st.sampled_from(("uniform", "lengths", "reset"))), None, None
    if kind == "lengths":
        lengths = np.array(draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch)))
    if kind == "reset":
        reset = draw(resets(steps, batch))
    packing, random = packing_of(steps, batch, lengths, reset), np.random.default_rng(draw(st.integers(0, 99)))
    dtype, count = draw(st.sampled_from(("float32", "float64"))), draw(st.integers(1, 3))
    widths = draw(st.lists(st.integers(1, 19), min_size=count, max_size=count))
    arrays, described = [], []
    for width in [widths[0]] * count if same else widths:
        array = random.standard_normal((steps, batch, width)).astype(dtype)
        layout = draw(st.sampled_from(("tnc", "ntc", "cnt")))
        placed = arranged(array, layout, draw(st.sampled_from(tuple(STRIDES))))
        arrays.append(array)
        described.append(TensorDescriptor.of(placed, layout).packed(packing))
    return Rows(packing, arrays, described, draw(st.integers(1, 3)))


def split(parts):
    """Have the work split into so many parts, as several threads would."""
    return patch.object(joining, "parts_for", lambda count, smallest: parts)


def both_ways(step, outputs):
    """What a step writes when it is called, and as part of a program."""
    step.fill()
    found = numbers(outputs).copy()
    numbers(outputs)[...] = np.nan
    program = Program()
    step.add_to(program)
    program.run()
    assert np.array_equal(found, numbers(outputs))
    return found.reshape(-1, outputs.channels)


@given(rows_of_values(), st.integers(0, 3))
def test_values_side_by_side(values, place):
    """Also beside a value without steps, at any place among them."""
    still = np.arange(1.0, 1 + 2 * values.packing.sequences).reshape(1, -1, 2).astype(values.arrays[0].dtype)
    sources = [(each, True, values.rows(at)) for at, each in enumerate(values.described)]
    sources.insert(place, (TensorDescriptor.of_tnc(still), False, still[0][values.packing.places[1]]))
    with split(values.parts):
        joined = Joined([each for each, _, _ in sources], [stepped for _, stepped, _ in sources])
        right = np.concatenate([rows for _, _, rows in sources], axis=1)
        assert np.array_equal(both_ways(joined, joined.outputs), right)


@given(rows_of_values())
def test_nothing_behind_the_rows_is_written(values):
    source, count = values.described[0], values.packing.rows
    memory = np.full((count + 3, source.channels), 7, source.dtype)
    target = TensorDescriptor.compact(memory[:count], memory.ctypes.data, values.packing)
    joining.Join(target, [(source, 0, False)]).run()
    assert np.array_equal(memory[:count], values.rows(0)) and (memory[count:] == 7).all()


@given(rows_of_values(same=True))
def test_sums_have_the_order_in_which_they_are_given(values):
    with split(values.parts):
        total = Total(like(values.described[0]), values.described)
        right = values.rows(0)
        for at in range(1, len(values.arrays)):
            right = right + values.rows(at)
        assert np.array_equal(both_ways(total, total.outputs), right)


@given(rows_of_values())
def test_sums_over_steps(values):
    """From the first step on, whatever the packing: one after the other, to the bit."""
    packing, still = values.packing, np.zeros((1, values.packing.sequences, 2), values.arrays[0].dtype)
    with split(values.parts):
        joined = Joined([values.described[0], TensorDescriptor.of_tnc(still)], [True, False])
        dy = np.random.default_rng(1).standard_normal((packing.total, packing.sequences, joined.outputs.channels))
        dy = dy.astype(still.dtype)
        right, there = np.zeros_like(still[0]), np.zeros((packing.total, packing.sequences), bool)
        there[packing.places] = True
        for t in range(packing.total):
            right = np.where(there[t][:, None], right + dy[t, :, -2:], right)
        for strides in ("contiguous", "fortran"):  # channels side by side, and not
            slope = StaticSlope(joined, 1, TensorDescriptor.of_tnc(arranged(dy, "tnc", strides)).packed(packing))
            assert np.array_equal(both_ways(slope, slope.outputs), right)


def skipping(dtype="float32"):
    """Two inputs and one without steps, values that are joined, and one that three nodes read."""
    nodes = {
        "a": nr.Node(nr.GRU(5), ["x", "z"]),
        "b": nr.Node(nr.LSTM(4), ["a", "x", "s"]),
        "y": nr.Node(nr.Dense(2), ["b", "a", "z"]),
    }
    return nr.Graph({"x": 3, "z": 2, "s": nr.Input(3, steps=False)}, nodes, ["y", "a"], dtype, seed=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_pass_is_one_call_of_compiled_code(dtype):
    """Nothing of it is done in Python from the second batch on, and it has the bits of the first."""
    net, random = skipping(dtype), np.random.default_rng(0)
    x = {name: random.standard_normal(shape) for name, shape in (("x", (6, 3, 3)), ("z", (6, 3, 2)), ("s", (3, 3)))}
    y = {"y": random.standard_normal((6, 3, 2)), "a": random.standard_normal((6, 3, 5))}
    losses, gradient = net._found_loss("mse"), net.params.zeros()
    samples = net._samples(x, y, None, losses)
    workspace = GraphWorkspace(net, net.split(gradient.flat), net._own, ("all", None))
    value = workspace.gradient(samples, losses)
    right = gradient.flat.copy()
    for _ in range(2):
        gradient.flat[...] = np.nan
        assert workspace.gradient(samples, losses) == value and np.array_equal(gradient.flat, right)
    assert [len(passes._calls) for passes in workspace._passes] == [1, 1]
    _, _, tape = net.forward(x)
    predicted = net.predict(x)
    slopes = {name: 2 * (predicted[name] - y[name].astype(dtype)) / y[name].size for name in y}
    found = net.backward(tape, {name: each.astype(dtype) for name, each in slopes.items()}).params.flat
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-6 if dtype == "float32" else 1e-14)
