"""Proofs of paired translation, and of DiscoGAN: what each term of an objective does, on held-out tiles of the Earth and on emoji."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from proofs import Proof, proof
from torch import Tensor

import genzoo
from genzoo.core.pictures import grid, to_uint8
from genzoo.data import DataSettings, open_data
from genzoo.metrics.extractors import extractor
from genzoo.metrics.kid import kid
from genzoo.metrics.lpips import lpips_distances
from genzoo.metrics.similarity import l1_percent, psnr, ssim
from genzoo.nn.perceptual import FeatureNet

SIDES = ("satellite", "relief")
HELD = "tiles of a band of longitudes that no training tile overlaps (49 pictures at 128 pixels that overlap each other, in quarters)"


def tiles(side: int = 64, sides: tuple[str, str] = SIDES) -> tuple[Tensor, Tensor]:
    """The held-out pairs at 128 pixels, cut into tiles: by default satellite and relief map, float32 [N, 3, side, side]."""
    data = open_data(DataSettings("earth", size=128, sides=sides), kind="paired", split="test", quiet=True)
    found = []
    for name in ("a", "b"):
        x = torch.from_numpy(np.array(data.fields[name])).float() / 127.5 - 1
        found.append(x.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side))
    return found[0], found[1]


def sharpness(x: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels, in [-1, 1]: what blur takes away."""
    return float((x[..., 1:] - x[..., :-1]).abs().mean() + (x[..., 1:, :] - x[..., :-1, :]).abs().mean()) / 2


class Judge:
    """What is measured of translations, all against the same real images.

    Args:
        b: Real images of side B, float32 [N, 3, H, W] in [-1, 1].
        every: Which of them the features of KID are taken of.
    """

    def __init__(self, b: Tensor, every: int = 2) -> None:
        self.b, self.every, self.lpips, self.lite = b, every, FeatureNet("alexnet"), extractor("efficientnet-lite0")
        self.real = self.lite(to_uint8(b)[::every])

    def __call__(self, y: Tensor) -> dict[str, float]:
        """Measure translations [N, 3, H, W]."""
        a8, b8 = to_uint8(y), to_uint8(self.b)
        return {
            "PSNR": float(psnr(a8, b8, data_range=255).mean()),
            "SSIM": float(ssim(a8, b8, data_range=255).mean()),
            "L1": float(l1_percent(a8, b8, data_range=255).mean()),
            "LPIPS": float(lpips_distances(a8, b8, self.lpips).mean()),
            "KID": float(kid(self.lite(a8[:: self.every]), self.real)["value"]),
            "sharpness": sharpness(y) / sharpness(self.b),
        }


WORDS = {
    "PSNR": ("dB", "higher", "mean over tiles of the PSNR of 8-bit RGB tiles"),
    "SSIM": ("", "higher", "mean over tiles, 11-pixel Gaussian window, luma and colours alike"),
    "L1": ("%", "lower", "mean absolute difference in per cent of the range"),
    "LPIPS": ("", "lower", "AlexNet with its published heads, tiles as they are"),
    "KID": ("", "lower", "unbiased MMD on EfficientNet-Lite0 features of {tiles} against their real maps"),
    "sharpness": (
        "",
        None,
        "mean absolute difference of neighbouring pixels, relative to that of the real maps: 1 is as sharp as they are",
    ),
}


def record(
    p: Proof, main: str, found: dict[str, dict[str, float]], n: int, goals: dict[str, float], side: int = 64
) -> None:
    """One row for each measure of `main`, the others beside it."""
    held, some = (HELD, "every second tile") if side == 64 else (HELD.split(" (")[0], "all tiles")
    for measure, (unit, better, words) in WORDS.items():
        others = {name: round(values[measure], 4) for name, values in found.items() if name != main}
        p.measure(
            measure, found[main][measure], unit=unit, n=n, split="test", baseline=others,
            protocol=f"{words.format(tiles=some)}; {n} {side}x{side} {held}",
            better=better, **({"goal": goals[measure]} if measure in goals else {}),
        )  # fmt: skip


