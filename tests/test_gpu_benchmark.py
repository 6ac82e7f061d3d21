"""What the GPU's benchmark does with its answers, and with processes that crash or hang: no GPU is needed for that."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
gpu = pytest.importorskip("benchmarks.gpu", reason="the benchmarks lie beside the tests, not in the package")
main = pytest.importorskip("benchmarks.__main__")
jobs = gpu.jobs

PROGRAM = """
import sys, time
sys.path.insert(0, {root!r})
from benchmarks import jobs
print("for people")
jobs.answer(first=1)
{then}
jobs.answer(second=2)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A function that runs a program as a job: (answers, reason)."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(then, patience=30.0, seconds=60.0):
        (tmp_path / "a_job.py").write_text(PROGRAM.format(root=str(Path(__file__).parents[1]), then=then))
        answers = []
        return answers, jobs.run("a_job", [], patience, time.monotonic() + seconds, answers.append)

    return run


def test_a_job_answers(program):
    assert program("") == ([{"first": 1}, {"second": 2}], None)


def test_a_job_that_crashes_keeps_what_it_had(program):
    answers, reason = program("sys.exit('no more')")
    assert answers == [{"first": 1}] and reason == "exit status 1: no more"
    answers, reason = program("import os; os.abort()")
    assert answers == [{"first": 1}] and reason.startswith("exit status -6")


def test_a_job_that_hangs_is_ended(program):
    answers, reason = program("time.sleep(100)", patience=4.0)
    assert reason == "no answer in 4 s" and answers in ([], [{"first": 1}])
    assert program("time.sleep(100)", seconds=4.0)[1] == "out of time"


def test_the_next_shape_follows_one_that_crashed(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu.gpu_cases, "SHAPES", None)
    shapes, runs = [(n, 1, 1, 8, 1) for n in range(1, 5)], []

    def run(module, arguments, patience, deadline, take):
        runs.append(arguments)
        if arguments == ["training"]:
            return None
        for words in arguments[1:]:
            shape = [int(n) for n in words.split(",")]
            take({"cell": "GRU", "shape": shape, "work": "forward", "ms": {"numbarnn": 1.0}, "error": {}, "reasons": {}})
            if shape[0] == 2:
                return "exit status -11"
            take({"cell": "GRU", "shape": shape, "work": "both", "ms": {}, "error": {}, "reasons": {"numbarnn": "wrong"}})
        return None

    monkeypatch.setattr(jobs, "run", run)
    monkeypatch.setattr(gpu, "AT_A_TIME", len(shapes))
    kept = gpu.Kept("gpu", tmp_path)
    gpu._measure(kept, time.monotonic() + 60, ["GRU"], shapes)
    assert [len(arguments) for arguments in runs] == [5, 3, 1]
    assert len(kept.result["failures"]) == 4
    assert (tmp_path / "gpu.json").is_file()
    table = gpu.table(kept.result)
    assert "| GRU | 4,1,1,8,1 | 1 (250.00) |" in table and "4 failures" in table


def test_tables():
    rows = [
        {
            "cell": "LSTM", "shape": [10, 1, 2, 3, 2], "work": "both", "reference": "the CPU",
            "ms": {"numbarnn": 2.0, "PyTorch": 5.0}, "error": {"numbarnn": 1e-7, "PyTorch": 2e-7},
        }
    ]  # fmt: skip
    checks = [
        {"group": "gru", "check": "a", "ok": True, "error": 1e-13, "allowed": 1e-12, "reason": None, "seconds": 1.0},
        {"group": "gru", "check": "b", "ok": False, "error": None, "allowed": None, "reason": "x", "seconds": 2.0},
    ]
    training = {"ms": {"numbarnn": 0.5, "PyTorch": 2.0}, "error": {"numbarnn": None}}
    table = gpu.table({"rows": rows, "checks": checks, "training": training, "failures": []})
    assert "| LSTM | 10,1,2,3,2 | 2 (100.00) | 5 | 2.50 |" in table
    assert "geometric mean of 1: 2.50" in table
    assert "| gru | 1 of 2 | 0.1 | 3 s |" in table
    assert "| numbarnn | 0.500 | 4.00 |" in table
    assert gpu.table({"probe": {}, "failures": ["no GPU"]}).endswith("* no GPU")


