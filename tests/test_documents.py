"""The documentation is true: files that it names exist, every argument and every public name is described."""

import ast
import importlib.util
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.descriptions.docstrings import parameters_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "numbarnn"
NAMED = re.compile(r"`([\w./]+(?:/|\.py|\.rst))`")
CLASSES = [name for name in nr.__all__ if inspect.isclass(getattr(nr, name))]


def definitions(body, within=""):
    """(name, node) of the functions and classes of a module or class, those inside functions left out."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield within + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node.body, f"{within}{node.name}.")


def arguments(node):
    """The names of the arguments of a function, or of a class's own ``__init__``; None if it has none."""
    if isinstance(node, ast.ClassDef):
        made = [each for name, each in definitions(node.body) if name == "__init__"]
        return arguments(made[0]) if made else None
    found = node.args
    every = [*found.posonlyargs, *found.args, *found.kwonlyargs, found.vararg, found.kwarg]
    return {each.arg for each in every if each is not None}


FOUND = [
    (f"{path.relative_to(PACKAGE)}: {name}", name.split("."), node)
    for path in sorted(PACKAGE.rglob("*.py"))
    for name, node in definitions(ast.parse(path.read_text()).body)
]


def test_the_map_names_files_that_are_there_and_every_folder():
    named = set(NAMED.findall((ROOT / "CONTRIBUTING.md").read_text())) - {"numbarnn/cells/yourcell.py"}
    near = (ROOT, PACKAGE, PACKAGE / "cells")  # the steps of adding a cell name its neighbours
    assert not sorted(name for name in named if not any((folder / name).exists() for folder in near))
    folders = {f"{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.rglob("__init__.py")} - {"./"}
    assert not sorted(folders - named)


def test_everything_public_has_a_docstring():
    """What takes the place of a described method, property or attribute, here or in NumPy's arrays, is described there."""
    described = set(dir(np.ndarray)) | {parts[-1] for _, parts, node in FOUND if len(parts) > 1 and ast.get_docstring(node)}
    attributes = (each.target for _, _, node in FOUND for each in node.body if isinstance(each, ast.AnnAssign))
    described |= {target.id for target in attributes if isinstance(target, ast.Name)}
    listed = (re.findall(r"^([\w, ]+) : ", ast.get_docstring(node) or "", re.M) for _, _, node in FOUND)
    described |= {name for lines in listed for line in lines for name in line.split(", ")}
    bare = [(where, parts) for where, parts, node in FOUND if not ast.get_docstring(node)]
    public = [(where, parts) for where, parts in bare if not any(part.startswith("_") for part in parts)]
    assert not [where for where, parts in public if len(parts) == 1 or parts[-1] not in described]


def test_arguments_described_are_arguments():
    wrong = []
    for where, _, node in FOUND:
        names = {each.lstrip("*") for names in parameters_of(ast.get_docstring(node) or "")[0] for each in names}
        taken = arguments(node)
        wrong += [where] if taken is not None and names - taken else []
    assert not wrong


@pytest.mark.parametrize("name", CLASSES)
def test_every_argument_of_a_class_is_described(name):
    described, end = parameters_of(inspect.cleandoc(getattr(nr, name).__doc__))
    if end is not None:
        assert {each for names in described for each in names} == set(inspect.signature(getattr(nr, name)).parameters)


PAGES = [path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in (".rst", ".md")]
PAGES = [path for path in PAGES if not {"reference", "gallery"} & set(path.parts)]  # these are made when the pages are built
WRITTEN = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "notebooks/README.md"))]
FOLDERS = r"(?:\.ci|benchmarks|docs|notebooks|numbarnn|tests)"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_names_files_that_are_there(path):
    """In backticks, in a command, or where a link of Markdown leads; ``benchmarks/results/*.md`` are some of them."""
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(rf"`({FOLDERS}/[\w./*-]+)`", text)) | set(
        re.findall(rf"(?:python|bash) ({FOLDERS}/[\w./-]+)", text)
    )
    elsewhere = {"numbarnn/kernels", "numbarnn/cells/yourcell.py"}  # in the folder of caches; in a reader's checkout
    assert not sorted(name for name in named - elsewhere if not any(ROOT.glob(name.rstrip("/"))))
    if path.suffix == ".md":
        links = re.findall(r"\]\(((?!https?:)[^)#\s]+)", text)
        assert not [link for link in links if not (path.parent / link).exists()]


def documentation(name):
    """A module of the folder docs."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_stands_under_a_subject():
    subjects = documentation("subjects")
    found = {name: subjects.subject_of(name) for name in nr.__all__}
    assert set(found.values()) <= set(subjects.SUBJECTS)
    assert not sorted(name for name, subject in found.items() if subject == "More"), (
        "docs/subjects.py has no subject for these"
    )


def test_every_error_has_an_entry_in_the_page_of_errors():
    headings = " ".join(re.findall(r"^(.+)\n-{3,}$", (ROOT / "docs" / "errors.rst").read_text(), re.M)).split()
    errors = {name for name in CLASSES if issubclass(getattr(nr, name), Exception)}
    assert not sorted(errors - set(headings))


def test_every_notebook_has_a_page_and_a_picture(tmp_path):
    documentation("gallery").write_gallery(ROOT / "notebooks", tmp_path)
    names = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.stem for path in tmp_path.glob("*.md")} == names | {"index"}
    shown = (tmp_path / "index.md").read_text()
    for name in names:
        picture = re.search(rf"\]\(({name}-\d\.png)\)\]\({name}\.md\)", shown)
        assert (tmp_path / picture[1]).read_bytes().startswith(b"\x89PNG")


def test_the_check_of_the_built_pages_finds_what_is_wrong(tmp_path):
    lines = ['<a href="b.html#there">', '<a href="https://doi.org/10.1162/neco.1997.9.8.1735">', '<img src="c.png">']
    wrong = [
        "b.html#away",
        "d.html",
        "https://arxiv.org/abs/x",
        "http://example.org",
        "https://example.org/a)",
        "https://host",
    ]
    (tmp_path / "a.html").write_text("\n".join([*lines, *(f'<a href="{address}">' for address in wrong)]))
    (tmp_path / "b.html").write_text('<p id="there">')
    (tmp_path / "c.png").write_bytes(b"")
    found, count = documentation("check_pages").check(tmp_path)
    assert [address for _, address, _ in found] == wrong and count == 9


def test_docstrings_name_pages_from_the_root():
    """Their pages are in a folder of the reference, so a page named without a slash is not found."""
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert not [
        (path, name)
        for path, text in texts.items()
        for name in re.findall(r":doc:`(?:[^`<]*<)?([^`>]+)", text)
        if name[0] != "/"
    ]
