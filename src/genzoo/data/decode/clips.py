"""One careful reader of clips: animated pictures, video files, numbered frames, arrays; frame by frame, as uint8 [C, H, W].

| clip | treatment |
|---|---|
| animated GIF, WebP, PNG | every frame, whole, as it is shown; the times of the frames are looked at where a rate is asked for |
| MP4, MOV, MKV, WebM, AVI, MPEG, OGG, FLV, WMV, MPEG-TS | read by `av` (the extra `video`), see `genzoo.data.decode.films` |
| numbered pictures of one folder (a-001.png, a-002.png, ...) | one clip, in the order of the numbers, which have to have equal distances |
| arrays (.npy, .npz) | see `genzoo.data.sources.arrays`: the same grey levels as images |
| frames of an animated picture that cannot be decoded | those before are used, the others counted |
| one frame, damaged, text, more than 64 gigapixels | left out, with the reason |

Frames are brought to one form as images are: `size`, `channels`, `resize`.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from genzoo.data.decode import images as decode
from genzoo.data.decode.films import MOST, Film, container, too_large
from genzoo.data.decode.forms import ImageFormat, Rejected, Shape
from genzoo.data.decode.images import _checked_size, _is_gray, _reasons, array_to_form, to_form
from genzoo.data.decode.times import Shown
from genzoo.data.formats import HEAD, refusal, what_is
from genzoo.data.sources.parts import part_of
from genzoo.data.sources.trees import Tree

STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
"""Numbered files that end like this are the frames of one clip, unless the first of them is animated."""


class Clip(Protocol):
    """One clip, before it is cut into windows."""

    name: str

    def probe(self) -> Shape:
        """Return height, width and channels of the clip's frames.

        Raises:
            Rejected: This is no usable clip.
        """

    def frames(self, form: ImageFormat) -> Iterator[np.ndarray | None]:
        """Yield the clip's frames, uint8 [C, H, W]; None stands for frames that are missing between two others.

        Raises:
            Rejected: It cannot be read to its end.
        """


class FileClip:
    """An animated picture or a video file.

    Args:
        tree: Where it is.
        name: Its name there.

    Attributes:
        told: What was seen when its frames were read, see `Film`.
        rate: Frames per second, where it is a video that says so.
    """

    rate: Fraction | None

    def __init__(self, tree: Any, name: str) -> None:
        self.tree, self.name = tree, name
        self.told, self.rate = Counter[str](), None

    def probe(self) -> Shape:
        """Look at the header; at all frames of a GIF, because its first palette may be gray by chance; at the first frame of a video."""
        with self.tree.open(self.name) as file:
            demuxer = container(file)
            if demuxer:
                with Film(file, demuxer, self.name) as film:
                    return film.probe()
            with self._animation(file) as image:
                width, height = image.size
                count = _count(image)
                if count == 1:
                    raise Rejected("one frame: a still picture; systems for images read it")
                if count * width * height > MOST:
                    raise too_large(f"{count} frames of {width}x{height}")
                gray = _is_gray(image)
                if image.format == "GIF":
                    gray = all(_is_gray(i) or _has_no_colour(i) for i in _animated(image, Counter()))
                return height, width, 1 if gray else 3

    def frames(self, form: ImageFormat) -> Iterator[np.ndarray | None]:
        """Decode one after the other; None stands for frames that are missing between two others."""
        return (frame for _, _, frame in self.timed(form))

    def timed(self, form: ImageFormat) -> Iterator[Shown]:
        """Decode them with their times, see `genzoo.data.decode.times`."""
        self.told = Counter()
        with self.tree.open(self.name) as file:
            demuxer = container(file)
            if demuxer:
                with Film(file, demuxer, self.name) as film:
                    yield from film.timed(form)
                    self.told, self.rate = film.told, film.rate
            else:
                with self._animation(file) as image:
                    at = Fraction(0)
                    for frame in _animated(image, self.told):
                        # As browsers do: what is to last no time, or next to none, lasts a tenth of a second.
                        lasts = Fraction(frame.info.get("duration") or 0) / 1000
                        lasts = lasts if lasts > Fraction(1, 100) else Fraction(1, 10)
                        yield at, lasts, to_form(frame, form)
                        at += lasts

    @contextmanager
    def _animation(self, file: BinaryIO) -> Iterator[Image.Image]:
        file.seek(0)
        head = file.read(HEAD)
        what = what_is(head, self.name)
        if what is None or what.group != "picture":
            raise Rejected(refusal(head, self.name, "clip"))
        file.seek(0)
        with _reasons(file), self._recognized(file, head) as image:
            _checked_size(image)
            yield image

    def _recognized(self, file: BinaryIO, head: bytes) -> Image.Image:
        try:
            return Image.open(file, formats=decode.formats())
        except UnidentifiedImageError:
            raise Rejected(refusal(head, self.name, "clip")) from None


class FrameClip:
    """Numbered pictures of one folder.

    Args:
        tree: Where they are.
        name: What the clip is called.
        members: File name by number.
    """

    def __init__(self, tree: Any, name: str, members: list[tuple[int, str]]) -> None:
        self.tree, self.name, self.members = tree, name, sorted(members)

    def probe(self) -> Shape:
        """Look at the headers of all frames."""
        numbers = [n for n, _ in self.members]
        steps = {b - a for a, b in itertools.pairwise(numbers)}
        if 0 in steps:
            raise Rejected("two frames have the same number; rename one")
        if len(steps) > 1:
            a, b = next((a, b) for a, b in itertools.pairwise(numbers) if b - a > min(steps))
            raise Rejected(
                f"the numbers of the frames jump from {a} to {b}; number them without gaps, or split the clip there"
            )
        shapes = []
        for _, file in self.members:
            try:
                with self.tree.open(file) as opened:
                    shapes.append(decode.probe(opened))
            except Rejected as reason:
                raise Rejected(f"{PurePosixPath(file).name}: {reason}") from None
        if len({s[:2] for s in shapes}) > 1:
            (h, w, _), (a, b, _) = shapes[0], next(s for s in shapes if s[:2] != shapes[0][:2])
            raise Rejected(f"frames of different sizes ({h}x{w} and {a}x{b}); bring them to one")
        if len(shapes) * shapes[0][0] * shapes[0][1] > MOST:
            raise too_large(f"{len(shapes)} frames of {shapes[0][1]}x{shapes[0][0]}")
        return (*shapes[0][:2], max(s[2] for s in shapes))

    def frames(self, form: ImageFormat) -> Iterator[np.ndarray]:
        """Decode one after the other."""
        for _, file in self.members:
            try:
                with self.tree.open(file) as opened:
                    yield decode.pixels(opened, form)
            except Rejected as reason:
                raise Rejected(f"{PurePosixPath(file).name}: {reason}") from None


class ArrayClip:
    """A clip that is already an array.

    Args:
        name: What it is called.
        array: uint8 [T, C, H, W].
    """

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name, self.array = name, array

    def probe(self) -> Shape:
        """Take height, width and channels from the array's shape."""
        _, c, h, w = self.array.shape
        return h, w, 1 if c < 3 else 3

    def frames(self, form: ImageFormat) -> Iterator[np.ndarray]:
        """Copy or resize."""
        return (array_to_form(frame, form) for frame in self.array)


