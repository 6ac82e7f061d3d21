"""A kernel is compiled once for a cell and a dtype, kept on disk, and never for another shape."""

import os

import numba
import numpy as np
import pytest
from processes import run
from strategies import KINDS, LAYOUTS, STRIDES, random_case

import numbarnn as nr
from numbarnn.cpu import compiled, recurrent
from numbarnn.engine import disk_cache as entries

SECOND_PROCESS = """
import numpy, numba
import numbarnn as nr
from numbarnn.cpu import recurrent
tasks = recurrent.forward_task, recurrent.backward_task
assert not any(task.compiled for task in tasks)
for layer in (nr.LSTM(3), nr.GRU(7, layers=2, bidirectional=True)):
    p = layer.init(2, dtype="float64")
    y, state, tape = layer.forward(p, numpy.ones((4, 3, 2)))
    layer.backward(tape, y)
for task in tasks:
    assert [found.cache_hits for found in task.compiled.values()] == [1, 1], task.compiled
print("nothing compiled")
"""


def signatures():
    """For how many cells and dtypes each task has been compiled or loaded in this process."""
    return len(recurrent.forward_task.compiled), len(recurrent.backward_task.compiled)


def exercise(layer, dtype, shape=(3, 2, 2), **fields):
    """One forward and one backward call."""
    case = random_case(layer, *shape, dtype=dtype, **fields)
    case.backward(case.forward()[2])
    return case


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_shapes_layouts_and_strides_compile_nothing(kind, dtype):
    make = KINDS[kind]
    exercise(make(3), dtype)
    before = signatures()
    for hidden, layers, bidirectional in ((1, 1, False), (17, 3, True), (65, 2, False)):
        exercise(make(hidden, layers=layers, bidirectional=bidirectional), dtype, (9, 70, 11))
    for layout in LAYOUTS:
        for strides in STRIDES:
            exercise(make(3), dtype, layout=layout, strides=strides)
    case = exercise(make(3), dtype, with_state=False)
    for array in (case.x, case.dy, case.parameters.flat):
        array.flags.writeable = False
    _, _, tape = case.forward()
    case.layer.backward(tape, None, need_x=False, into=make(3).init(2, dtype=dtype), accumulate=True)
    case.layer(case.parameters, case.x)
    case.layer(case.parameters, np.ascontiguousarray(case.x[:, 0]))
    assert signatures() == before


def test_every_kernel_has_one_signature_for_a_cell_and_a_dtype():
    for dtype in ("float64", "float32"):
        for make in KINDS.values():
            exercise(make(3), dtype)
    cells = {make(3).cell for make in KINDS.values()}
    for task in (recurrent.forward_task, recurrent.backward_task):
        assert len([kind for kind, dtype in task.compiled if kind.cell in cells]) == 2 * len(cells)


def test_a_second_process_compiles_nothing():
    exercise(nr.LSTM(3), "float64")
    exercise(nr.GRU(3), "float64")
    assert run("-c", SECOND_PROCESS) == "nothing compiled\n"


def test_import_brings_no_optional_package():
    program = "import sys, numbarnn; print(sorted({'torch', 'jax', 'matplotlib', 'cuda', 'tqdm'} & set(sys.modules)))"
    assert run("-c", program) == "[]\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of its own for compiled code."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def files(folder):
    """What lies in a folder and below."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_two_processes_that_save_at_once_find_their_own(folder, monkeypatch):
    one, other = entries.Entries("kernel", compiled.SOURCES), entries.Entries("kernel", compiled.SOURCES)
    written = os.replace

    def other_first(*paths):
        monkeypatch.setattr(os, "replace", written)
        other.save("key of the other", "code of the other")
        written(*paths)

    monkeypatch.setattr(os, "replace", other_first)
    one.save("key", "code")
    assert one.load("key") == other.load("key") == "code"
    assert one.load("key of the other") == "code of the other"
    assert len(files(folder)) == 2


def test_an_entry_of_other_sources_options_or_vectors_is_not_there(folder, monkeypatch):
    kept = entries.Entries("kernel", compiled.SOURCES, more=64)
    assert kept.load("key") is None
    kept.save("key", "code")
    assert kept.load("key") == "code" and kept.load("other key") is None
    assert entries.Entries("kernel", compiled.SOURCES, more=32).load("key") is None
    assert entries.Entries("other kernel", compiled.SOURCES, more=64).load("key") is None
    assert entries.Entries("kernel", entries.Sources("cells"), more=64).load("key") is None
    with monkeypatch.context() as changed:
        changed.setattr(numba.config, "OPT", 1)
        assert kept.load("key") is None
    with monkeypatch.context() as changed:
        changed.setattr(entries, "_versions", lambda: "others")
        assert kept.load("key") is None
    assert kept.load("key") == "code"
    kept.flush()
    assert not files(folder)


FIRST_CALLS = {  # modules of a target are imported when they are first asked for: each of these asks for them alone
    "activation": "nr.Activation('silu')(nr.Activation('silu').init(1), np.ones((2, 1), np.float32))",
    "cross entropy": "nr.CrossEntropy()(np.ones((2, 3)), np.array([0, 2]))",
    "dense": "nr.Dense(2, 'tanh')(nr.Dense(2).init(1), np.ones((2, 1), np.float32))",
    "embedding": "nr.Embedding(3, 2)(nr.Embedding(3, 2).init(), np.array([[0, 2]]))",
}


@pytest.mark.parametrize("name", FIRST_CALLS)
def test_anything_may_be_the_first_call(name):
    run("-c", f"import numpy as np, numbarnn as nr; {FIRST_CALLS[name]}")
