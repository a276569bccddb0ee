"""Comparison: what is ranked, what is a tie, and what is told apart with its reason."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

import genzoo
from genzoo import UserError
from genzoo.cli.main import main
from genzoo.data.drawing.images import save_png
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.records import read_records
from genzoo.use.compare import rank


def record(value, se=1.0, **changes):
    made = {
        "measure": "FLD", "value": value, "se": se, "better": "lower", "unit": "", "n": 1000, "n_fake": 1000, "n_real": 500, "data": "digits",
        "split": "test", "data_digest": "abc", "binarize": "none", "extractor": "lenet-mnist-v1", "digest": "d", "resize": "r",
        "quantization": "q", "protocol": "p", "floor": 1.0,
    }  # fmt: skip
    return {**made, **changes}


def ranked(a, b, measure="FLD"):
    return rank(measure, {"a": [a], "b": [b]})


def test_the_best_is_marked_and_a_tie_is_a_tie():
    (row,) = ranked(record(10), record(20))
    assert (row.best, row.tie, row.reason) == (["a"], False, "")
    (row,) = ranked(record(10), record(13))
    assert (sorted(row.best), row.tie) == (["a", "b"], True)
    (row,) = ranked(record(0.2, 0.01, better="higher"), record(0.9, 0.01, better="higher"))
    assert row.best == ["b"]
    (row,) = ranked(record(10, None), record(11))
    assert (row.best, row.tie, row.pairs) == ([], False, 0), "nothing is ranked by chance"
    assert "without a standard error" in row.note
    (row,) = ranked(record(10, better=""), record(11, better=""))
    assert row.best == []
    assert "neither end is best" in row.note
    (row,) = ranked(
        record(0.99, 0.0, better="higher", interval=[0.9, 1.0]),
        record(0.95, 0.0, better="higher", interval=[0.85, 0.97]),
    )
    assert row.tie, "the interval counts where there is one"


def test_a_difference_has_to_be_larger_the_more_of_them_are_judged():
    """One difference of 4 standard errors of each is 2.83 of its own: beyond 2.58, which chance reaches in 1 of 100, but not beyond 3.3."""
    one, other = {"a": [record(10)]}, {"b": [record(14)]}
    assert rank("FLD", one | other)[0].best == ["a"]
    assert sorted(rank("FLD", one | other, pairs=10)[0].best) == ["a", "b"]
    assert rank("FLD", one | {"b": [record(13.6)]})[0].tie
    (row,) = rank("FLD", one | {name: [record(14)] for name in "bcdefgh"})
    assert (len(row.best), row.pairs) == (8, 28)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"n_fake": 10_000, "n": 10_000}, r"different number of samples \(1,000 / 10,000\)"),
        ({"n_real": 50}, "different number of real images"),
        ({"resize": "bicubic"}, r"different resizer \(r / bicubic\)"),
        ({"extractor": "inception"}, "different feature network"),
        ({"digest": "e"}, "different weights of the feature network"),
        ({"data": "garments", "data_digest": "x"}, r"different data \(digits / garments\)"),
        ({"split": "train"}, "different split"),
        ({"data_digest": "x"}, "different images of the data"),
        ({"binarize": "static"}, r"different binarization \(none / static\)"),
        ({"quantization": "truncated"}, "different quantization"),
        ({"k": 3}, "different k"),
    ],
)
def test_what_differs_in_protocol_is_not_ranked(change, reason):
    rows = ranked(record(10), record(99, **change))
    assert len(rows) == 2
    for row in rows:
        assert row.best == []
        assert row.reason.startswith("not comparable: ")
        import re

        assert re.search(reason, row.reason)


def test_likelihoods_of_another_kind_are_not_ranked():
    base = {
        "measure": "NLL",
        "n_fake": None,
        "n_real": None,
        "extractor": None,
        "binarize": "static",
        "levels": 2,
        "likelihood": "exact",
    }
    for change, reason in (
        ({"binarize": "dynamic"}, "static / dynamic"),
        ({"likelihood": "lower bound"}, "kind of likelihood (exact / lower bound)"),
        ({"levels": 256}, "grey levels"),
        ({"n": 300}, "number of examples (1,000 / 300)"),
    ):
        first, second = ranked(record(80, **base), record(70, **{**base, **change}), "NLL")
        assert reason in first.reason
        assert not first.best
        assert not second.best
    (row,) = ranked(record(80, **base), record(70, **base), "NLL")
    assert row.best == ["b"]


def test_those_that_compare_are_ranked_among_themselves():
    rows = rank("FLD", {"a": [record(10)], "b": [record(20)], "c": [record(1, n_fake=9)]})
    assert [(sorted(r.records), r.best) for r in rows] == [(["a", "b"], ["a"]), (["c"], [])]


# ---- chance ----------------------------------------------------------------------------------------------------------------------

TWELVE = Extractor(
    "twelve", "0" * 64, 12, "FD-twelve", "none", lambda x: x.float().flatten(1) @ torch.randn(
        144, 12, generator=torch.Generator().manual_seed(5)
    ) / 100,
)  # fmt: skip


RANKED = "frechet,kid,prdc,c2st,diversity,variety,ndb,prd"


def drawn(folder, seed, n=300, brighter=0):
    """Pictures of one distribution as an array file: smooth shapes with noise, 12 x 12."""
    rng = np.random.default_rng(seed)
    shapes = rng.normal(0, 40, (n, 4, 4)).repeat(3, 1).repeat(3, 2)
    levels = 128 + brighter + shapes + rng.normal(0, 15, (n, 12, 12))
    np.savez(folder / f"{seed}.npz", images=levels.clip(0, 255).round().astype(np.uint8)[:, None])
    return folder / f"{seed}.npz"


def measured(folder, seeds, real, **changes):
    """Sample sets, evaluated."""
    found = []
    for seed in seeds:
        found.append(drawn(folder, seed, **changes))
        genzoo.evaluate(found[-1], str(real), measures=RANKED, extractor=TWELVE, seed=seed)
    return found


def sole_winners(sets, folder):
    """Rows of all pairs in which one is called better than the other."""
    pages = [genzoo.compare(a, b, out=folder / "pair", overwrite=True) for a, b in itertools.combinations(sets, 2)]
    return [(page["runs"], row["measure"]) for page in pages for row in page["rows"] if row["best"] and not row["tie"]]


def test_28_comparisons_of_one_distribution_name_nobody_best_and_a_real_difference_is_seen(tmp_path):
    """The errors count the draw of the samples, and the level counts all rows of a page: chance has no winners."""
    real = drawn(tmp_path, 1, 900)
    sets = measured(tmp_path, range(10, 18), real)
    page = genzoo.compare(*sets, out=tmp_path / "all")
    judged = {row["measure"] for row in page["rows"] if row["best"]}
    assert judged >= {"FD-twelve", "KID", "precision", "recall", "density", "coverage", "C2ST"}
    assert not {r["measure"] for r in page["rows"] if any(v["se"] is None for v in r["values"].values())} & judged
    assert len(sole_winners(sets, tmp_path)) <= 1
    (other,) = measured(tmp_path, [40], real, brighter=25)
    winners = [sole_winners([good, other], tmp_path) for good in sets]
    assert all({"FD-twelve", "KID"} <= {measure for _, measure in found} for found in winners)


@pytest.fixture
def folders(tmp_path):
    """Three evaluated folders, the third under another protocol and with a hostile name."""
    made = []
    for i, (name, changes) in enumerate((("one", {}), ("two", {}), ("<b>three</b>", {"n_fake": 77}))):
        path = tmp_path / name.replace("/", "_")
        path.mkdir()
        (path / "config.toml").write_text("")
        (path / "metrics.json").write_text(json.dumps({"FLD on digits test": record(10.0 + 10 * i, **changes)}))
        save_png(path / "outputs" / "evaluate.png", torch.zeros(2, 1, 4, 4))
        made.append(path)
    return made


def test_one_page_with_pictures(folders, tmp_path):
    found = genzoo.compare(*folders, out=tmp_path / "page")
    assert found["runs"] == ["one", "two", "<b>three<_b>"]
    assert [r["best"] for r in found["rows"]] == [["one"], []]
    assert found["warnings"] == ["FLD: not comparable: different number of samples (1,000 / 77)"]
    page = (tmp_path / "page" / "index.html").read_text()
    assert "<b>three" not in page
    assert "<script" not in page
    assert "&lt;b&gt;three" in page
    assert page.count('<img src="0') == 3
    assert sorted(p.name for p in (tmp_path / "page").iterdir()) == ["00.png", "01.png", "02.png", "index.html"]
    assert page.count('class="best"') == 1
    assert "not comparable: different number of samples" in page
    again = genzoo.compare(*folders, out=tmp_path / "page")
    assert again["page"].endswith("page-2/index.html")
    assert genzoo.compare(*folders, out=tmp_path / "page", overwrite=True)["page"] == found["page"]


def test_the_command(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *map(str, folders)]) == 0
    said = capsys.readouterr()
    assert "10.0000 ± 1*" in said.out
    assert "wrote compare/index.html" in said.out
    assert "warning: FLD: not comparable" in said.err
    assert main(["compare", str(folders[0]), str(folders[1]), "out=other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["best"] == ["one"]
    assert main(["compare", str(folders[0])]) == 2
    assert "two or more" in capsys.readouterr().err
    assert main(["compare"]) == 2
    assert "RUNS is missing" in capsys.readouterr().err


def test_what_has_not_been_evaluated_is_said(folders, tmp_path):
    (folders[1] / "metrics.json").unlink()
    found = genzoo.compare(folders[0], folders[1], out=tmp_path / "p")
    assert found["warnings"] == [f"two has no measures yet: genzoo evaluate {folders[1]}"]
    samples = tmp_path / "samples"
    save_png(samples / "a.png", torch.zeros(2, 1, 4, 4))
    with pytest.raises(UserError, match="has not been evaluated"):
        genzoo.compare(folders[0], samples)
    (folders[0] / "metrics.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        genzoo.compare(folders[0], folders[1])
    with pytest.raises(UserError, match="a system in memory keeps nothing"):
        genzoo.compare(folders[1], genzoo.create("gaussian", shape=(1, 8, 8)))


def test_runs_of_one_name_are_told_apart(folders, tmp_path):
    best = folders[0] / "best"
    best.mkdir()
    (best / "model.safetensors").write_bytes(b"x")
    (best / "metrics.json").write_text((folders[0] / "metrics.json").read_text())
    other = folders[1] / "best"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"x")
    (other / "metrics.json").write_text((folders[1] / "metrics.json").read_text())
    assert genzoo.compare(best, other, out=tmp_path / "p")["runs"] == ["one/best", "two/best"]


def test_records_of_earlier_versions_are_read_under_the_names_of_today(tmp_path):
    old = {k: v for k, v in record(10).items() if k != "quantization"} | {"quantisation": "q"}
    (tmp_path / "metrics.json").write_text(json.dumps({"FLD on digits test": old}))
    (kept,) = read_records(tmp_path / "metrics.json").values()
    assert kept == record(10)
