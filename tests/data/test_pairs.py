"""Two sides: matched by name, cut from one image, derived, numbered, windowed, augmented alike; and what is wrong is named."""

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data import Batches, contact_sheet, describe, to_float
from genzoo.data.sources.derive import derived
from genzoo.use.common.files import Photo, read_photo, save_photo
from genzoo.use.translate import translate_files
from tests.data_help import picture, read


def pairs(folder, n=6, sides=("A", "B"), split="", size=(12, 10), modes=("RGB", "RGB")):
    for k, (side, mode) in enumerate(zip(sides, modes, strict=True)):
        (folder / split / side).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            picture(100 * k + i, size, mode).save(folder / split / side / f"{i}.png")


def array(path, mode="RGB"):
    return np.asarray(Image.open(path).convert(mode))


# ---- layouts -----------------------------------------------------------------------------------------------------------------------


def test_two_folders_are_pairs_by_name(folder):
    pairs(folder, 6)
    (folder / "A" / "alone.png").write_bytes((folder / "A" / "0.png").read_bytes())
    for spec in (str(folder), f"{folder / 'A'},{folder / 'B'}"):
        dataset = read(spec, kind="paired", holdout=0)
        assert dataset.paired
        assert len(dataset) == 6
        assert next(reason for name, reason in dataset.report if "alone" in name).startswith("no file of this name")
        for a, b in zip(dataset.fields["a"], dataset.fields["b"], strict=True):
            i = next(i for i in range(6) if np.array_equal(a.transpose(1, 2, 0), array(folder / "A" / f"{i}.png")))
            assert np.array_equal(b.transpose(1, 2, 0), array(folder / "B" / f"{i}.png"))


def test_sides_may_have_other_names(folder):
    pairs(folder, 4, ("sat", "map"), "train")
    pairs(folder, 2, ("sat", "map"), "test")
    pairs(folder, 3, ("night",), "train", modes=("RGB",))
    train, test = (read(folder, kind="paired", sides=("sat", "map"), split=s) for s in ("train", "test"))
    assert (len(train), len(test)) == (4, 2)
    assert any("not below sat or map" in reason for _, reason in train.report)
    assert len(read(folder, kind="unpaired", sides=("sat", "map"))) == 4
    with pytest.raises(UserError, match="no two sides: sat has images, roads has none"):
        read(folder, kind="paired", sides=("sat", "roads"))


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_one_image_holds_both_sides(folder, order):
    wide = [picture(i, (24, 10)) for i in range(3)]
    for i, image in enumerate(wide):
        image.save(folder / f"{i}.png")
    dataset = read(folder, kind="paired", layout=order, holdout=0)
    assert dataset.facts()["shape"] == (3, 10, 12)
    left, right = ("a", "b") if order == "ab" else ("b", "a")
    for i in range(3):
        whole = np.concatenate([dataset.fields[left][i], dataset.fields[right][i]], 2).transpose(1, 2, 0)
        assert any(np.array_equal(whole, np.asarray(image)) for image in wide)
    picture(9, (23, 10)).save(folder / "odd.png")
    assert "even width" in dict(read(folder, kind="paired", layout=order, holdout=0).report)["odd.png"]
    np.save(folder / "x.npy", np.stack([np.asarray(w) for w in wide]))
    assert read(folder / "x.npy", kind="paired", layout=order, holdout=0).facts()["shape"] == (3, 10, 12)


def test_a_turned_photograph_is_cut_after_turning(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(0, (10, 24))
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "a.png", exif=exif)
    dataset = read(folder, kind="paired", layout="ab", holdout=0)
    assert np.array_equal(dataset.fields["a"][0].transpose(1, 2, 0), np.asarray(image)[:, :5])


