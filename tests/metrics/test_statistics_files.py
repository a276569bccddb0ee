"""Files of statistics: whose they are, what they say, what is refused to be mixed, and that they stand for images to the last digit."""

from __future__ import annotations

import hashlib
import json
import pickle
import types

import numpy as np
import pytest
import scipy.linalg
import torch

import genzoo
from genzoo import UserError
from genzoo.cli.main import main
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.features.networks import INCEPTIONS, asked_as, extractor
from genzoo.metrics.features.resizers import pillow_bicubic, torch_bilinear
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.reference import is_reference, published, read_reference, unlike, write_reference
from tests.metrics.test_evaluate import images, written


def cloud(n, d, seed, scale=1.0):
    g = np.random.default_rng(seed)
    return torch.from_numpy(g.normal(size=(n, d)) @ g.normal(size=(d, d)) * scale + g.normal(size=d))


def net(d=6, resize="none", digest="d" * 64, name="mine"):
    return Extractor(name, digest, d, f"FD-{name}", resize, lambda x: x.float().flatten(2).mean(2)[:, :d])


def inception(d=2048):
    """What Inception says of itself, without its weights."""
    name, digest, resize = published("inception")
    return Extractor(name, digest, d, "FID", resize, lambda x: x.float().flatten(1)[:, :d])


# ---- the distance of two files -------------------------------------------------------------------------------------------------------


def test_the_distance_of_two_gaussians_is_the_closed_form(tmp_path):
    """d² = |μ₁ − μ₂|² + tr (Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½); of diagonal ones Σ (σ₁ − σ₂)²."""
    np.savez(tmp_path / "a.npz", mu=np.array([1.0, 2.0, 3.0]), sigma=np.diag([4.0, 9.0, 16.0]))
    np.savez(tmp_path / "b.npz", mu=np.array([1.0, 0.0, 3.0]), sigma=np.diag([1.0, 9.0, 25.0]))
    found = genzoo.evaluate(tmp_path / "a.npz", against=tmp_path / "b.npz")
    (record,) = found["measures"].values()
    assert record["value"] == pytest.approx(4 + 1 + 0 + 1, abs=1e-12)
    assert record["measure"] == "FD-unstated"
    assert "neither file says whose network and resizer they are" in record["protocol"]
    assert (record["n_real"], record["extractor"], record["resize"]) == (None, "unstated", None)
    assert json.loads((tmp_path / "a.npz-evaluation" / "metrics.json").read_text())["FD-unstated on b.npz statistics"]

    (m1, s1), (m2, s2) = (
        (x.mean(0).numpy(), np.cov(x.numpy(), rowvar=False)) for x in (cloud(90, 7, 0), cloud(80, 7, 1))
    )
    np.savez_compressed(tmp_path / "a.npz", mu=m1, sigma=s1)
    np.savez_compressed(tmp_path / "b.npz", mu=m2, sigma=s2)
    want = np.sum((m1 - m2) ** 2) + np.trace(s1 + s2 - 2 * scipy.linalg.sqrtm(s1 @ s2).real)
    (record,) = genzoo.evaluate(tmp_path / "a.npz", against=tmp_path / "b.npz", measures="fid")["measures"].values()
    assert record["value"] == pytest.approx(want, rel=1e-9)


