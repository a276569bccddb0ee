"""Whose scans are: no patient is on both sides of a split."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from tests import scan_files as made
from tests.data_help import read


def whose(dataset, field="image"):
    return {n.split("/")[-2] for n in dataset.names_of(field)}


def test_no_patient_is_on_both_sides_of_a_split(tmp_path):
    made.study(tmp_path / "all")
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
    made.study(tmp_path / "A", patients=12)
    made.study(tmp_path / "B", patients=12, slices=5)
    train, test = (read(tmp_path, kind="unpaired", split=s, gray_window="all") for s in ("train", "test"))
    held = [{n.split("/")[-2] for n in test.names_of(side)} for side in "ab"]
    assert held[0] == held[1]
    for side in "ab":
        assert not held[0] & {n.split("/")[-2] for n in train.names_of(side)}


@pytest.mark.parametrize("which", [slice(2), slice(-2, None)])
def test_a_side_of_few_patients_has_both_parts_and_the_other_side_keeps_to_them(which, tmp_path):
    """Two of twelve: those that would never be held out, or those that would both be."""
    made.study(tmp_path / "B", patients=12)
    digests = {p: hashlib.sha256(f"patient P{p}".encode()).hexdigest() for p in range(12)}
    for p in sorted(digests, key=lambda p: digests[p])[which]:
        cells, affine = made.turned(made.patient(p, (8, 8, 4)), (0, 1, 2), (1, 1, 1))
        made.series(tmp_path / "A" / f"{p}", cells, affine, PatientID=f"P{p}")
    train, test = (read(tmp_path, kind="unpaired", split=s, gray_window="all", holdout=0.2) for s in ("train", "test"))
    assert len(whose(train, "a")) == len(whose(test, "a")) == 1
    assert not (whose(train, "a") | whose(train, "b")) & (whose(test, "a") | whose(test, "b"))


def test_a_patient_in_both_of_the_sources_own_parts_is_told(tmp_path):
    made.study(tmp_path / "train", patients=3)
    made.study(tmp_path / "test", patients=2)
    notes = read(tmp_path, gray_window="all").notes
    assert any("2 patients are in both the training and the test folder" in n for n in notes)


def test_no_number_of_a_patient_is_kept(tmp_path):
    made.study(tmp_path, patients=3)
    folder = read(tmp_path, gray_window="all").folder
    for file in folder.iterdir():
        assert b"P0" not in file.read_bytes() or file.suffix == ".npy"
