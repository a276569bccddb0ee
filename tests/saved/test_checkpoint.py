"""A checkpoint is the old file or the new one, whole; damage is noticed and named."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from genzoo.core import files
from genzoo.core.errors import DamagedFile
from genzoo.saved import checkpoint
from genzoo.saved.checkpoint import DiskFull

TENSORS = {
    "w": torch.arange(12.0).view(3, 4),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 3),
    "flags": torch.tensor([True, False]),
}


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_halved_tensors_take_half_the_bytes_and_are_read_at_their_own_type(tmp_path, kind):
    weights = torch.randn(100, dtype=kind, generator=torch.Generator().manual_seed(0))
    whole = {
        "w": weights,
        "count": torch.tensor(7),
        "none": torch.zeros(0, dtype=kind),
        "old": torch.ones(3, dtype=torch.bfloat16),
    }
    kept, how = checkpoint.halved(whole)
    assert kept["w"].element_size() * 2 == weights.element_size()
    checkpoint.write(tmp_path / "a.safetensors", kept, how)
    read, _ = checkpoint.read(tmp_path / "a.safetensors")
    assert {k: t.dtype for k, t in read.items()} == {k: t.dtype for k, t in whole.items()}
    error = (read["w"] - weights).abs().max() / weights.abs().max()
    assert 0 < error <= 2**-11
    checkpoint.write(tmp_path / "b.safetensors", kept, {})  # a file that does not say so is taken at its word
    assert checkpoint.read(tmp_path / "b.safetensors")[0]["w"].dtype == kept["w"].dtype


@pytest.mark.parametrize("lost", [1e5, 1e-7, float("nan"), float("inf")])
def test_what_half_precision_cannot_hold_stays_whole(lost):
    kept, _ = checkpoint.halved({"w": torch.full((3,), lost)})
    assert kept["w"].dtype == torch.float32


def test_round_trip_keeps_values_dtypes_and_meta(tmp_path):
    tied = torch.randn(4, 5)
    tensors = {
        **TENSORS,
        "a": tied,
        "b": tied,
        "view": tied[:, 1:3],
        "wide": torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    checkpoint.write(tmp_path / "x.safetensors", tensors, {"step": 3, "names": ["é", '"digest":"']})
    found, meta = checkpoint.read(tmp_path / "x.safetensors")
    assert meta == {"step": 3, "names": ["é", '"digest":"']}
    assert set(found) == set(tensors)
    for name, t in tensors.items():
        assert found[name].dtype == t.dtype
        assert torch.equal(found[name], t), name


@pytest.mark.parametrize("rounds", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_every_flipped_byte_is_noticed(tmp_path, rounds):
    path = tmp_path / "x.safetensors"
    checkpoint.write(path, TENSORS, {"step": 1})
    good = path.read_bytes()
    rng = random.Random(rounds)
    places = [0, 7, 8, 9, len(good) - 1] + [rng.randrange(len(good)) for _ in range(rounds)]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        with pytest.raises(DamagedFile, match=r"x\.safetensors"):
            checkpoint.read(path)


@pytest.mark.parametrize("size", [0, 7, 8, 40, 300])
def test_a_truncated_file_is_refused(tmp_path, size):
    path = tmp_path / "x.safetensors"
    checkpoint.write(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedFile, match=r"x\.safetensors"):
        checkpoint.read(path)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    path = tmp_path / "x.safetensors"
    torch.save({"w": torch.ones(3)}, path)
    with pytest.raises(DamagedFile):
        checkpoint.read(path)


def test_no_room_keeps_the_old_file_and_says_what_is_needed(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    checkpoint.write(path, TENSORS, {"step": 1})
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: type("U", (), {"free": 10})())
    with pytest.raises(DiskFull, match=r"x\.safetensors.*MB are needed.*free"):
        checkpoint.write(path, TENSORS, {"step": 2})
    assert checkpoint.read(path)[1] == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


WRITER = """
import sys, torch
from genzoo.saved import checkpoint
step = 0
while True:
    step += 1
    checkpoint.write(sys.argv[1], {"w": torch.full((400_000,), float(step))}, {"step": step})
    print(step, flush=True)
"""


@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_kill_9_during_writing_leaves_a_whole_file(tmp_path, kills):
    path = tmp_path / "x.safetensors"
    rng = random.Random(kills)
    for _ in range(kills):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert writer.stdout is not None
        said = int(writer.stdout.readline())
        time.sleep(rng.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        tensors, meta = checkpoint.read(path)
        assert meta["step"] >= max([said, *map(int, rest)])
        assert torch.equal(tensors["w"], torch.full((400_000,), float(meta["step"])))
    files.sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.SGD])
def test_an_optimizer_goes_on_exactly(kind):
    def make():
        torch.manual_seed(0)
        net = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return net, kind(net.parameters(), lr=0.01, **options)

    def steps(net, optimizer, n, seed):
        for i in range(n):
            x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed + i))
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()

    net, optimizer = make()
    steps(net, optimizer, 6, 0)
    first, first_opt = make()
    steps(first, first_opt, 3, 0)
    tensors, meta = checkpoint.optimizer_tensors("m", first_opt)
    again, again_opt = make()
    again.load_state_dict(first.state_dict())
    checkpoint.restore_optimizer("m", again_opt, {k: v.contiguous() for k, v in tensors.items()}, meta)
    for p, s in zip(again.parameters(), again_opt.state.values(), strict=True):
        assert all(t.stride() == p.stride() for t in s.values() if torch.is_tensor(t) and t.shape == p.shape)
    steps(again, again_opt, 3, 3)
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
