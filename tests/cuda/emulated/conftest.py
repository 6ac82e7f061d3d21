"""The tests of the emulator run in it: ``python tests/cuda/emulated/run.py -m pytest tests/cuda/emulated``."""

import os

collect_ignore = ["host_code.py", "run.py", "emulator.py", "site"]
if "NUMBARNN_EMULATED" not in os.environ:
    collect_ignore += ["test_clusters.py", "test_duals.py", "test_emulator.py"]
