"""Scans that are damaged, hostile or of no kind that is read are left out with a reason, and the rest is used."""

from __future__ import annotations

import numpy as np
import pytest

from genzoo.core.errors import UserError
from genzoo.data.decode.scans import dicom, nifti, nrrd
from tests import scan_files as made
from tests.data_help import read


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
    with made.memory() as peak:
        for folder in "dnr":
            with pytest.raises(UserError, match=r"too many, or damaged|truncated"):
                read(tmp_path / folder)
    assert peak() < 20e6


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


@pytest.mark.parametrize(
    ("reader", "inside"), [(dicom, "_frames"), (dicom, "_plain"), (nifti, "_matrices"), (nrrd, "_direction")]
)
def test_a_fault_of_ours_is_not_called_damage_of_a_file(reader, inside, tmp_path, monkeypatch):
    cells, affine = made.turned(made.patient(size=(6, 6, 4)), (0, 1, 2), (1, 1, 1))
    made.series(tmp_path, cells, affine)
    made.nifti(tmp_path / "a.nii", cells, affine)
    made.nrrd_file(tmp_path / "a.nrrd", cells, affine)

    def faulty(*given):
        return None.shape

    monkeypatch.setattr(reader, inside, faulty)
    with pytest.raises(AttributeError, match="shape"):
        read(tmp_path, gray_window="all")


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        (b"kinds: domain domain domain", b"kinds: domain domain", "3 sizes, 3 space directions and 2 kinds"),
        (b"sizes: 6 6 4", b"sizes: 6 6 2 2", "4 sizes, 3 space directions"),
        (b"encoding: raw", b"encoding: raw\nbyte skip: -7", "byte skip is -7"),
    ],
)
def test_an_nrrd_header_that_contradicts_itself_is_damaged(line, instead, said, tmp_path):
    path = made.nrrd_file(
        tmp_path / "a.nrrd", *made.turned(made.patient(size=(6, 6, 4)), (0, 1, 2), (1, 1, 1)), encoding="raw"
    )
    data = path.read_bytes()
    assert line in data
    path.write_bytes(data.replace(line, instead))
    with pytest.raises(UserError, match=said):
        read(tmp_path)


def test_an_nrrd_whose_origin_has_no_three_numbers_does_not_say_how_the_patient_lies(tmp_path):
    path = made.nrrd_file(tmp_path / "a.nrrd", *made.turned(made.patient(size=(6, 6, 4)), (0, 1, 2), (1, 1, 1)))
    data = path.read_bytes()
    start = data.index(b"space origin: (")
    end = data.index(b"\n", start)
    path.write_bytes(data[:start] + b"space origin: (1,2)" + data[end:])
    assert "how the patient lies" in made.left(tmp_path, plane="axial")["a.nrrd"]


def test_values_in_another_file_are_named(tmp_path):
    cells, affine = made.turned(made.patient(size=(6, 6, 4)), (0, 1, 2), (1, 1, 1))
    made.nibabel.save(
        made.nibabel.Nifti1Pair(cells, affine), tmp_path / "n" / "a.img" if (tmp_path / "n").mkdir() is None else ""
    )
    (tmp_path / "n" / "a.hdr").rename(tmp_path / "n" / "a.nii")
    assert "save both as one .nii" in made.left(tmp_path / "n")["a.nii"]
    (tmp_path / "r").mkdir()
    made.nrrd.write(str(tmp_path / "r" / "a.nhdr"), cells)
    (tmp_path / "r" / "a.nhdr").rename(tmp_path / "r" / "a.nrrd")
    assert "save both as one .nrrd" in made.left(tmp_path / "r")["a.nrrd"]


