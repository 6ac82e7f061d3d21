"""Nanoseconds of a compiled step in a loop that Numba compiles, beside what a step of a stream takes without Python."""

import statistics
import time

import numba
import numpy as np

import numbarnn as nr

CELLS, HIDDEN, CHANNELS, STEPS, ROUNDS = ("RNN", "GRU", "LSTM"), (16, 32, 64), 4, 2000, 15
LIMIT = 1.2  # a compiled step may take so many times what a step of a stream takes without Python


@numba.njit
def _steps(step, x, state, y, work):
    for t in range(len(x)):
        step(x[t], state, y[t], work)


@numba.njit
def _adjoints(step, x, state, dy, dstate, gradient, work):
    for t in range(len(x)):
        step.adjoint(x[t], state, dy[t], dstate, None, gradient, work)


def ways(cell, hidden):
    """{name: function that takes all steps} of a layer and a dense one; all but the adjoint write the same y."""
    net = nr.Network([getattr(nr, cell)(hidden), nr.Dense(1)], channels=CHANNELS, seed=0)
    step, stream = net.compiled_step(adjoint=True), net.stream()
    x = np.random.default_rng(0).standard_normal((STEPS, 1, CHANNELS)).astype(np.float32)
    y, state, work = np.empty((STEPS, 1, 1), np.float32), step.initial_state(), step.workspace()
    dstate, gradient = np.zeros_like(state), np.zeros(step.gradient_size, np.float32)
    program = stream._program  # its steps one by one, called once from Python for all
    return y, {
        "step": lambda: _steps(step, x, state, y, work),
        "of a stream": lambda: program._take(x.ctypes.data, y.ctypes.data, STEPS, 1),
        "run": lambda: step.run(x, state, y, work),
        "Stream.run": lambda: np.copyto(y, stream.run(x)),
        "Stream.step": lambda: np.copyto(y, [stream.step(x_t) for x_t in x]),
        "adjoint": lambda: _adjoints(step, x, state, y, dstate, gradient, work),
    }


def run():
    """{"rows": [(cell, hidden, {way: seconds of one step}, ratio)]}: medians of rounds in which the ways take turns."""
    rows = []
    for cell in CELLS:
        for hidden in HIDDEN:
            made, times = ways(cell, hidden)[1], {}
            for take in made.values():
                take()
            for _ in range(ROUNDS):
                for name, take in made.items():
                    start = time.perf_counter()
                    take()
                    times.setdefault(name, []).append((time.perf_counter() - start) / STEPS)
            ratio = statistics.median(a / b for a, b in zip(times["step"], times["of a stream"]))
            rows.append((cell, hidden, {name: statistics.median(found) for name, found in times.items()}, ratio))
    failures = [f"{cell}({hidden})" for cell, hidden, _, ratio in rows if ratio > LIMIT]
    return {"rows": rows, "failures": failures}


def table(result):
    """The result as lines of Markdown."""
    names = list(result["rows"][0][2])
    lines = [f"| nanoseconds a step | {' | '.join(names)} | step / of a stream |", "|---" * (len(names) + 2) + "|"]
    for cell, hidden, times, ratio in result["rows"]:
        found = (f"{1e9 * times[name]:.0f}" for name in names)
        lines.append(f"| {cell}({hidden}), Dense(1) | {' | '.join(found)} | {ratio:.2f} |")
    return "\n".join([*lines, "", f"Above {LIMIT} in the last column: {', '.join(result['failures']) or 'none'}."])
