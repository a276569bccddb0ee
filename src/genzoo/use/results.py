"""A page of results of a translator: every held-out pair with its translation and its measures, sortable without a script."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.pictures import grid, save_png, write_atomic
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.pairs import HOW, per_image, translated
from genzoo.use.page import Html, document, join, number, tag

MOST = 200
"""Pairs on the page; measures are of all."""
KINDS = ("input", "output", "target")


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
    pictures = folder / "outputs" / "results"
    for i in range(count):
        for kind, x in zip(KINDS, (a, y, b), strict=True):
            save_png(pictures / f"{i:04d}-{kind}.png", grid(x[i : i + 1], scale=1))
    rows = [_row(i, {name: v[i] for name, v in values.items()}, _ranks(values, i, count)) for i in range(count)]
    orders = [("number", "in order")]
    orders += [(name, f"{name}, {end} first") for name in values for end in ("best", "worst")]
    buttons, rules = [], []
    for k, (name, words) in enumerate(orders):
        key = f"--{name.lower()}" if "worst" not in words else f"--{name.lower()}-worst"
        buttons.append(
            Html(f'<input type="radio" name="by" id="by{k}"{" checked" * (k == 0)}><label for="by{k}">{words}</label>')
        )
        rules.append(f"#by{k}:checked ~ .results > div {{ order: var({key}); }}")
    means = ", ".join(f"{n} {number(sum(v) / len(v))} {HOW[n][0]}".strip() for n, v in values.items())
    shown = "" if count == len(b) else f"; the first {count} are shown"
    parts: list[object] = [
        tag("p", f"{c.real_set.name} {c.real_set.split}, {len(b):,} pairs{shown}. Means: {means}.", class_="small"),
        *(tag("p", f"{name} is not measured: {reason}", class_="small") for name, reason in why.items()),
        Html(f"<style>{STYLE}{''.join(rules)}</style>"),
        *buttons,
        tag("div", join(rows, "\n"), class_="results"),
    ]
    page = write_atomic(folder / "results.html", document(f"{title}: results", *parts))
    channels = max(x.shape[1] for x in (a, b, y))
    few = [x[:8].expand(-1, channels, -1, -1) if x.shape[1] == 1 else x[:8] for x in (a, y, b)]
    return page, torch.cat(few)


STYLE = """
.results { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1rem; } .results > div { border-bottom: 1px solid #dde2ea; }
.results figure { margin: 0 .2rem .2rem 0; } .results img { height: 9rem; width: auto; } input + label { margin-right: 1rem; }
"""


def seen(x: Tensor) -> Tensor:
    """Images of any channels as a picture can show them: the first channel where there are not 1, 3 or 4."""
    return x if x.shape[1] in (1, 3, 4) else x[:, :1]


def _ranks(values: dict[str, list[float]], i: int, count: int) -> dict[str, int]:
    """The place of a pair in every order: best first."""
    found = {}
    for name, v in values.items():
        better = [w > v[i] if HOW[name][1] == "higher" else w < v[i] for w in v[:count]]
        found[name] = sum(better)
    return found


def _row(i: int, values: dict[str, float], ranks: dict[str, int]) -> Html:
    figures = join(
        tag(
            "figure",
            join(
                [
                    Html(f'<img src="outputs/results/{i:04d}-{kind}.png" alt="{kind} {i}" loading="lazy">'),
                    tag("figcaption", kind),
                ]
            ),
        )
        for kind in KINDS
    )
    words = ", ".join(f"{name} {number(v)} {HOW[name][0]}".strip() for name, v in values.items())
    places = f"--number:{i}" + "".join(f";--{n.lower()}:{r};--{n.lower()}-worst:{-r}" for n, r in ranks.items())
    return tag("div", join([figures, tag("p", f"{i}: {words}", class_="small")]), style=places)
