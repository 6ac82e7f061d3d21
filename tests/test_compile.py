"""Kernels compiled ahead of time are all that a process needs, and are compiled once."""

import ast
import contextlib
import io
import math
import re
import sys

import numba
import pytest
from processes import run

import numbarnn as nr
from numbarnn.compile.__main__ import layer, main
from numbarnn.engine import cache_folders

NETWORK = """
import numpy as np, numbarnn as nr
net = nr.Network([nr.GRU(5, layers=2), nr.LSTM(3), nr.Last(), nr.Dense(2)], channels=3, seed=0)
"""
AHEAD = """
done = nr.compile(net, loss=["mse", "cross_entropy"], optimizer=["adam", nr.SGD(0.1, momentum=0.9)])
known = {(kernel.name, kernel.types) for kernel in done.kernels}
"""
USE = """
x = np.random.default_rng(0).standard_normal((9, 70, 3)).astype("float32")
for _ in range(2):
    net.predict(x)  # a second time it is prepared
net.predict(x, lengths=np.arange(70) % 10)
net.stream(2).step(x[0, :2])
for loss, y in (("mse", x[0, :, :2]), ("cross_entropy", np.arange(70) % 2)):
    for optimizer in ("adam", nr.SGD(0.1, momentum=0.9)):
        net.fit(x, y, loss, optimizer, epochs=1, validation=(x, y), progress=False)
        nr.fit_many(net, x, y, seeds=[0, 1], loss=loss, optimizer=optimizer, epochs=1, clip=1.0, progress=False)
net.fit(x, x[0, :, :2], epochs=1, lengths=np.arange(70) % 9 + 1, tape="states", clip=1.0, progress=False)
net.loss_and_gradient(net.params.flat, x, x[0, :, :2])
"""
WATCHED = """
from numbarnn.engine.compilations import watched
with watched() as found:
    {}
print(sorted({{(each.name, each.types) for each in found}}))
"""


def kernels_of(program):
    """The kernels that a process takes, found or compiled."""
    return set(ast.literal_eval(run("-c", NETWORK + WATCHED.format(program.strip().replace("\n", "\n    ")))))


def test_it_takes_every_kernel_that_a_program_takes():
    used, ahead = kernels_of(USE), kernels_of(AHEAD)
    assert used == ahead and {"cpu.recurrent.forward_task", "cpu.recurrent.backward_task"} <= {name for name, _ in used}


LAST = [("nr.Dense(5)", True), ("nr.Dense(5, 'sigmoid')", False), ("nr.Pool('mean'), nr.Dense(5)", False)]


@pytest.mark.parametrize("last, draws", LAST)
def test_language_models_are_sampled(last, draws):
    found = {name for name, _ in kernels_of(f"nr.compile(nr.Network([nr.Embedding(5, 2), {last}]), work='inference')")}
    assert "cpu.embedding._copy" in found and ("cpu.sampling._draw" in found) == draws


SMALL = """
import numpy as np, numbarnn as nr
net = nr.Network([nr.Embedding(5, 3), nr.Last(), nr.Activation("softsign")])
"""
FIRST = """
before = net.params.flat.copy()
done = nr.compile(net, work={!r}, optimizer="sgd")
assert (net.params.flat == before).all() and net.history is None
print(done)
assert len(done.kernels) == len({{kernel.file for kernel in done.kernels}}) > 1 and not done.found
assert all(kernel.file.is_file() and kernel.seconds > 0 for kernel in done.kernels)
again = nr.compile(net, work={!r}, optimizer="sgd")
assert not again.kernels, again
"""
SECOND = """
from numba.core import event
x, y = np.arange(5)[:, None], np.zeros((1, 3), "float32")
with event.install_recorder("numba:compile") as compiled, event.install_recorder("numba:run_pass") as passes:
    net.predict(x)
    print("predicts", bool(compiled.buffer or passes.buffer))
    net.fit(x, y, optimizer="sgd", epochs=2, progress=False)
    print("trains", bool(compiled.buffer or passes.buffer))
"""


@pytest.mark.parametrize("work", ["inference", "both"])
def test_a_second_process_compiles_nothing(work, tmp_path):
    said = run("-c", SMALL + FIRST.format(work, work), NUMBA_CACHE_DIR=str(tmp_path))
    assert "cpu.elementwise" in said and str(tmp_path / "numbarnn") in said
    expected = "predicts False\ntrains True\n" if work == "inference" else "predicts False\ntrains False\n"
    assert run("-c", SMALL + SECOND, NUMBA_CACHE_DIR=str(tmp_path)) == expected


