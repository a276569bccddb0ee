"""Scans through a translator come back as scans: in their format, at their place, in their units, and read so by other libraries."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import genzoo
from genzoo.core.errors import UserError
from genzoo.use.translate import translate_files
from tests import scan_files as made

WINDOW = (-1000, 1000)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A translator that was trained on scans for a step; what it does is replaced, so that the right values are known."""
    folder = tmp_path_factory.mktemp("run")
    for side in "AB":
        for p in range(3):
            cells, affine = made.turned(made.patient(p, (16, 16, 4)), (0, 1, 2), (1, 1, 1))
            made.series(folder / side / f"{p}", cells, affine, PatientID=f"P{p}")
    return genzoo.train(
        "cyclegan", str(folder), gray_window=WINDOW, bits=16, steps=1, batch=1, width=4, blocks=1, layers=1, runs=str(folder / "runs"), quiet=True,
        device="cpu",
    )  # fmt: skip


@pytest.fixture
def darker(run, monkeypatch):
    """Takes 100 HU from everything: 0.1 of the window."""
    system = genzoo.load(run)
    monkeypatch.setattr(type(system), "translate", lambda self, x, *, direction="a2b": (x - 0.1).clip(-1, 1))
    return system


def right(values):
    return (np.clip(values.astype(float), *WINDOW) - 100).clip(*WINDOW)


def dicoms(folder) -> list[Any]:
    found = [made.pydicom.dcmread(p) for p in sorted(folder.rglob("*")) if p.is_file()]
    return sorted(found, key=lambda d: d.get("ImagePositionPatient", [0, 0, 0])[2])


def value(ds):
    return ds.pixel_array * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))


@pytest.mark.parametrize("slope", [1.0, 0.5, 2.5])
def test_dicom_for_dicom_with_its_place_and_units(slope, darker, tmp_path):
    volume = made.patient(9, (14, 11, 5))
    cells, affine = made.turned(volume, (0, 1, 2), (1, 1, 1), (0.7, 0.7, 2.5))
    made.series(tmp_path / "in", cells, affine, slopes=[slope] * 5, StudyDescription="Abdomen")
    written = translate_files(darker, tmp_path / "in", "a2b", out=tmp_path / "out")
    assert len(written) == 5
    before, after = dicoms(tmp_path / "in"), dicoms(tmp_path / "out")
    for old, new in zip(before, after, strict=True):
        assert np.abs(value(new) - right(value(old))).max() <= slope / 2 + 1e-6
        for key in (
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "StudyInstanceUID",
            "PatientID",
            "Rows",
            "Columns",
            "StudyDescription",
        ):
            assert new.get(key) == old.get(key), key
        assert (new.RescaleSlope, new.RescaleIntercept) == (old.RescaleSlope, old.RescaleIntercept)
        assert new.SOPInstanceUID != old.SOPInstanceUID == new.SourceImageSequence[0].ReferencedSOPInstanceUID
        assert new.ImageType[0] == "DERIVED"
        assert "cyclegan a2b" in new.ContributingEquipmentSequence[-1].ContributionDescription
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
    assert len({d.SeriesInstanceUID for d in after}) == 1
    assert after[0].SeriesInstanceUID != before[0].SeriesInstanceUID
    assert len({d.SOPInstanceUID for d in after}) == 5


def test_values_that_the_file_had_no_room_for_get_a_rescale_of_their_own(darker, tmp_path):
    stored = np.arange(100, dtype=np.uint8).reshape(10, 10)
    made.save(tmp_path / "in" / "a.dcm", made.dataset(stored, RescaleSlope=1, RescaleIntercept=-50))
    translate_files(darker, tmp_path / "in", "a2b", out=tmp_path / "out")
    (new,) = dicoms(tmp_path / "out")
    assert np.abs(value(new) - right(stored - 50.0)).max() <= float(new.RescaleSlope) / 2 + 1e-4
    assert float(new.RescaleSlope) < 0.04
    assert new.BitsStored == 16


