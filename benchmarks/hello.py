"""Deep Diamond's network (three GRU layers of 128), trained here, in PyTorch and in JAX, by turns: quiet and beside work."""

import statistics
import time

import numba
import numpy as np

from numbarnn import Adam, Network
from numbarnn.demo.counting import counting_network, counting_windows
from numbarnn.training.updates import Updates
from numbarnn.training.workspace import BatchBuffer, Workspace

from .cpu import peak
from .loads import Loads
from .turns import Worker, warm

SAMPLES = 195
PARTS = ("batch", "forward", "loss", "backward", "Adam")  # of an update
BATCH, RATE, BLOCK = 32, 0.005, 10  # BLOCK: epochs that one library trains before it is the other's turn


def torch_trainer(threads):
    """A function that trains PyTorch's network for some epochs."""
    import torch

    torch.set_num_threads(threads)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.others = torch.nn.GRU(1, 128), torch.nn.GRU(128, 128, 2)
            self.dense, self.out = torch.nn.Linear(128, 128), torch.nn.Linear(128, 1)

        def forward(self, x):
            y, _ = self.others(self.first(x)[0])
            return self.out(torch.relu(self.dense(y[-1])))

    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    x, y = (torch.from_numpy(np.array(array)) for array in counting_windows())

    def train(epochs):
        for _ in range(epochs):
            order = torch.randperm(len(y))
            for chosen in order.split(BATCH):
                optimizer.zero_grad()
                loss = 0.5 * ((model(x[:, chosen]) - y[chosen]) ** 2).mean()
                loss.backward()
                optimizer.step()

    return train


def our_trainer(threads):
    """A function that trains our network for some epochs."""
    numba.set_num_threads(threads)
    network = counting_network()
    x, y = counting_windows()

    def train(epochs):
        network.fit(x, y, "quadratic", Adam(RATE), epochs, BATCH, progress=False)

    return train


def jax_trainer(threads):
    """A function that trains JAX's network for some epochs: a whole update is one compiled function."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jnp, (x, y) = jax.numpy, map(jax.numpy.asarray, counting_windows())
    start = counting_network().params

    def gru(h, w, r, bw, br, x):
        def step(h, pre):
            xr, xz, xn = jnp.split(pre, 3, -1)
            hr, hz, hn = jnp.split(h @ r.T + br, 3, -1)
            reset, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
            h = (1 - z) * jnp.tanh(xn + reset * hn) + z * h
            return h, h

        return jax.lax.scan(step, h, x @ w.T + bw)[1]

    def loss(p, x, y):
        zero = jnp.zeros((x.shape[1], 128), x.dtype)
        for layer in ("0.{}_l0", "1.{}_l0", "1.{}_l1"):
            x = gru(zero, *(p[layer.format(n)] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")), x)
        hidden = jax.nn.relu(x[-1] @ p["3.weight"].T + p["3.bias"])
        return 0.5 * jnp.mean((hidden @ p["4.weight"].T + p["4.bias"] - y) ** 2)

    def update(p, m, v, t, x, y, chosen):
        value, g = jax.value_and_grad(loss)(p, x[:, chosen], y[chosen])
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate, root = RATE / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (root * jnp.sqrt(v) + 1e-8), p, m, v)
        return p, m, v, value

    update = jax.jit(update, donate_argnums=(0, 1, 2))
    p = {name: jnp.asarray(np.array(start[name])) for name in start}
    state, random, t = [p, *(jax.tree.map(jnp.zeros_like, p) for _ in range(2))], np.random.default_rng(0), 0

    def train(epochs):
        nonlocal t
        for _ in range(epochs):
            order = random.permutation(len(y))
            for at in range(0, len(y), BATCH):
                t += 1
                *state[:], value = update(*state, float(t), x, y, order[at : at + BATCH])
        jax.block_until_ready(value)

    return train


class Trainer:
    """One library in its process: trains some epochs, answers with the seconds."""

    def __init__(self, train):
        self.train = train

    def __call__(self, epochs):
        warm(lambda: self.train(1))
        start = time.perf_counter()
        self.train(epochs)
        return time.perf_counter() - start


def products(network, steps):
    """Multiplications and additions in the matrix products of an epoch's mean update: (of forward, of backward).

    Backward has two products for each one of forward: for the gradient of the weights, and for the derivative of what was
    multiplied, which the first layer, where it is x, does without.  The zero state before the first step has none.
    """
    rows, forward, backward = SAMPLES / -(-SAMPLES // BATCH), 0, 0
    for name, p in network.params.items():
        if p.ndim == 2:
            times = 1 if name[0] in "34" else steps - 1 if "weight_hh" in name else steps
            forward += 2 * rows * times * p.size
            backward += 2 * rows * times * p.size * (1 if name == "0.weight_ih_l0" else 2)
    return forward, backward


class Parts:
    """Where the time of our update goes, in a process of its own: a clock in the places of what an update calls."""

    def __init__(self, threads):
        self._train, self._seconds = our_trainer(threads), dict.fromkeys(PARTS, 0.0)
        self._threads = threads
        self._clock(BatchBuffer, "take", "batch")
        self._clock(Network, "_call_loss", "loss")
        self._clock(Updates, "update", "Adam")
        prepared = Workspace._prepared

        def clocked(workspace):
            passes = prepared(workspace)
            for name, each in zip(("forward", "backward"), passes):
                self._clock(each, "run", name)
            return passes

        Workspace._prepared = clocked

    def _clock(self, owner, name, part):
        """Let a call of a method add its seconds to those of a part."""
        method = getattr(owner, name)

        def timed(*arguments, **keywords):
            start = time.perf_counter()
            found = method(*arguments, **keywords)
            self._seconds[part] += time.perf_counter() - start
            return found

        setattr(owner, name, timed)

    def __call__(self, rounds):
        """{part of an update: (milliseconds, those of its matrix products at the peak)}: medians over blocks of epochs."""
        blocks, updates = [], BLOCK * -(-SAMPLES // BATCH)
        for _ in range(rounds):
            warm(lambda: self._train(1))
            self._seconds = dict.fromkeys(PARTS, 0.0)
            start = time.perf_counter()
            self._train(BLOCK)
            blocks.append({**self._seconds, "all": time.perf_counter() - start})
        found = {part: 1e3 * statistics.median(each[part] for each in blocks) / updates for part in (*PARTS, "all")}
        top = statistics.median(peak("float32", self._threads) for _ in range(rounds))
        steps = counting_windows()[0].shape[0]
        least = dict(zip(("forward", "backward"), (flops / top / 1e6 for flops in products(counting_network(), steps))))
        found["the rest"] = 2 * found["all"] - sum(found.values())
        return {part: (ms, least.get(part, 0.0)) for part, ms in found.items()} | {
            "all": (found["all"], sum(least.values()))
        }


def parts_of_update(threads):
    """The `Parts`, in a process of their own."""
    return Parts(threads)


def numbarnn_library(threads):
    """Our trainer, in a process of its own."""
    return Trainer(our_trainer(threads))


def one_thread(_):
    """Our trainer with one thread, in a process of its own: what two are to take at most where they share a processor."""
    return Trainer(our_trainer(1))


def torch_library(threads):
    """PyTorch's trainer, in a process of its own."""
    return Trainer(torch_trainer(threads))