def test_what_two_files_do_not_allow_is_said(tmp_path, capsys):
    for name, d in (("a", 3), ("b", 3), ("c", 4)):
        np.savez(tmp_path / f"{name}.npz", mu=np.zeros(d), sigma=np.eye(d))
    a, b, c = (str(tmp_path / f"{n}.npz") for n in "abc")
    with pytest.raises(UserError, match=r"a\.npz has the statistics of 3 features and c\.npz of 4"):
        genzoo.evaluate(a, against=c)
    with pytest.raises(UserError, match=r"holds statistics; give those that it is compared with: against=OTHER\.npz"):
        genzoo.evaluate(a)
    with pytest.raises(UserError, match="kid needs images; of statistics a Fréchet distance alone is taken"):
        genzoo.evaluate(a, against=b, measures="frechet,kid")
    with pytest.raises(UserError, match="n=, size= counts images, and statistics hold none"):
        genzoo.evaluate(a, against=b, n=10, size=8)
    with pytest.raises(UserError, match=r"against=.* stands in place of real images; leave data=mnist out"):
        genzoo.evaluate(a, "mnist", against=b)
    with pytest.raises(UserError, match="are both statistics"):
        genzoo.evaluate(a, b, against=b)
    with pytest.raises(
        UserError,
        match=r"there is no file of statistics '.*nix\.npz'; 'genzoo statistics DATA out=nix\.npz' writes one",
    ):
        genzoo.evaluate(a, against=tmp_path / "nix.npz")
    assert main(["evaluate", a, f"against={b}", "json=true"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["FD-unstated"]["value"] == 0


# ---- what a file says ----------------------------------------------------------------------------------------------------------------


def test_a_file_of_ours_says_what_it_is_of_and_gives_the_very_figure_of_the_images(tmp_path):
    real, given = images(300, (3, 16, 16)), written(tmp_path / "given", images(250, (3, 16, 16), 1))
    np.savez(tmp_path / "real.npz", images=real)
    three = net(3)
    out = genzoo.statistics(str(tmp_path / "real.npz"), tmp_path / "stats.npz", extractor=three, holdout=0)
    assert (out["n"], out["split"], out["extractor"], out["digest"]) == (300, "train", "mine", "d" * 64)
    want = genzoo.evaluate(given, str(tmp_path / "real.npz"), extractor=three, measures="fid")["measures"]["FD-mine"]
    got = genzoo.evaluate(given, against=tmp_path / "stats.npz", extractor=three)["measures"]["FD-mine"]
    assert (got["value"], got["se"]) == (want["value"], want["se"])
    assert (got["n_real"], got["split"]) == (300, "statistics")
    assert "of 300 images of real.npz train (written by genzoo" in got["protocol"]
    told = read_reference(tmp_path / "stats.npz").told
    assert told["data_digest"] == want["data_digest"]
    assert (told["resize"], told["shape"]) == ("none", [3, 16, 16])


def test_samples_of_a_run_are_described_as_they_are_drawn(tmp_path):
    run = genzoo.train("gaussian", "digits", size=16, limit=200, runs=str(tmp_path), quiet=True)
    genzoo.statistics("digits", tmp_path / "real.npz", split="test", size=16, limit=200)
    assert genzoo.statistics(run, tmp_path / "fake.npz", n=150, seed=3)["n"] == 150
    want = genzoo.evaluate(run, against=tmp_path / "real.npz", n=150, seed=3)["measures"]["FLD"]
    (got,) = genzoo.evaluate(tmp_path / "fake.npz", against=tmp_path / "real.npz")["measures"].values()
    assert got["measure"] == "FLD"
    assert got["value"] == pytest.approx(want["value"], rel=1e-9)
    assert (got["n_fake"], got["resize"]) == (150, want["resize"])
    assert "150 samples of" in got["protocol"]
    for keys, said in (
        ({"split": "test"}, "split= is for data"),
        ({"size": 8}, "size= is for data"),
        ({"n": 1}, "at least 2"),
    ):
        with pytest.raises(UserError, match=said):
            genzoo.statistics(run, tmp_path / "x.npz", **keys)
    with pytest.raises(UserError, match="moons holds"):
        genzoo.statistics("moons", tmp_path / "x.npz")
    with pytest.raises(UserError, match="holds statistics already"):
        genzoo.statistics(str(tmp_path / "real.npz"), tmp_path / "x.npz")
    with pytest.raises(UserError, match=r"out=.*x.csv cannot be written; give a name that ends in .npz or .pkl"):
        genzoo.statistics("digits", tmp_path / "x.csv")


def test_whose_a_file_is_stands_in_its_name_or_it_does_not_say(tmp_path):
    for name, network in (
        ("ffhq_clean_trainval70k_1024", "inception-clean"), ("my_set_clean_custom_na", "inception-clean"),
        ("x_legacy_pytorch_train_32", "inception-pytorch"), ("x_legacy_tensorflow_train_32", "inception"), ("fid_stats_cifar10", ""), ("clean", ""),
    ):  # fmt: skip
        np.savez(tmp_path / f"{name}.npz", mu=np.zeros(4), sigma=np.eye(4))
        found = read_reference(tmp_path / f"{name}.npz")
        assert (found.network, found.count) == (network, None), name
    np.savez(tmp_path / "x_clean_clip_vit_b_32_custom_na.npz", mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(UserError, match="of CLIP, a network that genzoo does not have"):
        read_reference(tmp_path / "x_clean_clip_vit_b_32_custom_na.npz")


def test_networks_and_resizers_are_never_mixed(tmp_path):
    """One network behind three published resizers is three measures."""
    x = cloud(40, 6, 0)
    ours, same, other, bare = (tmp_path / f"{n}.npz" for n in ("ours", "same", "other", "bare"))
    write_reference(ours, x, net(), "", data="x")
    write_reference(same, x + 1, net(), "", data="x")
    write_reference(other, x, net(resize="bicubic"), "", data="x")
    np.savez(bare, mu=x.mean(0), sigma=np.cov(x, rowvar=False))
    read = read_reference(ours)
    assert not unlike(read, net())
    for wrong in (net(resize="bicubic"), net(digest="e" * 64), net(name="yours")):
        assert "a distance between the two would measure networks, not images" in unlike(read, wrong)
    assert genzoo.evaluate(ours, against=same)["measures"]["FD-mine"]["value"] == pytest.approx(6, abs=1e-9)
    with pytest.raises(
        UserError, match=r"ours\.npz is of mine \(weights dddddddddddd; none\) and other\.npz of mine \(.*; bicubic\)"
    ):
        genzoo.evaluate(ours, against=other)
    with pytest.raises(
        UserError, match=r"bare\.npz does not say whose network and resizer it is of, and ours\.npz is of mine"
    ):
        genzoo.evaluate(ours, against=bare)
    with pytest.raises(UserError, match=r"bare\.npz does not say .*, and ours\.npz is of mine"):
        genzoo.evaluate(bare, against=ours)
    assert set(genzoo.evaluate(ours, against=bare, extractor=net())["measures"]) == {"FD-mine"}
    with pytest.raises(UserError, match=r"ours\.npz is of mine .*, and extractor=yours is yours"):
        genzoo.evaluate(ours, against=bare, extractor=net(name="yours"))
    given = written(tmp_path / "given", images(30, (6, 4, 4), 1)[:, :3])
    with pytest.raises(UserError, match=r"bare\.npz does not say whose .* extractor=inception-pytorch \(pytorch-fid"):
        genzoo.evaluate(given, against=bare)
    with pytest.raises(UserError, match=r"ours.npz is of mine, which has no name here; give it as extractor="):
        genzoo.evaluate(given, against=ours)
    with pytest.raises(UserError, match=r"lenet-mnist-v1 gives 128; give extractor="):
        genzoo.evaluate(given, against=bare, extractor="lenet-mnist-v1")
    told = {n: published(n)[2] for n in INCEPTIONS}
    assert len(set(told.values())) == 3
    assert asked_as(inception()) == "inception"
    assert asked_as(extractor("random")) == "random"


def test_files_of_others_are_of_the_network_that_they_name(tmp_path):
    """Two files of clean-fid are compared without its weights, and not with one of TTUR's resizer."""
    mu, sigma = np.zeros(2048), np.eye(2048)
    for name in ("a_clean_train_32", "b_clean_test_32", "a_legacy_tensorflow_train_32"):
        np.savez_compressed(tmp_path / f"{name}.npz", mu=mu + (name[0] == "b"), sigma=sigma)
    found = genzoo.evaluate(tmp_path / "a_clean_train_32.npz", against=tmp_path / "b_clean_test_32.npz")["measures"]
    assert found["clean-FID"]["value"] == pytest.approx(2048, rel=1e-6)
    assert found["clean-FID"]["resize"].startswith("Pillow bicubic on floats (clean-fid) to 299x299")
    with pytest.raises(UserError, match=r"TF1 bilinear .*: a distance between the two would measure networks"):
        genzoo.evaluate(tmp_path / "a_clean_train_32.npz", against=tmp_path / "a_legacy_tensorflow_train_32.npz")


def test_resizers_of_others_by_value():
    """PyTorch's bilinear takes single pixels where it shrinks; Pillow's filter spreads."""
    x = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    x[0, 0, 3, 3] = 160
    assert torch_bilinear(x, 4)[0, 0, 1, 1] == 40  # the mean of four
    assert torch_bilinear(x, 2).sum() == 0  # between pixels 1 and 2, 5 and 6
    assert pillow_bicubic(x, 2).sum() > 5


# ---- StyleGAN ------------------------------------------------------------------------------------------------------------------------


def feature_stats(x, **more):
    """What StyleGAN's `FeatureStats` keeps of features that it was given: sums, not means."""
    x = np.asarray(x, np.float32)
    y = x.astype(np.float64)
    return {
        "capture_all": False, "capture_mean_cov": True, "max_items": len(x), "num_items": len(x), "num_features": x.shape[1], "all_features": [],
        "raw_mean": y.sum(0), "raw_cov": y.T @ y, **more,
    }  # fmt: skip


def test_statistics_of_stylegan_are_read_and_brought_to_the_unbiased_covariance(tmp_path):
    x = cloud(50, 5, 0).numpy().astype(np.float32)
    path = tmp_path / "ffhq-inception-v3-2015-12-05-0123.pkl"
    for protocol in (2, 4, 5):
        path.write_bytes(pickle.dumps(feature_stats(x), protocol))
        found = read_reference(path)
        np.testing.assert_allclose(found.moments.mean, x.astype(np.float64).mean(0))
        np.testing.assert_allclose(found.moments.covariance, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-9)
        assert (found.count, found.network) == (50, "")  # five features are not Inception's
    zeros = {"raw_mean": np.zeros(5), "raw_cov": np.zeros((5, 5))}
    path.write_bytes(
        pickle.dumps(feature_stats(x, capture_all=True, capture_mean_cov=False, all_features=[x[:20], x[20:]], **zeros))
    )
    np.testing.assert_allclose(
        read_reference(path).moments.covariance, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-9
    )
    for kept, said in (
        (feature_stats(x, capture_mean_cov=False, **zeros), "keeps neither mean and covariance nor features"),
        (feature_stats(x, num_items=1), "of 1 images; a covariance needs at least two"),
        (feature_stats(x, raw_cov=np.zeros((4, 4))), "keeps neither"),
        (feature_stats(x, raw_mean=np.full(5, np.nan)), "NaN or infinite"),
        ({"G_ema": 1}, "holds no statistics of StyleGAN"),
        ({**feature_stats(x), "all_features": types.SimpleNamespace()}, "types.SimpleNamespace, which is no array"),
    ):
        path.write_bytes(pickle.dumps(kept))
        with pytest.raises(UserError, match=said):
            read_reference(path)


def test_what_is_written_for_stylegan_is_read_by_its_own_lines(tmp_path):
    """`pickle.load`, then raw_mean / num_items and raw_cov / num_items − mean meanᵀ; no name of NumPy 2 alone stands in it."""
    x = cloud(400, 2048, 0)
    path = write_reference(tmp_path / "x.pkl", x, inception(), "inception", data="x", split="train")
    s = pickle.loads(path.read_bytes())
    mean = s["raw_mean"] / s["num_items"]
    cov = s["raw_cov"] / s["num_items"] - np.outer(mean, mean)
    np.testing.assert_allclose(mean, x.mean(0).numpy(), rtol=1e-9)
    np.testing.assert_allclose(cov, np.cov(x.numpy(), rowvar=False, bias=True), atol=1e-8 * float(x.abs().max()) ** 2)
    assert (s["capture_all"], s["max_items"], s["num_features"]) == (False, 400, 2048)
    assert b"_core" not in path.read_bytes()
    found = read_reference(path)
    assert (found.network, found.count, found.told["split"]) == ("inception", 400, "train")
    assert not unlike(found, inception())
    with pytest.raises(UserError, match=r"StyleGAN takes every .pkl for one of its own Inception"):
        write_reference(tmp_path / "y.pkl", x, net(2048), "mine")


# ---- bad files -----------------------------------------------------------------------------------------------------------------------


def test_bad_files_are_refused_in_words(tmp_path):
    good, path = tmp_path / "good.npz", tmp_path / "bad.npz"
    write_reference(good, cloud(30, 6, 0), net(), "", data="x")
    whole = good.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:cut])
        assert not is_reference(path)
        with pytest.raises(UserError, match=r"bad\.npz' is no whole file of statistics"):
            read_reference(path)
    np.savez(path, mean=np.zeros(3))
    with pytest.raises(UserError, match=r"bad\.npz' holds mean; FID statistics are mu \[D\] and sigma"):
        read_reference(path)
    for told in ("[]", "{}", "no json", json.dumps({**read_reference(good).told, "n": -1})):
        np.savez(path, mu=np.zeros(3), sigma=np.eye(3), genzoo=np.array(told))
        with pytest.raises(UserError, match=r"bad\.npz"):
            read_reference(path)
    np.savez(path, mu=np.array([object()]), sigma=np.eye(1))
    with pytest.raises(UserError, match="no arrays of numbers"):
        read_reference(path)
    for order in (">f8", "<f4", "f8"):  # any byte order and width
        np.savez(path, mu=np.arange(3).astype(order), sigma=np.eye(3).astype(order))
        assert read_reference(path).moments.mean.tolist() == [0, 1, 2]


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path):
    """A sigma of 10¹⁰ numbers in a file of a few bytes."""
    import io
    import zipfile

    def array(shape, data):
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
        return head.getvalue() + data

    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("mu.npy", array((3,), b"\0" * 24))
        archive.writestr("sigma.npy", array((100_000, 100_000), b"\0" * 8))
    with pytest.raises(UserError, match=r"x\.npz' (holds mu and sigma that are no arrays|promises)"):
        read_reference(tmp_path / "x.npz")


def test_the_digest_is_of_the_values_and_not_of_the_file(tmp_path):
    mu, sigma = np.arange(3.0), np.eye(3)
    np.savez(tmp_path / "a.npz", mu=mu, sigma=sigma)
    np.savez_compressed(tmp_path / "b.npz", mu=mu, sigma=sigma)
    a, b = (read_reference(tmp_path / f"{n}.npz") for n in "ab")
    assert a.digest == b.digest != hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()


def test_moments_and_cross_gram_agree(tmp_path):
    """Fewer images than features: the distance to a file is that to the features."""
    a, b = cloud(20, 60, 0), cloud(25, 60, 1)
    for name, x in (("a", a), ("b", b)):
        write_reference(tmp_path / f"{name}.npz", x, net(60), "", data=name)
    (record,) = genzoo.evaluate(tmp_path / "a.npz", against=tmp_path / "b.npz")["measures"].values()
    assert record["value"] == pytest.approx(frechet_distance(a, b), rel=1e-7)
    assert "fewer images than the 60 features: strongly biased" in record["protocol"]