def test_two_arrays_are_pairs_by_place(folder):
    a, b = np.random.default_rng(0).integers(0, 256, (2, 5, 8, 8, 3), dtype=np.uint8)
    np.save(folder / "a.npy", a)
    np.save(folder / "b.npy", b)
    dataset = read(f"{folder / 'a.npy'},{folder / 'b.npy'}", kind="paired", holdout=0)
    for x, y in zip(dataset.fields["a"], dataset.fields["b"], strict=True):
        i = next(i for i in range(5) if np.array_equal(x.transpose(1, 2, 0), a[i]))
        assert np.array_equal(y.transpose(1, 2, 0), b[i])
    np.save(folder / "b.npy", b[:4])
    with pytest.raises(UserError, match="5 images and side B 4"):
        read(f"{folder / 'a.npy'},{folder / 'b.npy'}", kind="paired")


def test_sides_have_channels_of_their_own(folder):
    pairs(folder, 3, modes=("L", "RGB"))
    dataset = read(folder, kind="paired", holdout=0)
    assert dataset.facts() | {"shape": (3, 10, 12), "inputs": 1, "instances": False} == dataset.facts()
    assert dataset.fields["a"].shape[1:] == (1, 10, 12)
    assert contact_sheet(dataset, 4).shape == (4, 3, 10, 12)
    assert describe(dataset)["inputs"] == 1
    assert read(folder, kind="paired", holdout=0, channels=1).facts()["shape"] == (1, 10, 12)


# ---- derived -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "channels"), [("gray", 1), ("edges", 1), ("masked", 3), ("low", 3), ("labels", 3)])
def test_pairs_are_derived_from_plain_images(folder, how, channels):
    for i in range(4):
        picture(i, (16, 12)).save(folder / f"{i}.png")
    dataset = read(folder, kind="paired", derive=how, holdout=0.25)
    assert (len(dataset), dataset.paired) == (3, True)
    assert dataset.facts()["shape"] == (3, 12, 16)
    assert dataset.facts()["inputs"] == channels
    batch = Batches(dataset, 2, 0).at(3)
    assert batch["a"].shape == (2, channels, 12, 16)
    assert torch.equal(batch["a"], torch.from_numpy(derived(batch["b"].numpy(), how)))
    assert contact_sheet(dataset).shape[0] == 6
    assert dataset.digest != read(folder, kind="paired", derive="gray" if how != "gray" else "low").digest


def test_derivations_by_hand():
    image = np.zeros((1, 3, 8, 8), np.uint8)
    image[:, 0, :, 4:] = 255
    assert derived(image, "gray")[0, 0, 0].tolist() == [0] * 4 + [76] * 4
    edges = derived(image, "edges")[0, 0]
    assert (edges[:, [0, 1, 2, 5, 6, 7]] == 255).all()
    assert (edges[:, [3, 4]] == 0).all(), "4 · 76.245 is more than the range"
    masked = derived(image, "masked")
    assert (masked[:, :, 2:6, 2:6] == 128).all()
    assert (masked != image).sum() <= 3 * 16
    low = derived(image, "low")
    assert np.array_equal(low, image)
    assert derived(np.full((1, 1, 5, 6), 7, np.uint8), "low").shape == (1, 1, 5, 6)
    noisy = np.random.default_rng(0).integers(0, 256, (2, 4, 9, 11), dtype=np.uint8)
    labels = derived(noisy, "labels")
    assert labels.shape == (2, 3, 9, 11)
    for y, x in ((4, 5), (0, 0), (8, 10), (2, 9)):
        rows, columns = (np.arange(k - 3, k + 4).clip(0, top) for k, top in ((y, 8), (x, 10)))
        means = noisy[:, :3, rows[:, None], columns].mean((2, 3))
        assert np.array_equal(labels[:, :, y, x], np.where(means > 127.5, 255, 0))


# ---- augmentation ------------------------------------------------------------------------------------------------------------------


def test_crops_and_flips_move_both_sides_alike(folder):
    """Side B is the negative of side A, before and after."""
    for side in "AB":
        (folder / side).mkdir()
    for i in range(5):
        image = picture(i, (12, 10))
        image.save(folder / "A" / f"{i}.png")
        Image.fromarray(255 - np.asarray(image)).save(folder / "B" / f"{i}.png")
    batches = Batches(read(folder, kind="paired", holdout=0, crop=5, flip=True), 4, 0)
    seen = set()
    for step in range(6):
        batch = batches.at(step)
        assert torch.equal(batch["a"], 255 - batch["b"])
        seen |= {bytes(x.numpy().tobytes()) for x in batch["a"]}
    assert len(seen) > 12, "crops and flips differ from step to step"


