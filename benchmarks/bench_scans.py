"""How fast a folder of CT slices gets into the cache, as a share of the rate at which pydicom alone gives `pixel_array`.

python -m benchmarks.bench_scans [--slices 2000] [--side 512]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from genzoo.data import DataSettings, open_data


def write(folder: Path, count: int, side: int) -> None:
    """Write a study of noisy bodies, 100 slices a patient."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (side, side)).astype(np.uint16)
    y, x = np.mgrid[:side, :side] / side - 0.5
    for i in range(count):
        body = ((x / 0.4) ** 2 + (y / (0.3 + 0.001 * (i % 100))) ** 2 < 1) * np.uint16(1050) + noise
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.PatientID, ds.SeriesInstanceUID, ds.Modality = f"P{i // 100}", f"1.2.{i // 100}", "CT"
        ds.Rows = ds.Columns = side
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        ds.RescaleSlope, ds.RescaleIntercept, ds.WindowCenter, ds.WindowWidth = 1, -1024, 40, 400
        ds.PixelSpacing, ds.ImageOrientationPatient = [0.7, 0.7], [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [0, 0, float(i % 100)]
        for k in range(60):  # a real header has some hundred elements more
            ds.add_new((0x0009, 0x1000 + k), "LO", f"value {k}")
        ds.PixelData = body.tobytes()
        (folder / f"p{i // 100}").mkdir(exist_ok=True)
        ds.save_as(folder / f"p{i // 100}" / f"{i:05d}", enforce_file_format=True)


def rate_of(work: Callable[[], Any], count: int) -> tuple[float, float]:
    """Slices in a second, by the clock and by the time that the processor spent: the second holds on a machine that others use as well."""
    clock, spent = time.perf_counter(), time.process_time()
    work()
    return count / (time.perf_counter() - clock), count / (time.process_time() - spent)


def main() -> None:
    """Print both rates and their quotient."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=2000)
    parser.add_argument("--side", type=int, default=512)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        os.environ["GENZOO_CACHE"] = f"{place}/cache"
        folder = Path(place) / "study"
        folder.mkdir()
        write(folder, given.slices, given.side)
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        first = Path(place) / "first"
        first.mkdir()
        write(first, 20, 64)
        open_data(DataSettings(str(first)), kind="image", quiet=True)  # what both import is no part of a rate
        alone = rate_of(lambda: [pydicom.dcmread(file).pixel_array.shape for file in files], len(files))
        for settings in ({"size": given.side}, {"size": 256}, {"size": given.side, "gray_window": "soft"}):
            told = DataSettings(str(folder), **settings)
            rate = rate_of(lambda told=told: open_data(told, kind="image", quiet=True), len(files))
            print(
                f"{settings}: {rate[0]:.0f} slices/s, pydicom alone {alone[0]:.0f}: {rate[0] / alone[0]:.2f}; "
                f"by time of the processor {rate[1]:.0f} and {alone[1]:.0f}: {rate[1] / alone[1]:.2f}"
            )


if __name__ == "__main__":
    main()
