"""Recurrent layers that ONNX has no operator for: a Scan over the steps, whose body has the equations of the cell."""

import numpy as np

from ...cells import PerturbedCell, PerturbedMemoryCell, around
from ...cells.normalized import EPSILON
from ...errors import ConversionError
from ...layers.regularization import Regularized
from .tracing import Traced, traced


def scan(writer, layer, stacked, states):
    """(y, finals) of one stacked layer: the names of (T, D, N, Y) and of (D, N, Y) for each state.

    states: the names of (D, N, Y) for each state.
    """
    if type(layer).driven is not Regularized.driven:
        raise ConversionError(f"{writer.where}: expected a layer that has no method driven of its own, got {layer!r}")
    alive = writer.alive() if writer.lengths else None
    found = []
    for d, end in enumerate(layer.suffixes(stacked)):
        start = [writer.node("Gather", state, writer.integer(d), axis=0) for state in states]
        names = Direction(writer, layer, end, d).scanned(start, alive)
        found.append([writer.node("Unsqueeze", name, writer.integers(int(at == 0))) for at, name in enumerate(names)])
    if not layer.bidirectional:
        return found[0]
    return [writer.node("Concat", *names, axis=int(at == 0)) for at, names in enumerate(zip(*found))]


class Direction:
    """One direction of one stacked layer.

    Parameters
    ----------
    writer : NodeWriter
    layer : Recurrent
    end : str
        What the names of its parameters end with.
    reverse : bool
    """

    def __init__(self, writer, layer, end, reverse):
        self.writer, self.layer, self.end, self.reverse = writer, layer, end, bool(reverse)
        self.cell, self.drives = layer.stepping_cell, []
        if any(layer.zoneout_rates):  # of which a prediction takes the mean
            self.cell = around(PerturbedCell if self.cell.states == 1 else PerturbedMemoryCell, self.cell)
            self.drives = [*layer.zoneout_rates[: self.cell.states], 0.0]
        own = writer.parameters()
        if layer.spread:
            own = layer.effective_weights(own, None).parameters
        self.params = {name.removesuffix(f"_{end}"): array for name, array in own.items() if name.endswith(f"_{end}")}
        if layer.constrained:
            self.params["weight_hh"] = self.params["weight_hh"] * layer.connectivity.factor(self.params["weight_hh"])
        self.slot_of = {
            kind: list(zip(getattr(self.cell, f"{kind}_slots"), getattr(self.cell, f"{kind}_gates")))
            for kind in ("input", "recurrent", "gated")
        }

    def _constant(self, name, array):
        return self.writer.constant(f"{self.writer.owner}.{name}_{self.end}", array)

    def _rows(self, name, gate):
        hidden = self.layer.hidden
        return self.params[name][gate * hidden : (gate + 1) * hidden]

    def _product(self, value, kind, weight):
        """{slot: name} of a value times the weights of the gates that feed the slots of a kind."""
        pairs, writer = self.slot_of[kind], self.writer
        matrix = np.concatenate([self._rows(weight, gate) for _, gate in pairs]).T
        whole = writer.node("MatMul", value, self._constant(f"{kind}_{weight}", matrix))
        return self._parts(whole, [slot for slot, _ in pairs])

    def _parts(self, whole, slots):
        """{slot: name} of what stands side by side."""
        if len(slots) == 1:
            return {slots[0]: whole}
        names = self.writer.node("Split", whole, outputs=len(slots), axis=-1)
        return dict(zip(slots, names))

    def scanned(self, start, alive):
        """The names of y (T, N, Y) and of the final states (N, Y)."""
        from onnx import helper

        writer = self.writer
        states = [f"{writer.label}.{self.end}.{letter}" for letter in "hc"[: self.cell.states]]
        weight = np.concatenate([self._rows("weight_ih", gate) for _, gate in self.slot_of["input"]]).T
        driven = writer.node("MatMul", writer.value, self._constant("input_weight_ih", weight))
        step, there = f"{writer.label}.{self.end}.x", f"{writer.label}.{self.end}.alive"
        outside, writer.nodes = writer.nodes, []
        new = self._step(step, states)
        y = new[0]
        if alive is not None:
            new = [writer.node("Where", there, each, state) for each, state in zip(new, states)]
            y = writer.node("Where", there, y, writer.number(0))
        inside, writer.nodes = writer.nodes, outside
        ends = [f"{name}.next" for name in (*states, step)]
        inside += [helper.make_node("Identity", [name], [end], name=end) for name, end in zip((*new, y), ends)]
        widths = self.layer.state_widths
        infos = [writer.info(name, ["batch", width], writer.dtype) for name, width in zip(states, widths)]
        infos.append(writer.info(step, ["batch", weight.shape[1]], writer.dtype))
        if alive is not None:
            infos.append(writer.info(there, ["batch", 1], bool))
        outputs = [writer.info(end, ["batch", width], writer.dtype) for end, width in zip(ends, (*widths, widths[0]))]
        body = helper.make_graph(inside, f"{writer.label}.{self.end}", infos, outputs)
        read = [driven] if alive is None else [driven, alive]
        *finals, y = writer.node(
            "Scan", *start, *read, outputs=len(ends), body=body, num_scan_inputs=len(read),
            scan_input_directions=[int(self.reverse)] * len(read), scan_output_directions=[int(self.reverse)],
        )  # fmt: skip
        return [y, *finals]

    def _step(self, step, states):
        """The names of the new states: the equations of one step."""
        writer, cell = self.writer, self.cell
        before = tuple(Traced(writer, name) for name in states)
        per_unit = self._per_unit()
        sums = self._parts(step, [slot for slot, _ in self.slot_of["input"]])
        parts = [("bias_ih", "input", sums)]
        if self.slot_of["recurrent"]:
            parts.append(("bias_hh", "recurrent", self._product(states[0], "recurrent", "weight_hh")))
        if cell.normalized_values:
            new, _ = traced(writer, cell, "forward", self._normalized(parts, per_unit), before, per_unit)
            if cell.normalizes_cell:
                shown = self._normal(new[1].name, per_unit[-1], per_unit[0])
                new = (traced(writer, cell, "output", new[0], shown), new[1])
        else:
            pre = self._summed(parts)
            if self.slot_of["gated"]:
                pre, operand = traced(writer, cell, "gate", tuple(pre), before, per_unit)
                more = self._product(operand.name, "gated", "weight_hh")
                pre = [each + Traced(writer, more[slot]) if slot in more else each for slot, each in enumerate(pre)]
            new, _ = traced(writer, cell, "forward", tuple(pre), before, per_unit)
        names = [each.name if isinstance(each, Traced) else before[0].filled(each).name for each in new]
        if self.layer.projection:
            names[0] = writer.node("MatMul", names[0], self._constant("weight_hr", self.params["weight_hr"].T))
        return names

    def _summed(self, parts):
        """What each slot receives before the gates: products and biases, in gated slots too."""
        writer, pre = self.writer, [None] * self.cell.slots
        for _, _, found in parts:
            for slot, name in found.items():
                value = Traced(writer, name)
                pre[slot] = value if pre[slot] is None else pre[slot] + value
        for bias, kind in (("bias_ih", "input"), ("bias_hh", "recurrent"), ("bias_hh", "gated")):
            for slot, gate in self.slot_of[kind]:
                if bias in self.params:
                    name = Traced(writer, self._constant(f"{bias}_{kind}_{gate}", self._rows(bias, gate)))
                    pre[slot] = name if pre[slot] is None else pre[slot] + name
        return pre

    def _per_unit(self):
        """The values of each unit, in the cell's order, then the drives."""
        cell, hidden, layer = self.cell, self.layer.hidden, self.layer
        rows = [None] * cell.unit_value_count
        for name, places, _ in layer.unit_parameters:
            own = self.params[name]
            array = own.reshape(-1, hidden) if own.size >= hidden else np.full((1, hidden), own[0])
            for place, row in zip(range(len(rows))[places] if isinstance(places, slice) else places, array):
                rows[place] = row
        if rows and rows[0] is None:
            rows = list(np.broadcast_to(np.asarray(layer.unit_constants(), self.writer.dtype), (len(rows), hidden)))
        names = [self._constant(f"unit_{place}", np.asarray(row, self.writer.dtype)) for place, row in enumerate(rows)]
        names += [self.writer.number(drive) for drive in self.drives]
        return tuple(Traced(self.writer, name) for name in names)

    def _normalized(self, parts, per_unit):
        """The terms of a normalized cell: each slot normalized with the slots of its norm, times its gain, plus its bias."""
        cell, writer, terms = self.cell, self.writer, [None] * self.cell.terms
        names = {slot: (name, bias, kind) for bias, kind, found in parts for slot, name in found.items()}
        gate_of = {slot: gate for kind in ("input", "recurrent") for slot, gate in self.slot_of[kind]}
        for norm in cell.layer_norms:
            slots = range(norm.first, norm.first + norm.slots)
            whole = writer.node("Concat", *(names[slot][0] for slot in slots), axis=-1)
            for slot, name in self._parts(self._normal(whole).name, list(slots)).items():
                bias = names[slot][1]
                shift = Traced(writer, self._constant(f"{bias}_{slot}", self._rows(bias, gate_of[slot])))
                value = Traced(writer, name) * per_unit[slot + cell.normalizes_cell] + shift
                term = norm.term + slot - norm.first
                terms[term] = value if terms[term] is None else terms[term] + value
        return tuple(terms)

    def _normal(self, name, gain=None, bias=None):
        """A value in units of its standard deviation over the last axis, times a gain and plus a bias if there are any."""
        writer = self.writer
        deviation = Traced(writer, writer.node("Sub", name, writer.node("ReduceMean", name, axes=[-1], keepdims=1)))
        variance = Traced(writer, writer.node("ReduceMean", (deviation * deviation).name, axes=[-1], keepdims=1))
        value = deviation / (variance + EPSILON).applied("sqrt")
        return value if gain is None else value * gain + bias
