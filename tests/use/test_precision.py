"""Using a system with fewer bits: results near those of full precision, float32, and records that say it."""

from __future__ import annotations

import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core import files
from genzoo.core.errors import UserError
from genzoo.metrics.records import Record
from genzoo.use.common import precision as module
from genzoo.use.common.source import LOWER, open_system
from genzoo.use.compare import rank
from tests.conftest import build


@pytest.fixture
def system():
    torch.manual_seed(0)
    return build("vae").eval()


def test_fewer_bits_are_near_and_not_equal_and_come_back_as_float32(system):
    full = genzoo.sample(system, n=4)
    with genzoo.precision("bf16"):
        low = genzoo.sample(system, n=4)
    assert low.dtype == torch.float32
    assert 0 < (full - low).abs().max() < 0.05
    assert torch.equal(genzoo.sample(system, n=4), full), "the system is what it was"
    with genzoo.precision("fp32"):
        assert torch.equal(genzoo.sample(system, n=4), full)
    assert {p.dtype for p in system.parameters()} == {torch.float32}
    assert LOWER.get() is None


def test_autocast_is_on_in_the_methods_and_only_there(system):
    seen = []
    system.register_forward_pre_hook(lambda *_: None)
    for part in system.children():
        part.register_forward_pre_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    with genzoo.precision("bfloat16"):
        low = open_system(system)
        assert module.precision_of(low) == "bf16"
        assert open_system(low) is low
        assert not torch.is_autocast_enabled("cpu")
        low.decode(low.sample_prior(2, generator=torch.Generator()))
    assert seen
    assert all(seen)
    assert module.precision_of(system) == "full"


@pytest.mark.parametrize("verb", ["reconstruct", "walk", "project"])
def test_every_verb_that_opens_a_system_computes_so(system, verb):
    shape = system.hparams["shape"]
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def use():
        if verb == "walk":
            return genzoo.walk(system, rows=1, steps=3)
        return genzoo.reconstruct(system, x) if verb == "reconstruct" else genzoo.project(system, x, steps=2).images

    full = use()
    with genzoo.precision("bf16"):
        low = use()
    assert low.dtype == torch.float32
    assert not torch.equal(full, low)
    assert (full - low).abs().mean() < 0.05


def test_what_is_not_there_is_said(system, monkeypatch, capsys):
    with (
        pytest.raises(UserError, match=r"precision=fp8 is not known.*Give full, bf16, or on a GPU half"),
        genzoo.precision("fp8"),
    ):
        pass
    with (
        genzoo.precision("half"),
        pytest.raises(UserError, match="half is for a GPU, and the networks run on the CPU; give bf16"),
    ):
        genzoo.sample(system, n=1)
    monkeypatch.setattr(module, "has_bf16", lambda device: False)
    monkeypatch.setattr(files, "_said", set())
    with genzoo.precision("bf16"):
        genzoo.sample(system, n=1)
    assert "this CPU has no AMX: results are those of bf16, and slower than full" in capsys.readouterr().err


def test_what_has_to_be_the_same_everywhere_is_computed_in_full(tmp_path):
    with genzoo.precision("bf16"):
        with pytest.raises(UserError, match=r"export computes in full.*outside of a block of genzoo.precision"):
            genzoo.export(build("vae"), tmp_path / "x")
        with pytest.raises(UserError, match="compress computes in full"):
            genzoo.compress(build("pixelcnn"), torch.zeros(1, 1, 8, 8), tmp_path / "x.gz")


def test_the_commands_and_the_record(runs, tmp_path, capsys):
    run = str(runs("vae").path)
    assert main(["sample", run, "n=2", f"out={tmp_path}/a.npy", "precision=bf16"]) == 0
    assert main(["evaluate", run, "measures=nll", "n=4", "precision=bf16", f"out={tmp_path}/low"]) == 0
    assert "networks of the system in bf16" in " ".join(capsys.readouterr().out.split())
    found = genzoo.evaluate(run, measures="nll", n=4, out=tmp_path / "full")
    assert all("bf16" not in m["protocol"] for m in found["measures"].values())
    assert main(["sample", run, "precision=fp7"]) == 2
    assert main(["compress", str(runs("pixelcnn").path), "precision=bf16"]) == 2
    assert "has to be the same everywhere" in capsys.readouterr().err
    assert main(["help", "sample"]) == 0
    assert "precision=bf16" in capsys.readouterr().out


def test_numbers_of_two_precisions_are_not_ranked_together():
    one = Record("FLD", 1.0, "p", better="lower", n=10).to_json()
    other = Record("FLD", 2.0, "p", better="lower", n=10, more={"precision": "bf16"}).to_json()
    (row,) = rank("FLD", {"a": [one], "b": [other]})[:1]
    assert any(
        "precision of the system's networks (full / bf16)" in r.reason for r in rank("FLD", {"a": [one], "b": [other]})
    )
    assert not row.best
