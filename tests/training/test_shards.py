"""shard=true: each rank keeps a piece of every parameter, and learns what it learns where all keep the whole."""

import os
import re
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

import genzoo
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.naming import registry
from genzoo.ranks import shards
from genzoo.ranks.batch import one_batch
from genzoo.ranks.shards import Pieces, assembled, check_shards, collected, piece_of, sparing
from genzoo.runs.folder import open_run
from genzoo.saved import checkpoint
from genzoo.testing.data import batch_for
from genzoo.training.runtime import Runtime
from genzoo.training.state import gather, put_back
from genzoo.training.update import Average, Updater
from tests.conftest import build
from tests.one_batch import SENSITIVE, apart, is_near, learn
from tests.training_help import state_of

SYSTEMS = [*sorted(registry.entries()), "wgan-gp", "hinge-gan", "stylegan2-ada", "video-gan-conditional"]
QUICK = {"wgan-gp": 10, "stylegan2": 5, "glow": 5}
"""Steps of: a penalty's second derivative; a penalty alone in its update; a start from the data."""
CPU = torch.device("cpu")


def whole_and_in_pieces(rank, world, name, dtype, steps=20):
    shards.SMALL[0] = 1
    one, other = (learn(rank, world, name, dtype, steps=steps, shards=s) for s in (False, True))
    return apart(other, one) if rank == 0 else (0.0, "")


@pytest.mark.parametrize("name", QUICK)
def test_pieces_learn_what_the_whole_learns(name, two_ranks):
    difference, where = two_ranks(whole_and_in_pieces, 2, name, torch.float64, QUICK[name])[0]
    assert difference <= 1e-10, f"{where} is {difference:.1e} away"


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_pieces_of_every_system_learn_what_the_whole_learns(name, two_ranks):
    if "fits" in capabilities(registry.system_class(registry.find(name)[0].name)):
        pytest.skip("is fitted in one process")
    for dtype, most in ((torch.float64, 1e-8 if name in ("pix2pixhd", "realnvp") else 1e-10), (torch.float32, 1e-5)):
        if dtype is torch.float64 or name not in SENSITIVE:
            difference, where = two_ranks(whole_and_in_pieces, 2, name, dtype)[0]
            assert is_near(difference, most, name, dtype), f"{dtype}: {where} is {difference:.1e} away"


# ---- what a rank keeps -------------------------------------------------------------------------------------------------------------


def kept(rank, world, name, on):
    """Bytes of parameters, gradients, moments and averages at the end of a step."""
    shards.SMALL[0] = 64
    torch.manual_seed(0)
    system = build(name, width=16)
    update = Updater(system, Runtime(CPU, "fp32", rank, world, on))
    average, gradients = Average(system, 0.9), []
    for player, optimizer in update.optimizers.items():
        optimizer.register_step_pre_hook(lambda *_, of=player: gradients.extend(p.grad for p in update.owned[of]))
    batch = {k: v.chunk(world)[rank] for k, v in batch_for(system, 8, seed=0).items()}
    update.begin(0, 10)
    with sparing(on), one_batch(8 // world):
        system.train().training_step(batch, update)
    update.end()
    average.update(0)
    moments = [v for o in update.optimizers.values() for s in o.state.values() for v in s.values() if v.ndim]
    groups = (list(system.parameters()), gradients, moments, list(average.system.parameters()))
    return [sum(t.numel() * t.element_size() for t in group) for group in groups]


def test_each_of_n_ranks_keeps_an_nth(two_ranks, four_ranks):
    for many, world in ((two_ranks, 2), (four_ranks, 4)):
        (whole, *_), every = many(kept, world, "dcgan", False), many(kept, world, "dcgan", True)
        for pieces in every:
            for before, after in zip(whole, pieces, strict=True):
                assert before / world <= after <= 1.15 * before / world


def held(storages):
    """How many are held by somebody; the thread that has carried a message lets go of it a little later than the one that asked for it."""
    until = time.monotonic() + 20
    while (count := sum(not ref.expired() for ref in storages)) and time.monotonic() < until:
        time.sleep(0.01)
    return count


def lent(rank):
    """How many gathered weights are alive after forward passes, and the storages that were gathered in all passes."""
    shards.SMALL[0] = 1
    torch.manual_seed(0)
    net, alive = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)), []
    net.optimizers = lambda: {"a": torch.optim.SGD(net.parameters(), lr=0.1)}
    update = Updater(net, Runtime(CPU, "fp32", rank, 2, True))
    gather_, counts = shards.Piece.gather, []

    def counted(piece):
        found = gather_(piece)
        alive.append(torch.multiprocessing.reductions.StorageWeakRef(found.untyped_storage()))
        return found

    shards.Piece.gather = counted
    try:
        with sparing():
            loss = net(torch.ones(2, 3)).square().mean() + net(torch.zeros(2, 3)).mean()
            counts.append((len(alive), held(alive)))
            update("a", loss)
            counts.append((len(alive) > counts[0][0], held(alive)))
    finally:
        shards.Piece.gather = gather_
    return counts


