"""Shards of tar as webdataset reads them: for every sample KEY.png, and KEY.cls, KEY.txt and KEY.json where there is something to say."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from genzoo.data.written import Part

WHAT = "a folder of tars (train-000000.tar ...) of KEY.png, .cls, .txt, .json"
SUFFIX = ""
PARTS = 2
ENDING = ".tar"
SHARD = 10_000
"""Samples of a shard."""


def check(parts: Sequence[Part]) -> list[str]:
    """Accept everything: PNG files hold whatever images have."""
    return []


def write(path: Path, parts: Sequence[Part], advance: Callable[[int], None]) -> None:
    """Write every part in shards of its own.

    Args:
        path: The folder.
        parts: The training part, and the test part where there is one.
        advance: Is told how many images are done.
    """
    path.mkdir()
    for part in parts:
        images = part.encoded(advance)
        for k, count in enumerate(part.shards(SHARD)):
            shard(path / f"{part.name}-{k:06d}{ENDING}", part, images, count)


def shard(path: Path, part: Part, images: Iterator[tuple[int, bytes]], count: int) -> None:
    """Write the next images of a part into one shard.

    Args:
        path: The file.
        part: The part.
        images: Numbers and files, from where the shard before ended.
        count: How many.
    """
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for _ in range(count):
            for name, data in _members(part, *next(images)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def _members(part: Part, i: int, image: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a sample; the reader takes those that follow each other for one, so they do."""
    key = f"{i:07d}"
    yield f"{key}.png", image
    told: dict[str, str] = {"file": part.files[i]} if part.files else {}
    if part.labels is not None:
        yield f"{key}.cls", str(int(part.labels[i])).encode()
        told["class_name"] = part.class_names[int(part.labels[i])]
    if part.texts:
        yield f"{key}.txt", "\n".join(part.texts[i]).encode()
    if told:
        yield f"{key}.json", json.dumps(told, ensure_ascii=False).encode()
