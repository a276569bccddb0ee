"""GAN whose discriminator is helped by frozen recognition networks, added one by one where a linear probe says they help."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import LBFGS, Optimizer

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_penalty
from genzoo.nn import latent
from genzoo.nn.checks import check_sides
from genzoo.nn.gan.augment import Augmentation, augment
from genzoo.nn.gan.dcgan import Discriminator, Synthesis
from genzoo.nn.optimizers import adam_for
from genzoo.nn.pretrained.frozen import FrozenMaps, FrozenNetwork, MapDiscriminator
from genzoo.ranks.sums import everybody, ranks


def smoothed_loss(on_real: Tensor, on_fake: Tensor, target: float) -> Tensor:
    """Return the cross-entropy of logits with `target` for real images (one-sided smoothing) and 0 for generated ones."""
    real = target * F.softplus(-on_real) + (1 - target) * F.softplus(on_real)
    return real.mean() + F.softplus(on_fake).mean()


@torch.enable_grad()
def probe_accuracy(real: Tensor, fake: Tensor, decay: float = 1e-2) -> Tensor:
    """Return the held-out accuracy of a logistic regression that tells rows `real` from rows `fake`, a scalar in [0, 1].

    Fitted on the even rows by L-BFGS, standardized by them, with a squared penalty on the weights; scored on the odd rows.

    Args:
        real: Features [N, D], N at least 2.
        fake: As many.
        decay: Weight of the penalty.
    """
    x, y = (
        torch.stack([real, fake], 1).detach().double().cpu(),
        torch.tensor([1.0, 0.0], dtype=torch.float64),
    )  # [N, 2, D]
    fit, held = x[0::2], x[1::2]
    mean, std = fit.mean((0, 1)), fit.std((0, 1)).clamp(min=1e-6)
    fit, held = (fit - mean) / std, (held - mean) / std
    w = torch.zeros(x.shape[2], dtype=torch.float64, requires_grad=True)
    b = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = LBFGS([w, b], max_iter=100, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(fit @ w + b, y.expand(len(fit), 2)) + decay * w.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return ((held @ w + b > 0) == (y > 0.5)).double().mean().to(real.device)


class VisionAidedGAN(System):
    """Vision-aided GAN of Kumari, Zhang, Shechtman & Zhu (2022).

    Beside the ordinary discriminator, frozen networks F_k ("experts") with small trained heads C_k tell real from generated images:
    min_G max_{D, C_k} V(D, G) + λ Σ_k V(C_k(F_k(·)), G) (eq. 1). Which network helps is asked of the data: a linear probe on each F_k
    learns to tell real images from the current generator's, and the network with the highest accuracy, whose features see best what is still
    wrong, is added; then the next, progressively (sections 3.2 and 3.3). Logistic losses, one-sided smoothing of the
    heads' targets, differentiable augmentation for the heads.

    Deviations: nets are DCGAN's with R1 (the paper's: StyleGAN2's, whose R1 is lazy); a head is a spectrally normalized discriminator of each
    of an expert's maps, whose losses are averaged (the authors' code adds them, and tells G `real_target` as well); the times of addition
    are shares of the run and not counts of images.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024, 1 or 3 channels.
        experts: The bank of frozen networks to choose from. All but the lenets (bundled) and vgg16-random take a file from $GENZOO_WEIGHTS.
        added: How many of the bank are added, one after the other.
        start: Share of the run after which the first one is chosen.
        interval: Share of the run between one choice and the next.
        probe: Real and as many generated images that a choice is made on, taken from the steps before it.
        resolution: Images with a smaller side are enlarged to it before an expert; none: what each was trained on, 224 (lenets: 28).
        expert_weight: Weight of every expert's loss beside the ordinary discriminator's, lambda.
        real_target: What the heads are told of real images, in place of 1.
        d_width: Channels inside each head.
        latent: Dimensions of the latent z, normal(0, 1).
        width: Channels of both nets next to the image.
        kernel: Side of their filters.
        penalty_weight: Weight of R1 on the ordinary discriminator (gamma); 0 for none.
        augment: Differentiable augmentations of what experts see.
        d_augment: Differentiable augmentations of what the ordinary discriminator sees.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:2112.09130"
    data: ClassVar[str] = "image"
    tiny: ClassVar[dict] = {
        "shape": (1, 16, 16), "latent": 8, "width": 8, "experts": ("lenet-mnist", "lenet-fashion"), "d_width": 4, "probe": 8, "start": 0.0,
    }  # fmt: skip
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999}
    chosen: Tensor
    accuracies: Tensor
    F: Any  # a ModuleList of FrozenMaps
    C: Any  # for each of them a ModuleList of its heads

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        *,
        experts: tuple[FrozenNetwork, ...] = ("efficientnet-lite0", "vgg16", "alexnet"),
        added: Annotated[int, Field(ge=1, le=6)] = 2,
        start: Annotated[float, Field(ge=0, le=1)] = 0.1,
        interval: Annotated[float, Field(ge=0, le=1)] = 0.2,
        probe: Annotated[int, Field(ge=8, le=100_000)] = 512,
        resolution: Annotated[int, Field(ge=8, le=1024)] | None = None,
        expert_weight: Annotated[float, Field(ge=0, le=100)] = 1.0,
        real_target: Annotated[float, Field(gt=0.5, le=1)] = 0.8,
        d_width: Annotated[int, Field(ge=1, le=1024)] = 64,
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        kernel: Literal[4, 5] = 4,
        penalty_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        augment: tuple[Augmentation, ...] = ("color", "translation", "cutout"),
        d_augment: tuple[Augmentation, ...] = (),
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_sides(shape, "vision-aided-gan")
        if not 1 <= added <= len(set(experts)) or len(set(experts)) != len(experts):
            raise UserError(
                f"added={added} of experts={','.join(experts)} is not possible: give different experts, at least as many as are added"
            )
        if start + (added - 1) * interval > 1:
            raise UserError(
                f"start={start:g} and interval={interval:g} put the last of {added} choices after the end of the run: give smaller shares"
            )
        self.names, self.start, self.interval, self.probe = experts, start, interval, probe
        self.expert_weight, self.real_target, self.penalty_weight = expert_weight, real_target, penalty_weight
        self.latent_size, self.augment, self.d_augment = latent, augment, d_augment
        self.lr, self.betas = lr, (beta1, beta2)
        self.G = Synthesis(shape, latent, width, kernel)
        self.D = Discriminator(shape, width, kernel, "none", False)
        self.F = nn.ModuleList(FrozenMaps(name, resolution=resolution) for name in experts)
        self.C = nn.ModuleList()
        for expert in self.F:
            expert.check(shape, "vision-aided-gan")
            heads = zip(expert.channels, expert.halvings(shape), strict=True)
            self.C.append(nn.ModuleList(MapDiscriminator(c, d_width, n, batch_norm=False) for c, n in heads))
        self.register_buffer("chosen", torch.full((added,), -1))
        self.register_buffer("accuracies", torch.zeros(added, len(experts)))
        for k, expert in enumerate(self.F):  # what a resumed run needs and a sampled model does not
            self.register_buffer(f"seen_{k}", torch.zeros(2, probe, sum(expert.channels)), persistent=False)
        self.memories = tuple(f"seen_{k}" for k in range(len(experts)))

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam for the discriminator with all heads, and for the generator."""
        for expert in self.F:
            expert.load()  # missing weights are said before the first step
        return {"d": adam_for(self, self.D, self.C), "g": adam_for(self, self.G)}

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Choose an expert where it is time; one step of the discriminator and the heads, one of the generator on the same z."""
        real = batch["image"]
        fake = self.G(self._draw(len(real)))
        self._choose(real, fake.detach(), update)
        team = [k for k in self.chosen.tolist() if k >= 0]

        on_real, on_fake = self.D(augment(real, self.d_augment)), self.D(augment(fake.detach(), self.d_augment))
        d_loss = discriminator_loss("non-saturating", on_real, on_fake)
        logs = {"d_loss": d_loss, "d_real": on_real.mean(), "d_fake": on_fake.mean()}
        if self.penalty_weight:
            d_loss = d_loss + r1_penalty(self.D, real, gamma=self.penalty_weight)
        seen = {k: self.maps(k, fake) for k in team}  # with the graph back to G
        for k in team:
            scores = zip(self.judge(k, self.maps(k, real)), self.judge(k, [m.detach() for m in seen[k]]), strict=True)
            c_loss = torch.stack([smoothed_loss(r, f, self.real_target) for r, f in scores]).mean()
            logs[f"{self.names[k]}_loss"] = c_loss
            d_loss = d_loss + self.expert_weight * c_loss
        update("d", d_loss)

        g_loss = generator_loss("non-saturating", self.D(augment(fake, self.d_augment)))
        for k in team:
            losses = [generator_loss("non-saturating", f) for f in self.judge(k, seen[k])]
            g_loss = g_loss + self.expert_weight * torch.stack(losses).mean()
        update("g", g_loss)
        logs["g_loss"] = g_loss
        return {k: v.detach() for k, v in logs.items()}

    def maps(self, k: int, x: Tensor) -> list[Tensor]:
        """Return what the k-th expert sees of images [B, C, H, W] in [-1, 1], augmented anew: [B, channels, h, w], fine to coarse."""
        return self.F[k](augment(x, self.augment))

    def judge(self, k: int, maps: list[Tensor]) -> list[Tensor]:
        """Return what the heads of the k-th expert say of its maps, logits [B, 1, h, w] each."""
        return [c(m) for c, m in zip(self.C[k], maps, strict=True)]

    @torch.no_grad()
    def _choose(self, real: Tensor, fake: Tensor, update: Update) -> None:
        """Remember what the experts see in the steps before a choice; choose when the time has come."""
        per_step = min(len(real) * ranks(), self.probe)
        needed = math.ceil(self.probe / per_step)
        due = 0
        for turn in range(len(self.chosen)):
            # Not before the last one's images have all been seen.
            due = max(round((self.start + turn * self.interval) * update.steps), due + needed)
            left = due - update.step
            if left == 0:
                self._add(turn)
            if not 0 < left <= needed:
                continue
            team = self.chosen.tolist()
            place = slice((needed - left) * per_step, min((needed - left + 1) * per_step, self.probe))
            every = everybody(real), everybody(fake)
            for k, expert in enumerate(self.F):
                if k not in team:
                    n, seen = place.stop - place.start, getattr(self, f"seen_{k}")
                    seen[0, place], seen[1, place] = (expert.pooled(x[:n]) for x in every)

    def _add(self, turn: int) -> None:
        """Probe the experts that are left, and add the one that tells real from generated images best."""
        team = self.chosen.tolist()
        found = torch.full((len(self.F),), -1.0, device=self.device)
        for k in range(len(self.F)):
            if k not in team:
                found[k] = probe_accuracy(*getattr(self, f"seen_{k}")).float()
        self.accuracies[turn] = found
        self.chosen[turn] = self.accuracies[turn].argmax()

    _draw = latent.normal
    sample_prior = latent.sample_prior
    decode = latent.decode
    sample = latent.sample
