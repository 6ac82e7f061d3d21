"""A language model that goes on writing: indices drawn from its logits, each of which is its next input."""

import numpy as np

from .arrays.conversion import integers_like
from .arrays.descriptor import AXES
from .arrays.devices import backend, device_of, moved
from .arrays.indices import Indices, index_axes
from .data.text import Vocabulary
from .errors import NonFiniteError, ShapeError, finite_number, generator, integer, positive_integer, several
from .layers.embedding import Embedding
from .layers.operations import Operation
from .network import Network
from .networks.probabilities import link_of

MOST_STEPS = 4096  # of one call of compiled code, so that Ctrl-C is heard


def sample(
    network: Network,
    prompt: "str | list[str] | np.ndarray",
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    vocabulary: Vocabulary | None = None,
) -> "str | list[str] | np.ndarray":
    """What a language model writes after a prompt: each index is drawn from its softmax, and is its next input.

    T steps of the prompt, N sequences, V indices.  Of the logits z (V,) after a step, index v is drawn with the
    probability ::

        p[v] = exp(z[v] / temperature) / sum over w of exp(z[w] / temperature)

    computed in float64.  With `top_k` the k most probable indices are kept, then with `top_p` as few of these, the most
    probable first, as have together at least this share of their probability; of equally probable ones the smaller index
    comes first.  What is drawn is the first index at which the cumulative probability of those that are kept is greater
    than a uniform number from 0 to less than 1.

    Parameters
    ----------
    network : Network
        One with an output channel for each index that it takes: of an `Embedding` of V indices, or of one-hot vectors of V
        channels.  The outputs are logits, as for the loss ``"cross_entropy"``; `Last` passes each step on.
    prompt : str, list of str, or array of int
        What comes before, at least one step: a text, several texts of any lengths, or indices, (T, N) in the order of the
        network's layout or (T,) for one sequence.
    length : int
        How many indices are drawn.
    temperature : float
        At least 0.  Below 1 what is probable becomes more so; at 0 the index of the largest logit is taken, of several the
        smallest.
    top_k : int, optional
        From how many of the most probable indices one is drawn at most; from all if None.
    top_p : float, optional
        A share, greater than 0 and at most 1: the nucleus.  1 if None.
    seed : int, list of int, or numpy.random.Generator
        The same seed gives the same result on every device, for any number of threads, and a longer one begins with it.
        Sequence n draws from child n of ``numpy.random.SeedSequence(seed)``, whatever N is.  With a seed for each sequence
        the results are the same as from N calls, each with one seed.
    vocabulary : Vocabulary, optional
        What a text is read and written with; needed for texts, of V entries.

    Returns
    -------
    str, list of str, or numpy.ndarray
        What follows the prompt, in its form; indices are (length, N) or (length,), laid out like the prompt, int64.

    Raises
    ------
    UnknownNameError
        If a text has a character, or word, that the vocabulary has not; it says where.
    IndexRangeError, ShapeError, TypeError, ValueError
        If an argument is not as described, or there is no step to begin with.
    NonFiniteError
        If logits are NaN or infinite; some may be -inf, which stands for a probability of 0.

    References
    ----------
    Fan et al. 2018, arXiv:1805.04833 (top-k); Holtzman et al. 2020, arXiv:1904.09751 (top-p).

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> text = "to be or not to be " * 20
    >>> v = nr.Vocabulary.of([text], special=(), split="characters")
    >>> net = nr.Network([nr.Embedding(len(v), 8), nr.GRU(32), nr.Dense(len(v))], seed=0)
    >>> x, y = v.encode(text[:-1])[:, None], v.encode(text[1:])[:, None]
    >>> history = net.fit(x, y, loss="cross_entropy", optimizer=nr.Adam(0.01), epochs=60, progress=False)
    >>> nr.sample(net, "to be", 14, temperature=0, vocabulary=v)
    ' or not to be '
    >>> nr.sample(net, v.encode("to be"), 5, top_k=3, top_p=0.9).shape
    (5,)
    """
    if not isinstance(network, Network):
        raise TypeError(f"network: expected a Network, got {type(network).__name__}")
    classes = _indices_of(network)
    length, temperature = positive_integer("length", length), _temperature(temperature)
    most = classes if top_k is None else min(positive_integer("top_k", top_k), classes)
    share = 1.0 if top_p is None else _share(top_p)
    _check_vocabulary(vocabulary, classes)
    if _is_text(prompt):
        sequences = _encoded(prompt, vocabulary)
    else:
        array, letters = _indices(network, prompt)
        sequences = [*array.checked("prompt", "indices", classes).reshape(array.steps, array.batch).T]
    random = _generators(seed, len(sequences))

    network.params.check_finite()
    found = _drawn(network, classes, sequences, length, (temperature, most, share), random)
    if isinstance(prompt, str):
        return vocabulary.decode(found[:, 0])
    if _is_text(prompt):
        return [vocabulary.decode(indices) for indices in found.T]
    kept = [letter for letter in AXES if letter in letters]
    found = found[..., None].squeeze(tuple(axis for axis, letter in enumerate(AXES) if letter not in letters))
    return found.transpose([kept.index(letter) for letter in letters])


