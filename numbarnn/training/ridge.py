"""Ridge regression by the normal equations, added up piece by piece."""

import numpy as np


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
    def finite(self):
        """Whether all rows so far were finite, and their products."""
        return all(np.isfinite(part).all() for part in (self._sums, self._products, self._squares))

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
        """[(W, b), ...] for each penalty, from one eigendecomposition; without a penalty the shortest W there is."""
        features = self._features
        mean = self._sums / self.total
        centred = self._products - np.outer(self._sums[:features], mean)
        values, vectors = np.linalg.eigh(centred[:, :features])
        turned = vectors.T @ centred[:, features:]
        # Below this an eigenvalue is what rounding leaves of 0.
        least = features * np.finfo(np.float64).eps * max(values[-1], 0.0)
        found, mean = [], mean + self._shift
        for penalty in penalties:
            scaled = np.zeros_like(turned)
            over = np.maximum(values, 0) + penalty
            np.divide(turned, over[:, None], out=scaled, where=(over > least)[:, None])
            weight = (vectors @ scaled).T
            found.append((weight, mean[features:] - weight @ mean[:features]))
        return found
