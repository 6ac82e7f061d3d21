"""What is not yet an array of the network's dtype is converted once, or refused by name; shapes that would fit are said."""

import warnings

import numpy as np
import pytest
from checks import same_bits

import numbarnn as nr
from numbarnn.arrays.conversion import integers_like, numbers_like

X = np.random.default_rng(0).integers(-3, 4, (4, 6, 2)).astype(np.float32)  # whole numbers: every kind of number holds them
Y = np.random.default_rng(1).integers(-3, 4, (6, 3)).astype(np.float32)
LABELS = np.array([0, 2, 1, 1, 0, 2])


class Table:
    """As a pandas Series or DataFrame: no array, but it gives one."""

    def __init__(self, array):
        self.array = array

    def to_numpy(self):
        return self.array


class Tensor:
    """As a tensor of another library in the host's memory."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


WAYS = {
    "float64": lambda a: a.astype(np.float64),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "int8": lambda a: a.astype(np.int8),
    "int64": lambda a: a.astype(np.int64),
    "the other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "lists": lambda a: a.tolist(),
    "a list of arrays": list,
    "a tuple of lists": lambda a: tuple(a.tolist()),
    "a table": Table,
    "a tensor": Tensor,
    "a matrix's base": lambda a: a.view(type("Own", (np.ndarray,), {})),
    "unaligned": lambda a: np.frombuffer(b"." + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
}


def network(last=True, dtype="float32", layout="tnc"):
    return nr.Network([nr.GRU(3), *([nr.Last()] if last else []), nr.Dense(3)], 2, dtype, layout, seed=0)


@pytest.mark.parametrize("way", WAYS)
def test_everything_becomes_the_array_of_the_networks_dtype(way):
    net, x, y = network(), WAYS[way](X), WAYS[way](Y)
    assert same_bits(net.predict(x), net.predict(X))
    assert net.loss(x, y) == net.loss(X, Y)
    found, expected = net.loss_and_gradient(net.params.flat, x, y), net.loss_and_gradient(net.params.flat, X, Y)
    assert found[0] == expected[0] and same_bits(found[1], expected[1])
    trained, history = network(), net.fit(X, Y, epochs=2, batch_size=4, validation=(X, Y), progress=False)
    assert trained.fit(x, y, epochs=2, batch_size=4, validation=(x, y), progress=False).loss == history.loss
    assert same_bits(trained.params.flat, net.params.flat)


def test_what_is_an_array_of_the_dtype_is_not_copied():
    for array in (X, X[::2, ::-1], X.transpose(2, 0, 1)):
        assert numbers_like("x", array, np.dtype("float32")) is array
    assert integers_like("x", LABELS) is LABELS
    before = X.copy()
    network(dtype="float64").predict(X)
    assert same_bits(X, before)


def test_a_ragged_of_another_dtype():
    net, lengths = network(last=False), [4, 1, 3]
    x, y = (nr.Ragged.of([a[:length, n] for n, length in enumerate(lengths)]) for a in (X, np.stack([Y] * 4)))
    x64, y64 = (nr.Ragged(r.data.astype(np.float64), r.offsets) for r in (x, y))
    assert same_bits(net.predict(x64).data, net.predict(x).data)
    assert net.loss(x64, y64) == net.loss(x, y)


@pytest.mark.parametrize("labels", [LABELS.tolist(), tuple(LABELS), Table(LABELS), Tensor(LABELS), LABELS.astype(np.uint16)])
def test_labels_in_lists_and_tables(labels):
    assert network().loss(X, labels, "cross_entropy") == network().loss(X, LABELS, "cross_entropy")


def test_the_shape_decides_whether_integers_are_labels_or_probabilities():
    net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], 2, seed=0)
    truth, labels = LABELS > 0, (LABELS > 0).astype(int)
    expected = net.loss(X, labels, "binary_cross_entropy")
    for y in (truth, truth.tolist(), labels[:, None], labels[:, None].tolist(), labels[:, None].astype("f8")):
        assert net.loss(X, y, "binary_cross_entropy") == pytest.approx(expected, rel=1e-6)


def test_integers_are_numbers_where_they_have_the_shape_of_the_prediction():
    hot = np.eye(3, dtype=int)[LABELS]
    assert network().loss(X, hot) == network().loss(X, hot.astype("f4"))


def test_windows_of_lists_integers_and_tables():
    expected = nr.windows(np.arange(8.0), 3)
    for series in (list(range(8)), np.arange(8), np.arange(8, dtype=np.int8), Table(np.arange(8)), np.arange(8, dtype="f2")):
        for found, array in zip(nr.windows(series, 3), expected):
            assert found.dtype == np.float64 and np.array_equal(found, array) and not found.flags.writeable
    assert nr.windows(Table(np.ones((5, 2), np.float32)), 2)[0].dtype == np.float32
    assert nr.windows([True, False, True], 1)[1].ravel().tolist() == [0.0, 1.0]


def test_extrapolate_takes_what_predict_takes():
    net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(2)], 2, seed=0)
    assert same_bits(nr.extrapolate(net, X.tolist(), 3), nr.extrapolate(net, X, 3))
    assert nr.extrapolate(net, Table(X[:, 0].astype(int)), 3).shape == (3, 2)


def test_a_wide_number_is_refused_and_a_wide_integer_rounded():
    large = X.astype(np.float64)
    large[2, 1, 0] = -1e300
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        message = r"x: expected numbers that float32 holds, up to 3.4e\+38, got -1e\+300 at \(2, 1, 0\)"
        with pytest.raises(ValueError, match=message):
            network().predict(large)
        assert np.isinf(numbers_like("x", [np.inf, -np.inf], np.dtype("float32"))).all()
        assert numbers_like("x", [1e-300], np.dtype("float32")) == 0
        assert numbers_like("x", [2**24 + 1], np.dtype("float32")) == 2**24


NO_NUMBERS = {
    "objects": (X.astype(object), nr.DTypeError, "got object"),
    "text": (X.astype(str), nr.DTypeError, "got <U"),
    "a list with text": ([[["1", 2.0]]], nr.DTypeError, "got <U.* from a list"),
    "a list with None": ([[[None, 2.0]]], nr.DTypeError, "got object from a list"),
    "complex": (X.astype(complex), nr.DTypeError, "got complex128"),
    "dates": (X.astype("datetime64[s]"), nr.DTypeError, "got datetime64"),
    "records": (np.zeros((4, 6, 2), "f4,f4"), nr.DTypeError, "got "),
    "a masked array": (np.ma.masked_equal(X, 0), TypeError, "got a MaskedArray, whose mask would be lost"),
    "masked arrays in a list": (list(np.ma.masked_equal(X, 0)), TypeError, "got a MaskedArray"),
    "masked arrays in lists": ([list(np.ma.masked_equal(X, 0))], TypeError, "got a MaskedArray"),
    "nothing": (None, TypeError, "got NoneType"),
    "a dict": ({"x": X}, TypeError, "got dict"),
    "a generator": ((row for row in X), TypeError, "got generator"),
    "a string": ("abc", TypeError, "got str"),
    "different lengths": ([[[1.0, 2.0]], [[1.0, 2.0]] * 2], TypeError, r"nr.Ragged.of.*got a list of parts that differ"),
}


@pytest.mark.parametrize("what", NO_NUMBERS)
def test_what_holds_no_numbers_is_refused_by_name(what):
    value, error, message = NO_NUMBERS[what]
    net, before = network(), network().params.flat
    for argument, call in (
        ("x", lambda: net.predict(value)),
        ("x", lambda: net.fit(value, Y, progress=False)),
        ("y", lambda: net.fit(X, value, progress=False)),
        ("y", lambda: net.loss_and_gradient(net.params.flat, X, value)),
        ("series", lambda: nr.windows(value, 1)),
        ("start", lambda: nr.extrapolate(nr.Network([nr.GRU(2)], 2, seed=0), value, 1)),
    ):
        with pytest.raises(error, match=f"^{argument}: expected .*{message}"):
            call()
    assert same_bits(net.params.flat, before)


def test_indices_are_never_rounded():
    net = nr.Network([nr.Embedding(5, 2), nr.Dense(2)], seed=0)
    x = [[1, 2, 4], [0, 0, 3]]
    assert same_bits(net.predict(x), net.predict(np.array(x)))
    assert same_bits(net.predict(Table(np.array(x, np.int8))), net.predict(np.array(x)))
    with pytest.raises(nr.DTypeError, match="x: expected integers, got float64"):
        net.predict([[1.0, 2.0]])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda n: n.fit(X, LABELS), r'y: expected 2 axes \(nc\), got 1 .*loss="cross_entropy"'),
        (lambda n: n.fit(X, LABELS.tolist()), r'y: expected 2 axes \(nc\), got 1 .*loss="cross_entropy"'),
        (lambda n: n.fit(X, LABELS[:, None]), r'y: expected 3 channels, got 1 .*loss="cross_entropy"'),
        (lambda n: one_channel().fit(X, LABELS % 2), r'y\[:, None\] has a channel axis; labels.*loss="binary_cr'),
        (lambda n: one_channel().fit(X, Y[:, 0]), r"y: expected 2 axes \(nc\), got 1 \(shape \(6,\)\); y\[:, None\] has"),
        (lambda n: one_channel("cnt").fit(X.transpose(2, 1, 0), Y[:, 0]), r"y\[None, :\] has a channel axis"),
        (lambda n: n.predict(X.transpose(2, 0, 1)), r"x: expected 2 channels, got 6 .*fits layout='ctn' or 'cnt'"),
        (lambda n: n.predict(X[:, 0].T), r"x: expected 2 channels, got 4 .*its transpose fits"),
        (lambda n: n.fit(X.transpose(1, 0, 2), Y), r"y: expected 4 samples like x, got 6 .*\(6, 4, 2\), fits layout='ntc'"),
        (lambda n: n.predict(X.transpose(1, 0, 2), [1] * 6), r"lengths: expected shape \(4,\).*fits layout='ntc'"),
        (lambda n: one_channel(channels=1).predict(X[:, 0, 0]), r"x: expected 2 or 3 axes .*x\[:, None\] is one sequence"),
    ],
)
def test_what_would_fit_is_said(call, message):
    with pytest.raises(nr.ShapeError, match=message):
        call(network())


def one_channel(layout="tnc", channels=2):
    return nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels, layout=layout, seed=0)


@pytest.mark.parametrize("layout", ["tnc", "nct", "ctn"])
@pytest.mark.parametrize("last", [True, False])
def test_one_sequence_is_trained_as_it_is_predicted(last, layout):
    """With a batch of one in its place every number is the same."""
    order = ["tnc".index(letter) for letter in layout]
    batch = X[:, :1].transpose(order)
    alone, net = batch.squeeze(layout.index("n")), network(last, layout=layout)
    targets = net.predict(batch) + 1
    letters = net.output_layout
    own = targets.squeeze(letters.index("n"))
    assert net.predict(alone).shape == own.shape
    assert net.loss(alone, own) == net.loss(batch, targets)
    found, expected = (net.loss_and_gradient(net.params.flat, *data) for data in ((alone, own), (batch, targets)))
    assert found[0] == expected[0] and same_bits(found[1], expected[1])
    net.fit(alone, own, epochs=2, validation=(alone, own), progress=False)
    other = network(last, layout=layout)
    other.fit(batch, targets, epochs=2, validation=(batch, targets), progress=False)
    assert same_bits(net.params.flat, other.params.flat)


def test_labels_of_one_sequence():
    assert network().loss(X[:, 0], 2, "cross_entropy") == network().loss(X[:, :1], [2], "cross_entropy")
    assert network(False).loss(X[:, 0], [2, 0, 1, 1], "cross_entropy") == network(False).loss(
        X[:, :1], [[2], [0], [1], [1]], "cross_entropy"
    )
    with pytest.raises(nr.ShapeError, match=r"y: expected 1 axes \(c\), as x has no batch axis, got 2"):
        network().loss(X[:, 0], Y[:1])


@pytest.mark.parametrize("layout", ["tnc", "tcn", "cnt"])
def test_rows_of_a_network_without_memory_are_samples(layout):
    def dense():
        return nr.Network([nr.Dense(3, "tanh"), nr.Dense(2)], 2, layout=layout, seed=0)

    rows, targets = X[0], Y[:, :2]  # (N, C)
    if layout.index("c") < layout.index("t"):
        rows, targets = rows.T, targets.T
    net, other = dense(), nr.Network(dense().layers, 2, seed=0)
    assert net.predict(rows).shape == targets.shape
    assert net.loss(rows, targets) == pytest.approx(other.loss(X[:1], Y[None, :, :2]), rel=1e-6)
    net.fit(rows, targets, epochs=2, batch_size=2, validation=(rows, targets), progress=False)
    history = other.fit(X[:1], Y[None, :, :2], epochs=2, batch_size=2, progress=False)  # three updates an epoch
    assert same_bits(net.params.flat, other.params.flat) and len(history.loss) == 2
    labelled = dense()
    labelled.fit(rows, LABELS % 2, "cross_entropy", epochs=1, batch_size=4, progress=False)


def test_dataframes_of_one_ragged_have_the_same_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(4.0), "b": np.zeros(4)})
    assert nr.Ragged.of([frame, frame[:2]]).lengths.tolist() == [4, 2]
    with pytest.raises(nr.ShapeError, match=r"arrays\[2\]: expected the columns of the first, .*'a', 'b'.*'b', 'a'"):
        nr.Ragged.of([frame.to_numpy(), frame, frame[["b", "a"]]])


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(8), "b": np.arange(8) / 4})
    x, y = nr.windows(frame, 3)
    assert x.shape == (3, 5, 2) and y[0].tolist() == [3, 0.75]
    assert np.array_equal(nr.windows(frame["a"], 3)[0][..., 0], x[..., 0])
    net = nr.Network([nr.Dense(1)], 2, seed=0)
    net.fit(frame, frame[["b"]], epochs=1, progress=False)
    assert np.allclose(net.predict(frame), net.predict(frame.to_numpy().astype("f4")))
    with pytest.raises(nr.DTypeError, match=r"x\['b'\]: expected numbers, .* got .* from a Series"):
        net.predict(frame.assign(b="text"))


def test_columns_of_several_dtypes():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 0, 1], "b": [0.5, 0.25, 1.0]})
    net = nr.Network([nr.Dense(1)], 2, seed=0)
    own = frame.convert_dtypes()  # Int64 and Float64, for which NumPy has no common dtype
    assert own.to_numpy().dtype == object
    for table in (own, frame.assign(a=frame["a"] == 1), own.set_axis(["a", "a"], axis=1)):
        assert same_bits(net.predict(table), net.predict(frame))
    own.loc[1, "a"] = pandas.NA
    with pytest.raises(nr.NonFiniteError, match=r"x: expected finite numbers, got nan at \(1, 0\)"):
        net.fit(own, own[["b"]], progress=False)
