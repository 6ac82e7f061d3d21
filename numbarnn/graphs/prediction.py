"""What a graph predicts: outputs by name, of one seed or of many, probabilities, and the states behind them."""

from collections.abc import Iterable, Mapping

import numpy as np

from ..arrays.packing import checked_lengths, checked_reset
from ..arrays.ragged import Ragged
from ..engine.keep import NOTHING
from ..errors import checked_seeds, known_name, renamed
from ..layers.gates import checked_place
from ..networks.placing import brought, home_of
from ..networks.predictions import Predictions, together
from ..networks.probabilities import link_of
from ..training.losses import BinaryCrossEntropy, CrossEntropy
from .derivatives import Derivatives
from .names import ancestors
from .reading import by_name


class Prediction(Derivatives):
    """The part of a graph that predicts."""

    def predict(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        seed: int | None = None,
        feedback: dict | None = None,
    ) -> dict:
        """The outputs for some inputs, by name: what a call returns first.

        Parameters
        ----------
        inputs, lengths, reset, seed, feedback
            As in a call.

        Returns
        -------
        dict of str to numpy.ndarray or Ragged
            N may be 0.
        """
        inputs = self._arrays(inputs)
        nothing = self._of_none(inputs, lengths, reset, self.predict)
        return self(inputs, None, lengths, reset, seed, feedback)[0] if nothing is None else nothing

    def _of_none(self, inputs, lengths, reset, call):
        """What a call with inputs, lengths and reset returns for no sequences: none, as it would of one.

        None if there are some.  inputs: converted.
        """
        one = self._one_of_none(inputs, self._by_input("lengths", lengths), self._by_input("reset", reset))
        if one is None:
            return None
        home, found = home_of(inputs), call(*one)
        return {name: brought(self._none_of(name, each), home) for name, each in found.items()}

    def _one_of_none(self, inputs, lengths, resets):
        """(inputs, lengths, resets) of one sequence, of zeros, where there is none; None if there are some.

        lengths, resets: by input, as a caller gives them; they are checked to be of none.
        """
        letters = {name: self._input_letters(name, array) for name, array in inputs.items() if not isinstance(array, Ragged)}
        counts = [inputs[name].shape[letters[name].index("n")] if name in letters else len(inputs[name]) for name in inputs]
        if any(counts):
            return None
        own = {"lengths": dict(lengths), "reset": dict(resets)}
        for argument, check in (("lengths", checked_lengths), ("reset", checked_reset)):
            for name in own[argument].keys() & letters.keys():
                with renamed(**{argument: f"{argument}[{name!r}]"}):
                    check(own[argument].pop(name), 0, inputs[name].shape[letters[name].index("t")])
        one = {name: Ragged(inputs[name].data, [0, 0]) for name in inputs if name not in letters}
        for name, axes in letters.items():
            shape = [1 if letter == "n" else length for letter, length in zip(axes, inputs[name].shape)]
            one[name] = np.zeros(shape, inputs[name].dtype)
        return one, own["lengths"], own["reset"]

    def _none_of(self, name, value):
        """The value of a node for no sequences, N = 0, from its value for one."""
        if isinstance(value, Ragged):
            return Ragged(value.data, [0])
        return value[(*(slice(None),) * self._letters(name).index("n"), slice(0))]

    def predict_many(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        seeds: Iterable[int],
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
    ) -> dict[str, Predictions]:
        """What the graph predicts with each of some seeds, dropout, zoneout and noise drawn: Monte Carlo dropout.

        Parameters
        ----------
        inputs, lengths, reset
            As in a call.
        seeds : sequence of int
            Member k of what is returned is, to the bit, ``predict(inputs, seed=seeds[k])``.

        Returns
        -------
        dict of str to Predictions
            By output, with mean, spread and quantiles over the seeds.

        Raises
        ------
        ValueError
            If the graph draws nothing, so that every seed would give the same.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"h": nr.Node([nr.GRU(4), nr.Dropout(0.2)], "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
        >>> net = nr.Graph({"x": 2}, nodes, ["y"], seed=0)
        >>> found = net.predict_many({"x": np.ones((6, 3, 2))}, seeds=range(10))
        >>> found["y"].members.shape, found["y"].spread.shape
        ((10, 6, 3, 1), (6, 3, 1))
        """
        seeds = checked_seeds(seeds)
        if not self.random:
            raise ValueError(f"seeds: expected a graph that draws dropout, zoneout or noise, got {self!r}")
        members = [self.predict(inputs, lengths, reset, seed) for seed in seeds]
        return {name: together([each[name] for each in members]) for name in self._outputs}

    def probabilities(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        seed: int | None = None,
        loss: "str | CrossEntropy | BinaryCrossEntropy | dict" = "cross_entropy",
    ) -> dict:
        """What a graph that was trained on logits says of its classes: softmax or sigmoid of outputs.

        Parameters
        ----------
        inputs, lengths, reset, seed
            As in a call.
        loss : {"cross_entropy", "binary_cross_entropy"}, a loss of these, or dict of str to these
            What the outputs were trained with: softmax over the channels, or sigmoid of each; of all outputs, or by output.

        Returns
        -------
        dict of str to numpy.ndarray or Ragged
            Of all outputs, or of those that `loss` names, shaped like `predict`; 0 past the end of a sequence.

        Raises
        ------
        ValueError
            As `Network.probabilities`, named after the output.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"h": nr.Node(nr.GRU(4), "x"), "class": nr.Node([nr.Last(), nr.Dense(3)], ["h", "x"])}
        >>> net = nr.Graph({"x": 2}, nodes, ["class"], seed=0)
        >>> p = net.probabilities({"x": np.ones((6, 3, 2))})["class"]
        >>> p.shape, np.allclose(p.sum(axis=1), 1)
        ((3, 3), True)
        """
        losses = loss if isinstance(loss, Mapping) else dict.fromkeys(self._outputs, loss)
        links = {}
        for name, own in by_name("loss", losses, list(self._outputs), "losses").items():
            with renamed(loss=f"loss[{name!r}]", layers=f"nodes[{name!r}]"):
                links[name] = link_of(own, self._rows[name].layers[-1], self._channels(name))
        inputs = self._arrays(inputs)
        nothing = self._of_none(inputs, lengths, reset, self.predict)
        if nothing is not None:
            return {name: nothing[name] for name in links}
        passage, given = self._passage(inputs, None, lengths, reset, seed, NOTHING)
        for name, link in links.items():
            passage.values[name] = link(passage.values[name])
        return {name: self._output(name, passage, given.batches, given.home) for name in links}

    def states(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        layer: str | None = None,
        state: dict | None = None,
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        index: int = -1,
    ) -> np.ndarray | Ragged:
        """The hidden state h of a recurrent layer after every step.

        Parameters
        ----------
        inputs, state, lengths, reset
            As in a call.
        layer : str, optional
            Which recurrent layer, by its name in `state`; the last one that runs if None.
        index : int
            Which of that layer's stacked layers.

        Returns
        -------
        numpy.ndarray or Ragged
            (T, N, D * H) in the graph's layout, forward direction first, 0 past the end of a sequence; or a Ragged where
            the input is one that the layer has its steps from.  N may be 0.

        Raises
        ------
        TypeError, UnknownNameError, IndexRangeError
            If `layer` is none that has a state, or there is no such one.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"h": nr.Node(nr.GRU(4, layers=2), "x"), "y": nr.Node([nr.Last(), nr.Dense(1)], ["h", "x"])}
        >>> net, x = nr.Graph({"x": 2}, nodes, ["y"], seed=0), {"x": np.ones((6, 3, 2))}
        >>> h = net.states(x, "h")
        >>> h.shape, np.array_equal(h[-1], net(x)[1]["h"][1])
        ((6, 3, 4), True)
        """
        stateful = self._stateful
        if not stateful:
            raise TypeError(f"layer: expected a graph with a recurrent layer, got {self!r}")
        label = [*stateful][-1] if layer is None else known_name("layer", layer, stateful)
        index = checked_place(index, stateful[label].layer)
        row = next(row for row in self._rows.values() if stateful[label] in row.parts)
        inputs = self._arrays(inputs)

        def of_one(*given):
            return {axis: self.states(given[0], label, None, *given[1:], index)}

        axis = next(axis for axis in (self._axis(read, self._rows) for read in row.reads) if axis is not None)
        nothing = self._of_none(inputs, lengths, reset, of_one)
        if nothing is not None:
            self._states_of("state", state, 0)
            return nothing[axis]
        until = ancestors([row.name], self._described_nodes)
        passage, given = self._passage(inputs, state, lengths, reset, None, NOTHING, until)
        return brought(given.batches[axis].give(passage.tapes[label].stack[index].outputs), given.home)
