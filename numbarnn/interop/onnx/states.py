"""What a recurrent node starts from: states that are inputs, states that another layer has reached, computed numbers."""

from dataclasses import replace

from ...layers.dense import Activation
from .joining import joined
from .values import STEPS, Finals, Signal, transposed


def states_given(signal):
    """An input as states, of which some rows are chosen."""
    row = signal.axes[0][0]
    return Finals(signal.source, tuple(range(row.size)) if not row.free else (0,), signal.axes, row, 0)


def of_input(reader, value, order):
    """(name of an input, rows) of an initial state that is some rows of an input; None of one that is computed."""
    if isinstance(value, Signal) and value.source and len(value.axes) == 3 and all(len(axis) == 1 for axis in value.axes):
        value = states_given(transposed(value, order))
    return (value.letter, value.rows) if isinstance(value, Finals) and value.letter in reader.inputs else None


def start_of(reader, node, letters, computed, direction):
    """What a layer starts from, as `Reader.starts` has it; layers may be added that make one value of h and c.

    computed: {letter: value}, of axes rows, batch, units.
    """
    rows = {"forward": 1, "bidirectional": 2}.get(direction)
    if rows is None or set(computed) != set(letters):
        raise node.error(f"an initial state, {letters}, of which all is computed and no direction is reverse")
    first = computed["h"]
    if isinstance(first, Finals) and isinstance(first.rows[0], tuple):
        source = first.rows[0][0]
        same = all(
            isinstance(value, Finals)
            and (value.rows, value.letter) == (reader.ways(source), letter)
            and value.axes[0] in ((), (value.row,))
            for letter, value in computed.items()
        )
        if same and not reader.is_reverse(source):
            return "layer", source
    signals = [_numbers(reader, node, value) for value in computed.values()]
    whole = signals[0] if len(signals) == 1 else joined(reader, node, signals)
    if len(whole.sources) > 1:
        whole = reader.given_by(reader.append(Activation("linear"), {}, whole), whole)
    return "value", whole.sources[0]


def _numbers(reader, node, value):
    """A signal of initial states, (rows, batch, units), as one of rows of numbers, (batch, rows * units)."""
    signal = reader.bound(reader.data(node, value), node)
    lead, batch, last = signal.axes
    channels = [atom for axis in (lead, last) for atom in axis if atom.size != 1]
    if channels != [atom for atom in signal.channels if atom.size != 1] or any(atom.role == STEPS for atom in batch):
        raise node.error("an initial state that is zero, constant, an input, or computed from what has no steps")
    return replace(signal, axes=(batch, (*lead, *last)), channels=(*lead, *last))
