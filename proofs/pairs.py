"""Proofs of paired translation, and of DiscoGAN: what each term of an objective does, on held-out tiles of the Earth and on emoji."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import grid, to_uint8
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.kid import kid
from genzoo.metrics.maths.lpips import lpips_distances
from genzoo.metrics.maths.similarity import l1_percent, psnr, ssim
from genzoo.nn.pretrained.perceptual import FeatureNet
from proofs.proof import Proof, proof
from proofs.textures import grid_power, mean_and_error, measure_grids, noise_of_equal_sharpness, sharpness

SIDES = ("satellite", "relief")
HELD = "a band of longitudes that no training picture overlaps"
NOISE = "{} + noise of equal sharpness"


def pictures(sides: tuple[str, str] = SIDES) -> tuple[Tensor, Tensor, Tensor]:
    """The held-out pairs at 128 pixels, float32 [N, 3, 128, 128] each, and which of them do not overlap each other, bool [N].

    Files are named after the corner of what they show on the map, 256 of its pixels a side.
    """
    data = open_data(DataSettings("earth", size=128, sides=sides), kind="paired", split="test", quiet=True)
    corners = [tuple(map(int, Path(name).stem.split("-"))) for name in data.names_of("a")]
    kept: list[int] = []
    for i in sorted(range(len(corners)), key=corners.__getitem__):
        x, y = corners[i]
        if all(abs(x - corners[j][0]) >= 256 or abs(y - corners[j][1]) >= 256 for j in kept):
            kept.append(i)
    alone = torch.zeros(len(corners), dtype=torch.bool)
    alone[kept] = True
    a, b = (torch.from_numpy(np.array(data.fields[name])).float() / 127.5 - 1 for name in ("a", "b"))
    return a, b, alone


def cut(x: Tensor, side: int) -> Tensor:
    """Pictures [N, 3, 128, 128] as their tiles, row by row, [N · (128 / side)², 3, side, side]."""
    return x.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side)


WORDS: dict[str, tuple[str, Literal["lower", "higher"], str]] = {
    "PSNR": ("dB", "higher", "mean over tiles of the PSNR of 8-bit RGB tiles"),
    "SSIM": (
        "",
        "higher",
        "mean over tiles, 11-pixel Gaussian window, intensities of 0 to 255, luma and colours alike",
    ),
    "L1": ("%", "lower", "mean absolute difference in per cent of the range"),
    "LPIPS": (
        "",
        "lower",
        "AlexNet with its published heads, tiles as they are; it likes any texture, hence the rows with noise",
    ),
    "KID": (
        "",
        "lower",
        "unbiased MMD on EfficientNet-Lite0 features of the tiles of all 49 pictures, which overlap, hence no error",
    ),
    "sharpness": (
        "",
        None,
        "mean absolute difference of neighbouring pixels, relative to that of the real maps: 1 is as sharp as they are",
    ),
    "grid of 2 pixels": (
        "",
        "lower",
        "power of patterns that repeat every 2 pixels over that of neighbouring frequencies: 1 is no grid",
    ),
    "grid of 4 pixels": (
        "",
        "lower",
        "the same of every 4 pixels; real maps have one from the JPEG blocks of their files",
    ),
}


class Judge:
    """What is measured of translations, all against the same real images.

    Args:
        b: Real pictures of side B, float32 [N, 3, 128, 128] in [-1, 1].
        alone: Those that do not overlap, bool [N]: the examples of everything but KID.
        side: Of the tiles that are judged.
        every: Which tiles the features of KID are taken of.
    """

    def __init__(self, b: Tensor, alone: Tensor, side: int = 64, every: int = 2) -> None:
        self.b, self.alone, self.every, self.tiles = cut(b, side), alone, every, (128 // side) ** 2
        self.lpips, self.lite = FeatureNet("alexnet"), extractor("efficientnet-lite0")
        self.real = self.lite(to_uint8(self.b)[::every])
        self.chosen = alone.repeat_interleave(self.tiles)

    def __call__(self, y: Tensor) -> dict[str, Tensor]:
        """Measure translations of all tiles, [N', 3, side, side]: one value for each picture that stands alone, one alone of KID."""
        part, real = y[self.chosen].clamp(-1, 1), self.b[self.chosen]
        a8, b8 = to_uint8(part), to_uint8(real)
        each = {
            "PSNR": psnr(a8, b8, data_range=255),
            "SSIM": ssim(a8, b8, data_range=255),
            "L1": l1_percent(a8, b8, data_range=255),
            "LPIPS": lpips_distances(a8, b8, self.lpips),
            "sharpness": sharpness(part) / sharpness(real).mean(),
            "grid of 2 pixels": grid_power(part, 2).log(),
            "grid of 4 pixels": grid_power(part, 4).log(),
        }
        found = {name: values.double().view(-1, self.tiles).mean(1) for name, values in each.items()}
        found |= {name: values.exp() for name, values in found.items() if name.startswith("grid")}
        return found | {"KID": torch.tensor([float(kid(self.lite(to_uint8(y)[:: self.every]), self.real)["value"])])}


Found = Mapping[str, list[dict[str, Tensor]]]
"""What was measured of every row of a table, once for each seed."""


def over_seeds(runs: list[dict[str, Tensor]], measure: str) -> Tensor:
    """The values of the examples, each the mean over the seeds, [N]."""
    return torch.stack([values[measure].double() for values in runs]).mean(0)


def record(p: Proof, main: str, found: Found, goals: Mapping[str, tuple[str, ...]], side: int = 64) -> None:
    """One row for each measure of `main`, the others beside it; for each goal the difference from every rival that it names.

    Args:
        p: The proof.
        main: The row that the claim is about.
        found: All rows.
        goals: Measures that `main` shall be better in, and than which rows.
        side: Of the tiles.
    """
    seeds = len(found[main])
    n = len(found[main][0]["PSNR"])
    which = f"{side}x{side} tiles of {n} pictures at 128 pixels from {HELD} and that do not overlap each other"
    over = (
        f"{which}; mean over seeds 0 to {seeds - 1}, the error is over pictures"
        if seeds > 1
        else f"{which}; one seed, the error is over pictures"
    )
    for measure, (unit, better, words) in WORDS.items():
        rows = {k: v for k, v in found.items() if k != main and (k != "real" or measure.startswith("grid"))}
        others = {name: float(over_seeds(runs, measure).mean()) for name, runs in rows.items()}
        if seeds > 1:
            others |= {f"{main}, seed {s}": float(values[measure].mean()) for s, values in enumerate(found[main])}
        mean, se = (
            mean_and_error(over_seeds(found[main], measure))
            if measure != "KID"
            else (float(over_seeds(found[main], "KID")), None)
        )
        rivals = goals.get(measure, ())
        aim = (min if better == "lower" else max)((others[r] for r in rivals), default=None)
        p.measure(
            measure, mean, se=se, unit=unit, n=n if measure != "KID" else None, split="test", better=better,
            baseline={k: round(v, 4) for k, v in others.items()}, protocol=f"{words}; {over}", goal=aim,
        )  # fmt: skip
        for rival in rivals if measure != "KID" else ():
            apart = over_seeds(found[main], measure) - over_seeds(found[rival], measure)
            mean, se = mean_and_error(apart)
            by_seed = [float((x[measure] - y[measure]).mean()) for x, y in zip(found[main], found[rival], strict=False)]
            p.measure(
                f"{measure}, {main} less {rival}", mean, se=se, unit=unit, n=n, split="test", better=better, goal=0.0,
                protocol=f"difference on the same picture, by seed {', '.join(f'{v:+.3f}' for v in by_seed)}; {over}",
            )  # fmt: skip


def noisy(y: Tensor, like: Tensor, seed: int) -> Tensor:
    """Translations with as much white noise as makes them as sharp as others."""
    return noise_of_equal_sharpness([y], [like], seed)[0]


def terms(
    p: Proof, sides: tuple[str, str], steps: int, presets: Mapping[str, int]
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Train presets of pix2pix on the same pairs and judge them: their translations of held-out tiles by the first seed, and rows of a picture.

    Args:
        p: The proof.
        sides: Folders of the two sides.
        steps: Of every run.
        presets: Names and for each the number of seeds.
    """
    keys: dict[str, Any] = {
        "size": 128, "crop": 64, "flip": True, "sides": sides, "width": 32, "layers": 2, "batch": 4, "steps": steps, "lr": 4e-4,
        "precision": "fp32",
    }  # fmt: skip
    a, b, alone = pictures(sides)
    judged = Judge(b, alone)
    a, b = cut(a, 64), cut(b, 64)
    made = {
        name: [
            genzoo.translate(p.train(name, "earth", name=f"{name}-{seed}", seed=seed, **keys), a)
            for seed in range(count)
        ]
        for name, count in presets.items()
    }
    rival = NOISE.format("pix2pix-l1")
    made[rival] = [noisy(x, y, s) for s, (x, y) in enumerate(zip(made["pix2pix-l1"], made["pix2pix"], strict=True))]
    plain = {"real": b, f"{sides[0]} unchanged": a, "mean map": b.mean((0, 2, 3), keepdim=True).expand_as(b)}
    found = {name: [judged(x)] for name, x in plain.items()} | {n: [judged(x) for x in xs] for n, xs in made.items()}
    record(p, "pix2pix", found, {"LPIPS": ("pix2pix-l1", rival), "KID": ("pix2pix-l1", rival)})
    gain = over_seeds(found["pix2pix-l1"], "PSNR") - over_seeds(found["pix2pix"], "PSNR")
    mean, se = mean_and_error(gain)
    p.measure(
        "PSNR that L1 alone has more", mean, se=se, unit="dB", n=len(gain), split="test", better="higher", goal=0.0,
        protocol="difference of the PSNRs of pix2pix-l1 and pix2pix on the same picture, mean over the seeds, the error is over pictures",
    )  # fmt: skip
    p.note("64x64, width 32 and minutes on one CPU thread; the paper has 256x256, width 64 and 200 passes on a GPU.")
    first = {"real": b, **{name: xs[0] for name, xs in made.items()}}
    return first, [a[5::16][:12], *(x[5::16][:12] for x in first.values())]


@proof("pix2pix-earth", system="pix2pix", family="translation", minutes=12)
def pix2pix_earth(p: Proof, steps: int = 500) -> None:
    """L1 alone wins in decibels and blurs; with the adversary maps are sharper and nearer to real ones for a network than L1's, even with noise."""
    _, rows = terms(p, SIDES, steps, {"pix2pix-l1": 2, "pix2pix-gan": 1, "pix2pix": 2})
    shown = (
        "Satellite pictures, real relief maps; then what pix2pix-l1, pix2pix-gan, pix2pix (seed 0) and pix2pix-l1 with noise make of the first "
        "row; every 16th tile"
    )
    p.picture("translations", grid(torch.cat(rows), columns=12), shown)


@proof("pix2pix-night", system="pix2pix", family="translation", minutes=15)
def pix2pix_night(p: Proof, steps: int = 700) -> None:
    """Day to night: L1 alone wins in decibels; with the adversary nights are nearer to real ones for a network than L1's, even with noise."""
    made, rows = terms(p, ("satellite", "night"), steps, {"pix2pix-l1": 2, "pix2pix": 2})
    lights = {name: 100 * float((x[:, 0] > x[:, 2] + 20 / 127.5).float().mean()) for name, x in made.items()}
    p.measure(
        "lights", lights["pix2pix"], unit="%", n=len(made["real"]), split="test",
        protocol="share of pixels with 20 levels more red than blue, in all quarters of the 49 pictures, seed 0: lights of towns are yellow, the "
        "rest of the night is blue",
        baseline={k: v for k, v in lights.items() if k != "pix2pix"},
    )  # fmt: skip
    shown = (
        "Satellite pictures by day, real nights; then what pix2pix-l1, pix2pix (seed 0) and pix2pix-l1 with noise make of the first row; every "
        "16th tile"
    )
    p.picture("translations", grid(torch.cat(rows), columns=12), shown)


@proof("pix2pixhd-earth", system="pix2pixhd", family="translation", minutes=12)
def pix2pixhd_earth(p: Proof, steps: int = 250, seeds: int = 2) -> None:
    """With feature matching the coarse-to-fine generator learns a truer map in the same number of steps than without."""
    keys: dict[str, Any] = {
        "size": 128, "crop": 64, "flip": True, "sides": SIDES, "width": 32, "halvings": 2, "blocks": 3, "enhancer_blocks": 2, "layers": 2,
        "scales": 2, "d_width": 24, "batch": 4, "steps": steps, "lr": 4e-4, "precision": "fp32",
    }  # fmt: skip
    a, b, alone = pictures()
    judged = Judge(b, alone)
    a, b = cut(a, 64), cut(b, 64)
    found, rows = {"real": [judged(b)], "satellite unchanged": [judged(a)]}, [a[5::16][:12], b[5::16][:12]]
    for name in ("pix2pixhd-no-matching", "pix2pixhd"):
        made = [genzoo.translate(p.train(name, "earth", name=f"{name}-{s}", seed=s, **keys), a) for s in range(seeds)]
        found[name] = [judged(y) for y in made]
        rows.append(made[0][5::16][:12])
    record(p, "pix2pixhd", found, dict.fromkeys(("L1", "LPIPS"), ("pix2pixhd-no-matching",)))
    shown = "Satellite pictures, real relief maps; then pix2pixhd without and with feature matching (seed 0); every 16th tile"
    p.picture("translations", grid(torch.cat(rows), columns=12), shown)
    p.note(
        "64x64 and minutes on one CPU thread, without label maps, instances and a perceptual term; the paper has 2048x1024."
    )


@proof("pix2pixhd-twice-earth", system="pix2pixhd", family="translation", minutes=15)
def pix2pixhd_twice_earth(p: Proof, steps: int = 200) -> None:
    """At twice the resolution pix2pixhd's maps are nearer to real ones for a network than those of pix2pix, even with noise."""
    keys: dict[str, Any] = {
        "size": 128, "flip": True, "sides": SIDES, "width": 32, "batch": 2, "lr": 4e-4, "seed": 0, "precision": "fp32", "steps": steps,
    }  # fmt: skip
    a, b, alone = pictures()
    judged = Judge(b, alone, side=128, every=1)
    nets: dict[str, dict[str, Any]] = {
        "pix2pix": {"layers": 3},
        "pix2pixhd": {"halvings": 3, "blocks": 3, "enhancer_blocks": 2, "layers": 2, "scales": 2, "d_width": 24},
    }
    made = {name: genzoo.translate(p.train(name, "earth", name=name, **keys, **own), a) for name, own in nets.items()}
    rival = NOISE.format("pix2pix")
    made[rival] = noisy(made["pix2pix"], made["pix2pixhd"], 0)
    found = {name: [judged(y)] for name, y in {"real": b, "satellite unchanged": a, **made}.items()}
    record(p, "pix2pixhd", found, dict.fromkeys(("LPIPS", "KID"), ("pix2pix", rival)), side=128)
    rows = [x[::7][:6] for x in (a, b, *made.values())]
    shown = "Satellite pictures, real relief maps; then what pix2pix, pix2pixhd and pix2pix with noise make of the first row; every seventh picture"
    p.picture("translations", grid(torch.cat(rows), columns=6), shown)
    p.note("128x128, no label maps, no instances; the same steps for both. The paper has 2048x1024.")


def emoji(work: Path, held: int = 200) -> tuple[str, list[str]]:
    """Folders of Google's and Twitter's emoji without a pair among them, and the names that are held out of both."""
    source = Path(os.environ["GENZOO_DATA"]) / "emoji"
    names = sorted(
        {f.name for f in (source / "google").glob("*.png")} & {f.name for f in (source / "twitter").glob("*.png")}
    )
    order = [names[i] for i in np.random.default_rng(0).permutation(len(names))]
    test, rest = order[:held], order[held:]
    half = len(rest) // 2
    parts = {
        "trainA": ("google", rest[:half]),
        "trainB": ("twitter", rest[half:]),
        "testA": ("google", test),
        "testB": ("twitter", test),
    }
    for folder, (vendor, chosen) in parts.items():
        (work / folder).mkdir(parents=True, exist_ok=True)
        for name in chosen:
            shutil.copyfile(source / vendor / name, work / folder / name)
    return str(work), test


@proof("discogan-emoji", system="discogan", family="translation", minutes=6)
def discogan_emoji(p: Proof, steps: int = 800) -> None:
    """Google's emoji find Twitter's of the same meaning without one pair to learn from; without the round trips they do not."""
    data, names = emoji(Path(p.work) / "emoji")
    keys: dict[str, Any] = {
        "size": 32,
        "width": 32,
        "depth": 3,
        "batch": 32,
        "steps": steps,
        "lr": 5e-4,
        "seed": 0,
        "precision": "bf16",
    }
    pair = open_data(DataSettings(f"{data}/testA,{data}/testB", size=32, holdout=0), kind="paired", quiet=True)
    google, twitter = (torch.from_numpy(np.array(pair.fields[s])).float() / 127.5 - 1 for s in "ab")
    truth = {"a2b": (google, twitter), "b2a": (twitter, google)}
    found: dict[str, dict[str, float]] = {}
    out: dict[str, dict[str, Tensor]] = {}
    rows = [google[:12], twitter[:12]]
    for name in ("discogan-no-cycle", "discogan-one-way", "discogan"):
        run = p.train(name, data, name=name, **keys)
        found[name], out[name] = {}, {}
        for way, (x, y) in truth.items():
            made = out[name][way] = genzoo.translate(run, x, direction=way)
            found[name][f"error {way}"] = float((made - y).abs().mean())
            # Of all held-out images of the other vendor, how far from the first is the true partner, by pixels?
            distance = torch.cdist(made.flatten(1), y.flatten(1))
            rank = (distance < distance.diagonal()[:, None]).sum(1)
            found[name][f"rank {way}"] = float(rank.float().median()) + 1
            rows.append(made[:12])
    for way, (x, y) in truth.items():
        flat = torch.cdist(x.flatten(1), y.flatten(1))
        unchanged = {
            f"error {way}": float((x - y).abs().mean()),
            f"rank {way}": float((flat < flat.diagonal()[:, None]).sum(1).float().median()) + 1,
        }
        mean = float((y - y.mean(0)).abs().mean())
        p.measure(
            f"paired error {way}", found["discogan"][f"error {way}"], n=len(names), split="test", better="lower", goal=mean,
            protocol="mean absolute difference in [-1, 1] between translations of held-out emoji and the other vendor's of the same name; "
            f"trained on {(1911 - 200) // 2} of each vendor without a common name, 32x32",
            baseline={n: found[n][f"error {way}"] for n in list(found)[:2]}
            | {"input unchanged": unchanged[f"error {way}"], "mean image": mean},
        )  # fmt: skip
        p.measure(
            f"median rank of the partner {way}", found["discogan"][f"rank {way}"], n=len(names), split="test", better="lower",
            goal=found["discogan-no-cycle"][f"rank {way}"],
            protocol=f"place of the true partner among {len(names)} held-out images by distance in pixels from the translation; "
            f"by chance {len(names) // 2}",
            baseline={n: found[n][f"rank {way}"] for n in list(found)[:2]} | {"input unchanged": unchanged[f"rank {way}"]},
        )  # fmt: skip
        measure_grids(
            p, "discogan", {**{name: x[way] for name, x in out.items()}, "real": y},
            f"translations {way} of {len(names)} held-out emoji, 32x32", prefix=f"{way}, ",
        )  # fmt: skip
    p.picture(
        "translations", grid(torch.cat(rows), columns=12),
        "Held-out emoji of Google and of Twitter; then a2b and b2a of discogan-no-cycle, of discogan-one-way, of discogan",
    )  # fmt: skip
    p.note(
        "Emoji artwork: Google (Apache-2.0 and OFL) and Twitter (CC-BY 4.0). 32x32, width 32, depth 3, minutes on one CPU thread."
    )
