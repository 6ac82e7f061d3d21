"""Jacobians of all outputs by all parameters, beside PyTorch's, and least squares by them, beside L-BFGS."""

import statistics
import time

import numpy as np
from scipy.optimize import least_squares, minimize

import numbarnn as nr

SHAPES = ((200, 1, 1, 8), (500, 1, 2, 16), (100, 8, 2, 16), (50, 32, 4, 16))  # T, N, I, H of a GRU, one output each step
ROUNDS = 3
CHUNK = 512  # outputs that PyTorch takes at once: all of them do not fit into memory
FITTED = dict(hidden=8, steps=1500, window=16, evaluations=2000, most=200)
LONG = dict(hidden=8, steps=200, batch=8, evaluations=3000, most=200)  # sequences with an output at each step


def case(shape):
    """(network, x) of a shape."""
    steps, batch, channels, hidden = shape
    net = nr.Network([nr.GRU(hidden), nr.Dense(1)], channels, dtype="float64", seed=0)
    return net, np.random.default_rng(0).standard_normal((steps, batch, channels))


def by_torch(net, x):
    """A function that returns PyTorch's Jacobian (outputs, P), by ``torch.func.jacrev`` over a cell written by hand."""
    import torch

    torch.set_num_threads(2)
    parts, at = [], 0
    for name in net.params.names:
        shape = net.params[name].shape
        parts.append((at, shape))
        at += int(np.prod(shape))
    flat = torch.tensor(np.concatenate([net.params[name].ravel() for name in net.params.names]))
    given = torch.tensor(x)

    def outputs(vector):
        w, r, b, d, out, bias = (vector[at : at + int(np.prod(shape))].reshape(shape) for at, shape in parts)
        h, found = torch.zeros(x.shape[1], r.shape[1], dtype=torch.float64), []
        for x_t in given:
            (a_r, a_z, a_n), (s_r, s_z, s_n) = (x_t @ w.T + b).chunk(3, -1), (h @ r.T + d).chunk(3, -1)
            update = torch.sigmoid(a_z + s_z)
            h = (1 - update) * torch.tanh(a_n + torch.sigmoid(a_r + s_r) * s_n) + update * h
            found.append(h @ out.T + bias)
        return torch.stack(found).reshape(-1)

    jacobian = torch.func.jacrev(outputs, chunk_size=CHUNK)
    return lambda: jacobian(flat).numpy()


def in_torch_s_order(net, jacobian):
    """A Jacobian (outputs, P) with its columns as PyTorch has the weights, transposed."""
    order = nr.Parameters(np.arange(len(net.params), dtype=np.float64), net.params.weights)
    return jacobian[:, np.concatenate([order[name].ravel() for name in order.names]).astype(int)]


def median(call, rounds=ROUNDS):
    """The median of the seconds of a call; the first, which compiles, does not count."""
    call()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def hysteresis(steps, batch, seed=0):
    """(force, displacement), (T, N, 1) each and of unit size, of a mass on a spring with Bouc-Wen hysteresis.

    ``2 y'' + 10 y' + 5e4 y + z = u``, ``z' = 5e4 y' - 1e3 (0.8 |y'| z - 1.1 y' |z|)``, 750 steps a second, u noise below
    150 Hz: the simulated benchmark of Noel and Schoukens 2016, Hysteretic benchmark with a dynamic nonlinearity.
    """
    random, inner, rate = np.random.default_rng(seed), 20, 750
    spectrum = np.fft.rfft(random.standard_normal((steps, batch)), axis=0)
    frequency = np.fft.rfftfreq(steps, 1 / rate)
    spectrum[(frequency < 5) | (frequency > 150)] = 0
    force = np.fft.irfft(spectrum, steps, axis=0)
    force *= 50 / force.std()

    def slope(state, u):
        y, v, z = state
        return np.array([v, (u - 10 * v - 5e4 * y - z) / 2, 5e4 * v - 1e3 * (0.8 * np.abs(v) * z - 1.1 * v * np.abs(z))])

    state, found, h = np.zeros((3, batch)), [], 1 / (rate * inner)
    for u in force:
        for _ in range(inner):
            a = slope(state, u)
            b = slope(state + h / 2 * a, u)
            c = slope(state + h / 2 * b, u)
            state = state + h / 6 * (a + 2 * b + 2 * c + slope(state + h * c, u))
        found.append(state[0])
    y = np.array(found)
    return force[..., None] / force.std(), y[..., None] / y.std()


