"""GET /docs: the reference of a server as one plain page, made from its own /openapi.json. Nothing of it is loaded from elsewhere."""

from __future__ import annotations

import json
from typing import Any

from jinja2 import Environment

STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; --line: #8886; }
body { max-width: 60rem; margin: 0 auto; padding: 1.5rem; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; font-size: 1.25rem; }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.875rem; }
pre { border: 1px solid var(--line); border-radius: 6px; padding: 0.75rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: start; vertical-align: top; padding: 0.25rem 0.75rem 0.25rem 0; border-bottom: 1px solid var(--line); }
"""
PAGE = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/docs.css"></head>
<body>
<h1>{{ title }}</h1>
<p>{{ description }}</p>
<p>For programs: <a href="/openapi.json">/openapi.json</a>. Every mistake is answered by <code>{"error": "a sentence"}</code>.</p>
{% for e in endpoints %}
<h2><code>{{ e.method }} {{ e.path }}</code></h2>
<p>{{ e.doc }}</p>
{% if e.fields %}
<table><thead><tr><th>{{ e.where }}</th><th>what may be given</th><th>default</th><th></th></tr></thead><tbody>
{% for f in e.fields %}<tr><td><code>{{ f.name }}</code></td><td>{{ f.allowed }}</td><td>{{ f.default }}</td><td>{{ f.doc }}</td></tr>
{% endfor %}</tbody></table>
{% endif %}
<p>Answers: {{ e.answers }}</p>
{% if e.call %}<pre>{{ e.call }}</pre>{% endif %}
{% endfor %}
</body></html>
"""


def page(schema: dict[str, Any], base: str) -> str:
    """Write the reference of an OpenAPI description.

    Args:
        schema: It.
        base: Address of the server.
    """
    endpoints = [
        _endpoint(path, method.upper(), said, schema, base)
        for path, methods in schema["paths"].items()
        for method, said in methods.items()
    ]
    endpoints.sort(key=lambda e: e["method"] == "GET")  # what the model does comes first
    info = schema["info"]
    made = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(PAGE)
    return made.render(title=info["title"], description=info.get("description", ""), endpoints=endpoints)


def _endpoint(path: str, method: str, said: dict[str, Any], schema: dict[str, Any], base: str) -> dict[str, Any]:
    fields, where, call = [], "in the address", ""
    for parameter in said.get("parameters", ()):
        own = parameter["schema"]
        fields.append(
            _field(
                parameter["name"],
                {"description": parameter.get("description", ""), **own},
                parameter.get("required", False),
            )
        )
    content = said.get("requestBody", {}).get("content", {})
    for kind, told in content.items():
        body = _resolved(told.get("schema", {}), schema)
        names = body.get("properties", {})
        fields += [_field(n, _resolved(f, schema), n in body.get("required", ())) for n, f in names.items()]
        if kind == "multipart/form-data":
            where = "files in the form; the rest in the address"
            files = [n for n in names if n in body.get("required", ())]
            call = f"curl {' '.join(f'-F {n}=@FILE' for n in files)} {base}{path} -o answer"
        elif kind == "application/json":
            where, call = (
                "in the JSON",
                f"curl -H 'Content-Type: application/json' -d '{_example(names)}' {base}{path} -o answer",
            )
    if method == "GET":
        call = f"curl {base}{path}"
    answer = said["responses"].get("200", {})
    kinds = ", ".join(answer.get("content", {})) or "JSON"
    return {
        "path": path,
        "method": method,
        "doc": said.get("description", ""),
        "fields": fields,
        "where": where,
        "answers": kinds,
        "call": call,
    }


def _example(names: dict[str, Any]) -> str:
    return json.dumps({n: 1 for n in ("n", "seed") if n in names} or dict.fromkeys(names, "..."))


def _resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference; what stands beside it goes before."""
    if "$ref" in part:
        found: Any = schema
        for word in part["$ref"].removeprefix("#/").split("/"):
            found = found[word]
        return {**_resolved(found, schema), **{k: v for k, v in part.items() if k != "$ref"}}
    return part


def _field(name: str, own: dict[str, Any], required: bool) -> dict[str, str]:
    default = "required" if required else "" if own.get("default") is None else json.dumps(own["default"])
    return {"name": name, "allowed": _allowed(own), "default": default, "doc": own.get("description", "")}


def _number(value: float) -> str:
    """Write a bound as it was written: pydantic makes floats of whole numbers.

    >>> _number(256.0), _number(0.5)
    ('256', '0.5')
    """
    return str(int(value)) if float(value).is_integer() else str(value)


def _allowed(own: dict[str, Any]) -> str:
    if "anyOf" in own:
        return " or ".join(_allowed(o) for o in own["anyOf"] if o.get("type") != "null")
    if "enum" in own or "const" in own:
        return " | ".join(map(str, own.get("enum", [own.get("const")])))
    if own.get("format") == "binary" or "contentMediaType" in own:
        return "a file"
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    limits = [f"{say} {_number(own[key])}" for key, say in words.items() if key in own]
    kind = "files" if own.get("type") == "array" and "a file" in _allowed(own.get("items", {})) else own.get("type", "")
    return ", ".join([kind, *limits])
