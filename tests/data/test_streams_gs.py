"""Shards on a server of Google's storage: streamed as from a folder, and what goes wrong is told as it is of S3's."""

import time

import numpy as np
import pytest

from genzoo.cli.main import main
from genzoo.core.errors import DamagedFile, NoSuchData, UserError
from genzoo.data.streams import places
from tests.data import gs_server, s3_server
from tests.data.streams_help import all_of, end_and_go_on, epoch, examples_over_a_kill, photos, sharded, streamed

pytest.importorskip("obstore", reason="the stream extra is not installed")
pytestmark = pytest.mark.usefixtures("fresh_cache")


@pytest.fixture(scope="module")
def server():
    with s3_server.running(gs_server.Server) as found:
        yield found


@pytest.fixture
def gate(server, monkeypatch):
    found = s3_server.Gate(server.port)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):  # where a machine of Google's would be asked for credentials
        monkeypatch.setenv(name, "127.0.0.1:9")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", found.url)
    yield found
    found.close()


@pytest.fixture
def url(server, gate, local):
    """The same shards on the server, under a name of this test's own."""
    under = f"t{time.monotonic_ns()}"
    server.upload(local, under)
    return f"gs://{s3_server.BUCKET}/{under}/"


def test_a_bucket_is_streamed_as_a_folder_is(url, local, server, monkeypatch):
    there, here = streamed(url, holdout=0), streamed(local, holdout=0)
    assert there.digest == here.digest, "a set is what it is, wherever it lies"
    assert epoch(there) == epoch(here)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{server.port}")  # as Google's libraries take it as well
    (local / "index.json").unlink()
    server.delete(f"{url.split('/')[3]}/index.json")
    assert all_of(streamed(url, holdout=0)) == all_of(streamed(local, holdout=0)), "listed"


def test_the_readers_own_variables_will_do(url, gate, local, monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_BASE_URL", gate.url)
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    assert all_of(streamed(url, holdout=0)) == all_of(streamed(local, holdout=0))


@pytest.mark.parametrize("deed", ["refuse", "cut", "503"])
def test_errors_that_pass_are_tried_again_and_nothing_is_lost(url, gate, local, deed, monkeypatch):
    monkeypatch.setattr(places, "PAUSES", (0.05,) * 8)
    dataset = streamed(url, holdout=0)
    gate.do(deed, times=5)
    assert epoch(dataset) == epoch(streamed(local, holdout=0))
    assert gate.seen > 5, "it has happened"


def test_a_server_that_is_killed_and_started_again_in_the_middle_costs_nothing(server, gate, tmp_path):
    local, under = sharded(photos(tmp_path / "birds"), tmp_path / "small", per=3), f"s{time.monotonic_ns()}"
    server.upload(local, under)
    url = f"gs://{s3_server.BUCKET}/{under}/"
    assert examples_over_a_kill(url, server, gate, tmp_path / "cache") == epoch(streamed(local, holdout=0), 5)


def test_a_server_that_goes_for_good_ends_the_run_which_goes_on_exactly(server, gate, tmp_path, monkeypatch, capsys):
    local, under = sharded(photos(tmp_path / "birds"), tmp_path / "small", per=3), f"g{time.monotonic_ns()}"
    server.upload(local, under)
    url = f"gs://{s3_server.BUCKET}/{under}/"
    assert f"gs://{s3_server.BUCKET}/" in end_and_go_on(url, gate, tmp_path, monkeypatch, capsys)


def test_what_is_not_there_is_not_waited_for(url, server, gate, monkeypatch):
    monkeypatch.setattr(places, "PAUSES", (30.0,) * 3)
    with pytest.raises(NoSuchData, match="holds no shards"):
        streamed(f"gs://{s3_server.BUCKET}/nothing/")
    dataset = streamed(url, holdout=0)
    server.delete(f"{url.split('/')[3]}/train-000003.tar")
    with pytest.raises(NoSuchData, match=r"gs://.*train-000003\.tar is not there"):
        np.array(dataset.fields["image"])


def test_a_shard_that_was_changed_is_damaged(url, server):
    name = f"{url.split('/')[3]}/train-000001.tar"
    whole = server.objects[name]
    server.put(name, whole[:3000] + b"X" + whole[3001:])
    with pytest.raises(DamagedFile, match=r"train-000001\.tar is damaged: its content is not what its index says"):
        np.array(streamed(url, holdout=0).fields["image"])
    server.put(name, whole[:-512])
    with pytest.raises(UserError, match=r"train-000001\.tar"):
        np.array(streamed(url, holdout=0).fields["image"])


@pytest.fixture
def unsigned(monkeypatch):
    """Google itself is meant, and there is nobody who would give credentials; it is told at once, so no request leaves this machine."""
    monkeypatch.setattr(places, "PAUSES", (30.0,) * 3)
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_BASE_URL", "http://127.0.0.1:9")
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, "127.0.0.1:9")


@pytest.mark.parametrize("key", ["", "nowhere.json", "wrong.json"])
def test_credentials_that_are_missing_or_no_key_are_one_sentence(unsigned, tmp_path, monkeypatch, capsys, key):
    """It needs no server: an index is what is asked for first, and nobody signs for it."""
    monkeypatch.setenv("HOME", str(tmp_path))  # where Google's own program leaves credentials
    if key:
        (tmp_path / "wrong.json").write_text('{"no": "key"}')
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / key))
    begun = time.monotonic()
    assert main(["train", "vae", "data=gs://bucket/shards/"]) == 2
    err = capsys.readouterr().err.strip()
    assert "gs://bucket/shards/index.json cannot be read: the server refuses it, or there are no credentials" in err
    assert "set GOOGLE_APPLICATION_CREDENTIALS, the path of a service account's key" in err
    assert len(err.splitlines()) == 1
    assert time.monotonic() - begun < 20
