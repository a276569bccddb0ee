"""The page docs/recipes.md: for each task the command that was best by its figure, what it reached and its picture; of the records alone."""

from __future__ import annotations

import dataclasses
from typing import Any

from proofs.acceptance import accepted
from proofs.result_pages import MADE, beside, cell, setting, table, time_taken


@dataclasses.dataclass(frozen=True)
class Task:
    """Something that a person wants, and the proofs that measured how well it is done.

    Args:
        name: What is wanted.
        figure: What is compared, in words.
        rows: Proof and measure of each that did it, the same figure on the same data; and which of its trainings, the first when not said.
        then: The command that uses the run.
        picture: Word in the name of the picture to show.
    """

    name: str
    figure: str
    rows: tuple[tuple[str, str] | tuple[str, str, int], ...]
    then: str = "genzoo sample RUN n=64"
    picture: str = ""


TASKS = (
    Task(
        "Draw small grey images (digits)", "FLD on MNIST",
        tuple((f"{n}-mnist", "FLD") for n in ("dcgan", "stylegan2", "gan", "infogan", "vae", "realnvp", "gmm")), picture="samples",
    ),
    Task(
        "Draw what a label asks for", "FLD on MNIST", (("cgan-mnist", "FLD"), ("acgan-mnist", "FLD")), "genzoo sample RUN label=3",
        picture="labels",
    ),
    Task(
        "Draw garments", "FLD on Fashion-MNIST", (("dcgan-fashion-mnist", "FLD"), ("stylegan-fashion-mnist", "FLD")), picture="samples",
    ),
    Task(
        "Draw small coloured photographs", "FID on CIFAR-10, 500 samples",
        (("dcgan-cifar10", "FID"), ("sngan-cifar10", "FID"), ("lapgan-cifar10", "FID")), picture="samples",
    ),
    Task(
        "Learn from two hundred images, from the weights of another run", "FLD, 200 garments",
        (("dcgan-transfer", "FLD, from MNIST, seed 0"),), "genzoo train dcgan data=MINE from=RUN", picture="arm-1",
    ),
    Task(
        "Give the likelihood of black and white images", "nats of binarized MNIST",
        tuple((f"{n}-mnist", "NLL") for n in ("made", "row-lstm", "pixelcnn", "diagonal-bilstm", "multiscale-pixelcnn", "fvsbn")),
        "genzoo evaluate RUN measures=nll", picture="samples",
    ),
    Task(
        "Give the likelihood of coloured images", "bits/dim of CIFAR-10",
        (
            ("pixelcnn-cifar10", "bits per dimension"), ("pixelcnnpp-cifar10", "bits per dimension, pixelcnnpp"), ("glow-cifar10", "bits/dim"),
            ("realnvp-cifar10", "bits/dim"), ("nice-cifar10", "bits/dim"), ("vae-cifar10", "bits/dim"),
        ),
        "genzoo evaluate RUN measures=nll", picture="samples",
    ),
    Task(
        "Learn the law of points", "nats, two moons", (("realnvp-points", "NLL, moons"), ("elementwise-flow", "NLL, elementwise-flow", 1)),
        picture="moons",
    ),
    Task(
        "Compress images without loss", "bits/dim of the file", (("compress-mnist", "bits/dim of the file"),), "genzoo compress RUN data=MINE",
    ),
    Task(
        "Tell what does not belong", "AUROC, garments among digits", (("gaussian-outliers", "AUROC, full, fitted on mnist"),),
        "python -c \"import genzoo; print(genzoo.load('RUN').log_prob(images))\"  # images [B, C, H, W] in [-1, 1]; low is strange",
        picture="extremes-mnist",
    ),
    Task(
        "Turn images into few numbers and back", "squared error on CIFAR-10", (("autoencoder-pca", "reconstruction error, cifar10", 1),),
        "genzoo reconstruct RUN data=MINE", picture="cifar10-reconstructions",
    ),
    Task(
        "Turn images into codes and back", "PSNR on CIFAR-10",
        (("vqvae-cifar10", "reconstruction PSNR"), ("vqvae2-cifar10", "reconstruction PSNR"), ("vqgan-cifar10", "reconstruction PSNR")),
        "genzoo reconstruct RUN data=MINE", picture="reconstructions",
    ),
    Task(
        "Fill holes", "PSNR in the hole", (("context-encoder-cifar10", "PSNR in the hole"),), "genzoo complete RUN image.png box=8,8,16,16",
        picture="centre",
    ),
    Task(
        "Fill any holes, extend and colour", "squared error in random blocks", (("missing-data-encoder-cifar10", "L2 in random blocks"),),
        "genzoo complete RUN image.png box=8,8,16,16", picture="completions",
    ),
    Task(
        "Colour gray images", "read right, CIFAR-10", (("colorizer-cifar10", "classified right"),), "genzoo colorize RUN gray.jpg",
        picture="coloured",
    ),
    Task("Enlarge photographs four times", "LPIPS", (("srgan-photos", "LPIPS, srgan", 1),), "genzoo upscale RUN photo.jpg"),
    Task(
        "Translate between pairs", "LPIPS, satellite to map", (("pix2pix-earth", "LPIPS", 3), ("pix2pixhd-earth", "LPIPS", 2)),
        "genzoo translate RUN image.png", picture="translations",
    ),
    Task(
        "Translate without pairs", "paired error, digits and their dyed negatives", (("cyclegan-digits", "paired error, a2b"),),
        "genzoo translate RUN image.png", picture="translations",
    ),
    Task(
        "Add scans to few labelled ones", "Dice", (("augment-phantoms", "Dice, generated scans added"),), "genzoo translate RUN image.png",
    ),
    Task(
        "Draw from a sentence", "right caption first of 100",
        (
            ("gan-cls-emoji", "right caption first of 100, test captions, gan-cls"),
            ("stackgan-emoji", "right caption first of 100, test captions, stackgan"),
        ),
        'genzoo sample RUN prompt="a red heart"', picture="prompts",
    ),
    Task(
        "Grow a texture", "variogram error, brick", (("efros-leung-textures", "brick: variogram error"),), "genzoo sample RUN size=256",
        picture="brick",
    ),
    Task("Speak", "bits per sample", (("wavenet-speech", "bits per sample"),), "genzoo sample RUN", picture="continued"),
    Task(
        "Draw in three dimensions", "Fréchet distance of voxels", (("gan-3d-furniture", "Fréchet distance of voxel statistics"),),
        picture="samples",
    ),
    Task(
        "Draw moving pictures", "Fréchet distance of videos", (("video-gan-digits", "Fréchet distance of video statistics"),),
        picture="samples",
    ),
)  # fmt: skip


