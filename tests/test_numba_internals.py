"""What this package takes of Numba though Numba does not promise it: a Numba that has changed it fails here, by name."""

import inspect
from importlib.util import find_spec

import pytest
from numba import config
from numba.core.typing.templates import builtin_registry

from numbarnn.cpu import backend  # noqa: F401 (which teaches Numba)
from numbarnn.engine import numba_internals


def check(relied_on):
    for (owner, name), parameters in relied_on.items():
        where = f"{getattr(owner, '__qualname__', owner.__name__)}.{name}"
        assert hasattr(owner, name), f"{where} is gone; see numbarnn/engine/numba_internals.py"
        if parameters is not None:
            found = tuple(inspect.signature(getattr(owner, name)).parameters)
            assert found[: len(parameters)] == parameters, f"{where} has other parameters: {found}"


def test_what_numba_has():
    check(numba_internals.RELIED_ON)


@pytest.mark.skipif(config.ENABLE_CUDASIM or find_spec("numba_cuda") is None, reason="takes numba-cuda, not its simulator")
def test_what_numba_cuda_has():
    check(numba_internals.relied_on_for_cuda())


def test_numba_cuda_takes_nothing_that_is_the_processors():
    taught = {}
    for template in (*builtin_registry.attributes, *builtin_registry.functions):
        key = template.key
        if (inspect.isroutine(key) or isinstance(key, type)) and str(key.__module__).startswith(
            ("numbarnn.cells", "numbarnn.engine")
        ):
            taught[key] = template.metadata.get("target")
    assert len(taught) > 15
    assert {key: target for key, target in taught.items() if target != "cpu"} == {}


def test_what_has_changed_is_named():
    class Changed:
        def load_overload(self, signature):
            """With another parameter."""

    with pytest.raises(AssertionError, match="Changed.gone is gone; see numbarnn/engine/numba_internals.py"):
        check({(Changed, "gone"): None})
    with pytest.raises(AssertionError, match=r"Changed.load_overload has other parameters: \('self', 'signature'\)"):
        check({(Changed, "load_overload"): ("self", "sig")})
