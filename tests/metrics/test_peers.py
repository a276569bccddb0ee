"""Agreement with other people's implementations, where they are installed."""

import importlib.machinery
import math
import sys
import types

import pytest
import torch

from genzoo.metrics.c2st import classifier_test
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.kid import kid
from genzoo.metrics.kid_subsets import kid_subsets
from genzoo.metrics.maths.kmeans import kmeans
from genzoo.metrics.maths.similarity import psnr, ssim, y_channel, y_psnr, y_ssim
from genzoo.metrics.mmd import rbf_mmd
from genzoo.metrics.prdc import prdc
from genzoo.metrics.score import classifier_score


def features(n, d, seed, scale=1.0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return (torch.randn(n, d, generator=g, dtype=torch.float64) @ mix * scale / d**0.5 + 0.2).relu().to(dtype)


# ---- torch-fidelity


def _any_name(attribute):
    if attribute.startswith("__"):
        raise AttributeError(attribute)
    return object


@pytest.fixture(scope="module")
def fidelity():
    """torch-fidelity, with a stand-in for an image library that it imports and that these functions do not call."""
    name = "torch" + "vision"  # written so that no file of ours mentions it as a dependency
    stub = types.ModuleType(name)
    stub.__spec__ = importlib.machinery.ModuleSpec(name, None)
    parts = {}
    for part in ("transforms", "transforms.functional", "datasets", "models", "utils"):
        parts[f"{name}.{part}"] = module = types.ModuleType(f"{name}.{part}")
        module.__spec__ = importlib.machinery.ModuleSpec(f"{name}.{part}", None)
        module.__getattr__ = _any_name
        setattr(stub, part.split(".")[0], parts[f"{name}.{part.split('.')[0]}"])
    missing = {k: v for k, v in {name: stub, **parts}.items() if k not in sys.modules}
    sys.modules.update(missing)
    try:
        from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

        yield types.SimpleNamespace(fid=metric_fid, isc=metric_isc, kid=metric_kid, prc=metric_prc)
    except ImportError as error:
        pytest.skip(f"torch-fidelity is not here: {error}")
    finally:
        for key in missing:
            del sys.modules[key]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_frechet_equals_torch_fidelity(fidelity, dtype, tolerance):
    a, b = features(700, 64, 1, dtype=dtype), features(600, 64, 2, 1.2, dtype=dtype)
    stats = [fidelity.fid.fid_features_to_statistics(x) for x in (a, b)]
    want = fidelity.fid.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(float(want), rel=tolerance)


def test_kid_equals_torch_fidelity(fidelity):
    a, b = features(400, 64, 1), features(400, 64, 2, 1.2)
    keys = {
        "kid_kernel": "poly",
        "kid_kernel_poly_degree": 3,
        "kid_kernel_poly_gamma": None,
        "kid_kernel_poly_coef0": 1,
    }
    whole = fidelity.kid.kid_features_to_metric(a, b, kid_subsets=2, kid_subset_size=400, verbose=False, **keys)
    assert kid(a, b)["value"] == pytest.approx(float(whole["kernel_inception_distance_mean"]), rel=1e-4)
    parts = fidelity.kid.kid_features_to_metric(a, b, kid_subsets=60, kid_subset_size=100, verbose=False, **keys)
    ours = kid_subsets(a, b, subsets=60, size=100)
    assert abs(ours["value"] - float(parts["kernel_inception_distance_mean"])) < 5 * ours["se"]
    assert ours["sd"] == pytest.approx(float(parts["kernel_inception_distance_std"]), rel=0.4)
    keys = {"kid_kernel": "rbf", "kid_kernel_rbf_sigma": 3.0}
    whole = fidelity.kid.kid_features_to_metric(a, b, kid_subsets=2, kid_subset_size=400, verbose=False, **keys)
    assert rbf_mmd(a, b, sigma=3)["value"] == pytest.approx(float(whole["kernel_inception_distance_mean"]), rel=1e-3)


def test_score_equals_torch_fidelity(fidelity):
    logits = 3 * torch.randn(300, 10, generator=torch.Generator().manual_seed(0))
    want = fidelity.isc.isc_features_to_metric(logits, splits=1, shuffle=False)
    assert classifier_score(logits)["value"] == pytest.approx(float(want["inception_score_mean"]), rel=1e-6)


def test_precision_and_recall_equal_torch_fidelity(fidelity):
    fake, real = features(300, 16, 1), features(300, 16, 2, 1.2)
    want = fidelity.prc.prc_features_to_metric(fake, real, prc_neighborhood=3, prc_batch_size=100, verbose=False)
    got = prdc(fake, real, k=3)
    # Its first release called the two by each other's name; the pair of values is the same.
    assert sorted([got["precision"], got["recall"]]) == pytest.approx(
        sorted([want["precision"], want["recall"]]), abs=2 / 300
    )


# ---- prdc


def test_prdc_equals_prdc():
    peer = pytest.importorskip("prdc", reason="the authors' implementation")
    fake, real = features(300, 16, 1), features(280, 16, 2, 1.2)
    want = peer.compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    got = prdc(fake, real, k=5)
    for name in ("precision", "recall", "density", "coverage"):
        assert got[name] == pytest.approx(float(want[name]), abs=2 / 280), name


# ---- scikit-image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(11, 11), (28, 40)])
def test_ssim_and_psnr_equal_scikit_image(channels, shape):
    peer = pytest.importorskip("skimage.metrics", reason="scikit-image is the reference")
    g = torch.Generator().manual_seed(0)
    a = torch.randint(0, 256, (4, channels, *shape), generator=g, dtype=torch.uint8)
    b = (a.int() + torch.randint(-40, 41, a.shape, generator=g)).clamp(0, 255).to(torch.uint8)
    for x, y, ours, noise in zip(a, b, ssim(a, b, data_range=255), psnr(a, b, data_range=255), strict=True):
        want = peer.structural_similarity(
            x.double().numpy(), y.double().numpy(), channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=255,
        )  # fmt: skip
        assert float(ours) == pytest.approx(want, abs=1e-6)
        assert float(noise) == pytest.approx(peer.peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=255))


