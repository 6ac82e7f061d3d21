"""One process compiles and the others wait: whatever happens to it, they go on, and nobody waits in a circle."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import numba
import pytest
from processes import environment
from test_entries import CODE, Folder

from numbarnn.engine import cache_folders, disk_cache, locks

WAITING = "numbarnn: waiting for another process that compiles the same kernels\n"


@pytest.fixture
def entries(tmp_path, monkeypatch):
    """Entries in a folder of their own, in a process that has said nothing yet."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(disk_cache, "_said", set())
    return disk_cache.Entries("kernel", Folder)


@pytest.fixture
def no_waiting(monkeypatch):
    """A test in which whoever waits fails."""
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: pytest.fail("waited"))


def left(folder):
    """The files in a folder and below that are no entries."""
    return [path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".nbc"]


# Processes


class Process(subprocess.Popen):
    """`small_kernel` in a process of its own, with a folder for compiled code; `before` is done there first."""

    def __init__(self, folder, *arguments, before=""):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        program = f"import small_kernel\n{before}\nsmall_kernel.main()"
        settings = environment(NUMBA_CACHE_DIR=str(folder))
        super().__init__([sys.executable, "-c", program, *arguments], env=settings, text=True, **pipes)

    def compiles(self):
        """Wait until it compiles; itself."""
        assert self.stdout.readline() == "compiles\n"
        return self

    def waits(self):
        """Wait until it says that it waits; itself."""
        assert self.stderr.readline() == WAITING
        return self

    def goes_on(self):
        """Let one that waits for its input compile to the end; what it prints."""
        printed, said = self.communicate("\n")
        assert self.returncode == 0, said
        return printed


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def test_one_compiles_and_the_others_wait(folder):
    owner = Process(folder, "waits").compiles()
    others = [Process(folder).waits() for _ in range(2)]
    assert owner.goes_on() == "15.0 True\n"
    assert [other.goes_on() for other in others] == ["15.0 False\n"] * 2
    assert not left(folder)


def test_an_owner_that_is_killed_is_followed_by_one_other(folder):
    owner = Process(folder, "waits").compiles()
    others = [Process(folder).waits() for _ in range(2)]
    owner.kill()
    owner.communicate()
    printed = sorted(other.goes_on() for other in others)
    assert printed == ["15.0 False\n", "compiles\n15.0 True\n"]
    assert not left(folder)


def test_an_owner_that_does_nothing_is_waited_for_so_long_and_no_longer(folder):
    owner = Process(folder, "waits").compiles()
    impatient = "from numbarnn.engine import locks; locks.PATIENCE = 0.1"
    assert Process(folder, before=impatient).waits().goes_on() == "compiles\n15.0 True\n"
    assert owner.goes_on() == "15.0 True\n"
    assert Process(folder).goes_on() == "15.0 False\n" and not left(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="takes fork")
def test_a_child_of_a_killed_owner_keeps_nothing_locked(folder):
    """The child lives on after its parent, as one of a pool of processes may."""
    forking = """
import os, sys
begins = small_kernel.Compilation.on_start
def fork_and_begin(self, event):
    if not self.begun:
        forked, tell = os.pipe()
        if os.fork() == 0:
            os.write(tell, b"!")
            sys.stdin.read()
            os._exit(0)
        os.read(forked, 1)  # until the child is past what follows a fork
    begins(self, event)
small_kernel.Compilation.on_start = fork_and_begin
"""
    owner = Process(folder, "waits", before=forking).compiles()
    (path,) = left(folder)
    assert locks.Lock.taken(path) is None
    owner.kill()
    owner.wait()
    locks.Lock.taken(path).release()
    owner.communicate()  # which ends the child


FUNCTIONS = """
import sys
from numba.core import event
from small_kernel import Compilation
from numbarnn.cpu import compiled
from numbarnn.cpu.compiled import Function, compile_together

compiled.usable = lambda: 2

@Function
def small(record):
    print(record)

@Function
def other(record):
    print(2 * record)

def together():
    event.register("numba:run_pass", Compilation())
    compile_together((small,), (other,))
    print([found.cache_hits for each in (small, other) for found in each.compiled.values()])
"""


