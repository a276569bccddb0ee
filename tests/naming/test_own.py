"""Classes of one's own: every way to give one works with every verb, and no file is run that only a checkpoint names."""

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.naming import own, registry
from genzoo.saved import checkpoint
from tests.toy_shades import MyShades

TOY = (Path(__file__).parents[1] / "toy_shades.py").read_text()
RUN = {"data": "digits", "size": 8, "steps": 2, "batch": 4, "quiet": True}
HEAD = "from genzoo import System\n\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a class of one's own in a file, and a process that has been given none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_given", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("mine.py").write_text(TOY)
    return tmp_path


def forget():
    """Be another process, that has been given nothing."""
    registry._given.clear()


def python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=False, env={**os.environ, **env},
    )  # fmt: skip


# ---- every way to give one -----------------------------------------------------------------------------------------------------------


def test_a_file_trains_is_used_resumed_and_exported(here, capsys):
    assert main(["train", "mine.py", "data=digits", "size=8", "steps=2", "batch=4", "code=3"]) == 0
    told = capsys.readouterr()
    assert "to use this run later: 'genzoo sample runs/my-shades system=mine.py'" in told.err
    assert "try 'genzoo sample runs/my-shades system=mine.py'" in told.out
    for words in (
        ["sample", "runs/my-shades", "n=4", "out=a.png"],
        ["walk", "runs/my-shades", "rows=2", "steps=3", "out=w.gif"],
        ["reconstruct", "runs/my-shades", "n=2", "out=r.png"],
        ["evaluate", "runs/my-shades", "measures=reconstruction", "n=8"],
        ["resume", "runs/my-shades", "steps=3"],
        ["export", "runs/my-shades", "to=out"],
        ["sample", "out", "n=4", "out=b.png"],
    ):
        forget()
        assert main(words) == 2, f"{words}: its class is not here"
        assert "which is run only where you give it: 'genzoo sample RUN system=mine.py'" in capsys.readouterr().err
        assert main([*words, "system=mine.py"]) == 0, capsys.readouterr().err
    assert 'genzoo.load("out", system="mine.py")' in Path("out/README.md").read_text()
    assert genzoo.load("out").hparams["code"] == 3
    assert main(["show", "mine.py"]) == 0
    assert "Numbers in the code. [integer, at least 1, at most 512]" in capsys.readouterr().out
    assert main(["list", "system=mine.py"]) == 0
    assert "my-shades" in capsys.readouterr().out


def test_a_class_trains_is_created_loaded_and_resumed(here):
    run = genzoo.train(MyShades, **RUN)
    assert run.path.name == "my-shades"
    assert genzoo.sample(run, n=3).shape == (3, 1, 8, 8)
    assert genzoo.sample("runs/my-shades", n=3).shape == (3, 1, 8, 8)
    assert type(genzoo.create(MyShades, code=5)) is MyShades
    assert genzoo.create("my-shades", code=5).hparams["code"] == 5
    assert "my-shades" in {e.name for e in genzoo.list_systems("own")}
    forget()
    with pytest.raises(UserError, match=r"MyShades of toy_shades\.py, which is run only where you give it"):
        genzoo.load(run)
    with pytest.raises(UserError, match=r"MyShades of toy_shades\.py"):
        genzoo.resume(run, steps=3)
    assert type(genzoo.load(run, system=MyShades)) is MyShades
    forget()
    assert genzoo.resume(run, steps=3, system=MyShades, quiet=True).steps_done() == 3
    forget()
    assert genzoo.register(MyShades) is MyShades
    assert genzoo.resume(run, steps=4, quiet=True).steps_done() == 4


def test_a_file_and_a_class_of_it_are_the_same(here):
    run = genzoo.train("mine.py", **RUN, name="one")
    other = genzoo.train(MyShades, **RUN, name="other")
    for path in ("model", "state"):
        a, b = (checkpoint.read(next((r.path / path).glob("*.safetensors")))[0] for r in (run, other))
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert type(genzoo.create(Path("mine.py"))) is type(genzoo.create("mine.py:MyShades"))
    assert type(genzoo.create("tests.toy_shades:MyShades")) is MyShades


