"""Layers in a row with one parameter vector."""

import copyreg
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from .arrays.batch import Batch
from .arrays.conversion import integers_like, numbers_like
from .arrays.descriptor import TensorDescriptor, axes_of, checked_array, checked_dtype, in_layout
from .arrays.devices import backend, contiguous, device_of, expect_device, moved, native, share_memory
from .arrays.indices import Indices, index_axes
from .arrays.packing import checked_lengths, uniform
from .arrays.ragged import Ragged, joined
from .arrays.rows import numbers
from .descriptions.fields import Settled
from .descriptions.summary import Summary
from .engine.keep import NOTHING
from .errors import DTypeError, ShapeError, generator, positive_integer, several
from .files.container import write_file
from .files.written import Writing
from .layers.base import Layer
from .layers.embedding import Embedding
from .layers.images import shaped
from .layers.last import LastStep, chained, unmerged
from .layers.prepared import PreparedCall, answer
from .layers.recurrent import Recurrent
from .parameters import Parameters
from .streaming import Stream
from .training.history import History
from .training.loop import fit
from .training.losses import check_target, checked_result, is_of_library, target_channels
from .training.losses import loss as find_loss
from .training.metrics import checked_metrics, measured
from .training.optimizer import Optimizer
from .training.optimizers import Adam
from .training.samples import Samples
from .training.sequences import other_layout
from .training.shards import ranks_of
from .training.workspace import Workspace

OF_A_TRAINING = ("_history",)  # attributes that no copy has
PIECE_ROWS = 1 << 15  # steps of all sequences that are predicted at once: no result depends on it


