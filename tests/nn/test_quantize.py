"""The quantizer by hand: straight-through gradient, running means, restarts, usage and perplexity, two ranks."""

import math

import pytest
import torch

from genzoo.nn.autoencoding.quantize import VectorQuantizer


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def quantiser(codebook, **keys):
    """A quantizer that has started, with these codes and a count of one each."""
    q = VectorQuantizer(*codebook.shape, **keys)
    q.codebook.data.copy_(codebook)
    q.total.copy_(codebook)
    q.count.fill_(1)
    q.started.fill_(True)
    return q


CODES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])


def test_nearest_is_the_argmin_of_distances_even_far_from_the_origin():
    x, codes = torch.randn(200, 5, generator=gen()), torch.randn(17, 5, generator=gen(1))
    for shift in (0.0, 30.0):
        q = quantiser(codes + shift)
        assert torch.equal(q.nearest(x + shift), torch.cdist((x + shift).double(), (codes + shift).double()).argmin(1))


@pytest.mark.parametrize("learn", ["ema", "gradient"])
def test_the_gradient_passes_straight_through_and_commitment_adds_its_own(learn):
    q = quantiser(CODES, learn=learn, commitment=0.25).eval()
    x = torch.tensor([[0.9, 0.2], [4.0, 4.5]]).T.reshape(1, 2, 2).requires_grad_(True)
    out = q(x)
    assert torch.allclose(out.z, torch.tensor([[1.0, 5.0], [0.0, 5.0]])[None])
    weight = torch.randn(out.z.shape, generator=gen())
    (through,) = torch.autograd.grad((out.z * weight).sum(), x, retain_graph=True)
    assert torch.equal(through, weight)
    (own,) = torch.autograd.grad(out.loss, x, retain_graph=True)
    assert torch.allclose(own, 2 * 0.25 * (x - out.z).detach() / 4)
    by_hand = (
        0.25 * (x - out.z).square().mean() * (1 if learn == "ema" else 5)
    )  # gradient: 1 + β times the same distance
    assert torch.allclose(out.loss, by_hand)
    if learn == "gradient":
        (codes,) = torch.autograd.grad(out.loss, q.codebook)
        assert torch.allclose(codes[1], 2 * (CODES[1] - torch.tensor([0.9, 0.2])) / 4)
        assert torch.equal(codes[0], torch.zeros(2))


def test_the_loss_does_not_grow_with_the_batch():
    """A mean over the elements: a sum over the batch would change the weight of the commitment with it."""
    q, x = quantiser(CODES).eval(), torch.randn(2, 2, 3, 3, generator=gen())
    assert torch.allclose(q(x).loss, q(x.repeat(8, 1, 1, 1)).loss)


def test_running_means_are_a_step_of_k_means_by_hand():
    x = torch.tensor([[0.2, 0.0], [0.4, 0.2], [0.9, 0.1], [6.0, 5.0]])
    q = quantiser(CODES, decay=0.0, restart=0).train()
    q(x.T[None])
    assert torch.allclose(
        q.codebook, torch.stack([x[:2].mean(0), x[2], CODES[2], x[3]])
    )  # code 2 was not chosen: it stays
    q = quantiser(CODES, decay=0.9, restart=0).train()
    q(x.T[None])
    assert torch.allclose(q.count, torch.tensor([0.9 + 0.2, 0.9 + 0.1, 0.9, 0.9 + 0.1]))
    assert torch.allclose(q.codebook[0], (0.9 * CODES[0] + 0.1 * x[:2].sum(0)) / 1.1)
    assert torch.allclose(q.codebook[2], CODES[2])


def test_unused_codes_stay_where_they_are_however_long():
    """A quotient of two counts that go to nothing sends a code to infinity."""
    q, x = quantiser(CODES, decay=0.5, restart=0).train(), 0.01 * torch.randn(1, 2, 64, generator=gen())
    for _ in range(400):
        q(x)
    assert torch.allclose(q.codebook[3], CODES[3], rtol=1e-3)
    assert q.codebook.isfinite().all()


