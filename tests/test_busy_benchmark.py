"""The benchmark beside other work makes that work and times real calls; none saves what it measured beside others' work."""

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
busy = pytest.importorskip("benchmarks.busy", reason="the benchmarks lie beside the tests, not in the package")
load = pytest.importorskip("benchmarks.load")
loads = pytest.importorskip("benchmarks.loads")
main = pytest.importorskip("benchmarks.__main__")

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="takes affinity")


@pytest.fixture
def started_here(monkeypatch):
    """Processes that this one starts can import the benchmarks."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


# -- the benchmark


@pytest.mark.parametrize("work", busy.WORKS)
def test_every_work_is_timed_call_by_call(work):
    repeat = (busy.repeat_updates if work == "fit" else busy.repeat_layer)(busy.Case(work, 4, 3, 2))
    times = repeat(0.0)
    assert len(times) == busy.LEAST and min(times) > 0


@linux
@pytest.mark.parametrize("name", ["a busy process", "one like it", "a quota"])
def test_rows_of_a_load(started_here, name):
    cases = [busy.Case("GRU", 4, 3, 2), busy.Case("fit", 4, 3, 2)]
    rows = list(busy.under(name, cases, rounds=2, seconds=0.0))
    assert [(row["work"], row["shape"]) for row in rows] == [("GRU", (3, 2, 4)), ("fit", (3, 2, 4))]
    copies = 2 if name == "one like it" else 1
    for row in rows:
        assert row["load"].startswith(name)
        for found in (row["one"], row["two"]):
            assert found["calls"] == 2 * busy.LEAST * copies
            assert 0 < found["median"] <= found["tail"] <= found["largest"] and found["mean"] <= found["slowest"] * (
                1 + 1e-9
            )
        assert row["ratio"] == row["two"]["mean"] / row["one"]["mean"]
    table = busy.table({"rows": rows, "sweeps": []})
    assert table.count(f"| {rows[0]['load']} |") == 3 and "of 2 |" in table


def test_figures_of_two_processes():
    found = busy.figures([[1.0, 1.0, 2.0, 4.0], [6.0, 10.0]])
    assert found == {"calls": 6, "mean": 4.0, "median": 3.0, "tail": 9.0, "largest": 10.0, "slowest": 8.0}


def test_a_sweep():
    assert busy.sweep(1) > 0


def test_loads_begin_and_end(started_here):
    with loads.Loads(["plain", "products", "training"]) as working:
        processes = working._processes
        assert [process.poll() for process in processes] == [None] * 3
    assert [process.returncode for process in processes] == [0] * 3
    with pytest.raises(RuntimeError, match="ended too early"), loads.Loads(["plain"]) as working:
        working._processes[0].kill()
        working._processes[0].wait()
    with pytest.raises(RuntimeError, match="'none' has ended before it began"), loads.Loads(["none"]):
        pass


# -- the load besides a benchmark


def written(folder, processors, processes):
    """A folder like /proc: what all processors have done, and {process: (its parent, ticks)}."""
    folder.mkdir(exist_ok=True)
    (folder / "stat").write_text(f"cpu  {' '.join(map(str, processors))} 7 0\ncpu0 1 1\n")
    for pid, (parent, ticks) in processes.items():
        (folder / str(pid)).mkdir(exist_ok=True)
        (folder / str(pid) / "stat").write_text(
            f"{pid} (a) name) S {parent} 1 1 0 -1 1 1 1 1 1 {' '.join(map(str, ticks))} 20 0"
        )


def test_the_load_of_others_is_what_is_not_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "PROC", tmp_path)
    own, tick, now = os.getpid(), os.sysconf("SC_CLK_TCK"), 50.0
    monkeypatch.setattr(load.time, "monotonic", lambda: now)
    child, grandchild, other = 10**8, 10**8 + 1, 10**8 + 2
    zeros = (0, 0, 0, 0)
    processes = {own: (1, zeros), grandchild: (child, zeros), child: (own, zeros), other: (1, zeros)}
    written(tmp_path, [100, 0, 0, 5000, 5000, 0, 0, 0], processes)
    start, now = load._mark(), 60.0
    processes |= {
        own: (1, (tick, tick, 2 * tick, tick)),
        grandchild: (child, (3 * tick, 0, 0, 0)),
        other: (1, (9 * tick,) * 4),
    }
    worked = [100 + 10 * tick, tick, tick, 9000, 9000, tick, tick, 2 * tick]
    written(tmp_path, worked, processes)
    assert load._besides(start, load._mark()) == pytest.approx((16 - 8) / 10)


def test_where_no_load_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "PROC", tmp_path)
    monkeypatch.delattr(load.os, "getloadavg", raising=False)
    around = load.Load()
    around.end()
    assert around.refuses is None and around.as_dict() == {} and "not known" in str(around)


class Bench:
    """A benchmark that notes that it has run."""

    ran = False

    def run(self):
        self.ran = True
        return {"number": 3}

    def table(self, result):
        return f"| {result['number']} |"


@pytest.mark.parametrize(
    ("before", "during", "said"), [(0.2, 0.3, None), (0.7, 0.0, "not begun"), (0.1, 0.51, "not saved"), (0.5, 0.5, None)]
)
def test_nothing_is_saved_above_a_load(tmp_path, monkeypatch, capsys, before, during, said):
    bench = Bench()
    monkeypatch.setattr(main, "BENCHMARKS", {"bench": bench})
    monkeypatch.setattr(load, "_mark", lambda: (0, 0, 0))
    monkeypatch.setattr(load.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(load, "_besides", lambda start, end: during if bench.ran else before)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "bench", "--save", str(tmp_path / "kept")])
    with pytest.raises(SystemExit) as ended:
        main.main()
    printed = capsys.readouterr().out
    assert bench.ran == (said != "not begun") == ("| 3 |" in printed)
    if said:
        assert said in ended.value.code and "expected at most 0.5" in ended.value.code and not list(tmp_path.iterdir())
    else:
        assert not ended.value.code
        kept = json.loads((tmp_path / "kept" / "bench.json").read_text())
        assert kept["load"] == {"before": before, "during": during, "after": during} and kept["number"] == 3
        assert f"{during:.2f} during" in (tmp_path / "kept" / "bench.md").read_text() and f"{during:.2f} during" in printed
