"""Counts instructions of the loops over depth in the machine code of an H100, without one: `python tests/cuda/loops.py`.

It reads the machine code that `compile_kernels` makes, and needs the same packages.  A loop over depth is an innermost loop
with multiplications and additions.  The exit status is 1 if such a loop has more than MOST instructions for each of them, or
loads from an address that may be in shared or in other memory.  It is also 1 if blocks that wait for each other use another
fence than a release, or empty a cache each time that they look.
"""

import re
import sys

import compile_kernels

from numbarnn import cells

MOST = 4.0
MOST_OF_RESIDENT = 2.0  # of a column in registers, some of whose numbers are spilled
KERNELS = (
    ("recurrent.forward", cells.GRUAfterCell()), ("recurrent.forward", cells.LSTMCell()),
    ("recurrent.forward", cells.RNNCell()), ("recurrent.backward", cells.GRUAfterCell()),
    ("clustered.forward", cells.LSTMCell()), ("clustered.backward", cells.GRUAfterCell()),
    ("resident.forward", cells.GRUAfterCell()), ("resident.backward", cells.LSTMCell()),
)  # fmt: skip


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


def slow_waits(text):
    """What is wrong with how blocks wait for each other, in words."""
    found = [f"{name} instead of a release" for name in ("MEMBAR.SC", "ATOMG") if name in text]
    if not re.search(r"MEMBAR\.ALL\.GPU", text):
        found.append("no release")
    if any("CCTL.IVALL" in instruction for body in loops(text) for instruction in body):
        found.append("a cache is emptied each time that a counter is looked at")
    return found


def main():
    """Print the table, and return the exit status."""
    compile_kernels.without_device()
    bad, seen, slow = 0, 0, []
    print(f"{'kernel':<20} {'cell':<12} instructions multiply-adds each LDS.128 other LDS from memory from either")
    for kernel, cell in KERNELS:
        text, _ = compile_kernels.linked(kernel, cell, "float32")
        if kernel.startswith("recurrent"):
            slow += [f"{kernel}, {type(cell).__name__}: {found}" for found in slow_waits(text)]
        for body in loops(text):

            def count(pattern, body=body):
                return sum(re.search(pattern, instruction) is not None for instruction in body)

            products, either = count(r"\bFFMA\b"), count(r"\bLD\.E")
            wide = count(r"\bLDS\S*\.128")
            if products < 4 or not wide:
                continue
            each = len(body) / products
            seen += 1
            bad += each > (MOST_OF_RESIDENT if kernel.startswith("resident") else MOST) or either > 0
            name = type(cell).__name__.removesuffix("Cell")
            print(
                f"{kernel:<20} {name:<12} {len(body):>12} {products:>13} {each:>4.1f} {wide:>7} "
                f"{count(r'LDS') - wide:>9} {count(r'LDG'):>11} {either:>11}", flush=True,
            )  # fmt: skip
    print(f"{seen} loops over depth, {bad} of too many instructions a multiply-add, or with loads from either")
    print("\n".join(slow) or "blocks wait by a release, and by looking at a counter alone")
    return bool(bad or slow) or seen < len(KERNELS)


if __name__ == "__main__":
    sys.exit(main())
