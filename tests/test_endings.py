"""How a training ends: the parameters, the callbacks and the history, whatever ended it, and at whatever place."""

import contextlib
import linecache
import sys
import threading

import numba
import numpy as np
import processes
import pytest

import numbarnn as nr
from numbarnn.training import callbacks, course, feeds, optimizers
from numbarnn.training import loop as training
from numbarnn.training import updates as descent

X, Y = nr.windows(np.sin(np.arange(45.0) / 4), 5)
TRAIN, HELD = (X[:, :30], Y[:30]), (X[:, 30:], Y[30:])


def network():
    return nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, seed=0, dtype="float64")


class Best:
    """The best validation loss, and the parameters then."""

    def __init__(self):
        self.loss, self.flat, self.epochs = np.inf, None, 0

    def __call__(self, network, history):
        self.epochs += 1
        if history.validation[-1] < self.loss:
            self.loss, self.flat = history.validation[-1], network.params.flat.copy()


class Bomb:
    """Raises an exception at a call, counted from 1; before that it is `inner`."""

    def __init__(self, error, at, inner=lambda *arguments: None):
        self.error, self.left, self.inner = error, at, inner

    def __call__(self, *arguments):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.inner(*arguments)


def rate(update, updates):
    """Good for three epochs of three updates, then too large."""
    return 0.05 if update < 9 else 0.7


@pytest.mark.parametrize("error", [KeyboardInterrupt, StopIteration, GeneratorExit, SystemExit, ZeroDivisionError])
@pytest.mark.parametrize("place", ["batch", "validation", "schedule", "callback before", "callback after"])
def test_early_stopping_restores_whatever_ended_the_training(place, error):
    net, best, stopping = network(), Best(), nr.EarlyStopping(50)
    loss, schedule, called = nr.loss("mse"), rate, [stopping, best]
    if place == "batch":
        loss = Bomb(error, 7 * 4 + 2, loss)  # an epoch has three batches and a validation
    elif place == "validation":
        loss = Bomb(error, 7 * 4, loss)
    elif place == "schedule":
        schedule = Bomb(error, 23, rate)
    else:
        called.insert(0 if place == "callback before" else 2, Bomb(error, 7))
    with pytest.raises(error):
        net.fit(
            *TRAIN, loss, nr.SGD(schedule), 30, batch_size=10, validation=HELD, callbacks=called, progress=False
        )  # fmt: skip
    assert np.array_equal(net.params.flat, best.flat)
    assert stopping.best == best.loss == net.loss(*HELD) and stopping.epoch <= 4 < best.epochs
    whole = {"batch": 7, "validation": 6}.get(place, 7)
    history = net.history
    assert len(history.loss) == len(history.validation) == len(history.rate) == len(history.seconds) == whole
    assert min(history.validation) == best.loss


def test_early_stopping_restores_after_numbers_that_are_not_finite():
    net = nr.Network([nr.RNN(3, "identity"), nr.Last(), nr.Dense(1)], channels=1, seed=0, dtype="float64")
    best, stopping = Best(), nr.EarlyStopping(50)
    with pytest.raises(nr.NonFiniteError, match="epoch"):
        net.fit(
            *TRAIN, optimizer=nr.SGD(lambda u, n: 0.05 if u < 9 else 1e5), epochs=30, batch_size=10, validation=HELD,
            callbacks=[stopping, best], progress=False,
        )  # fmt: skip
    assert np.array_equal(net.params.flat, best.flat) and len(net.history.loss) >= 3


def test_each_callback_finishes_and_what_ended_the_training_goes_on():
    said = []

    class Told(nr.Callback):
        def __init__(self, name, error=None):
            self.name, self.error = name, error

        def finish(self, network, history):
            said.append((self.name, len(history.loss)))
            if self.error:
                raise self.error

    told = [Told("a", OSError("full")), Told("b", ValueError("b")), Told("c")]
    with pytest.warns(RuntimeWarning, match=r"callbacks\[[12]\].finish: raised .*, after KeyboardInterrupt"):
        with pytest.raises(KeyboardInterrupt):
            network().fit(X, Y, epochs=5, callbacks=[Bomb(KeyboardInterrupt(), 3), *told], progress=False)
    with pytest.warns(RuntimeWarning, match=r"callbacks\[1\].finish: raised ValueError\('b'\), after OSError\('full'\)"):
        with pytest.raises(OSError, match="full"):
            network().fit(X, Y, epochs=2, callbacks=told, progress=False)
    assert said == [(name, epochs) for epochs in (3, 2) for name in "abc"]


