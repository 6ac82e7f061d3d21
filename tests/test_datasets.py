"""Data files: found, checked, downloaded, and refused in words."""

import functools
import gzip
import hashlib
import http.server
import io
import sys
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest

import numbarnn as nr
from numbarnn import datasets
from numbarnn.data import downloads, images, reviews, sequences

TEXT = b"First Citizen:\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of data."""
    monkeypatch.setenv("NUMBARNN_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def server(tmp_path):
    """(folder, address): what lies in the folder is served there."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    served = tmp_path / "served"
    served.mkdir()
    handler = functools.partial(Handler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield served, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def text_file(url="http://127.0.0.1:9/nowhere"):
    return downloads.DataFile("text.txt", f"sha256:{hashlib.sha256(TEXT).hexdigest()}", url)


def test_a_file_that_is_there_needs_neither_pooch_nor_network(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    folder.mkdir()
    (folder / "text.txt").write_bytes(TEXT)
    assert downloads.fetch(text_file()) == folder / "text.txt"


def test_a_download(folder, server):
    pytest.importorskip("pooch")
    served, url = server
    (served / "input.txt").write_bytes(TEXT)
    file = text_file(f"{url}/input.txt")
    assert downloads.fetch(file).read_bytes() == TEXT
    (served / "input.txt").unlink()
    assert downloads.fetch(file) == folder / "text.txt" and len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("there", [True, False])
def test_a_wrong_checksum_changes_nothing(folder, server, there):
    pytest.importorskip("pooch")
    served, url = server
    (served / "input.txt").write_bytes(b"something else")
    file = text_file(f"{url}/input.txt")
    folder.mkdir()
    if there:
        (folder / "text.txt").write_bytes(b"of the user")
    with pytest.raises(
        nr.ChecksumError, match="put.txt: expected .* the checksum sha256:.* but got" if not there else "text.txt"
    ):
        downloads.fetch(file)
    assert [path.read_bytes() for path in folder.iterdir()] == ([b"of the user"] if there else [])


def test_no_network_is_said(folder):
    pytest.importorskip("pooch")
    with pytest.raises(nr.DataNotFoundError, match="text.txt: expected at .*text.txt, not found there, and down") as e:
        downloads.fetch(text_file())
    assert "http://127.0.0.1:9/nowhere" in str(e.value) and "NUMBARNN_DATA" in str(e.value)
    assert not list(folder.iterdir())


def test_no_pooch_is_said(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    for load in (datasets.shakespeare, datasets.imdb, datasets.fashion_mnist, datasets.japanese_vowels):
        with pytest.raises(nr.DataNotFoundError, match=r"is not installed \(numbarnn\[datasets\]\)"):
            load()
    assert not folder.exists()


def test_a_folder_of_the_users_cache(monkeypatch):
    monkeypatch.delenv("NUMBARNN_DATA", raising=False)
    assert downloads.folder().name == "numbarnn" and downloads.folder().is_absolute()


def test_a_wrong_data_file(folder):
    (folder / "japanese_vowels").mkdir(parents=True)
    wrong = {"shakespeare.txt": datasets.shakespeare, "imdb.npz": datasets.imdb}
    wrong["japanese_vowels/TRAIN.ts"] = datasets.japanese_vowels
    for name, load in wrong.items():
        (folder / name).write_bytes(b"wrong")
        with pytest.raises(nr.ChecksumError, match=f"{name}: expected a file with the checksum"):
            load()
        assert (folder / name).read_bytes() == b"wrong"


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))


def test_reviews_from_their_archive(folder, monkeypatch):
    folder.mkdir()
    path = folder / "aclImdb_v1.tar.gz"
    train = {"pos/0_9": "Good,<br /><br />GOOD film-making; it's good", "neg/0_1": "bad film. It's 'bad'", "neg/1_2": "bad"}
    test = {"pos/3_10": "Good it's unseen", "neg/4_3": "film"}
    members = {f"aclImdb/train/{name}.txt": text for name, text in train.items()}
    members |= {f"aclImdb/test/{name}.txt": text for name, text in test.items()}
    archive(path, members | {"aclImdb/train/unsup/0_0.txt": "unsup unsup", "aclImdb/README": "read"})
    monkeypatch.setattr(datasets, "IMDB_ARCHIVE", downloads.DataFile(path.name, downloads.checksum(path, "md5"), "http://x"))
    data = datasets.imdb()
    assert data.vocabulary == ("good", "bad", "film", "it's", "'bad'", "making")
    found = {(data.text(ranks), label) for ranks, label in zip(data.train, data.train.labels)}
    assert found == {("good good film making it's good", 1), ("bad film it's 'bad'", 0), ("bad", 0)}
    assert {(data.text(ranks), int(label)) for ranks, label in zip(data.test, data.test.labels)} == {
        ("good it's ?", 1), ("film", 0),
    }  # fmt: skip
    path.unlink()
    again = datasets.imdb()
    assert np.array_equal(again.train.ranks, data.train.ranks) and again.vocabulary == data.vocabulary
    with pytest.raises(nr.IndexRangeError, match="review: expected an index from 0 to 2, got 3"):
        data.train[3]


def test_an_archive_of_something_else(tmp_path):
    archive(tmp_path / "other.tar.gz", {"a.txt": "a"})
    with pytest.raises(ValueError, match="expected reviews in aclImdb/train"):
        reviews.read_archive(tmp_path / "other.tar.gz")


def idx(array):
    """An array of bytes as the content of an IDX file."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def clothes(folder, monkeypatch):
    """The four files of Fashion-MNIST, small ones that the checksums are of, compressed by someone else."""
    random, files = np.random.default_rng(0), {}
    (folder / "fashion-mnist").mkdir(parents=True)
    for name, file in datasets.FASHION.items():
        content = idx(random.integers(0, 256, (5, 4, 4) if "images" in name else (5,), np.uint8))
        (folder / file.name).write_bytes(gzip.compress(content, 1))
        files[name] = replace(file, content=downloads.digest(content, "sha256"))
    monkeypatch.setattr(datasets, "FASHION", files)
    return folder


def test_images_compressed_by_someone_else(clothes):
    data = datasets.fashion_mnist()
    assert data.train.pixels.shape == (5, 4, 4) and data.test.labels.dtype == np.int64 and len(data.train) == 5
    rows = data.train.rows
    assert rows.shape == (5, 16) and rows.dtype == np.float32
    assert np.array_equal(np.rint(rows * 255), data.train.pixels.reshape(5, 16)) and rows.max() <= 1


@pytest.mark.parametrize(
    "wrong, message",
    [
        (b"not compressed", "expected a file that gzip can unpack"),
        (gzip.compress(b"other" * 99)[:20], "expected a file that gzip can unpack"),
        (gzip.compress(b"other"), "expected a file with the checksum .*, unpacked"),
    ],
)
def test_images_of_something_else(clothes, wrong, message):
    (clothes / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(wrong)
    with pytest.raises(nr.ChecksumError, match=message):
        datasets.fashion_mnist()


@pytest.mark.parametrize("content", [b"", b"\0\0\x0d\1\0\0\0\0", idx(np.zeros(3, np.uint8))[:-1], b"\0\0\x08\xff"])
def test_a_file_that_is_no_idx(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(gzip.compress(content))
    with pytest.raises(nr.ChecksumError, match="x.gz: expected an IDX file of unsigned bytes"):
        images.read_idx(tmp_path / "x.gz")


def test_labelled_sequences(tmp_path):
    lines = ["# a note: with a colon", "@classLabel true red blue", "@data", "1,2,3:4,5,6.5:blue", "7:8:red"]
    (tmp_path / "x.ts").write_text("\n".join(lines))
    found = sequences.read_ts(tmp_path / "x.ts")
    assert found.x == nr.Ragged.of([np.array([[1, 4], [2, 5], [3, 6.5]], np.float32), np.array([[7, 8]], np.float32)])
    assert found.labels.tolist() == [1, 0] and found.labels.dtype == np.int64 and len(found) == 2
    (tmp_path / "x.ts").write_text("1,2,3:4,5,6.5:blue")
    with pytest.raises(nr.ChecksumError, match="x.ts: expected sequences after a line @data, found none"):
        sequences.read_ts(tmp_path / "x.ts")


def there(name):
    return pytest.mark.skipif(not (downloads.folder() / name).is_file(), reason=f"{name} is not in the folder of data")


@there("shakespeare.txt")
def test_shakespeare():
    text = datasets.shakespeare()
    assert len(text) == 1_115_394 and len(set(text)) == 65 and text.startswith("First Citizen:")


@there("imdb.npz")
def test_imdb():
    data = datasets.imdb()
    assert len(data.train) == len(data.test) == 25_000
    assert data.train.labels.sum() == data.test.labels.sum() == 12_500
    assert data.train.lengths.min() == 10 and len(data.train.ranks) == data.train.offsets[-1]
    assert data.vocabulary[:3] == ("the", "and", "a") and len(data.vocabulary) == 65534
    assert data.text(data.train[1]).startswith("this is a poor film by any standard") and data.train.labels[1] == 0


@there("fashion-mnist/train-images-idx3-ubyte.gz")
def test_fashion_mnist():
    data = datasets.fashion_mnist()
    assert data.train.pixels.shape == (60_000, 28, 28) and data.test.pixels.shape == (10_000, 28, 28)
    assert (np.bincount(data.train.labels) == 6_000).all() and (np.bincount(data.test.labels) == 1_000).all()
    assert data.classes[data.train.labels[0]] == "Ankle boot"


@there("japanese_vowels/TRAIN.ts")
def test_japanese_vowels():
    data = datasets.japanese_vowels()
    assert len(data.train) == 270 and len(data.test) == 370 and data.train.x.dtype == np.float32
    assert (np.bincount(data.train.labels) == 30).all()
    assert np.bincount(data.test.labels).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert data.train.x.channels == 12 and data.train.x.lengths.min() == 7 and data.test.x.lengths.max() == 29
    assert np.array_equal(data.train.x[0][0, :3], np.array([1.860936, -0.207383, 0.261557], np.float32))
