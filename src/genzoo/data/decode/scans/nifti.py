"""NIfTI, version 1 and 2, in one file (.nii, .nii.gz), through `nibabel`: three axes, or four of which the last is time.

Values are the stored ones times `scl_slope` plus `scl_inter`. The matrix is the sform's where its code is above 0, else the qform's (as nibabel
does; ITK does it the other way round, so files in which both are there and differ are told). A packed file is unpacked once, to disk.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.reasons import in_words
from genzoo.data.decode.scans.volume import MOST_CELLS, SHELF, Opened, Slice, Volume, library, unpacked

if TYPE_CHECKING:
    from genzoo.data.sources.contents import Opens

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From RAS, NIfTI's directions, to LPS."""
_SUBJECT = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)(?=[/_.])")
"""Whose a file is, in the layout of BIDS."""


@dataclass
class Nifti(Volume):
    """A NIfTI file; the values are read from the file as they are wanted.

    Args:
        tree: Where the file is.
        spec: Shape, type, place, slope and intercept of its values.
    """

    tree: Any = field(default=None, repr=False)
    spec: Any = None

    def plane(self, index: int, time: int) -> Slice:
        """Read a slice along the third axis."""
        return self.across(2, index, time)

    def across(self, axis: int, index: int, time: int) -> Slice:
        """Read a slice along any axis, straight from the file."""
        where: list[Any] = [slice(None)] * 3
        where[axis] = index
        if len(self.spec[0]) > 3:
            where.append(time)
        with SHELF.taken(self, self._opened) as opened:
            try:
                values = np.asarray(opened.values[tuple(where)])
            except Exception as error:  # the disk, a share or the library fails; nothing of ours is called here
                raise Rejected(in_words(error)) from None
        if values.dtype.names:  # RGB24
            return Slice(np.stack([values[c] for c in "RGB"], -1))
        return Slice(values.astype(np.float32))

    def _opened(self) -> Opened:
        """Open the file; what is packed is unpacked to an unnamed one."""
        file = self.tree.open(self.name)
        need = _need(self.spec)
        if packed(file):
            with file, gzip.GzipFile(fileobj=file) as plain:
                file = unpacked(plain, need)
        return Opened(library("nibabel").arrayproxy.ArrayProxy(file, self.spec), file)


def read(tree: Opens, name: str) -> Nifti:
    """Read the header of a NIfTI file.

    Raises:
        Rejected: It is damaged, or of a kind that is not read.
    """
    with tree.open(name) as file:
        size, small = file.seek(0, 2), packed(file)
        try:
            start = zlib.decompressobj(31).decompress(file.read(2**16), 2**12) if small else file.read(2**12)
        except zlib.error:
            raise Rejected("damaged: it cannot be unpacked") from None
    found = _of_header(start, name)
    found.tree, need = tree, _need(found.spec)
    if (1040 * size if small else size) < need:  # gzip packs nothing more than 1,032 times
        there = (
            "" if small else f": {max(size - found.spec[2], 0):,} of {need - found.spec[2]:,} bytes of values are there"
        )
        raise Rejected(f"truncated{there}, or its header is damaged")
    return found


def _of_header(start: bytes, name: str) -> Nifti:
    kind = header_type(start)
    try:
        header = kind(start[: kind.template_dtype.itemsize], check=False)
        if bytes(header["magic"])[:3] in (b"ni1", b"ni2"):
            raise Rejected("a NIfTI header whose values stand in another file (.hdr and .img): save both as one .nii")
        shape, dtype = header.get_data_shape(), header.get_data_dtype()
        offset = int(header["vox_offset"])
        described = header.get_best_affine()
        told = _matrices(header)
        slope, inter = header.get_slope_inter()
    except (
        library("nibabel.spatialimages").HeaderDataError,
        library("nibabel.wrapstruct").WrapStructError,
        *(ArithmeticError, LookupError, ValueError),
    ) as error:
        raise Rejected(in_words(error)) from None
    sides = [int(n) for n in shape]
    while len(sides) > 3 and sides[-1] == 1:
        sides.pop()
    if not 2 <= len(sides) <= 4 or min(sides) < 1:
        said = "x".join(map(str, sides)) or "nothing"
        raise Rejected(f"{said} values; three axes are read, or four of which the last is time")
    if dtype.kind not in "uif" and set(dtype.names or "") != set("RGB"):
        raise Rejected("values that are no real numbers and no RGB, which are not read")
    if int(np.prod(sides, dtype=object)) > MOST_CELLS:
        raise Rejected(f"its header says {'x'.join(map(str, sides))} values: too many, or damaged")
    if offset < kind.template_dtype.itemsize:
        raise Rejected("damaged: its values begin inside its header")
    whole = (*sides, 1) if len(sides) == 2 else tuple(sides)
    affine = None if described is None or told["no matrix"] else _LPS @ np.asarray(described, float)
    if affine is not None and not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-9):
        affine = None
        told["no matrix"] += 1
    spec = (whole, dtype, offset, 1.0 if slope is None else slope, 0.0 if inter is None else inter)
    return Nifti(
        name, (whole[0], whole[1], whole[2]), affine, times=whole[3] if len(whole) > 3 else 1, patient=f"file {whose(name)}",
        colour=bool(dtype.names), told=told, spec=spec,
    )  # fmt: skip


def header_type(start: bytes) -> Any:
    """Return the library's class for a header by how it begins: version 2 says how long it is, in either order of bytes."""
    nibabel = library("nibabel")
    two = start[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")
    return nibabel.Nifti2Header if two else nibabel.Nifti1Header


def _need(spec: Any) -> int:
    """Count the bytes of a file up to the end of its values."""
    return int(spec[2]) + int(np.prod(spec[0], dtype=object)) * int(spec[1].itemsize)


def packed(file: BinaryIO) -> bool:
    """Tell whether a file is packed by gzip; it is at its beginning afterwards."""
    file.seek(0)
    head = file.read(2)
    file.seek(0)
    return head == b"\x1f\x8b"


def whose(name: str) -> str:
    """Tell whose a file is: of BIDS's layout the subject, else the file alone.

    >>> whose("bids/sub-07/ses-1/anat/sub-07_ses-1_T1w.nii.gz"), whose("a/b.nii")
    ('sub-07', 'a/b.nii')
    """
    found = _SUBJECT.search(name)
    return found[1] if found else name


def _matrices(header: Any) -> Counter[str]:
    """Say of the two matrices of a header whether they differ, or none is there."""
    told: Counter[str] = Counter()
    by_s, by_q = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    told["no matrix"] += not (by_s or by_q)
    if by_s and by_q:
        sides = np.array([*(n - 1 for n in (*header.get_data_shape()[:3], 1, 1)[:3]), 0.0])
        corners = np.stack([np.zeros(4), *np.diag(sides)])
        apart = np.abs(corners @ (header.get_sform() - header.get_qform()).T).max()
        apart = max(apart, np.abs((header.get_sform() - header.get_qform())[:3, 3]).max())
        told["two matrices"] += bool(apart > 0.1 * float(np.min(np.abs(header.get_zooms()[:3]))))
    return told
