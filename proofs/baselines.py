"""What a deep model of images has to beat: real images, one Gaussian, a mixture of a hundred, at the same data and numbers.

    GENZOO_DATA=... python -m proofs.baselines mnist 10000

* real: training images against the test images, the floor;
* gaussian: `gaussian` with full covariance, maximum likelihood on all training images;
* gmm-100: `gmm` with 100 full covariances, fitted to the `GMM_DIMS` leading principal components of all training images and
  drawn back onto pixels. Without the components left out, which makes it stronger: with Gaussian noise in their place the FLD is worse.

Kept under runs/proofs/shared, so that a proof pays for them once.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import torch

import genzoo
from genzoo.core.files import write_atomic
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.features.networks import default_extractor
from genzoo.metrics.frechet import image_report
from proofs.proof import WORK

SHARED = WORK / "shared"
GMM_DIMS, GMM_PASSES = 100, 12


def fit(system: System, dataset: Dataset, passes: int = 1) -> System:
    """Fit a system in closed form or by EM, in passes over a data set, without a run folder."""
    batches = Batches(dataset, 1000, 0)
    for _ in range(passes):
        for step in range(batches.pass_length()):
            system.partial_fit(to_float(batches.in_order(step), "cpu"))
        system.finish_pass()
    return system.eval()


def gaussian_of(train: Dataset) -> System:
    """The full-covariance Gaussian of a training set."""
    return fit(genzoo.create("gaussian", **_facts(train), ridge=1e-9), train)


@torch.no_grad()
def mixture_samples(train: Dataset, gaussian: System, n: int, seed: int) -> torch.Tensor:
    """Draw from the 100-component mixture on the leading principal components, uint8 [n, C, H, W]."""
    vectors = torch.linalg.eigh(gaussian.covariance_matrix()).eigenvectors
    basis, mean = vectors[:, -GMM_DIMS:], gaussian.mean
    batches = Batches(train, 1000, 0)
    rows = [batches.in_order(step)["image"] for step in range(batches.pass_length())]
    codes = torch.cat([((x.flatten(1).double() + 0.5) / 256 - mean) @ basis for x in rows]).float()
    torch.manual_seed(seed)  # the mixture takes the seed of its start from here, as weights do
    mixture = genzoo.create("gmm-100", shape=(basis.shape[1],), max_passes=GMM_PASSES, covariance="full")
    while not mixture.converged:
        for part in codes.split(1000):
            mixture.partial_fit({"points": part})
        logs = mixture.finish_pass()
        print(f"gmm-100: {float(logs['log_likelihood']):.3f} nats per image in {GMM_DIMS} dimensions", flush=True)
    drawn = mixture.sample(n, generator=torch.Generator().manual_seed(seed)).double()
    pixels = ((mean + drawn @ basis.T) * 256).floor().clamp(0, 255).to(torch.uint8)
    return pixels.view(n, *train.fields["image"].shape[1:])


def baselines(
    data: str, n: int = 10_000, *, n_real: int | None = None, net: Extractor | None = None, seed: int = 0, **keys: Any
) -> dict[str, float]:
    """Return {"real", "gaussian", "gmm-100"}: the FLD or FID of `n` training images, and of `n` samples of each model.

    Args:
        data: Data set.
        n: Samples.
        net: Extractor; the one that suits the data by default.
        n_real: Test images; all by default.
        seed: Seed of every choice.
        keys: Other data settings (size, channels, limit ...), as the proof's own.
    """
    settings = DataSettings(data, **keys)
    train, test = (open_data(settings, split=s, quiet=True) for s in ("train", "test"))
    net = net or default_extractor(data, tuple(test.fields["image"].shape[1:]))
    recipe = [train.digest, test.digest, n, n_real, net.name, net.digest, seed, GMM_DIMS, GMM_PASSES]
    path = (
        SHARED
        / f"baselines-{data.replace('/', '-')}-{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]}.json"
    )
    if path.exists():
        return json.loads(path.read_text())
    gaussian = gaussian_of(train)
    drawn = genzoo.sample(gaussian, n=n, seed=seed)
    first = image_report(drawn, test, net, train=train, n_real=n_real, seed=seed)
    mixture = image_report(mixture_samples(train, gaussian, n, seed), test, net, n_real=n_real, seed=seed)
    found = {"real": first["floor"], "gaussian": first["value"], "gmm-100": mixture["value"]}
    write_atomic(path, json.dumps(found).encode())
    return found


def independent_pixels(train: Dataset, test: Dataset) -> float:
    """Nats of binarized test images under one Bernoulli for each pixel."""
    p = (torch.tensor(train.fields["image"][:]).double() / 255).mean(0).clamp(1e-4, 1 - 1e-4)
    x = torch.tensor(test.fields["image"][:]).double() / 255  # cross-entropy is linear in x: its mean needs no draw
    return float(-(x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1).mean())


def _facts(dataset: Dataset) -> dict[str, Any]:
    facts = dataset.facts()
    return {"shape": facts["shape"], "levels": facts["levels"]}


if __name__ == "__main__":
    print(baselines(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000))
