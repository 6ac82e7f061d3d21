"""What the modules above ask of the CPU, under the names that `cuda` has too."""

from . import (
    dense,
    elementwise,
    embedding,
    launch,
    losses,
    memory,
    normalized,
    optimizers,
    plans,
    programs,
    recurrent,
    threads,
    unpack,
)

__all__ = [
    "dense",
    "elementwise",
    "embedding",
    "launch",
    "losses",
    "memory",
    "normalized",
    "optimizers",
    "plans",
    "programs",
    "recurrent",
    "threads",
    "unpack",
]
