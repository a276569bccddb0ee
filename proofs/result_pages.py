"""The pages of docs/results, made of the records of proofs and of nothing else: one for each family, and one table over all systems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from genzoo.naming import registry
from proofs.acceptance import RULE, accepted, seen

MADE = "*Written by `python -m proofs` from the records; do not edit.*"
HEADER = [
    "proof",
    "system",
    "data",
    "measure",
    "ours",
    "baselines",
    "published",
    "goal",
    "time",
    "machine",
    "date",
    "again",
]


class Entry(Protocol):
    """What a page needs of a registered proof."""

    name: str
    system: str
    family: str
    claim: str


def command(name: str) -> str:
    """Return what to type to run a proof again; records keep what was typed then, which may be of an older layout of the repository."""
    return f"GENZOO_DATA=... python -m proofs {name}"


def number(value: float) -> str:
    if value != value:
        return "nan"
    size = abs(value)
    text = f"{value:.0f}" if size >= 10_000 else f"{value:.2f}" if size >= 10 else f"{value:.4g}"
    return text.replace("-", "−") if size else "0"


def cell(row: dict[str, Any]) -> str:
    error = f" ± {row['se']:.2g}" if "se" in row else ""
    return f"{number(row['value'])}{error} {row.get('unit', '')}".strip()


def beside(row: dict[str, Any]) -> str:
    found = row.get("baseline", "")
    return " · ".join(f"{k} {number(v)}" for k, v in found.items()) if isinstance(found, dict) else found


def _verdict(row: dict[str, Any]) -> str:
    if "goal" not in row:
        return ""
    return f"{row['verdict']} ({'≤' if row['better'] == 'lower' else '≥'} {number(row['goal'])})"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    clean = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *clean)]


def _section(record: dict[str, Any]) -> list[str]:
    m = record["machine"]
    lines = [f"## {record['name']}", "", f"`{record['system']}`. Put to the test: {record['claim']}", ""]
    if missed := [r["name"] for r in record["measures"] if r.get("verdict") == "not met"]:
        lines += [f"**Not borne out** in: {'; '.join(missed)}.", ""]
    header = ["measure", "value", "N", "split", "baselines", "published", "goal"]
    rows = [
        [
            r["name"],
            cell(r),
            f"{r['n']:,}" if "n" in r else "",
            r.get("split", ""),
            beside(r),
            r.get("published", ""),
            _verdict(r),
        ]
        for r in record["measures"]
    ]
    lines += [*table(header, rows), ""]
    protocols: dict[str, list[str]] = {}
    for r in record["measures"]:
        if "protocol" in r:
            protocols.setdefault(r["protocol"], []).append(r["name"])
    lines += [f"- *{'; '.join(names)}*: {text}" for text, names in protocols.items()] + [""] * bool(protocols)
    for p in record["pictures"]:
        lines += [f"![{p['caption']}](pictures/{p['file']})", "", f"*{p['caption']}*", ""]
    lines += [f"- {text}" for text in record["notes"]] + [""] * bool(record["notes"])
    for name, text in record.get("outputs", {}).items():
        lines += [f"*{name}*", "", "```", *text.splitlines(), "```", ""]
    for run in record["runs"]:
        keys = " ".join(f"{k}={setting(v)}" for k, v in run.items() if k not in ("system", "data", "seconds"))
        lines.append(
            f"- trained: `genzoo train {run['system']} data={run['data']}{' ' + keys if keys else ''}` in {run['seconds']:g} s"
        )
    version = f"genzoo {record['genzoo']}" + (f" ({record['commit']})" if record["commit"] else "")
    lines += [
        f"- again: `{command(record['name'])}`; took {record['seconds']:g} s on {record['date']}, {version}, torch {m['torch']}, "
        f"{m['cpu']}, {m['cores']} cores, {m['threads']} thread{'s' * (m['threads'] != 1)}",
        "",
    ]
    return lines


def setting(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, list)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def _machine(record: dict[str, Any]) -> str:
    m = record["machine"]
    return f"{m['cpu']}, {m['threads']} thread{'s' * (m['threads'] != 1)}"


def time_taken(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _named(data: str) -> str:
    """Data by name; of paths the last part, since the page has them in full."""
    return ",".join(Path(part).name for part in data.split(","))


def _headline(measures: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The measure that stands for a proof in the table over all systems: the first with a goal, else the first."""
    return next((m for m in measures if "goal" in m), measures[0] if measures else None)


def _row(name: str, family: str, record: dict[str, Any]) -> list[str]:
    """The row of one proof in the table over all systems: its headline, and how much more its page has."""
    data = ", ".join(dict.fromkeys(_named(run["data"]) for run in record["runs"]))
    first, others = _headline(record["measures"]), len(record["measures"]) - 1
    told = ["no measure", "", "", "", ""]
    if first:
        count = ", ".join(
            word for word in (f"N={first['n']:,}" if "n" in first else "", first.get("split", "")) if word
        )
        measure = f"{first['name']} ({count})" if count else first["name"]
        measure += f"; [{others} more]({family}.md#{name})" if others else ""
        verdicts = [m["verdict"] for m in record["measures"] if "goal" in m]
        verdict = _verdict(first) + (
            f"; {verdicts.count('met')} of {len(verdicts)} goals met" if len(verdicts) > 1 else ""
        )
        told = [measure, cell(first), beside(first), first.get("published", ""), verdict]
    last = [time_taken(record["seconds"]), _machine(record), record["date"], f"`python -m proofs {name}`"]
    return [f"[{name}]({family}.md#{name})", record["system"], data, *told, *last]


