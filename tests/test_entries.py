"""Compiled code on disk: what is not as it was written is not loaded, and no folder's fault stops a run."""

import errno
import os
import pickle
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import types
from processes import environment, start

import numbarnn
from numbarnn.cpu.compiled import SOURCES
from numbarnn.engine import cache_folders
from numbarnn.engine import disk_cache as entries
from numbarnn.files import drafts

TANH = """
import numpy as np, numbarnn as nr
layer = nr.Activation("tanh")
print(float(layer(layer.init(channels=1), np.full((1, 1), 0.5, np.float32))[0, 0]))
"""
VALUE = f"{float(np.tanh(np.float32(0.5)))!r}"[:7]
NOTE = "numbarnn: compiling kernels"


class Folder:
    """Stands for the sources of the package."""

    stamp = 32 * "5"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder of its own for compiled code, in a process that has said nothing yet."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(entries, "_said", set())
    monkeypatch.setattr(cache_folders, "_swept", set())
    return tmp_path / "cache"


@pytest.fixture
def kept(root):
    """Entries, with one that was saved."""
    found = entries.Entries("kernel", Folder)
    found.save("key", CODE)
    return found


CODE = [bytes(range(256)) * 20, "code"]


def files(folder):
    """What lies in a folder and below."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def damaged(contents):
    """(what was done, the bytes after it), in many ways."""
    random = np.random.default_rng(0)
    for bit in random.choice(8 * len(contents), 100, replace=False):
        flipped = bytearray(contents)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(flipped)
    for byte in range(120):  # of what stands before the code, every one
        changed = bytearray(contents)
        changed[byte] ^= 0xFF
        yield f"byte {byte}", bytes(changed)
    for block in range(0, len(contents), 512):
        yield f"zeros from {block}", contents[:block] + bytes(len(contents[block : block + 512])) + contents[block + 512 :]
    for length in (*range(100), *range(100, len(contents), 97)):
        yield f"{length} bytes", contents[:length]
    yield "more bytes", contents + b"\0"
    yield "twice", contents + contents
    yield "other format", contents.replace(entries.MAGIC, b"numbarnn entry 0\n")
    yield "zeros", bytes(len(contents))


def test_what_is_not_as_it_was_written_is_never_unpickled(kept, root, monkeypatch):
    (path,) = files(root)
    contents = path.read_bytes()
    assert kept.load("key") == CODE
    with monkeypatch.context() as changed:
        changed.setattr(pickle, "loads", lambda data: pytest.fail("unpickled"))
        for how, wrong in damaged(contents):
            path.write_bytes(wrong)
            assert kept.load("key") is None, how
    kept.save("key", CODE)
    assert kept.load("key") == CODE and path.read_bytes() == contents


def test_an_entry_under_the_name_of_another_is_not_taken_for_it(kept, root):
    (path,) = files(root)
    other = path.with_name(kept.file_name("other key"))
    shutil.copy(path, other)
    assert kept.load("other key") is None and kept.load("key") == CODE


def test_code_that_cannot_be_loaded_is_a_miss(root):
    found = entries.Entries("kernel", Folder, dumps=lambda code: b"no pickle")
    found.save("key", CODE)
    assert len(files(root)) == 1 and found.load("key") is None


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "ENAMETOOLONG", "EIO", "ESTALE"])
@pytest.mark.parametrize("step", ["mkdir", "replace"])
def test_a_folder_that_takes_nothing_is_a_warning_once(root, monkeypatch, code, step):
    def fails(*args, **kwargs):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    found = entries.Entries("kernel", Folder)
    monkeypatch.setattr(os, step, fails)
    with pytest.warns(RuntimeWarning, match="each process compiles them again") as warned:
        found.save("key", CODE)
        found.save("other key", CODE)
    assert len(warned) == 1 and not files(root) and found.load("key") is None


def test_where_warnings_are_errors_it_is_a_line_on_stderr(root, monkeypatch, capsys):
    root.write_text("a file in the place of the folder")
    found = entries.Entries("kernel", Folder)
    with pytest.warns(RuntimeWarning):
        found.save("key", CODE)
    monkeypatch.setattr(entries, "_said", set())
    monkeypatch.setattr("warnings.filters", [("error", None, Warning, None, 0)])
    found.save("key", CODE)
    assert found.load("key") is None
    assert capsys.readouterr().err.startswith("numbarnn: compiled kernels are not kept")


def test_a_folder_in_the_place_of_an_entry(root):
    found = entries.Entries("kernel", Folder)
    (root / "numbarnn" / Folder.stamp / found.file_name("key")).mkdir(parents=True)
    with pytest.warns(RuntimeWarning):
        found.save("key", CODE)
    found.save("other key", CODE)
    assert found.load("key") is None and found.load("other key") == CODE and len(files(root)) == 1


def test_code_that_cannot_be_pickled_is_a_warning(root):
    found = entries.Entries("kernel", Folder)
    with pytest.warns(RuntimeWarning):
        found.save("key", lambda: None)
    assert not files(root)


def test_an_interruption_leaves_no_draft(root, monkeypatch):
    def interrupted(*paths):
        raise KeyboardInterrupt

    found = entries.Entries("kernel", Folder)
    with monkeypatch.context() as changed:
        changed.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            found.save("key", CODE)
    assert not files(root)
    found.save("key", CODE)
    assert found.load("key") == CODE


def test_drafts_without_a_writer_are_swept(root):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder, host, now = root / "numbarnn" / (32 * "a"), drafts.host(), time.time()
    folder.mkdir(parents=True)
    begun = {
        "a writer that has ended": f"{host}.{ended.pid}.a",
        "a writer that runs": f"{host}.{os.getpid()}.b",
        "another machine's": f"another.{ended.pid}.c",
        "another machine's, long ago": f"another.{os.getpid()}.d",
        "another machine's, but what is the number?": "another.e",
    }
    for what, name in begun.items():
        path = folder / f"kernel.nbc{drafts.DRAFT}{name}"
        path.write_bytes(b"draft")
        if "long ago" in what:
            os.utime(path, (now - 2 * cache_folders.ABANDONED,) * 2)
    entries.Entries("kernel", Folder).save("key", CODE)
    left = {what for what, name in begun.items() if list(folder.glob(f"*{name}"))}
    gone = {"another machine's, long ago"} | ({"a writer that has ended"} if hasattr(os, "fork") else set())
    assert left == begun.keys() - gone


def test_the_entries_of_sources_that_nobody_uses_are_swept(root, monkeypatch):
    now, folder = time.time(), root / "numbarnn"
    stamps = [f"{number:032x}" for number in range(20)]
    for name in (*stamps, "something else", f"{'0' * 31}"):
        (folder / name).mkdir(parents=True)
        (folder / name / "entry.nbc").write_bytes(b"entry")
    for number, name in enumerate(stamps):
        os.utime(folder / name, (now - 600 * number,) * 2)
    os.utime(folder / "something else", (0, 0))
    found = entries.Entries("kernel", Folder)
    found.save("key", CODE)
    left = {path.name for path in folder.iterdir()}
    kept = {Folder.stamp, *stamps[:7]}  # 8 folders, and what was used within the hour
    assert left == kept | {"something else", f"{'0' * 31}"}
    os.utime(folder / Folder.stamp, (now - 1e6,) * 2)
    assert found.load("key") == CODE
    assert (folder / Folder.stamp).stat().st_mtime > now - 10  # it has been used


def test_code_for_types_that_cannot_be_told_apart_is_not_kept():
    class Unkeepable(types.Opaque):
        keepable = False

    own = Unkeepable("own")
    assert entries.keepable((types.float32, types.Tuple((types.int64, types.float64))))
    assert entries.keepable(types.void(types.int64)) and not entries.keepable(types.void(own))
    assert not entries.keepable((types.float32, own)) and not entries.keepable((types.Tuple((types.int64, own)),))


# Where entries lie


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A package, a home and a temporary folder of its own, and no NUMBA_CACHE_DIR."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(entries, "_said", set())
    monkeypatch.setattr(cache_folders, "_swept", set())
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("package", "home", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(cache_folders, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path


def where(folder):
    """The folder's parts that hold entries."""
    return sorted({path.relative_to(folder).parts[0] for path in files(folder)} - {"package"} or {"package"})


