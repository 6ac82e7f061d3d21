"""An update of a network whose outputs are fed back, against the same loop in PyTorch: milliseconds, and the ratio.

100 steps, one in ten with the given input, else the network's own output: forward, exact gradient and Adam, in float32 on
one thread each.  PyTorch's loop is a cell, a linear layer and a choice at each step in Python, as its users write it.
"""

import statistics
import time

import numpy as np

import numbarnn as nr

from .turns import Worker

STEPS, CHANNELS, EVERY, ROUNDS = 100, 4, 10, 15
CELLS, HIDDEN, BATCHES = ("GRU", "LSTM"), (16, 32, 64, 128), (8, 32, 64)
CASES = [(cell, hidden, batch) for cell in CELLS for hidden in HIDDEN for batch in BATCHES]
GOAL = 10


def data(batch):
    """(x, y) of a case, (T, N, C) each."""
    random = np.random.default_rng(0)
    series = np.cumsum(0.1 * random.standard_normal((STEPS + 1, batch, CHANNELS)), axis=0).astype(np.float32)
    return series[:-1], series[1:]


def ours(cell, hidden, batch):
    """A function that takes an update and returns the loss before it."""
    net = nr.Network([getattr(nr, cell)(hidden), nr.Dense(CHANNELS)], channels=CHANNELS, seed=0)
    trainer, (x, y), feedback = nr.Trainer(net), data(batch), nr.Feedback(every=EVERY)
    return lambda: trainer.update(x, y, feedback=feedback)


def theirs(cell, hidden, batch):
    """Likewise in PyTorch, from the same parameters."""
    import torch

    net = nr.Network([getattr(nr, cell)(hidden), nr.Dense(CHANNELS)], channels=CHANNELS, seed=0)
    layer, dense = getattr(torch.nn, cell + "Cell")(CHANNELS, hidden), torch.nn.Linear(hidden, CHANNELS)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, name)[...] = torch.from_numpy(np.ascontiguousarray(net.params[f"0.{name}_l0"]))
        for name in ("weight", "bias"):
            getattr(dense, name)[...] = torch.from_numpy(np.ascontiguousarray(net.params[f"1.{name}"]))
    optimizer = torch.optim.Adam([*layer.parameters(), *dense.parameters()])
    x, y = map(torch.from_numpy, data(batch))

    def update():
        optimizer.zero_grad()
        state, outputs = None, []
        for t in range(STEPS):
            given = x[t] if t % EVERY == 0 else outputs[-1]
            state = layer(given, state)
            outputs.append(dense(state[0] if cell == "LSTM" else state))
        loss = ((torch.stack(outputs) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return update


LIBRARIES = {"numbarnn": ours, "PyTorch": theirs}


def make(threads):
    """What a `Worker` answers: (the loss before the first update, seconds of one: a median) of a case."""

    def answer(library, case):
        if library == "PyTorch":
            import torch

            torch.set_num_threads(threads)
        update = LIBRARIES[library](*case)
        first = update()
        for _ in range(2):
            update()
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            update()
            seconds.append(time.perf_counter() - start)
        return first, statistics.median(seconds)

    return answer


def run():
    """{"rows": [{cell, hidden, batch, and for each library seconds and loss}]}."""
    workers, rows = {name: Worker(make, 1) for name in LIBRARIES}, []
    for case in CASES:
        found = {name: worker(name, case) for name, worker in workers.items()}
        rows.append({
            "case": case, "seconds": {name: seconds for name, (_, seconds) in found.items()},
            "losses": {name: loss for name, (loss, _) in found.items()},
        })  # fmt: skip
    for worker in workers.values():
        worker.close()
    return {"rows": rows}


def table(result):
    """The result as lines of Markdown."""
    lines = [f"An update on {STEPS} steps, one input in {EVERY} given, milliseconds on one thread (goal: {GOAL} times):", ""]
    lines += ["| cell | H | N | numbarnn | PyTorch | ratio |", "|" + "---|" * 6]
    ratios = []
    for row in result["rows"]:
        cell, hidden, batch = row["case"]
        own, other = (1e3 * row["seconds"][name] for name in LIBRARIES)
        ratios.append(other / own)
        lines.append(f"| {cell} | {hidden} | {batch} | {own:.2f} | {other:.1f} | {other / own:.1f} |")
    reached = sum(ratio >= GOAL for ratio in ratios)
    lines += ["", f"Median ratio {statistics.median(ratios):.1f}; at least {GOAL} in {reached} of {len(ratios)} cases."]
    return "\n".join(lines)
