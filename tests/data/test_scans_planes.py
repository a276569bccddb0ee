"""Which side of a patient is up in slices of scans, and which slices are taken."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genzoo.core.errors import UserError
from tests import scan_files as made
from tests.data_help import pictures, read


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
        for path, (plane, expected) in itertools.product(paths, made.PLANES.items()):
            found = made.slices(path, plane=plane)
            assert len(found) == len(expected(volume)), (path, plane)
            for got, right in zip(found, expected(volume), strict=True):
                np.testing.assert_array_equal(got, right, err_msg=f"{path} {plane} {signs}")


def test_without_a_plane_slices_are_the_files_own_and_the_same_side_is_up(tmp_path):
    volume = made.patient(size=(5, 4, 3))
    cells, affine = made.turned(volume, (1, 2, 0), (1, -1, 1))  # sagittal slices
    for path in (made.nifti(tmp_path / "a.nii.gz", cells, affine), made.nrrd_file(tmp_path / "a.nrrd", cells, affine)):
        for got, right in zip(made.slices(path), made.PLANES["sagittal"](volume), strict=True):
            np.testing.assert_array_equal(got, right)
    assert any("5 sagittal slices" in n for n in made.opened(tmp_path / "a.nii.gz").notes)


def test_a_file_that_does_not_say_how_the_patient_lies_has_no_planes(tmp_path):
    image = made.nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), None)
    made.nibabel.save(image, tmp_path / "a.nii")
    assert "how the patient lies" in made.left(tmp_path / "a.nii", plane="axial")["a.nii"]
    assert any("1 of 1 scan do not say how the patient lies" in n for n in made.opened(tmp_path / "a.nii").notes)


def test_pixels_that_are_not_square_become_square(tmp_path):
    cells, affine = made.turned(made.patient(size=(12, 12, 6)), (0, 1, 2), (1, 1, 1), (1, 1, 3))
    made.series(tmp_path / "a", cells, affine)
    dataset = read(tmp_path / "a", plane="coronal", gray_window="all")
    assert dataset.fields["image"].shape[2:] == (18, 12)
    assert any("not square" in n for n in dataset.notes)


def test_slices_are_chosen_by_number_or_by_share(tmp_path):
    path = made.nifti(tmp_path / "a.nii", *made.turned(made.patient(size=(5, 4, 9)), (0, 1, 2), (1, 1, 1)))
    everything = made.slices(path)
    for wanted, expected in (((2, 5), everything[2:6]), ((0.25, 0.75), everything[2:7]), ((6, 99), everything[6:])):
        np.testing.assert_array_equal(made.slices(path, slices=wanted), expected)
    with pytest.raises(UserError, match="slices=5,2 takes none"):
        read(path, slices=(5, 2))
    pictures(tmp_path / "png", "a.png", "b.png")
    with pytest.raises(UserError, match="are for scans"):
        read(tmp_path / "png", plane="axial")


def test_where_the_two_matrices_of_a_nifti_differ_the_sform_is_taken_and_that_is_said(tmp_path):
    volume = made.patient(size=(5, 4, 3))
    image = made.nibabel.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0]))
    image.set_sform(np.diag([-1.0, -1.0, 1.0, 1.0]), code=1)
    image.set_qform(np.diag([1.0, 1.0, 1.0, 1.0]), code=1)
    made.nibabel.save(image, tmp_path / "a.nii")
    for got, right in zip(made.slices(tmp_path / "a.nii", plane="axial"), made.PLANES["axial"](volume), strict=True):
        np.testing.assert_array_equal(got, right)
    assert any("1 of 1 scan have an sform and a qform that differ" in n for n in made.opened(tmp_path / "a.nii").notes)
    image.set_qform(image.get_sform(), code=1)
    made.nibabel.save(image, tmp_path / "b.nii")
    assert not any("sform" in n for n in made.opened(tmp_path / "b.nii").notes)
