"""Scans through a system, each back in its own format."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from genzoo.core.errors import DiskFull, UserError
from genzoo.data.decode.scans.volume import SHELF
from genzoo.data.progress import bar
from genzoo.use.common.outputs import free
from genzoo.use.scans import dicom, nifti, nrrd
from genzoo.use.scans.study import Scan, changed, studies
from genzoo.use.scans.writing import Note, Writing

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".dcm")
WRITERS: dict[str, Callable[[Scan, np.ndarray, Writing], list[Path]]] = {
    "dicom": dicom.write,
    "nifti": nifti.write,
    "nrrd": nrrd.write,
}
"""By format: writes what became of a scan."""


def through(
    files: Sequence[tuple[Path, Path]],
    out: Path,
    change: Callable[[np.ndarray], np.ndarray],
    window: tuple[float, float],
    plane: str | None,
    note: Note,
    *,
    anonymize: bool,
    overwrite: bool,
    quiet: bool,
) -> list[Path]:
    """Change scans and write each in the format that it came in; what cannot be used is said, and the rest is done.

    Args:
        files: The scans, each with its path below where it was looked for.
        out: The folder of the results, where they have the names of the files; of a single file also a name with its ending.
        change: From values [H, W, 1], float32 in the units of the file, to values within the window.
        window: Values that are black and white to the networks.
        plane: The plane that they were trained on.
        note: How results were made.
        anonymize: Keep nothing of patients, their names in file names neither.
        overwrite: Replace results of an earlier call; never a scan that was read.
        quiet: Show no progress.

    Raises:
        UserError: None of the files can be used, or `out` cannot be written. Of a single scan, why it cannot be used.
    """
    here, found = studies(files, lambda text: print(text, file=sys.stderr))
    if not found:
        raise UserError(f"'{files[0][0]}' holds no scan that can be read")
    single = out.name.lower().endswith(ENDINGS) and not out.is_dir()
    if single and (len(found) > 1 or len(found[0].files) > 1):
        raise UserError(f"out={out} names one file; give a folder for the results of several")
    if not single and out.suffix and not out.is_dir():
        raise UserError(f"out={out}: scans come back as scans, in a folder under their names; give a folder")
    originals, numbered = {p.resolve() for p in here.paths.values()}, Counter[str]()

    def target(name: str, ending: str) -> Path:
        if single:
            path = out
            if not path.name.lower().endswith(ending):
                raise UserError(f"out={out}: the result is {ending}, as the file is; give such a name, or a folder")
        elif anonymize:
            numbered[ending] += 1
            path = out / f"{numbered[ending]:05d}{ending}"
        else:
            path = out / name
        return free(path, overwrite=overwrite and path.resolve() not in originals)

    written: list[Path] = []
    to = Writing(here, window, target, note, anonymize)
    total = sum(s.volume.shape[2] * s.volume.times for s in found)
    try:
        with bar(total, "translating", quiet, "slices") as advance:
            for scan in found:
                try:
                    values = changed(scan, change, window, plane, advance)
                    written += WRITERS[scan.format](scan, values, to)
                except UserError as reason:
                    if len(found) == 1 or isinstance(reason, DiskFull):
                        raise
                    print(f"left out: {reason}", file=sys.stderr)
    finally:
        SHELF.clear()
    if not written:
        raise UserError(f"'{files[0][0]}' holds no scan that can be changed")
    return written
