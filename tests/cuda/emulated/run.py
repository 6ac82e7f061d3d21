"""Runs a Python program on an emulated GPU: ``python tests/cuda/emulated/run.py -m pytest tests/cuda``.

Kernels are compiled for a GPU, linked as for a GPU, and run on this processor (x86-64), several blocks at once: what Numba's
simulator, which runs Python, cannot show.  It takes gcc, numba-cuda, libnvvm, nvJitLink and NVRTC; neither a GPU nor CuPy.
The exit status is 77 where one of these is missing.

Environment: NUMBARNN_EMULATOR, a folder for compiled code; NUMBARNN_EMULATOR_SEED, of the order in which blocks and threads
run (1 unless given), 0 for one after the other.
"""

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOT_HERE = 77  # the exit status that says so
LIBRARIES = ("nvvm", "nvJitLink", "nvrtc")


def missing():
    """What this machine lacks, or None."""
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux":
        return f"Linux on x86-64; this is {sys.platform} on {platform.machine()}"
    if shutil.which("gcc") is None:
        return "gcc"
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda"
    from cuda import pathfinder

    for name in LIBRARIES:
        try:
            pathfinder.load_nvidia_dynamic_lib(name)
        except Exception as error:
            return f"lib{name} ({type(error).__name__})"
    return None


def main():
    """Build the driver, and become the program, which finds it."""
    if len(sys.argv) < 2:
        print(f"usage: {sys.argv[0]} FILE WORD ..., or -m MODULE WORD ...", file=sys.stderr)
        return 2
    if lacks := missing():
        print(f"not emulated, what is missing: {lacks}")
        return NOT_HERE
    from emulator import build

    own = Path(tempfile.gettempdir()) / f"numbarnn-emulator-{os.getuid()}"
    library = build(os.environ.get("NUMBARNN_EMULATOR") or own)
    for name, folder in (("LD_LIBRARY_PATH", library.parent), ("PYTHONPATH", HERE / "site")):
        os.environ[name] = os.pathsep.join([str(folder), *filter(None, [os.environ.get(name)])])
    os.environ.update(NUMBARNN_EMULATED=str(library), NUMBARNN_GPU="1")
    os.environ.pop("NUMBA_ENABLE_CUDASIM", None)
    sys.stdout.flush()
    return os.execv(sys.executable, [sys.executable, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
