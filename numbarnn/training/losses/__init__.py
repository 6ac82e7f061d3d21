"""Losses: one number from predictions and targets, and its exact derivative."""

from .binary import BinaryCrossEntropy
from .classes import CrossEntropy
from .differences import MAE, MSE, HalfMSE, Huber, is_of_squares
from .efficiency import NashSutcliffe
from .likelihoods import GaussianNLL, PoissonNLL
from .names import ALIASES, LOSSES, check_takes_weights, checked_result, compared, is_of_library, loss, takes_any
from .quantile import Quantile
from .targets import (
    check_weights,
    checked_target,
    checked_weights,
    count_labels,
    labelled_rows,
    rows_of_weights,
    takes_labels,
    target_channels,
)

__all__ = [
    "ALIASES",
    "LOSSES",
    "MAE",
    "MSE",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "GaussianNLL",
    "HalfMSE",
    "Huber",
    "NashSutcliffe",
    "PoissonNLL",
    "Quantile",
    "check_takes_weights",
    "checked_target",
    "check_weights",
    "checked_result",
    "checked_weights",
    "compared",
    "count_labels",
    "is_of_library",
    "is_of_squares",
    "labelled_rows",
    "loss",
    "rows_of_weights",
    "takes_any",
    "takes_labels",
    "target_channels",
]
