"""DICOM out: the file that came in with other pixels, new numbers of series and instance, marked as derived, and a note of the model.

With `anonymize` nothing is kept but what describes pixels, geometry and acquisition in numbers and code words: a list of what may stay, not of what
has to go. Patients, studies and frames of reference get new numbers, the same for all files of one call.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.files import write_atomic
from genzoo.data.decode import images as decode
from genzoo.data.decode.scans import dicom as reading
from genzoo.data.decode.scans.series import Series
from genzoo.data.decode.scans.volume import library
from genzoo.use.scans.study import Scan, Steps, steps
from genzoo.use.scans.writing import Note, Numbers, Writing

_GROUPS = (0x0018, 0x0020, 0x0028, 0x5200)
_KINDS = ("CS", "DS", "IS", "US", "SS", "UL", "SL", "FD", "FL", "AT", "SQ", "UI")
_KEPT = ("SOPClassUID", "ImageType", "Modality", "PixelData", "PresentationLUTShape", "FrameType")
_EMPTY = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "PatientBirthDate",
    "PatientSex",
)
_STATISTICS = (
    "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries", "LargestPixelValueInSeries", "ModalityLUTSequence",
    "RealWorldValueMappingSequence", "IconImageSequence",
)  # fmt: skip
"""What is of the pixels that were, and wrong of those that are."""


def write(scan: Scan, values: np.ndarray, to: Writing) -> list[Path]:
    """Write the files of a changed volume.

    Args:
        scan: What it was.
        values: What became of it, float32 [times, slices, columns, rows].
        to: What is the same for all scans.
    """
    volume = scan.volume
    assert isinstance(volume, Series)
    places: dict[str, dict[int, np.ndarray]] = {}
    for time, row in enumerate(volume.parts):
        for index, (header, number) in enumerate(row):
            places.setdefault(header.name, {})[number] = values[time, index].T
    written = []
    with decode.quiet_decoding():
        for header in scan.headers:
            frames = places[header.name]
            if len(frames) < len(header.frames):  # a second volume of the same file has the others
                continue
            with to.here.open(header.name) as file:
                ds = library("pydicom").dcmread(file, force=True)
                _pixels(ds, header, [frames[i] for i in range(len(header.frames))], to.window, file)
            _mark(ds, header, to.note, to.numbers)
            if to.anonymize:
                ds = _anonymous(ds, header, to.numbers)
            ds.file_meta = _meta(ds)
            buffer = io.BytesIO()
            ds.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=True)
            written.append(write_atomic(to.target(header.name, ".dcm"), buffer.getvalue()))
    return written


def _meta(ds: Any) -> Any:
    meta = library("pydicom.dataset").FileMetaDataset()
    meta.TransferSyntaxUID = library("pydicom.uid").ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return meta


def _pixels(ds: Any, header: reading.Header, frames: list[np.ndarray], window: tuple[float, float], file: Any) -> None:
    """Put other pixels into a file, with the rescale that brings their values back."""
    options = header.options
    bits, signed = min(options["bits_stored"], 16), bool(options["pixel_representation"])
    wide = 8 if options["bits_allocated"] <= 8 else 16
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    kind = np.dtype(f"{'i' if signed else 'u'}{wide // 8}")
    tabled = header.tables is not None or options["pixel_keyword"] != "PixelData" or options["bits_allocated"] > 16
    each = [steps(window, 0.0 if tabled else f.slope, f.intercept, low, high, kind) for f in header.frames]
    same = all(
        e.slope == f.slope and e.intercept == f.intercept and e.dtype == kind
        for e, f in zip(each, header.frames, strict=True)
    )
    if not same:  # one rule for all of them
        each = [steps(window, 0.0, 0.0, 0, 0, kind)] * len(each)
        bits = 16
    stored = np.stack([e.stored(v) for e, v in zip(each, frames, strict=True)])
    if header.padding is not None and same:
        for i in range(len(frames)):
            before = reading.decoded(file, header, i)
            stored[i][before == header.padding] = header.padding
    for keyword in (
        "FloatPixelData",
        "DoubleFloatPixelData",
        "PixelData",
        "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths",
        *_STATISTICS,
    ):
        if keyword in ds:
            delattr(ds, keyword)
    if not same and "PixelPaddingValue" in ds:
        del ds.PixelPaddingValue
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * stored.dtype.itemsize, bits, bits - 1
    ds.PixelRepresentation, ds.SamplesPerPixel = int(stored.dtype.kind == "i"), 1
    data = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    ds.add_new(0x7FE00010, "OB" if stored.dtype.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2))
    if not same:
        _rescaled(ds, each)


def _rescaled(ds: Any, each: list[Steps]) -> None:
    """Write slope and intercept where the file has them: of all frames, or of each."""
    frames = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    shared = list(ds.get("SharedFunctionalGroupsSequence") or [])[:1]
    if not frames and not shared:
        ds.RescaleSlope, ds.RescaleIntercept = _ds(each[0].slope), _ds(each[0].intercept)
        return
    for place, step in zip(frames or shared, each, strict=False):  # one step is for all frames where they share it
        own = place.get("PixelValueTransformationSequence")
        item = own[0] if own else library("pydicom.dataset").Dataset()
        item.RescaleSlope, item.RescaleIntercept = _ds(step.slope), _ds(step.intercept)
        item.RescaleType = item.get("RescaleType", "US")
        place.PixelValueTransformationSequence = [item]
    if frames and shared and "PixelValueTransformationSequence" in shared[0]:
        del shared[0].PixelValueTransformationSequence


def _ds(value: float) -> str:
    """Write a decimal string of at most 16 characters."""
    return next(text for digits in range(12, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)


def _mark(ds: Any, header: reading.Header, note: Note, numbers: Numbers) -> None:
    """Mark a file as derived, number it anew and write how it was made."""
    pydicom_dataset = library("pydicom.dataset")
    source = pydicom_dataset.Dataset()
    source.ReferencedSOPClassUID = ds.get("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
    source.ReferencedSOPInstanceUID = ds.get("SOPInstanceUID", "") or numbers(header.name)
    if not ds.get("SOPClassUID"):
        ds.SOPClassUID = source.ReferencedSOPClassUID
    ds.SourceImageSequence = [source]
    ds.SOPInstanceUID = numbers(f"instance {source.ReferencedSOPInstanceUID}")
    ds.SeriesInstanceUID = numbers(f"series {ds.get('SeriesInstanceUID', '') or header.name}")
    kinds = ds.get("ImageType", [])
    ds.ImageType = ["DERIVED", "SECONDARY", *([] if isinstance(kinds, str) else map(str, kinds[2:]))]
    for place in [
        *(ds.get("SharedFunctionalGroupsSequence") or []),
        *(ds.get("PerFrameFunctionalGroupsSequence") or []),
    ]:
        for element in place:
            if element.VR == "SQ" and element.value and "FrameType" in element.value[0]:
                frame = element.value[0]
                frame.FrameType = ["DERIVED", *[str(k) for k in frame.FrameType][1:]]
    ds.DerivationDescription = note.words[:1024]
    ds.SeriesDescription = f"{ds.get('SeriesDescription', '') or ''} {note.model}".strip()[:64]
    code, maker = pydicom_dataset.Dataset(), pydicom_dataset.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "109103", "DCM", "Modifying Equipment"
    maker.PurposeOfReferenceCodeSequence = [code]
    maker.Manufacturer, maker.ManufacturerModelName, maker.SoftwareVersions = (
        "genzoo",
        note.model[:64],
        note.version[:64],
    )
    maker.ContributionDescription = note.words[:1024]
    ds.ContributingEquipmentSequence = [*(ds.get("ContributingEquipmentSequence") or []), maker]


def _anonymous(ds: Any, header: reading.Header, numbers: Numbers) -> Any:
    """Return a file with nothing but what describes pixels, geometry and acquisition."""
    uid = library("pydicom.uid")
    own = {str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID)}

    def kept(place: Any) -> Any:
        found = library("pydicom.dataset").Dataset()
        for element in place:
            keyword = element.keyword
            if element.tag.is_private or not (
                keyword in _KEPT or (element.tag.group in _GROUPS and element.VR in _KINDS)
            ):
                continue
            if element.VR == "SQ":
                setattr(found, keyword, [kept(item) for item in element.value])
            elif element.VR == "UI" and keyword != "SOPClassUID" and not uid.UID(str(element.value)).is_transfer_syntax:
                old = str(element.value)
                setattr(found, keyword, old if old in own else numbers(old))
            else:
                found.add(element)
        return found

    found = kept(ds)
    found.SOPInstanceUID, found.SeriesInstanceUID = ds.SOPInstanceUID, ds.SeriesInstanceUID
    found.StudyInstanceUID = numbers(f"study {ds.get('StudyInstanceUID', '')}")
    patient = numbers(f"patient {header.patient}").rsplit(".", 1)[-1][-12:]
    found.PatientID, found.PatientName = f"ANON{patient}", f"ANON{patient}"
    for keyword in _EMPTY:
        setattr(found, keyword, "")
    for keyword in ("DerivationDescription", "ContributingEquipmentSequence"):
        setattr(found, keyword, ds.get(keyword))
    found.ContributingEquipmentSequence = [found.ContributingEquipmentSequence[-1]]
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = "genzoo: kept only what describes pixels, geometry and acquisition"
    return found
