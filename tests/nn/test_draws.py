"""A generator for each example: what is drawn for one does not depend on the others, and a plain generator draws what torch draws."""

import pytest
import torch

from genzoo.nn import draws
from genzoo.nn.draws import Generators

DRAWS = {
    "randn": lambda n, g: draws.randn(n, 20, generator=g),
    "rand": lambda n, g: draws.rand(n, 3, 2, generator=g, dtype=torch.float64),
    "randint": lambda n, g: draws.randint(10**9, n, generator=g),
    "randint of several": lambda n, g: draws.randint(10**9, n, 4, generator=g),
    "multinomial": lambda n, g: draws.multinomial(torch.ones(100_000), n, generator=g),
}


def of(seed, n, first=0):
    return Generators("cpu", [(seed, first + i) for i in range(n)])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_an_example_is_what_it_is_whatever_is_drawn_with_it(draw):
    ten = draw(10, of(1, 10))
    assert torch.equal(draw(3, of(1, 3)), ten[:3])
    assert torch.equal(draw(2, of(1, 2, first=5)), ten[5:7])
    assert torch.equal(draw(2, Generators("cpu", [(7, 0), (1, 4)]))[1], ten[4])
    assert len({tuple(x.flatten().tolist()) for x in ten}) == 10
    assert not torch.equal(draw(10, of(2, 10)), ten)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_second_draw_goes_on(draw):
    g = of(1, 3)
    assert not torch.equal(draw(3, g), draw(3, g))


def test_a_plain_generator_draws_what_torch_draws():
    def plain():
        return torch.Generator().manual_seed(3)

    assert torch.equal(draws.randn(5, 20, generator=plain()), torch.randn(5, 20, generator=plain()))
    assert torch.equal(draws.rand(5, generator=plain()), torch.rand(5, generator=plain()))
    assert torch.equal(draws.randint(9, 5, 2, generator=plain()), torch.randint(9, (5, 2), generator=plain()))
    weights = torch.rand(7)
    drawn = torch.multinomial(weights, 5, replacement=True, generator=plain())
    assert torch.equal(draws.multinomial(weights, 5, generator=plain()), drawn)
    torch.manual_seed(3)
    ours = draws.randn(5, 20, generator=None)
    torch.manual_seed(3)
    assert torch.equal(ours, torch.randn(5, 20))


def test_what_examples_have_in_common_does_not_depend_on_how_many_there_are():
    together = [torch.rand(4, generator=g) for g in (of(1, 3), of(1, 10), of(1, 2, first=8))]
    assert torch.equal(together[0], together[1])
    assert torch.equal(together[0], together[2])


def test_another_number_of_examples_than_generators_is_a_mistake():
    with pytest.raises(AssertionError, match="3 examples are drawn from the generators of 2"):
        draws.randn(3, 4, generator=of(1, 2))


def test_examples_are_standard_normal_and_do_not_hang_together():
    """Neighbouring seeds of one generator: means, variances and correlations over examples are those of chance."""
    n = 4000
    x = draws.randn(n, 24, generator=of(0, n)).double()
    assert x.mean().abs() < 4 / (24 * n) ** 0.5
    assert (x.var() - 1).abs() < 4 * (2 / (24 * n)) ** 0.5
    between = torch.corrcoef(x.T) - torch.eye(24)
    assert between.abs().max() < 4.5 / n**0.5
    for lag in (1, 2, 3, 16, 397, 624):
        along = (x[:-lag] * x[lag:]).mean(0)
        assert along.abs().max() < 4.5 / (n - lag) ** 0.5
    k = draws.randint(10, n, generator=of(5, n))
    counts = torch.bincount(k, minlength=10).double()
    assert ((counts - n / 10) ** 2 / (n / 10)).sum() < 33  # chi-squared with 9 degrees of freedom: once in 10,000 seeds


def test_no_two_examples_of_a_seed_are_alike():
    seeds = [g.initial_seed() % 2**32 for g in of(11, 5000).each]
    assert len(set(seeds)) == 5000
