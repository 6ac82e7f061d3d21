"""A word for networks: this layer takes each step of a sequence by itself."""

from .base import Layer
from .recurrent import Recurrent


def PerStep(layer: Layer) -> Layer:
    """The layer itself: it takes each step of a sequence by itself, and a network that says so is read more easily.

    Every layer of samples does: `Dense`, `Conv2d`, `Flatten` and the like take (T, N, C) as T times N samples.  So nothing
    has to be wrapped, as by Keras' ``TimeDistributed``, and the network is the same without it.

    Parameters
    ----------
    layer : Layer
        One that no step reaches from another.

    Returns
    -------
    Layer
        `layer`.

    Raises
    ------
    TypeError
        If it is no layer of numbarnn.
    ValueError
        If it is one over the steps of a sequence: a recurrent layer, `Last` or `Pool`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> looks = [nr.PerStep(nr.Conv2d(2, 3)), nr.PerStep(nr.Flatten())]
    >>> film = nr.Network([*looks, nr.GRU(5), nr.Last()], channels=(1, 8, 8))
    >>> film.predict(np.zeros((10, 3, 64), np.float32)).shape
    (3, 5)
    """
    expected = "a layer of numbarnn that takes each step by itself, such as Dense(4)"
    if not isinstance(layer, Layer):
        raise TypeError(f"layer: expected {expected}, got {layer!r} ({type(layer).__name__})")
    if isinstance(layer, Recurrent) or layer.leaves_one:
        raise ValueError(f"layer: expected {expected}, got {layer!r}, which goes over the steps")
    return layer
