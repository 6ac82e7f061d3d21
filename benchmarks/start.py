"""The first second: a GRU's first calls, cold and warm, eight processes at once, and where the seconds go.

Cold is a process that finds no kernel on disk; warm is one that finds all.  Every process is a fresh one, and finds the
library's byte code on disk, as with an installed package.
"""

import compileall
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numbarnn

RUNS = {
    "GRU, predict": "net.predict(x)",
    "GRU, one training step": "net.fit(x, x[:, :, :1], epochs=1, batch_size=8, progress=False)",
}
GRU = """
import numpy as np, numbarnn as nr
net = nr.Network([nr.GRU(32), nr.Dense(1)], channels=2, seed=0)
x = np.zeros((20, 8, 2), "float32")
"""
DEEP_DIAMOND = """
import numbarnn as nr
from numbarnn.demo.counting import counting_network, counting_windows
x, y = counting_windows()
"""
STEP = 'counting_network().fit(x[:, :32], y[:32], "quadratic", nr.Adam(0.005), epochs=1, progress=False)'
PROGRAMS = {
    **{name: (GRU, run) for name, run in RUNS.items()},
    "Deep Diamond's network, one training step": (DEEP_DIAMOND, STEP),
}
PROGRAM = """
import json, time
start = time.perf_counter()
{before}
imported = time.perf_counter()
{run}
end = time.perf_counter()
print(json.dumps({{"import": imported - start, "first": end - imported, "all": end - start}}))
"""
TRACED = """
import json
from benchmarks.start_trace import Trace
{before}
with Trace() as trace:
    {run}
print(json.dumps(trace.summary()))
"""


def add_arguments(parser):
    """Of the command line."""
    parser.add_argument("--processes", type=int, default=8, help="that start at once on one empty folder (default 8)")


def _start(program, folder):
    """A process with a folder for kernels."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, text=True, **pipes)


def _answer(process):
    """What a process has printed last."""
    printed, said = process.communicate()
    if process.returncode:
        raise RuntimeError(said)
    return json.loads(printed.splitlines()[-1])


def run(processes):
    """Seconds of each program in a cold and in a warm process, of several cold ones, and where one cold one spends them."""
    result = {"processes": processes, "programs": {}, "at_once": {}, "where": {}}
    compileall.compile_dir(Path(numbarnn.__file__).parent, quiet=1)
    for name, (before, last) in PROGRAMS.items():
        program = PROGRAM.format(before=before, run=last)
        with tempfile.TemporaryDirectory() as folder:
            result["programs"][name] = [_answer(_start(program, folder)) for _ in range(3)]
    for name, last in RUNS.items():
        program, walls = PROGRAM.format(before=GRU, run=last), []
        for count in (1, processes):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                for process in [_start(program, folder) for _ in range(count)]:
                    _answer(process)
                walls.append(time.perf_counter() - start)
        result["at_once"][name] = walls
        with tempfile.TemporaryDirectory() as folder:
            result["where"][name] = _answer(_start(TRACED.format(before=GRU, run=last), folder))
    return result


def table(result):
    """The result as lines of Markdown."""
    lines = ["| first call, float32 | cold | warm | of it import |", "|---|---|---|---|"]
    for name, (cold, _, warm) in result["programs"].items():
        lines.append(f"| {name} | {cold['all']:.1f} s | {warm['all']:.2f} s | {warm['import']:.2f} s |")
    many = result["processes"]
    lines += ["", f"| cold, from start to end | one process | {many} at once | ratio |", "|---|---|---|---|"]
    for name, (one, several) in result["at_once"].items():
        lines.append(f"| {name} | {one:.1f} s | {several:.1f} s | {several / one:.2f} |")
    for name, where in result["where"].items():
        total = where["seconds"]
        lines += ["", f"| {name}, cold: {total:.1f} s while it is traced, by stage | seconds | share |", "|---|---|---|"]
        lines += [f"| {stage} | {seconds:.2f} | {seconds / total:.0%} |" for stage, seconds in where["stages"]]
        lines += ["", "| by kept kernel | seconds |", "|---|---|"]
        lines += [f"| {kernel} | {seconds:.2f} |" for kernel, seconds in where["kernels"]]
        lines += ["", "| by function, without those it calls | seconds | times |", "|---|---|---|"]
        lines += [f"| {function} | {seconds:.2f} | {times} |" for function, seconds, times in where["functions"]]
    return "\n".join(lines)
