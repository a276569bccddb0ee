"""Results of the play page: what is shown, what can be downloaded, and the command that makes the same files again.

A file is made when it is asked for, by the writers that the commands use, so that it is byte for byte what the command writes.
"""

from __future__ import annotations

import base64
import itertools
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import Depends, Request
from torch import Tensor

from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.drawing.sounds import wav
from genzoo.data.kinds import Kind
from genzoo.studio.commands import typed
from genzoo.web.errors import NotFound
from genzoo.web.pictures import TYPES, pixels, png

MOST = 64
"""Results, and pictures of a person's own, that are kept."""
ROOM = 256 << 20
"""Bytes of results that are kept, beyond the newest one."""
LATENTS = 512
"""Latents that are kept of each model."""
SHOWN = 64
"""Examples of one result that are shown, at most."""
SIDE = 512
"""Pixels of a side of what is shown, at most; files have all of them."""
Write = Callable[[Path], Any]
"""Writes one file."""


@dataclass
class Result:
    """Something that was computed.

    Args:
        command: The words that make it again, without `genzoo` and `out=`; empty where no command does.
        files: How each file is written, by its name.
        room: Bytes that it holds.
        needs: Names of files that the command reads and that are downloaded beside it.
    """

    command: Sequence[str] = ()
    files: dict[str, Write] = field(default_factory=dict)
    room: int = 0
    needs: Sequence[str] = ()
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))

    def line(self, name: str) -> str:
        """Write the command that makes a file of it."""
        return typed([*self.command, f"out={name}"]) if self.command else ""

    def reads(self, name: str, write: Write) -> Result:
        """Add a file that the command reads, to be downloaded beside it."""
        self.files[name] = write
        self.needs = [*self.needs, name]
        return self


@dataclass
class Picture:
    """A picture (or a sound) that a person has sent.

    Args:
        name: What its file is called.
        data: The file's bytes.
        made: True for one that the page has made itself.
    """

    name: str
    data: bytes
    made: bool = False
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))


class Store:
    """What the page may ask for again. The oldest goes where room is needed."""

    def __init__(self) -> None:
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._latents: OrderedDict[tuple[str, int], Tensor] = OrderedDict()
        self._count = itertools.count(1)
        self._lock = threading.Lock()

    def keep(self, result: Result) -> Result:
        """Keep a result."""
        with self._lock:
            self._results[result.id] = result
            while len(self._results) > 1 and (
                len(self._results) > MOST or sum(r.room for r in self._results.values()) > ROOM
            ):
                self._results.popitem(last=False)
        return result

    def result(self, name: str) -> Result:
        """Find a result.

        Raises:
            NotFound: It is not kept any more.
        """
        with self._lock:
            if name not in self._results:
                raise NotFound("this result is not kept any more; make it again")
            self._results.move_to_end(name)
            return self._results[name]

    def take(self, picture: Picture) -> Picture:
        """Keep a picture of a person's own."""
        with self._lock:
            self._pictures[picture.id] = picture
            while len(self._pictures) > MOST or (
                len(self._pictures) > 1 and sum(len(p.data) for p in self._pictures.values()) > ROOM
            ):
                self._pictures.popitem(last=False)
        return picture

    def picture(self, name: str) -> Picture:
        """Find a picture.

        Raises:
            NotFound: It is not kept any more.
        """
        with self._lock:
            if name not in self._pictures:
                raise NotFound("this picture is not kept any more; choose it again")
            self._pictures.move_to_end(name)
            return self._pictures[name]

    def number(self, key: str, latent: Tensor) -> int:
        """Keep a latent [1, ...] of a model, and return the number that it has in places: z7."""
        with self._lock:
            number = next(self._count)
            self._latents[key, number] = latent.detach().cpu()
            while len(self._latents) > LATENTS:
                self._latents.popitem(last=False)
        return number

    def latent(self, key: str, number: int) -> Tensor:
        """Find a latent of a model, [1, ...].

        Raises:
            NotFound: It is not kept any more, or is of another model.
        """
        with self._lock:
            if (key, number) not in self._latents:
                raise NotFound(f"z{number} is not kept any more; encode or project its picture again")
            return self._latents[key, number]


_MAKING = threading.Lock()


def _store(request: Request) -> Any:
    with _MAKING:
        if not hasattr(request.app.state, "play"):
            request.app.state.play = Store()
    return request.app.state.play


TheStore = Annotated[Store, Depends(_store)]
"""The store, as an argument of a route."""


