"""What a network predicts, of any number of samples."""

import numpy as np

from ..arrays.descriptor import axes_of, in_layout
from ..arrays.devices import device_of
from ..arrays.indices import index_axes
from ..arrays.packing import checked_lengths, checked_reset
from ..arrays.ragged import Ragged, joined
from ..engine.keep import NOTHING
from ..errors import generator
from ..layers.prepared import PreparedCall, answer
from .function import Function
from .reading import brought, home_of


class Prediction(Function):
    """The part of a network that predicts."""

    _piece_rows = 1 << 15  # steps of all sequences that are predicted at once: no result depends on it

    def predict(
        self,
        x: np.ndarray | Ragged,
        lengths: np.ndarray | None = None,
        reset: np.ndarray | None = None,
        seed: int | None = None,
    ) -> np.ndarray | Ragged:
        """The output for `x`, any number of samples and steps.

        Parameters
        ----------
        x : array, list, DataFrame or Ragged
            (T, N, C) in the network's layout, or (T, C) for one sequence; of an `Embedding` integers (T, N) or (T,).  An
            array of the network's dtype is read where it lies; other numbers (float64, integers, lists, tables) are
            converted to that dtype once, as everywhere in this class.  Text, objects, complex numbers, masked arrays and
            numbers that are too large for the dtype are refused; an `Embedding` takes integers only.
        lengths : array of int, optional
            (N,): the steps of each sequence, from 0 to T; T for all if None.
        reset : array of bool, optional
            (T, N): where True, a sequence starts afresh at that step.
        seed : int or numpy.random.Generator, optional
            Draw dropout, zoneout and noise, as a call with this seed does (Monte Carlo dropout; `predict_many` takes many
            seeds).  Without it their mean is taken.

        Returns
        -------
        numpy.ndarray or Ragged
            (N, output channels) after `Last`, else (T, N, output channels) in the network's layout, 0 past the end of a
            sequence, or Ragged like x; without N for one sequence.  N may be 0.  After a NaN in x a sequence is NaN.
        """
        if lengths is reset is seed is None and type(x) is np.ndarray and x.dtype is self.dtype:
            found = answer(self.layers, self._params, x, self.layout, lambda: self._prepared(x))
            if found is not None:
                return found[0]
        return self._predicted(x, lengths, reset, seed)

    def _predicted(self, x, lengths, reset, seed, link=None):
        """`predict`; link: what makes a descriptor of what is returned out of one of the output."""
        x, random = self._read("x", x), None if seed is None else generator("seed", seed)
        if 0 in (x.shape if not isinstance(x, Ragged) else (len(x),)):
            nothing = self._predicted_of_none(x, lengths, reset)
            if nothing is not None:
                return nothing
        batch, described = self._described(x, lengths, reset)
        self.params.check_finite()
        whole = [(x, lengths, reset)]  # what is drawn at random is drawn for all sequences at once
        drawn = random is not None and self.random
        found = []
        for part, *own in whole if drawn else self._pieces(x, lengths, reset, described.packing):
            if part is not x:
                batch, described = self._described(part, *own)
            output = self._forward(self._own, described, NOTHING, random)[0]
            output = output if link is None else link(output)
            found.append(self._given(batch, output, described, home_of(x)))
        return found[0] if len(found) == 1 else joined(found, self.output_layout)

    def _prepared(self, x):
        """A PreparedCall for predictions of x and of arrays that lie like it; None for more than one piece."""
        batch, described = self._described(x)
        if not batch.packing.uniform or described.packing.rows > self._piece_rows:
            return None

        def run(x):
            tapes = []
            for index, (layer, own) in enumerate(zip(self.layers, self._own)):
                options = {"merged": False} if index in self._unmerged else {}
                x, tape = layer.run(own, x, None, NOTHING, **options)
                tapes.append(tape)
            return x, tapes

        letters = self._letters(batch)
        return PreparedCall(self._params, described.tnc.shape, batch.layout, run, lambda y: in_layout(y.array, letters))

    def _predicted_of_none(self, x, lengths, reset):
        """What `predict` returns for no samples: none, in the shape that one would give.  None if x has some."""
        if isinstance(x, Ragged):
            found = self.predict(Ragged(x.data, [0, 0]), lengths, reset)
            return Ragged(found.data, [0]) if isinstance(found, Ragged) else found[:0]
        letters = index_axes("x", self.layout, x) if self.takes_indices else axes_of(self.layout, x.ndim)
        lengths_of = dict(zip(letters, x.shape))
        if x.ndim != len(letters) or lengths_of.get("n") != 0:
            return None
        if lengths is not None:
            checked_lengths(lengths, 0, lengths_of["t"])
        if reset is not None:
            checked_reset(reset, 0, lengths_of["t"])
        one = np.zeros([length or int(letter == "n") for letter, length in lengths_of.items()], x.dtype)
        before = (slice(None),) * self.output_layout.index("n")
        return brought(self.predict(one)[(*before, slice(0))], device_of(x))

    def _pieces(self, x, lengths, reset, packing):
        """[(x, lengths, reset)] of some sequences each, views, so few that memory does not follow their number."""
        count = min(-(-packing.rows // self._piece_rows), packing.sequences)
        if count < 2:
            return [(x, lengths, reset)]
        bounds = [packing.sequences * piece // count for piece in range(count + 1)]
        parts = [slice(first, end) for first, end in zip(bounds, bounds[1:])]
        if isinstance(x, Ragged):
            return [(x[part], None, None) for part in parts]
        letters = index_axes("x", self.layout, x) if self.takes_indices else self.layout
        before = (slice(None),) * letters.index("n")
        lengths, reset = (None if each is None else np.asarray(each) for each in (lengths, reset))
        return [
            (x[(*before, part)], None if lengths is None else lengths[part], None if reset is None else reset[:, part])
            for part in parts
        ]
