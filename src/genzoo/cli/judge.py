"""Commands that judge: evaluate and compare."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Annotated, Any, Literal

from pydantic import Field

import genzoo
from genzoo.cli.text import columns, number, paragraph
from genzoo.core.errors import UserError
from genzoo.metrics.features.fetch import fetch_weights
from genzoo.use.sample import Seed


def evaluate(
    source: str,
    data: str = "",
    measures: str = "",
    split: Literal["", "train", "test", "all"] = "",
    n: Annotated[int, Field(ge=2)] | None = None,
    n_real: Annotated[int, Field(ge=2)] | None = None,
    extractor: str = "",
    k: Annotated[int, Field(ge=1, le=100)] = 5,
    seed: Seed = 0,
    out: str = "",
    json: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Take measures and pictures of a run or of samples; they are kept in metrics.json, with a page beside it.

    Args:
        source: A run or an exported folder; or samples: a folder of images, an .npz or .npy file.
        data: What to score and to compare with: a name, a folder, an archive, or FID statistics (mu and sigma in an .npz file); the test part of
            the run's own data when not given. Data that are named are the test set, whole, where they have no test part.
        measures: Names separated by commas: pairs, lpips, nll, iwae, reconstruction, ppl, frechet, kid, prdc, variety, prd, c2st, ndb, score,
            memorization, copying, diversity, swd; those that apply and are cheap when not given.
        split: The part of the data: train, test or all; published FIDs of CIFAR-10 are against the training images.
        n: Samples to draw and examples to score; at most 10,000, and what is affordable in minutes, when not given.
        n_real: Real images to compare with; at most 10,000 when not given.
        extractor: Feature network: lenet-mnist-v1, lenet-fashion-v1, inception, efficientnet-lite0, vgg16, random, or a file of weights;
            what suits the data when not given.
        k: Neighbours in precision, recall, density and coverage.
        seed: Seed of samples, choices and estimates.
        out: Folder of metrics.json and page; the run's own, or SAMPLES-evaluation beside samples, when not given.
        json: Print JSON.
        own: Other settings of the data: size, channels, binarize, limit ...
    """
    found = genzoo.evaluate(
        source, data or None, measures=measures or None, split=split or None, n=n, n_real=n_real, extractor=extractor or None, k=k, seed=seed,
        out=out or None, quiet=json, **(own or {}),
    )  # fmt: skip
    if json:
        print(jsonlib.dumps(found, indent=2))
    else:
        _tell(found)
    if not found["measures"]:
        why = "; ".join(f"{name}: {reason}" for name, reason in found["not_measured"].items())
        raise UserError(f"no measure could be given{': ' * bool(why)}{why or ' of this system and these data'}")


def _tell(found: dict[str, Any]) -> None:
    """What was found, in lines."""
    rows = [(name, _measured(m), m.get("words") or m["protocol"]) for name, m in found["measures"].items()]
    print(columns(rows) if rows else "  no measure applies to this system and this data")
    for shared, names in _shared(found["measures"]).items():
        print(paragraph(f"{', '.join(names)}: {shared}"))
    for name, why in found["not_measured"].items():
        print(f"{name}: not measured: {why}")
    for note in found["notes"]:
        print(f"note: {note}")
    for name, file in found["pictures"].items():
        print(f"{name}: {file}")
    for file in (found.get("results"), found["written"], found["page"]):
        if file:
            print(f"wrote {file}")


def _shared(measures: dict[str, Any]) -> dict[str, list[str]]:
    """The part of their protocols that measures have in common -> their names."""
    found: dict[str, list[str]] = {}
    for name, m in measures.items():
        if words := m.get("words"):
            found.setdefault(m["protocol"].removeprefix(words).lstrip("; "), []).append(name)
    return found


def compare(
    runs: tuple[str, ...],
    split: Literal["", "train", "test", "all"] = "",
    out: str = "",
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Lay measures and pictures of runs side by side, and rank what can be ranked.

    Args:
        runs: Runs, exported folders, or samples that have been evaluated; two or more.
        split: Only what was measured on this part of the data: train, test or all.
        out: Folder of the page; compare, compare-2 ... when not given.
        overwrite: Write into that folder if it is there.
        json: Print JSON.
    """
    found = genzoo.compare(*runs, split=split or None, out=out or None, overwrite=overwrite)
    if json:
        print(jsonlib.dumps(found, indent=2))
        return
    names = found["runs"]
    rows = [("measure", *names, "")]
    for row in found["rows"]:
        cells = [_cell(row["values"].get(name), name in row["best"], row["tie"]) for name in names]
        apart = "not comparable with the other rows of this measure" if row["reason"] else ""
        rows.append((row["measure"], *cells, "; ".join(filter(None, [apart, row["note"]]))))
    print(columns(rows))
    print("* best of its row" + (", (tie) not told from it" if any(r["tie"] for r in found["rows"]) else ""))
    for warning in found["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"wrote {found['page']}")


def _cell(value: dict[str, Any] | None, best: bool, tie: bool) -> str:
    if value is None:
        return "-"
    spread = f" ± {value['se']:.2g}" if value.get("se") is not None else ""
    return f"{number(value['value'])}{spread}" + ("* (tie)" if best and tie else "*" if best else "")


def _measured(m: dict[str, Any]) -> str:
    spread = f" ± {number(m['se'])}" if m.get("se") is not None else ""
    floor = f" (real data {number(m['floor'])})" if m.get("floor") is not None else ""
    return f"{number(m['value'])}{spread} {m['unit']}{floor}".strip()


def weights(name: str = "inception") -> None:
    """Fetch the weights of a published feature network into $GENZOO_WEIGHTS, or the cache folder where that is not set.

    Args:
        name: inception, which FID stands on.
    """
    print(f"wrote {fetch_weights(name)}")
