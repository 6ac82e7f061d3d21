"""Networks as dynamical systems: exponents of a random network beside a loop of NumPy, Jacobians, and two trained networks.

The loop of NumPy takes the same steps, and decomposes as often; ``OPENBLAS_NUM_THREADS=1`` gives it one thread of BLAS.  The
flip-flop comes from Sussillo and Barak (2013, doi:10.1162/NECO_a_00409): three bits, each remembers the sign of its last
pulse.  The network of Lorenz's system predicts its next step; then it reads what it has predicted, which makes it a layer on
its own, see `closed`.
"""

import os
import statistics
import time

import numpy as np

import numbarnn as nr

UNITS, GAIN, DT, EVERY = 100, 4.0, 0.1, 10
TRANSIENT, SETTLE, STEPS = 1000, 1000, 10000
ROUNDS, STARTS = 5, 8
STATES, WIDTH = 2000, 128
LAYERS = {"RNN": nr.RNN, "GRU": nr.GRU, "LSTM": nr.LSTM}
LORENZ_STEP, LORENZ_EXPONENT = 0.02, 0.906


def rate_network():
    """(J, h): the weights, Gaussian without a diagonal, and where the network starts."""
    random = np.random.RandomState(1)
    weights = GAIN * random.randn(UNITS, UNITS) / np.sqrt(UNITS)
    np.fill_diagonal(weights, 0)
    return weights, random.randn(UNITS)


def by_numpy(weights, h, steps=STEPS, transient=TRANSIENT, settle=SETTLE, every=EVERY):
    """The exponents of ``h' = (1 - dt) h + dt J tanh(h)``, by a loop over steps."""
    units = len(h)
    for _ in range(transient):
        h = (1 - DT) * h + DT * weights @ np.tanh(h)
    q, _ = np.linalg.qr(np.random.RandomState(2).randn(units, units))
    kept, total = (1 - DT) * np.eye(units), np.zeros(units)
    for step in range(settle + steps):
        rate = np.tanh(h)
        jacobian = kept + DT * weights * (1 - rate**2)
        h = (1 - DT) * h + DT * weights @ rate
        q = jacobian @ q
        if (step + 1) % every == 0:
            q, r = np.linalg.qr(q)
            if step >= settle:
                total += np.log(np.abs(np.diag(r)))
    return total / (steps * DT)


def as_layer(weights):
    """The same network as a layer and its parameters."""
    layer = nr.LeakyRNN(len(weights), rate=DT, form="inside")
    p = layer.init(channels=1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...] = weights
    return layer, p


def by_numbarnn(layer, p, h, steps=STEPS, transient=TRANSIENT, settle=SETTLE, every=EVERY, **options):
    """The same exponents."""
    total = transient + settle + steps
    given = {"every": every, "transient": transient, "settle": settle, "dt": DT} | options
    return nr.dynamics.lyapunov(layer, p, total, h[None, None], **given)


def flip_flop(steps, batch, seed, chance=0.1):
    """(x, y): pulses of three bits, and the signs of the last ones, (T, N, 3)."""
    random = np.random.default_rng(seed)
    x = random.choice([-1.0, 1.0], (steps, batch, 3)) * (random.random((steps, batch, 3)) < chance)
    x[0] = random.choice([-1.0, 1.0], (batch, 3))
    y = x.copy()
    for step in range(1, steps):
        y[step] = np.where(x[step] == 0, y[step - 1], x[step])
    return x.astype(np.float32), y.astype(np.float32)


def in_float64(net):
    """(layer, p, weight, bias) of a network of a recurrent and a dense layer."""
    p, dense = (nr.Parameters(own.flat.astype(np.float64), own.weights) for own in net.split(net.params.flat))
    weight, bias = dense.names
    return net.layers[0], p, dense[weight], dense[bias]


def flip_flop_points(seed=0, epochs=100):
    """(fixed points of a network of 16 units that has learned the task, share of right signs, what it writes there)."""
    x, y = flip_flop(50, 512, seed)
    net = nr.Network([nr.RNN(16), nr.Dense(3)], channels=3, seed=seed)
    net.fit(x, y, optimizer=nr.Adam(nr.cosine(0.01)), epochs=epochs, batch_size=32, clip=1.0, progress=False)
    layer, p, weight, bias = in_float64(net)
    x, y = flip_flop(100, 64, seed + 1)
    h, _ = layer(p, x.astype(np.float64))
    near = h[::5].reshape(1, -1, 16)
    starts = np.concatenate([near, near + 0.3 * np.random.default_rng(seed).standard_normal(near.shape)], axis=1)
    found = nr.dynamics.fixed_points(layer, p, None, starts)
    right = float((np.sign(h @ weight.T + bias) == y).mean())
    return found, right, found.states @ weight.T + bias


def lorenz(steps, dt=LORENZ_STEP, start=(1.0, 1.0, 1.0)):
    """Lorenz's system of 1963 (doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2) by Runge-Kutta steps, (steps, 3)."""

    def slope(s):
        return np.array([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]])

    s, found = np.array(start), np.empty((steps, 3))
    for step in range(steps):
        a = slope(s)
        b = slope(s + dt / 2 * a)
        c = slope(s + dt / 2 * b)
        s = s + dt / 6 * (a + 2 * b + 2 * c + slope(s + dt * c))
        found[step] = s
    return found


def closed(layer, p, weight, bias):
    """Parameters of the layer when it reads what a dense layer makes of its outputs: a layer on its own.

    ``h' = f(W (D h + d) + R h + b)`` is ``f((R + W D) h + b + W d)``.
    """
    found = p.copy()
    found["weight_hh_l0"][...] += p["weight_ih_l0"] @ weight
    found["bias_ih_l0"][...] += p["weight_ih_l0"] @ bias
    return found


