"""What measures cost, beside the usual implementations of the same numbers.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_metrics [CASE ...] [--base REV] [--rounds 7]
    python -m benchmarks.bench_metrics --memory

* frechet: the distance of 2,048 features from the moments of 10,000, of which the reference's are kept; plain is SciPy's sqrtm.
  `frechet-fidelity`: the same beside torch-fidelity. `frechet-1000`: from the features of 1,000.
* prdc: precision, recall, density and coverage of 10,000 against 10,000; plain is the authors' package.
* parzen: the log-likelihood of 100 points on 2,000 samples; plain is the broadcast form of 2014.

What needs a peer (torch-fidelity, prdc, SciPy) that is not installed says so. `--memory` prints the peak beyond the features as N grows fourfold,
and for prdc the peak of the process beside the peer's.
"""

from __future__ import annotations

import functools
import importlib.machinery
import json
import math
import subprocess
import sys
import types
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import frame
from benchmarks.frame import Case

DIMS = 2048
SQRT = 25 * DIMS**3
"""Operations of the eigenvalues of a symmetric product of two matrices, counted as LAPACK's: what each way needs at least is of this order."""


PEAK = """
def peak():
    # VmHWM begins anew with the program; what getrusage says begins with the peak of the process that started it.
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 2**10
"""
"""Peak memory of a process in MiB, as code for a child."""


