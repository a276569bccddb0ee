"""The table of measures: read from their files, equal to what they are, and all that help, docs, studies and compare know of them."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import genzoo
import genzoo.metrics
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.metrics import measure
from genzoo.metrics.measure import alternatives, read, table, values
from genzoo.studies.plan import read_plan

ROOT = Path(__file__).parents[2]
FOLDER = Path(measure.__file__).parent
TOY = '''"""How bright samples are."""

from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="toy-light",
    line="mean grey level of samples",
    question="distance",
    gives=(Value("brightness", unit="levels", better="higher"),),
    features=False,
    also=("glow-worm",),
    protocol=(("lamp", "lamp"),),
)


def take(c: Comparison) -> list[Record]:
    """Return the mean grey level."""
    return [c.record(MEASURE.says("brightness"), float(c.fake.float().mean()), "mean grey level", 0.0, features=False, se=1.0, lamp=c.seed)]
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "toy_light.py").write_text(TOY)
    monkeypatch.setattr(genzoo.metrics, "__path__", [*genzoo.metrics.__path__, str(tmp_path / "own")])
    yield tmp_path
    sys.modules.pop("genzoo.metrics.toy_light", None)


def test_the_table_is_what_the_files_say():
    for m in table().values():
        module = importlib.import_module(m.module)
        assert m == module.MEASURE
        assert m.take is module.take
        assert module.take.__doc__.startswith("Return ")
    declaring = {p.stem for p in FOLDER.glob("*.py") if "\nMEASURE = " in p.read_text()}
    assert declaring == {m.name.replace("-", "_") for m in table().values()}


def test_measures_are_known_without_torch():
    code = "import sys; from genzoo.metrics import measure; measure.rows(), measure.values(); print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_one_value_says_one_thing_wherever_it_is_given():
    for m in table().values():
        for v in m.values:
            assert v == values()[v.name], f"{v.name} of {m.name}"
    words = [w.lower() for m in table().values() for w in (m.name, *m.also)]
    assert len(set(words)) == len(words) - 5, (
        "psnr and ssim are words for three measures each, lpips for two, and nothing else is shared"
    )
    known = [measure._bare(w) for m in table().values() for k in m.known for w in (k.name, *k.also)]
    assert len(set(known)) == len(known)
    assert not set(known) & {measure._bare(w) for w in words}


def test_help_and_docs_have_every_measure_and_value(capsys):
    assert main(["help", "evaluate"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    docs = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
    for m in table().values():
        assert f" {m.name} " in shown
        assert f"| `{m.name}` |" in docs
        for v in m.values:
            assert v.name in shown
            assert v.name in docs


def plan_of(tmp_path, name, more=""):
    file = tmp_path / f"{abs(hash(name))}.toml"
    file.write_text(f'systems = ["dcgan"]\ndata = ["digits"]\nmeasure = "{name}"\n{more}', encoding="utf-8")
    return read_plan(file, tmp_path / f"out-{abs(hash(name))}")[1]


def test_a_study_can_ask_for_every_value(tmp_path):
    for v in values().values():
        if v.better:
            assert plan_of(tmp_path, v.name).direction == v.better
        else:
            with pytest.raises(UserError, match='say better = "lower" or "higher"'):
                plan_of(tmp_path, v.name)
            assert plan_of(tmp_path, v.name, 'better = "higher"').direction == "higher"
        assert all(v in m.values for m in alternatives([v.name])[0])
    assert plan_of(tmp_path, "FLD").measure == measure.usual()
    with pytest.raises(UserError, match="there is no measure 'FLDD' — did you mean 'FLD'"):
        plan_of(tmp_path, "FLDD")


def test_a_measure_is_one_file(toy, tmp_path, capsys):
    rng = np.random.default_rng(0)
    runs = []
    for name, top in (("dark", 60), ("light", 250)):
        np.savez(tmp_path / f"{name}.npz", images=rng.integers(0, top, (30, 1, 8, 8), dtype=np.uint8))
        runs.append(tmp_path / f"{name}.npz")
    for run in runs:
        found = genzoo.evaluate(run, "digits", measures="toy-light", size=8, limit=50)
        (record,) = found["measures"].values()
        assert (record["measure"], record["unit"], record["better"]) == ("brightness", "levels", "higher")
    default = genzoo.evaluate(runs[0], "digits", size=8, limit=50, out=tmp_path / "all")
    assert "brightness" in default["measures"], "taken when nothing is asked for"
    assert genzoo.evaluate(runs[0], "digits", measures="glow-worm", size=8, limit=50, out=tmp_path / "w")["measures"]
    row = next(r for r in genzoo.compare(*runs, out=tmp_path / "compared")["rows"] if r["measure"] == "brightness")
    assert row["best"] == [next(name for name in row["values"] if "light" in name)]
    assert main(["help", "evaluate"]) == 0
    assert "mean grey level of samples: brightness [levels] ↑" in " ".join(capsys.readouterr().out.split())
    assert plan_of(tmp_path, "brightness").direction == "higher"
    assert "| `toy-light` |" in measure.markdown()


def test_an_installed_package_brings_measures(tmp_path, monkeypatch):
    package, told = tmp_path / "lamps", tmp_path / "lamps-1.0.dist-info"
    package.mkdir()
    told.mkdir()
    (package / "__init__.py").write_text("")
    (package / "toy_light.py").write_text(TOY)
    (package / "kid.py").write_text(TOY.replace("toy-light", "kid"))
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: lamps\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[genzoo.measures]\ntoy-light = lamps.toy_light\nkid = lamps.kid\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    measure._found.cache_clear()
    try:
        assert table()["toy-light"].module == "lamps.toy_light"
        assert table()["toy-light"].take.__module__ == "lamps.toy_light"
        assert table()["kid"].module == "genzoo.metrics.kid", "a package takes no name of ours"
    finally:
        measure._found.cache_clear()
        for name in [n for n in sys.modules if n.partition(".")[0] == "lamps"]:
            sys.modules.pop(name)


def test_a_declaration_that_cannot_be_read_says_why(tmp_path):
    (tmp_path / "wrong.py").write_text("\nMEASURE = Measure(name='other', line='x', question='distance', gives=())\n")
    with pytest.raises(UserError, match=r"belongs into other\.py"):
        read(tmp_path / "wrong.py")
    (tmp_path / "own.py").write_text("\nMEASURE = Measure(name='own', line=text(), question='distance', gives=())\n")
    with pytest.raises(UserError, match="read without importing the file"):
        read(tmp_path / "own.py")
    (tmp_path / "none.py").write_text("x = 1\n")
    assert read(tmp_path / "none.py") is None


def test_nobody_else_names_a_measure_or_its_values():
    names = {w for m in table().values() for w in (m.name, *(v.name for v in m.values))}
    names -= {
        "lpips",
        "retrieval",
        "variety",
        "likelihood",
        "density",
        "score",
        "condition",
        "pairs",
        "statistics",
        "reconstruction",
        "copying",
    }
    names -= {
        "precision",
        "accuracy",
        "modes",
        "restored",
        "diversity",
        "coverage",
        "sliced",
        "recall",
        "memorization",
    }  # words of other things too
    for room in ("use", "training", "studies", "runs"):
        for path in sorted((FOLDER.parent / room).rglob("*.py")):
            if path.name == "advise.py":  # it reads what proofs have reached, by the names of the values
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            told = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            assert not names & told, path
    shared = FOLDER.glob("*.py")
    for path in (p for p in shared if read(p) is None and p.stem != "measure"):
        literals = {
            n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        }  # fmt: skip
        assert not names & literals, path


def test_who_asks_by_a_value_gets_the_measure_that_gives_it():
    for word, wanted in (
        ("FID", "frechet"),
        ("bpd", "nll"),
        ("recall", "prdc"),
        ("AuthPct", "memorization"),
        ("memorisation", "memorization"),
    ):
        assert [m.name for m in alternatives(word)[0]] == [wanted]
    assert [m.name for m in alternatives("psnr")[0]] == ["reconstruction", "pairs", "restored"]
    with pytest.raises(UserError, match=re.escape("did you mean 'frechet'")):
        alternatives("frechett")
