"""Ridge regression by the normal equations, added up piece by piece."""

import numpy as np

from ..arrays.ieee import ieee


class NormalEquations:
    """Sums over rows of what a linear map of F features to U targets is found by, in float64.

    Weights W (U, F) and bias b (U,) have the smallest ``sum_r w_r |y_r - W x_r - b|^2 + penalty |W|^2``, with the bias not
    penalised (Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634): with x and y less their means,
    ``W = Y^T X (X^T X + penalty)^-1``.

    Parameters
    ----------
    features, targets : int
        F and U.
    """

    def __init__(self, features, targets):
        self.total, self._shift = 0.0, None
        self._sums = np.zeros(features + targets)
        self._products = np.zeros((features, features + targets))
        self._squares = np.zeros(targets)
        self._features = features

    @ieee
    def add(self, x, y, weights=None):
        """Add rows x (R, F), y (R, U), and their weights (R,).

        All rows are taken less the mean of the first ones, near which the others are: what is then left of sums of squares
        less the square of a sum has all its digits.
        """
        rows = np.concatenate([x, y], axis=1, dtype=np.float64)
        if weights is not None:
            there = weights > 0
            rows, weights = rows[there], weights[there].astype(np.float64)
        if not len(rows):
            return
        if self._shift is None:
            self._shift = rows.mean(axis=0)
        rows -= self._shift
        scaled = rows if weights is None else weights[:, None] * rows
        self.total += float(len(rows) if weights is None else weights.sum())
        self._sums += scaled.sum(axis=0)
        self._products += rows[:, : self._features].T @ scaled
        self._squares += (rows[:, self._features :] * scaled[:, self._features :]).sum(axis=0)

    @property
    def wrong(self):
        """Which sums are not finite: "x" for sums of features, "y" for sums of targets; None if all are finite."""
        features = self._features
        if not (np.isfinite(self._sums[:features]).all() and np.isfinite(self._products[:, :features]).all()):
            return "x"
        targets = self._sums[features:], self._products[:, features:], self._squares
        return None if all(np.isfinite(part).all() for part in targets) else "y"

    def error(self, weight, bias):
        """The mean squared error of a W and b on the rows, from their sums."""
        features = self._features
        bias = bias - self._shift[features:] + weight @ self._shift[:features]  # of the rows as they were added
        x, y = np.split(self._sums, [features])
        xx, xy = np.split(self._products, [features], axis=1)
        squares = self._squares - 2 * (weight * xy.T).sum(axis=1) + ((weight @ xx) * weight).sum(axis=1)
        squares += 2 * bias * (weight @ x - y) + self.total * bias**2
        return max(0.0, float(squares.mean() / self.total))

    def solve(self, penalties):
        """[(W, b), ...] for each penalty, all from the same sums; without a penalty the shortest W there is."""
        features = self._features
        mean = self._sums / self.total
        centred = self._products - np.outer(self._sums[:features], mean)
        squares, products = centred[:, :features], centred[:, features:]
        # What rounding leaves of an eigenvalue of 0: the trace is no less than the largest of them.
        least = features * np.finfo(np.float64).eps * max(np.trace(squares), 0.0)
        found, shifted, decomposed = [], mean + self._shift, None
        for penalty in penalties:
            if penalty > least:
                weight = _by_cholesky(squares, penalty, products).T
            else:
                decomposed = decomposed or np.linalg.eigh(squares)
                weight = _by_eigenvalues(*decomposed, penalty, products, least).T
            found.append((weight, shifted[features:] - weight @ shifted[:features]))
        return found


def _by_cholesky(squares, penalty, products):
    """(squares + penalty)^-1 products, of a matrix whose eigenvalues are all greater than rounding."""
    from scipy.linalg import cho_factor, cho_solve

    matrix = squares.copy()
    matrix.flat[:: len(matrix) + 1] += penalty
    return cho_solve(cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False), products, check_finite=False)


def _by_eigenvalues(values, vectors, penalty, products, least):
    """The same of a matrix that may be singular: where its eigenvalues are 0 the solution is 0, too."""
    over = np.maximum(values, 0) + penalty
    turned = vectors.T @ products
    return vectors @ np.divide(turned, over[:, None], out=np.zeros_like(turned), where=(over > least)[:, None])
