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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, cast

import numpy as np

from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.images import MAX_PIXELS
from genzoo.data.decode.ranges import Ends
from genzoo.data.decode.scans.elements import DEFLATED, PIXELS, Place, asked, before_pixels, parsed, tag
from genzoo.data.decode.scans.volume import Slice, library

if TYPE_CHECKING:
    import io

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
        stated: The file says what a stored 0 means; else it was taken for 0.
    """

    slope: float
    intercept: float
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    window: Ends | None
    order: tuple[float, ...]
    stated: bool


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
    ds, syntax = before_pixels(file, _tags())
    return _header(ds, syntax, file, name)


@functools.lru_cache(64)
def _uid(text: str) -> Any:
    """Return the library's UID, of which a folder has few: it looks whether they are well formed."""
    return library("pydicom.uid").UID(text)


@functools.cache
def _tags() -> list[Any]:
    """Return the elements that are read, as the library takes them at once."""
    return [tag(keyword) for keyword in _TAGS]


def _header(ds: Any, stated: str, file: BinaryIO, name: str) -> Header:
    little = ds.original_encoding[1]
    said, syntax = Place(ds), _uid(stated)
    offset, keyword, length = None, "PixelData", None
    if syntax == DEFLATED:
        whole = parsed(file)
        keyword = next((k for k in PIXELS.values() if k in whole), "")
    else:
        found = _pixels_at(file, little)
        keyword, offset, length = found or ("", None, None)
    if not keyword:
        raise Rejected(_without_pixels(said))
    for key in ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel"):
        if said.numbers(key, 1) is None:
            raise Rejected(f"damaged: it does not say its {key}")
    photometric = said.text("PhotometricInterpretation") or "MONOCHROME2"
    rows, columns, samples, allocated = (
        int(said.number(k, 0)) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    )
    count = int(said.number("NumberOfFrames", 1)) or 1
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
    deep = str(syntax) == _EXTENDED and said.number("BitsStored", 8) > 8
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
    stored = int(said.number("BitsStored", 0)) or allocated
    options: dict[str, Any] = {
        "transfer_syntax_uid": syntax, "rows": rows, "columns": columns, "number_of_frames": count, "samples_per_pixel": samples,
        "bits_allocated": allocated, "bits_stored": stored,
        "pixel_representation": int(said.number("PixelRepresentation", 0)),
        "photometric_interpretation": photometric, "pixel_keyword": keyword, "pixel_vr": "OW",
    }  # fmt: skip
    if samples > 1:
        options["planar_configuration"] = int(said.number("PlanarConfiguration", 0))
    tabled = photometric == "PALETTE COLOR" or "ModalityLUTSequence" in said
    patient, series = said.text("PatientID"), said.text("SeriesInstanceUID")
    padding = said.numbers("PixelPaddingValue", 1)
    return Header(
        name, str(syntax), offset, options, (rows, columns), tuple(_frames(said, count)), said.text("SOPInstanceUID"), series,
        f"patient {patient}" if patient else f"series {series}" if series else f"file {name}", said.text("Modality"),
        ds if tabled else None, samples == 3 or photometric == "PALETTE COLOR", photometric == "MONOCHROME1",
        int(padding[0]) if padding else None,
        plain=bool(little) and offset is not None and not syntax.is_compressed and keyword == "PixelData" and samples == 1
        and allocated in (8, 16) and stored <= allocated,
    )  # fmt: skip


def _without_pixels(said: Place) -> str:
    """Say what a DICOM file without pixels is."""
    meta = Place(getattr(said.ds, "file_meta", {}))
    kind = _uid(said.text("SOPClassUID") or meta.text("MediaStorageSOPClassUID"))
    if kind.name == "Media Storage Directory Storage":
        return "a DICOMDIR, the index of other files"
    if not kind and len(said) < 2:
        return "damaged, encrypted or no DICOM file: nothing of what such a file says first can be read"
    known = f" ({kind.name})" if kind and kind.name != str(kind) else ""
    damaged = ": truncated, or damaged" if known.endswith("Image Storage)") else ""
    return f"a DICOM file without pixels{known}{damaged}"


