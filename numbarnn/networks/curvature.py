"""What the second derivatives of a network's loss make of a vector, at a vector of parameters."""

from collections.abc import Callable

import numpy as np

from ..arrays.ragged import Ragged
from ..layers.feedback import Feedback
from .comparison import curved
from .jacobians import Jacobians


class Curvature(Jacobians):
    """The part of a network that Newton's methods ask."""

    def gauss_newton_product(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        vector: np.ndarray,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> np.ndarray:
        """The product of the loss's Gauss-Newton matrix with a vector, at the parameters `flat`: ``J' H J v``.

        J is `jacobian`, and H the second derivative of the loss with respect to the outputs: of ``"mse"`` ``2 / n`` on the
        diagonal, for n numbers.  It is the Hessian without the second derivatives of the outputs, which vanish where they
        are fitted; of a loss that is convex in the outputs it has no negative eigenvalue.  It costs one forward, one `jvp`
        and one backward; no matrix is made.

        Parameters
        ----------
        flat, x, y, lengths, weights, reset, feedback
            As in `loss_and_gradient`.
        vector : numpy.ndarray
            v, (P,), of the network's dtype.
        loss : str or callable
            A loss of the library, or one of your own with a method ``hessian_product(prediction, target, direction)``, with
            ``weights=`` where there are some, which returns H times a direction, shaped like the prediction.

        Returns
        -------
        numpy.ndarray
            (P,), new, where `flat` lies.  On a GPU only the loss's H is applied on the host.

        Raises
        ------
        TypeError
            If a loss of your own has no ``hessian_product``.
        ShapeError, LayoutError, DTypeError, NonFiniteError, ValueError
            Named after the argument that is not as described.

        References
        ----------
        Schraudolph 2002, doi:10.1162/08997660260028683; Martens 2010, Deep learning via Hessian-free optimization.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> flat, v = net.params.flat, np.ones(len(net.params))
        >>> J = net.jacobian(flat, x).reshape(y.size, -1)
        >>> np.allclose(net.gauss_newton_product(flat, x, y, v), 2 / y.size * J.T @ (J @ v))
        True
        """
        given = {"x": x, "y": y, "lengths": lengths, "weights": weights, "reset": reset, "feedback": feedback}
        return self._gauss_newton(flat, vector, loss, given)

    def hvp(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        vector: np.ndarray,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> np.ndarray:
        """The product of the loss's Hessian with a vector, at the parameters `flat`: exact, and no matrix is made.

        Forward and backward run once, in float64, on dual numbers, a value and how it moves along the vector: the tangent of
        the gradient is the product.  Cells and activation functions of your own have it by their equations.  Where one has a
        kink, the derivative of one of its sides is taken.  On a GPU each step of a recurrent layer is a launch of its own,
        or two, and only the loss's second derivative is computed on the host.  If a layer of a network there normalizes
        (``normalized=True``), all arrays are copied to the host, which computes the product.

        Parameters
        ----------
        flat, x, y, lengths, weights, reset, feedback
            As in `loss_and_gradient`.
        vector : numpy.ndarray
            v, (P,), of the network's dtype.
        loss : str or callable
            As in `gauss_newton_product`.

        Returns
        -------
        numpy.ndarray
            (P,), new, where `flat` lies.

        Raises
        ------
        TypeError
            If a loss of your own has no ``hessian_product``.
        ShapeError, LayoutError, DTypeError, NonFiniteError, ValueError
            Named after the argument that is not as described.

        References
        ----------
        Pearlmutter 1994, doi:10.1162/neco.1994.6.1.147.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> flat, v, step = net.params.flat.copy(), np.ones(len(net.params)), 1e-6
        >>> ahead, behind = (net.loss_and_gradient(flat + s * v, x, y)[1] for s in (step, -step))
        >>> np.allclose(net.hvp(flat, x, y, v), (ahead - behind) / (2 * step), atol=1e-8)
        True
        """
        if self.device != "cpu" and feedback is not None:
            self._check_feedback(feedback)
        given = {"x": x, "y": y, "lengths": lengths, "weights": weights, "reset": reset, "feedback": feedback}
        return self._hessian_product(flat, vector, loss, given)

    def _curved_loss(self, loss):
        """The loss that a caller gives, if its second derivative is known."""
        return curved(self._found_loss(loss))
