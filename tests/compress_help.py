"""What the tests of compression share: images on grey levels, and models in a state that is known."""

import torch

from genzoo.core.capabilities import capabilities
from genzoo.naming import registry
from tests.conftest import build

CODERS = [n for n in sorted(registry.entries()) if "compresses" in capabilities(registry.system_class(n))]


def images(n=6, shape=(1, 8, 8), levels=256):
    k = torch.randint(0, levels, (n, *shape), generator=torch.Generator().manual_seed(0))
    return k.float() * (2 / (levels - 1)) - 1


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def ready(name, **kw):
    torch.manual_seed(0)
    return build(name, **kw).eval()


def sharp(**kw):
    """A PixelCNN that is almost sure of some levels, as a trained one is."""
    model = ready("pixelcnn", **kw)
    with torch.no_grad():
        for p in model.net.out.parameters():
            p.mul_(12)
    return model
