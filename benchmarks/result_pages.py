"""The pages of docs/results, made of the records of proofs and of nothing else: one for each family, and one table over all systems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from genzoo.core import registry

MADE = "*Written by `benchmarks/proofs.py` from the records; do not edit.*"
HEADER = ["proof", "system", "data", "measure", "ours", "baselines", "published", "goal", "time", "machine", "again"]


class Entry(Protocol):
    """What a page needs of a registered proof."""

    name: str
    system: str
    family: str
    claim: str


def number(value: float) -> str:
    if value != value:
        return "nan"
    size = abs(value)
    text = f"{value:.0f}" if size >= 10_000 else f"{value:.2f}" if size >= 10 else f"{value:.4g}"
    return text.replace("-", "−") if size else "0"


def _cell(row: dict[str, Any]) -> str:
    error = f" ± {row['se']:.2g}" if "se" in row else ""
    return f"{number(row['value'])}{error} {row.get('unit', '')}".strip()


def _baseline(row: dict[str, Any]) -> str:
    found = row.get("baseline", "")
    return " · ".join(f"{k} {number(v)}" for k, v in found.items()) if isinstance(found, dict) else found


def _verdict(row: dict[str, Any]) -> str:
    if "goal" not in row:
        return ""
    return f"{row['verdict']} ({'≤' if row['better'] == 'lower' else '≥'} {number(row['goal'])})"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    clean = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *clean)]


def _section(record: dict[str, Any]) -> list[str]:
    m = record["machine"]
    lines = [f"## {record['name']}", "", f"`{record['system']}`: {record['claim']}", ""]
    header = ["measure", "value", "N", "split", "baselines", "published", "goal"]
    rows = [
        [
            r["name"],
            _cell(r),
            f"{r['n']:,}" if "n" in r else "",
            r.get("split", ""),
            _baseline(r),
            r.get("published", ""),
            _verdict(r),
        ]
        for r in record["measures"]
    ]
    lines += [*_table(header, rows), ""]
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
        keys = " ".join(f"{k}={_setting(v)}" for k, v in run.items() if k not in ("system", "data", "seconds"))
        lines.append(
            f"- trained: `genzoo train {run['system']} data={run['data']}{' ' + keys if keys else ''}` in {run['seconds']:g} s"
        )
    version = f"genzoo {record['genzoo']}" + (f" ({record['commit']})" if record["commit"] else "")
    lines += [
        f"- again: `{record['command']}`; took {record['seconds']:g} s on {record['date']}, {version}, torch {m['torch']}, "
        f"{m['cpu']}, {m['cores']} cores, {m['threads']} thread{'s' * (m['threads'] != 1)}",
        "",
    ]
    return lines


def _setting(value: Any) -> str:
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


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _named(data: str) -> str:
    """Data by name; of paths the last part, since the page has them in full."""
    return ",".join(Path(part).name for part in data.split(","))


def _rows(name: str, family: str, record: dict[str, Any]) -> list[list[str]]:
    """Rows of one proof in the table over all systems; what holds for all of them stands in the first."""
    data = ", ".join(dict.fromkeys(_named(run["data"]) for run in record["runs"]))
    last = [_time(record["seconds"]), _machine(record), f"`python benchmarks/proofs.py {name}`"]
    rows = []
    for r in record["measures"]:
        count = ", ".join(word for word in (f"N={r['n']:,}" if "n" in r else "", r.get("split", "")) if word)
        measure = f"{r['name']} ({count})" if count else r["name"]
        rows.append([measure, _cell(r), _baseline(r), r.get("published", ""), _verdict(r)])
    rows = rows or [["no measure", "", "", "", ""]]
    return [
        [f"[{name}]({family}.md#{name})", record["system"], data, *row, *last]
        if i == 0
        else ["", "", "", *row, "", "", ""]
        for i, row in enumerate(rows)
    ]


def proofless(records: dict[str, dict[str, Any]], entries: dict[str, Entry]) -> list[str]:
    """Systems that no proof is about and that none has trained."""
    about = {e.system for e in entries.values()} | {r["system"] for r in records.values()}
    about |= {run["system"] for r in records.values() for run in r["runs"]}
    known = registry.names()
    proved = {known[word][0] for word in about if word in known}
    return [name for name in registry.entries() if name not in proved]


def write_pages(results: Path, entries: dict[str, Entry]) -> None:
    """Write docs/results/FAMILY.md and README.md from the records; proofs without a record and systems without a proof are listed as such."""
    from genzoo.core.pictures import write_atomic

    records = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted((results / "records").glob("*.json"))}
    families = sorted({r["family"] for r in records.values()} | {e.family for e in entries.values()})
    rows = []
    for family in families:
        lines = [f"# Results: {family}", "", MADE, ""]
        names = sorted(
            n for n in {*records, *entries} if (records.get(n, {}).get("family") or entries[n].family) == family
        )
        for name in names:
            if name in records:
                lines += _section(records[name])
                rows += _rows(name, family, records[name])
                continue
            e = entries[name]
            lines += [f"## {name}", "", f"`{e.system}`: {e.claim}", "", "Not run yet.", ""]
            again = f"`python benchmarks/proofs.py {name}`"
            rows.append([f"[{name}]({family}.md#{name})", e.system, "", "not run", "", "", "", "", "", "", again])
        write_atomic(results / f"{family}.md", ("\n".join(lines).rstrip() + "\n").encode())
    rows += [["no proof", name, *[""] * 9] for name in proofless(records, entries)]
    index = [
        "# Results",
        "",
        MADE,
        "",
        "Every number was measured by a proof on real data. The page behind its name has the protocol of every measure in full, the settings of "
        "every training, the pictures, and what separates the number from the published one. `GENZOO_DATA=...` says where the data are; baselines "
        "were measured in the same way. A proof that has not been run says so, and so does a system without one.",
        "",
        *_table(HEADER, rows),
    ]
    write_atomic(results / "README.md", ("\n".join(index).rstrip() + "\n").encode())
