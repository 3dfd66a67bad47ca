"""Notice a training that sees the same batches again."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class RepeatedBatches(Callback):
    """Notices steps that got other images than the ones that the stream has at their place.

    An epoch cut short by a limit (`trainer.limit_train_batches`) begins again, with the same images.
    """

    def __init__(self) -> None:
        self.seen = False

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.seen |= batch_idx // trainer.accumulate_grad_batches != trainer.global_step
