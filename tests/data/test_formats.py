"""What files of foreign formats are called, and that what to do about them is said; no library's own words."""

import ast
import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import genzoo
from genzoo.data.decode.reasons import in_words
from genzoo.data.formats import HEAD, refusal, refused, what_is


def ftyp(*brands):
    body = b"ftyp" + brands[0].encode() + bytes(4) + "".join(brands[1:]).encode()
    return struct.pack(">I", len(body) + 4) + body + bytes(64)


def zipped(member="a.txt"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        z.writestr(member, "words")
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as t:
        info = tarfile.TarInfo("a.txt")
        info.size = 5
        t.addfile(info, io.BytesIO(b"words"))
    return buffer.getvalue()


def saved(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, kind)
    return buffer.getvalue()


TIFF = b"II*\0\x10\0\0\0" + bytes(64)
FOREIGN = [
    # name, beginning, what it is called, a word of the next step for images
    ("IMG_1.HEIC", ftyp("heic", "mif1", "heic"), "HEIC", "JPEG"),
    ("IMG_1.jpg", ftyp("mif1", "heix"), "HEIC", "JPEG"),
    ("a.cr3", ftyp("crx ", "crx ", "isom"), "CR3", "develop"),
    ("scan.dcm", bytes(128) + b"DICM" + bytes(64), "DICOM", "data= reads it"),
    ("IM0001", b"\x08\0\x05\0CS\x0a\0ISO_IR 100" + bytes(64), "DICOM", "data= reads it"),
    ("brain.nii", struct.pack("<I", 348) + bytes(340) + b"n+1\0", "NIfTI", "data= reads it"),
    ("brain.nii", struct.pack(">I", 348) + bytes(340) + b"n+1\0", "NIfTI", "data= reads it"),
    ("brain.nii.gz", b"\x1f\x8b\x08\0" + bytes(60), "NIfTI", "data= reads it"),
    ("a.nrrd", b"NRRD0004\ntype: short\n", "NRRD", "data= reads it"),
    ("a.mha", b"ObjectType = Image\nNDims = 3\n", "MetaImage", "NIfTI"),
    ("a.fits", b"SIMPLE  =                    T", "FITS", ".npy"),
    ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5", ".npy"),
    ("a.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "MATLAB", ".npy"),
    ("a.mat", b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", "MATLAB", ".npy"),
    ("a.psd", b"8BPS\0\1" + bytes(60), "PSD", "PNG"),
    ("a.xcf", b"gimp xcf v011\0", "XCF", "PNG"),
    ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(60), "CR2", "develop"),
    ("a.NEF", TIFF, "NEF", "develop"),
    ("a.arw", TIFF, "ARW", "develop"),
    ("a.dng", TIFF, "DNG", "develop"),
    ("a.raf", b"FUJIFILMCCD-RAW 0201", "RAF", "develop"),
    ("a.exr", b"v/1\1\2\0\0\0", "OpenEXR", "gray_window="),
    ("a.hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "Radiance", "PNG"),
    ("a.svg", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG", "PNG"),
    ("a.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "PDF", "pdftoppm"),
    ("a.dds", b"DDS |\0\0\0", "DDS", "PNG"),
    ("a.ico", b"\0\0\1\0\1\0\x10\x10", "ICO", "PNG"),
    ("a.jxl", b"\xff\x0a\xfa\x1f", "JPEG XL", "djxl"),
    ("a.jxl", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", "djxl"),
    ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS", "PNG"),
    ("a.m4a", ftyp("M4A ", "M4A ", "mp42"), "M4A", "systems for sound"),
    ("a.mp3", b"ID3\4\0\0\0\0", "MP3", "systems for sound"),
    ("a.mp3", b"\xff\xfb\x90\x44" + bytes(60), "MP3", "systems for sound"),
    ("a.aac", b"\xff\xf1\x50\x80" + bytes(60), "AAC", "systems for sound"),
    ("a.wav", b"RIFF\x24\0\0\0WAVEfmt ", "WAV", "systems for sound"),
    ("a.mp4", ftyp("isom", "isom", "mp42"), "MP4", "ffmpeg"),
    ("a.mov", ftyp("qt  ", "qt  "), "MOV", "ffmpeg"),
    ("a.mkv", b"\x1a\x45\xdf\xa3\x93B\x82", "Matroska", "ffmpeg"),
    ("a.zip", zipped(), "zip", "unpack"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c\0\4", "7z", "unpack"),
    ("a.rar", b"Rar!\x1a\7\1\0", "RAR", "unpack"),
    ("a.txt.gz", b"\x1f\x8b\x08\0" + bytes(60), "gzip", "gunzip"),
    ("a.tar", tarred(), "tar", "unpack"),
    ("a.jpg", b"<!DOCTYPE html>\n<html><head>", "web page", "download"),
    ("a.jpg", b"\n<html lang=en>", "web page", "download"),
    ("a.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS", "git lfs pull"),
    ("a.png", b"/annex/objects/SHA256E-s1--00.png\n", "git-annex", "git annex get"),
    ("a.tfrecord", b"\x80\0\0\0\0\0\0\0abcd", "TFRecord", ".npy"),
    ("a.parquet", b"PAR1\x15\4", "Parquet", ".csv"),
    ("a.pkl", b"\x80\4\x95\x10\0\0\0", "pickle", ".npy"),
    ("a.pt", zipped("archive/data.pkl"), "PyTorch", ".npy"),
    ("a.off", b"OFF\n8 6 12\n", "OFF", "shapes"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\n", "OBJ", "shapes"),
    ("a.stl", b"solid cube\n facet normal 0 0 1\n", "STL", "shapes"),
    ("a.glb", b"glTF\2\0\0\0", "GLB", "shapes"),
    ("a.docx", zipped("word/document.xml"), "Office", ".csv"),
    ("labels.csv", b"file,label\na.png,3\n", "CSV", "points"),
]


@pytest.mark.parametrize(("name", "data", "called", "step"), FOREIGN, ids=[f"{f[0]}-{f[2]}" for f in FOREIGN])
def test_a_foreign_file_is_named_with_one_next_step(name, data, called, step):
    reason = refusal(data[:HEAD], name)
    what, _, todo = reason.partition(": ")
    assert called in what
    assert step in todo
    assert refused(io.BytesIO(data), name) == reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000"])
def test_a_picture_among_sounds_is_named(kind):
    found = what_is(saved(kind)[:HEAD])
    assert found.group == "picture"
    assert refusal(saved(kind)[:HEAD], "a.wav", "sound") == f"{found.what}, not sound: systems for images read it"


def test_what_has_no_name():
    assert refusal(b"") == "empty file"
    assert refusal("Bilder für alle\n".encode() * 99, "README.md") == "text, not an image"
    assert refusal("ü".encode() * 99 + b"\xc3", "README.md", "sound") == "text, not sound"
    assert refusal(bytes(range(256)) * 4, "data.bin") == "not an image of a known format"
    rng = np.random.default_rng(0)
    unknown = [what_is(rng.integers(0, 256, 512, dtype=np.uint8).tobytes()) for _ in range(2000)]
    assert sum(u is None for u in unknown) > 1980  # patterns are not so short that noise has names


def test_an_exception_is_said_in_our_words():
    assert in_words(zlib.error("Error -3 while decompressing data: incorrect header check")) == (
        "damaged: it cannot be unpacked"
    )
    assert in_words(ValueError("cannot reshape array of size 3 into shape (4,)")) == "damaged"
    assert in_words(struct.error("unpack requires a buffer of 4 bytes")) == "truncated"
    assert in_words(UnicodeDecodeError("utf-8", b"ab\xff", 2, 3, "invalid start byte")) == "no text in UTF-8 (byte 2)"


OURS = {"UserError", "Rejected", "DamagedFile", "DiskFull", "TrainingStopped", "Untrained"}
"""Exceptions whose text is written for the person who reads it."""


def library_words(source: str) -> list[int]:
    """Lines of handlers of foreign exceptions that pass the exception's own text on."""
    found = []
    for handler in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ExceptHandler) and n.name and n.type):
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if {ast.unparse(t).split(".")[-1] for t in types} <= OURS:
            continue
        inside = [n for part in handler.body for n in ast.walk(part)]
        fine = [
            n
            for n in inside
            if isinstance(n, ast.Compare)  # looked at, not passed on
            or (isinstance(n, ast.Call) and ast.unparse(n.func).startswith("re."))
            or (isinstance(n, (ast.If, ast.IfExp)) and "UserError" in ast.unparse(n.test))
        ]
        allowed = {id(n) for f in fine for n in ast.walk(f)}
        for n in inside:
            said = n.value if isinstance(n, ast.FormattedValue) else None
            text = n.args[0] if isinstance(n, ast.Call) and ast.unparse(n.func) in ("str", "repr") and n.args else None
            used = [x for x in (said, text, *(said.values if isinstance(said, ast.BoolOp) else ())) if x is not None]
            if id(n) not in allowed and any(isinstance(x, ast.Name) and x.id == handler.name for x in used):
                found.append(n.lineno)
    return found


def test_the_search_for_library_words_finds_them():
    shown = "try:\n    pass\nexcept {0} as error:\n    raise Rejected({1}) from None\n"
    for text in ('f"damaged: {error}"', 'f"{str(error)[:80]}"', "str(error)", 'f"{error.strerror or error}"'):
        assert library_words(shown.format("ValueError", text)), text
        assert library_words(shown.format("(OSError, UserError)", text)), text
        assert not library_words(shown.format("UserError", text)), text
    for text in ('f"damaged: {in_words(error)}"', '"damaged"', 'f"{error.strerror}"'):
        assert not library_words(shown.format("Exception", text)), text


@pytest.mark.parametrize("part", ["core", "naming", "saved", "data", "use", "web", "server", "studio"])
def test_no_text_of_a_librarys_exception_reaches_a_user(part):
    folder = Path(genzoo.__file__).parent / part
    found = {p.name: library_words(p.read_text(encoding="utf-8")) for p in folder.rglob("*.py")}
    assert {n: lines for n, lines in found.items() if lines} == {}


def test_only_the_words_of_somebodys_own_code_are_passed_on():
    """A class that is not of the zoo raises what its author wrote, and that is what helps; `raised` is for nothing else."""
    folder = Path(genzoo.__file__).parent
    asked = {str(p.relative_to(folder)) for p in folder.rglob("*.py") if "raised(error)" in p.read_text("utf-8")}
    assert asked == {"naming/own.py", "naming/registry.py"}
