"""A system of one's own, from an empty file to a trained, checked, measured and exported model.

    python examples/own_system.py                      everything below, in a few seconds
    genzoo train examples/own_system.py data=photos/   the same class on the command line: its file is its name
    python -m genzoo.testing examples/own_system.py    which promises of the zoo it keeps

The system is principal components learned by gradients: one linear layer to a short code, one back, and a Gaussian over the codes that
have been seen.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

import genzoo
from genzoo.core.system import Batch, Logs
from genzoo.nn import draws


# 1. The signature is the form: types, bounds, defaults and the lines of `Args:` are the checks, the command line and the docs.
class Shades(genzoo.System):
    """Codes an image by one linear layer, and draws new codes from a Gaussian.

    Args:
        shape: Channels, height and width; the data answer it.
        code: Numbers in the code.
        lr: Learning rate of Adam.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"shades-2": {"code": 2}}  # a name for a choice of settings
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "code": 4}  # how it is built where it is only checked
    defaults: ClassVar[dict[str, Any]] = {"steps": 600, "batch": 64}  # of the training, unless a person says otherwise
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 8, 8),
        *,
        code: Annotated[int, Field(ge=1, le=512)] = 16,
        lr: Annotated[float, Field(gt=0, le=1)] = 3e-3,
    ) -> None:
        super().__init__()
        self.shape, self.lr, size = shape, lr, shape[0] * shape[1] * shape[2]
        self.down, self.up = nn.Linear(size, code), nn.Linear(code, size)
        self.register_buffer("mean", torch.zeros(code))  # a buffer is kept in checkpoints, so that resuming is exact
        self.register_buffer("spread", torch.eye(code))

    # 2. How it learns: optimizers, and either `loss` or, where several players play, `training_step`.
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return Adam over everything."""
        return {"model": torch.optim.Adam(self.parameters(), self.lr)}

    def loss(self, batch: Batch) -> Logs:
        """Return the mean squared error, and note where codes lie."""
        x = batch["image"]
        z = self.encode(x)
        with torch.no_grad():
            far = z.float() - self.mean
            self.mean += 0.02 * far.mean(0)
            self.spread.lerp_((far.T @ far / len(far)).float(), 0.02)  # in bf16 a product is bf16; buffers stay float32
        return {"loss": (self.decode(z) - x).square().mean()}

    # 3. What it can do: a method gives a capability, and a capability the commands that need it.
    def encode(self, x: Tensor) -> Tensor:
        """Return codes [N, code]."""
        return self.down(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Return images [N, C, H, W] in [-1, 1]."""
        return self.up(z).view(-1, *self.shape).clamp(-1, 1)

    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Draw codes from the Gaussian; all randomness comes from `generator`."""
        root = torch.linalg.cholesky(self.spread + 1e-4 * torch.eye(len(self.mean), device=self.device))
        return self.mean + draws.randn(n, len(self.mean), generator=generator, device=self.device) @ root.T

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator) -> Tensor:
        """Decode codes of the Gaussian."""
        return self.decode(self.sample_prior(n, generator=generator))


def walk() -> None:
    """Go the whole way with it."""
    from genzoo.core.capabilities import capabilities
    from genzoo.testing import check_system

    # 4. A mistake is told in words; strings are read as on the command line.
    try:
        Shades(code="0")  # type: ignore[arg-type]
    except genzoo.UserError as mistake:
        print(mistake)
    print("It can:", ", ".join(capabilities(Shades)))

    # 5. The promises of the zoo, asked of it: an AssertionError would say which it breaks.
    kept = sum(result.state == "kept" for result in check_system(Shades, quiet=True))
    print(f"It keeps the {kept} promises that concern it.")

    # 6. Train, measure, use: as with any system of the zoo. `genzoo train own_system.py data=digits` does the same.
    run = genzoo.train(Shades, "digits", size=8, quiet=True)
    found = genzoo.evaluate(run, measures="reconstruction", n=200)["measures"]
    print(f"Reconstructions of held-out digits: {found['reconstruction PSNR']['value']:.1f} dB")
    print("Samples:", tuple(genzoo.sample(run, n=16, seed=0).shape), "and a walk:", tuple(genzoo.walk(run).shape))

    # 7. Export. Whoever opens the folder elsewhere gives the class, or its file; no file is run because a checkpoint names it.
    folder = genzoo.export(run, "shades")
    again = genzoo.load(folder, system=Shades)
    print(f"Exported to {folder} and opened again: {again.hparams}")


if __name__ == "__main__":
    walk()