def test_callbacks_that_have_started_finish_where_another_does_not_start():
    said = []

    class Told(nr.Callback):
        def start(self, network):
            said.append("start")

        def finish(self, network, history):
            said.append("finish")

    class Broken(nr.Callback):
        def start(self, network):
            raise OSError

    with pytest.raises(OSError):
        network().fit(X, Y, callbacks=[Told(), Broken(), Told()], progress=False)
    assert said == ["start", "finish"]


def test_the_history_is_that_of_the_last_training():
    net = network()
    assert net.history is None
    history = net.fit(X, Y, epochs=2, callbacks=[lambda net, history: net.history is not history], progress=False)
    assert net.history is history and len(history.loss) == 2
    with pytest.raises(TypeError):
        net.fit(X, Y, epochs="3", progress=False)
    assert net.history is history


def is_interrupted(frame):
    """Whether a test interrupts a line: not in what cleans up after an interrupt, for then there is nothing behind it.

    Nor at a "with": Python tells of its line also when its block is left, where it looks for no signals.
    """
    if linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with "):
        return False
    while frame is not None and frame.f_code.co_name not in ("__exit__", "alone", "_keep_whole_epochs"):
        frame = frame.f_back
    return frame is None


@contextlib.contextmanager
def interrupted_at(line, modules):
    """KeyboardInterrupt at so many lines from now on in the files of these modules; holds how many there were, and where."""
    files, count = {module.__file__ for module in modules}, [0, ""]

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and is_interrupted(frame):
            count[0] += 1
            if count[0] == line:
                count[1] = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


def words():
    x = np.array([[0, 3, 1, 7], [3, 3, 2, 8]])
    return x, np.random.default_rng(0).standard_normal((4, 2))


class AsItIs(nr.Adam):
    """Adam, but an optimizer of one's own: all rows at each step."""

    def update(self, *arguments):
        super().update(*arguments)


def reader():
    return nr.Network([nr.Embedding(9, 2), nr.Last(), nr.Dense(2)], dtype="float64", seed=0)


@pytest.mark.parametrize("optimizer", [nr.Adam(0.1), AsItIs(0.1), nr.SGD(0.1, 0.9)], ids=lambda o: type(o).__name__)
def test_an_interrupt_at_any_line_leaves_parameters_between_two_updates(optimizer):
    x, y = words()
    states = []
    for updates in range(1, 5):  # the third of four updates uses the first batch again
        net = reader()
        way = {"optimizer": type(optimizer)(Bomb(ArithmeticError, updates, lambda *_: 0.1))}
        if isinstance(optimizer, nr.SGD):
            way = {"optimizer": nr.SGD(Bomb(ArithmeticError, updates, lambda *_: 0.1), 0.9)}
        with pytest.raises(ArithmeticError):
            net.fit(x, y, epochs=2, batch_size=2, progress=False, **way)
        states.append(net.params.flat.copy())
    net = reader()
    modules = (descent, optimizers, training, callbacks, course, feeds)
    with interrupted_at(0, modules) as count:
        net.fit(x, y, optimizer=optimizer, epochs=2, batch_size=2, progress=False)
    states.append(net.params.flat.copy())
    assert min(np.abs(a - b).max() for a, b in zip(states, states[1:])) > 0.01
    threads, ended, found = numba.get_num_threads(), 0, set()
    for line in range(1, count[0] + 1):
        net = reader()
        try:
            with interrupted_at(line, modules) as place:
                net.fit(x, y, optimizer=optimizer, epochs=2, batch_size=2, progress=False)
        except KeyboardInterrupt:
            ended += 1
        near = [index for index, state in enumerate(states) if np.abs(net.params.flat - state).max() < 1e-12]
        assert len(near) == 1, place[1]
        found.update(near)
        assert numba.get_num_threads() == threads
        if net.history is not None:
            assert len({len(values) for values in (net.history.loss, net.history.rate, net.history.seconds)}) == 1
        with contextlib.suppress(KeyboardInterrupt):
            net.fit(x, y, optimizer=optimizer, epochs=1, progress=False)  # is not locked
    assert found == set(range(5)) and ended > 100


