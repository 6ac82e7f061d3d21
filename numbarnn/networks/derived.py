"""What networks and graphs alike make of forward derivatives and of the way back."""

import numpy as np

from ..arrays.devices import backend, contiguous, device_of
from ..arrays.rows import like, numbers
from ..parameters import Parameters
from .dual_numbers import Way
from .placing import brought, on_host

ROWS = 1 << 13  # steps of all sequences that go back together: what they keep stays in the L3 cache
TOGETHER = 64  # tangents at once: each loads the weights that all share
TANGENT_NUMBERS = 1 << 22  # numbers of a layer's rows that several tangents have at once, at most


class Derived:
    """The part of a network, or of a graph, that is the same in both.

    It has `layers`; `_curved_loss`, the loss that a caller gives, if its second derivative is known; `_passing`, which makes
    a `Passing` of parameters, samples and a loss; `_workspace`, which computes a gradient by itself; and `_counts` and
    `_is_apart`, which look at samples.

    given: in all methods what `_samples` takes besides the loss, by name, as a caller has it.
    """

    def _gauss_newton(self, flat, vector, loss, given):
        """`gauss_newton_product`."""
        return self._gauss_newton_products(flat, loss, given)(vector)

    def _gauss_newton_products(self, flat, loss, given):
        """A function of a vector that returns its `gauss_newton_product`: all of its calls share one forward."""
        (at, home), loss = self._parameters_at(flat), self._curved_loss(loss)
        passing = self._passing(self.split(at.flat), self._samples(**given, loss=loss), loss)

        def product(vector):
            slopes = [
                None if moved is None else seen.slope(seen.bent(seen.value, moved))
                for seen, moved in zip(passing.seen, passing.moved(self._direction("vector", vector)))
            ]
            gradient = at.zeros()
            passing.back(slopes, self.split(gradient.flat))
            return brought(gradient.flat, home)

        return product

    def _hessian_product(self, flat, vector, loss, given):
        """`hvp`."""
        if self.device != "cpu" and not all(layer.on_duals for layer in self.layers):
            here = {name: on_host(name, each) for name, each in given.items()}
            return self.to("cpu").hvp(flat, vector=on_host("vector", vector), **here, loss=loss)
        (at, home), loss = self._parameters_at(flat), self._curved_loss(loss)
        way = Way(self._direction("vector", vector))
        parts = way.parameters(self, at.flat)
        passing = self._passing(parts, self._samples(**given, loss=loss), loss, way.constant)
        slopes = []
        for seen in passing.seen:
            value, moved = way.parts(seen.value, self.dtype)
            slopes.append(seen.slope(way.dual(seen.derivative(value), seen.bent(value, moved))))
        gradient = [part.zeros() for part in parts]
        passing.back(slopes, gradient)
        return brought(way.moved(gradient, self.dtype), home)

    def _gradients_of_samples(self, flat, loss, given):
        """`sample_gradients`."""
        (at, home), loss = self._parameters_at(flat), self._found_loss(loss)
        samples, parts = self._samples(**given, loss=loss), self.split(at.flat)
        found = backend(self.device).memory.zeros((samples.x.count, len(at)), self.dtype)
        for chosen in pieces_of(samples):
            if not self._gradients_together(parts, samples, loss, chosen, found):
                for n in chosen:
                    alone = samples.take(np.array([n]))
                    if self._counts(alone, loss):
                        self._workspace(self.split(found[n]), parts).gradient(alone, loss)
        return brought(found, home)

    def _gradients_together(self, parts, samples, loss, chosen, found):
        """Write the gradients of some samples at once (their rows of `found` are modified); False if that cannot be done."""
        if len(chosen) < 2 or not self._is_apart(samples, loss):
            return False
        whole = len(chosen) == len(found)
        passing = self._passing(parts, samples if whole else samples.take(chosen), loss)
        if not passing.separable():
            return False
        into = found if whole else backend(self.device).memory.zeros((len(chosen), found.shape[1]), self.dtype)
        slopes = [seen.slope(seen.derivative_apart()) for seen in passing.seen]
        passing.back(slopes, parts, columns_of(into, parts))
        if not whole:
            found[chosen] = into
        return True


def pieces_of(samples):
    """[numbers of samples]: as many that go back together as have about `ROWS` steps, the longest first."""
    steps = np.max(samples.steps_of_samples, axis=0)
    order = np.argsort(-steps, kind="stable")
    pieces = np.searchsorted(np.cumsum(steps[order]), np.arange(ROWS, int(steps.sum()), ROWS))
    return [piece if len(piece) < len(steps) else np.arange(len(steps)) for piece in np.split(order, pieces) if len(piece)]


def columns_of(found, parts):
    """[view]: the columns of an array (..., P) that belong to each layer's Parameters."""
    ends = np.cumsum([len(part) for part in parts])
    return [found[..., end - len(part) : end] for part, end in zip(parts, ends)]


def fill_by_tangents(found, parts, width, device, moved):
    """Write Jacobians forward, some parameters at a time.

    found: of each output (..., P), which are modified; parts: Parameters of each layer; width: numbers of a layer's rows
    that a tangent has at most; moved: a function of the index of a layer and of directions of its Parameters, which gives
    for each output the numbers of its tangents, one for each direction, or none for zeros.
    """
    of_layers = zip(*(columns_of(jacobian, parts) for jacobian in found))
    for index, (part, columns) in enumerate(zip(parts, of_layers)):
        for first, directions in unit_ways(part, width, device):
            for jacobian, tangents in zip(columns, moved(index, directions)):
                for m, tangent in enumerate(tangents):
                    jacobian[..., first + m] = tangent


def repeated(array, count):
    """(T, count N, C): all sequences of an array (T, N, C), and all of them again."""
    steps, batch, channels = array.shape
    return np.broadcast_to(array[:, None], (steps, count, batch, channels)).reshape(steps, count * batch, channels)


def ones_at(described, places, batch):
    """A descriptor like one of sequences that are `repeated`: 1 for each k at the k-th (k, step, channel), 0 elsewhere.

    batch: N, of the k-th sequences.
    """
    ways = np.zeros(described.packing.shape(described.channels), described.dtype)
    for k, step, channel in places:
        ways[step, k * batch : (k + 1) * batch, channel] = 1
    found = like(described)
    numbers(found)[...] = brought(ways, device_of(found.array))
    return found


def unit_ways(part, width, device):
    """Yield (first, directions) for some of a layer's numbers at a time: direction k has a 1 at number ``first + k``.

    width: numbers of a layer's rows that a tangent has at most.
    """
    together = max(1, min(TOGETHER, TANGENT_NUMBERS // max(1, width)))
    for first in range(0, len(part), together):
        count = min(together, len(part) - first)
        ways = np.zeros((count, len(part)), part.flat.dtype)
        ways[np.arange(count), first + np.arange(count)] = 1
        yield first, [Parameters(way, part.weights) for way in brought(ways, device)]


def laid_out(jacobian, letters):
    """A Jacobian (T, N, C, P) with its first axes in the order of some letters; those that are left out are of length 1."""
    kept = [letter for letter in "tnc" if letter in letters]
    squeezed = jacobian.squeeze(tuple(i for i, letter in enumerate("tnc") if letter not in letters))
    return contiguous(squeezed.transpose([*map(kept.index, letters), len(kept)]))
