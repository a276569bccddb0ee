"""Two hosts, which are network namespaces of this machine, and four launchers on one: hosts that go, come, or cannot be reached any more."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from genzoo.runs.folder import open_run
from tests.training_help import state_of

SYSTEM = '''
"""A network that learns for long enough that hosts can come and go."""

import time

import torch
from torch import nn

from genzoo.core.system import System


class Slow(System):
    """Learns to give back what it is shown, through noise.

    Args:
        shape: Of an image.
        pause: Seconds that a step takes.
    """

    def __init__(self, shape: tuple[int, int, int] = (1, 8, 8), pause: float = 0.02) -> None:
        super().__init__()
        self.pause = pause
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.Linear(32, 64))

    def optimizers(self):
        return {"model": torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)}

    def loss(self, batch):
        time.sleep(self.pause)
        x = batch["image"].flatten(1)
        return {"loss": (self.net(x + 0.1 * torch.randn_like(x)) - x).square().mean()}
'''
OPTIONS = ["save_every=5", "sample_every=100000", "log_every=1", "device=cpu", "precision=fp32", "threads=1"]
SOON = "last_call_timeout=10,keep_alive_interval=1,keep_alive_max_attempt=6,read_timeout=60,join_timeout=600"
"""How long launchers wait for each other: shorter than torchrun has it, and long enough for a busy machine. One that comes after the last call is
one that comes later, with which torch 2.13 loses the run (`findings/torchrun-a-host-that-comes-ends-the-run.sh`)."""
LAUNCHER = """
import sys, time
from pathlib import Path
import torch.distributed.run as launcher
Path(sys.argv[1]).touch()
while not Path("go").exists():
    time.sleep(0.01)
launcher.main(sys.argv[2:])
"""
"""torchrun, which waits until all have imported torch: so they come at one time, however busy the machine is."""
HANGS = 900.0
"""Seconds after which what waits for another is taken to hang; one test takes 110 to 290 with other work on two cores, most of it imports."""
ADDRESS = {"a": "10.213.77.1", "b": "10.213.77.2"}


def can_part():
    """Why two hosts cannot be made here; None where they can."""
    if sys.platform != "linux" or not shutil.which("ip"):
        return "network namespaces are Linux's, and made by ip"
    if os.geteuid():
        return "network namespaces are made by root"
    name = f"gz-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return "this machine makes no network namespaces"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


class Launchers:
    """Starts launchers of one training on hosts of their own, and ends them.

    Args:
        folder: Where they run, and what all hosts see.
        spaces: The network namespace of each host; none: on this machine.
    """

    def __init__(self, folder, spaces=None):
        self.folder, self.spaces, self.started = folder, spaces or {}, {}
        (folder / "slow.py").write_text(SYSTEM)

    def start(self, host, *words, nodes="1:2", restarts=3, port=29701, shared=True):
        """Start the launcher of a host; what it says goes into a file."""
        first = not self.started
        space = ["ip", "netns", "exec", self.spaces[host]] if self.spaces else []
        torchrun = [
            *(sys.executable, "-c", LAUNCHER, f"ready-{host}", f"--nnodes={nodes}", "--nproc-per-node=1"),
            *(f"--max-restarts={restarts}", "--monitor-interval=0.1", "--rdzv-backend=c10d", "--rdzv-id=hosts"),
            *(f"--rdzv-conf=is_host={int(first)},{SOON}", f"--local-addr={ADDRESS[host] if space else '127.0.0.1'}"),
            f"--rdzv-endpoint={ADDRESS['a'] if space else '127.0.0.1'}:{port}",
        ]
        env = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        env["GLOO_SOCKET_IFNAME"] = f"gz-{host}" if space else "lo"
        env["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "0" if shared else "1"
        with open(self.folder / f"said-{host}.txt", "w") as said:
            launcher = subprocess.Popen(
                [*space, *torchrun, "-m", "genzoo", *words], cwd=self.folder, env=env, stderr=said, stdout=said
            )
        self.started[host] = launcher
        return launcher

    def train(self, host, name, *words, batch=12, steps=200, **how):
        """Start a launcher that trains."""
        data = f"data={self.folder / 'data.npz'}"
        options = ["size=8", f"name={name}", f"batch={batch}", f"steps={steps}", *OPTIONS]
        return self.start(host, "train", "slow.py", data, *options, *words, **how)

    def said(self, host):
        return (self.folder / f"said-{host}.txt").read_text()

    def told(self, host):
        """What genzoo has said on a host."""
        return [line for line in self.said(host).splitlines() if line.startswith("genzoo:")]

    def gone(self, host):
        """Let a host lose its power: all that runs on it is killed at once."""
        launcher = self.started[host]
        every = {launcher.pid, *below(launcher.pid)}
        for pid in every:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        launcher.wait()

    def going_on(self, host, times, seconds=HANGS):
        """Wait until the training has been gone on with so many times, as the first process says."""
        end = time.monotonic() + seconds
        while self.said(host).count("going on after step") < times:
            assert self.may_come(end) or self.said(host).count("going on after step") >= times, self.all_said()
            time.sleep(0.1)

    def ended(self, host, seconds=HANGS):
        """Wait for a launcher, and return its exit code."""
        try:
            return self.started[host].wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{host} has not ended:\n{self.said(host)[-3000:]}") from None

    def no_rank_lives(self, host, seconds):
        """Wait until all processes of the training have ended on a host; its launcher may wait for a store that it cannot reach."""
        end = time.monotonic() + seconds
        while any(b"genzoo" in command_of(pid) for pid in below(self.started[host].pid)):
            assert time.monotonic() < end, self.said(host)[-3000:]
            time.sleep(0.1)

    def wait_for(self, name, step, seconds=HANGS):
        """Wait for a checkpoint of a step or a later one."""
        self.go()
        end = time.monotonic() + seconds
        while self.may_come(end):
            run = self.folder / "runs" / name
            if run.exists() and any(int(p.stem[5:]) >= step for p in (run / "state").glob("step-*.safetensors")):
                return
            time.sleep(0.02)
        raise AssertionError(self.all_said())

    def go(self):
        """Let the launchers that are ready begin, as soon as all are; one that is started later begins at once."""
        end = time.monotonic() + HANGS
        while not all((self.folder / f"ready-{host}").exists() for host in self.started):
            assert self.may_come(end), self.all_said()
            time.sleep(0.01)
        (self.folder / "go").touch()

    def may_come(self, end):
        """Whether it is worth to wait on: some launcher is there, and it is not too late."""
        return time.monotonic() < end and any(launcher.poll() is None for launcher in self.started.values())

    def all_said(self):
        return "\n".join(f"{host}: {self.said(host)[-2000:]}" for host in self.started)

    def end(self):
        """End what has not ended."""
        for host, launcher in self.started.items():
            if launcher.poll() is None:
                self.gone(host)
        self.started.clear()


def command_of(pid):
    """The first words of a process that are not the launcher's."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"" if b"torch.distributed.run" in words else words
    return b""


