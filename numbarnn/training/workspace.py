"""The memory of a training: what the layers keep, and a batch, for batches that are alike."""

import contextlib
import math
from dataclasses import replace

import numpy as np

from ..arrays.descriptor import is_on_device
from ..arrays.devices import backend, device_of, take
from ..arrays.rows import like
from ..cpu.pool import pool
from ..cpu.threads import threads
from ..engine.keep import kept
from ..layers.fed import FED, FedAdjoint
from ..layers.operations import NotInPrograms
from .losses import is_of_library, is_of_squares
from .passes import Passes
from .rooms import roomy_steps

KEPT_BYTES = 1 << 28  # workspaces kept for the next batch of their size, in all
OBJECT_BYTES = 1 << 16  # of a workspace, besides its arrays


class Workspace:
    """A network's forward and backward; on batches of one size memory and kernel calls are made once, and used again.

    parts: the parameters of each layer; into: where each writes its gradient, likewise; reading: see `Network._forward`.
    """

    def __init__(self, network, into, parts, tape="all", checkpoints=None, reading=None):
        self.network, self.into, self.parts, self.kept = network, into, parts, (tape, checkpoints)
        self.reading, self._on_gpu = reading, network.device != "cpu"
        self._tapes = self._adjoints = self._passes = self._fed = self._back = None
        self._squares = self._joined = None  # see `_together`
        self._started = False  # whether the layers start from states that were given

    @property
    def nbytes(self):
        """Bytes of the arrays that the layers' tapes hold."""
        return sum(tape.nbytes for tape in self._tapes or ())

    def gradient(self, samples, loss, random=None, initial=None):
        """The loss of a batch; its gradient is written to `into` (is modified).

        Samples of equal length must lie where the first call's samples lay.  random: a Generator, where dropout and the like
        are to be drawn.  initial: {index of a layer: the state it starts from}, and under FED the output that is fed at the
        first step; the others start afresh.
        """
        network = self.network
        if self._tapes is None or samples.ragged:
            self._batch, described = samples.batch()
            keep = kept(*self.kept, described.steps)
            if samples.feedback is None:
                self._output, self._tapes = network._forward(self.parts, described, keep, random, self.reading, initial)
            else:
                self._fed, self._given = network._fed(self.parts, described, keep, random, initial), described
                self._output, self._tapes = self._fed.outputs, self._fed.tapes
            self._started = bool(initial)
            self._adjoints = self._passes = self._squares = None
            self._seen = None if samples.in_rows else network._rows(self._output, samples)
        else:
            if initial or self._started:
                for index, tape in enumerate(self._tapes):
                    tape.start(initial.get(index) if initial else None)
                self._started = bool(initial)
            if random is not None:
                for tape in self._tapes:
                    tape.redraw(random)
            if self._fed is None:
                if self._passes is None:  # from the second time on
                    self._passes = self._prepared()
                together = self._together(samples, loss) if self._on_gpu else None
                if together is not None:
                    together.run()
                    value = self._squares.mean()
                    if math.isfinite(value):
                        return value
                else:
                    self._passes[0].run()
        if self._fed is not None:
            self._fed.fill(self._given, samples.strength_rows(self._batch), (initial or {}).get(FED))
        prediction = network._rows(self._output, samples) if self._seen is None else self._seen
        if not (is_on_device(prediction) and is_of_library(loss)):  # a loss of one's own may write to it
            prediction = prediction.copy()
        target = network._target_rows(self._batch, self._output, samples)
        weights = network._weight_rows(self._batch, samples)
        value, dy = network._call_loss(loss, prediction, target, weights, samples)
        if self._adjoints is None:
            self._start_backward(samples)
        np.copyto(self._dy, dy)
        if self._back is not None:
            self._back.fill()
        elif self._passes is not None:
            self._passes[1].run()
        else:
            for adjoint in self._adjoints:
                adjoint.fill()
        return value

    def final(self):
        """{index of a layer: the state in which the last batch has left it}, as `gradient` takes them: copies."""
        found = {index: self._tapes[index].final() for index in self.network._stateful}
        return found if self._fed is None else found | {FED: self._fed.last()}

    def _start_backward(self, samples):
        """The layers' backward, each reading what the one above it writes."""
        described = dy = like(self._output)
        self._dy, self._adjoints = self.network._rows(described, samples), []
        for index in reversed(range(len(self._tapes))):
            need_x = index > 0 or self._fed is not None
            adjoint = self._tapes[index].adjoint(described, need_x, self.into[index], False)
            adjoint.spare()
            self._adjoints.append(adjoint)
            described = adjoint.dx
        if self._fed is not None:
            self._back = FedAdjoint(self._fed, dy, self._adjoints)

    def _together(self, samples, loss):
        """On a GPU what takes forward, the loss and backward, which the host then waits for once; None for other losses.

        The loss, of squares, is one kernel of arrays that stay in place.  Where its mean is not finite it is to be taken
        again, and backward, in the way that knows what float32 cannot hold.
        """
        target = samples.y.array
        if not is_of_squares(loss) or samples.weights is not None or samples.in_rows:
            return None
        if self._squares is None or not self._squares.is_of(target, loss.factor):
            on, arrays = backend(self.network.device), (self._seen, target, self._dy)
            one = {(each.shape, each.dtype, each.flags.c_contiguous) for each in arrays}
            if one != {(self._seen.shape, self._seen.dtype, True)} or self.network.output_layout[-1] != "c":
                return None
            self._squares = on.losses.Squares(*arrays, loss.factor)
            self._joined = on.programs.Joined([*self._onward(), self._squares.fill, *self._back_again()])
        return self._joined

    def _onward(self):
        return [fill for tape in self._tapes for fill in tape.operation.fills()]

    def _back_again(self):
        return [fill for adjoint in self._adjoints for fill in adjoint.fills]

    def _prepared(self):
        """The Passes forward and back; on a GPU what takes the steps that they are made of."""
        device = self.network.device
        if self._on_gpu:
            joined = backend(device).programs.Joined
            return joined(self._onward()), joined(self._back_again())
        onward = [(tape.fill, tape.operation.add_to) for tape in self._tapes]
        back = [(adjoint.fill, adjoint.add_to) for adjoint in self._adjoints]
        return Passes(device, onward), Passes(device, back)


