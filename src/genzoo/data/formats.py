"""What a file is, told by its first bytes and its name, and what to do about one that is not read: one table for every kind of data.

Files that are read are in the table too, because a picture among sounds, or a sound among pictures, wants a name as well.
"""

from __future__ import annotations

import codecs
import functools
import re
from dataclasses import dataclass
from typing import BinaryIO

HEAD = 2048
"""Bytes from the beginning of a file that `what_is` wants; fewer tell less."""
FILMS = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".flv",
    ".wmv",
    ".ogv",
    ".3gp",
    ".mts",
    ".m2ts",
)
"""Endings of videos: a file of such a name that is damaged is a damaged video, whatever was looked for."""

_AS_PNG = "save it as PNG or JPEG"
_AS_WAV = "save it as WAV or FLAC: ffmpeg -i FILE OUT.wav"
_SLICES = "save it as NIfTI or NRRD, or write its slices as 16-bit PNG"
_DEVELOP = "develop it (darktable-cli FILE OUT.tif, or the camera's own program) into TIFF, PNG or JPEG"
_UNPACK = "unpack it here first; archives in archives are not opened"
_AS_ARRAY = "write its arrays as .npy or .npz"
_AS_MESH = "save it as OBJ, STL or PLY"


@dataclass(frozen=True)
class Named:
    """What a file is.

    Args:
        what: Its name with an article: "a HEIC photograph".
        group: picture, sound, clip, shape, scan, array, table, archive, model, text or other.
        todo: The next step for somebody who wants its content to be read.
    """

    what: str
    group: str
    todo: str = ""


_EMPTY = Named("empty file", "other")
_TEXT = Named("text", "text")

