"""Tensors of other libraries and memory maps: their memory is read where it lies, or they are refused by name."""

import tracemalloc

import hostile
import numpy as np
import pytest
from checks import same_bits

import numbarnn as nr
from numbarnn.arrays.devices import native
from numbarnn.arrays.tensors import host_array

RANDOM = np.random.default_rng(0)
X, Y = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((4, 6, 2), (6, 1)))
LENGTHS, RESET = np.array([4, 2, 3, 4, 1, 4]), RANDOM.random((4, 6)) < 0.3
LABELS = np.array([0, 1, 1, 0, 1, 0])
GRU, LSTM, DENSE, TABLE = nr.GRU(3), nr.LSTM(3), nr.Dense(2), nr.Embedding(3, 2)
P, Q, R, S = GRU.init(2, seed=0), LSTM.init(2, seed=0), DENSE.init(2, seed=0), TABLE.init(seed=0)
OUT, STATE, TAPE = GRU.forward(P, X)
NOISY = nr.GRU(3, input_dropout=0.5)
MASKS = NOISY.draw(4, 6, 2, seed=0)
NAMES = [*MASKS]
LOGITS = RANDOM.standard_normal((6, 2)).astype(np.float32)
WEIGHTS = np.array([1, 2, 0.5, 1, 0, 1], np.float32)
NET = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], 2, seed=0)
NET_OUT, NET_STATE, NET_TAPE = NET.forward(X)
LANGUAGE = nr.Network([nr.Embedding(3, 2), nr.RNN(2), nr.Dense(3)], seed=0)
GRAPH = nr.Graph({"x": 2}, {"h": nr.Node(nr.RNN(2), "x"), "y": nr.Node([nr.Last(), nr.Dense(1)], "h")}, ["y"], seed=0)
GRAPH_OF_STEPS = nr.Graph({"x": 2}, {"y": nr.Node([nr.RNN(2), nr.Dense(1)], "x")}, ["y"], seed=0)
GRAPH_TAPE = GRAPH.forward({"x": X})[-1]
AHEAD = nr.Network([nr.RNN(2)], 2, seed=0)


def fitted(x, y, weights=None, **arguments):
    """The parameters after an epoch."""
    net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], 2, seed=0)
    net.fit(x, y, weights=weights, epochs=1, batch_size=4, progress=False, **arguments)
    return net.params.flat


def updated(flat):
    """Parameters that have got these numbers."""
    params = NET.params.copy()
    params.flat = flat
    return params.flat


