"""Files that belong together although their names differ by a word: p0.png and p0_mask.png, a_leftImg8bit.png and a_gtFine_labelIds.png."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from genzoo.data.sources.names import stem_of

ANNOTATIONS = {
    *("mask", "masks", "label", "labels", "labelids", "labeltrainids", "seg", "segs", "segmentation", "gt", "groundtruth", "gtfine", "gtcoarse"),
    *("trimap", "annotation", "annotations", "edges", "edge", "sketch", "depth", "normals", "matte", "alpha", "instanceids"),
}  # fmt: skip
"""Words of files that say something of a picture."""
WORDS = {
    *ANNOTATIONS,
    *("image", "images", "img", "photo", "picture", "rgb", "leftimg8bit", "color", "colour", "input", "output", "target", "source"),
    *("a", "b", "real", "fake", "lr", "hr", "x2", "x4", "x8", "before", "after", "clean", "noisy"),
}  # fmt: skip
"""Words by which the names of two sides may differ."""
_TOKENS = re.compile(r"[-_. ]+")


def bare(stem: str) -> tuple[str, tuple[str, ...]]:
    """Cut the known words off the ends of a name without its ending, and return what is left and what they were.

    >>> bare("city/street_01_gtFine_labelIds"), bare("mask-7"), bare("mask")
    (('city/street_01', ('gtfine', 'labelids')), ('7', ('mask',)), ('mask', ()))
    """
    folder, slash, name = stem.rpartition("/")
    words: list[str] = []
    while (found := re.fullmatch(r"(.+?)[-_. ]+([^-_. ]+)", name)) and found[2].lower() in WORDS:
        name, words = found[1], [found[2].lower(), *words]
    while (found := re.fullmatch(r"([^-_. ]+)[-_. ]+(.+)", name)) and found[1].lower() in WORDS:
        name, words = found[2], [*words, found[1].lower()]
    return f"{folder}{slash}{name}", tuple(words)


def matched(a: dict[str, str], b: dict[str, str]) -> tuple[dict[str, str], dict[str, str], str]:
    """Match two sides by names without such words, where no name stands on both; and say so.

    Args:
        a: Names of files by what they are matched by.
        b: Those of the other side.

    Returns:
        The sides, by what they are matched by now, and a note, empty where nothing was changed.
    """
    if set(a) & set(b) or not a or not b:
        return a, b, ""
    shorter: list[dict[str, str]] = []
    for side in (a, b):
        found = {bare(stem)[0]: name for stem, name in side.items()}
        if len(found) < len(side):  # two files of one side would be one
            return a, b, ""
        shorter.append(found)
    if not set(shorter[0]) & set(shorter[1]):
        return a, b, ""
    words = [Counter(w for stem in side for w in bare(stem)[1]) for side in (a, b)]
    told = " and ".join(f"'{w}' of side {s}" for s, count in zip("AB", words, strict=True) for w in count)
    return shorter[0], shorter[1], f"pairs are matched by their names without {told}"


def masked(names: Sequence[str]) -> str:
    """Say that files of one folder are annotations of the others beside them, and what to do; nothing where they are not."""
    stems = {stem_of(n): n for n in names}
    beside = [n for stem, n in stems.items() if _annotates(stem, stems)]
    if 3 * len(beside) < len(names) or len(beside) < 2:
        return ""
    first = PurePosixPath(beside[0])
    word = bare(stem_of(beside[0]))[1][0]
    return (
        f"{len(beside)} of {len(names)} files are like {first.name}, beside the picture that it is of; for pairs put them into a folder A and "
        f"the pictures into a folder B (the word '{word}' in their names does not matter), for pictures alone take them away"
    )


def _annotates(stem: str, stems: Iterable[str]) -> bool:
    if not _TOKENS.search(stem, stem.rfind("/") + 1):
        return False
    name, words = bare(stem)
    return bool(set(words) & ANNOTATIONS) and name in stems
