"""Scans of bodies: DICOM, NIfTI and NRRD, each read by the library that is kept for it (the extra `scans`), as slices of physical values.

`volume` is what all of them are read as, `planes` says which side of a patient is up, `dicom`, `series`, `nifti` and `nrrd` read, `readers`
has them by format.
"""

from __future__ import annotations

from typing import BinaryIO

from genzoo.data.formats import HEAD, what_is

EXTRA = "scans need the extra: pip install 'genzoo[scans]'"
_FORMATS = {"a DICOM": "dicom", "a NIfTI": "nifti", "an NRRD": "nrrd"}
_ENDINGS = {
    ".dcm": "dicom", ".dicom": "dicom", ".ima": "dicom", ".nii": "nifti", ".nii.gz": "nifti", ".nrrd": "nrrd",
}  # fmt: skip


def format_of(file: BinaryIO, name: str) -> str:
    """Name the format of a scan (dicom, nifti or nrrd) by how it begins, and where that says nothing by its ending; empty for what is no scan."""
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    if head[128:132] == b"DICM":  # whatever stands before it: some files are a TIFF too
        return "dicom"
    found = what_is(head, name)
    if found is None or found.group == "scan":
        told = next((f for words, f in _FORMATS.items() if found and found.what.startswith(words)), "")
        return told or by_ending(name)
    return ""


def by_ending(name: str) -> str:
    """Name the format of a scan by the ending of its name; empty where that tells none."""
    lower = name.lower()
    return next((f for e, f in _ENDINGS.items() if lower.endswith(e)), "")


def may_be(name: str, endings: tuple[str, ...]) -> bool:
    """Tell whether a file has to be looked into to know whether it is a scan: not where its ending is one of these and no scan's."""
    lower = name.lower()
    if lower.endswith(tuple(_ENDINGS)):
        return True
    before, _, ending = lower.rpartition(".")
    return "/" in ending or before[-1:] in ("", "/") or ending not in endings
