"""The numerical truths of gated-pixelcnn: the whole past and nothing else, classes, and a cache that changes nothing."""

import math

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.autoregressive.gated_pixelcnn import GatedLayer, GatedPixelCNN, VerticalRows, gate
from genzoo.nn.autoregressive.masked import colour_of, raster_mask


def build(shape=(1, 6, 5), std=0.4, **settings):
    torch.manual_seed(0)
    system = GatedPixelCNN(shape, **{"width": 7, "layers": 3, "head": 9, "levels": 4, **settings})
    for p in system.parameters():  # livelier than at the start, where the conditionals are almost uniform
        torch.nn.init.normal_(p, std=std)
    return system.eval()


def images(system, n, seed=0):
    tokens = torch.randint(0, system.grid.levels, (n, *system.shape), generator=seeded(seed))
    return system.grid.values(tokens)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def states(levels, shape):
    return torch.cartesian_prod(*[torch.arange(levels)] * math.prod(shape)).view(-1, *shape)


# ---- likelihood ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 4), 2), ((2, 2, 2), 2), ((3, 1, 2), 4)])
def test_probabilities_of_all_images_sum_to_one(shape, levels, classes):
    system = build(shape, levels=levels, classes=classes)
    x = system.grid.values(states(levels, shape))
    given = [None] if not classes else [None, *range(classes)]
    for label in given:
        log_p = torch.cat([system.log_prob(part, label=label) for part in x.split(1024)])
        assert log_p.std() > 0.3, "a uniform model would prove little"
        assert log_p.double().exp().sum().item() == pytest.approx(1, abs=2e-5)


def test_without_a_label_it_is_the_mixture_over_classes():
    system = build(classes=4)
    x = images(system, 5)
    each = torch.stack([system.log_prob(x, label=k) for k in range(4)], 1)
    assert each.std(1).min() > 0.1, "different labels give different probabilities"
    torch.testing.assert_close(system.log_prob(x).exp(), each.exp().mean(1))
    torch.testing.assert_close(system.log_prob_of_classes(x), each)
    labels = torch.tensor([0, 1, 2, 3, 0])
    loss = system.loss({"image": x, "label": labels})["loss"]
    assert loss.item() == pytest.approx(-each[range(5), labels].mean().item(), rel=1e-6)
    assert system.likelihood == "exact, of the mixture over 4 classes"


def test_a_zeroed_last_layer_costs_the_bits_of_the_uniform_model():
    system = build((3, 4, 4), levels=16)
    torch.nn.init.zeros_(system.net.out.weight)
    torch.nn.init.zeros_(system.net.out.bias)
    logs = system.loss({"image": images(system, 5)})
    assert logs["bits_per_dim"].item() == pytest.approx(4, rel=1e-6)
    assert logs["loss"].item() == pytest.approx(4 * 48 * math.log(2), rel=1e-6)


def test_autocast_keeps_the_likelihood_in_float32():
    system = build(levels=256)
    x = images(system, 4)
    with torch.autocast("cpu", torch.bfloat16):
        log_p = system.log_prob(x)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p, system.log_prob(x), rtol=0.03, atol=0)


# ---- order -----------------------------------------------------------------------------------------------------------


def influence(system, row, col, colour, label=None, n=4):
    """Sum of |d output / d input| of one pixel's colour, [C, H, W]."""
    x = images(system, n).double().requires_grad_()
    label = torch.arange(n) % system.classes if system.classes else None
    out = system.double().net(x, label=label).unflatten(1, (system.shape[0], -1))
    (grad,) = torch.autograd.grad(out[:, colour, :, row, col].sin().sum(), x)
    return grad.abs().sum(0)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("shape", "classes"), [((1, 7, 6), 3), ((3, 5, 6), 0), ((4, 3, 3), 2)])
def test_every_output_sees_the_whole_past_and_nothing_else(shape, classes, mode):
    """No blind spot, no future, not itself, and R < G < B. Every pixel of the image is tried."""
    system = build(shape, classes=classes, layers=4, width=12, head=32).train(mode == "train")
    colours, height, width = shape
    place = torch.arange(height * width).view(height, width)
    for row in range(height):
        for col in range(width):
            for colour in range(colours):
                seen = influence(system, row, col, colour) > 0
                assert torch.equal(seen, _past(place, row, col, colour, colours))


def _past(place, row, col, colour, colours):
    before = (place < place[row, col]).expand(colours, -1, -1).clone()
    before[:colour, row, col] = True
    return before


