"""One careful reader of clips: animated pictures, video files, numbered frames, arrays; frame by frame, as uint8 [C, H, W].

| clip | treatment |
|---|---|
| animated GIF, WebP, PNG | every frame, whole, as it is shown; the times of the frames are not looked at |
| MP4, MOV, MKV, WebM, AVI, MPEG, OGG | read by `av` (the extra `video`), the first video stream; its rotation mark is not applied |
| numbered pictures of one folder (a-001.png, a-002.png, ...) | one clip, in the order of the numbers, which have to have equal distances |
| arrays (.npy, .npz) | see `genzoo.data.arrays`: the same grey levels as images |
| one frame, damaged, truncated, text, more than 64 gigapixels | left out, with the reason |

Frames are brought to one form as images are: `size`, `channels`, `resize`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL import Image

from genzoo.data import decode
from genzoo.data.decode import Form, Refused, _checked_size, _is_gray, _is_text, _reasons, array_to_form, to_form
from genzoo.data.parts import part_of
from genzoo.data.stock import Shape
from genzoo.data.trees import Tree

MOST = 2**36
"""Pixels of a clip, all frames together; more are refused before they are decoded."""
STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
"""Numbered files that end like this are the frames of one clip, unless the first of them is animated."""


class Clip(Protocol):
    """One clip, before it is cut into windows."""

    name: str

    def probe(self) -> Shape:
        """Height, width and channels of its frames.

        Raises:
            Refused: This is no usable clip.
        """

    def frames(self, form: Form) -> Iterator[np.ndarray]:
        """Its frames, uint8 [C, H, W], one after the other.

        Raises:
            Refused: It cannot be read to its end.
        """


class FileClip:
    """An animated picture or a video file.

    Args:
        tree: Where it is.
        name: Its name there.
    """

    def __init__(self, tree: Any, name: str) -> None:
        self.tree, self.name = tree, name

    def probe(self) -> Shape:
        """From the header; of a GIF from all frames, because its first palette may be gray by chance."""
        with self.tree.open(self.name) as file:
            container = _container(file)
            if container:
                return _probe_video(file, container)
            with _reasons(file), Image.open(file, formats=decode.formats()) as image:
                width, height = _checked_size(image)
                count = getattr(image, "n_frames", 1)
                if count < 2:
                    raise Refused("one frame: a still picture")
                if count * width * height > MOST:
                    raise Refused(f"{count} frames of {width}x{height}: more than {MOST // 10**9} gigapixels")
                gray = _is_gray(image)
                if image.format == "GIF":
                    gray = all(_gray_frame(image, i) for i in range(count))
                return height, width, 1 if gray else 3

    def frames(self, form: Form) -> Iterator[np.ndarray]:
        """Decode one after the other."""
        with self.tree.open(self.name) as file:
            container = _container(file)
            if container:
                yield from _video_frames(file, container, form)
                return
            with _reasons(file), Image.open(file, formats=decode.formats()) as image:
                for i in range(getattr(image, "n_frames", 1)):
                    image.seek(i)
                    image.load()
                    yield to_form(image, form)


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
        """From the headers of all."""
        numbers = [n for n, _ in self.members]
        steps = {b - a for a, b in itertools.pairwise(numbers)}
        if 0 in steps:
            raise Refused("two frames have the same number")
        if len(steps) > 1:
            a, b = next((a, b) for a, b in itertools.pairwise(numbers) if b - a > min(steps))
            raise Refused(f"the numbers of the frames jump from {a} to {b}")
        shapes = []
        for _, file in self.members:
            try:
                with self.tree.open(file) as opened:
                    shapes.append(decode.probe(opened))
            except Refused as reason:
                raise Refused(f"{PurePosixPath(file).name}: {reason}") from None
        if len({s[:2] for s in shapes}) > 1:
            (h, w, _), (a, b, _) = shapes[0], next(s for s in shapes if s[:2] != shapes[0][:2])
            raise Refused(f"frames of different sizes ({h}x{w} and {a}x{b})")
        if len(shapes) * shapes[0][0] * shapes[0][1] > MOST:
            raise Refused(f"more than {MOST // 10**9} gigapixels")
        return (*shapes[0][:2], max(s[2] for s in shapes))

    def frames(self, form: Form) -> Iterator[np.ndarray]:
        """Decode one after the other."""
        for _, file in self.members:
            try:
                with self.tree.open(file) as opened:
                    yield decode.pixels(opened, form)
            except Refused as reason:
                raise Refused(f"{PurePosixPath(file).name}: {reason}") from None


class ArrayClip:
    """A clip that is already an array.

    Args:
        name: What it is called.
        array: uint8 [T, C, H, W].
    """

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name, self.array = name, array

    def probe(self) -> Shape:
        """From the shape."""
        _, c, h, w = self.array.shape
        return h, w, 1 if c < 3 else 3

    def frames(self, form: Form) -> Iterator[np.ndarray]:
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
        """The clip of a name."""
        return FrameClip(self.tree, name, self.members[name]) if name in self.members else FileClip(self.tree, name)

    def identity(self) -> list[object]:
        """Of the files."""
        return self.tree.identity()

    def close(self) -> None:
        """Close the files."""
        self.tree.close()


def _gray_frame(image: Image.Image, i: int) -> bool:
    image.seek(i)
    if _is_gray(image):
        return True
    pixels = np.asarray(image.convert("RGB"))
    return bool((pixels == pixels[..., :1]).all())


# ---- video files, through the extra ------------------------------------------------------------------------------------


def _container(file: BinaryIO) -> str | None:
    """The demuxer of a file that begins as one of the known containers; None for everything else.

    Only these are handed to the library, and by name: its guesses include play lists, which may name other files.
    """
    head = file.read(512)
    file.seek(0)
    if not head:
        raise Refused("empty file")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "mov"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    for magic, name in (
        (b"\x1a\x45\xdf\xa3", "matroska"),
        (b"\x00\x00\x01\xba", "mpeg"),
        (b"OggS", "ogg"),
        (b"FLV", "flv"),
    ):
        if head.startswith(magic):
            return name
    if all(b >= 32 or b in (9, 10, 12, 13) for b in head) and _is_text(head):
        raise Refused("text, not a clip")
    return None


def _open_video(file: BinaryIO, container: str) -> Any:
    try:
        import av
    except (ImportError, OSError):
        raise Refused("a video file needs the extra: pip install 'genzoo[video]'") from None
    try:
        opened = av.open(file, format=container)
    except Exception as error:  # av.error.FFmpegError, ValueError
        raise Refused(f"damaged: {str(error).splitlines()[0][:80]}") from None
    if not opened.streams.video:
        opened.close()
        raise Refused("no video stream")
    return opened


def _probe_video(file: BinaryIO, container: str) -> Shape:
    with _open_video(file, container) as opened:
        stream = opened.streams.video[0]
        height, width = stream.codec_context.height, stream.codec_context.width
        if height < 1 or width < 1:
            raise Refused("damaged: no size is given")
        if max(stream.frames, 1) * height * width > MOST:
            raise Refused(f"{stream.frames} frames of {width}x{height}: more than {MOST // 10**9} gigapixels")
        return height, width, 1 if str(stream.codec_context.pix_fmt).startswith("gray") else 3


def _video_frames(file: BinaryIO, container: str, form: Form) -> Iterator[np.ndarray]:
    gray = form.channels < 3
    with _open_video(file, container) as opened:
        stream, count = opened.streams.video[0], 0
        promised, budget = stream.frames, MOST
        decoded = opened.decode(stream)
        while True:
            try:
                frame = next(decoded, None)
                if frame is None:
                    break
                budget -= frame.width * frame.height
                image = Image.fromarray(frame.to_ndarray(format="gray" if gray else "rgb24"))
            except Exception as error:  # av.error.FFmpegError
                raise Refused(f"damaged after {count} frames: {str(error).splitlines()[0][:80]}") from None
            if budget < 0:
                raise Refused(f"more than {MOST // 10**9} gigapixels")
            count += 1
            yield to_form(image, form)
        if count < promised:
            raise Refused(f"truncated: {count} of {promised} frames are there")
