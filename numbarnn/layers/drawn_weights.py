"""Recurrent and input weights of reservoirs: sparse, of a given spectral radius or rank, balanced; by a `Connectivity`."""

import numpy as np

MOST_DENSE = 500  # units whose eigenvalues are all computed; of more the largest few
DIGITS = 12  # of a spectral radius that are kept: the last ones depend on how many threads LAPACK has
SEARCHED = 6  # of the largest eigenvalues, of which others may be next to the largest


def fill_connected(connectivity, name, view, random, hidden):
    """Write what a Connectivity says into a weight of this name (is modified), if it says anything of it."""
    if name.startswith("weight_hh") and connectivity.draws:
        for first in range(0, len(view), hidden):
            gate = view[first : first + hidden]
            gate[...] = recurrent_weights(connectivity, random, hidden)
    if name.startswith("weight_ih") and connectivity.draws_input:
        view[...] = input_weights(connectivity, random, view.shape)


def recurrent_weights(connectivity, random, hidden):
    """W (H, H) of one gate in float64, of which the Connectivity makes an R with what it says."""
    rank = connectivity.rank
    if rank is None:
        weight = random.standard_normal((hidden, hidden))
        factor = connectivity.factor(weight)
        weight[factor == 0] = 0
        weight /= np.sqrt(max(1.0, np.count_nonzero(factor) / hidden))  # eigenvalues within about 1 (Girko's law)
    else:
        weight = random.standard_normal((hidden, rank)) @ random.standard_normal((rank, hidden))
        weight /= hidden
    if connectivity.balanced:
        weight *= balance(connectivity.applied(weight))
    if connectivity.spectral_radius is not None:
        found = spectral_radius(connectivity.applied(weight))
        if found == 0:
            raise ValueError(
                "spectral_radius: expected connections in a circle, without which all eigenvalues are 0, got"
                f" {connectivity!r} of {hidden} units"
            )
        weight *= connectivity.spectral_radius / found
    return weight


def input_weights(connectivity, random, shape):
    """Input weights (G H, C): a number or its opposite, and 0 outside of as many places as the density has."""
    scaling = 1.0 if connectivity.input_scaling is None else connectivity.input_scaling
    weight = scaling * random.choice((-1.0, 1.0), shape)
    if connectivity.input_density is not None:
        kept = max(1, round(connectivity.input_density * weight.size))
        weight.flat[random.permutation(weight.size)[kept:]] = 0
    return weight


def balance(matrix):
    """Factors (H, H) of the weights that inhibit, column by column of one sign, under which each row adds up to 0.

    Raises ValueError where a unit has weights of one sign alone.
    """
    excited, inhibited = np.maximum(matrix, 0).sum(axis=1), np.maximum(-matrix, 0).sum(axis=1)
    alone = np.flatnonzero((excited > 0) != (inhibited > 0))
    if len(alone):
        kinds = ("excite", "inhibit") if excited[alone[0]] > 0 else ("inhibit", "excite")
        raise ValueError(
            f"balanced: expected connections from units of both signs, got unit {alone[0]}, to which only units that"
            f" {kinds[0]} are connected and none that {kinds[1]}; with a larger density there are more"
        )
    ratio = np.divide(excited, inhibited, out=np.ones_like(excited), where=inhibited > 0)
    return np.where(matrix < 0, ratio[:, None], 1.0)


def spectral_radius(matrix):
    """The largest absolute value of the eigenvalues of a matrix, to 12 digits; 0 if all are 0.

    By LAPACK, of all of them; of large matrices by ARPACK, of a few (Lehoucq, Sorensen and Yang 1998,
    doi:10.1137/1.9780898719628), unless these are not found.
    """
    found = _largest(matrix) if len(matrix) > MOST_DENSE else None
    if found is None:
        found = np.abs(np.linalg.eigvals(matrix)).max()
    # Of a matrix without a circle rounding may leave more than 0: the H-th root of it.
    if found < 1e-3 * np.abs(matrix).max() and not np.any(np.linalg.matrix_power(matrix != 0, len(matrix))):
        return 0.0
    return float(f"{found:.{DIGITS - 1}e}")


def _largest(matrix):
    """The largest absolute value of a few eigenvalues that ARPACK finds; None if it does not."""
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import ArpackError, eigs

    start = np.random.default_rng(0).standard_normal(len(matrix))
    try:
        found = eigs(csr_array(matrix), SEARCHED, which="LM", v0=start, ncv=64, return_eigenvectors=False)
    except ArpackError:  # among them: no convergence
        return None
    return np.abs(found).max()
