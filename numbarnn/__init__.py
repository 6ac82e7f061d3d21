"""Recurrent networks for scientific Python, compiled by Numba."""

from .descriptor import TensorDescriptor
from .layers.recurrent import GRU, LSTM, RNN
from .parameters import Parameters

__all__ = ["GRU", "LSTM", "RNN", "Parameters", "TensorDescriptor"]
