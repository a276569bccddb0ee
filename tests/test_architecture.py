"""What the house promises about its own files: who imports whom, how large they are, what they document."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.cli.table import commands
from genzoo.core.capabilities import CAPABILITIES, capabilities
from genzoo.core.errors import UserError
from genzoo.core.schema import capability_of, check, settings
from genzoo.core.system import System
from genzoo.data.settings import DataSettings
from genzoo.naming import registry
from genzoo.nn.autoencoding import methods as coded
from genzoo.nn.flow import methods as flow
from genzoo.saved.loading import resolved
from genzoo.training.settings import FALLBACKS, TrainSettings
from tools.house import circles, imports

SOURCE = Path(genzoo.__file__).parent
ROOT = SOURCE.parents[1]
FILES = sorted(SOURCE.rglob("*.py"))
SYSTEMS = sorted(registry.entries())

ALLOWED = {
    "ranks": {"ranks", "core.errors"},
    "losses": {"losses", "ranks"},
    "nn": {"losses", "nn", "ranks", "text", "core.capabilities", "core.errors", "core.files", "core.inputs"},
    "text": {"text", "core.errors"},
    "core": {"core"},
    "naming": {"core", "naming"},
    "saved": {"core", "naming", "saved", "text"},
    "models": {"core", "losses", "nn", "ranks", "saved", "text"},
    "data": {"core", "data", "text"},
    "metrics": {"core", "data", "losses", "metrics", "naming", "nn", "ranks", "text"},
    "runs": {"core", "data", "metrics", "runs", "saved", "text"},
    "foreign": {"core", "foreign", "metrics", "naming", "runs", "saved", "text"},
    "training": {"core", "data", "metrics", "naming", "ranks", "runs", "saved", "training", "text"},
    "use": {"core", "data", "losses", "metrics", "naming", "runs", "saved", "training", "use", "text"},
    "lectures": {"core", "losses", "lectures", "use"},
    "testing": {"core", "data", "metrics", "naming", "runs", "saved", "testing", "text", "training", "use"},
    "studies": {"api", "core", "data", "metrics", "naming", "runs", "training", "use", "studies", "text"},
    "web": {"api", "core", "data", "foreign", "metrics", "naming", "runs", "saved", "use", "web", "text"},
    "server": {"core", "data", "metrics", "naming", "nn.draws", "runs", "saved", "server", "text", "use", "web"},
    "studio": {
        *("api", "core", "data", "foreign", "metrics", "naming", "nn", "runs", "saved", "studies", "studio", "text"),
        *("training", "use", "web"),
    },
    "api.py": {"core", "data", "lectures", "naming", "runs", "saved", "training", "use", "text"},
    "cli": {
        "api",
        "core",
        "data",
        "foreign",
        "metrics",
        "naming",
        "lectures",
        "ranks",
        "runs",
        "training",
        "server",
        "studio",
        "use",
        "cli",
        "text",
        "web",
    },
}
"""Who may import what of ours. `genzoo` alone (the lazy public API, the version) may be imported from `metrics` upwards."""
PUBLIC = {
    *("metrics", "runs", "lectures", "studies", "training", "use", "web", "server", "studio", "cli", "__main__.py"),
}


def identity(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def imported(path: Path) -> set[str]:
    """Full names of modules that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{identity(path)}: relative import"
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_imports_point_downwards(path):
    part = path.relative_to(SOURCE).parts[0]
    for module in imported(path):
        first, *rest = module.split(".")
        assert first not in ("torchvision", "torchaudio"), f"{module} cannot be relied upon"
        if first != "genzoo" or part in ("__init__.py", "__main__.py"):
            continue
        if not rest:
            assert part in PUBLIC, "the public API is not for the layers below it"
        elif rest[0] == part == "models":
            family, _, name = ".".join(rest[1:]).partition(".")
            assert family == path.parent.name, f"{module}: a family keeps its parts to itself"
            assert name.startswith("_"), f"models do not import each other: {module}"
        elif (SOURCE / rest[0]).is_dir() or (SOURCE / f"{rest[0]}.py").is_file():
            assert {rest[0], ".".join(rest[:2])} & ALLOWED[part], (
                f"{part} may import {sorted(ALLOWED[part])}, not {module}"
            )
        else:
            assert part in PUBLIC, f"{module} is a name of the public API"


def test_no_import_goes_in_a_circle():
    """Wherever in a file the import stands: one that hides in a function is a circle as well."""
    assert not circles(imports(SOURCE))


