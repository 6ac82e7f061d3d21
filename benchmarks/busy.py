"""One thread and two beside other work: busy processes, another training, a second one like it, a quota; and a sweep.

Each is a process of its own that is bound to no processor.  They take turns, under a load that the benchmark makes itself.
"""

import contextlib
import os
import statistics
import time
from dataclasses import dataclass

import numba
import numpy as np

from numbarnn.engine import processors

from .cpu import numbers_of, time_text
from .loads import Loads
from .quota import Quota
from .turns import Worker

ROUNDS, SECONDS = 10, 0.2  # turns of each process, and how long one lasts
LEAST = 5  # calls of a turn, however long they take
CHANNELS = 8
MEAN, TAIL, SHARE, SWEEP = 1.05, 1.5, 0.45, 1.14  # goals: ratios of two threads to one, share of the speed alone, a sweep
LOADS = {  # what works beside
    "none": (),
    "a busy process": ("plain",),
    "two busy processes": ("plain", "plain"),
    "NumPy's products": ("products",),
    "another training": ("training",),
    "one like it": (),
    "a quota": (),
}
QUOTA = 1.0  # processors
SWEPT = {"none": (), "two busy processes": ("plain",) * 2, "nine busy processes": ("plain",) * 9}
WORKS = ("GRU", "LSTM", "RNN", "Dense", "fit")
SHAPES = ((16, 100, 8), (32, 100, 16), (64, 100, 32), (128, 100, 32), (256, 50, 32), (512, 50, 64))  # H, T, N
SINGLE = ((16, 100, 1), (128, 100, 1), (512, 100, 1))


@dataclass(frozen=True)
class Case:
    """Forward and backward of one layer of `hidden` units, or an update of ``fit`` of a network with a GRU."""

    work: str
    hidden: int
    steps: int
    batch: int

    @property
    def shape(self):
        """(T, N, H)."""
        return self.steps, self.batch, self.hidden


def repeat_layer(case):
    """A function of seconds: those that each call took, of forward and backward in a row until so many have passed."""
    import numbarnn as nr

    layer, channels = getattr(nr, case.work)(case.hidden), case.hidden if case.work == "Dense" else CHANNELS
    random = np.random.default_rng(0)
    x = random.standard_normal((case.steps, case.batch, channels)).astype(np.float32)
    dy = random.standard_normal((case.steps, case.batch, case.hidden)).astype(np.float32)
    p = layer.init(channels, seed=0)
    gradient = p.zeros()

    def repeat(seconds):
        found, now = [], time.perf_counter()
        end = now + seconds
        while now < end or len(found) < LEAST:
            *_, tape = layer.forward(p, x)
            layer.backward(tape, dy, into=gradient)
            before, now = now, time.perf_counter()
            found.append(now - before)
        return found

    return repeat


def repeat_updates(case):
    """The same of updates: `fit` on a single batch, whose epochs it times itself."""
    import numbarnn as nr

    x = np.random.default_rng(0).standard_normal((case.steps, case.batch, CHANNELS)).astype(np.float32)
    net = nr.Network([nr.GRU(case.hidden), nr.Last(), nr.Dense(1)], channels=CHANNELS, seed=0)

    def repeat(seconds):
        end = time.perf_counter() + seconds
        return net.fit(
            x, x[-1, :, :1], epochs=1_000_000, batch_size=case.batch, progress=False,
            callbacks=[lambda net, history: len(history.loss) >= LEAST and time.perf_counter() >= end],
        ).seconds  # fmt: skip

    return repeat


def sweep(epochs):
    """Seconds of eight small trainings, one after the other."""
    import numbarnn as nr

    x, y = nr.windows(np.sin(np.arange(300, dtype=np.float32) / 5), 50)
    start = time.perf_counter()
    for layer in (nr.GRU, nr.LSTM):
        for hidden in (8, 12, 16, 24):
            net = nr.Network([layer(hidden), nr.Last(), nr.Dense(1)], channels=1, seed=0)
            net.fit(x[:, :64], y[:64], optimizer=nr.Adam(0.01), epochs=epochs, batch_size=16, seed=0, progress=False)
    return time.perf_counter() - start


