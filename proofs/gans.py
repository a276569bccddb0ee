"""Proofs of the GANs that followed one another: gan, cgan, acgan, infogan, began, sngan."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import grid, to_uint8
from genzoo.data.drawing.points import scatter
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.metrics.drawing import EACH
from genzoo.metrics.features.lenet import classify
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.modes import GRID_SIGMA, RING_SIGMA, grid_modes, mode_counts, ring_modes
from genzoo.metrics.parzen import parzen
from proofs.adversarial import score
from proofs.proof import Proof, proof
from proofs.textures import mean_and_error


def images(data: str, split: str) -> Tensor:
    """All images of a split in [0, 1], [N, C, H, W]."""
    return (
        torch.from_numpy(np.array(open_data(DataSettings(data), split=split, quiet=True).fields["image"])).float() / 255
    )


def parzen_score(p: Proof, run: Any, published: str, goal: float | None = None) -> None:
    """Score 10,000 samples by the protocol of arXiv:1406.2661; real training images score in the same way beside them."""
    train, test = images("mnist", "train"), images("mnist", "test")
    validation, rest = train[-1000:], train[:-1000]
    found = parzen((genzoo.sample(run, n=10_000, seed=0) + 1) / 2, validation, test)
    real = parzen(rest[:10_000], validation, test)
    p.measure(
        "Parzen log-likelihood", found["value"], unit="nats", se=found["se"], n=found["n"], split="test", better="higher",
        protocol=f"Gaussian Parzen window on 10,000 samples, pixels in [0, 1], sigma = {found['sigma']:.3f} of ten values by 1,000 training "
        "images kept apart, mean over all test images; not a measure of quality (arXiv:1511.01844)",
        baseline={"real training images": real["value"]}, published=published, goal=goal,
    )  # fmt: skip


@proof("gan-mnist", system="gan", family="adversarial", minutes=8)
def gan_mnist(p: Proof) -> None:
    """The dense GAN of 2014 writes digits; its Parzen log-likelihood by the paper's own protocol."""
    run = p.train("gan", "mnist", steps=10_000, lr=3e-4, decay="linear", seed=0, precision="bf16")
    parzen_score(p, run, "225 ± 2 (arXiv:1406.2661, table 1)", goal=180.0)
    score(p, run, "mnist")
    p.picture("samples", genzoo.sample(run, n=100, seed=0), "Samples, seed 0, not chosen")
    p.picture(
        "walk",
        genzoo.walk(run, rows=6, steps=10, seed=0, path="linear").flatten(0, 1),
        "Straight walks between draws of z, row by row (figure 3 of the paper)",
    )


@proof("gan-points", system="gan-points", family="adversarial", minutes=3)
def gan_points(p: Proof) -> None:
    """How many modes of the ring and of the grid the plain GAN reaches, without any remedy against collapse."""
    cases = {"ring": (ring_modes(), RING_SIGMA, 2.0), "grid": (grid_modes(), GRID_SIGMA, 6.0)}
    published = {"ring": "1 (GAN in arXiv:1705.07761, table 1)", "grid": "3.3 (GAN in arXiv:1705.07761, table 1)"}
    for name, (centres, sigma, extent) in cases.items():
        run = p.train("gan-points", name, name=name, steps=5_000, batch=256, decay="linear", seed=0, precision="fp32")
        points = genzoo.sample(run, n=2_500, seed=0)
        found = mode_counts(points, centres, sigma)
        real = mode_counts(
            torch.from_numpy(np.array(open_data(DataSettings(name), split="test", quiet=True).fields["points"][:2500])),
            centres,
            sigma,
        )
        protocol = "2,500 samples; of high quality within 3 sigma of the nearest mode, which is then covered; one seed"
        p.measure(
            f"modes, {name}", found["modes"], unit=f"of {len(centres)}", n=2_500, protocol=protocol, better="higher",
            baseline={"real": real["modes"]}, published=published[name],
        )  # fmt: skip
        p.measure(
            f"high quality, {name}", 100 * found["high_quality"], unit="%", n=2_500, protocol=protocol, better="higher",
            baseline={"real": 100 * real["high_quality"]},
        )  # fmt: skip
        p.picture(name, scatter(points, extent=extent), f"2,500 samples of the {name}, seed 0")


