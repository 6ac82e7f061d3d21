"""Layers in a row with one parameter vector."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from .arrays.devices import backend
from .arrays.ragged import Ragged
from .c99.export import export
from .c99.layers import add_network
from .errors import generator
from .files.container import write_file
from .layers.base import Layer
from .layers.feedback import Feedback
from .networks.curvature import Curvature
from .networks.readout import Readout
from .networks.streams import Streaming
from .parameters import Parameters
from .training.history import History
from .training.loop import fit
from .training.losses import loss as find_loss
from .training.optimizer import Optimizer
from .training.optimizers import Adam
from .training.samples import Samples
from .training.shards import shared_by, together


class Network(Curvature, Readout, Streaming):
    """Layers in a row, one parameter vector, and the training of it.

    Copies are whole networks with parameters of their own: `copy.copy`, `copy.deepcopy`, pickle and with it joblib and
    multiprocessing give one that predicts, trains and saves to the bit as this one does.  A pickle holds layers and
    parameters and no more.  A pickle of a network on a GPU holds its numbers, and is loaded where there is a GPU.

    Parameters
    ----------
    layers : sequence of Layer
    channels : int or tuple of three, optional
        Channels C of the input; of images their (channels, height, width), whose product is C.  It may be left out where the
        first layer is an `Embedding`, which takes 1, an index, or knows the shape of its images.
    dtype : {"float32", "float64"}
    layout : str
        The letters t, n, c in the order of the axes of x, and of outputs.
    device : {"cpu", "cuda"}
        Where the parameters lie and everything is computed.  A network on ``"cuda"`` takes NumPy arrays as well as arrays in
        device memory (see `numbarnn.cuda.asarray`), and answers in kind.
    seed : int or numpy.random.Generator
        For the initial parameters.
    scheme : {"glorot", "pytorch"}
        How they are drawn; see `Dense.init`.

    Attributes
    ----------
    params : Parameters
        All parameters; ``params.flat`` is one writable vector, ``params["0.weight_ih_l0"]`` a part of layer 0.  Assigning
        Parameters of the same structure and dtype copies their numbers in.
    history : History or None
        Of the last training, also of one that an exception ended, or that is running; copies and pickles have none.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Network([nr.GRU(8), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    >>> x, y = nr.windows(np.sin(np.arange(100, dtype=np.float32) / 4), 10)
    >>> history = net.fit(x, y, optimizer=nr.Adam(nr.cosine(0.01)), epochs=30, progress=False)
    >>> history.loss[-1] < 0.1 * history.loss[0]
    True
    >>> net.predict(x[:, :2]).shape
    (2, 1)
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        channels: int | tuple[int, int, int] | None = None,
        dtype: str = "float32",
        layout: str = "tnc",
        device: str = "cpu",
        seed: int = 0,
        scheme: str = "glorot",
    ):
        weights = self._settle(layers, channels, dtype, layout)
        backend(device)
        self.device = device
        flat = self._fresh(generator("seed", seed), scheme)
        self._params = Parameters(flat, weights).to(device)

    def fit(
        self,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        loss: str | Callable = "mse",
        optimizer: str | Optimizer | None = None,
        epochs: int = 10,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        clip: float | None = None,
        lengths: np.ndarray | None = None,
        validation: tuple | None = None,
        callbacks: Iterable[Callable] = (),
        progress: bool = True,
        tape: str = "all",
        checkpoints: str | int | None = None,
        comm=None,
        shards: int | None = None,
        metrics: Iterable = (),
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        frozen: Iterable[str] = (),
        validation_split: float | None = None,
        split_by: str = "sample",
        carry: bool = False,
        steps: int | None = None,
        feedback: Feedback | None = None,
    ) -> History:
        """Train on samples and their targets.

        Parameters
        ----------
        x : array, list, DataFrame or Ragged
            What `predict` takes, converted once.  Without recurrent layers and `Last`, (N, C) are N samples.
        y : array, list, DataFrame or Ragged
            Targets, shaped like `predict` of x and converted likewise; labels, integers of any dtype, have no channel axis:
            (N,) or (T, N).
        loss : str or callable
            A name that `numbarnn.loss` knows, a loss such as ``MSE(missing="nan")`` or ``CrossEntropy(ignore_index=0)``, or
            ``(prediction, y) -> (loss, gradient)``; with weights ``(prediction, y, weights=weights)``, see `numbarnn.loss`.
        optimizer : Optimizer or str
            ``Adam()`` if None.
        epochs : int
        batch_size : int
            Samples of one update; the last batch of an epoch may be smaller, and is trained too.
        shuffle : bool
            Draw a new order for each epoch; if not, the samples keep their order.
        seed : int or numpy.random.Generator
            For the order, and for what `validation_split` holds out.
        clip : float, optional
            Largest Euclidean norm of the gradient; a longer one is scaled down to it.
        lengths : array of int, optional
            (N,): the steps of each sample, from 0 to T; T for all if None.  The loss is the mean over the steps there are;
            one of your own is then called with (rows, channels) arrays of them, unless `Last` has left one step.
        validation : (x, y), (x, y, lengths), (x, y, lengths, weights) or (x, y, lengths, weights, reset), optional
            Where a loss is measured after each epoch; lengths and weights may be None.
        callbacks : sequence of callable
            Each is called with (network, history) after each epoch; one that returns True ends the training.
            See `Callback`, `EarlyStopping` and `Printer`.
        progress : bool
            Show a bar; outside of terminals and notebooks, at most twelve lines.
        tape, checkpoints
            How much memory the recurrent layers keep for the gradient, as in their ``forward``.
        comm : mpi4py.MPI.Intracomm, optional
            The ranks of MPI that train this network together; every one calls `fit`, with samples of its own, in x, y,
            lengths and `validation`, and else with the same arguments.  `batch_size` are the samples of one update on all
            ranks.  Rank 0's initial parameters are taken, its seed, and its callbacks and progress alone; see :doc:`/mpi`.
        shards : int, optional
            A power of two.  The gradient of each of so many parts of the samples is computed by itself, and they are summed
            in one order, so that 1, 2, 4, ... ranks give the same bits; each rank has its `own_part` of the samples.
        metrics : sequence of str or callable, or dict
            What is measured after each epoch, on all samples and on `validation` data: "accuracy", the name of a loss, or
            functions of (prediction, target) that return a number, called by their own names or by the keys of a dict.  They
            get what `loss` gets: of labels and of ragged sequences rows (rows, C), of labels without those that are ignored;
            and one with an argument ``weights`` the samples' weights, of labels (rows,), else with one channel, or None.
            What is of the library has the weights of the samples, and leaves out the targets that `loss` leaves out; weights
            of classes are the loss's alone.  Each costs nothing beside one prediction of all samples.
        frozen : sequence of str
            Parameters that keep their bits, by names or patterns: ``["0.*"]`` for the first layer's, ``["*bias*"]``
            all biases.  Their gradient is no part of the norm that `clip` limits.
        validation_split : float, optional
            A part of the samples, between 0 and 1, that is held out for validation, in the place of `validation`; with
            `comm` of the samples of all ranks, the same whatever their number.
        split_by : {"sample", "time"}
            What is held out: samples that are drawn, with one seed always the same of so many; or the last steps of each
            sequence, and where each sample has one target, the last samples.
        weights : array or Ragged, optional
            Numbers >= 0: one for each sample, (N,), or for each step, (T, N) in the order of the network's layout, of a
            Ragged x a Ragged of one channel.  The loss of a batch is the weighted mean, divided by the sum of its weights,
            and the loss of an epoch is the weighted mean of all samples.  Where a weight is 0, y is not read and the
            gradient is exactly 0; samples whose weights are all 0 are in no batch.  x is read nevertheless, and must be
            finite.
        reset : array of bool, optional
            (T, N): where True, a sample starts afresh from the initial state at that step; no gradient goes back over it.
        carry : bool
            Train long sequences in pieces, an update each: the states are carried from a piece to the next one, and no
            gradient goes back over the cut (truncated backpropagation through time).  Each batch of samples goes through
            all of its pieces, and starts afresh in each epoch; validation and metrics are of whole sequences.  `strips`
            cuts a text into samples side by side.  Not with `reset` and layers that take a whole sequence: `Last`, `Pool`
            and bidirectional ones.
        steps : int, optional
            Steps of a piece, with ``carry=True``; the last piece may be shorter, and is trained too.  The update of a piece
            in which nothing counts, as all labels are ignored, is one by a gradient of zeros, as in `Trainer.update`.
        feedback : Feedback, optional
            Make each input but the first of x and of the network's output of the step before, with the exact gradient; see
            `Feedback`.  Validation and metrics are of such sequences, too.  With `carry` the last output of a piece is fed
            at the first step of the next one.  Not with `tape="states"` and `checkpoints`.

        Returns
        -------
        History

        Raises
        ------
        NonFiniteError
            Before anything is trained, with its place, if there is a NaN or an infinity in x or y, or in `validation`;
            what lies behind a length is not read, nor is y where its weight is 0 or a loss has ``missing="nan"``, and a loss
            of your own may leave out targets that are NaN.
            Then at the first loss, gradient or parameter that is not finite, with epoch and batch; the update that has made
            it so is undone.
        RuntimeError
            If another thread, or the training of which this is called in a callback, trains the network.
        ValueError
            If no label counts, no sequence has a step, or a schedule returns no learning rate; on every rank, if an argument
            is not the same on all.
        RankError
            If another rank has failed; it says which, and of what.

        Notes
        -----
        Whatever ends a training (all epochs, a callback, Ctrl-C, an error) leaves parameters between two updates, calls the
        `finish` of each callback, so that `EarlyStopping` has restored the best ones, and leaves the whole epochs in
        ``history``.  A validation loss that is NaN or infinite is warned of once, as a RuntimeWarning; training goes on.
        """
        comm, shared = shared_by(comm, shards, self)
        with together(comm, shared) as ranks:
            optimizer, loss = Adam() if optimizer is None else optimizer, find_loss(loss)
            self.params.check_writable("params")
            self.params.check_finite()
            samples = Samples.of(self, x, y, lengths, loss, weights, reset, feedback)
            return fit(
                self, samples, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, shuffle=shuffle,
                seed=seed, clip=clip, validation=validation, callbacks=callbacks, progress=progress,
                metrics=metrics, frozen=frozen, validation_split=validation_split, split_by=split_by,
                tape=tape, checkpoints=checkpoints, shared=shared, ranks=ranks, carry=carry, steps=steps,
            )  # fmt: skip

    def save(self, path: str | os.PathLike, extra: Mapping | None = None) -> None:
        """Write the network into a file, from which `numbarnn.load` has one that predicts and trains to the bit like it.

        A safetensors file: the parameters by name, in the shapes of their views, and a description of the layers; see
        :doc:`/files`.

        Parameters
        ----------
        path : str or os.PathLike
            Written whole or not at all; an old file is replaced.
        extra : dict, optional
            What belongs to the network, by name: a `Standardizer`, numbers, text, arrays, for ``nr.load(path, extra=True)``.

        Raises
        ------
        OSError
            If it cannot be written, as on a full disk; an old file is then as it was.
        TypeError
            If a layer, or a part of `extra`, has something that no file can describe, such as a lambda; of a subclass of
            Network.
        ImportError
            Without the package safetensors (``numbarnn[files]``).

        Examples
        --------
        >>> import numpy as np, numbarnn as nr, os, tempfile
        >>> net = nr.Network([nr.GRU(8), nr.Last(), nr.Dense(1)], channels=1, seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(os.path.join(folder, "net.safetensors"))
        ...     loaded = nr.load(os.path.join(folder, "net.safetensors"))
        >>> loaded.layers == net.layers, np.array_equal(loaded.params.flat, net.params.flat)
        (True, True)
        """
        write_file(path, *self._written(extra))

    def export_c(self, folder: str | os.PathLike, name: str = "net", dtype: str | None = None) -> tuple[Path, ...]:
        """Write the network as C99: one source file and its header, and a module for Fortran, with the weights as constants.

        The C computes a step of one sequence at a call, ``net_step(&state, x, y)``, or several, ``net_run``; the state is a
        struct of the caller's, which ``net_reset`` makes ready.  It needs libm and nothing else, allocates nothing, and
        holds nothing between calls.  Each step from a state is what `stream` makes of it, to rounding; see :doc:`/c`.

        Parameters
        ----------
        folder : str or os.PathLike
            It is made if it is not there.
        name : str
            What the files are called, and what all names in them begin with: ``net.c``, ``net.h``, ``net.f90``.
        dtype : {"float32", "float64"}, optional
            Of the C, into which the parameters are rounded; the network's own if None.

        Returns
        -------
        tuple of pathlib.Path
            The header, the source, and the module.  Each is written whole or not at all; old ones are replaced.

        Raises
        ------
        ConversionError
            For a layer that does not take one step after the other, as one of two directions; it names the layer.  Nothing
            is written then.
        ValueError
            If `name` is none of C and Fortran, or a word of theirs; if a parameter is too large for `dtype`.
        OSError
            If a file cannot be written.

        Examples
        --------
        >>> import numbarnn as nr, tempfile
        >>> net = nr.Network([nr.GRU(8), nr.Dense(1)], channels=1, seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = net.export_c(folder, name="amp")
        ...     header = paths[0].read_text()
        >>> [path.name for path in paths], "void amp_step(amp_state *state, const float *x, float *y);" in header
        (['amp.h', 'amp.c', 'amp.f90'], True)
        """
        return export(self, add_network, folder, name, dtype)

    def _for_file(self, writing):
        """What a file holds of the network besides its parameters."""
        if type(self) is not Network:
            raise TypeError(
                f"save: expected a Network and no subclass, whose own attributes no file holds, got {type(self).__name__};"
                " Network(net.layers, net.channels).transfer(net) is one, and pickle keeps all"
            )
        layers = [writing(f"layers.{index}", layer) for index, layer in enumerate(self.layers)]
        return "network", {"layers": layers, "channels": self.channels, "layout": self.layout}

    @classmethod
    def _of_file(cls, read, description):
        """The network that `_written` has described, on the CPU."""
        return cls._out_of_file(read, description, "network", ("layers", "channels", "layout"))

    def __repr__(self):
        inner = ", ".join(map(repr, self.layers))
        return f"Network([{inner}], channels={self.channels}, dtype={self.dtype.name!r}, layout={self.layout!r})"
