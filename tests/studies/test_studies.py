"""Studies: mistakes in the file, trials that are the same for everybody, shared work, and a worker that is killed."""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.runs.meters import read_log
from genzoo.saved.checkpoint import DiskFull
from genzoo.studies.journal import Journal, claimed
from genzoo.studies.plan import read_plan
from genzoo.studies.report import best_of, summary, write_report
from genzoo.studies.work import rows_of, work

pytest.importorskip("optuna", reason="the study extra is not installed")

FIRST = """
systems = ["gaussian", "gaussian-diagonal"]
data = ["digits"]
samples = 200
"""
GANS = """
name = "gans"
systems = ["vae", "dcgan"]
data = ["digits"]
seeds = 2
samples = 50
[settings]
steps = 6
batch = 8
sample_every = 6
save_every = 2
[settings_for.dcgan]
width = 4
"""


def write(tmp_path, text, name="first.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_small_study_makes_its_table_and_page(tmp_path):
    found = genzoo.study(write(tmp_path, FIRST), out=tmp_path / "out", quiet=True)
    assert found.done
    assert [row["state"] for row in found.rows] == ["complete"] * 2
    with open(found.path / "table.csv") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert float(rows["gaussian"]["best"]) == found.rows[0]["value"] < found.rows[1]["value"]
    page = (found.path / "index.html").read_text()
    assert "gaussian-diagonal" in page
    assert "squared Fréchet distance" in page, "no number without its protocol"
    for name in ("boxes.png", "trials.csv", "samples-gaussian-digits.png"):
        assert (found.path / name).stat().st_size > 0
    again = genzoo.study(found.path, quiet=True)
    assert again.rows == found.rows, "nothing is left to do"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('systems = ["gausian"]', "did you mean 'gaussian'"),
        ("seeds = 0", "seeds"),
        ("sedes = 2", "seeds"),
        ('measure = "beauty"', "there is no measure 'beauty'"),
        ('measure = "variety"', "better"),
        ('also = ["FLDD"]', "did you mean 'FLD'"),
        ("[settings]\nsteps = 0", "steps"),
        ("[settings]\nseed = 3", "the study's to set"),
        ("[settings]\nwidth = 3", "width"),
        ("[settings_for.vae]\nlr = 1e-3", "not in systems"),
        ("draws = 3", "without a"),
        ("draws = 2\n[search]\nridge = {low = 1e-4}", "not a range"),
        ("draws = 2\n[search]\nridge = {low = 1.0, high = 0.5}", "ridge"),
        ("draws = 2\n[search]\nridge = {low = -1.0, high = 0.5}", "ridge"),
        ("draws = 2\n[search]\nwidth = {low = 1, high = 2}", "no system"),
        ("systems = [", "not TOML"),
    ],
)
def test_a_mistake_is_answered_before_anything_is_made(change, said, tmp_path):
    lines = [line for line in FIRST.splitlines() if not line.startswith(change.split(" =")[0] + " =")]
    text = "\n".join([*lines, change])  # tables come last
    with pytest.raises(UserError, match=said):
        genzoo.study(write(tmp_path, text), out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_mistake_about_one_data_set_is_answered(tmp_path):
    with pytest.raises(UserError, match="did you mean 'digits'"):
        read_plan(write(tmp_path, FIRST + "[settings_on.digit]\nsize = 16\n"), tmp_path / "out")
    with pytest.raises(UserError, match="size"):
        read_plan(write(tmp_path, FIRST + "[settings_on.digits]\nsize = -1\n"), tmp_path / "out")


def test_the_command_line_answers_in_a_line(tmp_path, capsys):
    assert main(["study", str(tmp_path / "none.toml")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_draws_are_the_same_everywhere_and_differ_from_each_other(tmp_path):
    text = 'systems=["vae","dcgan"]\ndata=["digits","garments"]\nseeds=[3,5]\ndraws=4\n[search]\nlr={low=1e-5,high=1e-2,log=true}\n'
    text += "[search_for.dcgan]\npenalty_weight={low=0.1,high=10.0}\nkernel={choices=[4,5]}\n"
    for sampler in ("random", "sobol"):
        _, plan = read_plan(write(tmp_path, f'sampler="{sampler}"\n{text}'), tmp_path / sampler)
        trials = plan.trials()
        assert trials == plan.trials()
        assert [t.number for t in trials] == list(range(2 * 2 * 4 * 2))
        assert len({t.name for t in trials}) == len(trials)
        drawn = {(t.system, t.data, t.draw): t.settings["lr"] for t in trials}
        assert len(set(drawn.values())) == 16
        assert all(1e-5 <= v <= 1e-2 for v in drawn.values())
        assert all(("kernel" in t.settings) == (t.system == "dcgan") for t in trials)
        assert {t.seed for t in trials} == {3, 5}


def test_a_grid_is_every_combination_of_the_choices_once(tmp_path):
    text = (
        'systems=["vae","dcgan"]\ndata=["digits"]\nseeds=2\nsampler="grid"\n[search]\nlr={choices=[1e-3,3e-3,1e-2]}\n'
    )
    text += "[search_for.dcgan]\nkernel={choices=[4,5]}\n"
    _, plan = read_plan(write(tmp_path, text), tmp_path / "out")
    found = [(t.system, t.seed, t.settings["lr"], t.settings.get("kernel")) for t in plan.trials()]
    rates = (1e-3, 3e-3, 1e-2)
    assert found == [("vae", s, lr, None) for lr in rates for s in (0, 1)] + [
        ("dcgan", s, lr, k) for lr in rates for k in (4, 5) for s in (0, 1)
    ]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("draws=3\n[search]\nlr={choices=[1e-3]}\n", "leave it out"),
        ("[search]\nlr={low=1e-4,high=1e-2}\n", "lr = { choices"),
        ("[search]\nlr={choices=[1e-3,2e-3]}\nseed={choices=[1]}\n", "the study's to set"),
    ],
)
def test_what_a_grid_cannot_be_is_answered(lines, said, tmp_path):
    text = f'systems=["vae"]\ndata=["digits"]\nsampler="grid"\n{lines}'
    with pytest.raises(UserError, match=said):
        read_plan(write(tmp_path, text), tmp_path / "out")


def test_settings_of_a_data_set_stand_between_those_of_all_and_those_of_a_system(tmp_path):
    text = 'systems=["vae","dcgan"]\ndata=["digits","garments"]\n[settings]\nsteps=5\nbatch=8\n'
    text += "[settings_on.garments]\nsteps=7\nbatch=9\n[settings_for.dcgan]\nsteps=11\n"
    _, plan = read_plan(write(tmp_path, text), tmp_path / "out")
    found = {(t.system, t.data): (t.settings["steps"], t.settings["batch"]) for t in plan.trials()}
    assert found == {
        ("vae", "digits"): (5, 8), ("vae", "garments"): (7, 9), ("dcgan", "digits"): (11, 8), ("dcgan", "garments"): (11, 9),
    }  # fmt: skip


def test_curves_over_time_and_images_and_measures_beside_the_first(tmp_path):
    text = 'systems=["dcgan","vae"]\ndata=["digits"]\nsamples=50\nmeasure="FLD"\nalso=["precision","FID"]\n'
    text += '[settings]\nsteps=4\nbatch=8\nmeasure="frechet"\nmeasure_every=2\nmeasure_n=40\n[settings_for.dcgan]\nwidth=4\n'
    found = genzoo.study(write(tmp_path, text), out=tmp_path / "out", quiet=True)
    for row in found.rows:
        lines = [line for line in read_log(found.path / row["run"] / "log.jsonl") if "FLD" in line]
        assert [line["step"] for line in lines] == [2, 4]
        assert row["images"] == 4 * 8
        assert 0 <= row["also"]["precision"] <= 1
        assert row["also"]["FID"] is None, "there are no weights of Inception here"
    assert (found.path / "curves.png").stat().st_size > 0
    page = (found.path / "index.html").read_text()
    assert "curves.png" in page
    assert "precision:" in page, "every measure with its protocol"
    with open(found.path / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["precision of best draw"]) for r in rows] == [r["also"]["precision"] for r in found.rows]
    assert [r["FID of best draw"] for r in rows] == ["", ""]


