"""The importance-weighted bound on the log-likelihood, with 5,000 draws for each example (Burda et al., arXiv:1509.00519)."""

from __future__ import annotations

import inspect

from genzoo.core.capabilities import Density
from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.nll import density_records, evaluate_density
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="iwae",
    line="importance-weighted bound with 5,000 draws, 100 examples",
    question="likelihood",
    gives=(
        Value("NLL IWAE-5000", unit="nats", better="lower"),
        Value("bits/dim IWAE-5000", unit="bits/dim", better="lower"),
        Value("bits/sample IWAE-5000", unit="bits/sample", better="lower"),
    ),
    needs=("density",),
    offers="likelihood",
    images=False,
    features=False,
    default=False,
)
SAMPLES, EXAMPLES = 5000, 100


def take(c: Comparison) -> list[Record]:
    """Return the importance-weighted bound of the first hundred examples."""
    system, test = c.asked_system, c.real_set
    assert isinstance(system, Density)
    if "samples" not in inspect.signature(system.log_prob).parameters:
        raise UserError(
            "log_prob of this system takes no number of samples: there is no importance-weighted bound to tighten"
        )
    n = min(c.n_scored, EXAMPLES, len(test))
    return density_records(
        evaluate_density(system, test, n=n, seed=c.seed, samples=SAMPLES), MEASURE, f" IWAE-{SAMPLES}"
    )