_HEADS: tuple[tuple[str, Named], ...] = (
    # pictures that are read
    (r"\x89PNG\r\n\x1a\n", Named("a PNG picture", "picture")),
    (r"\xff\xd8\xff", Named("a JPEG picture", "picture")),
    (r"GIF8[79]a", Named("a GIF picture", "picture")),
    (r"RIFF....WEBP", Named("a WebP picture", "picture")),
    (r"BM....\x00\x00\x00\x00", Named("a BMP picture", "picture")),
    (r"P[1-7][\s#]", Named("a PNM picture", "picture")),
    (r"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", Named("a JPEG 2000 picture", "picture")),
    # pictures that are not
    (r"(II\*\x00|MM\x00\*).{4}CR", Named("a camera's raw file (CR2)", "picture", _DEVELOP)),
    (r"FUJIFILMCCD-RAW", Named("a camera's raw file (RAF)", "picture", _DEVELOP)),
    (r"IIR[OS]|MMOR", Named("a camera's raw file (ORF)", "picture", _DEVELOP)),
    (r"IIU\x00", Named("a camera's raw file (RW2)", "picture", _DEVELOP)),
    (r"(II\+\x00|MM\x00\+)", Named("a BigTIFF", "picture", "save it as TIFF (tiffcp -4 IN OUT) or PNG")),
    (r"II\*\x00|MM\x00\*", Named("a TIFF picture", "picture")),
    (r"II\xbc\x01", Named("a JPEG XR picture", "picture", _AS_PNG)),
    (r"\xff\x0a|\x00\x00\x00\x0cJXL ", Named("a JPEG XL picture", "picture", f"{_AS_PNG}: djxl FILE OUT.png")),
    (r"8BPS", Named("a Photoshop file (PSD)", "picture", _AS_PNG)),
    (r"gimp xcf", Named("a GIMP file (XCF)", "picture", _AS_PNG)),
    (r"v/1\x01",
     Named("an OpenEXR picture", "picture", "save it as float TIFF and give gray_window=, or tone-map it to PNG")),
    (r"#\?RADIANCE|#\?RGBE", Named("a Radiance HDR picture", "picture", "tone-map it to PNG")),
    (r"DDS ", Named("a DDS texture", "picture", _AS_PNG)),
    (r"\xabKTX ", Named("a KTX texture", "picture", _AS_PNG)),
    (r"\x00\x00[\x01\x02]\x00[\x01-\xff]\x00", Named("an icon (ICO)", "picture", _AS_PNG)),
    (r"icns", Named("an icon (ICNS)", "picture", _AS_PNG)),
    (r"qoif", Named("a QOI picture", "picture", _AS_PNG)),
    (r"FLIF", Named("a FLIF picture", "picture", _AS_PNG)),
    (r"BPG\xfb", Named("a BPG picture", "picture", _AS_PNG)),
    (r"AT&TFORM", Named("a DjVu document", "picture", "write its pages as PNG: ddjvu -format=tiff FILE OUT.tif")),
    (r"%PDF-", Named("a PDF document", "picture", "write its pages as PNG: pdftoppm -png FILE page")),
    (r"%!PS|\xc5\xd0\xd3\xc6",
     Named("a PostScript drawing (EPS)", "picture", "write it as PNG: gs -sDEVICE=png16m -o OUT.png FILE")),
    (r"\xd7\xcd\xc6\x9a|\x01\x00\x00\x00.{36} EMF", Named("a Windows metafile", "picture", _AS_PNG)),
    # scans of bodies, skies and microscopes
    (r".{128}DICM", Named("a DICOM scan", "scan")),
    (r"[\x02\x08]\x00[\x00-\x1f]\x00(UL|UI|CS|OB|DA|TM|..\x00\x00)",
     Named("a DICOM scan without a preamble", "scan")),
    (r"(\x5c\x01\x00\x00|\x00\x00\x01\x5c).{340}(n\+1|ni1)\x00", Named("a NIfTI scan", "scan")),
    (r"(\x1c\x02\x00\x00|\x00\x00\x02\x1c)(n\+2|ni2)\x00", Named("a NIfTI scan", "scan")),
    (r"NRRD000\d", Named("an NRRD scan", "scan")),
    (r"(ObjectType|NDims|Comment)\s*=", Named("a MetaImage scan", "scan", _SLICES)),
    (r"SIMPLE  =", Named("a FITS image", "scan", "write it as .npy, or as float TIFF and give gray_window=")),
    (r"ZISRAWFILE", Named("a Zeiss microscope file (CZI)", "scan", _SLICES)),
    (r"\xda\xce\xbe\x0a", Named("a Nikon microscope file (ND2)", "scan", _SLICES)),
    # arrays and tables
    (r"\x93NUMPY", Named("a NumPy array (.npy)", "array", "write one array file, or a folder of arrays of one kind")),
    (r"MATLAB 7\.3", Named("a MATLAB file (.mat, an HDF5 file)", "array", _AS_ARRAY)),
    (r"MATLAB 5\.0", Named("a MATLAB file (.mat)", "array", _AS_ARRAY)),
    (r"(.{512}|.{1024})?\x89HDF\r\n\x1a\n", Named("an HDF5 file", "array", _AS_ARRAY)),
    (r"CDF[\x01\x02\x05]", Named("a NetCDF file", "array", _AS_ARRAY)),
    (r"PAR1", Named("a Parquet table", "table", "write the pictures in it as files, a table of numbers as .csv")),
    (r"ARROW1|\xff\xff\xff\xff.\x00\x00\x00\x10\x00\x00\x00",
     Named("an Arrow table", "table", "write what is in it as files or .npy")),
    (r"SQLite format 3\x00", Named("an SQLite database", "table", "write what is in it as files")),
    (r".{16}\xde\xc0\xef\xbe", Named("an LMDB database", "table", "write what is in it as files")),
    # sound
    (r"(RIFF|RF64|RIFX)....WAVE", Named("a WAV sound", "sound")),
    (r"fLaC", Named("a FLAC sound", "sound")),
    (r"FORM....AIF[FC]", Named("an AIFF sound", "sound", _AS_WAV)),
    (r"\.snd", Named("an AU sound", "sound", _AS_WAV)),
    (r"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]", Named("an MP3 sound", "sound", _AS_WAV)),
    (r"\xff[\xf0\xf1\xf8\xf9]", Named("an AAC sound", "sound", _AS_WAV)),
    (r"MThd",
     Named("a MIDI file: notes, no sound", "sound", "play it into a WAV: fluidsynth -F OUT.wav SOUNDFONT FILE")),
    (r"#!AMR", Named("an AMR sound", "sound", _AS_WAV)),
    (r"wvpk", Named("a WavPack sound", "sound", _AS_WAV)),
    (r"MAC ", Named("a Monkey's Audio sound", "sound", _AS_WAV)),
    (r"NIST_1A", Named("a NIST SPHERE sound", "sound", _AS_WAV)),
    (r"OggS.{22,80}(\x01vorbis|OpusHead|\x7fFLAC|Speex)", Named("an Ogg sound", "sound", _AS_WAV)),
    # video
    (r"RIFF....AVI ", Named("an AVI video", "clip")),
    (r"\x1a\x45\xdf\xa3", Named("a Matroska or WebM video", "clip")),
    (r"OggS", Named("an Ogg file", "clip")),
    (r"\x00\x00\x01[\xba\xb3]", Named("an MPEG video", "clip")),
    (r"FLV\x01", Named("a Flash video", "clip")),
    (r"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
     Named("a Windows Media file", "clip", "save it as MP4: ffmpeg -i FILE OUT.mp4")),
    (r"\x47.{187}\x47.{187}\x47",
     Named("an MPEG transport stream", "clip", "save it as MP4: ffmpeg -i FILE -c copy OUT.mp4")),
    # shapes
    (r"#binvox", Named("a binvox grid", "shape")),
    (r"glTF", Named("a GLB shape", "shape")),
    (r"ply\r?\n", Named("a PLY mesh", "shape")),
    (r"(ST|C|N|4|n)*OFF\b", Named("an OFF mesh", "shape")),
    (r"Kaydara FBX Binary", Named("an FBX shape", "shape", _AS_MESH)),
    (r"BLENDER", Named("a Blender file", "shape", _AS_MESH)),
    (r"# vtk DataFile", Named("a VTK file", "shape", _AS_MESH)),
    (r"VOX ", Named("a MagicaVoxel file", "shape", "write its cells as .npy or .binvox")),
    # archives
    (r"PK(\x03\x04|\x05\x06)", Named("a zip archive", "archive", _UNPACK)),
    (r"7z\xbc\xaf\x27\x1c", Named("a 7z archive", "archive", "unpack it, or pack it as zip or tar")),
    (r"Rar!\x1a\x07", Named("a RAR archive", "archive", "unpack it, or pack it as zip or tar")),
    (r"\x28\xb5\x2f\xfd", Named("a Zstandard file", "archive", "unpack it: zstd -d FILE")),
    (r"\x1f\x8b", Named("a gzip file", "archive", "unpack it: gunzip FILE")),
    (r"BZh[1-9]", Named("a bzip2 file", "archive", "unpack it: bunzip2 FILE")),
    (r"\xfd7zXZ\x00", Named("an xz file", "archive", "unpack it: unxz FILE")),
    (r".{257}ustar", Named("a tar archive", "archive", _UNPACK)),
    # models, documents, leftovers
    (r"\x80[\x02-\x05][\x80-\xff()\]}cXKMJ]",
     Named("a Python pickle, which could run code when loaded", "other", _AS_ARRAY)),
    (r".{8}\{\s*\"(__metadata__|[^\"]{1,200}\":\s*\{\"dtype)",
     Named("a safetensors file", "model", "data= wants examples, not weights")),
    (r"GGUF", Named("a GGUF model", "model", "data= wants examples, not weights")),
    (r"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Named("an old Office document", "other", "leave it out")),
    (r"\x00\x05\x16[\x00\x07]", Named("a Mac's leftover (AppleDouble), no content", "other", "leave it out")),
    (r"\x7fELF|MZ.{58}", Named("a program", "other", "leave it out")),
    # text with a meaning
    (r"(?i)version https://git-lfs\.github\.com/spec",
     Named("a Git LFS pointer, not the file itself", "other", "fetch the files: git lfs pull")),
    (r"(\.\./)*(\.git)?/annex/objects/",
     Named("a git-annex pointer, not the file itself", "other", "fetch the files: git annex get .")),
    (r"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)",
     Named("a web page (HTML), not the file itself", "other", "download the file again; the server answered with a page")),
    (r"(?i)(\xef\xbb\xbf)?\s*(<\?xml[^>]*>)?\s*(<!--.{0,1000}?-->\s*)?(<!doctype svg[^>]*>\s*)?<svg[\s>]",
     Named("an SVG drawing", "picture", "write it as PNG: rsvg-convert -o OUT.png FILE")),
    (r"(?i)(\xef\xbb\xbf)?\s*(<\?xml[^>]*>)?\s*<error",
     Named("a server's error message, not the file itself", "other", "download the file again")),
    (r"solid [^\x00]*facet", Named("an STL mesh", "shape")),
)  # fmt: skip
"""What begins in which way, the first that fits."""

_FTYP: dict[str, Named] = {
    **dict.fromkeys(
        ("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "MiHE"),
        Named("a HEIC photograph", "picture", "save it as JPEG or PNG: heif-convert FILE OUT.png (on a Mac: sips -s format png FILE --out OUT.png)"),
    ),
    **dict.fromkeys(("avif", "avis"), Named("an AVIF picture", "picture", "save it as PNG, or update Pillow: pip install -U pillow")),
    "crx ": Named("a camera's raw file (CR3)", "picture", _DEVELOP),
    **dict.fromkeys(("M4A ", "M4B ", "M4P ", "f4a "), Named("an M4A sound (AAC)", "sound", _AS_WAV)),
    "qt  ": Named("a QuickTime video (MOV)", "clip"),
    **dict.fromkeys(("3gp4", "3gp5", "3gp6", "3g2a"), Named("a 3GP video", "clip")),
}  # fmt: skip
_MP4 = Named("an MP4 video", "clip")

_RAW = (
    ".nef",
    ".nrw",
    ".arw",
    ".sr2",
    ".srf",
    ".dng",
    ".pef",
    ".srw",
    ".3fr",
    ".iiq",
    ".erf",
    ".kdc",
    ".cr2",
    ".mef",
    ".mos",
)
_ENDINGS: dict[str, tuple[str, Named]] = {
    **{
        e: (r"II\*\x00|MM\x00\*", Named(f"a camera's raw file ({e[1:].upper()})", "picture", _DEVELOP))
        for e in _RAW
    },
    ".nii.gz": (r"\x1f\x8b", Named("a NIfTI scan", "scan")),
    ".npz": (r"PK", Named("a NumPy archive (.npz)", "array", "write one array file, or a folder of .npy")),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), (r"PK|\x80\x02", Named("a PyTorch file", "model", "write tensors of examples as .npy"))),
    **dict.fromkeys((".docx", ".xlsx", ".pptx", ".odt", ".ods"), (r"PK", Named("an Office document", "other", "write a table as .csv"))),
    ".kra": (r"PK", Named("a Krita file", "picture", _AS_PNG)),
    ".ora": (r"PK", Named("an OpenRaster file", "picture", _AS_PNG)),
    ".usdz": (r"PK", Named("a USDZ shape", "shape", _AS_MESH)),
    ".3mf": (r"PK", Named("a 3MF shape", "shape", _AS_MESH)),
    ".gltf": (r"\s*\{", Named("a glTF shape", "shape")),
    ".obj": (r"", Named("an OBJ mesh", "shape")),
    ".stl": (r"", Named("an STL mesh", "shape")),
    ".off": (r"", Named("an OFF mesh", "shape")),
    ".3ds": (r"MM", Named("a 3DS shape", "shape", _AS_MESH)),
    ".dae": (r"", Named("a COLLADA shape", "shape", _AS_MESH)),
    ".hdr": (r"(\x5c\x01\x00\x00|\x00\x00\x01\x5c)", Named("an Analyze or NIfTI header", "scan", _SLICES)),
    ".mhd": (r"", Named("a MetaImage header", "scan", _SLICES)),
    ".tga": (r".", Named("a Targa picture", "picture", _AS_PNG)),
    ".pcx": (r"\x0a", Named("a PCX picture", "picture", _AS_PNG)),
    ".mp3": (r"\xff", Named("an MP3 sound", "sound", _AS_WAV)),
    **dict.fromkeys((".tfrecord", ".tfrecords"), (r"", Named("a TFRecord file", "table", "write its examples as files or .npy"))),
    ".csv": (r"", Named("a table (CSV)", "table", "a table of numbers is read as points: data=FILE.csv with a system for points")),
    ".tsv": (r"", Named("a table (TSV)", "table", "a table of numbers is read as points: data=FILE.tsv with a system for points")),
    ".json": (r"\s*[\[{]", Named("a JSON file", "text")),
    ".raw": (r"", Named("a file of raw values without a header", "other", "write it as .npy, which says size and type")),
    **dict.fromkeys((".part", ".crdownload", ".download"), (r"", Named("a download that was not finished", "other", "download the file again"))),
}  # fmt: skip
"""What only the ending tells, with what the file has to begin with."""

