"""The last layers of a graph, solved for instead of trained."""

from collections.abc import Iterable

import numpy as np

from ..arrays.devices import moved
from ..arrays.ragged import Ragged
from ..engine.keep import NOTHING
from ..errors import positive_integer, renamed
from ..networks.comparison import in_time
from ..training.loop import arguments_of, check_samples, checked_samples
from ..training.readouts import (
    LOSS,
    HeldOut,
    best,
    check_readout_samples,
    checked_penalties,
    checked_warmup,
    is_readout,
    readout_rows,
    solutions,
)
from ..training.ridge import NormalEquations
from .names import ancestors
from .objective import Objective
from .passage import Passage
from .reading import by_name


class Readout(Objective):
    """The part of a graph that solves for its last layers."""

    def fit_readout(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        targets: dict[str, np.ndarray | Ragged],
        penalty: float | Iterable[float] = 1e-6,
        warmup: int = 0,
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        weights: dict[str, np.ndarray | Ragged] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        validation: tuple | None = None,
        chunk: int = 4096,
    ) -> dict[str, dict[float, float]]:
        """Solve for the last layers of outputs, linear `Dense` ones, by ridge regression; all others stay as they are.

        What `Network.fit_readout` does, for each output that has targets by itself: what the last layer of its node reads,
        of several values that are joined all of them, is f there.  The nodes run once for all of these outputs.

        Parameters
        ----------
        inputs : dict of str to array, list, DataFrame or Ragged
            As in `fit`.
        targets : dict of str to array, list, DataFrame or Ragged
            Numbers, by the outputs that are solved for.
        penalty, warmup, chunk
            As in `Network.fit_readout`; of several penalties each output gets its own best one.
        lengths, weights, reset
            As in `fit`.
        validation : tuple, optional
            (inputs, targets), and perhaps lengths, weights and reset, as in `fit`; needed with several penalties.

        Returns
        -------
        dict of str to dict of float to float
            By output the mean squared error by penalty, on `validation` if there is one.

        Raises
        ------
        TypeError, ValueError
            If the last layer of such an output is not a `Dense` with the activation "linear", or another node shares it; if
            one of them reads another; if an argument is not as described, or nothing is left after `warmup`.
        NonFiniteError
            If there is a NaN or an infinity in inputs, targets, the parameters, or what becomes of them.  The graph is then
            as it was.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> reservoir = nr.LeakyRNN(50, rate=0.5, connectivity=nr.Connectivity(density=0.1, spectral_radius=0.9))
        >>> nodes = {"h": nr.Node(reservoir, "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
        >>> net = nr.Graph({"x": 1}, nodes, ["y"], dtype="float64", seed=0)
        >>> s = np.sin(np.arange(301) / 5)[:, None, None]
        >>> errors = net.fit_readout({"x": s[:-1]}, {"y": s[1:]}, penalty=1e-8, warmup=50)
        >>> errors["y"][1e-8] < 1e-6
        True
        """
        penalties, warmup = checked_penalties(penalty, validation), checked_warmup(warmup)
        chunk = positive_integer("chunk", chunk)
        solved = list(by_name("targets", targets, list(self._outputs), "outputs"))
        self._check_readouts(solved)
        self.params.check_writable("params")
        self.params.check_finite()
        losses = self._found_loss(dict.fromkeys(solved, LOSS))
        samples = self._samples(inputs, targets, lengths, losses, weights, reset)
        for output in solved:
            with samples._named(output):
                check_readout_samples(samples.parts[output], warmup)
        check_samples(samples)
        held_out = None if validation is None else checked_samples(self, validation, losses, "validation")
        equations = {output: NormalEquations(self._rows[output].inputs[-1], self._channels(output)) for output in solved}
        for output, rows in self._readout_rows(samples, solved, warmup, chunk):
            equations[output].add(*rows)
        found, errors = {}, {}
        for output in solved:
            with samples._named(output), renamed(x="inputs"):
                found[output] = solutions(equations[output], penalties, warmup)
        if held_out is None:
            errors = {output: [equations[output].error(*each) for each in found[output]] for output in solved}
        else:
            measured = {output: HeldOut(found[output]) for output in solved}
            for output, rows in self._readout_rows(held_out, solved, warmup, chunk):
                measured[output].add(*rows)
            with arguments_of("validation"):
                errors = {output: each.errors(warmup) for output, each in measured.items()}
        written = {output: best(found[output], errors[output], self.dtype, penalty) for output in solved}
        for output, (weight, bias) in written.items():
            own = self._own[self._rows[output].parts[-1].index]
            own["weight"][...], own["bias"][...] = moved(weight, self.device), moved(bias, self.device)
        return {output: dict(zip(penalties, errors[output])) for output in solved}

    def _check_readouts(self, solved):
        """Raise unless the last layers of some outputs can be solved for, each by itself."""
        if not solved:
            raise ValueError("targets: expected targets of at least one output, got none")
        places = [(name, row.parts[-1].index) for name, row in self._rows.items()]
        for output in solved:
            row = self._rows[output]
            if not is_readout(row.layers[-1]):
                expected = "a Dense with the activation 'linear' as the last layer"
                raise TypeError(f"targets[{output!r}]: expected {expected}, got {row.layers[-1]!r}")
            sharing = [name for name, index in places if index == row.parts[-1].index and name != output]
            if sharing:
                raise ValueError(
                    f"targets[{output!r}]: expected a last layer of its own, got one that {sharing[0]!r} shares"
                )
            for other in solved:
                if other != output and output in ancestors([other], self._described_nodes):
                    expected = f"outputs that do not read each other; call it for {output!r} first"
                    raise ValueError(f"targets[{other!r}]: expected {expected}, got one that reads {output!r}")

    def _readout_rows(self, samples, solved, warmup, most):
        """(output, what `readout_rows` returns of it), some rows at a time; after warm-up."""
        needed = ancestors(solved, self._described_nodes)
        for piece in samples.pieces(most):
            states, before = None, 0
            for part in in_time(self, piece, most):
                given = part.given()
                passage = Passage(self, self._own, given.described, NOTHING, initial=states, until=needed)
                for output in solved:
                    features = passage.tapes[self._rows[output].parts[-1].label].x
                    if features.packing.rows:  # else sequences without any step
                        own, batch = part.parts[output], part.batch_of(output, given.batches)
                        yield output, readout_rows(features, own, batch, warmup, before, self._channels(output))
                before += max(batch.steps for batch in given.batches.values())
                states = {label: passage.tapes[label].final() for label in self._stateful if label in passage.tapes}
