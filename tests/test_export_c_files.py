"""The files of a network's C: what they hold, where they are written, and what is refused before anything is."""

import re
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from test_export_c import OwnLayer, made, needs_gcc

import numbarnn as nr


def test_hexadecimal_numbers_are_the_parameters(tmp_path):
    net = made([nr.Dense(2)], dtype="float64")
    net.params.flat[:4] = -0.0, 5e-324, np.finfo(np.float64).max, 0.1
    text = net.export_c(tmp_path)[1].read_text()
    table = re.search(r"layer0_weight_table\[6\] = \{(.*?)\}", text, re.S)[1]
    found = np.array([float.fromhex(each) for each in table.split(",")])
    assert found.tobytes() == net.split(net.params.flat)[0]["weight"].tobytes()


@needs_gcc
def test_a_header_of_another_export_and_fast_math_are_refused(tmp_path):
    header, source, _ = made([nr.GRU(4)], seed=0).export_c(tmp_path)
    for flag, expected in (("-ffast-math", "without -ffast-math"), ("-O2", "of two exports")):
        found = subprocess.run(["gcc", "-std=c99", flag, "-c", source, "-o", tmp_path / "o"], capture_output=True, text=True)
        assert found.returncode and expected in found.stderr
        made([nr.GRU(5)], seed=0).export_c(tmp_path / "other")
        header.write_text((tmp_path / "other" / "net.h").read_text())


def test_folders_are_made_and_old_files_replaced(tmp_path):
    paths = made([nr.GRU(4)], seed=0).export_c(tmp_path / "a" / "b", "amp")
    before = [path.read_bytes() for path in paths]
    assert [path.name for path in paths] == ["amp.h", "amp.c", "amp.f90"]
    again = made([nr.GRU(4)], seed=0).export_c(str(tmp_path / "a" / "b"), "amp")
    assert again == paths and [path.read_bytes() for path in paths] == before
    assert made([nr.GRU(4)], seed=1).export_c(tmp_path / "a" / "b", "amp") == paths
    assert [path.read_bytes() for path in paths] != before
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["amp.c", "amp.f90", "amp.h"]


@dataclass(frozen=True, repr=False)
class DrivenLayer(OwnLayer):
    """A layer with a `driven` of its own."""

    def driven(self, *args):
        return super().driven(*args)


@dataclass(frozen=True, repr=False)
class PreparingLayer(OwnLayer):
    """A layer with a `prepare` of its own."""

    def prepare(self, chain, p, keep):
        return super().prepare(chain, p, keep)


@pytest.mark.parametrize(
    "layers, place, said",
    [
        ([nr.Dense(2), nr.GRU(3, bidirectional=True)], 1, "one direction"),
        ([nr.GRU(3), nr.Dense(2), nr.Pool("mean")], 2, "takes one step after the other"),
        ([nr.Conv2d(2, 2, shape=(1, 2, 2)), nr.GRU(3)], 0, "takes one step after the other"),
        ([DrivenLayer(3)], 0, "a method driven of its own"),
        ([nr.Dense(6), PreparingLayer(3)], 1, "cell reads its input as it is, got PreparingLayer"),
    ],
    ids=repr,
)
def test_what_takes_no_steps_is_named_and_nothing_written(tmp_path, layers, place, said):
    net = nr.Network(layers, channels=4)
    with pytest.raises(nr.ConversionError, match=rf"layers\[{place}\]: expected .*{said}.*"):
        net.export_c(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    "name",
    ["", "2net", "a-b", "_net", "n.c", "net\n", "Ünet", "x" * 49, "int", "Class", "math", "STRING", None, 3, b"net"],
    ids=repr,
)
def test_names_that_are_none(tmp_path, name):
    with pytest.raises(ValueError if isinstance(name, str) else TypeError, match="^name: expected"):
        made([nr.GRU(2)]).export_c(tmp_path / "folder", name)
    assert not (tmp_path / "folder").exists()


def test_numbers_that_no_float_holds(tmp_path):
    net = made([nr.GRU(2)], dtype="float64")
    net.params.flat[3] = 1e39
    with pytest.raises(ValueError, match="params: expected numbers that float32 holds"):
        net.export_c(tmp_path / "folder", dtype="float32")
    net.params.flat[3] = np.nan
    with pytest.raises(nr.NonFiniteError):
        net.export_c(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