def test_a_preset_of_ones_own_has_a_name(here):
    assert genzoo.create("mine.py:shades-16").hparams["code"] == 16
    assert genzoo.create("shades-16").name == "shades-16"
    run = genzoo.train("mine.py:shades-16", **RUN)
    assert run.path.name == "shades-16"
    forget()
    assert genzoo.load(run, system="mine.py").hparams["code"] == 16


def test_a_checkpoint_says_where_its_class_comes_from(here):
    run = genzoo.train("mine.py", **RUN)
    source = checkpoint.description(run.model)["source"]
    assert source == {"class": "MyShades", "file": "mine.py", "digest": own._digest(Path("mine.py"))}
    assert tomllib.loads((run.path / "config.toml").read_text())["source"] == source
    assert checkpoint.description(run.states()[0])["source"] == source
    assert "'genzoo train mine.py config=THIS'" in (run.path / "config.toml").read_text()
    assert f'genzoo.load("{run.path}", system="mine.py")' in (run.path / "README.md").read_text()
    ours = genzoo.train("gaussian", data="digits", size=8, quiet=True)
    assert "source" not in checkpoint.description(ours.model)
    again = genzoo.train("mine.py", config=run.path / "config.toml", data="digits", steps=3, quiet=True)
    assert again.steps_done() == 3


def test_a_file_that_has_changed_is_told(here, capsys):
    run = genzoo.train("mine.py", **RUN)
    Path("mine.py").write_text(TOY + "\n# another line\n")
    forget()
    assert isinstance(genzoo.load(run, system="mine.py"), genzoo.System)
    assert "mine.py has changed since this my-shades was saved" in capsys.readouterr().err
    Path("mine.py").write_text(TOY)
    assert isinstance(genzoo.load(run, system="mine.py"), genzoo.System)
    assert capsys.readouterr().err == ""


def test_a_class_of_a_session_says_how_it_is_given_again(here):
    done = python(f"{TOY}\nimport genzoo\ngenzoo.train(MyShades, 'digits', size=8, steps=1, batch=4)")
    assert done.returncode == 0, done.stderr
    assert "genzoo.load('runs/my-shades', system=MyShades) where MyShades is defined" in done.stderr
    with pytest.raises(UserError, match=r"MyShades of a session \(a notebook, a script\), which is not here"):
        genzoo.load("runs/my-shades")
    assert genzoo.load("runs/my-shades", system=MyShades).hparams["code"] == 8
    Path("script.py").write_text(
        f"{TOY}\nif __name__ == '__main__':\n    import genzoo\n    genzoo.train(MyShades, 'digits', size=8, steps=1)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True)
    assert "'genzoo sample runs/my-shades-2 system=script.py'" in done.stderr
    assert main(["sample", "runs/my-shades-2", "n=2", "system=script.py"]) == 0


def test_a_name_of_the_zoo_stays_the_zoos(here):
    Path("vae.py").write_text(TOY.replace("MyShades", "VAE"))
    assert genzoo.create("vae.py").name == "own-vae"
    assert type(genzoo.create("vae")).__module__ == "genzoo.models.autoencoding.vae"
    run = genzoo.train("vae.py", **RUN)
    forget()
    assert genzoo.load(run, system="vae.py").hparams["code"] == 8


def test_a_system_of_ones_own_inside_one_of_the_zoo(here):
    Path("codes.py").write_text(
        TOY.replace("MyShades", "Codes")
        + '''
    codebook_size = 4
    code_grids = ((4, 4),)

    def tokenize(self, x):
        """Return codes."""
        return (x[:, 0, ::2, ::2].flatten(1) * 1.99 + 2).long().clamp(0, 3)

    def detokenize(self, codes):
        """Return images."""
        return codes.view(-1, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3) / 1.5 - 1

    def log_likelihood(self, x, codes):
        """Return nats."""
        return -(x - self.detokenize(codes)).square().flatten(1).sum(1)
'''
    )
    inner = genzoo.train("codes.py", **RUN)
    prior = {"tokenizer": str(inner.path), "width": 16, "depth": 1, "heads": 2}
    forget()
    with pytest.raises(UserError, match=r"Codes of codes\.py, which is run only where you give it"):
        genzoo.train("token-prior", **prior, **RUN)
    words = [f"{k}={v}" for k, v in {**prior, "data": "digits", "size": 8, "steps": 2, "batch": 4}.items()]
    assert main(["train", "token-prior", *words, "system=codes.py"]) == 0
    forget()
    with pytest.raises(UserError, match=r"Codes of codes\.py"):
        genzoo.load("runs/token-prior")
    assert genzoo.load("runs/token-prior", system="codes.py").tokenizer.codebook_size == 4


def test_a_study_compares_a_file_with_the_zoo(here):
    Path("s.toml").write_text(
        'systems = ["mine.py", "linear-autoencoder"]\ndata = ["digits"]\nseeds = 1\nmeasure = "reconstruction PSNR"\nsamples = 8\n'
        "[settings]\nsize = 8\nsteps = 2\nbatch = 4\n"
    )
    done = genzoo.study("s.toml", quiet=True)
    assert [r["state"] for r in done.rows] == ["complete", "complete"], done.rows
    assert (done.path / "runs" / "0000-mine-py-digits-draw0-seed0").is_dir()


# ---- installed packages --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(here):
    """A package with two entry points, one of them named as a system of the zoo."""
    site = here / "site"
    (site / "extras").mkdir(parents=True)
    (site / "extras" / "__init__.py").write_text("raise RuntimeError('listing imports no package')\n")
    (site / "extras" / "shades.py").write_text(TOY)
    info = site / "zoo_extras-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-extras\nVersion: 1.2\n")
    (info / "RECORD").write_text("extras/__init__.py,,\nextras/shades.py,,\n")
    (info / "top_level.txt").write_text("extras\n")
    (info / "entry_points.txt").write_text(
        "[genzoo.models]\nlinear_shades = extras.shades:MyShades\nvae = extras.shades:MyShades\ngone = extras.none:No\n"
    )
    return site


