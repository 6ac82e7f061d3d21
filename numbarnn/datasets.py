"""Data that comes with the package."""

from pathlib import Path

import numpy as np


def sunspots() -> tuple[np.ndarray, np.ndarray]:
    """Yearly mean sunspot numbers, 1700 to 2008.

    Returns
    -------
    years : numpy.ndarray
        (309,), int64.
    numbers : numpy.ndarray
        (309,), float64.

    Examples
    --------
    >>> import numbarnn as nr
    >>> years, numbers = nr.datasets.sunspots()
    >>> int(years[0]), int(years[-1]), float(numbers[-1])
    (1700, 2008, 2.9)
    """
    text = (Path(__file__).parent / "tables" / "sunspots.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and line[0].isdigit()]
    table = np.array([line.split(",") for line in lines], np.float64)
    return table[:, 0].astype(np.int64), table[:, 1].copy()
