"""How examples stand to each other: alone, with labels or captions, as two sides of pairs, or one to learn everything from."""

from __future__ import annotations

from dataclasses import dataclass

SIDES = ("a", "b")
"""Keys of a batch with two sides."""


@dataclass(frozen=True)
class Arrangement:
    """One arrangement of examples.

    Args:
        name: What a system declares as its `data`.
        of: The kind of data that is arranged so.
        aliases: Other words that people say for it.
        example: What data= takes to try it; the kind's own where it is empty.
        structure: How a source is asked for it: image, captioned, paired or unpaired.
        two: Whether there are two sides.
        single: Whether a picture may be the whole set.
        previewed: Samples of a preview, where they are fewer than the kind has: each takes long.
        taken: Arrangements that other systems can make of it, best first.
    """

    name: str
    of: str = "image"
    aliases: tuple[str, ...] = ()
    example: str = ""
    structure: str = "image"
    two: bool = False
    single: bool = False
    previewed: int | None = None
    taken: tuple[str, ...] = ()


PLAIN = Arrangement("plain")
ARRANGEMENTS = {
    a.name: a
    for a in (
        PLAIN,
        Arrangement("labelled", aliases=("labels", "classes"), example="digits", taken=("image",)),
        Arrangement("captioned", aliases=("captions",), example="shapes", structure="captioned", taken=("image",)),
        Arrangement("paired", aliases=("pairs", "segmentation"), example="PAIRS/", structure="paired", two=True, taken=("unpaired",)),
        Arrangement("unpaired", example="A/,B/", structure="unpaired", two=True),
        Arrangement("exemplar", aliases=("texture", "picture"), example="PICTURE.png", single=True, previewed=4),
    )
}  # fmt: skip