def test_a_package_is_listed_without_being_imported_and_used_by_its_name(here, package):
    path = f"{package}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = python(
        "import sys; from genzoo.cli.main import main; main(['list']); assert 'torch' not in sys.modules",
        PYTHONPATH=path,
    )
    assert done.returncode == 0, done.stderr
    assert "zoo-extras\n" in done.stdout
    assert "linear-shades  " in done.stdout
    assert "Shades: an autoencoder that stands in a file of one's own." in done.stdout
    assert "presets: shades-16" in done.stdout
    assert "note: 'vae' of zoo-extras is not listed: the name is taken by genzoo" in done.stdout
    (package / "extras" / "__init__.py").write_text("")
    done = python(
        """
        import genzoo, pytest
        run = genzoo.train("linear-shades", "digits", size=8, steps=1, batch=4)
        genzoo.create("shades-16")
        with pytest.raises(genzoo.UserError, match="gone of zoo-extras cannot be imported: No module named"):
            genzoo.create("gone")
        """,
        PYTHONPATH=path,
    )
    assert done.returncode == 0, done.stderr
    assert "class of your own" not in done.stderr, "it is found by its name"
    done = python(
        "import genzoo; print(type(genzoo.load('runs/linear-shades')).__module__); genzoo.resume('runs/linear-shades', steps=2)",
        PYTHONPATH=path,
    )
    assert done.stdout == "extras.shades\n", done.stderr
    assert checkpoint.description("runs/linear-shades/model/model.safetensors")["source"] == {
        "class": "MyShades", "package": "zoo-extras", "version": "1.2", "module": "extras.shades",
    }  # fmt: skip
    with pytest.raises(
        UserError, match=r"MyShades of the package zoo-extras 1\.2; install it \(pip install zoo-extras\)"
    ):
        genzoo.load("runs/linear-shades")
    assert genzoo.load("runs/linear-shades", system=MyShades).hparams["code"] == 8


