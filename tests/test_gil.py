"""What takes long lets other Python threads run: they predict at once, with the bits of one."""

import threading
import time

import numpy as np
import pytest
from checks import same_bits

import numbarnn as nr
from numbarnn.cpu import jobs, programs, tapes
from numbarnn.cpu.atomics import atomic_load, atomic_store, pause
from numbarnn.cpu.compiled import Function, Task
from numbarnn.cpu.failures import call_or_raise
from numbarnn.cpu.pool import share

LOOKS = 100_000_000  # for another thread to run Python: seconds
WAITS, COME, SEEN = 1, 2, 3  # what a flag says


@Function
def look_out(flag):
    """Say in a flag that it is waited for, and wait until it has come; SEEN is then in its place."""
    atomic_store(flag, WAITS)
    for _ in range(LOOKS):
        if atomic_load(flag) == COME:
            atomic_store(flag, SEEN)
            return
        pause()


@Task
def look_out_task(cell, number, record, index):
    """`look_out`, whose address comes first, of one of several flags behind it."""
    call_or_raise(atomic_load(record), (record + 8 + 8 * index,))


@Function
def nothing(record):
    """Do nothing."""


@Function
def refuse(record):
    """Raise."""
    raise ValueError("a function that refuses")


def meanwhile(function, flags):
    """Set flags in another Python thread, one after the other when compiled code waits for it."""

    def follow():
        for index in range(len(flags)):
            while not flags[index]:
                time.sleep(0)
            flags[index] = COME if flags[index] == WAITS else flags[index]

    thread = threading.Thread(target=follow)
    thread.start()
    function()
    thread.join()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Nothing that other tests have waited for."""
    monkeypatch.setattr(jobs, "patience", jobs.Patience())
    return jobs.patience


def test_a_long_call_lets_another_thread_run_python():
    flag = np.zeros(1, np.int64)
    meanwhile(lambda: jobs.call_long(look_out.address, flag.ctypes.data), flag)
    assert flag[0] == SEEN


def test_a_job_of_several_lets_another_thread_run_python():
    record = np.array([look_out.address, 0, 0], np.int64)
    task = look_out_task.address(None, np.dtype(np.float32))
    meanwhile(lambda: jobs._share_long(share.address, 0, task, record.ctypes.data, 2), record[1:])
    assert record[1:].tolist() == [SEEN, SEEN]


def test_what_is_raised_is_raised_in_python():
    for _ in range(3):
        with pytest.raises(ValueError, match="^a function that refuses$"):
            jobs.call_long(refuse.address, 0)


def test_two_long_waits_in_a_row_keep_python_for_a_while(patience):
    second = 1_000_000_000
    for waits, rests in (((second,), False), ((second, 0, second), False), ((second, second), True)):
        patience.__init__()
        for wait in waits:
            patience.note(time.monotonic_ns() - wait)
        assert (patience.until > time.monotonic_ns() + jobs.RESTS * second) == rests
    patience.__init__()
    patience.kept = time.monotonic_ns()
    for _ in range(3):
        patience.note(patience.kept - second)  # it has waited for one that kept Python, which says nothing of others
    assert not patience.until


def test_a_call_that_keeps_python_does_what_others_do(patience):
    patience.until = time.monotonic_ns() + 10**12
    before = patience.kept
    jobs.call_long(nothing.address, 0)
    assert patience.kept > before
    with pytest.raises(ValueError, match="^a function that refuses$"):
        jobs.call_long(refuse.address, 0)


def test_predictions_that_take_long_are_long_calls(monkeypatch):
    called = []
    for module in (tapes, programs):
        for name in ("call", "call_long"):
            function = getattr(jobs, name)
            call = lambda *record, name=name, function=function: (called.append(name), function(*record))  # noqa: E731
            monkeypatch.setattr(module, name, call)
    large, small = (nr.Network([nr.GRU(hidden), nr.Last(), nr.Dense(1)], 3, seed=0) for hidden in (48, 4))
    x = np.ones((40, 8, 3), np.float32)
    assert large.layers[0].hidden ** 2 * 3 * 40 * 8 > jobs.LONG > 3 * 7 * 4 * 40 * 8
    for net, expected in ((large, True), (small, False)):
        for _ in range(4):  # with a program only once it has been called before
            called.clear()
            net.predict(x)
            assert ("call_long" in called) == expected
    y, _, tape = nr.GRU(48).forward(nr.GRU(48).init(3), x)
    called.clear()
    nr.GRU(48).backward(tape, y)
    assert called == ["call_long"]


@pytest.mark.parametrize(
    "layers",
    [
        [nr.GRU(64), nr.Last(), nr.Dense(2)],
        [nr.LSTM(40, layers=2, bidirectional=True), nr.Dense(3)],
        [nr.GRU(320), nr.Dense(2)],  # of which the units are split over threads
        [nr.Conv2d(4, 3), nr.MaxPool2d(2), nr.Flatten(), nr.Dense(50, "tanh"), nr.Dense(2)],
    ],
)
def test_threads_that_compute_at_once_have_the_bits_of_one(layers):
    channels, random = (1, 20, 20) if isinstance(layers[0], nr.Conv2d) else 5, np.random.default_rng(0)
    net = nr.Network(layers, channels, seed=0)
    inputs = [random.standard_normal((6, 20, net.channels)).astype(np.float32) for _ in range(3)]
    inputs[2] = inputs[2][:, :7]  # another size beside
    expected = [net.predict(x) for x in inputs]
    together, found = threading.Barrier(len(inputs)), {}

    def compute(number):
        together.wait()
        own = nr.Network(layers, channels, seed=number)
        targets = np.zeros_like(expected[number])
        for _ in range(3):
            predicted = net.predict(inputs[number])
            own.fit(inputs[number], targets, epochs=1, progress=False)
            found.setdefault(number, []).append((predicted, own.params.flat.copy()))

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, x in enumerate(inputs):
        own = nr.Network(layers, channels, seed=number)
        for predicted, trained in found[number]:
            own.fit(x, np.zeros_like(expected[number]), epochs=1, progress=False)
            assert same_bits(predicted, expected[number]) and same_bits(trained, own.params.flat)
        assert len(found[number]) == 3
