"""Compiles every CUDA kernel for an H100, on a machine without GPU and driver: `python tests/cuda/compile_kernels.py`.

A kernel's arguments are known by the names of its parameters: one with a new name or a new record needs a line in the tables
below.

Kernels are compiled as for a launch: libnvvm makes LLVM's intermediate code for link time optimization, and nvJitLink makes
machine code for sm_90a.  It needs both, NVRTC, which numba-cuda asks for names, and nvdisasm (pip install numba-cuda
nvidia-nvvm nvidia-nvjitlink nvidia-cuda-nvrtc nvidia-cuda-nvdisasm).  For each kernel, cell and dtype it prints the
registers and the memory it takes.  The exit status is 1 if one of them does not compile, computes in float64 for float32,
spills registers or keeps a stack, or asks for more registers than a block of its threads can have.  `resident`, which fills
the registers with R, may spill what SPILLED says: `loops.py` looks whether its loops are short all the same.
"""

import argparse
import importlib
import inspect
import multiprocessing
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from importlib.metadata import files
from types import SimpleNamespace

CAPABILITY = (9, 0, "a")
REGISTERS = 65536  # of a multiprocessor, which a block's threads share
WIDE = re.compile(r"\bD(?:ADD|MUL|FMA|SETP|MNMX)\S*|\S*\.F64\S*")  # instructions in float64
SPILLED = {"resident": 300}  # bytes that a kernel may spill, by module
SPILL = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")

os.environ.pop("NUMBA_ENABLE_CUDASIM", None)
import numpy as np  # noqa: E402

from numbarnn import cells, cuda  # noqa: E402
from numbarnn.cells.activations import (  # noqa: E402
    Clipped,
    Elu,
    Gelu,
    HardSigmoid,
    Relu,
    ScaledTanh,
    Sigmoid,
    Silu,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
)
from numbarnn.cuda import records, unpack  # noqa: E402
from numbarnn.cuda.device import KERNELS, THREADS  # noqa: E402
from numbarnn.cuda.device import cuda as numba_cuda  # noqa: E402
from numbarnn.cuda.extending import COMPILED  # noqa: E402

RECURRENT = (  # (cell, whether in float64 as well)
    (cells.RNNCell(), True),
    (cells.GRUAfterCell(), True),
    (cells.GRUBeforeCell(), True),
    (cells.LSTMCell(), True),
    (cells.LSTMCell(projected=True), True),
    (cells.RNNCell(Gelu()), False),
    (cells.PeepholeLSTMCell(), False),
    (cells.CoupledLSTMCell(), False),
    (cells.CoupledPeepholeLSTMCell(), False),
    (cells.MGUCell(), False),
    (cells.IndRNNCell(), False),
    (cells.LeakyOutsideCell(), False),
    (cells.LeakyInsideCell(), False),
    (cells.PerturbedCell(cells.GRUAfterCell()), False),
    (cells.PerturbedMemoryCell(cells.LSTMCell()), False),
    (cells.RecurrentDropoutCell(cells.LeakyInsideCell()), False),
    (cells.DecayedCell(cells.GRUAfterCell(), True), False),
    (cells.DecayedMemoryCell(cells.LSTMCell()), False),
    (cells.LSTMCell(HardSigmoid(), Elu(), Softsign()), False),
)
NORMALIZED = ((cells.NormalizedLSTMCell(), True), (cells.NormalizedGRUCell(), True))
SMALL = tuple(  # of those, the ones whose R is kept in registers
    (cell, False) for cell, _ in RECURRENT if cell.recurrent_slots and not cell.gated_slots and not cell.projected
)
FUNCTIONS = (
    Tanh(), Sigmoid(), Relu(), Elu(), Softplus(), Softsign(), Gelu(), Silu(), ScaledTanh(1.7, 0.7), ThresholdedRelu(),
    Clipped(Elu(0.3), 2.5),
)  # fmt: skip
DENSE = tuple((cells.DenseCell(function), function in FUNCTIONS[:2]) for function in FUNCTIONS)
OF_FUNCTIONS = tuple((cells.LSTMCell(function, function, function), False) for function in FUNCTIONS)
DUAL = tuple((cell, False) for cell, _ in RECURRENT)
ON_DUALS = (  # kernels, or modules of them, that are compiled for dual numbers as well
    "convolution", "dense", "elementwise", "embedding", "gradients", "pooling", "product.product", "unpack", "weights",
)  # fmt: skip
CELLS = {  # by kernel or module; others have the recurrent ones
    "cell_kernels.constants": (*RECURRENT[1:5:3], *NORMALIZED),
    "cell_kernels.normalized_step": NORMALIZED,
    "cell_kernels.runs_of": NORMALIZED,
    "cell_kernels": (*RECURRENT, *OF_FUNCTIONS),
    "dense": DENSE,
    "elementwise": DENSE,
    "dual_steps": DUAL,
    "clustered": tuple((cell, cell == cells.LSTMCell()) for cell, _ in SMALL),
    "resident": SMALL,
    "normalized": NORMALIZED,
    "normalized_tangents": NORMALIZED,
}


