"""NIfTI out: the header that came in with other values; both matrices, spacing and units stay."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genzoo.core.files import replacing
from genzoo.data.decode.scans.nifti import Nifti
from genzoo.data.decode.scans.volume import library
from genzoo.use.scans.study import Here, Scan, steps


def write(
    scan: Scan, here: Here, values: np.ndarray, window: tuple[float, float], target: Callable[[str, str], Path], words: str, *, anonymize: bool
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
    with here.open(name) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        start = gzip.GzipFile(fileobj=file).read(2**16) if packed else file.read(2**16)
    two = start[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")
    header = (nibabel.Nifti2Header if two else nibabel.Nifti1Header).from_fileobj(io.BytesIO(start), check=False)
    shape, dtype, _, slope, inter = volume.spec
    written = np.dtype(np.float32)
    whole = dtype.kind in "ui"
    step = steps(window, slope, inter, *((np.iinfo(dtype).min, np.iinfo(dtype).max) if whole else (0, 0)), dtype)
    if whole:
        if step.dtype != dtype:  # NIfTI's own type of 16 bits is signed
            step = steps(window, step.slope, (window[0] + window[1]) / 2, -32768, 32767, np.int16)
        written = step.dtype
    header.set_data_dtype(written.newbyteorder(dtype.byteorder) if whole else written)
    header["descrip"] = words.encode("ascii", "replace")[:79]
    if anonymize:
        for key in ("db_name", "aux_file", "intent_name"):
            if key in header:
                header[key] = b""
        header.extensions.clear()
    header["cal_min"], header["cal_max"] = window
    path = target(name, ".nii.gz" if packed else ".nii")
    header["scl_slope"], header["scl_inter"] = (step.slope, step.intercept) if whole else (1.0, 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    offset = 544 if two else 352
    extra = io.BytesIO()
    header.extensions.write_to(extra, header.endianness != nibabel.volumeutils.native_code) if len(header.extensions) else None
    ahead = b"\x01\0\0\0" + extra.getvalue() if len(header.extensions) else b"\0\0\0\0"
    size = header.template_dtype.itemsize + len(ahead)
    offset = max(offset, -(-size // 16) * 16)
    header["vox_offset"] = offset
    header["magic"] = b"n+2" if two else b"n+1"
    with replacing(path) as draft, open(draft, "wb") as plain:
        file = gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) if packed else plain
        file.write((bytes(header.binaryblock) + ahead).ljust(offset, b"\0"))
        for time in range(volume.times):
            for k in range(volume.shape[2]):
                cells = values[time, k].T  # the first axis is the fastest
                stored = step.stored(cells) if whole else cells.astype(np.float32)
                file.write(np.ascontiguousarray(stored, header.get_data_dtype()).tobytes())
        if packed:
            file.close()
    return [path]
