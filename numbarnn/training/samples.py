"""Samples and their targets, checked to belong together, and batches of them."""

import functools
from dataclasses import dataclass, fields, replace

import numpy as np

from ..arrays.batch import Batch
from ..arrays.descriptor import TensorDescriptor, address_of
from ..arrays.devices import moved
from ..arrays.indices import Indices, index_axes
from ..arrays.packing import Uniform, checked_lengths, checked_reset
from ..arrays.ragged import Ragged
from ..arrays.rows import numbers
from ..errors import NonFiniteError, ShapeError
from .losses import is_of_library
from .sequences import Sequences, placed
from .targets import with_targets, with_weights


@dataclass(frozen=True)
class Samples:
    """Inputs and targets in the layouts of a network.

    Attributes
    ----------
    x, y : Sequences
    lengths : numpy.ndarray or None
        (N,): the steps of each sample in a padded x.
    layout : str
        The letters of the network's input.
    indices : bool
        Whether x are integers, for an embedding.
    classes : int, inf or None
        Where y are labels, how many there are; of a function as the loss any integers are.
    loss : callable or None
        What y are the targets of.
    weights : Sequences or None
        A number for each sample, or for each step of each, in the host's memory, laid out like y with one channel.
    stepwise : bool
        Whether these are samples of equal length out of ragged ones, whose loss sees rows.
    reset : numpy.ndarray or None
        (T, N) of bool: where a sample starts afresh.
    feedback : Feedback or None
        What of an input is the output of the step before.
    strengths : Sequences or None
        Its strengths of forcing for these samples, laid out like x with as many channels as the output has.
    spans : slice or None
        Which channels of x are spans of time.
    there : cupy.ndarray or None
        Of a batch of labels what `labels` returns, on the GPU.
    """

    x: Sequences
    y: Sequences
    lengths: np.ndarray | None
    layout: str
    indices: bool = False
    classes: float | None = None
    loss: object = None
    weights: Sequences | None = None
    stepwise: bool = False
    device: str = "cpu"
    reset: np.ndarray | None = None
    feedback: object = None
    strengths: Sequences | None = None
    spans: slice | None = None
    there: object = None

    @classmethod
    def of(cls, network, x, y, lengths=None, loss=None, weights=None, reset=None, feedback=None):
        """Samples and targets of a network; raises a typed error that names the argument that does not fit.

        Both are converted here, once, see `conversion`.  One sequence, (T, C), becomes a batch of one; of a network that has
        nothing but layers that take each step by itself the rows (N, C) are as many samples of one step.
        """
        x = network._here("x", network._read("x", x))
        if feedback is not None:
            network._check_feedback(feedback)
        batch, _ = network._described(x, lengths, reset)
        letters, x_letters = network.output_layout, network.layout
        if network.takes_indices and not batch.ragged:
            x_letters = index_axes("x", x_letters, x)
        own, given = "", letters  # of x and y as the caller has them
        if not batch.ragged and "n" not in batch.layout:
            own, given = x_letters if network.takes_indices else batch.layout, given.replace("n", "")
            if network._stepwise and lengths is reset is feedback is None:
                own, given = (each.replace("t", "n") for each in (own, given))
            x_letters = network.layout.replace("c", "") if network.takes_indices else network.layout
            x = placed(x, own, x_letters)
            batch, _ = network._described(x, lengths, reset)
        for count, what in ((batch.sequences, "sample"), (batch.steps, "step")):
            if not count and not (what == "step" and isinstance(x, Ragged)):  # empty sequences have a last state
                raise ShapeError(f"x: expected at least one {what} to take the loss of, got {getattr(x, 'shape', x)}")
        if lengths is not None:
            lengths = checked_lengths(lengths, batch.sequences, batch.steps)
        if reset is not None:
            reset = checked_reset(reset, batch.sequences, batch.steps)
        x = Sequences(x, x_letters, own or x_letters)
        samples = cls(
            x, None, lengths, network.layout, network.takes_indices, loss=loss, device=network.device, reset=reset,
            spans=network.layers[0]._span_channels(network.channels),
        )  # fmt: skip
        if feedback is not None:
            samples = samples.with_feedback(feedback, network.output_channels)
        samples = with_targets(samples, network, y, letters, given, loss, batch)
        if weights is not None:
            samples = with_weights(samples, weights, letters, given, network.dtype, batch)
        if samples.classes is not None:
            samples.labels(batch)
        return samples

    def with_feedback(self, feedback, outputs):
        """The samples with the strengths at which their inputs are forced."""
        batch, described = self.batch()
        rows = feedback._strengths_of(described, outputs)
        array = batch.give(TensorDescriptor.compact(rows, address_of(rows), described.packing))
        strengths = Sequences(array, self.x.letters, self.x.given)
        return replace(self, feedback=feedback, strengths=strengths)

    @property
    def _fed_channels(self):
        """The number of channels that are fed back."""
        return self.strengths.numbers.shape[-1 if self.strengths.ragged else self.strengths.letters.index("c")]

    def strength_rows(self, batch):
        """The strengths as the layers see them of a Batch: (T, N, O), or a row for each step that there is; or None."""
        if self.strengths is None:
            return None
        dtype = self.strengths.numbers.dtype
        return numbers(batch.describe("feedback", self.strengths.array, self._fed_channels, dtype))

    @property
    def ragged(self):
        """Whether lengths differ from sample to sample, or samples start afresh in between."""
        return self.lengths is not None or self.reset is not None or self.x.ragged

    @property
    def stepped(self):
        """Whether there is a target for each step."""
        return self.y.stepped

    @property
    def seen(self):
        """Whether a loss sees anything of them: not of no samples, nor of targets of steps where there are none."""
        return self.x.count > 0 and (not self.stepped or bool(self.lengths_of_x.any()))

    def check_shared(self, cut):
        """Raise ValueError unless the mean over all samples is a mean of the means over parts of them: it always is.

        cut: whether the parts are pieces.
        """

    @property
    def uncut(self):
        """In words what cannot be cut at a step; empty if inputs and targets can."""
        return "" if self.y.stepped else "targets without steps"

    def can_be_followed(self):
        """Whether one program takes batches of them whose lengths differ."""
        return self.reset is None and self.feedback is None

    @property
    def in_rows(self):
        """Whether a loss sees (rows, channels), of the steps that there are, and not an array in the network's layout."""
        return self.classes is not None or self.stepwise or (self.ragged and self.y.stepped)

    @property
    def ignore_index(self):
        """A label that counts nothing, or None."""
        return None if self.classes in (None, np.inf) else self.loss.ignore_index

    @property
    def missing(self):
        """Whether targets that are NaN were not observed."""
        return is_of_library(self.loss) and self.classes is None and bool(self.loss.missing)

    @functools.cached_property
    def counts(self):
        """What the loss of each sample counts in a mean over samples: (N,), float64.

        The sum of its weights: for labels each is multiplied by the weight of the class; where some targets are missing it
        counts once for each that is there.  Without weights it is the number of labels where some are ignored, the number of
        steps where these differ, else 1.
        """
        if self.weighed:
            return self._counts_of_numbers() if self.classes is None else self._counts_of_labels()
        counts = self.lengths_of_x if self.ragged and self.y.stepped else np.ones(self.x.count)
        return counts.astype(np.float64)

    @property
    def weighed(self):
        """Whether some targets may count more than others."""
        if self.classes is None:
            return self.weights is not None or self.missing
        of_classes = getattr(self.loss, "class_weights", None) is not None and is_of_library(self.loss)
        return self.weights is not None or self.ignore_index is not None or of_classes

    def count_between(self, chosen, begin, end):
        """What the loss of the steps of some samples from one to another counts in a mean over steps, of stepped targets."""
        if self.weighed:
            return float(self.between(chosen, begin, end).counts.sum())
        return float(np.clip(self.lengths_of_x[chosen], begin, end).sum() - begin * len(chosen))

    def _counts_of_labels(self):
        batch = self.batch()[0]
        labels, weights = self.labels(batch), self.weight_rows(batch)
        counts = np.where(labels >= 0, 1.0 if weights is None else weights, 0.0)
        if is_of_library(self.loss):
            counts *= self.loss.label_weights(np.maximum(labels, 0))
        return np.bincount(batch.packing.places[1], counts, batch.sequences) if self.y.stepped else counts

    def _counts_of_numbers(self):
        like, own = self.y if self.weights is None else self.weights, None
        counts = np.ones(like.numbers.shape) if self.weights is None else like.numbers.astype(np.float64)
        if self.missing:
            counts = np.where(np.isnan(moved(self.y.numbers, "cpu")), 0.0, counts)
        if self.y.ragged:
            own = np.repeat(np.arange(self.x.count), self.y.array.lengths)
            return np.bincount(own, counts.sum(axis=1), self.x.count)
        letters = self.y.letters
        counts = counts.sum(axis=letters.index("c"))
        letters = letters.replace("c", "")
        if not self.y.stepped:
            return counts
        counts = counts.transpose([letters.index(letter) for letter in "nt"])
        if self.lengths is not None:
            counts = np.where(np.arange(counts.shape[1]) < self.lengths[:, None], counts, 0.0)
        return np.ascontiguousarray(counts).sum(axis=1)

    def check_counted(self, empty=False):
        """Raise ValueError unless there is anything to take the loss of.

        empty: whether nothing may count: all weights are 0, all labels ignored, all targets missing.
        """
        if self.y.stepped and not self.lengths_of_x.any():
            raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
        if empty or self.counts.any():
            return
        if self.weights is not None:
            raise ValueError("weights: expected a number > 0 for at least one target that is there, got none")
        if self.missing:
            raise ValueError("y: expected at least one target that is not NaN, got none: all are missing")
        if self.ignore_index is not None and (self.labels(self.batch()[0]) < 0).all():
            expected = f"at least one label besides ignore_index={self.ignore_index}"
            raise ValueError(f"y: expected {expected}, got none: all are ignored")
        raise ValueError("class_weights: expected a number > 0 for at least one of the labels in y, got none")

    def check_finite(self):
        """Raise NonFiniteError, with its place, of the first NaN or infinity in x that is not behind a length."""
        if self.feedback is not None:
            return  # what is read of it was looked at when its strengths were made
        place, number = self.x.not_finite(self.lengths)
        if place:
            raise NonFiniteError(f"x: expected finite numbers, got {number} at {place}")

    def check_spans(self):
        """Raise ValueError, with its place, of the first span that is negative and not behind a length."""
        if self.spans is not None:
            self.x.check_spans("x", self.spans, self.lengths)

    def not_left_out(self):
        """(place, number) of the first target that a loss of one's own has perhaps not left out, as text; or ("", None)."""
        return ("", None) if is_of_library(self.loss) else self.y.not_finite(self.lengths)

    def check_targets(self):
        """Raise NonFiniteError or ValueError, with its place, of the first number in y that is read and is no target.

        Of a loss of one's own it is not known what it makes of such numbers.
        """
        if not is_of_library(self.loss) or self.classes is not None:
            return
        if not self.loss.strict and not self.y.not_finite(self.lengths)[0]:
            return
        place, number = self.y.first(self.loss.refused, self.lengths, self.weights)
        if place:
            error = ValueError if np.isfinite(number) else NonFiniteError
            may_be_missing = np.isnan(number) and "missing" in {field.name for field in fields(self.loss)}
            hint = f"; {type(self.loss).__name__}(missing='nan') takes NaN for not observed" if may_be_missing else ""
            raise error(f"y: expected {self.loss.expected}, got {number} at {place}{hint}")

    @functools.cached_property
    def lengths_of_x(self):
        """(N,): the steps of each sample."""
        return self.x.lengths if self.lengths is None else self.lengths

    @property
    def steps_of_samples(self):
        """[(N,)]: the steps of each sample; of a graph those in each input."""
        return [self.lengths_of_x]

    @property
    def input_bytes(self):
        """Bytes of x."""
        return self.x.numbers.nbytes

    @functools.cached_property
    def kind(self):
        """What samples have in common that can lie in the same memory, if they have as many steps."""
        return self.x.letters, self.x.ragged, self.x.numbers.dtype, self.in_rows, self.feedback is not None

    def _parts(self):
        """{name: Sequences or None} of all that a sample has of each step."""
        return {name: getattr(self, name) for name in ("x", "y", "weights", "strengths")}

    def take(self, chosen):
        """Some of the samples, copied."""
        lengths = None if self.lengths is None else self.lengths[chosen]
        reset = None if self.reset is None else self.reset[:, chosen]
        parts = {name: None if part is None else part.take(chosen) for name, part in self._parts().items()}
        return replace(self, **parts, lengths=lengths, reset=reset)

    def between(self, chosen, begin, end):
        """Some of the samples, copied, and of them the steps from one to another, or to where they end.

        begin, end: an integer for all, or one for each.  None of the samples may start afresh in between.
        """
        lengths = self.lengths_of_x[chosen]
        begin, end = np.minimum(begin, lengths), np.minimum(end, lengths)
        parts = {name: None if part is None else part.between(chosen, begin, end) for name, part in self._parts().items()}
        return replace(self, **parts, lengths=None if self.lengths is None else end - begin)

    def after(self, begin):
        """The steps of all samples from some on, (N,), copied: samples that begin there, where a step is given."""
        end = self.lengths_of_x
        part = self.between(np.arange(self.x.count), begin, end)
        return part if self.feedback is None else part.with_feedback(self.feedback._between(begin, end), self._fed_channels)

    def pieces(self, most_rows):
        """The samples in order, in pieces of at least one sample and of about `most_rows` steps in all."""
        count = min(-(-int(self.lengths_of_x.sum()) // most_rows), self.x.count)
        if count < 2:
            return iter((self,))
        return (self.take(chosen) for chosen in np.array_split(np.arange(self.x.count), count))  # one in memory at a time

    def batch(self):
        """(Batch, descriptor of x)."""
        if not self.indices:
            return Batch.of(self.x.array, self.layout, self.lengths, self.reset)
        batch, described = Batch.of_indices(self.x.array, self.layout, self.lengths, self.reset)
        return replace(batch, device=self.device), described

    def labels(self, batch):
        """The labels of a Batch as a loss sees them, (rows,) of int64, -1 for those that are ignored or weigh nothing.

        A function as the loss sees its own integers, whatever they mean.
        """
        found = self._of_targets(batch).describe_indices("y", self.y.array)
        if self.classes == np.inf:
            return found.rows().astype(np.int64)
        weights = self.weight_rows(batch)
        return found.checked("y", "labels", self.classes, self.ignore_index, None if weights is None else weights > 0)

    @functools.cached_property
    def labels_there(self):
        """All labels on the GPU, (T, N), or (1, N) without steps; None for none, and where weights or lengths decide."""
        if self.device == "cpu" or self.classes in (None, np.inf) or self.weights is not None or self.ragged:
            return None
        batch = self._of_targets(self.batch()[0])
        return moved(self.labels(batch).reshape(-1, self.x.count), self.device)

    def _of_targets(self, batch):
        """A Batch as the targets see it: of one step where they have none."""
        return batch if self.y.stepped else Batch(1, self.x.count, Uniform(1, self.x.count), "n", batch.device)

    def sample_rows(self, batch):
        """(rows,): to which sample each row belongs that a loss sees of a Batch."""
        return self._of_targets(batch).packing.places[1]

    def weight_rows(self, batch):
        """The weights of the rows that a loss sees of a Batch, (rows,), in the host's memory; None if there are none."""
        if self.weights is None:
            return None
        weights = self.weights
        if weights.ragged:
            return Indices(batch.packing, weights.array.data[:, 0], batch.offsets).rows()
        array = np.take(weights.array, 0, weights.letters.index("c"))
        letters, packing = weights.letters.replace("c", ""), self._of_targets(batch).packing
        return Indices(packing, Indices.of(array, letters, "weights").array).rows()