def lorenz_exponents(seed=0, hidden=64, epochs=400, pieces=100, steps=50000):
    """(exponents of a network of Lorenz's system that runs on its own, its loss)."""
    series = lorenz(30000)[2000:]
    series = (series - series.mean(axis=0)) / series.std(axis=0)
    parts = series.reshape(-1, pieces, 3).transpose(1, 0, 2).astype(np.float32)
    net = nr.Network([nr.RNN(hidden), nr.Dense(3)], channels=3, seed=seed)
    history = net.fit(
        parts[:-1], parts[1:], optimizer=nr.Adam(nr.cosine(0.005)), epochs=epochs, batch_size=32, clip=1.0, progress=False
    )
    layer, p, weight, bias = in_float64(net)
    h, _ = layer(p, series[:500, None].copy())
    found = nr.dynamics.lyapunov(
        layer, closed(layer, p, weight, bias), steps, h[-1:].copy(), exponents=4, every=5, transient=2000, settle=500,
        dt=LORENZ_STEP,
    )  # fmt: skip
    return found, history.loss[-1]


def _seconds(call, rounds=ROUNDS):
    """Medians of the seconds of a call; the first one compiles."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run():
    """Seconds and what was found of each part."""
    weights, h = rate_network()
    layer, p = as_layer(weights)
    starts = np.stack([h, *np.random.default_rng(0).standard_normal((STARTS - 1, UNITS))])
    found = nr.dynamics.lyapunov(
        layer, p, TRANSIENT + SETTLE + STEPS, starts[None], every=EVERY, transient=TRANSIENT, settle=SETTLE, dt=DT
    )
    sums = found.exponents.sum(axis=1)
    rate = {
        "numbarnn": _seconds(lambda: by_numbarnn(layer, p, h)),
        "largest ten": _seconds(lambda: by_numbarnn(layer, p, h, exponents=10)),
        "numpy": _seconds(lambda: by_numpy(weights, h)),
        "blas": os.environ.get("OPENBLAS_NUM_THREADS", "as NumPy likes"),
        "sum": float(sums.mean()), "spread": float(sums.std(ddof=1)), "sum by numpy": float(by_numpy(weights, h).sum()),
        "largest": found.exponents[:, 0].tolist(), "kaplan_yorke": found.kaplan_yorke.tolist(),
    }  # fmt: skip
    jacobians = {}
    for name, kind in LAYERS.items():
        for dtype in ("float32", "float64"):
            own = kind(WIDTH)
            q, states = own.init(channels=1, seed=0, dtype=dtype), np.zeros((1, STATES, WIDTH), dtype)
            state = (states, states) if own.cell.states > 1 else states
            jacobians[f"{name} {dtype}"] = _seconds(lambda own=own, q=q, s=state: nr.dynamics.step_jacobian(own, q, None, s))
    flip_flops = []
    for seed in range(3):
        points, right, written = flip_flop_points(seed)
        stable = {tuple(np.sign(each).astype(int).tolist()) for each in written[points.stable]}
        flip_flops.append({"seed": seed, "right": right, "found": repr(points), "patterns": len(stable)})
    reconstructions = []
    for seed in range(3):
        spectrum, loss = lorenz_exponents(seed)
        dimension = float(spectrum.kaplan_yorke[0])
        reconstructions.append({"seed": seed, "loss": loss, "exponents": spectrum.exponents[0].tolist(), "d": dimension})
    return {"rate": rate, "jacobians": jacobians, "flip_flops": flip_flops, "lorenz": reconstructions}


def table(result):
    """The result as lines of Markdown."""
    rate = result["rate"]
    times = rate["numpy"] / rate["numbarnn"]
    lines = [
        f"All {UNITS} exponents of a random network, {STEPS * DT:g} units of time, QR at each; threads of NumPy's BLAS: "
        f"{rate['blas']}:",
        "",
        "| | seconds | sum of exponents |",
        "|---|---|---|",
        f"| numbarnn | {rate['numbarnn']:.3f} | {rate['sum']:.3f}, {rate['spread']:.3f} between {STARTS} starts |",
        f"| the loop of NumPy | {rate['numpy']:.3f} ({times:.2f} times) | {rate['sum by numpy']:.3f} |",
        f"| numbarnn, the ten largest | {rate['largest ten']:.3f} | |",
        "",
        f"The largest is {min(rate['largest']):.3f} to {max(rate['largest']):.3f}, the Kaplan-Yorke dimension "
        f"{min(rate['kaplan_yorke']):.2f} to {max(rate['kaplan_yorke']):.2f}.",
        "",
        f"Jacobians of a step at {STATES:,} states of {WIDTH} units:",
        "",
        "| | milliseconds |",
        "|---|---|",
        *[f"| {name} | {1e3 * seconds:.1f} |" for name, seconds in result["jacobians"].items()],
        "",
        "Flip-flop of three bits, 16 units:",
        "",
        "| seed | right signs | patterns of stable points | found |",
        "|---|---|---|---|",
        *["| {seed} | {right:.4f} | {patterns} | {found} |".format(**each) for each in result["flip_flops"]],
        "",
        f"Lorenz's system learned by 64 units, which then run on their own; its largest exponent is {LORENZ_EXPONENT}:",
        "",
        "| seed | loss | largest exponents | Kaplan-Yorke dimension |",
        "|---|---|---|---|",
    ]
    for each in result["lorenz"]:
        values = ", ".join(f"{value:.3f}" for value in each["exponents"][:3])
        lines.append(f"| {each['seed']} | {each['loss']:.2g} | {values} | {each['d']:.2f} |")
    return "\n".join(lines)
