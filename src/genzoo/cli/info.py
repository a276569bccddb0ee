"""Commands that tell: list, show, data, version, help. Those that must answer at once import nothing heavy."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from typing import Any, Literal

from genzoo.cli.table import COMMANDS, EXAMPLES, offered
from genzoo.cli.text import columns, number, paragraph
from genzoo.core import registry
from genzoo.core.errors import UserError, nearest


def help_(command: str = "") -> None:
    """Show what genzoo can do, or the options of one command.

    Args:
        command: A command.
    """
    if not command:
        print("genzoo: generative models, one readable file each, on your own data with one command.\n")
        print("Copy and try:\n" + EXAMPLES + "\n")
        print("Commands:\n" + columns([(c.name, c.line) for c in COMMANDS.values()]))
        print("\nOptions are key=value, in any order (--key value works as well); 'genzoo help COMMAND' lists them.")
        return
    from genzoo.cli import main

    found = main.find(command)
    function = main.load(found)
    print(f"{main.usage(found)}\n{found.line}\n")
    from genzoo.core.schema import table

    if rows := [r for r in table(function) if r[0] != "own"]:
        print("Options:\n" + _settings(rows))
    if found.opens:
        print("  device=cuda uses a GPU, device=auto the best there is; without it networks run on the CPU.")
    if found.own:
        print(f"\nand the options of the system's own {found.own}: 'genzoo show NAME' lists them.")
    if found.open:
        _open_options(found.name)


def list_(family: str = "", json: bool = False) -> None:
    """List the systems, family by family.

    Args:
        family: Only this one.
        json: Print JSON.
    """
    entries = list(registry.entries().values())
    families = list(dict.fromkeys(e.family for e in entries))
    if family and family not in families:
        raise UserError(
            f"there is no family '{family}'{nearest(family, families) or '.'} There are {', '.join(families)}."
        )
    shown = [e for e in entries if family in ("", e.family)]
    if json:
        print(jsonlib.dumps([asdict(e) for e in shown], indent=2))
        return
    indent = max((len(e.name) for e in shown), default=0)
    for f in dict.fromkeys(e.family for e in shown):
        rows = []
        for e in (e for e in shown if e.family == f):
            rows.append((e.name.ljust(indent), e.idea))
            if e.presets:
                rows.append(("", "presets: " + ", ".join(e.presets)))
        print(f"{f}\n{columns(rows)}\n")
    count = len(registry.names())
    print(
        f"{len(entries)} systems, {count - len(entries)} presets. 'genzoo show NAME' explains one, 'genzoo train NAME data=...' trains it."
    )


def show(name: str, json: bool = False) -> None:
    """Show one system.

    Args:
        name: System or preset.
        json: Print JSON.
    """
    from genzoo.core.capabilities import capabilities
    from genzoo.core.schema import capability_of, json_schema, settings, table
    from genzoo.training.settings import FALLBACKS, TrainSettings
    from genzoo.use.common.source import own_options

    entry, preset = registry.find(name)
    cls = registry.system_class(name)
    able = capabilities(cls)
    values = cls.presets[preset] if preset else {}
    starts = {**FALLBACKS, **cls.defaults}
    if json:
        page = {**asdict(entry), "preset": preset, "overrides": values, "capabilities": able}
        page |= {"presets": cls.presets, "settings": json_schema(cls)["properties"]}
        page |= {"training": json_schema(TrainSettings)["properties"], "training_defaults": starts}
        print(jsonlib.dumps(page, indent=2, default=str))
        return
    title = f"{preset} (a preset of {entry.name})" if preset else entry.name
    print(f"{title}, family {entry.family}" + (f", {entry.paper}" if entry.paper else ""))
    print(paragraph(entry.idea) + "\n")
    for part in (cls.__doc__ or "").split("Args:")[0].split("\n\n"):
        if part.strip():
            print(paragraph(part) + "\n")
    print(f"Trains on: {entry.data} data")
    if likelihood := getattr(cls, "likelihood", None):
        print(f"Likelihood: {likelihood}")
    print("\nSettings:\n" + _settings(table(cls), values))
    if cls.presets:
        rows = [(p, " ".join(f"{k}={_word(v)}" for k, v in o.items())) for p, o in cls.presets.items()]
        print("\nPresets (names to train by):\n" + columns(rows))
    rows = [(n, _word(starts[n]) if starts.get(n) is not None else d, a, t) for n, d, a, t in table(TrainSettings)]
    print("\nTraining:\n" + _settings(rows) + "\n  and the keys of the data: 'genzoo help data' lists them.")
    uses = []
    for c in offered(able, entry.directions):
        more = own_options(cls, c.own) if c.own else []
        uses.append((c.call("RUN"), c.line + (f"; its own options: {', '.join(more)}" if more else "")))
    # what a system cannot be built without stands in its tiny arguments as well
    inner = "".join(f" {k}=RUN" for k, s in settings(cls).items() if capability_of(s.annotation) and k in cls.tiny)
    print(f"\nTry:\n  genzoo train {name} data={_example(entry.data)}{inner}")
    if uses:
        print("then:\n" + columns(uses))
    options = [
        r for c in COMMANDS.values() if c.own and set(c.needs) <= set(able) for r in _own_rows(cls, c.own, settings)
    ]
    if options:
        print("\nOwn options of these commands:\n" + _settings(options))


def data(
    action: str = "",
    spec: str = "",
    other: str = "",
    kind: Literal[
        "", "image", "labelled", "captioned", "paired", "unpaired", "points", "exemplar", "audio", "video", "voxels"
    ] = "",
    out: str = "",
    overwrite: bool = False,
    json: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """List the data sets that are known, or show what is in one.

    Args:
        action: list or show; a data set alone is shown.
        spec: What `data=` takes: a name, a folder, an archive, an array file.
        other: Side B, where `spec` is side A of pairs or of unpaired data; the same as spec=A,B.
        kind: How it is read, as systems say what they train on; what it looks like when not given.
        out: File of the contact sheet; NAME.png in the working folder when not given.
        overwrite: Replace the file if it is there.
        json: Print JSON.
        own: Settings of the data: size, channels, resize ...
    """
    from genzoo.data.sources.names import FORMS, available

    own = dict(own or {})
    if action not in ("", "list", "show"):
        action, spec, other = "show", action, spec or other
    spec = spec or own.pop("data", "")
    if action != "show" and not spec:
        if json:
            print(jsonlib.dumps({"sets": available(), "forms": FORMS}, indent=2))
            return
        print("Known by name:\n" + columns(available().items()))
        print("\ndata= also takes:\n" + columns(FORMS.items()))
        print("\n'genzoo data show NAME' tells what is in one, and draws a page of it.")
        return
    if not spec:
        raise UserError("data show: DATA is missing. Usage: genzoo data show DATA [size=64 ...]")
    from genzoo.cli.showing import show_data

    spec = f"{spec},{other}" if other else spec
    show_data(spec, own, kind=kind, out=out, overwrite=overwrite, json=json)


def version(json: bool = False) -> None:
    """Print the versions of genzoo and of what it stands on.

    Args:
        json: Print JSON.
    """
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    from genzoo import __version__

    found = {"genzoo": __version__}
    for package in ("torch", "numpy", "pillow", "safetensors", "pydantic", "rich"):
        try:
            found[package] = of(package)
        except PackageNotFoundError:
            found[package] = "missing"
    found["python"] = platform.python_version()
    print(jsonlib.dumps(found, indent=2) if json else "\n".join(f"{k} {v}" for k, v in found.items()))


def _settings(rows: list[tuple[str, str, str, str]], values: dict[str, Any] | None = None) -> str:
    changed = values or {}
    laid = [(n, _word(changed[n]) if n in changed else d or "(empty)", f"{t} [{a}]" if a else t) for n, d, a, t in rows]
    return columns(laid, caps=(24, 20))


def _own_rows(cls: type, method: str, settings: Any) -> list[tuple[str, str, str, str]]:
    from genzoo.use.common.source import own_options

    known = settings(getattr(cls, method))
    return [
        (f"{method} {n}", "required" if known[n].required else _word(known[n].default), known[n].allowed, known[n].doc)
        for n in own_options(cls, method)
    ]


def _open_options(command: str) -> None:
    from genzoo.core.schema import table
    from genzoo.data.settings import DataSettings

    print("\nData:\n" + _settings(table(DataSettings)))
    if command == "train":
        from genzoo.training.settings import TrainSettings

        print("\nTraining:\n" + _settings(table(TrainSettings)))
        print("\nand the settings of the system: 'genzoo show NAME' lists them.")


def _word(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(str(v) for v in value)
    return (
        str(value).lower()
        if isinstance(value, bool) or value is None
        else number(value)
        if not isinstance(value, float)
        else f"{value:g}"
    )


def _example(kind: str) -> str:
    return {
        "unpaired": "FOLDER_WITH_trainA_AND_trainB",
        "paired": "FOLDER_WITH_A_AND_B",
        "exemplar": "texture.png",
        "captioned": "shapes",
        "audio": "FOLDER_OF_SOUNDS",
        "video": "moving-digits",
        "voxels": "FOLDER_OF_SHAPES",
    }.get(kind, "digits")
