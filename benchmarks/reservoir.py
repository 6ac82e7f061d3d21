"""A reservoir beside reservoirpy's, one thread each: microseconds of a step, seconds of a readout, error on Mackey-Glass.

reservoirpy is left out where it is not installed.  Each library has a process of its own, one after the other.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

LIBRARIES = ("numbarnn", "reservoirpy")
UNITS = {100: 5000, 1000: 500}  # and how many steps are timed
DTYPES = ("float32", "float64")
ROUNDS, SEEDS = 15, 10
RATE, RADIUS, DENSITY, PENALTY, WARMUP, TEST = 0.3, 1.25, 0.1, 1e-5, 100, 400  # of reservoirpy's README
PENALTIES, VALIDATION = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9), 400
HALF, CHOSEN = "README, half of the units with an input", "README, penalty by validation"
MOST_ERROR, LEAST_R2 = 0.0020, 0.9999  # with the penalty by validation
LEAST = {100: 4.0, 1000: 1.5}  # times as fast that a step of a sequence is to be
ONE_THREAD = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def network(units, dtype, seed=0, input_density=DENSITY):
    """A reservoir as reservoirpy draws it, and its readout."""
    import numbarnn as nr

    connected = nr.Connectivity(
        density=DENSITY, spectral_radius=RADIUS, input_scaling=1.0, input_density=input_density, seed=seed
    )  # fmt: skip
    layers = [nr.LeakyRNN(units, rate=RATE, connectivity=connected), nr.Dense(1)]
    return nr.Network(layers, channels=1, dtype=dtype, seed=seed)


def of_numbarnn(units, dtype):
    """{what: (steps, function that takes them)}."""
    net = network(units, dtype)
    layer, own = net.layers[0], net.split(net.params.flat)[0]
    stream, steps = layer.stream(own), UNITS[units]
    x = np.random.default_rng(0).standard_normal((steps, 1, 1)).astype(dtype)
    return {
        "a sequence": (steps, lambda: stream.run(x)),
        "one at a call": (steps // 5, lambda: [stream.step(x_t) for x_t in x[: steps // 5]]),
        "readout": (steps, lambda: net.fit_readout(x, x, PENALTY, WARMUP)),
    }


def of_reservoirpy(units, dtype):
    """The same."""
    from reservoirpy import ESN
    from reservoirpy.nodes import Reservoir

    options = {"lr": RATE, "sr": RADIUS, "rc_connectivity": DENSITY, "input_connectivity": DENSITY, "seed": 0}
    reservoir, steps = Reservoir(units, dtype=np.dtype(dtype).type, **options), UNITS[units]
    x = np.random.default_rng(0).standard_normal((steps, 1)).astype(dtype)
    net = ESN(units=units, dtype=np.dtype(dtype).type, ridge=PENALTY, **options)
    return {
        "a sequence": (steps, lambda: reservoir.run(x)),
        "one at a call": (steps // 5, lambda: [reservoir.step(x_t) for x_t in x[: steps // 5]]),
        "readout": (steps, lambda: net.fit(x, x, warmup=WARMUP)),
    }


def errors(found, y):
    """(root of the mean squared error, R2)."""
    squares = (found - y) ** 2
    return float(np.sqrt(squares.mean())), float(1 - squares.sum() / ((y - y.mean()) ** 2).sum())


def forecasts_of_numbarnn(series):
    """{way: [errors of each seed]}."""
    x, y = series[:-1, None], series[1:, None]
    end, found = len(x) - TEST, {}
    held_out = slice(end - VALIDATION, end)
    for seed in range(SEEDS):
        for way in ("README", HALF, CHOSEN):
            net = network(100, "float64", seed, 0.5 if way == HALF else DENSITY)
            if way != CHOSEN:
                net.fit_readout(x[:end], y[:end], PENALTY, WARMUP)
            else:
                first = slice(end - VALIDATION)
                chosen = net.fit_readout(x[first], y[first], PENALTIES, WARMUP, validation=(x[held_out], y[held_out]))
                net.fit_readout(x[:end], y[:end], min(chosen, key=chosen.get), WARMUP)
            _, state = net(x[:end])
            found.setdefault(way, []).append(errors(net(x[end:], state)[0], y[end:]))
    return found


def forecasts_of_reservoirpy(series):
    """The same."""
    from reservoirpy import ESN

    x, y, found = series[:-1, None], series[1:, None], []
    for seed in range(SEEDS):
        net = ESN(units=100, sr=RADIUS, lr=RATE, ridge=PENALTY, seed=seed)
        net.fit(x[:-TEST], y[:-TEST], warmup=WARMUP)
        found.append(errors(net.run(x[-TEST:]), y[-TEST:]))
    return {"README": found}


def block(library, series):
    """What one library has to show: seconds of a step by units, dtype and way, and its errors."""
    ways = {"numbarnn": of_numbarnn, "reservoirpy": of_reservoirpy}[library]
    rows = []
    for units in UNITS:
        for dtype in DTYPES:
            for way, (steps, take) in ways(units, dtype).items():
                take()
                times = []
                for _ in range(ROUNDS):
                    start = time.perf_counter()
                    take()
                    times.append((time.perf_counter() - start) / steps)
                rows.append({"units": units, "dtype": dtype, "way": way, "seconds": statistics.median(times)})
    forecasts = {"numbarnn": forecasts_of_numbarnn, "reservoirpy": forecasts_of_reservoirpy}[library]
    return {"rows": rows, "errors": forecasts(np.array(series))}


def run():
    """Both blocks, in processes of one thread."""
    import numbarnn as nr

    series, found = nr.datasets.mackey_glass(2000), {}
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            continue
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.reservoir", library],
            env=os.environ | ONE_THREAD, input=json.dumps(series.tolist()), capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"benchmarks.reservoir {library}: {done.stderr[-2000:]}")
        found[library] = json.loads(done.stdout.splitlines()[-1])
    return {"blocks": found, "failures": failures(found)}


def seconds_of(blocks, library, units, dtype, way):
    """The seconds of one row, or None."""
    for row in blocks.get(library, {"rows": ()})["rows"]:
        if (row["units"], row["dtype"], row["way"]) == (units, dtype, way):
            return row["seconds"]
    return None


def failures(blocks):
    """What falls short: a step of a sequence beside reservoirpy's in the same dtype, and the forecasts."""
    found = []
    rmse, r2 = np.median(blocks["numbarnn"]["errors"][CHOSEN], axis=0)
    if rmse > MOST_ERROR or r2 < LEAST_R2:
        found.append(f"Mackey-Glass: RMSE {rmse:.5f}, R2 {r2:.6f}, {MOST_ERROR} and {LEAST_R2} expected")
    for units, least in LEAST.items():
        for dtype in DTYPES:
            own, theirs = (seconds_of(blocks, library, units, dtype, "a sequence") for library in LIBRARIES)
            if theirs is not None and theirs / own < least:
                found.append(f"{units} units in {dtype}: {theirs / own:.2f} times as fast, {least} expected")
    return found


