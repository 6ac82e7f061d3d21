"""ONNX's RNN, GRU and LSTM as layers."""

from dataclasses import replace

import numpy as np

from ...cells.activations import FUNCTIONS
from ...layers.gru import GRU
from ...layers.lstm import LSTM
from ...layers.rnn import RNN
from .gates import FIELDS, HERE, PEEPHOLES_HERE, PEEPHOLES_THERE, THERE, functions_from, gates_of, reordered
from .states import of_input, start_of
from .values import BATCH, STEPS, Atom, Finals, Signal, transposed

KINDS = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}
NOT_ZERO = ("sigmoid", "hard_sigmoid", "softplus")  # functions whose value at 0 is not 0
DIRECTIONS = {"forward": ("",), "reverse": ("_reverse",), "bidirectional": ("", "_reverse")}


def recurrent(reader, node):
    """Append the layer of a node; its outputs."""
    kind = node.operator
    weights = _weights(node, kind)
    hidden, directions = weights["R"].shape[2], len(weights["R"])
    direction = node.attribute("direction", "forward")
    if direction not in DIRECTIONS or len(DIRECTIONS[direction]) != directions:
        raise node.error(f"a direction with {directions} of W, got {direction!r}")
    batch_first = node.attribute("layout", 0)
    order = [1, 0, 2] if batch_first else [0, 1, 2]
    signal = reader.data(node, node.input(0))
    if len(signal.axes) != 3:
        raise node.error(f"x of three axes, got {len(signal.axes)}")
    steps, batch = (signal.axes[index] for index in order[:2])
    for axis, role in ((steps, STEPS), (batch, BATCH)):
        reader.give_role(node, axis, role)
    signal = reader.bound(signal, node)
    layer = _layer(node, kind, hidden, direction)
    arrays = _parameters(reader, node, layer, kind, weights, direction, signal)
    index, layer = _with_states(reader, node, layer, arrays, direction, order, hidden)
    reader.append(layer, arrays, signal)
    reader.take_lengths(node, node.input(4), batch, steps)
    h = Atom("c", hidden)
    d = Atom("c", directions)
    ds = (d,) if directions == 2 else ()
    ways = {"forward": (0,), "reverse": (1,), "bidirectional": (0, 1)}[direction]
    y = [batch, steps, ds, (h,)] if batch_first else [steps, ds, batch, (h,)]
    found = [Signal(index + 1, tuple(y), (*ds, h))]
    for letter in "hc"[: 1 + (kind == "LSTM")]:
        row = Atom(None, directions)
        rows = (row,) if directions == 2 else ()
        axes = [batch, rows, (Atom("c", hidden),)] if batch_first else [rows, batch, (Atom("c", hidden),)]
        found.append(Finals(letter, tuple((index, way) for way in ways), tuple(axes), row, index + 1))
    return found


def _weights(node, kind):
    """W, R, B and P, zeros for those that are not there."""
    w, r = node.constant(1, "W"), node.constant(2, "R")
    gates = len(HERE[kind])
    if w.ndim != 3 or r.ndim != 3 or not r.size or len(w) not in (1, 2):
        raise node.error(f"W and R of three axes and one or two directions, got {w.shape} and {r.shape}")
    directions, hidden = len(w), r.shape[2]
    shapes = {"W": (directions, gates * hidden, w.shape[2]), "R": (directions, gates * hidden, hidden)}
    shapes |= {"B": (directions, 2 * gates * hidden), "P": (directions, 3 * hidden)}
    found = {"W": w, "R": r, "B": np.zeros(shapes["B"], w.dtype), "P": None}
    if node.input(3) is not None:
        found["B"] = node.constant(3, "B")
    if kind == "LSTM" and node.input(7) is not None:
        found["P"] = node.constant(7, "P")
    for letter, array in found.items():
        if array is not None and (array.shape != shapes[letter] or array.dtype != w.dtype):
            raise node.error(f"{letter} of shape {shapes[letter]}, {w.dtype}, got {array.shape}, {array.dtype}")
    if node.attribute("hidden_size", hidden) != hidden:
        raise node.error(f"hidden_size {hidden} as R has it, got {node.attribute('hidden_size')}")
    return found


