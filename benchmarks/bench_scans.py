"""How fast a folder of CT slices gets into the cache, as a share of the rate at which pydicom alone gives `pixel_array`.

Into the cache means all of it: finding and telling the files, headers, sorting by place, values, window, resizing where `size` is not that of the
files, writing to disk (fsync) and the digests of what was written. pydicom runs in one thread; genzoo in one too where slices are only read and
spread over their window, beside which one digests and brings to disk, and resizes in one for each core. Bound to one core, both have the same:

    python -m benchmarks.bench_scans [--slices 2000] [--side 512]
    taskset -c 0 python -m benchmarks.bench_scans
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks import frame
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


class Round(NamedTuple):
    """Seconds of the clock, and of the processor in all threads, which hold on a machine that others use as well."""

    clock: float
    cpu: float


def spent(work: Callable[[], Any]) -> Round:
    """Time one call."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return Round(time.perf_counter() - clock, time.process_time() - cpu)


def line(what: str, alone: list[Round], ours: list[Round], slices: int, moved: int, limits: list[float]) -> str:
    """Say how fast it was, of pydicom's rate in the same round, and of a copy of what is read and written."""
    ratio = [
        frame.spread([getattr(a, key) / getattr(o, key) for a, o in zip(alone, ours, strict=True)], 2)
        for key in Round._fields
    ]
    cpu = statistics.median(o.cpu for o in ours)
    share = statistics.median(moved / o.cpu / limit for o, limit in zip(ours, limits, strict=True))
    return (
        f"{what}: {slices / statistics.median(o.clock for o in ours):.0f}/s, {ratio[0]} of pydicom's rate by the clock, "
        f"{ratio[1]} by time of the processor, of which a slice takes {1e3 * cpu / slices:.2f} ms, {100 * share:.1f} % of the limit"
    )


def main() -> None:
    """Print the rates and their quotients: medians and quartiles of rounds in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=2000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    kinds: list[dict[str, Any]] = [
        {"size": given.side}, {"size": given.side, "gray_window": "soft"}, {"size": given.side // 2}, {"size": 64},
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        cache = os.environ["GENZOO_CACHE"] = f"{place}/cache"
        folder = Path(place) / "study"
        folder.mkdir()
        write(folder, given.slices, given.side)
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        first = Path(place) / "first"
        first.mkdir()
        write(first, 20, 64)
        open_data(DataSettings(str(first)), kind="image", quiet=True)  # what both import is no part of a rate
        alone: list[list[Round]] = [[] for _ in kinds]
        ours: list[list[Round]] = [[] for _ in kinds]
        limits: list[list[float]] = [[] for _ in kinds]
        for _ in range(given.rounds):
            for i, settings in enumerate(kinds):
                limits[i].append(frame.copy_rate())
                alone[i].append(spent(lambda: [pydicom.dcmread(file).pixel_array.shape for file in files]))
                told = DataSettings(str(folder), **settings)
                ours[i].append(spent(lambda told=told: open_data(told, kind="image", quiet=True)))
                shutil.rmtree(cache)
        n, read = len(files), sum(f.stat().st_size for f in files)
        clock, cpu = (statistics.median(getattr(a, key) for each in alone for a in each) for key in Round._fields)
        print(
            f"{n} slices of {given.side}x{given.side}, {len(os.sched_getaffinity(0))} cores, medians (quartiles) of {given.rounds}; "
            f"pydicom alone: {n / clock:.0f}/s, {1e3 * cpu / n:.2f} ms of the processor each"
        )
        for settings, *of in zip(kinds, alone, ours, limits, strict=True):
            print(line(str(settings), of[0], of[1], n, read + n * settings["size"] ** 2, of[2]))


if __name__ == "__main__":
    main()