# ---- numbers -----------------------------------------------------------------------------------------------------------------------


def maps(folder, n=4):
    rng = np.random.default_rng(0)
    for side in ("A", "B", "instance"):
        (folder / side).mkdir()
    for i in range(n):
        labels = rng.integers(0, 4, (6, 6), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
        image = Image.fromarray(labels, "P") if i % 2 else Image.fromarray(labels)
        if i % 2:
            image.putpalette(list(range(255, 255 - 48, -1)))
        image.save(folder / "A" / f"{i}.png")
        picture(i, (12, 12)).save(folder / "B" / f"{i}.png")
        ids = labels.astype(np.uint16) * 1000 + 7
        Image.fromarray(ids).save(folder / "instance" / f"{i}.png")


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_maps_of_classes_and_instances_are_never_interpolated(folder):
    maps(folder)
    dataset = read(folder, kind="paired", holdout=0, label_maps=True, size=20)
    a = dataset.fields["a"]
    assert a.shape == (4, 2, 20, 20)
    assert set(np.unique(a[:, 0])) == {0, 1, 2, 3}, "no value between two classes, and palettes are not looked up"
    assert set(np.unique(a[:, 1])) == {0, 1, 2, 3}, "7, 1007, 2007, 3007 renumbered"
    assert np.array_equal(a[:, 0], a[:, 1])
    assert dataset.instances
    assert dataset.facts()["inputs"] == 2
    assert dataset.facts()["instances"] is True
    assert contact_sheet(dataset).shape == (8, 3, 20, 20)
    (folder / "instance" / "3.png").unlink()
    assert len(read(folder, kind="paired", holdout=0, label_maps=True)) == 3
    picture(0).save(folder / "A" / "2.png")
    assert "one channel of numbers" in dict(read(folder, kind="paired", holdout=0, label_maps=True).report)["A/2.png"]


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_pix2pixhd_trains_on_labels_and_instances(folder, tmp_path):
    maps(folder, 6)
    run = genzoo.train(
        "pix2pixhd", str(folder), size=16, label_maps=True, labels=4, width=8, halvings=1, blocks=1, enhancer_blocks=1, layers=1,
        scales=1, features=2, steps=2, batch=2, runs=str(tmp_path), quiet=True,
    )  # fmt: skip
    system = genzoo.load(run.path)
    assert system.hparams["instances"] is True
    assert system.hparams["inputs"] == 2


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_a_file_of_classes_is_translated_by_its_numbers_and_not_by_its_colours(folder, tmp_path):
    maps(folder, 6)
    for path in (folder / "instance").iterdir():
        path.unlink()
    keys = {"width": 8, "halvings": 1, "blocks": 1, "enhancer_blocks": 1, "layers": 1, "scales": 1, "coarse": 0.0}
    run = genzoo.train(
        "pix2pixhd",
        str(folder),
        size=16,
        label_maps=True,
        labels=4,
        **keys,
        steps=2,
        batch=2,
        runs=str(tmp_path),
        quiet=True,
    )
    gray = Image.fromarray(np.asarray(Image.open(folder / "A" / "1.png")))
    gray.save(tmp_path / "gray.png")
    found = []
    for file in (folder / "A" / "1.png", tmp_path / "gray.png"):
        (path,) = translate_files(run.path, file, out=tmp_path / "out", overwrite=True)
        found.append(array(path))
    assert np.array_equal(*found), "a palette is a way to show classes, not what they are"


# ---- sixteen bits ------------------------------------------------------------------------------------------------------------------


def test_sixteen_bits_keep_their_range_and_a_window_chooses_from_it(folder):
    rng = np.random.default_rng(0)
    for side in "AB":
        (folder / side).mkdir()
        for i in range(3):
            Image.fromarray(rng.integers(0, 65536, (8, 9), dtype=np.uint16)).save(folder / side / f"{i}.png")
    dataset = read(folder, kind="paired", holdout=0, bits=16)
    assert dataset.fields["a"].dtype == np.uint16
    everything = [np.asarray(Image.open(folder / "A" / f"{i}.png")) for i in range(3)]
    assert all(any(np.array_equal(x[0], y) for y in everything) for x in dataset.fields["a"])
    floats = to_float(Batches(dataset, 3, 0).at(0), torch.device("cpu"))
    assert floats["a"].dtype == torch.float32
    assert len(floats["a"].unique()) == len(np.unique(np.stack(everything)))
    assert floats["a"].abs().max() <= 1
    windowed = read(folder, kind="paired", holdout=0, bits=16, gray_window=(1000, 2000)).fields["a"]
    for x in windowed:
        expected = [np.rint(((y.astype(float) - 1000) / 1000).clip(0, 1) * 65535) for y in everything]
        assert any(np.abs(x[0].astype(float) - e).max() <= 1 for e in expected)
    eight = read(folder, kind="paired", holdout=0, gray_window=(1000, 2000)).fields["a"]
    assert eight.dtype == np.uint8
    assert contact_sheet(dataset).abs().max() <= 1
    for side in "AB":
        for path in (folder / side).iterdir():
            path.unlink()
        Image.fromarray(np.linspace(-1, 3, 72, dtype=np.float32).reshape(8, 9)).save(folder / side / "float.tiff")
    with pytest.raises(UserError, match="gray_window="):
        read(folder, kind="paired", holdout=0)
    floats = read(folder, kind="paired", holdout=0, gray_window=(0, 2)).fields["a"][0, 0]
    expected = np.rint(np.linspace(-0.5, 1.5, 72).clip(0, 1) * 255).reshape(8, 9)
    assert np.abs(floats.astype(float) - expected).max() <= 1
    assert (floats.min(), floats.max()) == (0, 255)
    with pytest.raises(UserError, match="darker value first"):
        read(folder, kind="paired", gray_window=(5, 5))
    with pytest.raises(UserError, match="bits= is for paired and unpaired"):
        read(folder, kind="image", bits=16)


def test_a_model_of_sixteen_bits_gives_sixteen_bits_back(folder, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for side in "AB":
        (folder / side).mkdir()
        for i in range(6):
            Image.fromarray(rng.integers(500, 3000, (16, 16), dtype=np.uint16)).save(folder / side / f"{i}.png")
    run = genzoo.train(
        "pix2pix",
        str(folder),
        bits=16,
        gray_window=(500, 3000),
        width=4,
        depth=3,
        layers=1,
        steps=2,
        batch=2,
        runs=str(tmp_path),
        quiet=True,
    )
    out = tmp_path / "out"
    assert main(["translate", str(run.path), str(folder / "A" / "0.png"), f"out={out}"]) == 0
    with Image.open(out / "0.png") as image:
        assert image.mode.startswith("I")
        back = np.asarray(image)
    assert back.min() >= 500, "in the values of the files, not of the window"
    assert back.max() <= 3000
    assert len(np.unique(back)) > 100


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_ct_numbers_below_zero_are_trained_on_and_come_back_as_they_are(folder, tmp_path, dtype):
    """32-bit files have no range of their own; a window says which values count, and results keep their type and units."""
    rng = np.random.default_rng(0)
    for side in "AB":
        (folder / side).mkdir()
        for i in range(6):
            values = rng.integers(-900, 1500, (24, 24)).astype(dtype)  # a size that the networks take as it is
            Image.fromarray(values).save(folder / side / f"{i}.tif")
    keys = {"width": 4, "depth": 3, "layers": 1, "steps": 2, "batch": 2, "runs": str(tmp_path), "quiet": True}
    run = genzoo.train("pix2pix", str(folder), bits=16, gray_window=(-200, 300), **keys)
    (made,) = translate_files(run, folder / "A" / "0.tif", out=tmp_path / "out")
    assert made.name == "0.tif"
    with Image.open(made) as image:
        back = np.asarray(image)
    assert back.dtype == dtype
    given = np.asarray(Image.open(folder / "A" / "0.tif")).astype(np.float32)
    x = torch.from_numpy(((given + 200) / 500).clip(0, 1) * 2 - 1)[None, None]
    expected = genzoo.load(run.path).translate(x)[0, 0].numpy() * 250 + 50
    assert np.abs(back - expected).max() < (0.51 if dtype == np.int32 else 0.01)
    before = (folder / "A" / "0.tif").read_bytes()
    (second,) = translate_files(run, folder / "A" / "0.tif", out=folder / "A", overwrite=True)
    assert second.name == "0-2.tif", "an original is never replaced"
    assert (folder / "A" / "0.tif").read_bytes() == before


def test_a_window_is_the_same_in_training_and_at_use(folder, tmp_path):
    """A map that changes nothing gives every value inside the window back, to the step of 16 bits, through the whole path."""
    from genzoo.use.translate import in_window

    values = np.arange(0, 4096, dtype=np.uint16)
    back = in_window(lambda x: x, (1000, 3000))(values.reshape(64, 64, 1))[..., 0].ravel()
    assert np.array_equal(back, values.clip(1000, 3000))
    signed = np.arange(-2000, 2096, dtype=np.int32).reshape(64, 64, 1)
    assert np.array_equal(in_window(lambda x: x, (-1000, 1000))(signed), signed.clip(-1000, 1000))
    floats = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16, 1)
    assert np.allclose(in_window(lambda x: x, (-0.5, 0.5))(floats), floats.clip(-0.5, 0.5), atol=1e-6)


def test_sixteen_bit_colours_are_kept_from_file_to_network_and_back(folder, tmp_path):
    rng = np.random.default_rng(0)
    kept = {}
    for side in "AB":
        (folder / side).mkdir()
        for i in range(4):
            kept[side, i] = rng.integers(0, 65536, (16, 16, 3), dtype=np.uint16)
            save_photo(folder / side / f"{i}.png", Photo(kept[side, i]))
    dataset = read(folder, kind="paired", holdout=0, bits=16)
    assert dataset.fields["a"].dtype == np.uint16
    for name, x in zip(dataset.names_of("a"), dataset.fields["a"], strict=True):
        assert np.array_equal(x.transpose(1, 2, 0), kept["A", int(name[2])])
    keys = {"width": 4, "depth": 3, "layers": 1, "steps": 2, "batch": 2, "runs": str(tmp_path), "quiet": True}
    run = genzoo.train("pix2pix", str(folder), bits=16, **keys)
    (made,) = translate_files(run, folder / "A" / "0.png", out=tmp_path / "out")
    back = read_photo(made, 3).pixels
    assert back.dtype == np.uint16
    assert len(np.unique(back & 255)) > 100, "the low bytes are no copy of nothing"
    with pytest.raises(UserError, match="bits=16 is for gray and RGB"):
        read(folder, kind="paired", bits=16, channels=4)
    shallow = read(folder, kind="paired", holdout=0)
    assert any("8 images" in n and "more than 8 bits" in n and "gray_window=" in n for n in shallow.notes)
    assert not any("more than 8 bits" in n for n in dataset.notes)


def test_examples_keep_the_names_of_their_files(folder):
    pairs(folder, 6)
    (folder / "A" / "broken.png").write_bytes(b"no")
    (folder / "B" / "broken.png").write_bytes(b"no")
    for split in ("train", "test"):
        for again in range(2):  # the second time from the cache
            dataset = read(folder, kind="paired", holdout=0.34, split=split)
            assert len(dataset.names_of("a")) == len(dataset)
            for side, name in (("a", "A"), ("b", "B")):
                for file, x in zip(dataset.names_of(side), dataset.fields[side], strict=True):
                    assert file.startswith(f"{name}/")
                    assert np.array_equal(x.transpose(1, 2, 0), array(folder / file)), again
    plain = read(folder / "B", kind="paired", derive="gray", holdout=0)
    assert plain.names_of("a") == plain.names_of("b")
    assert sorted(plain.names_of("b")) == [f"{i}.png" for i in range(6)]
    two = read(folder, kind="unpaired", holdout=0, limit=2)
    assert all(n.startswith("A/") for n in two.names_of("a"))
    assert len(two.names_of("b")) == 2


# ---- what is wrong -----------------------------------------------------------------------------------------------------------------


def test_sides_without_a_pair_are_shown_by_name(folder):
    for side, name in (("A", "x"), ("B", "y")):
        (folder / side).mkdir()
        picture().save(folder / side / f"{name}.png")
    with pytest.raises(UserError, match=r"A has x; B has y"):
        read(folder, kind="paired")
    with pytest.raises(UserError, match=r"A has x; B has y"):
        read(f"{folder / 'A'},{folder / 'B'}", kind="paired")


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_an_empty_side_is_named(folder, kind):
    pairs(folder, 3)
    for path in (folder / "B").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="A has images, B has none"):
        read(folder, kind=kind)
    with pytest.raises(UserError, match="B has no images: no files were seen"):
        read(f"{folder / 'A'},{folder / 'B'}", kind=kind)


