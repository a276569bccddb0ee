"""Statistics that genzoo writes, read by the programs that they are for, and their resizers beside ours; where the programs are installed."""

from __future__ import annotations

import importlib.machinery
import sys
import types

import numpy as np
import pytest
import torch

import genzoo
from genzoo.metrics.features.networks import INCEPTIONS
from genzoo.metrics.features.resizers import RESIZERS
from genzoo.metrics.reference import read_reference, write_reference
from tests.metrics.test_statistics_files import cloud, inception


@pytest.fixture(scope="module")
def peers():
    """Both programs, with a stand-in for an image library that they import and that these functions do not call."""
    name = "torch" + "vision"
    stub = types.ModuleType(name)
    stub.__spec__ = importlib.machinery.ModuleSpec(name, None)
    stub.__version__ = "0.99.0"
    parts = {}
    for part in ("transforms", "models"):
        parts[f"{name}.{part}"] = module = types.ModuleType(f"{name}.{part}")
        module.__spec__ = importlib.machinery.ModuleSpec(f"{name}.{part}", None)
        setattr(stub, part, module)
    parts[f"{name}.models"].inception = types.SimpleNamespace(
        **dict.fromkeys(("InceptionA", "InceptionC", "InceptionE"), torch.nn.Module)
    )
    parts[f"{name}.transforms"].Compose = parts[f"{name}.transforms"].ToTensor = object
    missing = {k: v for k, v in {name: stub, **parts}.items() if k not in sys.modules}
    sys.modules.update(missing)
    try:
        from cleanfid import features, resize
        from pytorch_fid import fid_score

        yield types.SimpleNamespace(clean=features, resize=resize, pytorch=fid_score)
    except ImportError as error:
        pytest.skip(f"pytorch-fid and clean-fid are not here: {error}")
    finally:
        for key in missing:
            del sys.modules[key]


@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning")
def test_pytorch_fid_and_clean_fid_read_what_is_written(peers, tmp_path, monkeypatch):
    """Each by its own function; the distance of two files is theirs."""
    x, y = cloud(500, 64, 0), cloud(400, 64, 1)
    write_reference(tmp_path / "a.npz", x, inception(64), "inception", data="x")
    write_reference(tmp_path / "b.npz", y, inception(64), "inception", data="y")
    stats = [peers.pytorch.compute_statistics_of_path(str(tmp_path / f"{n}.npz"), None, 1, 64, "cpu") for n in "ab"]
    np.testing.assert_allclose(stats[0][0], x.mean(0).numpy())
    np.testing.assert_allclose(stats[0][1], np.cov(x.numpy(), rowvar=False))
    want = peers.pytorch.calculate_frechet_distance(*stats[0], *stats[1])
    (record,) = genzoo.evaluate(tmp_path / "a.npz", against=tmp_path / "b.npz")["measures"].values()
    assert (record["measure"], record["value"]) == ("FID", pytest.approx(float(want), rel=1e-6))

    monkeypatch.setattr(peers.clean.cleanfid, "__file__", str(tmp_path / "package" / "__init__.py"))
    kept = tmp_path / "package" / "stats" / "mine_legacy_tensorflow_custom_na.npz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes((tmp_path / "a.npz").read_bytes())
    mu, sigma = peers.clean.get_reference_statistics("mine", "na", mode="legacy_tensorflow", split="custom")
    assert (mu.tolist(), sigma.tolist()) == (stats[0][0].tolist(), stats[0][1].tolist())


def test_what_pytorch_fid_writes_is_read(peers, tmp_path, monkeypatch):
    x = cloud(300, 64, 0).numpy()
    monkeypatch.setattr(peers.pytorch, "compute_statistics_of_path", lambda *a: (x.mean(0), np.cov(x, rowvar=False)))
    monkeypatch.setattr(peers.pytorch, "InceptionV3", lambda blocks: torch.nn.Identity())
    peers.pytorch.InceptionV3.BLOCK_INDEX_BY_DIM = {64: 0}
    if not hasattr(peers.pytorch, "save_fid_stats"):
        pytest.skip("this pytorch-fid does not write statistics")
    peers.pytorch.save_fid_stats([str(tmp_path), str(tmp_path / "a.npz")], 1, "cpu", 64)
    found = read_reference(tmp_path / "a.npz")
    np.testing.assert_allclose(found.moments.covariance, np.cov(x, rowvar=False), atol=1e-12)
    assert (found.network, found.count) == ("", None)


@pytest.mark.parametrize(("mode", "name"), [("clean", "inception-clean"), ("legacy_pytorch", "inception-pytorch")])
@pytest.mark.parametrize("shape", [(32, 32), (40, 25), (512, 400)])
def test_resizers_are_clean_fids(peers, mode, name, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    want = peers.resize.build_resizer(mode)(image).transpose(2, 0, 1)
    got = RESIZERS[INCEPTIONS[name].resizer][0](torch.from_numpy(image).permute(2, 0, 1)[None], 299)[0].numpy()
    np.testing.assert_allclose(got, want, atol=1e-3)
