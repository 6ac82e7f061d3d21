"""Filling the cache of compiled kernels before they are needed."""

import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..arrays.descriptor import checked_dtype
from ..descriptions.summary import Summary
from ..engine import cache_folders
from ..engine.compilations import Compilation
from ..errors import known_name, positive_integer
from ..layers.base import Layer
from ..network import Network
from ..training.losses import loss as find_loss
from ..training.optimizer import Optimizer
from ..training.optimizers import optimizer as find_optimizer
from . import helpers
from .work import WORKS, Work


@dataclass(frozen=True)
class Compiled:
    """What `compile` has done: a prompt and a notebook show it as a table.

    Attributes
    ----------
    kernels : tuple
        What was compiled, each with ``name``, ``types``, ``seconds`` and ``file``, where it is kept or None.
    found : int
        How many kernels were on disk already; not those that this process had in use before.
    seconds : float
        From beginning to end.
    folder : pathlib.Path
        Where kernels are kept.
    """

    kernels: tuple[Compilation, ...]
    found: int
    seconds: float
    folder: Path

    def __repr__(self):
        lines = [str(self._summary())] if self.kernels else []
        kept = sum(kernel.file is not None for kernel in self.kernels)
        lines.append(
            f"{len(self.kernels)} kernels compiled in {self.seconds:.1f} s, {self.found} found; "
            f"{kept} of them are new in {self.folder}"
        )
        return "\n".join(lines)

    def _repr_html_(self):
        return self._summary()._repr_html_()

    def _summary(self):
        rows = [
            (
                kernel.name + (" (not kept)" if kernel.file is None else ""),
                re.sub(r"CellType\[(\w+) \w+\]", r"\1", kernel.types),
                f"{kernel.seconds:.1f} s",
            )
            for kernel in self.kernels
        ]
        return Summary.of([("kernel", "compiled for", "time"), *rows])


def compile(
    what: Network | Layer | Iterable[Network | Layer],
    channels: int | None = None,
    dtype: str | Iterable[str] | None = None,
    work: str = "both",
    loss: str | Callable | Iterable[str | Callable] = "mse",
    optimizer: str | Optimizer | Iterable[str | Optimizer] = "adam",
    jobs: int = 1,
) -> Compiled:
    """Compile, ahead of time, the kernels that a network or a layer needs, and keep them on disk.

    It does in small what a process does that uses them, predictions, a stream, a training step, and of a language model
    `sample`: kernels depend on the layer's kind, activation functions and dtype, and not on sizes.  Afterwards no process
    with the same folder, processor and versions compiles them.  Parameters stay as they are.  ``python -m
    numbarnn.compile`` does it from a command line.

    Parameters
    ----------
    what : Network, Layer, or several of them in a list
    channels : int, optional
        Channels of the input of a layer, 1 if None; a network has its own.
    dtype : {"float32", "float64"}, or both in a list, optional
        Of a network its own if None, of a layer float32.
    work : {"both", "inference", "training"}
        What the kernels are for.
    loss, optimizer
        As in `Network.fit`, one or several in a list, for training.
    jobs : int
        Processes that compile at the same time, each a network or layer in one dtype: more than one pays where there are
        several of these.

    Returns
    -------
    Compiled
        What was compiled, how long it took and where it is kept.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what was expected, or a loss or layer refuses the others.
    OSError
        If there is no folder to keep kernels in.
    RuntimeError
        If a process of several has failed.

    Examples
    --------
    >>> import numbarnn as nr
    >>> done = nr.compile(nr.Network([nr.Activation("tanh"), nr.Last()], channels=1), work="inference")
    >>> all(kernel.file.is_file() for kernel in done.kernels)
    True
    """
    start = time.perf_counter()
    known_name("work", work, WORKS)
    losses = _several("loss", loss, find_loss)
    optimizers = _several("optimizer", optimizer, find_optimizer)
    channels = None if channels is None else positive_integer("channels", channels)
    dtypes = (None,) if dtype is None else _several("dtype", dtype, lambda each: checked_dtype("dtype", each).name)
    works = [
        Work(each, channels, name, work, losses, optimizers)
        for each in _several("what", what, _described)
        for name in dtypes
    ]
    jobs = positive_integer("jobs", jobs)
    if jobs > 1 and getattr(sys, "frozen", False):
        raise ValueError(f"jobs: expected 1 in a frozen program, which has no Python to start, got {jobs}")
    folder = cache_folders.writable()
    if folder is None:
        raise OSError(
            "NUMBA_CACHE_DIR: expected a folder for compiled kernels that can be written, got none here or elsewhere"
        )
    lists = helpers.done(works, jobs) if jobs > 1 else [each.done() for each in works]
    all_found = [each for found in lists for each in found]
    kernels = tuple(each for each in all_found if not each.found)
    own = {(each.name, each.types) for each in kernels}
    found = {(each.name, each.types) for each in all_found if each.found} - own
    return Compiled(kernels, len(found), time.perf_counter() - start, folder)


def _several(argument, values, check):
    """The checked values of an argument that is one or several in a list: a tuple, each once."""
    found = [check(value) for value in (values if isinstance(values, (list, tuple, set, frozenset)) else (values,))]
    if not found:
        raise ValueError(f"{argument}: expected at least one, got none")
    return tuple(found)


def _described(what):
    """What is to be compiled, checked."""
    if not isinstance(what, (Network, Layer)):
        raise TypeError(f"what: expected a network or a layer, or several in a list, got {what!r} ({type(what).__name__})")
    return what
