"""Files of Keras, ``.keras`` and ``.h5``, read by h5py without Keras.  Nothing in them is executed."""

import io
import json
import os
import re
import zipfile

import numpy as np

from ..errors import ConversionError, FileFormatError
from ..files.arrays import DAMAGED
from ..files.container import checked_path, open_file
from .keras_layers import Described

ENDINGS = (".keras", ".h5", ".hdf5")
SQUEEZED = 1100  # how many times smaller zlib makes numbers at most
OURS = (FileFormatError, ConversionError, MemoryError)


def read_model(path):
    """(configuration, list of Described, whether Keras 2 wrote it) of a file.

    Raises
    ------
    FileFormatError
        If it is no such file, or was damaged.
    ConversionError
        If it holds no layers of Keras.
    """
    path = checked_path(path)
    ending = os.path.splitext(path)[1]
    if ending not in ENDINGS:
        raise ValueError(f"path: expected a file that ends in {', '.join(ENDINGS)}, got {path!r}")
    library = _h5py()
    with open(path, "rb", opener=open_file) as file:
        contents = file.read()
    try:
        if ending == ".keras":
            return _zipped(library, contents)
        with library.File(io.BytesIO(contents), "r") as whole:
            return _in_hdf5(whole, SQUEEZED * len(contents))
    except OURS:
        raise
    except (*DAMAGED, AttributeError) as error:
        raise FileFormatError(f"{path}: expected a model that Keras has saved, got a damaged one ({error})") from None


def _h5py():
    """The package h5py; ImportError, saying how to get it, if it is not there."""
    try:
        import h5py
    except ImportError:
        raise ImportError("keras: expected h5py, which is not installed: pip install numbarnn[keras]") from None
    return h5py


def layers_of(config):
    """[(class, config, name), ...] of the configuration of a model."""
    kind, found = config.get("class_name"), config["config"]["layers"]
    if kind not in ("Sequential", "Functional", "Model"):
        raise ConversionError(f"model: expected a Sequential or a Functional, got {kind!r}")
    for layer in found:
        if not _of_keras(layer):
            name = layer["config"].get("name")
            raise ConversionError(
                f"layer {name!r} ({layer['class_name']}): expected a layer of Keras, got a class of its own"
            )
    return [(layer["class_name"], layer["config"], layer["config"].get("name")) for layer in found]


def is_row(config):
    """Whether the layers of a configuration are in a row.

    Raises
    ------
    ConversionError
        If they are none, and the configuration is one of Keras 2, which says otherwise what reads what.
    """
    if config.get("class_name") == "Sequential":
        return True
    found, before, wrong = config["config"]["layers"], None, None
    for layer in found:
        name, kind = layer["config"].get("name"), layer["class_name"]
        sources = _sources(layer.get("inbound_nodes", []))
        if wrong is None and (sources != ([before] if before else []) or layer["config"].get("return_state")):
            wrong = f"layer {name!r} ({kind}): expected {before!r} as its input, got {sources}"
        before = name
    outputs = _sources(config["config"].get("output_layers", []))
    if outputs and outputs != [before]:
        wrong = wrong or f"model: expected one output, of layer {before!r}, got {', '.join(map(repr, outputs))}"
    calls = [call for layer in found for call in layer.get("inbound_nodes", [])]
    if wrong is not None and not all(isinstance(call, dict) and "args" in call for call in calls):
        raise ConversionError(f"{wrong}; of Keras 2 layers in a row are read")
    return wrong is None


def _of_keras(layer):
    """Whether a configuration is of one of Keras' classes, and not of another class with the same name."""
    module = layer.get("module")
    return module.startswith(("keras", "tf_keras", "tensorflow")) if module else not layer.get("registered_name")


def _sources(nodes):
    """The names of the layers from which a layer reads, as Keras 3 or 2 has them."""
    if isinstance(nodes, dict):
        inside = nodes.get("config")
        if isinstance(inside, dict) and "keras_history" in inside:
            return [nodes["config"]["keras_history"][0]]
        nodes = list(nodes.values())
    if isinstance(nodes, (list, tuple)):
        if len(nodes) > 2 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            return [nodes[0]]
        return [name for each in nodes for name in _sources(each)]
    return []


def _zipped(library, contents):
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        config, old = json.loads(archive.read("config.json")), False
        if "metadata.json" in archive.namelist():
            old = _is_old(json.loads(archive.read("metadata.json")).get("keras_version", "3"))
        contents = archive.read("model.weights.h5")
    with library.File(io.BytesIO(contents), "r") as weights:
        groups = _child(weights, "layers")
        names = {_name_of(group): group for group in (_child(groups, key) for key in groups)}
        found, used = [], {}
        for kind, own, name in layers_of(config):
            key = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", kind)).lower()
            used[key] = used.get(key, -1) + 1
            key = f"{key}_{used[key]}" if used[key] else key  # how groups are called that do not say whose they are
            group = names.get(name) if None not in names else _child(groups, key) if key in groups else None
            found.append(Described(kind, own, [] if group is None else _variables(group, SQUEEZED * len(contents))))
    return config, found, old


def _is_old(version):
    """Whether a version of Keras is one before 3."""
    return str(version).startswith(("1", "2"))


def _child(group, name):
    """What a group holds under a name; links out of the file are not followed."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name!r} is no part of the file")
    return group[name]


def _name_of(group):
    """The name of the layer whose weights a group holds, or None."""
    if "vars" not in group:
        return None
    name = _child(group, "vars").attrs.get("name")
    return name if isinstance(name, str) else None


def _variables(group, most):
    """The arrays of a group, in Keras' order; a cell, a wrapped layer and two directions are looked into.

    most: how many bytes one of them may have.
    """
    found = []
    for part in ("vars", "cell", "layer", "forward_layer", "backward_layer"):
        if part not in group:
            continue
        inner = _child(group, part)
        if part == "vars":
            found += [_array(_child(inner, key), most) for key in sorted(inner, key=int)]
        else:
            found += _variables(inner, most)
    return found


def _array(dataset, most):
    """The array of a dataset of the file, if it claims no more than so many bytes."""
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name!r} is no array of the file")
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > min(most, SQUEEZED * (stored + 1)) or dataset.dtype.kind != "f":
        raise ValueError(f"{dataset.name!r} claims {dataset.shape} {dataset.dtype} in {stored} bytes")
    return np.asarray(dataset[()])


def _in_hdf5(whole, most):
    old = _is_old(whole.attrs.get("keras_version", "2"))
    config = json.loads(whole.attrs["model_config"])
    groups = _child(whole, "model_weights")
    found = []
    for kind, own, name in layers_of(config):
        weights = []
        if name in groups:
            group = _child(groups, name)
            for path in group.attrs.get("weight_names", []):
                at = group
                for part in (path.decode("utf8") if isinstance(path, bytes) else str(path)).split("/"):
                    at = _child(at, part)
                weights.append(_array(at, most))
        found.append(Described(kind, own, weights))
    return config, found, old
