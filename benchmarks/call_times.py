"""Microseconds of one warm call where there is next to nothing to compute, and streams in real time.

Each figure is the median of blocks of calls, with the fastest block beside it, since other work on the machine disturbs.
Everything runs on one thread; the libraries take turns, a process each.
"""

import statistics
import time

import numpy as np

from .onnx_models import session
from .turns import Worker

BLOCKS, CALLS = 25, 400
HIDDEN, CHANNELS = 24, 4
RATE, SECONDS = 48_000, 0.1  # of sound in real time, and how much of it a run takes
PUBLISHED = {  # times real time of RTNeural with Eigen, one thread of an i7-8700B
    ("GRU", 16): 78, ("GRU", 32): 28, ("GRU", 64): 8.7, ("LSTM", 16): 65, ("LSTM", 32): 23.6, ("LSTM", 64): 6.5,
}  # fmt: skip
LIBRARIES = ("numbarnn", "onnxruntime", "torch")


def weights():
    """What all libraries compute with: an x (1, 1, C), and the arrays of a GRU by PyTorch's names."""
    random = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (3 * HIDDEN, CHANNELS), "weight_hh_l0": (3 * HIDDEN, HIDDEN)}
    shapes |= dict.fromkeys(("bias_ih_l0", "bias_hh_l0"), (3 * HIDDEN,))
    arrays = {name: random.uniform(-0.3, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return random.standard_normal((1, 1, CHANNELS)).astype(np.float32), arrays


def ours():
    """{name: function that makes the call}; "layer" returns y."""
    import numbarnn as nr

    (x, arrays), layer = weights(), nr.GRU(HIDDEN)
    p = layer.init(CHANNELS)
    for name, array in arrays.items():
        p[name] = array
    network = nr.Network([nr.GRU(HIDDEN), nr.Last(), nr.Dense(1)], channels=CHANNELS)

    def both():
        y, _, tape = layer.forward(p, x)
        return layer.backward(tape, y)

    flat, target = network.params.flat, np.ones((1, 1), np.float32)
    return {
        "layer": lambda: layer(p, x)[0], "network": lambda: network.predict(x), "both": both,
        "gradient": lambda: network.loss_and_gradient(flat, x, target),
    }  # fmt: skip


def of_torch():
    """The same of PyTorch."""
    import torch

    torch.set_num_threads(1)
    (x, arrays), layer, dense = weights(), torch.nn.GRU(CHANNELS, HIDDEN), torch.nn.Linear(HIDDEN, 1)
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(layer, name).copy_(torch.from_numpy(array))
    x = torch.from_numpy(x)
    ones = torch.ones(1, 1, HIDDEN)

    def call():
        with torch.no_grad():
            return layer(x)[0].numpy()

    def network():
        with torch.no_grad():
            return dense(layer(x)[0][-1]).numpy()

    def both():
        layer.zero_grad()
        layer(x)[0].backward(ones)

    parameters, target = [*layer.parameters(), *dense.parameters()], torch.ones(1, 1)

    def gradient():
        loss = torch.nn.functional.mse_loss(dense(layer(x)[0][-1]), target)
        return loss.item(), torch.cat([part.ravel() for part in torch.autograd.grad(loss, parameters)]).numpy()

    return {"layer": call, "network": network, "both": both, "gradient": gradient}


def of_onnxruntime():
    """The layer's call alone."""
    x, arrays = weights()
    made = session("GRU", arrays, 1)
    return {"layer": lambda: made.run(None, {"x": x})[0][0]}


MAKERS = dict(zip(LIBRARIES, (ours, of_onnxruntime, of_torch)))


def in_blocks(call, blocks=BLOCKS, calls=CALLS):
    """(median, least) seconds of a call in blocks of some."""
    for _ in range(max(5, calls // 10)):
        call()
    found = []
    for _ in range(blocks):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        found.append((time.perf_counter() - start) / calls)
    return statistics.median(found), min(found)


def caller(threads):
    """What a worker answers: {call: (median, least)} of a library, or None where it is not installed."""

    def times(library):
        try:
            calls = MAKERS[library]()
        except ImportError:
            return None
        return {name: in_blocks(call) for name, call in calls.items()}

    return times


def streams(threads):
    """What a worker answers: ((median, least) of `Stream.run`, and of the layer's call) on the same sequence."""
    import numbarnn as nr

    def times(cell, hidden):
        layer = getattr(nr, cell)(hidden)
        p, x = layer.init(1, seed=0), np.zeros((int(RATE * SECONDS), 1, 1), np.float32)
        stream = layer.stream(p)
        return in_blocks(lambda: stream.run(x), calls=2), in_blocks(lambda: layer(p, x), calls=2)

    return times


def run():
    """{"times": {library: ...}, "streams": [(cell, hidden, run, call)]}, in seconds."""
    found = {"times": {}, "streams": []}
    for library in LIBRARIES:
        worker = Worker(caller, 1)
        found["times"][library] = worker(library)
        worker.close()
    worker = Worker(streams, 1)
    for cell, hidden in PUBLISHED:
        found["streams"].append((cell, hidden, *worker(cell, hidden)))
    worker.close()
    return found


def _microseconds(pair):
    return "-" if pair is None else f"{1e6 * pair[0]:.1f} ({1e6 * pair[1]:.1f})"


def table(result):
    """The result as lines of Markdown."""
    names = {
        "layer": f"GRU({HIDDEN}), T = N = 1", "network": "GRU, Last, Dense: predict", "both": "forward + backward",
        "gradient": "GRU, Last, Dense: loss_and_gradient",
    }  # fmt: skip
    lines = [f"| microseconds, median (least) | {' | '.join(LIBRARIES)} |", "|---" * (len(LIBRARIES) + 1) + "|"]
    for key, name in names.items():
        times = (_microseconds((result["times"][library] or {}).get(key)) for library in LIBRARIES)
        lines.append(f"| {name} | {' | '.join(times)} |")
    lines += ["", "| stream | run / call | times real time, median (best) | RTNeural |", "|---|---|---|---|"]
    for cell, hidden, taken, call in result["streams"]:
        median, best = (SECONDS / seconds for seconds in taken)
        ratio, published = taken[0] / call[0], PUBLISHED[cell, hidden]
        lines.append(f"| {cell}({hidden}) | {ratio:.2f} | {median:.1f} ({best:.1f}) | {published} |")
    return lines