class Measured:
    """What a measured process does: ``prepare`` a case, ``repeat`` it for some seconds, or ``sweep``."""

    def __call__(self, request, *arguments):
        return getattr(self, request)(*arguments)

    def prepare(self, case):
        """Make it and run it: then all is compiled, and memory touched."""
        self.repeat = (repeat_updates if case.work == "fit" else repeat_layer)(case)
        self.repeat(0.0)

    def sweep(self, epochs):
        """See `sweep`."""
        return sweep(epochs)


def measured(threads):
    """A process of so many threads; None sets nothing."""
    if threads is not None:
        numba.set_num_threads(threads)
    return Measured()


def measure(workers, case, rounds, seconds):
    """The times of each call, of one thread and of two; `workers` holds one process of each, or several that run at once."""
    for several in workers:
        for worker in several:
            worker("prepare", case)
    times = [[[] for _ in several] for several in workers]
    for turn in range(rounds):
        pairs = list(zip(workers, times))
        for several, found in pairs if turn % 2 else reversed(pairs):
            for worker in several:
                worker.ask("repeat", seconds)
            for worker, mine in zip(several, found):
                mine += worker.answer()
    return times


def figures(times):
    """Mean, median, 95th percentile, largest of several processes' calls together, and the mean of the slowest process."""
    every = np.concatenate(times)
    return {
        "calls": len(every), "mean": float(every.mean()), "median": float(np.median(every)),
        "tail": float(np.percentile(every, 95)), "largest": float(every.max()), "slowest": max(map(statistics.mean, times)),
    }  # fmt: skip


def under(load, cases, rounds, seconds):
    """A row for each case under one load, as they come."""
    copies, threads = (2 if load == "one like it" else 1), (1, None if load == "a quota" else 2)
    with Quota(QUOTA) if load == "a quota" else contextlib.nullcontext() as quota:
        workers = [[Worker(measured, count, bound=False) for _ in range(copies)] for count in threads]
        if quota:
            for worker in sum(workers, []):
                quota.hold(worker.pid)
        with Loads(LOADS[load]):
            for case in cases:
                one, two = map(figures, measure(workers, case, rounds, seconds))
                yield {
                    "load": f"{load} of {QUOTA:g} by {quota.how}" if quota else load,
                    "work": case.work, "shape": case.shape, "one": one, "two": two,
                    "ratio": two["mean"] / one["mean"], "tail_ratio": two["tail"] / one["tail"],
                }  # fmt: skip
        for worker in sum(workers, []):
            worker.close()


def sweeps(rounds, epochs):
    """Seconds of a sweep under each load, by one thread and with nothing set: medians of several."""
    workers = {"one": Worker(measured, 1, bound=False), "free": Worker(measured, None, bound=False)}
    rows = []
    for worker in workers.values():
        worker("sweep", 1)
    for load, kinds in SWEPT.items():
        with Loads(kinds):
            times = {name: [] for name in workers}
            for _ in range(rounds):
                for name, worker in workers.items():
                    times[name].append(worker("sweep", epochs))
        rows.append({"load": load, **{name: statistics.median(found) for name, found in times.items()}})
    for worker in workers.values():
        worker.close()
    return rows


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--works", nargs="*", choices=WORKS, default=WORKS)
    parser.add_argument("--shapes", nargs="+", type=numbers_of("H,T,N"), default=SHAPES + SINGLE, metavar="H,T,N")
    parser.add_argument("--loads", nargs="*", choices=tuple(LOADS), default=tuple(LOADS))
    parser.add_argument("--no-sweep", action="store_true", help="the layers and updates only")
    parser.add_argument("--quick", action="store_true", help="fewer shapes, fewer and shorter turns")


