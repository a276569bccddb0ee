"""DICOM files through `pydicom`: what the header of one says of each of its frames, and the physical values of a frame.

| what a file holds | treatment |
|---|---|
| `RescaleSlope`, `RescaleIntercept` | applied, each frame's own: in Enhanced files they stand in the functional groups |
| `DoseGridScaling` | applied: doses of radiotherapy |
| a modality table | looked up |
| MONOCHROME1 | the values stay; the picture is turned round, once, after the window |
| PALETTE COLOR, YBR | brought to RGB |
| bits that are not used | cut off, by pydicom |
| uncompressed, deflated, RLE | read by pydicom alone |
| JPEG with 8 bits, JPEG 2000 | through Pillow |
| JPEG-LS | with `pip install pyjpegls` |
| lossless JPEG, JPEG with 12 bits | with `pip install pylibjpeg pylibjpeg-libjpeg` (GPL) |
| High-Throughput JPEG 2000 | with `pip install pylibjpeg pylibjpeg-openjpeg` |
| a film (MPEG, H.264, H.265), JPIP | not read |
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.images import MAX_PIXELS
from genzoo.data.decode.ranges import Ends
from genzoo.data.decode.reasons import in_words
from genzoo.data.decode.scans.volume import Slice, library

_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "PatientID", "SeriesInstanceUID", "Modality", "InstanceNumber", "AcquisitionNumber"),
    *("TemporalPositionIdentifier", "EchoNumbers", "DiffusionBValue", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing"),
    *("ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SpacingBetweenSlices", "SliceThickness"),
    *("DoseGridScaling", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    "PixelPaddingValue",
    *("RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor"),
    *("RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "LossyImageCompression"),
)  # fmt: skip
_PIXELS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
_EXTENDED = "1.2.840.10008.1.2.4.51"
"""JPEG with 8 or 12 bits, of which Pillow reads 8."""
_NEEDED = {
    _EXTENDED: "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.57": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.201": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg pylibjpeg-openjpeg",
}
"""By transfer syntax: the packages that read it, where pydicom and Pillow do not."""


class Frame(NamedTuple):
    """What a header says of one frame.

    Args:
        slope: Physical value of one step.
        intercept: Physical value of a stored 0.
        position: Where the middle of its first pixel lies, in millimetres, LPS; None where that is not said.
        orientation: Ways of its rows and of its columns, six numbers.
        spacing: Millimetres from row to row and from column to column.
        window: Values that are black and white.
        order: What else orders it among frames of one place.
    """

    slope: float
    intercept: float
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    window: Ends | None
    order: tuple[float, ...]


@dataclass(frozen=True)
class Header:
    """What a DICOM file says before its pixels.

    Args:
        name: The file.
        syntax: Its transfer syntax.
        offset: Where its pixels begin; None where it has to be read whole (deflated).
        options: What pydicom's decoder has to know.
        shape: Rows and columns.
        frames: What is said of each frame.
        uid: Its own number.
        series: That of its series.
        patient: Whose it is.
        modality: CT, MR ...
        tables: The part of the header that tables of values or colours stand in; None where there are none.
        colour: It has three channels.
        inverted: MONOCHROME1.
        padding: The stored value of pixels outside the scan.
        plain: Its pixels are gray numbers of 8 or 16 bits, little end first, one after another.
    """

    name: str
    syntax: str
    offset: int | None
    options: dict[str, Any]
    shape: tuple[int, int]
    frames: tuple[Frame, ...]
    uid: str
    series: str
    patient: str
    modality: str
    tables: Any
    colour: bool
    inverted: bool
    padding: int | None
    plain: bool


def read(file: BinaryIO, name: str) -> Header:
    """Read the header of a DICOM file.

    Raises:
        Rejected: It is damaged, has no pixels, or they are stored in a way that is not read.
    """
    return _header(_parsed(file, stop_before_pixels=True, specific_tags=_tags()), file, name)


def _asked(call: Callable[[], Any]) -> Any:
    """Return what the library makes of a file: it is given damaged ones, and throws whatever it likes. Nothing of ours goes in here.

    Raises:
        Rejected: It threw something.
    """
    try:
        return call()
    except Exception as error:
        raise Rejected(in_words(error)) from None


def _parsed(file: BinaryIO, **how: Any) -> Any:
    """Read a file through the library, from its beginning."""
    dcmread = library("pydicom").dcmread
    file.seek(0)
    return _asked(lambda: dcmread(file, force=True, **how))


def _said(place: Any, keyword: str) -> Any:
    """Return the value of an element, which is only now made of its bytes; None where there is none."""
    return _asked(lambda: place.get(keyword))


def _items(place: Any, keyword: str) -> list[Any]:
    """Return the items of a sequence; none where there is no such sequence."""
    found = _said(place, keyword)
    return list(found) if isinstance(found, library("pydicom.sequence").Sequence) else []


@functools.cache
def _tags() -> list[Any]:
    """Return the elements that are read, as the library takes them at once."""
    return [library("pydicom.tag").Tag(keyword) for keyword in _TAGS]


def _header(ds: Any, file: BinaryIO, name: str) -> Header:
    from pydicom.uid import (
        UID,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
    )

    implicit, little = ds.original_encoding
    syntax = UID(str(_said(getattr(ds, "file_meta", {}), "TransferSyntaxUID") or ""))
    if not syntax:
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    offset, keyword, length = None, "PixelData", None
    if syntax == DeflatedExplicitVRLittleEndian:
        whole = _parsed(file)
        keyword = next((k for k in _PIXELS.values() if k in whole), "")
    else:
        found = _pixels_at(file, little)
        keyword, offset, length = found or ("", None, None)
    if not keyword:
        raise Rejected(_without_pixels(ds))
    for tag in ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel"):
        if _numbers(ds, tag, 1) is None:
            raise Rejected(f"damaged: it does not say its {tag}")
    photometric = _text(ds, "PhotometricInterpretation") or "MONOCHROME2"
    rows, columns, samples, allocated = (
        int(_number(ds, k, 0)) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    )
    count = int(_number(ds, "NumberOfFrames", 1)) or 1
    if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise Rejected(
            f"its header says {columns}x{rows} pixels: {'none' if not rows * columns else 'too many, or damaged'}"
        )
    if samples not in (1, 3):
        raise Rejected(f"{samples} channels; 1 and 3 are read")
    try:
        decoder = library("pydicom.pixels").get_decoder(syntax)
    except NotImplementedError:
        raise Rejected(
            f"its pixels are stored as {syntax.name if syntax.is_transfer_syntax else syntax}, which is not read"
        ) from None
    deep = str(syntax) == _EXTENDED and _number(ds, "BitsStored", 8) > 8
    if not decoder.is_available or (deep and set(decoder.available_plugins) <= {"pillow"}):
        more = " with 12 bits" if deep else ""
        raise Rejected(
            f"its pixels are stored as {syntax.name}{more}: pip install {_NEEDED.get(str(syntax), 'pylibjpeg')} reads it"
        )
    if not syntax.is_compressed and offset is not None:
        need = -(-rows * columns * samples * allocated * count // 8)
        need = need * 2 // 3 if photometric == "YBR_FULL_422" else need
        there = file.seek(0, 2) - offset
        if there < need:
            raise Rejected(f"truncated: {max(there, 0):,} of {need:,} bytes of pixels are there")
        if length is not None and length < need:
            raise Rejected(f"damaged: {length:,} bytes of pixels, where its header says {need:,}")
    if syntax.is_compressed and offset is not None and count > file.seek(0, 2) // 8:  # a frame begins with 8 bytes
        raise Rejected(f"truncated: its header says {count:,} frames, for which the file has no room")
    stored = int(_number(ds, "BitsStored", 0)) or allocated
    options: dict[str, Any] = {
        "transfer_syntax_uid": syntax, "rows": rows, "columns": columns, "number_of_frames": count, "samples_per_pixel": samples,
        "bits_allocated": allocated, "bits_stored": stored,
        "pixel_representation": int(_number(ds, "PixelRepresentation", 0)),
        "photometric_interpretation": photometric, "pixel_keyword": keyword, "pixel_vr": "OW",
    }  # fmt: skip
    if samples > 1:
        options["planar_configuration"] = int(_number(ds, "PlanarConfiguration", 0))
    tabled = photometric == "PALETTE COLOR" or "ModalityLUTSequence" in ds
    patient, series = _text(ds, "PatientID"), _text(ds, "SeriesInstanceUID")
    padding = _numbers(ds, "PixelPaddingValue", 1)
    return Header(
        name, str(syntax), offset, options, (rows, columns), tuple(_frames(ds, count)), _text(ds, "SOPInstanceUID"), series,
        f"patient {patient}" if patient else f"series {series}" if series else f"file {name}", _text(ds, "Modality"),
        ds if tabled else None, samples == 3 or photometric == "PALETTE COLOR", photometric == "MONOCHROME1",
        int(padding[0]) if padding else None,
        plain=bool(little) and offset is not None and not syntax.is_compressed and keyword == "PixelData" and samples == 1
        and allocated in (8, 16) and stored <= allocated,
    )  # fmt: skip


def _without_pixels(ds: Any) -> str:
    """Say what a DICOM file without pixels is."""
    from pydicom.uid import UID

    kind = UID(_text(ds, "SOPClassUID") or str(_said(getattr(ds, "file_meta", {}), "MediaStorageSOPClassUID") or ""))
    if kind.name == "Media Storage Directory Storage":
        return "a DICOMDIR, the index of other files"
    known = f" ({kind.name})" if kind and kind.name != str(kind) else ""
    return f"a DICOM file without pixels{known}"


def _pixels_at(file: BinaryIO, little: bool) -> tuple[str, int, int | None] | None:
    """Read the head of the element that pydicom stopped at: which it is, where its value begins, and how long that is."""
    order: Literal["little", "big"] = "little" if little else "big"
    head = file.read(12)
    if len(head) < 8:
        return None
    group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
    keyword = _PIXELS.get(group << 16 | element)
    if keyword is None:
        return None
    here = file.tell() - len(head)
    # What stands in the file decides: some write this one element another way than the rest.
    at, value = (8, here + 12) if head[4:6] in (b"OB", b"OW", b"OF", b"OD", b"UN") else (4, here + 8)
    length = int.from_bytes(head[at : at + 4], order)
    return keyword, value, None if length == 0xFFFFFFFF else length


def _frames(ds: Any, count: int) -> list[Frame]:
    shared = next(iter(_items(ds, "SharedFunctionalGroupsSequence")), None)
    each = _items(ds, "PerFrameFunctionalGroupsSequence")
    if each and len(each) < count:
        raise Rejected(f"damaged: it says something of {len(each)} of its {count} frames alone")
    one = _frame(ds, None, None, ()) if shared is None and not each else None
    return [one or _frame(ds, each[i] if each else None, shared, (float(i),)) for i in range(count)]


def _frame(ds: Any, own: Any, shared: Any, order: tuple[float, ...]) -> Frame:
    def group(name: str) -> Any:
        for place in (own, shared):
            if place is not None and (found := _items(place, name)):
                return found[0]
        return ds

    rescale, plane, way = (
        group("PixelValueTransformationSequence"),
        group("PlanePositionSequence"),
        group("PlaneOrientationSequence"),
    )
    measures, voi = group("PixelMeasuresSequence"), group("FrameVOILUTSequence")
    slope = _number(rescale, "RescaleSlope", 0.0) or _number(ds, "DoseGridScaling", 1.0)
    intercept = _number(rescale, "RescaleIntercept", 0.0)
    content = group("FrameContentSequence")
    spacing = _numbers(measures, "PixelSpacing", 2) or _numbers(measures, "ImagerPixelSpacing", 2)
    first = [_number(content, k, 0.0) for k in ("TemporalPositionIndex", "TemporalPositionIdentifier")]
    first += [_number(ds, k, 0.0) for k in ("AcquisitionNumber", "EchoNumbers", "InstanceNumber")]
    return Frame(
        slope or 1.0, intercept, _numbers(plane, "ImagePositionPatient", 3), _numbers(way, "ImageOrientationPatient", 6),
        (spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None, _window(voi), (*first, *order),
    )  # fmt: skip


def _number(place: Any, keyword: str, usual: float) -> float:
    found = _numbers(place, keyword, 1)
    return found[0] if found else usual


@functools.cache
def _tag(keyword: str) -> Any:
    return library("pydicom.tag").Tag(keyword)


def _numbers(place: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return the first numbers of an element; None where there are fewer, or none."""
    tag = _tag(keyword)
    if tag not in place:
        return None
    raw = place.get_item(tag)
    try:
        if raw.VR in ("DS", "IS") and isinstance(
            raw.value, bytes
        ):  # as the file has it: much faster than through the library's own types
            values = tuple(map(float, raw.value.rstrip(b" \0").split(b"\\"))) if raw.value.strip(b" \0") else ()
        elif raw.VR == "US" and isinstance(raw.value, bytes) and len(raw.value) == 2:
            values = (float(int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")),)
        else:
            value = place[tag].value
            if value is None or isinstance(value, (str, bytes)):
                return None
            values = tuple(float(v) for v in (value if hasattr(value, "__iter__") else [value]))
    except (TypeError, ValueError, KeyError, NotImplementedError):  # what the library cannot make of the bytes
        return None
    return values[:count] if len(values) >= count and all(map(math.isfinite, values[:count])) else None


def _text(place: Any, keyword: str) -> str:
    """Return a short text; empty where there is none."""
    tag = _tag(keyword)
    if tag not in place:
        return ""
    raw = place.get_item(tag)
    value = (
        raw.value if isinstance(raw.value, bytes) and raw.VR in ("UI", "CS", "LO") else _asked(lambda: place[tag].value)
    )
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0")


def _window(place: Any) -> Ends | None:
    """Return the values that are black and white in the first window of a header."""
    centre, width = _numbers(place, "WindowCenter", 1), _numbers(place, "WindowWidth", 1)
    if not centre or not width or width[0] < 1:
        return None
    if str(_said(place, "VOILUTFunction") or "LINEAR") != "LINEAR":
        return (centre[0] - width[0] / 2, centre[0] + width[0] / 2)
    # The standard's formula: the ends of a linear window are half a step inside.
    low, high = centre[0] - 0.5 - (width[0] - 1) / 2, centre[0] - 0.5 + (width[0] - 1) / 2
    return (low, high) if high > low else None


def frame(file: BinaryIO, header: Header, index: int) -> Slice:
    """Decode one frame: rows and columns.

    Raises:
        Rejected: It is damaged.
    """
    stored = decoded(file, header, index)
    what = header.frames[index]
    if header.colour:
        return Slice(_colours(stored, header))
    if header.tables is not None:
        look_up = library("pydicom.pixels").apply_modality_lut
        tabled = _asked(lambda: look_up(stored, header.tables))
        return Slice(np.asarray(tabled), inverted=header.inverted)
    return Slice(stored, what.slope, what.intercept, header.inverted)


def decoded(file: BinaryIO, header: Header, index: int) -> np.ndarray:
    """Decode the stored values of one frame, [rows, columns] or [rows, columns, 3].

    Raises:
        Rejected: It is damaged.
    """
    if header.plain:
        return _plain(file, header, index)
    decoder = library("pydicom.pixels").get_decoder(header.options["transfer_syntax_uid"])
    place: Any = file
    if header.offset is None:
        place = _parsed(file)
    else:
        file.seek(header.offset)
    return np.asarray(_asked(lambda: decoder.as_array(place, index=index, **header.options)[0]))


def _plain(file: BinaryIO, header: Header, index: int) -> np.ndarray:
    """Read one frame of gray numbers as they lie in the file, little end first, without the bits that are not used."""
    options, (rows, columns) = header.options, header.shape
    size, signed = options["bits_allocated"] // 8, bool(options["pixel_representation"])
    count = rows * columns
    assert header.offset is not None
    file.seek(header.offset + index * count * size)
    data = file.read(count * size)
    if len(data) < count * size:
        raise Rejected("truncated")
    stored = np.frombuffer(data, f"<{'i' if signed else 'u'}{size}").reshape(rows, columns)
    unused = options["bits_allocated"] - options["bits_stored"]
    if unused and signed:
        shifted: np.ndarray = (stored << unused) >> unused
        return shifted
    return stored & np.array(2 ** options["bits_stored"] - 1, stored.dtype) if unused else stored


def _colours(stored: np.ndarray, header: Header) -> np.ndarray:
    """Bring stored colours to uint8 or uint16 RGB."""
    bits = header.options["bits_stored"]
    if header.options["photometric_interpretation"] == "PALETTE COLOR":
        look_up = library("pydicom.pixels").apply_color_lut
        found: np.ndarray = _asked(lambda: look_up(stored, header.tables))
        return found[..., :3]
    if stored.dtype.itemsize == 1:
        return stored.astype(np.uint8, copy=False)
    if bits <= 8:
        return stored.astype(np.uint8)
    spread: np.ndarray = np.rint(stored.astype(np.float64) * (65535 / (2**bits - 1))).astype(np.uint16)
    return spread
