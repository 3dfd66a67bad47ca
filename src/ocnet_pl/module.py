"""LightningModule that trains: training step, losses and optimizer."""

from collections.abc import Callable, Mapping
from typing import Any

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

_PARTS = {"network.backbone.": "backbone", "network.": "head", "": "losses"}
"""Parameter group of each prefix of a parameter's name; the first that fits."""


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
        image_weights: ImageWeighting | None = None,
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

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted loss terms of a batch by name; the loss is their sum. Losses are added up nowhere else."""
        label = batch["label"].long()
        outputs = self.network.supervised(batch["image"])
        criteria: list[Criterion] = [self.loss, self.auxiliary_loss]
        if self.image_weights is not None:
            criteria = [self.image_weights.weighted(one, outputs.logits, label) for one in criteria]
        loss, auxiliary_loss = criteria
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
        groups: dict[str, dict[str, Any]] = {part: {"name": part, "params": []} for part in _PARTS.values()}
        groups["losses"]["weight_decay"] = 0.0
        for name, parameter in self.named_parameters():
            part = next(part for prefix, part in _PARTS.items() if name.startswith(prefix))
            groups[part]["params"].append(parameter)
        optimizer = self.make_optimizer([group for group in groups.values() if group["params"]])
        for group in optimizer.param_groups:
            if group["name"] == "head":
                group["lr"] *= self.head_lr_factor
        scheduler = {"scheduler": self.make_lr_scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
