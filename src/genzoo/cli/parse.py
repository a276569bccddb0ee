"""From words to keys: `key=value`, and what hands used to dashes type."""

from __future__ import annotations

from genzoo.core.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_KEY = r"-{0,2}([A-Za-z_][\w-]*)\s*=((?s:.*))"
_NAME = r"-{0,2}([A-Za-z_][\w-]*)"
_SWITCH = ("true", "false", "yes", "no", "on", "off", "1", "0")


def parse(
    words: Sequence[str], *, switch: Callable[[str], bool] = lambda key: False
) -> tuple[list[str], dict[str, str]]:
    """Split words into positions and keys.

    `n=64`, `--n=64`, `--n 64`, `n = 64`, `n= 64` and `n =64` are the same; `--json` alone is `json=true`; dashes in a key are
    underscores. A word like `runs/a=b` or `a.png` is no key.

    >>> parse(["runs/dcgan", "n", "=", "64", "--seed", "1", "--json"])
    (['runs/dcgan'], {'n': '64', 'seed': '1', 'json': 'true'})

    Args:
        words: What was typed after the command.
        switch: Says whether a key is true or false, so that what follows a bare `--key` is not its value.

    Raises:
        UserError: A key is given twice, or has no value.
    """
    if not words:
        return [], {}
    import re  # not above: help has nothing to read

    rest, position = list(words), list[str]()
    keys: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        if found := re.fullmatch(_KEY, word):
            key, value = found[1], found[2]
            if not value and rest and not re.fullmatch(_KEY, rest[0]) and not rest[0].startswith("--"):
                value = rest.pop(0)
        elif rest and rest[0].startswith("=") and (found := re.fullmatch(_NAME, word)):
            key, value = found[1], rest.pop(0)[1:]
            if not value and rest:
                value = rest.pop(0)
        elif word.startswith("-") and (found := re.fullmatch(_NAME, word)):
            key = found[1]
            bare = not rest or rest[0].startswith("--") or bool(re.fullmatch(_KEY, rest[0]))
            if switch(key.replace("-", "_")):
                value = rest.pop(0) if not bare and rest[0].lower() in _SWITCH else "true"
            else:
                value = "true" if bare else rest.pop(0)
        else:
            position.append(word)
            continue
        key = key.replace("-", "_")
        if key in keys:
            raise UserError(f"{key} is given twice: {key}={keys[key]} and {key}={value}")
        keys[key] = value.strip()
    return position, keys
