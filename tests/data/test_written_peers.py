"""What `genzoo data export` writes, read by the programs that it is for (the extra `peers`)."""

import gc

import numpy as np
import pytest

from genzoo.data import DataSettings
from genzoo.data.written import export_data
from tests.data_help import classes, read, table

pytestmark = pytest.mark.usefixtures("fresh_cache")
WHY = "a peer is not installed: pip install 'genzoo[peers]'"


@pytest.fixture
def birds(tmp_path):
    folder = tmp_path / "birds"
    for part, n in (("train", 4), ("test", 2)):
        classes(folder, names=("zebra", "auk"), n=n, prefix=part)
    rows = [
        (p.relative_to(folder).as_posix(), f"{p.parent.name} {k}")
        for p in sorted(folder.rglob("*.png"))
        for k in range(2)
    ]
    table(folder / "captions.csv", rows)
    return folder


def ours(folder, split):
    d = read(folder, split=split)
    return sorted(
        (i[0].tolist(), d.class_names[k], t)
        for i, k, t in zip(d.fields["image"], d.fields["label"], d.texts, strict=True)
    )


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_its_shards(birds, tmp_path):
    webdataset = pytest.importorskip("webdataset", reason=WHY)
    export_data(DataSettings(str(birds)), "webdataset", tmp_path / "w", quiet=True)
    for split, n in (("train", 8), ("test", 4)):
        shards = webdataset.WebDataset(
            str(tmp_path / "w" / f"{split}-000000.tar"), shardshuffle=False, empty_check=False
        )
        found = [(p, c, t, j) for p, c, t, j in shards.decode("l8").to_tuple("png", "cls", "txt", "json")]
        assert len(found) == n
        assert sorted((np.asarray(p).tolist(), j["class_name"], t.split("\n")) for p, _, t, j in found) == ours(
            birds, split
        )
        assert {(c, j["class_name"]) for _, c, _, j in found} == {(0, "auk"), (1, "zebra")}
        del shards
        gc.collect()  # it leaves its shards open


def test_datasets_reads_its_parquet(birds, tmp_path):
    datasets = pytest.importorskip("datasets", reason=WHY)
    export_data(DataSettings(str(birds)), "parquet", tmp_path / "p", quiet=True)
    found = datasets.load_dataset(str(tmp_path / "p"), cache_dir=str(tmp_path / "cache-of-datasets"))
    assert set(found) == {"train", "test"}
    for split in found:
        rows = found[split]
        assert isinstance(rows.features["image"], datasets.Image)
        names = rows.features["label"].names
        assert names == ["auk", "zebra"]
        assert sorted((np.asarray(r["image"]).tolist(), names[r["label"]], list(r["caption"])) for r in rows) == ours(
            birds, split
        )
