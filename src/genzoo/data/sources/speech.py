"""Collections of speech as they are published: which files are examples, who speaks, and what is said beside them.

* **LJSpeech**: `wavs/LJ001-0001.wav`, and `metadata.csv` with lines `LJ001-0001|text|text in words`. One speaker; the texts are counted, and
  belong to no system for sound.
* **VCTK**: `wav48_silence_trimmed/p225/p225_001_mic1.flac` or `wav48/p225/p225_001.wav`, `txt/p225/p225_001.txt`, `speaker-info.txt`. Folders are
  speakers, which are labels. Of two microphones the first is taken: the second has the same sentence, which would stand in both parts.

A collection is known by all of its names, so that a folder which only happens to have such a name stays what it was.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import BinaryIO

from genzoo.data.formats import text_of
from genzoo.data.sources.trees import Tree

_CLIP = re.compile(r"(?P<above>(?:.*/)?)wavs/(?P<stem>[^/]+)\.wav", re.IGNORECASE)
_SAID = re.compile(
    r"(?P<above>(?:.*/)?)wav(?:48|16|22)?(?:_silence_trimmed)?/(?P<who>[ps]\d+)/(?P=who)_\d+(?:_mic(?P<mic>[12]))?\.(?:flac|wav)",
    re.IGNORECASE,
)
MOST_TEXT = 2**26
"""Bytes of a table of texts at most."""
TEXTLESS = "systems for sound take no texts"


class SpeechTree:
    """A tree of which only the sounds of a collection are seen.

    Args:
        tree: Where they are.
        names: The sounds that are examples.
        left: What is left out, with reasons.
        notes: What was recognized, in sentences.
    """

    def __init__(self, tree: Tree, names: list[str], left: list[tuple[str, str]], notes: list[str]) -> None:
        self.tree, self.names, self.notes = tree, sorted(names), notes
        self.left = [*tree.left, *left]

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        return self.tree.open(name)

    def identity(self) -> list[object]:
        """Return the names, sizes and times of the files."""
        return self.tree.identity()

    def close(self) -> None:
        """Close the files."""
        self.tree.close()


def as_speech(tree: Tree) -> SpeechTree | None:
    """Recognize a collection of speech in a tree; None where it is none that is known."""
    return _lj(tree) or _vctk(tree)


def _lj(tree: Tree) -> SpeechTree | None:
    sounds = {n: m for n in tree.names if (m := _CLIP.fullmatch(n))}
    above = {m["above"] for m in sounds.values()}
    if len(above) != 1 or (table := f"{above.pop()}metadata.csv") not in tree.names:
        return None
    if any(n.lower().endswith((".wav", ".flac")) and n not in sounds for n in tree.names):
        return None
    with tree.open(table) as file:
        text = text_of(file.read(MOST_TEXT))
    lines = [line for line in (text or "").splitlines() if line.strip()]
    if not lines or any(line.count("|") not in (1, 2) for line in lines[:100]):
        return None
    told = {line.split("|", 1)[0] for line in lines}
    stems = {m["stem"]: n for n, m in sounds.items()}
    both = len(told & set(stems))
    if not both:
        return None
    notes = [
        f"LJSpeech's layout: one speaker; {PurePosixPath(table).name} has the texts of {both} of {len(stems)} sounds: {TEXTLESS}"
    ]
    missing = sorted(told - set(stems))
    left = (
        [
            (
                f"{missing[0]}{' …' * (len(missing) > 1)}",
                f"{len(missing)} of the lines of metadata.csv, without a sound in wavs/",
            )
        ]
        if missing
        else []
    )
    return SpeechTree(tree, list(sounds), left, notes)


def _vctk(tree: Tree) -> SpeechTree | None:
    sounds = {n: m for n in tree.names if (m := _SAID.fullmatch(n))}
    speakers = {m["who"] for m in sounds.values()}
    if len(speakers) < 2 or any(n.lower().endswith((".wav", ".flac")) and n not in sounds for n in tree.names):
        return None
    if not any("_mic" in n or n.lower().endswith("speaker-info.txt") or "txt/" in n for n in tree.names):
        return None
    first = {n.lower() for n, m in sounds.items() if m["mic"] != "2"}
    again = [n for n, m in sounds.items() if m["mic"] == "2" and re.sub(r"_mic2(?=\.)", "_mic1", n.lower()) in first]
    notes = [f"VCTK's layout: {len(speakers)} speakers, which are labels; the texts are not used: {TEXTLESS}"]
    if again:
        notes.append(
            f"{len(again)} sounds of the second microphone are left out: the first has the same sentences, which would stand in both parts"
        )
    return SpeechTree(tree, [n for n in sounds if n not in set(again)], [], notes)
