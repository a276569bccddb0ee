"""Evaluation of runs and of samples from elsewhere: records, pages, and what is answered to bad input."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo import UserError
from genzoo.cli.main import main
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings
from genzoo.metrics import frechet, prdc
from genzoo.metrics.comparison import Comparison, pixel_points
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.measure import choose, table
from genzoo.metrics.records import Record, content_digest, plain, span, wilson
from genzoo.use.common.sample_sets import is_given, open_given

SAMPLES = (
    "FLD", "KID", "precision", "recall", "density", "coverage", "variety", "PRD F8", "PRD F1/8", "C2ST", "1-NN accuracy", "NDB/K",
    "classifier score", "AuthPct", "MS-SSIM of pairs",
)  # fmt: skip


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """One Gaussian fitted to small digits."""
    return genzoo.train("gaussian", "digits", size=16, limit=300, runs=str(tmp_path_factory.mktemp("runs")), quiet=True)


def images(n, shape=(1, 16, 16), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def written(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for i, a in enumerate(arrays):
        Image.fromarray(a[0] if len(a) == 1 else a.transpose(1, 2, 0)).save(folder / f"{i:03d}.png")
    return folder


def toy(n=60, split="test", seed=0, shape=(1, 16, 16), **settings):
    name = f"{n}-{seed}-{shape}"
    return Dataset({"image": images(n, shape, seed)}, "toy", split, name, DataSettings("toy", **settings))


# ---- what is found ---------------------------------------------------------------------------------------------------------------


def test_a_run_gets_every_measure_that_applies_and_a_page(digits, tmp_path):
    found = genzoo.evaluate(digits, n=120, out=tmp_path / "e", seed=2)
    assert set(SAMPLES) | {"NLL", "bits/dim"} <= set(found["measures"])
    assert found["not_measured"] == {} or set(found["not_measured"]) <= {"copying"}
    kept = json.loads((tmp_path / "e" / "metrics.json").read_text())
    for name, r in found["measures"].items():
        assert kept[f"{name} on digits test"] == r
        assert set(Record("m", 0.0, "p").to_json()) <= set(r)
        assert r["protocol"]
        assert "seed 2" in r["protocol"]
        assert (r["data"], r["split"], r["seed"]) == ("digits", "test", 2)
        assert len(r["data_digest"]) == 64
        assert r["library"].startswith("genzoo ")
        assert r["seconds"] >= 0
    fld = found["measures"]["FLD"]
    assert (fld["n_fake"], fld["n_floor"], fld["extractor"]) == (120, 120, "lenet-mnist-v1")
    assert fld["floor"] < fld["value"]
    assert "28x28" in fld["resize"]
    assert found["measures"]["precision"]["k"] == 5
    page = (tmp_path / "e" / "evaluation.html").read_text()
    assert "<script" not in page
    pictures = re.findall(r'src="([^"]+)"', page)
    assert set(pictures) == {"outputs/evaluate.png", "outputs/neighbours.png"}
    assert all((tmp_path / "e" / p).exists() for p in pictures)
    for name in found["measures"]:
        assert f"{name} on digits test" in page


def test_the_same_seed_gives_the_same_numbers_and_only_what_is_asked_for_is_taken(digits, tmp_path):
    a, b, c = (
        genzoo.evaluate(digits, n=60, measures="frechet,prdc", seed=s, out=tmp_path / "x")["measures"]
        for s in (1, 1, 2)
    )
    assert set(a) == {"FLD", "precision", "recall", "density", "coverage"}
    assert a["FLD"]["value"] == b["FLD"]["value"] != c["FLD"]["value"]
    with pytest.raises(UserError, match=r"did you mean 'frechet'.*Measures: ais, iwae, nll"):
        genzoo.evaluate(digits, measures="frechett")
    with pytest.raises(UserError, match="no capability 'encodes'"):
        genzoo.evaluate(digits, measures=["reconstruction"])
    with pytest.raises(UserError, match="takes no number of samples"):
        genzoo.evaluate(digits, measures="iwae", n=10)
    with pytest.raises(UserError, match="did you mean 'lenet-mnist-v1'"):
        genzoo.evaluate(digits, extractor="lenet-mnist")
    with pytest.raises(UserError, match="did you mean 'limit'"):
        genzoo.evaluate(digits, limitt=3)


def test_a_system_in_memory_is_measured_and_nothing_is_written(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = genzoo.evaluate(genzoo.load(digits.path), n=30, measures="frechet,nll")
    assert set(found["measures"]) == {"FLD", "NLL", "bits/dim"}
    assert found["page"] is None
    assert list(tmp_path.iterdir()) == []
    assert genzoo.evaluate(genzoo.create("gaussian", shape=(1, 8, 8)))["measures"] == {}
    with pytest.raises(UserError, match="give data="):
        genzoo.evaluate(genzoo.create("gaussian", shape=(1, 8, 8)), measures="nll")


def test_samples_score_the_same_from_a_folder_an_array_and_the_system(digits, tmp_path):
    drawn = genzoo.sample(digits, n=80, seed=0)
    levels = ((drawn + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    folder = written(tmp_path / "drawn", levels)
    np.savez(tmp_path / "drawn.npz", images=levels)
    np.save(tmp_path / "drawn.npy", drawn.clamp(-1, 1).numpy())
    own = genzoo.evaluate(digits, n=80, measures="frechet", out=tmp_path / "own")["measures"]["FLD"]
    for source in (folder, tmp_path / "drawn.npz", str(tmp_path / "drawn.npy")):
        found = genzoo.evaluate(source, "digits", measures="frechet", size=16, limit=300)
        fld = found["measures"]["FLD"]
        assert fld["value"] == pytest.approx(own["value"], rel=1e-9)
        assert fld["data_digest"] == own["data_digest"]
        assert found["written"].endswith("-evaluation/metrics.json")
    assert sorted(p.name for p in folder.iterdir())[0] == "000.png", "a folder of samples holds samples only"
    assert len(list(folder.iterdir())) == 80
    other = genzoo.evaluate(folder, "digits", measures="frechet", limit=300)
    assert "real images brought from 1x32x32 to the samples' 1x16x16" in other["notes"][0]


def test_names_are_escaped_on_the_page(tmp_path):
    folder = written(tmp_path / "<img src=x onerror=alert(1)>&", images(12))
    found = genzoo.evaluate(folder, "digits", measures="diversity", limit=50)
    page = Path(found["page"]).read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;" in page


# ---- what is answered to bad input ---------------------------------------------------------------------------------------------------


def test_folders_that_hold_no_samples_are_refused(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="neither a run nor a folder of images"):
        genzoo.evaluate(empty, "digits")
    (empty / "note.txt").write_text("x")
    with pytest.raises(UserError, match=r"note\.txt"):
        genzoo.evaluate(empty, "digits")
    with pytest.raises(UserError, match="at least two"):
        genzoo.evaluate(written(tmp_path / "one", images(1)), "digits")
    mixed = written(tmp_path / "mixed", images(3))
    Image.new("L", (9, 7)).save(mixed / "other.png")
    with pytest.raises(UserError, match=r"2 sizes \(3 of 16x16, 1 of 7x9\)"):
        genzoo.evaluate(mixed, "digits")
    with pytest.raises(UserError, match="give data="):
        genzoo.evaluate(written(tmp_path / "two", images(2)))
    np.save(tmp_path / "nan.npy", np.full((4, 1, 16, 16), np.nan, np.float32))
    with pytest.raises(UserError, match="not finite"):
        genzoo.evaluate(tmp_path / "nan.npy", "digits")
    with pytest.raises(UserError, match="there is no run"):
        genzoo.evaluate(tmp_path / "nowhere", "digits")
    broken = written(tmp_path / "broken", images(3))
    (broken / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert len(open_given(broken).images) == 3
    assert "1 files left out" in open_given(broken).notes[0]


def test_what_is_a_run_and_what_are_samples(digits, tmp_path):
    assert not is_given(digits)
    assert not is_given(digits.path)
    assert not is_given(genzoo.load(digits.path))
    assert is_given(written(tmp_path / "f", images(2)))
    assert not is_given(tmp_path / "nothing")


class Broken(System):
    """Draws no numbers.

    Args:
        bad: Share that is NaN.
    """

    def __init__(self, shape: tuple[int, ...] = (1, 16, 16), bad: float = 0.1) -> None:
        super().__init__()
        self.shape, self.bad = shape, bad

    def sample(self, n, *, generator):
        x = torch.rand(n, *self.shape, generator=generator) * 2 - 1
        x[: max(1, int(self.bad * n))] = float("nan")
        return x


def test_samples_that_are_no_numbers_are_counted():
    compared = Comparison(test=toy(), net=extractor("lenet-mnist-v1"), system=Broken(), n=40)
    with pytest.raises(UserError, match="4 of 40 samples hold NaN"):
        frechet.take(compared)
    # None of the measures makes a number of it: all say why.
    found = genzoo.evaluate(Broken(), "digits", n=40, size=16, limit=100)
    assert found["measures"] == {}
    assert "NaN" in found["not_measured"]["frechet"]


def test_fewer_images_than_features_and_identical_ones_have_defined_values():
    few = Comparison(test=toy(20), net=extractor("lenet-mnist-v1"), given=torch.from_numpy(images(9, seed=1)))
    (r,) = frechet.take(few)
    assert r.value == pytest.approx(frechet_distance(few.fake_features, few.real_features), rel=1e-12)
    assert "fewer images than the 128 features" in r.protocol
    assert r.se is None
    same = torch.from_numpy(images(1, seed=3)).expand(30, -1, -1, -1).contiguous()
    c = Comparison(test=toy(40), train=toy(40, "train", 5), net=extractor("lenet-mnist-v1"), given=same)
    (r,) = frechet.take(c)
    real = c.real_features.double()
    expected = (c.fake_features[0].double() - real.mean(0)).square().sum() + real.var(0).sum()
    assert r.value == pytest.approx(float(expected), rel=1e-6)
    values = {r.measure: r.value for r in prdc.take(c)}
    assert values["recall"] == 0
    for m in choose("kid,variety,c2st,ndb,score,diversity"):
        for r in m.take(c):
            assert np.isfinite(r.value), r.measure
    (variety,) = table()["variety"].take(c)
    assert variety.value == pytest.approx(0, abs=1e-9)
    (score,) = [r for m in choose("score") for r in m.take(c)]
    assert score.value == pytest.approx(1, abs=1e-5), "classes that no sample has count as nothing"


def test_more_real_images_are_asked_for_than_there_are(digits, tmp_path):
    found = genzoo.evaluate(digits, n=30, n_real=10_000, measures="frechet", out=tmp_path)["measures"]["FLD"]
    assert found["n_real"] == 300
    assert "against 300 images" in found["protocol"]


def test_too_few_for_a_measure_is_said_and_the_others_are_taken(digits, tmp_path):
    found = genzoo.evaluate(digits, n=4, out=tmp_path)
    assert "FLD" in found["measures"]
    assert "NLL" in found["measures"]
    assert "k=5 neighbours" in found["not_measured"]["prdc"]
    with pytest.raises(UserError, match="k=5 neighbours"):
        genzoo.evaluate(digits, n=4, measures="prdc", out=tmp_path)


def test_images_without_a_network_say_what_to_do(tmp_path):
    np.savez(tmp_path / "photos.npz", images=images(60, (3, 16, 16)))
    given = written(tmp_path / "given", images(40, (3, 16, 16), 1))
    found = genzoo.evaluate(given, str(tmp_path / "photos.npz"))
    assert "GENZOO_WEIGHTS" in found["not_measured"]["frechet"]
    assert "MS-SSIM of pairs" in found["measures"]
    assert "training images" in found["not_measured"]["memorization"], "all 60 are compared with"
    found = genzoo.evaluate(given, str(tmp_path / "photos.npz"), holdout=0.3)
    assert found["measures"]["AuthPct"]["points"] == "pixels"
    assert found["measures"]["AuthPct"]["n_train"] == 42
    sanity = genzoo.evaluate(given, str(tmp_path / "photos.npz"), extractor="random", measures="frechet,kid,prdc")[
        "measures"
    ]
    assert len(sanity) == 6
    assert all("sanity only" in name for name in sanity)
    with pytest.raises(UserError, match="no classifier of these classes"):
        genzoo.evaluate(given, str(tmp_path / "photos.npz"), extractor="random", measures="score")


def test_a_network_of_ones_own_and_pixels_of_large_images():
    net = Extractor("mine", "d", 3, "FD-mine", "none", lambda x: x.float().flatten(2).mean(2), batch=7)
    c = Comparison(test=toy(30, shape=(3, 16, 16)), net=net, given=torch.from_numpy(images(20, (3, 16, 16), 2)))
    assert [r.measure for r in frechet.take(c)] == ["FD-mine"]
    big = torch.full((2, 1, 64, 64), 51, dtype=torch.uint8)
    torch.testing.assert_close(pixel_points(big), torch.full((2, 1024), 0.2))
    slow = replace(c, net=replace(net, photographs=True), train=toy(30, "train", 4, (1, 16, 16)))
    with pytest.raises(UserError, match="pixels can only be compared at one size"):
        replace(slow, test=toy(30, shape=(1, 8, 8))).train_points  # noqa: B018


# ---- records and the command ---------------------------------------------------------------------------------------------------------


def test_records():
    r = Record("FLD", 3.0, "words", se=0.5, more={"k": 5, "curve": torch.tensor([1.0, float("nan")])})
    j = r.to_json()
    assert (j["measure"], j["k"], j["curve"]) == ("FLD", 5, [1.0, None])
    assert json.loads(json.dumps(j)) == j
    assert span(j) == pytest.approx((3 - 0.98, 3 + 0.98))
    assert span({**j, "interval": [1, 2]}) == (1, 2)
    assert span({"value": 3}) is None
    assert plain(float("inf")) is None
    low, high = wilson(1.0, 50)
    assert low < 0.95
    assert high == pytest.approx(1)
    a = images(3)
    assert content_digest(a) == content_digest(torch.from_numpy(a)) != content_digest(a.reshape(3, 16, 16))


def test_the_command_says_how_long_and_names_the_protocol_once(digits, tmp_path, capsys):
    words = ["evaluate", str(digits.path), "n=300", "measures=frechet,prdc", f"out={tmp_path / 'c'}"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "drawing 300 samples: at most " in said.err
    assert "FLD" in said.out
    assert said.out.count("samples to grey levels") <= 2
    assert "evaluation.html" in said.out
    assert main([*words, "limit=50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["FLD"]["n_real"] == 50
    assert main(["evaluate", str(digits.path), "measure=frechet"]) == 2
    assert "did you mean 'measures'" in capsys.readouterr().err
