"""Ranks of torch.distributed on this machine, which wait for work: started once, they serve every test that needs them."""

import multiprocessing
import pickle
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path

import torch
import torch.distributed as dist

WAIT = 90.0
"""Seconds until a rank that waits for the other one gives up."""


def _rank(rank, world, meeting, pipe):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world, timeout=timedelta(seconds=WAIT)
    )
    while True:
        function, args = pickle.loads(pipe.recv_bytes())
        try:
            answer = True, function(rank, *args)
        except Exception as error:
            answer = False, f"rank {rank}: {type(error).__name__}: {error}"
        pipe.send_bytes(pickle.dumps(answer))  # by value: tensors are not lent between the processes


class Ranks:
    """Processes that run the same function side by side.

    Args:
        folder: Where they meet.
        world: How many.

    Raises:
        AssertionError: One of them failed, or does not answer.
    """

    def __init__(self, folder: Path, world: int = 2) -> None:
        self.world = world
        # One server imports torch, and all ranks are its forks; a fork of the tests' own process could not use autograd.
        self.context, self.folder, self.meetings, self.pipes = multiprocessing.get_context("forkserver"), folder, 0, []
        self.context.set_forkserver_preload(["tests.conftest"])

    def __call__(self, function, *args):
        """Return what `function(rank, *args)` gives on each rank; a function of a test's module."""
        if not self.pipes:
            self._start()
        for pipe in self.pipes:
            pipe.send_bytes(pickle.dumps((function, args)))
        answers = {}
        while len(answers) < len(self.pipes):
            ready = wait([p for p in self.pipes if p not in answers], WAIT)
            answers |= {pipe: pickle.loads(pipe.recv_bytes()) for pipe in ready}
            wrong = [answer for fine, answer in answers.values() if not fine]
            if wrong or not ready:
                self.end()  # the other one may still wait for this one; the next test gets new ones
                raise AssertionError("; ".join(wrong) or f"a rank has not answered for {WAIT:g} s")
        return [answers[pipe][1] for pipe in self.pipes]

    def _start(self):
        self.meetings += 1
        self.processes = []
        for rank in range(self.world):
            mine, theirs = self.context.Pipe()
            args = (rank, self.world, str(self.folder / f"meet-{self.meetings}"), theirs)
            self.processes.append(self.context.Process(target=_rank, args=args, daemon=True))
            self.processes[-1].start()
            theirs.close()  # so that its end is noticed
            self.pipes.append(mine)

    def end(self):
        """Stop all, at once where they are busy."""
        for process in self.processes if self.pipes else ():
            process.kill()
            process.join()
        self.pipes = []
