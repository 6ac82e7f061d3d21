"""What the second derivatives of a graph's loss make of a vector, at a vector of parameters."""

from collections.abc import Callable

import numpy as np

from ..arrays.ragged import Ragged
from ..errors import renamed
from ..networks.comparison import curved
from .feeding import Feeding
from .jacobians import Jacobians


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
        feedback: dict | None = None,
    ) -> np.ndarray:
        """The product of the loss's Gauss-Newton matrix with a vector, at the parameters `flat`: ``J' H J v``.

        J is `jacobian`, and H the second derivative of the loss with respect to the outputs, each times the weight of its
        loss; see `Network.gauss_newton_product`.  It costs one forward, one `jvp` and one backward.

        Parameters
        ----------
        flat, inputs, targets, lengths, weights, reset, feedback
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
        given = {
            "inputs": inputs, "targets": targets, "lengths": lengths, "weights": weights, "reset": reset,
            "feedback": feedback,
        }  # fmt: skip
        return self._gauss_newton(flat, vector, loss, given)

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
        feedback: dict | None = None,
    ) -> np.ndarray:
        """The product of the loss's Hessian with a vector, at the parameters `flat`: exact, and no matrix is made.

        The nodes run forward and back once, in float64, on dual numbers; on a GPU as `Network.hvp` says.

        Parameters
        ----------
        flat, inputs, targets, lengths, weights, reset, feedback
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
        given = {
            "inputs": inputs, "targets": targets, "lengths": lengths, "weights": weights, "reset": reset,
            "feedback": feedback,
        }  # fmt: skip
        if feedback is not None:
            Feeding.of(self, feedback)  # which a GPU does not take
        return self._hessian_product(flat, vector, loss, given)

    def _curved_loss(self, loss):
        """The Losses that a caller gives, if the second derivative of each is known."""
        losses = self._found_loss(loss)
        for output, own, _ in losses.parts:
            with renamed(loss=f"loss[{output!r}]"):
                curved(own)
        return losses
