"""Inputs and targets of a graph, checked to belong together, and batches of them."""

import functools
from dataclasses import dataclass, replace

import numpy as np

from ..arrays.batch import Batch
from ..arrays.descriptor import TensorDescriptor, address_of
from ..arrays.packing import checked_lengths, checked_reset
from ..arrays.rows import numbers
from ..errors import NonFiniteError, ShapeError, renamed
from ..training.samples import Samples
from ..training.sequences import Sequences
from ..training.targets import with_targets, with_weights
from .feeding import Feeding
from .losses import Losses


@dataclass(frozen=True)
class GraphSamples:
    """Inputs and targets by name.

    Attributes
    ----------
    graph : Reading
    inputs : dict of str to Sequences
    lengths, resets : dict of str to numpy.ndarray
        (N,): the steps of each sample in a padded input, and (T, N) of bool: where samples start afresh; of those inputs
        for which they are given.
    parts : dict of str to Samples
        By output its targets; their x is the input from which it has its steps, or any where it has none.
    owner : dict of str to str
        By output the name of that input.
    empty : frozenset of str
        The outputs of which no target counts.
    feedback : Feeding or None
        Which output is fed back.
    strengths : Sequences or None
        Its strengths of forcing for these samples, laid out like the input, with as many channels as the output has.
    """

    graph: object
    inputs: dict
    lengths: dict
    resets: dict
    parts: dict
    owner: dict
    empty: frozenset = frozenset()
    feedback: Feeding | None = None
    strengths: Sequences | None = None

    @classmethod
    def of(cls, graph, inputs, targets, lengths, losses: Losses, weights, reset=None, feedback=None):
        """Samples of a graph; raises a typed error that names the argument that does not fit.

        targets and weights: by the names of the outputs that have a loss.
        """
        feeding = None if feedback is None else Feeding.of(graph, feedback)
        given = graph._given(inputs, lengths, reset)
        own_lengths, resets = (
            {
                name: checked(each, given.sequences, given.batches[name].steps)
                for name, each in graph._by_input(argument, value).items()
            }
            for argument, value, checked in (("lengths", lengths, checked_lengths), ("reset", reset, checked_reset))
        )
        sequences = {}
        for name, array in given.arrays.items():
            batch = given.batches[name]
            if not batch.steps and not batch.ragged:
                raise ShapeError(f"inputs[{name!r}]: expected at least one step to take the loss of, got {array.shape}")
            letters = graph._letters(name) if batch.ragged else graph._input_letters(name, array)
            sequences[name] = Sequences(array, letters, letters)
        parts, owner = {}, {}
        for output, loss, _ in losses.parts:
            view, axis = graph._view(output), graph._axis(output, graph._rows)
            owner[output] = name = axis or next(iter(sequences))
            indices = graph._described_inputs[name].channels is None
            x, letters = sequences[name], graph._letters(name)
            part = Samples(
                x, None, own_lengths.get(axis), letters, indices, loss=loss, device=graph.device, reset=resets.get(axis)
            )  # fmt: skip
            batch, output_letters = given.batches[name], view.output_layout
            with renamed(y=f"targets[{output!r}]", weights=f"weights[{output!r}]", loss=f"loss[{output!r}]"):
                part = with_targets(part, view, targets[output], output_letters, output_letters, loss, batch)
                if weights.get(output) is not None:
                    part = with_weights(part, weights[output], output_letters, output_letters, graph.dtype, batch)
                if part.classes is not None:
                    part.labels(batch)
            parts[output] = part
        samples = cls(graph, sequences, own_lengths, resets, parts, owner)
        samples = samples if feeding is None else samples.with_feedback(feeding)
        return replace(samples, empty=samples._empty(np.arange(given.sequences)))

    def with_feedback(self, feeding):
        """The samples with the strengths at which an input is forced."""
        given, x = self.given(), self.inputs[feeding.input]
        rows = feeding.strengths(described := given.described[feeding.input])
        array = given.batches[feeding.input].give(TensorDescriptor.compact(rows, address_of(rows), described.packing))
        return replace(self, feedback=feeding, strengths=Sequences(array, x.letters, x.given))

    def strength_rows(self, batches):
        """The strengths as the layers see them, for the Batch of each input."""
        feeding, dtype = self.feedback, self.strengths.numbers.dtype
        return numbers(batches[feeding.input].describe("feedback", self.strengths.array, feeding.channels, dtype))

    @property
    def x(self):
        """Some input: all have as many samples."""
        return next(iter(self.inputs.values()))

    @property
    def reset(self):
        """By input where samples start afresh; None if none does."""
        return self.resets or None

    @property
    def ragged(self):
        """Whether lengths differ from sample to sample, or samples start afresh in between."""
        return bool(self.lengths or self.resets) or any(each.ragged for each in self.inputs.values())

    @functools.cached_property
    def counts(self):
        """What each sample counts in a mean over samples: (N,), float64.

        With one loss what it counts in that; with several 1, or 0 where nothing counts in any of them.
        """
        each = [part.counts for part in self.parts.values()]
        return each[0] if len(each) == 1 else np.any([counts > 0 for counts in each], axis=0).astype(np.float64)

    @property
    def stepped(self):
        """Whether an output has a target for each step."""
        return any(part.y.stepped for part in self.parts.values())

    @property
    def weights(self):
        """Weights of some output; None if none has any."""
        return next((part.weights for part in self.parts.values() if part.weights is not None), None)

    @property
    def seen(self):
        """Whether the losses see anything of them."""
        return self.x.count > 0

    def check_shared(self, cut):
        """Raise ValueError unless the mean over all samples is a mean of the means over parts of them.

        Of several losses each is a mean of its own; where samples count as much in one as in another all means are over
        samples.  cut: whether the parts are pieces: then each step must count the same.
        """
        if len(self.parts) == 1 or not self.x.count:
            return
        for output, part in self.parts.items():
            if (part.counts != part.counts[0]).any() or (cut and part.weighed):
                expected = "one output, or samples that count the same in each, together with comm or shards"
                found = f"several, of which in {output!r} some {'steps' if cut else 'samples'} count more than others"
                raise ValueError(f"loss: expected {expected}, got {found}")

    @functools.cached_property
    def uncut(self):
        """In words what cannot be cut at a step; empty if all inputs with steps have the same, and all targets have some."""
        stepped = [name for name, each in self.inputs.items() if each.stepped]
        for name in stepped[1:]:
            if not np.array_equal(self.lengths_of_inputs[name], self.lengths_of_inputs[stepped[0]]):
                return f"inputs of different steps, {stepped[0]!r} and {name!r}"
        for output, part in self.parts.items():
            if not part.y.stepped:
                return f"targets without steps for output {output!r}"
        return ""

    @functools.cached_property
    def lengths_of_x(self):
        """(N,): the steps of each sample, the same in all inputs with steps, see `uncut`."""
        return next(each for name, each in self.lengths_of_inputs.items() if self.inputs[name].stepped)

    def _empty(self, chosen, span=None):
        """The outputs of which no target of some samples counts; span: (begin, end) of the steps that are meant, not all."""
        if span is None:
            return frozenset(output for output, part in self.parts.items() if not part.counts[chosen].any())
        return frozenset(output for output, part in self.parts.items() if not part.count_between(chosen, *span))

    def count_between(self, chosen, begin, end):
        """What the loss of the steps of some samples from one to another counts in a mean over steps.

        With one loss what they count in that; with several the steps, or 0 where nothing counts in any of them.
        """
        each = [part.count_between(chosen, begin, end) for part in self.parts.values()]
        if len(each) == 1 or not any(each):
            return each[0]
        return float(np.clip(self.lengths_of_x[chosen], begin, end).sum() - begin * len(chosen))

    def check_counted(self, empty=False):
        """Raise ValueError unless there is something to take the loss of each output of."""
        for output, part in self.parts.items():
            with self._named(output):
                part.check_counted(empty)

    def check_finite(self):
        """Raise NonFiniteError, with its place, of the first NaN or infinity in an input that is not behind a length."""
        for name, each in self.inputs.items():
            if self.feedback is not None and name == self.feedback.input:
                continue  # what is read of it was looked at when its strengths were made
            place, number = each.not_finite(self.lengths.get(name))
            if place:
                raise NonFiniteError(f"inputs[{name!r}]: expected finite numbers, got {number} at {place}")

    def check_spans(self):
        """Raise ValueError, with its place, of the first negative span in an input that a node reads; see `Samples`."""
        for name, channels in self.graph._span_channels:
            self.inputs[name].check_spans(f"inputs[{name!r}]", channels, self.lengths.get(name))

    def check_targets(self):
        """Raise NonFiniteError or ValueError, with its place, of the first number that is read and is no target."""
        for output, part in self.parts.items():
            with self._named(output):
                part.check_targets()

    def _named(self, output):
        names = {"y": "targets", "weights": "weights", "class_weights": "loss"}
        lengths = {"lengths": f"lengths[{self.owner[output]!r}]"}
        return renamed(**{name: f"{argument}[{output!r}]" for name, argument in names.items()}, **lengths)

    def not_left_out(self):
        """(place, number) of the first target that a loss of one's own has perhaps not left out, as text; or ("", None)."""
        found = (part.not_left_out() for part in self.parts.values())
        return next((each for each in found if each[0]), ("", None))

    @functools.cached_property
    def lengths_of_inputs(self):
        """{name: (N,)}: the steps of each sample."""
        return {name: each.lengths if name not in self.lengths else self.lengths[name] for name, each in self.inputs.items()}

    @property
    def steps_of_samples(self):
        """[(N,)]: the steps of each sample in each input."""
        return [*self.lengths_of_inputs.values()]

    @property
    def input_bytes(self):
        """Bytes of all inputs."""
        return sum(each.numbers.nbytes for each in self.inputs.values())

    @functools.cached_property
    def kind(self):
        """What samples have in common that can lie in the same memory, if they have as many steps."""
        inputs = tuple((each.letters, each.ragged, each.numbers.dtype) for each in self.inputs.values())
        fed = None if self.feedback is None else (self.feedback.input, self.feedback.output)
        return inputs, tuple((output, part.in_rows) for output, part in self.parts.items()), fed

    def take(self, chosen):
        """Some of the samples, copied."""
        lengths = {name: each[chosen] for name, each in self.lengths.items()}
        resets = {name: each[:, chosen] for name, each in self.resets.items()}
        taken = self._changed(lambda each: each.take(chosen), lengths, resets)
        return replace(taken, empty=self._empty(chosen))

    def between(self, chosen, begin, end):
        """Some of the samples, copied, and of them the steps from one to another, or to where they end; see `Samples`."""
        lengths = self.lengths_of_x[chosen]
        begin, end = np.minimum(begin, lengths), np.minimum(end, lengths)
        own = dict.fromkeys(self.lengths, end - begin)
        cut = self._changed(lambda each: each.between(chosen, begin, end), own, {})
        return replace(cut, empty=cut._empty(slice(None)))

    def after(self, begin):
        """The steps of all samples from some on, (N,), copied."""
        end = self.lengths_of_x
        part = self.between(np.arange(self.x.count), begin, end)
        if self.feedback is None:
            return part
        return part.with_feedback(replace(self.feedback, feedback=self.feedback.feedback._between(begin, end)))

    def _changed(self, change, lengths, resets):
        """The samples, each of their Sequences changed by a function."""
        inputs, parts = {name: change(each) for name, each in self.inputs.items()}, {}
        for output, part in self.parts.items():
            name = self.owner[output]
            own = {what: getattr(part, what) for what in ("y", "weights")}
            own = {what: None if each is None else change(each) for what, each in own.items()}
            if part.y.stepped:
                own |= {"lengths": lengths.get(name), "reset": resets.get(name)}
            parts[output] = replace(part, x=inputs[name], **own)
        strengths = None if self.strengths is None else change(self.strengths)
        return replace(self, inputs=inputs, lengths=lengths, resets=resets, parts=parts, strengths=strengths)

    def pieces(self, most_rows):
        """The samples in order, in pieces of at least one sample and of about `most_rows` steps in all."""
        rows = max(int(lengths.sum()) for lengths in self.lengths_of_inputs.values())
        count = min(-(-rows // most_rows), self.x.count)
        if count < 2:
            return iter((self,))
        return (self.take(chosen) for chosen in np.array_split(np.arange(self.x.count), count))  # one in memory at a time

    def given(self):
        """The Given of the inputs as they are."""
        return self.graph._of_arrays({name: each.array for name, each in self.inputs.items()}, self.lengths, self.resets)

    def batch_of(self, output, batches) -> Batch:
        """The Batch, among the Batches of the inputs, from which an output has its steps."""
        return batches[self.owner[output]]
