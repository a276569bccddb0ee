"""Sets by name: embedded, standard, points, the hub; and what is said of a name that is not there."""

import io
import json
import struct
import sys
import tarfile
import types
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.core.errors import DamagedFile, UserError
from genzoo.data import DataSettings, available, contact_sheet, describe, open_data
from genzoo.data.sources import standard
from tests.data_help import classes, picture, read

pytestmark = pytest.mark.usefixtures("fresh_cache")

# ---- named sets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "counts"), [("digits", (1, 32, 32), (1497, 300)), ("garments", (1, 28, 28), (5000, 1000))]
)
def test_embedded(name, shape, counts):
    train, test = read(name, kind="labelled"), read(name, kind="labelled", split="test")
    assert (len(train), len(test)) == counts
    assert train.facts() == {"shape": shape, "classes": 10, "levels": 256}
    assert not {i.tobytes() for i in train.fields["image"][:500]} & {i.tobytes() for i in test.fields["image"]}
    assert np.bincount(test.fields["label"]).tolist() == [counts[1] // 10] * 10
    assert len(np.unique(train.fields["label"][:100])) == 10, "the stored order is mixed"
    means = np.stack([train.fields["image"][train.fields["label"] == c].mean(0).ravel() for c in range(10)])
    distance = ((test.fields["image"].reshape(len(test), -1)[:, None].astype(np.float32) - means) ** 2).sum(-1)
    assert (distance.argmin(1) == test.fields["label"]).mean() > 0.6, "labels belong to their images"


def test_embedded_digits_agree_with_their_source():
    sklearn = pytest.importorskip("sklearn.datasets")
    source = sklearn.load_digits()
    small = {
        np.rint(i * 255 / 16).astype(np.uint8).tobytes(): int(t)
        for i, t in zip(source.images, source.target, strict=True)
    }
    from genzoo.data.sources.embedded import Embedded

    contents = Embedded("digits").contents("image")
    assert sum(len(p.array) for p in contents.pictures.values()) == 1797
    sheet = np.asarray(
        Image.open(io.BytesIO((sys.modules["genzoo.data.sources.embedded"].FOLDER / "digits.png").read_bytes()))
    )
    first = sheet[:8, :8].tobytes()
    assert small[first] == contents.labels["train"][0] == 0


@pytest.mark.parametrize("name", ["moons", "ring", "grid", "spiral"])
def test_points_follow_their_definition(name):
    one, two = read(name, kind="points"), read(name, kind="points")
    assert np.array_equal(one.fields["points"], two.fields["points"])
    other = open_data(DataSettings(name, limit=2000), kind="image", seed=1, quiet=True).fields["points"]
    assert other.shape == (2000, 2)
    assert other.dtype == np.float32
    test = read(name, kind="points", split="test").fields["points"]
    assert not np.array_equal(one.fields["points"], test)
    x, y = one.fields["points"].astype(np.float64).T
    if name == "ring":
        assert np.hypot(x, y) == pytest.approx(np.ones(len(x)), abs=0.06)
        angle = (np.arctan2(y, x) / (2 * np.pi) * 8) % 1
        assert np.minimum(angle, 1 - angle).max() < 0.08
        assert np.hypot(x, y).std() == pytest.approx(0.01, rel=0.05)
    elif name == "grid":
        nearest = np.stack([np.round(x / 2) * 2, np.round(y / 2) * 2])
        assert len(np.unique(nearest, axis=1).T) == 25
        assert (x - nearest[0]).std() == pytest.approx(0.05, rel=0.05)
    elif name == "moons":
        upper = np.hypot(x / 2 + 0.5, y / 2 + 0.25) - 1
        lower = np.hypot(x / 2 - 0.5, y / 2 - 0.25) - 1
        assert np.abs(np.where(np.abs(upper) < np.abs(lower), upper, lower)).max() < 0.3
    else:
        turn = np.linspace(0, 3 * np.pi, 2000)
        arm = np.stack([turn * np.cos(turn), turn * np.sin(turn)], 1) / 3
        points = np.stack([x, y], 1)[:300, None]
        away = np.minimum(np.hypot(*(points - arm).T).min(0), np.hypot(*(points + arm).T).min(0))
        assert away.max() < 0.45
        assert np.median(away) == pytest.approx(0.0674, rel=0.2), "the median of |N(0, 0.1)|"


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", s) for s in array.shape) + array.tobytes()


@pytest.fixture
def small_standard(monkeypatch):
    """The two formats with a handful of images, and their digests."""
    import hashlib

    rng = np.random.default_rng(0)
    mnist = {}
    for prefix, n in (("train", 7), ("t10k", 3)):
        mnist[f"{prefix}-images-idx3-ubyte"] = idx_bytes(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        mnist[f"{prefix}-labels-idx1-ubyte"] = idx_bytes((np.arange(n) % 10).astype(np.uint8))
    cifar = {f: rng.integers(0, 10, (4, 3073), dtype=np.uint8).tobytes() for f in standard.BINS}
    for name, files in (("mnist", mnist), ("cifar10", cifar)):
        monkeypatch.setitem(
            standard.SHA256, name, tuple(hashlib.sha256(files[f]).hexdigest() for f in standard.FILES[name])
        )
    return {"mnist": mnist, "cifar10": cifar}


def gzipped(data):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_files(tmp_path, monkeypatch, small_standard, packed):
    home = tmp_path / "home" / "mnist" / "MNIST" / "raw"
    home.mkdir(parents=True)
    for name, data in small_standard["mnist"].items():
        (home / (f"{name}.gz" if packed else name)).write_bytes(gzipped(data) if packed else data)
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    train, test = read("mnist", kind="labelled"), read("MNIST", split="test")
    assert (len(train), len(test), train.facts()["shape"]) == (7, 3, (1, 28, 28))
    raw = np.frombuffer(small_standard["mnist"]["train-images-idx3-ubyte"][16:], np.uint8).reshape(7, 28, 28)
    for image, label in zip(train.fields["image"], train.fields["label"], strict=True):
        assert np.array_equal(image[0], raw[label])
    monkeypatch.delenv("GENZOO_DATA")
    assert len(read("mnist")) == 7, "the cache does not need the files again"


def test_cifar_files(tmp_path, monkeypatch, small_standard):
    home = tmp_path / "home" / "cifar10" / "cifar-10-batches-bin"
    home.mkdir(parents=True)
    for name, data in small_standard["cifar10"].items():
        (home / name).write_bytes(data)
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    dataset = read("cifar10", kind="labelled")
    assert dataset.fields["image"].shape == (20, 3, 32, 32)
    records = {
        r[1:].tobytes(): r[0]
        for f in standard.BINS
        for r in np.frombuffer(small_standard["cifar10"][f], np.uint8).reshape(4, -1)
    }
    assert [records[i.tobytes()] for i in dataset.fields["image"]] == dataset.fields["label"].tolist()


def test_altered_standard_file_is_refused_by_name(tmp_path, monkeypatch, small_standard):
    home = tmp_path / "home" / "mnist"
    home.mkdir(parents=True)
    for name, data in small_standard["mnist"].items():
        (home / name).write_bytes(data[:-1] + b"\x07")
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    with pytest.raises(DamagedFile, match="train-images-idx3-ubyte is not the official file"):
        read("mnist")


def serve(monkeypatch, answers):
    asked = []

    def urlopen(address, timeout):
        asked.append(address)
        return io.BytesIO(answers[address.rsplit("/", 1)[-1]])

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return asked


def test_fetching_checks_digests(tmp_path, monkeypatch, small_standard):
    good = {f"{n}.gz": gzipped(d) for n, d in small_standard["mnist"].items()}
    serve(monkeypatch, {**good, "t10k-images-idx3-ubyte.gz": gzipped(b"something else")})
    with pytest.raises(DamagedFile, match="did not send the official file"):
        read("mnist")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz"):
        pass
    serve(monkeypatch, {standard.TARBALL: tar.getvalue()})
    with pytest.raises(DamagedFile, match="did not send the official file"):
        read("cifar10")
    asked = serve(monkeypatch, good)
    assert len(read("mnist")) == 7
    assert asked[0].startswith("https://")
    assert {a.rsplit("/", 1)[-1] for a in asked} == {"t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}, (
        "the rest was there"
    )


def test_fetching_cifar(monkeypatch, small_standard):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in small_standard["cifar10"].items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    serve(monkeypatch, {standard.TARBALL: buffer.getvalue()})
    assert len(read("cifar10")) == 20
    assert len(read("cifar10", split="test")) == 4


def test_no_network_says_where_to_put_the_files(monkeypatch):
    def urlopen(address, timeout):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    with pytest.raises(UserError, match=r"no route to host.*GENZOO_DATA/fashion-mnist/") as caught:
        read("fashion-mnist")
    assert "\n" not in str(caught.value)


def test_folder_below_genzoo_data(tmp_path, monkeypatch, folder):
    picture().save(folder / "a.png")
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path))
    assert len(read("pictures")) == 1


