"""Data to try things on: tables that come with the package, and files that are downloaded once."""

from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files

import numpy as np

from ..errors import DataNotFoundError, IndexRangeError
from .chaos import mackey_glass
from .downloads import DataFile, check, fetch, folder, written
from .images import Images, read_idx
from .reviews import read_archive
from .sequences import Sequences, read_ts

SHAKESPEARE = DataFile(
    "shakespeare.txt",
    "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
)
FASHION_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
FASHION = {
    name: DataFile(f"fashion-mnist/{name}-ubyte.gz", f"md5:{packed}", f"{FASHION_URL}{name}-ubyte.gz", f"sha256:{content}")
    for name, packed, content in (
        (
            "train-images-idx3",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        (
            "train-labels-idx1",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        (
            "t10k-images-idx3",
            "bef4ecab320f06d8554ea6380940ec79",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        (
            "t10k-labels-idx1",
            "bb300cfdad3c16e7a12a480ee83cd310",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    )
}
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
VOWELS_URL = "https://raw.githubusercontent.com/aeon-toolkit/aeon/v1.6.0/aeon/datasets/data/JapaneseVowels/JapaneseVowels_"
VOWELS = {
    name: DataFile(f"japanese_vowels/{name}.ts", f"sha256:{content}", f"{VOWELS_URL}{name}.ts")
    for name, content in (
        ("TRAIN", "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"),
        ("TEST", "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"),
    )
}
IMDB_ARCHIVE = DataFile(
    "aclImdb_v1.tar.gz",
    "md5:7c2ac02c03563afcf9b574c7e56c153a",
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
)
IMDB = "imdb.npz", "sha256:bb0c9a32612b81b043d8684c66dc3e4c856b5e0f4a86f4a4615218ff64dc9dde"
IMDB_FROM_ARCHIVE = "imdb-from-archive.npz"
mackey_glass.__module__ = __name__  # it is one of the data sets, on the page of these too


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
    table = _table("sunspots.csv")
    return table[:, 0].astype(np.int64), table[:, 1].copy()


def _table(name):
    """The numbers of a table that comes with the package, without its head; NaN for what is left out."""
    try:
        text = files(__package__).joinpath("tables", name).read_text(encoding="utf-8")
    except OSError as error:  # the package has been put into a program without its data
        raise DataNotFoundError(
            f"{name}: expected in the package's folder tables, got {error}; PyInstaller takes it along with "
            "--collect-data numbarnn"
        ) from error
    lines = [line for line in text.splitlines() if not line.startswith("#")][1:]
    return np.array([[float(number or "nan") for number in line.split(",")] for line in lines])


@dataclass(frozen=True)
class Bikes:
    """The data set Bike Sharing, of one year.

    Attributes
    ----------
    hours : numpy.ndarray
        (8760,), datetime64[h]: when each hour of 2011 begins, local time.
    rides : numpy.ndarray
        (8760, 2), float64: rides by casual users and by members in each hour.
    temperature : numpy.ndarray
        (8760,), float64: degrees Celsius.
    weather : numpy.ndarray
        (8760,), float64: 1 clear, 2 cloudy or misty, 3 light rain or snow, 4 heavy rain or snow.
    holiday : numpy.ndarray
        (8760,), bool: public holidays.
    """

    hours: np.ndarray = field(repr=False)
    rides: np.ndarray = field(repr=False)
    temperature: np.ndarray = field(repr=False)
    weather: np.ndarray = field(repr=False)
    holiday: np.ndarray = field(repr=False)


def bikes() -> Bikes:
    """Rides on the bicycles of Capital Bikeshare in Washington, D.C., in each hour of 2011.

    The first year of the Bike Sharing Dataset, doi:10.24432/C5W894, licence CC BY 4.0 (Fanaee-T and Gama 2014,
    doi:10.1007/s13748-013-0040-3).  In 115 hours nothing was recorded, nights without a ride, outages and snow: rides,
    temperature and weather are NaN.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> bikes = nr.datasets.bikes()
    >>> str(bikes.hours[8]), bikes.rides[8].tolist(), int(np.isnan(bikes.rides[:, 0]).sum())
    ('2011-01-01T08', [1.0, 7.0], 115)
    """
    table = _table("bikes.csv")
    hours = np.datetime64("2011-01-01T00") + np.arange(len(table))
    return Bikes(hours, table[:, :2].copy(), table[:, 2].copy(), table[:, 3].copy(), table[:, 4] == 1)


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
class FashionMnist:
    """The data set Fashion-MNIST.

    Attributes
    ----------
    train, test : Images
    classes : tuple of str
        What each label stands for.
    """

    train: Images
    test: Images
    classes: tuple[str, ...] = field(repr=False)


def fashion_mnist() -> FashionMnist:
    """Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747): 60,000 images of clothes to train on, 10,000 to test.

    Each is 28 x 28 pixels of one channel; there are ten classes, with as many images each.  ``train.rows`` are (60000, 784)
    numbers from 0 to 1, ``train.labels`` (60000,) integers.

    The four files lie in ``fashion-mnist`` of the folder of data, ``NUMBARNN_DATA`` or one in the user's cache; they are
    downloaded once (31 MB), which needs pooch (``pip install numbarnn[datasets]``).  The files of Debian's package
    dataset-fashion-mnist are taken too: ``NUMBARNN_DATA=/usr/share/datasets``.

    Raises
    ------
    DataNotFoundError
        If a file is not there and cannot be downloaded.
    ChecksumError
        If it is another file.
    """
    arrays = {name: read_idx(fetch(file)) for name, file in FASHION.items()}
    train, test = (
        Images(arrays[f"{part}-images-idx3"], arrays[f"{part}-labels-idx1"].astype(np.int64)) for part in ("train", "t10k")
    )
    return FashionMnist(train, test, FASHION_CLASSES)


@dataclass(frozen=True)
class JapaneseVowels:
    """The data set Japanese Vowels.

    Attributes
    ----------
    train, test : Sequences
    """

    train: Sequences
    test: Sequences


def japanese_vowels() -> JapaneseVowels:
    """Japanese Vowels (Kudo, Toyama and Shimbo 1999, doi:10.1016/S0167-8655(99)00077-X): which of nine men says "ae".

    270 utterances to train on, 30 of each speaker, and 370 to test, 24 to 88 of each.  ``train.x`` is a `Ragged` of 7 to 29
    steps and 12 channels, coefficients of a linear prediction's cepstrum; ``train.labels`` are the speakers, 0 to 8.

    The data are from the UCI archive (CC BY 4.0), in the files that the package aeon distributes: ``TRAIN.ts`` and
    ``TEST.ts`` in ``japanese_vowels`` of the folder of data, ``NUMBARNN_DATA`` or one in the user's cache; downloaded once
    (1 MB), which needs pooch (``pip install numbarnn[datasets]``).

    Raises
    ------
    DataNotFoundError
        If a file is not there and cannot be downloaded.
    ChecksumError
        If it is another file.
    """
    return JapaneseVowels(*(read_ts(fetch(file)) for file in VOWELS.values()))


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
            raise IndexRangeError(f"review: expected an index from 0 to {len(self) - 1}, got {n}")
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
