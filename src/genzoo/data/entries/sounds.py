"""Sounds into the cache: every file is cut into windows of equal length; whole files are held out, not windows.

The cache entry holds the windows, int16 [N, 1, T], of one file after another, files in one fixed random order;
"file" int64 [N], the number of the file; and "label" int64 [N] where subfolders are classes. What is left at the end of a
file, less than a window, is not used: every sample of a sound counts at most once, and nothing is padded.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.cache import CacheWriter, digest_of, entry
from genzoo.data.dataset import Dataset
from genzoo.data.decode import sounds as sound
from genzoo.data.decode.forms import Rejected
from genzoo.data.kinds import Kind
from genzoo.data.order import Rows, give, give_labels, opened, other_than, split_files
from genzoo.data.progress import bar
from genzoo.data.seeds import ORDER_SEED
from genzoo.data.settings import DataSettings
from genzoo.data.sources import layout
from genzoo.data.sources.contents import Contents, FilePictures
from genzoo.data.sources.labels import only_used
from genzoo.data.sources.layout import no_images, printable
from genzoo.data.sources.speech import as_speech

CODE = 4
"""Raised when the same source would be cut to something else."""
SECONDS = 1.0
"""Length of a window where none is set."""
CLIPS = 1e-3
"""Share of a file's samples at full scale from which on it is said to clip."""
MARKS = {
    "pipe": "do not state their length, as programs write it into a pipe: read to their end",
    "cut": "end before their stated length: what is there is used",
    "links": "are several sounds joined in one: all are read, one after the other",
    "joined": "have another sound behind the first, which is not read: split them",
}
"""What is said of files that are read although something is wrong with them."""
FOR_IMAGES = ("size", "crop", "flip", "binarize", "resize")


def open_sounds(kind: Kind, source: Any, settings: DataSettings, split: str, *, quiet: bool) -> Dataset:
    """Open one split of a set of sounds.

    Raises:
        UserError: It holds no usable sound, or a key is given that is for images.
    """
    if not hasattr(source, "open_tree"):
        raise UserError(f"{settings.data} holds no sound; give a folder, an archive or a file of WAV or FLAC")
    plain = DataSettings(settings.data)
    for key in FOR_IMAGES:
        if getattr(settings, key) != getattr(plain, key):
            raise UserError(
                f"{key}= is for images; sound takes seconds= (length of a window) and channels=1 (mix to mono)"
            )
    if settings.channels not in (None, 1):
        raise UserError(f"channels={settings.channels} is not allowed; sound is mono: channels=1 mixes stereo to it")
    seconds = settings.seconds or SECONDS
    key = digest_of([CODE, kind.name, source.identity(), seconds, settings.channels])[:32]

    def make(draft: CacheWriter) -> dict[str, Any]:
        return _build(kind, _sounds(kind, source), seconds, settings.channels == 1, source.name, draft, quiet=quiet)

    info, arrays, folder = entry(key, make, quiet=quiet)
    only_used(info, arrays)
    dataset = opened(source.name, info, folder, settings, split, [split, settings.limit, settings.holdout])
    dataset.rate = info["rate"]
    rows = _rows(info["sections"][kind.name], arrays["file"], settings, dataset.notes)
    if not len(rows[split]):
        raise UserError(f"{settings.data} has no {split} part; give holdout=0.1")
    give(dataset, kind.name, arrays, rows[split], len(rows[other_than(split)]))
    give_labels(dataset, info, arrays, rows[split])
    return dataset


def _sounds(kind: Kind, source: Any) -> Contents:
    tree = source.open_tree()
    if tree is None:  # a single file
        return Contents({("image", ""): FilePictures(source, [source.name])})

    def look(name: str) -> None:
        with tree.open(name) as file:
            sound.probe(file)

    if (speech := as_speech(tree)) is None:
        return layout.arrange(tree, source.wish(kind, look), str(source.path), source.table)
    found = layout.arrange(speech, source.wish(kind, look), str(source.path), source.table)
    found.notes += speech.notes
    return found


