"""Cityscapes as it is unpacked: leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png and gtFine/..._gtFine_labelIds.png."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from genzoo.data.sources.parts import Item

_PHOTOS, _MAPS = "leftimg8bit", ("gtfine", "gtcoarse")
_NAME = re.compile(r"(.+_\d{6}_\d{6})_(leftImg8bit|(gtFine|gtCoarse)_(labelIds|instanceIds|color))\.png")


def arranged(
    items: Sequence[Item], structure: str, sides: tuple[str, str], notes: list[str], left: list[tuple[str, str]]
) -> list[Item]:
    """Bring the files of Cityscapes into the layout of pairs with maps of instances, or keep the photographs; other sets stay as they are.

    Args:
        items: All examples.
        structure: paired, or anything else.
        sides: Names of the sides: maps of classes become the first, photographs the second.
        notes: Is added what was read.
        left: Is added what is not used.
    """
    tops = {i.parts[0].lower() for i in items if len(i.parts) > 2}
    if _PHOTOS not in tops or not tops & set(_MAPS):
        return list(items)
    fine = "gtFine" if "gtfine" in tops else "gtCoarse"
    kept, out = [], Counter[str]()
    for i in items:
        found = _NAME.fullmatch(i.parts[-1])
        part = i.parts[1] if len(i.parts) > 2 else ""
        if found is None:
            left.append((i.name, "no name of Cityscapes"))
            continue
        stem, what, of, ids = found.groups()
        if structure != "paired":
            kept += [Item(i.name, "", (part, f"{stem}.png"))] if what == "leftImg8bit" else []
            out[i.parts[0]] += what != "leftImg8bit"
        elif part == "test":
            out["test"] += 1
        elif what == "leftImg8bit":
            kept.append(Item(i.name, "", (part, sides[1], f"{stem}.png")))
        elif of == fine and ids in ("labelIds", "instanceIds"):
            kept.append(Item(i.name, "", (part, sides[0] if ids == "labelIds" else "instance", f"{stem}.png")))
        else:
            out[i.parts[0] if of != fine else f"*_{ids}.png"] += 1
    why = {"test": "the maps of the test part are withheld, so the validation part is used"}
    told = (
        "maps beside the photographs (kind=paired label_maps=true takes both)" if structure != "paired" else "not used"
    )
    left += [
        (f"{place}{'' if place.startswith('*') else '/'}", f"{n} files: {why.get(place, told)}")
        for place, n in out.items()
        if n
    ]
    if structure == "paired":
        notes.append(
            f"Cityscapes: maps of classes (labelIds of {fine}) are side A, photographs side B, instanceIds the maps of instances"
        )
    return kept
