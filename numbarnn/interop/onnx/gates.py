"""What ONNX's RNN, GRU and LSTM call and order differently: gates, peepholes and activation functions, both ways."""

import numpy as np

from ...cells.activations import FUNCTIONS
from ...errors import ConversionError

HERE = {"RNN": "h", "GRU": "rzn", "LSTM": "ifgo"}  # the gates in the order of the rows of a weight
THERE = {"RNN": "h", "GRU": "zrn", "LSTM": "iofg"}
PEEPHOLES_HERE, PEEPHOLES_THERE = "ifo", "iof"

NAMES = {
    "relu": "Relu",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "affine": "Affine",
    "leaky_relu": "LeakyRelu",
    "thresholded_relu": "ThresholdedRelu",
    "scaled_tanh": "ScaledTanh",
    "hard_sigmoid": "HardSigmoid",
    "elu": "Elu",
    "softsign": "Softsign",
    "softplus": "Softplus",
}
FOUND = {there.lower(): here for here, there in NAMES.items()}
WITHOUT_DEFAULTS = ("affine", "scaled_tanh")  # these are no operators, from which others have their alpha and beta
FIELDS = {  # the activation functions f, g, h, and their plain names
    "RNN": {"activation": "tanh"},
    "GRU": {"gate_activation": "sigmoid", "activation": "tanh"},
    "LSTM": {"gate_activation": "sigmoid", "activation": "tanh", "output_activation": "tanh"},
}


def gates_of(kind, coupled):
    """The gates of a layer in the order of its rows."""
    return HERE[kind].replace("f", "") if coupled else HERE[kind]


def reordered(array, of, to):
    """Blocks of rows in the order of the letters `of`, put into the order of the letters `to`; zeros for a new letter."""
    blocks = dict(zip(of, np.split(np.asarray(array), len(of))))
    empty = np.zeros_like(blocks[of[0]])
    return np.concatenate([blocks.get(letter, empty) for letter in to])


def function_to(where, spec):
    """(ONNX's name, alpha or None, beta or None) of an activation function."""
    name, *given = spec if isinstance(spec, tuple) else (spec,)
    if name in ("identity", "linear"):
        name, given = "affine", (1.0, 0.0)
    if not isinstance(name, str) or name not in NAMES:
        raise ConversionError(f"{where}: expected an activation function that ONNX's recurrent operators have, got {spec!r}")
    function = FUNCTIONS[name](*given)
    numbers = [getattr(function, letter, None) for letter in ("alpha", "beta")]
    return NAMES[name], *numbers


def functions_from(where, kind, names, alphas, betas):
    """The activation functions of one direction, as specs, in the order of `FIELDS`.

    alphas, betas: what is left of them: numbers are taken from their front (modified), by those functions that take one.
    """
    found = []
    for name in names:
        here = FOUND.get(name.lower())
        if here is None:
            raise ConversionError(f"{where}: expected an activation function of ONNX, got {name!r}")
        takes = [letter for letter in ("alpha", "beta") if hasattr(FUNCTIONS[here](), letter)]
        given = []
        for letter in takes:
            left = {"alpha": alphas, "beta": betas}[letter]
            if left:
                given.append(float(left.pop(0)))
            elif here in WITHOUT_DEFAULTS:
                raise ConversionError(f"{where}: expected activation_{letter} for {name}, got none left")
            elif given and letter == "beta":
                given.append(FUNCTIONS[here]().beta)
        plain = FUNCTIONS[here](*given) == FUNCTIONS[here]() and here not in WITHOUT_DEFAULTS
        if here == "affine" and tuple(given) == (1.0, 0.0):
            here, plain = "identity", True
        found.append(here if plain else (here, *given))
    return found
