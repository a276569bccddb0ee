#!/usr/bin/env bash
# A trial of Optuna whose worker is killed before its first heartbeat stays RUNNING for ever.
#
# One would guess: with heartbeat_interval, fail_stale_trials (which Study.optimize calls) marks every running trial failed whose worker has
# fallen silent, so that the callback tries it again.
# What happens: a trial that has never beaten is passed over. A worker that is killed between the state RUNNING and its first beat (two
# transactions), or one that uses ask() and tell(), for which nothing beats, leaves a trial that nobody ever tries again; the study ends one
# value short, without an error. A beat that is recorded before the state changes closes the gap.
# Versions: optuna 5.0.0, sqlalchemy 2.1.9, alembic 1.20.1, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q optuna==5.0.0 sqlalchemy==2.1.9 alembic==1.20.1 numpy==2.4.6
v/bin/python -W ignore - <<'PY'
import time
import optuna
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import TrialState

storage = RDBStorage("sqlite:///study.db", heartbeat_interval=1, grace_period=1)
study = optuna.create_study(storage=storage)
silent, beaten = study.ask(), study.ask()  # both are RUNNING; then their workers are killed
storage.record_heartbeat(beaten._trial_id)
time.sleep(3)
fail_stale_trials(study)
states = [trial.state for trial in study.trials]
print("optuna", optuna.__version__, "three beats after the kill:", [s.name for s in states])
assert states == [TrialState.RUNNING, TrialState.FAIL], "the trial without a first beat is found now: this has changed"
PY
