"""Commands, found in the files that declare them. Nothing of them is imported, so that help and completion cost nothing.

A command is one file, here or in an installed package that names it under the entry points `genzoo.commands`: it declares
`COMMAND = Command("what it does", "WHAT MAY FOLLOW")` with literals only, and has a function of the command's name (with an underscore
behind it where Python has that name already), whose signature and `Args:` are the options.
"""

from __future__ import annotations

import functools
import importlib
import os
from types import CodeType

import genzoo.cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

GROUP = "genzoo.commands"
"""Entry points by which an installed package adds commands: `wave = "my_package.wave"`."""


class Command:  # neither a dataclass nor a named tuple: help would wait for the modules that they import
    """What is known of a word after `genzoo` before its file is imported.

    Args:
        line: What it does, in one line.
        usage: What may follow, most used first.
        place: Where it stands among the others, small first; those of one place by name.
        needs: Capabilities that a system must have.
        direction: The one map of a system that restores which this command is for.
        own: Method of the system whose further arguments are options as well.
        open: Which keys beyond the signature are passed on: those of the "data"; of data, training and "system"; the system's "arguments"; none.
        device: True where it uses a run's networks, though it needs no one capability.
        exact: True where what it gives has to be the same everywhere, so that precision= is refused.
        waits: True where it may take minutes and shows nothing of its own.
        light: True where it has to answer at once: its options are words and switches, and are checked without pydantic.
        measures: True where its help lists the measures.
        many: Option that takes all the words from its place on: images that a shell has written out.
        name: The word: the name of its file. Left to who reads the file.
        module: Import path of its file. Left to who reads the file.
    """

    def __init__(
        self,
        line: str,
        usage: str = "",
        *,
        place: int = 80,
        needs: tuple[str, ...] = (),
        direction: str = "",
        own: str = "",
        open: str = "",
        device: bool = False,
        exact: bool = False,
        waits: bool = False,
        light: bool = False,
        measures: bool = False,
        many: str = "",
        name: str = "",
        module: str = "",
    ) -> None:
        self.line, self.usage, self.place = line, usage, place
        self.needs, self.direction, self.own, self.open = needs, direction, own, open
        self.device, self.exact, self.waits, self.light, self.measures = device, exact, waits, light, measures
        self.many, self.name, self.module = many, name, module

    @property
    def opens(self) -> bool:
        """True where a run's networks are used: device= says on which device, and precision= in which arithmetic."""
        return bool(self.needs or self.direction or self.device)

    def call(self, run: str) -> str:
        """Write what has to be typed to use the command on a run, without what may be left out."""
        needed = self.usage.removeprefix("RUN").split("[")[0].replace("...", "")
        return f"genzoo {self.name} {run} {needed.strip()}".rstrip()

    def load(self) -> Callable[..., None]:
        """Import its function."""
        module, name = importlib.import_module(self.module), self.name.replace("-", "_")
        found: Callable[..., None] = getattr(module, name, None) or getattr(module, f"{name}_")
        return found


def commands() -> dict[str, Command]:
    """Every command by its name, in the order of the help page."""
    from genzoo.naming.installed import installed_files

    theirs = {name: (str(path), module) for name, (path, module) in installed_files(GROUP).items()}
    files = {stem.replace("_", "-"): (path, f"genzoo.cli.{stem}") for stem, path in _files()}
    found = [_read(path, name, module) for name, (path, module) in (theirs | files).items()]
    return {c.name: c for c in sorted((c for c in found if c), key=lambda c: (c.place, c.name))}


def command(word: str) -> Command | None:
    """One command, without reading the files of the others; None where there is none of that name."""
    stem = word.replace("-", "_")
    for path in (os.path.join(folder, f"{stem}.py") for folder in genzoo.cli.__path__ if stem.isidentifier()):
        if os.path.isfile(path) and (found := _read(path, word, f"genzoo.cli.{stem}")):
            return found
    return commands().get(word)


def offered(able: Collection[str], directions: Collection[str] = ()) -> list[Command]:
    """List the commands for a system with these capabilities and maps; where a map has a command of its own, that one and not the general one."""
    every = commands().values()
    own = {c.direction for c in every if c.direction in directions} if "restores" in able else set()
    found = []
    for c in every:
        general = "translates" in c.needs and set(directions) <= own
        if c.direction in own or (c.needs and set(c.needs) <= set(able) and not general):
            found.append(c)
    return found


def _files() -> list[tuple[str, str]]:
    """Names and paths of the files beside this one, and in the folders that were added to the package's path."""
    found = [(folder, name) for folder in genzoo.cli.__path__ for name in os.listdir(folder)]
    return [(name[:-3], os.path.join(folder, name)) for folder, name in found if name.endswith(".py")]


@functools.cache
def _read(path: str, name: str, module: str) -> Command | None:
    """Read the command that a file declares; None where it declares none."""
    with open(path, "rb", buffering=0) as file:
        _, declared, rest = file.read().partition(b"\nCOMMAND = ")
    if not declared:
        return None
    found: Command = eval(_declaration(rest.decode(), path), {"__builtins__": {}, "Command": Command})
    found.name, found.module = name, module
    return found


def _declaration(text: str, path: str) -> CodeType:
    """Compile the call that a text begins with, and nothing behind it; a call of Command with literals is all that is let through."""
    first, _, _ = text.partition("\n")
    block, closed, _ = text.partition("\n)")
    try:
        code = compile(first if first.endswith(")") else block + closed, path, "eval")
    except SyntaxError:  # it is laid out in another way
        import ast  # takes as long as reading all of ours

        code = compile(ast.Expression(ast.parse(text).body[0].value), path, "eval")  # type: ignore[attr-defined]
    assert code.co_names == ("Command",), f"{path}: COMMAND is no call of Command with literals"
    assert not any(isinstance(c, CodeType) for c in code.co_consts), f"{path}: COMMAND is no call with literals"
    return code


EXAMPLES = """\
  genzoo list                                        what there is
  genzoo show dcgan                                  one system: settings, bounds, presets
  genzoo train dcgan data=digits steps=1000          train on an embedded set ...
  genzoo train dcgan data=photos/ size=64            ... or on a folder of your own pictures
  genzoo train wgan-gp data=fashion-mnist lr=1e-4 name=try-2
  genzoo resume runs/dcgan                           after Ctrl-C, a crash or kill -9
  genzoo sample runs/dcgan n=64 seed=1
  genzoo evaluate runs/dcgan
  genzoo compare runs/dcgan runs/wgan-gp"""
