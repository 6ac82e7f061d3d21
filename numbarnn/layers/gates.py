"""The activations of a layer's gates over time: the cell's own equations, applied to the states of a forward run.

Kernels keep what the adjoint needs, each target in its own order; here the equations run in Python, once for each unit and
step, on any target's states.
"""

import numpy as np

from ..arrays.descriptor import in_layout
from ..arrays.ieee import ieee
from ..arrays.ragged import Ragged
from ..arrays.rows import numbers
from ..cells import CoupledLSTMCell, GRUAfterCell, GRUBeforeCell, LSTMCell, MGUCell, NormalizedGRUCell, NormalizedLSTMCell
from ..engine.keep import STATES
from ..errors import DeviceError, integer

CANDIDATES = ("n", "g")  # what is no gate: the cell's other activation function makes it
GATED = (LSTMCell, CoupledLSTMCell, GRUAfterCell, GRUBeforeCell, MGUCell, NormalizedGRUCell, NormalizedLSTMCell)


@ieee
def gates(layer, p, x, state=None, lengths=None, layout="tnc", index=-1):
    """See `Recurrent.gates`."""
    if not isinstance(layer.cell, GATED):
        raise TypeError(f"layer: expected one with gates (GRU, LSTM, MGU), got {layer!r}")
    index = integer("index", index)
    if not -layer.layers <= index < layer.layers:
        raise IndexError(f"index: expected that of one of {layer.layers} stacked layers, got {index}")
    index %= layer.layers
    if p.device != "cpu":
        raise DeviceError(f"p: expected parameters on device 'cpu', where gates are computed, got some on {p.device!r}")
    batch, described = layer._checked_input(p, x, layout, lengths)
    initial = layer.checked_state("state", state, batch.sequences, p.dtype, p.device)
    _, tape = layer.run(p, described, initial, STATES, batch)
    own = tape.weights.parameters if tape.weights is not None else p
    stage = tape.stages[index].tape
    inputs = _padded(described if index == 0 else tape.stages[index - 1].between.outputs)
    lasts = batch.packing.lengths
    there = np.arange(len(inputs))[:, None] < lasts
    states = [_padded(stage.outputs)] + ([_padded(stage.cells)] if layer.cell.states > 1 else [])
    found = []
    for d, suffix in enumerate(layer.suffixes(index)):
        starts = _starts(layer, p, suffix, initial, index, d, batch.sequences)
        before = [
            _before(s[..., d * width : (d + 1) * width].astype(np.float64), start, lasts, d)[there]
            for s, start, width in zip(states, starts, layer.state_widths)
        ]
        if there.any():
            found.append(_activations(layer, own, suffix, inputs[there].astype(np.float64), before))
    result = {}
    for g, name in enumerate(layer.cell.gates):
        whole = np.zeros((*there.shape, layer.directions * layer.hidden), p.dtype)
        if found:
            whole[there] = np.concatenate([activations[g] for activations in found], axis=1)
        if batch.ragged:
            result[name] = Ragged.of([whole[:length, n] for n, length in enumerate(lasts)])
        else:
            result[name] = in_layout(whole, batch.layout)
    return result


def _padded(described):
    """What a descriptor describes as (T, N, C), 0 past the end of a sequence."""
    packing = described.packing
    if packing.uniform:
        return described.tnc
    whole = np.zeros((packing.total, packing.sequences, described.channels), described.dtype)
    whole[packing.places] = numbers(described)
    return whole


def _starts(layer, p, suffix, initial, index, d, sequences):
    """The state that one direction starts from, (N, P or H) for each state of the cell."""
    if initial is not None:
        return [array[index][d] for array in initial]
    if layer.learned_state:
        return [p[f"{name}_{suffix}"] for name in ("initial_h", "initial_c")[: layer.cell.states]]
    return [0.0] * layer.cell.states


def _before(states, start, lengths, d):
    """The state before each step, (T, N, C), from those after it."""
    before = np.empty_like(states)
    if d == 0:
        before[:1], before[1:] = start, states[:-1]
        return before
    before[-1:], before[:-1] = 0, states[1:]
    sequences = np.flatnonzero(lengths)
    before[lengths[sequences] - 1, sequences] = np.broadcast_to(start, before.shape[1:])[sequences]
    return before


