"""What the modules above ask of a GPU, under the names that `cpu` has too."""

from . import arrays as memory
from . import (
    dense,
    elementwise,
    embedding,
    launch,
    losses,
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
