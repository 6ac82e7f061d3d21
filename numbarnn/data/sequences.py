"""Labelled sequences in the text files of the UEA and UCR archive of time series: ``.ts``."""

from dataclasses import dataclass, field

import numpy as np

from ..arrays.ragged import Ragged
from ..errors import ChecksumError


@dataclass(frozen=True)
class Sequences:
    """Sequences of different lengths, and the class of each.

    Attributes
    ----------
    x : Ragged
        N sequences of C channels, float32.
    labels : numpy.ndarray
        (N,), int64, from 0 on.
    """

    x: Ragged
    labels: np.ndarray = field(repr=False)

    def __len__(self):
        return len(self.labels)


def read_ts(path):
    """The sequences of a ``.ts`` file: a line each, channels and at last the class divided by colons, numbers by commas.

    Labels are the places of the classes in the line ``@classLabel true ...`` of the file's head.
    """
    classes, arrays, labels, head = [], [], [], True
    for line in path.read_text(encoding="utf-8").splitlines():
        if head:
            if line.startswith("@classLabel true"):
                classes = line.split()[2:]
            head = line.strip() != "@data"
            continue
        *channels, label = line.split(":")
        arrays.append(np.array([channel.split(",") for channel in channels], np.float32).T)
        labels.append(classes.index(label.strip()))
    if not arrays:
        raise ChecksumError(f"{path}: expected sequences after a line @data, found none")
    return Sequences(Ragged.of(arrays), np.array(labels, np.int64))
