"""The words in which a graph is described: inputs, and nodes that read them and each other."""

from dataclasses import dataclass
from typing import ClassVar

from ..descriptions.fields import Description, optional
from ..errors import positive_integer, several
from ..layers.base import Layer


def checked_name(argument, value):
    """`value` as a name of an input or a node: text without a point, which stands between the parts of other names."""
    if not isinstance(value, str):
        raise TypeError(f"{argument}: expected a name, got {value!r} ({type(value).__name__})")
    if not value or "." in value:
        raise ValueError(f"{argument}: expected a name that is not empty and without a point, got {value!r}")
    return str(value)


def _row_or_name(argument, value):
    """The layers of a node as a tuple, or the name of the node whose layers it shares."""
    if isinstance(value, str):
        return checked_name(argument, value)
    row = (value,) if isinstance(value, Layer) else several(argument, value, "a layer, layers in a list, or a node's name")
    if not row:
        raise ValueError(f"{argument}: expected at least one layer, got none")
    for layer in row:
        if not isinstance(layer, Layer):
            raise TypeError(f"{argument}: expected layers of numbarnn, got {layer!r} ({type(layer).__name__})")
    return row


def _names(argument, value):
    """One name or several as a tuple."""
    names = (value,) if isinstance(value, str) else several(argument, value, "the name of an input or a node, or several")
    if not names:
        raise ValueError(f"{argument}: expected at least one name, got none")
    return tuple(checked_name(f"{argument}[{index}]", name) for index, name in enumerate(names))


@dataclass(frozen=True)
class Input(Description):
    """What a `Graph` is given under a name: numbers, or the indices that an `Embedding` takes.

    Parameters
    ----------
    channels : int, optional
        Channels C of each step; None for indices, integers.
    steps : bool
        Whether there is a time axis: (T, N, C), of indices (T, N).  Without, there is one row for each sequence, (N, C), of
        indices (N,): a static covariate.

    Examples
    --------
    >>> import numbarnn as nr
    >>> nr.Input(3), nr.Input(5, steps=False)
    (Input(channels=3, steps=True), Input(channels=5, steps=False))
    """

    channels: int | None
    steps: bool = True

    accepts: ClassVar = {"channels": optional(positive_integer)}


@dataclass(frozen=True)
class Node(Description):
    """Layers in a row under a name in a `Graph`, and what they read.

    Parameters
    ----------
    layers : Layer, sequence of Layer, or str
        One layer, or some in a row; or the name of another node, whose layers and parameters this one shares.
    reads : str or sequence of str
        Names of inputs and nodes.  Several are joined along their channels, in this order; one without steps is repeated at
        each step of the others.
    state : str, optional
        What the node's recurrent layer starts from.  The name of a node with steps: the final state of its recurrent layer,
        which has the same shape.  The name of a node or an input without steps: its numbers, (N, L * D * H) for L stacked
        layers of D directions and H hidden units, in this order; for an LSTM the numbers of h, then the numbers of c.

    Examples
    --------
    >>> import numbarnn as nr
    >>> nr.Node([nr.Last(), nr.Dense(4)], "encoder")
    Node(layers=(Last(), Dense(units=4)), reads=('encoder',), state=None)
    """

    layers: Layer | tuple | str
    reads: str | tuple
    state: str | None = None

    accepts: ClassVar = {"layers": _row_or_name, "reads": _names, "state": optional(checked_name)}
