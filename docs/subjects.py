"""The reference by subject: every public name has a page, and stands under the subject of the module that it comes from."""

import inspect
from types import ModuleType

import numbarnn
from numbarnn.descriptions.docstrings import public_members

# Modules of the package by subject, from the top of the page to its end.  The longest name that fits is the subject's.
SUBJECTS = {
    "Networks": ("network", "networks", "graph", "graphs", "parameters"),
    "Recurrent layers": ("layers.recurrent",),
    "Other layers": ("layers",),
    "Cells and activation functions of your own": ("cells", "layers.connectivity"),
    "Derivatives and dynamics": ("layers.base", "layers.tangents", "dynamics", "gauss_newton", "testing"),
    "Training": ("training", "trainer"),
    "Losses and metrics": ("training.losses", "training.metrics"),
    "Optimizers and learning rates": ("training.optimizer", "training.optimizers", "training.schedules"),
    "Callbacks": ("training.callbacks", "training.checkpoints", "training.reports", "training.stopping"),
    "Many networks": ("many", "ensemble", "networks.predictions", "training.ranks"),
    "Steps, forecasts and samples": ("streaming", "stepping", "extrapolation", "least_squares", "sampling"),
    "Arrays, series and texts": ("arrays", "data"),
    "Files and other libraries": ("loading", "interop"),
    "Plots": ("plot",),
    "Compiling": ("compile",),
    "Errors": ("errors",),
    "More": ("",),
}
CONTRACTS = {"Callback", "Cell", "Optimizer"}  # users write subclasses of these: their pages show every method
NOT_FOR_USERS = ("deviations", "normalized_values")  # of the library's normalized cells alone


def subject_of(name):
    """The subject that a public name stands under."""
    found = getattr(numbarnn, name)
    module = found.__name__ if isinstance(found, ModuleType) else found.__module__
    words = module.split(".")[1:]
    if inspect.isclass(found) and issubclass(found, numbarnn.Recurrent):
        words = ["layers", "recurrent"]
    for count in range(len(words), -1, -1):
        prefix = ".".join(words[:count])
        for subject, modules in SUBJECTS.items():
            if prefix in modules:
                return subject


def page_members(name):
    """What the page of a class shows, as options of autodoc: not what layers, networks and kernels tell each other."""
    found = getattr(numbarnn, name)
    if name in CONTRACTS or issubclass(found, BaseException):
        bases = "ArithmeticError, Exception, RuntimeError, TypeError, ValueError, object"
        return f":members:\n   :inherited-members: {bases}\n   :exclude-members: {', '.join(NOT_FOR_USERS)}"
    members = ", ".join(sorted(public_members(found)))
    return f":members: {members}" if members else ""


def module_members(module):
    """(kind, name, members of a class) of what a module defines, for its page; errors have pages of their own."""
    if module is numbarnn.errors:
        return []
    inside = f"{module.__name__}."
    own = [
        (name, found) for name, found in vars(module).items() if f"{getattr(found, '__module__', '')}.".startswith(inside)
    ]
    written = [(name, found) for name, found in sorted(own) if not name.startswith("_") and inspect.getdoc(found)]
    return [
        ("class", name, ", ".join(sorted(public_members(found)))) if inspect.isclass(found) else ("function", name, "")
        for name, found in written
    ]


def page_contents():
    """For the templates of autosummary: what the page of each class and module shows."""
    values = {name: getattr(numbarnn, name) for name in numbarnn.__all__}
    return {
        "page_members": {name: page_members(name) for name, found in values.items() if inspect.isclass(found)},
        "module_members": {
            f"numbarnn.{name}": module_members(found) for name, found in values.items() if isinstance(found, ModuleType)
        },
    }


def write_reference(folder):
    """Write the page that lists every public name by its subject; autosummary makes one page of each."""
    names = {subject: [] for subject in SUBJECTS}
    for name in sorted(numbarnn.__all__, key=str.lower):
        names[subject_of(name)].append(name)
    lines = [
        "Reference",
        "=========",
        "",
        ".. currentmodule:: numbarnn",
        "",
        "``import numbarnn as nr``; what ``nr`` holds, by subject.",
        "",
    ]
    for subject, found in names.items():
        if found:
            lines += [subject, "-" * len(subject), "", ".. autosummary::", "   :toctree:", ""]
            lines += [f"   {name}" for name in found] + [""]
    folder.mkdir(exist_ok=True)
    page = folder / "index.rst"
    if not page.exists() or page.read_text() != "\n".join(lines):
        page.write_text("\n".join(lines))
