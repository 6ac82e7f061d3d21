"""The groups of slots that a weight feeds, by number."""

from ..engine.inlined import inlined

INPUT, RECURRENT, GATED, PROJECTION = range(4)


@inlined
def group_at(call, index):
    """A group by its number: code that loops over them is compiled once, and not for each."""
    if index == INPUT:
        return call.input
    if index == RECURRENT:
        return call.recurrent
    if index == GATED:
        return call.gated
    return call.projection
