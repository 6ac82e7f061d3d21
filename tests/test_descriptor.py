"""TensorDescriptor: what it describes without a copy, and what it refuses."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import LAYOUTS, STRIDES, arranged

import numbarnn as nr
from numbarnn.arrays.descriptor import in_layout
from numbarnn.errors import DTypeError, LayoutError, ShapeError

SHAPE = (4, 3, 2)


def numbers(shape=SHAPE, dtype="float64"):
    """An array of different numbers."""
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def seen_by_a_kernel(described):
    """The (T, N, C) array at the record's address and strides."""
    address, *strides, step_table, start_table = described.record
    assert step_table == start_table == 0
    assert address == described.array.ctypes.data
    lengths = described.steps, described.batch, described.channels
    return np.lib.stride_tricks.as_strided(described.array, lengths, strides)


@given(
    layout=st.sampled_from(LAYOUTS),
    strides=st.sampled_from(tuple(STRIDES)),
    dtype=st.sampled_from(["float32", "float64"]),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    writeable=st.booleans(),
)
def test_any_order_and_strides_without_a_copy(layout, strides, dtype, shape, writeable):
    tnc = numbers(shape, dtype)
    if strides == "broadcast":
        tnc = np.repeat(tnc[:, :1], shape[1], axis=1)
    array = arranged(tnc, layout, strides)
    if not writeable:
        array.flags.writeable = False
    described = nr.TensorDescriptor.of(array, layout)
    assert (described.steps, described.batch, described.channels) == shape
    assert described.dtype == np.dtype(dtype) and described.layout == layout
    assert described.strides == tuple(array.strides[layout.index(letter)] for letter in "tnc")
    assert described.array is array
    np.testing.assert_array_equal(seen_by_a_kernel(described), tnc)


@pytest.mark.parametrize("strides", STRIDES)
def test_every_stride_kind_is_what_it_says(strides):
    array = arranged(np.ones(SHAPE), "tnc", strides)
    found = {
        "contiguous": array.flags.c_contiguous,
        "fortran": array.flags.f_contiguous,
        "transposed": not (array.flags.c_contiguous or array.flags.f_contiguous) and min(array.strides) > 0,
        "sliced": min(array.strides) >= 16,
        "reversed": max(array.strides) < 0,
        "broadcast": min(array.strides) == 0,
    }
    assert found[strides]


@pytest.mark.parametrize("layout, axes", [("tnc", (0, 1)), ("ntc", (0, 1)), ("ct", (1, 0)), ("cnt", (1, 0)), ("tc", (0, 1))])
def test_two_axes_are_one_sequence(layout, axes):
    array = numbers((4, 2)).transpose(axes)
    described = nr.TensorDescriptor.of(array, layout)
    assert (described.steps, described.batch, described.channels) == (4, 1, 2)
    np.testing.assert_array_equal(seen_by_a_kernel(described)[:, 0], numbers((4, 2)))


@pytest.mark.parametrize("layout, axes", [("nc", (0, 1)), ("cn", (1, 0))])
def test_two_axes_can_be_a_batch_without_time(layout, axes):
    described = nr.TensorDescriptor.of(numbers((3, 2)).transpose(axes), layout)
    assert (described.steps, described.batch, described.channels) == (1, 3, 2)
    np.testing.assert_array_equal(seen_by_a_kernel(described)[0], numbers((3, 2)))


def test_letters_may_be_capitals():
    assert nr.TensorDescriptor.of(numbers(), "NTC") == nr.TensorDescriptor.of(numbers(), "ntc")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_layout_is_the_reverse(layout):
    tnc = numbers()
    array = in_layout(tnc, layout)
    assert np.shares_memory(array, tnc)
    np.testing.assert_array_equal(seen_by_a_kernel(nr.TensorDescriptor.of(array, layout)), tnc)


def test_repr_shows_everything_but_the_numbers():
    described = nr.TensorDescriptor.of(np.zeros((32, 5, 3), np.float32), layout="ntc")
    assert repr(described) == (
        "TensorDescriptor(steps=5, batch=32, channels=3, strides=(12, 60, 4), dtype=float32, layout='ntc')"
    )


def unaligned():
    """Eight-byte numbers from the second byte of a buffer on."""
    return np.frombuffer(bytes(4 * 8 + 1), np.float64, offset=1).reshape(2, 2, 1)


