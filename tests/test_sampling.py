"""Language models that go on writing, beside a loop of NumPy over the same logits and the same uniform numbers."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn import sampling
from numbarnn.streaming import Stream

TEXT = "to be, or not to be: that is the question"
V = nr.Vocabulary.of([TEXT], special=(), split="characters")
SIZE = len(V)


def language_model(size=SIZE, dtype="float32", layout="tnc", one_hot=False):
    """A network that gives logits far enough from one another."""
    layers = [nr.LSTM(6), nr.GRU(5), nr.Last(), nr.Dense(size)]
    layers = layers if one_hot else [nr.Embedding(size, 4), *layers]
    net = nr.Network(layers, channels=size if one_hot else 1, dtype=dtype, layout=layout, seed=0)
    net.params.flat *= 4
    return net


def with_logits(logits, dtype="float64"):
    """A network that gives these logits at every step."""
    net = nr.Network([nr.Embedding(len(logits), 1), nr.Dense(len(logits))], dtype=dtype, seed=0)
    net.params["1.weight"][...] = 0
    net.params["1.bias"][...] = logits
    return net


def uniforms(seed, length, n=0):
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(n + 1)[n]).random(length)


def kept(logits, temperature, top_k, top_p):
    """The probabilities of one step; indices that cannot be drawn have 0."""
    logits = np.asarray(logits, float)
    p = np.exp((logits - logits.max()) / temperature)
    order = np.argsort(-p, kind="stable")[:top_k]
    if top_p not in (None, 1):
        order = order[: np.argmax(np.cumsum(p[order]) >= top_p * p[order].sum()) + 1]
    left = np.zeros_like(p)
    left[order] = p[order]
    return left / left.sum()


def drawn(logits, uniform, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return int(np.argmax(logits))
    return int(np.argmax(np.cumsum(kept(logits, temperature, top_k, top_p)) > uniform))


def expected(net, prompt, length, seed=0, n=0, **how):
    """One sequence, step by step."""
    one_hot, size = not net.takes_indices, net.output_channels
    stream, found = net.stream(), []
    step = (lambda i: stream.step(np.eye(size, dtype=net.dtype)[[i]])) if one_hot else (lambda i: stream.step(np.array([i])))
    logits = [step(index) for index in prompt][-1]
    for uniform in uniforms(seed, length, n):
        found.append(drawn(logits[0], uniform, **how))
        logits = step(found[-1])
    return found


HOW = [
    {},
    {"temperature": 0.5},
    {"temperature": 0},
    {"top_k": 3},
    {"top_p": 0.7},
    {"temperature": 2.0, "top_k": 9, "top_p": 0.8},
    {"temperature": 0, "top_k": 2, "top_p": 0.1},
    {"top_k": 100, "top_p": 1},
    {"top_k": 1},
]


@pytest.mark.parametrize("dtype, one_hot", [("float32", False), ("float64", False), ("float32", True)])
def test_each_index_is_drawn_from_the_logits_and_read_next(dtype, one_hot):
    net, prompt = language_model(dtype=dtype, one_hot=one_hot), V.encode("to be")
    before = net.params.flat.copy()
    for how in HOW:
        found = nr.sample(net, prompt, 30, seed=3, **how)
        assert found.dtype == np.int64 and found.tolist() == expected(net, prompt, 30, 3, **how), how
    assert np.array_equal(net.params.flat, before)


@pytest.mark.parametrize(
    "layers",
    [
        [nr.GRU(SIZE, layers=2)],
        [nr.LSTM(20, projection=SIZE), nr.Last()],
        [nr.RNN(SIZE, learned_state=True), nr.Activation("softsign")],
        [nr.GRU(4, normalized=True), nr.Dropout(0.3), nr.PerStep(nr.Dense(SIZE))],
        [],
    ],
    ids=repr,
)
def test_whatever_gives_the_logits(layers):
    net = nr.Network([nr.Embedding(SIZE, 3 if layers else SIZE), *layers], seed=1)
    net.params.flat *= 3
    prompt = np.array([[1, 2, 3], [0, 4, 1]])
    found = nr.sample(net, prompt, 20, seed=2)
    for n in range(3):
        assert found[:, n].tolist() == expected(net, prompt[:, n], 20, 2, n)


def test_greedily_it_is_the_largest_of_each_prediction():
    net, seen = language_model(), V.encode("or").tolist()
    found = nr.sample(net, np.array(seen), 20, temperature=0)
    for index in found:
        assert index == np.argmax(net.predict(np.array(seen)[:, None])[0])
        seen.append(index)


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, -1.0, 2.5, -30.0, -800.0, 4.0]), min_size=1, max_size=40),
    st.sampled_from([1.0, 0.3, 2.0, 1e-3, 1e3]),
    st.one_of(st.none(), st.integers(1, 45)),
    st.one_of(st.none(), st.floats(0.01, 0.99).map(lambda p: p * 0.9997 + 1e-5)),
    st.integers(0, 99),
)
def test_equal_logits_and_far_ones(logits, temperature, top_k, top_p, seed):
    found = nr.sample(with_logits(logits), [0], 40, temperature, top_k, top_p, seed)
    assert found.tolist() == [drawn(logits, u, temperature, top_k, top_p) for u in uniforms(seed, 40)]


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 65, 256, 1000])
def test_what_is_kept(size):
    logits = np.random.default_rng(size).standard_normal(size) * 3
    for top_k, top_p in ((None, 0.9), (None, 0.2), (3, None), (size // 2 + 1, None), (size // 2 + 1, 0.6), (None, 1.0)):
        found = nr.sample(with_logits(logits), [0], 500, top_k=top_k, top_p=top_p)
        assert found.tolist() == [drawn(logits, u, 1.0, top_k, top_p) for u in uniforms(0, 500)]
        assert set(found) <= set(np.flatnonzero(kept(logits, 1.0, top_k, top_p)))


@pytest.mark.parametrize(
    "logits, how, support",
    [
        ([1.0, 1.0, 1.0, 1.0], {"top_k": 2}, {0, 1}),
        ([1.0, 1.0, 1.0, 1.0], {"top_p": 0.5}, {0, 1}),
        ([1.0, 1.0, 1.0, 1.0], {"top_p": 0.51}, {0, 1, 2}),
        ([0.0, 1.0, 1.0, 0.0], {"top_k": 3}, {0, 1, 2}),
        ([0.0, 3.0, 1.0, 2.0], {"top_p": 1e-9}, {1}),
        ([0.0, 3.0, 1.0, 2.0], {"temperature": 1e-300}, {1}),
        ([5.0, 3.0, 5.0, 2.0], {"temperature": 1e-300}, {0, 2}),
        ([0.0, 0.1, 0.2, 0.3], {"temperature": 1e300}, {0, 1, 2, 3}),
        ([0.0, -1e308, 1e308, 1e308], {}, {2, 3}),
        ([-740.0, 0.0, -740.0, -700.0], {"top_k": 3}, {1}),
    ],
)
def test_the_support(logits, how, support):
    assert set(nr.sample(with_logits(logits), [0], 400, **how)) == support


@pytest.mark.parametrize("how", [{}, {"temperature": 0.7}, {"top_k": 6}, {"top_p": 0.8}])
def test_the_distribution(how):
    """Chi-square of 300,000 draws, with a limit that one seed in a thousand would pass."""
    logits = np.random.default_rng(1).standard_normal(12)
    p = kept(logits, how.get("temperature", 1.0), how.get("top_k"), how.get("top_p"))
    counts = np.bincount(nr.sample(with_logits(logits), [0], 300_000, seed=5, **how), minlength=12)
    assert counts.sum() == 300_000 and not counts[p == 0].any()
    wanted = 300_000 * p[p > 0]
    limits = {12: 31.26, 6: 20.52, 7: 22.46, 8: 24.32, 5: 18.47}  # of 0.999, with one degree of freedom less
    assert ((counts[p > 0] - wanted) ** 2 / wanted).sum() < limits[len(wanted)]


def test_texts_of_any_lengths_are_as_each_alone():
    net, texts = language_model(), ["to be", "o", "question", "not"]
    seeds = [7, 1, 3, 7]
    found = nr.sample(net, texts, 25, top_p=0.9, seed=seeds, vocabulary=V)
    alone = [nr.sample(net, text, 25, top_p=0.9, seed=seed, vocabulary=V) for text, seed in zip(texts, seeds)]
    assert found == alone and all(len(text) == 25 for text in found)


def test_a_sequence_has_random_numbers_of_its_own():
    net, prompt = language_model(), np.tile(V.encode("be")[:, None], 3)
    found = nr.sample(net, prompt, 30, seed=4)
    for n in range(3):
        assert found[:, n].tolist() == expected(net, prompt[:, n], 30, 4, n)
    assert np.array_equal(nr.sample(net, prompt[:, :2], 12, seed=4), found[:12, :2])  # fewer, and shorter
    assert nr.sample(net, prompt[:, 0], 30, seed=4).tolist() == found[:, 0].tolist()
    assert len({tuple(column) for column in found.T}) == 3
    both = [nr.sample(net, prompt, 9, seed=np.random.default_rng(2)) for _ in range(2)]
    assert np.array_equal(*both)
    random = np.random.default_rng(2)
    assert not np.array_equal(*(nr.sample(net, prompt, 9, seed=random) for _ in range(2)))
    assert np.array_equal(nr.sample(net, prompt, 9, seed=np.random.SeedSequence(4)), found[:9])
    assert nr.sample(net, prompt, 9, seed=None).shape == (9, 3)


@pytest.mark.parametrize("layout, letters", [("ntc", "nt"), ("tnc", "tn"), ("cnt", "cnt"), ("tnc", "tnc"), ("ntc", "t")])
def test_indices_are_laid_out_like_the_prompt(layout, letters):
    prompt = np.stack([V.encode("to be"), V.encode("or no")], axis=1)
    straight = nr.sample(language_model(), prompt, 7)
    shape = [{"t": 5, "n": 2, "c": 1}[letter] for letter in letters]
    if letters == "t":
        assert np.array_equal(nr.sample(language_model(layout=layout), prompt[:, 0], 7), straight[:, 0])
        return
    given = (prompt if letters.index("t") < letters.index("n") else prompt.T).reshape(shape)
    found = nr.sample(language_model(layout=layout), given, 7)
    assert [*found.shape] == [7 if size == 5 else size for size in shape]
    found = found.reshape([size for size in found.shape if size != 1])
    assert np.array_equal(found if letters.index("t") < letters.index("n") else found.T, straight)


def test_any_number_of_threads_and_pieces(monkeypatch):
    net = language_model(300)
    prompt, threads = np.arange(120).reshape(2, 60), numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = nr.sample(net, prompt, 20, top_p=0.95)
        numba.set_num_threads(threads)
        assert np.array_equal(nr.sample(net, prompt, 20, top_p=0.95), alone)
    finally:
        numba.set_num_threads(threads)
    monkeypatch.setattr(sampling, "MOST_STEPS", 3)
    assert np.array_equal(nr.sample(net, prompt, 20, top_p=0.95), alone)


def test_a_long_prompt_is_read_some_steps_at_a_time(monkeypatch):
    """Memory holds the logits of these only, and Ctrl-C is heard after them."""
    net, prompt, read, run = language_model(), np.arange(105) % SIZE, [], Stream.run
    whole = nr.sample(net, prompt, 5)
    monkeypatch.setattr(sampling, "MOST_STEPS", 10)
    monkeypatch.setattr(Stream, "run", lambda self, x: (read.append(len(x)), run(self, x))[1])
    assert np.array_equal(nr.sample(net, prompt, 5), whole)
    assert read == [*[10] * 10, 4]


def test_words_are_joined():
    words = nr.Vocabulary.of(["the cat saw the dog"], special=())
    net = nr.Network([nr.Embedding(4, 3), nr.GRU(3), nr.Dense(4)], seed=0)
    found = nr.sample(net, ["The cat", "dog"], 6, vocabulary=words)
    assert [len(text.split()) for text in found] == [6, 6] and set(" ".join(found).split()) <= set(words.entries)


def overflowing(first, second):
    """A network of three indices whose logits are infinite after the first one: these signs of infinity, and 0."""
    net = nr.Network([nr.Embedding(3, 1), nr.Dense(3)], seed=0)
    net.params["0.weight"][:, 0] = 1e30, 0, 0
    net.params["1.weight"][:, 0] = first * 1e30, second * 1e30, 0
    net.params["1.bias"][...] = 0
    return net


def test_what_is_impossible_is_not_drawn():
    for seed in range(20):
        assert nr.sample(overflowing(-1, -1), [0], 1, seed=seed) == [2]
    assert nr.sample(overflowing(-1, -1), [0], 1, temperature=0) == [2]


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_logits_that_are_not_finite_are_an_error_with_their_place(temperature):
    with pytest.raises(nr.NonFiniteError, match="network: .* got NaN or infinite ones at step 0 of sequence 1"):
        nr.sample(overflowing(1, 0), np.array([[1, 0]]), 3, temperature)
    net = with_logits([0.0, 0.0, 0.0], "float32")
    net.params["0.weight"][:, 0] = 0, 3e38, 3e38
    net.params["1.weight"][:, 0] = 0, 3e38, -3e38
    net.params["1.bias"][...] = 0, 50, 0  # the first draw is index 1, after which logits overflow
    with pytest.raises(nr.NonFiniteError, match="at step 1 of sequence 0"):
        nr.sample(net, [0], 3, temperature)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"network": nr.GRU(2)}, TypeError, "network: expected a Network, got GRU"),
        ({"network": nr.Network([nr.Embedding(9, 2), nr.Dense(3)])}, nr.ShapeError,
         "network: expected an output channel for each of the 9 indices of the Embedding, .* got 3"),
        ({"network": nr.Network([nr.GRU(2)], 3)}, nr.ShapeError, "each of the 3 channels of the input, .* got 2"),
        ({"network": nr.Network([nr.Dense(3, "sigmoid")], 3)}, ValueError, "expected the last one to give logits"),
        ({"network": nr.Network([nr.GRU(2, bidirectional=True), nr.Dense(3)], 3), "prompt": [0]}, ValueError,
         "is bidirectional and needs the whole sequence"),
        ({"prompt": ""}, ValueError, "prompt: expected a text with something to begin with, got ''"),
        ({"prompt": ["a", "to be", ""]}, ValueError, r"prompt\[2\]: expected a text with something to begin with, got ''"),
        ({"prompt": "to bee or ßnot"}, nr.UnknownNameError,
         "prompt: expected the 15 entries of the vocabulary, got 'ß' at 10"),
        ({"prompt": ["a", "be X"]}, nr.UnknownNameError, r"prompt\[1\]: expected .* got 'X' at 3"),
        ({"prompt": ["a", 3]}, TypeError, r"prompt\[1\]: expected a str, got int"),
        ({"prompt": []}, nr.DTypeError, "prompt: expected integers, got float64"),
        ({"prompt": np.zeros((0, 2), int)}, nr.ShapeError, "prompt: expected at least one step of at least one sequence"),
        ({"prompt": np.zeros((2, 0), int)}, nr.ShapeError, "prompt: expected at least one step of at least one sequence"),
        ({"prompt": [0, 15]}, nr.IndexRangeError, "prompt: expected indices from 0 to 14, got 15 at step 1 of sample 0"),
        ({"prompt": [0.0]}, nr.DTypeError, "prompt: expected integers, got float64"),
        ({"prompt": np.zeros((1, 1, 2), int)}, nr.ShapeError, "prompt: expected 1 channel"),
        ({"length": 0}, ValueError, "length: expected a positive integer, got 0"),
        ({"length": 2.0}, TypeError, "length: expected a positive integer"),
        ({"temperature": -0.1}, ValueError, "temperature: expected a finite number >= 0, got -0.1"),
        ({"temperature": float("nan")}, ValueError, "temperature: expected a finite number, got nan"),
        ({"temperature": float("inf")}, ValueError, "temperature: expected a finite number, got inf"),
        ({"top_k": 0}, ValueError, "top_k: expected a positive integer, got 0"),
        ({"top_p": 0}, ValueError, "top_p: expected a number greater than 0 and at most 1, got 0"),
        ({"top_p": 1.5}, ValueError, "top_p: expected a number greater than 0 and at most 1, got 1.5"),
        ({"top_p": float("nan")}, ValueError, "top_p: expected a finite number, got nan"),
        ({"seed": -1}, ValueError, "seed: expected an integer >= 0 or a numpy.random.Generator, got -1"),
        ({"seed": [1, 2]}, ValueError, "seed: expected an integer >= 0, or 1 of them, one for each sequence, got 2"),
        ({"seed": [1.5]}, TypeError, r"seed\[0\]: expected an integer"),
        ({"vocabulary": None}, TypeError, "vocabulary: expected a Vocabulary, to read the text of prompt with, got None"),
        ({"vocabulary": "abc"}, TypeError, "vocabulary: expected a Vocabulary or None, got str"),
        ({"vocabulary": nr.Vocabulary(["a"], ())}, nr.ShapeError, "vocabulary: expected 15 entries, .* got 1"),
    ],
)  # fmt: skip
def test_bad_input_is_named(change, error, message):
    arguments = {"network": language_model(), "prompt": "to be", "length": 3, "vocabulary": V}
    if "network" in change:
        arguments["vocabulary"] = None
    with pytest.raises(error, match=message):
        nr.sample(**arguments | change)


def test_a_network_whose_parameters_are_not_finite_is_refused():
    net = language_model()
    net.params.flat[3] = np.nan
    with pytest.raises(nr.NonFiniteError):
        nr.sample(net, [0], 3)
