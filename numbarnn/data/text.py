"""Texts as indices: words or characters, the most frequent first."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ..arrays.conversion import array_of
from ..arrays.indices import checked_integers
from ..arrays.ragged import Ragged
from ..descriptions.fields import Settled
from ..errors import IndexRangeError, ShapeError, UnknownNameError, known_name, positive_integer, several

PADDING, UNKNOWN = "<padding>", "<unknown>"
WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters, digits and underscores, with apostrophes inside."""
    return WORD.findall(text.lower())


def characters(text: str) -> list[str]:
    """The characters of a text, all of them as they are."""
    return list(text)


SPLITS = {"words": (words, " "), "characters": (characters, "")}


class Vocabulary(Settled):
    """Words, or characters, and the index of each: what `Embedding` reads.

    ``net.save(path, extra={"vocabulary": vocabulary})`` keeps it with a network.

    Parameters
    ----------
    entries : iterable of str
        The words in the order of their indices, after `special`, or all with `special` at the beginning; none twice.
    special : sequence of str
        What has the first indices and stands for no word: ``"<unknown>"`` among them gets every word that is not in the
        vocabulary; without it such a word is an error.
    split : {"words", "characters"} or callable
        What becomes of a text: lower-case words, or all characters; or a function from a text to a list.
    join : str, optional
        What `decode` puts between two: a space, for characters nothing.

    Examples
    --------
    >>> import numbarnn as nr
    >>> v = nr.Vocabulary.of(["The cat saw the dog.", "The dog ran!"])
    >>> v
    Vocabulary(7 entries: '<padding>', '<unknown>', 'the', 'dog', 'cat', 'ran', ...)
    >>> v.encode("The dog saw a bird")
    array([2, 3, 6, 1, 1], dtype=uint8)
    >>> v.decode([2, 3, 5]), v["cat"], len(v)
    ('the dog ran', 4, 7)
    >>> v.encode_all(["the cat", "", "a dog"])
    Ragged(3 sequences of 0 to 2 steps, uint8)
    >>> nr.Vocabulary.of(["hello"], special=(), split="characters").encode("hole")
    array([2, 3, 0, 1], dtype=uint8)
    """

    settled = ("entries", "special", "split", "join")  # what a file has of it

    def __init__(
        self,
        entries: Iterable[str],
        special: Sequence[str] = (PADDING, UNKNOWN),
        split: str | Callable[[str], list[str]] = "words",
        join: str | None = None,
    ):
        if not callable(split):
            known_name("split", split, SPLITS)
        self._parts, joined = (split, " ") if callable(split) else SPLITS[split]
        if join is not None and not isinstance(join, str):
            raise TypeError(f"join: expected a str or None, got {join!r} ({type(join).__name__})")
        self.split, self.join = split, joined if join is None else join
        self.special, entries = _strings("special", special), _strings("entries", entries)
        self.entries = entries if entries[: len(self.special)] == self.special else (*self.special, *entries)
        if not self.entries:
            raise ValueError("entries: expected at least one word, got none")
        self._index = {entry: index for index, entry in enumerate(self.entries)}
        if len(self._index) < len(self.entries):
            twice = next(entry for entry, count in Counter(self.entries).items() if count > 1)
            raise ValueError(f"entries: expected each word once, got {twice!r} {self.entries.count(twice)} times")
        self._unknown = self._index[UNKNOWN] if UNKNOWN in self.special else None
        self.dtype = np.min_scalar_type(len(self.entries) - 1)

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        size: int | None = None,
        least: int = 1,
        special: Sequence[str] = (PADDING, UNKNOWN),
        split: str | Callable[[str], list[str]] = "words",
        join: str | None = None,
    ) -> "Vocabulary":
        """The words of some texts, the most frequent first; equally frequent ones in the order of their characters.

        Parameters
        ----------
        texts : iterable of str
        size : int, optional
            The most entries, `special` included; all words if None.
        least : int
            How often a word is there at least.
        special, split, join
            As for the class.
        """
        parts, counts = cls(["any"], (), split)._parts, Counter()
        least, special = positive_integer("least", least), _strings("special", special)
        if size is not None:
            size = positive_integer("size", size)
            if size <= len(special):
                raise ValueError(f"size: expected more than the {len(special)} of special, got {size}")
        for text in _strings("texts", texts):
            counts.update(parts(text))
        for entry in special:
            counts.pop(entry, None)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [word for word, count in ranked if count >= least][: None if size is None else size - len(special)]
        return cls(kept, special, split, join)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, entry: str) -> bool:
        return entry in self._index

    def __getitem__(self, entry: str) -> int:
        """The index of a word; without ``"<unknown>"`` among the special ones UnknownNameError if it is not there."""
        index = self._index.get(entry, self._unknown)
        if index is None:
            raise UnknownNameError(f"text: expected the {len(self)} entries of the vocabulary, got {entry!r}")
        return index

    def encode(self, text: str) -> np.ndarray:
        """The indices of a text, (T,), of the smallest dtype of integers that has all; none of an empty text."""
        return self._encoded("text", text)

    def _encoded(self, argument, text):
        """`encode` of an argument that errors name."""
        if not isinstance(text, str):
            raise TypeError(f"{argument}: expected a str, got {type(text).__name__}")
        parts = self._parts(text)
        if self._unknown is None:
            for place, part in enumerate(parts):
                if part not in self._index:
                    raise UnknownNameError(
                        f"{argument}: expected the {len(self)} entries of the vocabulary, got {part!r} at {place}"
                    )
        find, unknown = self._index.get, self._unknown
        return np.fromiter((find(part, unknown) for part in parts), self.dtype, len(parts))

    def encode_all(self, texts: Iterable[str]) -> Ragged:
        """The indices of several texts, as a `Ragged` of integers; an empty text is a sequence of length 0."""
        texts = _strings("texts", texts)
        if not texts:
            raise ValueError("texts: expected at least one text, got none")
        return Ragged.of([self._encoded(f"texts[{index}]", text) for index, text in enumerate(texts)])

    def decode(self, indices) -> str:
        """The words of some indices, joined."""
        array = array_of("indices", indices)
        array = checked_integers("indices", array if array.size else array.astype(np.int64))
        if array.ndim != 1:
            raise ShapeError(f"indices: expected 1 axis, got shape {array.shape}")
        wrong = (array < 0) | (array >= len(self))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise IndexRangeError(f"indices: expected numbers from 0 to {len(self) - 1}, got {array[at]} at {at}")
        return self.join.join(self.entries[index] for index in array)

    def __eq__(self, other):
        return isinstance(other, Vocabulary) and all(getattr(self, name) == getattr(other, name) for name in self.settled)

    def __hash__(self):
        return hash((self.entries, self.special, self.join))

    def __repr__(self):
        shown = ", ".join(map(repr, self.entries[:6]))
        return f"Vocabulary({len(self)} entries: {shown}{', ...' if len(self) > 6 else ''})"


