"""What measures cost, beside the usual implementations of the same numbers: CPU seconds of one thread, and peak memory.

    python -m benchmarks.bench_metrics [frechet] [prdc] [parzen] [memory]

Without names, everything, in about six minutes. Each comparison runs both sides in one process or in twin processes on the same arrays;
the ratio is what counts, and CPU time is taken, so that other load on the machine matters little. Peers (torch-fidelity, prdc, SciPy) are
left out by name where they are not installed.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import math
import subprocess
import sys
import time
import types
from collections.abc import Callable

import numpy as np
import torch

DIMS = 2048


def cpu(function: Callable[[], object]) -> tuple[float, object]:
    """CPU seconds and result of a call."""
    start = time.process_time()
    value = function()
    return time.process_time() - start, value


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


def line(what: str, ours: float, theirs: float, unit: str, goal: float | None = None, more: str = "") -> None:
    ratio = theirs / ours
    verdict = "" if goal is None else f"  {'met' if ratio >= goal else 'NOT MET'} (≥ {goal:g}x)"
    print(f"{what:62} {ours:9.3f} {unit}  {theirs:9.3f} {unit}  {ratio:7.1f}x{verdict}  {more}", flush=True)


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


def frechet() -> None:
    """Fréchet distance of 2048 features: against scipy's sqrtm and torch-fidelity's eigvals."""
    from genzoo.metrics.frechet import frechet_distance, frechet_from_moments
    from genzoo.metrics.maths.moments import Moments

    metric_fid = torch_fidelity()

    def fidelity(a: tuple, b: tuple) -> float:
        stats = [{"mu": mu, "sigma": sigma} for mu, sigma in (a, b)]
        return metric_fid.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]

    def sqrtm(a: tuple, b: tuple) -> float:
        import scipy.linalg

        delta = a[0] - b[0]
        return float(  # SciPy warns that the product is singular: that is so
            delta @ delta + a[1].trace() + b[1].trace() - 2 * np.real(np.trace(scipy.linalg.sqrtm(a[1] @ b[1])))
        )

    for n in (10_000, 1000):
        x, y = relu_features(n, 1, 1.1), relu_features(n, 2)
        stats = [(f.double().mean(0).numpy(), np.cov(f.double().numpy(), rowvar=False)) for f in (x, y)]
        if n >= DIMS:
            fake, reference = Moments.of(x), Moments.of(y)
            first, value = cpu(lambda: frechet_from_moments(fake, reference))  # noqa: B023
            ours, _ = cpu(lambda: frechet_from_moments(fake, reference))  # noqa: B023
            name = f"Fréchet, n={n:,}, d={DIMS}, cached reference"
            print(f"{'  the same with the factorisation of the reference':62} {first:9.3f} s", flush=True)
        else:
            ours, value = cpu(lambda: frechet_distance(x, y))  # noqa: B023
            name = f"Fréchet, n={n:,}, d={DIMS}, from features"
        for label, peer, goal in (
            ("scipy sqrtm", sqrtm, 5 if n > DIMS else 20),
            ("torch-fidelity", fidelity, 2),
        ):
            theirs, other = cpu(lambda: peer(*stats))  # noqa: B023
            line(f"{name} | {label}", ours, theirs, "s", goal, f"values {value:.6f} {other:.6f}")


PRDC_CODE = (
    PEAK
    + """
import sys, time, json
import numpy as np, torch
g = torch.Generator().manual_seed(0)
real, fake = (torch.randn(10_000, 2048, generator=g) * torch.logspace(0, -1, 2048) * s for s in (1.0, 1.05))
if {ours}:
    from genzoo.metrics.prdc import prdc
    run = lambda: prdc(fake, real, k=5)
else:
    from prdc import compute_prdc
    run = lambda: {{k: float(v) for k, v in compute_prdc(real.numpy(), fake.numpy(), nearest_k=5).items()}}
start = time.process_time()
value = run()
print(json.dumps([time.process_time() - start, peak() / 2**10, value]))
"""
)


def child(code: str) -> list:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def prdc() -> None:
    """Precision, recall, density and coverage of 10,000 against 10,000: against the authors' package."""
    found = [child(PRDC_CODE.format(ours=ours)) for ours in (True, False)]
    (ours, memory, value), (theirs, their_memory, other) = found
    worst = max(abs(value[k] - v) for k, v in other.items())
    line("PRDC, 10,000 x 10,000 x 2048 | prdc", ours, theirs, "s", 1.8, f"largest difference of a value {worst:.1e}")
    line("PRDC, peak memory of the process (both sets are 0.15 GiB)", memory, their_memory, "GiB", 2)


def parzen() -> None:
    """The Parzen log-likelihood of 100 points on 2,000 samples: against the broadcast form of 2014."""
    from genzoo.metrics.parzen import parzen_log_prob

    g = torch.Generator().manual_seed(0)
    samples, points = torch.rand(2000, 784, generator=g), torch.rand(100, 784, generator=g)
    mu, x, sigma = samples.double().numpy(), points.double().numpy(), 0.17

    def broadcast() -> np.ndarray:
        a = (x[:, None] - mu[None]) / sigma
        e = -0.5 * (a**2).sum(2)
        top = e.max(1, keepdims=True)
        return top[:, 0] + np.log(np.exp(e - top).mean(1)) - 784 * math.log(sigma * math.sqrt(2 * math.pi))

    parzen_log_prob(samples, points, sigma)
    ours = min(cpu(lambda: parzen_log_prob(samples, points, sigma))[0] for _ in range(10))
    theirs, other = cpu(broadcast)
    worst = float(np.abs(parzen_log_prob(samples, points, sigma).numpy() - other).max())
    line(
        "Parzen, 100 points x 2,000 samples x 784 | broadcast",
        ours,
        theirs,
        "s",
        100,
        f"largest difference {worst:.1e}",
    )


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


def main() -> None:
    """Run what was asked for."""
    pieces = {f.__name__: f for f in (frechet, prdc, parzen, memory)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *pieces])
    names = parser.parse_args().names or list(pieces)
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, numpy {np.__version__}, {torch.get_num_threads()} thread; ours, theirs, ratio",
        flush=True,
    )
    for name in names:
        try:
            pieces[name]()
        except ModuleNotFoundError as error:
            print(f"{name}: left out, {error.name} is not installed", flush=True)


if __name__ == "__main__":
    main()