# {what: (function of arrays, the arrays)}: every place where a user's numbers come in.
ENTRIES = {
    "a recurrent layer": (lambda x, h, n, r: GRU(P, x, h, n, reset=r), (X, STATE, LENGTHS, RESET)),
    "an LSTM's state": (lambda h, c: LSTM(Q, X, (h, c)), (STATE, STATE)),
    "its gradient": (lambda dy, dh: GRU.backward(TAPE, dy, dh).params.flat, (OUT, STATE)),
    "a dense layer": (lambda x: DENSE(R, x), (X,)),
    "a dense layer on rows": (lambda x: DENSE(R, x), (X[0],)),
    "an embedding": (lambda i: TABLE(S, i), (LABELS[:, None],)),
    "masks": (lambda m: NOISY(P, X, masks={NAMES[0]: m}), (MASKS[NAMES[0]],)),
    "a layer's stream": (lambda x, h: GRU.stream(P, 6, h).step(x), (X[0], STATE)),
    "a run of a stream": (lambda x: GRU.stream(P, 6).run(x), (X,)),
    "a fed stream": (lambda x, k: nr.Network([nr.RNN(1)], 2, seed=0).stream(6).feed_back(x, 4, k), (X[0], X[:, :, :1])),
    "a descriptor": (lambda x: nr.TensorDescriptor.of(x, "tnc").array, (X,)),
    "predict": (lambda x, n, r: NET.predict(x, n, r), (X, LENGTHS, RESET)),
    "a network": (lambda x, h: NET(x, (h,)), (X, NET_STATE[0])),
    "a network's gradient": (lambda dy, dh: NET.backward(NET_TAPE, dy, (dh,)).x, (NET_OUT, NET_STATE[0])),
    "states": (lambda x: NET.states(x), (X,)),
    "loss": (lambda x, y, w: NET.loss(x, y, weights=w), (X, Y, WEIGHTS)),
    "loss_and_gradient": (lambda f, x, y: NET.loss_and_gradient(f, x, y)[1], (NET.params.flat, X, Y)),
    "fit": (fitted, (X, Y, WEIGHTS)),
    "fit's validation": (lambda x, y: fitted(X, Y, validation=(x, y)), (X, Y)),
    "parameters": (updated, (NET.params.flat,)),
    "a network of indices": (lambda i: LANGUAGE.predict(i), (LABELS.reshape(3, 2),)),
    "labels": (lambda x, y: LANGUAGE.loss(x, y, "cross_entropy"), (LABELS.reshape(3, 2), LABELS.reshape(3, 2))),
    "sample": (lambda i: nr.sample(LANGUAGE, i, 3, seed=0), (LABELS,)),
    "extrapolate": (lambda x: nr.extrapolate(AHEAD, x, 3), (X,)),
    "a graph's stream": (lambda x: GRAPH_OF_STEPS.stream(batch=6).step({"x": x})["y"], (X[0],)),
    "a run of a graph's stream": (lambda x: GRAPH_OF_STEPS.stream(batch=6).run({"x": x})["y"], (X,)),
    "a graph": (lambda x, n: GRAPH.predict({"x": x}, n)["y"], (X, LENGTHS)),
    "a graph's gradient": (lambda dy: GRAPH.backward(GRAPH_TAPE, {"y": dy}).params.flat, (Y,)),
    "a graph's loss": (lambda x, y: GRAPH.loss({"x": x}, {"y": y}), (X, Y)),
    "a ragged": (lambda x: nr.Ragged(x, [0, 3, 4]).data, (X[:, 0],)),
    "offsets": (lambda n: nr.Ragged(X[:, 0], n).data, (np.array([0, 3, 4]),)),
    "a list of sequences": (lambda a, b: nr.Ragged.of([a, b]).data, (X[:, 0], X[:2, 1])),
    "windows": (lambda x: nr.windows(x, 2)[0], (X[:, 0],)),
    "windows of several": (lambda a, b: nr.windows([a, b], 2)[0], (X[:, 0], X[:, 1])),
    "a list of lists": (lambda a, b: NET.predict([[a], [b]]), (X[0, 0], X[1, 0])),
    "strips": (lambda x: nr.strips(x, 2), (X[:, 0],)),
    "a standardizer": (lambda x, n: nr.Standardizer.of(x, n)(x), (X, LENGTHS)),
    "what is standardized": (lambda x: nr.Standardizer((0, 1), (1, 2)).inverse(x), (X,)),
    "mse": (lambda p, y, w: nr.MSE()(p, y, weights=w), (Y, Y + 1, WEIGHTS)),
    "mse of lengths": (lambda p, y, n: nr.MSE()(p, y, n), (X, X + 1, LENGTHS)),
    "cross entropy": (lambda p, y, w: nr.CrossEntropy()(p, y, weights=w), (LOGITS, LABELS, WEIGHTS)),
    "binary cross entropy": (lambda p, y: nr.BinaryCrossEntropy()(p, y), (Y, LABELS)),
    "a distribution": (lambda p: nr.GaussianNLL().distribution(p), (LOGITS,)),
    "accuracy": (lambda p, y, w: nr.accuracy(p, y, weights=w), (LOGITS, LABELS, WEIGHTS)),
    "connectivity": (lambda m: nr.Connectivity(m).mask, (1 - np.eye(3),)),
}


