"""What a graph is: named inputs, nodes of layers in the order in which they run, and the parameters of all of them."""

from dataclasses import dataclass, replace

from ..arrays.descriptor import axes_of, checked_dtype
from ..descriptions.summary import Summary
from ..errors import ShapeError, renamed
from ..layers.embedding import Embedding
from ..layers.images import shaped
from ..layers.last import Last, chained, unmerged
from ..layers.recurrent import Recurrent
from ..networks.layered import Layered
from .description import Input, Node
from .joining import state_numbers
from .names import ancestors, checked_inputs, checked_nodes, checked_outputs, in_order


@dataclass(frozen=True)
class Part:
    """One layer of a node.

    Attributes
    ----------
    label : str
        What its state is called; the names of its parameters begin with the name of the node that owns them.
    layer : Layer
    index : int
        Which of the graph's layers: those that share parameters have the same.
    merged : bool
        Whether it merges its directions, rather than the `Last` behind it.
    """

    label: str
    layer: object
    index: int
    merged: bool


@dataclass(frozen=True)
class Row:
    """A node, with all that is known of it before there is any input.

    Attributes
    ----------
    name, reads, state : str, tuple of str, str or None
        As in its `Node`.
    parts : tuple of Part
    inputs : tuple of int
        Input channels of each part.
    channels : int
        Of its output.
    axis : str or None
        The input whose steps its output has; None if it has none.
    before : tuple of Layer
        What its own layers come after: for a `Last`, which looks for a layer of two directions.
    """

    name: str
    reads: tuple
    state: str | None
    parts: tuple
    inputs: tuple
    channels: int
    axis: str | None
    before: tuple

    @property
    def layers(self):
        """The layers of the parts, in order."""
        return tuple(part.layer for part in self.parts)

    @property
    def recurrent(self):
        """The parts that have a state."""
        return [part for part in self.parts if isinstance(part.layer, Recurrent)]


