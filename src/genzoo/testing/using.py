"""Promises of what a system draws and scores."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from genzoo.core import schema
from genzoo.core.capabilities import Completes, Conditioned, Prompted, Samples
from genzoo.core.errors import UserError
from genzoo.metrics.drawing import (
    EACH,
    draw,
    generators_for,
    rows_by_label,
    rows_by_prompt,
    takes_labels,
    takes_prompts,
)
from genzoo.testing.case import Case, Skip, gen, needs, outputs, promise, refused, scores
from genzoo.testing.data import data_batch


@promise()
def same_seed_same_samples_of_the_stated_form(case: Case) -> None:
    """Draws the same samples by the same seed and others by another, of the stated form and range."""
    system = case.ready()
    needs(system, Samples)
    a, b, c = (system.sample(3, generator=gen(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.dtype == torch.float32
    assert not a.requires_grad
    if a.ndim >= 4:
        assert a.shape == (3, *system.hparams["shape"])
        assert a.min() >= -1
        assert a.max() <= 1
    else:
        assert a.shape == (3, *system.hparams["shape"])
        assert torch.isfinite(a).all()


@promise()
def sampling_uses_the_given_generator_only(case: Case) -> None:
    """Draws all randomness of samples from the generator that it is given."""
    system = case.ready()
    needs(system, Samples)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    system.sample(2, generator=gen())
    assert torch.equal(before, torch.get_rng_state())


ROUNDING = 1e-5
"""Of values in [-1, 1]: by so much may what a network computes differ with the number of examples that it is given at once."""


@promise(advice=True)
def fewer_samples_are_the_beginning_of_more(case: Case) -> None:
    """Draws the same first samples whether few or many are asked for, in batches of any size; to rounding, on the CPU in float32.

    Randomness with examples in its first dimension has to come from `genzoo.nn.draws`, whose functions read a generator for each example.
    """
    system = case.ready()
    needs(system, Samples)
    ten = draw(system, 10, 1)
    for one in (
        draw(system, 3, 1),
        draw(system, 10, 1, chunk=4),
        draw(system, 1, 1, first=2),
        draw(system, 2, (1, 1), first=2),
    ):
        assert not torch.equal(ten[0], ten[2])
        first = 2 if len(one) < 3 else 0
        wanted = ten[first : first + len(one)] if len(one) != 2 else ten[[2, 2]]
        assert one.shape == wanted.shape
        assert (one - wanted).abs().max() <= ROUNDING, "an example depends on how many are drawn with it"


@promise()
def a_label_is_obeyed_or_refused_in_words(case: Case) -> None:
    """Draws what a label says, or refuses it in words.

    One generator, another label: another image; without a label the classes are drawn; rows are in the order of classes.
    """
    system = case.ready()
    needs(system, Conditioned)
    if not system.labels:
        raise Skip("was built without classes")
    first, second = (system.sample(4, generator=gen(), label=k) for k in (0, system.labels - 1))
    assert first.shape == second.shape == (4, *system.hparams["shape"])
    assert not torch.equal(first, second)
    assert not torch.equal(system.sample(4, generator=gen()), first)
    for label in (system.labels, -1):
        with refused(str(system.labels - 1)):
            system.sample(1, generator=gen(), label=label)
    assert takes_labels(system)
    rows = rows_by_label(system, 0)
    assert rows.shape == (system.labels * EACH, *system.hparams["shape"])
    assert torch.equal(rows[:EACH], system.sample(EACH, generator=generators_for(system, 0, EACH), label=0).float())


@promise()
def a_prompt_is_obeyed_or_refused_in_words(case: Case) -> None:
    """Draws what a prompt says, or refuses it in words.

    One generator, another sentence: another image; without one, captions of the training are drawn; unknown words are told.
    """
    system = case.ready()
    needs(system, Prompted)
    if not system.vocabulary:
        raise Skip("was built without captions")
    first, second = (
        system.sample(4, generator=generators_for(system, 0, 4), prompt=word) for word in system.vocabulary[1:3]
    )
    assert first.shape == second.shape == (4, *system.hparams["shape"])
    assert not torch.equal(first, second)
    assert not torch.equal(system.sample(4, generator=gen()), first)
    assert system.unread(f"{system.vocabulary[1]} qqq") == ["qqq"]
    for prompt, said in (("  ", "empty"), ("qqq", "qqq")):
        with refused(said):
            system.sample(1, generator=gen(), prompt=prompt)
    assert takes_prompts(system)
    rows = rows_by_prompt(system, list(system.vocabulary[1:3]), 0, n=4)
    assert torch.equal(rows, torch.cat([first, second]).float())


@promise(presets=False)
def cached_drawing_is_uncached_drawing(case: Case) -> None:
    """Draws with its cache what it draws without."""
    system = case.ready()
    if "cached" not in inspect.signature(getattr(system, "sample", len)).parameters:
        raise Skip("has no cache")
    one, other = (system.sample(2, generator=gen(5), cached=cached) for cached in (True, False))
    assert torch.allclose(one, other, atol=1e-5)
    assert one.unique().numel() > 1


@promise()
def save_and_load_give_the_same_outputs(case: Case) -> None:
    """Gives the same outputs once its state is put into a fresh one."""
    system = case.ready()
    other = case.build().eval()
    other.load_state_dict({k: v.clone() for k, v in system.state_dict().items()})
    for output in outputs(system):
        a, b = output(system), output(other)
        assert torch.equal(a, b)


@promise()
def using_a_system_is_deterministic_and_changes_no_state(case: Case) -> None:
    """Gives the same outputs twice, and changes no state by being used."""
    system = case.ready()
    before = {k: v.clone() for k, v in system.state_dict().items()}
    for output in outputs(system):
        assert torch.equal(output(system), output(system))
    after = system.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not system.training


@promise()
def an_image_is_scored_by_its_grey_levels(case: Case) -> None:
    """Scores an image by its grey levels: what is below one says nothing.

    Of 4 levels one is ⌊grey / 64⌋: what is below says nothing, or the masses of all images would add up to more than one.
    """
    if "levels" not in schema.settings(case.cls):
        raise Skip("has no levels")
    try:
        system = case.ready(levels=4)
    except UserError:
        raise Skip("takes no such levels") from None
    if not scores(system) or data_batch(system).ndim != 4:
        raise Skip("gives no likelihood of images")
    grey = torch.randint(0, 256, data_batch(system).shape, generator=gen())
    whole, high = (system.log_prob(g / 127.5 - 1, generator=gen()) for g in (grey, grey // 64 * 64))
    torch.testing.assert_close(whole, high, rtol=1e-4, atol=1e-3)


@promise(presets=False)
def values_out_of_range_are_refused_before_they_give_a_number(case: Case) -> None:
    """Refuses values out of range before they give a number.

    Pixels from 0 to 255 would be clamped to white.
    """
    system = case.ready()
    x = data_batch(system)
    if x.ndim == 2:
        raise Skip("points have any values")
    calls: list[Callable[[Tensor], Tensor]] = []
    if scores(system):
        calls.append(lambda x: system.log_prob(x, generator=gen()))
    if isinstance(system, Completes):
        calls.append(lambda x: system.complete(x, torch.ones_like(x[:, :1], dtype=torch.bool), generator=gen()))
    for call in calls:
        with refused(r"values from .*\[-1, 1\]"):
            call((x + 1) * 127.5)


@promise()
def log_prob_is_one_finite_number_an_example_and_independent_of_its_neighbours(case: Case) -> None:
    """Gives one finite log-probability an example, whatever else is in the batch."""
    system = case.ready()
    if not scores(system):
        raise Skip("gives no likelihood")
    x = data_batch(system)
    together = system.log_prob(x, generator=gen())
    assert together.shape == (len(x),)
    assert torch.isfinite(together).all()
    assert not together.requires_grad
    assert isinstance(system.likelihood, str)
    if system.likelihood.startswith("exact"):
        alone = torch.cat([system.log_prob(x[i : i + 1], generator=gen()) for i in range(len(x))])
        assert torch.allclose(together, alone, rtol=1e-4, atol=1e-3)
