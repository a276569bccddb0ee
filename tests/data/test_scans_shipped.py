"""Files that the libraries ship are read as the libraries read them."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest

from genzoo.core.errors import UserError
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.scans import dicom, elements
from tests import scan_files as made
from tests.data_help import read


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
    shutil.copy(made.shipped(name), path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = made.pydicom.dcmread(path)
        right = made.pydicom.pixels.apply_modality_lut(ds.pixel_array, ds)
        (cut,) = made.opened(path).pictures["image", ""].cuts
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

        path = made.shipped(name)
        right = made.pydicom.dcmread(path).pixel_array
        np.testing.assert_array_equal(made.slices(path)[0], right)
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
        shutil.copy(made.shipped(name), tmp_path / "a")
    with pytest.raises(UserError, match=why):
        read(tmp_path / "a")


def test_doses_are_in_their_unit(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (
            0.7 < made.slices(made.shipped("rtdose_1frame.dcm"))[0].mean() < 1.3
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
    found = made.slices(path, plane="axial")
    right = right[..., None] if right.ndim == 3 else right
    assert len(found) == right.shape[2] * right.shape[3]
    for k in (0, right.shape[2] // 2):
        np.testing.assert_allclose(found[k], right[::-1, ::-1, k, 0].T, rtol=1e-5)


def test_a_header_says_the_same_however_it_is_read(monkeypatch):
    """From the first bytes and without what the library makes beside its elements, from them with it, and from the file: all that pydicom ships."""
    folder = Path(made.pydicom.__file__).parent / "data" / "test_files"
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in (".py", ".txt", ".md")]

    def said(path: Path) -> object:
        try:
            with open(path, "rb") as file:
                return dataclasses.replace(dicom.read(file, "a"), tables=None)
        except Rejected as reason:
            return str(reason)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        usual = [said(p) for p in files]
        monkeypatch.setattr(elements, "_usual", lambda head, tags: None)
        library = [said(p) for p in files]
        monkeypatch.setattr(elements, "_HEAD", 0)
        whole = [said(p) for p in files]
    assert usual == library == whole
    assert sum(isinstance(s, dicom.Header) for s in usual) > 20