@proof("gan-gradient", system="gan", family="adversarial", minutes=3)
def gan_gradient(p: Proof, steps: int = 400, seeds: int = 3) -> None:
    """Why the generator maximizes log D: when D wins, the gradient of log(1 - D) vanishes and that of -log D does not."""
    real = images("mnist", "train") * 2 - 1
    found = [_gradients(real, steps, seed) for seed in range(seeds)]
    left = {
        k: torch.tensor([norms[k][-1] / norms[k][0] for norms in found]).log10() for k in ("minimax", "non-saturating")
    }
    chance = [f"{norms['chance'][-1]:.1e}" for norms in found]
    for objective in ("non-saturating", "minimax"):
        mean, se = mean_and_error(left[objective])
        p.measure(
            f"gradient left, {objective}", mean, se=se, unit="log10 of the first", n=seeds, better="higher",
            baseline={k: float(v.mean()) for k, v in left.items() if k != objective},
            protocol=f"an untrained generator; D alone is trained for {steps} steps on MNIST; norm of the gradient over all of G's weights, 100 "
            f"samples; mean over {seeds} starts and its error; mean D(G(z)) at the end {', '.join(chance)}",
        )  # fmt: skip
    names = {"non-saturating": "-log D (non-saturating)", "minimax": "log(1 - D) (minimax)", "chance": "mean D(G(z))"}
    p.chart(
        "norms",
        {words: list(enumerate(found[0][key])) for key, words in names.items()},
        "Norm of the generator's gradient under the two objectives, and D's mean probability that a sample is real; the first start",
        x="steps of D alone, while it learns to reject every sample",
        y="norm of the gradient; probability",
        log=True,
    )


def _gradients(real: Tensor, steps: int, seed: int) -> dict[str, list[float]]:
    """Train D alone and return, step by step, the norm of G's gradient under each objective and D's mean chance that a sample is real."""
    torch.manual_seed(seed)
    system = genzoo.create("gan", shape=(1, 28, 28), d_lr=1e-3).train()
    optimizer = system.optimizers()["d"]
    norms: dict[str, list[float]] = {"minimax": [], "non-saturating": [], "chance": []}
    for step in range(steps + 1):
        fake = system.G(system.sample_prior(100, generator=torch.Generator().manual_seed(seed + 1)))
        system.D.eval()
        logits = system.D(fake)
        for objective in ("minimax", "non-saturating"):
            loss = generator_loss(objective, logits)
            grads = torch.autograd.grad(loss, list(system.G.parameters()), retain_graph=True)
            norms[objective].append(float(torch.cat([g.flatten() for g in grads]).norm()))
        norms["chance"].append(float(logits.detach().sigmoid().mean()))
        system.D.train()
        batch = real[torch.randint(len(real), (100,))]
        fake = system.G(system._draw(100)).detach()
        optimizer.zero_grad()
        discriminator_loss("minimax", system.D(batch), system.D(fake)).backward()
        if step < steps:
            optimizer.step()
    return norms


