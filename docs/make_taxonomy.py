"""The taxonomy page (docs/taxonomy.md), the published study beside ours (in docs/studies.md), and what `genzoo advise` knows of results.

Made of the registry (what a system's file says that it can do), of src/genzoo/use/paces.json (benchmarks/bench_taxonomy.py) and of the
records of the proofs. `make docs` writes them through docs/make_tables.py.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from genzoo.naming import registry
from genzoo.naming.registry import Entry
from genzoo.use.advise import ENOUGH, facts

ROOT = Path(__file__).parents[1]
KINDS = {
    "exact": ("Explicit, exact", "`log_prob` is log p(x): of the discrete image, or of points; flows: images through dequantization, a bound"),
    "bounded": ("Explicit, bounded", "`log_prob` is a lower bound of log p(x)"),
    "implicit": ("Implicit", "makes data and tells no probability of them"),
    "codes": ("Codes alone", "maps data to codes and back; another system learns the distribution of the codes"),
}  # fmt: skip
VERBS = {
    "samples": "sample", "conditioned": "sample a class", "decodes": "walk", "encodes": "encode", "density": "likelihood", "completes": "complete",
    "translates": "translate", "codes": "compress", "inverts": "invert", "tokenizes": "tokens",
    "prompted": "sample a sentence", "restores": "restore", "animates": "animate", "mixes": "mix",
}  # fmt: skip
"""Capability -> what it lets one do; a capability that is not here goes by its own name, and those of training are left out."""
ADVICE = f"""
An answer names systems that have the capabilities of the task and learn from the data, from different families where there are. First go
those of which the budget pays at least {ENOUGH:.0%} of their own default training; then those whose stand to the probability of the data suits
the task (for likelihoods and completion exact before bounded, for pictures implicit before explicit); then those that their proof measured
best on MNIST, or on the moons for points; what has not been measured goes behind. It knows the times below and nothing of a GPU; without size=
it thinks of images as large as those that were timed.
"""
TRAINING = ("prepares", "calibrates", "judges", "fits", "predicts")  # and what only exports ask for
LIKELIHOOD = ("bits/dim", "NLL", "bits per dimension", "bits per sample", "bits per code")
QUALITY = ("FLD", "FID")
OTHERWISE = (
    "reconstruction FID", "LPIPS", "paired error", "PSNR in the hole", "PSNR", "reconstruction PSNR", "right caption first of 100",
    "Fréchet distance of voxel statistics", "Fréchet distance of clip statistics", "chroma", "reconstruction error", "brick: PSNR inside the hole",
)  # fmt: skip
"""What stands for the quality of systems without an FLD or FID: the first of these that a proof has."""


def records() -> list[dict[str, Any]]:
    """All records, by name."""
    return [json.loads(p.read_text(encoding="utf-8")) for p in sorted((ROOT / "docs/results/records").glob("*.json"))]


def _data(record: dict[str, Any]) -> str:
    """What a record was measured on, where it is one thing."""
    found = {
        " ".join(
            [
                ",".join(Path(part).name for part in run["data"].split(",")),
                *([f"{run['binarize']} binarized"] if "binarize" in run else []),
            ]
        )
        for run in record["runs"]
    }
    return found.pop() if len(found) == 1 else ""


def _base(word: str) -> str:
    return registry.names().get(word, ("", None))[0]


def reached() -> str:
    """What `genzoo advise` ranks by: measure and data -> system -> the best value of its own proof.

    MNIST at 28x28 with 256 grey levels, and the moons; lower is better in all of them.
    """
    found: dict[str, dict[str, float]] = {"FLD, mnist": {}, "bits/dim, mnist": {}, "NLL, moons": {}}
    for r in records():
        plain = all(not {"size", "binarize"} & set(run) for run in r["runs"])
        for m in r["measures"]:
            word, _, rest = m["name"].replace(" by ", ", ").partition(", ")
            key, system = f"{word}, {_data(r)}", r["system"]
            if rest == "moons":
                key = f"{word}, moons"
            elif _data(r) == "moons" and rest:
                system = rest  # a proof that compares several names each
            if key in found and plain and _base(system):
                known = found[key].get(_base(system), float("inf"))
                found[key][_base(system)] = min(known, float(f"{m['value']:.4g}"))
    return json.dumps(found, indent=1) + "\n"


def _seconds(value: float | None) -> str:
    if value is None:
        return f"over {facts('paces.json').get('limit', 0)} s"
    if value < 1e-4:
        return "under 0.1 ms"
    return f"{value:.2g} s" if value >= 0.1 else f"{float(f'{1000 * value:.2g}'):g} ms"


def _abilities(e: Entry) -> str:
    return ", ".join(VERBS.get(a, a) for a in e.abilities if a not in TRAINING)


def _values(e: Entry, names: tuple[str, ...], *, every: bool = True) -> str:
    """The best that each of the system's own proofs measured under these names, the data beside it; or under the first of them alone."""
    found: list[str] = []
    for r in (r for r in records() if _base(r["system"]) == e.name):
        for name in names:
            fitting = [m for m in r["measures"] if m["name"].split(",")[0] == name and _of(m["name"], e)]
            if not fitting:
                continue
            m = (max if fitting[0].get("better") == "higher" else min)(fitting, key=lambda m: m["value"])
            unit = m.get("unit", "")
            value = f"{m['value']:.2f}".rstrip("0").rstrip(".") if abs(m["value"]) < 100 else f"{m['value']:.0f}"
            text = f"{m['name']} {value}{f' {unit}' if unit and unit not in m['name'] else ''}"
            where = _data(r)
            found.append(f"[{text}{f' ({where})' if where else ''}](results/{r['family']}.md#{r['name']})")
            if not every:
                return found[0]
            break
    return ", ".join(found)