def test_no_room_imports_one_that_imports_it():
    rooms: dict[str, set[str]] = {}
    for module, wanted in imports(SOURCE).items():
        rooms.setdefault(module.split(".")[0], set()).update(w.split(".")[0] for w in wanted)
    rooms["__init__"] = set()  # its names are resolved on first use, and from below only the version is read
    assert not circles({room: wanted - {room} for room, wanted in rooms.items()})


def test_a_circle_is_seen(tmp_path):
    (tmp_path / "a.py").write_text("from genzoo.b import x\n")
    (tmp_path / "b.py").write_text("def f():\n    from genzoo import c\n")
    (tmp_path / "c.py").write_text("import genzoo.a\n")
    assert circles(imports(tmp_path)) == [["a", "b", "c"]]
    (tmp_path / "c.py").write_text("if TYPE_CHECKING:\n    import genzoo.a\n")
    assert not circles(imports(tmp_path))


def test_no_file_mentions_what_is_never_used():
    for path in [*FILES, ROOT / "pyproject.toml", ROOT / "constraints.txt"]:
        text = path.read_text(encoding="utf-8")
        for word in ("torchvision", "torchaudio", "lightning"):
            assert word not in text, f"{path}: {word}"


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_files_are_short_and_say_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    assert ast.get_docstring(ast.parse(text)), "a module's docstring is its first sentence to a reader"


@pytest.mark.parametrize(("room", "most"), [("core", 1000), ("training", 1500)])
def test_what_everything_stands_on_is_small(room, most):
    """Core is what a system is: how it is found, kept and shown are rooms of their own. Training is one loop, with its start."""
    assert sum(len(p.read_text(encoding="utf-8").splitlines()) for p in (SOURCE / room).glob("*.py")) <= most


