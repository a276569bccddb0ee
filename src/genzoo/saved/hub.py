"""Models of the Hugging Face hub: `hf:NAME` or `hf:NAME@REVISION` stands wherever a model is taken (extra `hub`)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from genzoo.core.errors import UserError, disk_full_is_said
from genzoo.naming.published import HUB

PREFIX = HUB
FILES = ("model.safetensors", "config.json", "README.md")
NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub(place: Any) -> TypeGuard[str]:
    """Tell whether a place is a model of the hub."""
    return isinstance(place, str) and place.startswith(PREFIX)


def parsed(place: str) -> tuple[str, str | None]:
    """Split hf:OWNER/NAME@REVISION into name and revision (None: the newest).

    Raises:
        UserError: It is of another form.
    """
    name, at, revision = place.removeprefix(PREFIX).partition("@")
    if not NAME.fullmatch(name) or (at and not revision):
        raise UserError(f"{place} is no model of the hub; write {PREFIX}OWNER/NAME, or {PREFIX}OWNER/NAME@REVISION")
    return name, revision or None


def package() -> Any:
    """Import huggingface_hub.

    Raises:
        UserError: It is not installed.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise UserError("models of the hub need the extra: pip install 'genzoo[hub]'") from None
    return huggingface_hub


def fetched(place: str) -> Path:
    """Fetch a model into the hub's own cache, if it is not there, and return its folder.

    Args:
        place: hf:OWNER/NAME, or hf:OWNER/NAME@REVISION: a branch, a tag or a commit.

    Raises:
        UserError: No such model or revision, the hub cannot be reached and nothing is cached, or no room.
    """
    name, revision = parsed(place)
    hub = package()
    with said(place), disk_full_is_said(hub.constants.HF_HUB_CACHE, 0):
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(FILES), library_name="genzoo"))
    if not (folder / FILES[0]).is_file():
        raise UserError(f"{place} holds no {FILES[0]}: it is a model of another library")
    return folder


@contextlib.contextmanager
def said(place: str) -> Iterator[None]:
    """Put into words what the hub refuses, without ever a token in them.

    Raises:
        UserError: Instead of the package's errors.
    """
    errors, home = package().errors, package().constants.ENDPOINT
    name, revision = parsed(place)
    try:
        yield
    except errors.RevisionNotFoundError:
        raise UserError(f"{PREFIX}{name} has no revision '{revision}'; see {home}/{name}/commits/main") from None
    except errors.GatedRepoError:
        raise UserError(f"{PREFIX}{name} has to be asked for first, at {home}/{name}") from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"there is no model {PREFIX}{name} at {home}, or it is private: then log in with 'hf auth login' or set HF_TOKEN"
        ) from None
    except errors.LocalEntryNotFoundError:
        raise UserError(f"{home} cannot be reached, and {place} has not been fetched before") from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            raise UserError(
                f"{home} does not let you write {PREFIX}{name}: log in with 'hf auth login' (a token that may write), or set HF_TOKEN"
            ) from None
        raise UserError(f"{home} answered {status} for {place}; nothing was changed there. Try again later") from None
    except errors.OfflineModeIsEnabled:
        raise UserError("HF_HUB_OFFLINE is set; unset it to reach the hub") from None
    except ConnectionError:
        raise UserError(f"{home} cannot be reached; nothing was changed there") from None
    except RuntimeError as error:
        if "to the Hub" not in str(error):
            raise
        raise UserError(f"{home} broke off the upload; nothing was changed there. Try again") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in (
            "httpx",
            "httpx2",
            "httpcore",
            "httpcore2",
            "requests",
            "urllib3",
        ):
            raise UserError(f"{home} cannot be reached ({type(error).__name__}); nothing was changed there") from None
        raise
