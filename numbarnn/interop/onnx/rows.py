"""Layers that were read one by one, put together: equal recurrent ones are stacked, layers in a row are a node."""

import re
from dataclasses import dataclass, field, replace

import numpy as np

from ...layers.recurrent import Recurrent

NAME = re.compile(r"^(.*)\.[A-Z]\w*\.\d+$")  # what `writing` calls a node: what it belongs to, operator and number


@dataclass
class Item:
    """One layer, which may be several stacked ones of those that were read.

    Attributes
    ----------
    layer : Layer
    arrays : dict of str to numpy.ndarray
    reads : tuple
        As `Reader.reads`.
    at : int
        The number of its output.
    indices : list of int
        Which layers it is, the first stacked one first.
    """

    layer: object
    arrays: dict
    reads: tuple
    at: int
    indices: list


@dataclass
class Row:
    """Items in a row, which are a node of a graph.

    Attributes
    ----------
    items : list of Item
    start : tuple or None
        As in `Reader.starts`, of the recurrent one.
    name : str
    """

    items: list
    start: tuple | None = None
    name: str = ""

    @property
    def layers(self):
        """Its layers."""
        return [item.layer for item in self.items]

    @property
    def at(self):
        """The number of its output."""
        return self.items[-1].at

    def equals(self, other):
        """Whether it has the layers and the parameters of another row, to the bit; without parameters never."""
        if self.layers != other.layers or not any(item.arrays for item in self.items):
            return False
        pairs = zip(self.items, other.items)
        return all(np.array_equal(array, b.arrays[name]) for a, b in pairs for name, array in a.arrays.items())


@dataclass
class Rows:
    """All that some outputs need of what has been read.

    Parameters
    ----------
    reader : Reader
    outputs : dict of int to str
        The numbers of outputs, and their names.
    stacked : bool
        Whether equal recurrent layers become one.
    """

    reader: object
    outputs: dict
    stacked: bool = True
    rows: list = field(init=False)
    inputs: list = field(init=False)

    def __post_init__(self):
        used = self._used()
        self._readers = {at: [index for index in used if at in self.reader.reads[index]] for at in self._numbers(used)}
        starts = {index: start for index, start in self.reader.starts.items() if index in used}
        self._linked = {*starts, *(index for what, index in starts.values() if what == "layer")}
        for what, source in starts.values():
            if what == "value":
                self._readers.setdefault(source, []).append(None)  # so that it is the output of a row
        self.rows = self._in_rows(self._items(used))
        self.inputs = [name for name in self.reader.inputs if name in self._readers]
        self._name()

    def _used(self):
        """The indices of the layers that the outputs need, in order."""
        found, todo = set(), list(self.outputs)
        while todo:
            at = todo.pop()
            if isinstance(at, str) or at - 1 in found:
                continue
            found.add(at - 1)
            todo += self.reader.reads[at - 1]
            what, source = self.reader.starts.get(at - 1, (None, None))
            todo += [] if what is None else [source + 1 if what == "layer" else source]
        return sorted(found)

    def _numbers(self, used):
        return {source for index in used for source in self.reader.reads[index]}

    def _items(self, used):
        """The layers, equal recurrent ones stacked: {number of an output: Item}, in order."""
        found, left_out = {}, set()
        for index in used:
            if index in left_out:
                continue
            layer, reads = self.reader.layers[index], self.reader.reads[index]
            before = found.get(reads[0]) if len(reads) == 1 else None
            total = None if before is None or not self.stacked else self._stacks(before, index)
            if total is None:
                item = Item(layer, dict(self.reader.arrays[index]), reads, index + 1, [index])
            else:
                item = found.pop(before.at)
                more = {
                    name.replace("_l0", f"_l{item.layer.layers}"): array for name, array in self.reader.arrays[index].items()
                }
                residual = total != index
                item.layer = replace(item.layer, layers=item.layer.layers + 1, residual=residual)
                item.arrays |= more
                item.indices.append(index)
                item.at = total + 1
                left_out.add(total)
            found[item.at] = item
        return found

    def _stacks(self, before, index):
        """The layer whose output a stack has, if a layer goes on top of one: itself, or the sum that is residual."""
        layer, below = self.reader.layers[index], before.layer
        if not (isinstance(layer, Recurrent) and isinstance(below, Recurrent)) or before.at in self.outputs:
            return None
        if replace(below, layers=1, residual=False) != layer or {*before.indices, index} & self._linked:
            return None
        readers = self._readers[before.at]
        if readers == [index]:
            return index if not below.residual else None
        total = next((each for each in readers if each in self.reader.sums), None)
        if (
            total is None
            or sorted(readers) != [index, total]
            or self.reader.sums[total] != (1, 1)
            or set(self.reader.reads[total]) != {before.at, index + 1}
            or self._readers.get(index + 1) != [total]
            or index + 1 in self.outputs
            or not (below.layers == 1 or below.residual)
        ):
            return None
        return total

    def _in_rows(self, items):
        """The items in rows, in order."""
        found, open_rows = [], {}
        for item in items.values():
            linked = isinstance(item.layer, Recurrent) and bool(self._linked & {*item.indices})
            row = open_rows.pop(item.reads[0], None) if len(item.reads) == 1 else None
            if row is not None and (
                len(self._readers[row.at]) > 1 or row.at in self.outputs or not self._fits(row, item, linked)
            ):
                row = None
            if row is None:
                row = Row([])
                found.append(row)
            row.items.append(item)
            if linked:
                row.start = self.reader.starts.get(item.indices[0])
            open_rows[item.at] = row
        return found

    def _fits(self, row, item, linked):
        """Whether a row that has a state of others, or gives one, has one recurrent layer."""
        recurrent = [each for each in row.items if isinstance(each.layer, Recurrent)]
        there = any(self._linked & {*each.indices} for each in recurrent)
        return not isinstance(item.layer, Recurrent) or not recurrent or not (linked or there)

    def _name(self):
        """Give each row a name: the name of the output, or of its last node."""
        taken = set()
        self._names = {name: _free(name, taken) for name in (*self.inputs, *self.outputs.values())}
        for row in self.rows:
            if row.at in self.outputs:
                row.name = self._names[self.outputs[row.at]]
                continue
            written = str(self.reader.names[row.items[-1].indices[-1]])
            match = NAME.match(written)
            row.name = _free(match.group(1).partition(".")[0] if match else written, taken)

    def row_of(self, index):
        """(row, place in it, which of the stacked layers) of a layer that was read."""
        for row in self.rows:
            for place, item in enumerate(row.items):
                if index in item.indices:
                    return row, place, item.indices.index(index)
        raise AssertionError(index)

    def name_of(self, source):
        """What a graph calls a number of an output, or the name of an input."""
        if isinstance(source, str):
            return self._names[source]
        return next(row.name for row in self.rows if row.at == source)


def _free(name, taken):
    """A name that none of `taken` has (modified), without what exporters put into it: a graph's names have no points."""
    plain = re.sub(r"[^\w]+", "_", str(name)).strip("_") or "value"
    found, count = plain, 1
    while found in taken:
        count += 1
        found = f"{plain}_{count}"
    taken.add(found)
    return found
