"""What the tests of the data layer share: pictures of noise, and short ways to open them."""

import csv

import numpy as np
from PIL import Image

from genzoo.data import DataSettings, open_data


def picture(seed=0, size=(12, 10), mode="RGB"):
    bands = len(Image.new(mode, (1, 1)).getbands())
    array = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    return Image.fromarray(array[..., 0] if bands == 1 else array)


def read(path, kind="image", split="train", **settings):
    return open_data(DataSettings(str(path), **settings), kind=kind, split=split, quiet=True)


def one(path, **settings):
    """The single image of a path, uint8 [C, H, W]."""
    dataset = read(path, **settings)
    assert dataset.report == []
    assert len(dataset) == 1
    return dataset.fields["image"][0]


def classes(folder, names=("cat", "dog"), n=6, prefix=""):
    for k, name in enumerate(names):
        (folder / prefix / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.new("L", (6, 6), 100 * k + i).save(folder / prefix / name / f"{i}.png")


def table(path, rows, header=("file", "caption")):
    with open(path, "w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows([header, *rows])


def pictures(folder, *names):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i).save(folder / name)
