"""Images: gray or in colours, with or without transparency; alone, with labels or captions, or as the two sides of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.data.arrangements import SIDES, Arrangement
from genzoo.data.drawing import STILLS
from genzoo.data.kinds import Facts, Kind, register

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from genzoo.data.dataset import Dataset
    from genzoo.data.settings import DataSettings


class Image(Kind):
    """Images."""

    name = "image"
    dims = 3
    thing = "image"
    values = "float32 [B, C, H, W] in [-1, 1]"
    stored = "uint8 or uint16 [N, C, H, W]"
    aliases = ("images", "photos", "faces")
    example = "digits"
    endings = (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "mpo", "gif", "bmp", "dib", "webp", "tif", "tiff", "avif"),
        *("jp2", "j2k", "jpf", "jpx", "ppm", "pgm", "pbm", "pnm"),
        *("dcm", "dicom", "ima", "nii", "nii.gz", "nrrd"),
    )
    mirrored = True
    sides = 2
    colours = True
    impossible = ((3, 0, 8), (0, 8, 8), (1, 3))
    suffixes = (*STILLS, ".npy", ".npz")
    bits_of = "dim"

    def open(
        self, source: Any, settings: DataSettings, split: str, arrangement: Arrangement, *, quiet: bool
    ) -> Dataset:
        """Decode every image once, to one size and one number of channels."""
        from genzoo.data.entries.images import open_images

        return open_images(source, settings, split, arrangement, quiet=quiet)

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """Tell the shape that batches have (of pairs side B's), classes, grey levels, vocabulary; of pairs what side A has."""
        main = dataset.fields["b"] if dataset.paired else dataset.examples
        shape, crop = tuple(main.shape[1:]), dataset.settings.crop
        if crop:
            shape = (shape[0], crop, crop)
        pairs = {"inputs": int(dataset.fields["a"].shape[1]), "instances": dataset.instances} if dataset.paired else {}
        return {
            "shape": shape,
            **pairs,
            "classes": len(dataset.class_names),
            "levels": 256 if dataset.settings.binarize == "none" else 2,
            **({"vocabulary": dataset.vocabulary} if dataset.vocabulary else {}),
        }

    def form_for(self, facts: Facts, trained: Facts) -> dict[str, Any]:
        """Tell the size and the channels that networks take."""
        shape = facts.get("shape", ())
        return {"size": tuple(shape[1:]), "channels": shape[0]} if len(shape) == 3 and not trained.get("crop") else {}

    def picture(self, samples: Tensor, *, columns: int | None = None) -> np.ndarray:
        """Lay them out in a grid."""
        from genzoo.data.drawing.images import grid

        return grid(samples, columns=columns)

    def write_one(self, path: Path, sample: Tensor, facts: Facts) -> Path:
        """Write its pixels as they are, not enlarged."""
        from genzoo.data.drawing.images import save_png, to_uint8

        pixels = to_uint8(sample).permute(1, 2, 0).numpy()
        return save_png(path, pixels[..., 0] if pixels.shape[2] == 1 else pixels)

    def shown(self, dataset: Dataset, n: int) -> Tensor:
        """Return the first `n` images, [n, C, H, W]; sides A and B alternate."""
        import numpy as np
        import torch

        sides = [self.looked_at(dataset, f, n) for f in (self.name, *SIDES) if f in dataset.fields]
        each = [np.array(a[: -(-n // len(sides))]) for a in sides]
        shortest, channels = min(len(a) for a in each), max(a.shape[1] for a in each)
        floats = [torch.from_numpy(a[:shortest]) for a in each]
        floats = [(x if len(x) == 0 or x.shape[1] == channels else x.expand(-1, channels, -1, -1)) for x in floats]
        return torch.stack(floats, 1).reshape(-1, channels, *each[0].shape[2:])[:n]

    def looked_at(self, dataset: Dataset, field: str, n: int = 32) -> np.ndarray:
        """Return the first `n` images of a field as people see them, float32 [n, 1, 3 or 4, H, W] in [-1, 1].

        Maps of numbers are spread over the gray values, and the channel of instances is left out; other numbers of channels show the first.
        """
        import numpy as np

        rows = np.array(dataset.fields[field][:n])
        rows = rows[:, :-1] if dataset.instances and field == SIDES[0] else rows
        top = 65535.0 if rows.dtype == np.uint16 else 255.0
        if dataset.settings.label_maps and field == SIDES[0]:
            top = max(float(rows.max(initial=0)), 1.0)
        rows = rows if rows.shape[1] in (1, 3, 4) else rows[:, :1]
        return (rows.astype(np.float32) / top * 2 - 1).astype(np.float32)


register(Image())
