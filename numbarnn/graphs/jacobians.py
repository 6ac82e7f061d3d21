"""The derivative of every output of a graph, and the gradient of every sample, at a vector of parameters."""

from collections.abc import Callable

import numpy as np

from ..arrays.descriptor import TensorDescriptor, in_layout
from ..arrays.devices import backend
from ..arrays.indices import Indices
from ..arrays.ragged import Ragged
from ..arrays.rows import numbers
from ..engine.keep import ALL
from ..networks.derived import ROWS, Derived, columns_of, fill_by_tangents, laid_out, ones_at, repeated
from ..networks.placing import brought
from ..networks.seen import is_mean_of_samples
from .feeding import Feeding
from .motion import Motion
from .objective import Objective
from .passage import Passage, Return
from .passing import Passing, passed
from .workspace import GraphWorkspace


class Jacobians(Derived, Objective):
    """The part of a graph that solvers of least squares ask."""

    def jacobian(
        self,
        flat: np.ndarray,
        inputs: dict[str, np.ndarray | Ragged],
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        feedback: dict | None = None,
    ) -> dict[str, np.ndarray]:
        """The derivative of every number of every output with respect to every parameter, at the parameters `flat`.

        The graph's own parameters stay as they are.  Of samples of equal length, each with no more numbers of outputs than
        the graph has parameters, it is computed by backward where no layer is shared and no output is fed back; else
        forward, some parameters at a time, through the nodes that they have a part in.

        Parameters
        ----------
        flat : numpy.ndarray
            (P,): as long as ``params.flat`` and of the graph's dtype.
        inputs, lengths, reset, feedback
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
        feeding = None if feedback is None else Feeding.of(self, feedback)
        strengths = None if feeding is None else feeding.strengths(read.described[feeding.input])
        passage, fed = passed(self, parts, read, strengths, feeding)
        found = self._jacobians_of_rows(parts, passage) if fed is None else None
        if found is not None:
            return {name: brought(laid_out(each, self._letters(name)), home) for name, each in found.items()}
        zeros, values = backend(self.device).memory.zeros, {name: passage.values[name] for name in self._outputs}
        shapes = {name: self._numbers_of(name, value, read.batches).shape for name, value in values.items()}
        found = {name: zeros((*shape, len(given)), self.dtype) for name, shape in shapes.items()}

        def moved(index, directions):
            tangents = Motion(passage, len(directions), {index: directions}, {}, {}, fed).values
            for name in found:
                yield [self._numbers_of(name, each, read.batches) for each in tangents[name] or ()]

        width = max(each.packing.rows * getattr(each, "channels", 1) for each in passage.values.values())
        fill_by_tangents(found.values(), parts, width, self.device, moved)
        return {name: brought(jacobian, home) for name, jacobian in found.items()}

    def _jacobians_of_rows(self, parts, passage):
        """{output: (T, N, C, P)} by backward: of a batch that has each sequence again for every output, a gradient each.

        None where the tangents of all parameters are fewer, sequences differ in length, or a node cannot tell rows apart.
        """
        values = {name: passage.values[name] for name in self._outputs}
        sources = {name: passage.values[name] for name in self._described_inputs}
        uniform = all(each.packing.uniform for each in passage.values.values())
        if not uniform or any(isinstance(each, Indices) for each in sources.values()):
            return None
        places = [(name, *at) for name, each in values.items() for at in np.ndindex(each.steps, each.channels)]
        size, batch = sum(map(len, parts)), next(iter(values.values())).batch
        together = max(1, min(len(places), ROWS // max(each.packing.rows for each in passage.values.values())))
        if len(places) > size or together * batch < 2:
            return None
        rows, copied = backend(self.device).memory.zeros((len(places), batch, size), self.dtype), None
        for first in range(0, len(places), together):
            some = places[first : first + together]
            if copied is None or len(some) < together:
                again = {name: repeated(numbers(each), len(some)) for name, each in sources.items()}
                copied = Passage(self, parts, {name: TensorDescriptor.of_tnc(each) for name, each in again.items()}, ALL)
                if len(some) * batch < 2 or not copied.separable():
                    return None
            own = {}
            for k, (name, *at) in enumerate(some):
                own.setdefault(name, []).append((k, *at))
            slopes = {name: ones_at(copied.values[name], each, batch) for name, each in own.items()}
            into = rows[first : first + len(some)].reshape(len(some) * batch, -1)
            Return(copied, slopes, {}, parts, accumulate=False, need_x=False, rows=columns_of(into, parts)).fill()
        found, at = {}, 0
        for name, each in values.items():
            own = rows[at : at + each.steps * each.channels].reshape(each.steps, each.channels, batch, size)
            found[name], at = own.swapaxes(1, 2), at + each.steps * each.channels
        return found

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
        feedback: dict | None = None,
    ) -> np.ndarray:
        """The gradient of each sample's loss by itself, at the parameters `flat`: ``(N, P)``.

        Row n is what `loss_and_gradient` gives for sample n alone.  The graph's own parameters stay as they are.  Samples go
        back together, as those of a network do, where no layer is shared and no output is fed back; others take a call each.
        See `Network.sample_gradients`.

        Parameters
        ----------
        flat, inputs, targets, loss, lengths, weights, reset, feedback
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
        given = {
            "inputs": inputs, "targets": targets, "lengths": lengths, "weights": weights, "reset": reset,
            "feedback": feedback,
        }  # fmt: skip
        return self._gradients_of_samples(flat, loss, given)

    def _passing(self, *work):
        """The `Passing` of parameters, samples and losses."""
        return Passing(self, *work)

    def _workspace(self, into, parts):
        """The GraphWorkspace that computes a gradient from parameters."""
        return GraphWorkspace(self, into, parts, ("all", None))

    def _counts(self, samples, losses):
        """Whether the losses see anything of samples."""
        return len(samples.empty) < len(losses.parts)

    def _is_apart(self, samples, losses):
        """Whether the losses of samples are means of their own, and each may have a gradient of its own."""
        means = (is_mean_of_samples(loss) for _, loss, _ in losses.parts)
        return samples.feedback is None and (self.device == "cpu" or all(means))
