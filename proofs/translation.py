"""Proofs of the translation family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import grid, to_uint8
from proofs.proof import Proof, proof
from proofs.textures import mean_and_error, measure_grids

INK, PAPER = torch.tensor([0.9, -0.2, 0.6]), torch.tensor([-0.8, 0.5, 0.2])


def digits(split: str) -> Tensor:
    """MNIST as white ink on black, float32 [N, 3, 32, 32]."""
    images = np.array(open_data(DataSettings("mnist"), split=split, quiet=True).fields["image"])
    return F.pad(torch.from_numpy(images).float() / 127.5 - 1, (2, 2, 2, 2), value=-1).expand(-1, 3, -1, -1)


def dyed(x: Tensor) -> Tensor:
    """The known partner: where ink was, one colour; where none was, another: the negative in other colours."""
    amount = (x[:, :1] + 1) / 2
    return amount * INK.view(1, 3, 1, 1) + (1 - amount) * PAPER.view(1, 3, 1, 1)


def folder_of(work: Path, sides: dict[str, Tensor]) -> str:
    """Two arrays as the sides of unpaired data."""
    work.mkdir(parents=True, exist_ok=True)
    for name, images in sides.items():
        np.savez(work / f"{name}.npz", images=to_uint8(images).permute(0, 2, 3, 1).numpy())
    return ",".join(str(work / f"{name}.npz") for name in sides)


@proof("cyclegan-digits", system="cyclegan", family="translation", minutes=9)
def cyclegan_digits(p: Proof) -> None:
    """Without one pair to learn from, digits and their coloured negatives find each other; without the cycle they do not."""
    train, test = digits("train"), digits("test")[:2000]
    half = len(train) // 2  # no digit is on both sides: there is no pair to be found
    data = folder_of(Path(p.work), {"white": train[:half], "dyed": dyed(train[half:])})
    keys: dict[str, Any] = {
        "steps": 1_000,
        "batch": 8,
        "width": 16,
        "blocks": 3,
        "layers": 2,
        "seed": 0,
        "precision": "bf16",
    }
    pairs = {"a2b": (test, dyed(test)), "b2a": (dyed(test), test)}
    found: dict[str, dict[str, float]] = {}
    made: dict[str, dict[str, Tensor]] = {}
    errors: dict[str, Tensor] = {}
    rows, failures = [test[:12], dyed(test[:12])], []
    for name in ("cyclegan", "cyclegan-no-cycle", "cyclegan-no-identity"):
        run = p.train(name, data, name=name, **keys)
        out = made[name] = {d: genzoo.translate(run, x, direction=d) for d, (x, _) in pairs.items()}
        found[name] = {d: float((out[d] - y).abs().mean()) for d, (_, y) in pairs.items()}
        errors |= (
            {d: (out[d] - y).abs().flatten(1).mean(1) for d, (_, y) in pairs.items()} if name == "cyclegan" else {}
        )
        read, labels = read_digits(out["b2a"])
        found[name]["wrong"] = 100 * float((read != labels).float().mean())
        rows += [out["a2b"][:12], out["b2a"][:12]]
        failed = (read != labels).nonzero().flatten()[:12]
        blank = torch.ones(12 - len(failed), 3, 32, 32)
        failures += [torch.cat([x[failed], blank]) for x in (dyed(test), out["b2a"], test)]
    protocol = (
        "mean absolute difference, images in [-1, 1], between the translation of 2,000 MNIST test digits (32x32 RGB) and their known "
        "partners; trained on 30,000 white digits and the dyed negatives of 30,000 others"
    )
    for d, (x, y) in pairs.items():
        baseline = {name: found[name][d] for name in list(found)[1:]}
        baseline |= {"input unchanged": float((x - y).abs().mean()), "mean image": float((y - y.mean(0)).abs().mean())}
        p.measure(
            f"paired error, {d}", found["cyclegan"][d], se=mean_and_error(errors[d])[1], n=len(test), split="test", protocol=protocol,
            baseline=baseline, better="lower", goal=0.5 * found["cyclegan-no-cycle"][d],
        )  # fmt: skip
        measure_grids(
            p, "cyclegan", {**{name: made[name][d] for name in made}, "real": pairs[d][1]}, f"translations {d} of 2,000 test digits, 32x32",
            prefix=f"{d}, ",
        )  # fmt: skip
    p.measure(
        "digits read wrong after b2a", found["cyclegan"]["wrong"], unit="%", n=len(test), split="test",
        protocol="classes that lenet-mnist-v1 reads in translations of dyed digits to white ones",
        baseline={name: found[name]["wrong"] for name in list(found)[1:]} | {"real": wrong_digits(test)}, better="lower",
    )  # fmt: skip
    caption = "Digits, their partners; then a2b and b2a of cyclegan, of no-cycle, of no-identity (b2a of the partners)"
    p.picture("translations", grid(torch.cat(rows), columns=12), caption)
    p.picture(
        "failures", grid(torch.cat(failures), columns=12),
        "Failures: the first test digits that are read wrong after b2a, what they were made of, what came of them, what they should be: of "
        "cyclegan, of no-cycle, of no-identity",
    )  # fmt: skip


def wrong_digits(images: Tensor) -> float:
    """Percentage of the first test digits that a classifier reads wrong in [N, 3, 32, 32]."""
    read, labels = read_digits(images)
    return 100 * float((read != labels).float().mean())


def read_digits(images: Tensor) -> tuple[Tensor, Tensor]:
    """What a classifier reads in the first test digits [N, 3, 32, 32], and what they are, int64 [N]."""
    from genzoo.metrics.features.lenet import classify

    labels = open_data(DataSettings("mnist"), kind="labelled", split="test", quiet=True).fields["label"][: len(images)]
    read = classify("lenet-mnist-v1", to_uint8(images.mean(1, keepdim=True)[:, :, 2:-2, 2:-2])).argmax(1)
    return read, torch.from_numpy(np.ascontiguousarray(labels))


@proof("cyclegan-groceries", system="cyclegan", family="translation", minutes=10)
def cyclegan_groceries(p: Proof) -> None:
    """Photographs of two kinds of groceries turn into each other and come home, without a pair."""
    keys: dict[str, Any] = {"steps": 2_500, "batch": 1, "width": 24, "blocks": 4, "size": 64, "flip": True, "seed": 0}
    run = p.train("cyclegan", "groceries", precision="bf16", **keys)
    test = open_data(DataSettings("groceries", size=64), kind="unpaired", split="test", quiet=True)
    real = {side: torch.from_numpy(np.array(test.fields[side])).float() / 127.5 - 1 for side in "ab"}
    for here, there in (("a", "b"), ("b", "a")):
        x = real[here]
        y = genzoo.translate(run, x, direction=f"{here}2{there}")
        home = genzoo.translate(run, y, direction=f"{there}2{here}")
        trip, trip_se = mean_and_error((home - x).abs().flatten(1).mean(1))
        p.measure(
            f"round trip {here}2{there}2{here}", trip, se=trip_se, n=len(x), split="test",
            protocol="mean absolute difference in [-1, 1] between photographs and their round trips, the error is over photographs",
            baseline={"the other images' mean": float((x - x.mean(0)).abs().mean())}, better="lower",
        )  # fmt: skip
        p.measure(
            f"change by {here}2{there}", float((y - x).abs().mean()), n=len(x), split="test",
            protocol="mean absolute difference in [-1, 1] between photographs and their translations: 0 would be a copy",
        )  # fmt: skip
        measure_grids(
            p, "translations", {"translations": y, "the way home": home, "real": real[there]},
            f"test photographs of side {here}, 64x64, and their translations to {there}", prefix=f"{here}2{there}, ",
        )  # fmt: skip
        shown = torch.cat([x[:10], y[:10], home[:10]])
        caption = f"Test photographs of side {here}, their translations to {there}, and the way home; not chosen"
        p.picture(f"{here}2{there}", grid(shown, columns=10), caption)
        worst = (home - x).abs().flatten(1).mean(1).argsort(descending=True)[:10]
        p.picture(
            f"{here}2{there}-failures", grid(torch.cat([x[worst], y[worst], home[worst]]), columns=10),
            f"Failures: the ten test photographs of side {here} that come home worst, their translations, and the way home",
        )  # fmt: skip
    p.note(
        "64x64, width 24, 4 blocks and minutes on a CPU; the paper has 256x256, width 64, 9 blocks and 200 passes on a GPU."
    )