def import_kernels():
    """Import every module of the package, so that all kernels are known; add the kernels of the tests.

    The processor's come first, as in most programs: numba-cuda looks at what they teach Numba as well.
    """
    importlib.import_module("numbarnn.cpu.backend")
    for module in pkgutil.iter_modules(cuda.__path__):
        importlib.import_module(f"numbarnn.cuda.{module.name}")
    importlib.import_module("cell_kernels")
    return KERNELS


def without_device():
    """Let numba-cuda compile device functions for CAPABILITY, without asking a driver or NVRTC."""
    from numba.cuda import cuda_paths, dispatcher
    from numba.cuda.cudadrv import nvrtc

    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITY[:2], id=0)
    try:
        cuda_paths._get_nvrtc_path()
    except Exception:  # whatever its loader raises: only the name of the architecture is asked of it
        cuda_paths._get_nvrtc_path = lambda: cuda_paths._env_path_tuple("none", None)
        nvrtc.get_arch_option = lambda major, minor, arch="": f"compute_{major}{minor}{arch}"


def disassembler():
    """The path of nvdisasm: of the wheel nvidia-cuda-nvdisasm, or on PATH."""
    try:
        return next(str(file.locate()) for file in files("nvidia-cuda-nvdisasm") or () if file.name == "nvdisasm")
    except (ImportError, StopIteration):
        return "nvdisasm"


def linked(kernel, cell, dtype):
    """(text of the machine code, what the linker says) of a kernel for a cell and a dtype."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    dispatcher = import_kernels()[kernel]
    signature = tuple(argument_type(kernel, name, cell, dtype) for name in inspect.signature(dispatcher.py_func).parameters)
    told = dispatcher.targetoptions
    options = {option: told[option] for option in ("launch_bounds", "fastmath") if option in told}
    code, _ = numba_cuda.compile(
        dispatcher.py_func, signature, cc=CAPABILITY, device=False, abi="numba", output="ltoir", **options
    )
    linker = Linker(
        ObjectCode.from_ltoir(code),
        options=LinkerOptions(
            arch="sm_{}{}{}".format(*CAPABILITY), link_time_optimization=True, verbose=True, ptxas_options=["-v"],
            max_register_count=told.get("max_registers"),
        ),
    )  # fmt: skip
    binary = linker.link("cubin").code
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        done = subprocess.run([disassembler(), "-c", file.name], capture_output=True, text=True, check=True)
    return done.stdout, linker.get_info_log()


def of_kernel(table, name, default=None):
    """The entry of a kernel, or else the entry of its module."""
    return table.get(name) or table.get(name.partition(".")[0], default)


def dtypes_of(name, in_both):
    """The dtypes that a kernel is compiled for; in_both: whether in float64 as well as in float32."""
    if name.startswith("dual_steps"):
        return ["complex128"]
    duals = in_both and any(name == part or name.startswith(f"{part}.") for part in ON_DUALS)
    return ["float32", *(["float64"] if in_both else ()), *(["complex128"] if duals else ())]


def jobs(chosen):
    """(kernel, cell or None, dtype) of everything to compile, the largest first."""
    found = []
    for name, dispatcher in import_kernels().items():
        if chosen not in name:
            continue
        of_cells = ((None, True),)
        if "cell" in inspect.signature(dispatcher.py_func).parameters:
            of_cells = of_kernel(CELLS, name, RECURRENT)
        for cell, in_both in of_cells:
            found += [(name, cell, dtype) for dtype in dtypes_of(name, in_both)]
    return sorted(found, key=lambda job: job[1] is None)


CALLS = {  # what a kernel is told: by its name, or for all others of its module
    "clustered": records.Recurrent,
    "convolution": records.Images,
    "dense": records.Recurrent,
    "dual_steps": records.Recurrent,
    "gradients": records.Sums,
    "jacobian": records.Recurrent,
    "normalized": records.Recurrent,
    "normalized_tangents": records.Recurrent,
    "pooling": records.Images,
    "product": records.Product,
    "recurrent": records.Recurrent,
    "resident": records.Recurrent,
    "unpack": unpack.Unpack,
    "weights.copy_all": records.Copies,
    "weights": records.Sums,
}
NUMBERS = (
    "real", "one", "divisor", "scale", "rate", "momentum", "decay", "epsilon", "shrink", "beta1", "direct",
    "beta2", "root", "total", "factor", "twice",
)  # fmt: skip
OTHERS = {  # arguments that are no arrays of the dtype, as `parsed` reads them; some kernels and modules have their own
    "count": "int64", "shape": "4 int64", "table": "int64[]", "counters": "int64[]", "order": "int64[]",
    "nesterov": "bool", "places": "int64[]",
    "checks": {"found": "int64[]", "slot": "int64"},
    "optimizers": {"found": "int64[]"},
    "jacobian.unit_slopes": {"steps": "int64[]", "runs": "int64[]"},
    "normalized_tangents.term_slopes": {"steps": "int64[]", "runs": "int64[]"},
    "embedding.sum_groups": {"shape": "2 int64", "starts": "int64[]", "indices": "int64[]", "add": "int64"},
    "losses.cross_entropy_rows": {"shape": "2 int64", "labels": "int64[]", "smoothed": "bool"},
    "unpack.unpack_rows": {
        name: "int64[]" for name in ("lengths", "ends", "source_steps", "source_starts", "target_steps", "target_starts")
    },
    "weights.sum_sequences": {"starts": "int64[]"},
}  # fmt: skip


def parsed(text):
    """The Numba type of a dtype's name, a count and a name, or a name and []."""
    from numba import from_dtype
    from numba import types as numba_types

    *count, name = text.split()
    scalar = from_dtype(np.dtype(name.removesuffix("[]")))
    if count:
        return numba_types.UniTuple(scalar, int(*count))
    return scalar[::1] if name.endswith("[]") else scalar