def test_monochrome1_stays_monochrome1(darker, tmp_path, monkeypatch):
    stored = np.arange(100, dtype=np.uint16).reshape(10, 10) * 15
    made.save(
        tmp_path / "in" / "a.dcm", made.dataset(stored, PhotometricInterpretation="MONOCHROME1", RescaleIntercept=-700)
    )
    translate_files(darker, tmp_path / "in", "a2b", out=tmp_path / "out")
    (new,) = dicoms(tmp_path / "out")
    assert new.PhotometricInterpretation == "MONOCHROME1"
    # What is darker to the networks is a larger value here: they see it turned round.
    np.testing.assert_allclose(value(new), (stored - 700.0 + 100).clip(*WINDOW), atol=0.51)


def test_pixels_outside_the_scan_stay_outside(darker, tmp_path):
    stored = np.full((10, 10), 1000, np.uint16)
    stored[:2] = 0
    made.save(tmp_path / "in" / "a.dcm", made.dataset(stored, RescaleIntercept=-1024, PixelPaddingValue=0))
    translate_files(darker, tmp_path / "in", "a2b", out=tmp_path / "out")
    (new,) = dicoms(tmp_path / "out")
    assert (new.pixel_array[:2] == 0).all()
    np.testing.assert_allclose(value(new)[2:], -124, atol=0.51)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_implicit.dcm",
        "693_J2KI.dcm",
        "rtdose.dcm",
    ],
)
@pytest.mark.parametrize("anonymize", [False, True])
def test_real_files_go_through(name, anonymize, darker, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (path,) = translate_files(darker, made.shipped(name), "a2b", out=tmp_path / "out", anonymize=anonymize)
        old, new = made.pydicom.dcmread(made.shipped(name)), made.pydicom.dcmread(path)
        scale = float(old.get("DoseGridScaling", 0)) or float(old.get("RescaleSlope", 1))
        before = old.pixel_array * scale + float(old.get("RescaleIntercept", 0))
        step = float(new.get("RescaleSlope", 0)) or float(new.get("DoseGridScaling", 1))
        after = new.pixel_array * step + float(new.get("RescaleIntercept", 0))
    padded = old.pixel_array == old.get("PixelPaddingValue", object())
    assert np.abs(after - right(before))[~padded].max() <= step / 2 + 1e-3
    if anonymize:
        text = path.read_bytes()
        for key in ("PatientName", "PatientID", "InstitutionName", "StudyInstanceUID", "FrameOfReferenceUID"):
            if old.get(key):
                assert str(old[key].value).encode() not in text, key


def test_every_frame_of_an_enhanced_file_keeps_its_own_slope(darker, tmp_path):
    from pydicom.dataset import Dataset

    stored = np.arange(3 * 20, dtype=np.uint16).reshape(3, 4, 5)
    ds = made.dataset(stored, SOPClassUID=made.ENHANCED_CT, NumberOfFrames=3, RescaleSlope=None, RescaleIntercept=None)
    shared, frames = Dataset(), []
    way, measures, kind = Dataset(), Dataset(), Dataset()
    way.ImageOrientationPatient, measures.PixelSpacing, kind.FrameType = (
        [1, 0, 0, 0, 1, 0],
        [2, 2],
        ["ORIGINAL", "PRIMARY"],
    )
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence, shared.CTImageFrameTypeSequence = (
        [way],
        [measures],
        [kind],
    )
    for k, slope in enumerate((1, 2, 3)):
        frame, values, place = Dataset(), Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slope, -1000, "HU"
        place.ImagePositionPatient = [0, 0, 10 - k]
        frame.PixelValueTransformationSequence, frame.PlanePositionSequence = [values], [place]
        frames.append(frame)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], frames
    made.save(tmp_path / "in" / "a.dcm", ds)
    (path,) = translate_files(darker, tmp_path / "in", "a2b", out=tmp_path / "out")
    new = made.pydicom.dcmread(path)
    assert new.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0].FrameType[0] == "DERIVED"
    for k, frame in enumerate(new.PerFrameFunctionalGroupsSequence):
        rescale = frame.PixelValueTransformationSequence[0]
        assert rescale.RescaleSlope == k + 1
        found = new.pixel_array[k] * float(rescale.RescaleSlope) + float(rescale.RescaleIntercept)
        assert np.abs(found - right(stored[k] * (k + 1.0) - 1000)).max() <= (k + 1) / 2


