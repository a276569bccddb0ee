"""The Inception of FID: its kernels hold the batch norms, its joined branches are the separate ones, its features the published file's."""

import pytest
import torch
import torch.nn.functional as F

from genzoo.core.files import find_weights
from genzoo.nn.pretrained.inception import BLOCKS, EPSILON, FEATURES, Inception, first_of, folded

FILE = "inception-fid.pt"
WEIGHTS = find_weights(FILE)  # now: tests run in a folder of their own


def conv(tensors, name, x, padding=0):
    """One convolution, batch norm and ReLU of the published file."""
    weight, mean, var, beta = (tensors[f"{name}.{part}"] for part in ("weight", "mean", "var", "beta"))
    return F.relu(F.batch_norm(F.conv2d(x, weight, padding=padding), mean, var, None, beta, False, eps=EPSILON))


def random_conv(generator, outputs, inputs, *kernel):
    return {
        "weight": torch.randn(outputs, inputs, *kernel, generator=generator) / (inputs * kernel[0] * kernel[1]) ** 0.5,
        "mean": torch.randn(outputs, generator=generator),
        "var": torch.rand(outputs, generator=generator) + 0.5,
        "beta": torch.randn(outputs, generator=generator),
    }


def test_a_batch_norm_in_the_kernel_computes_what_it_does_behind_it():
    g = torch.Generator().manual_seed(0)
    tensors = {f"x.{part}": value for part, value in random_conv(g, 7, 5, 3, 3).items()}
    x = torch.randn(2, 5, 9, 8, generator=g)
    weight, bias = folded(tensors, "x.")
    torch.testing.assert_close(
        F.relu(F.conv2d(x, weight, bias, padding=1)), conv(tensors, "x", x, 1), rtol=1e-5, atol=1e-6
    )


def test_joined_branches_are_the_separate_ones_and_an_average_may_come_after_a_product():
    """A block of kind a, branch by branch, as the published graph has it."""
    g = torch.Generator().manual_seed(1)
    shapes = {
        "conv": (4, 6, 1, 1), "tower.conv": (3, 6, 1, 1), "tower.conv_1": (4, 3, 5, 5), "tower_1.conv": (4, 6, 1, 1),
        "tower_1.conv_1": (5, 4, 3, 3), "tower_1.conv_2": (5, 5, 3, 3), "tower_2.conv": (2, 6, 1, 1),
    }  # fmt: skip
    tensors = {f"mixed.{k}.{part}": v for k, shape in shapes.items() for part, v in random_conv(g, *shape).items()}
    net = Inception.__new__(Inception)
    torch.nn.Module.__init__(net)
    net.kernels, net.sizes = {f"mixed.{k}": folded(tensors, f"mixed.{k}.") for k in shapes}, {}
    net._join("mixed")
    x = torch.randn(2, 6, 7, 8, generator=g)
    five = conv(tensors, "mixed.tower.conv_1", conv(tensors, "mixed.tower.conv", x), 2)
    three = conv(tensors, "mixed.tower_1.conv_1", conv(tensors, "mixed.tower_1.conv", x), 1)
    three = conv(tensors, "mixed.tower_1.conv_2", three, 1)
    average = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    parts = [conv(tensors, "mixed.conv", x), five, three, conv(tensors, "mixed.tower_2.conv", average)]
    torch.testing.assert_close(net._a("mixed", x), torch.cat(parts, 1), rtol=1e-4, atol=1e-5)


def test_a_file_of_other_tensors_is_refused_in_words():
    with pytest.raises(ValueError, match=r"there is no tensor net\.layers\.conv\.weight"):
        Inception({"fc.weight": torch.zeros(2, 2)})
    assert [len(first_of(block)) for block in BLOCKS] == [4, 4, 4, 1, 4, 4, 4, 4, 2, 4, 3]


@pytest.mark.skipif(WEIGHTS is None, reason=f"{FILE} is not on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript, in which the weights are published
def test_features_are_those_of_the_published_network():
    published = torch.jit.load(WEIGHTS, map_location="cpu").eval()
    x = torch.rand(2, 3, 299, 299, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        theirs, ours = published(x), Inception(published.state_dict())(x)
    assert ours.shape == (2, FEATURES)
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5
