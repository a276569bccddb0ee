"""Tiny data of every kind, for systems at their tiny size."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genzoo.core import schema
from genzoo.core.system import Batch, System
from genzoo.data import DataSettings, kinds
from genzoo.data.arrangements import PLAIN


def batch_for(system: System, n: int = 4, seed: int = 0) -> Batch:
    """Draw a random batch of the kind, shape and grey levels that a system learns from."""
    g = torch.Generator().manual_seed(seed)
    shape = tuple(system.hparams["shape"])
    kind, arrangement = kinds.of(system), kinds.declared(system.data)[1].name
    if kind.name != PLAIN.of:
        return kind.noise(n, system.hparams, g)
    levels: int = system.hparams.get("levels", 256)
    if system.hparams.get("likelihood") == "bernoulli":
        levels = 2

    def images() -> torch.Tensor:
        return torch.randint(0, levels, (n, *shape), generator=g).float() / (levels - 1) * 2 - 1

    if arrangement == "unpaired":
        return {"a": images(), "b": images()}
    if arrangement == "paired":
        inputs = system.hparams.get("inputs") or shape[0]
        a = torch.randint(0, 256, (n, inputs, *shape[1:]), generator=g).float() / 127.5 - 1
        return {"a": a, "b": images()}
    batch = {"image": images(), "label": torch.randint(0, 3, (n,), generator=g)}
    if words := system.hparams.get("vocabulary"):
        batch["caption"] = torch.randint(0, len(words) + 2, (n, 5), generator=g)
        batch["caption"][:, 0] = torch.arange(n) % len(words) + 2
    return batch


def shape_of(cls: type[System]) -> tuple[int, ...]:
    """Return the shape of one example at a system's tiny size."""
    return tuple(cls.tiny.get("shape", schema.settings(cls)["shape"].default))


def data_for(cls: type[System], folder: Path, n: int = 24) -> DataSettings:
    """Write a tiny data set that a system at its tiny size trains on."""
    shape = shape_of(cls)
    folder.mkdir(parents=True, exist_ok=True)
    declared, arranged = kinds.declared(cls.data)
    kind, arrangement = kinds.shaped(len(shape), declared), arranged.name
    if kind.name != PLAIN.of:
        return DataSettings(**kind.write_noise(folder, n, {**cls.tiny, "shape": shape}))
    rng = np.random.default_rng(0)
    c, h, w = shape
    binarize: Literal["none", "threshold"] = "threshold" if cls.tiny.get("levels") == 2 else "none"

    def images() -> np.ndarray:
        return rng.integers(0, 256, (n, h, w) if c == 1 else (n, h, w, c), dtype=np.uint8)

    if arrangement == "exemplar":
        Image.fromarray(images()[0]).save(folder / "exemplar.png")
        return DataSettings(data=str(folder / "exemplar.png"), size=(h, w))
    if arrangement == "paired":
        inputs = cls.tiny.get("inputs", c)
        for side, channels in (("A", inputs), ("B", c)):
            (folder / side).mkdir(exist_ok=True)
            for i in range(n):
                image = rng.integers(0, 256, (h, w, channels), dtype=np.uint8)
                Image.fromarray(image[..., 0] if channels == 1 else image).save(folder / side / f"{i}.png")
        return DataSettings(data=str(folder), size=(h, w))
    if arrangement == "unpaired":
        for side in ("A", "B"):
            (folder / f"train{side}").mkdir(exist_ok=True)
            for i, image in enumerate(images()):
                Image.fromarray(image).save(folder / f"train{side}" / f"{i}.png")
        return DataSettings(data=str(folder), size=(h, w))
    if arrangement == "captioned":
        lines, words = ["file,caption"], cls.tiny["vocabulary"]
        for i, image in enumerate(images()):
            Image.fromarray(image).save(folder / f"{i}.png")
            lines += [f"{i}.png,{words[i % len(words)]} {words[(i + k) % len(words)]}" for k in (1, 2)]
        (folder / "captions.csv").write_text("\n".join(lines))
        return DataSettings(data=str(folder), size=(h, w))
    np.savez(folder / "data.npz", images=images(), labels=rng.integers(0, 3, n))
    return DataSettings(data=str(folder / "data.npz"), size=(h, w), binarize=binarize)


def data_batch(system: System) -> Tensor:
    """Return the examples of a random batch, without what goes with them."""
    x: Tensor = kinds.examples(batch_for(system))
    return x