def run(works, shapes, loads, no_sweep, quick):
    """A row for each load, work and shape, and the sweep."""
    if min(processors.usable(), numba.config.NUMBA_NUM_THREADS) < 2:
        raise SystemExit(f"processors: expected at least 2 to measure two threads, got {processors.limits()}")
    rounds, seconds = (4, SECONDS / 2) if quick else (ROUNDS, SECONDS)
    if quick and shapes == SHAPES + SINGLE:
        shapes = (SHAPES[0], SHAPES[3], SINGLE[0])
    cases, rows = [Case(work, *shape) for work in works for shape in shapes], []
    for load in loads:
        if load == "a quota" and not hasattr(os, "sched_setaffinity"):
            print("a quota: left out, this system has neither control groups nor affinity", flush=True)
            continue
        for row in under(load, cases, rounds, seconds):
            rows.append(row)
            print(_row(row), flush=True)
    # Alone and on one thread: what the speed beside another one is a share of.
    alone = {(row["work"], row["shape"]): row["one"]["mean"] for row in rows if row["load"] == "none"}
    for row in rows:
        if row["load"] == "one like it" and (row["work"], row["shape"]) in alone:
            row["shares"] = {key: alone[row["work"], row["shape"]] / row[key]["slowest"] for key in ("one", "two")}
    return {
        "rounds": rounds,
        "seconds": seconds,
        "rows": rows,
        "sweeps": [] if no_sweep else sweeps(*(1, 5) if quick else (3, 20)),
    }


FIGURES = ("mean", "median", "tail", "largest")
HEAD = [
    "beside", "work", "T, N, H", "one thread: mean", "median", "95 %", "largest", "two threads: mean", "median", "95 %",
    "largest", "two / one: mean", "95 %",
]  # fmt: skip


def _row(row):
    fields = [row["load"], row["work"], ", ".join(map(str, row["shape"]))]
    fields += [time_text(row[key][name]) for key in ("one", "two") for name in FIGURES]
    return "| " + " | ".join([*fields, f"{row['ratio']:.2f}", f"{row['tail_ratio']:.2f}"]) + " |"


def table(result):
    """The result as lines of Markdown."""
    rows = result["rows"]
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD), *map(_row, rows)]
    lines += ["", f"Two threads to one; the goals are at most {MEAN} of the mean and {TAIL} of the 95th percentile:", ""]
    lines += ["| beside | mean: geometric mean | most | 95 %: most | shapes past a goal |", "|" + "---|" * 5]
    for load in dict.fromkeys(row["load"] for row in rows):
        mine = [row for row in rows if row["load"] == load]
        ratios, tails = [row["ratio"] for row in mine], [row["tail_ratio"] for row in mine]
        past = sum(row["ratio"] > MEAN or row["tail_ratio"] > TAIL for row in mine)
        mean = statistics.geometric_mean(ratios)
        lines.append(f"| {load} | {mean:.2f} | {max(ratios):.2f} | {max(tails):.2f} | {past} of {len(mine)} |")
    shares = [row["shares"] for row in rows if "shares" in row]
    if shares:
        least = {key: min(each[key] for each in shares) for key in ("one", "two")}
        lines += ["", f"Two at once, the least share of the speed alone on one thread: of one thread {least['one']:.0%},"
                  f" of two {least['two']:.0%} (goal: {SHARE:.0%})."]  # fmt: skip
    if result["sweeps"]:
        lines += ["", f"A sweep of eight small trainings; the goal is at most {SWEEP} of one thread's time:", ""]
        lines += ["| beside | one thread | nothing set | ratio |", "|---|---|---|---|"]
        for row in result["sweeps"]:
            lines.append(f"| {row['load']} | {row['one']:.2f} s | {row['free']:.2f} s | {row['free'] / row['one']:.2f} |")
    return "\n".join(lines)
