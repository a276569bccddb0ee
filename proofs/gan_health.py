"""Proofs of what goes wrong in the game and what helps: the ring of modes under every remedy, and runs that fail on purpose."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import torch

import genzoo
from genzoo.core.files import write_atomic
from genzoo.metrics.modes import RING_SIGMA, mode_counts, ring_modes, sample_mixture
from genzoo.metrics.stopping import advice
from genzoo.runs.folder import newest_state
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater
from genzoo.use.pages.figures import new_figure, save_figure
from proofs.adversarial import CLASSIC
from proofs.proof import Proof, proof

REMEDIES: dict[str, dict[str, Any]] = {
    "minimax, no remedy": {},
    "non-saturating": {"objective": "non-saturating"},
    "instance noise 0.3": {"instance_noise": 0.3},
    "spectral norm": {"spectral_norm": True},
    "R1, gamma 1": {"penalty": "r1", "penalty_weight": 1.0},
    "WGAN-GP's penalty": {"penalty": "wgan-gp", "penalty_weight": 1.0},
    "k = 5": {"critic_steps": 5},
}
RING_STEPS, LOOKS, RING_SEEDS = 1_000, 20, 2
HARD: dict[str, Any] = {"objective": "minimax", "lr": 2e-3, "beta1": 0.9}
"""Momentum and a rate twice that of gan-points: the game that circles. At 1e-3 and 0.5 the same nets hold all eight modes without any remedy."""
NEAR = 0.1
"""A sample within this distance of a mode belongs to it: ten standard deviations of the mode, an eighth of the way to the next."""


def on_the_ring(keys: dict[str, Any], seed: int) -> tuple[list[int], list[float], list[int], torch.Tensor]:
    """Train the dense GAN of points on the ring; modes covered, share of samples near one, and the most visited mode at every look."""
    torch.manual_seed(seed)
    system = genzoo.create("gan-points", shape=(2,), **{**HARD, **keys})
    update, generator = Updater(system, Runtime(torch.device("cpu"), "fp32")), torch.Generator().manual_seed(seed)
    steps = RING_STEPS * keys.get("critic_steps", 1)
    modes, near, most, points = [], [], [], torch.zeros(0, 2)
    for step in range(steps):
        real = sample_mixture(ring_modes(), RING_SIGMA, 128, generator=generator)
        update.begin(step, steps)
        system.train().training_step({"points": real}, update)
        update.end()
        if (step + 1) % (steps // LOOKS) == 0:
            points = system.eval().sample(2_500, generator=torch.Generator().manual_seed(1))
            distance, which = torch.cdist(points.double(), ring_modes()).min(1)
            visited = torch.bincount(which[distance <= NEAR], minlength=8)
            modes.append(int((visited >= 25).sum()))
            near.append(float((distance <= NEAR).double().mean()))
            most.append(int(visited.argmax()))
    return modes, near, most, points


def kept(
    p: Proof, name: str, keys: dict[str, Any], seed: int
) -> tuple[list[int], list[float], list[int], torch.Tensor]:
    """What `on_the_ring` found, kept in the proof's work folder, so that a proof that was stopped goes on (--resume)."""
    path = Path(p.work) / f"{name}.json"
    if not path.exists():
        modes, near, most, points = on_the_ring(keys, seed)
        write_atomic(path, json.dumps([modes, near, most, points.tolist()]).encode())
        print(f"[{p.entry.name}] {keys}, seed {seed}: modes {modes}", flush=True)
    modes, near, most, points = json.loads(path.read_text(encoding="utf-8"))
    return modes, near, most, torch.tensor(points)


