"""The steps of a stream on a GPU: kernels launched one after the other for each step."""


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
