"""The numerical truths of wavenet: mu-law, causality, the exact field of view, and a tape that changes nothing."""

import math

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.autoregressive._causal import CausalConv1d, Tape
from genzoo.models.autoregressive._mu_law import compress, decode, encode, expand
from genzoo.models.autoregressive.wavenet import PCM, Walk, WaveNet


def build(**settings):
    torch.manual_seed(0)
    small = {"shape": (1, 40), "width": 6, "skip": 7, "layers": 3, "stacks": 2, "levels": 8, "mixtures": 3}
    system = WaveNet(**{**small, **settings})
    for p in system.parameters():  # livelier than at the start
        torch.nn.init.normal_(p, std=0.4)
    return system.eval()


def sounds(system, n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(-32768, 32768, (n, *system.shape), generator=g) / 32768


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- mu-law ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 16, 256, 65536])
def test_codes_survive_the_round_trip_and_cover_all_levels(levels):
    codes = torch.arange(levels)
    assert torch.equal(encode(decode(codes, levels), levels), codes)
    ends = torch.tensor([-1.0, 1.0, -3.0, 3.0])
    assert encode(ends, levels).tolist() == [0, levels - 1, 0, levels - 1]
    assert decode(codes, levels)[[0, -1]].tolist() == [-1, 1]


def test_mu_law_is_the_textbook_curve_and_unbiased():
    """μ is 255, codes round to the nearest, and 0 and 255 stand for the ends: else silence has an offset."""
    x = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    torch.testing.assert_close(expand(compress(x)), x)
    half = torch.tensor(0.5, dtype=torch.float64)
    assert compress(half).item() == pytest.approx(math.log(1 + 255 * 0.5) / math.log(256))
    error = decode(encode(x)).double() - x
    assert abs(error.mean()) < 1e-6
    assert error.square().mean().sqrt() < 0.0075
    # every 16-bit amplitude is decoded to within half a step of the code at its loudness
    pcm = torch.arange(-32768, 32768) / 32768
    assert ((decode(encode(pcm)) - pcm).abs() <= 0.0223 * (pcm.abs() + 1 / 255) + 1e-6).all()


# ---- convolutions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (2, 8), (3, 4), (2, 64)])
def test_one_time_at_a_time_equals_the_parallel_convolution_and_torchs(kernel, dilation):
    torch.manual_seed(1)
    conv, x = CausalConv1d(3, 4, kernel, dilation).double(), torch.randn(2, 30, 3).double()
    whole = conv(x)
    if kernel > 1:  # what the older taps add, and the newest one's product
        wide = CausalConv1d(3, 4, kernel, dilation + 3).double()
        both, zeros = [conv, wide], torch.zeros(2, 3, dtype=torch.float64)
        tape, steps = Tape(both, torch.stack([c.bias for c in both]).detach()[:, None], zeros, 2, 30), []
        for time in range(30):
            tape.before(time)
            newest = [x[:, time] @ c.weight[-1] for c in both]
            steps.append(torch.stack([add + new for add, new in zip(tape.adds, newest, strict=True)]).detach())
            tape.keep(time, torch.stack([x[:, time]] * 2))
        torch.testing.assert_close(torch.stack(steps, 2), torch.stack([whole, wide(x)]).detach())
    padded = torch.nn.functional.pad(x.mT, ((kernel - 1) * dilation, 0))
    reference = torch.nn.functional.conv1d(padded, conv.weight.permute(2, 1, 0), conv.bias, dilation=dilation)
    torch.testing.assert_close(whole, reference.mT)


@pytest.mark.parametrize("output", ["mu-law", "mixture"])
@pytest.mark.parametrize(("layers", "stacks", "kernel"), [(3, 1, 2), (4, 2, 2), (2, 2, 3)])
def test_the_view_is_exactly_what_the_dilations_say_and_only_past(output, layers, stacks, kernel):
    view = 1 + stacks * (2**layers - 1) * (kernel - 1)
    system = build(output=output, shape=(1, view + 12), layers=layers, stacks=stacks, kernel=kernel).double()
    assert system.net.view == view
    with torch.no_grad():
        for p in system.net.parameters():
            p.mul_(0.3)
    read, _ = system._read(sounds(system, 3)[:, 0])
    for mode in (True, False):
        features = system.train(mode).net.start(read).detach().requires_grad_()
        out = system.net.step(torch.nn.functional.pad(features[:, :-1], (0, 0, 1, 0)), None)
        t = view + 5
        (grad,) = torch.autograd.grad(out[:, t].sin().sum(), features)
        seen = grad.abs().sum((0, 2)).nonzero().flatten().tolist()
        assert seen == list(range(t - view, t))


