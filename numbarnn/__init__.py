"""Recurrent networks for scientific Python, compiled by Numba."""

from . import datasets, errors, plot, testing
from .callbacks import Callback, EarlyStopping, Printer
from .cells import ActivationFunction, Cell, elementary
from .data import windows
from .descriptor import TensorDescriptor
from .errors import (
    ChecksumError,
    DataNotFoundError,
    DeviceError,
    DTypeError,
    LayoutError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
)
from .extrapolation import extrapolate
from .layers.base import Gradients
from .layers.connectivity import Connectivity
from .layers.dense import Activation, Dense, Last
from .layers.gru import GRU
from .layers.indrnn import IndRNN
from .layers.leaky import LeakyRNN
from .layers.lstm import LSTM
from .layers.mgu import MGU
from .layers.recurrent import Recurrent
from .layers.rnn import RNN
from .losses import loss
from .network import Network
from .optimizers import SGD, Adam, AdamW, RMSProp
from .parameters import Parameters
from .ragged import Ragged
from .schedules import constant, cosine, exponential, reduce_on_plateau, warmup
from .streaming import Stream
from .training import History

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "MGU",
    "RNN",
    "SGD",
    "Activation",
    "ActivationFunction",
    "Callback",
    "Cell",
    "ChecksumError",
    "Connectivity",
    "DataNotFoundError",
    "Adam",
    "AdamW",
    "DTypeError",
    "Dense",
    "DeviceError",
    "EarlyStopping",
    "Gradients",
    "History",
    "IndRNN",
    "Last",
    "LayoutError",
    "LeakyRNN",
    "Network",
    "NonFiniteError",
    "Parameters",
    "Printer",
    "RMSProp",
    "Ragged",
    "Recurrent",
    "ShapeError",
    "Stream",
    "TensorDescriptor",
    "UnknownNameError",
    "constant",
    "cosine",
    "datasets",
    "elementary",
    "errors",
    "exponential",
    "extrapolate",
    "loss",
    "plot",
    "reduce_on_plateau",
    "testing",
    "warmup",
    "windows",
]
