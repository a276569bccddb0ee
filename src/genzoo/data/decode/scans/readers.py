"""The first look at a scan, by its format: a DICOM file is one part of a volume, NIfTI and NRRD are volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from genzoo.data.decode.scans import nifti, nrrd, series
from genzoo.data.decode.scans.dicom import Header
from genzoo.data.decode.scans.volume import Volume

if TYPE_CHECKING:
    from genzoo.data.sources.contents import Opens

READERS: dict[str, Callable[[Opens, str], Header | Volume]] = {
    "dicom": series.header_of,
    "nifti": nifti.read,
    "nrrd": nrrd.read,
}
"""By format: reads the header of the file of a name; raises Rejected where it is damaged or of a kind that is not read."""
