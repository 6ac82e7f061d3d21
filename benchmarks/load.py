"""The load besides a benchmark: how many processors work for anybody else while it runs."""

import os
import time
from pathlib import Path

LIMIT = 0.5  # a table of times is not saved above it
SAMPLE = 1.0  # seconds without any work of ours, before and after
PROC = Path("/proc")


class Load:
    """The load before, during and after a benchmark, besides what it does itself; made right before it begins.

    Where others wait for processors that the benchmark holds, they get less done, and the load during it is underestimated.
    That is what the samples before and after it are for.  Linux only: elsewhere it is the system's load average, before.

    Attributes
    ----------
    before, during, after : float or None
        Processors at work for others, hypervisors included; None before it is known, and where it cannot be known.
    """

    def __init__(self):
        self.before, self.during, self.after, self._mark = self._sample(), None, None, _mark()

    def _sample(self):
        if _mark() is None:
            return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        mark = _mark()
        time.sleep(SAMPLE)
        return _besides(mark, _mark())

    def end(self):
        """Note what was and is; called right after the benchmark, before anything of its own goes on."""
        if self._mark is not None:
            self.during, self.after = _besides(self._mark, _mark()), self._sample()

    @property
    def most(self):
        """The most of what is known, or None."""
        return max((each for each in (self.before, self.during, self.after) if each is not None), default=None)

    @property
    def refuses(self):
        """Why no table of times should be kept, or None."""
        if self.most is None or self.most <= LIMIT:
            return None
        return f"a load of {self.most:.2f} besides the benchmark, expected at most {LIMIT}"

    def as_dict(self):
        """What is known, rounded."""
        names = ("before", "during", "after")
        return {name: round(value, 3) for name in names if (value := getattr(self, name)) is not None}

    def __str__(self):
        if self.most is None:
            return "load besides the benchmark not known"
        return "load besides the benchmark " + ", ".join(f"{value:.2f} {name}" for name, value in self.as_dict().items())


def _mark():
    """(time, seconds that all processors have worked, seconds of our processes), or None where Linux does not say so."""
    try:
        first, tick = (PROC / "stat").read_text().split("\n", 1)[0], os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal: steal is what other guests of the hypervisor have taken
    numbers = [int(word) for word in first.split()[1:9]]
    return time.monotonic(), (sum(numbers) - numbers[3] - numbers[4]) / tick, _ours() / tick


def _ours():
    """Clock ticks of this process, of all that it has waited for, and of its descendants that run."""
    parents, ticks = {}, {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "stat").read_text().rpartition(")")[2].split()  # a name may hold anything
            except OSError:  # it has ended
                continue
            pid = int(folder.name)
            parents[pid], ticks[pid] = int(words[1]), sum(map(int, words[11:15]))
    ours, found = {os.getpid()}, set()
    while ours:
        found |= ours
        ours = {pid for pid, parent in parents.items() if parent in found} - found
    return sum(ticks.get(pid, 0) for pid in found)


def _besides(start, end):
    """Processors at work for others between two marks."""
    (t, all_, ours), (t_end, all_end, ours_end) = start, end
    return max(0.0, ((all_end - all_) - (ours_end - ours)) / (t_end - t))
