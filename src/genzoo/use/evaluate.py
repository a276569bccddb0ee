"""Score a run, a system, or samples from elsewhere, by every measure that they and the data allow; each with its protocol beside it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.core.errors import nearest as nearest_word
from genzoo.core.schema import build, settings
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings, kinds
from genzoo.data.drawing.images import grid, save_png, to_uint8
from genzoo.metrics.choice import agreed, applies, lacks, network_for, taken, unlike
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.frechet import between
from genzoo.metrics.maths.neighbours import nearest
from genzoo.metrics.measure import ALL, Measure, asked, table
from genzoo.metrics.real import real_rows
from genzoo.metrics.records import Record, read_records
from genzoo.metrics.reference import is_reference, read_reference, shared
from genzoo.metrics.translations import of_translations, shows_pairs
from genzoo.use.common.images import open_for
from genzoo.use.common.outputs import save_json, writable
from genzoo.use.common.pace import (
    BUDGET,
    SLOW_BUDGET,
    affordable,
    seconds_per_feature,
    seconds_per_sample,
    seconds_per_score,
    words,
)
from genzoo.use.common.precision import precision_of
from genzoo.use.common.sample_sets import SampleSet, Split, evaluation_of, is_given, open_given, part_of, real_for
from genzoo.use.common.source import Source, name_of, open_system, place_of, run_path
from genzoo.use.pages import page
from genzoo.use.pages.results import shows_both_ways, write_both_ways, write_results
from genzoo.use.sample import columns_of, sample
from genzoo.use.translate import translate

MOST, SHOWN = 10_000, 64
MANY = 10**9
"""More images than there are anywhere."""
NEAREST = 5
"""Neighbours in precision, recall, density and coverage."""
NEIGHBOURS, SUSPECTS, LOOKED_AT = 5, 8, 500
"""The picture of neighbours: columns, rows, and samples of which the rows are the nearest to the training images."""


@torch.no_grad()
def evaluate(
    source: Source,
    data: str | None = None,
    *,
    against: str | Path | None = None,
    measures: str | Sequence[str] | None = None,
    split: Split | None = None,
    n: int | None = None,
    n_real: int | None = None,
    extractor: str | Extractor | None = None,
    k: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    quiet: bool = True,
    **about_data: Any,
) -> dict[str, Any]:
    """Take measures and pictures of a system or of samples, and keep them with a page that shows them.

    Args:
        source: A run, its path, a system; or samples: a folder of images, an .npz or .npy file; or statistics.
        data: What to compare with and to score; the test part of the run's own data when not given. Samples need it. Data that are named here
            are the test set, whole, where they have no test part of their own. A file of statistics is taken as by `against`.
        against: Statistics in place of real images, for a Fréchet distance: an .npz (`mu`, `sigma`) or a .pkl of StyleGAN, see
            `genzoo.statistics`. `source` may be such a file as well: then no image is looked at.
        measures: Names, as a list or separated by commas; those that apply and need no further wish when not given. Names as others have them
            (fid50k, pr50k3, is50k ...) fix what they stand for, numbers of images, part of the data, network, and say what is other here.
        split: The part of the data: train, test or all.
        n: Samples to draw and examples to score. When not given, as many as are affordable: at most 10,000.
        n_real: Real images, chosen by seed; at most 10,000 when not given, and all of them where there are fewer.
        extractor: Feature network: a name, a file of weights, or an `Extractor`; the one that suits the data when not given.
        k: Neighbours in precision, recall, density and coverage; 5 when not given.
        seed: Seed of samples, of choices and of estimates.
        out: Folder of metrics.json and page; the run's own, or SAMPLES-evaluation beside the samples, when not given.
        quiet: Say nothing of how long it will take.
        about_data: Other settings of the data: size, channels, binarize, limit ...

    Returns:
        system, data, n and seed; measures: name -> record (see `genzoo.metrics.records.Record`); not_measured: name -> why;
        pictures: name -> file; results: the page of pairs, for a translator; written: the metrics.json that keeps them; page. A system
        in memory is only measured, unless `out` is given.

    Raises:
        UserError: There is no such run, data, measure or extractor; `n` is less than 2; or a measure that was asked for does not apply.
    """
    if n is not None and n < 2:
        raise UserError(f"n={n} is not allowed; give at least 2")
    known = (*settings(DataSettings), "against", "measures", "split", "n", "n_real", "extractor", "k", "seed", "out")
    for key in about_data:
        if key not in settings(DataSettings) or key == "data":
            raise UserError(
                f"evaluate has no setting '{key}'{nearest_word(key, known) or '.'} 'genzoo help evaluate' lists all of them."
            )
    if split not in (None, "train", "test", "all"):
        raise UserError(f"split={split} is not known; give train, test or all")
    if data is not None and is_reference(data):
        if against is not None:
            raise UserError(f"data={data} and against={against} are both statistics; give one of them")
        data, against = None, data
    if against is not None and data is not None:
        raise UserError(f"against={against} stands in place of real images; leave data={data} out, or against=")
    if _is_statistics(source, against):
        counted = {"n": n, "n_real": n_real, "split": split, "k": k, **about_data}
        return _of_files(
            place_of(source), against, measures, extractor, {key for key, v in counted.items() if v is not None}, out
        )
    asked_for = asked(list(measures) if not isinstance(measures, str) else measures) if measures else []
    wanted = [a.measures for a in asked_for] or None
    say = (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    given = open_given(place_of(source)) if is_given(source) else None
    system = None if given else open_system(source)
    able = capabilities(system) if system is not None else ("samples",)
    fixed, told = agreed(
        asked_for,
        able,
        {"n": n, "n_real": n_real, "split": split, "extractor": extractor, "k": k},
        statistics=against is not None,
    )
    n, n_real, split, extractor = fixed["n"], fixed["n_real"], fixed["split"], fixed["extractor"]
    fixing = next((a for a in asked_for if a.known and a.known.n), None)
    if given is not None and fixing and n is not None and n > len(given.images):
        raise UserError(
            f"{measures} is of {n:,} samples, and there are {len(given.images):,}; ask for {fixing.measures[0].name} alone"
        )
    folder = _folder(source, given, out)
    if folder is not None:
        writable(folder / "outputs" / "evaluate.png")
        read_records(folder / "metrics.json")  # a damaged one is told now, not when all is measured
    found: dict[str, Any] = {
        "system": name_of(system) if system is not None else place_of(source).name,
        "seed": seed,
        "measures": {},
        "not_measured": {},
        "pictures": {},
        "notes": [*(given.notes if given else ()), *told],
        "written": None,
        "page": None,
    }
    if given and data is None and against is None:
        raise UserError("samples are measured against real images; give data=, or statistics of them as against=")
    test = train = reference = None
    if against is not None:
        reference = read_reference(against)
        found |= {"data": reference.name, "split": "statistics"}
    elif data is None and not getattr(system, "trained", None):
        if wanted:
            raise UserError("this system does not know what it was trained on; give data=")
    else:
        test, train, said = _open(system, given, data, split, about_data, found["notes"])
        found |= {"data": test.name, "split": test.split, "examples": len(test)}
        found["notes"] += [said] if said else []
        if n_real is None and test.split != "test":
            n_real = min(len(test), MOST)
    n_real = MANY if n_real == ALL else n_real
    net, why_no_net = network_for(extractor, test, reference)
    compared = Comparison(
        test=test,
        train=train,
        net=net,
        system=system,
        k=fixed["k"] or NEAREST,
        n_real=n_real,
        seed=seed,
        reference=reference,
        # what looks at features alone needs no samples once they are described
        kept=wanted is None or any(m.looks for group in wanted for m in group),
    )
    if "translates" in able:
        compared.translate = lambda x, direction: translate(system, x, direction or None)
    if given is not None:
        compared.given = given.images if n is None else given.images[:n]
    _measure(compared, wanted, able, why_no_net, n, found, say)
    found["notes"] += unlike(asked_for, found["measures"])
    if folder is not None:
        _pictures(compared, able, folder, found)
        _write(folder, found)
    return found


def _is_statistics(source: Source, against: str | Path | None) -> bool:
    """Tell whether what is measured is a file of statistics itself; a .pkl may be a model of another program as well."""
    if isinstance(source, System) or not isinstance(getattr(source, "path", source), (str, Path)):
        return False
    path = place_of(source)
    return is_reference(path) and (path.suffix.lower() == ".npz" or against is not None)


def _of_files(
    source: Path,
    against: str | Path | None,
    measures: str | Sequence[str] | None,
    net: str | Extractor | None,
    more: set[str],
    out: str | Path | None,
) -> dict[str, Any]:
    """Measure one file of statistics against another."""
    if against is None:
        raise UserError(f"'{source}' holds statistics; give those that it is compared with: against=OTHER.npz")
    if more:
        raise UserError(
            f"{', '.join(f'{key}=' for key in sorted(more))} counts images, and statistics hold none; leave it out"
        )
    for a in asked(list(measures) if not isinstance(measures, str) else measures) if measures else []:
        if not any(m.statistics for m in a.measures):
            raise UserError(f"{a.word} needs images; of statistics a Fréchet distance alone is taken: measures=frechet")
    ours, theirs = read_reference(source), read_reference(against)
    record = between(ours, theirs, shared(ours, theirs, net))
    found: dict[str, Any] = {
        "system": source.name, "seed": 0, "data": theirs.name, "split": "statistics", "measures": {record.measure: record.to_json()},
        "not_measured": {}, "pictures": {}, "notes": [], "written": None, "page": None,
    }  # fmt: skip
    _write(Path(out).expanduser() if out is not None else evaluation_of(source), found)
    return found


def _folder(source: Source, given: SampleSet | None, out: str | Path | None) -> Path | None:
    if out is not None:
        return Path(out).expanduser()
    return given.folder if given is not None else run_path(source)


def _open(
    system: System | None,
    given: SampleSet | None,
    data: str | None,
    split: Split | None,
    about: dict[str, Any],
    notes: list[str],
) -> tuple[Dataset, Dataset | None, str]:
    """Open the data that are meant and return their parts, as `part_of` does."""
    own, holdout = False, about.get("holdout")
    if given is not None:
        wished = build(DataSettings, {"data": data, **about}, label="evaluate")
        opened, note = real_for(given, wished)
        notes += [note] if note else []
    else:
        assert system is not None
        trained = getattr(system, "trained", {}).get("data", {}).get("data")
        own = data is None or data == trained or (trained is not None and _same_place(data, trained))

        def opened(split: str, **changes: Any) -> Dataset:
            return open_for(system, data, split=split, **{**about, **changes})

    return part_of(opened, split, own=own, holdout=float(holdout) if holdout else None)


def _same_place(a: str, b: str) -> bool:
    """Tell whether two paths lead to one folder or file that is there."""
    first, second = (Path(p).expanduser() for p in (a, b))
    return first.exists() and second.exists() and first.resolve() == second.resolve()


def _measure(
    c: Comparison,
    wanted: list[tuple[Measure, ...]] | None,
    able: Sequence[str],
    why_no_net: str,
    n: int | None,
    found: dict[str, Any],
    say: Any,
) -> None:
    """Choose, estimate, take."""
    chosen: list[Measure] = []
    for group in wanted or [(m,) for m in table().values() if m.default and not _of_pairs_alone(m, c)]:
        reasons = {m: applies(m, c, able, why_no_net) for m in group}
        fitting = [m for m, reason in reasons.items() if reason is None]
        chosen += [m for m in fitting if m not in chosen]
        if wanted and not fitting:
            m, reason = next(((m, r) for m, r in reasons.items() if r), next(iter(reasons.items())))
            raise UserError(f"{m.name}: not for {found['system']}: {reason or lacks(m, able)}")
        if not wanted and reasons[group[0]]:
            found["not_measured"][group[0].name] = reasons[group[0]]
    c.n, c.n_scored = _numbers(c, chosen, n, say)
    if c.net is not None and c.net.slow and c.n_real is None:
        c.n_real = max(c.n_fake, 2)
    for m in chosen:
        try:
            records = taken(m, c)
        except UserError as reason:  # a system may learn from data that a measure of it is not defined on, and says why
            if wanted and len(chosen) == 1:
                raise
            found["not_measured"][m.name] = str(reason)
            continue
        for r in records:
            found["measures"][r.measure] = _with_precision(r, c.system).to_json()
        say(f"{m.name}: {', '.join(_word(r) for r in records)} ({words(max(r.seconds or 0.0 for r in records))})")

    if wanted and not found["measures"]:
        raise UserError("; ".join(f"{name}: {why}" for name, why in found["not_measured"].items()))


def _with_precision(r: Record, system: System | None) -> Record:
    """Let a record say that the system's networks computed in fewer bits."""
    used = precision_of(system)
    if used == "full":
        return r
    return replace(r, protocol=f"{r.protocol}; networks of the system in {used}", more={**r.more, "precision": used})


