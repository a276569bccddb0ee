"""Files for other programs: every part of every system gives there what it gives here, and nothing else is ever written."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import genzoo
from genzoo.core.capabilities import Decodes
from genzoo.core.errors import UserError
from genzoo.naming import registry
from genzoo.testing.case import Case, case_of
from genzoo.use.export import export_files
from genzoo.use.exports import graph, law, parts, write
from genzoo.use.exports.graph import BATCHES, Agreement, Cases

EXAMPLE = Path(__file__).parents[2] / "examples" / "use_onnx.py"
EXEMPLARS = {"efros-leung"}
"""Systems whose whole knowledge is a picture: there is no network to export."""
QUICK = {
    "acgan": "decode", "autoencoder": "encode", "context-encoder": "complete", "lapgan": "sample", "linear-flow": "log_prob",
    "pix2pix": "translate", "pixelcnn": "predict", "vqvae": "tokenize",
}  # fmt: skip
"""One part for each kind of part, by systems that are quick; every part of every system is asked where slow tests are."""


def every_part():
    for name in sorted(registry.entries()):
        yield pytest.param(name, QUICK.get(name), marks=() if name in QUICK else pytest.mark.slow, id=name)


def session(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def about(path):
    return json.loads(session(path).get_modelmeta().custom_metadata_map["genzoo"])


# ---- the contract --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "part"), [*every_part()])
def test_every_system_is_exported_and_gives_what_it_gave(name, part, tmp_path):
    """`export_files` compares by itself; here the file is asked once more, as a stranger would, on a batch that it has not seen."""
    pytest.importorskip("onnxruntime")
    system = case_of(name).ready()
    if name in EXEMPLARS:
        assert not parts.parts(system)
        return
    wanted = [part] if part else list(parts.parts(system))
    assert wanted, f"{name} has capabilities, and no part of it can be exported"
    for one in wanted:
        ask(system, one, tmp_path / f"{one}.onnx")


def ask(system, part, path):
    (written,) = export_files(system, path, part=part)
    assert written.agreed.largest < graph.TOLERANCE
    told, found = about(path), session(path)
    assert [v.name for v in found.get_inputs()] == [v["name"] for v in told["inputs"]]
    cases = Cases(system, parts.part_of(system, part), seed=7)
    for size in cases.part.sizes:
        values, _ = cases.inputs(4, size)
        out = found.run(None, {v["name"]: x.numpy() for v, x in zip(told["inputs"], values, strict=True)})[0]
        far, strays = graph._difference(out, cases.wanted(values).numpy(), cases.part.steps)
        assert far < graph.TOLERANCE
        assert strays <= graph.STRAYS
        if (ends := told["output"].get("range")) and out.dtype == np.float32:
            assert ends[0] - 1e-5 <= out.min() <= out.max() <= ends[1] + 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(registry.names()) - set(registry.entries())))
def test_every_preset_is_exported(name, tmp_path):
    pytest.importorskip("onnxruntime")
    system = case_of(name).ready()
    if found := parts.parts(system):
        ask(system, next(iter(found)), tmp_path / "x.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("made", {"masks": 1}),
        ("pixelrnn", {"lstm": "row"}),
        ("pixelrnn", {"shape": (3, 4, 6)}),
        ("pixelcnnpp", {"shape": (3, 8, 8)}),
        ("gated-pixelcnn", {"classes": 3}),
        ("elementwise-flow", {"curve": "sigmoid-mixture"}),
        ("glow", {"shape": (3,)}),
        ("realnvp", {"shape": (2,)}),
        ("token-prior", {"classes": 3}),
        ("wavenet", {"output": "mixture"}),
        ("pix2pixhd", {"enhancers": 0}),
        ("sngan", {"classes": 3, "conditional": True}),
        ("stylegan2", {"classes": 3}),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(f"{k}={x}" for k, x in v.items()),
)
def test_what_a_setting_changes_is_exported_too(name, arguments, tmp_path):
    pytest.importorskip("onnxruntime")
    system = Case(registry.system_class(name)).ready(**arguments)
    for part in parts.parts(system):
        ask(system, part, tmp_path / f"{part}.onnx")


def test_a_program_of_torch_is_loaded_without_genzoo(tmp_path):
    system = case_of("vae").ready()
    (written,) = export_files(system, tmp_path / "vae.pt2")
    z = system.sample_prior(6, generator=torch.Generator().manual_seed(3))
    extra = {"genzoo.json": ""}
    program = torch.export.load(tmp_path / "vae.pt2", extra_files=extra)
    torch.testing.assert_close(program.module()(z), system.decode(z))
    told = json.loads(extra["genzoo.json"])
    assert told["part"] == written.part == "decode"
    assert told["latents"] == {"columns": [{"from": 0, "to": 3, "law": "normal (0, 1)"}]}
    assert not any("encoder" in key for key in program.state_dict), "what a part does not use stays at home"


# ---- what a stranger is told -----------------------------------------------------------------------------------------------------


def test_a_file_says_what_a_stranger_needs(tmp_path):
    genzoo.export(case_of("cgan").ready(), tmp_path / "x.onnx")
    told = about(tmp_path / "x.onnx")
    assert told["system"] == "cgan"
    assert told["genzoo"] == genzoo.__version__
    assert told["inputs"] == [{"name": "z", "shape": ["N", 14], "dtype": "float32"}]
    assert told["output"] == {"name": "image", "shape": ["N", 1, 8, 8], "dtype": "float32", "range": [-1.0, 1.0]}
    laws = [(c["from"], c["to"], c["law"]) for c in told["latents"]["columns"]]
    assert laws == [(0, 4, "normal (0, 1)"), (4, 14, "one-hot of 10, equally likely")]
    assert told["compared"]["largest"] < graph.TOLERANCE
    assert told["compared"]["batches"] == list(BATCHES)
    assert told["compared"]["with"]["torch"] == torch.__version__
    content = (tmp_path / "x.onnx").read_bytes()
    assert b".py" not in content, "a file names no place on the machine that made it"


def test_laws_of_latents_are_known_or_not_said():
    found = {}
    for name in ("began", "infogan", "gan-3d", "nice", "vae", "autoencoder", "gan-cls", "stylegan", "vqvae"):
        system = case_of(name).ready()
        assert isinstance(system, Decodes)
        found[name] = [c["law"] for c in law.columns_of(system)]
    assert found["began"] == ["uniform [-1, 1)"]
    assert found["infogan"] == ["normal (0, 1)", "one-hot of 3, equally likely", "uniform [-1, 1)"]
    assert found["gan-3d"] == ["uniform [0, 1)"]
    assert found["vae"] == ["normal (0, 1)"]
    assert found["gan-cls"] == ["normal (0, 1)", "other"]
    assert found["autoencoder"] == found["stylegan"] == ["other"]
    assert found["vqvae"] == []
    assert len(law.law_of_latents(case_of("autoencoder").ready())["examples"]) == law.KEPT


def test_where_latents_have_no_known_law_what_is_drawn_is_the_input():
    assert next(iter(parts.parts(case_of("stylegan").ready()))) == "sample"
    assert next(iter(parts.parts(case_of("dcgan").ready()))) == "decode"


def test_a_translation_takes_any_size(tmp_path):
    system = case_of("pix2pix").ready()
    genzoo.export(system, tmp_path / "x.onnx")
    told = about(tmp_path / "x.onnx")
    assert told["inputs"][0]["shape"] == ["N", 1, "H", "W"]
    assert told["free"]["H"] == "pixels, a multiple of 8"
    x = torch.rand(1, 1, 40, 64) * 2 - 1
    out = session(tmp_path / "x.onnx").run(None, {"image": x.numpy()})[0]
    np.testing.assert_allclose(out, system.translate(x).numpy(), atol=1e-5)


# ---- folders, names, refusals ------------------------------------------------------------------------------------------------------


def test_a_folder_gets_a_file_for_every_part(tmp_path):
    system = case_of("autoencoder").ready()
    written = export_files(system, tmp_path / "all", format="pt2")
    assert [w.path.name for w in written] == ["decode.pt2", "encode.pt2"]
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["decode.pt2", "encode.pt2"]
    with pytest.raises(UserError, match="is not empty"):
        export_files(system, tmp_path / "all", format="pt2")


def test_a_part_is_meant_by_its_name_or_direction():
    system = case_of("cyclegan").ready()
    assert list(parts.parts(system)) == ["translate-a2b", "translate-b2a"]
    assert parts.part_of(system, "b2a").name == "translate-b2a"


@pytest.mark.parametrize(
    ("name", "to", "how", "said"),
    [
        ("dcgan", "x.pth", {}, r"\.pth is not written; give a name that ends in \.onnx or \.pt2"),
        ("dcgan", "x.pt2", {"format": "onnx"}, "ends in .pt2, and format=onnx is another one"),
        ("dcgan", "x.pt2", {"part": "encode"}, "dcgan has no part 'encode'.* It has decode"),
        ("dcgan", "x", {"part": "decode"}, "part=decode is of a file"),
        ("efros-leung", "x.pt2", {}, "no part that is a network by itself; to=FOLDER"),
    ],
)
def test_what_cannot_be_is_refused_in_words(name, to, how, said, tmp_path):
    with pytest.raises(UserError, match=said):
        genzoo.export(case_of(name).ready(), tmp_path / to, **how)
    assert not list(tmp_path.iterdir())


def test_a_version_is_no_ending(tmp_path):
    assert (genzoo.export(case_of("gan").ready(), tmp_path / "gan-1.2") / "config.json").is_file()
    assert genzoo.export(case_of("gan").ready(), tmp_path / "x.pth", format="folder").is_dir()


def test_a_file_that_is_there_is_not_replaced_unless_asked(tmp_path):
    system, path = case_of("gan").ready(), tmp_path / "x.pt2"
    path.write_text("mine")
    with pytest.raises(UserError, match="is there already; give another name, or overwrite=true"):
        genzoo.export(system, path)
    assert path.read_text() == "mine"
    assert genzoo.export(system, path, overwrite=True) == path
    assert path.stat().st_size > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt2"], "nothing else is left behind"


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    from importlib import util

    there = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *a: None if name.startswith("onnx") else there(name, *a))
    with pytest.raises(UserError, match=r"needs onnx and onnxscript and onnxruntime: pip install 'genzoo\[onnx\]'"):
        genzoo.export(case_of("gan").ready(), tmp_path / "x.onnx")


def test_nothing_is_written_that_differs(tmp_path, monkeypatch):
    """A file whose weights are not the system's is refused with the figure, and an old one stays."""
    system, path = case_of("gan").ready(), tmp_path / "x.pt2"
    path.write_text("old")
    true = write.traced

    def wrong(cases):
        program = true(cases)
        for key in program.state_dict:
            program.state_dict[key].mul_(1.01)
        return program

    monkeypatch.setattr(write, "traced", wrong)
    with pytest.raises(
        UserError, match=r"nothing was written.* differs from decode of gan by \d\.\de-0\d .*0\.0001 is taken"
    ):
        genzoo.export(system, path, overwrite=True)
    assert path.read_text() == "old"