def obedience(p: Proof, run: Any, *, each: int = 1000) -> list[Tensor]:
    """Ask for `each` images of every class and let the bundled classifier read them; returns the images, class by class."""
    drawn = [genzoo.sample(run, n=each, seed=k, label=k) for k in range(10)]
    read = [classify("lenet-mnist-v1", to_uint8(x)).argmax(1) == k for k, x in enumerate(drawn)]
    right = 100 * torch.stack(read).float().mean(1)
    test = open_data(DataSettings("mnist"), kind="labelled", split="test", quiet=True)
    real = classify("lenet-mnist-v1", torch.from_numpy(np.array(test.fields["image"]))).argmax(1)
    p.measure(
        "read as their label", float(right.mean()), unit="%", n=10 * each, better="higher", goal=97.0,
        protocol=f"{each:,} samples of each label, read by lenet-mnist-v1, which never saw them",
        baseline={"real test images": 100 * float((real == torch.from_numpy(test.fields["label"][:])).float().mean()), "chance": 10.0},
    )  # fmt: skip
    p.note("Read as their label, by label 0 to 9, in %: " + ", ".join(f"{v:.1f}" for v in right.tolist()) + ".")
    p.picture(
        "labels", grid(genzoo.sample(run, seed=0), columns=EACH), "A row for each label, 0 to 9: seed 0, not chosen"
    )
    return drawn


LABELLED: dict[str, Any] = {"width": 32, "batch": 64, "steps": 5_000, "seed": 0, "precision": "bf16"}


@proof("cgan-mnist", system="cgan", family="conditional", minutes=5)
def cgan_mnist(p: Proof) -> None:
    """A conditional GAN writes the digit that it is asked for."""
    run = p.train("cgan", "mnist", **LABELLED)
    obedience(p, run)
    parzen_score(p, run, "132 ± 1.8 (arXiv:1411.1784, table 1; dense nets)")
    score(p, run, "mnist")


@proof("acgan-mnist", system="acgan", family="conditional", minutes=5)
def acgan_mnist(p: Proof) -> None:
    """A discriminator that names classes makes a generator that obeys; Fréchet distance class by class."""
    run = p.train("acgan", "mnist", **LABELLED)
    drawn = obedience(p, run)
    score(p, run, "mnist")
    train, test = (open_data(DataSettings("mnist"), kind="labelled", split=s, quiet=True) for s in ("train", "test"))
    net = extractor("lenet-mnist-v1")
    values, floors = [], []
    for k, x in enumerate(drawn):
        real = net(torch.from_numpy(np.array(test.fields["image"])[test.fields["label"][:] == k]))
        other = net(torch.from_numpy(np.array(train.fields["image"])[train.fields["label"][:] == k][:1000]))
        values.append(frechet_distance(net(to_uint8(x)), real))
        floors.append(frechet_distance(other, real))
    p.measure(
        "FLD within a class, mean of ten", sum(values) / 10, n=10_000, split="test", better="lower", baseline={"real": sum(floors) / 10},
        protocol="1,000 samples of each label against the test images of that class (892 to 1,135), lenet-mnist-v1; floor: 1,000 training "
        "images of the class against the same",
    )  # fmt: skip
    p.note("FLD by class, 0 to 9: " + ", ".join(f"{v:.0f}" for v in values) + ".")


def purity(codes: Tensor, classes: Tensor) -> float:
    """Share of examples that are of the commonest class of their code."""
    table = torch.zeros(int(codes.max()) + 1, int(classes.max()) + 1).index_put(
        (codes, classes), torch.ones(()), accumulate=True
    )
    return float(table.max(1).values.sum() / table.sum())


INFOGAN: dict[str, Any] = {
    "width": 32, "dense": 512, "batch": 64, "steps": 4_000, "decay": "linear", "seed": 0, "precision": "bf16",
}  # fmt: skip


@proof("infogan-mnist", system="infogan", family="adversarial", minutes=8)
def infogan_mnist(p: Proof) -> None:
    """Without a label, the category of an InfoGAN whose Q also sees real images becomes the digit; the numbers become ways of writing it."""
    read_codes(p, p.train("infogan-paper", "mnist", real_weight=2.0, **INFOGAN))


@proof("infogan-paper-mnist", system="infogan-paper", family="adversarial", minutes=7)
def infogan_paper_mnist(p: Proof) -> None:
    """What the category of InfoGAN comes to mean with nothing but the paper's terms."""
    read_codes(p, p.train("infogan-paper", "mnist", **INFOGAN))