def test_ctrl_c():
    """A signal comes while kernels run: the last update is whole, and the network can train on."""
    program = """
import os, signal, threading
import numpy as np, numbarnn as nr
x, y = nr.windows(np.sin(np.arange(45.0) / 4), 5)
def make(): return nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, seed=0, dtype="float64")
states = [make().params.flat.copy()]
class Seen(nr.SGD):
    def update(self, flat, *others):
        super().update(flat, *others)
        seen.append(flat.copy())
seen, net = [], make()
def tell(net, history):
    if len(history.loss) == 3:
        threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
try:
    net.fit(x, y, optimizer=Seen(0.01), epochs=2000, batch_size=10, callbacks=[tell], progress=False)
    print("not interrupted")
except KeyboardInterrupt:
    print(any((net.params.flat == state).all() for state in seen[-2:]), 3 <= len(net.history.loss) < 2000)
print(len(net.fit(x, y, epochs=2, progress=False).loss))
"""
    assert processes.run("-c", program).split() == ["True", "True", "2"]


def everywhere(value):
    """A loss of 1 with a gradient of this value."""
    return lambda prediction, target: (1.0, np.full_like(prediction, value))


def huge(rate):
    return nr.SGD(lambda update, updates: 1e-12 if update < 4 else rate)


class Own(nr.Optimizer):
    """Gradient descent that writes something else at one step."""

    def __init__(self, value, at=4):
        self.rate, self.value, self.at = 0.01, value, at

    def update(self, flat, previous, gradient, memory, step, rate, scale=1.0):
        flat -= rate * gradient
        if step == self.at:
            flat[2] = self.value


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options, found",
    [
        (dict(loss=everywhere(np.inf)), "gradient of parameter '.*: expected finite numbers, got"),
        (dict(loss=everywhere(np.nan)), "gradient of parameter '.*: expected finite numbers, got nan"),
        (dict(loss=everywhere(np.inf), optimizer=nr.RMSProp()), "gradient of parameter"),
        (dict(loss=everywhere(np.inf), clip=1.0), "norm of the gradient: expected a finite number, got (inf|nan)"),
        (dict(loss=everywhere(1e10), optimizer=huge(1e300)), "parameter '.*: expected finite numbers"),
        (dict(optimizer=nr.AdamW(lambda u, n: 0.01 if u < 4 else 1e200, decay=1e200)), "parameter '"),
        (dict(optimizer=Own(np.nan)), "parameter '0.weight_ih_l0': expected finite numbers, got nan"),
        (dict(optimizer=Own(-np.inf, at=1)), "parameter '0.weight_ih_l0': expected finite numbers, got -inf"),
    ],
)
def test_the_parameters_before_a_step_that_is_not_finite_stay(options, found, dtype):
    net = nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1, "tanh")], channels=1, seed=0, dtype=dtype)
    seen = [net.params.flat.copy()]
    loss = nr.loss(options.get("loss", "mse"))

    def remember(prediction, target):
        seen.append(net.params.flat.copy())
        return loss(prediction, target)

    with pytest.raises(nr.NonFiniteError, match=rf"^{found}.* at epoch \d+, batch \d+; the network has the last finite"):
        net.fit(X.astype(dtype), Y.astype(dtype), **{**options, "loss": remember}, epochs=4, batch_size=10, progress=False)
    assert np.isfinite(net.params.flat).all() and np.array_equal(net.params.flat, seen[-1])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rate", [1e300, 1e308])