def jax_library(threads):
    """JAX's trainer, in a process of its own."""
    return Trainer(jax_trainer(threads))


MAKERS = {"numbarnn": numbarnn_library, "one": one_thread, "torch": torch_library, "jax": jax_library}
LABELS = {"numbarnn": "numbarnn", "one": "numbarnn, one thread", "torch": "PyTorch", "jax": "JAX, one compiled update"}
BESIDE = {"nothing": (), "a busy process": ("plain",)}


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--epochs", type=int, default=100)


def run(epochs):
    """Milliseconds of an update in each library, quiet and beside a busy process; blocks of epochs, by turns."""
    threads, rows, missing = numba.get_num_threads(), [], []
    worker = Worker(parts_of_update, threads, bound=False)
    parts = worker(max(3, epochs // BLOCK))
    worker.close()
    workers = {}
    for name, make in MAKERS.items():
        worker = Worker(make, threads, bound=False)
        try:
            worker(BLOCK)  # compilation, and memory that is touched for the first time
        except RuntimeError as failure:
            if "ModuleNotFoundError" not in str(failure):
                raise
            missing.append(name)
            worker.close()
            continue
        workers[name] = worker
    for beside, kinds in BESIDE.items():
        seconds = {name: [] for name in workers}
        with Loads(kinds):
            for _ in range(max(1, epochs // BLOCK)):
                for name, worker in workers.items():
                    seconds[name].append(worker(BLOCK))
        updates = BLOCK * -(-SAMPLES // BATCH)
        for name, found in seconds.items():
            ratios = [theirs / ours for ours, theirs in zip(seconds["numbarnn"], found)]
            rows.append({
                "beside": beside, "library": name, "ms_per_update": 1e3 * statistics.median(found) / updates,
                "mean": 1e3 * statistics.mean(found) / updates, "ratio": statistics.median(ratios), "ratios": ratios,
            })  # fmt: skip
    for worker in workers.values():
        worker.close()
    return {"threads": threads, "epochs": BLOCK * max(1, epochs // BLOCK), "missing": missing, "rows": rows, "parts": parts}


def table(result):
    """The result as lines of Markdown."""
    lines = [
        f"An update of a batch of {BATCH}, Adam, float32; {result['threads']} threads; {result['epochs']} epochs of each.",
        "",
        "| beside | library | an update, ms: median | mean | its time to ours: median | from | to |",
        "|" + "---|" * 7,
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['beside']} | {LABELS[row['library']]} | {row['ms_per_update']:.2f} | {row['mean']:.2f} |"
            f" {row['ratio']:.2f} | {min(row['ratios']):.2f} | {max(row['ratios']):.2f} |"
        )
    lines += [
        "",
        "Where the time of our update goes, quiet:",
        "",
        "| part | ms | its matrix products at the peak, ms |",
        "|---|---|---|",
    ]
    lines += [f"| {part} | {ms:.3f} | {least:.3f} |" for part, (ms, least) in result["parts"].items()]
    return "\n".join(lines)
