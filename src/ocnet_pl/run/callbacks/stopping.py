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

    A second Ctrl-C ends the process at once; what was saved before is whole.

    Saving inside a handler can tear a checkpoint; here the handler only raises a flag, on which all processes agree
    at the end of the step. It takes the place of Lightning's handler, which would also break off a validation.

    Args:
        checkpoint: where to save.
        signals: the signals to react to.
    """

    def __init__(
        self,
        checkpoint: Path,
        signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT),
    ) -> None:
        self.checkpoint = checkpoint
        self.signals = signals
        self.asked = False
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
        if self._saved == trainer.global_step:  # `MissedValidation` repeats it; else it is finished first
            self._leave_now(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)
        self._leave(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen(self.signals)

    def on_test_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        self._leave_now(trainer)

    def _leave_now(self, trainer: pl.Trainer) -> None:
        """Between two images: processes may have different numbers of them, so they cannot agree, and each is told."""
        if not self.asked:
            return
        launcher = trainer.strategy.launcher
        if launcher is not None and trainer.is_global_zero:  # else a cluster or torchrun asks every process
            launcher.kill(signal.SIGTERM)
        self.leaving = True
        self._leave(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        self.leaving = trainer.strategy.reduce_boolean_decision(self.asked, all=False)
        if self.leaving and trainer.global_step > self._start:  # else it would stand in for a log that is begun anew
            trainer.save_checkpoint(self.checkpoint)

    def _leave(self, trainer: pl.Trainer) -> None:
        """Not before here: Lightning logs a step after its end."""
        if self.leaving:
            # Lightning kills process 0 when another ends with a code: only process 0 tells.
            raise SystemExit(self.exit_code if trainer.is_global_zero else 0)

    def _listen(self, signals: Collection[signal.Signals]) -> None:
        for sign in signals:
            self._before.setdefault(sign, signal.signal(sign, self._ask))

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT:
            if self.asked:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.raise_signal(signal.SIGINT)
            self.exit_code = EXIT_INTERRUPTED
            if is_process_zero():  # unbuffered: the signal may have come in the middle of a print
                os.write(2, b"\nfinishing the step and saving; Ctrl-C again ends at once\n")
        self.asked = True


class SameConfigEverywhere(Callback):
    """Compares the config's hash over all processes before the first step: mixed gradients would look like training.

    Args:
        config_hash: of this process.
    """

    def __init__(self, config_hash: str) -> None:
        self.config_hash = config_hash

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        first = trainer.strategy.broadcast(self.config_hash)
        if trainer.strategy.reduce_boolean_decision(first != self.config_hash, all=False):
            raise RuntimeError(
                f"process {trainer.global_rank} has the config {self.config_hash}, process 0 has {first}: "
                "one process group trains one run"
            )