def below(pid):
    """Process ids of all that a process has started, and of what these have."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *below(child)]
    return found


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the processes of a host are found in /proc"),
]


@pytest.fixture(scope="module")
def spaces():
    """Two network namespaces, joined by a pair of links."""
    if reason := can_part():
        pytest.skip(reason)
    names = {host: f"gz-{os.getpid()}-{host}" for host in "ab"}

    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    try:
        for host in "ab":
            ip("netns", "add", names[host])
        ip("link", "add", "gz-a", "netns", names["a"], "type", "veth", "peer", "name", "gz-b", "netns", names["b"])
        for host, name in names.items():
            ip("-n", name, "addr", "add", f"{ADDRESS[host]}/24", "dev", f"gz-{host}")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", f"gz-{host}", "up")
        yield names
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture
def linked(spaces):
    """The namespaces with their link up."""
    yield spaces
    for host, name in spaces.items():
        subprocess.run(["ip", "-n", name, "link", "set", f"gz-{host}", "up"], check=True)


@pytest.fixture
def hosts(tmp_path, data, linked):
    shutil.copy(data.data, tmp_path / "data.npz")
    started = Launchers(tmp_path, linked)
    yield started
    started.end()


@pytest.fixture
def launchers(tmp_path, data):
    shutil.copy(data.data, tmp_path / "data.npz")
    started = Launchers(tmp_path)
    yield started
    started.end()


def alone(started, batch=12, steps=200):
    """What one process learns that nobody disturbs."""
    command = [sys.executable, "-m", "genzoo", "train", "slow.py", f"data={started.folder / 'data.npz'}", "size=8"]
    command += ["name=alone", f"batch={batch}", f"steps={steps}", "pause=0", *OPTIONS]
    subprocess.run(command, cwd=started.folder, check=True, capture_output=True)
    return open_run(started.folder / "runs" / "alone")


def assert_same_end(started, name, **how):
    """The end is that of one process that nobody disturbed, up to the rounding that another number of processes makes."""
    whole, run = alone(started, **how), open_run(started.folder / "runs" / name)
    (step_a, a, _), (step_b, b, _) = state_of(whole), state_of(run)
    assert step_a == step_b
    assert a.keys() == b.keys()
    for key, value in a.items():
        if value.is_floating_point():
            assert torch.allclose(value, b[key], rtol=0, atol=1e-5), key
        else:
            assert torch.equal(value, b[key]), key
    assert [line["step"] for line in run.log()] == list(range(1, step_a + 1))
    for mine, its in zip(run.log(), whole.log(), strict=True):
        assert mine["loss"] == pytest.approx(its["loss"], abs=1e-5), "it is the mean over all processes"


def resumed(started, name):
    """Go on with a run by hand, on one process."""
    command = [sys.executable, "-m", "genzoo", "resume", f"runs/{name}", "system=slow.py"]
    done = subprocess.run(command, cwd=started.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_host_that_is_gone_leaves_the_other_to_go_on_alone(hosts):
    for host in "ab":
        hosts.train(host, "one-goes")
    hosts.wait_for("one-goes", 20)
    hosts.gone("b")
    assert hosts.ended("a") == 0, hosts.said("a")[-3000:]
    assert len(re.findall(r"going on after step \d+ of 200", hosts.said("a"))) == 1
    assert [line.split(" stops;")[0] for line in hosts.told("a")] == ["genzoo: another process has gone, and process 0"]
    assert_same_end(hosts, "one-goes")


def test_a_link_that_is_down_ends_both_hosts_in_time(hosts):
    for host in "ab":
        hosts.train(host, "cut", "patience=0.1", nodes=2, restarts=0)
    hosts.wait_for("cut", 20)
    subprocess.run(["ip", "-n", hosts.spaces["b"], "link", "set", "gz-b", "down"], check=True)
    begun = time.monotonic()
    hosts.no_rank_lives("a", 60)
    hosts.no_rank_lives("b", 60)
    assert time.monotonic() - begun < 60, "6 s of patience, and the launcher's store is asked in vain who speaks"
    for host, rank in (("a", 0), ("b", 1)):
        told = hosts.told(host)
        assert len(told) == 1, hosts.said(host)[-3000:]
        assert re.match(
            rf"genzoo: another process has (gone|not answered for 0.1 minutes \(patience=\)), and process {rank} stops; "
            "'genzoo resume runs/cut' goes on from the last checkpoint",
            told[0],
        )
    resumed(hosts, "cut")
    assert_same_end(hosts, "cut")


def test_where_the_host_goes_that_has_the_launchers_store_the_other_ends_and_the_run_goes_on_by_hand(hosts):
    for host in "ab":
        hosts.train(host, "first-goes")
    hosts.wait_for("first-goes", 20)
    hosts.gone("a")
    begun = time.monotonic()
    assert hosts.ended("b", 120) != 0
    assert time.monotonic() - begun < 120
    assert hosts.told("b")[0].startswith("genzoo: another process has gone, and process 1 stops; 'genzoo resume ")
    resumed(hosts, "first-goes")
    assert_same_end(hosts, "first-goes")


def test_a_host_that_comes_later_joins_and_goes_again(hosts):
    """The launchers are told not to share their store, without which torch 2.13 loses all where a host comes."""
    hosts.train("a", "joined", steps=400, shared=False)
    hosts.wait_for("joined", 20)
    hosts.train("b", "joined", steps=400, shared=False)
    hosts.going_on("a", 1)
    at = int(re.findall(r"going on after step (\d+) of 400", hosts.said("a"))[0])
    hosts.wait_for("joined", at + 20)
    hosts.gone("b")
    hosts.going_on("a", 2)
    assert hosts.ended("a") == 0, hosts.said("a")[-3000:]
    assert_same_end(hosts, "joined", steps=400)


def test_four_launchers_of_which_two_go(launchers):
    """1:4 on one machine: three are left, and then two, and every number of them shares the batch."""
    for host in "abcd":
        launchers.train(host, "four", nodes="1:4", steps=300)
    launchers.wait_for("four", 20)
    for times, host in enumerate("dc", start=1):
        launchers.gone(host)
        launchers.going_on("a", times)
        at = int(re.findall(r"going on after step (\d+) of 300", launchers.said("a"))[-1])
        launchers.wait_for("four", at + 10)
    assert launchers.ended("a") == 0, launchers.said("a")[-3000:]
    assert launchers.ended("b") == 0, launchers.said("b")[-3000:]
    assert_same_end(launchers, "four", steps=300)


def test_processes_that_cannot_share_the_batch_say_so_once_and_end(launchers):
    """Three are left for a batch of 8: however often the launchers try, it is said once, and the run is there for another number."""
    for host in "abcd":
        launchers.train(host, "shared", nodes="1:4", batch=8)
    launchers.wait_for("shared", 20)
    launchers.gone("d")
    for host in "abc":
        assert launchers.ended(host) != 0
        tries = launchers.said(host).count("failed (exitcode: 2)")
        assert tries <= 4, "the first one, and as many more as the launcher has been told to make"
    told = [line for host in "abc" for line in launchers.told(host) if "another process" not in line]
    assert told == [
        "genzoo: batch=8 cannot be shared by 3 processes; give a multiple of 3, or go on with 1, 2, 4 or 8 processes"
    ]
    resumed(launchers, "shared")
    assert_same_end(launchers, "shared", batch=8)