def identified(steps, window):
    """(x, y): windows of the force up to a step and of the displacement before it, and the displacement there."""
    force, displacement = (part[:, 0] for part in hysteresis(steps, 1))
    seen = np.concatenate([force[1:], displacement[:-1]], axis=1)
    x = np.lib.stride_tricks.sliding_window_view(seen, window, axis=0).transpose(2, 0, 1)
    return np.ascontiguousarray(x), displacement[window:]


def fits(hidden, steps, window, evaluations, most):
    """{what: value} of L-BFGS and of the method of Levenberg and Marquardt on the same network and data, from one start.

    A call of the network counts as many gradients as it takes the time of.
    """
    x, y = identified(steps, window)
    net = nr.Network([nr.GRU(hidden), nr.Last(), nr.Dense(1)], 2, dtype="float64", seed=0)
    start = net.params.flat.copy()
    gradient = median(lambda: net.loss_and_gradient(start, x, y), 9)
    jacobian = median(lambda: net.jacobian(start, x), 5)
    found = minimize(
        net.loss_and_gradient, start, args=(x, y), jac=True, method="L-BFGS-B",
        options={"maxiter": evaluations, "maxfun": evaluations, "ftol": 0, "gtol": 0},
    )  # fmt: skip
    spent, losses = 0.0, []

    def residuals(flat):
        nonlocal spent
        spent += 0.5  # a forward
        net.params.flat[:] = flat
        left = (net.predict(x) - y).ravel()
        losses.append((spent, float((left**2).mean())))
        return left

    def slopes(flat):
        nonlocal spent
        spent += jacobian / gradient
        if losses[-1][1] <= found.fun:
            raise StopIteration
        return net.jacobian(flat, x).reshape(y.size, -1)

    try:
        least_squares(residuals, start, slopes, method="trf", max_nfev=most, ftol=1e-15, xtol=1e-15, gtol=1e-15)
    except StopIteration:
        pass
    reached = next((spent for spent, loss in losses if loss <= found.fun), None)
    return {
        "parameters": len(start), "numbers": y.size, "jacobian_in_gradients": jacobian / gradient,
        "lbfgs_gradients": found.nfev, "lbfgs_loss": float(found.fun), "reached_in_gradients": reached,
        "jacobians": len(losses), "loss": min(loss for _, loss in losses),
    }  # fmt: skip


def long_fits(hidden, steps, batch, evaluations, most):
    """{what: value} of L-BFGS and of `levenberg_marquardt` by both solvers, on long sequences, from one start.

    Every output of a sequence has a target, one step ahead.  A fit counts as many gradients as its calls of the network
    take the time of, and beside that as many as all of it takes, its linear algebra included.
    """
    force, displacement = hysteresis(steps + 1, batch)
    x, y = np.concatenate([force[1:], displacement[:-1]], axis=2), displacement[1:]
    net = nr.Network([nr.GRU(hidden), nr.Dense(1)], 2, dtype="float64", seed=0)
    start = net.params.flat.copy()
    gradient = median(lambda: net.loss_and_gradient(start, x, y), 9)
    jacobian = median(lambda: net.jacobian(start, x), 5) / gradient
    product = median(lambda: net.gauss_newton_product(start, x, y, start), 9) / gradient
    result = {
        "parameters": len(start), "numbers": y.size, "jacobian_in_gradients": jacobian, "product_in_gradients": product,
    }  # fmt: skip
    began = time.perf_counter()
    found = minimize(
        net.loss_and_gradient, start, args=(x, y), jac=True, method="L-BFGS-B",
        options={"maxiter": evaluations, "maxfun": evaluations, "ftol": 0, "gtol": 0},
    )  # fmt: skip
    spent = (time.perf_counter() - began) / gradient
    result |= {"lbfgs_gradients": found.nfev, "lbfgs_loss": float(found.fun), "lbfgs_in_gradients": spent, "fits": {}}
    for solver in ("products", "jacobian"):
        net.params.flat[:] = start
        began = time.perf_counter()
        fit = nr.levenberg_marquardt(net, x, y, most, solver=solver, target=found.fun)
        result["fits"][solver] = {
            "in_gradients": (time.perf_counter() - began) / gradient, "loss": fit.losses[-1], "steps": len(fit.losses) - 1,
            "gradients": fit.gradients, "products": fit.products, "jacobians": fit.samples / batch,
            "calls_in_gradients": fit.gradients + product * fit.products + jacobian * fit.samples / batch,
        }  # fmt: skip
    return result