# ---- likelihood ------------------------------------------------------------------------------------------------------


def test_probabilities_of_all_sounds_sum_to_one():
    system = build(shape=(1, 5), levels=4)
    states = decode(torch.cartesian_prod(*[torch.arange(4)] * 5), 4)[:, None]
    log_p = system.log_prob(states)
    assert log_p.std() > 0.3, "a uniform model would prove little"
    assert log_p.double().exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_masses_of_all_16_bit_values_sum_to_one():
    """p(x_2 | x_1) of every value of a two-sample sound, divided by p(x_1): the sum over x_2 is 1."""
    system = build(shape=(1, 2), output="mixture")
    every = torch.arange(-32768, 32768) / 32768
    pairs = torch.stack([torch.full_like(every, 0.1), every], 1)[:, None]
    out = system.net(system._read(pairs[:1, 0])[0])
    target = system._read(pairs[:, 0])[1]
    from genzoo.losses.likelihoods import logistic_mixture

    first = logistic_mixture(target[:1, 0], *(p[:, 0] for p in system._mixture(out)), PCM)
    total = torch.logsumexp((system.log_prob(pairs) - first).double(), 0)
    assert total.item() == pytest.approx(0, abs=2e-4)


@pytest.mark.parametrize("output", ["mu-law", "mixture"])
def test_the_loss_is_the_mean_of_log_prob_and_stays_float32_under_autocast(output):
    system = build(output=output)
    x = sounds(system, 4)
    logs = system.loss({"audio": x})
    assert logs["loss"].item() == pytest.approx(-system.log_prob(x).mean().item(), rel=1e-6)
    assert logs["bits_per_sample"].item() == pytest.approx(logs["loss"].item() / (40 * math.log(2)), rel=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        half = system.log_prob(x)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, system.log_prob(x), rtol=0.05, atol=0)


def test_a_zeroed_last_layer_costs_eight_bits_a_sample():
    system = build(levels=256)
    torch.nn.init.zeros_(system.net.out.weight)
    torch.nn.init.zeros_(system.net.out.bias)
    assert system.loss({"audio": sounds(system, 3)})["bits_per_sample"].item() == pytest.approx(8, rel=1e-6)


# ---- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"output": "mixture"}, {"kernel": 3}, {"conditional": True, "classes": 3}])
@pytest.mark.parametrize("seed", [0, 1])
def test_cached_sampling_equals_naive_sample_for_sample(settings, seed):
    system = build(**settings)
    cached = system.sample(5, generator=seeded(seed), temperature=0.9)
    assert torch.equal(cached, system.sample(5, generator=seeded(seed), temperature=0.9, cached=False))
    assert cached.dtype == torch.float32
    assert cached.unique().numel() > 5
    assert cached.abs().max() <= 1
    if system.output == "mu-law":
        assert torch.equal(decode(encode(cached, 8), 8), cached), "samples are codes"
    else:
        assert torch.equal((cached * 32768).round() / 32768, cached), "samples are 16-bit"


@pytest.mark.parametrize("settings", [{}, {"kernel": 3}, {"output": "mixture"}, {"conditional": True, "classes": 3}])
def test_the_walk_gives_the_full_pass_over_a_long_sound(settings):
    system = build(**{"shape": (1, 300), "layers": 6, "levels": 256, **settings}).double()
    read, _ = system._read(sounds(system, 2)[:, 0])
    label = torch.tensor([2, 0]) if system.labels else None
    with torch.no_grad():
        whole, walk = system.net(read, label, dtype=torch.float64), Walk(system.net, label, 2, 300, torch.float64)
        for t in range(300):
            torch.testing.assert_close(walk.at(t, read[:, t - 1] if t else None), whole[:, t], rtol=1e-10, atol=1e-12)