@proof("gan-ring", system="gan-points", family="adversarial", minutes=6)
def ring(p: Proof) -> None:
    """Collapse and oscillation on the ring of eight modes, and what k steps, instance noise, spectral norm and penalties change."""
    figure, axes = new_figure(len(REMEDIES), 2)
    figure.set_size_inches(2.3 * len(REMEDIES), 5)
    steps = [RING_STEPS * (i + 1) // LOOKS for i in range(LOOKS)]
    protocol = (
        f"dense GAN of points, minimax loss, Adam at 2e-3 with momentum 0.9, {RING_STEPS:,} generator steps of 128, means of {RING_SEEDS} seeds; "
        f"2,500 samples at each of {LOOKS} looks; a mode is covered by 1 % of the samples within {NEAR} of it"
    )
    for column, (label, keys) in enumerate(REMEDIES.items()):
        runs = [kept(p, f"{label.replace(' ', '-')}-{seed}", keys, seed) for seed in range(RING_SEEDS)]
        top, bottom = axes[0][column], axes[1][column]
        for modes, _, _, _ in runs:
            top.plot(steps, modes)
        points = runs[0][3]
        top.set(title=label, ylim=(-0.3, 8.3), xlabel="generator step")
        bottom.plot(points[:, 0], points[:, 1], ".", markersize=1)
        bottom.plot(*ring_modes().T, "k+", markersize=6)
        bottom.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
        last = [sum(modes[-5:]) / 5 for modes, _, _, _ in runs]
        switches = [sum(a != b for a, b in itertools.pairwise(most[LOOKS // 2 :])) for _, _, most, _ in runs]
        fine = [mode_counts(points, ring_modes(), RING_SIGMA)["high_quality"] for _, _, _, points in runs]
        p.measure(
            f"modes, {label}", sum(last) / RING_SEEDS, unit="of 8", n=2_500, better="higher",
            protocol=f"{protocol}; mean of the last five looks",
            baseline={
                "near a mode at the end, %": 100 * sum(near[-1] for _, near, _, _ in runs) / RING_SEEDS,
                "within 3 sigma, %": 100 * sum(fine) / RING_SEEDS,
                f"changes of the most visited mode in {LOOKS // 2 - 1} looks": sum(switches) / RING_SEEDS,
                "fewest modes at a late look": min(min(modes[LOOKS // 2 :]) for modes, _, _, _ in runs),
            },
        )  # fmt: skip
    axes[0][0].set_ylabel("modes covered, by seed")
    axes[1][0].set_ylabel("samples at the end, seed 0")
    p.picture(
        "ring",
        save_figure(figure, Path(p.work) / "ring.png"),
        "Modes covered over time (a line for each seed), and samples at the end",
    )


SOUND: dict[str, Any] = {
    "d_norm": "none",
    "penalty": "r1",
    "penalty_weight": 1.0,
    "lr": 2e-3,
    "beta1": 0.0,
    "beta2": 0.99,
}
FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "a sound run": (SOUND, ""),
    "D ten times too strong": (
        CLASSIC | {"d_norm": "none", "d_lr": 2e-3, "critic_steps": 10},
        "The discriminator wins",
    ),
    "learning rate ten times too high": ({**SOUND, "lr": 2e-2}, "Collapse|Oscillation|worse"),
    "ten images": ({**SOUND, "limit": 10, "steps": 1_200}, "Memorization"),
}
HEALTH_STEPS, EVERY = 800, 100
ALARMS = ("has become worse", "Collapse", "Samples are nearly", "Oscillation", "Memorization", "The discriminator wins")


def words(run: Any) -> list[str]:
    """Every warning of a run, with the first step at which it was given: what `advice` said at each of its measurements."""
    _, _, meta = newest_state(run)
    history, first = meta["measured"], {}
    for k, now in enumerate(history):
        log = [line for line in run.log() if line["step"] <= now["step"]]
        for sentence in advice(history[: k + 1], log):
            kind = next((a for a in ALARMS if a in sentence), None)
            if kind:
                first.setdefault(kind, f"[step {now['step']}] {sentence}")
    return list(first.values())


@proof("gan-health", system="dcgan", family="adversarial", minutes=6)
def health(p: Proof) -> None:
    """Runs made to fail on purpose are told apart in words: what each failure's log and measurements say, and that a sound run is left in peace."""
    for label, (keys, expected) in FAILURES.items():
        run = p.train(
            "dcgan", "mnist", name=label.replace(" ", "-"), width=16, latent=24, batch=32, ema=0.0, seed=0, precision="bf16",
            measure="frechet,prdc,memorization", measure_every=EVERY, measure_n=500, log_every=10,
            **{"limit": 2_000, "steps": HEALTH_STEPS, **keys},
        )  # fmt: skip
        said = words(run)
        told = any(word in s for s in said for word in expected.split("|")) if expected else not said
        last = [line for line in run.log() if "variety" in line][-1]
        p.measure(
            f"told as it should be, {label}", float(told), better="higher", goal=1.0,
            protocol=f"1 where one of the warnings, at a measurement every {EVERY} steps, has '{expected}'" if expected
            else f"1 where there is no warning at any measurement, every {EVERY} steps",
            baseline={k: last[k] for k in ("FLD", "recall", "variety", "AuthPct") if k in last},
        )  # fmt: skip
        p.note(
            f"{label} ({run.log()[-1]['step']} steps), in its own words: "
            + (" ".join(said) or "nothing that is an alarm.")
        )
        p.picture(label.replace(" ", "-"), genzoo.sample(run, n=40, seed=0), f"{label}: samples, seed 0")
