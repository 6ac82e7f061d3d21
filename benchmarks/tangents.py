"""The cost of forward derivatives: the time of a tangent over the time of a forward, by direction and number."""

import statistics
import time

import numpy as np

import numbarnn as nr

LAYERS = {"RNN": nr.RNN, "GRU": nr.GRU, "LSTM": nr.LSTM}
SHAPES = ((100, 1, 8, 32), (100, 32, 64, 128), (50, 64, 128, 256), (100, 16, 512, 512))  # T, N, I, H
WAYS = ("x", "parameters", "both")
COUNTS = (1, 4)
ROUNDS = 9


def calls(layer, shape):
    """{name: function} of one case: forward, backward, and a jvp of every way and number of tangents."""
    steps, batch, channels, hidden = shape
    random = np.random.default_rng(0)
    p = layer.init(channels, seed=0)
    x, dx = random.standard_normal((2, steps, batch, channels)).astype(np.float32)
    dp, dy = random.standard_normal(len(p)).astype(np.float32), np.ones((steps, batch, hidden), np.float32)
    _, _, tape = layer.forward(p, x)
    found = {"forward": lambda: layer.forward(p, x), "backward": lambda: layer.backward(tape, dy)}
    for count in COUNTS:
        directions = [np.stack([each] * count) for each in (dp, dx)]
        for way in WAYS:
            given = dict(zip(("dp", "dx"), directions))
            if way != "both":
                del given["dp" if way == "x" else "dx"]
            found[f"{way} {count}"] = lambda given=given: layer.jvp(tape, **given)
    return found


def run():
    """Seconds of each call of each case: medians, the calls taking turns."""
    cases = []
    for cell, kind in LAYERS.items():
        for shape in SHAPES:
            found = calls(kind(shape[-1]), shape)
            seconds = {name: [] for name in found}
            for turn in range(ROUNDS + 2):
                for name, call in found.items():
                    start = time.perf_counter()
                    call()
                    if turn > 1:  # the first ones compile, and prepare small calls
                        seconds[name].append(time.perf_counter() - start)
            cases.append({"cell": cell, "shape": shape, "seconds": {n: statistics.median(s) for n, s in seconds.items()}})
    return {"cases": cases}


def table(result):
    """The result as lines of Markdown."""
    titles = [f"{way}, {count} at once" for count in COUNTS for way in WAYS]
    lines = ["Time of one tangent over the time of a forward with its tape, float32:", ""]
    lines += [f"| cell | T, N, I, H | forward | backward | {' | '.join(titles)} |", "|" + "---|" * (4 + len(titles))]
    for case in result["cases"]:
        seconds = case["seconds"]
        forward = seconds["forward"]
        ratios = [seconds[f"{way} {count}"] / count / forward for count in COUNTS for way in WAYS]
        numbers = " | ".join(f"{ratio:.2f}" for ratio in (seconds["backward"] / forward, *ratios))
        lines.append(f"| {case['cell']} | {', '.join(map(str, case['shape']))} | {1e3 * forward:.2f} ms | {numbers} |")
    return "\n".join(lines)
