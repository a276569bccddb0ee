"""Studies in a database: shared by workers without a common folder, mistakes in one sentence, and a worker that is killed again and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.studies.journal import Journal
from genzoo.studies.plan import read_plan
from genzoo.studies.work import work
from tests.studies import postgres

pytest.importorskip("optuna", reason="the study extra is not installed")

STUDY = """
name = "shared"
systems = ["gaussian", "gaussian-diagonal"]
data = ["digits"]
samples = 100
"""


@pytest.fixture(scope="module")
def server():
    with postgres.running() as found:
        yield found


@pytest.fixture
def database(server):
    """An empty database of the server."""
    import psycopg

    name = f"study_{time.monotonic_ns()}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url.replace("/postgres", f"/{name}")


def plan_of(tmp_path, text=STUDY, out="out"):
    file = tmp_path / "shared.toml"
    file.write_text(text)
    return file, *read_plan(file, tmp_path / out)


@pytest.mark.slow
def test_two_machines_without_a_common_folder_share_a_study(tmp_path, database):
    file, _, _ = plan_of(tmp_path)
    alone = genzoo.study(file, out=tmp_path / "alone", quiet=True)
    first = genzoo.study(file, out=tmp_path / "first", storage=database, limit=1, quiet=True)
    assert [row["state"] for row in first.rows] == ["complete", "waiting"]
    second = genzoo.study(file, out=tmp_path / "second", storage=database, quiet=True)
    assert second.done
    assert [len(list(s.path.glob("runs/*"))) for s in (first, second)] == [1, 1], "each did its part"
    assert (second.path / "table.csv").read_bytes() == (alone.path / "table.csv").read_bytes()
    assert [r["steps"] for r in second.rows] == [r["steps"] for r in alone.rows], (
        "also of a run whose folder is elsewhere"
    )
    assert not (second.path / "journal.log").exists()
    with pytest.raises(UserError, match=r"kept in postgresql://genzoo@127.*give storage="):
        genzoo.study(file, out=tmp_path / "second", quiet=True)
    with pytest.raises(UserError, match="was begun without storage="):
        genzoo.study(file, out=tmp_path / "alone", storage=database, quiet=True)


@pytest.mark.slow
def test_workers_that_begin_at_once_in_an_empty_database_make_one_study(tmp_path, database):
    _, path, plan = plan_of(tmp_path, STUDY + "seeds = 5\n")
    program = (
        "import sys, time; from genzoo.studies.journal import Journal; from genzoo.studies.plan import read_plan\n"
        "path, plan = read_plan(sys.argv[1], sys.argv[2]); print('here', flush=True); sys.stdin.readline()\n"
        "print(len(Journal(path, plan, sys.argv[3]).states()))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "shared.toml")]
    three = [
        subprocess.Popen([*words, str(tmp_path / f"{i}"), database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for i in range(3)
    ]  # fmt: skip
    for one in three:
        assert one.stdout.readline() == "here\n"

    for one in three:
        one.stdin.write("\n")
        one.stdin.flush()
    said = [one.communicate(timeout=60)[0] for one in three]
    assert said == ["10\n"] * 3
    assert Journal(path, plan, database).states() == ["waiting"] * 10


def test_another_study_of_the_name_is_refused(tmp_path, database):
    _, path, plan = plan_of(tmp_path)
    Journal(path, plan, database)
    _, path, plan = plan_of(tmp_path, STUDY + "seeds = 2\n", "other")
    with pytest.raises(UserError, match="holds another study of this name: it has other settings"):
        Journal(path, plan, database)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "not the URL of a database; give postgresql://"),
        ("oracle9://x@y/z", "no kind of database that is known"),
        ("mysql+pymysql://me:secret@127.0.0.1/x", "needs a driver that is not installed"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_sentence_without_its_password(url, said, tmp_path, capsys):
    file, _, _ = plan_of(tmp_path)
    assert main(["study", str(file), f"out={tmp_path / 'out'}", f"storage={url}"]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err
    assert "secret" not in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out" / "runs").exists()


def test_a_server_that_is_not_there_is_one_sentence(tmp_path, server):
    _, path, plan = plan_of(tmp_path)
    for url in (server.url.replace(f":{server.port}/", ":1/"), server.url.replace("/postgres", "/none")):
        with pytest.raises(
            UserError, match=r"storage postgresql://genzoo:\*\*\*@.* cannot be used: .*what is finished is kept"
        ) as error:
            Journal(path, plan, url.replace("genzoo@", "genzoo:secret@"))
        assert "secret" not in str(error.value)


def test_one_file_is_a_database_too(tmp_path):
    """SQLite's, on one machine; also where there is no PostgreSQL, so that the states are tested there."""
    _, path, plan = plan_of(tmp_path)
    storage = f"sqlite:///{tmp_path}/study.db"
    mine, theirs = Journal(path, plan, storage, beat=1), Journal(tmp_path / "elsewhere", plan, storage, beat=1)
    first, second = plan.trials()
    with mine.held(first) as got:
        assert got
        with theirs.held(first) as again:
            assert not again, "one that another worker has"
        theirs.sweep()
        assert theirs.states() == ["running", "waiting"]
        mine.tell(first, "complete", 2.0)
    with pytest.raises(KeyboardInterrupt), theirs.held(second):
        raise KeyboardInterrupt
    assert mine.states() == ["complete", "waiting"], "a worker that is stopped frees its trial at once"
    number = mine._take(second)  # a worker that will be silent
    assert number is not None
    begun = time.monotonic()
    assert theirs.freed()
    assert time.monotonic() - begun < 6
    assert theirs.states() == ["complete", "waiting"]
    with theirs.held(second) as got:
        assert got
        theirs.tell(second, "failed", why="the settings are refused")
    assert mine.states() == ["complete", "failed"]
    mine.tell(second, "complete", 3.0)  # the silent one was alive after all: what it has finished counts
    assert theirs.states() == ["complete", "complete"]
    assert [entry.value for entry in theirs.entries()] == [2.0, 3.0]


