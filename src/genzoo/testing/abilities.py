"""Promises of what a system can do: a walk, a completion, codes, a clip, a translation, and the shapes that it takes."""

from __future__ import annotations

import math
from typing import Any

import torch

from genzoo.core.capabilities import (
    Animates,
    Completes,
    Conditioned,
    Decodes,
    Encodes,
    Figures,
    Joint,
    Prepares,
    Restores,
    Tokenizes,
    Translates,
)
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.saved.loading import build, describe
from genzoo.testing.case import Case, Skip, gen, needs, outputs, promise, refused, scores
from genzoo.testing.data import batch_for, data_batch
from genzoo.use.walk import way


@promise()
def reconstructions_have_the_shape_of_the_data(case: Case) -> None:
    """Reconstructs data in their shape and range."""
    system = case.ready()
    needs(system, Encodes, Decodes)
    x = data_batch(system)
    z = system.encode(x)
    assert z.shape[1:] == system.sample_prior(2, generator=gen()).shape[1:]
    y = system.decode(z)
    assert y.shape == x.shape
    assert x.ndim == 2 or y.abs().max() <= 1


@promise()
def a_walk_between_samples_of_one_class_stays_at_it_and_between_two_goes_straight(case: Case) -> None:
    """Walks between samples of one class within it, and straight from one class to another."""
    system = case.ready()
    needs(system, Decodes, Conditioned)
    if not system.labels:
        raise Skip("it was built without classes")
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


@promise()
def what_is_asked_for_goes_straight_on_a_walk(case: Case) -> None:
    """Walks straight between what two latents ask for.

    Classes, codes and sentences alike; a draw of them is one of those that training saw.
    """
    system = case.ready()
    needs(system, Decodes)
    if not system.conditions:
        raise Skip("its latents have nothing but noise")
    a, b = system.sample_prior(6, generator=gen()).chunk(2)
    t = torch.linspace(0, 1, 5)
    said = way(system, a, b, t, "spherical")[..., -system.conditions :]
    line = torch.lerp(a[:, None], b[:, None], t[:, None])[..., -system.conditions :]
    torch.testing.assert_close(said, line)
    assert system.decode(way(system, a, b, t, "spherical").flatten(0, 1)).abs().max() <= 1


@promise()
def completion_keeps_known_pixels_and_draws_the_others(case: Case) -> None:
    """Keeps the known pixels when it completes, and draws the others."""
    system = case.ready()
    needs(system, Completes)
    x = data_batch(system)
    known = torch.rand(len(x), 1, *x.shape[2:], generator=gen()) > 0.3
    y = system.complete(x, known, generator=gen())
    assert torch.equal(torch.where(known, y, 0), torch.where(known, x, 0))
    assert y.shape == x.shape
    assert y.abs().max() <= 1
    assert torch.equal(system.complete(x, torch.ones_like(known), generator=gen()), x)


@promise(presets=False)
def a_mask_that_does_not_fit_is_refused_in_words(case: Case) -> None:
    """Refuses a mask that does not fit, in words.

    Of another size, of numbers in place of truth values, or with a value for every colour.
    """
    system = case.ready()
    needs(system, Completes)
    x = data_batch(system)
    fits = torch.ones_like(x[:, :1], dtype=torch.bool)
    masks = [fits[..., :-1], fits.float(), fits[:1].expand(len(x) + 1, *fits.shape[1:])]
    for mask in masks if x.shape[1] == 1 else [*masks, fits.expand_as(x)]:
        with refused("known is"):
            system.complete(x, mask, generator=gen())
    fits[..., -3:] = False
    unread = torch.where(fits, x, 1000.0)
    assert system.complete(unread, fits, generator=gen()).abs().max() <= 1, "what stands at unknown places is not read"


@promise()
def codes_are_of_the_stated_grids_and_alphabet_and_stand_for_an_image_each(case: Case) -> None:
    """Makes codes of the stated grids and alphabet, and an image of each."""
    system = case.ready()
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


@promise()
def a_step_on_prepared_data_is_the_step_on_the_data(case: Case) -> None:
    """Learns the same from prepared data as from the data."""
    torch.manual_seed(0)
    system = case.build()
    needs(system, Prepares)
    batch = batch_for(system)
    logs = []
    for given in (batch, system.prepare(batch)):
        torch.manual_seed(0)
        logs.append(system.loss(given)["loss"].detach())
    assert torch.equal(*logs)
    assert system.prepared_by() == _again(system).prepared_by()


