"""Scans for tests, written by the libraries themselves, in any orientation, as DICOM, NIfTI or NRRD; and their slices."""

from __future__ import annotations

import itertools
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from genzoo.data import DataSettings
from genzoo.data.decode import images as decode
from genzoo.data.decode.scans.volume import SHELF
from genzoo.data.sources.contents import Contents
from genzoo.data.sources.files import Files, OneFile
from genzoo.data.sources.scans import ScanPictures, sliced

pydicom = pytest.importorskip("pydicom", reason="scans need the extra: pip install 'genzoo[scans]'")
nibabel = pytest.importorskip("nibabel", reason="scans need the extra: pip install 'genzoo[scans]'")
nrrd = pytest.importorskip("nrrd", reason="scans need the extra: pip install 'genzoo[scans]'")

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


@contextmanager
def memory() -> Iterator[Callable[[], int]]:
    """Measure what is allocated at most within: bytes, known afterwards."""
    peak = []
    tracemalloc.start()
    try:
        yield lambda: peak[0]
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def patient(seed: int = 0, size: tuple[int, int, int] = (12, 10, 8)) -> np.ndarray:
    """A volume [L, P, S] of CT numbers: no two planes of it look alike, nor any after a turn or a mirroring."""
    rng = np.random.default_rng(seed)
    left, back, up = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    return (-900 + 60 * left + 31 * back + 17 * up + rng.integers(-4, 5, size)).astype(np.int16)


def turned(volume: np.ndarray, order: tuple[int, int, int], signs: tuple[int, int, int], spacing=(1.0, 1.0, 1.0)):
    """The cells of a volume in LPS in another order, and the matrix [4, 4] from those cells to LPS.

    Args:
        volume: [L, P, S].
        order: Which axis of the patient each axis of cells is.
        signs: Whether cells go that way (1) or the other (-1).
        spacing: Millimetres along L, P and S.
    """
    cells = volume.transpose(order)[tuple(slice(None, None, s) for s in signs)]
    affine = np.eye(4)
    affine[:3, :3] = 0
    for cell, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        affine[axis, cell] = sign * spacing[axis]
        affine[axis, 3] = -30.0 if sign > 0 else -30.0 + spacing[axis] * (volume.shape[axis] - 1)
    return np.ascontiguousarray(cells), affine


ORDERS = list(itertools.permutations(range(3)))
SIGNS = list(itertools.product((1, -1), repeat=3))
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def nifti(path: Path, cells: np.ndarray, affine: np.ndarray, *, slope=None, dtype=None) -> Path:
    """Write cells with a matrix to LPS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(cells if dtype is None else cells.astype(dtype), RAS @ affine)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    return path


def nrrd_file(
    path: Path, cells: np.ndarray, affine: np.ndarray, space="left-posterior-superior", encoding="gzip"
) -> Path:
    """Write cells with a matrix to LPS, counted in another space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = np.diag([1 if "left" in space else -1, 1 if "posterior" in space else -1, 1])
    header = {
        "space": space, "space directions": (turn @ affine[:3, :3]).T, "space origin": turn @ affine[:3, 3], "encoding": encoding,
        "kinds": ["domain"] * 3,
    }  # fmt: skip
    nrrd.write(str(path), cells, header)
    return path


def dataset(pixels: np.ndarray, **tags):
    """A CT slice of stored numbers [rows, columns]."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CT
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = ds.SeriesInstanceUID = "1.2.3.4"
    ds.PatientID, ds.PatientName, ds.Modality = "P1", "Doe^Jane", "CT"
    ds.Rows, ds.Columns = pixels.shape[-2:] if pixels.ndim < 4 else pixels.shape[1:3]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.PixelData = pixels.tobytes()
    for key, value in tags.items():
        if value is None:
            delattr(ds, key)
        else:
            setattr(ds, key, value)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def save(path: Path, ds) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def series(
    folder: Path, cells: np.ndarray, affine: np.ndarray, *, slopes=None, intercept=-1024.0, names=None, skip=(), **tags
) -> list[Path]:
    """Write cells [columns, rows, slices] with a matrix to LPS as a series of uint16, one file a slice, in an order that names do not tell.

    Args:
        folder: Where.
        cells: Physical values.
        affine: From cells to LPS.
        slopes: Of each slice; 1 when not given.
        intercept: Of all.
        names: Of the files; made up when not given.
        skip: Slices that are not written.
        tags: What else stands in every file.
    """
    from pydicom.uid import generate_uid

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    way = affine[:3, :3] / spacing
    uid, paths = tags.pop("SeriesInstanceUID", generate_uid()), []
    shuffled = np.random.default_rng(7).permutation(cells.shape[2])
    for k in range(cells.shape[2]):
        if k in skip:
            continue
        slope = 1.0 if slopes is None else slopes[k]
        stored = np.rint((cells[:, :, k].T.astype(float) - intercept) / slope).astype(np.uint16)
        ds = dataset(np.ascontiguousarray(stored), SeriesInstanceUID=uid)
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
        ds.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        ds.ImageOrientationPatient = [*map(float, way[:, 0]), *map(float, way[:, 1])]
        ds.ImagePositionPatient = [*map(float, (affine @ [0, 0, k, 1])[:3])]
        ds.SliceThickness, ds.InstanceNumber = float(spacing[2]), int(shuffled[k]) + 1
        for key, value in tags.items():
            setattr(ds, key, value)
        paths.append(save(folder / (names[k] if names else f"IM{shuffled[k]:04d}"), ds))
    return paths


def study(folder: Path, patients: int = 6, slices: int = 4, **tags) -> None:
    """Write a series of each of several patients, in a folder of its own."""
    for p in range(patients):
        cells, affine = turned(patient(p, (8, 8, slices)), (0, 1, 2), (1, 1, 1))
        series(folder / f"{p}", cells, affine, PatientID=f"P{p}", **tags)


def shipped(name: str) -> Path:
    """Find a file that pydicom ships; skip the test where it came without."""
    from pydicom.data import get_testdata_file

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = get_testdata_file(name, download=False)
    return Path(path) if path else pytest.skip(f"pydicom came without {name}")


PLANES = {
    "axial": lambda v: [v[:, :, k].T for k in range(v.shape[2])],
    "coronal": lambda v: [v[:, k, ::-1].T for k in range(v.shape[1])],
    "sagittal": lambda v: [v[k, :, ::-1].T for k in range(v.shape[0])],
}
"""Slices of a volume [L, P, S] as they are looked at: rows go to the back, or to the feet."""


def opened(path: Path, **settings) -> Contents:
    """Look at the scans of a file or folder."""
    told = DataSettings(str(path), **settings)
    source = Files(path, told) if path.is_dir() else OneFile(path)
    return sliced(source.contents("image"), told, quiet=True)


def slices(path: Path, **settings) -> list[np.ndarray]:
    """The values of all slices, as they are looked at."""
    (pictures,) = opened(path, **settings).pictures.values()
    assert isinstance(pictures, ScanPictures)
    ordered = sorted(pictures.cuts, key=lambda c: (c.time, c.index))
    try:
        with decode.quiet_decoding():
            return [c.read().values for c in ordered]
    finally:
        SHELF.clear()


def left(path: Path, **settings) -> dict[str, str]:
    """Why files are left out."""
    return dict(opened(path, **settings).left)
