"""Checks, without GPU and driver, that all that is used of CuPy exists: `python tests/cuda/check_cupy.py`.

It needs CuPy (pip install cupy-cuda12x) and numba-cuda.  It reads the modules of `numbarnn.cuda` for every name ``cupy.a.b``
and every function of cuBLAS, and holds the names and parameters of `standin`, which stands for CuPy in the simulator,
against CuPy's.  The exit status is 1 if CuPy lacks one of them.
"""

import ast
import importlib.util
import inspect
import re
import sys
from pathlib import Path

import cupy
import cupy_backends

from numbarnn import cuda
from numbarnn.cuda import standin

OWN = {"NDArrayOperatorsMixin", "SIZES", "UFUNCS", "FUNCTIONS", "SimpleNamespace", "np", "threading"}  # not after CuPy's


def dotted(node):
    """``["cupy", "cuda", "Stream"]`` of an attribute in a program; empty for what does not begin with a name."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [*reversed([*names, node.id])] if isinstance(node, ast.Name) else []


def used():
    """(where, names behind ``cupy`` or ``cublas``) of all that the package asks of CuPy; the longest chains alone."""
    for path in sorted(Path(cuda.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and id(node) not in inner and (names := dotted(node)):
                if names[0] == "cupy" or (names[0] == "cublas" and path.name == "cublas.py"):
                    yield f"{path.name}:{node.lineno}", names


def cublas_has(name):
    """Whether CuPy's module for cuBLAS, which cannot be imported without that, has a name: it stands in the file."""
    folder = Path(cupy_backends.__file__).parent / "cuda" / "libs"
    file = next(folder.glob("cublas.*"))
    return re.search(rb"\0cupy_backends\.cuda\.libs\.cublas\.%s[.\0]" % name.encode(), file.read_bytes()) is not None


def exists(names):
    """Whether CuPy has what a chain of names asks for."""
    if names[:3] == ["cupy", "cuda", "cublas"]:
        return importlib.util.find_spec("cupy_backends.cuda.libs.cublas") is not None and all(map(cublas_has, names[3:]))
    if names[0] == "cublas":
        return cublas_has(names[1])
    found = cupy
    for i, name in enumerate(names[1:]):
        if callable(found) and not isinstance(found, type):  # what a function returns is not known here
            return i > 0
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


def parameters(function):
    """The names of a function's parameters, for compiled functions from the docstring; None if it has none."""
    try:
        return set(inspect.signature(function).parameters)
    except ValueError:
        found = re.match(r"[\w.]+\((.*?)\)", function.__doc__ or "")
        return found and set(re.findall(r"(\w+)(?==|,|$)", found[1]))


def faults_of(where, own, theirs):
    """What of a namespace or a class of the stand-in CuPy has not, or with other parameters."""
    for name, value in vars(own).items():
        special = name.endswith("__") and callable(value)  # Python itself gives the parameters of such a method
        if (name.startswith("_") and not special) or name in OWN:
            continue
        if not hasattr(theirs, name):
            yield f"{where}.{name}: CuPy has no such name"
            continue
        there = getattr(theirs, name)
        if isinstance(value, type(standin.cuda)) or (isinstance(value, type) and not name.endswith("Error")):
            yield from faults_of(f"{where}.{name}", value, there)
        elif not special and inspect.isfunction(value) and (known := parameters(there)) is not None:
            known |= {"self", "cls"} | ({"shape"} if name == "reshape" else set())
            if unknown := parameters(value) - known:
                yield f"{where}.{name}: CuPy has no parameter {', '.join(sorted(unknown))}"


def main():
    """Print what is not there, and return the exit status."""
    found = list(used())
    faults = [f"{where}: {'.'.join(names)}: CuPy has no such name" for where, names in found if not exists(names)]
    faults += faults_of("standin", standin, cupy)
    ufuncs = {name: getattr(cupy, name, None) for name in standin.UFUNCS}
    faults += [f"standin: CuPy has no ufunc {name}" for name, ufunc in ufuncs.items() if not isinstance(ufunc, cupy.ufunc)]
    for name, own in standin.FUNCTIONS.items():
        known = parameters(getattr(cupy, name, None)) if hasattr(cupy, name) else set()
        if known is not None and (unknown := set(own.split()) - known):
            faults.append(f"standin: cupy.{name} has no parameter {', '.join(sorted(unknown))}")
    for fault in faults:
        print(f"    FAULT: {fault}")
    known = len(standin.FUNCTIONS) + len(standin.UFUNCS)
    print(f"CuPy {cupy.__version__}: {len(found)} uses, {known} functions of the stand-in, {len(faults)} faults")
    return bool(faults) or not found


if __name__ == "__main__":
    sys.exit(main())
