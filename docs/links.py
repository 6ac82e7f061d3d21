"""Names in backticks become links to the page of what they name; one that names nothing is a warning."""

from sphinx.util.nodes import make_refnode

# Other packages, whose pages are not linked: no inventory of theirs is at hand where the pages are built.
ELSEWHERE = {"collections", "copy", "cupy", "keras", "mpi4py", "numpy", "np", "onnx", "os", "pandas", "pathlib", "pickle"}
ELSEWHERE |= {"random", "scipy", "sklearn", "torch"}


def resolve(app, env, node, shown):
    """Where a name leads that Sphinx does not find under its full name; None for one that leads nowhere.

    An object is known by its public name, ``numbarnn.GRU``, while annotations have the module that it is defined in.  A word
    in small letters may be an argument, which has no page.
    """
    if node.get("refdomain") != "py":
        return None
    objects, words = env.domains.python_domain.objects, node["reftarget"].split(".")
    within = words[1:] if words[0] == "numbarnn" else words
    for first in range(len(within) if words[0] not in ELSEWHERE else 0):
        name = ".".join(["numbarnn", *within[first:]])
        if name in objects and (first == 0 or within is not words):
            return make_refnode(app.builder, node["refdoc"], objects[name].docname, objects[name].node_id, shown)
    inner = words[0] == "numbarnn" and node["reftype"] == "class"  # a class without a page, in an annotation
    argument = len(words) == 1 and words[0].replace("_", "").isalnum() and words[0] == words[0].lower()
    return shown if inner or argument or words[0] in ELSEWHERE else None


def setup(app):
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
