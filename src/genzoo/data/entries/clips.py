"""Clips into the cache: every file is cut into clips of equal length; whole files are held out, not clips.

The cache entry holds the clips, uint8 [N, C, T, H, W], of one file after another, files in one fixed random order; "file"
int64 [N] and "start" int64 [N], the number of the file and of the clip's first frame in it; and "label" int64 [N] where subfolders are
classes. A clip is `frames` frames, `stride` apart; the next one begins `hop` frames after it. What is left at the end of a file, less
than a clip, is not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.cache import CacheWriter, digest_of, entry
from genzoo.data.dataset import Dataset
from genzoo.data.decode.clips import ArrayClip, Clip, ClipTree, FileClip
from genzoo.data.decode.forms import ImageFormat, Rejected, Shape
from genzoo.data.decode.images import quiet_decoding
from genzoo.data.decode.times import at_rate
from genzoo.data.entries.forms import common_form
from genzoo.data.kinds import Kind
from genzoo.data.order import Rows, give, give_labels, opened, other_than, split_files
from genzoo.data.progress import bar
from genzoo.data.seeds import ORDER_SEED
from genzoo.data.settings import DataSettings
from genzoo.data.sources import arrays, layout
from genzoo.data.sources.contents import Contents
from genzoo.data.sources.labels import only_used
from genzoo.data.sources.layout import no_images, printable
from genzoo.data.sources.moving_digits import SIDE, Moving

CODE = 3
"""Raised when the same source would be cut to something else."""
TOLD = {
    "turned": "{files} have a mark that turns or mirrors the picture: applied",
    "stretched": "{files} have pixels that are not square: brought to the shape that players show",
    "slanted": "{files} have a mark that turns the picture by no multiple of 90 degrees: not applied",
    "lost": "{n} frames in {files} cannot be decoded and are left out; no clip spans the gap",
    "missing": "{files} end early: {n} frames that they promise are not there",
    "uneven": "{files} show their frames for unequal times; {uneven}",
    "sound": "{files} have sound, which is left out (systems for sound read it: ffmpeg -i FILE OUT.wav)",
    "timeless": "{files} say nothing of times (numbered frames, arrays): every frame is taken, fps= changes nothing of them",
    "interlaced": "{files} are interlaced: a frame has lines of two times (ffmpeg -i FILE -vf bwdif OUT.mp4 mends it)",
}
"""What is said of what `Film` tells."""
FRAMES = 16
"""Frames of a clip where none is set."""


def open_clips(kind: Kind, source: Any, settings: DataSettings, split: str, *, quiet: bool) -> Dataset:
    """Open one split of a set of clips.

    Raises:
        UserError: It holds no usable clip, or a key is given that is for images.
    """
    for key in ("crop", "binarize"):
        if getattr(settings, key) != getattr(DataSettings(settings.data), key):
            raise UserError(
                f"{key}= is for images; video takes frames=, stride=, hop=, fps=, size=, channels=, resize= and flip="
            )
    frames, stride = settings.frames or FRAMES, settings.stride
    hop = settings.hop or frames * stride
    form = [settings.size, settings.channels, settings.resize, frames, stride, hop, settings.fps]
    limit = settings.limit if isinstance(source, Moving) else None  # drawn clips are not drawn in vain
    key = digest_of([CODE, kind.name, source.identity(), form, limit])[:32]

    def make(draft: CacheWriter) -> dict[str, Any]:
        parts, contents = _clips(kind, source, settings, (frames - 1) * stride + 1)
        return _build(kind, parts, contents, settings, (frames, stride, hop), source.name, draft, quiet=quiet)

    info, stored, folder = entry(key, make, quiet=quiet)
    only_used(info, stored)
    used = [split, settings.limit, settings.holdout, settings.flip]
    dataset = opened(source.name, info, folder, settings, split, used)
    rows = _rows(info["sections"][kind.name], stored, (frames - 1) * stride + 1, settings, dataset.notes)
    if not len(rows[split]):
        raise UserError(f"{settings.data} has no {split} part; give holdout=0.1, or more clips by hop= and frames=")
    give(dataset, kind.name, stored, rows[split], len(rows[other_than(split)]))
    give_labels(dataset, info, stored, rows[split])
    return dataset


def _clips(kind: Kind, source: Any, settings: DataSettings, span: int) -> tuple[dict[str, list[Clip]], Contents]:
    """List the clips of every part, and what is known of them."""
    if isinstance(source, Moving):
        size = settings.size or SIDE
        side = size[0] if isinstance(size, tuple) and size[0] == size[1] else size
        if isinstance(side, tuple) or side < 16:
            raise UserError(
                f"size={size} is not possible; {source.name} are squares of 16 pixels or more, such as size=32"
            )
        return {part: list(drawn) for part, drawn in source.clips(side, span, settings.limit).items()}, Contents({})
    if isinstance(source, arrays.ArrayFile):
        return _of_arrays(source)
    if not hasattr(source, "open_tree"):
        raise UserError(
            f"{source.name} holds no clips; give a folder or an archive of GIF, MP4 or numbered frames, an array file [N,T,H,W], "
            "or moving-digits"
        )
    tree = source.open_tree()
    if tree is None:  # a single file
        return {"": [FileClip(source, source.name)]}, Contents({})
    clips = ClipTree(tree)
    contents = layout.arrange(clips, source.wish(kind, lambda name: clips.clip(name).probe()), str(source.path))
    return {split: [clips.clip(n) for n in p.names] for (_, split), p in contents.pictures.items()}, contents


def _of_arrays(source: arrays.ArrayFile) -> tuple[dict[str, list[Clip]], Contents]:
    contents = Contents({})
    parts: dict[str, list[Clip]] = {}
    found = arrays._load(source.path)
    for split, (key, clips) in arrays._examples(
        found, source.path, (3, 4, 5), "clips [N,T,H,W] or [N,T,H,W,C]"
    ).items():
        shaped = _channels_second(clips, f"{source.path} '{key}'")
        levels = arrays.grey_levels(shaped, f"{source.path} '{key}'", contents)
        parts[split] = [ArrayClip(f"{key}[{i}]", np.array(c)) for i, c in enumerate(levels)]
        arrays._give_labels(contents, found, key, split, len(shaped))
    arrays._number(contents, parts)
    return parts, contents


def _channels_second(array: np.ndarray, where: str) -> np.ndarray:
    """Bring clips of any of the usual orders to [N, T, C, H, W]."""
    last = array.shape[-1] in (1, 3, 4)
    if array.ndim == 3:  # one gray clip [T, H, W]
        array = array[None, :, None]
    elif array.ndim == 4:  # one clip [T, H, W, C], or gray ones [N, T, H, W]
        array = array[None].transpose(0, 1, 4, 2, 3) if last else array[:, :, None]
    elif last:
        array = array.transpose(0, 1, 4, 2, 3)
    elif array.shape[1] in (1, 2, 3, 4):  # [N, C, T, H, W], as samples are
        array = array.transpose(0, 2, 1, 3, 4)
    if not 1 <= array.shape[2] <= 4 or 0 in array.shape:
        raise UserError(
            f"{where}: shape {array.shape} is none of [T,H,W,C], [N,T,H,W], [N,T,H,W,C], [N,C,T,H,W], [N,T,C,H,W]"
        )
    return array


def _build(
    kind: Kind,
    parts: dict[str, list[Clip]],
    contents: Contents,
    settings: DataSettings,
    cut: tuple[int, int, int],
    name: str,
    draft: CacheWriter,
    *,
    quiet: bool,
) -> dict[str, Any]:
    frames, stride, hop = cut
    span = (frames - 1) * stride + 1
    left, notes = list(contents.left), list(contents.notes)
    shapes: list[Shape] = []
    usable: dict[str, list[int]] = {split: [] for split in parts}
    with quiet_decoding():
        for split, clips in parts.items():
            for i, clip in enumerate(clips):
                try:
                    shapes.append(clip.probe())
                    usable[split].append(i)
                except Rejected as reason:
                    left.append((clip.name, str(reason)))
    if not shapes:
        raise UserError(no_images(name, left, what=kind.thing))
    form = common_form(shapes, settings, notes)
    rows = {kind.name: draft.rows(kind.name, (form.channels, frames, form.height, form.width), np.uint8)}
    rows |= {key: draft.rows(key, (), np.int64) for key in ("file", "start", *(("label",) if contents.labels else ()))}
    sections: dict[str, int] = {}
    number, unused, seen = 0, 0, Seen(settings.fps)
    with bar(len(shapes), f"reading {name}", quiet, "clips") as advance, quiet_decoding():
        for split in sorted(parts, key=("train", "test", "").index):
            order = np.random.default_rng([ORDER_SEED, 2, len(usable[split])]).permutation(len(usable[split]))
            sections[split] = 0
            for i in (usable[split][k] for k in order):
                clip = parts[split][i]
                try:
                    whole = list(_frames(clip, form, settings.fps))
                    starts, rest = _starts(whole, span, hop)
                    there = sum(frame is not None for frame in whole)
                    if not starts:
                        apart = f", {stride} apart" if stride > 1 else ""
                        gaps = " with gaps where some cannot be decoded" if there < len(whole) else ""
                        raise Rejected(
                            f"{there} frame{'s' * (there > 1)}{gaps}: shorter than a clip of {frames}{apart} (frames=, stride=)"
                        )
                except Rejected as reason:
                    left.append((clip.name, str(reason)))
                    continue
                finally:
                    advance(1)
                for start in starts:
                    rows[kind.name].append(
                        np.ascontiguousarray(np.stack(cast(list[np.ndarray], whole[start : start + span : stride]), 1))
                    )
                    rows["file"].append(np.asarray(number, dtype=np.int64))
                    rows["start"].append(np.asarray(start, dtype=np.int64))
                    if contents.labels:
                        rows["label"].append(np.asarray(contents.labels[split][i], dtype=np.int64))
                sections[split] += len(starts)
                number, unused = number + 1, unused + rest
                seen.add(clip)
    if not number:
        raise UserError(no_images(name, left, what=kind.thing))
    if unused or rows[kind.name].count > number:
        notes.append(
            f"{number} file{'s' * (number > 1)} in {rows[kind.name].count} clips of {frames} frames, {stride} apart, one every {hop} frames"
            + (f"; {unused} frames at the ends of files are not used" if unused else "")
        )
    return {
        "sections": {kind.name: sections}, "class_names": contents.class_names if contents.labels else [], "captions": [],
        "left": [(printable(n), printable(r)) for n, r in left], "notes": notes + seen.notes(),
    }  # fmt: skip


def _frames(clip: Clip, form: ImageFormat, fps: float | None) -> Iterator[np.ndarray | None]:
    """Yield the frames of a clip: all of them, or those of even times."""
    if fps is None or not isinstance(clip, FileClip):
        return clip.frames(form)
    return at_rate(clip.timed(form), Fraction(fps).limit_denominator(1001))


def _starts(whole: list[np.ndarray | None], span: int, hop: int) -> tuple[list[int], int]:
    """Find where the clips of a file begin, every `hop` frames of every run without a gap, and count the frames behind the last of each run."""
    starts: list[int] = []
    rest = first = 0
    for at, frame in enumerate([*whole, None]):
        if frame is None:
            found = range(first, at - span + 1, hop)
            starts += found
            rest += at - (found[-1] + span if found else first)
            first = at + 1
    return starts, rest


class Seen:
    """What is said of the files of a set, once all are read."""

    def __init__(self, fps: float | None) -> None:
        self.files, self.fps = 0, fps
        self.told, self.having, self.rates = Counter[str](), Counter[str](), Counter[str]()

    def add(self, clip: Clip) -> None:
        """Count a file."""
        self.files += 1
        told: Counter[str] = Counter(getattr(clip, "told", None))
        told["timeless"] = int(self.fps is not None and not isinstance(clip, FileClip))
        self.told.update(told)
        self.having.update(key for key, count in told.items() if count)
        rate = getattr(clip, "rate", None)
        if rate:
            self.rates[f"{float(rate):.4g}"] += 1

    def notes(self) -> list[str]:
        """Say in sentences what was noticed."""
        uneven = (
            "each counts once; fps=25 shows all at even times"
            if self.fps is None
            else f"brought to {self.fps:g} in a second"
        )
        said = [
            words.format(n=self.told[key], files=f"{self.having[key]} of {self.files} files", uneven=uneven)
            for key, words in TOLD.items()
            if self.having[key]
        ]
        if len(self.rates) > 1:
            each = ", ".join(f"{n} of {rate}" for rate, n in self.rates.most_common())
            said.append(
                f"files differ in frames per second ({each}); "
                + (
                    "a clip is a number of frames, not a time: fps= brings all to one"
                    if self.fps is None
                    else f"all are brought to {self.fps:g}"
                )
            )
        return said


def _rows(
    sections: dict[str, int], stored: dict[str, np.ndarray], span: int, settings: DataSettings, notes: list[str]
) -> dict[str, Rows]:
    """Choose the stored rows of both splits; no file, and of a single file no frame, is in both."""
    file, start = stored["file"], stored["start"]
    n, files = len(file), int(file[-1]) + 1
    after = 0
    if n == 1:
        notes.append("there is one clip: it is both the training and the test part")
        return {"train": range(1), "test": range(1)}
    if sections.get("train") and sections.get("test"):
        cut = after = sections["train"]
    elif not settings.holdout:
        cut = after = n
    elif files == 1:
        after = n - min(max(round(n * settings.holdout), 1), n - 1)
        cut = max(int(np.searchsorted(start, start[after] - span, side="right")), 1)
        notes.append("there is one file: its end is the test part")
        if start[cut - 1] + span > start[after]:
            raise UserError(
                f"{settings.data} is too short for a training and a test part without a common frame; give holdout=0 or smaller frames="
            )
    else:
        held = min(max(round(files * settings.holdout), 1), files - 1)
        cut = after = int(np.searchsorted(file, files - held))
    return split_files(file, cut, after, settings)
