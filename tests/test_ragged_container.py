"""Ragged as a container: some of the sequences, arithmetic, other dtypes, padding, equality."""

import operator

import numpy as np
import pytest
from checks import same_bits
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr

LENGTHS = (3, 0, 1, 4)


def ragged(dtype="float64", channels=2, lengths=LENGTHS):
    random = np.random.default_rng(0)
    return nr.Ragged.of([random.uniform(0.5, 2, (length, channels)).astype(dtype) for length in lengths])


def labels(dtype="int64"):
    return nr.Ragged.of([np.arange(length, dtype=dtype) for length in LENGTHS])


R, SECOND = ragged(), nr.Ragged(np.flip(ragged().data) - 1, ragged().offsets)


def assert_holds(found, sequences):
    assert isinstance(found, nr.Ragged) and len(found) == len(sequences)
    assert found.lengths.tolist() == [len(sequence) for sequence in sequences]
    for own, expected in zip(found, sequences):
        assert same_bits(own.copy(), np.asarray(expected).copy())


@pytest.mark.parametrize("r", [R, labels()], ids=["numbers", "labels"])
@pytest.mark.parametrize("which", [(None,), (1, 3), (-2, None), (0, 99), (None, None, 2), (None, None, -1), (3, 0, -2)])
def test_slices_are_those_of_a_list(r, which):
    which = slice(*which)
    assert_holds(r[which], list(r)[which])
    assert np.shares_memory(r[which].data, r.data) == (which.step is None)


@given(st.lists(st.integers(-4, 3), min_size=1, max_size=6), st.sampled_from([list, np.array, np.int8]))
def test_arrays_of_indices(which, kind):
    chosen = R[np.array(which, np.int8) if kind is np.int8 else kind(which)]
    assert_holds(chosen, [R[n] for n in which])
    assert not np.shares_memory(chosen.data, R.data)


@given(st.lists(st.booleans(), min_size=4, max_size=4).filter(any))
def test_masks(mask):
    for given_as in (mask, np.array(mask)):
        assert_holds(R[given_as], [R[n] for n in range(4) if mask[n]])


def test_a_single_one_is_a_view():
    for n in (0, -1, np.int16(2)):
        assert np.shares_memory(R[n], R.data) and same_bits(R[n].copy(), list(R)[n].copy())


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.floordiv, operator.mod]


@pytest.mark.parametrize("function", OPERATORS)
@pytest.mark.parametrize("other", [2, 0.5, np.float32(3), np.array([2.0, 3.0]), [2, 3], abs(SECOND)], ids=repr)
def test_operators_are_those_of_the_arrays(function, other):
    theirs = list(other) if isinstance(other, nr.Ragged) else [other] * len(R)
    assert_holds(function(R, other), [function(own, their) for own, their in zip(R, theirs)])
    if not isinstance(other, list):
        assert_holds(function(other, R), [function(their, own) for own, their in zip(R, theirs)])


def test_functions_and_dtypes_are_numpys():
    assert_holds(-R, [-own for own in R])
    assert_holds(abs(-R), list(R))
    assert_holds(np.tanh(R), [np.tanh(own) for own in R])
    assert_holds(np.maximum(R, 1), [np.maximum(own, 1) for own in R])
    single = ragged("float32")
    assert (single * 2).dtype == (single - 0.5).dtype == np.float32 and (single * np.ones(2)).dtype == np.float64
    assert_holds(labels() + 1, [own + 1 for own in labels()])
    assert_holds(labels("uint8") * labels("uint8"), [own * own for own in labels("uint8")])


def test_in_place():
    r = ragged()
    data, expected = r.data, ragged().data * 2 + 1
    r *= 2
    r += 1
    assert r.data is data and same_bits(data, expected)
    fixed = ragged()
    fixed.data.flags.writeable = False
    with pytest.raises(ValueError):
        fixed += 1


def test_a_network_reads_what_was_computed():
    net = nr.Network([nr.GRU(2), nr.Last()], 2, seed=0)
    mean, spread = R.data.mean(axis=0), R.data.std(axis=0)
    scaled = (R - mean) / spread
    assert np.allclose(scaled.data.mean(axis=0), 0)
    assert same_bits(net.predict(scaled), net.predict(scaled.astype("float32")))
    assert same_bits(net.predict(scaled[[2, 0]]), net.predict(scaled)[[2, 0]])


def test_equality():
    same = nr.Ragged(R.data.copy(), R.offsets)
    assert same == R and R == same and not R != same
    changed = nr.Ragged(R.data.copy(), R.offsets)
    changed.data[3, 1] += 1
    assert changed != R and R != R.astype("float32") and R != R[:3] and R != 3 and labels() != R
    assert nr.Ragged(R.data, [0, 0, 3, 4, 8]) != R
    assert R * np.nan != R * np.nan


@pytest.mark.parametrize("dtype", ["float32", np.float64])
def test_astype(dtype):
    found = R.astype(dtype)
    assert found.dtype == dtype and not np.shares_memory(found.data, R.data) and found.lengths.tolist() == list(LENGTHS)
    assert labels().astype("uint8").data.tolist() == labels().data.tolist()


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("steps", [None, 2, 6])
@pytest.mark.parametrize("r, fill", [(R, np.nan), (R, -1), (ragged("float32"), np.float64(0.5)), (labels(), -7)])
def test_padding(r, fill, steps, at):
    found = r.padded(fill, steps, at)
    count = 4 if steps is None else steps
    assert found.shape == (count, 4, *r.data.shape[1:]) and found.dtype == r.dtype
    for n, sequence in enumerate(r):
        blank = np.full((max(0, count - len(sequence)), *sequence.shape[1:]), fill, r.dtype)
        expected = [blank, sequence[-count:]] if at == "start" else [sequence[:count], blank]
        assert np.array_equal(found[:, n], np.concatenate(expected), equal_nan=True) or not len(sequence) and count == 0
    if steps is not None:
        assert np.array_equal(nr.padded(r, steps, fill, at), found, equal_nan=True)


