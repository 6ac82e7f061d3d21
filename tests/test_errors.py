"""Bad input: each a typed error that names the argument, what it was and what was expected."""

import warnings

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.errors import DTypeError, LayoutError, NonFiniteError, ShapeError, UnknownNameError

X = np.zeros((4, 3, 2))
STATE = np.zeros((1, 3, 5))
GRU, LSTM, RNN = nr.GRU(5), nr.LSTM(5), nr.RNN(5)


def parameters(layer, dtype="float64", channels=2):
    """Fresh parameters of a layer."""
    return layer.init(channels, seed=0, dtype=dtype)


def call(layer=GRU, x=X, **options):
    """A forward call with one bad argument."""
    return layer.forward(parameters(layer), x, **options)


def back(layer=GRU, dy=None, **options):
    """A backward call with one bad argument."""
    _, _, tape = layer.forward(parameters(layer), X)
    return layer.backward(tape, dy, **options)


def with_nan(value=np.nan):
    """A call whose parameters hold one number that is not finite."""
    p = parameters(LSTM)
    p["weight_hh_l0"][3, 2] = value
    return LSTM(p, X)


BAD_FIELDS = [
    (lambda: nr.GRU(0), ValueError, ["hidden", "positive integer", "0"]),
    (lambda: nr.LSTM(-3), ValueError, ["hidden", "positive integer", "-3"]),
    (lambda: nr.RNN(2.0), TypeError, ["hidden", "positive integer", "2.0", "float"]),
    (lambda: nr.RNN("8"), TypeError, ["hidden", "positive integer", "'8'", "str"]),
    (lambda: nr.RNN(True), TypeError, ["hidden", "positive integer", "True", "bool"]),
    (lambda: nr.RNN(None), TypeError, ["hidden", "positive integer", "None"]),
    (lambda: nr.GRU(4, layers=0), ValueError, ["layers", "positive integer", "0"]),
    (lambda: nr.GRU(4, layers=1.5), TypeError, ["layers", "positive integer", "1.5"]),
    (lambda: nr.LSTM(4, bidirectional=1), TypeError, ["bidirectional", "True or False", "1"]),
    (lambda: nr.LSTM(4, bidirectional="yes"), TypeError, ["bidirectional", "True or False", "'yes'"]),
    (lambda: nr.RNN(4, "tahn"), UnknownNameError, ["activation", "'tahn'", "did you mean 'tanh'"]),
    (lambda: nr.RNN(4, "reluu"), UnknownNameError, ["activation", "'reluu'", "did you mean 'relu'"]),
    (lambda: nr.RNN(4, "ident"), UnknownNameError, ["activation", "'ident'", "did you mean 'identity'"]),
    (lambda: nr.RNN(4, None), UnknownNameError, ["activation", "None", "'tanh'"]),
    (lambda: nr.RNN(4, ["tanh"]), UnknownNameError, ["activation", "['tanh']", "'tanh'"]),
    (lambda: nr.RNN(4, ()), UnknownNameError, ["activation", "()", "'tanh'"]),
    (lambda: nr.RNN(4, ("ellu", 1)), UnknownNameError, ["activation", "'ellu'", "did you mean 'elu'"]),
    (lambda: nr.RNN(4, ("elu", "1")), TypeError, ["activation alpha", "a finite number", "'1'", "str"]),
    (lambda: nr.RNN(4, ("elu", True)), TypeError, ["activation alpha", "a finite number", "True", "bool"]),
    (lambda: nr.RNN(4, ("elu", np.nan)), ValueError, ["activation alpha", "finite number", "nan"]),
    (lambda: nr.RNN(4, ("elu", 10**400)), ValueError, ["activation alpha", "finite number", "1000"]),
    (lambda: nr.RNN(4, ("affine", 1, np.inf)), ValueError, ["activation beta", "finite number", "inf"]),
    (lambda: nr.RNN(4, ("elu", 1, 2)), ValueError, ["activation", "'elu' takes alpha", "('elu', 1, 2)"]),
    (lambda: nr.RNN(4, ("tanh", 1)), ValueError, ["activation", "'tanh' takes neither alpha nor beta", "('tanh', 1)"]),
    (lambda: nr.GRU(4, gate_activation="sigmod"), UnknownNameError, ["gate_activation", "did you mean 'sigmoid'"]),
    (lambda: nr.LSTM(4, output_activation=("elu", None)), TypeError, ["output_activation alpha", "a finite number", "None"]),
    (lambda: nr.Dense(4, ("relu", 1)), ValueError, ["activation", "'relu' takes neither"]),
    (lambda: nr.Activation("geluu"), UnknownNameError, ["name", "did you mean 'gelu'"]),
    (lambda: nr.ActivationFunction(1, abs), TypeError, ["name", "a string", "1"]),
    (lambda: nr.ActivationFunction("f", 1), TypeError, ["value", "a function of x", "1"]),
    (lambda: nr.ActivationFunction("f", abs, 2), TypeError, ["slope", "a function or None", "2"]),
    (lambda: nr.ActivationFunction("f", abs, abs, 1), TypeError, ["from_output", "True or False", "1"]),
    (lambda: nr.GRU(4, "befor"), UnknownNameError, ["reset", "'befor'", "did you mean 'before'"]),
    (lambda: nr.GRU(4, "zzzz"), UnknownNameError, ["reset", "'zzzz'", "'after', 'before'"]),
    (lambda: GRU.init(0), ValueError, ["channels", "positive integer", "0"]),
    (lambda: GRU.init(2.5), TypeError, ["channels", "positive integer", "2.5"]),
    (lambda: GRU.init(2, dtype="float16"), DTypeError, ["dtype", "float32 or float64", "float16"]),
    (lambda: GRU.init(2, dtype="int32"), DTypeError, ["dtype", "float32 or float64", "int32"]),
    (lambda: GRU.init(2, dtype="real"), DTypeError, ["dtype", "float32 or float64", "real"]),
    (lambda: GRU.init(2, dtype=",f4"), DTypeError, ["dtype", "float32 or float64", ",f4"]),
    (lambda: GRU.init(2, dtype=np.float32(1)), DTypeError, ["dtype", "float32 or float64", "1.0"]),
    (lambda: GRU.init(2, dtype=None), DTypeError, ["dtype", "float32 or float64", "None"]),
    (lambda: GRU.init(2, scheme="glorott"), UnknownNameError, ["scheme", "'glorott'", "did you mean 'glorot'"]),
]
BAD_INPUT = [
    (lambda: call(x=[[[1.0]]]), TypeError, ["x", "numpy.ndarray", "list"]),
    (lambda: call(x=np.zeros(4)), ShapeError, ["x", "2 or 3 axes", "(4,)"]),
    (lambda: call(x=np.zeros((4, 3, 2, 1))), ShapeError, ["x", "2 or 3 axes", "(4, 3, 2, 1)"]),
    (lambda: call(x=np.zeros((4, 3, 7))), ShapeError, ["p: ", "7 channels", "weight_ih_l0 (15, 2)"]),
    (lambda: call(layout="ctn"), ShapeError, ["p: ", "4 channels", "weight_ih_l0 (15, 2)"]),
    (lambda: call(x=X.astype(int)), DTypeError, ["x", "float32 or float64", "int64"]),
    (lambda: call(x=X.astype("float16")), DTypeError, ["x", "float32 or float64", "float16"]),
    (lambda: call(x=X.astype(complex)), DTypeError, ["x", "float32 or float64", "complex128"]),
    (lambda: call(x=X.astype(object)), DTypeError, ["x", "float32 or float64", "object"]),
    (lambda: call(x=X.astype(X.dtype.newbyteorder())), DTypeError, ["x", "float32 or float64", "f8"]),
    (lambda: call(x=X.astype("float32")), DTypeError, ["x", "float64 like the parameters", "float32"]),
    (lambda: call(x=np.zeros((4, 0, 2))), ShapeError, ["x", "sequence", "(4, 0, 2)"]),
    (lambda: call(x=np.zeros((4, 3, 0))), ShapeError, ["x", "channels", "(4, 3, 0)"]),
    (lambda: call(layout="tnx"), LayoutError, ["layout", "t, n, c", "'tnx'"]),
    (lambda: call(layout="nt"), LayoutError, ["layout", "t, n, c", "'nt'"]),
    (lambda: call(layout=None), LayoutError, ["layout", "t, n, c", "None"]),
]
BAD_PARAMETERS = [
    (lambda: GRU(parameters(GRU).flat, X), TypeError, ["p: ", "numbarnn.Parameters", "ndarray"]),
    (lambda: GRU({}, X), TypeError, ["p: ", "numbarnn.Parameters", "dict"]),
    (lambda: GRU(parameters(LSTM), X), ShapeError, ["p: ", "GRU", "(15, 2)", "(20, 2)"]),
    (lambda: GRU(parameters(nr.GRU(5, layers=2)), X), ShapeError, ["p: ", "GRU", "weight_ih_l1"]),
    (with_nan, NonFiniteError, ["weight_hh_l0", "finite", "nan", "(3, 2)"]),
    (lambda: with_nan(np.inf), NonFiniteError, ["weight_hh_l0", "finite", "inf", "(3, 2)"]),
    (lambda: parameters(GRU)["weight_ih_0"], UnknownNameError, ["'weight_ih_0'", "did you mean 'weight_ih_l0'"]),
    (lambda: parameters(GRU).__setitem__("bias_ih_l0", np.zeros(4)), ShapeError, ["bias_ih_l0", "(15,)", "(4,)"]),
    (lambda: nr.Parameters(np.zeros(3), parameters(GRU).weights), ShapeError, ["flat", "135", "(3,)"]),
    (lambda: nr.Parameters([0.0], ()), TypeError, ["flat", "numpy.ndarray", "list"]),
]
BAD_STATES = [
    (lambda: call(state=np.zeros((1, 3, 4))), ShapeError, ["state", "(1, 3, 5)", "(1, 3, 4)"]),
    (lambda: call(state=np.zeros((3, 5))), ShapeError, ["state", "(1, 3, 5)", "(3, 5)"]),
    (lambda: call(state=np.zeros((2, 3, 5))), ShapeError, ["state", "(1, 3, 5)", "(2, 3, 5)"]),
    (lambda: call(state=STATE.astype("float32")), DTypeError, ["state", "float64", "float32"]),
    (lambda: call(state=STATE.astype(int)), DTypeError, ["state", "float32 or float64", "int64"]),
    (lambda: call(state=(STATE, STATE)), TypeError, ["state", "numpy.ndarray", "tuple"]),
    (lambda: call(state=0.0), TypeError, ["state", "numpy.ndarray", "float"]),
    (lambda: call(LSTM, state=STATE), TypeError, ["state", "(h, c)", "ndarray"]),
    (lambda: call(LSTM, state=(STATE,)), TypeError, ["state", "(h, c)", "tuple"]),
    (lambda: call(LSTM, state=(STATE, None)), TypeError, ["state c", "numpy.ndarray", "NoneType"]),
    (lambda: call(LSTM, state=(STATE, STATE[0])), ShapeError, ["state c", "(1, 3, 5)", "(3, 5)"]),
    (lambda: call(LSTM, state=(STATE[:, :2], STATE)), ShapeError, ["state h", "(1, 3, 5)", "(1, 2, 5)"]),
]
BAD_BACKWARD = [
    (lambda: back(dy=np.zeros((4, 3, 4))), ShapeError, ["dy", "expected 5 channels", "got 4"]),
    (lambda: back(dy=np.zeros((3, 3, 5))), ShapeError, ["dy", "expected 4 steps", "got 3"]),
    (lambda: back(dy=np.zeros((4, 1, 5))), ShapeError, ["dy", "expected 3 batch", "got 1"]),
    (lambda: back(dy=np.zeros((4, 3, 5), "float32")), DTypeError, ["dy", "float64", "float32"]),
    (lambda: back(dy=1.0), TypeError, ["dy", "numpy.ndarray", "float"]),
    (lambda: back(dstate=np.zeros((1, 3, 4))), ShapeError, ["dstate", "(1, 3, 5)", "(1, 3, 4)"]),
    (lambda: back(LSTM, dstate=STATE), TypeError, ["dstate", "(h, c)", "ndarray"]),
    (lambda: GRU.backward(None, None), TypeError, ["tape", "GRU", "None"]),
    (lambda: LSTM.backward(call()[2], None), TypeError, ["tape", "LSTM", "GRU"]),
    (lambda: back(into=parameters(LSTM)), ShapeError, ["into", "GRU"]),
    (lambda: back(into=parameters(GRU, "float32")), DTypeError, ["into", "float64", "float32"]),
    (lambda: back(into=np.zeros(135)), TypeError, ["into", "Parameters", "ndarray"]),
]
RAGGED = nr.Ragged(np.zeros((6, 2)), [0, 4, 6])


