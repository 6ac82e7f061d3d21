"""Without a GPU: how many kernels a layer's call and an update of a network launch, and the host's time for them.

The driver is the stand-in of `tests/cuda/emulated`, which counts launches and runs none; arrays are NumPy's: an operation
of theirs counts as the kernel that CuPy would launch.  What a GPU would do meanwhile is not in the times.
"""

import collections
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "tests" / "cuda" / "emulated" / "run.py"
STEPS, BATCH, CHANNELS, HIDDEN = 5, 32, 1, 128  # of the first layer of Deep Diamond's network
ROUNDS, CALLS, EPOCHS = 9, 20, 3
RATE = 0.005


def run():
    """Launches and microseconds of each case, from a process of its own."""
    told = os.environ | {"NUMBARNN_EMULATOR_COUNTS": "1"}
    done = subprocess.run(
        [sys.executable, RUN, "-m", "benchmarks.launches"], env=told, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"cases": {}, "failures": [(done.stdout + done.stderr).strip()[-2000:]]}
    return {"cases": json.loads(done.stdout.splitlines()[-1])}


def table(result):
    """The result as lines of Markdown."""
    lines = [
        "| | launches | of these CuPy's | copies to the device | waits | microseconds of the host |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {case['launches']:.1f} | {case['kernels']:.1f} | {case['uploads']:.1f} | {case['waits']:.1f} "
            f"| {case['microseconds']:.0f} |"
            for name, case in result["cases"].items()
        ),
    ]  # fmt: skip
    for name, case in result["cases"].items():
        lines += ["", f"{name}: {', '.join(f'{kernel} {count:.1f}' for kernel, count in case['by name'].items())}."]
    return "\n".join([*lines, *result.get("failures", ())])


def measure(call, calls, each=1):
    """Launches of a call, of which it is made of `each`, by whom; and the median time of one."""
    import emulator

    call()
    call()
    before, cupy = collections.Counter(emulator.launches_by_name()), emulator.CUPY.copy()
    call()
    names = collections.Counter()
    for name, count in (collections.Counter(emulator.launches_by_name()) - before).items():
        names[_short(name)] += count / each
    operations = {kind: (emulator.CUPY[kind] - cupy[kind]) / each for kind in ("kernels", "uploads", "waits")}
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        seconds.append((time.perf_counter() - begin) / calls / each)
    return {
        "launches": sum(names.values()) + operations["kernels"], **operations, "by name": names,
        "microseconds": 1e6 * statistics.median(seconds),
    }  # fmt: skip


def _short(name):
    """A kernel's module and name in what Numba makes of them: the last of the lengths and names after _ZN."""
    rest, found = name.partition("_ZN")[2], []
    while rest[:1].isdigit():
        digits = len(rest) - len(rest.lstrip("0123456789"))
        end = digits + int(rest[:digits])
        found.append(rest[digits:end])
        rest = rest[end:]
    return ".".join(found[-2:]) or name


def cases():
    """{name: what `measure` finds}."""
    import numpy as np

    import numbarnn as nr
    from numbarnn.cuda import asarray
    from numbarnn.demo.counting import counting_network, counting_windows

    layer = nr.GRU(HIDDEN)
    p, x = layer.init(CHANNELS).to("cuda"), asarray(np.zeros((STEPS, BATCH, CHANNELS), np.float32))
    dy, gradient = asarray(np.zeros((STEPS, BATCH, HIDDEN), np.float32)), p.zeros()

    def both():
        _, _, tape = layer.forward(p, x)
        layer.backward(tape, dy, into=gradient)

    network, (inputs, targets) = counting_network().to("cuda"), counting_windows()
    trainer = nr.Trainer(network, loss="quadratic", optimizer=nr.Adam(RATE))
    updates = -(-targets.shape[-2] // BATCH)

    def epochs():
        trainer.fit(inputs, targets, epochs=EPOCHS, batch_size=BATCH, progress=False)

    return {
        "a layer's forward": measure(lambda: layer(p, x), CALLS),
        "a layer's forward and backward": measure(both, CALLS),
        f"an update of Deep Diamond's network, in `fit` of {EPOCHS} epochs": measure(epochs, 1, updates * EPOCHS),
    }


if __name__ == "__main__":
    print(json.dumps(cases()))
