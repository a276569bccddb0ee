"""The lists that published sets have beside their images: captions of COCO, Flickr and CUB, attributes of CelebA, maps of Cityscapes."""

import json

import numpy as np
import pytest
from PIL import Image

from genzoo.core.errors import UserError
from tests.data.published_help import batch, tar
from tests.data_help import pictures, read

pytestmark = pytest.mark.usefixtures("fresh_cache")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def words(dataset):
    """The captions by the end of the image's name."""
    return {n.rsplit("/", 1)[-1]: t for n, t in zip(dataset.names_of("image"), dataset.texts, strict=True)}


def classes(dataset):
    labels = [dataset.class_names[k] for k in dataset.fields["label"]]
    return {n.rsplit("/", 1)[-1]: c for n, c in zip(dataset.names_of("image"), labels, strict=True)}


# ---- COCO -------------------------------------------------------------------------------------------------------------------------


def coco(path, files, captions):
    path.parent.mkdir(exist_ok=True)
    images = [{"id": 7 * i + 1, "file_name": f} for i, f in enumerate(files)]
    notes = [{"image_id": 7 * i + 1, "id": n, "caption": c} for n, (i, c) in enumerate(captions)]
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": notes}))


def test_coco_as_it_is_unpacked(home):
    pictures(home, "train2017/0.png", "train2017/1.png", "val2017/9.png")
    coco(
        home / "annotations/captions_train2017.json",
        ["0.png", "1.png"],
        [(1, "A dog. "), (0, "a  cat"), (1, "two dogs")],
    )
    coco(home / "annotations/captions_val2017.json", ["9.png"], [(0, "a cow")])
    train, test = read(home, kind="captioned"), read(home, kind="captioned", split="test")
    assert words(train) == {"0.png": ["a cat"], "1.png": ["A dog.", "two dogs"]}
    assert words(test) == {"9.png": ["a cow"]}
    assert train.report == []


