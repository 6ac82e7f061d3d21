"""Functions that compiled code alone calls: they become part of it, and have no machine code of their own."""

import numpy as np
import pytest
from numba import njit, types

from numbarnn.cpu import weights
from numbarnn.engine.inlined import inlined
from numbarnn.engine.numba_internals import KeptCFunction


@inlined
def doubled(x):
    return 2 * x


@inlined
def doubled_and_more(x, more):
    return doubled(x) + more


@njit
def summed(values):
    total = 0.0
    for value in values:
        total += doubled_and_more(value, 1)
    return total + doubled_and_more(3, 4) + doubled_and_more(5, 6)


def test_compiled_code_calls_them():
    assert summed(np.arange(4.0)) == 12 + 4 + 10 + 16
    assert len(doubled_and_more.overloads) == 2, "one for float64 and one for all integers, whatever constants they are"
    assert [code.library.get_pointer_to_function(code.fndesc.llvm_func_name) for code in doubled.overloads.values()] == [
        0,
        0,
    ]


def test_python_does_not():
    for _ in range(2):
        with pytest.raises(TypeError, match="doubled: expected a call by compiled code, got one by Python"):
            doubled(1.0)
        summed(np.ones(1))


class Unkept:
    """Sources of which nothing is kept on disk."""

    stamp = None


def test_what_a_function_takes_in_is_its_own():
    """Numba's names are numbered by process: of two objects on disk one would call what the other means by a name."""
    signature = types.void(types.none, types.NumberClass(types.float32), types.int64, types.int64)
    compiled = KeptCFunction(weights.pack_task.function, signature, Unkept, None)
    compiled.compile()
    found = {f.name: f.linkage.name for f in compiled._library._final_module.functions if not f.is_declaration}
    assert "private" in found.values()
    seen = [name for name, linkage in found.items() if linkage != "private"]
    assert len(seen) == 2 and all("pack_task" in name for name in seen), "the function, and what C calls it by"