def _build(
    kind: Kind, contents: Contents, seconds: float, mix: bool, name: str, draft: CacheWriter, *, quiet: bool
) -> dict[str, Any]:
    left, notes = list(contents.left), list(contents.notes)
    parts = {split: p for (_, split), p in contents.pictures.items() if isinstance(p, FilePictures)}
    found = _probed(parts, left)
    scale = _one_range(parts, found, left, notes)
    if not found:
        raise UserError(no_images(name, left, what=kind.thing))
    rates = Counter(s.rate for s in found.values())
    rate = min(r for r, n in rates.items() if n == max(rates.values()))
    window = round(seconds * rate)
    if window < 2:
        raise UserError(f"seconds={seconds} is less than two samples at {rate} Hz")
    rows = {kind.name: draft.rows(kind.name, (1, window), np.int16), "file": draft.rows("file", (), np.int64)}
    if contents.labels:
        rows["label"] = draft.rows("label", (), np.int64)
    draft.reserve(2 * sum(math.ceil(s.frames * rate / s.rate) for s in found.values()))
    sections: dict[str, int] = {}
    number = unused = 0
    changed, heard = Counter[int](), Heard()
    with bar(len(found), f"reading {name}", quiet, "files") as advance:
        for split, files in sorted(parts.items(), key=lambda p: ("train", "test", "").index(p[0])):
            order = np.random.default_rng([ORDER_SEED, 2, len(files.names)]).permutation(len(files.names))
            sections[split] = 0
            for i in (int(k) for k in order if (split, int(k)) in found):
                said = found[split, i]
                try:
                    read = _read(files, i, said, scale, mix)
                    windows, rest = _windows(sound.at_rate(sound.mono(read.values), said.rate, rate), window)
                except Rejected as reason:
                    left.append((files.names[i], str(reason)))
                    continue
                finally:
                    advance(1)
                for values in windows:
                    rows[kind.name].append(values[None])
                    rows["file"].append(np.asarray(number, dtype=np.int64))
                    if contents.labels:
                        rows["label"].append(np.asarray(contents.labels[split][i], dtype=np.int64))
                changed[said.rate] += 1
                heard.add(read)
                sections[split] += len(windows)
                number, unused = number + 1, unused + rest
    if not number:
        raise UserError(no_images(name, left, what=kind.thing))
    notes.append(
        f"{number} files at {rate} Hz in windows of {window} samples ({window / rate:g} s)"
        + (f"; {unused / rate:.1f} s at the ends of files, less than a window each, are not used" if unused else "")
    )
    del changed[rate]
    if changed:
        seen = ", ".join(f"{n} of {r} Hz" for r, n in sorted(changed.items()))
        notes.append(f"{changed.total()} files have another rate than most and are resampled to {rate} Hz: {seen}")
    return {
        "sections": {kind.name: sections}, "class_names": contents.class_names if contents.labels else [], "captions": [],
        "left": [(printable(n), printable(r)) for n, r in left], "notes": notes + heard.notes(), "rate": rate,
    }  # fmt: skip


def _probed(parts: dict[str, FilePictures], left: list[tuple[str, str]]) -> dict[tuple[str, int], sound.Sound]:
    """Read the headers of all sound files, by part and number."""
    found = {}
    for split, files in parts.items():
        for i, file in enumerate(files.names):
            try:
                with files.tree.open(file) as opened:
                    found[split, i] = sound.probe(opened, file)
            except Rejected as reason:
                left.append((file, str(reason)))
    return found


