"""Commands that do: each reads its options, calls the public API, and says where it wrote."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

import genzoo
from genzoo.cli.moving import sample_moving
from genzoo.cli.table import offered
from genzoo.core import registry
from genzoo.core.errors import UserError
from genzoo.core.pictures import picture, save_png
from genzoo.core.schema import capability_of, settings
from genzoo.core.sound import save_wav
from genzoo.core.system import CAPABILITIES, System, capabilities
from genzoo.metrics.maths.similarity import psnr
from genzoo.use import arithmetic as arithmetics
from genzoo.use import complete as completing
from genzoo.use import reconstruct as reconstructing
from genzoo.use import translate as translating
from genzoo.use import walk as walking
from genzoo.use.common.files import change_photo, read_photo, save_photo, suffix_of
from genzoo.use.common.images import channels_of, first_batch, image_files, open_for, read_image, read_sound, window_of
from genzoo.use.common.outputs import folder_for, free, save, target
from genzoo.use.common.source import open_system, require
from genzoo.use.common.tiles import OVERLAP, TILE, Megapixels, Overlap, Tile
from genzoo.use.sample import Count, Seed, columns_of, sheet

PICTURES = (".png", ".npy")
SOUNDS = (".wav", ".png", ".npy")
Few = Annotated[int, Field(ge=1, le=4096)]


def train(system: str, data: str = "", config: str = "", own: dict[str, Any] | None = None) -> None:
    """Train a system on data.

    Args:
        system: System or preset; `genzoo list` shows them.
        data: What to train on: a name, a folder, an archive, an array file; `genzoo data` lists names and forms.
        config: A TOML file of keys, such as a run's config.toml; keys on the command line win.
        own: Settings of the system, of the data, of the training.
    """
    run = genzoo.train(system, data or None, config=config or None, **(own or {}))
    _what_next(run.path)


def resume(run: str, steps: Annotated[int, Field(ge=1)] | None = None, device: str = "", data: str = "") -> None:
    """Go on with a run.

    Args:
        run: The run's folder.
        steps: A new total, to train a finished run longer.
        device: Another device than the run's own: auto, cpu, cuda, cuda:1, mps ...; kept from then on.
        data: Where the run's data are now, if they have moved; other data are refused.
    """
    _what_next(genzoo.resume(run, steps=steps, device=device or None, data=data or None).path)


def sample(
    run: str,
    n: Count | None = None,
    seed: Seed = 0,
    out: str = "",
    overwrite: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Draw new data.

    Args:
        run: A run or an exported folder.
        n: How many; when not given 64 (clips and shapes: 16), or of a system that takes a label and is given none, 8 of each class, a row each.
            With prompt="a red heart; a blue square" how many of each; 8 when not given.
        seed: Which; the same seed gives the same samples.
        out: File: .png for a picture, .wav for sounds, .gif or .mp4 for clips and turns around shapes, .npy (or .npz) for the values in
            [-1, 1]; with a / at its end a folder, one file each; RUN/outputs/sample.png (and sample.wav or .gif) when not given.
        overwrite: Replace the file if it is there.
        own: Options of the system's own sampling.
    """
    system = open_system(run)
    if system.data == "audio":
        _sample_sounds(system, run, n, seed, out, overwrite, own or {})
        return
    if system.data in ("video", "voxels"):
        sample_moving(system, run, n, seed, out, overwrite, own or {})
        return
    one_each = out.endswith(("/", os.sep))
    path = (
        free(out)
        if one_each and not overwrite
        else Path(out)
        if one_each
        else target(run, out, "sample.png", suffixes=(*PICTURES, ".npz"), overwrite=overwrite)
    )
    drawn = genzoo.sample(system, n=n, seed=seed, **(own or {}))
    if one_each:
        for i, x in enumerate(drawn):
            save_png(path / f"{i:0{len(str(len(drawn) - 1))}d}.png", picture(x[None]) if x.ndim == 1 else _pixels(x))
        _wrote(path, asked=out)
    else:
        told = sheet(system, drawn, (own or {}).get("prompt")) if path.suffix.lower() == ".png" else None
        laid = columns_of(system, n, own or {})
        _wrote(save(path, drawn, columns=laid) if told is None else save_png(path, told), asked=out)


