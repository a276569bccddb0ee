"""Evaluation against named data: which images are compared with, what stands for them, and outputs that are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import genzoo
from genzoo import UserError
from genzoo.cli.main import main
from genzoo.core.system import System
from genzoo.data.drawing.images import to_uint8
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.maths.similarity import ssim, y_psnr, y_ssim
from genzoo.metrics.measure import alternatives
from genzoo.metrics.records import content_digest
from tests.metrics.test_evaluate import images, written


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """One Gaussian fitted to small digits."""
    return genzoo.train("gaussian", "digits", size=16, limit=300, runs=str(tmp_path_factory.mktemp("runs")), quiet=True)


# ---- which real images ---------------------------------------------------------------------------------------------------------------


def levels_of(record):
    return record["split"], record["n_real"]


def test_named_data_without_a_test_part_are_the_test_set_whole(digits, tmp_path):
    """The distance of a folder from itself is 0, and every image counts."""
    folder = written(tmp_path / "real", images(70, (1, 16, 16)))
    keys = {"measures": "frechet", "extractor": "random", "out": tmp_path / "o"}
    (found,) = genzoo.evaluate(folder, str(folder), **keys)["measures"].values()
    assert levels_of(found) == ("all", 70)
    assert found["value"] == pytest.approx(0, abs=1e-9)
    assert "against 70 images of real all" in found["protocol"]
    for same in ({"holdout": 0}, {"split": "all"}, {"split": "train"}):
        (record,) = genzoo.evaluate(folder, str(folder), **same, **keys)["measures"].values()
        assert (record["n_real"], record["value"]) == (70, pytest.approx(0, abs=1e-9))
    (part,) = genzoo.evaluate(folder, str(folder), holdout=0.2, **keys)["measures"].values()
    assert levels_of(part) == ("test", 14)
    assert part["n_floor"] == 56
    with pytest.raises(UserError, match="real has no test part; give split=all, or holdout="):
        genzoo.evaluate(folder, str(folder), split="test", **keys)
    with pytest.raises(UserError, match="give train, test or all"):
        genzoo.evaluate(folder, str(folder), split="val", **keys)
    # a run on data that it was not trained on
    told = genzoo.evaluate(digits, str(folder), n=20, **keys)
    assert told["split"] == "all"
    assert told["examples"] == 70
    assert "real has no test part: all of its 70 examples are compared with" in told["notes"]


def test_a_folder_that_holds_only_a_test_part_is_not_split_again(tmp_path):
    written(tmp_path / "half" / "test", images(40))
    given = written(tmp_path / "given", images(30, seed=1))
    (found,) = genzoo.evaluate(given, str(tmp_path / "half"), measures="frechet", extractor="random")[
        "measures"
    ].values()
    assert found["n_real"] == 40


def test_splits_of_data_that_name_a_test_part(tmp_path):
    written(tmp_path / "both" / "train", images(50))
    written(tmp_path / "both" / "test", images(20, seed=2))
    given = written(tmp_path / "given", images(30, seed=1))
    keys = {"measures": "frechet", "extractor": "random"}
    for split, n in ((None, 20), ("test", 20), ("train", 50), ("all", 70)):
        found = genzoo.evaluate(given, str(tmp_path / "both"), split=split, **keys)
        (record,) = found["measures"].values()
        assert levels_of(record) == (split or "test", n)
        assert (record["floor"] is None) == (split in ("train", "all")), (
            "training images are no floor against themselves"
        )
    kept = json.loads((tmp_path / "given-evaluation" / "metrics.json").read_text())
    assert [key.rsplit(" ", 1)[1] for key in kept] == ["test", "train", "all"]


def test_a_runs_own_data_keep_what_training_held_back(tmp_path):
    folder = written(tmp_path / "own", images(60))
    run = genzoo.train("gaussian", str(folder), runs=str(tmp_path), holdout=0.2, quiet=True)
    for data in (None, str(folder), str(tmp_path / "x" / ".." / "own")):
        (tmp_path / "x").mkdir(exist_ok=True)
        found = genzoo.evaluate(run, data, measures="frechet", extractor="random", n=20)
        (record,) = found["measures"].values()
        assert levels_of(record) == ("test", 12), data
    (record,) = genzoo.evaluate(run, measures="frechet", extractor="random", n=20, split="train")["measures"].values()
    assert levels_of(record) == ("train", 48)
    (record,) = genzoo.evaluate(run, measures="frechet", extractor="random", n=20, split="all")["measures"].values()
    assert levels_of(record) == ("all", 60)


# ---- statistics in place of images ---------------------------------------------------------------------------------------------------


@pytest.fixture
def three():
    return Extractor("mine", "d", 3, "FD-mine", "none", lambda x: x.float().flatten(2).mean(2), batch=7)


def test_statistics_stand_for_real_images(three, tmp_path):
    """The distance to (mu, sigma) of images is that to the images."""
    real, given = images(300, (3, 16, 16)), written(tmp_path / "given", images(250, (3, 16, 16), 1))
    features = three(torch.from_numpy(real)).double().numpy()
    np.savez(tmp_path / "stats.npz", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    np.savez(tmp_path / "real.npz", images=real)
    record = genzoo.evaluate(given, str(tmp_path / "stats.npz"), extractor=three)["measures"]["FD-mine"]
    want = genzoo.evaluate(given, str(tmp_path / "real.npz"), extractor=three, measures="fid")["measures"]["FD-mine"]
    assert record["value"] == pytest.approx(want["value"], rel=1e-5)
    assert record["se"] == pytest.approx(want["se"], rel=1e-4)
    assert (record["data"], record["split"], record["n_real"], record["floor"]) == (
        "stats.npz",
        "statistics",
        None,
        None,
    )
    assert record["data_digest"] == content_digest(features.mean(0), np.cov(features, rowvar=False))
    assert "the statistics (mu, sigma) in stats.npz" in record["protocol"]


def test_what_statistics_do_not_allow_is_said(three, tmp_path):
    given = written(tmp_path / "given", images(30, (3, 16, 16), 1))
    np.savez(tmp_path / "stats.npz", mu=np.zeros(5), sigma=np.eye(5))
    with pytest.raises(
        UserError, match=r"stats\.npz has the statistics of 5 features, and mine gives 3; give extractor="
    ):
        genzoo.evaluate(given, str(tmp_path / "stats.npz"), extractor=three, measures="frechet")
    with pytest.raises(UserError, match=r"stats\.npz does not say whose network and resizer its mu and sigma are of"):
        genzoo.evaluate(given, str(tmp_path / "stats.npz"), measures="fid")
    np.savez(tmp_path / "stats.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(UserError, match="Fréchet distance alone; kid needs the images"):
        genzoo.evaluate(given, str(tmp_path / "stats.npz"), extractor=three, measures="kid")
    found = genzoo.evaluate(given, str(tmp_path / "stats.npz"), extractor=three)
    assert set(found["measures"]) == {"FD-mine"}
    assert "needs the images" in found["not_measured"]["prdc"]
    for mu, sigma, reason in (
        (np.zeros((3, 1)), np.eye(3), r"mu \[D\] and sigma \[D, D\], not \[3, 1\]"),
        (np.zeros(3), np.full((3, 3), np.nan), "NaN or infinite"),
        (np.zeros(3), np.arange(9.0).reshape(3, 3), "not symmetric"),
        (np.zeros(3), -np.eye(3), "negative variance"),
        (np.array(["a"] * 3), np.eye(3), "no arrays of numbers"),
    ):
        np.savez(tmp_path / "bad.npz", mu=mu, sigma=sigma)
        with pytest.raises(UserError, match=reason):
            genzoo.evaluate(given, str(tmp_path / "bad.npz"), extractor=three)


# ---- what a measure is called, and what is given all the same ------------------------------------------------------------------------


def test_names_that_people_know_are_taken(digits, tmp_path):
    def taken(names):
        return set(genzoo.evaluate(digits, measures=names, n=60, out=tmp_path / "o")["measures"])

    assert taken("frechet") == {"FLD"}  # with the network that suits digits
    with pytest.raises(UserError, match="FID needs the Inception weights"):
        taken("FID")  # which means that network, whatever the data
    assert taken("recall") == {"precision", "recall", "density", "coverage"}
    assert taken("bpd") == {"NLL", "bits/dim"}
    assert taken("is") == {"classifier score"}
    assert [[m.name for m in group] for group in alternatives("psnr,fid")] == [
        ["reconstruction", "pairs", "restored"],
        ["frechet"],
    ]
    with pytest.raises(UserError, match="reconstruction: not for gaussian: it has no capability"):
        taken("psnr")


def test_a_measure_without_its_floor_is_given(tmp_path):
    """Five neighbours need six training images; there are four."""
    written(tmp_path / "data" / "train", images(4))
    written(tmp_path / "data" / "test", images(30, seed=2))
    given = written(tmp_path / "given", images(30, seed=1))
    found = genzoo.evaluate(given, str(tmp_path / "data"), measures="prdc", extractor="random")["measures"]
    assert len(found) == 4
    for record in found.values():
        assert record["floor"] is None
        assert np.isfinite(record["value"])
    assert "no floor: k=5 neighbours need" in next(iter(found.values()))["protocol"]


def test_the_command_fails_where_no_measure_could_be_given(digits, tmp_path, capsys):
    given = str(written(tmp_path / "given", images(3, seed=1)))
    real = str(written(tmp_path / "real", images(30)))
    assert main(["evaluate", given, f"data={real}", "measures=prdc,ndb", "extractor=random"]) == 2
    said = capsys.readouterr().err
    assert "prdc: k=5 neighbours" in said
    assert "ndb: NDB takes at least 20" in said
    assert main(["evaluate", given, f"data={real}", "measures=prdc,frechet", "extractor=random"]) == 0
    assert main(["evaluate", given, f"data={real}", "split=half"]) == 2


# ---- known outputs through evaluate --------------------------------------------------------------------------------------------------


class Darker(System):
    """Gives every image back 20 levels darker, as reconstruction and as translation.

    Args:
        shape: Channels, height and width.
    """

    data = "paired"
    directions = ("a2b",)

    def __init__(self, shape: tuple[int, ...] = (3, 16, 16)) -> None:
        super().__init__()
        self.shape = shape
        self.hparams = {"shape": shape, "inputs": shape[0]}

    def encode(self, x):
        return x

    def decode(self, z):
        return (z - 40 / 255).clamp(-1, 1)

    def sample_prior(self, n, *, generator):
        return torch.zeros(n, *self.shape)

    latent_path = "linear"

    def translate(self, x, *, direction="a2b"):
        return self.decode(x)


def sides(folder, n=12, shape=(3, 16, 16)):
    same = images(n, shape) // 2 + 60
    written(folder / "A", same)
    written(folder / "B", same)
    return same


def test_ssim_of_known_outputs_through_evaluate(tmp_path):
    """20 levels darker is nearly the same picture: where 0 is gray SSIM says otherwise."""
    same = torch.from_numpy(sides(tmp_path / "pairs"))
    want = float(ssim(same, same - 20, data_range=255).mean())
    assert want > 0.9
    found = genzoo.evaluate(Darker(), str(tmp_path / "pairs"), measures="ssim", extractor="random")["measures"]
    assert found["translation SSIM"]["value"] == pytest.approx(want, abs=1e-5)
    assert found["translation L1"]["value"] == pytest.approx(100 * 20 / 255, abs=1e-4)
    np.savez(tmp_path / "plain.npz", images=same.numpy())
    Darker.data, kept = "image", Darker.data
    try:
        found = genzoo.evaluate(Darker(), str(tmp_path / "plain.npz"), measures="reconstruction")["measures"]
    finally:
        Darker.data = kept
    assert found["reconstruction SSIM"]["value"] == pytest.approx(want, abs=1e-5)
    assert found["reconstruction SSIM"]["n"] == 12


def test_measures_of_samples_are_taken_of_translations(three, tmp_path):
    """The distance between translations of side A and side B, on request where there are pairs and by default where there are none."""
    same = sides(tmp_path / "pairs", 60)
    found = genzoo.evaluate(Darker(), str(tmp_path / "pairs"), measures="fid,kid,prdc", extractor=three)["measures"]
    assert set(found) == {"FD-mine", "KID", "precision", "recall", "density", "coverage"}
    features = [three(torch.from_numpy(x).to(torch.uint8)) for x in (same - 20, same)]
    assert found["FD-mine"]["value"] == pytest.approx(frechet_distance(*features), rel=1e-4)
    assert "60 translations of side A (a2b) against 60 images of pairs all" in found["FD-mine"]["protocol"]
    assert (found["FD-mine"]["n_fake"], found["FD-mine"]["drawn"]) == (60, "translations of side A (a2b)")
    plain = genzoo.evaluate(Darker(), str(tmp_path / "pairs"), extractor=three)["measures"]
    assert {name.split()[0] for name in plain} == {"translation"}
    Darker.data, kept = "unpaired", Darker.data
    try:
        without = genzoo.evaluate(Darker(), str(tmp_path / "pairs"), extractor=three)["measures"]
    finally:
        Darker.data = kept
    assert {"FD-mine", "KID", "recall"} <= set(without)


class Larger(System):
    """Repeats pixels, twice in each direction.

    Args:
        shape: Channels, height and width.
    """

    data = "image"
    directions = ("upscale",)
    scale = 2
    local = True

    def __init__(self, shape: tuple[int, ...] = (3, 16, 16)) -> None:
        super().__init__()
        self.hparams = {"shape": shape}

    def degrade(self, x):
        return torch.nn.functional.avg_pool2d(x, 2)

    def translate(self, x, *, direction="upscale"):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_super_resolution_is_judged_on_the_luma_of_whole_images_without_their_border(tmp_path):
    """What training cut out is a sixth of the area; the field takes all of it but the border."""
    whole = images(4, (3, 51, 40))
    written(tmp_path / "photos", whole)
    system = Larger()
    system.trained = {"data": {"data": "elsewhere", "crop": 16}}
    found = genzoo.evaluate(system, str(tmp_path / "photos"), size=(51, 40), measures="restored")["measures"]
    x = torch.from_numpy(whole[:, :, :50])
    y = to_uint8(system.translate(system.degrade(x.float() / 127.5 - 1)))
    for name, function in (("PSNR", y_psnr), ("SSIM", y_ssim)):
        record = found[f"translation {name}"]
        values = function(y, x, border=2)
        assert record["value"] == pytest.approx(float(values.mean()), rel=1e-6)
        assert record["se"] == pytest.approx(float(values.std()) / 2, rel=1e-6), (
            "four photographs, whatever they are cut into"
        )
        assert "whole images of 50x40, 8 bits" in record["judged"]
        assert "BT.601, 16 to 235, peak 255" in record["judged"]
    assert found["translation L1"]["n"] == 4