def _strings(argument, values):
    """`values`, if they are several strings; else a TypeError that names the argument and the index."""
    values = several(argument, values, "several strings, such as [text]")
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(f"{argument}[{index}]: expected a str, got {type(value).__name__}")
    return values


def padded(sequences: Ragged, steps: int, value: float = 0, at: str = "start") -> np.ndarray:
    """Sequences as one array, (T, N, C) or of integers (T, N), all cut or padded to so many steps; see `Ragged.padded`.

    Where a model takes sequences of any length, ``lengths=`` and `Ragged` need neither; this is for comparison with those
    that do not.

    Parameters
    ----------
    sequences : Ragged
    steps : int
        T.
    value : float
        What is put where a sequence has no step; of integers one of them.
    at : {"start", "end"}
        Where sequences are padded, and where longer ones are cut: ``"start"`` keeps their last steps.

    Returns
    -------
    numpy.ndarray
        (T, N, C), or (T, N), of the dtype of the sequences.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> sequences = nr.Ragged.of([np.array([4, 5, 6, 7]), np.array([8])])
    >>> nr.padded(sequences, 3).T
    array([[5, 6, 7],
           [0, 0, 8]])
    >>> nr.padded(sequences, 3, at="end").T
    array([[4, 5, 6],
           [8, 0, 0]])
    """
    if not isinstance(sequences, Ragged):
        raise TypeError(f"sequences: expected a Ragged, got {type(sequences).__name__}")
    return sequences._padded("value", value, positive_integer("steps", steps), at)
