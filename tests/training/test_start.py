"""The start of every system at its default size: the gradient reaches the first layers, and outputs still depend on inputs."""

import contextlib
import math

import pytest
import torch

from genzoo.core import schema
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.naming import registry
from genzoo.testing.data import batch_for
from tests.adversaries import Update, gen
from tests.conftest import build

LEAST = 1e-6
"""Of a first layer's rms gradient: Adam divides by the gradient's size plus 1e-8."""

HEAVY = 2e10
"""Parameters times pixels: about the multiplications for one example."""


class First(Update):
    """Takes the gradients of what each optimizer owns, moves nothing, and remembers the first weight of each that takes part."""

    def __init__(self, system):
        super().__init__(system)
        self.rms = {}

    def __call__(self, name, loss):
        owned = [p for g in self.optimizers[name].param_groups for p in g["params"]]
        names = {id(p): k for k, p in self.system.named_parameters()}
        grads = torch.autograd.grad(loss, owned, allow_unused=True, retain_graph=True)
        sizes = [
            (names[id(p)], g.float().square().mean().sqrt().item())
            for p, g in zip(owned, grads, strict=True)
            if p.ndim > 1 and g is not None
        ]
        # Exactly 0 are what has not grown yet, and what stands before a layer that starts from zeros.
        self.rms.setdefault(name, next((s for s in sizes if s[1]), (None, 0.0)))


def at_its_size(name):
    """A fresh system with its defaults; where that is a matter of minutes, at the half or a quarter of its sides."""
    cls = registry.system_class(name)
    settings = schema.settings(cls)
    if any(schema.capability_of(s.annotation) for s in settings.values()):
        return build(name)  # it has a trained system in it
    given = {"vocabulary": ("a", "red", "blue", "circle")} if "vocabulary" in settings else {}
    system = cls(**given)
    with contextlib.suppress(UserError):  # as small as it can be
        while sum(p.numel() for p in system.parameters()) * math.prod(system.hparams["shape"][1:]) > HEAVY:
            c, *sides = system.hparams["shape"]
            system = cls(**given | {"shape": (c, *(side // 2 for side in sides))})
    return system


@pytest.mark.parametrize("name", sorted(registry.entries()))
def test_the_first_layers_hear_of_the_loss_at_the_default_size(name):
    if "fits" in capabilities(registry.system_class(name)):
        pytest.skip("is fitted without gradients")
    torch.manual_seed(0)
    system = at_its_size(name)
    try:
        update = First(system)
    except UserError:
        pytest.skip("needs weights that are not here")
    system.train().training_step(batch_for(system, 2), update)
    assert update.rms
    for player, (weight, rms) in update.rms.items():
        assert rms > LEAST, f"{player}: {weight} has a gradient of rms {rms:.1e}"


@pytest.mark.parametrize("name", sorted(registry.entries()))
def test_different_latents_are_different_data_after_rounding_to_eight_bits(name):
    able = capabilities(registry.system_class(name))
    if "decodes" not in able or "fits" in able:
        pytest.skip("has no decoder that learns")
    torch.manual_seed(0)
    system = at_its_size(name).eval()
    z = system.sample_prior(2, generator=gen())
    with torch.autocast("cpu", torch.bfloat16):
        one, other = system.decode(z)
    assert (one != other).float().mean() > 0.5
