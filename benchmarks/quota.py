"""A share of the processors for some processes: by a control group of Linux where that is permitted, else by affinity."""

import contextlib
import math
import os
from pathlib import Path

from numbarnn.engine import processors

PERIOD = 100_000  # microseconds
NAME = "numbarnn-"  # of a group, before the number of the process that has made it


class Quota:
    """A context manager in which `hold` gives processes a share; those that have not ended at its end leave it.

    Parameters
    ----------
    share : float
        Processors that all of them together may use.

    Attributes
    ----------
    how : str
        ``"cgroup"`` or ``"affinity"``, which knows whole processors only.
    """

    def __init__(self, share):
        self.share = share

    def __enter__(self):
        self._group = _made(self.share)
        self.how = "affinity" if self._group is None else "cgroup"
        return self

    def hold(self, pid):
        """Put a process with all its threads under the quota; by affinity, only threads that it has not yet started."""
        if self._group is not None:
            (self._group / "cgroup.procs").write_text(str(pid))
        else:
            os.sched_setaffinity(pid, sorted(os.sched_getaffinity(pid))[: max(1, math.ceil(self.share))])

    def __exit__(self, *exception):
        if self._group is not None:
            for pid in (self._group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):  # it has ended by now
                    (self._group.parent / "cgroup.procs").write_text(pid)
            self._group.rmdir()


def _made(share):
    """The folder of a new group with a quota, or None where none may be made."""
    texts = [Path(f"/proc/self/{name}") for name in ("cgroup", "mountinfo")]
    if not all(text.exists() for text in texts):  # not Linux
        return None
    for folder in processors.group_folders(*(text.read_text() for text in texts)):
        _remove_left_behind(folder)
        group = Path(folder) / f"{NAME}{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            _limit(group, round(share * PERIOD))
            return group
        except OSError:  # a hierarchy without the processors' controller
            group.rmdir()
    return None


def _remove_left_behind(folder):
    """Remove the groups of processes that were killed and are gone."""
    for group in Path(folder).glob(f"{NAME}*"):
        if not Path("/proc", group.name.removeprefix(NAME)).exists():
            with contextlib.suppress(OSError):
                group.rmdir()


def _limit(group, microseconds):
    """Write the quota: these files are there, or it is an error."""
    if (group / "cpu.cfs_quota_us").exists():
        files = {"cpu.cfs_period_us": f"{PERIOD}", "cpu.cfs_quota_us": f"{microseconds}"}
    else:
        files = {"cpu.max": f"{microseconds} {PERIOD}"}
    for name, text in files.items():
        with open(group / name, "r+") as file:  # not to be made where it is missing
            file.write(text)
