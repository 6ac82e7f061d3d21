"""Dropout between the layers of a network."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays.descriptor import make_read_only
from ..arrays.ragged import Ragged
from ..engine.keep import ALL, NOTHING
from ..errors import rate
from ..parameters import Parameters
from .chain import Tape
from .masks import Drawn, keep_or_drop
from .operations import PassedOn, Scaled
from .stateless import Stateless


@dataclass(frozen=True, repr=False)
class Dropout(Drawn, Stateless):
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
        y, _ = self.run(p, described, None, NOTHING, masks=self.masks_of(seed, masks, batch, described))
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
        y, tape = self.run(p, described, None, ALL, batch, self.masks_of(seed, masks, batch, described))
        given = batch.give(y)
        make_read_only(given)
        return given, tape

    def run(self, p, x, initial, keep, batch=None, masks=None):
        mask = None if masks is None else masks.get("dropout")
        return super().run(p, x, initial, keep, batch, masks, mask=mask)

    def operation(self, p, x, keep, mask=None):
        return PassedOn(x) if mask is None else Scaled(x, mask)
