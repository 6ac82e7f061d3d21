"""What a tape costs: bytes and time of each way to keep one, and the memory of a process that trains a long sequence."""

import resource
import statistics
import sys
import time

import numba
import numpy as np

import numbarnn as nr

from .turns import Worker

WAYS = {"all": {}, "states": {"tape": "states"}, "sqrt": {"checkpoints": "sqrt"}}
SHAPE = (2000, 16, 64, 128)  # T, N, I, H of the comparison
LONG = (1_000_000, 1, 1, 64)  # T, N, I, H of the training
LAYERS = {"RNN": nr.RNN, "GRU": nr.GRU, "LSTM": nr.LSTM}


def peak_megabytes():
    """Largest resident memory of this process so far."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def comparing(threads):
    """In a process of its own: bytes of a tape, and seconds of forward and backward, for each way, taking turns."""

    def measure(cell, rounds):
        steps, batch, channels, hidden = SHAPE
        random = np.random.default_rng(0)
        layer = LAYERS[cell](hidden)
        p = layer.init(channels, seed=0)
        x = random.standard_normal((steps, batch, channels)).astype(np.float32)
        dy = random.standard_normal((steps, batch, hidden)).astype(np.float32)
        gradient, seconds, nbytes, flats = p.zeros(), {way: [] for way in WAYS}, {}, {}
        for turn in range(rounds + 1):
            for way, options in WAYS.items():
                start = time.perf_counter()
                tape = layer.forward(p, x, **options)[2]
                layer.backward(tape, dy, into=gradient)
                if turn:  # the first compiles and touches memory
                    seconds[way].append(time.perf_counter() - start)
                nbytes[way], flats[way] = tape.nbytes, gradient.flat.copy()
                del tape
        same = all(np.array_equal(flat, flats["all"]) for flat in flats.values())
        return {way: (nbytes[way], statistics.median(seconds[way])) for way in WAYS}, same

    return measure


def training(threads):
    """In a process of its own: train on one long sequence."""

    def train(cell, way):
        steps, batch, channels, hidden = LONG
        start_megabytes = peak_megabytes()
        x = np.sin(np.arange(steps * batch * channels, dtype=np.float32) / 50).reshape(steps, batch, channels)
        y = np.roll(x, -1, 0)
        net = nr.Network([LAYERS[cell](hidden), nr.Dense(1)], channels, seed=0)
        start = time.perf_counter()
        history = net.fit(x, y, epochs=2, batch_size=1, progress=False, clip=1.0, **WAYS[way])
        return {
            "cell": cell, "way": way, "losses": history.loss, "seconds": time.perf_counter() - start,
            "before_megabytes": start_megabytes, "peak_megabytes": peak_megabytes(),
        }  # fmt: skip

    return train


def run():
    """Tapes of each cell side by side, then the long training, a fresh process for each."""
    threads = numba.get_num_threads()
    worker = Worker(comparing, threads)
    tapes = {}
    for cell in LAYERS:
        tapes[cell], same = worker(cell, 5)
        assert same, f"{cell}: the gradients differ"
    worker.close()
    trainings = []
    for cell in ("GRU", "LSTM"):
        for way in ("sqrt", "all"):
            worker = Worker(training, threads)
            trainings.append(worker(cell, way))
            worker.close()
    return {"shape": SHAPE, "long": LONG, "tapes": tapes, "trainings": trainings}


def table(result):
    """The result as lines of Markdown."""
    shape = ", ".join(map(str, result["shape"]))
    lines = [f"Forward and backward, T, N, I, H = {shape}, float32; gradients equal to the bit:"]
    lines += ["", "| cell | kept | tape | of all | time | of all |", "|" + "---|" * 6]
    for cell, ways in result["tapes"].items():
        whole, fastest = ways["all"]
        for way, (nbytes, seconds) in ways.items():
            lines.append(
                f"| {cell} | {way} | {nbytes / 1e6:.2f} MB | {nbytes / whole:.1%} | {1e3 * seconds:.1f} ms |"
                f" {seconds / fastest:.2f} |"
            )
    steps, batch, channels, hidden = result["long"]
    lines += ["", f"Two updates of a network of one layer and a dense one on one sequence, T = {steps:,}, H = {hidden}:"]
    lines += ["", "| cell | kept | largest memory of the process | of that before | time of an update |", "|" + "---|" * 5]
    for row in result["trainings"]:
        lines.append(
            f"| {row['cell']} | {row['way']} | {row['peak_megabytes']:.0f} MB | {row['before_megabytes']:.0f} MB |"
            f" {row['seconds'] / 2:.2f} s |"
        )
    return "\n".join(lines)
