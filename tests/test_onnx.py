"""Side by side with onnxruntime: the slow NumPy layers over all that ONNX's operators can do, and the library's layers."""

from functools import partial

import numpy as np
import onnx
import onnx_layers
import oracles
import pytest
from checks import as_tuple, like
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import LAYOUTS, arranged, as_tnc

import numbarnn as nr

TOLERANCE = 1e-5  # in units of the largest number or 1; everything is computed in float32
LARGEST = 30


@st.composite
def activations(draw):
    """A name, or a name with an alpha and perhaps a beta."""
    name = draw(st.sampled_from(sorted(onnx_layers.NAMES)))
    numbers = draw(st.lists(st.floats(-1.5, 1.5, width=32), max_size=len(oracles.ACTIVATIONS[name][1])))
    return (name, *numbers) if numbers else name


CLIPS = st.floats(0.03125, 3, width=32)
KINDS = {
    "rnn": ("RNN", {}),
    "gru-after": ("GRU", {"reset": "after"}),
    "gru-before": ("GRU", {"reset": "before"}),
    "lstm": ("LSTM", {}),
    "lstm-peepholes": ("LSTM", {"peepholes": True}),
    "lstm-coupled": ("LSTM", {"coupled": True}),
    "lstm-coupled-peepholes": ("LSTM", {"coupled": True, "peepholes": True}),
}


def layers(name):
    """Stand-ins for layers of one of the KINDS, with some of the other options that ONNX has."""
    kind, fixed = KINDS[name]
    always = {"layers": st.integers(1, 2), "bidirectional": st.booleans(), **{key: st.just(fixed[key]) for key in fixed}}
    some = {"clip": st.none() | CLIPS} | dict.fromkeys(onnx_layers.ACTIVATED[kind], activations())
    options = st.fixed_dictionaries(always, optional=some)
    return st.builds(lambda hidden, o: oracles.described(kind, hidden, **o), st.integers(1, 17), options)


@st.composite
def inputs(draw, with_lengths=True):
    """(x, lengths or None, a random generator), of any shape; NaN past the lengths."""
    steps, batch, channels = draw(st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 5)))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    x = (random.standard_normal((steps, batch, channels)) * draw(st.sampled_from([0.1, 1, 3]))).astype(np.float32)
    lengths = None
    if with_lengths and draw(st.booleans()):
        lengths = np.array(draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch)))
        x[np.arange(steps)[:, None] >= lengths] = np.nan
    return x, lengths, random


def assume_stable(layer, p, x, state, lengths):
    """Leave out what makes rounding errors large: states that grow, chaos, and jumps that are near."""
    random = np.random.default_rng(0)

    def rounded(array):
        return array * (1 + random.choice([-1, 1], array.shape) * np.finfo(np.float32).eps / 2)

    start = None if state is None else like(state, [rounded(s) for s in as_tuple(state)])
    moved = {name: rounded(p[name]) for name in p}, rounded(x), start
    with np.errstate(over="ignore", invalid="ignore"):
        (y, final), (z, other) = (oracles.run(layer, *given, lengths=lengths) for given in ((p, x, state), moved))
        for a, b in zip((y, *as_tuple(final)), (z, *as_tuple(other))):
            largest = np.abs(a).max()
            assume(largest <= LARGEST and np.abs(a - b).max() <= TOLERANCE / 10 * max(1, largest))
    if "thresholded_relu" in str(vars(layer)):
        assume(np.abs(oracles.distances(layer, p, x, state, lengths=lengths)).min(initial=1) > 10 * TOLERANCE)


def check_same(found, expected, tolerance):
    """Assert that (y, state) are the same, in units of the largest number among the expected or 1."""
    for a, b in zip((found[0], *as_tuple(found[1])), (expected[0], *as_tuple(expected[1])), strict=True):
        assert a.shape == b.shape
        error = np.abs(a - b).max()
        assert error <= tolerance * max(1, np.abs(b).max()), error


@pytest.mark.parametrize("name", KINDS)
def test_oracle_agrees_with_onnxruntime(name):
    @given(layers(name), inputs(), st.booleans(), st.booleans())
    def check(layer, given_, with_state, with_biases):
        x, lengths, random = given_
        p = oracles.random_parameters(layer, x.shape[2], random)
        if not with_biases:
            p = {name: value for name, value in p.items() if not name.startswith("bias")}
        state = oracles.random_state(layer, x.shape[1], random) if with_state else None
        assume_stable(layer, p, x, state, lengths)
        expected = oracles.run(layer, p, x, state, lengths=lengths)
        check_same(onnx_layers.run(layer, p, x, state, lengths), expected, TOLERANCE)

    check()


