"""The last layer of a network, solved for instead of trained."""

from collections.abc import Iterable

import numpy as np

from ..arrays.devices import moved
from ..arrays.ragged import Ragged
from ..arrays.rows import numbers
from ..engine.keep import NOTHING
from ..errors import NonFiniteError, integer, positive_integer, real, several
from ..layers.dense import Dense
from ..training.loop import check_samples, checked_samples
from ..training.losses import loss as find_loss
from ..training.ridge import NormalEquations
from ..training.sequences import placed
from .comparison import in_time
from .objective import Objective


class Readout(Objective):
    """The part of a network that solves for its last layer."""

    def fit_readout(
        self,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        penalty: float | Iterable[float] = 1e-6,
        warmup: int = 0,
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        validation: tuple | None = None,
        chunk: int = 4096,
    ) -> dict[float, float]:
        """Solve for the last layer, a linear `Dense`, by ridge regression; the layers before it stay as they are.

        Where f are the outputs of the layers before it, its weight W and bias b get the smallest ::

            sum of w |y - W f - b|^2 over all steps and samples, + penalty |W|^2

        with w the weights, 1 without any, in float64 whatever the network's dtype.  So is a reservoir trained: a recurrent
        layer as it was drawn, see `Connectivity`, and a readout.

        Parameters
        ----------
        x, y : array, list, DataFrame or Ragged
            Samples and their targets, as in `fit`; y are numbers.
        penalty : float or sequence of float
            >= 0, or several of them, of which the one with the smallest error on `validation` is taken.  The layers are run
            and the sums taken once for all.
        warmup : int
            Steps at the start of each sequence, and after each `reset`, of which there is no error: the state still
            depends on the one that it started from.
        lengths, weights, reset
            As in `fit`.
        validation : (x, y), (x, y, lengths), (x, y, lengths, weights) or (x, y, lengths, weights, reset), optional
            Where the error is measured, after `warmup` steps as well; needed with several penalties.
        chunk : int
            Steps of all sequences that are computed at once: memory follows it, and the square of f's channels, not the
            length of x.  The last bits of the sums depend on it, and on how many threads BLAS has.

        Returns
        -------
        dict of float to float
            The mean squared error, on `validation` if there is one, else on x, by penalty: of W and b in float64.

        Raises
        ------
        TypeError, ValueError
            If the last layer is not a `Dense` with the activation "linear", an argument is not as described, or nothing is
            left after `warmup`.
        NonFiniteError
            If there is a NaN or an infinity in x, y, the parameters, or what becomes of them.  The network is then as it
            was.

        References
        ----------
        Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634; of echo state networks Lukosevicius and Jaeger 2009,
        doi:10.1016/j.cosrev.2009.03.005, section 8.1.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> reservoir = nr.LeakyRNN(50, rate=0.5, connectivity=nr.Connectivity(density=0.1, spectral_radius=0.9))
        >>> net = nr.Network([reservoir, nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> s = np.sin(np.arange(301) / 5)[:, None]
        >>> errors = net.fit_readout(s[:200], s[1:201], penalty=[1e-8, 1e-2], warmup=50, validation=(s[200:300], s[201:]))
        >>> min(errors, key=errors.get), errors[1e-8] < 1e-6
        (1e-08, True)
        """
        last = self.layers[-1]
        if not isinstance(last, Dense) or last.activation not in ("linear", "identity"):
            raise TypeError(f"layers: expected a Dense with the activation 'linear' as the last one, got {last!r}")
        penalties, warmup, chunk = _penalties(penalty), _steps("warmup", warmup), positive_integer("chunk", chunk)
        if len(penalties) > 1 and validation is None:
            raise ValueError(f"validation: expected samples to choose one of {len(penalties)} penalties by, got None")
        self.params.check_writable("params")
        self.params.check_finite()
        loss = find_loss("mse")
        samples = self._samples(x, y, lengths, loss, weights, reset)
        if samples.y.not_finite(samples.lengths)[0]:
            place, number = samples.y.first(lambda numbers: ~np.isfinite(numbers), samples.lengths, samples.weights)
            if place:
                raise NonFiniteError(f"y: expected finite targets, got {number} at {place}; those of weight 0 are left out")
        check_samples(samples)
        if warmup and not samples.stepped:
            raise ValueError(f"warmup: expected 0 where each sample has one target, got {warmup}")
        held_out = None if validation is None else checked_samples(self, validation, loss, "validation")
        equations = NormalEquations(self._inputs[-1], self.output_channels)
        for rows in self._readout_rows(samples, warmup, chunk):
            equations.add(*rows)
        if not equations.total:
            raise ValueError(f"warmup: expected fewer steps than sequences have, so that some are left, got {warmup}")
        if equations.wrong == "x":
            raise NonFiniteError("x: expected inputs of which outputs of the layers before the last have finite squares")
        if equations.wrong:
            raise NonFiniteError("y: expected targets that have finite squares and products, got larger ones")
        found = equations.solve(penalties)
        errors = [equations.error(*each) for each in found]
        if held_out is not None:
            errors = self._readout_errors(held_out, warmup, chunk, found)
        weight, bias = (part.astype(self.dtype) for part in found[int(np.argmin(errors))])
        if not (np.isfinite(weight).all() and np.isfinite(bias).all() and np.isfinite(errors).all()):
            raise NonFiniteError(f"penalty: expected one with which weights are finite, got {penalty!r}")
        own = self._own[-1]
        own["weight"][...], own["bias"][...] = moved(weight, self.device), moved(bias, self.device)
        return dict(zip(penalties, errors))

    def _readout_rows(self, samples, warmup, most):
        """(outputs of the layers before the last, targets, weights or None) in rows, some at a time; after warm-up."""
        for piece in samples.pieces(most):
            tapes, before = {}, 0
            for part in in_time(self, piece, most):
                batch, described = part.batch()
                states, tapes = {index: tapes[index].final() for index in self._stateful if index in tapes}, {}
                found = self._forward(self._own[:-1], described, NOTHING, initial=states, seen=tapes.__setitem__)[0]
                if not found.packing.rows:
                    continue  # sequences without any step
                weights = part.weight_rows(batch)
                if part.y.stepped:
                    y = numbers(batch.describe("y", part.y.array, self.output_channels, self.dtype))
                    if warmup > before:
                        there = found.packing.steps_and_runs()[0] + before >= warmup
                        weights = there.astype(np.float64) if weights is None else there * weights
                else:
                    y = placed(part.y.array, part.y.letters, "nc")
                before += batch.steps
                x = moved(numbers(found).reshape(-1, found.channels), "cpu")
                yield x, moved(y.reshape(-1, self.output_channels), "cpu"), weights

    def _readout_errors(self, samples, warmup, most, found):
        """The mean squared error of each (W, b) on samples."""
        sums, total = np.zeros(len(found)), 0.0
        for x, y, weights in self._readout_rows(samples, warmup, most):
            x, y = x.astype(np.float64), y.astype(np.float64)
            there = np.ones(len(x)) if weights is None else weights.astype(np.float64)
            x, y, there = (part[there > 0] for part in (x, y, there))  # a target that weighs nothing may be NaN
            sums += [float(there @ ((y - x @ w.T - b) ** 2).mean(axis=1)) for w, b in found]
            total += float(there.sum())
        if not total:
            raise ValueError(f"warmup: expected fewer steps than the sequences of validation have, got {warmup}")
        return [float(each) for each in sums / total]


def _penalties(penalty):
    """The penalties as floats; else a typed error."""
    expected = "a number >= 0, or several in a sequence"
    if np.ndim(penalty) == 0 and not isinstance(penalty, (set, frozenset)):
        return (_penalty("penalty", real("penalty", penalty, expected)),)
    found = [real(f"penalty[{k}]", each, "a number >= 0") for k, each in enumerate(several("penalty", penalty, expected))]
    if not found:
        raise ValueError(f"penalty: expected {expected}, got none")
    return tuple(_penalty(f"penalty[{k}]", each) for k, each in enumerate(found))


def _penalty(argument, number):
    if not (np.isfinite(number) and number >= 0):
        raise ValueError(f"{argument}: expected a finite number >= 0, got {number!r}")
    return number + 0.0


def _steps(argument, value):
    """`value` as a Python int, if it is a whole number >= 0."""
    number = integer(argument, value, "an integer >= 0")
    if number < 0:
        raise ValueError(f"{argument}: expected an integer >= 0, got {number}")
    return number
