"""A model's bits made real: images through a range coder into one file, and back bit for bit.

The coder needs, on both sides, the very same integer frequencies. They are made from the log-probabilities that the system
gives symbol by symbol, by one code path that does not know whether it encodes or decodes. A row of a batch and the same row in
a batch of another size differ in their last bits, and so do sums by other numbers of threads: the system always sees `CHUNK`
images, the last ones made up where there are fewer, and works on one thread. Floating-point arithmetic differs between kinds of
processors and versions of torch; so the file says what it was made with, and anything else is refused before a wrong image is
written. What comes out is held against a digest, and, coded again, against the words that it was read from.

The file: magic, version, a CRC-32 of all that follows, then digests of model and content, count, shape, levels and environment
(`Header`), and the 32-bit words of the range coder. It is kept small: a hundred MNIST digits are nine thousand bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import platform
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.capabilities import Compresses
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.use.common.source import name_of, require

MAGIC, VERSION, CONTENT = b"gzo", 4, 5
"""Magic; version of layout, batch, order of sums, quantization of probabilities and coder together; bytes of the digest of the content."""
CHUNK = 64
"""Images that go through the model together, always: matrix products of another size round differently."""
TOTAL = 1 << 24
"""Sum of the integer frequencies of a symbol: the resolution of the coder. A level that the model excludes costs 24 bits."""
SLACK = 64
"""Bits by which the words of the coder may be fewer than its symbols need. (It rounds frequencies once more, upwards by at most two.)"""
LONGEST_NAME = 5000
"""Characters of a name of an image, at most: paths are shorter."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Args:
        model: Digest of the system's name, settings and weights, 8 bytes.
        content: Digest of the symbols and of all else that is said here, `CONTENT` bytes.
        count: Number of images.
        system: The system's name.
        shape: (C, H, W).
        levels: Grey levels.
        machine: What the arithmetic depends on: see `environment`.
        names: Names of the image files, or none.
    """

    model: bytes
    content: bytes
    count: int
    system: str
    shape: tuple[int, int, int]
    levels: int
    machine: tuple[str, ...]
    names: tuple[str, ...] = ()


def pack(header: Header, words: bytes) -> bytes:
    """Join a header and coded words to the bytes of a compressed file."""
    text = "\n".join([header.system, *header.machine]).encode()
    names = zlib.compress(json.dumps(header.names).encode(), 9) if header.names else b""
    numbers = (header.count, *header.shape, header.levels, len(text), len(names))
    body = header.model + header.content + b"".join(map(_varint, numbers)) + text + names + words
    return MAGIC + struct.pack("<BI", VERSION, zlib.crc32(body)) + body


def unpack(data: bytes, label: str) -> tuple[Header, bytes]:
    """Read a file: its header and the words of the coder.

    Raises:
        UserError: Not a file of `genzoo compress`, of another version, cut off, or damaged.
    """
    if not data.startswith(MAGIC):
        raise UserError(
            f"'{label}' was not written by 'genzoo compress' (it does not begin as its files do); give a .gzoo file"
        )
    start = len(MAGIC) + 5
    if len(data) >= start and data[len(MAGIC)] != VERSION:
        raise UserError(
            f"'{label}' is of format {data[len(MAGIC)]}; this genzoo reads format {VERSION}: decompress it with the version that made it"
        )
    body = data[start:]
    if len(data) < start or zlib.crc32(body) != struct.unpack_from("<I", data, len(MAGIC) + 1)[0]:
        raise UserError(
            f"'{label}' is damaged or cut off: its checksum does not fit; copy it again from where it was made"
        )
    try:
        return _parts(body)
    except (ValueError, IndexError, RecursionError, zlib.error):
        raise UserError(
            f"'{label}' is damaged or not from 'genzoo compress': its checksum fits and its header makes no sense; "
            "copy it again from where it was made"
        ) from None


def _parts(body: bytes) -> tuple[Header, bytes]:
    """Read header and words behind the checksum. Anything that no `pack` has written is a ValueError, or one of the parsers' errors."""
    at, numbers = 8 + CONTENT, []
    for _ in range(7):
        value, at = _read_varint(body, at)
        numbers.append(value)
    count, c, h, w, levels, text, named = numbers
    ends = at + text, at + text + named
    words = body[ends[1] :]
    if ends[1] > len(body) or len(words) % 4 or not all(0 < n < 1 << 32 for n in (count, c, h, w, levels)):
        raise ValueError("numbers that cannot be")
    system, *machine = body[at : ends[0]].decode().split("\n")
    names = _names(body[ends[0] : ends[1]], count) if named else ()
    if not all(part.isprintable() for part in (system, *machine)):
        raise ValueError("words that cannot be")
    return Header(body[:8], body[8 : 8 + CONTENT], count, system, (c, h, w), levels, tuple(machine), names), words


