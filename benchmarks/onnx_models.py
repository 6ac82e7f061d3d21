"""One recurrent layer as an ONNX model, and onnxruntime's session of it."""

import numpy as np

ORDER = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}  # ONNX's gates among PyTorch's


def session(cell, arrays, threads):
    """A session on so many threads; its input is ``x`` (T, N, I), its output y (T, 1, N, H).

    arrays: by PyTorch's names, of a single layer.
    """
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    def reordered(name):
        gates = np.split(arrays[f"{name}_l0"], len(ORDER[cell]))
        return np.concatenate([gates[gate] for gate in ORDER[cell]])

    w, r, b, c = map(reordered, ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    values = {"W": w[None], "R": r[None], "B": np.concatenate([b, c])[None]}
    channels, hidden = w.shape[1], r.shape[1]
    options = {"linear_before_reset": 1} if cell == "GRU" else {}
    node = helper.make_node(cell, ["x", *values], ["y"], hidden_size=hidden, **options)
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in (("x", ("T", "N", channels)), ("y", ("T", 1, "N", hidden)))
    ]
    graph = helper.make_graph([node], cell, *ends, [numpy_helper.from_array(v, k) for k, v in values.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), settings)
