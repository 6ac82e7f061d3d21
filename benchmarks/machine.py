"""What a result was measured on."""

import platform
from importlib.metadata import PackageNotFoundError, version

import llvmlite.binding
import numba


def describe():
    """Processor, threads and versions, as a dict."""
    versions = {}
    for name in ("numba", "numpy", "scipy", "torch"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    features = llvmlite.binding.get_host_cpu_features()
    wide = [name for name in ("avx512f", "avx2", "neon") if features.get(name)]
    return {
        "processor": llvmlite.binding.get_host_cpu_name(),
        "vectors": wide[0] if wide else "sse2",
        "threads": numba.get_num_threads(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **versions,
    }
