"""Settings of every test: Numba's cache and threads, before numba is imported, and Hypothesis' profile."""

import os
from importlib.util import find_spec
from pathlib import Path

import kernel_cache

kernel_cache.use()
collect_ignore = [
    "torch_layers.py",
    "mutants.py",
    "vectors/make_exports.py",
    "vectors/make_grud.py",
    "vectors/make_vectors.py",
]
CPUS = os.cpu_count() or 1
os.environ.setdefault("NUMBA_NUM_THREADS", str(max(3, CPUS)))
os.environ.setdefault("MPLBACKEND", "Agg")
DATA = Path(__file__).parents[2] / "shared" / "data"  # beside the checkout, where there is one
if DATA.is_dir():
    os.environ.setdefault("NUMBARNN_DATA", str(DATA))

import numba  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "numbarnn",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    max_examples=int(os.environ.get("NUMBARNN_EXAMPLES", "25")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("numbarnn")


@pytest.fixture(scope="session")
def keras():
    """Keras, by default computing by PyTorch where that is at hand, else by NumPy, for which it takes JAX as well."""
    os.environ.setdefault("KERAS_BACKEND", "torch" if find_spec("torch") else "numpy")
    return pytest.importorskip("keras")


@pytest.fixture
def fresh_plans():
    """For a test that patches what a plan is made from: no plan from before the test, and none left after it."""
    from numbarnn.arrays import packing
    from numbarnn.cpu import plans
    from numbarnn.layers import recurrence

    def forget():
        plans._make_forward.cache_clear()
        plans._make_backward.cache_clear()
        packing._of_lengths.cache_clear()
        recurrence.uniform_work.cache_clear()

    forget()
    yield forget
    forget()


@pytest.fixture(scope="session", autouse=True)
def every_size_is_shared():
    """In tests, which are small, work is shared by threads from the first number on."""
    from numbarnn.cpu import pool, threads

    threads.ALONE = 0
    pool.pool.set_rest(0)


@pytest.fixture(autouse=True)
def threads():
    """Every test starts with one thread per processor."""
    numba.set_num_threads(min(CPUS, numba.config.NUMBA_NUM_THREADS))
