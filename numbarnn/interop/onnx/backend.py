"""A model run as ONNX's backends are: any graph that can be read, all of its outputs, in ONNX's own axes."""

from collections.abc import Mapping

import numpy as np

from ...errors import ConversionError
from ...layers.recurrent import Recurrent
from .files import model_of, onnx_library
from .loading import Output, layout_of, made
from .reading import Reader
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
            Those of its inputs that have names, in order.
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
        self.reader, self.given, self._found = reader, given, {}

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
        return tuple(value if isinstance(value, np.ndarray) else self._array(value) for value in values)

    def _array(self, value):
        """The array that a value is, in its axes."""
        if not value.at:
            return self._arranged(value, self.given[value.source], value.axes)
        y, states = self._results(value.at)
        atoms = [atom for axis in value.axes for atom in axis]
        batch = [atom for atom in atoms if atom.role == BATCH]
        if isinstance(value, Finals):
            recurrent = [k for k, layer in enumerate(self.reader.layers[: value.at]) if isinstance(layer, Recurrent)]
            parts = []
            for index, way in value.rows:
                state = states[recurrent.index(index)]
                parts.append((state if not isinstance(state, tuple) else state["hc".index(value.letter)])[way])
            rows = [value.row] if any(atom is value.row for atom in atoms) else []
            return self._arranged(value, np.stack(parts), [*rows, *batch, *_channels(atoms, rows)])
        steps = [atom for atom in atoms if atom.role == STEPS]
        channels = list(value.channels)
        y = y.reshape(*y.shape[:-1], *(atom.size for atom in channels))
        if value.half is not None:
            y, channels = y.take(value.half, y.ndim - len(channels)), channels[1:]
        return self._arranged(value, y, [*steps, *batch, *channels])

    def _arranged(self, value, array, atoms):
        """An array whose axes are these atoms, in the axes of a value."""
        atoms = [atom for atom in atoms if not isinstance(atom, tuple)] or [atom for axis in atoms for atom in axis]
        array = array.reshape([atom.size for atom in atoms])
        there = [atom for axis in value.axes for atom in axis]
        kept = [atom for atom in there if any(atom is each for each in atoms)]
        array = array.reshape([atom.size for atom in atoms if atom in kept])
        atoms = [atom for atom in atoms if atom in kept]
        return array.transpose([atoms.index(atom) for atom in there]).reshape(value.shape)

    def _results(self, at):
        """(y, states) of the first layers, y in the order t, n, c."""
        if at not in self._found:
            reader = self.reader
            layout = layout_of(reader)
            net = made(reader, reader.layers[:at], reader.arrays[:at], layout)
            x = self.given[reader.source]
            if x.ndim == 4:
                x = x.reshape(len(x), -1)
            lengths = next((each for each in reader.lengths if each is not None), None)
            y, states = net(x, self._initial(net), lengths=lengths)
            letters = net.output_layout[-y.ndim :] if y.ndim == 3 else net.output_layout.replace("t", "")
            if y.ndim == 3:
                y = y.transpose([letters.index(letter) for letter in "tnc"])
            self._found[at] = y, states
        return self._found[at]

    def _initial(self, net):
        """The initial states of the recurrent layers, None for all where none is given."""
        if not self.reader.states:
            return None
        found = []
        for index, layer in enumerate(net.layers):
            if not isinstance(layer, Recurrent):
                continue
            parts = [self.reader.states.get((index, letter)) for letter in "hc"[: layer.cell.states]]
            known = [array for array, _ in filter(None, parts)]
            if not known:
                found.append(None)
                continue
            whole = np.zeros((layer.directions, *known[0].shape[1:]), known[0].dtype)
            arrays = []
            for part in parts:
                array = whole.copy()
                if part is not None:
                    array[-len(part[0]) :] = part[0]  # of a layer in reverse the second direction
                arrays.append(array)
            found.append(arrays[0] if len(arrays) == 1 else tuple(arrays))
        return tuple(found)


def _channels(atoms, rows):
    """The channel atoms of states."""
    return [atom for atom in atoms if atom.role == CHANNELS and atom not in rows]
