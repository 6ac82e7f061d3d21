"""Writes grud.npz: outputs and gradients of PyPOTS's GRU-D (pypots 1.5, BSD-3-Clause) on series with gaps.

    python -m venv grud; grud/bin/pip install torch==2.13.0 pypots==1.5; grud/bin/python tests/vectors/make_grud.py

The last values, masks, means and, of steps 1 apart, the spans are those that PyPOTS makes of the NaN; irregular spans are
summed up here, step by step.  The loss is the sum of all that the backbone returns, times `weigh_states` and `weigh_last`.
"""

from pathlib import Path

import numpy as np
import torch
from pypots.data.utils import _parse_delta_torch
from pypots.imputation.locf import locf_torch
from pypots.nn.modules.grud import BackboneGRUD

STEPS, BATCH, VARIABLES, HIDDEN = 6, 3, 2, 5


def irregular(mask, times):
    """The time since each variable was observed, by its recurrence."""
    spans = np.zeros(mask.shape)
    for t in range(1, STEPS):
        spans[:, t] = (times[:, t] - times[:, t - 1])[:, None] + (1 - mask[:, t - 1]) * spans[:, t - 1]
    return torch.tensor(spans, dtype=torch.float32)


def made(name, seed):
    """{name: array} of one case."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    values = random.standard_normal((BATCH, STEPS, VARIABLES)).astype(np.float32)
    values[random.random(values.shape) < 0.4] = np.nan
    times = np.cumsum(random.uniform(0.2, 2, (BATCH, STEPS)), axis=1)
    x = torch.tensor(values)
    mask = (~torch.isnan(x)).float()
    last, x = locf_torch(x), torch.nan_to_num(x)
    mean = torch.sum(mask * x, dim=[0, 1]) / torch.sum(mask, dim=[0, 1])
    deltas = _parse_delta_torch(mask) if name == "regular" else irregular(mask.numpy(), times)
    layer = BackboneGRUD(STEPS, VARIABLES, HIDDEN)
    layer.temp_decay_x.W.data.abs_()  # of both variables something is then lost; of the state, of some units
    states, final = layer(x, mask, deltas, mean, last)
    weigh_states, weigh_last = torch.randn_like(states), torch.randn_like(final)
    ((states * weigh_states).sum() + (final * weigh_last).sum()).backward()
    found = {"values": values, "times": times, "mean": mean, "deltas": deltas, "states": states, "final": final}
    found |= {"weigh_states": weigh_states, "weigh_last": weigh_last}
    for key, parameter in layer.named_parameters():
        found[key], found[f"d_{key}"] = parameter, parameter.grad
    return {
        f"{name}.{key}": np.asarray(value.detach() if hasattr(value, "detach") else value) for key, value in found.items()
    }


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).parent / "grud.npz", **made("regular", 0), **made("irregular", 1))
