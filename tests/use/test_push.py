"""The hub: equal bits back, its fields filled in, no token and no path of this machine in what is pushed, and every refusal a sentence."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.saved.hub import parsed
from genzoo.use.push import without_places
from tests.hub_server import Hub

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the package's own uploads
TOKEN = "hf_" + "t" * 34


@pytest.fixture
def hub():
    made = Hub(TOKEN)
    yield made
    made.close()


@pytest.fixture
def run(tmp_path):
    from PIL import Image

    (tmp_path / "secret place" / "cats").mkdir(parents=True)
    for i in range(12):
        Image.new("L", (8, 8), 20 * i).save(tmp_path / "secret place" / "cats" / f"{i}.png")
    data = str(tmp_path / "secret place" / "cats")
    made = genzoo.train("gaussian", data, size=8, runs=str(tmp_path / "runs"), name="cats", quiet=True)
    record = {"measure": "FLD", "value": 12.5, "se": 0.5, "n": 100, "split": "test", "protocol": "as told"}
    (made.path / "metrics.json").write_text(json.dumps({"FLD on cats test": record}))
    return made.path


@pytest.fixture
def go(hub, tmp_path, monkeypatch, capsys):
    """Run the command line against the hub, with a home of its own: (exit code, stdout, stderr)."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.chdir(tmp_path)

    def run(*words, token=TOKEN, url=hub.url, cache="hf", offline=False):
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setenv("HF_TOKEN", token)
        code = main([str(w) for w in words])
        out, err = capsys.readouterr()
        assert TOKEN not in out + err
        return code, out, err

    return run


def test_a_model_comes_back_with_equal_bits_and_a_card(hub, run, go, tmp_path):
    code, out, err = go("push", run, "me/cats", "license=mit", "private=true")
    assert code == 0, err
    assert f"pushed {hub.url}/me/cats/commit/" in out
    assert "genzoo sample hf:me/cats" in out
    model = hub.models["me/cats"]
    sha, files = model["commits"][-1]
    assert model["private"] is True
    assert set(files) == {"README.md", "config.json", "model.safetensors"}
    assert not any(TOKEN.encode() in f or b"secret" in f or str(tmp_path).encode() in f for f in files.values())
    card = files["README.md"].decode()
    for line in (
        "license: mit",
        "library_name: genzoo",
        "- name: cats",
        "type: FLD",
        "value: 12.5",
        "| FLD | 12.5 | as told |",
    ):
        assert line in card, card
    assert 'genzoo.load("hf:me/cats")' in card
    code, out, err = go("sample", "hf:me/cats", "n=3", "seed=1", "out=hub.npy", token="")
    assert code == 0, err
    code, out, err = go("sample", run, "n=3", "seed=1", "out=own.npy")
    assert (tmp_path / "hub.npy").read_bytes() == (tmp_path / "own.npy").read_bytes()
    assert go("push", run, "me/cats", "message=again")[0] == 0
    assert len(model["commits"]) == 3
    assert "license" not in model["commits"][-1][1]["README.md"].decode().split("---")[1]
    code, out, err = go("sample", f"hf:me/cats@{sha[:12]}", "n=3", "out=first.npy")
    assert code == 0, err
    code, out, err = go("sample", "hf:me/cats", "n=3", "out=offline.npy", offline=True)
    assert code == 0, f"what has been fetched needs no network: {err}"


def test_what_the_hub_refuses_is_said(hub, run, go, tmp_path):
    def refused(*words, **keys):
        code, out, err = go(*words, **keys)
        assert code == 2, out + err
        assert "Traceback" not in err
        return err

    assert "nobody is logged in; log in with 'hf auth login'" in refused("push", run, "me/cats", token="")
    assert "does not let you write hf:me/cats: log in" in refused("push", run, "me/cats", token="hf_" + "x" * 34)
    assert not hub.models
    assert "there is no model hf:me/dogs" in refused("sample", "hf:me/dogs")
    assert "is no model of the hub; write hf:OWNER/NAME" in refused("sample", "hf:dogs")
    assert "license=My Own is not a word of the hub" in refused("push", run, "me/cats", "license=My Own")
    assert go("push", run, "me/cats")[0] == 0
    assert "hf:me/cats has no revision 'v9'" in refused("sample", "hf:me/cats@v9")
    hub.refuse = ("/commit/", 503)
    before = len(hub.models["me/cats"]["commits"])
    assert "answered 503 for hf:me/cats; nothing was changed" in refused("push", run, "me/cats")
    assert len(hub.models["me/cats"]["commits"]) == before
    away = Hub(TOKEN)
    away.close()
    assert "cannot be reached" in refused("push", run, "me/cats", url=away.url)
    assert "cannot be reached" in refused("sample", "hf:me/cats", url=away.url, cache="new")


@pytest.mark.slow
def test_a_push_that_is_killed_leaves_nothing_half(hub, run, go, tmp_path):
    own = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    own |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
    hub.hold.clear()  # the hub hangs where the commit is asked for
    process = subprocess.Popen([sys.executable, "-m", "genzoo", "push", str(run), "me/cats"], env=own, cwd=tmp_path)
    while not any("/commit/" in path for _, path in hub.asked):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(hub.models["me/cats"]["commits"]) == 1, "no commit but the empty one"
    hub.hold.set()
    assert go("push", run, "me/cats")[0] == 0
    assert hub.models["me/cats"]["commits"][-1][1].keys() == {"README.md", "config.json", "model.safetensors"}


def test_names_and_places():
    assert parsed("hf:me/a.b-c") == ("me/a.b-c", None)
    assert parsed("hf:me/a@main") == ("me/a", "main")
    for wrong in ("hf:a", "hf:a/b/c", "hf:a/b@", "hf:/a", "hf:"):
        with pytest.raises(UserError, match="is no model of the hub"):
            parsed(wrong)
    told = {
        "data": {"data": "/home/ann/cats,/home/ann/dogs", "size": 8},
        "training": {"runs": "/home/ann/runs"},
        "step": 3,
    }
    assert without_places(told) == {"data": {"data": "cats,dogs", "size": 8}, "training": {"runs": "runs"}, "step": 3}
    assert told["training"]["runs"] == "/home/ann/runs"
