"""What the modules above ask of a GPU, under the names that `cpu` has too."""

from . import arrays as memory
from . import (
    checks,
    convolution,
    dense,
    elementwise,
    embedding,
    exponentials,
    gaps,
    launch,
    losses,
    normalized,
    optimizers,
    plans,
    pooling,
    programs,
    recurrent,
    threads,
    unpack,
)

__all__ = [
    "checks",
    "convolution",
    "dense",
    "elementwise",
    "embedding",
    "exponentials",
    "gaps",
    "launch",
    "losses",
    "memory",
    "normalized",
    "optimizers",
    "plans",
    "pooling",
    "programs",
    "recurrent",
    "threads",
    "unpack",
]
