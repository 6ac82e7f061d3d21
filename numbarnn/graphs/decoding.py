"""A graph that feeds on its own output: what does not depend on it once, the rest step by step in compiled code."""

import numpy as np

from ..arrays.descriptor import in_layout
from ..arrays.ragged import Ragged
from ..engine.keep import NOTHING
from ..networks.placing import brought
from .objective import Objective
from .passage import Passage
from .reading import by_name
from .stepwise import FedInput, Plan, StepRun


class Decoding(Objective):
    """The part of a graph that goes on from its own output."""

    def decode(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        feed: str,
        output: str,
        start: "int | float | np.ndarray",
        steps: int | None = None,
        choose: "str | callable | None" = None,
        stop: int | None = None,
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
    ) -> np.ndarray | Ragged:
        """What the graph gives when an input is its own output of the step before: a decoder that runs free.

        In training that input is the target, one step later (teacher forcing).  Here the nodes that do not depend on it run
        once, an encoder say, and then the others step by step; behind `Last` stands the last step so far.

        Parameters
        ----------
        inputs : dict of str to array or Ragged
            As in a call, all that the output needs but `feed`; others are not read.  Of what is joined with `feed` step t is
            read at step t: known future inputs, of as many steps or more, without lengths.
        feed : str
            The input that is fed, with steps.
        output : str
            The node whose output is fed back.
        start : int, float or array
            What is fed first: an index, or a number for each channel, (C,); for each sequence its own, (N,) or (N, C).
        steps : int, optional
            How many; as many as the known inputs have if None.
        choose : {"argmax", "output"} or callable, optional
            What is fed of an output (N, channels): the index of its largest channel, the first of equals, as an index or
            one-hot; the output itself; or what a function returns for it, indices (N,) or numbers (N, C); it is given an
            array of the host, also of a graph on a GPU.  None is "argmax" for an input of indices, else "output".
        stop : int, optional
            The index that ends a sequence.
        lengths : dict of str to array of int, optional
            As in a call.

        Returns
        -------
        numpy.ndarray or Ragged
            What was chosen, (T, N, C) in the graph's layout, or indices, (T, N), int64.  With `stop` a Ragged of indices:
            each sequence as far as its `stop`, without it.  Of no sequence, N = 0, it is empty.

        Raises
        ------
        ValueError
            If a node that depends on `feed` needs later steps (two directions, `Pool`, the end of another such node), or the
            output does not depend on it.
        NonFiniteError
            If an output that is fed back is NaN or infinite.
        TypeError, ShapeError, IndexRangeError, UnknownNameError
            Named after the argument that is not as described.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {
        ...     "encoder": nr.Node(nr.GRU(4), "past"),
        ...     "decoder": nr.Node(nr.GRU(4), ["previous", "known"], state="encoder"),
        ...     "y": nr.Node(nr.Dense(1), "decoder"),
        ... }
        >>> net = nr.Graph({"past": 1, "previous": 1, "known": 2}, nodes, ["y"], seed=0)
        >>> x = {"past": np.ones((9, 3, 1)), "known": np.ones((5, 3, 2))}
        >>> y = net.decode(x, feed="previous", output="y", start=x["past"][-1])
        >>> y.shape
        (5, 3, 1)
        """
        plan = Plan(self, feed, output)
        given = by_name("inputs", inputs, [name for name in self._described_inputs if name != feed], "an array")
        missing = sorted(plan.inputs - given.keys())
        if missing:
            raise ValueError(f"inputs: expected an array for {missing[0]!r}, which {output!r} needs, got none")
        arrays = {name: self._converted(name, given[name]) for name in self._described_inputs if name in plan.inputs}
        if not arrays:
            raise ValueError(f"inputs: expected one that says how many sequences there are, {output!r} needs none")
        lengths = self._by_input("lengths", lengths)
        if feed in lengths:
            raise ValueError(f"lengths: expected none for {feed!r}, which is fed, got {lengths[feed]!r:.80}")
        lengths = {name: each for name, each in lengths.items() if name in arrays}
        none = self._one_of_none(arrays, lengths, {})
        called = self._of_arrays(*(none or (arrays, lengths, {})))
        sequences = 0 if none else called.sequences
        self.params.check_finite()
        steps = plan.checked_steps(steps, called)
        fed = FedInput(self._described_inputs[feed].channels, plan.vocabulary, sequences, self.dtype)
        first, choose = fed.checked("start", start, widened=True), fed.checked_choice(choose, self._channels(output))
        stop = fed.checked_stop(stop)
        if sequences:
            passage = Passage(self, self._own, called.described, NOTHING, until=plan.before)
            chosen, ends = StepRun(self, plan, passage, sequences).take(fed, first, steps, choose, stop)
        else:
            chosen, ends = fed.zeros(steps), ()
        if stop is None:
            letters = self._letters(feed)
            if fed.channels is None:
                return chosen.transpose(_order(letters.replace("c", "")))
            return in_layout(brought(chosen, called.home), letters)
        parts = [chosen[:end, n] for n, end in enumerate(ends)]
        return Ragged(np.concatenate([chosen[:0].ravel(), *parts]), np.cumsum([0, *ends]))


def _order(letters):
    return [("t", "n").index(letter) for letter in letters]
