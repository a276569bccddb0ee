"""Whole scans as cubes of grey values."""

from __future__ import annotations

import numpy as np

from tests import scan_files as made
from tests.data_help import read


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

    made.study(tmp_path / "s", patients=3, slices=8)
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
