"""List the data sets that are known, show what is in one, in words and on one page, or write it as other programs read it, or as shards."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from genzoo.cli.common import wrote
from genzoo.cli.table import Command
from genzoo.cli.text import columns
from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.data.arrangements import PLAIN
from genzoo.data.sources.names import FORMS, available, composed, located, two_sides
from genzoo.data.sources.parts import parts_among

if TYPE_CHECKING:
    from genzoo.data import DataSettings

COMMAND = Command(
    "the data sets that are known; what is in one; export for others; shards to be streamed",
    "[show|export|shard] [DATA] [size=64 ...]",
    place=13,
    open="data",
)


USAGE = {
    "show": "show DATA [size=64 ...]",
    "export": "export DATA to=stylegan-zip|webdataset|parquet|mds [out=...] [size=64 ...]",
    "shard": "shard DATA to=FOLDER|s3://BUCKET/PATH/ [form=webdataset|parquet|mds per=1000] [size=64 ...]",
}


def data(
    action: str = "",
    spec: str = "",
    other: str = "",
    kind: str = "",
    to: str = "",
    split: str = "",
    out: str = "",
    form: Literal["webdataset", "parquet", "mds"] = "webdataset",
    per: Annotated[int, Field(ge=1, le=10_000)] = 1000,
    overwrite: bool = False,
    json: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """List the data sets that are known, show what is in one, or write it as other programs read it, or as shards that are streamed.

    Args:
        action: list, show, export or shard; a data set alone is shown.
        spec: What `data=` takes: a name, a folder, an archive, an array file.
        other: Side B, where `spec` is side A of pairs or of unpaired data; the same as spec=A,B.
        kind: How it is read, as systems say what they train on; what it looks like when not given.
        to: With export, the form: stylegan-zip, webdataset, parquet or mds; with shard the folder or URL to write.
        split: With export and shard, train or test alone; all that there is when not given.
        out: File of the contact sheet, NAME.png in the working folder when not given; with export the file or folder to write.
        form: With shard, the form of the shards.
        per: With shard, images of each.
        overwrite: Replace the file if it is there.
        json: Print JSON.
        own: Settings of the data: size, channels, resize ...
    """
    own = dict(own or {})
    if action not in ("", "list", "show", "export", "shard"):
        action, spec, other = "show", action, spec or other
    spec = spec or own.pop("data", "")
    if action in ("", "list") and not spec:
        if json:
            print(jsonlib.dumps({"sets": available(), "forms": FORMS}, indent=2))
            return
        print("Known by name:\n" + columns(available().items()))
        print("\ndata= also takes:\n" + columns(FORMS.items()))
        print(
            "\n'genzoo data show NAME' tells what is in one, and draws a page of it; 'genzoo data export NAME to=webdataset' writes it for others."
        )
        return
    if not spec:
        raise UserError(f"data {action}: DATA is missing. Usage: genzoo data {USAGE[action]}")
    spec = f"{spec},{other}" if other else spec
    if action == "export":
        write_data(spec, own, kind=kind, to=to, split=split, out=out, overwrite=overwrite)
        return
    if action == "shard":
        write_shards(spec, own, kind=kind, to=to, split=split, form=form, per=per)
        return
    if to or split:
        raise UserError(f"{'to' if to else 'split'}= goes with export: genzoo data {USAGE['export']}")
    show_data(spec, own, kind=kind, out=out, overwrite=overwrite, json=json)


def show_data(spec: str, own: dict[str, Any], *, kind: str, out: str, overwrite: bool, json: bool) -> None:
    """Say what is in a data set and draw a page of it: what `genzoo data show` does."""
    from genzoo.core.schema import build
    from genzoo.data import DataSettings, contact_sheet, describe, open_data
    from genzoo.data.drawing.images import save_png
    from genzoo.use.common.outputs import free, target

    wanted = build(DataSettings, {"data": spec, **own}, label="data")
    kind = kind or _kind(spec, wanted)
    dataset = open_data(wanted, kind=kind)
    told = describe(dataset)
    if json:
        print(jsonlib.dumps(told, indent=2, default=str))
        return
    left = told.pop("left_out")
    told["left_out"] = len(left)
    print(columns((k.replace("_", " "), _flat(v)) for k, v in told.items() if v not in ([], {}, None)))
    if left:
        print(
            "left out, and why:\n" + columns(left[:50]) + (f"\n  and {len(left) - 50} more" if len(left) > 50 else "")
        )
    first = Path((two_sides(spec) or (spec,))[0].rstrip("/"))
    name = first.stem or first.resolve().stem or "data"
    path = (
        target(Path(), out, f"{name}.png", suffixes=(".png",), overwrite=overwrite)
        if out
        else free(_beside(spec) / f"{name}.png", overwrite=overwrite)
    )
    sheet = contact_sheet(dataset, dataset.kind.usual or 32)
    two = {"a", "b"} <= set(dataset.fields)  # an even number of columns: pairs stay side by side
    page = dataset.kind.picture(sheet, columns=8 if two else None)
    wrote(save_png(path, page), asked=out)


def write_data(spec: str, own: dict[str, Any], *, kind: str, to: str, split: str, out: str, overwrite: bool) -> None:
    """Write a data set as another program reads it: what `genzoo data export` does."""
    from genzoo.core.schema import build
    from genzoo.data import DataSettings
    from genzoo.data.written import export_data, form
    from genzoo.use.common.outputs import free, writable

    suffix = form(to).SUFFIX
    first = Path((two_sides(spec) or (spec,))[0].rstrip("/"))
    name = f"{first.stem or first.resolve().stem or 'data'}{'' if suffix else f'-{to}'}{f'-{split}' if split else ''}{suffix}"
    path = Path(out).expanduser() if out else _beside(spec) / name
    if suffix and path.suffix.lower() != suffix:
        path = path / name if path.is_dir() else path.with_name(path.name + suffix)
    writable(path)
    path = free(path, overwrite=overwrite)
    wanted = build(DataSettings, {"data": spec, "holdout": 0, **own}, label="data")
    for line in export_data(wanted, to, path, kind=kind or PLAIN.of, split=split):
        print(line)
    wrote(path, asked=out)


def write_shards(spec: str, own: dict[str, Any], *, kind: str, to: str, split: str, form: str, per: int) -> None:
    """Write a data set as shards that are streamed: what `genzoo data shard` does."""
    from genzoo.core.schema import build
    from genzoo.data import DataSettings
    from genzoo.data.streams.writing import shard_data

    if not to:
        raise UserError(f"data shard: to= is missing. Usage: genzoo data {USAGE['shard']}")
    wanted = build(DataSettings, {"data": spec, "holdout": 0, **own}, label="data")
    for line in shard_data(wanted, to, how=form, per=per, kind=kind or PLAIN.of, split=split):
        print(line)
    print(f"train on it: genzoo train dcgan data={to}{'' if '://' in to else ' cache_gb=10'}")


def _kind(spec: str, wanted: DataSettings) -> str:
    """Tell the kind of data, from what settings, a folder's own subfolders, two sources, or the names of its files say."""
    if wanted.derive != "none" or wanted.layout != "folders":
        return "paired"
    if sides := two_sides(spec):
        names = [{composed(p.stem) for p in located(side).rglob("*") if p.is_file()} for side in sides]
        # Pairs have names in common; two sets that were collected apart have none, or happen to have a few.
        return "paired" if 2 * len(names[0] & names[1]) > min(map(len, names)) else "unpaired"
    from genzoo.data.sources.trees import hidden

    folder = located(spec)
    below = [p for p in folder.rglob("*") if not hidden(p.relative_to(folder).as_posix())] if folder.is_dir() else []
    names_here = [folder.name] if folder.is_file() else [p.name for p in below]
    if told := kinds.of_set(spec.lower().replace("_", "-")) or kinds.told_by(names_here):
        return told.name
    a, b = (composed(side).lower() for side in wanted.sides)
    tops = [p.name for p in below if p.parent == folder and p.is_dir()]
    parts = parts_among(tops, {a, b})
    if {("train", a), ("train", b)} <= set(parts.values()):
        return "unpaired"
    training = {n for n, (part, _) in parts.items() if part == "train"}
    inside = {
        composed(p.name).lower() for p in below if p.parent == folder or p.parent in {folder / n for n in training}
    }
    return "paired" if {a, b} <= inside else PLAIN.of


def _beside(spec: str) -> Path:
    """Choose the working folder for a page; where that is the data or a part of them, the folder above: a page there would be data."""
    for side in two_sides(spec) or (spec,):
        folder = Path(side).expanduser()
        if folder.is_dir() and Path.cwd().is_relative_to(folder.resolve()):
            return folder.resolve().parent
    return Path()


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k} {_flat(v)}" if isinstance(v, dict) else f"{k}: {v:,}" for k, v in value.items())
    return (
        "x".join(map(str, value))
        if isinstance(value, list) and all(isinstance(v, int) for v in value)
        else _lines(value)
    )


def _lines(value: Any) -> str:
    return (
        "; ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
