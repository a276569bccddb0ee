"""Proofs of the density family: one Gaussian, and a mixture of them."""

from __future__ import annotations

import math

import numpy as np
import torch

import genzoo
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.data.drawing.images import grid
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.frechet import image_report
from genzoo.metrics.maths.outliers import auroc
from genzoo.metrics.nll import evaluate_density
from proofs.baselines import baselines, fit
from proofs.proof import Proof, proof


def split(data: str, name: str, **keys: object) -> Dataset:
    return open_data(DataSettings(data, **keys), split=name, quiet=True)


def pixels(dataset: Dataset) -> torch.Tensor:
    """Middles of the grey levels' cells in [0, 1], float64 [N, D]."""
    return (torch.from_numpy(np.array(dataset.fields["image"])).flatten(1).double() + 0.5) / 256


def bits(p: Proof, run: object, label: str, **more: object) -> float:
    """Measure bits/dim of a run on the whole test set."""
    test = split("mnist", "test")
    got = evaluate_density(genzoo.load(run.path), test)
    p.measure(
        f"bits/dim, {label}", got["bits_per_dim"], unit="bits/dim", se=got["bits_per_dim_se"], n=got["n"], split="test",
        protocol=got["protocol"], better="lower", **more,
    )  # fmt: skip
    return got["bits_per_dim"]


@proof("gaussian-moments", system="gaussian", family="density", minutes=2)
def gaussian_moments(p: Proof) -> None:
    """The fit equals the sample moments, and the closed-form KL equals its Monte-Carlo estimate."""
    train = split("mnist", "train")
    x = pixels(train)
    runs = {
        kind: p.train("gaussian", "mnist", name=kind, covariance=kind)
        for kind in ("full", "diagonal", "low-rank", "spherical")
    }
    full, diagonal = (genzoo.load(runs[kind].path) for kind in ("full", "diagonal"))
    mean = x.mean(0)
    covariance = (x - mean).T @ (x - mean) / len(x) + torch.eye(x.shape[1]) / (12 * 256**2)
    protocol = "largest difference to moments computed at once in float64 from the 60,000 training images, pixels in [0, 1], dequantised"
    p.measure(
        "mean, error",
        float((full.mean - mean).abs().max()),
        n=len(x),
        split="train",
        protocol=protocol,
        better="lower",
        goal=1e-12,
    )
    p.measure(
        "covariance, error", float((full.covariance_matrix() - covariance).abs().max()), n=len(x), split="train",
        protocol=protocol, better="lower", goal=1e-9,
    )  # fmt: skip

    # log p − log q of draws from p, with torch's own distributions: nothing is shared with the closed form.
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(covariance)
    draws = mean + torch.randn(20_000, len(mean), generator=generator, dtype=torch.float64) @ root.T
    own = torch.distributions.MultivariateNormal(mean, scale_tril=root)
    other = torch.distributions.Normal(mean, covariance.diagonal().sqrt())
    ratio = own.log_prob(draws) - other.log_prob(draws).sum(1)
    estimate, se = float(ratio.mean()), float(ratio.std()) / math.sqrt(len(ratio))
    closed = float(full.kl(diagonal))
    p.measure(
        "KL(full ‖ diagonal), closed form", closed, unit="nats", baseline=f"Monte-Carlo {estimate:.2f} ± {se:.2f}",
        protocol="between the two fitted Gaussians, on dequantised pixels",
    )  # fmt: skip
    p.measure(
        "KL, difference to Monte-Carlo", abs(closed - estimate) / se, unit="standard errors", n=len(draws), better="lower", goal=3,
        protocol="20,000 draws, densities by torch.distributions, seed 0",
    )  # fmt: skip
    found = {kind: bits(p, run, kind) for kind, run in runs.items()}
    p.note(
        f"More structure is a better likelihood: {' > '.join(f'{k} {v:.3f}' for k, v in sorted(found.items(), key=lambda i: -i[1]))} bits/dim. "
        "Full covariance gains most from pixels of the border, which are nearly always 0 and whose variance it knows to be nearly nothing."
    )
    net = extractor("lenet-mnist-v1")
    samples = genzoo.sample(runs["full"], n=10_000)
    p.report(image_report(samples, split("mnist", "test"), net, train=train))
    p.picture(
        "samples", samples[:64], "64 samples of the full-covariance Gaussian: strokes in the right places, no digits"
    )