def test_gathered_weights_go_after_each_layer_and_come_back_for_the_backward_pass(two_ranks):
    for counts in two_ranks(lent):
        assert counts == [(8, 0), (True, 0)]


class Odd(nn.Module):
    """Parameters that are written into, held in a list, differentiated by themselves, and tied."""

    def __init__(self):
        super().__init__()
        self.start, self.listed, self.asked = (nn.Parameter(torch.ones(7)) for _ in range(3))
        self.one, self.other = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.other.weight = self.one.weight
        self.beside, self.undivided = [self.listed], ("asked",)

    def optimizers(self):
        return {"a": torch.optim.SGD(self.parameters(), lr=0.1)}

    @torch.no_grad()
    def begin(self):
        values = self.start
        self.one.weight.mul_(2)
        values.copy_(torch.arange(7.0))

    def forward(self):
        return (self.start * self.listed * self.asked).sum() + self.other(self.one(torch.ones(3))).sum()


def odd(rank, on):
    shards.SMALL[0] = 1
    torch.manual_seed(0)
    net = Odd()
    update = Updater(net, Runtime(CPU, "fp32", rank, 2, on))
    with sparing(on):
        net.begin()
        update("a", net() / (2 if rank else 1))
    named = dict(net.named_parameters())
    whole = [k for k, p in named.items() if piece_of(p) is None]
    copy = assembled(net)
    found = {k: v.detach().clone() for k, v in collected(named).items()}
    again = {k: v.detach().clone() for k, v in copy.named_parameters()} if rank == 0 else {}
    tied = copy.other.weight is copy.one.weight if rank == 0 else True
    return whole, found, again, tied, isinstance(copy._parameters, Pieces)


def test_parameters_that_are_used_in_other_ways(two_ranks):
    (_, want, *_), _ = two_ranks(odd, False)
    (whole, found, again, tied, in_pieces), (_, _, _, _, still) = two_ranks(odd, True)
    assert whole == ["listed", "asked"]
    assert tied
    assert (in_pieces, still) == (False, True), "the first rank has the whole, and the others what they had"
    assert want.keys() == found.keys() == again.keys()
    for k, value in want.items():
        torch.testing.assert_close(found[k], value)
        torch.testing.assert_close(again[k], value)


def stale(rank):
    shards.SMALL[0] = 1
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    net.optimizers = lambda: {"a": torch.optim.RMSprop(net.parameters(), lr=0.1)}
    update = Updater(net, Runtime(CPU, "fp32", rank, 2, True))
    with sparing():
        early = net(torch.ones(2, 3)).mean()
        update("a", net(torch.ones(2, 3)).mean())
        try:
            update("a", early)
        except RuntimeError as error:
            return str(error)


def test_a_backward_pass_through_weights_of_before_an_update_is_refused_as_torch_refuses_it(two_ranks):
    assert all("modified by an inplace operation" in said for said in two_ranks(stale))


# ---- checkpoints -------------------------------------------------------------------------------------------------------------------


def steps(system, update, average, rank, begin, end):
    for step in range(begin, end):
        update.begin(step, 10)
        batch = {k: v.chunk(2)[rank] for k, v in batch_for(system, 8, seed=step).items()}
        with sparing(update.runtime.shards), one_batch(4):
            system.train().training_step(batch, update)
        update.end()
        average.update(step)


def written(rank, file, before, after):
    """Three steps in pieces or whole, a checkpoint, three more, and the same three from the checkpoint in pieces or whole."""
    shards.SMALL[0] = 1
    made = []
    for on, begin in ((before, 0), (after, 3)):
        torch.manual_seed(0)
        system = build("dcgan")
        update, average = Updater(system, Runtime(CPU, "fp32", rank, 2, on), clip=1.0), None
        average = Average(system, 0.9)
        if begin:
            tensors, meta = checkpoint.read(file)
            put_back(system, update, average, tensors, meta, file, file)
        torch.manual_seed(7)
        if not begin:
            steps(system, update, average, rank, 0, 3)
            found = gather(system, update, average, CPU)
            if rank == 0:
                checkpoint.write(file, *found)
            torch.distributed.barrier()
            torch.manual_seed(7)
        steps(system, update, average, rank, 3, 6)
        made.append(gather(system, update, average, CPU)[0])
    return made if rank == 0 else None


