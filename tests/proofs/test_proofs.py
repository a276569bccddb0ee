"""The proof runner: records become pages the same way every time, and one proof touches only what is its own."""

import datetime
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.naming import registry
from proofs import runner
from proofs.acceptance import accepted, binomial_error, seen
from proofs.machine import ROOT
from proofs.proof import Entry, Proof, proof, small_png
from proofs.recipes import TASKS, recipes
from proofs.result_pages import write_pages


def fake_entries(value=3.0):
    def one(p):
        p.record["runs"].append({"system": "vae", "data": "mnist", "steps": 5, "channels": [1, 2], "seconds": 1.5})
        p.measure(
            "NLL",
            value,
            unit="nats",
            se=0.25,
            n=10000,
            split="test",
            protocol="exact",
            published="1 | 2",
            better="lower",
            goal=3,
        )
        p.measure("FLD", 20.0, protocol="exact", baseline={"real": 1.95, "gmm-100": 22.0})
        p.picture("samples", torch.zeros(4, 1, 8, 8), "four grey squares")
        p.note("a\n   note")
        p.output("said", f"two\n  lines of {p.work}/x.png\n")

    def two(p):
        p.measure("AUROC", 0.5, better="higher", goal=0.9)

    return {
        "one": Entry("one", "vae", "autoencoding", 1, "it works", one),
        "two": Entry("two", "gaussian", "density", 1, "it too", two),
        "three": Entry("three", "gmm", "density", 2, "later", two),
    }


def texts(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(entries, folder, *names):
    for name in names:
        runner.run_proof(entries[name], folder / "results", folder / "work")
    write_pages(folder / "results", entries)
    return texts(folder / "results")


def test_pages_say_what_was_measured(tmp_path):
    entries = fake_entries()
    files = run(entries, tmp_path, "one", "two")
    page = files["autoencoding.md"].decode()
    assert "| NLL | 3 ± 0.25 nats | 10,000 | test |  | 1 \\| 2 | met (≤ 3) |" in page
    assert "| FLD | 20.00 |  |  | real 1.95 · gmm-100 22.00 |  |  |" in page
    assert "- *NLL; FLD*: exact" in page
    assert "![four grey squares](pictures/one-samples.png)" in page
    assert "- a note" in page
    assert "*said*\n\n```\ntwo\n  lines of x.png\n```\n" in page
    assert "genzoo train vae data=mnist steps=5 channels=1,2` in 1.5 s" in page
    assert "not met (≥ 0.9)" in files["density.md"].decode()
    index = files["README.md"].decode()
    assert "| [three](density.md#three) | gmm |  | not run |" in index
    headline = "| [one](autoencoding.md#one) | vae | mnist | NLL (N=10,000, test); [1 more](autoencoding.md#one) | 3 ± 0.25 nats |"
    assert headline in index
    assert "`python -m proofs three`" in index
    table = index.split("## Every proof")[1]
    assert table.index("[one]") < table.index("[three]") < table.index("[two]")
    assert "FLD" not in table, "one measure of each proof"
    date = json.loads(files["records/one.json"])["date"]
    assert f"| {date} | `python -m proofs one` |" in table


def test_a_reader_finds_the_proofs_of_a_family_and_of_a_system(tmp_path):
    entries = fake_entries()

    def four(p):
        p.measure("FLD", 2.0)
        p.record["runs"] += [{"system": name, "data": "mnist", "seconds": 1.0} for name in ("wgan-gp", "vae", "vae")]

    entries["four"] = Entry("four", "study", "studies", 1, "it compares", four)
    index = run(entries, tmp_path, "one", "two", "four")["README.md"].decode()
    families = index.split("## By family")[1].split("## By system")[0]
    assert (
        "| [density](density.md) | 1 of 2 | [three](density.md#three) (not run) · [two](density.md#two) |" in families
    )
    systems = index.split("## By system")[1].split("## Every proof")[0]
    assert "| `vae` | [one](autoencoding.md#one) | [four](studies.md#four) |" in systems
    assert "| `gmm` | [three](density.md#three) (not run) |  |" in systems
    assert "| `dcgan` | no proof | [four](studies.md#four) |" in systems, "a preset is its system"
    assert "| `glow` | no proof |  |" in systems
    page = (tmp_path / "results" / "density.md").read_text()
    assert "[three](#three) (not run) · [two](#two)" in page


def test_the_goals_of_a_proof_are_counted(tmp_path):
    entries = fake_entries()

    def two(p):
        p.measure("FLD", 3.0)
        p.measure("AUROC", 0.95, better="higher", goal=0.9)
        p.measure("purity", 0.5, better="higher", goal=0.9)

    entries["two"] = Entry("two", "gaussian", "density", 1, "it too", two)
    index = run(entries, tmp_path, "two")["README.md"].decode()
    assert "| AUROC; [2 more](density.md#two) | 0.95 |  |  | met (≥ 0.9); 1 of 2 goals met |" in index


def test_a_system_without_a_proof_says_so(tmp_path):
    lines = run(fake_entries(), tmp_path, "one")["README.md"].decode().splitlines()
    without = {line.split(" | ")[1] for line in lines if line.startswith("| no proof |")}
    assert without == {*registry.entries()} - {"vae", "gaussian", "gmm"}, "one is run, the others are about these"


def test_pages_are_a_function_of_the_records(tmp_path):
    entries = fake_entries()
    before = run(entries, tmp_path, "one", "two")
    for page in (tmp_path / "results").glob("*.md"):
        page.unlink()
    assert run(entries, tmp_path) == before


def test_running_one_again_changes_only_its_own(tmp_path):
    before = run(fake_entries(), tmp_path, "one", "two")
    after = run(fake_entries(value=4.0), tmp_path, "one")
    assert {name for name in before if before[name] != after[name]} == {
        "records/one.json",
        "autoencoding.md",
        "README.md",
    }
    old, new = (files["README.md"].decode().splitlines() for files in (before, after))
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) == 1
    assert "| 3 ± 0.25 nats |" in changed[0][0]
    assert "| 4 ± 0.25 nats |" in changed[0][1]
    assert "not met" in changed[0][1]