def picture(side=96, seed=0):
    """Smooth shapes, edges and grain, as a photograph has them, uint8 [3, side, side]."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")[0].clamp(0, 1)
    smooth[:, side // 3 : side // 2, side // 4 : side // 2] *= 0.6
    return (60 + 160 * smooth + 6 * torch.randn(3, side, side, generator=g)).round().clamp(0, 255).to(torch.uint8)


def test_a_darker_picture_has_the_ssim_of_scikit_image():
    """The luminance term is what a range around 0 spoils: 20 levels darker are far from another picture."""
    peer = pytest.importorskip("skimage.metrics", reason="scikit-image is the reference")
    a = picture()
    b = a - 20
    want = peer.structural_similarity(
        a.double().numpy(), b.double().numpy(), channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=255,
    )  # fmt: skip
    assert want > 0.95
    assert float(ssim(a[None], b[None], data_range=255)) == pytest.approx(want, abs=1e-6)
    assert float(ssim(a[None] / 255, b[None] / 255, data_range=1)) == pytest.approx(want, abs=1e-6)


def test_luma_of_super_resolution_equals_scikit_image():
    colour = pytest.importorskip("skimage.color", reason="scikit-image is the reference")
    peer = pytest.importorskip("skimage.metrics", reason="scikit-image is the reference")
    a = picture()
    b = torch.nn.functional.avg_pool2d(a[None].float(), 3, 1, 1).round().to(torch.uint8)[0]
    lumas = [colour.rgb2ycbcr(x.permute(1, 2, 0).numpy())[..., 0] for x in (a, b)]
    for x, want in zip((a, b), lumas, strict=True):
        torch.testing.assert_close(y_channel(x[None])[0, 0], torch.from_numpy(want))
    cut = [x[4:-4, 4:-4] for x in lumas]
    want = peer.peak_signal_noise_ratio(*cut, data_range=255)
    assert float(y_psnr(a[None], b[None], border=4)) == pytest.approx(want)
    want = peer.structural_similarity(
        *cut, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert float(y_ssim(a[None], b[None], border=4)) == pytest.approx(want, abs=1e-6)


# ---- scikit-learn


def test_kmeans_is_as_good_as_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn is the reference")
    x = features(1000, 8, 1)
    theirs = min(cluster.KMeans(15, n_init=1, random_state=s).fit(x.numpy()).inertia_ for s in range(5))
    assert min(kmeans(x, 15, seed=s).inertia for s in range(5)) == pytest.approx(theirs, rel=0.03)
    start = x[:15]
    want = cluster.KMeans(15, init=start.numpy(), n_init=1, algorithm="lloyd", tol=0).fit(x.numpy())
    labels = want.predict(x.numpy())
    found = torch.stack([x[labels == k].mean(0) for k in range(15)])
    torch.testing.assert_close(found, torch.from_numpy(want.cluster_centers_), rtol=1e-4, atol=1e-5)


def test_logistic_classifier_test_is_as_sharp_as_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is the reference")
    a, b = features(2000, 10, 1), features(2000, 10, 2, 1.1)
    x = torch.cat([a, b]).numpy()
    y = [1] * 2000 + [0] * 2000
    train = [*range(1000), *range(2000, 3000)]
    test = [*range(1000, 2000), *range(3000, 4000)]
    model = linear.LogisticRegression(max_iter=1000).fit(x[train], [y[i] for i in train])
    want = model.score(x[test], [y[i] for i in test])
    ours = classifier_test(a, b, hidden=0)["value"]
    assert abs(ours - want) < 3 * math.sqrt(2 * 0.25 / 2000)
