"""Take the contrast medium out of CT scans, without a single pair: CycleGAN on two folders of DICOM studies, Hounsfield units in and out.

Scans with contrast medium are of some patients, scans without it of others. A translator learns from both what the medium looks like.
Of patients that it has never seen, who have both scans here (they are drawn, see phantoms.py), it makes the one of the other: DICOM in, DICOM out,
in Hounsfield units, at the same place of the same patient. Numbers say how well:

* L1 inside the body: the mean absolute difference in HU from the scan without contrast medium. Both scans have noise of their own, so it cannot
  be 0: what two scans without contrast medium of one patient differ by is given beside it, and what a scan that is left as it is differs by;
* the same where the medium is (the two scans differ by more than 60 HU) and elsewhere: a tenth of the body and the rest, which should stay as it is;
* the shift: by how many HU the mean inside the body changes, beside by how many it should.

Two things that need no network are learned from the same two folders and measured beside it: every value goes down by as much as the means of both
lie apart, and every value becomes the one of equal rank on the other side (matched histograms).

    python examples/ct_contrast.py            about ten minutes
    python examples/ct_contrast.py --short    seconds

Files that pydicom and nibabel ship go through as well, to show that real headers come back as they were; what is seen in them means nothing.
Drawn patients are not real ones: nothing here says what such a network does to a tumour that it has never seen.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import phantoms
import pydicom
import torch
from augment_scans import interval
from pydicom.data import get_testdata_file

import genzoo
from genzoo.data.drawing.images import grid, save_png
from genzoo.use.translate import translate_files

WINDOW = (-200, 400)
"""What is black and white to the networks, in HU: kidneys and vessels with contrast medium are inside, lungs and teeth are not."""
TAKEN = 60
"""HU by which the scans of a patient differ where there is contrast medium; four times the noise of both."""

WAYS = ("made by the network", "left as it is", "lowered by the means' distance", "histogram matched")


def studies(out: Path, n: int) -> str:
    """Write the training data: `n` patients with contrast medium, as many others without."""
    for i in range(n):
        with_medium, without = phantoms.patient(i), phantoms.patient(1000 + i)
        phantoms.write_dicom(out / "contrast" / f"{i:03d}", with_medium.medium, i, "portal venous")
        phantoms.write_dicom(out / "plain" / f"{i:03d}", without.plain, 1000 + i, "native")
    return f"{out / 'contrast'},{out / 'plain'}"


def without_networks(n: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Learn from the values inside the bodies of the training data what needs no network: by how much they differ, and which has which rank."""
    medium = np.concatenate([p.medium[p.body] for p in map(phantoms.patient, range(n))]).clip(*WINDOW)
    plain = np.concatenate([p.plain[p.body] for p in map(phantoms.patient, range(1000, 1000 + n))]).clip(*WINDOW)
    ranks = np.linspace(0, 1, 1001)
    before, after = np.quantile(medium, ranks), np.quantile(plain, ranks)
    return {
        WAYS[2]: lambda v: v + (plain.mean() - medium.mean()),
        WAYS[3]: lambda v: np.interp(v, before, after),
    }


def measured(made: np.ndarray, p: phantoms.Patient) -> dict[str, float]:
    """Compare a volume in HU with the scan without contrast medium, inside the body and the window."""
    seen, true, before = (v.clip(*WINDOW) for v in (made, p.plain, p.medium))
    there = p.medium - p.plain > TAKEN
    return {
        **{
            name: float(np.abs(seen - true)[where].mean())
            for name, where in (("all", p.body), ("medium", p.body & there), ("rest", p.body & ~there))
        },
        "shift": float((seen - before)[p.body].mean()),
        "shift that is right": float((true - before)[p.body].mean()),
    }


def again(p: phantoms.Patient) -> float:
    """What two scans of one patient differ by inside the body and the window: the noise of both, measured in fat, of which nothing changes."""
    fat = p.body & (np.abs(p.plain + 97) < 45) & (np.abs(p.medium + 97) < 45)
    return float(np.abs(p.plain - p.medium)[fat].mean())


def evaluated(
    run: Any, out: Path, n: int, simple: dict[str, Callable[[np.ndarray], np.ndarray]]
) -> list[dict[str, float]]:
    """Translate patients of their own through DICOM files, and through NIfTI as well, which has to give the same; one record a patient."""
    found: list[dict[str, float]] = []
    for i in range(n):
        p = phantoms.patient(2000 + i)
        phantoms.write_dicom(out / "test" / f"{i}", p.medium, 2000 + i, "portal venous")
        translate_files(run, out / "test" / f"{i}", "a2b", out=out / "made" / f"{i}", overwrite=True)
        made = phantoms.read_dicom(out / "made" / f"{i}")
        phantoms.write_nifti(out / "test" / f"{i}.nii.gz", p.medium)
        (other,) = translate_files(
            run, out / "test" / f"{i}.nii.gz", "a2b", out=out / "made" / f"{i}.nii.gz", overwrite=True
        )
        apart = float(np.abs(phantoms.read_nifti(other) - made).max())
        found.append({**records(made, p, simple), "DICOM and NIfTI apart": apart})
    return found


