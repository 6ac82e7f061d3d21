"""How many times faster than real time the C of a network runs, one sample at a step, beside RTNeural's published speeds."""

import ctypes
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import numbarnn as nr

RATE = 48_000  # samples of a second
SIZES = 16, 32, 64
PUBLISHED = {("GRU", 16): 78, ("GRU", 32): 28, ("GRU", 64): 8.7, ("LSTM", 16): 65, ("LSTM", 32): 23.6, ("LSTM", 64): 6.5}
FLAGS = ("-O2",), ("-O3", "-march=native")


def network(kind, hidden):
    """A network of one channel in and one out, as of an amplifier's model."""
    return nr.Network([getattr(nr, kind)(hidden), nr.Dense(1)], channels=1, seed=0)


def compiled(net, folder, flags, compiler):
    """A function that takes the steps of an array x of float32, and returns y; its state begins when it is made."""
    header, source, _ = net.export_c(folder)
    library = folder / f"{'-'.join(flags).replace('=', '-')}.so"
    command = [compiler, "-std=c99", *flags, "-shared", "-fPIC", source, "-o", library, "-lm"]
    subprocess.run([*map(str, command)], check=True)
    loaded = ctypes.CDLL(str(library))
    state = ctypes.create_string_buffer(1 << 20)
    loaded.net_reset(state)

    def run(x):
        y = np.empty_like(x)
        loaded.net_run(state, *(ctypes.c_void_p(array.ctypes.data) for array in (x, y)), ctypes.c_size_t(len(x)))
        return y

    return run


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--turns", type=int, default=15, help="of each network and each way to compile it")
    parser.add_argument("--compiler", default="gcc", help="that takes gcc's options")


def run(turns, compiler):
    """{name: times real time, of each turn}, by turns, of a tenth of a second of sound or more."""
    path = shutil.which(compiler)
    if path is None:
        raise SystemExit(f"--compiler: expected one that is here, got {compiler!r}")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    x = np.random.default_rng(0).standard_normal(RATE // 2).astype(np.float32)
    seconds = len(x) / RATE
    with tempfile.TemporaryDirectory() as folder:
        works = {}
        for kind in ("GRU", "LSTM"):
            for hidden in SIZES:
                net = network(kind, hidden)
                for flags in FLAGS:
                    place = Path(folder) / f"{kind}{hidden}{len(flags)}"
                    works[f"{kind} {hidden} {' '.join(flags)}"] = compiled(net, place, flags, path)
        found = {name: [] for name in works}
        for turn in range(turns + 1):
            for name, work in works.items():
                begin = time.perf_counter()
                work(x)
                taken = time.perf_counter() - begin
                if turn:  # the first one touches memory for the first time
                    found[name].append(seconds / taken)
    return {"compiler": version, "times": found}


def table(result):
    """The result as lines of Markdown."""
    ways = [" ".join(flags) for flags in FLAGS]
    lines = [
        f"Times real time at {RATE:,} Hz, a network of one layer and Dense(1), float32, one thread, one sample at a step;"
        f" median (least) of the turns; {result['compiler']}. RTNeural: its published speeds with Eigen, on an i7-8700B.",
        "",
        f"| layer | {' | '.join(f'`{way}`' for way in ways)} | RTNeural, as published |",
        "|---|---|---|---|",
    ]
    for (kind, hidden), published in PUBLISHED.items():
        cells = []
        for way in ways:
            each = result["times"][f"{kind} {hidden} {way}"]
            cells.append(f"{statistics.median(each):.0f} ({min(each):.0f})")
        lines.append(f"| {kind}({hidden}) | {' | '.join(cells)} | {published:g} |")
    return "\n".join(lines)
