"""The programs of other libraries on the pages for those who come from them run, and their networks come along."""

import doctest
import os
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[1] / "docs" / "coming"
BLOCK = re.compile(r"^( *)\.\. code-block:: python\n(?:\1 +:.*\n)*\n((?:\1   .*\n|\n)+)", re.M)


def program(text):
    """All that a page shows in Python, examples and blocks, from its top to its end."""
    found = [(text.count("\n", 0, block.start(2)), textwrap.dedent(block[2])) for block in BLOCK.finditer(text)]
    found += [(example.lineno, example.source) for example in doctest.DocTestParser().get_examples(text)]
    return "\n".join(source for _, source in sorted(found))


@pytest.mark.parametrize(
    ("page", "blocks", "packages"),
    [("pytorch", 5, ["torch"]), ("keras", 2, ["torch", "keras", "h5py"]), ("reservoirpy", 2, ["reservoirpy"])],
)
def test_a_page_runs_from_its_top_to_its_end(page, blocks, packages, tmp_path):
    if missing := [name for name in packages if find_spec(name) is None]:  # Keras trains by PyTorch here
        pytest.skip(f"no {', '.join(missing)}")
    text = (PAGES / f"{page}.rst").read_text()
    assert text.count(".. code-block:: python") == len(BLOCK.findall(text)) == blocks
    found = program(text)
    assert found.count("assert np.allclose") == 1  # what comes along predicts what it did
    environment = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", found], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
