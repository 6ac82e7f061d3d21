"""Recurrent layers in C: a function for each stacked layer, from the equations of its cell.

A step of a stacked layer is the sums of all slots, ``pre``, slot after slot and unit after unit; then one loop over the
units, in which the cell's `forward` runs.  A cell with a gate before R has a loop for that before the product with R, and
one that normalizes has sums over units before it.
"""

import numpy as np

from ..arrays.packing import uniform
from ..errors import ConversionError
from ..layers.gaps import CELL, mixed
from ..layers.grud import BLOCKS, GRUD
from ..layers.recurrence import INITIAL
from ..layers.recurrent import Recurrent
from ..layers.regularization import Regularized
from .normalized import add_normalized
from .products import add_product
from .steps import Step, equations, loop


def add_recurrent(source, index, layer, p):
    """Add a recurrent layer, number `index` of the network, to a step; p: its Parameters, of the source's dtype."""
    _expect_steps(source, layer)
    effective = layer.effective_weights(p, None)
    if isinstance(layer, GRUD):
        _add_input_decay(source, index, layer, p)
    p = p if effective is None else effective.parameters
    span = f"{source.output}[{source.channels - 1}]" if layer.decay else ""
    for stacked in range(layer.layers):
        inputs = source.output
        _add_stacked(source, index, layer, stacked, p)
        if layer.residual and stacked:
            total = source.local(f"sum_{index}_l{stacked}", source.channels)
            source.step += [
                f"for (int j = 0; j < {source.channels}; j++)",
                f"    {total}[j] = {source.output}[j] + {inputs}[j];",
            ]
            source.output = total
        if layer.decay and stacked < layer.layers - 1:
            beside, made = source.local(f"beside_{index}_l{stacked}", source.channels + 1), source.channels
            source.step.append(f"memcpy({beside}, {source.output}, {made} * sizeof {beside}[0]);")
            source.step.append(f"{beside}[{made}] = {span};")
            source.output, source.channels = beside, made + 1


def _expect_steps(source, layer):
    """Raise ConversionError unless the layer takes steps, and does what the library's recurrent layers do."""
    if layer.bidirectional:
        raise ConversionError(
            f"{source.where}: expected a layer of one direction, which takes one step after the other, got {layer!r}"
        )
    if type(layer).prepare not in (Recurrent.prepare, GRUD.prepare):
        raise ConversionError(
            f"{source.where}: expected a layer whose cell reads its input as it is, got {layer!r}, which changes it before"
        )
    for method, base in (("run", Recurrent), ("driven", Regularized)):
        if getattr(type(layer), method) is not getattr(base, method):
            raise ConversionError(
                f"{source.where}: expected a layer whose steps are its cell's steps alone, got {layer!r}, whose class has a"
                f" method {method} of its own"
            )


def _add_input_decay(source, index, layer, p):
    """Add what a `GRUD` does to its input: values that decay where they are missing; p: its own Parameters."""
    variables = source.channels // BLOCKS
    arrays = [p["weight_dx_l0"], p["bias_dx_l0"], layer.means(variables, source.real.dtype)]
    names = ("weight_dx", "bias_dx", "mean")
    names = [source.array(f"layer{index}_{name}", array) for name, array in zip(names, arrays)]
    recording, x, target = source.recording(), source.output, source.local(f"filled_{index}", source.channels)
    value, mask, span = (recording.read(f"{x}[{f'{at * variables} + ' if at else ''}j]") for at in range(BLOCKS))
    weight, bias, mean = (recording.read(f"{name}[j]") for name in names)
    left = equations(source, CELL.activation, "value", weight * span + bias)
    source.step.append(f"memcpy({target}, {x}, sizeof {target});")
    source.step += loop(source, recording, {f"{target}[j]": mixed(value, mask, left, mean)}, variables)
    source.output = target


def _add_stacked(source, index, layer, stacked, p):
    """Add one stacked layer: its arrays, its function and the call of it."""
    (suffix,) = layer.suffixes(stacked)
    cell, drives = layer.driven(None, stacked, uniform(1, 1), source.real.dtype, "cpu")
    step = Step(source, f"layer{index}_{suffix}", cell, layer.hidden)
    letters, fields = "hc"[: cell.states], []
    for letter, width, initial in zip(letters, layer.state_widths, INITIAL):
        start = p[f"{initial}_{suffix}"] if layer.learned_state else np.zeros(width, source.real.dtype)
        fields.append(source.state(f"{step.name}_{letter}", start))
    if cell.normalized_values:
        add_normalized(step, _slot_weights(layer, p, suffix), _biases(layer, p, suffix), _values(layer, p, suffix))
    else:
        _add_plain(step, layer, p, suffix, drives)
    real, restrict = source.real.name, source.restrict
    arguments = [f"const {real} *{restrict} x", *(f"{real} *{restrict} {letter}" for letter in letters)]
    function = step.define("", arguments, step.lines, f"{source.where}: {layer!r}, its stacked layer {stacked}")
    source.step.append(f"{function}({', '.join([source.output, *fields])});")
    source.output, source.channels = fields[0], layer.state_widths[0]