def test_sizes_that_differ_are_noted(folder):
    pairs(folder, 3)
    picture(0, (24, 20)).save(folder / "A" / "0.png")
    picture(0, (20, 20)).save(folder / "A" / "1.png")
    note = next(n for n in read(folder, kind="paired", size=8).notes if "differ in size" in n)
    assert "2 pairs" in note
    assert "A/0.png 24x20 and 12x10;" in note
    assert "A/1.png 20x20 and 12x10 (another shape)" in note


def test_a_crop_larger_than_the_images_is_refused(folder):
    pairs(folder, 3)
    with pytest.raises(UserError, match="crop=11 is larger than the images"):
        read(folder, kind="paired", crop=11)


@pytest.mark.parametrize(
    ("keys", "kind", "words"),
    [
        ({"derive": "gray"}, "unpaired", "derive= is for paired data"),
        ({"layout": "ab"}, "image", "layout= is for paired data"),
        ({"derive": "gray", "layout": "ab"}, "paired", "leave out layout="),
        ({"gray_window": (0, 10), "channels": 3}, "paired", "channels=1 makes all gray"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(folder, keys, kind, words):
    pairs(folder, 3)
    with pytest.raises(UserError, match=words):
        read(folder, kind=kind, **keys)


def test_one_side_alone_is_asked_for_the_other(folder):
    picture().save(folder / "a.png")
    with pytest.raises(UserError, match="derive=gray"):
        read(folder, kind="paired")


def test_the_command_shows_pairs_side_by_side(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairs(folder, 6)
    for words in ([str(folder)], [f"{folder / 'A'}", f"{folder / 'B'}"], [str(folder / "B"), "derive=edges"]):
        assert main(["data", "show", *words, "out=sheet.png", "overwrite=true"]) == 0
        told = capsys.readouterr().out
        assert "inputs" in told
        with Image.open(tmp_path / "sheet.png") as sheet:
            assert sheet.width > sheet.height, "eight in a row"
    (folder / "A" / "more.png").write_bytes((folder / "A" / "0.png").read_bytes())
    assert main(["data", "show", str(folder), "out=sheet.png", "overwrite=true"]) == 0
    assert "no file of this name in B" in capsys.readouterr().out


def test_old_settings_have_old_digests(folder):
    """New keys at their defaults change neither cache nor digests: runs of an earlier version resume."""
    from genzoo.data.cache import digest_of
    from genzoo.data.entries.images import CODE
    from genzoo.data.sources.finding import find

    pairs(folder, 3)
    dataset = read(folder, kind="paired", holdout=0.1)
    baked = {"size": None, "channels": None, "resize": "cover", "binarize": "none"}
    assert (
        dataset.folder.name == digest_of([CODE, find(str(folder), dataset.settings).identity(), "paired", baked])[:32]
    )
