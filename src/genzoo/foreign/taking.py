"""Take the checkpoints of another program in, as a run."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError, nearest
from genzoo.core.files import write_atomic
from genzoo.core.schema import check
from genzoo.core.system import System
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece, read_pieces
from genzoo.foreign.upstream import Upstream, upstreams
from genzoo.foreign.zoo import PREFIX, model
from genzoo.metrics.features.fetch import fetch
from genzoo.naming import registry
from genzoo.runs.config import write_config
from genzoo.runs.folder import Run, check_name, new_run, now, write_model
from genzoo.saved import checkpoint
from genzoo.saved.loading import fill, in_words, plain
from genzoo.saved.zoo import folders

SHOWN = 12
"""Tensors that a message lists before it counts the rest."""


def import_run(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    system: str | None = None,
    *,
    runs: str | Path = "runs",
    name: str | None = None,
    upstream: str | None = None,
    new: Sequence[str] = (),
    quiet: bool = False,
    **arguments: Any,
) -> Run:
    """Make a run of a checkpoint that another program has written. Nothing that the file holds is executed.

    Args:
        files: The checkpoint, or several, or a folder of them; or a trained model by its name, "zoo:faces", which is fetched. One of the
            package genzoo-zoo is copied.
        system: The system that it becomes; where only one can be meant it need not be said.
        runs: Folder of the runs.
        name: Name of the run; the system's when not given.
        upstream: The program that wrote it, where several write such files (`genzoo import` alone lists them).
        new: Parts that are put in with fresh weights although the model is of no use without them.
        quiet: Print nothing.
        arguments: Settings of the system that its tensors do not tell, such as shape=3,128,128; or a file for one of its parts, such
            as a2b="netG_A.pth".

    Returns:
        The run.

    Raises:
        UserError: The file cannot be read, is of no program that is known, or does not fit: all that does not fit is listed, and
            nothing is written.
    """
    listed = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    animal, call = None, ""
    if len(listed) == 1 and isinstance(listed[0], str) and listed[0].startswith(PREFIX):
        call = listed[0].removeprefix(PREFIX)
        if call in folders():
            if system or upstream or new or arguments:
                raise UserError(
                    f"import: {listed[0]} is a whole model of genzoo's own; only name= and runs= may stand beside it"
                )
            return _copy(folders()[call], call, runs, name, quiet)
        animal = model(listed[0])
        listed, arguments, upstream = (
            [fetch(animal.published, quiet=quiet)],
            {**animal.settings, **arguments},
            animal.upstream,
        )
        new = (*new, *animal.new)
    wanted = [u for u in upstreams().values() if _asked(u, system, upstream)]
    if not wanted:
        raise UserError(_unknown(system, upstream))
    parts = {p for u in wanted for p in (*u.needs, *u.learns)}
    given = [("", Path(f)) for f in listed] + [(k, Path(str(v))) for k, v in arguments.items() if k in parts]
    arguments = {k: v for k, v in arguments.items() if k not in parts}
    if not given:
        raise UserError(
            "import: no file is given; give the checkpoint of another program: genzoo import FILE as=SYSTEM"
        )
    check_name(runs, name)
    pieces = read_pieces(given)
    chosen, own = _choose(wanted, pieces)
    derived, accounts = chosen.take(own, arguments)
    cls = registry.system_class(chosen.system)
    # An argument that came after a table was written has in it the value that keeps what was there before.
    settings = check(cls, {**cls.formerly, **derived, **arguments}, label=chosen.system)
    made, fresh = _filled(cls, settings, chosen, accounts, tuple(new))
    meta = _meta(made, chosen, [f for _, f in given], accounts, fresh)
    if animal:
        meta["class_names"] = list(animal.class_names)
        meta["imported"] |= {
            "package": f"{animal.published.package} {animal.published.version}",
            "licence_of_weights": animal.licence,
            "trained_on": animal.data,
        }
    run = new_run(runs, name, call or chosen.system)
    write_config(run, meta, system=cls)
    write_model(run, made.state_dict(), meta)
    write_atomic(run.path / "README.md", _card(run, meta).encode())
    if not quiet:
        _tell(run, chosen, meta, pieces, own)
    return run


def _copy(folder: Path, call: str, runs: str | Path, name: str | None, quiet: bool) -> Run:
    """Make a run of a model of the package genzoo-zoo: its weights as float32, its card and what was measured."""
    check_name(runs, name)
    tensors, meta = checkpoint.read(folder / "model.safetensors")
    meta = {k: v for k, v in meta.items() if k not in ("stored", "wide", "moved")}
    run = new_run(runs, name, call)
    write_config(run, meta, system=registry.described(meta["system"], {}))
    write_model(run, tensors, meta)
    for file in [folder / "README.md", folder / "metrics.json"]:
        if file.exists():
            write_atomic(run.path / file.name, file.read_bytes())
    if not quiet:
        print(f"{run.path}: a copy of {PREFIX}{call}, which stands wherever a run is taken by itself", file=sys.stderr)
    return run


def _asked(upstream: Upstream, system: str | None, name: str | None) -> bool:
    if name is not None:
        return upstream.name == name
    return system is None or upstream.system == registry.find(system)[0].name


def _unknown(system: str | None, upstream: str | None) -> str:
    every = upstreams()
    if upstream is not None:
        return f"there is no program '{upstream}'{nearest(upstream, every) or '.'} There are {', '.join(every)}."
    systems = sorted({u.system for u in every.values()})
    return f"checkpoints of no other program become a {system}; there are some for {', '.join(systems)}"


def _choose(wanted: Sequence[Upstream], pieces: Sequence[Piece]) -> tuple[Upstream, list[Piece]]:
    """Find the one program that knows most of the pieces, and those."""
    known = {u.name: own for u in wanted if (own := [p for p in pieces if u.knows(p)])}
    most = max(map(len, known.values()), default=0)
    known = {name: own for name, own in known.items() if len(own) == most}
    by_name = {u.name: u for u in wanted}
    if len(known) == 1:
        ((name, own),) = known.items()
        return by_name[name], own
    if known:
        told = "; ".join(f"as={by_name[n].system} upstream={n}: {by_name[n].line}" for n in known)
        raise UserError(f"several programs write such files; say which: {told}")
    shown = next(iter(pieces))
    tensors = ", ".join(f"{k} {_form(v)}" for k, v in list(shown.state.items())[:4])
    programs = ", ".join(f"{u.name} ({u.system})" for u in wanted)
    raise UserError(
        f"{shown} holds {len(shown.state):,} tensors ({tensors} ...) and is of none of these programs: {programs}; "
        "docs/import.md says how a table for another one is written"
    )


def _filled(
    cls: type[System], settings: Mapping[str, Any], chosen: Upstream, accounts: Sequence[Keys], new: tuple[str, ...]
) -> tuple[System, list[str]]:
    """Build the system with the tensors in it; return it with the parts whose weights are fresh."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        system = cls(**settings)
    system.name = chosen.system
    expected = system.state_dict()
    found: dict[str, Tensor] = {}
    came: dict[str, str] = {}
    lacking = {name for keys in accounts for name in keys.lacking}
    trouble: list[str] = []
    for keys in accounts:
        trouble += [f"{keys.piece} lacks {name}" for name in keys.lacking.values()]
        trouble += [f"{keys.piece} has more: {name} {_form(t)}" for name, t in keys.left.items()]
        found |= keys.found
        came |= keys.came
    there = {name.split(".")[0] for name in [*found, *lacking]}
    parts = (*chosen.needs, *chosen.learns)
    if odd := [n for n in new if n not in chosen.needs]:
        raise UserError(
            f"new={odd[0]} is no part of a {chosen.system} that lacks something; its parts are {', '.join(parts)}"
        )
    absent = [p for p in parts if p not in there and any(k.split(".")[0] == p for k in expected)]
    if needed := [p for p in absent if p in chosen.needs and p not in new]:
        files = ", ".join(dict.fromkeys(str(k.piece) for k in accounts))
        raise UserError(
            f"{files}: there is no {' and no '.join(needed)} among the files, without which a {chosen.system} is of no use "
            f"({chosen.line} writes {chosen.files}); give its file ({needed[0]}=FILE), or new={','.join(needed)} for fresh weights "
            "that have learned nothing"
        )
    for name, t in expected.items():
        if name not in found:
            if name.split(".")[0] not in absent and name not in lacking:
                trouble.append(f"nothing becomes {name} {_form(t)}")
        elif found[name].shape != t.shape:
            trouble.append(f"{came[name]} becomes {name}: {_form(found[name])}, not {_form(t)}")
    trouble += [
        f"{came[name]} becomes {name}, which this system does not have" for name in found if name not in expected
    ]
    if trouble:
        told = ", ".join(
            f"{k}={in_words(v)}" for k, v in settings.items() if k in ("shape", "width", "latent", "classes")
        )
        raise UserError(
            f"this is no {chosen.system} ({told}) of {chosen.line}; nothing was written:\n  " + "\n  ".join(trouble[:SHOWN])
            + (f"\n  and {len(trouble) - SHOWN:,} more" if len(trouble) > SHOWN else "")
        )  # fmt: skip
    fill(
        system,
        {n: found[n].to(t.dtype) if n in found else t for n, t in expected.items()},
        f"the files of a {chosen.system}",
    )
    return system.eval(), absent


