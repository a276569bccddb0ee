"""Slices in files of their own become volumes by their places."""

from __future__ import annotations

import numpy as np

from tests import scan_files as made


def test_slices_that_are_missing_or_doubled_are_told_by_their_places(tmp_path):
    cells, affine = made.turned(made.patient(size=(6, 6, 8)), (0, 1, 2), (1, 1, 1), (1, 1, 2.5))
    paths = made.series(tmp_path / "a", cells, affine, names=[f"{k}.dcm" for k in range(8)], skip=(3,))
    found = made.opened(tmp_path / "a")
    assert any(
        "1 slice is missing between -25 and -20 mm (2.dcm and 4.dcm), where steps are 2.5 mm" in n for n in found.notes
    )
    assert len(found.pictures["image", ""].names) == 7
    assert "slices are missing" in made.left(tmp_path / "a", plane="coronal")["0.dcm"]
    ds = made.pydicom.dcmread(paths[1])
    ds.SOPInstanceUID = "1.2.3.99"
    made.save(tmp_path / "a" / "z.dcm", ds)
    (tmp_path / "a" / "y.dcm").write_bytes(paths[0].read_bytes())
    told = made.left(tmp_path / "a")
    assert told["z.dcm"] == "a second slice at -27.5 mm of its series, after 1.dcm"
    assert told["y.dcm"] == "the same slice as 0.dcm (a copy)"


def test_every_place_several_times_is_times(tmp_path):
    volumes = [made.patient(t, (6, 5, 4)) for t in range(3)]
    for t, volume in enumerate(volumes):
        cells, affine = made.turned(volume, (0, 1, 2), (1, 1, 1))
        made.series(tmp_path / f"{t}", cells, affine, SeriesInstanceUID="1.2.9", AcquisitionNumber=t + 1)
    found = made.slices(tmp_path, plane="sagittal")
    np.testing.assert_array_equal(found, [s for v in volumes for s in made.PLANES["sagittal"](v)])


def test_slices_of_several_sizes_are_volumes_of_their_own(tmp_path):
    for k, size in enumerate(((6, 6, 3), (4, 4, 3))):
        cells, affine = made.turned(made.patient(size=size), (0, 1, 2), (1, 1, 1))
        made.series(tmp_path / f"{k}", cells, affine, SeriesInstanceUID="1.2.9")
    assert any("1 series has slices of several sizes" in n for n in made.opened(tmp_path).notes)
    assert len(made.slices(tmp_path, plane="coronal")) == 10


def test_places_that_nobody_states_leave_the_order_of_numbers(tmp_path):
    for k in range(4):
        ds = made.dataset(np.full((4, 4), 10 * k, np.uint16), InstanceNumber=4 - k, SeriesInstanceUID="1.2.9")
        made.save(tmp_path / f"{k}", ds)
    assert [int(s[0, 0]) for s in made.slices(tmp_path)] == [30, 20, 10, 0]
    assert any("do not say where their slices lie" in n for n in made.opened(tmp_path).notes)
