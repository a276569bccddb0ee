"""The pages of runs over HTTP: what they hold, how runs are started and stopped, and what is refused."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi", reason="the extra genzoo[studio] is not installed")
from fastapi.testclient import TestClient

from genzoo.runs.folder import Run
from genzoo.studio.app import studio
from genzoo.studio.runs import processes
from genzoo.web.guard import Rules
from tests.serving import wait_for
from tests.studio.test_states import a_run

HOSTILE = "<script>alert('x')<&>"


@pytest.fixture
def empty(tmp_path):
    with TestClient(studio(tmp_path / "runs"), base_url="http://127.0.0.1") as found:
        found.root = tmp_path / "runs"
        yield found


# ---- what there is ---------------------------------------------------------------------------------------------------------------


def test_the_wall_lists_runs_with_state_picture_and_measures(client, trained):
    told = client.get("/api/runs").json()
    assert [r["name"] for r in told["runs"]] == ["seed-1", "seed-0"], "the one begun last stands first"
    run = told["runs"][0]
    assert (run["state"], run["step"], run["steps"], run["system"], run["data"]) == (
        "finished",
        40,
        40,
        "dcgan",
        "digits",
    )
    assert [m["measure"] for m in run["measures"]] == ["FLD", "AuthPct"]
    assert "lenet" in run["measures"][0]["protocol"], "a number never travels without its protocol"
    picture = run["picture"]
    answer = client.get(f"/api/runs/seed-1/samples/{picture['step']}.png?{picture['stamp']}")
    assert answer.content == (trained / "seed-1" / "samples" / "step_000000040.png").read_bytes()
    assert "immutable" in answer.headers["cache-control"]


def test_the_page_of_a_run(client, trained):
    told = client.get("/api/runs/seed-0").json()
    log = Run(trained / "seed-0").log()
    curve = next(c for c in told["curves"] if c["name"] == "d_loss")
    assert curve["points"] == [[line["step"], line["d_loss"]] for line in log]
    assert [p["step"] for p in told["pictures"]] == [10, 20, 30, 40]
    kept = {m["key"]: m["value"] for m in told["measures"]}
    assert kept == {k: r["value"] for k, r in Run(trained / "seed-0").metrics().items()}
    changed = {s["name"]: s["value"] for s in told["settings"] if s["changed"]}
    assert changed["width"] == "4"
    assert changed["limit"] == "120"
    assert told["lines"]["go on with it"] == f"genzoo resume {trained / 'seed-0'}"
    assert {p["name"] for p in told["evaluation"]} == {"evaluate", "neighbours"}
    assert client.get("/api/runs/seed-0/evaluation/neighbours.png").status_code == 200
    film = client.get("/api/runs/seed-0/training.gif")
    assert film.content == (trained / "seed-0" / "training.gif").read_bytes()


def test_models_of_the_zoo_stand_beside_the_runs(client, trained, tmp_path, monkeypatch):
    import shutil

    from genzoo.saved import zoo

    monkeypatch.setattr(zoo, "root", lambda: tmp_path)
    assert client.get("/api/runs").json()["zoo"] == []
    shutil.copytree(trained / "seed-0" / "model", tmp_path / "small")
    record = {"place": 1, "line": "digits", "measure": "FLD 3", "protocol": "how", "licence": "CC0"}
    (tmp_path / "small" / "record.json").write_text(json.dumps(record))
    assert client.get("/api/runs").json()["zoo"] == [
        {"name": "zoo:small", "idea": "digits.", "measure": "FLD 3", "protocol": "how", "license": "CC0"}
    ]
    drawn = client.get("/api/judge/samples.png?run=zoo:small&n=4")
    assert drawn.headers["x-command"] == "genzoo%20sample%20zoo%3Asmall%20n%3D4%20seed%3D0"
    assert drawn.content == client.get("/api/judge/samples.png?run=seed-0&n=4").content
    assert client.get("/api/judge/samples.png?run=zoo:..%2Fsmall&n=4").status_code == 404


def test_health_is_what_the_trainer_says(empty):
    run = a_run(empty.root, "one", steps=1000, done=0)
    lines = [{"step": s, "seconds": 1.0, "d_loss": 1.0 / s, "d_real": 5.0, "d_fake": -5.0} for s in range(1, 200)]
    (run.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    from genzoo.metrics.stopping import advice

    told = empty.get("/api/runs/one").json()["health"]
    assert told == advice([], run.log())
    assert told[0].startswith("The discriminator wins")


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/none", "/api/runs/..%2Fsecret", "/api/runs/%2Fetc", "/api/runs/seed-0/samples/3.png", "/api/runs/seed-0/evaluation/x.png",
        "/api/runs/seed-0/evaluation/..%2F..%2Fsamples%2Fstep_000000040.png", "/api/runs/.studio", "/api/judge/samples.png?run=..%2F..",
        "/api/judge/blind.png?run=none&seed=1&n=4&i=0", "/api/judge/blind.png?run=seed-0&seed=1&n=4&i=9", "/api/train/look/none",
        "/api/judge/nearest/none", "/api/judge/nearest/none/0.png", "/api/train/systems/nothing", "/api/train/systems/mine.py",
        "/api/train/systems/mine.py:Mine", "/api/judge/compare?run=seed-0&run=none", "/api/judge/compare?run=seed-0",
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_in_a_sentence(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    said = answer.json()["error"]
    assert 10 < len(said) < 2000
    assert "Traceback" not in said


def test_a_link_among_the_samples_is_not_sent(empty, tmp_path):
    run = a_run(empty.root, "one")
    (tmp_path / "secret").write_text("secret")
    (run.path / "samples" / "step_000000003.png").symlink_to(tmp_path / "secret")
    assert empty.get("/api/runs/one").json()["pictures"] == []
    assert empty.get("/api/runs/one/samples/3.png").status_code == 404


def test_a_run_with_markup_for_a_name_is_text(empty):
    a_run(empty.root, HOSTILE.replace("/", ""))
    name = empty.get("/api/runs").json()["runs"][0]["name"]
    assert name == HOSTILE
    answer = empty.get(f"/api/runs/{quote(name, safe='')}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["name"] == HOSTILE
    assert "'" in answer.json()["lines"]["go on with it"], "quoted for a shell"


# ---- training ----------------------------------------------------------------------------------------------------------------------


def test_the_form_is_the_signature(client):
    form = client.get("/api/train/systems/wgan-gp").json()
    assert (form["name"], form["preset"]) == ("dcgan", "wgan-gp")
    fields = {f["name"]: f for g in form["groups"] for f in g["fields"]}
    assert fields["objective"]["default"] == "wasserstein", "the preset's value"
    assert set(fields["objective"]["choices"]) >= {"hinge", "minimax"}
    assert (fields["latent"]["kind"], fields["latent"]["min"]) == ("integer", 1)
    assert fields["shape"]["from_data"]
    from genzoo.core.schema import settings
    from genzoo.models.adversarial.dcgan import DCGAN

    assert [f["name"] for f in form["groups"][0]["fields"]] == list(settings(DCGAN)), "every argument, nothing else"
    assert fields["latent"]["doc"] == settings(DCGAN)["latent"].doc


def test_every_system_has_a_form(client):
    for system in client.get("/api/train/systems").json()["systems"]:
        answer = client.get(f"/api/train/systems/{system['name']}")
        assert answer.status_code == 200, system["name"]
        assert all(f["kind"] for g in answer.json()["groups"] for f in g["fields"])


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr", "fast"), ("steps", "0"), ("holdout", "2"), ("latent", "x"), ("penalty", "some"), ("wat", "1")],
)
def test_a_bad_value_is_refused_as_the_command_line_refuses_it(client, trained, capsys, key, value):
    from genzoo.cli.main import main

    body = {"system": "dcgan", "values": {"data": "digits", key: value}}
    said = client.post("/api/train/check", json=body).json()["errors"]
    assert list(said) == [key]
    assert main(["train", "dcgan", "data=digits", f"{key}={value}", f"runs={trained}"]) == 2
    assert capsys.readouterr().err == f"genzoo: {said[key]}\n"
    answer = client.post("/api/train", json=body)
    assert (answer.status_code, answer.json()["error"]) == (422, said[key])


def test_several_bad_values_are_told_at_their_fields(client):
    told = client.post(
        "/api/train/check", json={"system": "dcgan", "values": {"lr": "x", "steps": "-1", "name": "a/b"}}
    ).json()
    assert set(told["errors"]) == {"data", "lr", "steps", "name"}
    assert "lr=x" in told["errors"]["lr"]
    assert "steps" not in told["errors"]["lr"]
    assert "plain folder name" in told["errors"]["name"]


def test_the_line_to_copy_is_what_is_started(client, trained):
    import shlex

    values = {"data": "my photos; rm -rf/", "lr": "1e-4", "flip": "true", "name": "$(x)"}
    told = client.post("/api/train/check", json={"system": "lsgan", "values": values}).json()
    assert shlex.split(told["line"]) == ["genzoo", *told["words"]]
    assert told["words"] == [
        "train",
        "lsgan",
        "data=my photos; rm -rf/",
        "lr=1e-4",
        "flip=true",
        "name=$(x)",
        f"runs={trained}",
    ]
    taken = client.post(
        "/api/train/check", json={"system": "dcgan", "values": {"data": "digits", "name": "seed-0"}}
    ).json()
    assert "a run named 'seed-0'" in taken["errors"]["name"]


def test_runs_and_unknown_things_cannot_be_slipped_in(client, trained):
    told = client.post(
        "/api/train/check", json={"system": "dcgan", "values": {"data": "digits", "runs": "/tmp/elsewhere"}}
    ).json()
    assert told["words"][-1] == f"runs={trained}"
    assert client.post("/api/train/check", json={"system": "dcgan", "values": {}, "more": 1}).status_code == 422
    assert client.post("/api/train/check", json={"system": "mine.py", "values": {}}).status_code == 422


def test_a_training_is_started_watched_stopped_and_goes_on(empty):
    """The whole way, with the real trainer in a process of its own."""
    body = {
        "system": "dcgan",
        "values": {
            "data": "digits",
            "steps": "100000",
            "batch": "4",
            "width": "4",
            "latent": "4",
            "limit": "64",
            "sample_every": "5",
            "log_every": "1",
        },
    }
    told = empty.post("/api/train", json=body).json()
    assert told["name"] == "dcgan"
    assert empty.get("/api/runs").json()["runs"][0]["state"] == "starting"

    def at():
        return empty.get("/api/runs/dcgan").json()

    wait_for(lambda: at()["state"] == "training" and at()["pictures"])
    again = empty.post("/api/train/check", json=body).json()
    assert again["name"] == "dcgan-2", "the name is taken now"
    assert empty.post("/api/runs/dcgan/resume", json={}).status_code == 409
    assert empty.post("/api/runs/dcgan/stop").status_code == 200
    wait_for(lambda: at()["state"] == "stopped")
    assert "SIGTERM: saved at step" in at()["commands"]["train"]["printed"][-1], "the trainer's own clean stop"
    step = Run(empty.root / "dcgan").steps_done()
    assert step >= 5
    assert "no training is running" in empty.post("/api/runs/dcgan/stop").json()["error"]
    assert empty.post("/api/runs/dcgan/resume", json={"steps": step + 3}).status_code == 200
    wait_for(lambda: at()["state"] == "finished")
    assert at()["step"] == step + 3
    answer = empty.post("/api/runs/dcgan/evaluate", json={"measures": ["memorization"], "n": 20})
    assert answer.json()["line"] == f"genzoo evaluate {empty.root / 'dcgan'} measures=memorization n=20"
    wait_for(lambda: not at()["commands"]["evaluate"]["running"])
    assert [m["measure"] for m in at()["measures"]] == ["AuthPct"]


def test_a_failed_start_says_why_and_can_be_dismissed(empty):
    body = {"system": "dcgan", "values": {"data": "nowhere/at-all", "name": "lost"}}
    assert empty.post("/api/train", json=body).status_code == 200
    run = wait_for(lambda: next((r for r in empty.get("/api/runs").json()["runs"] if r["state"] == "failed"), None))
    assert "there is no set and no path of this name" in run["why"]
    assert not (empty.root / "lost").exists()
    assert empty.delete("/api/runs/lost/start").json() == {"forgotten": True}
    assert empty.get("/api/runs").json()["runs"] == []


def test_no_run_is_ever_removed(client, trained):
    assert client.delete("/api/runs/seed-0/start").status_code == 409
    assert (trained / "seed-0" / "config.toml").exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with TestClient(studio(tmp_path / "runs"), base_url="http://127.0.0.1") as client:
        answer = client.post("/api/train", json={"system": "dcgan", "values": {"data": "digits"}})
    assert answer.status_code == 422
    assert "cannot be written" in answer.json()["error"]


def test_a_full_disk_is_a_sentence(empty, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(processes, "open", full, raising=False)
    answer = empty.post("/api/train", json={"system": "dcgan", "values": {"data": "digits"}})
    assert answer.status_code in (422, 507)
    assert "no space" in answer.json()["error"].lower() or "no room" in answer.json()["error"]


def test_a_run_that_is_removed_while_it_is_shown(empty):
    import shutil

    run = a_run(empty.root, "one")
    assert empty.get("/api/runs/one").status_code == 200
    shutil.rmtree(run.path)
    answer = empty.get("/api/runs/one")
    assert answer.status_code == 404
    assert "may have been removed" in answer.json()["error"]
    assert empty.get("/api/runs").json()["runs"] == []


def test_data_are_looked_into(client, tmp_path):
    from PIL import Image

    for i in range(12):
        Image.new("RGB", (16, 16), (20 * i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "<b>broken.png").write_bytes(b"\x89PNG no more")
    job = client.post("/api/train/look", json={"system": "dcgan", "values": {"data": str(tmp_path), "lr": "x"}}).json()
    wait_for(lambda: client.get(f"/api/jobs/{job['id']}").json()["state"] == "done")
    told = client.get(f"/api/train/look/{job['id']}").json()
    assert told["shape"] == [3, 16, 16]
    assert told["left_out_count"] == 1
    assert told["left_out"][0][0] == "<b>broken.png"
    assert len(told["left_out"][0][1]) > 5, "and why"
    assert client.get(f"/api/train/look/{job['id']}/sheet.png").content.startswith(b"\x89PNG")
    job = client.post("/api/train/look", json={"system": "dcgan", "values": {"data": "no/such"}}).json()
    failed = wait_for(lambda: (j := client.get(f"/api/jobs/{job['id']}").json())["state"] == "failed" and j)
    assert "there is no set and no path" in failed["error"]


@pytest.mark.parametrize("path", ["/api/train", "/api/train/check", "/api/train/look"])
def test_a_file_of_a_client_is_never_run(client, tmp_path, path):
    file = tmp_path / "mine.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    answer = client.post(path, json={"system": str(file), "values": {"data": "digits"}}).json()
    if "id" in answer:
        answer = wait_for(lambda: (j := client.get(f"/api/jobs/{answer['id']}").json())["state"] == "failed" and j)
    assert "there is no system" in answer["error"]
    assert not (tmp_path / "ran").exists()


def test_another_site_cannot_start_anything(client):
    body = {"system": "dcgan", "values": {"data": "/etc"}}
    for path in ("/api/train", "/api/train/look", "/api/runs/seed-0/stop", "/api/runs/seed-0/evaluate"):
        assert client.post(path, json=body, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/api/train", json=body, headers={"host": "rebound.example"}).status_code == 421


def test_from_elsewhere_a_token_is_needed(trained):
    rules = Rules(host="0.0.0.0", token="a-token-that-nobody-guesses")
    with TestClient(studio(trained, rules=rules), base_url="http://127.0.0.1") as client:
        assert client.get("/api/runs").status_code == 401
        assert client.post("/api/train", json={"system": "dcgan", "values": {}}).status_code == 401


def test_a_wall_of_many_runs_is_quick(empty):
    for i in range(200):
        a_run(empty.root, f"run-{i:03d}")
    empty.get("/api/runs")
    begun = time.monotonic()
    assert len(empty.get("/api/runs").json()["runs"]) == 200
    assert time.monotonic() - begun < 1.0, "nothing has changed since"
    newer = empty.root / "run-007" / "state" / "step-000000005.safetensors"
    newer.touch()
    assert next(r for r in empty.get("/api/runs").json()["runs"] if r["name"] == "run-007")["step"] == 5


def test_a_picture_of_a_run_that_is_removed_meanwhile_is_not_there_any_more(tmp_path):
    """It was looked at first and sent afterwards: a run that was removed in between was an error of the server."""
    from genzoo.studio.routes.runs import _picture
    from genzoo.web.errors import NotFound

    file = tmp_path / "1.png"
    file.write_bytes(b"picture")
    sent = _picture(file)
    file.unlink()
    assert sent.body == b"picture"
    with pytest.raises(NotFound, match="not there any more"):
        _picture(file)