def test_another_study_in_the_same_folder_is_refused_and_what_differs_is_told(tmp_path):
    read_plan(write(tmp_path, FIRST), tmp_path / "out")
    read_plan(write(tmp_path, "# a remark\n" + FIRST), tmp_path / "out")
    with pytest.raises(UserError, match=r"another study, or this one with other settings \(seeds\)"):
        read_plan(write(tmp_path, FIRST + "seeds = 2\n"), tmp_path / "out")


def test_a_file_that_is_no_text_is_answered(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is no UTF-8 text"):
        genzoo.study(path, out=tmp_path / "out", quiet=True)


def test_a_trial_that_fails_is_told_and_the_rest_goes_on(tmp_path):
    text = 'systems=["dcgan","gaussian"]\ndata=["moons"]\nmeasure="NLL"\nsamples=50\n'
    found = genzoo.study(write(tmp_path, text), out=tmp_path / "out", quiet=True)
    assert [row["state"] for row in found.rows] == ["failed", "complete"]
    assert found.rows[0]["why"] in (found.path / "index.html").read_text().replace("&#39;", "'")
    assert summary(found.plan, found.rows)[0]["failed"] == 1


def test_what_is_not_there_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path / "none"))
    for text, said in (('measure = "FID"', "inception"), (f'data = ["{tmp_path}/photos"]', "photos")):
        lines = [line for line in FIRST.splitlines() if not line.startswith(text.split(" =")[0] + " =")]
        with pytest.raises(UserError, match=said):
            genzoo.study(write(tmp_path, "\n".join([*lines, text])), out=tmp_path / said, quiet=True)
        assert not list((tmp_path / said).glob("runs/*")), "nothing was trained"
        assert not (tmp_path / said / "index.html").exists()


