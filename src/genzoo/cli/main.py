"""Find the command, read its options, call its function, and put mistakes into words."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from keyword import iskeyword

from genzoo.cli.parse import parse
from genzoo.cli.table import Command, command, commands
from genzoo.core.errors import DiskFull, TrainingStopped, UserError, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

HELP = ("-h", "--help", "-help")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 failed, 2 a mistake in what was asked, 130 interrupted."""
    try:
        _run(list(sys.argv[1:] if words is None else words))
        sys.stdout.flush()
    except UserError as error:
        # A full disk is nobody's typing mistake, though the message is for the same person.
        return _say(str(error), 1 if isinstance(error, DiskFull) else 2)
    except TrainingStopped as stop:
        return _say(str(stop), stop.code)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        _close_stdout()
        return 141
    except OSError as error:
        _close_stdout()
        where = f": {error.filename}" if error.filename else ""
        return _say(f"{(error.strerror or str(error)).lower()}{where}", 1)
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            return _say("there is no memory left; try a smaller batch= or size=, or a smaller network", 1)
        if type(error).__name__ == "OutOfMemoryError":
            return _say("the device has no memory left; try a smaller batch= or size=, or device=cpu", 1)
        raise
    return 0


def _close_stdout() -> None:
    """Send what is still buffered nowhere, where the reader (head, less) has left or the disk is full."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str, code: int) -> int:
    if told := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        _tell_launcher(told, message)
    if "WORLD_SIZE" in os.environ:  # also before torch is imported: its store alone knows whether another has said it
        from genzoo.ranks.attempts import speaks

        if not speaks(message, code):
            return code
    print(f"genzoo: {message}", file=sys.stderr, flush=True)
    return code


def _tell_launcher(path: str, message: str) -> None:
    """Leave a message where torchrun looks for it: its report on each process, which comes last on the screen, then says what was wrong."""
    import json
    import time
    from contextlib import suppress

    with suppress(OSError):  # it has been printed
        with open(f"{path}.part", "w") as file:
            extra = {"py_callstack": message, "timestamp": str(int(time.time()))}
            json.dump({"message": {"message": message, "extraInfo": extra}}, file)
        os.replace(f"{path}.part", path)


def _run(words: list[str]) -> None:
    if not words or words[0] in HELP:
        words = ["help"]
    if words[0] in ("--version", "-V"):
        words = ["version"]
    found = find(words[0])
    if any(w in HELP for w in words[1:]):
        words = ["help", found.name]
        found = find("help")
    function = found.load()
    kinds = function.__annotations__
    position, keys = parse(words[1:], switch=lambda key: kinds.get(key) in (bool, "bool"))
    device = keys.pop("device", "") if found.opens else ""
    precise = keys.pop("precision", "") if found.opens else ""
    if precise and found.exact:
        raise UserError(
            f"{found.name}: precision={precise}: what it gives has to be the same everywhere, and is computed in full; leave it out"
        )
    if "system" in keys and (position or "system" not in kinds):
        from genzoo.naming.registry import register

        register(keys.pop("system"))
    values = arguments(found, function, position, keys)
    with ExitStack() as stack:
        if found.waits and os.environ.get("RANK", "0") == "0":
            from genzoo.cli.common import waiting

            stack.enter_context(waiting(found.name))
        if device:
            from genzoo.use.common.source import on_device

            stack.enter_context(on_device(device))
        if precise:
            from genzoo.use.common.precision import precision

            stack.enter_context(precision(precise))
        if found.opens and int(os.environ.get("WORLD_SIZE", 1)) > 1:
            from genzoo.metrics.features.networks import extractor
            from genzoo.ranks.spread import lead
            from genzoo.use.common.source import open_system

            lead(lambda: function(**values), {"system": open_system, "network": extractor})
            return
        function(**values)


def find(word: str) -> Command:
    """Find the command that a person means.

    Raises:
        UserError: There is none of that name; the message has the nearest one.
    """
    if found := command(word):
        return found
    from genzoo.naming.registry import names

    if word.lower().replace("_", "-") in names():
        raise UserError(
            f"'{word}' is a system, not a command; 'genzoo train {word} data=...' trains it, 'genzoo show {word}' explains it"
        )
    every = commands()
    raise UserError(f"there is no command '{word}'{nearest(word, every) or '.'} 'genzoo' alone shows all {len(every)}.")


def arguments(
    asked: Command, function: Callable[..., None], position: list[str], keys: dict[str, str]
) -> dict[str, Any]:
    """Check what was given against the function's signature.

    Raises:
        UserError: Too many words, an unknown key, a value that is not allowed, or something required is missing.
    """
    if asked.light and not position and not keys:
        return {}  # nothing to check, and a signature is read by a module that takes as long to import as all of these
    import inspect

    parameters = inspect.signature(function).parameters.values()
    slots = [p.name for p in parameters if p.name != "own" and p.annotation not in (bool, "bool")]
    gathered: tuple[str, ...] = ()
    if asked.many in slots:
        at = slots.index(asked.many)
        slots, gathered, position = slots[:at], tuple(position[at:]), position[:at]
    if len(position) > len(slots):
        extra = position[len(slots)]
        raise UserError(
            f"{asked.name}: '{extra}' is one word too many; options are written key=value. Usage: {usage(asked)}"
        )
    values: dict[str, Any] = {
        f"{k}_" if iskeyword(k) else k: v for k, v in keys.items()
    }  # as=, which Python cannot call as
    if "o" in values and any(p.name == "out" for p in parameters):
        values.setdefault("out", values.pop("o"))  # -o FILE, as compressors have it
    if asked.many and asked.many in values:
        gathered = (values.pop(asked.many), *gathered)
    if gathered:
        values[asked.many] = gathered
    for slot, word in zip(slots, position, strict=False):
        if slot in values:
            raise UserError(f"{asked.name}: {slot} is given twice: {word} and {slot}={values[slot]}")
        values[slot] = word
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in values and p.name != "own"]
    if missing:
        raise UserError(f"{asked.name}: {missing[0].upper()} is missing. Usage: {usage(asked)}")
    own = {}
    if asked.own or asked.open:
        named = {p.name for p in parameters}
        own = {k: values.pop(k) for k in [*values] if k not in named or k == "own"}
    if asked.light:
        return plain(asked, function, values)
    from genzoo.core.schema import check

    checked = check(function, values, label=asked.name, skip=("own",))
    return {**checked, "own": own} if asked.own or asked.open else checked


def plain(asked: Command, function: Callable[..., None], values: dict[str, str]) -> dict[str, Any]:
    """Check the options of the few askeds that have to answer at once: words and switches only, without pydantic."""
    kinds = function.__annotations__
    for key, value in values.items():
        if key not in kinds:
            raise UserError(f"{asked.name} has no setting '{key}'{nearest(key, kinds) or '.'} Usage: {usage(asked)}")
        if kinds[key] == "bool" and value.lower() not in ("true", "false"):
            raise UserError(f"{asked.name}: {key}={value} is not allowed; give true or false")
    return {k: v.lower() == "true" if kinds[k] == "bool" else v for k, v in values.items()}


def usage(asked: Command) -> str:
    """One line: what to type."""
    return f"genzoo {asked.name} {asked.usage}".rstrip()