class BatchBuffer:
    """Memory for batches of as many samples, of as many steps each, as a first one: x lies in one place.

    So do targets on a GPU.

    Parameters
    ----------
    samples : Samples
        Of the first batch.
    part : tuple
        What `take` takes besides.
    """

    def __init__(self, samples, *part):
        first = samples.x.some_steps(*part).array
        self._x = backend(device_of(first)).memory.empty(first.shape, first.dtype)
        self._y = None
        if samples.device != "cpu" and samples.classes is None:
            self._y = np.empty_like(samples.y.some_steps(*part).array)
        self._common = {"lengths": None, "stepwise": samples.in_rows} | ({"layout": "tnc"} if samples.x.ragged else {})
        self.nbytes = self._x.nbytes + (0 if self._y is None else self._y.nbytes)

    def take(self, samples, chosen, first, steps):
        """So many steps from the first on of some samples, which must have them: x is overwritten by the next call."""
        x = samples.x.some_steps(chosen, first, steps, self._x)
        others = (samples.y, self._y), (samples.weights, None), (samples.strengths, None)
        y, weights, strengths = (
            None if part is None else part.some_steps(chosen, first, steps, out) for part, out in others
        )
        there = samples.labels_there
        if there is not None:  # which is not sent with each batch
            there = take(there[first : first + steps] if samples.stepped else there, chosen, 1).reshape(-1)
        return replace(samples, x=x, y=y, weights=weights, strengths=strengths, there=there, **self._common)


