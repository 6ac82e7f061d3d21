"""What is done on a GPU again and again: the steps of a stream, passes of a training, and copies between them."""

from .records import Gates
from .repeated import Joined, Repeated
from .weights import copy


class Steps:
    """What takes a step of a sequence at a time, and goes on where it has stopped; see `numbarnn.cpu.programs.Steps`."""

    def __init__(self, x, y, operations):
        self._x, self._y = x, y
        self._steppers = [step for operation in operations for step in operation.steppers()]

    def step(self):
        """Take the step that is the first of x; its output is then the first of y."""
        for step in self._steppers:
            step()

    def run(self, source, target):
        """Take all steps of a sequence, and write their outputs to `target`."""
        for t in range(len(source)):
            self._x[0] = source[t]
            self.step()
            target[t] = self._y[0]

    def feed_back(self, steps):
        """Take so many steps from the output of the one before: ``steps[t]`` gives ``steps[t + 1]``."""
        self.run(steps[:-1], steps[1:])


def most_steps(batch):
    """How many steps a stream of so many sequences takes at once."""
    return 1


class Copy:
    """Copies an array to another, both C-contiguous; the other is modified."""

    def __init__(self, source, target):
        self._copy = Gates(1, 1, source.size, 0, 0, 0, 1, (0,), 0, 0, 0)
        self._arrays, self._repeated = (source.reshape(-1), target.reshape(-1)), Repeated(1, source.dtype)

    @property
    def recording(self):
        """The launch that `fill` is, once it has been noted; else None."""
        return self._repeated.recording

    def fill(self):
        """Copy the numbers as they are now."""
        self._repeated.run(lambda scratch: copy(self._arrays[0].dtype.type(0), (self._copy,), *self._arrays))


__all__ = ["Copy", "Joined", "Steps", "most_steps"]