REFUSED = [
    ([[[1.0]]], "tnc", TypeError, ["data", "numpy.ndarray", "list"]),
    (None, "tnc", TypeError, ["data", "numpy.ndarray", "NoneType"]),
    (np.ma.masked_array(np.zeros(SHAPE)), "tnc", TypeError, ["data", "numpy.ndarray", "MaskedArray"]),
    (numbers(dtype="int64"), "tnc", DTypeError, ["data", "float32 or float64", "int64"]),
    (numbers(dtype="uint8"), "tnc", DTypeError, ["data", "float32 or float64", "uint8"]),
    (numbers() > 0, "tnc", DTypeError, ["data", "float32 or float64", "bool"]),
    (numbers(dtype="float16"), "tnc", DTypeError, ["data", "float32 or float64", "float16"]),
    (numbers(dtype="complex128"), "tnc", DTypeError, ["data", "float32 or float64", "complex128"]),
    (numbers().astype(object), "tnc", DTypeError, ["data", "float32 or float64", "object"]),
    (numbers(dtype=np.dtype("f8").newbyteorder()), "tnc", DTypeError, ["data", "float32 or float64", "f8"]),
    (unaligned(), "tnc", LayoutError, ["data", "aligned", "float64"]),
    (np.zeros(5), "tnc", ShapeError, ["data", "2 or 3 axes", "got 1", "(5,)"]),
    (np.zeros((1, 2, 3, 4)), "tnc", ShapeError, ["data", "2 or 3 axes", "got 4", "(1, 2, 3, 4)"]),
    (np.zeros(()), "tnc", ShapeError, ["data", "2 or 3 axes", "got 0"]),
    (np.zeros((4, 3, 0)), "tnc", ShapeError, ["data", "channels", "(4, 3, 0)"]),
    (np.zeros(SHAPE), "tn", LayoutError, ["layout", "t, n, c", "'tn'"]),
    (np.zeros(SHAPE), "tc", LayoutError, ["layout", "t, n, c", "'tc'"]),
    (np.zeros(SHAPE), "tnn", LayoutError, ["layout", "t, n, c", "'tnn'"]),
    (np.zeros(SHAPE), "nchw", LayoutError, ["layout", "t, n, c", "'nchw'"]),
    (np.zeros(SHAPE), "", LayoutError, ["layout", "t, n, c", "''"]),
    (np.zeros(SHAPE), None, LayoutError, ["layout", "t, n, c", "None"]),
    (np.zeros(SHAPE), 3, LayoutError, ["layout", "t, n, c", "3"]),
    (np.zeros((4, 2)), "tn", LayoutError, ["layout", "two of them with c", "'tn'"]),
]


@pytest.mark.parametrize("array, layout, error, fragments", REFUSED)
def test_refused_by_name(array, layout, error, fragments):
    with pytest.raises(error) as raised:
        nr.TensorDescriptor.of(array, layout, argument="data")
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value


@pytest.mark.parametrize(
    "expected, error, fragments",
    [
        ({"steps": 5}, ShapeError, ["data", "expected 5 steps", "got 4"]),
        ({"batch": 5}, ShapeError, ["data", "expected 5 batch", "got 3"]),
        ({"channels": 5}, ShapeError, ["data", "expected 5 channels", "got 2"]),
        ({"dtype": "float32"}, DTypeError, ["data", "expected float32", "got float64"]),
    ],
)
def test_expectations_are_named(expected, error, fragments):
    described = nr.TensorDescriptor.of(numbers())
    described.expect("data", steps=4, batch=3, channels=2, dtype="float64")
    with pytest.raises(error) as raised:
        described.expect("data", **expected)
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value


def test_no_steps_or_no_sequences():
    described = nr.TensorDescriptor.of(np.zeros((0, 3, 2)), "ntc")
    assert (described.steps, described.batch, described.channels) == (3, 0, 2)
    assert nr.TensorDescriptor.of(np.zeros((0, 2)), "tc").steps == 0


def test_a_descriptor_is_made_of_an_array_alone():
    described = nr.TensorDescriptor.of(np.zeros((2, 3, 4), np.float32))
    for call in (lambda: nr.TensorDescriptor(9, 9, 9, (4, 4, 4), np.dtype(np.float32), "tnc", described.array, 0),
                 lambda: nr.TensorDescriptor(described.array), lambda: dataclasses.replace(described, steps=9)):  # fmt: skip
        with pytest.raises(TypeError, match=r"TensorDescriptor: expected a call of TensorDescriptor.of\(array, layout\)"):
            call()
    assert described == nr.TensorDescriptor.of(described.array) and described.steps == 2