def _of(measure: str, e: Entry) -> bool:
    """Whether a measure is of this system, where a proof has those of others beside it."""
    named = {registry.names()[word][0] for word in measure.split(", ")[1:] if word in registry.names()}
    return not named or e.name in named


def _row(e: Entry) -> str:
    pace = facts("paces.json").get("systems", {}).get(e.name, {})
    step = draw = "not measured"
    if "fit" in pace:
        step = "fitted in " + _seconds(pace["fit"])
    elif "step_per_example" in pace:
        step = _seconds(pace["step_per_example"])
    if "draw" in pace:
        draw = _seconds(pace["draw"])
    elif "samples" not in e.abilities:
        draw = ""
    cells = [
        f"[`{e.name}`]({e.family}.md)", KINDS[e.kind][0].lower(), e.data + ", points" * e.points, _abilities(e), step, draw, pace.get("date", ""),
        _values(e, LIKELIHOOD) or ("not measured" if "density" in e.abilities else ""),
        _values(e, QUALITY) or _values(e, OTHERWISE, every=False) or "not measured",
    ]  # fmt: skip
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _family(family: str, strong: str, fails: str) -> str:
    """What a family's systems are, can and cost, on one line."""
    entries = [e for e in registry.entries().values() if e.family == family]
    paces = {e.name: facts("paces.json").get("systems", {}).get(e.name, {}) for e in entries}
    fitted = [p["fit"] for p in paces.values() if p.get("fit") is not None]
    steps = [p["step_per_example"] for p in paces.values() if p.get("step_per_example") is not None]
    draws = [p["draw"] for p in paces.values() if p.get("draw") is not None]
    can = dict.fromkeys(VERBS.get(a, a) for e in entries for a in e.abilities if a not in TRAINING)
    best = []
    for key in ("bits/dim, mnist", "FLD, mnist"):
        known = json.loads(reached())[key]
        own = sorted((known[e.name], e.name) for e in entries if e.name in known)
        best.append(f"{own[0][0]:g} (`{own[0][1]}`)" if own else "")
    stands = "; ".join(KINDS[kind][0].lower() for kind in KINDS if any(e.kind == kind for e in entries))
    cost = [f"fitted in {_range(fitted)}"] * bool(fitted) + [_range(steps)] * bool(steps)
    cells = [f"[{family}](#{family})", stands, ", ".join(can), "; ".join(cost), _range(draws), *best, strong, fails]
    return "| " + " | ".join(cells) + " |"


def _range(values: list[float]) -> str:
    if not values:
        return ""
    low, high = _seconds(min(values)), _seconds(max(values))
    return low if low == high else f"{low} to {high}"


