"""The same layer as ONNX operators, run by onnxruntime: one model of one node for each stacked layer.

What the specification (opset 14) leaves open, as onnxruntime 1.32 computes it:

* Only float32.  tanh is off by up to 2e-7 in an RNN, 3e-7 in an LSTM, 6e-7 in a GRU, sigmoid by a third to half of that.
* clip limits the sum that goes into a gate's activation, both biases and the peephole's product included, in a GRU also
  the candidate's after the reset gate acted; c and h are not limited.  0 is refused by GRU and LSTM.
* input_forget: f = 1 - i, i after its activation, whatever that is; f's rows of W, R, B and P are not read.
* A sequence of length 0 has final states of 0, not the initial ones: `run` puts the initial ones in their place.  The
  length may be shorter than T for every sequence, y is 0 past it, and NaN there does no harm.
* activation_alpha and activation_beta hold numbers only for those activations that take one, in the activations' order.
* Without them ThresholdedRelu has alpha 0, and ScaledTanh and Affine are 0 everywhere; they are always written here.
* Softplus is ``log(1 + exp(x))`` in float32: infinite from 89 on, and 0 below -17.
* There is no Gelu, Silu, projection, or identity but Affine.

In 1.20 an RNN is different: activation_alpha and activation_beta are indexed by the direction, so both need one number each
(the same lists fit here, since both directions have the same activation), LeakyRelu and HardSigmoid have no plain alpha,
and the final state of a sequence of length 0 is read from outside of the output.
"""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from oracles import ACTIVATIONS, suffixes

OPSET, IR = 14, 8
NAMES = {
    "identity": "Affine",
    "linear": "Affine",
    "affine": "Affine",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "scaled_tanh": "ScaledTanh",
    "relu": "Relu",
    "softsign": "Softsign",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "thresholded_relu": "ThresholdedRelu",
    "hard_sigmoid": "HardSigmoid",
}
ACTIVATED = {  # the options that are ONNX's activations f, g, h, in this order, and their plain values
    "RNN": {"activation": "tanh"},
    "GRU": {"gate_activation": "sigmoid", "activation": "tanh"},
    "LSTM": {"gate_activation": "sigmoid", "activation": "tanh", "output_activation": "tanh"},
}


def activation(spec):
    """(ONNX's name, alpha or None, beta or None) of a name or (name, alpha, beta)."""
    name, *given = (spec,) if isinstance(spec, str) else spec
    if name in ("identity", "linear"):
        given = (1.0, 0.0)
    defaults = ACTIVATIONS[name][1]
    return (NAMES[name], *given, *defaults[len(given) :], None, None)[:3]


def order(layer, array):
    """The rows of a weight or bias, from r z n or i f g o to ONNX's z r n or i o f g."""
    kind = type(layer).__name__
    if kind == "RNN":
        return array
    if kind == "GRU":
        r, z, n = np.split(array, 3)
        return np.concatenate([z, r, n])
    if getattr(layer, "coupled", False):
        i, g, o = np.split(array, 3)
        f = np.full_like(i, np.nan)  # not read
    else:
        i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])


def peephole(layer, array):
    """An LSTM's peepholes, from i f o (coupled: i o) to ONNX's i o f."""
    if getattr(layer, "coupled", False):
        i, o = np.split(array, 2)
        f = np.full_like(i, np.nan)  # not read
    else:
        i, f, o = np.split(array, 3)
    return np.concatenate([i, o, f])


def weights(layer, parameters, ends):
    """ONNX's W, R, B and P of the directions whose parameters' names end with `ends`."""

    def stacked(*names, convert=order):
        parts = [[convert(layer, np.asarray(parameters[f"{name}_{end}"])) for name in names] for end in ends]
        return np.stack([np.concatenate(part) for part in parts]).astype(np.float32)

    found = {"W": stacked("weight_ih"), "R": stacked("weight_hh")}
    if f"bias_ih_{ends[0]}" in parameters:
        found["B"] = stacked("bias_ih", "bias_hh")
    if getattr(layer, "peepholes", False):
        found["P"] = stacked("peephole", convert=peephole)
    return found


def attributes(layer, direction):
    """The node's attributes."""
    kind = type(layer).__name__
    repeats = 2 if direction == "bidirectional" else 1
    used = [activation(getattr(layer, name, plain)) for name, plain in ACTIVATED[kind].items()] * repeats
    found = {"hidden_size": layer.hidden, "direction": direction, "activations": [name for name, _, _ in used]}
    for index, letter in ((1, "alpha"), (2, "beta")):
        numbers = [float(entry[index]) for entry in used if entry[index] is not None]
        if numbers:
            found[f"activation_{letter}"] = numbers
    if getattr(layer, "clip", None) is not None:
        found["clip"] = float(layer.clip)
    if kind == "GRU":
        found["linear_before_reset"] = int(getattr(layer, "reset", "after") == "after")
    if kind == "LSTM":
        found["input_forget"] = int(getattr(layer, "coupled", False))
    return found


def run_node(layer, parameters, ends, direction, x, state, lengths):
    """(Y, the final states) of one node, in ONNX's shapes."""
    kind = type(layer).__name__
    given = {"X": x}
    if lengths is not None:
        given["sequence_lens"] = np.asarray(lengths, np.int32)
    given |= {f"initial_{letter}": np.asarray(s, np.float32) for letter, s in zip("hc", state or ())}
    constants = weights(layer, parameters, ends)
    names = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")[: 8 if kind == "LSTM" else 6]
    inputs = [name if name in given or name in constants else "" for name in names]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, outputs, **attributes(layer, direction))],
        kind,
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in given.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    y, *final = session.run(outputs, given)
    return y, final


def run(layer, parameters, x, state=None, lengths=None, direction=None):
    """``(y, state)`` as the library has them: y (T, N, D * H), states (L * D, N, H).

    `direction` is "reverse" for the reverse half of one bidirectional layer alone; its state is then (1, N, H).
    """
    stack = suffixes(layer)
    if direction == "reverse":
        stack = [ends[1:] for ends in stack]
    elif direction is None:
        direction = "bidirectional" if len(stack[0]) == 2 else "forward"
    pair = type(layer).__name__ == "LSTM"
    state = None if state is None else (tuple(state) if pair else (state,))
    y, finals = np.asarray(x, np.float32), []
    for index, ends in enumerate(stack):
        part = slice(index * len(ends), (index + 1) * len(ends))
        initial = None if state is None else [s[part] for s in state]
        y, final = run_node(layer, parameters, ends, direction, y, initial, lengths)
        if lengths is not None:
            empty = (np.asarray(lengths) == 0)[:, None]
            final = [np.where(empty, start, reached) for start, reached in zip(initial or (0, 0), final)]
        finals.append(final)
        y = np.concatenate(list(y.transpose(1, 0, 2, 3)), axis=2)
    final = tuple(np.concatenate(parts) for parts in zip(*finals))
    return y, final if pair else final[0]
