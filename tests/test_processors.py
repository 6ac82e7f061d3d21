"""How many processors a process may use: control groups as they are written, and a real affinity, quota, fork and job."""

import os
from pathlib import Path

import pytest
from processes import run

from numbarnn.engine import processors

ROOT = Path(__file__).parents[1]
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = "31 23 0:27 {root} /sys/fs/cgroup/cpu,cpuacct ro,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
OTHERS = "12:pids:/somewhere\n4:memory:/somewhere\n1:name=systemd:/somewhere\n"
MEMORY = "29 23 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n19 1 8:1 / / rw - ext4 /dev/root rw\n"


def quota(group, mounts, **files):
    """What a process of that group finds; names of files are those in /sys/fs/cgroup, or whole ones."""
    files = {str(Path("/sys/fs/cgroup", name)): text for name, text in files.items()}
    return processors.in_groups(
        {"/proc/self/cgroup": OTHERS + group, "/proc/self/mountinfo": MEMORY + mounts, **files}.get
    ).get("quota")


# -- control groups, second version


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("200001 100000", 3),
        ("1000 100000\n", 1),
        ("50000 25000", 2),
        ("300000", 3),
        ("max 100000\n", None),
        ("", None),
        ("0 100000", None),
        ("-1 100000", None),
        ("100000 0", None),
        ("many 100000", None),
    ],
)
def test_a_quota_in_processors(text, count):
    assert quota("0::/", V2, **{"cpu.max": text}) == count


def test_the_least_of_all_groups_around():
    files = {"a/b/c/cpu.max": "max 100000", "a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}
    assert quota("0::/a/b/c", V2, **files) == 3
    assert quota("0::/a/b/c", V2, **files | {"a/b/c/cpu.max": "100000 100000"}) == 1
    assert quota("0::/a/b/c", V2) is None
    assert quota("0::/other", V2, **files) is None


def test_a_group_that_lies_outside_of_the_container():
    """As seen after a process has moved out of its namespace's root: all that can be read is the root's own."""
    assert quota("0::/../other", V2, **{"cpu.max": "200000 100000", "other/cpu.max": "100000 100000"}) == 2


# -- control groups, first version


@pytest.mark.parametrize(("text", "count"), [("200000", 2), ("250000\n", 3), ("-1\n", None), ("1000", 1)])
def test_a_quota_of_the_first_version(text, count):
    files = {"cpu,cpuacct/job/cpu.cfs_quota_us": text, "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}
    assert quota("3:cpuacct,cpu:/job", V1.format(root="/"), **files) == count
    assert quota("3:cpuset:/job", V1.format(root="/"), **files) is None


def test_a_container_whose_group_is_named_as_on_the_host():
    """Docker without a namespace of groups: what is mounted is the container's group, not the hierarchy's root."""
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}
    files |= {"cpu,cpuacct/step/cpu.cfs_quota_us": "100000", "cpu,cpuacct/step/cpu.cfs_period_us": "100000"}
    mount = V1.format(root="/docker/0ab1")
    assert quota("3:cpu,cpuacct:/docker/0ab1", mount, **files) == 2
    assert quota("3:cpu,cpuacct:/docker/0ab1/step", mount, **files) == 1
    assert quota("3:cpu,cpuacct:/docker/0ab12", mount, **files) == 2  # no mount holds it: what is mounted is taken for it
    beside = "32 23 0:27 /docker/other /other rw - cgroup cgroup rw,cpu,cpuacct"
    other = {"/other/cpu.cfs_quota_us": "100000"}
    assert quota("3:cpu,cpuacct:/docker/0ab1", f"{mount}\n{beside}", **files, **other) == 2


def test_both_versions_at_once():
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "300000", "unified/cpu.max": "200000 100000"}
    both = f"{V1.format(root='/')}\n{V2.replace('/sys/fs/cgroup', '/sys/fs/cgroup/unified')}"
    assert quota("3:cpu,cpuacct:/\n0::/", both, **files) == 2


def test_a_mount_point_with_a_space():
    mount = V2.replace("/sys/fs/cgroup", r"/my\040groups")
    assert quota("0::/", mount, **{"/my groups/cpu.max": "100000 100000"}) == 1


@pytest.mark.parametrize("groups", ["", "0", "0::", "nonsense\n\n::\n"])
@pytest.mark.parametrize("mounts", ["", "-", " - ", "1 2 3 - cgroup2", "30 23 0:26 / /x rw -", V2])
def test_files_that_are_cut_short_set_no_limit(groups, mounts):
    assert processors.in_groups({"/proc/self/cgroup": groups, "/proc/self/mountinfo": mounts}.get) == {}
    assert processors.in_groups({}.get) == {}


# -- the environment


@pytest.mark.parametrize(
    ("text", "count"), [("4", 4), ("4,2", 4), (" 3 , 1 ", 3), ("+2", 2), ("007", 7), ("", None), ("  ", None)]
)
def test_a_number_in_the_environment(text, count):
    found = processors.in_environment({"OMP_NUM_THREADS": text, "LOKY_MAX_CPU_COUNT": "8"})
    assert found == {"OMP_NUM_THREADS": count, "LOKY_MAX_CPU_COUNT": 8} if count else {"LOKY_MAX_CPU_COUNT": 8}


