"""The equations of each cell, forward and adjoint, once for every target."""

from .cell import Cell
from .dense import DenseCell
from .gru import GRUAfterCell, GRUBeforeCell
from .lstm import LSTMCell
from .rnn import RNNCell

__all__ = ["Cell", "DenseCell", "GRUAfterCell", "GRUBeforeCell", "LSTMCell", "RNNCell"]
