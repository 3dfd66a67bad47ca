"""Predict the images that a user names, and continue an interrupted prediction."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ocnet_pl.config.compose import plain
from ocnet_pl.errors import UserError
from ocnet_pl.record.identity import Plain, config_difference, config_hash
from ocnet_pl.run.provenance import weights_sha256
from ocnet_pl.run.restoring import Restored
from ocnet_pl.tools.predict.files import Files, files_of, mask_origin, refuse_overwrite
from ocnet_pl.tools.predict.prediction import predict_images
from ocnet_pl.tools.predict.printing import print_classes


def predict_photographs(
    restored: Restored,
    names: Mapping[Path, str],
    out: Path,
    *,
    overlay: bool,
    probabilities: bool,
    overwrite: bool,
) -> int:
    """Write masks, and if requested overlays and probabilities; return the number of skipped images.

    `names` holds the images and the names of their results in the folder `out`.

    Raises:
        UserError: existing results would be lost, or a result cannot be written.
    """
    plan = {image: files_of(out, name, overlay=overlay, probabilities=probabilities) for image, name in names.items()}
    config, data = plain(restored.config), restored.data
    made_with: Plain = {
        "weights": weights_sha256(restored.predictor.network)[:16],
        "inference": config["inference"],
        "dataset": config_hash({"dataset": config["dataset"]}),
    }
    missing = missing_predictions(plan, made_with, overwrite=overwrite)
    summary = predict_images(restored, out, plan, missing, palette=True, origin=lambda image: _origin(image, made_with))
    if done := len(missing) - len(summary.skipped):
        kinds = sorted({path.relative_to(out).parts[0] for files in plan.values() for path in files.values()})
        title = f"{out}: {', '.join(kinds)} for {done} of {len(plan)} images"
        stored = data.encode(np.arange(len(data.classes), dtype=np.uint8)).tolist()
        print_classes(title, data.classes, stored, data.palette, summary.pixels)
    return len(summary.skipped)


def missing_predictions(plan: Mapping[Path, Files], made_with: Plain, *, overwrite: bool) -> dict[Path, Files]:
    """The images of the plan without results; every mask records its origin, `made_with` and the image.

    Raises:
        UserError: a result would replace a file that is not known to be of the same image, network and protocol.
    """
    results = [path for files in plan.values() for path in files.values()]
    if overwrite or not any(path.exists() for path in results):
        refuse_overwrite(results, plan, overwrite=overwrite)
        return dict(plan)
    missing = {}
    for image, files in plan.items():
        before = mask_origin(files["mask"])
        if before and (changes := list(_changes(before, _origin(image, made_with)))):
            raise UserError(
                f"{files['mask']}: was made with other settings ({'; '.join(changes)}); "
                "choose another --out, or add --overwrite"
            )
        if before is None or not all(path.is_file() for path in files.values()):
            missing[image] = files
    # Files next to a mask of the same origin were written after it.
    unknown = [path for files in missing.values() if not mask_origin(files["mask"]) for path in files.values()]
    refuse_overwrite(results, plan, overwrite=True)
    refuse_overwrite(unknown, plan, overwrite=False)
    return missing


def _origin(image: Path, made_with: Plain) -> Plain:
    """Origin that the mask of an image records."""
    try:
        content = image.read_bytes()
    except OSError:  # reported by the prediction
        content = b""
    return {**made_with, "image": hashlib.sha256(content).hexdigest()[:16]}


def _changes(before: Plain, now: Plain) -> Iterator[str]:
    if before.get("image") != now["image"]:
        yield "from another image of this name"
    yield from config_difference({**before, "image": now["image"]}, now)
