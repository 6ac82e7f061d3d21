"""How many processors this process may really use: fewer than there are, in a container, a batch job or a worker.

What users set for Numba, ``NUMBA_NUM_THREADS`` and ``numba.set_num_threads``, is not looked at here.
"""

import math
import os
import re
import sys
import threading
from pathlib import PurePosixPath
from time import monotonic

from ..messages import warn

VARIABLES = ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT")  # joblib's and Dask's worker processes are given the first
AGAIN = 0.1  # seconds until the affinity, which may change, is looked up again: a call of the system each time is too much
PERIOD = 100_000  # microseconds over which Linux counts a quota, unless its file says otherwise


class _Seen(threading.local):
    """What the last look said, and until when it holds: of each thread, as affinity belongs to threads."""

    count, until = 1, -math.inf


_seen = _Seen()
_fixed = None  # what the environment and the quota say, once they have been asked


def usable():
    """How many processors the process may use, at least 1: the least of what `limits` finds.

    It is asked before every call of a kernel, so it mostly answers what it has found before.  Environment and quota are read
    once, and again after a fork; affinity at most every `AGAIN` seconds.

    Examples
    --------
    >>> 1 <= usable() <= os.cpu_count()
    True
    """
    if monotonic() >= _seen.until:
        _seen.count = min(limits().values())
        _seen.until = monotonic() + AGAIN
    return _seen.count


def limits():
    """What each source says, those that set no limit left out.

    ``"affinity"``: the processors that the calling thread may run on, or where no such thing is known, all there are.
    ``"quota"``: the share of all processors that the process's control groups may use, in whole processors.
    `VARIABLES`: the environment's numbers of threads.
    ``"joblib"``: 1 in a job of joblib's multiprocessing backend.

    Returns
    -------
    dict of str to int

    Examples
    --------
    >>> limits()["affinity"] >= 1
    True
    """
    global _fixed
    if _fixed is None:
        _fixed = in_environment(os.environ) | in_groups(_text)
    found = {"affinity": _affinity(), **_fixed}
    if "OMP_NUM_THREADS" not in found and _is_one_of_many_jobs():
        found["joblib"] = 1
    return found


def _affinity():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_one_of_many_jobs():
    """Whether joblib runs this process beside others without a word on how many threads each may have.

    Its loky backend gives each worker process a share by the environment; in the multiprocessing backend a job can only see
    that it is one.  Jobs of the threading backend need no limit: one of a process's Python threads computes at a time.
    joblib is not imported for it.
    """
    active_backend = getattr(sys.modules.get("joblib.parallel"), "get_active_backend", None)
    if active_backend is None:
        return False
    from multiprocessing import parent_process  # joblib has imported it

    return parent_process() is not None and (getattr(active_backend()[0], "nesting_level", 0) or 0) > 0


def in_environment(variables):
    """{name: number} of the `VARIABLES` that hold a number of threads; others are ignored with a warning.

    Parameters
    ----------
    variables : mapping of str to str

    Examples
    --------
    >>> in_environment({"OMP_NUM_THREADS": "4,2"})
    {'OMP_NUM_THREADS': 4}
    """
    found = {}
    for name in VARIABLES:
        text = variables.get(name, "").strip()
        if text:
            numbers = [part.strip() for part in text.split(",")]  # OpenMP's list: one number for each level of nesting
            if all(re.fullmatch(r"\+?0*[1-9][0-9]{0,8}", number, re.ASCII) for number in numbers):
                found[name] = int(numbers[0])
            else:
                warn(f"{name}: expected a whole number from 1 on, got {text!r}; it is ignored")
    return found


def in_groups(text):
    """{"quota": processors} of the process's control groups (cgroups of Linux), empty without a quota.

    The least of the process's own group and of all that contain it; a fraction of a processor counts as a whole one.

    Parameters
    ----------
    text : callable
        The contents of the file of that name, or None.

    Examples
    --------
    A container's process, in the second version of control groups:

    >>> files = {
    ...     "/proc/self/cgroup": "0::/",
    ...     "/proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw",
    ...     "/sys/fs/cgroup/cpu.max": "150000 100000",
    ... }
    >>> in_groups(files.get)
    {'quota': 2}
    """
    folders = group_folders(text("/proc/self/cgroup") or "", text("/proc/self/mountinfo") or "")
    counts = [count for folder in folders if (count := _quota(folder, text)) is not None]
    return {"quota": min(counts)} if counts else {}


def group_folders(groups, mounts):
    """The folders of the control groups that may limit the process's time: its own first, then those that contain it.

    Parameters
    ----------
    groups : str
        As in ``/proc/self/cgroup``.
    mounts : str
        As in ``/proc/self/mountinfo``.

    Returns
    -------
    list of str

    Examples
    --------
    >>> group_folders("2:cpu,cpuacct:/job/step", "30 23 0:26 /job /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct")
    ['/sys/fs/cgroup/cpu/step', '/sys/fs/cgroup/cpu']
    """
    paths = {}  # of the process, in the hierarchies of both versions
    for line in groups.splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if (number, controllers) == ("0", ""):
            paths["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            paths["cgroup"] = path
    found = []
    for kind, path in paths.items():
        places = list(_mounted(kind, mounts))
        around = [(point, _below(root, path)) for root, point in places if _below(root, path) is not None]
        # A path that no mount holds is written as seen from outside of a container, whose root is its own group.
        for point, inside in around or [(point, ".") for _, point in places]:
            steps = [PurePosixPath(inside), *PurePosixPath(inside).parents]
            found += [str(PurePosixPath(point) / step) for step in steps]
    return list(dict.fromkeys(found))


def _mounted(kind, mounts):
    """(group at its root, mount point) of each hierarchy of that kind that holds the processors' controller."""
    for line in mounts.splitlines():
        place, _, source = line.partition(" - ")
        fields, (name, *options) = place.split(), source.split() or [""]
        if name == kind and len(fields) > 4 and (kind == "cgroup2" or "cpu" in options[-1].split(",")):
            yield tuple(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field) for field in fields[3:5])


def _below(root, path):
    """A group's path as seen from a group that contains it, or None if that one does not."""
    group = PurePosixPath(path)
    if ".." in group.parts or not group.is_relative_to(root):
        return None
    return str(group.relative_to(root))


def _quota(folder, text):
    """Processors that one group may use, or None without a limit."""
    if (both := text(f"{folder}/cpu.max")) is None:
        both = f"{text(f'{folder}/cpu.cfs_quota_us')} {text(f'{folder}/cpu.cfs_period_us') or PERIOD}"
    try:
        quota, period = map(int, (both.split() + [PERIOD])[:2])
    except ValueError:  # "max", or there is no file
        return None
    return max(1, -(-quota // period)) if quota > 0 and period > 0 else None


def _text(path):
    """The contents of a file, or None if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return None


def _after_fork():
    """In a forked process: all is looked up again, as it may have been put into another group."""
    global _fixed, _seen
    _fixed, _seen = None, _Seen()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