def read_codes(p: Proof, run: Any) -> None:
    """Measure how pure the category is in samples and in test images, and show what the codes do."""
    system = genzoo.load(run.path)
    test = open_data(DataSettings("mnist"), kind="labelled", split="test", quiet=True)
    real, label = torch.from_numpy(np.array(test.fields["image"])), torch.from_numpy(test.fields["label"][:])
    made = [
        classify("lenet-mnist-v1", to_uint8(genzoo.sample(run, n=1000, seed=k, category=k))).argmax(1)
        for k in range(10)
    ]
    p.measure(
        "purity of the categorical code, samples", purity(torch.arange(10).repeat_interleave(1000), torch.cat(made)), n=10_000,
        better="higher", goal=0.9, protocol="1,000 samples of each category, read by lenet-mnist-v1; share of the commonest digit",
        baseline={"chance": 0.1},
    )  # fmt: skip
    read = torch.cat([system.read(part.float() / 127.5 - 1)[0].argmax(1) for part in real.split(500)])
    p.measure(
        "purity of the categorical code, test images", purity(read, label), n=len(label), split="test", better="higher", goal=0.9,
        protocol="Q's category of every test image; share of the commonest digit of each category", baseline={"chance": 0.1},
        published="0.95 (5 % error, arXiv:1606.03657, section 7.2)",
    )  # fmt: skip
    score(p, run, "mnist")
    for number in range(2):
        table = system.traversal(number, 10, generator=torch.Generator().manual_seed(0))
        p.picture(
            f"code-{number + 1}",
            grid(table, columns=10),
            f"Continuous code {number + 1} from -2 to 2 along a row, a row for each category; noise and the other code fixed",
        )
    columns = torch.stack([genzoo.sample(run, n=10, seed=0, category=k) for k in range(10)]).flatten(0, 1)
    p.picture(
        "categories", grid(columns, columns=10), "A row for each category; noise and continuous codes vary along a row"
    )


def logged(run: Any, key: str) -> list[float]:
    """What the log says of one number, line by line."""
    lines = (run.path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[key] for line in lines if key in json.loads(line)]


@proof("began-mnist", system="began", family="adversarial", minutes=8)
def began_mnist(p: Proof) -> None:
    """BEGAN writes digits of all ten classes, nearer to the real ones than a Gaussian is, while k stays within [0, 1] and M falls; two seeds."""
    for seed in (0, 1):
        run = p.train(
            "began", "mnist", name=f"seed-{seed}", latent=16, width=16, smallest=14, depth=1, pull=0.15, gamma=1, gain=0.1, lr=3e-3,
            batch=16, steps=4_500, warmup=0.02, seed=seed, precision="bf16",
        )  # fmt: skip
        m, k = logged(run, "m"), logged(run, "k")
        tenth = len(m) // 10
        p.measure(
            f"M, last tenth of the run, seed {seed}", sum(m[-tenth:]) / tenth, better="lower",
            protocol="mean of the logged M = L(x) + |gamma L(x) - L(G(z))|", baseline={"first tenth": sum(m[:tenth]) / tenth},
        )  # fmt: skip
        p.measure(
            f"largest k, seed {seed}", max(k), protocol="over all log lines (each a mean of steps)", baseline={"smallest": min(k)}
        )  # fmt: skip
        ratio = sum(logged(run, "fake_error")[-tenth:]) / sum(logged(run, "real_error")[-tenth:])
        gamma = genzoo.load(run.path).hparams["gamma"]
        p.measure(
            f"L(G(z)) / L(x), last tenth, seed {seed}", ratio, protocol="of the logged means", baseline={"gamma": gamma}
        )
        shares, real = (
            100 * torch.bincount(classify("lenet-mnist-v1", x).argmax(1), minlength=10) / len(x)
            for x in (to_uint8(genzoo.sample(run, n=10_000, seed=0)), to_uint8(2 * images("mnist", "test") - 1))
        )
        p.measure(
            f"rarest digit, seed {seed}", float(shares.min()), unit="%", n=10_000, better="higher", baseline={"real test images": float(real.min())},
            protocol="the least share of ten classes, as lenet-mnist-v1 reads 10,000 samples",
        )  # fmt: skip
        p.note(f"Seed {seed}: read as 0 to 9, in %: " + ", ".join(f"{v:.1f}" for v in shares.tolist()) + ".")
        score(p, run, "mnist", name=f"FLD, seed {seed}")
        p.picture(
            f"samples-{seed}",
            genzoo.sample(run, n=100, seed=0),
            f"Trained with seed {seed}: samples, seed 0, not chosen",
        )
        at = logged(run, "step")
        lines = {"M": m, "L(x)": logged(run, "real_error"), "k": [max(v, 1e-4) for v in k]}
        p.chart(
            f"m-{seed}",
            {name: list(zip(at, values, strict=False)) for name, values in lines.items()},
            f"Seed {seed}: M, L(x) and k over the run (k not below 1e-4)",
            x="steps",
            y="",
            log=True,
        )


