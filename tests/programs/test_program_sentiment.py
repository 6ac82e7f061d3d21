"""A GRU learns from reviews whether they praise a film: padded and cut as in Knet's program, and whole."""

import sys
from pathlib import Path

import numpy as np
import pytest

import numbarnn as nr

sys.path.insert(0, str(Path(__file__).parents[2]))
sentiment = pytest.importorskip("benchmarks.sentiment", reason="the benchmarks lie beside the tests, not in the package")
WORDS = 2000
SIZES = dict(words=WORDS, embedding=16, hidden=16)


@pytest.fixture(scope="module")
def reviews():
    """(1,500 short reviews to train on, their labels, 1,000 to test on, theirs)."""
    try:
        data = nr.datasets.imdb()
    except nr.DataNotFoundError as error:
        pytest.skip(str(error))
    found = []
    for part, count in ((data.train, 1500), (data.test, 1000)):
        chosen = np.flatnonzero(part.lengths <= 120)[:count]
        found += [sentiment.as_indices(part, WORDS).take(chosen), part.labels[chosen]]
    return found


def trained(x, labels, seed=0):
    net = sentiment.network(seed, **SIZES)
    net.fit(x, labels, "cross_entropy", nr.Adam(0.01), 4, 32, seed=seed, progress=False)
    return net


@pytest.mark.parametrize("form", ["padded", "ragged"])
def test_it_tells_praise_from_blame(reviews, form):
    x, labels, test, test_labels = reviews
    if form == "padded":
        x, test = nr.padded(x, 60), nr.padded(test, 60)
    net = trained(x, labels)
    assert nr.accuracy(net.predict(test), test_labels) > 0.70  # 0.5 is what guessing gets


def test_the_words_of_a_review(reviews):
    data = nr.datasets.imdb()
    x = sentiment.as_indices(data.train, WORDS)
    vocabulary = nr.Vocabulary(data.vocabulary[: WORDS - 3], sentiment.SPECIAL)
    assert len(vocabulary) == WORDS and x.data.max() == WORDS - 1 and x.dtype == np.uint16
    assert np.array_equal(x.lengths, data.train.lengths + 1) and (x.data[x.offsets[:-1]] == 1).all()
    for n in (0, 17, 24999):
        kept = [word if word in vocabulary else "<unknown>" for word in data.text(data.train[n]).split(" ")]
        assert vocabulary.decode(x[n]) == " ".join(["<start>", *kept])


def test_a_review_without_words():
    """The network answers from the initial state; the review is trained on, and changes no row of the embedding."""
    x = nr.Ragged.of([np.array([5, 7, 6]), np.zeros(0, int), np.array([8])])
    labels = np.array([1, 0, 1])
    net = sentiment.network(words=10, embedding=4, hidden=4)
    empty = nr.Ragged.of([np.zeros(0, int)])
    assert np.array_equal(net.predict(x)[1], net.params["3.bias"])
    before = net.params["0.weight"].copy()
    net.fit(empty, labels[1:2], "cross_entropy", nr.Adam(0.1), 5, progress=False)
    assert np.array_equal(net.params["0.weight"], before)
    assert nr.accuracy(net.predict(empty), labels[1:2]) == 1
    history = net.fit(x, labels, "cross_entropy", nr.Adam(0.05), 60, progress=False)
    assert history.loss[-1] < 0.2 and nr.accuracy(net.predict(x), labels) == 1


def test_training_beside_torch_starts_from_the_same_loss():
    """What benchmarks/sentiment.py times does the same work in both libraries."""
    torch = pytest.importorskip("torch")
    x, labels = np.random.default_rng(0).integers(0, 50, (12, 6)), np.array([0, 1, 1, 0, 1, 0])
    net = nr.Network([nr.Embedding(50, 8), nr.GRU(5), nr.Last(), nr.Dense(2)], dtype="float64")
    gru, out = torch.nn.GRU(8, 5, dtype=torch.float64), torch.nn.Linear(5, 2, dtype=torch.float64)
    embedding = torch.nn.Embedding.from_pretrained(torch.from_numpy(net.params["0.weight"].copy()), freeze=False)
    with torch.no_grad():
        for module, index in ((gru, 1), (out, 3)):
            for name, value in module.named_parameters():
                value.copy_(torch.from_numpy(net.params[f"{index}.{name}"].copy()))
    parameters = [*embedding.parameters(), *gru.parameters(), *out.parameters()]
    optimizer = torch.optim.Adam(parameters, 0.01)
    losses = []
    for first in (0, 2, 4, 0, 2, 4, 0, 2, 4):
        optimizer.zero_grad()
        logits = out(gru(embedding(torch.from_numpy(x[:, first : first + 2])))[0][-1])
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[first : first + 2]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    history = net.fit(x, labels, "cross_entropy", nr.Adam(0.01), 3, 2, shuffle=False, progress=False)
    np.testing.assert_allclose(history.loss, np.reshape(losses, (3, 3)).mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(net.params["0.weight"], embedding.weight.detach().numpy(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(net.params["1.weight_hh_l0"], gru.weight_hh_l0.detach().numpy(), rtol=0, atol=1e-9)