def test_the_first_folder_that_takes_an_entry_has_it(places, monkeypatch):
    found = entries.Entries("kernel", Folder)
    found.save("beside the package", CODE)
    assert [path.parent for path in files(places)] == [places / "package" / "__pycache__" / "kernels" / Folder.stamp]
    os.rename(places / "package" / "__pycache__", places / "package" / "moved")
    (places / "package" / "__pycache__").write_text("nothing can be made here")
    found.save("in the home", CODE)
    assert files(places / "home")[0].parent == places / "home" / ".cache" / "numbarnn" / "kernels" / Folder.stamp
    monkeypatch.setenv("XDG_CACHE_HOME", str(places / "xdg"))
    found.save("in the named folder of caches", CODE)
    assert files(places / "xdg")[0].parent == places / "xdg" / "numbarnn" / "kernels" / Folder.stamp
    monkeypatch.setenv("XDG_CACHE_HOME", "relative, which counts nothing")
    assert found.load("in the home") == CODE
    monkeypatch.setenv("HOME", str(places / "nonexistent"))
    found.save("in the temporary folder", CODE)
    (temporary,) = files(places / "temporary")
    assert temporary.parents[1].name.startswith("numbarnn-") and not (places / "nonexistent").exists()
    if hasattr(os, "getuid"):
        assert stat.S_IMODE(temporary.parents[1].stat().st_mode) == 0o700
    (places / "package" / "__pycache__").unlink()
    os.rename(places / "package" / "moved", places / "package" / "__pycache__")
    assert found.load("beside the package") == found.load("in the temporary folder") == CODE  # all of them are read


