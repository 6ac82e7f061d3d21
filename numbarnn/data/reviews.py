"""The Large Movie Review Dataset out of its archive: words by their rank."""

import collections
import re
import string

import numpy as np

UNRANKED = 65535  # the rank of all words that have a higher one, or none
_SPACES = str.maketrans(dict.fromkeys(set(string.punctuation) - {"'"}, " "))
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_MEMBER = re.compile(r"aclImdb/(train|test)/(neg|pos)/(\d+)_\d+\.txt")


def split(text):
    """The words of a review: lower case, split at white space and at punctuation other than an apostrophe."""
    return _BREAK.sub(" ", text).translate(_SPACES).lower().split()


def read_archive(path, seed=0):
    """The arrays that `datasets.imdb` reads, from the archive of the data set.

    Words are ranked by their number in the training reviews, equal numbers alphabetically; reviews are in an order drawn
    from `seed`.

    Returns
    -------
    dict of str to numpy.ndarray
    """
    import tarfile  # it and the compressions take milliseconds to import

    reviews = {"train": [], "test": []}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if found := _MEMBER.fullmatch(member.name):
                part, sentiment, number = found.groups()
                words = split(archive.extractfile(member).read().decode("utf-8"))
                reviews[part].append((sentiment, int(number), words))
    if not reviews["train"] or not reviews["test"]:
        raise ValueError(f"{path}: expected reviews in aclImdb/train and aclImdb/test, found none")
    counts = collections.Counter(word for _, _, words in reviews["train"] for word in words)
    vocabulary = sorted(counts, key=lambda word: (-counts[word], word))[: UNRANKED - 1]
    ranks = {word: rank for rank, word in enumerate(vocabulary, 1)}
    arrays, random = {"vocab": np.array("\n".join(vocabulary))}, np.random.default_rng(seed)
    for part, own in reviews.items():
        own.sort(key=lambda review: review[:2])
        own = [own[index] for index in random.permutation(len(own))]
        arrays[f"x_{part}"] = np.array([ranks.get(word, UNRANKED) for *_, words in own for word in words], np.uint16)
        arrays[f"len_{part}"] = np.array([len(words) for *_, words in own], np.uint16)
        arrays[f"y_{part}"] = np.array([sentiment == "pos" for sentiment, *_ in own], np.uint8)
    return arrays
