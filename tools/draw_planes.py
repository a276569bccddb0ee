"""Draw docs/scans-planes.png: which side of a patient is up in axial, coronal and sagittal slices, cut by genzoo from a volume of known parts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genzoo.data.decode.scans import nifti
from genzoo.data.decode.scans.volume import SHELF, cuts
from genzoo.data.sources.files import OneFile

SIDES = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
"""Letters at left, right, top and bottom: right, left, front (anterior), back (posterior), head (superior), feet (inferior)."""


def body() -> np.ndarray:
    """A trunk in Hounsfield units [L, P, S], 2 mm a cell: lungs, a heart at the left, a liver at the right, a spine at the back."""
    left, back, up = np.meshgrid(*(np.linspace(-1, 1, n) for n in (160, 110, 180)), indexing="ij")

    def ball(x: float, y: float, z: float, a: float, b: float, c: float) -> np.ndarray:
        return ((left - x) / a) ** 2 + ((back - y) / b) ** 2 + ((up - z) / c) ** 2 < 1

    cells = np.full(left.shape, -1000.0)
    trunk = (left / 0.86) ** 2 + (back / 0.8) ** 2 < 1 - 0.25 * np.clip(up - 0.5, 0, 1) * 2
    cells[trunk] = -90
    cells[trunk & ((left / 0.78) ** 2 + (back / 0.68) ** 2 < 1 - 0.25 * np.clip(up - 0.5, 0, 1) * 2)] = 40
    for side in (-1, 1):
        cells[ball(0.4 * side, 0.0, 0.45, 0.3, 0.55, 0.5)] = -820
    cells[ball(0.16, -0.22, 0.25, 0.3, 0.34, 0.26)] = 110  # the heart, at the patient's left
    cells[ball(-0.36, -0.1, -0.3, 0.42, 0.5, 0.32)] = 70  # the liver, at his right
    cells[ball(0.42, 0.3, -0.25, 0.16, 0.2, 0.18)] = 95  # the spleen
    cells[((left / 0.12) ** 2 + ((back - 0.5) / 0.15) ** 2 < 1) & trunk] = 420
    cells[(abs(left) < 0.03) & (back > 0.62) & (back < 0.72) & (np.sin(up * 24) > -0.3) & trunk] = 350
    return cells


def main() -> None:
    """Draw the three planes side by side."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "body.nii"
        nibabel.save(nibabel.Nifti1Image(body().astype(np.int16), np.diag([-2.0, -2.0, 2.0, 1.0])), path)
        volume = nifti.read(OneFile(path), path.name)
        tiles = []
        for plane, letters in SIDES.items():
            found = cuts(volume, 0, plane)
            values = found[len(found) // 2 - (12 if plane != "axial" else 20)].read().shares((-200.0, 300.0), 255)
            tiles.append((plane, letters, Image.fromarray(values)))
        SHELF.clear()
    high, gap = 180, 84
    page = Image.new("RGB", (sum(t[2].width for t in tiles) * 2 + gap * 4, high * 2 + 2 * gap), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(22)
    at = gap
    for plane, (west, east, north, south), tile in tiles:
        wide, tall = tile.width * 2, tile.height * 2
        top = gap + (high * 2 - tall) // 2
        page.paste(tile.resize((wide, tall), Image.Resampling.BICUBIC).convert("RGB"), (at, top))
        for letter, x, y in (
            (west, at - 16, top + tall / 2),
            (east, at + wide + 16, top + tall / 2),
            (north, at + wide / 2, top - 16),
            (south, at + wide / 2, top + tall + 16),
        ):
            pen.text((x, y), letter, "black", font, anchor="mm")
        pen.text((at + wide / 2, 16), plane, "black", font, anchor="mm")
        at += wide + gap
    page.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(
        Path(__file__).parents[1] / "docs" / "scans-planes.png", optimize=True
    )


if __name__ == "__main__":
    main()
