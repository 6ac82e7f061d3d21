"""Many small networks trained at once, an update of each: `fit_many`, `fit` one after the other, and JAX's `vmap`."""

import time

import numpy as np

import numbarnn as nr

from .turns import Worker

HIDDEN, STEPS, BATCH = 16, 100, 8
RATE, BETAS, EPSILON = 0.001, (0.9, 0.999), 1e-8
MEMBERS = (1, 16, 128, 1024)
QUICK = (16, 128)
MOST_UPDATES = 2048  # of all members, in one round


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--quick", action="store_true", help="fewer sizes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)


def network(seed=0, hidden=HIDDEN):
    """One member."""
    return nr.Network([nr.GRU(hidden), nr.Last(), nr.Dense(1)], channels=1, seed=seed)


def data(steps=STEPS, batch=BATCH):
    """Samples and targets."""
    x = np.random.default_rng(0).standard_normal((steps, batch, 1)).astype(np.float32)
    return x, np.tanh(x.sum(0))


def options(updates):
    """Of a training that takes all samples in each of so many updates."""
    return dict(epochs=updates, batch_size=BATCH, shuffle=False, optimizer=nr.Adam(RATE), progress=False)


def ours(threads):
    """A function of the members and updates: seconds of the call of `fit_many`, and of its updates alone."""
    x, y = data()

    def run(members, updates):
        start = time.perf_counter()
        ensemble = nr.fit_many(network(), x, y, seeds=range(members), **options(updates))
        return time.perf_counter() - start, sum(sum(history.seconds) for history in ensemble.histories)

    return run


def one_by_one(threads):
    """The same of `fit`, in a loop."""
    x, y = data()

    def run(members, updates):
        start, seconds = time.perf_counter(), 0.0
        for seed in range(members):
            seconds += sum(network(seed).fit(x, y, seed=seed, **options(updates)).seconds)
        return time.perf_counter() - start, seconds

    return run


def jax_update(jax, x, y):
    """A compiled function of stacked (parameters, means, squares) and the step: one update of every member by Adam."""
    jnp = jax.numpy

    def loss(p):
        def step(h, pre):
            xr, xz, xn = jnp.split(pre, 3, -1)
            hr, hz, hn = jnp.split(h @ p["0.weight_hh_l0"].T + p["0.bias_hh_l0"], 3, -1)
            r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
            return (1 - z) * jnp.tanh(xn + r * hn) + z * h, None

        start = jnp.zeros((x.shape[1], p["0.weight_hh_l0"].shape[1]), x.dtype)
        h, _ = jax.lax.scan(step, start, x @ p["0.weight_ih_l0"].T + p["0.bias_ih_l0"])
        return jnp.mean((h @ p["2.weight"].T + p["2.bias"] - y) ** 2)

    def update(state, t):
        p, m, v = state
        g = jax.grad(loss)(p)
        m = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, m, g)
        v = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, v, g)
        rate, root = RATE / (1 - BETAS[0] ** t), 1 / jnp.sqrt(1 - BETAS[1] ** t)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (root * jnp.sqrt(v) + EPSILON), p, m, v)
        return p, m, v

    return jax.jit(jax.vmap(update, in_axes=(0, None)))


def jax_state(jax, networks):
    """What `jax_update` takes first, of networks."""
    p = {name: jax.numpy.stack([np.array(each.params[name]) for each in networks]) for name in networks[0].params}
    return p, jax.tree.map(jax.numpy.zeros_like, p), jax.tree.map(jax.numpy.zeros_like, p)


def jax_library(threads):
    """The same of JAX; compiling is left out."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    x, y = map(jax.numpy.asarray, data())
    update, kept = jax_update(jax, x, y), {}

    def run(members, updates):
        if members not in kept:
            state = jax_state(jax, [network(seed) for seed in range(members)])
            kept[members] = state, jax.block_until_ready(update(state, 1.0))
        state, start = kept[members][0], time.perf_counter()
        for t in range(updates):
            state = update(state, t + 1.0)
        jax.block_until_ready(state)
        seconds = time.perf_counter() - start
        return seconds, seconds

    return run


MAKERS = {"fit_many": ours, "fit": one_by_one, "jax": jax_library}


def run(quick, rounds, threads):
    """Milliseconds of a network and update: the median of some rounds, in which the libraries take turns."""
    workers, missing = {}, []
    for name, make in MAKERS.items():
        worker = Worker(make, threads)
        try:
            worker(2, 1)  # compile
        except RuntimeError as failure:
            if "ModuleNotFoundError" not in str(failure):
                raise
            missing.append(name)
            worker.close()
            continue
        workers[name] = worker
    rows = []
    for members in QUICK if quick else MEMBERS:
        updates, times = max(2, MOST_UPDATES // members), {name: [] for name in workers}
        for number in range(rounds + 1):
            for name, worker in workers.items():
                seconds = [each / (members * updates) * 1e3 for each in worker(members, updates)]
                if number:  # the first one is to get used to
                    times[name].append(seconds)
        medians = {name: np.median(found, axis=0).tolist() for name, found in times.items()}
        rows.append({"members": members, "updates": updates, "milliseconds": medians})
    for worker in workers.values():
        worker.close()
    return {"threads": threads, "rounds": rounds, "missing": missing, "rows": rows}


def table(result):
    """The result as lines of Markdown."""
    jax = "jax" not in result["missing"]
    lines = [
        f"GRU({HIDDEN}), Last, Dense(1); T {STEPS}, N {BATCH}, float32, Adam; {result['threads']} threads; ms a network and"
        " update, the median. Whole calls also draw initial parameters.",
        "",
        "| networks | updates | fit_many | whole call | fit, in a loop | JAX vmap | JAX / fit_many |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        found = row["milliseconds"]
        (whole, alone), (_, loop) = found["fit_many"], found["fit"]
        peer = f"{found['jax'][1]:.3f} | {found['jax'][1] / alone:.1f}" if jax else "| "
        lines.append(f"| {row['members']:,} | {row['updates']:,} | {alone:.3f} | {whole:.3f} | {loop:.3f} | {peer} |")
    return "\n".join(lines)
