"""Recurrent networks for scientific Python, compiled by Numba."""

import sys

from . import dynamics, errors, interop, plot, testing
from .arrays.descriptor import TensorDescriptor
from .arrays.ragged import Ragged
from .cells import ActivationFunction, Cell, elementary
from .cells.activations import FUNCTIONS
from .compile.ahead import Compiled, compile
from .data import datasets
from .data.observed import observed
from .data.series import strips, windows
from .data.standardizer import Standardizer
from .data.text import Vocabulary, padded
from .descriptions import keywords
from .ensemble import Ensemble
from .errors import (
    CellError,
    ChecksumError,
    ConversionError,
    DataNotFoundError,
    DeviceError,
    DTypeError,
    FileFormatError,
    IndexRangeError,
    KernelError,
    LayoutError,
    NonFiniteError,
    RankError,
    ShapeError,
    TrustError,
    UnknownNameError,
)
from .extrapolation import extrapolate
from .files import written
from .gauss_newton import LeastSquaresFit, levenberg_marquardt
from .graph import Graph
from .graphs.description import Input, Node
from .graphs.losses import Losses, OutputMetric
from .graphs.streams import GraphStream
from .layers.base import Gradients
from .layers.connectivity import Connectivity
from .layers.convolution import Conv2d
from .layers.dense import Activation, Dense
from .layers.dropout import Dropout
from .layers.embedding import Embedding, RowGradient
from .layers.feedback import Feedback
from .layers.gru import GRU
from .layers.grud import GRUD
from .layers.images import Flatten
from .layers.indrnn import IndRNN
from .layers.last import Last, LastStep
from .layers.leaky import LeakyRNN
from .layers.lstm import LSTM
from .layers.mgu import MGU
from .layers.over_time import Pool
from .layers.per_step import PerStep
from .layers.pooling import AvgPool2d, MaxPool2d
from .layers.recurrent import Recurrent
from .layers.rnn import RNN
from .least_squares import RecursiveLeastSquares
from .loading import load
from .many import fit_many
from .network import Network
from .networks.predictions import Predictions
from .parameters import Parameters
from .sampling import sample
from .stepping import CompiledStep
from .streaming import Stream
from .trainer import Trainer
from .training.callbacks import Callback
from .training.checkpoints import Checkpoint
from .training.history import History
from .training.losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianNLL,
    HalfMSE,
    Huber,
    NashSutcliffe,
    PoissonNLL,
    Quantile,
    loss,
)
from .training.metrics import accuracy
from .training.optimizer import Optimizer
from .training.optimizers import SGD, Adam, AdamW, Nadam, RAdam, RMSProp
from .training.ranks import own_part
from .training.reports import CSVLogger, Printer
from .training.schedules import constant, cosine, exponential, reduce_on_plateau, warmup
from .training.stopping import EarlyStopping

sys.modules[f"{__name__}.datasets"] = datasets  # `import numbarnn.datasets`

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "GRUD",
    "LSTM",
    "MAE",
    "MGU",
    "MSE",
    "RNN",
    "SGD",
    "Activation",
    "ActivationFunction",
    "AvgPool2d",
    "BinaryCrossEntropy",
    "CSVLogger",
    "Callback",
    "Cell",
    "CellError",
    "Checkpoint",
    "ChecksumError",
    "Compiled",
    "CompiledStep",
    "Connectivity",
    "Conv2d",
    "ConversionError",
    "CrossEntropy",
    "DataNotFoundError",
    "Adam",
    "AdamW",
    "DTypeError",
    "Dense",
    "DeviceError",
    "Dropout",
    "Embedding",
    "EarlyStopping",
    "Ensemble",
    "Feedback",
    "FileFormatError",
    "Flatten",
    "GaussianNLL",
    "Gradients",
    "Graph",
    "GraphStream",
    "HalfMSE",
    "History",
    "Huber",
    "IndexRangeError",
    "IndRNN",
    "Input",
    "KernelError",
    "Last",
    "LastStep",
    "LayoutError",
    "LeakyRNN",
    "LeastSquaresFit",
    "MaxPool2d",
    "Nadam",
    "NashSutcliffe",
    "Network",
    "Node",
    "NonFiniteError",
    "Optimizer",
    "Parameters",
    "PerStep",
    "PoissonNLL",
    "Pool",
    "Predictions",
    "Printer",
    "Quantile",
    "RAdam",
    "RMSProp",
    "Ragged",
    "RankError",
    "Recurrent",
    "RecursiveLeastSquares",
    "RowGradient",
    "ShapeError",
    "Standardizer",
    "Stream",
    "TensorDescriptor",
    "Trainer",
    "TrustError",
    "UnknownNameError",
    "Vocabulary",
    "accuracy",
    "compile",
    "constant",
    "cosine",
    "datasets",
    "dynamics",
    "elementary",
    "errors",
    "exponential",
    "extrapolate",
    "fit_many",
    "interop",
    "levenberg_marquardt",
    "load",
    "loss",
    "observed",
    "own_part",
    "padded",
    "plot",
    "reduce_on_plateau",
    "sample",
    "strips",
    "testing",
    "warmup",
    "windows",
]

MADE = (
    "Compiled", "Ensemble", "Gradients", "GraphStream", "LeastSquaresFit", "Parameters", "Predictions", "RowGradient",
    "Stream", "TensorDescriptor",
)  # fmt: skip

keywords.guard(
    globals(), __all__,
    untouched=("Cell", "GraphStream.step", "Stream.step", "elementary", "errors"),
    made=MADE,
)  # fmt: skip
written.know(
    globals(), sorted({*__all__} - {*MADE}), others=(Connectivity, Losses, OutputMetric, Vocabulary, *FUNCTIONS.values())
)


def __getattr__(name):
    if name == "cuda":  # imported when it is asked for: it takes Numba's CUDA target
        import numbarnn.cuda as cuda

        return cuda
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