def test_processes_share_what_is_to_be_compiled(folder, tmp_path_factory):
    """The second takes what the first has not begun, then waits for what it has."""
    path = tmp_path_factory.mktemp("module")
    (path / "functions.py").write_text(FUNCTIONS)

    class Sharing(Process):
        def __init__(self, *arguments):
            super().__init__(folder, *arguments, before=f"import sys; sys.path.append({str(path)!r}); import functions\n"
                             "small_kernel.main = functions.together")  # fmt: skip

    first = Sharing("waits").compiles()
    second = Sharing().compiles()
    assert "compiling kernels" in second.stderr.readline()
    second.waits()
    assert first.goes_on() == "[0, 1]\n" and second.goes_on() == "[1, 0]\n"
    assert Sharing().goes_on() == "[1, 1]\n" and not left(folder)


def test_what_others_compile_is_taken_until_it_is_there(entries):
    assert not entries.is_taken("key")
    with entries.turn("key"):
        assert entries.is_taken("key") and not entries.is_taken("other key")
        entries.save("key", CODE)
        assert not entries.is_taken("key")
    assert not entries.is_taken("key") and not left(numba.config.CACHE_DIR)


# Threads


def test_a_thread_waits_for_another(entries):
    turns, begun = [], threading.Event()

    def first():
        with entries.turn("key"):
            begun.set()
            turns.append(entries.load("key"))
            assert locks._mine.count == 1
            second.start()
            while "waits" not in disk_cache._said:
                pass
            entries.save("key", CODE)

    def follow():
        begun.wait()
        with entries.turn("key"):
            turns.append(entries.load("key"))
            assert locks._mine.count == 0

    second = threading.Thread(target=follow)
    first()
    second.join()
    assert turns == [None, CODE] and not left(numba.config.CACHE_DIR)


def test_entries_in_different_order_are_no_circle(entries, no_waiting):
    both, done = threading.Barrier(2), []

    def work(*keys):
        with entries.turn(keys[0]):
            both.wait()
            with entries.turn(keys[1]):
                done.append(keys)
                both.wait()

    threads = [threading.Thread(target=work, args=keys) for keys in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [("a", "b"), ("b", "a")]


def test_a_thread_that_must_not_wait_does_not(entries, no_waiting):
    def other():
        with entries.turn("key", wait=False):
            assert locks._mine.count == 0

    with entries.turn("key"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert not left(numba.config.CACHE_DIR)


# What may be wrong


def test_a_compilation_that_fails_unlocks(entries, no_waiting):
    with pytest.raises(ZeroDivisionError), entries.turn("key"):
        raise ZeroDivisionError
    with entries.turn("key"):
        assert locks._mine.count == 1
    assert locks._mine.count == 0 and not locks._open and not left(numba.config.CACHE_DIR)


@pytest.mark.parametrize("code", ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL"])
def test_a_file_system_without_locks(entries, no_waiting, monkeypatch, code):
    def fails(*args):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    monkeypatch.setattr(locks, "_lock", fails)
    with entries.turn("key"):
        entries.save("key", CODE)
    assert entries.load("key") == CODE and not locks._open


@pytest.mark.parametrize("code", ["EROFS", "EACCES", "ENOSPC", "ENAMETOOLONG"])
@pytest.mark.parametrize("step", ["open", "mkdir"])
def test_a_folder_without_room_for_a_lock(entries, no_waiting, monkeypatch, code, step):
    def fails(*args, **kwargs):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    with monkeypatch.context() as changed:
        changed.setattr(os, step, fails)
        with entries.turn("key"):
            assert locks._mine.count == 0


def test_no_folder_at_all(entries, no_waiting, monkeypatch):
    monkeypatch.setattr(cache_folders, "writable", lambda: None)
    with entries.turn("key"):
        assert locks._mine.count == 0


def test_a_system_without_locks(entries, no_waiting, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", None)
    with entries.turn("key"):
        assert locks._mine.count == 0


def test_what_is_there_is_not_locked(entries, no_waiting, monkeypatch):
    entries.save("key", CODE)
    monkeypatch.setattr(locks.Lock, "taken", lambda path: pytest.fail("locked"))
    with entries.turn("key"):
        assert entries.load("key") == CODE


def test_a_lock_that_its_owner_has_removed_is_none(tmp_path, monkeypatch):
    path, lock = str(tmp_path / "lock"), locks._lock

    def too_late(descriptor):
        os.unlink(path)  # by the owner before, after this process has opened it
        return lock(descriptor)

    with monkeypatch.context() as changed:
        changed.setattr(locks, "_lock", too_late)
        assert locks.Lock.taken(path) is None
    taken = locks.Lock.taken(path)
    assert locks.Lock.taken(path) is None
    taken.release()
    assert not os.listdir(tmp_path) and not locks._open
