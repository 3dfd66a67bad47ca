"""Input of the network: the first samples of a training, as pictures."""

import numpy as np

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.drawing.overlay import colour
from ocnet_pl.metrics import IGNORE
from ocnet_pl.tools.data_check.contact_sheet import Tile

Legend = list[tuple[str, tuple[int, int, int]]]


def training_tiles(data: SegmentationDataModule, count: int) -> tuple[list[Tile], Legend]:
    """The first samples of the training with its seed, and name and colour of the classes in them.

    They come through the loader of the training: scaled, cut, mirrored, augmented and padded as there.
    """
    data.num_workers = 0
    pairs = data.pairs(data.train_split)
    tiles: list[Tile] = []
    shown: set[int] = set()
    for batch in data.training_dataloader(stop=-(-count // data.batch_size)):
        for image, label, index in zip(batch["image"], batch["label"], batch["index"], strict=True):
            if len(tiles) == count:
                break
            photograph, classes = image.permute(1, 2, 0).numpy(), label.numpy()
            shown.update(np.unique(classes).tolist())
            tiles.append(Tile(photograph, colour(classes, data.palette), pairs[int(index)][0].stem))
    named = zip(data.classes, data.palette.tolist(), strict=True)
    legend = [(name, (r, g, b)) for number, (name, (r, g, b)) in enumerate(named) if number in shown]
    return tiles, legend + ([("ignored", (0, 0, 0))] if IGNORE in shown else [])
