"""Classes that are not of the zoo: from a person's file, from a session, from an installed package.

A file is run when a person gives it, and never because a checkpoint names it: what a checkpoint says of its class (`source`)
is for people to read, and to compare with what they give.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import NotHere, UserError, nearest
from genzoo.core.schema import FROM_DATA, settings
from genzoo.core.system import System
from genzoo.naming.published import PUBLISHED

FILE = re.compile(r"(?P<file>.+\.py)(:(?P<part>[\w-]+))?")
MODULE = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<part>[\w-]+)")
_digests: dict[str, str] = {}
"""Module of a file that was run here -> digest of what was run; the file may have changed since."""


def is_given(text: str) -> bool:
    """Tell whether a word means a class of one's own: mine.py, mine.py:MyModel or package.module:MyModel."""
    return bool(FILE.fullmatch(text) or MODULE.fullmatch(text))


def opened(given: str | os.PathLike[str] | type[System]) -> tuple[type[System], str | None]:
    """Open the class (and preset of it) that a person gives: itself, its file, or its module and name.

    Raises:
        UserError: There is no such file, it cannot be run, it has no system or several, or what it has cannot be used.
    """
    if not isinstance(given, (str, os.PathLike)):
        return accepted(given), None
    text = os.fspath(given)
    if text.startswith(PUBLISHED):
        raise UserError(
            f"{text} is a trained model and no system; give it where a run is taken (genzoo sample {text}), "
            f"or begin with its weights: genzoo train SYSTEM from={text}"
        )
    if found := FILE.fullmatch(text):
        module, part = _run(Path(found["file"]).expanduser()), found["part"] or ""
        name = found["file"]
    elif found := MODULE.fullmatch(text):
        module, part, name = _imported(found["module"]), found["part"], found["module"]
    else:
        raise UserError(f"'{text}' is no class of one's own; give a file (mine.py, mine.py:MyModel) or a class")
    own = {c.__name__: c for c in vars(module).values() if _is_system(c) and c.__module__ == module.__name__}
    there = {n: c for n, c in own.items() if not inspect.isabstract(c)}
    if not part:
        if len(there) > 1:
            raise UserError(f"{name} has {len(there)} systems; say which: {', '.join(f'{name}:{n}' for n in there)}")
        if not there:
            abstract = f" ({', '.join(own)} is abstract)" if own else ""
            raise UserError(f"{name} has no system{abstract}: a class that derives from genzoo.System")
        return accepted(next(iter(there.values()))), None
    if _is_system(getattr(module, part, None)):
        return accepted(getattr(module, part)), None
    for cls in there.values():
        if part in cls.presets:
            return accepted(cls), part
    hint = nearest(part, there) or f"; it has {', '.join(there) or 'none'}"
    raise UserError(f"{name} has no system '{part}'{hint}")


def _is_system(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, System) and value is not System


def accepted(cls: Any) -> type[System]:
    """Return a class that can be built, trained and described; everything else about it is advice (`genzoo.testing`).

    Raises:
        UserError: It is no such class; the message says what is missing.
    """
    if isinstance(cls, System):
        raise UserError(f"an object of {type(cls).__name__} was given; give the class itself, {type(cls).__name__}")
    if not _is_system(cls):
        what = cls.__name__ if isinstance(cls, type) else f"a {type(cls).__name__}"
        raise UserError(f"{what} is no system; give a class that derives from genzoo.System, or its file: mine.py")
    if inspect.isabstract(cls):
        raise UserError(f"{cls.__name__} is abstract; it lacks {', '.join(sorted(cls.__abstractmethods__))}")
    if inspect.unwrap(cls.__init__) is inspect.unwrap(System.__init__):
        raise UserError(f"{cls.__name__} has no constructor; its arguments are its settings, the first of them `shape`")
    try:
        known = settings(cls)
    except NameError as error:
        raise UserError(
            f"the settings of {cls.__name__} cannot be read: an annotation names '{error.name}', which its file does not know; "
            "import it there"
        ) from None
    except TypeError:
        raise UserError(
            f"the settings of {cls.__name__} cannot be read: *args and **kwargs are not settings, and every annotation is a type; "
            "name every argument"
        ) from None
    if "shape" not in known:
        raise UserError(
            f"{cls.__name__} takes no `shape`: the size of the data, (C, H, W) of images, which they answer"
        )
    if lacking := [k for k in FROM_DATA if k in known and known[k].required]:
        raise UserError(
            f"{cls.__name__} has no default for {lacking[0]}, which stands until the data answer it; give one"
        )
    learns = cls.loss is not System.loss or cls.training_step is not System.training_step
    if not learns and "fits" not in capabilities(cls):
        raise UserError(f"{cls.__name__} cannot learn: define loss, training_step, or partial_fit and finish_pass")
    found: type[System] = cls
    return found


