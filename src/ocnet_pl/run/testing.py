"""Test of a network on a split over all processes: the counts of every image, from which scores are computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from ocnet_pl.atomic import whole_file
from ocnet_pl.counting import Counted
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.evaluation_module import EvaluationModule
from ocnet_pl.metrics import Absent
from ocnet_pl.record.images import Fingerprint, Keys, images_trained_on
from ocnet_pl.record.result import Evaluation


@dataclass(frozen=True)
class TestCounts:
    """Counts of a test, the same in every process.

    Attributes:
        counts: true positives, false positives and false negatives of every tested image, (images, 3, K).
        confusion: confusion matrix of all images together, (K, K).
        names: file names of the tested images.
        keys: their keys, of name, image and label.
        split: fingerprint of the whole split.
        classes: names of the classes.
        absent_classes: rule of the mIoU.
        trained_on: number of the split's images that the network was trained on; None: not known.
    """

    __test__ = False  # not a class of tests

    counts: NDArray[np.int64]
    confusion: NDArray[np.int64]
    names: Sequence[str]
    keys: Sequence[str]
    split: Fingerprint
    classes: Sequence[str]
    absent_classes: Absent
    trained_on: int | None

    @property
    def whole(self) -> bool:
        """True when every image of the split was counted."""
        return len(self.names) == len(self.split.keys)

    def evaluation(self, kept: Path | None = None) -> Evaluation:
        """The scores; `kept` is the file of the counts, if any."""
        return Evaluation.of_counts(
            self.counts,
            self.classes,
            kept.name if kept else None,
            absent_classes=self.absent_classes,
            of=len(self.split.keys),
            data=self.split.sha256,
            trained_on=self.trained_on,
        )

    def keep(self, path: Path) -> Evaluation:
        """Write the counts beside the run's result, in one process."""
        with whole_file(path) as file:
            np.savez_compressed(
                file,
                counts=self.counts,
                confusion=self.confusion,
                images=self.names,
                keys=np.array(self.keys),
                classes=self.classes,
            )
        return self.evaluation(path)


def test(
    trainer: pl.Trainer,
    module: EvaluationModule,
    data: SegmentationDataModule,
    split: str,
    images: Fingerprint,
    trained: Keys | None,
) -> TestCounts:
    """Test the module on a split.

    Args:
        trainer: the Trainer.
        module: network and protocol.
        data: the data set.
        split: its split.
        images: fingerprint of that split.
        trained: keys of the images that the network was trained on; None: not known.
    """
    data.trainer = trainer
    module.tested = None
    trainer.test(module, dataloaders=data.evaluation_dataloader(split), verbose=False, weights_only=True)
    tested = module.tested
    if tested is None:  # trainer.limit_test_batches=0 skips the test
        tested = Counted.nothing(len(data.classes))
    index = tested.index.tolist()
    if len(set(index)) < len(index):
        raise RuntimeError(f"{split}: images were counted more than once")
    names = [image.name for image, _ in data.pairs(split)]
    return TestCounts(
        tested.counts.numpy(),
        tested.confusion.numpy(),
        [names[i] for i in index],
        [images.keys[i] for i in index],
        images,
        data.classes,
        data.absent_classes,
        images_trained_on(images, trained),
    )
