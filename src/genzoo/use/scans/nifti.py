"""NIfTI out: the header that came in with other values; both matrices, spacing and units stay."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.errors import disk_full_is_said
from genzoo.core.files import replacing
from genzoo.data.decode.scans.nifti import Nifti
from genzoo.data.decode.scans.volume import library
from genzoo.use.scans.study import Here, Scan, Steps, steps


def write(
    scan: Scan,
    here: Here,
    values: np.ndarray,
    window: tuple[float, float],
    target: Callable[[str, str], Path],
    words: str,
    *,
    anonymize: bool,
) -> list[Path]:
    """Write a changed volume as it was stored: in whole numbers with its own slope where that reaches, else with another; floats as floats.

    Args:
        scan: What it was.
        here: Where its file is.
        values: What became of it, float32 [times, K, I, J].
        window: The least and the largest of these values.
        target: From the name of the file and the ending that it needs to where it goes.
        words: How it was made.
        anonymize: Keep no free text and no extension of the header.
    """
    volume, name = scan.volume, scan.files[0]
    assert isinstance(volume, Nifti)
    nibabel = library("nibabel")
    _, dtype, offset, slope, inter = volume.spec
    with here.open(name) as opened:
        packed = opened.read(2) == b"\x1f\x8b"
        opened.seek(0)
        start = gzip.GzipFile(fileobj=opened).read(offset) if packed else opened.read(offset)
    two = start[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")
    header = (nibabel.Nifti2Header if two else nibabel.Nifti1Header).from_fileobj(io.BytesIO(start), check=False)
    whole = dtype.kind in "ui"
    step = steps(window, slope, inter, *((np.iinfo(dtype).min, np.iinfo(dtype).max) if whole else (0, 0)), dtype)
    if whole and step.dtype != dtype:  # the usual type of 16 bits is signed here
        step = Steps(step.slope, float(np.float32((window[0] + window[1]) / 2)), np.dtype(np.int16))
    if whole:
        step = Steps(
            float(np.float32(step.slope)), float(np.float32(step.intercept)), step.dtype
        )  # what the header has room for
    header.set_data_dtype(step.dtype if whole else np.float32)
    header["scl_slope"], header["scl_inter"] = (step.slope, step.intercept) if whole else (1.0, 0.0)
    header["descrip"], header["vox_offset"] = words.encode("ascii", "replace")[:79], 0
    header["cal_min"], header["cal_max"] = window
    if anonymize:
        for key in ("db_name", "aux_file", "intent_name"):
            if key in header:
                header[key] = b""
        header.extensions.clear()
    path = target(name, ".nii.gz" if packed else ".nii")
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = header.get_data_dtype()
    with disk_full_is_said(path, values.size * stored.itemsize), replacing(path) as draft, open(draft, "wb") as plain:
        file: Any = gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) if packed else plain
        ahead = io.BytesIO()
        header.write_to(ahead)
        file.write(ahead.getvalue().ljust(int(header["vox_offset"]), b"\0"))
        for time in range(volume.times):
            for k in range(volume.shape[2]):
                cells = values[time, k].T  # the first axis is the fastest
                file.write(np.ascontiguousarray(step.stored(cells) if whole else cells).astype(stored).tobytes())
        file.close()
    return [path]
