"""Make the models of the package genzoo-zoo again: `python -m tools.zoo build NAME`.

tools/zoo.toml has one table for each model: what it is trained on with which settings, how it is measured, what it may be used for. `build`
trains it into runs/zoo/NAME and packs it into packages/zoo/genzoo_zoo/NAME: weights in half precision, settings, card, record, measures, and
examples of what it takes. `train` and `pack` are its halves. GENZOO_DATA says where the data are. On another machine
weights differ, by rounding at first.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import genzoo
from genzoo.cli.inputs import first_of
from genzoo.core.capabilities import capabilities
from genzoo.core.system import System
from genzoo.data.drawing.images import save_png, to_uint8
from genzoo.naming import registry
from genzoo.runs.folder import open_run
from genzoo.use.complete import box_mask
from genzoo.use.exports.half import in_words
from genzoo.use.push import without_places
from genzoo.use.zoo import picture, shipped
from proofs.machine import ROOT, commit, machine

TABLE = Path(__file__).with_suffix(".toml")
PACKAGE = ROOT / "packages" / "zoo" / "genzoo_zoo"
WORK = ROOT / "runs" / "zoo"
EXAMPLES = 4
MOST_BYTES = 700_000
MARK = "<!-- models: made by 'python -m tools.zoo table docs/zoo.md' -->"
END = "<!-- end of models -->"
SHEET = 860
"""Pixels of a shelf of the sheet."""
PROBED = 8
"""Values of an output that are recorded."""


def table() -> dict[str, dict[str, Any]]:
    """Read tools/zoo.toml: name -> line, data, terms, licence, train, measure ..."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def train(name: str) -> None:
    """Train a model of the table into runs/zoo."""
    keys = dict(table()[name]["train"])
    system, data = keys.pop("system"), keys.pop("data")
    below = Path(os.environ.get("GENZOO_DATA", "")) / data
    genzoo.train(system, str(below) if below.is_file() else data, runs=str(WORK), name=name, **keys)


def command(entry: dict[str, Any]) -> str:
    """Write the training as a person would type it."""
    keys = dict(entry["train"])
    words = [f"genzoo train {keys.pop('system')}"]
    return " ".join(words + [f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in keys.items()])


def pattern(shape: tuple[int, ...]) -> Tensor:
    """Return two images that need no file, [2, *shape] in [-1, 1]: a ramp and a ring."""
    c, h, w = shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    return (
        torch.stack([(x + y) / 2, (1 - 4 * (x.hypot(y) - 0.6).abs()).clamp(-1, 1)])[:, None]
        .expand(2, c, h, w)
        .contiguous()
    )


