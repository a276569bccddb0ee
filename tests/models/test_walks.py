"""A walk over an image, pixel by pixel, computes what one parallel pass does."""

import functools

import pytest
import torch

from genzoo.models.autoregressive._rnn_walks import DiagonalWalk, RowWalk
from genzoo.models.autoregressive.gated_pixelcnn import GatedWalk
from genzoo.models.autoregressive.gated_pixelcnn import Network as Gated
from genzoo.models.autoregressive.pixelcnnpp import PixelCNNpp
from genzoo.models.autoregressive.pixelrnn import LAYERS
from genzoo.models.autoregressive.pixelrnn import Network as RNN
from genzoo.nn.autoregressive import wavefront
from genzoo.nn.autoregressive.lines import Line
from genzoo.nn.autoregressive.masked import MaskedConv2d, MaskedStack
from genzoo.nn.autoregressive.wavefront import (
    SkewedMaps,
    StackWalk,
    Wavefront,
    fill_along_wavefront,
    least_lag,
    reach,
    reach_of_all,
)

HEIGHT, WIDTH, BATCH = 5, 6, 2


def lively(net):
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return net.double().eval()


def walked(walk, x):
    """The outputs of a walk, [B, K, H, W]; each pixel is visited with every number of its colours known, and the last visit counts."""
    rows = []
    with torch.inference_mode():
        for row in range(x.shape[2]):
            walk.begin(row)
            walk.row[:, : x.shape[3]] = torch.randn(
                x.shape[0], x.shape[3], x.shape[1]
            )  # of no meaning until it is written
            found = []
            for col in range(x.shape[3]):
                for c in range(x.shape[1]):
                    walk.row[:, col, :c] = x[:, :c, row, col]
                    out = walk.at(col)
                walk.row[:, col] = x[:, :, row, col]
                found.append(out)
            rows.append(torch.stack(found, -1))
    return torch.stack(rows, 2)


def along(walk, x):
    """The outputs of a walk along a wavefront, [B, K, H, W], as above."""
    steps, front = torch.zeros(len(x), 1, *x.shape[2:]).double(), walk.front
    with torch.inference_mode():
        outs, whole = None, x.permute(2, 0, 3, 1)
        walk.pixels.whole().normal_()  # of no meaning until it is written
        true, at = SkewedMaps(front, x, features=x.shape[1], every=True), SkewedMaps(front, x, every=True)
        true.whole()[0] = whole
        at.whole()[0, ..., 0] = torch.arange(steps.numel()).view(len(x), *x.shape[2:]).permute(1, 0, 2)
        for step in range(front.steps):
            rows = front.rows(step)
            walk.begin(step, rows)
            values, given = walk.pixels.window(step, rows)[0], true.window(step, rows)[0]
            for c in range(x.shape[1]):
                values[:, :c] = given[:, :c]
                out = walk.at()
            values.copy_(given)
            outs = x.new_full((steps.numel(), out.shape[1]), torch.nan) if outs is None else outs
            outs[at.window(step, rows)[0][:, 0].long()] = out
    return outs.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)


def last_groups(out, colours):
    """The outputs of the last colour: those of the others were right at an earlier visit."""
    return out.unflatten(1, (colours, -1))[:, -1]


def stack(colours, size, told):
    net = lively(MaskedStack(colours, 7, 3, 9, 4 * colours))
    return net, StackWalk(net, BATCH, *size)


def gated(colours, size, told):
    net = lively(Gated(colours, 6, 4, 5, 9, 4 * colours, classes=3 if told else 0))
    label = torch.tensor([2, 0]) if told else None
    return functools.partial(net, label=label), GatedWalk(net, label, BATCH, size[1])


def recurrent(lstm, colours, size, told):
    net = lively(RNN(LAYERS[lstm], colours, 5, 3, 9, 4 * colours, coarse=told))
    coarse = torch.randn(BATCH, colours, size[0] // 2, size[1] // 2).double() if told else None
    walk = RowWalk(net, coarse, BATCH, *size) if lstm == "row" else DiagonalWalk(net, coarse, BATCH, size[1])
    return functools.partial(net, coarse=coarse), walk


NETS = {
    "stack": stack,
    "gated": gated,
    "row": functools.partial(recurrent, "row"),
    "diagonal": functools.partial(recurrent, "diagonal"),
}
FRONTS = ["stack", "row"]


def compared(name, colours, size, told):
    torch.manual_seed(0)
    net, walk = NETS[name](colours, size, told)
    x = torch.randn(BATCH, colours, *size).double()
    found = along(walk, x) if name in FRONTS else walked(walk, x)
    whole, found = (last_groups(out, colours) for out in (net(x), found))
    torch.testing.assert_close(found, whole.detach(), rtol=1e-10, atol=1e-10)
    assert whole.std() > 0.1
    return walk


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_a_walk_computes_what_one_pass_does(name, colours, told):
    compared(name, colours, (HEIGHT + (told and name in LAYERS), WIDTH), told)  # coarse images have even sizes


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 14), (14, 3), (20, 5), (4, 4), (30, 9)])
@pytest.mark.parametrize("name", FRONTS)
def test_a_wavefront_goes_over_images_of_any_size(name, size):
    walk = compared(name, 1, size, told=False)
    assert walk.front.lag == (min(4, size[1]) if size[0] > 1 else 1)
    assert walk.front.steps == size[1] + walk.front.lag * (size[0] - 1)