def test_a_proof_that_fails_keeps_the_old_record(tmp_path):
    entries = fake_entries()
    before = run(entries, tmp_path, "two")

    def broken(p):
        p.measure("AUROC", 0.9)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        runner.run_proof(
            Entry("two", "gaussian", "density", 1, "it too", broken), tmp_path / "results", tmp_path / "work"
        )
    assert texts(tmp_path / "results") == before


def test_work_folder_and_stale_pictures_are_removed(tmp_path):
    def names(kind):
        return Entry("p", "vae", "autoencoding", 1, "", lambda p: p.picture(kind, torch.zeros(1, 1, 4, 4)))

    (tmp_path / "work" / "p" / "old-run").mkdir(parents=True)
    runner.run_proof(names("a"), tmp_path / "results", tmp_path / "work")
    assert not (tmp_path / "work" / "p" / "old-run").exists()
    runner.run_proof(names("b"), tmp_path / "results", tmp_path / "work")
    assert [f.name for f in (tmp_path / "results" / "pictures").iterdir()] == ["p-b.png"]


def test_pictures_stay_small():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    small = small_png(noise, 60_000)
    assert len(small) <= 60_000
    flat = Image.fromarray(np.zeros((50, 60, 3), np.uint8))
    assert Image.open(io.BytesIO(small_png(flat))).size == (60, 50)


def test_a_goal_needs_a_direction(tmp_path):
    p = Proof(fake_entries()["one"], tmp_path, tmp_path / "work")
    with pytest.raises(ValueError, match="better"):
        p.measure("x", 1.0, goal=2.0)


