"""Several ranks are one process: one test for every system, and the numbers that ranks share."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.adversarial._adaptive import AdaptiveAugment
from genzoo.naming import registry
from genzoo.ranks.batch import for_all, for_examples, one_batch
from genzoo.ranks.launch import same_everywhere, together
from genzoo.ranks.sums import everybody, mean_over_ranks, own, pooled, ranks, sum_over_ranks, the_one_before
from genzoo.runs.meters import Meter
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater
from tests.one_batch import SENSITIVE, apart, is_near, learn

SYSTEMS = [*sorted(registry.entries()), "stylegan2-ada", "video-gan-conditional"]
QUICK = [
    "dcgan",
    "pix2pix",
    "vae",
    "gan",
    "stylegan2",
    "vqvae",
    "missing-data-encoder",
    "pixelcnnpp",
    "gan-cls",
    "began",
]
"""Of each thing that ranks share one: batch statistics, noise, dropout, groups of a batch, codebooks, ratios, pairs, memories, controllers."""


def check(name, dtype, most, ranks_, world):
    if "fits" in capabilities(registry.system_class(registry.find(name)[0].name)):
        pytest.skip("is fitted in one process")
    alone = learn(0, 1, name, dtype)
    for rank, found in enumerate(ranks_(learn, world, name, dtype)):
        difference, where = apart(alone, found)
        assert is_near(difference, most, name, dtype), f"rank {rank} of {world}: {where} is {difference:.1e} away"


@pytest.mark.parametrize("name", QUICK)
def test_two_ranks_learn_what_one_process_learns(name, two_ranks):
    """Weights, running statistics, pools, controllers and the state of the generators after 20 steps, in double precision."""
    check(name, torch.float64, 1e-10, two_ranks, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_two_and_four_ranks_learn_what_one_process_learns(name, two_ranks, four_ranks):
    """The same of every system, and in single precision as well: there a system that makes rounding large is as far as rounding alone takes it."""
    for many, world in ((two_ranks, 2), (four_ranks, 4)):
        check(name, torch.float64, 1e-8 if name in ("pix2pixhd", "realnvp") else 1e-10, many, world)
        if name not in SENSITIVE:
            check(name, torch.float32, 1e-5, many, world)


def plainly(rank, world, name):
    """Steps whose length is the gradient's: a mean that is a sum would be seen here, and not by Adam."""
    return learn(rank, world, name, torch.float64, steps=3, sgd=1e-3)


@pytest.mark.parametrize("name", ["dcgan", "vae", "realnvp"])
def test_gradients_are_means_over_all_examples(name, two_ranks):
    alone = plainly(0, 1, name)
    assert max(apart(alone, found)[0] for found in two_ranks(plainly, 2, name)) < 1e-10
    assert apart(alone, learn(0, 1, name, torch.float64, steps=0))[0] > 1e-6, "something has been learned"


# ---- what ranks share ------------------------------------------------------------------------------------------------------------------