def probe(system: System) -> Tensor:
    """Let a system do, seeded, what it is mostly for: two samples, or what it makes of two patterns."""
    able = capabilities(system)
    if "samples" in able:
        return genzoo.sample(system, n=2, seed=0, **({"prompt": "a red circle"} if "prompted" in able else {}))
    shape = tuple(system.hparams["shape"])
    if "translates" in able:
        return genzoo.translate(system, pattern((system.hparams.get("inputs") or shape[0], *shape[1:])))
    x = pattern(shape)
    if "completes" in able:
        return genzoo.complete(
            system, x, box_mask((shape[2] // 4, shape[1] // 4, shape[2] // 2, shape[1] // 2), shape[1:])
        )
    return genzoo.reconstruct(system, x)


def values(out: Tensor) -> dict[str, Any]:
    """Return what is recorded of an output: its shape, mean and deviation, and values at even distances."""
    flat = out.double().flatten()
    at = torch.linspace(0, len(flat) - 1, PROBED).long()
    return {
        "shape": list(out.shape),
        "mean": round(float(flat.mean()), 6),
        "std": round(float(flat.std()), 6),
        "values": [round(v, 6) for v in flat[at].tolist()],
    }


def measure(entry: dict[str, Any], folder: Path, stored: System) -> dict[str, Any] | None:
    """Measure the packed model, keep the records beside it, and return the one that stands for it; None where there is no measure of it.

    Args:
        entry: The model's table.
        folder: Where it is packed.
        stored: It, as read from there, knowing where its data are.
    """
    if "measure" not in entry:
        return None
    asked = dict(entry["measure"])
    wanted = asked.pop("name")
    if wanted == "hole":
        found = {wanted: hole(stored, **asked)}
        (folder / "metrics.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    else:
        with tempfile.TemporaryDirectory() as out:
            evaluated = genzoo.evaluate(stored, measures=wanted, out=out, **asked)
            if evaluated["not_measured"]:
                raise SystemExit(f"{folder.name}: {evaluated['not_measured']}")
            shutil.copy(Path(out) / "metrics.json", folder / "metrics.json")
        found = evaluated["measures"]
    return next(iter(found.values()))


def hole(system: System, n: int) -> dict[str, Any]:
    """Measure what is drawn into the central quarter of test images, beside the mean of the pixels around it."""
    x = first_of(system, "", n)
    height, width = x.shape[2:]
    known = box_mask((width // 4, height // 4, width // 2, height // 2), (height, width))
    filled = genzoo.complete(system, x, known)
    plain = torch.where(known, x, (x * known).sum((2, 3), keepdim=True) / known.sum())

    def ratio(y: Tensor) -> Tensor:
        error = ((y - x)[:, :, ~known].double() / 2).square().mean((1, 2))
        return -10 * error.clamp(min=1e-10).log10()

    each, trained = ratio(filled), system.trained["data"]
    return {
        "measure": "PSNR in the hole",
        "value": float(each.mean()),
        "se": float(each.std() / len(x) ** 0.5),
        "unit": "dB",
        "better": "higher",
        "n": len(x),
        "data": Path(trained["data"]).name,
        "split": "test",
        "seed": 0,
        "protocol": f"mean over the first {len(x):,} test images of the PSNR within the central quarter, images {height}x{width} in [0, 1]; the mean "
        f"of the pixels around it gives {float(ratio(plain).mean()):.2f} dB",
    }


def said(r: dict[str, Any]) -> str:
    """Write a record as a person reads it: value, error, floor."""
    error = f" ± {r['se']:.2g}" if r.get("se") is not None else ""
    floor = f", real images {r['floor']:.4g}" if r.get("floor") is not None else ""
    return (
        f"{r['measure']} {r['value']:.4g}{error} {r.get('unit') or ''}".rstrip()
        + f" (N={r['n']:,}, {r['data']} {r['split']}{floor})"
    )


def pack(name: str) -> None:
    """Halve, measure and describe the model of runs/zoo in the package, in place of the one that was there."""
    entry, run = table()[name], open_run(WORK / name)
    system = genzoo.load(run.path)
    folder = PACKAGE / name
    shutil.rmtree(folder, ignore_errors=True)
    trained = system.trained
    system.trained = without_places(trained) | {"data": trained["data"] | {"data": entry["train"]["data"]}}
    genzoo.export(system, folder, dtype="float16")
    system.trained = trained
    if entry.get("examples"):
        for i, x in enumerate(first_of(system, "", EXAMPLES)):
            pixels = to_uint8(x).permute(1, 2, 0).numpy()
            save_png(folder / "examples" / f"{i + 1}.png", pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    stored = genzoo.load(folder)
    size = (folder / "model.safetensors").stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{name}: {size:,} bytes are more than {MOST_BYTES:,}")
    known = genzoo.load(folder)
    known.trained, known.origin = trained, str(WORK / name)
    first = measure(entry, folder, known)
    log = run.log()
    record = {
        "place": [*table()].index(name),
        "line": entry["line"],
        "system": entry["train"]["system"],
        "family": registry.find(entry["train"]["system"])[0].family,
        "data": entry["data"],
        "terms": entry["terms"],
        "licence": entry["licence"],
        "bytes": size,
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "measure": said(first) if first else "not measured",
        "protocol": first["protocol"] if first else entry["why_not"],
        "moved": in_words(stored.trained["moved"]),
        "show": entry.get("show", {}),
        "try": [f"genzoo {line.replace('IT', f'zoo:{name}')}" for line in entry["try"]],
        "command": command(entry),
        "seconds": round(log[-1]["seconds"], 1) if log and "seconds" in log[-1] else None,
        "made": {
            "date": datetime.date.today().isoformat(),
            "genzoo": genzoo.__version__,
            "commit": commit(),
            "machine": machine(),
        },
        "probe": values(probe(stored)),
    }
    (folder / "record.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(
        card(name, record, (folder / "README.md").read_text(encoding="utf-8")), encoding="utf-8"
    )
    print(f"{name}: {size:,} bytes; {record['measure']}; {record['moved']}")


def card(name: str, record: dict[str, Any], text: str) -> str:
    """Write a model's card: the one of every export, with terms, measure and how it was made."""
    tried = "\n".join(record["try"])
    return f"""{text}
## zoo:{name}

{record["line"]}.

```
{tried}
```

* **Weights:** {record["licence"]}. **Trained on:** {record["data"]}: {record["terms"]}
* **Measured:** {record["measure"]}. {record["protocol"]}
* **Made by:** `{record["command"]}` in {record["seconds"]} s on {record["made"]["machine"]["cpu"]}, {record["made"]["date"]}
* **Again:** `python -m tools.zoo build {name}`
"""


def sheet(to: Path) -> None:
    """Draw a picture of all models for the documentation, shelf by shelf, in 256 colours."""
    x = y = high = 0
    font, placed = ImageFont.load_default(13), []
    for model in shipped().values():
        drawn = Image.fromarray(picture(model)).convert("RGB")
        wide = max(drawn.width, int(font.getlength(model.place)))
        if x and x + wide > SHEET:
            x, y, high = 0, y + high + 12, 0
        placed.append((x, y, model.place, drawn))
        x, high = x + wide + 16, max(high, drawn.height + 20)
    page = Image.new("RGB", (SHEET, y + high), "white")
    for x, y, name, drawn in placed:
        ImageDraw.Draw(page).text((x, y), name, fill="black", font=font)
        page.paste(drawn, (x, y + 20))
    page.quantize(256).save(to, optimize=True)


def write_table(page: Path) -> None:
    """Write the table of all models into the page of the documentation that has a mark for it."""
    rows = [
        f"| `{m.place}` | {m.record['line']} | {m.record['bytes'] / 1000:.0f} kB | {m.record['measure']} | {m.record['licence']} | "
        f"{m.record['data']}: {m.record['terms']} | {m.record['seconds']} s | {m.record['moved']} |"
        for m in shipped().values()
    ]
    total = sum(m.record["bytes"] for m in shipped().values())
    head = "| name | what it draws | size | measured | weights | trained on, and its terms | time | float16 moves |"
    made = (
        f"{MARK}\n{head}\n{'|---' * 8}|\n" + "\n".join(rows) + f"\n\n{len(rows)} models, {total / 1e6:.1f} MB.\n{END}"
    )
    text = page.read_text(encoding="utf-8")
    begin, _, rest = text.partition(MARK)
    if not rest:
        raise SystemExit(f"{page} has no line {MARK}")
    after = rest.partition(END)[2] if END in rest else rest
    page.write_text(begin + made + after, encoding="utf-8")


def main() -> None:
    """Answer the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["build", "train", "pack", "sheet", "table"])
    parser.add_argument("names", nargs="*", help="models of tools/zoo.toml; all when not given; sheet, table: the file")
    given = parser.parse_args()
    if given.what in ("sheet", "table"):
        {"sheet": sheet, "table": write_table}[given.what](Path(given.names[0]))
        return
    for name in given.names or table():
        if given.what != "pack":
            train(name)
        if given.what != "train":
            pack(name)


if __name__ == "__main__":
    main()
