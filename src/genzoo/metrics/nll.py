"""Log-likelihood of a data set under a system, in nats and bits per dimension, with its standard error and its protocol."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genzoo.core.capabilities import Density, capabilities
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, kinds, to_float
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record, content_digest, library
from genzoo.ranks.spread import spread

MEASURE = Measure(
    name="nll",
    line="negative log-likelihood in nats, and bits per dimension of images",
    question="likelihood",
    gives=(
        Value("NLL", unit="nats", better="lower"),
        Value("bits/dim", unit="bits/dim", better="lower"),
        Value("bits/sample", unit="bits/sample", better="lower"),
    ),
    needs=("density",),
    offers="likelihood",
    images=False,
    features=False,
    scores=True,
    also=("bits", "bpd", "bits_per_dim", "likelihood"),
    protocol=(("levels", "grey levels"), ("dims", "dimensions"), ("likelihood", "kind of likelihood")),
)


@torch.no_grad()
def evaluate_density(
    system: System,
    dataset: Dataset,
    *,
    n: int | None = None,
    batch: int = 200,
    seed: int = 0,
    samples: int | None = None,
) -> dict[str, Any]:
    """Score a data set, every example once, the last partial batch included, without augmentation.

    The mean is the sum over examples by their number (never a mean of batch means), in float64.

    Args:
        system: A system with `log_prob`; its mode is put back afterwards.
        dataset: What to score, as a rule a test split.
        n: Score only the first `n` examples; all of them by default. Stored order is shuffled once, so they are a fair sample.
        batch: Examples at a time.
        seed: Seed of the estimator's noise, where it has any, and of dynamic binarization.
        samples: Draws for each example, of a system whose `log_prob` takes their number; its own default when not given.

    Returns:
        A record: nats (mean log p per example), nll (= −nats), se (nats), bits_per_dim and its se (images; of sounds: bits_per_sample), n, split,
        data, data_digest, binarize, likelihood (exact, or which bound), levels, seed, seconds, library, protocol in words.

    Raises:
        UserError: The system has no likelihood, or the data have no examples of its kind.
    """
    if "density" not in capabilities(system):
        raise UserError(f"{type(system).__name__} gives no likelihood; it can be judged by its samples only")
    assert isinstance(system, Density)
    field = next((f for f in MEASURE.defined_on if f in dataset.fields), None)
    if field is None:
        raise UserError(
            f"{dataset.name} has nothing to score, as {' or '.join(MEASURE.defined_on)} would be; its fields are {', '.join(dataset.fields)}"
        )
    start = time.time()
    total = min(n or len(dataset), len(dataset))
    generator = torch.Generator(system.device).manual_seed(seed)
    batches = Batches(dataset, min(batch, total), seed)
    was_training = system.training
    system.eval()
    own = {} if samples is None else {"samples": samples}
    scored: list[Tensor] = []

    def raw() -> Iterator[Tensor]:
        while (seen := sum(map(len, scored))) < total:
            scored.append(batches.in_order(len(scored))[field][: total - seen])
            yield scored[-1]

    try:
        parts = raw()
        before = generator.get_state()
        values = [_scores(system, next(parts), field, generator, own)]
        if torch.equal(generator.get_state(), before):  # nothing is drawn, so that no part depends on those before it
            values += spread(_exact_scores, system, "system", system.origin, ((part, field, own) for part in parts))
        else:
            values += [_scores(system, part, field, generator, own) for part in parts]
    finally:
        system.train(was_training)
    scores = torch.cat(values)
    assert len(scores) == total, f"scored {len(scores)} of {total}"
    if not torch.isfinite(scores).all():
        bad = int((~torch.isfinite(scores)).sum())
        raise UserError(
            f"{bad} of {total} examples have a log-likelihood that is not finite; the mean would be meaningless"
        )
    nats = float(scores.sum() / total)
    se = float(scores.std() / math.sqrt(total)) if total > 1 else math.nan
    record: dict[str, Any] = {"measure": "log-likelihood", "nats": nats, "nll": -nats, "se": se}
    kind = kinds.get(field)
    if kind.bits_of:
        unit = f"bits_per_{kind.bits_of}"
        dims = math.prod(dataset.facts()["shape"])
        record |= {
            unit: -nats / (dims * math.log(2)),
            f"{unit}_se": se / (dims * math.log(2)),
            "dims": dims,
        }
    levels = int(system.hparams.get("levels", 256)) if kind.bits_of == "dim" else 0
    drawn = f", binarised ({dataset.settings.binarize})" if dataset.settings.binarize != "none" else ""
    record |= {
        "n": total,
        "data": dataset.name,
        "split": dataset.split,
        "data_digest": content_digest(*scored),
        "binarize": dataset.settings.binarize,
        "likelihood": system.likelihood
        if samples is None
        else f"lower bound: importance-weighted, {samples} samples per example",
        "levels": levels or None,
        "seed": seed,
        "seconds": round(time.time() - start, 1),
        "library": library(),
    }
    sides = "x".join(map(str, dataset.facts()["shape"]))  # padded or enlarged images have other bits
    grey = f"; {levels} grey levels, {sides}" if levels else ""
    record["protocol"] = (
        f"{record['likelihood']}{grey}; mean over {total:,} examples of {dataset.name} {dataset.split}{drawn}, every one once, "
        f"no augmentation; ± is the standard error over examples; seed {seed}"
    )
    return record


def _scores(system: Density, raw: Tensor, field: str, generator: torch.Generator, own: dict[str, int]) -> Tensor:
    assert isinstance(system, System)
    x = to_float({field: raw}, system.device)[field]
    return system.log_prob(x, generator=generator, **own).cpu().double()


@torch.no_grad()
def _exact_scores(system: Density, raw: Tensor, field: str, own: dict[str, int]) -> Tensor:
    assert isinstance(system, System)
    return _scores(system, raw, field, torch.Generator(system.device).manual_seed(0), own)


def take(c: Comparison) -> list[Record]:
    """Return the negative log-likelihood in nats, and bits per dimension of images."""
    system, test = c.asked_system, c.real_set
    return density_records(evaluate_density(system, test, n=min(c.n_scored, len(test)), seed=c.seed), MEASURE)


def density_records(got: dict[str, Any], measure: Measure, name: str = "") -> list[Record]:
    """Return the records of what `evaluate_density` has found, under the names of a measure, which end in `name`."""
    same = {
        k: got[k] for k in ("n", "data", "split", "data_digest", "seed", "library", "seconds", "protocol")
    }  # fmt: skip
    more: dict[str, Any] = {k: got[k] for k in ("likelihood", "levels", "binarize", "samples") if k in got}
    found = [Record(**measure.says(f"NLL{name}"), value=got["nll"], se=got["se"], more=more, **same)]
    if "bits_per_sample" in got:
        said = measure.says(f"bits/sample{name}")
        found.append(Record(**said, value=got["bits_per_sample"], se=got["bits_per_sample_se"], more=more, **same))
    if "bits_per_dim" in got:
        more |= {"dims": got["dims"]}
        said = measure.says(f"bits/dim{name}")
        found.append(Record(**said, value=got["bits_per_dim"], se=got["bits_per_dim_se"], more=more, **same))
    return found
