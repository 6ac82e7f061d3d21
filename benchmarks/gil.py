"""Python threads that predict at once, a thread of the library each, against a single one: work without the GIL."""

import statistics
import threading
import time

import numba
import numpy as np

from numbarnn import GRU, LSTM, Dense, Last, Network

THREADS, ROUNDS, SECONDS = 2, 7, 0.25
SIZES = [(GRU, 64, 100, 1), (GRU, 64, 100, 32), (LSTM, 64, 100, 32), (GRU, 128, 100, 32), (LSTM, 256, 50, 32)]


def network(layer, hidden):
    """A network that one might put behind a server."""
    return Network([layer(hidden), Last(), Dense(1)], channels=8, seed=0)


def together(net, inputs, seconds):
    """(predictions per second of as many Python threads as there are inputs, whether each had its bits every time).

    Each thread predicts its own input again and again; the network is the same for all.
    """
    expected = [net.predict(x) for x in inputs]
    counts, right = [0] * len(inputs), [True] * len(inputs)
    begin, end = threading.Barrier(len(inputs) + 1), threading.Event()

    def predict(number):
        numba.set_num_threads(1)
        net.predict(inputs[number])
        begin.wait()
        while not end.is_set():
            found = net.predict(inputs[number])
            counts[number] += 1
            right[number] &= np.array_equal(found, expected[number])

    workers = [threading.Thread(target=predict, args=(number,)) for number in range(len(inputs))]
    for worker in workers:
        worker.start()
    begin.wait()
    start = time.perf_counter()
    time.sleep(seconds)
    end.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - start), all(right)


def run(threads=THREADS, rounds=ROUNDS, seconds=SECONDS, sizes=None):
    """Predictions per second of one Python thread and of several, for networks of several sizes."""
    rows, random = [], np.random.default_rng(0)
    for layer, hidden, steps, batch in sizes or SIZES:
        net = network(layer, hidden)
        inputs = [random.standard_normal((steps, batch, 8)).astype(np.float32) for _ in range(threads)]
        together(net, inputs, 0)  # compiled, and prepared for each thread
        found = [[together(net, given, seconds) for given in (inputs[:1], inputs)] for _ in range(rounds)]
        one, several = ([rate for rate, _ in column] for column in zip(*found))
        rows.append(
            {
                "name": f"{layer.__name__}({hidden}), T {steps}, N {batch}",
                "one": statistics.median(one),
                "several": statistics.median(several),
                "ratios": [b / a for a, b in zip(one, several)],
                "same_bits": all(right for pair in found for _, right in pair),
            }
        )
    return {"threads": threads, "rows": rows, "failures": [row["name"] for row in rows if not row["same_bits"]]}


def table(result):
    """Markdown: a network each line."""
    count = result["threads"]
    lines = [f"| network | one thread, predictions/s | {count} threads | ratio, median (least) | the same bits |"]
    lines.append("|---|---|---|---|---|")
    for row in result["rows"]:
        ratio = f"{statistics.median(row['ratios']):.2f} ({min(row['ratios']):.2f})"
        bits = "yes" if row["same_bits"] else "NO"
        lines.append(f"| {row['name']} | {row['one']:,.0f} | {row['several']:,.0f} | {ratio} | {bits} |")
    return "\n".join(lines)
