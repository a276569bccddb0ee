"""EfficientNet-Lite0: the published shape, TensorFlow's padding, the published names, and an extractor on top."""

from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from genzoo.core.errors import UserError
from genzoo.metrics.features import networks
from genzoo.metrics.features.networks import extractor
from genzoo.nn.pretrained.efficientnet import EfficientNetLite0, SameConv, normalize, published_names


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = EfficientNetLite0().eval()
    for m in made.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(m.running_mean, -0.1, 0.1)
    return made


def published(net):
    """The state of a network under the names of the release."""
    state = net.state_dict()
    found = {theirs: state[ours].clone() for theirs, ours in published_names().items()}
    return found | {"_bn0.num_batches_tracked": torch.tensor(0)}


def test_it_has_the_published_size(net):
    assert sum(p.numel() for p in net.parameters()) == 4_652_008
    assert len(published_names()) == (1 + 4) + 2 * (1 + 4) + 15 * 3 * (1 + 4) + (1 + 4) + 2
    x = torch.zeros(1, 3, 64, 64)
    assert [tuple(p.shape[1:]) for p in net.pyramid(x)] == [(24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    assert net.features(x).shape == (1, 1280)
    assert net(x).shape == (1, 1000)


def test_padding_is_tensorflows_same():
    # Of 4 pixels with kernel 3 and step 2 TensorFlow pads one pixel behind and none before: outputs see 0-2 and 2-3.
    conv = SameConv(1, 1, 3, 2)
    torch.nn.init.ones_(conv.weight)
    line = torch.tensor([1.0, 10, 100, 1000]).expand(1, 1, 4, 4)
    rows = torch.tensor([3.0, 2.0])  # rows that are inside
    torch.testing.assert_close(conv(line)[0, 0], torch.outer(rows, torch.tensor([111.0, 1100.0])))
    # Of 5 pixels it pads both sides.
    line = torch.tensor([1.0, 10, 100, 1000, 10_000]).expand(1, 1, 5, 5)
    torch.testing.assert_close(conv(line)[0, 0, 1], 3 * torch.tensor([11.0, 1110.0, 11_000.0]))


def test_normalization_is_that_of_the_release():
    levels = torch.tensor([0.0, 127.0, 255.0])
    x = (levels / 127.5 - 1).view(1, 1, 1, 3)
    torch.testing.assert_close(normalize(x)[0, :, 0], ((levels - 127) / 128).expand(3, 3))


def test_published_names_are_read_and_others_refused(net, tmp_path, monkeypatch):
    state = published(net)
    copy = EfficientNetLite0().eval().load_published(state)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(copy(x), net(x))
    short = {k: v for k, v in state.items() if k != "_fc.bias"}
    with pytest.raises(ValueError, match=r"missing \['_fc.bias'\]"):
        EfficientNetLite0().load_published(short)
    with pytest.raises(ValueError, match=r"size mismatch for classify\.bias"):
        EfficientNetLite0().load_published({**state, "_fc.bias": torch.zeros(10)})
    path = tmp_path / "efficientnet-lite0.safetensors"
    save_file(short, path)
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="is none that is known"):
        extractor("efficientnet-lite0")
    monkeypatch.setitem(networks.KNOWN, hashlib.sha256(path.read_bytes()).hexdigest(), "efficientnet-lite0")
    with pytest.raises(UserError, match="missing"):
        extractor("efficientnet-lite0")
    save_file(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(networks.KNOWN, digest, "efficientnet-lite0")
    made = extractor("efficientnet-lite0")
    assert (made.digest, made.dims, made.measure) == (digest, 1280, "FD-EfficientNet-Lite0")
    gray = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(made(gray), made(gray.expand(2, 3, 28, 28)))
    assert made(gray).std() > 0
