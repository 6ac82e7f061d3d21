"""What a network makes of the arrays that it is given, and the run of its layers over them."""

import math
from dataclasses import replace

import numpy as np

from ..arrays.batch import Batch
from ..arrays.conversion import integers_like, numbers_like
from ..arrays.descriptor import in_layout
from ..arrays.devices import expect_device, share_memory
from ..arrays.ragged import Ragged
from ..arrays.rows import like
from ..engine.keep import NOTHING
from ..errors import DeviceError, DTypeError, ShapeError
from ..layers.fed import FED, Fed, check_kept
from ..layers.feedback import Feedback
from ..layers.operations import NotInPrograms
from ..training.sequences import other_layout
from .placing import brought
from .structure import Structure


class Reading(Structure):
    """The part of a network that describes its input, and runs the layers."""

    def _read(self, argument, value):
        """What the caller gave as x, converted once to what this network reads; see `conversion`."""
        if not isinstance(value, Ragged):
            axes = (self.layout, self.layout.replace("t", "")) if self._stepwise else (self.layout,)
            if self.takes_indices:
                return integers_like(argument, value, *axes, *(each.replace("c", "") for each in axes))
            return numbers_like(argument, value, self.dtype, *axes)
        if self.takes_indices or value.dtype == self.dtype or value.dtype.kind in "iu":
            return value
        return Ragged(numbers_like(argument, value.data, self.dtype), value.offsets)

    def _described(self, x, lengths=None, reset=None):
        """(Batch, descriptor) of an input of this network."""
        if self.takes_indices:
            batch, x = Batch.of_indices(x, self.layout, lengths, reset)
            self.layers[0].check_indices(x)
            return replace(batch, device=self.device), x
        if not isinstance(x, Ragged):
            self._check_axes(x, lengths)
        batch, described = Batch.of(self._here("x", x), self.layout, lengths, reset)
        expect_device("x", described.array, self.device)
        if described.channels != self.channels:
            hint = "" if isinstance(x, Ragged) else other_layout(x.shape, batch.layout, c=self.channels)
            found = f"{x!r}" if isinstance(x, Ragged) else f"shape {x.shape}, axes {batch.layout}"
            raise ShapeError(f"x: expected {self.channels} channels, got {described.channels} ({found}){hint}")
        if described.dtype != self.dtype:
            raise DTypeError(f"x: expected {self.dtype} like the network, got {described.dtype}")
        return batch, described

    def _check_axes(self, x, lengths):
        """Raise ShapeError, with what would fit, of a series without a channel axis, of images, and of lengths of others."""
        if np.ndim(x) == 1 and self.channels == 1:
            hint = "; x[:, None] is one sequence of one channel"
            raise ShapeError(f"x: expected 2 or 3 axes ({self.layout}), got 1 (shape {x.shape}){hint}")
        images = np.ndim(x) > 3 or (np.ndim(x) == 3 and x.shape[self.layout.index("c")] != self.channels)
        if images and math.prod(x.shape[1:]) == self.channels:
            hint = "; x.reshape(len(x), -1) has them"
            raise ShapeError(f"x: expected rows of {self.channels} numbers, got shape {x.shape}{hint}")
        if lengths is None or np.ndim(lengths) != 1 or np.ndim(x) != 3:
            return
        count, there = len(lengths), x.shape[self.layout.index("n")]
        hint = "" if count == there else other_layout(x.shape, self.layout, n=count, c=self.channels)
        if hint:
            raise ShapeError(f"lengths: expected shape ({there},), one length for each sequence, got ({count},){hint}")

    def _forward(self, parts, x, keep, random=None, reading=None, initial=None, seen=None, first=0):
        """(descriptor of the output, tapes) for a descriptor of x; with a Generator, dropout and the like are drawn.

        parts: the parameters of each layer that is run.  reading: {index of a layer: what it, an `Embedding`, calls before
        it reads rows}.  initial: {index of a layer: the state it starts from}.  seen: what is called with each layer's index
        and tape.  first: the layer that x goes into.
        """
        tapes = []
        for index, (layer, own) in enumerate(zip(self.layers[first:], parts[first:]), first):
            options = {} if random is None or not layer.random else {"masks": layer.drawn_masks(x, random)}
            if layer.takes_indices and reading is not None:
                options["reading"] = reading.get(index)
            if index in self._unmerged:
                options["merged"] = False
            x, tape = layer.run(own, x, None if initial is None else initial.get(index), keep, **options)
            if seen is not None:
                seen(index, tape)
            if keep.for_backward:
                tapes.append(tape)
        return x, tapes

    def _check_feedback(self, feedback):
        """Raise a typed error unless the outputs can be fed back as `feedback`, an argument of that name, says."""
        if not isinstance(feedback, Feedback):
            raise TypeError(f"feedback: expected numbarnn.Feedback or None, got {type(feedback).__name__}")
        if self.device != "cpu":
            raise DeviceError(f"feedback: expected None for a network on a GPU, got {feedback!r}; net.to('cpu') takes it")
        for layer in self.layers:
            if layer.takes_indices or layer.leaves_one or layer.needs_all or getattr(layer, "bidirectional", False):
                expected = "a network whose layers take one step of numbers after the other"
                raise ValueError(f"feedback: expected None without {expected}, got {feedback!r} for one with {layer!r}")
        most = self.layers[0]._value_channels(self.channels)
        if self.output_channels > most:
            expected = f"outputs of at most {most} channels, which are the first channels of the input"
            expected += "" if most == self.channels else ", without masks and spans"
            raise ShapeError(f"feedback: expected {expected}, got {self.output_channels}")

    def _fed(self, parts, like_x, keep, random=None, initial=None):
        """The `Fed` for inputs as a descriptor describes some; it has not been filled.  The rest as of `_forward`."""
        check_kept(keep)
        x, tapes = like(like_x), []
        x.array.fill(0)
        outputs, _ = self._forward(parts, x, keep, random, initial=initial, seen=lambda _, tape: tapes.append(tape))
        try:
            fed = Fed(x, outputs, tapes)
        except NotInPrograms as error:
            expected = "layers that take a step in compiled code"
            raise TypeError(f"feedback: expected {expected}, got {error}") from None
        for index in self._stateful:  # to make them was to run them
            tapes[index].start(None if initial is None else initial.get(index))
        return fed

    def _go_on(self, described, carried=None, random=None, strengths=None):
        """(descriptor of the output, what returns what the next steps go on from) of some steps, for a prediction.

        carried: {index of a layer: the state it starts from}, and under FED the output that is fed at the first step; what
        is returned is like it.  strengths: the array of `Feedback.strengths`, None without one.
        """
        tapes, carried = {}, carried or {}
        if strengths is None:
            output = self._forward(self._own, described, NOTHING, random, initial=carried, seen=tapes.__setitem__)[0]
            return output, lambda: {index: tapes[index].final() for index in self._stateful}
        fed = self._fed(self._own, described, NOTHING, random, carried)
        fed.fill(described, strengths, carried.get(FED))
        return fed.outputs, lambda: {index: fed.tapes[index].final() for index in self._stateful} | {FED: fed.last()}

    def _letters(self, batch):
        """The letters of the axes of the output's padded array."""
        return self.output_layout if "n" in batch.layout else self.output_layout.replace("n", "")

    def _given(self, batch, output, described, device):
        """What the caller gets on a device of the output, for descriptors of that and of x: no memory of x."""
        if output.packing.uniform:
            given = in_layout(output.array, self._letters(batch))
            if share_memory(given, described.array):  # of layers that pass numbers on: what is returned is new
                given = given.copy()
        else:
            given = batch.give(output)
        return brought(given, device)
