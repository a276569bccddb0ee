"""Which network suits which images, which measures apply to a system and its data, and how one is taken."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from genzoo.core.errors import UserError
from genzoo.data import Dataset
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.features.networks import INCEPTIONS, available, default_extractor, extractor
from genzoo.metrics.measure import ALL, NETWORK, Asked, Known, Measure
from genzoo.metrics.records import Record
from genzoo.metrics.reference import Reference
from genzoo.metrics.reference import unlike as unlike_network
from genzoo.metrics.translations import of_translations, translations

DIGIT_LIKE = ("mnist", "digits", "garments")
"""Data that the bundled feature networks were made for; on other images their distance would mean nothing."""


def network_for(
    wanted: str | Extractor | None, test: Dataset | None, reference: Reference | None = None
) -> tuple[Extractor | None, str]:
    """Choose the feature network: the one that a person asks for or that suits the images, or None and why there is none.

    Raises:
        UserError: What was asked for is not there, or is another network than statistics are of.
    """
    if reference is not None:
        return _network_of(reference, wanted), ""
    if isinstance(wanted, Extractor):
        return wanted, ""
    if wanted:
        return extractor(wanted), ""
    if test is None or not {"image", "b"} & set(test.fields):
        return None, "there are no plain images to compare with"
    shape = tuple(test.facts()["shape"])
    gray = shape[0] == 1 and max(shape[1:]) <= 40
    if gray and any(word in test.name for word in DIGIT_LIKE):
        return default_extractor(test.name, shape), ""
    if available()["inception"]:
        return extractor("inception"), ""
    return None, (
        "no feature network suits these images: put the Inception weights where GENZOO_WEIGHTS says (docs/evaluate.md), or name another"
    )


def _network_of(reference: Reference, wanted: str | Extractor | None) -> Extractor:
    """Return the network that statistics are of: the one that their file names, or that a person names of a file that does not."""
    if not wanted and reference.told and not reference.network:
        raise UserError(
            f"{reference.name} is of {reference.told['extractor']}, which has no name here; give it as extractor="
        )
    if not wanted and not reference.network:
        ways = "; ".join(f"extractor={name} ({of.whose})" for name, of in INCEPTIONS.items())
        raise UserError(
            f"{reference.name} does not say whose network and resizer its mu and sigma are of; say it: {ways}"
        )
    net = wanted if isinstance(wanted, Extractor) else extractor(wanted or reference.network)
    if why := unlike_network(reference, net, wanted if isinstance(wanted, str) else ""):
        raise UserError(why)
    return net


def applies(m: Measure, c: Comparison, able: Sequence[str], why_no_net: str) -> str | None:
    """Decide whether a measure can be taken: None where it can; "" where it is beside the point; else why it cannot.

    Args:
        m: The measure.
        c: The data, and the network that was found.
        able: Capabilities of the system; ("samples",) where there are samples alone.
        why_no_net: Why no network was found.
    """
    translated = of_translations(m, c)
    if not set(m.needs) <= {*able, *(("samples",) if translated else ())}:
        return ""
    if c.reference is not None and m.images and "samples" in m.needs and "image" in m.defined_on:
        if not m.statistics:
            return (
                f"statistics (mu, sigma) stand for real images in a Fréchet distance alone; {m.name} needs the images"
            )
        return why_no_net if c.net is None else None
    if c.test is None or not (translated or set(m.defined_on) & set(c.test.fields)):
        return ""
    if c.test.settings.binarize == "dynamic" and m.images:
        return "dynamically binarised images differ in every pass; give binarize=static"
    if m.images and len(c.test) < 2:
        return ""
    if (m.features or m.network) and c.net is None:
        return why_no_net
    if m.classifier and (c.net is None or c.net.logits is None):
        return ""
    if m.train and c.train is None:
        return "it needs training images beside the real ones: data with a test part, or holdout=0.1"
    return None


def lacks(m: Measure, able: Sequence[str]) -> str:
    """Say what a measure needs and does not find: a capability, classes, or examples of its kind."""
    missing = [cap for cap in m.needs if cap not in able]
    if missing:
        return f"it has no capability '{missing[0]}'"
    if m.classifier:
        return "the feature network is no classifier of these classes"
    return "the data have no examples of the kind it takes"


def agreed(
    asked: Sequence[Asked], able: Sequence[str], given: Mapping[str, Any], *, statistics: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Bring together what the names of measures fix and what a person gave: n, n_real, split, extractor, k; and what is to be said of the names.

    Args:
        asked: What was asked for.
        able: Capabilities of the system.
        given: What the person gave, None where nothing.
        statistics: Statistics stand for real images, whose network is chosen by them.

    Raises:
        UserError: A name fixes something else than what was given, or than another name; or means another measurement for this system.
    """
    found, said, notes = dict(given), dict[str, str](), list[str]()
    for a in asked:
        known = a.known
        if known:
            lacking = [c for c in known.needs if c not in able]
            if lacking or set(known.without) & set(able):
                others = [k.name for k in a.measures[0].known if not k.refused and k is not known]
                raise UserError(
                    f"{a.word} is of latents other than those that this system is decoded from; ask for {' or '.join((*others, a.measures[0].name))}"
                )
            notes += [f"{a.word}: {known.note}"] if known.note else []
        elif a.value and a.value.extractor and given.get("extractor") is None and not statistics:
            known = Known(a.value.name, extractor=a.value.extractor)
        for key, value in known.fixes.items() if known else ():
            if found[key] not in (None, value):
                whose = f"{said[key]} with" if key in said else "you gave"
                wish = (
                    f"measures={a.measures[0].name} leaves it open"
                    if key not in said
                    else "ask for one after the other"
                )
                raise UserError(
                    f"{a.word} is with {key}={_shown(value)}, and {whose} {key}={_shown(found[key])}; {wish}"
                )
            if found[key] is None:
                found[key], said[key] = value, a.word
    return found, notes


def _shown(value: Any) -> str:
    return "all" if value == ALL else f"{value:,}" if isinstance(value, int) else getattr(value, "name", str(value))


def unlike(asked: Sequence[Asked], measured: Collection[str]) -> list[str]:
    """Say which values were asked for by name and were not what the network gave."""
    found = []
    for a in asked:
        others = [r for r in measured for m in a.measures if any(_gives(v.name, r) for v in m.gives)]
        if a.value and others and a.value.name not in measured:
            found.append(
                f"{a.word}: with this network and these data it is {', '.join(others)}, which is not {a.value.name}"
            )
    return found


def _gives(name: str, record: str) -> bool:
    return re.fullmatch(re.escape(name).replace(re.escape(NETWORK), ".+"), record) is not None


def taken(m: Measure, c: Comparison) -> list[Record]:
    """Take a measure; of a translator, measures of samples are taken of its translations."""
    return m.take(translations(c) if of_translations(m, c) else c)
