"""Where shards are: a folder, or a URL that fsspec reads; what fails is tried again for a while, and then said in one sentence."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from genzoo.core.errors import NoSuchData, UserError
from genzoo.data.sources.shelf import spread

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between attempts, a minute in all: a server that starts again is waited for."""
PIECE = 16 * 2**20
"""Bytes that are asked for at once: what an error costs."""
TIMEOUT = "60s"
"""How long a request for a piece may take: 16 MiB in it are 280 kB/s."""
STORES = {"s3": "s3", "gs": "gs", "gcs": "gs", "http": "http", "https": "https"}
"""Protocols that the extra reads; fsspec knows others, where their packages are installed."""
KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SKIP_SIGNATURE=true for a public bucket)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, the path of a service account's key (GOOGLE_SKIP_SIGNATURE=true for a public bucket)",
}
_REFUSED = re.compile(
    r"status code: 40[13]|Unauthorized|PermissionDenied|Unauthenticated|169\.254\.169\.254|latest/api/token|computeMetadata|service account file"
)
"""What errors say where a server refuses, where a machine of the cloud's own would be asked for credentials (there are none), and of a bad key."""
_NEVER = re.compile(r"status code: (4(?!08|29)\d\d|501)")
"""Answers of a server that are the same the next time: all of 4xx but "too slow" and "too many requests", and "not implemented"."""
T = TypeVar("T")


def is_remote(text: str) -> bool:
    """Tell whether data= is a URL of shards: s3://, gs://, https:// ...

    >>> is_remote("s3://bucket/shards/"), is_remote("photos/"), is_remote("hf:cifar10")
    (True, False, False)
    """
    return bool(re.match(r"[a-z][a-z0-9+.-]*://", text))


class Place:
    """A folder of shards, near or far.

    Args:
        text: A URL (s3://bucket/shards/, https://host/train-{000..019}.tar) or a path.

    Raises:
        UserError: Nothing here reads such a URL.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.protocol, _, rest = text.partition("://") if is_remote(text) else ("file", "", text)
        self.fs = _filesystem(self.protocol, text)
        far = self.protocol in ("http", "https")
        base = text if far else rest if self.protocol != "file" else str(Path(text).expanduser().absolute())
        found = re.search(r"[{*?]", base)
        self.pattern = base if found else ""
        self.base = (base[: base.rindex("/", 0, found.start())] if found else base).rstrip("/")

    def path(self, name: str) -> str:
        """Return the filesystem's path of a file."""
        return f"{self.base}/{name}"

    def listed(self) -> dict[str, int]:
        """List the files below, with their bytes (0: not known); those of a pattern where one is given.

        Raises:
            UserError: It is not there, cannot be read or cannot be listed.
        """
        if self.pattern and "{" in self.pattern and (spelled := spread(self.pattern)):
            prefix = len(self.base) + 1
            # `spread` makes paths, which fold the two slashes of a URL
            names = [str(p).replace(":/", "://", 1) if self.protocol in ("http", "https") else str(p) for p in spelled]
            return {name[prefix:]: 0 for name in names}
        found: dict[str, dict[str, Any]] = self.tried(lambda: self.fs.find(self.base, detail=True), "listed", self.text)
        start = self.base.rstrip("/") + "/"
        every = {n.removeprefix(start): int(i.get("size") or 0) for n, i in found.items() if n.startswith(start)}
        if self.pattern:
            last = re.escape(self.pattern[len(start) :]).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
            every = {n: size for n, size in every.items() if re.fullmatch(last, n)}
        return every

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        if self.protocol in ("http", "https"):
            self.read(
                name, 0, 1
            )  # of one that is not there the reader would ask for a list of its folder, which a web server has not
        return int(self.tried(lambda: self.fs.info(self.path(name))["size"], "read", self.path(name)))

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes of a file; all of it where its end is not known."""
        if stop is None:
            return bytes(self.tried(lambda: self.fs.cat_file(self.path(name)), "read", self.path(name)))
        return bytes(
            self.tried(lambda: self.fs.cat_file(self.path(name), start=start, end=stop), "read", self.path(name))
        )

    def pieces(self, name: str, size: int) -> Iterator[bytes]:
        """Yield a file piece by piece, each tried again on its own: what has come is not asked for twice."""
        for start in range(0, size, PIECE):
            stop = min(start + PIECE, size)
            piece = self.read(name, start, stop)
            if len(piece) != stop - start:
                raise UserError(
                    f"{self.shown(name)} has become shorter than {size:,} bytes: it was written over; start again"
                )
            yield piece

    def write(self, name: str, data: bytes) -> None:
        """Write a file."""
        try:
            self.tried(lambda: self.fs.pipe_file(self.path(name), data), "written", self.path(name))
        except NoSuchData:
            raise NoSuchData(f"{self.shown(name)} cannot be written: there is no such bucket or folder") from None

    def shown(self, name: str) -> str:
        """Return what a person calls a file."""
        path = self.path(name)
        return path if "://" in path or self.protocol == "file" else f"{self.protocol}://{path}"

    def tried(self, do: Callable[[], T], verb: str, path: str) -> T:
        """Do something, again and again while it may still come right.

        Raises:
            NoSuchData: It is not there.
            UserError: It is refused, or still fails.
        """
        named = path if "://" in path or self.protocol == "file" else f"{self.protocol}://{path}"
        for pause in (*PAUSES, None):
            try:
                return do()
            except FileNotFoundError:
                raise NoSuchData(f"{named} is not there") from None
            except (UserError, KeyboardInterrupt):
                raise
            except Exception as error:
                text = _first(error)
                if "NoSuchBucket" in str(error):
                    raise NoSuchData(f"{named} is not there: there is no such bucket") from None
                if _says(error, _REFUSED):
                    keys = KEYS.get(STORES.get(self.protocol, ""), "")
                    raise UserError(
                        f"{named} cannot be {verb}: the server refuses it, or there are no credentials{f'; set {keys}' if keys else ''} ({text})"
                    ) from None
                if (
                    _says(error, _NEVER)
                    or isinstance(error, NotImplementedError)
                    or "NotSupported" in type(error).__name__
                ):
                    raise UserError(f"{named} cannot be {verb} ({text})") from None
                if pause is None:
                    raise UserError(
                        f"{named} cannot be {verb}: {text}; tried {len(PAUSES) + 1} times in {sum(PAUSES):.0f} s"
                    ) from None
                if pause >= 4:
                    print(
                        f"data: {named} cannot be {verb} ({text}); trying again in {pause:.0f} s",
                        file=sys.stderr,
                        flush=True,
                    )
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def _says(error: Exception, words: re.Pattern[str]) -> bool:
    """Tell whether an error is of a kind, by its name and what it says."""
    return words.search(f"{type(error).__name__} {error}") is not None


def _first(error: Exception) -> str:
    """Return the first line of an error, cut to a length that can be read."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    line = re.sub(r"Error performing \w+ \S+ in [\d.]+\w+ - ", "", line)
    return line if len(line) < 200 else line[:200] + "..."