def test_a_worker_that_lives_is_not_taken_for_dead(tmp_path, database):
    _, path, plan = plan_of(tmp_path)
    mine, theirs = Journal(path, plan, database, beat=1), Journal(tmp_path / "b", plan, database, beat=1)
    first, second = plan.trials()
    with mine.held(second) as got, theirs.held(first):
        assert got
        theirs.tell(first, "complete", 1.0)
        assert not theirs.freed(), "three seconds of waiting, and it gives signs of life"
        assert theirs.states() == ["complete", "running"]


@pytest.mark.slow
def test_a_database_that_is_away_for_a_while_costs_nothing(tmp_path, monkeypatch):
    file, path, _ = plan_of(tmp_path)
    with postgres.running() as server:
        real, away = work.__globals__["_run"], []

        def run(*args, **keys):
            found = real(*args, **keys)
            if not away:
                away.append(server.stop())
                threading.Timer(2.0, server.start).start()
            return found

        monkeypatch.setitem(work.__globals__, "_run", run)
        found = genzoo.study(file, out=path, storage=server.url, beat=1, quiet=True)
        assert away
        assert [row["state"] for row in found.rows] == ["complete"] * 2
        assert len(list(found.path.glob("runs/*"))) == 2


PROGRAM = """
import json, os, random, signal, sys, time
import genzoo, genzoo.studies, genzoo.studies.work, genzoo.studies.report, genzoo.training.start
from genzoo.studies.journal import Journal
from genzoo.studies.plan import read_plan
from genzoo.studies.work import work

file, storage, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])

def worker(out):
    pid = os.fork()
    if pid:
        return pid
    try:
        genzoo.study(file, out=out, storage=storage, beat=1, quiet=True)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)

def finished():
    path, plan = read_plan(file, "out")
    journal = Journal(path, plan, storage)
    every = journal._by_trial()
    done = {n: [e.number for e in entries if e.state.name == "COMPLETE"] for n, entries in every.items()}
    lost = sum(e.state.name == "FAIL" for entries in every.values() for e in entries)
    values = {n: journal._state_of(entries).value for n, entries in every.items() if done[n]}
    return done, values, lost

genzoo.study(file, out="alone", quiet=True)  # here, so that all is imported before the workers are forked
drawn, story = random.Random(7), []
path, plan = read_plan(file, "out")
journal = Journal(path, plan, storage)

def begun():
    return {e.number for e in journal.study.get_trials(deepcopy=False) if e.state.name != "WAITING"}

for kill in range(kills):
    before = begun()
    pid = worker("out")
    while not begun() - before:
        time.sleep(0.05)
    time.sleep(drawn.uniform(0.0, 1.0))
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    status = os.waitpid(pid, 0)[1]
    story.append([status, *finished()])
end = os.waitpid(worker("out"), 0)[1]
print(json.dumps([story, end, finished()]))
"""
MANY = """
name = "killed"
systems = ["vae"]
data = ["digits"]
seeds = 24
samples = 40
[settings]
batch = 8
steps = 6
save_every = 2
sample_every = 6
hidden = 8
latent = 2
"""


@pytest.mark.slow
def test_a_worker_killed_twenty_times_loses_no_finished_trial(tmp_path, database):
    (tmp_path / "killed.toml").write_text(MANY)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "killed.toml", database, "20"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    story, end, (entries, values, lost) = json.loads(done.stdout)
    assert [status for status, *_ in story] == [9] * 20, "every worker was killed, none had come to an end"
    assert end == 0
    assert all(len(found) == 1 for found in entries.values()), "finished once, and never again"
    for _, before, known, _ in story:
        assert {n: entries[n] for n, found in before.items() if found} == {n: f for n, f in before.items() if f}
        assert known == {n: values[n] for n in known}, "what was finished before a kill is what it was"
    assert lost >= 10, "kills have met trials in the middle, and these were tried again"
    assert any(known for _, _, known, _ in story), "some were finished before a kill"
    assert (tmp_path / "out" / "table.csv").read_bytes() == (tmp_path / "alone" / "table.csv").read_bytes()
