"""Device arrays do what NumPy's do: views, copies, functions, indices; and say so where they do not."""

import gc
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from numbarnn import cuda
from numbarnn.cuda import dlpack
from numbarnn.cuda.array import DeviceArray
from numbarnn.errors import DTypeError, LayoutError, ShapeError

FLOATS = ("float32", "float64")
DTYPES = (*FLOATS, "bool", "int64")
ORDERINGS = (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the simulator's threads warn of an infinity


def numbers(dtype):
    """Elements of arrays of a dtype, some of them special."""
    if np.dtype(dtype).kind == "f":
        return st.one_of(st.floats(-8, 8, width=32), st.sampled_from([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, 1e30]))
    return st.booleans() if dtype == "bool" else st.integers(-100, 100)


def arrays(dtypes=DTYPES, shapes=None):
    """NumPy arrays of up to four axes."""
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4) if shapes is None else shapes
    return st.sampled_from(dtypes).flatmap(lambda dtype: hnp.arrays(dtype, shapes, elements=numbers(dtype)))


@st.composite
def viewed(draw, dtypes=DTYPES, least=0):
    """A pair of arrays alike, on the host and on the device: views of contiguous ones, at any strides."""
    host = draw(arrays(dtypes, hnp.array_shapes(min_dims=max(least, 1), max_dims=4, max_side=4)))
    device = cuda.asarray(host)
    order = draw(st.permutations(range(host.ndim)))
    host, device = host.transpose(order), device.transpose(order)
    index = draw(hnp.basic_indices(host.shape, min_dims=least, max_dims=4, allow_newaxis=True))
    return np.asarray(host[index]), device[index]


def same(device, host, ulps=0):
    """Assert that a device array, or a number, is NumPy's: dtype, shape and bits, or so many units in the last place."""
    assert isinstance(device, DeviceArray)
    found, host = device.get(), np.asarray(host)
    assert (found.shape, found.dtype) == (host.shape, host.dtype)
    if ulps:
        np.testing.assert_allclose(found, host, rtol=ulps * np.finfo(host.dtype).eps, atol=0)
    else:
        np.testing.assert_array_equal(found, host)


@given(arrays())
def test_there_and_back(host):
    device = cuda.asarray(host)
    same(device, host)
    assert (device.ndim, device.size, device.itemsize, device.nbytes) == (host.ndim, host.size, host.itemsize, host.nbytes)
    assert device.device == "cuda" and device.flags.c_contiguous and device.flags.aligned and device.flags.writeable
    same(cuda.zeros(host.shape, host.dtype), np.zeros_like(host))


@given(viewed())
def test_views(pair):
    host, device = pair
    same(device, host)
    if host.size:
        assert device.strides == host.strides or device.size == 1 or 1 in host.shape
        assert (device.flags.c_contiguous, device.flags.f_contiguous) == (host.flags.c_contiguous, host.flags.f_contiguous)
    same(device.T, host.T)
    same(device.ravel(), host.ravel())
    same(device.copy(), host)
    if host.ndim > 1:
        same(device.swapaxes(0, -1), host.swapaxes(0, -1))
        same(np.moveaxis(device, 0, -1), np.moveaxis(host, 0, -1))
    same(np.expand_dims(device, 0), host[None])
    same(np.expand_dims(device, (0, 1)).squeeze((0, 1)), host)
    same(np.broadcast_to(device, (2, *host.shape)), np.broadcast_to(host, (2, *host.shape)))


@given(viewed(), st.data())
def test_reshape(pair, data):
    host, device = pair
    factors = [f for f in (2, 3, 4, 6) if host.size and host.size % f == 0]
    for shape in [(-1,), (host.size,), *((f, -1) for f in factors), *((-1, f, 1) for f in factors)]:
        if host.size:
            same(device.reshape(*shape), host.reshape(shape))
            same(np.reshape(device, shape), host.reshape(shape))
    with pytest.raises(ValueError):
        device.reshape(host.size + 1, 7)