@pytest.mark.parametrize(("before", "after"), [(True, True), (True, False), (False, True)])
def test_a_checkpoint_is_of_the_whole_whoever_wrote_it(before, after, two_ranks, tmp_path):
    one, other = two_ranks(written, tmp_path / "state.safetensors", before, after)[0]
    assert one.keys() == other.keys()
    for k, value in one.items():
        assert value.shape == other[k].shape
        if before == after:
            assert torch.equal(value, other[k]), k
        else:
            torch.testing.assert_close(other[k], value, rtol=1e-4, atol=1e-6)


# ---- what is refused ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"world": 1}, "start it with 'torchrun"),
        ({"compiled": True}, "which compile=true cannot follow"),
        ({"precision": "fp16"}, "is not for precision=fp16"),
        ({"optimizers": {"g": torch.optim.LBFGS([nn.Parameter(torch.ones(2))])}}, "and 'g' of this system is a LBFGS"),
    ],
)
def test_what_does_not_go_in_pieces_is_said(how, said):
    adam = {"d": torch.optim.Adam([nn.Parameter(torch.ones(2))])}
    given = {"optimizers": adam, "world": 2, "compiled": False, "precision": "fp32", **how}
    with pytest.raises(UserError, match=re.escape(said)):
        check_shards(given.pop("optimizers"), **given)


def test_one_process_is_told_so_before_a_folder_is_made(data, tmp_path):
    with pytest.raises(UserError, match="and this is one; start it with 'torchrun"):
        genzoo.train("dcgan", data.data, shard=True, steps=1, runs=str(tmp_path / "runs"), device="cpu", quiet=True)
    assert not (tmp_path / "runs").exists()


# ---- whole runs --------------------------------------------------------------------------------------------------------------------


def told(folder, world, *words):
    """Run a command of genzoo in some processes."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={world}", "-m"] if world > 1 else []
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "genzoo", *words], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.slow
def test_a_run_in_pieces_goes_on_with_any_number_of_processes_and_is_used_by_one(tmp_path, data):
    common = [
        f"data={data.data}",
        "size=8",
        "width=96",
        "latent=8",
        "batch=8",
        "ema=0.9",
        "device=cpu",
        "precision=fp32",
    ]
    told(tmp_path, 2, "train", "dcgan", *common, "steps=4", "name=pieces", "shard=true")
    told(tmp_path, 2, "train", "dcgan", *common, "steps=4", "name=plain")
    runs = tmp_path / "runs"
    ways = {
        "want": (2, "plain"),
        "two": (2, "pieces"),
        "four": (4, "pieces"),
        "one": (1, "pieces"),
        "off": (2, "pieces", "shard=false"),
        "on": (2, "plain", "shard=true"),
    }
    for way, (world, begun, *more) in ways.items():
        subprocess.run(["cp", "-r", begun, way], cwd=runs, check=True)
        told(tmp_path, world, "resume", f"runs/{way}", "steps=8", *more)
        _, want, _ = state_of(open_run(runs / "want"))
        _, found, _ = state_of(open_run(runs / way))
        for k, value in want.items():
            assert torch.allclose(found[k], value, rtol=1e-3, atol=1e-4), f"{way}: {k}"
    assert genzoo.load(runs / "pieces").sample(2, generator=torch.Generator()).shape == (2, 1, 8, 8)
    told(tmp_path, 1, "sample", "runs/pieces", "n=4")
    told(tmp_path, 2, "train", "dcgan", *common, "steps=2", "name=from", "shard=true", "from=runs/pieces")


@pytest.mark.slow
def test_two_processes_draw_from_a_run_in_pieces_what_one_draws(tmp_path, data):
    words = [f"data={data.data}", "size=8", "width=96", "latent=8", "batch=8", "steps=2", "device=cpu", "shard=true"]
    told(tmp_path, 2, "train", "dcgan", *words, "name=pieces")
    drawn = []
    for world in (1, 2):
        told(tmp_path, world, "sample", "runs/pieces", "n=4", "batch=2", f"out=by-{world}/")
        drawn.append([p.read_bytes() for p in sorted((tmp_path / f"by-{world}").iterdir())])
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 4


def test_pieces_and_parts_of_a_batch_go_together(two_ranks):
    whole, pieces = (two_ranks(learn, 2, "gan", torch.float64, 16, 6, None, False, 2, on)[0] for on in (False, True))
    difference, where = apart(whole, pieces)
    assert difference <= 1e-10, where


@pytest.mark.slow
@pytest.mark.parametrize("name", ["token-prior", "glow", "pixelcnnpp"])
def test_pieces_parts_and_maps_made_again_go_together(name, two_ranks):
    """All that saves memory at once, on two ranks, learns what one process learns that keeps everything; two of them start from the data."""
    alone = learn(0, 1, name, torch.float64, 16, 6)
    found = two_ranks(learn, 2, name, torch.float64, 16, 6, None, 0, 2, True, True)[0]
    difference, where = apart(alone, found)
    assert is_near(difference, 1e-10, name, torch.float64), f"{where} is {difference:.1e} away"