def table(result):
    """The result as lines of Markdown."""
    blocks = result["blocks"]
    lines = ["| units | dtype | what | numbarnn | reservoirpy | times as fast |", "|---|---|---|---|---|---|"]
    for row in blocks["numbarnn"]["rows"]:
        theirs = seconds_of(blocks, "reservoirpy", row["units"], row["dtype"], row["way"])
        what = "fit of a readout, by step" if row["way"] == "readout" else f"a step, {row['way']}"
        more = "- | -" if theirs is None else f"{1e6 * theirs:.1f} us | {theirs / row['seconds']:.2f}"
        lines.append(f"| {row['units']} | {row['dtype']} | {what} | {1e6 * row['seconds']:.2f} us | {more} |")
    lines += ["", f"Mackey-Glass, 100 units, one step ahead, {TEST} steps, medians of {SEEDS} seeds:", ""]
    lines += ["| library | setting | RMSE | R2 | seeds with RMSE <= 0.0020 and R2 >= 0.9999 |", "|---|---|---|---|---|"]
    for library, own in blocks.items():
        for way, found in own["errors"].items():
            reached = sum(rmse <= MOST_ERROR and r2 >= LEAST_R2 for rmse, r2 in found)
            rmse, r2 = np.median(found, axis=0)
            lines.append(f"| {library} | {way} | {rmse:.5f} | {r2:.6f} | {reached} of {len(found)} |")
    short = "; ".join(result["failures"]) or "nothing"
    return "\n".join([*lines, "", f"Short of what is expected: {short}."])


if __name__ == "__main__":
    print(json.dumps(block(sys.argv[1], json.load(sys.stdin))))
