"""Several ranks train one model: one test for every system, and the numbers that ranks have to share by hand."""

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.models.adversarial._adaptive import AdaptiveAugment
from genzoo.naming import registry
from genzoo.nn.ranks import mean_over_ranks, pooled, ranks, sum_over_ranks
from genzoo.testing.data import batch_for
from genzoo.training.runtime import Runtime
from genzoo.training.update import Average, Updater
from tests.conftest import build

STEPS = 4
SYSTEMS = [*sorted(registry.entries()), "stylegan2-ada", "video-gan-conditional"]


def learn(name, world, rank, sgd=None):
    """Train a tiny system as one of `world` ranks, on its own part of every batch and with its own noise; returns it and its average."""
    torch.manual_seed(0)
    system = build(name)
    if sgd:
        system.optimizers = lambda: {"model": torch.optim.SGD(system.parameters(), lr=sgd)}
    update, average = Updater(system, Runtime(torch.device("cpu"), "fp32", rank, world)), Average(system, 0.9)
    torch.manual_seed(1 + rank)
    for step in range(STEPS):
        update.begin(step, STEPS)
        batch = {k: v.chunk(world)[rank] for k, v in batch_for(system, 8, seed=step).items()}
        system.train().training_step(batch, update)
        update.end()
        average.update(step)
    return system, average.system


def own(system):
    """Names of buffers that are each rank's own (pools and memories of what it has seen), as their modules say."""
    return {f"{path}.{name}".lstrip(".") for path, m in system.named_modules() for name in getattr(m, "per_rank", ())}


def learnt(rank, name):
    """What a rank holds at the end, without what is its own: of the system, and of its average."""
    return [
        {k: v for k, v in [*s.named_parameters(), *s.named_buffers()] if k not in own(s)} for s in learn(name, 2, rank)
    ]


@pytest.mark.parametrize("name", SYSTEMS)
def test_ranks_hold_equal_models_whatever_each_has_seen(name, two_ranks):
    """Parameters, data-dependent starts (activation and weight norms, codebooks), controllers, running statistics, averaged weights."""
    if "fits" in capabilities(registry.system_class(registry.find(name)[0].name)):
        pytest.skip("is fitted in one process")
    a, b = two_ranks(learnt, name)
    for mine, other in zip(a, b, strict=True):
        assert [k for k, v in mine.items() if not torch.equal(v, other[k])] == []


RATE = 1e-4


def learnt_plainly(rank, name):
    """The parameters of a rank after steps whose length depends on the gradient's."""
    return dict(learn(name, 2, rank, sgd=RATE)[0].named_parameters())


@pytest.mark.parametrize("name", sorted(registry.entries()))
def test_where_a_step_draws_nothing_two_ranks_learn_what_one_does_from_the_joined_batch(name, two_ranks):
    """Gradients are means over all examples, not sums over ranks; Adam would not tell the difference."""
    if "fits" in capabilities(registry.system_class(name)):
        pytest.skip("is fitted in one process")
    if not str(getattr(build(name), "likelihood", "")).startswith("exact"):
        pytest.skip("draws noise, or mixes the examples of a batch")
    alone, drawn = learn(name, 1, 0, sgd=RATE)[0], torch.get_rng_state()
    torch.manual_seed(1)
    if not torch.equal(torch.get_rng_state(), drawn):
        pytest.skip("draws noise")
    torch.manual_seed(0)
    before = dict(build(name).named_parameters())
    one, other = two_ranks(learnt_plainly, name)
    moved = False
    for key, p in alone.named_parameters():
        assert torch.equal(one[key], other[key])
        torch.testing.assert_close(one[key], p, rtol=1e-4, atol=1e-6)
        moved = moved or not torch.allclose(p, before[key], atol=1e-5)
    assert moved


def shared(rank):
    """Sums, means and rows over ranks, and what a controller makes of its rank's scores."""
    rows, augment = torch.arange(6.0).view(3, 2) + 10 * rank, AdaptiveAugment(0.6, 1000, 0.8)
    index = torch.tensor([5, 0, 3]) * (1 - rank)  # rank 0's counts
    augment.observe(torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0]][rank]))
    r = augment.adjust()
    return ranks(), sum_over_ranks(rows), mean_over_ranks(rows), pooled(rows, index), r, augment.p


def test_sums_means_and_rows_of_all_ranks(two_ranks):
    """Rank 1 has rank 0's rows plus ten; the controller sees eight images of both, of which seven are judged real: r = 3/4."""
    rows = torch.arange(6.0).view(3, 2)
    for world, total, mean, some, r, p in two_ranks(shared):
        assert world == 2
        assert torch.equal(total, 2 * rows + 10)
        assert torch.equal(mean, rows + 5)
        assert torch.equal(some, torch.stack([rows[2] + 10, rows[0], rows[0] + 10]))
        assert r == 0.75
        assert p == pytest.approx(8 / 1000)


def fails(rank):
    """One rank comes to grief while the other one waits for it."""
    if rank:
        raise ValueError("on purpose")
    return 1


def test_a_rank_that_fails_is_named(two_ranks):
    with pytest.raises(AssertionError, match="rank 1: ValueError: on purpose"):
        two_ranks(fails)
    assert [world for world, *_ in two_ranks(shared)] == [2, 2]