# ---- the hub, and what is not there ---------------------------------------------------------------------------------


def test_hub(monkeypatch):
    class FakeImage:
        def __init__(self, decode=True):
            self.decode = decode

    class Table:
        def __init__(self, rows):
            self.rows, self.features = rows, {"img": FakeImage(), "label": types.SimpleNamespace(names=["no", "yes"])}

        def __len__(self):
            return len(self.rows)

        def cast_column(self, column, feature):
            assert feature.decode is False
            return self

        def __getitem__(self, key):
            return [r[key] for r in self.rows] if isinstance(key, str) else self.rows[key]

    def row(i, label):
        buffer = io.BytesIO()
        Image.new("L", (4, 4), i).save(buffer, "PNG")
        return {"img": {"bytes": buffer.getvalue(), "path": None}, "label": label}

    rows = [row(i, i % 2) for i in range(5)] + [{"img": {"bytes": b"junk", "path": None}, "label": 0}]
    tables = {"train": Table(rows), "validation": Table([row(9, 1)])}
    fake = types.SimpleNamespace(load_dataset=lambda name: tables, Image=FakeImage)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    dataset = read("hf:someone/some", kind="labelled")
    assert np.array_equal(dataset.fields["label"], dataset.fields["image"][:, 0, 0, 0] % 2)
    assert (len(dataset), dataset.class_names, len(dataset.report)) == (5, ["no", "yes"], 1)
    assert len(read("hf:someone/some", split="test")) == 1
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"genzoo\[hub\]"):
        read("hf:someone/some")