def is_language_model(network):
    """Whether `sample` takes a network, if it has a stream."""
    try:
        return bool(_indices_of(network))
    except ValueError:
        return False


def _indices_of(network):
    """How many indices a language model takes, and gives logits of."""
    taken = network.layers[0].vocabulary if network.takes_indices else network.channels
    if network.output_channels != taken:
        what = "indices of the Embedding" if network.takes_indices else "channels of the input, a one-hot vector"
        raise ShapeError(
            f"network: expected an output channel for each of the {taken} {what}, to feed back what is drawn,"
            f" got {network.output_channels}"
        )
    if taken > 1:
        link_of("cross_entropy", network.layers[-1], network.output_channels)  # its last layer is to give logits
    return taken


def _temperature(value):
    number = finite_number("temperature", value)
    if number < 0:
        raise ValueError(f"temperature: expected a finite number >= 0, got {value!r}")
    return number


def _share(value):
    number = finite_number("top_p", value)
    if not 0 < number <= 1:
        raise ValueError(f"top_p: expected a number greater than 0 and at most 1, got {value!r}")
    return number


def _check_vocabulary(vocabulary, classes):
    if vocabulary is None:
        return
    if not isinstance(vocabulary, Vocabulary):
        raise TypeError(f"vocabulary: expected a Vocabulary or None, got {type(vocabulary).__name__}")
    if len(vocabulary) != classes:
        raise ShapeError(f"vocabulary: expected {classes} entries, one for each output channel, got {len(vocabulary)}")


def _is_text(prompt):
    """Whether a prompt is a text, or are several."""
    return isinstance(prompt, str) or (isinstance(prompt, (list, tuple)) and any(isinstance(p, str) for p in prompt))


def _encoded(prompt, vocabulary):
    """The indices of each text, at least one."""
    if vocabulary is None:
        raise TypeError("vocabulary: expected a Vocabulary, to read the text of prompt with, got None")
    named = [("prompt", prompt)] if isinstance(prompt, str) else [(f"prompt[{n}]", text) for n, text in enumerate(prompt)]
    sequences = [vocabulary._encoded(argument, text) for argument, text in named]
    for (argument, text), sequence in zip(named, sequences):
        if not len(sequence):
            raise ValueError(f"{argument}: expected a text with something to begin with, got {text!r}")
    return sequences


def _indices(network, prompt):
    """(the Indices of an array, the letters of its axes); at least one step of one sequence."""
    array = moved(integers_like("prompt", prompt, network.layout.replace("c", "")), "cpu")
    letters = index_axes("prompt", network.layout, array)
    if not array.size:
        raise ShapeError(f"prompt: expected at least one step of at least one sequence, got shape {array.shape}")
    return Indices.of(array, letters, "prompt"), letters