def _filesystem(protocol: str, text: str) -> Any:
    """Return the filesystem of a protocol, as a URL of it names the rest (the host of ftp://)."""
    import fsspec.core

    if protocol in STORES:
        try:
            from obstore.fsspec import FsspecStore
        except ImportError:
            raise UserError(
                f"{protocol}:// needs a reader that is not installed: pip install 'genzoo[stream]'"
            ) from None
        server, more = _own_server(STORES[protocol])
        plain = server.startswith("http://") or protocol == "http"
        client = {"timeout": TIMEOUT, "connect_timeout": "10s", **({"allow_http": True} if plain else {})}
        store: Any = FsspecStore  # its overloads do not name a protocol that is a variable
        # we try again ourselves; and a store that fsspec has kept would not see another endpoint or other keys
        return store(
            STORES[protocol], client_options=client, retry_config={"max_retries": 0}, skip_instance_cache=True, **more
        )
    try:
        return fsspec.core.url_to_fs(text if is_remote(text) else "/")[0]
    except Exception as error:  # every package has its own
        raise UserError(
            f"{protocol}:// is not read here ({_first(error)}); give s3://, gs://, https:// or a folder"
        ) from None


def _own_server(store: str) -> tuple[str, dict[str, Any]]:
    """Return the address of a server that stands for the cloud's, "" where there is none, and what the reader is told of it beside its own variables.

    Google's libraries take STORAGE_EMULATOR_HOST and do not sign; the reader does not know it, and would ask Google itself.
    """
    if store == "s3":
        return os.environ.get("AWS_ENDPOINT_URL", ""), {}
    if store == "gs" and (host := os.environ.get("STORAGE_EMULATOR_HOST")):
        address = (host if "://" in host else f"http://{host}").rstrip("/")
        unsigned = {"skip_signature": True, "bearer_token": "none"}  # what is written is signed all the same
        return address, {"base_url": address, **unsigned}
    return os.environ.get("GOOGLE_BASE_URL", "") if store == "gs" else "", {}
