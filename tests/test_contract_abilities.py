"""What systems promise by what they can do: one test a capability, over the whole registry. A skip is by missing capability, never by name."""

from __future__ import annotations

import math

import pytest
import torch

from genzoo.core import loading, registry
from genzoo.core.capabilities import (
    Animates,
    Completes,
    Conditioned,
    Decodes,
    Encodes,
    Prepares,
    Restores,
    Tokenizes,
    Translates,
)
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.use.walk import way
from tests.conftest import batch_for, build
from tests.test_contract import data_batch, every_name, every_system, gen, needs, outputs, ready


@every_name
def test_reconstructions_have_the_shape_of_the_data(name):
    system = ready(name)
    needs(system, Encodes, Decodes)
    x = data_batch(system)
    z = system.encode(x)
    assert z.shape[1:] == system.sample_prior(2, generator=gen()).shape[1:]
    y = system.decode(z)
    assert y.shape == x.shape
    assert x.ndim == 2 or y.abs().max() <= 1


@every_name
def test_a_walk_between_samples_of_one_class_stays_at_it_and_between_two_goes_straight(name):
    system = ready(name)
    needs(system, Decodes, Conditioned)
    if not system.labels:
        pytest.skip(f"{name} was built without classes")
    t = torch.linspace(0, 1, 5)
    a, b = (system.sample_prior(4, generator=gen(seed), label=2) for seed in (0, 1))
    z = way(system, a, b, t, system.latent_path)
    torch.testing.assert_close(z[:, 0], a)
    torch.testing.assert_close(z[:, -1], b)
    if not system.conditions:
        assert system.latent_path == "linear", "its latents are mapped from a class and have none in them"
        return
    noise = a.shape[1] - system.conditions
    one = torch.nn.functional.one_hot(torch.tensor(2), system.labels).float()
    assert torch.equal(z[..., noise:], one.expand(4, 5, -1))
    other = way(system, a, system.sample_prior(4, generator=gen(1), label=0), t, system.latent_path)
    torch.testing.assert_close(other[..., noise + 2], (1 - t).expand(4, -1))
    torch.testing.assert_close(other[..., noise], t.expand(4, -1))
    norm = z[..., :noise].norm(dim=2)
    assert (norm[:, 1:-1] > 0.95 * torch.minimum(norm[:, :1], norm[:, -1:])).all(), "noise keeps to the sphere"


@every_name
def test_what_is_asked_for_goes_straight_on_a_walk(name):
    """Classes, codes and sentences alike; a draw of them is one of those that training saw."""
    system = ready(name)
    needs(system, Decodes)
    if not system.conditions:
        pytest.skip(f"the latents of {name} have nothing but noise")
    a, b = system.sample_prior(6, generator=gen()).chunk(2)
    t = torch.linspace(0, 1, 5)
    said = way(system, a, b, t, "spherical")[..., -system.conditions :]
    line = torch.lerp(a[:, None], b[:, None], t[:, None])[..., -system.conditions :]
    torch.testing.assert_close(said, line)
    assert system.decode(way(system, a, b, t, "spherical").flatten(0, 1)).abs().max() <= 1


@every_name
def test_completion_keeps_known_pixels_and_draws_the_others(name):
    system = ready(name)
    needs(system, Completes)
    x = data_batch(system)
    known = torch.rand(len(x), 1, *x.shape[2:], generator=gen()) > 0.3
    y = system.complete(x, known, generator=gen())
    assert torch.equal(torch.where(known, y, 0), torch.where(known, x, 0))
    assert y.shape == x.shape
    assert y.abs().max() <= 1
    assert torch.equal(system.complete(x, torch.ones_like(known), generator=gen()), x)


@every_system
def test_a_mask_that_does_not_fit_is_refused_in_words(name):
    """Of another size, of numbers in place of truth values, or with a value for every colour."""
    system = ready(name)
    needs(system, Completes)
    x = data_batch(system)
    fits = torch.ones_like(x[:, :1], dtype=torch.bool)
    masks = [fits[..., :-1], fits.float(), fits[:1].expand(len(x) + 1, *fits.shape[1:])]
    for mask in masks if x.shape[1] == 1 else [*masks, fits.expand_as(x)]:
        with pytest.raises(UserError, match="known is"):
            system.complete(x, mask, generator=gen())
    fits[..., -3:] = False
    unread = torch.where(fits, x, 1000.0)
    assert system.complete(unread, fits, generator=gen()).abs().max() <= 1, "what stands at unknown places is not read"