def _sample_sounds(
    system: System, run: str, n: int | None, seed: int, out: str, overwrite: bool, own: dict[str, Any]
) -> None:
    """Write WAV and a picture of spectrograms, or with a folder a WAV each."""
    rate = system.hparams["rate"]
    if out.endswith(("/", os.sep)):
        folder = Path(out) if overwrite else free(out)
        drawn = genzoo.sample(system, n=n, seed=seed, **own)
        for i, x in enumerate(drawn):
            save_wav(folder / f"{i:0{len(str(len(drawn) - 1))}d}.wav", x, rate)
        _wrote(folder, asked=out)
        return
    paths = _sound_files(run, out, "sample", overwrite)
    drawn = genzoo.sample(system, n=n, seed=seed, **own)
    for path in paths:
        _wrote(save(path, drawn, rate=rate), asked=out)


def _sound_files(run: str, out: str, name: str, overwrite: bool) -> list[Path]:
    """The file that is asked for, or a WAV and a picture."""
    names = [out] if out else [str(folder_for(run) / f"{name}{suffix}") for suffix in SOUNDS[:2]]
    return [target(run, each, f"{name}.wav", suffixes=SOUNDS, overwrite=overwrite) for each in names]


def walk(
    run: str,
    rows: walking.Rows = 8,
    steps: walking.Steps = 10,
    seed: Seed = 0,
    path: Literal["spherical", "linear"] | None = None,
    images: str = "",
    data: str = "",
    prompts: str = "",
    out: str = "",
    overwrite: bool = False,
) -> None:
    """Walk through latent space.

    Args:
        run: A run or an exported folder.
        rows: Walks; each is a row of the picture.
        steps: Pictures in a walk, both ends included.
        seed: Which ends are drawn.
        path: spherical follows the arc between two latents, linear the straight line; what suits the system when not given. Classes, codes
            and sentences always go straight.
        images: Images to walk between in place of draws: files separated by commas, or a folder, in the order of names.
        data: Walk between the first test images of a data set in place of draws: a name, a folder, an archive.
        prompts: Sentences to walk between, with semicolons between them; a row has the same noise at all its ends.
        out: File: .png for the rows, .gif for the walk, .npy for the values; RUN/outputs/walk.png and walk.gif when not given.
        overwrite: Replace the file if it is there.
    """
    if sum(map(bool, (images, data, prompts))) > 1:
        raise UserError("walk: give one of images=, data= and prompts=")
    system = open_system(run)
    ends = None
    if images or data:
        require(system, "encodes", "decodes", verb="walk")
        ends = _images(system, images, rows + 1) if images else _from_data(system, data, rows + 1)
        if len(ends) < 2:
            raise UserError(f"walk: {images or data} has fewer than two images; a walk needs two ends")
    names = (out,) if out else (folder_for(run) / "walk.png", folder_for(run) / "walk.gif")
    paths = [target(run, name, "walk.png", suffixes=(*PICTURES, ".gif"), overwrite=overwrite) for name in names]
    walked = genzoo.walk(system, rows=rows, steps=steps, seed=seed, path=path, images=ends, prompts=prompts or None)
    for file, name in zip(paths, names, strict=True):
        gif = file.suffix.lower() == ".gif"
        values = walked if file.suffix.lower() == ".npy" else walked.flatten(0, 1)
        frames = walking.frames(walked, system.data) if gif else None
        _wrote(save(file, values, columns=steps, frames=frames, kind=system.data), asked=name)


