"""What happened in a training, epoch by epoch."""

import math
from dataclasses import dataclass, field

COLUMNS = "loss", "validation", "seconds", "rate"  # of each epoch a number, besides the metrics
OF_VALIDATION = "validation_"  # before the name of a metric that is measured on the validation data


@dataclass
class History:
    """What happened in a training, one entry for each whole epoch; ``network.history`` is the last training's.

    Attributes
    ----------
    loss : list of float
        Mean loss over the samples, by their weights, or over their steps where lengths differ, each taken before the update
        it caused.
    validation : list of float
        Loss on the validation data after the epoch; empty without such data.
    seconds : list of float
        Time of the epoch.
    rate : list of float
        Learning rate of the epoch's last update.
    metrics : dict of str to list of float
        Of each metric its values after the epoch, on all samples; with ``validation_`` before its name, those on the
        validation data.
    """

    loss: list = field(default_factory=list)
    validation: list = field(default_factory=list)
    seconds: list = field(default_factory=list)
    rate: list = field(default_factory=list)
    metrics: dict = field(default_factory=dict)

    def _keep_whole_epochs(self):
        """Forget what belongs to an epoch that was not finished."""
        for values in (self.loss, self.rate, self.validation, *self.metrics.values()):
            del values[len(self.seconds) :]

    def _measured(self, validation=None, metrics=None, of_validation=None):
        """Add what was measured after an epoch; epochs before, in which that was not measured, have NaN.

        validation : float, optional
        metrics, of_validation : dict of str to float, optional
            Of all samples, and of the validation data.
        """
        columns = [] if validation is None else [(self.validation, validation)]
        named = [(metrics or {}).items(), ((OF_VALIDATION + name, value) for name, value in (of_validation or {}).items())]
        columns += [(self.metrics.setdefault(name, []), value) for found in named for name, value in found]
        for values, value in columns:
            values.extend([math.nan] * (len(self.seconds) - len(values)))
            values.append(value)

    def as_dict(self) -> dict[str, list]:
        """The table of all epochs by column, as ``pandas.DataFrame(history.as_dict())`` takes it.

        ``epoch`` counts from 1; metrics come last.  Columns without any number, as ``validation`` without such data, are
        left out; one that is shorter than ``loss`` ends with NaN.

        Examples
        --------
        >>> import numbarnn as nr
        >>> nr.History(loss=[0.5, 0.25], rate=[0.1, 0.1]).as_dict()
        {'epoch': [1, 2], 'loss': [0.5, 0.25], 'rate': [0.1, 0.1]}
        """
        count = len(self.loss)
        columns = {name: list(getattr(self, name)) for name in COLUMNS}
        columns |= {name: list(values) for name, values in self.metrics.items()}
        table = {"epoch": list(range(1, count + 1)), "loss": columns.pop("loss")}
        return table | {
            name: (values + [math.nan] * (count - len(values)))[:count] for name, values in columns.items() if values
        }

    def __repr__(self):
        if not self.loss:
            return "History(no epochs)"
        last = f", validation {self.validation[-1]:.4g}" if self.validation else ""
        return f"History({len(self.loss)} epochs in {sum(self.seconds):.2f} s, loss {self.loss[-1]:.4g}{last})"
