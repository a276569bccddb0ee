"""`data=s3://bucket/shards/`: from what a person wrote to a `Dataset` whose images are streamed."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from genzoo.core.errors import UserError
from genzoo.core.files import cache_folder
from genzoo.data.arrangements import PLAIN, Arrangement
from genzoo.data.cache import digest_of
from genzoo.data.dataset import Dataset
from genzoo.data.decode.forms import ImageFormat
from genzoo.data.kinds import Kind
from genzoo.data.order import other_than
from genzoo.data.seeds import ORDER_SEED
from genzoo.data.settings import DataSettings
from genzoo.data.sources.parts import part_of
from genzoo.data.streams.index import Index, kind_of, read_index
from genzoo.data.streams.places import Place
from genzoo.data.streams.store import Store
from genzoo.data.streams.stream import Field, Span, Stream

CODE = 1
"""Raised when the same shards would be decoded to something else."""
USUAL_GB = 10.0
"""What cache_gb is for a URL where it is not given."""
TAKEN = {
    "data", "size", "channels", "resize", "crop", "flip", "binarize", "label", "limit", "holdout", "cache_gb", "shuffle_shards",
}  # fmt: skip
"""Settings that a streamed set knows."""
CANNOT = (
    "streamed: what is learned or measured from all of the set at once needs limit=; classes have names only where the index or the "
    "shards tell them; what is held out are whole shards, not examples chosen by what they are"
)


def open_stream(settings: DataSettings, kind: Kind, arrangement: Arrangement, split: str, *, quiet: bool) -> Dataset:
    """Open one part of a set in shards. Nothing but its index is read, and where there is none every shard once.

    Raises:
        UserError: It is not there, is of another kind than images, or the cache is too small.
    """
    _check(settings, kind, arrangement)
    place = Place(str(settings.data))
    index = read_index(place, settings, quiet=quiet)
    form, notes = _form(index, settings)
    if arrangement.name == "labelled" and not index.classes:
        told = "".join(f" ({n.removeprefix('no labels: ')})" for n in index.notes if n.startswith("no labels: "))
        raise UserError(
            f"{settings.data} has no labels{told}: neither its index nor its shards name classes; 'genzoo data shard' writes them"
        )
    spans, others = _part(index, settings, split, notes)
    window = min(settings.shuffle_shards, len(spans))
    room = round((settings.cache_gb or USUAL_GB) * 1e9)
    stored = settings.binarize if settings.binarize in ("threshold", "static") else "none"
    baked = [CODE, form.height, form.width, form.channels, form.resize, stored]
    key = digest_of([index.digest, str(settings.data), baked, settings.label])[:32]
    store = Store(place, index.shards, index.classes, form, settings, cache_folder("shards", quiet=quiet), key, room)
    _check_room(store, spans, window, room, settings)
    name = PurePosixPath(str(settings.data).rstrip("/")).name or str(settings.data)
    stream = Stream(store, spans, window, name, quiet=quiet)
    used = [split, settings.limit, settings.holdout, settings.crop, settings.flip, settings.binarize, window]
    dataset = Dataset(
        {}, name, split, digest_of([index.digest, baked, used]), settings, notes=[*index.notes, *notes], stream=stream
    )
    dataset.fields["image"] = Field(stream, 0, (form.channels, form.height, form.width), np.uint8)
    dataset.sizes["image"] = {split: len(stream), other_than(split): others}
    if index.classes:
        dataset.fields["label"], dataset.class_names = Field(stream, 1, (), np.int64), list(index.classes)
    if settings.crop and settings.crop > min(form.height, form.width):
        raise UserError(
            f"crop={settings.crop} is larger than the images ({form.height}x{form.width}); give at most {min(form.height, form.width)}"
        )
    return dataset


def _check(settings: DataSettings, kind: Kind, arrangement: Arrangement) -> None:
    if kind.name != PLAIN.of or arrangement.name not in (PLAIN.name, "labelled"):
        asked = arrangement.name if arrangement is not PLAIN else kind.name
        raise UserError(
            f"data={settings.data} is streamed, and streamed are images, alone or with labels; this system takes {asked} data: "
            "copy the set to this disk, and leave cache_gb= out"
        )
    plain = DataSettings(settings.data)
    odd = [k for k, v in vars(settings).items() if k not in TAKEN and v != getattr(plain, k)]
    if odd:
        raise UserError(
            f"{', '.join(f'{k}=' for k in odd)} is not for data that are streamed; leave it out, or copy the set to this disk and leave cache_gb= out"
        )


def _form(index: Index, settings: DataSettings) -> tuple[ImageFormat, list[str]]:
    """Choose what images are brought to: as set, or what all of them have."""
    if settings.size is None and index.shape is None:
        raise UserError(f"{settings.data}: its images differ in size, or no index says it; give size=64")
    if settings.channels is None and index.shape is None:
        raise UserError(
            f"{settings.data}: no index says whether its images are gray or in colors; give channels=1 or channels=3"
        )
    known = index.shape or (0, 0, 0)
    size = settings.size or known[:2]
    height, width = (size, size) if isinstance(size, int) else size
    channels = settings.channels or known[2]
    return ImageFormat(height, width, channels, settings.resize), [CANNOT]


def _part(index: Index, settings: DataSettings, split: str, notes: list[str]) -> tuple[list[Span], int]:
    """Choose the shards of a part, and count the examples of the other."""
    shards = index.shards
    told = [
        next((p[0] for word in PurePosixPath(s.name).parts if (p := part_of(word.split(".")[0]))), "") for s in shards
    ]
    testing = "test" if "test" in told else "val" if "val" in told else ""
    if testing and "train" in told:
        parts = {
            "train": [i for i, t in enumerate(told) if t == "train"],
            "test": [i for i, t in enumerate(told) if t == testing],
        }
        if unused := len(shards) - sum(map(len, parts.values())):
            notes.append(f"{unused} of {len(shards)} {kind_of(shards)} shards are of neither part, and are not used")
        spans = {s: [Span(i, 0, shards[i].count) for i in chosen] for s, chosen in parts.items()}
    elif len(shards) == 1:
        n = shards[0].count
        held = min(max(round(n * settings.holdout), 1), n - 1) if settings.holdout and n > 1 else 0
        spans = {"train": [Span(0, 0, n - held)], "test": [Span(0, n - held, held)] if held else []}
    else:
        held = min(max(round(len(shards) * settings.holdout), 1), len(shards) - 1) if settings.holdout else 0
        mixed = np.random.default_rng([ORDER_SEED, 5, len(shards)]).permutation(len(shards)).tolist()
        last = set(mixed[len(shards) - held :])
        spans = {"train": [], "test": []}
        for i, s in enumerate(shards):
            spans["test" if i in last else "train"].append(Span(i, 0, s.count))
        if held:
            notes.append(f"{held} of {len(shards)} shards are held out for testing")
    if settings.limit:
        spans = {s: _cut(some, settings.limit) for s, some in spans.items()}
    if not spans[split]:
        raise UserError(f"{settings.data} has no {split} part, and holdout=0 keeps none; give holdout=0.1")
    return spans[split], sum(s.length for s in spans[other_than(split)])


def _cut(spans: list[Span], limit: int) -> list[Span]:
    """Keep the first examples of a part."""
    kept: list[Span] = []
    for span in spans:
        left = limit - sum(s.length for s in kept)
        if left > 0:
            kept.append(span._replace(length=min(span.length, left)))
    return kept


def _check_room(store: Store, spans: list[Span], window: int, room: int, settings: DataSettings) -> None:
    """Refuse a cache that has no room for the shards that are mixed and those that are fetched meanwhile."""
    sizes = sorted((store.bytes_of(s.shard) for s in spans), reverse=True)
    need = sum(sizes[: 2 * window])
    if need <= room:
        return
    fits = max((w for w in range(1, window) if sum(sizes[: 2 * w]) <= room), default=0)
    other = f"shuffle_shards={fits}" if fits else "smaller shards ('genzoo data shard')"
    raise UserError(
        f"cache_gb={room / 1e9:g} is too small for {settings.data}: {window} shards that are mixed at a time and as many that are fetched "
        f"meanwhile take {need / 1e9:.3g} GB at this size; give cache_gb={np.ceil(need / 1e7) / 100:g}, or {other}"
    )
