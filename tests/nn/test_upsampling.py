"""Layers that double maps: what they compute, what they leave behind, and that systems of earlier versions keep theirs."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genzoo.models.autoencoding.vae import VAE
from genzoo.models.autoencoding.vae_gan import VAEGAN
from genzoo.models.translation import _few_pixels
from genzoo.models.translation.cyclegan import CycleGAN
from genzoo.models.translation.discogan import DiscoGAN
from genzoo.models.translation.pix2pix import Pix2Pix
from genzoo.models.translation.pix2pixhd import Pix2PixHD
from genzoo.nn.upsampling import ResizedConv2d, doubling
from genzoo.saved import loading


def repeated(layer, x):
    """The two steps, one after the other."""
    end = (0, layer.ends[1], 0, layer.ends[0])
    large = F.pad(F.interpolate(x, scale_factor=2.0), end)
    return F.conv2d(large, layer.weight.flip(2, 3).transpose(0, 1), layer.bias, padding=1)


@pytest.mark.parametrize("ends", [(0, 0), (1, 0), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_repeated_pixels_and_a_convolution_and_so_are_its_gradients(ends, bias):
    torch.manual_seed(0)
    layer, x = ResizedConv2d(5, 7, bias=bias, ends=ends).double(), torch.randn(2, 5, 6, 9).double().requires_grad_()
    y, wanted = layer(x), repeated(layer, x)
    assert y.shape == (2, 7, 12 + ends[0], 18 + ends[1])
    assert torch.allclose(y, wanted, atol=1e-12)
    weights = torch.randn_like(y)
    owned = [x, *layer.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad((y * weights).sum(), owned),
        torch.autograd.grad((wanted * weights).sum(), owned),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("kind", [_few_pixels.ResizedConv2d, _few_pixels.ConvTranspose2d])
def test_few_pixels_give_what_many_give(kind):
    torch.manual_seed(0)
    layer = kind(96, 8) if kind is _few_pixels.ResizedConv2d else kind(96, 8, 4, 2, 1)
    x = torch.randn(2, 96, 2, 3)
    assert _few_pixels._few(x, 12, 96)
    plain = type(layer).__mro__[1].forward(layer, x)
    assert torch.allclose(layer(x), plain, atol=1e-5)
    assert layer(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("seed", range(3))
def test_of_a_flat_map_a_transposed_convolution_makes_a_grid_and_this_a_flat_one(seed):
    torch.manual_seed(seed)
    flat = torch.randn(1, 4, 1, 1).expand(1, 4, 8, 8)
    for how, kernel in (("resize", 4), ("transposed", 4), ("transposed", 3)):
        inside = doubling(how, 4, 3, kernel=kernel)(flat)[:, :, 2:-2, 2:-2]
        spread = (inside - inside[:, :, :1, :1]).abs().max()
        assert (spread < 1e-5) == (how == "resize")


def test_an_exported_layer_gives_the_same_and_leaves_the_layer_as_it_was():
    layer, x = ResizedConv2d(3, 4), torch.randn(1, 3, 5, 6)
    before = layer(x).detach()
    assert torch.allclose(torch.export.export(layer, (x,)).module()(x), before, atol=1e-6)
    assert torch.equal(torch.from_numpy(layer(x).detach().numpy()), before)


@pytest.mark.parametrize("how", ["resize", "transposed"])
@pytest.mark.parametrize(("kernel", "ends", "size"), [(3, (0, 0), (10, 6)), (4, (0, 0), (10, 6)), (4, (1, 0), (11, 6))])
def test_sizes_are_doubled(how, kernel, ends, size):
    assert doubling(how, 2, 3, kernel=kernel, ends=ends)(torch.zeros(1, 2, 5, 3)).shape == (1, 3, *size)


@pytest.mark.parametrize(
    ("cls", "more"),
    [(Pix2Pix, {}), (Pix2PixHD, {}), (CycleGAN, {}), (DiscoGAN, {}), (VAEGAN, {}), (VAE, {"architecture": "conv"})],
)
def test_a_model_from_before_keeps_its_transposed_convolutions(cls, more):
    torch.manual_seed(0)
    keys = {**cls.tiny, **more}
    old = cls(**keys, upsample="transposed").eval()
    before = loading.describe(old)
    del before["hparams"]["upsample"]
    again = loading.build(before).eval()
    again.load_state_dict(old.state_dict())
    assert again.hparams["upsample"] == "transposed"
    assert cls(**keys).hparams["upsample"] == "resize"
    kinds = [[type(m) for m in s.modules() if isinstance(m, nn.ConvTranspose2d)] for s in (again, cls(**keys))]
    assert all(k is ResizedConv2d or k is _few_pixels.ResizedConv2d for k in kinds[1])
    assert len(kinds[0]) == len(kinds[1]) > 0
    assert not set(kinds[0]) & set(kinds[1])
    paper = [keys for keys in cls.presets.values() if keys.get("upsample") == "transposed"]
    assert len(paper) == (cls is not VAE)
