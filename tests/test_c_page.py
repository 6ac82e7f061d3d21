"""The programs of docs/c.rst, as they stand there: compiled, run, and compared with the network that they hold."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from c_programs import WARNINGS, called, compiler

PAGE = (Path(__file__).parents[1] / "docs" / "c.rst").read_text()


def blocks(language):
    """The code blocks of the page in a language."""
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", PAGE, re.M)
    return [textwrap.dedent(block) for block in found]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(folder, network) of the page's Python."""
    folder = tmp_path_factory.mktemp("page")
    (program,) = blocks("python")
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(program, names)
    assert names["net"].history.loss[-1] < names["net"].history.loss[0] / 4
    return folder, names["net"]


def outputs(net, x):
    """What the network makes of a signal."""
    return net.stream().run(np.asarray(x, np.float32)[:, None, None]).ravel()


@pytest.mark.skipif(compiler("gcc") is None, reason="gcc is not here")
@pytest.mark.parametrize("which", ["plug-in", "microcontroller"])
def test_a_program_in_c(page, which):
    folder, net = page
    plugin, microcontroller = blocks("c")
    source, program = folder / f"{which}.c", folder / which
    source.write_text(plugin if which == "plug-in" else microcontroller)
    amp = folder / "amp"
    called("gcc", "-std=c99", "-O2", *WARNINGS, "-I", amp, source, amp / "amp.c", "-lm", "-o", program)
    found = np.array(called(program).split(), float)
    sine = np.sin(np.arange(6400, dtype=np.float32) / 9)
    if which == "plug-in":
        expected = [outputs(net, channel)[-1] for channel in (sine, sine / 2)]
    else:
        expected = outputs(net, np.arange(1000) % 50 / 50)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6)  # also sines, of the C library and of NumPy


@pytest.mark.skipif(compiler("gcc") is None or compiler("gfortran") is None, reason="gcc or gfortran is not here")
def test_the_program_in_fortran(page):
    folder, net = page
    (program,) = blocks("fortran")
    (folder / "simulation.f90").write_text(program)
    called("gcc", "-std=c99", "-O2", "-c", "amp/amp.c", "-o", "amp.o", cwd=folder)
    sources = "amp/amp.f90", "simulation.f90", "amp.o"
    called("gfortran", *WARNINGS, *sources, "-lm", "-o", "simulation", cwd=folder)
    found = float(called(folder / "simulation"))
    assert abs(found - outputs(net, np.sin(np.arange(1000, dtype=np.float32) / 9))[-1]) < 3e-6
