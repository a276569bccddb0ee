"""`genzoo data export`: what is written is read back as it was, and nothing that was there is lost."""

import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data import DataSettings
from genzoo.data.written import FORMS, export_data, form
from tests.data_help import classes, picture, read, table

pytestmark = pytest.mark.usefixtures("fresh_cache")


@pytest.fixture
def birds(tmp_path, monkeypatch):
    """Images of two parts, three classes, with captions."""
    folder = tmp_path / "birds"
    for part, n in (("train", 4), ("test", 2)):
        classes(folder, names=("auk", "jay", "owl"), n=n, prefix=part)
    rows = [
        (p.relative_to(folder).as_posix(), f"{p.parent.name} {k}")
        for p in sorted(folder.rglob("*.png"))
        for k in range(2)
    ]
    table(folder / "captions.csv", rows)
    monkeypatch.chdir(tmp_path)
    return folder


def everything(path, **settings):
    """Every image's pixels, class and captions, by part."""
    made = {}
    for split in ("train", "test"):
        d = read(path, split=split, **settings)
        labels = [d.class_names[k] for k in d.fields["label"]]
        texts = d.texts or [[]] * len(d)
        made[split] = sorted(
            (i.tobytes(), c, tuple(t)) for i, c, t in zip(np.array(d.fields["image"]), labels, texts, strict=True)
        )
    return made


@pytest.mark.parametrize("to", ["webdataset", "parquet"])
def test_what_is_written_is_read_back(birds, to, capsys):
    assert main(["data", "export", "birds/", f"to={to}"]) in (0, None)
    assert "12 for training and 6 for testing: 6x6, 1 channel, 3 classes, 36 captions" in capsys.readouterr().out
    assert everything(f"birds-{to}", kind="captioned") == everything(birds)


@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_of_every_number_of_channels_are_kept(tmp_path, to, channels):
    (tmp_path / "a").mkdir()
    for i in range(5):
        picture(i, (8, 8), "RGBA").save(tmp_path / "a" / f"{i}.png")
    settings = DataSettings(str(tmp_path / "a"), channels=channels, holdout=0)
    out = tmp_path / f"out{form(to).SUFFIX}"
    if to == "stylegan-zip" and channels == 4:
        with pytest.raises(UserError, match="StyleGAN takes images of 1 or 3 channels, not 4; give channels=3"):
            export_data(settings, to, out, quiet=True)
        assert not out.exists()
        return
    export_data(settings, to, out, quiet=True)
    ours, theirs = (read(p, channels=channels, holdout=0).fields["image"] for p in (tmp_path / "a", out))
    assert sorted(i.tobytes() for i in np.array(ours)) == sorted(i.tobytes() for i in np.array(theirs))