class ClipTree:
    """A tree whose names are clips: files, and groups of numbered frames under the name of their folder.

    Args:
        tree: The files.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree, self.left = tree, tree.left
        groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
        single = []
        for name in tree.names:
            path = PurePosixPath(name)
            found = re.fullmatch(r"(.*?)(\d+)", path.stem)
            if found and path.suffix.lower() in STILLS:
                folder = "" if str(path.parent) == "." else str(path.parent)
                groups.setdefault((folder, f"{found[1]}*{path.suffix}"), []).append((int(found[2]), name))
            else:
                single.append(name)
        self.members: dict[str, list[tuple[int, str]]] = {}
        in_folder = {key[0] for key in groups if sum(k[0] == key[0] for k in groups) == 1}
        for (folder, pattern), files in groups.items():
            if len(files) < 2 or self._animated(files[0][1]):
                single += [name for _, name in files]
                continue
            # A folder that is a part of the data keeps its place in the path.
            alone = (
                folder in in_folder
                and not part_of(PurePosixPath(folder).name)
                and not any(n.startswith(f"{folder}/") for n in single)
            )
            self.members[folder if folder and alone else f"{folder}/{pattern}".lstrip("/")] = files
        self.names = sorted([*single, *self.members])

    def _animated(self, name: str) -> bool:
        try:
            with self.tree.open(name) as file, Image.open(file, formats=decode.formats()) as image:
                return getattr(image, "n_frames", 1) > 1
        except Exception:  # a damaged frame is refused where it is read, with its reason
            return False

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        return self.tree.open(name)

    def clip(self, name: str) -> Clip:
        """Return the clip of a name."""
        return FrameClip(self.tree, name, self.members[name]) if name in self.members else FileClip(self.tree, name)

    def identity(self) -> list[object]:
        """Return the names, sizes and times of the files."""
        return self.tree.identity()

    def close(self) -> None:
        """Close the files."""
        self.tree.close()


def _count(image: Image.Image) -> int:
    """Count the frames of an animated picture; 0 where a damaged one cannot be counted."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # decoders throw SyntaxError, IndexError, OSError ...
        return 0


def _animated(image: Image.Image, told: Counter[str]) -> Iterator[Image.Image]:
    """Yield the frames of an animated picture up to the first that cannot be decoded, and count the others in `told`."""
    count, lasting = _count(image), set()
    for i in itertools.count():
        try:
            image.seek(i)
            image.load()
        except EOFError:
            break
        except Exception:
            if not i:
                raise
            told["lost"] = max(count - i, 1)
            break
        lasting.add(image.info.get("duration"))
        yield image
    told["uneven"] = len(lasting) > 1


def _has_no_colour(image: Image.Image) -> bool:
    pixels = np.asarray(image.convert("RGB"))
    return bool((pixels == pixels[..., :1]).all())