def test_reshape_shares_memory_where_it_can():
    x = cuda.zeros((2, 3, 4), "float32")
    x.reshape(6, 4)[0] = 1
    assert x.get()[0, 0].all()
    y = x.T.reshape(4, 6)
    y[...] = 5
    assert x.get().max() == 1
    with pytest.raises(ValueError):
        x.T.reshape(4, 6, copy=False)


@given(viewed(least=1), st.data())
def test_assignment(pair, data):
    host, device = pair
    host = host.copy()
    index = data.draw(hnp.basic_indices(host.shape))
    value = data.draw(numbers(host.dtype.name))
    host[index], device[index] = value, value
    same(device, host)
    source = data.draw(hnp.arrays(host.dtype, host[index].shape, elements=numbers(host.dtype.name)))
    host[index], device[index] = source, cuda.asarray(source)
    same(device, host)
    row = np.zeros(host.shape[-1:], host.dtype)
    host[...], device[...] = row, row  # a NumPy array is sent there, and broadcast
    same(device, host)


@pytest.mark.parametrize(
    "view",
    [(slice(None, None, -1), slice(None)), (slice(1, None), slice(0, -1)), (slice(None, -1), slice(1, None))],
    ids=str,
)
def test_assignment_to_itself(view):
    host = np.arange(40.0).reshape(10, 4)
    device = cuda.asarray(host)
    to, source = view
    host[to], device[to] = host[source].copy(), device[source]
    same(device, host)
    host[to] += host[source]
    device[to] += device[source]
    same(device, host)


def test_what_must_not_be_modified():
    x = cuda.zeros((2, 3), "float64")
    x.flags.writeable = False
    for change in (
        lambda: x.fill(1), lambda: operator.setitem(x, 0, 1), lambda: operator.iadd(x, 1), lambda: np.copyto(x, 1.0),
        lambda: operator.setitem(x[:, 1:], ..., 2), lambda: operator.setitem(x, [0], 1),
        lambda: operator.setitem(np.broadcast_to(cuda.zeros((3,), "float64"), (2, 3)), 0, 1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="read-only"):
            change()
    x.flags.writeable = True
    x.fill(1)
    same(x, np.ones((2, 3)))


@given(arrays(), st.sampled_from(DTYPES))
def test_astype(host, dtype):
    host = np.nan_to_num(host, posinf=7, neginf=-7).clip(-1e9, 1e9) if host.dtype.kind == "f" else host
    same(cuda.asarray(host).astype(dtype), host.astype(dtype))


@st.composite
def operands(draw, dtypes=FLOATS):
    """Two arrays that broadcast together, or an array and a number."""
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)).input_shapes
    first, second = (draw(arrays(dtypes, st.just(shape))) for shape in shapes)
    if draw(st.booleans()):
        second = draw(st.sampled_from([2, -1, 0.5, True, np.float32(1.5), np.float64(-2.5)]))
    return first, second


def on_device(*values):
    """Arrays sent there; numbers as they are."""
    return tuple(cuda.asarray(v) if isinstance(v, np.ndarray) else v for v in values)


@given(operands(), st.sampled_from([np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum]), st.booleans())
def test_arithmetic(pair, ufunc, swapped):
    pair = pair[::-1] if swapped else pair
    same(ufunc(*on_device(*pair)), ufunc(*pair))


@given(operands(("int64", "bool", "float32")), st.sampled_from([np.add, np.multiply, np.maximum, np.minimum]))
def test_arithmetic_of_mixed_dtypes(pair, ufunc):
    same(ufunc(*on_device(*pair)), ufunc(*pair))


@given(operands(DTYPES), st.sampled_from(ORDERINGS))
def test_comparisons(pair, compare):
    same(compare(*on_device(*pair)), compare(*pair))


