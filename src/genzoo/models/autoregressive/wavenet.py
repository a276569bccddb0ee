"""Predicts each sample of a sound from those before it, through dilated convolutions that see thousands of them.

WaveNet (van den Oord et al. 2016): p(x) = Π_t p(x_t | x_1, ..., x_{t-1}), each factor a categorical distribution over
mu-law codes, or a mixture of discretized logistics over 16-bit amplitudes. Doubling the dilation from layer to layer
doubles the view. Training sees all times at once; drawing keeps each layer's last inputs and computes one time only.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.losses.likelihoods import draw_coupled, log_mean_exp, logistic_mixture, per_example, pick
from genzoo.models.autoregressive._causal import CausalConv1d, Tape
from genzoo.models.autoregressive._mu_law import decode, encode
from genzoo.nn import draws
from genzoo.nn.checks import check_known, check_label, check_temperature
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine

PCM = 65536
"""Levels of a 16-bit sample."""
LEAST_LOG_SCALE = -12.0
"""Narrower logistics than half a step of 16 bits change no probability, but would let gradients grow without bound."""


class Layer(nn.Module):
    """A gated dilated convolution with a residual and a skip output (figure 4).

    z = tanh(W_f * x + V_f h) ⊙ σ(W_g * x + V_g h), equation 2, and equation 3 where there is a label h.

    Args:
        width: Features between layers.
        skip: Features to the output.
        kernel: Taps.
        dilation: Times between taps.
        labels: Number of classes; 0 for none.
    """

    def __init__(self, width: int, skip: int, kernel: int, dilation: int, labels: int) -> None:
        super().__init__()
        self.width, self.skip = width, skip
        self.look = CausalConv1d(width, 2 * width, kernel, dilation)
        self.out = CausalConv1d(width, width + skip)
        self.label = nn.Embedding(labels, 2 * width) if labels else None
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.05)

    def forward(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map [B, T, width] to the next layer's input and to the skip output, [B, T, skip]."""
        h = self.look(x)
        if self.label is not None:
            h = h + self.label(label).to(h.dtype)[:, None]
        # σ(2b) = (1 + tanh b) / 2: one tanh over both halves, with the factor 2 left to the weights; a CPU has no fast one
        # in half precision
        a, b = torch.tanh(h if h.dtype == torch.float64 else h.float()).chunk(2, -1)
        residual, skip = self.out(a * (0.5 + 0.5 * b)).split((self.width, self.skip), -1)
        return x + residual, skip


