"""The LightningModules: evaluation steps; training step and optimizer."""

from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ocnet_pl.counting import Counted, ImageCounts
from ocnet_pl.metrics import Absent, mean_iou, pixel_accuracy
from ocnet_pl.model.network import OCNet
from ocnet_pl.randomness import derive_seed

Batch = dict[str, Tensor]
"""image (B, 3, H, W) uint8; label (B, H, W) uint8 with 255 ignored; index (B,), of the image in the set."""


class EvaluationModule(pl.LightningModule):
    """A network and the counts of its validations and tests, under its own protocol.

    Args:
        network: the network.
        absent_classes: rule of the mIoU for classes that do not occur; the data set's.
    """

    def __init__(self, network: OCNet, *, absent_classes: Absent = "skip") -> None:
        super().__init__()
        self.network = network
        self.absent_classes = absent_classes
        self.counts = ImageCounts(network.num_classes)
        self.tested: Counted | None = None
        """Counts of the last test, on the CPU."""
        self.validated_images: set[int] = set()
        """Numbers of images that validations counted."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._count(batch)

    def on_validation_epoch_end(self) -> None:
        counted = self.counts.compute()
        self.counts.reset()
        self.validated_images.add(len(counted.index))
        counts = counted.counts.sum(0).cpu()
        scores = {
            "val/miou": mean_iou(counts, self.absent_classes).item(),
            "val/pixel_accuracy": pixel_accuracy(counts).item(),
        }
        self.log_dict(scores, rank_zero_only=False)
        self.log("mIoU", scores["val/miou"], prog_bar=True, logger=False)

    def on_test_epoch_start(self) -> None:
        self.counts.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._count(batch)

    def on_test_epoch_end(self) -> None:
        # Here and not after the test: then Lightning has moved the counts to the CPU, where NCCL gathers nothing.
        self.tested = self.counts.compute().cpu()

    def _count(self, batch: Batch) -> Tensor:
        prediction = self.network.protocol(self.network, batch["image"]).argmax(1)
        self.counts.update(batch["index"], prediction, batch["label"])
        return prediction


class SegmentationModule(EvaluationModule):
    """A network with its losses and its optimizer.

    Args:
        network: the network; training uses its auxiliary classifier too.
        loss: (logits (B, K, H, W), labels (B, H, W)) -> scalar, of the classifier.
        auxiliary_loss: the same, of the auxiliary classifier.
        auxiliary_weight: weight of the auxiliary loss (paper: 0.4).
        optimizer: parameters -> optimizer.
        lr_scheduler: optimizer -> scheduler, stepped after every optimizer step.
        absent_classes: rule of the mIoU for classes that do not occur.
        seed: seed of the run; dropout draws from it, step by step.
    """

    def __init__(
        self,
        network: OCNet,
        loss: nn.Module,
        auxiliary_loss: nn.Module,
        optimizer: Callable[[Iterator[nn.Parameter]], Optimizer],
        lr_scheduler: Callable[[Optimizer], LRScheduler],
        *,
        auxiliary_weight: float = 0.4,
        absent_classes: Absent = "skip",
        seed: int = 0,
    ) -> None:
        super().__init__(network, absent_classes=absent_classes)
        self.loss = loss
        self.auxiliary_loss = auxiliary_loss
        self.auxiliary_weight = auxiliary_weight
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        self.seed = seed
        self.repeats_batches = False
        """True when a step did not get the images that its place in the stream asks for."""

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if batch_idx // self.trainer.accumulate_grad_batches != self.trainer.global_step:
            self.repeats_batches = True  # an epoch that a limit cuts short begins anew, with the same images
        # Dropout is a function of (seed, batch, process), so a resumed run drops what the unbroken one drops.
        torch.manual_seed(derive_seed(self.seed, "dropout", batch_idx, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        label = batch["label"].long()
        logits, auxiliary_logits = self.network.forward_with_auxiliary(batch["image"])
        main = self.loss(logits, label)
        auxiliary = self.auxiliary_loss(auxiliary_logits, label)
        total: Tensor = main + self.auxiliary_weight * auxiliary
        self.log_dict({"train/loss": total, "train/main_loss": main, "train/auxiliary_loss": auxiliary})
        self.log("loss", total, prog_bar=True, logger=False)
        return total

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.network.parameters())
        scheduler = {"scheduler": self.make_lr_scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