def test_nothing_of_the_patient_is_left(darker, tmp_path):
    cells, affine = made.turned(made.patient(1, (10, 10, 2)), (0, 1, 2), (1, 1, 1))
    secret = {
        "PatientName": "Secret^Name", "PatientID": "SECRET-7", "PatientBirthDate": "19700101", "InstitutionName": "Secret Hospital",
        "StudyDescription": "secret words", "AccessionNumber": "SECRET9", "ProtocolName": "secret protocol", "StudyDate": "20200202",
        "DeviceSerialNumber": "SECRETSERIAL", "ReferringPhysicianName": "Secret^Doctor", "SeriesDescription": "secret series", "KVP": 120,
    }  # fmt: skip
    paths = made.series(tmp_path / "Secret_Name", cells, affine, **secret)
    for path in paths:
        ds = made.pydicom.dcmread(path)
        ds.private_block(0x0011, "SECRET MAKER", create=True).add_new(1, "LO", "secret private")
        made.save(path, ds)
    written = translate_files(darker, tmp_path / "Secret_Name", "a2b", out=tmp_path / "out", anonymize=True)
    for path in written:
        data = path.read_bytes()
        for word in (b"secret", b"SECRET", b"Secret", b"19700101", b"20200202"):
            assert word not in data
            assert word.decode() not in str(path.relative_to(tmp_path / "out"))
    new = dicoms(tmp_path / "out")
    assert {d.PatientIdentityRemoved for d in new} == {"YES"}
    assert len({d.PatientID for d in new}) == len({d.StudyInstanceUID for d in new}) == 1
    assert new[0].KVP == 120
    assert [d.ImagePositionPatient[2] for d in new] == [-30, -29]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