def test_cocos_captions_from_elsewhere_and_files_that_are_not_there(home, tmp_path):
    pictures(home, "0.png")
    coco(tmp_path / "a/captions_train2014.json", ["0.png", "1.png", "2.png"], [(0, "a"), (1, "b"), (2, "c"), (5, "d")])
    train = read(home, kind="captioned", captions=str(tmp_path / "a/captions_train2014.json"))
    assert words(train) == {"0.png": ["a"]}
    assert train.report == [
        ("captions_train2014.json", "has captions of 2 files that are not there, 1.png is the first")
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"images": [{"id": 1', "no valid JSON: damaged or cut off"),
        ("[]", 'no captions in the form of COCO: it has no list "images"'),
        ('{"images": []}', 'it has no list "annotations"'),
        ('{"images": [], "annotations": []}', "no captions: it has no annotations"),
        ('{"images": [{"id": 1, "file_name": "0.png"}], "annotations": [{"image_id": 2, "caption": "x"}]}', "none of its 1 annotations is a caption"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_captions_is_told(home, content, reason):
    pictures(home, "images/0.png", "images/1.png")
    (home / "captions_x.json").write_text(content)
    train = read(home, holdout=0)
    assert len(train) == 2
    assert reason in dict(train.report)["captions_x.json"]
    with pytest.raises(UserError, match=r"has no captions for its images \(captions_x\.json: "):
        read(home, kind="captioned")


def test_karpathys_list_has_captions_and_parts(home):
    pictures(home, *(f"imgs/{i}.png" for i in range(4)))
    parts = ["train", "restval", "val", "test"]
    images = [
        {"filename": f"{i}.png", "split": p, "sentences": [{"raw": f"line {i}"}, {"raw": "x"}]}
        for i, p in enumerate(parts)
    ]
    (home / "dataset_coco.json").write_text(json.dumps({"images": images}))
    assert words(read(home, kind="captioned")) == {"0.png": ["line 0", "x"], "1.png": ["line 1", "x"]}
    assert words(read(home, kind="captioned", split="test")) == {"3.png": ["line 3", "x"]}


# ---- Flickr -----------------------------------------------------------------------------------------------------------------------


def test_flickrs_tokens_and_lists_of_parts(home):
    pictures(home, *(f"Flicker8k_Dataset/{i}_a.png" for i in range(6)))
    lines = [f"{i}_a.png#{k}\tA dog , number {i} {k} ." for i in range(6) for k in range(2)]
    (home / "Flickr8k.token.txt").write_text("\n".join([*lines, "gone.png#0\tx", "torn line"]))
    for part, names in (("train", "0124"), ("dev", "3")):
        (home / f"Flickr_8k.{part}Images.txt").write_text("".join(f"{n}_a.png\n" for n in names))
    train, test = read(home, kind="captioned"), read(home, kind="captioned", split="test")
    assert set(words(train)) == {f"{i}_a.png" for i in "0124"}
    assert words(test) == {"3_a.png": ["A dog , number 3 0 .", "A dog , number 3 1 ."]}
    told = dict(train.report)
    assert "1 images like this one are in none of the lists of parts" in told["Flicker8k_Dataset/5_a.png"]
    assert told["gone.png"] == "has a caption, but there is no such file"


def test_flickr30k_from_its_token_file_and_from_its_table_with_bars(home):
    pictures(home, "flickr30k-images/7.png", "flickr30k-images/8.png")
    (home / "results_20130124.token").write_text("7.png#0\tTwo men .\n8.png#0\tA boy .\n")
    assert words(read(home, kind="captioned", holdout=0)) == {"7.png": ["Two men ."], "8.png": ["A boy ."]}
    (home / "results_20130124.token").unlink()
    (home / "captions.csv").write_text("image_name| comment_number| comment\n7.png| 0| Two men .\n8.png| 0| A boy .\n")
    assert words(read(home, kind="captioned", holdout=0)) == {"7.png": ["Two men ."], "8.png": ["A boy ."]}


# ---- CUB --------------------------------------------------------------------------------------------------------------------------


def birds(home, above="CUB_200_2011/"):
    names = [f"{k:03d}.{s}/{s}_{i}" for k, s in enumerate(("Auk", "Jay"), 1) for i in range(4)]
    pictures(home, *(f"{above}images/{n}.png" for n in names))
    for n in names:
        (home / "text_c10" / n).parent.mkdir(parents=True, exist_ok=True)
        (home / "text_c10" / f"{n}.txt").write_text("".join(f"this bird {n[-1]} has {k} feathers\n" for k in range(10)))
    (home / above / "images.txt").write_text("".join(f"{i} {n}.png\n" for i, n in enumerate(names, 1)))
    (home / above / "train_test_split.txt").write_text("".join(f"{i} {int(i % 4 != 0)}\n" for i in range(1, 9)))
    return names


def test_birds_have_ten_sentences_species_and_parts(home):
    birds(home)
    train, test = read(home, kind="captioned"), read(home, kind="captioned", split="test")
    assert set(words(test)) == {"Auk_3.png", "Jay_3.png"}
    assert words(train)["Auk_1.png"] == [f"this bird 1 has {k} feathers" for k in range(10)]
    labelled = read(home, kind="labelled")
    assert labelled.class_names == ["001.Auk", "002.Jay"]
    assert classes(labelled)["Jay_2.png"] == "002.Jay"
    assert len(labelled) == 6


def test_birds_of_species_that_are_not_trained_on(home):
    birds(home)
    (home / "trainvalclasses.txt").write_text("001.Auk\n")
    (home / "testclasses.txt").write_text("002.Jay\n")
    train, test = read(home, kind="captioned"), read(home, kind="captioned", split="test")
    assert {n[:3] for n in words(train)} == {"Auk"}
    assert {n[:3] for n in words(test)} == {"Jay"}
    assert len(train) == len(test) == 4
    assert len(read(home, kind="labelled")) == 6


# ---- CelebA -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def faces(home):
    pictures(home, *(f"img_align_celeba/{i:06d}.png" for i in range(1, 9)))
    rows = [f"{i:06d}.png {'-1 ' if i % 2 else ' 1 '}{' 1' if i > 4 else '-1'}" for i in range(1, 9)]
    (home / "list_attr_celeba.txt").write_text(
        "\n".join(["8", "Smiling Wearing_Hat ", *rows, "000099.png 1 1", "torn 1"]) + "\n"
    )
    (home / "list_eval_partition.txt").write_text(
        "".join(f"{i:06d}.png {0 if i < 6 else 1 if i == 6 else 2}\n" for i in range(1, 9))
    )
    return home


def test_an_attribute_of_faces_is_the_class(faces):
    train, test = (
        read(faces, kind="labelled", label="Smiling"),
        read(faces, kind="labelled", label="smiling", split="test"),
    )
    assert classes(train) == {f"{i:06d}.png": "not Smiling" if i % 2 else "Smiling" for i in range(1, 6)}
    assert train.class_names == ["not Smiling", "Smiling"]
    assert classes(test) == {"000007.png": "not Smiling", "000008.png": "Smiling"}
    told = [r for n, r in train.report if n == "list_attr_celeba.txt"]
    assert told == [
        "1 lines have not 2 attributes of 1 and -1",
        "tells of 1 files that are not there, 000099.png is the first",
    ]
    with pytest.raises(UserError, match=r"label=Smilin: .* did you mean 'Smiling'.*There are: Smiling, Wearing_Hat"):
        read(faces, label="Smilin")


def test_without_label_the_attributes_are_told(faces):
    dataset = read(faces)
    assert "label" not in dataset.fields
    assert "list_attr_celeba.txt has 2 attributes: label=Smiling makes one of them the class" in dataset.notes
    assert len(dataset) == 5


def test_attributes_and_parts_as_csv(faces):
    (faces / "list_attr_celeba.txt").unlink()
    (faces / "list_eval_partition.txt").unlink()
    (faces / "list_attr_celeba.csv").write_text(
        "image_id,Smiling\n" + "".join(f"{i:06d}.png,{-1 if i < 4 else 1}\n" for i in range(1, 9))
    )
    (faces / "list_eval_partition.csv").write_text(
        "image_id,partition\n" + "".join(f"{i:06d}.png,{2 * (i > 6)}\n" for i in range(1, 9))
    )
    train = read(faces, kind="labelled", label="Smiling")
    assert classes(train) == {f"{i:06d}.png": "Smiling" if i > 3 else "not Smiling" for i in range(1, 7)}


def test_label_names_a_column_of_any_table(home):
    pictures(home, *(f"{i}.png" for i in range(4)))
    (home / "metadata.csv").write_text(
        "file_name,genus,label\n" + "".join(f"{i}.png,{'ab'[i % 2]},{i // 2}\n" for i in range(4))
    )
    assert read(home, kind="labelled", holdout=0).class_names == ["0", "1"]
    assert classes(read(home, kind="labelled", label="genus", holdout=0)) == {
        "0.png": "a",
        "1.png": "b",
        "2.png": "a",
        "3.png": "b",
    }


# ---- Cityscapes -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def streets(home):
    for part, city, n in (("train", "aachen", 3), ("train", "ulm", 2), ("val", "lindau", 2), ("test", "berlin", 1)):
        for i in range(n):
            stem = f"{part}/{city}/{city}_{i:06d}_000019"
            (home / f"leftImg8bit/{part}/{city}").mkdir(parents=True, exist_ok=True)
            (home / f"gtFine/{part}/{city}").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 8), (i, 40, 90)).save(home / f"leftImg8bit/{stem}_leftImg8bit.png")
            Image.new("L", (16, 8), 7 + i).save(home / f"gtFine/{stem}_gtFine_labelIds.png")
            Image.new("RGBA", (16, 8), (1, 2, 3, 255)).save(home / f"gtFine/{stem}_gtFine_color.png")
            ids = np.full((8, 16), 7, np.uint16)
            ids[:, 8:] = 26000 + i
            Image.fromarray(ids).save(home / f"gtFine/{stem}_gtFine_instanceIds.png")
            (home / f"gtFine/{stem}_gtFine_polygons.json").write_text("{}")
    return home


def test_streets_are_pairs_with_maps_of_instances(streets):
    train = read(streets, kind="paired", label_maps=True, size=(8, 16))
    test = read(streets, kind="paired", label_maps=True, size=(8, 16), split="test")
    assert (len(train), len(test)) == (5, 2)
    assert train.instances
    a, b = train.fields["a"], train.fields["b"]
    assert a.shape == (5, 2, 8, 16)
    for one, photo in zip(a, b, strict=True):
        assert (one[0] == 7 + photo[0, 0, 0]).all()
        assert one[1, 0].tolist() == [0] * 8 + [1] * 8
    told = dict(train.report)
    assert told["*_color.png"] == "7 files: not used"
    assert told["test/"] == "4 files: the maps of the test part are withheld, so the validation part is used"


def test_photographs_of_streets_alone(streets):
    train = read(streets, size=(8, 16))
    assert len(train) == 5
    assert (train.fields["image"][:, 1] == 40).all()
    assert "7 files" not in dict(train.report)["gtFine/"]
    assert "kind=paired label_maps=true takes both" in dict(train.report)["gtFine/"]


# ---- CIFAR for Python -------------------------------------------------------------------------------------------------------------


def ten(home, names=("plane", "car", "bird")):
    import pickle

    for k in range(1, 6):
        (home / f"data_batch_{k}").write_bytes(batch([10 * k, 10 * k + 1], [k % 3, (k + 1) % 3]))
    (home / "test_batch").write_bytes(batch([200], [2], python3=True))
    (home / "batches.meta").write_bytes(pickle.dumps({"label_names": list(names), "num_cases_per_batch": 2}, 2))
    return home


def test_cifar_10_for_python(home):
    train, test = read(ten(home), kind="labelled"), read(home, kind="labelled", split="test")
    levels = train.fields["image"][:, 2, 31, 31].tolist()
    assert dict(zip(levels, (train.class_names[k] for k in train.fields["label"]), strict=True)) == {
        v: ("plane", "car", "bird")[(v // 10 + v % 10) % 3] for k in range(1, 6) for v in (10 * k, 10 * k + 1)
    }
    assert train.fields["image"].shape == (10, 3, 32, 32)
    assert (len(test), test.class_names) == (1, ["plane", "car", "bird"])
    assert train.report == []


def test_cifar_10_in_its_archive(home, tmp_path):
    ten(home)
    files = [(f"cifar-10-batches-py/{p.name}", p.read_bytes()) for p in home.iterdir()]
    assert len(read(tar(tmp_path / "cifar-10-python.tar.gz", files), kind="labelled")) == 10


def test_cifar_100_has_two_sets_of_classes(home):
    import pickle

    for name, levels in (("train", [1, 2, 3]), ("test", [9])):
        rows = np.repeat(np.array(levels, np.uint8)[:, None], 3072, 1)
        told = {b"data": rows, b"fine_labels": [v % 4 for v in levels], b"coarse_labels": [v % 2 for v in levels]}
        (home / name).write_bytes(pickle.dumps(told, 2))
    (home / "meta").write_bytes(
        pickle.dumps({"fine_label_names": list("abcd"), "coarse_label_names": ["even", "odd"]}, 2)
    )
    assert read(home, kind="labelled").class_names == ["b", "c", "d"]
    coarse = read(home, kind="labelled", label="coarse_labels")
    assert {int(i[0, 0, 0]): coarse.class_names[k] for i, k in zip(coarse.fields["image"], coarse.fields["label"], strict=True)} == {
        1: "odd", 2: "even", 3: "odd",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"label=coarse: .*There are: coarse_labels, fine_labels"):
        read(home, label="coarse")


def test_batches_that_are_missing_damaged_or_would_run_something(home):
    import pickle

    ten(home)
    (home / "data_batch_1").unlink()
    whole = (home / "data_batch_2").read_bytes()
    (home / "data_batch_2").write_bytes(whole[:-2000])
    (home / "data_batch_3").write_bytes(batch([1, 2], [0]))
    (home / "data_batch_4").write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")  # its empty dictionary is object 2^31 - 1

    class Evil:
        def __reduce__(self):
            return (open, (str(home / "made"), "w"))

    (home / "batches.meta").write_bytes(pickle.dumps({"label_names": Evil()}, 2))
    train = read(home)
    assert sorted(train.fields["image"][:, 0, 0, 0].tolist()) == [50, 51]
    told = dict(train.report)
    assert told["data_batch_1"] == "missing; the other batches are used"
    assert told["data_batch_2"].startswith("no pickle of CIFAR: ")
    assert told["data_batch_3"] == "1 labels (labels) that are numbers, for 2 images"
    assert told["data_batch_4"] == "no batch of CIFAR: its data are no array of bytes"
    assert not (home / "made").exists()
    for k in range(2, 6):
        (home / f"data_batch_{k}").write_bytes(b"")
    (home / "test_batch").write_bytes(b"x")
    with pytest.raises(UserError, match="has no batch that can be read"):
        read(home)


# ---- StyleGAN -----------------------------------------------------------------------------------------------------------------------


def test_one_place_of_stylegans_vectors_is_the_class(home):
    pictures(home, "0.png", "1.png", "2.png")
    (home / "dataset.json").write_text(
        json.dumps({"labels": [["0.png", [1, 1, 0.5]], ["1.png", [0, 1, 0.5]], ["2.png", [1.0, 0, 2]]]})
    )
    assert classes(read(home, label="0", holdout=0)) == {"0.png": "1", "1.png": "0", "2.png": "1"}
    assert classes(read(home, label="1", holdout=0)) == {"0.png": "1", "1.png": "1", "2.png": "0"}
    with pytest.raises(UserError, match=r"label=3: no list .* There are: 0, 1, 2"):
        read(home, label="3")
    assert "a label is 0.5; a class is a number" in dict(read(home, label="2").report)["dataset.json"]
    without = read(home)
    assert without.class_names == []
    assert "label=0 to label=2 takes one place" in dict(without.report)["dataset.json"]