_WANTED = {
    "image": ("an image", "picture"),
    "sound": ("sound", "sound"),
    "clip": ("a clip", "clip"),
    "shape": ("a shape", "shape"),
}
_PLAIN = {"picture": "PNG", "sound": "WAV", "clip": "MP4", "shape": "STL"}
_READ = ("picture", "sound", "clip", "shape")
_ELSEWHERE = {
    ("clip", "image"): "take its frames out: ffmpeg -i FILE frame-%05d.png; systems for video read it whole",
    ("clip", "sound"): "take its sound out: ffmpeg -i FILE OUT.wav",
    ("sound", "image"): "systems for sound read it, such as wavenet",
    ("shape", "image"): "systems for shapes read it, such as gan-3d",
    ("picture", "sound"): "systems for images read it",
    ("picture", "shape"): "systems for images read it",
    ("clip", "shape"): "systems for video read it",
    ("sound", "clip"): "systems for sound read it, such as wavenet",
    ("sound", "shape"): "systems for sound read it, such as wavenet",
    ("shape", "sound"): "systems for shapes read it, such as gan-3d",
    ("shape", "clip"): "systems for shapes read it, such as gan-3d",
    ("picture", "clip"): "systems for images read it; as frames of a clip number them: a-001.png, a-002.png, ...",
    ("array", "sound"): "write each sound as WAV",
    ("scan", "image"): "data= reads it, and translate; here give a slice of it as 16-bit PNG",
    ("scan", "sound"): "systems for images read it",
    ("scan", "clip"): "systems for images read its slices",
    ("scan", "shape"): "systems for images read its slices",
}
"""By group of the file and what is wanted: the next step where somebody gave data of another kind."""


