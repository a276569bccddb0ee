"""Measures while training: few examples, no trace in the training's randomness, and a history that is part of the state."""

from __future__ import annotations

import time
from typing import Any

import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Dataset, open_data
from genzoo.metrics.choice import applies, lacks, network_for, taken
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.measure import Measure, alternatives, table
from genzoo.runs.history import Best, History, best_of
from genzoo.saved.randomness import untouched_randomness
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings


class Measuring:
    """Takes the measures of `measure=` of a system in training.

    Args:
        system: What is trained: says what applies.
        dataset: Its training split; the test split is opened beside it.
        settings: Which measures, how often, of how many.

    Raises:
        UserError: A measure that does not exist or does not apply, or no test split.
    """

    def __init__(self, system: System, dataset: Dataset, settings: TrainSettings) -> None:
        self.every = settings.measure_every or max(1, (settings.steps or 10**9) // 10)
        self.n, self.seed = settings.measure_n, settings.seed
        self.train = dataset
        try:
            self.test = open_data(dataset.settings, kind=system.data, split="test", seed=settings.seed, quiet=True)
        except UserError as reason:
            raise UserError(f"measure={settings.measure} needs data that are held out: {reason}") from None
        self.net: Extractor | None
        self.net, why = network_for(settings.measure_with, self.test)
        self.measures = self._chosen(system, settings.measure or "", why)
        self.history: History = []

    def _chosen(self, system: System, names: str, why: str) -> list[Measure]:
        able, compared = capabilities(system), self._comparison(system)
        chosen: list[Measure] = []
        for group in alternatives(names):
            reasons = {m: applies(m, compared, able, why) for m in group}
            fitting = [m for m, reason in reasons.items() if reason is None]
            if not fitting:
                m, reason = next(iter(reasons.items()))
                raise UserError(f"measure={m.name} does not apply here: {reason or lacks(m, able)}")
            chosen += [m for m in fitting if m not in chosen]
        if any(m.features and "samples" in m.needs for m in chosen):
            chosen += [m for m in table().values() if m.watched and m not in chosen]
        return chosen

    def _comparison(self, system: System) -> Comparison:
        return Comparison(
            test=self.test, train=self.train, net=self.net, system=system, n=self.n, n_scored=self.n,
            n_real=None if self.net is None or not self.net.slow else self.n, seed=self.seed, floors=False,
        )  # fmt: skip

    @property
    def best(self) -> Best | None:
        """The best measurement so far, by the first measure that has a better end."""
        return best_of(self.history)

    @torch.no_grad()
    def take(self, system: System, step: int, runtime: Runtime) -> tuple[dict[str, float], dict[str, str], float]:
        """Measure `system` and add to the history.

        Args:
            system: The one that is shown: the averaged one where there is one. Its mode is put back.
            step: Steps done.
            runtime: Device.

        Returns:
            Values by name; of each measure that could not be taken at this step (samples that are no numbers yet, too few of a kind) its
            name and the reason; and the seconds it took.
        """
        start, was_training = time.monotonic(), system.training
        system.eval()
        values: dict[str, dict[str, Any]] = {}
        missing: dict[str, str] = {}
        try:
            with untouched_randomness(runtime.device, self.seed):
                compared = self._comparison(system)
                for m in self.measures:
                    try:
                        records = taken(m, compared)
                    except UserError as reason:
                        missing[m.name] = str(reason)
                        continue
                    for r in records:
                        j = r.to_json()
                        values[r.measure] = {k: j[k] for k in ("value", "se", "better")}
        finally:
            system.train(was_training)
        self.history.append({"step": step, "values": values})
        found = {k: v["value"] for k, v in values.items() if v["value"] is not None}
        return found, missing, time.monotonic() - start
