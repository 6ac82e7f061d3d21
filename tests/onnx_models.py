"""Makes ONNX models from nodes, and runs them with onnxruntime."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = OPTIONS.inter_op_num_threads = 1
OPTIONS.log_severity_level = 3  # it warns of every input that may be left out


def run(model, feeds):
    """{name: array} of the outputs, by onnxruntime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), OPTIONS, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


W, R, B = ((np.random.default_rng(k).standard_normal(shape) / 2).astype(np.float32) for k, shape in enumerate(
    [(2, 9, 3), (2, 9, 3), (2, 18)]
))  # fmt: skip


def graph(nodes, shape=("N", "T", 3), arrays=None, opset=17, outputs=("y",), kind=TensorProto.FLOAT, more=()):
    """A model of nodes that read x and arrays by name."""
    arrays = {"W": W, "R": R, "B": B, "W1": W[:1], "R1": R[:1], "B1": B[:1]} | (arrays or {})
    used = {name for each in nodes for name in each.input}
    nodes = [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes]
    for place, each in enumerate(nodes):
        if each.name in [other.name for other in nodes[:place]]:
            each.name = f"{each.name}_{place}"
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, shape), *more],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items() if name in used],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), name=f"the_{operator}", **attributes)


BOTH = node("GRU", "xt W R B", "Y Yh", hidden_size=3, direction="bidirectional")
ONE = node("GRU", "xt W1 R1 B1", "Y Yh", hidden_size=3)
TURN = node("Transpose", "x", "xt", perm=[1, 0, 2])
NUMBERS = {
    "zero": [0], "one": [1], "two": [2], "three": [3], "six": [6], "nil": [0], "last": [-1], "big": [2**62], "both": [0, 1],
    "rows": [0, 0, -1], "two_axes": [0, -1], "minus": -1, "start": 0,
}  # fmt: skip
NUMBERS = {name: np.array(value, np.int64) for name, value in NUMBERS.items()}