def taxonomy() -> str:
    """The page."""
    entries, machine = registry.entries(), facts("paces.json").get("machine", {})
    parts = [
        "# Which family for which task",
        "",
        "Generated by `make docs` from the systems' files, the benchmark and the records of the proofs; do not edit.",
        "",
        "## Ask for it",
        "",
        "```",
        "genzoo advise                                                what it can be asked; in a terminal it asks back",
        "genzoo advise task=complete data=images budget=10min         two or three systems, why, and what to type",
        "genzoo advise sample photos/ 2h size=64                      a folder of one's own; the time of a step grows with the area",
        "genzoo advise texture                                        task and data in one word: video, segmentation, 3d, tabular ...",
        "genzoo advise few-images photos/                             what augments, for some hundred images",
        "genzoo advise likelihood moons 1min json=true                for programs",
        "```",
        "",
        " ".join(ADVICE.split()),
        "",
        "## How a system stands to the probability of the data",
        "",
        "It follows from what a system's file defines: a `log_prob` that is exact, one that is a bound, none.",
        "",
        "| | what that means | systems |",
        "|---|---|---|",
    ]
    for kind, (title, words) in KINDS.items():
        names = [f"`{e.name}`" for e in entries.values() if e.kind == kind]
        parts.append(f"| **{title}** | {words} | {', '.join(names) or 'none'} |")
    header = [
        "family",
        "p(x)",
        "can",
        "training, one example",
        "one sample",
        "best bits/dim, MNIST",
        "best FLD, MNIST",
        "strong at",
        "fails by",
    ]
    parts += ["", "## Families", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    parts += [_family(f, strong, fails) for f, (strong, fails) in registry.families().items()]
    parts += [
        "",
        f"Times: CPU time of one thread ({machine.get('cpu', 'not measured')}, torch {machine.get('torch', '?')}, "
        f"{facts('paces.json').get('precision', '?')}), by `python -m benchmarks.bench_taxonomy`: default settings on digits of 28x28, "
        "gray; a training step of 16 divided by 16 (a fit: the whole of it; nets that grow: the mean over a training), and one of 4 samples drawn "
        "together (sound: windows of the default length); all rows are of this one machine, and each has the day on which it was timed. Times say "
        "what the defaults cost, not what a family must cost. Values are those of the systems' own proofs; each links to its protocol, and values of "
        "different data or protocols do not compare.",
        "",
    ]
    header = [
        "system",
        "p(x)",
        "data",
        "can",
        "training, one example",
        "one sample",
        "timed",
        "likelihood",
        "sample quality",
    ]
    for family, (strong, fails) in registry.families().items():
        parts += [f"## {family}", "", f"Strong at {strong}. Fails by {fails}.", ""]
        parts += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        parts += [_row(e) for e in entries.values() if e.family == family] + [""]
        changed = {
            e.name: pace.get("changed") or pace.get("why") for e in entries.values()
            if e.family == family and (pace := facts("paces.json").get("systems", {}).get(e.name, {}))
        }  # fmt: skip
        notes = [f"`{name}`: {_words(what)}" for name, what in changed.items() if what]
        parts += [f"Timed otherwise, or not: {'; '.join(notes)}.", ""] if notes else []
    return "\n".join(parts).rstrip() + "\n"


def _words(what: Any) -> str:
    if isinstance(what, str):
        return what
    return " ".join(f"{k}={'x'.join(map(str, v)) if isinstance(v, list) else v}" for k, v in what.items())


def lucic() -> str:
    """The published table of arXiv:1711.10337 beside our record of the size for two cores."""
    published = tomllib.loads((ROOT / "examples/studies/lucic-published.toml").read_text(encoding="utf-8"))
    every = {r["name"]: r for r in records()}
    names = [n for n in ("study-lucic-two-cores", "study-lucic-two-cores-cifar10") if n in every]
    measures, trained = ([x for n in names for x in every[n][what]] for what in ("measures", "runs"))
    fixed = {m["name"]: m for m in every.get("study-lucic", {"measures": []})["measures"]}
    measured = {m["name"]: m for m in measures}
    runs = {(run["system"], run["data"]): run for run in trained}
    told = "Ours: not run yet."
    if runs:
        ours, minutes = every[names[0]], sum(m["value"] for m in measures if m.get("unit") == "min")
        m, pages = ours["machine"], " and ".join(f"[`{n}`](results/studies.md#{n})" for n in names)
        told = (
            f"Ours: {pages}, {ours['date']}, {m['cpu']}, one thread for each training; all of them took {minutes:.0f} min together beside "
            "other work and were run before the rest was measured, whose time alone the table of results has. "
            "The best of the draws (by FLD, on CIFAR-10 by FID), one seed. "
            "The last column is [`study-lucic`](results/studies.md#study-lucic): one setting of each, not searched, and 1,000 steps."
        )
    rows = [
        told,
        "",
        "| data | model | published FID | our FID | our KID | our FLD | median of our draws | draws | steps | FLD of one setting |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for data, table in published.items():
        for model, value in table.items():
            found = [measured.get(f"{kind}, {model}, {data}") for kind in ("FID", "KID", "FLD")]
            run, once = runs.get((model, data)), fixed.get(f"FLD, {model}, {data}")
            last = _lucic_cell(once) if once else "not run"
            if run is None or not any(found):
                rows.append(f"| {data} | `{model}` | {value} | not run |  |  |  |  |  | {last} |")
                continue
            cells = ["" if m is None else _lucic_cell(m) for m in found]
            medians = [
                f"{number:.1f} ({what.split('(')[1]}"
                for m in found if m for what, number in m.get("baseline", {}).items() if what.startswith("median")
            ]  # fmt: skip
            failed = f", {run['failed draws']} failed" if run["failed draws"] else ""
            cells += [", ".join(medians), f"{run['draws']}{failed}", f"{run['steps']:,}"]
            rows.append(f"| {data} | `{model}` | {value} | {' | '.join(cells)} | {last} |")
        floors = [
            next((m for n, m in measured.items() if n.startswith(kind) and n.endswith(f", {data}")), None)
            for kind in ("FID", "KID", "FLD")
        ]
        if any(floors):
            cells = [_lucic_cell({"value": m["baseline"]["real"], "n": m["n"]}) if m else "" for m in floors]
            rows.append(f"| {data} | *real training images* |  | {' | '.join(cells)} |  |  |  |  |")
    return "\n".join(rows)


def _lucic_cell(m: dict[str, Any]) -> str:
    value = f"{m['value']:.4f}" if abs(m["value"]) < 1 else f"{m['value']:.1f}"
    return value + (f" ± {m['se']:.4f}" if "se" in m else "") + f" (N={m['n']:,})"
