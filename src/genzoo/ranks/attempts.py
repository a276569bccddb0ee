"""What outlives the processes of a training that a launcher starts again: which attempt this is, the run that they began, and what was said.

torchrun counts restarts on every host for itself, and not those for a host that comes or goes: so an attempt is named by the processes themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

_NAMED: list[str] = []
_NOTED: list[str] = []


def kept_store(*, quickly: bool = False) -> Any:
    """Return what the launcher keeps for its processes, also over a restart of all of them; None where there is no launcher that does.

    Args:
        quickly: Where it cannot be reached, fail at once (OSError); torch tries again and again, and warns each time.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if quickly:
        socket.create_connection((host, port), 3).close()
    store = TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=10))
    return PrefixStore(f"genzoo/{os.environ.get('TORCHELASTIC_RUN_ID')}", store)


def attempt(store: Any, rank: int, world: int, timeout: timedelta) -> str:
    """Agree with the other processes that are there now on a name that no attempt has had.

    The first one makes it, and the others ask for it, since what they would find in the store may be of one that is over.

    Args:
        store: What the launcher keeps.
        rank: This process.
        world: How many there are.
        timeout: How long one waits for the others.

    Raises:
        RuntimeError: Another one has not come in time.
    """
    store.set_timeout(timeout)
    if rank:
        mine = uuid4().hex
        store.set(f"asks/{rank}", mine)
        name = str(store.get(f"told/{mine}").decode())
        store.set(f"heard/{name}/{rank}", "")
    else:
        name, late = str(store.add("attempts", 1)), time.monotonic() + timeout.total_seconds()
        missing = set(range(1, world))
        while missing := {r for r in missing if not store.check([f"heard/{name}/{r}"])}:
            for r in missing:
                if store.check([f"asks/{r}"]):
                    store.set(f"told/{store.get(f'asks/{r}').decode()}", name)
            if time.monotonic() > late:
                raise RuntimeError(f"gloo: timed out: {len(missing)} of {world} processes have not come")
            time.sleep(0.02)
    _NAMED[:] = [name]
    return name


def speaks(message: str, code: int) -> bool:
    """Return True on the one process that says what all of them have to say: the first one that asks.

    Args:
        message: What is to be said. A mistake that was said before in this launch is not said again, however often it is tried.
        code: The exit code that goes with it: 2 is such a mistake.
    """
    with contextlib.suppress(RuntimeError, KeyError, OSError):  # the launcher has gone: better twice than never
        store = kept_store(quickly=True)
        if store is None and dist.is_initialized():
            store = dist.distributed_c10d._get_default_store()
        if store is not None:
            now = _NAMED[0] if _NAMED else f"early {os.environ.get('TORCHELASTIC_RESTART_COUNT')}"
            if store.add(f"spoken/{now}", 1) > 1:
                return False
            # By the one that speaks alone: where all counted, each could take it for said by another.
            return code != 2 or store.add(f"said/{zlib.crc32(message.encode())}", 1) == 1
    return True


# ---- the run that was begun ------------------------------------------------------------------------------------------------------------


def _note() -> Path | None:
    """Name a file for this launch: the launcher has a folder of its own on each host, for errors of its processes."""
    told = os.environ.get("TORCHELASTIC_ERROR_FILE")
    return Path(told).parents[2] / "genzoo.json" if told and len(Path(told).parents) > 3 else None


def note_run(path: str) -> None:
    """Tell the processes of a later attempt of this launch which run they are in."""
    _NOTED[:] = [path]
    note = _note()
    if note is not None and os.environ.get("LOCAL_RANK", "0") == "0":
        part = note.with_suffix(".part")
        part.write_text(json.dumps({"words": sys.argv, "run": path}))
        part.replace(note)


def noted_run() -> str | None:
    """Return the run that an earlier attempt of this launch has begun, on any of its hosts; None where there is none."""
    mine: str | None = None
    note = None if _NOTED else _note()
    if note is not None:
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(note.read_text())
            mine = told["run"] if told["words"] == sys.argv else None
    every: list[Any] = [mine]
    if dist.is_initialized():
        every = [None] * dist.get_world_size()
        dist.all_gather_object(every, mine)
    return next(filter(None, every), None)
