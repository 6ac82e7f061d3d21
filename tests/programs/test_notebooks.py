"""Every notebook runs, in its reduced setting, and is committed as it ran in the full one."""

import re
from pathlib import Path

import pytest

import numbarnn as nr

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|usr|work|Users)\b|[A-Z]:\\\\")  # of somebody's machine


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell):
    """What a cell has printed or returned, as text."""
    for output in cell.outputs:
        yield output.get("text", "")
        yield output.get("data", {}).get("text/plain", "")


def test_there_are_notebooks():
    assert NOTEBOOKS or not FOLDER.is_dir()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_in_its_reduced_setting(path, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBARNN_REDUCED", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = read(path)
    for name in ("imdb", "fashion_mnist", "japanese_vowels", "shakespeare"):
        if any(f"nr.datasets.{name}()" in cell.source for cell in code(notebook)):
            try:
                getattr(nr.datasets, name)()
            except nr.DataNotFoundError as error:
                pytest.skip(str(error))
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    figures = [output for cell in code(notebook) for output in cell.outputs if "image/png" in output.get("data", {})]
    assert figures


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_its_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "it was run from top to bottom"
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert not any(PATH.search(text) for cell in cells for text in texts(cell))
    assert sum('"NUMBARNN_REDUCED" in os.environ' in cell.source for cell in cells) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_listed(path):
    assert path.name in (FOLDER / "README.md").read_text(encoding="utf-8")