def argument_type(kernel, name, cell, dtype):
    """The Numba type of a kernel's parameter, which its name tells: an array of the dtype if nothing else."""
    from numba.cuda.typing.typeof import typeof

    if name == "cell":
        return cell._numba_type_
    if name == "call":
        return typeof(zeros_of(of_kernel(CALLS, kernel)))
    if name == "each":
        return typeof(zeros_of(records.Each))
    own = of_kernel(OTHERS, kernel, {}).get(name) or OTHERS.get(name)
    if own:
        return parsed(own)
    return parsed(dtype if name in NUMBERS else f"{dtype}[]")


def zeros_of(record):
    """A record of zeros."""
    return record(
        **{
            name: (0,) * records.MOST_SLOTS if kind == tuple[int, ...] else 0
            for name, kind in record.__annotations__.items()
        }
    )


def threads_of(kernel, dispatcher):
    """The most threads of a block of a kernel."""
    bounds = dispatcher.targetoptions.get("launch_bounds")
    if bounds:
        return bounds if isinstance(bounds, int) else bounds[0]
    return getattr(sys.modules[dispatcher.py_func.__module__], "THREADS", THREADS)


def compile_one(kernel, cell, dtype):
    """(registers, shared memory, stack, spills, faults) of a kernel for a cell and a dtype, and how long that took."""
    start = time.perf_counter()
    text, said = linked(kernel, cell, dtype)
    faults = []
    if dtype == "float32" and (wide := WIDE.findall(text)):
        faults.append(f"{len(wide)} instructions in float64, such as {wide[0]}")
    stack, stored, loaded = (sum(numbers) for numbers in zip(*(map(int, found) for found in SPILL.findall(said))))
    registers = int(re.search(r"Used (\d+) registers", said)[1])
    shared = re.search(r"(\d+) bytes smem", said)
    threads = threads_of(kernel, import_kernels()[kernel])
    most = of_kernel(SPILLED, kernel, 0)
    if max(stored, loaded) > most:
        faults.append(f"{stored + loaded} bytes of registers spilled")
    if stack > most:
        faults.append(f"a stack of {stack} bytes")
    if registers * threads > REGISTERS:
        faults.append(f"{registers} registers for {threads} threads")
    return registers, int(shared[1]) if shared else 0, stack, stored + loaded, faults, time.perf_counter() - start


def attempt(job):
    """`compile_one`, an exception being a fault."""
    try:
        return compile_one(*job)
    except Exception as error:  # noqa: BLE001 (of whatever class: the others are compiled all the same)
        return 0, 0, 0, 0, [f"{type(error).__name__}: {str(error)[-2000:]}"], 0.0


def label(cell):
    """A cell with the fields that differ from their defaults."""
    if cell is None:
        return ""
    shown = []
    for field in fields(cell):
        value = getattr(cell, field.name)
        if value != field.default:
            shown.append(label(value) if isinstance(value, cells.Cell) else f"{field.name}={value!r}")
    return f"{type(cell).__name__.removesuffix('Cell')}({', '.join(shown)})"


def main():
    """Compile, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kernel", default="", help="only kernels with this in their name")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    if not COMPILED:
        print("numba-cuda is not installed")
        return 1
    tasks = jobs(arguments.kernel)
    bad = 0
    print(f"{'kernel':<28} {'cell':<45} {'dtype':<7} registers shared stack spills seconds")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=spawn, initializer=without_device) as pool:
        for (kernel, cell, dtype), result in zip(tasks, pool.map(attempt, tasks)):
            registers, shared, stack, spills, faults, seconds = result
            taken = f"{registers:>9} {shared:>6} {stack:>5} {spills:>6} {seconds:>7.1f}"
            print(f"{kernel:<28} {label(cell):<45.45} {dtype:<7} {taken}", flush=True)
            for fault in faults:
                print(f"    FAULT: {fault}")
            bad += bool(faults)
    print(f"{len(tasks)} compiled, {bad} with faults")
    return bool(bad) or not tasks


if __name__ == "__main__":
    sys.exit(main())