@pytest.mark.parametrize("name", onnx_layers.NAMES)
@pytest.mark.parametrize("kind, option", [(kind, option) for kind, some in onnx_layers.ACTIVATED.items() for option in some])
def test_every_activation_in_every_place(kind, option, name):
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 5, 3)).astype(np.float32)
    for count in range(len(oracles.ACTIVATIONS[name][1]) + 1):
        layer = oracles.described(kind, 6, bidirectional=True, **{option: (name, *(0.75, -0.25)[:count])})
        p, state = oracles.random_parameters(layer, 3, random), oracles.random_state(layer, 5, random)
        check_same(onnx_layers.run(layer, p, x, state), oracles.run(layer, p, x, state), TOLERANCE)


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "thresholded_relu", "hard_sigmoid"])
def test_plain_alphas_and_betas_are_those_of_the_operators(name):
    attributes = onnx.defs.get_schema(onnx_layers.NAMES[name]).attributes
    plain = [attributes[letter].default_value.f for letter in ("alpha", "beta") if letter in attributes]
    np.testing.assert_allclose(oracles.ACTIVATIONS[name][1], plain, rtol=1e-7)


@pytest.mark.parametrize("kind", onnx_layers.ACTIVATED)
def test_reverse_node_is_the_reverse_half(kind):
    random = np.random.default_rng(0)
    layer = oracles.described(kind, 4, bidirectional=True)
    p, x, lengths = oracles.random_parameters(layer, 3, random), random.standard_normal((5, 3, 3)), [5, 0, 2]
    state = oracles.random_state(layer, 3, random)
    y, final = oracles.run(layer, p, x, state, lengths=lengths)
    half = tuple(s[1:] for s in as_tuple(state))
    found = onnx_layers.run(layer, p, x, half if kind == "LSTM" else half[0], lengths, direction="reverse")
    check_same(found, (y[:, :, 4:], tuple(s[1:] for s in as_tuple(final))), TOLERANCE)


PLAIN = {
    "rnn-tanh": (nr.RNN, {}),
    "rnn-relu": (nr.RNN, {"activation": "relu"}),
    "gru-after": (nr.GRU, {}),
    "gru-before": (nr.GRU, {"reset": "before"}),
    "lstm": (nr.LSTM, {}),
}
OPTIONS = {  # each compiles a kernel, for each clip another
    "rnn-clip": (nr.RNN, {"clip": 0.5}),
    "rnn-affine": (nr.RNN, {"activation": ("affine", 0.5, 0.25)}),
    "rnn-leaky": (nr.RNN, {"activation": ("leaky_relu", 0.25), "clip": 0.5}),
    "rnn-threshold": (nr.RNN, {"activation": ("thresholded_relu", 0.5)}),
    "rnn-scaled": (nr.RNN, {"activation": ("scaled_tanh", 1.25, 0.75)}),
    "rnn-hard": (nr.RNN, {"activation": ("hard_sigmoid", 0.25, 0.375)}),
    "rnn-elu": (nr.RNN, {"activation": ("elu", 0.75)}),
    "rnn-softplus": (nr.RNN, {"activation": "softplus"}),
    "gru-after-clip": (nr.GRU, {"clip": 0.5}),
    "gru-after-hard": (nr.GRU, {"gate_activation": "hard_sigmoid", "activation": "softsign"}),
    "gru-before-leaky": (nr.GRU, {"reset": "before", "activation": ("leaky_relu", 0.25), "clip": 0.5}),
    "lstm-clip": (nr.LSTM, {"clip": 0.5}),
    "lstm-hard": (nr.LSTM, {"gate_activation": "hard_sigmoid", "activation": "softsign", "output_activation": "softsign"}),
    "lstm-elu": (nr.LSTM, {"activation": ("elu", 0.75), "output_activation": ("scaled_tanh", 1.25, 0.75)}),
    "lstm-peepholes": (nr.LSTM, {"peepholes": True}),
    "lstm-peepholes-leaky": (nr.LSTM, {"peepholes": True, "activation": ("leaky_relu", 0.25), "clip": 0.5}),
    "lstm-coupled": (nr.LSTM, {"coupled": True}),
    "lstm-coupled-peepholes": (nr.LSTM, {"coupled": True, "peepholes": True, "clip": 0.5}),
}
CONFIGURATIONS = PLAIN | OPTIONS


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_layer_agrees_with_onnxruntime(name):
    make, options = CONFIGURATIONS[name]
    sizes = {"hidden": st.integers(1, 33), "layers": st.integers(1, 2), "bidirectional": st.booleans()}

    @given(st.builds(partial(make, **options), **sizes), inputs(), st.booleans(), st.sampled_from(LAYOUTS))
    def check(layer, given_, with_state, layout):
        x, lengths, random = given_
        p = layer.init(x.shape[2], seed=0)
        for key, value in oracles.random_parameters(layer, x.shape[2], random).items():
            p[key] = value
        state = oracles.random_state(layer, x.shape[1], random) if with_state else None
        assume_stable(layer, p, x, state, lengths)
        expected = onnx_layers.run(layer, p, x, state, lengths)
        y, final = layer(p, arranged(x, layout), state, lengths, layout)
        check_same((as_tnc(y, layout), final), expected, 2 * TOLERANCE)

    check()
