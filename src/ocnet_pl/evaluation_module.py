"""LightningModule that evaluates: validation and test steps, and their counts."""

import pytorch_lightning as pl
from torch import Tensor

from ocnet_pl.counting import Counted, ImageCounts
from ocnet_pl.inference import Protocol, WholeImage
from ocnet_pl.metrics import Absent, mean_iou, pixel_accuracy
from ocnet_pl.model.contract import Batch
from ocnet_pl.model.network import Network


class EvaluationModule(pl.LightningModule):
    """Network with its test protocol, and the counts of its validations and tests.

    Args:
        network: network to evaluate.
        protocol: test protocol; None: one pass over the whole image.
        absent_classes: rule of the data set for classes without any pixel, in the mIoU.
    """

    def __init__(self, network: Network, protocol: Protocol | None = None, *, absent_classes: Absent = "skip") -> None:
        super().__init__()
        self.network = network
        self.protocol = protocol or WholeImage()
        self.absent_classes = absent_classes
        self.counts = ImageCounts(network.num_classes)
        self.tested: Counted | None = None
        """Counts of the last test, on the CPU."""
        self.validated_images: set[int] = set()
        """Numbers of images that the validations counted; the set has one entry where none was lost."""

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
        prediction = self.protocol(self.network, batch["image"]).labels()
        self.counts.update(batch["index"], prediction, batch["label"])
        return prediction