def terms(
    p: Proof, sides: tuple[str, str], steps: int, presets: tuple[str, ...]
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Train presets of pix2pix on the same pairs and judge them: their translations of held-out tiles, and rows of a picture."""
    keys: dict[str, Any] = {
        "size": 128, "crop": 64, "flip": True, "sides": sides, "width": 32, "layers": 2, "batch": 4, "steps": steps, "lr": 4e-4,
        "seed": 0, "precision": "bf16",
    }  # fmt: skip
    a, b = tiles(sides=sides)
    judged = Judge(b)
    found = {
        f"{sides[0]} unchanged": judged(a),
        "mean map": judged(b.mean((0, 2, 3), keepdim=True).expand_as(b)),
    }
    rows, made = [a[5::16][:12], b[5::16][:12]], {"real": b}
    for name in presets:
        run = p.train(name, "earth", name=name, **keys)
        made[name] = genzoo.translate(run, a)
        found[name] = judged(made[name])
        rows.append(made[name][5::16][:12])
    record(p, "pix2pix", found, len(a), {m: found["pix2pix-l1"][m] for m in ("LPIPS", "KID")})
    gain = found["pix2pix-l1"]["PSNR"] - found["pix2pix"]["PSNR"]
    p.measure(
        "PSNR that L1 alone has more", gain, unit="dB", n=len(a), split="test", better="higher", goal=0.0,
        protocol="difference of the mean PSNRs of pix2pix-l1 and pix2pix",
    )  # fmt: skip
    p.note("64x64, width 32 and minutes on one CPU thread; the paper has 256x256, width 64 and 200 passes on a GPU.")
    return made, rows


@proof("pix2pix-earth", system="pix2pix", family="translation", minutes=6)
def pix2pix_earth(p: Proof, steps: int = 700) -> None:
    """L1 alone wins in decibels and blurs; with the adversary the maps are sharper and nearer to real ones for a network that looks."""
    _, rows = terms(p, SIDES, steps, ("pix2pix-l1", "pix2pix-gan", "pix2pix"))
    shown = "Satellite pictures, real relief maps; then what pix2pix-l1, pix2pix-gan and pix2pix make of the first row; every 16th tile"
    p.picture("translations", grid(torch.cat(rows), columns=12), shown)


@proof("pix2pix-night", system="pix2pix", family="translation", minutes=9)
def pix2pix_night(p: Proof, steps: int = 1500) -> None:
    """Day to night: L1 alone wins in decibels, with the adversary nights are sharper and nearer to real ones for a network that looks."""
    made, rows = terms(p, ("satellite", "night"), steps, ("pix2pix-l1", "pix2pix"))
    lights = {name: 100 * float((x[:, 0] > x[:, 2] + 20 / 127.5).float().mean()) for name, x in made.items()}
    p.measure(
        "lights", lights["pix2pix"], unit="%", n=len(made["real"]), split="test",
        protocol="share of pixels with 20 levels more red than blue: lights of towns are yellow, the rest of the night is blue",
        baseline={k: v for k, v in lights.items() if k != "pix2pix"},
    )  # fmt: skip
    shown = "Satellite pictures by day, real nights; then what pix2pix-l1 and pix2pix make of the first row; every 16th tile"
    p.picture("translations", grid(torch.cat(rows), columns=12), shown)


@proof("pix2pixhd-earth", system="pix2pixhd", family="translation", minutes=6)
def pix2pixhd_earth(p: Proof, steps: int = 1000) -> None:
    """With feature matching the coarse-to-fine generator learns a truer map in the same number of steps than without."""
    keys: dict[str, Any] = {
        "size": 128, "crop": 64, "flip": True, "sides": SIDES, "width": 32, "halvings": 2, "blocks": 3, "enhancer_blocks": 2, "layers": 2,
        "scales": 2, "d_width": 24, "batch": 4, "steps": steps, "lr": 4e-4, "seed": 0, "precision": "bf16",
    }  # fmt: skip
    a, b = tiles()
    judged = Judge(b)
    found = {"satellite unchanged": judged(a)}
    rows = [a[5::16][:12], b[5::16][:12]]
    for name in ("pix2pixhd-no-matching", "pix2pixhd"):
        run = p.train(name, "earth", name=name, **keys)
        y = genzoo.translate(run, a)
        found[name] = judged(y)
        rows.append(y[5::16][:12])
    record(p, "pix2pixhd", found, len(a), {m: found["pix2pixhd-no-matching"][m] for m in ("L1", "LPIPS")})
    shown = "Satellite pictures, real relief maps; then pix2pixhd without and with feature matching; every 16th tile"
    p.picture("translations", grid(torch.cat(rows), columns=12), shown)
    p.note(
        "64x64 and minutes on one CPU thread, without label maps, instances and a perceptual term; the paper has 2048x1024."
    )


@proof("pix2pixhd-twice-earth", system="pix2pixhd", family="translation", minutes=9)
def pix2pixhd_twice_earth(p: Proof, steps: int = 700, plain_steps: int = 700) -> None:
    """At twice the resolution of the other proofs pix2pixhd's maps are nearer to real ones than those of pix2pix, for a network that looks."""
    keys: dict[str, Any] = {
        "size": 128, "flip": True, "sides": SIDES, "width": 32, "batch": 2, "lr": 4e-4, "seed": 0, "precision": "bf16",
    }  # fmt: skip
    a, b = tiles(128)
    judged = Judge(b, every=1)
    found, rows = {"satellite unchanged": judged(a)}, [a[::7][:6], b[::7][:6]]
    nets = {
        "pix2pix": {"layers": 3, "steps": plain_steps},
        "pix2pixhd": {
            "halvings": 3,
            "blocks": 3,
            "enhancer_blocks": 2,
            "layers": 2,
            "scales": 2,
            "d_width": 24,
            "steps": steps,
        },
    }
    for name, own in nets.items():
        y = genzoo.translate(p.train(name, "earth", name=name, **keys, **own), a)
        found[name] = judged(y)
        rows.append(y[::7][:6])
    goals = {m: found["pix2pix"][m] for m in ("LPIPS", "KID")}
    record(p, "pix2pixhd", found, len(a), goals, side=128)
    shown = "Satellite pictures, real relief maps; then what pix2pix and pix2pixhd make of the first row; every seventh tile"
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
    rows = [google[:12], twitter[:12]]
    for name in ("discogan-no-cycle", "discogan-one-way", "discogan"):
        run = p.train(name, data, name=name, **keys)
        found[name] = {}
        for way, (x, y) in truth.items():
            made = genzoo.translate(run, x, direction=way)
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
    p.picture(
        "translations", grid(torch.cat(rows), columns=12),
        "Held-out emoji of Google and of Twitter; then a2b and b2a of discogan-no-cycle, of discogan-one-way, of discogan",
    )  # fmt: skip
    p.note(
        "Emoji artwork: Google (Apache-2.0 and OFL) and Twitter (CC-BY 4.0). 32x32, width 32, depth 3, minutes on one CPU thread."
    )
