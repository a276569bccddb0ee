"""NRRD out: the header that came in with other values."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from genzoo.core.files import write_atomic
from genzoo.data.decode.scans.nrrd import Nrrd
from genzoo.data.decode.scans.volume import library
from genzoo.use.scans.study import Scan
from genzoo.use.scans.writing import Writing

_OWN = ("type", "dimension", "sizes", "space", "space dimension", "space directions", "space origin", "space units", "kinds", "endian", "encoding",
        "spacings", "thicknesses", "axis mins", "axis maxs", "centers", "centerings", "labels", "units", "measurement frame")  # fmt: skip
"""Fields of the format; all others are somebody's notes."""


def write(scan: Scan, values: np.ndarray, to: Writing) -> list[Path]:
    """Write a changed volume: whole numbers rounded where the type has room for the values, else floats; NRRD has no slope.

    Args:
        scan: What it was.
        values: What became of it, float32 [times, K, I, J].
        to: What is the same for all scans. Without what is of the patient there are no notes.
    """
    volume = scan.volume
    assert isinstance(volume, Nrrd)
    header = {k: v for k, v in volume.header.items() if k in _OWN or not to.anonymize}
    whole = volume.kind.kind in "ui"
    if whole:
        window, span = to.window, np.iinfo(volume.kind)
        whole = window[0] >= span.min and window[1] <= span.max and window[1] - window[0] >= 200
    array = np.asarray(values).transpose(0, 2, 3, 1)  # [times, I, J, K]
    array = np.rint(array).astype(volume.kind.newbyteorder("=")) if whole else array.astype(np.float32)
    order = list(volume.order if volume.order[0] >= 0 else volume.order[1:])
    array = array if volume.order[0] >= 0 else array[0]
    array = array.transpose(np.argsort(order)).reshape([int(n) for n in volume.header["sizes"]])
    for key in ("type", "endian", "sizes", "dimension", "byte skip", "byteskip", "line skip", "lineskip"):
        header.pop(key, None)
    header["genzoo"] = to.note.words
    buffer = io.BytesIO()
    library("nrrd").write(buffer, array, header)
    return [write_atomic(to.target(scan.files[0], ".nrrd"), buffer.getvalue())]