def test_records_name_the_machine_and_the_command(tmp_path):
    files = run(fake_entries(), tmp_path, "two")
    record = json.loads(files["records/two.json"])
    assert record["command"].endswith("python -m proofs two")
    assert record["machine"]["torch"] == torch.__version__
    assert record["machine"]["cores"] >= 1
    assert record["seconds"] >= 0


def test_records_name_no_folder_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "data"))
    p = Proof(fake_entries()["one"], tmp_path, tmp_path / "work")
    p.measure("x", 1.0, protocol=f"images of {tmp_path}/data/textures and {ROOT}/runs/proofs/one/a.png")
    assert p.record["measures"][0]["protocol"] == "images of $GENZOO_DATA/textures and runs/proofs/one/a.png"


def test_command_line_refuses_clearly(tmp_path, monkeypatch, capsys):
    entries = fake_entries()
    monkeypatch.setattr(runner, "collect", lambda: entries)
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    monkeypatch.delenv("GENZOO_DATA", raising=False)
    assert runner.main(["one"]) == 2
    assert "GENZOO_DATA" in capsys.readouterr().err
    assert runner.main(["thre"]) == 2
    assert "did you mean 'three'" in capsys.readouterr().err
    assert runner.main(["--family", "densty"]) == 2
    assert "did you mean 'density'" in capsys.readouterr().err
    assert runner.main([]) == 0
    out = capsys.readouterr().out
    assert out.count("not run") == 3


def test_a_stopped_proof_goes_on_with_its_finished_runs(tmp_path):
    entry = Entry("four", "gaussian", "density", 1, "it resumes", lambda p: None)
    first = Proof(entry, tmp_path / "results", tmp_path / "work")
    run = first.train("vae", "digits", steps=2, batch=4, quiet=True)
    weights = run.model.read_bytes()
    with pytest.raises(SystemExit, match="another process runs the proof four"):
        Proof(entry, tmp_path / "results", tmp_path / "work")
    del first
    again = Proof(entry, tmp_path / "results", tmp_path / "work", resume=True)
    assert again.train("vae", "digits", steps=2, batch=4).model.read_bytes() == weights
    assert again.record["runs"][0]["seconds"] > 0
    del again
    Proof(entry, tmp_path / "results", tmp_path / "work")
    assert not run.path.exists(), "without resume a proof begins anew"


def test_every_record_has_a_proof_that_its_page_can_name():
    entries = runner.collect()
    records = {path.stem for path in (runner.RESULTS / "records").glob("*.json")}
    assert records <= set(entries), "a record without a proof cannot be made again"
    with pytest.raises(ValueError, match="two proofs are called dcgan-mnist"):
        proof("dcgan-mnist", system="dcgan", family="adversarial", minutes=1)(lambda p: None)


# ---- what an expert accepts ---------------------------------------------------------------------------------------------------------

DAY = datetime.date(2026, 11, 21)


def judged(value, *, better="lower", se=0.5, shows=True, date=DAY, **kept):
    m = {"name": "FLD", "value": value, "better": better, "baseline": {"gaussian": 10.0, "real": 1.0}, "se": se}
    record = {"date": "2026-11-21", "measures": [{k: v for k, v in m.items() if v is not None}]}
    return accepted(
        record, {"date": date, "measure": "FLD", "against": ["gaussian"], "shows": shows, "why": "seen", **kept}
    )


def test_a_row_is_accepted_by_its_figure_with_its_error_and_by_its_picture():
    assert judged(8.9) == ("yes", "seen")
    assert judged(9.1) == ("no", "FLD is not better than that of gaussian"), "two errors reach to 10.1"
    assert judged(11.1, better="higher") == ("yes", "seen")
    assert judged(9.0, better="higher")[0] == "no"
    assert judged(2.0, shows=False) == ("no", "seen")
    assert judged(2.0, se=None) == ("no", "the error of FLD was not kept; seen")
    assert judged(2.0, date=datetime.date(2026, 11, 20))[0] == "not judged"
    assert accepted({"date": "2026-11-21", "measures": []}, None)[0] == "not judged"
    with pytest.raises(KeyError, match="mixture"):
        judged(2.0, against=["mixture"])


