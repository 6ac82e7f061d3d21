"""Sphinx configuration; the pages of the public names are made from ``numbarnn.__all__``."""

import inspect
import sys
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here.parent))

import numbarnn  # noqa: E402
from numbarnn.descriptions.docstrings import public_members  # noqa: E402

project = "numbarnn"
copyright = "2026, numbarnn developers"
release = version = numbarnn.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "py:obj"
html_theme = "furo"
html_title = f"numbarnn {release}"

autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

CONTRACTS = {"Callback", "Cell", "Optimizer"}  # users write subclasses of these: their pages show every method


def page_members(name):
    """What the page of a class shows, as options of autodoc: not what layers, networks and kernels tell each other."""
    found = getattr(numbarnn, name)
    if name in CONTRACTS or issubclass(found, BaseException):
        return ":members:\n   :inherited-members: ArithmeticError, Exception, RuntimeError, TypeError, ValueError, object"
    members = ", ".join(sorted(public_members(found)))
    return f":members: {members}" if members else ""


classes = (name for name in numbarnn.__all__ if inspect.isclass(getattr(numbarnn, name)))
autosummary_context = {"page_members": {name: page_members(name) for name in classes}}


def write_reference(folder):
    """Write the page that lists every public name by its kind; autosummary makes one page of each."""
    kinds = {"Classes": [], "Functions": [], "Errors": [], "Modules and values": []}
    for name in sorted(numbarnn.__all__, key=str.lower):
        value = getattr(numbarnn, name)
        if inspect.isclass(value):
            kind = "Errors" if issubclass(value, BaseException) else "Classes"
        else:
            kind = "Functions" if callable(value) else "Modules and values"
        kinds[kind].append(name)
    lines = ["API", "===", "", ".. currentmodule:: numbarnn", "", "``import numbarnn as nr``; what ``nr`` holds:", ""]
    for kind, names in kinds.items():
        if names:
            lines += [kind, "-" * len(kind), "", ".. autosummary::", "   :toctree:", ""]
            lines += [f"   {name}" for name in names] + [""]
    folder.mkdir(exist_ok=True)
    (folder / "index.rst").write_text("\n".join(lines))


write_reference(here / "reference")
