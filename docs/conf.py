"""Sphinx configuration; the pages of the public names are made from ``numbarnn.__all__``."""

import os
import sys
from pathlib import Path

here = Path(__file__).parent
sys.path[:0] = [str(here.parent), str(here)]
os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # the functions of numbarnn.cuda are described without a GPU

import gallery  # noqa: E402
import pictures  # noqa: E402
import subjects  # noqa: E402

import numbarnn  # noqa: E402

project = "numbarnn"
copyright = "2026, numbarnn developers"
release = version = numbarnn.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "links"]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "py:obj"
rst_prolog = ".. currentmodule:: numbarnn"
nitpicky = True  # a name that leads nowhere is a warning, see links.py
html_theme = "furo"
html_title = f"numbarnn {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]

autodoc_member_order = "bysource"
python_maximum_signature_line_length = 100
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

autosummary_context = subjects.page_contents()
subjects.write_reference(here / "reference")
gallery.write_gallery(here.parent / "notebooks", here / "gallery")
pictures.write_pictures(here / "pictures", gallery.write)