# ---- no run of code that a checkpoint names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["evil.py", "evil.py:MyShades", "evil:MyShades", "my-shades"])
@pytest.mark.parametrize("where", ["model", "config", "inner"])
def test_no_file_is_run_that_only_a_checkpoint_names(here, name, where):
    """Whatever the name or the source say, and wherever they stand."""
    Path("evil.py").write_text(f"open('run', 'w').close()\n{TOY}")
    run = genzoo.train("mine.py", **RUN)
    sources = [
        {},
        {"class": "MyShades", "file": "evil.py"},
        {"class": "MyShades", "file": name, "module": "evil", "package": "evil"},
    ]
    sources += [{"class": name}, {"file": f"{here}/evil.py"}, {"class": "MyShades", "module": "evil"}]
    tensors, meta = checkpoint.read(run.model)
    config = (run.path / "config.toml").read_text()
    for source in sources:
        forget()
        said = {**meta, "system": name, "name": name, "source": source}
        if where == "config":
            table = "\n".join(f"{k} = {json.dumps(v)}" for k, v in source.items())
            text = re.sub(
                r"(?s)\[source\].*?\n\n", f"[source]\n{table}\n\n", config.replace('"my-shades"', json.dumps(name))
            )
            (run.path / "config.toml").write_text(text)
        elif where == "inner":
            said = {"system": "token-prior", "name": "token-prior", "hparams": {"tokenizer": said}}
        if where != "config":
            checkpoint.write(run.model, tensors, said)
        with pytest.raises(UserError):
            genzoo.resume(run, steps=3, quiet=True) if where == "config" else genzoo.load(run)
        assert main(["resume" if where == "config" else "sample", str(run.path)]) == 2
        assert not Path("run").exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    "source", [3, [], "mine.py", {"class": 3}, {"class": "A\nB" * 2000}, {"file": "\x1b[31m" * 99}]
)
def test_a_source_that_is_none_is_one_line(here, source):
    run = genzoo.train("mine.py", **RUN)
    tensors, meta = checkpoint.read(run.model)
    checkpoint.write(run.model, tensors, {**meta, "source": source})
    forget()
    with pytest.raises(UserError) as error:
        genzoo.load(run)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("name", ["zoo:dcgan-garments", "hf:me/mine"])
def test_a_trained_model_is_no_system(name, capsys):
    """`genzoo show zoo:dcgan-garments` said that no module named zoo could be imported."""
    assert main(["show", name]) == 2
    assert "is a trained model and no system" in capsys.readouterr().err


# ---- mistakes --------------------------------------------------------------------------------------------------------------------------

