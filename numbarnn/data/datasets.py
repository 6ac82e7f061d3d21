"""Data to try things on: a table that comes with the package, and files that are downloaded once."""

from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files

import numpy as np

from ..errors import DataNotFoundError
from .downloads import DataFile, check, fetch, folder, written
from .reviews import read_archive

SHAKESPEARE = DataFile(
    "shakespeare.txt",
    "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
)
IMDB_ARCHIVE = DataFile(
    "aclImdb_v1.tar.gz",
    "md5:7c2ac02c03563afcf9b574c7e56c153a",
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
)
IMDB = "imdb.npz", "sha256:bb0c9a32612b81b043d8684c66dc3e4c856b5e0f4a86f4a4615218ff64dc9dde"
IMDB_FROM_ARCHIVE = "imdb-from-archive.npz"


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
    try:
        text = files(__package__).joinpath("tables", "sunspots.csv").read_text(encoding="utf-8")
    except OSError as error:  # the package has been put into a program without its data
        raise DataNotFoundError(
            f"sunspots.csv: expected in the package's folder tables, got {error}; PyInstaller takes it along with "
            "--collect-data numbarnn"
        ) from error
    lines = [line for line in text.splitlines() if line and line[0].isdigit()]
    table = np.array([line.split(",") for line in lines], np.float64)
    return table[:, 0].astype(np.int64), table[:, 1].copy()


def shakespeare() -> str:
    """The "tiny Shakespeare" text of A. Karpathy's char-rnn, 1,115,394 characters, 65 of them different.

    The file ``shakespeare.txt`` of the folder of data, ``NUMBARNN_DATA`` or one in the user's cache; downloaded once, which
    needs pooch (``pip install numbarnn[datasets]``).

    Raises
    ------
    DataNotFoundError
        If the file is not there and cannot be downloaded.
    ChecksumError
        If it is another file.
    """
    return fetch(SHAKESPEARE).read_bytes().decode("ascii")


@dataclass(frozen=True)
class Reviews:
    """Reviews one after the other, as words by their rank, and what they are labelled with.

    Attributes
    ----------
    ranks : numpy.ndarray
        (sum of the lengths,), uint16: 1 for the most frequent word of the training reviews; 65535 for rank 65,535 or
        beyond, or a word that no training review has.
    lengths : numpy.ndarray
        (N,), int64: words of each review.
    labels : numpy.ndarray
        (N,), int64: 1 for a positive review, 0 for a negative one.
    """

    ranks: np.ndarray = field(repr=False)
    lengths: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)

    @cached_property
    def offsets(self) -> np.ndarray:
        """(N + 1,): review n is ``ranks[offsets[n] : offsets[n + 1]]``."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, n):
        """The ranks of review n: a view."""
        if not -len(self) <= n < len(self):
            raise IndexError(f"review: expected an index from 0 to {len(self) - 1}, got {n}")
        n %= len(self)
        return self.ranks[self.offsets[n] : self.offsets[n + 1]]


@dataclass(frozen=True)
class Imdb:
    """The Large Movie Review Dataset.

    Attributes
    ----------
    train, test : Reviews
    vocabulary : tuple of str
        The words by rank: ``vocabulary[r - 1]`` has rank r.
    """

    train: Reviews
    test: Reviews
    vocabulary: tuple[str, ...] = field(repr=False)

    def text(self, ranks) -> str:
        """The words of some ranks, with a question mark for those that have none."""
        return " ".join(self.vocabulary[r - 1] if 0 < r <= len(self.vocabulary) else "?" for r in ranks)


def imdb() -> Imdb:
    """The Large Movie Review Dataset (Maas et al. 2011, ACL, p. 142): 25,000 reviews to train on, 25,000 to test.

    Half of each are positive.  Words are in lower case, split at white space and at punctuation other than apostrophes;
    ``<br />`` is left out.  For research use; cite the paper.

    The folder of data is ``NUMBARNN_DATA``, or one in the user's cache.  There it is the file ``imdb.npz``; without that,
    the archive that the authors offer, which is downloaded once (84 MB; needs pooch, ``pip install numbarnn[datasets]``),
    and from then on ``imdb-from-archive.npz``, which is made of it: the same reviews, in another order.

    Raises
    ------
    DataNotFoundError
        If no file is there and none can be downloaded.
    ChecksumError
        If a file is another one.
    """
    name, expected = IMDB
    path = folder() / name
    if path.is_file():
        check(path, expected)
        return _read_imdb(path)
    path = folder() / IMDB_FROM_ARCHIVE
    if not path.is_file():
        arrays = read_archive(fetch(IMDB_ARCHIVE))
        with written(path) as draft:
            np.savez_compressed(draft, **arrays)
    return _read_imdb(path)


def _read_imdb(path):
    """The reviews of an ``.npz`` file, as `imdb` returns them."""
    with np.load(path) as arrays:
        parts = (
            Reviews(arrays[f"x_{part}"], arrays[f"len_{part}"].astype(np.int64), arrays[f"y_{part}"].astype(np.int64))
            for part in ("train", "test")
        )
        return Imdb(*parts, tuple(str(arrays["vocab"]).split("\n")))
