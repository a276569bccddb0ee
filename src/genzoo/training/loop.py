"""The one training loop: batches, steps, optimizers, devices and files, and not one model's name."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor

from genzoo.core.capabilities import Fits
from genzoo.core.errors import TrainingStopped, UserError
from genzoo.core.files import write_atomic
from genzoo.core.system import Batch, System
from genzoo.data import Batches, Dataset, to_float
from genzoo.data.feed import Feed
from genzoo.metrics.stopping import advice
from genzoo.ranks.launch import largest, together
from genzoo.ranks.parts import train_step
from genzoo.ranks.shards import assembled, collected, is_collected, sparing
from genzoo.ranks.sums import sum_over_ranks
from genzoo.runs.card import model_card
from genzoo.runs.data import check_same
from genzoo.runs.folder import Run, newest_state, state_path
from genzoo.runs.history import history_of
from genzoo.runs.meters import Logbook
from genzoo.runs.pictures import save_preview, training_gif
from genzoo.runs.signals import asked_to_stop
from genzoo.runs.writer import Writer, keep_best
from genzoo.saved import checkpoint
from genzoo.saved.randomness import put_back_randomness
from genzoo.training.measuring import Measuring
from genzoo.training.preview import preview
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings
from genzoo.training.state import damage_is_said, gather, put_back
from genzoo.training.update import Average, Updater

BAD_STEPS = 25
"""This many steps in a row without one finite update end a run."""
SECONDS_BETWEEN_SAVES = 60.0


class Trainer:
    """Trains one system in one run folder, which the caller holds.

    Args:
        system: On the runtime's device.
        dataset: Training split.
        runtime: Device, precision, ranks.
        settings: With nothing left to choose (see `training.train`).
        run: Where everything is written.
        meta: What model/ says of the model: name, arguments, data.
        measuring: What measures the run while it trains.
        quiet: Show no progress.
    """

    def __init__(
        self,
        system: System,
        dataset: Dataset,
        runtime: Runtime,
        settings: TrainSettings,
        run: Run,
        meta: dict[str, Any],
        measuring: Measuring | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        self.system, self.dataset, self.runtime, self.settings = system, dataset, runtime, settings
        self.run, self.meta, self.writer = run, meta, Writer(run, is_collected)
        self.quiet = quiet or not runtime.main
        assert settings.batch is not None, "the settings of a training leave nothing open"
        self.fits = system if isinstance(system, Fits) else None
        rank, world = (0, 1) if self.fits else (runtime.rank, runtime.world)
        self.batches = Batches(dataset, settings.batch, settings.seed, rank, world)
        self.update = Updater(
            system, runtime, clip=settings.clip, warmup=settings.warmup or 0.0, decay=settings.decay or "none"
        )
        self.average = Average(system, settings.ema) if settings.ema and self.update.optimizers else None
        self.measuring = measuring
        self.step, self.seconds, self.stop = 0, 0.0, 0
        if settings.compile:
            for child in system.children():
                child.compile()

    @property
    def shown(self) -> System:
        """Return the system that is sampled and kept: the averaged one where there is one."""
        return self.average.system if self.average else self.system

    @property
    def finished(self) -> bool:
        """Return True when the budget is spent or the fit has converged."""
        if self.fits and self.step and self.fits.converged:
            return True
        return self.settings.steps is not None and self.step >= self.settings.steps

    # ---- the loop ------------------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train to the end of the budget.

        Raises:
            TrainingStopped: By a signal, or because the losses stayed without a finite value; the state is saved.
        """
        s, total = self.settings, self.settings.steps
        log_every = s.log_every or max(1, min(100, (total or 1000) // 200))
        sample_every = s.sample_every or max(1, (total or 10**9) // 10)
        main, loggers, summed = self.runtime.main, s.every_logger, sum_over_ranks
        log = Logbook(self.run.path, self.step, total, main=main, quiet=self.quiet, loggers=loggers, summed=summed)
        make, lost = self._pass_batch if self.fits else self.batches.at, lambda: self.save(wait=True)
        feed = Feed(make, self.step, total, lost, threads=s.workers)
        begun, seconds_before, drawn = time.monotonic(), self.seconds, -1
        saved_at = begun
        try:
            with asked_to_stop(self, several=self.runtime.world > 1):
                if self.step == 0:
                    self.save()
                for raw in feed:
                    log.step(self._one(to_float(raw, self.runtime.device, torch.channels_last)))
                    self.step += 1
                    self.seconds = seconds_before + time.monotonic() - begun
                    finished = self.finished
                    if self.step % log_every == 0 or finished:
                        self._log(log)
                    self._check_health()
                    if self.step % sample_every == 0 or finished:
                        picture, drawn = self.draw(), self.step
                    if drawn == self.step and self.runtime.main:
                        log.picture(self.step, picture)
                        for sentence in advice([], self.run.log()) if not self.measuring else []:
                            log.say(f"  {sentence}")
                    improved = self._measure(log, finished) if self.measuring else False
                    late = s.minutes is not None and time.monotonic() - begun > 60 * s.minutes
                    passed = time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES and not self.writer.busy
                    due = self.step % s.save_every == 0 if s.save_every else passed and self.runtime.main
                    signum, late, due = self._agreed(late, due or improved or self.writer.failed)
                    if signum and not finished:
                        raise self._stopped(signum)
                    if late and not finished:
                        again = f"'genzoo resume {quote(str(self.run.path))}' goes on for as long again"
                        log.say(f"minutes={s.minutes} are over: saved at step {self.step}; {again}")
                    if finished or late or due:
                        self.save(wait=finished or late)
                        saved_at = time.monotonic()
                    if finished or late:
                        break
        finally:
            feed.close()
            log.close()
            self.writer.close()
        if drawn != self.step:
            self.draw()
        if self.runtime.main:
            self._close_run()

    def _pass_batch(self, step: int) -> Batch:
        return self.batches.in_order(step % self.batches.pass_length())

    def _one(self, batch: Batch) -> dict[str, Tensor]:
        if self.fits:
            self.fits.partial_fit(batch)
            return self.fits.finish_pass() if (self.step + 1) % self.batches.pass_length() == 0 else {}
        self.system.train()
        assert self.settings.steps is not None, "only a fit has no budget"
        self.update.begin(self.step, self.settings.steps)
        try:
            with sparing(self.runtime.shards):
                logs = train_step(self.system, batch, self.update, self.settings.accumulate, self.runtime.autocast)
        except Exception as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                why = str(error).strip().splitlines()[0][:200]
                raise UserError(
                    f"compile=true does not work for this system on this machine ({why}); leave it out"
                ) from error
            raise
        self.update.end()
        if self.average:
            self.average.update(self.step)
        return logs

    def _check_health(self) -> None:
        """Stop a run whose updates have been skipped too often in a row."""
        interval = 1 if not self.update.waits else 50
        if self.step % interval or int(self.update.in_a_row) < BAD_STEPS:
            return
        self.save(wait=True)
        names = ", ".join(f"{name} ({count} times)" for name, count in self.update.counts().items() if count)
        raise TrainingStopped(
            f"no finite loss or gradient for {int(self.update.in_a_row)} steps: {names}. The last good weights are saved. "
            "Try a lower lr, clip=1, warmup=0.05, precision=fp32, or look for broken values in the data."
        )

    def _log(self, log: Logbook) -> None:
        first = next(iter(self.update.optimizers.values()), None)
        lr = float(first.param_groups[0]["lr"]) if first else None
        log.interval(self.step, self.seconds, skipped=sum(self.update.counts().values()), lr=lr)

    def _measure(self, log: Logbook, finished: bool) -> bool:
        """Take the measures where they are due, on the first rank. Returns True where these weights are the best so far."""
        assert self.measuring is not None
        due = self.step % self.measuring.every == 0 or finished
        shown = assembled(self.shown) if due else None
        if shown is None or not self.runtime.main or self._nothing_fitted:
            return False
        values, missing, took = self.measuring.take(shown, self.step, self.runtime)
        log.measured(self.step, self.seconds, values, took)
        for name, reason in missing.items():
            log.say(f"  not measured: {name}: {reason}")
        for sentence in advice(self.measuring.history, self.run.log()):
            log.say(f"  {sentence}")
        best = self.measuring.best
        return best is not None and best.step == self.step

    def _agreed(self, late: bool, due: bool) -> tuple[int, bool, bool]:
        """Let all ranks agree on a signal (0: none), on the clock and on when to save."""
        signum, flags = self.stop, (2 if late else 0) | (1 if due else 0)
        signum, flags = largest(signum), largest(flags)
        return signum, bool(flags & 2), bool(flags & 1)

    def _stopped(self, signum: int) -> TrainingStopped:
        """Save, and say what a signal has ended."""
        self.save(wait=True)
        name, again = signal.Signals(signum).name, f"'genzoo resume {quote(str(self.run.path))}'"
        return TrainingStopped(f"{name}: saved at step {self.step}; {again} goes on exactly here", 128 + signum)

    def _close_run(self) -> None:
        """Join the sample pictures and write the model card."""
        training_gif(self.run.path / "samples", self.run.path / "training.gif")
        history = self.measuring.history if self.measuring else None
        card = model_card(self.run, self.meta, self.step, self.seconds, self.update.counts(), history)
        write_atomic(self.run.path / "README.md", card.encode())

    @property
    def _nothing_fitted(self) -> bool:
        """Return True before the first pass of a fit is over."""
        return self.fits is not None and not self.fits.converged and self.step < self.batches.pass_length()

    def draw(self) -> Path | None:
        """Write the sample picture of this step and return its path; None where there is nothing to show, and on all ranks but the first."""
        net = assembled(self.shown)
        if not self.runtime.main or self._nothing_fitted:
            return None
        batch = to_float(self.batches.in_order(0), self.runtime.device)
        shown = preview(net, batch, self.runtime, seed=self.settings.seed)
        return None if shown is None else save_preview(self.system, self.run.path / "samples", self.step, shown)

    # ---- state ---------------------------------------------------------------------------------------------------------------

    def save(self, *, wait: bool = False) -> None:
        """Have state/ (all that resuming needs) and model/ (what is used afterwards) written, each whole or not at all: the first rank for all.

        It returns when they are copied, or with `wait` on the disk; what could not be written is said by the next call at the latest.
        """
        gives = self.runtime.main or self.runtime.shards  # of pieces, all ranks have to give
        found = self._gathered() if gives else None
        together(lambda: self._save(*found, wait) if found and self.runtime.main else None)

    def _gathered(self) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Tensor]]:
        tensors, learned = gather(self.system, self.update, self.average, self.runtime.device)
        averages = checkpoint.unpack("ema", tensors)
        return tensors, learned, averages or collected(self.system.state_dict(keep_vars=True))

    def _save(self, tensors: dict[str, Tensor], learned: dict[str, Any], shown: dict[str, Tensor], wait: bool) -> None:
        meta = {**self.meta, "step": self.step, "seconds": self.seconds, **learned, "data_digest": self.dataset.digest}
        if self.measuring:
            meta["measured"] = self.measuring.history
        self.writer.save(self.step, tensors, meta, shown, {**self.meta, "step": self.step})
        if wait:
            self.writer.wait()

    def restore(self, say: Any = print) -> bool:
        """Go back to the newest whole checkpoint. Returns False where there is none yet.

        Raises:
            UserError: Of other data, or of another network than the settings say.
            DamagedFile: No checkpoint is whole, or this one holds no state of such a run.
        """
        found = newest_state(self.run, say)
        if found is None:
            return False
        self.step, tensors, meta = found
        file, device = state_path(self.run, self.step), self.runtime.device
        check_same(self.run, meta, self.dataset)
        with damage_is_said(file):
            put_back(self.system, self.update, self.average, tensors, meta, file, self.run.path / "config.toml")
            self.seconds = float(meta["seconds"])
            if self.measuring:
                self.measuring.history = history_of(meta.get("measured", []))
            put_back_randomness(tensors, device, self.settings.seed + 1_000_003 + self.step)
        if meta.get("world", 1) > 1:
            say(
                f"note: {self.run.path} was trained until step {self.step} by {meta['world']} processes of an earlier version, each with noise "
                "of its own; it goes on from there, but not to the bit as it would have"
            )
        if meta.get("device") not in (None, device.type):
            say(
                f"note: {self.run.path} was on {meta['device']} until step {self.step}; on {device.type} it goes on from there, "
                "but not to the bit as it would have there"
            )
        shown = collected(self.shown.state_dict(keep_vars=True)) if self.measuring else {}
        if self.measuring and self.runtime.main:  # a run that was killed between the state and best/
            keep_best(self.run, self.step, shown, {**self.meta, "step": self.step}, self.measuring.history)
        return True
