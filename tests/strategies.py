"""Hypothesis strategies: layers of every kind, sizes, values, layouts and strides."""

import itertools
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import oracles
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numbarnn as nr


def projected(hidden, **options):
    """An LSTM with about half as many channels of h as hidden units, of which there are 2 or more."""
    return nr.LSTM(max(2, hidden), projection=(hidden + 1) // 2, **options)


KINDS = {
    "rnn-tanh": partial(nr.RNN, activation="tanh"),
    "rnn-relu": partial(nr.RNN, activation="relu"),
    "rnn-identity": partial(nr.RNN, activation="identity"),
    "rnn-sigmoid": partial(nr.RNN, activation="sigmoid"),
    "gru-after": partial(nr.GRU, reset="after"),
    "gru-before": partial(nr.GRU, reset="before"),
    "lstm": nr.LSTM,
    "lstm-projected": projected,
}
OTHER_KINDS = {  # tested apart: each kind is two more kernels for each dtype
    "mgu": nr.MGU,
    "indrnn": partial(nr.IndRNN, activation="tanh"),
    "leaky-outside": partial(nr.LeakyRNN, rate=0.3, learned=True),
    "leaky-inside": partial(nr.LeakyRNN, rate=0.3, form="inside", learned=True),
    "lstm-peepholes": partial(nr.LSTM, peepholes=True),
    "lstm-coupled": partial(nr.LSTM, coupled=True),
    "lstm-coupled-peepholes": partial(nr.LSTM, coupled=True, peepholes=True),
}
LAYOUTS = tuple("".join(letters) for letters in itertools.permutations("tnc"))
HIDDEN = (1, 2, 3, 5, 8, 9, 16, 17, 33)


def states_of(layer):
    """1, or 2 for an LSTM."""
    return 2 if isinstance(layer, nr.LSTM) else 1


def directions_of(layer):
    """1, or 2 for a bidirectional layer."""
    return 2 if layer.bidirectional else 1


def _sliced(array):
    whole = np.full([2 * length + 3 for length in array.shape], np.nan, array.dtype)
    view = whole[tuple(slice(1, 2 * length + 1, 2) for length in array.shape)]
    view[...] = array
    return view


def _reversed(array):
    flip = (slice(None, None, -1),) * array.ndim
    return np.ascontiguousarray(array[flip])[flip]


def _broadcast(array):
    axis = next((i for i, length in enumerate(array.shape) if (array == array.take([0], i)).all()), None)
    return array if axis is None else np.broadcast_to(array.take([0], axis), array.shape)


STRIDES = {
    "contiguous": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "transposed": lambda array: np.ascontiguousarray(np.moveaxis(array, 0, -1)).transpose(-1, *range(array.ndim - 1)),
    "sliced": _sliced,
    "reversed": _reversed,
    "broadcast": _broadcast,
}


def arranged(tnc, layout="tnc", strides="contiguous"):
    """A (T, N, C) array with its axes in the order of `layout`, at the given kind of strides."""
    return STRIDES[strides](tnc.transpose(["tnc".index(letter) for letter in layout]).copy())


def as_tnc(array, layout):
    """The reverse of `arranged`: a view."""
    return array.transpose([layout.index(letter) for letter in "tnc"])


@dataclass(frozen=True)
class Case:
    """One layer with everything a forward and a backward call take; x, dy and dcells are (T, N, C)."""

    layer: object
    parameters: nr.Parameters
    x: np.ndarray
    state: object
    dy: np.ndarray
    dstate: object
    layout: str = "tnc"
    strides: str = "contiguous"
    lengths: object = None
    reset: np.ndarray | None = None
    dcells: np.ndarray | None = None
    masks: dict | None = None

    def arranged(self, tnc):
        """An array of the case in its layout and strides."""
        return arranged(tnc, self.layout, self.strides)

    def plain(self):
        """The same case in the TNC layout, contiguous."""
        return replace(self, layout="tnc", strides="contiguous")

    def forward(self, subject=None, **options):
        """``(y, state, tape)`` of the layer, or of a subject that stands in for it; with ``cells=True`` also c."""
        options = {name: getattr(self, name) for name in ("layout", "lengths", "reset", "masks")} | options
        return (subject or self.layer).forward(self.parameters, self.arranged(self.x), self.state, **options)

    def backward(self, tape, subject=None, **options):
        """Gradients from dy, dstate and dcells of the case."""
        dy, dcells = (None if array is None else self.arranged(array) for array in (self.dy, self.dcells))
        if dcells is not None:
            options["dcells"] = dcells
        return (subject or self.layer).backward(tape, dy, self.dstate, **options)


def random_case(
    layer, steps, batch, channels, seed=0, x=None, with_state=True, dtype="float64", with_dcells=False, **fields
):
    """A case with uniform parameters in ``+-1 / sqrt(H)`` (at least 0.3) and normal values."""
    random = np.random.default_rng(seed)
    parameters = layer.init(channels, seed=seed, dtype=dtype, scheme="pytorch")
    parameters.flat[...] *= max(1, 0.3 * np.sqrt(layer.hidden))
    count = layer.layers * directions_of(layer)

    def states():
        shapes = [(count, batch, width) for width in oracles.widths(layer)]
        parts = tuple(random.standard_normal(shape).astype(dtype) for shape in shapes)
        return parts if len(parts) == 2 else parts[0]

    if x is None:
        x = random.standard_normal((steps, batch, channels))
    if fields.get("strides") == "broadcast":
        x = np.repeat(x[:, :1], batch, axis=1)
    dy = random.standard_normal((steps, batch, layer.output_channels(channels))).astype(dtype)
    state, dstate = states(), states()
    if with_dcells:
        fields["dcells"] = random.standard_normal((steps, batch, directions_of(layer) * layer.hidden)).astype(dtype)
    return Case(layer, parameters, x.astype(dtype), state if with_state else None, dy, dstate, **fields)


def layers(kind, max_layers=3, hidden=HIDDEN):
    """A layer of one kind, of any depth and direction."""
    return st.builds(
        (KINDS | OTHER_KINDS)[kind], st.sampled_from(hidden), layers=st.integers(1, max_layers), bidirectional=st.booleans()
    )


@st.composite
def cases(draw, kind, dtype="float64", max_layers=3, max_steps=6, hidden=HIDDEN):
    """A case of one kind: bounded inputs drawn value by value, the rest from a drawn seed."""
    layer = draw(layers(kind, max_layers, hidden))
    shape = draw(st.integers(1, max_steps)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    x = draw(hnp.arrays(np.float64, shape, elements=st.floats(-2, 2, width=32)))
    return random_case(
        layer,
        *shape,
        seed=draw(st.integers(0, 2**16)),
        x=x,
        with_state=draw(st.booleans()),
        dtype=dtype,
        layout=draw(st.sampled_from(LAYOUTS)),
        strides=draw(st.sampled_from(tuple(STRIDES))),
    )


def resets(steps, batch):
    """An array (T, N) that starts a sequence afresh at about a quarter of its steps."""
    return st.integers(0, 2**16).map(lambda seed: np.random.default_rng(seed).random((steps, batch)) < 0.25)


@st.composite
def ragged_cases(
    draw, kind, dtype=None, with_lengths=True, with_resets=False, with_state=None, merges=True, max_steps=9, max_batch=7
):
    """A case with lengths from 0 to all steps, in any order, or with resets, or both; `merges`: and any way to stack."""
    steps, batch = draw(st.integers(1, max_steps)), draw(st.integers(1, max_batch))
    lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    layer = draw(layers(kind, max_layers=2))
    if merges:
        merge = draw(st.sampled_from(("concat", "concat", "sum", "average", "product"))) if layer.bidirectional else "concat"
        layer = replace(layer, merge=merge, residual=layer.layers > 1 and draw(st.booleans()))
    return random_case(
        layer,
        steps,
        batch,
        draw(st.integers(1, 4)),
        seed=draw(st.integers(0, 2**16)),
        with_state=draw(st.booleans()) if with_state is None else with_state,
        dtype=dtype or draw(st.sampled_from(("float64", "float32"))),
        with_dcells=kind.startswith("lstm") and draw(st.booleans()),
        lengths=np.array(lengths) if with_lengths else None,
        reset=draw(resets(steps, batch)) if with_resets else None,
        layout=draw(st.sampled_from(LAYOUTS)),
        strides=draw(st.sampled_from(tuple(STRIDES))),
    )
