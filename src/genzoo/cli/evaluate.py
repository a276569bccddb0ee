"""Measure a run, or samples."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated, Any, Literal

from pydantic import Field

import genzoo
from genzoo.cli.table import Command
from genzoo.cli.text import columns, number, paragraph
from genzoo.core.errors import UserError
from genzoo.use.sample import Seed

COMMAND = Command(
    "measures of a run or of samples, each with its protocol, and a page of them",
    "RUN_OR_SAMPLES [data=DATA against=stats.npz measures=frechet,prdc n=1000 seed=0]",
    place=50,
    open="data",
    device=True,
    measures=True,
)


def evaluate(
    source: str,
    data: str = "",
    against: str = "",
    measures: str = "",
    split: Literal["", "train", "test", "all"] = "",
    n: Annotated[int, Field(ge=2)] | None = None,
    n_real: Annotated[int, Field(ge=2)] | None = None,
    extractor: str = "",
    k: Annotated[int, Field(ge=1, le=100)] | None = None,
    seed: Seed = 0,
    out: str = "",
    json: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Take measures and pictures of a run or of samples; they are kept in metrics.json, with a page beside it.

    Args:
        source: A run or an exported folder; or samples: a folder of images, an .npz or .npy file; or a file of statistics.
        data: What to score and to compare with: a name, a folder, an archive; the test part of the run's own data when not given. Data that are
            named are the test set, whole, where they have no test part.
        against: Statistics in place of real images, for a Fréchet distance: .npz of genzoo, pytorch-fid, TTUR or clean-fid, .pkl of StyleGAN.
        measures: Names of measures, or of the values that they give, separated by commas: see below; those that apply and are not marked "on
            request" when not given. Names of other programs, such as fid50k, pr50k3 or is50k, are understood with what they fix.
        split: The part of the data: train, test or all; published FIDs of CIFAR-10 are against the training images.
        n: Samples to draw and examples to score; at most 10,000, and what is affordable in minutes, when not given.
        n_real: Real images to compare with; at most 10,000 when not given.
        extractor: Feature network: lenet-mnist-v1, lenet-fashion-v1, inception, inception-clean, inception-pytorch, efficientnet-lite0, vgg16,
            random, or a file of weights; what suits the data when not given.
        k: Neighbours in precision, recall, density and coverage; 5 when not given.
        seed: Seed of samples, choices and estimates.
        out: Folder of metrics.json and page; the run's own, or SAMPLES-evaluation beside samples, when not given.
        json: Print JSON.
        own: Other settings of the data: size, channels, binarize, limit ...
    """
    found = genzoo.evaluate(
        source, data or None, against=against or None, measures=measures or None, split=split or None, n=n, n_real=n_real,
        extractor=extractor or None, k=k, seed=seed, out=out or None, quiet=json, **(own or {}),
    )  # fmt: skip
    if json:
        print(jsonlib.dumps(found, indent=2))
    else:
        _tell(found)
    if not found["measures"]:
        why = "; ".join(f"{name}: {reason}" for name, reason in found["not_measured"].items())
        raise UserError(f"no measure could be given{': ' * bool(why)}{why or ' of this system and these data'}")


def _tell(found: dict[str, Any]) -> None:
    """Write what an evaluation found, a line for each measure."""
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


def _measured(m: dict[str, Any]) -> str:
    spread = f" ± {number(m['se'])}" if m.get("se") is not None else ""
    floor = f" (real data {number(m['floor'])})" if m.get("floor") is not None else ""
    return f"{number(m['value'])}{spread} {m['unit']}{floor}".strip()


def _shared(measures: dict[str, Any]) -> dict[str, list[str]]:
    """Group the names of measures by the part of their protocols that they share."""
    found: dict[str, list[str]] = {}
    for name, m in measures.items():
        if words := m.get("words"):
            found.setdefault(m["protocol"].removeprefix(words).lstrip("; "), []).append(name)
    return found
