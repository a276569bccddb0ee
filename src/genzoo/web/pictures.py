"""Samples as answers, PNG, WAV, GIF or arrays, as the client accepts; and what clients send, through genzoo's own decoders, within limits."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi import UploadFile
from fastapi.responses import Response
from PIL import Image
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.decode import npy as arrays
from genzoo.data.decode import sounds as sound
from genzoo.data.decode import stills
from genzoo.data.decode.forms import ImageFormat, Rejected
from genzoo.data.drawing.images import to_uint8
from genzoo.data.formats import unusable
from genzoo.data.kinds import Kind
from genzoo.web.errors import Refused
from genzoo.web.models import shown

MEGAPIXELS = 16.0
"""Largest image that is read from a client."""
SECONDS = 600.0
"""Longest sound that is read from a client."""
FILES = 64
"""Files of one request, at most."""
TYPES = {
    ".png": "image/png",
    ".npy": "application/x-npy",
    ".wav": "audio/wav",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".npz": "application/x-npz",
    ".glb": "model/gltf-binary",
    ".stl": "model/stl",
}
"""Types of answers, by the endings of the files that `genzoo sample` writes."""


def endings(kind: Kind) -> tuple[str, ...]:
    """List the forms in which samples of a kind can be had: PNG and npy always, of sounds WAV, of what moves GIF, of shapes GLB and STL."""
    return tuple(e for e in TYPES if e in kind.suffixes and e not in (".jpg", ".webp", ".npz", ".mp4"))


def wanted(accept: str, kind: Kind) -> str:
    """Choose the form of an answer by the Accept header: the first one, by the client's own weights, that there is of this kind.

    >>> from genzoo.data import kinds
    >>> [wanted(a, kinds.get("image")) for a in ("*/*", "", "application/x-npy", "image/webp;q=0.1, image/*", "application/octet-stream")]
    ['.png', '.png', '.npy', '.png', '.npy']

    Raises:
        Refused: There is none (406).
    """
    there = endings(kind)
    usual = kind.single if kind.single in there else there[0]
    asked = []
    for part in (accept or "*/*").split(","):
        name, *options = (p.strip().lower() for p in part.split(";"))
        weight = next((o.removeprefix("q=") for o in options if o.startswith("q=")), "1")
        with_weight = float(weight) if weight.replace(".", "", 1).isdigit() else 0.0
        asked.append((-with_weight, name))
    for weight_below, name in sorted(asked, key=lambda a: a[0]):
        if weight_below == 0:
            continue
        if name in ("*/*", "", "application/json"):  # errors are JSON everywhere, so to accept it refuses nothing
            return usual
        if name == "application/octet-stream":
            return ".npy"
        for ending in (usual, *there):
            group = TYPES[ending].split("/")[0]
            if name in (TYPES[ending], f"{group}/*") and not (name == "application/*" and ending != ".npy"):
                return ending
    raise Refused(f"no answer of this kind can be had; accept one of {', '.join(TYPES[e] for e in there)}", 406)


def answer(samples: Tensor, system: System, ending: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with samples [n, ...] in [-1, 1].

    Args:
        samples: They.
        system: Whose they are: it says of which kind.
        ending: The form, as `wanted` chooses it: .png of one image its pixels as they are, of several a grid; .npy all values.
        headers: Further headers of the answer.
    """
    data = encoded(samples, kinds.of(system), system.hparams, ending)
    return Response(data, media_type=TYPES[ending], headers=headers)


def encoded(samples: Tensor, kind: Kind, facts: Mapping[str, Any], ending: str, *, columns: int | None = None) -> bytes:
    """Write samples [n, ...] into bytes: .npy, .png, .wav, .gif ...; see `answer`. A picture has `columns` samples in a row."""
    if ending == ".npy":
        return npy(samples)
    if ending == ".png":
        return png(
            pixels(samples[0]) if len(samples) == 1 and samples.ndim == 4 else kind.picture(samples, columns=columns)
        )
    with tempfile.TemporaryDirectory(prefix="genzoo-") as folder:  # the writers of films write files
        return kind.write(Path(folder) / f"samples{ending}", samples, facts, columns=columns).read_bytes()


