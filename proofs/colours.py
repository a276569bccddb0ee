"""Proof of the colorizer: what rebalancing, temperature and boldness cost a classifier that reads the coloured images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import genzoo
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.data.drawing.images import grid
from genzoo.nn.colour import lab_to_rgb, rgb_to_lab
from proofs.proof import Proof, proof
from proofs.restore import images_of, measure_each
from proofs.textures import mean_and_error

STEPS = {"colour": 300, "classifier": 300}
"""Optimizer steps of every run: minutes on one core."""
TEMPERATURES = (0.38, 0.2, 1.0)
"""The paper's temperature, a bolder one and the distribution's mean."""


def classifier(train: Dataset) -> nn.Module:
    """A small convolutional net that learned the ten classes from colour images."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for a, b in ((3, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(a, b, 3, padding=1),
            nn.BatchNorm2d(b),
            nn.ReLU(),
            nn.Conv2d(b, b, 3, 2, 1),
            nn.BatchNorm2d(b),
            nn.ReLU(),
        ]
    net, stream = (
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)),
        Batches(train, 128, 3),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(STEPS["classifier"]):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / STEPS["classifier"])
        batch = to_float(stream.at(step), "cpu")
        with torch.autocast("cpu", torch.bfloat16):
            out = net(batch["image"])
        loss = F.cross_entropy(out.float(), batch["label"].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@torch.no_grad()
def right(net: nn.Module, x: Tensor, label: Tensor) -> Tensor:
    """100 where the class is read right, else 0, [N]."""
    with torch.autocast("cpu", torch.bfloat16):
        return 100 * torch.cat(
            [(net(a).argmax(1) == b).float() for a, b in zip(x.split(250), label.split(250), strict=True)]
        )


def chroma(x: Tensor) -> Tensor:
    """Mean distance from gray in Lab, [N]."""
    return torch.cat([rgb_to_lab(part)[1].square().sum(1).sqrt().flatten(1).mean(1) for part in x.split(500)])


def hue_agreement(made: Tensor, real: Tensor) -> Tensor:
    """Return the cosine of the angle between the colours ab of two sets of images, every place counting by its real chroma, [N]; gray has 0."""
    found = []
    for a, b in zip(made.split(500), real.split(500), strict=True):
        (_, u), (_, v) = rgb_to_lab(a), rgb_to_lab(b)
        along = (u * v).sum(1) / u.square().sum(1).sqrt().clamp(min=1)  # below one unit nobody sees a hue
        found.append(along.flatten(1).sum(1) / v.square().sum(1).sqrt().flatten(1).sum(1).clamp(min=1))
    return torch.cat(found)


@torch.no_grad()
def colour_maps(system: System, gray: Tensor, temperatures: tuple[float, ...]) -> list[Tensor]:
    """Return the colours ab [N, 2, H, W] that a colorizer gives at several temperatures, its network run once."""
    from genzoo.models.translation.colorizer import AB, Colorizer

    assert isinstance(system, Colorizer)
    found: list[list[Tensor]] = [[] for _ in temperatures]
    for part in gray.split(250):
        out = system.net(rgb_to_lab(part)[0] / 50 - 1).float()
        for maps, t in zip(found, temperatures, strict=True):
            ab = AB * out if system.objective == "l2" else system.annealed_mean(out, t)
            maps.append(F.interpolate(ab, part.shape[2:], mode="bilinear", align_corners=False))
    return [torch.cat(maps) for maps in found]


def with_colours(gray: Tensor, ab: Tensor) -> Tensor:
    """Return gray images with the colours ab, paler where they do not exist at the lightness."""
    return torch.cat([lab_to_rgb(rgb_to_lab(x)[0], c) for x, c in zip(gray.split(500), ab.split(500), strict=True)])


def scaled_to(ab: Tensor, gray: Tensor, wanted: float) -> Tensor:
    """Return colours times the factor at which the first of `gray` have the mean chroma `wanted`: bolder or paler, of the same hues."""
    low, high = 0.0, 16.0
    for _ in range(12):
        middle = (low + high) / 2
        less = float(chroma(with_colours(gray, middle * ab[: len(gray)])).mean()) < wanted
        low, high = (middle, high) if less else (low, middle)
    return high * ab


@proof("colorizer-cifar10", system="colorizer", family="translation", minutes=15)
def colorizer_cifar10(p: Proof, seeds: tuple[int, ...] = (0, 1), n: int = 2500) -> None:
    """Without rebalancing objects are known better by the colours than by regression's and in gray; boldness is bought with accuracy."""
    keys: dict[str, Any] = {"width": 16, "halvings": 2, "convolutions": 1, "steps": STEPS["colour"], "batch": 32, "lr": 2e-3,
                            "precision": "bf16", "ema": 0.99, "weight_decay": 0.0}  # fmt: skip
    train, test = (open_data(DataSettings("cifar10"), kind="labelled", split=s, quiet=True) for s in ("train", "test"))
    x = images_of(test, n)
    label = torch.from_numpy(np.array(test.fields["label"][:n])).long()
    gray = genzoo.create("colorizer-small", shape=(3, 32, 32)).degrade(x)
    plans = [("plain", "colorizer-plain", {}, seeds), ("rebalance=0.5", "colorizer", {"rebalance": 0.5}, seeds),
             ("colorizer-l2", "colorizer-l2", {}, seeds)]  # fmt: skip
    plans += [(f"rebalance={v}", "colorizer", {"rebalance": v}, seeds[:1]) for v in (0.7, 0.9)]
    runs = {
        (name, seed): p.train(system, "cifar10", name=f"{name}-{seed}", seed=seed, **own, **keys)
        for name, system, own, which in plans
        for seed in which
    }
    net = classifier(train)
    found: dict[str, dict[str, list[Tensor]]] = {k: {} for k in ("read", "chroma", "hue")}
    shown: dict[str, Tensor] = {}

    def look(name: str, y: Tensor) -> None:
        """Take in what is measured of images that were coloured one way."""
        shown.setdefault(name, y[:12])
        for key, values in (("read", right(net, y, label)), ("chroma", chroma(y)), ("hue", hue_agreement(y, x))):
            found[key].setdefault(name, []).append(values.double())

    look("gray", gray.expand(-1, 3, -1, -1))
    for seed in seeds:
        maps: dict[str, Tensor] = {}
        for name, of in [k for k in runs if k[1] == seed]:
            system = genzoo.load(runs[name, of].path)
            several = TEMPERATURES if name in ("plain", "rebalance=0.5") else TEMPERATURES[:1]
            for t, ab in zip(several, colour_maps(system, gray, several), strict=True):
                maps[name if t == TEMPERATURES[0] else f"{name}, T={t}"] = ab
            if name == "plain" and seed == seeds[0]:
                prior = (system.running_colours / system.running_colours.sum() + 1e-9).log()
                maps["class prior"] = system.annealed_mean(prior.view(1, -1, 1, 1)).expand_as(ab)
        pale, bold = (float(chroma(with_colours(gray[:500], maps[k][:500])).mean()) for k in ("plain", "rebalance=0.5"))
        maps["plain, as bold as rebalance=0.5"] = scaled_to(maps["plain"], gray[:500], bold)
        maps["rebalance=0.5, as pale as plain"] = scaled_to(maps["rebalance=0.5"], gray[:500], pale)
        for name, ab in maps.items():
            look(name, with_colours(gray, ab))
    look("real", x)
    each = {key: {k: torch.stack(v).mean(0) for k, v in rows.items()} for key, rows in found.items()}
    over = f"first {n:,} test images; mean over seeds {', '.join(map(str, seeds))} (rebalance=0.7 and 0.9: seed {seeds[0]}), errors are over images"
    reader = (
        f"by a small convolutional net that learned from colour images in {STEPS['classifier']} steps of 128; {over}"
    )
    measure_each(
        p, "classified right", each["read"], "plain", unit="%", split="test", better="higher", protocol=reader,
        goal=max(float(each["read"][k].mean()) for k in ("gray", "colorizer-l2", "class prior")),
        published="VGG on ImageNet: gray 52.7, L2 54.9, classification with rebalancing 56.0, real 68.3",
    )  # fmt: skip
    for a, b in (
        ("plain", "gray"), ("plain", "colorizer-l2"), ("plain", "rebalance=0.5"), ("plain", "plain, as bold as rebalance=0.5"),
        ("rebalance=0.5, as pale as plain", "rebalance=0.5"), ("plain", "rebalance=0.5, as pale as plain"),
    ):  # fmt: skip
        apart = each["read"][a] - each["read"][b]
        by_seed = {
            f"seed {s}": float((u - v).mean())
            for s, u, v in zip(seeds, found["read"][a], found["read"][b] * len(seeds), strict=False)
        }
        p.measure(
            f"classified right, {a} less {b}", float(apart.mean()), se=mean_and_error(apart)[1], unit="%", n=n, split="test",
            baseline=by_seed, better="higher", goal=0.0, protocol=f"the same images and classifier, the error is that of paired differences; {over}",
        )  # fmt: skip
    measure_each(
        p, "chroma", each["chroma"], "rebalance=0.5", split="test", better="higher", goal=float(each["chroma"]["colorizer-l2"].mean()),
        protocol=f"mean distance from gray in Lab of images coloured from their lightness; {over}",
    )  # fmt: skip
    measure_each(
        p, "agreement of hues", each["hue"], "plain", split="test", better="higher", goal=float(each["hue"]["rebalance=0.5"].mean()),
        protocol=f"cosine of the angle in ab between the made and the real colour, by the real chroma: 1 is the hue, 0 none; {over}",
    )  # fmt: skip
    lightness = (rgb_to_lab(with_colours(gray, maps["plain"]))[0] - rgb_to_lab(gray)[0]).abs().flatten(1).amax(1)
    p.measure(
        "largest change of lightness", float(lightness.max()), n=n, split="test", better="lower", goal=0.1,
        protocol="of any pixel, L is from 0 to 100; before rounding to 8 bits",
    )  # fmt: skip
    means = {key: {k: float(v.mean()) for k, v in rows.items()} for key, rows in each.items()}
    p.output(
        "all", "\n".join(
            [f"{'':34} {'right, %':>9} {'chroma':>7} {'hue':>6}  seeds"]
            + [f"{k:34} {means['read'][k]:9.2f} {means['chroma'][k]:7.2f} {means['hue'][k]:6.3f}  {len(found['read'][k])}" for k in means["read"]]
        ),
    )  # fmt: skip
    point = {k: (means["chroma"][k], means["read"][k]) for k in means["read"]}
    p.chart(
        "boldness",
        {
            "rebalance: none, 0.9, 0.7, 0.5": [point[k] for k in ("plain", "rebalance=0.9", "rebalance=0.7", "rebalance=0.5")],
            "plain, T = 1, 0.38, 0.2": [point[k] for k in ("plain, T=1.0", "plain", "plain, T=0.2")],
            "rebalance=0.5, T = 1, 0.38, 0.2": [point[k] for k in ("rebalance=0.5, T=1.0", "rebalance=0.5", "rebalance=0.5, T=0.2")],
            "gray, plain, the same hues bolder": [point[k] for k in ("gray", "plain", "plain, as bold as rebalance=0.5")],
            "rebalance=0.5, the same hues paler": [point[k] for k in ("rebalance=0.5, as pale as plain", "rebalance=0.5")],
        },
        f"What boldness costs: test images whose class is read right, against chroma (real: {point['real'][0]:.1f}, {point['real'][1]:.1f} %)",
        x="mean chroma", y="classified right, %",
    )  # fmt: skip
    rows = [
        "gray",
        "colorizer-l2",
        "plain, T=1.0",
        "plain",
        "plain, T=0.2",
        "rebalance=0.9",
        "rebalance=0.7",
        "rebalance=0.5",
        "real",
    ]
    p.picture(
        "coloured",
        grid(torch.cat([shown[k] for k in rows]), columns=12),
        f"The first test images: {', '.join(rows)} (seed {seeds[0]}, T = {TEMPERATURES[0]} where none is given)",
    )
