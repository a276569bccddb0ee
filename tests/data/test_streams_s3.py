"""Shards on a real S3 server: streamed as from a folder, and nothing lost when it is killed, slow, gives errors or goes for good."""

import re
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from genzoo.cli.main import main
from genzoo.core.errors import DamagedFile, NoSuchData, UserError
from genzoo.data.streams import places
from tests.data import s3_server
from tests.data.streams_help import all_of, end_and_go_on, epoch, examples_over_a_kill, photos, sharded, streamed

pytest.importorskip("obstore", reason="the stream extra is not installed")
pytestmark = pytest.mark.usefixtures("fresh_cache")


@pytest.fixture(scope="module")
def server():
    with s3_server.running() as found:
        yield found


@pytest.fixture
def gate(server, monkeypatch):
    found = s3_server.Gate(server.port)
    for name, value in (
        ("AWS_ENDPOINT_URL", found.url),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    yield found
    found.close()


@pytest.fixture
def url(server, gate, local, request):
    """The same shards on the server, under a name of this test's own."""
    under = f"t{time.monotonic_ns()}"
    server.upload(local, under)
    return f"s3://{s3_server.BUCKET}/{under}/"


@pytest.fixture
def small(server, gate, tmp_path):
    """Twenty small shards on the server, and the same in a folder."""
    here, under = sharded(photos(tmp_path / "birds"), tmp_path / "small", per=3), f"s{time.monotonic_ns()}"
    server.upload(here, under)
    return f"s3://{s3_server.BUCKET}/{under}/", here


def name_of(url, file):
    return f"{url.split('/')[3]}/{file}"


def test_a_bucket_is_streamed_as_a_folder_is(url, local):
    there, here = streamed(url, holdout=0), streamed(local, holdout=0)
    assert there.digest == here.digest, "a set is what it is, wherever it lies"
    assert epoch(there) == epoch(here)
    assert all_of(there) == all_of(here)


def test_shards_are_written_to_a_bucket(gate, tmp_path, capsys):
    to = f"s3://{s3_server.BUCKET}/w{time.monotonic_ns()}"
    birds = photos(tmp_path / "birds", 30)
    assert main(["data", "shard", str(birds), f"to={to}", "per=10", "kind=labelled"]) in (0, None)
    assert f"genzoo train dcgan data={to}\n" in capsys.readouterr().out
    sharded(birds, tmp_path / "here")
    assert all_of(streamed(to, holdout=0)) == all_of(streamed(tmp_path / "here", holdout=0))
    assert main(["data", "shard", str(birds), f"to={to}"]) == 2
    assert "holds a set in shards already" in capsys.readouterr().err


@pytest.mark.parametrize("deed", ["refuse", "cut", "503"])
def test_errors_that_pass_are_tried_again_and_nothing_is_lost(url, gate, local, deed, monkeypatch):
    monkeypatch.setattr(places, "PAUSES", (0.05,) * 8)
    dataset = streamed(url, holdout=0)
    gate.do(deed, times=5)
    assert epoch(dataset) == epoch(streamed(local, holdout=0))
    assert gate.seen > 5, "it has happened"


def test_a_slow_server_is_waited_for(url, gate, local):
    dataset = streamed(url, holdout=0)
    gate.do("slow")
    assert epoch(dataset) == epoch(streamed(local, holdout=0))
    assert gate.seen


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again_in_the_middle_costs_nothing(small, server, gate, tmp_path):
    url, local = small
    assert examples_over_a_kill(url, server, gate, tmp_path / "cache") == epoch(streamed(local, holdout=0), 5)


@pytest.mark.slow
def test_a_server_that_goes_for_good_ends_the_run_which_goes_on_exactly(small, gate, tmp_path, monkeypatch, capsys):
    url, _ = small
    assert "tried 3 times" in end_and_go_on(url, gate, tmp_path, monkeypatch, capsys)


def test_what_is_not_there_is_not_waited_for(url, server, gate, capsys, monkeypatch):
    monkeypatch.setattr(places, "PAUSES", (30.0,) * 3)
    begun = time.monotonic()
    with pytest.raises(NoSuchData, match="s3://no-bucket"):
        streamed("s3://no-bucket/at/all/")
    with pytest.raises(NoSuchData, match="holds no shards"):
        streamed(f"s3://{s3_server.BUCKET}/nothing/")
    dataset = streamed(url, holdout=0)
    server.delete(name_of(url, "train-000003.tar"))
    with pytest.raises(NoSuchData, match=r"train-000003\.tar is not there"):
        np.array(dataset.fields["image"])
    assert time.monotonic() - begun < 20
    assert main(["train", "vae", "data=s3://no-bucket/at/all/"]) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert "is not there" in err


def test_a_shard_that_was_changed_is_damaged(url, server):
    dataset = streamed(url, holdout=0)
    name = name_of(url, "train-000001.tar")
    whole = server.objects[name]
    server.put(name, whole[:3000] + b"X" + whole[3001:])
    with pytest.raises(DamagedFile, match=r"train-000001\.tar is damaged: its content is not what its index says"):
        np.array(dataset.fields["image"])
    server.put(name, whole[:-512])
    with pytest.raises(UserError, match=r"train-000001\.tar"):
        np.array(streamed(url, holdout=0).fields["image"])


def test_credentials_that_are_missing_or_wrong_are_one_sentence(url, gate, monkeypatch, capsys):
    monkeypatch.setattr(places, "PAUSES", (30.0,) * 3)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv(
        "AWS_METADATA_ENDPOINT", "http://127.0.0.1:9"
    )  # where a machine of Amazon's would be asked for some
    begun = time.monotonic()
    assert main(["train", "vae", f"data={url}"]) == 2
    err = capsys.readouterr().err.strip()
    assert "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in err
    assert len(err.splitlines()) == 1
    assert time.monotonic() - begun < 20


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore.fsspec", None)
    with pytest.raises(UserError, match=r"pip install 'genzoo\[stream\]'"):
        streamed("s3://bucket/a/")
    with pytest.raises(UserError, match="nonsense:// is not read here"):
        streamed("nonsense://bucket/a/")


class Ranges(SimpleHTTPRequestHandler):
    """Files with ranges, as every server of such files has them; the standard library's has none."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, stop = (int(asked[1]), min(int(asked[2]) + 1, len(data))) if asked else (0, len(data))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(stop - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start:stop])

    def log_message(self, *words):
        pass


def test_a_web_server_is_streamed_by_its_index_or_by_a_pattern(local):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(local))) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{web.server_port}"
        assert all_of(streamed(url, holdout=0)) == all_of(streamed(local, holdout=0))
        (local / "index.json").unlink()
        pattern = streamed(f"{url}/train-{{000000..000002}}.tar", holdout=0)
        assert all_of(pattern) == all_of(streamed(f"{local}/train-{{000000..000002}}.tar", holdout=0))
        with pytest.raises(
            UserError, match=r"has no index.json, and its files cannot be told .*name them: .*/train-\{000000"
        ):
            streamed(url)
        with pytest.raises(NoSuchData, match=r"train-000008\.tar is not there"):
            streamed(f"{url}/train-{{000008..000009}}.tar")
        web.shutdown()


@pytest.mark.parametrize("deed", ["refuse", "cut", "503"])
def test_errors_of_a_web_server_that_pass_are_tried_again_and_others_are_one_sentence(local, deed, monkeypatch, capsys):
    monkeypatch.setattr(places, "PAUSES", (0.05,) * 8)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(local))) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        gate = s3_server.Gate(web.server_port)
        dataset = streamed(gate.url, holdout=0)
        gate.do(deed, times=5)
        assert epoch(dataset) == epoch(streamed(local, holdout=0))
        assert gate.seen > 5, "it has happened"
        monkeypatch.setattr(places, "PAUSES", (0.05,))
        gate.do(deed if deed != "cut" else "refuse")
        assert main(["train", "vae", f"data={gate.url}"]) == 2
        err = capsys.readouterr().err.strip()
        assert len(err.splitlines()) == 1
        assert f"{gate.url}/index.json cannot be read" in err
        assert "tried 2 times" in err
        gate.close()
        web.shutdown()
