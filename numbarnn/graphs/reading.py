"""What a graph makes of the arrays that it is given by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..arrays.batch import Batch
from ..arrays.conversion import integers_like, numbers_like
from ..arrays.descriptor import in_layout
from ..arrays.devices import expect_device, share_memory
from ..arrays.indices import index_axes
from ..arrays.packing import same_runs
from ..arrays.ragged import Ragged
from ..errors import DTypeError, ShapeError, nearest, renamed
from ..networks.placing import brought, home_of
from .structure import Structure


@dataclass(frozen=True)
class Given:
    """The inputs of one call.

    Attributes
    ----------
    arrays : dict of str to numpy.ndarray or Ragged
        Converted to what the graph reads.
    batches : dict of str to Batch
        How they lie, and how many steps their sequences have.
    described : dict of str to TensorDescriptor or Indices
    sequences : int
        N.
    home : str
        The device on which the caller has the arrays, where what is returned goes.
    """

    arrays: dict
    batches: dict
    described: dict
    sequences: int
    home: str


def by_name(argument, value, names, expected, whole=False):
    """`value` as a dict, if its keys are among `names`, or are all of them if it is `whole`; else a typed error."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{argument}: expected {expected} in a dict by name, got {type(value).__name__}")
    for name in value:
        if name not in names:
            raise nearest(argument, name, names)
    missing = [name for name in names if name not in value] if whole else []
    if missing:
        raise ValueError(
            f"{argument}: expected {expected} for each of {', '.join(map(repr, names))}, got none for {missing[0]!r}"
        )
    return dict(value)


class Reading(Structure):
    """The part of a graph that describes its inputs, and gives its outputs."""

    def _arrays(self, inputs):
        """{name: array or Ragged} of the inputs, converted."""
        given = by_name("inputs", inputs, list(self._described_inputs), "an array", whole=True)
        return {name: self._converted(name, given[name]) for name in self._described_inputs}

    def _converted(self, name, value):
        """What the caller gave as an input, converted once to what the graph reads."""
        indices, argument = self._described_inputs[name].channels is None, f"inputs[{name!r}]"
        if not isinstance(value, Ragged):
            letters = self._letters(name)
            if indices:
                array = integers_like(argument, value, letters, letters.replace("c", ""))
            else:
                array = numbers_like(argument, value, self.dtype, letters)
            self._check_axes(argument, name, array, indices)
            return array
        if not self._described_inputs[name].steps:
            raise TypeError(f"{argument}: expected an array (N, C), since it has no steps, got a Ragged")
        if indices or value.dtype == self.dtype or value.dtype.kind in "iu":
            return value
        return Ragged(numbers_like(argument, value.data, self.dtype), value.offsets)

    def _check_axes(self, argument, name, array, indices):
        """Raise ShapeError unless an array has the axes of its input: a batch axis always is one of them."""
        letters = self._letters(name)
        counts = (len(letters) - 1, len(letters)) if indices else (len(letters),)
        if array.ndim not in counts:
            own = letters.replace("c", "") if indices else letters
            hint = "; one sequence is a batch of one" if array.ndim == len(own) - 1 else ""
            raise ShapeError(f"{argument}: expected {len(own)} axes ({own}), got {array.ndim} (shape {array.shape}){hint}")

    def _given(self, inputs, lengths=None, reset=None):
        """The Given of a call's arguments."""
        return self._of_arrays(self._arrays(inputs), self._by_input("lengths", lengths), self._by_input("reset", reset))

    def _by_input(self, argument, given):
        """{name: lengths, or where sequences start afresh} of those inputs with steps that have some."""
        stepped = [name for name, each in self._described_inputs.items() if each.steps]
        if given is None:
            return {}
        if not isinstance(given, Mapping) and len(stepped) == 1:
            return {stepped[0]: given}
        what = {"lengths": "lengths", "reset": "where sequences start afresh"}[argument]
        found = by_name(argument, given, stepped, f"{what}, of inputs with steps,")
        return {name: each for name, each in found.items() if each is not None}

    def _of_arrays(self, arrays, lengths, reset):
        """The Given of converted arrays, and of what is said of the steps of some."""
        batches, described, home = {}, {}, home_of(arrays)
        arrays = {name: self._here(f"inputs[{name!r}]", array) for name, array in arrays.items()}
        for name, array in arrays.items():
            own = {what: f"{what}[{name!r}]" for what in ("lengths", "reset")}
            with renamed(x=f"inputs[{name!r}]", layout=f"inputs[{name!r}]", **own):
                batches[name], described[name] = self._described_input(name, array, lengths.get(name), reset.get(name))
        counts = {name: batch.sequences for name, batch in batches.items()}
        first = next(iter(counts))
        for name, count in counts.items():
            if count != counts[first]:
                expected = f"{counts[first]} sequences like inputs[{first!r}]"
                raise ShapeError(f"inputs[{name!r}]: expected {expected}, got {count}")
        self._check_joined(batches)
        return Given(arrays, batches, described, counts[first], home)

    def _described_input(self, name, array, lengths, reset):
        """(Batch, descriptor) of one input."""
        described_input, letters = self._described_inputs[name], self._letters(name)
        if described_input.channels is None:
            batch, indices = Batch.of_indices(array, letters, lengths, reset)
            indices.checked("x", "indices", self._vocabularies(self._rows)[name])
            return replace(batch, device=self.device), indices
        batch, described = Batch.of(array, letters, lengths, reset)
        expect_device("x", described.array, self.device)
        if described.channels != described_input.channels:
            found = f"shape {array.shape}, axes {batch.layout}" if isinstance(array, np.ndarray) else f"{array!r}"
            raise ShapeError(f"x: expected {described_input.channels} channels, got {described.channels} ({found})")
        if described.dtype != self.dtype:
            raise DTypeError(f"x: expected {self.dtype} like the graph, got {described.dtype}")
        return batch, described

    def _check_joined(self, batches):
        """Raise ShapeError unless values that are joined have the same steps."""
        for name, row in self._rows.items():
            axes = [axis for axis in (self._axis(read, self._rows) for read in row.reads) if axis in batches]
            for axis in axes[1:]:
                one, other = batches[axes[0]].packing, batches[axis].packing
                if same_runs(one, other):
                    continue
                joined = f"inputs[{axes[0]!r}], with which node {name!r} joins it"
                if np.array_equal(one.lengths, other.lengths):
                    expected = f"the one of {joined}, where sequences start afresh at other steps"
                    raise ShapeError(f"reset[{axis!r}]: expected {expected}, got another or none")
                raise ShapeError(f"inputs[{axis!r}]: expected the steps of {joined}, {_steps(one)}, got {_steps(other)}")

    def _input_letters(self, name, array):
        """The letters of the axes that an input's array has."""
        letters = self._letters(name)
        return index_axes(f"inputs[{name!r}]", letters, array) if self._described_inputs[name].channels is None else letters

    def _output(self, name, passage, batches, home):
        """What the caller gets of an output, on the device `home`: no memory of an input."""
        described = passage.values[name]
        axis = self._axis(name, self._rows)
        array = in_layout(described.array, self._letters(name)) if axis is None else batches[axis].give(described)
        if not isinstance(array, Ragged):
            inputs = (passage.values[each].array for each in self._described_inputs)
            array = array.copy() if any(share_memory(array, each) for each in inputs) else array
        return brought(array, home)


def _steps(packing):
    """How many steps sequences have, in words."""
    return f"{packing.total}" if packing.uniform else f"lengths {packing.lengths.tolist()!r:.80}"
