"""A page of results of a translator: held-out images with their translations and measures, sortable without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.capabilities import Translates
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Dataset, to_float
from genzoo.data.drawing.images import grid, save_png
from genzoo.data.sources.layout import printable
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.maths.similarity import l1_percent
from genzoo.metrics.measure import values as measured
from genzoo.metrics.translations import HOW, per_image, translated
from genzoo.use.pages.page import number, write_page

MOST = 200
"""Pairs on the page; measures are of all."""
EACH_WAY = 50
"""Images of each side where there are no pairs: each is translated there and back."""
AWAY = {"change": ("%", "higher"), "round trip": ("%", "lower")}
"""What can be said of a translation without a partner: how far it is from its input, and how far the way back ends from it."""


@dataclass
class Rows:
    """What the page shows.

    Args:
        images: Of every kind (input, output ...) all rows, [n, C, H, W] in [-1, 1].
        names: Of every row the names of the files behind its kinds.
        values: Of every measure all rows.
        how: Of every measure its unit and which way is better.
        words: Of every row what else there is to say.
    """

    images: dict[str, Tensor]
    names: list[dict[str, str]]
    values: dict[str, list[float]]
    how: Mapping[str, tuple[str, str]]
    words: Sequence[str] = ()


def write_results(folder: Path, c: Comparison, title: str) -> tuple[Path, Tensor]:
    """Write FOLDER/results.html with its pictures, and return it with eight rows of input, output and target.

    Args:
        folder: Of the page; pictures stand in outputs/results below it.
        c: A comparison whose system translates and whose data are pairs.
        title: Heading of the page.

    Raises:
        UserError: The data are no pairs.
    """
    a, b, y = (seen(x) for x in translated(c))
    values: dict[str, list[float]] = {}
    why: dict[str, str] = {}
    for name in HOW:
        try:
            values[name] = per_image(c, name).tolist()
        except UserError as reason:
            why[name] = str(reason)
    count = min(MOST, len(b))
    fields = {"input": "a", "target": "b"} if c.real_set.paired else {"input": "image", "target": "image"}
    how = {n: (v.unit, v.better) for n in values if (v := measured()[f"translation {n}"])}
    means = ", ".join(f"{n} {number(sum(v) / len(v))} {how[n][0]}".strip() for n, v in values.items())
    shown = "" if count == len(b) else f"; the first {count} are shown"
    page = _write(
        folder, title,
        Rows(
            {"input": a[:count], "output": y[:count], "target": b[:count]}, _names(c.real_set, fields, count),
            {name: v[:count] for name, v in values.items()}, how,
        ),
        [f"{c.real_set.name} {c.real_set.split}, {len(b):,} pairs{shown}. Means: {means}.",
         *(f"{name} is not measured: {reason}" for name, reason in why.items())],
    )  # fmt: skip
    return page, _few([a, y, b])


def shows_both_ways(system: System, test: Dataset) -> bool:
    """Tell whether a system translates both ways between two sets without pairs."""
    return isinstance(system, Translates) and {"a", "b"} <= set(test.fields) and not test.paired


@torch.no_grad()
def write_both_ways(folder: Path, c: Comparison, title: str) -> tuple[Path, Tensor]:
    """Write the page of a translator without pairs: inputs of both sides, translations, and the way back.

    Args:
        folder: Of the page; pictures stand in outputs/results below it.
        c: A comparison for which `shows_both_ways`.
        title: Heading of the page.

    Returns:
        The page, and four rows of each side.
    """
    system, test = c.system, c.real_set
    assert system is not None
    assert isinstance(system, Translates)
    ways = [w for w in ("a2b", "b2a") if w in system.directions]
    parts: dict[str, list[Tensor]] = {"input": [], "output": [], "way back": []}
    names, words, few = [], [], []
    for way in ways:
        images = np.array(test.fields[way[0]][:EACH_WAY])
        x = to_float({way[0]: torch.from_numpy(images)}, system.device)[way[0]]
        there, home = [], []
        for part in x.split(16):
            there.append(system.translate(part, direction=way).float().clamp(-1, 1))
            if way[::-1] in ways:
                home.append(system.translate(there[-1], direction=way[::-1]).float().clamp(-1, 1))
        for kind, made in zip(parts, ([x], there, home), strict=True):
            parts[kind].append(torch.cat(made).cpu() if made else torch.empty(0))
        names += _names(test, {"input": way[0]}, len(x))
        words += [way] * len(x)
        few += [parts[kind][-1][:4] for kind in parts if len(parts[kind][-1])]
    found = {kind: seen(torch.cat(made)) for kind, made in parts.items() if len(made[0])}
    values = {"change": l1_percent(found["output"], found["input"], data_range=2).tolist()}
    if "way back" in found:
        values["round trip"] = l1_percent(found["way back"], found["input"], data_range=2).tolist()
    means = ", ".join(f"{n} {number(float(np.mean(v)))} %" for n, v in values.items())
    said = [
        f"{test.name} {test.split}: {' and '.join(ways)}. Without pairs nobody knows what is right.",
        "Change: mean absolute difference of the translation from its input in per cent of the range, 0 would be a copy; round trip: "
        f"that of the way back from the input. Means: {means}.",
    ]
    page = _write(folder, title, Rows(found, names, values, {n: AWAY[n] for n in values}, words), said)
    return page, torch.cat([seen(x) for x in few])


def _write(folder: Path, title: str, rows: Rows, said: list[str]) -> Path:
    """Write the page and its pictures."""
    count = len(rows.names)
    pictures = folder / "outputs" / "results"
    for i in range(count):
        for kind, images in rows.images.items():
            save_png(pictures / f"{i:04d}-{_key(kind)}.png", grid(images[i : i + 1], scale=1))
    told = [tuple(names.values()) for names in rows.names]
    by_name = {i: place for place, i in enumerate(sorted(range(count), key=lambda i: told[i]))}
    orders = {"number": "in order"} | ({"name": "by name"} if any(map(any, told)) else {})
    for name in rows.values:
        ends = ("most", "least") if name == "change" else ("best", "worst")
        orders |= {_key(name): f"{name}, {ends[0]} first", f"{_key(name)}-worst": f"{name}, {ends[1]} first"}
    body = [_row(i, rows, by_name[i]) for i in range(count)]
    template = Path(__file__).with_name("results.html.j2")
    return write_page(folder / "results.html", template, title=f"{title}: results", said=said, orders=orders, rows=body)


def seen(x: Tensor) -> Tensor:
    """Reduce images of any channels to what a picture can show: the first channel where there are not 1, 3 or 4."""
    return x if x.shape[1] in (1, 3, 4) else x[:, :1]


def _few(images: list[Tensor]) -> Tensor:
    """Return the first eight images of each tensor, with equal channels."""
    channels = max(x.shape[1] for x in images)
    return torch.cat([x[:8].expand(-1, channels, -1, -1) if x.shape[1] == 1 else x[:8] for x in images])


def _names(test: Dataset, fields: dict[str, str], count: int) -> list[dict[str, str]]:
    """Return by kind what the person's files of the first rows are called; empty where the data do not say."""
    found = {
        kind: [printable(n) for n in test.names_of(field)[:count]] or [""] * count for kind, field in fields.items()
    }
    return [{kind: names[i] for kind, names in found.items()} for i in range(count)]


def _key(name: str) -> str:
    """Turn a name into a word of a style sheet or of a file name."""
    return name.lower().replace(" ", "-")


def _row(i: int, rows: Rows, by_name: int) -> dict[str, Any]:
    """Gather what the template shows of one row: its pictures, its figures, and its place in every order, best first."""
    places = {"number": i, "name": by_name}
    for name, v in rows.values.items():
        rank = sum(w > v[i] if rows.how[name][1] == "higher" else w < v[i] for w in v)
        places |= {_key(name): rank, f"{_key(name)}-worst": -rank}
    files = {kind: f"outputs/results/{i:04d}-{_key(kind)}.png" for kind in rows.images}
    figures = [f"{name} {number(v[i])} {rows.how[name][0]}".strip() for name, v in rows.values.items()]
    return {
        "number": i, "places": places, "words": [*rows.words[i : i + 1], *figures],
        "pictures": {kind: (file, rows.names[i].get(kind)) for kind, file in files.items()},
    }  # fmt: skip
