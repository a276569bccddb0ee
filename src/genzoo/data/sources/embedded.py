"""The two sets that come with the package, as PNG contact sheets; their licences stand beside them.

A sheet holds the images class by class, the training part first; `index.json` says how many there are of each class.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.data.sources.contents import ArrayPictures, Contents
from genzoo.data.sources.layout import HOW

FOLDER = Path(__file__).parent / "embedded"


class Embedded:
    """digits or garments.

    Args:
        name: Which.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))[name]

    def identity(self) -> list[object]:
        """Return the digest of the sheet that holds all images, which changes when it does."""
        return ["embedded", self.name, self.facts["sha256"], self.facts["enlarge"]]

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def contents(self, structure: str) -> Contents:
        """Cut the sheet up."""
        if structure != "image":
            raise UserError(f"{self.name} is a set of labelled images, not {structure} data; {HOW[structure]}")
        side, enlarge = self.facts["side"], self.facts["enlarge"]
        with Image.open(FOLDER / f"{self.name}.png") as sheet:
            pixels = np.asarray(sheet)
        rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
        images = pixels.reshape(rows, side, columns, side).transpose(0, 2, 1, 3).reshape(-1, side, side)
        if enlarge != side:
            size, bicubic = (enlarge, enlarge), Image.Resampling.BICUBIC
            images = np.stack([np.asarray(Image.fromarray(i).resize(size, bicubic)) for i in images])
        contents, start = Contents({}, class_names=self.facts["classes"]), 0
        for split in ("train", "test"):
            counts = self.facts[split]
            labels = np.repeat(np.arange(len(counts)), counts)
            contents.pictures["image", split] = ArrayPictures(
                images[start : start + len(labels), None], f"{self.name} {split}"
            )
            contents.labels[split] = labels
            start += len(labels)
        return contents