@proof("sngan-cifar10", system="sngan", family="adversarial", minutes=10)
def sngan_cifar10(p: Proof) -> None:
    """A spectrally normalized residual GAN on CIFAR-10, in minutes on one CPU core."""
    run = p.train(
        "sngan", "cifar10", width=32, d_width=32, batch=32, critic_steps=2, steps=6_000, lr=4e-4, seed=0, precision="bf16", flip=True
    )  # fmt: skip
    score(
        p,
        run,
        "cifar10",
        n=500,
        n_real=500,
        published="21.7 (arXiv:1802.05957, table 2; 5,000 samples, 8 times the width, 100,000 steps)",
    )
    p.picture("samples", genzoo.sample(run, n=100, seed=0), "Samples, seed 0, not chosen")


@proof("lapgan-cifar10", system="lapgan", family="adversarial", minutes=8)
def lapgan_cifar10(p: Proof) -> None:
    """From 8 to 16 to 32 pixels, a GAN for the detail of each doubling."""
    run = p.train("lapgan", "cifar10", width=32, batch=32, steps=4_000, seed=0, precision="bf16", flip=True)
    score(p, run, "cifar10", n=500, n_real=500)
    p.picture("samples", genzoo.sample(run, n=100, seed=0), "Samples, seed 0, not chosen")
    parts = genzoo.load(run.path).chain(10, generator=torch.Generator().manual_seed(0))
    size = parts[-1].shape[-1]
    rows = torch.cat(
        [x.repeat_interleave(size // x.shape[-1], 2).repeat_interleave(size // x.shape[-1], 3) for x in parts]
    )
    p.picture("chain", grid(rows, columns=10), "Ten samples on their way: 8, 16 and 32 pixels")


@proof("progan-mnist", system="progan", family="adversarial", minutes=10)
def progan_mnist(p: Proof) -> None:
    """Growing against training all levels from the start, at equal numbers of steps."""
    for name in ("progan", "progan-at-once"):
        run = p.train(
            name, "mnist", name=name, latent=64, width=32, most=64, batch=16, steps=4_000, seed=0, precision="bf16"
        )
        score(p, run, "mnist", name=f"FLD, {name}")
        p.picture(name, genzoo.sample(run, n=60, seed=0), f"{name}: samples, seed 0, not chosen")
        if name == "progan":
            shown = sorted((run.path / "samples").glob("step_*.png"))
            for i in (0, len(shown) // 2):
                p.picture(f"growing-{i + 1}", shown[i], f"The same noise after {int(shown[i].stem[5:]):,} steps")
    seconds = [r["seconds"] for r in p.record["runs"]]
    p.measure("time of training, progan", seconds[0], unit="s", baseline={"progan-at-once": seconds[1]}, better="lower")
