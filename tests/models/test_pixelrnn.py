"""The numerical truths of pixelrnn: what its LSTMs see, a normalized likelihood, and a memory that changes nothing."""

import math

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.autoregressive._recurrence import Lines, cell, scan
from genzoo.models.autoregressive.pixelrnn import DiagonalBiLSTM, PixelRNN, RowLSTM

both = pytest.mark.parametrize("lstm", ["row", "diagonal"])


def build(shape=(1, 6, 5), std=0.4, **settings):
    torch.manual_seed(0)
    system = PixelRNN(shape, **{"width": 7, "layers": 2, "head": 9, "levels": 4, **settings})
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


# ---- the LSTM layers -------------------------------------------------------------------------------------------------


def test_cell_is_the_lstm_of_torch():
    torch.manual_seed(0)
    reference = torch.nn.LSTMCell(3, 5).double()
    x, h, c = torch.randn(4, 3).double(), torch.randn(4, 5).double(), torch.randn(4, 5).double()
    gates = x @ reference.weight_ih.T + h @ reference.weight_hh.T + reference.bias_ih + reference.bias_hh
    i, f, g, o = gates.chunk(4, 1)  # torch's order
    found = cell(torch.cat([o, f, i, g], 1), c)
    for a, b in zip(found, reference(x, (h, c)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("taps", "diagonal"), [((-1, 0), True), ((-1, 0, 1), False)])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2, 4)])
def test_gradients_of_the_scan_are_those_of_finite_differences(taps, diagonal, size):
    torch.manual_seed(0)
    gates = torch.randn(2, 2, 8, *size).double().requires_grad_()
    weight = torch.randn(2, len(taps) * 2, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: scan(a, b, taps, diagonal), (gates, weight))


def test_skewing_shifts_each_row_by_one_more_and_back():
    x = torch.arange(1, 13.0).view(1, 1, 1, 3, 4)
    columns = Lines(x.shape, True).lay(x)
    assert columns.shape == (6, 1, 1, 1, 3)
    assert columns[:, 0, 0, 0].T.tolist() == [
        [1, 2, 3, 4, 0, 0],
        [0, 5, 6, 7, 8, 0],
        [0, 0, 9, 10, 11, 12],
    ]
    y = torch.randn(2, 3, 4, 5, 6)
    for diagonal in (True, False):
        lines = Lines(y.shape, diagonal)
        assert torch.equal(lines.lift(lines.lay(y)), y)


def test_diagonal_layer_is_the_recursion_over_pixels():
    """From the left: beside and above; from the right: the same, mirrored, and then shifted down by one row."""
    torch.manual_seed(0)
    layer = DiagonalBiLSTM(4, 3, 1).double()
    x = torch.randn(2, 4, 5, 6).double()
    left, right = layer.into(x).chunk(2, 1)
    h, c = {}, {}
    for i in range(5):
        for j in range(6):
            for way, gates, k in ((0, left, j), (1, right, 5 - j)):
                step = 1 if way == 0 else -1
                zero = torch.zeros(2, 3).double()
                before = torch.cat([h.get((way, i - 1, k), zero), h.get((way, i, k - step), zero)], 1)
                h[way, i, k], c[way, i, k] = cell(
                    gates[:, :, i, k] + before @ layer.state[way], c.get((way, i, k - step), zero)
                )
    out = layer(x, None)
    for i in range(5):
        for j in range(6):
            torch.testing.assert_close(out[:, :, i, j], h[0, i, j] + (h[1, i - 1, j] if i else 0))


def test_row_layer_is_the_recursion_over_rows():
    torch.manual_seed(0)
    layer = RowLSTM(4, 3, 1).double()
    x = torch.randn(2, 4, 5, 6).double()
    gates, out = layer.into(x), layer(x, None)
    zero = torch.zeros(2, 3).double()
    h, c = {}, {}
    for i in range(5):
        for j in range(6):
            before = torch.cat([h.get((i - 1, k), zero) for k in (j - 1, j, j + 1)], 1)
            h[i, j], c[i, j] = cell(gates[:, :, i, j] + before @ layer.state, c.get((i - 1, j), zero))
            torch.testing.assert_close(out[:, :, i, j], h[i, j])


# ---- likelihood ------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("shape", "levels", "scales"),
    [((1, 3, 4), 2, 1), ((2, 2, 2), 2, 1), ((3, 1, 2), 4, 1), ((1, 2, 6), 2, 2), ((3, 2, 2), 2, 2)],
)
def test_probabilities_of_all_images_sum_to_one(lstm, shape, levels, scales):
    system = build(shape, levels=levels, lstm=lstm, scales=scales)
    x = system.grid.values(states(levels, shape))
    log_p = torch.cat([system.log_prob(part) for part in x.split(8192)])
    assert log_p.std() > 0.3, "a uniform model would prove little"
    assert log_p.double().exp().sum().item() == pytest.approx(1, abs=3e-5)