class Structure(Layered):
    """The part of a graph that depends on no input."""

    _kind = "graph"
    settled = ("layers", "dtype", "layout", "device", "_described_inputs", "_described_nodes", "_outputs", "_rows")

    def _settle(self, inputs, nodes, outputs, dtype, layout):
        """Set all that the graph is but its parameters; the weights that these have."""
        self._described_inputs = inputs = checked_inputs(inputs)
        self._described_nodes = nodes = checked_nodes(nodes, inputs)
        self._outputs = checked_outputs(outputs, nodes)
        self.dtype, self.layout = checked_dtype("dtype", dtype), axes_of(layout, 3)
        owners = [name for name, node in nodes.items() if not isinstance(node.layers, str)]
        first, index = {}, 0
        for name in owners:
            first[name] = index
            index += len(nodes[name].layers)
        rows = {}
        for name in in_order(nodes):
            rows[name] = self._row(name, rows, first)
        self._rows = rows
        for name, row in rows.items():
            self._check_shared(name, row)
            if row.state is not None:
                self._check_state(row)
        self._check_used()
        self.layers = tuple(layer for name in owners for layer in rows[name].layers)
        self._inputs = tuple(channels for name in owners for channels in rows[name].inputs)
        return [
            replace(weight, name=f"{part.label}.{weight.name}")
            for name in owners
            for part, channels in zip(rows[name].parts, rows[name].inputs)
            for weight in part.layer.weights(channels)
        ]

    def _row(self, name, rows, first):
        """The Row of a node, whose sources are in `rows`; first: {owner: which of the graph's layers its first one is}."""
        node, argument = self._described_nodes[name], f"nodes[{name!r}]"
        owner = node.layers if isinstance(node.layers, str) else name
        layers = self._described_nodes[owner].layers
        sources = [rows.get(read, self._described_inputs.get(read)) for read in node.reads]
        self._check_indices(argument, layers, node.reads)
        channels = 1 if layers[0].takes_indices else sum(source.channels for source in sources)
        before = (*sources[0].before, *sources[0].layers) if len(sources) == 1 and isinstance(sources[0], Row) else ()
        if len(sources) > 1:
            _check_directions(argument, layers, sources)
        axis = next(filter(None, (self._axis(read, rows) for read in node.reads)), None)
        stepped = axis is not None
        for layer in layers:
            if layer.takes_steps and not stepped:
                raise ValueError(f"{argument}: expected steps to read for {layer!r}, got none")
            stepped = stepped and not layer.leaves_one
        with renamed(layers=argument, channels=argument, shape=argument, directions=argument, merge=argument):
            layers, channels = shaped(layers, channels)
            layers = chained([*before, *layers])[len(before) :]
        left = {index - len(before) for index in unmerged((*before, *layers))}
        if -1 in left:
            expected = f"Last in the node of {before[-1]!r}, which merges its directions"
            raise ValueError(f"{argument}: expected {expected}, got it in one behind")
        parts, inputs, at = [], [], channels
        for index, layer in enumerate(layers):
            label = name if len(layers) == 1 else f"{name}.{index}"
            parts.append(Part(label, layer, first[owner] + index, index not in left))
            inputs.append(at)
            with renamed(channels=f"channels of {argument}"):
                layer.weights(at)
            at = layer.output_channels(at) * (2 if index in left else 1)
        axis = axis if stepped else None
        return Row(name, node.reads, node.state, tuple(parts), tuple(inputs), at, axis, before)

    def _axis(self, name, rows):
        """The input whose steps a value has, or None."""
        if name in rows:
            return rows[name].axis
        return name if self._described_inputs[name].steps else None

    def _check_indices(self, argument, layers, reads):
        """Raise unless an `Embedding` reads indices, and nothing else does."""
        indices = [
            read for read in reads if read in self._described_inputs and self._described_inputs[read].channels is None
        ]
        for index, layer in enumerate(layers):
            if isinstance(layer, Embedding) and index:
                raise ValueError(f"{argument}: expected an Embedding to be the first layer, got one at {index}")
        if layers[0].takes_indices and (len(reads), len(indices)) != (1, 1):
            raise ValueError(
                f"{argument}: expected one input of indices for {layers[0]!r}, got {', '.join(map(repr, reads))}"
            )
        if indices and not layers[0].takes_indices:
            raise ValueError(f"{argument}: expected an Embedding first, which takes {indices[0]!r}, got {layers[0]!r}")

    def _check_shared(self, name, row):
        """Raise unless a node that shares layers reads as many channels as the one that owns them."""
        owner = self._described_nodes[name].layers
        if not isinstance(owner, str):
            return
        own = self._rows[owner]
        if row.inputs != own.inputs:
            expected = f"{own.inputs[0]} channels to read like {owner!r}, whose layers it shares"
            raise ShapeError(f"nodes[{name!r}]: expected {expected}, got {row.inputs[0]}")
        if row.layers != own.layers:
            expected = f"layers that are {own.layers!r} as in {owner!r}, which shares them"
            raise ValueError(f"nodes[{name!r}]: expected {expected}, got {row.layers!r} behind what it reads")

    def _check_state(self, row):
        """Raise unless a node's recurrent layer can start from what its `state` names."""
        argument = f"nodes[{row.name!r}].state"
        if len(row.recurrent) != 1:
            raise ValueError(
                f"{argument}: expected None unless it has one recurrent layer, got {row.state!r} for {row.layers!r}"
            )
        layer, source = row.recurrent[0].layer, self._rows.get(row.state)
        if not self._has_steps(row.state):
            channels = self._channels(row.state)
            if channels != state_numbers(layer):
                what = f"{state_numbers(layer)} channels, the state of {layer!r}"
                raise ShapeError(f"{argument}: expected {what}, got {channels} of {row.state!r}")
            return
        if source is None or len(source.recurrent) != 1:
            expected = "a node with one recurrent layer, or one without steps"
            raise ValueError(f"{argument}: expected {expected}, got {row.state!r}")
        given = source.recurrent[0].layer
        here, there = ((each.layers * each.directions, each.state_widths) for each in (layer, given))
        if here != there:
            raise ShapeError(f"{argument}: expected a state like that of {layer!r}, got one of {given!r} in {row.state!r}")

    def _check_used(self):
        """Raise ValueError if there is an input or a node that no output needs."""
        used = ancestors(self._outputs, self._described_nodes)
        for what, names in (("inputs", self._described_inputs), ("nodes", self._described_nodes)):
            idle = [name for name in names if name not in used]
            if idle:
                raise ValueError(f"{what}: expected each to be needed for an output, got {', '.join(map(repr, idle))}")

    def _has_steps(self, name):
        """Whether the value of an input or a node has a time axis."""
        return self._axis(name, self._rows) is not None

    def _channels(self, name):
        """Channels of an input or a node."""
        return (self._rows.get(name) or self._described_inputs[name]).channels or 1

    def _letters(self, name):
        """The letters of the axes of an input's or a node's padded array."""
        return self.layout if self._has_steps(name) else self.layout.replace("t", "")

    @property
    def inputs(self) -> dict[str, Input]:
        """What the graph is given, by name."""
        return dict(self._described_inputs)

    @property
    def nodes(self) -> dict[str, Node]:
        """Its nodes by name, as they were described."""
        return dict(self._described_nodes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the nodes whose outputs it returns."""
        return self._outputs

    @property
    def _stateful(self):
        """{label: Part} of the recurrent layers, in the order in which they run."""
        return {part.label: part for row in self._rows.values() for part in row.recurrent}

    @property
    def _structure(self):
        """What makes it another graph than others, whatever its parameters are: plain values and descriptions."""
        return self._described_inputs, self._described_nodes, self._outputs, self.dtype.name

    @property
    def _recurrent(self):
        """{label: layer} of the layers that have a state."""
        return {label: part.layer for label, part in self._stateful.items()}

    @property
    def _span_channels(self):
        """[(input, slice of its channels)] that are spans of time to a node: of nodes that read numbers of an input."""
        found = []
        for row in self._rows.values():
            spans, at = row.layers[0]._span_channels(row.inputs[0]), 0
            for name in row.reads if spans is not None else ():
                channels = self._channels(name)
                first, end = max(spans.start - at, 0), min(spans.stop - at, channels)
                if name in self._described_inputs and first < end:
                    found.append((name, slice(first, end)))
                at += channels
        return found

    def _vocabularies(self, nodes):
        """{input of indices: how many there are}, for those that some nodes read: of their tables the smallest says so."""
        found = {}
        for row in (self._rows[name] for name in nodes):
            if row.layers[0].takes_indices:
                size = row.layers[0].vocabulary
                found[row.reads[0]] = min(found.get(row.reads[0], size), size)
        return found

    @property
    def _linked(self):
        """The labels of the recurrent layers that start from what another node has left."""
        return {row.recurrent[0].label for row in self._rows.values() if row.state is not None}

    def summary(self) -> str:
        """A table of the nodes, what they read, their outputs and parameters, in the order in which they run."""
        rows = [("node", "layers", "reads", "output", "parameters")]
        for name, row in self._rows.items():
            shared = self._described_nodes[name].layers
            layers = f"shared with {shared}" if isinstance(shared, str) else ", ".join(map(repr, row.layers))
            reads = ", ".join(row.reads) + ("" if row.state is None else f"; state {row.state}")
            shape = ", ".join(str(row.channels) if letter == "c" else letter.upper() for letter in self._letters(name))
            count = 0 if isinstance(shared, str) else sum(len(self._own[part.index]) for part in row.parts)
            rows.append((name + (" *" if name in self._outputs else ""), layers, reads, f"({shape})", f"{count:,}"))
        rows.append(("all (* outputs)", "", "", "", f"{len(self.params):,}"))
        return Summary.of(rows)


def _check_directions(argument, layers, sources):
    """Raise ValueError for a `Last` behind values that are joined, of which one is of two directions."""
    for layer in layers:
        if isinstance(layer, Recurrent):
            return
        if isinstance(layer, Last):
            for source in sources:
                behind = [] if not isinstance(source, Row) else [*source.before, *source.layers]
                last = next((each for each in reversed(behind) if hasattr(each, "bidirectional")), None)
                if last is not None and last.directions == 2:
                    expected = f"Last right after {last!r}, whose directions end at different steps"
                    raise ValueError(
                        f"{argument}: expected {expected}, got it behind joined values; LastStep takes the last step"
                    )