@every_name
def test_codes_are_of_the_stated_grids_and_alphabet_and_stand_for_an_image_each(name):
    system = ready(name)
    needs(system, Tokenizes)
    x = data_batch(system)
    codes = system.tokenize(x)
    assert codes.dtype == torch.int64
    assert codes.shape == (len(x), sum(math.prod(grid) for grid in system.code_grids))
    assert codes.min() >= 0
    assert codes.max() < system.codebook_size
    y = system.detokenize(codes)
    assert y.shape == x.shape
    assert y.abs().max() <= 1
    assert not torch.equal(y, system.detokenize(codes.roll(1, 1)))
    if isinstance(system, Encodes) and isinstance(system, Decodes):
        assert torch.allclose(y, system.decode(system.encode(x)), atol=1e-6)
    try:
        nats = system.log_likelihood(x, codes)
    except UserError:
        return
    assert nats.shape == (len(x),)
    assert (nats < 0).all(), "the mass of a discrete image"


@every_name
def test_a_step_on_prepared_data_is_the_step_on_the_data(name):
    torch.manual_seed(0)
    system = build(name)
    needs(system, Prepares)
    batch = batch_for(system)
    logs = []
    for given in (batch, system.prepare(batch)):
        torch.manual_seed(0)
        logs.append(system.loss(given)["loss"].detach())
    assert torch.equal(*logs)
    assert system.prepared_by() == build_again(system).prepared_by()


def build_again(system: System) -> System:
    other = loading.build(loading.describe(system))
    other.load_state_dict(system.state_dict())
    return other


@every_name
def test_a_clip_goes_on_from_every_first_frame_or_says_why_not(name):
    system = ready(name)
    needs(system, Animates)
    x = data_batch(system)
    try:
        y = system.animate(x[:, :, 0])
    except UserError as error:
        assert "conditional" in str(error)
        return
    assert y.shape == x.shape
    assert y.abs().max() <= 1
    assert not torch.equal(y, system.animate(x[:, :, 1]))


@every_name
def test_translation_keeps_height_and_width(name):
    system = ready(name)
    needs(system, Translates)
    x, scale = data_batch(system), 1
    if isinstance(system, Restores):
        x, scale = system.degrade(x), system.scale
        assert x.abs().max() <= 1
        assert system.translate(x, direction=system.directions[0]).shape == data_batch(system).shape
    for direction in system.directions:
        y = system.translate(x, direction=direction)
        assert y.shape[-2:] == (scale * x.shape[-2], scale * x.shape[-1])
        assert y.abs().max() <= 1
    with pytest.raises(UserError, match=system.directions[0]):
        system.translate(x, direction="sideways")


@every_system
@pytest.mark.parametrize("kind", ["gray", "colour", "wide"])
def test_gray_colour_and_wide_data_are_taken_or_refused_with_the_sizes_that_work(name, kind):
    shape = build(name).hparams["shape"]
    if len(shape) not in (3, 4):
        pytest.skip("is not for images or clips")
    if kind == "colour" and build(name).data == "voxels":
        pytest.skip("voxels have one channel")
    *between, h, w = shape[1:]
    wanted = {"gray": (1, *between, h, w), "colour": (3, *between, h, w), "wide": (1, *between, h, 2 * w)}[kind]
    try:
        system = ready(name, shape=wanted)
    except UserError as error:
        assert kind == "wide" or (kind == "gray" and "channels" in str(error))
        assert any(character.isdigit() for character in str(error)), "the message names sizes that work"
        return
    for output in outputs(system):
        assert torch.isfinite(output(system)).all()


@every_system
def test_an_impossible_shape_is_refused_in_words(name):
    own = {
        "audio": ((2, 64), (1, 0), (1, 8, 8)),
        "video": ((1, 0, 8, 8), (1, 1, 8, 8), (1, 8, 8)),
        "voxels": ((1, 0, 8, 8), (2, 8, 8, 8), (1, 8, 8), (1, 12, 12, 12)),
    }
    for shape in own.get(registry.system_class(name).data, ((3, 0, 8), (0, 8, 8), (1, 3))):
        with pytest.raises(UserError):
            build(name, shape=shape)