def test_codes_that_nobody_chooses_restart_with_sum_and_count():
    """A code, its sum and its count move together, or the next step moves it back."""
    torch.manual_seed(0)
    q = quantiser(torch.cat([torch.zeros(1, 2), torch.full((7, 2), 100.0)]), decay=0.5, restart=0.1).train()
    x = torch.randn(1, 2, 256, generator=gen())
    for _ in range(12):
        out = q(x)
    assert out.usage == 1
    assert q.codebook.abs().max() < 10
    assert torch.allclose(q.total / q.count[:, None], q.codebook, atol=1e-5)
    frozen = quantiser(torch.cat([torch.zeros(1, 2), torch.full((7, 2), 100.0)]), decay=0.5, restart=0).train()
    for _ in range(12):
        out = frozen(x)
    assert out.usage == 1 / 8


def test_a_restarted_code_has_time_to_prove_itself():
    q = quantiser(CODES, decay=0.99, restart=0.1)
    q.count.fill_(q._credit(1000))
    q.total.copy_(q.codebook * q.count[:, None])
    x = torch.zeros(1, 2, 1000)
    q.train()
    for _ in range(int(math.log(2) / -math.log(0.99)) - 1):
        q(x)
    assert torch.allclose(q.codebook[3], CODES[3], rtol=1e-4)
    for _ in range(3):
        q(x)
    assert torch.equal(q.codebook[3], torch.zeros(2))


def test_usage_and_perplexity_by_hand():
    q = quantiser(CODES).eval()
    x = CODES[[0, 0, 0, 0, 1, 1, 2, 2]].T[None]
    out = q(x)
    assert out.usage == 0.75
    entropy = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert math.isclose(out.perplexity.item(), math.exp(entropy), rel_tol=1e-6)
    assert math.isclose(q(CODES.T[None]).perplexity.item(), 4, rel_tol=1e-6)


@pytest.mark.parametrize("learn", ["ema", "gradient"])
def test_the_start_is_k_means_of_the_first_training_batch_and_only_of_that(learn):
    torch.manual_seed(0)
    centres = 20 * torch.randn(8, 3, generator=gen())
    x = (centres.repeat(32, 1) + 0.01 * torch.randn(256, 3, generator=gen(1))).T[None]
    q = VectorQuantizer(64, 3, learn=learn, decay=0.999, restart=0)
    q.eval()(x)
    assert not q.started
    q.train()(x)
    assert q.started
    assert torch.cdist(centres, q.codebook.detach()).min(1).values.max() < 0.1  # every centre has a code
    before = q.codebook.detach().clone()
    q(x + 100)
    moved = ((q.codebook.detach() - before).abs().amax(1) > 1e-4).sum()
    assert moved <= 8 if learn == "ema" else moved == 0  # only codes that were chosen follow, none starts anew


def test_eval_changes_nothing_and_draws_nothing():
    q = quantiser(CODES).eval()
    before, state = {k: v.clone() for k, v in q.state_dict().items()}, torch.get_rng_state()
    q(torch.randn(1, 2, 50, generator=gen()))
    assert all(torch.equal(v, before[k]) for k, v in q.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_bf16_inputs_are_quantized_in_float32():
    q = quantiser(CODES).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = q(torch.randn(1, 2, 9, generator=gen()).bfloat16())
    assert out.z.dtype == out.loss.dtype == torch.float32


def _data():
    return torch.randn(4, 3, 8, 8, generator=gen()) * torch.tensor([1.0, 5.0, 0.1])[:, None, None]


def _run(q, x, seed):
    torch.manual_seed(seed)
    for _ in range(6):
        out = q.train()(x)
    return {**q.state_dict(), "perplexity": out.perplexity, "usage": out.usage}


def _on_one_of_two(rank):
    torch.manual_seed(0)
    q = VectorQuantizer(40, 3, decay=0.5, restart=0.4)
    return _run(q, _data()[2 * rank : 2 * rank + 2], seed=7)  # all ranks hold the same generators, as in a training


def test_two_ranks_hold_equal_codebooks_those_of_one_rank_with_the_joined_batch(two_ranks):
    a, b = two_ranks(_on_one_of_two)
    torch.manual_seed(0)
    q = VectorQuantizer(40, 3, decay=0.5, restart=0.4)
    single = _run(q, _data(), seed=7)
    for key, value in single.items():
        assert torch.equal(a[key], b[key]), key
        assert torch.allclose(a[key].float(), value.float(), atol=1e-4), key