def recipes(records: dict[str, Any], looks: dict[str, Any]) -> str:
    """Return docs/recipes.md.

    Args:
        records: Of all proofs, by name.
        looks: What was seen of each.
    """
    lines = [
        "# Recipes",
        "",
        MADE,
        "",
        "For each task the command whose figure was best among the proofs that measured it in the same way, what it reached, and its picture. "
        "Every figure is of [a proof](results/README.md) on one or two CPU cores; `accepted` says whether an expert would be content with it. "
        "Put your own data in place of the name after `data=`, and leave out `seed` and `precision`.",
        "",
    ]
    for task in TASKS:
        lines += _section(task, records, looks)
    return "\n".join(lines).rstrip() + "\n"


def _section(task: Task, records: dict[str, Any], looks: dict[str, Any]) -> list[str]:
    found = [_Row(records[name], measure, *run) for name, measure, *run in task.rows if name in records]
    found.sort(key=lambda row: row.measure["value"] if row.measure["better"] == "lower" else -row.measure["value"])
    if not found:
        return [f"## {task.name}", "", f"Not run yet: `python -m proofs {task.rows[0][0]}`.", ""]
    best, run = found[0].record, found[0].run
    keys = " ".join(f"{k}={setting(v)}" for k, v in run.items() if k not in ("system", "data", "seconds"))
    verdict, why = accepted(best, looks.get(best["name"]))
    train = f"genzoo train {run['system']} data={run['data']} {keys}".rstrip()
    lines = [f"## {task.name}", "", "```bash", train, task.then, "```", ""]
    rows = [
        [_link(row.record), row.run["system"], cell(row.measure), beside(row.measure), time_taken(row.run["seconds"])]
        for row in found
    ]
    lines += [*table(["proof", "system", task.figure, "beside it", "training"], rows), ""]
    lines += [f"Accepted: {verdict}; {why}.", ""]
    shown = [p for p in best["pictures"] if task.picture in p["file"].removeprefix(best["name"])]
    for p in shown[:1]:
        lines += [f"![{p['caption']}](results/pictures/{p['file']})", "", f"*{p['caption']}*", ""]
    return lines


class _Row:
    """A proof's figure and the training behind it."""

    def __init__(self, record: dict[str, Any], measure: str, run: int = 0) -> None:
        self.record, self.run = record, record["runs"][run]
        self.measure = next(m for m in record["measures"] if m["name"] == measure)


def _link(record: dict[str, Any]) -> str:
    return f"[{record['name']}](results/{record['family']}.md#{record['name']})"
