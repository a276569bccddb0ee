"""Augment a few labelled volumes by translation, from DICOM or NIfTI to the same: the lesion that is easy to see with contrast medium, without it.

As `augment_scans.py` does it with slices in PNG files, here as a clinic has it: volumes of drawn patients (phantoms.py) in DICOM or NIfTI, a mask of
a lesion in the liver as NIfTI, Hounsfield units from file to file, training and test patients apart, Dice by patient. With contrast medium
the lesion stands out by some 50 HU, without it by 12, in noise of as much; labelled are volumes with it, to be segmented are volumes without.

    python examples/augment_volumes.py                   about six minutes
    python examples/augment_volumes.py --files nifti
    python examples/augment_volumes.py --short           seconds
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import torch
from augment_scans import OFFSET, WINDOW, interval, seen, segmenter
from torch import Tensor, nn

import genzoo
from genzoo.data.drawing.images import grid, save_png
from genzoo.naming.registry import system_class
from genzoo.use.translate import translate_files

ARMS = ("labelled volumes alone", "generated volumes added", "real volumes added")


def write_volume(folder: Path, name: str, volume: np.ndarray, who: int, form: str) -> Path:
    """Write a volume [L, P, S] in HU as a DICOM series or a NIfTI file."""
    if form == "dicom":
        return phantoms.write_dicom(folder / name, volume, who, name)
    return phantoms.write_nifti(folder / f"{name}.nii.gz", volume)


def read_volume(path: Path) -> np.ndarray:
    """Read a volume [L, P, S] in HU by pydicom or nibabel alone."""
    return phantoms.read_dicom(path) if path.is_dir() else phantoms.read_nifti(path)


def slices(volumes: list[np.ndarray]) -> Tensor:
    """What networks see of volumes in HU: axial slices [n, 1, rows, columns], patient after patient."""
    return seen(np.concatenate([v.transpose(2, 1, 0) for v in volumes]) + OFFSET)


def masks(paths: list[Path]) -> Tensor:
    """Slices of masks, bool [n, 1, rows, columns]; numbers of a file are rounded before they are compared."""
    return torch.from_numpy(np.concatenate([np.rint(read_volume(p)).transpose(2, 1, 0) == 1 for p in paths]))[:, None]


@torch.no_grad()
def volume_dice(net: nn.Module, x: Tensor, outline: Tensor) -> float:
    """Mean over patients of twice the overlap over the sum of both volumes."""
    found = torch.cat([net(part) > 0 for part in x.split(48)]).unflatten(0, (-1, phantoms.SIZE[2])).flatten(1)
    true = outline.unflatten(0, (-1, phantoms.SIZE[2])).flatten(1)
    return float((2 * (found & true).sum(1) / (found.sum(1) + true.sum(1)).clamp(min=1)).mean())


def volume_trial(
    run: Any, out: Path, seed: int, test: tuple[Tensor, Tensor], form: str, n: int, steps: int
) -> dict[str, float]:
    """Write labelled patients, translate their volumes through files, train a segmenter in every way, return its Dice without contrast medium."""
    people = [phantoms.patient(3000 + 100 * seed + i) for i in range(n)]
    home, real, made, outlines = out / f"trial-{seed}", [], [], []
    for i, p in enumerate(people):
        path = write_volume(home / "labelled", f"{i:02d}", p.medium, p.number, form)
        outlines.append(phantoms.write_nifti(home / "lesions" / f"{i:02d}.nii.gz", p.lesion))
        written = translate_files(
            run, path, "a2b", out=home / "generated" / (path.name if path.is_dir() else ""), overwrite=True
        )
        made.append(read_volume(written[0].parent if path.is_dir() else written[0]))
        real.append(p.plain)
    outline, x = masks(outlines), slices([p.medium for p in people])
    twice = torch.cat([outline, outline])
    sets = ((x, outline), (torch.cat([x, slices(made)]), twice), (torch.cat([x, slices(real)]), twice))
    return {
        name: volume_dice(segmenter(*data, seed=seed, steps=steps), *test)
        for name, data in zip(ARMS, sets, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
    parser.add_argument("--out", default="augmented", help="folder of the pictures, files and runs")
    parser.add_argument("--files", choices=("dicom", "nifti"), default="dicom", help="what volumes are written as")
    parser.add_argument("--system", default="pix2pix", help="a translator: pix2pix learns from pairs, cyclegan without")
    given = parser.parse_args()
    out = Path(given.out)
    keys: dict[str, Any] = {"width": 16, "layers": 2, "batch": 8, "lr": 4e-4, "steps": 2 if given.short else 600}
    if given.system.startswith("cyclegan"):
        keys |= {"blocks": 3, "identity": 0.0}
    form, n, (trials, labelled, tested, learn) = (
        given.files,
        4 if given.short else 40,
        (2, 2, 2, 2) if given.short else (4, 6, 16, 300),
    )
    for i in range(n):
        p = phantoms.patient(i)
        paired = system_class(given.system).data == "paired"
        write_volume(out / "volumes" / "A", f"{i:03d}", p.medium, i, form)
        other = p if paired else phantoms.patient(1000 + i)
        write_volume(out / "volumes" / "B", f"{i:03d}", other.plain, other.number, form)
    run = genzoo.train(
        given.system, str(out / "volumes"), bits=16, gray_window=(WINDOW[0] - OFFSET, WINDOW[1] - OFFSET), **keys, seed=0,
        runs=str(out / "runs"), name=f"{given.system}-{form}", quiet=True,
    )  # fmt: skip
    people = [phantoms.patient(2000 + i) for i in range(tested)]
    lesions = [phantoms.write_nifti(out / "test" / f"{i:02d}.nii.gz", p.lesion) for i, p in enumerate(people)]
    test = slices([p.plain for p in people]), masks(lesions)
    found = [volume_trial(run, out, seed, test, form, labelled, learn) for seed in range(trials)]
    print(
        f"Dice of the lesion in {tested} held-out volumes without contrast medium ({form}); {trials} trials of {labelled} labelled patients:"
    )
    for name in ARMS:
        mean, half = interval([f[name] for f in found])
        print(f"  {name:26} {mean:.3f} ± {half:.3f}")
    ours, alone = ARMS[1], ARMS[0]
    mean, half = interval([f[ours] - f[alone] for f in found])
    print(f"{ours}, minus {alone}: {mean:+.3f} ± {half:.3f}")
    p = phantoms.patient(3000)
    made = read_volume(out / "trial-0" / "generated" / ("00" if form == "dicom" else "00.nii.gz"))
    rows = [slices([v]) for v in (p.medium, p.plain, made)] + [
        torch.from_numpy(p.lesion.transpose(2, 1, 0).copy())[:, None] * 2.0 - 1
    ]
    save_png(out / "volumes.png", grid(torch.cat(rows), columns=phantoms.SIZE[2]))
    print(f"wrote {out}/volumes.png: all slices of a patient with contrast medium, without, generated, and the lesion")


if __name__ == "__main__":
    main()
