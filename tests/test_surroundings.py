"""The same numbers in every surrounding: no console, ASCII, warnings as errors, NumPy's errors raised, no compiler."""

import contextlib
import io

import numba
import numpy as np
import pytest
from processes import output, run, start
from tqdm import tqdm

import numbarnn as nr
from numbarnn import messages
from numbarnn.training import progress

X = np.sin(np.arange(40, dtype=np.float32) / 4).reshape(10, 4, 1)
Y = X[1:].copy()
TRAINING = """
import sys
{before}
import numpy as np, numbarnn as nr
x = np.sin(np.arange(40, dtype=np.float32) / 4).reshape(10, 4, 1)
net = nr.Network([nr.GRU(4), nr.Dense(1)], channels=1, seed=0)
history = net.fit(x[:-1], x[1:], epochs=3, seed=0)
text, shown = net.summary(), repr(net)
{after}
sys.stdout = sys.__stdout__
print(history.loss[-1])
"""
DIVERGING = """
try:
    net.fit(x[:-1], 1e30 * x[1:], optimizer=nr.SGD(1e30), epochs=30, seed=0)
    raise SystemExit("no error")
except nr.NonFiniteError:
    assert np.isfinite(net.params.flat).all()
"""


def network(layers, seed=0):
    """Of one channel."""
    return nr.Network(layers, channels=1, seed=seed)


@pytest.fixture(scope="module")
def loss():
    """What every surrounding must come to."""
    return f"{network([nr.GRU(4), nr.Dense(1)]).fit(X[:-1], Y, epochs=3, seed=0, progress=False).loss[-1]}\n"


def test_without_a_console(loss):
    """As under pythonw, whose sys.stdout and sys.stderr are None."""
    before = "sys.stdout = sys.stderr = None"
    process = start("-c", TRAINING.format(before=before, after="print(text, shown)"))
    assert output(process) == loss


@pytest.mark.parametrize("level", ["-O", "-bb"])
def test_with_other_options_of_python(loss, level):
    assert run(level, "-c", TRAINING.format(before="", after="")) == loss


def test_warnings_as_errors_in_an_ascii_terminal(loss):
    program = TRAINING.format(before="", after=f"print(text, shown, file=sys.stderr){DIVERGING}")
    assert run("-W", "error", "-X", "utf8=0", "-c", program, PYTHONIOENCODING="ascii", LC_ALL="C") == loss


def test_docstrings_may_be_gone():
    assert run("-OO", "-c", "import numbarnn as nr; print(nr.GRU(3), nr.__doc__)") == "GRU(hidden=3) None\n"


def spread(random, shape, low, high):
    """float32 numbers whose sizes lie anywhere from 10**low to 10**high."""
    with np.errstate(all="ignore"):
        return (random.standard_normal(shape) * 10.0 ** random.integers(low, high, shape)).astype(np.float32)


