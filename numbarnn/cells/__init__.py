"""The equations of each cell, forward and adjoint, once for every backend."""

from .activations import ActivationSpec, Clipped, Function, activation
from .cell import Cell
from .custom import ActivationFunction
from .decayed import Decay, DecayedCell, DecayedMemoryCell
from .dense import DenseCell
from .dry_run import check
from .gru import GRUAfterCell, GRUBeforeCell
from .indrnn import IndRNNCell
from .leaky import LeakyInsideCell, LeakyOutsideCell
from .lstm import CoupledLSTMCell, CoupledPeepholeLSTMCell, LSTMCell, PeepholeLSTMCell
from .mgu import MGUCell
from .normalized import NormalizedCell, NormalizedGRUCell, NormalizedLSTMCell
from .regularized import PerturbedCell, PerturbedMemoryCell, RecurrentDropoutCell, around
from .rnn import RNNCell

__all__ = [
    "ActivationFunction",
    "ActivationSpec",
    "Cell",
    "Clipped",
    "Decay",
    "DecayedCell",
    "DecayedMemoryCell",
    "CoupledLSTMCell",
    "CoupledPeepholeLSTMCell",
    "DenseCell",
    "Function",
    "GRUAfterCell",
    "GRUBeforeCell",
    "IndRNNCell",
    "LSTMCell",
    "LeakyInsideCell",
    "LeakyOutsideCell",
    "MGUCell",
    "NormalizedCell",
    "NormalizedGRUCell",
    "NormalizedLSTMCell",
    "PeepholeLSTMCell",
    "PerturbedCell",
    "PerturbedMemoryCell",
    "RNNCell",
    "RecurrentDropoutCell",
    "activation",
    "around",
    "check",
]
