"""Proofs of restoration from plain images: srgan, context-encoder, missing-data-encoder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import genzoo
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.data.drawing.images import grid, to_uint8
from genzoo.metrics.maths.lpips import lpips_distances
from genzoo.metrics.maths.outliers import auroc
from genzoo.metrics.maths.similarity import l1_percent, l2_percent, psnr, y_psnr, y_ssim
from genzoo.nn.colour import luma
from genzoo.nn.pretrained.perceptual import FeatureNet
from genzoo.nn.resampling import bicubic, grey_levels
from proofs.proof import Proof, proof
from proofs.textures import grid_power, mean_and_error, noise_of_equal_sharpness, sharpness

STEPS = {
    "srresnet": 400, "srgan": 160, "encoder": 2000, "holes": 1000, "mde": 400, "block": 400, "seeker": 100,
}  # fmt: skip
"""Optimizer steps of every run: minutes on one core."""
TEST = 1000
"""Test images of CIFAR-10 that are measured."""


def images_of(dataset: Dataset, n: int | None = None) -> Tensor:
    """The first images of a set, float32 [N, C, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(dataset.fields["image"][:n])).float() / 127.5 - 1


def measure_each(p: Proof, name: str, values: dict[str, Tensor], lead: str, **more: Any) -> None:
    """Record the mean of `lead`, with the means of the others as baselines."""
    mean, se = mean_and_error(values[lead])
    others = {k: float(v.double().mean()) for k, v in values.items() if k != lead}
    p.measure(name, mean, se=se, n=len(values[lead]), baseline=others, **more)


# ---- super-resolution ----------------------------------------------------------------------------------------------------------


PHOTOGRAPHS = (
    "6 whole test photographs at their own sizes (451x300 to 1000x872, cut to multiples of 4), made small by 4 (antialiased "
    "bicubic, 8 bits)"
)