def _one_range(
    parts: dict[str, FilePictures],
    found: dict[tuple[str, int], sound.Sound],
    left: list[tuple[str, str]],
    notes: list[str],
) -> float:
    """Return the number that the floats of all files are divided by, and take files of another range out of `found`."""
    peaks = {}
    for split, i in [k for k, s in found.items() if s.floats]:
        name = parts[split].names[i]
        try:
            with parts[split].tree.open(name) as opened:
                peaks[split, i] = sound.peak(opened, name)
        except Rejected as reason:
            del found[split, i]
            left.append((name, str(reason)))
    scale = sound.scale_of(list(peaks.values()))
    for (split, i), peak in peaks.items():
        if peak > sound.BEYOND * scale or (scale > 1 and 0 < peak <= 1):
            del found[split, i]
            left.append(
                (
                    parts[split].names[i],
                    f"its floats reach {peak:g}, and those of most files of the set are {sound.SCALES[scale]}; bring all to [-1, 1]",
                )
            )
    if scale > 1:
        notes.append(
            f"{len(peaks)} files of floats reach {max(peaks.values()):g}: taken for {sound.SCALES[scale]} and divided by {scale:,.0f}"
        )
    return scale


def _read(files: FilePictures, i: int, said: sound.Sound, scale: float, mix: bool) -> sound.Samples:
    if said.channels > 1 and not mix:
        raise Rejected(f"{said.channels} channels; channels=1 mixes them to one")
    with files.tree.open(files.names[i]) as opened:
        return sound.samples(opened, scale if said.floats else 1.0, files.names[i])


def _windows(values: np.ndarray, window: int) -> tuple[np.ndarray, int]:
    """Cut the windows of a file, int16 [n, T], and count the samples after the last."""
    count = len(values) // window
    if not count:
        few = "1 sample" if len(values) == 1 else f"{len(values):,} samples"
        raise Rejected(f"{few}: shorter than a window of {window:,} (seconds= sets its length)")
    return values[: count * window].reshape(count, window), len(values) - count * window


class Heard:
    """What is said of the samples of a set, once all are read."""

    def __init__(self) -> None:
        self.files = self.samples = self.full = self.over = self.loudest = 0
        self.clipping = self.beyond = 0
        self.marks = Counter[str]()

    def add(self, read: sound.Samples) -> None:
        """Count a file."""
        self.files, self.samples = self.files + 1, self.samples + read.values.size
        self.full, self.over = self.full + read.full, self.over + read.over
        self.clipping += read.full >= CLIPS * read.values.size
        self.beyond += read.over > 0
        self.loudest = max(self.loudest, int(np.abs(read.values.astype(np.int32)).max()))
        self.marks[read.mark] += 1

    def notes(self) -> list[str]:
        """Say in sentences what was noticed."""
        said = [
            f"{self.marks[mark]} of {self.files} files {words}" for mark, words in MARKS.items() if self.marks[mark]
        ]
        if self.over:
            said.append(
                f"{self.over:,} samples ({share(self.over, self.samples)}) in {self.beyond} of {self.files} files lie beyond full "
                "scale and are clipped"
            )
        if self.clipping:
            said.append(
                f"sounds clip: {share(self.full, self.samples)} of the samples are at full scale, most of them in {self.clipping} of "
                f"{self.files} files; a clean recording has next to none"
            )
        if self.loudest < 3277:
            said.append(
                f"the loudest sample is at {share(self.loudest, 32768)} of full scale: sounds fill less than a tenth of their range"
            )
        return said


def share(part: int, whole: int) -> str:
    """Write a part of a whole in per cent, with two digits that count.

    >>> share(1, 3), share(1, 40_000)
    ('33 %', '0.0025 %')
    """
    return f"{float(f'{100 * part / whole:.2g}'):g} %"


def _rows(sections: dict[str, int], file: np.ndarray, settings: DataSettings, notes: list[str]) -> dict[str, Rows]:
    """Choose the stored rows of both splits; no file is in both."""
    n, files = len(file), int(file[-1]) + 1
    if n == 1:
        notes.append("there is one window: it is both the training and the test part")
        return {"train": range(1), "test": range(1)}
    if sections.get("train") and sections.get("test"):
        cut = sections["train"]
    elif not settings.holdout:
        cut = n
    elif files == 1:
        cut = n - min(max(round(n * settings.holdout), 1), n - 1)
        notes.append("there is one file: its end is the test part")
    else:
        held = min(max(round(files * settings.holdout), 1), files - 1)
        cut = int(np.searchsorted(file, files - held))
    return split_files(file, cut, cut, settings)
