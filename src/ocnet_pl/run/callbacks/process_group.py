"""Check that all processes of a group train one run."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class SameConfigEverywhere(Callback):
    """Compares the hash of the config over all processes before the first step, so that they train one run.

    Args:
        config_hash: hash of this process.
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
