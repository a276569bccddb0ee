"""Scans among other data: archives, pictures beside them, pairs of volumes, and what is held of them."""

from __future__ import annotations

import numpy as np

from genzoo.data.decode.scans.volume import SHELF
from tests import scan_files as made
from tests.data_help import read


def test_an_archive_of_scans_is_read_as_the_folder_is(tmp_path):
    import zipfile

    made.study(tmp_path / "all", patients=3)
    made.nifti(tmp_path / "all" / "x" / "a.nii.gz", *made.turned(made.patient(size=(8, 8, 3)), (2, 1, 0), (1, 1, -1)))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as z:
        for file in sorted((tmp_path / "all").rglob("*")):
            if file.is_file():
                z.write(file, file.relative_to(tmp_path / "all"))
    folder, packed = (read(tmp_path / n, plane="axial", gray_window="all", holdout=0) for n in ("all", "all.zip"))
    np.testing.assert_array_equal(folder.fields["image"], packed.fields["image"])


def test_pictures_beside_scans_stay_pictures(tmp_path):
    from tests.data_help import picture

    made.study(tmp_path / "s", patients=2)
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


def test_only_a_slice_is_in_memory(tmp_path):
    """A volume of 48 MB as float: a slice is 1 MB."""
    cells = np.zeros((512, 512, 48), np.int16) + np.arange(48, dtype=np.int16)
    made.nifti(tmp_path / "a.nii.gz", cells, np.eye(4))
    with made.memory() as peak:
        contents = made.opened(tmp_path / "a.nii.gz", plane="sagittal")
        for cut in contents.pictures["image", ""].cuts[:5]:
            cut.read()
        SHELF.clear()
    assert peak() < 24e6, f"{peak() / 1e6:.0f} MB, and a volume is {cells.nbytes / 1e6:.0f}"