def mapped(array, folder):
    """A read-only memory map of a file that holds the array."""
    path = folder / f"numbers {len(list(folder.iterdir()))}"
    path.write_bytes(array.tobytes())
    return np.memmap(path, array.dtype, "r", shape=array.shape)


def of_torch(array, folder):
    return pytest.importorskip("torch").tensor(array)


def of_jax(array, folder):
    if array.dtype.itemsize == 8:  # JAX has them where it is told so for a whole process; here another tensor stands for it
        return hostile.Tensor(array)
    return pytest.importorskip("jax").numpy.array(array)


WAYS = {"a memory map": mapped, "DLPack": lambda array, folder: hostile.Tensor(array), "PyTorch": of_torch, "JAX": of_jax}


def arrays_in(found):
    """All arrays of a result, and its numbers."""
    if isinstance(found, (tuple, list)):
        return [array for each in found for array in arrays_in(each)]
    return [np.asarray(found)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ENTRIES)
def test_every_entry_takes_what_shares_its_memory(what, way, tmp_path):
    function, arrays = ENTRIES[what]
    expected, given = function(*arrays), [WAYS[way](array, tmp_path) for array in arrays]
    for at, tensor in enumerate(given):
        found = function(*[tensor if index == at else array for index, array in enumerate(arrays)])
        for one, other in zip(arrays_in(found), arrays_in(expected), strict=True):
            assert same_bits(one, other), at


def refused(array, **attributes):
    """{what: (tensor, error, words of it)} of what is refused."""
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(array)
    found = {
        "a masked array": (np.ma.masked_array(array), TypeError, "MaskedArray"),
        "a tensor elsewhere": (hostile.TensorElsewhere(array), nr.DeviceError, "TensorElsewhere on DLPack's device 8"),
        "a tensor without memory": (tensor.to("meta"), nr.DeviceError, "got Tensor: .*meta"),
    }
    if array.dtype.kind == "f":
        found |= {
            "a tensor that needs a gradient": (tensor.clone().requires_grad_(), TypeError, "tensor.detach()"),
            "bfloat16": (tensor.bfloat16(), nr.DTypeError, "got Tensor of torch.bfloat16"),
            "a sparse tensor": (tensor.to_sparse(), TypeError, "got Tensor: "),
            "signs to be changed": (
                torch.complex(tensor, tensor).conj().imag,
                TypeError,
                r"resolve_neg\(\)",
            ),
        }
    return found


@pytest.mark.parametrize("what", ENTRIES)
def test_every_entry_refuses_what_it_would_misread(what):
    function, arrays = ENTRIES[what]
    for at, array in enumerate(arrays):
        for kind, (value, error, words) in refused(array).items():
            with pytest.raises(error, match=words):
                function(*[value if index == at else each for index, each in enumerate(arrays)])
                pytest.fail(f"{kind} is taken as argument {at}")


def test_a_tensor_of_a_gpu_says_that_there_is_none():
    class OnGPU(hostile.Tensor):
        def __dlpack_device__(self):
            return 2, 0

    with pytest.raises(nr.DeviceError, match="^x: expected "):
        NET.predict(OnGPU(X))
    with pytest.raises((nr.DeviceError, TypeError), match="^x: expected "):
        GRU(P, OnGPU(X))


def test_a_tracer_of_jax_is_refused():
    jax = pytest.importorskip("jax")
    with pytest.raises((nr.DeviceError, TypeError), match="^x: expected "):
        jax.jit(lambda x: GRU(P, x)[0])(jax.numpy.array(X))


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_memory_is_the_tensors_own(library, tmp_path):
    tensor = {"torch": of_torch, "jax": of_jax}[library](X, tmp_path)
    address = tensor.data_ptr() if library == "torch" else tensor.unsafe_buffer_pointer()
    assert nr.TensorDescriptor.of(tensor).address == address
    assert native("x", tensor).ctypes.data == host_array("x", tensor).ctypes.data == address
    assert nr.windows(tensor[:, 0], 2)[0].base is not None


