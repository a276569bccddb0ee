"""Images that several measures look at: in memory while they are few, beyond that in a file without a name, read part by part.

Such a tensor is like any other. What makes it cheap is that its pages need not stay: what has looked at a part lets go of it, and the system
reads it again where another measure asks.
"""

from __future__ import annotations

import itertools
import mmap
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import disk_full_is_said
from genzoo.core.files import cache_folder

IN_MEMORY = 2**26
"""Bytes of images that are kept in memory; beyond that they go to a file in the cache folder."""
PART = 256
"""Images that are looked at together."""
_mapped: weakref.WeakValueDictionary[int, mmap.mmap] = weakref.WeakValueDictionary()


def held(parts: Iterable[Tensor], n: int) -> Tensor:
    """Join parts to one tensor [n, ...] of their type, whose number costs no memory.

    Args:
        parts: [b, ...] on the CPU, at least one; none of them is kept.
        n: Examples in all, at most.

    Raises:
        DiskFull: There is no room for them in the cache folder.
    """
    rest = iter(parts)
    first = next(rest)
    each, form, at = first[0].numel() * first.element_size(), first.shape[1:], 0
    if n * each <= IN_MEMORY:
        out = first.new_empty(n, *form)
        for part in itertools.chain([first], rest):
            out[at : at + len(part)] = part
            at += len(part)
        return out[:at]
    place = cache_folder("held", quiet=True)
    with tempfile.TemporaryFile(dir=place) as file:
        for part in itertools.chain([first], rest):
            assert part.shape[1:] == form, "examples of one shape"
            with disk_full_is_said(place / "samples", n * each):
                file.write(part.contiguous().numpy().data)
            at += len(part)
        with disk_full_is_said(place / "samples", n * each):
            file.flush()
        mapped = mmap.mmap(file.fileno(), at * each)
    joined = torch.frombuffer(mapped, dtype=first.dtype).view(at, *form)
    _mapped[joined.untyped_storage().data_ptr()] = mapped
    return joined


def let_go(images: Any) -> None:
    """Give back the memory of what has been looked at, where it can be read again from a file: of held images, and of memory maps."""
    if isinstance(images, Tensor):
        mapped = _mapped.get(images.untyped_storage().data_ptr()) if images.device.type == "cpu" else None
    else:
        mapped = getattr(images, "_mmap", None) if getattr(images, "mode", "") == "r" else None
    if mapped is not None and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)


def parts(images: Any, size: int = PART) -> Iterator[Tensor]:
    """Look through images part by part, and let go of each.

    Args:
        images: Tensor, array, memory map, or what reads them as slices of it are asked for, [N, ...].
        size: Images in a part.
    """
    for start in range(0, len(images), size):
        part = images[start : start + size]
        yield part if isinstance(part, Tensor) else torch.from_numpy(np.require(part, requirements=("C", "W")))
        let_go(images)
