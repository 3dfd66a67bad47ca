"""A network, tested on a split over all processes: the counts of every image, of which all scores are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from ocnet_pl.dataset.base import SegmentationDataModule
from ocnet_pl.module import SegmentationModule
from ocnet_pl.run.result import Evaluation
from ocnet_pl.whole_file import whole_file


@dataclass(frozen=True)
class Tested:
    """What became of a test, in every process the same.

    Attributes:
        counts: of every image, (images, 3, K).
        confusion: of all images, (K, K).
        images: names of their files.
        classes: names of the classes.
    """

    counts: NDArray[np.int64]
    confusion: NDArray[np.int64]
    images: Sequence[str]
    classes: Sequence[str]

    def evaluation(self, kept: Path | None = None) -> Evaluation:
        """The scores; `kept` is where the counts are, if anywhere."""
        return Evaluation.of(self.counts, self.classes, kept.name if kept else None)

    def keep(self, path: Path) -> Evaluation:
        """Writes the counts, in one process and beside the run's result."""
        with whole_file(path) as file:
            np.savez_compressed(
                file, counts=self.counts, confusion=self.confusion, images=self.images, classes=self.classes
            )
        return self.evaluation(path)


def test(trainer: pl.Trainer, module: SegmentationModule, data: SegmentationDataModule, split: str) -> Tested:
    """Tests the module on a split."""
    data.trainer = trainer
    trainer.test(module, dataloaders=data.evaluation_dataloader(split), verbose=False, weights_only=True)
    counts, confusion = (counted.numpy() for counted in module.tested)
    return Tested(counts, confusion, [image.name for image, _ in data.pairs(split)], data.classes)