def test_a_tensor_of_any_strides():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(X)
    for seen in (tensor.transpose(0, 1), tensor[:, ::2], tensor.flip(0), tensor[:, :1].expand(4, 6, 2)):
        described = nr.TensorDescriptor.of(seen)
        assert described.address == seen.data_ptr() and described.strides == tuple(4 * stride for stride in seen.stride())
        assert same_bits(GRU(P, seen)[0], GRU(P, seen.numpy())[0])


def test_a_class_is_no_tensor():
    for kind in (hostile.Tensor, pytest.importorskip("torch").Tensor):
        with pytest.raises(TypeError, match=rf"^x: expected numbers: an array, .*, got {type(kind).__name__}$"):
            NET.predict(kind)


def test_results_become_tensors_without_a_copy():
    torch = pytest.importorskip("torch")
    y = NET.predict(X)
    tensor = torch.from_dlpack(y)
    assert tensor.data_ptr() == y.ctypes.data
    net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], 2, seed=0)
    torch.from_dlpack(net.params.flat).mul_(2)  # the vector of the network itself
    assert same_bits(net.params.flat, NET.params.flat * 2)


def test_a_file_is_trained_on_without_being_loaded(tmp_path):
    """NumPy tells `tracemalloc` what it allocates; the pages of a map are not its own."""
    shape = 50, 8000, 8  # many times a piece of what is computed at once
    file = np.memmap(tmp_path / "x", np.float32, "w+", shape=shape)
    file[:] = RANDOM.standard_normal(shape, np.float32)
    file.flush()
    x, y = np.memmap(tmp_path / "x", np.float32, "r", shape=shape), RANDOM.standard_normal((8000, 1), np.float32)
    net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], 8, seed=0)

    def peak(function):
        tracemalloc.start()
        try:
            function()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    work = {
        "fit": lambda: net.fit(x, y, epochs=1, batch_size=20, progress=False),
        "predict": lambda: net.predict(x),
        "loss": lambda: net.loss(x, y),
        "windows": lambda: nr.windows(x.reshape(-1, 8), 10),
    }
    net.fit(x[:, :40], y[:40], epochs=1, batch_size=20, progress=False)  # compiled before it is measured
    for name, function in work.items():
        assert peak(function) < x.nbytes / 4, name
    assert peak(lambda: nr.Standardizer.of(x)) < x.nbytes  # float64 of one channel of eight at a time, and its squares
    assert same_bits(net.predict(x), net.predict(np.array(x)))


# The names of dimensions


def test_an_xarray_is_read_by_place_and_its_names_are_held_against_the_layout():
    xarray = pytest.importorskip("xarray")
    x = xarray.DataArray(X, dims=("time", "sample", "channel"))
    y = xarray.DataArray(Y, dims=("sample", "feature"))
    weights = xarray.DataArray(WEIGHTS, dims="sample")
    assert same_bits(NET.predict(x), NET.predict(X)) and same_bits(NET.predict(x[:, 0]), NET.predict(X[:, 0]))
    assert same_bits(NET.predict(xarray.DataArray(X, dims=("a", "b", "c"))), NET.predict(X))
    assert NET.loss(x, y, weights=weights) == NET.loss(X, Y, weights=WEIGHTS)
    assert GRAPH.loss({"x": x}, {"y": y}) == GRAPH.loss({"x": X}, {"y": Y})
    assert same_bits(nr.windows(x[:, 0], 2)[0], nr.windows(X[:, 0], 2)[0])
    dense = nr.Network([nr.Dense(1)], 2, seed=0)
    for rows in (x[:, 0], x[0]):
        assert same_bits(dense.predict(rows), dense.predict(rows.to_numpy()))
    labels = xarray.DataArray(LABELS.reshape(3, 2), dims=("time", "sample"))
    assert same_bits(LANGUAGE.predict(labels), LANGUAGE.predict(LABELS.reshape(3, 2)))
    swapped = x.transpose("sample", "time", "channel")
    calls = {
        "x": lambda: NET.predict(swapped),
        "y": lambda: NET.loss(x, y.T),
        "weights": lambda: nr.Network([nr.GRU(2)], 2, seed=0).loss(X, X, weights=swapped[:, :, 0]),
        "series": lambda: nr.windows(x[:, 0].T, 2),
        "reset": lambda: NET.predict(X, reset=swapped[:, :, 0] > 0),
        "start": lambda: nr.extrapolate(AHEAD, swapped, 2),
        r"inputs\['x'\]": lambda: GRAPH.predict({"x": swapped}),
    }
    for argument, call in calls.items():
        with pytest.raises(nr.LayoutError, match=rf"^{argument}: expected dimensions in the order .*; transpose\('"):
            call()
    with pytest.raises(nr.LayoutError, match=r"^x: expected .* in the order t, c, got a DataArray of \('sample', 'ch"):
        NET.predict(x[0])
    with pytest.raises(nr.LayoutError, match="^prompt: "):
        nr.sample(LANGUAGE, labels.T, 2)
    with pytest.raises(nr.LayoutError, match=r"^lengths: expected .* n, got a DataArray of \('time',\)"):
        NET.predict(X, lengths=xarray.DataArray(LENGTHS, dims="time"))
    with pytest.raises(nr.LayoutError, match=r"^mask: expected .* n, got a DataArray of \('time',\)"):
        AHEAD.stream(batch=2).reset(xarray.DataArray([True, False], dims="time"))


