"""NumPy's arithmetic as the kernels do it: by IEEE 754, whatever ``np.seterr`` and ``python -W`` say."""

import functools

import numpy as np


def ieee(function):
    """`function`, in which a number that is too small becomes 0 and one that is too large inf, and nobody is told.

    Whether a result may be infinite is asked of the result, by whoever uses it: `NonFiniteError` is how it is said.
    """

    @functools.wraps(function)
    def quiet(*args, **kwargs):
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return quiet