def _pixels_at(file: BinaryIO, little: bool) -> tuple[str, int, int | None] | None:
    """Read the head of the element that pydicom stopped at: which it is, where its value begins, and how long that is."""
    order: Literal["little", "big"] = "little" if little else "big"
    head = file.read(12)
    if len(head) < 8:
        return None
    group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
    keyword = PIXELS.get(group << 16 | element)
    if keyword is None:
        return None
    here = file.tell() - len(head)
    # What stands in the file decides: some write this one element another way than the rest.
    at, value = (8, here + 12) if head[4:6] in (b"OB", b"OW", b"OF", b"OD", b"UN") else (4, here + 8)
    length = int.from_bytes(head[at : at + 4], order)
    return keyword, value, None if length == 0xFFFFFFFF else length


def _frames(said: Place, count: int) -> list[Frame]:
    shared = next(iter(said.items("SharedFunctionalGroupsSequence")), None)
    each = said.items("PerFrameFunctionalGroupsSequence")
    if each and len(each) < count:
        raise Rejected(f"damaged: it says something of {len(each)} of its {count} frames alone")
    one = _frame(said, None, None, ()) if shared is None and not each else None
    return [one or _frame(said, each[i] if each else None, shared, (float(i),)) for i in range(count)]


def _frame(said: Place, own: Place | None, shared: Place | None, order: tuple[float, ...]) -> Frame:
    def group(name: str) -> Place:
        for place in (own, shared):
            if place is not None and (found := place.items(name)):
                return found[0]
        return said

    rescale, plane, way = (
        group("PixelValueTransformationSequence"),
        group("PlanePositionSequence"),
        group("PlaneOrientationSequence"),
    )
    measures, voi = group("PixelMeasuresSequence"), group("FrameVOILUTSequence")
    slope = rescale.number("RescaleSlope", 0.0) or said.number("DoseGridScaling", 1.0)
    intercept = rescale.number("RescaleIntercept", 0.0)
    content = group("FrameContentSequence")
    spacing = measures.numbers("PixelSpacing", 2) or measures.numbers("ImagerPixelSpacing", 2)
    first = [content.number(k, 0.0) for k in ("TemporalPositionIndex", "TemporalPositionIdentifier")]
    first += [said.number(k, 0.0) for k in ("AcquisitionNumber", "EchoNumbers", "InstanceNumber")]
    return Frame(
        slope or 1.0, intercept, plane.numbers("ImagePositionPatient", 3), way.numbers("ImageOrientationPatient", 6),
        (spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None, _window(voi), (*first, *order),
        rescale.numbers("RescaleIntercept", 1) is not None,
    )  # fmt: skip


def _window(said: Place) -> Ends | None:
    """Return the values that are black and white in the first window of a header."""
    centre, width = said.numbers("WindowCenter", 1), said.numbers("WindowWidth", 1)
    if not centre or not width or width[0] < 1:
        return None
    if (said.text("VOILUTFunction") or "LINEAR") != "LINEAR":
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
        tabled = asked(lambda: look_up(stored, header.tables))
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
        place = parsed(file)
    else:
        file.seek(header.offset)
    return np.asarray(asked(lambda: decoder.as_array(place, index=index, **header.options)[0]))


def _plain(file: BinaryIO, header: Header, index: int) -> np.ndarray:
    """Read one frame of gray numbers as they lie in the file, little end first, without the bits that are not used."""
    options, (rows, columns) = header.options, header.shape
    size, signed = options["bits_allocated"] // 8, bool(options["pixel_representation"])
    count = rows * columns
    assert header.offset is not None
    file.seek(header.offset + index * count * size)
    stored = np.empty((rows, columns), f"<{'i' if signed else 'u'}{size}")
    if cast("io.BufferedIOBase", file).readinto(stored.data.cast("B")) < count * size:
        raise Rejected("truncated")
    unused = options["bits_allocated"] - options["bits_stored"]
    if unused and signed:
        stored <<= unused
        stored >>= unused
    elif unused:
        stored &= np.array(2 ** options["bits_stored"] - 1, stored.dtype)
    return stored


def _colours(stored: np.ndarray, header: Header) -> np.ndarray:
    """Bring stored colours to uint8 or uint16 RGB."""
    bits = header.options["bits_stored"]
    if header.options["photometric_interpretation"] == "PALETTE COLOR":
        look_up = library("pydicom.pixels").apply_color_lut
        found: np.ndarray = asked(lambda: look_up(stored, header.tables))
        return found[..., :3]
    if stored.dtype.itemsize == 1:
        return stored.astype(np.uint8, copy=False)
    if bits <= 8:
        return stored.astype(np.uint8)
    spread: np.ndarray = np.rint(stored.astype(np.float64) * (65535 / (2**bits - 1))).astype(np.uint16)
    return spread