def test_an_error_nobody_expected_fails_one_trial_and_can_be_tried_again(tmp_path, monkeypatch):
    file, real = write(tmp_path, FIRST), genzoo.train
    broken = True

    def train(system, *args, **keys):
        if broken and system == "gaussian":
            raise RuntimeError("no memory is left\nand more")
        return real(system, *args, **keys)

    monkeypatch.setattr(genzoo, "train", train)
    found = genzoo.study(file, out=tmp_path / "out", quiet=True)
    assert [row["state"] for row in found.rows] == ["failed", "complete"]
    assert found.rows[0]["why"].startswith("RuntimeError: no memory is left (")
    assert "Traceback" in (found.path / found.rows[0]["run"] / "error.txt").read_text()
    assert "no memory is left" in (found.path / "index.html").read_text()
    broken = False
    assert genzoo.study(file, out=tmp_path / "out", quiet=True).rows == found.rows, "failed is finished"
    again = genzoo.study(file, out=tmp_path / "out", retry=True, quiet=True)
    assert [row["state"] for row in again.rows] == ["complete"] * 2
    assert again.rows[0]["why"] == ""
    assert not (found.path / found.rows[0]["run"] / "error.txt").exists()
    assert again.rows[1] == found.rows[1]
    plain = genzoo.study(file, out=tmp_path / "plain", quiet=True)
    assert (again.path / "table.csv").read_bytes() == (plain.path / "table.csv").read_bytes()


