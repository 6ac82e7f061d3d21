"""GRU-D against PyPOTS's and against a plain GRU: prediction, and forward with backward, on series with gaps.

PyPOTS (pypots 1.5, torch 2.13) goes into an environment of its own, beside numba; without it its columns are empty.
"""

import statistics
import time
from importlib.util import find_spec

import numpy as np

import numbarnn as nr

SHAPES = ((24, 8, 5, 16), (48, 32, 37, 64), (100, 128, 10, 128), (200, 16, 8, 256))  # T, N, C, H
ROUNDS, FEWEST, LONG = 15, 3, 1.5  # of a block: at most, at least, and the seconds after which it has the fewest
SETTLE = 2  # rounds that are not measured: they compile, and prepare


def series(shape):
    """(x of `GRUD`, dL/dy) with four values in ten missing and irregular times."""
    steps, batch, variables, hidden = shape
    random = np.random.default_rng(0)
    values = random.standard_normal((steps, batch, variables)).astype(np.float32)
    values[random.random(values.shape) < 0.4] = np.nan
    x = nr.observed(values, np.cumsum(random.uniform(0.2, 2, (steps, batch)), axis=0))
    return x, random.standard_normal((steps, batch, hidden)).astype(np.float32)


def own_calls(layer, p, x, dy):
    """{name: function} of a layer of the library."""

    def both():
        _, _, tape = layer.forward(p, x)
        layer.backward(tape, dy)

    return {"predict": lambda: layer(p, x), "both": both}


def pypots_calls(module, x, dy):
    """{name: function} of PyPOTS's backbone, for the x of `GRUD`."""
    import torch

    last, mask, spans = (torch.from_numpy(np.ascontiguousarray(part.swapaxes(0, 1))) for part in np.split(x, 3, axis=2))
    given = last * mask, mask, spans, torch.zeros(mask.shape[2]), last
    weigh = torch.from_numpy(np.ascontiguousarray(dy.swapaxes(0, 1)))

    def predict():
        with torch.no_grad():
            return module(*given)[1].numpy()

    def both():
        module.zero_grad()
        states, _ = module(*given)
        (states * weigh).sum().backward()

    return {"predict": predict, "both": both}


def same_weights(module, p, variables, hidden):
    """Write PyPOTS's weights into the parameters (modified)."""
    own = {name: value.detach().numpy() for name, value in module.named_parameters()}
    w = own["rnn_cell.weight_ih"]
    beyond = w[:, variables : variables + hidden]
    recurrent = own["rnn_cell.weight_hh"].copy()
    recurrent[: 2 * hidden] += beyond[: 2 * hidden]
    given = {
        "weight_ih": w[:, :variables], "weight_mh": w[:, variables + hidden :], "weight_hh": recurrent,
        "weight_ph": beyond[2 * hidden :], "bias_ih": own["rnn_cell.bias_ih"], "bias_hh": own["rnn_cell.bias_hh"],
        "weight_dh": own["temp_decay_h.W"], "bias_dh": own["temp_decay_h.b"],
        "weight_dx": np.diag(own["temp_decay_x.W"]), "bias_dx": own["temp_decay_x.b"],
    }  # fmt: skip
    for name, value in given.items():
        p[f"{name}_l0"][...] = value


def medians(calls):
    """{name: median seconds}, each call in a block of its own."""
    found = {}
    for name, call in calls.items():
        seconds = []
        for _ in range(SETTLE):
            call()
        while len(seconds) < FEWEST or len(seconds) < ROUNDS and sum(seconds) < LONG:
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        found[name] = statistics.median(seconds)
    return found


def run():
    """Medians of each library in each case, and by how much the last states differ."""
    cases, there = [], find_spec("pypots") is not None
    for shape in SHAPES:
        _, _, variables, hidden = shape
        x, dy = series(shape)
        layer, gru = nr.GRUD(hidden, past=True), nr.GRU(hidden)
        p, q = layer.init(3 * variables, seed=0), gru.init(variables, seed=0)
        case = {"shape": shape, "off": None, "pypots": None}
        if there:
            from pypots.nn.modules.grud import BackboneGRUD

            module = BackboneGRUD(shape[0], variables, hidden)
            same_weights(module, p, variables, hidden)
            calls = pypots_calls(module, x, dy)
            case["off"] = float(np.abs(layer(p, x)[1][0] - calls["predict"]()).max())
            case["pypots"] = medians(calls)
        case["numbarnn"] = medians(own_calls(layer, p, x, dy))
        paper = nr.GRUD(hidden)
        case["paper"] = medians(own_calls(paper, paper.init(3 * variables, seed=0), x, dy))
        case["gru"] = medians(own_calls(gru, q, np.ascontiguousarray(x[..., :variables]), dy))
        cases.append(case)
    return {"cases": cases}


def table(result):
    """The result as lines of Markdown."""
    lines = [
        "GRU-D, float32: PyPOTS's equations (`past=True`) by both; then those of the paper, with one matrix fewer, and",
        "a plain GRU, by the library:", "",
        "| T, N, C, H | what | numbarnn | PyPOTS | PyPOTS / numbarnn | the paper's | GRU | states differ by |",
        "|" + "---|" * 8,
    ]  # fmt: skip
    for case in result["cases"]:
        shape, theirs = ", ".join(map(str, case["shape"])), case["pypots"]
        for way, name in (("predict", "prediction"), ("both", "forward and backward")):
            own = case["numbarnn"][way]
            beside = f"{1e3 * theirs[way]:.2f} ms | {theirs[way] / own:.1f}" if theirs else " | "
            off = "" if case["off"] is None else f"{case['off']:.1e}"
            others = " | ".join(f"{1e3 * case[layer][way]:.2f} ms" for layer in ("paper", "gru"))
            lines.append(f"| {shape} | {name} | {1e3 * own:.2f} ms | {beside} | {others} | {off} |")
    return "\n".join(lines)
