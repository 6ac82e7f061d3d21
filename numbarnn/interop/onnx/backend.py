"""A model run as ONNX's backends are: any graph that can be read, all of its outputs, in ONNX's own axes."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...errors import ConversionError
from ...layers.recurrent import Recurrent
from .files import model_of, onnx_library
from .loading import Output, graph_of, name_the_rest
from .reading import Reader
from .rows import Rows
from .values import BATCH, CHANNELS, STEPS, Finals, Signal


class Backend:
    """What ``onnx.backend`` asks of a library that runs models; see `onnx.backend.base.Backend`.

    The first input of a graph is what the network reads; the others may be states, lengths of sequences and weights, which
    need not be constants.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Network([nr.GRU(4)], channels=2, seed=0)
    >>> y, h = nr.interop.onnx.Backend.run_model(nr.interop.onnx.to_model(net), [np.ones((5, 3, 2), np.float32)])
    >>> y.shape, h.shape, np.array_equal(y, net.predict(np.ones((5, 3, 2), np.float32)))
    ((5, 3, 4), (1, 3, 4), True)
    """

    @classmethod
    def is_compatible(cls, model: object, device: str = "CPU", **options) -> bool:
        """Whether a model may be tried: on the CPU any."""
        return cls.supports_device(device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether there is a device: ``"CPU"``."""
        return isinstance(device, str) and device.partition(":")[0].upper() == "CPU"

    @classmethod
    def prepare(cls, model: object, device: str = "CPU", **options) -> "Prepared":
        """A model that can be run.

        Parameters
        ----------
        model : str, os.PathLike, bytes or onnx.ModelProto
        device : str
            ``"CPU"``.
        **options
            Of other backends; they are not used.

        Raises
        ------
        ConversionError
            For a device that is not there.
        FileFormatError
            If it is no model.
        """
        if not cls.supports_device(device):
            raise ConversionError(f"device: expected 'CPU', got {device!r}")
        return Prepared(*model_of(model))

    @classmethod
    def run_model(cls, model: object, inputs: object, device: str = "CPU", **options) -> tuple:
        """The outputs of a model; see `prepare` and ``Prepared.run``."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: object,
        inputs: object,
        device: str = "CPU",
        outputs_info: object = None,
        opset_version: int = 14,
        **options,
    ) -> tuple:
        """The outputs of one node, an onnx.NodeProto.

        Parameters
        ----------
        node : onnx.NodeProto
        inputs : sequence of numpy.ndarray
            The inputs of the node that have names, in order.
        device : str
            ``"CPU"``.
        outputs_info : object
            Of other backends; it is not used.
        opset_version : int
            Of the operator.
        **options
            Of other backends; they are not used.
        """
        helper = onnx_library().helper
        names = [name for name in dict.fromkeys(node.input) if name]
        arrays = [np.asarray(array) for array in inputs]
        if len(arrays) != len(names):
            raise ValueError(f"inputs: expected {len(names)}, {names}, got {len(arrays)}")
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, arrays)
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = helper.make_graph([node], "node", given, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset_version)])
        return cls.run_model(model, arrays, device, **options)


class Prepared:
    """A model that can be run.

    Parameters
    ----------
    model : onnx.ModelProto
    where : str
        What errors call it.
    """

    def __init__(self, model: object, where: str):
        self._model, self._where = model, where
        constants = {each.name for each in model.graph.initializer}
        self._names = [each.name for each in model.graph.input if each.name not in constants]
        self._all = {each.name for each in model.graph.input}

    def run(self, inputs: object, **options) -> tuple:
        """The outputs of the graph, in its order.

        Parameters
        ----------
        inputs : sequence of numpy.ndarray, numpy.ndarray, or dict
            An array for each input that is no initializer, in order; or by name, initializers that are inputs too.
        **options
            Of other backends; they are not used.

        Returns
        -------
        tuple of numpy.ndarray

        Raises
        ------
        ConversionError
            For a node that has no counterpart; it names the node.
        ValueError
            If there is not an array for each input.
        """
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, Mapping):
            inputs = list(inputs)
            if len(inputs) != len(self._names):
                raise ValueError(f"inputs: expected {len(self._names)}, {self._names}, got {len(inputs)}")
            inputs = dict(zip(self._names, inputs))
        given = {name: np.asarray(array) for name, array in inputs.items()}
        if not set(self._names) <= set(given) <= self._all:
            raise ValueError(f"inputs: expected arrays for {self._names}, got {sorted(given)}")
        return Run(Reader(self._model, self._where, given), given).outputs()


class Run:
    """One run of a graph that has been read with its inputs.

    Parameters
    ----------
    reader : Reader
    given : dict of str to numpy.ndarray
    """

    def __init__(self, reader, given):
        self.reader, self.given = reader, given

    def outputs(self):
        """The arrays of the outputs, in order."""
        reader = self.reader
        values, as_they_are = [reader.values[name] for name in reader.outputs], []
        for place, (name, value) in enumerate(zip(reader.outputs, values)):
            reader.check_unchanged(Output(name), name)
            steps = isinstance(value, Signal) and (value.step is not None)
            if steps or not isinstance(value, (np.ndarray, Signal, Finals)):
                values[place] = reader.data(Output(name), value)
            else:
                as_they_are.append(name)
        for name in as_they_are:
            reader.check_unchanged(Output(name), name)
        reader.check_lengths()
        needed = {}
        for value in values:
            for source in _sources(value):
                needed[source] = f"value_{source}"
        self._results = self._called(needed) if needed else ({}, {})
        return tuple(value if isinstance(value, np.ndarray) else self._array(value) for value in values)

    def _called(self, needed):
        """({number: y}, {index: state}) of the layers whose outputs are needed, in the order t, n, c."""
        reader = self.reader
        rows = Rows(reader, needed, stacked=False)
        for name in rows.inputs:
            name_the_rest(reader, name)
        net = graph_of(reader, rows, "tnc")
        labels = {}
        for index, layer in enumerate(reader.layers):
            if isinstance(layer, Recurrent) and any(index in item.indices for row in rows.rows for item in row.items):
                row, place, _ = rows.row_of(index)
                labels[index] = row.name if len(row.items) == 1 else f"{row.name}.{place}"
        initial = {label: self._initial(index) for index, label in labels.items()}
        inputs = {rows.name_of(name): self._input(name) for name in rows.inputs}
        lengths = next((each for each in reader.lengths if each is not None), None)
        if lengths is not None:
            lengths = {name: lengths for name, each in net.inputs.items() if each.steps}
        y, states = net(inputs, initial, lengths)
        return {at: y[rows.name_of(at)] for at in needed}, {index: states[label] for index, label in labels.items()}

    def _input(self, name):
        """An input in the order t, n, c."""
        atoms = [atom for axis in self.reader.inputs[name].axes for atom in axis]
        order = sorted(range(len(atoms)), key=lambda place: "tnc".index(atoms[place].role))
        roles = [atoms[place].role for place in order]
        array, lead = self.given[name].transpose(order), len(roles) - roles.count(CHANNELS)
        is_float = array.dtype.kind == "f"
        return array.reshape(*array.shape[:lead], -1) if is_float else array

    def _array(self, value):
        """The array that a value is, in its axes."""
        if value.at and isinstance(value, Finals):
            atoms = [atom for axis in value.axes for atom in axis]
            parts = []
            for index, way in value.rows:
                state = self._results[1][index]
                parts.append((state if not isinstance(state, tuple) else state["hc".index(value.letter)])[way])
            rows = [value.row] if any(atom is value.row for atom in atoms) else []
            batch = [atom for atom in atoms if atom.role == BATCH]
            return _arranged(value, np.stack(parts), [*rows, *batch, *_channels(atoms, rows)])
        if value.repeated:
            without = tuple(tuple(atom for atom in axis if atom.role != STEPS) for axis in value.axes)
            return np.broadcast_to(self._array(replace(value, axes=without, repeated=False)), value.shape)
        if isinstance(value, Signal) and value.parts:
            parts = [self._array(part) for part in value.parts]
            lead = value.shape[:-1]
            return np.concatenate([np.broadcast_to(part, (*lead, part.shape[-1])) for part in parts], axis=-1)
        if not value.at:
            name = value.source if isinstance(value, Signal) else value.letter
            atoms = [atom for axis in self.reader.inputs[name].axes for atom in axis]
            return _arranged(value, self.given[name], atoms)
        y, channels = self._results[0][value.at], list(value.channels)
        atoms = [atom for axis in value.axes for atom in axis]
        y = y.reshape(*y.shape[:-1], *(atom.size for atom in channels))
        if value.half is not None:
            y, channels = y.take(value.half, y.ndim - len(channels)), channels[1:]
        lead = [atom for role in (STEPS, BATCH) for atom in atoms if atom.role == role]
        return _arranged(value, y, [*lead, *channels])

    def _initial(self, index):
        """The initial state of a recurrent layer, None where none is given."""
        layer = self.reader.layers[index]
        parts = [self.reader.states.get((index, letter)) for letter in "hc"[: layer.cell.states]]
        known = [array for array, _ in filter(None, parts)]
        if not known:
            return None
        whole, arrays = np.zeros((layer.directions, *known[0].shape[1:]), known[0].dtype), []
        for part in parts:
            array = whole.copy()
            if part is not None:
                array[-len(part[0]) :] = part[0]  # of a layer in reverse the second direction
            arrays.append(array)
        return arrays[0] if len(arrays) == 1 else tuple(arrays)


def _sources(value):
    """The numbers of the layers whose outputs a value has."""
    if isinstance(value, Finals) and value.at:
        return [index + 1 for index, _ in value.rows]
    return (
        [source for source in value.sources if source and not isinstance(source, str)] if isinstance(value, Signal) else []
    )


def _arranged(value, array, atoms):
    """An array whose axes are these atoms, in the axes of a value."""
    array = array.reshape([atom.size for atom in atoms])
    there = [atom for axis in value.axes for atom in axis]
    kept = [atom for atom in atoms if any(atom is each for each in there)]
    array = array.reshape([atom.size for atom in kept])
    return array.transpose([next(i for i, each in enumerate(kept) if each is atom) for atom in there]).reshape(value.shape)


def _channels(atoms, rows):
    """The channel atoms of states."""
    return [atom for atom in atoms if atom.role == CHANNELS and atom not in rows]