def test_a_zip_of_stylegan(birds, capsys):
    main(["data", "export", "birds", "to=stylegan-zip", "size=8"])
    said = capsys.readouterr().out
    assert "the test part (6 images) is not in it: split=test writes it into a file of its own" in said
    assert "captions are not in it" in said
    with zipfile.ZipFile("birds.zip") as archive:
        names = archive.namelist()
        assert all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
        labels = json.loads(archive.read("dataset.json"))["labels"]
        assert names[0] == "00000/img00000000.png"
        assert [n for n, _ in labels] == names[:-1]
        assert np.bincount([k for _, k in labels]).tolist() == [4, 4, 4]
        by_class = {k: np.asarray(Image.open(archive.open(n))) for n, k in labels}
        assert [int(by_class[k][0, 0]) // 100 for k in range(3)] == [0, 1, 2]
    main(["data", "export", "birds", "to=stylegan-zip", "size=8", "split=test", "channels=3"])
    assert read("birds-test.zip", holdout=0).fields["image"].shape == (6, 3, 8, 8)
    with pytest.raises(UserError, match="squares with a side of a power of two, not 6x6; give size=8"):
        export_data(DataSettings("birds"), "stylegan-zip", birds / "x.zip", quiet=True)


def test_without_labels_the_list_is_null(tmp_path):
    (tmp_path / "a").mkdir()
    picture(0, (8, 8)).save(tmp_path / "a/x.png")
    export_data(DataSettings(str(tmp_path / "a"), holdout=0), "stylegan-zip", tmp_path / "a.zip", quiet=True)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert json.loads(archive.read("dataset.json")) == {"labels": None}
    assert len(read(tmp_path / "a.zip")) == 1


def test_the_members_of_a_sample_follow_each_other_and_shards_have_their_size(birds, monkeypatch):
    monkeypatch.setattr("genzoo.data.written.webdataset.SHARD", 5)
    main(["data", "export", "birds", "to=webdataset"])
    names = []
    for k, n in enumerate((5, 5, 2)):
        with tarfile.open(f"birds-webdataset/train-{k:06d}.tar") as tar:
            found = tar.getnames()
        assert len(found) == 4 * n
        names += found
    assert names == [f"{i:07d}.{e}" for i in range(12) for e in ("png", "cls", "txt", "json")]
    assert everything("birds-webdataset", kind="captioned") == everything(birds)


def test_parquet_in_several_files(birds, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr("genzoo.data.written.parquet.SHARD", 36 * 5)
    monkeypatch.setattr("genzoo.data.written.parquet.GROUP", 3)
    main(["data", "export", "birds", "to=parquet"])
    files = sorted(p.name for p in (birds.parent / "birds-parquet/data").iterdir())
    assert files == [
        "test-00000-of-00002.parquet",
        "test-00001-of-00002.parquet",
        *(f"train-0000{k}-of-00003.parquet" for k in range(3)),
    ]
    assert pq.ParquetFile(f"birds-parquet/data/{files[2]}").metadata.num_row_groups == 2
    assert everything("birds-parquet") == everything(birds)


def test_a_share_for_testing_is_written_where_it_is_asked_for(tmp_path, monkeypatch):
    classes(tmp_path / "c", n=5)
    monkeypatch.chdir(tmp_path)
    main(["data", "export", "c", "to=webdataset", "out=all"])
    main(["data", "export", "c", "to=webdataset", "out=parts", "holdout=0.2"])
    assert [p.name for p in sorted((tmp_path / "all").iterdir())] == ["train-000000.tar"]
    assert [len(read("parts", split=s)) for s in ("train", "test")] == [8, 2]


def test_nothing_that_is_there_is_lost(birds, capsys):
    main(["data", "export", "birds", "to=parquet", "limit=2"])
    main(["data", "export", "birds", "to=parquet", "limit=3"])
    assert "wrote birds-parquet-2" in capsys.readouterr().out
    with pytest.raises(UserError, match="out=birds-parquet is a folder with files in it; give another name"):
        export_data(
            DataSettings("birds"),
            "parquet",
            (birds / "../birds-parquet").resolve().relative_to(birds.parent),
            quiet=True,
        )
    (birds.parent / "full.zip").write_text("mine")
    main(["data", "export", "birds", "to=stylegan-zip", "size=8", "out=full.zip"])
    assert "wrote full-2.zip (full.zip was there already" in capsys.readouterr().out
    assert (birds.parent / "full.zip").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "birds"], r"to= is missing\. Forms: mds, .*parquet, .*stylegan-zip, .*webdataset, "),
        (["export", "birds", "to=webdatset"], "to=webdatset is not known — did you mean 'webdataset'"),
        (["export", "to=webdataset"], "DATA is missing. Usage: genzoo data export DATA"),
        (["show", "birds", "to=webdataset"], "to= goes with export"),
        (["export", "birds", "to=webdataset", "kind=paired"], "kind=paired is none of these"),
        (["export", "moons", "to=parquet"], "data export writes images; moons is of points"),
        (["export", "nothing", "to=parquet"], "no set and no path of this name"),
        (["export", "birds", "to=parquet", "label=color"], r"label=color: no list .* tells it\. There are: none"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(birds, capsys, words, said):
    import re

    assert main(["data", *words])
    err = capsys.readouterr().err
    assert re.search(said, err), err
    assert not [p for p in birds.parent.iterdir() if p.suffix in (".zip", ".part") or "-" in p.name]


def test_a_shard_of_mds_that_would_be_too_large_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("genzoo.data.written.mds.LIMIT", 5000)
    with pytest.raises(UserError, match=r"images are 0\.0 GB, and a shard of MDS holds .*genzoo data shard"):
        export_data(DataSettings("digits", limit=100), "mds", tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