def test_no_blind_spot_where_the_plain_stack_has_one():
    """Layers x (kernel // 2) + 3 columns to the right of the pixel are seen in the row just above."""
    system = build((1, 9, 12), layers=10, levels=2)
    with torch.no_grad():
        for p in system.parameters():
            p.abs_().mul_(0.1).add_(0.01)  # nothing cancels, no gate is saturated
    x = torch.ones(1, 1, 9, 12, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(system.double().net(x)[0, 0, 8, 2], x)
    assert grad[0, 0, :8].all()


def test_gates_of_odd_widths_keep_the_colour_groups():
    """With 7 features and 3 colours, both halves of a gate have the groups of the 7 features, not those of 14."""
    mask = raster_mask("B", 14, 7, 1, 3, rows=1, copies=2)[:, :, 0, 0]
    group = colour_of(7, 3)
    assert torch.equal(mask[:7], (group[:, None] >= group[None]).float())
    assert torch.equal(mask[7:], mask[:7])


def test_gate_is_tanh_times_sigmoid():
    y = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(gate(y), y[:, :3].tanh() * y[:, 3:].sigmoid())


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("kernel", [3, 7])
def test_one_row_at_a_time_equals_the_vertical_convolution_and_its_link(above, kernel):
    layer = GatedLayer(above, 3, 6, kernel, 1, 0).double()
    x, scale = torch.randn(2, 3, 6, 5).double(), torch.rand(12).double()
    with torch.no_grad():
        whole = layer.vertical(x)
        linked = layer.link(whole) * scale[:, None, None]
        rows = VerticalRows(layer, 2, 5, scale)
        for r in range(6):
            if r or not above:
                rows.push(x[:, :, r - above].permute(2, 0, 1))
            features, link = (part.view(5, 2, 12).permute(1, 2, 0) for part in rows())
            torch.testing.assert_close(features, whole[:, :, r], atol=1e-10, rtol=0)
            torch.testing.assert_close(link, linked[:, :, r], atol=1e-10, rtol=0)


# ---- classes ---------------------------------------------------------------------------------------------------------


def test_different_labels_give_different_logits_and_samples():
    torch.manual_seed(0)
    system = GatedPixelCNN((1, 6, 5), classes=3, width=8, layers=3, head=8, levels=4).eval()  # as it is at the start
    x = images(system, 1)
    logits = torch.stack([system.net(x, label=torch.tensor([k])) for k in range(3)])
    assert (logits[0] - logits[1]).abs().mean() > 1e-4
    assert (logits[1] - logits[2]).abs().mean() > 1e-4
    lively = build(classes=3)
    drawn = [lively.sample(4, generator=seeded(), label=k) for k in range(3)]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


def test_learns_which_class_is_which_and_completes_by_bayes_rule():
    """Class 0 is black, class 1 is white: labels decide samples, and known pixels decide the label."""
    torch.manual_seed(0)
    system = GatedPixelCNN((1, 5, 5), classes=2, levels=2, width=8, layers=2, head=8, lr=1e-2)
    x = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 5, 5)
    label = torch.tensor([0, 1])
    optimizer = system.optimizers()["model"]
    for _ in range(80):
        optimizer.zero_grad()
        system.loss({"image": x, "label": label})["loss"].backward()
        optimizer.step()
    system.eval()
    for k, colour in enumerate((-1.0, 1.0)):
        assert (system.sample(8, generator=seeded(), label=k) == colour).float().mean() > 0.95
    assert torch.equal(system.log_prob_of_classes(x).argmax(1), label)
    known = torch.zeros(2, 1, 5, 5, dtype=torch.bool)
    known[:, :, 0] = True
    assert torch.equal(system._labels(x, known, seeded(), None), label)
    assert torch.equal(system.complete(x, known, generator=seeded()), x)
    # labels that no known pixel decides are drawn evenly
    drawn = system._labels(x[:1].expand(400, -1, -1, -1), known[:1].expand(400, -1, -1, -1) & False, seeded(), None)
    assert 160 < drawn.sum() < 240


def test_labels_are_asked_for_and_refused_in_words():
    system, free = build(classes=3), build()
    x = images(system, 2)
    with pytest.raises(UserError, match="classes=0"):
        system.loss({"image": x})
    with pytest.raises(UserError, match="0 to 2"):
        system.sample(1, generator=seeded(), label=3)
    with pytest.raises(UserError, match="without labels"):
        free.sample(1, generator=seeded(), label=0)
    assert torch.isfinite(free.loss({"image": x, "label": torch.tensor([0, 1])})["loss"])


