"""The derivative of every output of a network, and the gradient of every sample, at a vector of parameters."""

from collections.abc import Callable

import numpy as np

from ..arrays.descriptor import TensorDescriptor, in_layout
from ..arrays.devices import backend
from ..arrays.ragged import Ragged
from ..arrays.rows import like, numbers
from ..engine.keep import ALL
from ..layers.feedback import Feedback
from ..layers.tangents import Tangents
from ..parameters import Parameters
from ..training.losses import NashSutcliffe, is_of_library
from ..training.losses import loss as find_loss
from ..training.samples import Samples
from ..training.workspace import Workspace
from .derivatives import moved_by
from .objective import Objective
from .placing import brought

ROWS = 1 << 13  # steps of all sequences that outputs go back through together: what they keep stays in the L3 cache
LENGTHS = 16  # to which steps are cut at most, so that outputs do not go back from far behind them
CAUSAL = 1.5  # tangents of all steps in the time that an output's way back takes, from where it is on
TOGETHER = 64  # tangents at once: each loads the weights that all share
TANGENT_NUMBERS = 1 << 22  # numbers of a layer's rows that several tangents have at once, at most


class Jacobians(Objective):
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
        output, tapes, fed = self._passed(self.split(given.flat), described, strengths)
        letters = self._letters(batch)

        def give(moved):
            if output.packing.uniform:
                return in_layout(moved.array, letters)
            padded = batch.give(moved)
            return padded.data if isinstance(padded, Ragged) else padded

        uniform = output.packing.uniform and described.packing.uniform
        if uniform and not self.takes_indices and self.device == "cpu" and fed is None:
            found = self._jacobian_of_rows(given, described, output)
            if found is not None:
                return _laid_out(found, letters)
        jacobian, at = backend(self.device).memory.zeros((*give(output).shape, len(given)), self.dtype), 0
        for index, part in enumerate(self.split(given.flat)):
            for first, several in self._moved_by_parameters(tapes, fed, index, part):
                for m, moved in enumerate(several):
                    jacobian[..., at + first + m] = give(moved)
            at += len(part)
        return brought(jacobian, home)

    def _passed(self, parts, described, strengths=None):
        """(descriptor of the output, tapes, the Fed or None) of a forward; strengths: of a `Feedback`, None without one."""
        if strengths is None:
            return *self._forward(parts, described, ALL), None
        fed = self._fed(parts, described, ALL)
        fed.fill(described, strengths)
        return fed.outputs, fed.tapes, fed

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
        jacobian, parts = np.empty((outputs, batch, len(given)), self.dtype), self.split(given.flat)
        source, made, grain = numbers(described), None, -(-steps // LENGTHS) if causal else steps
        for first in range(0, outputs, together):
            count = min(together, outputs - first)
            length = -(-((first + count - 1) // channels + 1) // grain) * grain if causal else len(source)
            if made != (count, length):
                made, copies = (count, length), np.tile(source[:length], (1, count, 1))
                copied, tapes = self._forward(parts, TensorDescriptor.of_tnc(copies), ALL)
                if count * batch < 2 or not all(tape.operation.separable() for tape in tapes):
                    return None
            dy = like(copied)
            ways = numbers(dy)
            ways[...] = 0
            for k in range(count):
                step, channel = divmod(first + k, channels)
                ways[step, k * batch : (k + 1) * batch, channel] = 1
            self._rows_gone_back(tapes, dy, jacobian[first : first + count].reshape(count * batch, -1))
        return jacobian.reshape(steps, channels, batch, -1).swapaxes(1, 2)

    def _rows_gone_back(self, tapes, described, gradients):
        """Write the gradient of each row of a batch, (N, P) (is modified), from a descriptor of dL/dy."""
        end = gradients.shape[1]
        for index in reversed(range(len(tapes))):
            part = tapes[index].parameters
            begin = end - len(part)
            adjoint = tapes[index].adjoint(described, index > 0, part, False, rows=gradients[:, begin:end])
            adjoint.fill()
            described, end = adjoint.dx, begin

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
        parameters stay as they are.  Samples of equal length go back through time together, and their products are summed
        apart; others, layers whose parameters are no weights, and all on a GPU, take a call each.

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
        (given, home), loss = self._parameters_at(flat), find_loss(loss)
        samples = Samples.of(self, x, y, lengths, loss, weights, reset, feedback)
        count = samples.x.count
        found = backend(self.device).memory.zeros((count, len(given)), self.dtype)
        if not self._sample_gradients_together(given, samples, loss, found):
            for n in range(count):
                alone = samples.take(np.array([n]))
                if samples.lengths_of_x[n] or not samples.y.stepped:
                    Workspace(self, self.split(found[n]), self.split(given.flat)).gradient(alone, loss)
        return brought(found, home)

    def _sample_gradients_together(self, given, samples, loss, found):
        """Write the gradients of samples of equal length at once (`found` is modified); whether that could be done."""
        together = self.device == "cpu" and is_mean_of_samples(loss) and samples.feedback is None and not samples.ragged
        if not together or self.takes_indices or len(found) < 2:
            return False
        batch, described = samples.batch()
        output, tapes = self._forward(self.split(given.flat), described, ALL)
        if not all(tape.operation.separable() for tape in tapes):
            return False
        prediction = self._rows(output, samples).copy()
        compared = self._target_rows(batch, output, samples), self._weight_rows(batch, samples)
        dy = like(output)
        self._rows(dy, samples)[...] = self._call_loss(loss, prediction, *compared, samples)[1]
        numbers(dy)[...] *= samples_shares(samples, self.dtype)[:, None]
        self._rows_gone_back(tapes, dy, found)
        return True

    def _moved_by_parameters(self, tapes, fed, index, part):
        """(first, descriptors): the output's tangents by some of a layer's parameters at a time, one each, in order."""
        rows, widest = tapes[0].x.packing.rows, max(self.output_channels, *self._inputs)
        for first, parameters in unit_ways(part, rows * widest, self.device):
            ways = [Tangents(len(parameters)) for _ in tapes]
            ways[index].parameters = parameters
            begin = index if fed is None else 0  # where outputs are fed back, the inputs of all layers move
            moved = moved_by(ways[begin:], tapes[begin:], fed)
            if moved is not None:
                yield first, moved


def unit_ways(part, width, device):
    """(first, directions): those of some of a layer's Parameters at a time, one each, in order.

    width: numbers of a layer's rows that a tangent has at most.
    """
    together = max(1, min(TOGETHER, TANGENT_NUMBERS // max(1, width)))
    for first in range(0, len(part), together):
        count = min(together, len(part) - first)
        ways = np.zeros((count, len(part)), part.flat.dtype)
        ways[np.arange(count), first + np.arange(count)] = 1
        yield first, [Parameters(way, part.weights) for way in brought(ways, device)]


def samples_shares(samples, dtype):
    """(N,): what the derivative of a mean over samples is multiplied with to be the one of each sample's own; 0 of nothing.

    The mean loss is the sum of the samples' own, weighed by what each counts.
    """
    counts = samples.counts
    return np.divide(counts.sum(), counts, out=np.zeros_like(counts), where=counts > 0).astype(dtype)


def is_mean_of_samples(loss):
    """Whether a loss is a mean over samples of what it is of each."""
    return is_of_library(loss) and not isinstance(loss, NashSutcliffe)  # whose spread is of all samples


def _laid_out(jacobian, letters):
    """A Jacobian (T, N, C, P) with its first axes in the order of some letters; those that are left out are of length 1."""
    kept = [letter for letter in "tnc" if letter in letters]
    squeezed = jacobian.squeeze(tuple(i for i, letter in enumerate("tnc") if letter not in letters))
    return np.ascontiguousarray(squeezed.transpose([*map(kept.index, letters), len(kept)]))