def test_nowhere_at_all_is_a_warning(places, monkeypatch):
    monkeypatch.setattr(cache_folders, "PACKAGE", places / "archive.zip" / "numbarnn")
    monkeypatch.setattr(cache_folders, "_temporary", lambda: None)
    monkeypatch.setenv("HOME", str(places / "nonexistent"))
    found = entries.Entries("kernel", Folder)
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR"):
        found.save("key", CODE)
    assert found.load("key") is None and cache_folders.writable() is None and not files(places)


def test_the_working_folder_is_no_temporary_one(places, monkeypatch):
    monkeypatch.chdir(places)
    monkeypatch.setattr("tempfile.tempdir", os.getcwd())
    assert cache_folders._temporary() is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has lists of rights")
def test_code_is_never_loaded_from_where_others_can_write(places, monkeypatch):
    (places / "package" / "__pycache__").write_text("nothing can be made here")
    monkeypatch.setenv("HOME", "nowhere")
    found = entries.Entries("kernel", Folder)
    found.save("key", CODE)
    (folder,) = (places / "temporary").iterdir()
    assert found.load("key") == CODE
    for mode in (0o777, 0o770, 0o722):
        folder.chmod(mode)
        assert found.load("key") is None
        with pytest.warns(RuntimeWarning, match="can write into"), monkeypatch.context() as changed:
            changed.setattr(cache_folders, "candidates", lambda: [(folder, True)])
            entries._said.clear()
            found.save("other key", CODE)
    folder.chmod(0o700)
    assert found.load("key") == CODE and found.load("other key") is None
    (places / "temporary").chmod(0o777)  # without the sticky bit, others may put a folder of theirs in its place
    assert found.load("key") is None
    (places / "temporary").chmod(0o1777)
    assert found.load("key") == CODE
    folder.rename(places / "elsewhere")
    folder.symlink_to(places / "elsewhere")
    assert found.load("key") is None
    if os.getuid() == 0:
        folder.unlink()
        (places / "elsewhere").rename(folder)
        assert found.load("key") == CODE
        os.chown(folder, 65534, 65534)
        assert found.load("key") is None


# What an entry is made of


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """A function that gives the stamp of a copy of the package."""
    package = Path(numbarnn.__file__).parent

    def copied(name):
        shutil.copytree(package, tmp_path / name / "numbarnn", ignore=shutil.ignore_patterns("__pycache__"))
        return tmp_path / name / "numbarnn"

    def stamp(folder):
        monkeypatch.setattr(entries, "PACKAGE", folder)
        return entries.Sources(*SOURCES.folders).stamp

    return copied, stamp


def test_the_stamp_is_one_of_contents(copies):
    copied, stamp = copies
    one, other = copied("one"), copied("other")
    for path in other.rglob("*.py"):
        os.utime(path, (0, 0))
    at_first = stamp(one)
    assert at_first == stamp(other) == stamp(Path(numbarnn.__file__).parent)
    for name in ("cells/rnn.py", "cpu/recurrent.py", "engine/sizes.py"):
        edited = other / name
        text = edited.read_text()
        edited.write_text(f"{text}#")
        os.utime(edited, (0, 0))
        assert stamp(other) != at_first
        edited.write_text(text)
        assert stamp(other) == at_first
    (other / "cells" / "one_more.py").write_text("")
    assert stamp(other) != at_first


def test_an_edit_of_equal_length_and_time_is_seen(copies):
    copied, stamp = copies
    package = copied("one")
    path = package / "cells" / "elementary.py"
    before, times = stamp(package), path.stat()
    text = path.read_text()
    edited = text.replace("def exp(", "def exq(", 1)
    assert len(edited) == len(text) and edited != text
    path.write_text(edited)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert stamp(package) != before


