"""The command line: what is typed, what is answered, and every mistake that the schema lets one think of."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import genzoo
from genzoo.cli import main as cli
from genzoo.cli.parse import parse
from genzoo.cli.table import commands, offered
from genzoo.cli.text import columns
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import TrainingStopped, UserError
from genzoo.core.schema import settings
from genzoo.data.settings import DataSettings
from genzoo.naming import registry
from genzoo.text.keys import spoken
from genzoo.training.settings import TrainSettings

main = cli.main


def mistake(capsys, *words, code=2):
    """Run a command that is refused; return what was said on one or two lines."""
    capsys.readouterr()
    assert main(list(words)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert 1 <= len(said.err.strip().splitlines()) <= 2
    assert "Traceback" not in said.err
    return said.err


def able(*needed, kind=None):
    """Names of systems that can do all of this."""
    found = []
    for name, entry in registry.entries().items():
        if set(needed) <= set(capabilities(registry.system_class(name))) and kind in (None, entry.data):
            found.append(name)
    assert found
    return found


# ---- words to keys ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["n=64", "seed=1"],
        ["--n=64", "--seed=1"],
        ["--n", "64", "--seed", "1"],
        ["n", "=", "64", "seed", "=1"],
        ["n=", "64", "-seed", "1"],
    ],
    ids=" ".join,
)
def test_ways_to_write_a_key(words):
    assert parse(["runs/a", *words]) == (["runs/a"], {"n": "64", "seed": "1"})


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{2}[a-z_]{0,5}", fullmatch=True),
        st.from_regex(r"[A-Za-z0-9./,:-]{1,8}", fullmatch=True),
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
def test_any_mixture_of_ways_is_the_same(keys, random):
    words = []
    for key, value in keys.items():
        dashed = key.replace("_", "-") if key[-1] != "_" else key
        ways = [[f"{key}={value}"], [f"--{dashed}={value}"], [key, "=", value], [f"{key}=", value], [key, f"={value}"]]
        if not value.startswith("-"):
            ways.append([f"--{dashed}", value])
        else:
            ways = ways[:2]
        words += random.choice(ways)
    assert parse(words) == ([], keys)


def test_what_is_a_switch_and_what_is_a_path():
    switch = {"json", "overwrite"}.__contains__
    assert parse(["--json", "runs/a"], switch=switch) == (["runs/a"], {"json": "true"})
    assert parse(["--json", "false", "runs/a=b/c.png"], switch=switch) == (["runs/a=b/c.png"], {"json": "false"})
    assert parse(["data=/x/a=b.zip", "lr=-1e-4"]) == ([], {"data": "/x/a=b.zip", "lr": "-1e-4"})
    assert parse(["augment=", "--seed", "3"]) == ([], {"augment": "", "seed": "3"})
    with pytest.raises(UserError, match="n is given twice: n=1 and n=2"):
        parse(["n=1", "--n", "2"])


def test_columns_wrap_to_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = columns([("name", "word " * 30), ("a-very-long-name", "x")], caps=(8,))
    assert max(map(len, text.splitlines())) <= 60
    assert "  a-very-long-name\n" in text
    assert columns([]) == ""


# ---- what can be seen ------------------------------------------------------------------------------------------------------------


def test_no_words_show_what_there_is(capsys):
    assert main([]) == 0
    page = capsys.readouterr().out
    assert all(f"  {name} " in page for name in commands())
    assert page.count("genzoo train") >= 3
    assert main(["--help"]) == main(["-h"]) == main(["help"]) == 0
    assert capsys.readouterr().out == page * 3


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_of_its_own(command, capsys):
    assert main([command, "--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"genzoo {command}")
    for s in settings(commands()[command].load()).values():
        assert s.name == "own" or f"  {s.name.removesuffix('_')} " in page


def test_list(capsys):
    assert main(["list"]) == 0
    page = capsys.readouterr().out
    for name, entry in registry.entries().items():
        assert f"  {name} " in page
        assert entry.family in page
        assert all(preset in page for preset in entry.presets)
    assert main(["list", "flows"]) == 0
    assert "gaussian" not in capsys.readouterr().out
    assert main(["list", "--json"]) == 0
    assert [e["name"] for e in json.loads(capsys.readouterr().out)] == list(registry.entries())


def test_list_by_names_and_by_task(capsys):
    def listed(*words):
        assert main(["list", *words, "--json"]) == 0
        return [e["name"] for e in json.loads(capsys.readouterr().out)]

    every = registry.entries().values()
    assert listed("style*") == ["stylegan", "stylegan2"]
    assert listed("WGAN_gp") == ["dcgan"], "a preset of it"
    assert listed("task=walk") == [e.name for e in every if "decodes" in e.abilities]
    assert listed("task=translate") == [
        e.name for e in every if "translates" in e.abilities and not {"upscale", "colorize"} & {*e.directions}
    ]
    assert listed("task=upscale") == [e.name for e in every if "upscale" in e.directions]
    assert listed("task=density") == [e.name for e in every if "density" in e.abilities]
    assert listed("flows", "task=complete") == []
    assert main(["list", "flows", "task=complete"]) == 0
    assert "none of flows is for complete; 'genzoo list task=complete' shows what is" in capsys.readouterr().out
    assert [e.name for e in genzoo.list_systems("style*", task="sample")] == ["stylegan", "stylegan2"]
    assert genzoo.list_systems(task="inverts")
    for words, said in (
        (["sytle*"], "no family and no name 'sytle*' — did you mean 'style"),
        (["task=fly"], "no system can do 'fly'"),
        (["task=compres"], "did you mean 'compresses'"),
    ):
        assert main(["list", *words]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(registry.names()))
def test_show_has_every_setting_with_its_bounds(name, capsys):
    cls = registry.system_class(name)
    assert main(["show", name]) == 0
    page = capsys.readouterr().out
    flat = " ".join(page.split())
    for s in settings(cls).values():
        assert s.name in page
        assert " ".join(s.allowed.split()) in flat
    for preset in cls.presets:
        assert preset in page
    able = capabilities(cls)
    assert all(c.call("RUN") in page for c in offered(able, getattr(cls, "directions", ())))
    others = [c for c in commands().values() if c.needs and set(c.needs) <= set(able) and c.call("RUN") not in page]
    assert all(
        "restores" in able and "translates" in c.needs for c in others
    )  # upscale or colorize stands there instead
    assert main(["show", name, "json=true"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["settings"]) == set(settings(cls))
    assert found["capabilities"] == list(capabilities(cls))


def test_version(capsys):
    assert main(["version"]) == main(["--version"]) == 0
    assert capsys.readouterr().out.count(f"genzoo {genzoo.__version__}") == 2
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["torch"]


def test_data(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data"]) == 0
    assert "fashion-mnist" in capsys.readouterr().out
    assert main(["data", "--json"]) == 0
    assert "digits" in json.loads(capsys.readouterr().out)["sets"]
    assert main(["data", "show", "digits", "size=8", "limit=40"]) == 0
    assert main(["data", "digits", "size=8", "limit=40"]) == 0
    page = capsys.readouterr().out
    assert "1x8x8" in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digits-2.png", "digits.png"]
    folder = tmp_path / "mixed"
    (folder / "cats").mkdir(parents=True)
    Image.new("RGB", (9, 9), "red").save(folder / "cats" / "a.png")
    Image.new("RGB", (9, 9), "blue").save(folder / "cats" / "b.png")
    (folder / "cats" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["data", "show", str(folder), "out=sheet.png"]) == 0
    page = capsys.readouterr().out
    assert "broken.png" in page
    assert (tmp_path / "sheet.png").exists()
    assert main(["data", "show", "moons", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [2]


# ---- mistakes --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["smaple", "runs/a"], "no command 'smaple' — did you mean 'sample'?"),
        (["dcgan", "data=digits"], "'genzoo train dcgan data=...' trains it"),
        (["xyzzy"], "'genzoo' alone shows all"),
        (["list", "flwos"], "did you mean 'flows'?"),
        (["list", "--jsno"], "did you mean 'json'?"),
        (["list", "json=perhaps"], "give true or false"),
        (["list", "flows", "walk", "extra"], "'extra' is one word too many"),
        (["show"], "NAME is missing. Usage: genzoo show NAME"),
        (["show", "gaussain"], "did you mean 'gaussian'?"),
        (["help", "smaple"], "did you mean 'sample'?"),
        (["train"], "SYSTEM is missing"),
        (["train", "gaussian"], "data is missing"),
        (["train", "gausian", "data=digits"], "did you mean 'gaussian'?"),
        (["train", "gaussian", "data=digitz"], "digits"),
        (["train", "gaussian", "data=no/such/folder"], "no/such/folder"),
        (["train", "gaussian", "data=digits", "config=none.toml"], "config=none.toml: there is no such file"),
        (["train", "gaussian", "data=digits", "data=moons"], "data is given twice"),
        (["train", "gaussian", "digits", "data=moons"], "data is given twice"),
        (["train", "gaussian", "data=digits", "name=../x"], "name=../x"),
        (["train", "gaussian", "data=digits", "device=tpu"], "device=tpu is not here; this machine has cpu"),
        (["resume", "runs/none"], "no run at 'runs/none'"),
        (["sample", "."], "'.' is not a run"),
        (["sample"], "RUN is missing"),
        (["sample", "runs/x", "n=many"], "n=many is not allowed; give integer, at least 1"),
        (["evaluate", "runs/x", "sede=1"], "did you mean 'seed'?"),
        (["data", "show"], "DATA is missing"),
        (["data", "show", "digits", "siez=8"], "did you mean 'size'?"),
        (["export", "runs/x"], "TO is missing"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_mistakes_are_answered_in_a_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in mistake(capsys, *words)
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


def test_a_folder_without_images_is_said(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("not an image")
    assert "notes" in mistake(capsys, "train", "gaussian", "data=notes")
    assert not (tmp_path / "runs").exists()


def typo(name):
    """A word that is near a name and is no name: its last two letters changed places, or its last one doubled."""
    swapped = name[:-2] + name[-2:][::-1]
    return swapped if swapped != name and len(name) > 3 else name + name[-1]


def out_of_range(setting):
    """A value that a setting cannot take, read off what it says it takes; None where every text will do."""
    words = setting.allowed
    if words.startswith("text"):
        return None
    if "at least " in words:
        return str(float(words.split("at least ")[1].split(",")[0].split(" ")[0]) - 1)
    if "more than " in words:
        return words.split("more than ")[1].split(",")[0].split(" ")[0]
    return "no-such-choice"


EVERY = [(name, s) for name in sorted(registry.entries()) for s in settings(registry.system_class(name)).values()]
SHARED = [
    ("gaussian", replace(s, name=spoken(s.name)))
    for target in (DataSettings, TrainSettings)
    for s in settings(target).values()
]


@pytest.mark.parametrize(("name", "setting"), EVERY + SHARED, ids=[f"{n}-{s.name}" for n, s in EVERY + SHARED])
def test_every_setting_misspelled_and_out_of_range(name, setting, capsys):
    wrong = typo(setting.name)
    said = mistake(capsys, "train", name, "data=digits", f"{wrong}=1")
    assert f"{name} has no setting '{wrong}' — did you mean '" in said
    if len(setting.name) > 3 and not setting.name[-1].isdigit():  # of beta1 and beta2, either is as near
        assert f"'{setting.name}'?" in said
    if (value := out_of_range(setting)) is not None:
        words = [f"{setting.name}={value}"] + ([] if setting.name == "data" else ["data=digits"])
        said = mistake(capsys, "train", name, *words)
        refused = "there is no model" if "run that" in setting.allowed else "is not allowed; give"
        assert refused in said
        if "run that" not in setting.allowed:
            assert f"{setting.name}={value} is not allowed; give {setting.allowed}" in said


COMMAND_SETTINGS = [
    (c.name, s)
    for c in commands().values()
    if not c.open and not c.own
    for s in settings(c.load()).values()
    if s.name != "own"
]


@pytest.mark.parametrize(("command", "setting"), COMMAND_SETTINGS, ids=[f"{c}-{s.name}" for c, s in COMMAND_SETTINGS])
def test_every_option_of_a_command_misspelled(command, setting, capsys):
    required = [s.name for s in settings(commands()[command].load()).values() if s.required]
    said = mistake(capsys, command, *("x" for _ in required), f"{typo(setting.name)}=1")
    assert f"{command} has no setting '{typo(setting.name)}' — did you mean '" in said


# ---- what goes wrong -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (TrainingStopped("stopped by SIGTERM; 'genzoo resume runs/x' goes on", 143), 143, "goes on"),
        (TrainingStopped("25 steps without a finite loss"), 1, "finite"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x/state"), 1, "no space left on device: runs/x/state"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data"), 1, "permission denied: /data"),
        (torch.OutOfMemoryError("CUDA out of memory ..."), 1, "try a smaller batch="),
        (MemoryError(), 1, "there is no memory left; try a smaller batch="),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            1,
            "no memory left",
        ),
        (UserError("give something else"), 2, "give something else"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, BaseException) else "",
)
def test_failures_are_one_line_with_their_code(error, code, said, capsys, monkeypatch):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(genzoo, "train", fails)
    assert said in mistake(capsys, "train", "gaussian", "data=digits", code=code)


def test_an_error_of_ours_is_not_hidden(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(genzoo, "train", fails)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        main(["train", "gaussian", "data=digits"])


def test_a_full_disk_is_no_typing_mistake(capsys, monkeypatch):
    from genzoo.saved.checkpoint import DiskFull

    def fails(*_, **__):
        raise DiskFull("no room to write x")

    monkeypatch.setattr(genzoo, "train", fails)
    assert "no room" in mistake(capsys, "train", "gaussian", "data=digits", code=1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a POSIX system with /dev/full")
def test_a_reader_that_leaves_and_a_full_device():
    for sink, code, said in (("| sleep 0", (0, 141), ""), ("> /dev/full", (1,), "genzoo: no space left on device\n")):
        line = f"{sys.executable} -m genzoo list {sink}; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert done.returncode in code
        assert done.stderr == said


def test_a_broken_pipe_is_quiet(capsys, monkeypatch):
    def fails():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("genzoo.cli.list.list_", fails)
    assert main(["list"]) == 141
    assert capsys.readouterr() == ("", "")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "genzoo", "smaple"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    said = f"there is no command 'smaple' — did you mean 'sample'? 'genzoo' alone shows all {len(commands())}."
    assert done.stderr == f"genzoo: {said}\n"


def test_the_report_of_torchrun_says_what_was_wrong(capsys, monkeypatch, tmp_path):
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    path = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path))
    said = mistake(capsys, "train", "dcgan", "stepps=3").removeprefix("genzoo: ").strip()
    report = str(ChildFailedError("genzoo", {0: ProcessFailure(local_rank=0, pid=1, exitcode=2, error_file=str(path))}))
    assert f": {said}\n" in report
    assert list(tmp_path.iterdir()) == [path]