@pytest.mark.parametrize("far", [1, 3, 7])
@pytest.mark.parametrize("name", FRONTS)
def test_a_wavefront_may_have_a_greater_lag(name, far, monkeypatch):
    monkeypatch.setattr(wavefront, "FRONT", 11 * BATCH // far)
    walk = compared(name, 1, (17, 11), told=False)
    assert (walk.front.lag, walk.front.most) == {1: (4, 3), 3: (4, 3), 7: (8, 2)}[far]


def seen_to_the_right(net, x):
    """How far to the right of its own column an output sees in each row up, found by gradients; None where it sees nothing."""
    height, width = x.shape[2:]
    row, col, found = height - 1, width // 2, []
    x = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(net(x)[:, :, row, col].square().sum(), x)
    for up in range(height):
        columns = grad[:, :, row - up].abs().sum((0, 1)).nonzero()
        found.append(int(columns.max()) - col if len(columns) else None)
    return found


@pytest.mark.parametrize("blocks", [0, 1, 4])
def test_the_reach_of_masks_is_what_gradients_say(blocks):
    torch.manual_seed(0)
    net, x = lively(MaskedStack(1, 6, blocks, 6, 2)), torch.randn(8, 1, 7, 19).double()
    far = reach_of_all([reach(net.first), *(reach(block.look) for block in net.blocks)], 7)
    seen = seen_to_the_right(net, x)
    assert seen[: 4 + blocks] == far[: 4 + blocks]
    assert seen[4 + blocks :] == [None] * (3 - blocks)
    assert least_lag(far) == 4


def test_the_reach_of_a_row_lstm_is_what_gradients_say():
    torch.manual_seed(0)
    net, x = lively(RNN(LAYERS["row"], 1, 5, 3, 6, 2, False)), torch.randn(4, 1, 6, 19).double()
    assert seen_to_the_right(net, x) == reach_of_all([reach(net.first), range(6)], 6) == [-1, 3, 4, 5, 6, 7]


def test_other_systems_see_too_far_to_the_right_for_several_rows_at_once():
    """What they would gain: of the gated one's default 325 steps for 784, each with a column of the vertical stack; of the others nothing."""
    torch.manual_seed(0)
    x = torch.randn(1, 1, 3, 27).double()
    assert seen_to_the_right(lively(Gated(1, 4, 8, 3, 4, 1, 0)), x)[1:] == [10, 10]
    assert seen_to_the_right(lively(RNN(LAYERS["diagonal"], 1, 4, 2, 4, 1, False)), x)[1] == 13, "to the end of the row"
    net, x = PixelCNNpp(shape=(3, 4, 32)).net, torch.rand(1, 3, 4, 32) * 2 - 1
    net.train()(x)  # the first batch chooses gains and biases
    net, x = net.double().eval(), x.double()
    assert seen_to_the_right(net, x)[1] == 6, "an odd row sees the row above it on the finest grid alone"
    assert seen_to_the_right(net, x[:, :, :3])[1] == 15, "an even one to the end of the row"


def test_steps_are_all_pixels_each_after_what_it_sees():
    for height, width, lag in [(5, 7, 3), (1, 4, 2), (6, 1, 5), (3, 9, 9)]:
        front = Wavefront(2, height, width, lag)
        places = [(row, step - front.lag * row) for step in range(front.steps) for row in front.rows(step)]
        assert sorted(places) == [(row, col) for row in range(height) for col in range(width)]
        assert max(len(front.rows(step)) for step in range(front.steps)) == front.most
        time = {
            place: step
            for step in range(front.steps)
            for place in [(r, step - front.lag * r) for r in front.rows(step)]
        }
        for row, col in places:
            for up in range(1, row + 1):
                sees = min(col + lag * up - 1, width - 1)
                assert time[row - up, sees] < time[row, col]


def test_a_wavefront_keeps_known_pixels_and_gives_each_its_own_number():
    torch.manual_seed(0)
    x, known = torch.randn(BATCH, 3, 9, 13), torch.rand(BATCH, 1, 9, 13) < 0.5
    numbers = torch.rand(BATCH, 3, 9, 13)
    net, order = MaskedStack(3, 4, 1, 4, 6), []

    def choose(out, colour, number):
        order.append((len(number), colour))
        return number

    filled = fill_along_wavefront(functools.partial(StackWalk, net), choose, x.clone(), known, numbers)
    assert torch.equal(filled, torch.where(known, x, numbers))
    assert len(order) == 3 * (13 + 4 * 8)
    assert [colour for _, colour in order[:6]] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("colours", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "rows"), [(1, None), (3, None), (7, None), (3, 1), (5, 2)])
def test_a_line_is_the_parallel_convolution_and_its_scale(kernel, rows, colours):
    torch.manual_seed(1)
    conv = lively(MaskedConv2d("B", 5, 4, kernel, colours, rows=rows))
    x, scale = torch.randn(BATCH, 5, HEIGHT, WIDTH).double(), torch.rand(4).double()
    line, found = Line(conv, BATCH, WIDTH, scale), torch.empty(BATCH, 4, HEIGHT, WIDTH).double()
    more = torch.randn(HEIGHT, WIDTH, BATCH, 4).double()
    for row in range(HEIGHT):
        line.begin(row, more[row])
        for col in range(WIDTH):
            line.places[col].copy_(x[:, :, row, col])
            found[:, :, row, col] = line.adds[col] + line.windows[col] @ line.own
    expected = conv(x).detach() * scale[:, None, None] + more.permute(2, 3, 0, 1)
    torch.testing.assert_close(found, expected)
