"""The Jacobian of one step of a recurrent layer."""

import numpy as np

from ..layers.recurrent import Recurrent, State
from ..parameters import Parameters
from .maps import StateMap, inputs_of


def step_jacobian(layer: Recurrent, p: Parameters, x: np.ndarray | None, state: State) -> np.ndarray:
    """The Jacobians of one step of a layer with respect to its state, at many states at once.

    N states, L stacked layers, C input channels, H hidden units, S numbers of a state.  A step takes the state s, a vector,
    to ``F(x, s)``; the result is ``J[n, i, j] = dF_i / ds_j`` at ``x[n], s[n]``.  The vector is h of all stacked layers, the
    lowest first, and for an LSTM then c of all of them: S is L * H, or twice that.

    Parameters
    ----------
    layer : Recurrent
        Any recurrent layer of one direction, with all of its options.
    p : Parameters
    x : numpy.ndarray or None
        (N, C), or (C,) for all of them; None for zeros.
    state : numpy.ndarray or tuple of two
        As the layer takes it: (L, N, H), for an LSTM the pair (h, c).

    Returns
    -------
    numpy.ndarray
        (N, S, S), of the dtype of the parameters, where they are.

    Raises
    ------
    ShapeError, DTypeError, TypeError, ValueError, NonFiniteError
        Named after the argument that is not as described; a bidirectional layer has no such step.
    DeviceError
        For arrays that are not where the parameters are.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.RNN(3)
    >>> p, h = layer.init(channels=2, seed=0, dtype="float64"), np.zeros((1, 5, 3))
    >>> jacobian = nr.dynamics.step_jacobian(layer, p, None, h)
    >>> jacobian.shape, np.allclose(jacobian[0], p["weight_hh_l0"])
    ((5, 3, 3), True)
    """
    steps = StateMap(layer, p)
    vectors = steps.checked("state", state)
    inputs = inputs_of("x", x, len(vectors), steps.channels, steps.dtype, steps.device)
    _, tape = steps.run(inputs[None], steps.state(vectors))
    return steps.jacobians(tape)[0]
