"""Push a model to the Hugging Face hub, with a card that says what it is, of what data, how good, and under which licence."""

from __future__ import annotations

import copy
import re
import tempfile
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.metrics.records import read_records
from genzoo.saved import hub
from genzoo.saved.published import folder_of, is_published
from genzoo.text.documents import is_number
from genzoo.use.common.source import Source, open_system, run_path
from genzoo.use.export import export

TASKS = (
    ("translates", "image-to-image"),
    ("prompted", "text-to-image"),
    ("samples", "unconditional-image-generation"),
)
"""The hub's name of the task of the first capability that a system has."""


def push(
    source: Source,
    to: str,
    *,
    license: str | None = None,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
) -> str:
    """Push an exported folder of a model to the hub, as one commit: it is there whole or not at all.

    The person's own login is used ('hf auth login' or HF_TOKEN); tokens are never written, shown or taken as an argument.

    Args:
        source: A run, its path, or a system.
        to: OWNER/NAME on the hub; the model is made there if need be.
        license: The hub's word for its licence, such as mit or cc-by-4.0; the card says nothing of it when not given.
        private: Make it a private one, where it is made.
        revision: Branch that the commit goes to; main when not given.
        message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        UserError: The name is none, nobody is logged in, the hub refuses or cannot be reached, or the extra is missing.
    """
    place = to if hub.is_hub(to) else f"{hub.PREFIX}{to}"
    name, at = hub.parsed(place)
    if at:
        raise UserError(f"push: give revision={at} instead of '@{at}'")
    if license is not None and not re.fullmatch(r"[a-z0-9.-]+", license):
        raise UserError(f"license={license} is not a word of the hub; give mit, apache-2.0, cc-by-4.0, other ...")
    package = hub.package()
    if not package.get_token():
        raise UserError(
            "push: nobody is logged in; log in with 'hf auth login' (a token that may write), or set HF_TOKEN"
        )
    system = copy.copy(open_system(source))
    system.trained = without_places(getattr(system, "trained", {}))
    with tempfile.TemporaryDirectory(prefix="genzoo-push-") as temporary:
        folder = export(system, Path(temporary) / name.partition("/")[2])
        card = folder / "README.md"
        write_atomic(card, _card(package, system, card.read_text(encoding="utf-8"), source, name, license).encode())
        api = package.HfApi(library_name="genzoo")
        with hub.said(place):
            api.create_repo(name, private=private, exist_ok=True)
            if revision:
                api.create_branch(name, branch=revision, exist_ok=True)
            done = api.upload_folder(
                repo_id=name, folder_path=folder, revision=revision, commit_message=message or "Model of genzoo"
            )
    return str(done.commit_url)


def _card(package: Any, system: Any, text: str, source: Source, name: str, license: str | None) -> str:
    """Return the card of an export with the hub's fields at its head and how the model is fetched in its body."""
    from genzoo.core.capabilities import capabilities

    data = str(getattr(system, "trained", {}).get("data", {}).get("data", ""))
    dataset = Path(data).name or "its own data"
    able = capabilities(system)
    task = next((task for c, task in TASKS if c in able), None)
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    body = body.replace(f'genzoo.load("{name.partition("/")[2]}"', f'genzoo.load("{hub.PREFIX}{name}"')
    results = [
        package.EvalResult(
            task_type=task or "other", dataset_type=dataset, dataset_name=dataset, dataset_split=r.get("split"), metric_type=r["measure"],
            metric_name=r["measure"], metric_value=r["value"], metric_args={k: r[k] for k in ("n", "se", "seed") if is_number(r.get(k))},
        )
        for r in measured(source)
    ]  # fmt: skip
    head = package.ModelCardData(
        license=license, library_name="genzoo", tags=["genzoo", str(system.name)], pipeline_tag=task, model_name=name.partition("/")[2],
        eval_results=results or None,
    )  # fmt: skip
    head.datasets = [data] if data.startswith("hf:") else None
    rows = "".join(f"| {r['measure']} | {r['value']:.5g} | {r.get('protocol', '')} |\n" for r in measured(source))
    told = f"\n## Measured\n\n| measure | value | how |\n|---|---|---|\n{rows}" if rows else "\nNot measured.\n"
    return f"---\n{head.to_yaml()}\n---\n{body}{told}"


def measured(source: Source) -> list[dict[str, Any]]:
    """Return the records of a run's measures that are numbers."""
    path = folder_of(source) if is_published(source) else run_path(source)
    found = read_records(path / "metrics.json").items() if path else ()
    return [{"measure": key.split(" on ")[0], **r} for key, r in found if is_number(r.get("value"))]


def without_places(trained: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a training without the folders of the machine that it ran on: names of data stay."""
    kept = {k: dict(v) if isinstance(v, dict) else v for k, v in trained.items()}
    for section, keys in (("data", ("data", "captions")), ("training", ("runs", "measure_with"))):
        for key in keys:
            if isinstance(value := kept.get(section, {}).get(key), str) and not hub.is_hub(value):
                kept[section][key] = ",".join(Path(part).name for part in value.split(","))
    return kept