class Network(Settled):
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
        How they are drawn; see `Layer.init`.

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

    settled = ("layers", "channels", "dtype", "layout", "device", "output_channels")

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

    def _settle(self, layers, channels, dtype, layout):
        """Set all that the network is but its parameters; the weights that these have."""
        layers = several("layers", layers, "layers of numbarnn in a list")
        if not layers:
            raise ValueError("layers: expected at least one layer, got none")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers: expected layers of numbarnn, got {layer!r} ({type(layer).__name__})")
        for index, layer in enumerate(layers):
            if index and isinstance(layer, Embedding):
                raise ValueError(f"layers: expected an Embedding, which takes indices, to be the first, got one at {index}")
        layers, channels = shaped(layers, channels)
        self.layers = chained(layers)
        self._unmerged = unmerged(self.layers)
        if channels is None:
            if not self.takes_indices:
                raise TypeError("channels: expected a positive integer, the channels of the input, got None")
            channels = 1
        self.channels, self.dtype = positive_integer("channels", channels), checked_dtype("dtype", dtype)
        self.layout = axes_of(layout, 3)
        weights, at, inputs = [], self.channels, []
        for index, layer in enumerate(self.layers):
            inputs.append(at)
            weights += [replace(w, name=f"{index}.{w.name}") for w in layer.weights(at)]
            at = layer.output_channels(at) * (2 if index in self._unmerged else 1)
        self.output_channels, self._inputs = at, tuple(inputs)
        return weights

    def _fresh(self, random, scheme):
        """A vector of initial parameters, in the host's memory."""
        return np.concatenate(
            [layer.init(at, random, self.dtype, scheme).flat for layer, at in zip(self.layers, self._inputs)]
        )

    @property
    def params(self) -> Parameters:
        """All parameters: one vector, ``params.flat``, and its named parts.  Assigning copies the numbers in."""
        return self._params

    @params.setter
    def params(self, source):
        if not isinstance(source, Parameters):
            raise TypeError(f"params: expected numbarnn.Parameters, got {type(source).__name__}")
        self._params.check_structure("params", source)
        self._params.flat = source.flat

    @property
    def _own(self):
        """The parameters of each layer: views of the vector, kept with it so that there is only one of everything."""
        params = self._params
        if params._split is None:
            params._split = self.split(params.flat)
        return params._split

    @property
    def history(self) -> History | None:
        """The History of the last training, also of one that an exception ended, or that is running; None in copies."""
        return self.__dict__.get("_history")

    def __getstate__(self):
        state = {name: value for name, value in self.__dict__.items() if name not in OF_A_TRAINING}
        slots = {name: getattr(self, name) for name in copyreg._slotnames(type(self)) if hasattr(self, name)}
        return (state, slots) if slots else state  # as copy and pickle have it, for a subclass with __slots__

    def _with(self, params):
        """A network of the same layers over other parameters."""
        other = object.__new__(type(self))
        state = self.__getstate__()
        state, slots = state if isinstance(state, tuple) else (state, {})
        other.__dict__.update(state, _params=params, device=params.device)
        for name, value in slots.items():
            setattr(other, name, value)
        return other

    def _drawn(self, seed, scheme):
        """A network of the same layers with the initial parameters that a new one would draw."""
        return self._with(self._params._over(moved(self._fresh(generator("seed", seed), scheme), self.device)))

    def __copy__(self):
        return self._with(self._params.copy())

    def to(self, device: str) -> "Network":
        """A network of the same layers with a copy of the parameters on ``"cpu"`` or ``"cuda"``; this one if it is there."""
        backend(device)
        if device == self.device:
            return self
        return self._with(self._params.to(device))

    def _here(self, argument, array):
        """An array on the network's device: a copy of one from the host, where the network is not there.

        Integers, indices and labels, stay in the host's memory.
        """
        array = native(array)
        if self.device == "cpu" or not isinstance(array, (np.ndarray, Ragged)) or array.dtype.kind in "iu":
            return array
        if isinstance(array, np.ndarray):
            checked_array(argument, array)
        return brought(array, self.device)

    def _read(self, argument, value):
        """What the caller gave as x, converted once to what this network reads; see `conversion`."""
        value = native(value)
        if not isinstance(value, Ragged):
            return integers_like(argument, value) if self.takes_indices else numbers_like(argument, value, self.dtype)
        if self.takes_indices or value.dtype == self.dtype or value.dtype.kind in "iu":
            return value
        return Ragged(numbers_like(argument, value.data, self.dtype), value.offsets)

    def split(self, flat: np.ndarray) -> list[Parameters]:
        """A Parameters for each layer, over its part of a vector `flat`: views, as of ``net.params.flat``."""
        if checked_array("flat", flat).shape != self._params.flat.shape:
            raise ShapeError(f"flat: expected shape {self._params.flat.shape} like the parameters, got {flat.shape}")
        parts, at = [], 0
        for layer, channels in zip(self.layers, self._inputs):
            weights = layer.weights(channels)
            size = sum(w.size for w in weights)
            parts.append(Parameters(flat[at : at + size], weights))
            at += size
        return parts

    @property
    def random(self) -> bool:
        """Whether training draws dropout, zoneout or noise."""
        return any(layer.random for layer in self.layers)

    @property
    def takes_indices(self) -> bool:
        """Whether the input are integers, for an `Embedding`."""
        return self.layers[0].takes_indices

    @property
    def output_layout(self) -> str:
        """The letters of the axes of the output: as of the input, without t after `Last`."""
        return self.layout.replace("t", "") if any(isinstance(layer, LastStep) for layer in self.layers) else self.layout

    @property
    def _stepwise(self):
        """Whether every layer takes each step by itself, so that rows (N, C) are as good as a sequence (T, C)."""
        return "t" in self.output_layout and not any(isinstance(layer, Recurrent) for layer in self.layers)

    def _described(self, x, lengths=None):
        """(Batch, descriptor) of an input of this network."""
        if self.takes_indices:
            batch, x = Batch.of_indices(x, self.layout, lengths)
            self.layers[0].check_indices(x)
            return replace(batch, device=self.device), x
        if not isinstance(x, Ragged):
            self._check_axes(x, lengths)
        batch, described = Batch.of(self._here("x", x), self.layout, lengths)
        expect_device("x", described.array, self.device)
        if described.channels != self.channels:
            hint = "" if isinstance(x, Ragged) else other_layout(x.shape, batch.layout, c=self.channels)
            found = f"{x!r}" if isinstance(x, Ragged) else f"shape {x.shape}, axes {batch.layout}"
            raise ShapeError(f"x: expected {self.channels} channels, got {described.channels} ({found}){hint}")
        if described.dtype != self.dtype:
            raise DTypeError(f"x: expected {self.dtype} like the network, got {described.dtype}")
        return batch, described

    def _check_axes(self, x, lengths):
        """Raise ShapeError, with what would fit, of a series without a channel axis, of images, and of lengths of others."""
        if np.ndim(x) == 1 and self.channels == 1:
            hint = "; x[:, None] is one sequence of one channel"
            raise ShapeError(f"x: expected 2 or 3 axes ({self.layout}), got 1 (shape {x.shape}){hint}")
        images = np.ndim(x) > 3 or (np.ndim(x) == 3 and x.shape[self.layout.index("c")] != self.channels)
        if images and math.prod(x.shape[1:]) == self.channels:
            hint = "; x.reshape(len(x), -1) has them"
            raise ShapeError(f"x: expected rows of {self.channels} numbers, got shape {x.shape}{hint}")
        if lengths is None or np.ndim(lengths) != 1 or np.ndim(x) != 3:
            return
        count, there = len(lengths), x.shape[self.layout.index("n")]
        hint = "" if count == there else other_layout(x.shape, self.layout, n=count, c=self.channels)
        if hint:
            raise ShapeError(f"lengths: expected shape ({there},), one length for each sequence, got ({count},){hint}")

    def _forward(self, parts, x, keep, random=None, reading=None):
        """(descriptor of the output, tapes) for a descriptor of x; with a Generator, dropout and the like are drawn.

        reading: what an `Embedding` calls before it reads rows.
        """
        tapes = []
        for index, (layer, own) in enumerate(zip(self.layers, parts)):
            options = {} if random is None or not layer.random else {"masks": layer.drawn_masks(x, random)}
            if layer.takes_indices and reading is not None:
                options["reading"] = reading
            if index in self._unmerged:
                options["merged"] = False
            x, tape = layer.run(own, x, None, keep, **options)
            if keep.for_backward:
                tapes.append(tape)
        return x, tapes

    def predict(self, x: np.ndarray | Ragged, lengths: np.ndarray | None = None) -> np.ndarray | Ragged:
        """The output for `x`, any number of samples and steps.

        Parameters
        ----------
        x : array, list, DataFrame or Ragged
            (T, N, C) in the network's layout, or (T, C) for one sequence; of an `Embedding` integers (T, N) or (T,).  An
            array of the network's dtype is read where it lies; other numbers (float64, integers, lists, tables) are
            converted to that dtype once, as everywhere in this class.  Text, objects, complex numbers, masked arrays and
            numbers that are too large for the dtype are refused; an `Embedding` takes integers only.
        lengths : array of int, optional
            (N,): the steps of each sequence, from 0 to T; T for all if None.

        Returns
        -------
        numpy.ndarray or Ragged
            (N, output channels) after `Last`, else (T, N, output channels) in the network's layout, 0 past the end of a
            sequence, or Ragged like x; without N for one sequence.  N may be 0.  After a NaN in x a sequence is NaN.
        """
        if lengths is None and type(x) is np.ndarray and x.dtype is self.dtype:
            found = answer(self.layers, self._params, x, self.layout, lambda: self._prepared(x))
            if found is not None:
                return found[0]
        x = self._read("x", x)
        if 0 in (x.shape if not isinstance(x, Ragged) else (len(x),)):
            nothing = self._predicted_of_none(x, lengths)
            if nothing is not None:
                return nothing
        batch, described = self._described(x, lengths)
        self.params.check_finite()
        found = []
        for part, own_lengths in self._pieces(x, lengths, described.packing):
            if part is not x:
                batch, described = self._described(part, own_lengths)
            output = self._forward(self._own, described, NOTHING)[0]
            if output.packing.uniform:
                letters = self.output_layout if "n" in batch.layout else self.output_layout.replace("n", "")
                given = in_layout(output.array, letters)
                if share_memory(given, described.array):  # of layers that pass numbers on: what is returned is new
                    given = given.copy()
            else:
                given = batch.give(output)
            found.append(brought(given, device_of(x.data if isinstance(x, Ragged) else x)))
        return found[0] if len(found) == 1 else joined(found, self.output_layout)

    def _prepared(self, x):
        """A PreparedCall for predictions of x and of arrays that lie like it; None for more than one piece."""
        batch, described = self._described(x)
        if not batch.packing.uniform or described.packing.rows > PIECE_ROWS:
            return None

        def run(x):
            tapes = []
            for index, (layer, own) in enumerate(zip(self.layers, self._own)):
                options = {"merged": False} if index in self._unmerged else {}
                x, tape = layer.run(own, x, None, NOTHING, **options)
                tapes.append(tape)
            return x, tapes

        letters = self.output_layout if "n" in batch.layout else self.output_layout.replace("n", "")
        return PreparedCall(self._params, described.tnc.shape, batch.layout, run, lambda y: in_layout(y.array, letters))

    def _predicted_of_none(self, x, lengths):
        """What `predict` returns for no samples: none, in the shape that one would give.  None if x has some."""
        if isinstance(x, Ragged):
            found = self.predict(Ragged(x.data, [0, 0]), lengths)
            return Ragged(found.data, [0]) if isinstance(found, Ragged) else found[:0]
        letters = index_axes("x", self.layout, x) if self.takes_indices else axes_of(self.layout, x.ndim)
        lengths_of = dict(zip(letters, x.shape))
        if x.ndim != len(letters) or lengths_of.get("n") != 0:
            return None
        if lengths is not None:
            checked_lengths(lengths, 0, lengths_of["t"])
        one = np.zeros([length or int(letter == "n") for letter, length in lengths_of.items()], x.dtype)
        before = (slice(None),) * self.output_layout.index("n")
        return brought(self.predict(one)[(*before, slice(0))], device_of(x))

    def _pieces(self, x, lengths, packing):
        """[(x, lengths)] of some sequences each, views, so few that memory does not follow their number."""
        count = min(-(-packing.rows // PIECE_ROWS), packing.sequences)
        if count < 2:
            return [(x, lengths)]
        bounds = [packing.sequences * piece // count for piece in range(count + 1)]
        parts = [slice(first, end) for first, end in zip(bounds, bounds[1:])]
        if isinstance(x, Ragged):
            return [(x[part], None) for part in parts]
        letters = index_axes("x", self.layout, x) if self.takes_indices else self.layout
        before = (slice(None),) * letters.index("n")
        return [(x[(*before, part)], None if lengths is None else np.asarray(lengths)[part]) for part in parts]

    def _rows(self, described, samples):
        """What a loss sees of an output: an array in the network's layout; of ragged sequences (rows, C)."""
        if samples.in_rows:
            return numbers(described).reshape(-1, described.channels)
        return in_layout(described.array, self.output_layout)

    def loss(
        self,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
    ) -> float:
        """The loss of the network on samples and their targets, a float; all as in `fit`, see `numbarnn.loss` for names.

        With sequences of different lengths it is the mean over the steps that there are, and with weights the weighted mean:
        0 where all weights are 0.  A NaN or an infinity in x or y is in the loss as well, unless the loss leaves it out.
        """
        loss = find_loss(loss)
        return self._loss_of(Samples.of(self, x, y, lengths, loss, weights), loss)

    def _loss_of(self, samples, loss, metrics=None):
        """`loss` of samples that have been checked, a function; with metrics, see `measured`, (loss, {name: value})."""
        self.params.check_finite()
        predictions, targets, weights = [], [], []
        for piece in samples.pieces(PIECE_ROWS):
            batch, described = piece.batch()
            prediction = self._forward(self._own, described, NOTHING)[0]
            if piece.in_rows and not (prediction.packing.rows or piece is samples):
                continue  # sequences without any step
            rows = self._rows(prediction, piece)
            predictions.append(contiguous(rows) if piece.in_rows else rows)
            targets.append(self._target_rows(batch, prediction, piece))
            weights.append(self._weight_rows(batch, piece))
        if len(predictions) > 1:
            axis = 0 if samples.in_rows else samples.y.letters.index("n")
            predictions, targets = ([np.concatenate(parts, axis)] for parts in (predictions, targets))
            weights = [None if weights[0] is None else np.concatenate(weights, axis)]
        value = self._call_loss(loss, predictions[0], targets[0], weights[0], samples)[0]
        if metrics is None:
            return value
        return value, measured(metrics, predictions[0], targets[0], samples.classes is not None)

    def evaluate(
        self,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        loss: str | Callable = "mse",
        metrics: Iterable = (),
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
    ) -> dict[str, float]:
        """The loss and the metrics of the network on samples and their targets, by name, from one prediction.

        Parameters
        ----------
        x, y : array, list, DataFrame or Ragged
            As in `fit`.
        loss : str or callable
        metrics : sequence of str or callable, or dict
            As in `fit`.
        lengths : array of int, optional
            (N,): the steps of each sample in a padded x.
        weights : array or Ragged, optional
            As in `fit`, for the loss.

        Returns
        -------
        dict of str to float
            ``"loss"``, and each metric.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(2)], channels=1, seed=0)
        >>> x, y = np.ones((5, 6, 1), np.float32), np.array([0, 1, 0, 1, 0, 1])
        >>> found = net.evaluate(x, y, loss="cross_entropy", metrics=["accuracy"])
        >>> list(found), found["accuracy"]
        (['loss', 'accuracy'], 0.5)
        """
        loss = find_loss(loss)
        samples = Samples.of(self, x, y, lengths, loss, weights)
        value, found = self._loss_of(samples, loss, checked_metrics(metrics, samples))
        return {"loss": value} | found

    def _call_loss(self, loss, prediction, target, weights, samples):
        """(loss, derivative) of what `_rows`, `_target_rows` and `_weight_rows` give."""
        if not is_of_library(loss):  # it may write to copies: arrays of the caller may be behind all of them
            prediction, target = prediction.copy(), target.copy()
            if samples.classes is not None and samples.ignore_index is not None:
                target[target < 0] = samples.ignore_index
            found = loss(prediction, target) if weights is None else loss(prediction, target, weights=weights.copy())
            return checked_result(found, prediction)
        if samples.classes is not None:
            return loss.of_labels(prediction, target, None if weights is None else weights[:, 0])
        axis = -1 if samples.in_rows else self.output_layout.index("c") - prediction.ndim
        check_target(prediction, target, target_channels(loss, prediction.shape[axis]), axis)
        if axis == -1:
            return loss.of_rows(prediction, target, weights)
        rows = (None if part is None else np.moveaxis(part, axis, -1) for part in (prediction, target, weights))
        value, gradient = loss.of_rows(*rows)
        return value, np.moveaxis(gradient, -1, axis)

    def _weight_rows(self, batch, samples):
        """The weights as a loss sees them, of one channel, laid out like the prediction; None if there are none."""
        if samples.weights is None:
            return None
        if samples.classes is not None:
            return samples.weight_rows(batch)[:, None]  # beside labels, in the host's memory
        return moved(samples.weight_rows(batch)[:, None] if samples.in_rows else samples.weights.array, self.device)

    def _target_rows(self, batch, prediction, samples):
        """The targets as a loss sees them, next to a prediction's descriptor."""
        if samples.classes is not None:
            return samples.labels(batch)
        if not samples.in_rows:
            return samples.y.array
        if not prediction.packing.rows:
            raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
        channels = target_channels(samples.loss, prediction.channels)
        return self._rows(batch.describe("y", samples.y.array, channels, prediction.dtype), samples)

    def loss_and_gradient(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
    ) -> tuple[float, np.ndarray]:
        """The loss and its gradient at the parameters `flat`: what ``scipy.optimize.minimize(jac=True)`` takes.

        The network's own parameters stay as they are.

        Parameters
        ----------
        flat : numpy.ndarray
            1-D, as long as ``params.flat`` and of the network's dtype.
        x, y : array, list, DataFrame or Ragged
            Samples and targets, as in `fit`.
        loss : str or callable
        lengths : array of int, optional
            (N,): the steps of each sample in a padded x.
        weights : array or Ragged, optional
            As in `fit`.  Where nothing counts, as with weights of 0, loss and gradient are exactly 0.

        Returns
        -------
        loss : float
        gradient : numpy.ndarray
            1-D, new.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> from scipy.optimize import minimize
        >>> net = nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64")
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> found = minimize(net.loss_and_gradient, net.params.flat, args=(x, y), jac=True, method="L-BFGS-B")
        >>> net.params.flat[:] = found.x
        >>> net.loss(x, y) < 1e-3
        True
        """
        checked_array("flat", flat)
        if flat.dtype != self.dtype:
            raise DTypeError(f"flat: expected {self.dtype} like the network, got {flat.dtype}")
        given = Parameters(contiguous(moved(flat, self.device)), self.params.weights)
        given.check_finite()
        loss = find_loss(loss)
        samples = Samples.of(self, x, y, lengths, loss, weights)
        gradient = given.zeros()
        workspace = Workspace(self, self.split(gradient.flat), self.split(given.flat))
        return workspace.gradient(samples, loss), moved(gradient.flat, device_of(flat))

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
        frozen: Iterable[str] = (),
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
            ``(prediction, y) -> (loss, gradient)``; with weights ``(prediction, y, weights=weights)``.
        optimizer : Optimizer or str
            ``Adam()`` if None.
        epochs : int
        batch_size : int
            Samples of one update; the last batch of an epoch may be smaller, and is trained too.
        shuffle : bool
            Draw a new order for each epoch.
        seed : int or numpy.random.Generator
            For the order.
        clip : float, optional
            Largest Euclidean norm of the gradient; a longer one is scaled down to it.
        lengths : array of int, optional
            (N,): the steps of each sample, from 0 to T; T for all if None.  The loss is the mean over the steps there are;
            one of your own is then called with (rows, channels) arrays of them, unless `Last` has left one step.
        validation : (x, y), (x, y, lengths) or (x, y, lengths, weights), optional
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
            functions of (prediction, target) that return a number, by their names or by those of a dict.  They get what
            `loss` gets: of labels and of ragged sequences rows (rows, C), of labels without those that are ignored.  Each
            costs nothing beside one prediction of all samples.
        frozen : sequence of str
            Parameters that keep their bits, by names or patterns: ``["0.*"]`` are those of the first layer, ``["*bias*"]``
            all biases.  Their gradient is no part of the norm that `clip` limits.
        weights : array or Ragged, optional
            Numbers >= 0: one for each sample, (N,), or for each step, (T, N) in the order of the network's layout, of a
            Ragged x a Ragged of one channel.  The loss of a batch is the weighted mean, divided by the sum of its weights,
            and the loss of an epoch is that of all samples.  Where a weight is 0, y is not read and the gradient is exactly
            0; samples whose weights are all 0 are in no batch.  x is read nevertheless, and must be finite.

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
        together, shards = ranks_of(comm, shards, self)
        with together as ranks:
            optimizer, loss = Adam() if optimizer is None else optimizer, find_loss(loss)
            self.params.check_writable("params")
            self.params.check_finite()
            samples = Samples.of(self, x, y, lengths, loss, weights)
            return fit(
                self, samples, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, shuffle=shuffle,
                seed=seed, clip=clip, validation=validation, callbacks=callbacks, progress=progress,
                metrics=metrics, frozen=frozen, tape=tape, checkpoints=checkpoints, ranks=ranks, count=shards,
            )  # fmt: skip

    def stream(self, batch: int = 1) -> Stream:
        """A `Stream` that runs the network one step at a call, or the steps of a sequence, from a state of zeros.

        The parameters are read now: later changes do not reach it.  `Last` passes each step on.  After an `Embedding` a step
        is of indices, (N,).

        Parameters
        ----------
        batch : int
            Sequences N that run side by side.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(8), nr.Last(), nr.Dense(1)], channels=1, seed=0)
        >>> stream = net.stream()
        >>> y = np.zeros((1, 1), np.float32)
        >>> for _ in range(5):
        ...     y = stream.step(y)  # predictions fed back
        >>> y.shape, len(stream.state)
        ((1, 1), 1)
        """
        self.params.check_finite()
        on, batch = backend(self.device), positive_integer("batch", batch)
        steps, vocabulary = on.programs.most_steps(batch), None
        if self.takes_indices:
            x, vocabulary = np.zeros((steps, batch), np.int64), self.layers[0].vocabulary
            y = Indices(uniform(steps, batch), x)
        else:
            x = on.memory.zeros((steps, batch, self.channels), self.dtype)
            y = TensorDescriptor.of_tnc(x)
        operations, stateful = [], []
        for layer, own in zip(self.layers, self._own):
            y, tape = layer.run_stream(own, y)
            operations.append(tape.operation)
            if isinstance(layer, Recurrent):
                stateful.append((layer, tape))
        program = on.programs.Steps(x, y.array, operations)
        stream = Stream(x, program, stateful, y.array, single=False, vocabulary=vocabulary)
        stream.state = (None,) * len(stateful)
        return stream

    def transfer(self, source: "Network") -> "Network":
        """Copy the parameters of another network of the same layers and channels; returns this network.

        Between dtypes the numbers are rounded; ValueError if one is too large.
        """
        if not isinstance(source, Network):
            raise TypeError(f"source: expected a Network, got {type(source).__name__}")
        self.params.check_structure("source", source.params)
        self.params.flat = numbers_like("source", moved(source.params.flat, self.device), self.dtype)
        return self

    def save(self, path: str | os.PathLike) -> None:
        """Write the network into a file, from which `numbarnn.load` has one that predicts and trains to the bit like it.

        A safetensors file: the parameters by name, in the shapes of their views, and a description of the layers; see
        :doc:`/files`.

        Parameters
        ----------
        path : str or os.PathLike
            Written whole or not at all; an old file is replaced.

        Raises
        ------
        OSError
            If it cannot be written, as on a full disk; an old file is then as it was.
        TypeError
            If a layer has something that no file can describe, such as a lambda; of a subclass of Network.
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
        write_file(path, *self._written())

    def _written(self):
        """(arrays, description): what a file holds of the network."""
        if type(self) is not Network:
            raise TypeError(
                f"save: expected a Network and no subclass, whose own attributes no file holds, got {type(self).__name__};"
                " Network(net.layers, net.channels).transfer(net) is one, and pickle keeps all"
            )
        writing = Writing()
        network = {
            "layers": [writing(f"layers.{index}", layer) for index, layer in enumerate(self.layers)],
            "channels": self.channels,
            "layout": self.layout,
        }
        described = {"network": network, "parameters": self._params._described()}
        return self._params._arrays() | writing.arrays, described

    @classmethod
    def _of_file(cls, read, description):
        """The network that `_written` has described, on the CPU.

        read : files.written.Reading
            Its arrays are taken out (is modified).
        """
        network = read("network", description.get("network"))
        if not isinstance(network, dict) or network.keys() != {"layers", "channels", "layout"}:
            raise read.error("network", f"its layers, channels and layout, got {network!r:.200}")
        params, made = Parameters._of_file(read, description), object.__new__(cls)
        try:
            weights = made._settle(**network, dtype=params.dtype)
        except (TypeError, ValueError) as error:
            raise read.error("network", f"what a Network is made of; {error}") from error
        if tuple(weights) != params.weights:
            raise read.error("parameters", f"those of {made!r}, got {params!r}")
        made.device, made._params = "cpu", params
        return made

    def summary(self) -> str:
        """A table of the layers, their outputs and parameters: text that a prompt and a notebook show as a table."""
        rows, letters = [], self.layout
        for index, (layer, own) in enumerate(zip(self.layers, self._own)):
            channels = layer.output_channels(self._inputs[index])
            letters = letters.replace("t", "") if isinstance(layer, LastStep) else letters
            shape = ", ".join(str(channels) if letter == "c" else letter.upper() for letter in letters)
            rows.append((str(index), repr(layer), f"({shape})", f"{len(own):,}"))
        head = ("", "layer", "output", "parameters")
        rows = [head, *rows, ("", "all", "", f"{len(self.params):,}")]
        return Summary.of(rows)

    def __repr__(self):
        inner = ", ".join(map(repr, self.layers))
        return f"Network([{inner}], channels={self.channels}, dtype={self.dtype.name!r}, layout={self.layout!r})"


def brought(array, device):
    """An array or a Ragged on `device`: a copy, where it is not there."""
    return Ragged(moved(array.data, device), array.offsets) if isinstance(array, Ragged) else moved(array, device)
