"""Write the images of a compressed file, bit for bit."""

from __future__ import annotations

from pathlib import Path

from genzoo.cli.table import Command
from genzoo.core.errors import UserError
from genzoo.data.drawing.images import save_png, to_uint8
from genzoo.use.common.outputs import free
from genzoo.use.compress import restore

COMMAND = Command("the images of such a file, bit for bit", "FILE [RUN] [out=FOLDER]", place=49, waits=True)


def decompress(file: str, run: str = "", out: str = "", overwrite: bool = False) -> None:
    """Write the images of a file that compress made, bit for bit, as PNG.

    Args:
        file: The file.
        run: The run that made it; the one in runs/ that did when not given.
        out: Folder of the images; the file's name without its ending when not given.
        overwrite: Write into a folder that is there already.
    """
    images, header = restore(file, run or None)
    wanted = Path(out).expanduser() if out else Path(file).expanduser().with_suffix("")
    if wanted.is_file():
        raise UserError(f"out={wanted} is a file; give a folder")
    folder = wanted if overwrite else free(wanted)
    digits = len(str(len(images) - 1))
    for i, image in enumerate(images):
        name = Path(header.names[i]).with_suffix(".png") if header.names else Path(f"{i:0{digits}d}.png")
        if name.is_absolute() or ".." in name.parts:
            name = Path(name.name)  # a name from a file never leads out of the folder
        array = to_uint8(image).permute(1, 2, 0).numpy()
        save_png(folder / name, array[..., 0] if array.shape[2] == 1 else array)
    print(f"wrote {len(images)} {'image' if len(images) == 1 else 'images'} to {folder}")