def _of_pairs_alone(m: Measure, c: Comparison) -> bool:
    """Tell whether a measure of samples is taken of translations that have partners to be compared with: on request only."""
    return (
        of_translations(m, c) and c.system is not None and c.test is not None and shows_pairs(c.system, c.test.paired)
    )


def _word(r: Record) -> str:
    return f"{r.measure} {r.value:.5g}" + (f" ± {r.se:.2g}" if r.se is not None else "")


def _numbers(c: Comparison, chosen: list[Measure], n: int | None, say: Any) -> tuple[int, int]:
    """Choose how many samples to draw and examples to score, and tell the estimated time before it is spent."""
    sampled = any("samples" in m.needs and not of_translations(m, c) for m in chosen)
    drawn = scored = n or MOST
    if sampled and c.given is None and c.system is not None and (n is None or n > 256):
        each = seconds_per_sample(c.system)
        drawn = n or affordable(each, BUDGET)
        say(f"drawing {drawn:,} samples: at most {words(each * drawn)}")
    if sampled and c.given is not None:
        drawn = len(c.given)
    if c.net is not None and any(m.features for m in chosen) and c.test is not None:
        each = seconds_per_feature(c.net, tuple(c.test.facts()["shape"]))
        if n is None and c.net.slow and c.given is None:
            drawn = min(drawn, affordable(3 * each, SLOW_BUDGET))
        real = min(c.n_real or (drawn if c.net.slow else MOST), len(c.test))
        floor = min(drawn, len(c.train)) if c.train is not None else 0
        say(
            f"{c.net.name} features of {drawn:,} samples, {real:,} real images and {floor:,} training images: "
            f"at most {words(each * (drawn + floor + real))}"
        )
    if any(m.scores for m in chosen) and c.system is not None and c.test is not None:
        try:
            each = seconds_per_score(c.system, c.test) if n is None or n > 256 else 0.0
        except UserError:  # the measure itself will say so
            each = 0.0
        scored = min(n or affordable(each, BUDGET), len(c.test))
        if each:
            say(f"scoring {scored:,} examples: {words(each * scored, about=True)}")
    return drawn, scored