def ragged_back(dy=None, layer=GRU, **options):
    """A backward call after a forward one on a Ragged x, with one bad argument."""
    _, _, tape = layer.forward(parameters(layer), RAGGED)
    return layer.backward(tape, dy, **options)


BAD_RAGGED = [
    (lambda: call(lengths=[4, 3, -1]), ValueError, ["lengths", "from 0 to 4", "-1 at 2"]),
    (lambda: call(lengths=[4, 5, 9]), ValueError, ["lengths", "from 0 to 4", "5 at 1"]),
    (lambda: call(lengths=np.array([4, 3, 255], np.uint8)), ValueError, ["lengths", "from 0 to 4", "255 at 2"]),
    (lambda: call(lengths=[4, 3]), ShapeError, ["lengths", "(3,)", "(2,)"]),
    (lambda: call(lengths=4), ShapeError, ["lengths", "(3,)", "()"]),
    (lambda: call(lengths=[[4, 3, 2]]), ShapeError, ["lengths", "(3,)", "(1, 3)"]),
    (lambda: call(lengths=[4.0, 3.0, 2.0]), DTypeError, ["lengths", "integers", "float64"]),
    (lambda: call(lengths=[True, False, True]), DTypeError, ["lengths", "integers", "bool"]),
    (lambda: call(lengths=["4", "3", "2"]), DTypeError, ["lengths", "integers", "<U1"]),
    (lambda: call(reset=np.zeros((3, 4), bool)), ShapeError, ["reset", "(4, 3)", "(3, 4)"]),
    (lambda: call(reset=np.zeros(4, bool)), ShapeError, ["reset", "(4, 3)", "(4,)"]),
    (lambda: call(reset=np.zeros((4, 3))), DTypeError, ["reset", "True and False", "float64"]),
    (lambda: call(reset=np.full((4, 3), 2)), DTypeError, ["reset", "True and False", "int64"]),
    (lambda: call(x=RAGGED, lengths=[4, 2]), TypeError, ["lengths", "None", "Ragged", "list"]),
    (lambda: call(x=RAGGED, reset=np.zeros((4, 2), bool)), TypeError, ["reset", "None", "Ragged", "ndarray"]),
    (lambda: call(x=nr.Ragged(np.zeros((6, 7)), [0, 4, 6])), ShapeError, ["p: ", "7 channels"]),
    (lambda: call(x=nr.Ragged(np.zeros((6, 2), "float32"), [0, 4, 6])), DTypeError, ["x", "float64", "float32"]),
    (lambda: call(x=RAGGED, state=STATE), ShapeError, ["state", "(1, 2, 5)", "(1, 3, 5)"]),
    (lambda: call(cells=True), ValueError, ["cells", "no cell state", "True"]),
    (lambda: GRU(parameters(GRU), X, cells=True), ValueError, ["cells", "no cell state", "True"]),
    (lambda: call(LSTM, cells=True, checkpoints=2), ValueError, ["cells", "checkpoints", "True"]),
    (lambda: back(dcells=np.zeros((4, 3, 5))), ValueError, ["dcells", "no cell state", "ndarray"]),
    (lambda: back(LSTM, dcells=np.zeros((4, 3, 4))), ShapeError, ["dcells", "expected 5 channels", "got 4"]),
    (lambda: back(LSTM, dcells=np.zeros((4, 3, 5), "float32")), DTypeError, ["dcells", "float64", "float32"]),
    (lambda: back(LSTM, dcells=RAGGED), TypeError, ["dcells", "numpy.ndarray", "Ragged"]),
    (lambda: back(dy=RAGGED), TypeError, ["dy", "numpy.ndarray", "Ragged"]),
    (lambda: ragged_back(np.zeros((4, 2, 5))), TypeError, ["dy", "Ragged like x", "ndarray"]),
    (lambda: ragged_back(nr.Ragged(np.zeros((6, 5)), [0, 2, 6])), ShapeError, ["dy", "offsets of x", "2 to 4 steps"]),
    (lambda: ragged_back(nr.Ragged(np.zeros((6, 4)), [0, 4, 6])), ShapeError, ["dy", "5 channels", "4"]),
    (lambda: ragged_back(nr.Ragged(np.zeros((6, 5), "float32"), [0, 4, 6])), DTypeError, ["dy", "float64", "float32"]),
    (lambda: nr.Ragged([[1.0]], [0, 1]), TypeError, ["data", "numpy.ndarray", "list"]),
    (lambda: nr.Ragged(np.zeros(6), [0, 6]), ShapeError, ["data", "2 axes (sum T, C)", "(6,)"]),
    (lambda: nr.Ragged(np.zeros((6, 0)), [0, 6]), ShapeError, ["data", "2 axes (sum T, C)", "(6, 0)"]),
    (lambda: nr.Ragged(np.zeros((6, 2), int), [0, 6]), DTypeError, ["data", "float32 or float64", "int64"]),
    (lambda: nr.Ragged(np.zeros((6, 2)), [0.0, 6.0]), DTypeError, ["offsets", "integers", "float64"]),
    (lambda: nr.Ragged(np.zeros((6, 2)), [6]), ValueError, ["offsets", "from 0 to 6", "[6]"]),
    (lambda: nr.Ragged(np.zeros((6, 2)), [[0, 6]]), ShapeError, ["offsets", "N + 1", "(1, 2)"]),
    (lambda: nr.Ragged(np.zeros((6, 2)), [1, 6]), ValueError, ["offsets", "from 0 to 6", "[1, 6]"]),
    (lambda: nr.Ragged(np.zeros((6, 2)), [0, 5]), ValueError, ["offsets", "from 0 to 6", "[0, 5]"]),
    (lambda: nr.Ragged(np.zeros((6, 2)), [0, 4, 3, 6]), ValueError, ["offsets", "never fall", "[0, 4, 3, 6]"]),
    (lambda: nr.Ragged.of(3), TypeError, ["arrays", "arrays in a list", "int"]),
    (lambda: nr.Ragged.of(np.float32(3)), TypeError, ["arrays", "arrays in a list", "float32"]),
    (lambda: RAGGED.to(["cpu"]), nr.DeviceError, ["device", "'cpu' or 'cuda'", "['cpu']"]),
    (lambda: parameters(GRU).to("gpu"), nr.DeviceError, ["device", "'cpu' or 'cuda'", "'gpu'"]),
    (lambda: nr.Ragged.of([]), ValueError, ["arrays", "at least one", "none"]),
    (lambda: nr.Ragged.of([np.zeros((2, 3)), np.zeros((2, 2))]), ShapeError, ["arrays[1]", "(T, 3)", "(2, 2)"]),
    (lambda: nr.Ragged.of([np.zeros(2)]), ShapeError, ["arrays[0]", "(T, C)", "(2,)"]),
    (lambda: nr.Ragged.of([np.array(1.0)]), ShapeError, ["arrays[0]", "(T, C)", "()"]),
    (lambda: nr.Ragged.of([np.zeros((2, 3)), np.zeros((2, 3), "float32")]), DTypeError, ["arrays[1]", "float64", "float32"]),
    (lambda: nr.Ragged.of([np.zeros((2, 3)), [[1.0]]]), TypeError, ["arrays[1]", "numpy.ndarray", "list"]),
    (lambda: RAGGED[2], nr.IndexRangeError, ["sequence", "from 0 to 1", "2"]),
    (lambda: nr.Last()(nr.Last().init(2), X[0], layout="nc", lengths=[1, 1, 1, 1]), LayoutError, ["layout", "'nc'"]),
]
BAD = BAD_FIELDS + BAD_INPUT + BAD_PARAMETERS + BAD_STATES + BAD_BACKWARD + BAD_RAGGED


@pytest.mark.parametrize("bad, error, fragments", BAD)
def test_named_error(bad, error, fragments):
    with pytest.raises(error) as raised:
        bad()
    assert type(raised.value) is error
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value


def test_every_error_is_also_a_builtin_one():
    assert issubclass(ShapeError, ValueError) and issubclass(LayoutError, ValueError)
    assert issubclass(DTypeError, TypeError) and issubclass(UnknownNameError, ValueError)
    assert issubclass(NonFiniteError, ArithmeticError)


def test_whole_numbers_of_other_types_are_integers():
    assert nr.GRU(np.int64(4)).init(np.int32(2)).names == nr.GRU(4).init(2).names


def test_a_refused_gradient_vector_is_left_alone():
    p = parameters(GRU)
    before = p.flat.copy()
    with pytest.raises(ShapeError):
        back(dy=np.zeros((4, 3, 4)), into=p)
    np.testing.assert_array_equal(p.flat, before)


def test_finite_parameters_whose_square_overflows_are_finite():
    p = parameters(RNN)
    p["bias_ih_l0"][0] = 1e200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, _ = RNN(p, X)
    assert np.isfinite(y).all()
