"""Writes torch.npz: what PyTorch computes for a few small layers, read by test_vectors.py.

For each case one vector of what goes in, in the order of `inputs`, and one of what comes out, in the order of the
results' names.  The inputs are multiples of 1/64.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from checks import as_tuple  # noqa: E402
from strategies import KINDS, random_case  # noqa: E402

CASES = {
    "rnn_tanh": ("rnn-tanh", 4, 1, False),
    "rnn_relu": ("rnn-relu", 3, 1, True),
    "gru": ("gru-after", 3, 1, False),
    "gru_stacked": ("gru-after", 3, 2, True),
    "lstm": ("lstm", 5, 1, False),
    "lstm_stacked": ("lstm", 3, 2, False),
    "lstm_bidirectional": ("lstm", 3, 1, True),
}


def case_of(name, seed=0):
    """A case of the structure called `name`; only its numbers depend on the seed."""
    kind, hidden, layers, bidirectional = CASES[name]
    return random_case(KINDS[kind](hidden, layers=layers, bidirectional=bidirectional), 4, 2, 2, seed=seed)


def inputs(case):
    """The arrays of a case that a result depends on."""
    return case.parameters.flat, case.x, case.dy, *as_tuple(case.state), *as_tuple(case.dstate)


def vector(arrays):
    """Arrays one after the other."""
    return np.concatenate([np.ravel(a) for a in arrays])


def main():
    import torch
    from torch_layers import results

    written = {"torch_version": np.array(torch.__version__)}
    for seed, name in enumerate(CASES):
        case = case_of(name, seed)
        for array in inputs(case):
            array[...] = np.round(64 * array) / 64
        written[f"{name}_given"] = vector(inputs(case))
        written[f"{name}_expected"] = vector(value for _, value in sorted(results(case).items()))
    np.savez_compressed(HERE / "torch.npz", **written)
    print(f"{len(CASES)} cases, {(HERE / 'torch.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
