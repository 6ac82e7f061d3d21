"""Functions made of the exponential, of every number of an array, on the GPU: see `cpu.exponentials`."""

import numpy as np


def exponential(name, x):
    """A new array of ``exp(x)``, ``exp(-|x|)`` or ``log(1 + exp(x))`` of each number of x, by the name of the function."""
    if name == "exp":
        return np.exp(x)
    small = np.exp(-np.abs(x))
    return small if name == "exp_of_minus_size" else np.maximum(x, 0) + np.log1p(small)
