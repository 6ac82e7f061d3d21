"""The equations of each cell, forward and adjoint, once for every target."""

from .activations import ActivationSpec, Function, activation
from .cell import Cell
from .custom import ActivationFunction
from .dense import DenseCell
from .gru import GRUAfterCell, GRUBeforeCell
from .lstm import LSTMCell
from .rnn import RNNCell

__all__ = [
    "ActivationFunction",
    "ActivationSpec",
    "Cell",
    "DenseCell",
    "Function",
    "GRUAfterCell",
    "GRUBeforeCell",
    "LSTMCell",
    "RNNCell",
    "activation",
]
