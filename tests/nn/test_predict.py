"""`predict`, one pass of an autoregressive network: the numbers of a place say the likelihood, and depend on the places before it alone."""

from __future__ import annotations

import pytest
import torch

from genzoo.core.capabilities import Predicts
from genzoo.core.errors import UserError
from genzoo.naming import registry
from genzoo.testing.case import Case

LEVELS = [
    ("pixelcnn", {"shape": (3, 6, 6)}),
    ("pixelrnn", {"shape": (3, 6, 6)}),
    ("pixelrnn", {"lstm": "row", "levels": 2}),
    ("made", {"masks": 1, "levels": 4}),
    ("gated-pixelcnn", {"classes": 0}),
]


def built(name, **arguments):
    torch.manual_seed(0)
    return Case(registry.system_class(name)).build(**arguments).eval()


def image(system, n=3):
    levels = system.hparams["levels"]
    g = torch.Generator().manual_seed(1)
    return torch.randint(levels, (n, *system.shape), generator=g) * (2 / (levels - 1)) - 1


@pytest.mark.parametrize(("name", "arguments"), LEVELS)
def test_the_levels_that_are_there_add_up_to_log_prob(name, arguments):
    system = built(name, **arguments)
    assert isinstance(system, Predicts)
    x = image(system)
    found = system.predict(x)
    assert found.shape == (*x.shape, system.hparams["levels"])
    torch.testing.assert_close(found.exp().sum(-1), torch.ones_like(x))
    tokens = ((x + 1) * ((system.hparams["levels"] - 1) / 2)).round().long()
    there = found.gather(-1, tokens[..., None]).flatten(1).sum(1)
    torch.testing.assert_close(there, system.log_prob(x), rtol=1e-4, atol=1e-3)


def test_pixels_drawn_by_predict_alone_are_those_of_sample():
    """What another program does with the file: go over the pixels in raster order, and draw each from its numbers."""
    system = built("pixelcnn", shape=(1, 4, 4), levels=4)
    g = torch.Generator().manual_seed(5)
    wanted = system.sample(2, generator=g)
    uniform = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    x = torch.zeros(2, 1, 4, 4)
    for row in range(4):
        for col in range(4):
            below = system.predict(x)[:, 0, row, col].exp().cumsum(-1)
            level = (uniform[:, 0, row, col, None] >= below).sum(-1).clamp(max=3)
            x[:, 0, row, col] = level * (2 / 3) - 1
    torch.testing.assert_close(x, wanted)


def test_a_class_is_told():
    system = built("gated-pixelcnn", classes=3)
    x = image(system)
    one, other = (system.predict(x, label=torch.full((3,), k)) for k in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("made", {"masks": 2}), ("made", {"order": "random", "masks": 1}), ("pixelrnn", {"scales": 2})],
)
def test_where_no_one_pass_tells_all_it_is_refused(name, arguments):
    system = built(name, **arguments)
    assert "predicts" in system.lacks
    with pytest.raises(UserError):
        system.predict(image(system))
