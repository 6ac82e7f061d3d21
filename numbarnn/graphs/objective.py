"""The loss of a graph on samples, its metrics, and its gradient for a vector of parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..arrays.devices import contiguous, moved
from ..arrays.ragged import Ragged
from ..engine.keep import NOTHING
from ..layers.embedding import Embedding
from ..networks.comparison import Comparison, in_time
from ..networks.placing import placed_on
from ..training.losses import compared
from .feeding import FedPassage
from .losses import Losses, found_metrics
from .passage import Passage
from .prediction import Prediction
from .reading import by_name
from .samples import GraphSamples
from .workspace import GraphWorkspace, GraphWorkspaces


@dataclass(frozen=True)
class Output(Comparison):
    """An output of a graph, as a loss sees it."""

    dtype: np.dtype
    output_channels: int
    output_layout: str
    device: str

    def _here(self, argument, array):
        """An array of targets on the graph's device."""
        return placed_on(self.device, argument, array)


class Objective(Prediction):
    """The part of a graph that knows what its outputs should be."""

    _piece_rows = 1 << 15  # steps of all sequences that are predicted at once at most, to measure a loss

    def _view(self, output):
        """An Output by its name."""
        return Output(self.dtype, self._channels(output), self._letters(output), self.device)

    def _found_loss(self, loss):
        """The Losses that a caller gives."""
        return Losses.of(loss, self._outputs)

    def _compared_loss(self, losses):
        """A description of Losses, by which ranks see whether theirs are the same."""
        return {output: (compared(loss), weight) for output, loss, weight in losses.parts}

    def _loss_where(self, counted, losses):
        """The Losses of a batch in which something is counted, or nothing is: they look by themselves, by output."""
        return losses

    @property
    def _goes_on(self):
        """Whether it can be run over sequences in pieces, the states carried on."""
        steps = [row.state for row in self._rows.values() if row.state is not None and self._has_steps(row.state)]
        return not steps and super()._goes_on

    @property
    def _fed_channels(self):
        """The numbers of channels that an output which is fed back may have."""
        return sorted({self._channels(name) for name in self._outputs})

    def _check_carried(self):
        """Raise ValueError unless states may be carried between the nodes, none of which waits for the end of another."""
        for name, row in self._rows.items():
            if row.state is not None and self._has_steps(row.state):
                what = f"node {name!r}, which starts from where {row.state!r} has ended"
                raise ValueError(f"carry: expected False for {what}, got True")

    def _found_metrics(self, metrics, samples):
        """{name: OutputMetric} of what a caller gives."""
        return found_metrics(metrics, self._outputs, None if samples is None else samples.parts)

    def _samples(self, inputs, targets, lengths=None, loss=None, weights=None, reset=None, feedback=None):
        """The GraphSamples of what a caller gives, to train with a loss or to measure it."""
        losses = self._found_loss("mse" if loss is None else loss)
        targets = by_name("targets", targets, losses.outputs, "targets", whole=True)
        if weights is None:
            weights = {}
        elif isinstance(weights, Mapping):
            weights = by_name("weights", weights, losses.outputs, "weights")
        else:
            weights = dict.fromkeys(losses.outputs, weights)
        return GraphSamples.of(self, inputs, targets, lengths, losses, weights, reset, feedback)

    @property
    def _tables(self):
        """The indices of the layers whose tables a training updates by the rows that are used."""
        return [index for index, layer in enumerate(self.layers) if isinstance(layer, Embedding)]

    def _workspaces(self, into, parts, kept, reading=None):
        """The Workspaces in which gradients are computed; see `GraphWorkspace`."""
        return GraphWorkspaces(lambda: GraphWorkspace(self, into, parts, kept, reading))

    def loss(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        targets: dict[str, np.ndarray | Ragged],
        loss: str | Callable | dict = "mse",
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        weights: dict[str, np.ndarray | Ragged] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        feedback: dict | None = None,
    ) -> float:
        """The loss of the graph on samples and their targets, a float; all as in `fit`.

        It is the sum over the outputs of their losses, each the mean over all that is observed of the output, times its
        weight.
        """
        losses = self._found_loss(loss)
        return self._loss_of(self._samples(inputs, targets, lengths, losses, weights, reset, feedback), losses)

    def evaluate(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        targets: dict[str, np.ndarray | Ragged],
        loss: str | Callable | dict = "mse",
        metrics: dict | None = None,
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        weights: dict[str, np.ndarray | Ragged] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        feedback: dict | None = None,
    ) -> dict[str, float]:
        """The loss of the graph, the losses of its outputs, and metrics of the outputs, by name, from one prediction.

        Parameters
        ----------
        inputs, targets, loss, lengths, weights, reset, feedback
            As in `fit`.
        metrics : dict of str to sequence, optional
            As in `fit`.

        Returns
        -------
        dict of str to float
            ``"loss"``; of each output its own, such as ``"y_loss"``; and each metric, such as ``"class_accuracy"``.
        """
        losses = self._found_loss(loss)
        samples = self._samples(inputs, targets, lengths, losses, weights, reset, feedback)
        found = self._found_metrics({} if metrics is None else metrics, samples)
        own = {}
        value, measures = self._loss_of(samples, losses, found, own)
        return {"loss": value} | own | measures

    def _loss_of(self, samples, loss, metrics=None, own=None, kept=None):
        """`loss` of checked samples; with metrics (loss, {name: value}).

        own: gains the loss of each output, by name (is modified).  kept: gains what the losses have seen, likewise, for
        `_measured_together`.
        """
        self.params.check_finite()
        seen, total = self._predicted(samples), 0.0
        if kept is not None:
            kept.append(seen)
        for output, own_loss, weight in loss.parts:
            part, view = samples.parts[output], self._view(output)
            value = 0.0 if output in samples.empty else view._call_loss(own_loss, *seen[output], part)[0]
            if own is not None:
                own[f"{output}_loss"] = value
            total += weight * value
        return total if metrics is None else (total, self._measured_together(metrics, [seen], samples))

    def _measured_together(self, metrics, kept, samples):
        """{name: value} of metrics of several samples, like some that are given; kept: what `_loss_of` has kept of each."""
        found = {}
        for name, each in metrics.items():
            pieces = [seen[each.output] for seen in kept if seen[each.output] is not None]
            if not pieces:
                raise ValueError(f"metrics: expected at least one target of {each.output!r} to measure, got none")
            view, part = self._view(each.output), samples.parts[each.output]
            found |= view._measured({name: each.metric}, view._joined(pieces, part), part)
        return found

    def _predicted(self, samples):
        """{output: (prediction, targets, weights)} as losses see them; None of one that has no step."""
        found = {output: [] for output in samples.parts}
        for piece in samples.pieces(self._piece_rows):
            of_piece, states = {output: [] for output in samples.parts}, None
            in_pieces = in_time(self, piece, self._piece_rows) if samples.feedback is None else (piece,)
            for part in in_pieces:
                states = self._compared(part, states, of_piece)
            for output, parts in of_piece.items():
                if parts:
                    found[output].append(Comparison._joined(parts, samples.parts[output], "t"))
        return {
            output: Comparison._joined(pieces, samples.parts[output]) if pieces else None for output, pieces in found.items()
        }

    def _compared(self, samples, initial, found):
        """Predict samples from the states of layers, and add what losses see of each output to `found` (is modified).

        Returns the states in which the layers have ended.
        """
        given = samples.given()
        if samples.feedback is None:
            passage = Passage(self, self._own, given.described, NOTHING, initial=initial)
        else:
            fed = FedPassage(self, self._own, given, samples.feedback, NOTHING, initial=initial)
            fed.fill(samples.strength_rows(given.batches))
            passage = fed.passage
        for output, part in samples.parts.items():
            described, view = passage.values[output], self._view(output)
            if part.in_rows and not described.packing.rows:
                continue  # sequences without any step
            batch = samples.batch_of(output, given.batches)
            rows = view._rows(described, part)
            rows = contiguous(rows) if part.in_rows else rows
            found[output].append((rows, view._target_rows(batch, described, part), view._weight_rows(batch, part)))
        return {label: passage.tapes[label].final() for label in self._stateful}

    def loss_and_gradient(
        self,
        flat: np.ndarray,
        inputs: dict[str, np.ndarray | Ragged],
        targets: dict[str, np.ndarray | Ragged],
        loss: str | Callable | dict = "mse",
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        weights: dict[str, np.ndarray | Ragged] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        feedback: dict | None = None,
    ) -> tuple[float, np.ndarray]:
        """The loss and its gradient at the parameters `flat`: what ``scipy.optimize.minimize(jac=True)`` takes.

        The graph's own parameters stay as they are.

        Parameters
        ----------
        flat : numpy.ndarray
            1-D, as long as ``params.flat`` and of the graph's dtype.
        inputs, targets, loss, lengths, weights, reset, feedback
            As in `fit`.

        Returns
        -------
        loss : float
        gradient : numpy.ndarray
            1-D, new.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"h": nr.Node(nr.RNN(3), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
        >>> net = nr.Graph({"x": 1}, nodes, ["y"], dtype="float64", seed=0)
        >>> x = np.sin(np.arange(40.0)).reshape(20, 2, 1)
        >>> value, gradient = net.loss_and_gradient(net.params.flat, {"x": x[:-1]}, {"y": x[1:]})
        >>> value == net.loss({"x": x[:-1]}, {"y": x[1:]}), gradient.shape == net.params.flat.shape
        (True, True)
        """
        (given, device), losses = self._parameters_at(flat), self._found_loss(loss)
        samples = self._samples(inputs, targets, lengths, losses, weights, reset, feedback)
        value, gradient = self._gradient_at(given, samples, losses)
        return value, moved(gradient, device)
