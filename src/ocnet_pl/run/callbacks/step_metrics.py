"""Learning rate and speed of a training, logged beside its losses."""

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from ocnet_pl.checkpoint import ends_step
from ocnet_pl.record.curves import SPEED


class StepMetrics(Callback):
    """Logs `lr`, of the backbone in the logged step, and `images/s`, over the steps since the last log.

    Validations do not count as time of training.

    Args:
        batch_size: images per step, over all processes.
        every: steps between two logs.
    """

    def __init__(self, batch_size: int, every: int) -> None:
        self.batch_size = batch_size
        self.every = max(1, every)
        self._restart(0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restart(trainer.global_step)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        pl_module.log("lr", torch.tensor(rate, dtype=torch.float64), on_step=True, on_epoch=False)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        steps = trainer.global_step - self._first_step
        if ends_step(trainer, batch_idx) and trainer.global_step % self.every == 0 and steps > 0:
            speed = steps * self.batch_size / max(time.monotonic() - self._start, 1e-9)
            pl_module.log(SPEED, speed, on_step=True, on_epoch=False)
            self._restart(trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restart(trainer.global_step)

    def _restart(self, step: int) -> None:
        self._start, self._first_step = time.monotonic(), step
