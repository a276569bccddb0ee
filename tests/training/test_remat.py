"""What the backward pass computes again gives the weights that it gives where everything is kept, to the bit, and less is kept."""

import pytest
import torch

import genzoo
from benchmarks.bench_memory import added
from genzoo.core.errors import UserError
from genzoo.testing.data import batch_for
from genzoo.training.prepare import compute_again
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater
from tests.conftest import build
from tests.one_batch import apart, learn

SMALL = {
    "glow": {"shape": (3, 16, 16), "steps_per_scale": 4, "width": 16},
    "pixelcnnpp": {"shape": (3, 16, 16), "blocks": 3, "width": 16, "dropout": 0.5},
    "token-prior": {"depth": 4, "width": 32, "dropout": 0.3},
    "stylegan2": {"shape": (3, 16, 16), "r1_every": 2, "path_every": 2},
}


def learned(name, remat, steps=3):
    """Weights after some steps, and the bytes that the first forward passes keep."""
    torch.manual_seed(0)
    system = build(name, **SMALL[name]).train()
    if remat:
        compute_again(system, name)
    update = Updater(system, Runtime(torch.device("cpu"), "fp32"))
    kept = [0]

    def pack(x):
        kept[0] += x.numel() * x.element_size()
        return x

    for step in range(steps):
        torch.manual_seed(step)
        update.begin(step, steps)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            system.training_step(batch_for(system, 4, step), update)
        update.end()
    return [p.detach() for p in system.parameters()], kept[0]


def steps_of(rank, world, name, remat):
    more = {k: v for k, v in SMALL[name].items() if k != "shape"}
    return learn(rank, world, name, torch.float64, 8, 4, remat=remat, **more)


def test_two_ranks_draw_again_what_one_process_draws(two_ranks):
    alone = steps_of(0, 1, "token-prior", False)
    for found in two_ranks(steps_of, 2, "token-prior", True):
        difference, where = apart(alone, found)
        assert difference <= 1e-10, where


@pytest.mark.parametrize("name", SMALL)
def test_weights_are_the_same_and_less_is_kept(name):
    whole, everything = learned(name, False)
    again, kept = learned(name, True)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    assert kept < 0.6 * everything


def peaks(remat):
    """The most bytes that steps of a stylegan2 whose maps are larger than its weights add: without penalty, with path lengths, with R1 as well."""
    torch.manual_seed(0)
    system = build("stylegan2", shape=(3, 32, 32), width=16, most=32, latent=16, r1_every=4, path_every=2).train()
    if remat:
        compute_again(system, "stylegan2")
    update = Updater(system, Runtime(torch.device("cpu"), "fp32"))

    def step(i):
        torch.manual_seed(i)
        update.begin(i, 10)
        system.training_step(batch_for(system, 8, i), update)
        update.end()

    step(0)
    return [added(lambda: step(i)) for i in (1, 2, 4)]  # noqa: B023


@pytest.mark.slow
def test_the_peak_of_a_step_falls_with_its_penalties_as_well():
    """What a second backward pass goes through is kept by the first one; measured: 0.47, 0.51 and 0.59."""
    for kind, (whole, again) in enumerate(zip(peaks(False), peaks(True), strict=True)):
        assert again <= 0.6 * whole, f"step of kind {kind}: {again / whole:.2f}"


def test_what_has_no_blocks_says_so():
    with pytest.raises(UserError, match="remat=true is for systems of many equal blocks, and gan has no part"):
        compute_again(build("gan"), "gan")


def test_a_run_takes_it_and_goes_on_with_it(tmp_path):
    keys = {"steps": 2, "batch": 2, "remat": True, "runs": str(tmp_path), "quiet": True, "device": "cpu"}
    with pytest.raises(UserError, match="remat=true is for"):
        genzoo.train("gan-points", "ring", **keys)
    assert list(tmp_path.iterdir()) == []
    run = genzoo.train("glow", "ring", **keys)
    assert genzoo.resume(run.path, steps=4, quiet=True).steps_done() == 4
