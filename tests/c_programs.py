"""The C of an exported network: compiled by this machine's compilers and called by ctypes."""

import ctypes
import re
import shutil
import subprocess

import numpy as np

WARNINGS = ["-Wall", "-Wextra", "-Werror"]
FIELD = re.compile(r"^    (?:float|double) (\w+)\[(\d+)\];", re.M)


def compiler(name):
    """The path of a compiler, or None where it is not."""
    return shutil.which(name)


def called(*command, **options):
    """What a command prints, which must succeed, and without a word on stderr."""
    found = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False, **options)
    assert found.returncode == 0 and not found.stderr, f"{command}\n{found.stdout[-2000:]}{found.stderr[-8000:]}"
    return found.stdout


class Exported:
    """A network's C as a shared library.

    Attributes
    ----------
    state : ctypes.Structure
        One state, of zeros until `reset`.
    fields : list of str
        The names of its arrays.
    """

    def __init__(self, net, folder, dtype=None, flags=("-O2",), cc="gcc", name="net"):
        self.paths = net.export_c(folder, name, dtype)
        self.dtype = net.dtype if dtype is None else np.dtype(dtype)
        header, source, _ = self.paths
        library = folder / f"{name}-{cc}-{len(list(folder.iterdir()))}.so"
        called(cc, "-std=c99", *flags, *WARNINGS, "-shared", "-fPIC", source, "-o", library, "-lm")
        self._library, self._name = ctypes.CDLL(str(library)), name
        kind = ctypes.c_float if self.dtype == np.float32 else ctypes.c_double
        fields = FIELD.findall(header.read_text())
        self.fields = [field for field, _ in fields]
        self.outputs = int(re.search(r"_OUTPUT (\d+)", header.read_text())[1])
        parts = [(field, kind * int(count)) for field, count in fields] or [("unused", ctypes.c_char)]
        self.state = type("State", (ctypes.Structure,), {"_fields_": parts})()

    def _call(self, function, *args):
        return getattr(self._library, f"{self._name}_{function}")(ctypes.byref(self.state), *args)

    def reset(self):
        """Let the sequence begin."""
        self._call("reset")

    def array(self, field):
        """An array of the state: a view."""
        return np.ctypeslib.as_array(getattr(self.state, field))

    def step(self, x):
        """y of a step, and what the function returns where that is an int."""
        return self.run(x[None], "step")[0]

    def run(self, x, function="run"):
        """y (T, outputs) of the steps x (T, C), or (T,) of indices."""
        x = np.ascontiguousarray(x)
        y = np.full((len(x), self.outputs), np.nan, self.dtype)
        steps = () if function == "step" else (ctypes.c_size_t(len(x)),)
        self.returned = self._call(function, *(ctypes.c_void_p(a.ctypes.data) for a in (x, y)), *steps)
        return y

    def put(self, states):
        """Set the state to the state of a Stream of one sequence."""
        for field, values in zip(self.fields, flat_states(states)):
            self.array(field)[:] = values

    def states(self):
        """The arrays of the state: copies."""
        return [self.array(field).copy() for field in self.fields]


def flat_states(states):
    """The arrays of a Stream's state, of one sequence, in the order of the fields."""
    found = []
    for state in states:
        parts = state if isinstance(state, tuple) else (state,)
        for stacked in range(len(parts[0])):
            found += [part[stacked, 0] for part in parts]
    return found
