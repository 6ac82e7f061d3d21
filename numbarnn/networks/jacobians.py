"""The derivative of every output of a network, and the gradient of every sample, at a vector of parameters."""

from collections.abc import Callable

import numpy as np

from ..arrays.descriptor import TensorDescriptor, in_layout
from ..arrays.devices import backend
from ..arrays.ragged import Ragged
from ..arrays.rows import numbers
from ..engine.keep import ALL
from ..layers.feedback import Feedback
from ..layers.tangents import Tangents
from ..training.workspace import Workspace
from .derivatives import moved_by
from .derived import ROWS, Derived, columns_of, fill_by_tangents, laid_out, ones_at, repeated
from .objective import Objective
from .passing import Passing, go_back, passed
from .placing import brought
from .seen import is_mean_of_samples

LENGTHS = 16  # to which steps are cut at most, so that outputs do not go back from far behind them
CAUSAL = 1.5  # tangents of all steps in the time that an output's way back takes, from where it is on


class Jacobians(Derived, Objective):
    """The part of a network that solvers of least squares ask."""

    def jacobian(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        lengths: np.ndarray | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> np.ndarray:
        """The derivative of every output with respect to every parameter, at the parameters `flat`.

        The network's own parameters stay as they are.  Of residuals ``(net.predict(x) - y).ravel()`` it is, as
        ``jacobian.reshape(y.size, -1)``, what ``scipy.optimize.least_squares(jac=)`` takes.

        Parameters
        ----------
        flat : numpy.ndarray
            (P,): as long as ``params.flat`` and of the network's dtype.
        x : array, list, DataFrame or Ragged
            As in `predict`.
        lengths : array of int, optional
            (N,): the steps of each sample in a padded x.
        reset : array of bool, optional
            (T, N): where True, a sample starts afresh.
        feedback : Feedback, optional
            As in a call of the network: the derivative of outputs that are fed back.

        Returns
        -------
        numpy.ndarray
            Shaped like ``predict(x)`` with one more axis, the last, of P: ``(N, C, P)`` after `Last`, else ``(T, N, C, P)``
            in the network's layout, 0 past the end of a sequence.  Of outputs that are Ragged ``(rows, C, P)``, row by row
            as in their ``data``.  It takes as many numbers as outputs times parameters, and lies where `flat` does.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, TypeError, ValueError
            Named after the argument that is not as described.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> from scipy.optimize import least_squares
        >>> net = nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> def residuals(flat):
        ...     net.params.flat[:] = flat
        ...     return (net.predict(x) - y).ravel()
        >>> def jacobian(flat):
        ...     return net.jacobian(flat, x).reshape(y.size, -1)
        >>> jacobian(net.params.flat).shape
        (36, 22)
        >>> found = least_squares(residuals, net.params.flat, jacobian, method="lm", max_nfev=100)
        >>> bool(found.cost < 1e-3)
        True
        """
        (given, home), x = self._parameters_at(flat), self._read("x", x)
        batch, described = self._described(x, lengths, reset)
        strengths = None
        if feedback is not None:
            self._check_feedback(feedback)
            strengths = feedback._strengths_of(described, self.output_channels)
        parts = self.split(given.flat)
        output, tapes, fed = passed(self, parts, described, strengths)
        letters = self._letters(batch)

        def give(moved):
            if output.packing.uniform:
                return in_layout(moved.array, letters)
            padded = batch.give(moved)
            return padded.data if isinstance(padded, Ragged) else padded

        uniform = output.packing.uniform and described.packing.uniform
        if uniform and not self.takes_indices and fed is None:
            found = self._jacobian_of_rows(given, described, output)
            if found is not None:
                return brought(laid_out(found, letters), home)
        widest = max(self.output_channels, *self._inputs)
        jacobian = backend(self.device).memory.zeros((*give(output).shape, len(given)), self.dtype)

        def moved(index, directions):
            ways = [Tangents(len(directions)) for _ in tapes]
            ways[index].parameters = directions
            begin = index if fed is None else 0  # where outputs are fed back, the inputs of all layers move
            return (map(give, moved_by(ways[begin:], tapes[begin:], fed) or ()),)

        fill_by_tangents([jacobian], parts, tapes[0].x.packing.rows * widest, self.device, moved)
        return brought(jacobian, home)

    def _jacobian_of_rows(self, given, described, output):
        """(T, N, C, P) by backward: of a batch that has each sequence again for every output of one, each row its gradient.

        None where the tangents of all parameters are fewer, or a layer cannot tell rows apart.
        """
        steps, batch, channels = numbers(output).shape
        outputs, rows = steps * channels, described.packing.rows
        causal = self._goes_on and steps > 1  # then nothing comes back from behind an output's step
        together = max(1, min(outputs, ROWS // rows))
        if outputs > (CAUSAL if causal else 1) * len(given) or together * batch < 2:
            return None
        parts = self.split(given.flat)
        jacobian = backend(self.device).memory.empty((outputs, batch, len(given)), self.dtype)
        source, made, grain = numbers(described), None, -(-steps // LENGTHS) if causal else steps
        for first in range(0, outputs, together):
            count = min(together, outputs - first)
            length = -(-((first + count - 1) // channels + 1) // grain) * grain if causal else len(source)
            if made != (count, length):
                made, copies = (count, length), TensorDescriptor.of_tnc(repeated(source[:length], count))
                copied, tapes = self._forward(parts, copies, ALL)
                if count * batch < 2 or not all(tape.operation.separable() for tape in tapes):
                    return None
            dy = ones_at(copied, [(k, *divmod(first + k, channels)) for k in range(count)], batch)
            rows = jacobian[first : first + count].reshape(count * batch, -1)
            go_back(tapes, dy, parts, columns_of(rows, parts))
        return jacobian.reshape(steps, channels, batch, -1).swapaxes(1, 2)

    def sample_gradients(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> np.ndarray:
        """The gradient of each sample's loss by itself, at the parameters `flat`: ``(N, P)``.

        Row n is what `loss_and_gradient` gives for sample n alone: the loss is the mean over that sample.  The network's own
        parameters stay as they are.  Samples go back through time together, whatever their lengths, and their products are
        summed apart, each in the order in which it would be alone: the gradients have the same bits as long as the sums of a
        sample's weights are exact.  A loss of your own is called once for each sample.  Each sample takes a pass of its own
        if samples start afresh, if outputs are fed back, or if a layer constrains its weights; on a GPU also if a layer has
        values of units, a learned state or a table, or if the loss is your own.  On a GPU products by cuBLAS depend on the
        batch in their last bits, see `numbarnn.cuda.use_cublas`.

        Parameters
        ----------
        flat, x, y, loss, lengths, weights, reset, feedback
            As in `loss_and_gradient`.

        Returns
        -------
        numpy.ndarray
            (N, P), new, where `flat` lies.  Of a sample in which nothing counts, as its weights are 0, it is 0.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, TypeError, ValueError
            Named after the argument that is not as described.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> found = net.sample_gradients(net.params.flat, x, y)
        >>> found.shape
        (36, 58)
        >>> np.allclose(found.mean(axis=0), net.loss_and_gradient(net.params.flat, x, y)[1])
        True
        """
        given = {"x": x, "y": y, "lengths": lengths, "weights": weights, "reset": reset, "feedback": feedback}
        return self._gradients_of_samples(flat, loss, given)

    def _passing(self, *work):
        """The `Passing` of parameters, samples and a loss."""
        return Passing(self, *work)

    def _workspace(self, into, parts):
        """The Workspace that computes a gradient from parameters."""
        return Workspace(self, into, parts)

    def _counts(self, samples, loss):
        """Whether a loss sees anything of samples."""
        return samples.seen

    def _is_apart(self, samples, loss):
        """Whether the loss of samples is a mean of their own, and each may have a gradient of its own."""
        return samples.feedback is None and (self.device == "cpu" or is_mean_of_samples(loss))
