"""What is released is whole: the wheel has every file of the package, the source distribution every file of the repository."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def sources() -> set[str]:
    """Files of the repository: those that git knows or would take, or all that an unpacked distribution has."""
    if (ROOT / ".git").exists():
        words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        return {name for name in listed if name and (ROOT / name).exists()}
    found = {path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()}
    made = {"__pycache__", ".venv", ".pytest_cache", ".hypothesis", "runs", "build", "dist", "genzoo.egg-info"}
    return {path.as_posix() for path in found if not made & {*path.parts[:1], *path.parts[-2:-1]}} - {
        "PKG-INFO",
        "setup.cfg",
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the metadata and the package as they would be built: `egg_info` and `build_py`, without an archive."""
    folder = tmp_path_factory.mktemp("built")
    words = ["-q", "egg_info", "--egg-base", str(folder), "build_py", "--build-lib", str(folder / "lib")]
    subprocess.run([sys.executable, "setup.py", *words], cwd=ROOT, capture_output=True, check=True)
    return folder


def test_the_wheel_has_every_file_of_the_package(built):
    wheel = {path.relative_to(built / "lib").as_posix() for path in (built / "lib").rglob("*") if path.is_file()}
    assert {"genzoo/py.typed", "genzoo/data/sources/embedded/digits.png", "genzoo/use/paces.json"} <= wheel
    assert {f"src/{name}" for name in wheel} == {name for name in sources() if name.startswith("src/")}


def test_the_source_distribution_has_every_file_of_the_repository(built):
    listed = {*(built / "genzoo.egg-info" / "SOURCES.txt").read_text(encoding="utf-8").splitlines()}
    assert {"Makefile", "constraints.txt", "proofs/__main__.py", "docs/training.md", "tests/test_release.py"} <= listed
    assert sources() <= listed


def test_the_wheel_of_trained_models_has_every_file_of_its_package(tmp_path):
    words = ["-q", "egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(tmp_path / "lib")]
    code = "import setuptools, sys; setuptools.setup()"
    folder = ROOT / "packages" / "zoo"
    subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, check=True)
    wheel = {path.relative_to(tmp_path / "lib").as_posix() for path in (tmp_path / "lib").rglob("*") if path.is_file()}
    assert {"genzoo_zoo/__init__.py", "genzoo_zoo/dcgan-garments/model.safetensors"} <= wheel
    inside = "packages/zoo/genzoo_zoo/"
    assert {f"packages/zoo/{name}" for name in wheel} == {name for name in sources() if name.startswith(inside)}
    own = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert own["version"] == PROJECT["version"]
    assert own["name"] in PROJECT["optional-dependencies"]["zoo"]


def test_the_description_leads_nowhere_that_a_package_index_lacks(built):
    text = (built / "genzoo.egg-info" / "PKG-INFO").read_text(encoding="utf-8").split("\n\n", 1)[1]
    assert "genzoo train dcgan data=photos/" in text
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert targets
    assert [t for t in targets if not t.startswith("https://")] == []
    shorten = runpy.run_path(str(ROOT / "setup.py"))["long_description"]
    assert shorten("![a](b.png)\n\n[c](d/e.md) [f](https://g) [`h`](i#j)\n").startswith("c [f](https://g) `h`\n")


def test_the_metadata_say_only_what_is_so(built):
    lines = (built / "genzoo.egg-info" / "PKG-INFO").read_text(encoding="utf-8").splitlines()
    assert "Author: genzoo contributors" in lines
    assert "License-Expression: Apache-2.0 AND CC-BY-4.0 AND MIT" in lines
    assert [line for line in lines if line.startswith(("Project-URL", "Home-page"))] == []
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_python_that_is_declared_stands_in_the_classifiers():
    low, high = (int(n) for n in re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups())
    said = [c.rsplit(".", 1)[1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert said == [str(n) for n in range(low, high)]
    assert sys.version_info[1] in range(low, high)


def test_benchmarks_tools_and_proofs_need_no_path_of_their_own():
    for path in [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("proofs/*.py"), *ROOT.glob("tools/*.py")]:
        used = {
            ast.unparse(node)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
        }
        assert not used & {"sys.path"}, (
            f"{path.name}: run it with 'python -m {path.parent.name}.{path.stem}' from the root"
        )


def test_the_changelog_has_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{PROJECT['version']}] - " in changelog
