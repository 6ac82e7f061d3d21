"""What the modules above ask of the CPU, under the names that `cuda` has too."""

from . import (
    convolution,
    dense,
    elementwise,
    embedding,
    launch,
    losses,
    memory,
    normalized,
    optimizers,
    plans,
    pooling,
    programs,
    recurrent,
    sampling,
    threads,
    unpack,
)

__all__ = [
    "convolution",
    "dense",
    "elementwise",
    "embedding",
    "launch",
    "losses",
    "memory",
    "normalized",
    "optimizers",
    "plans",
    "pooling",
    "programs",
    "recurrent",
    "sampling",
    "threads",
    "unpack",
]
