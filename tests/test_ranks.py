"""Several ranks train one model: one test for every system, and the numbers that ranks have to share by hand."""

import pytest
import torch

from genzoo.core import registry
from genzoo.core.system import capabilities
from genzoo.training.runtime import Runtime
from genzoo.training.update import Average, Updater
from tests.conftest import batch_for, build

STEPS = 4
SYSTEMS = [*sorted(registry.entries()), "stylegan2-ada", "video-gan-conditional"]


def learn(name, ranks, rank):
    """Train a tiny system as one of `ranks`, on its own part of every batch and with its own noise; returns it and its average."""
    torch.manual_seed(0)
    system = build(name)
    update, average = Updater(system, Runtime(torch.device("cpu"), "fp32", rank, ranks)), Average(system, 0.9)
    torch.manual_seed(1 + rank)
    for step in range(STEPS):
        update.begin(step, STEPS)
        batch = {k: v.chunk(ranks)[rank] for k, v in batch_for(system, 8, seed=step).items()}
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