class Odd(nn.Module):
    """A decoder that does something odd."""

    def __init__(self, odd):
        super().__init__()
        self.odd, self.weight = odd, nn.Parameter(torch.eye(4))

    def forward(self, z):
        x = z @ self.weight
        return self.odd(x, self).mean(1)[:, None, None, None].expand(-1, 1, 8, 8)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (lambda x, s: x if x.sum() > 0 else -x, r"torch.export does not follow decode of gan \(.*may not branch on the values of tensors"),
        (lambda x, s: torch.linalg.solve_triangular(s.weight, x, upper=True, left=False), "torch.onnx cannot say this in ONNX .*solve_triangular"),
        (lambda x, s: torch.nn.functional.softplus(x.double()).float(), "onnxruntime does not open the file: .*Softplus"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_said_and_nothing_is_written(odd, said, tmp_path):
    pytest.importorskip("onnxruntime")
    system = case_of("gan").ready()
    system.G = Odd(odd)
    with pytest.raises(UserError, match=re.compile(said, re.DOTALL)):
        genzoo.export(system, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_a_number_that_is_none_is_a_difference():
    nan = np.array([np.nan, 1], np.float32)
    assert graph._difference(nan, nan, False) == (0.0, 0.0)
    assert graph._difference(nan, np.ones(2, np.float32), False)[0] == float("inf")
    inf = np.array([-np.inf, 1], np.float32)
    assert graph._difference(inf, inf, False) == (0.0, 0.0)
    assert graph._difference(-inf, inf, False)[0] == float("inf")
    codes = np.arange(10)
    assert graph._difference(codes, codes[::-1].copy(), False) == (0.0, 1.0)
    assert str(Agreement(1e-7, 0.0, (1, 2), ())) == "1.0e-07 (batches of 1 and 2)"


def test_exporting_changes_nothing(tmp_path):
    """The system is what it was: its tensors, its branches, and what it draws."""
    system = case_of("progan").ready()
    before = {k: v.clone() for k, v in system.state_dict().items()}
    drawn = system.sample(2, generator=torch.Generator().manual_seed(1))
    genzoo.export(system, tmp_path / "x.pt2")
    assert all(torch.equal(v, before[k]) for k, v in system.state_dict().items())
    assert torch.equal(system.sample(2, generator=torch.Generator().manual_seed(1)), drawn)


def test_the_example_draws_without_torch_and_without_genzoo(tmp_path):
    """`examples/use_onnx.py` draws what the system draws of the same latents, a class where one is asked for."""
    pytest.importorskip("onnxruntime")
    system = case_of("cgan").ready()
    genzoo.export(system, tmp_path / "cgan.onnx")
    alone = "import sys, runpy; sys.modules['torch'] = sys.modules['genzoo'] = None; sys.argv = sys.argv[1:]; "
    alone += f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    command = [sys.executable, "-c", alone, "use_onnx.py", "cgan.onnx", "4", "7", "out.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "wrote out.png: 4 images" in done.stdout
    example = runpy.run_path(str(EXAMPLE))
    z = torch.from_numpy(example["inputs_of"](about(tmp_path / "cgan.onnx"), 4, 7)["z"])
    assert z[:, 4:].argmax(1).tolist() == [7] * 4
    wanted = example["grid"](system.decode(z).numpy())
    found = np.asarray(Image.open(tmp_path / "out.png"))
    assert found.shape == wanted.shape[:2]
    assert np.abs(found.astype(int) - wanted[..., 0]).max() <= 1
