"""The kernels for processors with narrower vectors: the width follows NUMBA_CPU_NAME, and the results stay right."""

import llvmlite.binding as llvm
import pytest
from numba.core.codegen import get_host_cpu_features
from processes import run

from numbarnn.cpu import vectors

HOST = set(get_host_cpu_features().split(","))
X86 = llvm.get_default_triple().startswith("x86_64")
TESTS = """
tests/test_activations.py
tests/test_vectors.py
tests/test_gradients.py::test_every_depth_and_direction
tests/test_forward.py::test_every_size
tests/test_invariants.py::test_thread_counts_agree
tests/test_invariants.py::test_any_batch_composition
""".split()
CHOSEN = "test_activations or ((lstm or gru-before or (reference and gru)) and not 513)"
PROCESSORS = {  # what the host needs to run its code; the registers that it uses; whether it has a fused multiply-add
    "haswell": {"needs": {"+avx2", "+fma"}, "size": 32, "register": "ymm", "wider": "zmm", "fma": True},
    "nehalem": {"needs": {"+sse4.2"}, "size": 16, "register": "xmm", "wider": "ymm", "fma": False},
}
PROGRAM = """
import sys, pytest
from numbarnn.cpu import vectors
assert (vectors.VECTOR_BYTES, vectors.REGISTERS) == ({size}, 16)
code = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]])
from test_activations import on_vectors
text = "".join(on_vectors.inspect_asm().values())
assert "{register}" in text and "{wider}" not in text and ("vfmadd" in text) is {fma}
sys.exit(code)
"""


@pytest.mark.skipif(not X86, reason="names of x86-64 processors")
def test_the_width_follows_the_name():
    host = vectors._target()
    expected = {
        "generic": (16, 16),
        "nehalem": (16, 16),
        "haswell": (32, 16),
        "znver3": (32, 16),
        "x86-64-v4": (64, 32),
        "no such name": (16, 16),
    }
    for name, target in expected.items():
        assert vectors._target(name, "") == target
        assert vectors._target(name) == min(target, host)  # Numba compiles for the host's features then
    assert vectors._target("nehalem", "+avx") == vectors._target("x86-64-v4", "-avx512f") == (32, 16)


def test_the_width_of_the_host_does_not_ask_llvm(monkeypatch):
    monkeypatch.setattr(vectors, "_widest_register", None)
    assert vectors._target() == (vectors.VECTOR_BYTES, vectors.REGISTERS)


@pytest.mark.skipif(not X86, reason="names of x86-64 processors")
@pytest.mark.parametrize("name", PROCESSORS)
def test_kernels(name, request):
    processor = PROCESSORS[name]
    if not processor["needs"] <= HOST:
        pytest.skip(f"the processor here lacks {sorted(processor['needs'] - HOST)}")
    if vectors._target() == vectors._target(name, "") and ("+fma" in HOST) is processor["fma"]:
        pytest.skip("all other tests run at this width, the width of the processor here")
    # no features: else Numba adds the host's to those that the name stands for
    settings = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""}
    tests = [str(request.config.rootpath / test) for test in TESTS]
    print(run("-c", PROGRAM.format(**processor), "-k", CHOSEN, *tests, **settings))
