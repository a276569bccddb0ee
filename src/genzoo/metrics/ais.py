"""Annealed importance sampling: log p(x) of decoder-based models, held between two bounds where the truth is known.

For a latent-variable model p(z) p(x | z), with temperatures 0 = β₀ < … < β_T = 1 and f_t(z) = p(z) p(x | z)^β_t,

    log w = Σ_t (β_t − β_{t−1}) log p(x | z_{t−1}),     z_t = HMC step that leaves f_t invariant,    log p(x) ≥ E log mean w

(Neal 2001; Wu et al., arXiv:1611.04273). On data simulated from the model an exact posterior draw is at hand: the same path walked back
from it gives an upper bound, and the gap between the two bounds says how far the first can be off (bidirectional Monte Carlo,
Grosse et al., arXiv:1511.02543). Step sizes are tuned on a run of their own, so that the measured run's transitions are fixed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from genzoo.core.capabilities import Joint
from genzoo.core.errors import UserError
from genzoo.data import Batches, to_float
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record, content_digest

MEASURE = Measure(
    name="ais",
    line="annealed importance sampling of 50 examples, and the gap of its bounds on data simulated from the model",
    question="likelihood",
    gives=(
        Value("NLL annealed", unit="nats", better="lower"),
        Value("gap of annealing", unit="nats", better="lower"),
    ),
    needs=("joint", "density"),
    images=False,
    features=False,
    default=False,
    also=("annealed",),
    protocol=(
        ("likelihood", "kind of likelihood"),
        ("levels", "grey levels"),
        ("steps", "temperatures"),
        ("chains", "chains"),
    ),
)
EXAMPLES, STEPS, CHAINS, LEAPFROGS = 50, 500, 8, 10
"""Of the measure: minutes on one core for small decoders."""

LogPrior = Callable[[Tensor], Tensor]
"""z [B, L] to log p(z) in nats, [B]."""
LogLik = Callable[[Tensor, Tensor], Tensor]
"""(x [B, ...], z [B, L]) to log p(x | z) in nats, [B]."""
Draw = Callable[[int, Generator], Tensor]
"""(B, generator) to draws of the prior, [B, L]."""

TARGET_ACCEPTANCE = 0.65


@dataclass(frozen=True)
class Decoder:
    """A latent-variable model, as far as annealing needs it.

    Args:
        log_prior: z [B, L] to log p(z), [B].
        log_lik: (x [B, ...], z [B, L]) to log p(x | z), [B]; differentiable in z.
        draw: (B, generator) to draws of p(z), [B, L].
    """

    log_prior: LogPrior
    log_lik: LogLik
    draw: Draw


def sigmoid_schedule(steps: int, sharpness: float = 4.0) -> Tensor:
    """Return temperatures 0 … 1, float64 [steps + 1], close together at both ends (Wu et al., appendix)."""
    if steps < 1 or not sharpness > 0:
        raise UserError(f"at least one step and a sharpness above 0 are needed, not {steps} and {sharpness}")
    raw = torch.sigmoid(torch.linspace(-sharpness, sharpness, steps + 1, dtype=torch.float64))
    return ((raw - raw[0]) / (raw[-1] - raw[0])).clamp(0, 1)


def _hmc(
    model: Decoder, x: Tensor, z: Tensor, beta: float, step: Tensor, leapfrogs: int, g: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Take one Hamiltonian step for f_β: new z [B, L], its log p(x | z) [B], and which were accepted [B]. A path that leaves the numbers fails."""

    def energy(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at = at.detach().requires_grad_()
        prior, lik = model.log_prior(at), model.log_lik(x, at)
        total = prior + beta * lik
        (grad,) = torch.autograd.grad(total.sum(), at)
        return -total.detach().double(), lik.detach().double(), -grad

    step = step.view(-1, 1).to(z)
    with torch.enable_grad():
        start, lik_start, grad = energy(z)
        momentum = torch.randn(z.shape, generator=g, dtype=z.dtype).to(z.device)
        kinetic = momentum.double().square().sum(1) / 2
        at, lik, potential = z, lik_start, start
        for _ in range(leapfrogs):
            momentum = momentum - step / 2 * grad
            at = at + step * momentum
            potential, lik, grad = energy(at)
            momentum = momentum - step / 2 * grad
    log_ratio = start + kinetic - potential - momentum.double().square().sum(1) / 2
    u = torch.rand(len(z), generator=g, dtype=torch.float64).to(z.device)
    accepted = log_ratio.nan_to_num(nan=-math.inf, posinf=-math.inf) >= u.log()
    return torch.where(accepted[:, None], at, z).detach(), torch.where(accepted, lik, lik_start), accepted


def _lik(model: Decoder, x: Tensor, z: Tensor) -> Tensor:
    with torch.no_grad():
        value = model.log_lik(x, z).detach().double()
    if value.shape != (len(x),):
        raise UserError(f"log_lik must give one number for each example, [{len(x)}], not {tuple(value.shape)}")
    return value


def tune_steps(
    model: Decoder,
    x: Tensor,
    betas: Tensor,
    *,
    chains: int = 4,
    leapfrogs: int = 10,
    first: float = 0.05,
    seed: int = 0,
) -> Tensor:
    """Return a step size for every temperature and example, float64 [T, N], from an annealing run of its own.

    After each temperature an example's step grows by 2 % where more than 65 % of its chains have been accepted (in a running mean) and
    shrinks by 2 % otherwise; at the first temperature that is repeated fifty times.

    Args:
        model: The model.
        x: Examples [N, ...].
        betas: Temperatures [T + 1].
        chains: Chains for each example.
        leapfrogs: Leapfrog steps of a transition.
        first: Step size to start from.
        seed: Seed of this run, other than the measured one's.
    """
    g = torch.Generator().manual_seed(seed)
    n = len(x)
    many = x.repeat(chains, *[1] * (x.ndim - 1))
    z = model.draw(len(many), g).to(x.device)
    step = torch.full((n,), first, dtype=torch.float64)
    rate = torch.full((n,), TARGET_ACCEPTANCE, dtype=torch.float64)
    out = []
    for t in range(1, len(betas)):
        for _ in range(50 if t == 1 else 1):
            z, _, accepted = _hmc(model, many, z, float(betas[t]), step.repeat(chains), leapfrogs, g)
            rate = 0.9 * rate + 0.1 * accepted.view(chains, n).double().mean(0).cpu()
            step = (step * torch.where(rate > TARGET_ACCEPTANCE, 1.02, 0.98)).clamp(1e-5, 10)
        out.append(step)
    return torch.stack(out)


def anneal(
    model: Decoder,
    x: Tensor,
    betas: Tensor,
    steps: Tensor,
    *,
    chains: int = 16,
    leapfrogs: int = 10,
    seed: int = 0,
    posterior: Tensor | None = None,
) -> tuple[Tensor, float]:
    """Return log weights, float64 [chains, N], and the share of accepted transitions.

    Args:
        model: The model.
        x: Examples [N, ...].
        betas: Temperatures [T + 1], from 0 to 1.
        steps: Step sizes [T, N], fixed before.
        chains: Chains for each example.
        leapfrogs: Leapfrog steps of a transition.
        seed: Seed of the draws.
        posterior: Exact posterior draws [N, L]: walk the path back from them. The weights are then estimates of 1 / p(x).

    Raises:
        UserError: Temperatures that do not rise from 0 to 1, step sizes of another shape, or a likelihood that is NaN.
    """
    rises = betas.ndim == 1 and len(betas) > 1 and bool((betas.diff() >= 0).all())
    if not rises or float(betas[0]) != 0 or float(betas[-1]) != 1:
        raise UserError("temperatures must rise from 0 to 1")
    if chains < 1 or leapfrogs < 1 or steps.shape != (len(betas) - 1, len(x)) or not bool((steps > 0).all()):
        raise UserError(
            f"at least one chain and one leapfrog step, and step sizes above 0 of shape {(len(betas) - 1, len(x))}, not "
            f"{chains}, {leapfrogs} and {tuple(steps.shape)}"
        )
    g = torch.Generator().manual_seed(seed)
    many = x.repeat(chains, *[1] * (x.ndim - 1))
    log_w = torch.zeros(len(many), dtype=torch.float64, device=x.device)
    accepted = 0.0
    order = range(1, len(betas))
    if posterior is None:
        z = model.draw(len(many), g).to(x.device)
        lik = _lik(model, many, z)
        for t in order:
            log_w += float(betas[t] - betas[t - 1]) * lik
            z, lik, took = _hmc(model, many, z, float(betas[t]), steps[t - 1].repeat(chains), leapfrogs, g)
            accepted += float(took.double().mean())
    else:
        z = posterior.to(x.device).repeat(chains, 1)
        for t in reversed(order):
            z, lik, took = _hmc(model, many, z, float(betas[t]), steps[t - 1].repeat(chains), leapfrogs, g)
            log_w -= float(betas[t] - betas[t - 1]) * lik
            accepted += float(took.double().mean())
    if bool(log_w.isnan().any()):
        raise UserError(
            f"{int(log_w.isnan().sum())} of {len(log_w)} weights are NaN: the model's likelihood is NaN at draws of its prior"
        )
    return log_w.view(chains, len(x)), accepted / len(order)


def log_mean_exp(log_w: Tensor) -> Tensor:
    """Return the log of the mean of exp over the first dimension, float64."""
    return log_w.double().logsumexp(0) - math.log(len(log_w))


def ais(
    model: Decoder,
    x: Tensor,
    *,
    steps: int = 1000,
    chains: int = 16,
    leapfrogs: int = 10,
    seed: int = 0,
    posterior: Tensor | None = None,
) -> dict[str, Any]:
    """Return the annealed estimate of log p(x) in nats, a stochastic lower bound.

    Cost: (steps · leapfrogs · (chains + 4)) gradients of the decoder for every example.

    Args:
        model: The model.
        x: Examples [N, ...].
        steps: Temperatures between prior and posterior, T; more make the bound tighter.
        chains: Chains for each example.
        leapfrogs: Leapfrog steps of a transition.
        seed: Seed; the tuning run takes seed + 1 and the backward run seed + 2.
        posterior: For data simulated from the model, the latents [N, L] that made them: the upper bound is then measured as well.

    Returns:
        `value` (mean over examples, nats) and its `se` over examples; `log_prob` [N]; `ess`, the mean effective number of chains;
        `acceptance`; with `posterior` also `upper`, `upper_log_prob` [N] and `gap` = upper − value, which bounds the error of both.
    """
    if not len(x):
        raise UserError("there are no examples to score")
    betas = sigmoid_schedule(steps)
    sizes = tune_steps(model, x, betas, leapfrogs=leapfrogs, seed=seed + 1)
    log_w, acceptance = anneal(model, x, betas, sizes, chains=chains, leapfrogs=leapfrogs, seed=seed)
    lower = log_mean_exp(log_w)
    found: dict[str, Any] = {
        "value": float(lower.mean()),
        "se": float(lower.std()) / math.sqrt(len(x)) if len(x) > 1 else math.nan,
        "log_prob": lower.cpu(),
        "ess": float((2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp().mean()),
        "acceptance": acceptance,
        "steps": steps, "chains": chains, "leapfrogs": leapfrogs, "n": len(x), "seed": seed,
    }  # fmt: skip
    if posterior is not None:
        back, _ = anneal(model, x, betas, sizes, chains=chains, leapfrogs=leapfrogs, seed=seed + 2, posterior=posterior)
        upper = -log_mean_exp(back)
        found |= {"upper": float(upper.mean()), "upper_log_prob": upper.cpu(), "gap": float((upper - lower).mean())}
    return found


def take(c: Comparison) -> list[Record]:
    """Return the annealed negative log-likelihood, and the gap of the two bounds where the truth is known: on simulated data."""
    system, test = c.asked_system, c.real_set
    assert isinstance(system, Joint)
    n = min(c.n_scored, EXAMPLES, len(test))
    x = to_float(Batches(test, n, c.seed).in_order(0), system.device)["image"]
    model = Decoder(
        log_prior=system.log_prior,
        log_lik=system.log_given,
        draw=lambda k, g: system.sample_prior(k, generator=g),
    )
    g = torch.Generator(system.device).manual_seed(c.seed)
    how: dict[str, Any] = {"steps": STEPS, "chains": CHAINS, "leapfrogs": LEAPFROGS, "seed": c.seed}
    was_training, asks = system.training, [p for p in system.parameters() if p.requires_grad]
    system.eval().requires_grad_(False)
    try:
        latents = system.sample_prior(n, generator=g)
        simulated = system.sample_given(latents, generator=g)
        start = time.time()
        real = ais(model, x, **how)
        middle = time.time()
        known = ais(model, simulated, posterior=latents, **how)
    finally:
        system.train(was_training)
        for p in asks:
            p.requires_grad_()
    told = f"{STEPS} temperatures, {CHAINS} chains, {LEAPFROGS} leapfrog steps each"
    same: dict[str, Any] = {"data": test.name, "split": test.split, "seed": c.seed, "n": n}
    more = {
        "steps": STEPS, "chains": CHAINS, "acceptance": real["acceptance"], "ess": real["ess"], "binarize": test.settings.binarize,
        "levels": int(system.hparams.get("levels", 256)), "likelihood": f"lower bound: annealed importance sampling, {told}",
    }  # fmt: skip
    return [
        Record(
            **MEASURE.says("NLL annealed"), value=-real["value"], se=real["se"], data_digest=content_digest(((x.cpu() + 1) * 127.5).round().byte()),
            protocol=f"annealed importance sampling, a lower bound of log p(x): {told}; {real['acceptance']:.2f} of the steps accepted; mean over "
            f"{n} examples of {test.name} {test.split}; ± is the standard error over examples; seed {c.seed}",
            seconds=round(middle - start, 1), more=more, **same,
        ),
        Record(
            **MEASURE.says("gap of annealing"), value=known["gap"],
            protocol=f"upper less lower bound of log p(x) on {n} images simulated from the model, whose latents are known (bidirectional Monte "
            f"Carlo): {told}; it bounds the error of annealing there; seed {c.seed}",
            seconds=round(time.time() - middle, 1), more=more, **same,
        ),
    ]  # fmt: skip
