"""Proofs of moving pictures and of shapes: video-gan on moving digits and on a street, gan-3d on furniture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import genzoo
from genzoo.data import Dataset, DataSettings, kinds, open_data
from genzoo.data.drawing.clips import strips
from genzoo.data.drawing.images import grid
from genzoo.data.drawing.shapes import VIEW, render
from genzoo.data.statistics import of_clips
from genzoo.metrics.frechet import frechet_distance
from proofs.proof import Proof, proof


def values(dataset: Dataset, field: str, n: int | None = None) -> Tensor:
    """The first `n` examples of a split, or all, in [-1, 1]."""
    return torch.from_numpy(np.array(dataset.fields[field][:n])).float() / 127.5 - 1


def gaussian_samples(x: Tensor, n: int, seed: int) -> Tensor:
    """Draw from the Gaussian with the mean and covariance of examples [N, ...], in the span of their N - 1 principal components."""
    flat = x.flatten(1)
    centred = (flat - flat.mean(0)) / (len(x) - 1) ** 0.5
    weights = torch.randn(n, len(x), generator=torch.Generator().manual_seed(seed))
    return (flat.mean(0) + weights @ centred).view(n, *x.shape[1:])  # covariance: centred^T centred


def film_proof(p: Proof, data: str, n: int, keys: dict[str, Any], clips: dict[str, Any]) -> None:
    """Train, measure the distance of statistics and how still the background stands, and show strips."""
    run = p.train("video-gan", data, **clips, **keys, seed=0, precision="bf16")
    train, test = (open_data(DataSettings(data, **clips), kind="video", split=s, quiet=True) for s in ("train", "test"))
    real, seen = values(test, "video", n), values(train, "video", n)
    n = min(len(real), len(seen))
    real, seen = real[:n], seen[:n]
    fake = genzoo.sample(run, n=n, seed=0)
    stats = {
        "samples": fake, "real": seen, "gaussian": gaussian_samples(seen, n, 0).clamp(-1, 1), "standing": real[:, :, :1].expand_as(real)
    }  # fmt: skip
    wanted = of_clips(real)
    found = {k: frechet_distance(of_clips(v), wanted) for k, v in stats.items()}
    p.measure(
        "Fréchet distance of video statistics", found["samples"], n=n, split="test", better="lower",
        protocol=f"squared Fréchet distance of the {wanted.shape[1]} statistics of data.statistics.of_clips (not FVD), "
        f"{n:,} samples against {n:,} test clips; real: training clips; gaussian: the Gaussian of {n:,} training clips in the span of their "
        "principal components, clamped; standing: the first frame of each test clip, repeated",
        baseline={k: v for k, v in found.items() if k != "samples"},
    )  # fmt: skip

    system = genzoo.load(run.path)
    z = system.sample_prior(200, generator=torch.Generator().manual_seed(1))
    clip, mask, front, back = (
        torch.cat(part) for part in zip(*(system.streams(part) for part in z.split(50)), strict=True)
    )
    change, most = clip.diff(dim=2).abs().mean(1), mask[:, 0].amax(1)  # [N, T - 1, H, W], [N, H, W]
    ranked = most.flatten().sort().values
    low, high = most <= ranked[len(ranked) // 4], most >= ranked[len(ranked) * 3 // 4]

    def at(what: Tensor, where: Tensor) -> float:
        return float(what[where[:, None].expand_as(what)].mean() * 127.5)

    p.measure(
        "change where the mask is lowest", at(change, low), unit="grey levels a frame", n=200, better="lower",
        protocol="mean absolute change from frame to frame of 200 samples, at the quarter of all places whose mask's maximum over time is lowest; "
        "highest: at the quarter where it is highest; foreground: of the foreground stream at the lowest quarter, which the mask hides; real: "
        "of test clips, everywhere. The background stream itself cannot change",
        baseline={
            "highest": at(change, high),
            "foreground": at(front.diff(dim=2).abs().mean(1), low),
            "real": float(real.diff(dim=2).abs().mean() * 127.5),
        },
    )  # fmt: skip
    p.measure(
        "mask at its lowest quarter", float(most[low].mean()), n=200, protocol="mean of the mask's maximum over time at these places",
        baseline={"highest": float(most[high].mean()), "mean": float(mask.mean())},
    )  # fmt: skip
    p.picture("samples", strips(fake[:8]), "Eight samples, seed 0, not chosen: eight of their frames each")
    p.picture("real", strips(real[:8]), "Test clips")
    parts = torch.stack(
        [clip[:4, :, 8], mask[:4, :, 8].expand(-1, clip.shape[1], -1, -1) * 2 - 1, front[:4, :, 8], back[:4, :, 0]], 1
    )
    p.picture(
        "streams",
        grid(parts.flatten(0, 1), columns=4),
        "Four samples, a row each: frame 9, its mask, its foreground, the background",
    )


def solids(voxels: Tensor) -> Tensor:
    """Describe shapes as `genzoo evaluate` does."""
    return kinds.get("voxels").statistics(voxels, {})


@proof("video-gan-digits", system="video-gan", family="adversarial", minutes=7)
def video_digits(p: Proof, steps: int = 3000, n: int = 1000) -> None:
    """Two streams learn that digits move over a background that does not."""
    keys = {"width": 16, "latent": 64, "batch": 16, "steps": steps, "lr": 5e-4, "decay": "linear"}
    film_proof(p, "moving-mnist", n, keys, {"frames": 16, "size": 32})


@proof("video-gan-street", system="video-gan", family="adversarial", minutes=7)
def video_street(p: Proof, steps: int = 3000, n: int = 1000) -> None:
    """A street with walkers, one camera: the background stream holds the street."""
    keys = {"width": 16, "latent": 32, "batch": 16, "steps": steps, "lr": 5e-4, "decay": "linear"}
    clips = {"frames": 16, "stride": 2, "hop": 1, "size": (32, 40), "channels": 1, "resize": "stretch", "holdout": 0.2}
    film_proof(p, "video", n, keys, clips)


@proof("gan-3d-furniture", system="gan-3d", family="adversarial", minutes=7)
def furniture(p: Proof, steps: int = 2000, n: int = 240) -> None:
    """Furniture from 574 examples: the statistics of its shapes are nearer to those of held-out pieces than a Gaussian's of voxels."""
    about = {"size": 32, "holdout": 0.3, "flip": True}
    nets = {
        "width": 16,
        "latent": 64,
        "prior": "normal",
        "d_norm": "none",
        "r1": 5.0,
        "r1_every": 4,
        "gate": 1.0,
        "occupied": 0.1,
    }
    rates = {"lr": 1e-3, "d_lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "decay": "linear", "ema": 0.99}
    run = p.train("gan-3d", "voxels", **about, **nets, **rates, batch=16, steps=steps, seed=0, precision="bf16")
    train, test = (
        open_data(DataSettings("voxels", **about), kind="voxels", split=s, quiet=True) for s in ("train", "test")
    )
    seen, real = values(train, "voxels"), values(test, "voxels", n)
    fake = genzoo.sample(run, n=len(real), seed=0)
    stats = {"samples": fake, "real": seen[: len(real)], "voxel PCA": gaussian_samples(seen, len(real), 0)}
    wanted = solids(real)
    found = {k: frechet_distance(solids(v), wanted) for k, v in stats.items()}
    p.measure(
        "Fréchet distance of voxel statistics", found["samples"], n=len(real), split="test", better="lower", goal=found["voxel PCA"],
        protocol=f"squared Fréchet distance of the {wanted.shape[1]} statistics of data.statistics.of_shapes, {len(real)} "
        "samples, occupied from probability 1/2 on, against as many held-out pieces; real: training pieces; voxel PCA: the Gaussian of all "
        "training voxels in the span of their principal components, occupied above 0, which is the goal",
        baseline={k: v for k, v in found.items() if k != "samples"},
    )  # fmt: skip
    p.measure(
        "overlap with the nearest training piece", 100 * overlap(fake, seen), unit="%", n=len(real),
        protocol="mean over samples of the largest intersection over union with a training piece; 100 would be copies",
        baseline={"real": 100 * overlap(real, seen), "voxel PCA": 100 * overlap(stats["voxel PCA"], seen)},
    )  # fmt: skip
    p.measure(
        "overlap of two samples", 100 * overlap(fake[::2], fake[1::2]), unit="%", n=len(real),
        protocol="mean over every second sample of the largest intersection over union with one of the others; far above the real: collapse",
        baseline={"real": 100 * overlap(real[::2], real[1::2])},
    )  # fmt: skip
    p.measure(
        "accuracy gate",
        share_resting(run),
        unit="% of steps",
        protocol="log lines' mean share of steps at which the discriminator rested",
    )
    p.picture(
        "samples",
        grid(render(fake[:32]), columns=8, scale=1),
        "Samples, seed 0, not chosen, occupied from probability 1/2 on",
    )
    p.picture("real", grid(render(real[:32]), columns=8, scale=1), "Held-out pieces")
    p.picture(
        "voxel-pca", grid(render(stats["voxel PCA"][:16]), columns=8, scale=1), "The baseline: a Gaussian of voxels"
    )
    walk = genzoo.walk(run, rows=4, steps=8, seed=0, path="linear").flatten(0, 1)
    p.picture("walk", grid(render(walk), columns=8, scale=1), "Straight walks between draws of z, row by row")
    turns = (
        torch.cat([render(fake[:3], azimuth=VIEW[0] + 45 * i) for i in range(8)]).view(8, 3, 3, 96, 96).transpose(0, 1)
    )
    p.picture("turn", grid(turns.flatten(0, 1), columns=8, scale=1), "Three samples turned by 45 degrees at a time")


@proof("gan-3d-remedies", system="gan-3d", family="adversarial", minutes=4)
def remedies(p: Proof, steps: int = 600, n: int = 240) -> None:
    """On few shapes the paper's settings do not learn in minutes; the remedies do, and each is left out once."""
    about = {"size": 16, "holdout": 0.3, "flip": True}
    rates = {"lr": 1e-3, "d_lr": 1e-3, "beta1": 0.0, "beta2": 0.99}
    cure = {"prior": "normal", "d_norm": "none", "r1": 0.6, "gate": 1.0, "occupied": 0.1, **rates}
    cases: dict[str, dict[str, Any]] = {
        "all remedies": cure,
        "the paper's prior": {**cure, "prior": "uniform"},
        "the paper's batch norm in place of R1": {**cure, "d_norm": "batch", "r1": 0.0},
        "a start at one half": {**cure, "occupied": 0.5},
        "the paper's settings": {},
    }
    train, test = (
        open_data(DataSettings("voxels", **about), kind="voxels", split=s, quiet=True) for s in ("train", "test")
    )
    seen, real = values(train, "voxels"), values(test, "voxels", n)
    wanted = solids(real)
    found: dict[str, float] = {}
    shown = []
    for i, (name, keys) in enumerate(cases.items()):
        run = p.train(
            "gan-3d", "voxels", name=f"case-{i}", **about, **keys, width=16, latent=64, batch=16, steps=steps, ema=0.99, seed=0,
            precision="bf16",
        )  # fmt: skip
        fake = genzoo.sample(run, n=len(real), seed=0)
        found[name] = frechet_distance(solids(fake), wanted)
        shown.append(fake[:8])
        p.measure(
            f"overlap of two samples, {name}", 100 * overlap(fake[::2], fake[1::2]), unit="%", n=len(real),
            protocol="mean over every second sample of the largest intersection over union with one of the others; far above the real: "
            "collapse; 0 where nothing is occupied",
            baseline={"real": 100 * overlap(real[::2], real[1::2]), "occupied": 100 * float((fake > 0).float().mean())},
        )  # fmt: skip
    baseline = {
        "real": frechet_distance(solids(seen[: len(real)]), wanted),
        "voxel PCA": frechet_distance(solids(gaussian_samples(seen, len(real), 0)), wanted),
    }
    for name, value in found.items():
        p.measure(
            f"Fréchet distance, {name}", value, n=len(real), split="test", better="lower", baseline=baseline,
            protocol=f"as in gan-3d-furniture, cubes of 16, {steps} steps of 16, one seed",
        )  # fmt: skip
    p.picture(
        "samples",
        grid(render(torch.cat(shown)), columns=8, scale=1),
        "Eight samples of each case, a row each: " + ", ".join(cases),
    )


def overlap(x: Tensor, y: Tensor) -> float:
    """Mean over `x` of the largest intersection over union with one of `y`."""
    a, b = (x.flatten(1) > 0).float(), (y.flatten(1) > 0).float()
    both = a @ b.T
    return float((both / (a.sum(1)[:, None] + b.sum(1) - both).clamp(min=1)).amax(1).mean())


def share_resting(run: Any) -> float:
    """Per cent of steps without a discriminator's step, by the log."""
    return 100 * (1 - float(np.mean([line["d_learns"] for line in run.log() if "d_learns" in line])))
