"""LightningModule that trains: training step, losses and optimizer."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ocnet_pl.evaluation_module import EvaluationModule
from ocnet_pl.inference import Protocol
from ocnet_pl.metrics import Absent
from ocnet_pl.model.contract import Batch, Criterion, ImageWeighting, Supervised, at_map_size
from ocnet_pl.model.layers import subsample
from ocnet_pl.model.network import Network
from ocnet_pl.randomness import derive_seed


class SegmentationModule(EvaluationModule):
    """Network with its losses and its optimizer.

    Args:
        network: network to train.
        loss: loss of the classifier, (logits (B, K, H, W), labels (B, H, W)) -> scalar.
        auxiliary_loss: loss of the auxiliary classifier, and of further classifiers of a head.
        optimizer: parameter groups -> optimizer.
        lr_scheduler: optimizer -> scheduler, stepped after every optimizer step.
        protocol: test protocol; None: one pass over the whole image.
        additional_losses: further losses of the classifier by name, each a `contract.AdditionalLoss`.
        image_weights: weights of whole images in `loss` and `auxiliary_loss`, a `contract.ImageWeighting`.
        auxiliary_weight: weight of the auxiliary loss (paper: 0.4).
        head_lr_factor: learning rate of head and classifiers, in multiples of the backbone's.
        absent_classes: rule of the data set for classes without any pixel, in the mIoU.
        seed: seed of the run; dropout draws from it, step by step.
    """

    def __init__(
        self,
        network: Network,
        loss: nn.Module,
        auxiliary_loss: nn.Module,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        lr_scheduler: Callable[[Optimizer], LRScheduler],
        *,
        protocol: Protocol | None = None,
        additional_losses: Mapping[str, nn.Module] | None = None,
        image_weights: nn.Module | None = None,
        auxiliary_weight: float = 0.4,
        head_lr_factor: float = 1.0,
        absent_classes: Absent = "skip",
        seed: int = 0,
    ) -> None:
        super().__init__(network, protocol, absent_classes=absent_classes)
        self.loss = loss
        self.auxiliary_loss = auxiliary_loss
        self.additional_losses = nn.ModuleDict(additional_losses or {})
        self.image_weights = image_weights
        self.auxiliary_weight = auxiliary_weight
        self.head_lr_factor = head_lr_factor
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        self.seed = seed
        self.repeats_batches = False
        """True once a step got other images than the ones that the stream has at its place."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted loss terms of a batch by name; the loss is their sum. Losses are added up nowhere else."""
        label = batch["label"].long()
        outputs = self.network.supervised(batch["image"])
        loss: Criterion = self.loss
        auxiliary_loss: Criterion = self.auxiliary_loss
        if self.image_weights is not None:
            weighted = cast("ImageWeighting", self.image_weights).weighted
            loss, auxiliary_loss = (weighted(one, outputs.logits, label) for one in (loss, auxiliary_loss))
        terms = {"main": loss(outputs.logits, label)}
        if outputs.auxiliary is not None and self.auxiliary_weight:
            terms["auxiliary"] = self.auxiliary_weight * auxiliary_loss(outputs.auxiliary, label)
        for name, additional in self.additional_losses.items():
            logits = outputs.map_logits if at_map_size(additional) else outputs.logits
            terms[name] = additional(logits, subsample(label, logits.shape[-2:]))
        if isinstance(self.network.head, Supervised):
            terms |= self.network.head.losses(outputs.extras, batch, auxiliary_loss)
        return terms

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if batch_idx // self.trainer.accumulate_grad_batches != self.trainer.global_step:
            self.repeats_batches = True  # an epoch cut short by a limit begins again, with the same images
        # Dropout is a function of (seed, batch, process): a resumed run drops what an uninterrupted one drops.
        torch.manual_seed(derive_seed(self.seed, "dropout", batch_idx, self.global_rank))
        for loss in self.additional_losses.values():
            if hasattr(loss, "progress"):  # a function of the step: a resumed run needs no other state
                loss.progress = self.trainer.global_step / self.trainer.max_steps  # type: ignore[assignment]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self.terms(batch)
        total = torch.stack(list(terms.values())).sum()
        self.log_dict({"train/loss": total, **{f"train/{name}": term for name, term in terms.items()}})
        self.log("loss", total, prog_bar=True, logger=False)
        return total

    def configure_optimizers(self) -> Any:
        groups = self.network.parameter_groups()
        losses = [self.loss, self.auxiliary_loss, self.additional_losses, self.image_weights or nn.Module()]
        if learned := [parameter for loss in losses for parameter in loss.parameters()]:
            groups.append({"name": "losses", "params": learned, "weight_decay": 0.0})
        optimizer = self.make_optimizer(groups)
        for group in optimizer.param_groups:
            if group["name"] == "head":
                group["lr"] *= self.head_lr_factor
        scheduler = {"scheduler": self.make_lr_scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
