"""What a system offers to the play page: by its capabilities, the options of its own methods and the kind of its data; nothing by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from genzoo.core.capabilities import Mixes, Prompted, Translates, capabilities
from genzoo.core.schema import form, settings
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.metrics.drawing import takes_labels, takes_prompts
from genzoo.use.bits import predicts_levels
from genzoo.use.common.directions import COUNT
from genzoo.use.common.images import channels_in, channels_of
from genzoo.use.common.source import SHARED, name_of, own_options

METHODS = ("sample", "sample_prior", "complete", "translate")
WORDS = 400
"""Words of a vocabulary that are told."""


def offers(system: System) -> dict[str, Any]:
    """Say what a page can do with a system: its panels, and the options of each."""
    able, kind = capabilities(system), kinds.of(system)
    shape = [int(n) for n in system.hparams.get("shape", ())]
    floats = "decodes" in able and _latents_are_floats(system)
    whole = kinds.declared(system.data)[1].single
    image = len(shape) == 3 and not kind.sequential and not whole
    return {
        "system": name_of(system),
        "able": [*able],
        "kind": kind.name,
        "thing": kind.thing,
        "shape": shape,
        "size": shape[1:] if image else None,
        "rate": system.hparams.get("rate"),
        "scale": getattr(system, "scale", 1) if "translates" in able else 1,
        "step": getattr(system, "trained", {}).get("step"),
        "panels": {
            "explore": "decodes" in able and len(shape) > 2,
            "sample": "samples" in able,
            "picture": image and ({"encodes", "decodes"} <= set(able) or floats),
            "complete": "completes" in able and (image or kind.sequential or whole),
            "translate": bool("translates" in able and getattr(system, "directions", ())),
            "animate": "animates" in able and len(shape) == 4,
            "bits": image and predicts_levels(system),
            "density": "density" in able and shape == [2],
        },
        "moves": floats,
        "directions": COUNT if floats else 0,
        "encodes": {"encodes", "decodes"} <= set(able),
        "projects": floats,
        "compresses": "compresses" in able,
        "layers": system.layers if isinstance(system, Mixes) and "mixes" in able else 0,
        "maps": _maps(system),
        "channels": channels_of(system),
        "labels": _labels(system),
        "words": _words(system),
        "scales_noise": floats and "temperature" in own_options(system, "sample") if "samples" in able else False,
        "options": {m: _options(system, m) for m in METHODS if hasattr(system, m)},
        "sequential": kind.sequential,
    }


def _latents_are_floats(system: Any) -> bool:
    import torch

    from genzoo.use.common.source import generators_for

    with torch.no_grad():
        return bool(system.sample_prior(1, generator=generators_for(system, 0, 1)).is_floating_point())


def _maps(system: System) -> list[dict[str, Any]]:
    if not isinstance(system, Translates):
        return []
    return [{"name": d, "channels": channels_in(system, d)} for d in system.directions]


def _labels(system: System) -> list[str]:
    """Name the classes that can be asked for; numbers where they have no names."""
    if not takes_labels(system):
        return []
    count = int(system.labels)  # type: ignore[arg-type]
    names = [str(n) for n in getattr(system, "trained", {}).get("class_names", [])]
    return names if len(names) == count else [str(i) for i in range(count)]


def _words(system: System) -> list[str]:
    return [*system.vocabulary[:WORDS]] if takes_prompts(system) and isinstance(system, Prompted) else []


def _options(system: System, method: str) -> list[dict[str, Any]]:
    """Describe the options of a method as a form has them; those that the system was built without are left out."""
    function = getattr(type(system), method)
    known = settings(function)
    skip = tuple(s for s in known if s in SHARED)
    properties: Mapping[str, Any] = form(function, skip=skip).model_json_schema().get("properties", {})
    out = []
    for name in own_options(system, method):
        if (name == "label" and not takes_labels(system)) or (name == "prompt" and not takes_prompts(system)):
            continue
        if name in properties:
            out.append({"name": name, "doc": _doc(system, known[name].doc, name), **_field(properties[name])})
    return out


def _doc(system: System, said: str, name: str) -> str:
    """Return what is said of an option; where that is "As in `sample`.", what is said there."""
    if (other := re.fullmatch(r"As in `(\w+)`\.", said)) and hasattr(type(system), other[1]):
        there = settings(getattr(type(system), other[1])).get(name)
        return there.doc if there else said
    return said


def _field(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the JSON schema of one option into what a field of a form needs."""
    choices = schema.get("anyOf", [schema])
    main: Mapping[str, Any] = next((c for c in choices if c.get("type") != "null"), {})
    optional = any(c.get("type") == "null" for c in choices)
    return {
        "type": "choice" if "enum" in main or "const" in main else main.get("type", "string"),
        "choices": main.get("enum", [main["const"]] if "const" in main else []),
        "least": main.get("minimum", main.get("exclusiveMinimum")),
        "open": "exclusiveMinimum" in main,
        "most": main.get("maximum", main.get("exclusiveMaximum")),
        "default": schema.get("default"),
        "optional": optional,
    }
