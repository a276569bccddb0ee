"""Which images the adversarial systems make: gray, colours, four channels, any rectangle, or an error that says which sizes work."""

from __future__ import annotations

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.naming import registry
from tests.adversaries import gen, play
from tests.conftest import build

NETS = ("dcgan", "sngan", "began", "infogan", "acgan", "cgan")
SHAPES = ((1, 12, 20), (3, 16, 8), (4, 16, 16), (5, 9, 13))
OF_IMAGES = [
    name
    for name, entry in sorted(registry.entries().items())
    if entry.family in ("adversarial", "conditional") and entry.data not in ("video", "voxels")
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NETS)
def test_any_channels_and_any_rectangle_or_the_sizes_that_work(name, shape):
    torch.manual_seed(0)
    try:
        system = build(name, shape=shape)
    except UserError as error:
        said = str(error)
        assert "x".join(map(str, shape)) in said, "what was given"
        assert any(word.isdigit() for word in said.replace(",", " ").split()), "which sizes work"
        pytest.fail(f"{name} refuses {shape}: {said}")
    _, logs = play(system, steps=2)
    assert all(torch.isfinite(v) for v in logs.values())
    x = system.eval().sample(2, generator=gen())
    assert x.shape == (2, *shape)
    assert x.abs().max() <= 1
    assert x.is_contiguous()


@pytest.mark.parametrize("name", OF_IMAGES)
def test_every_system_of_images_makes_four_channels_and_rectangles_from_8_pixels_to_1024(name):
    """Where its nets need certain sides, those that it names are taken."""
    torch.manual_seed(0)
    for shape in ((4, 8, 8), (4, 16, 32), (2, 1024, 512)):
        try:
            system = build(name, shape=shape)
        except UserError as error:
            if f"images of 1 or 3 channels, not {shape[0]}" not in str(error):
                assert "x".join(map(str, shape)) in str(error), "what was given"
                assert any(n in str(error) for n in ("multiple", "8", "16")), "what is taken"
            continue
        with torch.no_grad():
            x = system.eval().sample(1, generator=gen())
        assert x.shape == (1, *shape)
        assert torch.isfinite(x).all()


@pytest.mark.parametrize("shape", [(3, 4, 32), (1, 32, 2048)], ids=str)
@pytest.mark.parametrize("name", [*NETS, "projected-gan", "vision-aided-gan"])
def test_sizes_that_do_not_work_are_answered_with_those_that_do(name, shape):
    with pytest.raises(UserError, match="8") as told:
        build(name, shape=shape)
    assert "1024" in str(told.value)


@pytest.mark.parametrize("name", ["projected-gan", "vision-aided-gan"])
def test_rectangles_go_through_the_frozen_networks_in_their_proportions(name):
    torch.manual_seed(0)
    system = build(name, shape=(3, 12, 20))
    play(system, steps=3)
    assert system.eval().sample(2, generator=gen()).shape == (2, 3, 12, 20)
    seen = (system.F if name == "projected-gan" else system.F[0])(torch.zeros(1, 3, 12, 20))
    assert seen[0].shape[2:] == (14, 24), "28 by 47 pixels, halved"