def _by_family(families: dict[str, list[str]], records: dict[str, Any]) -> list[str]:
    """Where to look: the pages, and how many of their proofs have been run."""
    rows = [
        [
            f"[{family}]({family}.md)",
            f"{sum(n in records for n in names)} of {len(names)}",
            _links(family, names, records),
        ]
        for family, names in families.items()
    ]
    return table(["family", "proofs that have been run", "proofs"], rows)


def _by_system(families: dict[str, list[str]], records: dict[str, Any], entries: dict[str, Entry]) -> list[str]:
    """The proofs that are about a system or one of its presets, or that train it beside others."""
    known, about = registry.names(), {name: ([], []) for name in registry.entries()}  # type: dict[str, tuple[list[str], list[str]]]
    for family, names in families.items():
        for name in names:
            own = records[name]["system"] if name in records else entries[name].system
            trained = {run["system"] for run in records[name]["runs"]} if name in records else set()
            for word in sorted({own, *trained} & set(known), key=lambda w: w != own):
                lists = about[known[word][0]]
                if not any(f"[{name}]" in text for side in lists for text in side):
                    lists[known[word][0] != known.get(own, ("",))[0]].append(_links(family, [name], records))
    rows = [[f"`{name}`", " · ".join(mine) or "no proof", " · ".join(others)] for name, (mine, others) in about.items()]
    return table(["system", "proofs of it", "in proofs of others"], rows)


def _links(family: str, names: list[str], records: dict[str, Any], *, page: str | None = None) -> str:
    at = f"{family}.md" if page is None else page
    return " · ".join(f"[{n}]({at}#{n})" + ("" if n in records else " (not run)") for n in names)


def proofless(records: dict[str, dict[str, Any]], entries: dict[str, Entry]) -> list[str]:
    """Systems that no proof is about and that none has trained."""
    about = {e.system for e in entries.values()} | {r["system"] for r in records.values()}
    about |= {run["system"] for r in records.values() for run in r["runs"]}
    known = registry.names()
    proved = {known[word][0] for word in about if word in known}
    return [name for name in registry.entries() if name not in proved]


def _acceptance(
    families: dict[str, list[str]], records: dict[str, Any], looks: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """How many rows an expert accepts, by the rule, and why not the others."""
    found = {
        n: (f, *accepted(records[n], looks.get(n))) for f, names in families.items() for n in names if n in records
    }
    counts = {word: sum(v == word for _, v, _ in found.values()) for word in ("yes", "no", "not judged")}
    rows = [[f"[{n}]({f}.md#{n})", verdict, why] for n, (f, verdict, why) in found.items() if verdict != "not judged"]
    verdict = (
        f"**An expert accepts {counts['yes']} of {len(found)} rows**, does not accept {counts['no']}, and {counts['not judged']} have "
        f"not been judged. A row is accepted when {RULE}. [What was seen](#what-an-expert-accepts) has the reasons."
    )
    return [verdict, ""], ["## What an expert accepts", "", *table(["proof", "accepted", "why"], rows), ""]


def write_pages(results: Path, entries: dict[str, Entry], looks: dict[str, Any] | None = None) -> None:
    """Write docs/results/FAMILY.md and README.md from the records; proofs without a record and systems without a proof are listed as such.

    Args:
        results: The folder docs/results.
        entries: All proofs, by name.
        looks: What was seen of each; `seen.toml` by default.
    """
    from genzoo.core.files import write_atomic

    records = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted((results / "records").glob("*.json"))}
    families: dict[str, list[str]] = {}
    for name in sorted({*records, *entries}, key=lambda n: ((records.get(n) or vars(entries[n]))["family"], n)):
        families.setdefault((records.get(name) or vars(entries[name]))["family"], []).append(name)
    rows = []
    for family, names in families.items():
        lines = [f"# Results: {family}", "", MADE, "", _links(family, names, records, page=""), ""]
        for name in names:
            if name in records:
                lines += _section(records[name])
                rows.append(_row(name, family, records[name]))
                continue
            e = entries[name]
            lines += [f"## {name}", "", f"`{e.system}`: {e.claim}", "", "Not run yet.", ""]
            again = f"`python -m proofs {name}`"
            rows.append([f"[{name}]({family}.md#{name})", e.system, "", "not run", *[""] * 7, again])
        write_atomic(results / f"{family}.md", ("\n".join(lines).rstrip() + "\n").encode())
    rows += [["no proof", name, *[""] * 10] for name in proofless(records, entries)]
    verdict, judged = _acceptance(families, records, seen() if looks is None else looks)
    index = [
        "# Results",
        "",
        MADE,
        "",
        *verdict,
        "Every number was measured by a proof on real data. Look for a [family](#by-family) or a [system](#by-system); the "
        "[table](#every-proof) below has one measure of each proof, the first one with a goal where there is one, and the page behind its name "
        "has all of them: the protocol of each in full, the settings of every training, the pictures, and what separates the number from the "
        "published one. Baselines were measured in the same way. `GENZOO_DATA=...` says where the data are. A proof that has not been run says "
        "so, and so does a system without one.",
        "",
        "## By family",
        "",
        *_by_family(families, records),
        "",
        "## By system",
        "",
        *_by_system(families, records, entries),
        "",
        *judged,
        "## Every proof",
        "",
        *table(HEADER, rows),
    ]
    write_atomic(results / "README.md", ("\n".join(index).rstrip() + "\n").encode())
