"""Ranks of MPI: seconds of an update on 1 and 2 of them, what the sum and shards cost, and a model of 64."""

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from .cpu import time_text

RANKS, MODEL = (1, 2), 64
BATCH, STEPS, CHANNELS = 256, 50, 16  # samples of an update, on all ranks together
HIDDEN = (32, 128, 256)
SHARDS = 8
NAMES = {"alone": "no comm", "plain": "comm", "ranks": "shards = ranks", "shards": f"shards = {SHARDS}"}


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--hidden", nargs="+", type=int, default=HIDDEN, help="units of the GRU")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each way to train")


def median_of(action, count):
    """The median seconds of so many calls."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def messages(comm, size):
    """{what: seconds} of the sums of a gradient of so many numbers, and of a single number."""
    import numpy as np

    from numbarnn.training.ranks import Ranks
    from numbarnn.training.sums import Sum, TreeSum

    with Ranks(comm) as ranks:
        found = {
            "latency": Sum(ranks.size, 0, np.float32, ranks),
            "plain": Sum(ranks.size, size, np.float32, ranks),
            "tree": TreeSum(ranks.size, size, np.float32, ranks),
        }
        return {name: median_of(lambda each=each: each.take(last=True), 200) for name, each in found.items()}


def train(hidden, rounds):
    """What rank 0 has found: seconds of an update by name, of the messages, and the bytes that are summed."""
    import numpy as np
    from mpi4py import MPI

    import numbarnn as nr

    comm, random = MPI.COMM_WORLD, np.random.default_rng(0)
    if hasattr(os, "sched_setaffinity"):  # a core each
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[comm.rank % len(cores)]})

    def samples(count):
        x = random.standard_normal((STEPS, count, CHANNELS)).astype(np.float32)
        return x, np.tanh(x.mean((0, 2)))[:, None]

    net = nr.Network([nr.GRU(hidden), nr.Last(), nr.Dense(1)], channels=CHANNELS, seed=0)
    x, y = samples(2 * BATCH // comm.size)  # two updates in an epoch
    ways = {"plain": dict(comm=comm), "ranks": dict(comm=comm, shards=comm.size), "shards": dict(comm=comm, shards=SHARDS)}
    few = samples(2 * BATCH // MODEL)
    if comm.size == 1:
        ways = {"alone": {}, "shards": dict(shards=SHARDS), "few": dict(x=few[0], y=few[1], batch_size=BATCH // MODEL)}
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, options in ways.items():
            arguments = dict(x=x, y=y, batch_size=BATCH, epochs=4, progress=False) | options
            times[name] += net.fit(**arguments).seconds[1:]  # the first epoch makes the workspaces
    size = len(net.params)
    found = {"updates": {name: statistics.median(seconds) / 2 for name, seconds in times.items()}, "bytes": 4 * (size + 1)}
    return found | ({"messages": messages(comm, size)} if comm.size > 1 else {})


def on_ranks(count, hidden, rounds):
    """What rank 0 of so many prints."""
    own = Path(sys.executable).parent / "mpiexec"
    command = [str(own) if own.exists() else shutil.which("mpiexec"), "-n", str(count), sys.executable, "-m", __name__]
    environment = os.environ | {
        "NUMBA_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    folders = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    ended = subprocess.run([*command, str(hidden), str(rounds)], env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(ended.stdout + ended.stderr)
    return json.loads(ended.stdout)


def model(one, two, ranks=MODEL):
    """Seconds of an update on many ranks, from what one and two have taken.

    A sum over R ranks is a ring's, or a tree's for few bytes: it sends 2 (R - 1) / R of the bytes and waits log2(R) times.
    The bytes of a second are those that two ranks have reached.
    """
    latency, plain, nbytes = two["messages"]["latency"], two["messages"]["plain"], two["bytes"]
    rate = nbytes / max(plain - latency, 1e-9)
    summed = math.log2(ranks) * latency + 2 * (ranks - 1) / ranks * nbytes / rate
    whole, few = one["updates"]["alone"], one["updates"]["few"]
    return {
        "sum": summed, "rate": rate, "same_batch": few + summed, "speedup": whole / (few + summed),
        "larger_batch": whole + summed, "efficiency": whole / (whole + summed),
    }  # fmt: skip


def run(hidden, rounds):
    """A row for each size."""
    rows = []
    for units in hidden:
        one, two = (on_ranks(count, units, rounds) for count in RANKS)
        rows.append({"hidden": units, "one": one, "two": two, "model": model(one, two)})
    return {"batch": BATCH, "steps": STEPS, "channels": CHANNELS, "rows": rows}


def lines_of(head, rows):
    """A table in Markdown."""
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]


def table(result):
    """The result as lines of Markdown."""
    measured, summed, modelled = [], [], []
    for row in result["rows"]:
        one, two, guess, name = row["one"]["updates"], row["two"]["updates"], row["model"], f"GRU({row['hidden']})"
        parts = row["two"]["messages"]
        measured.append([name, *map(time_text, (one["alone"], one["shards"], two["plain"], two["ranks"], two["shards"]))])
        measured[-1] += [f"{one['alone'] / two['plain']:.2f}", f"{two['ranks'] / two['plain']:.3f}"]
        measured[-1] += [f"{two['shards'] / two['plain']:.3f}"]
        summed.append([name, f"{row['two']['bytes']:,}", *(time_text(parts[each]) for each in ("latency", "plain", "tree"))])
        modelled.append([name, f"{guess['rate'] / 1e9:.2f} GB/s", time_text(guess["sum"]), time_text(one["few"])])
        modelled[-1] += [time_text(guess["same_batch"]), f"{guess['speedup']:.1f}"]
        modelled[-1] += [time_text(guess["larger_batch"]), f"{guess['efficiency']:.0%}"]
    head = ["an update", "1 rank", f"1, {NAMES['shards']}", "2 ranks", f"2, {NAMES['ranks']}", f"2, {NAMES['shards']}"]
    head += ["1 / 2 ranks", "shards = ranks / plain", f"{NAMES['shards']} / plain"]
    lines = [
        f"{result['batch']} samples of {result['steps']} steps in an update, on all ranks together; a thread a rank.",
        "",
    ]
    lines += lines_of(head, measured)
    lines += ["", *lines_of(["2 ranks", "bytes summed", "Allreduce of 4 bytes", "Allreduce of all", "by pairs"], summed)]
    ranks, few = MODEL, result["batch"] // MODEL
    lines += [
        "",
        f"A model of {ranks} ranks, not measured: log2({ranks}) times the latency, 2 ({ranks} - 1) / {ranks} of the",
    ]
    lines += [
        "bytes at the rate that two ranks have reached, and the compute of one rank, measured. The rate is that of this"
    ]
    lines += ["machine's memory; a network has another.", ""]
    head = [f"{ranks} ranks", "rate", "Allreduce", f"{few} samples", f"{result['batch']} in all", "speedup"]
    return "\n".join([*lines, *lines_of([*head, f"{result['batch']} a rank", "efficiency"], modelled)])


if __name__ == "__main__":
    answer = train(int(sys.argv[1]), int(sys.argv[2]))
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(answer))