def test_processes_share_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    layers = [nr.Activation("relu"), nr.Activation("softsign")]
    done = nr.compile(layers, work="inference", dtype=["float32", "float64"], jobs=2)
    assert [kernel.name for kernel in done.kernels].count("cpu.elementwise._value") == 4
    assert done.folder == tmp_path / "numbarnn" and len({kernel.file for kernel in done.kernels}) == len(done.kernels)
    assert {kernel.file for kernel in done.kernels} <= set(tmp_path.rglob("*.nbc"))
    assert f"{len(done.kernels)} kernels compiled" in repr(done) and "<table>" in done._repr_html_()
    again = nr.compile(layers, work="inference", dtype=["float32", "float64"], jobs=3)
    assert (again.kernels, again.found) == ((), len(done.kernels))


def test_a_process_that_fails():
    def local(prediction, y):
        """No other process finds it."""

    for loss in (local, math.hypot):  # of two numbers, not of arrays
        with pytest.raises(RuntimeError, match="^jobs: expected processes that compile, got one that failed: "):
            nr.compile([nr.Activation("relu"), nr.Activation("tanh")], loss=loss, jobs=2)


WRONG = {
    "no layer": (
        lambda: nr.compile("GRU"),
        TypeError,
        "what: expected a network or a layer, or several in a list, got 'GRU'",
    ),
    "none": (lambda: nr.compile([]), ValueError, "what: expected at least one, got none"),
    "work": (lambda: nr.compile(nr.GRU(2), work="infer"), nr.UnknownNameError, "work: .*did you mean 'inference'"),
    "dtype": (lambda: nr.compile(nr.GRU(2), dtype="float16"), nr.DTypeError, "dtype: expected float32 or float64"),
    "dtypes": (lambda: nr.compile(nr.GRU(2), dtype=["float32", 3]), nr.DTypeError, "dtype: expected float32 or float64"),
    "loss": (lambda: nr.compile(nr.GRU(2), loss="mes"), nr.UnknownNameError, "loss: .*did you mean 'mse'"),
    "optimizer": (lambda: nr.compile(nr.GRU(2), optimizer=["adam", 3]), nr.UnknownNameError, "optimizer: unknown name 3"),
    "channels": (lambda: nr.compile(nr.GRU(2), 0), ValueError, "channels: expected a positive integer, got 0"),
    "jobs": (lambda: nr.compile(nr.GRU(2), jobs=0.5), TypeError, "jobs: expected a positive integer, got 0.5"),
    "keyword": (lambda: nr.compile(nr.GRU(2), criterion="mse"), TypeError, "criterion: unknown argument of compile"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name):
    call, error, text = WRONG[name]
    with pytest.raises(error, match=text):
        call()


def test_no_folder(monkeypatch):
    monkeypatch.setattr(cache_folders, "candidates", lambda: [])
    with pytest.raises(OSError, match="NUMBA_CACHE_DIR: expected a folder"):
        nr.compile(nr.Activation("tanh"))


def test_layers_on_the_command_line():
    assert layer("GRU") == nr.GRU(4) and layer("LSTM(7, peepholes=True)") == nr.LSTM(7, peepholes=True)
    assert layer("Dense(activation='relu')") == nr.Dense(4, "relu") and layer("Embedding") == nr.Embedding(4, 4)


def command(monkeypatch, *words):
    """(exit status, what is printed, what is said) of a command line."""
    printed, said = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "argv", ["numbarnn.compile", *words])
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            status = main()
        except SystemExit as ended:
            status = ended.code
    return status, printed.getvalue(), said.getvalue()


def test_the_command(tmp_path):
    printed = run("-m", "numbarnn.compile", "Activation('relu')", "--inference", NUMBA_CACHE_DIR=str(tmp_path))
    assert "cpu.elementwise._value" in printed and f"are new in {tmp_path / 'numbarnn'}\n" in printed
    assert list(tmp_path.rglob("cpu.elementwise._value.*.nbc"))


WORDS = {
    "no layer": (["GRUU"], "layer: unknown name 'GRUU', .*did you mean 'GRU'"),
    "no such field": (["GRU(restet='before')"], r"GRU\(restet='before'\): restet: unknown argument"),
    "a program": (["GRU(print(1))"], "expected a layer such as GRU"),
    "no expression": (["GRU("], "expected a layer such as GRU"),
    "dtype": (["GRU", "--dtype", "float16"], "invalid choice: 'float16'"),
    "jobs": (["GRU", "--jobs", "0"], "jobs: expected a positive integer, got 0"),
}


@pytest.mark.parametrize("name", WORDS)
def test_wrong_commands(name, monkeypatch):
    words, text = WORDS[name]
    status, printed, said = command(monkeypatch, *words)
    assert status == 2 and not printed
    assert re.search(text, said), said
