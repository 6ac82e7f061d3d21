"""What the second derivatives of a graph's loss make of a vector, at a vector of parameters."""

from collections.abc import Callable

import numpy as np

from ..arrays.ragged import Ragged
from ..arrays.rows import like
from ..engine.keep import ALL
from ..errors import renamed
from ..networks.comparison import curved
from ..networks.dual_numbers import Way
from ..networks.placing import brought, on_host
from .jacobians import Jacobians
from .passage import Passage, Return


class Curvature(Jacobians):
    """The part of a graph that Newton's methods ask."""

    def gauss_newton_product(
        self,
        flat: np.ndarray,
        inputs: dict[str, np.ndarray | Ragged],
        targets: dict[str, np.ndarray | Ragged],
        vector: np.ndarray,
        loss: str | Callable | dict = "mse",
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        weights: dict[str, np.ndarray | Ragged] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
    ) -> np.ndarray:
        """The product of the loss's Gauss-Newton matrix with a vector, at the parameters `flat`: ``J' H J v``.

        J is `jacobian`, and H the second derivative of the loss with respect to the outputs, each times the weight of its
        loss; see `Network.gauss_newton_product`.  It costs one forward, one `jvp` and one backward.

        Parameters
        ----------
        flat, inputs, targets, lengths, weights, reset
            As in `loss_and_gradient`.
        vector : numpy.ndarray
            v, (P,), of the graph's dtype.
        loss : str, callable or dict
            As in `fit`: losses of the library, or of your own with a method
            ``hessian_product(prediction, target, direction)``.

        Returns
        -------
        numpy.ndarray
            (P,), new, where `flat` lies.

        Raises
        ------
        TypeError
            If a loss of your own has no ``hessian_product``.
        ShapeError, LayoutError, DTypeError, NonFiniteError, UnknownNameError, ValueError
            Named after the argument that is not as described.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"h": nr.Node(nr.GRU(3), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
        >>> net = nr.Graph({"x": 2}, nodes, "y", dtype="float64", seed=0)
        >>> x, y = {"x": np.ones((5, 4, 2))}, {"y": np.zeros((5, 4, 1))}
        >>> flat, v = net.params.flat, np.ones(len(net.params))
        >>> J = net.jacobian(flat, x)["y"].reshape(20, -1)
        >>> np.allclose(net.gauss_newton_product(flat, x, y, v), 2 / 20 * J.T @ (J @ v))
        True
        """
        (given, home), losses = self._parameters_at(flat), self._curved_loss(loss)
        vector, parts = self._direction("vector", vector), self.split(given.flat)
        samples = self._samples(inputs, targets, lengths, losses, weights, reset)
        read, gradient = samples.given(), given.zeros()
        passage = Passage(self, parts, read.described, ALL)
        ways = {index: [way] for index, way in enumerate(self.split(vector))}
        moved, _ = self._moved(passage, 1, ways, {}, {})
        slopes = {}
        for output, own, weight in losses.parts:
            if output not in samples.empty and moved[output] is not None:
                part, view, value = samples.parts[output], self._view(output), passage.values[output]
                bent = view._bent(own, samples.batch_of(output, read.batches), value, moved[output][0], part)
                slopes[output] = like(value)
                view._rows(slopes[output], part)[...] = brought(weight * bent, self.device)
        into = self.split(gradient.flat)
        Return(passage, slopes, {}, into, accumulate=False, need_x=False, zeros=True).fill()
        return brought(gradient.flat, home)

    def hvp(
        self,
        flat: np.ndarray,
        inputs: dict[str, np.ndarray | Ragged],
        targets: dict[str, np.ndarray | Ragged],
        vector: np.ndarray,
        loss: str | Callable | dict = "mse",
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        weights: dict[str, np.ndarray | Ragged] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
    ) -> np.ndarray:
        """The product of the loss's Hessian with a vector, at the parameters `flat`: exact, and no matrix is made.

        The nodes run forward and back once, in float64, on dual numbers, on the host; see `Network.hvp`.

        Parameters
        ----------
        flat, inputs, targets, lengths, weights, reset
            As in `loss_and_gradient`.
        vector : numpy.ndarray
            v, (P,), of the graph's dtype.
        loss : str, callable or dict
            As in `gauss_newton_product`.

        Returns
        -------
        numpy.ndarray
            (P,), new, where `flat` lies.

        Raises
        ------
        TypeError
            If a loss of your own has no ``hessian_product``.
        ShapeError, LayoutError, DTypeError, NonFiniteError, UnknownNameError, ValueError
            Named after the argument that is not as described.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nodes = {"h": nr.Node(nr.GRU(3), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
        >>> net = nr.Graph({"x": 2}, nodes, "y", dtype="float64", seed=0)
        >>> x, y = {"x": np.ones((5, 4, 2))}, {"y": np.zeros((5, 4, 1))}
        >>> flat, v, step = net.params.flat.copy(), np.ones(len(net.params)), 1e-6
        >>> ahead, behind = (net.loss_and_gradient(flat + s * v, x, y)[1] for s in (step, -step))
        >>> np.allclose(net.hvp(flat, x, y, v), (ahead - behind) / (2 * step), atol=1e-8)
        True
        """
        if self.device != "cpu":
            arrays = {"inputs": inputs, "targets": targets, "vector": vector}
            arrays |= {"lengths": lengths, "weights": weights, "reset": reset}
            here = {name: on_host(name, given) for name, given in arrays.items()}
            return self.to("cpu").hvp(flat, **here, loss=loss)
        (given, home), losses = self._parameters_at(flat), self._curved_loss(loss)
        way = Way(self._direction("vector", vector))
        samples = self._samples(inputs, targets, lengths, losses, weights, reset)
        read, parts, slopes = samples.given(), way.parameters(self, given.flat), {}
        inputs = {name: way.constant(described) for name, described in read.described.items()}
        passage = Passage(self, parts, inputs, ALL)
        for output, own, weight in losses.parts:
            if output not in samples.empty:
                part, view, batch = samples.parts[output], self._view(output), samples.batch_of(output, read.batches)
                value, moved = way.parts(passage.values[output], self.dtype)
                compared = view._target_rows(batch, value, part), view._weight_rows(batch, part)
                dy = view._call_loss(own, view._rows(value, part), *compared, part)[1]
                bent = view._bent(own, batch, value, moved, part)
                slopes[output] = like(passage.values[output])
                view._rows(slopes[output], part)[...] = way.dual(weight * dy, weight * bent)
        gradient = [part.zeros() for part in parts]
        Return(passage, slopes, {}, gradient, accumulate=False, need_x=False, zeros=True).fill()
        return brought(way.moved(gradient, self.dtype), home)

    def _curved_loss(self, loss):
        """The Losses that a caller gives, if the second derivative of each is known."""
        losses = self._found_loss(loss)
        for output, own, _ in losses.parts:
            with renamed(loss=f"loss[{output!r}]"):
                curved(own)
        return losses