def test_sources_that_change_after_the_import_keep_nothing(copies, monkeypatch, root):
    copied, _ = copies
    package = copied("one")
    monkeypatch.setattr(entries, "PACKAGE", package)
    imported = entries.Sources("cells")
    (package / "cells" / "rnn.py").write_text("edited = True")
    found = entries.Entries("kernel", imported)
    found.save("key", CODE)
    assert imported.stamp is None and found.load("key") is None and not root.exists()


def test_no_modules_to_be_seen_keep_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "PACKAGE", tmp_path)
    assert entries.Sources("cells", "cpu").stamp is None


# With a kernel


def both(*arguments, **variables):
    """What a fresh interpreter prints, and what it says on stderr."""
    process = start(*arguments, **variables)
    printed, said = process.communicate()
    assert process.returncode == 0, said
    assert printed.startswith(VALUE), printed
    return said


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with one kernel."""
    folder = tmp_path_factory.mktemp("kernels")
    said = both("-c", TANH, NUMBA_CACHE_DIR=str(folder))
    assert said == f"{NOTE} (once; they are kept in {folder / 'numbarnn'})\n"
    assert both("-c", TANH, NUMBA_CACHE_DIR=str(folder)) == ""
    return folder


def copy_of(folder, to):
    """A copy; the entry in it that is of the activation function."""
    shutil.copytree(folder, to)
    (path,) = (path for path in files(to) if path.name.startswith("cpu.elementwise."))
    return path


def test_a_damaged_kernel_is_compiled_again(compiled, tmp_path):
    path = copy_of(compiled, tmp_path / "copy")
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2 :] = bytes(len(contents) - len(contents) // 2)
    path.write_bytes(contents)
    assert NOTE in both("-c", TANH, NUMBA_CACHE_DIR=str(tmp_path / "copy"))
    assert both("-c", TANH, NUMBA_CACHE_DIR=str(tmp_path / "copy")) == ""


def test_a_zip_file_runs_with_the_kernels_of_the_same_sources(compiled, tmp_path):
    package = Path(numbarnn.__file__).parent
    with zipfile.ZipFile(tmp_path / "numbarnn.zip", "w") as archive:
        for path in (*package.rglob("*.py"), *package.rglob("*.csv")):
            archive.write(path, Path("numbarnn") / path.relative_to(package))
    program = f"{TANH}assert '.zip' in nr.__file__; assert len(nr.datasets.sunspots()[0]) == 309"
    variables = environment(NUMBA_CACHE_DIR=str(compiled)) | {"PYTHONPATH": str(tmp_path / "numbarnn.zip")}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.startswith(VALUE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_file_that_cannot_grow_stops_nothing(tmp_path):
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as on a full disk: the write fails in the middle
{TANH}
"""
    said = both("-c", program, NUMBA_CACHE_DIR=str(tmp_path))
    assert said.count("each process compiles them again") == 1 and not files(tmp_path)


# Takes from root its right to pass over modes.  Another user could not read a virtual environment that is root's alone.
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def rights_can_be_taken():
    if getattr(os, "getuid", lambda: 1)() != 0 or not shutil.which("setpriv"):
        return False
    return subprocess.run([*WITHOUT_RIGHTS, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not rights_can_be_taken(), reason="takes root and setpriv")
def test_a_package_that_nobody_can_write_to(compiled, tmp_path):
    """A kernel beside the package is used as it is; without one, and without any other folder, all is compiled anew."""
    package = tmp_path / "installed" / "numbarnn"
    shutil.copytree(Path(numbarnn.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(compiled / "numbarnn", package / "__pycache__" / "kernels")
    subprocess.run(["chmod", "-R", "a-w", package], check=True)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    nowhere = f"import tempfile; tempfile.tempdir = {str(closed)!r}\n"

    def without_rights(program):
        variables = environment(HOME=str(closed)) | {"PYTHONPATH": str(package.parent)}
        for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
            variables.pop(name, None)
        command = [*WITHOUT_RIGHTS, sys.executable, "-c", program]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(VALUE)
        return done.stderr

    assert without_rights(nowhere + TANH) == ""
    subprocess.run(["chmod", "-R", "u+w", package], check=True)
    shutil.rmtree(package / "__pycache__")
    subprocess.run(["chmod", "-R", "a-w", package], check=True)
    said = without_rights(nowhere + TANH)
    assert "anew in each process" in said and said.count("each process compiles them again") == 1


def test_a_relative_folder_stays_the_same_wherever_the_program_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "kept")
    before = cache_folders.candidates()
    monkeypatch.chdir(tmp_path)
    assert cache_folders.candidates() == before and before[0][0].is_absolute()
