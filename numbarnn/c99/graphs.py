"""A graph in C: its nodes in the order in which they run, and what they read side by side."""

from ..errors import ConversionError, renamed
from .layers import add_layer


def add_graph(source, graph, own):
    """Add all nodes of a graph to a step; own: the Parameters of each of its layers.

    Returns (what the graph is in a line, numbers of x at a step, the vocabulary of its indices or None).  x has the inputs
    side by side, and y, which is left in `source`, the outputs.
    """
    inputs, at, values, indices = graph.inputs, 0, {}, [name for name, each in graph.inputs.items() if each.channels is None]
    if indices and len(inputs) > 1:
        raise ConversionError(
            f"inputs: expected numbers alone, or one input of indices, got {indices[0]!r} of indices among"
            f" {', '.join(map(repr, inputs))}"
        )
    for name, each in inputs.items():
        channels = each.channels or 1
        values[name] = (f"(x + {at})" if at else "x"), channels
        at += channels
    count = 0
    for name, row in graph._rows.items():
        source.where = f"nodes[{name!r}]"
        if row.state is not None:
            raise ConversionError(
                f"{source.where}: expected a node whose state starts from zeros or is learned, got state={row.state!r}"
            )
        _join(source, f"reads_{count}", [values[read] for read in row.reads])
        for part in row.parts:
            add_layer(source, count, part.layer, own[part.index], source.where)
            count += 1
        values[name] = source.output, source.channels
    _check_steps(graph)
    _join(source, "outputs", [values[name] for name in graph.outputs])
    vocabulary = graph._vocabularies(graph._rows)[indices[0]] if indices else None
    x, y = (", ".join(f"{name!r} ({values[name][1]})" for name in names) for names in (inputs, graph.outputs))
    return f"a graph, x is {x}, y is {y}; {source.real.name}", at, vocabulary


def _check_steps(graph):
    """Raise ConversionError unless the graph takes one step after the other, as a stream does."""
    try:
        with renamed(stream="export_c"):
            graph._checked_stepwise([name for name, each in graph.inputs.items() if each.steps])
    except ValueError as error:
        raise ConversionError(str(error)) from None


def _join(source, name, parts):
    """Let the output of `source` be some arrays side by side: in an array of this name, or the only one itself."""
    source.output, source.channels = parts[0]
    if len(parts) == 1:
        return
    source.output = source.local(name, sum(channels for _, channels in parts))
    at = 0
    for array, channels in parts:
        size = f"{channels} * sizeof *{source.output}"
        source.step.append(f"memcpy({source.output}{f' + {at}' if at else ''}, {array}, {size});")
        at += channels
    source.channels = at
