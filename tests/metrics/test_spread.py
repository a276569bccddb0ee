"""Samples and features are computed by several processes, and are those of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.metrics import reconstruction
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.drawing import draw
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.nll import evaluate_density
from genzoo.ranks.spread import lead, spread
from tests.conftest import build, data_for


def where(shared, part):
    return shared, part, os.getpid()


def led(rank):
    """What the first process is given of seven parts, and of samples and features."""
    found = []

    def command():
        found.extend(spread(where, "here", "word", "there", ((k,) for k in range(7))))
        found.append(list(spread(where, "here", "word", "", [(8,)])))
        net = extractor("random")
        images = torch.randint(0, 256, (1200, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        found.append(net(images))

    lead(command, {"word": str.upper, "network": extractor})
    return found, os.getpid()


def test_parts_come_in_their_order_from_all_processes(two_ranks):
    (found, first), (nothing, second) = two_ranks(led)
    assert nothing == []
    assert [part for _, part, _ in found[:7]] == list(range(7))
    assert [pid for *_, pid in found[:7]] == [first, second, first, second, first, second, first]
    assert {shared for shared, *_ in found[1:7:2]} == {"THERE"}, (
        "the others open what parts are computed with by its name"
    )
    assert found[7] == [("here", 8, first)]
    images = torch.randint(0, 256, (1200, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found[8], extractor("random")(images))


def scored(rank, file, alone=False):
    """Likelihoods (of one system that draws nothing, of one that draws) and reconstructions of 22 images, five or ten at a time."""
    found, opened = [], []

    def system_of(name):
        torch.manual_seed(0)
        opened.append(name)
        system = build(name).eval()
        system.origin = name
        return system

    data = open_data(DataSettings(data=file, size=8), kind="image", quiet=True)

    def command():
        found.extend(evaluate_density(system_of(name), data, batch=5) for name in ("made", "vae"))
        compared = Comparison(
            test=data, train=data, net=None, system=system_of("vae"), n=22, n_scored=22, seed=0, floors=False
        )
        found.extend(r.to_json() for r in reconstruction.take(compared))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruction, "BATCH", 10)
        command() if alone else lead(command, {"system": system_of})
    return [{k: v for k, v in f.items() if k != "seconds"} for f in found], opened


def test_likelihoods_and_reconstructions_are_computed_by_all(two_ranks, tmp_path):
    """Where noise is drawn, one after the other from one generator, the first process computes alone."""
    file = str(data_for("made", tmp_path).data)
    (found, mine), (_, others) = two_ranks(scored, file)
    assert found == scored(0, file, alone=True)[0]
    assert mine == ["made", "vae", "vae"]
    assert others == ["made", "vae"], "the vae for its reconstructions alone"


@pytest.mark.parametrize("name", ["dcgan", "vae", "token-prior", "glow"])
def test_fewer_samples_are_the_first_of_more(name):
    system = build(name).eval()
    if name == "dcgan":
        assert torch.equal(draw(system, 10, 0, chunk=5), draw(system, 40, 0, chunk=5)[:10])
    torch.testing.assert_close(draw(system, 10, 0), draw(system, 100, 0)[:10], rtol=1e-4, atol=1e-4)


def torchrun(folder, *words):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "genzoo",
        *words,
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
def test_two_processes_draw_and_measure_as_one_does(tmp_path, runs):
    run = str(runs("dcgan").path)
    done = torchrun(tmp_path, "sample", run, "n=50", "seed=3", "batch=8", "out=two.npy")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (done.stdout + done.stderr).count("wrote") == 1
    assert np.array_equal(np.load(tmp_path / "two.npy"), genzoo.sample(run, n=50, seed=3, batch=8).numpy())

    how = {"n": 700, "extractor": "random", "measures": "frechet,kid", "out": str(tmp_path / "alone")}
    done = torchrun(tmp_path, "evaluate", run, *(f"{k}={v}" for k, v in {**how, "out": "both"}.items()), "json=true")
    assert done.returncode == 0, done.stderr[-2000:]
    both, alone = json.loads(done.stdout), genzoo.evaluate(run, **how)
    assert {k: m["value"] for k, m in both["measures"].items()} == {k: m["value"] for k, m in alone["measures"].items()}

    done = torchrun(tmp_path, "evaluate", run, "measures=frechet", "extractor=nothing")
    told = [line for line in done.stderr.splitlines() if line.startswith("genzoo:")]
    assert len(told) == 1
    assert "there is no feature extractor 'nothing'" in told[0]
