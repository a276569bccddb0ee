"""Compress images with a model and get them back: files in, one file out, and the reverse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from genzoo.core.capabilities import Compresses
from genzoo.core.errors import UserError, nearest
from genzoo.core.files import write_atomic
from genzoo.core.system import System
from genzoo.data import formats as naming
from genzoo.data.decode.reasons import in_words
from genzoo.data.formats import unusable
from genzoo.saved.published import is_published
from genzoo.saved.zoo import PREFIX, folders
from genzoo.text.documents import read_json
from genzoo.use.common import codec
from genzoo.use.common.arrays import as_tensor
from genzoo.use.common.source import Source, open_exact, require


@dataclass(frozen=True)
class Compressed:
    """What `compress` wrote.

    Args:
        path: The file.
        size: Its bytes.
        bits: Bits that the model's conditional probabilities say the images need; infinite where it gives a level that is there none.
        count: Number of images.
        dims: Values in an image, C·H·W.
    """

    path: Path
    size: int
    bits: float
    count: int
    dims: int

    @property
    def bits_per_dim(self) -> float:
        """Bits of the file for each value of an image, header and all."""
        return 8 * self.size / (self.count * self.dims)


def compress(source: Source, images: Tensor, to: str | Path, *, names: tuple[str, ...] = ()) -> Compressed:
    """Write images into one file, about as many bits as the system's likelihood says; `decompress` gives them back bit for bit.

    Args:
        source: A run, its path, or a system.
        images: [N, C, H, W] in [-1, 1], of the size and on the grey levels that the system was trained on.
        to: The file; one that is there is replaced.
        names: Names to keep, one for each image.

    Raises:
        UserError: The system gives no conditional probabilities, or the images are not of its form.
    """
    system = open_exact(source, verb="compress")
    data, bits = codec.encode(system, as_tensor(images, "compress"), names)
    path = write_atomic(Path(to).expanduser(), data)
    return Compressed(path, len(data), bits, len(images), images[0].numel())


def decompress(file: str | Path, source: Source | None = None) -> Tensor:
    """Decode the images of a file that `compress` wrote, float32 [N, C, H, W] in [-1, 1].

    Args:
        file: The file.
        source: The run, its path, or the system that made it; the one in runs/ that did when not given.

    Raises:
        UserError: No such file, not ours, damaged, another model's, or made where sums are rounded differently.
    """
    return restore(file, source)[0]


def restore(file: str | Path, source: Source | None = None) -> tuple[Tensor, codec.Header]:
    """Decode a file as `decompress` does, and return what the file says of itself as well."""
    path = Path(file).expanduser()
    if not path.is_file():
        if is_published(str(file)) or path.is_dir():
            raise UserError(f"'{file}' is no file; the compressed file comes first: genzoo decompress FILE [RUN]")
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"there is no file '{path}'{nearest(path.name, beside)}")
    with path.open("rb") as opened:
        data = opened.read(len(codec.MAGIC))
        data += opened.read() if data == codec.MAGIC else b""  # a large file of another kind is not read whole
    header, _ = codec.unpack(data, str(path))
    return codec.decode(
        _maker(header, path) if source is None else open_exact(source, verb="compress"), data, str(path)
    )


def _maker(header: codec.Header, path: Path) -> System:
    """Find the run in runs/, or the model of the package genzoo-zoo, that made a file."""
    runs: list[tuple[Path, Source]] = [(c, c.parents[1]) for c in sorted(Path("runs").glob("*/model/config.json"))]
    for config, place in [*runs, *((folder / "config.json", f"{PREFIX}{name}") for name, folder in folders().items())]:
        try:
            if read_json(config).get("name") != header.system:
                continue
            system = open_exact(place, verb="compress")
        except (UserError, OSError):
            continue  # a run that cannot be read did not make it, or cannot show that it did
        if codec.model_digest(system) == header.model:
            return system
    raise UserError(
        f"'{path}' was made with a {header.system} of digest {header.model.hex()}, and no run in runs/ is that; name the run: "
        f"genzoo decompress {path} RUN"
    )


def exact_images(files: list[Path], system: System) -> Tensor:
    """Read images without changing one value of them, [N, C, H, W] in [-1, 1].

    Raises:
        UserError: A file is no image, or not of the size, channels or depth that the system takes: nothing is resized or converted.
    """
    require(system, Compresses, verb="compress")
    channels, height, width = system.hparams["shape"]
    return torch.stack([_exact(file, str(file), channels, height, width) for file in files])


def exact_image(file: BinaryIO, system: System, label: str) -> Tensor:
    """Read one image from an open file as `exact_images` does, [C, H, W]; `label` is what it is called in messages."""
    require(system, Compresses, verb="compress")
    channels, height, width = system.hparams["shape"]
    return _exact(file, label, channels, height, width)


def _why(file: Path | BinaryIO, label: str, error: Exception) -> str:
    """Say why a file cannot be read as an image, by its beginning where no decoder knows it."""
    if isinstance(error, UnidentifiedImageError):
        if not isinstance(file, Path):
            file.seek(0)
            return naming.refused(file, label)
        with open(file, "rb") as opened:
            return naming.refused(opened, file.name)
    return in_words(error)


def _exact(file: Path | BinaryIO, label: str, channels: int, height: int, width: int) -> Tensor:
    try:
        with Image.open(file) as opened:
            opened.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(unusable(str(label), _why(file, label, error))) from None
    image: Image.Image = opened
    if image.mode in ("1", "P"):
        image = image.convert("L" if image.mode == "1" else "RGBA" if "transparency" in image.info else "RGB")
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise UserError(f"'{label}' has pixels of kind {image.mode}; only 8-bit gray and RGB images come back exactly")
    if image.mode in ("LA", "RGBA"):
        if array[..., -1].min() < 255:
            raise UserError(f"'{label}' has transparent pixels, which the model does not know; nothing was written")
        array = array[..., :-1]
    if array.shape[:2] != (height, width):
        raise UserError(
            f"'{label}' is {array.shape[1]}x{array.shape[0]} (width x height); this model takes {width}x{height}, "
            "and compressing does not resize"
        )
    if array.shape[2] == 3 and channels == 1:
        if (array != array[..., :1]).any():
            raise UserError(f"'{label}' is coloured; this model takes gray images, and compressing does not convert")
        array = array[..., :1]
    if array.shape[2] == 1 and channels == 3:
        array = array.repeat(3, 2)
    if array.shape[2] != channels:
        raise UserError(f"'{label}' has {array.shape[2]} channels; this model takes {channels}")
    return torch.from_numpy(array.copy()).permute(2, 0, 1).float().div(127.5).sub(1)
