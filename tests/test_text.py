"""Vocabularies: words and characters by frequency, encoded and decoded; padded sequences."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.data.text import words

TEXTS = ["It's the cat -- the CAT!", "the dog; a dog, a bird.", ""]


def test_words_by_frequency():
    v = nr.Vocabulary.of(TEXTS)
    assert v.entries == ("<padding>", "<unknown>", "the", "a", "cat", "dog", "bird", "it's")
    assert v.encode(TEXTS[0]).tolist() == [7, 2, 4, 2, 4] and v.decode(v.encode(TEXTS[0])) == "it's the cat the cat"
    assert v.encode("the horse").tolist() == [2, 1] and v["horse"] == 1 and "horse" not in v and "dog" in v
    assert nr.Vocabulary.of(reversed(TEXTS)).entries == v.entries
    assert nr.Vocabulary.of(TEXTS, size=4).entries == v.entries[:4]
    assert nr.Vocabulary.of(TEXTS, least=2).entries == v.entries[:6]
    assert len(v.encode("")) == 0 and v.decode([]) == ""


def test_special_entries_are_no_words():
    v = nr.Vocabulary.of(["start here <start>"], special=("<padding>", "<start>", "<unknown>"), split=str.split)
    assert v.entries == ("<padding>", "<start>", "<unknown>", "here", "start") and v["<start>"] == 1 and v["x"] == 2


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_characters_there_and_back(texts):
    if not any(texts):
        return
    v = nr.Vocabulary.of(texts, special=(), split="characters")
    counts = Counter("".join(texts))
    assert [counts[c] for c in v.entries] == sorted(counts.values(), reverse=True)
    encoded = v.encode_all(texts)
    assert [v.decode(indices) for indices in encoded] == texts
    assert encoded.lengths.tolist() == [len(text) for text in texts]


@given(st.lists(st.sampled_from("abcdefg"), max_size=12), st.integers(1, 9))
def test_unknown_words_and_the_smallest_dtype(parts, size):
    text = " ".join(parts)
    v = nr.Vocabulary.of([text], size=size + 2)
    assert len(v) <= size + 2 and v.dtype == np.uint8
    assert [v.entries[i] for i in v.encode(text)] == [part if part in v else "<unknown>" for part in words(text)]
    many = nr.Vocabulary([str(n) for n in range(300)])
    assert many.encode("7 299").dtype == np.uint16 and many.encode("7 299").tolist() == [9, 301]


def test_a_network_reads_what_is_encoded():
    v = nr.Vocabulary.of(["good film", "bad film", "good", "bad bad"])
    x, y = v.encode_all(["good film", "bad film", "good", "bad bad", ""]), np.array([1, 0, 1, 0, 1])
    net = nr.Network([nr.Embedding(len(v), 4), nr.GRU(4), nr.Last(), nr.Dense(2)], seed=0)
    net.fit(x, y, "cross_entropy", nr.Adam(0.05), epochs=40, progress=False)
    assert nr.accuracy(net.predict(x), y) == 1


@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(1, 9), st.sampled_from(["start", "end"]))
def test_padded(lengths, steps, at):
    sequences = nr.Ragged.of([np.arange(1, length + 1) + 10 * n for n, length in enumerate(lengths)])
    found = nr.padded(sequences, steps, 99, at)
    assert found.shape == (steps, len(lengths)) and found.dtype == np.int64
    for column, sequence in zip(found.T, sequences, strict=True):
        fill = [99] * (steps - len(sequence))
        kept = sequence[-steps:] if at == "start" else sequence[:steps]
        assert column.tolist() == ([*fill, *kept] if at == "start" else [*kept, *fill])


def lines(text):
    return text.splitlines()


KEPT = [
    nr.Vocabulary.of(["The cat saw the dog."], least=2),
    nr.Vocabulary.of(['ß"\\\n\U0001f600 a'], special=(), split="characters"),
    nr.Vocabulary(["a"], ("<start>", "<unknown>"), "characters", join="-"),
    nr.Vocabulary(["a b", "c"], (), split=lines, join="\n"),
]


@pytest.mark.parametrize("vocabulary", KEPT, ids=repr)
def test_a_vocabulary_is_kept_with_a_network(vocabulary, tmp_path):
    net = nr.Network([nr.Embedding(len(vocabulary), 2), nr.GRU(2), nr.Dense(len(vocabulary))], seed=0)
    net.save(tmp_path / "net", extra={"vocabulary": vocabulary})
    loaded, extra = nr.load(tmp_path / "net", extra=True, trusted=[lines] if callable(vocabulary.split) else [])
    found = extra["vocabulary"]
    assert found == vocabulary and hash(found) == hash(vocabulary) and found.entries == vocabulary.entries
    text = vocabulary.decode(np.arange(len(vocabulary))[len(vocabulary.special) :])
    assert found.encode(text).tolist() == vocabulary.encode(text).tolist()
    assert nr.sample(loaded, text, 5, vocabulary=found) == nr.sample(net, text, 5, vocabulary=vocabulary)


def test_what_tells_vocabularies_apart():
    v = nr.Vocabulary(["a", "b"])
    assert v == nr.Vocabulary(["<padding>", "<unknown>", "a", "b"]) and v != nr.Vocabulary(["b", "a"])
    assert v != nr.Vocabulary(v.entries, ()) and v != nr.Vocabulary(["a", "b"], split="characters") and v != "ab"
    with pytest.raises(AttributeError, match="entries: expected no assignment"):
        v.entries = ("c",)


def test_a_vocabulary_of_a_lambda_is_not_kept(tmp_path):
    net = nr.Network([nr.Embedding(3, 2), nr.Dense(3)], seed=0)
    with pytest.raises(TypeError, match="extra.v.split: expected what a file can describe"):
        net.save(tmp_path / "net", extra={"v": nr.Vocabulary(["a"], split=lambda text: [text])})


V = nr.Vocabulary(["a", "b"])


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: nr.Vocabulary.of("text"), TypeError, "texts: expected several strings"),
        (lambda: V.encode_all("text"), TypeError, "texts: expected several strings"),
        (lambda: V.encode(3), TypeError, "text: expected a str, got int"),
        (lambda: nr.Vocabulary(["a", 3]), TypeError, r"entries\[1\]: expected a str, got int"),
        (lambda: nr.Vocabulary(["a", "b", "a"]), ValueError, "entries: expected each word once, got 'a' 2 times"),
        (lambda: nr.Vocabulary([], ()), ValueError, "entries: expected at least one word, got none"),
        (lambda: nr.Vocabulary.of(["a"], size=2), ValueError, "size: expected more than the 2 of special, got 2"),
        (lambda: nr.Vocabulary.of(["a"], split="word"), nr.UnknownNameError, "split.*did you mean 'words'"),
        (lambda: nr.Vocabulary(["a"], ()).encode("a c"), nr.UnknownNameError, "text: expected the 1 entries .* 'c' at 1"),
        (lambda: nr.Vocabulary(["a"], ())["c"], nr.UnknownNameError, "text: expected the 1 entries"),
        (lambda: V.decode([0, 4]), nr.IndexRangeError, "indices: expected numbers from 0 to 3, got 4 at 1"),
        (lambda: V.decode([0.5]), nr.DTypeError, "indices: expected integers, got float64"),
        (lambda: nr.padded(V.encode_all(["a"]), 0), ValueError, "steps: expected a positive integer, got 0"),
        (lambda: nr.padded(V.encode_all(["a"]), 2, 256), ValueError, "value: expected an integer from 0 to 255"),
        (lambda: nr.padded(V.encode_all(["a"]), 2, at="front"), nr.UnknownNameError, "at: unknown name 'front'"),
        (lambda: nr.padded(np.zeros((2, 2), int), 2), TypeError, "sequences: expected a Ragged, got ndarray"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