def whole_photographs(scale: int) -> list[Tensor]:
    """The test photographs at the sizes that they have, cut to multiples of `scale`, float32 [1, 3, H, W] in [-1, 1] each."""
    found = []
    for file in sorted((Path(os.environ["GENZOO_DATA"]) / "photos" / "test").rglob("*.*")):
        x = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
        h, w = (n // scale * scale for n in x.shape[2:])
        found.append(x[:, :, :h, :w])
    return found


def enlargements(p: Proof, seed: int, low: list[Tensor]) -> dict[str, list[Tensor]]:
    """Train srresnet and, from it, srgan with a seed: what they make of small photographs."""
    net: dict[str, Any] = {"scale": 4, "width": 32, "blocks": 6, "batch_norm": False, "residual": True}
    data: dict[str, Any] = {"size": 384, "crop": 64, "flip": True, "precision": "fp32", "seed": seed, "ema": 0.99}
    first = p.train(
        "srresnet", "photos", name=f"srresnet-{seed}", steps=STEPS["srresnet"], batch=8, lr=1e-3, decay="cosine", **net, **data
    )  # fmt: skip
    second = p.train(
        "srgan", "photos", name=f"srgan-{seed}", steps=STEPS["srgan"], batch=8, lr=3e-4, d_width=24, layer="relu2_2",
        start=str(first.path), pixel=1.0, **net, **data,
    )  # fmt: skip
    return {
        name: [genzoo.translate(run, x).clamp(-1, 1) for x in low]
        for name, run in (("srresnet", first), ("srgan", second))
    }


@proof("srgan-photos", system="srgan", family="translation", minutes=9)
def srgan_photos(p: Proof, seeds: tuple[int, ...] = (0, 1)) -> None:
    """Fourfold enlargement: SRResNet is nearer to the photograph than bicubic, SRGAN is nearer to it for a recognition network."""
    photos = whole_photographs(4)
    low = [grey_levels(bicubic(x, x.shape[2] // 4, x.shape[3] // 4)) for x in photos]
    plain = [grey_levels(bicubic(small, *x.shape[2:])) for small, x in zip(low, photos, strict=True)]
    runs = []
    for seed in seeds:
        made = {"bicubic": plain, **enlargements(p, seed, low)}
        noisy = noise_of_equal_sharpness(made["srresnet"], made["srgan"], seed)
        runs.append({**made, "srresnet + noise of equal sharpness": noisy})
    alexnet = FeatureNet("alexnet")
    found: dict[str, dict[str, Tensor]] = {}
    for key, one in {
        "PSNR": lambda y, x: y_psnr(to_uint8(y), to_uint8(x), border=4),
        "SSIM": lambda y, x: y_ssim(to_uint8(y), to_uint8(x), border=4),
        "LPIPS": lambda y, x: lpips_distances(y, x, alexnet),
        "sharpness": lambda y, x: sharpness(y) / sharpness(x),
        "grid of 2 pixels": lambda y, x: grid_power(y, 2),
        "grid of 4 pixels": lambda y, x: grid_power(y, 4),
    }.items():
        # Every photograph is one example, its value the mean over the seeds.
        each = [
            {n: torch.cat([one(y, x) for y, x in zip(ys, photos, strict=True)]) for n, ys in run.items()}
            for run in runs
        ]
        found[key] = {n: torch.stack([values[n].double() for values in each]).mean(0) for n in runs[0]}
        found[key] |= {f"{n}, seed {s}": each[i][n] for n in ("srresnet", "srgan") for i, s in enumerate(seeds)}
        if key.startswith("grid"):
            found[key]["photographs"] = torch.cat([one(x, x) for x in photos])
    means = {key: {n: float(v.double().mean()) for n, v in rows.items()} for key, rows in found.items()}
    over = f"{PHOTOGRAPHS}; mean over seeds {', '.join(map(str, seeds))}, the error is over photographs"
    luma_words = f"luma of 16 to 235 by BT.601, peak 255, 4 pixels at the border left out; {over}"
    published = {
        "PSNR": "Set14, trained on 350,000 photographs: bicubic 25.99, SRResNet 28.49, SRGAN 26.02",
        "SSIM": "Set14: bicubic 0.7486, SRResNet 0.8184, SRGAN 0.7397",
    }
    for key in ("PSNR", "SSIM"):
        measure_each(
            p, f"{key}, srresnet", found[key], "srresnet", unit="dB" if key == "PSNR" else "", split="test", protocol=luma_words,
            better="higher", goal=means[key]["bicubic"], published=published[key],
        )  # fmt: skip
    gain = found["PSNR"]["srresnet"] - found["PSNR"]["bicubic"]
    p.measure(
        "PSNR that srresnet has more than bicubic", float(gain.mean()), se=mean_and_error(gain)[1], unit="dB", n=len(gain), split="test",
        better="higher", goal=0.0, protocol=f"difference on the same photograph, {luma_words}",
    )  # fmt: skip
    seen = f"LPIPS 0.1, AlexNet, RGB, whole photographs; {over}"
    measure_each(
        p, "LPIPS, srresnet", found["LPIPS"], "srresnet", split="test", protocol=seen, better="lower", goal=means["LPIPS"]["bicubic"]
    )  # fmt: skip
    rivals = ("srresnet", "srresnet + noise of equal sharpness")
    measure_each(
        p, "LPIPS, srgan", found["LPIPS"], "srgan", split="test", better="lower", goal=min(means["LPIPS"][n] for n in rivals),
        protocol=f"{seen}; the noise is white and makes srresnet's output as sharp as srgan's: LPIPS may like any texture",
    )  # fmt: skip
    for rival in rivals:
        apart = found["LPIPS"]["srgan"] - found["LPIPS"][rival]
        p.measure(
            f"LPIPS, srgan less {rival}", float(apart.mean()), se=mean_and_error(apart)[1], n=len(apart), split="test", better="lower",
            goal=0.0, protocol=f"difference on the same photograph; {seen}",
        )  # fmt: skip
    measure_each(
        p, "sharpness", found["sharpness"], "srgan", split="test",
        protocol=f"mean absolute difference of neighbouring pixels over that of the photograph; {over}",
    )  # fmt: skip
    for period in (2, 4):
        measure_each(
            p, f"grid of {period} pixels", found[f"grid of {period} pixels"], "srgan", split="test", better="lower",
            protocol=f"power of patterns that repeat every {period} pixels over that of neighbouring frequencies: 1 is no grid; {over}",
        )  # fmt: skip
    middle = [tuple(slice((n - 128) // 8 * 4, (n - 128) // 8 * 4 + 128) for n in x.shape[2:]) for x in photos[:5]]
    shown = [
        torch.cat([y[:, :, v, u] for y, (v, u) in zip(ys, middle, strict=False)]) for ys in (*runs[0].values(), photos)
    ]
    small = [F.interpolate(x, scale_factor=4.0)[:, :, v, u] for x, (v, u) in zip(low, middle, strict=False)]
    p.picture(
        "enlarged", grid(torch.cat([*small, *shown]), columns=5),
        f"The middle part of the first five test photographs: input, {', '.join(runs[0])} (seed {seeds[0]}), original; not chosen",
    )  # fmt: skip
    p.note(
        "48 photographs brought to 384x384 for training, minutes on one core, width 32, 6 blocks, the bicubic enlargement added; the paper has "
        "350,000 photographs, width 64, 16 blocks and 1.2 million steps on a GPU. srgan adds the squared error of pixels (pixel=1) and compares "
        "relu2_2 of VGG-16. Set14 is other photographs than these: its figures are no goal."
    )


# ---- holes ---------------------------------------------------------------------------------------------------------------------


def nearest_neighbours(x: Tensor, known: Tensor, pool: Tensor) -> Tensor:
    """Of each image the one of `pool` that is nearest where `known` [1, 1, H, W] is True, by squared error."""
    at = known[0, 0].flatten().repeat(x.shape[1])
    a, b = x.flatten(1)[:, at], pool.flatten(1)[:, at]
    return pool[torch.cdist(a, b).argmin(1)]


def cifar(n: int = TEST) -> tuple[Tensor, Dataset]:
    """The first test images, and the training set."""
    train = open_data(DataSettings("cifar10"), split="train", quiet=True)
    return images_of(open_data(DataSettings("cifar10"), split="test", quiet=True), n), train


CE: dict[str, Any] = {
    "width": 32,
    "d_width": 32,
    "overlap": 2,
    "batch": 64,
    "seed": 0,
    "precision": "bf16",
    "ema": 0.995,
    "decay": "linear",
}


@proof("context-encoder-cifar10", system="context-encoder", family="translation", minutes=6)
def context_encoder_cifar10(p: Proof) -> None:
    """What the network puts into a central hole is nearer to the image than its mean colour or the most similar image's part."""
    x, train = cifar()
    runs = {
        "joint": p.train("context-encoder", "cifar10", name="joint", steps=STEPS["encoder"], adversarial=0.002, **CE),
        "L2 only": p.train("context-encoder-l2", "cifar10", name="l2", steps=STEPS["encoder"], **CE),
    }
    known = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    known[..., 8:24, 8:24] = False
    filled = {name: genzoo.complete(run, x, known[0, 0]) for name, run in runs.items()}
    outside = torch.where(known, x, torch.zeros(())).sum((2, 3), keepdim=True) / known.sum()
    filled["mean colour"] = torch.where(known, x, outside)
    filled["nearest neighbour"] = torch.where(known, x, nearest_neighbours(x, known, images_of(train, 20_000)))
    hole = {name: y[:, :, 8:24, 8:24] for name, y in filled.items()}
    truth = x[:, :, 8:24, 8:24]
    how = (
        "inside the central 16x16 of 1,000 test images of 32x32; mean colour: of the pixels around; nearest neighbour: of 20,000 "
        "training images the one most alike around the hole"
    )
    for name, function, unit, better, published in (
        ("L1 in the hole", l1_percent, "%", "lower", "9.37 % (Paris StreetView, 128x128)"),
        ("L2 in the hole", l2_percent, "%", "lower", "1.96 % (Paris StreetView, 128x128)"),
        ("PSNR in the hole", psnr, "dB", "higher", "18.58 dB (Paris StreetView, 128x128); nearest neighbour 14.70"),
    ):
        values = {k: function(y, truth, data_range=2) for k, y in hole.items()}
        simple = [float(values[k].mean()) for k in ("mean colour", "nearest neighbour")]
        measure_each(
            p, name, values, "joint", unit=unit, split="test", protocol=how, better=better, published=published,
            goal=min(simple) if better == "lower" else max(simple),
        )  # fmt: skip
    sharp = {k: sharpness(y) for k, y in hole.items()} | {"real": sharpness(truth)}
    measure_each(
        p, "sharpness in the hole", sharp, "joint", split="test", better="higher", goal=float(sharp["L2 only"].mean()),
        protocol="mean absolute difference of neighbouring pixels in [-1, 1]: what the adversary adds to the squared error",
    )  # fmt: skip
    shown = torch.cat([torch.where(known, x, torch.ones(()))[:12], *(y[:12] for y in filled.values()), x[:12]])
    caption = f"The first test images with a hole; filled in by: {', '.join(filled)}; the images themselves"
    p.picture("centre", grid(shown, columns=12), caption)
    torch.manual_seed(1)
    rows, columns = [], 12
    for kind in ("block", "shape"):
        run = p.train(f"context-encoder-{kind}", "cifar10", name=kind, steps=STEPS["holes"], adversarial=0.002, **CE)
        free = ~genzoo.load(run.path).holes(len(x), torch.device("cpu"))
        y = genzoo.complete(run, x, free)
        error = {k: inside(v, x, ~free) for k, v in (("filled", y), ("mean colour", mean_filled(x, free)))}
        measure_each(
            p, f"L2 in random holes, {kind}", error, "filled", unit="%", split="test", better="lower", goal=float(error["mean colour"].mean()),
            protocol=f"squared error where pixels are missing, % of the squared range; hole={kind}, drawn with seed 1, 1,000 test images",
        )  # fmt: skip
        rows += [torch.where(free, x, torch.ones(()))[:columns], y[:columns]]
    p.picture(
        "random",
        grid(torch.cat([*rows, x[:columns]]), columns=columns),
        "Random blocks, random shapes, each filled in; the images",
    )


def inside(y: Tensor, x: Tensor, hole: Tensor) -> Tensor:
    """Squared error in the hole, % of the squared range of [-1, 1], [N]."""
    return 100 * ((y - x) / 2).square().mul(hole).flatten(1).sum(1) / (hole.flatten(1).sum(1).clamp(min=1) * x.shape[1])


def mean_filled(x: Tensor, known: Tensor) -> Tensor:
    """Holes in the mean colour of what is known."""
    return torch.where(known, x, (x * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True))


@proof("missing-data-encoder-cifar10", system="missing-data-encoder", family="translation", minutes=15)
def missing_data_encoder_cifar10(p: Proof, seeds: tuple[int, ...] = (0, 1), n: int = TEST) -> None:
    """One model fills holes, extrapolates and colours; its adversary sees holes of whole pixels, and the filling is harder to find."""
    x, train = cifar(n)
    keys: dict[str, Any] = {
        "width": 16,
        "batch": 32,
        "lr": 8e-4,
        "decay": "linear",
        "precision": "bf16",
        "ema": 0.99,
        "perceptual": "none",
    }
    plans: dict[str, tuple[str, dict[str, Any]]] = {
        "missing-data-encoder": ("missing-data-encoder", {"adversarial": 0.05, "d_width": 16, "d_lr": 4e-3, **keys}),
        "no adversary": ("mde-no-adversary", keys),
    }
    systems = {
        name: [
            genzoo.load(p.train(system, "cifar10", name=f"{name}-{s}", seed=s, steps=STEPS["mde"], **own).path)
            for s in seeds
        ]
        for name, (system, own) in plans.items()
    }
    former = {"adversarial": 0.05, "d_width": 8, "d_lr": 8e-4, "seed": seeds[0], "steps": STEPS["mde"], **keys}
    systems["channel-wise"] = [genzoo.load(p.train("mde-channel-wise", "cifar10", name="channel-wise", **former).path)]
    block = p.train("context-encoder-block", "cifar10", name="ce", steps=STEPS["block"], adversarial=0.002, **CE)
    systems["context-encoder"] = [genzoo.load(block.path)]
    torch.manual_seed(1)
    free = ~systems["context-encoder"][0].holes(n, torch.device("cpu"))
    middle = torch.zeros(n, 1, 32, 32, dtype=torch.bool)
    middle[..., 8:24, 8:24] = True
    gray = luma(x).expand(-1, 3, -1, -1)
    found: dict[str, dict[str, list[Tensor]]] = {
        "blocks": {"mean colour": [inside(mean_filled(x, free), x, ~free)]},
        "outside": {"mean colour": [inside(mean_filled(x, middle), x, ~middle)]},
        "colours": {"gray": [10 * l2_percent(gray, x, data_range=2)]},
        "texture": {"real": [texture(x, ~free)]},
        "fresh": {},
        "own": {},
    }
    shown: dict[str, Tensor] = {}
    for name, several in systems.items():
        for s in several:
            y = genzoo.complete(s, x, free)
            shown.setdefault(name, y[:12])
            values = {
                "blocks": inside(y, x, ~free),
                "texture": texture(y, ~free),
                "fresh": found_in(detector(s, train)(y), free),
            }
            if s.D is not None and name != "context-encoder":
                with torch.no_grad():
                    values["own"] = found_in(s.D(s.planes(y)).mean(1, keepdim=True), free)
            if name != "context-encoder":
                whole, coloured = genzoo.complete(s, x, middle[0, 0]), genzoo.translate(s, luma(x))
                values |= {"outside": inside(whole, x, ~middle), "colours": 10 * l2_percent(coloured, x, data_range=2)}
                shown |= {
                    f"{k}, {name}": v[:12]
                    for k, v in (("whole", whole), ("coloured", coloured))
                    if f"{k}, {name}" not in shown
                }
            for key, value in values.items():
                found[key].setdefault(name, []).append(value.double())
    over = f"{n:,} test images; mean over seeds {', '.join(map(str, seeds))} (channel-wise, context-encoder: seed {seeds[0]}), errors are over images"
    holes = f"up to a quarter in four blocks, the same for all; {over}"
    each = {key: {k: torch.stack(v).mean(0) for k, v in rows.items()} for key, rows in found.items()}
    for key, name, unit, better, rival, protocol in (
        ("blocks", "L2 in random blocks", "%", "lower", "context-encoder",
         f"squared error where pixels are missing, % of the squared range; the context encoder has learned nothing but this; {holes}"),
        ("outside", "L2 of the extrapolation", "%", "lower", "mean colour", f"the central quarter is known, squared error of the rest; {over}"),
        ("colours", "L2 of the colours", "0.1 %", "lower", "gray", f"squared error of images that were coloured from their luma; {over}"),
        ("fresh", "detectability of the filling", "", "lower", "no adversary",
         f"AUROC of the pixels of an image, known against missing, of a U-net that learned in {STEPS['seeker']} steps on completed training images "
         f"to tell them apart, one for each system: 0.5 is hidden; {holes}"),
        ("own", "what its own seeker finds", "", "higher", "channel-wise",
         "the same AUROC of the seeker that it learned against; channel-wise: without masks of whole pixels, at the generator's rate and half as "
         f"wide; {holes}"),
        ("texture", "texture in the holes", "", "higher", "no adversary", f"mean absolute difference of neighbouring pixels, in [-1, 1]; {holes}"),
    ):  # fmt: skip
        measure_each(
            p, name, each[key], "missing-data-encoder", unit=unit, split="test", better=better, goal=float(each[key][rival].mean()),
            protocol=protocol,
        )  # fmt: skip
    for key, name, unit, a, b in (
        ("blocks", "L2 in random blocks, with the adversary less without", "%", "missing-data-encoder", "no adversary"),
        ("fresh", "detectability, with the adversary less without", "", "missing-data-encoder", "no adversary"),
        ("colours", "L2 of the colours, with the adversary less gray", "0.1 %", "missing-data-encoder", "gray"),
        ("colours", "L2 of the colours, without the adversary less gray", "0.1 %", "no adversary", "gray"),
    ):  # fmt: skip
        apart = each[key][a] - each[key][b]
        pairs = zip(found[key][a], found[key][b] * (len(seeds) if b == "gray" else 1), strict=True)
        p.measure(
            name, float(apart.mean()), se=mean_and_error(apart)[1], unit=unit, n=n, split="test", better="lower", goal=0.0,
            baseline={f"seed {s}": float((u - v).mean()) for s, (u, v) in zip(seeds, pairs, strict=True)},
            protocol=f"differences on the same image; {over}",
        )  # fmt: skip
    blank = torch.ones(())
    with_it = "missing-data-encoder"
    rows = [torch.where(free, x, blank)[:12], *(shown[k] for k in (with_it, "no adversary", "context-encoder"))]
    rows += [torch.where(middle, x, blank)[:12], *(shown[f"whole, {k}"] for k in (with_it, "no adversary"))]
    rows += [gray[:12], *(shown[f"coloured, {k}"] for k in (with_it, "no adversary")), x[:12]]
    caption = (
        f"The first test images (seed {seeds[0]}): random blocks; filled in with the adversary, without it, by context-encoder; the centre alone; "
        "extrapolated with and without the adversary; luma alone; coloured with and without it; the images themselves"
    )
    p.picture("completions", grid(torch.cat(rows), columns=12), caption)


def texture(y: Tensor, hole: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels that both lie in the hole [N, 1, H, W], [N]."""
    total, count = torch.zeros(len(y)), torch.zeros(len(y))
    for dim in (2, 3):
        both = hole.narrow(dim, 1, hole.shape[dim] - 1) & hole.narrow(dim, 0, hole.shape[dim] - 1)
        total += (y.diff(dim=dim).abs() * both).flatten(1).sum(1)
        count += both.flatten(1).sum(1) * y.shape[1]
    return total / count.clamp(min=1)


def found_in(score: Tensor, known: Tensor) -> Tensor:
    """AUROC of a score [N, 1, H, W] that is high where pixels are known, image by image, [N]."""
    return torch.tensor([auroc(-s[k], -s[~k]) for s, k in zip(score, known, strict=True)])


def detector(system: System, train: Dataset) -> Callable[[Tensor], Tensor]:
    """A fresh network that has learned where training images were completed by `system`; it gives a score of being known, [N, 1, H, W]."""
    from genzoo.models.translation.missing_data_encoder import UNet

    torch.manual_seed(2)
    seeker, stream, holes = (
        UNet(3, 1, 16, 2),
        Batches(train, 32, 5),
        genzoo.create("context-encoder-block", shape=(3, 32, 32)).holes,
    )
    optimizer = torch.optim.Adam(seeker.parameters(), lr=2e-3)
    for step in range(STEPS["seeker"]):
        x = to_float(stream.at(step), "cpu")["image"]
        known = ~holes(len(x), torch.device("cpu"))
        y = genzoo.complete(system, x, known)
        loss = F.binary_cross_entropy_with_logits(seeker(y), known.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def score(y: Tensor) -> Tensor:
        return torch.cat([seeker(part) for part in y.split(250)])

    return score