def test_the_names_of_the_parts_of_a_list_are_held_against_the_layout_too():
    xarray = pytest.importorskip("xarray")
    parts = [xarray.DataArray(part, dims=("sample", "channel")) for part in X]
    assert same_bits(NET.predict(parts), NET.predict(X))
    assert same_bits(NET.predict([part[0] for part in parts]), NET.predict(X[:, 0]))
    with pytest.raises(nr.LayoutError, match=r"^x: expected .* in the order n, c, got .*; transpose\('sample', 'channel'\)"):
        NET.predict([part.T for part in parts])
    with pytest.raises(nr.LayoutError, match=r"^x: expected dimensions in the order c, got a DataArray of \('time',\)"):
        NET.predict([part[0].rename(channel="time") for part in parts])


def test_tables_with_gaps_have_nan_there():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": pandas.array([1, None, 3], "Int64"), "b": pandas.array([True, None, False], "boolean")})
    x, y = nr.windows(frame, 1)
    expected = np.array([[1.0, 1.0], [np.nan, np.nan], [3.0, 0.0]])
    assert np.array_equal(x[0], expected[:-1], equal_nan=True) and np.array_equal(y, expected[1:], equal_nan=True)
    whole = pandas.DataFrame(np.arange(6.0).reshape(3, 2), columns=["a", "b"])
    assert nr.Ragged.of([whole, whole[:1]]).data.tolist() == [[0, 1], [2, 3], [4, 5], [0, 1]]
    by_station = whole.set_index(pandas.MultiIndex.from_tuples([("x", 0), ("x", 1), ("y", 0)]))
    parts = [part for _, part in by_station.groupby(level=0)]
    assert nr.windows(parts, 1)[0].shape == (1, 1, 2)  # no window crosses from one station into the next


@pytest.mark.parametrize(
    "call",
    [
        lambda masked: nr.CrossEntropy(class_weights=masked),
        lambda masked: nr.Quantile(levels=masked / 2),
        lambda masked: nr.Standardizer(mean=masked, scale=(1, 1)),
        lambda masked: nr.NashSutcliffe(spread=masked),
        lambda masked: nr.Ragged.of(masked[:, None, None]),
        lambda masked: nr.plot.forecast(np.arange(2.0), np.arange(2.0), times=masked),
    ],
)
def test_masked_arrays_are_refused_where_a_few_numbers_are_asked_for(call):
    with pytest.raises(TypeError, match="asked_array|MaskedArray"):
        call(np.ma.array([0.25, 1.0]))