# ---- results -------------------------------------------------------------------------------------------------------------------------


def of_samples(
    system: System,
    samples: Tensor,
    command: Sequence[str],
    *,
    name: str,
    columns: int | None = None,
    values: Tensor | None = None,
) -> Result:
    """Make the result of samples [n, ...], with a file of each form that their kind has.

    Args:
        system: Whose they are.
        samples: They, as pictures show them.
        command: The words that make them again.
        name: What files are called.
        columns: Samples in a row of a picture.
        values: What an array file holds; the samples where not given.
    """
    kind, facts = kinds.of(system), dict(system.hparams)

    def writer(ending: str) -> Write:
        chosen = values if values is not None and ending == ".npy" else samples
        return lambda path: kind.write(path, chosen, facts, columns=columns)

    more = (".gif", ".wav", ".glb", ".stl")
    endings = dict.fromkeys([*kind.files, *(e for e in more if e in kind.suffixes), ".npy"])
    room = 4 * (samples.numel() + (0 if values is None else values.numel()))
    return Result(command, {f"{name}{e}": writer(e) for e in endings}, room)


def written(write: Write, name: str) -> bytes:
    """Return the bytes of a file, as a command would write it."""
    with tempfile.TemporaryDirectory(prefix="genzoo-") as folder:
        path = Path(folder) / f"file{Path(name).suffix}"
        write(path)
        return path.read_bytes()


def media(name: str) -> str:
    """Return the type of a file, by its ending."""
    return TYPES.get(Path(name).suffix, "application/octet-stream")


def saying(result: Result, shown: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Return what a page is told of a result: what to show, its files each with its command, and what the command needs beside it."""
    files = [{"name": n, "command": "" if n in result.needs else result.line(n)} for n in result.files]
    return {
        "id": result.id,
        "command": next((str(f["command"]) for f in files if f["command"]), ""),
        "files": files,
        "needs": [*result.needs],
        "shown": [*shown],
        **more,
    }


# ---- what is shown -------------------------------------------------------------------------------------------------------------------


def address(data: bytes, media: str = "image/png") -> str:
    """Write bytes as an address that an image or a sound is shown from."""
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


def image_address(image: Tensor, side: int = SIDE) -> str:
    """Write an image [C, H, W] in [-1, 1] as an address, its pixels as they are; one with a longer `side` is made smaller."""
    if max(image.shape[1:]) > side:
        scale = side / max(image.shape[1:])
        size = [max(1, round(s * scale)) for s in image.shape[1:]]
        image = torch.nn.functional.interpolate(image[None].float(), size, mode="area")[0]
    return address(png(pixels(image)))


def picture_address(picture: np.ndarray) -> str:
    """Write a finished picture, uint8 [H, W] or [H, W, C], as an address."""
    return address(png(picture))


def shown_of(system: System, samples: Tensor) -> list[dict[str, Any]]:
    """Return what a page shows of samples [n, ...]: images, films (clips, turns around shapes), sounds with spectrograms, a scatter of points."""
    kind, few = kinds.of(system), samples[:SHOWN]
    if samples.ndim == 2:
        return [{"image": picture_address(kind.picture(samples)), "smooth": True}]
    if ".wav" in kind.suffixes:
        rate = int(system.hparams["rate"])
        return [
            {
                "sound": address(wav(one, rate), "audio/wav"),
                "image": picture_address(kind.picture(one[None])),
                "smooth": True,
                "seconds": one.shape[-1] / rate,
            }
            for one in few
        ]
    if (films := _films(kind, few)) is not None:
        turns = few.ndim == 5 and not kind.colours
        return [{"frames": [picture_address(f) for f in film], "turns": turns} for film in films]
    return [{"image": image_address(one)} for one in few]


def _films(kind: Kind, samples: Tensor) -> list[list[np.ndarray]] | None:
    """Draw the frames of each of `samples`; None where nothing moves. All are drawn at once, under one another, where they can be told apart."""
    first = kind.frames(samples[:1])
    if first is None or len(samples) == 1:
        return None if first is None else [first]
    n, (height, width) = len(samples), first[0].shape[:2]
    column = kind.frames(samples, columns=1)
    assert column is not None
    gap, rest = divmod(column[0].shape[0] - n * height, n - 1)
    if rest or gap < 0 or column[0].shape[1] != width:
        return [kind.frames(one[None]) or [] for one in samples]
    return [[f[i * (height + gap) : i * (height + gap) + height] for f in column] for i in range(n)]