def run():
    """Seconds of each Jacobian, and what the fits took."""
    cases = []
    for shape in SHAPES:
        net, x = case(shape)
        flat, size = net.params.flat.copy(), x.shape[0] * x.shape[1]
        ours = median(lambda net=net, flat=flat, x=x: net.jacobian(flat, x))
        found = {"shape": shape, "parameters": len(flat), "ours": ours}
        try:
            theirs = by_torch(net, x)
            expected, mine = theirs(), in_torch_s_order(net, net.jacobian(flat, x).reshape(size, -1))
            found |= {"torch": median(theirs, 1), "difference": float(np.abs(expected - mine).max())}
        except ImportError:
            pass
        cases.append(found)
    return {"cases": cases, "fit": fits(**FITTED), "long": long_fits(**LONG)}


def table(result):
    """The result as lines of Markdown."""
    lines = [
        "Jacobian of a GRU with one output at each step, float64, all outputs by all parameters; `torch.func.jacrev` over a",
        "cell written by hand:",
        "",
        "| T, N, I, H | outputs | parameters | numbarnn | PyTorch | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for each in result["cases"]:
        steps, batch = each["shape"][:2]
        theirs = each.get("torch")
        rest = "- | -" if theirs is None else f"{1e3 * theirs:.0f} ms | {theirs / each['ours']:.1f}"
        shape = ", ".join(map(str, each["shape"]))
        lines.append(f"| {shape} | {steps * batch} | {each['parameters']} | {1e3 * each['ours']:.1f} ms | {rest} |")
    fit = result["fit"]
    reached = "not reached" if fit["reached_in_gradients"] is None else f"{fit['reached_in_gradients']:.0f}"
    return "\n".join(
        [
            *lines, "",
            f"A system with Bouc-Wen hysteresis, one step ahead, {fit['parameters']} parameters, {fit['numbers']} residuals:"
            f" L-BFGS comes to a loss of {fit['lbfgs_loss']:.3g} in {fit['lbfgs_gradients']} gradients,"
            f" `least_squares(jac=net.jacobian)` in network calls that take the time of {reached}; a Jacobian takes that of"
            f" {fit['jacobian_in_gradients']:.1f}.", "",
            *long_lines(result["long"]),
        ]
    )  # fmt: skip


def long_lines(fit):
    """Lines of Markdown about `long_fits`."""
    lines = [
        f"The same system in sequences with an output at each step, {fit['parameters']} parameters, {fit['numbers']}"
        f" residuals: L-BFGS comes to a loss of {fit['lbfgs_loss']:.3g} in {fit['lbfgs_gradients']} gradients, and all"
        f" of it takes the time of {fit['lbfgs_in_gradients']:.0f}. A Jacobian"
        f" takes the time of {fit['jacobian_in_gradients']:.0f} gradients, a Gauss-Newton product that of"
        f" {fit['product_in_gradients']:.1f}. `levenberg_marquardt` until it has that loss:",
        "",
        "| solver | network calls, in gradients | all of it | loss | steps | gradients | products | Jacobians |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for solver, each in fit["fits"].items():
        counts = f"{each['steps']} | {each['gradients']} | {each['products']} | {each['jacobians']:.2f}"
        spent = f"{each['calls_in_gradients']:.0f} | {each['in_gradients']:.0f}"
        lines.append(f"| {solver} | {spent} | {each['loss']:.3g} | {counts} |")
    return lines
