"""Progress bar of a training: loss, learning rate, images per second, remaining time."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar

_STEPS_ON_GPU = 10
"""Fewest steps between two updates of the bar on a GPU."""


class TrainingProgress(TQDMProgressBar):
    """Counts optimizer batches over the whole training, also after a resume.

    Args:
        batch_size: images per step, over all processes.
        max_steps: steps of the training; without a terminal the bar is printed about twenty times.
    """

    def __init__(self, batch_size: int, max_steps: int) -> None:
        super().__init__(refresh_rate=1 if sys.stderr.isatty() else max(10, max_steps // 20))
        self.batch_size = batch_size
        self._started = (0.0, 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if pl_module.device.type != "cpu":  # the printed loss waits for the device
            self._refresh_rate = max(_STEPS_ON_GPU, self._refresh_rate)  # private: fixed before the device is known
        self._started = (time.monotonic(), trainer.global_step)
        self._count_from_here(trainer)  # on a resume within the epoch Lightning starts no epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._count_from_here(trainer)

    def _count_from_here(self, trainer: pl.Trainer) -> None:
        done = trainer.global_step * trainer.accumulate_grad_batches
        self.train_progress_bar.reset(total=trainer.max_steps * trainer.accumulate_grad_batches)
        self.train_progress_bar.initial = self.train_progress_bar.n = done
        self.train_progress_bar.set_description("train")

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        start, first_step = self._started
        rate = (trainer.global_step - first_step) * self.batch_size / max(time.monotonic() - start, 1e-9)
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        optimizers = trainer.optimizers
        return {
            **metrics,
            "lr": f"{optimizers[0].param_groups[0]['lr']:.2g}" if optimizers else "",
            "img/s": f"{rate:.1f}",
        }
