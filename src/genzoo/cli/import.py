"""Take a model of another program in."""

from __future__ import annotations

from typing import Any

from genzoo.cli.table import Command
from genzoo.foreign.taking import import_run
from genzoo.foreign.upstream import upstreams

COMMAND = Command(
    "a model of another program as a run",
    "FILE [FILE ...] [as=SYSTEM name=NAME shape=3,128,128]",
    place=71,
    open="arguments",
    many="files",
)


def import_(
    files: tuple[str, ...] = (),
    as_: str | None = None,
    name: str | None = None,
    runs: str = "runs",
    upstream: str | None = None,
    new: tuple[str, ...] = (),
    own: dict[str, Any] | None = None,
) -> None:
    """Make a run of a checkpoint that another program has written; without a file, list the programs that are known.

    Nothing that the file holds is executed. What does not fit is listed, and then nothing is written.

    Args:
        files: The checkpoint, or several (a generator's and a discriminator's), or a folder of them; or zoo:NAME, which is fetched
            ('genzoo zoo' lists them).
        as_: The system that it becomes, where its tensors could be of several.
        name: Name of the run; the system's when not given.
        runs: Folder of the runs.
        upstream: The program that wrote it, where several write such files.
        new: Parts that get fresh weights although the model is of no use without them, such as b2a of a cyclegan with one generator.
        own: Settings of the system that its tensors do not tell, such as shape=3,128,128, and files of its parts (a2b=netG_A.pth).
    """
    if not files and not own:
        for u in upstreams().values():
            print(f"{u.name.ljust(22)} {u.line}, as a {u.system}: {u.files}")
        print("\ngenzoo import FILE as=SYSTEM; docs/import.md says what is taken over and what is not.")
        return
    run = import_run(files, as_, runs=runs, name=name, upstream=upstream, new=new, **(own or {}))
    print(f"wrote {run.path}")
