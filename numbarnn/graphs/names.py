"""The names in a graph's description: that they are there, and an order in which nodes can run."""

from collections.abc import Mapping

from ..errors import known_name, nearest, renamed
from .description import Input, Node, checked_name


def _mapping(argument, value, expected):
    """`value` as a dict by name, if it is one and not empty."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{argument}: expected {expected} in a dict by name, got {value!r:.80} ({type(value).__name__})")
    if not value:
        raise ValueError(f"{argument}: expected at least one, got none")
    return {checked_name(f"{argument} {name!r:.80}", name): each for name, each in value.items()}


def checked_inputs(inputs):
    """{name: Input}; an integer stands for the channels of one with steps, None for indices with steps."""
    found = {}
    for name, given in _mapping("inputs", inputs, "the channels of each input, or nr.Input,").items():
        if not isinstance(given, Input):
            with renamed(channels=f"inputs[{name!r}]"):
                given = Input(given)
        found[name] = given
    return found


def checked_nodes(nodes, inputs):
    """{name: Node}, with names that the inputs do not have."""
    found = _mapping("nodes", nodes, "an nr.Node for each")
    for name, node in found.items():
        if not isinstance(node, Node):
            hint = "; nr.Node(layers, reads) is one"
            raise TypeError(f"nodes[{name!r}]: expected an nr.Node, got {node!r:.80} ({type(node).__name__}){hint}")
        if name in inputs:
            raise ValueError(f"nodes[{name!r}]: expected a name that no input has, got {name!r}")
    for name, node in found.items():
        for what in (*node.reads, *(() if node.state is None else (node.state,))):
            if what not in found and what not in inputs:
                raise nearest(f"nodes[{name!r}]", what, [*inputs, *found])
        if isinstance(node.layers, str):
            owner = found.get(node.layers)
            if owner is None:
                raise nearest(f"nodes[{name!r}].layers", node.layers, found)
            if isinstance(owner.layers, str):
                expected = "a node with layers of its own"
                raise ValueError(f"nodes[{name!r}].layers: expected {expected}, got {node.layers!r}, which shares others")
    return found


def needed(node):
    """The names of what must be there before a node runs."""
    return {*node.reads, *(() if node.state is None else (node.state,))}


def ancestors(names, nodes):
    """The names of all inputs and nodes that must be there for some, these among them."""
    found, todo = set(), [*names]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += needed(nodes[name]) if name in nodes else ()
    return found


def in_order(nodes):
    """The names of nodes in an order in which each comes after what it needs: of those that may be next the first one."""
    left, order = dict(nodes), []
    while left:
        name = next((name for name, node in left.items() if not needed(node) & left.keys()), None)
        if name is None:
            circle = [next(iter(left))]
            while circle[-1] not in circle[:-1]:
                circle.append(next(each for each in left if each in needed(left[circle[-1]])))
            circle = circle[circle.index(circle[-1]) :]
            raise ValueError(f"nodes: expected none that needs itself, got the circle {' <- '.join(circle)}")
        order.append(name)
        del left[name]
    return order


def checked_outputs(outputs, nodes):
    """The names of nodes, each once, as a tuple."""
    expected = "the names of nodes in a list"
    names = (outputs,) if isinstance(outputs, str) else outputs
    if not isinstance(names, (tuple, list)):
        raise TypeError(f"outputs: expected {expected}, got {outputs!r:.80} ({type(outputs).__name__})")
    if not names:
        raise ValueError(f"outputs: expected {expected}, at least one, got none")
    found = tuple(known_name("outputs", name, nodes) for name in names)
    if len(set(found)) < len(found):
        raise ValueError(f"outputs: expected each name once, got {found!r}")
    return found