def test_a_padded_batch_and_its_lengths_are_the_ragged_one():
    layer = nr.GRU(2)
    p = layer.init(2, seed=0, dtype="float64")
    y, state = layer(p, R)
    padded, same = layer(p, R.padded(np.nan), lengths=R.lengths)
    assert same_bits(y.padded(), padded) and same_bits(state, same)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: R[4], IndexError, "sequence: expected an index from 0 to 3, got 4"),
        (lambda: R[[0, -5]], IndexError, "sequences: expected indices from 0 to 3, got -5"),
        (lambda: R[[True, False]], nr.ShapeError, r"sequences: expected shape \(4,\), got \(2,\)"),
        (lambda: R[[[0]]], nr.ShapeError, r"sequences: expected shape \(K,\), got \(1, 1\)"),
        (lambda: R[[0.0]], nr.DTypeError, "sequences: expected integers or True and False, got float64"),
        (lambda: R[0, 1], TypeError, r"sequences: expected an integer, a slice.*got \(0, 1\).*r\[n\]\[t\]"),
        (lambda: R["a"], TypeError, "sequences: expected an integer, a slice.*got 'a'"),
        (lambda: R[1.0], TypeError, "sequences: expected an integer, a slice.*got 1.0"),
        (lambda: R[True], TypeError, "sequences: expected an integer, a slice.*got True"),
        (lambda: R[None], TypeError, "sequences: expected an integer, a slice.*got None"),
        (lambda: R[3:1], ValueError, "sequences: expected at least one of 4, got none"),
        (lambda: R[[]], ValueError, "sequences: expected at least one of 4, got none"),
        (lambda: R[[False] * 4], ValueError, "sequences: expected at least one of 4, got none"),
        (lambda: R + R[:3], nr.ShapeError, "add: expected a Ragged of the lengths and channels"),
        (lambda: R + ragged(channels=1), nr.ShapeError, "add: expected a Ragged of the lengths and channels"),
        (lambda: R * np.ones(3), nr.ShapeError, r"multiply: expected a number, an array of shape \(2,\).*got shape \(3,\)"),
        (lambda: R.data * R, nr.ShapeError, r"multiply: expected a number, .* got shape \(8, 2\)"),
        (lambda: labels() * [1, 2], nr.ShapeError, r"multiply: expected a number or a Ragged.* got shape \(2,\)"),
        (lambda: R + "a", nr.DTypeError, "add: expected numbers, got <U1"),
        (lambda: R + None, nr.DTypeError, "add: expected numbers, got object"),
        (lambda: R * 1j, nr.DTypeError, "multiply: expected .*complex128"),
        (lambda: R < 1, nr.DTypeError, "less: expected a result of float32 or float64 for a Ragged, got bool"),
        (lambda: labels() / 2, nr.DTypeError, "divide: expected a result of integers for a Ragged, got float64"),
        (lambda: np.sum(R), TypeError, r"add.reduce: expected an array, got Ragged\(4 seq"),
        (lambda: np.mean(R), TypeError, r"expected an array, got Ragged\(4 seq.*\.padded\(\)"),
        (lambda: np.asarray(R[:1]), TypeError, r"expected an array, got Ragged\(1 seq"),
        (lambda: np.add(R, 1, out=R.data.copy()), TypeError, "out: expected a Ragged, got ndarray"),
        (lambda: R.astype("int32"), nr.DTypeError, "dtype: expected float32 or float64, got int32"),
        (lambda: labels().astype("float32"), nr.DTypeError, "dtype: expected one of integers, like int64, got float32"),
        (lambda: (labels() - 1).astype("uint8"), ValueError, "data: expected integers from 0 to 255"),
        (lambda: (R * 1e300).astype("float32"), ValueError, "data: expected numbers that float32 holds"),
        (lambda: R.padded("0"), TypeError, "fill: expected a number, got '0'"),
        (lambda: ragged("float32").padded(1e300), ValueError, "fill: expected numbers that float32 holds"),
        (lambda: labels().padded(0.5), TypeError, "fill: expected an integer, got 0.5"),
        (lambda: labels("uint8").padded(256), ValueError, "fill: expected an integer from 0 to 255"),
        (lambda: R.padded(steps=0), ValueError, "steps: expected a positive integer, got 0"),
        (lambda: R.padded(at="front"), nr.UnknownNameError, "at: unknown name 'front'"),
        (lambda: hash(R), TypeError, "unhashable"),
    ],
)
def test_errors_name_what_is_wrong(call, error, message):
    before = R.data.copy()
    with pytest.raises(error, match=message):
        call()
    assert same_bits(R.data, before)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda r, masked: r[masked], "sequences"),
        (lambda r, masked: r[masked > 0], "sequences"),
        (lambda r, masked: r.take(masked), "sequences"),
        (lambda r, masked: r + masked.astype(float), "add"),
        (lambda r, masked: nr.Ragged(r.data, masked), "offsets"),
    ],
)
def test_masks_are_not_lost(call, named):
    ragged = nr.Ragged.of([np.ones((1, 2)), np.ones((0, 2))])
    call(ragged, np.array([0, 1]) if named != "offsets" else np.array([0, 1, 1]))
    masked = np.ma.array([0, 1, 1] if named == "offsets" else [0, 1], mask=[0, 1, 1] if named == "offsets" else [0, 1])
    with pytest.raises(TypeError, match=f"{named}: expected an array .*, got MaskedArray"):
        call(ragged, masked)