def _layer(node, kind, hidden, direction):
    """The layer, without learned states."""
    fields, options = FIELDS[kind], {}
    count = len(fields)
    directions = len(DIRECTIONS[direction])
    names = node.attribute("activations") or [plain.capitalize() for plain in fields.values()] * directions
    names = [name.decode("utf8", "replace") if isinstance(name, bytes) else name for name in names]
    if len(names) != count * directions:
        raise node.error(f"{count * directions} activations, got {names}")
    left = [list(node.attribute(f"activation_{letter}") or []) for letter in ("alpha", "beta")]
    found = [functions_from(node.where, kind, names[at : at + count], *left) for at in range(0, len(names), count)]
    if any(left):
        raise node.error(f"as many activation_alpha and activation_beta as {names} take, got more: {left}")
    if found[0] != found[-1]:
        raise node.error(f"the same activations in both directions, got {found}")
    options |= {field: spec for field, spec in zip(fields, found[0]) if spec != fields[field]}
    if node.attribute("clip") is not None:
        if not node.attribute("clip") > 0:
            raise node.error(f"clip greater than 0, got {node.attribute('clip')}")
        options["clip"] = float(node.attribute("clip"))
    if kind == "GRU":
        options["reset"] = "after" if node.attribute("linear_before_reset", 0) else "before"
    if kind == "LSTM":
        options |= {"coupled": bool(node.attribute("input_forget", 0)), "peepholes": node.input(7) is not None}
    if direction == "reverse":
        options["merge"] = "sum"
        _check_silent(node, kind, found[0])
    return KINDS[kind](hidden, bidirectional=direction != "forward", **options)


def _check_silent(node, kind, functions):
    """Raise unless a direction without weights gives zeros, which is how a layer in reverse is made of one of two."""
    made = functions[1:] if kind != "RNN" else functions
    for spec in made:
        name, *numbers = spec if isinstance(spec, tuple) else (spec,)
        function = FUNCTIONS[name](*numbers)
        shifted = name in NOT_ZERO or getattr(function, "beta", 0) != 0 and name == "affine"
        if shifted or name == "thresholded_relu" and function.alpha < 0:
            raise node.error(f"in reverse, activation functions that are 0 at 0, got {spec!r}")


def _parameters(reader, node, layer, kind, weights, direction, signal):
    """{name: array} of the layer's parameters; zeros for the forward direction of a layer in reverse."""
    coupled = getattr(layer, "coupled", False)
    here, there = gates_of(kind, coupled), THERE[kind]
    if weights["W"].shape[2] != reader.width(signal):
        raise node.error(f"W for {reader.width(signal)} channels, got {weights['W'].shape[2]}")
    found = {}
    for index, end in enumerate(DIRECTIONS[direction]):
        own = {"weight_ih": reader.in_order(signal, weights["W"][index].T).T, "weight_hh": weights["R"][index]}
        own |= dict(zip(("bias_ih", "bias_hh"), np.split(weights["B"][index], 2)))
        for name, array in own.items():
            found[f"{name}_l0{end}"] = reordered(array, there, here)
        if weights["P"] is not None:
            of = PEEPHOLES_HERE.replace("f", "") if coupled else PEEPHOLES_HERE
            found[f"peephole_l0{end}"] = reordered(weights["P"][index], PEEPHOLES_THERE, of)
    if direction == "reverse":
        found |= {name.removesuffix("_reverse"): np.zeros_like(array) for name, array in found.items()}
    return found


def _with_states(reader, node, layer, arrays, direction, order, hidden):
    """(index, layer), with learned states where the initial ones are constants; states from inputs and layers are noted."""
    letters = "hc"[: layer.cell.states]
    given = {letter: value for letter, value in zip(letters, (node.input(5), node.input(6))) if value is not None}
    computed, inputs, learned = {}, {}, {}
    for letter, value in given.items():
        if not isinstance(value, np.ndarray):
            inputs[letter] = of_input(reader, value, order)
            if inputs[letter] is None:
                computed[letter] = transposed(value, order)
    start = start_of(reader, node, letters, computed, direction) if computed else None  # may add layers
    index = len(reader.layers)
    if start is not None:
        reader.starts[index] = start
    reader.states |= {(index, letter): found for letter, found in inputs.items() if found is not None}
    for letter, value in given.items():
        if not isinstance(value, np.ndarray):
            continue
        if value.ndim != 3:
            raise node.error(f"initial_{letter} of three axes, got shape {value.shape}")
        value = value.transpose(order)
        if value.shape[0] != len(DIRECTIONS[direction]) or value.shape[2] != hidden:
            raise node.error(f"initial_{letter} of shape ({len(DIRECTIONS[direction])}, N, {hidden}), got {value.shape}")
        if reader.given is not None:
            reader.states[index, letter] = value, direction
        elif value.strides[1] == 0 or len(value[0]) == 1 or (value == value[:, :1]).all():
            if value[:, 0].any():
                learned[letter] = value[:, 0]
        else:
            raise node.error(f"the same initial_{letter} for all sequences, or an input, got a constant that differs")
    if not learned:
        return index, layer
    if len(given) > sum(isinstance(value, np.ndarray) for value in given.values()):
        raise node.error("initial states that are all constants, or all inputs, got both")
    for letter in letters:
        for row, end in enumerate(DIRECTIONS[direction]):
            rows = learned.get(letter, np.zeros((2, hidden), arrays["weight_hh_l0" + end].dtype))
            arrays[f"initial_{letter}_l0{end}"] = rows[row]
        if direction == "reverse":
            arrays[f"initial_{letter}_l0"] = np.zeros_like(arrays[f"initial_{letter}_l0_reverse"])
    return index, replace(layer, learned_state=True)
