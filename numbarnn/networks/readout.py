"""The last layer of a network, solved for instead of trained."""

from collections.abc import Iterable

import numpy as np

from ..arrays.devices import moved
from ..arrays.ragged import Ragged
from ..engine.keep import NOTHING
from ..errors import positive_integer
from ..training.loop import check_samples, checked_samples
from ..training.readouts import (
    LOSS,
    HeldOut,
    best,
    check_readout_samples,
    checked_penalties,
    checked_warmup,
    is_readout,
    readout_rows,
    solutions,
)
from ..training.ridge import NormalEquations
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
        if not is_readout(last):
            raise TypeError(f"layers: expected a Dense with the activation 'linear' as the last one, got {last!r}")
        penalties, warmup = checked_penalties(penalty, validation), checked_warmup(warmup)
        chunk = positive_integer("chunk", chunk)
        self.params.check_writable("params")
        self.params.check_finite()
        samples = self._samples(x, y, lengths, LOSS, weights, reset)
        check_readout_samples(samples, warmup)
        check_samples(samples)
        held_out = None if validation is None else checked_samples(self, validation, LOSS, "validation")
        equations = NormalEquations(self._inputs[-1], self.output_channels)
        for rows in self._readout_rows(samples, warmup, chunk):
            equations.add(*rows)
        found = solutions(equations, penalties, warmup)
        if held_out is None:
            errors = [equations.error(*each) for each in found]
        else:
            measured = HeldOut(found)
            for rows in self._readout_rows(held_out, warmup, chunk):
                measured.add(*rows)
            errors = measured.errors(warmup)
        weight, bias = best(found, errors, self.dtype, penalty)
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
                yield readout_rows(found, part, batch, warmup, before, self.output_channels)
                before += batch.steps
