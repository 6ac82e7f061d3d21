"""The first training step of Deep Diamond's network: in the first process ever, and in the second."""

import os
import subprocess
import sys
import tempfile

STEP = """
import time
start = time.perf_counter()
import numbarnn as nr
from numbarnn.demo.counting import counting_network, counting_windows
x, y = counting_windows()
counting_network().fit(x[:, :32], y[:32], "quadratic", nr.Adam(0.005), epochs=1, progress=False)
print(time.perf_counter() - start)
"""


def run():
    """Seconds from the first import to the end of the first training step, in three processes with one cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        seconds = [
            float(subprocess.run([sys.executable, "-c", STEP], env=environment, capture_output=True, check=True).stdout)
            for _ in range(3)
        ]
    return {"seconds": seconds}


def table(result):
    """The result as lines of Markdown."""
    first, *later = result["seconds"]
    lines = ["| process | import to first training step |", "|---|---|", f"| first ever | {first:.1f} s |"]
    return "\n".join([*lines, *(f"| {name} | {s:.2f} s |" for name, s in zip(("second", "third"), later))])