@pytest.mark.parametrize(("given", "meant"), [("mnits", "mnist"), ("garmets", "garments")])
def test_unknown_name_gives_the_nearest(given, meant):
    with pytest.raises(UserError, match=f"did you mean '{meant}'"):
        read(given)


def test_missing_path_gives_the_sibling(tmp_path, folder):
    with pytest.raises(UserError, match="did you mean 'pictures'"):
        read(tmp_path / "picturs")


@pytest.mark.parametrize(
    "settings",
    [{"size": 0}, {"channels": 5}, {"holdout": 1.0}, {"resize": "squash"}, {"limit": 0}, {"binarize": "yes"}],
)
def test_settings_are_checked(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        read("digits", **settings)


def test_crop_larger_than_the_image(folder):
    picture().save(folder / "a.png")
    with pytest.raises(UserError, match="at most 10"):
        read(folder, crop=11)
    assert read(folder, crop=7).facts()["shape"] == (3, 7, 7)


def test_unknown_split_and_kind():
    with pytest.raises(UserError, match="train or test"):
        read("digits", split="middle")
    with pytest.raises(UserError, match="no sound"):
        read("digits", kind="audio")


def test_description_and_contact_sheet(folder):
    classes(folder)
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    dataset = read(folder)
    plain = describe(dataset)
    json.dumps(plain)
    assert plain["examples"] == {"image": {"train": 11, "test": 1}}
    assert plain["left_out"][0][0] == "cat/broken.png"
    sheet = contact_sheet(dataset, 4)
    assert (sheet.shape, sheet.dtype) == ((4, 1, 6, 6), torch.float32)
    assert torch.equal(sheet, torch.from_numpy(dataset.fields["image"][:4].copy()).float() / 127.5 - 1)
    assert contact_sheet(read("moons", kind="points"), 3).shape == (3, 2)
    assert set(available()) >= {"digits", "mnist", "moons"}


def test_names_are_known_without_torch():
    import subprocess

    code = (
        "import sys; from genzoo.data.sources.names import available; available(); "
        "from genzoo.data import DataSettings; print('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