def verdict(measure, **look):
    other = {"name": "other", "value": 7.0}
    record = {"name": "one", "date": "2026-11-21", "measures": [{"name": "m", **measure}, other]}
    return accepted(record, {"date": DAY, "measure": "m", "against": [], "shows": True, "why": "seen", **look})


def test_a_figure_alone_needs_a_goal_and_an_exact_one_or_a_share_no_kept_error():
    exact = {"exact": "a count"}
    assert verdict({"value": 1.0, "goal": 1.0, "better": "higher", "verdict": "met"}, **exact) == ("yes", "seen")
    assert verdict({"value": 0.5, "goal": 1.0, "better": "higher", "verdict": "not met"}, **exact) == (
        "no", "the goal of m is not met",
    )  # fmt: skip
    assert verdict({"value": 1.0}, **exact) == ("no", "nothing stands beside m; seen")
    assert verdict({"value": 1.0, "goal": 1.0, "better": "higher", "verdict": "met"})[1].startswith(
        "the error of m was not"
    )
    assert verdict({"value": 6.9, "better": "lower"}, against=["other"], **exact)[0] == "yes", (
        "another measure beside it"
    )
    assert verdict({"value": 7.1, "better": "lower"}, against=["other"], **exact)[0] == "no"
    with pytest.raises(ValueError, match="which way is better"):
        verdict({"value": 7.1}, against=["other"], **exact)
    half = {"value": 60.0, "unit": "%", "better": "higher", "baseline": {"chance": 50.0}}
    assert verdict({**half, "n": 1000}, against=["chance"], share=True)[0] == "yes"
    assert verdict({**half, "n": 25}, against=["chance"], share=True)[0] == "no", "9.6 per cent of error"


def test_a_goal_is_met_by_more_than_chance():
    rise = {"goal": 0.0, "better": "higher", "verdict": "met", "se": 0.1}
    assert verdict({"value": 0.3, **rise}) == ("yes", "seen")
    assert verdict({"value": 0.15, **rise}) == ("no", "m meets its goal by less than two of its errors; seen")


def test_a_share_of_all_has_an_error():
    assert binomial_error({"value": 1.0, "n": 98}) == pytest.approx((0.99 * 0.01 / 98) ** 0.5)


def test_the_page_counts_what_is_accepted(tmp_path):
    entries = fake_entries(1.0)
    run(entries, tmp_path, "one", "two")
    today = datetime.date.fromisoformat(json.loads((tmp_path / "results" / "records" / "one.json").read_text())["date"])
    look = {"date": today, "measure": "NLL", "against": [], "shows": True, "why": "four squares"}
    write_pages(tmp_path / "results", entries, {"one": look})
    index = (tmp_path / "results" / "README.md").read_text()
    assert "**An expert accepts 1 of 2 rows**, does not accept 0, and 1 have not been judged." in index
    assert "| [one](autoencoding.md#one) | yes | four squares |" in index


def test_the_recipes_are_those_of_the_records():
    records = {
        p.stem: json.loads(p.read_text(encoding="utf-8"))
        for p in sorted((ROOT / "docs/results/records").glob("*.json"))
    }
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert recipes(records, seen()) == page, "python -m proofs --pages writes it"
    assert not {row[0] for task in TASKS for row in task.rows} - set(records), "a proof that there is not"
    assert recipes({}, {}).count("Not run yet") == len(TASKS)


def test_what_was_seen_is_of_records_that_are_there():
    for name, look in seen().items():
        record = json.loads((ROOT / "docs" / "results" / "records" / f"{name}.json").read_text(encoding="utf-8"))
        assert look.keys() - {"share", "exact"} == {"date", "measure", "against", "shows", "why"}, name
        assert look.get("share", True) is True, name
        accepted(record, look)
