"""What is written about the package is true: files named, arguments described, nothing public without a sentence."""

import ast
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
    """The names of a function's arguments; of a class those of its own ``__init__``, or None."""
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