@pytest.mark.parametrize(
    "words, left",
    [
        (["gpu", "--save"], ["gpu"]),
        (["gpu", "--save", "folder", "--check"], ["gpu", "--check"]),
        (["gpu", "--save", "--check"], ["gpu", "--check"]),
        (["cpu"], ["cpu"]),
    ],
    ids=" ".join,
)
def test_the_command_without_its_folder(words, left):
    assert main._without_save(words) == left


def test_the_first_shapes_of_all_cells_come_first(monkeypatch, tmp_path):
    asked = []

    def run(module, arguments, patience, deadline, take):
        asked.append(arguments)
        for words in arguments[1:]:
            shape = [int(word) for word in words.split(",")]
            take({"cell": arguments[0], "shape": shape, "work": "both", "ms": {}, "error": {}})

    monkeypatch.setattr(jobs, "run", run)
    shapes = [(n, 1, 1, 8, 1) for n in (1, 2, 3)]
    gpu._measure(gpu.Kept("gpu", tmp_path), time.monotonic() + 60, ["GRU", "RNN"], shapes)
    first, last = ["1,1,1,8,1", "2,1,1,8,1"], ["3,1,1,8,1"]
    assert asked == [["GRU", *first], ["RNN", *first], ["training"], ["GRU", *last], ["RNN", *last]]


def test_a_probe_that_fails_ends_nothing_but_itself(monkeypatch, tmp_path):
    asked = []

    def run(module, arguments, patience, deadline, take):
        asked.append(arguments)
        if arguments == ["device"]:
            take({"probe": "device", "found": "a GPU"})
            return "no answer in 90 s"

    monkeypatch.setattr(jobs, "run", run)
    gpu.run(True, False, 60, [], [], ["gru"], save=tmp_path)
    assert asked == [["device"], ["gru"]]
    asked.clear()
    monkeypatch.setattr(jobs, "run", lambda *given: given[-1]({"probe": "device", "found": "none", "failed": True}))
    found = gpu.run(True, False, 60, [], [], ["gru"], save=tmp_path)
    assert not asked and found["failures"] == ["probe device: none"]


def test_sizes_are_those_of_layers(monkeypatch):
    asked = []

    def run(module, arguments, patience, deadline, take):
        asked.append(arguments)
        if arguments == ["device"]:
            take({"probe": "device", "found": "a GPU"})

    monkeypatch.setattr(jobs, "run", run)
    gpu.run(True, False, 60, [], [], ["gru", "products"], sizes=[(3, 4, 5, 6), (1, 1, 1, 1)])
    assert sorted(asked[1:]) == [["gru", "3,4,5,6", "1,1,1,1"], ["products"]]


SCRIPT = Path(gpu.__file__).parent / "gpu.sh"


def script(folder, *words, python="true"):
    """Run the script with another program in the place of Python: its exit status, what it says, the files it brings."""
    environment = os.environ | {"PYTHON": python, "TMPDIR": str(folder / "temporary")}
    (folder / "temporary").mkdir(exist_ok=True)
    done = subprocess.run(["bash", SCRIPT, *words], env=environment, capture_output=True, text=True, check=False)
    found = folder / "out"
    return done.returncode, done.stdout, sorted(path.name for path in found.iterdir()) if found.is_dir() else []


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("timeout") is None, reason="no bash, or no timeout")
class TestScript:
    def test_it_asks_for_a_folder_and_for_what(self, tmp_path):
        assert script(tmp_path, tmp_path / "out")[0] == 2
        assert script(tmp_path, tmp_path / "out", "all")[::2] == (2, [])

    def test_both_calls_bring_at_most_eight_files(self, tmp_path):
        status, said, _ = script(tmp_path, tmp_path / "out", "check")
        assert status == 0 and [f"=== {part}" in said for part in ("probe", "check", "tests", "benchmark")] == [True] * 3 + [
            False
        ]
        status, said, files = script(tmp_path, tmp_path / "out", "time")
        assert status == 0 and "=== benchmark" in said and "=== check" not in said
        assert files == ["check.log", "check.tar.gz", "tests.log", "time.log", "time.tar.gz"]

    def test_a_part_that_fails_ends_no_other(self, tmp_path):
        failing = tmp_path / "python"
        failing.write_text('#!/bin/sh\ncase "$*" in *import*) exit 0 ;; esac\nexit 3\n')
        failing.chmod(0o755)
        status, said, files = script(tmp_path, tmp_path / "out", "check", python=str(failing))
        assert status == 1 and said.count("exit status 3 after") == 3 and "check.tar.gz" in files