LAYERS = {
    "masks": nr.GRU(3, layers=2, dropout=0.3, input_dropout=0.2, weight_drop=0.2),
    "merged": nr.GRU(3, layers=2, residual=True, bidirectional=True, merge="product"),
    "averaged": nr.GRU(3, bidirectional=True, merge="average"),
    "connected": nr.GRU(3, connectivity=nr.Connectivity(signs=[1, -1, 1])),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_give_the_same_numbers_whatever_numpy_does_about_errors(name):
    layer, random = LAYERS[name], np.random.default_rng(0)
    p, x = layer.init(3, seed=0), spread(random, (6, 5, 3), -44, -20)
    p.flat[:] = spread(random, p.flat.shape, -30, 1)
    found = []
    for how in ("ignore", "raise"):
        with np.errstate(all=how):
            y, state, tape = layer.forward(p, x, seed=1)
            gradient = layer.backward(tape, y)
            found.append([y, state, gradient.params.flat, gradient.x, layer.gates(p, x)["z"]])
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


LOSSES = ["mse", "half_mse", "mae", "huber", "binary_cross_entropy", "cross_entropy"]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("sizes", [(-44, -20), (-30, 38)])
def test_losses_give_the_same_numbers_whatever_numpy_does_about_errors(name, sizes):
    random, found = np.random.default_rng(0), []
    prediction, target = spread(random, (6, 5, 3), *sizes), spread(random, (6, 5, 3), *sizes)
    if name == "binary_cross_entropy":
        target = (target > 0).astype(np.float32)
    if name == "cross_entropy":
        target = random.integers(3, size=(6, 5))
    for how in ("ignore", "raise"):
        with np.errstate(all=how):
            found.append(nr.loss(name)(prediction, target, lengths=[6, 0, 3, 6, 1]))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


OPTIMIZERS = [
    nr.SGD(1e-30, momentum=0.9),
    nr.SGD(1e-3, nesterov=True, momentum=0.5),
    nr.Adam(1e-3),
    nr.RMSProp(1e-4),
    nr.AdamW(1e-3),
]
SCHEDULES = [nr.cosine(1e-3), nr.exponential(1e-3, 1e-30), nr.warmup(1e-3, 2)]


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *map(nr.Adam, SCHEDULES)], ids=repr)
def test_trainings_give_the_same_numbers_whatever_numpy_does_about_errors(optimizer):
    random, found = np.random.default_rng(0), []
    x, y = spread(random, (9, 4, 1), -44, -20), spread(random, (9, 4, 1), -30, -5)
    for how in ("ignore", "raise"):
        with np.errstate(all=how):
            net = network([nr.GRU(4), nr.Dropout(0.5), nr.Dense(1)])
            history = net.fit(x, y, epochs=2, optimizer=optimizer, clip=1e-30, validation=(x, y), seed=0, progress=False)
            found.append([net.params.flat, net.predict(x), history.loss, history.validation, net.loss(x, y)])
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("how", ["warn", "raise"])
@pytest.mark.filterwarnings("error")
def test_a_training_that_overflows_says_so_itself(how):
    net = network([nr.GRU(4), nr.Dense(1)])
    with np.errstate(all=how), pytest.raises(nr.NonFiniteError):
        net.fit(X[:-1], np.float32(1e30) * Y, optimizer=nr.SGD(1e30), epochs=30, progress=False, seed=0)
    assert np.isfinite(net.params.flat).all()


# NUMBA_DISABLE_JIT

DISABLED = """
import numba, numpy as np, numbarnn as nr
numba.config.DISABLE_JIT = 1
x, y = nr.windows(np.arange(9.0), 3)
net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1)
assert "GRU(hidden=3)" in net.summary()
for call in (lambda: net.predict(x.astype("float32")), lambda: nr.CrossEntropy()(np.ones((2, 3)), np.array([0, 2]))):
    try:
        call()
    except nr.KernelError as error:
        print(error)
"""


@pytest.mark.parametrize("value", ["0", "1"])
def test_without_the_compiler_everything_but_kernels_works(value):
    for line in run("-c", DISABLED, NUMBA_DISABLE_JIT=value).splitlines():
        assert line.startswith("NUMBA_DISABLE_JIT: expected it not to be set")


# What is said on stderr


class Stream(io.StringIO):
    """A stderr that takes ASCII."""

    encoding = "ascii"


@contextlib.contextmanager
def stderr():
    """A stream in the place of stderr."""
    with contextlib.redirect_stderr(Stream()) as stream:
        yield stream


def test_a_line_is_written_whatever_stderr_takes():
    with stderr() as stream:
        messages.say("kept in /home/Möwe")
        assert stream.getvalue() == "numbarnn: kept in /home/M\\xf6we\n"
        stream.close()
        messages.say("nobody reads this")
    with contextlib.redirect_stderr(None):
        messages.say("there is nobody")
        assert type(progress.bar(3, True)) is progress.Silent


def test_a_line_does_not_tear_a_bar():
    with stderr() as stream:
        with tqdm(total=3, file=stream, ncols=40):
            messages.say("compiling")
        lines = stream.getvalue().replace("\r", "\n").split("\n")
    assert "numbarnn: compiling" in lines


def test_a_kernel_is_compiled_with_the_compiler_on_whatever_is_set(monkeypatch):
    from numbarnn.cpu.compiled import kernel

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    dispatcher = kernel(lambda x: x)
    assert numba.config.DISABLE_JIT == 1
    with pytest.raises(nr.KernelError, match="NUMBA_DISABLE_JIT"):
        dispatcher(1.0)