def _pictures(c: Comparison, able: Sequence[str], folder: Path, found: dict[str, Any]) -> None:
    """Write a grid of samples, and the samples nearest to training images beside them."""
    where = folder / "outputs"
    if c.test is not None and c.system is not None and shows_pairs(c.system, c.test.paired):
        page, rows = write_results(folder, c, str(found["system"]))
        found["results"] = str(page)
        found["pictures"]["pairs"] = str(save_png(where / "pairs.png", grid(rows, columns=min(8, len(rows) // 3))))
        found["captions"] = {"pairs": "rows of inputs, outputs and targets; all of them, sortable, are in results.html"}
    elif c.test is not None and c.system is not None and shows_both_ways(c.system, c.test):
        page, rows = write_both_ways(folder, c, str(found["system"]))
        found["results"] = str(page)
        found["pictures"]["ways"] = str(save_png(where / "ways.png", grid(rows, columns=min(4, len(rows)))))
        found["captions"] = {
            "ways": "rows of inputs, translations and the way back, of each side; more, sortable, are in results.html"
        }
    if "samples" not in able:
        return
    if c.given is not None:
        shown, columns, kind = c.given[:SHOWN].float() / 127.5 - 1, None, kinds.get("image")
    else:
        assert c.system is not None
        kind = kinds.of(c.system)
        shown, columns = sample(c.system, n=kind.usual, seed=c.seed), columns_of(c.system, kind.usual, {})
    found["pictures"]["samples"] = str(save_png(where / "evaluate.png", kind.picture(shown, columns=columns)))
    if c.train is None or len(c.train) < 2 or "image" not in c.train.fields or c.train.settings.binarize == "dynamic":
        return
    fake = (c.given if c.given is not None else to_uint8(shown))[:LOOKED_AT]
    if c.given is None and "fake" in vars(c):
        fake = c.fake[:LOOKED_AT]
    train = real_rows(c.train)
    if fake.shape[1:] != train.shape[1:]:
        return
    columns = min(NEIGHBOURS, len(train))
    distance, where_found = nearest(fake, train, k=columns, chunk=max(25, 8_000_000 // fake[0].numel()))
    rows = distance[:, 0].argsort(stable=True)[:SUSPECTS]
    laid = torch.cat(
        [torch.cat([fake[i : i + 1], torch.from_numpy(train[where_found[i].numpy()])]) for i in rows.tolist()]
    )
    pixels = grid(laid.float() / 127.5 - 1, columns=columns + 1)
    found["pictures"]["neighbours"] = str(save_png(where / "neighbours.png", pixels))
    found["captions"] = {
        "samples": f"{len(shown)} samples, seed {c.seed}" if c.given is None else f"the first {len(shown)} samples",
        "neighbours": f"left: the {len(rows)} of {len(fake)} samples nearest to a training image in pixels; right of each: its {columns} "
        f"nearest of {len(train):,} training images; least root mean squared difference {distance[rows[0], 0]:.1f} grey levels",
    }


def _write(folder: Path, found: dict[str, Any]) -> None:
    """Add to what earlier evaluations found (the same measure on the same data is replaced), and draw the page."""
    if not found["measures"] and not found["pictures"]:
        return
    path = folder / "metrics.json"
    kept = read_records(path)
    for name, record in found["measures"].items():
        on = f" on {record['data']} {record['split']}" if record["data"] else ""
        kept[f"{name}{on}"] = record
    if kept:
        found["written"] = str(save_json(path, kept))
    found["page"] = str(page.write_evaluation(folder, kept, found))