class Network(nn.Module):
    """Input embedding, stacks of layers, and two 1x1 layers over the sum of the skip outputs (figure 4).

    Args:
        codes: Codes that the input is one of; 0 for an amplitude.
        outputs: Numbers that describe the next sample's distribution.
        width: Features between layers.
        skip: Features of the skip outputs.
        layers: Layers in a stack: dilations 1, 2, 4, ...
        stacks: Stacks.
        kernel: Taps of each layer.
        labels: Number of classes; 0 for none.
    """

    layers: Any  # a ModuleList of Layers

    def __init__(
        self, codes: int, outputs: int, width: int, skip: int, layers: int, stacks: int, kernel: int, labels: int
    ) -> None:
        super().__init__()
        self.codes = codes
        self.embed: nn.Module = nn.Embedding(codes, width) if codes else CausalConv1d(1, width)
        self.layers = nn.ModuleList(
            Layer(width, skip, kernel, 2**k, labels) for _ in range(stacks) for k in range(layers)
        )
        self.head = CausalConv1d(skip, skip)
        self.out = CausalConv1d(skip, outputs)
        with torch.no_grad():
            self.out.weight.mul_(0.1)

    @property
    def view(self) -> int:
        """Return how many samples before its own an output sees."""
        return 1 + sum(layer.look.reach for layer in self.layers)

    def start(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return the features [..., width] of codes [...] or amplitudes [...]; in `dtype`, where it is given."""
        if self.codes:
            return self.embed(x) if dtype is None else self.embed(x).to(dtype)
        return self.embed(x.unsqueeze(-1).to(dtype or x.dtype))

    def forward(self, x: Tensor, label: Tensor | None = None, *, dtype: torch.dtype | None = None) -> Tensor:
        """Map codes or amplitudes [B, T] to outputs [B, T, outputs]; each knows only the times before its own."""
        # the features of time t - 1 stand at time t; before the first sample there is nothing
        return self.step(F.pad(self.start(x, dtype)[:, :-1], (0, 0, 1, 0)), label)

    def step(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Map features of the sample before, [B, T, width], to outputs."""
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for layer in self.layers:
            x, skip = layer(x, label)
            total = total + skip
        return self.out(torch.relu(self.head(torch.relu(total))))


class Walk:
    """A pass over a sound sample by sample that computes only what each sample adds, in as few operations as there can be.

    A layer is four: its newest tap, tanh, the gate, the way to the next. What the older taps add is one product for all layers, and so is the sum
    of the skip outputs. Biases of the ways and halves of the gates are left to the weights after them: sums in another order, apart by rounding.

    Args:
        net: The network; its weights must not change meanwhile.
        label: The class of each sound, [B], or None.
        batch: Sounds.
        times: Samples of each.
        dtype: Precision.
    """

    def __init__(self, net: Network, label: Tensor | None, batch: int, times: int, dtype: torch.dtype) -> None:
        self.net, self.dtype = net, dtype
        layers, width, skip = list(net.layers), net.layers[0].width, net.layers[0].skip
        own = [(layer.look.weight.to(dtype), layer.out.weight[0].to(dtype)) for layer in layers]
        biases = torch.stack([layer.out.bias.to(dtype) for layer in layers])
        # what the biases of the ways before have added to a layer's input, which is kept without it
        added = F.pad(biases[:-1, :width].cumsum(0), (0, 0, 1, 0))
        shift = torch.stack([layer.look.bias.to(dtype) for layer in layers])[:, None]
        shift = shift + torch.stack([a @ look.sum(0) for a, (look, _) in zip(added, own, strict=True)])[:, None]
        if label is not None:
            shift = shift + torch.stack([layer.label(label).to(dtype) for layer in layers])
        self.tape = Tape([layer.look for layer in layers], shift, -added, batch, times)
        like = added.new_zeros(0)
        self.x, gates = like.new_zeros(len(layers), batch, width), like.new_zeros(batch, 2 * width)
        self.gated = like.new_zeros(batch, len(layers) * width)
        self.skip = (0.5 * torch.cat([out[:, width:] for _, out in own])).contiguous(), biases[:, width:].sum(0)
        self.ends = [(conv.weight[0].to(dtype), conv.bias.to(dtype)) for conv in (net.head, net.out)]
        self.hidden = like.new_zeros(batch, skip)
        parts = self.gated.split(width, 1)
        self.layers = [
            (add, x, look[-1].contiguous(), gates, *gates.chunk(2, 1), part, (0.5 * way[:, :width]), after)
            for add, x, (look, way), part, after in zip(
                self.tape.adds, self.x, own, parts, [*self.x[1:], self.hidden.new_empty(batch, width)], strict=True
            )
        ]
        codes = torch.arange(net.codes, device=added.device)
        self.table = net.start(codes, dtype) if net.codes else None
        self.first = self.x[0]

    def at(self, time: int, read: Tensor | None) -> Tensor:
        """Return the outputs of this time, [B, outputs], given what the network reads of the sample before (None: there is none)."""
        if read is None:
            self.first.zero_()
        elif self.table is not None:
            torch.index_select(self.table, 0, read, out=self.first)
        else:
            self.first.copy_(self.net.start(read, self.dtype))
        self.tape.before(time)
        for add, x, look, gates, a, b, gated, way, after in self.layers:
            torch.addmm(add, x, look, out=gates)
            gates.tanh_()
            torch.addcmul(a, a, b, out=gated)
            torch.addmm(x, gated, way, out=after)
        self.tape.keep(time, self.x)
        (head, head_bias), (out, out_bias) = self.ends
        torch.addmm(self.skip[1], self.gated, self.skip[0], out=self.hidden).relu_()
        return torch.addmm(out_bias, torch.addmm(head_bias, self.hidden, head).relu_(), out)


class WaveNet(System):
    """An exact likelihood of digital sound, as a product of one distribution per sample.

    Trained by maximum likelihood: the loss is nats per window, the mean over the batch. With `output="mu-law"` it is the
    likelihood of the mu-law codes of the sound (256 of them: 8 bits); with `output="mixture"` that of its 16-bit samples.
    The two are likelihoods of different things and must not be compared.

    With `conditional=true` every layer also sees the class (the speaker: the name of the subfolder). `log_prob` is then
    that of the mixture over all classes in equal shares.

    Args:
        shape: 1 and the number of samples in a window, T.
        classes: Number of classes (speakers).
        rate: Samples per second.
        output: What is predicted: a probability for each mu-law code, or a mixture of logistics over 16-bit amplitudes.
        levels: Mu-law codes.
        mixtures: Logistics in the mixture.
        width: Features between layers.
        skip: Features of the skip outputs.
        layers: Layers in a stack, with dilations 1, 2, 4, ...
        stacks: Stacks, one after another.
        kernel: Taps of each dilated convolution.
        conditional: See the class of a sound.
        lr: Learning rate of Adam, at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:1609.03499"
    data: ClassVar[str] = "audio"
    likelihood: str = "exact, of the coded samples"
    prediction: str
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "wavenet-mixture": {"output": "mixture"},
        "wavenet-paper": {"width": 256, "skip": 256, "layers": 10, "stacks": 3, "lr": 1e-3},
    }
    tiny: ClassVar[dict[str, Any]] = {
        "shape": (1, 48), "rate": 8000, "width": 6, "skip": 6, "layers": 3, "stacks": 1, "levels": 16, "mixtures": 2,
    }  # fmt: skip
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 8, "ema": 0.999, "clip": 10.0}
    labels: int

    def __init__(
        self,
        shape: tuple[int, int] = (1, 8000),
        *,
        classes: Annotated[int, Field(ge=0)] = 0,
        rate: Annotated[int, Field(ge=1, le=768000)] = 8000,
        output: Literal["mu-law", "mixture"] = "mu-law",
        levels: Annotated[int, Field(ge=2, le=65536)] = 256,
        mixtures: Annotated[int, Field(ge=1, le=100)] = 10,
        width: Annotated[int, Field(ge=1, le=1024)] = 32,
        skip: Annotated[int, Field(ge=1, le=4096)] = 64,
        layers: Annotated[int, Field(ge=1, le=20)] = 9,
        stacks: Annotated[int, Field(ge=1, le=16)] = 2,
        kernel: Annotated[int, Field(ge=2, le=8)] = 2,
        conditional: bool = False,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-3,
    ) -> None:
        super().__init__()
        if shape[0] != 1 or shape[1] < 2:
            raise UserError(f"shape={shape} is not allowed; give 1 (mono) and the samples of a window, at least 2")
        if conditional and classes < 2:
            raise UserError(
                "conditional=true needs classes: put the files of each speaker into a subfolder of its name (two or more)"
            )
        self.shape, self.levels, self.output, self.lr = tuple(shape), levels, output, lr
        self.labels = classes if conditional else 0
        if output == "mu-law":
            self.likelihood = f"exact, of {levels}-level mu-law codes"
            self.prediction = f"log-probabilities of the {levels} mu-law codes, [B, T, {levels}], sample by sample"
        else:
            self.likelihood = "exact, of 16-bit samples"
            self.prediction = (
                f"mixtures of {mixtures} logistics, [B, T, 3, {mixtures}]: logits, means, log-scales, sample by sample"
            )
        codes, outputs = (levels, levels) if output == "mu-law" else (0, 3 * mixtures)
        self.net = Network(codes, outputs, width, skip, layers, stacks, kernel, classes if conditional else 0)

    optimizers = one_adam
    lr_scale = half_cosine

    # ---- the density -----------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Logs:
        """Return nats per window and, as a log, bits per sample."""
        nats = -self._log_mass(batch["audio"], batch["label"] if self.labels else None).mean()
        return {"loss": nats, "bits_per_sample": nats.detach() / (self.shape[1] * math.log(2))}

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, *, generator: Generator | None = None, label: Annotated[int, Field(ge=0)] | None = None
    ) -> Tensor:
        """Return log p(x) in nats, exact, [B], of windows [B, 1, T] in [-1, 1]; `generator` is not used.

        A conditional model without `label` gives the log of the mean of p(x | label) over all labels.
        """
        check_label(label, self.labels)
        if not self.labels:
            return self._log_mass(x, None)
        chosen = range(self.labels) if label is None else [label]
        each = [self._log_mass(x, torch.full((x.shape[0],), k, device=x.device)) for k in chosen]
        return log_mean_exp(torch.stack(each), 0)

    @torch.no_grad()
    def predict(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Return how every sample is distributed given those before it, float32 [B, T, ...] (see `prediction`), in one pass.

        Args:
            x: Windows [B, 1, T] in [-1, 1].
            label: The class of each, int64 [B], for a conditional model.
        """
        self._refuse_other_shapes(x)
        out = self.net(self._read(x[:, 0])[0], label).float()
        return out.log_softmax(-1) if self.output == "mu-law" else torch.stack(self._mixture(out), -2)

    def _log_mass(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Return nats per window, [B]."""
        self._refuse_other_shapes(x)
        read, target = self._read(x[:, 0])
        out = self.net(read, label)
        out = out if out.dtype == torch.float64 else out.float()
        if self.output == "mu-law":
            return per_example(out.log_softmax(-1).gather(-1, target.unsqueeze(-1)))
        return per_example(logistic_mixture(target, *self._mixture(out), PCM))

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network reads and what it is scored on, each [B, T]: codes, or amplitudes on the grid of 16 bits."""
        if self.output == "mu-law":
            codes = encode(x, self.levels)
            return codes, codes
        whole = (x.double() * 32768).round().clamp(-32768, 32767)
        return (whole / 32768).to(self.net.out.bias.dtype), ((whole + 32768) * (2 / (PCM - 1)) - 1).float()

    def _mixture(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits, means and log-scales, each [..., K], of outputs [..., 3K]."""
        logits, mean, log_scale = out.chunk(3, -1)
        # an untrained mixture is about as wide as speech is loud
        return logits, mean, (log_scale - 4).clamp(min=LEAST_LOG_SCALE)

    def _refuse_other_shapes(self, x: Tensor) -> None:
        if x.ndim != 3 or tuple(x.shape[1:]) != self.shape:
            raise UserError(f"sounds of shape {tuple(x.shape)} were given; this model takes [B, 1, {self.shape[1]}]")

    # ---- drawing ---------------------------------------------------------------------------------------------

    def sample(
        self,
        n: int,
        *,
        generator: Generator,
        temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
        label: Annotated[int, Field(ge=0)] | None = None,
        cached: bool = True,
    ) -> Tensor:
        """Draw `n` windows sample by sample, float32 [n, 1, T] in [-1, 1].

        Args:
            n: Number of windows.
            generator: All the randomness: uniform numbers by their place, whatever `cached` is.
            temperature: Divides the logits and multiplies the scales of a mixture; below 1 likelier samples.
            label: Class of all windows; drawn for each window when not given (conditional models only).
            cached: Compute only what each sample adds; false: a whole pass per sample (equal, and slow).
        """
        x = torch.zeros(n, *self.shape, device=self.device)
        return self._draw(x, torch.zeros_like(x, dtype=torch.bool), generator, temperature, label, cached)

    def complete(
        self,
        x: Tensor,
        known: Tensor,
        *,
        generator: Generator,
        temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
        label: Annotated[int, Field(ge=0)] | None = None,
        cached: bool = True,
    ) -> Tensor:
        """Draw the samples where `known` is False, each given all before it; known ones stay.

        A drawn sample does not look ahead: what follows the known part follows the model's conditional exactly.

        Args:
            x: Windows [B, 1, T] in [-1, 1]; what stands at unknown times is not read.
            known: Which samples to keep, bool [B, 1, T].
            generator: All the randomness.
            temperature: As in `sample`.
            label: As in `sample`.
            cached: As in `sample`.
        """
        self._refuse_other_shapes(x)
        check_known(known, x)
        x, known = x.to(self.device), known.to(self.device)
        drawn = self._draw(torch.where(known, x.float(), 0), known, generator, temperature, label, cached)
        return torch.where(known, x.float(), drawn)

    @torch.no_grad()
    def _draw(
        self, x: Tensor, known: Tensor, generator: Generator, temperature: float, label: int | None, cached: bool
    ) -> Tensor:
        check_temperature(temperature)
        n, times = x.shape[0], self.shape[1]
        check_label(label, self.labels)
        uniform = draws.rand(n, times, 2, generator=generator, device=self.device)
        labels = None
        if self.labels:
            drawn = draws.randint(self.labels, n, generator=generator, device=self.device)
            labels = drawn if label is None else torch.full_like(drawn, label)
        # float32 would now and then put a sample on the other side of a rounding, as the batch and the cache go
        precise = torch.float32 if self.device.type == "mps" else torch.float64
        x, known, uniform = x[:, 0], known[:, 0], uniform.to(precise)
        read, keep = self._read(x)[0], known.any(0).tolist()
        with torch.autocast(self.device.type, enabled=False), torch.inference_mode():
            walk = Walk(self.net, labels, n, times, precise) if cached else None
            for t in range(times):
                if walk is not None:
                    out = walk.at(t, read[:, t - 1] if t else None)
                else:
                    out = self.net(read, labels, dtype=precise)[:, t]
                drawn = self._choose(out, uniform[:, t], temperature)
                read[:, t] = torch.where(known[:, t], read[:, t], drawn) if keep[t] else drawn
        drawn = decode(read, self.levels) if self.output == "mu-law" else read.float()
        return torch.where(known, x, drawn)[:, None]

    def _choose(self, out: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Return what the network reads of the sample, [B], that uniform numbers [B, 2] choose: a code, or an amplitude."""
        if self.output == "mu-law":
            return pick(uniform[:, 0], out, temperature)
        logits, mean, log_scale = self._mixture(out)
        none = out.new_zeros(out.shape[0], 0, logits.shape[-1])
        grid = draw_coupled(uniform, logits, mean[:, None], log_scale[:, None], none, PCM, temperature)[:, 0]
        return ((grid + 1) * ((PCM - 1) / 2)).round() / 32768 - 1