def is_text(head: bytes) -> bool:
    """Tell whether bytes begin a text in UTF-8; a character may be cut at the end."""
    if not all(b >= 32 or b in (9, 10, 12, 13) for b in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3
    return True


def what_is(head: bytes, name: str = "") -> Named | None:
    """Tell what a file is by how it begins, or by its name; None where nothing is known of it.

    Args:
        head: Its first bytes, `HEAD` of them where there are so many.
        name: Its name; the ending counts where the bytes leave a choice.
    """
    if not head:
        return _EMPTY
    ending = next((e for e in _ENDINGS if name.lower().endswith(e)), "")
    begins, by_name = _ENDINGS.get(ending, ("", None))
    if begins and re.match(begins.encode("latin-1"), head, re.DOTALL):
        return by_name
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(int.from_bytes(head[:4], "big"), len(head)), 4))]
        known = (_FTYP.get(b.decode("latin-1")) for b in brands)
        return next((k for k in known if k), _MP4)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _FTYP["qt  "]
    for pattern, named in _patterns():
        if pattern.match(head):
            return named
    if by_name and not begins:
        return by_name
    return _TEXT if is_text(head) else None


def text_of(content: bytes) -> str | None:
    """Decode a text in UTF-8, or in UTF-16 with its mark; None for what is neither."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def is_raw(file: BinaryIO, name: str) -> bool:
    """Tell whether a file is a camera's raw file, of which a reader of TIFF sees a thumbnail."""
    if not name.lower().endswith(_RAW):
        return False
    file.seek(0)
    found = what_is(file.read(HEAD), name)
    return found is not None and found.todo == _DEVELOP