@pytest.mark.parametrize("text", ["0", "-1", "many", "2.5", "4,", "4,0", "4 2", "0x4", "²", "9" * 99])
def test_nonsense_in_the_environment_is_ignored_and_said(text):
    with pytest.warns(RuntimeWarning, match="OMP_NUM_THREADS: expected a whole number from 1 on, got"):
        assert processors.in_environment({"OMP_NUM_THREADS": text}) == {}


# -- this machine


@pytest.fixture
def afresh(monkeypatch):
    """Nothing found yet, and no limit from the surroundings of the tests."""
    monkeypatch.setattr(processors, "_fixed", {})
    monkeypatch.setattr(processors, "_seen", processors._Seen())


def test_affinity_is_looked_up_again_but_not_at_every_call(afresh, monkeypatch):
    asked, now = [], 5.0
    monkeypatch.setattr(processors, "monotonic", lambda: now)
    monkeypatch.setattr(processors, "_affinity", lambda: asked.append(now) or 7 - len(asked))
    assert [processors.usable() for _ in range(3)] == [6, 6, 6]
    now += 0.9 * processors.AGAIN
    assert processors.usable() == 6
    now += 0.2 * processors.AGAIN
    assert [processors.usable() for _ in range(3)] == [5, 5, 5] and len(asked) == 2


def test_the_least_of_all_that_is_said(afresh, monkeypatch):
    monkeypatch.setattr(processors, "_affinity", lambda: 64)
    monkeypatch.setattr(processors, "_fixed", {"quota": 2, "OMP_NUM_THREADS": 4})
    assert processors.limits() == {"affinity": 64, "quota": 2, "OMP_NUM_THREADS": 4} and processors.usable() == 2


PROGRAM = """
import os, sys
from numbarnn.engine import processors
assert "joblib" not in sys.modules
"""
JOBS = """
import joblib
from numbarnn.engine import processors
with joblib.parallel_config({!r}{}):
    for found in joblib.Parallel(2)(joblib.delayed(processors.limits)() for _ in range(2)):
        print(found.get("OMP_NUM_THREADS"), found.get("joblib"))
assert "joblib" not in processors.limits()
"""
UNSET = {name: "" for name in processors.VARIABLES}


def test_workers_of_joblib_have_the_share_that_it_gives_them():
    """A process of its own: joblib's are started with its environment."""
    program = JOBS.format("loky", ", inner_max_num_threads=3")
    assert run("-c", program, LOKY_MAX_CPU_COUNT="2") == "3 None\n" * 2


@pytest.mark.parametrize(("backend", "found"), [("multiprocessing", "None 1\n"), ("threading", "None None\n")])
def test_jobs_of_joblib_that_are_not_told_their_share(backend, found):
    assert run("-c", JOBS.format(backend, ""), **UNSET) == found * 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="takes affinity")
def test_a_process_bound_to_one_processor():
    program = PROGRAM + (
        "before = len(os.sched_getaffinity(0))\nassert processors.limits()['affinity'] == before\n"
        "os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\nprint(processors.usable())\n"
    )
    assert run("-c", program, **UNSET) == "1\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="takes fork")
def test_a_forked_process_looks_again():
    program = PROGRAM + (
        "os.environ['OMP_NUM_THREADS'] = '1'\nassert processors.usable() == 1\n"
        "os.environ['OMP_NUM_THREADS'] = '1000'\nassert processors.usable() == 1\nsys.stdout.flush()\n"
        "if os.fork() == 0:\n    print(processors.limits()['OMP_NUM_THREADS'], flush=True)\n    os._exit(0)\nos.wait()\n"
    )
    assert run("-c", program, **UNSET) == "1000\n"


@pytest.mark.parametrize(("share", "count"), [(0.5, 1), (1.5, 2)])
def test_a_real_quota(share, count):
    """The kernel's own files, where this process may make a group."""
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("the benchmarks lie beside the tests, not in the package")
    program = PROGRAM + (
        "from benchmarks.quota import Quota\nwith Quota(float(sys.argv[1])) as held:\n"
        "    held.hold(os.getpid())\n    print(held.how, processors.limits().get('quota'))\n"
    )
    how, found = run("-c", program, str(share), **UNSET, PYTHONPATH=str(ROOT)).split()
    if how != "cgroup":
        pytest.skip("no control group may be made here")
    assert int(found) == count


@pytest.mark.parametrize(("numba", "omp", "count"), [("", "1", 1), ("3", "1", 3), ("", "1000", None), ("1", "", 1)])
def test_threads_that_share_work(numba, omp, count):
    """No more than processors, unless Numba's own variable says so."""
    program = """
import os, sys
del os.environ["NUMBA_NUM_THREADS"]
if sys.argv[1]:
    os.environ["NUMBA_NUM_THREADS"] = sys.argv[1]
from numbarnn.cpu import threads
print(threads.threads())
"""
    outside = [number for name, number in processors.limits().items() if name in ("affinity", "quota")]
    assert run("-c", program, numba, **UNSET | {"OMP_NUM_THREADS": omp}) == f"{count or min(outside)}\n"
