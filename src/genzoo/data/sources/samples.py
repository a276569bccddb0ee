"""Samples of webdataset's kind: files of one key beside each other in an archive, 0001.jpg, 0001.cls, 0001.txt, 0001.json.

The key is the name up to the first dot, the rest is what the file is: 0001.seg.png is the map seg of the sample 0001. .cls and .txt are read as
in folders; here stands what only samples have.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from genzoo.data.decode.forms import Rejected
from genzoo.data.sources.captions import LABEL_COLUMNS, TEXT_COLUMNS, Told
from genzoo.data.sources.names import composed, key_of
from genzoo.data.sources.trees import Tree

_LONGEST = 2**20
_MARKS = (".cls", ".json")


def told(tree: Tree, examples: list[str], tables: Told, label: str) -> tuple[list[str], set[str]]:
    """Add what the .json of every sample tells to `tables`; the images that are examples, and the files that were read.

    Args:
        tree: An archive, or anything.
        examples: The images in it.
        tables: Is added captions and classes.
        label: The key of the JSON that tells the class; a usual name when empty.
    """
    there = set(tree.names)
    beside = {n: f"{key_of(n)[0]}.json" for n in examples}
    found = {n: j for n, j in beside.items() if j in there}
    kept = _without_maps(examples, there, tables)
    used, bad = set[str](), []
    for name in kept if found else []:
        if name not in found:
            continue
        used.add(found[name])
        try:
            _read(tree, name, found[name], tables, label)
        except Rejected as reason:
            bad.append((found[name], str(reason)))
    if bad:
        tables.left.append(
            (
                bad[0][0],
                f"{bad[0][1]}; {len(bad)} of {len(used)} such files are not read" if len(bad) > 1 else bad[0][1],
            )
        )
    return kept, used


def _without_maps(examples: list[str], there: set[str], tables: Told) -> list[str]:
    """Take out the images of a sample that has a plain one, where names of samples are used: 0001.seg.png beside 0001.jpg and 0001.cls."""
    if not any(n.endswith(_MARKS) for n in there):
        return examples
    plain = {key for key, what in map(key_of, examples) if "." not in what}
    out = [n for n in examples if "." in key_of(n)[1] and key_of(n)[0] in plain]
    count = Counter(f"*.{key_of(n)[1]}" for n in out)
    tables.left += [(what, f"{n} further images of samples that have one") for what, n in count.items()]
    gone = set(out)
    return [n for n in examples if n not in gone]


def _read(tree: Tree, name: str, file: str, tables: Told, label: str) -> None:
    with tree.open(file) as content:
        raw = content.read(_LONGEST + 1)
    try:
        given: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise Rejected("no valid JSON" if len(raw) <= _LONGEST else f"larger than {_LONGEST // 2**20} MiB") from None
    if not isinstance(given, dict):
        raise Rejected("not an object in JSON")
    lower: dict[str, Any] = {str(k).lower(): v for k, v in given.items()}
    tables.columns |= set(map(str, given))
    text = next((lower[k] for k in TEXT_COLUMNS if k in lower), None)
    texts = [" ".join(str(t).split()) for t in (text if isinstance(text, list) else [text]) if t is not None]
    if (lines := [t for t in dict.fromkeys(texts) if t]) and name not in tables.captions:
        tables.captions[name] = lines
    word = next((lower[k] for k in ((label.lower(),) if label else LABEL_COLUMNS) if k in lower), None)
    if isinstance(word, (str, int)) and str(word).strip() and name not in tables.classes:
        tables.classes[name] = composed(" ".join(str(word).split()))