def refused(file: BinaryIO, name: str = "", wanted: str = "image") -> str:
    """Say why an open file is left out, as `refusal` does, from its beginning."""
    file.seek(0)
    return refusal(file.read(HEAD), name, wanted)


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[bytes], Named], ...]:
    return tuple((re.compile(p.encode("latin-1"), re.DOTALL), n) for p, n in _HEADS)


def unusable(name: str, reason: object) -> str:
    """Say of a file that was to be an image why it cannot be used; one with the name of a video is called a video where it is broken.

    >>> unusable("x.png", "truncated"), unusable("x.mp4", "truncated")
    ("'x.png' is no usable image: truncated", "'x.mp4' is no usable video: truncated")
    """
    broken = name.lower().endswith(FILMS) and "not an image" not in str(reason)
    what = "is no usable video" if broken else "is no usable image"
    return f"'{name}' {what}: {reason}"


def refusal(head: bytes, name: str = "", wanted: str = "image") -> str:
    """Say why a file is left out: what it is, and one next step.

    >>> refusal(b"%PDF-1.4", "page.jpg")
    'a PDF document, which is not read: write its pages as PNG: pdftoppm -png FILE page'
    >>> refusal(b"ID3", "song.png", "image")
    'an MP3 sound, not an image: systems for sound read it, such as wavenet'
    >>> refusal(b"hello", "notes.txt", "sound")
    'text, not sound'

    Args:
        head: See `what_is`.
        name: See `what_is`.
        wanted: image, sound, clip or shape.
    """
    found, film = what_is(head, name), name.lower().endswith(FILMS)
    if wanted == "image" and film and (found is None or found.group != "clip"):
        wanted = "clip"
    thing, group = _WANTED[wanted]
    if found is None:
        return (
            "damaged: its beginning is missing or overwritten; copy it again"
            if film
            else f"not {thing} of a known format"
        )
    if found is _EMPTY:
        return found.what
    if found.group == group and not found.todo:
        return f"{found.what}, damaged or stored in a way that is not read: get it again, or save it as {_PLAIN[group]}"
    todo = _ELSEWHERE.get((found.group, wanted), "" if found.group in _READ and found.group != group else found.todo)
    if found.group == "scan" and found.todo:
        todo = found.todo
    other = ", which is not read" if found.group == group else "" if "not the file" in found.what else f", not {thing}"
    return f"{found.what}{other}{f': {todo}' if todo else ''}"