class Workspaces:
    """A workspace and a buffer for each number of samples, of steps and of threads; the longest unused ones go.

    Batches whose samples differ in length have no buffer, and a workspace that follows them where the layers can, see
    `RaggedWorkspace`; else what they take is made anew.

    Parameters
    ----------
    make : callable
        Returns a new workspace.
    following : callable, optional
        Returns a new RaggedWorkspace, from the most steps of a sequence and the number of them.
    """

    def __init__(self, make, following=None):
        self._make, self._anew, self._last, self._following = make, make(), None, following
        self._met = set()  # the keys of batches of different lengths
        self._kept = {}  # {(samples, steps, threads, ...): (workspace, buffer, bytes)}, the longest unused first

    def _common_steps(self, samples, chosen, span):
        """How many steps each of some samples has in a span; None if they differ, or are none, or a sample starts afresh."""
        if samples.reset is not None:
            return None
        steps = samples.lengths_of_x[chosen]
        if span is not None:
            steps = np.clip(steps, *span) - span[0]
        common = int(steps[0])
        return common if common and (len(steps) == 1 or (steps == common).all()) else None

    def gradient(self, samples, chosen, loss, random, span=None, initial=None):
        """The loss of some samples; its gradient is written where the workspaces write it.

        span: (begin, end) of the steps that are meant, not all.  initial: see `Workspace.gradient`.
        """
        steps = self._common_steps(samples, chosen, span)
        if steps is None:
            batch = samples.take(chosen) if span is None else samples.between(chosen, *span)
            follower = self._follower(samples, chosen) if random is span is initial is None else None
            if follower is not None:
                return follower.gradient(batch, loss)
            self._last = self._anew
            return self._anew.gradient(batch, loss, random, initial)
        # Each number of threads has plans of its own.
        key = len(chosen), steps, threads(), samples.kind, self._started(initial)
        kept = self._kept.pop(key, None)
        part = chosen, 0 if span is None else span[0], steps
        workspace, buffer, _ = kept or (self._make(), self._buffer(samples, *part), 0)
        self._last = workspace
        # What is made while one thread goes alone would be for one thread ever after; and the first run of new memory takes
        # long, so that it does not tell whether sharing pays.
        with contextlib.nullcontext() if kept or key[2] == 1 else pool.without_rest():
            value = workspace.gradient(buffer.take(samples, *part), loss, random, initial)
        self._kept[key] = kept or (workspace, buffer, workspace.nbytes + buffer.nbytes + OBJECT_BYTES)
        if kept is None:
            self._let_go()
        return value

    def once(self, samples, loss):
        """The loss of all of some samples, read where they lie; nothing is kept."""
        return self._make().gradient(samples, loss)

    @property
    def nbytes(self):
        """Bytes of the workspaces and buffers that are kept."""
        return sum(nbytes for _, _, nbytes in self._kept.values())

    def _follower(self, samples, chosen):
        """A RaggedWorkspace for batches of as many samples as are chosen; None where there can be none."""
        lengths = samples.lengths_of_x
        if self._following is None or not samples.can_be_followed() or not lengths[chosen].all():
            return None
        key = len(chosen), roomy_steps(int(lengths.max())), threads(), samples.kind, "of lengths"
        workspace = self._kept.pop(key, (None,))[0]
        if workspace is None:
            if key not in self._met:  # to make one pays from the second batch on
                self._met.add(key)
                return None
            try:
                workspace = self._following(key[1], key[0])
            except NotInPrograms:  # one for fewer samples might be made: it would gain less
                self._following = None
                return None
        self._kept[key] = workspace, None, workspace.nbytes + OBJECT_BYTES
        self._let_go()
        return workspace

    def _started(self, initial):
        """What of the states that layers start from makes another workspace: nothing, see `Workspace.gradient`."""

    def _buffer(self, *part):
        """Memory for batches like one; see `BatchBuffer`."""
        return BatchBuffer(*part)

    def final(self):
        """The states in which the last batch has ended, see `Workspace.final`."""
        return self._last.final()

    def _let_go(self):
        """Forget the workspaces that were not used for longest, as far as there are too many bytes."""
        total = self.nbytes
        for key in list(self._kept)[:-1]:
            if total <= KEPT_BYTES:
                break
            total -= self._kept.pop(key)[2]
