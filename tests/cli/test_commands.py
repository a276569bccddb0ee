"""One command, one file: a new one needs no other place, and a command imports what it uses."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import genzoo.cli
from genzoo.cli.main import main
from genzoo.cli.table import Command, command, commands
from genzoo.cli.text import wrap

HOME = Path(genzoo.cli.__file__).parent
TOY = '''"""Greet."""

from __future__ import annotations

from typing import Annotated

import colorsys  # stands for something that takes long to import: help must not
from pydantic import Field

from genzoo.cli.table import Command

COMMAND = Command("say good day to somebody", "NAME [times=2]", place=55)


def good_day(name: str, times: Annotated[int, Field(ge=1)] = 1) -> None:
    """Say good day.

    Args:
        name: Whom to greet.
        times: How often.
    """
    print(f"good day {name}\\n" * times, end="")
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A file that lies in a folder of commands."""
    (tmp_path / "good_day.py").write_text(TOY)
    monkeypatch.setattr(genzoo.cli, "__path__", [*genzoo.cli.__path__, str(tmp_path)])
    yield
    sys.modules.pop("genzoo.cli.good_day", None)
    vars(genzoo.cli).pop("good_day", None)


def said(capsys, *words, code=0):
    capsys.readouterr()
    assert main(list(words)) == code
    return "".join(capsys.readouterr())


def test_a_new_command_is_one_file(toy, capsys):
    names = list(commands())
    assert names[names.index("weights") + 1] == "good-day", "it stands where its place says"
    sys.modules.pop("colorsys", None)
    assert "  good-day     say good day to somebody\n" in said(capsys, "help")
    assert "colorsys" not in sys.modules
    page = said(capsys, "good-day", "--help")
    assert page.startswith("genzoo good-day NAME [times=2]\nsay good day to somebody\n")
    assert "How often. [integer, at least 1]" in page
    assert said(capsys, "good-day", "you", "times=2") == "good day you\n" * 2
    assert "did you mean 'good-day'" in said(capsys, "god-day", code=2)
    assert "good-day: NAME is missing. Usage: genzoo good-day NAME [times=2]" in said(capsys, "good-day", code=2)
    assert "times=0 is not allowed" in said(capsys, "good-day", "you", "times=0", code=2)


def test_an_installed_package_brings_commands(tmp_path, capsys, monkeypatch):
    package, told = tmp_path / "manners" / "words", tmp_path / "manners-1.0.dist-info"
    package.mkdir(parents=True)
    (tmp_path / "manners" / "__init__.py").write_text("raise ImportError('help has no reason to import this')\n")
    (package / "greet.py").write_text(TOY)
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: manners\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(
        "[genzoo.commands]\ngood-day = manners.words.greet\nsample = manners.words.greet\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    page = said(capsys, "help")
    assert "  good-day     say good day to somebody\n" in page
    assert commands()["sample"].module == "genzoo.cli.sample", "a package takes no name of ours"
    (tmp_path / "manners" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    assert said(capsys, "good-day", "you") == "good day you\n"
    for name in [n for n in sys.modules if n.partition(".")[0] == "manners"]:
        sys.modules.pop(name)


@pytest.mark.parametrize(
    "declared",
    [
        'Command("say good day", "NAME", place=55)',
        'Command(\n    "say good day",\n    "NAME",\n    place=55)  # so\nX = (\n    1,\n)',
    ],
)
def test_a_declaration_may_be_laid_out_in_any_way(tmp_path, monkeypatch, declared):
    (tmp_path / "good_day.py").write_text(f"from genzoo.cli.table import Command\n\nCOMMAND = {declared}\n")
    monkeypatch.setattr(genzoo.cli, "__path__", [*genzoo.cli.__path__, str(tmp_path)])
    found = commands()["good-day"]
    assert (found.line, found.usage, found.place) == ("say good day", "NAME", 55)


@pytest.mark.parametrize("declared", ["Command(open('x').read())", "Command((lambda: 1)())", "Command.__class__('x')"])
def test_a_declaration_is_read_and_runs_nothing(tmp_path, monkeypatch, declared):
    (tmp_path / "good_day.py").write_text(f"\nCOMMAND = {declared}\n")
    monkeypatch.setattr(genzoo.cli, "__path__", [*genzoo.cli.__path__, str(tmp_path)])
    with pytest.raises(AssertionError, match="literals"):
        commands()


@pytest.mark.parametrize("room", [3, 8, 15, 40])
def test_lines_are_broken_as_the_standard_library_breaks_them(room):
    for text in ("", "one", "one two-part three, four", "  two  spaces ", "a longword b", "tab\tnew\nline \u2014 x"):
        assert wrap(text, room) == textwrap.wrap(text, room, break_on_hyphens=False)


def test_every_file_of_a_command_declares_it_and_the_others_do_not():
    shared = {"__init__", "common", "inputs", "main", "next_steps", "parse", "serving", "settings", "table", "text"}
    assert {c.name.replace("-", "_") for c in commands().values()} | shared == {p.stem for p in HOME.glob("*.py")}
    assert command("common") is None
    for c in commands().values():
        assert c.load().__module__ == c.module
        declared = sys.modules[c.module].COMMAND
        assert isinstance(declared, Command)
        assert (declared.line, declared.usage, declared.place) == (c.line, c.usage, c.place)


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_imports_no_other(name):
    tree = ast.parse((HOME / f"{name.replace('-', '_')}.py").read_text())
    others = {f"genzoo.cli.{c.replace('-', '_')}" for c in commands()}
    assert not others & {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}


def test_drawing_samples_imports_what_it_uses(runs, tmp_path):
    """At most 42 files of ours with code in them (packages not counted), and nothing of torch's compiler, which takes longer to import than torch."""
    run = runs("dcgan").path
    code = (
        "import sys; from genzoo.cli.main import main; code = main(sys.argv[1:]); from genzoo.naming import registry; "
        "print(registry.entries.cache_info().currsize, registry.of_zoo.cache_info().currsize); "
        "print(*(n + '/' * hasattr(m, '__path__') for n, m in sys.modules.items())); sys.exit(code)"
    )
    words = ["sample", str(run), "n=4", f"out={tmp_path / 'x.png'}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2] == "0 1", "the one system's file is read, not all of them"
    loaded = done.stdout.splitlines()[-1].split()
    ours = [m for m in loaded if m.strip("/").partition(".")[0] == "genzoo"]
    assert len([m for m in ours if not m.endswith("/")]) <= 42, " ".join(sorted(ours))
    assert not {"torch._dynamo/", "sympy/", "torch._inductor/"} & set(loaded)