def records(
    made: np.ndarray, p: phantoms.Patient, simple: dict[str, Callable[[np.ndarray], np.ndarray]]
) -> dict[str, float]:
    """Measure all ways for one patient."""
    before = p.medium.clip(*WINDOW)
    volumes = {WAYS[0]: made, WAYS[1]: before, **{name: change(before) for name, change in simple.items()}}
    return {f"{way}, {k}": v for way, volume in volumes.items() for k, v in measured(volume, p).items()} | {
        "noise": again(p)
    }


def said(found: list[dict[str, float]]) -> list[str]:
    """Write the table: means over patients and 95 % intervals."""

    def column(key: str, sign: str = "") -> str:
        mean, half = interval([f[key] for f in found])
        return f"{mean:{sign}6.1f} ± {half:4.1f}"

    heads = ("inside the body", "medium", "elsewhere")
    lines = ["  " + "  ".join([f"{'L1 from the scan without it, HU':34}", *(f"{head:>15}" for head in heads)])]
    lines += [f"  {way:34} {'  '.join(column(f'{way}, {k}') for k in ('all', 'medium', 'rest'))}" for way in WAYS]
    lines.append(f"  {'two scans alike, by their noise':34} {column('noise')}")
    lines += [f"  {'shift of the mean':34} {column(f'{WAYS[0]}, shift', '+')}"]
    lines += [f"  {'shift that is right':34} {column(f'{WAYS[0]}, shift that is right', '+')}"]
    apart = max(f["DICOM and NIfTI apart"] for f in found)
    return [*lines, f"  DICOM and NIfTI of one scan apart by at most {apart:.1f} HU"]


def real_files(run: Any, out: Path) -> list[str]:
    """Send files that pydicom and nibabel ship through, and say what came back."""
    said = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = get_testdata_file("CT_small.dcm", download=False)
        if path:
            (made,) = translate_files(run, str(path), "a2b", out=out / "real", overwrite=True)
            old, new = pydicom.dcmread(str(path)), pydicom.dcmread(made)
            same = all(
                old.get(k) == new.get(k)
                for k in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
            )
            said.append(
                f"CT_small.dcm ({new.Columns}x{new.Rows}): {'its place is as it was' if same else 'its PLACE CHANGED'}, type {new.ImageType[0]}"
            )
    volume = Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"
    if volume.is_file():
        (made,) = translate_files(run, str(volume), "a2b", out=out / "real", overwrite=True)
        same = np.array_equal(nibabel.load(volume).affine, nibabel.load(made).affine)
        said.append(f"anatomical.nii: {'its matrix is as it was' if same else 'its MATRIX CHANGED'}")
    return said


def picture(out: Path, n: int) -> torch.Tensor:
    """Rows: with contrast medium, without, made."""
    rows = []
    for volume in (
        lambda i, p: p.medium,
        lambda i, p: p.plain,
        lambda i, p: phantoms.read_dicom(out / "made" / f"{i}"),
    ):
        for i in range(n):
            cells = volume(i, phantoms.patient(2000 + i))[:, :, phantoms.SIZE[2] // 2].T
            rows.append(
                torch.from_numpy(
                    ((cells.clip(*WINDOW) - WINDOW[0]) / (WINDOW[1] - WINDOW[0]) * 2 - 1).astype(np.float32)
                )[None]
            )
    return torch.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
    parser.add_argument("--out", default="contrast", help="folder of the scans, pictures and runs")
    parser.add_argument("--steps", type=int, default=600)
    given = parser.parse_args()
    out, n = Path(given.out), 2 if given.short else 24
    keys: dict[str, Any] = {
        "width": 16,
        "layers": 2,
        "blocks": 3,
        "batch": 4,
        "lr": 4e-4,
        "identity": 0.5,
        "steps": 2 if given.short else given.steps,
    }
    run = genzoo.train(
        "cyclegan",
        studies(out, n),
        gray_window=WINDOW,
        bits=16,
        **keys,
        seed=0,
        runs=str(out / "runs"),
        name="cyclegan",
        quiet=True,
    )
    test = 2 if given.short else 8
    found = evaluated(run, out, test, without_networks(n))
    print(
        f"{test} patients of their own, {phantoms.SIZE[2]} slices each, inside the body and a window of {WINDOW[0]} to {WINDOW[1]} HU "
        "(means over patients, 95 % intervals of Student's t):"
    )
    print("\n".join(said(found)))
    print("\n".join(f"  {line}" for line in real_files(run, out)))
    save_png(out / "scans.png", grid(picture(out, test), columns=test))
    print(f"wrote {out}/scans.png: with contrast medium, without it, made; the studies are in {out}/made")


if __name__ == "__main__":
    main()
