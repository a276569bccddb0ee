"""`open_data`: from what a person wrote after `data=` to a `Dataset`."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path

from genzoo.core.errors import UserError
from genzoo.core.schema import build
from genzoo.data import kinds
from genzoo.data.arrangements import PLAIN, Arrangement
from genzoo.data.dataset import Dataset
from genzoo.data.kinds import Kind
from genzoo.data.settings import DataSettings
from genzoo.data.sources.captions import Table
from genzoo.data.sources.contents import Source
from genzoo.data.sources.files import Files
from genzoo.data.sources.finding import find
from genzoo.data.sources.names import available, is_known, two_sides
from genzoo.data.sources.pairs import check_sides
from genzoo.data.sources.shelf import spread


def open_data(
    settings: DataSettings, *, kind: str = "image", split: str = "train", seed: int = 0, quiet: bool = False
) -> Dataset:
    """Open one split of a data set, decoding it into the cache if that has not been done before.

    Args:
        settings: Which data, in what form.
        kind: What a system declares to train on: a kind of data, or an arrangement of images; see `genzoo.data.kinds.names`.
        split: train or test.
        seed: Seed that point sets are drawn from. Splits and `limit` do not depend on it.
        quiet: Say nothing on stderr.

    Raises:
        UserError: There is no such data, it has no usable example, or it is of another kind.
    """
    given = {**dataclasses.asdict(settings), "data": os.fspath(settings.data)}
    settings = build(DataSettings, given, label="data")
    wanted, arrangement = kinds.declared(kind)
    if split not in ("train", "test"):
        raise UserError(f"split={split} is not known; give train or test")
    _check_own(settings, wanted, kind)
    if settings.cache_gb is not None or "://" in settings.data or _is_mds(Path(settings.data).expanduser()):
        from genzoo.data.streams.opening import open_stream  # a set that is on this disk needs none of it

        return _said(open_stream(settings, wanted, arrangement, split, quiet=quiet), split, quiet)
    check_sides(settings, kind)
    source = find(
        settings.data, settings, declared=kind, two=arrangement.two, single=arrangement.single, seed=seed, quiet=quiet
    )
    try:
        if settings.captions is not None:
            if not isinstance(source, Files):
                raise UserError(f"captions= goes with a folder or an archive of images; {settings.data} is neither")
            source.table = Table(settings.captions)
        if settings.label is not None and not isinstance(source, Files):
            raise UserError(
                f"label= goes with lists, tables or records of a folder, an archive or shards; {settings.data} has its classes as they are"
            )
        return _said(_opened(wanted, arrangement, source, settings, split, quiet), split, quiet)
    finally:
        source.close()


def _is_mds(path: Path) -> bool:
    """Tell whether a folder is of MosaicML's shards, which have an index and are read as a stream alone."""
    homes = [home for home in (path, path / "train") if (home / "index.json").is_file()]
    return any(next(home.glob("*.mds"), None) for home in homes)


def _check_own(settings: DataSettings, wanted: Kind, declared: str) -> None:
    """Refuse settings that are for another kind alone."""
    plain = DataSettings(settings.data)
    for other in kinds.every().values():
        for keys, told in other.own_settings.items():
            if other is not wanted and any(getattr(settings, k) != getattr(plain, k) for k in keys):
                raise UserError(f"{told}; this system takes {declared} data")


def _opened(
    wanted: Kind, arrangement: Arrangement, source: Source, settings: DataSettings, split: str, quiet: bool
) -> Dataset:
    """Open what a source holds of a kind, or of one that stands for it."""
    for other in kinds.every().values() if arrangement is PLAIN else ():
        if wanted.name in other.stands_for:
            found = other.offered(source, settings, split)
            if found is not None:
                return found
    return wanted.open(source, settings, split, arrangement, quiet=quiet)


def seen_from(settings: DataSettings, run: Path) -> DataSettings:
    """Locate the data that a run was trained on, from another working folder: paths that are not here are looked for where `runs/` stands.

    Args:
        settings: What the run keeps; paths as they were typed.
        run: Its folder, runs/NAME, or a folder in it.
    """
    run = run.expanduser().resolve()
    home = next((p.parent.parent for p in (run, *run.parents[:2]) if (p / "config.toml").is_file()), None)
    if home is None:
        return settings

    def there(text: str) -> str:
        named = text.lower().replace("_", "-") in available() or Path(text).expanduser().exists()
        file = re.sub(r"(?<=\.npz):[^:]+$", "", text)
        found = (home / file).exists() or any(p.exists() for p in spread(str(home / text)) or ())
        return str(home / text) if not named and found else text

    sides = two_sides(settings.data, lambda text: is_known(there(text)))
    data = ",".join(map(there, sides)) if sides else there(settings.data)
    return dataclasses.replace(settings, data=data, captions=settings.captions and there(settings.captions))


def _said(dataset: Dataset, split: str, quiet: bool) -> Dataset:
    """Show the notes of a set, and what was left out of it."""
    if quiet or split != "train":
        return dataset
    for note in dataset.notes:
        print(f"data: {note}", file=sys.stderr)
    if dataset.report:
        first = "; ".join(f"{name}: {reason}" for name, reason in dataset.report[:3])
        more = f"; all in {dataset.folder}/report.txt" if len(dataset.report) > 3 else ""
        print(f"data: {len(dataset.report)} left out ({first}{more})", file=sys.stderr)
    return dataset
