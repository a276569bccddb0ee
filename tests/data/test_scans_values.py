"""Which values scans have, and which of them are black and white."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genzoo.data.decode.scans.volume import Slice
from tests import scan_files as made
from tests.data_help import read


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_stored_numbers_of_8_to_16_bits_become_physical_values(dtype, tmp_path):
    span = np.iinfo(dtype)
    stored = np.linspace(span.min, span.max, 48).round().astype(dtype).reshape(6, 8)
    made.save(tmp_path / "a", made.dataset(stored, RescaleSlope=0.5, RescaleIntercept=-3))
    np.testing.assert_array_equal(made.slices(tmp_path / "a")[0], stored * np.float32(0.5) - 3)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_every_stored_number_has_the_nearest_level(dtype, inverted):
    """Against 64 bits, for windows wider and narrower than the levels, within and beyond what can be stored; halves and their neighbors excepted."""
    span = np.iinfo(dtype)
    stored = np.arange(span.min, span.max + 1).astype(dtype).reshape(16, -1)
    for slope, intercept, ends in itertools.product(
        (1.0, 0.5, 2.3, -1.0, 1e-3),
        (0.0, -1024.0, 3.7),
        ((-160.0, 240.0), (0.0, 80.0), (5000.0, 9000.0), (0.0, 65535.0)),
    ):
        share = (stored * np.float64(slope) + intercept - ends[0]) / (ends[1] - ends[0])
        share = 1 - share if inverted else share
        for top, near in ((255, 0.02), (65535, 0.2)):
            found = Slice(stored, slope, intercept, inverted).shares(ends, top).astype(float)
            exact = np.clip(share, 0, 1) * top
            half = np.abs(exact - np.floor(exact) - 0.5) < near
            assert np.abs(found - exact).max() < 0.5 + near
            np.testing.assert_array_equal(found[~half], np.rint(exact)[~half])


def test_twelve_bits_with_an_overlay_in_the_others(tmp_path):
    stored = np.arange(48, dtype=np.uint16).reshape(6, 8) * 85
    made.save(tmp_path / "a", made.dataset(stored | 0xF000, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(made.slices(tmp_path / "a")[0], stored)


def test_monochrome1_is_turned_round_once_and_after_the_window(tmp_path):
    stored = np.arange(100, dtype=np.uint16).reshape(10, 10) * 40
    made.save(
        tmp_path / "m1" / "a", made.dataset(stored, PhotometricInterpretation="MONOCHROME1", RescaleIntercept=-1000)
    )
    made.save(tmp_path / "m2" / "a", made.dataset(stored, RescaleIntercept=-1000))
    np.testing.assert_array_equal(made.slices(tmp_path / "m1")[0], stored - 1000.0)  # the values are what they are
    one, two = (read(tmp_path / m, gray_window=(-1000, 2960)).fields["image"][0, 0] for m in ("m1", "m2"))
    np.testing.assert_array_equal(one, 255 - two)
    assert one[0, 0] == 255


def test_monochrome1_is_turned_round_along_every_plane_and_said(tmp_path):
    cells, affine = made.turned(made.patient(size=(8, 8, 8)), (0, 1, 2), (1, 1, 1))
    for number in "12":
        made.series(tmp_path / number, cells, affine, PhotometricInterpretation=f"MONOCHROME{number}")
    one, two = (read(tmp_path / n, plane="coronal", gray_window=(-1000, 0)) for n in "12")
    apart = 255 - one.fields["image"].astype(int) - two.fields["image"]
    assert np.abs(apart).max() <= 1
    assert any("1 of 1 scan say that the least value is white" in n for n in one.notes)
    assert not any("white (MONOCHROME1)" in n for n in two.notes)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_an_nrrd_has_its_values_however_it_is_packed(encoding, tmp_path):
    cells, affine = made.turned(made.patient(size=(6, 5, 4)), (0, 1, 2), (1, 1, 1))
    made.nrrd_file(tmp_path / "a.nrrd", cells, affine, encoding=encoding)
    np.testing.assert_array_equal(made.slices(tmp_path / "a.nrrd", plane="axial"), made.PLANES["axial"](cells))


def test_a_file_packed_in_several_members_is_read_whole(tmp_path):
    import gzip

    cells, affine = made.turned(made.patient(size=(6, 5, 4)), (0, 1, 2), (1, 1, 1))
    data = made.nifti(tmp_path / "a.nii", cells, affine).read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]))
    np.testing.assert_array_equal(made.slices(tmp_path / "a.nii.gz"), made.slices(tmp_path / "a.nii"))


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
    np.testing.assert_array_equal(made.slices(tmp_path / "a"), right)


def test_slices_of_one_series_have_slopes_of_their_own(tmp_path):
    volume = made.patient(size=(6, 5, 4))
    slopes = [0.25, 0.5, 1.0, 2.0]
    cells, affine = made.turned(volume, (0, 1, 2), (1, 1, 1))
    made.series(tmp_path, cells, affine, slopes=slopes)
    for k, got in enumerate(made.slices(tmp_path, plane="axial")):
        np.testing.assert_allclose(got, volume[:, :, k].T, atol=slopes[k] / 2)
    coronal = made.slices(tmp_path, plane="coronal")
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
    np.testing.assert_array_equal(made.slices(tmp_path / "a")[0], [[100, 100, 50], [900, 7, 7]])


def test_four_dimensions_are_volumes_in_time_and_scaled(tmp_path):
    values = np.stack([made.patient(t, (5, 4, 3)) for t in range(2)], 3)
    made.nifti(tmp_path / "a.nii.gz", values, made.turned(values[..., 0], (0, 1, 2), (1, 1, 1))[1], slope=(0.5, 10))
    found = made.slices(tmp_path / "a.nii.gz", plane="axial")
    assert len(found) == 6
    np.testing.assert_array_equal(found[4], values[:, :, 1, 1].T * 0.5 + 10)
    names = made.opened(tmp_path / "a.nii.gz").pictures["image", ""].names
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
    for wrong in (0.25, np.nan, np.inf):
        made.nifti(tmp_path / "pairs" / "A" / "x.nii", mask + wrong, affine)
        report = read(tmp_path / "pairs", kind="paired", label_maps=True, gray_window=(0, 3)).report
        assert any("one whole number for a pixel" in reason for _, reason in report), wrong


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
