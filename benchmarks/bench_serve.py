"""Throughput of `genzoo serve` on dcgan: 16 clients whose waiting requests are joined, beside the same with joining off, and beside one client.

Servers in processes of their own; the clients are connections that one thread of this process keeps busy, each with one request at a time, which
costs the machine next to nothing (that is printed, too). Every request is one sample as PNG, each with another seed. Printed: requests in a second,
median and 95th percentile of the wait, how many requests went together, what a request costs the server in CPU time, which tells most where the
machine does other work as well, and what of that is the network. The order alternates, so that what else the machine does hits all.

The network is the paper's (3x64x64, preset dcgan-paper) where nothing is said; dcgan as it comes is `--size 32 --width 64 --kernel 4`.
"""

from __future__ import annotations

import argparse
import re
import selectors
import socket
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import genzoo
from genzoo.runs.folder import Run, write_model
from genzoo.saved.loading import describe
from genzoo.server.verbs.sample import draw
from tests.serving import Started

LENGTH = re.compile(rb"^content-length: (\d+)", re.IGNORECASE | re.MULTILINE)


@dataclass
class Client:
    """A connection, with one request after the other."""

    seed: int
    asked: float = 0.0
    got: bytearray = field(default_factory=bytearray)

    def ask(self, connection: socket.socket) -> None:
        """Send the next request."""
        body = b'{"n": 1, "seed": %d}' % self.seed
        head = (
            b"POST /sample HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        self.seed, self.asked = self.seed + 1, time.perf_counter()
        self.got.clear()
        connection.sendall(head % len(body) + body)

    def answered(self, connection: socket.socket) -> bool:
        """Read on; True when the answer is whole."""
        part = connection.recv(1 << 18)
        assert part, "the server has closed a connection"
        self.got += part
        head, there, body = bytes(self.got).partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not there or not length or len(body) < int(length[1]):
            return False
        assert head.startswith(b"HTTP/1.1 200"), bytes(self.got)
        assert body.startswith(b"\x89PNG")
        return True


@dataclass
class Case:
    """A server, how many ask it at once, and what was seen."""

    server: Started
    clients: int
    rates: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def round(self, seconds: float) -> float:
        """Let the clients ask for some seconds; returns the CPU time that they took themselves."""
        before, spent = self.counted("process_cpu_seconds_total"), time.process_time()
        with selectors.DefaultSelector() as selector:
            for i in range(self.clients):
                connection = socket.create_connection(("127.0.0.1", self.server.port))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client = Client(i * 1_000_000)
                selector.register(connection, selectors.EVENT_READ, client)
                client.ask(connection)
            begun, done = time.perf_counter(), 0
            while selector.get_map():
                for key, _ in selector.select():
                    connection, client = key.fileobj, key.data
                    assert isinstance(connection, socket.socket)
                    if not client.answered(connection):
                        continue
                    now = time.perf_counter()
                    self.waits.append(now - client.asked)
                    done += 1
                    if now < begun + seconds:
                        client.ask(connection)
                    else:
                        selector.unregister(connection)
                        connection.close()
            self.rates.append(done / (time.perf_counter() - begun))
        spent = time.process_time() - spent
        self.cpu += self.counted("process_cpu_seconds_total") - before
        return spent

    def counted(self, name: str) -> float:
        """Read a counter of its metrics."""
        _, text = self.server.ask("GET", "/metrics")
        found = re.search(rf"^{name} (\S+)", text.decode(), re.MULTILINE)
        assert found
        return float(found[1])

    @property
    def together(self) -> float:
        """Mean number of requests that went together so far."""
        return self.counted("genzoo_joined_requests_sum") / self.counted("genzoo_joined_requests_count")

    @property
    def cost(self) -> float:
        """Milliseconds of CPU time that a request took the server."""
        return 1000 * self.cpu / len(self.waits)

    @property
    def rate(self) -> float:
        """Requests in a second: the median of the rounds."""
        return statistics.median(self.rates)


def model(folder: Path, words: dict[str, Any], size: int) -> Path:
    """Write an untrained dcgan, which costs what a trained one does."""
    torch.manual_seed(0)
    system = genzoo.create("dcgan", shape=(3, size, size), **words)
    run = Run(folder / "dcgan")
    write_model(run, system.state_dict(), describe(system))
    return run.path


def bare(run: Path, device: str, *sizes: int) -> list[float]:
    """Milliseconds of CPU time that the network alone takes for each sample of some that are drawn together: medians of twenty rounds in turn."""
    system = genzoo.load(run, device=device)
    took: list[list[float]] = [[] for _ in sizes]
    for i in range(25):
        for n, times in zip(sizes, took, strict=True):
            begun = time.process_time()
            draw(system, [[(i, j)] for j in range(n)], {})
            times.append(time.process_time() - begun)
    return [1000 * statistics.median(t[5:]) / n for n, t in zip(sizes, took, strict=True)]


def main() -> int:
    """Print the table; 1 where joining gives less than three times the throughput."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--kernel", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # as the servers have
    ways = {
        f"{asked.clients} clients, joined": (asked.clients, ()),
        f"{asked.clients} clients, one by one": (asked.clients, ("together=1",)),
        "1 client": (1, ()),
    }
    cases: dict[str, Case] = {}
    spent, ready = 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        run = model(Path(folder), {"width": asked.width, "kernel": asked.kernel}, asked.size)
        try:
            for name, (clients, words) in ways.items():
                begun = time.perf_counter()
                cases[name] = Case(Started(str(run), f"device={asked.device}", "waiting=256", *words), clients)
                ready.append(time.perf_counter() - begun)
            for case in cases.values():
                case.round(1.0)  # the first requests pay for what is made once
                case.rates, case.waits, case.cpu = [], [], 0.0
            for _ in range(asked.rounds):
                for case in cases.values():
                    spent += case.round(asked.seconds)
            together = [case.together for case in cases.values()]
        finally:
            for case in cases.values():
                case.server.end()
        sizes = sorted({1, max(1, round(together[0])), asked.clients})
        alone = bare(run, asked.device, *sizes)
    print(
        f"dcgan 3x{asked.size}x{asked.size}, width {asked.width}, kernel {asked.kernel}, {asked.device}, "
        f"{torch.get_num_threads()} thread(s), torch {torch.__version__}"
    )
    for (name, case), gathered in zip(cases.items(), together, strict=True):
        took = sorted(case.waits)
        print(
            f"{name:26} {case.rate:8.1f} requests/s   wait {1000 * statistics.median(took):7.1f} ms, "
            f"95 % below {1000 * took[int(0.95 * len(took))]:7.1f} ms   {gathered:5.1f} together   {case.cost:6.2f} CPU-ms each"
        )
    joined, single, one = cases.values()
    requests = sum(len(case.waits) for case in cases.values())
    print(
        f"joined to one by one: {joined.rate / single.rate:.2f}x, in CPU time {single.cost / joined.cost:.2f}x; "
        f"joined to one client: {joined.rate / one.rate:.2f}x"
    )
    network = ", ".join(f"{ms:.2f} ms each of {n}" for n, ms in zip(sizes, alone, strict=True))
    print(f"the network alone, in CPU time: {network}; a client: {1000 * spent / requests:.2f} ms a request")
    print(f"ready after {statistics.median(ready):.1f} s (three servers were started one after the other)")
    return int(joined.rate < 3 * single.rate)


if __name__ == "__main__":
    raise SystemExit(main())
