"""MLflow: a database in the run folder, `mlflow.db`; a server where $MLFLOW_TRACKING_URI names one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.files import write_atomic
from genzoo.runs.loggers import About

PACKAGE = "mlflow"

LONGEST = 6000
"""Characters of a parameter, MLflow's own limit."""


class MLflow:
    """Writes to a run of MLflow.

    Args:
        client: An `mlflow.MlflowClient`.
        run: Id of the run.
    """

    def __init__(self, client: Any, run: str) -> None:
        self.client, self.run = client, run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers."""
        for name, value in values.items():
            self.client.log_metric(self.run, _named(name), value, step=step)

    def picture(self, step: int, name: str, path: Path) -> None:
        """Log an image as an artifact."""
        self.client.log_artifact(self.run, str(path), name)

    def close(self) -> None:
        """End the run."""
        self.client.set_terminated(self.run)


def make(about: About) -> MLflow:
    """Open a run, the same one when training is resumed: its id is kept in `mlflow.id`."""
    from mlflow import MlflowClient

    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{about.folder.resolve() / 'mlflow.db'}")
    kept = about.folder / "mlflow.id"
    if kept.exists():
        run = kept.read_text(encoding="utf-8")
        client.update_run(run, status="RUNNING")
        return MLflow(client, run)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "genzoo")
    there = client.get_experiment_by_name(name)
    store = None if os.environ.get("MLFLOW_TRACKING_URI") else (about.folder.resolve() / "mlflow").as_uri()
    experiment = there.experiment_id if there else client.create_experiment(name, artifact_location=store)
    run = client.create_run(experiment, run_name=about.name).info.run_id
    for key, value in about.settings().items():
        client.log_param(run, _named(key), str(value)[:LONGEST])
    write_atomic(kept, run.encode())
    return MLflow(client, run)


def _named(name: str) -> str:
    """Replace what MLflow's names may not hold."""
    return "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in name)
