"""Named layers that read named inputs and each other, with one parameter vector."""

from collections.abc import Mapping

from .arrays.devices import backend
from .errors import DeviceError, generator
from .graphs.description import Input, Node
from .graphs.function import Function
from .parameters import Parameters


class Graph(Function):
    """Named layers that read named inputs and each other: several inputs and outputs, and one parameter vector.

    Layers in a row are a `Network`.  A graph is for the rest: static covariates beside a series, future inputs that are
    known, an encoder whose final state starts a decoder, connections that skip a layer, layers that are shared, and several
    outputs.

    Parameters
    ----------
    inputs : dict of str to int, None or Input
        What the graph is given, by name: the channels C of numbers with steps, (T, N, C); None for indices with steps,
        (T, N); an `Input` for what has no steps.
    nodes : dict of str to Node
        The layers by name, and what they read.  Their order is that of the parameters, and nothing else depends on it but
        which of two nodes that wait for nothing runs first.
    outputs : str or sequence of str
        The nodes whose outputs are returned.
    dtype : {"float32", "float64"}
    layout : str
        The letters t, n, c in the order of the axes of inputs and outputs; what has no steps has no t.
    device : {"cpu"}
        Where it is computed.
    seed : int or numpy.random.Generator
        For the initial parameters.
    scheme : {"glorot", "pytorch"}
        How they are drawn; see `Layer.init`.

    Attributes
    ----------
    params : Parameters
        All parameters: ``params.flat`` is one writable vector, ``params["encoder.weight_ih_l0"]`` a part of a node of one
        layer, ``params["class.1.weight"]`` of layer 1 of a row.
    history : History or None
        Of the last training, also of one that an exception ended, or that is running; copies and pickles have none.

    Raises
    ------
    TypeError, ValueError, UnknownNameError, ShapeError
        If the description is none of a graph: nodes that need themselves, names that are not there, channels or states that
        do not fit, inputs and nodes that no output needs.
    DeviceError
        For a device other than the CPU.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Graph(
    ...     inputs={"past": 3, "static": nr.Input(5, steps=False), "known": 2},
    ...     nodes={
    ...         "encoder": nr.Node(nr.GRU(8), ["past", "static"]),
    ...         "decoder": nr.Node(nr.GRU(8), ["known", "static"], state="encoder"),
    ...         "y": nr.Node(nr.Dense(1), ["decoder", "known"]),
    ...         "class": nr.Node([nr.Last(), nr.Dense(4)], "encoder"),
    ...     },
    ...     outputs=["y", "class"],
    ...     seed=0,
    ... )
    >>> x = {"past": np.ones((24, 6, 3)), "static": np.ones((6, 5)), "known": np.ones((12, 6, 2))}
    >>> y, state = net(x)
    >>> y["y"].shape, y["class"].shape, state["decoder"].shape
    ((12, 6, 1), (6, 4), (1, 6, 8))
    """

    def __init__(
        self,
        inputs: Mapping[str, int | None | Input],
        nodes: Mapping[str, Node],
        outputs,
        dtype: str = "float32",
        layout: str = "tnc",
        device: str = "cpu",
        seed: int = 0,
        scheme: str = "glorot",
    ):
        weights = self._settle(inputs, nodes, outputs, dtype, layout)
        backend(device)
        if device != "cpu":
            raise DeviceError(f"device: expected 'cpu', where graphs are computed, got {device!r}")
        self.device = device
        self._params = Parameters(self._fresh(generator("seed", seed), scheme), weights)

    def __repr__(self):
        parts = [f"inputs={self.inputs!r}", f"nodes={self.nodes!r}", f"outputs={list(self._outputs)!r}"]
        return f"Graph({', '.join(parts)}, dtype={self.dtype.name!r}, layout={self.layout!r})"