def _form(t: Tensor) -> str:
    return "x".join(map(str, t.shape)) or "scalar"


def _meta(
    system: System, chosen: Upstream, files: Sequence[Path], accounts: Sequence[Keys], fresh: Sequence[str]
) -> dict[str, Any]:
    """Describe an imported model as a checkpoint does."""
    without: dict[str, int] = {}
    for why in (w for keys in accounts for w in keys.without.values()):
        without[why] = without.get(why, 0) + 1
    inside = [p for f in files for p in ([f] if f.expanduser().is_file() else sorted(f.expanduser().iterdir()))]
    return {
        "name": chosen.system,
        "system": chosen.system,
        "version": version("genzoo"),
        "torch": torch.__version__,
        "hparams": plain(system.hparams),
        "data": {},
        "imported": {
            "upstream": chosen.name,
            "program": chosen.line,
            "address": chosen.address,
            "licence": chosen.licence,
            "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in inside if p.is_file()},
            "pieces": [str(k.piece) for k in accounts],
            "new": list(fresh),
            "left_out": without,
            "notes": chosen.notes,
        },
    }


def _card(run: Run, meta: Mapping[str, Any]) -> str:
    said = meta["imported"]
    rows = "\n".join(f"| {k} | {in_words(v)} |" for k, v in meta["hparams"].items())
    files = "\n".join(f"* `{name}`, SHA-256 {digest}" for name, digest in said["files"].items())
    fresh = f"\nFresh weights, which have learned nothing: {', '.join(said['new'])}.\n" if said["new"] else ""
    left = "".join(f"\n* left out: {n} tensors: {why}" for why, n in said["left_out"].items())
    return f"""---
library_name: genzoo
tags: [genzoo, {meta["name"]}]
---
# {run.name}: {meta["name"]}, imported

Trained by another program, {said["program"]} ({said["address"]}, {said["licence"]}), and imported by genzoo {meta["version"]} on {now()}.
{_terms(said)}
{fresh}
{files}
{left}

{said["notes"]}

| setting | value |
|---|---|
{rows}
"""


