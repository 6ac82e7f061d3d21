"""The derivative of every output of a graph, and the gradient of every sample, at a vector of parameters."""

from collections.abc import Callable

import numpy as np

from ..arrays.descriptor import in_layout
from ..arrays.devices import backend
from ..arrays.ragged import Ragged
from ..arrays.rows import like, numbers
from ..engine.keep import ALL
from ..networks.jacobians import is_mean_of_samples, samples_shares, unit_ways
from ..networks.placing import brought
from .objective import Objective
from .passage import Passage, Return
from .workspace import GraphWorkspace


class Jacobians(Objective):
    """The part of a graph that solvers of least squares ask."""

    def jacobian(
        self,
        flat: np.ndarray,
        inputs: dict[str, np.ndarray | Ragged],
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """The derivative of every number of every output with respect to every parameter, at the parameters `flat`.

        The graph's own parameters stay as they are.  All is computed forward, some parameters at a time, through the nodes
        that they have a part in.

        Parameters
        ----------
        flat : numpy.ndarray
            (P,): as long as ``params.flat`` and of the graph's dtype.
        inputs, lengths, reset
            As in a call.

        Returns
        -------
        dict of str to numpy.ndarray
            By the names of the outputs, each shaped like the output with one more axis, the last, of P: (T, N, C, P) in the
            graph's layout, 0 past the end of a sequence, or (N, C, P) of what has no steps.  Of outputs that are Ragged
            (rows, C, P), row by row as in their ``data``.  They lie where `flat` does.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, UnknownNameError, TypeError, ValueError
            Named after the argument that is not as described.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"h": nr.Node(nr.GRU(3), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
        >>> net = nr.Graph({"x": 2}, nodes, "y", dtype="float64", seed=0)
        >>> x, flat = {"x": np.ones((5, 4, 2))}, net.params.flat.copy()
        >>> J = net.jacobian(flat, x)["y"]
        >>> J.shape == (5, 4, 1, len(flat))
        True
        >>> v = np.linspace(-1, 1, len(flat))
        >>> np.allclose(J @ v, net.jvp(net.forward(x)[2], v)[0]["y"])
        True
        """
        given, home = self._parameters_at(flat)
        read, parts = self._given(inputs, lengths, reset), self.split(given.flat)
        passage = Passage(self, parts, read.described, ALL)
        zeros, at = backend(self.device).memory.zeros, 0
        found = {
            name: zeros((*self._numbers_of(name, passage.values[name], read.batches).shape, len(given)), self.dtype)
            for name in self._outputs
        }
        width = max(each.packing.rows * getattr(each, "channels", 1) for each in passage.values.values())
        for index, part in enumerate(parts):
            for first, parameters in unit_ways(part, width, self.device):
                moved, _ = self._moved(passage, len(parameters), {index: parameters}, {}, {})
                for name, jacobian in found.items():
                    for m, each in enumerate(moved[name] or ()):
                        jacobian[..., at + first + m] = self._numbers_of(name, each, read.batches)
            at += len(part)
        return {name: brought(jacobian, home) for name, jacobian in found.items()}

    def _numbers_of(self, name, described, batches):
        """The numbers of an output, or of a tangent of it, as the caller has them; of a Ragged its rows."""
        axis = self._axis(name, self._rows)
        if axis is None:
            return in_layout(described.array, self._letters(name))
        given = batches[axis].give(described)
        return given.data if isinstance(given, Ragged) else given

    def sample_gradients(
        self,
        flat: np.ndarray,
        inputs: dict[str, np.ndarray | Ragged],
        targets: dict[str, np.ndarray | Ragged],
        loss: str | Callable | dict = "mse",
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        weights: dict[str, np.ndarray | Ragged] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
    ) -> np.ndarray:
        """The gradient of each sample's loss by itself, at the parameters `flat`: ``(N, P)``.

        Row n is what `loss_and_gradient` gives for sample n alone.  The graph's own parameters stay as they are.  Samples of
        equal length go back together where no layer is shared, and each has weights alone for parameters; others, and all on
        a GPU, take a call each.

        Parameters
        ----------
        flat, inputs, targets, loss, lengths, weights, reset
            As in `loss_and_gradient`.

        Returns
        -------
        numpy.ndarray
            (N, P), new, where `flat` lies.  Of a sample in which nothing counts, as its weights are 0, it is 0.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, UnknownNameError, TypeError, ValueError
            Named after the argument that is not as described.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"h": nr.Node(nr.GRU(3), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
        >>> net = nr.Graph({"x": 2}, nodes, "y", dtype="float64", seed=0)
        >>> x, y = {"x": np.ones((5, 4, 2))}, {"y": np.linspace(0, 1, 20).reshape(5, 4, 1)}
        >>> found = net.sample_gradients(net.params.flat, x, y)
        >>> np.allclose(found.mean(axis=0), net.loss_and_gradient(net.params.flat, x, y)[1])
        True
        """
        (given, home), losses = self._parameters_at(flat), self._found_loss(loss)
        samples, parts = self._samples(inputs, targets, lengths, losses, weights, reset), self.split(given.flat)
        found = backend(self.device).memory.zeros((samples.x.count, len(given)), self.dtype)
        if not self._sample_gradients_together(parts, samples, losses, found):
            for n in range(samples.x.count):
                alone = samples.take(np.array([n]))
                if len(alone.empty) < len(losses.parts):
                    GraphWorkspace(self, self.split(found[n]), parts, ("all", None)).gradient(alone, losses)
        return brought(found, home)

    def _sample_gradients_together(self, parts, samples, losses, found):
        """Write the gradients of samples of equal length at once (`found` is modified); whether that could be done."""
        means = all(is_mean_of_samples(loss) for _, loss, _ in losses.parts)
        if self.device != "cpu" or not means or samples.ragged or len(found) < 2:
            return False
        given = samples.given()
        passage = Passage(self, parts, given.described, ALL)
        if not passage.separable():
            return False
        slopes = {}
        for output, loss, weight in losses.parts:
            if output not in samples.empty:
                part, view, value = samples.parts[output], self._view(output), passage.values[output]
                batch = samples.batch_of(output, given.batches)
                seen = view._rows(value, part).copy(), view._target_rows(batch, value, part), view._weight_rows(batch, part)
                slopes[output] = like(value)
                view._rows(slopes[output], part)[...] = weight * view._call_loss(loss, *seen, part)[1]
                numbers(slopes[output])[...] *= samples_shares(part, self.dtype)[:, None]
        ends = np.cumsum([len(part) for part in parts])
        rows = [found[:, end - len(part) : end] for part, end in zip(parts, ends)]
        Return(passage, slopes, {}, parts, accumulate=False, need_x=False, rows=rows).fill()
        return True
