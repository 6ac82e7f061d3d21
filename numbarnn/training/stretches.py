"""Parameters that each step of a training updates, all but the tables of which it updates some rows."""

import numpy as np

from ..arrays.devices import backend_of, moved


class Stretches:
    """Stretches of the vector of all parameters, which stand side by side in the vectors that go with them.

    Parameters
    ----------
    flat : numpy.ndarray
        All parameters (is modified).
    spans : sequence of (int, int)
        Where each begins and ends, rising.
    weights : sequence of Weight
        The named parts that they hold.

    Attributes
    ----------
    parts : list of (numpy.ndarray, slice)
        Each stretch, and where it is in the vectors that go with them.
    previous : numpy.ndarray
        The parameters before the last step.
    like : numpy.ndarray
        A vector as long as all of them, for an optimizer to begin with: the parameters themselves, if they are one stretch.
    """

    def __init__(self, flat, spans, weights):
        self.parts, self.weights, at = [], weights, 0
        for begin, end in spans or [(0, 0)]:
            self.parts.append((flat[begin:end], slice(at, at + end - begin)))
            at += end - begin
        values = [values for values, _ in self.parts]
        self.previous = values[0].copy() if len(values) == 1 else np.concatenate(values)
        self.like = values[0] if len(values) == 1 else self.previous.copy()
        self._all_finite = backend_of(flat).optimizers.all_finite

    def begin(self):
        """Until the parameters of a stretch have been copied, there is nothing to undo in it."""
        for _, part in self.parts:
            self.previous[part][:1] = np.nan

    def take(self, optimizer, gradient, memory, step, rate, scale):
        """One update by the library's kernels; whether all is finite after it, None where they do not say."""
        found = [
            optimizer._take(
                values, self.previous[part], gradient[part], [vector[part] for vector in memory], step, rate, scale
            )
            for values, part in self.parts
        ]
        if len(found) == 1:
            return found[0]
        return None if any(each is None for each in found) else all(found)

    def keep(self):
        """Copy all parameters to `previous`."""
        for values, part in self.parts:
            self.previous[part] = values

    def put_back(self, which):
        """Bring some parameters, a slice, back as they were before the step."""
        for values, part in self.parts:
            begin, end = max(which.start, part.start), min(which.stop, part.stop)
            if begin < end:
                values[begin - part.start : end - part.start] = self.previous[begin:end]

    def undo(self, on_host):
        """Bring all back as they were before the step, as far as it has changed any.

        On a GPU a kernel that was not launched yet leaves the parameters of one step earlier, as whole.
        """
        for values, part in self.parts:
            if not (on_host and np.isnan(self.previous[part][:1]).any()):
                values[...] = self.previous[part]

    def finite(self):
        """Whether all parameters are finite."""
        found = [self._all_finite(values) for values, _ in self.parts]
        return found[0] if len(found) == 1 else all(found)

    def numbers(self):
        """All of them, in the host's memory."""
        return np.concatenate([moved(values, "cpu") for values, _ in self.parts])

    def name(self, at):
        """The name of the part that holds number `at` of a vector that goes with them."""
        ends = np.cumsum([weight.size for weight in self.weights])
        return self.weights[int(np.searchsorted(ends, at, "right"))].name
