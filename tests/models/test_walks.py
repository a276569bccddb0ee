"""A walk over an image, pixel by pixel, computes what one parallel pass does."""

import functools

import pytest
import torch

from genzoo.models.autoregressive._rnn_walks import RNNWalk
from genzoo.models.autoregressive.gated_pixelcnn import GatedWalk
from genzoo.models.autoregressive.gated_pixelcnn import Network as Gated
from genzoo.models.autoregressive.pixelrnn import LAYERS
from genzoo.models.autoregressive.pixelrnn import Network as RNN
from genzoo.nn.autoregressive.lines import Line, StackWalk
from genzoo.nn.autoregressive.masked import MaskedConv2d, MaskedStack

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


def last_groups(out, colours):
    """The outputs of the last colour: those of the others were right at an earlier visit."""
    return out.unflatten(1, (colours, -1))[:, -1]


def stack(colours, told):
    net = lively(MaskedStack(colours, 7, 3, 9, 4 * colours))
    return net, StackWalk(net, BATCH, WIDTH)


def gated(colours, told):
    net = lively(Gated(colours, 6, 4, 5, 9, 4 * colours, classes=3 if told else 0))
    label = torch.tensor([2, 0]) if told else None
    return functools.partial(net, label=label), GatedWalk(net, label, BATCH, WIDTH)


def recurrent(lstm, colours, told):
    net = lively(RNN(LAYERS[lstm], colours, 5, 3, 9, 4 * colours, coarse=told))
    # a coarse image has half the size: of the height and width that are walked over, both even
    coarse = torch.randn(BATCH, colours, (HEIGHT + 1) // 2, WIDTH // 2).double() if told else None
    return functools.partial(net, coarse=coarse), RNNWalk(net, coarse, BATCH, WIDTH)


NETS = {
    "stack": stack,
    "gated": gated,
    "row": functools.partial(recurrent, "row"),
    "diagonal": functools.partial(recurrent, "diagonal"),
}


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_a_walk_computes_what_one_pass_does(name, colours, told):
    torch.manual_seed(0)
    net, walk = NETS[name](colours, told)
    height = HEIGHT + (told and name in LAYERS)  # coarse images have even sizes
    x = torch.randn(BATCH, colours, height, WIDTH).double()
    whole, found = (last_groups(out, colours) for out in (net(x), walked(walk, x)))
    torch.testing.assert_close(found, whole.detach(), rtol=1e-10, atol=1e-10)
    assert whole.std() > 0.1


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