def reconstruct(run: str, data: str = "", n: Few = 32, out: str = "", overwrite: bool = False) -> None:
    """Encode and decode images; originals stand above their reconstructions.

    Args:
        run: A run or an exported folder.
        data: Images: a name, a folder, an archive; the test part of the run's own data when not given.
        n: How many.
        out: File, .png or .npy; RUN/outputs/reconstruct.png when not given.
        overwrite: Replace the file if it is there.
    """
    system = open_system(run)
    require(system, "encodes", "decodes", verb="reconstruct")
    path = target(run, out, "reconstruct.png", suffixes=PICTURES, overwrite=overwrite)
    images = _from_data(system, data, n)
    back = genzoo.reconstruct(system, images)
    if images.ndim == 4 and path.suffix.lower() == ".png":
        _wrote(save(path, reconstructing.side_by_side(images, back), columns=8), asked=out)
    else:
        _wrote(save(path, back), asked=out)
    error = (images - back).square().mean().item()
    print(
        f"mean squared error {error:.5f}"
        + (f", PSNR {psnr(images, back, data_range=2).mean():.2f} dB" if images.ndim == 4 else "")
        + f" on {len(images)}"
    )


def arithmetic(
    run: str,
    plus: str = "",
    minus: str = "",
    of: str = "",
    images: str = "",
    amounts: tuple[arithmetics.Amount, ...] = (0.0, 0.5, 1.0, 1.5),
    data: str = "",
    n: Few = 8,
    out: str = "",
    overwrite: bool = False,
) -> None:
    """Add to images what one class has and another has not: each row is an image and its code, moved by every amount.

    Args:
        run: A run or an exported folder.
        plus: Class whose mean code is added, by name or number.
        minus: Class whose mean code is taken away; the mean of all other classes when not given.
        of: Class of the images that are changed; minus, or any, when not given.
        images: Images to change in place of the data's: files separated by commas, or a folder.
        amounts: How far the code is moved; 0 is the reconstruction, 1 the whole difference.
        data: Labelled images: a name, a folder, an archive; the run's own data when not given. Means are of its training
            part, images to change of its test part.
        n: How many images.
        out: File, .png or .npy; RUN/outputs/arithmetic.png when not given.
        overwrite: Replace the file if it is there.
    """
    system = open_system(run)
    require(system, "encodes", "decodes", verb="arithmetic")
    train = arithmetics.labelled(system, data or None)
    if not plus:
        raise UserError(f"arithmetic: plus= is missing; the classes of {train.name} are {', '.join(train.class_names)}")
    path = target(run, out, "arithmetic.png", suffixes=PICTURES, overwrite=overwrite)
    step = arithmetics.direction(system, train, plus, minus or None)
    if images:
        x = _images(system, images, n)
    else:
        test = arithmetics.labelled(system, data or None, split="test")
        x = arithmetics.images_of(test, *([of or minus] if of or minus else test.class_names), n=n)
    moved = [arithmetics.shifted(system, x, step, amount) for amount in amounts]
    if path.suffix.lower() == ".npy":
        _wrote(save(path, torch.stack(moved, 1)), asked=out)
    else:
        _wrote(save(path, torch.stack([x, *moved], 1).flatten(0, 1), columns=1 + len(moved)), asked=out)


def translate(
    run: str,
    images: str,
    direction: str = "",
    out: str = "",
    overwrite: bool = False,
    tile: Tile = TILE,
    overlap: Overlap = OVERLAP,
    megapixels: Megapixels | None = None,
    own: dict[str, Any] | None = None,
) -> None:
    """Map images of one domain to another, each at its own size. Originals are never touched.

    Args:
        run: A run or an exported folder.
        images: An image, or a folder of images, searched recursively.
        direction: One of the system's directions, such as a2b; its first when not given.
        out: For one image a name that ends in .png, else a folder; RUN/outputs/translate-DIRECTION when not given.
        overwrite: Replace results of an earlier call; an original is not replaced even then.
        tile: Side in pixels of the largest piece that is translated at once; larger images go tile by tile.
        overlap: Pixels that neighbouring tiles share, over which one fades into the next.
        megapixels: Largest image that is read, where memory has room for it and its result; 1000 when not given.
        own: Options of the system's own translation.
    """
    written = translating.translate_files(
        run, images, direction or None, out=out or None, overwrite=overwrite, tile=tile, overlap=overlap,
        megapixels=megapixels, quiet=False, **(own or {}),
    )  # fmt: skip
    if Path(images).expanduser().is_file():
        _wrote(written[0], asked=out if out.endswith((".png", ".tif")) else "")
    else:
        print(f"wrote {len(written)} images to {os.path.commonpath([p.parent for p in written])}")


