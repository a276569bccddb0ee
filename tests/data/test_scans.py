"""Scans become slices: which side is up, which values they have, and whose they are."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from genzoo.core.errors import UserError
from genzoo.data import DataSettings
from genzoo.data.decode import images as decode
from genzoo.data.decode.scans.volume import SHELF
from genzoo.data.sources.contents import Contents
from genzoo.data.sources.files import Files, OneFile
from genzoo.data.sources.scans import ScanPictures, sliced
from tests import scan_files as made
from tests.data_help import pictures, read

PLANES = {
    "axial": lambda v: [v[:, :, k].T for k in range(v.shape[2])],
    "coronal": lambda v: [v[:, k, ::-1].T for k in range(v.shape[1])],
    "sagittal": lambda v: [v[k, :, ::-1].T for k in range(v.shape[0])],
}
"""Slices of a volume [L, P, S] as they are looked at: rows go to the back, or to the feet."""


def opened(path, **settings) -> Contents:
    told = DataSettings(str(path), **settings)
    source = Files(path, told) if path.is_dir() else OneFile(path)
    return sliced(source.contents("image"), told, quiet=True)


def slices(path, **settings) -> list[np.ndarray]:
    """The values of all slices, as they are looked at."""
    (pictures,) = opened(path, **settings).pictures.values()
    assert isinstance(pictures, ScanPictures)
    ordered = sorted(pictures.cuts, key=lambda c: (c.time, c.index))
    try:
        with decode.quiet_decoding():
            return [c.read().values for c in ordered]
    finally:
        SHELF.clear()


def left(path, **settings) -> dict[str, str]:
    return dict(opened(path, **settings).left)


# ---- which side is up ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", made.ORDERS, ids=lambda o: "".join("LPS"[i] for i in o))
def test_the_same_patient_lies_the_same_way_whatever_the_file(order, tmp_path):
    volume = made.patient(size=(5, 4, 3))
    for n, signs in enumerate(made.SIGNS):
        cells, affine = made.turned(volume, order, signs)
        made.series(tmp_path / f"{n}d", cells, affine)
        paths = [
            tmp_path / f"{n}d",
            made.nifti(tmp_path / f"{n}.nii", cells, affine),
            made.nrrd_file(tmp_path / f"{n}.nrrd", cells, affine, space="right-anterior-superior" if n % 2 else "left-posterior-superior"),
        ]  # fmt: skip
        for path, (plane, expected) in itertools.product(paths, PLANES.items()):
            found = slices(path, plane=plane)
            assert len(found) == len(expected(volume)), (path, plane)
            for got, right in zip(found, expected(volume), strict=True):
                np.testing.assert_array_equal(got, right, err_msg=f"{path} {plane} {signs}")


def test_without_a_plane_slices_are_the_files_own_and_the_same_side_is_up(tmp_path):
    volume = made.patient(size=(5, 4, 3))
    cells, affine = made.turned(volume, (1, 2, 0), (1, -1, 1))  # sagittal slices
    for path in (made.nifti(tmp_path / "a.nii.gz", cells, affine), made.nrrd_file(tmp_path / "a.nrrd", cells, affine)):
        for got, right in zip(slices(path), PLANES["sagittal"](volume), strict=True):
            np.testing.assert_array_equal(got, right)
    assert any("5 sagittal slices" in n for n in opened(tmp_path / "a.nii.gz").notes)


def test_a_file_that_does_not_say_how_the_patient_lies_has_no_planes(tmp_path):
    image = made.nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), None)
    made.nibabel.save(image, tmp_path / "a.nii")
    assert "how the patient lies" in left(tmp_path / "a.nii", plane="axial")["a.nii"]
    assert any("1 of 1 scan do not say how the patient lies" in n for n in opened(tmp_path / "a.nii").notes)


def test_pixels_that_are_not_square_become_square(tmp_path):
    cells, affine = made.turned(made.patient(size=(12, 12, 6)), (0, 1, 2), (1, 1, 1), (1, 1, 3))
    made.series(tmp_path / "a", cells, affine)
    dataset = read(tmp_path / "a", plane="coronal", gray_window="all")
    assert dataset.fields["image"].shape[2:] == (18, 12)
    assert any("not square" in n for n in dataset.notes)


def test_slices_are_chosen_by_number_or_by_share(tmp_path):
    path = made.nifti(tmp_path / "a.nii", *made.turned(made.patient(size=(5, 4, 9)), (0, 1, 2), (1, 1, 1)))
    everything = slices(path)
    for wanted, expected in (((2, 5), everything[2:6]), ((0.25, 0.75), everything[2:7]), ((6, 99), everything[6:])):
        np.testing.assert_array_equal(slices(path, slices=wanted), expected)
    with pytest.raises(UserError, match="slices=5,2 takes none"):
        read(path, slices=(5, 2))
    pictures(tmp_path / "png", "a.png", "b.png")
    with pytest.raises(UserError, match="are for scans"):
        read(tmp_path / "png", plane="axial")


# ---- values -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_stored_numbers_of_8_to_16_bits_become_physical_values(dtype, tmp_path):
    span = np.iinfo(dtype)
    stored = np.linspace(span.min, span.max, 48).round().astype(dtype).reshape(6, 8)
    made.save(tmp_path / "a", made.dataset(stored, RescaleSlope=0.5, RescaleIntercept=-3))
    np.testing.assert_array_equal(slices(tmp_path / "a")[0], stored * np.float32(0.5) - 3)


def test_twelve_bits_with_an_overlay_in_the_others(tmp_path):
    stored = np.arange(48, dtype=np.uint16).reshape(6, 8) * 85
    made.save(tmp_path / "a", made.dataset(stored | 0xF000, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(slices(tmp_path / "a")[0], stored)


def test_monochrome1_is_turned_round_once_and_after_the_window(tmp_path):
    stored = np.arange(100, dtype=np.uint16).reshape(10, 10) * 40
    made.save(
        tmp_path / "m1" / "a", made.dataset(stored, PhotometricInterpretation="MONOCHROME1", RescaleIntercept=-1000)
    )
    made.save(tmp_path / "m2" / "a", made.dataset(stored, RescaleIntercept=-1000))
    np.testing.assert_array_equal(slices(tmp_path / "m1")[0], stored - 1000.0)  # the values are what they are
    one, two = (read(tmp_path / m, gray_window=(-1000, 2960)).fields["image"][0, 0] for m in ("m1", "m2"))
    np.testing.assert_array_equal(one, 255 - two)
    assert one[0, 0] == 255


def test_every_frame_of_an_enhanced_file_has_its_own_slope(tmp_path):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    stored = np.arange(3 * 20, dtype=np.uint16).reshape(3, 4, 5)
    ds = made.dataset(stored, SOPClassUID=made.ENHANCED_CT, NumberOfFrames=3, RescaleSlope=None, RescaleIntercept=None)
    shared, frames = Dataset(), []
    way, measures = Dataset(), Dataset()
    way.ImageOrientationPatient, measures.PixelSpacing = [1, 0, 0, 0, 1, 0], [2, 2]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([way]), Sequence([measures])
    for k, (slope, z) in enumerate(((1, 20), (2, 10), (3, 0))):  # from the head to the feet
        frame, values, place = Dataset(), Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept = slope, -1000 + k
        place.ImagePositionPatient = [0, 0, z]
        frame.PixelValueTransformationSequence, frame.PlanePositionSequence = Sequence([values]), Sequence([place])
        frames.append(frame)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(frames)
    made.save(tmp_path / "a", ds)
    right = [stored[2] * 3.0 - 998, stored[1] * 2.0 - 999, stored[0] - 1000.0]
    np.testing.assert_array_equal(slices(tmp_path / "a"), right)


def test_slices_of_one_series_have_slopes_of_their_own(tmp_path):
    volume = made.patient(size=(6, 5, 4))
    slopes = [0.25, 0.5, 1.0, 2.0]
    cells, affine = made.turned(volume, (0, 1, 2), (1, 1, 1))
    made.series(tmp_path, cells, affine, slopes=slopes)
    for k, got in enumerate(slices(tmp_path, plane="axial")):
        np.testing.assert_allclose(got, volume[:, :, k].T, atol=slopes[k] / 2)
    coronal = slices(tmp_path, plane="coronal")
    np.testing.assert_allclose(coronal[2], volume[:, 2, ::-1].T, atol=1)


def test_a_table_of_values_is_looked_up(tmp_path):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4, 10, 16], [100, 50, 900, 7]
    ds = made.dataset(np.array([[9, 10, 11], [12, 13, 99]], np.uint16), RescaleSlope=None, RescaleIntercept=None)
    table.add_new("LUTDescriptor", "US", [4, 10, 16])
    table.add_new("LUTData", "US", [100, 50, 900, 7])
    ds.ModalityLUTSequence = Sequence([table])
    made.save(tmp_path / "a", ds)
    np.testing.assert_array_equal(slices(tmp_path / "a")[0], [[100, 100, 50], [900, 7, 7]])


def test_where_the_two_matrices_of_a_nifti_differ_the_sform_is_taken_and_that_is_said(tmp_path):
    volume = made.patient(size=(5, 4, 3))
    image = made.nibabel.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0]))
    image.set_sform(np.diag([-1.0, -1.0, 1.0, 1.0]), code=1)
    image.set_qform(np.diag([1.0, 1.0, 1.0, 1.0]), code=1)
    made.nibabel.save(image, tmp_path / "a.nii")
    for got, right in zip(slices(tmp_path / "a.nii", plane="axial"), PLANES["axial"](volume), strict=True):
        np.testing.assert_array_equal(got, right)
    assert any("1 of 1 scan have an sform and a qform that differ" in n for n in opened(tmp_path / "a.nii").notes)
    image.set_qform(image.get_sform(), code=1)
    made.nibabel.save(image, tmp_path / "b.nii")
    assert not any("sform" in n for n in opened(tmp_path / "b.nii").notes)


def test_four_dimensions_are_volumes_in_time_and_scaled(tmp_path):
    values = np.stack([made.patient(t, (5, 4, 3)) for t in range(2)], 3)
    made.nifti(tmp_path / "a.nii.gz", values, made.turned(values[..., 0], (0, 1, 2), (1, 1, 1))[1], slope=(0.5, 10))
    found = slices(tmp_path / "a.nii.gz", plane="axial")
    assert len(found) == 6
    np.testing.assert_array_equal(found[4], values[:, :, 1, 1].T * 0.5 + 10)
    names = opened(tmp_path / "a.nii.gz").pictures["image", ""].names
    assert "a.nii.gz[1,2]" in names


def test_a_mask_that_was_saved_as_floats_comes_back_in_whole_numbers(tmp_path):
    """A float mask under an integer header is stretched over its range: 2 comes back as 1.99999..."""
    mask = np.zeros((6, 6, 4))
    mask[2:4, 2:4], mask[0] = 1.0, 3.0
    affine = made.turned(mask, (0, 1, 2), (1, 1, 1))[1]
    image = made.nibabel.Nifti1Image(mask.astype(np.int16), made.RAS @ affine)
    stretched = made.nibabel.Nifti1Image(mask, made.RAS @ affine, header=image.header)
    made.nibabel.save(stretched, tmp_path / "A.nii")
    raw = made.nibabel.load(tmp_path / "A.nii").get_fdata()
    assert np.abs(raw - np.rint(raw)).max() > 0, "the trap is there"
    for side in "AB":
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for name in ("x.nii", "y.nii"):
            (tmp_path / "pairs" / side / name).write_bytes((tmp_path / "A.nii").read_bytes())
    labels = read(tmp_path / "pairs", kind="paired", label_maps=True, gray_window=(0, 3)).fields["a"]
    assert set(np.unique(labels)) == {0, 1, 3}
    made.nifti(tmp_path / "pairs" / "A" / "x.nii", mask + 0.25, affine)
    report = read(tmp_path / "pairs", kind="paired", label_maps=True, gray_window=(0, 3)).report
    assert any("one whole number for a pixel" in reason for _, reason in report)


# ---- the libraries' own files -------------------------------------------------------------------------------------------------------


def shipped(name):
    from pydicom.data import get_testdata_file

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"pydicom came without {name}")
    return path


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_expb.dcm", "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm", "693_J2KI.dcm", "JPEG2000.dcm", "image_dfl.dcm", "examples_overlay.dcm", "J2K_pixelrep_mismatch.dcm",
    ],
)  # fmt: skip
def test_files_that_pydicom_ships_have_the_values_that_pydicom_gives(name, tmp_path):
    import shutil

    path = tmp_path / "a"  # neither the name nor the ending says what it is
    shutil.copy(shipped(name), path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = made.pydicom.dcmread(path)
        right = made.pydicom.pixels.apply_modality_lut(ds.pixel_array, ds)
        (cut,) = opened(path).pictures["image", ""].cuts
        found = cut.view.unlay(cut.read().values).T  # as it is stored
    np.testing.assert_allclose(found, right, rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_rle.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
    ],
)
def test_colours_are_rgb(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pathlib import Path

        path = Path(shipped(name))
        right = made.pydicom.dcmread(path).pixel_array
        np.testing.assert_array_equal(slices(path)[0], right)
        assert read(path).fields["image"].shape[1] == 3


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "pip install pyjpegls"),
        ("JPEG-lossy.dcm", "with 12 bits: pip install pylibjpeg pylibjpeg-libjpeg"),
        ("SC_rgb_jpeg_gdcm.dcm", "JPEG Lossless.*pip install pylibjpeg pylibjpeg-libjpeg"),
        ("MR_truncated.dcm", "truncated: 8,130 of 8,192 bytes"),
        ("rtplan.dcm", r"without pixels \(RT Plan Storage\)"),
        ("DICOMDIR", "a DICOMDIR, the index of other files"),
    ],
)
def test_what_is_not_read_is_said_with_the_package_that_reads_it(name, why, tmp_path):
    import shutil

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        needed = {
            "MR_small_jpeg_ls_lossless.dcm": "1.2.840.10008.1.2.4.80",
            "SC_rgb_jpeg_gdcm.dcm": "1.2.840.10008.1.2.4.70",
        }
        if name in needed and made.pydicom.pixels.get_decoder(needed[name]).is_available:
            pytest.skip("a package that reads it is installed")
        shutil.copy(shipped(name), tmp_path / "a")
    with pytest.raises(UserError, match=why):
        read(tmp_path / "a")


def test_doses_are_in_their_unit(tmp_path):
    from pathlib import Path

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (
            0.7 < slices(Path(shipped("rtdose_1frame.dcm")))[0].mean() < 1.3
        )  # gray, and no stored number of a million


@pytest.mark.parametrize(
    "name", ["anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz", "standard.nii.gz"]
)
def test_files_that_nibabel_ships_lie_as_nibabel_says(name):
    from pathlib import Path

    path = Path(made.nibabel.__file__).parent / "tests" / "data" / name
    if not path.is_file():
        pytest.skip(f"nibabel came without {name}")
    right = made.nibabel.as_closest_canonical(made.nibabel.load(path)).get_fdata()  # R, A, S
    found = slices(path, plane="axial")
    right = right[..., None] if right.ndim == 3 else right
    assert len(found) == right.shape[2] * right.shape[3]
    for k in (0, right.shape[2] // 2):
        np.testing.assert_allclose(found[k], right[::-1, ::-1, k, 0].T, rtol=1e-5)


# ---- windows ------------------------------------------------------------------------------------------------------------------------


def hounsfield(folder, **tags):
    values = np.arange(-1024, 3072, dtype=np.int16).reshape(64, 64)
    return made.save(folder / "a", made.dataset(values, **tags))


@pytest.mark.parametrize(
    ("name", "ends"), [("soft", (-160, 240)), ("lung", (-1350, 150)), ("bone", (-500, 1300)), ((0, 100), (0, 100))]
)
def test_a_window_is_black_and_white(name, ends, tmp_path):
    hounsfield(tmp_path)
    found = read(tmp_path, gray_window=name)
    values = np.arange(-1024, 3072)
    right = np.rint(((values - ends[0]) / (ends[1] - ends[0])).clip(0, 1) * 255)
    assert (
        np.abs(found.fields["image"][0, 0].ravel() - right).max() <= 1
    )  # where rounding in 32 bits falls the other way
    assert found.window == ends


def test_the_files_own_window_is_taken_without_one_and_said(tmp_path):
    hounsfield(tmp_path, WindowCenter=[40, 500], WindowWidth=[401, 2000])
    for settings in ({}, {"gray_window": "file"}):
        found = read(tmp_path, **settings)
        assert found.window == (-160.5, 239.5)  # the standard's formula: c - 0.5 -+ (w - 1) / 2
        assert any("the window that the files state" in n for n in found.notes)
    hounsfield(tmp_path / "exact", WindowCenter=40, WindowWidth=400, VOILUTFunction="LINEAR_EXACT")
    assert read(tmp_path / "exact").window == (-160, 240)
    hounsfield(tmp_path / "none")
    found = read(tmp_path / "none")
    assert found.window == (-1024, 3071)
    assert any("the least and the largest value" in n for n in found.notes)


def test_both_sides_have_one_window_and_16_bits_are_kept(tmp_path):
    for side, shift in (("A", 0), ("B", 100)):
        for i in range(2):
            values = np.arange(-1024, 3072, dtype=np.int16).reshape(64, 64) // 2 + shift
            made.save(tmp_path / side / f"{i}", made.dataset(values, PatientID=f"P{i}"))
    found = read(tmp_path, kind="paired", bits=16)
    low, high = found.window
    assert (low, high) == (-512, 1635)
    for side, shift in (("a", 0), ("b", 100)):
        back = low + found.fields[side][0, 0].astype(float) / 65535 * (high - low)
        right = np.arange(-1024, 3072).reshape(64, 64) // 2 + shift
        assert np.abs(back - right).max() < 0.05


# ---- whose ---------------------------------------------------------------------------------------------------------------------------


def study(folder, patients=6, slices=4, **more):
    for p in range(patients):
        cells, affine = made.turned(made.patient(p, (8, 8, slices)), (0, 1, 2), (1, 1, 1))
        made.series(folder / f"{p}", cells, affine, PatientID=f"P{p}", **more)


def whose(dataset, field="image"):
    return {n.split("/")[-2] for n in dataset.names_of(field)}


def test_no_patient_is_on_both_sides_of_a_split(tmp_path):
    study(tmp_path / "all")
    train, test = (read(tmp_path / "all", split=s, gray_window="all") for s in ("train", "test"))
    assert not whose(train) & whose(test)
    assert (len(train), len(test)) == (20, 4)
    assert any("split by patient: 5 with 20 images for training, 1 with 4 for testing" in n for n in train.notes)
    more = read(tmp_path / "all", split="test", gray_window="all", holdout=0.5)
    assert whose(test) < whose(more)
    assert len(whose(more)) == 3
    assert not train.class_names
    assert any("each of the 6 folders is one patient" in n for n in train.notes)
    few = read(tmp_path / "all", gray_window="all", limit=10)
    assert len(few) == 10
    assert len(whose(few)) > 3, "a part is of many patients"


def test_nobody_is_told_apart_by_series_or_file_where_a_patient_has_a_number(tmp_path):
    for k in range(3):
        cells, affine = made.turned(made.patient(k, (8, 8, 3)), (0, 1, 2), (1, 1, 1))
        made.series(tmp_path / "one" / f"s{k}", cells, affine, PatientID="P1")
        made.series(tmp_path / "nobody" / f"s{k}", cells, affine, PatientID="")
    assert any("of one patient" in n for n in read(tmp_path / "one", gray_window="all").notes)
    assert any("split by patient: 2 with 6 images" in n for n in read(tmp_path / "nobody", gray_window="all").notes)


def test_subjects_of_bids_are_patients(tmp_path):
    volume, affine = made.turned(made.patient(size=(6, 6, 4)), (0, 1, 2), (1, 1, 1))
    for subject, session in itertools.product(range(3), range(2)):
        made.nifti(
            tmp_path / f"sub-{subject}" / f"ses-{session}" / f"sub-{subject}_ses-{session}_T1w.nii.gz", volume, affine
        )
    notes = read(tmp_path, gray_window="all").notes
    assert any("split by patient: 2 with 16 images for training, 1 with 8 for testing" in n for n in notes)


def test_of_two_sides_a_patient_is_for_testing_on_both(tmp_path):
    study(tmp_path / "A", patients=12)
    study(tmp_path / "B", patients=12, slices=5)
    train, test = (read(tmp_path, kind="unpaired", split=s, gray_window="all") for s in ("train", "test"))
    held = [{n.split("/")[-2] for n in test.names_of(side)} for side in "ab"]
    assert held[0] == held[1]
    for side in "ab":
        assert not held[0] & {n.split("/")[-2] for n in train.names_of(side)}


def test_a_patient_in_both_of_the_sources_own_parts_is_told(tmp_path):
    study(tmp_path / "train", patients=3)
    study(tmp_path / "test", patients=2)
    notes = read(tmp_path, gray_window="all").notes
    assert any("2 patients are in both the training and the test folder" in n for n in notes)


def test_no_number_of_a_patient_is_kept(tmp_path):
    study(tmp_path, patients=3)
    folder = read(tmp_path, gray_window="all").folder
    for file in folder.iterdir():
        assert b"P0" not in file.read_bytes() or file.suffix == ".npy"


# ---- bad input ----------------------------------------------------------------------------------------------------------------------


def test_slices_that_are_missing_or_doubled_are_told_by_their_places(tmp_path):
    cells, affine = made.turned(made.patient(size=(6, 6, 8)), (0, 1, 2), (1, 1, 1), (1, 1, 2.5))
    paths = made.series(tmp_path / "a", cells, affine, names=[f"{k}.dcm" for k in range(8)], skip=(3,))
    found = opened(tmp_path / "a")
    assert any(
        "1 slice is missing between -25 and -20 mm (2.dcm and 4.dcm), where steps are 2.5 mm" in n for n in found.notes
    )
    assert len(found.pictures["image", ""].names) == 7
    assert "slices are missing" in left(tmp_path / "a", plane="coronal")["0.dcm"]
    ds = made.pydicom.dcmread(paths[1])
    ds.SOPInstanceUID = "1.2.3.99"
    made.save(tmp_path / "a" / "z.dcm", ds)
    (tmp_path / "a" / "y.dcm").write_bytes(paths[0].read_bytes())
    told = left(tmp_path / "a")
    assert told["z.dcm"] == "a second slice at -27.5 mm of its series, after 1.dcm"
    assert told["y.dcm"] == "the same slice as 0.dcm (a copy)"


def test_every_place_several_times_is_times(tmp_path):
    volumes = [made.patient(t, (6, 5, 4)) for t in range(3)]
    for t, volume in enumerate(volumes):
        cells, affine = made.turned(volume, (0, 1, 2), (1, 1, 1))
        made.series(tmp_path / f"{t}", cells, affine, SeriesInstanceUID="1.2.9", AcquisitionNumber=t + 1)
    found = slices(tmp_path, plane="sagittal")
    np.testing.assert_array_equal(found, [s for v in volumes for s in PLANES["sagittal"](v)])


def test_slices_of_several_sizes_are_volumes_of_their_own(tmp_path):
    for k, size in enumerate(((6, 6, 3), (4, 4, 3))):
        cells, affine = made.turned(made.patient(size=size), (0, 1, 2), (1, 1, 1))
        made.series(tmp_path / f"{k}", cells, affine, SeriesInstanceUID="1.2.9")
    assert any("1 series has slices of several sizes" in n for n in opened(tmp_path).notes)
    assert len(slices(tmp_path, plane="coronal")) == 10


def test_places_that_nobody_states_leave_the_order_of_numbers(tmp_path):
    for k in range(4):
        ds = made.dataset(np.full((4, 4), 10 * k, np.uint16), InstanceNumber=4 - k, SeriesInstanceUID="1.2.9")
        made.save(tmp_path / f"{k}", ds)
    assert [int(s[0, 0]) for s in slices(tmp_path)] == [30, 20, 10, 0]
    assert any("do not say where their slices lie" in n for n in opened(tmp_path).notes)


@pytest.mark.parametrize("missing", ["Rows", "Columns", "SamplesPerPixel"])
def test_a_missing_tag_is_named_and_the_rest_is_used(missing, tmp_path):
    made.save(tmp_path / "good", made.dataset(np.arange(16, dtype=np.uint16).reshape(4, 4)))
    ds = made.dataset(np.zeros((4, 4), np.uint16))
    delattr(ds, missing)
    made.save(tmp_path / "bad", ds)
    dataset = read(tmp_path)
    assert len(dataset) == 1
    assert dataset.report == [("bad", f"damaged: it does not say its {missing}")]


def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path):
    import tracemalloc

    ds = made.dataset(np.zeros((4, 4), np.uint16))
    ds.Rows = ds.Columns = 65535
    made.save(tmp_path / "d" / "a", ds)
    header = made.nibabel.Nifti2Header()
    header.set_data_shape((2**20, 2**20, 2**20))
    header.set_data_dtype(np.int16)
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "a.nii").write_bytes(header.binaryblock + b"\0" * 100)
    made.nrrd_file(tmp_path / "r" / "a.nrrd", *made.turned(made.patient(), (0, 1, 2), (1, 1, 1)), encoding="raw")
    text = (tmp_path / "r" / "a.nrrd").read_bytes()
    (tmp_path / "r" / "a.nrrd").write_bytes(text.replace(b"sizes: 12 10 8", b"sizes: 99999 99999 99999"))
    tracemalloc.start()
    for folder in "dnr":
        with pytest.raises(UserError, match=r"too many, or damaged|truncated"):
            read(tmp_path / folder)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.dcm"])
@pytest.mark.parametrize("cut", [0.02, 0.3, 0.9])
def test_files_that_end_early_are_left_out_and_the_rest_is_used(name, cut, tmp_path):
    cells, affine = made.turned(made.patient(size=(12, 11, 10)), (0, 1, 2), (1, 1, 1))
    write = {"nii": made.nifti, "gz": made.nifti, "nrrd": made.nrrd_file}.get(name.split(".")[-1])
    path = (
        write(tmp_path / name, cells, affine)
        if write
        else made.save(tmp_path / name, made.dataset(cells[..., 0].copy()))
    )
    (tmp_path / f"cut-{name}").write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    dataset = read(tmp_path, gray_window="all")
    assert [n for n, _ in dataset.report] == [f"cut-{name}"]
    assert not any(w in dataset.report[0][1].lower() for w in ("traceback", "nibabel", "pydicom", "error"))


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_never_break_the_reading(seed, tmp_path):
    rng = np.random.default_rng(seed)
    cells, affine = made.turned(made.patient(size=(6, 6, 4)), (0, 1, 2), (1, 1, 1))
    kind = ("nii", "nrrd", "dcm")[seed % 3]
    if kind == "dcm":
        path = made.save(tmp_path / "a.dcm", made.dataset(cells[..., 0].copy()))
    else:
        path = (made.nifti if kind == "nii" else made.nrrd_file)(tmp_path / f"a.{kind}", cells, affine)
    data = bytearray(path.read_bytes())
    for at in rng.integers(0, min(len(data), 400), 6):
        data[at] = rng.integers(0, 256)
    path.write_bytes(bytes(data))
    made.nifti(tmp_path / "good.nii", cells, affine)
    assert len(read(tmp_path, gray_window="all", holdout=0)) >= 4


def test_values_in_another_file_are_named(tmp_path):
    cells, affine = made.turned(made.patient(size=(6, 6, 4)), (0, 1, 2), (1, 1, 1))
    made.nibabel.save(
        made.nibabel.Nifti1Pair(cells, affine), tmp_path / "n" / "a.img" if (tmp_path / "n").mkdir() is None else ""
    )
    (tmp_path / "n" / "a.hdr").rename(tmp_path / "n" / "a.nii")
    assert "save both as one .nii" in left(tmp_path / "n")["a.nii"]
    (tmp_path / "r").mkdir()
    made.nrrd.write(str(tmp_path / "r" / "a.nhdr"), cells)
    (tmp_path / "r" / "a.nhdr").rename(tmp_path / "r" / "a.nrrd")
    assert "save both as one .nrrd" in left(tmp_path / "r")["a.nrrd"]


def test_a_bomb_is_not_unpacked(tmp_path):
    import gzip

    header = made.nibabel.Nifti1Header()
    header.set_data_shape((1000, 1000, 300))
    header.set_data_dtype(np.int16)
    header["vox_offset"] = 352
    with gzip.open(tmp_path / "a.nii.gz", "wb") as file:
        file.write(header.binaryblock + b"\0\0\0\0")
        for _ in range(80):
            file.write(bytes(2**20))
    with pytest.raises(UserError, match="truncated"):
        read(tmp_path)


def test_an_archive_of_scans_is_read_as_the_folder_is(tmp_path):
    import zipfile

    study(tmp_path / "all", patients=3)
    made.nifti(tmp_path / "all" / "x" / "a.nii.gz", *made.turned(made.patient(size=(8, 8, 3)), (2, 1, 0), (1, 1, -1)))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as z:
        for file in sorted((tmp_path / "all").rglob("*")):
            if file.is_file():
                z.write(file, file.relative_to(tmp_path / "all"))
    folder, packed = (read(tmp_path / n, plane="axial", gray_window="all", holdout=0) for n in ("all", "all.zip"))
    np.testing.assert_array_equal(folder.fields["image"], packed.fields["image"])


def test_pictures_beside_scans_stay_pictures(tmp_path):
    from tests.data_help import picture

    study(tmp_path / "s", patients=2)
    picture(size=(8, 8), mode="L").save(tmp_path / "s" / "a.png")
    dataset = read(tmp_path / "s", gray_window=(0, 255), holdout=0)
    assert len(dataset) == 9


def test_pairs_of_volumes_are_slices_of_one_number(tmp_path):
    for side in "AB":
        for p in range(3):
            n = 5 - (side == "B" and p == 1)
            cells, affine = made.turned(
                made.patient(p, (8, 8, 5))[:, :, :n] + (100 if side == "B" else 0), (2, 0, 1), (1, -1, 1)
            )
            made.nifti(tmp_path / side / f"p{p}.nii.gz", cells, affine)
    dataset = read(tmp_path, kind="paired", plane="axial", gray_window="all", bits=16, holdout=0)
    assert len(dataset.fields["a"]) == 14
    assert any("no slice of this number on the other side" in reason for _, reason in dataset.report)
    apart = dataset.fields["b"].astype(float) - dataset.fields["a"]
    np.testing.assert_allclose(apart, 100 / 4095 * 65535, atol=2)


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    import sys

    made.save(tmp_path / "a.dcm", made.dataset(np.zeros((4, 4), np.uint16)))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"pip install 'genzoo\[scans\]'"):
        read(tmp_path)


def test_only_a_slice_is_in_memory(tmp_path):
    """A volume of 48 MB as float: a slice is 1 MB."""
    import tracemalloc

    cells = np.zeros((512, 512, 48), np.int16) + np.arange(48, dtype=np.int16)
    made.nifti(tmp_path / "a.nii.gz", cells, np.eye(4))
    tracemalloc.start()
    contents = opened(tmp_path / "a.nii.gz", plane="sagittal")
    for cut in contents.pictures["image", ""].cuts[:5]:
        cut.read()
    SHELF.clear()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24e6, f"{peak / 1e6:.0f} MB, and a volume is {cells.nbytes / 1e6:.0f}"


# ---- whole volumes --------------------------------------------------------------------------------------------------------------------


def test_a_whole_volume_is_a_cube_of_grey_values_with_the_head_up(tmp_path):
    """Bright at the patient's right, his back and his head, whatever the file: D goes to the right, H to the head, W to the back."""
    volume = np.full((16, 16, 8), -1000, np.int16)
    volume[:4], volume[:, 12:], volume[:, :, 6:] = -200, 300, 1000
    for n, (order, signs) in enumerate((((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (1, -1, -1)), ((1, 2, 0), (-1, 1, 1)))):
        cells, affine = made.turned(volume, order, signs, (1, 1, 2))
        made.nifti(tmp_path / "n" / f"{n}.nii.gz", cells, affine)
        made.series(tmp_path / "d" / f"{n}", cells, affine, PatientID=f"P{n}")
    for folder in "nd":
        dataset = read(tmp_path / folder, kind="voxels", size=16, gray_window=(-1000, 1000))
        assert dataset.fields["voxels"].shape == (2, 1, 16, 16, 16)
        assert dataset.facts()["levels"] == 256
        for cube in dataset.fields["voxels"][:, 0]:
            assert cube[8, 15, 8] > 250  # the head
            assert abs(int(cube[14, 3, 4]) - 102) < 4  # the patient's right: 0.4 of the window
            assert abs(int(cube[8, 3, 15]) - 166) < 4  # his back: 0.65
            assert cube[2, 3, 4] < 4  # his left, his front, his feet
    assert any("split by patient: 2 with 2 volumes for training, 1 with 1 for testing" in n for n in dataset.notes)


def test_volumes_keep_their_proportions(tmp_path):
    volume = np.full((8, 8, 4), 1000, np.int16)
    made.nifti(tmp_path / "a.nii", *made.turned(volume, (0, 1, 2), (1, 1, 1), (1, 1, 1)))
    cube = read(tmp_path / "a.nii", kind="voxels", size=8, gray_window=(-1000, 1000)).fields["voxels"][0, 0]
    assert (cube[:, 2:6] == 255).all()
    assert (cube[:, :2] == 0).all()
    assert (cube[:, 6:] == 0).all()


def test_a_system_for_voxels_trains_on_scans(tmp_path):
    import genzoo

    study(tmp_path / "s", patients=3, slices=8)
    run = genzoo.train(
        "gan-3d",
        str(tmp_path / "s"),
        size=16,
        gray_window="all",
        steps=1,
        batch=2,
        width=4,
        runs=str(tmp_path / "runs"),
        quiet=True,
        device="cpu",
    )
    assert genzoo.sample(run, 2).shape == (2, 1, 16, 16, 16)