def test_rows_before_a_step_that_is_not_finite_stay(rate, momentum):
    x, y = words()
    net, twin = reader(), reader()
    optimizer = nr.SGD(lambda update, updates: 0.1 if update < 3 else rate, momentum)
    with pytest.raises(nr.NonFiniteError):
        net.fit(x, 1e10 * y, optimizer=optimizer, epochs=4, batch_size=2, progress=False)
    with pytest.raises(ArithmeticError):
        optimizer = nr.SGD(Bomb(ArithmeticError, 4, lambda *_: 0.1), momentum)
        twin.fit(x, 1e10 * y, optimizer=optimizer, epochs=4, batch_size=2, progress=False)
    assert np.isfinite(net.params.flat).all()
    np.testing.assert_array_equal(net.params.flat, twin.params.flat)


def test_a_row_that_only_its_momentum_moves_stays_finite():
    x, y = np.array([[0, 1, 1, 1]]), np.ones((4, 2))
    net = reader()
    optimizer = nr.SGD(lambda update, updates: 1.0 if update == 0 else 1e308, 0.9)
    gradients = iter([1.0, 0.0, 0.0, 0.0])
    with pytest.raises(nr.NonFiniteError, match="parameter"):
        net.fit(
            x, y, lambda p, t: (1.0, np.full_like(p, 1e10 * next(gradients))), optimizer, 1, 1, False, progress=False
        )  # fmt: skip
    assert np.isfinite(net.params.flat).all()


def test_memory_that_is_not_finite_is_an_error():
    net = network()
    with pytest.raises(nr.NonFiniteError, match="optimizer: expected a memory of finite numbers"):
        net.fit(X, Y, loss=everywhere(1e200), optimizer=nr.Adam(), epochs=1, progress=False)
    assert np.isfinite(net.params.flat).all()


def test_parameters_that_a_callback_spoils_are_as_before():
    net, seen = network(), []

    def spoil(network, history):
        seen.append(network.params.flat.copy())
        if len(seen) == 2:
            network.params.flat[3] = np.nan

    with pytest.raises(nr.NonFiniteError, match="callbacks: expected finite parameters"):
        net.fit(X, Y, epochs=5, callbacks=[spoil], progress=False)
    assert len(seen) == 2 and np.array_equal(net.params.flat, seen[1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_validation_loss_that_is_not_finite_is_said_once(value):
    def loss(prediction, target):
        if len(prediction) == len(HELD[1]):
            return value, np.zeros_like(prediction)
        return nr.loss("mse")(prediction, target)

    net, stopping = network(), nr.EarlyStopping(3)
    with pytest.warns(RuntimeWarning) as said:
        history = net.fit(
            *TRAIN, loss, batch_size=15, validation=HELD, epochs=9, callbacks=[stopping], progress=False
        )  # fmt: skip
    assert [str(warning.message).split(":")[0] for warning in said] == ["validation", "EarlyStopping"]
    assert f"{value} after epoch 1" in str(said[0].message)
    assert len(history.validation) == 3 and stopping.epoch == 0 and not np.isfinite(history.validation).any()


def test_a_network_is_trained_once_at_a_time():
    net, other = network(), network()
    inside, go = threading.Event(), threading.Event()

    def wait(network, history):
        inside.set()
        go.wait(60)

    thread = threading.Thread(target=net.fit, args=(X, Y), kwargs=dict(callbacks=[wait], epochs=1, progress=False), name="A")
    thread.start()
    try:
        assert inside.wait(60)
        history = net.history
        with pytest.raises(RuntimeError, match="fit: expected a network that is not being trained .* thread 'A' trains"):
            net.fit(X, Y, progress=False)
        assert net.history is history
        other.fit(X, Y, epochs=1, progress=False)
        assert net.predict(X).shape == Y.shape
    finally:
        go.set()
        thread.join()
    assert len(net.fit(X, Y, epochs=1, progress=False).loss) == 1

    def again(network, history):
        network.predict(X)
        network.fit(X, Y, epochs=1, progress=False)

    with pytest.raises(RuntimeError, match="fit: expected a network that is not being trained"):
        net.fit(X, Y, epochs=1, callbacks=[again], progress=False)
    assert len(net.fit(X, Y, epochs=1, callbacks=[lambda *_: again(other, None)], progress=False).loss) == 1
