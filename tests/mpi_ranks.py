"""Runs the scenarios of mpi_scenarios.py and mpi_sharing.py under mpiexec: each rank writes what it has found to a file."""

import faulthandler
import functools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mpi_scenarios import COUNT
from processes import environment

SIZES = (1, 2, 4)
MPIEXEC = next(filter(None, map(shutil.which, (str(Path(sys.executable).parent / "mpiexec"), "mpiexec"))), None)
WHOLE = slice(0, COUNT)
OPEN_MPI = {  # what it asks for before it runs as root, or more ranks than there are cores; others do not know it
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def launch(size, *arguments):
    """An interpreter on so many ranks, a thread each, at its end."""
    variables = OPEN_MPI | {"NUMBA_NUM_THREADS": "1"}
    command = [MPIEXEC, "-n", str(size), sys.executable, *arguments]
    return subprocess.run(command, env=environment(**variables), capture_output=True, text=True, timeout=600)


@functools.cache
def found(size):
    """What each rank has found in every scenario."""
    with tempfile.TemporaryDirectory() as folder:
        ended = launch(size, __file__, folder)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(size)]


if __name__ == "__main__":
    faulthandler.dump_traceback_later(200, exit=True)  # ranks that wait for each other would do so forever
    import mpi_scenarios
    import mpi_sharing
    from mpi4py import MPI

    import numbarnn as nr

    world = MPI.COMM_WORLD
    scenarios = mpi_scenarios.SCENARIOS | mpi_sharing.SCENARIOS
    answers = {name: scenario(world, nr.own_part(COUNT, world)) for name, scenario in scenarios.items()}
    (Path(sys.argv[1]) / f"{world.rank}.json").write_text(json.dumps(answers))
