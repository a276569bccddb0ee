"""Statistics of images, written once, so that a Fréchet distance needs the images no more: `genzoo evaluate RUN against=FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from genzoo.core.capabilities import Samples
from genzoo.core.errors import UserError, nearest
from genzoo.core.schema import build, settings
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings, open_data
from genzoo.metrics.choice import network_for
from genzoo.metrics.drawing import draw
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.features.networks import INCEPTIONS, asked_as
from genzoo.metrics.real import as_levels, digest_of_rows, real_features, real_rows
from genzoo.metrics.reference import ENDINGS, is_reference, writable_as, write_reference
from genzoo.saved.published import is_published
from genzoo.use.common.images import open_for
from genzoo.use.common.outputs import target
from genzoo.use.common.pace import SLOW_BUDGET, affordable, seconds_per_feature, words
from genzoo.use.common.sample_sets import RUN_FILES, Split, joined
from genzoo.use.common.source import Source, name_of, open_system, place_of, require

MOST = 10_000
"""Samples of a system, where nobody says how many."""


@torch.no_grad()
def statistics(
    source: Source,
    out: str | Path | None = None,
    *,
    extractor: str | Extractor | None = None,
    split: Split | None = None,
    n: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    quiet: bool = True,
    **about_data: Any,
) -> dict[str, Any]:
    """Write mean and covariance of the features of images, or of a run's samples, for `evaluate(..., against=FILE)` and for other programs.

    Args:
        source: Data: a name, a folder, an archive, an array file. Or a run or a system, whose samples are described.
        out: The file: .npz, which pytorch-fid, TTUR and clean-fid read as well, or .pkl for StyleGAN; NAME-PART-NETWORK.npz in the working folder
            when not given.
        extractor: Feature network; what suits the data when not given. `inception-clean` and `inception-pytorch` have clean-fid's and pytorch-fid's
            resizer.
        split: Of data, the part: train, test or all; the training part when not given. Of a run it is not asked.
        n: Images, chosen by seed, or samples. Of data all of them when not given, as many as are affordable with a slow network; of a run 10,000.
        seed: Seed of samples and of choices.
        overwrite: Replace the file if it is there.
        quiet: Say nothing of how long it will take.
        about_data: Settings of the data: size, channels, binarize, limit ...

    Returns:
        written, n, data, split, extractor, digest, resize, measure; notes in sentences.

    Raises:
        UserError: There are no such data, no network suits them, or the file cannot be written.
    """
    if n is not None and n < 2:
        raise UserError(f"n={n} is not allowed; a covariance needs at least 2")
    if split not in (None, "train", "test", "all"):
        raise UserError(f"split={split} is not known; give train, test or all")
    for key in about_data:
        if key not in settings(DataSettings) or key == "data":
            known = (*settings(DataSettings), "out", "extractor", "split", "n", "seed")
            raise UserError(
                f"statistics has no setting '{key}'{nearest(key, known) or '.'} 'genzoo help statistics' lists all of them."
            )
    if isinstance(source, (str, Path)) and is_reference(source):
        raise UserError(
            f"'{source}' holds statistics already; 'genzoo evaluate {source} against=OTHER.npz' compares two files"
        )
    system = open_system(source) if _is_system(source) else None
    notes: list[str] = []
    if system is not None:
        require(system, Samples, verb="statistics")
        if split is not None or about_data:
            asked = "split" if split is not None else next(iter(about_data))
            raise UserError(
                f"{asked}= is for data, and statistics of {name_of(system)} are of its samples; leave it out, or name the data"
            )
        data = _known_data(system)
    else:
        data = _part(str(source), split or "train", about_data)
    if data is not None and system is None and "image" not in data.fields:
        raise UserError(f"statistics are of features of images, and {data.name} holds {', '.join(data.fields)}")
    net, why = network_for(extractor, data)
    if net is None:
        raise UserError(
            why
            if data is not None
            else f"what {_called(source)} was trained on is not here, so no network suits it of itself; give extractor="
        )
    called = data.name if data is not None and system is None else _called(source)
    asked_name = extractor if isinstance(extractor, str) else asked_as(net)
    parts = (Path(called.replace(":", "-")).name, data.split if data and system is None else "", asked_name or net.name)
    name = f"{'-'.join(filter(None, parts))}.npz"
    path = target(Path(), out or name, name, suffixes=ENDINGS, overwrite=overwrite)
    writable_as(path, net, asked_name)
    told: dict[str, Any]
    if system is not None:
        features = net(draw(system, n or MOST, seed, keep=as_levels), progress=net.slow and not quiet)
        told = {"data": called, "samples": True, "seed": seed}
    else:
        assert data is not None
        features, told = _described(data, net, n, seed, notes, quiet=quiet)
    write_reference(path, features, net, asked_name, **told)
    whose = INCEPTIONS[asked_name].whose if asked_name in INCEPTIONS else ""
    notes.append(
        f"network and resizer are those of {whose}; other programs read mu and sigma as well, and cannot see that they are not theirs"
        if whose
        else f"other programs read mu and sigma as well, and cannot see that they are of {net.name}, which is not theirs"
    )
    return {
        "written": str(path), "n": len(features), "data": called, "split": told.get("split"), "extractor": net.name, "digest": net.digest,
        "resize": net.resize, "measure": net.measure, "notes": notes,
    }  # fmt: skip


def _is_system(source: Source) -> bool:
    """Tell whether a source is a run, an export, a published model or a system, and not data."""
    if isinstance(source, System) or is_published(source) or not isinstance(source, (str, Path)):
        return True
    path = place_of(source)
    return path.is_dir() and any((path / name).exists() for name in RUN_FILES)


def _called(source: Source) -> str:
    """Name a run by its folder, a published model by what it is published as, a system in memory by its own name."""
    if is_published(source):
        return str(source)
    if isinstance(source, System):
        return name_of(source)
    return place_of(source).resolve().name


def _known_data(system: System) -> Dataset | None:
    """Open what a system was trained on, for the network that suits it; None where that is not here."""
    try:
        return open_for(system, None, split="train")
    except UserError:
        return None


def _part(source: str, split: Split, about: dict[str, Any]) -> Dataset:
    """Open a part of data as plain images."""
    wished = build(DataSettings, {"data": source, **about}, label="statistics")
    if split != "all":
        return open_data(wished, split=split)
    train = open_data(wished, split="train")
    return joined(train, open_data(wished, split="test")) if train.sizes["image"]["test"] else train


def _described(
    data: Dataset, net: Extractor, n: int | None, seed: int, notes: list[str], *, quiet: bool
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the features of images of data, and what there is to say of these."""
    if n is None and net.slow:
        each = seconds_per_feature(net, tuple(data.facts()["shape"]))
        n = affordable(each, SLOW_BUDGET, most=len(data))
        if n < len(data):
            notes.append(
                f"{n:,} of {len(data):,} images, chosen by seed {seed}, which takes at most {words(each * n)}; n={len(data)} takes all"
            )
        if not quiet:
            print(f"{net.name} features of {n:,} images: at most {words(each * n)}", file=sys.stderr, flush=True)
    elif n is not None and n > len(data):
        notes.append(f"there are {len(data):,} images, and n={n:,} was asked for")
    features = real_features(data, net, n=n, seed=seed)
    rows = real_rows(data, n=n, seed=seed)
    return features, {
        "data": data.name, "split": data.split, "data_digest": digest_of_rows(rows), "shape": list(rows.shape[1:]), "seed": seed,
    }  # fmt: skip