def test_every_model_file_is_one_system():
    for path in sorted((SOURCE / "models").glob("*/*.py")):
        if path.name.startswith("_"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        bases = [[ast.unparse(b) for b in node.bases] for node in tree.body if isinstance(node, ast.ClassDef)]
        assert sum("System" in b for b in bases) == 1, f"{path.name}: one system in one file"
        assert path.stem.replace("_", "-") in registry.entries()
        idea = (ast.get_docstring(tree) or "").split("\n")[0]
        assert idea.endswith("."), f"{path.name}: one sentence that 'genzoo list' shows"
        assert 20 <= len(idea) <= 120, f"{path.name}: one sentence that 'genzoo list' shows"


def bodies(path: Path) -> list[tuple[str, str]]:
    """Bodies of the functions of a file, without docstrings and layout, each with where it stands; those that do nothing are left out."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and not (len(body) == 1 and isinstance(body[0], (ast.Pass, ast.Raise))):
                found.append(("\n".join(map(ast.unparse, body)), f"{path.stem}.{node.name}"))
    return found


def test_no_body_stands_three_times_in_models():
    """What follows from other methods is a function of `self` in nn/, borrowed by name."""
    places: dict[str, list[str]] = {}
    for path in sorted((SOURCE / "models").glob("*/*.py")):
        for body, where in bodies(path):
            places.setdefault(body, []).append(where)
    assert not {body: where for body, where in places.items() if len(where) > 2}


def test_a_borrowed_method_is_a_method_like_any_other():
    """The file alone tells of it, its options are documented, and a borrowed log_prob refuses values out of range, asked once."""
    borrowed = 0
    for name in SYSTEMS:
        cls = registry.system_class(name)
        tree = ast.parse(Path(inspect.getfile(cls)).read_text(encoding="utf-8"))
        (body,) = (n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls.__name__)
        for node in body:
            if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Attribute, ast.Name)):
                (target,) = node.targets
                method = inspect.unwrap(getattr(cls, target.id))
                assert method.__module__.startswith("genzoo.nn."), (
                    f"{name}: {target.id} is borrowed from {method.__module__}"
                )
                assert method.__doc__, f"{name}: {target.id} says nothing"
                borrowed += 1
    assert borrowed > 100
    for name, verb in itertools.product(SYSTEMS, ("sample", "complete", "translate")):
        method = getattr(registry.system_class(name), verb, None)
        for option in [] if method is None else settings(method).values():
            if option.name not in ("n", "x", "known", "generator", "direction"):
                assert option.doc, f"{name}: {verb}: {option.name} has no line under Args:"
    assert registry.system_class("nice").log_prob.__wrapped__ is flow.log_prob
    assert registry.system_class("vqvae2").log_prob.__wrapped__ is coded.log_prob
    with pytest.raises(UserError, match="-1, 1"):
        genzoo.create("nice", shape=(1, 2, 2)).log_prob(torch.full((1, 1, 2, 2), 3.0))


def test_systems_are_final():
    classes = {registry.system_class(name) for name in SYSTEMS}
    for cls in classes:
        assert cls.__bases__ == (System,), f"{cls.__name__} derives from System and nothing else"


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_argument_is_a_key_of_the_data_or_of_the_training(name):
    others = {*settings(DataSettings), *settings(TrainSettings)}
    assert not others & set(settings(registry.system_class(name)))


@pytest.mark.parametrize("name", SYSTEMS)
def test_presets_tiny_and_defaults_are_valid(name):
    cls = registry.system_class(name)
    for values in (cls.tiny, *cls.presets.values()):
        assert set(values) <= set(check(cls, resolved(cls, values), label=name))
    for preset, values in cls.presets.items():
        assert values, f"{preset} differs in nothing"
    for values in (cls.defaults, *cls.preset_defaults.values()):
        trained = check(TrainSettings, values, label=name)
        assert all(trained[k] == v for k, v in values.items())
    assert cls.preset_defaults.keys() <= cls.presets.keys()


def test_preset_names_are_unique_and_lower_case():
    every = [p for e in registry.entries().values() for p in (e.name, *e.presets)]
    assert len(every) == len(set(every)) == len(registry.names())
    assert all(n == n.lower() and "_" not in n and " " not in n for n in every)


def test_the_file_alone_tells_what_the_class_tells():
    for name, entry in registry.entries().items():
        cls = registry.system_class(name)
        assert (entry.paper, entry.data, entry.presets) == (cls.paper, cls.data, tuple(cls.presets))
        assert entry.abilities == capabilities(cls)
        assert bool(entry.likelihood) == ("density" in entry.abilities)
        if isinstance(getattr(cls, "likelihood", None), str):
            assert entry.likelihood == cls.likelihood
        assert entry.directions == getattr(cls, "directions", ())
        assert entry.inner == next((k for k, s in settings(cls).items() if capability_of(s.annotation)), "")
        assert entry.idea == sys.modules[cls.__module__].__doc__.split("\n")[0]


def test_the_kind_follows_from_what_a_system_can_do():
    kinds = {name: entry.kind for name, entry in registry.entries().items()}
    known = {"dcgan": "implicit", "cyclegan": "implicit", "vae": "bounded", "vqvae": "bounded", "autoencoder": "codes"}
    known |= {"pixelcnn": "exact", "made": "exact", "gated-pixelcnn": "exact", "realnvp": "exact", "gaussian": "exact"}
    assert {name: kinds[name] for name in known} == known


def test_every_family_says_what_it_is_strong_at_and_fails_by():
    assert set(registry.families()) == {e.family for e in registry.entries().values()}
    assert all(strong and fails for strong, fails in registry.families().values())


def test_every_key_has_a_line_of_its_own():
    for target in (DataSettings, TrainSettings):
        assert dataclasses.is_dataclass(target)
        assert all(s.doc for s in settings(target).values())
    assert set(FALLBACKS) <= set(settings(TrainSettings))
    assert not set(settings(DataSettings)) & set(settings(TrainSettings))


def test_every_command_is_a_function_with_documented_options():
    for command in commands().values():
        assert set(command.needs) <= set(CAPABILITIES)
        for s in settings(command.load()).values():
            assert s.doc, f"{command.name}: {s.name} has no line under Args:"


@pytest.mark.parametrize("words", [[], ["--help"], ["list"], ["list", "--json"], ["lsit"]], ids=" ".join)
def test_quick_answers_import_nothing_heavy(words):
    code = (
        "import sys; from genzoo.cli.main import main; main(sys.argv[1:]); print(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stderr.splitlines()[-1]))
    assert not loaded & {"torch", "numpy", "pydantic", "rich", "PIL"}


@pytest.mark.parametrize("words", [[], ["--help"]], ids=" ".join)
def test_help_imports_nothing_that_takes_as_long_as_itself(words):
    """Apart from what the environment has imported already at the start of Python."""
    code = (
        "import sys; before = set(sys.modules); from genzoo.cli.main import main; main(sys.argv[1:]);"
        "print(sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stderr.splitlines()[-1]))
    assert "genzoo.cli.help" in loaded
    assert not loaded & {"inspect", "dataclasses", "difflib", "importlib.metadata", "genzoo.naming.registry"}
    assert not loaded & {"typing", "ast", "shutil", "textwrap", "re", "pathlib"}


def test_import_genzoo_is_lazy_and_complete():
    code = "import sys, genzoo; assert 'torch' not in sys.modules; print([getattr(genzoo, n) and n for n in genzoo.__all__])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == genzoo.__all__
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        _ = genzoo.smaple


def test_the_version_is_said_once():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == genzoo.__version__
