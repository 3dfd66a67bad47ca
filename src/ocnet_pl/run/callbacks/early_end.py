"""Keep a training ended that a callback ended before its last step."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class StaysEnded(Callback):
    """A run that is interrupted in the test after an early end makes no further step when it is resumed.

    Lightning saves the state of `EarlyStopping`, but not that it has ended the training.
    """

    def __init__(self) -> None:
        self.ended = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["ended"] = trainer.should_stop

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.ended = bool(checkpoint.get("ended"))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.ended
