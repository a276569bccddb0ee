"""Coloured shapes with captions, drawn from their definition: text to image without a file, the same on every machine.

An image has one shape ("a small red circle") or two ("a small red circle left of a large blue square", or above), on white. Each has two
captions: the second one says the same in other words. The test part has sentences that the training part never has, made of the same
words: a sixth of all descriptions, chosen by their digest.
"""

from __future__ import annotations

import zlib

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.sources.contents import ArrayPictures, Contents
from genzoo.data.sources.layout import HOW

SIDE, TRAIN, TEST, SEED = 64, 2000, 200, 20_160_517
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40), "green": (44, 150, 66), "blue": (38, 84, 204), "yellow": (246, 200, 30),
    "purple": (130, 60, 170), "orange": (244, 128, 24), "black": (24, 24, 28),
}  # fmt: skip
SIZES: dict[str, float] = {"small": 0.13, "large": 0.22}
KINDS = ("circle", "square", "triangle", "star", "heart", "cross")

Thing = tuple[str, str, str, float, float]
"""Size, colour, kind, and the centre in shares of the side (x, y)."""


class Shapes:
    """data=shapes."""

    name = "shapes"

    def identity(self) -> list[object]:
        """Return all that the drawn scenes follow from."""
        return ["drawn", "shapes", 1, SIDE, TRAIN, TEST, SEED]

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def contents(self, structure: str) -> Contents:
        """Draw both parts."""
        if structure not in ("image", "captioned"):
            raise UserError(f"shapes is a set of images with captions, not {structure} data; {HOW[structure]}")
        rng, scenes = np.random.default_rng(SEED), {"train": list[list[Thing]](), "test": list[list[Thing]]()}
        while len(scenes["train"]) < TRAIN or len(scenes["test"]) < TEST:
            things = _scene(rng)
            part = "test" if zlib.crc32(" ".join(w for t in things for w in t[:3]).encode()) % 6 == 0 else "train"
            if len(scenes[part]) < (TRAIN if part == "train" else TEST):
                scenes[part].append(things)
        contents = Contents({})
        for part, found in scenes.items():
            contents.pictures["image", part] = ArrayPictures(np.stack([draw(s) for s in found]), f"shapes {part}")
            contents.captions[part] = ["\n".join(describe(s)) for s in found]
        return contents


def _scene(rng: np.random.Generator) -> list[Thing]:
    def thing(x: float, y: float) -> Thing:
        words = [str(rng.choice(list(options))) for options in (SIZES, COLOURS, KINDS)]
        dx, dy = rng.uniform(-0.05, 0.05, 2)
        return words[0], words[1], words[2], x + dx, y + dy

    if rng.random() < 0.5:
        return [thing(0.5 + rng.uniform(-0.18, 0.18), 0.5 + rng.uniform(-0.18, 0.18))]
    if rng.random() < 0.5:
        return [thing(0.27, 0.5), thing(0.73, 0.5)]
    return [thing(0.5, 0.27), thing(0.5, 0.73)]


def describe(things: list[Thing]) -> list[str]:
    """Write two captions of a scene."""
    names = [" ".join(t[:3]) for t in things]
    if len(things) == 1:
        size, colour, kind = things[0][:3]
        return [f"a {names[0]}", f"one {kind}, {colour} and {size}"]
    side_by_side = abs(things[0][3] - things[1][3]) > abs(things[0][4] - things[1][4])
    first, second = ("left of", "right of") if side_by_side else ("above", "below")
    return [f"a {names[0]} {first} a {names[1]}", f"a {names[1]} {second} a {names[0]}"]


def draw(things: list[Thing]) -> np.ndarray:
    """Draw a scene, uint8 [3, SIDE, SIDE], edges softened over a pixel."""
    y, x = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    canvas = np.full((3, SIDE, SIDE), 255.0)
    for size, colour, kind, cx, cy in things:
        r = SIZES[size]
        cover = np.clip(0.5 - _distance(kind, (x - cx) / r, (y - cy) / r) * r * SIDE, 0, 1)
        canvas += cover * (np.array(COLOURS[colour], float)[:, None, None] - canvas)
    picture: np.ndarray = np.rint(canvas).astype(np.uint8)
    return picture


def _distance(kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Estimate how far a point is outside of a shape of radius 1 (negative: inside); y points down."""
    outside: np.ndarray
    if kind == "circle":
        outside = np.hypot(x, y) - 1
    elif kind == "square":
        outside = np.maximum(abs(x), abs(y)) - 0.9
    elif kind == "triangle":
        outside = np.maximum(y - 0.75, (abs(x) * 1.75 - y - 0.95) / 2.0156)
    elif kind == "cross":
        bar = np.minimum(np.maximum(abs(x), abs(y) * 3), np.maximum(abs(y), abs(x) * 3))
        outside = (bar - 1) / 2
    elif kind == "heart":
        u, v = abs(x), -y - 0.1
        outside = np.where(u + v > 0.75, np.hypot(u - 0.47, v - 0.36) - 0.52, (1.02 * u - v - 0.97) / 1.43)
    else:  # a star of five points
        angle, radius = np.arctan2(x, -y), np.hypot(x, y)
        part = abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
        outside = (radius * np.cos(part - 0.0) + radius * np.sin(part) * 1.9626 - 1) / 2.2
    return outside
