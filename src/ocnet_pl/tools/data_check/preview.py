"""Figure of the first training samples, as the network gets them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from torch import Tensor

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.targets import Targets
from ocnet_pl.drawing.overlay import Picture, colour, overlay
from ocnet_pl.drawing.picture_grid import picture_grid
from ocnet_pl.drawing.regions import inner_pixels
from ocnet_pl.escaping import figure_text
from ocnet_pl.metrics import IGNORE
from ocnet_pl.tools.data_check.keypoints import draw_keypoints, keypoint_colours, keypoint_name

Legend = list[tuple[str, tuple[int, int, int]]]
_COLUMNS = 6
_MOST_NAMES = 6
_NAME: Mapping[str, Any] = {
    "fontsize": 6,
    "color": "white",
    "ha": "center",
    "va": "center",
    "clip_on": True,
    "path_effects": [withStroke(linewidth=1.5, foreground="black")],
}
_LONGEST_NAME = 40
"""Characters of a caption, which must not be wider than its picture."""


@dataclass(frozen=True)
class SamplePictures:
    """Pictures of one training sample.

    Attributes:
        name: name of the image file.
        pictures: input with its keypoints and limbs, label over the input, and the masks among the targets, by title.
        regions: name of a class and a pixel (x, y) inside its region, for the large regions of the label.
    """

    name: str
    pictures: Mapping[str, Picture]
    regions: Sequence[tuple[str, int, int]] = ()


def sample_pictures(data: SegmentationDataModule, count: int) -> tuple[list[SamplePictures], Legend]:
    """Pictures of the first samples of a training with the data set's seed, and the colours of what they show.

    The legend names the visible keypoints, then the classes.

    They come from the training loader: scaled, cropped, mirrored, augmented and padded.
    """
    data.num_workers = 0
    pairs = data.pairs(data.train_split)
    samples: list[SamplePictures] = []
    shown: set[int] = set()
    visible: dict[str, NDArray[np.bool_]] = {}
    for batch in data.training_dataloader(stop=-(-count // data.batch_size)):
        for position in range(min(len(batch["label"]), count - len(samples))):
            sample = {name: tensor[position] for name, tensor in batch.items()}
            shown.update(np.unique(sample["label"].numpy()).tolist())
            for name, target in data.targets.items():
                if target.kind == "keypoints":
                    visible[name] = visible.get(name, np.bool_(False)) | (sample[name][:, 2].numpy() > 0)
            name = pairs[int(sample["index"])][0].stem
            regions = [(data.classes[id_], x, y) for id_, x, y in inner_pixels(sample["label"].numpy(), _MOST_NAMES)]
            samples.append(SamplePictures(name, _pictures(sample, data.targets, data.palette), regions))
    named = zip(data.classes, data.palette.tolist(), strict=True)
    legend: Legend = [(name, (r, g, b)) for class_id, (name, (r, g, b)) in enumerate(named) if class_id in shown]
    return samples, _points(data.targets, visible) + legend + ([("ignored", (0, 0, 0))] if IGNORE in shown else [])


def preview(title: str, samples: Sequence[SamplePictures], legend: Legend) -> Figure:
    """Figure with the pictures of some samples in a grid, several samples in a row; labels name their regions."""
    titles = list(samples[0].pictures)
    in_row = min(len(samples), max(1, _COLUMNS // len(titles)))
    rows = []
    for start in range(0, len(samples), in_row):
        part = samples[start : start + in_row]
        pictures = [sample.pictures[title] for sample in part for title in titles]
        blank = np.full_like(pictures[0], 255)
        blanks = [blank] * (in_row * len(titles) - len(pictures))
        rows.append(("", [*pictures, *blanks]))
    figure = picture_grid(titles * in_row, rows, legend)
    for sample, axes in zip(samples, figure.axes[:: len(titles)], strict=False):
        axes.set_xlabel(figure_text(sample.name[-_LONGEST_NAME:]), fontsize=8, loc="left", labelpad=2)
    in_grid = [figure.axes[start : start + len(titles)] for start in range(0, len(figure.axes), len(titles))]
    for sample, pictures_of_sample in zip(samples, in_grid, strict=False):
        for name, x, y in sample.regions:
            pictures_of_sample[titles.index("label")].text(x, y, figure_text(name), **_NAME)
    figure.suptitle(title, fontsize=10)
    return figure


def _points(targets: Targets, visible: Mapping[str, NDArray[np.bool_]]) -> Legend:
    """Legend of the keypoints that are visible in a sample."""
    return [
        (keypoint_name(name, targets[name], int(index)), keypoint_colours(len(of_target))[index])
        for name, of_target in visible.items()
        for index in np.flatnonzero(of_target)
    ]


def _pictures(sample: Mapping[str, Tensor], targets: Targets, palette: NDArray[np.uint8]) -> dict[str, Picture]:
    photograph = np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy())
    marked = photograph.copy()
    for name, target in targets.items():
        if target.kind == "keypoints":
            draw_keypoints(marked, sample[name].numpy(), target)
    label = overlay(photograph, colour(sample["label"].numpy(), palette))
    masks = {name: _as_picture(sample[name].numpy()) for name, target in targets.items() if target.kind == "mask"}
    return {"input": marked, "label": label, **masks}


def _as_picture(mask: NDArray[Any]) -> Picture:
    """Mask as grey levels from its lowest (black) to its highest value (white)."""
    values = mask.astype(np.float64)
    spread = max(float(np.ptp(values)), 1e-12)
    grey = (255 * (values - values.min()) / spread).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)
