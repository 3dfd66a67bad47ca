"""Predict images one by one and write the results."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ocnet_pl.dataset.reading import Bytes, read_image
from ocnet_pl.drawing.overlay import colour, overlay
from ocnet_pl.drawing.progress import progress_of
from ocnet_pl.errors import UserError
from ocnet_pl.escaping import printable
from ocnet_pl.predictor import Predictor
from ocnet_pl.record.identity import Plain
from ocnet_pl.run.restoring import Restored
from ocnet_pl.tools.predict.files import Files, write_mask, write_overlay, write_probabilities


@dataclass
class PredictionSummary:
    """Summary over all predicted images.

    Attributes:
        pixels: number of pixels of each class, (K,).
        skipped: reason for every image without results.
    """

    pixels: NDArray[np.int64]
    skipped: list[str] = field(default_factory=list)


def predict_images(
    restored: Restored,
    out: Path,
    plan: Mapping[Path, Files],
    missing: Mapping[Path, Files],
    *,
    palette: bool,
    origin: Callable[[Path], Plain] | None = None,
) -> PredictionSummary:
    """Predict the missing images of a plan one by one; memory does not grow with their number.

    The plan names the result files of each image in the folder `out`, and `origin` makes the text that its mask
    records. With `palette`, masks are shown in the data set's colours. Skipped images are listed on stderr.

    Raises:
        UserError: a file cannot be written.
    """
    data = restored.data
    if existing := len(plan) - len(missing):
        print(printable(f"{out}: {existing} of {len(plan)} images already predicted"), file=sys.stderr)
    summary = PredictionSummary(np.zeros(len(data.classes), np.int64))
    colours = colour(data.table, data.palette) if palette else None  # colours of stored ids
    with progress_of("predicting", len(missing)) as advance:
        for path, files in missing.items():
            try:
                image = read_image(path)
                classes, probabilities = _predict(restored.predictor, path, image, "probabilities" in files)
            except UserError as error:
                summary.skipped.append(str(error))
            else:
                summary.pixels += np.bincount(classes.ravel(), minlength=len(data.classes))
                write_mask(files["mask"], data.encode(classes), colours, origin(path) if origin else None)
                if "overlay" in files:
                    write_overlay(files["overlay"], overlay(image, colour(classes, data.palette)))
                if probabilities is not None:
                    write_probabilities(files["probabilities"], probabilities, data.classes)
            advance()
    if summary.skipped:
        print(f"ocnet-predict: {len(summary.skipped)} of {len(plan)} images skipped:", file=sys.stderr)
        for message in summary.skipped:
            print(f"  {printable(message)}", file=sys.stderr)
    return summary


def _predict(
    predictor: Predictor, path: Path, image: Bytes, with_probabilities: bool
) -> tuple[Bytes, NDArray[np.float16] | None]:
    """Train ids (H, W), and if requested the probabilities (K, H, W)."""
    try:
        if not with_probabilities:
            return predictor.predict(image), None
        logits = predictor.predict_logits(image)
        return logits.argmax(0).to(torch.uint8).cpu().numpy(), logits.softmax(0).half().cpu().numpy()
    except torch.OutOfMemoryError:
        height, width = image.shape[:2]
        raise UserError(
            f"{path}: {width}x{height} pixels do not fit into the GPU's memory; try inference=sliding or --device cpu"
        ) from None