def _slot_weights(layer, p, suffix):
    """{kind of slots: (first slot, matrix (slots * H, inputs))} of what the slots receive."""
    cell, hidden, found = layer.stepping_cell, layer.hidden, {}
    for kind, name in (("input", "weight_ih"), ("recurrent", "weight_hh"), ("gated", "weight_hh")):
        slots, gates = getattr(cell, f"{kind}_slots"), getattr(cell, f"{kind}_gates")
        if slots:
            weight = p[f"{name}_{suffix}"]
            rows = [weight[gate * hidden : (gate + 1) * hidden] for gate in gates]
            found[kind] = slots[0], np.concatenate(rows)
    return found


def _biases(layer, p, suffix):
    """The biases of all slots, (slots, H): of W x, of R h, or their sum."""
    cell, hidden = layer.stepping_cell, layer.hidden
    found = np.zeros((cell.slots, hidden), p.dtype)
    for kind, name in (("input", "bias_ih"), ("recurrent", "bias_hh"), ("gated", "bias_hh")):
        for slot, gate in zip(getattr(cell, f"{kind}_slots"), getattr(cell, f"{kind}_gates")):
            found[slot] += p[f"{name}_{suffix}"][gate * hidden : (gate + 1) * hidden]
    return found


def _values(layer, p, suffix):
    """The values of the units, (V, H)."""
    found = np.zeros((layer.cell.unit_value_count, layer.hidden), p.dtype)
    if len(found):
        layer.write_unit_values(p, suffix, found)
    return found


def _add_plain(step, layer, p, suffix, drives):
    """Add the sums and the loops of a cell that does not normalize."""
    source, cell, hidden = step.source, step.cell, step.hidden
    real, weights = source.real.name, _slot_weights(layer, p, suffix)
    bias = step.array("bias", _biases(layer, p, suffix))
    step.lines += [f"{real} pre[{cell.slots * hidden}];", f"memcpy(pre, {bias}, sizeof pre);"]
    for kind, operand in (("input", "x"), ("recurrent", "h")):
        if kind in weights:
            _add_slots(step, kind, weights[kind], operand)
    per_unit = _per_unit(step, _values(layer, p, suffix), drives)
    if cell.gated_slots or cell.projected:
        step.lines.append(f"{real} operand[{hidden}];")
    pre_places = [step.at("pre", slot) for slot in range(cell.slots)]
    if cell.gated_slots:
        recording = source.recording()
        pre = tuple(map(recording.read, pre_places))
        changed, operand = step.equations("gate", pre, step.state(recording), per_unit(recording))
        assignments = {place: new for place, old, new in zip(pre_places, pre, changed) if new is not old}
        step.loop(recording, assignments | {"operand[j]": operand})
        _add_slots(step, "gated", weights["gated"], "operand")
    recording = source.recording()
    pre = tuple(map(recording.read, pre_places))
    new, _ = step.equations("forward", pre, step.state(recording), per_unit(recording))
    places = "operand[j]" if cell.projected else "h[j]", "c[j]"
    step.loop(recording, dict(zip(places, new)))
    if cell.projected:
        projection = add_product(source, f"{step.name}_weight_hr", p[f"weight_hr_{suffix}"])
        step.lines += [f"for (int j = 0; j < {layer.projection}; j++)", f"    h[j] = {source.real.literal(0)};"]
        step.lines.append(f"{projection}(operand, h);")


def _add_slots(step, kind, weight, operand):
    """Add the product that some slots receive."""
    first, matrix = weight
    product = add_product(step.source, f"{step.name}_weight_{kind}", matrix)
    step.lines.append(f"{product}({operand}, pre{f' + {first * step.hidden}' if first else ''});")


def _per_unit(step, values, drives):
    """A function of a Recording: the values of a unit, then what the drives are without a seed, their mean."""
    array = step.array("values", values) if len(values) else ""
    means = [np.asarray(drive.tnc).reshape(-1) for drive in drives]

    def of(recording):
        constants = [recording.read(step.at(array, row)) for row in range(len(values))]
        return (*constants, *(recording.value(mean[0]) for mean in means))

    return of
