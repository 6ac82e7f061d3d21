"""What happened in a training, epoch by epoch."""

import math
from dataclasses import dataclass, field, fields


@dataclass
class History:
    """What happened in a training, one entry for each whole epoch; ``network.history`` is the last training's.

    Attributes
    ----------
    loss : list of float
        Mean loss over the samples, or over their steps where lengths differ, each taken before the update it caused.
    validation : list of float
        Loss on the validation data after the epoch; empty without such data.
    seconds : list of float
        Time of the epoch.
    rate : list of float
        Learning rate of the epoch's last update.
    """

    loss: list = field(default_factory=list)
    validation: list = field(default_factory=list)
    seconds: list = field(default_factory=list)
    rate: list = field(default_factory=list)

    def _keep_whole_epochs(self):
        """Forget what belongs to an epoch that was not finished."""
        for values in (self.loss, self.rate, self.validation):
            del values[len(self.seconds) :]

    def as_dict(self) -> dict[str, list]:
        """The table of all epochs by column, as ``pandas.DataFrame(history.as_dict())`` takes it.

        ``epoch`` counts from 1.  Columns without any number, as ``validation`` without such data, are left out; one that is
        shorter than ``loss`` ends with NaN.

        Examples
        --------
        >>> import numbarnn as nr
        >>> nr.History(loss=[0.5, 0.25], rate=[0.1, 0.1]).as_dict()
        {'epoch': [1, 2], 'loss': [0.5, 0.25], 'rate': [0.1, 0.1]}
        """
        count = len(self.loss)
        columns = {field.name: list(getattr(self, field.name)) for field in fields(self)}
        table = {"epoch": list(range(1, count + 1)), "loss": columns.pop("loss")}
        return table | {
            name: (values + [math.nan] * (count - len(values)))[:count] for name, values in columns.items() if values
        }

    def __repr__(self):
        if not self.loss:
            return "History(no epochs)"
        last = f", validation {self.validation[-1]:.4g}" if self.validation else ""
        return f"History({len(self.loss)} epochs in {sum(self.seconds):.2f} s, loss {self.loss[-1]:.4g}{last})"
