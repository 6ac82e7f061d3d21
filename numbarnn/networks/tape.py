"""The tape of one forward call of a network."""

from dataclasses import dataclass, field

from ..arrays.batch import Batch
from ..descriptions.fields import Unsendable
from ..layers.chain import Tape
from ..layers.fed import Fed
from ..layers.prepared import Lease
from .reading import Reading


@dataclass(frozen=True, eq=False)
class NetworkTape(Unsendable):
    """What `Network.backward` needs of one forward call: the tapes of its layers.

    Neither x nor the parameters of the network may change while it is in use.
    """

    network: Reading
    tapes: tuple[Tape, ...] = field(repr=False)
    batch: Batch = field(repr=False)  # how the caller's arrays lie
    device: str = field(repr=False)  # where the caller's arrays lie
    fed: Fed | None = field(default=None, repr=False)  # of outputs that were fed back
    lease: Lease | None = field(default=None, repr=False)  # of a prepared call, see `Tape`

    instead = "copy x and the network, and call forward of it"

    @property
    def nbytes(self):
        """Bytes of the arrays the tape holds, x not counted."""
        return sum(tape.nbytes for tape in self.tapes)

    def read_by_backward(self):
        """{name: arrays} of what backward reads, apart from what it is given."""
        found = {}
        for tape in self.tapes:
            for name, arrays in tape.read_by_backward().items():
                found.setdefault(name, []).extend(arrays)
        return found if self.lease is None else found | {"x": [self.lease.x]}
