"""Passes of a training, forward or back through all layers, each by as few calls of compiled code as can be."""

from ..arrays.devices import backend
from ..layers.operations import NotInPrograms


class Passes:
    """Steps that are taken again and again, in order: those that stand together and can be are one program.

    Parameters
    ----------
    device : str
        On a GPU each step is taken by itself.
    steps : sequence of (callable, callable)
        What takes a step, and what adds it to a program, or raises NotInPrograms.
    """

    def __init__(self, device, steps):
        self._calls, self._kept, program = [], [], None
        for take, add_to in steps:
            if device != "cpu" or not _can_be_added(add_to):
                self._calls.append(take)
                program = None
                continue
            if program is None:
                program = backend(device).programs.Program()
                self._calls.append(program.run)
            add_to(program)

    def run(self):
        """Take all steps."""
        for call in self._calls:
            call()


def _can_be_added(add_to):
    """Whether a step can be part of a program, and one thread does not have to do what several would share."""
    trial = backend("cpu").programs.Program()
    try:
        add_to(trial)
    except NotInPrograms:
        return False
    return not trial.alone