FORM = "    def __init__(self, shape=(1, 8, 8)):\n        super().__init__()\n"
LOSS = "    def loss(self, batch):\n        return {}\n"
MISTAKES = {
    "two": (HEAD + f"class A(System):\n{FORM}{LOSS}\nclass B(System):\n{FORM}{LOSS}", r"has 2 systems; say which: mine\.py:A, mine\.py:B"),
    "none": ("x = 1\n", "has no system: a class that derives from genzoo.System"),
    "only another's": ("from genzoo.models.density.gaussian import Gaussian\n", "has no system"),
    "syntax": ("class A:\n    def f(:\n", r"mine\.py is no Python: line 2: invalid syntax"),
    "import": ("\nimport nothing_of_that_name\n", r"mine\.py cannot be run at line 2: No module named 'nothing_of_that_name'"),
    "raises": ("def f():\n    1 / 0\nf()\n", r"mine\.py cannot be run at line 2: ZeroDivisionError: division by zero"),
    "exits": ("import sys\nsys.exit(3)\n", r"mine\.py cannot be run at line 2: SystemExit: 3"),
    "abstract": (
        HEAD + f"import abc\nclass A(System, abc.ABC):\n{FORM}{LOSS}    @abc.abstractmethod\n    def f(self): ...\n",
        r"has no system \(A is abstract\)",
    ),
    "args": (HEAD + f"class A(System):\n    def __init__(self, shape=(1, 8, 8), *args): ...\n{LOSS}", r"\*args and \*\*kwargs are not"),
    "kwargs": (HEAD + f"class A(System):\n    def __init__(self, shape=(1, 8, 8), **kw): ...\n{LOSS}", r"\*args and \*\*kwargs are not"),
    "no constructor": (HEAD + f"class A(System):\n{LOSS}", "A has no constructor"),
    "no shape": (HEAD + f"class A(System):\n    def __init__(self, width=3): ...\n{LOSS}", "A takes no `shape`"),
    "no default": (HEAD + f"class A(System):\n    def __init__(self, shape): ...\n{LOSS}", "A has no default for shape"),
    "learns nothing": (HEAD + f"class A(System):\n{FORM}", "A cannot learn: define loss, training_step, or partial_fit"),
    "unknown type": (HEAD + f"class A(System):\n    def __init__(self, shape: 'Shape' = (1, 8)): ...\n{LOSS}", "names 'Shape', which its file"),
    "a key of the training": (
        HEAD + f"class A(System):\n    def __init__(self, shape=(1, 8, 8), batch=3): ...\n{LOSS}",
        "batch is a setting of every training or of its data",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_wrong_with_a_file_is_said_in_one_line(here, capsys, mistake):
    text, said = MISTAKES[mistake]
    Path("mine.py").write_text(text)
    with pytest.raises(UserError, match=said) as error:
        genzoo.train("mine.py", "digits", quiet=True)
    assert "\n" not in str(error.value)
    assert main(["train", "mine.py", "data=digits"]) == 2
    assert not Path("runs").exists()


def test_what_is_no_class_is_refused(here):
    for given, said in (
        (3, "a int is no system"),
        (dict, "dict is no system"),
        (MyShades(), "an object of MyShades was given; give the class itself"),
        (genzoo.System, "System is no system"),
        ("minne.py", r"there is no file 'minne\.py' — did you mean 'mine\.py'"),
        ("mine.py:MyShade", r"no system 'MyShade' — did you mean 'MyShades'"),
        ("nothing_there:A", "nothing_there cannot be imported"),
        ("mine", "there is no system 'mine'"),
    ):
        with pytest.raises(UserError, match=said):
            genzoo.create(given)


def test_another_class_than_the_models_is_refused(here):
    run = genzoo.train("mine.py", **RUN)
    forget()
    Path("other.py").write_text(TOY.replace("MyShades", "Other"))
    with pytest.raises(UserError, match=r"MyShades of mine\.py, which is run only where you give it"):
        genzoo.load(run, system="other.py")
    ours = genzoo.train("gaussian", data="digits", size=8, quiet=True)
    with pytest.raises(UserError, match="is of a gaussian, not of the my-shades that was given"):
        genzoo.load(ours, system=MyShades)
    Path("mine.py").write_text(
        TOY.replace("code: Annotated", "codes: Annotated").replace("features, code)", "features, codes)")
    )
    forget()
    with pytest.raises(UserError, match="has no setting 'code'"):
        genzoo.load(run, system="mine.py")


def test_what_is_only_advice_does_not_hinder(here):
    """No documentation, no bounds, no annotations, an argument without a default, a base class of one's own."""
    Path("mine.py").write_text(
        HEAD
        + "import abc, torch\nclass Base(System, abc.ABC):\n    @abc.abstractmethod\n    def size(self): ...\n"
        + "class A(Base):\n    def __init__(self, width, shape=(1, 8, 8)):\n        super().__init__()\n"
        + "        self.layer = torch.nn.Linear(1, width)\n    def size(self): return 1\n"
        + "    def optimizers(self): return {'model': torch.optim.SGD(self.parameters(), 0.1)}\n"
        + "    def loss(self, batch): return {'loss': self.layer(batch['image'].mean()[None]).sum()}\n"
    )
    with pytest.raises(UserError, match="width is required"):
        genzoo.train("mine.py", **RUN)
    run = genzoo.train("mine.py", **RUN, width=3)
    assert genzoo.load(run).hparams["width"] == 3
    assert main(["show", "mine.py"]) == 0
