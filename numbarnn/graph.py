"""Named layers that read named inputs and each other, with one parameter vector."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from .arrays.devices import backend
from .arrays.ragged import Ragged
from .c99.export import export
from .c99.graphs import add_graph
from .errors import generator
from .files.container import write_file
from .graphs.curvature import Curvature
from .graphs.description import Input, Node
from .graphs.readout import Readout
from .graphs.streams import Streaming
from .parameters import Parameters
from .training.history import History
from .training.loop import fit
from .training.optimizer import Optimizer
from .training.optimizers import Adam
from .training.shards import shared_by, together


class Graph(Streaming, Curvature, Readout):
    """Named layers that read named inputs and each other: several inputs and outputs, and one parameter vector.

    Layers in a row are a `Network`.  A graph is for the rest: static covariates beside a series, future inputs that are
    known, an encoder whose final state starts a decoder, connections that skip a layer, layers that are shared, and several
    outputs.

    Parameters
    ----------
    inputs : dict of str to int, None or Input
        What the graph is given, by name: the channels C of numbers with steps, (T, N, C); None for indices with steps,
        (T, N); an `Input` for what has no steps.
    nodes : dict of str to Node
        The layers by name, and what they read.  The parameters have the order of the nodes, which otherwise only decides
        which of two nodes that wait for nothing runs first.
    outputs : str or sequence of str
        The nodes whose outputs are returned.
    dtype : {"float32", "float64"}
    layout : str
        The letters t, n, c in the order of the axes of inputs and outputs; what has no steps has no t.
    device : {"cpu", "cuda"}
        Where the parameters are and everything is computed.  Arrays of the host are copied to a GPU and results back, but
        where an input is on the GPU: then what is returned is, too.
    seed : int or numpy.random.Generator
        For the initial parameters.
    scheme : {"glorot", "pytorch"}
        How they are drawn; see `Dense.init`.

    Attributes
    ----------
    params : Parameters
        All parameters: ``params.flat`` is one writable vector, ``params["encoder.weight_ih_l0"]`` a part of a node of one
        layer, ``params["class.1.weight"]`` of layer 1 of a row.
    history : History or None
        Of the last training, also of one that an exception ended, or that is running; copies and pickles have none.

    Raises
    ------
    TypeError, ValueError, UnknownNameError, ShapeError
        If the description is none of a graph: nodes that need themselves, names that are not there, channels or states that
        do not fit, inputs and nodes that no output needs.
    DeviceError
        If the device is not there.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Graph(
    ...     inputs={"past": 3, "static": nr.Input(5, steps=False), "known": 2},
    ...     nodes={
    ...         "encoder": nr.Node(nr.GRU(8), ["past", "static"]),
    ...         "decoder": nr.Node(nr.GRU(8), ["known", "static"], state="encoder"),
    ...         "y": nr.Node(nr.Dense(1), ["decoder", "known"]),
    ...         "class": nr.Node([nr.Last(), nr.Dense(4)], "encoder"),
    ...     },
    ...     outputs=["y", "class"],
    ...     seed=0,
    ... )
    >>> x = {"past": np.ones((24, 6, 3)), "static": np.ones((6, 5)), "known": np.ones((12, 6, 2))}
    >>> y, state = net(x)
    >>> y["y"].shape, y["class"].shape, state["decoder"].shape
    ((12, 6, 1), (6, 4), (1, 6, 8))
    """

    def __init__(
        self,
        inputs: Mapping[str, int | None | Input],
        nodes: Mapping[str, Node],
        outputs,
        dtype: str = "float32",
        layout: str = "tnc",
        device: str = "cpu",
        seed: int = 0,
        scheme: str = "glorot",
    ):
        weights = self._settle(inputs, nodes, outputs, dtype, layout)
        backend(device)
        self.device = device
        self._params = Parameters(self._fresh(generator("seed", seed), scheme), weights).to(device)

    def fit(
        self,
        inputs: dict[str, np.ndarray | Ragged],
        targets: dict[str, np.ndarray | Ragged],
        loss: str | Callable | dict = "mse",
        optimizer: str | Optimizer | None = None,
        epochs: int = 10,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        clip: float | None = None,
        lengths: dict[str, np.ndarray] | np.ndarray | None = None,
        validation: tuple | None = None,
        callbacks: Iterable[Callable] = (),
        progress: bool = True,
        tape: str = "all",
        checkpoints: str | int | None = None,
        comm=None,
        shards: int | None = None,
        metrics: dict | None = None,
        weights: dict[str, np.ndarray | Ragged] | np.ndarray | None = None,
        reset: dict[str, np.ndarray] | np.ndarray | None = None,
        frozen: Iterable[str] = (),
        validation_split: float | None = None,
        split_by: str = "sample",
        carry: bool = False,
        steps: int | None = None,
        feedback: dict | None = None,
    ) -> History:
        """Train on samples and their targets; what is not said here is as in `Network.fit`.

        Parameters
        ----------
        inputs : dict of str to array, list, DataFrame or Ragged
            What `predict` takes, N samples in each.
        targets : dict of str to array, list, DataFrame or Ragged
            By output, of those that have a loss: shaped like `predict`, or labels without a channel axis.
        loss : str, callable, or dict of str to these or to (loss, weight)
            A loss as in `Network.fit`, for all outputs or by output; outputs that a dict does not name have none.  The loss
            of the graph is the sum over outputs, each times its weight, a number > 0; 1 without one.
        optimizer, epochs, batch_size, shuffle, seed, clip, callbacks, progress, tape, checkpoints
            As in `Network.fit`.
        comm, shards
            Ranks of MPI that train the graph together, and parts of the samples whose gradients are summed in one order, as
            in `Network.fit`.  With several losses samples then count the same in each: no lengths, gaps or weights that
            differ; with `carry` no gaps, weights or ignored labels at all.
        lengths : dict of str to array of int, optional
            By input, as in a call.  The loss of an output is the mean over the steps that it has in a batch.
        validation : tuple, optional
            Where a loss is measured after each epoch: (inputs, targets), and perhaps lengths, weights and reset, in this
            order; they may be None.
        metrics : dict of str to sequence of str or callable, optional
            By output what is measured after each epoch, as in `Network.fit`, ``{"class": ["accuracy"]}``; in the history it
            is called ``"class_accuracy"``.
        weights : dict of str to array or Ragged, or array, optional
            By output numbers >= 0 for each sample or each step, as in `Network.fit`; an array is for all outputs.
        reset : dict of str to array of bool, optional
            By input (T, N), as in a call: where True, a sample starts afresh at that step; no gradient goes back over it.
        frozen : sequence of str
            Parameters that keep their bits, by names or patterns: ``["encoder.*"]``.
        validation_split : float, optional
            A part of the samples, between 0 and 1, that is held out for validation, in the place of `validation`.
        split_by : {"sample", "time"}
            What is held out, as in `Network.fit`: the last steps if all inputs with steps have the same.
        carry : bool
            Train long sequences in pieces, the states carried from a piece to the next one, as in `Network.fit`.  All inputs
            with steps have the same, all targets have steps, and no node starts from where another one has ended.  What has
            no steps is read by each piece; an initial state made of it starts the first one.
        steps : int, optional
            Steps of a piece, with ``carry=True``.
        feedback : dict of str to (str, Feedback), optional
            As in a call; not with ``carry=True``.

        Returns
        -------
        History
            With several losses, an epoch's loss is the mean over its samples, each batch with the means of its outputs.

        Raises
        ------
        NonFiniteError, RuntimeError, ShapeError, TypeError, ValueError
            As in `Network.fit`.

        Notes
        -----
        A graph with one output trains with the bits of the network that it is, where its layers are in a row.  Of the table
        of an `Embedding` the rows that are used are updated, as in `Network.fit`, also where nodes share it.  An optimizer
        of your own with `rows` takes all other parameters as one vector: a table among them is then updated as a whole.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> random = np.random.default_rng(0)
        >>> x, level = random.standard_normal((10, 64, 1)), random.integers(0, 2, 64)
        >>> inputs = {"x": x, "level": level[:, None]}
        >>> targets = {"sum": x.cumsum(axis=0) + level[:, None], "odd": level}
        >>> nodes = {
        ...     "h": nr.Node(nr.GRU(8), ["x", "level"]),
        ...     "sum": nr.Node(nr.Dense(1), ["h", "x"]),
        ...     "odd": nr.Node([nr.Last(), nr.Dense(2)], "h"),
        ... }
        >>> net = nr.Graph({"x": 1, "level": nr.Input(1, steps=False)}, nodes, ["sum", "odd"], seed=0)
        >>> loss = {"sum": "mse", "odd": ("cross_entropy", 0.5)}
        >>> options = {"optimizer": nr.Adam(0.01), "metrics": {"odd": ["accuracy"]}, "progress": False}
        >>> history = net.fit(inputs, targets, loss, epochs=60, **options)
        >>> history.loss[-1] < 0.2 * history.loss[0], history.metrics["odd_accuracy"][-1]
        (True, 1.0)
        """
        comm, shared = shared_by(comm, shards, self)
        with together(comm, shared) as ranks:
            losses, metrics = self._found_loss(loss), {} if metrics is None else metrics
            self.params.check_writable("params")
            self.params.check_finite()
            return fit(
                self, self._samples(inputs, targets, lengths, losses, weights, reset, feedback), loss=losses,
                optimizer=Adam() if optimizer is None else optimizer, epochs=epochs, batch_size=batch_size, shuffle=shuffle,
                seed=seed, clip=clip, validation=validation, callbacks=callbacks, progress=progress, metrics=metrics,
                frozen=frozen, validation_split=validation_split, split_by=split_by, tape=tape, checkpoints=checkpoints,
                shared=shared, ranks=ranks, carry=carry, steps=steps,
            )  # fmt: skip

    def save(self, path: str | os.PathLike, extra: Mapping | None = None) -> None:
        """Write the graph into a file, from which `numbarnn.load` has one that predicts and trains to the bit like it.

        Parameters
        ----------
        path : str or os.PathLike
            Written whole or not at all; an old file is replaced.
        extra : dict, optional
            What belongs to the graph, by name: a `Standardizer`, a `Vocabulary`, numbers, text, arrays, for
            ``nr.load(path, extra=True)``.

        Raises
        ------
        OSError, TypeError, ImportError
            As `Network.save`.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr, os, tempfile
        >>> net = nr.Graph({"x": 2}, {"h": nr.Node(nr.GRU(4), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}, ["y"], seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(os.path.join(folder, "net.safetensors"))
        ...     loaded = nr.load(os.path.join(folder, "net.safetensors"))
        >>> repr(loaded) == repr(net), np.array_equal(loaded.params.flat, net.params.flat)
        (True, True)
        """
        write_file(path, *self._written(extra))

    def export_c(self, folder: str | os.PathLike, name: str = "net", dtype: str | None = None) -> tuple[Path, ...]:
        """Write the graph as C99 and a module for Fortran, as `Network.export_c` does; see :doc:`/c`.

        The x of a step has the inputs side by side, in the order of `inputs`, and its y the outputs, in the order of
        `outputs`.  An input without steps is given anew at each step.

        Parameters
        ----------
        folder : str or os.PathLike
            It is made if it is not there.
        name : str
            What the files are called, and what all names in them begin with.
        dtype : {"float32", "float64"}, optional
            Of the C; the graph's own if None.

        Returns
        -------
        tuple of pathlib.Path
            The header, the source, and the module.

        Raises
        ------
        ConversionError
            For a node that does not take one step after the other, or starts from a state that another value gives; it names
            the node.  For an input of indices beside others.
        ValueError, OSError
            As `Network.export_c`.

        Examples
        --------
        >>> import numbarnn as nr, tempfile
        >>> nodes = {"h": nr.Node(nr.LSTM(8), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
        >>> net = nr.Graph({"x": 1}, nodes, ["y"], seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     header = net.export_c(folder, name="amp")[0].read_text()
        >>> header.splitlines()[0]
        "/* amp: a graph, x is 'x' (1), y is 'y' (1); float */"
        """
        return export(self, add_graph, folder, name, dtype)

    def _for_file(self, writing):
        """What a file holds of the graph besides its parameters."""
        if type(self) is not Graph:
            expected = "a Graph and no subclass, whose own attributes no file holds"
            raise TypeError(f"save: expected {expected}, got {type(self).__name__}; pickle keeps all")
        parts = {"inputs": self.inputs, "nodes": self.nodes, "outputs": self.outputs, "layout": self.layout}
        return "graph", {name: writing(name, part) for name, part in parts.items()}

    @classmethod
    def _of_file(cls, read, description):
        """The graph that `_written` has described."""
        return cls._out_of_file(read, description, "graph", ("inputs", "nodes", "outputs", "layout"))

    def __repr__(self):
        parts = [f"inputs={self.inputs!r}", f"nodes={self.nodes!r}", f"outputs={list(self._outputs)!r}"]
        return f"Graph({', '.join(parts)}, dtype={self.dtype.name!r}, layout={self.layout!r})"
