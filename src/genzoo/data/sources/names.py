"""Names of the data sets that need no path, with one line on each. Imports nothing heavy: the command line lists them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

from genzoo.core.files import folder_named

EMBEDDED: dict[str, str] = {
    "digits": "1,797 handwritten digits, gray 32x32, 10 classes (UCI, 8x8 originals enlarged); comes with genzoo",
    "garments": "6,000 photographs of clothing, gray 28x28, 10 classes (a balanced part of Fashion-MNIST); comes with genzoo",
}
"""Sets inside the package."""

DRAWN: dict[str, str] = {
    "shapes": "2,200 drawings of coloured shapes, RGB 64x64, two captions each; the test part's captions are new combinations",
}
"""Sets drawn from their definition, images with captions."""

STANDARD: dict[str, str] = {
    "mnist": "70,000 handwritten digits, gray 28x28, 10 classes",
    "fashion-mnist": "70,000 photographs of clothing, gray 28x28, 10 classes",
    "cifar10": "60,000 photographs of animals and vehicles, RGB 32x32, 10 classes",
}
"""Sets found under $GENZOO_DATA/NAME, or fetched once."""

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
BINS = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
FILES = {"mnist": IDX, "fashion-mnist": IDX, "cifar10": BINS}
"""Their official files."""

POINTS: dict[str, str] = {
    "moons": "points in the plane: two interleaved half circles",
    "ring": "points in the plane: 8 narrow Gaussians on a circle",
    "grid": "points in the plane: 25 narrow Gaussians on a 5x5 grid",
    "spiral": "points in the plane: two arms of a spiral",
}
"""Toy sets drawn from their definition."""

MOVING: dict[str, str] = {
    "moving-digits": "clips: two of the embedded digits fly over a black square and bounce off its sides (frames=16 size=64)",
    "moving-mnist": "clips: the same with digits of mnist, whose training and test digits stay apart",
}
"""Clips drawn from their definition."""

FORMS: dict[str, str] = {
    "FOLDER": "images, searched recursively; class subfolders become labels; A/ and B/, trainA/ and trainB/, captions.csv",
    "FILE.zip, FILE.tar, FILE.tar.gz": "the same inside an archive, read without unpacking",
    "FILE.npz, FILE.npy": "arrays of images ([N,H,W], [N,H,W,C] or [N,C,H,W]) with optional labels, or [N,D] points",
    "FILE.parquet, data.mdb, FILE.tfrecords": "images in a table, an LMDB, a TFRecord (extras tables, lmdb, tfrecord); also a folder of them",
    "train-{000000..000019}.tar": "shards of webdataset; also a folder of them, or train-*.tar",
    "FOLDER of clips": "for video: GIF, animated WebP or PNG, MP4 and the like (extra genzoo[video]), folders of numbered frames",
    "FOLDER of shapes": "for voxels: .npy, .npz, .binvox, meshes OBJ, PLY, OFF; with the extra genzoo[voxels] also STL, GLB, .mat",
    "FOLDER of scans": "DICOM, NIfTI, NRRD (extra genzoo[scans]): slices of physical values, split by patient; plane=, slices=, gray_window=",
    "FILE.png": "one image, as an exemplar",
    "hf:NAME": "a set of the Hugging Face hub, through the extra genzoo[hub]",
    "DATA,DATA": "two of the above as the two sides of pairs or of unpaired data",
}
"""What else `data=` takes."""


def available() -> dict[str, str]:
    """List every set that has a name, with one line on it.

    >>> "digits" in available()
    True
    """
    return {**EMBEDDED, **DRAWN, **STANDARD, **POINTS, **MOVING}


def composed(name: str) -> str:
    """Bring a name into one form of Unicode, so that the same letters are the same name, whichever system wrote it.

    >>> composed("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def stem_of(name: str) -> str:
    """Remove the ending of a file's name in a tree: "a.b/c.tar.png" becomes "a.b/c.tar"."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.rpartition('.')[0] or last}"


def key_of(name: str) -> tuple[str, str]:
    """Divide the name of a member of a shard into the key of its sample and what it is: the key ends at the first dot.

    >>> key_of("v1.0/0001.seg.png")
    ('v1.0/0001', 'seg.png')
    """
    folder, slash, last = name.rpartition("/")
    key, _, what = last.partition(".")
    return f"{folder}{slash}{key}", what


def located(text: str) -> Path:
    """Find the path that a text means: as it stands, else a folder below $GENZOO_DATA; also where its letters have another form of Unicode.

    Where there is none it is the text's own.
    """
    path = Path(text).expanduser()
    root = folder_named("GENZOO_DATA")
    below = root / text if root else path
    for candidate in (path, below):
        if candidate.is_dir() or (candidate is path and path.exists()):
            return candidate
        if not candidate.name.isascii() and os.access(candidate.parent, os.R_OK) and candidate.parent.is_dir():
            for other in candidate.parent.iterdir():
                if composed(other.name) == composed(candidate.name):
                    return other
    return path


def is_known(text: str) -> bool:
    """Tell whether a text is the name of a set, or a path that is there."""
    return text.startswith("hf:") or text.lower().replace("_", "-") in available() or located(text).exists()


def two_sides(text: str, known: Callable[[str], bool] = is_known) -> tuple[str, str] | None:
    """Split a text with a comma into the two sides that it means; None where it means one thing.

    Names of folders may have commas: the comma that divides is the first with something known on either side of it, and there is
    none where the whole text is known. With nothing known the first comma divides.
    """
    if "," not in text or known(text):
        return None
    cuts = [(text[:i].strip(), text[i + 1 :].strip()) for i, c in enumerate(text) if c == ","]
    return next((c for c in cuts if known(c[0]) and known(c[1])), cuts[0])