def test_samples_follow_the_distribution_that_log_prob_states():
    system = build(shape=(1, 4), levels=2)
    states = torch.cartesian_prod(*[torch.arange(2)] * 4)
    p = system.log_prob(decode(states, 2)[:, None]).double().exp()
    n = 20000
    drawn = encode(system.sample(n, generator=seeded(5)), 2).flatten(1)
    counts = (drawn * torch.tensor([8, 4, 2, 1])).sum(1).bincount(minlength=16).double()
    assert ((counts - n * p).square() / (n * p)).sum() < 37.7, "15 degrees of freedom, once in a thousand; a fixed seed"


@pytest.mark.parametrize("output", ["mu-law", "mixture"])
def test_complete_keeps_what_is_known_and_goes_on_from_it(output):
    system = build(output=output)
    x = sounds(system, 3)
    known = torch.zeros(3, 1, 40, dtype=torch.bool)
    known[..., :15] = True
    known[1, 0, 20] = True
    filled = system.complete(x, known, generator=seeded(3))
    assert torch.equal(filled[known], x[known])
    assert torch.equal(filled, system.complete(x, known, generator=seeded(3), cached=False))
    assert torch.equal(filled, system.complete(torch.where(known, x, 0.3), known, generator=seeded(3)))
    other = system.complete(torch.where(known, -x, x), known, generator=seeded(3))
    assert not torch.equal(filled[~known], other[~known])
    nothing = torch.zeros_like(known)
    assert torch.equal(system.complete(x, nothing, generator=seeded(6)), system.sample(3, generator=seeded(6)))
    with pytest.raises(UserError, match="True keeps"):
        system.complete(x, known.float(), generator=seeded())


# ---- speakers --------------------------------------------------------------------------------------------------------


def test_a_speaker_changes_the_likelihood_and_the_mixture_over_speakers_is_their_mean():
    system = build(conditional=True, classes=3)
    x = sounds(system, 4)
    each = torch.stack([system.log_prob(x, label=k) for k in range(3)])
    assert (each.std(0) > 0.1).all()
    torch.testing.assert_close(system.log_prob(x), each.double().exp().mean(0).log().float())
    label = torch.tensor([0, 2, 1, 1])
    expected = -each[label, torch.arange(4)].mean()
    torch.testing.assert_close(system.loss({"audio": x, "label": label})["loss"], expected)
    one, other = (system.sample(3, generator=seeded(), label=k) for k in (0, 1))
    assert not torch.equal(one, other)
    with pytest.raises(UserError, match="0 to 2"):
        system.sample(1, generator=seeded(), label=3)


def test_learns_who_speaks():
    """Speaker 0 says high, speaker 1 says low: only a model that is told can know the first sample."""
    torch.manual_seed(0)
    system = WaveNet((1, 8), classes=2, conditional=True, levels=4, width=8, skip=8, layers=2, stacks=1, lr=2e-2)
    x = torch.tensor([-1.0, 1.0]).view(2, 1, 1).expand(2, 1, 8)
    optimizer = system.optimizers()["model"]
    for _ in range(120):
        optimizer.zero_grad()
        loss = system.loss({"audio": x, "label": torch.tensor([0, 1])})["loss"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    assert (system.eval().sample(4, generator=seeded(), label=1) == 1).all()


# ---- settings --------------------------------------------------------------------------------------------------------


def test_refusals_say_what_to_do():
    with pytest.raises(UserError, match="mono"):
        WaveNet((2, 100))
    with pytest.raises(UserError, match="subfolder"):
        WaveNet(conditional=True)
    system = build()
    with pytest.raises(UserError, match=r"takes \[B, 1, 40\]"):
        system.log_prob(torch.zeros(2, 1, 41))
    with pytest.raises(UserError, match="without labels"):
        system.sample(1, generator=seeded(), label=0)
    with pytest.raises(UserError, match="temperature"):
        system.sample(1, generator=seeded(), temperature=0)


def test_capabilities_and_presets():
    assert capabilities(WaveNet) == ("samples", "conditioned", "density", "completes", "predicts")
    for overrides in WaveNet.presets.values():
        WaveNet(**{**overrides, "width": 4, "skip": 4})
    assert build().likelihood.startswith("exact")
    assert "16-bit" in build(output="mixture").likelihood
    assert WaveNet(width=4).net.view == 1 + 2 * 511