def _generators(seed, count):
    """A Generator for each of `count` sequences."""
    if not (isinstance(seed, (list, tuple, range)) or (isinstance(seed, np.ndarray) and seed.ndim)):
        root = _root("seed", seed)
        return [_child(root, n) for n in range(count)]
    seeds = several("seed", seed, "an integer >= 0, or one for each sequence")
    if len(seeds) != count:
        raise ValueError(f"seed: expected an integer >= 0, or {count} of them, one for each sequence, got {len(seeds)}")
    return [_child(_root(f"seed[{n}]", each), 0) for n, each in enumerate(seeds)]


def _root(argument, seed):
    """The SeedSequence that a seed stands for; a Generator gives a seed."""
    if isinstance(seed, np.random.SeedSequence):
        return seed
    random = generator(argument, seed)
    if isinstance(seed, np.random.Generator):
        return np.random.SeedSequence(int(random.integers(1 << 63)))
    return np.random.SeedSequence(None if seed is None else integer(argument, seed))


def _child(root, n):
    """The Generator of child n of a SeedSequence, which stays as it is."""
    return np.random.default_rng(np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, n)))


class Draw(Operation):
    """An index for each sequence, drawn from the logits of a step, in the host's memory.

    Parameters
    ----------
    logits : TensorDescriptor
        (K, N, V), of which the first step counts.
    temperature, most, share
        See `cpu.sampling.Drawing`.

    Attributes
    ----------
    array : numpy.ndarray
        (K, N), int64: the first step is written.
    """

    def __init__(self, logits, temperature, most, share):
        steps, sequences, classes = logits.array.shape
        self._logits, self.array = logits.array, np.zeros((steps, sequences), np.int64)
        self._here = device_of(logits.array) == "cpu"
        self._host = logits.array[0] if self._here else np.zeros((sequences, classes), logits.dtype)
        self.drawing = backend("cpu").sampling.Drawing(self._host, self.array[0], temperature, most, share)

    def forward(self):
        self._host[...] = moved(self._logits[0], "cpu")
        self.drawing.run()

    def add_to(self, program):
        self.drawing.add_to(program)


def _drawn(network, classes, sequences, length, how, random):
    """(length, N) of indices that follow sequences, drawn with a Generator each; how: see `Draw`."""
    layers = list(zip(network.layers, network._own))
    if not network.takes_indices:
        table = Embedding(classes, classes)
        own = table.init(dtype=network.dtype.name)
        own["weight"][...] = np.eye(classes)
        layers.insert(0, (table, own.to(network.device)))
    draws = []

    def last(logits):
        draws.append(Draw(logits, *how))
        return draws[0]

    stream = network._stream(layers, len(sequences), last)
    x, lengths = _aligned(sequences)
    _read(stream, x, len(x) - lengths)
    found = np.empty((length, len(sequences)), np.int64)
    before, drawing = x[-1], draws[0].drawing
    for start in range(0, length, MOST_STEPS):
        part = found[start : start + MOST_STEPS]
        drawing.begin(np.stack([each.random(len(part)) for each in random], axis=1))
        part[...] = stream.feed_back(before, len(part))
        if drawing.wrong is not None:
            step, sequence = drawing.wrong
            raise NonFiniteError(
                "network: expected logits that are finite, or some of them -inf, got NaN or infinite ones at step"
                f" {start + step} of sequence {sequence}"
            )
        before = part[-1]
    return found


def _aligned(sequences):
    """(T, N) of sequences that end together, with index 0 before they begin; and their lengths."""
    lengths = np.array([len(sequence) for sequence in sequences])
    x = np.zeros((lengths.max(), len(sequences)), np.int64)
    for n, sequence in enumerate(sequences):
        x[len(x) - len(sequence) :, n] = sequence
    return x, lengths


def _read(stream, x, starts):
    """Run a stream over all steps but the last; sequences start afresh where they begin."""
    at = 0
    for start in np.unique(starts):
        if start:
            _run(stream, x[at:start])
            stream.reset(starts == start)
            at = start
    _run(stream, x[at:-1])


def _run(stream, x):
    """Run a stream over steps whose outputs nobody reads: memory holds the outputs of a few steps only."""
    for at in range(0, len(x), MOST_STEPS):
        stream.run(x[at : at + MOST_STEPS])