def _terms(said: Mapping[str, Any]) -> str:
    if "package" not in said:
        return "What the weights may be used for, and what they were trained on, is said where they are published."
    return f"The weights are from the package {said['package']} ({said['licence_of_weights']}). They were trained on {said['trained_on']}."


def _tell(run: Run, chosen: Upstream, meta: Mapping[str, Any], pieces: Sequence[Piece], own: Sequence[Piece]) -> None:
    """Say what was taken, what was left, and what is new."""
    said = meta["imported"]
    print(f"{', '.join(said['pieces'])}: {chosen.line}, as a {chosen.system}", file=sys.stderr)
    for why, n in said["left_out"].items():
        print(f"  left out: {n} tensors: {why}", file=sys.stderr)
    taken = {id(p) for p in own}
    if others := [str(p) for p in pieces if id(p) not in taken]:
        print(f"  not looked at: {', '.join(others[:6])}{' ...' if len(others) > 6 else ''}", file=sys.stderr)
    if said["new"]:
        print(
            f"  new: {', '.join(said['new'])}: no weights in the files, fresh ones that have learned nothing",
            file=sys.stderr,
        )
    if "package" in said:
        print(f"  licence: {said['licence_of_weights']}; trained on {said['trained_on']}", file=sys.stderr)
    if said["notes"]:
        print(f"  note: {said['notes']}", file=sys.stderr)
