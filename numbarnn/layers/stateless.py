"""What layers without a state have in common: Dense, Activation, Dropout, Embedding, Last."""

import numpy as np

from ..arrays.batch import Batch
from ..arrays.descriptor import is_array, make_read_only
from ..arrays.devices import device_of, expect_device, native, share_memory
from ..arrays.ragged import Ragged
from ..engine.keep import ALL, NOTHING, WEIGHTS
from ..errors import DTypeError, flag
from ..parameters import Parameters
from .base import Gradients, Layer
from .chain import Tape, expect_tape
from .tangents import jvp, together


class Stateless(Layer):
    """The shared shape of the calls: y from x, and no state."""

    def __call__(
        self, p: Parameters, x: np.ndarray | Ragged, layout: str = "tnc", lengths: np.ndarray | None = None
    ) -> np.ndarray | Ragged:
        """Run the layer without keeping a tape; see `forward`."""
        batch, x = self._checked_input(p, x, layout, lengths)
        return self._given(batch, self.run(p, x, None, NOTHING)[0])

    def forward(
        self, p: Parameters, x: np.ndarray | Ragged, layout: str = "tnc", lengths: np.ndarray | None = None
    ) -> tuple[np.ndarray | Ragged, Tape]:
        """Run the layer and keep what `backward` needs.

        Parameters
        ----------
        p : Parameters
            As `init` makes them.
        x : numpy.ndarray or Ragged
            (T, N, C) in the order of `layout`, or (N, C).  It is read again in `backward`: do not change it in between.
        layout : str
            The letters t, n, c in the order of x's axes; without t for a 2-D x.
        lengths : array of int, optional
            (N,): the steps of each sequence, from 0 to T; T for all if None.  What lies behind is not read.

        Returns
        -------
        y : numpy.ndarray or Ragged
            In the order of `layout`; 0 past the end of a sequence.
        tape : Tape
        """
        batch, x = self._checked_input(p, x, layout, lengths)
        y, tape = self.run(p, x, None, ALL, batch)
        given = self._given(batch, y)
        make_read_only(given)
        return given, tape

    def run_stream(self, p, x, keep=WEIGHTS):
        """`run` for the steps that a stream takes at once, again and again; keep: what keeps weights."""
        return self.run(p, x, None, keep)

    def _checked_input(self, p, x, layout, lengths):
        x = native("x", x)
        without_time = is_array(x) and x.ndim == 2 and isinstance(layout, str) and len(layout) == 3
        batch, described = Batch.of(x, layout.replace("t", "") if without_time else layout, lengths)
        self.check_parameters(p, described.channels)
        if len(p):
            expect_device("x", described.array, p.device)
        if len(p) and described.dtype != p.dtype:
            raise DTypeError(f"x: expected {p.dtype} like the parameters, got {described.dtype}")
        return batch, described

    def _given(self, batch, y):
        """What the caller gets for a descriptor of y."""
        return batch.give(y)

    def _described(self, batch, dy, channels, dtype):
        """A descriptor of the caller's dy."""
        return batch.describe("dy", dy, channels, dtype)

    def operation(self, p, x, keep):
        """What the layer does to a descriptor of x: an Operation, which has run."""
        raise NotImplementedError

    def run(self, p, x, initial, keep, batch=None, masks=None, **options):
        """`forward` without its checks, from a descriptor of x to one of y, and a tape."""
        operation = self.operation(p, x, keep, **options)
        return operation.outputs, Tape(self, x, operation, batch, p, masks)

    def backward(
        self,
        tape: Tape,
        dy: np.ndarray | Ragged,
        need_x: bool = True,
        into: Parameters | None = None,
        accumulate: bool = False,
    ) -> Gradients:
        """Derivatives of a loss with respect to the parameters and x, from dL/dy.

        Parameters
        ----------
        tape : Tape
            From `forward`.
        dy : numpy.ndarray or Ragged
            dL/dy, shaped like y.
        need_x : bool
            False leaves out dL/dx and its cost.
        into : Parameters, optional
            Where dL/dp is written (is modified); new by default.
        accumulate : bool
            Add to `into` instead of overwriting it.

        Returns
        -------
        Gradients
        """
        expect_tape(self, tape)
        need_x, accumulate = flag("need_x", need_x), flag("accumulate", accumulate)
        channels, dtype = tape.x.channels, tape.operation.outputs.dtype
        dy = self._described(tape.batch, dy, self.output_channels(channels), dtype)
        gradient = self.gradient_vector(
            into, channels, dtype, device_of(dy.array), dy=(dy.array,), **tape.read_by_backward()
        )
        adjoint = tape.adjoint(dy, need_x, gradient, accumulate)
        adjoint.fill()
        if adjoint.dx is None:
            return Gradients(gradient, None)
        dx = tape.batch.give(adjoint.dx)
        passed_on = not isinstance(dx, Ragged) and share_memory(dx, dy.array)
        return Gradients(gradient, dx.copy() if passed_on else dx)

    def jvp(
        self,
        tape: Tape,
        dp: Parameters | np.ndarray | None = None,
        dx: np.ndarray | Ragged | None = None,
    ) -> np.ndarray | Ragged | tuple:
        """Forward derivatives: how y moves where the parameters and x do, ``(dy/dp) dp + (dy/dx) dx``.

        K tangents at once take one more axis, the first, in all that is given, and in what is returned.

        Parameters
        ----------
        tape : Tape
            From `forward`; it is not modified and may be used again.
        dp : Parameters or numpy.ndarray, optional
            The tangent of the parameter vector (P,), or (K, P); None for zeros.
        dx : numpy.ndarray or Ragged, optional
            The tangent of x, shaped like x and in the same layout, or with K in front; for a Ragged, a list of K of them.
            None for zeros.  Indices have none.

        Returns
        -------
        numpy.ndarray, Ragged, or tuple of Ragged
            The tangent of y, in its layout.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, TypeError, ValueError
            Named after the argument that is not as described.
        DeviceError
            For a direction that is not where the tape is.
        """
        found, _, single = jvp(self, tape, dp, dx)
        given = together([self._given(tape.batch, dy) for dy in found], single)
        passed_on = is_array(given) and is_array(dx) and share_memory(given, dx)
        return given.copy() if passed_on else given
