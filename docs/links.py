"""Names in backticks become links to the pages of what they name, and numbers of papers links to these.

A name that names nothing is a warning.
"""

import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import get_node_source, make_refnode

# Other packages, whose pages are not linked: no inventory of theirs is at hand where the pages are built.
ELSEWHERE = {"collections", "copy", "cupy", "keras", "mpi4py", "numpy", "np", "onnx", "os", "pandas", "pathlib", "pickle"}
ELSEWHERE |= {"callable", "random", "scipy", "sklearn", "torch"}
ARXIV = r"arXiv:(?P<arxiv>(?:[a-z-]+/)?\d[\d.]+\d(?:v\d+)?)"
DOI = r"doi:(?P<doi>10\.\d{4,9}/(?:[\w./:-]|\(\w*\))*(?:\w|\(\w*\)))"  # a parenthesis within one is closed
PAPER = re.compile(f"{ARXIV}|{DOI}")


def resolve(app, env, node, shown):
    """Where a name leads that Sphinx does not find under its full name; None for one that leads nowhere.

    An object is known by its public name, ``numbarnn.GRU``, while annotations have the module that it is defined in.  In a
    docstring a word in small letters may be an argument, which has no page.
    """
    if node.get("refdomain") != "py":
        return None
    objects, words = env.domains.python_domain.objects, node["reftarget"].split(".")
    own = words[0] == "numbarnn"
    within = words[1:] if own else words
    for first in range(len(within) if own else words[0] not in ELSEWHERE):
        name = ".".join(["numbarnn", *within[first:]])
        if name in objects:
            return make_refnode(app.builder, node["refdoc"], objects[name].docname, objects[name].node_id, shown)
    inner = own and node["reftype"] == "class"  # a class without a page, in an annotation
    described = any(where in (get_node_source(node) or "") for where in ("docstring of", "<autosummary>"))
    argument = described and len(words) == 1 and words[0] == words[0].lower()
    return shown if inner or argument or words[0] in ELSEWHERE else None


class Papers(SphinxPostTransform):
    """``arXiv:1607.06450`` and ``doi:10.1162/neco.1997.9.8.1735`` in the text lead to the papers."""

    default_priority = 700  # before linkcheck collects what it asks for

    def run(self):
        """Put a link in the place of each number; literal text and what is a link already stay."""
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(text.parent, (nodes.reference, nodes.literal, nodes.literal_block)) or not PAPER.search(text):
                continue
            parts, end = [], 0
            for found in PAPER.finditer(text):
                address = f"https://arxiv.org/abs/{found['arxiv']}" if found["arxiv"] else f"https://doi.org/{found['doi']}"
                shown = nodes.reference("", found[0], refuri=address, internal=False)
                parts += [nodes.Text(text[end : found.start()]), shown]
                end = found.end()
            text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def setup(app):
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
    app.add_post_transform(Papers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
