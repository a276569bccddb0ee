"""Large paired translation: coarse-to-fine generator, discriminators at several scales, feature matching, instances."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.perceptual import feature_distance
from genzoo.models.translation._coarse_to_fine import CoarseToFine, boundaries, halved, instance_means
from genzoo.nn.checks import check_direction, check_divisible, check_multiples
from genzoo.nn.gan.patchgan import PatchGAN, smallest_side
from genzoo.nn.gan.resnet_generator import ResnetGenerator
from genzoo.nn.optimizers import adam_for
from genzoo.nn.pretrained.perceptual import FeatureNet
from genzoo.nn.schedules import constant_then_linear
from genzoo.nn.upsampling import Upsample
from genzoo.ranks.sums import everybody

BANK = 512
"""Instances of each class whose features are remembered."""


class Pix2PixHD(System):
    """pix2pixHD of Wang, Liu, Zhu, Tao, Kautz & Catanzaro (2018): translation of large pairs, with several answers for one input.

    A global generator learns at half the size first (`coarse` of the run); then local enhancers double it and all learn
    together (section 3.2). PatchGANs judge the image at `scales` sizes, each half the one before. The generator minimizes equation 5, in
    the least-squares form: Σ_k (D_k - 1)² + matching · 4 mean_k,i |D_k,i(a, b) - D_k,i(a, G(a))|₁ over the maps of D's layers, and with
    `perceptual` 10 times the distance of a frozen network's maps, weighed 1/32, 1/16, 1/8, 1/4, 1.

    Where the last channel of side A numbers instances (`instances`), their boundaries are a channel of what G and D see (section 3.3).
    With `features` an encoder looks at side B, its outputs are averaged over each instance (over the image where there are none), and G
    sees the averages (section 3.4). After training they come from a bank of averages seen in training, kept for each class: variant 0
    takes their mean, in other variants every instance has one of them, by its class and number. The paper has K-means centres in their place.

    Adam as in the paper; the rate is constant for the first half of the run, then falls linearly to 0. Discriminators step
    after the generator, on the same translation. Coarse and fine training share their discriminators.

    Args:
        shape: Channels, height and width of side B; the sides are multiples of 2^(halvings + enhancers).
        inputs: Channels of side A, that of instances counted; as many as those of side B when not given.
        instances: Whether the last channel of side A numbers instances, 0 … 255.
        labels: Classes of a label map, whose numbers are the first channel of side A and become one channel each; 0 for pictures.
        width: Channels of the global generator's first layer; a multiple of 2^enhancers.
        halvings: How often the global generator halves its image.
        blocks: Residual blocks of the global generator.
        enhancers: Local enhancers, each doubling the size; 0 for the global generator alone.
        enhancer_blocks: Residual blocks of each.
        upsample: How maps are doubled: resize repeats pixels before a 3 x 3 convolution, transposed is the paper's.
        coarse: Share of the run in which the global generator learns alone, at the size that it works at later.
        d_width: Channels of the discriminators' first layer; none for the generator's width.
        layers: Strided convolutions of a discriminator.
        d_padding: Zeros around its maps; the authors' program has 2, the paper says nothing.
        scales: Sizes at which discriminators look.
        matching: Weight of feature matching; 0 for none.
        features: Channels of the instance features; 0 for no encoder and one answer.
        perceptual: Frozen network whose maps are compared; none: no such term.
        perceptual_weight: Its weight.
        lr: Learning rate.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1711.11585"
    data: ClassVar[str] = "paired"
    directions: ClassVar[tuple[str, ...]] = ("a2b",)
    presets: ClassVar[dict] = {
        "pix2pixhd-no-matching": {"matching": 0.0},
        "pix2pixhd-variants": {"features": 3},
        "pix2pixhd-small": {"width": 32, "halvings": 2, "blocks": 4, "layers": 2, "scales": 2},
        "pix2pixhd-paper": {"upsample": "transposed", "scales": 3},
    }
    tiny: ClassVar[dict] = {
        "shape": (3, 16, 16), "inputs": 1, "width": 8, "halvings": 1, "blocks": 1, "enhancer_blocks": 1, "layers": 1,
        "scales": 1, "features": 2, "coarse": 0.3,
    }  # fmt: skip
    defaults: ClassVar[dict] = {"steps": 200000, "batch": 1, "ema": 0.0}
    formerly: ClassVar[dict] = {"d_padding": 1, "upsample": "transposed"}
    memories: ClassVar[tuple[str, ...]] = ("bank", "filled")

    bank: Tensor
    filled: Tensor
    fine: Tensor
    D: Any  # a ModuleList of PatchGANs

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 512, 1024),
        inputs: Annotated[int, Field(ge=1)] | None = None,
        instances: bool = False,
        *,
        labels: Annotated[int, Field(ge=0, le=256)] = 0,
        width: Annotated[int, Field(ge=4, le=512)] = 64,
        halvings: Annotated[int, Field(ge=1, le=6)] = 4,
        blocks: Annotated[int, Field(ge=1, le=32)] = 9,
        enhancers: Annotated[int, Field(ge=0, le=3)] = 1,
        enhancer_blocks: Annotated[int, Field(ge=1, le=16)] = 3,
        upsample: Upsample = "resize",
        coarse: Annotated[float, Field(ge=0, lt=1)] = 0.4,
        d_width: Annotated[int, Field(ge=4, le=512)] | None = None,
        layers: Annotated[int, Field(ge=1, le=6)] = 3,
        d_padding: Annotated[int, Field(ge=1, le=2)] = 2,
        scales: Annotated[int, Field(ge=1, le=5)] = 2,
        matching: Annotated[float, Field(ge=0, le=1000)] = 10.0,
        features: Annotated[int, Field(ge=0, le=64)] = 0,
        perceptual: Literal["none", "vgg16", "vgg19", "vgg19-imagenet", "alexnet", "vgg16-random"] = "none",
        perceptual_weight: Annotated[float, Field(gt=0, le=1000)] = 10.0,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-4,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    ) -> None:
        super().__init__()
        c = shape[0]
        given = inputs or c
        self.multiple = 2 ** (halvings + enhancers)
        # The last discriminator looks at the smallest image, and in coarse training that is half as large for every enhancer.
        least = max(2 * self.multiple, smallest_side(layers) * 2 ** (scales - 1 + (enhancers if coarse else 0)))
        about = f"pix2pixhd with halvings={halvings}, enhancers={enhancers}, layers={layers} and scales={scales}"
        check_multiples(shape, self.multiple, least, about, ", or smaller numbers.")
        if width % 2**enhancers:
            raise UserError(
                f"width={width} is not allowed; give a multiple of {2**enhancers}, for it is halved for every enhancer"
            )
        if given - instances < 1 or (labels and given - instances != 1):
            raise UserError(
                f"inputs={given} is not possible with labels={labels} and instances={str(instances).lower()}"
            )
        self.inputs, self.instances, self.labels, self.features = given, instances, labels, features
        self.coarse, self.matching, self.perceptual_weight = coarse if enhancers else 0.0, matching, perceptual_weight
        self.lr, self.betas = lr, (beta1, beta2)
        seen = (labels or given - instances) + instances
        self.G = CoarseToFine(seen + features, c, width, halvings, blocks, enhancers, enhancer_blocks, upsample)
        self.E = ResnetGenerator(c, features, max(width // 4, 4), 1, min(halvings, 4), upsample) if features else None
        self.D = nn.ModuleList(PatchGAN(seen + c, d_width or width, layers, padding=d_padding) for _ in range(scales))
        self.vgg = FeatureNet(perceptual) if perceptual != "none" else None
        self.register_buffer("fine", torch.zeros((), dtype=torch.bool))
        self.register_buffer("bank", torch.zeros(max(labels, 1), BANK, features))
        self.register_buffer("filled", torch.zeros(max(labels, 1), dtype=torch.int64))
        self.settled: Tensor | None = None

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one Adam for generator and encoder, one for all discriminators."""
        if self.vgg is not None:
            self.vgg.load()
        return {"g": adam_for(self, self.G, self.E), "d": adam_for(self, self.D)}

    lr_scale = constant_then_linear

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of the generator, then one of the discriminators; at a smaller size while the global generator learns alone."""
        a, b = batch["a"], batch["b"]
        fine = update.progress >= self.coarse
        self.fine.fill_(fine)
        if not fine:
            small = tuple(n // 2 ** len(self.G.enhancers) for n in b.shape[2:])
            b, a = F.interpolate(b, small, mode="area"), self._smaller(a, small)
        seen, ids = self._seen(a)
        given = seen
        if self.E is not None:
            means = instance_means(self.E(b), ids)
            self._remember(means, ids, a)
            given = torch.cat([seen, means.to(seen.dtype)], 1)
        fake = self.G(given) if fine else self.G.coarse(given)

        real_maps = self._judge(seen, b)
        fake_maps = self._judge(seen, fake)
        # The authors leave the factor ½ of least squares to the discriminators.
        fool = torch.stack([2 * generator_loss("least-squares", maps[-1]) for maps in fake_maps]).sum()
        g_loss, logs = fool, {"fool": fool}
        if self.matching:
            logs["matching"] = torch.stack([_matching(r, f) for r, f in zip(real_maps, fake_maps, strict=True)]).mean()
            g_loss = g_loss + self.matching * logs["matching"]
        if self.vgg is not None:
            weights = [2.0**-k for k in (5, 4, 3, 2, 0)]
            with torch.no_grad():
                wanted = self.vgg(b)
            logs["perceptual"] = feature_distance(self.vgg(fake), wanted, weights, norm="l1").mean()
            g_loss = g_loss + self.perceptual_weight * logs["perceptual"]
        update("g", g_loss)

        # What D makes of real pairs is still what it was: only the generator has moved.
        scores = zip(real_maps, self._judge(seen, fake.detach()), strict=True)
        d_loss = torch.stack([discriminator_loss("least-squares", r[-1], f[-1]) for r, f in scores]).sum()
        update("d", d_loss)
        l1 = F.l1_loss(fake.detach(), b)
        return {k: v.detach() for k, v in {"g_loss": g_loss, "d_loss": d_loss, **logs, "l1": l1}.items()}

    def _smaller(self, a: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return side A at another size: pictures by areas, numbers of classes and instances by taking the nearest."""
        if self.labels:
            return F.interpolate(a, size, mode="nearest")
        small = F.interpolate(a, size, mode="area")
        return (
            torch.cat([small[:, :-1], F.interpolate(a[:, -1:], size, mode="nearest")], 1) if self.instances else small
        )

    def _seen(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return what G and D are shown of side A, [B, seen, H, W], and instances, int64 [B, 1, H, W] (0 everywhere without them)."""
        if a.shape[1] != self.inputs:
            raise UserError(f"images of {a.shape[1]} channels were given; this model takes {self.inputs} on side A")
        ids = _levels(a[:, -1:]) if self.instances else torch.zeros_like(a[:, :1], dtype=torch.int64)
        shown = a[:, : self.inputs - self.instances]
        if self.labels:
            classes = _levels(shown[:, 0])
            if not torch.compiler.is_exporting() and (most := int(classes.max())) >= self.labels:
                raise UserError(
                    f"the label maps hold class {most}; with labels={self.labels} there are 0 to {self.labels - 1}"
                )
            shown = F.one_hot(classes, self.labels).permute(0, 3, 1, 2).to(a.dtype)
        return (torch.cat([shown, boundaries(ids).to(a.dtype)], 1) if self.instances else shown), ids

    def _judge(self, seen: Tensor, image: Tensor) -> list[list[Tensor]]:
        """Return the maps of every discriminator's layers, its logits last."""
        pair, found = torch.cat([seen, image.to(seen.dtype)], 1), []
        for d in self.D:
            found.append(d.features(pair))
            pair = halved(pair)
        return found

    # ---- several answers ---------------------------------------------------------------------------------------------------------

    def _classes(self, a: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return of every instance of a batch its example, its number, its class, int64 [n] each."""
        classes = _levels(a[:, :1]) if self.labels else torch.zeros_like(ids)
        examples = torch.arange(ids.shape[0], device=ids.device).view(-1, 1, 1, 1).expand_as(ids)
        # An instance has one class; were it to have two, each of its parts would count.
        found = torch.stack([examples.flatten(), ids.flatten(), classes.flatten()], 1).unique(dim=0)
        return found[:, 0], found[:, 1], found[:, 2]

    @torch.no_grad()
    def _remember(self, means: Tensor, ids: Tensor, a: Tensor) -> None:
        """Put the features of every instance into the bank of its class, over the oldest."""
        means, ids, a = everybody(means), everybody(ids), everybody(a)
        for example, number, kind in zip(*self._classes(a, ids), strict=True):
            where = int((ids[example, 0] == number).flatten().int().argmax())
            slot = self.filled[kind] % BANK
            self.bank[kind, slot] = means[example].flatten(1)[:, where].float()
            self.filled[kind] += 1

    def _drawn(self, a: Tensor, ids: Tensor, variant: int) -> Tensor:
        """Return the features for the instances of images without a side B, [B, features, H, W].

        An instance's are a function of the variant, its class and its number alone, so that it has the same ones in every tile.
        """
        if self.labels and self.instances:
            classes = _levels(a[:, :1])
        else:  # the image is one instance, whose features every class in it has
            classes = torch.zeros_like(ids) + self.filled.argmax()
        if not variant:
            means = self.settled if self.settled is not None else self._means()
            return means[classes[:, 0]].permute(0, 3, 1, 2)
        out = torch.zeros(a.shape[0], self.features, *a.shape[2:], device=a.device)
        for kind, number in torch.stack([classes.flatten(), ids.flatten()], 1).unique(dim=0).tolist():
            if count := min(int(self.filled[kind]), BANK):
                value = self.bank[kind, place_of(variant, kind, number, count)]
                out += ((classes == kind) & (ids == number)) * value[:, None, None]
        return out

    def _means(self) -> Tensor:
        """Return the mean features of every class, [classes, features]; 0 of a class that was never seen."""
        counts = self.filled.clamp(max=BANK).tolist()
        return torch.stack(
            [known[:n].mean(0) if n else known[0] * 0 for known, n in zip(self.bank, counts, strict=True)]
        )

    def settle(self) -> None:
        """Keep the mean features: there will be no others."""
        self.settled = self._means()

    @torch.no_grad()
    def translate(self, x: Tensor, *, direction: str = "a2b", variant: Annotated[int, Field(ge=0)] = 0) -> Tensor:
        """Return the translation of `x` [B, inputs, H, W] in [-1, 1], of the same height and width (multiples of 2^(halvings + enhancers)).

        Args:
            x: Images of side A.
            direction: a2b.
            variant: Which answer, where the system was built with `features`: 0 is the mean one.

        Raises:
            UserError: The direction, the size or the variant is not possible.
        """
        check_direction(direction, self.directions)
        check_divisible(x, self.multiple)
        if variant and not self.features:
            raise UserError("variant: this model has one answer for every input; train it with features=3 for several")
        seen, ids = self._seen(x)
        if self.features:
            seen = torch.cat([seen, self._drawn(x, ids, variant).to(seen.dtype)], 1)
        if self.fine or not len(self.G.enhancers):
            return self.G(seen).contiguous()
        # Stopped while the global generator learnt alone: its image, enlarged.
        factor = 2 ** len(self.G.enhancers)
        coarse = self.G.coarse(F.avg_pool2d(seen, factor))
        return F.interpolate(coarse, x.shape[2:], mode="bilinear", align_corners=False).clamp(-1, 1)


def place_of(variant: int, kind: int, number: int, count: int) -> int:
    """Return which of `count` remembered features an instance has in a variant: drawn by a hash, on every device alike.

    >>> [place_of(variant, 3, 7, 512) for variant in (1, 1, 2)]
    [127, 127, 159]
    """
    digest = hashlib.blake2b(f"{variant} {kind} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count


def _levels(x: Tensor) -> Tensor:
    """Return the values in [-1, 1] as the whole numbers 0 … 255 that they were stored as."""
    return ((x.float() + 1) * 127.5).round().long()


def _matching(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Return 4 times the mean over layers of the mean absolute difference of D's maps; D is not taught by it (its logits are left out).

    It is the sum over the four maps of a discriminator of three layers, and as much with any other number, as in the authors' program.
    """
    terms = [F.l1_loss(f.float(), r.detach().float()) for r, f in zip(real[:-1], fake[:-1], strict=True)]
    return torch.stack(terms).sum() * (4 / len(terms))
