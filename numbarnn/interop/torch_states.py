"""State dicts of PyTorch as arrays by name, out of dicts and files.

PyTorch itself is needed for ``.pt`` files alone.
"""

import os
from collections.abc import Mapping

import numpy as np

from ..errors import FileFormatError
from ..files.arrays import read_arrays


def needs_torch():
    """The module that imports PyTorch."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise ImportError("torch: expected PyTorch, which is not installed: see https://pytorch.org") from None
    from . import torch_modules

    return torch_modules


def read(source: object) -> dict[str, np.ndarray]:
    """The arrays of a state dict, by name.

    Parameters
    ----------
    source : dict, str or os.PathLike
        A dict of arrays or tensors, such as ``module.state_dict()``; or a file: ``.safetensors``, ``.npz``, or ``.pt`` and
        ``.pth`` of a state dict, which PyTorch reads with ``weights_only=True``.

    Returns
    -------
    dict of str to numpy.ndarray
        Of a dict views, where an array or tensor has memory that NumPy reads.

    Raises
    ------
    FileFormatError
        If the file is not what its name says, or was damaged; nothing in it is executed.
    TypeError
        If a part of the dict is no array.
    ImportError
        For a ``.pt`` file without PyTorch.
    """
    if not isinstance(source, Mapping):
        return _of_file(source)
    return {text("source", name): _array(f"source[{name!r}]", value) for name, value in source.items()}


def text(argument, name):
    """`name`, if it is text."""
    if not isinstance(name, str):
        raise TypeError(f"{argument}: expected a name, got {name!r} ({type(name).__name__})")
    return name


def _array(argument, value):
    """An array or a tensor in the host's memory as a NumPy array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) not in ("torch.float32", "torch.float64"):
            raise TypeError(f"{argument}: expected a tensor of float32 or float64, got {value.dtype}")
        return value.numpy()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{argument}: expected an array or a tensor, got {type(value).__name__}")
    return value


def _of_file(path):
    ending = os.path.splitext(path)[1] if isinstance(path, (str, os.PathLike)) else ""
    if ending not in (".pt", ".pth"):
        return read_arrays(path, "source")
    needs_torch()
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of its unpickler, and what that lets pass
        raise FileFormatError(f"{os.fspath(path)}: expected a state dict that PyTorch has saved ({error!s:.200})") from None
    if not isinstance(found, Mapping):
        raise FileFormatError(f"{os.fspath(path)}: expected a state dict, got {type(found).__name__}")
    return read(found)
