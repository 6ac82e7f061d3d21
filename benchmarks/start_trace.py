"""Where the seconds of a compilation go: by stage of Numba and LLVM, and by function, from Numba's events."""

import collections
import time

from numba.core import codegen, event

from numbarnn.engine.compilations import watched

SHOWN = 15  # functions of a table
STAGES = {  # Numba's passes; any other is one of its own rewriting of code
    "nopython_type_inference": "type inference",
    "native_lowering": "lowering to LLVM's language",
    "lower_to_text": "lowering to LLVM's language",
    "lower_to_whole": "lowering to LLVM's language",
    "translate_bytecode": "reading byte code",
}
LLVM = {  # methods of Numba's libraries of code
    "add_ir_module": "LLVM: reading its language",
    "_optimize_functions": "LLVM: optimization",
    "_optimize_final_module": "LLVM: optimization",
    "_finalize_specific": "LLVM: machine code",
    "finalize": "LLVM: linking",
    "_get_module_for_linking": "LLVM: linking",
}


class Trace(event.Listener):
    """A context manager that notes what a single thread spends on each stage and each function, nothing twice."""

    def __init__(self):
        self.stages, self.functions, self.times = (collections.Counter() for _ in range(3))
        self._open, self._patched = [], []

    def __enter__(self):
        self.begun = time.perf_counter()
        self._begin("not compiling", "")
        event.register("numba:run_pass", self)
        for name, stage in LLVM.items():
            self._time(next(cls for cls in codegen.JITCodeLibrary.__mro__ if name in vars(cls)), name, stage)
        self._watched = watched()
        self._kernels = self._watched.__enter__()
        return self

    def __exit__(self, *exception):
        self._watched.__exit__(*exception)
        for cls, name, method in self._patched:
            setattr(cls, name, method)
        event.unregister("numba:run_pass", self)
        self._end()
        self.seconds = time.perf_counter() - self.begun

    def on_start(self, event):
        """A pass of Numba begins."""
        name, _, function = event.data["name"].removesuffix("]").rpartition(" [")
        self._begin(STAGES.get(name, "other passes"), function)
        if name == "translate_bytecode":
            self.times[function] += 1

    def on_end(self, event):
        """It ends."""
        self._end()

    def _time(self, cls, name, stage):
        """Note what a method spends."""
        method = vars(cls)[name]
        self._patched.append((cls, name, method))

        def timed(*arguments, **keywords):
            self._begin(stage, self._open[-1][1])
            try:
                return method(*arguments, **keywords)
            finally:
                self._end()

        setattr(cls, name, timed)

    def _begin(self, stage, function):
        self._close()
        self._open.append((stage, function))

    def _end(self):
        self._close()
        self._open.pop()

    def _close(self):
        """Count the time since the last change for the stage that was on."""
        now = time.perf_counter()
        if self._open:
            stage, function = self._open[-1]
            self.stages[stage] += now - self._since
            self.functions[function] += now - self._since
        self._since = now

    def summary(self):
        """What was found, for JSON: the largest first."""
        functions = [(name, seconds, self.times[name]) for name, seconds in self.functions.most_common() if name]
        kernels = sorted(((each.name, each.seconds) for each in self._kernels if not each.found), key=lambda one: -one[1])
        stages = self.stages.most_common()
        return {"seconds": self.seconds, "stages": stages, "kernels": kernels, "functions": functions[:SHOWN]}