@given(operands(("bool",)), st.sampled_from([np.logical_and, np.logical_or, np.logical_xor]))
def test_logic(pair, ufunc):
    same(ufunc(*on_device(*pair)), ufunc(*pair))


@given(viewed(FLOATS))
def test_functions_of_one_number(pair):
    host, device = pair
    for ufunc in (np.negative, np.square, np.abs, np.sign, np.isfinite, np.isnan, np.isinf, np.logical_not):
        same(ufunc(device), ufunc(host))
    same(np.sqrt(np.abs(device)), np.sqrt(np.abs(host)))
    same(device**2, host**2)
    for ufunc in (np.exp, np.tanh, np.expm1):
        same(ufunc(device), ufunc(host), ulps=4)
    for ufunc in (np.log, np.log1p):
        same(ufunc(np.abs(device)), ufunc(np.abs(host)), ulps=4)


@given(viewed(FLOATS), st.sampled_from([(-1, 1), (0.5, None), (None, 0.25), (1, -1)]))
def test_clip(pair, bounds):
    host, device = pair
    same(np.clip(device, *bounds), np.clip(host, *bounds))


@given(operands(FLOATS))
def test_where(pair):
    first, second = pair
    condition = first > 0
    same(np.where(cuda.asarray(condition), *on_device(*pair)), np.where(condition, *pair))
    same(np.where(cuda.asarray(first) < 0, -1, 1), np.where(first < 0, -1, 1))
    same(np.where(cuda.asarray(condition), cuda.asarray(condition), False), np.where(condition, condition, False))


@given(operands(FLOATS))
def test_out_and_where(pair):
    shape = np.broadcast_shapes(*map(np.shape, pair))
    dtype = np.result_type(*pair)
    host = np.full(shape, 7, dtype)
    device = cuda.asarray(host)
    there = np.broadcast_to(pair[0] > 0, shape)
    assert np.subtract(*on_device(*pair), out=device, where=cuda.asarray(there.copy())) is device
    np.subtract(*pair, out=host, where=there)
    same(device, host)
    narrow = cuda.empty(shape, "float32")  # NumPy casts within a kind
    np.multiply(*on_device(*pair), out=narrow)
    same(narrow, np.multiply(*pair, dtype=dtype).astype("float32"))


def test_in_place():
    host = np.arange(12, dtype="float32").reshape(3, 4)
    device = cuda.asarray(host)
    address = device.pointer
    for change in (operator.iadd, operator.imul, operator.isub, operator.itruediv):
        host, device = change(host, np.float32(3)), change(device, 3)
        host, device = change(host, host[:1].copy()), change(device, device[:1])
    same(device, host)
    assert device.pointer == address


@st.composite
def reductions(draw, dtypes):
    """A pair of arrays, and axes to reduce."""
    host, device = draw(viewed(dtypes))
    axis = draw(st.none() | hnp.valid_tuple_axes(host.ndim)) if host.ndim else None
    return host, device, axis, draw(st.booleans())


@given(reductions(DTYPES))
def test_largest_and_smallest(case):
    host, device, axis, keepdims = case
    for function in (np.max, np.min, np.all, np.any):
        try:
            expected = function(host, axis=axis, keepdims=keepdims)
        except ValueError:  # of nothing
            with pytest.raises(ValueError):
                function(device, axis=axis, keepdims=keepdims)
        else:
            same(function(device, axis=axis, keepdims=keepdims), expected)


@given(reductions(("int64", "bool")))
def test_sums_of_integers(case):
    host, device, axis, keepdims = case
    same(np.sum(device, axis, keepdims=keepdims), np.sum(host, axis, keepdims=keepdims))
    same(device.sum(axis, dtype=np.float64), host.sum(axis, dtype=np.float64))
    assert np.count_nonzero(device) == np.count_nonzero(host)


