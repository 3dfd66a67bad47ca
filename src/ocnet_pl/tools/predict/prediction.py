"""A trained network on pictures, one at a time: what it predicts, and the files that become of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.reading import Bytes, read_image
from ocnet_pl.drawing.overlay import colour, overlay
from ocnet_pl.errors import UserError
from ocnet_pl.predictor import Predictor
from ocnet_pl.record.identity import Plain
from ocnet_pl.tools.predict.files import Files, write_mask, write_overlay, write_probabilities


@dataclass
class Outcome:
    """Of many pictures together.

    Attributes:
        pixels: of each class, (K,).
        skipped: for every picture that has no result, why.
    """

    pixels: NDArray[np.int64]
    skipped: list[str] = field(default_factory=list)


def predict_pictures(
    predictor: Predictor,
    data: SegmentationDataModule,
    plan: Mapping[Path, Files],
    advance: Callable[[], None],
    *,
    in_colour: bool,
    origin: Callable[[Path], Plain] | None = None,
) -> Outcome:
    """Reads, predicts and writes picture by picture; nothing of one is kept for the next.

    Args:
        predictor: network and protocol.
        data: whose classes it predicts.
        plan: pictures, and where what is known of each goes.
        advance: called after every picture.
        in_colour: masks carry the data set's palette.
        origin: what the mask of an image is made with, kept in it.

    Raises:
        UserError: a file cannot be written.
    """
    outcome = Outcome(np.zeros(len(data.classes), np.int64))
    colours = colour(data.table, data.palette) if in_colour else None  # of stored ids
    for picture, files in plan.items():
        try:
            photograph = read_image(picture)
            classes, probabilities = _predict(predictor, picture, photograph, "probabilities" in files)
        except UserError as error:
            outcome.skipped.append(str(error))
        else:
            outcome.pixels += np.bincount(classes.ravel(), minlength=len(data.classes))
            write_mask(files["mask"], data.encode(classes), colours, origin(picture) if origin else None)
            if "overlay" in files:
                write_overlay(files["overlay"], overlay(photograph, colour(classes, data.palette)))
            if probabilities is not None:
                write_probabilities(files["probabilities"], probabilities, data.classes)
        advance()
    return outcome


def _predict(
    predictor: Predictor, picture: Path, photograph: Bytes, wanted: bool
) -> tuple[Bytes, NDArray[np.float16] | None]:
    """Train ids (H, W), and if wanted the probabilities (K, H, W)."""
    try:
        logits = predictor.predict_logits(photograph)
        classes = logits.argmax(0).to(torch.uint8).cpu().numpy()
        return classes, logits.float().softmax(0).half().cpu().numpy() if wanted else None
    except torch.OutOfMemoryError:
        height, width = photograph.shape[:2]
        raise UserError(
            f"{picture}: {width}x{height} pixels are more than the GPU's memory holds; inference=sliding takes less, "
            "--device cpu none of it"
        ) from None
