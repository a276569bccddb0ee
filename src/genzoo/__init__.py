"""genzoo, the generative model zoo: every classic deep generative model, one readable file each, on your own data with one command.

>>> import genzoo
>>> system = genzoo.create("gaussian", shape=(1, 8, 8))
>>> system.hparams["shape"]
(1, 8, 8)

The names below are imported on first use, so that `import genzoo` and `genzoo --help` cost no torch.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as type checkers read it; `typing` takes longer to import than the rest of `genzoo --help`
if TYPE_CHECKING:
    from typing import Any

    from genzoo.api import create, list_systems, register, resume, train
    from genzoo.core.errors import UserError
    from genzoo.core.system import System
    from genzoo.foreign.taking import import_run
    from genzoo.lectures import theory
    from genzoo.runs.loggers import register_logger
    from genzoo.saved.loading import load
    from genzoo.studies import study
    from genzoo.use.animate import animate
    from genzoo.use.arithmetic import arithmetic
    from genzoo.use.bits import bits
    from genzoo.use.common.precision import precision
    from genzoo.use.compare import compare
    from genzoo.use.complete import complete
    from genzoo.use.compress import compress, decompress
    from genzoo.use.decode import decode
    from genzoo.use.density import density
    from genzoo.use.directions import directions
    from genzoo.use.evaluate import evaluate
    from genzoo.use.export import export
    from genzoo.use.figures import figures
    from genzoo.use.mix import mix
    from genzoo.use.project import project
    from genzoo.use.push import push
    from genzoo.use.reconstruct import reconstruct
    from genzoo.use.sample import sample
    from genzoo.use.statistics import statistics
    from genzoo.use.translate import translate
    from genzoo.use.walk import walk

__all__ = [
    "list_systems",
    "create",
    "train",
    "resume",
    "load",
    "register",
    "register_logger",
    "System",
    "sample",
    "walk",
    "mix",
    "reconstruct",
    "project",
    "arithmetic",
    "decode",
    "directions",
    "translate",
    "complete",
    "animate",
    "compress",
    "decompress",
    "bits",
    "density",
    "evaluate",
    "statistics",
    "compare",
    "export",
    "push",
    "import_run",
    "precision",
    "figures",
    "study",
    "theory",
    "UserError",
    "__version__",
]
_HOME = {
    "list_systems": "api",
    "create": "api",
    "train": "api",
    "resume": "api",
    "load": "saved.loading",
    "decompress": "use.compress",
    "import_run": "foreign.taking",
    "precision": "use.common.precision",
    "study": "studies",
    "theory": "lectures",
    "UserError": "core.errors",
    "System": "core.system",
    "register": "api",
    "register_logger": "runs.loggers",
}
"""Modules of the public names; a verb that is not here has a module of its own name in `genzoo.use`."""

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'genzoo' has no attribute '{name}'")
    home = f"genzoo.{_HOME.get(name, f'use.{name}')}"
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
