"""`genzoo export`: what is printed of a file for other programs, and what is refused."""

from __future__ import annotations

import json
import re

import pytest

from genzoo.cli.main import main
from tests.cli.test_cli import mistake


def test_a_part_becomes_a_file(runs, tmp_path, monkeypatch, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    run = str(runs("vae").path)
    monkeypatch.chdir(tmp_path)
    assert main(["export", run, "to=vae.onnx"]) == 0
    said = capsys.readouterr().out
    assert re.match(r"wrote vae.onnx \([\d,]+ bytes\): decode, z \[N, 3\] to image \[N, 1, 8, 8\]\n", said)
    assert re.search(r"largest difference from the system's own: \d\.\de-\d\d \(batches of 1, 2 and 5\)\n$", said)
    told = onnxruntime.InferenceSession("vae.onnx").get_modelmeta().custom_metadata_map["genzoo"]
    assert json.loads(told)["system"] == "vae"
    assert "vae.onnx is there already" in mistake(capsys, "export", run, "to=vae.onnx")
    assert main(["export", run, "to=both", "format=pt2"]) == 0
    assert "wrote both/decode.pt2" in (said := capsys.readouterr().out)
    assert "wrote both/encode.pt2" in said
    assert "It has decode, encode" in mistake(capsys, "export", run, "to=vae.pt2", "part=translate")
    assert ".pth is not written" in mistake(capsys, "export", run, "to=vae.pth")
    assert main(["export", run, "to=plain"]) == 0
    assert capsys.readouterr().out == "wrote plain\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["both", "plain", "vae.onnx"]