def relu_features(n: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    """Correlated ReLU features [n, 2048] with some units that are always off, as networks give them."""
    mix = torch.randn(DIMS, DIMS, generator=torch.Generator().manual_seed(9)) / DIMS**0.5
    x = torch.randn(n, DIMS, generator=torch.Generator().manual_seed(seed)) * torch.logspace(0, -2, DIMS)
    x = (x @ mix * scale * 10 + 0.2).relu()
    x[:, :20] = 0
    return x


def torch_fidelity() -> types.ModuleType:
    """torch-fidelity's FID. It imports torchvision, which its mathematics does not call and which does not load beside every torch."""
    for part in ("", ".transforms", ".transforms.functional", ".datasets", ".models", ".utils"):
        module = types.ModuleType(f"torchvision{part}")
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        module.__getattr__ = stand_in
        sys.modules[module.__name__] = module
        parent, _, last = module.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
    from torch_fidelity import metric_fid

    return metric_fid


def stand_in(name: str) -> type:
    """Any name of a module that is not there."""
    if name.startswith("__"):
        raise AttributeError(name)
    return object


def features(n: int) -> tuple[Tensor, Tensor]:
    """Return two sets of features, [n, 2048]."""
    return relu_features(n, 1, 1.1), relu_features(n, 2)


def stats(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return mean and covariance of both, as peers take them."""
    return [(f.double().mean(0).numpy(), np.cov(f.double().numpy(), rowvar=False)) for f in features(n)]


def frechet(plain: str) -> Case:
    """The distance from moments, the reference's factors among them."""
    from genzoo.metrics.frechet import frechet_from_moments
    from genzoo.metrics.maths.moments import Moments

    fake, reference = (Moments.of(x) for x in features(10_000))
    frechet_from_moments(fake, reference)
    return Case(
        lambda: torch.tensor(frechet_from_moments(fake, reference)), ("distance", 1), torch.float64, SQRT, plain=plain
    )


def frechet_of_few() -> Case:
    """The distance from the features of 1,000."""
    from genzoo.metrics.frechet import frechet_distance

    x, y = features(1000)
    work = functools.partial(frechet_distance, x, y)
    return Case(lambda: torch.tensor(work()), ("distance", 1), torch.float64, plain="frechet-1000-plain")


def by_scipy(n: int) -> Case:
    """The distance by SciPy's root of a matrix."""
    import scipy.linalg

    (mean, cov), (other, other_cov) = stats(n)
    delta = mean - other

    def work() -> Tensor:  # SciPy warns that the product is singular: that is so
        root = np.trace(scipy.linalg.sqrtm(cov @ other_cov))
        return torch.tensor(float(delta @ delta + cov.trace() + other_cov.trace() - 2 * np.real(root)))

    return Case(work, ("distance", 1), torch.float64, SQRT)


def by_fidelity(n: int = 10_000) -> Case:
    """The distance by torch-fidelity's eigenvalues."""
    metric_fid = torch_fidelity()
    given = [{"mu": mu, "sigma": sigma} for mu, sigma in stats(n)]

    def work() -> Tensor:
        return torch.tensor(metric_fid.fid_statistics_to_metric(*given, verbose=False)["frechet_inception_distance"])

    return Case(work, ("distance", 1), torch.float64, SQRT)


PRDC_FLOPS = 3 * 2 * 10_000**2 * DIMS
"""Three matrices of distances."""


def prdc_data() -> tuple[Tensor, Tensor]:
    """Return real and generated features, [10000, 2048]."""
    g = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(10_000, DIMS, generator=g) * torch.logspace(0, -1, DIMS) * s for s in (1.0, 1.05))
    return real, fake


def in_order(found: dict[str, Any]) -> Tensor:
    """Return values by name as a tensor."""
    return torch.tensor([float(found[k]) for k in ("precision", "recall", "density", "coverage")])


def prdc_ours() -> Case:
    """Precision, recall, density and coverage."""
    from genzoo.metrics.prdc import prdc

    real, fake = prdc_data()
    return Case(lambda: in_order(prdc(fake, real, k=5)), ("comparison", 1), flops=PRDC_FLOPS, plain="prdc-plain")


def prdc_theirs() -> Case:
    """The same by the authors' package."""
    from prdc import compute_prdc

    real, fake = (x.numpy() for x in prdc_data())
    return Case(lambda: in_order(compute_prdc(real, fake, nearest_k=5)), ("comparison", 1), flops=PRDC_FLOPS)


def parzen_data() -> tuple[Tensor, Tensor, float]:
    """Return samples, points and the width of the windows."""
    g = torch.Generator().manual_seed(0)
    return torch.rand(2000, 784, generator=g), torch.rand(100, 784, generator=g), 0.17


PARZEN_FLOPS = 2 * 2000 * 100 * 784


def parzen_ours() -> Case:
    """The log-likelihood of points under windows around samples."""
    from genzoo.metrics.parzen import parzen_log_prob

    samples, points, sigma = parzen_data()
    work = functools.partial(parzen_log_prob, samples, points, sigma)
    return Case(work, ("likelihood", 1), torch.float64, PARZEN_FLOPS, repeat=10, plain="parzen-plain")


def parzen_broadcast() -> Case:
    """The same with all differences at once."""
    samples, points, sigma = parzen_data()
    mu, x = samples.double().numpy(), points.double().numpy()

    def work() -> Tensor:
        a = (x[:, None] - mu[None]) / sigma
        e = -0.5 * (a**2).sum(2)
        top = e.max(1, keepdims=True)
        found = top[:, 0] + np.log(np.exp(e - top).mean(1)) - 784 * math.log(sigma * math.sqrt(2 * math.pi))
        return torch.from_numpy(found)

    return Case(work, ("likelihood", 1), torch.float64, PARZEN_FLOPS)


CASES: frame.Cases = {
    "frechet": lambda: frechet("frechet-plain"),
    "frechet-fidelity": lambda: frechet("frechet-fidelity-plain"),
    "frechet-1000": frechet_of_few,
    "prdc": prdc_ours,
    "parzen": parzen_ours,
    "frechet-plain": lambda: by_scipy(10_000),
    "frechet-fidelity-plain": by_fidelity,
    "frechet-1000-plain": lambda: by_scipy(1000),
    "prdc-plain": prdc_theirs,
    "parzen-plain": parzen_broadcast,
}

MEMORY_CODE = (
    PEAK
    + """
import sys, json
import torch
from genzoo.metrics import c2st, kid, kmeans, neighbours, prdc
x, y = (torch.randn({n}, 16, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
runs = {{
    "kid": lambda a, b: kid.kid(a, b),
    "prdc": lambda a, b: prdc.prdc(a, b),
    "nearest_rows": lambda a, b: neighbours.nearest_rows(a, b),
    "kmeans": lambda a, b: kmeans.kmeans(a, 20, passes=3),
}}
run = runs[{name!r}]
run(x[:50], y[:50])
before = peak()
run(x, y)
print(json.dumps([peak() - before]))
"""
)


PRDC_CODE = (
    PEAK
    + """
import json
from benchmarks.bench_metrics import prdc_{whose} as make
make().work()
print(json.dumps([peak() / 2**10]))
"""
)


def child(code: str) -> list:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def memory() -> None:
    """Peak memory beyond the features as N grows fourfold: a whole matrix of distances would grow sixteenfold."""
    for name in ("kid", "prdc", "nearest_rows", "kmeans"):
        small, large = (child(MEMORY_CODE.format(n=n, name=name))[0] for n in (6000, 24_000))
        whole = 24_000**2 * 4 / 2**20
        verdict = "met" if large < small + 40 else "NOT MET"
        print(
            f"{name + ', memory beyond the features, N = 6,000 and 24,000':62} {small:9.1f} MiB {large:9.1f} MiB           {verdict} "
            f"(grows by < 40 MiB; one matrix of distances is {whole:,.0f} MiB)",
            flush=True,
        )
    ours, theirs = (child(PRDC_CODE.format(whose=whose))[0] for whose in ("ours", "theirs"))
    print(f"prdc, peak of the process (both sets are 0.15 GiB): {ours:.2f} GiB, the authors' package {theirs:.2f} GiB")


if __name__ == "__main__":
    if sys.argv[1:] == ["--memory"]:
        memory()
    else:
        frame.main("benchmarks.bench_metrics", CASES, __doc__)
