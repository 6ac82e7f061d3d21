"""What a network predicts, of any number of samples."""

from collections.abc import Iterable

import numpy as np

from ..arrays.descriptor import axes_of
from ..arrays.devices import device_of, native
from ..arrays.indices import index_axes
from ..arrays.packing import checked_lengths, checked_reset
from ..arrays.ragged import Ragged, joined
from ..arrays.tensors import host_array
from ..engine.keep import NOTHING
from ..errors import IndexRangeError, checked_seeds, generator, integer
from ..layers.feedback import Feedback
from ..layers.gates import checked_place
from ..layers.prepared import answer
from ..training.losses import BinaryCrossEntropy, CrossEntropy
from .derivatives import Derivatives
from .placing import brought, home_of
from .predictions import Predictions, together
from .probabilities import link_of


class Prediction(Derivatives):
    """The part of a network that predicts."""

    def predict(
        self,
        x: np.ndarray | Ragged,
        lengths: np.ndarray | None = None,
        reset: np.ndarray | None = None,
        seed: int | None = None,
        feedback: Feedback | None = None,
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
        feedback : Feedback, optional
            Feed outputs back, as a call of the network does.

        Returns
        -------
        numpy.ndarray or Ragged
            (N, output channels) after `Last`, else (T, N, output channels) in the network's layout, 0 past the end of a
            sequence, or Ragged like x; without N for one sequence.  N may be 0.  After a NaN in x a sequence is NaN.
        """
        x = x if type(x) is np.ndarray else native("x", x)
        if lengths is reset is seed is feedback is None and type(x) is np.ndarray and x.dtype is self.dtype:
            found = answer(self.layers, self._params, x, self.layout, lambda: self._prepared(x))
            if found is not None:
                return found[0]
        return self._predicted(x, lengths, reset, seed, feedback=feedback)

    def _predicted(self, x, lengths, reset, seed, link=None, feedback=None):
        """`predict`; link: what makes a descriptor of what is returned out of one of the output."""
        x, random = self._read("x", x), None if seed is None else generator("seed", seed)
        if feedback is not None:
            self._check_feedback(feedback)
        nothing = self._of_none(x, lengths, reset, self.predict, self.output_layout)
        if nothing is not None:
            return nothing
        batch, described = self._described(x, lengths, reset)
        self.params._check_finite(True)
        if feedback is not None:
            feedback._check_sizes(described.packing.total, batch.sequences, self.output_channels)
        whole = [(x, lengths, reset, slice(None))]  # what is drawn at random is drawn for all sequences at once
        drawn = random is not None and self.random
        in_time, found, rows = not drawn and lengths is None and reset is None, [], self._is_rows(x) and feedback is None
        for part, *own, sequences in whole if drawn else self._pieces(x, lengths, reset, described.packing, rows):
            if part is not x:
                batch, described = self._described(part, *own)
            strengths = None
            if feedback is not None:
                of_part = feedback._of_part(described.packing.total, sequences)
                strengths = of_part._strengths_of(described, self.output_channels)
            pieces = self._pieces_in_time(part, described.packing) if in_time else [part]
            if len(pieces) > 1:
                found.append(self._predicted_in_time(pieces, link, home_of(x), strengths))
                continue
            output = self._go_on(described, None, random, strengths)[0]
            output = output if link is None else link(output)
            found.append(self._given(batch, output, described, home_of(x)))
        if len(found) > 1 and rows:
            return np.concatenate(found, axes_of(self.output_layout, 2).index("t"))
        return found[0] if len(found) == 1 else joined(found, self.output_layout)

    def _predicted_in_time(self, pieces, link, device, strengths):
        """`predict` of a long x in pieces of its steps, one after the other, the states carried on."""
        found, carried, end = [], dict, 0
        for piece in pieces:
            batch, described = self._described(piece)
            first, end = end, end + described.steps
            output, carried = self._go_on(
                described, carried(), strengths=None if strengths is None else strengths[first:end]
            )
            found.append(self._given(batch, output if link is None else link(output), described, device))
        return np.concatenate(found, self._letters(batch).index("t"))

    def _is_rows(self, x):
        """Whether x are rows (T, C), one sequence, each of which is taken by itself."""
        return self._stepwise and not self.takes_indices and not isinstance(x, Ragged) and x.ndim == 2

    def predict_many(
        self,
        x: np.ndarray | Ragged,
        seeds: Iterable[int],
        lengths: np.ndarray | None = None,
        reset: np.ndarray | None = None,
    ) -> Predictions:
        """What the network predicts with each of some seeds, dropout, zoneout and noise drawn: Monte Carlo dropout.

        Parameters
        ----------
        x, lengths, reset
            As in `predict`.
        seeds : sequence of int
            Member k of what is returned is, to the bit, ``predict(x, seed=seeds[k])``.

        Returns
        -------
        Predictions
            With mean, spread and quantiles over the seeds.

        Raises
        ------
        ValueError
            If the network draws nothing, so that every seed would give the same.

        References
        ----------
        Gal and Ghahramani 2016, arXiv:1506.02142.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(8), nr.Dropout(0.2), nr.Last(), nr.Dense(1)], channels=1, seed=0)
        >>> found = net.predict_many(np.ones((5, 3, 1), np.float32), seeds=range(10))
        >>> found.members.shape, found.mean.shape, found.spread.shape, found.quantile(0.9).shape
        ((10, 3, 1), (3, 1), (3, 1), (3, 1))
        """
        seeds = checked_seeds(seeds)
        if not self.random:
            raise ValueError(f"seeds: expected a network that draws dropout, zoneout or noise, got {self!r}")
        return together([self.predict(x, lengths, reset, seed) for seed in seeds])

    def probabilities(
        self,
        x: np.ndarray | Ragged,
        lengths: np.ndarray | None = None,
        reset: np.ndarray | None = None,
        seed: int | None = None,
        loss: str | CrossEntropy | BinaryCrossEntropy = "cross_entropy",
    ) -> np.ndarray | Ragged:
        """What a network that was trained on logits says of its classes: the softmax of `predict`, or the sigmoid.

        The network itself gives logits, what its loss takes; there is no layer and no function for softmax that could come
        before a loss, or be applied to probabilities once more.

        Parameters
        ----------
        x, lengths, reset, seed
            As in `predict`.
        loss : {"cross_entropy", "binary_cross_entropy"} or a loss of these
            What the network was trained with: softmax over the channels, or sigmoid of each.

        Returns
        -------
        numpy.ndarray or Ragged
            Shaped like `predict` of x, 0 past the end of a sequence.

        Raises
        ------
        ValueError
            If the outputs are probabilities already, as of ``Dense(1, "sigmoid")``; for softmax, if there is one channel.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(8), nr.Last(), nr.Dense(3)], channels=1, seed=0)
        >>> p = net.probabilities(np.ones((5, 2, 1), np.float32))
        >>> p.shape, np.allclose(p.sum(axis=1), 1)
        ((2, 3), True)
        """
        return self._predicted(x, lengths, reset, seed, link_of(loss, self.layers[-1], self.output_channels))

    def states(
        self,
        x: np.ndarray | Ragged,
        layer: int | None = None,
        state: tuple | None = None,
        lengths: np.ndarray | None = None,
        reset: np.ndarray | None = None,
        index: int = -1,
    ) -> np.ndarray | Ragged:
        """The hidden state h of a recurrent layer after every step.

        Parameters
        ----------
        x, lengths, reset
            As in `predict`.
        layer : int, optional
            Which of ``net.layers``; the last recurrent one if None.
        state : tuple, optional
            Where the recurrent layers start from, as in a call of the network.
        index : int
            Which of that layer's stacked layers.

        Returns
        -------
        numpy.ndarray or Ragged
            (T, N, D * H) in the network's layout, forward direction first, 0 past the end of a sequence; or Ragged like x.
            N may be 0.

        Raises
        ------
        TypeError, IndexRangeError
            If `layer` is none that has a state, or there is no such one.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(8, layers=2), nr.Last(), nr.Dense(1)], channels=1, seed=0)
        >>> x = np.ones((5, 3, 1), np.float32)
        >>> h = net.states(x, layer=0)
        >>> h.shape, np.array_equal(h[-1], net(x)[1][0][1])
        ((5, 3, 8), True)
        """
        at = self._recurrent_at(layer)
        index = checked_place(index, self.layers[at])
        x, found = self._read("x", x), {}
        nothing = self._of_none(
            x, lengths, reset, lambda *given: self.states(given[0], at, None, *given[1:], index), self.layout
        )
        if nothing is not None:
            self._states_of("state", state, 0)
            return nothing
        batch, described = self._described(x, lengths, reset)
        self.params._check_finite(True)
        initial = self._states_of("state", state, batch.sequences)
        self._forward(self._own[: at + 1], described, NOTHING, initial=initial, seen=found.__setitem__)
        return brought(batch.give(found[at].stack[index].outputs), home_of(x))

    def _recurrent_at(self, layer):
        """Which of the layers `layer` means, if it is one that has a state."""
        stateful, count = self._stateful, len(self.layers)
        if not stateful:
            raise TypeError(f"layer: expected a network with a recurrent layer, got {self!r}")
        if layer is None:
            return stateful[-1]
        at = integer("layer", layer, "the index of a layer")
        if not -count <= at < count:
            raise IndexRangeError(f"layer: expected the index of one of {count} layers, got {at}")
        if at % count not in stateful:
            where = ", ".join(map(str, stateful))
            raise TypeError(f"layer: expected the index of a recurrent layer ({where}), got {at}, {self.layers[at]!r}")
        return at % count

    def _of_none(self, x, lengths, reset, call, layout):
        """What a call with x, lengths and reset returns for no samples: none, as it would of one.  None if x has some.

        layout: the letters of what it returns.
        """
        if 0 not in (x.shape if not isinstance(x, Ragged) else (len(x),)):
            return None
        if isinstance(x, Ragged):
            found = call(Ragged(x.data, [0, 0]), lengths, reset)
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
        return brought(call(one, None, None)[(*(slice(None),) * layout.index("n"), slice(0))], device_of(x))

    def _pieces_in_time(self, x, packing):
        """[x], or views of some steps each of a long x, where the layers can go on from one to the next."""
        rows = self._rows_at_once
        if packing.rows <= rows or self.device != "cpu" or isinstance(x, Ragged) or not (packing.uniform and self._goes_on):
            return [x]
        letters = index_axes("x", self.layout, x) if self.takes_indices else axes_of(self.layout, x.ndim)
        if "t" not in letters:
            return [x]
        before, steps = (slice(None),) * letters.index("t"), max(1, rows // packing.sequences)
        return [x[(*before, slice(first, first + steps))] for first in range(0, packing.total, steps)]

    def _pieces(self, x, lengths, reset, packing, rows):
        """[(x, lengths, reset, which sequences)] of some each, views, so few that memory does not follow their number.

        rows: whether x are rows, each of which is taken by itself: the steps of one sequence are as good.
        """
        rows = rows and lengths is None and reset is None
        sequences = packing.rows if rows else packing.sequences
        count = min(-(-packing.rows // self._rows_at_once), sequences)
        if count < 2:
            return [(x, lengths, reset, slice(None))]
        bounds = [sequences * piece // count for piece in range(count + 1)]
        parts = [slice(first, end) for first, end in zip(bounds, bounds[1:])]
        if isinstance(x, Ragged):
            return [(x[part], None, None, part) for part in parts]
        letters = index_axes("x", self.layout, x) if self.takes_indices else axes_of(self.layout, x.ndim)
        before = (slice(None),) * letters.index("t" if rows else "n")
        lengths, reset = (None if each is None else np.asarray(host_array("lengths", each)) for each in (lengths, reset))
        return [
            (x[(*before, part)], *(each if each is None else each[..., part] for each in (lengths, reset)), part)
            for part in parts
        ]