@given(reductions(FLOATS), st.sampled_from([None, np.float64]))
def test_sums(case, dtype):
    host, device, axis, keepdims = case
    host = np.nan_to_num(host, posinf=7, neginf=-7).astype(host.dtype)
    device = cuda.asarray(host)
    found, expected = (np.sum(a, axis, dtype=dtype, keepdims=keepdims) for a in (device, host))
    bound = np.sum(np.abs(host), axis, keepdims=keepdims, dtype=np.float64) * 64 * np.finfo(expected.dtype).eps
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert (np.abs(found.get() - expected) <= bound).all()
    if host.size and np.prod(expected.shape):
        mean = np.mean(device, axis, keepdims=keepdims)
        assert mean.dtype == host.dtype
        np.testing.assert_allclose(mean.get(), found.get() / (host.size // expected.size), rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("size", [1, 64, 65, 4096, 10000])
@pytest.mark.parametrize("dtype", FLOATS)
def test_long_sums_have_one_order(size, dtype):
    host = np.random.default_rng(size).standard_normal(size).astype(dtype)
    whole, device = float(np.sum(host, dtype=np.longdouble)), cuda.asarray(host)
    eps = np.finfo(dtype).eps
    assert abs(float(device.sum()) - whole) <= 2 * np.sqrt(size) * eps * np.abs(host).sum() / np.sqrt(size)
    rows = cuda.asarray(np.stack([host, host[::-1], host]))
    sums = rows.sum(axis=1).get()
    assert sums[0] == sums[2] == float(device.sum())  # whatever lies beside it
    assert rows.T.copy().sum(axis=0).get().tolist() == sums.tolist()  # and however it lies
    assert float(np.sum(device, dtype=np.float64)) == pytest.approx(whole, rel=1e-13, abs=1e-13)


@given(viewed(FLOATS, least=1))
def test_argmax(pair):
    host, device = pair
    if not host.size:
        return
    same(np.argmax(device), np.argmax(host))
    for axis in range(-1, host.ndim):
        same(np.argmax(device, axis=axis), np.argmax(host, axis=axis))
        same(np.argmax(device, axis=axis, keepdims=True), np.argmax(host, axis=axis, keepdims=True))


@given(viewed(least=1), st.data())
def test_joining_and_splitting(pair, data):
    host, device = pair
    axis = data.draw(st.integers(-host.ndim, host.ndim - 1))
    same(np.concatenate([device, device], axis), np.concatenate([host, host], axis))
    if host.ndim < 4:
        same(np.stack([device, device], axis), np.stack([host, host], axis))
    for found, expected in zip(np.split(device, [1, 2], axis), np.split(host, [1, 2], axis), strict=True):
        same(found, expected)


@given(viewed())
def test_new_arrays_like_others(pair):
    host, device = pair
    for function in (np.zeros_like, np.ones_like):
        same(function(device), function(host))
        same(function(device, dtype="float32"), function(host, dtype="float32"))
    same(np.full_like(device, True), np.full_like(host, True))
    assert np.empty_like(device).shape == np.shape(device) == host.shape and np.ndim(device) == host.ndim
    target = np.empty_like(device)
    np.copyto(target, device)
    same(target, host)


@st.composite
def indexed(draw, dtypes=FLOATS):
    """A pair of arrays and an index with arrays of integers."""
    host, device = draw(viewed(dtypes, least=1))
    host = host.copy()
    shape = draw(hnp.array_shapes(max_dims=2, max_side=3))
    count = draw(st.integers(1, min(2, host.ndim)))
    axes = sorted(draw(st.permutations(range(host.ndim)))[:count])
    parts = [slice(None)] * host.ndim
    for axis in range(host.ndim):
        length = host.shape[axis]
        if axis in axes and length:
            parts[axis] = draw(hnp.arrays("int64", shape, elements=st.integers(-length, length - 1)))
        elif length and draw(st.booleans()):
            parts[axis] = draw(st.one_of(st.integers(-length, length - 1), st.just(slice(None, None, -1))))
    return host, device, tuple(parts)


@given(indexed())
def test_looking_up(case):
    host, device, index = case
    same(device[index], host[index])


@given(indexed(), st.data())
def test_assigning_to_what_is_looked_up(case, data):
    host, device, index = case
    host[index], device[index] = 3, 3
    same(device, host)
    source = data.draw(hnp.arrays(host.dtype, host[index].shape, elements=st.floats(-8, 8, width=32)))
    host[index], device[index] = source, cuda.asarray(source)
    same(device, host)


def test_other_indices():
    host = np.arange(60.0).reshape(3, 4, 5)
    device = cuda.asarray(host)
    for index in (
        [2, 0], [], (slice(None), [1, 1]), (..., [0, 4]), np.array([True, False, True]),
        (slice(None), np.array([True, False, True, True])), (None, [0, 2]), ([0, 2], None), (0, slice(None), [0, 1]),
        ([[0], [1]], [0, 3]), (np.array(1), slice(2)), np.array([], np.int64),
    ):  # fmt: skip
        same(device[index], host[index])
    rows = np.array([2, 0, 2, 1])
    same(device[cuda.asarray(rows)], host[rows])
    same(device[:, cuda.asarray(rows)], host[:, rows])
    for wrong in ([3], [-4], ([0], [4])):
        with pytest.raises(IndexError, match="index: expected numbers from"):
            device[wrong]
    with pytest.raises(IndexError):
        device[3]
    with pytest.raises(IndexError, match="index: expected numbers from 0 to 2, got 0 to 3"):
        device[cuda.asarray(np.array([0, 3]))]
    with pytest.raises(IndexError, match="integers"):
        device[[0.5]]
    for mask in (lambda: device[device > 3], lambda: operator.setitem(device, device > 3, 0)):
        with pytest.raises(TypeError, match="DeviceArray of bool"):
            mask()
    with pytest.raises(TypeError, match="may have a place twice"):
        device[cuda.asarray(rows)] = 1


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_take(axis, strided):
    host = np.arange(120.0).reshape(6, 4, 5)[::2]
    device = cuda.asarray(host)
    chosen = np.array([2, 0, 0, 1])
    same(device.take(chosen, axis), host.take(chosen, axis))
    same(device.take(cuda.asarray(chosen), axis), host.take(chosen, axis))
    same(device.take(1, axis), host.take(1, axis))
    same(device.take([9, 1], axis, mode="clip"), host.take([9, 1], axis, mode="clip"))
    same(device.take(chosen), host.take(chosen))
    expected = host.take(chosen, axis)
    out = cuda.zeros(expected.shape[::-1], "float64").T if strided else cuda.zeros(expected.shape, "float64")
    assert device.take(chosen, axis, out=out, mode="clip") is out
    same(out, expected)
    with pytest.raises(ValueError, match="take: out"):
        device.take([0], axis, out=out)
    with pytest.raises(TypeError, match="take: expected mode"):
        device.take([0], axis, mode="wrap")


def test_numbers_of_one():
    x = cuda.asarray(np.array([3.5, 2.0]))
    assert float(x[0]) == x[0].item() == 3.5 and int(x[1]) == 2 and bool((x > 2).any()) and f"{x[0]:.2f}" == "3.50"
    assert [0, 1, 2][cuda.asarray(np.array([0, 5, 1])).argmax()] == 1
    for wrong in (lambda: float(x), lambda: bool(x), lambda: x.item()):
        with pytest.raises(ValueError, match="array of one number"):
            wrong()
    with pytest.raises(TypeError):
        len(x[0])
    assert [float(value) for value in x] == [3.5, 2.0] and len(x) == 2
    assert repr(x) == "DeviceArray(shape=(2,), dtype=float64)"


X = np.ones((2, 3), np.float32)
UNKNOWN = {
    "cumsum": lambda x: np.cumsum(x),
    "sin": lambda x: np.sin(x),
    "power": lambda x: x**3,
    "add": lambda x: x + X,
    "multiply": lambda x: X * x,
    "maximum": lambda x: np.maximum(x, None),
    "subtract.outer": lambda x: np.subtract.outer(x, x),
    "dot": lambda x: np.dot(x, x.T),
    "sort": lambda x: np.sort(x),
    "copyto": lambda x: np.copyto(X.copy(), x),
    "where": lambda x: np.where(x > 0),
    "sum": lambda x: np.sum(x, where=x > 0),
    "get": lambda x: np.asarray(x),
    "get()": lambda x: np.array(x),
    "subtract": lambda x: np.subtract(x, x, where=x > 0),
    "out": lambda x: np.add(x, x, out=X.copy()),
    "reshape": lambda x: np.reshape(x, -1, order="F"),
    "concatenate": lambda x: np.concatenate([x, X]),
    "index": lambda x: x[True],
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_nothing_goes_to_the_host_in_silence(name):
    x = cuda.asarray(X)
    with pytest.raises(TypeError, match=name.removesuffix("()")):
        UNKNOWN[name](x)


def test_too_many_axes():
    host = np.arange(3.0**5).reshape((3,) * 5)
    device = cuda.asarray(host)
    same(device[:, 1:].reshape(3, 2, 27), host[:, 1:].reshape(3, 2, 27))
    with pytest.raises(TypeError, match="copy: .* at most four axes"):
        device[::2, ::2, ::2, ::2, ::2].copy()


def test_what_no_array_can_be():
    for dtype in ("float16", "complex64", ">f8", "int32", object):
        with pytest.raises(DTypeError, match="dtype: expected float32, float64, bool or int64"):
            cuda.asarray(np.zeros(3, dtype))
    with pytest.raises(ShapeError):
        cuda.empty((2, -1), "float32")
    with pytest.raises(TypeError, match="expected a numpy.ndarray, or an array with __cuda_array_interface__"):
        cuda.asarray([1.0, 2.0])


class ByInterface:
    """An array of another library's, that tells where it lies."""

    def __init__(self, array, **changes):
        self.array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__ | changes


class ByDLPack:
    """Another library's that has DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@given(viewed(), st.sampled_from([ByInterface, ByDLPack]))
def test_arrays_of_others_are_not_copied(pair, kind):
    host, device = pair
    other = cuda.asarray(kind(device))
    same(other, host)
    if host.size:
        assert other.pointer == device.pointer
        other[...] = 0
        same(device, np.zeros_like(host))


def test_interfaces():
    device = cuda.asarray(np.arange(6.0).reshape(2, 3))
    device.flags.writeable = False
    other = cuda.asarray(ByInterface(device))
    assert not other.flags.writeable
    with pytest.raises(BufferError):
        device.__dlpack__()
    with pytest.raises(DTypeError):
        cuda.asarray(ByInterface(device, typestr="<f2"))
    with pytest.raises(LayoutError, match="not aligned"):
        cuda.asarray(ByInterface(device, strides=(12, 8)))
    with pytest.raises(TypeError, match="mask"):
        cuda.asarray(ByInterface(device, mask=device))


def test_memory_given_by_dlpack_is_kept_as_long_as_it_is_used():
    gc.collect()
    before = len(dlpack._given)
    other = cuda.asarray(ByDLPack(cuda.asarray(np.arange(1000.0))))
    assert len(dlpack._given) == before + 1
    cuda.zeros((1000,), "float64")
    same(other, np.arange(1000.0))
    del other
    gc.collect()
    assert len(dlpack._given) == before
    cuda.zeros((3,), "float64").__dlpack__()  # nobody takes it
    gc.collect()
    assert len(dlpack._given) == before


def test_numbas_own_arrays():
    from numba import cuda as numba_cuda

    theirs = numba_cuda.to_device(np.arange(6.0).reshape(2, 3))
    mine = cuda.asarray(theirs)
    mine[1] = 7
    assert theirs.copy_to_host()[1].tolist() == [7, 7, 7]