@both
@pytest.mark.parametrize("scales", [1, 2, 3])
def test_a_zeroed_last_layer_costs_the_bits_of_the_uniform_model(lstm, scales):
    system = build((3, 4, 4), levels=16, lstm=lstm, scales=scales)
    for net in system.nets:
        torch.nn.init.zeros_(net.out.weight)
        torch.nn.init.zeros_(net.out.bias)
    logs = system.loss({"image": images(system, 5)})
    assert logs["bits_per_dim"].item() == pytest.approx(4, rel=1e-6), "each pixel is predicted once, on one scale"
    assert logs["loss"].item() == pytest.approx(4 * 48 * math.log(2), rel=1e-6)


@both
def test_autocast_keeps_states_and_likelihood_in_float32(lstm):
    system = build(levels=256, lstm=lstm, std=0.2)
    x = images(system, 4)
    kept = []
    system.nets[0].blocks[0].lstm.register_forward_hook(lambda _module, _inputs, out: kept.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        log_p = system.log_prob(x)
    assert log_p.dtype == torch.float32
    assert kept == [torch.float32]
    torch.testing.assert_close(log_p, system.log_prob(x), rtol=0.03, atol=0)


# ---- order -----------------------------------------------------------------------------------------------------------


def influences(system, x, net, coarse=None):
    """For every pixel and colour: which inputs its outputs see, {(row, col, colour): bool [C, H, W]}."""
    shape = x.shape[1:]
    out = net(x, coarse=coarse) if coarse is not None else net(x)
    out = out.unflatten(1, (shape[0], -1))
    for row in range(shape[1]):
        for col in range(shape[2]):
            for colour in range(shape[0]):
                (grad,) = torch.autograd.grad(out[:, colour, :, row, col].sin().sum(), x, retain_graph=True)
                yield (row, col, colour), grad.abs().sum(0) > 0


def past_of(shape, row, col, colour):
    place = torch.arange(shape[1] * shape[2]).view(shape[1:])
    before = (place < place[row, col]).expand(shape).clone()
    before[:colour, row, col] = True
    return before


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("shape", [(1, 6, 7), (3, 4, 5)])
def test_diagonal_sees_the_whole_past_and_nothing_else(shape, mode):
    """No future, not itself, no blind spot, and R < G < B: every pixel of the image is tried."""
    system = build(shape, lstm="diagonal", width=12, head=36).train(mode == "train").double()
    x = images(system, 6).double().requires_grad_()
    for (row, col, colour), seen in influences(system, x, system.nets[0]):
        assert torch.equal(seen, past_of(shape, row, col, colour))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("shape", [(1, 7, 12), (3, 3, 4)])
def test_row_sees_a_triangle_of_the_past_and_nothing_else(shape, mode):
    """The first convolution sees 3 pixels to each side, each row further up one more; each layer one more to the left."""
    system = build(shape, lstm="row", width=12, head=36).train(mode == "train").double()
    with torch.no_grad():
        for p in system.parameters():
            p.mul_(0.6)
    x = images(system, 6).double().requires_grad_()
    rows, cols = torch.arange(shape[1])[:, None], torch.arange(shape[2])[None]
    for (row, col, colour), seen in influences(system, x, system.nets[0]):
        up = row - rows
        right = torch.where(up > 0, up + 2, 0)
        triangle = (cols - col <= right) & (col - cols <= 3 + 2 + up)
        assert torch.equal(seen, past_of(shape, row, col, colour) & triangle)


@both
def test_on_two_scales_a_pixel_sees_the_coarse_image_and_the_past(lstm):
    """The coarse image is drawn first: its pixels are no future."""
    system = build((1, 4, 6), lstm=lstm, scales=2, width=12, head=36).double()
    x = images(system, 6).double()
    fine, coarse = x.clone().requires_grad_(), x[:, :, ::2, ::2].clone().requires_grad_()
    for (row, col, colour), seen in influences(system, fine, system.nets[1], coarse):
        assert not seen[~past_of((1, 4, 6), row, col, colour)].any()
    out = system.nets[1](fine, coarse=coarse)[:, :, 0, 1].sum()
    assert torch.autograd.grad(out, coarse)[0][:, 0, 0, 0].all()
    for (row, col, colour), seen in influences(system, coarse, system.nets[0]):
        assert not seen[~past_of((1, 2, 3), row, col, colour)].any()


# ---- drawing ---------------------------------------------------------------------------------------------------------

CASES = [((1, 6, 7), 2, 1), ((1, 6, 5), 256, 1), ((3, 4, 5), 16, 1), ((2, 4, 6), 8, 2), ((1, 8, 4), 4, 3)]


@both
@pytest.mark.parametrize(("shape", "levels", "scales"), CASES)
def test_cached_sampling_equals_naive_token_for_token(lstm, shape, levels, scales):
    system = build(shape, levels=levels, lstm=lstm, scales=scales)
    cached = system.sample(5, generator=seeded(1), temperature=0.8)
    assert torch.equal(cached, system.sample(5, generator=seeded(1), temperature=0.8, cached=False))
    assert cached.dtype == torch.float32
    assert torch.equal(system.grid.values(system.grid.tokens(cached)), cached), "samples lie on the grid of levels"
    assert torch.equal(cached, system.sample(5, generator=seeded(1), temperature=0.8, chunk=2))
    assert not torch.equal(cached, system.sample(5, generator=seeded(2), temperature=0.8))


@both
@pytest.mark.parametrize("scales", [1, 2])
def test_samples_follow_the_distribution_that_log_prob_states(lstm, scales):
    system = build((1, 2, 2), levels=2, lstm=lstm, scales=scales)
    p = system.log_prob(system.grid.values(states(2, (1, 2, 2)))).double().exp()
    n = 20000
    drawn = system.grid.tokens(system.sample(n, generator=seeded(5), chunk=4096)).flatten(1)
    counts = (drawn * torch.tensor([8, 4, 2, 1])).sum(1).bincount(minlength=16).double()
    chi2 = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi2 < 37.7, "15 degrees of freedom: beyond this once in a thousand"  # and the seed is fixed


@both
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(("shape", "scales"), [((1, 6, 5), 1), ((3, 4, 6), 2)])
def test_complete_keeps_known_pixels_and_draws_the_others(lstm, shape, scales, cached):
    system = build(shape, levels=8, lstm=lstm, scales=scales)
    x = torch.rand(3, *shape, generator=seeded(1)) * 2 - 1  # off the grid of levels: kept all the same
    known = torch.rand(3, 1, *shape[1:], generator=seeded(2)) < 0.5
    known[:, :, :2] = True
    filled = system.complete(x, known, generator=seeded(3), cached=cached)
    keep = known.expand_as(x)
    assert torch.equal(filled[keep], x[keep])
    assert not torch.equal(filled[~keep], x[~keep])
    assert torch.equal(filled, system.complete(x, known, generator=seeded(3), cached=not cached))
    assert torch.equal(filled, system.complete(torch.where(keep, x, 0.3), known, generator=seeded(3)))
    nothing = torch.zeros_like(known)
    assert torch.equal(system.complete(x, nothing, generator=seeded(6)), system.sample(3, generator=seeded(6)))


# ---- settings --------------------------------------------------------------------------------------------------------


@both
def test_learns_two_images_almost_by_heart(lstm):
    torch.manual_seed(0)
    system = PixelRNN((1, 6, 6), levels=2, lstm=lstm, width=8, layers=2, head=16, lr=1e-2)
    x = images(system, 2, seed=7)
    optimizer = system.optimizers()["model"]
    for _ in range(100):
        optimizer.zero_grad()
        system.loss({"image": x})["loss"].backward()
        optimizer.step()
    assert math.log(2) * 0.95 < system.loss({"image": x})["loss"].item() < 4


def test_forget_gates_start_open():
    for lstm in ("row", "diagonal"):
        bias = PixelRNN((1, 6, 6), lstm=lstm, width=8).nets[0].blocks[0].lstm.into.bias.view(-1, 4, 8)
        assert (bias[:, 1] == 1).all()
        assert (bias[:, [0, 2, 3]] == 0).all()


def test_refusals_say_what_to_do():
    with pytest.raises(UserError, match=r"levels=.* is not allowed; give 2 \| 4 \| 8"):
        PixelRNN((1, 8, 8), levels=10)
    with pytest.raises(UserError, match="every colour"):
        PixelRNN((3, 8, 8), width=2)
    with pytest.raises(UserError, match="4 divides, such as 16x16"):
        PixelRNN((1, 10, 8), scales=3)
    with pytest.raises(UserError, match=r"takes \[B, 1, 6, 5\]"):
        build().log_prob(torch.zeros(2, 3, 6, 5))


def test_capabilities_and_presets():
    assert capabilities(PixelRNN) == ("samples", "density", "completes", "predicts")
    assert {k: type(PixelRNN((1, 8, 8), **v).nets[0].blocks[0].lstm) for k, v in PixelRNN.presets.items()} == {
        "row-lstm": RowLSTM,
        "diagonal-bilstm": DiagonalBiLSTM,
    }
