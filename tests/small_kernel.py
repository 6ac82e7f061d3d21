"""What a process runs that compiles a small C function as kernels are compiled, and says what it does.

It prints "compiles" when it begins to, and with the argument ``waits`` reads a line from its input before it goes on; then
the value, and whether it has compiled.
"""

import sys

from numba import types
from numba.core import event

from numbarnn.cpu.compiled import SOURCES
from numbarnn.engine.numba_internals import KeptCFunction


class Compilation(event.Listener):
    """Notes that Numba compiles, and may stop it there."""

    begun = False

    def on_start(self, event):
        """Called in mid-compilation."""
        if not self.begun:
            self.begun = True
            print("compiles", flush=True)
            if "waits" in sys.argv:
                sys.stdin.readline()

    def on_end(self, event):
        """Nothing."""


def threefold(number):
    """What is compiled."""
    return 3 * number


def main():
    """Compile it or find it, and call it."""
    compilation = Compilation()
    event.register("numba:run_pass", compilation)
    function = KeptCFunction(threefold, types.float64(types.float64), SOURCES, None)
    function.compile()
    print(function.ctypes(5.0), compilation.begun)
