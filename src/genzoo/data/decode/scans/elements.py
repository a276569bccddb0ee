"""Elements of a DICOM file by their keywords: `pydicom` parses, and makes a value of an element's bytes only where that is asked for.

It is given damaged files, and throws whatever it likes then; here that becomes a reason.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from typing import Any, BinaryIO

from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.reasons import in_words
from genzoo.data.decode.scans.volume import library

_HEAD = 2**15
"""Bytes that are read at once; most headers are shorter."""
IMPLICIT, LITTLE, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))
"""Transfer syntaxes of pixels that are not compressed."""
PIXELS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}


def asked(call: Callable[[], Any]) -> Any:
    """Return what the library makes of a file. Nothing of ours goes in here.

    Raises:
        Rejected: It threw something.
    """
    try:
        return call()
    except Exception as error:
        raise Rejected(in_words(error)) from None


def parsed(file: BinaryIO, **how: Any) -> Any:
    """Read a file through the library, from its beginning."""
    dcmread = library("pydicom").dcmread
    file.seek(0)
    return asked(lambda: dcmread(file, force=True, **how))


def before_pixels(file: BinaryIO, tags: list[Any]) -> tuple[Any, str]:
    """Read some elements of a header, and leave the file where its pixels begin.

    The library asks where it is after every element, which of a file is a call of the system, at which threads wait for each other:
    it is given the first bytes in memory, and the file where the pixels do not begin within them.

    Returns:
        The elements, as the library has them, and the transfer syntax.
    """
    file.seek(0)
    head = io.BytesIO(file.read(_HEAD))
    how = {"stop_before_pixels": True, "specific_tags": tags}
    try:
        found = _usual(head, tags) or _whole(head, how)
    except Rejected:
        return _whole(file, how)
    if head.tell() + 12 > len(head.getbuffer()):
        return _whole(file, how)
    file.seek(head.tell())
    return found


def _whole(file: BinaryIO, how: dict[str, Any]) -> tuple[Any, str]:
    """Read a file of any kind."""
    ds = parsed(file, **how)
    implicit, little = ds.original_encoding
    stated = Place(getattr(ds, "file_meta", {})).text("TransferSyntaxUID")
    return ds, stated or (IMPLICIT if implicit else LITTLE if little else BIG)


def _usual(head: io.BytesIO, tags: list[Any]) -> tuple[Any, str] | None:
    """Read a file of the two usual syntaxes without what the library makes beside its elements, which takes a third of the time."""
    head.seek(128)
    if head.read(4) != b"DICM":
        return None
    reader = library("pydicom").filereader
    meta = asked(lambda: {int(e.tag): e.value for e in reader.data_element_generator(head, False, True, _after_meta)})
    syntax = meta.get(_number_of("TransferSyntaxUID"))
    stated = syntax.decode("latin-1").strip(" \0") if isinstance(syntax, bytes) else ""
    if stated not in (IMPLICIT, LITTLE):
        return None
    implicit = stated == IMPLICIT
    return asked(lambda: reader.read_dataset(head, implicit, True, stop_when=_at_pixels, specific_tags=tags)), stated


def _after_meta(tag: Any, kind: Any, length: int) -> bool:
    return int(tag) >> 16 != 2


def _at_pixels(tag: Any, kind: Any, length: int) -> bool:
    return int(tag) in PIXELS


@functools.cache
def tag(keyword: str) -> Any:
    """Return the library's tag of a keyword."""
    return library("pydicom.tag").Tag(keyword)


@functools.cache
def _number_of(keyword: str) -> int:
    return int(tag(keyword))


@functools.cache
def _kind(keyword: str) -> str:
    """Return the representation (VR) that the standard has for an element, which files of implicit ones do not repeat."""
    return str(library("pydicom.datadict").dictionary_VR(keyword))


class Place:
    """A data set, or an item of a sequence in it.

    Args:
        ds: As the library has it.
    """

    def __init__(self, ds: Any) -> None:
        self.ds = ds
        self._found = {int(t): element for t, element in ds.items()}  # plain numbers are looked up faster than tags

    def __len__(self) -> int:
        """Count the elements."""
        return len(self._found)

    def __contains__(self, keyword: str) -> bool:
        """Tell whether there is such an element."""
        return _number_of(keyword) in self._found

    def value(self, keyword: str) -> Any:
        """Return the value of an element as the library makes it; None where there is none.

        Raises:
            Rejected: The library cannot make it.
        """
        return asked(lambda: self.ds[tag(keyword)].value) if keyword in self else None

    def items(self, keyword: str) -> list[Place]:
        """Return the items of a sequence; none where there is no such sequence."""
        found = self.value(keyword)
        return [Place(ds) for ds in found] if isinstance(found, library("pydicom.sequence").Sequence) else []

    def number(self, keyword: str, usual: float) -> float:
        """Return the first number of an element, or what is usual where there is none."""
        found = self.numbers(keyword, 1)
        return found[0] if found else usual

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return the first numbers of an element; None where there are fewer, or none."""
        raw = self._found.get(_number_of(keyword))
        if raw is None:
            return None
        value, kind = raw.value, raw.VR or _kind(keyword)
        try:
            if isinstance(value, bytes) and kind in (
                "DS",
                "IS",
            ):  # as the file has it: much faster than the library's own types
                text = value.strip(b" \0")
                values = tuple(map(float, text.split(b"\\"))) if text else ()
            elif isinstance(value, bytes) and kind == "US" and len(value) == 2:
                values = (float(int.from_bytes(value, "little" if raw.is_little_endian else "big")),)
            else:
                value = self.ds[tag(keyword)].value
                if value is None or isinstance(value, (str, bytes)):
                    return None
                values = tuple(float(v) for v in (value if hasattr(value, "__iter__") else [value]))
        except (TypeError, ValueError, KeyError, NotImplementedError):  # what the library cannot make of the bytes
            return None
        return values[:count] if len(values) >= count and all(map(math.isfinite, values[:count])) else None

    def text(self, keyword: str) -> str:
        """Return a short text; empty where there is none."""
        raw = self._found.get(_number_of(keyword))
        if raw is None:
            return ""
        value = raw.value
        if not isinstance(value, bytes) or (raw.VR or _kind(keyword)) not in ("UI", "CS", "LO"):
            value = self.value(keyword)
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
        return text.strip(" \0")
