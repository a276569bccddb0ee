"""Sentences as words, words as numbers: one way to cut captions and prompts up, which is also the first step of BERT's tokenizer."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from genzoo.core.errors import UserError, nearest

PAD, UNKNOWN, FIRST = 0, 1, 2
"""Numbers of what fills a row up, of a word that is in no vocabulary, and of the first word of a vocabulary."""
MOST = 20_000
"""Words of a vocabulary, the commonest first."""


def split(text: str) -> list[str]:
    """Cut a sentence into lower-case words without accents; every mark of punctuation and every Chinese character is a word.

    >>> split("A naïve cat,  twice!")
    ['a', 'naive', 'cat', ',', 'twice', '!']
    """
    words, word = [], ""
    for c in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(c)
        alone = _is_punctuation(c, kind) or _is_chinese(ord(c))
        if c.isspace() or alone:
            words += [word] if word else []
            words += [c] if alone else []
            word = ""
        elif kind != "Mn" and not kind.startswith("C"):
            word += c
    return [*words, word] if word else words


def _is_punctuation(c: str, kind: str) -> bool:
    return kind.startswith("P") or (33 <= ord(c) <= 126 and not c.isalnum())


def _is_chinese(code: int) -> bool:
    blocks = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0xF900, 0xFAFF), (0x20000, 0x2CEAF), (0x2F800, 0x2FA1F))
    return any(low <= code <= high for low, high in blocks)


def vocabulary(captions: Iterable[str]) -> tuple[str, ...]:
    """Collect the words of captions, the commonest first (equally common ones by the alphabet), at most `MOST`.

    >>> vocabulary(["a cat", "a dog"])
    ('a', 'cat', 'dog')
    """
    counts = Counter(word for caption in captions for word in split(caption))
    return tuple(sorted(counts, key=lambda w: (-counts[w], w))[:MOST])


def to_ids(sentences: Sequence[Sequence[str]], words: Sequence[str]) -> np.ndarray:
    """Turn sentences, each a list of words, into rows of numbers, int32 [n, L]: L is the longest, shorter ones are filled up with `PAD`.

    >>> to_ids([["a", "cat"], ["a", "big", "cat"]], ("a", "cat")).tolist()
    [[2, 3, 0], [2, 1, 3]]
    """
    number = {w: FIRST + i for i, w in enumerate(words)}
    rows = np.full((len(sentences), max((len(s) for s in sentences), default=0) or 1), PAD, np.int32)
    for row, sentence in zip(rows, sentences, strict=True):
        row[: len(sentence)] = [number.get(w, UNKNOWN) for w in sentence]
    return rows


def to_text(ids: Iterable[int], words: Sequence[str]) -> str:
    """Join the words that one row of numbers stands for.

    >>> to_text([2, 1, 3, 0], ("a", "cat"))
    'a ? cat'
    """
    return " ".join("?" if i == UNKNOWN else words[i - FIRST] for i in map(int, ids) if i != PAD)


def unknown(text: str, words: Iterable[str]) -> list[str]:
    """List the words of a sentence that are not among `words`, each once."""
    known = set(words)
    return [w for w in dict.fromkeys(split(text)) if w not in known]


def with_hints(strangers: Iterable[str], words: Sequence[str]) -> str:
    """Write unknown words out, each with the known word that is closest in spelling.

    >>> with_hints(["cta", "xylem"], ["cat", "dog"])
    "'cta' (did you mean 'cat'?), 'xylem'"
    """
    return ", ".join(f"'{w}'" + (f" ({hint[3:]})" if (hint := nearest(w, words)) else "") for w in strangers)


def read_prompt(prompt: str, words: Sequence[str], *, any_word: bool = False) -> list[str]:
    """Cut a prompt into words for a model with a vocabulary; `any_word` where its encoder can read others as well.

    Raises:
        UserError: The model knows no captions, the prompt is empty, or it has no word that the model can read.
    """
    if not words:
        raise UserError("this model was trained without captions and takes no prompt")
    found = split(prompt)
    if not found:
        raise UserError('the prompt is empty; describe an image in words: prompt="a red heart"')
    strangers = unknown(prompt, words)
    if not any_word and len(strangers) == len(set(found)):
        raise UserError(f"prompt={prompt}: no word of it was in a training caption: {with_hints(strangers, words)}")
    return found


def check_words(words: Sequence[str], name: str) -> None:
    """Refuse data without captions for a system that learns from nothing else."""
    if not words:
        raise UserError(
            f"{name} needs captions: give images with captions.csv (columns file,caption) beside them, captions=FILE, or data=shapes"
        )
