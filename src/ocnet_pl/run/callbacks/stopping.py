"""Graceful shutdown: on a signal, finish the step, save and exit."""

import os
import signal
from collections.abc import Collection, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from ocnet_pl.checkpoint import ends_step
from ocnet_pl.errors import EXIT_INTERRUPTED
from ocnet_pl.process import EXIT_STOPPED, is_process_zero


class StopAfterStep(Callback):
    """On SIGTERM (launcher, cluster), SIGUSR2 (submitit before a time limit) or Ctrl-C: finish the step, save, exit.

    A second Ctrl-C ends the process at once; earlier checkpoints stay intact.

    The handler does not save, because an interrupted save breaks a checkpoint: it sets a flag, on which all processes
    agree at the end of the step. It replaces Lightning's handler, which would also interrupt a validation.

    Args:
        checkpoint: file to save to.
        signals: the signals to react to.
    """

    def __init__(
        self,
        checkpoint: Path,
        signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT),
    ) -> None:
        self.checkpoint = checkpoint
        self.signals = signals
        self.requested = False
        self.exit_code = EXIT_STOPPED
        self.leaving = False
        self._start = self._saved = 0
        self._before: dict[signal.Signals, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # Lightning sets its own handlers after this, but none for Ctrl-C, on which it would end with exit code 1.
        self._listen({signal.SIGINT} & set(self.signals))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = self._saved = trainer.global_step
        self._listen(self.signals)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for sign, handler in self._before.items():
            signal.signal(sign, handler)
        self._before = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if ends_step(trainer, batch_idx):
            self._save(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        self._leave(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._leave(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._saved = trainer.global_step

    def on_validation_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        if self._saved == trainer.global_step:  # then `MissedValidation` repeats it; else it is finished first
            self._leave_now(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)
        self._leave(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen(self.signals)

    def on_test_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        self._leave_now(trainer)

    def _leave_now(self, trainer: pl.Trainer) -> None:
        """Leave between two images; every process gets a signal, because their numbers of images differ."""
        if not self.requested:
            return
        launcher = trainer.strategy.launcher  # private: `kill` ends the other ranks
        if launcher is not None and trainer.is_global_zero:  # else a cluster or torchrun signals every process
            launcher.kill(signal.SIGTERM)
        self.leaving = True
        self._leave(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        self.leaving = trainer.strategy.reduce_boolean_decision(self.requested, all=False)
        if self.leaving and trainer.global_step > self._start:  # else the resumed run would take its log for complete
            trainer.save_checkpoint(self.checkpoint)

    def _leave(self, trainer: pl.Trainer) -> None:
        """Exit; not earlier, because Lightning logs a step after its end."""
        if self.leaving:
            # Lightning kills process 0 when another ends with a code: only process 0 reports.
            raise SystemExit(self.exit_code if trainer.is_global_zero else 0)

    def _listen(self, signals: Collection[signal.Signals]) -> None:
        for sign in signals:
            self._before.setdefault(sign, signal.signal(sign, self._request))

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT:
            if self.requested:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.raise_signal(signal.SIGINT)
            self.exit_code = EXIT_INTERRUPTED
            if is_process_zero():  # unbuffered: the signal may interrupt a print
                os.write(2, b"\nfinishing the step and saving; press Ctrl-C again to end at once\n")
        self.requested = True