def drawn(rank, world):
    """All that can be drawn in a step, of the rows of one rank of a batch of 8."""
    torch.manual_seed(5)
    n = 8 // world
    weights, p = torch.arange(1.0, 5), torch.linspace(0, 1, 8).chunk(world)[rank]
    rows = torch.ones(8, 3, 2, 2).contiguous(memory_format=torch.channels_last).chunk(world)[rank]
    with one_batch(n):
        found = [
            torch.randn(n, 5), torch.rand((n, 2)), torch.rand(size=(n,)), torch.randint(9, (n, 3)), torch.randint(2, 9, (n,)),
            torch.randn_like(rows), torch.rand_like(rows), torch.empty(n, 7).normal_(1, 2), torch.empty(n).exponential_(),
            torch.bernoulli(p), torch.normal(p, p + 1), torch.multinomial(weights, n, replacement=True),
            torch.multinomial(p[:, None] + weights, 2), F.dropout(rows, 0.3), nn.Dropout2d(0.3)(rows), F.dropout(rows, 0.3, inplace=True),
            torch.rand(n, 3, generator=torch.Generator().manual_seed(int(torch.randint(9999, ())))),
        ]  # fmt: skip
        with for_examples(dim=1):
            found.append(torch.randn(3, n).T)
        with for_examples(n // 2):
            found.append(torch.randn(n // 2, 2))
        two = torch.randn(2 * n, 2)  # two batches one behind the other
        found += [two[:n], two[n:]]
        with for_all():
            common = torch.randn(n, 2)
        return found, [common, torch.rand(()), torch.get_rng_state()]


def test_what_is_drawn_is_a_function_of_the_place_in_the_batch(two_ranks, four_ranks):
    """`common` has as many rows as a rank has examples, so that of one process it is of another size."""
    alone, _ = drawn(0, 1)
    for many, world in ((two_ranks, 2), (four_ranks, 4)):
        parts = many(drawn, world)
        for k, whole in enumerate(alone):
            assert torch.equal(torch.cat([found[k] for found, _ in parts]), whole), f"draw {k} on {world} ranks"
        for _, common in parts:
            assert all(torch.equal(a, b) for a, b in zip(common, parts[0][1], strict=True))


def normalized(rank, world, penalty):
    """Batch norm of one part of a batch: what leaves it, the gradients (of a penalty on them), and the running statistics."""
    torch.manual_seed(0)
    x = (torch.randn(8, 3, 4, dtype=torch.float64) * 2 + 5).chunk(world)[rank].clone().requires_grad_()
    norm = nn.BatchNorm1d(3).double()
    with one_batch(8 // world):
        y = norm(x)
        loss = (y.tanh() * torch.linspace(-1, 1, 4)).square().mean()
        if penalty:
            (slope,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
            loss = loss + slope.square().mean()
        loss.backward()
    return y.detach(), x.grad / world, mean_over_ranks(norm.weight.grad), norm.running_mean, norm.running_var


@pytest.mark.parametrize("penalty", [False, True])
def test_batch_norm_takes_its_statistics_over_all_ranks(penalty, two_ranks):
    """Also where gradients are differentiated once more."""
    alone, parts = normalized(0, 1, penalty), two_ranks(normalized, 2, penalty)
    for k in (0, 1):
        torch.testing.assert_close(torch.cat([p[k] for p in parts]), alone[k], rtol=1e-9, atol=1e-12)
    for k in (2, 3, 4):
        for p in parts:
            torch.testing.assert_close(p[k], alone[k], rtol=1e-6, atol=1e-9)


def shared(rank):
    """Sums, means and rows over ranks, and what a controller makes of its rank's scores."""
    rows, augment = torch.arange(6.0).view(3, 2) + 10 * rank, AdaptiveAugment(0.6, 1000, 0.8)
    augment.observe(torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0]][rank]))
    r = augment.adjust()
    some = pooled(rows, torch.tensor([5, 0, 3]))
    return (
        ranks(),
        sum_over_ranks(rows),
        mean_over_ranks(rows),
        some,
        everybody(rows > 3),
        the_one_before(rows),
        r,
        augment.p,
    )


def test_sums_means_and_rows_of_all_ranks(two_ranks):
    """Rank 1 has rank 0's rows plus ten; the controller sees eight images of both, of which seven are judged real: r = 3/4."""
    rows = torch.arange(6.0).view(3, 2)
    every = torch.cat([rows, rows + 10])
    for rank, (world, total, mean, some, large, before, r, p) in enumerate(two_ranks(shared)):
        assert world == 2
        assert torch.equal(total, 2 * rows + 10)
        assert torch.equal(mean, rows + 5)
        assert torch.equal(some, every[[5, 0, 3]])
        assert torch.equal(large, every > 3)
        assert torch.equal(before, every.roll(1, 0)[3 * rank : 3 * rank + 3])
        assert r == 0.75
        assert p == pytest.approx(8 / 1000)
    assert torch.equal(own(rows), rows), "one process has all"


def logged(rank):
    """What is logged of two steps: a loss of each rank, one that is no number on a rank, and one that is none anywhere."""
    meter, nan = Meter(sum_over_ranks), float("nan")
    for step in range(2):
        meter.add(
            {
                "loss": torch.tensor(4.0 * rank + step),
                "some": torch.tensor(nan if rank else 3.0),
                "none": torch.tensor(nan),
            }
        )
    return meter.read(), meter.read()


def test_what_is_logged_is_the_mean_over_ranks_and_steps(two_ranks):
    for found, nothing in two_ranks(logged):
        assert math.isnan(found.pop("none"))
        assert found == {"loss": 2.5, "some": 3.0}
        assert nothing == {}


def unused(rank):
    """Gradients of a step that uses one of two layers, of a loss that is not finite on one rank, and of both layers."""
    torch.manual_seed(0)
    net = nn.ModuleList([nn.Linear(2, 1), nn.Linear(2, 1)])
    net.optimizers = lambda: {"a": torch.optim.SGD(net.parameters(), lr=1.0)}
    update = Updater(net, Runtime(torch.device("cpu"), "fp32", rank, 2))
    start = [p.detach().clone() for p in net.parameters()]
    moved = []
    for loss in (
        lambda: net[0](torch.ones(1, 2) * (rank + 1)).sum(),
        lambda: net[1](torch.ones(1, 2)).sum() * (float("nan") if rank else 1.0),
        lambda: sum(m(torch.ones(1, 2)).sum() for m in net),
    ):
        update.step += 1
        update("a", loss())
        moved.append([float((p.detach() - q).abs().max()) for p, q in zip(net.parameters(), start, strict=True)])
    return moved, update.counts()


def test_layers_without_a_gradient_and_losses_that_are_not_finite(two_ranks):
    """The first layer's weight moves by the mean of 1 and 2; a loss that is no number on one rank moves nothing on either."""
    for moved, counts in two_ranks(unused):
        assert moved[0] == moved[1] == pytest.approx([1.5, 1.0, 0.0, 0.0])
        assert moved[2] == pytest.approx([2.5, 2.0, 1.0, 1.0])
        assert counts == {"a": 1}


def fails(rank):
    """One rank comes to grief while the other one waits for it."""
    if rank:
        raise ValueError("on purpose")
    return 1


def test_a_rank_that_fails_is_named(two_ranks):
    with pytest.raises(AssertionError, match="rank 1: ValueError: on purpose"):
        two_ranks(fails)
    assert [world for world, *_ in two_ranks(shared)] == [2, 2]


def told(rank):
    """What each rank says where they were told different things, and where something fails on one of them."""

    def fail():
        if rank:
            raise UserError("there is no folder")
        return "found"

    said = []
    for work in (lambda: same_everywhere({"lr": "0.1", "batch": str(4 + rank)}), lambda: together(fail)):
        try:
            work()
        except UserError as error:
            said.append(str(error))
    same_everywhere({"lr": "0.1"})
    return said, together(lambda: rank)


def test_ranks_that_were_told_different_things_all_say_the_same(two_ranks):
    (said, zero), (other, one) = two_ranks(told)
    assert said == other
    assert (zero, one) == (0, 1)
    assert said[0].startswith(
        "the processes do not train the same: batch is 5 on process 1 and 4 on process 0; start all of them with"
    )
    assert said[1] == "process 1 of 2: there is no folder"
