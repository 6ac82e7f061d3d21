"""A network that goes on from its own predictions."""

import numpy as np

from .arrays.conversion import numbers_like
from .arrays.descriptor import TensorDescriptor, in_layout
from .errors import ShapeError, flag, positive_integer
from .network import Network
from .training.sequences import other_layout


def extrapolate(
    network: Network, start: np.ndarray, steps: int, stateful: bool = False, known: np.ndarray | None = None
) -> np.ndarray:
    """What a network predicts after `start`, each prediction being the input of the next one.

    Parameters
    ----------
    network : Network
        One whose output has the channels of its input: the value that follows a sequence.  Of a network without `Last`
        the output at the last step is taken.
    start : array
        (T, N, C) in the network's layout, or (T, C) for one sequence: what came before, at least one step.
    steps : int
        How many predictions.
    stateful : bool
        False: each is made from a window of the last T values, with a state of zeros, as in a training on windows.  True:
        the state goes on, over `start` and then from prediction to prediction; a step costs the same whatever came before.
    known : array, optional
        (steps, N, K) laid out like `start`: the last K of the C channels of the input, known ahead, beside each prediction,
        which are the first C - K.  The last step is not read: no prediction follows it.

    Returns
    -------
    numpy.ndarray
        (steps, N, output channels) laid out like `start`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> series = np.sin(np.arange(300, dtype=np.float32) / 5)
    >>> x, y = nr.windows(series[:200], 20)
    >>> net = nr.Network([nr.GRU(16), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    >>> history = net.fit(x, y, optimizer=nr.Adam(nr.cosine(0.01)), epochs=40, progress=False)
    >>> ahead = nr.extrapolate(net, series[180:200, None], steps=50)
    >>> ahead.shape, bool(np.abs(ahead[:, 0] - series[200:250]).max() < 0.2)
    ((50, 1), True)
    """
    if not isinstance(network, Network):
        raise TypeError(f"network: expected a Network, got {type(network).__name__}")
    stateful = flag("stateful", stateful)
    steps = positive_integer("steps", steps)
    if known is None and network.output_channels != network.channels:
        hint = "; known= has those that it does not predict" if network.output_channels < network.channels else ""
        raise ShapeError(
            f"network: expected as many output channels as input channels, {network.channels}, to feed predictions back,"
            f" got {network.output_channels}{hint}"
        )
    if known is not None and network.output_channels >= network.channels:
        raise ShapeError(
            f"network: expected fewer output channels than the {network.channels} of its input, of which known= has the"
            f" others, got {network.output_channels}"
        )
    start = numbers_like("start", start, network.dtype, network.layout)
    if start.ndim == 1 and network.channels == 1:
        hint = "; start[:, None] is one sequence of one channel"
        raise ShapeError(f"start: expected 2 or 3 axes ({network.layout}), got 1 (shape {start.shape}){hint}")
    described = TensorDescriptor.of(start, network.layout, "start")
    if not described.steps or not described.batch:
        raise ShapeError(f"start: expected at least one step of one sequence, got shape {described.array.shape}")
    if described.channels != network.channels:
        hint = other_layout(start.shape, described.layout, c=network.channels)
        found = f"{described.channels} (shape {start.shape})"
        raise ShapeError(f"start: expected {network.channels} channels, got {found}{hint}")
    if known is not None:
        known = _known(network, known, steps, described)
    ahead = (_stateful if stateful else _windowed)(network, described.tnc, steps, known)
    return in_layout(ahead, described.layout)


def _known(network, known, steps, start):
    """The known channels, (steps, N, K); an error unless they and the predictions are the network's input."""
    known = numbers_like("known", known, network.dtype, start.layout)
    if known.ndim != len(start.layout):
        raise ShapeError(f"known: expected {len(start.layout)} axes ({start.layout}) like start, got shape {known.shape}")
    found = TensorDescriptor.of(known, start.layout, "known")
    wanted = steps, start.batch, network.channels - network.output_channels
    if (found.steps, found.batch, found.channels) != wanted:
        t, n, c = wanted
        raise ShapeError(
            f"known: expected {t} steps of {n} sequences and {c} channels, all of the input's {network.channels} that the"
            f" network does not predict, got shape {known.shape} ({start.layout})"
        )
    return found.tnc


def _windowed(network, start, steps, known):
    """(steps, N, C), each from the T values before it: windows are views of one array that grows."""
    length = len(start)
    series = np.empty((length + steps, *start.shape[1:]), start.dtype)
    series[:length] = start
    if known is not None:
        series[length:, :, network.output_channels :] = known
    for step in range(steps):
        predicted = network.predict(in_layout(series[step : step + length], network.layout))
        if "t" in network.output_layout:
            predicted = predicted.take(-1, network.output_layout.index("t"))
        letters = network.output_layout.replace("t", "")
        predicted = predicted.transpose([letters.index(letter) for letter in "nc"])
        series[length + step, :, : network.output_channels] = predicted
    return series[length:, :, : network.output_channels]


def _stateful(network, start, steps, known):
    """(steps, N, C) from a stream that has seen `start`."""
    stream = network.stream(start.shape[1])
    stream.run(start[:-1])
    return stream.feed_back(start[-1], steps, known)
