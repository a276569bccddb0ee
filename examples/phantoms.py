"""Drawn patients for the examples on scans: volumes in Hounsfield units with and without contrast medium, with a lesion, as DICOM or NIfTI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SIZE = (64, 64, 12)
"""Cells to the patient's left, to his back and to his head."""
SPACING = (5.0, 5.0, 8.0)
"""Millimetres."""
AFFINE = np.array([[5.0, 0, 0, -160], [0, 5.0, 0, -160], [0, 0, 8.0, 0], [0, 0, 0, 1]])
"""From cells to millimetres in DICOM's directions: left, back, head."""


@dataclass(frozen=True)
class Patient:
    """One drawn patient.

    Args:
        number: Of the patient.
        plain: Without contrast medium, float32 [L, P, S] in HU.
        medium: With it.
        body: Where the patient is, bool.
        lesion: Where the lesion in the liver is, bool; it takes up less contrast medium than the liver around it.
    """

    number: int
    plain: np.ndarray
    medium: np.ndarray
    body: np.ndarray
    lesion: np.ndarray


def patient(number: int) -> Patient:
    """Draw a patient: the same number is the same patient."""
    rng = np.random.default_rng([20_180_611, number])
    left, back, up = np.meshgrid(*((np.arange(n) + 0.5) / n * 2 - 1 for n in SIZE), indexing="ij")
    plain, medium = np.full(SIZE, -1000.0), np.full(SIZE, -1000.0)
    strength = rng.uniform(0.7, 1.3)  # how much contrast medium has arrived

    def ball(x: float, y: float, z: float, a: float, b: float, c: float) -> np.ndarray:
        return ((left - x) / a) ** 2 + ((back - y) / b) ** 2 + ((up - z) / c) ** 2 < 1

    def tube(x: float, y: float, a: float, b: float) -> np.ndarray:
        return ((left - x) / a) ** 2 + ((back - y) / b) ** 2 < 1

    def fill(where: np.ndarray, value: float, gain: float = 0.0) -> None:
        plain[where], medium[where] = value, value + gain * strength

    wide, deep = rng.uniform(0.8, 0.92), rng.uniform(0.6, 0.72)
    body = tube(0, 0, wide, deep)
    fill(body, -100)
    fill(tube(0, 0, wide - 0.09, deep - 0.09), rng.normal(52, 4), 10)
    fill(tube(0, 0.02, wide - 0.17, deep - 0.17), rng.normal(-95, 5))
    x, y, z = -0.33 + rng.normal(0, 0.03), -0.1, rng.normal(0, 0.15)
    liver = ball(x, y, z, 0.3, 0.33, 1.2)
    fill(liver, rng.normal(56, 6), 55)
    lx, ly, lz = x + rng.uniform(-0.1, 0.1), y + rng.uniform(-0.12, 0.12), z + rng.uniform(-0.4, 0.4)
    r = rng.uniform(0.08, 0.13)
    lesion = ball(lx, ly, lz, r, r, rng.uniform(0.35, 0.6)) & liver
    fill(lesion, rng.normal(44, 4), 12)
    for _ in range(rng.integers(3, 6)):  # bowel, some of it with gas
        bx, by, s = rng.uniform(0.0, 0.55), rng.uniform(-0.42, 0.05), rng.uniform(0.06, 0.12)
        bz = rng.uniform(-0.8, 0.8)
        fill(ball(bx, by, bz, s, s, 0.5), rng.normal(32, 10), rng.uniform(0, 30))
        if rng.random() < 0.3:
            fill(ball(bx, by, bz, s / 2, s / 2, 0.3), -900)
    for side in (-1, 1):
        fill(tube(side * 0.19, 0.33, 0.09, 0.11), rng.normal(52, 4), 10)  # psoas
        kx, ky, kz = side * rng.uniform(0.36, 0.46), rng.uniform(0.18, 0.3), rng.normal(0, 0.2)
        fill(
            ball(kx, ky, kz, rng.uniform(0.1, 0.15), rng.uniform(0.15, 0.21), 0.8),
            rng.normal(32, 4),
            rng.uniform(130, 180),
        )
    fill(tube(0.06, 0.16, 0.065, 0.065), rng.normal(42, 3), 250)  # aorta
    fill(tube(-0.09, 0.15, 0.07, 0.055), rng.normal(42, 3), 130)  # vena cava
    fill(tube(0, 0.36, 0.11, 0.1), rng.normal(350, 60))  # spine
    return Patient(number, _scanned(plain, rng), _scanned(medium, rng), body, lesion)


def _scanned(tissue: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, noise of about 12 HU that neighbours share in part, whole Hounsfield units."""
    noise = rng.normal(0, 27, tissue.shape)
    for axis in (0, 1):
        tissue = (np.roll(tissue, 1, axis) + 2 * tissue + np.roll(tissue, -1, axis)) / 4
        noise = (np.roll(noise, 1, axis) + noise + np.roll(noise, -1, axis)) / 3 * 1.15
    return np.rint(tissue + noise).clip(-1024, 3071).astype(np.float32)


def write_dicom(folder: Path, volume: np.ndarray, who: int, series: str) -> Path:
    """Write a volume [L, P, S] as a CT series, one file a slice."""
    folder.mkdir(parents=True, exist_ok=True)
    uid, study = generate_uid(), generate_uid(entropy_srcs=[f"study {who}"])
    for k in range(volume.shape[2]):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid()
        ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = (
            ds.SOPClassUID,
            ds.SOPInstanceUID,
        )
        ds.PatientID, ds.PatientName, ds.Modality = f"PHANTOM{who:04d}", f"Phantom^{who}", "CT"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SeriesDescription = study, uid, series
        ds.InstanceNumber, ds.ImageType = k + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], [SPACING[1], SPACING[0]]
        ds.ImagePositionPatient, ds.SliceThickness = [*map(float, (AFFINE @ [0, 0, k, 1])[:3])], SPACING[2]
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.Rows, ds.Columns = volume.shape[1], volume.shape[0]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
        ds.WindowCenter, ds.WindowWidth = 40, 400
        ds.PixelData = np.ascontiguousarray((volume[:, :, k].T + 1024).astype(np.uint16)).tobytes()
        ds.save_as(folder / f"IM{k:04d}.dcm", enforce_file_format=True)
    return folder


def read_dicom(folder: Path) -> np.ndarray:
    """Read a series with pydicom alone, float64 [L, P, S] in HU."""
    slices = [pydicom.dcmread(p) for p in folder.iterdir()]
    slices.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    return np.stack([(ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)).T for ds in slices], 2)


def write_nifti(path: Path, volume: np.ndarray) -> Path:
    """Write a volume [L, P, S]: values as int16, masks as uint8 (a float mask would come back stretched)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if volume.dtype == np.bool_ else np.int16
    nibabel.save(nibabel.Nifti1Image(np.rint(volume).astype(kind), np.diag([-1, -1, 1, 1]) @ AFFINE), path)
    return path


def read_nifti(path: Path) -> np.ndarray:
    """Read a volume with nibabel alone, float64 [L, P, S]."""
    return np.asarray(nibabel.load(path).dataobj, np.float64)
