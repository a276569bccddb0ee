"""Data: named sets, folders, archives and arrays, decoded once into a uint8 cache and read back at memory speed.

`open_data(DataSettings("photos/"))` gives a `Dataset`; `Batches(dataset, 64, seed=0).at(step)` gives a batch of uint8
tensors as a pure function of the step; `to_float` makes it float32 in [-1, 1] on the device.

What happens to images that are not plain 8-bit RGB files of the right size:

| image | treatment |
|---|---|
| grayscale (also 1-bit, gray palette) | stays one channel if all images are gray; else repeated to RGB |
| RGB wanted as gray (`channels=1`) | ITU-R 601 luma |
| alpha (RGBA, LA, transparent palette or colour) | composited on white; kept with `channels=4` (RGB) or `2` (gray) |
| 16 bits per gray pixel | divided by 257 and rounded: 65535 becomes 255; kept with `bits=16` |
| 16 bits per colour channel | the decoder's eight high bits |
| 12 bits per gray pixel (TIFF) | 4095 is white |
| least value is white (TIFF) | turned round, with 8 bits as with 16; `gray_window` counts the values after that |
| 0 and 1 only, in all images of a side | masks: 1 is white, with a note; `gray_window=0,255` reads levels; maps of labels are left alone |
| values that fill less than a tenth of their range | as they are, with a note |
| 32-bit and signed integers | as levels of 255 or 65535, whichever holds all, with a note; negative or larger ones are left out |
| 32-bit floats | left out, with the reason: their range is not known; read with `gray_window=` |
| pixels that are no finite numbers | up to a tenth of an image: the value of the nearest ones, with a note; more, and it is left out |
| palette | looked up |
| CMYK, YCbCr, HSV | converted to RGB |
| EXIF rotation | applied |
| several pages or frames | the first, with a note |
| another shape | `resize`: cover (scale, cut out the middle), fit (scale, pad with white), stretch; bicubic with antialiasing |
| no `size` given | the common size where all images share one of at most 256x256, else 64x64 |
| wrong extension | the content decides |
| truncated, empty, text, more than 64 megapixels, larger than 256 MiB | left out, with the reason |
| links out of the folder, links to folders, pipes and devices | left out, with the reason |
| archive members: absolute or `..` paths, links, devices, encrypted, expanding over 200 times | left out, with the reason |
| hidden files (name starts with a dot), `__MACOSX` | not looked at |
| arrays, all in one file or one a file | by the same rules, over all of them; floats in [0, 1] or [-1, 1] scaled, others need `gray_window=` |

What was left out stands in `dataset.report`, what was chosen in `dataset.notes`, both in `report.txt` of the cache entry.
Examples are stored in one fixed shuffled order, so that a split or a `limit` is the same for every run and every seed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genzoo.data.batches import Batches, to_float
    from genzoo.data.dataset import Dataset, contact_sheet, describe
    from genzoo.data.opening import open_data, seen_from
    from genzoo.data.settings import DataSettings
    from genzoo.data.sources.names import available

_HOME = {
    "Batches": "batches",
    "to_float": "batches",
    "Dataset": "dataset",
    "describe": "dataset",
    "contact_sheet": "dataset",
    "available": "sources.names",
    "open_data": "opening",
    "seen_from": "opening",
    "DataSettings": "settings",
}

__all__ = [
    "open_data",
    "seen_from",
    "DataSettings",
    "Dataset",
    "Batches",
    "to_float",
    "available",
    "describe",
    "contact_sheet",
]


def __getattr__(name: str) -> Any:
    """Import on first use: the names of data sets are known without importing torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'genzoo.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"genzoo.data.{_HOME[name]}"), name)
