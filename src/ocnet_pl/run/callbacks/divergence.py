"""Stop a diverged training before its weights replace a checkpoint."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from ocnet_pl.errors import UserError

_REMEDY = (
    "lower schedule.lr, clip with +trainer.gradient_clip_val=1, or check the class weights and the labels "
    "(ocnet-data check); the last checkpoint is of an earlier step"
)


class StopOnDivergence(Callback):
    """Ends a run with one line at the first loss or weight that is not finite.

    A single process on a CPU checks the loss after every step. Elsewhere a check costs a synchronisation: losses are
    kept on the device and checked every few steps. Weights are checked before a checkpoint is written, so that no
    checkpoint of a diverged network exists, and none is tested.

    Args:
        every: steps between two checks.
    """

    def __init__(self, every: int) -> None:
        self.every = max(1, every)
        self._diverged_at: Tensor | None = None
        """Step of the first loss that is not finite; 0: none."""
        self._last_finite: Tensor | None = None
        """Last finite loss and its step."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"].detach().float()
        step = torch.full_like(loss, batch_idx // trainer.accumulate_grad_batches + 1)
        finite = loss.isfinite()
        if self._diverged_at is None or self._last_finite is None:
            self._diverged_at, self._last_finite = torch.zeros_like(loss), torch.stack([loss, step - 1]).nan_to_num(0.0)
        first = ~finite & (self._diverged_at == 0)
        self._diverged_at = torch.where(first, step, self._diverged_at)
        self._last_finite = torch.where(self._diverged_at == 0, torch.stack([loss, step]), self._last_finite)
        alone = trainer.world_size == 1 and loss.device.type == "cpu"
        if alone or trainer.global_step % self.every == 0:
            self._refuse_infinite_loss(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._refuse_infinite_loss(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._refuse_infinite_loss(trainer)
        averaged = checkpoint["state_dict"]
        trained = checkpoint.get("current_model_state", {})  # beside an average of the weights
        tensors: list[tuple[str, Tensor]] = [*averaged.items(), *trained.items()]
        for name, tensor in tensors:
            if not tensor.isfinite().all():
                self._end(
                    trainer,
                    f"the training diverged: after step {trainer.global_step} {name.removeprefix('network.')} is not "
                    f"finite{self._last_loss()}; {_REMEDY}",
                )

    def _refuse_infinite_loss(self, trainer: pl.Trainer) -> None:
        here = self._diverged_at is not None and bool(self._diverged_at)
        if trainer.strategy.reduce_boolean_decision(here, all=False):
            step = int(self._diverged_at) if here and self._diverged_at is not None else trainer.global_step
            self._end(
                trainer, f"the training diverged: the loss of step {step} is not finite{self._last_loss()}; {_REMEDY}"
            )

    def _last_loss(self) -> str:
        if self._last_finite is None or self._last_finite[1] < 1:
            return ""
        loss, step = self._last_finite.tolist()
        return f" (last finite loss: {loss:.4g}, step {int(step)})"

    def _end(self, trainer: pl.Trainer, message: str) -> None:
        # Lightning kills process 0 when another ends with a code: only process 0 reports.
        raise UserError(message) if trainer.is_global_zero else SystemExit(0)
