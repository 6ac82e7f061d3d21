"""Models as they come: paths, bytes and ModelProtos, and what of them is believed."""

import os

from ...errors import ConversionError, FileFormatError
from ...files.container import checked_path, open_file

OPSETS = range(7, 25)
ORDINARY = ("", "ai.onnx")


def onnx_library():
    """The package onnx; ImportError, saying how to get it, if it is not there."""
    try:
        import onnx
    except ImportError:
        raise ImportError("onnx: expected onnx, which is not installed: pip install numbarnn[onnx]") from None
    return onnx


def model_of(source):
    """The ModelProto of a path, bytes or a ModelProto, and what errors call it."""
    onnx = onnx_library()
    if isinstance(source, onnx.ModelProto):
        model, where = source, "model"
    elif isinstance(source, bytes):
        model, where = _parsed(onnx, source, "model"), "model"
    else:
        where = checked_path(source, "model")
        with open(where, "rb", opener=open_file) as file:
            model = _parsed(onnx, file.read(), where)
        _take_external_data(onnx, model, where)
    if not model.graph.node and not model.graph.output:
        raise FileFormatError(f"{where}: expected an ONNX model, got one without a graph")
    opsets = {each.domain: each.version for each in model.opset_import if each.domain in ORDINARY}
    if not opsets or not all(version in OPSETS for version in opsets.values()):
        raise ConversionError(
            f"{where}: expected a model of opset {OPSETS[0]} to {OPSETS[-1]}, got {sorted(opsets.values())}"
        )
    return model, where


def _parsed(onnx, contents, where):
    """The ModelProto that bytes are."""
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(contents)
    except (DecodeError, RecursionError, ValueError) as error:
        raise FileFormatError(f"{where}: expected an ONNX model, got a truncated or foreign file ({error})") from None
    return model


def _take_external_data(onnx, model, path):
    """Read the arrays that a model keeps in files beside it, which onnx looks for in its folder alone (is modified)."""
    constants = [each.t for node in model.graph.node for each in node.attribute if each.HasField("t")]
    tensors = [each for each in (*model.graph.initializer, *constants) if each.data_location == onnx.TensorProto.EXTERNAL]
    if not tensors:
        return
    from onnx.external_data_helper import load_external_data_for_model

    try:
        load_external_data_for_model(model, os.path.dirname(os.path.abspath(path)))
    except (onnx.checker.ValidationError, ValueError, RuntimeError, TypeError, OverflowError) as error:
        raise FileFormatError(f"{path}: expected the arrays of {tensors[0].name!r} beside it ({error})") from None


def array_of(where, tensor):
    """The array that a TensorProto is."""
    onnx = onnx_library()
    if tensor.data_location == onnx.TensorProto.EXTERNAL:  # onnx would look for the file in the working directory
        raise FileFormatError(f"{where}: expected a path of a model with arrays in other files, got {tensor.name!r} in one")
    if any(size < 0 for size in tensor.dims):
        raise FileFormatError(f"{where}: {tensor.name}: expected an array, got a shape of {list(tensor.dims)}")
    try:
        return onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # of NumPy, of dtypes, and of what a damaged tensor lacks
        if isinstance(error, MemoryError):
            raise
        raise FileFormatError(f"{where}: {tensor.name}: expected an array, got a damaged one ({error})") from None