def _run(path: Path) -> ModuleType:
    """Run a file that a person gave, once for each content of it."""
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UserError(f"there is no file '{path}'{nearest(path.name, beside)}")
    digest = _digest(path)
    mark = hashlib.blake2b(f"{path.resolve()} {digest}".encode(), digest_size=6).hexdigest()
    name = f"own_{mark}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name], _digests[name] = module, digest
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # what stands beside it can be imported, and hides nothing
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise UserError(_what_failed(path, error)) from error
    return module


def _what_failed(path: Path, error: BaseException) -> str:
    """Say in one line what is wrong with a file that cannot be run, and where."""
    names = (str(path), os.path.abspath(path))
    if isinstance(error, SyntaxError):
        where = "" if error.filename in names else f" of {error.filename}"
        return f"{path} is no Python: line {error.lineno}{where}: {error.msg}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename in names]
    at = f" at line {lines[-1]}" if lines else ""
    return f"{path} cannot be run{at}: {raised(error)}"


def raised(error: BaseException) -> str:
    """Put what somebody's own code raised into one line; the text is its author's, who is mostly the one who reads it."""
    said = " ".join(str(error).split())
    return said if isinstance(error, ImportError) else f"{type(error).__name__}{f': {said}' if said else ''}"


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserError(f"{name} cannot be imported: {raised(error)}") from error


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def source(cls: type[System]) -> dict[str, str]:
    """Say where a class comes from, as its checkpoints keep it: nothing for a system of the zoo.

    "class" is its name; beside it stand "package", "version" and "module" of what is installed, or "file" (without its folder)
    and "digest" of a file; neither where it was defined in a notebook.
    """
    if cls.__module__.startswith("genzoo.models."):
        return {}
    said = {"class": cls.__name__}
    if package := _package_of(cls.__module__.split(".")[0]):
        version = importlib.metadata.version(package)
        return {**said, "package": package, "version": version, "module": cls.__module__}
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file and Path(file).is_file():
        return {**said, "file": Path(file).name, "digest": _digests.get(cls.__module__) or _digest(Path(file))}
    return said


@functools.cache
def _package_of(top: str) -> str:
    """Name the installed distribution that a top-level module belongs to; empty where there is none."""
    return next(iter(importlib.metadata.packages_distributions().get(top, ())), "")


def key_for(said: Mapping[str, str]) -> str:
    """Return what the command line is given for a class that is not of the zoo ("system=mine.py"); empty where it cannot be.

    Args:
        said: Its `source`.
    """
    if "module" in said:
        return f"system={said['module']}:{said.get('class', '')}"
    return f"system={said['file']}" if "file" in said else ""


def how_to_give(said: Mapping[str, str], run: str) -> str:
    """Say how a class that is not of the zoo is given again to what reads its files.

    Args:
        said: Its `source`.
        run: What is to be read.
    """
    name = said.get("class", "CLASS")
    python = f"genzoo.load('{run}', system={name})"
    if key := key_for(said):
        return f"'genzoo sample {run} {key}', or {python}"
    return f"{python} where {name} is defined; in a file of its own the command line takes it as well (system=mine.py)"


def missing(name: str, said: Mapping[str, str]) -> NotHere:
    """Say what class a model is of that is not here, and how one gives it."""
    said = {k: " ".join(str(v).split())[:80] for k, v in said.items()}
    what = f"'{' '.join(name.split())[:80]}' is the class {said.get('class', '?')}"
    how = how_to_give(said, "RUN")
    if "package" in said:
        package = said["package"]
        return NotHere(
            f"{what} of the package {package} {said.get('version', '')}; install it (pip install {package}), or give the class: {how}"
        )
    if "file" in said:
        return NotHere(f"{what} of {said['file']}, which is run only where you give it: {how}")
    return NotHere(f"{what} of a session (a notebook, a script), which is not here; give it: {how}")