def test_a_full_disk_stops_the_study_and_costs_nothing_that_is_finished(tmp_path, monkeypatch):
    file, real = write(tmp_path, FIRST), genzoo.evaluate

    def evaluate(run, **keys):
        if "diagonal" in str(run.path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(run, **keys)

    monkeypatch.setattr(genzoo, "evaluate", evaluate)
    with pytest.raises(DiskFull, match="make room"):
        genzoo.study(file, out=tmp_path / "out", quiet=True)
    path, plan = read_plan(tmp_path / "out")
    assert Journal(path, plan).states() == ["complete", "running"]
    monkeypatch.setattr(genzoo, "evaluate", real)
    found = genzoo.study(path, quiet=True)
    assert [row["state"] for row in found.rows] == ["complete"] * 2


def test_a_line_that_a_full_disk_cut_off_does_not_spoil_the_journal(tmp_path):
    path, plan = read_plan(write(tmp_path, FIRST), tmp_path / "out")
    first, second = plan.trials()
    open_before = Journal(path, plan)
    open_before.tell(first, "running")
    with open(path / "journal.log", "ab") as file:
        file.write(b'{"op_code":6,"worker_id":"x","tri')
    assert Journal(path, plan).states() == ["running", "waiting"]
    open_before.tell(first, "complete", 1.0)
    Journal(path, plan).tell(second, "running")
    assert Journal(path, plan).states() == open_before.states() == ["complete", "running"]


def test_a_worker_killed_while_it_writes_the_journal_holds_nobody_up(tmp_path):
    path, plan = read_plan(write(tmp_path, FIRST), tmp_path / "out")
    journal = Journal(path, plan)
    program = (
        "import sys, time; from pathlib import Path; from genzoo.studies.storage import JournalLock\n"
        "JournalLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", program, str(path / "journal.log")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        other.kill()
    begun = time.monotonic()
    journal.tell(plan.trials()[0], "running")
    assert time.monotonic() - begun < 5
    assert journal.states()[0] == "running"


def test_the_page_is_there_while_trials_are_open_and_shows_their_state(tmp_path):
    file = write(tmp_path, FIRST + "seeds = 2\n")
    found = genzoo.study(file, out=tmp_path / "out", limit=3, quiet=True)
    page = (found.path / "index.html").read_text()
    assert "3 of 4 trials finished" in page
    assert "http-equiv='refresh'" in page
    found = genzoo.study(file, out=tmp_path / "out", quiet=True)
    page = (found.path / "index.html").read_text()
    assert "4 of 4 trials finished" in page
    assert "http-equiv='refresh'" not in page
    assert [row["system"] for row in found.table] == ["gaussian", "gaussian-diagonal"], "the best first"
    for row in found.rows:
        assert f"href='{row['run']}/" in page
    shutil.rmtree(found.path / found.rows[0]["run"])
    assert genzoo.study(file, out=tmp_path / "out", quiet=True).rows[0]["value"] == found.rows[0]["value"]


def test_searched_settings_are_drawn_over_the_measure(tmp_path):
    text = FIRST + "draws = 3\n[search]\nridge = {low = 1e-4, high = 1e-1, log = true}\n"
    found = genzoo.study(write(tmp_path, text), out=tmp_path / "out", quiet=True)
    page = (found.path / "index.html").read_text()
    for name in ("settings.png", "budget.png", "boxes.png"):
        assert (found.path / name).stat().st_size > 0
        assert name in page
    assert "<th>ridge</th>" in page


def test_values_far_apart_are_drawn_where_the_systems_of_a_setting_have_no_trial_yet(tmp_path):
    text = GANS.replace('"dcgan"]', '"dcgan", "lsgan"]').replace("seeds = 2", "draws = 2")
    searched = "".join(f"[search_for.{s}]\nlr = {{low = 1e-4, high = 1e-2, log = true}}\n" for s in ("dcgan", "lsgan"))
    searched += "[search_for.vae]\nwidth = {choices = [4, 8, 16]}\n"
    path, plan = read_plan(write(tmp_path, text + searched), tmp_path / "out")
    rows = rows_of(path, plan)
    for row in (r for r in rows if r["system"] == "vae"):
        row |= {"state": "complete", "value": 10.0 ** (3 * row["draw"])}
    assert [r["value"] for r in rows if r["value"] is not None] == [1, 1000]
    write_report(path, plan, rows)
    assert (path / "settings.png").stat().st_size > 0


def test_the_command_prints_a_table_a_person_can_read(tmp_path, capsys):
    assert main(["study", str(write(tmp_path, FIRST)), f"out={tmp_path / 'out'}", "quiet=true"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 trials finished, 0 failed" in out
    assert out.index("  gaussian ") < out.index("  gaussian-diagonal ")
    assert max(map(len, out.replace(str(tmp_path), "").splitlines())) < 120


def test_the_studies_of_the_repository_are_in_order(tmp_path):
    folder = Path(__file__).parents[2] / "examples" / "studies"
    published = tomllib.loads((folder / "lucic-published.toml").read_text())
    for name, trials in {
        "first": 4,
        "lucic-fragment": 2 * 8,
        "lucic-two-cores": 8 * 2 * 4,
        "lucic-two-cores-cifar10": 8 * 2,
        "dcgan-defaults": 4 + 2,
        "rates-autoregressive": 6 * 2 * 4,
        "rates-autoregressive-colour": 2 * 2 * 4,
    }.items():
        _, plan = read_plan(folder / f"{name}.toml", tmp_path / name)
        assert len(plan.trials()) == trials
    _, full = read_plan(folder / "lucic-full.toml", tmp_path / "full")
    assert (full.draws, len(full.systems), full.measure, full.samples) == (100, 8, "FID", 10_000)
    assert [full.fixed("ns-gan", data)["steps"] * 64 // 60_000 for data in full.data[:2]] == [20, 20]
    assert full.fixed("ns-gan", "cifar10")["steps"] * 64 // 50_000 == 100
    _, small = read_plan(folder / "lucic-two-cores.toml", tmp_path / "lucic-two-cores")
    assert set(full.search_for) | {"vae"} == set(full.systems) == set(small.systems)
    assert set(published) == set(full.data)
    assert all(set(table) == set(full.systems) for table in published.values())


def test_two_workers_never_hold_one_trial(tmp_path):
    path, plan = read_plan(write(tmp_path, FIRST), tmp_path / "out")
    first, second = plan.trials()
    with claimed(path, first) as mine, claimed(path, first) as theirs, claimed(path, second) as other:
        assert (mine, theirs, other) == (True, False, True)
    with claimed(path, first) as mine:
        assert mine
    assert Journal(path, plan).states() == ["waiting", "waiting"] == Journal(path, plan).states()


def test_a_trial_whose_worker_dies_later_is_taken_up_by_one_that_had_passed_it(tmp_path, monkeypatch):
    path, plan = read_plan(write(tmp_path, FIRST), tmp_path / "out")
    first, second = plan.trials()
    other = contextlib.ExitStack()
    assert other.enter_context(claimed(path, first))
    done = []

    def run(path, plan, trial, *, quiet):
        done.append(trial)
        other.close()  # the other worker dies while this one is busy with the second trial
        return 1.0, ""

    monkeypatch.setitem(work.__globals__, "_run", run)
    work(path, plan, quiet=True)
    assert done == [second, first]
    assert Journal(path, plan).states() == ["complete", "complete"]


def test_killed_and_shared_by_two_workers_it_ends_with_the_same_table(tmp_path):
    file = write(tmp_path, GANS)
    alone = genzoo.study(file, out=tmp_path / "alone", quiet=True)

    def worker():
        words = [sys.executable, "-m", "genzoo", "study", str(file), f"out={tmp_path / 'shared'}", "quiet=true"]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})

    first = worker()
    states = tmp_path / "shared" / "runs"
    deadline = time.monotonic() + 120
    while not list(states.glob("*/state/step-*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert not (states.parent / "table.csv").exists(), "killed in the middle"
    both = [worker(), worker()]
    assert [w.wait(180) for w in both] == [0, 0]
    shared = genzoo.study(file, out=tmp_path / "shared", limit=1, quiet=True)
    assert shared.done
    assert "index.html" in {p.name for p in shared.path.iterdir()}
    assert (shared.path / "table.csv").read_bytes() == (alone.path / "table.csv").read_bytes()


def test_best_of_so_many_draws_is_the_expectation_of_the_minimum():
    values = [1.0, 2.0, 3.0, 4.0]
    mean, sd = best_of(values, 1, lower=True, repeats=20_000)
    assert mean == pytest.approx(2.5, abs=0.05)
    assert sd == pytest.approx(1.118, abs=0.05)
    expected = sum(v * ((4 - i) ** 3 - (3 - i) ** 3) / 64 for i, v in enumerate(values))
    assert best_of(values, 3, lower=True, repeats=20_000)[0] == pytest.approx(expected, abs=0.05)
    assert best_of(values, 3, lower=False, repeats=20_000)[0] == pytest.approx(5 - expected, abs=0.05)
