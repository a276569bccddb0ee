"""NIfTI out: the header that came in with other values; both matrices, spacing and units stay."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.errors import disk_full_is_said
from genzoo.core.files import replacing
from genzoo.data.decode.scans.nifti import Nifti, header_type, packed
from genzoo.use.scans.study import Scan, Steps, steps
from genzoo.use.scans.writing import Writing


def write(scan: Scan, values: np.ndarray, to: Writing) -> list[Path]:
    """Write a changed volume as it was stored: in whole numbers with its own slope where that reaches, else with another; floats as floats.

    Args:
        scan: What it was.
        values: What became of it, float32 [times, K, I, J].
        to: What is the same for all scans. Without what is of the patient there is no free text and no extension in the header.
    """
    volume, name = scan.volume, scan.files[0]
    assert isinstance(volume, Nifti)
    _, dtype, offset, slope, inter = volume.spec
    with to.here.open(name) as opened:
        small = packed(opened)
        start = gzip.GzipFile(fileobj=opened).read(offset) if small else opened.read(offset)
    header = header_type(start).from_fileobj(io.BytesIO(start), check=False)
    step = _steps(to.window, slope, inter, dtype) if dtype.kind in "ui" else None
    header.set_data_dtype(step.dtype if step else np.float32)
    header["scl_slope"], header["scl_inter"] = (step.slope, step.intercept) if step else (1.0, 0.0)
    header["descrip"], header["vox_offset"] = to.note.words.encode("ascii", "replace")[:79], 0
    header["cal_min"], header["cal_max"] = to.window
    if to.anonymize:
        for key in ("db_name", "aux_file", "intent_name"):
            if key in header:
                header[key] = b""
        header.extensions.clear()
    path = to.target(name, ".nii.gz" if small else ".nii")
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = header.get_data_dtype()
    with disk_full_is_said(path, values.size * stored.itemsize), replacing(path) as draft, open(draft, "wb") as plain:
        file: Any = gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) if small else plain
        ahead = io.BytesIO()
        header.write_to(ahead)
        file.write(ahead.getvalue().ljust(int(header["vox_offset"]), b"\0"))
        for time in range(volume.times):
            for k in range(volume.shape[2]):
                cells = values[time, k].T  # the first axis is the fastest
                file.write(np.ascontiguousarray(step.stored(cells) if step else cells).astype(stored).tobytes())
        file.close()
    return [path]


def _steps(window: tuple[float, float], slope: float, inter: float, dtype: np.dtype) -> Steps:
    """Choose how values are kept in whole numbers, with a slope and an intercept that the header has room for: 32 bits each."""
    span = np.iinfo(dtype)
    step = steps(window, slope, inter, span.min, span.max, dtype)
    if step.dtype != dtype:  # the usual type of 16 bits is signed here
        step = Steps(step.slope, (window[0] + window[1]) / 2, np.dtype(np.int16))
    return Steps(float(np.float32(step.slope)), float(np.float32(step.intercept)), step.dtype)
