"""Dropout between the layers of a network."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..arrays.descriptor import TensorDescriptor, checked_dtype, make_read_only
from ..arrays.devices import device_of
from ..arrays.ieee import ieee
from ..arrays.ragged import Ragged
from ..arrays.rows import like, numbers
from ..errors import generator, positive_integer, rate
from ..parameters import Parameters
from .between import Scaled
from .dense import Adjoint, Stateless, Tape, _nothing
from .masks import Masks, keep_or_drop, rows_of


@dataclass(frozen=True)
class DropoutTape(Tape):
    """What backward needs of one forward call: the mask."""

    masks: Masks | None = field(default=None, repr=False)

    def redraw(self, random):
        """Draw a new mask, for the next `fill`."""
        if self.masks is not None:
            self.masks.redraw(random)


@dataclass(frozen=True, repr=False)
class Dropout(Stateless):
    """Dropout: training sets numbers to zero at random, and scales up the others.

    T steps, N batch, C channels.  Each number of the input is multiplied by one of a mask::

        y = m x,  m = 0 with probability `rate`, else 1 / (1 - rate)

    where x, y and the mask m are (T, N, C): each step has its own mask.  No state, no parameters.

    The mean of y is x, which is what a call without a `seed` returns, and `Network.predict` takes (inverted dropout).
    `Network.fit` draws a mask for every batch, from its own seed.  A recurrent layer has a ``dropout`` between its stacked
    layers, and masks that all steps share, itself.

    Parameters
    ----------
    rate : float
        From 0 to less than 1.

    References
    ----------
    Srivastava et al. 2014, Journal of Machine Learning Research 15, 1929.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.Dropout(0.5)
    >>> p, x = layer.init(channels=4), np.ones((1, 2, 4), np.float32)
    >>> layer(p, x, seed=1)
    array([[[2., 2., 0., 2.],
            [0., 0., 2., 0.]]], dtype=float32)
    >>> np.array_equal(layer(p, x), x)
    True
    """

    rate: float

    channelwise = True
    accepts: ClassVar = {"rate": rate}

    @property
    def random(self):
        """Whether there is anything to draw."""
        return self.rate > 0

    def drawings(self, steps, batch, channels):
        """{name: (shape, function of a Generator and a shape)} of what is drawn for one call."""
        return {"dropout": ((steps, batch, channels), keep_or_drop(self.rate))} if self.rate else {}

    def optional_masks(self, steps, batch):
        """{name: shape} of what may be given besides: nothing."""
        return {}

    def draw(
        self, steps: int, batch: int, channels: int, seed: int = 0, dtype: str = "float32"
    ) -> dict[str, np.ndarray]:
        """What a call with `seed` draws: ``{"dropout": (T, N, C) array}``, an argument `masks` of the same or another call.

        Parameters
        ----------
        steps, batch, channels : int
            T, N, C of the input; T is 1 without time, and of a Ragged that of the longest sequence.
        seed : int or numpy.random.Generator
        dtype : {"float32", "float64"}
        """
        sizes = (positive_integer(n, v) for n, v in (("steps", steps), ("batch", batch), ("channels", channels)))
        return Masks.drawn(self, *sizes, checked_dtype("dtype", dtype), generator("seed", seed)).arrays

    def drawn_masks(self, x, random):
        """Masks for a descriptor of x."""
        steps, batch = x.packing.total, x.packing.sequences
        return Masks.drawn(self, steps, batch, x.channels, x.dtype, random, device_of(x.array))

    def _masks_of(self, seed, masks, batch, x):
        if seed is not None and masks is not None:
            raise ValueError("masks: expected None together with a seed, got both")
        if masks is not None:
            return Masks.given(self, batch.steps, batch.sequences, x.channels, x.dtype, masks, device_of(x.array))
        return None if seed is None else self.drawn_masks(x, generator("seed", seed))

    def __call__(
        self,
        p: Parameters,
        x: np.ndarray | Ragged,
        layout: str = "tnc",
        lengths: np.ndarray | None = None,
        seed: int | None = None,
        masks: dict[str, np.ndarray] | None = None,
    ) -> np.ndarray | Ragged:
        """Run the layer without keeping a tape; see `forward`."""
        batch, described = self._checked_input(p, x, layout, lengths)
        y, _ = self.run(p, described, None, None, masks=self._masks_of(seed, masks, batch, described))
        return batch.give(y)

    def forward(
        self,
        p: Parameters,
        x: np.ndarray | Ragged,
        layout: str = "tnc",
        lengths: np.ndarray | None = None,
        seed: int | None = None,
        masks: dict[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray | Ragged, Tape]:
        """Run the layer and keep what `backward` needs.

        Parameters
        ----------
        p : Parameters
            As `init` makes them: empty.
        x : numpy.ndarray or Ragged
            (T, N, C) in the order of `layout`, or (N, C).
        layout : str
            The letters t, n, c in the order of x's axes; without t for a 2-D x.
        lengths : array of int, optional
            (N,): the steps of each sequence, from 0 to T; T for all if None.
        seed : int or numpy.random.Generator, optional
            Draw what is dropped; without it y is x.
        masks : dict of str to numpy.ndarray, optional
            Take ``masks["dropout"]`` in its place, (T, N, C), as `draw` returns it.

        Returns
        -------
        y : numpy.ndarray or Ragged
            In the order of `layout`; without a mask x itself, a view.
        tape : Tape
        """
        batch, described = self._checked_input(p, x, layout, lengths)
        y, tape = self.run(p, described, None, None, batch, self._masks_of(seed, masks, batch, described))
        given = batch.give(y)
        make_read_only(given)
        return given, tape

    def run(self, p, x, initial, keep, batch=None, masks=None):
        """`forward` without its checks, from a descriptor of x to one of y, (T, N, C), and a tape."""
        mask = None if masks is None else masks.get("dropout")
        if mask is None:
            return _in_order(x), DropoutTape(self, x, None, _nothing, batch)
        scaled = Scaled(x, mask)
        return scaled.outputs, DropoutTape(self, x, mask, scaled.fill, batch, masks=masks)

    def differentiate(self, tape, dy, dfinal, need_x, gradient, accumulate):
        """`backward` without its checks, on descriptors: an Adjoint."""
        if not need_x:
            return Adjoint(None, _nothing)
        if tape.kept is None:
            return Adjoint(_in_order(dy), _nothing)
        dx, mask, packing = like(tape.x), tape.kept, tape.x.packing
        return Adjoint(dx, ieee(lambda: np.multiply(numbers(dy), rows_of(mask, packing), out=dx.array)))


def _in_order(described):
    """The same numbers, the axes of a uniform batch in T, N, C order; a view."""
    return TensorDescriptor.of_tnc(described.tnc) if described.packing.uniform else described
