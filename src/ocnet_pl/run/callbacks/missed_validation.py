"""On resume, run the validation that the interrupted run missed."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class MissedValidation(Callback):
    """Validates first when a run was interrupted between a checkpoint and the validation of the same step.

    Lightning would continue with the next step, or end: the curve would lack a point, and `best.ckpt` a candidate.

    Args:
        every: steps between two validations.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.validated = 0
        self.missed = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["validated"] = self.validated

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        step, self.validated = checkpoint["global_step"], checkpoint.get("validated", 0)
        self.missed = step % self.every == 0 and self.validated < step
        if self.missed:
            # private: the loop of a run that has done all its steps would not start.
            trainer.fit_loop.epoch_loop.max_steps += 1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.missed:
            return
        trainer.fit_loop.epoch_loop.max_steps -= 1
        # private: the same calls as in Lightning after a step (`_TrainingEpochLoop.on_advance_end`).
        loop = trainer.fit_loop.epoch_loop.val_loop
        loop.restarting = False
        trainer.validating = True
        loop.run()
        trainer.training = True
        self.missed = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validated = trainer.global_step