def _activations(layer, p, suffix, x, before):
    """(rows, H) for each gate, from inputs and the states before them, (rows, C)."""
    cell, hidden = layer.cell, layer.hidden

    def product(kind, gate, operand):
        part = slice(gate * hidden, (gate + 1) * hidden)
        return operand @ p[f"weight_{kind}_{suffix}"][part].T.astype(np.float64)

    def bias(kind, gate):
        return p[f"bias_{kind}_{suffix}"][gate * hidden : (gate + 1) * hidden].astype(np.float64)

    if cell.normalized_values:
        pre, given = _normalized_terms(cell, p, suffix, product, bias, x, before[0]), []
    else:
        pre = [np.zeros((len(x), hidden)) for _ in range(cell.slots)]
        for slot, gate in zip(cell.input_slots, cell.input_gates):
            pre[slot] += product("ih", gate, x) + bias("ih", gate)
        for slot, gate in zip(cell.recurrent_slots, cell.recurrent_gates):
            pre[slot] += product("hh", gate, before[0]) + bias("hh", gate)
        given = [value for value in _unit_values(layer, p, suffix)]
    seen = [np.zeros((len(x), hidden)), *before[1:]] if cell.projected else before
    if cell.gated_slots:
        *pre, operand = _elementwise(lambda pre, state, given: _joined(cell.gate(pre, state, given)), pre, seen, given)
        for slot, gate in zip(cell.gated_slots, cell.gated_gates):
            pre[slot] = pre[slot] + product("hh", gate, operand) + bias("hh", gate)
    functions = [cell.activation if name in CANDIDATES else cell.gate_activation for name in cell.gates]

    def outputs(pre, state, given):
        kept = cell.forward(pre, state, given)[1]
        return tuple(function.output(value) for function, value in zip(functions, kept))

    return _elementwise(outputs, pre, seen, given)


def _joined(pair):
    return (*pair[0], pair[1])


def _elementwise(function, pre, state, given):
    """Arrays of what a cell's function makes of the numbers of arrays of one shape, (rows, H)."""
    shape = pre[0].shape
    groups = [
        zip(*(np.broadcast_to(array, shape).ravel().tolist() for array in arrays)) if arrays else _empty_tuples()
        for arrays in (pre, state, given)
    ]
    made = [function(*numbers_of_unit) for numbers_of_unit in zip(*groups)]
    return [np.array(values).reshape(shape) for values in zip(*made)]


def _empty_tuples():
    while True:
        yield ()


def _unit_values(layer, p, suffix):
    """(H,) for each value that the cell takes of a unit."""
    values = np.zeros((layer.cell.unit_value_count, layer.hidden))
    for name, which, _ in layer.unit_parameters:
        values[which] = p[f"{name}_{suffix}"].reshape(len(values[which]), -1)
    return values


def _normalized_terms(cell, p, suffix, product, bias, x, h):
    """The pre-activations of a `NormalizedCell`: sums of normalized slots."""
    gates_of = [("ih", gate, x) for gate in cell.input_gates] + [("hh", gate, h) for gate in cell.recurrent_gates]
    terms = [0.0] * cell.terms
    for run in cell.runs:
        own = gates_of[run.first : run.first + run.slots]
        slots = np.stack([product(*slot) for slot in own], axis=1)
        deviation = slots - slots.mean(axis=(1, 2), keepdims=True)
        scale = np.array([cell.inverse_deviation(v, 1.0) for v in (deviation**2).mean(axis=(1, 2)).tolist()])
        for offset, (kind, gate, _) in enumerate(own):
            width = slots.shape[2]
            gain = p[f"gain_{kind}_{suffix}"][gate * width : (gate + 1) * width].astype(np.float64)
            value = gain * deviation[:, offset] * scale[:, None] + bias(kind, gate)
            terms[run.term + offset] = terms[run.term + offset] + value
    return terms