@proof("gaussian-outliers", system="gaussian", family="density", minutes=2)
def gaussian_outliers(p: Proof) -> None:
    """Its −log p tells garments from digits, in both directions or not."""
    tests = {name: split(name, "test") for name in ("mnist", "fashion-mnist")}
    shown = {}
    for data, other in (("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")):
        for kind in ("full", "diagonal"):
            system = genzoo.load(p.train("gaussian", data, name=f"{data}-{kind}", covariance=kind).path)
            scores = {name: -_log_prob(system, test) for name, test in tests.items()}
            value = auroc(scores[data], scores[other])
            p.measure(
                f"AUROC, {kind}, fitted on {data}", value, se=_auroc_error(scores[data], scores[other]), n=20_000, split="test",
                better="higher", baseline={"chance": 0.5},
                protocol=f"score −log p(x); inliers: 10,000 {data} test images, outliers: 10,000 {other} test images; "
                "area under the ROC curve, ties counting half; error by DeLong, DeLong and Clarke-Pearson (1988)",
                goal=0.99 if data == "mnist" else None,
            )  # fmt: skip
            shown[data, kind] = (value, scores[data].argsort()[-8:], scores[other].argsort()[:8])
    for data, other in (("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")):
        _, strange, familiar = shown[data, "full"]
        rows = [
            torch.from_numpy(tests[name].fields["image"][index.numpy()])
            for name, index in ((data, strange), (other, familiar))
        ]
        p.picture(
            f"extremes-{data}", grid(torch.cat(rows).float() / 127.5 - 1, columns=8),
            f"full covariance fitted on {data}: the eight strangest {data} images above, the eight least strange {other} images below",
        )  # fmt: skip
    p.note(
        "Fitted on garments, digits are often called familiar: they are mostly background, and a density rewards simple images whatever they "
        f"show (Nalisnick et al., arXiv:1810.09136, saw the same of deep models). AUROC {shown['fashion-mnist', 'full'][0]:.3f} with full, "
        f"{shown['fashion-mnist', 'diagonal'][0]:.3f} with diagonal covariance."
    )


def _auroc_error(inliers: torch.Tensor, outliers: torch.Tensor) -> float:
    """Standard error of the area: the spread of each score's own share of the other kind that it stands on the right side of."""

    def spread(of: torch.Tensor, among: torch.Tensor) -> float:
        ranked = among.sort().values
        below = (torch.searchsorted(ranked, of) + torch.searchsorted(ranked, of, right=True)).double() / 2 / len(among)
        return float(below.var()) / len(of)

    return math.sqrt(spread(inliers, outliers) + spread(outliers, inliers))


def _log_prob(system: System, dataset: Dataset) -> torch.Tensor:
    batches = Batches(dataset, 1000, 0)
    parts = [system.log_prob(to_float(batches.in_order(s), "cpu")["image"]) for s in range(batches.pass_length())]
    return torch.cat(parts).double()


@proof("gmm-mnist", system="gmm", family="density", minutes=10)
def gmm_mnist(p: Proof) -> None:
    """A mixture explains held-out digits better than one Gaussian, EM is monotone, and equals scikit-learn's from the same start."""
    _against_sklearn(p)
    train, test = split("mnist", "train"), split("mnist", "test")
    single = evaluate_density(fit(genzoo.create("gaussian", ridge=1e-3), train), test)["bits_per_dim"]
    run = p.train("gmm", "mnist", components=10, ridge=1e-3, max_passes=10)
    bits(p, run, "10 components", baseline={"one Gaussian, same ridge": single}, goal=single)
    objective = [line["objective"] for line in run.log() if "objective" in line]
    steps = np.diff(objective[1:])
    p.measure(
        "EM objective, worst step", float(steps.min()), unit="nats", n=len(objective), better="higher", goal=-1e-9,
        protocol="smallest gain of the logged objective from one pass to the next, in nats per image; EM never loses",
    )  # fmt: skip
    system = genzoo.load(run.path)
    samples = genzoo.sample(run, n=10_000)
    p.report(
        image_report(samples, test, extractor("lenet-mnist-v1"), train=train),
        baseline=_without_real(baselines("mnist")),
    )
    p.picture("samples", samples[:64], "64 samples of the mixture of 10")
    p.picture("means", (system.means.view(-1, 1, 28, 28).float() * 2 - 1), "means of the 10 components")


def _without_real(found: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in found.items() if k != "real"}


def _against_sklearn(p: Proof) -> None:
    """The same points, the same first parameters, as many steps: compare the mean log-likelihoods."""
    from sklearn.mixture import GaussianMixture

    x = pixels(split("mnist", "train"))[:5000]
    x = (x - x.mean(0)) @ torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, -16:]
    x = x.float().double()
    generator = torch.Generator().manual_seed(0)
    k, ridge, passes = 10, 1e-6, 30
    means = x[torch.randperm(len(x), generator=generator)[:k]]
    first = torch.cov(x.T).expand(k, -1, -1).contiguous()
    system = genzoo.create("gmm", shape=(16,), components=k, ridge=ridge, tol=0, max_passes=passes)
    system.start(torch.full((k,), 1 / k), means, first)
    while not system.converged:
        for part in x.float().split(1000):
            system.partial_fit({"points": part})
        system.finish_pass()
    theirs = GaussianMixture(
        k, reg_covar=ridge, tol=0, max_iter=passes, weights_init=np.full(k, 1 / k), means_init=means.numpy(),
        precisions_init=torch.linalg.inv(first).numpy(),
    )  # fmt: skip
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "did not converge": neither did, both made the same number of steps
        theirs.fit(x.numpy())
    ours = system.log_prob(x).double()
    p.measure(
        "log-likelihood, difference to scikit-learn", float((ours.mean() - theirs.score(x.numpy())).abs()), unit="nats", n=len(x),
        split="train", better="lower", goal=1e-4, baseline=f"scikit-learn {theirs.score(x.numpy()):.6f}, genzoo {float(ours.mean()):.6f}",
        protocol=f"5,000 MNIST images on 16 principal components, {k} full covariances, the same weights, means and covariances at "
        f"the start, {passes} EM steps each",
    )  # fmt: skip
