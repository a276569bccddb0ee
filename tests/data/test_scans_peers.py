"""What genzoo reads of scans against SimpleITK, another reader (the extra `peers`)."""

from __future__ import annotations

import numpy as np
import pytest

from tests import scan_files as made

sitk = pytest.importorskip("SimpleITK", reason="a peer is not installed: pip install 'genzoo[peers]'")


def itk(path) -> np.ndarray:
    """The values of a volume as [L, P, S], by SimpleITK's own orientation."""
    if path.is_dir():
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        image = reader.Execute()
    else:
        image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS")).transpose(2, 1, 0)


@pytest.mark.parametrize("order", made.ORDERS, ids=lambda o: "".join("LPS"[i] for i in o))
def test_another_reader_sees_the_same_side_up(order, tmp_path):
    volume = made.patient(size=(6, 5, 4))
    for n, signs in enumerate(made.SIGNS):
        cells, affine = made.turned(volume, order, signs, (1, 1.5, 2))
        paths = [
            made.nifti(tmp_path / f"{n}.nii.gz", cells, affine), made.nrrd_file(tmp_path / f"{n}.nrrd", cells, affine),
            made.series(tmp_path / f"{n}", cells, affine)[0].parent,
        ]  # fmt: skip
        for path in paths:
            found = itk(path)
            for plane, cut in made.PLANES.items():
                np.testing.assert_allclose(
                    made.slices(path, plane=plane), cut(found), atol=1e-3, err_msg=f"{path} {plane}"
                )


def test_the_other_reader_turns_monochrome1_before_the_rescale_and_we_do_not(tmp_path):
    """Why values are not taken from it: 0 of 0..255 is read as 255 * slope + intercept, and the tag stays."""
    stored = np.arange(100, dtype=np.uint8).reshape(10, 10)
    ds = made.dataset(stored, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, RescaleIntercept=-100)
    path = made.save(tmp_path / "a.dcm", ds)
    theirs = sitk.ReadImage(str(path))
    assert sitk.GetArrayFromImage(theirs)[0, 0, 0] == 255 * 2 - 100
    assert theirs.GetMetaData("0028|0004").strip() == "MONOCHROME1"
    assert made.slices(path)[0][0, 0] == -100