@promise()
def a_clip_goes_on_from_every_first_frame_or_says_why_not(case: Case) -> None:
    """Goes on from every first frame, or says why not."""
    system = case.ready()
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


@promise()
def figures_are_whole_tables_of_images_and_follow_the_generator(case: Case) -> None:
    """Draws figures of whole rows, in range and with words, the same from the same generator."""
    system = case.ready()
    needs(system, Figures)
    if "figures" in system.lacks:
        raise Skip(system.lacks["figures"])
    drawn, again = (system.figures(generator=gen()) for _ in range(2))
    assert drawn
    for name, figure in drawn.items():
        assert len(figure.images) % figure.columns == 0
        assert figure.images.shape[1:] == data_batch(system).shape[1:]
        assert figure.images.abs().max() <= 1
        assert figure.caption
        assert torch.equal(figure.images, again[name].images)


@promise()
def the_joint_density_is_of_one_number_each_and_has_a_gradient_in_the_latents(case: Case) -> None:
    """Gives log p(z) and log p(x | z) as one number each, with gradients in the latents and without randomness."""
    needs(case.ready(), Joint)
    system = case.ready(levels=2)
    if not scores(system):
        raise Skip("it gives no likelihood")
    z = system.sample_prior(3, generator=gen()).requires_grad_()
    x = system.sample_given(z.detach(), generator=gen(1))
    assert x.shape[1:] == data_batch(system).shape[1:]
    total = system.log_prior(z) + system.log_given(x, z)
    assert total.shape == (3,)
    (gradient,) = torch.autograd.grad(total.sum(), z)
    assert gradient.isfinite().all()
    assert torch.equal(system.log_given(x, z), system.log_given(x, z))


@promise()
def translation_keeps_height_and_width(case: Case) -> None:
    """Keeps height and width when it translates, in the range, and refuses other directions."""
    system = case.ready()
    needs(system, Translates)
    x, scale, whole = data_batch(system), 1, None
    if isinstance(system, Restores):
        whole, x, scale = x, system.degrade(x), system.scale
        assert x.abs().max() <= 1
    if whole is not None:
        assert system.translate(x, direction=system.directions[0]).shape == whole.shape
    for direction in system.directions:
        y = system.translate(x, direction=direction)
        assert y.shape[-2:] == (scale * x.shape[-2], scale * x.shape[-1])
        assert y.abs().max() <= 1
    with refused(system.directions[0]):
        system.translate(x, direction="sideways")


@promise(presets=False)
def gray_data_are_taken_or_refused_with_the_sizes_that_work(case: Case) -> None:
    """Takes gray data, or refuses them with the sizes that work."""
    _takes(case, "gray")


@promise(presets=False)
def colour_data_are_taken_or_refused_with_the_sizes_that_work(case: Case) -> None:
    """Takes colour data, or refuses them with the sizes that work."""
    _takes(case, "colour")


@promise(presets=False)
def wide_data_are_taken_or_refused_with_the_sizes_that_work(case: Case) -> None:
    """Takes wide data, or refuses them with the sizes that work."""
    _takes(case, "wide")


def _takes(case: Case, kind: str) -> None:
    shape = case.build().hparams["shape"]
    if len(shape) not in (3, 4):
        raise Skip("is not for images or clips")
    if kind == "colour" and not kinds.declared(case.cls.data)[0].colours:
        raise Skip("is not for data in colours")
    *between, h, w = shape[1:]
    wanted = {"gray": (1, *between, h, w), "colour": (3, *between, h, w), "wide": (1, *between, h, 2 * w)}[kind]
    try:
        system = case.ready(shape=wanted)
    except UserError as error:
        assert kind == "wide" or (kind == "gray" and "channels" in str(error))
        assert any(character.isdigit() for character in str(error)), "the message names sizes that work"
        return
    for output in outputs(system):
        assert torch.isfinite(output(system)).all()


@promise(presets=False)
def an_impossible_shape_is_refused_in_words(case: Case) -> None:
    """Refuses an impossible shape in words."""
    for shape in kinds.declared(case.cls.data)[0].impossible:
        with refused():
            case.build(shape=shape)


def _again(system: System) -> Any:
    other = build(describe(system))
    other.load_state_dict(system.state_dict())
    return other
