#!/usr/bin/env bash
# SimpleITK reads a DICOM series as the type of number that its first slice needs, and cuts the values of all others down to that.
#
# One would guess: each slice of a series has its own rescale slope (as PET and some CT have), SimpleITK applies each slice's own, and the volume
# is of floats as soon as one slice needs them; or it says that slices differ.
# What happens: with slope 1 in the first slice by place the whole volume is of 32-bit integers, and slices with slope 0.25 lose their fractions, cut
# towards zero (10.75 becomes 10, -89.75 becomes -89), without a word. With the same slices in the other order the volume is of floats and right.
# So values of a study depend on what its outermost slice happened to be stored as; read alone, every file is right.
# Versions: SimpleITK 2.5.7, pydicom 3.0.2, numpy 2.4.6, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q simpleitk==2.5.7 pydicom==3.0.2 numpy==2.4.6
v/bin/python - <<'PY'
import pathlib, sys
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def series(name, slopes, values):
    folder, uid = pathlib.Path(name), generate_uid()
    folder.mkdir()
    for k, (slope, value) in enumerate(zip(slopes, values)):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID = CTImageStorage, generate_uid(), uid, "1.2.3"
        ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
        ds.PatientID, ds.Modality, ds.InstanceNumber = "1", "CT", k + 1
        ds.Rows = ds.Columns = 4
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit = 15
        ds.PixelSpacing, ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 1], [1, 0, 0, 0, 1, 0], [0, 0, k]
        ds.RescaleSlope, ds.RescaleIntercept = slope, -1000
        ds.PixelData = np.full((4, 4), round((value + 1000) / slope), np.uint16).tobytes()
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(name))
    image = reader.Execute()
    found = sitk.GetArrayFromImage(image)[:, 0, 0].tolist()
    alone = [float(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{k}.dcm")))[0, 0, 0]) for k in range(len(values))]
    print(f"slopes {slopes}: {image.GetPixelIDTypeAsString()}\n  as a series {found}\n  alone       {alone}\n  written     {values}")
    return found, alone


values = [1.0, 10.75, -89.75, 30.75]
first, alone = series("a", [1, 0.25, 0.25, 0.25], values)
second, _ = series("b", [0.25, 1, 0.25, 0.25], [10.75, 1.0, -89.75, 30.75])
sys.exit(0 if alone == values and first == [1, 10, -89, 30] and second == [10.75, 1.0, -89.75, 30.75] else 1)
PY