# ---- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "levels", "classes"), [((1, 8, 7), 2, 3), ((1, 7, 8), 256, 0), ((3, 5, 6), 256, 2), ((2, 6, 4), 8, 0)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_cached_sampling_equals_naive_token_for_token(shape, levels, classes, seed):
    system = build(shape, levels=levels, classes=classes)
    cached = system.sample(5, generator=seeded(seed), temperature=0.8)
    naive = system.sample(5, generator=seeded(seed), temperature=0.8, cached=False)
    assert torch.equal(cached, naive)
    assert cached.dtype == torch.float32
    assert torch.equal(system.grid.values(system.grid.tokens(cached)), cached), "samples lie on the grid of levels"


def test_chunks_change_nothing_and_seeds_do():
    system = build(levels=256, classes=3)
    whole = system.sample(5, generator=seeded(3))
    assert torch.equal(whole, system.sample(5, generator=seeded(3), chunk=2))
    assert not torch.equal(whole, system.sample(5, generator=seeded(4)))


def test_samples_follow_the_distribution_that_log_prob_states():
    system = build((1, 2, 2), levels=2, classes=2)
    p = system.log_prob(system.grid.values(states(2, (1, 2, 2)))).double().exp()
    n = 20000
    drawn = system.grid.tokens(system.sample(n, generator=seeded(5), chunk=4096)).flatten(1)
    counts = (drawn * torch.tensor([8, 4, 2, 1])).sum(1).bincount(minlength=16).double()
    chi2 = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi2 < 37.7, "15 degrees of freedom: beyond this once in a thousand"  # and the seed is fixed


def test_completion_from_the_top_follows_the_conditional_distribution():
    """The label is drawn given the known row, so that p(rest | row) is that of the mixture, exactly."""
    system = build((1, 2, 2), levels=2, classes=3, std=0.8)
    row = torch.tensor([[1.0, -1.0]])
    rest = system.grid.values(states(2, (1, 1, 2)))
    p = system.log_prob(torch.cat([row.expand(4, 1, 1, 2), rest], 2)).double().softmax(0)
    n = 20000
    x = torch.cat([row, torch.zeros(1, 2)]).expand(n, 1, 2, 2)
    known = torch.tensor([[True, True], [False, False]]).expand(n, 1, 2, 2)
    drawn = system.grid.tokens(system.complete(x, known, generator=seeded(1), chunk=4096))[:, 0, 1]
    counts = (drawn * torch.tensor([2, 1])).sum(1).bincount(minlength=4).double()
    chi2 = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi2 < 16.3, "3 degrees of freedom: beyond this once in a thousand"


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(("shape", "classes"), [((1, 6, 5), 2), ((3, 4, 5), 0)])
def test_complete_keeps_known_pixels_and_draws_the_others_given_them(shape, classes, cached):
    system = build(shape, levels=8, classes=classes)
    x = torch.rand(3, *shape, generator=seeded(1)) * 2 - 1  # off the grid of levels: kept all the same
    known = torch.rand(3, 1, *shape[1:], generator=seeded(2)) < 0.5
    known[:, :, :2] = True
    filled = system.complete(x, known, generator=seeded(3), cached=cached)
    keep = known.expand_as(x)
    assert torch.equal(filled[keep], x[keep])
    assert not torch.equal(filled[~keep], x[~keep])
    assert torch.equal(filled, system.complete(x, known, generator=seeded(3), cached=not cached))
    assert torch.equal(filled, system.complete(torch.where(keep, x, 0.3), known, generator=seeded(3)))


def test_completing_nothing_known_is_sampling():
    system = build((3, 4, 4), levels=256, classes=2)
    x = images(system, 2)
    known = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    assert torch.equal(system.complete(x, known, generator=seeded(6)), system.sample(2, generator=seeded(6)))
    assert torch.equal(system.complete(x, ~known, generator=seeded(6)), x)


# ---- settings --------------------------------------------------------------------------------------------------------


def test_refusals_say_what_to_do():
    with pytest.raises(UserError, match=r"levels=.* is not allowed; give 2 \| 4 \| 8"):
        GatedPixelCNN((1, 8, 8), levels=10)
    with pytest.raises(UserError, match="every colour"):
        GatedPixelCNN((3, 8, 8), width=2)
    with pytest.raises(UserError, match="odd"):
        GatedPixelCNN((1, 8, 8), kernel=4)
    with pytest.raises(UserError, match=r"takes \[B, 1, 6, 5\]"):
        build().log_prob(torch.zeros(2, 3, 6, 5))


def test_capabilities_and_presets():
    assert capabilities(GatedPixelCNN) == ("samples", "conditioned", "density", "completes", "predicts")
    for overrides in GatedPixelCNN.presets.values():
        GatedPixelCNN(**{**overrides, "shape": (1, 8, 8), "layers": 2})
