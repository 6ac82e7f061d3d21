"""The loss of a network on samples, its metrics, and its gradient for a vector of parameters."""

import functools
from collections.abc import Callable, Iterable

import numpy as np

from ..arrays.devices import contiguous, moved
from ..arrays.ragged import Ragged
from ..layers.embedding import Embedding
from ..layers.feedback import Feedback
from ..training.losses import compared
from ..training.losses import loss as find_loss
from ..training.metrics import checked_metrics
from ..training.ragged_workspace import RaggedWorkspace
from ..training.samples import Samples
from ..training.workspace import Workspace, Workspaces
from .comparison import Comparison, in_time
from .prediction import Prediction


class Objective(Prediction, Comparison):
    """The part of a network that knows what its predictions should be."""

    def _samples(self, x, y, lengths=None, loss=None, weights=None, reset=None, feedback=None):
        """The Samples of what a caller gives, to train with a loss or to measure it."""
        return Samples.of(self, x, y, lengths, loss, weights, reset, feedback)

    def _found_loss(self, loss):
        """The loss that a caller gives, or that has this name."""
        return find_loss(loss)

    def _compared_loss(self, loss):
        """A description of a loss, by which ranks see whether theirs are the same."""
        return compared(loss)

    def _loss_where(self, counted, loss):
        """The loss of a batch in which something is counted, or nothing is."""
        return loss if counted else of_nothing

    @property
    def _fed_channels(self):
        """The numbers of channels that an output which is fed back may have."""
        return [self.output_channels]

    def _check_carried(self):
        """Raise ValueError unless states may be carried between layers such as these, which are in a row: always."""

    def _found_metrics(self, metrics, samples):
        """{name: metric} of what a caller gives, see `checked_metrics`."""
        return checked_metrics(metrics, samples)

    def _workspaces(self, into, parts, kept, reading=None):
        """The Workspaces in which gradients are computed; see `Workspace`."""
        following = None
        if self.device == "cpu" and kept == ("all", None):
            following = functools.partial(RaggedWorkspace, self, into, parts, reading)
        return Workspaces(lambda: Workspace(self, into, parts, *kept, reading), following)

    @property
    def _tables(self):
        """The indices of the layers whose tables a training updates by the rows that are used."""
        return [index for index, layer in enumerate(self.layers) if isinstance(layer, Embedding)]

    def loss(
        self,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> float:
        """The loss of the network on samples and their targets, a float; all as in `fit`, see `numbarnn.loss` for names.

        With sequences of different lengths it is the mean over the steps that there are, and with weights the weighted mean:
        0 where all weights are 0.  A NaN or an infinity in x or y is in the loss as well, unless the loss leaves it out.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(4), nr.Dense(1)], channels=2, dtype="float64", seed=0)
        >>> x, y = np.ones((6, 3, 2)), np.zeros((6, 3, 1))
        >>> np.allclose(net.loss(x, y), (net.predict(x) ** 2).mean())
        True
        """
        loss = find_loss(loss)
        return self._loss_of(Samples.of(self, x, y, lengths, loss, weights, reset, feedback), loss)

    def _loss_of(self, samples, loss, metrics=None, kept=None):
        """`loss` of samples that have been checked, a function; with metrics, see `measured`, (loss, {name: value}).

        kept: a list that gains what the loss has seen (is modified), for `_measured_together`.
        """
        self.params.check_finite()
        pieces, most = [], self._rows_at_once
        for piece in samples.pieces(most):
            parts, carried = [], dict
            for part in in_time(self, piece, most):
                batch, described = part.batch()
                prediction, carried = self._go_on(described, carried(), strengths=part.strength_rows(batch))
                if part.in_rows and not (prediction.packing.rows or part is samples):
                    continue  # sequences without any step
                rows = self._rows(prediction, part)
                rows = contiguous(rows) if part.in_rows else rows
                parts.append((rows, self._target_rows(batch, prediction, part), self._weight_rows(batch, part)))
            if parts:
                pieces.append(self._joined(parts, samples, "t"))
        seen = self._joined(pieces, samples)
        value = self._call_loss(loss, *seen, samples)[0]
        if kept is not None:
            kept.append(seen)
        return value if metrics is None else (value, self._measured(metrics, seen, samples))

    def _measured_together(self, metrics, kept, samples):
        """{name: value} of metrics of several samples, like some that are given; kept: what `_loss_of` has kept of each."""
        return self._measured(metrics, self._joined(kept, samples), samples)

    def evaluate(
        self,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        loss: str | Callable = "mse",
        metrics: Iterable = (),
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> dict[str, float]:
        """The loss and the metrics of the network on samples and their targets, by name, from one prediction.

        Parameters
        ----------
        x, y : array, list, DataFrame or Ragged
            As in `fit`.
        loss : str or callable
        metrics : sequence of str or callable, or dict
            As in `fit`.
        lengths : array of int, optional
            (N,): the steps of each sample in a padded x.
        weights : array or Ragged, optional
            As in `fit`, for the loss and the metrics.
        reset : array of bool, optional
            As in `fit`.
        feedback : Feedback, optional
            As in `fit`.

        Returns
        -------
        dict of str to float
            ``"loss"``, and each metric.

        Raises
        ------
        ValueError
            If no label counts for a metric of labels: all are ignored, or weigh nothing.  The loss is then 0.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(2)], channels=1, seed=0)
        >>> x, y = np.ones((5, 6, 1), np.float32), np.array([0, 1, 0, 1, 0, 1])
        >>> found = net.evaluate(x, y, loss="cross_entropy", metrics=["accuracy"])
        >>> list(found), found["accuracy"]
        (['loss', 'accuracy'], 0.5)
        """
        loss = find_loss(loss)
        samples = Samples.of(self, x, y, lengths, loss, weights, reset, feedback)
        value, found = self._loss_of(samples, loss, checked_metrics(metrics, samples))
        return {"loss": value} | found

    def loss_and_gradient(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> tuple[float, np.ndarray]:
        """The loss and its gradient at the parameters `flat`: what ``scipy.optimize.minimize(jac=True)`` takes.

        The network's own parameters stay as they are.

        Parameters
        ----------
        flat : numpy.ndarray
            1-D, as long as ``params.flat`` and of the network's dtype.
        x, y : array, list, DataFrame or Ragged
            Samples and targets, as in `fit`.
        loss : str or callable
        lengths : array of int, optional
            (N,): the steps of each sample in a padded x.
        weights : array or Ragged, optional
            As in `fit`.  Where nothing counts, as with weights of 0, loss and gradient are exactly 0.
        reset : array of bool, optional
            As in `fit`.
        feedback : Feedback, optional
            As in `fit`.

        Returns
        -------
        loss : float
        gradient : numpy.ndarray
            1-D, new.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> from scipy.optimize import minimize
        >>> net = nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64")
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> found = minimize(net.loss_and_gradient, net.params.flat, args=(x, y), jac=True, method="L-BFGS-B")
        >>> net.params.flat[:] = found.x
        >>> net.loss(x, y) < 1e-3
        True
        """
        (given, device), loss = self._parameters_at(flat), find_loss(loss)
        samples = Samples.of(self, x, y, lengths, loss, weights, reset, feedback)
        value, gradient = self._gradient_at(given, samples, loss)
        return value, moved(gradient, device)


def of_nothing(prediction, target, weights=None):
    """The loss of a batch in which nothing counts: all weights are 0, all labels ignored, all targets missing."""
    return 0.0, np.zeros_like(prediction)