@pytest.mark.parametrize("name", ["a.nii.gz", "gzip.nrrd", "bzip2.nrrd"])
def test_a_bomb_is_not_unpacked_into_memory(name, tmp_path):
    import bz2
    import gzip

    values = bytes(2**26) + np.random.default_rng(0).bytes(2**14)  # as much smaller as its header may say
    if name.endswith(".nrrd"):
        encoding = name.split(".")[0]
        head = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 1000 1000 40\nendian: little\nencoding: {encoding}\n\n"
        packed = (gzip if encoding == "gzip" else bz2).compress(values)
        (tmp_path / name).write_bytes(head.encode() + packed)
    else:
        header = made.nibabel.Nifti1Header()
        header.set_data_shape((1000, 1000, 40))
        header.set_data_dtype(np.int16)
        header["vox_offset"] = 352
        (tmp_path / name).write_bytes(gzip.compress(header.binaryblock + values))
    with made.memory() as peak, pytest.raises(UserError, match="truncated: unpacked"):
        read(tmp_path)
    assert peak() < 2**25


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_an_empty_map_that_packs_to_next_to_nothing_is_read(encoding, tmp_path):
    """20 million equal bytes are 54 of bzip2: 370,000 times fewer."""
    made.nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((500, 500, 80), np.uint8), {"encoding": encoding})
    found = made.opened(tmp_path / "a.nrrd").pictures["image", ""]
    assert len(found.cuts) == 80
    assert not found.cuts[79].read().values.any()


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    import sys

    made.save(tmp_path / "a.dcm", made.dataset(np.zeros((4, 4), np.uint16)))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"pip install 'genzoo\[scans\]'"):
        read(tmp_path)


def test_what_ends_early_is_unpacked_once_and_not_for_every_slice(tmp_path, monkeypatch):
    import gzip

    from genzoo.data.decode.scans import nifti

    cells, affine = made.turned(made.patient(size=(12, 11, 10)), (0, 1, 2), (1, 1, 1))
    made.nifti(tmp_path / "a.nii", cells, affine)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()[:-50]))
    (tmp_path / "a.nii").unlink()
    calls = []
    monkeypatch.setattr(nifti, "unpacked", lambda *a, real=nifti.unpacked: calls.append(1) or real(*a))
    with pytest.raises(UserError, match="truncated: unpacked"):
        read(tmp_path)
    assert len(calls) == 1


def test_a_slice_without_a_rescale_among_others_with_one_is_left_out(tmp_path):
    """Its values would be 1,024 HU too high, and nobody would see why."""
    for i in range(4):
        ds = made.dataset(np.full((4, 4), 1000 + i, np.uint16), SeriesInstanceUID="1.2", Modality="CT", PatientID="P")
        ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = [0, 0, i], [1, 0, 0, 0, 1, 0], [1, 1]
        if i != 2:
            ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        else:
            for key in ("RescaleSlope", "RescaleIntercept"):
                if key in ds:
                    delattr(ds, key)
        made.save(tmp_path / f"{i}", ds)
    contents = made.opened(tmp_path)
    (left,) = [(name, why) for name, why in contents.left if name == "2"]
    assert "no RescaleIntercept" in left[1]
    assert [float(c.read().values.max()) for c in contents.pictures["image", ""].cuts] == [-24.0, -23.0, -21.0]


def test_ct_that_states_no_rescale_or_no_spacing_at_all_is_read_and_said(tmp_path):
    for i in range(2):
        ds = made.dataset(np.full((4, 4), 5, np.uint16), SeriesInstanceUID="1.2", Modality="CT")
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, i], [1, 0, 0, 0, 1, 0]
        for key in ("RescaleSlope", "RescaleIntercept", "PixelSpacing"):
            if key in ds:
                delattr(ds, key)
        made.save(tmp_path / f"{i}", ds)
    contents = made.opened(tmp_path)
    assert len(contents.pictures["image", ""].cuts) == 2
    said = " ".join(contents.notes)
    assert "1 of 1 scan are CT without RescaleIntercept" in said
    assert "1 of 1 scan do not say how large a pixel is" in said


def test_what_is_truncated_before_its_pixels_or_encrypted_is_called_so(tmp_path):
    made.save(tmp_path / "good", made.dataset(np.zeros((4, 4), np.uint16)))
    data = (tmp_path / "good").read_bytes()
    (tmp_path / "short.dcm").write_bytes(data[: data.index(b"\x28\x00\x10\x00")])
    (tmp_path / "secret.dcm").write_bytes(b"-----BEGIN PGP MESSAGE-----\n" + np.random.default_rng(0).bytes(3000))
    left = made.left(tmp_path)
    assert left["short.dcm"] == "a DICOM file without pixels (CT Image Storage): truncated, or damaged"
    assert left["secret.dcm"].startswith("damaged, encrypted or no DICOM file")