@pytest.mark.parametrize("two", [False, True])
def test_nifti_for_nifti(ending, dtype, two, darker, tmp_path):
    volume = made.patient(2, (12, 11, 6))
    volume = (volume - volume.min()) // 10 if dtype == np.uint8 else volume
    cells, affine = made.turned(volume.astype(dtype), (2, 0, 1), (1, -1, 1), (0.8, 0.8, 3))
    image = (made.nibabel.Nifti2Image if two else made.nibabel.Nifti1Image)(cells, made.RAS @ affine)
    image.header.set_xyzt_units("mm", "sec")
    made.nibabel.save(image, tmp_path / f"a{ending}")
    (path,) = translate_files(darker, tmp_path / f"a{ending}", "a2b", out=tmp_path / "out")
    assert path.name == f"a{ending}"
    new, old = made.nibabel.load(path), made.nibabel.load(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(new.affine, old.affine)
    for key in ("sform_code", "qform_code", "pixdim", "xyzt_units", "dim"):
        np.testing.assert_array_equal(new.header[key], old.header[key])
    step = float(new.dataobj.slope) if dtype != np.float32 else 1e-3
    assert np.abs(new.get_fdata() - right(cells)).max() <= step / 2 + 1e-4
    assert step <= 1
    assert b"cyclegan a2b" in bytes(new.header["descrip"].item())


def test_nifti_in_time_keeps_its_times(darker, tmp_path):
    values = np.stack([made.patient(t, (9, 8, 3)) for t in range(3)], 3)
    made.nifti(tmp_path / "a.nii.gz", values, np.diag([2.0, 2.0, 2.0, 1.0]))
    (path,) = translate_files(darker, tmp_path / "a.nii.gz", "a2b", out=tmp_path / "b.nii.gz")
    assert path == tmp_path / "b.nii.gz"
    np.testing.assert_allclose(made.nibabel.load(path).get_fdata(), right(values), atol=0.5)


@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior"])
def test_nrrd_for_nrrd(space, darker, tmp_path):
    cells, affine = made.turned(made.patient(2, (12, 11, 6)), (2, 0, 1), (1, -1, 1), (0.8, 0.8, 3))
    made.nrrd_file(tmp_path / "a.nrrd", cells, affine, space)
    (path,) = translate_files(darker, tmp_path / "a.nrrd", "a2b", out=tmp_path / "out")
    new, header = made.nrrd.read(str(path))
    _, old = made.nrrd.read(str(tmp_path / "a.nrrd"))
    np.testing.assert_allclose(new, right(cells), atol=0.5)
    for key in ("space", "space directions", "space origin", "type"):
        np.testing.assert_array_equal(header[key], old[key])


def test_the_plane_of_the_training_is_cut_and_the_file_keeps_its_own(run, tmp_path, monkeypatch):
    system = genzoo.load(run)
    system.trained = {**system.trained, "data": {**system.trained["data"], "plane": "coronal"}}
    seen = []

    def translate(self, x, *, direction="a2b"):
        seen.append(tuple(x.shape[-2:]))
        return (x - 0.1).clip(-1, 1)

    monkeypatch.setattr(type(system), "translate", translate)
    volume = made.patient(3, (14, 12, 20))
    cells, affine = made.turned(volume, (0, 1, 2), (1, 1, 1))
    made.series(tmp_path / "in", cells, affine)
    translate_files(system, tmp_path / "in", "a2b", out=tmp_path / "out")
    found = np.stack([value(d).T for d in dicoms(tmp_path / "out")], 2)
    np.testing.assert_allclose(found, right(cells), atol=0.51)
    assert seen[-12:] == [(20, 17)] * 12, (
        seen
    )  # as many as there are coronal slices, of the least width that the nets take


def test_scans_are_refused_where_the_run_knows_no_values(tmp_path):
    from tests.data_help import pictures

    for side in "AB":
        pictures(tmp_path / "p" / side, "a.png", "b.png")
    run = genzoo.train(
        "cyclegan",
        str(tmp_path / "p"),
        steps=1,
        batch=1,
        width=4,
        blocks=1,
        layers=1,
        runs=str(tmp_path / "runs"),
        quiet=True,
        device="cpu",
    )
    made.save(tmp_path / "a.dcm", made.dataset(np.zeros((8, 8), np.uint16)))
    with pytest.raises(UserError, match="was not trained on gray values of scans"):
        translate_files(run, tmp_path / "a.dcm", out=tmp_path / "out")


def test_what_cannot_be_read_is_said_and_the_rest_is_done(darker, tmp_path, capsys):
    cells, affine = made.turned(made.patient(1, (10, 10, 3)), (0, 1, 2), (1, 1, 1))
    paths = made.series(tmp_path / "in", cells, affine)
    (tmp_path / "in" / "cut.dcm").write_bytes(paths[0].read_bytes()[:-30])
    (tmp_path / "in" / "notes.txt").write_text("hello")
    written = translate_files(darker, tmp_path / "in", "a2b", out=tmp_path / "out")
    assert len(written) == 3
    said = capsys.readouterr().err
    assert "left out: 'cut.dcm': truncated" in said
    assert "notes.txt' is no scan" in said
    with pytest.raises(UserError, match="in a folder under their names"):
        translate_files(darker, tmp_path / "in", "a2b", out=tmp_path / "x.png")
    with pytest.raises(UserError, match="names one file"):
        translate_files(darker, tmp_path / "in", "a2b", out=tmp_path / "x.dcm")
    with pytest.raises(UserError, match="anonymize= is for scans"):
        translate_files(darker, tmp_path / "in" / "notes.txt", "a2b", anonymize=True)


def test_an_original_is_never_replaced(darker, tmp_path):
    path = made.save(tmp_path / "a.dcm", made.dataset(np.full((8, 8), 1000, np.uint16)))
    before = path.read_bytes()
    for overwrite in (False, True):
        (written,) = translate_files(darker, path, "a2b", out=tmp_path, overwrite=overwrite)
        assert written != path
    assert path.read_bytes() == before


def test_another_reader_sees_equal_values_and_geometry(darker, tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="a peer is not installed: pip install 'genzoo[peers]'")
    cells, affine = made.turned(made.patient(4, (12, 10, 6)), (0, 1, 2), (1, 1, 1), (0.7, 0.9, 2.5))
    made.series(tmp_path / "d", cells, affine)
    made.nifti(tmp_path / "a.nii.gz", cells, affine)
    made.nrrd_file(tmp_path / "a.nrrd", cells, affine)

    def opened(path):
        if not path.is_dir():
            return sitk.ReadImage(str(path))
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        return reader.Execute()

    for name in ("d", "a.nii.gz", "a.nrrd"):
        out = tmp_path / "out" / name
        translate_files(darker, tmp_path / name, "a2b", out=out if name == "d" else out.parent)
        old, new = opened(tmp_path / name), opened(out)
        for ask in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(new, ask)(), getattr(old, ask)(), atol=1e-6, err_msg=f"{name} {ask}")
        np.testing.assert_allclose(sitk.GetArrayFromImage(new), right(sitk.GetArrayFromImage(old)), atol=0.51)
