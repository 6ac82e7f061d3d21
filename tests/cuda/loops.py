"""Counts instructions of the loops over depth in the machine code for sm_90, without a GPU: `python tests/cuda/loops.py`.

It needs what `compile_kernels` needs, and nvdisasm (pip install nvidia-cuda-nvdisasm).  A loop over depth is an innermost
loop with multiplications and additions; the exit status is 1 if one of them has more than MOST instructions for each, or a
load from an address that may be of shared memory or of any other.
"""

import inspect
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import compile_kernels

from numbarnn import cells

MOST = 4.0
KERNELS = (
    ("recurrent.forward", cells.GRUAfterCell()), ("recurrent.forward", cells.LSTMCell()),
    ("recurrent.forward", cells.RNNCell()), ("recurrent.backward", cells.GRUAfterCell()),
)  # fmt: skip


def machine_code(kernel, cell, dtype="float32"):
    """The text of a kernel's machine code."""
    dispatcher = compile_kernels.import_kernels()[kernel]
    parameters = inspect.signature(dispatcher.py_func).parameters
    signature = tuple(compile_kernels.argument_type(kernel, name, cell, dtype) for name in parameters)
    bounds = {"launch_bounds": dispatcher.targetoptions["launch_bounds"]}
    ptx, _ = compile_kernels.numba_cuda.compile_ptx(dispatcher.py_func, signature, cc=compile_kernels.CAPABILITY, **bounds)
    with tempfile.TemporaryDirectory() as folder:
        source, code = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        assembler = compile_kernels.assembler()
        subprocess.run([assembler, "-arch=sm_90", source, "-o", code], check=True)
        beside = Path(assembler).with_name("nvdisasm")
        command = [beside if beside.exists() else "nvdisasm", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def loops(text):
    """The instructions of each innermost loop."""
    instructions, labels = [], {}
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L\S+):", line):
            labels[label[1]] = len(instructions)
        elif instruction := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            instructions.append(instruction[1])
    found = []
    for end, instruction in enumerate(instructions):
        jump = re.search(r"BRA.*`\((\.L\S+)\)", instruction)
        if jump and labels.get(jump[1], end + 1) <= end:
            found.append((labels[jump[1]], end))
    inner = [one for one in found if not any(o != one and one[0] <= o[0] and o[1] <= one[1] for o in found)]
    return [instructions[first : end + 1] for first, end in inner]


def main():
    """Print the table, and return the exit status."""
    compile_kernels.without_device()
    bad, seen = 0, 0
    print(f"{'kernel':<20} {'cell':<12} instructions multiply-adds each LDS.128 other LDS from memory from either")
    for kernel, cell in KERNELS:
        for body in loops(machine_code(kernel, cell)):

            def count(pattern, body=body):
                return sum(re.search(pattern, instruction) is not None for instruction in body)

            products, either = count(r"\bFFMA\b"), count(r"\bLD\.E")
            if products < 4 or not count(r"\bLDS"):
                continue
            wide, each = count(r"\bLDS\S*\.128"), len(body) / products
            seen += 1
            bad += each > MOST or either > 0
            name = type(cell).__name__.removesuffix("Cell")
            print(
                f"{kernel:<20} {name:<12} {len(body):>12} {products:>13} {each:>4.1f} {wide:>7} "
                f"{count(r'LDS') - wide:>9} {count(r'LDG'):>11} {either:>11}", flush=True,
            )  # fmt: skip
    print(f"{seen} loops over depth, {bad} of more than {MOST} instructions a multiply-add, or with loads from either")
    return bool(bad) or seen < len(KERNELS)


if __name__ == "__main__":
    sys.exit(main())