def complete(
    run: str,
    image: str = "",
    box: tuple[int, int, int, int] | None = None,
    mask: str = "",
    n: Annotated[int, Field(ge=1, le=256)] = 8,
    after: Annotated[float, Field(ge=0)] | None = None,
    full: bool = False,
    seed: Seed = 0,
    out: str = "",
    overwrite: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Fill in what is missing of images, or go on with a sound; what is kept stays unchanged to the last bit.

    Args:
        run: A run or an exported folder.
        image: An image (or a sound) to complete; the test part of the run's own data when not given.
        box: What to draw anew: x,y,width,height in pixels of the image as the system takes it; the lower half when neither box nor mask is given.
        mask: An image of the same size: white is drawn anew, black is kept.
        n: How many completions of the image, or how many images of the data.
        after: Of a sound: seconds from its start that are kept; what follows is drawn. Half a window when not given.
        full: Complete a photograph at its own size: what is around the hole is brought to the system's size, and what it draws brought back.
            The box is in pixels of the photograph, the mask as large as it.
        seed: Which.
        out: File, .png or .npy (sounds: also .wav); RUN/outputs/complete.png (and complete.wav) when not given.
        overwrite: Replace the file if it is there.
        own: Options of the system's own completion.
    """
    if box and mask:
        raise UserError("complete: give box= or mask=, not both")
    system = open_system(run)
    require(system, "completes", verb="complete")
    if system.data == "audio":
        if box or mask:
            raise UserError("complete: box= and mask= are for images; of a sound give after=SECONDS")
        _go_on(system, run, image, after, n, seed, out, overwrite, own or {})
        return
    if after is not None:
        raise UserError("complete: after= is for sounds; of an image give box= or mask=")
    if full:
        _complete_photo(system, run, image, box, mask, seed, out, overwrite, own or {})
        return
    path = target(run, out, "complete.png", suffixes=PICTURES, overwrite=overwrite)
    shape = system.hparams.get("shape", ())
    fixed = tuple(shape[1:]) if system.data != "exemplar" and len(shape) == 3 else None
    if image:
        x = read_image(image, channels_of(system), size=fixed, window=window_of(system)).expand(n, -1, -1, -1)
    else:
        x = _from_data(system, "", n)
    size = tuple(x.shape[-2:])
    if mask:
        known = read_image(mask, 1)[0] < 0
    else:
        known = completing.box_mask(box or (0, size[0] // 2, size[1], size[0] - size[0] // 2), size)
    filled = genzoo.complete(system, x, known, seed=seed, **(own or {}))
    if path.suffix.lower() == ".npy":
        _wrote(save(path, filled), asked=out)
        return
    hidden = torch.where(known, x, torch.zeros_like(x))
    if image:
        _wrote(save(path, torch.cat([x[:1], hidden[:1], filled])), asked=out)
    else:
        _wrote(save(path, torch.cat([x, hidden, filled]), columns=len(x)), asked=out)


def _complete_photo(
    system: System,
    run: str,
    file: str,
    box: tuple[int, int, int, int] | None,
    mask: str,
    seed: int,
    out: str,
    overwrite: bool,
    own: dict[str, Any],
) -> None:
    """Fill the hole of a photograph, and write it as it was but for that."""
    if not file or not (box or mask) or system.data == "exemplar":
        raise UserError(
            "complete: full=true takes an image and box= or mask=, of a run that was trained on images of one size"
        )
    seen = window_of(system)
    photo = read_photo(file, channels_of(system), values=seen is not None)
    ending = suffix_of(photo)
    path = target(run, out, f"complete{ending}", suffixes=(ending,), overwrite=overwrite)
    if path.resolve() == Path(file).expanduser().resolve():  # an original is not replaced, whatever is asked
        path = free(path)
    if mask:
        known = torch.from_numpy(read_photo(mask, 1, deep=False).pixels[..., 0] < 128)
    else:
        assert box
        known = completing.box_mask(box, photo.pixels.shape[:2])  # type: ignore[arg-type]
    changed = change_photo(photo, lambda x: completing.complete_pixels(system, x, known, seed=seed, window=seen, **own))
    _wrote(save_photo(path, changed), asked=out)


def _go_on(
    system: System,
    run: str,
    file: str,
    after: float | None,
    n: int,
    seed: int,
    out: str,
    overwrite: bool,
    own: dict[str, Any],
) -> None:
    """Keep the start of a sound and draw what follows; files hold the sounds as they were and as they go on."""
    rate, length = system.hparams["rate"], system.hparams["shape"][1]
    kept = length // 2 if after is None else round(after * rate)
    if not 0 < kept < length:
        raise UserError(
            f"after={after} is not allowed; give more than 0 and less than {length / rate:g}, the window's length"
        )
    paths = _sound_files(run, out, "complete", overwrite)
    if file:
        whole = read_sound(file, rate)
        if whole.shape[1] < kept:
            raise UserError(f"'{file}' is {whole.shape[1] / rate:g} s long; after={kept / rate:g} asks for more")
        start = torch.zeros(1, length)
        start[:, : min(length, whole.shape[1])] = whole[:, :length]
        x = start.expand(n, 1, length)
    else:
        x = _from_data(system, "", n)
    known = torch.arange(length) < kept
    filled = genzoo.complete(system, x, known, seed=seed, **own)
    shown = torch.cat([x[:1], filled]) if file else torch.stack([x, filled], 1).flatten(0, 1)
    for path in paths:
        _wrote(save(path, filled if path.suffix.lower() == ".npy" else shown, rate=rate), asked=out)


def export(run: str, to: str, overwrite: bool = False) -> None:
    """Write the model into a plain folder: model.safetensors, config.json, README.md.

    Args:
        run: A run or an exported folder.
        to: A new or empty folder.
        overwrite: Write into a folder that is not empty.
    """
    print(f"wrote {genzoo.export(run, to, overwrite=overwrite)}")


def _from_data(system: System, data: str, n: int) -> Tensor:
    batch = first_batch(system, open_for(system, data or None), n)
    return next(batch[k] for k in ("image", "points", "a", "audio") if k in batch)


def _images(system: System, images: str, most: int) -> Tensor:
    """Images of a folder, or files separated by commas, in the size that the system takes."""
    whole = Path(images).expanduser().exists()  # a name may have a comma
    files = [file for part in ([images] if whole else images.split(",")) for file, _ in image_files(part)][:most]
    if not files:
        raise UserError(f"images={images} holds no image")
    size = tuple(system.hparams.get("shape", ())[1:])
    return torch.stack([read_image(f, channels_of(system), size=size, window=window_of(system)) for f in files])


def _pixels(x: Tensor) -> Any:
    from genzoo.core.pictures import to_uint8

    array = to_uint8(x).permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[2] == 1 else array


def _wrote(path: Path, *, asked: str | Path) -> None:
    moved = (
        f" ({asked} was there already; overwrite=true replaces it)"
        if asked and path.name != Path(asked).name and not Path(asked).is_dir()
        else ""
    )
    print(f"wrote {path}{moved}")


def _what_next(path: Path) -> None:
    if int(os.environ.get("RANK", 0)):
        return
    system = open_system(path)
    able, there = capabilities(system), quote(str(path))
    found = offered(able, getattr(system, "directions", ()))
    more = f", or {', '.join([*(c.name for c in found[1:]), 'evaluate'])}" if found else ""
    print(f"{path}: try '{found[0].call(there) if found else f'genzoo evaluate {there}'}'{more}")
    for name, key in _built_on("tokenizes") if "tokenizes" in able and "samples" not in able else ():
        print(f"it draws nothing new itself; 'genzoo train {name} {key}={there} data=...' does, from its codes")


def _built_on(ability: str) -> list[tuple[str, str]]:
    """Systems that are built on one with an ability, and their argument for it."""
    found = []
    for entry in registry.entries().values():
        if entry.inner:
            wanted = capability_of(settings(registry.system_class(entry.name))[entry.inner].annotation)
            found += [(entry.name, entry.inner)] if wanted is CAPABILITIES[ability] else []
    return found
