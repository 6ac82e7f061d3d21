"""Models with a Scan hold a description of their network: it is believed where the model is what the network writes.

The parameters are the numbers of the model.  Which number of the model is which parameter is found by writing the network
with marks in the place of its parameters.  Parameters that are not in the model as they are, such as weights that a
connectivity masks, stand in the description.
"""

import base64
import math

import numpy as np

from ...errors import ConversionError
from ...files.container import AXES, DTYPES, KEY, description_in, text_of
from ...files.written import Reading
from ...loading import network_of
from ...parameters import Parameters
from .files import ORDINARY, array_of
from .same import expect_same
from .writing import OPSETS, model_of

FIRST_MARK = 1 << 52  # from here on each integer is a float64; no constant of a model is so large
ARRAYS, LENGTHS, POSITIONS, REST = "arrays", "lengths", "positions", "rest"  # what a description holds besides the network


def described(model, net, lengths, opset):
    """The model with a description of the network, if it has a Scan (is modified).

    A network that no file can describe, such as one with a lambda, leaves the model as it is.
    """
    if not _has_scan(model):
        return model
    try:
        arrays, description = net._written()
    except TypeError:
        return model
    params = net.params.to("cpu")
    found = _parameters_in(net, lengths, opset, model, "model", params.dtype)
    bits = [np.ascontiguousarray(flat).view(f"u{params.dtype.itemsize}") for flat in (found, params.flat)]
    rest = np.flatnonzero(bits[0] != bits[1])
    own = {name: array for name, array in arrays.items() if name not in params}
    own = {name: _as_text(array) for name, array in own.items()}
    more = {POSITIONS: _as_text(rest.astype(np.int64)), REST: _as_text(params.flat[rest])}
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, text_of({**description, LENGTHS: lengths, ARRAYS: own, **more})
    return model


def of_description(model, where, trusted):
    """The Network or Graph of the description in a model with a Scan; None of a model without one.

    Nothing in the description is executed, and the parameters take no more memory than the numbers of the model.

    Raises
    ------
    ConversionError
        If the model is not what `described` makes of the network.
    FileFormatError
        For a description that is damaged.
    TrustError
        For a class or function that is not trusted.
    """
    metadata = {each.key: each.value for each in model.metadata_props}
    if KEY not in metadata or not _has_scan(model):
        return None
    description = description_in(where, metadata)
    lengths, opset = description.get(LENGTHS), _opset(model, where)
    own = Reading(where, {})  # for errors about what stands beside the network
    if type(lengths) is not bool:
        raise own.error(LENGTHS, f"true or false, got {lengths!r:.200}")
    positions, rest = (_from_text(own, name, description.get(name)) for name in (POSITIONS, REST))
    numbers = sum(array_of(where, tensor).size for tensor in model.graph.initializer)
    net = _without_parameters(where, description, trusted, numbers + rest.size)
    try:
        flat = _parameters_in(net, lengths, opset, model, where, net.dtype)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ConversionError(f"{where}: expected a network that ONNX can say in the description ({error})") from error
    if positions.dtype != np.int64 or positions.ndim != 1 or positions.shape != rest.shape or rest.dtype != net.dtype:
        raise own.error(POSITIONS, f"int64, one for each of {REST}, of {net.dtype}, got {positions.dtype} and {rest.dtype}")
    if positions.size and not 0 <= positions.min() <= positions.max() < flat.size:
        raise own.error(POSITIONS, f"places among {flat.size} parameters, got others")
    flat[positions] = rest
    net.params.flat[...] = flat
    expect_same(where, model, model_of(net, lengths, opset))
    return net


def _has_scan(model):
    return any(each.op_type == "Scan" for each in model.graph.node)


def _opset(model, where):
    """The opset of a model, if it is one that is written."""
    opset = next((each.version for each in model.opset_import if each.domain in ORDINARY), None)
    if opset not in OPSETS:
        raise ConversionError(
            f"{where}: expected an opset from {OPSETS[0]} to {OPSETS[-1]} of a model with a description, got {opset}"
        )
    return opset


def _without_parameters(where, description, trusted, most):
    """The network or graph of a description, with parameters of 0, of which there are as many as `most` at most."""
    arrays, read = description.get(ARRAYS), Reading(where, {}, trusted)
    if not isinstance(arrays, dict):
        raise read.error(ARRAYS, f"arrays by name, got {arrays!r:.200}")
    dtype, weights = Parameters._structure_in_file(read, description)
    count = sum(weight.size for weight in weights)
    if count > most:
        raise read.error("parameters", f"at most the {most:,} numbers that the model has, got {count:,}")
    found = {name: _from_text(read, f"{ARRAYS}.{name}", array) for name, array in arrays.items()}
    found |= {weight.name: np.zeros(weight.shape, dtype) for weight in weights}
    return network_of(Reading(where, found, trusted), description, "cpu")


def _parameters_in(net, lengths, opset, model, where, dtype):
    """The parameters of a network that are among the numbers of its model, new, and 0 for the others.

    model: need not be the network's own; where: what errors call it.
    """
    count = len(net.params)
    marks = Parameters(FIRST_MARK + np.arange(count, dtype=np.float64), net.params.weights)
    marked, flat = model_of(net, lengths, opset, marks), np.zeros(count, dtype)
    for pair in zip(model.graph.initializer, marked.graph.initializer):  # one by one, since each is copied
        array, there = (array_of(where, tensor) for tensor in pair)
        if array.shape == there.shape and array.dtype == dtype and there.dtype == np.float64:
            places = (there >= FIRST_MARK) & (there < FIRST_MARK + count)
            flat[(there[places] - FIRST_MARK).astype(np.int64)] = array[places]
    return flat


def _as_text(array):
    """An array as JSON has it."""
    data = base64.b64encode(np.asarray(array, order="C").tobytes()).decode("ascii")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def _from_text(read, where, value):
    """The array that `_as_text` has written, new."""
    try:
        dtype, shape, data = value["dtype"], value["shape"], base64.b64decode(value["data"], validate=True)
        right = dtype in DTYPES.values() and len(shape) <= AXES and all(type(n) is int and n >= 0 for n in shape)
        if right and math.prod(shape) * np.dtype(dtype).itemsize == len(data):
            return np.frombuffer(data, dtype).reshape(shape).copy()
    except (LookupError, TypeError, ValueError):
        pass
    raise read.error(where, f"dtype, shape and data of an array, got {value!r:.200}")
