"""The simulator's arrays refuse what CuPy refuses, so that no program passes here and fails on a GPU."""

import copy
import pickle

import numpy as np
import pytest

from numbarnn import cuda
from numbarnn.cuda.device import SIMULATED

pytestmark = pytest.mark.skipif(not SIMULATED, reason="CuPy itself is here")


@pytest.fixture
def x():
    return cuda.asarray(np.arange(6.0).reshape(2, 3))


HOST = np.ones((2, 3))


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + HOST, lambda x: HOST + x, lambda x: np.maximum(x, HOST), lambda x: np.add(x, x, out=HOST.copy()),
        lambda x: x.__iadd__(HOST), lambda x: np.where(HOST > 0, x, x), lambda x: np.concatenate([x, HOST]),
        lambda x: np.array_equal(x, HOST), lambda x: x.take(np.array([0]), 0), lambda x: np.copyto(x, HOST),
    ],
)  # fmt: skip
def test_arrays_of_the_host_beside_those_of_the_device(x, use):
    with pytest.raises(TypeError, match="Unsupported type"):
        use(x)


@pytest.mark.parametrize(
    "use",
    [
        lambda x: np.add(x, x, where=x > 1), lambda x: np.sum(x, where=x > 1), lambda x: np.sum(x, initial=1.0),
        lambda x: np.add.reduce(x), lambda x: np.add.at(x, 0, x), lambda x: x.take([0], 0, None, "clip"),
        lambda x: x.take([0], mode="clip"), lambda x: np.clip(x, min=0, max=1), lambda x: np.cross(x, x),
        lambda x: np.asarray(x),
        lambda x: np.array([x[0, 0]]), lambda x: x @ x.T, lambda x: np.linalg.norm(x), lambda x: x.__setitem__(0, [1, 2, 3]),
        lambda x: f"{x:.3f}", lambda x: hash(x),
    ],
)  # fmt: skip
def test_what_cupy_or_this_package_does_not_know(x, use):
    with pytest.raises(TypeError):
        use(x)


def test_host_arrays_are_not_assigned(x):
    with pytest.raises(ValueError, match="non-scalar numpy.ndarray cannot be used for fill"):
        x[...] = HOST
    x[0] = np.float64(7)
    x[1] = np.array(8.0)
    x[:, np.array([2])] = 0  # indices may be arrays of the host
    assert np.array_equal(x.get(), [[7, 7, 0], [8, 8, 0]])


@pytest.mark.parametrize("name", ["writeable", "aligned", "owndata"])
def test_flags_that_it_does_not_have(x, name):
    with pytest.raises(AttributeError):
        getattr(x.flags, name)
    with pytest.raises(AttributeError):
        setattr(x.flags, name, False)


@pytest.mark.parametrize("name", ["ctypes", "tobytes", "tolist", "newbyteorder", "std", "memory", "offset", "pointer"])
def test_names_that_it_does_not_have(x, name):
    with pytest.raises(AttributeError):
        getattr(x, name)


def test_the_same_memory_as_numbers_of_another_kind():
    x = cuda.zeros((4,), "float32")
    x.view(np.int64)[1:] = -1
    assert x.view(np.int64).get().tolist() == [0, -1] and np.isnan(x.get()[2:]).all() and not x.get()[:2].any()


def test_a_number_of_an_array_is_a_view_of_it(x):
    number = x[1, 2]
    assert number.shape == () and float(number) == 5 and int(x.sum()) == 15
    number[...] = 9
    assert x.get()[1, 2] == 9


def test_a_number_on_the_device_is_no_index():
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        range(cuda.zeros((), "int64"))


def test_results_are_on_the_device(x):
    for found in (x + 1, x.sum(), np.sum(x, axis=0), x.T, x > 2, np.count_nonzero(x), np.stack([x, x]), *np.split(x, 2)):
        assert type(found) is type(x)
    assert np.sum(x, axis=0, out=(y := cuda.empty((3,), "float64"))) is y and np.array_equal(y.get(), [3, 5, 7])


def test_copies_have_memory_of_their_own(x):
    for way in (copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing)), lambda thing: thing.copy()):
        made = way(x)
        made[...] = 0
        assert type(made) is type(x) and x.get().any()


def test_uninitialised_numbers_show():
    assert np.isnan(cuda.empty((3,), "float32").get()).all()
