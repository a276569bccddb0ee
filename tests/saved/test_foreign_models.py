"""Models from others: what is no model of genzoo, or a damaged one, is refused by every command in one line that names the file and what it is."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import DamagedFile, UserError
from genzoo.saved import checkpoint
from genzoo.saved.budget import SLACK
from tests.mutations import check_all, sealed

QUICK = {"steps": 2, "batch": 4, "precision": "fp32", "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("foreign")
    rng = np.random.default_rng(0)
    np.savez(home / "data.npz", images=rng.integers(0, 256, (24, 8, 8), dtype=np.uint8))
    return genzoo.train("vae", str(home / "data.npz"), runs=str(home / "runs"), width=8, latent=2, **QUICK)


def described(change):
    """A file whose description is changed and sealed again."""

    def write(file, tensors, meta):
        sealed(file, tensors, change(meta))

    return write


def held(change):
    """A file whose tensors are changed and sealed again."""

    def write(file, tensors, meta):
        sealed(file, change(dict(tensors)), meta)

    return write


def raw(data):
    return lambda file, tensors, meta: file.write_bytes(data(file.read_bytes()) if callable(data) else data)


def first(tensors, change):
    name = sorted(tensors)[0]
    return {**tensors, name: change(tensors[name])}


def other_library(file, tensors, meta):
    save_file({"unet.conv_in.weight": torch.zeros(3, 3), "unet.conv_in.bias": torch.zeros(3)}, str(file))


FILES = {
    "hparams a list": (described(lambda m: {**m, "hparams": [1]}), "'hparams' is a list"),
    "hparams null": (described(lambda m: {**m, "hparams": None}), "'hparams' is null"),
    "system a number": (described(lambda m: {**m, "system": 3}), "'system' is a number"),
    "system a list": (described(lambda m: {**m, "system": ["vae"]}), "'system' is a list"),
    "system unknown": (described(lambda m: {**m, "system": "vaee"}), "no system 'vaee'.*did you mean 'vae'"),
    "system of none": (described(lambda m: {k: v for k, v in m.items() if k != "system"}), "described by 'system' and 'hparams'"),
    "no object": (described(lambda m: [1, 2]), "holds a list where the description"),
    "no JSON": (described(lambda m: "{]"), "no description of a model"),
    "deep": (described(lambda m: "[" * 100_000), "no description of a model"),
    "a setting out of bounds": (described(lambda m: {**m, "hparams": {**m["hparams"], "width": -1}}), "width=-1 is not allowed"),
    "a setting unknown": (described(lambda m: {**m, "hparams": {**m["hparams"], "widht": 8}}), "did you mean 'width'"),
    "a shape of a thousand million": (
        described(lambda m: {**m, "hparams": {**m["hparams"], "shape": [1, 10**9, 10**9]}}), "8 to 1024 pixels|far larger|do not fit",
    ),
    "a width of millions": (described(lambda m: {**m, "hparams": {**m["hparams"], "width": 10**6}}), "far larger|not allowed"),
    "the data a list": (described(lambda m: {**m, "data": [1]}), "'data' is a list, not an object"),
    "another name": (held(lambda t: {f"net.{k}": v for k, v in t.items()}), "it holds none"),
    "one missing": (held(lambda t: dict(list(t.items())[1:])), "it holds none"),
    "one too many": (held(lambda t: {**t, "zzz": torch.zeros(2)}), "'zzz' is none; it holds float32 2"),
    "another shape": (held(lambda t: first(t, lambda x: x[None])), r"it holds float32 1x"),
    "another type": (held(lambda t: first(t, lambda x: x.to(torch.int32))), "it holds int32"),
    "half precision": (held(lambda t: {k: v.half() for k, v in t.items()}), "it holds float16"),
    "NaN": (held(lambda t: first(t, lambda x: x * math.nan)), "are not numbers"),
    "one infinity": (held(lambda t: first(t, lambda x: torch.where(x == x.max(), math.inf, x))), "1 of .* are not numbers"),
    "cut off": (raw(lambda b: b[: len(b) // 2]), "is damaged: its digest"),
    "cut off in its header": (raw(lambda b: b[:40]), "are not a whole checkpoint"),
    "a header too long": (raw(lambda b: (2**40).to_bytes(8, "little") + b[8:]), "are not a whole checkpoint"),
    "a header too short": (raw(lambda b: (30).to_bytes(8, "little") + b[8:]), "its header is no JSON"),
    "a flipped byte": (raw(lambda b: b[:-5] + bytes([b[-5] ^ 1]) + b[-4:]), "its digest"),
    "another library's": (other_library, "written by another program: 2 tensors .such as 'unet.conv_in.bias'"),
    "a pickle": (lambda file, t, m: torch.save(t, file), "PyTorch's torch.save"),
    "an old pickle": (raw(b"\x80\x02}q\x00." + b"." * 40), "a Python pickle"),
    "HDF5": (raw(b"\x89HDF\r\n\x1a\n" + b"\0" * 100), "an HDF5 file"),
    "GGUF": (raw(b"GGUF\x03\0\0\0" + b"\0" * 100), "a GGUF file"),
    "a pointer": (raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"), "git lfs pull"),
    "a web page": (raw(b"<!DOCTYPE html><html>404</html>"), "a web page"),
    "JSON": (raw(b'{"model_type": "unet", "_class_name": "UNet2DModel"}'), "a JSON file"),
    "empty": (raw(b""), "is empty"),
}  # fmt: skip
COMMANDS = {
    "sample": ["n=1"], "walk": ["rows=1", "steps=2"], "reconstruct": ["n=1"], "evaluate": ["n=4"], "compress": [], "translate": ["x.png"],
    "complete": [], "export": ["to"],
}  # fmt: skip


def damaged(run, folder, write):
    copy = folder / "copy"
    shutil.copytree(run.path, copy)
    write(copy / "model" / "model.safetensors", *checkpoint.read(run.model))
    return copy


@pytest.mark.parametrize("name", FILES)
def test_a_model_that_is_none_is_refused_in_a_line(run, tmp_path, name):
    write, said = FILES[name]
    copy = damaged(run, tmp_path, write)
    with pytest.raises(UserError, match=rf"(?s){copy.name}/model/model\.safetensors.*({said})") as error:
        genzoo.load(copy)
    assert "\n" not in str(error.value)
    check_all([(name, lambda: genzoo.load(copy))])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_it_before_anything_is_made(run, tmp_path, command, capsys):
    for name in ("hparams null", "another shape", "NaN", "a pickle"):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        copy = damaged(run, tmp_path, FILES[name][0])
        assert main([command, str(copy), *COMMANDS[command]]) == 2
        said = capsys.readouterr().err.strip()
        assert said.count("\n") == 0
        assert "model.safetensors" in said, name
        assert not (copy / "outputs").exists()


def test_no_memory_is_taken_for_what_is_only_described(run, tmp_path):
    """Far larger than what the file holds: refused before an allocation, not by one that fails."""
    torch.manual_seed(0)
    big = {"system": "gaussian", "hparams": {"shape": [1, 90, 91]}}
    copy = damaged(run, tmp_path, described(lambda m: {**m, **big}))
    with pytest.raises(DamagedFile, match="far larger network"):
        genzoo.load(copy)
    assert SLACK < 90_000**2 * 4


def test_what_a_file_does_not_keep_may_be_large(tmp_path):
    """A pool of earlier pictures is no part of a model: a small model with a large one loads."""
    system = genzoo.create("cyclegan", shape=(3, 512, 512), width=4, blocks=1, pool=100)
    genzoo.export(system, tmp_path / "out")
    assert genzoo.load(tmp_path / "out").hparams["pool"] == 100


def test_a_folder_of_another_library_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match=r"diffusion_pytorch_model\.safetensors and no model\.safetensors"):
        genzoo.load(tmp_path)


@pytest.mark.parametrize("name", ["hparams null", "system a number", "another shape", "NaN", "a setting out of bounds"])
def test_a_damaged_state_is_refused(run, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (state,) = (p for p in sorted((copy / "state").glob("step-*"))[-1:])
    for other in (copy / "state").glob("step-*"):
        if other != state:
            other.unlink()
    tensors, meta = checkpoint.read(state)
    if name == "NaN":
        key = next(k for k in tensors if k.startswith("params."))
        checkpoint.write(state, {**tensors, key: tensors[key] * math.nan}, meta)
        said = r"step-000000002\.safetensors.*are not numbers.*remove the file"
    elif name == "another shape":
        key = next(k for k in tensors if k.startswith("params."))
        checkpoint.write(state, {**tensors, key: tensors[key][None]}, meta)
        said = r"is of another network than .*config\.toml describes"
    elif name == "a setting out of bounds":
        config = copy / "config.toml"
        config.write_text(config.read_text().replace("width = 8", "width = -8"))
        said = r"config\.toml \[system\].*width=-8"
    else:
        broken = {"hparams null": {"optim": None}, "system a number": {"scalers": 3}}[name]
        checkpoint.write(state, tensors, {**meta, **broken})
        said = "holds no whole state of the optimizers"
    with pytest.raises(UserError, match=said):
        genzoo.resume(copy, quiet=True)


def test_a_finished_model_loads_as_before(run):
    """Nothing of the above stands in the way of what is whole."""
    system = genzoo.load(run)
    assert json.loads((run.path / "model" / "config.json").read_text())["hparams"]["width"] == 8
    assert genzoo.sample(system, n=1).isfinite().all()