def npy(values: Tensor | np.ndarray) -> bytes:
    """Write an array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values.detach().cpu().numpy() if isinstance(values, Tensor) else values, allow_pickle=False)
    return buffer.getvalue()


def pixels(image: Tensor) -> np.ndarray:
    """Return an image [C, H, W] in [-1, 1] as pixels, uint8 [H, W] or [H, W, 3 or 4], not enlarged; of other channels the first."""
    levels = to_uint8(image)
    array: np.ndarray = (levels if levels.shape[0] in (1, 3, 4) else levels[:1]).permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[2] == 1 else array


def png(array: np.ndarray) -> bytes:
    """Write pixels, uint8 [H, W] or [H, W, C], as PNG. Quick rather than small: it is sent once."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def read_npy(data: bytes, name: str = "the array") -> Tensor:
    """Read an array of numbers that a client sent, as float32.

    Raises:
        Refused: It is no array of finite numbers, or has another size than its header says.
    """
    file = io.BytesIO(data)
    try:
        _, dtype = arrays.check_header(file, len(data), f"'{shown(name)}'")
        if dtype.kind not in "uifb":
            raise Refused(f"'{shown(name)}' is an array of {dtype}; numbers are needed")
        file.seek(0)
        values = np.lib.format.read_array(file, allow_pickle=False)
    except UserError as error:
        raise Refused(str(error)) from None
    except Exception:
        raise Refused(f"'{shown(name)}' is no array: write it with numpy.save, without objects") from None
    found = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    if not torch.isfinite(found).all():
        raise Refused(f"'{shown(name)}' holds values that are no finite numbers")
    return found


def read_image(
    data: bytes,
    channels: int,
    *,
    name: str = "the image",
    size: tuple[int, int] | None = None,
    window: tuple[float, float] | None = None,
    megapixels: float = MEGAPIXELS,
    numbers: bool = False,
) -> Tensor:
    """Read an image that a client sent as [C, H, W] in [-1, 1], at its own size or scaled and cut to `size`.

    Args:
        data: The bytes of the file.
        channels: 1 gray, 3 RGB; 2 and 4 with transparency.
        name: What it is called in messages.
        size: Height and width.
        window: Gray values that become -1 and 1.
        megapixels: Larger ones are refused before they are decoded.
        numbers: The pixels are numbers of classes, and are kept as they are.

    Raises:
        Refused: It is no image, damaged, or too large.
    """
    file, most = io.BytesIO(data), int(megapixels * 1e6)
    if not data:
        raise Refused(f"'{shown(name)}' is empty")
    try:
        header = stills.look(file, Path(name).name, most=most)
        ends, _ = stills.alone(file, header, most=most) if window is None else ((), [])
        file.seek(0)
        bits = 8 if window is None else 16
        what: Any = "labels" if numbers else "colours"
        form = ImageFormat(*(size or header.shape[:2]), channels, kind=what, bits=bits, window=window, ends=ends)
        array = stills.pixels(file, form, most=most)
    except Rejected as reason:
        raise Refused(unusable(shown(name), reason)) from None
    return torch.from_numpy(array.astype(np.float32)).div(127.5 if bits == 8 else 32767.5).sub(1)


def read_sound(data: bytes, rate: int, *, name: str = "the sound", seconds: float = SECONDS) -> Tensor:
    """Read a sound that a client sent as [1, T] in [-1, 1], mono, at `rate`.

    Raises:
        Refused: It is no sound, damaged, or too long.
    """
    file = io.BytesIO(data)
    try:
        said = sound.probe(file, Path(name).name)
        if said.rate and said.frames / said.rate > seconds:
            raise Refused(f"'{shown(name)}' is longer than {seconds:g} s; send a part of it")
        scale = sound.scale_of([sound.peak(file, Path(name).name)]) if said.floats else 1.0
        values = sound.mono(sound.samples(file, scale, Path(name).name).values)
    except Rejected as reason:
        raise Refused(f"'{shown(name)}' is no usable sound: {reason}") from None
    values = sound.at_rate(values, said.rate, rate) if said.rate != rate else values
    return torch.from_numpy(values.copy()).float().div(32768)[None]


async def uploaded(files: Sequence[UploadFile]) -> list[tuple[str, bytes]]:
    """Read the files of a form, each with the name it was sent under, fit for a sentence.

    Raises:
        Refused: They are too many (413).
    """
    if len(files) > FILES:
        raise Refused(f"{len(files)} files were sent; at most {FILES} are taken at once", 413)
    return [(shown(f.filename or "the file"), await f.read()) for f in files]
