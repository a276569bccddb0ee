"""Proofs: what each system reaches on real data, measured, pictured and written to docs/results.

GENZOO_DATA=... python -m proofs                    which proofs there are, and which have been run
GENZOO_DATA=... python -m proofs NAME ...           run some
GENZOO_DATA=... python -m proofs --family density   run a family
GENZOO_DATA=... python -m proofs --all              run everything
GENZOO_DATA=... python -m proofs NAME --resume      go on with a proof that was stopped
python -m proofs --pages                            write the pages again from the records
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

import proofs
from proofs.acceptance import seen
from proofs.proof import REGISTRY, RESULTS, WORK, Entry, Proof
from proofs.recipes import recipes
from proofs.result_pages import write_pages


def collect() -> dict[str, Entry]:
    """Import every file of this folder and return the proofs, family by family."""
    for module in pkgutil.iter_modules(proofs.__path__):
        if module.name != "__main__":
            importlib.import_module(f"proofs.{module.name}")
    return dict(sorted(REGISTRY.items(), key=lambda item: (item[1].family, item[0])))


def run_proof(entry: Entry, results: Path = RESULTS, work: Path = WORK, *, resume: bool = False) -> Path:
    """Run one proof and write its record. A proof that raises leaves the record as it was."""
    p = Proof(entry, results, work, resume=resume)
    entry.run(p)
    return p.finish()


def pages(entries: dict[str, Entry]) -> None:
    """Write the pages of results and the recipes from the records."""
    from genzoo.core.files import write_atomic

    write_pages(RESULTS, entries)
    records = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted((RESULTS / "records").glob("*.json"))}
    write_atomic(RESULTS.parent / "recipes.md", recipes(records, seen()).encode())


def main(argv: list[str] | None = None) -> int:
    """Answer the command line; returns the exit code."""
    from genzoo.core.errors import UserError, nearest

    parser = argparse.ArgumentParser(
        prog="python -m proofs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true", help="run every proof")
    parser.add_argument("--family", help="run the proofs of a family")
    parser.add_argument("--pages", action="store_true", help="write the pages again from the records")
    parser.add_argument("--resume", action="store_true", help="go on with the runs of a proof that was stopped")
    given = parser.parse_args(argv)
    entries = collect()
    unknown = [n for n in given.names if n not in entries]
    if unknown:
        print(
            f"there is no proof '{unknown[0]}'{nearest(unknown[0], entries)} Proofs: {', '.join(entries)}.",
            file=sys.stderr,
        )
        return 2
    if given.family and given.family not in {e.family for e in entries.values()}:
        families = sorted({e.family for e in entries.values()})
        print(
            f"there is no family '{given.family}'{nearest(given.family, families)} Families: {', '.join(families)}.",
            file=sys.stderr,
        )
        return 2
    chosen = [e for e in entries.values() if given.all or e.name in given.names or e.family == given.family]
    if given.pages:
        pages(entries)
    if not chosen:
        for e in entries.values():
            path = RESULTS / "records" / f"{e.name}.json"
            state = f"run {json.loads(path.read_text())['date']}" if path.exists() else "not run"
            print(f"{e.family:15} {e.name:24} {state:15} about {e.minutes:g} min   {e.claim}")
        return 0
    if not os.environ.get("GENZOO_DATA") or not Path(os.environ["GENZOO_DATA"]).is_dir():
        print(
            "proofs are run on real data: set GENZOO_DATA to the folder that holds mnist/, fashion-mnist/, cifar10/, textures/ ... "
            f"(now: {os.environ.get('GENZOO_DATA') or 'not set'})",
            file=sys.stderr,
        )
        return 2
    failed = 0
    for entry in chosen:
        try:
            run_proof(entry, resume=given.resume)
        except UserError as error:
            print(f"[{entry.name}] refused: {error}", file=sys.stderr)
            failed += 1
        pages(entries)
    return 2 if failed else 0