def _names(packed: bytes, count: int) -> tuple[str, ...]:
    """Read names as `pack` wrote them, one for each image; what unpacks to more than names can be is a ValueError."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(packed, min(LONGEST_NAME * count, 1 << 28))
    names = json.loads(text) if unpacker.eof and not unpacker.unused_data else None
    if not isinstance(names, list) or len(names) != count or not all(isinstance(n, str) for n in names):
        raise ValueError("names that cannot be")
    return tuple(names)


def _varint(value: int) -> bytes:
    """Write an integer as seven bits a byte, lowest first; the eighth says that more follow."""
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")


def environment(system: System) -> tuple[str, ...]:
    """Name all that decides how sums are rounded: torch, the instruction set, the device, the very processor."""
    device = system.device.type
    kind = torch.cuda.get_device_name(system.device) if device == "cuda" else _processor()
    digest = hashlib.blake2b(kind.encode(), digest_size=2).hexdigest()
    return torch.__version__, f"{torch.backends.cpu.get_cpu_capability()} {device} {digest}"


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                return f"{platform.machine()} {line.split(':', 1)[1].strip()}"
    return f"{platform.machine()} {platform.processor()}"


def model_digest(system: System) -> bytes:
    """Compute eight bytes that stand for a system: its name, its settings and every value of its state."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps([type(system).__name__, system.hparams], sort_keys=True, default=list).encode())
    for key, value in sorted(system.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()


def frequencies(log_p: Tensor) -> np.ndarray:
    """Round probabilities to integers of at least 1 that sum to `TOTAL` in each row: float64 [n, levels].

    Every level can be coded, whatever the model thinks of it. What rounding leaves over goes to the likeliest level. The table is laid
    out row by row, whatever the layout of `log_p`: the coder takes the numbers as they lie in memory.
    """
    p = log_p.detach().cpu().double().contiguous().exp().numpy()
    counts: np.ndarray = np.floor(p / p.sum(1, keepdims=True) * (TOTAL - p.shape[1])) + 1
    best = counts.argmax(1)
    counts[np.arange(len(counts)), best] += TOTAL - counts.sum(1)
    return counts


def encode(system: System, images: Tensor, names: tuple[str, ...] = ()) -> tuple[bytes, float]:
    """Compress images.

    Args:
        system: One that gives conditional probabilities.
        images: [N, C, H, W] in [-1, 1], on the grey levels that the system knows.
        names: Names to keep, one for each image.

    Returns:
        The bytes of the file, and the bits that the system's probabilities say are needed.

    Raises:
        UserError: The system cannot, gives no numbers as probabilities, or an image is of another shape or has other grey levels.
    """
    coding = _able(system, "compress")
    stream, shape = _stream(), _shape(system)
    if images.ndim != 4 or tuple(images.shape[1:]) != shape or not len(images):
        raise UserError(f"compress: images of shape {tuple(images.shape)} were given; this model takes [N, {shape}]")
    coder, bits, told = stream.queue.RangeEncoder(), 0.0, []
    for start, part in zip(range(0, len(images), CHUNK), images.split(CHUNK), strict=True):
        symbols = coding.symbols(part.to(system.device)).cpu()
        told.append(symbols)

        def choose(i: int, log_p: Tensor, symbols: Tensor = symbols) -> Tensor:
            nonlocal bits
            now = symbols[:, i].contiguous()
            bits -= float(log_p.double().gather(1, now[:, None]).sum()) / math.log(2)
            coder.encode(now.numpy().astype(np.int32), _family(stream), frequencies(log_p))
            return now

        back = _walk(system, len(part), choose, "compress")
        if not torch.equal(_grey(back), _grey(part)):
            wrong = start + int((_grey(back) != _grey(part)).flatten(1).any(1).nonzero()[0])
            raise UserError(
                f"compress: {names[wrong] if names else f'image {wrong}'} has grey levels that this model does not know "
                f"(levels={_levels(system)}), so it would not come back exactly; use a model of 256 levels"
            )
    header = Header(
        model_digest(system),
        b"",
        len(images),
        name_of(system),
        shape,
        _levels(system),
        environment(system),
        names,
    )
    header = replace(header, content=_content(told, header))
    return pack(header, coder.get_compressed().astype("<u4").tobytes()), bits


def decode(system: System, data: bytes, label: str = "the file") -> tuple[Tensor, Header]:
    """Restore images, float32 [N, C, H, W] in [-1, 1], bit for bit.

    Raises:
        UserError: Not such a file, damaged, made with another model, or on a machine whose arithmetic differs; the model gives no numbers.
    """
    header, words = unpack(data, label)
    coding = _able(system, "decompress")
    if header.model != model_digest(system):
        raise UserError(
            f"'{label}' was made with another model ({header.system}, digest {header.model.hex()}); "
            f"this one is {name_of(system)}, digest {model_digest(system).hex()}"
        )
    here = environment(system)
    if here != header.machine:
        was, now = (
            " ".join(x for x, y in zip(a, b, strict=False) if x != y)
            for a, b in ((header.machine, here), (here, header.machine))
        )
        raise UserError(
            f"'{label}' was made with {was}, here is {now}: sums are rounded differently there, and the images would come out "
            "wrong; decompress it where it was made"
        )
    wrong = UserError(
        f"'{label}' did not come back as it was: it is damaged, or this machine rounds differently from the one that made it, "
        f"though both are {' '.join(here)}; copy it again, or decompress it where it was made"
    )
    if (header.shape, header.levels) != (_shape(system), _levels(system)):
        raise wrong
    stream, parts, told = _stream(), [], []
    room: float = 8 * len(words) + SLACK
    coder = stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
    again, surest = stream.queue.RangeEncoder(), TOTAL - header.levels + 1
    if header.count * math.prod(header.shape) * -math.log2(surest / TOTAL) > room:
        raise wrong  # more images than so few bits hold, were the model sure of every level
    for start in range(0, header.count, CHUNK):

        def choose(i: int, log_p: Tensor) -> Tensor:
            nonlocal room
            table = frequencies(log_p)
            try:
                found = coder.decode(_family(stream), table)
            except (AssertionError, ValueError):  # the coder's words for what no encoder with this table has written
                raise wrong from None
            most = np.minimum(np.take_along_axis(table, found[:, None], 1) + 2, surest)
            room += float(np.log2(most / TOTAL).sum())
            if room < 0:
                raise wrong  # the file is over
            again.encode(found, _family(stream), table)
            return torch.from_numpy(found.astype(np.int64))

        parts.append(_walk(system, min(CHUNK, header.count - start), choose, "decompress"))
        told.append(coding.symbols(parts[-1]).cpu())
    if _content(told, header) != header.content or again.get_compressed().astype("<u4").tobytes() != words:
        raise wrong
    return torch.cat(parts).float().cpu(), header


@torch.no_grad()
def _walk(system: System, n: int, choose: Callable[[int, Tensor], Tensor], verb: str) -> Tensor:
    """Let a system go through `n` images, at most `CHUNK`, in a batch of `CHUNK` all the same, on one thread.

    Args:
        system: What gives the probabilities.
        n: How many images there are; the others are made of the lowest level and never coded.
        choose: As in `Compresses.code`, for these `n`: log-probabilities and answers on the CPU.
        verb: What the person has asked for.

    Raises:
        UserError: The system gives no numbers.
    """

    def padded(i: int, log_p: Tensor) -> Tensor:
        table = log_p.detach().cpu()[:n]
        if bool(table.isnan().any()) or not bool(table.max(1).values.isfinite().all()):
            raise _no_numbers(system, verb, i)
        answer = torch.zeros(CHUNK, dtype=torch.int64)
        answer[:n] = choose(i, table)
        return answer.to(log_p.device)

    assert isinstance(system, Compresses)
    with _one_thread(), torch.autocast(system.device.type, enabled=False):
        return system.code(CHUNK, padded)[:n]


def _no_numbers(system: System, verb: str, i: int) -> UserError:
    """Say what is wrong with a model whose probabilities of symbol `i` are NaN or infinite."""
    broken = [name for name, value in system.state_dict().items() if not bool(value.isfinite().all())]
    why = (
        f"{len(broken)} of its tensors hold NaN or infinite values ({broken[0]} first)"
        if broken
        else "its weights are finite"
    )
    origin = f" of {system.origin}" if system.origin else ""
    return UserError(
        f"{verb}: {name_of(system)}{origin} gives probabilities that are not numbers (NaN or infinite), at symbol {i} of an image; {why}. "
        "Nothing was written; use an earlier model of it, or train again with a lower lr or clip=1"
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run the block in one thread, because the number of threads decides in which order sums are taken."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _able(system: System, verb: str) -> Compresses:
    coding = require(system, Compresses, verb=verb)
    if any(p.dtype != torch.float32 for p in system.parameters()):
        raise UserError(f"{verb}: the model has to be in float32")
    return coding


def _stream() -> Any:
    try:
        import constriction
    except ImportError:
        raise UserError("this needs a range coder: pip install 'genzoo[compress]'") from None
    return constriction.stream


def _family(stream: Any) -> Any:
    return stream.model.Categorical(perfect=False)


def _shape(system: System) -> tuple[int, int, int]:
    c, h, w = system.hparams["shape"]
    return int(c), int(h), int(w)


def _levels(system: System) -> int:
    return int(system.hparams.get("levels", 256))


def _grey(x: Tensor) -> Tensor:
    return ((x.float().cpu() + 1) * 127.5).round()


def _content(symbols: list[Tensor], header: Header) -> bytes:
    """Compute a digest of the images and of what the header says of them, itself left out."""
    digest = hashlib.blake2b(pack(replace(header, content=b""), b""), digest_size=CONTENT)
    digest.update(torch.cat(symbols).to(torch.int16).numpy().astype("<i2").tobytes())
    return digest.digest()
