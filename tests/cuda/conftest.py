"""The GPU's tests run in Numba's simulator (NUMBA_ENABLE_CUDASIM=1), or on a GPU where NUMBARNN_GPU=1 asks for it.

They are a process of their own: in the simulator no kernel of this package is compiled for a GPU.
"""

import os

ASKED_FOR = any(os.environ.get(name, "0") not in ("", "0") for name in ("NUMBA_ENABLE_CUDASIM", "NUMBARNN_GPU"))
collect_ignore_glob = [] if ASKED_FOR else ["test_*.py"]
collect_ignore = ["check_cupy.py", "compile_kernels.py", "cell_kernels.py", "loops.py"]


def pytest_report_header():
    """Say what is left out."""
    if not ASKED_FOR:
        return "tests/cuda: not collected; NUMBA_ENABLE_CUDASIM=1 runs them in the simulator, NUMBARNN_GPU=1 on a GPU"
